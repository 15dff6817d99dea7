//! What is shown: the newest sample, and what has happened since the one before.

use std::time::Duration;

use cobring_frame::{Histogram, Liveness, SpanSummary, SubscriberInfo};
use serde_json::Value;

use super::sample::{CounterSample, EngineSample, Sample, SymbolSample, TableSample};

/// The newest sample beside the one before it, where that is of the same engine.
#[derive(Debug)]
pub(crate) struct View {
    now: Sample,
    before: Option<Sample>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EngineRow {
    pub(crate) liveness: Liveness,
    pub(crate) pid: u32,
    pub(crate) epoch: u64,
    pub(crate) uptime: Option<Duration>,
    pub(crate) frames_per_s: Option<f64>,
}

/// A symbol's newest frame in short.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SymbolRow {
    pub(crate) name: String,
    /// Its engine lives: what the frame says is true.
    pub(crate) is_current: bool,
    pub(crate) book_state: Option<String>,
    pub(crate) score: Option<f64>,
    /// The least component of a score below 1.
    pub(crate) weakest: Option<&'static str>,
    pub(crate) bid_px: Option<f64>,
    pub(crate) ask_px: Option<f64>,
    pub(crate) spread: Option<f64>,
    pub(crate) mid_px: Option<f64>,
    /// Of the prices in the frame.
    pub(crate) decimals: usize,
    pub(crate) imbalance: Option<f64>,
    pub(crate) frames: u64,
    pub(crate) frames_per_s: Option<f64>,
    /// Since the last depth message or bookTicker was received.
    pub(crate) age: Option<Duration>,
}

