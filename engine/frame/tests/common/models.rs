//! An engine without a market, for tests of models' outputs.

use std::fs::File;
use std::os::unix::fs::FileExt;

use cobring_frame::{
    EngineDir, FrameImage, FrameLayout, ModelPoller, ModelRules, ModelWriter, Segment, SegmentSpec,
    WindowRows,
};
use cobring_types::{ModelOutput, ModelShape, Nanos};

pub(crate) const MS: i64 = 1_000_000;
pub(crate) const EPOCH: u64 = 5;
pub(crate) const RULES: ModelRules = ModelRules {
    shape: ModelShape { outputs: 2, sum_to_one: true },
    age_max: Nanos(500 * MS),
    rate_per_s: 10,
};
/// Few: the windows are not at issue here.
const ROWS: WindowRows = WindowRows { candles: 2, ticks: 8 };

/// As documented: 64 slots of 384 bytes behind a page, the count at 256.
pub(crate) const PUBLISHED_AT: u64 = 256;

pub(crate) fn slot_at(number: u64) -> u64 {
    4_096 + number % 64 * 384
}

/// An engine with one symbol, whose frame n is received at n ms and has `input_seq` 10 n.
pub(crate) struct Engine {
    pub(crate) temp: tempfile::TempDir,
    pub(crate) dir: EngineDir,
    pub(crate) segment: Segment,
    pub(crate) image: FrameImage,
    pub(crate) poller: ModelPoller,
    pub(crate) frames: u64,
}

pub(crate) fn engine_in(temp: tempfile::TempDir, epoch: u64) -> Engine {
    let dir = EngineDir::lock(temp.path()).unwrap();
    let layout = FrameLayout::new(1, 0).unwrap();
    let schema = layout.schema(ROWS, &[]);
    let spec = SegmentSpec {
        symbol: "ETHUSDT".to_owned(),
        epoch,
        schema: schema.to_json(),
        schema_id: schema.id(),
        frame_size_bytes: layout.size_bytes(),
        slot_count: 1_024,
        windows: schema.window_specs(),
    };
    let segment = Segment::create(&dir, &spec).unwrap();
    let poller = ModelPoller::create(&dir, "cnn", RULES, segment.reader()).unwrap();
    Engine { temp, dir, segment, image: FrameImage::new(layout), poller, frames: 0 }
}

impl Engine {
    pub(crate) fn new(frames: u64) -> Self {
        let mut engine = engine_in(tempfile::tempdir().unwrap(), EPOCH);
        engine.publish(frames);
        engine
    }

    pub(crate) fn publish(&mut self, frames: u64) {
        for _ in 0..frames {
            self.publish_at(i64::try_from(self.frames).unwrap());
        }
    }

    pub(crate) fn publish_at(&mut self, ms: i64) {
        let head = self.image.head_mut();
        head.identity.input_seq = self.frames * 10;
        head.times.ts_recv = ms * MS;
        self.segment.ring.publish(self.image.words());
        self.frames += 1;
    }

    pub(crate) fn writer(&self) -> ModelWriter {
        ModelWriter::open(self.temp.path(), "ETHUSDT", "cnn").unwrap()
    }

    pub(crate) fn file(&self) -> File {
        File::options().read(true).write(true).open(self.poller.path()).unwrap()
    }

    /// All that a poll takes at `ms`, by the frame answered.
    pub(crate) fn take(&mut self, ms: i64) -> Vec<u64> {
        let mut taken = Vec::new();
        for _ in 0..200 {
            taken.extend(self.poller.poll(Nanos(ms * MS)).map(|output| output.answers_seq));
        }
        taken
    }

    /// What is not 0.
    pub(crate) fn counted(&self) -> Vec<(&'static str, u64)> {
        self.poller.counters().iter().filter(|(_, count)| *count > 0).collect()
    }
}

pub(crate) fn answer(seq: u64) -> ModelOutput {
    ModelOutput::answering(EPOCH, seq, seq * 10).with_outputs(&[0.25, 0.75]).unwrap()
}

pub(crate) fn by(pid: u32, mut output: ModelOutput) -> ModelOutput {
    output.pid = pid;
    output
}

pub(crate) fn write_word(file: &File, at: u64, word: u64) {
    file.write_all_at(&word.to_le_bytes(), at).unwrap();
}

/// Writes an output as any program could, past the checks of [`ModelWriter`].
pub(crate) fn write_raw(file: &File, number: u64, output: &ModelOutput) {
    write_word(file, slot_at(number), 2 * number + 1);
    file.write_all_at(bytemuck::bytes_of(output), slot_at(number) + 64).unwrap();
    write_word(file, slot_at(number), 2 * number + 2);
    write_word(file, PUBLISHED_AT, number + 1);
}
