//! The exchange in virtual time, driven as a simulation of a whole client would drive it.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use cobring_sim::{
    Body, Burst, CATALOGUE, Connect, Delivered, Fault, FaultSchedule, Interval, KlineQuery, Limits,
    MarketEvent, Pace, Play, RandomFaults, Rest, RestAnswer, ScheduledFault, Side, SimConfig,
    Source, SyntheticConfig, VirtualExchange,
};
use common::{Follower, digits, recordings};
use serde_json::Value;

const MS: i64 = 1_000_000;
const S: i64 = 1_000 * MS;
const DEPTH: &str = "/ws/ethusdt@depth@100ms";

fn market() -> SyntheticConfig {
    let mut market = SyntheticConfig::new(1, &["ETHUSDT", "BTCUSDT"]);
    for symbol in &mut market.symbols {
        symbol.level_count = 1_000;
    }
    market
}

fn config() -> SimConfig {
    SimConfig { listed_days: 2, ..SimConfig::new(Source::Synthetic(market())) }
}

/// The exchange, and what its clients heard and when.
struct Sim(VirtualExchange);

impl Sim {
    fn new() -> Self {
        Self::of(&config())
    }

    fn of(config: &SimConfig) -> Self {
        Self(VirtualExchange::new(config).unwrap())
    }

    fn open(&mut self, path: &str) -> u64 {
        match self.0.connect(path) {
            Connect::Open { client, delay_ns: 0 } => client,
            other => panic!("{other:?}"),
        }
    }

    fn pass(&mut self, ns: i64) {
        self.0.advance_to(self.0.now_ns() + ns, &mut |_| {});
    }

    /// To the next instant at which something happens.
    fn step(&mut self) {
        let due_ns = self.0.next_due_ns().unwrap();
        self.0.advance_to(due_ns, &mut |_| {});
    }

    /// What arrives within a time, and when; pings are answered.
    fn hear(&mut self, client: u64, ns: i64) -> Vec<(i64, Delivered)> {
        let end_ns = self.0.now_ns() + ns;
        let mut heard = Vec::new();
        loop {
            while let Some(delivered) = self.0.take(client) {
                if let Delivered::Ping(payload) = &delivered {
                    self.0.pong(client, payload);
                }
                heard.push((self.0.now_ns(), delivered));
            }
            match self.0.next_due_ns().filter(|due_ns| *due_ns <= end_ns) {
                Some(due_ns) => self.0.advance_to(due_ns, &mut |_| {}),
                None => break,
            }
        }
        self.0.advance_to(end_ns, &mut |_| {});
        heard
    }

    fn texts(&mut self, client: u64, ns: i64) -> Vec<String> {
        self.hear(client, ns).into_iter().filter_map(|(_, delivered)| text(delivered)).collect()
    }

    /// The next text that fits, within a minute.
    fn find(&mut self, client: u64, fits: impl Fn(&str) -> bool) -> String {
        let end_ns = self.0.now_ns() + 60 * S;
        while self.0.now_ns() < end_ns {
            while let Some(delivered) = self.0.take(client) {
                if let Some(text) = text(delivered).filter(|text| fits(text)) {
                    return text;
                }
            }
            self.step();
        }
        panic!("not within a minute");
    }

    fn json(&mut self, client: u64) -> Value {
        serde_json::from_str(&self.find(client, |_| true)).unwrap()
    }

    fn inject(&mut self, id: &str) {
        self.0.inject(Fault::Catalogue { id: id.into(), symbol: "ETHUSDT".into() }).unwrap();
    }

