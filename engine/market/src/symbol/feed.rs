//! From events to state.

use cobring_venue::Audit;

use super::{
    AUDIT_INTERVAL, BookState, Candles, Control, DepthSnapshot, DepthUpdate, DepthVerdict, Dirty,
    FIRST_DEPTH_WAIT, KlinesWanted, LastTrade, LinkScope, Nanos, Publish, Quote, RESYNC_INTERVAL,
    SnapshotVerdict, SnapshotWanted, SymbolMarket, SyncState, Ticker, Trade, TradeWatch,
    TradesWanted, Trigger, best_of, book_state_row, place, values,
};

use crate::watchdog::{Alarm, CHECK_LEVELS};

/// What a whole event can leave wrong.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Bid at or above ask, or a side empty.
    Crossed,
    /// Another best price than bookTicker's at the same id.
    Contradicted,
}

impl SymbolMarket {
    /// A depth update whose turn it is.
    pub(super) fn take_depth(
        &mut self,
        ts_recv: Nanos,
        update: &DepthUpdate<'_>,
        dirty: &mut Dirty,
    ) -> Publish {
        let before = self.book_state();
        dirty.levels_shown = false;
        let state = &mut self.state;
        // One that waits for those before it makes no book fresh.
        state.last_depth_recv = ts_recv;
        let verdict = state.sync.on_depth(update);
        if !matches!(verdict, DepthVerdict::Apply { .. } | DepthVerdict::Ignore) {
            state.kept_times.push(update.last_update_id, ts_recv);
        }
        match verdict {
            DepthVerdict::Apply { audit } => {
                state.depth_stalled = false;
                dirty.book = true;
                self.apply(ts_recv, update, audit, dirty);
                return Some(Trigger::Depth);
            }
            DepthVerdict::Ignore => state.counters.depth_old += 1,
            DepthVerdict::Buffered => {
                state.counters.depth_buffered += 1;
                if state.want_at.is_defined() {
                    self.want_for_link();
                }
            }
            DepthVerdict::Gap { .. } => {
                state.counters.gaps += 1;
                self.lose_book();
            }
            DepthVerdict::BufferGap { .. } => {
                state.counters.gaps += 1;
                self.want_resync();
            }
            DepthVerdict::Overflow => {
                state.counters.depth_buffer_overflows += 1;
                self.want_resync();
            }
        }
        let changed = self.book_state() != before;
        if changed {
            self.append_lost_book(ts_recv, update.ts_event);
        }
        dirty.book |= changed;
        changed.then_some(Trigger::Depth)
    }

    /// Applies an update to the book, and what it means for the second one; then checks the whole event.
    fn apply(&mut self, ts_recv: Nanos, update: &DepthUpdate<'_>, audit: Audit, dirty: &mut Dirty) {
        self.windows.book_states.raw().prefetch_next();
        let state = &mut self.state;
        state.counters.depth_applied += 1;
        state.last_book_recv = ts_recv;
        state.book.apply(update.bids, update.asks);
        if audit == Audit::ApplyAndCompare {
            state.second.apply(update.bids, update.asks);
        }
        if audit != Audit::None {
            self.adopt_second();
        }
        self.look_for_quote(ts_recv, update.last_update_id);
        let fault = self.fault_at(update.last_update_id);
        self.append_book_state(ts_recv, update.ts_event, fault.is_none(), dirty);
        self.lose_by(fault);
    }

    /// Where the best prices moved there was a bookTicker, before this message.
    fn look_for_quote(&mut self, ts_recv: Nanos, update_id: u64) {
        let state = &mut self.state;
        let Some(best) = best_of(&state.book, update_id) else { return };
        let has_it = |quote: &Quote| quote.update_id >= update_id || values(quote) == values(&best);
        let is_told = state.quotes.newest().is_some_and(has_it);
        state.quote_watch.on_book(ts_recv, values(&best), is_told);
    }

    /// What a whole event, the last one up to this id, left wrong.
    fn fault_at(&mut self, update_id: u64) -> Option<Fault> {
        if self.state.book.is_crossed() {
            return Some(Fault::Crossed);
        }
        let quote = *self.state.quotes.at(update_id)?;
        self.contradicts(&quote).then_some(Fault::Contradicted)
    }

