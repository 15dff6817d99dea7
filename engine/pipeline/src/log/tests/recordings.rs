use std::fs;

use tempfile::TempDir;

use super::*;
use crate::recording::Recording;

/// The recordings of Binance spot, where they are there. With CI=true they have to be.
fn recordings() -> Option<Vec<PathBuf>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/recordings/binance-spot");
    let Ok(entries) = fs::read_dir(&dir) else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no recordings in {}", dir.display());
        eprintln!("skipped: no recordings");
        return None;
    };
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "gz"))
        .collect();
    paths.sort();
    Some(paths)
}

#[test]
fn a_recording_as_a_log_gives_the_same_inputs() {
    let Some(paths) = recordings() else { return };
    let mut recording = Recording::open(&paths).unwrap();
    let dir = TempDir::new().unwrap();
    let mut file = LogFile::create(dir.path(), &header(0), &LogStart::Initial).unwrap();
    let (mut count, mut snapshots, mut last) = (0, Vec::new(), Nanos(0));
    while let Some(line) = recording.next().unwrap() {
        assert!(line.ts_recv >= last);
        last = line.ts_recv;
        if line.snapshot {
            snapshots.push(format!("{} {}:{}", line.symbol.unwrap(), line.file, line.line_number));
        }
        file.append(&line.input(count, SymbolIndex(0)).clone()).unwrap();
        count += 1;
    }
    assert_eq!(count, 41_249 + 33_618);
    assert_eq!(snapshots, ["ETHUSDT 1:6", "BTCUSDT 0:8"]);
    let path = file.finish().unwrap();

    let mut reader = LogReader::open(&[&path]).unwrap();
    let mut recording = Recording::open(&paths).unwrap();
    let mut input_seq = 0;
    while let Some(line) = recording.next().unwrap() {
        let wanted = line.input(input_seq, SymbolIndex(0));
        let input = reader.next().unwrap().expect("the log is as long");
        assert_eq!(
            format!("{:?}", Input { bytes: b"", ..input }),
            format!("{:?}", Input { bytes: b"", ..wanted })
        );
        assert_eq!(input.bytes, wanted.bytes);
        input_seq += 1;
    }
    assert!(reader.next().unwrap().is_none());
}

#[test]
fn a_recording_is_read_as_its_lines_are() {
    let Some(paths) = recordings() else { return };
    let mut wanted = Vec::new();
    for (file, path) in paths.iter().enumerate() {
        let decoder = flate2::read::MultiGzDecoder::new(fs::File::open(path).unwrap());
        let text = std::io::read_to_string(decoder).unwrap();
        for (index, line) in text.lines().enumerate() {
            let (ts_recv, message) = line.split_once(' ').unwrap();
            wanted.push((
                ts_recv.parse::<i64>().unwrap(),
                file,
                index as u64 + 1,
                message.to_owned(),
            ));
        }
    }
    // Each recording's stamps never decrease, so the merge is a stable sort.
    wanted.sort_by_key(|&(ts_recv, file, line_number, _)| (ts_recv, file, line_number));
    let mut recording = Recording::open(&paths).unwrap();
    for (ts_recv, file, line_number, message) in wanted {
        let line = recording.next().unwrap().expect("as many lines");
        assert_eq!((line.ts_recv.0, line.file, line.line_number), (ts_recv, file, line_number));
        assert_eq!(line.bytes, message.as_bytes());
    }
    assert!(recording.next().unwrap().is_none());
}
