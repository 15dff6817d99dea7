//! Engines and readers that are killed at random instants, and readers that are stopped: nobody has to clean up,
//! nobody takes a torn frame for a whole one, and what is lost is counted.
//!
//! `COBRING_KILLS` is how many of each (100), `COBRING_KILLS_SEED` decides when; `COBRING_STOP_S` is how long
//! readers are stopped at least.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;
use std::time::{Duration, Instant};

use cobring_tests::{
    Frame, Market, Process, SOON, Setup, Sim, Watch, assert_live_frames_are_proven, cobring,
    wait_until,
};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use rustix::process::Signal;
use serde_json::{Value, json};

const SYMBOL: &str = "ETHUSDT";

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// Instants, the same for the same seed.
struct Instants(Pcg64Mcg);

impl Instants {
    fn new() -> Self {
        let seed = number("COBRING_KILLS_SEED", 4);
        eprintln!("COBRING_KILLS_SEED={seed}");
        Self(Pcg64Mcg::seed_from_u64(seed))
    }

    /// Waits for less than `limit_ms`, to the microsecond.
    fn wait(&mut self, limit_ms: u64) {
        std::thread::sleep(Duration::from_micros(self.0.next_u64() % (limit_ms * 1_000)));
    }
}

/// A small engine against a fast market, whose restarts a venue would bear.
fn setup(sim: &Sim) -> Setup {
    Setup::of(sim)
        .with("engine.layout", "fused")
        .with("log.rotate_bytes", 65_536)
        .with("venue.binance.verify_tick_size", false)
        .with("symbol_defaults.klines", false)
        .with("symbol_defaults.snapshot_levels", 100)
        .with("symbol_defaults.resync_levels", 100)
        .with("symbol_defaults.ticks_promised", 1_000)
}

