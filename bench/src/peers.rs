//! The same input through the engine and through others, interleaved, one line of JSON for each figure.
//!
//! Each peer does at least what its figure's name says and no more; answers are compared before anything is timed.

mod book;
mod connector;
mod frame;
pub(crate) mod iceoryx2;
mod json;
mod minute;
mod twin;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::report::Figure;
use crate::{hop, ipc, replay, wire};

/// Times that both sides go over the input.
const ROUNDS: usize = 9;
/// Messages that one side reads before it is the other's turn: they fit the second-level cache, where a message is that
/// has just come from a socket.
const BLOCK: usize = 64;

/// One side of a comparison: reads a message, and tells a number that follows from its answer.
pub(crate) type Side<'a, M> = &'a mut dyn FnMut(&M) -> u64;

/// What a comparison goes over.
pub(crate) trait Message {
    /// Reads all of it, so that it lies in the caches; a number, so that this is not left out.
    fn touch(&self) -> u64;
}

impl Message for Vec<u8> {
    fn touch(&self) -> u64 {
        self.iter().fold(0, |sum, &byte| sum.wrapping_add(byte.into()))
    }
}

/// What is compared.
pub(crate) struct Comparison<'a, M> {
    pub(crate) figure: &'static str,
    pub(crate) peer: &'static str,
    /// Least allowed ratio of the peer's time to ours.
    pub(crate) goal: Option<f64>,
    /// Items of a message that the figure is for, on average: 1 where it is for messages.
    pub(crate) items_each: f64,
    pub(crate) messages: &'a [M],
    pub(crate) ours: Side<'a, M>,
    pub(crate) theirs: Side<'a, M>,
}

/// One side of a round.
#[derive(Debug, Default)]
struct Pass {
    /// All messages of each block, ns.
    blocks: Vec<u64>,
    /// Of a message, ns.
    p99: u64,
}

impl<M: Message> Comparison<'_, M> {
    /// Checks the answers, times both in turns and prints a line for the mean and one for p99; nothing where the figure's
    /// name does not begin with `only`.
    pub(crate) fn run(self, only: &str) -> Result<(), Box<dyn Error>> {
        if !self.figure.starts_with(only) {
            return Ok(());
        }
        let Self { figure, peer, goal, items_each, messages, ours, theirs } = self;
        for (at, message) in messages.iter().enumerate() {
            let (found, wanted) = (ours(message), theirs(message));
            if found != wanted {
                let what = format!("{figure}: message {at}: ours says {found}, {peer} {wanted}");
                return Err(what.into());
            }
        }
        let clock_ns = clock_ns();
        let rounds: Vec<_> = (0..ROUNDS).map(|_| round(messages, ours, theirs)).collect();
        let [mean, p99] = summary(&rounds, messages.len(), clock_ns);
        let each = |(ours, theirs): (f64, f64)| (ours / items_each, theirs / items_each);
        print_figure(figure, peer, goal, [each(mean), each(p99)])
    }
}

/// Nanoseconds that reading the clock twice takes.
fn clock_ns() -> u64 {
    median((0..10_001).map(|_| elapsed_ns(Instant::now())))
}

/// A line for the mean and one for p99, each of ours and of the peer.
fn print_figure(
    figure: &str,
    peer: &str,
    goal: Option<f64>,
    [mean, p99]: [(f64, f64); 2],
) -> Result<(), Box<dyn Error>> {
    for (name, (ours_ns, peer_ns)) in [(figure.to_owned(), mean), (format!("{figure}_p99"), p99)] {
        Figure { figure: &name, peer, ours_ns, peer_ns, goal }.print(true)?;
    }
    Ok(())
}

impl Pass {
    /// A block whose messages were timed one by one.
    fn push_block(&mut self, each: &[u64], clock_ns: u64) {
        let clocks = clock_ns * each.len() as u64;
        self.blocks.push(each.iter().sum::<u64>().saturating_sub(clocks));
    }

    fn set_p99(&mut self, mut each: Vec<u64>) {
        let at = each.len() * 99 / 100;
        let (_, p99, _) = each.select_nth_unstable(at);
        self.p99 = *p99;
    }
}

/// Means and p99 of both sides: each block by its middle round, for where others use the machine it is this block or that
/// one that takes long; p99 less what reading the clock takes.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn summary(rounds: &[[Pass; 2]], message_count: usize, clock_ns: u64) -> [(f64, f64); 2] {
    let mean = |side: usize| {
        let block_count = rounds.first().map_or(0, |round| round[side].blocks.len());
        let of_block = |block: usize| median(rounds.iter().map(|round| round[side].blocks[block]));
        (0..block_count).map(of_block).sum::<u64>() as f64 / message_count as f64
    };
    let p99 = |side: usize| {
        median(rounds.iter().map(|round| round[side].p99)).saturating_sub(clock_ns) as f64
    };
    [(mean(0), mean(1)), (p99(0), p99(1))]
}

fn median(values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values[values.len() / 2]
}

/// Both sides over all messages, block by block: a pass without a clock in it for the mean, and one that reads it at
/// each message for p99.
fn round<M: Message>(messages: &[M], ours: Side<'_, M>, theirs: Side<'_, M>) -> [Pass; 2] {
    let mut sides: [Side<'_, M>; 2] = [&mut *ours, &mut *theirs];
    let mut passes = [Pass::default(), Pass::default()];
    let mut each = [const { Vec::new() }; 2];
    for block in messages.chunks(BLOCK) {
        std::hint::black_box(block.iter().fold(0, |sum, message| sum ^ message.touch()));
        for (at, side) in sides.iter_mut().enumerate() {
            let began = Instant::now();
            for message in block {
                std::hint::black_box(side(message));
            }
            passes[at].blocks.push(elapsed_ns(began));
            for message in block {
                let began = Instant::now();
                std::hint::black_box(side(message));
                each[at].push(elapsed_ns(began));
            }
        }
    }
    for (pass, each) in passes.iter_mut().zip(each) {
        pass.set_p99(each);
    }
    passes
}

fn elapsed_ns(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// All comparisons whose figures' names begin with `only`. Without an interpreter the peers in Python are left out.
pub(crate) fn run(
    files: &[PathBuf],
    python: Option<&Path>,
    only: &str,
) -> Result<(), Box<dyn Error>> {
    json::run(files, only)?;
    book::run(files, only)?;
    frame::run(files, only)?;
    let is_wanted = |group: &str| group.starts_with(only) || only.starts_with(group);
    if is_wanted("hop") {
        hop::run(files, false, true)?;
    }
    if is_wanted("ipc") {
        ipc::compare(python, true)?;
    }
    if is_wanted("wire") {
        wire::one_in_flight(files, false, true)?;
    }
    if is_wanted("replay") {
        replay::compare(files, python, true)?;
    }
    Ok(())
}
