//! Every figure that `cobring replay` prints against a program that shares no code with the engine.
#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "independent_figures/generated.rs"]
mod generated;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;

use cobring_reference::{Dec, SymbolConfig, compare, load, read_all, replay};
use cobring_tests::{cobring, recordings};
use serde_json::{Value, json};

const SECOND: i64 = 1_000_000_000;

/// What the engine prints otherwise, and why.
const OTHERWISE: [&str; 1] = [
    // No id before the first trade: 0, as everywhere in a frame.
    ".flow.last_id",
];

/// In the generated recording: a repair of a closed bar takes back no pivot that frames have shown (nor the bounds that
/// follow from it), while the reference computes all of them anew.
const OTHERWISE_GENERATED: [&str; 4] =
    [OTHERWISE[0], ".pivots", ".pivot_bounds.resistance", ".pivot_bounds.support"];

fn configs() -> BTreeMap<String, SymbolConfig> {
    let dec = |text| Dec::parse(text).unwrap();
    [("ETHUSDT", "1", "5"), ("BTCUSDT", "10", "50")]
        .map(|(symbol, bucket, range)| {
            let (tick, radius) = (dec("0.01"), 20);
            let config = SymbolConfig { tick, bucket: dec(bucket), range: dec(range), radius };
            (symbol.to_owned(), config)
        })
        .into()
}

fn expected(files: &[PathBuf], every: i64) -> Vec<Value> {
    let mut lines = Vec::new();
    let keep = |line: Value| {
        lines.push(line);
        Ok::<_, cobring_reference::ReplayError>(())
    };
    replay(read_all(files).unwrap(), &configs(), every, keep).unwrap();
    lines
}

/// The engine's lines of the symbols that the files hold: it has lines for the configured others too.
fn found(files: &[PathBuf], every: &str, symbols: &BTreeSet<String>) -> Vec<Value> {
    let mut args: Vec<_> = ["replay", "--jsonl", "--every", every].map(PathBuf::from).into();
    args.extend_from_slice(files);
    let lines = cobring(args).succeeded().stdout;
    let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.filter(|line: &Value| symbols.contains(line["symbol"].as_str().unwrap())).collect()
}

fn as_text(lines: &[Value]) -> Vec<u8> {
    let mut text = Vec::new();
    lines.iter().for_each(|line| writeln!(text, "{line}").unwrap());
    text
}

/// Every figure of the expected lines but those that are printed otherwise; which of these are equal after all.
fn check(
    files: &[PathBuf],
    every: &str,
    every_ns: i64,
    lines_wanted: u64,
    otherwise: &[&'static str],
) -> Vec<&'static str> {
    let expected = expected(files, every_ns);
    let symbols = expected.iter().map(|line| line["symbol"].as_str().unwrap().to_owned()).collect();
    let found = found(files, every, &symbols);
    let report = compare(as_text(&expected).as_slice(), as_text(&found).as_slice()).unwrap();
    assert_eq!(report.unexplained(otherwise), [""; 0], "{report}");
    assert_eq!(report.lines_compared, lines_wanted);
    report.obsolete(otherwise)
}

#[test]
fn both_recordings_together() {
    let Some(files) = recordings() else { return };
    check(&files, "10s", 10 * SECOND, 68, &OTHERWISE);
}

#[test]
fn ethusdt_alone_each_second() {
    let Some([ethusdt, _]) = recordings() else { return };
    check(&[ethusdt], "1s", SECOND, 345, &OTHERWISE);
}

/// Begins before its first trade, so that each figure is seen unknown too.
#[test]
fn btcusdt_alone_each_second() {
    let Some([_, btcusdt]) = recordings() else { return };
    let equal_after_all = check(&[btcusdt], "1s", SECOND, 346, &OTHERWISE);
    assert_eq!(equal_after_all, [""; 0], "to be taken off OTHERWISE");
}

/// At each timer of the first minute and a half, so that nearly every row of every window is the newest one of
/// some line; and of a recording that ends anywhere.
#[test]
fn a_cut_recording_at_each_timer() {
    let Some([ethusdt, _]) = recordings() else { return };
    let whole = load(&ethusdt).unwrap();
    let cut: Vec<&str> = whole.split_inclusive('\n').take(9_000).collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut");
    std::fs::write(&path, cut.concat()).unwrap();
    check(&[path], "100ms", SECOND / 10, 874, &OTHERWISE);
}

#[test]
fn a_generated_recording_of_all_faults() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("generated");
    std::fs::write(&path, generated::recording()).unwrap();
    check(&[path], "20s", 20 * SECOND, 240, &OTHERWISE_GENERATED);
}

/// No future leaks: the lines of a recording cut in the middle are those of the whole so far.
#[test]
fn a_cut_recording_gives_the_same_lines_so_far() {
    let Some([ethusdt, _]) = recordings() else { return };
    let inputs = read_all(&[ethusdt]).unwrap();
    let lines = |count: usize| {
        let mut lines = Vec::new();
        let keep = |line: Value| {
            lines.push(line);
            Ok::<_, cobring_reference::ReplayError>(())
        };
        let cut = inputs[..count].to_vec();
        replay(cut, &configs(), 10 * SECOND, keep).unwrap();
        lines
    };
    let all = lines(inputs.len());
    for cut in [1000, 10_001, 20_002, 33_333] {
        let early = lines(cut);
        assert_eq!(early, all[..early.len()], "cut at line {cut}");
    }
}

#[test]
fn the_book_agrees_with_book_ticker_wherever_ids_are_equal() {
    let Some(files) = recordings() else { return };
    let mut args: Vec<_> = ["replay", "--json"].map(PathBuf::from).into();
    args.extend(files);
    let summary = cobring(args).succeeded().json();
    let counters = |symbol: &str| {
        let counters = &summary["symbols"][symbol]["counters"];
        ["quote_checks_total", "quote_mismatches_total", "gaps_total", "crossed_total"]
            .map(|key| counters[key].clone())
    };
    assert_eq!(counters("ETHUSDT"), [577, 0, 0, 0].map(|count| json!(count)));
    assert_eq!(counters("BTCUSDT"), [564, 0, 0, 0].map(|count| json!(count)));
    assert_eq!(summary["malformed"], 0);
}
