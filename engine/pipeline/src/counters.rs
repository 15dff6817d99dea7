//! What the engine counts, where other processes see it: which row holds what, and when it is stored.
//!
//! Guarantees: a row is stored by the thread that counts, ten times a second; spans of stages are counted with
//! each frame of an input, by the stamps that the frame has anyway. Nothing is allocated, and neither frames nor
//! their hash know of it. Does not: run in a replay, which has no clock.

use cobring_frame::{
    CounterRow, CounterTable, EngineDir, FrameError, ModelCounters, STAGES, SpanSummary, Times,
    create_counters,
};
use cobring_market::MarketCounters;
use cobring_types::{Nanos, Symbol};
use cobring_venue::DecodeCounters;

use crate::ingest::IngestCounters;
use crate::log::LogStats;
use crate::models::Models;
use crate::net::NetCounters;

/// Between two stores of a row.
const STORE_INTERVAL: Nanos = Nanos(100_000_000);

/// All rows of an engine, each for the thread that counts.
#[derive(Debug)]
pub struct Counters {
    /// For the thread of ingest.
    pub ingest: IngestRows,
    /// For the one that parses.
    pub decode: DecodeRow,
    /// For the one that folds, in order of names.
    pub symbols: Vec<SymbolRow>,
}

/// What the thread of ingest counts, or knows of its helpers.
#[derive(Debug)]
pub struct IngestRows {
    ingest: CounterRow,
    net: CounterRow,
    log: CounterRow,
    models: Vec<CounterRow>,
    due: Nanos,
}

/// What the decoder counts.
#[derive(Debug)]
pub struct DecodeRow {
    row: CounterRow,
    due: Nanos,
}

/// What one symbol's fold counts.
#[derive(Debug)]
pub struct SymbolRow(CounterRow);

impl Counters {
    /// Makes the file of these symbols, and of these models as their files are named.
    ///
    /// # Errors
    /// [`FrameError`] where it cannot be made.
    pub fn create(
        dir: &EngineDir,
        epoch: u64,
        symbols: &[Symbol],
        models: impl Iterator<Item = String>,
    ) -> Result<Self, FrameError> {
        let mut net = Vec::new();
        NetCounters::default().for_each(|name, _| net.push(format!("{name}_total")));
        let symbol = names(symbol_counters(0, 0, &MarketCounters::default()));
        let tables = [
            table("ingest", [ENGINE], names(IngestCounters::default().iter())),
            table("net", [ENGINE], net),
            table("log", [ENGINE], names(LogStats::default().iter())),
            table("decode", [ENGINE], names(DecodeCounters::default().iter())),
            table("model", models, names(ModelCounters::default().iter())),
            CounterTable {
                histograms: STAGES.iter().map(|stage| stage.name.to_owned()).collect(),
                ..table("symbol", symbols, symbol)
            },
        ];
        let rows = create_counters(dir, epoch, &tables)?;
        let rows: [Vec<CounterRow>; 6] =
            rows.try_into().expect("invariant: each table has its rows");
        let [ingest, net, log, decode, models, symbols] = rows;
        let one = |mut rows: Vec<CounterRow>| rows.pop().expect("invariant: the engine's row");
        Ok(Self {
            ingest: IngestRows {
                ingest: one(ingest),
                net: one(net),
                log: one(log),
                models,
                due: Nanos(0),
            },
            decode: DecodeRow { row: one(decode), due: Nanos(0) },
            symbols: symbols.into_iter().map(SymbolRow).collect(),
        })
    }
}

/// The row of tables that have one.
const ENGINE: &str = "engine";

fn table<R: ToString>(
    name: &str,
    rows: impl IntoIterator<Item = R>,
    counters: Vec<String>,
) -> CounterTable {
    let rows = rows.into_iter().map(|row| row.to_string()).collect();
    CounterTable { name: name.to_owned(), rows, counters, histograms: Vec::new() }
}

fn names(counters: impl Iterator<Item = (&'static str, u64)>) -> Vec<String> {
    counters.map(|(name, _)| name.to_owned()).collect()
}

/// Whether a row is to be stored again, and when the next time.
fn is_due(due: &mut Nanos, now: Nanos) -> bool {
    let is_due = now >= *due;
    if is_due {
        *due = Nanos(now.0 + STORE_INTERVAL.0);
    }
    is_due
}

impl IngestRows {
    /// Stores what there is, when it is time.
    pub(crate) fn store(
        &mut self,
        now: Nanos,
        counters: &IngestCounters,
        net: &NetCounters,
        log: impl FnOnce() -> Option<LogStats>,
        models: &Models,
    ) {
        if !is_due(&mut self.due, now) {
            return;
        }
        self.ingest.store(counters.iter().map(|(_, count)| count));
        let mut at = 0;
        net.for_each(|_, count| {
            self.net.store_one(at, count);
            at += 1;
        });
        if let Some(log) = log() {
            self.log.store(log.iter().map(|(_, count)| count));
        }
        for (row, counters) in self.models.iter_mut().zip(models.counters()) {
            row.store(counters.iter().map(|(_, count)| count));
        }
    }
}

impl DecodeRow {
    /// Stores what there is, when it is time.
    #[inline]
    pub(crate) fn store(&mut self, now: Nanos, counters: &DecodeCounters) {
        if is_due(&mut self.due, now) {
            self.row.store(counters.iter().map(|(_, count)| count));
        }
    }
}

fn symbol_counters(
    frames: u64,
    bell_truncated: u64,
    market: &MarketCounters,
) -> impl Iterator<Item = (&'static str, u64)> {
    [("frames_total", frames), ("bell_truncated_total", bell_truncated)]
        .into_iter()
        .chain(market.iter())
}

impl SymbolRow {
    /// Stores what there is: with each timer.
    pub(crate) fn store(&mut self, frames: u64, bell_truncated: u64, market: &MarketCounters) {
        self.0.store(symbol_counters(frames, bell_truncated, market).map(|(_, count)| count));
    }

    /// Counts how long an input took from stage to stage.
    #[inline]
    pub(crate) fn record(&mut self, times: &Times) {
        for (stage, span) in times.spans().into_iter().enumerate() {
            if let Some(span_ns) = span {
                self.0.record(stage, span_ns);
            }
        }
    }

    /// What was counted by [`Self::record`], for each of [`STAGES`].
    pub(crate) fn stages(&self) -> [SpanSummary; STAGES.len()] {
        std::array::from_fn(|stage| self.0.histogram(stage).summary())
    }
}
