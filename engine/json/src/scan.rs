//! Known shapes of hot messages, read without a tape: openings seen before, literals, numbers, the two sides of a book.
//!
//! Guarantees: every byte that is passed is checked; the smallest surprise gives `None`, and the caller reads the whole
//! message by [`crate::Parser`] instead; no allocation once a message as large was seen. Kernels differ in what they are
//! quick at, never in a number.
//! Needs: nothing; the kernel is chosen once, by what the processor has. Does not: name what was wrong, know a venue.
//!
//! A kernel has [`Lanes`]: it converts several numbers at once. All that leads there is written once, for any lanes, and
//! compiled once for each kernel with the instructions that it needs: [`Scanner::run`] is the only way in.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod book;
mod cursor;
mod digits;
mod index;
mod portable;
mod template;
mod text;

pub use book::Sides;
pub use cursor::{Cursor, is_same};
pub use index::PointIndex;
pub use template::{NUMBERS_MAX, Template};
pub use text::{Decimals, Text};

use cobring_types::{ExactDivisor, Level};

/// Decimals of the units that decimals are read in.
pub const UNIT_DECIMALS: u8 = 8;

/// Longest text of a number that lanes hold: 16 digits, or seven, a point and eight decimals.
const WIDE: usize = 16;
/// Bytes of a level, without the brackets around it, that a kernel reads at once.
const ROW: usize = 32;
/// A point and its eight decimals.
const POINT_AND_DECIMALS: usize = 9;
/// From a quantity's point to the first digit of the next price: eight decimals and `"],["`.
const FROM_QTY: usize = POINT_AND_DECIMALS + 5;
/// From a price's point to the first digit of its quantity: eight decimals and `","`.
const FROM_PX: usize = POINT_AND_DECIMALS + 3;
/// Bytes that are searched for points at a time: the shortest text that can be scanned.
const BLOCK: usize = 64;

/// How several numbers are read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// 64 bytes at a time.
    Avx512,
    /// 32 bytes at a time.
    Avx2,
    /// 8 bytes at a time.
    Portable,
}

impl Kernel {
    /// All of them, widest first.
    pub const ALL: [Self; 3] = [Self::Avx512, Self::Avx2, Self::Portable];

    /// The fastest one on this processor.
    #[must_use]
    pub fn best() -> Self {
        Self::ALL.into_iter().find(|kernel| kernel.is_supported()).unwrap_or(Self::Portable)
    }

    /// Whether this processor has what it needs.
    #[must_use]
    pub fn is_supported(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::is_supported(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::is_supported(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512 | Self::Avx2 => false,
            Self::Portable => true,
        }
    }
}

/// What is to be done by whichever kernel was chosen. `run` and all that it calls are to be inlined: what is not
/// inlined is compiled without the kernel's instructions.
pub trait Task {
    /// What comes of it.
    type Output;

    /// Does it.
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// A kernel that this processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scanner {
    kernel: Kernel,
}

impl Scanner {
    /// # Panics
    /// Where the processor does not have the kernel.
    #[must_use]
    pub fn new(kernel: Kernel) -> Self {
        assert!(kernel.is_supported(), "{kernel:?} is not what this processor has");
        Self { kernel }
    }

    /// Does the task.
    #[inline]
    pub fn run<T: Task>(self, task: T) -> T::Output {
        match self.kernel {
            // SAFETY: the kernel was found to be supported when this was made.
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512 => unsafe { avx512::run(task) },
            // SAFETY: likewise.
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => unsafe { avx2::run(task) },
            _ => portable::run(task),
        }
    }
}

/// What prices and quantities are counted in, in units of 10^-[`UNIT_DECIMALS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    tick: ExactDivisor,
    quantity: ExactDivisor,
    /// Ticks and smallest quantities of a whole, where both divide it.
    wholes: Option<[u64; 2]>,
}

impl Scale {
    /// Of a tick and of the smallest quantity.
    #[must_use]
    pub fn new(tick: ExactDivisor, quantity: ExactDivisor) -> Self {
        let whole = 10u64.pow(UNIT_DECIMALS.into());
        let wholes = tick.divide(whole).zip(quantity.divide(whole));
        Self { tick, quantity, wholes: wholes.map(<[u64; 2]>::from) }
    }

    /// A tick.
    #[inline]
    #[must_use]
    pub const fn tick(&self) -> &ExactDivisor {
        &self.tick
    }

    /// The smallest quantity.
    #[inline]
    #[must_use]
    pub const fn quantity(&self) -> &ExactDivisor {
        &self.quantity
    }
}

/// Where N numbers stand.
#[derive(Debug, Clone, Copy)]
#[doc(hidden)]
pub struct Spans<const N: usize> {
    /// Offsets of the bytes behind them: at least [`WIDE`], and at most the text's length.
    ends: [usize; N],
    /// So many bytes before each end are the number: 1 to [`WIDE`].
    lengths: [usize; N],
}

