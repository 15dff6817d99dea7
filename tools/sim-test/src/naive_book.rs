//! A symbol's book as the exchange has it, in the simplest form: sorted maps, and sums by bucket.

use std::collections::BTreeMap;

use cobring_sim::{Book, DepthUpdate, Fixed, Level, Side};

/// Prices in ticks, quantities in 10^-8.
#[derive(Debug, Clone, Default)]
pub(crate) struct NaiveBook {
    pub(crate) bids: BTreeMap<i64, i64>,
    pub(crate) asks: BTreeMap<i64, i64>,
    pub(crate) update_id: u64,
    /// (bid, ask) quantity of each bucket that holds any.
    buckets: BTreeMap<i64, (i128, i128)>,
    tick: i64,
    bucket_ticks: i64,
}

/// A level that an update named.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Touched {
    pub(crate) is_bid: bool,
    pub(crate) px: i64,
}

impl NaiveBook {
    pub(crate) fn new(tick: Fixed, bucket_ticks: i64) -> Self {
        Self { tick: tick.0, bucket_ticks, ..Self::default() }
    }

    pub(crate) fn load(&mut self, book: &Book) {
        let (bids, asks) = (book.top(Side::Bid, usize::MAX), book.top(Side::Ask, usize::MAX));
        self.load_levels(book.update_id, &bids, &asks);
    }

    pub(crate) fn load_levels(&mut self, update_id: u64, bids: &[Level], asks: &[Level]) {
        self.bids.clear();
        self.asks.clear();
        self.buckets.clear();
        self.update_id = update_id;
        bids.iter().for_each(|level| self.set(true, level));
        asks.iter().for_each(|level| self.set(false, level));
    }

    pub(crate) fn apply(&mut self, update: &DepthUpdate, touched: &mut Vec<Touched>) {
        for (is_bid, levels) in [(true, &update.bids), (false, &update.asks)] {
            for level in levels {
                self.set(is_bid, level);
                touched.push(Touched { is_bid, px: level.0.0 / self.tick });
            }
        }
        self.update_id = update.last_id;
    }

    fn set(&mut self, is_bid: bool, &Level(px, qty): &Level) {
        let px = px.0 / self.tick;
        let side = if is_bid { &mut self.bids } else { &mut self.asks };
        let before = if qty.0 == 0 { side.remove(&px) } else { side.insert(px, qty.0) };
        let change = i128::from(qty.0) - i128::from(before.unwrap_or(0));
        let sums = self.buckets.entry(px.div_euclid(self.bucket_ticks)).or_default();
        let sum = if is_bid { &mut sums.0 } else { &mut sums.1 };
        *sum += change;
    }

    pub(crate) fn qty(&self, Touched { is_bid, px }: Touched) -> i64 {
        let side = if is_bid { &self.bids } else { &self.asks };
        side.get(&px).copied().unwrap_or(0)
    }

    pub(crate) fn bucket(&self, bucket: i64) -> (i128, i128) {
        self.buckets.get(&bucket).copied().unwrap_or_default()
    }

    /// floor(mid / bucket).
    pub(crate) fn centre(&self) -> Option<i64> {
        let (bid, _) = self.bids.last_key_value()?;
        let (ask, _) = self.asks.first_key_value()?;
        Some((bid + ask).div_euclid(2 * self.bucket_ticks))
    }

    pub(crate) fn px(&self, ticks: i64) -> f64 {
        to_f64(i128::from(ticks) * i128::from(self.tick))
    }

    /// In ticks; 0 and infinity stand for the ends.
    pub(crate) fn ticks_of(&self, px: f64) -> i64 {
        if px.is_infinite() {
            return i64::MAX;
        }
        #[expect(clippy::cast_possible_truncation, reason = "a price of 10^-8 fits")]
        let units = (px * 1e8).round() as i64;
        units / self.tick
    }
}

/// The nearest double of so many 10^-8.
pub(crate) fn to_f64(units: i128) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "market quantities are below 2^53 units")]
    let units = units as f64;
    units / 1e8
}
