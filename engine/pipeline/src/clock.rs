//! The engine's clock: CLOCK_BOOTTIME plus a UTC offset latched at start.
//!
//! Guarantees: it never steps when the host's wall clock does, and goes on in a suspend. The only place of
//! the data plane that asks the host for the time.

use cobring_types::Nanos;
use rustix::time::{ClockId, clock_gettime};

/// Our clock.
#[derive(Debug, Clone, Copy)]
pub struct EngineClock {
    utc_minus_boot: i64,
}

fn read(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec * Nanos::SECOND.0 + time.tv_nsec
}

impl EngineClock {
    /// Latches the offset between UTC and the time since boot.
    #[must_use]
    pub fn start() -> Self {
        // Of several readings the one with the least time between its two sides is the truest.
        let offset = (0..16)
            .map(|_| {
                let before = read(ClockId::Boottime);
                let utc = read(ClockId::Realtime);
                let after = read(ClockId::Boottime);
                (after - before, utc - before.midpoint(after))
            })
            .min()
            .map_or(0, |(_, offset)| offset);
        Self { utc_minus_boot: offset }
    }

    /// Now, UTC as it was latched.
    #[must_use]
    pub fn now(&self) -> Nanos {
        Nanos(read(ClockId::Boottime) + self.utc_minus_boot)
    }

    /// The host's wall clock minus ours: not 0 after a step.
    #[must_use]
    pub fn wall_offset(&self) -> Nanos {
        Nanos(read(ClockId::Realtime) - self.now().0)
    }

    /// CLOCK_MONOTONIC, which readers in other processes can compare with: heartbeats.
    #[must_use]
    pub fn monotonic_ns() -> i64 {
        read(ClockId::Monotonic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_utc_and_does_not_go_back() {
        let clock = EngineClock::start();
        assert!(clock.wall_offset().0.abs() < Nanos::SECOND.0);
        let mut last = clock.now();
        for _ in 0..10_000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }
}
