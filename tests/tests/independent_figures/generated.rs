//! A recording of ETHUSDT in which everything happens that the real ones lack: lost and crossing depth events,
//! bookTickers that contradict the book, snapshots that end early, late, repeated and lost trades, silence,
//! tickers, midnight; 80 minutes of it. The same bytes each time.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

/// 22:58 UTC.
const START_MS: i64 = 1_723_157_880_000;
/// How far the venue's clock is ahead.
const OFFSET_MS: i64 = 700;
/// Levels a side that a snapshot holds: a legal limit, so that the known range ends there.
const SNAPSHOT_LEVELS: usize = 100;

struct Market {
    text: String,
    random: u64,
    now_ms: i64,
    /// Prices in ticks of 0.01 to quantities in units of 0.0001.
    bids: BTreeMap<i64, i64>,
    asks: BTreeMap<i64, i64>,
    update_id: u64,
    trade_id: u64,
}

fn px(ticks: i64) -> String {
    format!("{}.{:02}000000", ticks / 100, ticks % 100)
}

fn qty(units: i64) -> String {
    format!("{}.{:04}0000", units / 10_000, units % 10_000)
}

impl Market {
    fn new() -> Market {
        let side =
            |sign: i64| (1..400).map(|i| (268_000 + sign * i * 5, 1 + i * 37 % 5_000)).collect();
        Market {
            text: String::new(),
            random: 88_172_645_463_325_252,
            now_ms: START_MS,
            bids: side(-1),
            asks: side(1),
            update_id: 1_000,
            trade_id: 500,
        }
    }

