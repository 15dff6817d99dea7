//! Each fault of the simulator's catalogue over real sockets, and what the engine says of it: never live while wrong,
//! counted, and well again by itself.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cobring_tests::{
    Engine, Frame, Market, SOON, Setup, Sim, Truth, Watch, assert_live_frames_are_proven, cobring,
    wait_until,
};
use serde_json::{Value, json};

/// A fault of ETHUSDT, or of all.
struct Row {
    id: &'static str,
    says: Says,
    /// Messages that the fault changes.
    messages: u64,
    /// Counters of the run's summary, and by how much they move at least.
    moves: &'static [(&'static str, u64)],
}

/// What the frames say meanwhile.
enum Says {
    /// All are live.
    Live,
    /// Those of ETHUSDT are not live for a while, those of BTCUSDT all the time.
    Lost,
    /// None is live for a while.
    AllLost,
    /// Those of ETHUSDT are of a low quality for a while, by any of these reasons.
    Low(&'static [&'static str]),
    /// The connections are others; whether anything is lost by it is not said.
    Reconnected,
}

const fn row(
    id: &'static str,
    says: Says,
    messages: u64,
    moves: &'static [(&'static str, u64)],
) -> Row {
    Row { id, says, messages, moves }
}

const GAPS: &str = "/symbols/ETHUSDT/counters/gaps_total";
const CROSSED: &str = "/symbols/ETHUSDT/counters/crossed_total";
const OLD: &str = "/symbols/ETHUSDT/counters/depth_old_total";
const TOO_OLD: &str = "/symbols/ETHUSDT/counters/snapshots_too_old_total";
const MALFORMED: &str = "/ingest/malformed_total";
const LOST: &str = "/ingest/links_lost_total";
const STALLED: &str = "/ingest/streams_stalled_total";
const SILENT: Says = Says::Low(&["depth_old", "not_live"]);

const NETWORK: &[Row] = &[
    row("reset", Says::AllLost, 0, &[(LOST, 1), ("/net/connections_lost_total", 1)]),
    row("half_open", SILENT, 0, &[(STALLED, 1)]),
    row("stall_with_pongs", SILENT, 1, &[(STALLED, 1)]),
    row("stall_one_stream", SILENT, 1, &[(STALLED, 1)]),
    row("slow_drip", SILENT, 0, &[]),
    row("one_byte_segments", Says::Live, 0, &[]),
    row("refused", Says::AllLost, 0, &[(LOST, 1), ("/net/connect_failed_connect_total", 1)]),
    row("close_1000", Says::AllLost, 0, &[(LOST, 1), ("/net/closes_received_total", 1)]),
    row("close_1001", Says::AllLost, 0, &[(LOST, 1), ("/net/closes_received_total", 1)]),
    row("close_1006", Says::AllLost, 0, &[(LOST, 1), ("/net/connections_lost_total", 1)]),
    row("close_1008", Says::AllLost, 0, &[(LOST, 1), ("/net/closes_received_total", 1)]),
    row("fragments", Says::Live, 20, &[]),
    row("one_byte_frames", Says::Live, 20, &[]),
    row("oversized", Says::Live, 1, &[("/ingest/unknown_events_total", 1)]),
    row("ping_storm", Says::Live, 0, &[("/net/pings_total", 100), ("/net/pongs_sent_total", 1)]),
    row("no_ping", Says::Live, 0, &[]),
    row("life_24h", Says::Reconnected, 0, &[("/net/closes_received_total", 1)]),
];

