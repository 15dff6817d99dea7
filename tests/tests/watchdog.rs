//! Streams that fall silent while pings are answered: found by their own rhythm, and only where the venue moved on.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::time::{Duration, Instant};

use cobring_tests::{Frame, Market, SOON, Setup, Sim, Watch, replay_hash, wait_until};
use serde_json::json;

/// Messages that the stream's rhythm is known by: 600 at ten times real time.
const LEARNED: Duration = Duration::from_secs(6);

#[test]
fn a_stalled_depth_stream_is_told_renewed_and_comes_back() {
    let sim = Sim::start(&Market::SeedFast(61, "10"));
    let setup = Setup::of(&sim);
    let engine = setup.run();
    let [eth, btc] =
        ["ETHUSDT", "BTCUSDT"].map(|symbol| Watch::start(setup.shared_memory_dir(), symbol));
    eth.wait_live();
    btc.wait_live();
    let learned = Instant::now() + LEARNED;
    wait_until("the rhythm is known", SOON, || Instant::now() > learned);
    let from = btc.count();
    sim.fault(&json!({ "kind": "stall", "stream": "ethusdt@depth@100ms" }));
    let stalled = Instant::now();
    wait_until("the stall is told", Duration::from_secs(20), || {
        eth.last().is_some_and(|frame| frame.book_state == "stale")
    });
    eprintln!("told after {:?}", stalled.elapsed());
    wait_until("its connection is renewed", SOON, || sim.count("connections") >= 2);
    sim.fault(&json!({ "kind": "resume" }));
    eth.wait_live();
    eth.assert_equals_truth(&sim);
    btc.assert_equals_truth(&sim);
    btc.look(|frames| assert!(frames[from..].iter().all(Frame::is_live)));
    let report = engine.stop();
    let counted =
        |symbol: &str, name: &str| report["symbols"][symbol]["counters"][name].as_u64().unwrap();
    assert!(counted("ETHUSDT", "depth_stalls_total") >= 1, "{report}");
    assert_eq!(counted("BTCUSDT", "depth_stalls_total"), 0, "{report}");
    assert_eq!(report["ingest"]["links_lost_total"], 0, "{report}");
    assert!(report["ingest"]["streams_stalled_total"].as_u64().unwrap() >= 1, "{report}");
    assert_eq!(report["hash"], replay_hash(&setup.log_files(), "fused"));
}

#[test]
fn a_quiet_market_is_confirmed_over_rest_and_no_connection_is_renewed() {
    let sim = Sim::start(&Market::Seed(62));
    let setup = Setup::of(&sim);
    let engine = setup.run();
    let eth = Watch::start(setup.shared_memory_dir(), "ETHUSDT");
    eth.wait_live();
    // Nothing happens at the venue; it still answers.
    sim.pause();
    let quiet = Instant::now() + Duration::from_secs(12);
    wait_until("twelve quiet seconds", SOON, || Instant::now() > quiet);
    let shown = setup.show("ETHUSDT").json();
    assert_eq!(shown["book"]["book_state"], "live");
    assert_eq!(shown["quality"]["freshness"], 1.0, "{}", shown["quality"]);
    sim.resume();
    eth.assert_equals_truth(&sim);
    let report = engine.stop();
    let counters = &report["symbols"]["ETHUSDT"]["counters"];
    assert_eq!([&counters["depth_stalls_total"], &counters["gaps_total"]], [0, 0], "{report}");
    for name in ["streams_stalled_total", "links_renewed_total", "links_lost_total"] {
        assert_eq!(report["ingest"][name], 0, "{name}: {report}");
    }
    assert_eq!(report["hash"], replay_hash(&setup.log_files(), "fused"));
}

#[test]
fn stalled_trades_are_told_by_the_venues_bars() {
    let sim = Sim::start(&Market::Seed(63));
    let setup = Setup::of(&sim);
    let engine = setup.run();
    let eth = Watch::start(setup.shared_memory_dir(), "ETHUSDT");
    eth.wait_live();
    wait_until("trades", SOON, || setup.show("ETHUSDT").json()["price"]["px"].as_f64().is_some());
    sim.fault(&json!({ "kind": "stall", "stream": "ethusdt@aggTrade" }));
    let told = || {
        let shown = setup.show("ETHUSDT").json();
        let reasons = shown["quality"]["reasons"].as_array().unwrap().clone();
        reasons.contains(&json!("trades_stalled")) && shown["quality"]["freshness"] == 0.0
    };
    wait_until("the stall is told", SOON, told);
    wait_until("its connection is renewed", SOON, || sim.count("connections") >= 2);
    sim.fault(&json!({ "kind": "resume" }));
    wait_until("trades again", SOON, || !told());
    let report = engine.stop();
    let counters =
        |symbol: &str| report["symbols"][symbol]["counters"]["trade_stalls_total"].clone();
    assert!(counters("ETHUSDT").as_u64().unwrap() >= 1, "{report}");
    assert_eq!(counters("BTCUSDT"), 0, "{report}");
    assert_eq!(report["ingest"]["links_lost_total"], 0, "{report}");
    assert_eq!(report["hash"], replay_hash(&setup.log_files(), "fused"));
}

#[test]
fn a_halt_while_we_run_is_soon_told_and_so_is_its_end() {
    let sim = Sim::start(&Market::Seed(64));
    let setup = Setup::of(&sim);
    let engine = setup.run();
    let [eth, btc] =
        ["ETHUSDT", "BTCUSDT"].map(|symbol| Watch::start(setup.shared_memory_dir(), symbol));
    eth.wait_live();
    btc.wait_live();
    let from = btc.count();
    sim.fault(&json!({ "kind": "halt", "symbol": "ETHUSDT" }));
    eth.wait_last("halted", SOON, |frame| frame.book_state == "halted");
    sim.fault(&json!({ "kind": "resume" }));
    eth.wait_live();
    eth.assert_equals_truth(&sim);
    btc.look(|frames| assert!(frames[from..].iter().all(Frame::is_live)));
    let report = engine.stop();
    assert_eq!(report["ingest"]["streams_stalled_total"], 0, "{report}");
    assert_eq!(report["hash"], replay_hash(&setup.log_files(), "fused"));
}