    /// 0 ≤ result < `below`; xorshift.
    fn random(&mut self, below: i64) -> i64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        i64::try_from(self.random >> 33).unwrap() % below
    }

    fn one_in(&mut self, count: i64) -> bool {
        self.random(count) == 0
    }

    fn line(&mut self, message: &Value) {
        writeln!(self.text, "{} {message}", self.now_ms * 1_000_000).unwrap();
    }

    fn stream(&mut self, channel: &str, data: &Value) {
        self.line(&json!({ "stream": format!("ethusdt@{channel}"), "data": data }));
    }

    fn event_time(&mut self) -> i64 {
        self.now_ms + OFFSET_MS - self.random(40)
    }

    fn best(&self) -> [(i64, i64); 2] {
        let (bid, ask) =
            (self.bids.last_key_value().unwrap(), self.asks.first_key_value().unwrap());
        [(*bid.0, *bid.1), (*ask.0, *ask.1)]
    }

    /// Moves the market and says what changed, as a depth event.
    fn moved(&mut self) -> Value {
        let [(bid, _), (ask, _)] = self.best();
        let middle = (bid + ask) / 2 + self.random(61) - 30;
        let mut changes: [BTreeMap<i64, i64>; 2] = Default::default();
        let swept_bids: Vec<i64> = self.bids.range(middle..).map(|(&px, _)| px).collect();
        let swept_asks: Vec<i64> = self.asks.range(..=middle).map(|(&px, _)| px).collect();
        changes[0].extend(swept_bids.into_iter().map(|px| (px, 0)));
        changes[1].extend(swept_asks.into_iter().map(|px| (px, 0)));
        for (side, sign) in [(0, -1), (1, 1)] {
            changes[side].insert(middle + sign * (1 + self.random(4)), 1 + self.random(90_000));
            for _ in 0..self.random(5) {
                let px = middle + sign * (1 + self.random(2_500));
                let units = if self.one_in(3) { 0 } else { 1 + self.random(50_000) };
                changes[side].entry(px).or_insert(units);
            }
        }
        for (book, changed) in [&mut self.bids, &mut self.asks].into_iter().zip(&changes) {
            for (&px, &units) in changed {
                if units == 0 {
                    book.remove(&px)
                } else {
                    book.insert(px, units)
                };
            }
        }
        let first_id = self.update_id + 1;
        self.update_id = first_id + u64::try_from(self.random(3)).unwrap();
        let levels = |side: &BTreeMap<i64, i64>| -> Vec<[String; 2]> {
            side.iter().map(|(&level, &units)| [px(level), qty(units)]).collect()
        };
        json!({
            "e": "depthUpdate", "E": self.event_time(), "s": "ETHUSDT", "U": first_id,
            "u": self.update_id, "b": levels(&changes[0]), "a": levels(&changes[1]),
        })
    }

    fn depth(&mut self) {
        let event = self.moved();
        self.stream("depth@100ms", &event);
    }

    /// A bid at the best ask that the venue never had: a fault of the stream.
    fn crossing_depth(&mut self) {
        let [_, (ask, _)] = self.best();
        self.update_id += 1;
        let data = json!({
            "e": "depthUpdate", "E": self.event_time(), "s": "ETHUSDT", "U": self.update_id,
            "u": self.update_id, "b": [[px(ask), qty(5)]], "a": [],
        });
        self.stream("depth@100ms", &data);
    }

    /// `excess`: how much too large the bid's quantity is.
    fn quote(&mut self, excess: i64) {
        let [(bid, bid_units), (ask, ask_units)] = self.best();
        let data = json!({
            "u": self.update_id, "s": "ETHUSDT", "b": px(bid), "B": qty(bid_units + excess),
            "a": px(ask), "A": qty(ask_units),
        });
        self.stream("bookTicker", &data);
    }

    fn snapshot(&mut self) {
        let levels = |levels: Vec<(&i64, &i64)>| -> Vec<[String; 2]> {
            levels.into_iter().map(|(&level, &units)| [px(level), qty(units)]).collect()
        };
        let message = json!({
            "lastUpdateId": self.update_id,
            "bids": levels(self.bids.iter().rev().take(SNAPSHOT_LEVELS).collect()),
            "asks": levels(self.asks.iter().take(SNAPSHOT_LEVELS).collect()),
        });
        self.line(&message);
    }

    /// At the best bid or ask, but for extremes, `late_ms` ago.
    fn trade(&mut self, late_ms: i64) -> Value {
        let [(bid, _), (ask, _)] = self.best();
        let sells = self.one_in(2);
        // Some late ones are the hour's extremes.
        let extreme = late_ms > 0 && self.one_in(4);
        let units = if extreme { 40_000 + self.random(9_000) } else { 1 + self.random(30_000) };
        let away = if extreme { self.random(8_000) } else { 0 };
        let time = self.event_time() - late_ms;
        self.trade_id += 1;
        json!({
            "e": "trade", "E": time + self.random(3), "s": "ETHUSDT", "t": self.trade_id,
            "p": px(if sells { bid - away } else { ask + away }), "q": qty(units), "T": time, "m": sells, "M": true,
        })
    }

    fn trades(&mut self) {
        let late_ms = if self.one_in(60) { self.random(3_000) } else { 0 };
        let trade = self.trade(late_ms);
        match self.random(400) {
            0 => {} // lost
            1..3 => {
                self.stream("trade", &trade);
                self.stream("trade", &trade);
            }
            _ => self.stream("trade", &trade),
        }
    }

    fn ticker(&mut self) {
        let [(bid, bid_units), (ask, ask_units)] = self.best();
        let time = self.event_time();
        let data = json!({
            "e": "24hrTicker", "E": time, "s": "ETHUSDT", "p": "-12.50000000", "P": "-0.464",
            "w": "2691.62417319", "x": "2692.50000000", "c": px(bid), "Q": "0.00200000", "b": px(bid),
            "B": qty(bid_units), "a": px(ask), "A": qty(ask_units), "o": "2692.50000000",
            "h": "2723.00000000", "l": "2621.14000000", "v": "694123.41290000",
            "q": "1764200840.32516300", "O": time - 86_400_000, "C": time, "F": 1, "L": self.trade_id,
            "n": self.trade_id,
        });
        self.stream("ticker", &data);
    }
}

/// The lines of the recording.
pub(crate) fn recording() -> String {
    let mut market = Market::new();
    let mut quiet_until_ms = 0;
    let mut snapshot_at_ms = Some(START_MS + 2_000);
    while market.now_ms < START_MS + 80 * 60_000 {
        market.now_ms += 150 + market.random(300);
        if snapshot_at_ms.is_some_and(|at| at <= market.now_ms) {
            market.snapshot();
            snapshot_at_ms = None;
        }
        let is_early = market.now_ms < START_MS + 10_000;
        match market.random(8_000) {
            _ if is_early => market.depth(),
            0..6 => drop(market.moved()),
            6..12 => market.crossing_depth(),
            12..16 => {
                let event = market.moved();
                market.quote(7);
                market.stream("depth@100ms", &event);
            }
            16..24 => snapshot_at_ms = Some(market.now_ms),
            24..28 => quiet_until_ms = market.now_ms + 9_000,
            _ => market.depth(),
        }
        // Asked for some time after whatever may have happened.
        if snapshot_at_ms.is_none() && market.one_in(200) {
            snapshot_at_ms = Some(market.now_ms + 500);
        }
        if market.now_ms > quiet_until_ms {
            if market.one_in(2) {
                market.quote(0);
            }
            for _ in 0..market.random(3) {
                market.trades();
            }
        }
        if market.one_in(30) {
            market.ticker();
        }
    }
    market.text
}
