//! Flow over the last 1, 5, 15 and 60 s of receive time: traded volumes and order-flow imbalance.
//!
//! Guarantees: exact integer sums over (t − N s, t]. Entries are bounded; where a burst exceeds them the
//! oldest give way and the block is not valid until 60 s later.

use cobring_frame::{FLOW_WINDOWS_S, Flow as FlowBlock, SIDE_NONE};
use cobring_types::{Instrument, Nanos, Quote, Side, Trade};
use serde::{Deserialize, Serialize};

use crate::queue::Queue;

/// Trades and quotes kept, at most: 60 s at twice the busiest second of the recordings.
const ENTRIES_MAX: usize = 1 << 17;

/// Sums over sliding windows that share one queue of entries.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Sliding<E: Copy, S> {
    entries: Queue<(Nanos, E), ENTRIES_MAX>,
    /// Entries that ever left the queue: absolute number of its front.
    gone: u64,
    /// Absolute number of each window's oldest entry, and its sums.
    windows: [(u64, S); 4],
    /// Receive time of the last entry that gave way before its time.
    truncated: Nanos,
    /// Since the block was written.
    changed: bool,
    /// No entry leaves a window before this. A checkpoint need not have it: it is found again.
    #[serde(skip, default = "long_ago")]
    due: Nanos,
}

fn long_ago() -> Nanos {
    Nanos(i64::MIN)
}

/// When an entry leaves a window.
fn leaves_at(ts: Nanos, seconds: i64) -> Nanos {
    Nanos(ts.0 + seconds * Nanos::SECOND.0)
}

/// What a window sums.
trait Summed<E>: Copy + Default {
    fn add(&mut self, entry: &E);
    fn remove(&mut self, entry: &E);
}

impl<E: Copy, S: Summed<E>> Sliding<E, S> {
    fn new() -> Self {
        Self {
            entries: Queue::default(),
            gone: 0,
            windows: [(0, S::default()); 4],
            truncated: Nanos::UNDEF,
            changed: true,
            due: long_ago(),
        }
    }

    fn reserve(&mut self) {
        self.entries.reserve();
    }

    fn push(&mut self, ts: Nanos, entry: E) {
        if self.entries.is_full() {
            self.drop_front();
        }
        self.changed = true;
        let [shortest, ..] = FLOW_WINDOWS_S;
        self.due = self.due.min(leaves_at(ts, shortest));
        self.entries.push((ts, entry));
        for (_, sums) in &mut self.windows {
            sums.add(&entry);
        }
    }

    #[cold]
    fn drop_front(&mut self) {
        if let Some((ts, entry)) = self.entries.pop() {
            self.truncated = ts;
            for (oldest, sums) in self.windows.iter_mut().filter(|(oldest, _)| *oldest == self.gone)
            {
                sums.remove(&entry);
                *oldest += 1;
            }
            self.gone += 1;
        }
    }

    /// Entries at or before t − N s leave the window of N seconds.
    fn advance(&mut self, t: Nanos) {
        if t < self.due {
            return;
        }
        self.due = Nanos(i64::MAX);
        for ((oldest, sums), seconds) in self.windows.iter_mut().zip(FLOW_WINDOWS_S) {
            while let Some((ts, entry)) =
                usize::try_from(*oldest - self.gone).ok().and_then(|at| self.entries.get(at))
            {
                let leaves_at = leaves_at(*ts, seconds);
                if leaves_at > t {
                    self.due = self.due.min(leaves_at);
                    break;
                }
                sums.remove(entry);
                *oldest += 1;
                self.changed = true;
            }
        }
        while self.gone < self.windows[3].0 {
            self.entries.pop();
            self.gone += 1;
        }
    }

    fn is_whole(&self, t: Nanos) -> bool {
        !self.truncated.is_defined()
            || self.truncated.0 <= t.0 - FLOW_WINDOWS_S[3] * Nanos::SECOND.0
    }

