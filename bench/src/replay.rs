//! Replay, frames published: how many times faster than it was, from our own log and from a recording as it is stored; and
//! what a depth message takes beside cryptofeed, which reads the same file in turns.
//!
//! What counts is how long one waits, with the stages joined as `cobring replay` joins them on this host. Beside it stands what
//! one thread takes for all of it, by its time on the processor. cryptofeed is one thread: its time on the processor counts.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use cobring_frame::{FrameImage, FrameLayout};
use cobring_pipeline::config::Config;
use cobring_pipeline::fold::{FoldState, Observer, SymbolFold};
use cobring_pipeline::recording::Recording;
use cobring_pipeline::replay::{self, ReplayLayout, ReplayReport, ReplaySetup};
use cobring_pipeline::stages::Layout;
use cobring_types::Nanos;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;

use crate::child::{OwnDir, Process};
use crate::path::is_of_stream;
use crate::player::staged_setup;
use crate::report::{Figure, cpu_ns, median, mono_ns, progress};

/// Times that each is replayed; the middle one counts.
const ROUNDS: usize = 7;
const LOG_GOAL: f64 = 6_000.0;
const RECORDING_GOAL: f64 = 2_500.0;
const CRYPTOFEED_GOAL: f64 = 60.0;
/// The symbol whose depth messages both read.
const SYMBOL: &str = "BTCUSDT";

const ONE_THREAD: ReplayLayout = ReplayLayout::OfRun(Layout::Fused);

fn setup(symbol: Option<&str>, hash: bool) -> ReplaySetup {
    let config = Config::built_in();
    let mut symbols = config.symbol_configs();
    symbols.retain(|held| symbol.is_none_or(|name| held.instrument.symbol.as_str() == name));
    ReplaySetup {
        layout: ReplayLayout::fastest(symbols.len()),
        symbols,
        settings: config.fold_digest_text(),
        staged: staged_setup(&config),
        hash,
        is_own_process: true,
        log_dir: None,
    }
}

/// With its time: of one thread on the processor, of several by the clock.
fn timed(files: &[PathBuf], setup: &ReplaySetup) -> Result<(f64, ReplayReport), Box<dyn Error>> {
    let now = if setup.layout == ONE_THREAD { cpu_ns } else { mono_ns };
    let began = now();
    let (report, ()) = replay::replay(replay::open(files)?, setup, (), |_, _| {})?;
    Ok(((now() - began) as f64, report))
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn run(
    files: &[PathBuf],
    python: Option<&Path>,
    json: bool,
) -> Result<(), Box<dyn Error>> {
    progress("replay");
    let dir = OwnDir::on_disk("bench")?;
    // First whether both are the same frames.
    let hashed =
        ReplaySetup { layout: ONE_THREAD, log_dir: Some(dir.0.join("log")), ..setup(None, true) };
    let (_, wanted) = timed(files, &hashed)?;
    let log = vec![wanted.log.clone().ok_or("no log was written")?];
    let (_, found) = timed(&log, &setup(None, true))?;
    for (found, wanted) in found.symbols.iter().zip(&wanted.symbols) {
        if found.digest != wanted.digest || found.frames == 0 {
            return Err(
                format!("{}: the log's frames are not the recording's", found.symbol).into()
            );
        }
    }
    let (first, last) = wanted.span.ok_or("nothing was replayed")?;
    let span_ns = (last.0 - first.0) as f64;
    let inputs = wanted.inputs as f64;

    let fastest = setup(None, false);
    let one_thread = ReplaySetup { layout: ONE_THREAD, ..setup(None, false) };
    let ways =
        [(&log[..], &fastest), (files, &fastest), (&log[..], &one_thread), (files, &one_thread)];
    let mut took = ways.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for ((files, setup), took) in ways.into_iter().zip(&mut took) {
            took.push(timed(files, setup)?.0);
        }
    }
    let took = took.map(median);
    let figures = [
        ("replay_log", Some(LOG_GOAL)),
        ("replay_recording", Some(RECORDING_GOAL)),
        ("replay_log_one_thread", None),
        ("replay_recording_one_thread", None),
    ];
    for ((figure, goal), ours_ns) in figures.into_iter().zip(took) {
        Figure { figure, peer: "real time", ours_ns, peer_ns: span_ns, goal }.print(json)?;
    }
    progress(&format!("replay: {:.0} ns an input from the log, one thread", took[2] / inputs));
    compare(files, python, json)
}

/// A depth message in whole programs: file, parsing, book; ours folds timers and publishes frames too. From a plain file, and
/// from a compressed one, where decompressing, the same work for both, is a sixth of ours.
pub(crate) fn compare(
    files: &[PathBuf],
    python: Option<&Path>,
    json: bool,
) -> Result<(), Box<dyn Error>> {
    let Some(python) = python else {
        progress("no cryptofeed: name an interpreter that has it by --python");
        return Ok(());
    };
    let dir = OwnDir::on_disk("depth")?;
    for (figure, file, goal) in [
        ("replay_depth", "depth.txt", Some(CRYPTOFEED_GOAL)),
        ("replay_depth_gz", "depth.gz", None),
    ] {
        progress(&format!("{figure} beside cryptofeed"));
        let path = dir.0.join(file);
        let messages = write_depth(files, &path)?;
        let [ours_ns, peer_ns] = in_turns(path, messages, python)?;
        Figure { figure, peer: "cryptofeed", ours_ns, peer_ns, goal }.print(json)?;
    }
    Ok(())
}

