//! The shipped binary over a real TLS socket, 100,000 messages and a resync, in both layouts and on a core of its own.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::time::Duration;

use cobring_tests::{Market, Setup, Sim, assert_replays_to, wait_until};

const MESSAGES: u64 = 100_000;
const LIMIT: Duration = Duration::from_secs(300);

fn check(layout: &str, idle: &str) {
    let dir = tempfile::tempdir().unwrap();
    let cert_file = dir.path().join("cert.pem");
    let faults = dir.path().join("faults.toml");
    let drop_one = r#"{ kind = "drop", stream = "ethusdt@depth@100ms" }"#;
    std::fs::write(
        &faults,
        format!("[[faults]]\nat_message = {}\nfault = {drop_one}\n", MESSAGES / 4),
    )
    .unwrap();
    let sim = Sim::start_tls(&Market::SeedAt(5, "30", faults), &cert_file);
    let setup = Setup::of(&sim)
        .with("venue.binance.ca_file", cert_file.to_str().unwrap())
        .with("engine.layout", layout)
        .with("engine.idle", idle);
    let engine = setup.run();
    let input_seq = || setup.show("ETHUSDT").json()["input_seq"].as_u64().unwrap_or(0);
    wait_until("the engine publishes", LIMIT, || setup.show("ETHUSDT").code == Some(0));
    wait_until("all messages", LIMIT, || input_seq() > MESSAGES);
    let report = engine.stop();
    assert!(report["ingest"]["inputs_total"].as_u64().unwrap() >= MESSAGES, "{report}");
    assert_eq!(report["log"]["lost"], 0, "{report}");
    assert_eq!(report["log"]["complete"], true, "{report}");
    let counters = |symbol: &str| report["symbols"][symbol]["counters"].clone();
    assert_eq!(counters("ETHUSDT")["gaps_total"], 1, "{report}");
    assert_eq!(counters("ETHUSDT")["syncs_total"], 2, "{report}");
    assert_eq!(counters("BTCUSDT")["gaps_total"], 0, "{report}");
    assert_replays_to(&report["hash"], &setup.log_files());
}

#[test]
fn fused_the_log_of_100_000_tls_messages_replays_to_the_hash_of_the_run() {
    check("fused", "yield");
}

#[test]
fn spinning_the_log_of_100_000_tls_messages_replays_to_the_hash_of_the_run() {
    check("fused", "spin");
}

#[test]
fn staged_the_log_of_100_000_tls_messages_replays_to_the_hash_of_the_run() {
    check("staged", "yield");
}