    fn clear(&mut self) {
        self.changed = true;
        self.gone += self.entries.len() as u64;
        self.entries.clear();
        self.windows = [(self.gone, S::default()); 4];
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Traded {
    side: Side,
    qty: i64,
    notional: i128,
    count: u64,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct TradedSums {
    buy_qty: i128,
    sell_qty: i128,
    notional: i128,
    buy_count: u64,
    sell_count: u64,
}

impl Summed<Traded> for TradedSums {
    fn add(&mut self, entry: &Traded) {
        self.notional += entry.notional;
        match entry.side {
            Side::Buy => {
                self.buy_qty += i128::from(entry.qty);
                self.buy_count += entry.count;
            }
            Side::Sell => {
                self.sell_qty += i128::from(entry.qty);
                self.sell_count += entry.count;
            }
        }
    }

    fn remove(&mut self, entry: &Traded) {
        self.notional -= entry.notional;
        match entry.side {
            Side::Buy => {
                self.buy_qty -= i128::from(entry.qty);
                self.buy_count -= entry.count;
            }
            Side::Sell => {
                self.sell_qty -= i128::from(entry.qty);
                self.sell_count -= entry.count;
            }
        }
    }
}

impl Summed<i128> for i128 {
    fn add(&mut self, entry: &i128) {
        *self += entry;
    }

    fn remove(&mut self, entry: &i128) {
        *self -= entry;
    }
}

/// Trades and order-flow imbalance of the last minute.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Flow {
    trades: Sliding<Traded, TradedSums>,
    ofi: Sliding<i128, i128>,
    last_trade: Option<Trade>,
    last_quote: Option<Quote>,
}

impl Default for Flow {
    fn default() -> Self {
        Self { trades: Sliding::new(), ofi: Sliding::new(), last_trade: None, last_quote: None }
    }
}

impl Flow {
    /// Reserves all memory that it will need (again).
    pub(crate) fn reserve(&mut self) {
        self.trades.reserve();
        self.ofi.reserve();
    }

    /// A trade of the counting stream.
    pub(crate) fn on_trade(&mut self, ts_recv: Nanos, trade: &Trade) {
        self.last_trade = Some(*trade);
        self.trades.push(
            ts_recv,
            Traded {
                side: trade.side,
                qty: trade.qty.0,
                notional: i128::from(trade.px.0) * i128::from(trade.qty.0),
                count: trade.count(),
            },
        );
    }

    /// A bookTicker: its contribution to the level-1 order-flow imbalance (Cont, Kukanov, Stoikov,
    /// "The Price Impact of Order Book Events", 2014, eq. 2):
    /// e = 1{b ≥ b'}·q − 1{b ≤ b'}·q' − 1{a ≤ a'}·r + 1{a ≥ a'}·r', primes for the one before.
    pub(crate) fn on_quote(&mut self, ts_recv: Nanos, quote: &Quote) {
        if let Some(before) = self.last_quote.replace(*quote) {
            let when = |holds: bool, qty: i64| if holds { i128::from(qty) } else { 0 };
            let contribution = when(quote.bid_px >= before.bid_px, quote.bid_qty.0)
                - when(quote.bid_px <= before.bid_px, before.bid_qty.0)
                - when(quote.ask_px <= before.ask_px, quote.ask_qty.0)
                + when(quote.ask_px >= before.ask_px, before.ask_qty.0);
            self.ofi.push(ts_recv, contribution);
        }
    }

    /// The quote before the next one is unknown: no contribution can be made from it.
    pub(crate) fn forget_quote(&mut self) {
        self.last_quote = None;
    }

    /// Timers were missed: samples clear.
    pub(crate) fn clear(&mut self) {
        self.trades.clear();
        self.ofi.clear();
        self.last_quote = None;
    }

    /// Whether no entry gave way within the last 60 s.
    #[must_use]
    pub(crate) fn is_whole(&self, t: Nanos) -> bool {
        self.trades.is_whole(t) && self.ofi.is_whole(t)
    }

    /// Brings the block, which is always the same one, to time `t`.
    pub(crate) fn write(&mut self, t: Nanos, instrument: &Instrument, block: &mut FlowBlock) {
        self.trades.advance(t);
        self.ofi.advance(t);
        if std::mem::take(&mut self.ofi.changed) {
            for (at, (_, sum)) in self.ofi.windows.iter().enumerate() {
                block.ofi[at] = instrument.qty_sum_f64(*sum);
            }
        }
        if std::mem::take(&mut self.trades.changed) {
            self.write_trades(instrument, block);
        }
    }

    fn write_trades(&self, instrument: &Instrument, block: &mut FlowBlock) {
        for (at, (_, sums)) in self.trades.windows.iter().enumerate() {
            block.buy_volume[at] = instrument.qty_sum_f64(sums.buy_qty);
            block.sell_volume[at] = instrument.qty_sum_f64(sums.sell_qty);
            block.buy_count[at] = sums.buy_count;
            block.sell_count[at] = sums.sell_count;
            let qty = sums.buy_qty + sums.sell_qty;
            block.vwap[at] = if qty == 0 {
                f64::NAN
            } else {
                instrument.notional_f64(sums.notional) / instrument.qty_sum_f64(qty)
            };
        }
        match &self.last_trade {
            Some(trade) => {
                block.last_px = instrument.px_f64(trade.px);
                block.last_qty = instrument.qty_f64(trade.qty);
                block.last_id = trade.last_id;
                block.last_ts_event = trade.ts_trade.0;
                block.last_side = side_number(trade.side);
            }
            None => {
                block.last_px = f64::NAN;
                block.last_qty = f64::NAN;
                block.last_ts_event = Nanos::UNDEF.0;
                block.last_side = SIDE_NONE;
            }
        }
    }
}

/// A side as frames and rows number it.
#[must_use]
pub(crate) fn side_number(side: Side) -> u8 {
    match side {
        Side::Buy => 0,
        Side::Sell => 1,
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;
    use cobring_types::{Px, Qty, TradeStream};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sums_equal_those_from_scratch(
            steps in proptest::collection::vec((0i64..3_000, 1i64..50, 1i64..9, any::<bool>()), 1..120),
        ) {
            let instrument = Instrument::new("X", "0.01", 2).unwrap();
            let mut flow = Flow::default();
            let mut block = FlowBlock::zeroed();
            let (mut t, mut trades, mut quotes, mut before) = (0, vec![], vec![], None::<Quote>);
            for (at, (step, px, qty, buy)) in steps.into_iter().enumerate() {
                t += step * 1_000_000;
                let side = if buy { Side::Buy } else { Side::Sell };
                let id = at as u64;
                let trade = Trade { stream: TradeStream::Trade, ts_event: Nanos(t), ts_trade: Nanos(t),
                    id, first_id: id, last_id: id, px: Px(px), qty: Qty(qty), side };
                flow.on_trade(Nanos(t), &trade);
                trades.push((t, trade));
                let quote = Quote { update_id: id, bid_px: Px(px), bid_qty: Qty(qty), ask_px: Px(px + qty), ask_qty: Qty(10 - qty) };
                flow.on_quote(Nanos(t), &quote);
                if let Some(old) = before.replace(quote) {
                    let mut e = 0;
                    if quote.bid_px >= old.bid_px { e += quote.bid_qty.0 }
                    if quote.bid_px <= old.bid_px { e -= old.bid_qty.0 }
                    if quote.ask_px <= old.ask_px { e -= quote.ask_qty.0 }
                    if quote.ask_px >= old.ask_px { e += old.ask_qty.0 }
                    quotes.push((t, e));
                }
                flow.write(Nanos(t), &instrument, &mut block);
                for (at, seconds) in FLOW_WINDOWS_S.into_iter().enumerate() {
                    let from = t - seconds * 1_000_000_000;
                    let inside = || trades.iter().filter(|(ts, _)| *ts > from).map(|(_, trade)| trade);
                    let volume = |side| inside().filter(|t| t.side == side).map(|t| t.qty.0).sum::<i64>() as f64 / 100.0;
                    prop_assert_eq!(block.buy_volume[at].to_bits(), volume(Side::Buy).to_bits());
                    prop_assert_eq!(block.sell_volume[at].to_bits(), volume(Side::Sell).to_bits());
                    let count = inside().filter(|t| t.side == Side::Buy).count() as u64;
                    prop_assert_eq!(block.buy_count[at], count);
                    let ofi: i64 = quotes.iter().filter(|(ts, _)| *ts > from).map(|(_, e)| e).sum();
                    prop_assert_eq!(block.ofi[at].to_bits(), (ofi as f64 / 100.0).to_bits());
                }
            }
        }
    }

    #[test]
    fn a_burst_beyond_the_bound_makes_the_block_invalid_for_a_minute() {
        let mut sliding = Sliding::<i128, i128>::new();
        for at in 0..=ENTRIES_MAX as i64 {
            sliding.push(Nanos(at), 1);
        }
        assert_eq!(sliding.entries.len(), ENTRIES_MAX);
        assert_eq!(sliding.windows[0].1, ENTRIES_MAX as i128);
        assert!(!sliding.is_whole(Nanos(ENTRIES_MAX as i64)));
        assert!(sliding.is_whole(Nanos(61 * Nanos::SECOND.0)));
        sliding.advance(Nanos(61 * Nanos::SECOND.0));
        assert_eq!((sliding.entries.len(), sliding.windows[3].1), (0, 0));
    }
}
