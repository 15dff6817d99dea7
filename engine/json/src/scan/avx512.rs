//! 64 bytes at a time: points of 64 bytes, four numbers in a vector.
//!
//! As in the narrower kernel, all functions are parts of [`run`] and need what [`is_supported`] asks for.

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{
    __m128i, __m256i, __m512i, _mm_loadu_si128, _mm256_cmpgt_epu64_mask, _mm256_extract_epi64,
    _mm256_mullo_epi64, _mm256_rorv_epi64, _mm256_setr_epi64x, _mm256_storeu_si256,
    _mm256_sub_epi64, _mm512_add_epi64, _mm512_broadcast_i32x4, _mm512_castsi128_si512,
    _mm512_castsi512_si256, _mm512_cmpeq_epi8_mask, _mm512_cmpgt_epu8_mask, _mm512_inserti32x4,
    _mm512_loadu_epi8, _mm512_madd_epi16, _mm512_maddubs_epi16, _mm512_mul_epu32,
    _mm512_packus_epi32, _mm512_permutexvar_epi64, _mm512_set1_epi8, _mm512_set1_epi32,
    _mm512_set1_epi64, _mm512_setr_epi64, _mm512_srli_epi64, _mm512_sub_epi8,
    _mm512_ternarylogic_epi32,
};

use cobring_types::Level;

use super::avx2::{self, Avx2, HIGHEST, POINT, TENS, first_bits, from_bit, kept, lane};
use super::{BLOCK, Lanes, Scale, Spans, Task, WIDE};

pub(super) fn is_supported() -> bool {
    avx2::is_supported()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
}

/// # Safety
/// The processor has what [`is_supported`] asks for.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,bmi1,bmi2,lzcnt,popcnt")]
pub(super) unsafe fn run<T: Task>(task: T) -> T::Output {
    task.run(Avx512(Avx2(())))
}

/// Made by [`run`]. One number or two are as well in a narrower vector.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512(Avx2);

/// The same 16 bytes four times.
///
/// # Safety
/// The processor has what [`is_supported`] asks for.
#[inline(always)]
unsafe fn every(bytes: &[u8; WIDE]) -> __m512i {
    // SAFETY: as is promised; 16 bytes are read of 16.
    unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(bytes.as_ptr().cast())) }
}

/// # Safety
/// The processor has what [`is_supported`] asks for.
#[inline(always)]
unsafe fn join(lanes: [__m128i; 4]) -> __m512i {
    // SAFETY: as is promised.
    unsafe {
        let joined = _mm512_castsi128_si512(lanes[0]);
        let joined = _mm512_inserti32x4::<1>(joined, lanes[1]);
        let joined = _mm512_inserti32x4::<2>(joined, lanes[2]);
        _mm512_inserti32x4::<3>(joined, lanes[3])
    }
}

/// Numbers of up to four; what stands in place of those that there are not means nothing.
///
/// # Safety
/// As for [`Lanes::uints`].
#[inline(always)]
unsafe fn convert<const N: usize, const IS_DECIMAL: bool>(
    text: &[u8],
    spans: Spans<N>,
) -> Option<__m256i> {
    const { assert!(N >= 1 && N <= 4) };
    let Spans { ends: e, lengths: l } = spans;
    let (second, third, last) = (1 % N, 2 % N, N - 1);
    // SAFETY: as is promised.
    unsafe {
        let bytes = join([
            lane(text, e[0]),
            lane(text, e[second]),
            lane(text, e[third]),
            lane(text, e[last]),
        ]);
        let kept = join([kept(l[0]), kept(l[second]), kept(l[third]), kept(l[last])]);
        let digits = _mm512_sub_epi8(bytes, _mm512_set1_epi8(b'0'.cast_signed()));
        // The first one turned by those that are in both others.
        let point = if IS_DECIMAL { every(&POINT) } else { _mm512_set1_epi8(0) };
        let digits = _mm512_ternarylogic_epi32::<0b0111_1000>(point, digits, kept);
        let highest = if IS_DECIMAL { every(&HIGHEST) } else { _mm512_set1_epi8(9) };
        if _mm512_cmpgt_epu8_mask(digits, highest) != 0 {
            return None;
        }
        // Two digits, four, eight.
        let twos = _mm512_maddubs_epi16(digits, every(&TENS));
        let fours = _mm512_madd_epi16(twos, _mm512_set1_epi32(1 << 16 | 100));
        let fours = _mm512_packus_epi32(fours, fours);
        let eights = _mm512_madd_epi16(fours, _mm512_set1_epi32(1 << 16 | 10_000));
        // The place of the point made the whole part ten times as large.
        let each = _mm512_set1_epi64(if IS_DECIMAL { 10_000_000 } else { 100_000_000 });
        let every_second = _mm512_setr_epi64(0, 2, 4, 6, 0, 2, 4, 6);
        let numbers =
            _mm512_add_epi64(_mm512_mul_epu32(eights, each), _mm512_srli_epi64::<32>(eights));
        Some(_mm512_castsi512_si256(_mm512_permutexvar_epi64(every_second, numbers)))
    }
}

