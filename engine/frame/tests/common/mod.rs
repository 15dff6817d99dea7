//! What the tests of this folder share.
#![allow(clippy::unwrap_used, dead_code, reason = "test code, of which no file uses all")]

pub(crate) mod models;
pub(crate) mod process;

use std::time::Duration;

use cobring_frame::{SegmentSpec, WindowSpec};

pub(crate) const FRAME_WORDS: usize = 96;
pub(crate) const ROW_WORDS: usize = 24;

pub(crate) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()
}

/// Looks until it is so, or panics.
pub(crate) fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = now_ns() + u64::try_from(limit.as_nanos()).unwrap();
    while !condition() {
        assert!(now_ns() < deadline, "waited {limit:?} in vain until {what}");
        std::thread::yield_now();
    }
}

pub(crate) fn window(name: &str, row_words: usize, capacity: u64) -> WindowSpec {
    WindowSpec {
        name: name.to_owned(),
        row_size_bytes: row_words * 8,
        rows_promised: (capacity / 2).max(1),
        capacity,
    }
}

pub(crate) fn spec(symbol: &str, epoch: u64) -> SegmentSpec {
    SegmentSpec {
        symbol: symbol.to_owned(),
        epoch,
        schema: r#"{"frame":[]}"#.to_owned(),
        schema_id: 42,
        frame_size_bytes: FRAME_WORDS * 8,
        slot_count: 64,
        windows: vec![window("candles.1s", ROW_WORDS, 100), window("ticks", 3, 10)],
    }
}

/// A payload that shows a single foreign word.
pub(crate) fn fill(words: &mut [u64], number: u64) {
    for (index, word) in words.iter_mut().enumerate() {
        *word = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(7) ^ index as u64;
    }
}

pub(crate) fn assert_filled(words: &[u64], number: u64) {
    let mut wanted = vec![0; words.len()];
    fill(&mut wanted, number);
    assert_eq!(words, wanted, "payload {number}");
}

pub(crate) fn filled<const N: usize>(number: u64) -> [u64; N] {
    let mut words = [0; N];
    fill(&mut words, number);
    words
}
