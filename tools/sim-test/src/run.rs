//! One run of the engine in virtual time, from the first connection to the comparison of all windows.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cobring_frame::{CANDLE_HOLE, CandleRow};
use cobring_market::MarketCounters;
use cobring_pipeline::FrameDigest;
use cobring_pipeline::config::Config;
use cobring_pipeline::fold::{Fold, Observer, SymbolFold};
use cobring_pipeline::idle::Idle;
use cobring_pipeline::ingest::{Ingest, IngestCounters, Parts, World};
use cobring_pipeline::replay::private_folds;
use cobring_pipeline::stages::{Fused, Layout, StagedSetup, Stages};
use cobring_sim::{Bar, Interval, KlineQuery, SimConfig, SimStats, Source, VirtualExchange};
use cobring_types::{Instrument, Nanos, SymbolIndex};
use cobring_venue::binance::Decoder;

use crate::canary::{Canary, CanaryKind};
use crate::checks::Checks;
use crate::host::VirtualHost;
use crate::kept::{Keeper, KeptInput};
use crate::models::VirtualModels;
use crate::network::{Network, Setup};
use crate::plan::{HostFault, Plan};
use crate::random::Random;
use crate::truth::{SymbolTruth, Truth, Violation};

/// After the last fault all must be well again within this. Answers of 403, 418 and 5xx are so many requests, not a time:
/// several such faults together, with a pause of up to a minute behind each answer, take a quarter of an hour.
const RECOVERY: Nanos = Nanos(900 * Nanos::SECOND.0);
/// Klines of the past that the simulated exchange has.
const LISTED_DAYS: u32 = 2;

/// What a run found.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed that all followed from.
    pub seed: u64,
    /// Simulated time, ns.
    pub simulated_ns: i64,
    /// Inputs of all lives of the engine.
    pub inputs: u64,
    /// Frames compared, whole books, and bars.
    pub frames: u64,
    /// Whole books compared.
    pub books: u64,
    /// Closed bars compared.
    pub bars: u64,
    /// Times that each fault happened.
    pub faults: BTreeMap<String, u64>,
    /// Highest request weight in use that the venue told of.
    pub used_weight_max: u32,
    /// What the exchange counted.
    pub exchange: SimStats,
    /// What ingest counted in its last life.
    pub ingest: IngestCounters,
    /// What each symbol counted in its last life, in order of names.
    pub market: Vec<MarketCounters>,
    /// Depth events and trades of each symbol that the venue had.
    pub events: Vec<(u64, u64)>,
    /// The frames' hash in the last life, of each symbol.
    pub digests: Vec<FrameDigest>,
    /// What did not hold.
    pub violation: Option<Violation>,
}

/// What is looked at beside the checks: a scenario's own observer.
pub(crate) trait Watcher: Observer + Send + 'static {
    fn checks(&self) -> &Checks;
}

impl Watcher for Checks {
    fn checks(&self) -> &Checks {
        self
    }
}

fn lock(truth: &Mutex<Truth>) -> MutexGuard<'_, Truth> {
    truth.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a plan to its end, or to the first thing that does not hold.
pub(crate) fn run(plan: Plan, canary: Option<CanaryKind>) -> Report {
    run_watched(plan, canary, |checks| checks).0
}

