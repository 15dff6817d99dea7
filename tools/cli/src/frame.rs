//! `cobring frame`: frames out of shared memory, as any reader gets them.

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use cobring_frame::{FrameError, Next, Reader, STAGES, Schema};
use serde_json::{Map, Value, json};

use crate::exit::Failure;
use crate::frame_rows::Rows;
use crate::lineage::Lineage;
use crate::output;
use crate::signals::Signals;

/// How long one wait for a frame lasts; the signal flag is looked at between two.
const WAIT: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub(crate) struct Frame {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the newest frame.
    #[command(after_help = "Examples:
  cobring frame show ETHUSDT
  cobring frame show ETHUSDT --json | jq .top")]
    Show(Show),
    /// Print frames as they come; waits for the engine and follows its restarts.
    #[command(after_help = "Examples:
  cobring frame watch ETHUSDT                          # a table, refreshed
  cobring frame watch ETHUSDT --jsonl --count 100      # each frame, a line of JSON
  cobring frame watch ETHUSDT --jsonl --latest         # skips what it has no time for")]
    Watch(Watch),
    /// Print the newest rows of a window, oldest first, each a line of JSON.
    #[command(after_help = "Examples:
  cobring frame rows ETHUSDT candles.1m --last 60
  cobring frame rows ETHUSDT pivots.1s.3 | jq -c '[.open_time, .kind, .price]'")]
    Rows(Rows),
    /// Print the input behind a frame, from the log.
    #[command(after_help = crate::lineage::EXAMPLES)]
    Lineage(Lineage),
}

#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The symbol.
    #[arg(value_name = "SYMBOL")]
    symbol: String,
    /// Directory of the engine; by default that of --config.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Configuration that names the directory; by default the built-in one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    place: Place,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Watch {
    #[command(flatten)]
    place: Place,
    /// Print each frame as a line of JSON.
    #[arg(long)]
    jsonl: bool,
    /// Only the newest frame each time; what lies between is skipped.
    #[arg(long)]
    latest: bool,
    /// Be listed by `cobring shm ls` under this name, with what was read and missed.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// End after so many frames.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// End when no frame came for so many seconds; without it a missing engine is waited for.
    #[arg(long, value_name = "SECONDS")]
    idle_exit: Option<u64>,
}

impl From<FrameError> for Failure {
    fn from(error: FrameError) -> Self {
        Self::failed(error)
    }
}

impl Place {
    fn dir(&self) -> Result<PathBuf, Failure> {
        Ok(match &self.dir {
            Some(dir) => dir.clone(),
            None => output::config(self.config.as_deref())?.engine.shared_memory_dir,
        })
    }
}

impl Frame {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self.action {
            Action::Show(show) => show.run(),
            Action::Watch(watch) => watch.run(),
            Action::Rows(rows) => rows.run(),
            Action::Lineage(lineage) => lineage.run(),
        }
    }
}

/// A reader with room for its frames and their description.
pub(crate) struct Open {
    pub(crate) reader: Reader,
    pub(crate) schema: Schema,
    words: Vec<u64>,
}

impl Open {
    pub(crate) fn new(place: &Place) -> Result<Self, Failure> {
        let reader = Reader::open(&place.dir()?, &place.symbol)?;
        Self::of(reader)
    }

    fn of(reader: Reader) -> Result<Self, Failure> {
        let schema = Schema::from_json(reader.schema()).map_err(|error| {
            Failure::Failed(format!("the segment's schema is damaged: {error}"))
        })?;
        let words = vec![0; reader.frame_size_bytes() / 8];
        Ok(Self { reader, schema, words })
    }

    fn json(&self) -> Value {
        self.schema.frame_to_json(&self.words)
    }
}

impl Show {
    fn run(self) -> Result<(), Failure> {
        let mut open = Open::new(&self.place)?;
        let seq = open.reader.latest(&mut open.words)?;
        let liveness = format!("{:?}", open.reader.liveness());
        let mut out = BufWriter::new(io::stdout().lock());
        if seq.is_none() {
            return Err(Failure::Failed(format!(
                "{}: no frame yet; {liveness}",
                open.reader.path().display()
            )));
        }
        let mut frame = open.json();
        if self.json {
            frame["liveness"] = json!(liveness);
            writeln!(out, "{frame}")?;
        } else {
            writeln!(out, "{}  {liveness}", open.reader.path().display())?;
            print_block(&mut out, &frame, 0)?;
        }
        out.flush()?;
        Ok(())
    }
}

