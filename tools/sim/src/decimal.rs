//! Exact decimals with eight places, as the venue prints them.
//!
//! Guarantees: what is read is printed again digit for digit; nothing is ever rounded. Does not: hold more than
//! ±92 thousand million, or more than eight places (such text is refused).

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Units in one: 10^8.
pub(crate) const ONE: i64 = 100_000_000;

/// A price or a quantity in units of 10^-8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fixed(pub i64);

impl Fixed {
    /// Nothing: the quantity that deletes a level.
    pub const ZERO: Self = Self(0);

    /// Reads plain digits with at most eight places (`"2683.80000000"`); `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, places) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() || places.len() > 8 {
            return None;
        }
        let mut units: i64 = 0;
        for byte in
            whole.bytes().chain(places.bytes()).chain(std::iter::repeat_n(b'0', 8 - places.len()))
        {
            if !byte.is_ascii_digit() {
                return None;
            }
            units = units.checked_mul(10)?.checked_add(i64::from(byte - b'0'))?;
        }
        Some(Self(if negative { -units } else { units }))
    }
}

impl Fixed {
    /// Its text at the end of `text`; markets are mostly this, so it allocates nothing of its own.
    pub(crate) fn push_to(self, text: &mut String) {
        // 19 digits, the point, and one to spare.
        let mut digits = [b'0'; 21];
        let (mut left, mut at) = (self.0.unsigned_abs(), digits.len());
        while left > 0 || at > digits.len() - 10 {
            at -= 1;
            if at == digits.len() - 9 {
                digits[at] = b'.';
                continue;
            }
            digits[at] = b'0' + (left % 10) as u8;
            left /= 10;
        }
        if self.0 < 0 {
            text.push('-');
        }
        text.push_str(std::str::from_utf8(&digits[at..]).unwrap_or_default());
    }
}

impl fmt::Display for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(24);
        self.push_to(&mut text);
        f.write_str(&text)
    }
}

/// `units` of 10^-`scale` with `places` places, the rest cut off (the venue truncates quote volumes).
pub(crate) fn units_to_text(units: i128, scale: u32, places: u32) -> String {
    let kept = units / 10_i128.pow(scale - places);
    let sign = if kept < 0 { "-" } else { "" };
    let width = places as usize;
    // Nearly all fit, and archives have millions of them: division is slow beyond 64 bits.
    if let Ok(kept) = u64::try_from(kept.unsigned_abs()) {
        let one = 10_u64.pow(places);
        return format!("{sign}{}.{:0width$}", kept / one, kept % one);
    }
    let (kept, one) = (kept.unsigned_abs(), 10_u128.pow(places));
    format!("{sign}{}.{:0width$}", kept / one, kept % one)
}

impl Serialize for Fixed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fixed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format!("`{text}` is not a decimal with at most 8 places"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Fixed, units_to_text};

    #[test]
    fn what_is_read_is_printed_again() {
        for text in ["2683.80000000", "0.00000001", "0.00000000", "61837.63000000", "-1.50000000"] {
            assert_eq!(Fixed::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Fixed::parse("100"), Some(Fixed(10_000_000_000)));
    }

    #[test]
    fn any_number_prints_as_a_sum_of_it_does() {
        for units in [0, 1, -1, 99_999_999, 100_000_000, -123_456_789_012, i64::MAX, i64::MIN] {
            assert_eq!(Fixed(units).to_string(), units_to_text(i128::from(units), 8, 8));
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in
            ["", ".", "1.123456789", "1e3", "NaN", "1.2.3", "99999999999999999999", "+1", "1 "]
        {
            assert_eq!(Fixed::parse(text), None, "{text}");
        }
    }

    #[test]
    fn large_sums_are_printed_whole() {
        assert_eq!(units_to_text(12_345_678_901_234_567_890_123, 8, 8), "123456789012345.67890123");
        assert_eq!(units_to_text(i128::from(u64::MAX), 16, 16), "1844.6744073709551615");
    }

    #[test]
    fn quote_volumes_are_cut_not_rounded() {
        assert_eq!(units_to_text(19_999_999_999_999_999, 16, 8), "1.99999999");
        assert_eq!(units_to_text(-5, 8, 8), "-0.00000005");
    }
}
