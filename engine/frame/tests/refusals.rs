//! What is refused, with which sentence.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use cobring_frame::{EngineDir, FrameError, Reader, Segment, SegmentSpec};
use common::{FRAME_WORDS, filled, spec, window};

/// A directory with one segment, whose engine is dead.
fn dead_segment() -> (tempfile::TempDir, PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let dir = EngineDir::lock(temp.path()).unwrap();
    drop(Segment::create(&dir, &spec("ETHUSDT", 1)).unwrap());
    let path = temp.path().join("ETHUSDT");
    (temp, path)
}

/// The sentence of an error, the test's directory named DIR.
fn sentence(error: &FrameError, dir: &Path) -> String {
    error.to_string().replace(&dir.display().to_string(), "DIR")
}

fn refusal(dir: &Path, symbol: &str) -> String {
    sentence(&Reader::open(dir, symbol).unwrap_err(), dir)
}

fn check(change: impl FnOnce(&File), wanted: &str) {
    let (temp, path) = dead_segment();
    change(&File::options().read(true).write(true).open(path).unwrap());
    assert_eq!(refusal(temp.path(), "ETHUSDT"), wanted);
    // Nor does it keep the next engine from its place.
    let dir = EngineDir::lock(temp.path()).unwrap();
    let _segment = Segment::create(&dir, &spec("ETHUSDT", 2)).unwrap();
    assert_eq!(Reader::open(temp.path(), "ETHUSDT").unwrap().epoch(), 2);
}

fn put(offset: u64, word: u64) -> impl FnOnce(&File) {
    move |file| file.write_all_at(&word.to_le_bytes(), offset).unwrap()
}

fn become_text(file: &File) {
    file.set_len(0).unwrap();
    file.write_all_at(b"just a text", 0).unwrap();
}

#[test]
fn foreign_files_are_refused() {
    check(
        become_text,
        "DIR/ETHUSDT: is no cobring segment: it begins with 0x742061207473756a, wanted \
         0x00676e6972626f63; remove the file, or name the engine's own directory",
    );
}

#[test]
fn segments_of_another_version_are_refused() {
    check(
        put(8, 7),
        "DIR/ETHUSDT: has layout version 7, this program reads version 1; use an engine and \
         readers of the same release",
    );
}

#[test]
fn truncated_segments_are_refused() {
    let size = spec("ETHUSDT", 1).size_bytes() as u64;
    for (found, wanted) in [
        (0, 4_096),
        (7, 4_096),
        (8, 4_096),
        (4_095, 4_096),
        (4_096, size),
        (size - 1, size),
        (size - 4_096, size),
        (size + 4_096, size),
    ] {
        check(
            |file| file.set_len(found).unwrap(),
            &format!(
                "DIR/ETHUSDT: is {found} bytes long, wanted {wanted}: truncated or still foreign; \
                 start the engine anew, which replaces the file"
            ),
        );
    }
}

#[test]
fn damaged_headers_are_refused() {
    for (offset, word, what) in [
        (32, 1, None),
        (64, 4_096, Some("schema_offset is 4096, wanted 8192")),
        (72, u64::MAX, Some("schema_size_bytes is 18446744073709551615, wanted at most 1048576")),
        (80, 0, Some("window_table_offset is 0, wanted 4096")),
        (88, 257, Some("window_count is 257, wanted at most 256")),
        (96, u64::MAX - 7, Some("slots_offset is 18446744073709551608, wanted 12288")),
        (104, 63, Some("slot_count is 63, wanted a power of two in 2..=1048576")),
        (104, 1 << 32, Some("slot_count is 4294967296, wanted a power of two")),
        (112, 0, Some("slot_size_bytes is 0, wanted a multiple of 64 in 832..=8192")),
        (112, 1_032, Some("slot_size_bytes is 1032, wanted a multiple of 64 in 832..=8192")),
        (112, 1_088, Some("size_bytes is 122880, wanted 126976")),
        (112, 8_256, Some("slot_size_bytes is 8256, wanted a multiple of 64 in 832..=8192")),
        (120, 4_104, Some("frame_size_bytes is 4104, wanted at most 4096")),
        (128, 65, Some("symbol_size_bytes is 65, wanted at most 64")),
        (4_096 + 72, 0, Some("windows[0].row_size_bytes is 0, wanted a multiple of 8, not 0")),
        (
            4_096 + 88,
            u64::MAX,
            Some(
                "windows[0].capacity is 18446744073709551615, wanted less: the segment outgrows \
                 the address space",
            ),
        ),
        (4_096 + 96, 1, Some("windows[0].offset is 1, wanted 77824")),
    ] {
        let wanted = what.map_or_else(
            || {
                let size = spec("ETHUSDT", 1).size_bytes();
                format!("DIR/ETHUSDT: is {size} bytes long, wanted 1: truncated or still foreign; start the engine anew, which replaces the file")
            },
            |what| {
                format!(
                    "DIR/ETHUSDT: is damaged: {what}; start the engine anew, which replaces the file"
                )
            },
        );
        check(put(offset, word), &wanted);
    }
}

