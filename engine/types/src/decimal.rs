//! Decimal text to integers and integers to the nearest double, both exact.

use thiserror::Error;

/// Why a decimal text is not a number of the wanted scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecimalError {
    /// Not `[-]digits[.digits]`; `at` is the byte where that shows.
    #[error("not a decimal number at byte {at}")]
    Syntax {
        /// Offset of the first byte that does not fit.
        at: usize,
    },
    /// Digits other than zero beyond the wanted scale.
    #[error("more than {decimals} decimals")]
    TooFine {
        /// The decimals that fit.
        decimals: u8,
    },
    /// The value does not fit 64 bits at the wanted scale.
    #[error("too large at {decimals} decimals")]
    TooLarge {
        /// The scale that was wanted.
        decimals: u8,
    },
}

/// The value of `text` (`[-]digits[.digits]`) in units of 10^-`decimals`, exactly.
///
/// # Errors
/// [`DecimalError`] where the text is no such number, is finer than `decimals` or does not fit.
pub fn parse_decimal(text: &[u8], decimals: u8) -> Result<i64, DecimalError> {
    let (negative, digits_at) = match text.first() {
        Some(b'-') => (true, 1),
        _ => (false, 0),
    };
    let mut value: i64 = 0;
    let mut decimals_seen: Option<u8> = None;
    let mut digits = 0;
    for (at, &byte) in text.iter().enumerate().skip(digits_at) {
        match byte {
            b'0'..=b'9' => {
                digits += 1;
                match &mut decimals_seen {
                    Some(seen) if *seen == decimals => {
                        if byte != b'0' {
                            return Err(DecimalError::TooFine { decimals });
                        }
                        continue;
                    }
                    Some(seen) => *seen += 1,
                    None => {}
                }
                value = value
                    .checked_mul(10)
                    .and_then(|v| v.checked_add(i64::from(byte - b'0')))
                    .ok_or(DecimalError::TooLarge { decimals })?;
            }
            b'.' if decimals_seen.is_none() && digits > 0 => decimals_seen = Some(0),
            _ => return Err(DecimalError::Syntax { at }),
        }
    }
    if digits == 0 || text.last() == Some(&b'.') {
        return Err(DecimalError::Syntax { at: text.len() });
    }
    for _ in decimals_seen.unwrap_or(0)..decimals {
        value = value.checked_mul(10).ok_or(DecimalError::TooLarge { decimals })?;
    }
    Ok(if negative { -value } else { value })
}

/// The value of `text`, one or more digits and nothing else.
///
/// # Errors
/// [`DecimalError`] where the text is no such number or does not fit.
pub fn parse_uint(text: &[u8]) -> Result<u64, DecimalError> {
    if text.is_empty() {
        return Err(DecimalError::Syntax { at: 0 });
    }
    let mut value: u64 = 0;
    for (at, &byte) in text.iter().enumerate() {
        if !byte.is_ascii_digit() {
            return Err(DecimalError::Syntax { at });
        }
        value = value
            .checked_mul(10)
            .and_then(|v| v.checked_add(u64::from(byte - b'0')))
            .ok_or(DecimalError::TooLarge { decimals: 0 })?;
    }
    Ok(value)
}