/// How long the frame's input took to the stamp of that name: since which stamps.
fn spans_to(times: &Map<String, Value>, stamp: &str) -> String {
    let ns = |name: &str| times.get(name).and_then(Value::as_i64);
    let spans = STAGES.iter().filter(|stage| stage.to == stamp).filter_map(|stage| {
        let span_ns = ns(stage.to)?.checked_sub(ns(stage.from)?)?;
        Some(format!("  {span_ns} ns since {}", stage.from))
    });
    spans.collect()
}

/// A block as indented lines; arrays of numbers stay on theirs.
fn print_block(out: &mut impl Write, block: &Value, depth: usize) -> io::Result<()> {
    let Value::Object(fields) = block else { return Ok(()) };
    for (name, value) in fields {
        match value {
            Value::Object(_) => {
                writeln!(out, "{:indent$}{name}", "", indent = 2 * depth)?;
                print_block(out, value, depth + 1)?;
            }
            Value::String(text) => {
                writeln!(out, "{:indent$}{name:<26} {text}", "", indent = 2 * depth)?
            }
            value => {
                let spans = spans_to(fields, name);
                writeln!(out, "{:indent$}{name:<26} {value}{spans}", "", indent = 2 * depth)?;
            }
        }
    }
    Ok(())
}

impl Watch {
    fn run(self) -> Result<(), Failure> {
        let signals = Signals::catch()?;
        let mut out = BufWriter::new(io::stdout().lock());
        let mut open: Option<Open> = None;
        let mut told = String::new();
        let (mut frames, mut lost) = (0, 0);
        let mut last_frame = Instant::now();
        let refresh = io::stdout().is_terminal() && !self.jsonl;
        while !signals.is_set() && self.count.is_none_or(|count| frames < count) {
            if self
                .idle_exit
                .is_some_and(|seconds| last_frame.elapsed() > Duration::from_secs(seconds))
            {
                break;
            }
            match self.step(&mut open) {
                Ok(Step::Frame) => {
                    told.clear();
                    frames += 1;
                    last_frame = Instant::now();
                    if let Some(open) = &open {
                        self.print(&mut out, &open.json(), refresh)?;
                    }
                }
                Ok(Step::Lapped(count)) => {
                    lost += count;
                    tracing::warn!(lost = count, "lapped: the engine was faster than this reader");
                }
                Ok(Step::Nothing) => {}
                // Said once; then it is waited for an engine that comes (back).
                Err(error) => {
                    let message = error.to_string();
                    if message != told {
                        tracing::warn!("{message}");
                        told = message;
                    }
                    if !error.is_epoch_change() && !error.is_writer_gone() {
                        open = None;
                        std::thread::sleep(WAIT);
                    }
                }
            }
        }
        out.flush()?;
        if lost > 0 {
            tracing::info!(frames, lost, "end");
        }
        signals.outcome()
    }

    fn step(&self, open: &mut Option<Open>) -> Result<Step, FrameError> {
        let Some(held) = open else {
            let dir = self.place.dir().unwrap_or_default();
            let symbol = &self.place.symbol;
            let reader = match &self.name {
                Some(name) => Reader::open_named(&dir, symbol, name)?,
                None => Reader::open(&dir, symbol)?,
            };
            *open = Open::of(reader).ok();
            return Ok(Step::Nothing);
        };
        let taken = if self.latest {
            // The newest may be the one that was taken last.
            let passed = held.reader.position();
            held.reader.latest(&mut held.words).map(|seq| match seq {
                Some(seq) if seq >= passed => Step::Frame,
                _ => Step::Nothing,
            })
        } else {
            held.reader.next(&mut held.words).map(|next| match next {
                Next::Frame { .. } => Step::Frame,
                Next::Empty => Step::Nothing,
                Next::Lapped { lost } => Step::Lapped(lost),
            })
        };
        match taken {
            Ok(Step::Nothing) => {
                held.reader.wait(WAIT)?;
                // What came is read in the next step.
                Ok(Step::Nothing)
            }
            Err(error) => {
                if error.is_epoch_change() {
                    // Another engine may describe its frames differently.
                    held.schema =
                        Schema::from_json(held.reader.schema()).unwrap_or(held.schema.clone());
                    held.words = vec![0; held.reader.frame_size_bytes() / 8];
                }
                Err(error)
            }
            taken => taken,
        }
    }

    fn print(&self, out: &mut impl Write, frame: &Value, refresh: bool) -> io::Result<()> {
        if self.jsonl {
            writeln!(out, "{frame}")?;
        } else {
            if refresh {
                write!(out, "\x1b[H\x1b[2J")?;
            }
            writeln!(out, "{}", crate::table::HEADER)?;
            writeln!(out, "{}", crate::table::row(frame))?;
        }
        // A reader at the other end of a pipe wants frames when they come.
        out.flush()
    }
}

enum Step {
    Frame,
    Lapped(u64),
    Nothing,
}
