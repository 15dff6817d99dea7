//! A recording played over sockets, seen by clients that do not know the simulator.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cobring_sim::{Play, SimConfig, SimHandle, Source, Speed, SyntheticConfig, start};
use common::{Client, Follower, LONG, digits, get, recordings, wait_until};
use serde_json::Value;

const ALL: &str = "/stream?streams=ethusdt@depth@100ms/ethusdt@trade/ethusdt@bookTicker/btcusdt@depth@100ms/btcusdt@trade/btcusdt@bookTicker";

fn play(paths: &[PathBuf], speed: Speed) -> SimHandle {
    start(&SimConfig { speed, ..SimConfig::new(Source::Recording(paths.to_vec())) }).unwrap()
}

fn lines(path: &Path) -> Vec<(i64, String)> {
    let file = std::fs::File::open(path).unwrap();
    let bytes: Box<dyn std::io::Read> = match path.extension() {
        Some(extension) if extension == "gz" => Box::new(flate2::read::GzDecoder::new(file)),
        _ => Box::new(file),
    };
    let split = |line: String| {
        line.split_once(' ').map(|(at, text)| (at.parse().unwrap(), text.to_owned())).unwrap()
    };
    BufReader::new(bytes).lines().map(|line| split(line.unwrap())).collect()
}

#[test]
fn every_message_arrives_verbatim_in_order_and_the_books_end_where_the_recording_does() {
    let Some(paths) = recordings() else { return };
    let sim = play(&paths, Speed::Max);
    let mut client = Client::connect(&sim, ALL);
    let mut expected: Vec<_> = paths.iter().flat_map(|path| lines(path)).collect();
    expected.sort_by_key(|(at, _)| *at);
    for (_, line) in expected.iter().filter(|(_, line)| line.starts_with("{\"stream\"")) {
        assert_eq!(client.text(), *line);
    }
    assert!(sim.wait_finished(LONG));
    for (symbol, update_id, trade_count) in
        [("ETHUSDT", 35_346_671_849, 6_106), ("BTCUSDT", 50_093_421_584, 9_757)]
    {
        let truth = sim.truth(symbol).unwrap().unwrap();
        assert_eq!((truth.update_id, truth.trade_count), (update_id, trade_count), "{symbol}");
        assert!(truth.book_known && truth.finished);
        assert_eq!(truth.bars_1s.iter().map(|bar| bar.trade_count).sum::<u64>(), trade_count);
        assert_eq!(truth.bars_1m.iter().map(|bar| bar.trade_count).sum::<u64>(), trade_count);
        assert_eq!(truth.last_trade_id, truth.first_trade_id + trade_count - 1);
    }
    let stats = sim.stats().unwrap();
    assert_eq!((stats.slow_disconnects, stats.source_error), (0, None));
    // The server stays, and its clock goes on.
    let then = get(&sim, "/api/v3/time").json()["serverTime"].as_i64().unwrap();
    let is_later = || get(&sim, "/api/v3/time").json()["serverTime"].as_i64().unwrap() > then;
    wait_until("venue time goes on", LONG, is_later);
}

#[test]
fn a_client_that_comes_in_the_middle_follows_to_the_end() {
    let Some(paths) = recordings() else { return };
    let sim = play(&paths, Speed::Times(60.0));
    let _starter = Client::connect(&sim, "/ws/nothing@here");
    wait_until("a minute is played", LONG, || sim.stats().unwrap().position_s > 60.0);
    let path = "/stream?streams=ethusdt@depth@100ms/btcusdt@depth@100ms";
    let mut client = Client::connect(&sim, path);
    let mut books = [("ETHUSDT", Follower::default()), ("BTCUSDT", Follower::default())];
    let ends = [35_346_671_849, 50_093_421_584];
    while books.iter().zip(ends).any(|((_, book), end)| book.update_id != Some(end)) {
        let message = client.json();
        let symbol = message["data"]["s"].as_str().unwrap();
        let (_, book) = books.iter_mut().find(|(name, _)| *name == symbol).unwrap();
        book.on_depth(&message["data"]);
        if book.needs_snapshot() {
            let limit = if symbol == "ETHUSDT" { 5_000 } else { 1_000 };
            let snapshot = get(&sim, &format!("/api/v3/depth?symbol={symbol}&limit={limit}"));
            assert!(!snapshot.header("x-mbx-used-weight-1m").is_empty());
            book.on_snapshot(&snapshot.json());
        }
    }
    for (symbol, book) in &books {
        assert_eq!(book.gaps, 0);
        let truth = sim.truth(symbol).unwrap().unwrap();
        // Deeper levels than the snapshot's are known to the truth alone: compare what both must know.
        let best = |levels: &[cobring_sim::Level]| {
            levels
                .iter()
                .take(300)
                .map(|level| (digits(&level.0.to_string()), level.1.to_string()))
                .collect::<Vec<_>>()
        };
        let own = |(px, qty): (&u64, &String)| (*px, qty.clone());
        assert!(
            book.asks.iter().take(300).map(own).collect::<Vec<_>>() == best(&truth.asks),
            "{symbol}: asks"
        );
        assert!(
            book.bids.iter().rev().take(300).map(own).collect::<Vec<_>>() == best(&truth.bids),
            "{symbol}: bids"
        );
    }
}

