//! Replay: a recording or a log through the very stages of a live run.

mod by_symbol;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use cobring_frame::{FrameError, Schema, Segment, SegmentSpec};
use cobring_market::SymbolConfig;
use cobring_types::{Input, Instrument, Nanos, Symbol, SymbolIndex};
use cobring_venue::binance::Decoder;
use sha2::{Digest as _, Sha256};

use self::by_symbol::{BySymbol, LANE_BYTES};
use crate::cores;
use crate::fold::{Fold, Observer, SymbolFold, SymbolSummary};
use crate::idle::{Idle, Waiter};
use crate::log::{LogError, LogFile, LogHeader, LogReader, LogStart, is_log_file, newest_run};
use crate::memory;
use crate::recording::{Recording, RecordingError};
use crate::ring::Full;
use crate::sequencer::Sequencer;
use crate::stages::{Finished, Layout, StagedSetup, Stages};

/// What may go wrong in a replay.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A recording cannot be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// A log cannot be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Memory for the windows cannot be had.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A symbol without settings.
    #[error("{}: holds messages of {symbol}, which the configuration lacks: add a table [symbols.{symbol}] with tick_size, bucket_size and range", path.display())]
    UnknownSymbol {
        /// Where it was met.
        path: PathBuf,
        /// The symbol.
        symbol: String,
    },
    /// Logs and recordings together.
    #[error("{}: is a log of cobring, {}: a recording; replay one kind at a time", log.display(), recording.display())]
    Mixed {
        /// The log.
        log: PathBuf,
        /// The recording.
        recording: PathBuf,
    },
    /// The log was written with other settings.
    #[error("{}: was written with other settings than those given; leave --config out to use its own", path.display())]
    OtherSettings {
        /// The log.
        path: PathBuf,
    },
    /// The log does not begin with a state to begin from.
    #[error("{}: begins with no checkpoint; replay it together with the files before it", path.display())]
    NoCheckpoint {
        /// The log.
        path: PathBuf,
    },
    /// A stage ended by itself.
    #[error("a stage of the pipeline ended by itself; its message is above")]
    Broken,
}

/// How the stages of a replay are joined; frames are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayLayout {
    /// As those of a run.
    OfRun(Layout),
    /// Inputs are read on the caller's thread, and parsed and folded on others, each for its own symbols and no more of them
    /// than there are cores. Fused where someone looks on who is to see all symbols together.
    BySymbol,
}

impl ReplayLayout {
    /// What is soonest done on this host with so many symbols. With one, handing inputs to another core takes about as long
    /// as the reading that is done beside it.
    #[must_use]
    pub fn fastest(symbol_count: usize) -> Self {
        if symbol_count > 1 && cores::available().len() > 1 {
            Self::BySymbol
        } else {
            Self::OfRun(Layout::Fused)
        }
    }
}

/// How to replay.
#[derive(Debug)]
pub struct ReplaySetup {
    /// The symbols' settings, in order of names.
    pub symbols: Vec<SymbolConfig>,
    /// Text of the settings that decide frames, for the log that is written.
    pub settings: String,
    /// How the stages are joined.
    pub layout: ReplayLayout,
    /// Rings and threads of the staged layout.
    pub staged: StagedSetup,
    /// Whether to hash all frames.
    pub hash: bool,
    /// Whether this process is the replay's alone: its memory is moved to huge pages then.
    pub is_own_process: bool,
    /// Where to write a log of the same inputs.
    pub log_dir: Option<PathBuf>,
}

/// What a replay did.
#[derive(Debug, Clone)]
pub struct ReplayReport {
    /// Each symbol, in order of names.
    pub symbols: Vec<SymbolSummary>,
    /// Inputs replayed.
    pub inputs: u64,
    /// First and last stamp.
    pub span: Option<(Nanos, Nanos)>,
    /// What the decoder passed over or refused.
    pub decoded: cobring_venue::DecodeCounters,
    /// The log that was written.
    pub log: Option<PathBuf>,
    /// Torn ends of the logs that were read.
    pub torn: Vec<crate::log::Torn>,
}

