//! SIGINT and SIGTERM as a flag.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::exit::Failure;

/// Set by the first signal; a second one ends the program at once.
#[derive(Debug, Clone)]
pub(crate) struct Signals {
    stop: Arc<AtomicBool>,
    number: Arc<AtomicUsize>,
}

impl Signals {
    pub(crate) fn catch() -> io::Result<Self> {
        let signals =
            Self { stop: Arc::new(AtomicBool::new(false)), number: Arc::new(AtomicUsize::new(0)) };
        for signal in [SIGINT, SIGTERM] {
            let number =
                usize::try_from(signal).expect("invariant: signals have small positive numbers");
            // Before the flag is set: the second one finds it set, and ends the program.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&signals.stop))?;
            flag::register_usize(signal, Arc::clone(&signals.number), number)?;
            flag::register(signal, Arc::clone(&signals.stop))?;
        }
        Ok(signals)
    }

    /// Whether to stop.
    pub(crate) fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    pub(crate) fn is_set(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The exit code that belongs to the signal, where one came.
    pub(crate) fn outcome(&self) -> Result<(), Failure> {
        match i32::try_from(self.number.load(Ordering::Relaxed)) {
            Ok(number) if number > 0 => Err(Failure::Signal(number)),
            _ => Ok(()),
        }
    }
}
