//! What is traded: symbol, tick and the scale of its numbers.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::decimal::{small_divisor, small_f64};
use crate::{DecimalError, KLINE_QUOTE_DECIMALS, Level, Px, Qty, nearest_f64, parse_decimal};

/// Longest symbol, in bytes of UTF-8 (venues list symbols beyond ASCII).
pub const MAX_SYMBOL_BYTES: usize = 24;

/// Highest price, in ticks.
const MAX_TICKS: i64 = 1 << 60;

/// Position of a symbol in the engine's configuration, in order of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SymbolIndex(pub u16);

impl SymbolIndex {
    /// No symbol, or all of them: a text message before it is parsed, a link, a stop.
    pub const NONE: Self = Self(u16::MAX);

    /// As an index into tables of symbols.
    #[must_use]
    pub fn at(self) -> usize {
        usize::from(self.0)
    }
}

/// A symbol of at most [`MAX_SYMBOL_BYTES`] bytes, as the venue's REST interface writes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol {
    bytes: [u8; MAX_SYMBOL_BYTES],
}

impl Symbol {
    /// # Errors
    /// [`InstrumentError::Symbol`] where it is empty, too long, or holds white space, a slash, a
    /// control character or a leading dot (it becomes a file name).
    pub fn new(text: &str) -> Result<Self, InstrumentError> {
        let fits = !text.is_empty()
            && text.len() <= MAX_SYMBOL_BYTES
            && !text.starts_with('.')
            && !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/' || c == '\\');
        if !fits {
            return Err(InstrumentError::Symbol { found: text.chars().take(40).collect() });
        }
        let mut bytes = [0; MAX_SYMBOL_BYTES];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self { bytes })
    }

    /// The symbol's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let length = self.bytes.iter().position(|&b| b == 0).unwrap_or(MAX_SYMBOL_BYTES);
        std::str::from_utf8(&self.bytes[..length]).expect("invariant: made from a str")
    }

    /// The text padded with zero bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; MAX_SYMBOL_BYTES] {
        self.bytes
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Symbol({})", self.as_str())
    }
}

/// Why an instrument cannot be described.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InstrumentError {
    /// Not a symbol that can name a segment.
    #[error(
        "{found:?} is no symbol: wanted 1 to {MAX_SYMBOL_BYTES} bytes without white space or slashes"
    )]
    Symbol {
        /// What was given, cut to 40 characters.
        found: String,
    },
    /// Not a usable tick size.
    #[error("{found:?} is no tick size: wanted a decimal above 0 with at most 12 decimals")]
    TickSize {
        /// What was given.
        found: String,
    },
    /// A price-like decimal that is no whole number of ticks.
    #[error("{found} is no whole number of ticks of {tick}")]
    NotOnTick {
        /// What was given.
        found: String,
        /// The tick size.
        tick: String,
    },
}

/// A symbol and the scales of its prices and quantities.
///
/// A price of `ticks` is `ticks * tick_mantissa / 10^price_decimals`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instrument {
    /// The venue's name for it.
    pub symbol: Symbol,
    /// Decimals of the tick size.
    pub price_decimals: u8,
    /// The tick size in units of 10^-`price_decimals`; 1 for ticks that are powers of ten.
    pub tick_mantissa: i64,
    /// Quantities are counted in 10^-`qty_decimals` of the base asset.
    pub qty_decimals: u8,
}

impl Instrument {
    /// An instrument with the given tick size, a decimal text such as `"0.01"`.
    ///
    /// # Errors
    /// [`InstrumentError`] where the symbol or the tick size cannot be used.
    pub fn new(symbol: &str, tick_size: &str, qty_decimals: u8) -> Result<Self, InstrumentError> {
        let symbol = Symbol::new(symbol)?;
        let bad_tick = || InstrumentError::TickSize { found: tick_size.to_owned() };
        let fraction =
            tick_size.split_once('.').map_or("", |(_, fraction)| fraction).trim_end_matches('0');
        let price_decimals =
            u8::try_from(fraction.len()).ok().filter(|&n| n <= 12).ok_or_else(bad_tick)?;
        let tick_mantissa =
            parse_decimal(tick_size.as_bytes(), price_decimals).map_err(|_| bad_tick())?;
        if tick_mantissa <= 0 {
            return Err(bad_tick());
        }
        Ok(Self { symbol, price_decimals, tick_mantissa, qty_decimals })
    }

    /// The tick size as a decimal text.
    #[must_use]
    pub fn tick_size(&self) -> String {
        let digits =
            format!("{:0width$}", self.tick_mantissa, width = usize::from(self.price_decimals) + 1);
        let (whole, fraction) = digits.split_at(digits.len() - usize::from(self.price_decimals));
        if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
    }

