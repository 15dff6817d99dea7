//! The averages that indicators are made of, with TA-Lib's seeds.
//!
//! Guarantees: the operations are TA-Lib's, in its order, so that equal doubles in give equal doubles out.

use cobring_types::{Instrument, Px};
use serde::{Deserialize, Serialize};

use crate::ring::Ring;

/// An average that is seeded with the mean of its first `N` values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Seeded {
    /// Values so far, at most the period.
    seen: u32,
    /// Their sum until the seed is there, then the average.
    value: f64,
}

impl Seeded {
    /// Takes a value of the seed; false once the seed is there.
    fn seed(&mut self, period: u32, x: f64) -> bool {
        if self.seen == period {
            return false;
        }
        self.seen += 1;
        self.value += x;
        if self.seen == period {
            self.value /= f64::from(period);
        }
        true
    }

    fn get(&self, period: u32) -> f64 {
        if self.seen == period { self.value } else { f64::NAN }
    }
}

/// Exponential moving average, k = 2 / (N + 1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Ema<const N: u32>(Seeded);

impl<const N: u32> Ema<N> {
    /// The average with `x`; NaN before N values.
    pub(super) fn push(&mut self, x: f64) -> f64 {
        if !self.0.seed(N, x) {
            let k = 2.0 / f64::from(N + 1);
            self.0.value = (x - self.0.value) * k + self.0.value;
        }
        self.0.get(N)
    }
}

/// Wilder's average: N − 1 parts of what was, one of what comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Wilder<const N: u32>(Seeded);

impl<const N: u32> Wilder<N> {
    /// The average with `x`; NaN before N values.
    pub(super) fn push(&mut self, x: f64) -> f64 {
        if !self.0.seed(N, x) {
            self.0.value = (self.0.value * f64::from(N - 1) + x) / f64::from(N);
        }
        self.0.get(N)
    }
}

/// Closes that a mean and a deviation are of.
const LAST: usize = 20;

/// Sums of the last 20 closes and of their squares, in whole ticks: they never drift.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Last20 {
    closes: Ring<Px, LAST>,
    ticks: i128,
    squares: i128,
}

impl Last20 {
    /// Mean and population standard deviation with `close`, in quote units; NaN before 20 closes.
    pub(super) fn push(&mut self, close: Px, instrument: &Instrument) -> (f64, f64) {
        let square = |px: Px| i128::from(px.0) * i128::from(px.0);
        if let Some(gone) = self.closes.push(close) {
            self.ticks -= i128::from(gone.0);
            self.squares -= square(gone);
        }
        self.ticks += i128::from(close.0);
        self.squares += square(close);
        if !self.closes.is_full() {
            return (f64::NAN, f64::NAN);
        }
        // n² times the variance. Prices lie in 0 … 2^60, so it is below n²/4 · 2^120 < 2^127: what the
        // products lose above 128 bits the difference does not have.
        let n = LAST as i128;
        let spread = n.wrapping_mul(self.squares).wrapping_sub(self.ticks.wrapping_mul(self.ticks));
        #[expect(clippy::cast_precision_loss, reason = "rounded once, before the root")]
        let deviation_ticks = (spread as f64).sqrt() / LAST as f64;
        #[expect(clippy::cast_precision_loss, reason = "a small constant")]
        let mean = instrument.ticks_f64(self.ticks) / LAST as f64;
        (mean, deviation_ticks * instrument.ticks_f64(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deviation_is_exact_at_the_ends_of_the_price_range() {
        let instrument = Instrument::new("X", "1", 8).unwrap();
        let mut last = Last20::default();
        let (mut mean, mut deviation) = (0.0, 0.0);
        for at in 0..40 {
            let ticks = if at % 2 == 0 { 1 << 60 } else { 0 };
            (mean, deviation) = last.push(Px(ticks), &instrument);
        }
        let half = 2f64.powi(59);
        assert_eq!((mean.to_bits(), deviation.to_bits()), (half.to_bits(), half.to_bits()));
        for _ in 0..20 {
            (mean, deviation) = last.push(Px((1 << 60) - 1), &instrument);
        }
        assert_eq!(
            (mean.to_bits(), deviation.to_bits()),
            (2f64.powi(60).to_bits(), 0f64.to_bits())
        );
    }
}
