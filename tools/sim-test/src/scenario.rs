//! Long runs with one question each.

use std::collections::VecDeque;
use std::fmt;

use cobring_frame::{BOOK_STATES, TICK_TRADE, TRIGGERS};
use cobring_market::MarketCounters;
use cobring_pipeline::fold::{FoldState, Observer, SymbolFold};
use cobring_sim::{Burst, Fault, Fixed, Pace, SyntheticConfig, SyntheticSymbol};
use cobring_types::Nanos;

use crate::checks::Checks;
use crate::network::Latency;
use crate::plan::{ADDRESSES, BEHIND_MAX, Plan, Planned, SYMBOL_TABLES, SYMBOLS};
use crate::run::{Report, Watcher, run_watched};

/// What a scenario found: figures by name, in order, and what does not hold.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// Names and values.
    pub figures: Vec<(&'static str, f64)>,
    /// In words; none where all holds.
    pub violations: Vec<String>,
    /// Simulated time, ns.
    pub simulated_ns: i64,
    /// Inputs of all its runs.
    pub inputs: u64,
}

impl Findings {
    fn figure(&mut self, name: &'static str, value: impl Into<f64>) {
        self.figures.push((name, value.into()));
    }

    fn count(&mut self, name: &'static str, value: u64) {
        #[expect(clippy::cast_precision_loss, reason = "counts of a run are below 2^53")]
        self.figures.push((name, value as f64));
    }

    fn expect(&mut self, holds: bool, what: impl fmt::Display) {
        if !holds {
            self.violations.push(what.to_string());
        }
    }

    fn add(&mut self, report: &Report) {
        self.simulated_ns += report.simulated_ns;
        self.inputs += report.inputs;
        if let Some(violation) = &report.violation {
            self.violations.push(format!("{violation:?}"));
        }
    }
}

/// A plan without faults.
fn calm(seed: u64, market: SyntheticConfig, config: String, length: Nanos) -> Plan {
    Plan {
        seed,
        market,
        config,
        joins_fills: false,
        latency: Latency { base_ns: 5_000_000, jitter_ns: 3_000_000 },
        skew: Nanos(0),
        slew_ppb: 0,
        faults: VecDeque::new(),
        end_ns: length.0,
        behind_max: BEHIND_MAX,
        is_hashed: false,
        is_replayed: false,
    }
}

fn config(binance: &str, rest: &str) -> String {
    format!(
        "[venue.binance]\n{ADDRESSES}trade_stream = \"trade\"\nverify_tick_size = false\n{binance}\
         [symbol_defaults]\nticks_promised = 20_000\n{rest}"
    )
}

fn two_symbols(seed: u64, pace: Pace) -> SyntheticConfig {
    let symbol = |name| SyntheticSymbol { pace, ..SyntheticSymbol::of(name) };
    SyntheticConfig { symbols: SYMBOLS.map(symbol).to_vec(), ..SyntheticConfig::new(seed, &[]) }
}

/// All that frames say of a run: scores at each timer, applied update ids, trades.
#[derive(Debug)]
struct Trace {
    checks: Checks,
    scores: Vec<(i64, Vec<f64>)>,
    update_ids: Vec<Vec<u64>>,
    trade_ids: Vec<Vec<u64>>,
}

impl Trace {
    fn new(checks: Checks, symbols: usize) -> Self {
        let (update_ids, trade_ids) = (vec![Vec::new(); symbols], vec![Vec::new(); symbols]);
        Self { checks, scores: Vec::new(), update_ids, trade_ids }
    }
}

impl Watcher for Trace {
    fn checks(&self) -> &Checks {
        &self.checks
    }
}

impl Observer for Trace {
    fn after_timer(&mut self, g: Nanos, symbols: &[SymbolFold]) {
        self.checks.after_timer(g, symbols);
        let score = |fold: &SymbolFold| fold.market().image().head().quality.score;
        self.scores.push((g.0, symbols.iter().map(score).collect()));
    }

    fn after_frame(&mut self, at: usize, symbols: &[SymbolFold]) {
        self.checks.after_frame(at, symbols);
        let head = symbols[at].market().image().head();
        match TRIGGERS[usize::from(head.identity.trigger)] {
            "depth" if head.book.update_id != 0 => self.update_ids[at].push(head.book.update_id),
            "trade" => {
                let tick = symbols[at].market().windows().ticks.last();
                let trade = tick.filter(|tick| tick.kind == TICK_TRADE);
                self.trade_ids[at].extend(trade.map(|tick| tick.id));
            }
            _ => {}
        }
    }

