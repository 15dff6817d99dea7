//! Files of the shared memory, as a hostile hand could leave them.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use cobring_frame::{
    CounterFile, CounterTable, EngineDir, FrameImage, FrameLayout, ModelPoller, ModelRules,
    ModelWriter, Next, Reader, Require, Schema, Segment, SegmentSpec, WindowRows, create_counters,
};
use cobring_types::{ModelOutput, ModelShape, Nanos};
use tempfile::TempDir;

const SYMBOL: &str = "ETHUSDT";
const COUNTERS: &str = "engine.counters";
/// Frames of a ring that are looked at; more would be the same again.
const FRAMES_LOOKED_AT: usize = 40;

/// An engine's directory in memory.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

/// The segment of a small engine that has published some frames.
fn engine(dir: &EngineDir, slot_count: u32, frames: u64) -> (Segment, FrameImage) {
    let layout = FrameLayout::new(1, 1).unwrap();
    let schema = layout.schema(WindowRows { candles: 2, ticks: 8 }, &["cnn".to_owned()]);
    let spec = SegmentSpec {
        symbol: SYMBOL.to_owned(),
        epoch: 5,
        schema: schema.to_json(),
        schema_id: schema.id(),
        frame_size_bytes: layout.size_bytes(),
        slot_count,
        // Windows make it large: two are as good as all.
        windows: schema.window_specs().into_iter().take(2).collect(),
    };
    let mut segment = Segment::create(dir, &spec).unwrap();
    let mut image = FrameImage::new(layout);
    for number in 0..frames {
        let head = image.head_mut();
        head.identity.input_seq = number * 10;
        head.times.ts_recv = i64::try_from(number).unwrap() * Nanos::MILLISECOND.0;
        segment.ring.publish(image.words());
    }
    for window in &mut segment.windows {
        window.append_many(3, |index, row| row.fill(index));
    }
    (segment, image)
}

/// A segment of these bytes, and one of them with a checksum that fits: it is refused, or read without a word
/// that lies outside.
pub fn segment(bytes: &[u8]) {
    thread_local! {
        static DIR: TempDir = scratch();
    }
    DIR.with(|dir| {
        let path = dir.path().join(SYMBOL);
        for bytes in [bytes.to_vec(), with_checksum(bytes)] {
            // A new file each time: its readers may still map the one before.
            let _ = std::fs::remove_file(&path);
            std::fs::write(&path, bytes).unwrap();
            read_segment(dir.path());
        }
    });
    if let Ok(text) = std::str::from_utf8(bytes) {
        read_schema(text, &[0; 64]);
    }
}

fn read_segment(dir: &Path) {
    let mut reader = match Reader::open(dir, SYMBOL) {
        Ok(reader) => reader,
        Err(error) => return assert!(error.to_string().contains(SYMBOL), "{error}"),
    };
    let mut frame = vec![0; reader.frame_size_bytes() / 8];
    let _ = reader.latest(&mut frame);
    let _ = reader.wait(Duration::ZERO);
    reader.seek_oldest();
    let mut last = None;
    for _ in 0..FRAMES_LOOKED_AT {
        match reader.next(&mut frame) {
            Ok(Next::Frame { seq }) => {
                assert!(last < Some(seq), "frame {seq} after {last:?}");
                last = Some(seq);
            }
            Ok(Next::Lapped { lost }) => assert!(lost > 0),
            Ok(Next::Empty) | Err(_) => break,
        }
    }
    let _ = (reader.liveness(), reader.heartbeat_age_ns(), reader.mono_minus_ts());
    let _ = reader.frame_at(u64::MAX, &mut frame);
    let mut rows = vec![0; 64];
    for index in 0..reader.window_count() {
        let window = reader.window(index);
        let (cursor, promised) = (window.cursor(), window.rows_promised());
        let views = [
            window.last(cursor, promised),
            window.last(cursor, 1),
            window.view(window.oldest(), 1),
            window.view(u64::MAX, 1),
            window.view(0, u64::MAX),
        ];
        for view in views.into_iter().flatten() {
            rows.resize(view.size_words(), 0);
            let _ = view.copy_into(&mut rows);
            assert!(view.rows() <= window.capacity(), "{} rows", view.rows());
        }
    }
    let text = reader.schema();
    read_schema(text, &frame);
    let _ = (reader.schema_id(), reader.epoch(), reader.writer_pid());
}

