//! A state of the servers that lasts until a time of the wall clock.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Set by the exchange, looked at by the servers.
#[derive(Debug, Default)]
pub(crate) struct Spell(Mutex<Option<Duration>>);

impl Spell {
    /// Goes on until that time of the wall clock.
    pub(crate) fn last(&self, until: Duration) {
        self.set(Some(until));
    }

    pub(crate) fn end(&self) {
        self.set(None);
    }

    pub(crate) fn goes_on(&self, now: Duration) -> bool {
        self.until().is_some_and(|until| now < until)
    }

    /// Also when that has passed.
    pub(crate) fn until(&self) -> Option<Duration> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, until: Option<Duration>) {
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