const PROTOCOL: &[Row] = &[
    row("gap", Says::Lost, 1, &[(GAPS, 1)]),
    row("duplicate", Says::Live, 1, &[(OLD, 1)]),
    row("reorder", Says::Lost, 2, &[(GAPS, 1)]),
    row("overlap", Says::Live, 1, &[]),
    row("crossed_book", Says::Lost, 1, &[(CROSSED, 1)]),
    row("empty_side", Says::Lost, 1, &[(CROSSED, 1)]),
    row("levels_5000", Says::Live, 1, &[]),
    row("negative_number", Says::Lost, 1, &[(MALFORMED, 1), (GAPS, 1)]),
    row("huge_number", Says::Lost, 1, &[(MALFORMED, 1), (GAPS, 1)]),
    row("exponent_number", Says::Lost, 1, &[(MALFORMED, 1), (GAPS, 1)]),
    row("nan_number", Says::Lost, 1, &[(MALFORMED, 1), (GAPS, 1)]),
    row("unknown_event", Says::Live, 1, &[("/ingest/unknown_events_total", 1)]),
    row("unknown_field", Says::Live, 1, &[("/ingest/unknown_fields_total", 1)]),
    row("key_order", Says::Live, 1, &[]),
    row("truncated_json", Says::Lost, 1, &[(MALFORMED, 1), (GAPS, 1)]),
    row("wrong_symbol", Says::Lost, 2, &[(MALFORMED, 2), (GAPS, 1)]),
    row("ms_to_us", Says::Live, 20, &[]),
    row("stale_snapshot", Says::Lost, 1, &[(TOO_OLD, 1), (GAPS, 1)]),
    row("snapshot_never_bridges", Says::Lost, 1, &[(TOO_OLD, 3), (GAPS, 1)]),
];

/// Those of REST need someone who asks: each comes with a gap.
const VENUE: &[Row] = &[
    row("http_429", Says::Lost, 1, &[("/net/rest_429_total", 2), (GAPS, 1)]),
    row("http_418", Says::Lost, 1, &[("/net/rest_418_total", 2), (GAPS, 1)]),
    row("http_5xx", Says::Lost, 1, &[("/net/rest_5xx_total", 2), (GAPS, 1)]),
    row("slow_reply", Says::Lost, 1, &[(GAPS, 1)]),
    row("server_shutdown", Says::Reconnected, 0, &[("/ingest/server_shutdowns_total", 1)]),
    row("symbol_halted", Says::Lost, 0, &[]),
];

/// About a second of ETHUSDT.
const A_WHILE_FRAMES: usize = 30;

/// Faults with a test of their own.
const ALONE: &[&str] = &["dns", "tls_hang", "http_403", "tick_size_change", "outage_10min"];

/// The simulator's best ten of ETHUSDT at many update ids, looked at all the time.
struct Witness {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<BTreeMap<u64, Truth>>>,
}

