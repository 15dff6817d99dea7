//! A new run goes on from where the one before ended.

use super::{Dirty, LastTrade, MarketCounters, Nanos, RestoreError, Shown, State, SymbolMarket};

impl SymbolMarket {
    /// Goes on from `left`, the same symbol at the end of the run before: rows, bars and what follows from them, and
    /// the last trade's id stay. What is true only while messages come begins anew, and the time between is a hole
    /// as any other: marked, and filled from the venue's klines. Rows are numbered from 0.
    ///
    /// # Errors
    /// [`RestoreError`] where it has other settings or its history was still loading; this one is then untouched.
    pub fn resume(&mut self, left: &Self) -> Result<(), RestoreError> {
        let has_bars = !left.state.candles[0].is_empty();
        let history = left.state.history.resumed(has_bars).ok_or(RestoreError::Unfinished)?;
        let same_windows = self.windows.iter().count() == left.windows.iter().count();
        if !same_windows || self.image.layout() != left.image.layout() {
            return Err(RestoreError::OtherSettings);
        }
        for (window, left) in self.windows.iter_mut().zip(left.windows.iter()) {
            window.raw_mut().take_over(left.raw());
        }
        self.has_other_rows = true;
        self.shown = Shown::default();
        let was = &left.state;
        let ticks = self.windows.ticks.done();
        let backfill = was.backfill.resumed(ticks, has_bars);
        self.state = State {
            candles: was.candles.clone(),
            studies: was.studies.clone(),
            history,
            cob_second: was.cob_second.resumed(),
            book_states_live: was.book_states_live,
            ticker: was.ticker.resumed(),
            last_trade: was.last_trade.map(|last| LastTrade { resumed: true, ..last }),
            // Nobody saw the ticks between the runs.
            ticks_valid_from: ticks,
            counters: MarketCounters {
                trades_missing: backfill.left(),
                ..MarketCounters::default()
            },
            backfill,
            ..State::new(self.config.book_shape())
        };
        self.state.reserve();
        for (candles, window) in self.state.candles.iter_mut().zip(&self.windows.candles) {
            candles.resume(window.done());
        }
        for study in &mut self.state.studies {
            study.changed = true;
            study.bounds_changed = study.bounds.is_some();
        }
        let rows = left.image.head().valid_rows.iter().zip(self.windows.cursors());
        let valid_rows = rows.map(|(&valid, [done, _])| valid.min(done));
        let head = self.image.head_mut();
        for (target, valid) in head.valid_rows.iter_mut().zip(valid_rows) {
            *target = valid;
        }
        self.write_ticks_valid();
        let ts_end = Nanos(left.image.head().times.ts_recv);
        self.append_lost_book(ts_end, Nanos::UNDEF);
        self.write_samples();
        self.write_top();
        self.write_dirty(Dirty { book: true, pivots: true, candles: true, ..Dirty::default() });
        Ok(())
    }

    /// Whether another run can go on from here: not while a history loads.
    #[must_use]
    pub fn is_resumable(&self) -> bool {
        self.state.history.resumed(true).is_some()
    }

    /// How far the bars reach, by the venue's clock; unknown without one.
    #[must_use]
    pub fn venue_end(&self) -> Nanos {
        let last_trade = self.state.last_trade.map_or(Nanos::UNDEF, |last| last.ts_trade);
        last_trade.max(self.state.candles[0].closed_until().unwrap_or(Nanos::UNDEF))
    }
}