/// Each bit that never changes, of header, window table and schema.
#[test]
fn no_flipped_bit_of_a_header_goes_unseen() {
    let (temp, path) = dead_segment();
    let file = File::options().read(true).write(true).open(path).unwrap();
    let schema_size = spec("ETHUSDT", 1).schema.len() as u64;
    let header = (0..136 + 64).filter(|offset| !(16..24).contains(offset)); // 16: retired
    let table = (0..2).flat_map(|window| (0..104).map(move |at| 4_096 + window * 256 + at));
    let schema = 8_192..8_192 + schema_size;
    for offset in header.chain(table).chain(schema) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        for bit in 0..8 {
            file.write_all_at(&[byte[0] ^ (1 << bit)], offset).unwrap();
            let opened = Reader::open(temp.path(), "ETHUSDT");
            assert!(opened.is_err(), "bit {bit} of byte {offset} flipped: nobody noticed");
        }
        file.write_all_at(&byte, offset).unwrap();
    }
    Reader::open(temp.path(), "ETHUSDT").unwrap();
}

#[test]
fn what_is_not_there_is_said_so() {
    let (temp, path) = dead_segment();
    let dir = EngineDir::lock(temp.path()).unwrap();
    let _segment = Segment::create(&dir, &spec("BTCUSDT", 1)).unwrap();
    assert_eq!(
        refusal(temp.path(), "ETHUSD"),
        "DIR has no segment ETHUSD, it has BTCUSDT, ETHUSDT; check the name, or start the engine \
         with that symbol"
    );
    let missing = temp.path().join("missing");
    assert_eq!(
        refusal(&missing, "ETHUSDT"),
        "DIR does not exist, so no engine has run there; start one, or name the directory that it uses"
    );
    assert_eq!(
        sentence(&EngineDir::gc(&missing).unwrap_err(), &missing),
        "DIR does not exist, so no engine has run there; start one, or name the directory that it uses"
    );
    assert!(!missing.exists());
    std::fs::rename(path, temp.path().join("XRPUSDT")).unwrap();
    assert_eq!(
        refusal(temp.path(), "XRPUSDT"),
        "DIR/XRPUSDT: is damaged: the symbol ETHUSDT is 7, wanted the file's name XRPUSDT; start \
         the engine anew, which replaces the file"
    );
    let reader = Reader::open(temp.path(), "BTCUSDT").unwrap();
    assert_eq!(
        sentence(&reader.window_named("candles.5s").unwrap_err(), temp.path()),
        "DIR/BTCUSDT: has no window candles.5s, it has candles.1s, ticks"
    );
    std::fs::create_dir(temp.path().join("DOGEUSDT")).unwrap();
    assert_eq!(
        refusal(temp.path(), "DOGEUSDT"),
        "DIR/DOGEUSDT: cannot read the header: it is no regular file"
    );
    std::os::unix::fs::symlink("BTCUSDT", temp.path().join("LINKUSDT")).unwrap();
    assert!(refusal(temp.path(), "LINKUSDT").contains("cannot open the segment"));
}

#[test]
fn names_that_leave_the_directory_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    let dir = EngineDir::lock(temp.path()).unwrap();
    let long = "X".repeat(65);
    for (symbol, rule) in [
        ("", "must have 1 to 64 bytes"),
        (long.as_str(), "must have 1 to 64 bytes"),
        ("../ETHUSDT", "must not hold '/' or control characters"),
        ("ETH\0USDT", "must not hold '/' or control characters"),
        (".ETHUSDT", "must not begin with '.'"),
        ("ETHUSDT.bell", "is reserved"),
        ("engine.lock", "is reserved"),
        ("engine.counters", "is reserved"),
        ("models", "is reserved"),
        ("subscribers", "is reserved"),
    ] {
        let wanted = format!("{symbol:?} is no name for a segment: {rule}");
        assert_eq!(Reader::open(temp.path(), symbol).unwrap_err().to_string(), wanted);
        assert_eq!(Segment::create(&dir, &spec(symbol, 1)).unwrap_err().to_string(), wanted);
        assert_eq!(spec(symbol, 1).check().unwrap_err().to_string(), wanted);
    }
}

