//! Outputs of models: what is taken, what is refused and counted, and what a hostile file can do: nothing.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use cobring_frame::{FrameError, ModelCounters, ModelPoller, ModelWatch, ModelWriter, Written};
use cobring_types::{ModelOutput, Nanos};
use common::models::{EPOCH, Engine, MS, PUBLISHED_AT, RULES, answer, by, engine_in, write_raw};
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestCaseError, TestRunner};

#[test]
fn an_output_comes_out_as_it_went_in() {
    let mut engine = Engine::new(10);
    let mut writer = engine.writer();
    assert_eq!((writer.epoch(), writer.shape()), (EPOCH, RULES.shape));
    let said = answer(9).with_value(1.5).with_action(-2).with_horizon(Nanos(7));
    let said = said.with_state(&[0.5; 32]).unwrap();
    assert_eq!(writer.publish(&said).unwrap(), 0);
    let heard = *engine.poller.poll(Nanos(20 * MS)).unwrap();
    assert_eq!((heard.answers_seq, heard.answers_input_seq), (9, 90));
    assert_eq!((heard.outputs(), heard.state()), (&[0.25, 0.75][..], &[0.5; 32][..]));
    assert_eq!((heard.value(), heard.confidence(), heard.action()), (Some(1.5), None, Some(-2)));
    assert_eq!((heard.horizon, heard.pid), (Nanos(7), std::process::id()));
    assert!(heard.ts_model.is_defined());
    assert!(engine.poller.poll(Nanos(20 * MS)).is_none());
    assert_eq!(engine.counted(), [("accepted_total", 1), ("processes_total", 1)]);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(engine.poller.path()), 0o660);
    assert_eq!(mode(&engine.temp.path().join("models")), 0o750);
    assert_eq!(mode(&engine.temp.path().join("subscribers")), 0o1770);
}

/// One output of a foreign program, polled at 600 ms: frames 0 to 999 are there.
fn check_refused(output: &ModelOutput, counter: &str) {
    let mut engine = Engine::new(1_000);
    write_raw(&engine.file(), 0, output);
    assert_eq!(engine.take(600), [0; 0], "{counter}");
    assert_eq!(engine.counted(), [(counter, 1), ("processes_total", 1)]);
    // The next one is none the worse for it.
    write_raw(&engine.file(), 1, &answer(599));
    assert_eq!(engine.take(600), [599]);
}

#[test]
fn each_fault_has_its_counter() {
    let good = by(1, answer(500));
    let changed = |change: fn(&mut ModelOutput)| {
        let mut output = good;
        change(&mut output);
        output
    };
    let outputs = |outputs: &[f32]| good.with_outputs(outputs).unwrap();
    check_refused(&outputs(&[f32::NAN, 1.0]), "not_finite_total");
    check_refused(&good.with_value(f64::NEG_INFINITY), "not_finite_total");
    check_refused(&good.with_state(&[f32::NAN]).unwrap(), "not_finite_total");
    check_refused(&outputs(&[1.0]), "wrong_size_total");
    check_refused(&outputs(&[0.5, 0.25, 0.25]), "wrong_size_total");
    let mut counts = good;
    bytemuck::bytes_of_mut(&mut counts)[70] = 255; // number of outputs
    check_refused(&counts, "wrong_size_total");
    check_refused(&outputs(&[0.5, 0.6]), "wrong_sum_total");
    check_refused(&changed(|output| output.epoch -= 1), "unknown_frame_total");
    check_refused(&changed(|output| output.answers_seq = 1_000), "unknown_frame_total");
    check_refused(&changed(|output| output.answers_seq = u64::MAX), "unknown_frame_total");
    check_refused(&changed(|output| output.answers_input_seq += 1), "unknown_frame_total");
    check_refused(&by(1, answer(99)), "too_old_total");
}

#[test]
fn a_frame_that_has_left_the_ring_is_too_old() {
    let mut engine = Engine::new(3_000);
    write_raw(&engine.file(), 0, &answer(1_900));
    assert_eq!(engine.take(1_901), [0; 0]);
    assert_eq!(engine.counted(), [("too_old_total", 1), ("processes_total", 0)][..1]);
}

#[test]
fn a_frame_is_answered_once_and_none_before_it() {
    let mut engine = Engine::new(100);
    let mut writer = engine.writer();
    for seq in [10, 10, 9, 11, 50, 49, 50, 51] {
        writer.publish(&answer(seq)).unwrap();
    }
    assert_eq!(engine.take(100), [10, 11, 50, 51]);
    assert_eq!(engine.poller.counters().repeated, 4);
}

