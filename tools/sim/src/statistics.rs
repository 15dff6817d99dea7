//! Bars of the trades played, naively, and what the 24 h ticker says of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::decimal::{Fixed, ONE, units_to_text};
use crate::kline::Sums;
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

/// Bars of one interval; intervals without a trade are absent.
#[derive(Clone, Debug)]
pub(crate) struct Bars {
    interval_ms: i64,
    bars: BTreeMap<i64, Sums>,
    forgotten_before_ms: Option<i64>,
}

impl Bar {
    pub(crate) fn of(open_ms: i64, sums: &Sums) -> Self {
        Self {
            open_ms,
            open: Fixed(sums.open),
            high: Fixed(sums.high),
            low: Fixed(sums.low),
            close: Fixed(sums.close),
            volume: volume_text(sums.volume),
            quote_volume: units_to_text(sums.quote_volume, 16, 16),
            taker_buy_volume: volume_text(sums.taker_buy_volume),
            taker_buy_quote_volume: units_to_text(sums.taker_buy_quote_volume, 16, 16),
            trade_count: sums.trade_count,
        }
    }
}

impl Bars {
    /// More than a day of seconds; the oldest go first.
    const COUNT_MAX: usize = 100_000;

    pub(crate) fn every(interval_ms: i64) -> Self {
        Self { interval_ms, bars: BTreeMap::new(), forgotten_before_ms: None }
    }

    pub(crate) fn add(&mut self, trade: &Trade) {
        let open_ms = trade.trade_ms.div_euclid(self.interval_ms) * self.interval_ms;
        let next = Sums::trade(trade.px.0, trade.qty.0, !trade.is_buyer_maker, trade.id);
        self.bars.entry(open_ms).and_modify(|bar| bar.join(&next)).or_insert(next);
        if self.bars.len() > Self::COUNT_MAX
            && let Some((open_ms, _)) = self.bars.pop_first()
        {
            self.forgotten_before_ms = Some(open_ms + self.interval_ms);
        }
    }

    pub(crate) fn get(&self, open_ms: i64) -> Option<&Sums> {
        self.bars.get(&open_ms)
    }

    pub(crate) fn first_open_ms(&self) -> Option<i64> {
        self.bars.first_key_value().map(|(&open_ms, _)| open_ms)
    }

    pub(crate) fn last_open_ms(&self) -> Option<i64> {
        self.bars.last_key_value().map(|(&open_ms, _)| open_ms)
    }

    /// The last bar that ends by `at_ms`.
    pub(crate) fn last_before(&self, at_ms: i64) -> Option<&Sums> {
        let last_open_ms = at_ms - self.interval_ms;
        self.bars.range(..=last_open_ms).next_back().map(|(_, sums)| sums)
    }

    /// Bars before this were kept once.
    pub(crate) fn forgotten_before_ms(&self) -> Option<i64> {
        self.forgotten_before_ms
    }

    pub(crate) fn to_vec(&self) -> Vec<Bar> {
        self.bars.iter().map(|(&open_ms, sums)| Bar::of(open_ms, sums)).collect()
    }
}

/// What the 24 h ticker says: the last 86,400 seconds, the one that goes on included.
#[derive(Clone, Debug)]
pub(crate) struct DayStatistics {
    pub(crate) open_ms: i64,
    pub(crate) sums: Sums,
    /// The last price before them; the first one where nothing was before.
    pub(crate) previous_close: Fixed,
    pub(crate) last_qty: Fixed,
    /// -1 without a trade; so [`Self::last_id`].
    pub(crate) first_id: i64,
    pub(crate) last_id: i64,
}

impl DayStatistics {
    pub(crate) fn change(&self) -> Fixed {
        Fixed(self.sums.close - self.sums.open)
    }

    /// With three places.
    pub(crate) fn change_percent(&self) -> String {
        let per_hundred_thousand = match self.sums.open {
            0 => 0,
            open => i128::from(self.change().0) * 100_000 / i128::from(open),
        };
        units_to_text(per_hundred_thousand, 3, 3)
    }

    pub(crate) fn average_px(&self) -> String {
        match self.sums.volume {
            0 => Fixed(self.sums.close).to_string(),
            volume => quote_volume_text(self.sums.quote_volume / volume * i128::from(ONE)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bars, DayStatistics};
    use crate::decimal::Fixed;
    use crate::kline::Sums;
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
        let mut sums = Sums::trade(10_000_000_000, 100_000_000, true, 5);
        sums.join(&Sums::trade(10_100_000_000, 100_000_000, false, 6));
        let day = DayStatistics {
            open_ms: 0,
            sums,
            previous_close: Fixed(10_000_000_000),
            last_qty: Fixed(100_000_000),
            first_id: 5,
            last_id: 6,
        };
        assert_eq!(
            (day.change_percent().as_str(), day.average_px().as_str()),
            ("1.000", "100.50000000")
        );
    }
}
