//! The frame ring through real segments and through private memory.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cobring_frame::{EngineDir, FrameError, Liveness, Next, Reader, Segment, SegmentSpec};
use common::{FRAME_WORDS, assert_filled, filled, now_ns, spec, wait_until};

fn image(n: u64) -> [u64; FRAME_WORDS] {
    filled(n)
}

#[test]
fn frames_come_once_and_in_order() {
    let mut segment = Segment::private(&spec("ETHUSDT", 1)).unwrap();
    let mut reader = segment.reader();
    let mut out = [0; FRAME_WORDS];
    assert_eq!(reader.latest(&mut out).unwrap(), None);
    assert_eq!(reader.next(&mut out).unwrap(), Next::Empty);
    for n in 0..200 {
        assert_eq!(segment.ring.publish(&image(n)), n);
        assert!(reader.wait(Duration::ZERO).unwrap());
        assert_eq!(reader.next(&mut out).unwrap(), Next::Frame { seq: n });
        assert_filled(&out, n);
        assert_eq!(reader.next(&mut out).unwrap(), Next::Empty);
        assert!(!reader.wait(Duration::ZERO).unwrap());
        assert_eq!(reader.latest(&mut out).unwrap(), Some(n));
        assert_filled(&out, n);
    }
}

#[test]
fn a_lapped_reader_hears_exactly_how_many_it_lost() {
    let mut segment = Segment::private(&spec("ETHUSDT", 1)).unwrap();
    let mut reader = segment.reader();
    let mut out = [0; FRAME_WORDS];
    let (mut got, mut lost) = (0, 0);
    let mut n = 0;
    // Bursts of 0 to 199 frames through 64 slots.
    for burst in 0..200 {
        for _ in 0..burst {
            segment.ring.publish(&image(n));
            n += 1;
        }
        let mut laps = 0;
        loop {
            match reader.next(&mut out).unwrap() {
                Next::Frame { seq } => {
                    assert_eq!(seq, got + lost);
                    assert_filled(&out, seq);
                    got += 1;
                }
                Next::Lapped { lost: more } => {
                    assert_eq!(more, burst - 64, "the oldest still whole comes next");
                    lost += more;
                    laps += 1;
                }
                Next::Empty => break,
            }
        }
        assert_eq!(laps, u32::from(burst > 64));
        assert_eq!(got + lost, n);
    }
}

#[test]
fn what_latest_passes_over_is_not_lost() {
    let mut segment = Segment::private(&spec("ETHUSDT", 1)).unwrap();
    let mut reader = segment.reader();
    let mut out = [0; FRAME_WORDS];
    for n in 0..1_000 {
        segment.ring.publish(&image(n));
    }
    assert_eq!(reader.latest(&mut out).unwrap(), Some(999));
    assert_eq!(reader.next(&mut out).unwrap(), Next::Empty);
    segment.ring.publish(&image(1_000));
    assert_eq!(reader.next(&mut out).unwrap(), Next::Frame { seq: 1_000 });
    reader.seek_oldest();
    assert_eq!(reader.position(), 1_001 - 64);
    assert_eq!(reader.next(&mut out).unwrap(), Next::Frame { seq: 1_001 - 64 });
    reader.seek_newest();
    assert_eq!(reader.next(&mut out).unwrap(), Next::Empty);
}

#[test]
fn a_buffer_of_another_size_is_refused() {
    let segment = Segment::private(&spec("ETHUSDT", 1)).unwrap();
    let error = segment.reader().latest(&mut [0; 3]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a frame takes 96 words, 3 were given; size the buffer by the segment's schema"
    );
}

/// Threads, and for the file two mappings of it.
fn no_frame_is_torn(mut segment: Segment, mut reader: Reader) {
    const FRAMES: u64 = 300_000;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for n in 0..FRAMES {
                segment.ring.publish(&image(n));
                if n % 64 == 0 {
                    segment.ring.heartbeat(now_ns());
                    std::thread::yield_now();
                }
            }
            // Kept until the reader is done: it waits for the last frame.
            segment
        });
        scope.spawn(move || {
            let mut out = [0; FRAME_WORDS];
            let (mut got, mut lost) = (0, 0);
            while got + lost < FRAMES {
                match reader.next(&mut out).unwrap() {
                    Next::Frame { seq } => {
                        assert_eq!(seq, got + lost);
                        assert_filled(&out, seq);
                        got += 1;
                    }
                    Next::Lapped { lost: more } => lost += more,
                    Next::Empty => std::thread::yield_now(),
                }
            }
            assert!(got > 0);
            assert_eq!(reader.latest(&mut out).unwrap(), Some(FRAMES - 1));
            assert_filled(&out, FRAMES - 1);
        });
    });
}

