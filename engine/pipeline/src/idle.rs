//! What a stage does while there is nothing to do.

use std::hint;
use std::thread;
use std::time::Duration;

/// How a stage waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// Never gives the core away: for a core of its own.
    Spin,
    /// Gives the core to whoever is ready.
    Yield,
    /// Gives the core away for some tens of microseconds.
    Park,
}

/// Polls without result before a waiter does more than spin.
const SPINS: u32 = 64;
/// Polls without result before a yielding waiter parks: idle stages must not fill a small host.
const YIELDS: u32 = 2_000;
const PARK: Duration = Duration::from_micros(50);

/// Waits a little longer each time, until reset.
#[derive(Debug)]
pub struct Waiter {
    idle: Idle,
    polls: u32,
}

impl Waiter {
    /// A waiter of that kind.
    #[must_use]
    pub fn new(idle: Idle) -> Self {
        Self { idle, polls: 0 }
    }

    /// There was something to do.
    pub fn reset(&mut self) {
        self.polls = 0;
    }

    /// There was nothing to do.
    pub fn wait(&mut self) {
        self.polls = self.polls.saturating_add(1);
        match self.idle {
            Idle::Spin => hint::spin_loop(),
            _ if self.polls < SPINS => hint::spin_loop(),
            Idle::Yield if self.polls < YIELDS => thread::yield_now(),
            Idle::Yield | Idle::Park => thread::park_timeout(PARK),
        }
    }
}
