//! One synthetic symbol: a book, makers who change it around the touch, takers who eat into it.
//!
//! Guarantees: integers only and one generator, so the walk repeats on every machine; each change takes one update
//! id; the book is never crossed and never empty.

use std::collections::BTreeMap;

use super::synthetic::{Burst, Pace, SyntheticSymbol};
use super::{Body, BookTicker, DepthUpdate, Trade};
use crate::book::{Book, Level, Side};
use crate::decimal::{Fixed, ONE};
use crate::random::Random;

/// In ns.
pub(super) const MS: i64 = 1_000_000;
/// Between two depth events of a symbol.
const DEPTH_EVERY_NS: i64 = 100 * MS;
const HOUR_NS: i64 = 3_600 * S;
const S: i64 = 1_000 * MS;
const CLUSTER_CHANGES_MAX: u64 = 600;
/// Levels that no taker and no cancel goes below.
pub(super) const LEVELS_MIN: usize = 50;
/// Fills of one taker's order.
const FILLS_MAX: u32 = 40;

/// The book of one symbol and what happens to it.
#[derive(Debug)]
pub(super) struct Walk {
    random: Random,
    tick: i64,
    lot: i64,
    start_px: i64,
    /// Furthest new level from the touch, in ticks.
    range_ticks: u64,
    level_count: usize,
    pub(super) book: Book,
    changed_bids: BTreeMap<Fixed, Fixed>,
    changed_asks: BTreeMap<Fixed, Fixed>,
    /// Last id of the last depth event.
    depth_id: u64,
    next_trade_id: u64,
    next_taker_order: u64,
    /// Takers of the recent past lean this way; −100 (sellers) to 100.
    mood: i64,
    pace: Pace,
    burst: Option<Burst>,
    next_cluster_ns: i64,
    pub(super) next_depth_ns: i64,
}

impl Walk {
    pub(super) fn new(seed: u64, symbol: &SyntheticSymbol, burst: Option<Burst>) -> Self {
        let mut random = Random::of(seed, &symbol.spec.name);
        let tick = symbol.spec.tick.0;
        let start_px = symbol.start_px.0 / tick * tick;
        // 3 % of the price, but room enough for the levels and never down to zero.
        let range_ticks = (start_px / tick * 3 / 100)
            .max(2 * i64::try_from(symbol.level_count).unwrap_or(i64::MAX));
        let range_ticks = range_ticks.min(start_px / tick / 2).max(LEVELS_MIN as i64);
        let update_id = 1_000_000_000 + random.below(50_000_000_000);
        let mut walk = Self {
            tick,
            lot: symbol.spec.lot.0,
            start_px,
            range_ticks: range_ticks.unsigned_abs(),
            level_count: symbol
                .level_count
                .min(usize::try_from(range_ticks / 2).unwrap_or(usize::MAX)),
            book: Book::from_levels(update_id, &[], &[]),
            changed_bids: BTreeMap::new(),
            changed_asks: BTreeMap::new(),
            depth_id: update_id,
            next_trade_id: 1_000_000 + random.below(3_000_000_000),
            next_taker_order: 1,
            mood: 0,
            pace: symbol.pace,
            burst,
            next_cluster_ns: MS,
            next_depth_ns: i64::try_from(1 + random.below(99)).unwrap_or(1) * MS,
            random,
        };
        walk.fill();
        walk
    }

    fn fill(&mut self) {
        for side in [Side::Bid, Side::Ask] {
            let touch = match side {
                Side::Bid => self.start_px,
                Side::Ask => self.start_px + self.tick,
            };
            let qty = self.random_qty(touch);
            self.book.set(side, Fixed(touch), qty);
            while self.book.level_count(side) < self.level_count {
                let px = self.random_px(side, touch);
                let qty = self.random_qty(px.0);
                self.book.set(side, px, qty);
            }
        }
    }

    /// The best bid at the start, on a tick.
    pub(super) fn start_px(&self) -> Fixed {
        Fixed(self.start_px)
    }

    pub(super) fn next_trade_id(&self) -> u64 {
        self.next_trade_id
    }

    pub(super) fn next_ns(&self) -> i64 {
        self.next_cluster_ns.min(self.next_depth_ns)
    }