    /// Book and bookTicker are at the same update id: whether they disagree.
    fn contradicts(&mut self, quote: &Quote) -> bool {
        let state = &mut self.state;
        let Some(best) = best_of(&state.book, quote.update_id) else { return false };
        state.counters.quote_checks += 1;
        values(&best) != values(quote)
    }

    fn lose_by(&mut self, fault: Option<Fault>) {
        let state = &mut self.state;
        match fault {
            None => {}
            Some(Fault::Crossed) => {
                state.counters.crossed += 1;
                state.crossed = true;
                state.sync.restart();
                self.want_resync();
            }
            Some(Fault::Contradicted) => {
                state.counters.quote_mismatches += 1;
                state.sync.restart();
                self.lose_book();
                self.state.audit_mismatch = true;
            }
        }
    }

    /// The second book replaces the live one: it knows more, and at the same update id the same.
    fn adopt_second(&mut self) {
        let state = &mut self.state;
        if !state.book.agrees_with(&state.second) {
            state.counters.audit_mismatches += 1;
        }
        state.counters.resyncs += 1;
        std::mem::swap(&mut state.book, &mut state.second);
        state.second.clear();
    }

    /// The book is lost: nothing of it may be shown, and a snapshot is needed.
    fn lose_book(&mut self) {
        self.state.book.clear();
        self.state.second.clear();
        self.want_resync();
    }

    fn want_resync(&mut self) {
        self.want(self.config.resync_levels);
    }

    fn want(&mut self, limit: u32) {
        self.state.want_at = Nanos::UNDEF;
        self.state.wanted = Some(SnapshotWanted { limit, background: false });
    }

    /// The snapshot that a link without a book needs.
    fn want_for_link(&mut self) {
        self.state.want_at = Nanos::UNDEF;
        match self.state.sync.state() {
            SyncState::Empty => self.want(self.config.snapshot_levels),
            SyncState::Gapped => self.want_resync(),
            SyncState::Syncing | SyncState::Live => {}
        }
    }

    /// No depth message came since the link did: the symbol is quiet, or the venue slow.
    pub(super) fn want_when_due(&mut self, g: Nanos) {
        if self.state.want_at.get().is_some_and(|at| g.0 >= at) {
            self.want_for_link();
        }
    }

    pub(super) fn on_snapshot(
        &mut self,
        ts_recv: Nanos,
        snapshot: &DepthSnapshot<'_>,
        dirty: &mut Dirty,
    ) -> Publish {
        let before = self.book_state();
        let state = &mut self.state;
        if state.depth_watch.is_asked() {
            let own = state.sync.update_id();
            state.depth_watch.on_answer(ts_recv, snapshot.last_update_id, own);
            return None;
        }
        // Nobody asks in a recording. Elsewhere an answer to a question of before the link was lost, or one that comes
        // while there is none, would make a book that nothing goes on with.
        let is_late =
            !std::mem::take(&mut state.snapshot_asked) || state.links.is_down(LinkScope::DEPTH);
        if state.links.are_known() && is_late {
            state.counters.snapshots_passed_over += 1;
            return None;
        }
        match state.sync.on_snapshot(snapshot) {
            SnapshotVerdict::Adopted => {
                state.counters.syncs += 1;
                state.crossed = false;
                state.audit_mismatch = false;
                state.wanted = None;
                state.want_at = Nanos::UNDEF;
                state.last_snapshot_recv = ts_recv;
                state.last_book_recv = ts_recv;
                state.quotes.drop_newest();
                state.quote_watch.restart();
                state.second.clear();
                state.book.load(snapshot);
                let (book, kept_times) = (&mut state.book, &state.kept_times);
                let (instrument, rows) = (&self.config.instrument, &mut self.windows.book_states);
                let mut applied = 0;
                // Each event is held against the rule, as if it had come to a live book.
                let mut was_crossed = false;
                // The row of the last one waits for what it leaves wrong.
                let mut last = None;
                state.sync.take_kept(|update| {
                    if let Some(last) = last {
                        rows.append(&book_state_row(book, instrument, last, true));
                    }
                    book.apply(update.bids, update.asks);
                    was_crossed |= book.is_crossed();
                    let ts_recv = kept_times.of(update.last_update_id).unwrap_or(ts_recv);
                    last = Some((ts_recv, update.ts_event, update.last_update_id));
                    applied += 1;
                });
                state.counters.depth_applied += applied;
                let valid_rows = &mut self.image.head_mut().valid_rows[place::BOOK_STATES];
                *valid_rows += applied.saturating_sub(1);
                let fault = state.sync.update_id().and_then(|update_id| self.fault_at(update_id));
                let fault = if was_crossed { Some(Fault::Crossed) } else { fault };
                if let Some((ts_recv, ts_event, _)) = last {
                    self.append_book_state(ts_recv, ts_event, fault.is_none(), dirty);
                }
                self.lose_by(fault);
            }
            SnapshotVerdict::AuditNow => {
                state.last_snapshot_recv = ts_recv;
                state.second.load(snapshot);
                let second = &mut state.second;
                let mut was_crossed = false;
                state.sync.take_kept(|update| {
                    second.apply(update.bids, update.asks);
                    was_crossed |= second.is_crossed();
                });
                self.adopt_second();
                let update_id = self.state.sync.update_id();
                let fault = update_id.and_then(|update_id| self.fault_at(update_id));
                self.lose_by(if was_crossed { Some(Fault::Crossed) } else { fault });
            }
            SnapshotVerdict::AuditLater => {
                state.last_snapshot_recv = ts_recv;
                state.second.load(snapshot);
                return None;
            }
            SnapshotVerdict::PassedOver => {
                state.counters.snapshots_passed_over += 1;
                return None;
            }
            SnapshotVerdict::TooOld { .. } | SnapshotVerdict::GapInBuffer { .. } => {
                state.counters.snapshots_too_old += 1;
                self.want_resync();
                dirty.book = self.book_state() != before;
                return dirty.book.then_some(Trigger::Snapshot);
            }
        }
        dirty.book = true;
        Some(Trigger::Snapshot)
    }

