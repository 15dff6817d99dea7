//! Connections beside each other: renewed before the venue ends them, or two all the time.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::time::Duration;

use cobring_tests::{
    Frame, Market, SOON, Setup, Sim, Watch, assert_live_frames_are_proven, replay_hash, wait_until,
};
use serde_json::{Value, json};

const SYMBOLS: [&str; 2] = ["ETHUSDT", "BTCUSDT"];

/// Runs until the simulator has seen so many connections, `meanwhile` with it in hand; each frame behind the first
/// live one is live, and the log replays. The engine's report.
fn live_throughout(
    setup: &Setup,
    sim: &Sim,
    connections: u64,
    mut meanwhile: impl FnMut(&Sim),
) -> Value {
    let engine = setup.run();
    let watches = SYMBOLS.map(|symbol| Watch::start(setup.shared_memory_dir(), symbol));
    watches.iter().for_each(Watch::wait_live);
    let from = [watches[0].count(), watches[1].count()];
    wait_until("connections came and went", Duration::from_secs(120), || {
        meanwhile(sim);
        sim.count("connections") >= connections
    });
    for (watch, from) in watches.iter().zip(from) {
        watch.assert_equals_truth(sim);
        watch.look(|frames| {
            assert!(frames.len() > from + 50);
            assert!(frames[from..].iter().all(Frame::is_live));
        });
        watch.look(assert_live_frames_are_proven);
    }
    let report = engine.stop();
    for symbol in SYMBOLS {
        let counters = &report["symbols"][symbol]["counters"];
        for name in ["gaps_total", "trades_missing_total", "quote_mismatches_total"] {
            assert_eq!(counters[name], 0, "{symbol} {name}: {report}");
        }
        assert_eq!(counters["syncs_total"], 1, "{symbol}: {report}");
    }
    assert_eq!(report["hash"], replay_hash(&setup.log_files(), "fused"));
    report
}

#[test]
fn renewed_connections_lose_nothing() {
    let sim = Sim::start(&Market::Seed(51));
    let setup = Setup::of(&sim)
        .with("venue.binance.renew_after_s", 5)
        .with("venue.binance.separate_depth_connection", true);
    let report = live_throughout(&setup, &sim, 8, |_| {});
    assert_eq!(report["ingest"]["links_lost_total"], 0, "{report}");
    assert!(report["ingest"]["links_renewed_total"].as_u64().unwrap() >= 4, "{report}");
    let old = |symbol: &str| {
        let counters = &report["symbols"][symbol]["counters"];
        counters["depth_old_total"].as_u64().unwrap()
            + counters["trades_duplicate_total"].as_u64().unwrap()
    };
    assert!(SYMBOLS.iter().all(|symbol| old(symbol) > 0), "both copies came: {report}");
}

#[test]
fn a_twin_costs_nothing_when_the_other_is_cut() {
    cut_twins("yield");
}

#[test]
fn a_twin_costs_nothing_when_the_other_is_cut_from_an_engine_that_spins() {
    cut_twins("spin");
}

fn cut_twins(idle: &str) {
    let sim = Sim::start(&Market::Seed(52));
    let setup =
        Setup::of(&sim).with("venue.binance.twin_connections", true).with("engine.idle", idle);
    let mut cuts = 0;
    let report = live_throughout(&setup, &sim, 6, |sim| {
        let state = sim.state();
        let clients = state["clients"].as_array().unwrap();
        if clients.len() == 2 && sim.count("connections") == 2 + cuts {
            // Both deliver before one goes.
            std::thread::sleep(Duration::from_secs(1));
            let id = clients[usize::try_from(cuts % 2).unwrap()]["id"].clone();
            sim.fault(&json!({ "kind": "cut", "client": id }));
            cuts += 1;
            wait_until("one is gone", SOON, || {
                sim.clients() < 2 || sim.count("connections") > 1 + cuts
            });
        }
    });
    assert_eq!(report["ingest"]["links_lost_total"].as_u64(), Some(cuts), "{report}");
    assert_eq!(report["ingest"]["links_renewed_total"], 0);
}
