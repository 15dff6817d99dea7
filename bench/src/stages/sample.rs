//! Made messages in the venue's shape, of a market whose best prices stand: the same ones everywhere and always.

use std::fmt::Write as _;

use cobring_types::{Nanos, SymbolIndex};

/// The symbol's place among those of the shipped configuration.
pub(super) const SYMBOL: SymbolIndex = SymbolIndex(1);
/// When the first message is received.
pub(super) const BEGIN: Nanos = Nanos(1_700_000_000 * Nanos::SECOND.0);

/// Levels a side of the snapshot and of a depth message.
const SNAPSHOT_LEVELS: u64 = 1_000;
const DEPTH_LEVELS: u64 = 17;
const FIRST_UPDATE_ID: u64 = 1_000_000;
/// The best bid, in ticks of 0.01; the best ask is the next.
const BID: u64 = 270_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Depth,
    Quote,
    Trade,
}

pub(super) struct Sample {
    random: u64,
    update_id: u64,
    /// Of the last depth message: the next one begins behind it, whatever quotes there were.
    depth_update_id: u64,
    trade_id: u64,
    event_ms: u64,
    text: String,
}

impl Sample {
    pub(super) fn new() -> Self {
        Self {
            random: 1,
            update_id: FIRST_UPDATE_ID,
            depth_update_id: FIRST_UPDATE_ID,
            trade_id: 5_000,
            event_ms: BEGIN.0.unsigned_abs() / 1_000_000,
            text: String::new(),
        }
    }

    /// A linear congruential generator's upper bits, below `bound`.
    fn draw(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % bound
    }

    fn price(&mut self, ticks: u64) {
        write!(self.text, "\"{}.{:02}000000\"", ticks / 100, ticks % 100).expect(STRING_TAKES_ALL);
    }

    fn quantity(&mut self, bound: u64) {
        // In 10^-4, of which one in five is taken away: 0.
        let units = if self.draw(5) == 0 { 0 } else { 1 + self.draw(bound) };
        write!(self.text, "\"{}.{:04}0000\"", units / 10_000, units % 10_000)
            .expect(STRING_TAKES_ALL);
    }

    /// Levels from the best outwards; those of a snapshot have all a quantity.
    fn side(&mut self, is_bid: bool, count: u64, is_snapshot: bool) {
        self.text.push('[');
        let mut distance = 0;
        for level in 0..count {
            if level > 0 {
                self.text.push(',');
            }
            let price = if is_bid { BID - distance } else { BID + 1 + distance };
            self.text.push('[');
            self.price(price);
            self.text.push(',');
            if is_snapshot || level == 0 {
                let units = 1 + self.draw(90_000);
                write!(self.text, "\"{}.{:04}0000\"", units / 10_000, units % 10_000)
                    .expect(STRING_TAKES_ALL);
            } else {
                self.quantity(90_000);
            }
            self.text.push(']');
            distance += 1 + if is_snapshot { 0 } else { self.draw(40) };
        }
        self.text.push(']');
    }

    pub(super) fn snapshot(&mut self) -> Vec<u8> {
        self.text.clear();
        write!(self.text, "{{\"lastUpdateId\":{},\"bids\":", self.update_id)
            .expect(STRING_TAKES_ALL);
        self.side(true, SNAPSHOT_LEVELS, true);
        self.text.push_str(",\"asks\":");
        self.side(false, SNAPSHOT_LEVELS, true);
        self.text.push('}');
        self.text.clone().into_bytes()
    }

    /// The next message of a kind.
    pub(super) fn message(&mut self, kind: Kind) -> &[u8] {
        self.text.clear();
        self.event_ms += 1;
        match kind {
            Kind::Depth => {
                let first = self.depth_update_id + 1;
                self.update_id += 1 + self.draw(20);
                self.depth_update_id = self.update_id;
                write!(
                    self.text,
                    "{{\"stream\":\"ethusdt@depth@100ms\",\"data\":{{\"e\":\"depthUpdate\",\"E\":{},\"s\":\"ETHUSDT\",\"U\":{first},\"u\":{},\"b\":",
                    self.event_ms, self.update_id
                )
                .expect(STRING_TAKES_ALL);
                self.side(true, DEPTH_LEVELS, false);
                self.text.push_str(",\"a\":");
                self.side(false, DEPTH_LEVELS, false);
                self.text.push_str("}}");
            }
            Kind::Quote => {
                self.update_id += 1;
                write!(
                    self.text,
                    "{{\"stream\":\"ethusdt@bookTicker\",\"data\":{{\"u\":{},\"s\":\"ETHUSDT\",\"b\":",
                    self.update_id
                )
                .expect(STRING_TAKES_ALL);
                for (key, price) in [("", BID), (",\"a\":", BID + 1)] {
                    self.text.push_str(key);
                    self.price(price);
                    self.text.push_str(if key.is_empty() { ",\"B\":" } else { ",\"A\":" });
                    let units = 1 + self.draw(90_000);
                    write!(self.text, "\"{}.{:04}0000\"", units / 10_000, units % 10_000)
                        .expect(STRING_TAKES_ALL);
                }
                self.text.push_str("}}");
            }
            Kind::Trade => {
                self.trade_id += 1;
                let is_sell = self.draw(2);
                write!(
                    self.text,
                    "{{\"stream\":\"ethusdt@trade\",\"data\":{{\"e\":\"trade\",\"E\":{},\"s\":\"ETHUSDT\",\"t\":{},\"p\":",
                    self.event_ms, self.trade_id
                )
                .expect(STRING_TAKES_ALL);
                self.price(BID + 1 - is_sell);
                self.text.push_str(",\"q\":");
                let units = 1 + self.draw(90_000);
                write!(
                    self.text,
                    "\"{}.{:04}0000\",\"T\":{},\"m\":{},\"M\":true}}}}",
                    units / 10_000,
                    units % 10_000,
                    self.event_ms,
                    is_sell == 1
                )
                .expect(STRING_TAKES_ALL);
            }
        }
        self.text.as_bytes()
    }
}

const STRING_TAKES_ALL: &str = "invariant: writing to a string cannot fail";
