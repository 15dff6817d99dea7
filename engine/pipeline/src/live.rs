//! A live run: shared memory, log, helpers, stages and ingest, from start to clean stop.

use std::io;
use std::panic;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use cobring_frame::{EngineDir, FrameError, Retire, Segment};
use cobring_market::RestoreError;
use cobring_types::{Nanos, Symbol, SymbolIndex};
use cobring_venue::binance::{self, Decoder};
use mio::{Poll, Waker};

use crate::bounds_file::{BoundsFile, BoundsFileError};
use crate::checkpoints::Checkpoints;
use crate::clock::EngineClock;
use crate::config::Config;
use crate::cores;
use crate::counters::Counters;
use crate::fold::{Fold, Observer, SymbolFold, SymbolSummary};
use crate::ingest::{Ended, Host, Ingest, IngestCounters, Parts, WAKE_TOKEN, World};
use crate::log::{
    CheckpointSender, LogConfig, LogError, LogHeader, LogProducer, LogReport, LogStart, LogWriter,
};
use crate::memory;
use crate::models::{ModelReport, Models};
use crate::net::{
    ConnectionConfig, Connector, ConnectorConfig, NetCounters, NetError, RestConfig, RestHelper,
    WeightConfig, tls_config,
};
use crate::replay::{segment_spec, settings_digest};
use crate::stages::{Layout, ParseMeter, StagedSetup, Stages};
use crate::warm_start::{self, Left};

/// Why a run could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Shared memory.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The input log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// TLS.
    #[error(transparent)]
    Net(#[from] NetError),
    /// A state that is not what its checks said.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// A file of bounds.
    #[error("{0}; run `cobring import-klines` again or remove the file")]
    Bounds(#[from] BoundsFileError),
    /// The system.
    #[error("the system refused: {0}")]
    System(#[from] io::Error),
    /// The venue's tick size is another.
    #[error(
        "the venue's tick size of {symbol} is {found}, configured is {wanted}: set symbols.{symbol}.tick_size = \"{found}\""
    )]
    TickSize {
        /// The symbol.
        symbol: String,
        /// The venue's.
        found: String,
        /// The configured one.
        wanted: String,
    },
    /// A core that does not exist.
    #[error("engine.cores names core {found}, but this process may run on {available:?} only")]
    NoSuchCore {
        /// The configured one.
        found: usize,
        /// Those that there are.
        available: Vec<usize>,
    },
    /// Memory that cannot be locked.
    #[error(
        "engine.lock_memory = true, but the system refused mlockall ({0}): raise RLIMIT_MEMLOCK or set it to false"
    )]
    LockMemory(io::Error),
    /// A stage ended by itself.
    #[error("a stage of the pipeline ended by itself; its message is above")]
    Broken,
}

/// What a run did.
#[derive(Debug)]
pub struct RunReport {
    /// Start of the engine.
    pub epoch: u64,
    /// Each symbol, in order of names.
    pub symbols: Vec<SymbolSummary>,
    /// What ingest counted.
    pub ingest: IngestCounters,
    /// What became of each model's outputs.
    pub models: Vec<ModelReport>,
    /// What sockets and REST counted.
    pub net: Arc<NetCounters>,
    /// What the decoder passed over or refused.
    pub decoded: cobring_venue::DecodeCounters,
    /// How the log ended, where one was written.
    pub log: Option<LogReport>,
}

/// What is told once everything is set up.
#[derive(Debug)]
pub struct Started {
    /// Start of the engine.
    pub epoch: u64,
    /// Where readers find the segments.
    pub shared_memory_dir: PathBuf,
    /// How the stages are joined.
    pub layout: Layout,
    /// Size of all segments.
    pub segment_bytes: usize,
    /// What the run goes on from.
    pub resumed: Option<Resumed>,
}

/// What of the run before a run goes on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resumed {
    /// Stamp of its last input.
    pub ts_end: Nanos,
    /// Inputs behind its last checkpoint, folded anew.
    pub inputs: u64,
}

