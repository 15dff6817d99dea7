//! Each fault of the catalogue, as bytes on the wire.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use cobring_sim::{
    CATALOGUE, Fault, FaultSchedule, Limits, RandomFaults, SimConfig, SimHandle, Source, Speed,
    SyntheticConfig, start,
};
use common::{Client, LONG, get, post, try_get, wait_until};
use serde_json::Value;

const DEPTH: &str = "/ws/ethusdt@depth@100ms";

fn config() -> SimConfig {
    SimConfig {
        speed: Speed::Times(5.0),
        ..SimConfig::new(Source::Synthetic(SyntheticConfig::new(1, &["ETHUSDT", "BTCUSDT"])))
    }
}

fn inject(sim: &SimHandle, id: &str) {
    let body = format!(r#"{{"kind":"catalogue","id":"{id}","symbol":"ETHUSDT"}}"#);
    let reply = post(sim, "/sim/fault", &body);
    assert_eq!(reply.status, 200, "{id}: {}", reply.body);
}

/// A socket that has read nothing but the answer to its handshake.
fn raw(sim: &SimHandle, path: &str) -> TcpStream {
    let mut tcp = TcpStream::connect(sim.addr()).unwrap();
    tcp.set_read_timeout(Some(LONG)).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    tcp.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tcp.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    tcp
}

/// (first byte, payload) of the next frame.
fn frame(tcp: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    tcp.read_exact(&mut head).unwrap();
    let length = match head[1] {
        126 => {
            let mut length = [0; 2];
            tcp.read_exact(&mut length).unwrap();
            u64::from(u16::from_be_bytes(length))
        }
        127 => {
            let mut length = [0; 8];
            tcp.read_exact(&mut length).unwrap();
            u64::from_be_bytes(length)
        }
        short => u64::from(short),
    };
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    tcp.read_exact(&mut payload).unwrap();
    (head[0], payload)
}

/// Bytes that come within a time.
fn heard(tcp: &mut TcpStream, time: Duration) -> usize {
    let (deadline, mut count, mut buffer) = (Instant::now() + time, 0, [0; 65_536]);
    while let Some(left) = deadline.checked_duration_since(Instant::now()) {
        tcp.set_read_timeout(Some(left.max(Duration::from_millis(1)))).unwrap();
        match tcp.read(&mut buffer) {
            Ok(0) => panic!("the connection ended"),
            Ok(read) => count += read,
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                "{error}"
            ),
        }
    }
    count
}

