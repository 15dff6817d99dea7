//! Made-up messages of both symbols, and the stages of a live run that they go through.
#![allow(clippy::unwrap_used, reason = "test code")]
#![allow(unreachable_pub, reason = "a module of each test file")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use cobring_frame::{EngineDir, Segment};
use cobring_market::SymbolConfig;
use cobring_pipeline::checkpoints::Checkpoints;
use cobring_pipeline::clock::EngineClock;
use cobring_pipeline::config::auto_frame_slots;
use cobring_pipeline::counters::Counters;
use cobring_pipeline::fold::{Fold, FoldState, Observer, SymbolFold};
use cobring_pipeline::idle::{Idle, Waiter};
use cobring_pipeline::log::{
    Checkpoint, CheckpointSender, LogConfig, LogHeader, LogProducer, LogReader, LogStart,
    LogWriter, log_files,
};
use cobring_pipeline::replay::{private_folds, segment_spec};
use cobring_pipeline::stages::{Layout, ParseMeter, StagedSetup, Stages};
use cobring_types::{Input, InputKind, Nanos, Stamp, Symbol, SymbolIndex};
use cobring_venue::binance::Decoder;

pub const WARM_UP: usize = 20_000;
pub const COUNTED: usize = 100_000;
/// Checkpoints that are asked for among the counted ones.
pub const CHECKPOINTS: u64 = 2;
const START_NS: i64 = 1_723_161_254_000_000_000;
/// Between two messages.
const STEP_NS: i64 = 1_300_000;

pub struct Message {
    ts_recv: Nanos,
    kind: InputKind,
    symbol: SymbolIndex,
    bytes: Vec<u8>,
}

/// One symbol of a made-up venue.
struct Market {
    name: String,
    index: SymbolIndex,
    mid_ticks: i64,
    update_id: u64,
    trade_id: u64,
}

impl Market {
    fn px(ticks: i64) -> String {
        format!("{}.{:02}000000", ticks / 100, ticks % 100)
    }

    fn levels(&self, count: i64, sign: i64, step: i64, salt: i64) -> String {
        let mut text = String::from("[");
        for at in 0..count {
            let ticks = self.mid_ticks + sign * (1 + at * step);
            let qty =
                if at > 0 && (at * 7 + salt) % 5 == 0 { 0 } else { 1 + (at * 13 + salt) % 90 };
            let comma = if at == 0 { "" } else { "," };
            write!(text, "{comma}[\"{}\",\"{qty}.50000000\"]", Self::px(ticks)).unwrap();
        }
        text + "]"
    }

    fn snapshot(&self) -> String {
        let (id, bids, asks) =
            (self.update_id, self.levels(1000, -1, 3, 1), self.levels(1000, 1, 3, 2));
        format!("{{\"lastUpdateId\":{id},\"bids\":{bids},\"asks\":{asks}}}")
    }

    fn message(&mut self, number: i64, ts_ms: i64) -> String {
        let (name, stream) = (&self.name, self.name.to_lowercase());
        match number % 10 {
            0 | 5 => {
                let first = self.update_id + 1;
                self.update_id += 12;
                let id = self.update_id;
                let count = 6 + number % 40;
                let (bids, asks) =
                    (self.levels(count, -1, 2, number % 11), self.levels(count, 1, 2, number % 7));
                format!(
                    "{{\"stream\":\"{stream}@depth@100ms\",\"data\":{{\"e\":\"depthUpdate\",\"E\":{ts_ms},\"s\":\"{name}\",\"U\":{first},\"u\":{id},\"b\":{bids},\"a\":{asks}}}}}"
                )
            }
            1 | 3 | 8 => {
                self.trade_id += 1;
                let (id, px, maker) = (self.trade_id, Self::px(self.mid_ticks), number % 3 == 0);
                format!(
                    "{{\"stream\":\"{stream}@trade\",\"data\":{{\"e\":\"trade\",\"E\":{ts_ms},\"s\":\"{name}\",\"t\":{id},\"p\":\"{px}\",\"q\":\"0.02000000\",\"T\":{ts_ms},\"m\":{maker},\"M\":true}}}}"
                )
            }
            _ => {
                // Within what the next depth message covers, and never its last id: nothing to disagree on.
                let id = self.update_id + 1 + number.cast_unsigned() % 5;
                let (bid, ask) = (Self::px(self.mid_ticks - 1), Self::px(self.mid_ticks + 1));
                let qty = number % 50 + 1;
                format!(
                    "{{\"stream\":\"{stream}@bookTicker\",\"data\":{{\"u\":{id},\"s\":\"{name}\",\"b\":\"{bid}\",\"B\":\"{qty}.00000000\",\"a\":\"{ask}\",\"A\":\"2.50000000\"}}}}"
                )
            }
        }
    }
}