    fn get(&mut self, path: &str) -> RestAnswer {
        match self.0.rest(path) {
            Rest::Answer(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    fn get_json(&mut self, path: &str) -> Value {
        serde_json::from_slice(&self.get(path).body).unwrap()
    }
}

fn text(delivered: Delivered) -> Option<String> {
    match delivered {
        Delivered::Text(text) => Some(String::from_utf8(text.to_vec()).unwrap()),
        _ => None,
    }
}

fn ids(event: &Value) -> (u64, u64) {
    (event["U"].as_u64().unwrap(), event["u"].as_u64().unwrap())
}

/// A client that always comes back, and all that it meets.
fn transcript(seed: u64) -> Vec<String> {
    let random = Some(RandomFaults { seed, every_s: 2.0 });
    let faults = FaultSchedule { random, ..FaultSchedule::default() };
    let mut sim = Sim::of(&SimConfig { faults, ..config() });
    let path =
        "/stream?streams=ethusdt@depth@100ms/ethusdt@trade/btcusdt@bookTicker/ethusdt@kline_1s/!x";
    let (mut told, mut client) = (Vec::new(), None);
    for second in 0..60 {
        let Some(id) = client else {
            let met = sim.0.connect(path);
            told.push(format!("{met:?}"));
            if let Connect::Open { client: id, .. } = met {
                client = Some(id);
                let spare = sim.0.connect("/ws/ethusdt@aggTrade/ethusdt@ticker");
                told.push(format!("{spare:?}"));
            }
            sim.pass(S);
            continue;
        };
        let heard = sim.hear(id, S);
        let is_over = |delivered: &Delivered| {
            matches!(delivered, Delivered::Close(_) | Delivered::Ended | Delivered::Reset)
        };
        if heard.iter().any(|(_, delivered)| is_over(delivered)) || second % 20 == 0 {
            sim.0.disconnect(id);
            client = None;
        }
        told.extend(heard.into_iter().map(|heard| format!("{heard:?}")));
        told.push(format!("{:?}", sim.0.rest("/api/v3/depth?symbol=ETHUSDT&limit=20")));
        sim.0.send(id, r#"{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}"#);
    }
    told.push(format!("{:?} {:?}", sim.0.stats(), sim.0.catalogue_counts()));
    assert_eq!(sim.0.fault_count(), sim.0.stats().faults);
    told
}

#[test]
fn equal_calls_give_equal_bytes() {
    let once = transcript(3);
    assert!(once.len() > 1_000, "{}", once.len());
    let again = transcript(3);
    for (one, other) in once.iter().zip(&again) {
        assert_eq!(one, other);
    }
    assert_eq!(once.len(), again.len());
    assert_ne!(once, transcript(4));
}

#[test]
fn a_snapshot_and_the_depth_stream_are_the_book_at_every_update() {
    let mut sim = Sim::new();
    let client = sim.open(DEPTH);
    let mut follower = Follower::default();
    let mut compared = 0;
    while compared < 100 {
        sim.step();
        while let Some(delivered) = sim.0.take(client) {
            follower.on_depth(&serde_json::from_str(&text(delivered).unwrap()).unwrap());
            if follower.needs_snapshot() {
                let path = "/api/v3/depth?symbol=ETHUSDT&limit=5000";
                assert!(follower.on_snapshot(&sim.get_json(path)));
            }
            let book = sim.0.book("ETHUSDT").unwrap();
            if follower.update_id == Some(book.update_id) {
                let side = |side| {
                    let levels = book.top(side, usize::MAX).into_iter();
                    levels
                        .map(|level| (digits(&level.0.to_string()), level.1.to_string()))
                        .collect::<BTreeMap<_, _>>()
                };
                assert!(follower.bids == side(Side::Bid) && follower.asks == side(Side::Ask));
                compared += 1;
            } else {
                // The snapshot was fresher than the last event.
                assert!(compared == 0 && follower.update_id > Some(book.update_id));
            }
        }
    }
    assert_eq!(follower.gaps, 0);
    assert_eq!(sim.0.truth("ETHUSDT").unwrap().update_id, follower.update_id.unwrap());
    assert!(sim.0.book("XUSDT").is_none() && sim.0.truth("XUSDT").is_none());
}

#[test]
fn the_caller_sees_every_event_once_in_order_whatever_the_faults_and_steps() {
    let events = |step_ns: i64, fault: Option<Fault>| {
        let mut sim = Sim::new();
        sim.open(DEPTH);
        if let Some(fault) = fault {
            sim.0.inject(fault).unwrap();
        }
        let mut events: Vec<MarketEvent> = Vec::new();
        while sim.0.now_ns() < 5 * S {
            let at_ns = sim.0.now_ns() + step_ns;
            sim.0.advance_to(at_ns, &mut |event| events.push(event.clone()));
            assert!(events.last().is_none_or(|event| event.at_ns <= at_ns));
        }
        events
    };
    let expected = events(MS, None);
    assert!(expected.len() > 100 && expected.is_sorted_by_key(|event| event.at_ns));
    assert_eq!(events(5 * S, None), expected);
    assert_eq!(events(100 * MS, Some(Fault::Outage { for_s: 3.0 })), expected);
    assert_eq!(events(S, Some(Fault::Halt { symbol: "*".into(), for_s: None })), expected);
}

/// What a client of one stream meets, fault by fault.
fn meets(sim: &mut Sim, id: &str) {
    let client = sim.open(DEPTH);
    let mut last = ids(&sim.json(client)).1;
    sim.inject(id);
    let began_ns = sim.0.now_ns();
    match id {
        "reset" => assert_eq!(sim.0.take(client), Some(Delivered::Reset)),
        "half_open" => {
            assert_eq!(sim.hear(client, 100 * S), []);
            sim.0.send(client, r#"{"method":"LIST_SUBSCRIPTIONS","id":1}"#);
            assert_eq!(sim.hear(client, S), []);
            sim.0.disconnect(client);
            assert!(sim.0.stats().clients.is_empty());
        }
        "stall_with_pongs" | "stall_one_stream" => {
            let other = sim.open("/ws/ethusdt@bookTicker");
            assert_eq!(sim.texts(client, 6 * S - 1), [""; 0]);
            assert_eq!(sim.texts(other, 0).is_empty(), id == "stall_with_pongs");
            assert!(!sim.texts(client, S).is_empty());
        }
        "slow_drip" => {
            // What is sent in the beginning arrives 40 bytes each 20 ms.
            let heard = sim.hear(client, 2 * S);
            let bytes: usize =
                heard.into_iter().filter_map(|(_, one)| text(one)).map(|text| text.len()).sum();
            assert!((2_000..=4_040).contains(&bytes), "{bytes}");
            // At its end all the rest arrives.
            let rest = sim.hear(client, 7 * S);
            let late = rest
                .iter()
                .filter(|(at_ns, _)| (8 * S..=8 * S + 20 * MS).contains(&(at_ns - began_ns)));
            assert!(late.count() > 20);
        }
        "one_byte_segments" | "no_ping" | "ms_to_us" | "tick_size_change" => {}
        "tls_hang" | "refused" => {
            assert_eq!(sim.0.take(client), Some(Delivered::Reset));
            let (connect, rest) = match id {
                "refused" => (Connect::Refused, Rest::Refused),
                _ => {
                    let until_ns = began_ns + 2 * S;
                    (Connect::Hang { until_ns }, Rest::Hang { until_ns })
                }
            };
            sim.pass(2 * S - 1);
            assert_eq!((sim.0.connect(DEPTH), sim.0.rest("/api/v3/ping")), (connect, rest));
            sim.pass(1);
            sim.open(DEPTH);
        }
        "close_1000" | "close_1001" | "close_1008" => {
            let code = id["close_".len()..].parse().unwrap();
            assert_eq!(sim.0.take(client), Some(Delivered::Close(code)));
            assert_eq!(sim.hear(client, S), []);
        }
        "close_1006" => assert_eq!(sim.0.take(client), Some(Delivered::Ended)),
        "fragments" | "one_byte_frames" => {
            for _ in 0..25 {
                let event = sim.json(client);
                assert_eq!(ids(&event).0, last + 1);
                last = ids(&event).1;
            }
        }
        "oversized" => assert_eq!(sim.find(client, |_| true).len(), 5 << 20),
        "ping_storm" => {
            for number in 0..100 {
                let ping = Delivered::Ping(format!("storm {number}").into());
                assert_eq!(sim.0.take(client), Some(ping));
            }
        }
        "life_24h" => {
            let heard = sim.hear(client, 2 * S);
            assert_eq!(heard.last(), Some(&(began_ns + S, Delivered::Close(1000))));
        }
        "gap" => assert!(ids(&sim.json(client)).0 > last + 1),
        "duplicate" => {
            let first = sim.json(client);
            assert_eq!((ids(&first).0, &first), (last + 1, &sim.json(client)));
        }
        "reorder" => {
            let (second, first) = (ids(&sim.json(client)), ids(&sim.json(client)));
            assert_eq!((first.0, first.1 + 1), (last + 1, second.0));
        }
        "overlap" => {
            let (first, second) = (ids(&sim.json(client)), ids(&sim.json(client)));
            assert!(first.0 == last + 1 && second.0 == first.0 && second.1 > first.1);
        }
        "stale_snapshot" | "snapshot_never_bridges" => {
            let count = if id == "stale_snapshot" { 1 } else { 3 };
            let mut snapshot = || {
                let body = sim.get_json("/api/v3/depth?symbol=ETHUSDT&limit=5");
                body["lastUpdateId"].as_u64().unwrap()
            };
            assert!((0..count).all(|_| snapshot() + 100 < last));
            assert!(snapshot() >= last);
        }
        "crossed_book" => {
            let px = |event: &Value, side: &str| digits(event[side][0][0].as_str().unwrap());
            let crossed = sim.find(client, |text| {
                let event: Value = serde_json::from_str(text).unwrap();
                event["b"][0][0].is_string() && px(&event, "b") > 5_000 * 100_000_000
            });
            assert_eq!(ids(&serde_json::from_str(&crossed).unwrap()).0, last + 1);
        }
        "empty_side" => {
            let event = sim.json(client);
            let asks = event["a"].as_array().unwrap();
            assert!(asks.len() > 500 && asks.iter().all(|level| level[1] == "0.00000000"));
        }
        "levels_5000" => assert!(sim.find(client, |_| true).matches("[\"").count() > 1_900),
        "negative_number" => said(sim, client, "\"-2700.01000000\""),
        "huge_number" => said(sim, client, "\"1234567890123456789012345678901234567890.0\""),
        "exponent_number" => said(sim, client, "\"2.7e3\""),
        "nan_number" => said(sim, client, "\"NaN\""),
        "unknown_event" => said(sim, client, r#"{"e":"auction","E":1,"x":[1,{"y":null}]}"#),
        "unknown_field" => said(sim, client, r#"{"zz":{"new":[1,null]},"e":"depthUpdate""#),
        "key_order" => said(sim, client, r#""e":"depthUpdate"}"#),
        "truncated_json" => assert!(!sim.find(client, |_| true).ends_with('}')),
        "wrong_symbol" => said(sim, client, r#""s":"BTCUSDT""#),
        "http_429" | "http_418" | "http_403" | "http_5xx" => {
            let (status, retry_after_s, count) = match id {
                "http_429" => (429, Some(2), 2),
                "http_418" => (418, Some(3), 2),
                "http_403" => (403, None, 1),
                _ => (503, None, 2),
            };
            for _ in 0..count {
                let answer = sim.get("/api/v3/time");
                assert_eq!((answer.status, answer.retry_after_s), (status, retry_after_s));
            }
            assert_eq!(sim.get("/api/v3/time").status, 200);
        }
        "slow_reply" => {
            let delays = [(); 3].map(|()| sim.get("/api/v3/time").delay_ns);
            assert_eq!(delays, [3 * S, 3 * S, 0]);
        }
        "server_shutdown" => {
            let heard = sim.hear(client, 3 * S);
            assert!(text(heard[0].1.clone()).unwrap().contains("serverShutdown"));
            assert_eq!(heard.last(), Some(&(began_ns + 2 * S, Delivered::Close(1001))));
        }
        "symbol_halted" => {
            let info = sim.get_json("/api/v3/exchangeInfo?symbol=ETHUSDT");
            assert_eq!(info["symbols"][0]["status"], "HALT");
            let book = |sim: &mut Sim| sim.get("/api/v3/depth?symbol=ETHUSDT").body;
            let halted = book(sim);
            assert_eq!(sim.texts(client, 5 * S - 1), [""; 0]);
            assert_eq!(book(sim), halted);
            assert!(!sim.texts(client, S).is_empty());
        }
        "outage_10min" => {
            assert_eq!(sim.0.take(client), Some(Delivered::Reset));
            let trades = |sim: &mut Sim| sim.0.truth("ETHUSDT").unwrap().trade_count;
            let before = trades(sim);
            sim.pass(600 * S - 1);
            assert_eq!(
                (sim.0.connect(DEPTH), sim.0.rest("/api/v3/ping")),
                (Connect::Reset, Rest::Reset)
            );
            assert!(sim.0.is_down() && trades(sim) > before + 100);
            sim.pass(1);
            assert!(!sim.0.is_down());
            let client = sim.open(DEPTH);
            sim.json(client);
        }
        other => panic!("{other} has no test"),
    }
    match id {
        "one_byte_segments" => {
            assert_eq!(ids(&sim.json(client)).0, last + 1);
            assert!(sim.0.now_ns() - began_ns <= 100 * MS, "as soon as ever");
        }
        "no_ping" => {
            let pings = |heard: Vec<(i64, Delivered)>| {
                heard.iter().filter(|(_, one)| matches!(one, Delivered::Ping(_))).count()
            };
            assert_eq!(pings(sim.hear(client, 59 * S)), 0);
            assert_eq!(pings(sim.hear(client, 30 * S)), 1);
        }
        "ms_to_us" => {
            let event = sim.json(client);
            assert_eq!(event["E"].as_i64().unwrap() / 1_000, sim.0.venue_ms());
        }
        "tick_size_change" => {
            let info = sim.get_json("/api/v3/exchangeInfo?symbol=ETHUSDT");
            assert_eq!(info["symbols"][0]["filters"][0]["tickSize"], "0.05000000");
        }
        _ => {}
    }
}

fn said(sim: &mut Sim, client: u64, what: &str) {
    let told = sim.find(client, |_| true);
    assert!(told.contains(what), "{told}");
}

#[test]
fn each_fault_of_the_catalogue_is_met_by_a_client() {
    let mut sim = Sim::new();
    // For snapshots that are old.
    sim.pass(20 * S);
    let mut expected = BTreeMap::new();
    for entry in CATALOGUE.iter().filter(|entry| !entry.faults("*").is_empty()) {
        eprintln!("{}", entry.id);
        meets(&mut sim, entry.id);
        sim.0.end_faults();
        expected.insert(entry.id, 1);
        assert_eq!(*sim.0.catalogue_counts(), expected);
        // What was heard by nobody is not kept for ever, and connects are counted in five minutes.
        for state in sim.0.stats().clients {
            sim.0.disconnect(state.id);
        }
    }
    assert!(expected.len() > 40);
    assert_eq!(sim.0.fault_count(), 2 * expected.len() as u64);
    assert!(sim.0.inject(Fault::Catalogue { id: "dns".into(), symbol: "*".into() }).is_err());
}

#[test]
fn faults_come_at_their_time_even_where_the_market_is_quiet() {
    let mut market = market();
    for symbol in &mut market.symbols {
        symbol.pace = Pace { clusters_per_hour: 1, ..Pace::QUIET };
    }
    let fault = |at_s: f64, fault| ScheduledFault { at_s: Some(at_s), at_message: None, fault };
    let faults =
        vec![fault(12.5, Fault::Cut { client: None }), fault(3.25, Fault::Outage { for_s: 1.5 })];
    let faults = FaultSchedule { faults, random: None };
    let source = Source::Synthetic(market);
    let mut sim = Sim::of(&SimConfig { faults, listed_days: 1, ..SimConfig::new(source) });
    let client = sim.open(DEPTH);
    let cut = |sim: &mut Sim, client| sim.hear(client, 10 * S).pop();
    assert_eq!(cut(&mut sim, client), Some((3_250 * MS, Delivered::Reset)));
    let client = sim.open(DEPTH);
    assert_eq!(cut(&mut sim, client), Some((12_500 * MS, Delivered::Reset)));
}

#[test]
fn weights_are_of_whole_minutes_and_bans_end() {
    let limits = Limits { weight_per_minute: 500, refusals_before_ban: 2, ..Limits::default() };
    let mut sim = Sim::of(&SimConfig { limits, ..config() });
    let depth = "/api/v3/depth?symbol=ETHUSDT&limit=5000";
    let mut met = || {
        let answer = sim.get(depth);
        sim.pass(S);
        (answer.status, answer.used_weight, answer.retry_after_s)
    };
    assert_eq!(met(), (200, Some(250), None));
    assert_eq!(met(), (200, Some(500), None));
    assert_eq!(met(), (429, Some(750), Some(58)));
    assert_eq!(met(), (429, Some(1_000), Some(57)));
    assert_eq!(met(), (418, None, Some(120)));
    assert_eq!(met(), (418, None, Some(119)));
    let banned = sim.get("/api/v3/ping");
    let until = sim.0.venue_ms() + 118_000;
    assert_eq!((banned.status, banned.retry_after_s), (418, Some(118)));
    assert!(String::from_utf8_lossy(&banned.body).contains(&format!("until {until}")));
    sim.pass(118 * S);
    assert_eq!(sim.get("/api/v3/ping").used_weight, Some(1));
    let stats = sim.0.stats();
    assert_eq!((stats.rest_429, stats.rest_418, stats.rest_requests), (2, 3, 8));
    assert_eq!(sim.get("/api/v3/nothing").status, 404);
    assert_eq!(sim.get("/api/v3/depth?symbol=XUSDT").status, 400);
}

#[test]
fn a_dripping_message_arrives_with_its_last_byte() {
    let mut sim = Sim::new();
    let client = sim.open("/ws");
    sim.0.inject(Fault::Drip { bytes: 10, every_ms: 50, for_ms: 10_000 }).unwrap();
    let ask = r#"{"method":"LIST_SUBSCRIPTIONS","id":1}"#;
    let began_ns = sim.0.now_ns();
    sim.0.send(client, ask);
    sim.0.send(client, ask);
    // {"result":[],"id":1} and its header are 22 bytes: 44 in five drops, the first at once.
    let at = |heard: Vec<(i64, Delivered)>| -> Vec<i64> {
        heard.iter().map(|(at_ns, _)| (at_ns - began_ns) / MS).collect()
    };
    let heard = sim.hear(client, S);
    assert_eq!(at(heard), [100, 200]);
    // Between two drops it ends: what is left comes with the next.
    sim.pass(8_970 * MS);
    sim.0.send(client, ask);
    let heard = sim.hear(client, S);
    assert_eq!(at(heard), [10_020]);
    sim.0.inject(Fault::Drip { bytes: 1, every_ms: 1_000, for_ms: 60_000 }).unwrap();
    sim.0.send(client, ask);
    assert_eq!(sim.hear(client, 5 * S), []);
    sim.0.end_faults();
    assert_eq!(sim.hear(client, S).len(), 1);
}

#[test]
fn pings_must_be_answered_and_a_life_ends() {
    let limits = Limits {
        ping_interval: Duration::from_secs(20),
        pong_timeout: Duration::from_secs(60),
        connection_life: Duration::from_secs(200),
        ..Limits::default()
    };
    let mut sim = Sim::of(&SimConfig { limits, ..config() });
    let (answers, ignores) = (sim.open("/ws/x@trade"), sim.open("/ws/x@trade"));
    let heard = sim.hear(answers, 300 * S);
    let pings: Vec<i64> = (1..10).map(|number| number * 20 * S).collect();
    let times: Vec<i64> = heard.iter().map(|(at_ns, _)| *at_ns).collect();
    assert_eq!(times, [&pings[..], &[200 * S]].concat());
    assert_eq!(heard[0].1, Delivered::Ping((sim.0.start_ms() + 20_000).to_string().into()));
    assert_eq!(heard.last().unwrap().1, Delivered::Close(1000));
    let mut last = None;
    while let Some(delivered) = sim.0.take(ignores) {
        last = Some(delivered);
    }
    assert_eq!(last, Some(Delivered::Close(1008)));
    let stats = sim.0.stats();
    assert_eq!((stats.pongs, stats.pong_timeouts, stats.connections), (9, 1, 2));
    assert!(stats.clients.is_empty());
}

#[test]
fn who_sends_too_much_or_reads_too_little_is_cut_off() {
    let limits = Limits { client_queue_bytes_max: 100_000, ..Limits::default() };
    let mut sim = Sim::of(&SimConfig { limits, ..config() });
    let client = sim.open("/ws");
    for _ in 0..6 {
        sim.0.send(client, r#"{"method":"SUBSCRIBE","params":["ethusdt@trade"],"id":1}"#);
    }
    let heard = sim.hear(client, 0);
    assert_eq!((heard.len(), &heard[5].1), (6, &Delivered::Close(1008)));
    let slow = sim.open(DEPTH);
    sim.pass(100 * S);
    let (mut bytes, mut last) = (0, None);
    while let Some(delivered) = sim.0.take(slow) {
        if let Delivered::Text(text) = &delivered {
            bytes += text.len();
        }
        last = Some(delivered);
    }
    assert!((50_000..=100_000).contains(&bytes) && last == Some(Delivered::Reset));
    assert_eq!((sim.0.stats().slow_disconnects, sim.0.stats().rate_disconnects), (1, 1));
}

#[test]
fn handshakes_are_late_refused_and_limited() {
    let limits = Limits { connects_per_5min: 3, ..Limits::default() };
    let mut sim = Sim::of(&SimConfig { limits, ..config() });
    let stream = || Some("/stream".to_owned());
    let path = "/stream?streams=ethusdt@bookTicker";
    let late = Fault::RestDelay { path: stream(), delay_ms: 700, requests: 1 };
    sim.0.inject(late).unwrap();
    let Connect::Open { client, delay_ns } = sim.0.connect(path) else { panic!("refused") };
    assert_eq!(delay_ns, 700 * MS);
    let heard = sim.hear(client, 2 * S);
    assert!(heard[0].0 > 700 * MS && heard.len() > 10);
    let refused =
        Fault::RestStatus { path: stream(), status: 429, retry_after_s: Some(9), requests: 1 };
    sim.0.inject(refused).unwrap();
    let status = |status, retry_after_s| Connect::Status { status, retry_after_s, delay_ns: 0 };
    assert_eq!(sim.0.connect(path), status(429, Some(9)));
    sim.open(path);
    sim.open(path);
    assert_eq!(sim.0.connect(path), status(429, None));
    assert_eq!(sim.0.stats().refused_connects, 1);
    sim.pass(301 * S);
    sim.open(path);
    assert_eq!(sim.0.connect("/other"), status(404, None));
}

#[test]
fn a_quiet_hour_closes_its_minutes_in_time_and_bursts_are_heard() {
    let mut quiet = market();
    for symbol in &mut quiet.symbols {
        symbol.pace = Pace::QUIET;
    }
    quiet.burst = Some(Burst { every_s: 3_600, for_s: 10, factor: 500 });
    let mut sim =
        Sim::of(&SimConfig { listed_days: 1, ..SimConfig::new(Source::Synthetic(quiet)) });
    let client = sim.open("/ws/ethusdt@kline_1m");
    let mut depth = [0, 0];
    let mut closed = Vec::new();
    while let Some(due_ns) = sim.0.next_due_ns().filter(|due_ns| *due_ns <= 3_600 * S) {
        sim.0.advance_to(due_ns, &mut |event| {
            let is_depth = matches!(event.body, Body::Depth(_));
            depth[usize::from(event.at_ns > 10 * S)] += usize::from(is_depth);
        });
        while let Some(delivered) = sim.0.take(client) {
            match delivered {
                Delivered::Ping(payload) => sim.0.pong(client, &payload),
                other => {
                    let told: Value = serde_json::from_str(&text(other).unwrap()).unwrap();
                    if told["k"]["x"] == true {
                        closed.push((sim.0.now_ns(), told["k"]["T"].as_i64().unwrap()));
                    }
                }
            }
        }
    }
    assert!(depth[0] > 100 && (50..=400).contains(&depth[1]), "{depth:?}");
    let minute = |n: i64| (n * 60 * S + 250 * MS, sim.0.start_ms() + n * 60_000 - 1);
    // A trade of the next minute ends one at once.
    assert_eq!(closed.len(), 59);
    for (n, (at_ns, close_ms)) in (1..).zip(&closed) {
        let (due_ns, expected_ms) = minute(n);
        assert!(*close_ms == expected_ms && (due_ns - 250 * MS..=due_ns).contains(at_ns));
    }
    let query = KlineQuery { start_ms: None, end_ms: None, limit: 100 };
    assert_eq!(sim.0.klines("ETHUSDT", Interval::Minute1, &query).unwrap().len(), 100);
}

#[test]
fn archives_and_klines_are_those_of_rest() {
    let mut sim = Sim::new();
    let file = "/data/spot/daily/klines/ETHUSDT/1h/ETHUSDT-1h-2025-12-31.zip";
    let zip = sim.get(file);
    assert!(zip.status == 200 && zip.body.starts_with(b"PK"));
    let checksum = sim.get(&format!("{file}.CHECKSUM"));
    assert!(String::from_utf8_lossy(&checksum.body).ends_with("  ETHUSDT-1h-2025-12-31.zip\n"));
    assert_eq!(sim.get("/data/spot/daily/klines/ETHUSDT/1h/ETHUSDT-1h-2026-01-01.zip").status, 404);
    let rows = sim.get_json("/api/v3/klines?symbol=ETHUSDT&interval=1h&limit=24");
    assert_eq!(rows.as_array().unwrap().len(), 24);
}

#[test]
fn a_recording_plays_verbatim_and_its_book_is_awaited() {
    let Some(paths) = recordings() else { return };
    let mut sim =
        Sim::of(&SimConfig { listed_days: 1, ..SimConfig::new(Source::Recording(paths)) });
    let client = sim.open("/stream?streams=ethusdt@depth@100ms");
    let waiting = sim.get("/api/v3/depth?symbol=ETHUSDT");
    assert_eq!((waiting.status, waiting.delay_ns), (504, 60 * S));
    assert!(sim.0.book("ETHUSDT").is_none());
    let mut recorded = Vec::new();
    sim.0.advance_to(60 * S, &mut |event| {
        let ours = |recorded: &&cobring_sim::Recorded| recorded.stream == "ethusdt@depth@100ms";
        if let Some(message) = event.recorded.as_ref().filter(ours) {
            recorded.push(format!(r#"{{"stream":"{}","data":{}}}"#, message.stream, message.data));
        }
    });
    let mut heard = Vec::new();
    while let Some(delivered) = sim.0.take(client) {
        heard.extend(text(delivered));
    }
    assert!(heard.len() > 500 && heard == recorded);
    assert_eq!(sim.get("/api/v3/depth?symbol=ETHUSDT").status, 200);
}

#[test]
fn a_market_ends_and_time_goes_on() {
    let market = SyntheticConfig { duration_ms: Some(3_000), ..market() };
    let mut sim =
        Sim::of(&SimConfig { listed_days: 1, ..SimConfig::new(Source::Synthetic(market)) });
    let client = sim.open("/ws/ethusdt@trade");
    let heard = sim.hear(client, 25 * S);
    assert_eq!(heard.last().map(|(at_ns, _)| *at_ns), Some(20 * S), "a ping");
    let stats = sim.0.stats();
    assert_eq!(stats.play, Play::Finished);
    assert_eq!(sim.0.venue_ms(), sim.0.start_ms() + 25_000);
}