    /// A price from its decimal text; finer than the tick is an error, never rounded.
    ///
    /// # Errors
    /// [`DecimalError`] where the text is no such price.
    pub fn parse_px(&self, text: &[u8]) -> Result<Px, DecimalError> {
        let units = parse_decimal(text, self.price_decimals)?;
        if self.tick_mantissa != 1 && units % self.tick_mantissa != 0 {
            return Err(DecimalError::TooFine { decimals: self.price_decimals });
        }
        let ticks = units / self.tick_mantissa;
        // Sums of two prices and twice a distance must fit 64 bits.
        if ticks.abs() > MAX_TICKS {
            return Err(DecimalError::TooLarge { decimals: self.price_decimals });
        }
        Ok(Px(ticks))
    }

    /// A quantity from its decimal text.
    ///
    /// # Errors
    /// [`DecimalError`] where the text is no such quantity.
    pub fn parse_qty(&self, text: &[u8]) -> Result<Qty, DecimalError> {
        parse_decimal(text, self.qty_decimals).map(Qty)
    }

    /// A kline's quote volume as ticks times quantity units, rounded down where it is no whole number of them.
    #[must_use]
    pub fn kline_notional(&self, quote_volume: i64) -> i128 {
        let decimals = i32::from(self.price_decimals + self.qty_decimals);
        let shift = decimals - i32::from(KLINE_QUOTE_DECIMALS);
        let power = 10i128.pow(shift.unsigned_abs());
        let units = if shift >= 0 {
            i128::from(quote_volume) * power
        } else {
            i128::from(quote_volume).div_euclid(power)
        };
        units.div_euclid(i128::from(self.tick_mantissa))
    }

    /// A length on the price axis (a bucket size, a range) in ticks.
    ///
    /// # Errors
    /// [`InstrumentError::NotOnTick`] where it is no whole number of ticks above 0.
    pub fn parse_ticks(&self, text: &str) -> Result<i64, InstrumentError> {
        match self.parse_px(text.as_bytes()) {
            Ok(Px(ticks)) if ticks > 0 => Ok(ticks),
            _ => Err(InstrumentError::NotOnTick { found: text.to_owned(), tick: self.tick_size() }),
        }
    }

    /// A price as the nearest double of its exact decimal; NaN for [`Px::UNDEF`].
    #[must_use]
    #[inline]
    pub fn px_f64(&self, px: Px) -> f64 {
        let units = px.0.checked_mul(self.tick_mantissa);
        if let Some(value) = units.and_then(|units| small_f64(units, self.price_decimals)) {
            return value;
        }
        px.get().map_or(f64::NAN, |ticks| self.ticks_f64(i128::from(ticks)))
    }

    /// A number of ticks in quote units, the nearest double.
    #[must_use]
    pub fn ticks_f64(&self, ticks: i128) -> f64 {
        nearest_f64(ticks * i128::from(self.tick_mantissa), self.price_decimals)
    }

    /// Half of a number of ticks in quote units (a mid from a sum of two prices), the nearest double.
    #[must_use]
    pub fn half_ticks_f64(&self, half_ticks: i128) -> f64 {
        nearest_f64(half_ticks * i128::from(self.tick_mantissa) * 5, self.price_decimals + 1)
    }

    /// A quantity as the nearest double of its exact decimal; NaN for [`Qty::UNDEF`].
    #[must_use]
    #[inline]
    pub fn qty_f64(&self, qty: Qty) -> f64 {
        if let Some(value) = small_f64(qty.0, self.qty_decimals) {
            return value;
        }
        qty.get().map_or(f64::NAN, |units| self.qty_sum_f64(i128::from(units)))
    }

    /// Prices and quantities of levels, as [`Self::px_f64`] and [`Self::qty_f64`] give them.
    #[must_use]
    #[inline]
    #[expect(clippy::cast_precision_loss, reason = "none where both divisors are there")]
    pub fn levels_f64<const N: usize>(&self, levels: &[Level; N]) -> [[f64; 2]; N] {
        // None of them is above all of their bits together.
        let bits = |of: fn(&Level) -> i64| {
            levels.iter().fold(0, |bits, level| bits | of(level).unsigned_abs())
        };
        let units = bits(|level| level.px.0).checked_mul(self.tick_mantissa.unsigned_abs());
        let px_divisor = units.and_then(|units| small_divisor(units, self.price_decimals));
        let qty_divisor = small_divisor(bits(|level| level.qty.0), self.qty_decimals);
        let (Some(px_divisor), Some(qty_divisor)) = (px_divisor, qty_divisor) else {
            return levels.map(|level| [self.px_f64(level.px), self.qty_f64(level.qty)]);
        };
        levels.map(|Level { px, qty }| {
            let px = (px.0 * self.tick_mantissa) as f64 / px_divisor;
            [px, qty.0 as f64 / qty_divisor]
        })
    }