impl Witness {
    fn start(sim: &Arc<Sim>) -> Self {
        let (sim, stop) = (Arc::clone(sim), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                let mut seen = BTreeMap::new();
                while !stop.load(Ordering::Relaxed) {
                    if let Some(truth) = sim.try_truth("ETHUSDT") {
                        seen.insert(truth.update_id, truth);
                    }
                    std::thread::sleep(Duration::from_millis(40));
                }
                seen
            }
        });
        Self { stop, thread: Some(thread) }
    }

    /// Each live frame at an update id that was seen shows what was seen.
    fn assert_never_live_while_wrong(mut self, frames: &[Frame]) {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.thread.take().unwrap().join().unwrap();
        let mut compared = BTreeSet::new();
        for frame in frames.iter().filter(|frame| frame.is_live()) {
            let Some(truth) = frame.update_id.and_then(|id| seen.get(&id)) else { continue };
            assert_eq!((&frame.bids, &frame.asks), (&truth.bids, &truth.asks), "{frame:?}");
            compared.insert(truth.update_id);
        }
        assert!(compared.len() > 10, "{} of {} books compared", compared.len(), seen.len());
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Simulator, engine and readers, through many faults.
struct Stand {
    sim: Arc<Sim>,
    engine: Engine,
    eth: Watch,
    btc: Watch,
    witness: Witness,
    _setup: Setup,
}

impl Stand {
    fn start(market: &Market) -> Self {
        let sim = Arc::new(Sim::start(market));
        let setup = quick(&sim);
        let engine = setup.run();
        let [eth, btc] =
            ["ETHUSDT", "BTCUSDT"].map(|symbol| Watch::start(setup.shared_memory_dir(), symbol));
        eth.wait_live();
        btc.wait_live();
        let witness = Witness::start(&sim);
        Self { sim, engine, eth, btc, witness, _setup: setup }
    }

    /// Both books equal the simulator's; play goes on.
    fn assert_exact(&self) {
        for watch in [&self.eth, &self.btc] {
            watch.assert_equals_truth(&self.sim);
            self.sim.resume();
        }
    }

    fn go_through(&self, row: &Row) {
        let Self { sim, eth, btc, .. } = self;
        let began = Instant::now();
        let changed = sim.count("faulted_messages") + row.messages;
        let connections = sim.count("connections");
        let (eth_from, btc_from) = (eth.count(), btc.count());
        sim.fault(&json!({ "kind": "catalogue", "id": row.id, "symbol": "ETHUSDT" }));
        if row.id.starts_with("http_") || row.id == "slow_reply" {
            sim.fault(&json!({ "kind": "drop", "stream": "ethusdt@depth@100ms" }));
        }
        if row.messages > 0 {
            wait_until(row.id, SOON, || sim.count("faulted_messages") >= changed);
        }
        match row.says {
            Says::Live => {
                wait_until(row.id, SOON, || eth.count() > eth_from + A_WHILE_FRAMES);
            }
            Says::Lost => eth.wait_recovered(eth_from, SOON),
            Says::AllLost => {
                eth.wait_recovered(eth_from, SOON);
                btc.wait_recovered(btc_from, SOON);
            }
            Says::Low(reasons) => {
                let is_told = |frame: &Frame| {
                    frame.score < 0.8
                        && frame.reasons.iter().any(|reason| reasons.contains(&reason.as_str()))
                };
                wait_until(row.id, SOON, || {
                    eth.look(|frames| frames[eth_from..].iter().any(is_told))
                });
            }
            Says::Reconnected => {
                wait_until(row.id, SOON, || {
                    sim.count("connections") > connections && sim.clients() == 1
                });
            }
        }
        for watch in [eth, btc] {
            let good =
                |frame: &Frame| frame.is_live() && !frame.reasons.contains(&"depth_old".into());
            watch.wait_last(row.id, SOON, good);
        }
        self.assert_exact();
        let all_live = |watch: &Watch, from: usize| {
            watch.look(|frames| frames[from..].iter().all(Frame::is_live))
        };
        assert!(!matches!(row.says, Says::Live) || all_live(eth, eth_from), "{}", row.id);
        let spares_btc = matches!(row.says, Says::Live | Says::Lost);
        assert!(!spares_btc || all_live(btc, btc_from), "{}: BTCUSDT", row.id);
        eprintln!("{:24} {:?}", row.id, began.elapsed());
    }

    /// Ends the run; each counter has moved by as much as all rows say.
    fn end(self, rows: &[Row]) -> Value {
        let Self { engine, eth, btc, witness, .. } = self;
        for watch in [&eth, &btc] {
            watch.look(assert_live_frames_are_proven);
        }
        eth.look(|frames| witness.assert_never_live_while_wrong(frames));
        let report = engine.stop();
        let mut moved = BTreeMap::<&str, u64>::new();
        for (counter, by) in rows.iter().flat_map(|row| row.moves) {
            *moved.entry(counter).or_default() += by;
        }
        for (counter, by) in moved {
            let count = report.pointer(counter).and_then(Value::as_u64);
            assert!(count >= Some(by), "{counter} is {count:?}, wanted {by} or more: {report}");
        }
        report
    }
}

/// Connected to that simulator, in no time again when it is lost, and with the whole of its weight.
fn quick(sim: &Sim) -> Setup {
    Setup::of(sim)
        .with("log.enabled", false)
        .with("venue.binance.weight_share", 1.0)
        .with("venue.binance.connect_timeout_s", 1.0)
        .with("venue.binance.reconnect_min_s", 0.2)
        .with("venue.binance.reconnect_max_s", 1.0)
}

#[test]
fn network_faults() {
    let stand = Stand::start(&Market::Seed(71));
    NETWORK.iter().for_each(|row| stand.go_through(row));
    let report = stand.end(NETWORK);
    assert_eq!(report["ingest"]["malformed_total"], 0, "{report}");
}

#[test]
fn protocol_faults() {
    let stand = Stand::start(&Market::Seed(72));
    PROTOCOL.iter().for_each(|row| stand.go_through(row));
    let report = stand.end(PROTOCOL);
    assert_eq!(report["ingest"]["links_lost_total"], 0, "{report}");
    let count = |pointer: &str| report.pointer(pointer).and_then(Value::as_u64);
    assert_eq!((count(MALFORMED), count(CROSSED)), (Some(7), Some(2)), "{report}");
    assert_eq!(report["symbols"]["BTCUSDT"]["counters"]["gaps_total"], 0, "{report}");
}

#[test]
fn venue_faults() {
    let stand = Stand::start(&Market::Seed(73));
    VENUE.iter().for_each(|row| stand.go_through(row));
    stand.end(VENUE);
}

/// A firewall that says no is left alone for a minute.
#[test]
fn after_403_rest_is_left_alone_for_a_minute_and_frames_say_that_they_are_not_live() {
    let sim = Sim::start(&Market::Seed(75));
    let setup = quick(&sim);
    let engine = setup.run();
    let eth = Watch::start(setup.shared_memory_dir(), "ETHUSDT");
    eth.wait_live();
    let from = eth.count();
    sim.fault(&json!({ "kind": "catalogue", "id": "http_403" }));
    sim.fault(&json!({ "kind": "drop", "stream": "ethusdt@depth@100ms" }));
    let refused = Instant::now();
    eth.wait_recovered(from, Duration::from_secs(90));
    assert!(refused.elapsed() >= Duration::from_secs(58), "{:?}", refused.elapsed());
    eth.assert_equals_truth(&sim);
    let report = engine.stop();
    assert_eq!(report["net"]["rest_403_total"], 1, "{report}");
}

#[test]
fn ten_minutes_without_the_venue_leave_no_frame_live_and_a_true_book_after_them() {
    let sim = Sim::start(&Market::SeedFast(76, "60"));
    let setup = quick(&sim);
    let engine = setup.run();
    let eth = Watch::start(setup.shared_memory_dir(), "ETHUSDT");
    eth.wait_live();
    let from = eth.count();
    sim.fault(&json!({ "kind": "catalogue", "id": "outage_10min" }));
    eth.wait_last("not live", SOON, |frame| !frame.is_live() && frame.score == 0.0);
    assert_eq!(sim.state()["is_down"], true);
    wait_until("the outage is over", Duration::from_secs(60), || sim.state()["is_down"] == false);
    eth.wait_recovered(from, SOON);
    eth.assert_equals_truth(&sim);
    eth.look(assert_live_frames_are_proven);
    let report = engine.stop();
    assert_eq!(report["ingest"]["links_lost_total"], 1, "{report}");
    assert!(report["net"]["connect_attempts_total"].as_u64() > Some(2), "{report}");
}

#[test]
fn a_tls_handshake_that_hangs_ends_by_its_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let [cert_file, faults] = ["sim.pem", "faults.toml"].map(|name| dir.path().join(name));
    let text = "[[faults]]\nat_s = 6\nfault = { kind = \"catalogue\", id = \"tls_hang\" }\n";
    std::fs::write(&faults, text).unwrap();
    let sim = Sim::start_tls(&Market::SeedAt(77, "1", faults), &cert_file);
    let setup = quick(&sim).with("venue.binance.ca_file", cert_file.to_str().unwrap());
    let engine = setup.run();
    let eth = Watch::start(setup.shared_memory_dir(), "ETHUSDT");
    eth.wait_live();
    eth.wait_recovered(eth.count(), SOON);
    eth.look(assert_live_frames_are_proven);
    let report = engine.stop();
    assert!(report["net"]["connect_failed_deadline_total"].as_u64() >= Some(1), "{report}");
}

