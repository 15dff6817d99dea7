//! What a kline says of its trades, and the two things one can do with it: join the next, and change its units.
//!
//! Guarantees: exact integers; joining the klines of any parts of an interval gives the kline of the whole. A kline
//! without trades is flat at the last price before it, and says nothing of highs and lows where it is joined to others.

/// Prices, quantities and counts of some trades in a row, in any units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) open: i64,
    pub(crate) high: i64,
    pub(crate) low: i64,
    pub(crate) close: i64,
    pub(crate) volume: i128,
    /// Of price times quantity.
    pub(crate) quote_volume: i128,
    pub(crate) taker_buy_volume: i128,
    pub(crate) taker_buy_quote_volume: i128,
    pub(crate) trade_count: u64,
    /// Id of the last trade; 0 where trades have none.
    pub(crate) last_id: u64,
}

/// A change of units: a price p becomes `origin + step·p`, a quantity q becomes `size·q`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scale {
    pub(crate) origin: i64,
    /// Negative turns highs into lows.
    pub(crate) step: i64,
    pub(crate) size: i64,
}

impl Scale {
    pub(crate) fn px(&self, px: i64) -> i64 {
        self.origin + self.step * px
    }
}

impl Sums {
    /// No trade yet since the one at `px`.
    pub(crate) fn flat(px: i64) -> Self {
        Self {
            open: px,
            high: px,
            low: px,
            close: px,
            volume: 0,
            quote_volume: 0,
            taker_buy_volume: 0,
            taker_buy_quote_volume: 0,
            trade_count: 0,
            last_id: 0,
        }
    }

    pub(crate) fn trade(px: i64, qty: i64, taker_buys: bool, id: u64) -> Self {
        let (volume, quote_volume) = (i128::from(qty), i128::from(px) * i128::from(qty));
        let (taker_buy_volume, taker_buy_quote_volume) =
            if taker_buys { (volume, quote_volume) } else { (0, 0) };
        Self {
            volume,
            quote_volume,
            taker_buy_volume,
            taker_buy_quote_volume,
            trade_count: 1,
            last_id: id,
            ..Self::flat(px)
        }
    }

    /// Adds what came next.
    pub(crate) fn join(&mut self, next: &Self) {
        if next.trade_count == 0 {
            return;
        }
        if self.trade_count == 0 {
            *self = *next;
            return;
        }
        self.high = self.high.max(next.high);
        self.low = self.low.min(next.low);
        self.close = next.close;
        self.volume += next.volume;
        self.quote_volume += next.quote_volume;
        self.taker_buy_volume += next.taker_buy_volume;
        self.taker_buy_quote_volume += next.taker_buy_quote_volume;
        self.trade_count += next.trade_count;
        self.last_id = next.last_id;
    }

    pub(crate) fn scaled(&self, scale: &Scale) -> Self {
        let (a, b) = (scale.px(self.high), scale.px(self.low));
        let (origin, step, size) =
            (i128::from(scale.origin), i128::from(scale.step), i128::from(scale.size));
        let quote = |volume: i128, quote: i128| size * (origin * volume + step * quote);
        Self {
            open: scale.px(self.open),
            high: a.max(b),
            low: a.min(b),
            close: scale.px(self.close),
            volume: size * self.volume,
            quote_volume: quote(self.volume, self.quote_volume),
            taker_buy_volume: size * self.taker_buy_volume,
            taker_buy_quote_volume: quote(self.taker_buy_volume, self.taker_buy_quote_volume),
            ..*self
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::{Scale, Sums};

    fn sums(trades: &[(i64, i64, bool)]) -> Sums {
        let mut sums = Sums::flat(50);
        for &(px, qty, taker_buys) in trades {
            sums.join(&Sums::trade(px, qty, taker_buys, 0));
        }
        sums
    }

    #[test]
    fn a_flat_kline_says_nothing_of_high_and_low() {
        let mut whole = Sums::flat(100);
        whole.join(&Sums::trade(90, 2, true, 7));
        whole.join(&Sums::flat(90));
        whole.join(&Sums::trade(95, 1, false, 8));
        assert_eq!((whole.open, whole.high, whole.low, whole.close), (90, 95, 90, 95));
        assert_eq!((whole.volume, whole.quote_volume), (3, 275));
        assert_eq!((whole.taker_buy_volume, whole.taker_buy_quote_volume), (2, 180));
        assert_eq!((whole.trade_count, whole.last_id), (2, 8));
    }

    proptest! {
        /// Other units first and sums then, or sums first and other units then.
        #[test]
        fn scaling_is_scaling_each_trade(
            trades in prop::collection::vec((1..1_000_i64, 1..1_000_i64, any::<bool>()), 0..20),
            origin in 0..1_000_000_i64,
            step in -5..=5_i64,
            size in 1..9_i64,
            cut in 0..20_usize,
        ) {
            let scale = Scale { origin, step, size };
            let scaled: Vec<_> = trades
                .iter()
                .map(|&(px, qty, taker_buys)| (origin + step * px, size * qty, taker_buys))
                .collect();
            let of_scaled = Sums { ..sums(&scaled) };
            let flat = Sums::flat(scale.px(50));
            let expected = if trades.is_empty() { flat } else { of_scaled };
            assert_eq!(sums(&trades).scaled(&scale), expected);

            let (front, back) = trades.split_at(cut.min(trades.len()));
            let mut joined = sums(front);
            joined.join(&sums(back));
            assert_eq!(joined, sums(&trades));
        }
    }
}