/// The same, looked at by somebody around the checks.
pub(crate) fn run_watched<W: Watcher>(
    plan: Plan,
    canary: Option<CanaryKind>,
    watch: impl Fn(Checks) -> W,
) -> (Report, Vec<W>) {
    let config = Config::parse(&plan.config, "the simulation's configuration")
        .unwrap_or_else(|error| panic!("the plan's configuration is refused: {error}"));
    let sim = SimConfig {
        listed_days: LISTED_DAYS,
        ..SimConfig::new(Source::Synthetic(plan.market.clone()))
    };
    let exchange = VirtualExchange::new(&sim)
        .unwrap_or_else(|error| panic!("the plan's market is refused: {error}"));
    let stop = Arc::new(AtomicBool::new(false));
    let truth = Arc::new(Mutex::new(truth_of(&config, &plan, &exchange, &stop)));
    let crashes = plan.faults.iter().filter_map(|(_, planned)| match planned {
        crate::plan::Planned::Host(HostFault::Crash { unsynced, is_warm }) => {
            Some((*unsynced, *is_warm))
        }
        _ => None,
    });
    let mut crashes: Vec<_> = crashes.collect();
    crashes.reverse();
    let keeps_inputs = plan.is_replayed || !crashes.is_empty();
    let network = Rc::new(RefCell::new(Network::new(Setup {
        exchange,
        config: &config,
        truth: Arc::clone(&truth),
        plan: plan.faults.clone(),
        canary: Canary::new(canary, &mut Random::of(plan.seed, 2)),
        latency: plan.latency,
        skew: plan.skew,
        slew_ppb: plan.slew_ppb,
        end_ns: plan.end_ns,
        limit_ns: plan.end_ns + RECOVERY.0,
        random: Random::of(plan.seed, 3),
        stop: Arc::clone(&stop),
    })));
    let mut lives = Vec::new();
    let mut inputs = 0;
    let mut left: Option<Vec<SymbolFold>> = None;
    let (last, ingest) = loop {
        let epoch = u64::try_from(lives.len()).unwrap_or(0) + 1;
        let checks = watch(Checks::new(Arc::clone(&truth), &plan));
        let fold = fold(&config, plan.is_hashed, epoch, left.as_deref(), checks);
        let models = VirtualModels::new(with_models(&config), plan.seed, epoch, Arc::clone(&truth));
        let life = live(&config, fold, &network, models, &truth, keeps_inputs, &stop);
        inputs += life.ingest.inputs;
        let has_crashed = network.borrow().crashed && lock(&truth).violation.is_none();
        if plan.is_replayed && lock(&truth).violation.is_none() {
            check_replay(&config, epoch, left.as_deref(), &life, &truth);
        }
        lives.push(life.watcher);
        if !has_crashed {
            break (life.symbols, life.ingest);
        }
        let (unsynced, is_warm) = crashes.pop().unwrap_or((Nanos(0), false));
        left = is_warm
            .then(|| left_behind(&config, epoch, left.as_deref(), life.kept, unsynced))
            .flatten();
        network.borrow_mut().reboot(&config);
        stop.store(false, Ordering::Relaxed);
    };
    let mut network = network.borrow_mut();
    if lock(&truth).violation.is_none()
        && let Err(violation) = check_windows(&mut network.exchange, &last)
    {
        lock(&truth).violate(violation);
    }
    let truth = lock(&truth);
    let faults = network.exchange.catalogue_counts().iter().map(|(id, count)| (*id, *count));
    let mut faults: BTreeMap<String, u64> =
        faults.chain(network.host_faults.clone()).map(|(id, n)| (id.to_owned(), n)).collect();
    faults.extend(truth.model_faults.iter().map(|(id, count)| ((*id).to_owned(), *count)));
    faults.extend((plan.slew_ppb != 0).then(|| ("clock_slew".to_owned(), 1)));
    faults.insert("clock_skew".to_owned(), 1);
    let of_checks = |count: fn(&Checks) -> u64| lives.iter().map(|w| count(w.checks())).sum();
    let report = Report {
        seed: plan.seed,
        simulated_ns: network.now_ns(),
        inputs,
        frames: of_checks(|checks| checks.frames),
        books: of_checks(|checks| checks.books),
        bars: of_checks(|checks| checks.bars),
        faults,
        used_weight_max: network.used_weight_max,
        exchange: network.exchange.stats(),
        ingest,
        market: last.iter().map(|symbol| symbol.market().counters()).collect(),
        events: truth.symbols.iter().map(|s| (s.depth_events, s.trade_events)).collect(),
        digests: last.iter().filter_map(SymbolFold::digest).collect(),
        violation: truth.violation.clone(),
    };
    drop(truth);
    (report, lives)
}

