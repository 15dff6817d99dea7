//! Bytes in a buffer → complete frame visible in a ring, fused, as a live run does it without its sockets: one message
//! after the other, or at the pace of the recording, where caches and predictors have forgotten what a message needs.

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use cobring_market::{GRID, SymbolConfig};
use cobring_pipeline::config::Config;
use cobring_pipeline::recording::Recording;
use cobring_pipeline::replay::{self, ReplayLayout, ReplaySetup};
use cobring_pipeline::stages::Layout;
use cobring_types::{Nanos, Symbol, SymbolIndex};

use crate::player::{Player, staged_setup};
use crate::report::{Table, latency, progress};

/// One message, ready to be folded.
pub(crate) struct Message {
    pub(crate) ts_recv: Nanos,
    pub(crate) kind: Kind,
    pub(crate) symbol: SymbolIndex,
    pub(crate) bytes: Vec<u8>,
}

impl Message {
    pub(crate) fn play(&self, player: &mut Player) {
        let snapshot = (self.kind == Kind::Snapshot).then_some(self.symbol);
        player.play(self.ts_recv, snapshot, &self.bytes);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Depth,
    Quote,
    Trade,
    Snapshot,
    /// No message.
    Timers,
}

const KINDS: [(Kind, &str); 5] = [
    (Kind::Depth, "depth"),
    (Kind::Quote, "bookTicker"),
    (Kind::Trade, "trade"),
    (Kind::Snapshot, "snapshot"),
    (Kind::Timers, "timers"),
];
/// The place of the timers between two messages, of all symbols.
const TIMERS: usize = 4;

/// Checks that the timed path publishes what a replay publishes, then times it; with a `speed` at so many times the pace at
/// which messages came.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn run(
    files: &[PathBuf],
    rounds: u32,
    speed: Option<f64>,
    json: bool,
) -> Result<(), Box<dyn Error>> {
    let config = Config::built_in();
    let setup = ReplaySetup {
        symbols: config.symbol_configs(),
        settings: config.fold_digest_text(),
        layout: ReplayLayout::OfRun(Layout::Fused),
        staged: staged_setup(&config),
        hash: true,
        is_own_process: true,
        log_dir: None,
    };
    let (expected, ()) = replay::replay(replay::open(files)?, &setup, (), |_, _| {})?;
    let messages = load(files, &setup.symbols)?;
    if let (Some(speed), Some((first, last))) = (speed, expected.span) {
        let round_s = (last.0 - first.0) as f64 / 1e9 / speed;
        progress(&format!("path: a round at this pace takes {round_s:.0} s"));
    }
    let mut histograms = KINDS.map(|_| latency());
    for round in 0..rounds {
        let hashed = round == 0;
        let mut player = Player::new(&setup.symbols, hashed)?;
        let mut last_timer = Nanos(i64::MIN);
        let pace = speed.filter(|_| !hashed).zip(messages.first());
        let pace = pace.map(|(speed, first)| Pace::begin(speed, first.ts_recv));
        for message in &messages {
            // Timers: all up to the message at once, or each when it is due.
            loop {
                let now = pace.as_ref().map_or(message.ts_recv, Pace::now).min(message.ts_recv);
                let timer = now.floor_to(GRID);
                let began = Instant::now();
                player.advance(now);
                let elapsed_ns = u64::try_from(began.elapsed().as_nanos())?;
                if timer > std::mem::replace(&mut last_timer, timer) && !hashed {
                    histograms[TIMERS].saturating_record(elapsed_ns);
                }
                if now == message.ts_recv {
                    break;
                }
            }
            if pace.is_some() {
                // As one that has just come from a socket: its bytes are near.
                std::hint::black_box(message.bytes.iter().fold(0u8, |sum, byte| sum ^ byte));
            }
            let began = Instant::now();
            message.play(&mut player);
            let elapsed_ns = u64::try_from(began.elapsed().as_nanos())?;
            if !hashed {
                let at =
                    KINDS.iter().position(|(kind, _)| *kind == message.kind).unwrap_or_default();
                histograms[at].saturating_record(elapsed_ns);
            }
        }
        let found = player.finish();
        for (found, expected) in found.iter().zip(&expected.symbols) {
            if found.frames != expected.frames || hashed && found.digest != expected.digest {
                return Err(format!(
                    "{}: the timed path's frames are not the replay's",
                    found.symbol
                )
                .into());
            }
        }
    }
    let table = Table::new("bytes → frame, ns", json)?;
    for ((_, name), latency) in KINDS.iter().zip(&histograms).filter(|(_, found)| !found.is_empty())
    {
        let figure = if json { format!("path_{name}") } else { (*name).to_owned() };
        table.row(&figure, latency)?;
    }
    Ok(())
}

/// The recording's time as it goes on, so many times as fast. Who waits polls, as a run on a core of its own does.
struct Pace {
    speed: f64,
    began: Instant,
    first: Nanos,
}

impl Pace {
    fn begin(speed: f64, first: Nanos) -> Self {
        Self { speed, began: Instant::now(), first }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "to the microsecond for a century of a recording, and no further than the numbers' end"
    )]
    fn now(&self) -> Nanos {
        let since_first_ns = self.began.elapsed().as_nanos() as f64 * self.speed;
        Nanos(self.first.0.saturating_add(since_first_ns as i64))
    }
}

/// All messages of recordings, in order.
pub(crate) fn load(
    files: &[PathBuf],
    symbols: &[SymbolConfig],
) -> Result<Vec<Message>, Box<dyn Error>> {
    let names: Vec<Symbol> = symbols.iter().map(|symbol| symbol.instrument.symbol).collect();
    let mut recording = Recording::open(files)?;
    let mut messages = Vec::new();
    while let Some(line) = recording.next()? {
        let kind = match line.bytes {
            _ if line.snapshot => Kind::Snapshot,
            bytes if is_of_stream(bytes, b"@depth") => Kind::Depth,
            bytes if is_of_stream(bytes, b"@bookTicker") => Kind::Quote,
            _ => Kind::Trade,
        };
        let symbol = line.symbol.and_then(|symbol| {
            names.iter().position(|name| name.as_str().eq_ignore_ascii_case(symbol))
        });
        let symbol =
            symbol.and_then(|at| u16::try_from(at).ok()).map_or(SymbolIndex::NONE, SymbolIndex);
        messages.push(Message { ts_recv: line.ts_recv, kind, symbol, bytes: line.bytes.to_vec() });
    }
    Ok(messages)
}

/// Whether the message's stream name holds this.
pub(crate) fn is_of_stream(message: &[u8], stream: &[u8]) -> bool {
    message[..message.len().min(64)].windows(stream.len()).any(|window| window == stream)
}
