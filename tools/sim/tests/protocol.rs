//! The WebSocket protocol and its limits.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::time::{Duration, Instant};

use cobring_sim::{Fault, Limits, SimConfig, SimHandle, Source, SyntheticConfig, start};
use common::{Client, LONG, wait_until};
use serde_json::json;
use tungstenite::Message;

fn sim(limits: Limits) -> SimHandle {
    let market = SyntheticConfig::new(1, &["ETHUSDT", "BTCUSDT"]);
    start(&SimConfig { limits, ..SimConfig::new(Source::Synthetic(market)) }).unwrap()
}

#[test]
fn subscriptions_change_while_connected() {
    let sim = sim(Limits::default());
    let mut client = Client::connect(&sim, "/ws");
    client.send(
        r#"{"method":"SUBSCRIBE","params":["ethusdt@depth@100ms","btcusdt@bookTicker"],"id":1}"#,
    );
    assert_eq!(client.text(), r#"{"result":null,"id":1}"#);
    assert!(
        client.find(|text| text.contains("depthUpdate")).starts_with(r#"{"e":"depthUpdate","E":"#)
    );
    client.send(r#"{"method":"UNSUBSCRIBE","params":["ethusdt@depth@100ms"],"id":"two"}"#);
    client.find(|text| text == r#"{"result":null,"id":"two"}"#);
    for _ in 0..30 {
        assert!(client.text().starts_with(r#"{"u":"#));
    }
    client.send(r#"{"method":"LIST_SUBSCRIPTIONS","id":3}"#);
    client.find(|text| text == r#"{"result":["btcusdt@bookTicker"],"id":3}"#);
    client.send(r#"{"method":"SET_PROPERTY","params":["combined",true],"id":4}"#);
    client.find(|text| text == r#"{"result":null,"id":4}"#);
    assert!(client.text().starts_with(r#"{"stream":"btcusdt@bookTicker","data":{"u":"#));
}

#[test]
fn paths_name_streams_raw_and_combined() {
    let sim = sim(Limits::default());
    for (path, begins) in [
        ("/ws/ethusdt@bookTicker", r#"{"u":"#),
        ("/ws/ethusdt%40bookTicker/btcusdt@nothing", r#"{"u":"#),
        ("/stream?streams=ethusdt@bookTicker", r#"{"stream":"ethusdt@bookTicker","data":{"u":"#),
        (
            "/stream?timeUnit=MILLISECOND&streams=x@y/ethusdt%40bookTicker",
            r#"{"stream":"ethusdt@bookTicker""#,
        ),
    ] {
        let text = Client::connect(&sim, path).text();
        assert!(text.starts_with(begins), "{path}: {text}");
    }
    assert!(Client::try_connect(&sim, "/elsewhere").is_err());
}

#[test]
fn refusals_leave_the_connection_open() {
    let sim = sim(Limits::default());
    let mut client = Client::connect(&sim, "/stream");
    for (request, expected) in [
        (
            "no json",
            json!({"error":{"code":3,"msg":"Invalid JSON: expected ident at line 1 column 2"},"id":null}),
        ),
        (
            r#"{"method":"SUBSCRIBE","params":["x"],"id":7}"#,
            json!({"error":{"code":2,"msg":"Invalid request: invalid stream"},"id":7}),
        ),
        (
            r#"{"method":"GET_PROPERTY","params":["combined"],"id":8}"#,
            json!({"result":true,"id":8}),
        ),
    ] {
        client.send(request);
        let answer = client.json();
        if expected["error"]["code"] == 3 {
            assert_eq!(answer["error"]["code"], 3);
        } else {
            assert_eq!(answer, expected);
        }
    }
}

#[test]
fn pings_come_and_pongs_keep_the_connection() {
    let limits = Limits {
        ping_interval: Duration::from_millis(300),
        pong_timeout: Duration::from_millis(600),
        ..Limits::default()
    };
    let sim = sim(limits);
    let mut client = Client::connect(&sim, "/ws/ethusdt@bookTicker");
    wait_until("five pings are answered", LONG, || {
        client.text();
        sim.stats().unwrap().pongs >= 5
    });
    assert_eq!(sim.stats().unwrap().pong_timeouts, 0);
}

#[test]
fn a_clients_ping_is_answered_with_its_payload() {
    let sim = sim(Limits::default());
    let mut client = Client::connect(&sim, "/ws");
    client.0.send(Message::Ping(b"seven".to_vec().into())).unwrap();
    assert_eq!(client.0.read().unwrap(), Message::Pong(b"seven".to_vec().into()));
}

#[test]
fn without_a_pong_the_connection_is_closed_whatever_else_is_sent() {
    let limits = Limits {
        ping_interval: Duration::from_millis(200),
        pong_timeout: Duration::from_millis(400),
        ..Limits::default()
    };
    let sim = sim(limits);
    // Nothing is read, so tungstenite answers no ping; an unsolicited pong does not count.
    let mut client = Client::connect(&sim, "/ws/nothing@here");
    client.0.send(Message::Pong(Vec::new().into())).unwrap();
    let began = Instant::now();
    wait_until("the client is dropped", LONG, || sim.stats().unwrap().pong_timeouts == 1);
    assert!(began.elapsed() >= Duration::from_millis(350));
    wait_until("it is forgotten", LONG, || sim.stats().unwrap().clients.is_empty());
    assert!(client.end().starts_with("1008 Pong timeout"));
}

#[test]
fn more_than_five_messages_in_a_second_end_the_connection() {
    let sim = sim(Limits::default());
    let mut client = Client::connect(&sim, "/ws");
    for id in 0..5 {
        client.send(&format!(r#"{{"method":"LIST_SUBSCRIPTIONS","id":{id}}}"#));
        assert_eq!(client.text(), format!(r#"{{"result":[],"id":{id}}}"#));
    }
    client.0.send(Message::Ping(Vec::new().into())).unwrap();
    assert!(client.end().starts_with("1008 Too many requests"));
    assert_eq!(sim.stats().unwrap().rate_disconnects, 1);
}

#[test]
fn a_connection_has_at_most_1024_streams() {
    let sim = sim(Limits::default());
    let streams = |count: usize| (0..count).map(|i| format!("s{i}@trade")).collect::<Vec<_>>();
    let mut client = Client::connect(&sim, &format!("/stream?streams={}", streams(1024).join("/")));
    client.send(r#"{"method":"SUBSCRIBE","params":["s1@trade"],"id":1}"#);
    assert_eq!(client.text(), r#"{"result":null,"id":1}"#);
    client.send(r#"{"method":"SUBSCRIBE","params":["one@more"],"id":2}"#);
    assert!(client.end().starts_with("1008 Too many streams"));
    let mut client = Client::connect(&sim, &format!("/stream?streams={}", streams(1025).join("/")));
    assert!(client.end().starts_with("1008 Too many streams"));
}

#[test]
fn a_connection_lives_so_long_and_no_longer() {
    let sim = sim(Limits { connection_life: Duration::from_millis(300), ..Limits::default() });
    let mut client = Client::connect(&sim, "/ws/ethusdt@depth");
    assert!(client.end().starts_with("1000 "));
}

#[test]
fn an_address_connects_so_often_and_no_oftener() {
    let sim = sim(Limits { connects_per_5min: 2, ..Limits::default() });
    let _one = Client::connect(&sim, "/ws");
    let _two = Client::connect(&sim, "/ws");
    assert!(Client::try_connect(&sim, "/ws").err().unwrap().contains("429"));
    assert_eq!(sim.stats().unwrap().refused_connects, 1);
}

#[test]
fn server_shutdown_is_announced_in_both_forms_and_then_done() {
    let sim = sim(Limits::default());
    let mut raw = Client::connect(&sim, "/ws");
    let mut combined = Client::connect(&sim, "/stream?streams=x@y");
    wait_until("both are there", LONG, || sim.stats().unwrap().clients.len() == 2);
    sim.inject(Fault::ServerShutdown { close_after_ms: Some(100) }).unwrap();
    assert!(raw.text().starts_with(r#"{"e":"serverShutdown","E":17"#));
    assert!(
        combined
            .text()
            .starts_with(r#"{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":17"#)
    );
    assert!(raw.end().starts_with("1001 "));
    assert!(combined.end().starts_with("1001 "));
}

#[test]
fn a_client_that_does_not_read_is_cut_and_counted() {
    let market = SyntheticConfig::new(1, &["ETHUSDT", "BTCUSDT"]);
    let config = SimConfig {
        speed: cobring_sim::Speed::Times(200.0),
        limits: Limits { client_queue_bytes_max: 1 << 20, ..Limits::default() },
        ..SimConfig::new(Source::Synthetic(market))
    };
    let sim = start(&config).unwrap();
    let mut slow =
        Client::connect(&sim, "/ws/ethusdt@depth@100ms/btcusdt@depth@100ms/ethusdt@bookTicker");
    wait_until("it is cut", LONG, || sim.stats().unwrap().slow_disconnects == 1);
    assert!(slow.end().contains("reset"));
}