    fn at_checkpoint(&mut self, _: u64, _: FoldState<'_>) {}
}

/// So many connections are renewed beside the old ones: nothing is lost or doubled, and no frame is worse than in the
/// same run without a renewal.
#[must_use]
pub fn renewals(seed: u64, count: u32) -> Findings {
    const RENEW_AFTER_S: u32 = 5;
    let mut found = Findings::default();
    // Two links, one renewal of each every five seconds and a moment.
    let rounds = count / 2 + count / 50 + 4;
    let length = Nanos(i64::from(rounds) * i64::from(RENEW_AFTER_S) * Nanos::SECOND.0);
    let trace = |renew_after_s: u32| {
        let binance =
            format!("separate_depth_connection = true\nrenew_after_s = {renew_after_s}\n");
        let pace = Pace { clusters_per_hour: 36_000, ..Pace::VENUE };
        let plan = calm(seed, two_symbols(seed, pace), config(&binance, SYMBOL_TABLES), length);
        run_watched(plan, None, |checks| Trace::new(checks, SYMBOLS.len()))
    };
    let (plain_report, mut plain) = trace(86_400);
    let (report, mut renewed) = trace(RENEW_AFTER_S);
    found.add(&plain_report);
    found.add(&report);
    let (Some(plain), Some(renewed)) = (plain.pop(), renewed.pop()) else { return found };
    found.count("renewals", report.ingest.links_renewed);
    found.count("gaps", report.market.iter().map(|symbol| symbol.gaps).sum());
    found.count("depth_messages", renewed.update_ids.iter().map(|ids| ids.len() as u64).sum());
    found.count("trades", renewed.trade_ids.iter().map(|ids| ids.len() as u64).sum());
    found.expect(
        report.ingest.links_renewed >= u64::from(count),
        format!("{} renewals, wanted {count}", report.ingest.links_renewed),
    );
    found.expect(report.ingest.links_lost == 0, "a connection was lost");
    for (at, symbol) in SYMBOLS.iter().enumerate() {
        let lost = |plain: &[u64], renewed: &[u64]| {
            let shorter = plain.len().min(renewed.len());
            plain[..shorter] != renewed[..shorter] || plain.len().abs_diff(renewed.len()) > 1
        };
        found.expect(
            !lost(&plain.update_ids[at], &renewed.update_ids[at]),
            format!("{symbol}: depth messages were lost or came twice"),
        );
        found.expect(
            !lost(&plain.trade_ids[at], &renewed.trade_ids[at]),
            format!("{symbol}: trades were lost or came twice"),
        );
    }
    let worse = plain.scores.iter().zip(&renewed.scores).find(|((g, plain), (same, renewed))| {
        g != same || plain.iter().zip(renewed).any(|(plain, renewed)| renewed < plain)
    });
    found.count("timers_compared", plain.scores.len() as u64);
    found.expect(worse.is_none(), format!("a frame is worse than without renewal: {worse:?}"));
    found
}

/// So many books are lost, those of 50 symbols all at once each minute: all come back within half of the venue's
/// budget.
#[must_use]
pub fn resyncs(seed: u64, count: u32) -> Findings {
    const SYMBOL_COUNT: u32 = 50;
    let mut found = Findings::default();
    let names: Vec<String> = (0..SYMBOL_COUNT).map(|at| format!("S{at:02}USDT")).collect();
    let pace = Pace { clusters_per_hour: 3_600, ..Pace::VENUE };
    let symbol = |name: &String| SyntheticSymbol {
        pace,
        level_count: 1_200,
        start_px: Fixed(10_000_000_000),
        ..SyntheticSymbol::of(name)
    };
    let market = SyntheticConfig {
        symbols: names.iter().map(symbol).collect(),
        ..SyntheticConfig::new(seed, &[])
    };
    let tables: String = names
        .iter()
        .map(|name| {
            format!(
                "[symbols.{name}]\ntick_size = \"0.01\"\nbucket_size = \"0.05\"\nrange = \"0.2\"\n"
            )
        })
        .collect();
    let rounds = count.div_ceil(SYMBOL_COUNT);
    // A round takes 2,500 of 3,000 a minute, and audits take their share.
    let pause = 90 * Nanos::SECOND.0;
    let length = Nanos(i64::from(rounds + 4) * pause);
    let levels = format!("snapshot_levels = 1_000\n{tables}");
    let mut plan = calm(seed, market, config("", &levels), length);
    for round in 0..rounds {
        // The books and bars of the start take the budget's first minutes.
        let at_ns = i64::from(round + 3) * pause;
        plan.faults.extend(names.iter().map(|name| {
            let stream = format!("{}@depth@100ms", name.to_lowercase());
            (at_ns, Planned::Venue(Fault::Drop { stream, nth: 1, count: 1 }))
        }));
    }
    let (report, _) = run_watched(plan, None, |checks| checks);
    found.add(&report);
    let gaps: u64 = report.market.iter().map(|symbol| symbol.gaps).sum();
    let syncs: u64 = report.market.iter().map(|symbol| symbol.syncs).sum();
    found.count("gaps", gaps);
    found.count("syncs", syncs);
    found.figure("used_weight_max", report.used_weight_max);
    found.count("http_429", report.exchange.rest_429);
    found.count("http_418", report.exchange.rest_418);
    found.expect(gaps >= u64::from(count), format!("{gaps} gaps, wanted {count}"));
    found.expect(syncs >= gaps, format!("{syncs} books synced after {gaps} gaps"));
    found.expect(
        report.used_weight_max <= 3_000,
        format!("weight {} in use, wanted at most half of 6000", report.used_weight_max),
    );
    found.expect(
        report.exchange.rest_429 + report.exchange.rest_418 == 0,
        "the venue refused for too many requests",
    );
    found
}

/// When a book was first said to be stale, and the intervals between its messages before.
#[derive(Debug)]
struct Staleness {
    checks: Checks,
    stalls_at: i64,
    stale_at: Option<i64>,
    intervals: Vec<i64>,
    last_depth: i64,
}

impl Watcher for Staleness {
    fn checks(&self) -> &Checks {
        &self.checks
    }
}

impl Observer for Staleness {
    fn after_timer(&mut self, g: Nanos, symbols: &[SymbolFold]) {
        self.checks.after_timer(g, symbols);
    }

