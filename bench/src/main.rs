//! Latency of the engine on real input. Every bench checks its answer before it times.
#![forbid(unsafe_code)]

mod path;
#[cfg(feature = "peers")]
mod peers;
mod publish;
mod readers;
mod stamps;

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

#[derive(Debug, Subcommand)]
enum Command {
    /// Bytes in a buffer → complete frame visible, for each kind of message.
    #[command(after_help = "Example:
  cargo run --release -p bench -- path ethusdt.gz btcusdt.gz")]
    Path {
        /// Recordings.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Times that all of it is played; the first is not timed.
        #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(2..))]
        rounds: u32,
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
    /// The same input through the engine and through others, interleaved; needs `--features peers`.
    #[command(after_help = "Example:
  cargo run --release -p bench --features peers -- peers --jsonl ethusdt.gz btcusdt.gz")]
    #[cfg(feature = "peers")]
    Peers {
        /// Recordings.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// A JSON object a line, which is the only way.
        #[arg(long)]
        jsonl: bool,
        /// Only figures whose names begin with this.
        #[arg(long, default_value = "", value_name = "PREFIX")]
        only: String,
    },
    /// What a reader of the bench does.
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
        Command::Path { files, rounds, json } => path::run(&files, rounds, json),
        Command::Publish { count: Some(rows), frames, .. } => publish::count(rows, frames),
        Command::Publish { count: None, rounds, json, .. } => {
            publish::run(json).and_then(|()| readers::run(rounds, json))
        }
        Command::Stamps { json } => stamps::run(json),
        #[cfg(feature = "peers")]
        Command::Peers { files, jsonl: _, only } => peers::run(&files, &only),
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
