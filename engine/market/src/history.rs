//! Which klines a symbol needs, when, and how far it has got: the bars before its first own one at start, and
//! doubtful bars later.
//!
//! Guarantees: one request at a time; what was asked and what came are inputs, so a replay takes the same
//! turns. Does not: touch bars, or ask anyone.

use cobring_types::{BarInterval, Kline, Nanos, Trade};
use serde::{Deserialize, Serialize};

use crate::bar::Bar;
use crate::candles::second_of;

/// Closed bars that are loaded of each interval: those that readers are promised.
const BARS_LOADED: i64 = 1_500;
/// Bars in one answer, at most.
const BARS_A_REQUEST: i64 = 1_000;
/// Without a trade after the link came up, the venue's clock alone says where own bars begin.
const FIRST_TRADE_WAIT: Nanos = Nanos(2 * Nanos::SECOND.0);
/// Trades of a bar that has ended may still be on their way into the venue's own bar.
const VENUE_DELAY: Nanos = Nanos(500_000_000);
/// Own bars begin without a history that has not come within this time.
const LOADING_MAX: Nanos = Nanos(30 * Nanos::SECOND.0);
/// Own seconds kept while the history loads.
const SECONDS_KEPT: usize = 64;
/// Between two requests for the same bars.
const RETRY: Nanos = Nanos(500_000_000);
/// After an answer without a bar.
const EMPTY_RETRY: Nanos = Nanos(60 * Nanos::SECOND.0);

/// Klines that the fold needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KlinesWanted {
    /// Of this interval.
    pub interval: BarInterval,
    /// From this open time on.
    pub start: Nanos,
    /// So many.
    pub limit: u32,
}

impl KlinesWanted {
    /// Start of the first bar behind those that are asked for.
    #[must_use]
    pub fn end(&self) -> Nanos {
        Nanos(self.start.0.saturating_add(self.interval.length().0 * i64::from(self.limit)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    /// No link ever carried trades (a line recording), or no klines are to be had: bars begin with the first trade.
    Off,
    /// The first streamed trade says where own bars begin.
    Waiting { since: Nanos },
    /// Bars before `splice` are loaded, one interval after the other, from `next` on.
    Loading { splice: Nanos, interval: BarInterval, next: Nanos, give_up: Nanos },
    /// Own bars run; doubtful ones are asked for.
    Running,
}

/// What follows from an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nobody asked.
    Unasked,
    /// Bars of the history: those from `next` on that end by `until` are to be appended.
    History { next: Nanos, until: Nanos },
    /// Bars to be held against the kept ones.
    Repair(KlinesWanted),
}

/// A symbol's history.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct History {
    phase: Phase,
    wanted: Option<KlinesWanted>,
    asked: Option<KlinesWanted>,
    /// Nothing is wanted before.
    not_before: Nanos,
    /// Own seconds from the splice on, while the history loads.
    seconds: Vec<Bar>,
    /// Trades were missed since the last of them.
    missed: bool,
    /// Intervals of which the venue has no older bars than those loaded.
    whole: [bool; 4],
}

impl Default for History {
    fn default() -> Self {
        Self {
            phase: Phase::Off,
            wanted: None,
            asked: None,
            not_before: Nanos::UNDEF,
            seconds: Vec::with_capacity(SECONDS_KEPT),
            missed: false,
            whole: [false; 4],
        }
    }
}

impl History {
    /// Reserves all memory that it will need (again).
    pub(crate) fn reserve(&mut self) {
        self.seconds.reserve_exact(SECONDS_KEPT.saturating_sub(self.seconds.len()));
    }

    /// Trades reach us (again). `has_bars`: own bars run already.
    pub(crate) fn on_link_up(&mut self, ts: Nanos, has_bars: bool) {
        if self.phase == Phase::Off {
            self.phase = if has_bars { Phase::Running } else { Phase::Waiting { since: ts } };
        }
    }

    /// The history of the next run, where own bars have begun or nothing has; `None` while it loads.
    pub(crate) fn resumed(&self, has_bars: bool) -> Option<Self> {
        let phase = match self.phase {
            Phase::Loading { .. } => return None,
            Phase::Off | Phase::Waiting { .. } => Phase::Off,
            Phase::Running => Phase::Running,
        };
        let missed = has_bars;
        Some(Self { phase, missed, whole: self.whole, ..Self::default() })
    }

    /// Trades no longer reach us, or timers were missed.
    pub(crate) fn on_missed(&mut self) {
        self.missed = true;
    }

    /// Whether own bars run: a trade goes to them.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Off | Phase::Running)
    }

    /// Whether the venue's bars may be held against own ones.
    pub(crate) fn audits(&self) -> bool {
        self.phase == Phase::Running
    }

    /// A trade while own bars do not run yet. `true` where there is no more room to wait.
    pub(crate) fn on_trade(&mut self, ts: Nanos, trade: &Trade, lost: bool) -> bool {
        if let Phase::Waiting { .. } = self.phase {
            let splice = Nanos(trade.ts_trade.floor_to(Nanos::SECOND).0 + Nanos::SECOND.0);
            self.load(ts, splice);
        }
        let Phase::Loading { splice, .. } = self.phase else { return false };
        let Ok(at) = usize::try_from((trade.ts_trade.0 - splice.0).div_euclid(Nanos::SECOND.0))
        else {
            // Before the splice: the venue's bars have it.
            return false;
        };
        if at >= SECONDS_KEPT {
            return true;
        }
        let first_new = self.seconds.len();
        let doubtful = self.missed || lost;
        second_of(&mut self.seconds, splice, at, trade.px).add(trade);
        if doubtful {
            // The last one before the gap, and all up to this one.
            for bar in &mut self.seconds[first_new.saturating_sub(1).min(at)..=at] {
                bar.lack();
            }
        }
        self.missed = false;
        false
    }

