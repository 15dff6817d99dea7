//! Trades that are missing between two ids: which of them to ask the venue for, which have come, which never will.
//!
//! Guarantees: a missing fill is taken once; one request at a time, from the oldest gap on; a gap that does not get on
//! is given up after a bounded number of requests; what was asked and what came are inputs, so a replay takes the same
//! turns. Does not: touch bars or windows, or ask anyone.

use std::collections::VecDeque;
use std::ops::Range;

use cobring_types::{Nanos, PastTrade, Ranges, Trade, TradeStream};
use serde::{Deserialize, Serialize};

/// Requests for the same trades that bring nothing, before they are given up.
pub const BACKFILL_ATTEMPTS_MAX: u32 = 8;
/// Trades in one answer, at most.
const TRADES_A_REQUEST: u64 = 1_000;
/// As many come at once.
const CAME_MAX: usize = 1_000;
/// Open gaps, at most.
const GAPS_MAX: usize = 64;
/// Ranges that they are split into by trades that come late, at most.
const RANGES_MAX: usize = 256;
/// What has just been traded may not be in the venue's history yet.
const VENUE_DELAY: Nanos = Nanos(500_000_000);

/// Past trades that the fold needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TradesWanted {
    /// Of this stream.
    pub stream: TradeStream,
    /// From this id of the stream on.
    pub first_id: u64,
    /// So many.
    pub limit: u32,
}

/// What is missing between two trades that came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gap {
    /// First missing fill.
    pub(crate) first: u64,
    /// Last missing fill.
    pub(crate) last: u64,
    /// Ids of the stream that are still to be asked for.
    pub(crate) ids: Range<u64>,
    /// Venue time of the trade before it.
    pub(crate) since: Nanos,
    /// Venue time of the trade behind it.
    pub(crate) until: Nanos,
    /// Row of `ticks` behind it.
    pub(crate) row: u64,
    /// Own bars lack it. Before they begin the venue's klines are what fills it.
    pub(crate) in_bars: bool,
    /// Fills that the venue's answers passed over.
    passed_over: u64,
}

impl Gap {
    /// Between `last`, of which the fill's and the stream's id are given, and `next`.
    pub(crate) fn between(last: (u64, u64, Nanos), next: &Trade, row: u64, in_bars: bool) -> Self {
        let (last_fill, last_id, since) = last;
        Self {
            first: last_fill + 1,
            last: next.first_id - 1,
            // Ids of aggregates may go on where those of fills do not: then there is nothing to ask for.
            ids: last_id + 1..next.id.max(last_id + 1),
            since,
            until: next.ts_trade,
            row,
            in_bars,
            passed_over: 0,
        }
    }

    /// Missing fills at first.
    pub(crate) fn count(&self) -> u64 {
        self.last - self.first + 1
    }
}

/// Gaps between ids, and how far the venue has filled them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Backfill {
    /// Oldest first; those with the lowest ids.
    gaps: VecDeque<Gap>,
    /// Fills of these gaps that may come yet.
    missing: Ranges,
    wanted: Option<TradesWanted>,
    asked: Option<TradesWanted>,
    /// Requests since the oldest gap got on.
    attempts: u32,
    /// Nothing is wanted before.
    not_before: Nanos,
    /// Missing trades that have just come, and whether bars lack them.
    #[serde(skip)]
    came: Vec<(Trade, bool)>,
}

impl Default for Backfill {
    fn default() -> Self {
        Self {
            gaps: VecDeque::with_capacity(GAPS_MAX),
            missing: Ranges::with_capacity(RANGES_MAX),
            wanted: None,
            asked: None,
            attempts: 0,
            not_before: Nanos::UNDEF,
            came: Vec::with_capacity(CAME_MAX),
        }
    }
}

impl Backfill {
    /// Reserves all memory that it will need (again).
    pub(crate) fn reserve(&mut self) {
        self.gaps.reserve_exact(GAPS_MAX.saturating_sub(self.gaps.len()));
        self.missing.reserve(RANGES_MAX);
        self.came.reserve_exact(CAME_MAX.saturating_sub(self.came.len()));
    }

    /// The gaps of the next run, whose rows are numbered from 0: all that are there lie before `row`.
    pub(crate) fn resumed(&self, row: u64, has_bars: bool) -> Self {
        let gaps = self.gaps.iter().map(|gap| {
            let in_bars = gap.in_bars && has_bars;
            Gap { row, in_bars, ..gap.clone() }
        });
        Self { gaps: gaps.collect(), missing: self.missing.clone(), ..Self::default() }
    }

    /// Fills that may come yet, and those of open gaps that will not.
    pub(crate) fn left(&self) -> u64 {
        self.missing.count() + self.gaps.iter().map(|gap| gap.passed_over).sum::<u64>()
    }

    /// Trades are missing; of the stream's ids the last `limit` are asked for. Handed back where there is no room.
    pub(crate) fn open(&mut self, ts: Nanos, mut gap: Gap, limit: u64) -> Result<(), Gap> {
        if self.gaps.len() == GAPS_MAX || self.missing.len() == RANGES_MAX {
            return Err(gap);
        }
        gap.ids.start = gap.ids.start.max(gap.ids.end.saturating_sub(limit));
        if self.gaps.is_empty() {
            self.not_before = Nanos(ts.0.saturating_add(VENUE_DELAY.0));
        }
        self.missing.insert(gap.first, gap.last);
        self.gaps.push_back(gap);
        Ok(())
    }

