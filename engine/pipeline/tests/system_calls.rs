//! From bytes to published frame no system call is made once warm, but the wake of a reader that sleeps: fused, over the
//! messages that allocations are counted with, into segments that other processes may open.
//!
//! What a live run has before this, sockets and their poll, is in `system_calls` of the end-to-end tests.
#![allow(clippy::unwrap_used, reason = "test code")]

mod fold_support;
// The end-to-end tests watch a whole run by the same means.
#[path = "../../../tests/src/system_calls.rs"]
#[allow(unreachable_pub, reason = "public there")]
mod system_calls;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use cobring_frame::{EngineDir, Reader};
use cobring_pipeline::config::Config;
use cobring_pipeline::stages::Layout;
use fold_support::{COUNTED, Engine, WARM_UP, fold_in, stream};
use system_calls::{Call, Watch, can_watch, watched};

/// What a thread calls between its two marks.
fn calls_of(work: impl FnOnce(&Watch) + Send) -> Vec<Call> {
    let mut calls = Vec::new();
    watched(work, |call| calls.push(*call));
    let marks: Vec<usize> =
        (0..calls.len()).filter(|&at| calls[at].number == libc::SYS_getppid).collect();
    assert_eq!(marks.len(), 2, "the marks were not seen: {calls:?}");
    calls[marks[0] + 1..marks[1]].to_vec()
}

/// A call that nothing here makes: where counting begins and ends, and the proof that calls are seen.
fn mark() {
    let _ = rustix::process::getppid();
}

/// Sets it even where an assert fails, so that no thread stays.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Folds a warm-up and then what is counted; `half_way` comes in the middle of that.
fn calls_of_a_fold(is_read: bool, half_way: fn()) -> Vec<Call> {
    let symbols = Config::built_in().symbol_configs();
    let messages = stream(&symbols);
    let temp = tempfile::tempdir().unwrap();
    let dir = EngineDir::lock(temp.path()).unwrap();
    let is_over = AtomicBool::new(false);
    calls_of(|watch| {
        let folds = symbols.iter().map(|config| fold_in(&dir, config, false)).collect();
        let mut engine = Engine::new(Layout::Fused, &dir, &symbols, folds);
        let (warm_up, counted) = messages.split_at(WARM_UP);
        let (first, second) = counted.split_at(COUNTED / 2);
        engine.feed(warm_up, 0);
        thread::scope(|scope| {
            let _over = SetAtEnd(&is_over);
            if is_read {
                let symbol = symbols[0].instrument.symbol.to_string();
                let (path, is_over) = (temp.path(), &is_over);
                let mut reader = Reader::open(path, &symbol).unwrap();
                scope.spawn(move || read(&mut reader, is_over));
                wait_for_sleep(path, &symbol);
            }
            watch.begin();
            mark();
            engine.feed(first, WARM_UP as u64);
            half_way();
            engine.feed(second, (WARM_UP + COUNTED / 2) as u64);
            mark();
        });
        for summary in engine.finish(&symbols, temp.path()).summary() {
            assert!(summary.frames > 50_000, "{}", summary.frames);
            assert_eq!((summary.counters.gaps, summary.counters.syncs), (1, 2));
        }
    })
}

/// A reader that sleeps whenever it has the newest frame.
fn read(reader: &mut Reader, is_over: &AtomicBool) {
    let mut words = vec![0; reader.frame_size_bytes() / 8];
    while !is_over.load(Ordering::Relaxed) {
        if reader.wait(Duration::from_millis(50)).unwrap() {
            reader.latest(&mut words).unwrap();
        }
    }
}

/// Until a reader has marked the bell: it stays so until the next frame.
fn wait_for_sleep(dir: &Path, symbol: &str) {
    let bell = dir.join(format!("{symbol}.bell"));
    while std::fs::read(&bell).unwrap()[0] == 0 {
        thread::yield_now();
    }
}

#[test]
fn bytes_become_frames_without_a_system_call() {
    if !can_watch() {
        return;
    }
    assert_eq!(calls_of_a_fold(false, || ()), []);
}

#[test]
fn a_reader_that_sleeps_costs_its_wake_alone() {
    if !can_watch() {
        return;
    }
    let calls = calls_of_a_fold(true, || ());
    let wake = u64::try_from(libc::FUTEX_WAKE).unwrap();
    let is_wake = |call: &Call| (call.number, call.args[1]) == (libc::SYS_futex, wake);
    assert_eq!(calls.iter().find(|call| !is_wake(call)), None);
    assert!((1..COUNTED).contains(&calls.len()), "{}", calls.len());
}

#[test]
fn one_system_call_among_all_messages_is_found() {
    if !can_watch() {
        return;
    }
    let calls = calls_of_a_fold(false, || {
        let _ = rustix::process::getuid();
    });
    assert_eq!(calls.iter().map(|call| call.number).collect::<Vec<_>>(), [libc::SYS_getuid]);
}