#[test]
fn the_writer_refuses_what_the_engine_would() {
    let engine = Engine::new(1);
    let mut writer = engine.writer();
    let refused = |output: &ModelOutput, writer: &mut ModelWriter| {
        let error = writer.publish(output).unwrap_err().to_string();
        error.replace(&engine.temp.path().display().to_string(), "DIR")
    };
    assert_eq!(
        refused(&answer(0).with_value(f64::NAN), &mut writer),
        "DIR/models/ETHUSDT.cnn: the output is refused: value[0] = NaN: must be finite"
    );
    assert_eq!(
        refused(&answer(0).with_outputs(&[1.0]).unwrap(), &mut writer),
        "DIR/models/ETHUSDT.cnn: the output is refused: 1 outputs were given, wanted 2"
    );
    assert_eq!(writer.published(), 0);
}

#[test]
fn models_that_cannot_be_are_refused_by_name() {
    let engine = Engine::new(1);
    let dir = engine.temp.path();
    let refusal = |symbol: &str, model: &str| {
        let error = ModelWriter::open(dir, symbol, model).unwrap_err().to_string();
        error.replace(&dir.display().to_string(), "DIR")
    };
    assert_eq!(
        refusal("ETHUSDT", "policy"),
        "DIR takes no outputs of model policy for ETHUSDT, it takes those of cnn; add a \
         table [models.policy] to its configuration"
    );
    assert_eq!(
        refusal("ETHUSDT", "a/b"),
        "\"a/b\" is no name for a model: must have 1 to 32 of A-Z a-z 0-9 _ -"
    );
    let writer = engine.writer();
    assert_eq!(
        refusal("ETHUSDT", "cnn"),
        format!(
            "DIR/models/ETHUSDT.cnn: process {} publishes as this model already; stop it, or publish \
             under another name",
            std::process::id()
        )
    );
    drop(writer);
    drop(engine.writer());
    engine.file().write_all_at(b"rubbish!", 0).unwrap();
    assert!(refusal("ETHUSDT", "cnn").contains("is no cobring segment"), "foreign");
}

#[test]
fn a_flood_takes_its_share_and_the_newest_wins() {
    let mut engine = Engine::new(1);
    let mut writer = engine.writer();
    let (mut taken, mut published) = (Vec::new(), 0);
    // 10 outputs a millisecond, one new frame each, for 3 s.
    for ms in 0..3_000 {
        for _ in 0..10 {
            engine.publish_at(ms);
            let seq = engine.frames - 1;
            writer.publish(&answer(seq)).unwrap();
            published += 1;
        }
        while let Some(output) = engine.poller.poll(Nanos(ms * MS)) {
            taken.push((ms, output.answers_seq));
        }
    }
    for window in taken.windows(11) {
        assert!(window[10].0 - window[0].0 >= 1_000, "more than 10 in a second: {window:?}");
    }
    assert!(taken.len() >= 20, "{}", taken.len());
    // What was taken after the first ten was the newest there was: at 1,000 ms frame 10,000 or later.
    assert!(taken[10].0 >= 1_000 && taken[10].1 >= 9_980, "{:?}", taken[10]);
    let counters = engine.poller.counters();
    let waiting = published - counters.accepted - counters.refused() - counters.lapped;
    assert!(waiting <= 1, "{published} published: {counters:?}");
    assert_eq!(counters.accepted, taken.len() as u64);
}

#[test]
fn outputs_that_nobody_took_are_counted() {
    let mut engine = Engine::new(1_000);
    let mut writer = engine.writer();
    for seq in 500..700 {
        writer.publish(&answer(seq)).unwrap();
    }
    // Of 200 the last 63 are there for sure; 10 fit into the second.
    let taken = engine.take(700);
    assert_eq!(taken, (637..647).collect::<Vec<_>>());
    let counters = engine.poller.counters();
    assert_eq!((counters.lapped, counters.over_rate), (137, 52));
    // The newest waits until there is room: the tenth of 700 ms is a second old at 1,700 ms.
    engine.publish(700);
    writer.publish(&answer(1_650)).unwrap();
    assert_eq!(engine.take(1_699), [0; 0]);
    assert_eq!(engine.take(1_700), [1_650]);
    assert_eq!(engine.poller.counters().over_rate, 53);
}

