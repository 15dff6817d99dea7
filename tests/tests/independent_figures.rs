//! Every figure that `cobring replay` prints against a program that shares no code with the engine.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;

use cobring_reference::{Dec, SymbolConfig, compare, read_all, replay};
use cobring_tests::{cobring, recordings};
use serde_json::{Map, Value, json};

const SECOND: i64 = 1_000_000_000;

/// What must be equal, of each block; `quality.completeness` counts rows that are not built yet.
const FIGURES: [(&str, &[&str]); 7] = [
    ("symbol", &[]),
    ("ts", &[]),
    ("book", &["book_state", "update_id", "bids", "asks", "bid_known_to", "ask_known_to"]),
    (
        "top",
        &["bid_px", "bid_qty", "ask_px", "ask_qty", "mid_px", "micro_px", "spread", "update_id"],
    ),
    ("cob", &["bucket_size", "centre_bucket", "bid_qty", "ask_qty", "valid"]),
    (
        "imbalance",
        &[
            "imbalance",
            "imbalance_px",
            "imbalance_ma_1s",
            "imbalance_ma_5s",
            "imbalance_ma_15s",
            "imbalance_ma_60s",
            "imbalance_px_ma_1s",
            "imbalance_px_ma_5s",
            "imbalance_px_ma_15s",
            "imbalance_px_ma_60s",
            "imbalance_samples",
            "imbalance_within",
            "imbalance_valid",
        ],
    ),
    ("quality", &["sync", "freshness", "consistency", "coverage"]),
];

/// The figures of a line that are compared; each must be there.
fn figures(line: &Value) -> Value {
    let mut kept = Map::new();
    for (block, keys) in FIGURES {
        let mut value = line[block].clone();
        if !keys.is_empty() {
            let inner = value.as_object().unwrap();
            value = keys.iter().map(|key| ((*key).to_owned(), inner[*key].clone())).collect();
        }
        kept.insert(block.to_owned(), value);
    }
    let candles =
        ["1s", "1m"].map(|interval| (interval.to_owned(), line["candles"][interval].clone()));
    kept.insert("candles".to_owned(), candles.into_iter().collect());
    Value::Object(kept)
}

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
        lines.push(figures(&line));
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
    let lines = lines.filter(|line: &Value| symbols.contains(line["symbol"].as_str().unwrap()));
    lines.map(|line| figures(&line)).collect()
}

fn as_text(lines: &[Value]) -> Vec<u8> {
    let mut text = Vec::new();
    lines.iter().for_each(|line| writeln!(text, "{line}").unwrap());
    text
}

fn check(files: &[PathBuf], every: &str, every_ns: i64, lines_wanted: usize) {
    let expected = expected(files, every_ns);
    let symbols = expected.iter().map(|line| line["symbol"].as_str().unwrap().to_owned()).collect();
    let found = found(files, every, &symbols);
    let report = compare(as_text(&expected).as_slice(), as_text(&found).as_slice()).unwrap();
    assert!(report.is_equal(false), "{report}");
    assert_eq!(report.lines_compared, u64::try_from(lines_wanted).unwrap());
}

#[test]
fn both_recordings_together() {
    let Some(files) = recordings() else { return };
    check(&files, "10s", 10 * SECOND, 68);
}

#[test]
fn ethusdt_alone_each_second() {
    let Some([ethusdt, _]) = recordings() else { return };
    check(&[ethusdt], "1s", SECOND, 345);
}

#[test]
fn btcusdt_alone() {
    let Some([_, btcusdt]) = recordings() else { return };
    check(&[btcusdt], "10s", 10 * SECOND, 34);
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