/// What a kernel does. There is a value of it only where the processor has what it needs.
#[doc(hidden)]
pub trait Lanes: Copy {
    /// How far behind `at` the points of N decimals in a row stand, if each has eight decimals and so many bytes stand
    /// before it (`gaps`). They may be no points, or those of other numbers: whoever asks checks all that stands there.
    /// Lengths that are likely can be used, and need not be right. `at` is in the text, which has [`BLOCK`] bytes or more.
    fn points<const N: usize>(
        self,
        text: &[u8],
        at: usize,
        gaps: [usize; N],
        likely: [usize; N],
    ) -> [usize; N];

    /// Whether an index of all points, made before the levels are read, is quicker than [`Self::points`] at each: a search
    /// then waits for no end of the one before. Where making it takes many instructions they are more than the wait.
    const HAS_INDEX: bool = false;

    /// The points in the [`BLOCK`] bytes from `at` on, a bit for each. They are in the text.
    #[inline(always)]
    fn points_of_block(self, text: &[u8], at: usize) -> u64 {
        let block = &text[at..at + BLOCK];
        block.iter().rev().fold(0, |bits, &byte| bits << 1 | u64::from(byte == b'.'))
    }

    /// Writes the places of a block's points, each `at` more, and tells how many there are. What is written behind them
    /// means nothing.
    ///
    /// # Safety
    /// `out` has room for [`BLOCK`] of them.
    #[inline(always)]
    unsafe fn places(self, mut points: u64, at: u32, out: *mut u32) -> usize {
        let count = points.count_ones() as usize;
        for place in 0..count {
            // SAFETY: as is promised.
            unsafe { out.add(place).write(at + points.trailing_zeros()) };
            points &= points.wrapping_sub(1);
        }
        count
    }

    /// The first levels of a side, as long as they stand there in the usual shape; how many, which may be fewer than there
    /// are. The others are to be read one by one. `points` is where the index goes on; the one before it stands as many bytes before the first number
    /// as if a level were there. What is written behind the levels means nothing.
    ///
    /// # Safety
    /// The text has [`BLOCK`] bytes or more. The places are of this text, each behind the one before; the first one, behind the
    /// one that was written before it, is [`ROW`] or more, and four that are beyond every text end them. `out` has room for
    /// a level for every 28 bytes that follow, which is what one takes, and for two more.
    #[inline(always)]
    unsafe fn rows(
        self,
        _text: &[u8],
        _points: *const u32,
        _scale: &Scale,
        _out: *mut Level,
    ) -> usize {
        0
    }

    /// Whole numbers: digits and nothing else. N is at most 4.
    ///
    /// # Safety
    /// The spans are what [`Spans`] says.
    unsafe fn uints<const N: usize>(self, text: &[u8], spans: Spans<N>) -> Option<[u64; N]>;

    /// Decimals of one to seven digits, a point and eight decimals and nothing else, in units. N is at most 4.
    ///
    /// # Safety
    /// The spans are what [`Spans`] says, and at least a digit longer than [`POINT_AND_DECIMALS`].
    unsafe fn decimals<const N: usize>(self, text: &[u8], spans: Spans<N>) -> Option<[u64; N]>;

    /// Whether [`Self::levels`] is quicker than [`Self::level`] twice.
    const HAS_LEVELS: bool;

    /// A level, price and quantity, and whether they are decimals as above, the price more than 0 and on the tick, the
    /// quantity exact; if not, what was written means nothing.
    ///
    /// # Safety
    /// As for [`Self::decimals`], and `out` has room.
    #[inline(always)]
    unsafe fn level(self, text: &[u8], spans: Spans<2>, scale: &Scale, out: *mut Level) -> bool {
        // SAFETY: as is promised.
        unsafe {
            let Some([px, qty]) = self.decimals(text, spans) else { return false };
            let (level, is_exact) = scale.level(px, qty);
            out.write(level);
            is_exact
        }
    }

    /// Two levels, likewise.
    ///
    /// # Safety
    /// As for [`Self::level`].
    #[inline(always)]
    unsafe fn levels(self, text: &[u8], spans: Spans<4>, scale: &Scale, out: *mut Level) -> bool {
        let Spans { ends: [px, qty, px_2, qty_2], lengths } = spans;
        let first = Spans { ends: [px, qty], lengths: [lengths[0], lengths[1]] };
        let second = Spans { ends: [px_2, qty_2], lengths: [lengths[2], lengths[3]] };
        // SAFETY: as is promised.
        unsafe {
            self.level(text, first, scale, out) && self.level(text, second, scale, out.add(1))
        }
    }
}