    pub(super) fn take_depth(&mut self) -> Option<Body> {
        self.next_depth_ns += DEPTH_EVERY_NS;
        let first_id = self.depth_id + 1;
        if self.book.update_id < first_id {
            return None;
        }
        self.depth_id = self.book.update_id;
        let bids = std::mem::take(&mut self.changed_bids)
            .into_iter()
            .rev()
            .map(|(px, qty)| Level(px, qty))
            .collect();
        let asks = std::mem::take(&mut self.changed_asks)
            .into_iter()
            .map(|(px, qty)| Level(px, qty))
            .collect();
        Some(Body::Depth(DepthUpdate { first_id, last_id: self.depth_id, bids, asks }))
    }

    /// Changes within one millisecond: perhaps a taker's order, then makers around the touch.
    pub(super) fn run_cluster(&mut self, venue_ms: i64) -> Vec<Body> {
        let every_ns = HOUR_NS / i64::from(self.pace.clusters_per_hour);
        let gap_ns = self.random.below_i64(2 * every_ns).max(1_000);
        self.next_cluster_ns = after(self.next_cluster_ns, gap_ns, self.burst);
        let mut out = Vec::new();
        if self.random.percent(self.pace.taker_percent.into()) {
            self.take(venue_ms, &mut out);
        }
        // A cluster is n times as large as the smallest with probability 1 in n.
        let changes_min = u64::from(self.pace.changes_min);
        let change_count =
            (changes_min * 1_000 / (1 + self.random.below(1_000))).min(CLUSTER_CHANGES_MAX);
        for _ in 0..change_count {
            let best = (self.book.best(Side::Bid), self.book.best(Side::Ask));
            self.make();
            if best != (self.book.best(Side::Bid), self.book.best(Side::Ask)) {
                out.extend(self.book_ticker());
            }
        }
        out
    }

    /// A taker's order eats the best levels of the other side.
    fn take(&mut self, venue_ms: i64, out: &mut Vec<Body>) {
        let is_buy = self.next_taker_buys();
        let side = if is_buy { Side::Ask } else { Side::Bid };
        let taker_order = self.next_taker_order;
        self.next_taker_order += 1;
        let Some(Level(px, _)) = self.book.best(side) else { return };
        let size = 4 * self.random_qty(px.0).0;
        let mut left = size;
        for _ in 0..FILLS_MAX {
            let Some(Level(px, resting)) = self.book.best(side) else { break };
            if left == 0 || self.book.level_count(side) <= LEVELS_MIN {
                break;
            }
            // A level holds one to three makers' orders.
            let maker_count = i64::try_from(1 + self.random.below(3)).unwrap_or(1);
            let maker_qty =
                (resting.0 / maker_count / self.lot * self.lot).max(self.lot.min(resting.0));
            let qty = Fixed(left.min(maker_qty));
            left -= qty.0;
            self.change(side, px, Fixed(resting.0 - qty.0));
            let id = self.next_trade_id;
            self.next_trade_id += 1;
            out.push(Body::Trade(Trade {
                id,
                px,
                qty,
                trade_ms: venue_ms,
                is_buyer_maker: !is_buy,
                taker_order,
            }));
        }
        out.extend(self.book_ticker());
    }

    /// Buyers and sellers come in runs, and the more often the further the price has gone the other way.
    fn next_taker_buys(&mut self) -> bool {
        let mid = self.book.best(Side::Bid).map_or(self.start_px, |level| level.0.0);
        let away_per_mille = (mid - self.start_px) / (self.start_px / 1_000).max(1);
        let lean = 50 + self.mood / 5 - away_per_mille * 2;
        let is_buy = self.random.percent(lean.clamp(10, 90).unsigned_abs());
        let step = if is_buy { 4 } else { -4 };
        self.mood = (self.mood + step).clamp(-100, 100);
        if self.random.percent(2) {
            self.mood = -self.mood / 2;
        }
        is_buy
    }

