//! The venue's clock against ours, from the messages alone and from REST `time`.
//!
//! No sign is assumed: recordings show event times both before and after their receive times.

use cobring_types::Nanos;
use serde::{Deserialize, Serialize};

use crate::imbalance::GRID_SLOTS;

/// Venue minus ours.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ClockOffset {
    /// Largest `ts_event - ts_recv` of each grid interval of the last 60 s; UNDEF where it had no message.
    /// Timers cut the intervals, so their maximum is that of exactly g − 60 s ≤ ts_recv < g.
    intervals: Vec<Nanos>,
    next: usize,
    current: Nanos,
    low: Nanos,
    high: Nanos,
}

impl Default for ClockOffset {
    fn default() -> Self {
        Self {
            intervals: vec![Nanos::UNDEF; GRID_SLOTS],
            next: 0,
            current: Nanos::UNDEF,
            low: Nanos::UNDEF,
            high: Nanos::UNDEF,
        }
    }
}

impl ClockOffset {
    /// A depth message or a trade of the counting stream.
    pub(crate) fn on_message(&mut self, ts_event: Nanos, ts_recv: Nanos) {
        // UNDEF is the least of all: the maximum passes over it.
        self.current = self.current.max(Nanos(ts_event.0.saturating_sub(ts_recv.0)));
    }

    /// A reply to REST `time`.
    pub(crate) fn on_server_time(&mut self, server: Nanos, sent: Nanos) {
        self.high = Nanos(server.0.saturating_sub(sent.0));
    }

    /// The grid's next instant.
    pub(crate) fn on_timer(&mut self) {
        let came = std::mem::replace(&mut self.current, Nanos::UNDEF);
        let left = std::mem::replace(&mut self.intervals[self.next], came);
        self.next = (self.next + 1) % GRID_SLOTS;
        if came >= self.low {
            self.low = came;
        } else if left == self.low {
            self.low = self.intervals.iter().copied().max().unwrap_or(Nanos::UNDEF);
        }
    }

    /// Timers were missed: what was measured before no longer counts.
    pub(crate) fn clear_low(&mut self) {
        self.intervals.fill(Nanos::UNDEF);
        self.current = Nanos::UNDEF;
        self.low = Nanos::UNDEF;
    }

    /// `offset_low` at the last timer.
    #[must_use]
    pub(crate) fn low(&self) -> Nanos {
        self.low
    }

    /// `offset_high`.
    #[must_use]
    pub(crate) fn high(&self) -> Nanos {
        self.high
    }

    /// Their midpoint, else `offset_low`.
    #[must_use]
    pub(crate) fn offset(&self) -> Nanos {
        match (self.low.get(), self.high.get()) {
            (Some(low), Some(high)) => Nanos(low.midpoint(high)),
            _ => self.low,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::imbalance::GRID;

    proptest! {
        #[test]
        fn low_is_the_largest_difference_of_the_last_60_s(
            messages in proptest::collection::vec((0i64..90_000, -2_000i64..2_000), 0..300),
        ) {
            let mut messages = messages;
            messages.sort_by_key(|m| m.0);
            let mut offset = ClockOffset::default();
            let mut pending = messages.iter().peekable();
            for g in (0..95_000).step_by(100) {
                while let Some(&&(recv, skew)) = pending.peek().filter(|m| m.0 < g) {
                    offset.on_message(Nanos(recv + skew), Nanos(recv));
                    pending.next();
                }
                offset.on_timer();
                let inside = messages.iter().filter(|m| m.0 < g && m.0 >= g - 60_000);
                prop_assert_eq!(offset.low().get(), inside.map(|m| m.1).max(), "g = {}", g);
            }
            prop_assert_eq!(GRID.0 / 1_000_000, 100);
        }
    }
}
