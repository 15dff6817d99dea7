//! 64 bytes at a time: first all quotes, then two levels, four numbers, at once.

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{
    _mm_loadu_si128, _mm256_cmpeq_epu32_mask, _mm256_cmple_epu32_mask, _mm256_loadu_si256,
    _mm256_set1_epi32, _mm256_storeu_si256, _mm256_sub_epi32, _mm512_add_epi32, _mm512_add_epi64,
    _mm512_castsi128_si512, _mm512_castsi256_si512, _mm512_castsi512_si128, _mm512_castsi512_si256,
    _mm512_cmpeq_epi8_mask, _mm512_cmpge_epu8_mask, _mm512_cmpgt_epu8_mask, _mm512_cvtepu8_epi32,
    _mm512_extracti32x4_epi32, _mm512_loadu_epi8, _mm512_madd_epi16, _mm512_maddubs_epi16,
    _mm512_mask_broadcast_i32x4, _mm512_maskz_compress_epi8, _mm512_maskz_compress_epi64,
    _mm512_maskz_loadu_epi8, _mm512_maskz_sub_epi8, _mm512_mul_epu32, _mm512_packus_epi32,
    _mm512_permutexvar_epi8, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_epi64,
    _mm512_srli_epi64, _mm512_storeu_epi32, _mm512_xor_si512,
};

use super::{Follows, Message, NARROW, Pair, WIDE, any_level, both_sides, follows};

pub(super) fn is_supported() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("avx512vbmi2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("popcnt")
}

/// From the quote before a number to the one behind it.
const NARROW_STEP: i32 = 11;
const WIDE_STEP: i32 = 17;
const _: () = assert!(NARROW_STEP.unsigned_abs() as usize == NARROW + 1);
const _: () = assert!(WIDE_STEP.unsigned_abs() as usize == WIDE + 1);

const fn every_lane(lane: [u8; 16]) -> [u8; 64] {
    let mut bytes = [0; 64];
    let mut at = 0;
    while at < 64 {
        bytes[at] = lane[at % 16];
        at += 1;
    }
    bytes
}

const fn counting() -> [u8; 64] {
    let mut bytes = [0; 64];
    let mut at = 0;
    while at < 64 {
        #[expect(clippy::cast_possible_truncation, reason = "below 64")]
        (bytes[at] = at as u8);
        at += 1;
    }
    bytes
}