/// So small a ring that the writer is always at the reader's heels.
fn tight(symbol: &str) -> SegmentSpec {
    SegmentSpec { slot_count: 2, ..spec(symbol, 1) }
}

#[test]
fn no_frame_is_torn_in_private_memory() {
    let segment = Segment::private(&tight("ETHUSDT")).unwrap();
    let reader = segment.reader();
    no_frame_is_torn(segment, reader);
}

#[test]
fn no_frame_is_torn_through_a_file() {
    let temp = tempfile::tempdir().unwrap();
    let dir = EngineDir::lock(temp.path()).unwrap();
    let segment = Segment::create(&dir, &tight("ETHUSDT")).unwrap();
    let reader = Reader::open(temp.path(), "ETHUSDT").unwrap();
    no_frame_is_torn(segment, reader);
}

/// A lost call would cost 100 ms: 2,000 rounds would take minutes.
fn every_wait_is_woken(dir: &EngineDir, rounds: u64) {
    let mut segment = Segment::create(dir, &spec("ETHUSDT", 1)).unwrap();
    let mut reader = Reader::open(dir.path(), "ETHUSDT").unwrap();
    let taken = AtomicU64::new(0);
    let begun_ns = now_ns();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut out = [0; FRAME_WORDS];
            for n in 0..rounds {
                assert!(reader.wait(Duration::from_secs(30)).unwrap());
                assert_eq!(reader.next(&mut out).unwrap(), Next::Frame { seq: n });
                taken.store(n + 1, Ordering::Release); // to the Acquire below
            }
        });
        for n in 0..rounds {
            segment.ring.heartbeat(now_ns());
            segment.ring.publish(&image(n));
            wait_until("the reader has the frame", Duration::from_secs(30), || {
                taken.load(Ordering::Acquire) == n + 1 // from the Release above
            });
        }
    });
    let took = Duration::from_nanos(now_ns() - begun_ns);
    assert!(took < Duration::from_millis(10 * rounds), "{rounds} rounds took {took:?}");
}

#[test]
fn every_wait_is_woken_by_the_bell() {
    let temp = tempfile::tempdir().unwrap();
    every_wait_is_woken(&EngineDir::lock(temp.path()).unwrap(), 2_000);
}

#[test]
fn a_reader_without_the_bell_polls() {
    let temp = tempfile::tempdir().unwrap();
    let dir = EngineDir::lock(temp.path()).unwrap();
    let mut segment = Segment::create(&dir, &spec("ETHUSDT", 1)).unwrap();
    std::fs::remove_file(temp.path().join("ETHUSDT.bell")).unwrap();
    let mut reader = Reader::open(temp.path(), "ETHUSDT").unwrap();
    assert!(!reader.wait(Duration::from_millis(1)).unwrap());
    let handle = segment.ring.retire_handle();
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(reader.wait(Duration::from_secs(30)).unwrap()));
        segment.ring.publish(&image(0));
    });
    reader.seek_newest();
    handle.retire();
    let begun_ns = now_ns();
    assert!(reader.wait(Duration::from_secs(30)).is_err_and(|error| error.is_writer_gone()));
    assert!(now_ns() - begun_ns < 5_000_000_000, "it took longer than 5 s to notice");
}