/// Opens the files: all recordings or all logs. A directory stands for the log of its newest run.
///
/// # Errors
/// [`ReplayError`] where they are mixed or cannot be read.
pub fn open(paths: &[PathBuf]) -> Result<Inputs, ReplayError> {
    let mut log = None;
    let mut recording = None;
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        if path.is_dir() {
            files.extend(newest_run(path)?);
        } else {
            files.push(path.clone());
        }
    }
    for path in &files {
        let slot = if is_log_file(path)? { &mut log } else { &mut recording };
        slot.get_or_insert_with(|| path.clone());
    }
    match (log, recording) {
        (Some(log), Some(recording)) => Err(ReplayError::Mixed { log, recording }),
        (Some(_), None) => Ok(Inputs::Log(Box::new(LogReader::open(&files)?))),
        _ => Ok(Inputs::Recording(Box::new(Recording::open(&files)?))),
    }
}

/// Where the inputs come from.
#[derive(Debug)]
pub enum Inputs {
    /// Lines, stamped by their own times.
    Recording(Box<Recording>),
    /// Our own log, stamped and numbered already.
    Log(Box<LogReader>),
}

impl Inputs {
    /// Bytes read and bytes to read, as stored.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        match self {
            Self::Recording(recording) => recording.progress(),
            Self::Log(log) => log.progress(),
        }
    }

    /// The symbols that occur, in order of names and in capitals: those of a log's run, or of the recordings.
    ///
    /// # Errors
    /// [`ReplayError`] where a recording cannot be read.
    pub fn symbols(&self) -> Result<BTreeSet<String>, ReplayError> {
        match self {
            Self::Log(log) => Ok(log.header().symbols.iter().map(ToString::to_string).collect()),
            Self::Recording(recording) => Ok(recording.symbols()?),
        }
    }

    /// The settings that a log was written with.
    #[must_use]
    pub fn settings(&self) -> Option<&str> {
        match self {
            Self::Recording(_) => None,
            Self::Log(log) => Some(&log.header().config),
        }
    }
}

/// A fold of these symbols over private memory, as a run makes it but for the frame ring, which is short: nobody reads from
/// it but who looks on, at each frame.
///
/// # Errors
/// [`FrameError`] where the memory cannot be had.
pub fn private_folds(
    symbols: &[SymbolConfig],
    epoch: u64,
    hash: bool,
) -> Result<Vec<SymbolFold>, FrameError> {
    let fold = |config: &SymbolConfig| {
        let (spec, schema) = segment_spec(config, PRIVATE_FRAME_SLOTS, epoch);
        let segment = Segment::sparse(&spec)?;
        Ok(SymbolFold::new(config.clone(), epoch, schema.id(), segment, hash))
    };
    symbols.iter().map(fold).collect()
}

/// What a symbol's segment looks like; `frame_slots` is a power of two.
#[must_use]
pub fn segment_spec(config: &SymbolConfig, frame_slots: u32, epoch: u64) -> (SegmentSpec, Schema) {
    let schema = config.schema();
    let spec = SegmentSpec {
        symbol: config.instrument.symbol.to_string(),
        epoch,
        schema: schema.to_json(),
        schema_id: schema.id(),
        frame_size_bytes: config.layout.size_bytes(),
        slot_count: frame_slots,
        windows: schema.window_specs(),
    };
    (spec, schema)
}

/// Digest of the settings that decide frames, as logs carry it.
#[must_use]
pub fn settings_digest(settings: &str) -> [u8; 32] {
    Sha256::digest(settings.as_bytes()).into()
}

/// Slots of a frame ring that stays in this process: a few stay in the nearest caches too, and frames are written there.
const PRIVATE_FRAME_SLOTS: u32 = 4;
/// Inputs between two calls of the progress function.
const PROGRESS_INPUTS: u64 = 4_096;

/// Replays all inputs.
///
/// # Errors
/// [`ReplayError`] at the first input that cannot be had.
pub fn replay<O: Observer + Send + 'static>(
    inputs: Inputs,
    setup: &ReplaySetup,
    observer: O,
    on_progress: impl FnMut(u64, u64),
) -> Result<(ReplayReport, O), ReplayError> {
    replay_until(inputs, setup, observer, on_progress, &AtomicBool::new(false))
}