/// Runs the engine until `stop` is set; `observer` looks on.
///
/// # Errors
/// [`RunError`]; the segments are retired and the log is closed all the same.
///
/// # Panics
/// Where a stage or the observer panicked: the segments are retired first.
pub fn run<O: Observer + Send + 'static>(
    config: &Config,
    stop: Arc<AtomicBool>,
    observer: O,
    started: impl FnOnce(&Started),
) -> Result<RunReport, RunError> {
    check_cores(config)?;
    let clock = EngineClock::start();
    let symbols = config.symbol_configs();
    let names: Vec<Symbol> = symbols.iter().map(|symbol| symbol.instrument.symbol).collect();
    let dir = EngineDir::lock(&config.engine.shared_memory_dir)?;
    let mut poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKE_TOKEN)?);
    let net = Arc::new(NetCounters::default());
    let helpers_stop = Arc::new(AtomicBool::new(false));
    let tls = tls_config(config.binance.ca_file.as_deref())?;
    let connector = Connector::start(
        connector_config(config),
        Arc::clone(&tls),
        Arc::clone(&net),
        Arc::clone(&waker),
        Arc::clone(&helpers_stop),
    )?;
    let mut rest = RestHelper::start(
        rest_config(config),
        tls,
        Arc::new(move || clock.now()),
        Arc::clone(&net),
        waker,
        helpers_stop,
    )?;

    // Before the segments: readers stay with those of the run before until there is something better.
    let left = warm_start::read_left(config, &symbols, clock.now(), &stop).and_then(|left| {
        let asked = (&mut rest, &mut poll);
        warm_start::check_venue(&left, config, asked, &clock, &stop).map(|()| left)
    });
    let epoch = next_epoch(&dir, &names, clock.now());
    let layout =
        config.engine.layout.unwrap_or_else(|| cores::auto_layout(config.engine.cores.len()));
    let core = |stage: usize| config.engine.cores.get(stage).copied();
    let fold_core = match layout {
        Layout::Fused => core(0),
        Layout::Staged => core(2),
    };
    let (mut folds, models, segment_bytes) =
        cores::on_core(fold_core, || open_segments(&dir, config, epoch, &clock))?;
    let rows = Counters::create(&dir, epoch, &names, models.names())?;
    for (fold, row) in folds.iter_mut().zip(rows.symbols) {
        fold.count_in(row);
    }
    retire_on_panic(folds.iter().map(SymbolFold::retire_handle).collect());
    let observer =
        cores::on_core(fold_core, || Checkpoints::new(&folds, config.log.enabled, observer));
    let mut fold = Fold::new(folds, Some(clock), observer);
    let (resumed, start) = match left {
        Ok(left) => {
            cores::on_core(fold_core, || fold.resume(&left.symbols))?;
            let checkpoint = fold.checkpoint();
            let Left { ts_end, inputs, .. } = left;
            (Some(Resumed { ts_end, inputs }), LogStart::Resumed(checkpoint))
        }
        Err(reason) => {
            if reason.is_loss() {
                tracing::warn!("begins without what the run before left: {reason}");
            }
            (None, LogStart::Initial)
        }
    };
    let (log_writer, log_producer) = match start_log(config, &names, epoch, clock, &start)? {
        Some((writer, producer, checkpoints)) => {
            fold.observer_mut().begin(checkpoints)?;
            (Some(writer), Some(producer))
        }
        None => (None, None),
    };
    drop(start);

    let idle =
        config.engine.idle.unwrap_or_else(|| cores::auto_idle(layout, config.engine.cores.len()));
    let staged = StagedSetup {
        raw_ring_bytes: config.engine.raw_ring_bytes,
        event_ring_bytes: config.engine.event_ring_bytes,
        idle,
        cores: [core(1), core(2)],
    };
    let instruments: Vec<_> = symbols.iter().map(|symbol| symbol.instrument.clone()).collect();
    let decoder = Decoder::new(instruments.clone()).warmed();
    let meter = ParseMeter::new(clock, rows.decode);
    let stages = Stages::new(layout, &staged, decoder, fold, Some(meter));
    cores::on_core(fold_core, memory::warm);
    if config.engine.lock_memory {
        rustix::mm::mlockall(
            rustix::mm::MlockAllFlags::CURRENT | rustix::mm::MlockAllFlags::FUTURE,
        )
        .map_err(|errno| RunError::LockMemory(errno.into()))?;
    }
    let shared_memory_dir = dir.path().to_owned();
    started(&Started { epoch, shared_memory_dir, layout, segment_bytes, resumed });
    cores::pin(core(0));
    let ingest = Ingest::new(Parts {
        bounds: read_bounds(config)?,
        idle,
        ..Parts::configured(
            config,
            World {
                outside: Host::new(poll, connector, rest, models, Arc::clone(&net), rows.ingest)?,
                time: clock,
                log: log_producer,
            },
            stages,
            epoch,
            stop,
        )
    });
    let Ended { finished, counters, models, log, .. } = ingest.run(|exchange_info| {
        if config.binance.verify_tick_size {
            check_tick_sizes(exchange_info, &instruments)
        } else {
            Ok(())
        }
    })?;
    drop(log);
    let log = log_writer.map(LogWriter::finish);
    if !finished.fold.is_stopped() {
        return Err(RunError::Broken);
    }
    Ok(RunReport {
        epoch,
        symbols: finished.fold.summary(),
        ingest: counters,
        models,
        net,
        decoded: finished.decoded,
        log,
    })
}