/// What [`convert`] gave.
///
/// # Safety
/// The processor has what [`is_supported`] asks for.
#[inline(always)]
unsafe fn numbers<const N: usize>(converted: __m256i) -> [u64; N] {
    // SAFETY: as is promised.
    unsafe {
        let all = [
            _mm256_extract_epi64::<0>(converted),
            _mm256_extract_epi64::<1>(converted),
            _mm256_extract_epi64::<2>(converted),
            _mm256_extract_epi64::<3>(converted),
        ];
        std::array::from_fn(|at| all[at].cast_unsigned())
    }
}

/// The points in 64 bytes of the text.
///
/// # Safety
/// There are as many from `at` on.
#[inline(always)]
unsafe fn points_of_block(text: &[u8], at: usize) -> u64 {
    debug_assert!(at + BLOCK <= text.len(), "{at} of {}", text.len());
    // SAFETY: as is promised.
    unsafe {
        let block = _mm512_loadu_epi8(text.as_ptr().add(at).cast());
        _mm512_cmpeq_epi8_mask(block, _mm512_set1_epi8(b'.'.cast_signed()))
    }
}

/// A price and a quantity, twice.
///
/// # Safety
/// The processor has what [`is_supported`] asks for.
#[inline(always)]
unsafe fn twice(px: u64, qty: u64) -> __m256i {
    let (px, qty) = (px.cast_signed(), qty.cast_signed());
    // SAFETY: as is promised.
    unsafe { _mm256_setr_epi64x(px, qty, px, qty) }
}

/// # Safety
/// As for [`Lanes::levels`].
#[inline(always)]
unsafe fn levels(text: &[u8], spans: Spans<4>, scale: &Scale, out: *mut Level) -> bool {
    let Scale { tick, quantity } = scale;
    // SAFETY: as is promised; two levels are the 32 bytes that are written.
    unsafe {
        let Some(units) = convert::<4, true>(text, spans) else { return false };
        let product = _mm256_mullo_epi64(units, twice(tick.inverse(), quantity.inverse()));
        let counts = _mm256_rorv_epi64(product, twice(tick.twos(), quantity.twos()));
        // Less 1, so that a price of 0 is too high as well.
        let less = _mm256_sub_epi64(counts, twice(1, 0));
        let highest = twice(tick.highest() - 1, quantity.highest());
        _mm256_storeu_si256(out.cast(), counts);
        _mm256_cmpgt_epu64_mask(less, highest) == 0
    }
}

const _: () = assert!(size_of::<[Level; 2]>() == size_of::<__m256i>());

impl Lanes for Avx512 {
    const HAS_LEVELS: bool = true;
    const HAS_INDEX: bool = true;

    #[inline(always)]
    fn points_of_block(self, text: &[u8], at: usize) -> u64 {
        assert!(at <= text.len() && text.len() - at >= BLOCK, "{at} of {}", text.len());
        // SAFETY: asserted, and this kernel has what it needs.
        unsafe { points_of_block(text, at) }
    }

    #[inline(always)]
    fn points<const N: usize>(
        self,
        text: &[u8],
        at: usize,
        _: [usize; N],
        _: [usize; N],
    ) -> [usize; N] {
        let last = text.len().checked_sub(BLOCK).expect("invariant: texts have a block");
        first_bits(if at <= last {
            // SAFETY: the block ends in the text, and this kernel has what it needs.
            unsafe { points_of_block(text, at) }
        } else {
            // SAFETY: likewise.
            from_bit(unsafe { points_of_block(text, last) }, at - last)
        })
    }

    #[inline(always)]
    unsafe fn uints<const N: usize>(self, text: &[u8], spans: Spans<N>) -> Option<[u64; N]> {
        // SAFETY: as is promised, and this kernel has what it needs.
        unsafe {
            match N {
                ..=3 => self.0.uints(text, spans),
                _ => Some(numbers(convert::<N, false>(text, spans)?)),
            }
        }
    }

    #[inline(always)]
    unsafe fn decimals<const N: usize>(self, text: &[u8], spans: Spans<N>) -> Option<[u64; N]> {
        // SAFETY: likewise.
        unsafe {
            match N {
                ..=2 => self.0.decimals(text, spans),
                _ => Some(numbers(convert::<N, true>(text, spans)?)),
            }
        }
    }

    #[inline(always)]
    unsafe fn levels(self, text: &[u8], spans: Spans<4>, scale: &Scale, out: *mut Level) -> bool {
        // SAFETY: likewise.
        unsafe { levels(text, spans, scale, out) }
    }
}