#[test]
fn readers_follow_a_new_engine_in_the_same_directory() {
    let temp = tempfile::tempdir().unwrap();
    let open = || Reader::open(temp.path(), "ETHUSDT").unwrap();
    let mut out = [0; FRAME_WORDS];

    let mut first =
        Segment::create(&EngineDir::lock(temp.path()).unwrap(), &spec("ETHUSDT", 1)).unwrap();
    let mut readers = [open(), open(), open()];
    for n in 0..3 {
        first.ring.publish(&image(n));
    }
    assert_eq!(readers[0].liveness(), Liveness::Alive);
    drop(first);
    assert_eq!(readers[0].liveness(), Liveness::Retired);
    assert!(!readers[0].follow().unwrap());
    // The frames of a stopped engine stay, to readers old and new.
    assert_eq!(readers[0].latest(&mut out).unwrap(), Some(2));
    assert_eq!(open().latest(&mut out).unwrap(), Some(2));
    let error = readers[0].wait(Duration::from_secs(10)).unwrap_err();
    assert!(error.is_writer_gone() && error.to_string().contains("has stopped"), "{error}");

    let dir = EngineDir::lock(temp.path()).unwrap();
    assert_eq!(dir.last_epoch("ETHUSDT"), Some(1));
    let error = Segment::create(&dir, &spec("ETHUSDT", 1)).unwrap_err();
    assert!(matches!(error, FrameError::OldEpoch { found: 1, wanted: 1, .. }), "{error}");
    let mut second = Segment::create(&dir, &spec("ETHUSDT", 2)).unwrap();
    second.ring.publish(&image(100));

    // `next` reads the old engine's frames to the end first.
    let [latest, next, wait] = &mut readers;
    for n in 0..3 {
        assert_eq!(next.next(&mut out).unwrap(), Next::Frame { seq: n });
        assert_filled(&out, n);
    }
    wait.latest(&mut out).ok();
    for reader in [latest, next, wait] {
        let mut changed = reader.epoch() == 2;
        wait_until("the reader follows", Duration::from_secs(10), || {
            match reader.next(&mut out) {
                Ok(Next::Empty) => {}
                Ok(Next::Frame { seq }) => return changed && seq == 0,
                Err(error) => {
                    assert!(error.is_epoch_change() && !changed, "{error}");
                    assert!(error.to_string().contains("begun epoch 2 (was 1)"), "{error}");
                    changed = true;
                }
                Ok(Next::Lapped { lost }) => panic!("{lost} lost"),
            }
            false
        });
        assert_filled(&out, 100);
        assert_eq!((reader.epoch(), reader.liveness()), (2, Liveness::Alive));
    }
}

#[test]
fn a_sleeping_reader_is_woken_by_the_next_engine() {
    let temp = tempfile::tempdir().unwrap();
    drop(Segment::create(&EngineDir::lock(temp.path()).unwrap(), &spec("ETHUSDT", 1)).unwrap());
    let mut reader = Reader::open(temp.path(), "ETHUSDT").unwrap();
    let waiting = std::thread::spawn(move || {
        loop {
            match reader.wait(Duration::from_secs(30)) {
                Err(error) if error.is_epoch_change() => return reader.epoch(),
                Err(error) if error.is_writer_gone() => {}
                other => panic!("{other:?}"),
            }
        }
    });
    let dir = EngineDir::lock(temp.path()).unwrap();
    let _segment = Segment::create(&dir, &spec("ETHUSDT", 2)).unwrap();
    assert_eq!(waiting.join().unwrap(), 2);
}

#[test]
fn an_unlinked_segment_is_left_for_a_new_one() {
    let temp = tempfile::tempdir().unwrap();
    let dir = EngineDir::lock(temp.path()).unwrap();
    let _first = Segment::create(&dir, &spec("ETHUSDT", 1)).unwrap();
    let mut reader = Reader::open(temp.path(), "ETHUSDT").unwrap();
    // Somebody removed the file, so the next engine cannot retire it.
    std::fs::remove_file(reader.path()).unwrap();
    let _second = Segment::create(&dir, &spec("ETHUSDT", 2)).unwrap();
    let mut out = [0; FRAME_WORDS];
    wait_until("the reader follows", Duration::from_secs(10), || {
        reader.next(&mut out).is_err_and(|error| error.is_epoch_change())
    });
    assert_eq!(reader.epoch(), 2);
}

#[test]
fn a_silent_writer_is_stalled_and_not_gone() {
    let temp = tempfile::tempdir().unwrap();
    let dir = EngineDir::lock(temp.path()).unwrap();
    let mut segment = Segment::create(&dir, &spec("ETHUSDT", 1)).unwrap();
    let reader = Reader::open(temp.path(), "ETHUSDT").unwrap();
    assert_eq!(reader.liveness(), Liveness::Alive);
    segment.ring.heartbeat(now_ns() - 1_500_000_000);
    let Liveness::Stalled { heartbeat_age_ns } = reader.liveness() else {
        panic!("{:?}", reader.liveness())
    };
    assert!((1_500_000_000..60_000_000_000).contains(&heartbeat_age_ns), "{heartbeat_age_ns}");
    segment.ring.heartbeat(now_ns());
    assert_eq!(reader.liveness(), Liveness::Alive);
    segment.ring.set_mono_minus_ts(-7);
    assert_eq!(reader.mono_minus_ts(), -7);
    segment.ring.retire_handle().retire();
    assert_eq!(reader.liveness(), Liveness::Retired);
}

