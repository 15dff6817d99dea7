//! Cost of a message with 2, 20 and 200 symbols: each recorded message comes once for each copy of its symbol, under the
//! copy's name. All of it is folded and published as always; every copy must have as many frames as the others.
//! The time is the thread's on its processor.

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;

use cobring_pipeline::config::Config;
use cobring_pipeline::recording::Recording;
use cobring_types::{Nanos, SymbolIndex};

use crate::player::Player;
use crate::report::{Figure, cpu_ns, median, progress};

const SYMBOLS: [usize; 3] = [2, 20, 200];
/// Least allowed ratio of the cost with 2 symbols to that with as many.
const GOALS: [Option<f64>; 3] = [None, Some(1.0 / 1.5), Some(1.0 / 2.5)];
/// Recorded messages; each is played once for every two symbols.
const MESSAGES: usize = 12_000;
/// Times that all are played; the middle one counts.
const ROUNDS: usize = 3;
/// The recorded symbols, with bucket size and range, and the first letter of their copies.
const RECORDED: [(&str, char, &str, &str); 2] =
    [("BTCUSDT", 'B', "10", "50"), ("ETHUSDT", 'E', "1", "5")];

struct Message {
    ts_recv: Nanos,
    recorded: usize,
    is_snapshot: bool,
    bytes: Vec<u8>,
    /// Where the symbol stands, in small letters and in capitals.
    small_at: Vec<usize>,
    capitals_at: Vec<usize>,
}

/// Seven letters, as the recorded symbols have.
fn copy_name(recorded: usize, copy: usize) -> String {
    format!("{}{copy:02}USDT", RECORDED[recorded].1)
}

fn places(bytes: &[u8], name: &str) -> Vec<usize> {
    let windows = bytes.windows(name.len()).enumerate();
    windows.filter(|(_, window)| *window == name.as_bytes()).map(|(at, _)| at).collect()
}

fn load(files: &[PathBuf]) -> Result<Vec<Message>, Box<dyn Error>> {
    let (mut recording, mut messages) = (Recording::open(files)?, Vec::with_capacity(MESSAGES));
    while let Some(line) = recording.next()? {
        if messages.len() == MESSAGES {
            break;
        }
        let symbol = line.symbol.unwrap_or_default();
        let Some(recorded) = RECORDED.iter().position(|(name, ..)| *name == symbol) else {
            return Err(format!("{symbol:?} is none of the recorded symbols").into());
        };
        messages.push(Message {
            ts_recv: line.ts_recv,
            recorded,
            is_snapshot: line.snapshot,
            bytes: line.bytes.to_vec(),
            small_at: places(line.bytes, &symbol.to_ascii_lowercase()),
            capitals_at: places(line.bytes, symbol),
        });
    }
    Ok(messages)
}

/// The shipped configuration with other symbols, and with windows of ticks that fit many of them into memory.
fn config(copies: usize) -> Result<Config, Box<dyn Error>> {
    let mut text = "[symbol_defaults]\nticks_promised = 1000\n".to_owned();
    for (recorded, (.., bucket_size, range)) in RECORDED.iter().enumerate() {
        for copy in 0..copies {
            let name = copy_name(recorded, copy);
            write!(
                text,
                "[symbols.{name}]\ntick_size = \"0.01\"\nbucket_size = \"{bucket_size}\"\nrange = \"{range}\"\n"
            )?;
        }
    }
    Ok(Config::parse(&text, "bench scale")?)
}

/// Plays everything for so many copies: ns a message, and the frames of each recorded symbol's copies.
fn play(messages: &mut [Message], copies: usize) -> Result<(f64, [u64; 2]), Box<dyn Error>> {
    let mut player = Player::new(&config(copies)?.symbol_configs(), false)?;
    let mut names: [Vec<(String, String)>; 2] = Default::default();
    for (recorded, names) in names.iter_mut().enumerate() {
        for copy in 0..copies {
            let name = copy_name(recorded, copy);
            names.push((name.to_ascii_lowercase(), name));
        }
    }
    let began = cpu_ns();
    for message in &mut *messages {
        let Message { ts_recv, recorded, is_snapshot, bytes, small_at, capitals_at } = message;
        for (copy, (small, capitals)) in names[*recorded].iter().enumerate() {
            for at in &*small_at {
                bytes[*at..*at + small.len()].copy_from_slice(small.as_bytes());
            }
            for at in &*capitals_at {
                bytes[*at..*at + capitals.len()].copy_from_slice(capitals.as_bytes());
            }
            // In order of names: those of the first letter come first.
            let symbol = SymbolIndex(u16::try_from(*recorded * copies + copy)?);
            player.play(*ts_recv, is_snapshot.then_some(symbol), bytes);
        }
    }
    let took_ns = cpu_ns() - began;
    let mut frames = [0; 2];
    for (at, summary) in player.finish().iter().enumerate() {
        let frames = &mut frames[at / copies];
        if *frames != 0 && *frames != summary.frames {
            let (symbol, found) = (&summary.symbol, summary.frames);
            return Err(format!("{symbol} has {found} frames, its copies {frames}").into());
        }
        *frames = summary.frames;
    }
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    Ok((took_ns as f64 / (messages.len() * copies) as f64, frames))
}

pub(crate) fn run(files: &[PathBuf], json: bool) -> Result<(), Box<dyn Error>> {
    let mut messages = load(files)?;
    let mut costs = [const { Vec::new() }; SYMBOLS.len()];
    let mut expected = None;
    for round in 0..ROUNDS {
        for (symbols, costs) in SYMBOLS.iter().zip(&mut costs) {
            progress(&format!("scale, {symbols} symbols, round {} of {ROUNDS}", round + 1));
            let (cost_ns, frames) = play(&mut messages, symbols / 2)?;
            costs.push(cost_ns);
            if *expected.get_or_insert(frames) != frames {
                return Err(format!(
                    "{symbols} symbols have {frames:?} frames, wanted {expected:?}"
                )
                .into());
            }
        }
    }
    let costs = costs.map(median);
    for ((symbols, goal), ours_ns) in SYMBOLS.iter().zip(GOALS).zip(costs) {
        let figure = format!("scale_{symbols}");
        Figure { figure: &figure, peer: "2 symbols", ours_ns, peer_ns: costs[0], goal }
            .print(json)?;
    }
    Ok(())
}
