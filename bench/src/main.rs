//! Latency of the engine on real input. Every bench checks its answer before it times.

mod child;
mod hop;
mod ipc;
mod path;
#[cfg(feature = "peers")]
mod peers;
mod player;
mod publish;
mod readers;
mod replay;
mod report;
mod scale;
mod shared;
mod stages;
mod stamps;
mod wire;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Latency of the engine on real input.
#[derive(Debug, Parser)]
#[command(name = "bench", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// How many times as fast.
fn speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(speed) if (0.01..=1e6).contains(&speed) => Ok(speed),
        _ => Err("0.01 to 1000000 is wanted".to_owned()),
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bytes in a buffer → complete frame visible, for each kind of message.
    #[command(after_help = "Example:
  cargo run --release -p bench -- path ethusdt.gz btcusdt.gz
  cargo run --release -p bench -- path --pace 1 --rounds 2 ethusdt.gz btcusdt.gz")]
    Path {
        /// Recordings.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Times that all of it is played; the first is not timed.
        #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(2..))]
        rounds: u32,
        /// Play at the pace of the recording, times SPEED, in place of one message after the other: caches are then as cold
        /// as between the messages of a live run.
        #[arg(long, value_name = "SPEED", value_parser = speed)]
        pace: Option<f64>,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Publishing a frame: windows of 300 and of 1,500 rows, against a bare copy; with no reader, with readers,
    /// and with stopped ones.
    #[command(after_help = "Example:
  cargo run --release -p bench -- publish")]
    Publish {
        /// Seconds that readers are stopped, and that they read, and that there is none.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        rounds: u32,
        /// Print a JSON object a line.
        #[arg(long)]
        json: bool,
        /// Only publish, with windows of so many rows: what callgrind counts.
        #[arg(long, hide = true)]
        count: Option<u64>,
        /// So many frames, with --count.
        #[arg(long, hide = true, default_value_t = 1_000)]
        frames: u64,
    },
    /// What stage stamps and shared counters cost.
    #[command(after_help = "Example:
  cargo run --release -p bench -- stamps")]
    Stamps {
        /// Print a JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Real events from one thread to another, through the ring that joins two stages, beside two bare atomics.
    #[command(after_help = "Example:
  cargo run --release -p bench -- hop ethusdt.gz btcusdt.gz")]
    Hop {
        /// Recordings.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Print a JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Publish → every byte read by another process that polls: the frame ring with 0, 1 and cores − 1 readers, then
    /// beside bare seqlocks, a reader in Python and, with `--features peers`, iceoryx2.
    #[command(after_help = "Example:
  cargo run --release -p bench --features peers -- ipc --python target/venv/bin/python")]
    Ipc {
        /// An interpreter with the package `cobring`.
        #[arg(long, value_name = "FILE")]
        python: Option<PathBuf>,
        /// Print a JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Each stage alone, on made messages: its time and, where valgrind is installed, its instructions.
    #[command(after_help = "Example:
  cargo run --release -p bench -- stages")]
    Stages {
        /// Print a JSON object a line.
        #[arg(long)]
        json: bool,
        /// Only run this stage: what callgrind counts.
        #[arg(long, hide = true, requires = "count")]
        stage: Option<String>,
        /// So many messages, with --stage.
        #[arg(long, hide = true, default_value_t = 1)]
        count: usize,
        /// Only time all stages, and leave what is found there.
        #[arg(long, hide = true, value_name = "DIR", conflicts_with = "stage")]
        time_into: Option<PathBuf>,
    },
    /// Counts the instructions of each stage and fails where one takes more than bench/gate.toml allows; needs valgrind.
    #[command(after_help = "Example:
  cargo run --profile gate -p bench -- gate")]
    Gate {
        /// Write what is counted into bench/gate.toml instead.
        #[arg(long)]
        accept: bool,
    },
    /// Replay, frames published: times real time from our own log and from a recording; a depth message beside cryptofeed.
    #[command(after_help = "Example:
  cargo run --release -p bench -- replay --python target/venv/bin/python ethusdt.gz btcusdt.gz")]
    Replay {
        /// Recordings.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// An interpreter with bench/peers/requirements.txt.
        #[arg(long, value_name = "FILE")]
        python: Option<PathBuf>,
        /// Print a JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Cost of a message with 2, 20 and 200 symbols, which are copies of the recorded ones.
    #[command(after_help = "Example:
  cargo run --release -p bench -- scale ethusdt.gz btcusdt.gz")]
    Scale {
        /// Recordings.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Print a JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Server → socket → engine → reading process: one message in flight beside a bare receive; with four cores or more
    /// also at stated rates, with an HDR log and a picture.
    #[command(after_help = "Example:
  cargo run --release -p bench -- wire ethusdt.gz btcusdt.gz")]
    Wire {
        /// Recordings.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Messages a second, open loop alone and even with fewer cores; may be given more than once.
        #[arg(long = "rate", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        rates: Vec<u32>,
        /// Where the log and the picture go.
        #[arg(long, value_name = "DIR", default_value = "target/bench")]
        out: PathBuf,
        /// Print a JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// The same input through the engine and through others, interleaved; needs `--features peers`.
    #[command(after_help = "Example:
  cargo run --release -p bench --features peers -- peers --jsonl ethusdt.gz btcusdt.gz")]
    #[cfg(feature = "peers")]
    Peers {
        /// Recordings.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// An interpreter with bench/peers/requirements.txt and the package `cobring`.
        #[arg(long, value_name = "FILE")]
        python: Option<PathBuf>,
        /// A JSON object a line, which is the only way.
        #[arg(long)]
        jsonl: bool,
        /// Only figures whose names begin with this.
        #[arg(long, default_value = "", value_name = "PREFIX")]
        only: String,
    },
    /// The engine of `wire`.
    #[command(hide = true)]
    WireEngine {
        /// Its configuration.
        config: PathBuf,
    },
    /// The bare receiver of `wire`.
    #[command(hide = true)]
    WireRaw {
        /// The page that it is told by.
        control: PathBuf,
        /// Where it connects to.
        port: u16,
    },
    /// What a reader of `ipc` does.
    #[command(hide = true)]
    ReadIpc {
        /// Its number.
        number: usize,
        /// Where the writer's files are.
        dir: PathBuf,
        /// What it reads.
        media: Vec<String>,
    },
    /// What a reader of `publish` does.
    #[command(hide = true)]
    Read {
        /// The engine's directory.
        dir: PathBuf,
        /// Ends before this frame.
        #[arg(long)]
        until: u64,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Path { files, rounds, pace, json } => path::run(&files, rounds, pace, json),
        Command::Publish { count: Some(rows), frames, .. } => publish::count(rows, frames),
        Command::Publish { count: None, rounds, json, .. } => {
            publish::run(json).and_then(|()| readers::run(rounds, json))
        }
        Command::Stamps { json } => stamps::run(json),
        #[cfg(feature = "peers")]
        Command::Peers { files, python, jsonl: _, only } => {
            peers::run(&files, python.as_deref(), &only)
        }
        Command::Hop { files, json } => hop::run(&files, true, json),
        Command::Ipc { python, json } => ipc::run(python.as_deref(), json),
        Command::Wire { files, rates, out, json } => wire::run(&files, &rates, &out, json),
        Command::Stages { stage: Some(stage), count, .. } => stages::run_counted(&stage, count),
        Command::Stages { time_into: Some(dir), .. } => stages::time_into(&dir),
        Command::Stages { json, .. } => stages::run(json),
        Command::Gate { accept: true } => stages::accept(),
        Command::Gate { accept: false } => stages::check(),
        Command::Replay { files, python, json } => replay::run(&files, python.as_deref(), json),
        Command::Scale { files, json } => scale::run(&files, json),
        Command::WireEngine { config } => wire::engine(&config),
        Command::WireRaw { control, port } => wire::raw(&control, port),
        Command::ReadIpc { number, dir, media } => ipc::read(&dir, number, &media),
        Command::Read { dir, until } => readers::read(&dir, until),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing can be done where even stderr is closed.
            let _ = writeln!(io::stderr(), "bench: {error}");
            ExitCode::FAILURE
        }
    }
}