#[test]
fn a_handle_to_retire_by_keeps_no_lock() {
    let temp = tempfile::tempdir().unwrap();
    let segment =
        Segment::create(&EngineDir::lock(temp.path()).unwrap(), &spec("ETHUSDT", 1)).unwrap();
    let handle = segment.ring.retire_handle();
    // Any other part keeps the directory locked.
    let Segment { ring, windows, .. } = segment;
    drop(ring);
    assert!(matches!(EngineDir::lock(temp.path()), Err(FrameError::Locked { .. })));
    drop(windows);
    drop(EngineDir::lock(temp.path()).unwrap());
    handle.retire();
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn files_have_the_modes_that_the_contract_says() {
    let temp = tempfile::tempdir().unwrap();
    let dir = EngineDir::lock(temp.path()).unwrap();
    let _segment = Segment::create(&dir, &spec("币安USDT", 1)).unwrap();
    assert_eq!(mode(&temp.path().join("engine.lock")), 0o600);
    assert_eq!(mode(&temp.path().join("币安USDT")), 0o640);
    assert_eq!(mode(&temp.path().join("币安USDT.bell")), 0o660);
    let reader = Reader::open(temp.path(), "币安USDT").unwrap();
    assert_eq!(
        (
            reader.symbol(),
            reader.schema(),
            reader.schema_id(),
            reader.frame_size_bytes(),
            reader.slot_count()
        ),
        ("币安USDT", r#"{"frame":[]}"#, 42, FRAME_WORDS * 8, 64)
    );
    assert_eq!((reader.writer_pid(), reader.window_count()), (std::process::id(), 2));
}

#[test]
fn gc_removes_dead_segments_and_nothing_else() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path();
    let dir = EngineDir::lock(path).unwrap();
    let eth = Segment::create(&dir, &spec("ETHUSDT", 1)).unwrap();
    let btc = Segment::create(&dir, &spec("BTCUSDT", 1)).unwrap();
    std::fs::write(path.join("notes"), "not ours").unwrap();
    std::fs::write(path.join(".XRPUSDT.tmp"), "left half made").unwrap();

    let listed = EngineDir::list(path).unwrap();
    let names: Vec<_> = listed.iter().map(|info| info.symbol.as_str()).collect();
    assert_eq!(names, ["BTCUSDT", "ETHUSDT", "notes"]);
    assert_eq!(listed[0].state.as_ref().unwrap().liveness, Liveness::Alive);
    assert!(listed[0].size_bytes >= eth.size_bytes() as u64);
    assert!(matches!(listed[2].state, Err(FrameError::Foreign { .. })));
    let error = EngineDir::gc(path).unwrap_err();
    assert!(
        matches!(error, FrameError::Locked { pid: Some(pid), .. } if pid == std::process::id()),
        "{error}"
    );

    let reader = Reader::open(path, "ETHUSDT").unwrap();
    std::mem::drop((eth, btc, dir));
    let mut removed = EngineDir::gc(path).unwrap();
    removed.sort();
    let wanted = ["BTCUSDT", "BTCUSDT.bell", "ETHUSDT", "ETHUSDT.bell"].map(|name| path.join(name));
    assert_eq!(removed, wanted);
    let mut left: Vec<_> =
        std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["engine.lock", "models", "notes", "subscribers"]);
    assert_eq!(reader.liveness(), Liveness::Retired);
    assert!(EngineDir::gc(path).unwrap().is_empty());
}

#[test]
fn writers_and_views_may_change_threads() {
    fn send<T: Send>() {}
    fn share<T: Send + Sync>() {}
    send::<Segment>();
    send::<Reader>();
    share::<cobring_frame::WindowView>();
    share::<cobring_frame::Retire>();
    share::<FrameError>();
}