const POWERS_OF_TEN_F64: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Three times each of them fits a word.
const POWERS_OF_TEN: [i64; 19] = {
    let mut powers = [1; 19];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// The double nearest to a whole number.
#[must_use]
#[inline]
#[expect(clippy::cast_precision_loss, reason = "the nearest one is wanted")]
pub fn whole_f64(value: i128) -> f64 {
    match i64::try_from(value) {
        Ok(value) => value as f64,
        Err(_) => wide_f64(value),
    }
}

/// Apart, since the compiler sees that it gives the same as the one instruction, and calls it in place of that.
#[cold]
#[inline(never)]
#[expect(clippy::cast_precision_loss, reason = "the nearest one is wanted")]
fn wide_f64(value: i128) -> f64 {
    value as f64
}

/// The double nearest to `value` / 10^`decimals`.
///
/// Up to 2^53 both operands of one IEEE division are exact, so its result is the nearest double
/// (multiplying by 0.01 is not). Above, whole numbers are divided, and where the power of ten has more than 64 bits the
/// decimal digits go through the standard library's correctly rounded parser; no way allocates.
#[must_use]
#[inline]
pub fn nearest_f64(value: i128, decimals: u8) -> f64 {
    let of_word = |value| small_f64(value, decimals).or_else(|| word_f64(value, decimals));
    let found = i64::try_from(value).ok().and_then(of_word);
    found.unwrap_or_else(|| nearest_f64_of_quotient(value, decimals))
}

/// The double nearest to `value` / 10^`decimals`, where one division gives it.
#[inline]
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
pub(crate) fn small_f64(value: i64, decimals: u8) -> Option<f64> {
    let power = small_divisor(value.unsigned_abs(), decimals)?;
    Some(value as f64 / power)
}

/// By what numbers of at most this magnitude are divided where one division gives the nearest double.
#[inline]
pub(crate) fn small_divisor(magnitude: u64, decimals: u8) -> Option<f64> {
    const EXACT: u64 = 1 << 53;
    POWERS_OF_TEN_F64.get(usize::from(decimals)).copied().filter(|_| magnitude <= EXACT)
}

/// The double nearest to `value` / 10^`decimals`, by a division whose operand was rounded before, and then put right: its
/// result is wrong by less than 1.5 of its last place. `None` where that place differs between the double and its
/// neighbours, and for more than 18 decimals.
#[inline]
#[expect(clippy::cast_precision_loss, reason = "what is lost is found below")]
fn word_f64(value: i64, decimals: u8) -> Option<f64> {
    const FRACTION_BITS: u32 = 52;
    const LEADING_BIT: u64 = 1 << FRACTION_BITS;
    const FRACTION_BIAS: u64 = 1075;
    let divisor = *POWERS_OF_TEN.get(usize::from(decimals))?;
    let magnitude = value.checked_abs()?;
    // Exact up to 10^22.
    let bits = (magnitude as f64 / divisor as f64).to_bits();
    let fraction = (bits & (LEADING_BIT - 1)) | LEADING_BIT;
    // Places behind the binary point.
    let places = FRACTION_BIAS.checked_sub(bits >> FRACTION_BITS)?;
    if places > 63 || fraction == LEADING_BIT || fraction == 2 * LEADING_BIT - 1 {
        return None;
    }
    // What is left in the last place is less than 1.5 divisors, so that the low words of both tell it.
    let rest = (magnitude << places).wrapping_sub((fraction.cast_signed()).wrapping_mul(divisor));
    let is_odd = fraction % 2 == 1;
    let up = u64::from(2 * rest > divisor || 2 * rest == divisor && is_odd);
    let down = u64::from(-2 * rest > divisor || -2 * rest == divisor && is_odd);
    let nearest = f64::from_bits(bits + up - down);
    Some(if value < 0 { -nearest } else { nearest })
}

#[inline(never)]
fn nearest_f64_of_quotient(value: i128, decimals: u8) -> f64 {
    let Some(divisor) = 10u64.checked_pow(decimals.into()) else {
        return nearest_f64_of_digits(value, decimals);
    };
    let divisor = u128::from(divisor);
    // All 128 bits are used, so that the quotient has at least 64: its last bit lies behind the one that rounds, and may
    // stand for whatever is left.
    let shift = value.unsigned_abs().leading_zeros().min(127);
    let shifted = value.unsigned_abs() << shift;
    let (quotient, rest) = (shifted / divisor, shifted % divisor);
    #[expect(clippy::cast_precision_loss, reason = "here it is rounded, once")]
    let rounded = (quotient | u128::from(rest != 0)) as f64;
    // 2^-shift: exact, as no such quotient is subnormal.
    let nearest = rounded * f64::from_bits((1023 - u64::from(shift)) << 52);
    if value < 0 { -nearest } else { nearest }
}

#[cold]
fn nearest_f64_of_digits(value: i128, decimals: u8) -> f64 {
    use std::io::Write as _;
    // Sign, 39 digits of an i128, "e-" and three digits of the exponent.
    let mut buffer = [0u8; 48];
    let capacity = buffer.len();
    let mut rest = &mut buffer[..];
    write!(rest, "{value}e-{decimals}").expect("invariant: 48 bytes hold every i128 and exponent");
    let length = capacity - rest.len();
    std::str::from_utf8(&buffer[..length])
        .ok()
        .and_then(|text| text.parse().ok())
        .expect("invariant: digits and an exponent are a number")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rust_decimal::Decimal;

    #[test]
    fn decimals_parse_exactly_or_say_why_not() {
        let too_fine = Err(DecimalError::TooFine { decimals: 2 });
        let too_large = Err(DecimalError::TooLarge { decimals: 2 });
        let syntax = |at| Err(DecimalError::Syntax { at });
        for (text, expected) in [
            ("2683.80000000", Ok(268_380)),
            ("0.01", Ok(1)),
            ("7", Ok(700)),
            ("-0.5", Ok(-50)),
            ("0.001", too_fine),
            ("92233720368547758.07", Ok(i64::MAX)),
            ("92233720368547758.08", too_large),
            ("99999999999999999999", too_large),
            ("", syntax(0)),
            ("-", syntax(1)),
            (".5", syntax(0)),
            ("5.", syntax(2)),
            ("1.2.3", syntax(3)),
            ("1e5", syntax(1)),
            ("NaN", syntax(0)),
            ("+1", syntax(0)),
            (" 1", syntax(0)),
        ] {
            assert_eq!(parse_decimal(text.as_bytes(), 2), expected, "{text:?}");
        }
        assert_eq!(parse_uint(b"18446744073709551615"), Ok(u64::MAX));
        assert_eq!(
            parse_uint(b"18446744073709551616"),
            Err(DecimalError::TooLarge { decimals: 0 })
        );
        assert_eq!(parse_uint(b""), syntax(0).map(|_: i64| 0));
    }

    proptest! {
        #[test]
        fn a_parsed_decimal_is_the_decimal(mantissa in any::<i64>(), scale in 0u32..12) {
            let decimal = Decimal::from_i128_with_scale(i128::from(mantissa), scale);
            let text = decimal.to_string();
            let expected = (decimal.fract().normalize().scale() <= 8)
                .then(|| decimal.checked_mul(Decimal::from(100_000_000)))
                .flatten()
                .and_then(|units| i64::try_from(units.trunc().mantissa() / 10i128.pow(units.trunc().scale())).ok());
            match parse_decimal(text.as_bytes(), 8) {
                Ok(units) => prop_assert_eq!(Some(units), expected),
                Err(_) => prop_assert_eq!(expected.filter(|&units| units != i64::MIN), None),
            }
        }

        #[test]
        fn a_double_is_the_nearest_one(value in any::<i128>(), word in any::<i64>(), shift in 0u32..64, decimals in 0u8..26) {
            for value in [value, i128::from(word), i128::from(word >> shift)] {
                let expected: f64 = format!("{value}e-{decimals}").parse().unwrap();
                prop_assert_eq!(nearest_f64(value, decimals).to_bits(), expected.to_bits());
            }
        }

        #[test]
        fn between_two_doubles_the_even_one_is_the_nearest(
            fraction in 1u64 << 52..1 << 53, places in 0u32..6, decimals in 0u8..6, off in -1i128..=1,
        ) {
            // Half-way between two doubles, and one beside it, where that is a whole number of units.
            let middle = (2 * i128::from(fraction) + 1) * 10i128.pow(decimals.into());
            let value = (middle >> (places + 1)) + off;
            let expected: f64 = format!("{value}e-{decimals}").parse().unwrap();
            prop_assert_eq!(nearest_f64(value, decimals).to_bits(), expected.to_bits());
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40), decimals in 0u8..30) {
            let _ = parse_decimal(&bytes, decimals);
            let _ = parse_uint(&bytes);
        }
    }
}
