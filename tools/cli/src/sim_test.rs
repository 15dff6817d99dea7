//! `cobring sim-test`: the whole engine in virtual time, seed after seed, against the exchange's own truth.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use clap::{Args, ValueEnum};
use cobring_sim::CATALOGUE;
use cobring_sim_test::scenario::{self, Findings};
use cobring_sim_test::{CanaryKind, HOST_FAULTS, Report, kept_seeds, run_seed};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::exit::Failure;
use crate::signals::Signals;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cobring sim-test --seeds 300                          # 300 simulated minutes with faults, then the seeds that once failed
  cobring sim-test --seeds 20000 --from 100000
  cobring sim-test --seeds 1 --from 4711                # once more, the same to the byte
  cobring sim-test --seeds 50 --canary hidden-gap       # a planted bug: exits 4 when it is found, 1 when it is not
  cobring sim-test --scenario renewals --count 1000     # or resyncs, quiet, endurance

A seed decides market, configuration, network and faults. Ingest, parser and fold are those of a live run, on one
thread for each seed; sockets, REST and clocks are simulated. After every input the frames are held against the book
that the exchange had at their update id; every second whole books, buckets and closed bars; at the end all windows.
Exit codes: 0 all holds, 4 something does not, and the output says how to repeat it.")]
pub(crate) struct SimTest {
    /// How many seeds.
    #[arg(long, value_name = "N", default_value_t = 100)]
    seeds: u64,
    /// The first one.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    from: u64,
    /// Simulated seconds of each.
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u32).range(30..=3600))]
    seconds: u32,
    /// Seeds at a time; by default one for each core.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Plant a bug, which is to be found: hidden-gap, wrong-quantity, wrong-trade or wrong-quote.
    #[arg(long, value_name = "BUG")]
    canary: Option<CanaryKind>,
    /// Leave out the seeds that once found something.
    #[arg(long)]
    no_kept: bool,
    /// A long run with one question in place of seeds.
    #[arg(long, value_enum, conflicts_with_all = ["seeds", "canary"])]
    scenario: Option<Scenario>,
    /// Of a scenario: renewals, resyncs, or simulated hours. By default 1000, 10000, 24 and 72.
    #[arg(long, value_name = "N", requires = "scenario")]
    count: Option<u32>,
    /// One object instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Connections are renewed beside the old ones: nothing is lost, no frame is worse.
    Renewals,
    /// Books of 50 symbols are lost again and again, all at once: within half of the weight budget.
    Resyncs,
    /// Hours in which hardly anything happens, and then a stalled stream.
    Quiet,
    /// Hours at the recorded rate with bursts: memory stays as it is.
    Endurance,
}

