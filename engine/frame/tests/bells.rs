//! Bells that somebody truncates: the one thing of a segment that readers may write.
//! This program starts itself: `child` is the child's entry, and does nothing in an ordinary run.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cobring_frame::{EngineDir, Next, Reader, Segment};
use common::process::{Role, hear_parent, role, say};
use common::{FRAME_WORDS, assert_filled, filled, spec, wait_until};

const LIMIT: Duration = Duration::from_secs(30);
const CUTS: u64 = 100;
const SIGBUS: i32 = 7;

#[test]
fn child() {
    let Some((role, dir)) = role() else { return };
    match role.as_str() {
        "sleep" => sleep(&dir),
        "fault" => fault(&dir),
        _ => panic!("no role {role}"),
    }
}

/// A reader that sleeps for each frame and says its number.
fn sleep(dir: &Path) {
    let mut reader = Reader::open(dir, "ETHUSDT").unwrap();
    let mut out = [0; FRAME_WORDS];
    say("ready");
    loop {
        assert!(reader.wait(LIMIT).unwrap(), "no frame in time");
        while let Next::Frame { seq } = reader.next(&mut out).unwrap() {
            assert_filled(&out, seq);
            say(&seq.to_string());
        }
    }
}

/// A reader of a segment that its owner cuts: nothing that we mend.
fn fault(dir: &Path) {
    let mut reader = Reader::open(dir, "ETHUSDT").unwrap();
    say("ready");
    hear_parent();
    let _ = reader.latest(&mut [0; FRAME_WORDS]);
    say("it lives");
}

fn cut(dir: &Path, name: &str, length: u64) {
    File::options().write(true).open(dir.join(name)).unwrap().set_len(length).unwrap();
}

#[test]
fn a_truncated_bell_ends_no_process_and_wakes_those_who_sleep() {
    let temp = tempfile::tempdir().unwrap();
    let dir = EngineDir::lock(temp.path()).unwrap();
    let mut segment = Segment::create(&dir, &spec("ETHUSDT", 1)).unwrap();
    let mut sleeper = Role::start("sleep", temp.path());
    assert_eq!(sleeper.hear(), "ready");
    for number in 0..CUTS {
        // Each time at another moment of the sleeper's.
        cut(temp.path(), "ETHUSDT.bell", 0);
        if number % 3 == 0 {
            std::thread::yield_now();
        }
        assert_eq!(segment.ring.publish(&filled::<FRAME_WORDS>(number)), number);
        assert_eq!(sleeper.hear(), number.to_string());
    }
    // The sleeper may be the first to touch a bell, and mend it.
    let mended = segment.ring.bell_truncated();
    assert!((1..=CUTS).contains(&mended), "{mended}");
    assert_eq!(temp.path().join("ETHUSDT.bell").metadata().unwrap().len(), 4_096);
    // Whole again for those who come later.
    let mut late = Reader::open(temp.path(), "ETHUSDT").unwrap();
    segment.ring.publish(&filled::<FRAME_WORDS>(CUTS));
    assert!(late.wait(LIMIT).unwrap());
}

/// Without a publication in between: whoever goes to sleep mends it, also in the same process.
#[test]
fn readers_that_share_a_process_mend_each_its_own_mapping() {
    let temp = tempfile::tempdir().unwrap();
    let dir = EngineDir::lock(temp.path()).unwrap();
    let mut segments =
        ["BTCUSDT", "ETHUSDT"].map(|symbol| Segment::create(&dir, &spec(symbol, 1)).unwrap());
    let read = [0, 0].map(AtomicU64::new);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (symbol, read) in ["BTCUSDT", "ETHUSDT"].iter().zip(&read) {
            let mut reader = Reader::open(temp.path(), symbol).unwrap();
            let stop = &stop;
            scope.spawn(move || {
                let mut out = [0; FRAME_WORDS];
                while !stop.load(Ordering::Relaxed) {
                    let _ = reader.wait(Duration::from_millis(10)).unwrap();
                    while let Next::Frame { seq } = reader.next(&mut out).unwrap() {
                        assert_filled(&out, seq);
                        read.store(seq + 1, Ordering::Relaxed);
                    }
                }
            });
        }
        for number in 0..CUTS {
            cut(temp.path(), "BTCUSDT.bell", 0);
            cut(temp.path(), "ETHUSDT.bell", number % 2 * 4_095);
            for (segment, read) in segments.iter_mut().zip(&read) {
                segment.ring.publish(&filled::<FRAME_WORDS>(number));
                wait_until("it is read", LIMIT, || read.load(Ordering::Relaxed) == number + 1);
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn any_other_fault_ends_the_process_as_ever() {
    let temp = tempfile::tempdir().unwrap();
    let dir = EngineDir::lock(temp.path()).unwrap();
    let mut segment = Segment::create(&dir, &spec("ETHUSDT", 1)).unwrap();
    segment.ring.publish(&filled::<FRAME_WORDS>(0));
    let mut reader = Role::start("fault", temp.path());
    assert_eq!(reader.hear(), "ready");
    std::mem::forget(segment); // Its memory is about to be gone: nobody may retire it.
    cut(temp.path(), "ETHUSDT", 0);
    reader.tell();
    let status = reader.wait();
    assert_eq!(status.signal(), Some(SIGBUS), "{status}");
}