    pub(super) fn on_quote(&mut self, ts_recv: Nanos, quote: &Quote, dirty: &mut Dirty) -> Publish {
        let state = &mut self.state;
        state.last_quote_recv = ts_recv;
        if !state.quotes.on_quote(*quote) {
            state.counters.quotes_old += 1;
            return None;
        }
        state.counters.quotes += 1;
        state.quote_watch.on_quote();
        state.flow.on_quote(ts_recv, quote);
        if state.sync.update_id() == Some(quote.update_id) {
            let before = self.book_state();
            let fault = self.contradicts(quote).then_some(Fault::Contradicted);
            self.lose_by(fault);
            dirty.book |= self.book_state() != before;
        }
        Some(Trigger::Quote)
    }

    /// A trade whose turn it is.
    pub(super) fn take_trade(
        &mut self,
        ts_recv: Nanos,
        trade: &Trade,
        dirty: &mut Dirty,
    ) -> Publish {
        let mut lost_since = None;
        // Bars that began before the first trade may lack trades that no id tells of.
        if self.state.last_trade.is_none() && self.state.history.is_running() {
            self.state.candles[0].suspect_all();
            // Nobody knows since when: since ever.
            lost_since = self.state.first_trade_unproven.then_some(Nanos(0));
        }
        let mut ids_since = trade.ts_trade;
        if let Some(last) = self.state.last_trade {
            let is_old = trade.last_id <= last.id;
            ids_since = last.ids_since;
            if last.stream != trade.stream || (last.resumed && is_old) {
                // Other ids than those of the run before.
                self.lose_count();
                ids_since = trade.ts_trade;
                lost_since = Some(last.ts_trade);
            } else if is_old {
                return self.take_late(ts_recv, trade, dirty);
            } else if trade.first_id > last.id + 1 {
                self.lose_trades(ts_recv, &last, trade);
                lost_since = Some(last.ts_trade);
            }
        }
        let state = &mut self.state;
        state.last_trade = Some(LastTrade {
            stream: trade.stream,
            resumed: false,
            id: trade.last_id,
            stream_id: trade.id,
            ids_since,
            ts_trade: trade.ts_trade,
            px: trade.px,
        });
        state.counters.trades += 1;
        let repaired = self.trade_to_bars(ts_recv, trade, lost_since);
        let state = &mut self.state;
        state.flow.on_trade(ts_recv, trade);
        let bucket = trade.px.0.div_euclid(self.config.bucket_ticks);
        state.cob_second.on_trade(bucket, trade.side, trade.qty.0);
        dirty.candles = true;
        self.append_trade_tick(ts_recv, trade);
        Some(if repaired { Trigger::Repair } else { Trigger::Trade })
    }

