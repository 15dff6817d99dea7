//! Each fault, as a client meets it.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::time::{Duration, Instant};

use cobring_sim::{
    Fault, FaultSchedule, SimConfig, SimHandle, Source, Speed, SyntheticConfig, start,
};
use common::{Client, Follower, LONG, agent, get, post, try_get, wait_until};

const DEPTH: &str = "ethusdt@depth@100ms";

fn config() -> SimConfig {
    SimConfig {
        speed: Speed::Times(5.0),
        ..SimConfig::new(Source::Synthetic(SyntheticConfig::new(1, &["ETHUSDT"])))
    }
}

fn sim() -> SimHandle {
    start(&config()).unwrap()
}

/// (U, u) of the next depth event.
fn next_ids(client: &mut Client) -> (u64, u64) {
    let event = client.json();
    (event["U"].as_u64().unwrap(), event["u"].as_u64().unwrap())
}

#[test]
fn a_dropped_depth_message_is_a_gap_and_a_resync_heals_it() {
    let sim = sim();
    let mut client = Client::connect(&sim, "/ws/ethusdt@depth@100ms");
    let mut book = Follower::default();
    let mut injected = false;
    while book.gaps == 0 || book.applied < 20 {
        book.on_depth(&client.json());
        if book.needs_snapshot() {
            book.on_snapshot(&get(&sim, "/api/v3/depth?symbol=ETHUSDT&limit=5000").json());
        }
        if book.applied == 5 && !injected {
            injected = true;
            sim.inject(Fault::Drop { stream: DEPTH.into(), nth: 3, count: 1 }).unwrap();
        }
    }
    sim.pause().unwrap();
    let truth = sim.truth("ETHUSDT").unwrap().unwrap();
    while book.update_id != Some(truth.update_id) {
        book.on_depth(&client.json());
        assert!(book.update_id.is_none_or(|id| id <= truth.update_id));
    }
    book.check(&truth);
    assert_eq!((book.gaps, sim.stats().unwrap().faulted_messages), (1, 1));
}

#[test]
fn a_message_comes_twice() {
    let sim = sim();
    let mut client = Client::connect(&sim, "/ws/ethusdt@depth@100ms");
    next_ids(&mut client);
    sim.inject(Fault::Duplicate { stream: DEPTH.into(), nth: 1, count: 1 }).unwrap();
    let mut last = client.text();
    wait_until("a message equals the one before", LONG, || {
        let text = client.text();
        std::mem::replace(&mut last, text) == last
    });
}

#[test]
fn a_message_is_malformed_and_the_next_is_not() {
    let sim = sim();
    let mut client = Client::connect(&sim, "/stream?streams=ethusdt@depth@100ms");
    client.text();
    sim.inject(Fault::Malformed { stream: "*@depth@100ms".into(), nth: 1, count: 1 }).unwrap();
    client.find(|text| serde_json::from_str::<serde_json::Value>(text).is_err());
    client.json();
}

