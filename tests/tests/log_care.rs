//! The log as what one keeps: rotated, compressed, killed, on a full disk; and what `verify`, `gaps` and
//! `frame lineage` say of it.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cobring_tests::{
    Finished, Market, SOON, Setup, Sim, Watch, assert_replays_to, cobring, wait_until,
};
use serde_json::Value;

const KILLS: u64 = 10;

fn verify(dir: &Path) -> Value {
    cobring(["verify", dir.to_str().unwrap(), "--json"]).succeeded().json()
}

/// Last input of the newest run, which is whole.
fn newest_run(setup: &Setup) -> (u64, u64) {
    let files = setup.log_files();
    let epoch = |file: &PathBuf| file.to_str().unwrap().split('_').rev().nth(1).map(str::to_owned);
    let newest = files.iter().filter_map(epoch).max();
    let files = files.into_iter().filter(|file| epoch(file) == newest);
    let args = ["verify", "--json"].map(PathBuf::from).into_iter().chain(files);
    held(&cobring(args).succeeded().json())[0]
}

/// Each run's epoch and last input.
fn held(report: &Value) -> Vec<(u64, u64)> {
    let runs = report["runs"].as_array().unwrap();
    let last = |run: &Value| {
        let files = run["files"].as_array().unwrap();
        files.iter().filter_map(|file| file["last_input_seq"].as_u64()).max().unwrap_or(0)
    };
    runs.iter().map(|run| (run["epoch"].as_u64().unwrap(), last(run))).collect()
}

fn packed_files(setup: &Setup) -> usize {
    let packed = |file: &&PathBuf| file.extension().is_some_and(|end| end == "zst");
    setup.log_files().iter().filter(packed).count()
}

