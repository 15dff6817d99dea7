//! 32 bytes at a time: points of 64 bytes, two numbers in a vector.
//!
//! All functions are parts of [`run`], where they must be inlined to have its instructions; so they are not marked as
//! functions of a kind of processor, which cannot be inlined always, and need what [`is_supported`] asks for.

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{
    __m128i, __m256i, _mm_loadu_si128, _mm256_add_epi64, _mm256_and_si256, _mm256_castsi128_si256,
    _mm256_cmpeq_epi8, _mm256_cmpeq_epi64, _mm256_cmpgt_epi64, _mm256_extract_epi64,
    _mm256_inserti128_si256, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16,
    _mm256_movemask_epi8, _mm256_mul_epu32, _mm256_or_si256, _mm256_packus_epi32,
    _mm256_permute4x64_epi64, _mm256_set1_epi8, _mm256_set1_epi32, _mm256_set1_epi64x,
    _mm256_setr_epi64x, _mm256_setzero_si256, _mm256_slli_epi64, _mm256_sllv_epi64,
    _mm256_srli_epi64, _mm256_srlv_epi64, _mm256_storeu_si256, _mm256_sub_epi8, _mm256_sub_epi64,
    _mm256_subs_epu8, _mm256_testz_si256, _mm256_xor_si256,
};

use cobring_types::{ExactDivisor, Level};

use super::{BLOCK, Lanes, Scale, Spans, Task, WIDE};

pub(super) fn is_supported() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("popcnt")
}

/// # Safety
/// The processor has what [`is_supported`] asks for.
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
pub(super) unsafe fn run<T: Task>(task: T) -> T::Output {
    task.run(Avx2(()))
}

/// Made by [`run`], and by the kernel that has all of this and more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2(pub(super) ());

/// What a point is less `'0'`, where it stands: seven digits, the point, eight decimals.
static POINT: [u8; WIDE] = [0, 0, 0, 0, 0, 0, 0, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0];
/// Where the point stands, 0 is left of it.
static HIGHEST: [u8; WIDE] = [9, 9, 9, 9, 9, 9, 9, 0, 9, 9, 9, 9, 9, 9, 9, 9];
static TENS: [u8; WIDE] = [10, 1, 10, 1, 10, 1, 10, 1, 10, 1, 10, 1, 10, 1, 10, 1];
/// From an offset of a length on, 16 bytes that keep so many of the last ones. In one line of the cache.
#[repr(align(32))]
struct Kept([u8; 2 * WIDE]);
static KEPT: Kept = {
    let mut bytes = [0; 2 * WIDE];
    let mut at = WIDE;
    while at < 2 * WIDE {
        bytes[at] = 0xff;
        at += 1;
    }
    Kept(bytes)
};

/// The 16 bytes up to an end.
///
/// # Safety
/// They are in the text.
#[inline(always)]
unsafe fn lane(text: &[u8], end: usize) -> __m128i {
    debug_assert!((WIDE..=text.len()).contains(&end), "{end} of {}", text.len());
    // SAFETY: as is promised.
    unsafe { _mm_loadu_si128(text.as_ptr().add(end - WIDE).cast()) }
}

/// All bits of the last `length` bytes.
///
/// # Safety
/// It is at most [`WIDE`].
#[inline(always)]
unsafe fn kept(length: usize) -> __m128i {
    debug_assert!(length <= WIDE, "{length}");
    // SAFETY: as is promised; of 32 bytes 16 are read from `length` on.
    unsafe { _mm_loadu_si128(KEPT.0.as_ptr().add(length).cast()) }
}

/// # Safety
/// The processor has what [`is_supported`] asks for.
#[inline(always)]
unsafe fn join(low: __m128i, high: __m128i) -> __m256i {
    // SAFETY: as is promised.
    unsafe { _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high) }
}