    /// Shows in the next frame.
    pub(super) fn on_ticker(&mut self, ts_recv: Nanos, ticker: &Ticker) {
        self.state.counters.tickers += 1;
        self.state.ticker.on_ticker(ts_recv, ticker);
        self.append_ticker(ts_recv, ticker);
    }

    pub(super) fn on_control(
        &mut self,
        ts_recv: Nanos,
        control: &Control,
        dirty: &mut Dirty,
    ) -> Publish {
        let before = self.book_state();
        match *control {
            Control::LinkUp { connection, scope } => self.on_link_up(ts_recv, connection, scope),
            Control::LinkDown { connection, scope } => {
                self.on_link_down(connection, scope);
                self.append_lost_book(ts_recv, Nanos::UNDEF);
            }
            Control::SnapshotRequested { limit, background } => {
                if self.state.depth_watch.on_requested(limit, background) {
                    // A book that was lost meanwhile still wants its own snapshot.
                    self.state.wanted.take_if(|wanted| wanted.limit == limit && wanted.background);
                    return None;
                }
                // A background re-sync that was asked for while the book got lost still answers it.
                self.state.wanted = None;
                self.state.want_at = Nanos::UNDEF;
                if self.state.links.is_down(LinkScope::DEPTH) {
                    // Asked too late: nothing goes on with the answer, and the next link asks for its own.
                    return None;
                }
                self.state.snapshot_asked = true;
                self.state.sync.on_requested();
                if !self.state.sync.is_live() {
                    self.state.crossed = false;
                    self.state.book.clear();
                }
                dirty.book = self.book_state() != before;
                return dirty.book.then_some(Trigger::Link);
            }
            Control::KlinesRequested { interval, start, limit } => {
                self.state.history.on_requested(KlinesWanted { interval, start, limit });
                return None;
            }
            Control::TradesRequested { stream, first_id, limit } => {
                let asked = TradesWanted { stream, first_id, limit };
                return self.on_trades_requested(asked, dirty);
            }
            Control::TickerRequested => {
                self.state.ticker.on_requested(ts_recv);
                return None;
            }
            Control::Stalled { scope } => {
                self.state.renewal_wanted = None;
                self.state.depth_stalled |= scope.carries(LinkScope::DEPTH);
                self.state.trades_stalled |= scope.carries(LinkScope::TRADE);
            }
            Control::Halted { halted } => return self.set_halted(halted, dirty),
            Control::ClockStep { wall_offset } => {
                self.image.head_mut().times.wall_offset = wall_offset.0;
                return None;
            }
            Control::Break { .. } => self.on_break(),
            Control::LogLost { .. } => self.state.unlogged = true,
            Control::Checkpoint => {
                self.state.unlogged = false;
                return None;
            }
            Control::Stop => return None,
        }
        dirty.book = true;
        dirty.candles = true;
        Some(Trigger::Link)
    }

    fn on_link_up(&mut self, ts_recv: Nanos, connection: u16, scope: LinkScope) {
        let state = &mut self.state;
        // Whatever it carried before: only other connections tell whether a stream went on.
        state.links.down(connection);
        if scope.carries(LinkScope::QUOTE) && !state.links.carry(LinkScope::QUOTE) {
            state.quotes.drop_newest();
            state.flow.forget_quote();
        }
        state.links.up(connection, scope);
        if scope.carries(LinkScope::QUOTE) {
            state.quote_watch.restart();
        }
        if scope.carries(LinkScope::DEPTH) {
            state.depth_watch.on_link(ts_recv);
        }
        if scope.carries(LinkScope::TRADE) {
            state.first_trade_unproven |=
                state.last_trade.is_none() && state.links.count(LinkScope::TRADE) > 1;
            state.trade_watch = TradeWatch::default();
            if self.config.klines {
                state.history.on_link_up(ts_recv, !state.candles[0].is_empty());
            }
            let low = state.offset.low().get();
            let venue_now = low.map_or(Nanos::UNDEF, |low| Nanos(ts_recv.0.saturating_add(low)));
            for candles in &mut state.candles {
                candles.set_observed(true, venue_now);
            }
        }
        let needed = matches!(state.sync.state(), SyncState::Empty | SyncState::Gapped)
            && state.wanted.is_none()
            && !state.want_at.is_defined();
        if scope.carries(LinkScope::DEPTH) && needed {
            state.want_at = Nanos(ts_recv.0.saturating_add(FIRST_DEPTH_WAIT.0));
        }
    }

