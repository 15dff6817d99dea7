//! What only several processes can show: one engine a directory, kill -9, torn reads.
//! This program starts itself: `child` is the child's entry, and does nothing in an ordinary run.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cobring_frame::{EngineDir, Liveness, Next, Reader, Segment, SegmentSpec};
use common::process::{Role, hear_parent, role, say};
use common::{FRAME_WORDS, ROW_WORDS, assert_filled, fill, now_ns, spec, wait_until};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn child() {
    let Some((role, dir)) = role() else { return };
    match role.as_str() {
        "start" => start(&dir),
        "write" => write(&dir),
        "read" => read(&dir),
        _ => panic!("no role {role}"),
    }
}

fn start(path: &Path) {
    say("ready");
    hear_parent();
    let dir = EngineDir::lock(path);
    match &dir {
        Ok(_) => say("locked"),
        Err(error) => say(&format!("{error}")),
    }
    hear_parent();
    drop(dir);
}

/// 200 times two engines that start at the same moment.
#[test]
fn of_two_engines_that_start_at_once_one_runs() {
    const ROUNDS: usize = 20;
    const PAIRS: usize = 10;
    let temp = tempfile::tempdir().unwrap();
    for round in 0..ROUNDS {
        let dirs: Vec<_> =
            (0..PAIRS).map(|pair| temp.path().join(format!("{round}-{pair}"))).collect();
        let mut pairs: Vec<[Role; 2]> =
            dirs.iter().map(|dir| [Role::start("start", dir), Role::start("start", dir)]).collect();
        for role in pairs.as_flattened_mut() {
            assert_eq!(role.hear(), "ready");
        }
        for role in pairs.as_flattened_mut() {
            role.tell();
        }
        for (pair, dir) in pairs.iter_mut().zip(&dirs) {
            let mut said = [pair[0].hear(), pair[1].hear()];
            let winner = said.iter().position(|said| said == "locked").expect("neither has locked");
            let wanted = format!(
                "{}: is in use by process {}; stop that engine, or give this one another directory",
                dir.display(),
                pair[winner].pid()
            );
            assert_eq!(std::mem::take(&mut said[1 - winner]), wanted);
        }
    }
}

fn segment_spec(epoch: u64) -> SegmentSpec {
    // So small that the writer comes round all the time.
    SegmentSpec { slot_count: 8, ..spec("ETHUSDT", epoch) }
}

/// Frame: the window's cursor, then the payload. Row n: n, how often it was repaired, the payload of both.
const CURSOR_WORDS: usize = 2;

fn row(index: u64, version: u64) -> [u64; ROW_WORDS] {
    let mut row = [0; ROW_WORDS];
    (row[0], row[1]) = (index, version);
    fill(&mut row[2..], index * 1_000 + version);
    row
}

/// An engine that does nothing but publish, until it is killed or its parent is gone.
fn write(path: &Path) {
    let dir = EngineDir::lock(path).unwrap();
    let epoch = dir.last_epoch("ETHUSDT").unwrap_or(0) + 1;
    let mut segment = Segment::create(&dir, &segment_spec(epoch)).unwrap();
    let window = &mut segment.windows[0];
    let mut image = [0; FRAME_WORDS];
    let deadline = now_ns() + 60_000_000_000;
    for n in 0u64.. {
        let index = window.append(&row(n, 0));
        if n % 16 == 15 {
            window.rewrite(index - 5, &row(index - 5, 1));
        }
        image[..CURSOR_WORDS].copy_from_slice(&[window.done(), window.revision()]);
        fill(&mut image[CURSOR_WORDS..], n);
        segment.ring.publish(&image);
        if n == 0 {
            say("ready");
        }
        if n % 64 == 0 {
            let now = now_ns();
            segment.ring.heartbeat(now);
            if now > deadline {
                return;
            }
            std::thread::yield_now();
        }
    }
}

fn writer(dir: &Path) -> Role {
    let mut role = Role::start("write", dir);
    assert_eq!(role.hear(), "ready");
    role
}

/// What a reader took, and what it was told that it missed.
#[derive(Debug, Default)]
struct Taken {
    frames: u64,
    lost: u64,
    views: u64,
    refused: u64,
}

/// Reads frames, and the window with each of them, until `done`; nothing that it takes is torn.
fn read_whole(dir: &Path, mut done: impl FnMut(&Taken) -> bool) -> Taken {
    let mut reader = Reader::open(dir, "ETHUSDT").unwrap();
    let window = reader.window_named("candles.1s").unwrap();
    let mut out = [0; FRAME_WORDS];
    let mut taken = Taken::default();
    let first = reader.position();
    while !done(&taken) {
        match reader.next(&mut out).unwrap() {
            Next::Frame { seq } => {
                taken.frames += 1;
                assert_eq!(seq + 1, first + taken.frames + taken.lost, "exactly counted");
                assert_filled(&out[CURSOR_WORDS..], seq);
                assert_eq!(out[0], seq + 1);
            }
            Next::Lapped { lost: more } => {
                taken.lost += more;
                continue;
            }
            Next::Empty => continue,
        }
        let cursor = [out[0], out[1]].into();
        let mut rows = [0; 40 * ROW_WORDS];
        match window.last(cursor, 40).and_then(|view| view.copy_into(&mut rows)) {
            Ok(()) => {
                taken.views += 1;
                for (index, found) in (cursor.done - 40..).zip(rows.chunks_exact(ROW_WORDS)) {
                    // Row 16k + 10 is repaired with row 16k + 15, which the frame knows of.
                    let repaired = index % 16 == 10 && index + 5 < cursor.done;
                    assert_eq!(found, row(index, u64::from(repaired)));
                }
            }
            Err(error) => {
                assert!(cursor.done < 40 || error.needs_newer_frame(), "{error}");
                taken.refused += 1;
            }
        }
    }
    taken
}