fn network(sim: &SimHandle, id: &str) {
    let mut client = Client::connect(sim, DEPTH);
    client.text();
    match id {
        "reset" => {
            inject(sim, id);
            assert!(client.end().contains("reset"));
        }
        "half_open" => {
            let mut tcp = raw(sim, DEPTH);
            frame(&mut tcp);
            inject(sim, id);
            // What was on its way comes still; then nothing, not even the answer to a ping or a close.
            while heard(&mut tcp, Duration::from_millis(300)) > 0 {}
            tcp.write_all(&[0x89, 0x80, 0, 0, 0, 0]).unwrap();
            tcp.write_all(&[0x88, 0x80, 0, 0, 0, 0]).unwrap();
            assert_eq!(heard(&mut tcp, Duration::from_millis(500)), 0);
            assert_eq!(sim.stats().unwrap().clients.len(), 2, "to the exchange they live");
            Client::connect(sim, DEPTH).text();
            drop((tcp, client));
            wait_until("given up by the clients", LONG, || sim.stats().unwrap().clients.is_empty());
        }
        "stall_with_pongs" | "stall_one_stream" => {
            let all = id == "stall_with_pongs";
            let mut tcp = raw(sim, "/ws/ethusdt@depth@100ms/ethusdt@bookTicker");
            inject(sim, id);
            while heard(&mut tcp, Duration::from_millis(200)) > 0 && all {}
            tcp.write_all(&[0x89, 0x80, 0, 0, 0, 0]).unwrap();
            // A pong without payload, 2 bytes, or among bookTickers.
            let (mut pong, deadline) = (false, Instant::now() + Duration::from_secs(1));
            while !pong && Instant::now() < deadline {
                tcp.set_read_timeout(Some(LONG)).unwrap();
                let (kind, payload) = frame(&mut tcp);
                pong = kind == 0x8a;
                assert!(pong || !all && !payload.starts_with(b"{\"e\""), "a stalled stream spoke");
            }
            assert!(pong);
            sim.inject(Fault::Resume).unwrap();
            client.text();
        }
        "slow_drip" => {
            let mut tcp = raw(sim, DEPTH);
            inject(sim, id);
            while heard(&mut tcp, Duration::from_millis(200)) > 2_000 {}
            // 40 bytes each 20 ms are 2 kB a second; the stream has more.
            let bytes = heard(&mut tcp, Duration::from_millis(1_000));
            assert!((1..=2_400).contains(&bytes), "{bytes}");
            sim.inject(Fault::Resume).unwrap();
            assert!(heard(&mut tcp, Duration::from_millis(1_000)) > 4_000);
        }
        "one_byte_segments" => {
            let mut tcp = raw(sim, DEPTH);
            tcp.set_nodelay(true).unwrap();
            inject(sim, id);
            // A segment is what one read finds where the reader keeps up.
            let (mut ones, mut buffer, began) = (0, [0; 4_096], Instant::now());
            while ones < 100 {
                ones += u32::from(tcp.read(&mut buffer).unwrap() == 1);
                assert!(began.elapsed() < LONG);
            }
            client.json();
        }
        "tls_hang" => {
            inject(sim, id);
            let mut tcp = TcpStream::connect(sim.addr()).unwrap();
            tcp.write_all(b"GET /api/v3/ping HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            assert_eq!(heard(&mut tcp, Duration::from_millis(500)), 0);
            assert!(client.end().contains("reset"));
            std::thread::sleep(Duration::from_millis(1_600));
            assert_eq!(heard(&mut tcp, Duration::from_millis(100)), 0, "it hangs for ever");
            Client::connect(sim, DEPTH).text();
        }
        "refused" => {
            inject(sim, id);
            assert!(client.end().contains("reset"));
            wait_until("refused", LONG, || {
                TcpStream::connect(sim.addr())
                    .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
            });
            wait_until("open", LONG, || Client::try_connect(sim, DEPTH).is_ok());
        }
        "close_1000" | "close_1001" | "close_1008" => {
            inject(sim, id);
            assert!(client.end().starts_with(&id["close_".len()..]));
        }
        "close_1006" => {
            let mut tcp = raw(sim, DEPTH);
            inject(sim, id);
            let mut rest = Vec::new();
            tcp.read_to_end(&mut rest).expect("a FIN, no RST");
            assert!(!client.end().starts_with("100"), "no close frame");
        }
        "fragments" | "one_byte_frames" => {
            let size = if id == "fragments" { 64 } else { 1 };
            let mut tcp = raw(sim, DEPTH);
            inject(sim, id);
            let mut text = Vec::new();
            wait_until("a message in parts", LONG, || frame(&mut tcp).0 == 0x01);
            // From the second frame on.
            loop {
                let (kind, payload) = frame(&mut tcp);
                assert!(payload.len() <= size && kind & 0x7f == 0);
                text.extend(payload);
                if kind == 0x80 {
                    break;
                }
                assert!(payload_is_full(&text, size));
            }
            assert!(text.ends_with(b"]}"));
            wait_until("texts again whole", LONG, || frame(&mut tcp).0 == 0x81);
        }
        "oversized" => {
            inject(sim, id);
            let text = client.find(|text| text.starts_with(r#"{"e":"big"}"#));
            assert_eq!(text.len(), 5 << 20);
        }
        "ping_storm" => {
            let mut tcp = raw(sim, DEPTH);
            inject(sim, id);
            let mut pings = 0;
            wait_until("100 pings", LONG, || {
                pings += u32::from(frame(&mut tcp).0 == 0x89);
                pings == 100
            });
        }
        "no_ping" => {
            let mut limits = config().limits;
            limits.ping_interval = Duration::from_millis(50);
            let sim = start(&SimConfig { limits, ..config() }).unwrap();
            let mut tcp = raw(&sim, "/ws/none@trade");
            assert_eq!(frame(&mut tcp).0, 0x89);
            inject(&sim, id);
            while heard(&mut tcp, Duration::from_millis(100)) > 0 {}
            assert_eq!(heard(&mut tcp, Duration::from_millis(400)), 0);
            sim.inject(Fault::Resume).unwrap();
            assert!(heard(&mut tcp, Duration::from_millis(400)) > 0);
        }
        "life_24h" => {
            inject(sim, id);
            let began = Instant::now();
            let mut later = Client::connect(sim, DEPTH);
            assert_eq!(client.end(), "1000 Connection life is over");
            assert!(began.elapsed() >= Duration::from_millis(900));
            later.text();
        }
        other => panic!("{other} has no test"),
    }
}

fn payload_is_full(text: &[u8], size: usize) -> bool {
    text.len().is_multiple_of(size)
}

fn protocol(sim: &SimHandle, id: &str) {
    let mut client = Client::connect(sim, DEPTH);
    let first = client.json();
    let ids = |event: &Value| (event["U"].as_u64().unwrap(), event["u"].as_u64().unwrap());
    let (_, mut last) = ids(&first);
    inject(sim, id);
    // Up to the first message that does not follow on the one before.
    let mut next = |clean: &dyn Fn(&str) -> bool| -> String {
        loop {
            let text = client.text();
            let parsed: Option<Value> = serde_json::from_str(&text).ok();
            match parsed {
                Some(event) if clean(&text) && event["U"].as_u64() == Some(last + 1) => {
                    last = event["u"].as_u64().unwrap();
                }
                _ => return text,
            }
        }
    };
    let any = |_: &str| true;
    match id {
        "gap" => {
            let after: Value = serde_json::from_str(&next(&any)).unwrap();
            assert!(ids(&after).0 > last + 1);
        }
        "duplicate" => {
            let again: Value = serde_json::from_str(&next(&any)).unwrap();
            assert_eq!(ids(&again).1, last);
        }
        "reorder" => {
            let after: Value = serde_json::from_str(&next(&any)).unwrap();
            let before: Value = serde_json::from_str(&next(&|_| false)).unwrap();
            assert_eq!(
                (ids(&before).0, ids(&before).1),
                (last + 1, ids(&after).0 - 1),
                "in front of the one that came first"
            );
        }
        "overlap" => {
            let event: Value = serde_json::from_str(&next(&any)).unwrap();
            assert!(ids(&event).0 <= last && ids(&event).1 > last);
        }
        "stale_snapshot" | "snapshot_never_bridges" => {
            // Play has gone on for more than 10 s at the end of these.
            let count = if id == "stale_snapshot" { 1 } else { 3 };
            sim.pause().unwrap();
            let now = sim.truth("ETHUSDT").unwrap().unwrap().update_id;
            let id_of = || {
                let book = get(sim, "/api/v3/depth?symbol=ETHUSDT&limit=5").json();
                book["lastUpdateId"].as_u64().unwrap()
            };
            for _ in 0..count {
                assert!(id_of() + 100 < now, "old");
            }
            assert!(id_of() >= now);
            sim.resume().unwrap();
        }
        "crossed_book" => {
            let text = next(&|text| !text.is_empty() && !is_crossed(text));
            assert!(is_crossed(&text));
        }
        "empty_side" => {
            let asks = |text: &str| {
                let event: Value = serde_json::from_str(text).unwrap();
                let asks = event["a"].as_array().unwrap().clone();
                asks.len() > 2_000 && asks.iter().all(|level| level[1] == "0.00000000")
            };
            assert!(asks(&next(&|text| !asks(text))));
        }
        "levels_5000" => {
            let levels = |text: &str| text.matches("[\"").count();
            assert!(levels(&next(&|text| levels(text) < 5_000)) >= 5_000);
        }
        "negative_number" => said(&next(&|text| !text.contains('-')), "-2700.01000000"),
        "huge_number" => said(
            &next(&|text| !text.contains("12345678901234567890123456789")),
            "1234567890123456789012345678901234567890.0",
        ),
        "exponent_number" => said(&next(&|text| !text.contains("e3")), "2.7e3"),
        "nan_number" => said(&next(&|text| !text.contains("NaN")), "NaN"),
        "unknown_event" => {
            assert_eq!(next(&any), r#"{"e":"auction","E":1,"x":[1,{"y":null}]}"#);
        }
        "unknown_field" => {
            let text = next(&|text| !text.contains("zz"));
            assert!(text.starts_with(r#"{"zz":{"new":[1,null]},"e":"depthUpdate""#));
        }
        "key_order" => {
            let text = next(&|text| text.starts_with(r#"{"e""#));
            assert!(text.starts_with(r#"{"a":["#) && text.ends_with(r#""e":"depthUpdate"}"#));
        }
        "truncated_json" => {
            let text = next(&any);
            assert!(text.starts_with(r#"{"e":"depthUpdate""#) && !text.ends_with('}'), "{text}");
        }
        "wrong_symbol" => {
            assert!(next(&|text| !text.contains("BTC")).contains(r#""s":"BTCUSDT""#));
        }
        "ms_to_us" => {
            let time =
                |text: &str| serde_json::from_str::<Value>(text).unwrap()["E"].as_i64().unwrap();
            let in_us = time(&next(&|text| time(text) < 100_000_000_000_000));
            assert!(in_us / 1_000 - first["E"].as_i64().unwrap() < 60_000);
        }
        other => panic!("{other} has no test"),
    }
}

fn said(text: &str, number: &str) {
    let event: Value = serde_json::from_str(text).unwrap();
    let levels = [&event["b"], &event["a"]].map(|side| side.as_array().unwrap().clone()).concat();
    assert!(levels.iter().any(|level| level[0] == number || level[1] == number), "{text}");
}

fn is_crossed(text: &str) -> bool {
    let event: Value = serde_json::from_str(text).unwrap();
    let first = |side: &str| event[side][0][0].as_str().and_then(|px| px.parse::<f64>().ok());
    first("b").is_some_and(|px| px > 5_000.0)
}

fn venue(sim: &SimHandle, id: &str) {
    let status = |path: &str| get(sim, path).status;
    match id {
        "http_429" | "http_418" | "http_403" | "http_5xx" => {
            inject(sim, id);
            let (code, retry_after) = match id {
                "http_429" => (429, "2"),
                "http_418" => (418, "3"),
                "http_403" => (403, ""),
                _ => (503, ""),
            };
            for _ in 0..if code == 403 { 1 } else { 2 } {
                let reply = get(sim, "/api/v3/time");
                assert_eq!((reply.status, reply.header("retry-after")), (code, retry_after));
            }
            assert_eq!(status("/api/v3/time"), 200);
        }
        "slow_reply" => {
            inject(sim, id);
            let began = Instant::now();
            assert_eq!([status("/api/v3/time"), status("/api/v3/time")], [200, 200]);
            assert!(began.elapsed() >= Duration::from_secs(6));
        }
        "server_shutdown" => {
            let mut client = Client::connect(sim, DEPTH);
            inject(sim, id);
            client.find(|text| text.contains("serverShutdown"));
            assert!(client.end().starts_with("1001"));
        }
        "symbol_halted" => {
            let mut client =
                Client::connect(sim, "/stream?streams=ethusdt@bookTicker/btcusdt@bookTicker");
            inject(sim, id);
            let of = |symbol: &str| {
                get(sim, &format!("/api/v3/exchangeInfo?symbol={symbol}")).json()["symbols"][0]
                    ["status"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            };
            assert_eq!([of("ETHUSDT"), of("BTCUSDT")], ["HALT", "TRADING"]);
            let mut btc = 0;
            wait_until("only BTC is heard", LONG, || {
                btc = if client.text().contains("btcusdt") { btc + 1 } else { 0 };
                btc == 20
            });
            wait_until("trading again", LONG, || of("ETHUSDT") == "TRADING");
            client.find(|text| text.contains("ethusdt"));
        }
        "tick_size_change" => {
            inject(sim, id);
            let tick = |symbol: &str| {
                get(sim, &format!("/api/v3/exchangeInfo?symbol={symbol}")).json()["symbols"][0]
                    ["filters"][0]["tickSize"]
                    .clone()
            };
            assert_eq!(
                [tick("ETHUSDT"), tick("BTCUSDT")],
                [Value::from("0.05000000"), Value::from("0.01000000")]
            );
            sim.inject(Fault::Resume).unwrap();
            assert_eq!(tick("ETHUSDT"), "0.01000000");
        }
        "outage_10min" => {
            let mut client = Client::connect(sim, DEPTH);
            let began = sim.stats().unwrap().position_s;
            inject(sim, id);
            assert!(client.end().contains("reset"));
            assert!(try_get(sim, "/api/v3/ping").is_err());
            assert!(sim.stats().unwrap().is_down);
            wait_until("it is over", LONG, || !sim.stats().unwrap().is_down);
            let gone = sim.stats().unwrap().position_s - began;
            assert!((600.0..700.0).contains(&gone), "{gone}");
        }
        other => panic!("{other} has no test"),
    }
}

fn all_of(group: &str, sim: &SimHandle, test: impl Fn(&SimHandle, &str)) {
    let of_group = |entry: &&cobring_sim::CatalogueEntry| {
        serde_json::to_value(entry.group).unwrap() == group && !entry.faults("*").is_empty()
    };
    let mut tested = 0;
    for entry in CATALOGUE.iter().filter(of_group) {
        let faults = sim.stats().unwrap().faults;
        eprintln!("{}", entry.id);
        test(sim, entry.id);
        assert!(entry.id == "no_ping" || sim.stats().unwrap().faults > faults);
        sim.inject(Fault::Resume).unwrap();
        tested += 1;
    }
    assert!(tested > 5);
}

#[test]
fn network_faults_are_on_the_wire() {
    all_of("network", &start(&config()).unwrap(), network);
}

#[test]
fn protocol_faults_are_in_the_messages() {
    let sim = start(&config()).unwrap();
    wait_until("there is an old book", LONG, || sim.stats().unwrap().position_s > 12.0);
    all_of("protocol", &sim, protocol);
}

#[test]
fn venue_faults_are_in_what_the_exchange_does() {
    // The end of a halt is polled for, and a fast machine does it more often than the venue would let it.
    let limits = Limits { weight_per_minute: 10_000_000, ..Limits::default() };
    let config = SimConfig { speed: Speed::Times(50.0), limits, ..config() };
    all_of("venue", &start(&config).unwrap(), venue);
}

#[test]
fn ids_are_known_or_refused_with_those_that_are() {
    let sim = start(&config()).unwrap();
    let refused = post(&sim, "/sim/fault", r#"{"kind":"catalogue","id":"explode"}"#);
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("half_open"), "{}", refused.body);
    let outside = post(&sim, "/sim/fault", r#"{"kind":"catalogue","id":"dns"}"#);
    assert!(outside.body.contains("outside of the exchange"), "{}", outside.body);
}

#[test]
fn random_faults_happen_by_themselves() {
    let random = Some(RandomFaults { seed: 7, every_s: 1.0 });
    let faults = FaultSchedule { random, ..FaultSchedule::default() };
    let sim = start(&SimConfig { faults, speed: Speed::Times(50.0), ..config() }).unwrap();
    wait_until("a fault a second", LONG, || sim.stats().unwrap().faults >= 100);
    assert!(sim.stats().unwrap().position_s >= 99.0);
    let none = Some(RandomFaults { seed: 7, every_s: 0.0 });
    let faults = FaultSchedule { random: none, ..FaultSchedule::default() };
    assert!(start(&SimConfig { faults, ..config() }).is_err());
}
