//! The input log on disk: several files, a replay that begins in the middle, ends that are torn.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::PathBuf;
use std::time::Duration;

use cobring_tests::{Finished, Market, Setup, Sim, Watch, assert_replays_to, cobring, recordings};
use serde_json::Value;

fn replay(options: &[&str], files: &[PathBuf]) -> Finished {
    let options = ["replay"].iter().chain(options).map(PathBuf::from);
    cobring(options.chain(files.iter().cloned()))
}

/// The state of each symbol at each timer.
fn lines(files: &[PathBuf]) -> Vec<Value> {
    let text = replay(&["--jsonl", "--every", "100ms"], files).succeeded().stdout;
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// An engine logs a recording in files of 4 MiB, each of which begins with a checkpoint of about one.
fn rotated() -> Option<(Setup, Value)> {
    let [ethusdt, _] = recordings()?;
    let sim = Sim::start(&Market::Recording(vec![ethusdt], "20".to_owned()));
    let setup = Setup::of(&sim)
        .with("venue.binance.trade_stream", "trade")
        .with("log.rotate_bytes", 4_194_304);
    let watch = Watch::start(setup.shared_memory_dir(), "ETHUSDT");
    let engine = setup.run();
    let end = Some(35_346_671_849);
    watch.wait_last("the end", Duration::from_secs(90), |frame| frame.update_id == end);
    let report = engine.stop();
    assert_eq!(report["log"]["complete"], true, "{report}");
    assert_eq!(report["log"]["lost"], 0);
    Some((setup, report))
}

#[test]
fn a_rotated_log_replays_whole_and_from_each_of_its_files() {
    let Some((setup, report)) = rotated() else { return };
    let files = setup.log_files();
    assert!(files.len() >= 3, "{files:?}");
    assert_eq!(report["log"]["files"].as_u64(), u64::try_from(files.len()).ok());
    assert_replays_to(&report["hash"], &files);
    let whole = lines(&files);
    // The last file may have begun within the last second, and then has no line of its own.
    let parts = (1..files.len()).map(|first| (first, lines(&files[first..])));
    let parts: Vec<_> = parts.filter(|(_, part)| part.len() >= 2).collect();
    assert!(parts.len() + 2 >= files.len(), "{} of {} files", parts.len(), files.len());
    for (first, part) in parts {
        assert!(part.len() < whole.len(), "{} of {}", part.len(), whole.len());
        for (found, expected) in part.iter().zip(&whole[whole.len() - part.len()..]) {
            assert_eq!(found, expected, "from file {first}");
        }
    }
}

#[test]
fn a_torn_log_replays_as_far_as_it_is_whole() {
    let Some([ethusdt, _]) = recordings() else { return };
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let written =
        replay(&["--json", "--log", log.to_str().unwrap()], &[ethusdt]).succeeded().json();
    let file = std::fs::read_dir(log).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(&file).unwrap();
    let torn = dir.path().join("torn.cblog");
    let mut replayed = Vec::new();
    for cut in [bytes.len() / 4, bytes.len() / 4 + 1, bytes.len() / 3 + 7, bytes.len() - 1] {
        std::fs::write(&torn, &bytes[..cut]).unwrap();
        let ended = replay(&["--hash"], std::slice::from_ref(&torn)).succeeded();
        assert!(
            ended.stderr.contains("replayed as far as it is whole") || cut % 8 == 0,
            "{cut}: {}",
            ended.stderr
        );
        replayed.push(
            replay(&["--json"], std::slice::from_ref(&torn)).succeeded().json()["inputs"]
                .as_u64()
                .unwrap(),
        );
    }
    let all = written["inputs"].as_u64().unwrap();
    assert!(replayed.is_sorted() && replayed[0] > 0 && replayed[3] < all, "{replayed:?} of {all}");
}
