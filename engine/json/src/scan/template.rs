//! Texts that differ in their numbers alone.

use super::{Lanes, Spans, Text, WIDE};

/// Numbers that a template has at most.
pub const NUMBERS_MAX: usize = 3;

/// Longest template; a whole number of parts.
const SIZE: usize = 160;
/// Bytes that are compared at a time.
const PART: usize = 32;

/// How a message begins, with numbers in it that have so many digits.
#[derive(Debug, Clone, Copy)]
pub struct Template {
    text: [u8; SIZE],
    /// All bits of the bytes that are compared, none of those of numbers and those behind the end.
    fixed: [u8; SIZE],
    length: usize,
    spans: Spans<NUMBERS_MAX>,
    /// The least numbers of so many digits: JSON has no leading zeros.
    least: [u64; NUMBERS_MAX],
}

impl Template {
    /// Of a text and where its numbers begin and end, one of them at least. `None` where it is too long, or a number is.
    #[must_use]
    pub fn new(text: &[u8], numbers: &[(usize, usize)]) -> Option<Self> {
        let &(first, _) = numbers.first()?;
        let mut template = Self {
            text: [0; SIZE],
            fixed: [0; SIZE],
            length: text.len(),
            // Numbers that there are none of are the first one.
            spans: Spans { ends: [0; NUMBERS_MAX], lengths: [0; NUMBERS_MAX] },
            least: [0; NUMBERS_MAX],
        };
        template.text.get_mut(..text.len())?.copy_from_slice(text);
        template.fixed.get_mut(..text.len())?.fill(0xff);
        for at in 0..NUMBERS_MAX.max(numbers.len()) {
            let &(from, to) = numbers.get(at).or_else(|| numbers.first())?;
            let length = to.checked_sub(from)?;
            if !(1..=WIDE).contains(&length) || from < first || to < WIDE {
                return None;
            }
            template.fixed.get_mut(from..to)?.fill(0);
            *template.spans.ends.get_mut(at)? = to;
            *template.spans.lengths.get_mut(at)? = length;
            *template.least.get_mut(at)? =
                if length > 1 { 10u64.pow(u32::try_from(length).ok()? - 1) } else { 0 };
        }
        Some(template)
    }

    /// Its length, and that of what it matches.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }
}

impl<L: Lanes> Text<'_, L> {
    /// Whether it begins like that but for the numbers, and a little more follows.
    #[inline(always)]
    #[must_use]
    pub fn begins_like(&self, template: &Template) -> bool {
        let Some(begin) = self.bytes.get(..template.length.next_multiple_of(PART)) else {
            return false;
        };
        let (parts, _) = begin.as_chunks::<PART>();
        let (texts, _) = template.text.as_chunks::<PART>();
        let (masks, _) = template.fixed.as_chunks::<PART>();
        let mut different = [0; PART];
        for ((part, text), mask) in parts.iter().zip(texts).zip(masks) {
            for (at, different) in different.iter_mut().enumerate() {
                *different |= (part[at] ^ text[at]) & mask[at];
            }
        }
        different == [0; PART]
    }

    /// The first N numbers of a text that begins like that.
    #[inline(always)]
    #[must_use]
    pub fn numbers<const N: usize>(&self, template: &Template) -> Option<[u64; N]> {
        const { assert!(N <= NUMBERS_MAX) };
        let Spans { ends, lengths } = template.spans;
        let spans = Spans {
            ends: std::array::from_fn(|at| ends[at]),
            lengths: std::array::from_fn(|at| lengths[at]),
        };
        if template.length > self.bytes.len() {
            return None;
        }
        // SAFETY: numbers end at `WIDE` or behind, in the template, which is no longer than the text; their lengths were
        // checked when the template was made.
        let numbers = unsafe { self.lanes.uints(self.bytes, spans) }?;
        numbers
            .iter()
            .zip(template.least)
            .all(|(&number, least)| number >= least)
            .then_some(numbers)
    }
}
