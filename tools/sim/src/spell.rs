//! A state of the servers that lasts until an instant.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Set by the exchange, looked at by the servers.
#[derive(Debug, Default)]
pub(crate) struct Spell(Mutex<Option<Instant>>);

impl Spell {
    pub(crate) fn last(&self, length: Duration) {
        self.set(Some(Instant::now() + length));
    }

    pub(crate) fn end(&self) {
        self.set(None);
    }

    pub(crate) fn goes_on(&self) -> bool {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn set(&self, until: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Spells {
    /// New connections are never answered.
    pub(crate) hang: Spell,
    /// No pings are sent.
    pub(crate) no_ping: Spell,
}
