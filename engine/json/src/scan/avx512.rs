//! 64 bytes at a time: points of 64 bytes, a level in a vector.
//!
//! As in the narrower kernel, all functions are parts of [`run`] and need what [`is_supported`] asks for.

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_add_epi64, _mm256_cmpgt_epi64, _mm256_cvtepu8_epi32,
    _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_mul_epu32,
    _mm256_mullo_epi32, _mm256_or_si256, _mm256_packus_epi32, _mm256_permute4x64_epi64,
    _mm256_permutexvar_epi8, _mm256_rorv_epi32, _mm256_set1_epi16, _mm256_set1_epi32,
    _mm256_setr_epi64x, _mm256_slli_epi64, _mm256_srli_epi64, _mm256_storeu_si256,
    _mm256_subs_epu8, _mm256_testz_si256, _mm256_xor_si256, _mm512_castsi512_si128,
    _mm512_cmpeq_epi8_mask, _mm512_loadu_epi8, _mm512_mask_compress_epi8, _mm512_set1_epi8,
};

use cobring_types::{ExactDivisor, Level};

use super::avx2::{self, Avx2, first_bits, from_bit};
use super::{BLOCK, FROM_PX, FROM_QTY, Lanes, POINT_AND_DECIMALS, ROW, Scale, Spans, Task};

pub(super) fn is_supported() -> bool {
    avx2::is_supported()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("avx512vbmi2")
}

/// # Safety
/// The processor has what [`is_supported`] asks for.
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx2,bmi1,bmi2,lzcnt,popcnt"
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

/// Made by [`run`]. What is not a row of levels the narrower kernel reads as well.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512(Avx2);

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

/// What two levels are counted in, where the divisors of a scale divide a whole's units: then what is left for the exact
/// division are eight decimals, which are less than 2^32. Two for prices, two for quantities.
#[derive(Debug, Clone, Copy)]
struct FineScale {
    /// Quotients of a whole.
    wholes: __m256i,
    /// As [`ExactDivisor`] has them, modulo 2^32, in the high halves.
    inverses: __m256i,
    twos: __m256i,
    /// Quotients of no rest are no higher, counts no less.
    highest: __m256i,
    least: __m256i,
}

impl FineScale {
    /// # Safety
    /// The processor has what [`is_supported`] asks for.
    #[inline(always)]
    unsafe fn new(Scale { tick, quantity, wholes }: &Scale) -> Option<Self> {
        let wholes = (*wholes)?;
        let of = |of: fn(&ExactDivisor) -> u64| [of(tick), of(quantity)];
        // SAFETY: as is promised.
        unsafe {
            let twice = |[px, qty]: [u64; 2]| {
                let (px, qty) = (px.cast_signed(), qty.cast_signed());
                _mm256_setr_epi64x(px, px, qty, qty)
            };
            Some(Self {
                wholes: twice(wholes),
                inverses: _mm256_slli_epi64::<32>(twice(of(ExactDivisor::inverse))),
                twos: _mm256_slli_epi64::<32>(twice(of(ExactDivisor::twos))),
                highest: _mm256_srli_epi64::<32>(twice(of(ExactDivisor::highest))),
                least: twice([1, 0]),
            })
        }
    }

    /// Two levels, and whether they are what they are to be.
    ///
    /// # Safety
    /// The processor has what [`is_supported`] asks for, and `out` has room for two levels.
    #[inline(always)]
    unsafe fn levels(&self, first: Row, second: Row, out: *mut Level) -> bool {
        // SAFETY: as is promised; two levels are the 32 bytes that are written.
        unsafe {
            let fours = _mm256_packus_epi32(first.fours, second.fours);
            let eights = _mm256_madd_epi16(fours, _mm256_set1_epi32(1 << 16 | 10_000));
            let wholes = _mm256_mul_epu32(eights, self.wholes);
            let products = _mm256_mullo_epi32(eights, self.inverses);
            let quotients = _mm256_srli_epi64::<32>(_mm256_rorv_epi32(products, self.twos));
            let counts = _mm256_add_epi64(wholes, quotients);
            let in_order = _mm256_permute4x64_epi64::<0b11_01_10_00>(counts);
            _mm256_storeu_si256(out.cast(), in_order);
            let are_rests = _mm256_cmpgt_epi64(quotients, self.highest);
            let are_less = _mm256_cmpgt_epi64(self.least, counts);
            let wrong = _mm256_or_si256(
                _mm256_or_si256(first.wrong, second.wrong),
                _mm256_or_si256(are_rests, are_less),
            );
            _mm256_testz_si256(wrong, wrong) != 0
        }
    }
}

