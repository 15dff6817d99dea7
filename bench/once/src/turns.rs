//! Two sides over the same messages in turns, by the measure of `bench peers`: blocks of messages that lie in the caches,
//! of each block the middle round, and p99 of messages that are timed one by one. Each pass begins with new books.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use cobring_pipeline::memory;
use serde_json::json;

use crate::Best;
use crate::input::{Message, Recorded, Symbol};
use crate::ours;

const ROUNDS: usize = 9;
/// Messages that one side reads before it is the other's turn.
const BLOCK: usize = 64;

/// One side's books.
pub(crate) trait Books: Sized {
    /// With each symbol's snapshot.
    fn new(symbols: &[Symbol]) -> Result<Self, Box<dyn Error>>;

    /// Reads a message; the best prices after it, none where it is refused.
    fn apply(&mut self, message: &Message) -> Option<Best>;
}

/// Checks the answers, times both and prints a line for the mean and one for p99.
pub(crate) fn compare<P: Books>(
    peer: &str,
    goal: Option<f64>,
    recorded: &Recorded,
) -> Result<(), Box<dyn Error>> {
    check::<P>(peer, recorded)?;
    let clock_ns = median((0..10_001).map(|_| elapsed_ns(Instant::now())).collect());
    let (mut blocks, mut p99s) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2]);
    for _ in 0..ROUNDS {
        let means = pass::<P>(recorded, |block, apply, times| {
            let began = Instant::now();
            block.iter().for_each(|message| _ = black_box(apply(message)));
            times.push(elapsed_ns(began));
        })?;
        let singles = pass::<P>(recorded, |block, apply, times| {
            for message in block {
                let began = Instant::now();
                black_box(apply(message));
                times.push(elapsed_ns(began));
            }
        })?;
        for (side, (means, mut singles)) in means.into_iter().zip(singles).enumerate() {
            blocks[side].push(means);
            let at = singles.len() * 99 / 100;
            p99s[side].push(*singles.select_nth_unstable(at).1);
        }
    }
    let mean = |side: usize| {
        let of_block = |at: usize| median(blocks[side].iter().map(|round| round[at]).collect());
        let sum: u64 = (0..blocks[side][0].len()).map(of_block).sum();
        sum as f64 / recorded.messages.len() as f64
    };
    let p99 = |side: usize| median(p99s[side].clone()).saturating_sub(clock_ns) as f64;
    print("json_to_book", peer, [mean(0), mean(1)], goal);
    print("json_to_book_p99", peer, [p99(0), p99(1)], goal);
    Ok(())
}

fn check<P: Books>(peer: &str, recorded: &Recorded) -> Result<(), Box<dyn Error>> {
    let (mut ours, mut theirs) = (ours::Books::new(&recorded.symbols)?, P::new(&recorded.symbols)?);
    for (at, message) in recorded.messages.iter().enumerate() {
        let (found, wanted) = (ours.apply(message), theirs.apply(message));
        if found.is_none() || found != wanted {
            return Err(format!("message {at}: ours says {found:?}, {peer} {wanted:?}").into());
        }
    }
    Ok(())
}

/// Both sides over all messages, block by block; what `timed` says of each of ours and of the peer's.
fn pass<P: Books>(
    recorded: &Recorded,
    timed: impl Fn(&[Message], &mut dyn FnMut(&Message) -> Option<Best>, &mut Vec<u64>),
) -> Result<[Vec<u64>; 2], Box<dyn Error>> {
    let (mut ours, mut theirs) = (ours::Books::new(&recorded.symbols)?, P::new(&recorded.symbols)?);
    // As a live run has its state, both sides' lies in memory that is there already.
    memory::warm();
    let mut times = [const { Vec::new() }; 2];
    for block in recorded.messages.chunks(BLOCK) {
        black_box(block.iter().fold(0, |sum, message| sum ^ message.touch()));
        timed(block, &mut |message| ours.apply(message), &mut times[0]);
        timed(block, &mut |message| theirs.apply(message), &mut times[1]);
    }
    Ok(times)
}

fn print(figure: &str, peer: &str, [ours_ns, peer_ns]: [f64; 2], goal: Option<f64>) {
    let round = |value: f64| (value * 100.0).round() / 100.0;
    let line = json!({ "figure": figure, "peer": peer, "ours_ns": round(ours_ns),
        "peer_ns": round(peer_ns), "ratio": round(peer_ns / ours_ns), "goal": goal });
    println!("{line}");
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

fn elapsed_ns(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