    /// One maker's change: into the spread, or a level set, shrunk or cancelled at some distance.
    fn make(&mut self) {
        let side = if self.random.percent(50) { Side::Bid } else { Side::Ask };
        let (Some(own), Some(other)) = (self.book.best(side), self.book.best(opposite(side)))
        else {
            return;
        };
        let inward = if side == Side::Bid { self.tick } else { -self.tick };
        let spread_ticks = (own.0.0 - other.0.0).abs() / self.tick;
        if spread_ticks > 1 && self.random.percent(40) {
            let ticks = 1 + self.random.below_log((spread_ticks - 1).unsigned_abs())
                % (spread_ticks - 1).unsigned_abs();
            let px = Fixed(own.0.0 + inward * i64::try_from(ticks).unwrap_or(1));
            let qty = self.random_qty(px.0);
            self.change(side, px, qty);
            return;
        }
        let px = self.random_px(side, own.0.0);
        let level_count = self.book.level_count(side);
        if self.book.qty(side, px) == Fixed::ZERO {
            if level_count < self.level_count + self.level_count / 10 {
                let qty = self.random_qty(px.0);
                self.change(side, px, qty);
            } else if let Some(Level(px, _)) = self.book.at_or_behind(side, px) {
                self.change(side, px, Fixed::ZERO);
            }
            return;
        }
        // A level under a crowd of others is cancelled as often as it is changed.
        let may_cancel =
            level_count > self.level_count - self.level_count / 10 && level_count > LEVELS_MIN;
        if may_cancel && self.random.percent(45) {
            self.change(side, px, Fixed::ZERO);
        } else {
            let qty = self.random_qty(px.0);
            self.change(side, px, qty);
        }
    }

    fn change(&mut self, side: Side, px: Fixed, qty: Fixed) {
        if self.book.qty(side, px) == qty {
            return;
        }
        self.book.set(side, px, qty);
        self.book.update_id += 1;
        match side {
            Side::Bid => self.changed_bids.insert(px, qty),
            Side::Ask => self.changed_asks.insert(px, qty),
        };
    }

    fn book_ticker(&self) -> Option<Body> {
        let (bid, ask) = (self.book.best(Side::Bid)?, self.book.best(Side::Ask)?);
        Some(Body::BookTicker(BookTicker { update_id: self.book.update_id, bid, ask }))
    }

    /// A price at or behind the touch: half of them near it, half anywhere in range.
    fn random_px(&mut self, side: Side, touch: i64) -> Fixed {
        let ticks = if self.random.percent(75) {
            self.random.below_log(self.range_ticks)
        } else {
            self.random.below(self.range_ticks)
        };
        let away = i64::try_from(ticks).unwrap_or(0) * self.tick;
        match side {
            Side::Bid => Fixed((touch - away).max(self.tick)),
            Side::Ask => Fixed(touch + away),
        }
    }

    /// A quantity worth 4 to 32,000 of the quote currency, each doubling equally likely, in whole lots.
    fn random_qty(&mut self, px: i64) -> Fixed {
        let doublings = self.random.below(13);
        let worth = i128::from(4_u64 << doublings) * i128::from(1_000 + self.random.below(1_000));
        let units = worth * i128::from(ONE) * i128::from(ONE) / 1_000 / i128::from(px.max(1));
        let lots = (units / i128::from(self.lot)).clamp(1, i128::from(i64::MAX / 1_000 / self.lot));
        Fixed(i64::try_from(lots).unwrap_or(1) * self.lot)
    }
}

/// When `gap_ns` have passed from `at_ns` on, where they pass faster in bursts.
fn after(mut at_ns: i64, mut gap_ns: i64, burst: Option<Burst>) -> i64 {
    let Some(Burst { every_s, for_s, factor }) = burst else { return at_ns + gap_ns };
    let [every_ns, for_ns, factor] = [i64::from(every_s) * S, i64::from(for_s) * S, factor.into()];
    loop {
        let into_ns = at_ns % every_ns;
        let (times, end_ns) = if into_ns < for_ns { (factor, for_ns) } else { (1, every_ns) };
        let left_ns = end_ns - into_ns;
        if gap_ns / times < left_ns {
            return at_ns + gap_ns / times;
        }
        at_ns += left_ns;
        gap_ns -= left_ns * times;
    }
}

fn opposite(side: Side) -> Side {
    match side {
        Side::Bid => Side::Ask,
        Side::Ask => Side::Bid,
    }
}

#[cfg(test)]
mod tests {
    use super::{Burst, S, after};

    #[test]
    fn time_passes_faster_in_bursts() {
        let burst = Some(Burst { every_s: 100, for_s: 10, factor: 5 });
        for (at_s, gap_s, expected_s) in [
            (0, 20, 4),
            (0, 50, 10),
            (0, 60, 20),
            (95, 10, 101),
            (12, 10, 22),
            (95, 5 + 50 + 1, 111),
        ] {
            assert_eq!(after(at_s * S, gap_s * S, burst), expected_s * S, "{at_s} {gap_s}");
        }
        assert_eq!(after(7, 11, None), 18);
    }
}
