//! Logs made of a few words, and what is said of them.

use std::fs;
use std::path::{Path, PathBuf};

use cobring_types::{Input, InputKind, LinkScope, Nanos, Stamp, SymbolIndex};
use tempfile::TempDir;

use super::*;
use crate::config::Config;
use crate::log::{LogFile, LogHeader, LogReader, LogStart};
use crate::replay::settings_digest;

/// 2026-01-01.
const BEGIN: i64 = 1_767_225_600 * Nanos::SECOND.0;
const SETTINGS: &str = "[symbol_defaults]\nmax_levels = 1000\nticks_promised = 1000\nsnapshot_levels = 100\n\
    resync_levels = 100\n[symbols.ETHUSDT]\ntick_size = \"0.01\"\nbucket_size = \"1\"\nrange = \"5\"\n";

/// Words that become inputs, 100 ms apart:
/// `up1`/`down1` connection 1 with all streams, `1:d5-7` depth and `1:t5-7` fills by connection 1, `q` the question for
/// a snapshot (at the same time as the next word), `s9` a snapshot, `k` bars of all seconds so far, `h5-7` aggregates with
/// one of these fills each in answer to a request, `skip3` three numbers and a `LogLost` that owns up to them, `hole3` one
/// that does not, `wait5` 5 s, `back` a stamp a second earlier, `break`, `stop`, `|` the next file.
struct Script {
    dir: TempDir,
    files: Vec<PathBuf>,
}

struct Line {
    stamp: Stamp,
    kind: InputKind,
    connection: u16,
    aux: u32,
    ts_aux: Nanos,
    bytes: String,
}

impl Script {
    fn write(words: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let config = Config::parse(SETTINGS, "test").unwrap();
        let settings = config.fold_digest_text();
        let (mut seq, mut ts) = (0, BEGIN);
        let mut files = Vec::new();
        for part in words.split('|') {
            let header = LogHeader {
                epoch: 7,
                first_input_seq: seq,
                ts_start: Nanos(ts),
                config_digest: settings_digest(&settings),
                config: settings.clone(),
                venue_digest: 0,
                symbols: vec![config.symbols[0].instrument.symbol],
            };
            let start = if seq == 0 { LogStart::Initial } else { LogStart::Missing };
            let mut file = LogFile::create(dir.path(), &header, &start).unwrap();
            for word in part.split_whitespace() {
                ts += if word == "q" { 0 } else { 100_000_000 };
                let Some(line) = Line::of(word, &mut seq, &mut ts) else { continue };
                let Line { stamp, kind, connection, aux, ts_aux, ref bytes } = line;
                let symbol = match kind {
                    InputKind::RestDepth
                    | InputKind::SnapshotRequested
                    | InputKind::RestKlines
                    | InputKind::RestTrades => SymbolIndex(0),
                    _ => SymbolIndex::NONE,
                };
                let bytes = bytes.as_bytes();
                file.append(&Input { stamp, kind, symbol, connection, aux, ts_aux, bytes })
                    .unwrap();
                seq += 1;
            }
            files.push(file.finish().unwrap());
        }
        Self { dir, files }
    }

    fn dir(&self) -> Vec<PathBuf> {
        vec![self.dir.path().to_owned()]
    }

    fn verify(&self) -> VerifyReport {
        verify(&self.dir(), |_, _| ()).unwrap()
    }
}

