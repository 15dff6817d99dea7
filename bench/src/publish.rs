//! What publishing a frame costs: the same with windows of 300 and of 1,500 rows, and against a bare copy of as many
//! bytes into as many slots. Interleaved, so that a noisy host shows in both.

use std::error::Error;
use std::hint::black_box;
use std::io::{self, Write as _};
use std::process::Command;
use std::time::Instant;

use cobring_frame::{
    BAR_INTERVALS, CandleRow, EngineDir, FrameError, FrameImage, FrameLayout, Segment, SegmentSpec,
    WindowRows, Windows,
};
use cobring_pipeline::config::auto_frame_slots;
use hdrhistogram::Histogram;
use serde_json::json;

/// Rows of the candle windows that are compared.
const ROWS: [u64; 2] = [300, 1_500];
pub(crate) const SYMBOL: &str = "BENCH";
/// Frames between two looks at the clock: one alone is shorter than the clock's own cost.
const BATCH: u32 = 64;
const BATCHES: u32 = 20_000;
/// Frames whose instructions are counted.
const COUNTED: u64 = 1_000;

/// A ring with full candle windows, and the frame that it publishes.
pub(crate) struct Stand {
    ring: cobring_frame::FrameRing,
    windows: Windows,
    image: FrameImage,
    /// As large as the ring's slots together: a copy into one place would stay in the nearest cache.
    bare: Box<[u64]>,
    next_bare: usize,
}

impl Stand {
    fn new(rows: u64) -> Result<Self, Box<dyn Error>> {
        Self::of(rows, Segment::private)
    }

    /// The same in shared memory, for other processes to read.
    pub(crate) fn in_directory(rows: u64, dir: &EngineDir) -> Result<Self, Box<dyn Error>> {
        Self::of(rows, |spec| Segment::create(dir, spec))
    }

    fn of(
        rows: u64,
        segment: impl FnOnce(&SegmentSpec) -> Result<Segment, FrameError>,
    ) -> Result<Self, Box<dyn Error>> {
        let layout =
            FrameLayout::new(20, 0).map_err(|bytes| format!("a frame of {bytes} bytes"))?;
        let schema = layout.schema(WindowRows { candles: rows, ..WindowRows::default() }, &[]);
        let segment = segment(&SegmentSpec {
            symbol: SYMBOL.into(),
            epoch: 1,
            schema: schema.to_json(),
            schema_id: schema.id(),
            frame_size_bytes: layout.size_bytes(),
            slot_count: auto_frame_slots(1),
            windows: schema.window_specs(),
        })?;
        let Segment { ring, windows, .. } = segment;
        let mut windows = Windows::new(windows);
        for window in &mut windows.candles {
            for _ in 0..2 * rows {
                window.append(&CandleRow::NONE);
            }
        }
        let image = FrameImage::new(layout);
        let bare =
            vec![0; layout.size_bytes() / 8 * auto_frame_slots(1) as usize].into_boxed_slice();
        Ok(Self { ring, windows, image, bare, next_bare: 0 })
    }

    /// As a fold publishes: the cursors of all windows, then the frame.
    #[inline(never)]
    pub(crate) fn publish(&mut self) {
        self.image.head_mut().cursors = self.windows.cursors();
        self.ring.publish(self.image.words());
    }

    pub(crate) fn published(&self) -> u64 {
        self.ring.published()
    }

    #[inline(never)]
    fn copy(&mut self) {
        let words = black_box(self.image.words());
        let slot_count = self.bare.len() / words.len();
        let mut slots = black_box(&mut self.bare).chunks_exact_mut(words.len());
        if let Some(slot) = slots.nth(self.next_bare) {
            slot.copy_from_slice(words);
        }
        self.next_bare = (self.next_bare + 1) % slot_count;
    }

    /// The newest frame is the one that was published, with the cursors of full windows.
    fn check(&mut self, rows: u64) -> Result<(), Box<dyn Error>> {
        self.publish();
        let done = self.image.head().cursors[0][0];
        if done == 2 * rows && self.ring.published() > 0 {
            return Ok(());
        }
        Err(format!("a frame with {done} rows of {}, wanted {}", BAR_INTERVALS[0], 2 * rows).into())
    }
}

/// Times, and counts instructions where valgrind is there.
pub(crate) fn run(json: bool) -> Result<(), Box<dyn Error>> {
    let mut stands = Vec::new();
    for rows in ROWS {
        let mut stand = Stand::new(rows)?;
        stand.check(rows)?;
        stands.push(stand);
    }
    let histogram = || Histogram::<u64>::new_with_bounds(1, 1_000_000_000, 3);
    let mut published = [histogram()?, histogram()?];
    let mut copied = [histogram()?, histogram()?];
    for _ in 0..BATCHES {
        for (at, stand) in stands.iter_mut().enumerate() {
            published[at].saturating_record(per_call_ps(BATCH, || stand.publish())?);
            copied[at].saturating_record(per_call_ps(BATCH, || stand.copy())?);
        }
    }
    let mut out = io::stdout().lock();
    for (at, rows) in ROWS.into_iter().enumerate() {
        let ns = |histogram: &Histogram<u64>| histogram.value_at_quantile(0.5) as f64 / 1e3;
        let (publish_ns, copy_ns) = (ns(&published[at]), ns(&copied[at]));
        let instructions = instructions(rows);
        if json {
            let line = json!({ "figure": "publish", "rows": rows, "publish_p50_ns": publish_ns,
                "copy_p50_ns": copy_ns, "ratio": publish_ns / copy_ns, "instructions": instructions });
            writeln!(out, "{line}")?;
        } else {
            let counted = instructions.map_or_else(
                || "not counted: no valgrind".to_owned(),
                |n| format!("{n} instructions"),
            );
            writeln!(
                out,
                "windows of {rows:>5} rows: publish p50 {publish_ns:.1} ns, bare copy {copy_ns:.1} ns, {:.2} times; {counted}",
                publish_ns / copy_ns
            )?;
        }
    }
    Ok(())
}

/// Picoseconds of one of so many calls between two looks at the clock.
pub(crate) fn per_call_ps(calls: u32, mut call: impl FnMut()) -> Result<u64, Box<dyn Error>> {
    let began = Instant::now();
    for _ in 0..calls {
        call();
    }
    Ok(u64::try_from(began.elapsed().as_nanos() * 1_000 / u128::from(calls))?)
}

/// Instructions of one publishing: what callgrind counts more for twice as many. `None` without valgrind.
fn instructions(rows: u64) -> Option<u64> {
    let program = std::env::current_exe().ok()?;
    let counted = |frames: u64| {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(&program)
            .args(["publish", "--count", &rows.to_string(), "--frames", &frames.to_string()])
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let collected = text.lines().find_map(|line| line.split_once("Collected :"))?.1;
        collected.trim().parse::<u64>().ok()
    };
    Some((counted(2 * COUNTED)? - counted(COUNTED)?) / COUNTED)
}

/// What callgrind looks at.
pub(crate) fn count(rows: u64, frames: u64) -> Result<(), Box<dyn Error>> {
    let mut stand = Stand::new(rows)?;
    for _ in 0..frames {
        stand.publish();
    }
    Ok(())
}