fn truth_of(
    config: &Config,
    plan: &Plan,
    exchange: &VirtualExchange,
    stop: &Arc<AtomicBool>,
) -> Truth {
    let symbols = plan.market.symbols.iter().zip(&config.symbols).map(|(listed, symbol)| {
        let name = &listed.spec.name;
        assert_eq!(*name, symbol.instrument.symbol.to_string(), "symbols stand in order of names");
        let book = exchange.book(name).unwrap_or_else(|| panic!("{name} has no book"));
        SymbolTruth::new(name, book, listed.spec.tick, symbol.bucket_ticks)
    });
    Truth::new(symbols.collect(), Arc::clone(stop))
}

fn fold<O: Observer>(
    config: &Config,
    is_hashed: bool,
    epoch: u64,
    left: Option<&[SymbolFold]>,
    observer: O,
) -> Fold<O> {
    let folds = private_folds(&config.symbols, epoch, is_hashed)
        .unwrap_or_else(|error| panic!("no memory for the windows: {error}"));
    let mut fold = Fold::new(folds, None, observer);
    if let Some(left) = left {
        fold.resume(left).unwrap_or_else(|error| panic!("what was left is refused: {error}"));
    }
    fold
}

/// One process of the engine, from start to stop or crash.
struct Life<W> {
    symbols: Vec<SymbolFold>,
    watcher: W,
    ingest: IngestCounters,
    kept: Vec<KeptInput>,
}

fn live<W: Watcher>(
    config: &Config,
    fold: Fold<W>,
    network: &Rc<RefCell<Network>>,
    models: VirtualModels,
    truth: &Arc<Mutex<Truth>>,
    keeps_inputs: bool,
    stop: &Arc<AtomicBool>,
) -> Life<W> {
    let epoch = models.epoch();
    // Only the fused layout runs on one thread.
    let unused =
        StagedSetup { raw_ring_bytes: 0, event_ring_bytes: 0, idle: Idle::Yield, cores: [None; 2] };
    let stages = Stages::new(Layout::Fused, &unused, Decoder::new(instruments(config)), fold, None);
    let kept = keeps_inputs.then(Vec::new);
    let world = World {
        time: network.borrow().time.clone(),
        log: Some(Keeper { kept, truth: Arc::clone(truth) }),
        outside: VirtualHost { network: Rc::clone(network), models },
    };
    let ingest = Ingest::new(Parts::configured(config, world, stages, epoch, Arc::clone(stop)));
    let ended = ingest
        .run(|_| Ok::<(), io::Error>(()))
        .unwrap_or_else(|error| panic!("a virtual wait cannot fail: {error}"));
    let (symbols, watcher) = ended.finished.fold.into_parts();
    let kept = ended.log.and_then(|log| log.kept).unwrap_or_default();
    Life { symbols, watcher, ingest: ended.counters, kept }
}

/// The symbols that a model answers.
fn with_models(config: &Config) -> impl Iterator<Item = SymbolIndex> {
    let symbols = (0..).map(SymbolIndex).zip(&config.symbols);
    symbols.filter(|(_, symbol)| !symbol.models.is_empty()).map(|(index, _)| index)
}

fn instruments(config: &Config) -> Vec<Instrument> {
    config.symbols.iter().map(|symbol| symbol.instrument.clone()).collect()
}

/// The inputs once more, from the beginning.
fn refold<'a>(
    config: &Config,
    epoch: u64,
    left: Option<&[SymbolFold]>,
    inputs: impl Iterator<Item = &'a KeptInput>,
) -> Vec<SymbolFold> {
    let mut stages =
        Fused::new(Decoder::new(instruments(config)), fold(config, true, epoch, left, ()), None);
    for input in inputs {
        let _told_to_ingest_then = stages.on_input(&input.as_input());
    }
    stages.into_fold().into_parts().0
}

