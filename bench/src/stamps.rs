//! What it costs to be always on: five spans of a frame counted, a symbol's counters stored, one look at the clock.

use std::error::Error;
use std::hint::black_box;
use std::io::{self, Write as _};

use cobring_frame::{CounterTable, EngineDir, STAGES, create_counters};
use cobring_pipeline::clock::EngineClock;
use hdrhistogram::Histogram;
use serde_json::json;

use crate::child::OwnDir;
use crate::publish::per_call_ps;

/// Calls between two looks at the clock: one alone is shorter than the clock's own cost.
const BATCH: u32 = 64;
const BATCHES: usize = 20_000;
/// As many as a symbol has, or some more.
const COUNTERS: usize = 50;

/// Times them in turns, so that a noisy host shows in all.
pub(crate) fn run(json: bool) -> Result<(), Box<dyn Error>> {
    let own = OwnDir::in_memory("bench");
    let dir = EngineDir::lock(&own.0)?;
    let table = CounterTable {
        name: "symbol".to_owned(),
        rows: vec!["BENCH".to_owned()],
        counters: (0..COUNTERS).map(|counter| format!("counter_{counter}")).collect(),
        histograms: STAGES.iter().map(|stage| stage.name.to_owned()).collect(),
    };
    let mut rows = create_counters(&dir, 1, &[table])?;
    let row = &mut rows[0][0];
    let clock = EngineClock::start();
    let mut times = Vec::new();
    for _ in 0..3 {
        times.push(Histogram::<u64>::new_with_bounds(1, 1_000_000_000, 3)?);
    }
    // Spans as they come: a few hundred ns to a few µs, never twice the same.
    let mut span = 0;
    for _ in 0..BATCHES {
        let spans = per_call_ps(BATCH, || {
            span = (span + 977) % 4_096;
            for stage in 0..STAGES.len() {
                row.record(stage, black_box(200 + (span << stage)));
            }
        })?;
        let store = per_call_ps(BATCH, || row.store((0..COUNTERS as u64).map(black_box)))?;
        let now = per_call_ps(BATCH, || _ = black_box(clock.now()))?;
        for (times, ps) in times.iter_mut().zip([spans, store, now]) {
            times.saturating_record(ps);
        }
    }
    let counted = row.histogram(0).count();
    assert_eq!(counted, BATCHES as u64 * u64::from(BATCH), "spans counted");
    let mut out = io::stdout().lock();
    for (what, times) in ["five spans of a frame", "a row of 50 counters", "one look at the clock"]
        .iter()
        .zip(&times)
    {
        let ns = |quantile: f64| times.value_at_quantile(quantile) as f64 / 1e3;
        if json {
            let line =
                json!({ "figure": "stamps", "what": what, "p50_ns": ns(0.5), "p99_ns": ns(0.99) });
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "{what:<24} p50 {:>7.1} ns, p99 {:>7.1} ns", ns(0.5), ns(0.99))?;
        }
    }
    Ok(())
}