    /// What comes behind the last link of a stream is unproven until it is shown to join.
    fn on_link_down(&mut self, connection: u16, scope: LinkScope) {
        let state = &mut self.state;
        state.links.down(connection);
        if scope.carries(LinkScope::TRADE) && !state.links.carry(LinkScope::TRADE) {
            state.history.on_missed();
            for candles in &mut state.candles {
                candles.set_observed(false, Nanos::UNDEF);
            }
        }
        if scope.carries(LinkScope::DEPTH) && !state.links.carry(LinkScope::DEPTH) {
            state.sync.reset();
            state.snapshot_asked = false;
            if let Some(merge) = &mut state.depth_merge {
                merge.reset();
            }
            state.book.clear();
            state.second.clear();
            state.crossed = false;
            // Without a link a snapshot would join nothing: the next link asks for one.
            state.wanted = None;
            state.want_at = Nanos::UNDEF;
        }
    }

    fn on_break(&mut self) {
        let state = &mut self.state;
        state.counters.breaks += 1;
        state.samples.clear();
        state.offset.clear_low();
        state.flow.clear();
        state.history.on_missed();
        state.candles.iter_mut().for_each(Candles::on_break);
        self.write_samples();
    }

    pub(super) fn set_halted(&mut self, halted: bool, dirty: &mut Dirty) -> Publish {
        dirty.book = std::mem::replace(&mut self.state.halted, halted) != halted;
        dirty.book.then_some(Trigger::Link)
    }

    /// A silent depth stream is asked about; one that is stalled is told, and its connections are to be renewed.
    pub(super) fn watch_depth(&mut self, g: Nanos, dirty: &mut Dirty) {
        let state = &mut self.state;
        if !state.sync.is_live() || !state.links.carry(LinkScope::DEPTH) {
            return;
        }
        match state.depth_watch.on_timer(g) {
            Alarm::None => {}
            Alarm::Ask => {
                let check = SnapshotWanted { limit: CHECK_LEVELS, background: true };
                state.wanted.get_or_insert(check);
            }
            Alarm::Stalled => {
                state.counters.depth_stalls += 1;
                state.depth_stalled = true;
                state.want_renewal(LinkScope::DEPTH);
                dirty.book = true;
                self.append_lost_book(g, Nanos::UNDEF);
            }
        }
    }

    /// bookTickers that do not come while the book's best prices move: their connections are to be renewed.
    pub(super) fn watch_quotes(&mut self, g: Nanos) {
        let state = &mut self.state;
        if state.links.carry(LinkScope::QUOTE) && state.quote_watch.on_timer(g) {
            state.counters.quote_stalls += 1;
            state.want_renewal(LinkScope::QUOTE);
        }
    }

    /// Wants a background re-sync where few buckets are known or the last audit is long ago.
    pub(super) fn want_background(&mut self, g: Nanos) {
        let is_due =
            |last: Nanos, interval: Nanos| last.get().is_none_or(|last| g.0 - last >= interval.0);
        let state = &self.state;
        let needed = self.book_state() == BookState::Live
            && state.wanted.is_none()
            && is_due(state.last_background_wanted, RESYNC_INTERVAL)
            && (is_due(state.last_snapshot_recv, AUDIT_INTERVAL) || self.is_known_range_narrow());
        if needed {
            self.state.last_background_wanted = g;
            self.state.wanted =
                Some(SnapshotWanted { limit: self.config.snapshot_levels, background: true });
        }
    }

    /// To be called after each published frame.
    pub fn frame_done(&mut self) {
        if std::mem::take(&mut self.has_other_rows) {
            self.windows.iter_mut().for_each(|window| window.clear_rewritten());
        }
    }
}
