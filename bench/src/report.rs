//! How figures are told: a table for people, or one compact JSON object a line.

use std::io::{self, Write as _};

use hdrhistogram::Histogram;
use serde_json::json;

/// Nanoseconds, from 1 to 10 s, to three digits.
pub(crate) type Latency = Histogram<u64>;

pub(crate) fn latency() -> Latency {
    Histogram::new_with_bounds(1, 10_000_000_000, 3).expect("invariant: bounds of a histogram")
}

/// `CLOCK_MONOTONIC`, which all processes of a host share.
pub(crate) fn mono_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec).unwrap_or_default()
}

/// Time that this process has had on processors: of work in one thread what it takes on an idle host, on a busy one too.
pub(crate) fn cpu_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec).unwrap_or_default()
}

/// What a run is doing, for who waits.
pub(crate) fn progress(what: &str) {
    // Nothing can be done where stderr is closed.
    let _ = writeln!(io::stderr(), "bench: {what}");
}

/// Distributions under one another.
pub(crate) struct Table {
    json: bool,
}

impl Table {
    /// With a heading, where people read it.
    pub(crate) fn new(title: &str, json: bool) -> io::Result<Self> {
        if !json {
            let heads = "    count     mean      p50      p99    p99.9        max";
            writeln!(io::stdout(), "{title:<28}{heads}")?;
        }
        Ok(Self { json })
    }

    /// A line of it.
    pub(crate) fn row(&self, name: &str, latency: &Latency) -> io::Result<()> {
        let at = |quantile: f64| latency.value_at_quantile(quantile);
        let (count, mean, max) = (latency.len(), latency.mean(), latency.max());
        let (p50, p99, p999) = (at(0.5), at(0.99), at(0.999));
        if self.json {
            let line = json!({ "figure": name, "count": count, "mean_ns": round(mean),
                "p50_ns": p50, "p99_ns": p99, "p999_ns": p999, "max_ns": max });
            writeln!(io::stdout(), "{line}")
        } else {
            writeln!(
                io::stdout(),
                "{name:<28}{count:>9} {mean:>8.0} {p50:>8} {p99:>8} {p999:>8} {max:>10}"
            )
        }
    }
}

/// One figure of ours beside the same of another.
#[derive(Debug)]
pub(crate) struct Figure<'a> {
    pub(crate) figure: &'a str,
    pub(crate) peer: &'a str,
    pub(crate) ours_ns: f64,
    pub(crate) peer_ns: f64,
    /// Least allowed ratio of the peer's time to ours.
    pub(crate) goal: Option<f64>,
}

impl Figure<'_> {
    pub(crate) fn print(&self, json: bool) -> io::Result<()> {
        let Self { figure, peer, ours_ns, peer_ns, goal } = *self;
        let ratio = peer_ns / ours_ns;
        if json {
            let line = json!({ "figure": figure, "peer": peer, "ours_ns": round(ours_ns),
                "peer_ns": round(peer_ns), "ratio": round(ratio), "goal": goal });
            return writeln!(io::stdout(), "{line}");
        }
        let goal = goal.map_or_else(String::new, |goal| {
            format!(", goal {goal}{}", if ratio >= goal { "" } else { ": missed" })
        });
        writeln!(
            io::stdout(),
            "{figure}: ours {ours_ns:.0} ns, {peer} {peer_ns:.0} ns, ratio {ratio:.2}{goal}"
        )
    }
}

pub(crate) fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// The middle one of values that rounds have given: one disturbed round moves it little.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The value at a quantile, as if values were spread evenly within the clock's step: some processors count in steps of
/// 10 ns, which is too coarse for ratios of two short times.
fn quantile_ns(latency: &Latency, quantile: f64) -> f64 {
    const HALF_STEP_NS: u64 = 5;
    let value = latency.value_at_quantile(quantile);
    let from = value.saturating_sub(HALF_STEP_NS);
    let below = latency.count_between(0, from) as f64;
    let within = latency.count_between(from + 1, value + HALF_STEP_NS) as f64;
    let share = (quantile * latency.len() as f64 - below) / within.max(1.0);
    from as f64 + share.clamp(0.0, 1.0) * 2.0 * HALF_STEP_NS as f64
}

/// Distributions of the same in several rounds.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    rounds: Vec<Latency>,
}

impl Rounds {
    pub(crate) fn push(&mut self, round: Latency) {
        self.rounds.push(round);
    }

    /// The middle round's value at a quantile.
    pub(crate) fn at(&self, quantile: f64) -> f64 {
        median(self.rounds.iter().map(|round| quantile_ns(round, quantile)).collect())
    }

    /// All rounds in one.
    pub(crate) fn merged(&self) -> Latency {
        let mut merged = latency();
        for round in &self.rounds {
            merged.add(round).expect("invariant: all have the same bounds");
        }
        merged
    }
}