#[test]
fn kills_in_rotation_and_compression_lose_nothing_that_was_written() {
    let sim = Sim::start(&Market::SeedFast(71, "40"));
    let setup = Setup::of(&sim).with("log.rotate_bytes", 65_536).with("log.resume_within_h", 0);
    let seed = std::env::var("COBRING_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut state = seed.unwrap_or_else(|| u64::from(std::process::id()) | 1 << 40);
    eprintln!("COBRING_SEED={state}");
    let mut runs = Vec::new();
    for number in 0..KILLS {
        let engine = setup.run();
        // What is in the system's hands now must be there afterwards.
        let written = newest_run(&setup);
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        std::thread::sleep(Duration::from_millis(state % 1_000));
        engine.process.kill();
        let after = newest_run(&setup);
        assert!(
            after.0 == written.0 && after.1 >= written.1,
            "kill {number}: {after:?} {written:?}"
        );
        runs.push(after);
    }
    // The runs before are as they were left, plain or compressed.
    assert_eq!(held(&verify(&setup.log_dir())), runs);
    assert!(packed_files(&setup) > 0, "{:?}", setup.log_files());
    assert!(setup.log_files().len() > runs.len(), "a run was rotated");
}

#[test]
fn a_compressed_log_replays_to_the_hash_and_tells_the_input_behind_a_frame() {
    let sim = Sim::start(&Market::SeedFast(72, "40"));
    let setup = Setup::of(&sim).with("log.rotate_bytes", 65_536);
    let engine = setup.run();
    wait_until("two files are compressed", SOON, || packed_files(&setup) >= 2);
    let frame = setup.show("ETHUSDT").succeeded().json();
    let report = engine.stop();
    assert_eq!(report["log"]["lost"], 0, "{report}");
    assert!(report["log"]["files_compressed"].as_u64() >= Some(2), "{report}");
    assert_eq!(report["log"]["keeper_errors"], 0, "{report}");
    assert_replays_to(&report["hash"], &setup.log_files());
    let checked = verify(&setup.log_dir());
    assert_eq!(checked["runs"][0]["stopped"], true);
    assert_eq!(checked["notes"].as_array().unwrap().len(), 0, "{checked}");

    let dir = setup.log_dir();
    let seq = frame["seq"].to_string();
    let args = ["frame", "lineage", "ETHUSDT", &seq, "--json", "--log", dir.to_str().unwrap()];
    let lineage = cobring(args).succeeded().json();
    assert_eq!(lineage["input"]["input_seq"], frame["input_seq"], "{lineage}");
    assert_eq!(lineage["ts_recv"], frame["times"]["ts_recv"]);
    assert_eq!(lineage["trigger"], frame["trigger"]);
    let text = cobring(args[..4].iter().chain(&args[5..])).succeeded().stdout;
    assert!(text.contains(&format!("frame {seq} of ETHUSDT in epoch ")), "{text}");
}

#[test]
fn damage_is_found_with_its_place() {
    let sim = Sim::start(&Market::Seed(73));
    let setup = Setup::of(&sim);
    let engine = setup.run();
    let watch = Watch::start(setup.shared_memory_dir(), "ETHUSDT");
    watch.wait_live();
    let _report = engine.stop();
    let dir = setup.log_dir();
    let said = |code| -> Finished { cobring(["verify", dir.to_str().unwrap()]).ended_with(code) };
    assert!(said(0).stdout.ends_with("\nwhole"));
    let file = &setup.log_files()[0];
    let mut bytes = std::fs::read(file).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 4;
    std::fs::write(file, bytes).unwrap();
    let text = said(4).stdout;
    let place = format!("{}: offset ", file.display());
    assert!(text.contains(&place) && text.contains("a damaged record"), "{text}");
}

#[test]
fn a_full_disk_costs_log_and_no_frame_and_is_told_by_all() {
    let place = tempfile::tempdir().unwrap();
    let run = |program: &str, args: &[&str]| {
        let done = Command::new(program).args(args).arg(place.path()).output();
        done.is_ok_and(|output| output.status.success())
    };
    if !run("mount", &["-t", "tmpfs", "-o", "size=24m", "none"]) {
        eprintln!("skipped: no right to mount a file system");
        return;
    }
    let dir = place.path().join("log");
    let ballast = place.path().join("ballast");
    std::fs::write(&ballast, vec![1; 20 << 20]).unwrap();
    let sim = Sim::start(&Market::SeedFast(74, "40"));
    let setup = Setup::of(&sim)
        .with("log.dir", dir.to_str().unwrap())
        .with("log.compress", false)
        .with("log.sync_ms", 50);
    let engine = setup.run();
    let watch = Watch::start(setup.shared_memory_dir(), "ETHUSDT");
    watch.wait_live();
    engine.process.wait_stderr("the log is not written, frames go on: ", SOON);
    let seq = watch.last().unwrap().seq;
    watch.wait_last("frames go on", SOON, |frame| frame.seq > seq + 500);
    std::fs::remove_file(&ballast).unwrap();
    wait_until("the log is written again", SOON, || {
        let said = engine.process.stderr();
        said.rfind("the log is written again, to ") > said.rfind("the log is not written")
    });
    let report = engine.stop();
    let verified = verify(&dir);
    let gaps = cobring(["gaps", dir.to_str().unwrap(), "--jsonl"]).succeeded().stdout;
    assert!(run("umount", &["--lazy"]));
    let lost = report["log"]["lost"].as_u64().unwrap();
    assert!(lost > 0 && report["log"]["errors"].as_u64() > Some(0), "{report}");
    assert_eq!(report["ingest"]["backpressure_total"], 0);
    assert_eq!(verified["runs"][0]["inputs_lost"].as_u64(), Some(lost), "{verified}");
    let lines = gaps.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let told: u64 = lines
        .filter(|gap| gap["kind"] == "log")
        .map(|gap| {
            gap["missing"].as_str().unwrap().trim_end_matches(" inputs").parse::<u64>().unwrap()
        })
        .sum();
    assert_eq!(told, lost, "{gaps}");
}