/// Messages of both symbols; each loses a depth message in the counted part and gets a snapshot later. Among them are
/// checkpoints.
pub fn stream(symbols: &[SymbolConfig]) -> Vec<Message> {
    let mut markets: Vec<Market> = (0..)
        .zip(symbols)
        .map(|(index, symbol)| Market {
            name: symbol.instrument.symbol.to_string(),
            index: SymbolIndex(index),
            mid_ticks: 268_381 + 6_000_000 * i64::from(index),
            update_id: 1_000_000,
            trade_id: 500,
        })
        .collect();
    let gap_at = i64::try_from((WARM_UP + COUNTED / 2) / markets.len()).unwrap() / 10 * 10;
    let mut messages: Vec<Message> = Vec::new();
    for number in 0.. {
        if messages.len() > WARM_UP + COUNTED {
            break;
        }
        for market in &mut markets {
            let ts_recv = Nanos(START_NS + i64::try_from(messages.len()).unwrap() * STEP_NS);
            let mut push = |kind, symbol, text: String| {
                messages.push(Message { ts_recv, kind, symbol, bytes: text.into_bytes() });
            };
            // At the start, and some time after the gap.
            if number == 12 || number == gap_at + 32 {
                push(InputKind::RestDepth, market.index, market.snapshot());
            }
            let text = market.message(number, ts_recv.0 / 1_000_000 + 1_200);
            if number != gap_at {
                push(InputKind::Text, SymbolIndex::NONE, text);
            }
        }
        if number == gap_at - 15 || number == gap_at + 1_005 {
            let ts_recv = messages.last().unwrap().ts_recv;
            let (kind, symbol, bytes) = (InputKind::Checkpoint, SymbolIndex::NONE, Vec::new());
            messages.push(Message { ts_recv, kind, symbol, bytes });
        }
        if number % 200 == 0 {
            for market in &mut markets {
                market.mid_ticks += if number % 400 == 0 { 1 } else { -1 };
            }
        }
    }
    messages
}

/// A fold into a segment of that directory, as a live run has it.
pub fn fold_in(dir: &EngineDir, config: &SymbolConfig, hash: bool) -> SymbolFold {
    let (spec, schema) = segment_spec(config, auto_frame_slots(2), 1);
    let mut segment = Segment::create(dir, &spec).unwrap();
    segment.touch();
    SymbolFold::new(config.clone(), 1, schema.id(), segment, hash)
}

/// Tells how far the fold is.
pub struct Progress(Arc<AtomicI64>);

impl Observer for Progress {
    fn after_timer(&mut self, g: Nanos, _: &[SymbolFold]) {
        self.0.store(g.0, Ordering::Release);
    }

    fn at_checkpoint(&mut self, _: u64, _: FoldState<'_>) {}
}

/// The stages with what a live run has beside them.
pub struct Engine {
    pub stages: Stages<Checkpoints<Progress>>,
    folded: Arc<AtomicI64>,
    log: (LogWriter, LogProducer),
}

impl Engine {
    /// With the clock and the shared counters of a live run, and with its log, which has checkpoints alone.
    pub fn new(
        layout: Layout,
        dir: &EngineDir,
        symbols: &[SymbolConfig],
        mut folds: Vec<SymbolFold>,
    ) -> Self {
        let names: Vec<_> = symbols.iter().map(|symbol| symbol.instrument.symbol).collect();
        let instruments = symbols.iter().map(|symbol| symbol.instrument.clone()).collect();
        let rows = Counters::create(dir, 1, &names, std::iter::empty()).unwrap();
        let clock = EngineClock::start();
        let folded = Arc::new(AtomicI64::new(0));
        folds.iter_mut().zip(rows.symbols).for_each(|(fold, row)| fold.count_in(row));
        let mut observer = Checkpoints::new(&folds, true, Progress(Arc::clone(&folded)));
        let (writer, producer, checkpoints) = start_log(dir.path(), names.clone());
        observer.begin(checkpoints).unwrap();
        let fold = Fold::new(folds, Some(clock), observer);
        let setup = StagedSetup {
            raw_ring_bytes: 8 << 20,
            event_ring_bytes: 8 << 20,
            idle: Idle::Yield,
            cores: [None, None],
        };
        let meter = ParseMeter::new(clock, rows.decode);
        let decoder = Decoder::new(instruments).warmed();
        let stages = Stages::new(layout, &setup, decoder, fold, Some(meter));
        Self { stages, folded, log: (writer, producer) }
    }

