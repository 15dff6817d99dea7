//! Candles of one interval: the open bar, the closed window and its repairs. FRAME.md, "Candles".
//!
//! Guarantees: one row for each interval from the first trade's on, so index and time stay in step; an
//! unobserved interval is a row without values flagged `hole`. Does not: decide which trades count.

mod backfill;
mod history;

pub(crate) use history::second_of;

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use cobring_frame::{
    CANDLE_INCOMPLETE, CANDLE_PARTIAL, CANDLE_REPAIRED, CANDLES_PROMISED, CandleRow,
};
use cobring_types::{Instrument, Nanos, Trade};
use serde::{Deserialize, Serialize};

use crate::bar::Bar;
use crate::study::BarOutput;

/// After the interval's end by the venue's clock, trades for it are waited for this long.
const CLOSE_DELAY: Nanos = Nanos(250_000_000);
/// Closed bars that are kept for repairs: those that readers are promised.
#[expect(clippy::cast_possible_truncation, reason = "a small constant")]
const BARS_KEPT: usize = CANDLES_PROMISED as usize;
/// Closed bars looked at for the share of repaired ones.
const REPAIRED_AMONG: usize = 300;
/// Bars that one timer closes at most: an absurd venue time must not stop the engine.
const BARS_A_TIMER_MAX: i64 = 3_000;
/// Bars between two trades, at most: a week of seconds. A trade further ahead is refused.
const BARS_A_TRADE_MAX: i64 = 604_800;

/// What a trade did to the candles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TradeEffect {
    /// It belongs to the open bar.
    Current,
    /// A closed row was rewritten.
    Repaired,
    /// It belongs to a bar that the venue has already told: passed over.
    Settled,
    /// It belongs to a bar before the first or before those that are kept: passed over.
    TooOld,
    /// Its venue time lies too far ahead: passed over.
    TooFarAhead,
}

/// The candles of one interval.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Candles {
    interval: Nanos,
    open: Option<Bar>,
    /// The last closed bars, oldest first, exact for repairs.
    closed: VecDeque<Bar>,
    /// Repaired bars among the last [`REPAIRED_AMONG`].
    repaired: u32,
    /// Trailing rows that are no holes.
    valid_rows: u64,
    /// Whether trades would reach us now.
    observed: bool,
    /// Trades reach us again, but not from the next bar's beginning.
    resumed: bool,
    /// Timers were missed: nothing is known until the next trade.
    broken: bool,
    /// The venue's word on a bar that is not closed here yet.
    told: Option<Bar>,
    /// Some kept bar may lack trades.
    doubtful: bool,
    /// Bars that were not what the venue says.
    mismatches: u64,
}

impl Candles {
    /// Candles of an interval; nothing before the first trade's bar.
    #[must_use]
    pub(crate) fn new(interval: Nanos) -> Self {
        Self {
            interval,
            open: None,
            closed: VecDeque::with_capacity(BARS_KEPT),
            repaired: 0,
            valid_rows: 0,
            observed: true,
            resumed: false,
            broken: false,
            told: None,
            doubtful: false,
            mismatches: 0,
        }
    }

    /// Reserves all memory that it will need (again).
    pub(crate) fn reserve(&mut self) {
        self.closed.reserve_exact(BARS_KEPT.saturating_sub(self.closed.len()));
    }

    /// A trade of the counting stream. `lost_since` is the venue time of the trade before a gap in ids.
    pub(crate) fn on_trade(
        &mut self,
        trade: &Trade,
        ts_recv: Nanos,
        lost_since: Option<Nanos>,
        out: &mut BarOutput<'_>,
    ) -> TradeEffect {
        if let Some(open) = &mut self.open
            && (0..self.interval.0).contains(&(trade.ts_trade.0.saturating_sub(open.open_time.0)))
            && lost_since.is_none()
            && !self.broken
        {
            open.add(trade);
            return TradeEffect::Current;
        }
        let bar_time = trade.ts_trade.floor_to(self.interval);
        let Some(open) = &mut self.open else {
            let mut bar = Bar::flat(bar_time, trade.px);
            bar.flags = CANDLE_PARTIAL;
            bar.add(trade);
            self.open = Some(bar);
            self.broken = false;
            return TradeEffect::Current;
        };
        // A long silence is vouched for by our own clock, a lone time far ahead is not.
        if (bar_time.0.saturating_sub(open.open_time.0)) / self.interval.0 > BARS_A_TRADE_MAX
            && bar_time.0.saturating_sub(ts_recv.0) / self.interval.0 > BARS_A_TRADE_MAX
        {
            return TradeEffect::TooFarAhead;
        }
        let mut effect = TradeEffect::Current;
        // The bars that a trade between the last one and this one may belong to.
        let lost = lost_since.map(|since| {
            let since = since.floor_to(self.interval);
            since.min(bar_time)..=since.max(bar_time)
        });
        if self.broken {
            open.flags |= CANDLE_INCOMPLETE;
        }
        if lost.as_ref().is_some_and(|lost| lost.contains(&open.open_time)) {
            open.lack();
        }
        if let Some(lost) = &lost
            && self.mark_incomplete(lost, out)
        {
            effect = TradeEffect::Repaired;
        }
        let mut opened = false;
        while let Some(open) = self.open.filter(|open| open.open_time < bar_time) {
            self.close(open, ts_recv, out);
            if let Some(next) = &mut self.open {
                opened = true;
                next.unobserved |= self.broken;
                if lost.is_some() {
                    next.lack();
                }
            }
        }
        let open = self.open.as_mut().expect("invariant: set above");
        if open.open_time == bar_time {
            if self.broken && opened {
                open.flags |= CANDLE_PARTIAL;
            }
            self.broken = false;
            open.add(trade);
            return effect;
        }
        self.repair(bar_time, trade, out)
    }