impl Line {
    fn of(word: &str, seq: &mut u64, ts: &mut i64) -> Option<Self> {
        let number = |text: &str| text.parse::<u64>().unwrap();
        let ids = |text: &str| {
            let (first, last) = text.split_once('-').unwrap();
            (number(first), number(last))
        };
        let mut line = Self {
            stamp: Stamp {
                input_seq: 0,
                ts_recv: Nanos(0),
                ts_kernel: Nanos::UNDEF,
                ts_parsed: Nanos::UNDEF,
            },
            kind: InputKind::Text,
            connection: 0,
            aux: 0,
            ts_aux: Nanos::UNDEF,
            bytes: String::new(),
        };
        let ms = *ts / 1_000_000;
        if word == "q" {
            (line.kind, line.aux) = (InputKind::SnapshotRequested, 100);
        } else if let Some(connection) = word.strip_prefix("up") {
            (line.kind, line.aux) = (InputKind::LinkUp, LinkScope::ALL.0);
            line.connection = connection.parse().unwrap();
        } else if let Some(connection) = word.strip_prefix("down") {
            (line.kind, line.aux) = (InputKind::LinkDown, LinkScope::ALL.0);
            line.connection = connection.parse().unwrap();
        } else if let Some(seconds) = word.strip_prefix("wait") {
            *ts += seconds.parse::<i64>().unwrap() * Nanos::SECOND.0;
            return None;
        } else if word == "back" {
            *ts -= Nanos::SECOND.0;
            return None;
        } else if let Some(count) = word.strip_prefix("skip") {
            *seq += number(count);
            line.kind = InputKind::LogLost;
            line.ts_aux = Nanos(count.parse().unwrap());
        } else if let Some(count) = word.strip_prefix("hole") {
            *seq += number(count);
            return None;
        } else if word == "break" {
            line.kind = InputKind::Break;
        } else if word == "stop" {
            line.kind = InputKind::Stop;
        } else if word == "k" {
            (line.kind, line.aux) = (InputKind::RestKlines, 0);
            let rows: Vec<String> = (BEGIN / 1_000_000..ms)
                .step_by(1_000)
                .map(|open| {
                    format!(
                        "[{open},\"2.00\",\"2.00\",\"2.00\",\"2.00\",\"1.0\",{},\"2.0\",1,\"1.0\",\"2.0\",\"0\"]",
                        open + 999
                    )
                })
                .collect();
            line.bytes = format!("[{}]", rows.join(","));
        } else if let Some(range) = word.strip_prefix('h') {
            (line.kind, line.aux) = (InputKind::RestTrades, 1);
            let (first, last) = ids(range);
            let row = |id| {
                format!(
                    "{{\"a\":{id},\"p\":\"2.00\",\"q\":\"1\",\"f\":{id},\"l\":{id},\"T\":{ms},\"m\":true,\"M\":true}}"
                )
            };
            let rows: Vec<String> = (first..=last).map(row).collect();
            line.bytes = format!("[{}]", rows.join(","));
        } else if let Some(id) = word.strip_prefix('s') {
            (line.kind, line.aux) = (InputKind::RestDepth, 100);
            line.bytes = format!(
                "{{\"lastUpdateId\":{id},\"bids\":[[\"1.99\",\"1\"]],\"asks\":[[\"2.01\",\"1\"]]}}"
            );
        } else {
            let (connection, message) = word.split_once(':').unwrap();
            line.connection = connection.parse().unwrap();
            line.bytes = if let Some(range) = message.strip_prefix('d') {
                let (first, last) = ids(range);
                format!(
                    "{{\"stream\":\"ethusdt@depth@100ms\",\"data\":{{\"e\":\"depthUpdate\",\"E\":{ms},\"s\":\"ETHUSDT\",\
                     \"U\":{first},\"u\":{last},\"b\":[],\"a\":[]}}}}"
                )
            } else {
                let (first, last) = ids(message.strip_prefix('t').unwrap());
                format!(
                    "{{\"stream\":\"ethusdt@aggTrade\",\"data\":{{\"e\":\"aggTrade\",\"E\":{ms},\"s\":\"ETHUSDT\",\
                     \"a\":{first},\"p\":\"2.00\",\"q\":\"1\",\"f\":{first},\"l\":{last},\"T\":{ms},\"m\":true,\
                     \"M\":true}}}}"
                )
            };
        }
        (line.stamp.input_seq, line.stamp.ts_recv) = (*seq, Nanos(*ts));
        Some(line)
    }
}