#[test]
fn a_cut_file_is_repaired_and_counted() {
    for size in [0, 100, 5_000, 28_671] {
        let mut engine = Engine::new(100);
        let mut writer = engine.writer();
        writer.publish(&answer(10)).unwrap();
        assert_eq!(engine.take(100), [10]);
        engine.file().set_len(size).unwrap();
        let error = writer.publish(&answer(11)).unwrap_err();
        assert!(matches!(error, FrameError::Truncated { found, .. } if found == size), "{error}");
        assert_eq!(engine.take(1_200), [0; 0]);
        assert_eq!(engine.poller.counters().truncated, 1, "cut to {size}");
        // Both go on.
        engine.publish(1_100);
        writer.publish(&answer(1_150)).unwrap();
        assert_eq!(engine.take(1_201), [1_150]);
        drop(writer);
        drop(engine.writer());
    }
}

#[test]
fn a_second_writer_that_ignores_the_lock_harms_nobody() {
    let mut engine = Engine::new(200);
    let mut writer = engine.writer();
    let foreign = |number, seq, engine: &Engine| {
        write_raw(&engine.file(), number, &by(7, answer(seq)));
    };
    for seq in 100..104 {
        writer.publish(&answer(seq)).unwrap();
    }
    foreign(0, 104, &engine); // The count goes back from 4 to 1.
    let first = engine.take(200);
    foreign(1, 105, &engine);
    let mut taken = [first, engine.take(200)].concat();
    writer.publish(&answer(106)).unwrap();
    taken.extend(engine.take(200));
    assert!(taken.is_sorted() && taken.contains(&106), "{taken:?}");
    let counters = engine.poller.counters();
    assert!(counters.processes >= 2, "{counters:?}");
    assert_eq!(counters.accepted, taken.len() as u64);
}

#[test]
fn a_new_engine_is_followed() {
    let engine = Engine::new(10);
    let mut writer = engine.writer();
    writer.publish(&answer(9)).unwrap();
    let Engine { temp, dir, segment, poller, .. } = engine;
    drop((dir, segment, poller));
    let gone = writer.publish(&answer(9)).unwrap_err();
    assert!(matches!(gone, FrameError::WriterGone { .. }), "{gone}");
    let gone = ModelWriter::open(temp.path(), "ETHUSDT", "cnn").unwrap_err();
    assert!(matches!(gone, FrameError::WriterGone { .. }), "{gone}");
    let mut engine = engine_in(temp, EPOCH + 1);
    engine.publish(10);
    let changed = writer.publish(&answer(9)).unwrap_err();
    assert!(changed.is_epoch_change(), "{changed}");
    assert_eq!(writer.epoch(), EPOCH + 1);
    // An answer to the old engine's frame is none to the new one's.
    writer.publish(&answer(9)).unwrap();
    let mut again = answer(9);
    again.epoch = EPOCH + 1;
    writer.publish(&again).unwrap();
    assert_eq!(engine.take(10), [9]);
    assert_eq!(engine.poller.counters().unknown_frame, 1);
}

#[test]
fn a_model_that_falls_silent_is_counted_once_each_time() {
    let mut engine = Engine::new(1);
    assert_eq!(engine.take(0), [0; 0]);
    let mut writer = engine.writer();
    for ms in (0..10_000).step_by(100) {
        assert_eq!(engine.take(ms), [0; 0]);
    }
    assert_eq!(engine.poller.counters().stalled, 1);
    engine.publish(10_000);
    writer.publish(&answer(9_999)).unwrap();
    assert_eq!(engine.take(10_000), [9_999]);
    for ms in (10_000..14_000).step_by(100) {
        assert_eq!(engine.take(ms), [0; 0]);
    }
    assert_eq!(engine.poller.counters().stalled, 2);
    drop(writer);
    for ms in (14_000..20_000).step_by(100) {
        assert_eq!(engine.take(ms), [0; 0]);
    }
    assert_eq!(engine.poller.counters().stalled, 2, "who is not there is not stalled");
}

#[test]
fn a_write_is_told_of() {
    let engine = Engine::new(10);
    let mut pollers = vec![
        ModelPoller::create(&engine.dir, "other", RULES, engine.segment.reader()).unwrap(),
        engine.poller,
    ];
    let mut watch = ModelWatch::new(&pollers).unwrap();
    let told = |watch: &mut ModelWatch| {
        let mut told = Vec::new();
        assert!(!watch.take(|written| told.push(written)));
        told.dedup();
        told
    };
    assert_eq!(told(&mut watch), []);
    let mut writer = ModelWriter::open(engine.temp.path(), "ETHUSDT", "cnn").unwrap();
    writer.publish(&answer(9)).unwrap();
    assert_eq!(told(&mut watch), [Written::One(1)]);
    assert!(pollers[1].poll(Nanos(10 * MS)).is_some());
    assert_eq!(told(&mut watch), []);
}

