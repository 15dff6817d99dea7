//! 32 bytes at a time: first all quotes, then a level, two numbers, at once.

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm256_add_epi64, _mm256_and_si256, _mm256_castsi128_si256,
    _mm256_cmpeq_epi8, _mm256_extract_epi64, _mm256_inserti128_si256, _mm256_loadu_si256,
    _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_max_epu8, _mm256_movemask_epi8,
    _mm256_mul_epu32, _mm256_packus_epi32, _mm256_set1_epi8, _mm256_set1_epi32, _mm256_set1_epi64x,
    _mm256_srli_epi64, _mm256_sub_epi8, _mm256_xor_si256,
};

use super::{Follows, Message, NARROW, Pair, WIDE, any_level, both_sides, follows};

pub(super) fn is_supported() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("popcnt")
}

static POINT: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0];
static HIGHEST: [u8; 16] = [9, 9, 9, 9, 9, 9, 9, 0, 9, 9, 9, 9, 9, 9, 9, 9];
static TENS: [u8; 16] = [10, 1, 10, 1, 10, 1, 10, 1, 10, 1, 10, 1, 10, 1, 10, 1];
/// From an offset of its length on, 16 bytes that keep so many of the last bytes.
static KEPT: [u8; 32] = {
    let mut bytes = [0; 32];
    let mut at = 16;
    while at < 32 {
        bytes[at] = 0xff;
        at += 1;
    }
    bytes
};

#[target_feature(enable = "avx2")]
fn both(lane: &[u8; 16]) -> __m256i {
    // SAFETY: 16 bytes.
    let lane = unsafe { _mm_loadu_si128(lane.as_ptr().cast()) };
    _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(lane), lane)
}

/// Offsets of all quotes from `at` on, and their number. Behind them stand 8 that end the message.
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
fn index(bytes: &[u8], at: usize, quotes: &mut Vec<u32>) -> Option<usize> {
    let quote = _mm256_set1_epi8(b'"'.cast_signed());
    let out = quotes.as_mut_ptr();
    let room = quotes.capacity();
    let mut count = 0;
    let mut begin = at;
    while begin < bytes.len() {
        let left = bytes.len() - begin;
        let mut is_quote = if left >= 64 {
            // SAFETY: 64 bytes are left.
            let (low, high) = unsafe {
                let start = bytes.as_ptr().add(begin);
                (_mm256_loadu_si256(start.cast()), _mm256_loadu_si256(start.add(32).cast()))
            };
            let mask = |block| {
                u64::from(_mm256_movemask_epi8(_mm256_cmpeq_epi8(block, quote)).cast_unsigned())
            };
            mask(low) | mask(high) << 32
        } else {
            let rest = bytes[begin..].iter().enumerate();
            rest.fold(0, |mask, (bit, &byte)| mask | u64::from(byte == b'"') << bit)
        };
        let found = is_quote.count_ones() as usize;
        // A book has at most 26 quotes in 64 bytes, and rarely more than 8.
        if count + 64 > room || found > 32 {
            return None;
        }
        let base = u32::try_from(begin).ok()?;
        let mut written = 0;
        while written < found {
            for place in written..written + 8 {
                // SAFETY: there is room for 64; the offsets beyond `found` are overwritten or not counted.
                unsafe { out.add(count + place).write(base + is_quote.trailing_zeros()) };
                is_quote &= is_quote.wrapping_sub(1);
            }
            written += 8;
        }
        count += found;
        begin += 64;
    }
    if count + 8 > room {
        return None;
    }
    let end = u32::try_from(bytes.len()).ok()?;
    // SAFETY: there is room for 8 more; all up to there were written.
    unsafe {
        for place in 0..8 {
            out.add(count + place).write(end);
        }
        quotes.set_len(count + 8);
    }
    Some(count)
}

/// # Safety
/// The processor has what [`is_supported`] asks for.
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
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
        side(bytes, &quotes[..count], &mut next, pairs)
    })
}

/// The levels of a side; `next` is its first quote and then the first one behind it.
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
fn side(bytes: &[u8], quotes: &[u32], next: &mut usize, pairs: &mut Vec<Pair>) -> Option<usize> {
    let (point, highest, tens) = (both(&POINT), both(&HIGHEST), both(&TENS));
    let zero = _mm256_set1_epi8(b'0'.cast_signed());
    let hundreds = _mm256_set1_epi32(1 << 16 | 100);
    let ten_thousands = _mm256_set1_epi32(1 << 16 | 10_000);
    let ten_millions = _mm256_set1_epi64x(10_000_000);
    loop {
        let four: &[u32; 4] = quotes.get(*next..*next + 4)?.try_into().ok()?;
        let [px_from, px_to, qty_from, qty_to] = four.map(|offset| offset as usize);
        let (px_length, qty_length) = (px_to - px_from - 1, qty_to - qty_from - 1);
        let fits = |length: usize| length.wrapping_sub(NARROW) <= WIDE - NARROW;
        let mut level = None;
        if fits(px_length) && fits(qty_length) {
            // SAFETY: quotes lie at `WIDE` or behind, in the message; the 16 bytes before are read. A length is at most 16.
            let (text, kept) = unsafe {
                let lane = |end: usize| _mm_loadu_si128(bytes.as_ptr().add(end - WIDE).cast());
                let kept = |length: usize| _mm_loadu_si128(KEPT.as_ptr().add(length).cast());
                (
                    _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(lane(px_to)), lane(qty_to)),
                    _mm256_inserti128_si256::<1>(
                        _mm256_castsi128_si256(kept(px_length)),
                        kept(qty_length),
                    ),
                )
            };
            let digits = _mm256_and_si256(_mm256_sub_epi8(text, zero), kept);
            let digits = _mm256_xor_si256(digits, point);
            let is_digit = _mm256_cmpeq_epi8(_mm256_max_epu8(digits, highest), highest);
            // Two digits, four, eight: ten times the whole part, and the decimals.
            let twos = _mm256_maddubs_epi16(digits, tens);
            let fours = _mm256_madd_epi16(twos, hundreds);
            let fours = _mm256_packus_epi32(fours, fours);
            let eights = _mm256_madd_epi16(fours, ten_thousands);
            let units = _mm256_add_epi64(
                _mm256_mul_epu32(eights, ten_millions),
                _mm256_srli_epi64::<32>(eights),
            );
            let px = _mm256_extract_epi64::<0>(units).cast_unsigned();
            let qty = _mm256_extract_epi64::<2>(units).cast_unsigned();
            let is_comma = qty_from - px_to == 2 && bytes.get(px_to + 1) == Some(&b',');
            let is_whole = _mm256_movemask_epi8(is_digit) == -1;
            level = (is_whole && is_comma).then_some([px, qty]);
        }
        let pair = match level {
            Some(pair) => pair,
            None => any_level(bytes, px_from).filter(|(_, quote)| *quote == qty_to)?.0,
        };
        pairs.push(pair);
        *next += 4;
        if follows(bytes, qty_to)? == Follows::End {
            return Some(qty_to + 3);
        }
    }
}