/// The findings without the file's name and offset.
fn said(findings: &[Finding]) -> String {
    let one = |finding: &Finding| {
        format!("{}: {}, wanted {}", finding.about, finding.found, finding.wanted)
    };
    findings.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[test]
fn numbers_stamps_and_ids_are_held_against_each_other() {
    for (words, expected) in [
        ("up1 s10 1:d10-11 1:d12-15 1:t1-1 1:t2-4 stop", ""),
        ("up1 1:d10-11 1:t1-2 | 1:d12-15 1:t3-3 | stop", ""),
        ("up1 1:d10-11 skip3 1:d20-21 1:t1-1 skip1 1:t9-9", ""),
        ("up1 1:d10-11 1:t1-1 down1 up2 2:d20-21 2:t5-5 2:d22-22", ""),
        (
            "up1 1:d10-11 1:d13-14 1:t1-1 1:t4-4",
            "update ids: ETHUSDT going on with 13, wanted 12: 1 are missing; \
             trade ids: ETHUSDT going on with 4, wanted 2: 2 are missing",
        ),
        ("up1 up2 1:d10-11 2:d10-11 1:d14-15 2:d12-13 2:d14-15", ""),
        (
            "up1 up2 1:d10-11 2:d10-11 1:d14-15 2:d14-15",
            "update ids: ETHUSDT going on with 14, wanted 12: 2 are missing",
        ),
        ("up1 hole2 1:d1-1", "numbering: input 3, wanted 1"),
        ("up1 1:d1-1 | hole2 1:d2-2", "numbering: input 4, wanted 2"),
        (
            "up1 back back 1:d1-1",
            "stamp: 1767225598400000000 ns after 1767225600100000000 ns, wanted one that is not smaller",
        ),
    ] {
        let report = Script::write(words).verify();
        assert_eq!(said(&report.findings), expected, "{words}");
        assert_eq!(report.findings_total, report.findings.len() as u64);
        assert_eq!((report.notes.len(), report.runs.len()), (0, 1), "{words}");
        assert_eq!(report.runs[0].stopped, words.ends_with("stop"));
        assert_eq!(report.runs[0].malformed, 0, "{words}");
    }
    let report = Script::write("up1 skip3 skip4 | skip5 stop").verify();
    assert_eq!((report.runs[0].lost, report.findings_total), (12, 0));
    let lost: Vec<u64> = report.runs[0].files.iter().map(|file| file.inputs_lost).collect();
    assert_eq!(lost, [7, 5]);
}

const TWO_FILES: &str = "up1 s10 1:d10-11 1:d12-15 1:t1-1 | 1:d16-17 1:t2-4 1:t5-5";

/// Inputs and bytes that a reader gets.
fn inputs(paths: &[PathBuf]) -> Vec<(u64, Vec<u8>)> {
    let mut inputs = Vec::new();
    let Ok(mut reader) = LogReader::open(paths) else { return inputs };
    while let Ok(Some(input)) = reader.next() {
        inputs.push((input.stamp.input_seq, input.bytes.to_vec()));
    }
    inputs
}

#[test]
fn a_log_cut_anywhere_is_verified_up_to_the_cut() {
    let script = Script::write(TWO_FILES);
    let last = &script.files[1];
    let bytes = fs::read(last).unwrap();
    let whole = inputs(&script.files).len();
    let mut counts = Vec::new();
    // What a reader makes of each single cut is tested with the format.
    for cut in (0..bytes.len()).step_by(17) {
        fs::write(last, &bytes[..cut]).unwrap();
        let report = script.verify();
        let count: u64 = report.runs[0].files.iter().map(|file| file.inputs).sum();
        if report.runs[0].files.len() == 1 {
            let text = said(&report.findings);
            assert!(
                text.contains(&format!("its end at byte {cut}, inside its ")) || cut < 8,
                "{text}"
            );
            assert_eq!(count, 5);
        } else {
            assert_eq!(report.findings, [], "{cut}");
            assert!(report.notes.len() <= 1, "{cut}");
            assert_eq!(count, inputs(&script.files).len() as u64, "{cut}");
        }
        counts.push(count);
    }
    counts.dedup();
    assert_eq!(counts, (5..whole as u64).collect::<Vec<_>>());
    // In the middle of a run a torn end is no tail.
    fs::write(last, &bytes).unwrap();
    let first = fs::read(&script.files[0]).unwrap();
    fs::write(&script.files[0], &first[..first.len() - 1]).unwrap();
    assert_eq!(
        said(&script.verify().findings),
        "record: a torn end (it ends inside a record), wanted input 4 or the end; \
         numbering: input 5, wanted 4"
    );
}

#[test]
fn a_flipped_bit_is_found() {
    for packed in [false, true] {
        let script = Script::write(TWO_FILES);
        let path = if packed { pack(&script.files[0]) } else { script.files[0].clone() };
        let bytes = fs::read(&path).unwrap();
        let before = inputs(&[path.clone(), script.files[1].clone()]);
        for at in (0..bytes.len()).step_by(31) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&path, flipped).unwrap();
            let report = script.verify();
            // zstd has bits in its own head that mean nothing.
            let harmless = packed && inputs(&[path.clone(), script.files[1].clone()]) == before;
            assert!(report.findings_total > 0 || harmless, "byte {at}, packed {packed}");
        }
    }
}