#[test]
fn rest_depth_waits_for_the_recordings_snapshot() {
    let Some(paths) = recordings() else { return };
    // So slow that the snapshot, 0.2 s into the recording, comes long after the question.
    let sim = play(&paths, Speed::Times(0.5));
    assert_eq!(sim.stats().unwrap().play, Play::Waiting);
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| get(&sim, "/api/v3/depth?symbol=BTCUSDT&limit=5").json());
        wait_until("the question has arrived", LONG, || sim.stats().unwrap().rest_requests == 1);
        let mut client = Client::connect(&sim, "/ws/btcusdt@depth@100ms");
        let first = client.json();
        assert_eq!(first["U"], 50_093_239_189_u64);
        let snapshot = asked.join().unwrap();
        // The event that bridges came before the snapshot's line: the book is past the snapshot's own id.
        assert_eq!(snapshot["lastUpdateId"], 50_093_239_224_u64);
        assert_eq!(snapshot["bids"].as_array().unwrap().len(), 5);
    });
}

#[test]
fn trades_are_joined_where_agg_trades_are_asked_for() {
    let Some(paths) = recordings() else { return };
    let sim = play(&paths, Speed::Max);
    let mut client = Client::connect(&sim, "/ws/ethusdt@aggTrade");
    let trades: Vec<Value> = lines(&paths[0])
        .into_iter()
        .filter(|(_, line)| line.contains("@trade"))
        .map(|(_, line)| serde_json::from_str::<Value>(&line).unwrap()["data"].clone())
        .collect();
    let (mut next, mut agg_id, mut joined) = (0, 0, 0);
    while next < trades.len() {
        let agg = client.json();
        agg_id += 1;
        assert_eq!(agg["a"], agg_id);
        let (first, last) = (agg["f"].as_u64().unwrap(), agg["l"].as_u64().unwrap());
        let mut qty = 0;
        for id in first..=last {
            let trade = &trades[next];
            assert_eq!(trade["t"], id);
            assert_eq!((&trade["p"], &trade["T"], &trade["m"]), (&agg["p"], &agg["T"], &agg["m"]));
            qty += units(&trade["q"]);
            next += 1;
        }
        assert_eq!(qty, units(&agg["q"]));
        joined += u64::from(last > first);
    }
    assert!(joined > 100, "{joined}");
}

fn units(value: &Value) -> u64 {
    value.as_str().unwrap().replace('.', "").parse().unwrap()
}

