//! Bytes in a buffer → complete frame visible in a ring, fused, as a live run does it without its sockets.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Instant;

use cobring_frame::{FrameError, Segment};
use cobring_market::{GRID, SymbolConfig};
use cobring_pipeline::config::Config;
use cobring_pipeline::fold::{Fold, SymbolFold};
use cobring_pipeline::idle::Idle;
use cobring_pipeline::recording::Recording;
use cobring_pipeline::replay::{self, ReplaySetup, segment_spec};
use cobring_pipeline::sequencer::Sequencer;
use cobring_pipeline::stages::{Layout, StagedSetup, Stages};
use cobring_types::{Input, InputKind, Nanos, Stamp, Symbol, SymbolIndex};
use cobring_venue::binance::Decoder;
use hdrhistogram::Histogram;
use serde_json::json;

/// One message, ready to be folded.
pub(crate) struct Message {
    pub(crate) ts_recv: Nanos,
    pub(crate) kind: Kind,
    pub(crate) symbol: SymbolIndex,
    pub(crate) bytes: Vec<u8>,
}

impl Message {
    /// As ingest hands it on; only an answer to a request says whose it is.
    pub(crate) fn input(&self, stamp: Stamp) -> Input<'_> {
        let (kind, symbol) = match self.kind {
            Kind::Snapshot => (InputKind::RestDepth, self.symbol),
            _ => (InputKind::Text, SymbolIndex::NONE),
        };
        Input {
            stamp,
            kind,
            symbol,
            connection: 0,
            aux: 0,
            ts_aux: Nanos::UNDEF,
            bytes: &self.bytes,
        }
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
        layout: Layout::Fused,
        staged: StagedSetup {
            raw_ring_bytes: config.engine.raw_ring_bytes,
            event_ring_bytes: config.engine.event_ring_bytes,
            idle: Idle::Yield,
            cores: [None, None],
        },
        hash: true,
        log_dir: None,
    };
    let (expected, ()) = replay::replay(replay::open(files)?, &setup, (), |_, _| {})?;
    let messages = load(files, &setup.symbols)?;
    let mut histograms: Vec<Histogram<u64>> = Vec::new();
    for _ in KINDS {
        histograms.push(Histogram::new_with_bounds(1, 1_000_000_000, 3)?);
    }
    for round in 0..rounds {
        let hashed = round == 0;
        let folds = touched_folds(&setup.symbols, hashed)?;
        let instruments = setup.symbols.iter().map(|symbol| symbol.instrument.clone()).collect();
        let fold = Fold::new(folds, None, ());
        let mut stages =
            Stages::new(Layout::Fused, &setup.staged, Decoder::new(instruments), fold, None);
        let mut sequencer = Sequencer::default();
        let mut last_timer = Nanos(i64::MIN);
        for message in &messages {
            // A live run folds timers when they are due, not when the next message comes.
            let began = Instant::now();
            stages.try_watermark(message.ts_recv)?;
            let elapsed_ns = u64::try_from(began.elapsed().as_nanos())?;
            let timer = message.ts_recv.floor_to(GRID);
            if timer > std::mem::replace(&mut last_timer, timer) && !hashed {
                histograms[TIMERS].saturating_record(elapsed_ns);
            }
            let began = Instant::now();
            let stamp = sequencer.stamp(message.ts_recv, Nanos::UNDEF);
            stages.try_input(&message.input(stamp), |_| {})?;
            let elapsed_ns = u64::try_from(began.elapsed().as_nanos())?;
            if !hashed {
                let at =
                    KINDS.iter().position(|(kind, _)| *kind == message.kind).unwrap_or_default();
                histograms[at].saturating_record(elapsed_ns);
            }
        }
        let found = stages.finish().fold.summary();
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
    print(&histograms, json)?;
    Ok(())
}

/// Folds over memory that is there already, as a live run begins.
pub(crate) fn touched_folds(
    symbols: &[SymbolConfig],
    hash: bool,
) -> Result<Vec<SymbolFold>, FrameError> {
    let fold = |config: &SymbolConfig| {
        let (spec, schema) = segment_spec(config, 0);
        let mut segment = Segment::private(&spec)?;
        segment.touch();
        Ok(SymbolFold::new(config.clone(), 0, schema.id(), segment, hash))
    };
    symbols.iter().map(fold).collect()
}

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

fn print(histograms: &[Histogram<u64>], json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if !json {
        writeln!(
            out,
            "bytes → frame, ns      count     mean      p50      p99    p99.9        max"
        )?;
    }
    for ((_, name), histogram) in KINDS.iter().zip(histograms).filter(|(_, h)| !h.is_empty()) {
        let at = |quantile: f64| histogram.value_at_quantile(quantile);
        if json {
            let line = json!({ "figure": format!("path_{name}"), "count": histogram.len(), "mean_ns": histogram.mean(),
                "p50_ns": at(0.5), "p99_ns": at(0.99), "p999_ns": at(0.999), "max_ns": histogram.max() });
            writeln!(out, "{line}")?;
        } else {
            writeln!(
                out,
                "{name:<18} {:>9} {:>8.0} {:>8} {:>8} {:>8} {:>10}",
                histogram.len(),
                histogram.mean(),
                at(0.5),
                at(0.99),
                at(0.999),
                histogram.max()
            )?;
        }
    }
    Ok(())
}
