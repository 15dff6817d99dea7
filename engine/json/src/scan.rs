//! Known shapes of hot messages, read without a tape: literals, integers, decimals and the two sides of a book.
//!
//! Guarantees: every byte that is passed is checked; the smallest surprise gives `None`, and the caller reads the whole
//! message by [`crate::Parser`] instead; no allocation once a message as large was seen. All kernels give the same.
//! Needs: nothing; the kernel is chosen once, by what the processor has. Does not: name what was wrong, know a venue.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use std::fmt;

/// Decimals of the units that decimals are read in.
pub const UNIT_DECIMALS: u8 = 8;

/// Longest text of a decimal that the vector kernels read: seven digits, a point, eight decimals.
const WIDE: usize = 16;
/// Shortest one: a digit, a point, eight decimals.
const NARROW: usize = 10;

/// How the levels of a book are read.
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
    /// All of them, fastest first.
    pub const ALL: [Self; 3] = [Self::Avx512, Self::Avx2, Self::Portable];

    /// The fastest one that this processor has.
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

/// Price and quantity of a level, in units of 10^-[`UNIT_DECIMALS`].
pub type Pair = [u64; 2];

/// Reads the two sides of a book.
pub struct Scanner {
    kernel: Kernel,
    /// Offsets of the quotes of the part that is read, and room for whole vectors behind them.
    quotes: Vec<u32>,
    pairs: Vec<Pair>,
}

/// Two sides of a book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sides<'s> {
    /// The levels of the first side.
    pub first: &'s [Pair],
    /// The levels of the second side.
    pub second: &'s [Pair],
    /// Offset of the byte behind them.
    pub end: usize,
}

impl Scanner {
    /// With that kernel, warm for messages of that size.
    ///
    /// # Panics
    /// Where the processor does not have it.
    #[must_use]
    pub fn with_kernel(kernel: Kernel, message_size_bytes: usize) -> Self {
        assert!(kernel.is_supported(), "{kernel:?} is not what this processor has");
        let mut scanner = Self { kernel, quotes: Vec::new(), pairs: Vec::new() };
        scanner.reserve(message_size_bytes);
        scanner
    }

    /// Room for what so many bytes can hold: the shortest level, `["1","0"],`, has ten bytes and four quotes.
    fn reserve(&mut self, size_bytes: usize) {
        let levels = size_bytes / 10 + 8;
        self.pairs.clear();
        self.pairs.reserve(levels);
        self.quotes.clear();
        self.quotes.reserve(4 * levels + 128);
    }

    /// `[["2683.80000000","3.02920000"],…]`, then `between`, then another such list, from `at` on.
    #[inline]
    pub fn sides(&mut self, bytes: &[u8], at: usize, between: &[u8]) -> Option<Sides<'_>> {
        // Vectors are read that end where a number does; and offsets have 32 bits.
        if at < WIDE || bytes.len() <= at || u32::try_from(bytes.len()).is_err() {
            return None;
        }
        self.reserve(bytes.len() - at);
        let Self { kernel, quotes, pairs } = self;
        let message = Message { bytes, at, between };
        let (first, end) = match kernel {
            // SAFETY: the kernel was found to be supported when this was made.
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512 => unsafe { avx512::sides(message, quotes, pairs) },
            // SAFETY: likewise.
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => unsafe { avx2::sides(message, quotes, pairs) },
            _ => portable::sides(message, pairs),
        }?;
        let (first, second) = pairs.split_at_checked(first)?;
        Some(Sides { first, second, end })
    }
}

impl fmt::Debug for Scanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scanner").field("kernel", &self.kernel).finish_non_exhaustive()
    }
}

/// What a kernel reads.
#[derive(Clone, Copy)]
struct Message<'m> {
    bytes: &'m [u8],
    /// Of the first list; at least [`WIDE`].
    at: usize,
    between: &'m [u8],
}

/// What follows a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follows {
    Level,
    End,
}

/// Behind the quote at `quote`, which ends a level's quantity.
#[inline]
fn follows(bytes: &[u8], quote: usize) -> Option<Follows> {
    match bytes.get(quote + 1..quote + 5) {
        Some(b"],[\"") => Some(Follows::Level),
        _ if bytes.get(quote + 1..quote + 3) == Some(b"]]") => Some(Follows::End),
        _ => None,
    }
}

