//! Bytes in a buffer → complete frame visible in a ring, fused, as a live run does it without its sockets.

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
use crate::report::{Table, latency};

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

/// Checks that the timed path publishes what a replay publishes, then times it.
pub(crate) fn run(files: &[PathBuf], rounds: u32, json: bool) -> Result<(), Box<dyn Error>> {
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
    let mut histograms = KINDS.map(|_| latency());
    for round in 0..rounds {
        let hashed = round == 0;
        let mut player = Player::new(&setup.symbols, hashed)?;
        let mut last_timer = Nanos(i64::MIN);
        for message in &messages {
            let began = Instant::now();
            player.advance(message.ts_recv);
            let elapsed_ns = u64::try_from(began.elapsed().as_nanos())?;
            let timer = message.ts_recv.floor_to(GRID);
            if timer > std::mem::replace(&mut last_timer, timer) && !hashed {
                histograms[TIMERS].saturating_record(elapsed_ns);
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