static COUNTING: [u8; 64] = counting();
static PLACES: [u8; 64] = every_lane([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
/// Seven digits, the point, eight decimals: what a point is less `'0'`, where it stands.
static POINT: [u8; 64] = every_lane([0, 0, 0, 0, 0, 0, 0, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0]);
static HIGHEST: [u8; 64] = every_lane([9, 9, 9, 9, 9, 9, 9, 0, 9, 9, 9, 9, 9, 9, 9, 9]);
static TENS: [u8; 64] = every_lane([10, 1, 10, 1, 10, 1, 10, 1, 10, 1, 10, 1, 10, 1, 10, 1]);
/// The lowest byte of every second length, for all bytes of a lane.
static LENGTHS: [u8; 64] = {
    let mut bytes = [0; 64];
    let mut at = 0;
    while at < 64 {
        #[expect(clippy::cast_possible_truncation, reason = "below 4")]
        (bytes[at] = (at / 16) as u8 * 8);
        at += 1;
    }
    bytes
};

/// Offsets of all quotes from `at` on, and their number. Behind them stand 16 that end the message.
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vbmi2,bmi1,bmi2,popcnt"
)]
fn index(bytes: &[u8], at: usize, quotes: &mut Vec<u32>) -> Option<usize> {
    let quote = _mm512_set1_epi8(b'"'.cast_signed());
    // SAFETY: 64 bytes of a static.
    let counting = unsafe { _mm512_loadu_epi8(COUNTING.as_ptr().cast()) };
    let out = quotes.as_mut_ptr();
    let room = quotes.capacity();
    let mut count = 0;
    let mut begin = at;
    while begin < bytes.len() {
        let left = bytes.len() - begin;
        let block = if left >= 64 {
            // SAFETY: 64 bytes are left.
            unsafe { _mm512_loadu_epi8(bytes.as_ptr().add(begin).cast()) }
        } else {
            // SAFETY: the mask has a bit for each byte that is left, and no other is read.
            unsafe { _mm512_maskz_loadu_epi8((1 << left) - 1, bytes.as_ptr().add(begin).cast()) }
        };
        let is_quote = _mm512_cmpeq_epi8_mask(block, quote);
        let found = is_quote.count_ones() as usize;
        // A book has at most 26 quotes in 64 bytes, and rarely more than 16.
        if count + 64 > room || found > 32 {
            return None;
        }
        let base = _mm512_set1_epi32(u32::try_from(begin).ok()?.cast_signed());
        let places = _mm512_maskz_compress_epi8(is_quote, counting);
        let low = _mm512_cvtepu8_epi32(_mm512_castsi512_si128(places));
        // SAFETY: there is room for 64 offsets.
        unsafe { _mm512_storeu_epi32(out.add(count).cast(), _mm512_add_epi32(base, low)) };
        if found > 16 {
            let high = _mm512_extracti32x4_epi32::<1>(places);
            let high = _mm512_add_epi32(base, _mm512_cvtepu8_epi32(high));
            // SAFETY: likewise.
            unsafe { _mm512_storeu_epi32(out.add(count + 16).cast(), high) };
        }
        count += found;
        begin += 64;
    }
    if count + 16 > room {
        return None;
    }
    let end = _mm512_set1_epi32(u32::try_from(bytes.len()).ok()?.cast_signed());
    // SAFETY: there is room for 16 more; all up to there were written.
    unsafe {
        _mm512_storeu_epi32(out.add(count).cast(), end);
        quotes.set_len(count + 16);
    }
    Some(count)
}

/// # Safety
/// The processor has what [`is_supported`] asks for.
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vbmi2,bmi1,bmi2,popcnt"
)]
pub(super) unsafe fn sides(
    message: Message<'_>,
    quotes: &mut Vec<u32>,
    pairs: &mut Vec<Pair>,
) -> Option<(usize, usize)> {
    let bytes = message.bytes;
    let count = index(bytes, message.at, quotes)?;
    let mut next = 0;
    both_sides(message, pairs, |quote, pairs| {
        // Past the quotes between the sides.
        next += quotes.get(next..count)?.iter().position(|&offset| offset as usize == quote)?;
        side(bytes, quotes, count, &mut next, pairs)
    })
}