    /// Timer `g`: bars whose end has passed by the venue's clock, with the delay, close.
    pub(crate) fn on_timer(&mut self, g: Nanos, offset_low: Nanos, out: &mut BarOutput<'_>) {
        if self.broken || !offset_low.is_defined() {
            return;
        }
        let venue_now = g.0.saturating_add(offset_low.0);
        for _ in 0..BARS_A_TIMER_MAX {
            match self.open {
                Some(open) if venue_now >= open.open_time.0 + self.interval.0 + CLOSE_DELAY.0 => {
                    self.close(open, g, out);
                }
                _ => break,
            }
        }
    }

    fn close(&mut self, mut bar: Bar, ts: Nanos, out: &mut BarOutput<'_>) {
        bar.ts_closed = ts;
        if let Some(told) = self.told.take_if(|told| told.open_time <= bar.open_time)
            && told.open_time == bar.open_time
            && settle(&mut bar, &told, out.instrument) == Settled::Mismatch
        {
            bar.flags |= CANDLE_REPAIRED;
            self.mismatches += 1;
        }
        self.push(bar, out);
        let mut next = Bar::flat(Nanos(bar.open_time.0 + self.interval.0), bar.close);
        if !self.observed {
            next.unobserved = true;
        }
        if !self.observed || std::mem::take(&mut self.resumed) {
            next.flags |= CANDLE_INCOMPLETE;
        }
        self.open = Some(next);
    }

    /// Appends a closed bar.
    fn push(&mut self, bar: Bar, out: &mut BarOutput<'_>) {
        let leaving = if self.closed.len() == BARS_KEPT { self.closed.pop_front() } else { None };
        out.append(&bar, leaving.as_ref());
        self.closed.push_back(bar);
        self.doubtful |= bar.is_doubtful();
        self.valid_rows = if bar.unobserved { 0 } else { self.valid_rows + 1 };
        let repaired = |bar: &Bar| u32::from(bar.flags & CANDLE_REPAIRED != 0);
        let among_last = self.closed.len().checked_sub(REPAIRED_AMONG + 1);
        let no_longer = among_last.map_or(0, |at| repaired(&self.closed[at]));
        self.repaired = self.repaired + repaired(&bar) - no_longer;
    }

    /// Rewrites a closed bar with a late trade, and carries its close into the flat bars behind it.
    fn repair(&mut self, bar_time: Nanos, trade: &Trade, out: &mut BarOutput<'_>) -> TradeEffect {
        let Some(at) = self.position(bar_time) else { return TradeEffect::TooOld };
        if self.closed[at].settled {
            return TradeEffect::Settled;
        }
        let was_hole = self.closed[at].unobserved;
        self.closed[at].add(trade);
        self.rewrite(at, out);
        self.after_repair(at..=at, was_hole, out);
        TradeEffect::Repaired
    }

    /// What follows from new prices or volumes of closed bars, the first and the last of them at these places.
    fn after_repair(
        &mut self,
        changed: RangeInclusive<usize>,
        was_hole: bool,
        out: &mut BarOutput<'_>,
    ) {
        let (first, last) = changed.into_inner();
        if was_hole {
            let trailing = self.closed.iter().rev().take_while(|bar| !bar.unobserved).count();
            self.valid_rows = self.valid_rows.max(trailing as u64);
        }
        let mut close = self.closed[first].close;
        let mut carried = true;
        for at in first + 1..self.closed.len() {
            let bar = &mut self.closed[at];
            carried = bar.trade_count == 0 && !bar.settled;
            if !carried {
                if at > last {
                    break;
                }
                close = bar.close;
                carried = true;
                continue;
            }
            *bar = Bar { open: close, high: close, low: close, close, ..*bar };
            // A hole shows no price: there is nothing to mend.
            if !bar.unobserved {
                self.rewrite(at, out);
            }
        }
        if let Some(open) = self.open.as_mut().filter(|open| carried && open.trade_count == 0) {
            *open = Bar { open: close, high: close, low: close, close, ..*open };
        }
        self.count_repaired();
        out.recompute(&self.closed, first);
    }