    /// A sum of quantities as the nearest double.
    #[must_use]
    #[inline]
    pub fn qty_sum_f64(&self, units: i128) -> f64 {
        nearest_f64(units, self.qty_decimals)
    }

    /// By what quantities of at most 2^53 units are divided, as doubles, for the double nearest to them. `None` where no double
    /// is that power of ten.
    #[must_use]
    #[inline]
    pub fn small_qty_divisor(&self) -> Option<f64> {
        small_divisor(0, self.qty_decimals)
    }

    /// A sum of price times quantity (ticks times quantity units) in quote units, the nearest double.
    #[must_use]
    pub fn notional_f64(&self, ticks_by_units: i128) -> f64 {
        let units = match self.tick_mantissa {
            1 => ticks_by_units,
            mantissa => ticks_by_units.saturating_mul(i128::from(mantissa)),
        };
        nearest_f64(units, self.price_decimals + self.qty_decimals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quote_volumes_of_klines_become_ticks_times_units() {
        // 2 prices of 0.05 and 3 units of 10^-8: ticks times units of 5 * 10^-10.
        for (tick, qty_decimals, quote_volume, expected) in [
            ("0.01", 8, 150, 15_000),
            ("0.05", 8, 150, 3_000),
            ("1", 2, 3_000_000, 3),
            ("1", 2, 3_999_999, 3),
        ] {
            let instrument = Instrument::new("X", tick, qty_decimals).unwrap();
            assert_eq!(instrument.kline_notional(quote_volume), expected, "{tick}");
        }
    }

    fn check_tick(tick: &str, expected: Result<(u8, i64, &str), ()>) {
        let found = Instrument::new("ETHUSDT", tick, 8).map_err(drop);
        let found = found.map(|i| (i.price_decimals, i.tick_mantissa, i.tick_size()));
        assert_eq!(found, expected.map(|(n, m, text)| (n, m, text.to_owned())), "{tick}");
    }

    #[test]
    fn tick_sizes_keep_their_decimals() {
        check_tick("0.01", Ok((2, 1, "0.01")));
        check_tick("0.01000000", Ok((2, 1, "0.01")));
        check_tick("0.05", Ok((2, 5, "0.05")));
        check_tick("1", Ok((0, 1, "1")));
        check_tick("10.00", Ok((0, 10, "10")));
        for bad in ["0", "-0.01", "x", "", "0.0000000000001"] {
            check_tick(bad, Err(()));
        }
    }

    #[test]
    fn prices_are_the_nearest_doubles() {
        let eth = Instrument::new("ETHUSDT", "0.01", 8).unwrap();
        let px = eth.parse_px(b"2683.80000000").unwrap();
        assert_eq!(px, Px(268_380));
        assert_eq!(eth.px_f64(px).to_bits(), 2683.8f64.to_bits());
        assert_eq!(eth.half_ticks_f64(268_380 + 268_381).to_bits(), 2683.805f64.to_bits());
        assert!(eth.px_f64(Px::UNDEF).is_nan());
        let nickel = Instrument::new("X", "0.05", 8).unwrap();
        assert_eq!(nickel.parse_px(b"1.15").map(|px| nickel.px_f64(px)), Ok(1.15));
        assert!(nickel.parse_px(b"1.16").is_err());
        assert_eq!(eth.parse_px(b"92233720368547758"), Err(DecimalError::TooLarge { decimals: 2 }));
    }

    #[test]
    fn levels_are_the_same_doubles_one_by_one_and_together() {
        let nickel = Instrument::new("X", "0.05", 8).unwrap();
        let (most, large) = (1 << 53, (1 << 53) + 1);
        for (px, qty) in [(115, 7), (0, 0), (most / 5, most), (1, large), (large, 1), (-3, 1)] {
            let level = Level { px: Px(px), qty: Qty(qty) };
            let levels = [Level { px: Px(20), qty: Qty(100_000_000) }, level];
            let found = nickel.levels_f64(&levels).map(|cells| cells.map(f64::to_bits));
            let wanted = [[1.0, 1.0], [nickel.px_f64(level.px), nickel.qty_f64(level.qty)]];
            assert_eq!(found, wanted.map(|cells| cells.map(f64::to_bits)), "{px} {qty}");
        }
        let unknown = Level { px: Px::UNDEF, qty: Qty::UNDEF };
        assert!(nickel.levels_f64(&[unknown])[0].iter().all(|value| value.is_nan()));
    }

    #[test]
    fn symbols_that_cannot_name_a_file_are_refused() {
        for bad in ["", "../x", "a b", ".hidden", "1234567890123456789012345", "a/b"] {
            assert!(Symbol::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Symbol::new("币安USDT").unwrap().as_str(), "币安USDT");
    }
}
