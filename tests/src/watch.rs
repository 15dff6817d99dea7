//! `cobring frame watch` as a process: a reader like any other, that keeps what it read.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::process::Process;
use crate::sim::{Sim, Truth};
use crate::{SOON, wait_until};

/// What tests look at in a frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    pub epoch: u64,
    pub seq: u64,
    /// The last input folded in.
    pub input_seq: u64,
    pub trigger: String,
    pub book_state: String,
    /// `None` without a book.
    pub update_id: Option<u64>,
    pub bids: Vec<[f64; 2]>,
    pub asks: Vec<[f64; 2]>,
    /// The quality's score and what lowers it.
    pub score: f64,
    pub reasons: Vec<String>,
}

impl Frame {
    /// Of a line of JSON, as `frame watch` and `replay` print it.
    #[must_use]
    pub fn parse(line: &str) -> Self {
        let frame: Value = serde_json::from_str(line).expect("a frame is a line of JSON");
        let count = |key: &str| frame[key].as_u64().unwrap_or_else(|| panic!("{key}: {line}"));
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let book = &frame["book"];
        let reasons = frame["quality"]["reasons"].as_array().into_iter().flatten();
        // A level that is not there is [null, null].
        let levels = |side: &Value| {
            let levels = side.as_array().into_iter().flatten();
            levels.filter_map(|level| Some([level[0].as_f64()?, level[1].as_f64()?])).collect()
        };
        Self {
            epoch: count("epoch"),
            seq: count("seq"),
            input_seq: count("input_seq"),
            trigger: text(&frame["trigger"]),
            book_state: text(&book["book_state"]),
            update_id: book["update_id"].as_u64(),
            bids: levels(&book["bids"]),
            asks: levels(&book["asks"]),
            score: frame["quality"]["score"].as_f64().expect("a score"),
            reasons: reasons.map(text).collect(),
        }
    }

    #[must_use]
    pub fn is_live(&self) -> bool {
        self.book_state == "live"
    }
}

/// A reader of one symbol.
#[derive(Debug)]
pub struct Watch {
    pub process: Process,
    symbol: String,
    frames: Arc<Mutex<Vec<Frame>>>,
}

impl Watch {
    /// Reads every frame of a symbol; waits for an engine that is not there yet.
    #[must_use]
    pub fn start(dir: &Path, symbol: &str) -> Self {
        Self::start_with(dir, symbol, &[])
    }

    /// The same, listed by a name.
    #[must_use]
    pub fn start_named(dir: &Path, symbol: &str, name: &str) -> Self {
        Self::start_with(dir, symbol, &["--name", name])
    }

    /// The same, but only the newest frame each time: it never lags behind.
    #[must_use]
    pub fn start_latest(dir: &Path, symbol: &str, name: &str) -> Self {
        Self::start_with(dir, symbol, &["--name", name, "--latest"])
    }

    fn start_with(dir: &Path, symbol: &str, options: &[&str]) -> Self {
        let frames = Arc::new(Mutex::new(Vec::new()));
        let dir = dir.to_str().expect("paths of tests are text");
        let args = ["frame", "watch", symbol, "--jsonl", "--dir", dir];
        let process = Process::start_with(args.iter().chain(options), {
            let frames = Arc::clone(&frames);
            move |line: String| {
                let frame = Frame::parse(&line);
                frames.lock().unwrap_or_else(PoisonError::into_inner).push(frame);
            }
        });
        Self { process, symbol: symbol.to_owned(), frames }
    }

    /// Looks at all frames so far.
    pub fn look<T>(&self, look: impl FnOnce(&[Frame]) -> T) -> T {
        look(&self.frames.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many frames there are so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.look(<[Frame]>::len)
    }

    #[must_use]
    pub fn last(&self) -> Option<Frame> {
        self.look(|frames| frames.last().cloned())
    }

    /// Waits for a newest frame as wished.
    pub fn wait_last(&self, what: &str, limit: Duration, wished: impl Fn(&Frame) -> bool) {
        let what = format!("{}: {what}", self.symbol);
        wait_until(&what, limit, || self.look(|frames| frames.last().is_some_and(&wished)));
    }

    /// Waits until the book is live.
    pub fn wait_live(&self) {
        self.wait_last("live", SOON, Frame::is_live);
    }

    /// Waits for a frame that is not live behind the first `from` frames, then until the book is live again.
    pub fn wait_recovered(&self, from: usize, limit: Duration) {
        wait_until(&format!("{}: not live", self.symbol), limit, || {
            self.look(|frames| frames[from..].iter().any(|frame| !frame.is_live()))
        });
        self.wait_last("live again", limit, Frame::is_live);
    }

    /// Pauses the simulator, and waits until the frames show its whole book: the best ten of each side.
    /// It stays paused.
    pub fn assert_equals_truth(&self, sim: &Sim) -> Truth {
        loop {
            sim.pause();
            let truth = sim.truth(&self.symbol);
            self.wait_last(&format!("live at {}", truth.update_id), SOON, |frame| {
                frame.is_live() && frame.update_id >= Some(truth.update_id)
            });
            let frame = self.last().expect("it was just waited for");
            let update_id = frame.update_id.expect("a live book has one");
            if update_id == truth.update_id {
                let seen = Truth { update_id, bids: frame.bids, asks: frame.asks };
                assert_eq!(seen, truth, "{}", self.symbol);
                return truth;
            }
            // A snapshot is newer than the depth message before it: the next message brings both together.
            sim.resume();
            self.wait_last("the next depth", SOON, |frame| frame.update_id > Some(update_id));
        }
    }
}

/// Frames come in order, and none is live without a book, with a crossed one, or with one that went back.
pub fn assert_live_frames_are_proven(frames: &[Frame]) {
    let in_order = |pair: &[Frame]| (pair[0].epoch, pair[0].seq) < (pair[1].epoch, pair[1].seq);
    assert!(frames.windows(2).all(in_order), "frames out of order");
    let mut last = (0, 0);
    for frame in frames.iter().filter(|frame| frame.is_live()) {
        let update_id = frame.update_id.unwrap_or_else(|| panic!("live without an id: {frame:?}"));
        let (Some([bid, _]), Some([ask, _])) = (frame.bids.first(), frame.asks.first()) else {
            panic!("live with an empty side: {frame:?}");
        };
        assert!(bid < ask, "live and crossed: {frame:?}");
        assert!((frame.epoch, update_id) >= last, "went back from {last:?}: {frame:?}");
        last = (frame.epoch, update_id);
    }
}