/// The log of the run, where one is written.
fn start_log(
    config: &Config,
    names: &[Symbol],
    epoch: u64,
    clock: EngineClock,
    start: &LogStart,
) -> Result<Option<(LogWriter, LogProducer, CheckpointSender)>, LogError> {
    if !config.log.enabled {
        return Ok(None);
    }
    let settings = config.fold_digest_text();
    let header = LogHeader {
        epoch,
        first_input_seq: 0,
        ts_start: clock.now(),
        config_digest: settings_digest(&settings),
        config: settings,
        venue_digest: config.venue_digest(),
        symbols: names.to_vec(),
    };
    let log_config = LogConfig {
        ring_capacity_bytes: config.log.ring_bytes,
        sync_interval: config.log.sync_interval,
        rotate_bytes: config.log.rotate_bytes,
        rotate_interval: config.log.rotate_interval,
        compress: config.log.compress,
        keep: config.log.keep,
        keep_bytes: config.log.keep_bytes,
        ..LogConfig::new(&config.log.dir)
    };
    LogWriter::start(log_config, header, start, move || clock.now()).map(Some)
}

fn check_cores(config: &Config) -> Result<(), RunError> {
    let available = cores::available();
    match config.engine.cores.iter().find(|core| !available.contains(core)) {
        Some(&found) => Err(RunError::NoSuchCore { found, available }),
        None => Ok(()),
    }
}

/// One more than any engine of this directory had before, and at least the time.
fn next_epoch(dir: &EngineDir, names: &[Symbol], now: Nanos) -> u64 {
    let previous = names.iter().filter_map(|name| dir.last_epoch(name.as_str())).max();
    previous.map_or(0, |epoch| epoch + 1).max(now.0.unsigned_abs())
}

fn open_segments(
    dir: &EngineDir,
    config: &Config,
    epoch: u64,
    clock: &EngineClock,
) -> Result<(Vec<SymbolFold>, Models, usize), RunError> {
    let symbols = &config.symbols;
    let frame_slots = config.frame_slots();
    let layouts: Vec<_> =
        symbols.iter().map(|symbol| segment_spec(symbol, frame_slots, epoch)).collect();
    let specs: Vec<_> = layouts.iter().map(|(spec, _)| spec.clone()).collect();
    dir.check_space(&specs)?;
    let mut folds = Vec::with_capacity(symbols.len());
    let mut models = Models::default();
    for (index, (symbol, (spec, schema))) in (0..).map(SymbolIndex).zip(symbols.iter().zip(layouts))
    {
        let mut segment = Segment::create(dir, &spec)?;
        segment.ring.set_mono_minus_ts(EngineClock::monotonic_ns() - clock.now().0);
        segment.touch();
        let name = &symbol.instrument.symbol;
        models.add(dir, index, name, &config.models, &segment)?;
        folds.push(SymbolFold::new(
            symbol.clone(),
            epoch,
            schema.id(),
            segment,
            config.engine.frame_hash,
        ));
    }
    Ok((folds, models, specs.iter().map(cobring_frame::SegmentSpec::size_bytes).sum()))
}

/// A panic anywhere tells readers before the process is gone.
fn retire_on_panic(segments: Vec<Retire>) {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        for segment in &segments {
            segment.retire();
        }
        report(info);
    }));
}

/// The files of `cobring import-klines`, each good for its symbol.
fn read_bounds(config: &Config) -> Result<Vec<(SymbolIndex, Vec<u8>)>, BoundsFileError> {
    let mut files = Vec::new();
    for (index, symbol) in (0..).map(SymbolIndex).zip(&config.symbols) {
        let name = symbol.instrument.symbol.as_str();
        if let Some(bytes) = BoundsFile::read(&config.bounds.dir, name)? {
            let path = BoundsFile::path(&config.bounds.dir, name);
            BoundsFile::decode(&bytes, &symbol.instrument, &path.display().to_string())?;
            files.push((index, bytes));
        }
    }
    Ok(files)
}

fn connector_config(config: &Config) -> ConnectorConfig {
    ConnectorConfig {
        deadline: config.binance.connect_timeout,
        connection: ConnectionConfig {
            outgoing_max: config.binance.outgoing_messages_per_s,
            ..ConnectionConfig::default()
        },
        ..ConnectorConfig::default()
    }
}

/// The REST limits of a configuration, with the venue's header.
#[must_use]
pub fn rest_config(config: &Config) -> RestConfig {
    RestConfig {
        deadline: config.binance.request_timeout,
        used_weight_header: binance::USED_WEIGHT_HEADER.to_owned(),
        weight: WeightConfig {
            limit_per_minute: config.binance.weight_budget(),
            headroom_percent: 0,
            ..WeightConfig::default()
        },
        ..RestConfig::default()
    }
}

fn check_tick_sizes(
    exchange_info: &[u8],
    instruments: &[cobring_types::Instrument],
) -> Result<(), RunError> {
    for instrument in instruments {
        let Some(found) = binance::tick_size_in_exchange_info(exchange_info, &instrument.symbol)
        else {
            continue;
        };
        let same = cobring_types::Instrument::new(
            instrument.symbol.as_str(),
            &found,
            instrument.qty_decimals,
        )
        .is_ok_and(|venue| venue.tick_size() == instrument.tick_size());
        if !same {
            return Err(RunError::TickSize {
                symbol: instrument.symbol.to_string(),
                found,
                wanted: instrument.tick_size(),
            });
        }
    }
    Ok(())
}
