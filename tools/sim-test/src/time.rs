//! The time of a simulated host.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use cobring_pipeline::ingest::Time;
use cobring_types::Nanos;

/// A clock that stands until it is set.
#[derive(Debug, Clone, Default)]
pub(crate) struct VirtualTime(Arc<Hands>);

#[derive(Debug, Default)]
struct Hands {
    now: AtomicI64,
    wall_offset: AtomicI64,
}

impl VirtualTime {
    pub(crate) fn set(&self, now: Nanos) {
        self.0.now.store(now.0, Ordering::Relaxed);
    }

    /// The host's wall clock steps by so much.
    pub(crate) fn step_wall_clock(&self, by: Nanos) {
        self.0.wall_offset.fetch_add(by.0, Ordering::Relaxed);
    }
}

impl Time for VirtualTime {
    fn now(&self) -> Nanos {
        Nanos(self.0.now.load(Ordering::Relaxed))
    }

    fn wall_offset(&self) -> Nanos {
        Nanos(self.0.wall_offset.load(Ordering::Relaxed))
    }
}