/// Everything that a reader makes of a schema, over words of any length.
fn read_schema(text: &str, words: &[u64]) {
    let Ok(schema) = Schema::from_json(text) else { return };
    assert_eq!(Schema::from_json(&schema.to_json()).unwrap(), schema);
    let rendered = schema.frame_to_json(words);
    assert!(rendered.is_object());
    for window in &schema.windows {
        let _ = schema.record_to_json(&window.row, words);
        let _ = (schema.cursor(words, &window.name), schema.valid_rows(words, &window.name));
    }
    let rows = schema.windows.iter().map(|window| (window.name.clone(), 1)).collect();
    let require = Require { rows, blocks: vec!["book".to_owned()], ..Require::default() };
    let _ = (require.missing(&schema), schema.validate(words, &require));
    for field in &schema.frame.fields {
        for index in [0, 1, field.element_count().saturating_sub(1), usize::MAX] {
            let _ = field.unsigned(words, index);
            let _ = (field.signed(words, index), field.float(words, index));
        }
        let _ = (field.name_in(&schema, words), field.bit_names(&schema, words));
    }
}

/// The bytes with the checksum that the layout documents: FNV-1a over the header, the window table and the
/// schema, as far as they lie inside.
fn with_checksum(bytes: &[u8]) -> Vec<u8> {
    const HEADER_WORDS: std::ops::Range<usize> = 4..25;
    const PAGE_WORDS: usize = 512;
    let mut bytes = bytes.to_vec();
    if bytes.len() < 2 * PAGE_WORDS * 8 {
        return bytes;
    }
    let word = |at: usize| {
        let word = bytes.get(at * 8..at * 8 + 8)?;
        Some(u64::from_le_bytes(word.try_into().unwrap()))
    };
    let count = |at: usize, most: usize| {
        word(at).and_then(|found| usize::try_from(found).ok()).filter(|&found| found <= most)
    };
    let (Some(windows), Some(schema_bytes)) = (count(11, 256), count(9, 1 << 20)) else {
        return bytes;
    };
    let schema_at = PAGE_WORDS + (windows * 32).next_multiple_of(PAGE_WORDS);
    let table =
        (0..windows).flat_map(|window| (0..13).map(move |at| PAGE_WORDS + window * 32 + at));
    let words = HEADER_WORDS.chain(table).chain(schema_at..schema_at + schema_bytes.div_ceil(8));
    let Some(sum) = words.map(word).try_fold(0xCBF2_9CE4_8422_2325_u64, |sum, word| {
        word.map(|word| (sum ^ word).wrapping_mul(0x0000_0100_0000_01B3))
    }) else {
        return bytes;
    };
    bytes[24..32].copy_from_slice(&sum.to_le_bytes());
    bytes
}

pub(crate) fn segments() -> Vec<Vec<u8>> {
    let temp = scratch();
    let dir = EngineDir::lock(temp.path()).unwrap();
    let file = |frames| {
        let (segment, _) = engine(&dir, 2, frames);
        drop(segment);
        let bytes = std::fs::read(temp.path().join(SYMBOL)).unwrap();
        std::fs::remove_file(temp.path().join(SYMBOL)).unwrap();
        bytes
    };
    let layout = FrameLayout::new(1, 1).unwrap();
    let schema = layout.schema(WindowRows { candles: 2, ticks: 8 }, &["cnn".to_owned()]);
    vec![file(0), file(1), file(5), schema.to_json().into_bytes()]
}

/// Counters of these bytes: refused by a sentence that names the file, or read without a word that lies outside.
pub fn counter_file(bytes: &[u8]) {
    thread_local! {
        static DIR: TempDir = scratch();
    }
    DIR.with(|dir| {
        let path = dir.path().join(COUNTERS);
        // A new file each time: a reader may still map the one before.
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, bytes).unwrap();
        let file = match CounterFile::open(dir.path()) {
            Ok(file) => file,
            Err(error) => return assert!(error.to_string().contains(COUNTERS), "{error}"),
        };
        assert_eq!(file.size_bytes(), bytes.len());
        for (at, table) in file.tables().iter().enumerate() {
            for row in 0..table.rows.len() {
                assert_eq!(file.counters(at, row).len(), table.counters.len());
                for histogram in 0..table.histograms.len() {
                    let histogram = file.histogram(at, row, histogram);
                    let summary = histogram.summary();
                    assert!(summary.p50_ns <= summary.p99_ns && summary.p999_ns <= summary.max_ns);
                    assert_eq!(histogram.since(&histogram).count(), 0);
                }
            }
        }
    });
}