#[test]
fn a_model_that_begins_anew_where_the_count_was_is_heard() {
    let mut engine = Engine::new(10);
    let mut writer = engine.writer();
    for back in [3, 2] {
        writer.publish(&answer(engine.frames - back)).unwrap();
    }
    drop(writer);
    assert_eq!(engine.take(20), [7, 8]);
    // A count that no model reaches, which the next model does not go on behind.
    engine.file().write_all_at(&((1u64 << 48) + 1).to_le_bytes(), PUBLISHED_AT).unwrap();
    assert_eq!(engine.take(500), [0; 0]);
    // A frame each millisecond, so that the newest is not too old.
    engine.publish(5_001 - engine.frames);
    let seq = engine.frames - 1;
    let mut honest = engine.writer();
    for back in [1, 0] {
        honest.publish(&answer(seq - back)).unwrap();
    }
    // As many as there were before.
    assert_eq!(engine.take(5_000), [seq]);
}

/// What a hostile process does to its file.
#[derive(Debug, Clone)]
enum Deed {
    Frames(u64),
    Answer { back: u64 },
    Raw { number: u64, back: u64 },
    Word { at: u64, word: u64 },
    Cut { size: u64 },
    Pass { ms: i64 },
}

#[test]
fn nothing_that_is_done_to_the_file_gets_a_bad_output_through() {
    let word = prop_oneof![any::<u64>(), 0u64..300, (0u64..64).prop_map(|shift| 1 << shift)];
    let at =
        prop_oneof![proptest::strategy::Just(PUBLISHED_AT), (0u64..4_096).prop_map(|at| at * 8)];
    let deed = prop_oneof![
        (1u64..50).prop_map(Deed::Frames),
        (0u64..4).prop_map(|back| Deed::Answer { back }),
        (0u64..4).prop_map(|back| Deed::Answer { back }),
        (0u64..100, 0u64..4).prop_map(|(number, back)| Deed::Raw { number, back }),
        (at, word).prop_map(|(at, word)| Deed::Word { at, word }),
        (0u64..40_000).prop_map(|size| Deed::Cut { size }),
        (0i64..400).prop_map(|ms| Deed::Pass { ms }),
    ];
    let deeds = proptest::collection::vec(deed, 1..80);
    let config = Config { failure_persistence: None, cases: 150, ..Config::default() };
    TestRunner::new(config)
        .run(&deeds, |deeds| {
            let mut engine = Engine::new(10);
            let mut writer = engine.writer();
            let mut ms = 10;
            let mut taken: Vec<(i64, u64)> = Vec::new();
            for deed in &deeds {
                let newest = engine.frames - 1;
                match *deed {
                    Deed::Frames(frames) => engine.publish(frames),
                    // Whether it goes through or not: the file may be beyond repair until the next poll.
                    Deed::Answer { back } => {
                        drop(writer.publish(&answer(newest.saturating_sub(back))))
                    }
                    Deed::Raw { number, back } => {
                        let seq = newest.saturating_sub(back);
                        write_raw(&engine.file(), number, &answer(seq));
                    }
                    Deed::Word { at, word } => {
                        engine.file().write_all_at(&word.to_le_bytes(), at).unwrap();
                    }
                    Deed::Cut { size } => engine.file().set_len(size).unwrap(),
                    Deed::Pass { ms: pass } => ms += pass,
                }
                while let Some(output) = engine.poller.poll(Nanos(ms * MS)) {
                    output.check_shape(RULES.shape).unwrap();
                    assert_eq!(output.answers_input_seq, output.answers_seq * 10);
                    taken.push((ms, output.answers_seq));
                }
            }
            for window in taken.windows(2) {
                assert!(window[0].1 < window[1].1, "{taken:?}");
            }
            for window in taken.windows(11) {
                assert!(window[10].0 - window[0].0 >= 1_000, "{taken:?}");
            }
            let counters: ModelCounters = engine.poller.counters();
            assert_eq!(counters.accepted, taken.len() as u64);
            // An honest model that comes after it is heard.
            drop(writer);
            ms += 5_000;
            assert_eq!(engine.take(ms), [0; 0]);
            engine.publish(1 + u64::try_from(ms).unwrap().saturating_sub(engine.frames));
            let seq = engine.frames - 1;
            engine.take(ms);
            if let Ok(mut honest) = ModelWriter::open(engine.temp.path(), "ETHUSDT", "cnn") {
                for _ in 0..2 {
                    honest.publish(&answer(seq)).unwrap();
                }
                assert_eq!(engine.take(ms), [seq]);
            }
            Ok::<_, TestCaseError>(())
        })
        .unwrap();
}