/// As [`replay`], and ends as if the inputs did once `stop` is set.
///
/// # Errors
/// As [`replay`].
pub fn replay_until<O: Observer + Send + 'static>(
    inputs: Inputs,
    setup: &ReplaySetup,
    observer: O,
    on_progress: impl FnMut(u64, u64),
    stop: &AtomicBool,
) -> Result<(ReplayReport, O), ReplayError> {
    let (report, fold) = replay_folds(inputs, setup, observer, on_progress, stop)?;
    Ok((report, fold.into_observer()))
}

/// As [`replay_until`], and gives the symbols as the last input left them.
pub(crate) fn replay_folds<O: Observer + Send + 'static>(
    mut inputs: Inputs,
    setup: &ReplaySetup,
    observer: O,
    mut on_progress: impl FnMut(u64, u64),
    stop: &AtomicBool,
) -> Result<(ReplayReport, Fold<O>), ReplayError> {
    let epoch = match &inputs {
        Inputs::Recording(_) => 0,
        Inputs::Log(log) => log.header().epoch,
    };
    let folds = private_folds(&setup.symbols, epoch, setup.hash)?;
    let mut fold = Fold::new(folds, None, observer);
    if let Inputs::Log(log) = &inputs {
        match log.start() {
            LogStart::Initial => {}
            LogStart::Taken(checkpoint) | LogStart::Resumed(checkpoint) => fold
                .restore(checkpoint)
                .map_err(|_| ReplayError::OtherSettings { path: log.path().to_owned() })?,
            LogStart::Missing => {
                return Err(ReplayError::NoCheckpoint { path: log.path().to_owned() });
            }
        }
    }
    let stages = Runner::new(setup, fold);
    let names: Vec<Symbol> = setup.symbols.iter().map(|symbol| symbol.instrument.symbol).collect();
    let start = match &inputs {
        Inputs::Recording(_) => LogStart::Initial,
        Inputs::Log(log) => log.start().clone(),
    };
    if setup.is_own_process {
        memory::prefer_huge_pages();
    }
    let mut feed = Feed { stages, setup, names: &names, start, log: None, inputs: 0, span: None };
    match &mut inputs {
        Inputs::Recording(recording) => {
            let mut sequencer = Sequencer::default();
            let paths: Vec<PathBuf> = recording.paths().map(Path::to_owned).collect();
            while !stop.load(Ordering::Relaxed)
                && let Some(line) = recording.next()?
            {
                let (ts_recv, path) = (line.ts_recv, &paths[line.file]);
                let symbol = feed.symbol_of(line.symbol, path)?;
                if let Some(input) = sequencer.break_before(ts_recv) {
                    feed.input(&input)?;
                }
                let stamp = sequencer.stamp(ts_recv, Nanos::UNDEF);
                feed.input(&Input { stamp, ..line.input(stamp.input_seq, symbol) })?;
                if stamp.input_seq % PROGRESS_INPUTS == 0 {
                    let (done, all) = recording.progress();
                    on_progress(done, all);
                }
            }
        }
        Inputs::Log(log) => {
            while !stop.load(Ordering::Relaxed)
                && let Some(input) = log.next()?
            {
                let input_seq = input.stamp.input_seq;
                feed.input(&input)?;
                if input_seq % PROGRESS_INPUTS == 0 {
                    let (done, all) = log.progress();
                    on_progress(done, all);
                }
            }
        }
    }
    let torn = match &inputs {
        Inputs::Recording(_) => Vec::new(),
        Inputs::Log(log) => log.torn().to_vec(),
    };
    let log = feed.log.map(LogFile::finish).transpose()?;
    let finished = feed.stages.finish();
    let report = ReplayReport {
        symbols: finished.fold.summary(),
        inputs: feed.inputs,
        span: feed.span,
        decoded: finished.decoded,
        log,
        torn,
    };
    Ok((report, finished.fold))
}

