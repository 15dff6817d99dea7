//! Bars from the venue's klines: the history at start, doubtful bars later, audits all the time.

use cobring_types::{BarInterval, Kline, KlineSource};

use super::{
    Candles, Dirty, KlinesWanted, LinkScope, Nanos, Publish, SymbolMarket, Trade, TradeEffect,
    Trigger, bar_outputs,
};
use crate::bar::Bar;
use crate::history::Answer;

const FOUR: &str = "invariant: a place among the four intervals";

impl SymbolMarket {
    /// A counted trade, for the bars.
    pub(super) fn trade_to_bars(
        &mut self,
        ts_recv: Nanos,
        trade: &Trade,
        lost_since: Option<Nanos>,
    ) -> bool {
        let state = &mut self.state;
        if !state.history.is_running() {
            if state.history.on_trade(ts_recv, trade, lost_since.is_some()) {
                self.begin_bars(ts_recv);
            } else {
                return false;
            }
        }
        let state = &mut self.state;
        let mut outputs =
            bar_outputs(&self.config.instrument, &mut state.studies, &mut self.windows);
        let mut repaired = false;
        let mut of_seconds = TradeEffect::Current;
        for (at, (candles, out)) in state.candles.iter_mut().zip(&mut outputs).enumerate() {
            let effect = candles.on_trade(trade, ts_recv, lost_since, out);
            repaired |= effect == TradeEffect::Repaired;
            // The shortest interval keeps its bars for the shortest time.
            of_seconds = if at == 0 { effect } else { of_seconds };
        }
        let counters = &mut state.counters;
        counters.repairs += u64::from(repaired);
        counters.trades_too_old += u64::from(of_seconds == TradeEffect::TooOld);
        counters.trades_too_far_ahead += u64::from(of_seconds == TradeEffect::TooFarAhead);
        counters.trades_settled += u64::from(of_seconds == TradeEffect::Settled);
        repaired
    }

    /// Timer `g`: bars close, and klines become due.
    pub(super) fn time_to_bars(&mut self, g: Nanos) {
        let state = &mut self.state;
        let low = state.offset.low();
        if state.history.is_running() {
            let mut outputs =
                bar_outputs(&self.config.instrument, &mut state.studies, &mut self.windows);
            for (candles, out) in state.candles.iter_mut().zip(&mut outputs) {
                candles.on_timer(g, low, out);
            }
        }
        let venue_now = low.get().map_or(Nanos::UNDEF, |low| Nanos(g.0.saturating_add(low)));
        if state.history.on_timer(g, venue_now) {
            state.counters.histories_missed += 1;
            self.begin_bars(g);
        }
        if g.floor_to(Nanos::SECOND) == g && self.state.history.audits() {
            self.rejoin();
            self.want_doubtful(g, venue_now);
        }
    }

    /// Closed bars that may lack trades are asked for while trades reach us.
    fn want_doubtful(&mut self, g: Nanos, venue_now: Nanos) {
        let state = &mut self.state;
        let Some(venue_now) = venue_now.get() else { return };
        if !state.candles[0].is_observed() || !state.history.is_free(g) {
            return;
        }
        for (candles, interval) in state.candles.iter_mut().zip(BarInterval::ALL) {
            // A second later the venue's own bar holds all of its trades.
            if let Some((start, bars)) = candles.doubtful(Nanos(venue_now - Nanos::SECOND.0)) {
                return state.history.want(interval, start, bars);
            }
        }
    }

    /// Own bars begin behind what was loaded.
    fn begin_bars(&mut self, ts: Nanos) {
        let state = &mut self.state;
        let mut outputs =
            bar_outputs(&self.config.instrument, &mut state.studies, &mut self.windows);
        let Some((splice, seconds, missed)) = state.history.begin() else { return };
        for (at, out) in outputs.iter_mut().enumerate() {
            let (shorter, rest) = state.candles.split_at_mut(at);
            rest[0].splice(splice, shorter.last(), ts, out);
        }
        for second in seconds {
            for (candles, out) in state.candles.iter_mut().zip(&mut outputs) {
                candles.absorb(second, ts, out);
            }
        }
        if missed {
            // What happened until the next trade is unknown.
            state.candles.iter_mut().for_each(Candles::on_break);
        }
    }