/// A stage's spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StageRow {
    pub(crate) name: String,
    /// Since the sample before.
    pub(crate) last: Option<SpanSummary>,
    /// Since the engine began.
    pub(crate) total: SpanSummary,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReaderRow {
    pub(crate) reader: SubscriberInfo,
    /// Frames published that it has not taken; `None` where it reads another engine.
    pub(crate) lag_frames: Option<u64>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ModelRow {
    /// As its file is named: symbol, dot, model.
    pub(crate) name: String,
    pub(crate) accepted: u64,
    pub(crate) accepted_per_s: Option<f64>,
    /// Of everything else that its counters count, but for processes.
    pub(crate) wrongs: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CounterRow {
    pub(crate) label: &'static str,
    pub(crate) total: u64,
    pub(crate) per_s: Option<f64>,
}

/// The components of the quality's score.
const COMPONENTS: [&str; 5] = ["sync", "freshness", "completeness", "consistency", "coverage"];

/// What people look at first, each as the sum of counters of a table. JSON has all of them.
const SHOWN: [(&str, &str, &[&str]); 24] = [
    ("messages", "net", &["messages_total"]),
    ("inputs", "ingest", &["inputs_total"]),
    ("depth applied", "symbol", &["depth_applied_total"]),
    ("bookTickers", "symbol", &["quotes_total"]),
    ("trades", "symbol", &["trades_total"]),
    ("unusual shape", "decode", &["general_parser_total"]),
    ("refused", "decode", &["malformed_total"]),
    ("gaps", "symbol", &["gaps_total"]),
    ("syncs", "symbol", &["syncs_total"]),
    ("re-syncs", "symbol", &["resyncs_total"]),
    ("crossed", "symbol", &["crossed_total"]),
    ("mismatches", "symbol", &["audit_mismatches_total", "quote_mismatches_total"]),
    ("duplicates", "symbol", &["depth_old_total", "quotes_old_total", "trades_duplicate_total"]),
    ("trades missing", "symbol", &["trades_missing_total"]),
    ("bars repaired", "symbol", &["repairs_total", "kline_mismatches_total"]),
    ("stalls", "symbol", &["depth_stalls_total", "quote_stalls_total", "trade_stalls_total"]),
    ("links lost", "ingest", &["links_lost_total"]),
    ("reconnects", "net", &["reconnects_total"]),
    ("backpressure", "ingest", &["backpressure_total"]),
    ("REST refused", "net", &["rest_429_total", "rest_418_total", "rest_403_total"]),
    ("clock steps", "ingest", &["clock_steps_total"]),
    ("logged", "log", &["inputs_written_total"]),
    ("log lost", "log", &["lost_ring_total", "lost_disk_total"]),
    ("log errors", "log", &["errors_total", "keeper_errors_total"]),
];

impl View {
    /// The first sample: rates are not known yet.
    pub(crate) fn new(now: Sample) -> Self {
        Self { now, before: None }
    }

    /// Moves on to the next sample. Nothing can be compared with another engine's.
    pub(crate) fn follow(&mut self, next: Sample) {
        let last = std::mem::replace(&mut self.now, next);
        self.before = Some(last).filter(|last| last.engine.epoch == self.now.engine.epoch);
    }

    /// Time between the samples.
    pub(crate) fn interval(&self) -> Option<Duration> {
        self.before.as_ref().map(|before| self.now.at.saturating_duration_since(before.at))
    }

    fn per_s(&self, now: u64, before: Option<u64>) -> Option<f64> {
        let seconds = self.interval()?.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let more = now.saturating_sub(before?) as f64;
        (seconds > 0.0).then(|| more / seconds)
    }

    fn is_alive(&self) -> bool {
        matches!(self.now.engine.liveness, Liveness::Alive | Liveness::Stalled { .. })
    }

    pub(crate) fn engine(&self) -> EngineRow {
        let EngineSample { epoch, pid, liveness } = self.now.engine;
        let made_ns = self.now.counters.as_ref().ok().map(|counters| counters.made_ns);
        let uptime =
            made_ns.and_then(|made| u64::try_from(self.now.wall_ns.checked_sub(made)?).ok());
        let frames = |sample: &Sample| {
            let frames = sample.symbols.iter().map(|symbol| symbol.published);
            frames.fold(0, u64::saturating_add)
        };
        EngineRow {
            liveness,
            pid,
            epoch,
            uptime: uptime.filter(|_| self.is_alive()).map(Duration::from_nanos),
            frames_per_s: self.per_s(frames(&self.now), self.before.as_ref().map(frames)),
        }
    }

    /// Why there are no counters.
    pub(crate) fn no_counters(&self) -> Option<&str> {
        self.now.counters.as_ref().err().map(String::as_str)
    }

    pub(crate) fn symbols(&self) -> Vec<SymbolRow> {
        self.now.symbols.iter().map(|symbol| self.symbol(symbol)).collect()
    }

    pub(crate) fn symbol_names(&self) -> impl Iterator<Item = &str> {
        self.now.symbols.iter().map(|symbol| symbol.name.as_str())
    }

    fn symbol(&self, symbol: &SymbolSample) -> SymbolRow {
        let before = self.before.iter().flat_map(|before| &before.symbols);
        let before = before.into_iter().find(|before| before.name == symbol.name);
        let frame = symbol.frame.as_ref();
        let number = |pointer: &str| frame?.pointer(pointer)?.as_f64();
        let score = number("/quality/score");
        let component = |name: &str| number(&format!("/quality/{name}")).unwrap_or(1.0);
        let weakest = COMPONENTS.into_iter().min_by(|a, b| component(a).total_cmp(&component(b)));
        SymbolRow {
            name: symbol.name.clone(),
            is_current: self.is_alive(),
            book_state: frame
                .and_then(|frame| frame.pointer("/book/book_state")?.as_str().map(str::to_owned)),
            score,
            weakest: weakest.filter(|_| score.is_some_and(|score| score < 1.0)),
            bid_px: number("/top/bid_px"),
            ask_px: number("/top/ask_px"),
            spread: number("/top/spread"),
            mid_px: number("/top/mid_px"),
            decimals: frame.map_or(0, decimals),
            imbalance: number("/imbalance/imbalance"),
            frames: symbol.published,
            frames_per_s: self.per_s(symbol.published, before.map(|before| before.published)),
            age: frame.and_then(|frame| age(frame, symbol.now_ns)),
        }
    }

    /// Of one symbol, or of all together.
    pub(crate) fn stages(&self, symbol: Option<&str>) -> Vec<StageRow> {
        let counters = |sample: &Sample| spans(sample.counters.as_ref().ok()?, symbol);
        let Some(now) = counters(&self.now) else { return Vec::new() };
        let before = self.before.as_ref().and_then(counters);
        let row = |(at, (name, total)): (usize, (String, Histogram))| {
            let earlier = before.as_ref().and_then(|before| before.get(at));
            let last = earlier.map(|(_, earlier)| total.since(earlier).summary());
            StageRow { name, last, total: total.summary() }
        };
        now.into_iter().enumerate().map(row).collect()
    }

    pub(crate) fn readers(&self) -> Vec<ReaderRow> {
        let lag = |reader: &SubscriberInfo| {
            let symbols = &self.now.symbols;
            let symbol = symbols.iter().find(|symbol| symbol.name == reader.symbol)?;
            let is_ours = reader.epoch == self.now.engine.epoch;
            let taken = reader.last_seq.map_or(0, |seq| seq.saturating_add(1));
            is_ours.then(|| symbol.published.saturating_sub(taken))
        };
        let row =
            |reader: &SubscriberInfo| ReaderRow { lag_frames: lag(reader), reader: reader.clone() };
        self.now.readers.iter().map(row).collect()
    }

    pub(crate) fn models(&self) -> Vec<ModelRow> {
        let Some((now, before)) = self.tables("model") else { return Vec::new() };
        let counters = now.names.counters.iter().map(String::as_str);
        let wrongs: Vec<&str> = counters
            .filter(|counter| !matches!(*counter, "accepted_total" | "processes_total"))
            .collect();
        let model = |name: &String| {
            let accepted = |table: &TableSample| table.sum(["accepted_total"], Some(name));
            let taken = accepted(now)?;
            Some(ModelRow {
                name: name.clone(),
                accepted: taken,
                accepted_per_s: self.per_s(taken, before.and_then(accepted)),
                wrongs: now.sum(wrongs.iter().copied(), Some(name)).unwrap_or(0),
            })
        };
        now.names.rows.iter().filter_map(model).collect()
    }

    /// The counters that people look at first: all of them, or those of one symbol.
    pub(crate) fn counters(&self, symbol: Option<&str>) -> Vec<CounterRow> {
        let shown = SHOWN.iter().filter(|(_, table, _)| symbol.is_none() || *table == "symbol");
        let row = |&(label, table, counters): &(&'static str, &str, &[&str])| {
            let (now, before) = self.tables(table)?;
            let sum = |table: &TableSample| table.sum(counters.iter().copied(), symbol);
            let total = sum(now)?;
            let per_s = self.per_s(total, before.and_then(sum));
            Some(CounterRow { label, total, per_s })
        };
        shown.filter_map(row).collect()
    }

    /// A table now and before.
    fn tables(&self, name: &str) -> Option<(&TableSample, Option<&TableSample>)> {
        let now = self.now.counters.as_ref().ok()?.table(name)?;
        let before =
            self.before.as_ref().and_then(|before| before.counters.as_ref().ok()?.table(name));
        Some((now, before))
    }

    /// All tables, with what each counter grew by in a second: `on(table, row, counter, total, per second)`.
    pub(crate) fn for_each_counter(&self, mut on: impl FnMut(&str, &str, &str, u64, Option<f64>)) {
        let Ok(counters) = &self.now.counters else { return };
        for table in &counters.tables {
            let before = self.tables(&table.names.name).and_then(|(_, before)| before);
            for (at, (row, values)) in table.names.rows.iter().zip(&table.counters).enumerate() {
                let before = before.and_then(|before| before.counters.get(at));
                for (number, (name, &total)) in table.names.counters.iter().zip(values).enumerate()
                {
                    let earlier = before.and_then(|before| before.get(number).copied());
                    on(&table.names.name, row, name, total, self.per_s(total, earlier));
                }
            }
        }
    }
}

/// Each stage's histogram, of one symbol or all together.
fn spans(counters: &CounterSample, symbol: Option<&str>) -> Option<Vec<(String, Histogram)>> {
    let table = counters.table("symbol")?;
    let mut stages: Vec<(String, Histogram)> =
        table.names.histograms.iter().map(|name| (name.clone(), Histogram::default())).collect();
    let rows = table.names.rows.iter().zip(&table.histograms);
    for (_, of_row) in rows.filter(|(row, _)| symbol.is_none_or(|symbol| symbol == *row)) {
        for ((_, sum), histogram) in stages.iter_mut().zip(of_row) {
            sum.add(histogram);
        }
    }
    Some(stages)
}

/// Decimals that the prices of a frame need: one level alone may end in a zero.
fn decimals(frame: &Value) -> usize {
    let sides = ["/book/bids", "/book/asks"];
    let levels = sides.iter().filter_map(|side| frame.pointer(side)?.as_array()).flatten();
    let top = ["/top/bid_px", "/top/ask_px"].iter().filter_map(|px| frame.pointer(px));
    let prices = levels.filter_map(|level| level.get(0)).chain(top).filter_map(Value::as_f64);
    prices
        .map(|px| px.to_string().split_once('.').map_or(0, |(_, decimals)| decimals.len()))
        .max()
        .unwrap_or(0)
}

/// Since the last message of depth or bookTicker.
fn age(frame: &Value, now_ns: i64) -> Option<Duration> {
    let ts_recv = frame.pointer("/times/ts_recv")?.as_i64()?;
    let ages = ["/quality/age_depth", "/quality/age_quote"];
    let at_frame = ages.iter().filter_map(|age| frame.pointer(age)?.as_i64()).min()?;
    let age_ns = now_ns.saturating_sub(ts_recv).saturating_add(at_frame);
    Some(Duration::from_nanos(u64::try_from(age_ns).unwrap_or(0)))
}
