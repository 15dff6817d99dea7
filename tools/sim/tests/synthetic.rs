//! The synthetic market over sockets.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use cobring_sim::{SimConfig, SimHandle, Source, Speed, SyntheticConfig, start};
use common::{Client, Follower, LONG, digits, get, wait_until};
use serde_json::Value;

const STREAMS: &str = "/stream?streams=ethusdt@depth@100ms/ethusdt@trade/ethusdt@bookTicker/btcusdt@depth@100ms/btcusdt@trade/btcusdt@bookTicker/ethusdt@aggTrade";

fn run(seed: u64, duration_ms: i64) -> SimHandle {
    let market = SyntheticConfig {
        duration_ms: Some(duration_ms),
        ..SyntheticConfig::new(seed, &["ETHUSDT", "BTCUSDT"])
    };
    start(&SimConfig {
        speed: Speed::Max,
        start_after_subscribers: Some(1),
        ..SimConfig::new(Source::Synthetic(market))
    })
    .unwrap()
}

fn texts(seed: u64, count: usize) -> Vec<String> {
    let sim = run(seed, 60_000);
    let mut client = Client::connect(&sim, STREAMS);
    (0..count).map(|_| client.text()).collect()
}

#[test]
fn the_same_seed_sends_the_same_bytes() {
    let first = texts(9, 10_000);
    assert!(first == texts(9, 10_000));
    assert!(first != texts(10, 10_000));
}

#[test]
fn a_followed_book_equals_the_truth_and_agrees_with_book_ticker() {
    let sim = run(21, 110_000);
    let mut client = Client::connect(&sim, STREAMS);
    let mut books = [("ETHUSDT", Follower::default()), ("BTCUSDT", Follower::default())];
    let mut tickers: std::collections::HashMap<(String, u64), Value> =
        std::collections::HashMap::new();
    let mut last_trades = [None::<u64>; 2];
    let mut agreed = 0;
    let mut ends = [None; 2];
    while books.iter().zip(ends).any(|((_, book), end)| end.is_none() || book.update_id != end) {
        let message = client.json();
        let data = &message["data"];
        let index = usize::from(data["s"] == "BTCUSDT");
        let (symbol, book) = &mut books[index];
        let stream = message["stream"].as_str().unwrap();
        if stream.ends_with("@depth@100ms") {
            book.on_depth(data);
            if book.needs_snapshot() {
                book.on_snapshot(
                    &get(&sim, &format!("/api/v3/depth?symbol={symbol}&limit=5000")).json(),
                );
            }
            let key = (symbol.to_string(), data["u"].as_u64().unwrap());
            if let (Some(ticker), Some(_)) = (tickers.get(&key), book.update_id) {
                let (bid, ask) =
                    (book.bids.last_key_value().unwrap(), book.asks.first_key_value().unwrap());
                if book.update_id == Some(key.1) {
                    let field = |name: &str| ticker[name].as_str().unwrap();
                    assert_eq!((*bid.0, bid.1.as_str()), (digits(field("b")), field("B")));
                    assert_eq!((*ask.0, ask.1.as_str()), (digits(field("a")), field("A")));
                    agreed += 1;
                }
            }
            tickers.retain(|(name, _), _| name != symbol);
        } else if stream.ends_with("@bookTicker") {
            tickers.insert((symbol.to_string(), data["u"].as_u64().unwrap()), data.clone());
        } else if stream.ends_with("@trade") {
            let id = data["t"].as_u64().unwrap();
            assert!(last_trades[index].is_none_or(|last| id == last + 1));
            last_trades[index] = Some(id);
            assert_eq!(data.get("b"), None);
        }
        if ends[0].is_none() && sim.finished() {
            ends = ["ETHUSDT", "BTCUSDT"]
                .map(|symbol| Some(sim.truth(symbol).unwrap().unwrap().update_id));
        }
    }
    for (symbol, book) in &books {
        assert_eq!(book.gaps, 0);
        book.check(&sim.truth(symbol).unwrap().unwrap());
    }
    assert!(agreed > 50, "{agreed}");
}

#[test]
fn several_clients_hear_the_same() {
    let market =
        SyntheticConfig { duration_ms: Some(10_000), ..SyntheticConfig::new(2, &["ETHUSDT"]) };
    let config = SimConfig {
        speed: Speed::Max,
        start_after_subscribers: Some(3),
        ..SimConfig::new(Source::Synthetic(market))
    };
    let sim = start(&config).unwrap();
    let heard: Vec<Vec<String>> = std::thread::scope(|scope| {
        let reader = |_| {
            scope.spawn(|| {
                let mut client = Client::connect(&sim, "/ws/ethusdt@depth@100ms");
                (0..90).map(|_| client.text()).collect()
            })
        };
        let readers: Vec<_> = (0..3).map(reader).collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    assert!(heard[0] == heard[1] && heard[1] == heard[2]);
}

#[test]
fn real_time_is_real_time() {
    let market = SyntheticConfig::new(1, &["ETHUSDT"]);
    let sim = start(&SimConfig::new(Source::Synthetic(market))).unwrap();
    let mut client = Client::connect(&sim, "/ws/ethusdt@depth@100ms");
    let began = std::time::Instant::now();
    let first = client.json()["E"].as_i64().unwrap();
    while client.json()["E"].as_i64().unwrap() < first + 1_000 {}
    let took_ms = began.elapsed().as_millis();
    assert!((900..5_000).contains(&took_ms), "{took_ms}");
}

#[test]
fn pause_stops_the_market_and_resume_goes_on() {
    let market = SyntheticConfig::new(1, &["ETHUSDT"]);
    let sim = start(&SimConfig {
        speed: Speed::Times(10.0),
        ..SimConfig::new(Source::Synthetic(market))
    })
    .unwrap();
    wait_until("it plays", LONG, || sim.stats().unwrap().played > 10);
    assert_eq!(common::post(&sim, "/sim/pause", "").status, 200);
    let state = || get(&sim, "/sim/state").json();
    let (before, truth) = (state(), get(&sim, "/sim/truth?symbol=ETHUSDT").body);
    assert_eq!(before["play"], "paused");
    assert_eq!(get(&sim, "/sim/truth?symbol=ETHUSDT").body, truth);
    assert_eq!(state()["played"], before["played"]);
    sim.resume().unwrap();
    wait_until("it plays on", LONG, || {
        sim.stats().unwrap().played > before["played"].as_u64().unwrap()
    });
}