#[test]
fn a_stream_stalls_while_others_and_pings_go_on() {
    let sim = sim();
    let mut client = Client::connect(&sim, "/ws/ethusdt@depth@100ms/ethusdt@bookTicker");
    sim.inject(Fault::Stall { stream: DEPTH.into(), for_ms: None }).unwrap();
    // What was queued before comes still.
    let mut in_a_row = 0;
    wait_until("only bookTicker is heard", LONG, || {
        in_a_row = if client.text().starts_with(r#"{"u""#) { in_a_row + 1 } else { 0 };
        in_a_row > 200
    });
    sim.inject(Fault::Resume).unwrap();
    client.find(|text| text.contains("depthUpdate"));

    let before = sim.stats().unwrap().sent;
    sim.inject(Fault::Stall { stream: "*".into(), for_ms: Some(300) }).unwrap();
    let began = Instant::now();
    wait_until("messages go on", LONG, || sim.stats().unwrap().sent > before + 50);
    assert!(began.elapsed() >= Duration::from_millis(250));
}

#[test]
fn a_cut_is_a_reset_and_a_new_connection_works() {
    let sim = sim();
    let mut client = Client::connect(&sim, "/ws/ethusdt@bookTicker");
    // It is client 1 once it is served, and not before: handshakes end in any order.
    client.text();
    let mut spared = Client::connect(&sim, "/ws/ethusdt@bookTicker");
    spared.text();
    assert_eq!(post(&sim, "/sim/fault", r#"{"kind":"cut","client":1}"#).status, 200);
    assert!(client.end().contains("reset"));
    spared.text();
    sim.inject(Fault::Cut { client: None }).unwrap();
    assert!(spared.end().contains("reset"));
    assert_eq!(sim.stats().unwrap().cut, 2);
    Client::connect(&sim, "/ws/ethusdt@bookTicker").text();
}

#[test]
fn connections_are_refused_for_a_time() {
    let sim = sim();
    let mut client = Client::connect(&sim, "/ws/ethusdt@bookTicker");
    sim.inject(Fault::RefuseConnections { for_ms: 400 }).unwrap();
    let began = Instant::now();
    wait_until("it is refused", LONG, || {
        Client::try_connect(&sim, "/ws").is_err_and(|error| error.contains("refused"))
    });
    client.text();
    wait_until("it is open again", LONG, || Client::try_connect(&sim, "/ws").is_ok());
    assert!(began.elapsed() >= Duration::from_millis(350));
}

#[test]
fn handshakes_are_refused_while_rest_and_connections_go_on() {
    let sim = sim();
    let mut client = Client::connect(&sim, "/ws/ethusdt@bookTicker");
    let (path, status) = (Some("/stream".into()), 503);
    let refused = Fault::RestStatus { path, status, retry_after_s: None, requests: 2 };
    sim.inject(refused).unwrap();
    // A fault of all REST is none of handshakes.
    let any = Fault::RestStatus { path: None, status: 500, retry_after_s: None, requests: 1 };
    sim.inject(any).unwrap();
    for _ in 0..2 {
        let error = Client::try_connect(&sim, "/stream?streams=ethusdt@trade").err().unwrap();
        assert!(error.contains("503"), "{error}");
    }
    Client::connect(&sim, "/stream?streams=ethusdt@bookTicker").text();
    assert_eq!(get(&sim, "/api/v3/time").status, 500);
    assert_eq!(get(&sim, "/api/v3/time").status, 200);
    client.text();
}

#[test]
fn in_an_outage_nothing_answers_and_the_market_goes_on() {
    let sim = sim();
    let mut client = Client::connect(&sim, "/ws/ethusdt@bookTicker");
    client.text();
    let kept_alive = agent();
    let ping = format!("{}/api/v3/ping", sim.rest_url());
    kept_alive.get(&ping).call().unwrap().into_body().read_to_string().unwrap();
    assert_eq!(post(&sim, "/sim/fault", r#"{"kind":"outage","for_s":15.0}"#).status, 200);
    assert!(client.end().contains("reset"));
    let began = sim.stats().unwrap();
    let trades = || sim.truth("ETHUSDT").unwrap().unwrap().trade_count;
    let trades_before = trades();
    let klines = "/sim/klines?symbol=ETHUSDT&interval=1s&limit=5";
    let mut refused = 0;
    while sim.stats().unwrap().is_down {
        let is_refused = [
            try_get(&sim, "/api/v3/ping").is_err(),
            try_get(&sim, "/data/spot/x").is_err(),
            kept_alive.get(&ping).call().is_err(),
            Client::try_connect(&sim, "/ws/ethusdt@bookTicker").is_err(),
        ];
        assert_eq!(get(&sim, klines).json().as_array().unwrap().len(), 5);
        if sim.stats().unwrap().is_down {
            assert_eq!(is_refused, [true; 4]);
            refused += 1;
        }
    }
    assert!(refused > 0 && trades() > trades_before);
    let ended = sim.stats().unwrap();
    assert!(ended.position_s >= began.position_s + 14.0, "{}", ended.position_s);
    assert_eq!(ended.cut, 1);
    Client::connect(&sim, "/ws/ethusdt@bookTicker").text();
    assert_eq!(get(&sim, "/api/v3/ping").status, 200);

    sim.inject(Fault::Outage { for_s: 1e6 }).unwrap();
    assert!(try_get(&sim, "/api/v3/ping").is_err());
    sim.inject(Fault::Resume).unwrap();
    assert_eq!(get(&sim, "/api/v3/ping").status, 200);
    assert!(sim.inject(Fault::Outage { for_s: f64::NAN }).is_err());
}

#[test]
fn rest_is_late_or_refuses() {
    let sim = sim();
    sim.inject(Fault::RestDelay { path: Some("/api/v3/depth".into()), delay_ms: 300, requests: 1 })
        .unwrap();
    get(&sim, "/api/v3/ping");
    let began = Instant::now();
    assert_eq!(get(&sim, "/api/v3/depth?symbol=ETHUSDT").status, 200);
    assert!(began.elapsed() >= Duration::from_millis(300));

    for (status, retry_after_s) in [(429, Some(7)), (418, Some(120)), (403, None), (503, None)] {
        let fault = Fault::RestStatus { path: None, status, retry_after_s, requests: 2 };
        sim.inject(fault).unwrap();
        for _ in 0..2 {
            let reply = get(&sim, "/api/v3/depth?symbol=ETHUSDT");
            let expected = retry_after_s.map(|s| s.to_string()).unwrap_or_default();
            assert_eq!((reply.status, reply.header("retry-after")), (status, expected.as_str()));
        }
        assert_eq!(get(&sim, "/api/v3/depth?symbol=ETHUSDT").status, 200);
    }
}

#[test]
fn a_stale_snapshot_is_seconds_old() {
    let sim = start(&SimConfig { speed: Speed::Times(50.0), ..config() }).unwrap();
    wait_until("there is an old book", LONG, || sim.stats().unwrap().position_s > 12.0);
    sim.pause().unwrap();
    sim.inject(Fault::StaleSnapshot { symbol: "ETHUSDT".into(), requests: 1 }).unwrap();
    let id = || {
        get(&sim, "/api/v3/depth?symbol=ETHUSDT&limit=5").json()["lastUpdateId"].as_u64().unwrap()
    };
    let (stale, fresh) = (id(), id());
    assert!(stale + 1_000 < fresh, "{stale} {fresh}");
    assert_eq!(id(), fresh);
}

#[test]
fn scheduled_faults_happen_by_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("faults.toml");
    let text = "[[faults]]\nat_s = 2.0\nfault = { kind = \"drop\", stream = \"ethusdt@depth@100ms\" }\n\
                [[faults]]\nat_message = 2000\nfault = { kind = \"cut\" }\n";
    std::fs::write(&path, text).unwrap();
    let faults = FaultSchedule::from_file(&path).unwrap();
    let sim = start(&SimConfig { faults, start_after_subscribers: Some(1), ..config() }).unwrap();
    let mut client = Client::connect(&sim, "/ws/ethusdt@depth@100ms");
    let (mut last, mut gaps) = (None, 0);
    let end = loop {
        match client.try_text() {
            Ok(text) => {
                let event: serde_json::Value = serde_json::from_str(&text).unwrap();
                gaps += u32::from(last.is_some_and(|last| event["U"] != last + 1));
                last = event["u"].as_u64();
            }
            Err(end) => break end,
        }
    };
    assert_eq!(gaps, 1);
    assert!(end.contains("reset"), "{end}");
    let stats = sim.stats().unwrap();
    assert_eq!((stats.faults, stats.cut), (2, 1));
    sim.shutdown();
    assert!(try_get(&sim, "/api/v3/ping").is_err());
}

#[test]
fn the_truth_is_written_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let truth_file = dir.path().join("truth.jsonl");
    let market = SyntheticConfig {
        duration_ms: Some(2_000),
        ..SyntheticConfig::new(1, &["ETHUSDT", "BTCUSDT"])
    };
    let config = SimConfig {
        speed: Speed::Max,
        truth_file: Some(truth_file.clone()),
        ..SimConfig::new(Source::Synthetic(market))
    };
    let sim = start(&config).unwrap();
    assert!(sim.wait_finished(LONG));
    sim.shutdown();
    let text = std::fs::read_to_string(truth_file).unwrap();
    let truths: Vec<cobring_sim::Truth> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        truths.iter().map(|truth| truth.symbol.as_str()).collect::<Vec<_>>(),
        ["ETHUSDT", "BTCUSDT"]
    );
    assert!(
        truths
            .iter()
            .all(|truth| truth.finished && truth.bids.len() > 3_000 && truth.trade_count > 0)
    );
}