/// The same 16 bytes twice.
///
/// # Safety
/// The processor has what [`is_supported`] asks for.
#[inline(always)]
unsafe fn both(bytes: &[u8; WIDE]) -> __m256i {
    // SAFETY: as is promised; 16 bytes are read of 16.
    unsafe {
        let bytes = _mm_loadu_si128(bytes.as_ptr().cast());
        join(bytes, bytes)
    }
}

/// The digits of two numbers, 0 before them, and what of them is no digit.
///
/// # Safety
/// As for [`Lanes::uints`].
#[inline(always)]
unsafe fn digits<const IS_DECIMAL: bool>(
    text: &[u8],
    ends: [usize; 2],
    lengths: [usize; 2],
) -> (__m256i, __m256i) {
    // SAFETY: as is promised.
    unsafe {
        let bytes = join(lane(text, ends[0]), lane(text, ends[1]));
        let kept = join(kept(lengths[0]), kept(lengths[1]));
        let digits = _mm256_sub_epi8(bytes, _mm256_set1_epi8(b'0'.cast_signed()));
        let digits = _mm256_and_si256(digits, kept);
        if IS_DECIMAL {
            let digits = _mm256_xor_si256(digits, both(&POINT));
            (digits, _mm256_subs_epu8(digits, both(&HIGHEST)))
        } else {
            (digits, _mm256_subs_epu8(digits, _mm256_set1_epi8(9)))
        }
    }
}

/// Two digits, four.
///
/// # Safety
/// The processor has what [`is_supported`] asks for.
#[inline(always)]
unsafe fn fours(digits: __m256i) -> __m256i {
    // SAFETY: as is promised.
    unsafe {
        let twos = _mm256_maddubs_epi16(digits, both(&TENS));
        _mm256_madd_epi16(twos, _mm256_set1_epi32(1 << 16 | 100))
    }
}

/// Numbers 0, 2, 1 and 3 of up to four; what stands in place of those that there are not means nothing.
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
        let (low, low_others) = digits::<IS_DECIMAL>(text, [e[0], e[second]], [l[0], l[second]]);
        let (high, high_others) = if N > 2 {
            digits::<IS_DECIMAL>(text, [e[third], e[last]], [l[third], l[last]])
        } else {
            (low, low_others)
        };
        let others = _mm256_or_si256(low_others, high_others);
        if _mm256_testz_si256(others, others) == 0 {
            return None;
        }
        let fours = _mm256_packus_epi32(fours(low), fours(high));
        let eights = _mm256_madd_epi16(fours, _mm256_set1_epi32(1 << 16 | 10_000));
        // The place of the point made the whole part ten times as large.
        let each = _mm256_set1_epi64x(if IS_DECIMAL { 10_000_000 } else { 100_000_000 });
        Some(_mm256_add_epi64(_mm256_mul_epu32(eights, each), _mm256_srli_epi64::<32>(eights)))
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
            _mm256_extract_epi64::<2>(converted),
            _mm256_extract_epi64::<1>(converted),
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
        let start = text.as_ptr().add(at);
        let low = _mm256_loadu_si256(start.cast());
        let high = _mm256_loadu_si256(start.add(32).cast());
        let point = _mm256_set1_epi8(b'.'.cast_signed());
        let low = _mm256_movemask_epi8(_mm256_cmpeq_epi8(low, point)).cast_unsigned();
        let high = _mm256_movemask_epi8(_mm256_cmpeq_epi8(high, point)).cast_unsigned();
        u64::from(low) | u64::from(high) << 32
    }
}

/// The bits from one on.
#[inline(always)]
pub(super) fn from_bit(mask: u64, from: usize) -> u64 {
    u32::try_from(from).ok().and_then(|from| mask.checked_shr(from)).unwrap_or(0)
}

/// The places of the first N bits, 64 for those that there are not.
#[inline(always)]
pub(super) fn first_bits<const N: usize>(mut mask: u64) -> [usize; N] {
    std::array::from_fn(|_| {
        let place = mask.trailing_zeros() as usize;
        mask &= mask.wrapping_sub(1);
        place
    })
}