#[test]
fn segments_that_cannot_be_laid_out_are_refused() {
    let refused = |change: fn(&mut SegmentSpec), wanted: &str| {
        let mut spec = spec("ETHUSDT", 1);
        change(&mut spec);
        assert_eq!(spec.size_bytes(), usize::MAX);
        assert_eq!(spec.check().unwrap_err().to_string(), format!("segment ETHUSDT: {wanted}"));
    };
    let frame = "must be a multiple of 8 in 8..=4096";
    refused(|spec| spec.frame_size_bytes = 0, &format!("frame_size_bytes = 0: {frame}"));
    refused(|spec| spec.frame_size_bytes = 4_104, &format!("frame_size_bytes = 4104: {frame}"));
    refused(|spec| spec.frame_size_bytes = 12, &format!("frame_size_bytes = 12: {frame}"));
    refused(
        |spec| spec.slot_count = 1_000,
        "slot_count = 1000: must be a power of two in 2..=1048576",
    );
    refused(
        |spec| spec.windows[1].capacity = 2,
        "windows[1].capacity = 2: must be at least rows_promised = 5 and 1",
    );
    refused(
        |spec| spec.windows[1].name = "candles.1s".to_owned(),
        "windows[1].name candles.1s = 1: must be unique, windows[0] has it",
    );
    refused(
        |spec| spec.windows = (0..257).map(|n| window(&n.to_string(), 1, 2)).collect(),
        "window_count = 257: must be at most 256",
    );
    refused(
        |spec| spec.windows[0].capacity = u64::MAX / 64,
        "windows[0].capacity = 288230376151711743: must be less: the segment outgrows the address space",
    );
}

/// A file system of 1 MiB; None where we may not mount one.
struct SmallFileSystem(tempfile::TempDir);

impl SmallFileSystem {
    fn mount() -> Option<Self> {
        let temp = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(temp.path())
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self(temp))
    }
}

impl Drop for SmallFileSystem {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).output();
    }
}

#[test]
fn a_full_file_system_is_one_sentence_and_no_signal() {
    let Some(small) = SmallFileSystem::mount() else {
        eprintln!("skipped: no right to mount a file system of 1 MiB");
        return;
    };
    let path = small.0.path();
    let dir = EngineDir::lock(path).unwrap();
    // 0.7 MiB a segment: one fits, two do not.
    let large = |symbol: &str, epoch| SegmentSpec {
        windows: vec![window("rows", 64, 600)],
        ..spec(symbol, epoch)
    };
    let size = large("ETHUSDT", 1).size_bytes();
    assert!((600_000..800_000).contains(&size), "{size}");
    dir.check_space(&[large("ETHUSDT", 1)]).unwrap();
    let error = dir.check_space(&[large("BTCUSDT", 1), large("ETHUSDT", 1)]).unwrap_err();
    let FrameError::NoSpace { needed, free, .. } = error else { panic!("{error}") };
    assert_eq!(needed, 2 * (size as u64 + 4_096));
    assert!((900_000..=1 << 20).contains(&free), "{free}");

    let mut segment = Segment::create(&dir, &large("ETHUSDT", 1)).unwrap();
    segment.touch();
    let error = Segment::create(&dir, &large("BTCUSDT", 1)).unwrap_err();
    let FrameError::NoSpace { needed, free, .. } = error else { panic!("{error}") };
    assert_eq!(needed, size as u64);
    assert_eq!(
        sentence(&error, path),
        format!(
            "DIR/BTCUSDT: needs {needed} bytes, {free} are free; make room, or make the file \
             system larger (docker: --shm-size)"
        )
    );
    // The one that is there still works, and nothing is left of the other.
    segment.ring.publish(&filled::<FRAME_WORDS>(0));
    let mut out = [0; FRAME_WORDS];
    assert_eq!(Reader::open(path, "ETHUSDT").unwrap().latest(&mut out).unwrap(), Some(0));
    let mut left: Vec<_> =
        std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["ETHUSDT", "ETHUSDT.bell", "engine.lock", "models", "subscribers"]);
    drop(segment);

    // Small segments take one another's place for as long as one likes: 0.3 MiB each.
    let small_spec =
        |epoch| SegmentSpec { windows: vec![window("rows", 64, 250)], ..spec("XRPUSDT", epoch) };
    drop(dir);
    EngineDir::gc(path).unwrap();
    for epoch in 1..20 {
        let dir = EngineDir::lock(path).unwrap();
        dir.check_space(&[small_spec(epoch)]).unwrap();
        Segment::create(&dir, &small_spec(epoch)).unwrap().touch();
    }
}
