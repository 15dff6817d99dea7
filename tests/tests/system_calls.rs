//! A whole run, with its sockets, its log, checkpoints and a reader that sleeps: which system calls its threads make between
//! a message's bytes and its frame, once all is warm.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cobring_tests::system_calls::{Call, can_watch, watched};
use cobring_tests::{Market, SOON, Setup, Sim, Watch, wait_until};

/// What is watched at once.
const SPAN: Duration = Duration::from_secs(3);
/// Spans within which the venue is to have been asked for everything by REST, and a checkpoint to be taken.
const SPANS_MAX: u32 = 20;
/// Threads as the kernel shows their names: of 15 bytes. The program's first thread has the sockets.
const INGEST: &str = "cobring";
const PARSE: &str = "cobring-parse";
const AGGREGATE: &str = "cobring-aggrega";
const REST: &str = "cobring-rest";
const LOG: &str = "cobring-log";

/// How often each thread of the engine makes each call; of futex with its operation.
type Calls = BTreeMap<(String, i64, u64), u64>;

const WAKE: (i64, u64) = (libc::SYS_futex, libc::FUTEX_WAKE as u64);
/// What sockets need: to be read, to be waited for without waiting, to have their acknowledgements sent behind a frame, to
/// be answered.
const OF_SOCKETS: [(i64, u64); 4] = [
    (libc::SYS_recvmsg, 0),
    (libc::SYS_epoll_wait, 0),
    (libc::SYS_setsockopt, 0),
    (libc::SYS_sendto, 0),
];

/// Empty where it is no thread of that process.
fn name_of(process: u32, thread: u32) -> String {
    let comm = std::fs::read_to_string(format!("/proc/{process}/task/{thread}/comm"));
    comm.unwrap_or_default().trim_end().to_owned()
}

/// Calls of a run with these stages within a span of time in which nothing is asked for by REST and a checkpoint is taken,
/// while a reader looks on that sleeps between frames.
fn calls_of_a_run(layout: &str) -> Calls {
    let sim = Sim::start(&Market::SeedFast(71, "4"));
    let setup = Setup::of(&sim).with("engine.layout", layout).with("engine.idle", "spin");
    let setup = setup.with("log.rotate_bytes", 65_536);
    // The span, from 1 on, that is watched; 0 before and between.
    let (span, engine_id, requests) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
    let checkpoints = AtomicU32::new(0);
    let mut calls: BTreeMap<u32, Calls> = BTreeMap::new();
    let mut names: BTreeMap<u32, String> = BTreeMap::new();
    let quiet = watched(
        |watch| {
            watch.begin();
            let engine = setup.run();
            engine_id.store(engine.process.id(), Ordering::Relaxed);
            let reader = Watch::start(setup.shared_memory_dir(), "ETHUSDT");
            reader.wait_live();
            let is_quiet = |number: &u32| {
                requests.store(0, Ordering::Relaxed);
                checkpoints.store(0, Ordering::Relaxed);
                let before = reader.count();
                span.store(*number, Ordering::Relaxed);
                std::thread::sleep(SPAN);
                span.store(0, Ordering::Relaxed);
                wait_until("frames", SOON, || reader.count() > before + 20);
                requests.load(Ordering::Relaxed) == 0 && checkpoints.load(Ordering::Relaxed) > 0
            };
            let quiet = (1..=SPANS_MAX).find(is_quiet);
            drop(reader);
            let log = &engine.stop()["log"];
            assert_eq!(log["complete"], true);
            assert_eq!(log["checkpoints_missing"], 0, "{log}");
            assert!(log["files"].as_u64().unwrap() > 1, "{log}");
            quiet.expect("a span with a checkpoint and without a request by REST")
        },
        |call: &Call| {
            let span = span.load(Ordering::Relaxed);
            if span == 0 {
                return;
            }
            let engine = engine_id.load(Ordering::Relaxed);
            let name = names.entry(call.thread).or_insert_with(|| name_of(engine, call.thread));
            let is_futex = call.number == libc::SYS_futex;
            if name == REST && !is_futex {
                requests.fetch_add(1, Ordering::Relaxed);
            }
            // A file is begun with each.
            if name == LOG && call.number == libc::SYS_openat {
                checkpoints.fetch_add(1, Ordering::Relaxed);
            }
            let key = (name.clone(), call.number, if is_futex { call.args[1] } else { 0 });
            *calls.entry(span).or_default().entry(key).or_default() += 1;
        },
    );
    calls.remove(&quiet).unwrap_or_default()
}

/// `wakes` is the thread that publishes, and so wakes readers.
fn check(layout: &str, stages: &[&str], wakes: &str) {
    if !can_watch() {
        return;
    }
    let calls = calls_of_a_run(layout);
    let count = |name: &str, (number, operation): (i64, u64)| {
        calls.get(&(name.to_owned(), number, operation)).copied().unwrap_or_default()
    };
    // What has to be there is seen: sockets are read, readers woken, the log is written by its own thread.
    assert!(count(INGEST, OF_SOCKETS[0]) > 100, "{calls:?}");
    assert!(count(wakes, WAKE) > 5, "{calls:?}");
    assert!(count(LOG, (libc::SYS_write, 0)) > 5, "{calls:?}");
    let is_expected = |name: &str, call: (i64, u64)| {
        name == INGEST && OF_SOCKETS.contains(&call) || name == wakes && call == WAKE
    };
    let others: Vec<_> = calls
        .iter()
        .filter(|((name, number, operation), _)| {
            stages.contains(&name.as_str()) && !is_expected(name, (*number, *operation))
        })
        .collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn a_fused_run_calls_its_sockets_and_wakes_readers() {
    check("fused", &[INGEST], INGEST);
}

#[test]
fn a_staged_run_calls_its_sockets_and_wakes_readers() {
    check("staged", &[INGEST, PARSE, AGGREGATE], AGGREGATE);
}
