//! Bars beside the simulator's own: history at start, an outage, a restart, and every row
//! in between.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::time::{Duration, Instant};

use cobring_tests::{Market, Setup, Sim, assert_replays_to, replay_hash, wait_until};
use serde_json::{Value, json};

const SYMBOLS: [&str; 2] = ["ETHUSDT", "BTCUSDT"];
const INTERVALS: [&str; 4] = ["1s", "1m", "1h", "1d"];
const HISTORY: u64 = 1_500;

/// Closed rows of each interval, as the newest frame has them.
fn closed(setup: &Setup, symbol: &str) -> Option<[u64; 4]> {
    let shown = setup.show(symbol);
    if shown.code != Some(0) {
        return None;
    }
    let frame = shown.json();
    Some(INTERVALS.map(|interval| frame["cursors"]["candles"][interval][0].as_u64().unwrap()))
}

fn decimal(bar: &Value, key: &str) -> f64 {
    match &bar[key] {
        Value::String(text) => text.parse().unwrap(),
        number => number.as_f64().unwrap(),
    }
}

/// Every promised row of every interval is the simulator's bar, field by field. `None`, or the first that is not.
fn difference(sim: &Sim, setup: &Setup, symbol: &str) -> Option<String> {
    for interval in INTERVALS {
        let rows = setup.rows(symbol, &format!("candles.{interval}"));
        assert!(rows.len() as u64 >= HISTORY, "{} rows of {interval}", rows.len());
        let start_ms = rows[0]["open_time"].as_i64().unwrap() / 1_000_000;
        let bars = sim.klines(symbol, interval, start_ms, rows.len());
        // Our clock goes on while the simulator is paused: a bar may be closed here and open there.
        assert!(bars.len() <= rows.len() && bars.len() + 2 >= rows.len(), "{symbol} {interval}");
        for (row, bar) in rows.iter().zip(&bars) {
            let same = row["open_time"].as_i64().unwrap() == bar["open_ms"].as_i64().unwrap() * 1_000_000
                && row["trade_count"] == bar["trade_count"]
                && ["open", "high", "low", "close", "volume", "taker_buy_volume"]
                    .iter()
                    .all(|key| row[key].as_f64() == Some(decimal(bar, key)))
                // The venue prints eight decimals of products that have up to sixteen.
                && ["quote_volume", "taker_buy_quote_volume"].iter().all(|key| {
                    row[key].as_f64().is_some_and(|own| {
                        (own - decimal(bar, key)).abs() <= 1e-8 + 1e-12 * own.abs()
                    })
                });
            let doubtful = |flag: &str| row["flags"].as_array().unwrap().contains(&json!(flag));
            if !same || ["hole", "incomplete", "partial"].iter().any(|flag| doubtful(flag)) {
                return Some(format!("{symbol} {interval}: {row}, not {bar}"));
            }
        }
    }
    None
}

fn wait_for_history(setup: &Setup) {
    for symbol in SYMBOLS {
        wait_until("the history", Duration::from_secs(60), || {
            closed(setup, symbol).is_some_and(|rows| rows.iter().all(|&rows| rows >= HISTORY))
        });
    }
}

/// Holes are filled, and a minute in which one ended when it has ended too.
fn all_rows_become_the_venues(sim: &Sim, setup: &Setup) {
    let mut found = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        sim.pause();
        std::thread::sleep(Duration::from_millis(500));
        found.clear();
        found.extend(SYMBOLS.iter().filter_map(|symbol| difference(sim, setup, symbol)));
        sim.resume();
        if found.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "{found:#?}");
        std::thread::sleep(Duration::from_secs(1));
    }
}

#[test]
fn fifteen_hundred_bars_of_each_interval_are_there_at_start() {
    let sim = Sim::start(&Market::Seed(31));
    let setup = Setup::of(&sim);
    let engine = setup.run();
    let started = Instant::now();
    wait_for_history(&setup);
    eprintln!("history after {:?}", started.elapsed());
    for symbol in SYMBOLS {
        assert_eq!(difference(&sim, &setup, symbol), None);
    }
    let report = engine.stop();
    for symbol in SYMBOLS {
        let counters = &report["symbols"][symbol]["counters"];
        assert_eq!(counters["kline_mismatches_total"], 0, "{symbol}");
        assert_eq!(counters["histories_missed_total"], 0, "{symbol}");
    }
    assert_eq!(report["hash"], replay_hash(&setup.log_files(), "fused"));
}