    /// A trade of the past: `true` where all of its fills were missing. It is then among those that [`Self::came`].
    pub(crate) fn take(&mut self, trade: &Trade) -> bool {
        let (first, last) = (trade.first_id, trade.last_id);
        let inside = self.missing.holds(first.saturating_sub(1), last.saturating_add(1));
        if !self.missing.holds(first, last)
            || (inside && self.missing.len() == RANGES_MAX)
            || self.came.len() == CAME_MAX
        {
            return false;
        }
        let Some(gap) = self.gaps.iter().find(|gap| gap.first <= first && last <= gap.last) else {
            return false;
        };
        self.came.push((*trade, gap.in_bars));
        self.missing.remove(first, last);
        true
    }

    /// Timer `g`; `may_ask` where the venue is within reach.
    pub(crate) fn on_timer(&mut self, g: Nanos, stream: Option<TradeStream>, may_ask: bool) {
        let free = self.wanted.is_none() && self.asked.is_none();
        let is_time = self.not_before.get().is_none_or(|at| g.0 >= at);
        if let (Some(gap), Some(stream)) = (self.gaps.front(), stream)
            && free
            && is_time
            && may_ask
        {
            let limit = (gap.ids.end - gap.ids.start).min(TRADES_A_REQUEST);
            let limit = u32::try_from(limit).expect("invariant: at most 1,000");
            self.wanted = Some(TradesWanted { stream, first_id: gap.ids.start, limit });
        }
    }

    /// What is wanted now; until it is asked for.
    pub(crate) fn wanted(&self) -> Option<TradesWanted> {
        self.wanted
    }

    /// Trades were asked for, what is wanted or (without an answer) the same again.
    pub(crate) fn on_requested(&mut self, asked: TradesWanted) {
        self.wanted = None;
        let gap = self.gaps.front_mut().filter(|gap| gap.ids.start == asked.first_id);
        self.asked = gap.is_some().then_some(asked);
        if let Some(gap) = gap {
            self.attempts += 1;
            if self.attempts > BACKFILL_ATTEMPTS_MAX {
                gap.ids.start = gap.ids.end;
            }
        }
    }

    /// An answer; gives how many of its trades nobody missed.
    pub(crate) fn on_answer(&mut self, ts: Nanos, stream: TradeStream, rows: &[PastTrade]) -> u64 {
        let asked = self.asked.take_if(|asked| asked.stream == stream);
        let ids = self.gaps.front().map(|gap| gap.ids.clone());
        let answered = asked.zip(ids).filter(|(asked, ids)| asked.first_id == ids.start);
        let mut unmissed = 0;
        for row in rows {
            if let Some((_, ids)) = &answered
                && ids.contains(&row.id)
            {
                self.get_on_to(row);
            }
            unmissed += u64::from(!self.take(&row.of_stream(stream)));
        }
        if let Some((asked, before)) = answered
            && let Some(gap) = self.gaps.front_mut()
        {
            let got_on = gap.ids.start > before.start;
            let is_short = rows.len() < usize::try_from(asked.limit).unwrap_or(usize::MAX);
            if got_on {
                self.attempts = 0;
            } else if self.attempts >= BACKFILL_ATTEMPTS_MAX {
                gap.ids.start = gap.ids.end;
            }
            // What is not there may come: the venue's history lags behind its streams.
            let pause = VENUE_DELAY.0 << self.attempts.saturating_sub(1);
            let waits = !got_on || is_short;
            self.not_before = if waits { Nanos(ts.0.saturating_add(pause)) } else { Nanos::UNDEF };
        }
        unmissed
    }

    /// The venue's history has reached this trade: what it lacks of the oldest gap before that it will never have.
    fn get_on_to(&mut self, row: &PastTrade) {
        let within = |gap: &&mut Gap| gap.first <= row.first_id && row.last_id <= gap.last;
        // Ids of the stream that are not those of these fills are no answer.
        let Some(gap) = self.gaps.front_mut().filter(within) else { return };
        gap.ids.start = row.id + 1;
        if row.first_id > gap.first {
            gap.passed_over += self.missing.count_within(gap.first, row.first_id - 1);
            self.missing.remove(gap.first, row.first_id - 1);
        }
    }

    /// Missing trades that have just come, and whether bars lack them.
    pub(crate) fn came(&self) -> &[(Trade, bool)] {
        &self.came
    }

    /// They are where they belong.
    pub(crate) fn came_is_done(&mut self) {
        self.came.clear();
    }

    /// The next gap that is at its end, with the fills of it that did not come.
    pub(crate) fn pop_closed(&mut self) -> Option<(Gap, u64)> {
        let missing = &self.missing;
        let at = self
            .gaps
            .iter()
            .position(|gap| gap.ids.is_empty() || missing.count_within(gap.first, gap.last) == 0)?;
        self.pop(at)
    }

    /// The oldest gap, which nothing will fill any more, with the fills of it that did not come.
    pub(crate) fn give_up(&mut self) -> Option<(Gap, u64)> {
        self.pop(0)
    }

    fn pop(&mut self, at: usize) -> Option<(Gap, u64)> {
        let gap = self.gaps.remove(at)?;
        let left = gap.passed_over + self.missing.count_within(gap.first, gap.last);
        self.missing.remove(gap.first, gap.last);
        if at == 0 {
            (self.wanted, self.asked, self.attempts) = (None, None, 0);
        }
        Some((gap, left))
    }

    /// The newest row of `ticks` that has an open gap before it.
    pub(crate) fn newest_row(&self) -> Option<u64> {
        self.gaps.back().map(|gap| gap.row)
    }
}

#[cfg(test)]
mod tests;
