//! The one place that stamps and numbers inputs, and the grid of timers that follows from the stamps.
//!
//! Guarantees: numbers without holes, stamps that never decrease, a `break` instead of more than 600
//! missed timers. The same code serves sockets and recordings; the clock is given. Does not: do I/O.

use cobring_market::GRID;
use cobring_types::{Input, InputKind, Nanos, Stamp, SymbolIndex};
use serde::{Deserialize, Serialize};

/// More missed timers than these are one `break`.
const MISSED_TIMERS_MAX: i64 = 600;

/// The instants at which timers are folded: multiples of 100 ms, the first not before the first input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerGrid {
    next: Option<Nanos>,
}

impl TimerGrid {
    /// The next instant at or before `t`, which then is done. To be called until it gives none.
    pub fn pop(&mut self, t: Nanos) -> Option<Nanos> {
        let next = *self.next.get_or_insert_with(|| t.ceil_to(GRID));
        (next <= t).then(|| {
            self.next = Some(Nanos(next.0 + GRID.0));
            next
        })
    }

    /// Begins anew with the first instant not before `t`.
    pub fn restart(&mut self, t: Nanos) {
        self.next = Some(t.ceil_to(GRID));
    }

    /// The next instant, once there was an input.
    #[must_use]
    pub fn next(&self) -> Option<Nanos> {
        self.next
    }

    /// Instants at or before `t` that are still to come.
    fn due(&self, t: Nanos) -> i64 {
        self.next.map_or(0, |next| if next <= t { (t.0 - next.0) / GRID.0 + 1 } else { 0 })
    }
}

/// Stamps and numbers inputs.
#[derive(Debug, Clone, Default)]
pub struct Sequencer {
    next_seq: u64,
    last: Nanos,
    grid: TimerGrid,
}

/// An input that the sequencer itself makes, without bytes.
#[must_use]
pub fn own_input(stamp: Stamp, kind: InputKind) -> Input<'static> {
    Input {
        stamp,
        kind,
        symbol: SymbolIndex::NONE,
        connection: 0,
        aux: 0,
        ts_aux: Nanos::UNDEF,
        bytes: &[],
    }
}

impl Sequencer {
    /// Goes on behind a checkpoint.
    #[must_use]
    pub fn resume(next_seq: u64, last: Nanos, grid: TimerGrid) -> Self {
        Self { next_seq, last, grid }
    }

    /// To be called with the time before [`Self::stamp`] and [`Self::watermark`]: a `break` to fold first, where
    /// more than 600 timers would be due. It names the last timer before, which may lie behind all inputs.
    #[must_use]
    pub fn break_before(&mut self, now: Nanos) -> Option<Input<'static>> {
        let t = now.max(self.last);
        let next = self.grid.next().filter(|_| self.grid.due(t) > MISSED_TIMERS_MAX)?;
        self.grid.restart(t);
        let stamp = self.number(t, Nanos::UNDEF);
        let last_timer = Nanos(next.0 - GRID.0);
        Some(Input { ts_aux: last_timer, ..own_input(stamp, InputKind::Break) })
    }

    /// Stamps the next input. A time below the last stamp is raised to it.
    pub fn stamp(&mut self, now: Nanos, ts_kernel: Nanos) -> Stamp {
        let t = now.max(self.last);
        while self.grid.pop(t).is_some() {}
        self.number(t, ts_kernel)
    }

    fn number(&mut self, t: Nanos, ts_kernel: Nanos) -> Stamp {
        self.last = t;
        let input_seq = self.next_seq;
        self.next_seq += 1;
        Stamp { input_seq, ts_recv: t, ts_kernel, ts_parsed: Nanos::UNDEF }
    }

    /// While idle: the newest instant at or before `now` that is still to be folded. Nothing is stamped
    /// below it afterwards.
    pub fn watermark(&mut self, now: Nanos) -> Option<Nanos> {
        let t = now.max(self.last);
        // Before the first input there is no grid.
        self.grid.next().filter(|&next| next <= t)?;
        let mut newest = None;
        while let Some(g) = self.grid.pop(t) {
            newest = Some(g);
        }
        self.last = newest.unwrap_or(self.last).max(self.last);
        newest
    }

    /// The next instant at which a timer is due, once there was an input.
    #[must_use]
    pub fn next_timer(&self) -> Option<Nanos> {
        self.grid.next()
    }

    /// Number of the next input.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Nothing is stamped below this.
    #[must_use]
    pub fn last(&self) -> Nanos {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: i64 = 1_000_000;

    #[test]
    fn timers_come_before_the_inputs_at_or_after_them() {
        let mut grid = TimerGrid::default();
        let mut pops = |t: i64| {
            std::iter::from_fn(|| grid.pop(Nanos(t * MS)).map(|g| g.0 / MS)).collect::<Vec<_>>()
        };
        assert_eq!(pops(120), [] as [i64; 0]);
        assert_eq!(pops(199), [] as [i64; 0]);
        assert_eq!(pops(200), [200]);
        assert_eq!(pops(455), [300, 400]);
        let mut grid = TimerGrid::default();
        assert_eq!(
            grid.pop(Nanos(300 * MS)),
            Some(Nanos(300 * MS)),
            "an input on the grid has its timer first"
        );
    }

    #[test]
    fn six_hundred_missed_timers_are_folded_and_more_are_a_break() {
        for (gap_ms, expect_break) in [(60_000, false), (60_100, true), (86_400_000, true)] {
            let mut sequencer = Sequencer::default();
            assert!(sequencer.break_before(Nanos(50 * MS)).is_none());
            sequencer.stamp(Nanos(50 * MS), Nanos::UNDEF);
            let t = Nanos((50 + gap_ms) * MS);
            let found = sequencer.break_before(t);
            assert_eq!(found.is_some(), expect_break, "{gap_ms} ms");
            let stamp = sequencer.stamp(t, Nanos::UNDEF);
            assert_eq!(stamp.input_seq, if expect_break { 2 } else { 1 });
            assert_eq!(sequencer.next_timer(), Some(t.ceil_to(GRID)));
        }
    }

    proptest! {
        #[test]
        fn stamps_never_decrease_nor_fall_below_a_watermark(steps in proptest::collection::vec((-50i64..250, any::<bool>()), 1..200)) {
            let mut sequencer = Sequencer::default();
            let (mut now, mut last, mut seq) = (1_000 * MS, Nanos(0), 0);
            for (step, is_input) in steps {
                now += step * MS;
                prop_assert!(sequencer.break_before(Nanos(now)).is_none());
                if is_input {
                    let stamp = sequencer.stamp(Nanos(now), Nanos::UNDEF);
                    prop_assert!(stamp.ts_recv >= last);
                    prop_assert_eq!(stamp.input_seq, seq);
                    last = stamp.ts_recv;
                    seq += 1;
                } else if let Some(g) = sequencer.watermark(Nanos(now)) {
                    prop_assert!(g >= last && g.0 % GRID.0 == 0);
                    last = g;
                }
                prop_assert!(sequencer.next_timer().is_none_or(|next| next > last));
            }
        }
    }
}