pub(crate) fn counter_files() -> Vec<Vec<u8>> {
    let temp = scratch();
    let dir = EngineDir::lock(temp.path()).unwrap();
    let table = |name: &str, rows: &[&str], histograms: &[&str]| {
        let texts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let counters = texts(&["inputs_total", "gaps_total"]);
        let (rows, histograms) = (texts(rows), texts(histograms));
        CounterTable { name: name.to_owned(), rows, counters, histograms }
    };
    let file = |tables: &[CounterTable]| {
        let mut rows = create_counters(&dir, 5, tables).unwrap();
        for (number, row) in (0..).zip(rows.iter_mut().flatten()) {
            row.store([number, u64::MAX]);
        }
        if tables.len() > 1 {
            (0..20).for_each(|shift| rows[1][0].record(0, 1 << shift));
        }
        std::fs::read(temp.path().join(COUNTERS)).unwrap()
    };
    let engine = table("ingest", &["engine"], &[]);
    let symbol = table("symbol", &[SYMBOL], &["recv_to_published"]);
    vec![file(std::slice::from_ref(&engine)), file(&[engine, symbol])]
}

const RULES: ModelRules = ModelRules {
    shape: ModelShape { outputs: 2, sum_to_one: true },
    age_max: Nanos(500 * Nanos::MILLISECOND.0),
    rate_per_s: 10,
};
const FRAMES: u64 = 100;

/// An engine that takes the outputs of a model.
struct Engine {
    segment: Segment,
    dir: EngineDir,
    _temp: TempDir,
}

impl Engine {
    fn with<T>(look: impl FnOnce(&Self) -> T) -> T {
        thread_local! {
            static ENGINE: RefCell<Option<Engine>> = const { RefCell::new(None) };
        }
        ENGINE.with_borrow_mut(|engine_of_thread| {
            look(engine_of_thread.get_or_insert_with(|| {
                let temp = scratch();
                let dir = EngineDir::lock(temp.path()).unwrap();
                let (segment, _) = engine(&dir, 128, FRAMES);
                Self { segment, dir, _temp: temp }
            }))
        })
    }

    fn poller(&self) -> ModelPoller {
        ModelPoller::create(&self.dir, "cnn", RULES, self.segment.reader()).unwrap()
    }
}

fn edit(poller: &ModelPoller) -> File {
    File::options().read(true).write(true).open(poller.path()).unwrap()
}

/// A model's file of these bytes, under a running engine: nothing is taken but what the rules allow, and the
/// numbers of outputs taken and refused stay those of a few polls.
pub fn model_slot(bytes: &[u8]) {
    Engine::with(|engine| {
        let mut poller = engine.poller();
        let file = edit(&poller);
        file.set_len(bytes.len() as u64).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        let mut answered = None;
        for turn in 0..64 {
            let now =
                Nanos(i64::try_from(FRAMES).unwrap() * Nanos::MILLISECOND.0 + turn * 1_000_000);
            if let Some(output) = poller.poll(now) {
                output.check_shape(RULES.shape).unwrap();
                assert!(answered < Some(output.answers_seq), "{answered:?} again");
                assert!(output.answers_seq < FRAMES);
                answered = Some(output.answers_seq);
            }
        }
        let counters = poller.counters();
        assert!(counters.accepted <= u64::from(RULES.rate_per_s), "{counters:?}");
        // A poll tells at most of what it looked at and of one look around.
        assert!(
            counters.torn + counters.misnumbered + counters.truncated <= 64 * 20,
            "{counters:?}"
        );
        // Whatever it was, the next engine's file is good again.
        drop(poller);
        let mut poller = engine.poller();
        let mut writer =
            ModelWriter::open(engine.dir.path(), SYMBOL, "cnn").expect("a file made anew");
        let last = FRAMES - 1;
        let output =
            ModelOutput::answering(5, last, last * 10).with_outputs(&[0.25, 0.75]).unwrap();
        writer.publish(&output).unwrap();
        let now = Nanos(i64::try_from(FRAMES).unwrap() * Nanos::MILLISECOND.0);
        assert_eq!(poller.poll(now).map(|output| output.answers_seq), Some(last));
    });
}

pub(crate) fn model_files() -> Vec<Vec<u8>> {
    Engine::with(|engine| {
        [0, 1, 5, 70].map(|count| {
            let poller = engine.poller();
            let mut writer = ModelWriter::open(engine.dir.path(), SYMBOL, "cnn").unwrap();
            for number in 0..count {
                let output = ModelOutput::answering(5, number, number * 10);
                writer.publish(&output.with_outputs(&[0.25, 0.75]).unwrap()).unwrap();
            }
            std::fs::read(poller.path()).unwrap()
        })
    })
    .into()
}
