//! Exact decimals: an `i128` counts units of 10^-8, products of two units of 10^-16.
//! Guarantees: no rounding before the one to the nearest double; overflow panics.
//! Does not: negative input but where asked for (no price or quantity is negative).

use std::ops::{Add, Sub};

/// Decimals of a price or a quantity.
pub(crate) const PLACES: u32 = 8;
const UNIT: i128 = 100_000_000;
/// Decimals kept of a ratio that is averaged later.
const RATIO_PLACES: u32 = 30;

/// A price or a quantity: units of 10^-8.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Dec(pub i128);

impl Dec {
    pub const ZERO: Dec = Dec(0);

    /// `digits[.digits]`; more than 8 decimals only if the rest are zeros.
    pub fn parse(text: &str) -> Option<Dec> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let all_digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !all_digits(whole) || !all_digits(fraction) || whole.len() > 20 {
            return None;
        }
        let kept = fraction.trim_end_matches('0');
        if kept.len() > PLACES as usize {
            return None;
        }
        let whole: i128 = whole.parse().ok()?;
        let fraction: i128 = format!("{kept:0<8}").parse().ok()?;
        Some(Dec(whole * UNIT + fraction))
    }

    /// As [`Dec::parse`], with an optional minus before it.
    pub(crate) fn parse_signed(text: &str) -> Option<Dec> {
        match text.strip_prefix('-') {
            Some(rest) => Dec::parse(rest).map(|dec| Dec(-dec.0)),
            None => Dec::parse(text),
        }
    }

    /// Product in units of 10^-16.
    pub(crate) fn times(self, other: Dec) -> i128 {
        self.0.checked_mul(other.0).expect("invariant: price x quantity fits 128 bits")
    }

    pub(crate) fn to_f64(self) -> f64 {
        decimal_to_f64(self.0, PLACES)
    }
}

impl Add for Dec {
    type Output = Dec;
    fn add(self, other: Dec) -> Dec {
        Dec(self.0.checked_add(other.0).expect("invariant: a sum of quantities fits 128 bits"))
    }
}

impl Sub for Dec {
    type Output = Dec;
    fn sub(self, other: Dec) -> Dec {
        Dec(self.0 - other.0)
    }
}

/// `mantissa` / 10^`places`, written out in full: the standard library reads it back as the nearest float.
fn written_out(mantissa: i128, places: u32) -> String {
    let one = 10_i128.pow(places);
    let (whole, fraction) = (mantissa.abs() / one, mantissa.abs() % one);
    let sign = if mantissa < 0 { "-" } else { "" };
    let width = places as usize;
    format!("{sign}{whole}.{fraction:0width$}")
}

/// The double nearest to `mantissa` / 10^`places`.
pub(crate) fn decimal_to_f64(mantissa: i128, places: u32) -> f64 {
    read_back(&written_out(mantissa, places))
}

/// The 32-bit float nearest to `mantissa` (≥ 0) / 10^`places`, without a stop at the nearest double.
pub(crate) fn decimal_to_f32(mantissa: i128, places: u32) -> f32 {
    written_out(mantissa, places).parse().expect("invariant: digits, a point, digits")
}

/// The double nearest to `numerator` / `denominator` (> 0): long division to 60 decimals.
pub(crate) fn ratio_to_f64(numerator: i128, denominator: i128) -> f64 {
    let sign = if numerator < 0 { "-" } else { "" };
    let (whole, fraction) = long_division(numerator, denominator, 60);
    read_back(&format!("{sign}{whole}.{fraction}"))
}

/// `numerator` / `denominator` (> 0) in units of 10^-30, cut off.
pub(crate) fn ratio_fixed(numerator: i128, denominator: i128) -> i128 {
    let (whole, fraction) = long_division(numerator, denominator, RATIO_PLACES);
    let digits: i128 =
        format!("{whole}{fraction}").parse().expect("invariant: the ratio is at most 10^8");
    if numerator < 0 { -digits } else { digits }
}

/// The mean of ratios from [`ratio_fixed`]; none: no mean.
pub(crate) fn mean_of_fixed(ratios: &[i128]) -> Option<f64> {
    let count = i128::try_from(ratios.len()).expect("invariant: a count fits 128 bits");
    let sum: i128 = ratios.iter().sum();
    (count > 0).then(|| ratio_to_f64(sum, count * 10_i128.pow(RATIO_PLACES)))
}

/// Σ price × quantity (10^-16) over Σ quantity (10^-8).
pub(crate) fn weighted_px(value: i128, quantity: i128) -> Option<f64> {
    (quantity > 0).then(|| ratio_to_f64(value, quantity * UNIT))
}

/// Whole part and the first `places` decimals of |numerator| / denominator.
fn long_division(numerator: i128, denominator: i128, places: u32) -> (i128, String) {
    assert!(denominator > 0, "denominator {denominator} is not positive");
    let whole = numerator.abs() / denominator;
    let mut rest = numerator.abs() % denominator;
    let mut fraction = String::new();
    for _ in 0..places {
        rest = rest.checked_mul(10).expect("invariant: denominators stay below 10^37");
        fraction.push_str(&(rest / denominator).to_string());
        rest %= denominator;
    }
    (whole, fraction)
}

fn read_back(text: &str) -> f64 {
    let value: f64 = text.parse().expect("invariant: digits, a point, digits");
    if value == 0.0 { 0.0 } else { value } // no -0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_exactly_or_not_at_all() {
        assert_eq!(Dec::parse("61837.63000000"), Some(Dec(6_183_763_000_000)));
        assert_eq!(Dec::parse("0.00000001"), Some(Dec(1)));
        assert_eq!(Dec::parse("5"), Some(Dec(500_000_000)));
        assert_eq!(Dec::parse("1.0000000000"), Some(Dec(100_000_000)));
        assert_eq!(Dec::parse_signed("-0.5"), Some(Dec(-50_000_000)));
        assert_eq!(Dec::parse_signed("--1"), None);
        for bad in ["", "-1", "1.", ".5", "1.000000001", "1e3", "NaN", " 1"] {
            assert_eq!(Dec::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn floats_are_the_nearest_doubles() {
        let bits = f64::to_bits;
        assert_eq!(bits(Dec::parse("61837.63").unwrap().to_f64()), bits(61837.63));
        assert_eq!(bits(decimal_to_f64(-25, 1)), bits(-2.5));
        // Just above the middle of two 32-bit floats; the nearest double is that middle, whose even side is 1.
        let above_middle = 1_000_000_059_604_644_775_390_626;
        assert_eq!(decimal_to_f32(above_middle, 24).to_bits(), 1.000_000_1_f32.to_bits());
        assert_eq!(bits(ratio_to_f64(1, 3)), bits(1.0 / 3.0));
        assert_eq!(bits(ratio_to_f64(-2, 3)), bits(-2.0 / 3.0));
        assert_eq!(bits(ratio_to_f64(0, 7)), bits(0.0));
        assert_eq!(
            mean_of_fixed(&[ratio_fixed(1, 4), ratio_fixed(-3, 4)]).map(bits),
            Some(bits(-0.25))
        );
        assert_eq!(mean_of_fixed(&[]), None);
    }
}
