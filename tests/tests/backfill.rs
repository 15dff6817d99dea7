//! Trades that connections lose are asked for by their ids: the ticks beside the simulator's own trades.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use cobring_tests::{Market, SOON, Setup, Sim, assert_replays_to, cobring, wait_until};
use serde_json::{Value, json};

const SYMBOLS: [&str; 2] = ["ETHUSDT", "BTCUSDT"];

/// Ids of the last fills of the ticks that are trades, as they stand in the window.
fn tick_ids(setup: &Setup, symbol: &str) -> Vec<u64> {
    let rows = setup.rows(symbol, "ticks");
    let trades = rows.iter().filter(|row| row["kind"] == "trade");
    trades.map(|row| row["id"].as_u64().unwrap()).collect()
}

/// The same of the simulator's trades from the fill `first` on, by its aggregates: those of fills weigh more.
fn venue_ids(sim: &Sim, symbol: &str, stream: &str, first: u64) -> Vec<u64> {
    let mut found = Vec::new();
    let mut from = 1;
    loop {
        let path = format!("/api/v3/aggTrades?symbol={symbol}&fromId={from}&limit=1000");
        let page = sim.get(&path);
        let Some(last) = page.as_array().unwrap().last() else { break };
        from = last["a"].as_u64().unwrap() + 1;
        for row in page.as_array().unwrap() {
            let [first, last] = ["f", "l"].map(|key| row[key].as_u64().unwrap());
            found.extend(if stream == "trade" { first..=last } else { last..=last });
        }
    }
    found.retain(|&id| id >= first);
    found
}

/// What the ticks have otherwise than the simulator, if anything.
fn difference(sim: &Sim, setup: &Setup, symbol: &str, stream: &str) -> Option<String> {
    let mut own = tick_ids(setup, symbol);
    own.sort_unstable();
    let mut venue = venue_ids(sim, symbol, stream, own[0]);
    // The last fills may still be joined by others; the last trades may still be on their way.
    let last = venue[venue.len() - 1].min(own[own.len() - 1]);
    own.retain(|&id| id <= last);
    venue.retain(|&id| id <= last);
    let missing = venue.iter().filter(|id| own.binary_search(id).is_err()).count();
    (own != venue).then(|| {
        format!("{symbol}: {} ticks, {} trades, {missing} missing", own.len(), venue.len())
    })
}