    fn load(&mut self, ts: Nanos, splice: Nanos) {
        self.seconds.clear();
        let interval = BarInterval::Day;
        let give_up = Nanos(ts.0.saturating_add(LOADING_MAX.0));
        self.phase = Phase::Loading { splice, interval, next: first_of(interval, splice), give_up };
    }

    /// Timer `g`; `venue_now` is the venue's clock then. `true` where the history has not come in time.
    pub(crate) fn on_timer(&mut self, g: Nanos, venue_now: Nanos) -> bool {
        match self.phase {
            Phase::Off | Phase::Running => false,
            Phase::Waiting { since } => {
                if g.0 - since.0 >= FIRST_TRADE_WAIT.0 && venue_now.is_defined() {
                    let splice = venue_now.floor_to(Nanos::SECOND);
                    self.load(g, Nanos(splice.0 + Nanos::SECOND.0));
                }
                false
            }
            Phase::Loading { splice, interval, next, give_up } => {
                let ended = venue_now.get().is_some_and(|now| now >= splice.0 + VENUE_DELAY.0);
                if ended && self.is_free(g) {
                    let bars = (splice.0 - next.0).div_euclid(interval.length().0);
                    self.wanted = Some(KlinesWanted { interval, start: next, limit: limit(bars) });
                }
                g >= give_up
            }
        }
    }

    /// Whether something else may be wanted now.
    pub(crate) fn is_free(&self, g: Nanos) -> bool {
        self.wanted.is_none()
            && self.asked.is_none()
            && self.not_before.get().is_none_or(|at| g.0 >= at)
    }

    /// Closed bars of an interval are doubtful: so many from `start` on.
    pub(crate) fn want(&mut self, interval: BarInterval, start: Nanos, bars: u64) {
        let limit = limit(i64::try_from(bars).unwrap_or(i64::MAX));
        self.wanted = Some(KlinesWanted { interval, start, limit });
    }

    /// What is wanted was asked for.
    pub(crate) fn on_requested(&mut self, asked: KlinesWanted) {
        self.wanted = None;
        self.asked = Some(asked);
    }

    /// What is wanted now; until it is asked for.
    pub(crate) fn wanted(&self) -> Option<KlinesWanted> {
        self.wanted
    }

    /// Klines came in answer to a request.
    pub(crate) fn on_answer(&mut self, ts: Nanos, interval: BarInterval, rows: &[Kline]) -> Answer {
        let Some(asked) = self.asked.take_if(|asked| asked.interval == interval) else {
            return Answer::Unasked;
        };
        let Phase::Loading { splice, next, give_up, .. } = self.phase else {
            // Bars that the venue does not have either are not asked for again and again.
            let pause = if rows.is_empty() { EMPTY_RETRY } else { RETRY };
            self.not_before = Nanos(ts.0 + pause.0);
            return Answer::Repair(asked);
        };
        let length = interval.length().0;
        let is_first = next == first_of(interval, splice);
        if is_first && rows.first().is_none_or(|row| row.open_time > next) {
            self.whole[interval.at()] = true;
        }
        let closed = |row: &&Kline| row.open_time.0 + length <= splice.0;
        let end = rows.iter().rev().find(closed).map(|row| Nanos(row.open_time.0 + length));
        let reached = end.unwrap_or(next).max(next);
        let is_listed = end.is_some() || !is_first;
        let answer = Answer::History { next, until: splice };
        if reached.0 + length > splice.0 || !is_listed {
            match shorter(interval) {
                Some(interval) => {
                    let next = first_of(interval, splice);
                    self.phase = Phase::Loading { splice, interval, next, give_up };
                }
                // The seconds are in: the last of it.
                None => self.phase = Phase::Loading { splice, interval, next: splice, give_up: ts },
            }
        } else {
            if rows.len() < usize::try_from(asked.limit).unwrap_or(usize::MAX) {
                // The venue lags behind its own streams.
                self.not_before = Nanos(ts.0 + RETRY.0);
            }
            self.phase = Phase::Loading { splice, interval, next: reached, give_up };
        }
        answer
    }

    /// Whether all of the history is there.
    pub(crate) fn is_loaded(&self) -> bool {
        matches!(self.phase, Phase::Loading { splice, next, .. } if next == splice)
    }

    /// Own bars begin: where, the seconds kept meanwhile, and whether trades were missed since.
    pub(crate) fn begin(&mut self) -> Option<(Nanos, &[Bar], bool)> {
        let Phase::Loading { splice, .. } = self.phase else { return None };
        self.phase = Phase::Running;
        self.wanted = None;
        self.asked = None;
        Some((splice, &self.seconds, std::mem::take(&mut self.missed)))
    }

    /// Whether the venue has no older bars of that interval than those that were loaded.
    pub(crate) fn is_whole(&self, interval: usize) -> bool {
        self.whole[interval]
    }
}

fn first_of(interval: BarInterval, splice: Nanos) -> Nanos {
    let length = interval.length();
    Nanos(splice.floor_to(length).0 - BARS_LOADED * length.0)
}

/// The next shorter interval.
fn shorter(interval: BarInterval) -> Option<BarInterval> {
    BarInterval::from_place(interval.at().checked_sub(1)?)
}

fn limit(bars: i64) -> u32 {
    u32::try_from(bars.clamp(1, BARS_A_REQUEST)).expect("invariant: at most 1,000")
}