/// What a message of the file takes, ours and cryptofeed.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn in_turns(path: PathBuf, messages: u64, python: &Path) -> Result<[f64; 2], Box<dyn Error>> {
    let mut cryptofeed = start_cryptofeed(python, &path)?;
    let inputs = [path];
    let setup = ReplaySetup { layout: ONE_THREAD, ..setup(Some(SYMBOL), false) };
    let (layout, words) = (setup.symbols[0].layout, Vec::new());
    let last = Last { layout, update_id: 0, best: [f64::NAN; 2], words };
    let (_, last) = replay::replay(replay::open(&inputs)?, &setup, last, |_, _| {})?;
    // A pass of each that is not counted: memory is touched, the interpreter has specialised its code.
    timed(&inputs, &setup)?;
    pass(&mut cryptofeed)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(timed(&inputs, &setup)?.0 / messages as f64);
        let pass = pass(&mut cryptofeed)?;
        // Both say the nearest double of the same decimal.
        let bits = |best: [f64; 2]| best.map(f64::to_bits);
        let is_same = pass.update_id == last.update_id && bits(pass.best) == bits(last.best);
        if pass.messages != messages || !is_same {
            return Err(
                format!("cryptofeed ends with {pass:?}, we with {last:?} of {messages}").into()
            );
        }
        theirs.push(pass.message_ns);
    }
    Ok([median(ours), median(theirs)])
}

/// The symbol's snapshot and depth messages as a recording of their own, compressed where its name says so; how many
/// messages.
fn write_depth(files: &[PathBuf], path: &Path) -> Result<u64, Box<dyn Error>> {
    let file = File::create(path)?;
    if path.extension().is_some_and(|ending| ending == "gz") {
        let mut to = BufWriter::new(GzEncoder::new(file, Compression::default()));
        let messages = write_depth_to(files, &mut to)?;
        to.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?;
        Ok(messages)
    } else {
        let mut to = BufWriter::new(file);
        let messages = write_depth_to(files, &mut to)?;
        to.flush()?;
        Ok(messages)
    }
}

fn write_depth_to(files: &[PathBuf], to: &mut impl Write) -> Result<u64, Box<dyn Error>> {
    let (mut recording, mut messages) = (Recording::open(files)?, 0);
    while let Some(line) = recording.next()? {
        let is_depth = is_of_stream(line.bytes, b"@depth");
        if line.symbol == Some(SYMBOL) && (line.snapshot || is_depth) {
            write!(to, "{} ", line.ts_recv.0)?;
            to.write_all(line.bytes)?;
            to.write_all(b"\n")?;
            messages += u64::from(is_depth);
        }
    }
    Ok(messages)
}

/// The book of the newest frame.
#[derive(Debug)]
struct Last {
    layout: FrameLayout,
    update_id: u64,
    /// Best bid and ask.
    best: [f64; 2],
    words: Vec<u64>,
}

impl Observer for Last {
    fn after_timer(&mut self, _: Nanos, _: &[SymbolFold]) {}

    fn after_frame(&mut self, at: usize, symbols: &[SymbolFold]) {
        let reader = symbols[at].reader();
        self.words.resize(reader.frame_size_bytes() / 8, 0);
        let read = reader.frame_at(symbols[at].frames().saturating_sub(1), &mut self.words);
        let image = FrameImage::from_words(self.words.clone().into_boxed_slice(), self.layout);
        if let (Ok(true), Some(image)) = (read, image) {
            let book = &image.head().book;
            self.update_id = book.update_id;
            self.best = [book.bids[0][0], book.asks[0][0]];
        }
    }

    fn at_checkpoint(&mut self, _: u64, _: FoldState<'_>) {}
}

/// What cryptofeed says of one pass over the file.
#[derive(Debug, Deserialize)]
struct Pass {
    message_ns: f64,
    messages: u64,
    update_id: u64,
    best: [f64; 2],
}

/// cryptofeed's Binance handler in a process of its own (`bench/peers/cryptofeed_book.py`).
fn start_cryptofeed(python: &Path, file: &Path) -> Result<Process, Box<dyn Error>> {
    let mut command = Command::new(python);
    command.args(["-c", include_str!("../peers/cryptofeed_book.py")]).arg(file);
    Process::start(command)
}

fn pass(cryptofeed: &mut Process) -> Result<Pass, Box<dyn Error>> {
    cryptofeed.say("once more")?;
    Ok(serde_json::from_str(&cryptofeed.hear()?)?)
}