/// The log of a run gives the frames of the run.
fn check_replay<W>(
    config: &Config,
    epoch: u64,
    left: Option<&[SymbolFold]>,
    life: &Life<W>,
    truth: &Mutex<Truth>,
) {
    let again = refold(config, epoch, left, life.kept.iter());
    for (first, second) in life.symbols.iter().zip(&again) {
        let (found, wanted) = (second.digest(), first.digest());
        if found != wanted {
            let symbol = first.market().config().instrument.symbol.to_string();
            let what = format!("the replay's hash is {found:?}, the run's {wanted:?}");
            let at = life.kept.last().map_or(0, |input| input.stamp.ts_recv.0);
            lock(truth).violate(Violation { symbol, at, seq: first.frames(), what });
        }
    }
}

/// What the log of a crashed process holds, folded as the next one does; `None` where it may not be gone on from.
fn left_behind(
    config: &Config,
    epoch: u64,
    left: Option<&[SymbolFold]>,
    mut kept: Vec<KeptInput>,
    unsynced: Nanos,
) -> Option<Vec<SymbolFold>> {
    // The last one is the stop, which a crash does not log.
    kept.pop();
    let end = kept.last()?.stamp.ts_recv;
    kept.retain(|input| input.stamp.ts_recv.0 <= end.0 - unsynced.0);
    let symbols = refold(config, epoch, left, kept.iter());
    symbols.iter().all(|symbol| symbol.market().is_resumable()).then_some(symbols)
}

/// At the end all closed bars are the venue's.
fn check_windows(exchange: &mut VirtualExchange, symbols: &[SymbolFold]) -> Result<(), Violation> {
    let intervals = [Interval::Second1, Interval::Minute1, Interval::Hour1, Interval::Day1];
    for symbol in symbols {
        let name = symbol.market().config().instrument.symbol.to_string();
        let head = symbol.market().image().head();
        for (window, interval) in symbol.market().windows().candles.iter().zip(intervals) {
            let rows = window.oldest()..window.done();
            let rows: Vec<CandleRow> = rows.filter_map(|row| window.get(row)).collect();
            let (Some(first), Some(last)) = (rows.first(), rows.last()) else { continue };
            let ms = |ns: i64| ns.div_euclid(1_000_000);
            let query = KlineQuery {
                start_ms: Some(ms(first.open_time)),
                end_ms: Some(ms(last.open_time)),
                limit: rows.len() + 1,
            };
            let bars = exchange.klines(&name, interval, &query).unwrap_or_default();
            let bars: BTreeMap<i64, Bar> = bars.into_iter().map(|bar| (bar.open_ms, bar)).collect();
            for row in &rows {
                let found = check_row(row, bars.get(&ms(row.open_time)));
                found.map_err(|what| Violation {
                    symbol: name.clone(),
                    at: head.times.ts_recv,
                    seq: head.identity.seq,
                    what: format!(
                        "at the end, {} bar of {}: {what}",
                        interval.name(),
                        row.open_time
                    ),
                })?;
            }
        }
    }
    Ok(())
}

fn check_row(row: &CandleRow, bar: Option<&Bar>) -> Result<(), String> {
    if row.flags & CANDLE_HOLE != 0 {
        return Err("a hole".to_owned());
    }
    let Some(bar) = bar else {
        let is_flat = row.trade_count == 0;
        return if is_flat { Ok(()) } else { Err("trades, where the venue has none".to_owned()) };
    };
    let number = |text: &str| text.parse::<f64>().unwrap_or(f64::NAN);
    let found = [row.open, row.high, row.low, row.close, row.volume, row.taker_buy_volume];
    let px = [bar.open, bar.high, bar.low, bar.close].map(|px| number(&px.to_string()));
    let wanted = [px[0], px[1], px[2], px[3], number(&bar.volume), number(&bar.taker_buy_volume)];
    let quote = number(&bar.quote_volume);
    let is_same = found.map(f64::to_bits) == wanted.map(f64::to_bits)
        && row.trade_count == bar.trade_count
        && (row.quote_volume - quote).abs() <= 1e-7 + 1e-12 * quote;
    if is_same { Ok(()) } else { Err(format!("{row:?}, wanted {bar:?}")) }
}
