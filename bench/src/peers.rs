//! The same input through the engine and through others, interleaved, one line of JSON for each figure.
//!
//! Each peer does at least what its figure's name says and no more; answers are compared before anything is timed.

pub(crate) mod iceoryx2;
mod json;

use std::error::Error;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;

use crate::{hop, ipc, replay, wire};

/// Times that both sides go over the input.
const ROUNDS: usize = 9;
/// Messages that one side reads before it is the other's turn: they fit the second-level cache, where a message is that
/// has just come from a socket.
const BLOCK: usize = 64;

/// One side of a comparison: reads a message, and tells a number that follows from its answer.
pub(crate) type Side<'a> = &'a mut dyn FnMut(&[u8]) -> u64;

/// What is compared.
pub(crate) struct Comparison<'a> {
    pub(crate) figure: &'static str,
    pub(crate) peer: &'static str,
    /// Least allowed ratio of the peer's time to ours.
    pub(crate) goal: Option<f64>,
    pub(crate) messages: &'a [Vec<u8>],
    pub(crate) ours: Side<'a>,
    pub(crate) theirs: Side<'a>,
}

/// Mean and p99 of a message, ns.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    mean: f64,
    p99: f64,
}

impl Comparison<'_> {
    /// Checks the answers, times both in turns and prints a line for the mean and one for p99.
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        let Self { figure, peer, goal, messages, ours, theirs } = self;
        for (at, message) in messages.iter().enumerate() {
            let (found, wanted) = (ours(message), theirs(message));
            if found != wanted {
                let what = format!("{figure}: message {at}: ours says {found}, {peer} {wanted}");
                return Err(what.into());
            }
        }
        let rounds: Vec<_> = (0..ROUNDS).map(|_| round(messages, ours, theirs)).collect();
        let median = |of: fn(&[Times; 2]) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let mean = (median(|round| round[0].mean), median(|round| round[1].mean));
        let p99 = (median(|round| round[0].p99), median(|round| round[1].p99));
        let mut out = io::stdout().lock();
        for (name, (ours_ns, peer_ns)) in
            [(figure.to_owned(), mean), (format!("{figure}_p99"), p99)]
        {
            let rounded = |value: f64| (value * 100.0).round() / 100.0;
            let line = json!({
                "figure": name, "peer": peer, "ours_ns": rounded(ours_ns), "peer_ns": rounded(peer_ns),
                "ratio": rounded(peer_ns / ours_ns), "goal": goal,
            });
            writeln!(out, "{line}")?;
        }
        Ok(())
    }
}

/// Both sides over all messages, block by block: a pass without a clock in it for the mean, and one that reads it at
/// each message for p99.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn round(messages: &[Vec<u8>], ours: Side<'_>, theirs: Side<'_>) -> [Times; 2] {
    let mut sides: [Side<'_>; 2] = [&mut *ours, &mut *theirs];
    let mut totals = [0u64; 2];
    let mut each = [const { Vec::new() }; 2];
    for block in messages.chunks(BLOCK) {
        let bytes = block.iter().flatten().fold(0u64, |sum, &byte| sum.wrapping_add(byte.into()));
        std::hint::black_box(bytes);
        for (at, side) in sides.iter_mut().enumerate() {
            let began = Instant::now();
            for message in block {
                std::hint::black_box(side(message));
            }
            totals[at] += elapsed_ns(began);
            for message in block {
                let began = Instant::now();
                std::hint::black_box(side(message));
                each[at].push(elapsed_ns(began));
            }
        }
    }
    let [ours, theirs] = each;
    let times = |total: u64, mut each: Vec<u64>| {
        let at = each.len() * 99 / 100;
        let (_, p99, _) = each.select_nth_unstable(at);
        Times { mean: total as f64 / messages.len() as f64, p99: *p99 as f64 }
    };
    [times(totals[0], ours), times(totals[1], theirs)]
}

fn elapsed_ns(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// All comparisons. Without an interpreter the peers in Python are left out.
pub(crate) fn run(files: &[PathBuf], python: Option<&Path>) -> Result<(), Box<dyn Error>> {
    json::run(files)?;
    hop::run(files, false, true)?;
    ipc::compare(python, true)?;
    wire::one_in_flight(files, false, true)?;
    replay::compare(files, python, true)
}
