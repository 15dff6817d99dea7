//! Bars and day statistics, naively, from every trade.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::decimal::{Fixed, ONE, units_to_text};
use crate::messages::{quote_volume_text, volume_text};
use crate::source::Trade;

/// A kline by trade time. Volumes are exact decimals as text (16 places for quote volumes).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bar {
    /// Start of the interval, ms.
    pub open_ms: i64,
    /// First price.
    pub open: Fixed,
    /// Highest price.
    pub high: Fixed,
    /// Lowest price.
    pub low: Fixed,
    /// Last price.
    pub close: Fixed,
    /// Base quantity.
    pub volume: String,
    /// Quote quantity.
    pub quote_volume: String,
    /// Base quantity where the taker bought.
    pub taker_buy_volume: String,
    /// Quote quantity where the taker bought.
    pub taker_buy_quote_volume: String,
    /// Fills.
    pub trade_count: u64,
}

/// All bars of one interval; intervals without a trade are absent.
#[derive(Clone, Debug)]
pub(crate) struct Bars {
    interval_ms: i64,
    bars: BTreeMap<i64, Sums>,
}

#[derive(Clone, Debug, Default)]
struct Sums {
    open: Fixed,
    high: Fixed,
    low: Fixed,
    close: Fixed,
    volume: i128,
    quote_volume: i128,
    taker_buy_volume: i128,
    taker_buy_quote_volume: i128,
    trade_count: u64,
}

impl Bars {
    /// More than a day of seconds; the oldest go first.
    const COUNT_MAX: usize = 100_000;

    pub(crate) fn every(interval_ms: i64) -> Self {
        Self { interval_ms, bars: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, trade: &Trade) {
        let open_ms = trade.trade_ms.div_euclid(self.interval_ms) * self.interval_ms;
        let (px, qty) = (trade.px, i128::from(trade.qty.0));
        let quote = i128::from(px.0) * qty;
        let new = Sums { open: px, high: px, low: px, ..Sums::default() };
        let bar = self.bars.entry(open_ms).or_insert(new);
        bar.high = bar.high.max(px);
        bar.low = bar.low.min(px);
        bar.close = px;
        bar.volume += qty;
        bar.quote_volume += quote;
        if !trade.is_buyer_maker {
            bar.taker_buy_volume += qty;
            bar.taker_buy_quote_volume += quote;
        }
        bar.trade_count += 1;
        if self.bars.len() > Self::COUNT_MAX {
            self.bars.pop_first();
        }
    }

    pub(crate) fn to_vec(&self) -> Vec<Bar> {
        let bar = |(&open_ms, sums): (&i64, &Sums)| Bar {
            open_ms,
            open: sums.open,
            high: sums.high,
            low: sums.low,
            close: sums.close,
            volume: volume_text(sums.volume),
            quote_volume: units_to_text(sums.quote_volume, 16, 16),
            taker_buy_volume: volume_text(sums.taker_buy_volume),
            taker_buy_quote_volume: units_to_text(sums.taker_buy_quote_volume, 16, 16),
            trade_count: sums.trade_count,
        };
        self.bars.iter().map(bar).collect()
    }
}

/// What the 24 h ticker says, over all that was played (at most a day in any test).
#[derive(Clone, Debug, Default)]
pub(crate) struct DayStatistics {
    pub(crate) open_ms: i64,
    pub(crate) open: Fixed,
    pub(crate) high: Fixed,
    pub(crate) low: Fixed,
    pub(crate) last: Fixed,
    pub(crate) last_qty: Fixed,
    pub(crate) volume: i128,
    pub(crate) quote_volume: i128,
    pub(crate) first_id: u64,
    pub(crate) last_id: u64,
    pub(crate) trade_count: u64,
}

impl DayStatistics {
    pub(crate) fn add(&mut self, trade: &Trade) {
        if self.trade_count == 0 {
            self.open_ms = trade.trade_ms;
            (self.open, self.high, self.low) = (trade.px, trade.px, trade.px);
            self.first_id = trade.id;
        }
        self.high = self.high.max(trade.px);
        self.low = self.low.min(trade.px);
        (self.last, self.last_qty, self.last_id) = (trade.px, trade.qty, trade.id);
        self.volume += i128::from(trade.qty.0);
        self.quote_volume += i128::from(trade.px.0) * i128::from(trade.qty.0);
        self.trade_count += 1;
    }

    pub(crate) fn change(&self) -> Fixed {
        Fixed(self.last.0 - self.open.0)
    }

    /// With three places.
    pub(crate) fn change_percent(&self) -> String {
        let per_hundred_thousand = match self.open.0 {
            0 => 0,
            open => i128::from(self.change().0) * 100_000 / i128::from(open),
        };
        units_to_text(per_hundred_thousand, 3, 3)
    }

    pub(crate) fn average_px(&self) -> String {
        match self.volume {
            0 => Fixed::ZERO.to_string(),
            volume => quote_volume_text(self.quote_volume / volume * i128::from(ONE)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bars, DayStatistics};
    use crate::decimal::Fixed;
    use crate::source::Trade;

    fn trade(id: u64, trade_ms: i64, px: &str, qty: &str, is_buyer_maker: bool) -> Trade {
        let (px, qty) = (Fixed::parse(px).unwrap(), Fixed::parse(qty).unwrap());
        Trade { id, px, qty, trade_ms, is_buyer_maker, taker_order: 0 }
    }

    #[test]
    fn trades_make_bars_by_trade_time() {
        let mut bars = Bars::every(1_000);
        for trade in [
            trade(1, 1_000, "10", "1", false),
            trade(2, 1_999, "12", "2", true),
            trade(3, 2_000, "11", "0.5", true),
            trade(4, 1_500, "9", "1", true),
        ] {
            bars.add(&trade);
        }
        let bars = bars.to_vec();
        assert_eq!(bars.iter().map(|bar| bar.open_ms).collect::<Vec<_>>(), [1_000, 2_000]);
        assert_eq!(
            (bars[0].low, bars[0].close),
            (Fixed::parse("9").unwrap(), Fixed::parse("9").unwrap())
        );
        assert_eq!(bars[0].volume, "4.00000000");
        assert_eq!(bars[0].quote_volume, "43.0000000000000000");
        assert_eq!(bars[0].taker_buy_volume, "1.00000000");
        assert_eq!(bars[0].trade_count, 3);
    }

    #[test]
    fn the_day_knows_change_and_average() {
        let mut day = DayStatistics::default();
        day.add(&trade(5, 1, "100", "1", false));
        day.add(&trade(6, 2, "101", "1", false));
        assert_eq!(
            (day.change_percent().as_str(), day.average_px().as_str()),
            ("1.000", "100.50000000")
        );
    }
}