/// The stages, however they are joined.
enum Runner<O> {
    OfRun(Stages<O>),
    BySymbol(BySymbol<O>),
}

impl<O: Observer + Send + 'static> Runner<O> {
    fn new(setup: &ReplaySetup, fold: Fold<O>) -> Self {
        let instruments: Vec<Instrument> =
            setup.symbols.iter().map(|symbol| symbol.instrument.clone()).collect();
        let (layout, fold) = match setup.layout {
            ReplayLayout::OfRun(layout) => (layout, fold),
            ReplayLayout::BySymbol => match fold.apart(cores::available().len()) {
                Ok(folds) => {
                    return Self::BySymbol(BySymbol::start(&instruments, folds, LANE_BYTES));
                }
                Err(fold) => (Layout::Fused, fold),
            },
        };
        Self::OfRun(Stages::new(layout, &setup.staged, Decoder::new(instruments), fold, None))
    }

    fn try_input(&mut self, input: &Input<'_>) -> Result<(), Full> {
        match self {
            Self::OfRun(stages) => {
                let taken = stages.try_input(input, |_| {});
                if taken.is_err() {
                    // Nobody answers in a replay: what the stages ask for is dropped.
                    stages.take_notices(|_| {}, |_, _| {});
                }
                taken
            }
            Self::BySymbol(lanes) => lanes.try_input(input),
        }
    }

    /// How to wait for room.
    fn idle(&self) -> Idle {
        match self {
            Self::OfRun(_) => Idle::Yield,
            // Much is waiting to be folded, on a core that may be this one.
            Self::BySymbol(_) => Idle::Park,
        }
    }

    fn is_broken(&self) -> bool {
        match self {
            Self::OfRun(stages) => stages.is_broken(),
            Self::BySymbol(lanes) => lanes.is_broken(),
        }
    }

    fn finish(self) -> Finished<O> {
        match self {
            Self::OfRun(stages) => stages.finish(),
            Self::BySymbol(lanes) => lanes.finish(),
        }
    }
}

/// Where inputs go: the stages, and the log.
struct Feed<'a, O> {
    stages: Runner<O>,
    setup: &'a ReplaySetup,
    names: &'a [Symbol],
    /// What the log that is written begins with.
    start: LogStart,
    log: Option<LogFile>,
    inputs: u64,
    span: Option<(Nanos, Nanos)>,
}

impl<O: Observer + Send + 'static> Feed<'_, O> {
    fn symbol_of(&self, symbol: Option<&str>, path: &Path) -> Result<SymbolIndex, ReplayError> {
        let Some(symbol) = symbol else { return Ok(SymbolIndex::NONE) };
        let found = self.names.iter().position(|name| name.as_str().eq_ignore_ascii_case(symbol));
        let index = found.and_then(|at| u16::try_from(at).ok()).ok_or_else(|| {
            ReplayError::UnknownSymbol {
                path: path.to_owned(),
                symbol: symbol.to_ascii_uppercase(),
            }
        })?;
        Ok(SymbolIndex(index))
    }

    fn input(&mut self, input: &Input<'_>) -> Result<(), ReplayError> {
        let ts_recv = input.stamp.ts_recv;
        self.span = Some((self.span.map_or(ts_recv, |(first, _)| first), ts_recv));
        self.inputs += 1;
        if let Some(dir) = &self.setup.log_dir {
            if self.log.is_none() {
                let header = LogHeader {
                    epoch: 0,
                    first_input_seq: input.stamp.input_seq,
                    ts_start: ts_recv,
                    config_digest: settings_digest(&self.setup.settings),
                    config: self.setup.settings.clone(),
                    venue_digest: 0,
                    symbols: self.names.to_vec(),
                };
                self.log = Some(LogFile::create(dir, &header, &self.start)?);
            }
            if let Some(log) = &mut self.log {
                log.append(input)?;
            }
        }
        let mut waiter = Waiter::new(self.stages.idle());
        while let Err(Full) = self.stages.try_input(input) {
            if self.stages.is_broken() {
                return Err(ReplayError::Broken);
            }
            waiter.wait();
        }
        Ok(())
    }
}
