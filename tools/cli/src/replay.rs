//! `cobring replay`: recordings and logs through the engine's own stages.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use clap::{Args, ValueEnum};
use cobring_frame::{BAR_INTERVALS, RawWindow, RecordSchema, Schema};
use cobring_market::{GRID, SymbolConfig};
use cobring_pipeline::FrameDigest;
use cobring_pipeline::config::Config;
use cobring_pipeline::fold::{FoldState, Observer, SymbolFold};
use cobring_pipeline::idle::Idle;
use cobring_pipeline::replay::{self, ReplayLayout, ReplayReport, ReplaySetup};
use cobring_pipeline::stages::{Layout, StagedSetup};
use cobring_types::Nanos;
use serde_json::{Value, json};

use crate::exit::Failure;
use crate::output;

/// Lines on their way to stdout; a slow reader of stdout slows the replay, nothing is lost.
const LINES_WAITING: usize = 256;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cobring replay ethusdt.gz btcusdt.gz --jsonl --every 10s   # the state each 10 s, a line for each symbol
  cobring replay ethusdt.gz --hash                           # SHA-256 over all frames
  cobring replay ethusdt.gz --log out && cobring replay out --hash

A recording holds lines '<receive ns> <raw message>', plain, .gz or .zst; several are merged by time.")]
pub(crate) struct Replay {
    /// Recordings (lines) or logs of cobring, not both; a directory stands for the log of its newest run.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Symbols' settings; by default the built-in ones, for logs those that they were written with.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How the stages are joined; frames are the same.
    #[arg(long, value_enum, default_value = "auto")]
    layout: LayoutArg,
    /// Print the state as a line of JSON for each symbol at each multiple of --every.
    #[arg(long)]
    jsonl: bool,
    /// Interval of the lines, in receive time: a multiple of 100ms, as 500ms, 10s, 1m.
    #[arg(long, value_name = "TIME", default_value = "1s", requires = "jsonl", value_parser = parse_interval)]
    every: Nanos,
    /// Print the SHA-256 over all frames, for each symbol and in total.
    #[arg(long, conflicts_with = "jsonl")]
    hash: bool,
    /// Write a log of the same inputs into this directory; its replay gives the same frames.
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    /// Print the summary as one JSON object.
    #[arg(long, conflicts_with = "jsonl")]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LayoutArg {
    /// By-symbol with several symbols on several cores, else fused.
    Auto,
    /// All stages in one thread.
    Fused,
    /// Parse and aggregate in threads of their own.
    Staged,
    /// Reading in one thread, each symbol's parsing and aggregating in others, no more than there are cores; fused with
    /// --jsonl, whose lines show all symbols at one time.
    BySymbol,
}

fn parse_interval(text: &str) -> Result<Nanos, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        unit => return Err(format!("unit {unit:?}: wanted ms, s, m or h, as in 10s")),
    };
    let interval = digits.parse::<i64>().ok().and_then(|count| count.checked_mul(unit));
    match interval {
        Some(nanos) if nanos > 0 && nanos % GRID.0 == 0 => Ok(Nanos(nanos)),
        _ => Err("wanted a multiple of 100ms above 0, as 500ms, 10s, 1m".to_owned()),
    }
}

