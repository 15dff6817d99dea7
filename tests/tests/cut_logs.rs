//! No future leaks: what a log shows until an instant does not depend on what follows it.
#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "independent_figures/generated.rs"]
mod generated;

use std::path::{Path, PathBuf};
use std::time::Duration;

use cobring_tests::{Market, Setup, Sim, cobring, wait_until};
use serde_json::Value;

const CUTS: u64 = 20;
/// Of header and checkpoint, and some.
const HEAD_BYTES: usize = 20_000;

/// The state of each symbol at each timer, a line each.
fn lines(log: &Path, layout: &str) -> String {
    let options = ["replay", "--jsonl", "--every", "100ms", "--layout", layout].map(PathBuf::from);
    cobring(options.into_iter().chain([log.to_owned()])).succeeded().stdout
}

/// When the last input of a log was received.
fn last_ts(log: &Path) -> i64 {
    let args = ["replay", "--json"].map(PathBuf::from).into_iter().chain([log.to_owned()]);
    cobring(args).succeeded().json()["last_ts"].as_i64().unwrap()
}

fn ts(line: &str) -> i64 {
    serde_json::from_str::<Value>(line).unwrap()["ts"].as_i64().unwrap()
}

/// Cuts the log at bytes anywhere after its head, which no replay does without, and replays what is left.
fn check(log: &Path) {
    let bytes = std::fs::read(log).unwrap();
    let whole = lines(log, "fused");
    assert_eq!(lines(log, "staged"), whole);
    let dir = tempfile::tempdir().unwrap();
    let cut_log = dir.path().join("cut.cblog");
    let mut state = 88_172_645_463_325_252_u64;
    let mut counts = Vec::new();
    for number in 0..CUTS {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Every other one near the end: the answers to the first questions are most of a short log.
        let first = if number % 4 < 2 { HEAD_BYTES } else { bytes.len() * 7 / 8 };
        let span = u64::try_from(bytes.len() - first).unwrap();
        let cut = first + usize::try_from((state >> 16) % span).unwrap();
        std::fs::write(&cut_log, &bytes[..cut]).unwrap();
        let layout = if number % 2 == 0 { "fused" } else { "staged" };
        let early = lines(&cut_log, layout);
        // Not `starts_with`: the first line that differs is to be read.
        for (early, whole) in early.lines().zip(whole.lines()) {
            assert_eq!(early, whole, "cut at byte {cut} of {}, {layout}", bytes.len());
        }
        let count = early.lines().count();
        if let Some(next) = whole.lines().nth(count) {
            // Not one too few: what comes next comes after the last input of the cut log.
            assert!(ts(next) > last_ts(&cut_log), "cut at byte {cut}: {count} lines");
        }
        counts.push(count);
    }
    counts.sort_unstable();
    counts.dedup();
    assert!(counts.len() > 5, "the cuts lie at few instants: {counts:?}");
}

/// Of two symbols, with gaps, restarts and repairs: a log that `replay` writes.
#[test]
fn a_cut_log_of_a_recording_gives_the_same_lines_so_far() {
    let dir = tempfile::tempdir().unwrap();
    let recording = generated::recording();
    let some: String = recording.split_inclusive('\n').take(150).collect();
    let other = some.replace("ethusdt", "btcusdt").replace("ETHUSDT", "BTCUSDT");
    let files = [("ethusdt", &some), ("btcusdt", &other)].map(|(symbol, text)| {
        let path = dir.path().join(symbol);
        std::fs::write(&path, text).unwrap();
        path
    });
    let log = dir.path().join("log");
    let args = ["replay", "--log", log.to_str().unwrap()].map(PathBuf::from);
    let _ = cobring(args.into_iter().chain(files)).succeeded();
    let written = std::fs::read_dir(log).unwrap().next().unwrap().unwrap().path();
    check(&written);
}

/// With links, snapshots and klines that were asked for: a log that `run` writes.
#[test]
fn a_cut_log_of_a_run_gives_the_same_lines_so_far() {
    let sim = Sim::start(&Market::Seed(41));
    let setup = Setup::of(&sim);
    let engine = setup.run();
    wait_until("closed bars", Duration::from_secs(60), || {
        let frame = setup.show("BTCUSDT");
        // So long that cuts lie at many instants.
        frame.code == Some(0) && frame.json()["cursors"]["cob_rows"][0].as_i64() >= Some(6)
    });
    let report = engine.stop();
    assert_eq!(report["log"]["complete"], true, "{report}");
    let files = setup.log_files();
    assert_eq!(files.len(), 1);
    check(&files[0]);
}
