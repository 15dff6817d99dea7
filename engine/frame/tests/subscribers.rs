//! Readers with a name: what is listed of them, and what is left when they are gone.
//! This program starts itself: `child` is the child's entry, and does nothing in an ordinary run.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::path::Path;
use std::time::Duration;

use cobring_frame::{
    EngineDir, FrameError, Next, Reader, Segment, SubscriberInfo, sweep_subscribers,
};
use common::process::{Role, hear_parent, role, say};
use common::{FRAME_WORDS, filled, spec, wait_until};

#[test]
fn child() {
    let Some((role, dir)) = role() else { return };
    assert_eq!(role, "read");
    let mut reader = Reader::open_named(&dir, "ETHUSDT", "cnn-1").unwrap();
    reader.latest(&mut [0; FRAME_WORDS]).unwrap();
    say("reading");
    hear_parent();
}

fn engine(dir: &Path, epoch: u64, frames: u64) -> (EngineDir, Segment) {
    let dir = EngineDir::lock(dir).unwrap();
    let mut segment = Segment::create(&dir, &spec("ETHUSDT", epoch)).unwrap();
    publish(&mut segment, frames);
    (dir, segment)
}

fn publish(segment: &mut Segment, frames: u64) {
    for n in 0..frames {
        segment.ring.publish(&filled::<FRAME_WORDS>(n));
    }
}

fn list(dir: &Path) -> Vec<(String, Option<u64>, u64, u64, bool)> {
    let subscribers = SubscriberInfo::list(dir).unwrap();
    let row = |one: SubscriberInfo| {
        assert_eq!((one.symbol.as_str(), one.opened_ns > 0), ("ETHUSDT", true));
        (one.name, one.last_seq, one.lapped, one.refused, one.alive)
    };
    subscribers.into_iter().map(row).collect()
}

fn row(
    name: &str,
    last_seq: Option<u64>,
    lapped: u64,
    refused: u64,
) -> (String, Option<u64>, u64, u64, bool) {
    (name.to_owned(), last_seq, lapped, refused, true)
}

#[test]
fn a_reader_with_a_name_says_what_it_reads_misses_and_refuses() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let (_lock, mut segment) = engine(dir, 1, 0);
    let mut out = [0; FRAME_WORDS];
    let _anonymous = Reader::open(dir, "ETHUSDT").unwrap();
    assert_eq!(list(dir), []);
    let mut cnn = Reader::open_named(dir, "ETHUSDT", "cnn").unwrap();
    assert_eq!(cnn.latest(&mut out).unwrap(), None);
    assert_eq!(list(dir), [row("cnn", None, 0, 0)]);
    publish(&mut segment, 200);
    // 64 slots, one of which may be in writing.
    let Next::Lapped { lost } = cnn.next(&mut out).unwrap() else { panic!("it was lapped") };
    assert_eq!(list(dir), [row("cnn", None, lost, 0)]);
    assert_eq!(cnn.next(&mut out).unwrap(), Next::Frame { seq: lost });
    assert_eq!(list(dir), [row("cnn", Some(lost), lost, 0)]);
    cnn.latest(&mut out).unwrap();
    cnn.count_refused(1);
    cnn.count_refused(2);
    // A twin has no name of its own: what it reads is told to its reader.
    let twin = cnn.twin();
    twin.count_refused(1);
    cnn.count_read(199, 5);
    let second = Reader::open_named(dir, "ETHUSDT", "cnn").unwrap();
    assert_eq!(list(dir), [row("cnn", Some(199), lost + 5, 3), row("cnn", None, 0, 0)]);
    drop((cnn, twin, second));
    assert_eq!(list(dir), []);
    let error = Reader::open_named(dir, "ETHUSDT", "c.n").unwrap_err();
    assert!(matches!(error, FrameError::BadOwnName { what: "subscriber", .. }), "{error}");
}

#[test]
fn a_subscriber_follows_a_new_engine() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let first = engine(dir, 1, 3);
    let mut reader = Reader::open_named(dir, "ETHUSDT", "cnn").unwrap();
    let mut out = [0; FRAME_WORDS];
    reader.latest(&mut out).unwrap();
    drop(first);
    // A start sweeps, and leaves who lives.
    let _second = engine(dir, 2, 1);
    wait_until("it follows", Duration::from_secs(10), || reader.follow().unwrap());
    let subscribers = SubscriberInfo::list(dir).unwrap();
    assert_eq!((subscribers[0].epoch, subscribers[0].last_seq), (2, None));
    reader.latest(&mut out).unwrap();
    assert_eq!(list(dir), [row("cnn", Some(0), 0, 0)]);
}

/// Leaves the file of a killed process behind, then lets `sweep` do its work.
fn check_swept(sweep: impl FnOnce(&Path, (EngineDir, Segment)) -> usize, wanted_left: usize) {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let engine = engine(dir, 1, 5);
    let mut child = Role::start("read", dir);
    assert_eq!(child.hear(), "reading");
    let pid = child.pid();
    assert_eq!(list(dir), [row("cnn-1", Some(4), 0, 0)]);
    assert_eq!(sweep_subscribers(dir).unwrap().len(), 0, "it lives");
    child.kill();
    wait_until("it is listed as gone", Duration::from_secs(10), || {
        let subscribers = SubscriberInfo::list(dir).unwrap();
        subscribers.len() == 1 && subscribers[0].pid == pid && !subscribers[0].alive
    });
    let removed = sweep(dir, engine);
    assert_eq!((removed, list(dir).len()), (1, wanted_left));
}

#[test]
fn who_is_gone_is_swept_by_all_who_come() {
    check_swept(|dir, _engine| sweep_subscribers(dir).unwrap().len(), 0);
    check_swept(
        |dir, _engine| {
            std::mem::forget(Reader::open_named(dir, "ETHUSDT", "policy").unwrap());
            1
        },
        1,
    );
    check_swept(
        |dir, engine| {
            drop(engine);
            drop(EngineDir::lock(dir).unwrap());
            1
        },
        0,
    );
    check_swept(
        |dir, engine| {
            drop(engine);
            let removed = EngineDir::gc(dir).unwrap();
            removed
                .iter()
                .filter(|path| {
                    path.ends_with("subscribers") || path.to_string_lossy().contains("cnn-1")
                })
                .count()
        },
        0,
    );
}

#[test]
fn files_that_are_no_subscribers_stay_and_are_not_listed() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let _engine = engine(dir, 1, 1);
    for (name, text) in [("notes", "x"), ("ETHUSDT.cnn.7.0", "too short"), ("ETHUSDT.b.1.0", "")] {
        std::fs::write(dir.join("subscribers").join(name), text).unwrap();
    }
    assert_eq!(list(dir), []);
    // The last two have the name of one, and nobody holds them.
    assert_eq!(sweep_subscribers(dir).unwrap().len(), 2);
    assert!(dir.join("subscribers/notes").exists());
    assert_eq!(SubscriberInfo::list(&dir.join("nowhere")).unwrap(), []);
}
