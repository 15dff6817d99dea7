//! `cobring demo`: simulator, engine and a table of frames, in one process and without a network.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use cobring_frame::{Reader, Schema};
use cobring_pipeline::config::Config;
use cobring_pipeline::live;
use cobring_sim::{SimConfig, Source, SyntheticConfig};

use crate::exit::Failure;
use crate::signals::Signals;
use crate::table;

/// Seed of the demo's market.
const SEED: u64 = 20_261;
/// Between two pictures on a terminal.
const REFRESH: Duration = Duration::from_millis(200);
/// Between two lines for each symbol where stdout is no terminal.
const LINE: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cobring demo                    # until Ctrl-C
  cobring demo --duration 10s
While it runs, `cobring frame show ETHUSDT --dir DIR` reads its frames; DIR is printed at the start.")]
pub(crate) struct Demo {
    /// End after this time, as 10s or 2m.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Seed of the simulated market.
    #[arg(long, value_name = "N", default_value_t = SEED)]
    seed: u64,
}

pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let milliseconds_each = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        unit => return Err(format!("unit {unit:?}: wanted ms, s, m or h, as in 10s")),
    };
    let count = digits.parse::<u64>().ok();
    count
        .and_then(|count| count.checked_mul(milliseconds_each))
        .map(Duration::from_millis)
        .ok_or_else(|| "wanted a whole number and ms, s, m or h, as in 10s".to_owned())
}

/// A directory of the demo's own, so that it never meets a real engine; removed at the end.
struct OwnDir(PathBuf);

impl OwnDir {
    fn new() -> Self {
        Self(PathBuf::from(format!("/dev/shm/cobring-demo-{}", std::process::id())))
    }
}

impl Drop for OwnDir {
    fn drop(&mut self) {
        // Best effort: what is left is in memory only.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Demo {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let signals = Signals::catch()?;
        let mut config = Config::built_in();
        let names: Vec<String> = config
            .symbol_configs()
            .iter()
            .map(|symbol| symbol.instrument.symbol.to_string())
            .collect();
        let symbols: Vec<&str> = names.iter().map(String::as_str).collect();
        let sim = cobring_sim::start(&SimConfig::new(Source::Synthetic(SyntheticConfig::new(
            self.seed, &symbols,
        ))))?;
        let dir = OwnDir::new();
        config.engine.shared_memory_dir.clone_from(&dir.0);
        config.log.enabled = false;
        config.binance.websocket_url = sim.ws_url();
        config.binance.rest_url = sim.rest_url();
        let stop = Arc::new(AtomicBool::new(false));
        let engine = {
            let stop = Arc::clone(&stop);
            thread::Builder::new()
                .name("cobring-engine".to_owned())
                .spawn(move || live::run(&config, stop, (), |_| {}))?
        };
        writeln!(
            io::stderr(),
            "exchange simulator at {}, frames in {}",
            sim.ws_url(),
            dir.0.display()
        )?;
        let shown = self.show(&dir.0, &symbols, &signals, || engine.is_finished());
        stop.store(true, Ordering::Relaxed);
        let report =
            engine.join().map_err(|_| Failure::Failed("the engine ended by itself".to_owned()))?;
        sim.shutdown();
        let report = report?;
        shown?;
        let frames: u64 = report.symbols.iter().map(|symbol| symbol.frames).sum();
        let gaps: u64 = report.symbols.iter().map(|symbol| symbol.counters.gaps).sum();
        writeln!(
            io::stderr(),
            "{frames} frames from {} inputs, {gaps} gaps",
            report.ingest.inputs
        )?;
        signals.outcome()
    }

    fn show(
        &self,
        dir: &Path,
        symbols: &[&str],
        signals: &Signals,
        is_over: impl Fn() -> bool,
    ) -> io::Result<()> {
        let began = Instant::now();
        let on_terminal = io::stdout().is_terminal();
        let interval = if on_terminal { REFRESH } else { LINE };
        let mut readers: Vec<Option<View>> = symbols.iter().map(|_| None).collect();
        let mut next = began + interval;
        let mut lines = 0_u64;
        while !signals.is_set()
            && !is_over()
            && self.duration.is_none_or(|limit| began.elapsed() < limit)
        {
            thread::sleep(
                next.saturating_duration_since(Instant::now()).min(Duration::from_millis(20)),
            );
            if Instant::now() < next {
                continue;
            }
            next += interval;
            let mut out = io::stdout().lock();
            if on_terminal {
                write!(out, "\x1b[H\x1b[2J")?;
            }
            if on_terminal || lines.is_multiple_of(20) {
                writeln!(out, "{}", table::HEADER)?;
            }
            lines += 1;
            for (reader, symbol) in readers.iter_mut().zip(symbols) {
                if reader.is_none() {
                    *reader = View::open(dir, symbol);
                }
                match reader.as_mut().and_then(View::row) {
                    Some(row) => writeln!(out, "{row}")?,
                    None => writeln!(out, "{symbol:<10} no frame yet")?,
                }
            }
            out.flush()?;
        }
        Ok(())
    }
}

/// One symbol's frames, as a model would read them.
struct View {
    reader: Reader,
    schema: Schema,
    words: Vec<u64>,
}

impl View {
    fn open(dir: &Path, symbol: &str) -> Option<Self> {
        let reader = Reader::open(dir, symbol).ok()?;
        let schema = Schema::from_json(reader.schema()).ok()?;
        let words = vec![0; reader.frame_size_bytes() / 8];
        Some(Self { reader, schema, words })
    }

    fn row(&mut self) -> Option<String> {
        self.reader.latest(&mut self.words).ok()??;
        Some(table::row(&self.schema.frame_to_json(&self.words)))
    }
}
