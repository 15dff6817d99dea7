//! The whole engine in virtual time, on one thread, against the simulated exchange and its own truth.
//!
//! A seed decides market, configuration, network and faults. Ingest, decoder and fold are those of a live run; sockets,
//! REST, clock and log are simulated ([`cobring_pipeline::ingest::Outside`]). After every input and every second the
//! frames are held against what the exchange knows ([`checks`](crate)), and at the end all windows. The same seed is the
//! same run, to the byte.
//!
//! Guarantees: no wall clock, no sockets, no threads within a run; a run that fails, fails again.
#![forbid(unsafe_code)]

mod canary;
mod checks;
mod host;
mod kept;
mod line;
mod models;
mod naive_book;
mod network;
mod plan;
mod random;
mod run;
pub mod scenario;
mod time;
mod truth;

use cobring_types::Nanos;

pub use canary::CanaryKind;
pub use plan::HOST_FAULTS;
pub use run::Report;
pub use truth::Violation;

/// One run of a seed, of so many simulated seconds.
#[must_use]
pub fn run_seed(seed: u64, seconds: u32, canary: Option<CanaryKind>) -> Report {
    let length = Nanos(i64::from(seconds) * Nanos::SECOND.0);
    run::run(plan::Plan::of_seed(seed, length), canary)
}

/// Seeds that once found something: each is run again in every test, for ever.
pub const KEPT_SEEDS: &str = include_str!("../seeds.txt");

/// Seeds and lengths of [`KEPT_SEEDS`], with what they found.
pub fn kept_seeds() -> impl Iterator<Item = (u64, u32, &'static str)> {
    let lines = KEPT_SEEDS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let mut words = line.splitn(3, ' ');
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
        let (seed, seconds) = (number(), number());
        let seconds = seconds.and_then(|seconds| u32::try_from(seconds).ok());
        let found = words.next().unwrap_or_default();
        seed.zip(seconds).map(|(seed, seconds)| (seed, seconds, found)).unwrap_or_else(|| {
            panic!("seeds.txt: {line:?}: wanted <seed> <seconds> <what it found>")
        })
    })
}
