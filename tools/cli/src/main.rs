//! The program `cobring`: one file for each subcommand.
//!
//! Data go to stdout, messages to stderr. Exit codes: 0 ok, 1 failed, 2 usage, 3 configuration, 4 a check found
//! something, 5 a dependency is missing, 130 and 143 ended by SIGINT and SIGTERM.
#![forbid(unsafe_code)]

mod check_config;
mod completion;
mod demo;
mod doctor;
mod exit;
mod frame;
mod frame_rows;
mod gaps;
mod import_klines;
mod lineage;
mod output;
mod outputs;
mod replay;
mod run;
mod shm;
mod signals;
mod sim;
mod sim_test;
mod table;
mod top;
mod verify;

use std::io::IsTerminal as _;

use clap::{Parser, Subcommand};

use crate::exit::Failure;

/// A low-latency market-data engine for teams who trade with machine-learning models.
#[derive(Debug, Parser)]
#[command(
    name = "cobring",
    version,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "Examples:
  cobring demo                         # simulator, engine, live table: no network, no set-up
  cobring run                          # Binance ETHUSDT and BTCUSDT, live
  cobring top                          # that engine at work: quality, latencies, readers, counters
  cobring frame watch ETHUSDT          # the frames that models read, as they come
  cobring replay ethusdt.gz --jsonl --every 10s

Exit codes: 0 ok, 1 failed, 2 usage, 3 configuration, 4 a check found something,
5 a dependency is missing, 130/143 ended by SIGINT/SIGTERM.
COBRING_LOG=debug shows more on stderr."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take market data over sockets and publish frames to shared memory.
    Run(run::Run),
    /// Simulator, engine and a live table in one: no network, no set-up.
    Demo(demo::Demo),
    /// Play an exchange: real HTTP and WebSocket servers, from recordings or from a seed.
    Sim(sim::Sim),
    /// Try the whole engine in virtual time against faults, seed after seed.
    SimTest(sim_test::SimTest),
    /// Fold recordings or logs and print what came of them.
    Replay(replay::Replay),
    /// Watch an engine at work: books, quality, latencies, readers, counters.
    Top(top::Top),
    /// Read frames from shared memory.
    Frame(frame::Frame),
    /// Check that logs are whole: numbers, checksums, ids.
    Verify(verify::Verify),
    /// List what logs do not hold: times without a link, lost books, missing trades.
    Gaps(gaps::Gaps),
    /// Read back from the log what a model said.
    Outputs(outputs::Outputs),
    /// List or clean up shared memory.
    Shm(shm::Shm),
    /// Make bounds and pivots from the venue's kline archives.
    ImportKlines(import_klines::ImportKlines),
    /// Check a configuration without starting anything.
    CheckConfig(check_config::CheckConfig),
    /// Look at this host: what costs latency or will fail, and how to mend it.
    Doctor(doctor::Doctor),
    /// Print a completion script for a shell.
    Completion(completion::Completion),
}

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    let level = match cli.command {
        // Faults are what it is about.
        Command::SimTest(_) => "error",
        Command::Demo(_) | Command::Top(_) => "warn",
        _ => "info",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("COBRING_LOG");
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(filter.unwrap_or_else(|_| level.into()))
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let result = match cli.command {
        Command::Run(command) => command.run(),
        Command::Demo(command) => command.run(),
        Command::Sim(command) => command.run(),
        Command::SimTest(command) => command.run(),
        Command::Replay(command) => command.run(),
        Command::Top(command) => command.run(),
        Command::Frame(command) => command.run(),
        Command::Verify(command) => command.run(),
        Command::Gaps(command) => command.run(),
        Command::Outputs(command) => command.run(),
        Command::Shm(command) => command.run(),
        Command::ImportKlines(command) => command.run(),
        Command::CheckConfig(command) => command.run(),
        Command::Doctor(command) => command.run(),
        Command::Completion(command) => command.run(),
    };
    Failure::exit_code(result)
}
