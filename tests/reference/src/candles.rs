//! Candles by definition (FRAME.md, "Candles"): only which bars are closed, and when, is kept; a row is
//! worked out from the list of all trades each time it is asked for.
//! Does not: REST rows, splices, kline audits; a line recording holds none.

use crate::decimal::{Dec, PLACES, decimal_to_f64};
use crate::message::{Nanos, Trade};
use serde_json::{Value, json};

/// A timer closes a bar this long after its end by the venue's clock.
const CLOSE_DELAY: Nanos = 250_000_000;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TradeRecord {
    pub ts_recv: Nanos,
    pub trade: Trade,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Bar {
    open_time: Nanos,
    /// None: open.
    ts_closed: Option<Nanos>,
    partial: bool,
    repaired: bool,
}

#[derive(Debug)]
pub(crate) struct Candles {
    duration: Nanos,
    /// Without gaps in time; the last one is open.
    bars: Vec<Bar>,
    /// Trade times around missing trade ids, both ends included.
    id_gaps: Vec<(Nanos, Nanos)>,
    /// Venue times of holes in the recording, from (included) .. to (excluded).
    holes: Vec<(Nanos, Nanos)>,
}

/// Prices of a bar: open, high, low, close.
pub(crate) type Prices = [Dec; 4];

impl Candles {
    pub(crate) fn new(duration: Nanos) -> Candles {
        Candles { duration, bars: Vec::new(), id_gaps: Vec::new(), holes: Vec::new() }
    }

    pub(crate) fn closed_count(&self) -> usize {
        self.bars.len().saturating_sub(1)
    }

    /// `trades`: all trades, the new one last. `id_gap`: trade times on both sides of missing ids.
    pub(crate) fn on_trade(&mut self, trades: &[TradeRecord], id_gap: Option<(Nanos, Nanos)>) {
        let Some(new) = trades.last() else { return };
        let time = new.trade.trade_time;
        if self.bars.is_empty() {
            let open_time = time.div_euclid(self.duration) * self.duration;
            self.bars.push(Bar { open_time, ts_closed: None, partial: true, repaired: false });
        }
        if let Some(gap) = id_gap {
            self.id_gaps.push(gap);
            for index in 0..self.closed_count() {
                self.bars[index].repaired |= self.touches(index, gap);
            }
        }
        if time < self.bars[0].open_time {
            return; // nothing before the first row
        }
        while self.open_bar_end() <= time {
            self.close(new.ts_recv);
        }
        let index = usize::try_from((time - self.bars[0].open_time) / self.duration)
            .expect("invariant: the trade is not before the first bar");
        if index < self.closed_count() {
            self.repair(index, trades);
        }
    }

    /// A late trade: its bar, and the flat bars after it.
    fn repair(&mut self, index: usize, trades: &[TradeRecord]) {
        let rows = self.rows(trades);
        let is_flat = |row: &&Row| row.trade_count == 0 && !row.is_hole;
        let flat = rows[index + 1..self.closed_count()].iter().take_while(is_flat).count();
        for bar in &mut self.bars[index..][..=flat] {
            bar.repaired = true;
        }
    }

    pub(crate) fn on_timer(&mut self, timer: Nanos, offset_low: Option<Nanos>) {
        let Some(offset_low) = offset_low else { return };
        while !self.bars.is_empty() && timer + offset_low >= self.open_bar_end() + CLOSE_DELAY {
            self.close(timer);
        }
    }

    pub(crate) fn on_hole(&mut self, from: Nanos, to: Nanos) {
        self.holes.push((from, to));
    }

    fn open_bar_end(&self) -> Nanos {
        self.bars[self.closed_count()].open_time + self.duration
    }

    fn close(&mut self, ts_closed: Nanos) {
        let open_time = self.open_bar_end();
        let index = self.closed_count();
        self.bars[index].ts_closed = Some(ts_closed);
        self.bars.push(Bar { open_time, ts_closed: None, partial: false, repaired: false });
    }

    /// Does the bar hold a moment of the closed interval?
    fn touches(&self, index: usize, (from, to): (Nanos, Nanos)) -> bool {
        let start = self.bars[index].open_time;
        start <= to && from < start + self.duration
    }

    /// Wholly inside a hole.
    fn is_in_hole(&self, index: usize) -> bool {
        let start = self.bars[index].open_time;
        self.holes.iter().any(|&(from, to)| from <= start && start + self.duration <= to)
    }

    fn is_cut_by_hole(&self, index: usize) -> bool {
        let start = self.bars[index].open_time;
        self.holes.iter().any(|&(from, to)| start < to && from < start + self.duration)
    }

    /// The trades of each bar by id, as the venue orders them.
    fn trades_by_bar<'a>(&self, trades: &'a [TradeRecord]) -> Vec<Vec<&'a Trade>> {
        let mut by_bar = vec![Vec::new(); self.bars.len()];
        for TradeRecord { trade, .. } in trades {
            let since_first = |first: &Bar| trade.trade_time - first.open_time;
            let index = self.bars.first().map_or(-1, since_first).div_euclid(self.duration);
            if let Some(own) = usize::try_from(index).ok().and_then(|index| by_bar.get_mut(index)) {
                own.push(trade);
            }
        }
        for own in &mut by_bar {
            own.sort_by_key(|trade| trade.id);
        }
        by_bar
    }

    /// All rows, the open bar last.
    pub(crate) fn rows(&self, trades: &[TradeRecord]) -> Vec<Row> {
        let mut rows = Vec::new();
        // None: no trade yet, or none since a hole.
        let mut close = None;
        for (index, own) in self.trades_by_bar(trades).into_iter().enumerate() {
            let row = self.row(index, &own, close);
            close = row.close();
            rows.push(row);
        }
        rows
    }

    fn row(&self, index: usize, own: &[&Trade], close_before: Option<Dec>) -> Row {
        let bar = self.bars[index];
        let is_hole = own.is_empty() && self.is_in_hole(index);
        let prices = match (own.first(), own.last()) {
            (Some(first), Some(last)) => {
                let px = || own.iter().map(|trade| trade.px);
                let (high, low) = (px().fold(first.px, Dec::max), px().fold(first.px, Dec::min));
                Some([first.px, high, low, last.px])
            }
            _ => close_before.filter(|_| !is_hole).map(|px| [px; 4]),
        };
        let bought = || own.iter().filter(|trade| trade.taker_buy);
        let incomplete = self.id_gaps.iter().any(|&gap| self.touches(index, gap))
            || (self.is_cut_by_hole(index) && !is_hole);
        let flags = [
            ("flat", own.is_empty() && !is_hole),
            ("partial", bar.partial),
            ("incomplete", incomplete),
            ("repaired", bar.repaired),
            ("hole", is_hole),
        ];
        Row {
            open_time: bar.open_time,
            ts_closed: bar.ts_closed,
            prices,
            volume: own.iter().map(|t| t.qty.0).sum(),
            quote_volume: own.iter().map(|t| t.px.times(t.qty)).sum(),
            taker_buy_volume: bought().map(|t| t.qty.0).sum(),
            taker_buy_quote_volume: bought().map(|t| t.px.times(t.qty)).sum(),
            trade_count: own.iter().map(|t| t.last_trade_id - t.first_trade_id + 1).sum(),
            flags: flags.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect(),
            is_hole,
        }
    }

    /// How many of the last `count` closed rows are flagged `repaired`.
    pub(crate) fn repaired_among_last(&self, count: usize) -> usize {
        let closed = &self.bars[..self.closed_count()];
        closed[closed.len().saturating_sub(count)..].iter().filter(|bar| bar.repaired).count()
    }
}