fn all_ticks_become_the_venues(sim: &Sim, setup: &Setup, stream: &str) {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        sim.pause();
        std::thread::sleep(Duration::from_millis(500));
        let found: Vec<String> =
            SYMBOLS.iter().filter_map(|symbol| difference(sim, setup, symbol, stream)).collect();
        sim.resume();
        if found.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{found:#?}");
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn wait_for_trades(setup: &Setup, more_than: usize) {
    for symbol in SYMBOLS {
        wait_until("trades", Duration::from_secs(60), || {
            setup.show(symbol).code == Some(0) && tick_ids(setup, symbol).len() > more_than
        });
    }
}

/// A run that ends while its history loads is not gone on from.
fn wait_for_history(setup: &Setup) {
    for symbol in SYMBOLS {
        wait_until("the history", Duration::from_secs(60), || {
            let shown = setup.show(symbol);
            shown.code == Some(0)
                && shown.json()["cursors"]["candles"]["1s"][0].as_u64() >= Some(1_500)
        });
    }
}

fn gaps_of_trades(setup: &Setup) -> Vec<Value> {
    let text =
        cobring(["gaps".to_owned(), setup.log_dir().display().to_string(), "--jsonl".to_owned()]);
    let text = text.succeeded().stdout;
    let gaps = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    gaps.filter(|gap| gap["kind"] == "trades").collect()
}

fn counter(report: &Value, symbol: &str, name: &str) -> u64 {
    report["symbols"][symbol]["counters"][name].as_u64().unwrap()
}

fn assert_replays(report: &Value, files: &[PathBuf]) {
    assert_replays_to(&report["hash"], files);
}

/// The connection is cut three times, and for a minute of the market there is no venue at all.
fn cut_connections_lose_no_trade(seed: u64, stream: &str) {
    let sim = Sim::start(&Market::SeedFast(seed, "5"));
    let setup = Setup::of(&sim)
        .with("venue.binance.trade_stream", stream)
        // Snapshots after each cut take more than half of a smaller budget.
        .with("venue.binance.weight_share", 1.0)
        .with("venue.binance.reconnect_max_s", 1.0);
    let engine = setup.run();
    wait_for_trades(&setup, 20);
    for cuts in 1..=3 {
        sim.fault(&json!({ "kind": "cut" }));
        wait_until("connected again", SOON, || sim.count("connections") > cuts);
        let before = tick_ids(&setup, "ETHUSDT").len();
        wait_for_trades(&setup, before);
        all_ticks_become_the_venues(&sim, &setup, stream);
    }
    sim.fault(&json!({ "kind": "outage", "for_s": 60.0 }));
    let connections = sim.count("connections");
    wait_until("connected again", Duration::from_secs(60), || {
        sim.count("connections") > connections
    });
    all_ticks_become_the_venues(&sim, &setup, stream);
    let report = engine.stop();
    for symbol in SYMBOLS {
        let missing = counter(&report, symbol, "trades_missing_total");
        assert!(missing > 0, "{symbol}");
        assert_eq!(counter(&report, symbol, "trades_backfilled_total"), missing, "{symbol}");
        assert_eq!(counter(&report, symbol, "trades_unfillable_total"), 0, "{symbol}");
    }
    let gaps = gaps_of_trades(&setup);
    let requests = report["ingest"]["trades_requested_total"].as_u64().unwrap();
    assert!(!gaps.is_empty() && gaps.len() as u64 <= requests, "{requests}: {gaps:#?}");
    for gap in &gaps {
        assert_eq!(
            (&gap["filled_by"], &gap["ids_missing"]),
            (&json!("trades"), &json!(0)),
            "{gap}"
        );
    }
    assert_replays(&report, &setup.log_files());
}

#[test]
fn cut_connections_lose_no_trade_of_the_trade_stream() {
    cut_connections_lose_no_trade(51, "trade");
}

#[test]
fn cut_connections_lose_no_aggregate_trade() {
    cut_connections_lose_no_trade(52, "aggTrade");
}

#[test]
fn trades_between_two_runs_are_filled_too() {
    let sim = Sim::start(&Market::SeedFast(53, "5"));
    let setup = Setup::of(&sim);
    let first = setup.run();
    wait_for_history(&setup);
    wait_for_trades(&setup, 20);
    // Those of the first run stay in the window: the second one is to see others.
    let of_first = SYMBOLS.map(|symbol| tick_ids(&setup, symbol).len()).into_iter().max();
    let _report = first.stop();
    let files = setup.log_files().len();
    // The market goes on without us.
    std::thread::sleep(Duration::from_secs(3));
    let engine = setup.run();
    assert!(engine.process.stderr().contains("goes on from the run before"));
    wait_for_trades(&setup, of_first.unwrap_or_default() + 40);
    all_ticks_become_the_venues(&sim, &setup, "aggTrade");
    let report = engine.stop();
    let mut missing_of_all = 0;
    for symbol in SYMBOLS {
        let missing = counter(&report, symbol, "trades_missing_total");
        missing_of_all += missing;
        assert_eq!(counter(&report, symbol, "trades_backfilled_total"), missing, "{symbol}");
    }
    assert!(missing_of_all > 0, "{report}");
    let gaps = gaps_of_trades(&setup);
    assert!(!gaps.is_empty() && gaps.iter().all(|gap| gap["filled_by"] == "trades"), "{gaps:#?}");
    assert_replays(&report, &setup.log_files().split_off(files));
}

#[test]
fn what_is_beyond_the_limit_stays_missing_and_is_told() {
    const LIMIT: u64 = 5;
    let sim = Sim::start(&Market::SeedFast(54, "10"));
    let setup = Setup::of(&sim)
        .with("venue.binance.trade_stream", "trade")
        .with("symbol_defaults.backfill_trades_max", i64::try_from(LIMIT).unwrap());
    let engine = setup.run();
    wait_for_trades(&setup, 20);
    sim.fault(&json!({ "kind": "outage", "for_s": 30.0 }));
    let connections = sim.count("connections");
    wait_until("connected again", SOON, || sim.count("connections") > connections);
    let behind = tick_ids(&setup, "ETHUSDT").len();
    wait_for_trades(&setup, behind);
    let ticks_valid = || {
        let shown = setup.show("ETHUSDT").json();
        (shown["quality"]["valid_rows"]["ticks"].as_u64(), shown["cursors"]["ticks"][0].as_u64())
    };
    let (valid, done) = ticks_valid();
    assert!(valid.unwrap() < done.unwrap(), "{valid:?} of {done:?} are behind the gap");
    std::thread::sleep(Duration::from_secs(3));
    let report = engine.stop();
    for symbol in SYMBOLS {
        let count = |name| counter(&report, symbol, name);
        let (missing, came) = (count("trades_missing_total"), count("trades_backfilled_total"));
        assert!(missing > LIMIT && came > 0 && came % LIMIT == 0, "{symbol}: {came} of {missing}");
        assert_eq!(count("trades_unfillable_total"), missing - came, "{symbol}");
    }
    let gaps = gaps_of_trades(&setup);
    assert!(gaps.iter().any(|gap| gap["ids_missing"].as_u64() > Some(0)), "{gaps:#?}");
    assert!(gaps.iter().all(|gap| gap["filled_by"] != "trades" || gap["ids_missing"] == 0));
    assert_replays(&report, &setup.log_files());
}