fn pack(path: &Path) -> PathBuf {
    let packed = path.with_extension("cblog.zst");
    let mut encoder = zstd::Encoder::new(fs::File::create(&packed).unwrap(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    std::io::copy(&mut fs::File::open(path).unwrap(), &mut encoder).unwrap();
    encoder.finish().unwrap();
    fs::remove_file(path).unwrap();
    packed
}

#[test]
fn what_is_behind_damage_is_read() {
    let script = Script::write("up1 s10 1:d10-11 1:d12-15 1:t1-1 1:d16-17 stop");
    let path = &script.files[0];
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.windows(3).position(|window| window == b"\"u\"").unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
    let report = script.verify();
    let text = said(&report.findings);
    assert!(
        text.starts_with("record: a damaged record (its checksum does not match), good ones from "),
        "{text}"
    );
    assert!(text.ends_with("wanted input 2 or the end; numbering: input 3, wanted 2"), "{text}");
    assert_eq!((report.runs[0].files[0].inputs, report.runs[0].stopped), (6, true));
}

/// `symbol kind seconds missing ids filled`, without what is the same in all.
fn gaps_of(words: &str) -> String {
    let script = Script::write(words);
    let one = |gap: &Gap| {
        let tenths = gap.duration().map_or("open".to_owned(), |d| (d.0 / 100_000_000).to_string());
        let ids = gap.first_id.zip(gap.last_id).map_or(String::new(), |(a, b)| format!(" {a}-{b}"));
        let filled = gap.filled_by.unwrap_or("nothing");
        format!("{} {tenths} [{}]{ids} {filled}", gap.kind.name(), gap.missing)
    };
    let found = gaps(&script.dir(), |_, _| ()).unwrap();
    for gap in &found {
        let of_all = matches!(gap.kind, GapKind::Link | GapKind::Log | GapKind::Suspend);
        assert_eq!(gap.symbol.as_deref(), (!of_all).then_some("ETHUSDT"));
    }
    found.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[test]
fn gaps_are_listed_with_what_filled_them() {
    let live = "up1 1:d9-10 q s9 1:t1-1 1:d11-11";
    let book = "the book";
    let joined = "the book and the update ids to join it";
    let all = "depth bookTicker trades ticker klines";
    for (words, expected) in [
        ("stop", String::new()),
        ("1:d12-12 1:t2-2 stop", String::new()),
        // A gap in the feed, until a snapshot.
        ("1:d14-15 q s15 1:d16-16", format!("book 1 [{joined}] 12-13 snapshot")),
        ("1:d14-15 stop", format!("book open [{joined}] 12-13 nothing")),
        // Without a link, for a second.
        (
            "down1 wait1 up2 2:d20-21 q s21 2:d22-22",
            format!("link 12 [{all}] link; book 14 [{joined}] 12-19 snapshot"),
        ),
        ("down1 stop", format!("link open [{all}] nothing; book open [{book}] nothing")),
        // Two connections: the loss of one costs nothing.
        ("up2 down1 2:d12-12 2:t2-2", String::new()),
        ("1:t4-4 stop", "trades 2 [2 trades, 1 s not told by klines] 2-3 nothing".to_owned()),
        ("1:t4-4 wait2 k", "trades 2 [2 trades] 2-3 klines".to_owned()),
        // The bar came before the ids showed the gap.
        ("k 1:t4-4", "trades 3 [2 trades] 2-3 klines".to_owned()),
        // The trades came, in parts, before the bars or after them, and repeated.
        ("1:t4-4 h2-3 stop", "trades 2 [2 trades] 2-3 trades".to_owned()),
        ("1:t5-5 h3-3 wait2 k h2-4", "trades 2 [3 trades] 2-4 trades".to_owned()),
        ("1:t5-5 h1-2 wait2 k h2-2", "trades 2 [2 of 3 trades] 2-4 klines".to_owned()),
        (
            "1:t5-5 h4-4 stop",
            "trades 2 [2 of 3 trades, 1 s not told by klines] 2-4 nothing".to_owned(),
        ),
        ("skip3 1:d12-12", "log 1 [3 inputs] nothing".to_owned()),
        ("wait90 break 1:d12-12", "suspend 902 [all streams] nothing".to_owned()),
    ] {
        assert_eq!(gaps_of(&format!("{live} {words}")), expected, "{words}");
    }
}

#[test]
fn a_frame_is_traced_to_its_input() {
    // Timers come between: each 100 ms one, and one input.
    let script = Script::write("up1 1:d9-10 q s9 1:t1-1 | 1:d11-11 1:t2-3 stop");
    let files = || script.files.clone();
    let end = match lineage(files(), "ETHUSDT", 1_000, |_, _| ()) {
        Err(LineageError::Frame { first: 0, end, wanted: 1_000, .. }) => end,
        other => panic!("{other:?}"),
    };
    let mut told = Vec::new();
    for seq in 0..end {
        let lineage = lineage(files(), "ethusdt", seq, |_, _| ()).unwrap();
        assert_eq!((lineage.symbol.as_str(), lineage.seq, lineage.epoch), ("ETHUSDT", seq, 7));
        let Some(input) = lineage.input else { continue };
        let bytes = fs::read(&input.path).unwrap();
        let at = usize::try_from(input.offset).unwrap();
        // The record is where it is said to be, and it is that one.
        assert_eq!(bytes[at + 24..at + 32], input.stamp.input_seq.to_le_bytes());
        assert_eq!(bytes[at + 56..at + 56 + input.bytes.len()], input.bytes);
        let previous = lineage.previous.map(|previous| previous.stamp.input_seq);
        if input.stamp.input_seq > 0 {
            assert_eq!(previous, Some(input.stamp.input_seq - 1), "frame {seq}");
        }
        if lineage.trigger != "timer" {
            assert_eq!(input.stamp.ts_recv, lineage.ts_recv);
            told.push(format!("{} {:?}", lineage.trigger, input.kind));
        }
    }
    assert_eq!(
        told,
        [
            "link LinkUp",
            "depth Text",
            "snapshot RestDepth",
            "trade Text",
            "depth Text",
            "trade Text"
        ]
    );
    let error = lineage(files(), "XRPUSDT", 0, |_, _| ()).unwrap_err();
    assert_eq!(error.to_string(), "the log has no symbol XRPUSDT, it has ETHUSDT");
}
