//! Engines that die, start twice or meet damaged or full memory, and readers that watch it.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use cobring_tests::{Market, Process, SOON, Setup, Sim, Watch, cobring, wait_until};
use serde_json::Value;

#[test]
fn readers_of_a_killed_engine_say_so_and_follow_the_next_one() {
    let sim = Sim::start(&Market::Seed(21));
    let setup = Setup::of(&sim).with("log.enabled", false);
    let first = setup.run();
    let watch = Watch::start(setup.shared_memory_dir(), "ETHUSDT");
    watch.wait_live();
    let pid = first.process.id();
    first.process.kill();
    watch.process.wait_stderr(&format!("the engine (process {pid}) is gone"), SOON);
    let epoch = watch.last().unwrap().epoch;
    // Nothing is cleaned up in between.
    let second = setup.run();
    watch.wait_last("a live frame of the next engine", SOON, |frame| {
        frame.epoch > epoch && frame.is_live()
    });
    let truth = watch.assert_equals_truth(&sim);
    assert!(truth.update_id > 0);
    watch.look(cobring_tests::assert_live_frames_are_proven);
    assert_eq!(second.stop()["epoch"].as_u64(), Some(watch.last().unwrap().epoch));
    watch.process.wait_stderr("has stopped", SOON);
}

#[test]
fn sigterm_ends_a_run_soon_with_its_hash() {
    let sim = Sim::start(&Market::Seed(22));
    let setup = Setup::of(&sim);
    let engine = setup.run();
    let watch = Watch::start(setup.shared_memory_dir(), "BTCUSDT");
    watch.wait_live();
    let asked = Instant::now();
    let ended = engine.stop_within(SOON).ended_with(143);
    // 1 s is promised; the rest is a busy machine.
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert_eq!(ended.json()["hash"].as_str().map(str::len), Some(64));
    assert_eq!(ended.json()["log"]["complete"], true);
}

#[test]
fn a_second_engine_in_one_directory_is_refused() {
    let setup = Setup::new().with("log.enabled", false);
    let first = setup.run();
    let refusal = cobring(setup.arguments()).refusal();
    let pid = first.process.id();
    assert!(
        refusal.contains(&format!("is in use by process {pid}; stop that engine")),
        "{refusal}"
    );
}

#[test]
fn of_two_engines_that_start_at_once_one_writes() {
    let setup = Setup::new().with("log.enabled", false);
    let dir = setup.shared_memory_dir().to_str().unwrap();
    let arguments = setup.arguments();
    for _ in 0..20 {
        let mut pair = [(); 2].map(|()| Process::start(&arguments));
        wait_until("one publishes and one is refused", SOON, || {
            pair.iter_mut().map(Process::is_running).filter(|is| *is).count() == 1
                && pair.iter().any(|run| run.stderr().contains("frames are published"))
        });
        let (mut running, mut refused) = (Vec::new(), Vec::new());
        for mut run in pair {
            if run.is_running() { running.push(run) } else { refused.push(run) }
        }
        let refusal = refused.remove(0).finish(SOON).refusal();
        assert!(refusal.contains("is in use by"), "{refusal}");
        let writer = running.remove(0);
        assert!(writer.stderr().contains("frames are published"), "{}", writer.stderr());
        let listed = cobring(["shm", "ls", "--json", "--dir", dir]).succeeded().json();
        let segments = listed.as_array().unwrap();
        assert_eq!(segments.len(), 2, "{listed}");
        let pid = Value::from(writer.id());
        assert!(segments.iter().all(|segment| segment["writer_pid"] == pid), "{pid}: {listed}");
        writer.kill();
    }
}

#[test]
fn damaged_segments_are_refused_with_one_sentence_and_replaced_by_a_new_engine() {
    let setup = Setup::new().with("log.enabled", false);
    setup.run().process.kill();
    let path = setup.shared_memory_dir().join("ETHUSDT");
    let edit = || OpenOptions::new().write(true).open(&path).unwrap();
    let whole = path.metadata().unwrap().len();
    let says = |wanted: &str| {
        let refusal = setup.show("ETHUSDT").refusal();
        assert!(refusal.contains(wanted), "{refusal}");
    };
    edit().write_all_at(&2_u64.to_le_bytes(), 8).unwrap();
    says("has layout version 2, this program reads version 1");
    edit().write_all_at(b"parquet\0", 0).unwrap();
    says("is no cobring segment");
    edit().write_all_at(b"cobring\0\x01\0\0\0\0\0\0\0", 0).unwrap();
    says("no frame yet");
    for length in [whole / 2, 5_000, 4_096, 100, 8, 1, 0] {
        edit().set_len(length).unwrap();
        let refusal = setup.show("ETHUSDT").refusal();
        assert!(refusal.contains("truncated"), "{length}: {refusal}");
    }
    assert!(setup.show("NOSUCH").refusal().contains("has no segment NOSUCH"));
    let _next = setup.run();
    assert_eq!(path.metadata().unwrap().len(), whole);
}

#[test]
fn a_full_file_system_is_refused_with_one_sentence() {
    let place = tempfile::tempdir().unwrap();
    let run = |program: &str, args: &[&str]| {
        Command::new(program)
            .args(args)
            .arg(place.path())
            .output()
            .is_ok_and(|output| output.status.success())
    };
    if !run("mount", &["-t", "tmpfs", "-o", "size=1m", "none"]) {
        eprintln!("skipped: no right to mount a file system");
        return;
    }
    let dir = place.path().join("engine");
    let setup = Setup::new()
        .with("log.enabled", false)
        .with("engine.shared_memory_dir", dir.to_str().unwrap());
    let ended = cobring(setup.arguments());
    assert!(run("umount", &["--lazy"]));
    let refusal = ended.refusal();
    assert!(refusal.contains("are free; make room"), "{refusal}");
}