#[test]
fn a_host_that_does_not_resolve_is_counted_and_no_frame_is_live() {
    let sim = Sim::start(&Market::Seed(78));
    let setup = quick(&sim).with("venue.binance.websocket_url", "ws://cobring.invalid:9443");
    let engine = setup.run();
    let eth = Watch::start(setup.shared_memory_dir(), "ETHUSDT");
    wait_until("two attempts failed", SOON, || {
        engine.process.stderr().matches("cobring.invalid").count() >= 2
    });
    eth.wait_last("a frame", SOON, |frame| frame.seq > 0);
    eth.look(|frames| assert!(frames.iter().all(|frame| !frame.is_live() && frame.score == 0.0)));
    let report = engine.stop();
    let failed = ["connect_failed_resolve_total", "connect_failed_deadline_total"]
        .map(|name| report["net"][name].as_u64().unwrap());
    assert!(failed.iter().sum::<u64>() >= 2, "{report}");
}

#[test]
fn a_symbol_that_is_halted_is_said_to_be_halted() {
    let sim = Sim::start(&Market::Seed(79));
    sim.fault(&json!({ "kind": "halt", "symbol": "ETHUSDT" }));
    let setup = quick(&sim);
    let engine = setup.run();
    let [eth, btc] =
        ["ETHUSDT", "BTCUSDT"].map(|symbol| Watch::start(setup.shared_memory_dir(), symbol));
    eth.wait_last("halted", SOON, |frame| frame.book_state == "halted");
    btc.wait_live();
    eth.look(|frames| {
        let halted = frames.last().unwrap();
        assert!(halted.reasons.contains(&"halted".to_owned()), "{halted:?}");
    });
    let _report = engine.stop();
}

