//! From left to right: literals, strings, numbers of any length that fits.

use super::digits;

/// Reads a message from left to right; `None` where it is not as it was said to be.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'m> {
    bytes: &'m [u8],
    at: usize,
}

impl<'m> Cursor<'m> {
    /// At that byte.
    #[must_use]
    pub const fn new(bytes: &'m [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Offset of the next byte.
    #[must_use]
    pub const fn at(&self) -> usize {
        self.at
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
        let is_there = is_same(self.bytes.get(self.at..self.at + N)?, literal);
        self.at += N;
        is_there.then_some(())
    }

    /// Exactly these bytes, or none of them.
    #[inline(always)]
    pub fn optional<const N: usize>(&mut self, literal: &[u8; N]) -> bool {
        let is_there =
            self.bytes.get(self.at..self.at + N).is_some_and(|found| is_same(found, literal));
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
                digits::up_to_quote(digits::word(self.bytes, self.at + length)?);
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
        let (value, length) = digits::uint(self.bytes, self.at)?;
        // JSON has no leading zeros.
        if length > 1 && self.bytes.get(self.at) == Some(&b'0') {
            return None;
        }
        self.at += length;
        Some(value)
    }

    /// A decimal from behind its first quote, its last quote passed, in units of 10^-[`super::UNIT_DECIMALS`].
    #[inline(always)]
    #[must_use]
    pub fn decimal(&mut self) -> Option<u64> {
        let (units, length) = digits::decimal(self.bytes, self.at)?;
        self.at += length;
        (self.bytes.get(self.at) == Some(&b'"')).then(|| self.at += 1)?;
        Some(units)
    }
}

/// Whether two texts are the same, by two words that may overlap where that is quicker.
#[inline(always)]
#[must_use]
pub fn is_same<const N: usize>(found: &[u8], literal: &[u8; N]) -> bool {
    if N > 4 && N < 8 {
        found.len() == N
            && found.first_chunk::<4>() == literal.first_chunk::<4>()
            && found.last_chunk::<4>() == literal.last_chunk::<4>()
    } else {
        found == literal
    }
}
