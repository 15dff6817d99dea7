//! A hand on a connection below WebSocket and TLS.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::wall_clock::WallClock;

/// Bytes trickle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drip {
    pub(crate) bytes: usize,
    pub(crate) every: Duration,
    /// By the wall clock.
    pub(crate) until: Duration,
}

/// Shared by the line, its connection and the exchange.
#[derive(Debug, Default)]
pub(crate) struct LineControl {
    /// The socket is to be reset (RST) when dropped.
    is_cut: AtomicBool,
    /// Nothing goes out any more, and what comes in is not heard.
    is_dead: AtomicBool,
    drip: Mutex<Option<Drip>>,
    /// The connection is to end at once.
    is_ended: AtomicBool,
    /// Told when it is.
    pub(crate) ended: Notify,
}

impl LineControl {
    /// Ends the connection by a RST.
    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::Relaxed);
        self.end();
    }

    /// Ends the connection by a FIN, without a close frame.
    pub(crate) fn end(&self) {
        self.is_ended.store(true, Ordering::Relaxed);
        self.ended.notify_one();
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.is_ended.load(Ordering::Relaxed)
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Relaxed)
    }

    /// For ever; only the client can end it.
    pub(crate) fn die(&self) {
        self.is_dead.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Relaxed)
    }

    pub(crate) fn drip(&self, drip: Option<Drip>) {
        *self.drip.lock().unwrap_or_else(PoisonError::into_inner) = drip;
    }

    /// The drip that goes on.
    pub(crate) fn dripping(&self, clock: &WallClock) -> Option<Drip> {
        let drip = *self.drip.lock().unwrap_or_else(PoisonError::into_inner);
        drip.filter(|drip| clock.now() < drip.until)
    }
}
