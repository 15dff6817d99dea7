//! The two sides of a book.

use cobring_types::{Level, Px, Qty};

use super::index::{PointIndex, Points};
use super::text::{is_decimal, spans};
use super::{Cursor, FROM_QTY, Lanes, POINT_AND_DECIMALS, ROW, Scale, Spans, Text, WIDE};

/// Shortest level, `["1","0"],`.
const LEVEL_SIZE_BYTES_MIN: usize = 10;

/// What stands before the numbers of two levels: nothing, `","`, `"],["` and `","` again.
const GAPS: [usize; 4] = [0, 3, 5, 3];
/// A number's quote and what follows at most: `"],["`.
const SEPARATOR: usize = 5;

/// Two sides of a book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sides {
    /// Levels of the first side; the others are the second side's.
    pub first: usize,
    /// Offset of the byte behind them.
    pub end: usize,
}

impl Sides {
    /// Levels for which room is made where so many bytes are read.
    #[must_use]
    pub const fn room(size_bytes: usize) -> usize {
        size_bytes / LEVEL_SIZE_BYTES_MIN + 2
    }
}

impl Scale {
    /// A level, and whether its price is more than 0 and on the tick, and its quantity exact; else it means nothing.
    #[inline(always)]
    pub(super) fn level(&self, px: u64, qty: u64) -> (Level, bool) {
        let (ticks, is_on_tick) = self.tick.quotient(px);
        let (quantity, is_exact) = self.quantity.quotient(qty);
        let level = Level { px: Px(ticks.cast_signed()), qty: Qty(quantity.cast_signed()) };
        (level, is_on_tick & is_exact & (ticks != 0))
    }
}

