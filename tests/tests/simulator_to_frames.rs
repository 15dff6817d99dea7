//! Simulator, engine and readers as processes: from sockets to frames, and from the log to the same frames.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::PathBuf;
use std::time::Duration;

use cobring_tests::{
    Market, Setup, Sim, Watch, assert_live_frames_are_proven, assert_replays_to, cobring,
    recordings,
};

/// The last depth message of each recording.
const ENDS: [(&str, u64); 2] = [("ETHUSDT", 35_346_671_849), ("BTCUSDT", 50_093_421_584)];
/// Simulated time of the recordings, s.
const LENGTH_S: u32 = 346;

/// Plays both recordings to an engine and two readers; then what the engine logged replays to its hash.
fn play(speed: u32, layout: &str, is_tls: bool) {
    let Some(files) = recordings() else { return };
    let certificates = tempfile::tempdir().unwrap();
    let cert_file = certificates.path().join("sim.pem");
    let market = Market::Recording(files.to_vec(), speed.to_string());
    let sim = if is_tls { Sim::start_tls(&market, &cert_file) } else { Sim::start(&market) };
    let mut setup =
        Setup::of(&sim).with("venue.binance.trade_stream", "trade").with("engine.layout", layout);
    if is_tls {
        assert!(sim.websocket_url.starts_with("wss://"));
        setup.set("venue.binance.ca_file", cert_file.to_str().unwrap());
    }
    let watches = ENDS.map(|(symbol, _)| Watch::start(setup.shared_memory_dir(), symbol));
    let engine = setup.run();
    let limit = Duration::from_secs(u64::from(LENGTH_S / speed) * 2 + 60);
    for (watch, (_, end)) in watches.iter().zip(ENDS) {
        watch.wait_last("the end", limit, |frame| frame.update_id == Some(end) && frame.is_live());
        watch.look(assert_live_frames_are_proven);
    }
    let report = engine.stop();
    for (watch, (symbol, _)) in watches.iter().zip(ENDS) {
        eprintln!(
            "{symbol}: {} of {} frames read",
            watch.count(),
            report["symbols"][symbol]["frames"]
        );
        let counters = &report["symbols"][symbol]["counters"];
        for key in ["gaps_total", "resyncs_total", "crossed_total", "quote_mismatches_total"] {
            assert_eq!(counters[key], 0, "{symbol} {key}");
        }
        assert!(counters["quote_checks_total"].as_u64() > Some(400), "{symbol} {counters}");
        assert_eq!(counters["syncs_total"], 1, "{symbol}");
    }
    assert_eq!(report["ingest"]["malformed_total"], 0);
    assert_eq!(report["ingest"]["links_lost_total"], 0);
    assert_eq!(report["log"]["complete"], true);
    assert_replays_to(&report["hash"], &setup.log_files());
}

#[test]
fn recordings_reach_readers_and_the_log_replays_to_the_same_frames() {
    play(20, "fused", false);
}

#[test]
fn recordings_reach_readers_over_tls_and_three_threads() {
    play(20, "staged", true);
}

/// Six minutes: only where `COBRING_SLOW=1` asks for it.
#[test]
fn recordings_reach_readers_in_real_time() {
    if std::env::var("COBRING_SLOW").as_deref() == Ok("1") {
        play(1, "fused", false);
    } else {
        eprintln!("skipped: COBRING_SLOW is not 1");
    }
}

#[test]
fn a_replay_has_one_hash_in_both_layouts_and_from_its_own_log() {
    let Some([ethusdt, _]) = recordings() else { return };
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let args = ["replay", "--json", "--log"].map(PathBuf::from);
    let logged = cobring(args.into_iter().chain([log.clone(), ethusdt.clone()])).succeeded().json();
    let log_files: Vec<_> =
        std::fs::read_dir(log).unwrap().map(|file| file.unwrap().path()).collect();
    assert_replays_to(&logged["hash"], &[ethusdt]);
    assert_replays_to(&logged["hash"], &log_files);
}
