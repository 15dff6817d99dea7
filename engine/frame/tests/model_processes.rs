//! Models as real processes: floods, deaths in the middle of an output, two on one file.
//! This program starts itself: `child` is the child's entry, and does nothing in an ordinary run.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::path::Path;
use std::time::Duration;

use cobring_frame::{FrameImage, FrameLayout, ModelWriter, Reader};
use cobring_types::{ModelOutput, Nanos};
use common::models::{Engine, MS, RULES, answer, slot_at, write_word};
use common::process::{Role, hear_parent, role, say};
use common::{now_ns, wait_until};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn child() {
    let Some((role, dir)) = role() else { return };
    match role.as_str() {
        "flood" => flood(&dir),
        "die" => die(&dir),
        "open" => open(&dir),
        _ => panic!("no role {role}"),
    }
}

fn writer(dir: &Path) -> ModelWriter {
    ModelWriter::open(dir, "ETHUSDT", "cnn").unwrap()
}

/// Answers the newest frame, again and again.
fn flood(dir: &Path) {
    let mut writer = writer(dir);
    let mut frames = Reader::open(dir, "ETHUSDT").unwrap();
    let mut image = FrameImage::new(FrameLayout::new(1, 0).unwrap());
    let mut words = image.words().to_vec();
    say("ready");
    let deadline = now_ns() + 60_000_000_000;
    while now_ns() < deadline {
        let seq = frames.latest(&mut words).unwrap().unwrap();
        assert!(image.copy_from_words(&words));
        let input_seq = image.head().identity.input_seq;
        let output = ModelOutput::answering(frames.epoch(), seq, input_seq);
        writer.publish(&output.with_outputs(&[0.5, 0.5]).unwrap()).unwrap();
    }
}

/// Publishes one output, begins a second one and waits for its end.
fn die(dir: &Path) {
    let mut writer = writer(dir);
    writer.publish(&answer(9)).unwrap();
    let file = std::fs::File::options().write(true).open(writer.path()).unwrap();
    write_word(&file, slot_at(1), 3);
    say("dying");
    hear_parent();
}

fn open(dir: &Path) {
    match ModelWriter::open(dir, "ETHUSDT", "cnn") {
        Ok(_writer) => {
            say("opened");
            hear_parent();
        }
        Err(error) => say(&error.to_string()),
    }
}

#[test]
fn a_process_that_floods_gets_its_share_until_it_is_killed() {
    let mut engine = Engine::new(1);
    let mut child = Role::start("flood", engine.temp.path());
    assert_eq!(child.hear(), "ready");
    let mut taken: Vec<(i64, u64)> = Vec::new();
    // A frame each 5 ms of simulated time, as fast as the machine will.
    for ms in (0..5_000).step_by(5) {
        engine.publish_at(ms);
        while let Some(output) = engine.poller.poll(Nanos(ms * MS)) {
            taken.push((ms, output.answers_seq));
        }
        std::thread::yield_now();
    }
    let counters = engine.poller.counters();
    for window in taken.windows(RULES.rate_per_s as usize + 1) {
        let (first, last) = (window[0], window[window.len() - 1]);
        assert!(last.0 - first.0 >= 1_000 && first.1 < last.1, "{window:?}");
    }
    assert_eq!(counters.accepted, taken.len() as u64);
    assert!(counters.accepted > 0 && counters.processes == 1, "{counters:?}");
    let missed = counters.refused() + counters.lapped;
    assert!(missed > 0, "a flood has to be refused: {counters:?}");
    assert_eq!((counters.misnumbered, counters.not_finite), (0, 0), "{counters:?}");
    // Wherever it is in an output: at worst one is torn, and the next model goes on.
    child.kill();
    let mut next = engine.writer();
    let published = next.published();
    engine.take(10_000);
    engine.publish_at(10_000);
    let seq = engine.frames - 1;
    next.publish(&answer(seq)).unwrap();
    assert_eq!(engine.take(10_000), [seq]);
    let counters = engine.poller.counters();
    assert!(counters.torn <= 1 && counters.processes == 2, "{counters:?}");
    let sum = counters.accepted + counters.refused() + counters.lapped + counters.torn;
    assert_eq!(sum, published + 1, "every output is accounted for: {counters:?}");
}

#[test]
fn a_death_in_the_middle_of_an_output_is_counted_once() {
    for next_comes_first in [true, false] {
        let mut engine = Engine::new(20);
        let mut child = Role::start("die", engine.temp.path());
        assert_eq!(child.hear(), "dying");
        assert_eq!(engine.take(20), [9]);
        assert_eq!(engine.poller.counters().torn, 0, "it may still be at it");
        child.kill();
        if !next_comes_first {
            let engine = &mut engine;
            wait_until("the dead one's lock is free", LIMIT, || {
                engine.poller.poll(Nanos(i64::try_from(now_ns()).unwrap()));
                engine.poller.counters().torn == 1
            });
        }
        let mut writer = engine.writer();
        assert_eq!(writer.published(), 2, "the torn one has a number");
        writer.publish(&answer(19)).unwrap();
        assert_eq!(engine.take(21), [19]);
        let counters = engine.poller.counters();
        assert_eq!((counters.torn, counters.accepted, counters.misnumbered), (1, 2, 0));
    }
}

#[test]
fn the_second_of_two_processes_is_refused_with_the_first_ones_number() {
    let engine = Engine::new(1);
    let dir = engine.temp.path();
    let mut first = Role::start("open", dir);
    assert_eq!(first.hear(), "opened");
    let wanted = format!(
        "{}/models/ETHUSDT.cnn: process {} publishes as this model already; stop it, or publish \
         under another name",
        dir.display(),
        first.pid()
    );
    assert_eq!(Role::start("open", dir).hear(), wanted);
    first.kill();
    // The place is free as soon as the kernel has buried it.
    wait_until("the place is free", LIMIT, || ModelWriter::open(dir, "ETHUSDT", "cnn").is_ok());
}
