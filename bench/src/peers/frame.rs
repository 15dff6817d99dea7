//! Bytes in a buffer → complete frame visible, for depth messages: the engine, and what one writes first for the same
//! frame.
//!
//! Both sides publish the same frames into rings as the engine's readers find them, and append the same rows to the same
//! windows: before anything is timed, each frame is compared whole.

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use cobring_pipeline::config::Config;
use cobring_pipeline::memory;

use super::minute::FlowBy;
use super::twin::Twin;
use super::{BLOCK, Pass, ROUNDS, clock_ns, elapsed_ns, print_figure, summary};
use crate::path::{Kind, Message, load};
use crate::player::Player;

const FIGURE: &str = "bytes_to_frame";

/// Both sides, from their beginning.
struct Sides {
    ours: Player,
    twins: Vec<Twin>,
}

impl Sides {
    fn new(config: &Config, flow_by: FlowBy) -> Result<Self, Box<dyn Error>> {
        let symbols = config.symbol_configs();
        let ours = Player::new(&symbols, false)?;
        let twin = |symbol| Twin::new(symbol, flow_by);
        let twins = symbols.iter().map(twin).collect::<Result<_, _>>()?;
        memory::warm();
        Ok(Self { ours, twins })
    }

    /// Plays a message on both sides and compares the frames where it is a depth message.
    fn check(&mut self, message: &Message) -> Result<(), Box<dyn Error>> {
        let Self { ours, twins } = self;
        let twin = &mut twins[message.symbol.at()];
        ours.advance(message.ts_recv);
        let is_compared = message.kind == Kind::Depth && twin.is_live();
        if is_compared {
            // What no depth message changes it takes as other messages and timers have left it.
            twin.image_mut().copy_from_words(ours.image(message.symbol).words());
        }
        message.play(ours);
        twin.on_message(message)?;
        if !is_compared {
            return Ok(());
        }
        let ours = ours.image(message.symbol);
        let head = twin.image_mut().head_mut();
        head.identity.seq = ours.head().identity.seq;
        head.identity.input_seq = ours.head().identity.input_seq;
        head.pivots = ours.head().pivots;
        let words = ours.words().iter().zip(twin.image().words());
        if let Some(at) = words.into_iter().position(|(ours, theirs)| ours != theirs) {
            let id = twin.update_id();
            return Err(format!(
                "{FIGURE}: at update id {id} the frames differ at byte {}: ours has {:#x}, the twin {:#x}",
                8 * at,
                ours.words()[at],
                twin.image().words()[at],
            )
            .into());
        }
        Ok(())
    }

    /// Times each depth message of a block on both sides, one side after the other; nothing of those before a snapshot.
    fn time(&mut self, block: &[Message]) -> Result<[Vec<u64>; 2], Box<dyn Error>> {
        let Self { ours, twins } = self;
        let begun: Vec<bool> = twins.iter().map(Twin::is_live).collect();
        let mut each: [Vec<u64>; 2] = Default::default();
        let is_timed =
            |message: &Message| message.kind == Kind::Depth && begun[message.symbol.at()];
        for message in block {
            ours.advance(message.ts_recv);
            let began = Instant::now();
            message.play(ours);
            let elapsed = elapsed_ns(began);
            if is_timed(message) {
                each[0].push(elapsed);
            }
        }
        for message in block {
            let twin = &mut twins[message.symbol.at()];
            let began = Instant::now();
            twin.on_message(message)?;
            let elapsed = elapsed_ns(began);
            if is_timed(message) {
                each[1].push(elapsed);
            }
        }
        Ok(each)
    }
}

pub(super) fn run(files: &[PathBuf], only: &str) -> Result<(), Box<dyn Error>> {
    if !FIGURE.starts_with(only) {
        return Ok(());
    }
    let config = Config::built_in();
    let messages = load(files, &config.symbol_configs())?;
    let rescan = ("simd-json + BTreeMap + rescan", Some(12.0), FlowBy::Rescan);
    let sums = ("simd-json + BTreeMap + rescan of the book alone", None, FlowBy::RunningSums);
    for (peer, goal, flow_by) in [rescan, sums] {
        compare(&config, &messages, peer, goal, flow_by)?;
    }
    Ok(())
}

fn compare(
    config: &Config,
    messages: &[Message],
    peer: &str,
    goal: Option<f64>,
    flow_by: FlowBy,
) -> Result<(), Box<dyn Error>> {
    let mut sides = Sides::new(config, flow_by)?;
    for message in messages {
        sides.check(message)?;
    }
    let clock_ns = clock_ns();
    let mut rounds = Vec::new();
    let mut count = 0;
    for _ in 0..ROUNDS {
        let mut sides = Sides::new(config, flow_by)?;
        let mut passes: [Pass; 2] = Default::default();
        let mut all: [Vec<u64>; 2] = Default::default();
        for block in messages.chunks(16 * BLOCK) {
            for ((pass, all), each) in passes.iter_mut().zip(&mut all).zip(sides.time(block)?) {
                pass.push_block(&each, clock_ns);
                all.extend(each);
            }
        }
        count = all[0].len();
        for (pass, all) in passes.iter_mut().zip(all) {
            pass.set_p99(all);
        }
        rounds.push(passes);
    }
    print_figure(FIGURE, peer, goal, summary(&rounds, count, clock_ns))
}
