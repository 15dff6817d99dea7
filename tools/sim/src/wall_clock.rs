//! The clock by which lengths of faults, limits and pings are measured: the host's, or one that somebody sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Its time counts from the start of the simulator.
#[derive(Clone, Debug)]
pub(crate) enum WallClock {
    /// The instant at which it was 0.
    Host(Instant),
    /// In ns.
    Set(Arc<AtomicU64>),
}

impl WallClock {
    /// Runs by itself.
    pub(crate) fn host() -> Self {
        Self::Host(Instant::now())
    }

    /// Stands at 0 until it is set.
    pub(crate) fn standing() -> Self {
        Self::Set(Arc::default())
    }

    pub(crate) fn now(&self) -> Duration {
        match self {
            Self::Host(start) => start.elapsed(),
            Self::Set(ns) => Duration::from_nanos(ns.load(Ordering::Relaxed)),
        }
    }

    /// Sets all clones of a standing clock.
    pub(crate) fn set(&self, at_ns: u64) {
        if let Self::Set(ns) = self {
            ns.store(at_ns, Ordering::Relaxed);
        }
    }
}
