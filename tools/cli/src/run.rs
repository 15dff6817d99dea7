//! `cobring run`: the engine, live.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use cobring_frame::{STAGES, SpanSummary};
use cobring_pipeline::live::{self, RunError, RunReport, Started};
use cobring_pipeline::{FrameDigest, ModelReport};
use serde_json::{Map, Value, json};

use crate::exit::Failure;
use crate::output;
use crate::signals::Signals;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cobring run                              # the built-in configuration: Binance ETHUSDT and BTCUSDT
  cobring run --config config/cobring.toml
  cobring frame watch ETHUSDT              # in another terminal

SIGINT and SIGTERM end it cleanly; then the counts and the SHA-256 over all frames are printed,
which `cobring replay LOG --hash` of its log prints too.")]
pub(crate) struct Run {
    /// Configuration; by default the built-in one, which is config/cobring.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the summary at the end as one JSON object.
    #[arg(long)]
    json: bool,
}

impl Run {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let config = output::config(self.config.as_deref())?;
        let signals = Signals::catch()?;
        let report = live::run(&config, signals.stop_flag(), (), announce)?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", report_json(&report))?;
        } else {
            print_report(&mut out, &report)?;
        }
        signals.outcome()
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::TickSize { .. } | RunError::NoSuchCore { .. } | RunError::LockMemory(_) => {
                Self::Configuration(error.to_string())
            }
            _ => Self::failed(error),
        }
    }
}

fn announce(started: &Started) {
    tracing::info!(
        epoch = started.epoch,
        layout = ?started.layout,
        segments_mb = started.segment_bytes / 1_000_000,
        "frames are published to {}",
        started.shared_memory_dir.display()
    );
    if let Some(resumed) = started.resumed {
        tracing::info!(
            until = %cobring_pipeline::utc::text(resumed.ts_end),
            inputs = resumed.inputs,
            "goes on from the run before"
        );
    }
}

fn print_report(out: &mut impl Write, report: &RunReport) -> io::Result<()> {
    for symbol in &report.symbols {
        let counters = &symbol.counters;
        writeln!(
            out,
            "{}: {} frames, {} depth messages applied, {} gaps, {} syncs, {} re-syncs, {} trades, {} bookTickers, {} of {} best prices differ",
            symbol.symbol,
            symbol.frames,
            counters.depth_applied,
            counters.gaps,
            counters.syncs,
            counters.resyncs,
            counters.trades,
            counters.quotes,
            counters.quote_mismatches,
            counters.quote_checks
        )?;
    }
    writeln!(
        out,
        "{} inputs, {} links lost, {} snapshots, {} klines, {} times trades and {} tickers asked for, {} malformed messages, {} of unusual shape",
        report.ingest.inputs,
        report.ingest.links_lost,
        report.ingest.snapshots_requested,
        report.ingest.klines_requested,
        report.ingest.trades_requested,
        report.ingest.tickers_requested,
        report.decoded.malformed_total(),
        report.decoded.general
    )?;
    print_stages(out, report)?;
    for symbol in report.symbols.iter().filter(|symbol| symbol.bell_truncated > 0) {
        writeln!(out, "{}: its bell was truncated {} times", symbol.symbol, symbol.bell_truncated)?;
    }
    for ModelReport { symbol, model, counters } in &report.models {
        let wrongs: Vec<String> = counters
            .iter()
            .filter(|(name, count)| {
                *count > 0 && !matches!(*name, "accepted_total" | "processes_total")
            })
            .map(|(name, count)| {
                format!("{count} {}", name.trim_end_matches("_total").replace('_', " "))
            })
            .collect();
        let wrongs = if wrongs.is_empty() { "none refused".to_owned() } else { wrongs.join(", ") };
        writeln!(out, "model {model} on {symbol}: {} outputs taken, {wrongs}", counters.accepted)?;
    }
    if let Some(log) = &report.log {
        let lost = log.stats.lost_ring + log.stats.lost_disk;
        let end = if log.complete { "complete" } else { "not all of it reached the disk" };
        writeln!(
            out,
            "log: {} inputs in {} files, {lost} lost, {} refusals of the disk, {} files compressed, {} deleted, {end}",
            log.stats.inputs_written,
            log.stats.files,
            log.stats.errors + log.stats.keeper_errors,
            log.stats.files_compressed,
            log.stats.files_deleted
        )?;
    }
    for symbol in &report.symbols {
        if let Some(digest) = &symbol.digest {
            writeln!(out, "{} {digest}", symbol.symbol)?;
        }
    }
    if report.symbols.iter().all(|symbol| symbol.digest.is_some()) {
        writeln!(out, "total {}", total(report))?;
    }
    Ok(())
}

