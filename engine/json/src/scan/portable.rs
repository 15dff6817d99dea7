//! Eight bytes at a time, in plain integers.

use super::digits::{UNIT, ZEROS, combine, is_any_above_9, up_to_point};
use super::{Lanes, POINT_AND_DECIMALS, Spans, Task, WIDE};

/// Apart, as the other kernels are, so that whoever chooses among them stays small.
#[inline(never)]
pub(super) fn run<T: Task>(task: T) -> T::Output {
    task.run(Words)
}

/// Words of the processor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words;

const WORD: usize = 8;
/// Zeros of seven digits and a point.
const ZEROS_AND_POINT: u64 = ZEROS >> 8 | (b'.' as u64) << 56;
/// The bits of the last bytes of a word, by their number; of none as of all.
const LAST: [u64; WORD] = {
    let mut masks = [u64::MAX; WORD];
    let mut count = 1;
    while count < WORD {
        masks[count] = u64::MAX << (64 - 8 * count);
        count += 1;
    }
    masks
};

/// # Safety
/// Eight bytes from there on are in the text.
#[inline(always)]
unsafe fn word(text: &[u8], at: usize) -> u64 {
    debug_assert!(at + WORD <= text.len(), "{at} of {}", text.len());
    // SAFETY: as is promised; any bytes are a number.
    u64::from_le(unsafe { text.as_ptr().add(at).cast::<u64>().read_unaligned() })
}

impl Lanes for Words {
    const HAS_LEVELS: bool = false;

    #[inline(always)]
    fn points<const N: usize>(
        self,
        text: &[u8],
        at: usize,
        gaps: [usize; N],
        likely: [usize; N],
    ) -> [usize; N] {
        let mut from = at;
        let mut points = [0; N];
        for (place, (gap, length)) in points.iter_mut().zip(gaps.into_iter().zip(likely)) {
            from += gap;
            let point = from + length - POINT_AND_DECIMALS;
            // Where lengths are the same again, no address waits for what was read before it.
            if text.get(point) == Some(&b'.') {
                from = point;
            } else if from + WORD <= text.len() {
                // SAFETY: that is what was asked.
                from += up_to_point(unsafe { word(text, from) });
            } else {
                from += WORD;
            }
            *place = from - at;
            from += POINT_AND_DECIMALS;
        }
        points
    }

    #[inline(always)]
    unsafe fn uints<const N: usize>(self, text: &[u8], spans: Spans<N>) -> Option<[u64; N]> {
        let mut others = 0;
        let mut numbers = [0; N];
        for (at, number) in numbers.iter_mut().enumerate() {
            let (end, length) = (spans.ends[at], spans.lengths[at]);
            // SAFETY: the 16 bytes before an end are in the text.
            let (high, low) = unsafe { (word(text, end - WIDE), word(text, end - WORD)) };
            let kept = LAST[length % WORD];
            let (high, low) = if length > WORD {
                ((high ^ ZEROS) & kept, low ^ ZEROS)
            } else {
                (0, (low ^ ZEROS) & kept)
            };
            others |= is_any_above_9(low) | is_any_above_9(high);
            *number = combine(high) * UNIT + combine(low);
        }
        (others == 0).then_some(numbers)
    }

    #[inline(always)]
    unsafe fn decimals<const N: usize>(self, text: &[u8], spans: Spans<N>) -> Option<[u64; N]> {
        let mut others = 0;
        let mut numbers = [0; N];
        for (at, number) in numbers.iter_mut().enumerate() {
            let (end, length) = (spans.ends[at], spans.lengths[at]);
            // SAFETY: the 16 bytes before an end are in the text.
            let (whole, decimals) = unsafe { (word(text, end - WIDE), word(text, end - WORD)) };
            let whole = (whole ^ ZEROS_AND_POINT) & LAST[length % WORD];
            let decimals = decimals ^ ZEROS;
            others |= is_any_above_9(whole) | is_any_above_9(decimals) | whole >> 56;
            // The place of the point makes the whole part ten times as large.
            *number = combine(whole) * (UNIT / 10) + combine(decimals);
        }
        (others == 0).then_some(numbers)
    }
}