#[test]
fn after_an_outage_of_five_minutes_every_row_is_the_venues() {
    let sim = Sim::start(&Market::SeedFast(32, "20"));
    let setup = Setup::of(&sim).with("venue.binance.reconnect_max_s", 1.0);
    let engine = setup.run();
    wait_for_history(&setup);
    let before = SYMBOLS.map(|symbol| closed(&setup, symbol).unwrap()[0]);
    sim.fault(&json!({ "kind": "outage", "for_s": 300.0 }));
    for (symbol, before) in SYMBOLS.into_iter().zip(before) {
        wait_until("bars after the outage", Duration::from_secs(120), || {
            closed(&setup, symbol).is_some_and(|rows| rows[0] >= before + 320)
        });
    }
    all_rows_become_the_venues(&sim, &setup);
    let report = engine.stop();
    assert_eq!(report["hash"], replay_hash(&setup.log_files(), "fused"));
}

/// Rows of windows that no venue can give again: COB history, ticks, best levels.
fn own_rows(setup: &Setup, symbol: &str) -> [usize; 3] {
    ["cob_rows", "ticks", "book_states"].map(|window| setup.rows(symbol, window).len())
}

const GOES_ON: &str = "goes on from the run before";

#[test]
fn a_restart_goes_on_from_the_run_before_and_its_log_replays() {
    let sim = Sim::start(&Market::SeedFast(33, "20"));
    let setup = Setup::of(&sim);
    let first = setup.run();
    assert!(!first.process.stderr().contains(GOES_ON));
    wait_for_history(&setup);
    wait_until("seconds of the COB", Duration::from_secs(30), || {
        own_rows(&setup, "ETHUSDT")[0] > 5
    });
    let files = setup.log_files();
    first.process.kill();
    let mut files_before = files.len();
    // A kill, then an orderly end: what is left is the same.
    for _ in 0..2 {
        let before = own_rows(&setup, "ETHUSDT");
        let engine = setup.run();
        // The line behind the one that says that frames are published.
        wait_until(GOES_ON, Duration::from_secs(5), || engine.process.stderr().contains(GOES_ON));
        wait_until("a frame", Duration::from_secs(5), || closed(&setup, "ETHUSDT").is_some());
        assert!(closed(&setup, "ETHUSDT").unwrap().iter().all(|&rows| rows >= HISTORY));
        // A kill leaves out what was not handed to the system yet: at most 50 ms.
        let after = own_rows(&setup, "ETHUSDT");
        for (before, after) in before.into_iter().zip(after) {
            assert!(after >= before.min(500).saturating_sub(20), "{after} rows, {before} before");
        }
        std::thread::sleep(Duration::from_secs(4));
        all_rows_become_the_venues(&sim, &setup);
        let report = engine.stop();
        let own = setup.log_files().split_off(files_before);
        files_before += own.len();
        assert_replays_to(&report["hash"], &own);
        for symbol in SYMBOLS {
            assert_eq!(report["symbols"][symbol]["counters"]["histories_missed_total"], 0);
        }
    }
}

#[test]
fn a_run_begins_with_nothing_where_the_one_before_cannot_be_gone_on_from() {
    let sim = Sim::start(&Market::SeedFast(34, "20"));
    let mut setup = Setup::of(&sim);
    let engine = setup.run();
    wait_for_history(&setup);
    let _report = engine.stop();
    let cold = |setup: &Setup, reason: &str| {
        let engine = setup.run();
        let told = engine.process.stderr();
        assert!(told.contains(reason) && !told.contains(GOES_ON), "{reason}: {told}");
        wait_for_history(setup);
        let _report = engine.stop();
    };
    let other = Sim::start(&Market::SeedFast(34, "20"));
    setup.connect(&other);
    cold(&setup, "other addresses of the venue");
    // The log of this venue now; at the same port one begins anew.
    let port = other.port();
    other.process.kill();
    let again = Sim::start_at(port, &Market::SeedFast(34, "20"));
    cold(&setup, "the venue's clock was set back by");
    setup.set("quality.freshness_limit_s", 4.0);
    cold(&setup, "was written with other settings");
    let newest = setup.log_files().pop().unwrap();
    let mut bytes = std::fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    cold(&setup, "begins without what the run before left");
    setup.set("log.resume_within_h", 0);
    let engine = setup.run();
    let told = engine.process.stderr();
    assert!(!told.contains(GOES_ON) && !told.contains("begins without"), "{told}");
    let _report = engine.stop();
    drop(again);
}
