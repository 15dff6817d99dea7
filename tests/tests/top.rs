//! `cobring top` beside a real engine: what it says is what other ways of looking say.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use cobring_tests::{Market, Process, SOON, Setup, Sim, Watch, cobring, program, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::Value;

const STAGES: [&str; 5] = [
    "kernel_to_recv",
    "recv_to_parsed",
    "parsed_to_applied",
    "applied_to_published",
    "recv_to_published",
];

/// `top` with these options, on that engine's directory.
fn arguments<'a>(setup: &'a Setup, options: &[&'a str]) -> Vec<&'a str> {
    let dir = setup.shared_memory_dir().to_str().unwrap();
    [&["top", "--dir", dir, "--interval", "300ms"], options].concat()
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

#[test]
fn top_says_what_the_engine_counts() {
    for layout in ["fused", "staged"] {
        let sim = Sim::start(&Market::Seed(61));
        let setup = Setup::of(&sim).with("engine.layout", layout);
        let engine = setup.run();
        let watch = Watch::start_named(setup.shared_memory_dir(), "ETHUSDT", "cnn-1");
        watch.wait_live();
        watch.wait_last("some hundred frames", SOON, |frame| frame.seq > 300);

        let seen = cobring(arguments(&setup, &["--json"])).succeeded().json();
        let (eth, state) = (&seen["symbols"]["ETHUSDT"], &seen["engine"]);
        assert_eq!(state["state"], "alive", "{seen}");
        assert_eq!(state["pid"], engine.process.id());
        assert_eq!(eth["book_state"], "live");
        assert!(eth["bid_px"].as_f64() < eth["ask_px"].as_f64(), "{eth}");
        assert!(eth["frames_per_s"].as_f64() > Some(0.0), "{eth}");
        assert_eq!(seen["readers"][0]["name"], "cnn-1");
        assert_eq!(seen["readers"][0]["lapped_total"], 0);
        for stage in STAGES {
            let spans = &eth["stages"][stage]["since_start"];
            // Frames of timers pass no stage.
            assert!((1..count(&eth["frames"])).contains(&count(&spans["count"])), "{stage}: {eth}");
            let quantiles = ["p50_ns", "p99_ns", "p999_ns", "max_ns"].map(|at| count(&spans[at]));
            assert!(quantiles.is_sorted() && quantiles[3] > 0, "{stage}: {quantiles:?}");
            let all = count(&seen["stages"][stage]["since_start"]["count"]);
            assert!(all > count(&spans["count"]), "{stage}: both symbols in {all}");
        }

        let page = cobring(arguments(&setup, &["--once"])).succeeded().stdout;
        let wanted =
            ["cobring alive", "ETHUSDT    live", "recv → published", "cnn-1", "bookTickers"];
        assert!(wanted.iter().all(|part| page.contains(part)), "{page}");
        // Stdout is no terminal.
        let page = cobring(arguments(&setup, &[])).succeeded().stdout;
        assert!(page.contains("cobring alive"), "{page}");
        let listed = cobring(["shm", "ls", "--dir", setup.shared_memory_dir().to_str().unwrap()]);
        assert!(listed.succeeded().stdout.contains("\ncounters"));

        // What was shown is a part of what the run tells at its end.
        let report = engine.stop();
        let told = &report["symbols"]["ETHUSDT"];
        for stage in STAGES {
            let spans = &told["stages"][stage];
            assert!(count(&spans["count"]) >= count(&eth["stages"][stage]["since_start"]["count"]));
            assert!((1..count(&told["frames"])).contains(&count(&spans["count"])), "{told}");
        }
        for counter in ["quotes_total", "trades_total", "depth_applied_total", "syncs_total"] {
            let shown = count(&eth["counters"][counter]["total"]);
            assert!((1..=count(&told["counters"][counter])).contains(&shown), "{counter}: {shown}");
        }
        let shown = count(&seen["counters"]["ingest"]["inputs_total"]["total"]);
        assert!((1..=count(&report["ingest"]["inputs_total"])).contains(&shown), "{shown}");
        let general = count(&seen["counters"]["decode"]["general_parser_total"]["total"]);
        assert!(general <= count(&report["ingest"]["general_parser_total"]), "{general}");
        assert_eq!(count(&seen["counters"]["decode"]["malformed_total"]["total"]), 0);
        assert!(count(&seen["counters"]["log"]["inputs_written_total"]["total"]) > 0);
    }
}

#[test]
fn a_stream_of_top_goes_on_through_a_kill_and_a_new_engine() {
    let sim = Sim::start(&Market::Seed(62));
    let setup = Setup::of(&sim).with("log.enabled", false);
    let first = setup.run();
    let top = Process::start(arguments(&setup, &["--jsonl"]));
    let last = || -> Value {
        let lines = top.stdout();
        lines.lines().last().map_or(Value::Null, |line| serde_json::from_str(line).unwrap())
    };
    let wait = |what: &str, wished: &dyn Fn(&Value) -> bool| {
        wait_until(what, SOON, || wished(&last()));
        last()
    };
    let is_live = |seen: &Value| seen["symbols"]["ETHUSDT"]["book_state"] == "live";
    let epoch = count(&wait("live", &is_live)["engine"]["epoch"]);
    let pid = first.process.id();
    first.process.kill();
    let gone = wait("gone", &|seen| seen["engine"]["state"] == format!("gone (pid {pid})"));
    assert_eq!(gone["engine"]["uptime_s"], Value::Null);
    let _second = setup.run();
    wait("the next engine", &|seen| {
        seen["engine"]["state"] == "alive"
            && seen["engine"]["epoch"].as_u64() > Some(epoch)
            && is_live(seen)
            && seen["no_counters"].is_null()
    });
    let _ended = top.terminate(SOON).ended_with(143);
}

#[test]
fn without_an_engine_one_sentence_says_so_and_the_clean_up_takes_its_counters() {
    let setup = Setup::new().with("log.enabled", false);
    let dir = setup.shared_memory_dir().to_str().unwrap();
    let none = || {
        let refusal = cobring(arguments(&setup, &["--once"])).refusal();
        let wanted =
            format!("cobring: no engine in {dir}: start one with `cobring run` or `cobring demo`");
        assert_eq!(refusal.trim_end(), wanted);
    };
    none();
    setup.run().process.kill();
    let _left = cobring(arguments(&setup, &["--once"])).succeeded();
    let removed = cobring(["shm", "gc", "--dir", dir]).succeeded().stdout;
    assert!(removed.contains("engine.counters"), "{removed}");
    none();
    assert_eq!(cobring(["top", "--interval", "10ms"]).code, Some(2));
}

/// A terminal of 80 columns, and the program on it.
#[test]
fn the_terminal_is_as_before_after_sigterm() {
    let sim = Sim::start(&Market::Seed(63));
    let setup = Setup::of(&sim).with("log.enabled", false);
    let _engine = setup.run();
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let side = || File::options().read(true).write(true).open(&name).unwrap();
    let own_side = side();
    tcsetwinsize(&own_side, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 })
        .unwrap();
    let is_raw = || !tcgetattr(&own_side).unwrap().local_modes.contains(LocalModes::ECHO);
    assert!(!is_raw());
    let mut top = Command::new(program())
        .args(arguments(&setup, &[]))
        .stdin(Stdio::from(OwnedFd::from(side())))
        .stdout(Stdio::from(OwnedFd::from(side())))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the terminal is raw", SOON, is_raw);
    let mut screen = File::from(terminal);
    let mut written = Vec::new();
    let mut read_until = |text: &str| {
        while !String::from_utf8_lossy(&written).contains(text) {
            let mut part = [0; 4_096];
            let count = screen.read(&mut part).unwrap();
            written.extend_from_slice(&part[..count]);
        }
    };
    read_until("\x1b[?1049h"); // the other screen
    read_until("ETHUSDT");
    let pid = i32::try_from(top.id()).ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    read_until("\x1b[?1049l");
    wait_until("it ends", SOON, || top.try_wait().unwrap().is_some());
    assert_eq!(top.wait().unwrap().code(), Some(143));
    assert!(!is_raw());
}