/// Behind exactly these bytes.
#[inline]
fn skip(bytes: &[u8], at: usize, literal: &[u8]) -> Option<usize> {
    let end = at + literal.len();
    (bytes.get(at..end)? == literal).then_some(end)
}

/// Both sides; `levels` reads one from the quote of its first level on, adds what it finds, and tells where the side ends.
/// Gives the number of levels of the first one, and the end.
#[inline(always)]
fn both_sides(
    message: Message<'_>,
    pairs: &mut Vec<Pair>,
    mut levels: impl FnMut(usize, &mut Vec<Pair>) -> Option<usize>,
) -> Option<(usize, usize)> {
    let Message { bytes, at, between } = message;
    let mut side = |at: usize, pairs: &mut Vec<Pair>| match bytes.get(at..at + 3)? {
        b"[[\"" => levels(at + 2, pairs),
        [b'[', b']', _] => Some(at + 2),
        _ => None,
    };
    let at = side(at, pairs)?;
    let first = pairs.len();
    let at = skip(bytes, at, between)?;
    Some((first, side(at, pairs)?))
}

/// A level of any shape from its first quote on, and the offset of its last quote.
#[cold]
fn any_level(bytes: &[u8], quote: usize) -> Option<(Pair, usize)> {
    let mut cursor = Cursor { bytes, at: quote + 1 };
    let px = cursor.decimal()?;
    cursor.literal(b",\"")?;
    let qty = cursor.decimal()?;
    Some(([px, qty], cursor.at - 1))
}

/// Reads a message from left to right; `None` where it is not as it was said to be.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'m> {
    bytes: &'m [u8],
    at: usize,
}

impl<'m> Cursor<'m> {
    /// At the first byte.
    #[must_use]
    pub const fn new(bytes: &'m [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Offset of the next byte.
    #[must_use]
    pub const fn at(&self) -> usize {
        self.at
    }

    /// Goes on there.
    pub const fn seek(&mut self, at: usize) {
        self.at = at;
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Exactly these bytes.
    #[inline(always)]
    #[must_use]
    pub fn literal<const N: usize>(&mut self, literal: &[u8; N]) -> Option<()> {
        let is_there = self.bytes.get(self.at..self.at + N)? == literal;
        self.at += N;
        is_there.then_some(())
    }

    /// Exactly this text.
    #[inline(always)]
    #[must_use]
    pub fn text(&mut self, text: &[u8]) -> Option<()> {
        self.at = skip(self.bytes, self.at, text)?;
        Some(())
    }

    /// Exactly these bytes, or none of them.
    #[inline(always)]
    pub fn optional<const N: usize>(&mut self, literal: &[u8; N]) -> bool {
        let is_there = self.bytes.get(self.at..self.at + N).is_some_and(|found| found == literal);
        self.at += if is_there { N } else { 0 };
        is_there
    }

    /// A string from behind its first quote, its last quote passed: printable ASCII without escapes, 1 to 63 bytes.
    #[inline(always)]
    #[must_use]
    pub fn string(&mut self) -> Option<&'m str> {
        let mut length = 0;
        loop {
            let (count, is_plain) =
                portable::up_to_quote(portable::word(self.bytes, self.at + length)?);
            length += count;
            if !is_plain || length > 63 {
                return None;
            }
            if count < 8 {
                break;
            }
        }
        let text = self.bytes.get(self.at..self.at + length)?;
        self.at += length + 1;
        std::str::from_utf8(text).ok().filter(|text| !text.is_empty())
    }

    /// A whole number of at most 18 digits, the byte behind it not passed.
    #[inline(always)]
    #[must_use]
    pub fn uint(&mut self) -> Option<u64> {
        let (value, length) = portable::uint(self.bytes, self.at)?;
        // JSON has no leading zeros.
        if length > 1 && self.bytes.get(self.at) == Some(&b'0') {
            return None;
        }
        self.at += length;
        Some(value)
    }

    /// A decimal from behind its first quote, its last quote passed, in units of 10^-[`UNIT_DECIMALS`].
    #[inline(always)]
    #[must_use]
    pub fn decimal(&mut self) -> Option<u64> {
        let (units, length) = portable::decimal(self.bytes, self.at)?;
        self.at += length;
        (self.bytes.get(self.at) == Some(&b'"')).then(|| self.at += 1)?;
        Some(units)
    }
}