/// Frames come in order, live ones are proven, and each side is sorted: a torn copy would not be.
fn assert_whole(frames: &[Frame]) {
    assert_live_frames_are_proven(frames);
    for frame in frames {
        assert!(frame.bids.is_sorted_by(|a, b| a[0] > b[0]), "{frame:?}");
        assert!(frame.asks.is_sorted_by(|a, b| a[0] < b[0]), "{frame:?}");
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What the engine is at when it is killed.
#[derive(Debug, Clone, Copy)]
enum At {
    Idle,
    Frames,
    Rotation,
    Resync,
    Start,
}

const MOMENTS: [At; 5] = [At::Idle, At::Frames, At::Rotation, At::Resync, At::Start];

fn median_and_most(mut times: Vec<Duration>) -> String {
    times.sort();
    let most = times.last().copied().unwrap_or_default();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    format!("p50 {} ms, most {} ms", median.as_millis(), most.as_millis())
}

#[test]
fn an_engine_killed_at_any_instant_is_followed_by_the_next_without_a_hand() {
    let kills = number("COBRING_KILLS", 100);
    let mut instants = Instants::new();
    let mut sim = Sim::start(&Market::SeedFast(41, "20"));
    let mut setup = setup(&sim);
    let watch = Watch::start_latest(setup.shared_memory_dir(), SYMBOL, "checker");
    let (mut to_frame, mut to_live) = (Vec::new(), Vec::new());
    let mut epoch = 0;
    for kill in 0..kills {
        let at = MOMENTS[usize::try_from(kill).unwrap() % MOMENTS.len()];
        // A venue would ban who asks for so many snapshots a minute.
        if kill % 50 == 49 {
            sim = Sim::start(&Market::SeedFast(41 + kill, "20"));
            setup.connect(&sim);
        }
        let started = Instant::now();
        let engine = Process::start(setup.arguments());
        if matches!(at, At::Start) {
            instants.wait(150);
            engine.kill();
            continue;
        }
        let what = format!("kill {kill}, {at:?}: a frame of the next engine: {}", engine.stderr());
        watch.wait_last(&what, SOON, |frame| frame.epoch > epoch);
        to_frame.push(started.elapsed());
        let what = format!("kill {kill}, {at:?}: a live frame of the next engine");
        watch.wait_last(&what, SOON, |frame| frame.epoch > epoch && frame.is_live());
        to_live.push(started.elapsed());
        epoch = watch.last().unwrap().epoch;
        match at {
            At::Idle => {
                sim.pause();
                instants.wait(50);
            }
            At::Frames => instants.wait(100),
            // A file of 1 MiB takes a few hundred ms.
            At::Rotation => instants.wait(800),
            At::Resync => {
                sim.fault(&json!({ "kind": "drop", "stream": "ethusdt@depth@100ms" }));
                instants.wait(60);
            }
            At::Start => {}
        }
        engine.kill();
        if matches!(at, At::Idle) {
            sim.resume();
        }
        watch.look(assert_whole);
    }
    // The last one ends in order, and what it leaves is what every engine leaves.
    let engine = setup.run();
    watch
        .wait_last("the last engine is live", SOON, |frame| frame.epoch > epoch && frame.is_live());
    watch.look(assert_whole);
    let report = engine.stop();
    assert_eq!(report["log"]["complete"], true, "{report}");
    let frames = watch.count();
    watch.process.kill();
    let dir = setup.shared_memory_dir();
    let _removed = cobring(["shm", "gc", "--dir", dir.to_str().unwrap()]).succeeded();
    assert_eq!(names(dir), ["engine.lock", "models", "subscribers"]);
    assert_eq!(names(&dir.join("subscribers")), [] as [&str; 0]);
    assert_eq!(names(&dir.join("models")), [] as [&str; 0]);
    let kept = |name: &String| {
        name == "manifest.json" || [".cblog", ".cblog.zst"].iter().any(|end| name.ends_with(end))
    };
    assert!(names(&setup.log_dir()).iter().all(kept), "{:?}", names(&setup.log_dir()));
    eprintln!(
        "{kills} engines killed, {frames} frames read, none torn; from the start to a frame {}, to a live \
         book {}",
        median_and_most(to_frame),
        median_and_most(to_live)
    );
}

#[test]
fn readers_killed_at_any_instant_leave_nothing_behind() {
    let kills = number("COBRING_KILLS", 100);
    let mut instants = Instants::new();
    let sim = Sim::start(&Market::SeedFast(42, "20"));
    let setup = setup(&sim).with("log.enabled", false);
    let engine = setup.run();
    let dir = setup.shared_memory_dir();
    let checker = Watch::start_named(dir, SYMBOL, "checker");
    checker.wait_live();
    for kill in 0..kills {
        // Those of the second half have no bell: they look every 100 us instead of sleeping.
        if kill == kills / 2 {
            std::fs::remove_file(dir.join("ETHUSDT.bell")).unwrap();
        }
        let reader = Watch::start_named(dir, SYMBOL, "victim");
        if kill % 4 == 0 {
            instants.wait(60);
        } else {
            wait_until(&format!("kill {kill}: a frame is read"), SOON, || reader.count() > 0);
            instants.wait(30);
        }
        reader.look(assert_whole);
        reader.process.kill();
    }
    let before = checker.count();
    wait_until("the engine goes on", SOON, || checker.count() > before + 100);
    checker.look(assert_whole);
    // A sweep takes those that are gone, and nobody else; opening with a name is one.
    let victims = |prefix: &str| {
        names(&dir.join("subscribers")).iter().filter(|name| name.starts_with(prefix)).count()
    };
    let _late = Watch::start_named(dir, SYMBOL, "late");
    wait_until("the late reader is listed", SOON, || victims("ETHUSDT.late") == 1);
    assert_eq!((victims("ETHUSDT.victim"), victims("ETHUSDT.checker")), (0, 1));
    let listed =
        cobring(["shm", "ls", "--json", "--dir", dir.to_str().unwrap()]).succeeded().json();
    let alive = |segment: &Value| segment["state"] == "alive";
    assert!(listed.as_array().unwrap().iter().all(alive), "{listed}");
    let report = engine.stop();
    assert!(report["symbols"][SYMBOL]["frames"].as_u64().unwrap() > 0);
    eprintln!("{kills} readers killed, {} frames checked", checker.count());
}

#[test]
fn what_stopped_readers_miss_is_counted_exactly() {
    /// More than the ring holds, and then some.
    const FRAMES: u64 = 3_000;
    let stop_for = Duration::from_secs(number("COBRING_STOP_S", 0));
    let sim = Sim::start(&Market::SeedFast(43, "20"));
    let setup = setup(&sim).with("log.enabled", false);
    let engine = setup.run();
    let dir = setup.shared_memory_dir();
    let watches = ["one", "two", "three"].map(|name| Watch::start_named(dir, SYMBOL, name));
    watches.iter().for_each(Watch::wait_live);
    let published = || {
        let listed = cobring(["shm", "ls", "--json", "--dir", dir.to_str().unwrap()]).succeeded();
        let segments = listed.json();
        let ours = segments.as_array().unwrap().iter().find(|segment| segment["symbol"] == SYMBOL);
        ours.unwrap()["frames"].as_u64().unwrap()
    };
    watches.iter().for_each(|watch| watch.process.signal(Signal::STOP));
    let (stopped, from) = (Instant::now(), published());
    wait_until("the ring goes round", SOON + stop_for, || {
        published() > from + FRAMES && stopped.elapsed() >= stop_for
    });
    watches.iter().for_each(|watch| watch.process.signal(Signal::CONT));
    let until = published();
    for watch in &watches {
        watch.wait_last("they have caught up", SOON, |frame| frame.seq > until);
    }
    let frames = engine.stop()["symbols"][SYMBOL]["frames"].as_u64().unwrap();
    for watch in watches {
        watch.wait_last("the last frame", SOON, |frame| frame.seq + 1 == frames);
        let (first, seen) = watch.look(|frames| (frames[0].seq, frames.len() as u64));
        watch.look(assert_whole);
        let lost: u64 = lapped(&watch.process.stderr()).iter().sum();
        assert!(lost > FRAMES - 1_024, "{lost} lost");
        assert_eq!(
            first + seen + lost,
            frames,
            "{seen} seen and {lost} lost of those from {first} on"
        );
    }
}

/// The losses that `frame watch` told.
fn lapped(stderr: &str) -> Vec<u64> {
    let told = stderr.lines().filter(|line| line.contains("lapped: "));
    told.map(|line| {
        let digits = line.split("lost=").nth(1).unwrap_or_else(|| panic!("{line}"));
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse().unwrap()
    })
    .collect()
}

#[test]
fn a_bell_that_is_truncated_again_and_again_costs_a_word_and_a_count() {
    const CUTS: u64 = 100;
    let sim = Sim::start(&Market::SeedFast(44, "20"));
    let setup = setup(&sim).with("log.enabled", false);
    let engine = setup.run();
    let watch = Watch::start_named(setup.shared_memory_dir(), SYMBOL, "sleeper");
    watch.wait_live();
    let bell = setup.shared_memory_dir().join("ETHUSDT.bell");
    for cut in 0..CUTS {
        std::fs::OpenOptions::new().write(true).open(&bell).unwrap().set_len(0).unwrap();
        let read = watch.count();
        wait_until(&format!("a frame after cut {cut}"), SOON, || watch.count() > read);
    }
    watch.look(assert_whole);
    engine.process.wait_stderr("the bell was truncated by a reader", SOON);
    assert_eq!(engine.process.stderr().matches("the bell was truncated").count(), 1);
    let told = engine.stop();
    let truncated =
        |symbol: &str| told["symbols"][symbol]["bell_truncated_total"].as_u64().unwrap();
    assert!((1..=CUTS).contains(&truncated(SYMBOL)), "{told}");
    assert_eq!(truncated("BTCUSDT"), 0);
}

#[test]
fn a_segment_that_is_removed_is_read_on_by_those_who_have_it_and_missed_by_others() {
    let sim = Sim::start(&Market::Seed(45));
    let setup = setup(&sim).with("log.enabled", false);
    let engine = setup.run();
    let dir = setup.shared_memory_dir();
    let watch = Watch::start(dir, SYMBOL);
    watch.wait_live();
    std::fs::remove_file(dir.join(SYMBOL)).unwrap();
    let read = watch.count();
    wait_until("readers go on", SOON, || watch.count() > read + 20);
    let refusal = setup.show(SYMBOL).refusal();
    assert!(refusal.contains("was removed, only its bell is left"), "{refusal}");
    let listed = cobring(["shm", "ls", "--dir", dir.to_str().unwrap()]).succeeded().stdout;
    let line = listed.lines().find(|line| line.starts_with(SYMBOL)).unwrap();
    assert!(line.contains("was removed"), "{listed}");
    assert!(listed.lines().any(|line| line.starts_with("BTCUSDT") && line.ends_with("alive")));
    drop(engine.stop());
    // The next engine needs no hand, and the reader follows it.
    let epoch = watch.last().unwrap().epoch;
    let _next = setup.run();
    watch.wait_last("the next engine", SOON, |frame| frame.epoch > epoch && frame.is_live());
}
