//! Trades that are missing between ids, and come after all: history, which changes ticks and bars and nothing else.

use cobring_types::{PastTrade, TradeStream};

use super::{
    Dirty, LastTrade, LinkScope, Nanos, Publish, SymbolMarket, Trade, Trigger, bar_outputs, place,
};
use crate::backfill::{Gap, TradesWanted};

impl SymbolMarket {
    /// Ids are missing between the last trade and this one.
    pub(super) fn lose_trades(&mut self, ts_recv: Nanos, last: &LastTrade, next: &Trade) {
        let state = &mut self.state;
        let row = self.windows.ticks.done();
        let last = (last.id, last.stream_id, last.ts_trade);
        let gap = Gap::between(last, next, row, state.history.is_running());
        state.counters.trades_missing += gap.count();
        if let Err(gap) = state.backfill.open(ts_recv, gap, self.config.backfill_trades_max) {
            state.counters.trades_unfillable += gap.count();
            state.ticks_valid_from = row;
        }
        self.close_gaps();
    }

    /// Nobody knows how many trades are missing before the next one: its ids say nothing of those before it.
    pub(super) fn lose_count(&mut self) {
        let state = &mut self.state;
        while let Some((_, left)) = state.backfill.give_up() {
            state.counters.trades_unfillable += left;
        }
        state.ticks_valid_from = self.windows.ticks.done();
        self.write_ticks_valid();
    }

    /// A trade with ids before the last one's: another connection's copy, or what was missing.
    pub(super) fn take_late(
        &mut self,
        ts_recv: Nanos,
        trade: &Trade,
        dirty: &mut Dirty,
    ) -> Publish {
        if !self.state.backfill.take(trade) {
            self.state.counters.trades_duplicate += 1;
            return None;
        }
        self.add_past(ts_recv, dirty)
    }

    /// Past trades in answer to a request.
    pub(super) fn on_trades(
        &mut self,
        ts_recv: Nanos,
        stream: TradeStream,
        rows: &[PastTrade],
        dirty: &mut Dirty,
    ) -> Publish {
        let state = &mut self.state;
        state.counters.trades_unmissed += state.backfill.on_answer(ts_recv, stream, rows);
        self.add_past(ts_recv, dirty)
    }

    /// Past trades were asked for.
    pub(super) fn on_trades_requested(
        &mut self,
        asked: TradesWanted,
        dirty: &mut Dirty,
    ) -> Publish {
        self.state.backfill.on_requested(asked);
        self.close_gaps().then(|| {
            dirty.candles = true;
            Trigger::Repair
        })
    }

    /// Missing trades are wanted while trades reach us and own bars run: klines go first.
    pub(super) fn want_trades(&mut self, g: Nanos) {
        let state = &mut self.state;
        let may_ask = state.links.carry(LinkScope::TRADE) && state.history.is_running();
        state.backfill.on_timer(g, state.trade_stream, may_ask);
    }

    /// The past trades that are needed now, if any. They stay wanted until they are asked for.
    #[must_use]
    pub fn trades_wanted(&self) -> Option<TradesWanted> {
        self.state.backfill.wanted()
    }

    /// Id of the last fill and its venue time: where the ids go on.
    #[must_use]
    pub fn last_fill(&self) -> Option<(u64, Nanos)> {
        self.state.last_trade.map(|last| (last.id, last.ts_trade))
    }

    /// What came goes to ticks and bars, and gaps that it ends are closed.
    fn add_past(&mut self, ts_recv: Nanos, dirty: &mut Dirty) -> Publish {
        let came = self.state.backfill.came().len();
        for at in 0..came {
            let (trade, _) = self.state.backfill.came()[at];
            self.append_past_tick(ts_recv, &trade);
        }
        if came > 0 {
            self.past_to_bars();
            self.state.backfill.came_is_done();
        }
        let closed = self.close_gaps();
        (came > 0 || closed).then(|| {
            dirty.candles = true;
            Trigger::Repair
        })
    }

    fn past_to_bars(&mut self) {
        let state = &mut self.state;
        let mut outputs =
            bar_outputs(&self.config.instrument, &mut state.studies, &mut self.windows);
        let came = state.backfill.came();
        let counters = &mut state.counters;
        counters.trades_backfilled += came.iter().map(|(trade, _)| trade.count()).sum::<u64>();
        let in_bars = came.iter().filter(|(_, in_bars)| *in_bars).map(|(trade, _)| trade);
        let candles = state.candles.iter_mut().zip(&mut outputs);
        for (at, (candles, out)) in candles.take(self.config.filled_intervals()).enumerate() {
            let filled = candles.fill(in_bars.clone(), out);
            // The shortest interval keeps its bars for the shortest time.
            if at == 0 {
                counters.repairs += filled.repaired;
                counters.trades_settled += filled.settled;
                counters.trades_too_old += filled.too_old;
            }
        }
    }

    /// Bars whose missing trades have all come lack nothing; what did not come is told. Whether there was a gap.
    fn close_gaps(&mut self) -> bool {
        let state = &mut self.state;
        let mut closed = false;
        let known = state.last_trade.map(|last| (last.ids_since, last.ts_trade));
        let mut outputs =
            bar_outputs(&self.config.instrument, &mut state.studies, &mut self.windows);
        while let Some((gap, left)) = state.backfill.pop_closed() {
            closed = true;
            if left > 0 {
                state.counters.trades_unfillable += left;
                state.ticks_valid_from = state.ticks_valid_from.max(gap.row);
            } else if let Some(known) = known.filter(|_| gap.in_bars) {
                let candles = state.candles.iter_mut().zip(&mut outputs);
                for (candles, out) in candles.take(self.config.filled_intervals()) {
                    candles.gap_filled(&gap, known, out);
                }
            }
        }
        self.write_ticks_valid();
        closed
    }

    /// Trailing ticks are valid from the last gap on that nothing has filled.
    pub(super) fn write_ticks_valid(&mut self) {
        let state = &self.state;
        let from = state.backfill.newest_row().unwrap_or(0).max(state.ticks_valid_from);
        let valid = self.windows.ticks.done().saturating_sub(from);
        self.image.head_mut().valid_rows[place::TICKS] = valid;
    }
}