/// 32 bytes that end with a level's last decimal, if its price and its quantity have so many digits before their points.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Shape {
    /// What stands there: a quote, the price, `","`, the quantity; `0` for any digit.
    expected: [u8; ROW],
    /// The highest difference from it, bit by bit: 9 of a digit, any before the quote.
    highest: [u8; ROW],
    /// Where the digits are: eight before a point and eight behind it, twice. Where there are fewer it is a point, whose
    /// difference is 0.
    digits: [u8; ROW],
}

/// By a sum: how far a price's point is from the one before, and eight times how far the quantity's is from the price's,
/// less [`LEAST`]. That the bytes are a shape's says how far the points of a level are from each other; so the sum says that
/// nothing stands between a level and the one before but what belongs there.
static SHAPES: [Shape; 64] = {
    /// What is read has a point where this has none.
    const NONE: Shape = Shape { expected: [0; ROW], highest: [0; ROW], digits: [0; ROW] };
    // A quote, what stands from the price's point to the quantity, and the quantity's point and decimals.
    const OTHERS: usize = 1 + FROM_PX + POINT_AND_DECIMALS;
    let mut shapes = [NONE; 64];
    let mut px = 1;
    while px <= 7 {
        let mut qty = 1;
        while qty <= 7 && px + qty + OTHERS <= ROW {
            shapes[px + FROM_QTY + (qty + FROM_PX) * 8 - LEAST as usize] = shape(px, qty);
            qty += 1;
        }
        px += 1;
    }
    shapes
};

/// That sum where both have one digit before their points.
const LEAST: u32 = {
    assert!(1 + FROM_QTY + (1 + FROM_PX) * 8 == 119);
    119
};
/// Beyond what seven digits make it.
const NO_SHAPE: u32 = 63;

/// Of a price and a quantity with so many digits before their points.
#[expect(clippy::cast_possible_truncation, reason = "below 32")]
const fn shape(px: usize, qty: usize) -> Shape {
    let mut shape = Shape { expected: [0; ROW], highest: [0xff; ROW], digits: [0; ROW] };
    let qty_point = ROW - POINT_AND_DECIMALS;
    let px_point = qty_point - qty - FROM_PX;
    let start = px_point - px - 1;
    let mut at = start;
    while at < ROW {
        shape.expected[at] = b'0';
        shape.highest[at] = 9;
        at += 1;
    }
    let others: [(usize, u8); 6] = [
        (start, b'"'),
        (px_point, b'.'),
        (px_point + 9, b'"'),
        (px_point + 10, b','),
        (px_point + 11, b'"'),
        (qty_point, b'.'),
    ];
    let mut other = 0;
    while other < others.len() {
        let (at, byte) = others[other];
        shape.expected[at] = byte;
        shape.highest[at] = 0;
        other += 1;
    }
    let mut nth = 0;
    while nth < 8 {
        let before = 8 - nth;
        let px_at = if before <= px { px_point - before } else { px_point };
        let qty_at = if before <= qty { qty_point - before } else { qty_point };
        shape.digits[nth] = px_at as u8;
        shape.digits[8 + nth] = (px_point + 1 + nth) as u8;
        shape.digits[16 + nth] = qty_at as u8;
        shape.digits[24 + nth] = (qty_point + 1 + nth) as u8;
        nth += 1;
    }
    shape
}

