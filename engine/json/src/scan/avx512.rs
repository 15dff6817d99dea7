//! 64 bytes at a time: points of 64 bytes, four numbers in a vector.
//!
//! As in the narrower kernel, all functions are parts of [`run`] and need what [`is_supported`] asks for.

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{
    __cpuid, __m128i, __m256i, __m512i, _mm_cmpge_epu32_mask, _mm_loadu_si128, _mm_set1_epi32,
    _mm_setr_epi32, _mm_sub_epi32, _mm256_add_epi64, _mm256_cmpgt_epu64_mask, _mm256_extract_epi64,
    _mm256_madd_epi16, _mm256_mask_testn_epi64_mask, _mm256_maskz_rorv_epi32, _mm256_mul_epu32,
    _mm256_set1_epi32, _mm256_set1_epi64x, _mm256_setr_epi64x, _mm256_srli_epi64,
    _mm256_storeu_si256, _mm512_add_epi32, _mm512_broadcast_i32x4, _mm512_castsi128_si512,
    _mm512_castsi512_si128, _mm512_cmpeq_epi8_mask, _mm512_cmpge_epu8_mask, _mm512_cmpgt_epu8_mask,
    _mm512_cvtepi32_epi16, _mm512_cvtepu8_epi32, _mm512_inserti32x4, _mm512_loadu_epi8,
    _mm512_madd_epi16, _mm512_maddubs_epi16, _mm512_maskz_compress_epi8, _mm512_maskz_sub_epi8,
    _mm512_permutexvar_epi32, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_setr_epi32,
    _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_storeu_epi32, _mm512_sub_epi8,
    _mm512_ternarylogic_epi32, _mm512_xor_si512,
};

use cobring_types::{ExactDivisor, Level};

use super::avx2::{self, Avx2, HIGHEST, POINT, TENS, first_bits, from_bit, kept, lane};
use super::{BLOCK, Lanes, Scale, Spans, Task, WIDE};

pub(super) fn is_supported() -> bool {
    avx2::is_supported()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vbmi2")
}

/// Whether the processor does 512 bits as twice 256, where AVX2 is faster
/// (`bench/results/2026-11-30-levels-and-checkpoints.md`).
pub(super) fn is_halved() -> bool {
    let vendor = __cpuid(0);
    is_halved_by([vendor.ebx, vendor.edx, vendor.ecx], __cpuid(1).eax)
}

/// Those of AMD's family 19h that have AVX-512 at all: Zen 4. Vendor and family as in the AMD64 manual, volume 3, CPUID
/// functions 0 and 1.
fn is_halved_by(vendor: [u32; 3], version: u32) -> bool {
    let is_amd = vendor.map(u32::to_le_bytes).concat() == b"AuthenticAMD";
    let (family, extended) = (version >> 8 & 0xf, version >> 20 & 0xff);
    is_amd && family == 0xf && family + extended == 0x19
}

/// # Safety
/// The processor has what [`is_supported`] asks for.
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi2,avx2,bmi1,bmi2,lzcnt,popcnt"
)]
pub(super) unsafe fn run<T: Task>(task: T) -> T::Output {
    task.run(Avx512(Avx2(())))
}

/// Numbers of a block's bytes.
#[expect(clippy::cast_possible_truncation, reason = "below 64")]
static PLACES: [u8; BLOCK] = {
    let mut places = [0; BLOCK];
    let mut at = 0;
    while at < BLOCK {
        places[at] = at as u8;
        at += 1;
    }
    places
};

/// Units of a tenth of a whole.
const WHOLE_UNITS: i64 = 10_000_000;

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

/// Four digits at a time of up to four numbers, 16 digits each; what stands in place of those that there are not means
/// nothing.
///
/// # Safety
/// As for [`Lanes::uints`].
#[inline(always)]
unsafe fn fours<const N: usize, const IS_DECIMAL: bool>(
    text: &[u8],
    spans: Spans<N>,
) -> Option<__m512i> {
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
        fours_of(digits, highest)
    }
}

/// Four digits at a time, where none is above the highest.
///
/// # Safety
/// The processor has what [`is_supported`] asks for.
#[inline(always)]
unsafe fn fours_of(digits: __m512i, highest: __m512i) -> Option<__m512i> {
    // SAFETY: as is promised.
    unsafe {
        if _mm512_cmpgt_epu8_mask(digits, highest) != 0 {
            return None;
        }
        let twos = _mm512_maddubs_epi16(digits, every(&TENS));
        Some(_mm512_madd_epi16(twos, _mm512_set1_epi32(1 << 16 | 100)))
    }
}

/// The upper and the lower eight digits of each number. The place of the point makes a whole part ten times as large.
///
/// # Safety
/// The processor has what [`is_supported`] asks for.
#[inline(always)]
unsafe fn eights(fours: __m512i) -> __m256i {
    // SAFETY: as is promised.
    unsafe { _mm256_madd_epi16(_mm512_cvtepi32_epi16(fours), _mm256_set1_epi32(1 << 16 | 10_000)) }
}