impl SimTest {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self.scenario {
            Some(scenario) => self.run_scenario(scenario),
            None => self.run_seeds(),
        }
    }

    fn run_scenario(&self, scenario: Scenario) -> Result<(), Failure> {
        let began = Instant::now();
        let seed = self.from;
        let findings = match scenario {
            Scenario::Renewals => scenario::renewals(seed, self.count.unwrap_or(1_000)),
            Scenario::Resyncs => scenario::resyncs(seed, self.count.unwrap_or(10_000)),
            Scenario::Quiet => scenario::quiet(seed, self.count.unwrap_or(24)),
            Scenario::Endurance => scenario::endurance(seed, self.count.unwrap_or(72), measure),
        };
        let Findings { figures, violations, simulated_ns, inputs } = findings;
        let speed = Speed::of(simulated_ns, inputs, began);
        let mut out = io::stdout().lock();
        if self.json {
            let figures: serde_json::Map<_, _> =
                figures.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            let report =
                json!({ "figures": figures, "violations": violations, "speed": speed.json() });
            writeln!(out, "{report}")?;
        } else {
            for (name, value) in figures {
                writeln!(out, "{name:24} {value}")?;
            }
            for violation in &violations {
                writeln!(out, "violation: {violation}")?;
            }
            writeln!(out, "{speed}")?;
        }
        if violations.is_empty() { Ok(()) } else { Err(Failure::Found) }
    }

    fn run_seeds(&self) -> Result<(), Failure> {
        let began = Instant::now();
        let mut jobs: Vec<(u64, u32)> = (self.from..self.from.saturating_add(self.seeds))
            .map(|seed| (seed, self.seconds))
            .collect();
        if !self.no_kept && self.canary.is_none() {
            jobs.extend(kept_seeds().map(|(seed, seconds, _)| (seed, seconds)));
        }
        let signals = Signals::catch().map_err(Failure::failed)?;
        let bar = ProgressBar::new(jobs.len() as u64).with_style(
            ProgressStyle::with_template("sim-test {wide_bar} {pos}/{len} seeds, {eta} left")
                .unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let totals = Mutex::new(Totals::default());
        let next = AtomicU64::new(0);
        let found = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..self.threads.unwrap_or(cores).max(1) {
                scope.spawn(|| {
                    // A planted bug is found once; everything else is run to the end.
                    let is_over = || self.canary.is_some() && found.load(Ordering::Relaxed);
                    while !signals.is_set() && !is_over() {
                        let at = usize::try_from(next.fetch_add(1, Ordering::Relaxed));
                        let Some(&(seed, seconds)) = at.ok().and_then(|at| jobs.get(at)) else {
                            return;
                        };
                        let report = run_seed(seed, seconds, self.canary);
                        found.fetch_or(report.violation.is_some(), Ordering::Relaxed);
                        totals.lock().unwrap_or_else(PoisonError::into_inner).add(&report, seconds);
                        bar.inc(1);
                    }
                });
            }
        });
        bar.finish_and_clear();
        let totals = totals.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.print(&totals, began)?;
        signals.outcome()?;
        match (self.canary, totals.failures.is_empty()) {
            (Some(canary), true) => {
                Err(Failure::Failed(format!("the planted bug {} was not found", canary.name())))
            }
            (None, true) => Ok(()),
            (_, false) => Err(Failure::Found),
        }
    }

    fn print(&self, totals: &Totals, began: Instant) -> Result<(), Failure> {
        let speed = Speed::of(totals.simulated_ns, totals.inputs, began);
        let missing = totals.missing();
        let mut out = io::stdout().lock();
        if self.json {
            let failures: Vec<Value> = totals
                .failures
                .iter()
                .map(|(seed, seconds, what)| json!({ "seed": seed, "seconds": seconds, "what": what }))
                .collect();
            let report = json!({
                "seeds": totals.seeds, "violations": failures, "inputs": totals.inputs,
                "frames_compared": totals.frames, "books_compared": totals.books,
                "bars_compared": totals.bars, "faults": totals.faults, "faults_missing": missing,
                "used_weight_max": totals.used_weight_max, "speed": speed.json(),
            });
            writeln!(out, "{report}")?;
            return Ok(());
        }
        for (seed, seconds, what) in &totals.failures {
            writeln!(out, "seed {seed}: {what}")?;
            let canary =
                self.canary.map_or(String::new(), |kind| format!(" --canary {}", kind.name()));
            writeln!(
                out,
                "  again: cobring sim-test --seeds 1 --from {seed} --seconds {seconds} --no-kept{canary}"
            )?;
        }
        writeln!(
            out,
            "{} seeds, {} violations; {} inputs; compared: {} frames, {} whole books, {} bars",
            totals.seeds,
            totals.failures.len(),
            totals.inputs,
            totals.frames,
            totals.books,
            totals.bars
        )?;
        let count: u64 = totals.faults.values().sum();
        let kinds = totals.faults.len();
        writeln!(
            out,
            "{count} faults of {kinds} kinds; weight in use at most {} of 6000",
            totals.used_weight_max
        )?;
        if !missing.is_empty() {
            writeln!(out, "faults that no seed drew: {}", missing.join(", "))?;
        }
        writeln!(out, "{speed}")?;
        Ok(())
    }
}

/// Sums over seeds.
#[derive(Debug, Default)]
struct Totals {
    seeds: u64,
    simulated_ns: i64,
    inputs: u64,
    frames: u64,
    books: u64,
    bars: u64,
    used_weight_max: u32,
    faults: BTreeMap<String, u64>,
    failures: Vec<(u64, u32, String)>,
}

impl Totals {
    fn add(&mut self, report: &Report, seconds: u32) {
        self.seeds += 1;
        self.simulated_ns += report.simulated_ns;
        self.inputs += report.inputs;
        self.frames += report.frames;
        self.books += report.books;
        self.bars += report.bars;
        self.used_weight_max = self.used_weight_max.max(report.used_weight_max);
        for (id, count) in &report.faults {
            *self.faults.entry(id.clone()).or_default() += count;
        }
        if let Some(violation) = &report.violation {
            let what = format!(
                "{} at {} (frame {}): {}",
                violation.symbol, violation.at, violation.seq, violation.what
            );
            self.failures.push((report.seed, seconds, what));
            self.failures.sort();
        }
    }

    /// Faults of the catalogue and of the host that no seed drew.
    fn missing(&self) -> Vec<&'static str> {
        let known: BTreeSet<_> =
            CATALOGUE.iter().map(|entry| entry.id).chain(HOST_FAULTS).collect();
        // One ends a run by design.
        known
            .into_iter()
            .filter(|id| *id != "tick_size_change" && !self.faults.contains_key(*id))
            .collect()
    }
}

/// How fast a simulation went.
struct Speed {
    simulated_s: f64,
    took_s: f64,
    inputs: u64,
}

impl Speed {
    fn of(simulated_ns: i64, inputs: u64, began: Instant) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "seconds for people")]
        let simulated_s = simulated_ns as f64 / 1e9;
        Self { simulated_s, took_s: began.elapsed().as_secs_f64(), inputs }
    }

    fn times(&self) -> f64 {
        self.simulated_s / self.took_s
    }

    fn json(&self) -> Value {
        json!({ "simulated_s": self.simulated_s, "took_s": self.took_s, "times_real_time": self.times() })
    }
}

impl std::fmt::Display for Speed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = self.inputs as f64 / self.took_s;
        write!(
            f,
            "{:.0} simulated seconds in {:.1} s: {:.0} times real time, {rate:.0} inputs a second",
            self.simulated_s,
            self.took_s,
            self.times()
        )
    }
}

/// Bytes resident and descriptors open.
fn measure() -> (u64, u64) {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
    let descriptors =
        std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    (pages * 4_096, descriptors)
}