/// # Safety
/// The processor has what [`is_supported`] asks for.
#[inline(always)]
unsafe fn of_row(bytes: &[u8; ROW]) -> __m256i {
    // SAFETY: as is promised; 32 bytes are read of 32.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// A level of the usual shape.
#[derive(Clone, Copy)]
struct Row {
    /// Its digits, four at a time.
    fours: __m256i,
    /// Not 0 where it has another shape.
    wrong: __m256i,
}

/// The level whose points these are, `before` the one before them.
///
/// # Safety
/// The processor has what [`is_supported`] asks for; the text has [`ROW`] bytes up to the quantity's last decimal.
#[inline(always)]
unsafe fn row(text: *const u8, before: u32, px: u32, qty: u32) -> Row {
    debug_assert!(before < px && px < qty && qty as usize + POINT_AND_DECIMALS >= ROW);
    // SAFETY: as is promised; no place is above the last shape's.
    unsafe {
        let distances = px.wrapping_sub(before).wrapping_add(qty.wrapping_sub(px).wrapping_mul(8));
        let place = distances.wrapping_sub(LEAST).min(NO_SHAPE);
        let shape = SHAPES.as_ptr().add(place as usize);
        let Shape { expected, highest, digits } = &*shape;
        let end = text.add(qty as usize + POINT_AND_DECIMALS);
        let bytes = _mm256_loadu_si256(end.sub(ROW).cast());
        let differences = _mm256_xor_si256(bytes, of_row(expected));
        let wrong = _mm256_subs_epu8(differences, of_row(highest));
        let digits = _mm256_permutexvar_epi8(of_row(digits), differences);
        let tens = _mm256_set1_epi16(i16::from_le_bytes([10, 1]));
        let twos = _mm256_maddubs_epi16(digits, tens);
        let fours = _mm256_madd_epi16(twos, _mm256_set1_epi32(1 << 16 | 100));
        Row { fours, wrong }
    }
}

/// # Safety
/// As for [`Lanes::rows`].
#[inline(always)]
unsafe fn rows(text: &[u8], points: *const u32, scale: &FineScale, out: *mut Level) -> usize {
    /// The last decimal and four bytes behind it.
    const BEHIND: usize = POINT_AND_DECIMALS + 4;
    debug_assert!(text.len() >= BLOCK, "{}", text.len());
    let start = text.as_ptr();
    let last = text.len() - BEHIND;
    let mut count = 0;
    // SAFETY: as is promised. Of the text is read around places that are found to be no later than `last`; the first place
    // beyond ends this, and no more than two behind it are read.
    unsafe {
        // Its quote is checked with it.
        let is_followed = |qty: u32| {
            let end = start.add(qty as usize + POINT_AND_DECIMALS);
            u32::from_le(end.cast::<u32>().read_unaligned()) == u32::from_le_bytes(*b"\"],[")
        };
        loop {
            let points = points.add(2 * count);
            // One by one: what two writes left in parts is waited for until both are in the cache.
            let [before, px, qty] = [points.sub(1), points, points.add(1)].map(|at| at.read());
            if qty as usize > last {
                return count;
            }
            let first = row(start, before, px, qty);
            if !is_followed(qty) {
                return count + usize::from(scale.levels(first, first, out.add(count)));
            }
            let [px_2, qty_2] = [points.add(2), points.add(3)].map(|at| at.read());
            if qty_2 as usize > last {
                return count;
            }
            let second = row(start, qty, px_2, qty_2);
            if !scale.levels(first, second, out.add(count)) {
                return count;
            }
            count += 2;
            if !is_followed(qty_2) {
                return count;
            }
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
        unsafe { self.0.uints(text, spans) }
    }

    #[inline(always)]
    unsafe fn decimals<const N: usize>(self, text: &[u8], spans: Spans<N>) -> Option<[u64; N]> {
        // SAFETY: likewise.
        unsafe { self.0.decimals(text, spans) }
    }

    #[inline(always)]
    unsafe fn levels(self, text: &[u8], spans: Spans<4>, scale: &Scale, out: *mut Level) -> bool {
        // SAFETY: likewise.
        unsafe { self.0.levels(text, spans, scale, out) }
    }

    #[inline(always)]
    unsafe fn places(self, points: u64, at: u32, out: *mut u32) -> usize {
        // 64 bytes of levels have no more than five, whose numbers are of 13 bytes and more with what follows.
        const AT_ONCE: usize = 8;
        // SAFETY: as is promised, and this kernel has what it needs; what is written is less than a block's.
        unsafe {
            // Into all of them, not into zeros: Zen 4 has such an instruction wait for what its register held, even where none
            // of it is kept; a register that was just copied is waited for by nobody.
            let all = _mm512_loadu_epi8(PLACES.as_ptr().cast());
            let places = _mm512_mask_compress_epi8(all, points, all);
            let places = _mm256_cvtepu8_epi32(_mm512_castsi512_si128(places));
            let places = _mm256_add_epi32(places, _mm256_set1_epi32(at.cast_signed()));
            _mm256_storeu_si256(out.cast(), places);
            match points.count_ones() as usize {
                count @ ..=AT_ONCE => count,
                _ => self.0.places(points, at, out),
            }
        }
    }

    #[inline(always)]
    unsafe fn rows(self, text: &[u8], points: *const u32, scale: &Scale, out: *mut Level) -> usize {
        // SAFETY: as is promised, and this kernel has what it needs.
        unsafe {
            match FineScale::new(scale) {
                Some(scale) => rows(text, points, &scale, out),
                None => 0,
            }
        }
    }
}
