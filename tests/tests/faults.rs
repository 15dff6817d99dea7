//! What the venue does to its clients, and how the engine comes out of it.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::time::{Duration, Instant};

use cobring_tests::{
    Engine, Market, SOON, Setup, Sim, Watch, assert_live_frames_are_proven, wait_until,
};
use serde_json::{Value, json};

/// Simulator, engine and a reader of each symbol.
struct Stand {
    sim: Sim,
    engine: Engine,
    eth: Watch,
    btc: Watch,
    started: Instant,
    _setup: Setup,
}

impl Stand {
    /// With faults in force before the engine connects; waits for both books.
    fn start(seed: u64, faults: &[Value]) -> Self {
        let sim = Sim::start(&Market::Seed(seed));
        faults.iter().for_each(|fault| sim.fault(fault));
        let setup = Setup::of(&sim).with("log.enabled", false);
        let started = Instant::now();
        let engine = setup.run();
        let [eth, btc] =
            ["ETHUSDT", "BTCUSDT"].map(|symbol| Watch::start(setup.shared_memory_dir(), symbol));
        eth.wait_live();
        btc.wait_live();
        Self { sim, engine, eth, btc, started, _setup: setup }
    }

    /// Both books equal the simulator's.
    fn assert_exact(&self) {
        for watch in [&self.eth, &self.btc] {
            watch.assert_equals_truth(&self.sim);
            watch.look(assert_live_frames_are_proven);
        }
    }
}

#[test]
fn a_lost_depth_message_costs_its_symbol_one_resync_and_nobody_else_anything() {
    let stand = Stand::start(11, &[]);
    let Stand { sim, eth, btc, .. } = &stand;
    // All that was sent has come: the next message is the one that is lost.
    let truth = eth.assert_equals_truth(sim);
    let (eth_from, btc_from) = (eth.count(), btc.count());
    sim.fault(&json!({ "kind": "drop", "stream": "ethusdt@depth@100ms" }));
    sim.resume();
    eth.wait_recovered(eth_from, SOON);
    eth.look(|frames| {
        let after = &frames[eth_from..];
        let lost = after.iter().position(|frame| !frame.is_live()).unwrap();
        assert_eq!(after[lost].trigger, "depth");
        let unproven = after[..lost].iter().find(|frame| frame.update_id != Some(truth.update_id));
        assert_eq!(unproven, None, "live behind the gap");
        assert!(after[lost..].iter().any(|frame| frame.book_state == "gapped"));
    });
    stand.assert_exact();
    btc.look(|frames| assert!(frames[btc_from..].iter().all(cobring_tests::Frame::is_live)));
    let counters = stand.engine.stop();
    let gaps = |symbol: &str| counters["symbols"][symbol]["counters"]["gaps_total"].clone();
    assert_eq!([gaps("ETHUSDT"), gaps("BTCUSDT")], [json!(1), json!(0)]);
    assert_eq!(counters["ingest"]["links_lost_total"], 0);
}

#[test]
fn a_cut_connection_is_back_within_the_backoff_with_exact_books() {
    let stand = Stand::start(12, &[]);
    let Stand { sim, eth, btc, .. } = &stand;
    let from = [eth.count(), btc.count()];
    let cut = Instant::now();
    sim.fault(&json!({ "kind": "cut" }));
    wait_until("connected again", SOON, || sim.count("connections") == 2);
    // The first pause is 1 s with jitter; the rest is a busy machine.
    assert!(cut.elapsed() < Duration::from_secs(6), "{:?}", cut.elapsed());
    eth.wait_recovered(from[0], SOON);
    btc.wait_recovered(from[1], SOON);
    stand.assert_exact();
    assert_eq!(stand.engine.stop()["ingest"]["links_lost_total"], 1);
}

#[test]
fn a_shutdown_that_the_venue_announces_is_answered_by_a_new_connection_beside_the_old_one() {
    let stand = Stand::start(13, &[]);
    let Stand { sim, eth, btc, .. } = &stand;
    let from = [eth.count(), btc.count()];
    sim.fault(&json!({ "kind": "server_shutdown", "close_after_ms": 20_000 }));
    wait_until("two connections", SOON, || sim.clients() == 2);
    wait_until("the old one is closed", SOON, || sim.clients() == 1);
    for (watch, from) in [(eth, from[0]), (btc, from[1])] {
        watch.look(|frames| assert!(frames[from..].iter().all(cobring_tests::Frame::is_live)));
    }
    stand.assert_exact();
    let report = stand.engine.stop();
    let counted = |name: &str| report["ingest"][name].clone();
    assert_eq!(counted("server_shutdowns_total"), 1);
    assert_eq!([counted("links_renewed_total"), counted("links_lost_total")], [1, 0]);
}

/// The first snapshot is refused: nothing is asked for until the pause is over, then all is well.
fn refused(seed: u64, status: u16) {
    const PAUSE_S: u64 = 3;
    let fault = json!({
        "kind": "rest_status", "path": "/api/v3/depth", "status": status, "retry_after_s": PAUSE_S, "requests": 1
    });
    let stand = Stand::start(seed, &[fault]);
    assert!(stand.started.elapsed() >= Duration::from_secs(PAUSE_S), "asked during the pause");
    // exchangeInfo, time, a refused depth and one or two for each symbol, whose price may be asked for too.
    assert!(stand.sim.count("rest_requests") <= 9, "{}", stand.sim.state());
    stand.assert_exact();
    let report = stand.engine.stop();
    assert_eq!(report["net"][format!("rest_{status}_total")], 1, "{report}");
    assert_eq!(report["ingest"]["links_lost_total"], 0);
}

#[test]
fn retry_after_of_429_is_obeyed() {
    refused(14, 429);
}

#[test]
fn retry_after_of_418_is_obeyed() {
    refused(15, 418);
}

#[test]
fn malformed_messages_are_refused_and_counted_and_a_lost_depth_resyncs() {
    let stand = Stand::start(16, &[]);
    let Stand { sim, eth, btc, .. } = &stand;
    let (eth_from, btc_from) = (eth.count(), btc.count());
    sim.fault(&json!({ "kind": "malformed", "stream": "*@bookTicker", "count": 3 }));
    sim.fault(&json!({ "kind": "malformed", "stream": "ethusdt@depth@100ms" }));
    wait_until("all four were sent", SOON, || sim.count("faulted_messages") == 4);
    eth.wait_recovered(eth_from, SOON);
    stand.assert_exact();
    btc.look(|frames| assert!(frames[btc_from..].iter().all(cobring_tests::Frame::is_live)));
    let report = stand.engine.stop();
    assert_eq!(report["ingest"]["malformed_total"], 4);
    assert_eq!(report["symbols"]["ETHUSDT"]["counters"]["gaps_total"], 1);
    assert_eq!(report["ingest"]["links_lost_total"], 0);
}

#[test]
fn a_stale_snapshot_is_not_taken_for_the_book() {
    let stale = json!({ "kind": "stale_snapshot", "symbol": "ETHUSDT" });
    let stand = Stand::start(17, &[stale]);
    stand.assert_exact();
    assert_eq!(stand.engine.stop()["symbols"]["ETHUSDT"]["counters"]["gaps_total"], 0);
}
