//! The example, compiled by `cc` with all warnings, on a segment that this test writes: it prints the same frame as the
//! Rust reader, and says what is wrong where something is.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cobring_frame::{
    CandleRow, EngineDir, FrameImage, FrameLayout, Schema, Segment, SegmentSpec, WindowRows,
    Windows,
};
use serde_json::Value;

/// A segment with a frame of many values and three bars.
struct Written {
    dir: tempfile::TempDir,
    segment_dir: Option<EngineDir>,
    schema: Schema,
    image: FrameImage,
    segment: Option<(cobring_frame::FrameRing, Windows)>,
}

fn write(radius: usize) -> Written {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let layout = FrameLayout::new(radius, 0).unwrap();
    let rows = WindowRows { candles: 4, ticks: 8 };
    let schema = layout.schema(rows, &[]);
    let spec = SegmentSpec {
        symbol: "ETHUSDT".to_owned(),
        epoch: 7,
        schema: schema.to_json(),
        schema_id: schema.id(),
        frame_size_bytes: layout.size_bytes(),
        slot_count: 8,
        windows: schema.window_specs(),
    };
    let engine = EngineDir::lock(dir.path()).unwrap();
    let Segment { mut ring, windows, .. } = Segment::create(&engine, &spec).unwrap();
    let mut windows = Windows::new(windows);
    for close in [1.5, 2.5, 3.5] {
        windows.candles[0].append(&CandleRow { close, ..CandleRow::NONE });
    }
    let mut image = FrameImage::new(layout);
    let head = image.head_mut();
    head.identity.symbol[..7].copy_from_slice(b"ETHUSDT");
    head.identity.trigger = 2;
    head.quality.score = 0.5;
    head.quality.coverage = 0.5;
    head.quality.reasons = 0b1000_0010;
    head.top.bid_px = 2683.8;
    head.top.ask_px = 2683.81;
    head.top.spread = f64::NAN;
    head.top.micro_px = 1e-9;
    head.book.ask_known_to = f64::INFINITY;
    head.book.bids = [[f64::NAN; 2]; 10];
    head.book.bids[0] = [2683.8, 3.0292];
    head.book.asks = [[f64::NAN; 2]; 10];
    head.flow.ofi = [-0.125, 1e21, 1.0 / 3.0, f64::NAN];
    head.cob.centre_bucket = -3;
    head.cursors = windows.cursors();
    image.arrays_mut().valid[0] = 0b110;
    ring.publish(image.words());
    Written { dir, segment_dir: Some(engine), schema, image, segment: Some((ring, windows)) }
}

/// The example, built once for each test binary.
fn example() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let library = [&deps, deps.parent().unwrap()].map(|dir| dir.join("libcobring_c.a"));
    let library = library.iter().find(|path| path.exists()).unwrap();
    let built = tempfile::Builder::new().prefix("cobring-example-").tempdir().unwrap().keep();
    let binary = built.join("example");
    let compiled = Command::new("cc")
        .args([
            "-std=c11",
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
            "-Wno-format-security",
            "-O1",
        ])
        .arg("-I")
        .arg(root.join("include"))
        .arg(root.join("example.c"))
        .arg(library)
        .args(["-lpthread", "-ldl", "-lm", "-o"])
        .arg(&binary)
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    binary
}

fn run(binary: &Path, dir: &Path, symbol: &str) -> Output {
    Command::new(binary).arg(dir).arg(symbol).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_example_prints_the_frame_that_rust_prints() {
    let binary = example();
    for (radius, shipped) in [(20, true), (3, false)] {
        let written = write(radius);
        let printed = run(&binary, written.dir.path(), "ETHUSDT");
        let (stdout, stderr) = (text(&printed.stdout), text(&printed.stderr));
        assert!(printed.status.success(), "{stderr}");
        let found: Value = serde_json::from_str(&stdout).unwrap();
        let wanted = written.schema.frame_to_json(written.image.words());
        assert_eq!(found, wanted);
        // Blocks stand in the same order too.
        assert_eq!(found.to_string(), wanted.to_string());
        assert!(stderr.contains("quality.coverage: found 0.500"), "{stderr}");
        assert!(stderr.contains("mean close of 3 bars: 2.5"), "{stderr}");
        assert_eq!(stderr.contains("as shipped: bid 2683.8, ask 2683.81"), shipped, "{stderr}");
    }
    std::fs::remove_dir_all(binary.parent().unwrap()).unwrap();
}

#[test]
fn what_is_wrong_is_one_sentence() {
    let binary = example();
    let mut written = write(1);
    let none = run(&binary, written.dir.path(), "BTCUSDT");
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none.stderr).contains("has no segment BTCUSDT, it has ETHUSDT"));
    // The engine ends: its last frame is still printed, with a word about that.
    written.segment = None;
    written.segment_dir = None;
    let ended = run(&binary, written.dir.path(), "ETHUSDT");
    assert!(ended.status.success());
    assert!(text(&ended.stderr).contains("is not alive: Retired"), "{}", text(&ended.stderr));
    std::fs::remove_dir_all(binary.parent().unwrap()).unwrap();
}