    fn after_frame(&mut self, at: usize, symbols: &[SymbolFold]) {
        self.checks.after_frame(at, symbols);
        let head = symbols[at].market().image().head();
        if at + 1 != SYMBOLS.len() {
            return;
        }
        let now = head.times.ts_recv;
        if TRIGGERS[usize::from(head.identity.trigger)] == "depth" {
            if self.last_depth != 0 && now < self.stalls_at {
                self.intervals.push(now - self.last_depth);
            }
            self.last_depth = now;
        }
        let is_stale = BOOK_STATES[usize::from(head.book.book_state)] == "stale";
        if is_stale && now >= self.stalls_at {
            self.stale_at.get_or_insert(now);
        }
    }

    fn at_checkpoint(&mut self, _: u64, _: FoldState<'_>) {}
}

/// Hours in which hardly anything happens: no connection is taken for dead. Then one stream stalls and is found.
#[must_use]
pub fn quiet(seed: u64, hours: u32) -> Findings {
    let mut found = Findings::default();
    let length = Nanos(i64::from(hours) * 3_600 * Nanos::SECOND.0);
    let market = two_symbols(seed, Pace::QUIET);
    let stalls_at = market.start_ms * 1_000_000 + length.0;
    // The last messages before a check tells of them are a check's interval old.
    let behind_max = Nanos(40 * Nanos::SECOND.0);
    let quiet =
        Plan { behind_max, ..calm(seed, market.clone(), config("", SYMBOL_TABLES), length) };
    let (report, _) = run_watched(quiet, None, |checks| checks);
    found.add(&report);
    let stalls = |of: fn(&MarketCounters) -> u64| report.market.iter().map(of).sum();
    found.count("depth_stalls", stalls(|symbol| symbol.depth_stalls));
    found.count("quote_stalls", stalls(|symbol| symbol.quote_stalls));
    found.count("trade_stalls", stalls(|symbol| symbol.trade_stalls));
    found.count("links_lost", report.ingest.links_lost);
    found.expect(
        report.ingest.streams_stalled + report.ingest.links_lost == 0,
        "a quiet stream was taken for dead",
    );
    let mut stalled = Plan { behind_max, ..calm(seed, market, config("", SYMBOL_TABLES), length) };
    stalled.end_ns += 1_800 * Nanos::SECOND.0;
    let stream = format!("{}@depth@100ms", SYMBOLS[SYMBOLS.len() - 1].to_lowercase());
    // Longer than it may take to be found; the new connection hears nothing either, until it ends.
    let stall = Fault::Stall { stream, for_ms: Some(900_000) };
    stalled.faults.push_back((length.0, Planned::Venue(stall)));
    let (report, mut watchers) = run_watched(stalled, None, |checks| Staleness {
        checks,
        stalls_at,
        stale_at: None,
        intervals: Vec::new(),
        last_depth: 0,
    });
    found.add(&report);
    let Some(mut watcher) = watchers.pop() else { return found };
    watcher.intervals.sort_unstable();
    let at = watcher.intervals.len() * 999 / 1_000;
    let p999 = watcher.intervals.get(at).copied().unwrap_or(0);
    let bound = (5 * p999).max(3 * Nanos::SECOND.0);
    #[expect(clippy::cast_precision_loss, reason = "seconds for people")]
    let seconds = |ns: i64| ns as f64 / 1e9;
    let found_after = watcher.stale_at.map(|at| at - stalls_at);
    found.figure("interval_p99.9_s", seconds(p999));
    found.figure("found_after_s", found_after.map_or(f64::NAN, seconds));
    found.figure("bound_s", seconds(bound));
    found.expect(found_after.is_some_and(|after| after <= bound), "a stalled stream is not found");
    found
}

/// Hours at the recorded mean rate, with ten seconds at three times the recorded peak in each: memory and descriptors
/// stay as they are after the first thirty hours. `measure` gives bytes resident and descriptors open.
#[must_use]
pub fn endurance(
    seed: u64,
    hours: u32,
    measure: impl Fn() -> (u64, u64) + Send + Clone + 'static,
) -> Findings {
    let mut found = Findings::default();
    let length = Nanos(i64::from(hours) * 3_600 * Nanos::SECOND.0);
    let mut market = two_symbols(seed, Pace::VENUE);
    market.burst = Some(Burst { every_s: 3_600, for_s: 10, factor: 40 });
    let plan = calm(seed, market, config("", SYMBOL_TABLES), length);
    let (report, mut watchers) = run_watched(plan, None, move |checks| Endurance {
        checks,
        measure: measure.clone(),
        hourly: Vec::new(),
        frames_a_second: 0,
        frames_a_second_max: 0,
    });
    found.add(&report);
    let Some(watcher) = watchers.pop() else { return found };
    found.count("frames_a_second_max", watcher.frames_a_second_max);
    // The engine's windows of hours are full by then, and the exchange, which is in the same process, forgets bars of
    // seconds beyond 100,000: 28 hours of two symbols, 45 MB.
    const WARM_HOURS: usize = 30;
    let (Some(first), Some(last)) = (watcher.hourly.get(WARM_HOURS), watcher.hourly.last()) else {
        found.violations.push(format!("too short: {WARM_HOURS} hours and one at least"));
        return found;
    };
    found.count("resident_mb_first", first.0 / 1_000_000);
    found.count("resident_mb_last", last.0 / 1_000_000);
    found.count("descriptors_first", first.1);
    found.count("descriptors_last", last.1);
    found.expect(last.0 <= first.0 + first.0 / 50, "memory grows");
    found.expect(last.1 <= first.1, "descriptors grow");
    found
}

#[derive(Debug)]
struct Endurance<M> {
    checks: Checks,
    measure: M,
    hourly: Vec<(u64, u64)>,
    frames_a_second: u64,
    frames_a_second_max: u64,
}

impl<M: Fn() -> (u64, u64) + Send + 'static> Watcher for Endurance<M> {
    fn checks(&self) -> &Checks {
        &self.checks
    }
}

impl<M: Fn() -> (u64, u64) + Send + 'static> Observer for Endurance<M> {
    fn after_timer(&mut self, g: Nanos, symbols: &[SymbolFold]) {
        self.checks.after_timer(g, symbols);
        if g.0.rem_euclid(Nanos::SECOND.0) == 0 {
            self.frames_a_second_max = self.frames_a_second_max.max(self.frames_a_second);
            self.frames_a_second = 0;
        }
        if g.0.rem_euclid(3_600 * Nanos::SECOND.0) == 0 {
            self.hourly.push((self.measure)());
        }
    }

    fn after_frame(&mut self, at: usize, symbols: &[SymbolFold]) {
        self.frames_a_second += 1;
        self.checks.after_frame(at, symbols);
    }

    fn at_checkpoint(&mut self, _: u64, _: FoldState<'_>) {}
}