/// How long inputs took, of those stages that any of them passed.
fn print_stages(out: &mut impl Write, report: &RunReport) -> io::Result<()> {
    let header = ["count", "p50", "p99", "p99.9", "max"];
    let [count, p50, p99, p999, max] = header;
    let columns = format!("{count:>12} {p50:>9} {p99:>9} {p999:>9} {max:>11}");
    let stages = report.symbols.iter().flat_map(|symbol| {
        let stages = STAGES.iter().zip(symbol.stages.into_iter().flatten());
        stages.map(move |(stage, spans)| (symbol.symbol.as_str(), stage.name, spans))
    });
    for (number, (symbol, stage, spans)) in
        stages.filter(|(.., spans)| spans.count + spans.negative > 0).enumerate()
    {
        if number == 0 {
            writeln!(out, "{:<10} {:<21}{columns}", "spans, ns", "stage")?;
        }
        let SpanSummary { count, p50_ns, p99_ns, p999_ns, max_ns, negative } = spans;
        let set = if negative > 0 { format!("  {negative} negative") } else { String::new() };
        writeln!(
            out,
            "{symbol:<10} {stage:<21}{count:>12} {p50_ns:>9} {p99_ns:>9} {p999_ns:>9} {max_ns:>11}{set}"
        )?;
    }
    Ok(())
}

fn total(report: &RunReport) -> FrameDigest {
    FrameDigest::total(report.symbols.iter().filter_map(|symbol| symbol.digest))
}

/// Counters by symbol, then by model.
fn models_json(models: &[ModelReport]) -> Value {
    let mut symbols = json!({});
    for ModelReport { symbol, model, counters } in models {
        for (name, count) in counters.iter() {
            symbols[symbol][model][name] = json!(count);
        }
    }
    symbols
}

fn report_json(report: &RunReport) -> Value {
    let mut net = Map::new();
    report.net.for_each(|name, count| {
        net.insert(format!("{name}_total"), json!(count));
    });
    let mut ingest: Map<String, Value> =
        report.ingest.iter().map(|(name, count)| (name.to_owned(), json!(count))).collect();
    let decoded = &report.decoded;
    for (name, count) in [
        ("malformed_total", decoded.malformed_total()),
        ("unknown_events_total", decoded.unknown_events),
        ("unknown_symbols_total", decoded.unknown_symbols),
        ("unknown_fields_total", decoded.unknown_fields),
        ("general_parser_total", decoded.general),
    ] {
        ingest.insert(name.to_owned(), json!(count));
    }
    json!({
        "epoch": report.epoch,
        "symbols": output::symbols_json(&report.symbols),
        "ingest": ingest,
        "models": models_json(&report.models),
        "net": net,
        "log": report.log.map(|log| json!({
            "complete": log.complete,
            "inputs_written": log.stats.inputs_written,
            "files": log.stats.files,
            "lost": log.stats.lost_ring + log.stats.lost_disk,
            "lost_ring": log.stats.lost_ring,
            "lost_disk": log.stats.lost_disk,
            "errors": log.stats.errors,
            "checkpoints_missing": log.stats.checkpoints_missing,
            "checkpoints_dropped": log.stats.checkpoints_dropped,
            "files_compressed": log.stats.files_compressed,
            "files_deleted": log.stats.files_deleted,
            "keeper_errors": log.stats.keeper_errors,
        })),
        "hash": report.symbols.iter().all(|symbol| symbol.digest.is_some()).then(|| total(report).to_string()),
    })
}
