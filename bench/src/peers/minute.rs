//! Trades and quotes of the last minute, as the twin keeps them, and flow from them: summed anew at each frame, or kept
//! as sums that entries join and leave.

use std::collections::VecDeque;

use cobring_frame::{FLOW_WINDOWS_S, Flow};
use cobring_types::{Instrument, Nanos, Px, Qty};

/// How flow's figures come about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FlowBy {
    /// From the newest entry back at each frame.
    Rescan,
    /// Sums of each window, kept along.
    RunningSums,
}

#[derive(Clone, Copy)]
pub(super) struct Trade {
    pub(super) ts_recv: i64,
    pub(super) px: i64,
    pub(super) qty: i64,
    pub(super) is_sell: bool,
    pub(super) id: u64,
    pub(super) ts_trade: i64,
}

#[derive(Clone, Copy, Default)]
struct Sums {
    ofi: i128,
    /// Bought and sold.
    volumes: [i128; 2],
    counts: [u64; 2],
    notional: i128,
}

impl Sums {
    fn add(&mut self, trade: &Trade) {
        self.volumes[usize::from(trade.is_sell)] += i128::from(trade.qty);
        self.counts[usize::from(trade.is_sell)] += 1;
        self.notional += i128::from(trade.px) * i128::from(trade.qty);
    }

    fn remove(&mut self, trade: &Trade) {
        self.volumes[usize::from(trade.is_sell)] -= i128::from(trade.qty);
        self.counts[usize::from(trade.is_sell)] -= 1;
        self.notional -= i128::from(trade.px) * i128::from(trade.qty);
    }

    fn show(&self, at: usize, instrument: &Instrument, block: &mut Flow) {
        block.ofi[at] = instrument.qty_sum_f64(self.ofi);
        [block.buy_volume[at], block.sell_volume[at]] =
            self.volumes.map(|units| instrument.qty_sum_f64(units));
        [block.buy_count[at], block.sell_count[at]] = self.counts;
        let [bought, sold] = self.volumes;
        block.vwap[at] = match bought + sold {
            0 => f64::NAN,
            qty => instrument.notional_f64(self.notional) / instrument.qty_sum_f64(qty),
        };
    }
}

/// A window's entries, oldest first, and their sums where these are kept.
struct Window {
    length: i64,
    quotes: VecDeque<(i64, i64)>,
    trades: VecDeque<Trade>,
    sums: Sums,
}

pub(super) struct Minute {
    by: FlowBy,
    /// The longest alone where its entries are summed anew.
    windows: Vec<Window>,
    last_trade: Option<Trade>,
}

impl Minute {
    pub(super) fn new(by: FlowBy) -> Self {
        let [.., longest] = FLOW_WINDOWS_S;
        let lengths = match by {
            FlowBy::Rescan => vec![longest],
            FlowBy::RunningSums => FLOW_WINDOWS_S.to_vec(),
        };
        let window = |seconds: i64| Window {
            length: seconds * Nanos::SECOND.0,
            quotes: VecDeque::new(),
            trades: VecDeque::new(),
            sums: Sums::default(),
        };
        Self { by, windows: lengths.into_iter().map(window).collect(), last_trade: None }
    }

    pub(super) fn last_trade(&self) -> Option<&Trade> {
        self.last_trade.as_ref()
    }

    /// What a quote adds to the order-flow imbalance.
    pub(super) fn on_quote(&mut self, ts_recv: i64, adds: i64) {
        for window in &mut self.windows {
            window.quotes.push_back((ts_recv, adds));
            window.sums.ofi += i128::from(adds);
        }
    }

    pub(super) fn on_trade(&mut self, trade: Trade) {
        self.last_trade = Some(trade);
        for window in &mut self.windows {
            window.trades.push_back(trade);
            window.sums.add(&trade);
        }
    }

    pub(super) fn show(&mut self, t: i64, instrument: &Instrument, block: &mut Flow) {
        for Window { length, quotes, trades, sums } in &mut self.windows {
            while let Some((_, adds)) = quotes.front().filter(|quote| quote.0 <= t - *length) {
                sums.ofi -= i128::from(*adds);
                quotes.pop_front();
            }
            while let Some(trade) = trades.front().filter(|trade| trade.ts_recv <= t - *length) {
                sums.remove(trade);
                trades.pop_front();
            }
        }
        match self.by {
            FlowBy::Rescan => self.rescan(t, instrument, block),
            FlowBy::RunningSums => {
                for (at, window) in self.windows.iter().enumerate() {
                    window.sums.show(at, instrument, block);
                }
            }
        }
        if let Some(trade) = &self.last_trade {
            block.last_px = instrument.px_f64(Px(trade.px));
            block.last_qty = instrument.qty_f64(Qty(trade.qty));
            block.last_id = trade.id;
            block.last_ts_event = trade.ts_trade;
            block.last_side = u8::from(trade.is_sell);
        }
    }

    /// The sums so far are a window's where it ends.
    fn rescan(&self, t: i64, instrument: &Instrument, block: &mut Flow) {
        let [Window { quotes, trades, .. }, ..] = &*self.windows else { return };
        let (mut quotes, mut trades) =
            (quotes.iter().rev().peekable(), trades.iter().rev().peekable());
        let mut sums = Sums::default();
        for (at, seconds) in FLOW_WINDOWS_S.into_iter().enumerate() {
            let from = t - seconds * Nanos::SECOND.0;
            while let Some((_, adds)) = quotes.next_if(|quote| quote.0 > from) {
                sums.ofi += i128::from(*adds);
            }
            while let Some(trade) = trades.next_if(|trade| trade.ts_recv > from) {
                sums.add(trade);
            }
            sums.show(at, instrument, block);
        }
    }
}
