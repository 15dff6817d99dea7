//! Digits to integers, eight bytes at a time in plain integers.

/// Units in a whole one.
pub(super) const UNIT: u64 = 100_000_000;
/// Whole numbers of so many digits fit in units.
const WHOLE_DIGITS_MAX: usize = 10;

const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
pub(super) const ZEROS: u64 = 0x3030_3030_3030_3030;
const POWERS_OF_TEN: [u64; 9] =
    [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// What lifts a value above 9, and no other, to a byte's high bit.
const NINES_FROM_HIGH_BIT: u64 = 0x7676_7676_7676_7676;

/// Eight bytes from an offset on, the first one lowest.
#[inline(always)]
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|chunk| u64::from_le_bytes(*chunk))
}

/// The digits at the beginning of a word: their number and value.
#[inline(always)]
fn digits(word: u64) -> (usize, u64) {
    let values = word ^ ZEROS;
    // Above 9 a byte gets its high bit; a carry spoils only bytes behind the first that is no digit.
    let other = is_any_above_9(values);
    let count = other.trailing_zeros() / 8;
    // Zeros go before the digits.
    let values = values.checked_shl(64 - 8 * count).unwrap_or(0);
    (count as usize, combine(values))
}

/// The value of eight digits, the first one in the lowest byte: neighbours become numbers of two, four and eight.
#[inline(always)]
pub(super) const fn combine(digits: u64) -> u64 {
    let twos = digits.wrapping_mul(1 | 10 << 8) >> 8 & 0x00ff_00ff_00ff_00ff;
    let fours = twos.wrapping_mul(1 | 100 << 16) >> 16 & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(1 | 10_000 << 32) >> 32
}

/// Not 0 where one of eight values is above 9, be it in its high bit or by a carry.
#[inline(always)]
pub(super) fn is_any_above_9(values: u64) -> u64 {
    (values.wrapping_add(NINES_FROM_HIGH_BIT) | values) & HIGH_BITS
}

/// A whole number from an offset on, of at most 18 digits, and how many.
#[inline(always)]
pub(super) fn uint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let (Some(first), Some(second)) = (word(bytes, at), word(bytes, at + 8)) else {
        return slow_uint(bytes, at);
    };
    let (count, value) = digits(first);
    if count < 8 {
        return (count > 0).then_some((value, count));
    }
    let (more, low) = digits(second);
    if more == 8 {
        return slow_uint(bytes, at);
    }
    Some((value * POWERS_OF_TEN[more] + low, count + more))
}

#[cold]
fn slow_uint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let digits = bytes.get(at..)?.iter().map(|byte| byte.wrapping_sub(b'0'));
    let (mut value, mut count) = (0, 0);
    for digit in digits.take_while(|&digit| digit <= 9) {
        value = value * 10 + u64::from(digit);
        count += 1;
        if count > 18 {
            return None;
        }
    }
    (count > 0).then_some((value, count))
}

/// A decimal from an offset on, in units of 10^-8, and its length. Decimals beyond the eighth are zeros.
#[inline(always)]
pub(super) fn decimal(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let (count, whole) = digits(word(bytes, at)?);
    // Nearly always a point, eight decimals and a quote.
    if count < 8
        && count > 0
        && bytes.get(at + count) == Some(&b'.')
        && let Some(behind) = word(bytes, at + count + 1)
        && let (8, decimals) = digits(behind)
        && bytes.get(at + count + 9).is_some_and(|byte| !byte.is_ascii_digit())
    {
        return Some((whole * UNIT + decimals, count + 9));
    }
    slow_decimal(bytes, at)
}

#[cold]
fn slow_decimal(bytes: &[u8], begin: usize) -> Option<(u64, usize)> {
    let (whole, digits) = slow_uint(bytes, begin)?;
    if digits > WHOLE_DIGITS_MAX {
        return None;
    }
    let mut units = whole * UNIT;
    let mut at = begin + digits;
    if bytes.get(at) != Some(&b'.') {
        return Some((units, digits));
    }
    at += 1;
    let (first, mut each) = (at, UNIT / 10);
    while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')) {
        if digit > 9 {
            break;
        }
        if each == 0 && digit != 0 {
            return None;
        }
        units += u64::from(digit) * each;
        each /= 10;
        at += 1;
    }
    (at > first).then_some((units, at - begin))
}

const fn every(byte: u8) -> u64 {
    0x0101_0101_0101_0101 * byte as u64
}

/// The high bit of a byte that is zero. A borrow spoils only bytes behind the first.
#[inline(always)]
const fn is_zero(word: u64) -> u64 {
    word.wrapping_sub(every(1)) & !word & HIGH_BITS
}

/// Bytes of a word before the first point, 8 without one.
#[inline(always)]
pub(super) const fn up_to_point(word: u64) -> usize {
    is_zero(word ^ every(b'.')).trailing_zeros() as usize / 8
}

/// The bytes of a word up to the first quote: their number, 8 without one, and whether they are plain: printable
/// ASCII, no backslash.
#[inline(always)]
pub(super) fn up_to_quote(word: u64) -> (usize, bool) {
    let quotes = is_zero(word ^ every(b'"'));
    let count = quotes.trailing_zeros() / 8;
    let is_control = word.wrapping_sub(every(b' ')) & !word & HIGH_BITS;
    let is_delete = is_zero(word ^ every(0x7f));
    let other = (word & HIGH_BITS) | is_control | is_delete | is_zero(word ^ every(b'\\'));
    let before = 1u64.checked_shl(8 * count).map_or(u64::MAX, |bit| bit - 1);
    (count as usize, other & before == 0)
}
