//! The venue's 24 h ticker over REST, where no stream gives a price.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::time::Duration;

use cobring_tests::{Engine, Market, SOON, Setup, Sim, replay_hash, wait_until};
use serde_json::{Value, json};

const SYMBOLS: [&str; 2] = ["ETHUSDT", "BTCUSDT"];
const SECOND: i64 = 1_000_000_000;
/// A connection backs off, and then the fold asks once in 5 s.
const PATIENCE: Duration = Duration::from_secs(30);

/// The newest frame of a symbol, where there is one.
fn frame(setup: &Setup, symbol: &str) -> Option<Value> {
    let shown = setup.show(symbol);
    (shown.code == Some(0)).then(|| shown.json())
}

fn wait_source(setup: &Setup, symbol: &str, source: &str) {
    wait_until(&format!("{symbol} has the price of {source}"), PATIENCE, || {
        frame(setup, symbol).is_some_and(|frame| frame["price"]["source"] == source)
    });
}

/// WebSocket handshakes get an error from now on.
fn refuse_web_sockets(sim: &Sim) {
    sim.fault(&json!({
        "kind": "rest_status", "path": "/stream", "status": 503, "requests": 1_000_000
    }));
}

/// The market stands still: the next answer is the simulator's word, field by field.
fn assert_is_the_venues(sim: &Sim, setup: &Setup, symbol: &str) {
    sim.pause();
    let truth = sim.get(&format!("/api/v3/ticker/24hr?symbol={symbol}"));
    let decimal = |name: &str| truth[name].as_str().unwrap().parse::<f64>().unwrap();
    wait_until("the ticker of the market as it stands", PATIENCE, || {
        let close_time = truth["closeTime"].as_i64().unwrap() * 1_000_000;
        setup.rows(symbol, "ticker").last().is_some_and(|row| row["close_time"] == close_time)
    });
    let row = setup.rows(symbol, "ticker").pop().unwrap();
    for (own, theirs) in [
        ("price_change", "priceChange"),
        ("price_change_percent", "priceChangePercent"),
        ("weighted_avg_px", "weightedAvgPrice"),
        ("prev_close_px", "prevClosePrice"),
        ("last_px", "lastPrice"),
        ("last_qty", "lastQty"),
        ("bid_px", "bidPrice"),
        ("bid_qty", "bidQty"),
        ("ask_px", "askPrice"),
        ("ask_qty", "askQty"),
        ("open_px", "openPrice"),
        ("high_px", "highPrice"),
        ("low_px", "lowPrice"),
        ("volume", "volume"),
        ("quote_volume", "quoteVolume"),
    ] {
        assert_eq!(row[own].as_f64(), Some(decimal(theirs)), "{own}: {row} of {truth}");
    }
    for (own, theirs) in
        [("first_trade_id", "firstId"), ("last_trade_id", "lastId"), ("trade_count", "count")]
    {
        assert_eq!(row[own], truth[theirs], "{own}: {row} of {truth}");
    }
    assert_eq!(row["ts_event"], row["close_time"]);
    assert_eq!(row["open_time"], truth["openTime"].as_i64().unwrap() * 1_000_000);
    wait_until("the frame shows it", SOON, || {
        let price = &frame(setup, symbol).unwrap()["price"];
        price["source"] == "ticker" && price["px"].as_f64() == Some(decimal("lastPrice"))
    });
    sim.resume();
}

/// Ends the run; its log gives the same frames again.
fn stop_and_replay(engine: Engine, setup: &Setup) -> Value {
    let report = engine.stop();
    assert_eq!(report["hash"], replay_hash(&setup.log_files(), "fused"));
    report
}

#[test]
fn a_price_goes_on_over_rest_when_every_stream_is_gone() {
    let sim = Sim::start(&Market::Seed(41));
    let setup = Setup::of(&sim).with("venue.binance.reconnect_max_s", 1.0);
    let engine = setup.run();
    SYMBOLS.iter().for_each(|symbol| wait_source(&setup, symbol, "bookTicker"));
    wait_until("the book is live", SOON, || {
        frame(&setup, "ETHUSDT").is_some_and(|frame| frame["book"]["book_state"] == "live")
    });
    sim.fault(&json!({ "kind": "stall", "stream": "*" }));
    // Nothing yet says that the book is not what it was.
    wait_source(&setup, "ETHUSDT", "depth");
    refuse_web_sockets(&sim);
    sim.fault(&json!({ "kind": "cut" }));
    SYMBOLS.iter().for_each(|symbol| wait_source(&setup, symbol, "ticker"));
    let streamed = setup.rows("ETHUSDT", "ticker").len();
    wait_until("two answers", PATIENCE, || setup.rows("ETHUSDT", "ticker").len() >= streamed + 2);
    let rows = setup.rows("ETHUSDT", "ticker");
    let times: Vec<_> = rows.iter().map(|row| row["ts_recv"].as_i64().unwrap()).collect();
    let gaps = times[streamed..].windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gaps.clone().all(|gap| gap > 5 * SECOND), "{:?}", gaps.collect::<Vec<_>>());
    assert_is_the_venues(&sim, &setup, "ETHUSDT");
    sim.fault(&json!({ "kind": "resume" }));
    SYMBOLS.iter().for_each(|symbol| wait_source(&setup, symbol, "bookTicker"));
    let report = stop_and_replay(engine, &setup);
    assert!(report["ingest"]["tickers_requested_total"].as_u64() >= Some(4), "{report}");
    assert_eq!(report["ingest"]["tickers_failed_total"], 0, "{report}");
}

#[test]
fn a_fresh_start_without_any_stream_has_a_price() {
    let sim = Sim::start(&Market::Seed(42));
    refuse_web_sockets(&sim);
    // The first request of each symbol is refused.
    sim.fault(&json!({
        "kind": "rest_status", "path": "/api/v3/ticker/24hr", "status": 404, "requests": 2
    }));
    let setup = Setup::of(&sim);
    let engine = setup.run();
    for symbol in SYMBOLS {
        wait_source(&setup, symbol, "ticker");
        assert_eq!(frame(&setup, symbol).unwrap()["book"]["book_state"], "empty");
    }
    assert_is_the_venues(&sim, &setup, "BTCUSDT");
    let report = stop_and_replay(engine, &setup);
    assert_eq!(report["ingest"]["tickers_failed_total"], 2, "{report}");
    assert_eq!(report["ingest"]["links_lost_total"], 0, "{report}");
}