    /// Place among the closed bars.
    fn position(&self, bar_time: Nanos) -> Option<usize> {
        let open_time = self.open?.open_time;
        let bars_back = usize::try_from((open_time.0 - bar_time.0) / self.interval.0).ok()?;
        self.closed.len().checked_sub(bars_back).filter(|&at| at < self.closed.len())
    }

    fn rewrite(&mut self, at: usize, out: &mut BarOutput<'_>) {
        let bars_back = (self.closed.len() - at) as u64;
        let bar = &mut self.closed[at];
        bar.flags |= CANDLE_REPAIRED;
        out.rewrite(bars_back, bar);
        self.doubtful |= bar.is_doubtful();
    }

    /// Flags the closed bars of these times; whether there were any.
    fn mark_incomplete(&mut self, times: &RangeInclusive<Nanos>, out: &mut BarOutput<'_>) -> bool {
        let first = self.closed.partition_point(|bar| bar.open_time < *times.start());
        let end = self.closed.partition_point(|bar| bar.open_time <= *times.end());
        let mut marked = false;
        for at in first..end {
            // The venue's own bar lacks nothing.
            if !self.closed[at].settled {
                self.closed[at].lack();
                self.rewrite(at, out);
                marked = true;
            }
        }
        self.count_repaired();
        marked
    }

    fn count_repaired(&mut self) {
        let last = self.closed.iter().rev().take(REPAIRED_AMONG);
        let repaired = last.filter(|bar| bar.flags & CANDLE_REPAIRED != 0).count();
        self.repaired = u32::try_from(repaired).expect("invariant: at most 300");
    }

    /// Trades reach us (again), or no longer do; `venue_now` is the venue's clock, where it is known.
    pub(crate) fn set_observed(&mut self, observed: bool, venue_now: Nanos) {
        if observed == self.observed {
            // Another connection beside the one that carries them already.
            return;
        }
        // Behind a bar that waits for its last trades the next one has begun unseen.
        let ended = |open: Bar| match venue_now.get() {
            Some(now) => now >= open.open_time.0 + self.interval.0,
            None => self.interval == Nanos::SECOND,
        };
        self.resumed = observed && self.open.is_some_and(ended);
        self.observed = observed;
        if let Some(open) = &mut self.open {
            open.unobserved &= !observed;
            if !observed {
                open.flags |= CANDLE_INCOMPLETE;
            }
        }
    }

    /// Whether trades reach us.
    #[must_use]
    pub(crate) fn is_observed(&self) -> bool {
        self.observed
    }

    /// Timers were missed: what happened until the next trade is unknown.
    pub(crate) fn on_break(&mut self) {
        self.broken = self.open.is_some();
    }

    /// The engine ended and another one goes on: nobody knows what happened meanwhile. Readers hold so many rows.
    pub(crate) fn resume(&mut self, rows: u64) {
        self.set_observed(false, Nanos::UNDEF);
        self.on_break();
        self.valid_rows = self.valid_rows.min(rows);
        self.mismatches = 0;
    }

    /// Bars that were not what the venue says of them.
    #[must_use]
    pub(crate) fn mismatches(&self) -> u64 {
        self.mismatches
    }

    /// The open bar; none before the first trade.
    #[must_use]
    pub(crate) fn open_bar(&self) -> Option<Bar> {
        self.open
    }

    /// The same as a row; without values before the first trade.
    #[must_use]
    pub(crate) fn open_row(&self, instrument: &Instrument) -> CandleRow {
        self.open.map_or(CandleRow::NONE, |bar| bar.row(instrument))
    }

    /// Repaired bars among the last 300.
    #[must_use]
    pub(crate) fn repaired(&self) -> u32 {
        self.repaired
    }

    /// When the newest row became known.
    #[must_use]
    pub(crate) fn last_closed(&self) -> Nanos {
        self.closed.back().map_or(Nanos::UNDEF, |bar| bar.ts_closed)
    }

    /// Trailing rows that are no holes.
    #[must_use]
    pub(crate) fn valid_rows(&self) -> u64 {
        self.valid_rows
    }
}

/// What the venue's word made of a bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// It is the same.
    Same,
    /// It may have lacked trades, and no longer does.
    Filled,
    /// It was another.
    Mismatch,
}

/// The bar becomes the venue's.
fn settle(bar: &mut Bar, venue: &Bar, instrument: &Instrument) -> Settled {
    if bar.is_doubtful() {
        bar.settle(venue);
        return Settled::Filled;
    }
    if bar.agrees_with(venue, instrument) {
        bar.settled = true;
        return Settled::Same;
    }
    bar.settle(venue);
    Settled::Mismatch
}
