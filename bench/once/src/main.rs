//! From a depth message to the best bid and ask: ours beside nautilus's adapter and book and beside barter-data, in turns.
//! Best prices and quantities agree after every message before anything is timed. Prints a compact JSON object a line.
//!
//! `cargo run --release -- btcusdt.gz ethusdt.gz`

mod barter;
mod input;
mod nautilus;
mod ours;
mod turns;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

/// Least wanted ratios of the peer's time to ours.
const NAUTILUS_GOAL: f64 = 25.0;
const BARTER_GOAL: f64 = 35.0;

/// Price in ticks and quantity in units of 10^-8, of the best bid and of the best ask.
type Best = [(i64, i64); 2];

fn run(files: &[PathBuf]) -> Result<(), Box<dyn Error>> {
    let recorded = input::load(files)?;
    turns::compare::<nautilus::Books>("nautilus-model", Some(NAUTILUS_GOAL), &recorded)?;
    turns::compare::<nautilus::ByValues>("nautilus adapter, by values", None, &recorded)?;
    turns::compare::<barter::Books>("barter-data", Some(BARTER_GOAL), &recorded)
}

fn main() -> ExitCode {
    let files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    match run(&files) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-once: {error}");
            ExitCode::FAILURE
        }
    }
}