#[test]
fn nothing_that_another_process_writes_is_torn() {
    let temp = tempfile::tempdir().unwrap();
    let _writer = writer(temp.path());
    let deadline = now_ns() + 20_000_000_000;
    let taken = read_whole(temp.path(), |taken| {
        taken.frames >= 20_000 && taken.views >= 2_000 || now_ns() >= deadline
    });
    eprintln!("{taken:?}");
    assert!(taken.frames > 1_000 && taken.views > 100, "{taken:?}");
}

/// A reader whose parent stops it again and again, and that says in the end what it took.
fn read(dir: &Path) {
    say("ready");
    let stopped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            hear_parent();
            stopped.store(true, Ordering::Relaxed);
        });
        let taken = read_whole(dir, |_| stopped.load(Ordering::Relaxed));
        say(&format!("{} {}", taken.frames, taken.lost));
    });
}

/// Stopped at any instruction, most often in mid-copy: the writer is a lap ahead when it goes on.
#[test]
fn nothing_is_torn_for_a_reader_that_is_stopped_in_mid_copy() {
    const STOPS: u64 = 200;
    let temp = tempfile::tempdir().unwrap();
    let _writer = writer(temp.path());
    let mut reader = Role::start("read", temp.path());
    assert_eq!(reader.hear(), "ready");
    let looker = Reader::open(temp.path(), "ETHUSDT").unwrap();
    for stop in 0..STOPS {
        let ring = looker.slot_count();
        // The writer's pace and the reader's are not tied to it, so each stop hits another instruction.
        let pause = looker.published() + stop % 7 * ring;
        wait_until("the reader has read on", LIMIT, || looker.published() > pause);
        reader.signal(Signal::STOP);
        let lap = looker.published() + 2 * ring + 100;
        wait_until("the writer has come round", LIMIT, || looker.published() > lap);
        reader.signal(Signal::CONT);
    }
    reader.tell();
    let said = reader.hear();
    let (frames, lost) = said.split_once(' ').unwrap();
    // The reader has checked that each is counted exactly once.
    assert!(frames.parse::<u64>().unwrap() > 0, "{said}");
    assert!(lost.parse::<u64>().unwrap() >= STOPS * looker.slot_count(), "{said}");
    assert!(reader.wait().success());
}

#[test]
fn readers_outlive_a_killed_engine_and_follow_the_next() {
    let temp = tempfile::tempdir().unwrap();
    let mut engine = writer(temp.path());
    let mut reader = Reader::open(temp.path(), "ETHUSDT").unwrap();
    let mut sleeper = Reader::open(temp.path(), "ETHUSDT").unwrap();
    let mut out = [0; FRAME_WORDS];
    for kills in 1..=3 {
        assert_eq!(reader.epoch(), kills);
        let newest = reader.latest(&mut out).unwrap().unwrap();
        assert_filled(&out[CURSOR_WORDS..], newest);
        let pid = engine.pid();
        engine.kill();
        wait_until("the engine is gone", Duration::from_secs(2), || {
            reader.liveness() == Liveness::Gone { pid }
        });
        // All that it published can still be read.
        sleeper.seek_oldest();
        while let Next::Frame { seq } = sleeper.next(&mut out).unwrap() {
            assert_filled(&out[CURSOR_WORDS..], seq);
        }
        let begun_ns = now_ns();
        let error = sleeper.wait(LIMIT).unwrap_err();
        assert!(now_ns() - begun_ns < 2_000_000_000, "it took longer than 2 s to notice");
        assert!(error.is_writer_gone(), "{error}");
        assert!(error.to_string().contains(&format!("(process {pid}) is gone")), "{error}");

        // No clean-up: the next one takes the place.
        engine = writer(temp.path());
        wait_until("latest follows", LIMIT, || {
            reader.latest(&mut out).is_err_and(|error| error.is_epoch_change())
        });
        wait_until("wait follows", LIMIT, || match sleeper.wait(LIMIT) {
            Err(error) => error.is_epoch_change(),
            Ok(woken) => panic!("{woken}"),
        });
        assert_eq!((reader.epoch(), sleeper.epoch()), (kills + 1, kills + 1));
        assert_eq!(reader.writer_pid(), engine.pid());
        wait_until("the engine is alive", LIMIT, || reader.liveness() == Liveness::Alive);
    }
}