#[test]
fn another_tick_size_ends_the_run_with_the_line_to_change() {
    let sim = Sim::start(&Market::Seed(80));
    sim.fault(&json!({ "kind": "catalogue", "id": "tick_size_change", "symbol": "ETHUSDT" }));
    let setup = quick(&sim);
    let ended = cobring(setup.arguments()).ended_with(3);
    assert!(ended.stderr.contains("symbols.ETHUSDT.tick_size = \"0.05"), "{}", ended.stderr);
}

#[test]
fn every_fault_of_the_catalogue_has_a_row() {
    let tables = [NETWORK, PROTOCOL, VENUE];
    let tested: BTreeSet<&str> = tables
        .iter()
        .flat_map(|rows| rows.iter().map(|row| row.id))
        .chain(ALONE.iter().copied())
        .collect();
    let listed = cobring(["sim", "--list-faults", "--json"]).succeeded().stdout;
    let listed: Vec<Value> =
        listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: BTreeSet<&str> = listed.iter().map(|entry| entry["id"].as_str().unwrap()).collect();
    assert_eq!(tested, ids);
    let shown = cobring(["sim", "--list-faults"]).succeeded().stdout;
    assert!(ids.iter().all(|id| shown.contains(id)), "{shown}");
}

#[test]
fn random_faults_leave_no_frame_live_while_wrong() {
    let sim = Arc::new(Sim::start_as(&[
        "--seed",
        "81",
        "--faults",
        "random",
        "--every",
        "2s",
        "--connection-life",
        "20s",
    ]));
    let setup = quick(&sim);
    let engine = setup.run();
    let eth = Watch::start(setup.shared_memory_dir(), "ETHUSDT");
    let witness = Witness::start(&sim);
    wait_until("ten faults", Duration::from_secs(60), || {
        sim.try_get("/sim/state").is_some_and(|state| state["faults"].as_u64() >= Some(10))
    });
    eth.look(assert_live_frames_are_proven);
    eth.look(|frames| witness.assert_never_live_while_wrong(frames));
    let _report = engine.stop();
}

/// Each fault of the simulator has a row in the table, with tests that are there.
#[test]
fn the_table_of_faults_is_whole_and_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let table = std::fs::read_to_string(root.join("docs/faults.md")).unwrap();
    let listed = cobring(["sim", "--list-faults", "--json"]).succeeded().stdout;
    let mut missing: BTreeSet<String> = listed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
        .collect();
    let mut rows = 0;
    for line in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [id, does, says, counter, test] = cells[..] else { panic!("five cells: {line}") };
        assert!([does, says, counter].iter().all(|cell| !cell.is_empty()), "{line}");
        missing.remove(id.trim_matches('`'));
        rows += 1;
        let Some((file, function)) = test.trim_matches('`').split_once("::") else {
            panic!("no test: {line}");
        };
        let code = std::fs::read_to_string(root.join(file)).unwrap_or_else(|_| panic!("{file}"));
        assert!(code.contains(&format!("fn {function}(")), "{file} has no {function}");
    }
    assert!(missing.is_empty(), "no row: {missing:?}");
    assert!(rows > 60, "{rows} rows");
}