/// Numbers of up to four.
///
/// # Safety
/// As for [`Lanes::uints`].
#[inline(always)]
unsafe fn convert<const N: usize, const IS_DECIMAL: bool>(
    text: &[u8],
    spans: Spans<N>,
) -> Option<__m256i> {
    // SAFETY: as is promised.
    unsafe {
        let eights = eights(fours::<N, IS_DECIMAL>(text, spans)?);
        let each = _mm256_set1_epi64x(if IS_DECIMAL { WHOLE_UNITS } else { 100_000_000 });
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
unsafe fn twice(px_and_qty: [u64; 2]) -> __m256i {
    let [px, qty] = px_and_qty.map(u64::cast_signed);
    // SAFETY: as is promised.
    unsafe { _mm256_setr_epi64x(px, qty, px, qty) }
}

/// What two levels are counted in, where the divisors of a scale divide a whole part's units: then what is left for the
/// exact division are eight decimals, which are less than 2^32.
#[derive(Debug, Clone, Copy)]
struct FineScale {
    /// Quotients of a tenth of a whole.
    wholes: __m256i,
    /// As [`ExactDivisor`] has them, modulo 2^32.
    inverses: __m256i,
    twos: __m256i,
    highest: __m256i,
}

impl FineScale {
    /// # Safety
    /// The processor has what [`is_supported`] asks for.
    #[inline(always)]
    unsafe fn new(Scale { tick, quantity }: &Scale) -> Option<Self> {
        let whole = |divisor: &ExactDivisor| divisor.divide(WHOLE_UNITS.cast_unsigned());
        let wholes = [whole(tick)?, whole(quantity)?];
        let of = |of: fn(&ExactDivisor) -> u64| [of(tick), of(quantity)];
        let highest = of(ExactDivisor::highest).map(|highest| highest >> 32);
        // SAFETY: as is promised.
        unsafe {
            Some(Self {
                wholes: twice(wholes),
                inverses: twice(of(ExactDivisor::inverse)),
                twos: twice(of(ExactDivisor::twos)),
                highest: twice(highest),
            })
        }
    }

    /// Two levels of these digits, and whether they are what they are to be.
    ///
    /// # Safety
    /// The processor has what [`is_supported`] asks for, and `out` has room for two levels.
    #[inline(always)]
    unsafe fn levels(&self, fours: __m512i, out: *mut Level) -> bool {
        const LOW_HALVES: u8 = 0b0101_0101;
        const PRICES: u8 = 0b0101;
        // SAFETY: as is promised; two levels are the 32 bytes that are written.
        unsafe {
            let eights = eights(fours);
            let wholes = _mm256_mul_epu32(eights, self.wholes);
            let decimals = _mm256_srli_epi64::<32>(eights);
            let product = _mm256_mul_epu32(decimals, self.inverses);
            let quotients = _mm256_maskz_rorv_epi32(LOW_HALVES, product, self.twos);
            let are_rests = _mm256_cmpgt_epu64_mask(quotients, self.highest);
            let counts = _mm256_add_epi64(wholes, quotients);
            let are_zero = _mm256_mask_testn_epi64_mask(PRICES, counts, counts);
            _mm256_storeu_si256(out.cast(), counts);
            are_rests | are_zero == 0
        }
    }
}

/// Digits before the points of four numbers in a row, of which the first two are a level and the others the next one: by
/// where the points are, and the ones before them. Anything but 1 to 7 is no such level.
///
/// # Safety
/// The processor has what [`is_supported`] asks for; there are four points, and one before them.
#[inline(always)]
unsafe fn whole_digits(points: *const u32) -> __m128i {
    // SAFETY: as is promised.
    unsafe {
        let these = _mm_loadu_si128(points.cast());
        let before = _mm_loadu_si128(points.sub(1).cast());
        // A point, eight decimals, and `"],["` or `","`.
        _mm_sub_epi32(_mm_sub_epi32(these, before), _mm_setr_epi32(14, 12, 14, 12))
    }
}

/// Seven digits, a point and eight decimals.
///
/// # Safety
/// They are in the text, and the processor has what [`is_supported`] asks for.
#[inline(always)]
unsafe fn number_at(text: *const u8, point: usize) -> __m128i {
    // SAFETY: as is promised.
    unsafe { _mm_loadu_si128(text.add(point - 7).cast()) }
}

/// As [`fours`], of the numbers around four points; with so many digits before them.
///
/// # Safety
/// As for [`fours`], and as many digits as [`whole_digits`] allows.
#[inline(always)]
unsafe fn fours_around(text: *const u8, points: [usize; 4], wholes: __m128i) -> Option<__m512i> {
    /// So many digits of a whole part reach to each byte of seven, a point and eight decimals.
    static REACH: [u8; WIDE] = [7, 6, 5, 4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // SAFETY: as is promised.
    unsafe {
        let [first, second, third, last] = points;
        let bytes = join([
            number_at(text, first),
            number_at(text, second),
            number_at(text, third),
            number_at(text, last),
        ]);
        // Each number's own, in each of its bytes.
        let of_lanes = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
        let wholes = _mm512_permutexvar_epi32(of_lanes, _mm512_castsi128_si512(wholes));
        let wholes = _mm512_shuffle_epi8(wholes, _mm512_setzero_si512());
        let kept = _mm512_cmpge_epu8_mask(wholes, every(&REACH));
        let digits = _mm512_maskz_sub_epi8(kept, bytes, _mm512_set1_epi8(b'0'.cast_signed()));
        fours_of(_mm512_xor_si512(digits, every(&POINT)), every(&HIGHEST))
    }
}

/// Whether a quantity follows a price that ends there.
///
/// # Safety
/// Four bytes from there on are in the text.
#[inline(always)]
unsafe fn is_comma(end: *const u8) -> bool {
    // SAFETY: as is promised.
    unsafe {
        u32::from_le(end.cast::<u32>().read_unaligned()) << 8 == u32::from_le_bytes(*b"\0\",\"")
    }
}

/// Whether another level follows one that ends there.
///
/// # Safety
/// Five bytes from there on are in the text.
#[inline(always)]
unsafe fn is_level(end: *const u8) -> bool {
    // SAFETY: as is promised.
    unsafe {
        u32::from_le(end.cast::<u32>().read_unaligned()) == u32::from_le_bytes(*b"\"],[")
            && end.add(4).read() == b'"'
    }
}

/// # Safety
/// As for [`Lanes::pairs`], and the text has [`BLOCK`] bytes or more.
#[inline(always)]
unsafe fn pairs(text: &[u8], points: *const u32, scale: &FineScale, out: *mut Level) -> usize {
    const AFTER: usize = 9;
    let start = text.as_ptr();
    let last = text.len() - AFTER - 5;
    let mut count = 0;
    // SAFETY: as is promised. The first point that is beyond the text ends this; where those before it are right, so are
    // all bytes from 7 before the first to 14 behind the last, which is seen to be no later than `last`.
    unsafe {
        loop {
            let four = points.add(4 * count);
            let wholes = whole_digits(four);
            let less = _mm_sub_epi32(wholes, _mm_set1_epi32(1));
            if _mm_cmpge_epu32_mask(less, _mm_set1_epi32(7)) != 0 {
                return count;
            }
            let [px, qty, px_2, qty_2] = four.cast::<[u32; 4]>().read();
            let [px, qty, px_2, qty_2] = [px as usize, qty as usize, px_2 as usize, qty_2 as usize];
            if qty_2 > last
                || !is_comma(start.add(px + AFTER))
                || !is_level(start.add(qty + AFTER))
                || !is_comma(start.add(px_2 + AFTER))
                || !is_level(start.add(qty_2 + AFTER))
            {
                return count;
            }
            let around = fours_around(start, [px, qty, px_2, qty_2], wholes);
            let Some(fours) = around else { return count };
            if !scale.levels(fours, out.add(2 * count)) {
                return count;
            }
            count += 1;
        }
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
        unsafe {
            let Some(scale) = FineScale::new(scale) else {
                return self.0.levels(text, spans, scale, out);
            };
            match fours::<4, true>(text, spans) {
                Some(fours) => scale.levels(fours, out),
                None => false,
            }
        }
    }

    #[inline(always)]
    unsafe fn places(self, points: u64, at: u32, out: *mut u32) -> usize {
        const AT_ONCE: usize = 16;
        // SAFETY: as is promised, and this kernel has what it needs; what is written is less than a block's.
        unsafe {
            let places =
                _mm512_maskz_compress_epi8(points, _mm512_loadu_epi8(PLACES.as_ptr().cast()));
            let places = _mm512_cvtepu8_epi32(_mm512_castsi512_si128(places));
            let places = _mm512_add_epi32(places, _mm512_set1_epi32(at.cast_signed()));
            _mm512_storeu_epi32(out.cast(), places);
            match points.count_ones() as usize {
                count @ ..=AT_ONCE => count,
                _ => self.0.places(points, at, out),
            }
        }
    }

    #[inline(always)]
    unsafe fn pairs(
        self,
        text: &[u8],
        points: *const u32,
        scale: &Scale,
        out: *mut Level,
    ) -> usize {
        // SAFETY: as is promised, and this kernel has what it needs.
        unsafe {
            match FineScale::new(scale) {
                Some(scale) => pairs(text, points, &scale, out),
                None => 0,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zen_4_is_told_from_others() {
        let vendor = |name: &[u8; 12]| {
            [0, 4, 8].map(|at| u32::from_le_bytes(*name[at..].first_chunk().expect("four bytes")))
        };
        let (amd, intel) = (vendor(b"AuthenticAMD"), vendor(b"GenuineIntel"));
        for (vendor, version, expected) in [
            (amd, 0x00a1_0f11, true),    // EPYC 9004, Zen 4
            (amd, 0x00a2_0f10, true),    // Ryzen 5000, Zen 3, without AVX-512
            (amd, 0x00b0_0f21, false),   // EPYC 9005, Zen 5
            (amd, 0x0083_0f10, false),   // EPYC 7002, Zen 2
            (intel, 0x000c_06f2, false), // Xeon, family 6, model 207
        ] {
            assert_eq!(is_halved_by(vendor, version), expected, "{version:#x}");
        }
    }
}
