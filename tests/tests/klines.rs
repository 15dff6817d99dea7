//! Bars beside the simulator's own: history at start, an outage, and every row in between.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::time::{Duration, Instant};

use cobring_tests::{Market, Setup, Sim, replay_hash, wait_until};
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
        assert_eq!(bars.len(), rows.len(), "{symbol} {interval}");
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

#[test]
fn fifteen_hundred_bars_of_each_interval_are_there_at_start() {
    let sim = Sim::start(&Market::Seed(31));
    let setup = Setup::of(&sim);
    let engine = setup.run();
    let started = Instant::now();
    for symbol in SYMBOLS {
        wait_until("the history", Duration::from_secs(60), || {
            closed(&setup, symbol).is_some_and(|rows| rows.iter().all(|&rows| rows >= HISTORY))
        });
    }
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
    for symbol in SYMBOLS {
        wait_until("the history", Duration::from_secs(60), || {
            closed(&setup, symbol).is_some_and(|rows| rows.iter().all(|&rows| rows >= HISTORY))
        });
    }
    let before = SYMBOLS.map(|symbol| closed(&setup, symbol).unwrap()[0]);
    sim.fault(&json!({ "kind": "outage", "for_s": 300.0 }));
    for (symbol, before) in SYMBOLS.into_iter().zip(before) {
        wait_until("bars after the outage", Duration::from_secs(120), || {
            closed(&setup, symbol).is_some_and(|rows| rows[0] >= before + 320)
        });
    }
    // The minute in which it ended is asked for when it has ended.
    let mut found = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        sim.pause();
        std::thread::sleep(Duration::from_millis(500));
        found.clear();
        found.extend(SYMBOLS.iter().filter_map(|symbol| difference(&sim, &setup, symbol)));
        sim.resume();
        if found.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "{found:#?}");
        std::thread::sleep(Duration::from_secs(1));
    }
    let report = engine.stop();
    assert_eq!(report["hash"], replay_hash(&setup.log_files(), "fused"));
}