#[test]
fn computed_streams_agree_with_recorded_ones() {
    let Some(paths) = recordings() else { return };
    let sim = play(&paths, Speed::Max);
    let mut client = Client::connect(
        &sim,
        "/stream?streams=btcusdt@depth/btcusdt@depth20@100ms/btcusdt@ticker/btcusdt@miniTicker/btcusdt@depth5",
    );
    let (mut follower, mut tickers, mut partial) = (Follower::default(), 0, 0);
    let snapshot = std::thread::scope(|scope| {
        let asked = scope.spawn(|| get(&sim, "/api/v3/depth?symbol=BTCUSDT&limit=5000").json());
        asked.join().unwrap()
    });
    let mut synced = false;
    while follower.update_id != Some(50_093_421_584) {
        let message = client.json();
        let data = &message["data"];
        match message["stream"].as_str().unwrap() {
            "btcusdt@depth" => {
                follower.on_depth(data);
                if !synced {
                    synced = follower.on_snapshot(&snapshot);
                }
            }
            "btcusdt@ticker" => {
                assert_eq!(data["e"], "24hrTicker");
                tickers += 1;
            }
            "btcusdt@miniTicker" => assert_eq!(data["e"], "24hrMiniTicker"),
            "btcusdt@depth20@100ms" => {
                assert_eq!(data["bids"].as_array().unwrap().len(), 20);
                partial += 1;
            }
            _ => assert_eq!(data["asks"].as_array().unwrap().len(), 5),
        }
    }
    assert!((340..=350).contains(&tickers), "{tickers}");
    assert!(partial > 3_400, "{partial}");
}

/// Needs no recording from outside: the synthetic market is captured and played again.
#[test]
fn a_capture_of_the_simulator_plays_like_the_original() {
    let market =
        SyntheticConfig { duration_ms: Some(20_000), ..SyntheticConfig::new(5, &["ETHUSDT"]) };
    let config = SimConfig {
        speed: Speed::Max,
        start_after_subscribers: Some(1),
        ..SimConfig::new(Source::Synthetic(market))
    };
    let original = start(&config).unwrap();
    let mut client = Client::connect(
        &original,
        "/stream?streams=ethusdt@depth@100ms/ethusdt@trade/ethusdt@bookTicker",
    );
    let mut captured = Vec::new();
    let mut stamp: i64 = 1_700_000_000_000_000_000;
    let mut last_id = 0;
    let end = || original.finished().then(|| original.truth("ETHUSDT").unwrap().unwrap().update_id);
    let mut end_id = None;
    while end_id != Some(last_id) {
        // Whether it is finished shows a little after its last message: ask again before waiting for more.
        if captured.len() > 300 && end_id.is_none() {
            std::thread::sleep(std::time::Duration::from_millis(2));
            end_id = end();
            if end_id == Some(last_id) {
                break;
            }
        }
        let text = client.text();
        let message: Value = serde_json::from_str(&text).unwrap();
        if let Some(event_ms) = message["data"]["E"].as_i64() {
            stamp = event_ms * 1_000_000;
        }
        captured.push(format!("{stamp} {text}"));
        if captured.len() == 300 {
            let book = get(&original, "/api/v3/depth?symbol=ETHUSDT&limit=5000").body;
            captured.push(format!("{stamp} {book}"));
        }
        last_id =
            message["data"]["u"].as_u64().filter(|_| text.contains("@depth")).unwrap_or(last_id);
        if end_id.is_none() {
            end_id = end();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("capture.zst");
    std::fs::write(&path, zstd::encode_all(captured.join("\n").as_bytes(), 1).unwrap()).unwrap();

    let again = play(&[path], Speed::Max);
    let _starter = Client::connect(&again, "/ws/x@y");
    assert!(again.wait_finished(LONG));
    let (first, second) =
        (original.truth("ETHUSDT").unwrap().unwrap(), again.truth("ETHUSDT").unwrap().unwrap());
    assert_eq!(second.update_id, first.update_id);
    assert!(second.bids == first.bids && second.asks == first.asks);
    assert_eq!((second.trade_count, second.bars_1s), (first.trade_count, first.bars_1s));
}

#[test]
fn the_venue_clock_runs_at_the_chosen_speed() {
    let Some(paths) = recordings() else { return };
    let sim = play(&paths, Speed::Times(20.0));
    let time = || get(&sim, "/api/v3/time").json()["serverTime"].as_i64().unwrap();
    assert_eq!(time(), 1_723_161_255_208);
    let mut client = Client::connect(&sim, "/ws/ethusdt@depth@100ms/btcusdt@depth@100ms");
    let began = std::time::Instant::now();
    let mut last = 0;
    while last < 1_723_161_255_208 + 20_000 {
        last = client.json()["E"].as_i64().unwrap();
        let ahead = time() - last;
        assert!((0..100_000).contains(&ahead), "venue time is {ahead} ms ahead of a message");
    }
    let took = began.elapsed();
    assert!(took > Duration::from_millis(900), "{took:?}");
}