impl<L: Lanes> Text<'_, L> {
    /// `[["2683.80000000","3.02920000"],…]`, then `between`, then another such list, from `at` on; `levels` are replaced
    /// by both. `index` is room that is used again.
    #[inline(always)]
    pub fn sides<const N: usize>(
        &self,
        at: usize,
        between: &[u8; N],
        scale: &Scale,
        index: &mut PointIndex,
        levels: &mut Vec<Level>,
    ) -> Option<Sides> {
        let left = self.bytes.len().checked_sub(at)?;
        levels.clear();
        levels.reserve(Sides::room(left));
        let mut points =
            if L::HAS_INDEX { index.find(self.bytes, at, self.lanes)? } else { Points::none() };
        let mut cursor = Cursor::new(self.bytes, at);
        let mut first = 0;
        for nth in 0..2 {
            if nth == 1 {
                first = levels.len();
                cursor.literal(between)?;
            }
            if cursor.optional(b"[[\"") {
                let end = self.side(cursor.at(), scale, &mut points, levels)?;
                cursor = Cursor::new(self.bytes, end);
            } else {
                cursor.literal(b"[]")?;
            }
        }
        Some(Sides { first, end: cursor.at() })
    }

    /// The levels of a side, from the first digit on, and the offset behind `]]`. There is room for as many levels as the
    /// text can have, and two more.
    #[inline(always)]
    fn side(
        &self,
        mut at: usize,
        scale: &Scale,
        points: &mut Points<'_>,
        levels: &mut Vec<Level>,
    ) -> Option<usize> {
        let size = self.bytes.len();
        if at < WIDE {
            return None;
        }
        let mut likely = [POINT_AND_DECIMALS + 1; 4];
        while at < size {
            if let Some(end) = self.rows(at, scale, points, levels) {
                match next(self.bytes, end)? {
                    Next::Level(next) => at = next,
                    Next::Nothing(end) => return Some(end),
                }
            }
            let found = if L::HAS_INDEX {
                points.four(at)
            } else {
                self.lanes.points(self.bytes, at, GAPS, likely)
            };
            let two = spans(at, found, GAPS);
            let [px, qty, px_2, qty_2] = two.ends;
            let [px_length, qty_length, px_length_2, qty_length_2] = two.lengths;
            // SAFETY: lengths that are a decimal's make ends ascend from `at` on, and what is read lies up to five bytes
            // behind the last of them, which are in the text. For what is written there is room: each level has ten
            // bytes or more.
            unsafe {
                if is_decimal(px_length)
                    && is_decimal(qty_length)
                    && qty + SEPARATOR <= size
                    && self.is_comma(px)
                {
                    let out = levels.as_mut_ptr().add(levels.len());
                    if L::HAS_LEVELS
                        && self.is_level(qty)
                        && is_decimal(px_length_2)
                        && is_decimal(qty_length_2)
                        && qty_2 + SEPARATOR <= size
                        && self.is_comma(px_2)
                        && self.lanes.levels(self.bytes, two, scale, out)
                    {
                        levels.set_len(levels.len() + 2);
                        points.next += 4;
                        if self.is_level(qty_2) {
                            at = qty_2 + SEPARATOR;
                            continue;
                        }
                        return self.is_end(qty_2).then_some(qty_2 + 3);
                    }
                    let one = Spans { ends: [px, qty], lengths: [px_length, qty_length] };
                    if self.lanes.level(self.bytes, one, scale, out) {
                        likely = [px_length, qty_length, px_length, qty_length];
                        levels.set_len(levels.len() + 1);
                        points.next += 2;
                        if self.is_level(qty) {
                            at = qty + SEPARATOR;
                            continue;
                        }
                        return self.is_end(qty).then_some(qty + 3);
                    }
                }
            }
            // Of any other length.
            let (level, end) = any_level(self.bytes, at, scale)?;
            levels.push(level);
            points.skip_to(end);
            match next(self.bytes, end)? {
                Next::Level(next) => at = next,
                Next::Nothing(end) => return Some(end),
            }
        }
        None
    }

    /// The levels that the kernel reads by itself; where they end, if there are any.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the length of an indexed text fits")]
    fn rows(
        &self,
        at: usize,
        scale: &Scale,
        points: &mut Points<'_>,
        levels: &mut Vec<Level>,
    ) -> Option<usize> {
        // The kernel leans on it that the next point is behind `at`, as it is whatever was read before.
        let next = *points.all.get(points.next)?;
        if at < ROW || (next as usize) < at {
            return None;
        }
        let before = points.all.get_mut(points.next - 1)?;
        *before = (at - FROM_QTY) as u32;
        let len = levels.len();
        // SAFETY: the index is this text's, and goes on behind what was written just now, as far from its start as was seen;
        // there is room for a level for every ten bytes and two more.
        let rows = unsafe {
            let next = points.all.as_ptr().add(points.next);
            let rows = self.lanes.rows(self.bytes, next, scale, levels.as_mut_ptr().add(len));
            debug_assert!(len + rows + 2 <= levels.capacity(), "{len} and {rows} levels");
            levels.set_len(len + rows);
            rows
        };
        points.next += 2 * rows;
        let last = *points.all.get(points.next - 1)?;
        (rows > 0).then_some(last as usize + POINT_AND_DECIMALS)
    }

    /// Whether a quantity follows a price that ends there.
    ///
    /// # Safety
    /// Four bytes from there on are in the text.
    #[inline(always)]
    unsafe fn is_comma(&self, end: usize) -> bool {
        // SAFETY: as is promised.
        unsafe { self.word(end) << 8 == u32::from_le_bytes(*b"\0\",\"") }
    }

    /// Whether another level follows one that ends there.
    ///
    /// # Safety
    /// Five bytes from there on are in the text.
    #[inline(always)]
    unsafe fn is_level(&self, end: usize) -> bool {
        // SAFETY: as is promised.
        unsafe {
            self.word(end) == u32::from_le_bytes(*b"\"],[")
                && *self.bytes.get_unchecked(end + 4) == b'"'
        }
    }

    /// Whether the side ends behind a level that ends there.
    ///
    /// # Safety
    /// Four bytes from there on are in the text.
    #[inline(always)]
    unsafe fn is_end(&self, end: usize) -> bool {
        // SAFETY: as is promised.
        unsafe { self.word(end) << 8 == u32::from_le_bytes(*b"\0\"]]") }
    }

    /// # Safety
    /// Four bytes from there on are in the text.
    #[inline(always)]
    unsafe fn word(&self, at: usize) -> u32 {
        debug_assert!(at + 4 <= self.bytes.len(), "{at} of {}", self.bytes.len());
        // SAFETY: as is promised; any bytes are a number.
        u32::from_le(unsafe { self.bytes.as_ptr().add(at).cast::<u32>().read_unaligned() })
    }
}

/// What follows a level.
enum Next {
    /// Another one, whose first digit is there.
    Level(usize),
    /// The side ends there.
    Nothing(usize),
}

#[inline(always)]
fn next(bytes: &[u8], end: usize) -> Option<Next> {
    match bytes.get(end..)? {
        [b'"', b']', b',', b'[', b'"', ..] => Some(Next::Level(end + SEPARATOR)),
        [b'"', b']', b']', ..] => Some(Next::Nothing(end + 3)),
        _ => None,
    }
}

/// A level of any shape from its first digit on, and the offset of its last quote.
#[cold]
fn any_level(bytes: &[u8], at: usize, scale: &Scale) -> Option<(Level, usize)> {
    let mut cursor = Cursor::new(bytes, at);
    let px = cursor.decimal()?;
    cursor.literal(b",\"")?;
    let qty = cursor.decimal()?;
    let (level, is_exact) = scale.level(px, qty);
    is_exact.then_some((level, cursor.at() - 1))
}