/// `rows`: those of [`Candles::rows`].
pub(crate) fn json(rows: &[Row]) -> Value {
    json!({
        "open": rows.last().map(Row::json),
        "last": rows.len().checked_sub(2).map(|index| rows[index].json()),
        "closed_count": rows.len().saturating_sub(1),
    })
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Row {
    pub open_time: Nanos,
    /// None: open.
    pub ts_closed: Option<Nanos>,
    /// None: a hole, or flat before the first trade after one.
    pub prices: Option<Prices>,
    /// Units of 10^-8.
    pub volume: i128,
    /// Units of 10^-16.
    pub quote_volume: i128,
    pub taker_buy_volume: i128,
    pub taker_buy_quote_volume: i128,
    pub trade_count: u64,
    pub flags: Vec<&'static str>,
    /// Nobody watched, so that volumes are unknown too.
    pub is_hole: bool,
}

impl Row {
    fn close(&self) -> Option<Dec> {
        self.prices.map(|[_, _, _, close]| close)
    }

    pub(crate) fn json(&self) -> Value {
        let [open, high, low, close] = match self.prices {
            Some(prices) => prices.map(|px| Some(px.to_f64())),
            None => [None; 4],
        };
        let known =
            |value: i128, places: u32| (!self.is_hole).then(|| decimal_to_f64(value, places));
        json!({
            "open_time": self.open_time,
            "ts_closed": self.ts_closed,
            "open": open,
            "high": high,
            "low": low,
            "close": close,
            "volume": known(self.volume, PLACES),
            "quote_volume": known(self.quote_volume, 2 * PLACES),
            "taker_buy_volume": known(self.taker_buy_volume, PLACES),
            "taker_buy_quote_volume": known(self.taker_buy_quote_volume, 2 * PLACES),
            "trade_count": self.trade_count,
            "flags": self.flags,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::TradeKind;

    const SECOND: Nanos = 1_000_000_000;

    struct Stream {
        candles: Candles,
        trades: Vec<TradeRecord>,
    }

    /// One-second bars; times in ms, receive time = venue time.
    impl Stream {
        fn new() -> Stream {
            Stream { candles: Candles::new(SECOND), trades: Vec::new() }
        }

        fn trade(mut self, time_ms: Nanos, px: i128) -> Stream {
            let id = u64::try_from(self.trades.len()).unwrap();
            let trade = Trade {
                kind: TradeKind::Trade,
                event_time: 0,
                trade_time: time_ms * 1_000_000,
                id,
                first_trade_id: id,
                last_trade_id: id,
                px: Dec(px * 100_000_000),
                qty: Dec(200_000_000),
                taker_buy: id.is_multiple_of(2),
            };
            self.trades.push(TradeRecord { ts_recv: time_ms * 1_000_000, trade });
            self.candles.on_trade(&self.trades, None);
            self
        }

        fn timer(mut self, time_ms: Nanos) -> Stream {
            self.candles.on_timer(time_ms * 1_000_000, Some(0));
            self
        }

        fn hole(mut self, from_ms: Nanos, to_ms: Nanos) -> Stream {
            self.candles.on_hole(from_ms * 1_000_000, to_ms * 1_000_000);
            self
        }

        /// `<open second>: open/high/low/close volume count flags`, a row for each bar, the open one last.
        fn check(&self, expected: &[&str]) {
            let rows = self.candles.rows(&self.trades);
            let rows: Vec<String> = rows
                .iter()
                .map(|row| {
                    let row = row.json();
                    let px = |key: &str| row[key].as_f64().map_or("-".into(), |px| px.to_string());
                    let names: Vec<&str> = row["flags"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|f| f.as_str().unwrap())
                        .collect();
                    format!(
                        "{}: {}/{}/{}/{} {} {} {}",
                        row["open_time"].as_i64().unwrap() / SECOND,
                        px("open"),
                        px("high"),
                        px("low"),
                        px("close"),
                        px("volume"),
                        row["trade_count"],
                        names.join("+")
                    )
                })
                .collect();
            assert_eq!(rows, expected);
        }
    }

    #[test]
    fn a_trade_closes_the_bars_before_it() {
        Stream::new().trade(1500, 10).trade(1600, 12).trade(1999, 11).trade(4000, 9).check(&[
            "1: 10/12/10/11 6 3 partial",
            "2: 11/11/11/11 0 0 flat",
            "3: 11/11/11/11 0 0 flat",
            "4: 9/9/9/9 2 1 ",
        ]);
    }

    #[test]
    fn a_timer_closes_a_bar_a_quarter_second_after_its_end() {
        let one = Stream::new().trade(1500, 10).timer(2249);
        assert_eq!(one.candles.closed_count(), 0);
        let two = one.timer(2250);
        two.check(&["1: 10/10/10/10 2 1 partial", "2: 10/10/10/10 0 0 flat"]);
        assert_eq!(two.candles.bars[0].ts_closed, Some(2_250_000_000));
    }

    #[test]
    fn a_late_trade_repairs_its_bar_and_the_flat_ones_after_it() {
        let stream = Stream::new().trade(1500, 10).trade(5000, 20).trade(2500, 12);
        stream.check(&[
            "1: 10/10/10/10 2 1 partial",
            "2: 12/12/12/12 2 1 repaired",
            "3: 12/12/12/12 0 0 flat+repaired",
            "4: 12/12/12/12 0 0 flat+repaired",
            "5: 20/20/20/20 2 1 ",
        ]);
        assert_eq!(stream.candles.repaired_among_last(300), 3);
        assert_eq!(stream.candles.repaired_among_last(1), 1);
        let same_close = Stream::new().trade(1500, 10).trade(5000, 20).trade(2500, 10);
        assert_eq!(same_close.candles.repaired_among_last(300), 3, "the rows are written again");
        let before_first = Stream::new().trade(1500, 10).trade(500, 20);
        before_first.check(&["1: 10/10/10/10 2 1 partial"]);
    }

    #[test]
    fn an_unobserved_bar_is_a_hole_and_a_cut_one_incomplete() {
        Stream::new().trade(1500, 10).hole(1800, 4200).trade(6000, 20).check(&[
            "1: 10/10/10/10 2 1 partial+incomplete",
            "2: -/-/-/- - 0 hole",
            "3: -/-/-/- - 0 hole",
            "4: -/-/-/- 0 0 flat+incomplete",
            "5: -/-/-/- 0 0 flat",
            "6: 20/20/20/20 2 1 ",
        ]);
    }
}
