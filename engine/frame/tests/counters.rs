//! The engine's counters in shared memory: what is written is read, and nothing else is taken for it.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use cobring_frame::{
    CounterFile, CounterRow, CounterTable, EngineDir, FrameError, Histogram, create_counters,
};

const NAME: &str = "engine.counters";

fn tables() -> Vec<CounterTable> {
    let texts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    vec![
        CounterTable {
            name: "ingest".to_owned(),
            rows: texts(&["engine"]),
            counters: texts(&["inputs_total", "links_lost_total"]),
            histograms: Vec::new(),
        },
        CounterTable {
            name: "symbol".to_owned(),
            rows: texts(&["BTCUSDT", "ETHUSDT"]),
            counters: texts(&["frames_total", "gaps_total", "trades_total"]),
            histograms: texts(&["recv_to_parsed", "recv_to_published"]),
        },
    ]
}

fn create(dir: &Path, epoch: u64) -> (EngineDir, Vec<Vec<CounterRow>>) {
    let dir = EngineDir::lock(dir).unwrap();
    let rows = create_counters(&dir, epoch, &tables()).unwrap();
    (dir, rows)
}

#[test]
fn what_each_row_s_writer_stores_is_read_and_its_neighbours_are_untouched() {
    let temp = tempfile::tempdir().unwrap();
    let (_dir, mut rows) = create(temp.path(), 7);
    let file = CounterFile::open(temp.path()).unwrap();
    assert_eq!((file.epoch(), file.pid()), (7, std::process::id()));
    assert_eq!(file.tables(), tables());
    assert!(file.is_alive() && !file.is_replaced() && file.made_ns() > 0);
    let mode = file.path().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);

    rows[0][0].store([11, 12]);
    rows[1][1].store([21, 22, 23]);
    rows[1][1].record(1, 1_000);
    rows[1][1].record(1, 3);
    rows[1][1].record(0, -5);
    assert_eq!(file.counters(0, 0), [11, 12]);
    assert_eq!(file.counters(1, 0), [0, 0, 0]);
    assert_eq!(file.counters(1, 1), [21, 22, 23]);
    let summary = |row, histogram| file.histogram(1, row, histogram).summary();
    let whole = summary(1, 1);
    assert_eq!((whole.count, whole.p50_ns, whole.max_ns), (2, 3, 1_003));
    assert_eq!((summary(1, 0).count, summary(1, 0).negative), (0, 1));
    assert_eq!(file.histogram(1, 1, 1), rows[1][1].histogram(1));
    assert_eq!(file.histogram(1, 0, 0), Histogram::default());
    assert_eq!(file.histogram(1, 0, 1), Histogram::default());
}

#[test]
fn a_reader_sees_that_the_engine_is_gone_and_that_another_one_has_come() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, mut rows) = create(temp.path(), 1);
    let first = CounterFile::open(temp.path()).unwrap();
    rows[0][0].store([5]);
    drop((dir, rows));
    assert!(!first.is_alive() && !first.is_replaced());
    assert_eq!(first.counters(0, 0), [5, 0]);
    let (_dir, _rows) = create(temp.path(), 2);
    assert!(first.is_replaced());
    let second = CounterFile::open(temp.path()).unwrap();
    assert_eq!((second.epoch(), second.is_alive(), second.counters(0, 0)[0]), (2, true, 0));
}

#[test]
fn the_file_is_no_segment_and_goes_with_the_clean_up() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join(NAME);
    let (dir, rows) = create(temp.path(), 1);
    assert_eq!(EngineDir::list(temp.path()).unwrap().len(), 0);
    assert!(matches!(EngineDir::gc(temp.path()), Err(FrameError::Locked { .. })));
    // A row alone keeps the directory: its thread may still count.
    drop(dir);
    assert!(matches!(EngineDir::gc(temp.path()), Err(FrameError::Locked { .. })));
    drop(rows);
    assert_eq!(EngineDir::gc(temp.path()).unwrap(), [path.as_path()]);
    std::fs::write(&path, "somebody else's").unwrap();
    assert!(EngineDir::gc(temp.path()).unwrap().is_empty());
    assert!(path.exists());
}

#[test]
fn what_is_damaged_is_refused_with_one_sentence() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join(NAME);
    let says = |wanted: &str| {
        let error = CounterFile::open(temp.path()).unwrap_err().to_string();
        assert!(error.contains(NAME) && error.contains(wanted), "{error}");
    };
    says("cannot open the counters");
    let word = |at: u64, value: u64| {
        drop(create(temp.path(), 1));
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&value.to_le_bytes(), at).unwrap();
    };
    word(0, 1);
    says("it begins with 0x0000000000000001");
    word(8, 2);
    says("has layout version 2");
    word(16, 4_096);
    says("wanted 4096: truncated");
    for size in [0, 1 << 40, u64::MAX] {
        word(48, size);
        says("is damaged");
    }
    // Names for more values than there are.
    word(4_096, u64::from_le_bytes(*b"[       "));
    says("is damaged");
    drop(create(temp.path(), 1));
    let names = serde_json::to_string(&tables()).unwrap();
    let longer = names.replace(
        "[\"recv_to_parsed\",\"recv_to_published\"]",
        "[\"a\",\"b\",\"c\",\"d\",\"e\",\"fghi\"]",
    );
    let longer = format!("{longer:<width$}", width = names.len());
    assert_eq!(longer.len(), names.len(), "{longer}");
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(longer.as_bytes(), 4_096).unwrap();
    says("the file's size");
    for length in [5_000, 4_096, 4_095, 7, 0] {
        OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();
        says("truncated");
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    says("regular file");
}