/// The product's low half, of each.
///
/// # Safety
/// The processor has what [`is_supported`] asks for.
#[inline(always)]
unsafe fn multiply(left: __m256i, right: __m256i) -> __m256i {
    // SAFETY: as is promised.
    unsafe {
        let left_high = _mm256_srli_epi64::<32>(left);
        let right_high = _mm256_srli_epi64::<32>(right);
        let crossed = _mm256_add_epi64(
            _mm256_mul_epu32(left_high, right),
            _mm256_mul_epu32(left, right_high),
        );
        _mm256_add_epi64(_mm256_mul_epu32(left, right), _mm256_slli_epi64::<32>(crossed))
    }
}

/// Two for prices, two for quantities.
///
/// # Safety
/// The processor has what [`is_supported`] asks for.
#[inline(always)]
unsafe fn of_scale(scale: &Scale, of: fn(&ExactDivisor) -> u64) -> __m256i {
    // SAFETY: as is promised.
    unsafe {
        let (tick, quantity) = (of(&scale.tick).cast_signed(), of(&scale.quantity).cast_signed());
        _mm256_setr_epi64x(tick, tick, quantity, quantity)
    }
}

/// With the highest bit turned: unsigned numbers in the order of signed ones.
///
/// # Safety
/// The processor has what [`is_supported`] asks for.
#[inline(always)]
unsafe fn turned(numbers: __m256i) -> __m256i {
    // SAFETY: as is promised.
    unsafe { _mm256_xor_si256(numbers, _mm256_set1_epi64x(i64::MIN)) }
}

/// # Safety
/// As for [`Lanes::levels`].
#[inline(always)]
unsafe fn levels(text: &[u8], spans: Spans<4>, scale: &Scale, out: *mut Level) -> bool {
    // SAFETY: as is promised; two levels are the 32 bytes that are written.
    unsafe {
        let Some(units) = convert::<4, true>(text, spans) else { return false };
        // Both prices, both quantities.
        let product = multiply(units, of_scale(scale, ExactDivisor::inverse));
        let twos = of_scale(scale, ExactDivisor::twos);
        let rotated = _mm256_sllv_epi64(product, _mm256_sub_epi64(_mm256_set1_epi64x(64), twos));
        let counts = _mm256_or_si256(_mm256_srlv_epi64(product, twos), rotated);
        let highest = turned(of_scale(scale, ExactDivisor::highest));
        let is_too_high = _mm256_cmpgt_epi64(turned(counts), highest);
        let is_zero = _mm256_cmpeq_epi64(counts, _mm256_setzero_si256());
        let is_zero_price = _mm256_and_si256(is_zero, _mm256_setr_epi64x(-1, -1, 0, 0));
        let wrong = _mm256_or_si256(is_too_high, is_zero_price);
        let in_order = _mm256_permute4x64_epi64::<0b11_01_10_00>(counts);
        _mm256_storeu_si256(out.cast(), in_order);
        _mm256_testz_si256(wrong, wrong) != 0
    }
}

const _: () = assert!(size_of::<[Level; 2]>() == size_of::<__m256i>());

impl Lanes for Avx2 {
    const HAS_LEVELS: bool = true;

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
        unsafe { Some(numbers(convert::<N, false>(text, spans)?)) }
    }

    #[inline(always)]
    unsafe fn decimals<const N: usize>(self, text: &[u8], spans: Spans<N>) -> Option<[u64; N]> {
        // SAFETY: likewise.
        unsafe { Some(numbers(convert::<N, true>(text, spans)?)) }
    }

    #[inline(always)]
    unsafe fn levels(self, text: &[u8], spans: Spans<4>, scale: &Scale, out: *mut Level) -> bool {
        // SAFETY: likewise.
        unsafe { levels(text, spans, scale, out) }
    }
}