impl Replay {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let inputs = replay::open(&self.files).map_err(Failure::failed)?;
        let config = match (&self.config, inputs.settings()) {
            (None, Some(settings)) => Config::from_fold_text(settings)?,
            (path, _) => output::config(path.as_deref())?,
        };
        let settings = config.fold_digest_text();
        if let (Some(_), Some(logged)) = (&self.config, inputs.settings())
            && logged != settings
        {
            return Err(Failure::Configuration(
                "the log was written with other settings for its symbols; leave --config out to use its own"
                    .to_owned(),
            ));
        }
        // A symbol that does not occur has no state to print; one that lacks settings is refused when it is met.
        let occurring = inputs.symbols().map_err(Failure::failed)?;
        let mut symbols = config.symbol_configs();
        symbols.retain(|symbol| occurring.contains(symbol.instrument.symbol.as_str()));
        let layout = match self.layout {
            LayoutArg::Auto => ReplayLayout::fastest(symbols.len()),
            LayoutArg::Fused => ReplayLayout::OfRun(Layout::Fused),
            LayoutArg::Staged => ReplayLayout::OfRun(Layout::Staged),
            LayoutArg::BySymbol => ReplayLayout::BySymbol,
        };
        let setup = ReplaySetup {
            symbols,
            settings,
            layout,
            staged: StagedSetup {
                raw_ring_bytes: config.engine.raw_ring_bytes,
                event_ring_bytes: config.engine.event_ring_bytes,
                idle: Idle::Yield,
                cores: [None, None],
            },
            hash: self.hash || self.json,
            is_own_process: true,
            log_dir: self.log.clone(),
        };
        let bar = output::progress_bar("replay");
        let progress = |done, all| {
            bar.set_length(all);
            bar.set_position(done);
        };
        if self.jsonl {
            let (lines, received) = mpsc::sync_channel(LINES_WAITING);
            let printer = thread::spawn(move || print_lines(&received));
            let schemas = setup.symbols.iter().map(SymbolConfig::schema).collect();
            let states = States { every: self.every, schemas, lines };
            let replayed = replay::replay(inputs, &setup, states, progress);
            // The sender is gone with the observer: the printer ends.
            let replayed = replayed.map(|(report, _observer)| report);
            printer
                .join()
                .map_err(|_| Failure::Failed("the printer ended by itself".to_owned()))??;
            replayed.map_err(Failure::failed)?;
            return Ok(());
        }
        let (report, ()) = replay::replay(inputs, &setup, (), progress).map_err(Failure::failed)?;
        bar.finish_and_clear();
        self.print_summary(&report)?;
        Ok(())
    }

    fn print_summary(&self, report: &ReplayReport) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let total = FrameDigest::total(report.symbols.iter().filter_map(|symbol| symbol.digest));
        if self.json {
            return writeln!(out, "{}", summary_json(report));
        }
        for symbol in &report.symbols {
            match &symbol.digest {
                Some(digest) => writeln!(out, "{} {digest}", symbol.symbol)?,
                None => {
                    let counters = &symbol.counters;
                    writeln!(
                        out,
                        "{}: {} frames, {} depth messages applied, {} trades, {} bookTickers, {} gaps, {} of {} best prices differ from bookTicker",
                        symbol.symbol,
                        symbol.frames,
                        counters.depth_applied,
                        counters.trades,
                        counters.quotes,
                        counters.gaps,
                        counters.quote_mismatches,
                        counters.quote_checks,
                    )?;
                }
            }
        }
        if self.hash {
            writeln!(out, "total {total}")?;
        }
        if let Some(log) = &report.log {
            writeln!(io::stderr(), "log written: {}", log.display())?;
        }
        for torn in &report.torn {
            writeln!(
                io::stderr(),
                "{}: ends torn at byte {} ({}): replayed as far as it is whole",
                torn.path.display(),
                torn.offset,
                torn.reason
            )?;
        }
        let malformed = report.decoded.malformed_total();
        if malformed > 0 {
            writeln!(io::stderr(), "{malformed} malformed messages were refused")?;
        }
        Ok(())
    }
}

/// The summary as JSON: counts and hashes of a replay.
fn summary_json(report: &ReplayReport) -> Value {
    json!({
        "inputs": report.inputs,
        "first_ts": report.span.map(|(first, _)| first.0),
        "last_ts": report.span.map(|(_, last)| last.0),
        "malformed": report.decoded.malformed_total(),
        "hash": FrameDigest::total(report.symbols.iter().filter_map(|symbol| symbol.digest)).to_string(),
        "symbols": output::symbols_json(&report.symbols),
    })
}

/// Sends the state at each multiple of the interval to the printer.
struct States {
    every: Nanos,
    schemas: Vec<Schema>,
    lines: SyncSender<Value>,
}

impl Observer for States {
    fn after_timer(&mut self, g: Nanos, symbols: &[SymbolFold]) {
        if g.0 % self.every.0 != 0 {
            return;
        }
        for (symbol, schema) in symbols.iter().zip(&self.schemas) {
            // Where the printer is gone, so is whoever read it: the replay runs out unheard.
            let _gone = self.lines.send(state_json(g, symbol, schema));
        }
    }

    fn at_checkpoint(&mut self, _: u64, _: FoldState<'_>) {}
}

/// The state after timer(g): the frame by its schema, the instant, and of each candle window the last row.
fn state_json(g: Nanos, symbol: &SymbolFold, schema: &Schema) -> Value {
    let market = symbol.market();
    let mut frame = schema.frame_to_json(market.image().words());
    let windows = market.windows();
    for (window, described) in windows.iter().zip(&schema.windows) {
        let block = window_block(&mut frame, &described.name);
        block["last"] = last_row(window.raw(), schema, &described.row);
        block["closed_count"] = json!(window.raw().done());
    }
    for interval in BAR_INTERVALS {
        let block = &mut frame["candles"][interval];
        if block["open"]["open_time"].is_null() {
            block["open"] = Value::Null;
        }
    }
    let mut line = serde_json::Map::new();
    line.insert("symbol".to_owned(), frame["symbol"].take());
    line.insert("ts".to_owned(), json!(g.0));
    if let Value::Object(blocks) = frame {
        for (name, value) in blocks.into_iter().filter(|(name, _)| name != "symbol") {
            line.insert(name, value);
        }
    }
    Value::Object(line)
}

/// The block of a window's name, made where the frame has none: `pivots.1s.1` lies in `pivots`, `1s`, `1`.
fn window_block<'f>(frame: &'f mut Value, name: &str) -> &'f mut Value {
    name.split('.').fold(frame, |block, part| {
        let block = &mut block[part];
        if block.is_null() {
            *block = json!({});
        }
        block
    })
}

fn last_row(window: &RawWindow, schema: &Schema, row: &RecordSchema) -> Value {
    let mut words = vec![0; window.row_size_bytes() / 8];
    match window.done().checked_sub(1) {
        Some(newest) if window.read(newest, &mut words) => schema.record_to_json(row, &words),
        _ => Value::Null,
    }
}

fn print_lines(lines: &Receiver<Value>) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for line in lines {
        serde_json::to_writer(&mut out, &line)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}
