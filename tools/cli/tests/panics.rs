//! A panic inside the engine: readers are told before the process is gone, its log is good up to there, and the next
//! engine goes on. This program starts itself: `child` is the engine that panics, and does nothing in an ordinary run.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::panic;
use std::path::Path;
use std::process::{self, Command};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use cobring_pipeline::config::Config;
use cobring_pipeline::fold::{FoldState, Observer, SymbolFold};
use cobring_pipeline::live;
use cobring_tests::{
    Engine, Finished, Frame, Market, Process, SOON, Setup, Sim, Watch,
    assert_live_frames_are_proven, cobring,
};
use cobring_types::Nanos;

const CONFIG: &str = "COBRING_PANIC_CONFIG";
const ABORTS: &str = "COBRING_PANIC_ABORTS";
/// The frame of the first symbol with which the engine panics.
const FRAMES: u64 = 1_000;

/// Panics in the stage that folds, behind a frame that is published.
struct Bomb;

impl Observer for Bomb {
    fn after_timer(&mut self, _: Nanos, _: &[SymbolFold]) {}

    fn after_frame(&mut self, at: usize, symbols: &[SymbolFold]) {
        assert!(symbols[at].frames() < FRAMES, "a bomb at frame {FRAMES}");
    }

    fn at_checkpoint(&mut self, _: u64, _: FoldState<'_>) {}
}

#[test]
fn child() {
    let Some(config) = std::env::var_os(CONFIG) else { return };
    if std::env::var_os(ABORTS).is_some() {
        // What `panic = "abort"` of the release profile comes to: the hooks, and no thread goes on.
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            report(info);
            process::abort();
        }));
    }
    let config = Config::load(Path::new(&config)).unwrap();
    let _report = live::run(&config, Arc::new(AtomicBool::new(false)), Bomb, |_| {});
}

/// Runs the engine until it panics.
fn run_to_the_panic(setup: &Setup, aborts: bool) -> Finished {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]);
    // The last argument of a run is its configuration.
    command.env(CONFIG, setup.arguments().pop().unwrap());
    if aborts {
        command.env(ABORTS, "1");
    }
    Process::start_command(&mut command).finish(4 * SOON)
}

fn check(layout: &str, aborts: bool) {
    let sim = Sim::start(&Market::SeedFast(43, "10"));
    let setup = Setup::of(&sim).with("engine.layout", layout).with("symbol_defaults.klines", false);
    let dir = setup.shared_memory_dir().to_str().unwrap();
    let watch = Watch::start(setup.shared_memory_dir(), "ETHUSDT");

    let ended = run_to_the_panic(&setup, aborts);
    assert_eq!(ended.code, if aborts { None } else { Some(101) }, "{}", ended.stderr);
    let said = ended.stderr;
    assert!(said.contains("a bomb at frame 1000"), "{said}");
    assert_eq!(said.contains("thread 'cobring-aggregate'"), layout == "staged", "{said}");

    // Stopped, as by an engine that ends in order, not gone without a word.
    let listed = cobring(["shm", "ls", "--json", "--dir", dir]).succeeded().json();
    let states: Vec<_> =
        listed.as_array().unwrap().iter().map(|segment| &segment["state"]).collect();
    assert_eq!(states, ["stopped", "stopped"], "{listed}");

    let log = setup.log_dir().to_str().unwrap().to_owned();
    let _whole = cobring(["verify", &log]).succeeded();
    assert_replays(&log, &watch);

    let epoch = watch.last().unwrap().epoch;
    let engine: Engine = setup.run();
    engine.process.wait_stderr("goes on from the run before", Duration::from_secs(5));
    watch.wait_last("live again", SOON, |frame| frame.epoch > epoch && frame.is_live());
    watch.look(assert_live_frames_are_proven);
    let report = engine.stop();
    assert_eq!(report["log"]["complete"], true, "{report}");
}

/// What the log gives is what readers were given.
fn assert_replays(log: &str, watch: &Watch) {
    let replayed = cobring(["replay", "--jsonl", "--every", "100ms", log]).succeeded().stdout;
    let watched: BTreeMap<u64, Frame> =
        watch.look(|frames| frames.iter().map(|frame| (frame.seq, frame.clone())).collect());
    let mut compared = 0;
    for line in replayed.lines().filter(|line| line.contains("\"ETHUSDT\"")) {
        let frame = Frame::parse(line);
        if let Some(watched) = watched.get(&frame.seq) {
            assert_eq!(&frame, watched);
            compared += u32::from(frame.is_live());
        }
    }
    assert!(compared > 3, "{compared} live frames compared, {} watched", watched.len());
}

#[test]
fn a_panic_in_a_stage_is_told_to_readers_and_the_next_engine_goes_on() {
    check("staged", false);
}

#[test]
fn so_is_one_that_aborts_at_once() {
    check("staged", true);
}

#[test]
fn so_is_one_where_all_stages_are_one_thread() {
    check("fused", true);
}