/// The levels of a side; `next` is its first quote and then the first one behind it.
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vbmi2,bmi1,bmi2,popcnt"
)]
fn side(
    bytes: &[u8],
    quotes: &[u32],
    count: usize,
    next: &mut usize,
    pairs: &mut Vec<Pair>,
) -> Option<usize> {
    // SAFETY: 64 bytes of a static each.
    let (place, point, highest, tens, lengths) = unsafe {
        (
            _mm512_loadu_epi8(PLACES.as_ptr().cast()),
            _mm512_loadu_epi8(POINT.as_ptr().cast()),
            _mm512_loadu_epi8(HIGHEST.as_ptr().cast()),
            _mm512_loadu_epi8(TENS.as_ptr().cast()),
            _mm512_loadu_epi8(LENGTHS.as_ptr().cast()),
        )
    };
    let zero = _mm512_set1_epi8(b'0'.cast_signed());
    let hundreds = _mm512_set1_epi32(1 << 16 | 100);
    let ten_thousands = _mm512_set1_epi32(1 << 16 | 10_000);
    let ten_millions = _mm512_set1_epi64(10_000_000);
    let offset = |quote: usize| quotes[quote] as usize;
    loop {
        // Two levels: eight quotes, and the one behind.
        if *next + 4 > count || pairs.len() + 2 > pairs.capacity() {
            return None;
        }
        let eight: &[u32; 9] = quotes.get(*next..*next + 9)?.try_into().ok()?;
        // SAFETY: nine numbers from `eight` on.
        let (these, those) = unsafe {
            (
                _mm256_loadu_si256(eight.as_ptr().cast()),
                _mm256_loadu_si256(eight.as_ptr().add(1).cast()),
            )
        };
        // From each quote to the next one: price and its quote, 2, quantity and its quote, 4.
        let steps = _mm256_sub_epi32(those, these);
        let fits = _mm256_cmple_epu32_mask(
            _mm256_sub_epi32(steps, _mm256_set1_epi32(NARROW_STEP)),
            _mm256_set1_epi32(WIDE_STEP - NARROW_STEP),
        );
        let is_two = _mm256_cmpeq_epu32_mask(steps, _mm256_set1_epi32(2));
        // How many bytes of 16 stand before the number.
        let before = _mm256_sub_epi32(_mm256_set1_epi32(WIDE_STEP), steps);
        let before = _mm512_permutexvar_epi8(lengths, _mm512_castsi256_si512(before));
        let ends = [offset(*next + 1), offset(*next + 3), offset(*next + 5), offset(*next + 7)];
        let start = bytes.as_ptr();
        // SAFETY: every quote lies at `WIDE` or behind, and none behind the end; the 16 bytes before it are read.
        let text = unsafe {
            let lane = |end: usize| _mm_loadu_si128(start.add(end - WIDE).cast());
            let text = _mm512_castsi128_si512(lane(ends[0]));
            let text = _mm512_mask_broadcast_i32x4(text, 0x00f0, lane(ends[1]));
            let text = _mm512_mask_broadcast_i32x4(text, 0x0f00, lane(ends[2]));
            _mm512_mask_broadcast_i32x4(text, 0xf000, lane(ends[3]))
        };
        let is_number = _mm512_cmpge_epu8_mask(place, before);
        let digits = _mm512_xor_si512(_mm512_maskz_sub_epi8(is_number, text, zero), point);
        let is_no_digit = _mm512_cmpgt_epu8_mask(digits, highest);
        // Two digits, four, eight: ten times the whole part, and the decimals.
        let twos = _mm512_maddubs_epi16(digits, tens);
        let fours = _mm512_madd_epi16(twos, hundreds);
        let fours = _mm512_packus_epi32(fours, fours);
        let eights = _mm512_madd_epi16(fours, ten_thousands);
        let units = _mm512_add_epi64(
            _mm512_mul_epu32(eights, ten_millions),
            _mm512_srli_epi64::<32>(eights),
        );
        let four = _mm512_castsi512_si256(_mm512_maskz_compress_epi64(0b0101_0101, units));
        let length = pairs.len();
        // SAFETY: there is room for two more; what a level turns out not to be is never counted.
        unsafe { _mm256_storeu_si256(pairs.as_mut_ptr().add(length).cast(), four) };

        let is_comma = |quote: usize| bytes.get(offset(quote) + 1) == Some(&b',');
        let is_first = fits & 0b101 == 0b101
            && is_two & 0b10 != 0
            && is_no_digit & 0xffff_ffff == 0
            && is_comma(*next + 1);
        if !is_first {
            let (pair, quote) = any_level(bytes, offset(*next))?;
            if quote != offset(*next + 3) {
                return None;
            }
            pairs.push(pair);
            *next += 4;
            match follows(bytes, quote)? {
                Follows::Level => continue,
                Follows::End => return Some(quote + 3),
            }
        }
        if follows(bytes, ends[1])? == Follows::End {
            // SAFETY: it was written.
            unsafe { pairs.set_len(length + 1) };
            *next += 4;
            return Some(ends[1] + 3);
        }
        let is_second = fits & 0b101_0000 == 0b101_0000
            && is_two & 0b10_0000 != 0
            && is_no_digit >> 32 == 0
            && *next + 8 <= count
            && is_comma(*next + 5);
        if !is_second {
            // SAFETY: it was written.
            unsafe { pairs.set_len(length + 1) };
            *next += 4;
            continue;
        }
        // SAFETY: both were written.
        unsafe { pairs.set_len(length + 2) };
        *next += 8;
        if follows(bytes, ends[3])? == Follows::End {
            return Some(ends[3] + 3);
        }
    }
}