    /// Klines by stream or in answer.
    pub(super) fn on_klines(
        &mut self,
        ts_recv: Nanos,
        interval: BarInterval,
        source: KlineSource,
        rows: &[Kline],
        dirty: &mut Dirty,
    ) -> Publish {
        self.state.counters.klines += rows.len() as u64;
        let before = self.windows.candles[interval.at()].cursor();
        if source == KlineSource::Stream && interval == BarInterval::Second {
            self.watch_trades(rows);
        }
        match source {
            KlineSource::Stream if self.state.history.audits() => {
                self.tell(interval, rows, false);
            }
            KlineSource::Stream => {}
            KlineSource::Rest => match self.state.history.on_answer(ts_recv, interval, rows) {
                Answer::Unasked => self.state.counters.klines_unasked += 1,
                Answer::History { next, until } => {
                    self.preload(ts_recv, interval, rows, next, until);
                }
                Answer::Repair(asked) => {
                    let asked_for = rows.partition_point(|row| row.open_time < asked.end());
                    let rows = &rows[..asked_for];
                    self.tell(interval, rows, true);
                    // Only what the answer reached can be unknown to the venue.
                    let reached = rows.last().map_or(asked.start, |row| row.open_time);
                    let end = Nanos(reached.0.min(asked.end().0));
                    self.state.candles[interval.at()].answered(asked.start, end);
                }
            },
        }
        let changed = self.windows.candles[interval.at()].cursor() != before;
        dirty.candles |= changed;
        changed.then_some(Trigger::Repair)
    }

    /// Seconds in which the venue traded while no trade came.
    fn watch_trades(&mut self, seconds: &[Kline]) {
        let state = &mut self.state;
        let untold = |second: &&Kline| {
            second.trade_count > 0
                && state.last_trade.is_none_or(|last| last.ts_trade < second.open_time)
        };
        if !state.links.carry(LinkScope::TRADE) || !seconds.iter().any(|second| untold(&second)) {
            return;
        }
        if state.trade_watch.on_untold_second() {
            state.counters.trade_stalls += 1;
            state.trades_stalled = true;
            state.want_renewal(LinkScope::TRADE);
        }
    }

    fn preload(
        &mut self,
        ts: Nanos,
        interval: BarInterval,
        rows: &[Kline],
        next: Nanos,
        until: Nanos,
    ) {
        let state = &mut self.state;
        let instrument = &self.config.instrument;
        let mut outputs = bar_outputs(instrument, &mut state.studies, &mut self.windows);
        let at = interval.at();
        for row in rows {
            if row.open_time >= next && row.open_time.0 + interval.length().0 <= until.0 {
                let bar = Bar::of_kline(row, instrument);
                state.candles[at].preload(bar, ts, &mut outputs[at]);
            }
        }
        if state.history.is_loaded() {
            self.begin_bars(ts);
        }
    }

    fn tell(&mut self, interval: BarInterval, rows: &[Kline], from_rest: bool) {
        let state = &mut self.state;
        let instrument = &self.config.instrument;
        let mut outputs = bar_outputs(instrument, &mut state.studies, &mut self.windows);
        let (shorter, longer) = state.candles.split_at_mut(interval.at() + 1);
        let (output, longer_outputs) = outputs[interval.at()..].split_first_mut().expect(FOUR);
        let venue = rows.iter().map(|row| Bar::of_kline(row, instrument));
        let candles = shorter.last_mut().expect(FOUR);
        let told = candles.tell(venue, from_rest, output, |open_time| {
            for (candles, out) in longer.iter_mut().zip(&mut *longer_outputs) {
                candles.doubt(open_time, out);
            }
        });
        state.counters.bars_told += told;
    }

    /// Open bars that lack trades are made anew from shorter ones that no longer do.
    fn rejoin(&mut self) {
        for at in 1..self.state.candles.len() {
            let (shorter, rest) = self.state.candles.split_at_mut(at);
            rest[0].rejoin(&shorter[at - 1]);
        }
    }

    /// The klines that are needed now, if any. They stay wanted until they are asked for.
    #[must_use]
    pub fn klines_wanted(&self) -> Option<KlinesWanted> {
        self.state.history.wanted()
    }
}
