//! What the end-to-end tests share: the program `cobring` as child processes, their output, and waiting for it.
//!
//! Guarantees: each test has ports, directories and children of its own; a child dies with its handle, by its
//! id. Needs: `COBRING_BIN`, or a cargo that builds the program once. Does not: use any crate of the engine.
//! A helper that cannot do its part panics: that is how a test fails.

#![allow(clippy::missing_panics_doc, reason = "a panic is how a test fails")]

mod engine;
mod model;
mod process;
mod program;
mod sim;
pub mod system_calls;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub use engine::{Engine, Setup};
pub use model::{Model, Said};
pub use process::{Finished, Process};
pub use program::{assert_replays_to, cobring, program, replay_hash};
pub use sim::{Market, Sim, Truth};
pub use watch::{Frame, Watch, assert_live_frames_are_proven};

/// For what takes a moment: generous, because the machine may be busy.
pub const SOON: Duration = Duration::from_secs(30);
/// Between two looks.
const POLL: Duration = Duration::from_millis(2);

/// Waits until `done`; panics with `what` after `limit`.
pub fn wait_until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !done() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(POLL);
    }
}

/// Both recordings, ETHUSDT first; `None` where they are missing, which with `CI=true` is a failure.
#[must_use]
pub fn recordings() -> Option<[PathBuf; 2]> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/recordings/binance-spot");
    let files = ["ethusdt_20240808.gz", "btcusdt_20240808.gz"].map(|name| dir.join(name));
    if files.iter().all(|file| file.exists()) {
        return Some(files);
    }
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no recordings in {}", dir.display());
    eprintln!("skipped: no recordings");
    None
}

/// A directory in memory for an engine, removed with its handle.
#[derive(Debug)]
pub struct OwnDir(PathBuf);

impl OwnDir {
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each one is another")]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(PathBuf::from(format!("/dev/shm/cobring-test-{}-{number}", std::process::id())))
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for OwnDir {
    fn drop(&mut self) {
        // It is not there where no engine got as far as making it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