    /// Until all of them are folded.
    pub fn feed(&mut self, messages: &[Message], first_seq: u64) {
        feed(&mut self.stages, &mut self.log.1, messages, first_seq, &self.folded);
    }

    /// Ends, once the log has each checkpoint that was asked for: all windows of all symbols and the fold's state.
    pub fn finish(self, symbols: &[SymbolConfig], dir: &Path) -> Fold<Checkpoints<Progress>> {
        let (writer, producer) = self.log;
        let fold = self.stages.finish().fold;
        drop(producer);
        let report = writer.finish();
        assert!(report.complete, "{report:?}");
        let stats = report.stats;
        let checkpoints = (stats.checkpoints_missing, stats.checkpoints_dropped, stats.files);
        assert_eq!(checkpoints, (0, 0, 1 + CHECKPOINTS), "{stats:?}");
        for path in &log_files(&log_dir(dir)).unwrap()[1..] {
            let reader = LogReader::open(&[path]).unwrap();
            let LogStart::Taken(checkpoint) = reader.start() else {
                panic!("{:?}", reader.start())
            };
            let restore = |checkpoint: &Checkpoint| {
                let mut restored = Fold::new(private_folds(symbols, 1, true).unwrap(), None, ());
                restored.restore(checkpoint).map(|()| restored)
            };
            let restored = restore(checkpoint).unwrap();
            let again = restored.checkpoint();
            assert!(again.state == checkpoint.state && again.blobs == checkpoint.blobs);
            // And all rows that are promised are there.
            let windows =
                restored.symbols().iter().flat_map(|symbol| symbol.market().windows().iter());
            for (window, blob) in windows.zip(&checkpoint.blobs) {
                let window = window.raw();
                let rows = window.done().min(window.rows_promised());
                let size_bytes = window.row_size_bytes() as u64 * rows;
                assert_eq!(blob.bytes.len() as u64, size_bytes, "{}", blob.name);
            }
            let mut damaged = checkpoint.clone();
            let lost = damaged.blobs.pop().unwrap().name;
            let error = restore(&damaged).err().unwrap().to_string();
            assert!(error.contains(&format!("there are no rows of {lost}")), "{error}");
        }
        fold
    }
}

fn log_dir(dir: &Path) -> PathBuf {
    dir.join("log")
}

fn start_log(dir: &Path, symbols: Vec<Symbol>) -> (LogWriter, LogProducer, CheckpointSender) {
    let header = LogHeader {
        epoch: 1,
        first_input_seq: 0,
        ts_start: Nanos(START_NS),
        config_digest: [0; 32],
        config: String::new(),
        venue_digest: 0,
        symbols,
    };
    let clock = EngineClock::start();
    LogWriter::start(LogConfig::new(log_dir(dir)), header, &LogStart::Initial, move || clock.now())
        .unwrap()
}

fn feed(
    stages: &mut Stages<Checkpoints<Progress>>,
    log: &mut LogProducer,
    messages: &[Message],
    first_seq: u64,
    folded: &AtomicI64,
) {
    let mut waiter = Waiter::new(Idle::Yield);
    for (input_seq, message) in (first_seq..).zip(messages) {
        let input = Input {
            stamp: Stamp {
                input_seq,
                ts_recv: message.ts_recv,
                ts_kernel: Nanos::UNDEF,
                ts_parsed: Nanos::UNDEF,
            },
            kind: message.kind,
            symbol: message.symbol,
            connection: 0,
            aux: if message.kind == InputKind::RestDepth { 1000 } else { 0 },
            ts_aux: Nanos::UNDEF,
            bytes: &message.bytes,
        };
        let files = log.stats().files;
        let is_checkpoint = message.kind == InputKind::Checkpoint;
        if is_checkpoint {
            assert!(log.try_log(&input));
        }
        while stages.try_input(&input, |_| {}).is_err() {
            waiter.wait();
        }
        // Messages come here a thousand times as fast as from a venue: windows would be overtaken before they are copied.
        let clock = EngineClock::start();
        let asked = clock.now();
        while is_checkpoint && log.stats().files == files {
            assert!(clock.now().0 < asked.0 + 20 * Nanos::SECOND.0, "{:?}", log.stats());
            std::hint::spin_loop();
        }
        stages.take_notices(|_| {}, |_, _| {});
    }
    // All that was given is folded once the last timer is.
    let last = messages.last().unwrap().ts_recv;
    while stages.try_watermark(last).is_err() {
        waiter.wait();
    }
    while folded.load(Ordering::Acquire) < last.0 - 100_000_000 {
        assert!(!stages.is_broken());
        waiter.wait();
    }
}
