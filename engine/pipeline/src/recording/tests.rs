use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::*;

fn gz(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// `ts file:line message [symbol]` for each line, then the error if there is one.
fn read(files: &[&[u8]]) -> (Vec<String>, Option<String>) {
    let dir = TempDir::new().unwrap();
    let mut paths = Vec::new();
    for (index, contents) in files.iter().enumerate() {
        let path = dir.path().join(index.to_string());
        fs::write(&path, contents).unwrap();
        paths.push(path);
    }
    let here = format!("{}/", dir.path().display());
    let mut lines = Vec::new();
    let mut recording = match Recording::open(&paths) {
        Ok(recording) => recording,
        Err(error) => return (lines, Some(error.to_string().replace(&here, ""))),
    };
    loop {
        match recording.next() {
            Ok(Some(line)) => {
                assert!(!line.snapshot || line.symbol.is_some());
                let symbol = line.symbol.map_or(String::new(), |s| format!(" [{s}]"));
                lines.push(format!(
                    "{} {}:{} {}{symbol}",
                    line.ts_recv.0,
                    line.file,
                    line.line_number,
                    std::str::from_utf8(line.bytes).unwrap()
                ));
            }
            Ok(None) => {
                assert!(recording.next().unwrap().is_none(), "the end stays the end");
                let (read, size) = recording.progress();
                assert_eq!(read, size);
                return (lines, None);
            }
            Err(error) => return (lines, Some(error.to_string().replace(&here, ""))),
        }
    }
}

fn check(files: &[&[u8]], wanted: &[&str]) {
    assert_eq!(read(files), (wanted.iter().map(|&line| line.to_owned()).collect(), None));
}

fn check_error(files: &[&[u8]], wanted: &str) {
    assert_eq!(read(files).1.as_deref(), Some(wanted));
}

#[test]
fn plain_and_compressed_files_read_the_same() {
    let text = "1 {\"a\":1}\n2 b c\n2 d";
    let wanted = ["1 0:1 {\"a\":1}", "2 0:2 b c", "2 0:3 d"];
    check(&[text.as_bytes()], &wanted);
    check(&[&gz(text)], &wanted);
    check(&[&zstd::bulk::compress(text.as_bytes(), 1).unwrap()], &wanted);
    let members = [gz(&text[..5]), gz(""), gz(&text[5..])].concat();
    check(&[&members], &wanted);
    let (first, second) = text.as_bytes().split_at(7);
    let frames = [first, second].map(|part| zstd::bulk::compress(part, 1).unwrap()).concat();
    check(&[&frames], &wanted);
}

#[test]
fn empty_files_have_no_lines() {
    check(&[b""], &[]);
    check(&[b"", b"5 x\n", &gz("")], &["5 1:1 x"]);
    check_error(&[], "no recordings were given");
}

#[test]
fn files_merge_by_time_then_by_their_order_then_by_line() {
    check(
        &[b"10 a\n20 b\n20 c\n40 d\n", b"5 e\n20 f\n20 g\n50 h\n", b"20 i\n"],
        &[
            "5 1:1 e", "10 0:1 a", "20 0:2 b", "20 0:3 c", "20 1:2 f", "20 1:3 g", "20 2:1 i",
            "40 0:4 d", "50 1:4 h",
        ],
    );
}

#[test]
fn a_smaller_stamp_is_raised_to_the_last_one() {
    check(
        &[b"10 a\n7 b\n12 c\n", b"9 d\n11 e\n3 f\n"],
        &["9 1:1 d", "10 0:1 a", "10 0:2 b", "11 1:2 e", "11 1:3 f", "12 0:3 c"],
    );
}

#[test]
fn bad_lines_are_named() {
    for (line, found) in [
        (&b""[..], "it does not begin with a receive time in ns"),
        (b"{\"a\":1}", "it does not begin with a receive time in ns"),
        (b"-5 x", "it does not begin with a receive time in ns"),
        (b"12", "its receive time is not followed by a space"),
        (b"12\tx", "its receive time is not followed by a space"),
        (b"12x", "its receive time is not followed by a space"),
        (b"12 ", "it has no message"),
        (b"12  \r", "it has no message"),
        (b"9223372036854775808 x", "its receive time is beyond the year 2262"),
        (b"12 \xff", "its message is not UTF-8"),
    ] {
        let file = [b"11 good\n", line, b"\n13 good\n"].concat();
        let (lines, error) = read(&[&file]);
        assert_eq!(lines, ["11 0:1 good"]);
        assert_eq!(error, Some(format!("0:2: {found}, wanted `<receive ns> <raw message>`")));
    }
    check(&[b"9223372036854775807 x"], &["9223372036854775807 0:1 x"]);
}

#[test]
fn lines_above_16_mib_are_refused_and_smaller_ones_are_not() {
    let message = "x".repeat(LINE_BYTES_MAX - 2);
    let good = format!("1 {message}\n2 y\n");
    let (lines, error) = read(&[good.as_bytes()]);
    assert_eq!((lines.len(), error), (2, None));
    let long = format!("1 x\n1 x{message}\n2 y\n");
    let wanted = "0:2: the line is longer than 16 MiB, wanted `<receive ns> <raw message>`";
    let (lines, error) = read(&[long.as_bytes()]);
    assert_eq!((lines.len(), error.as_deref()), (1, Some(wanted)));
}

#[test]
fn a_damaged_or_cut_compressed_file_is_named_with_the_last_good_line() {
    let text: String = (1..20_000).map(|i| format!("{i} message {}\n", i * 7919)).collect();
    let whole = gz(&text);
    let (lines, error) = read(&[&whole[..whole.len() / 2]]);
    let wanted = format!("0: cannot be read after line {}: ", lines.len());
    assert!(lines.len() > 1_000);
    assert!(error.as_ref().is_some_and(|error| error.starts_with(&wanted)), "{error:?}");
}

#[test]
fn a_missing_file_is_named() {
    let error = Recording::open(&["/nowhere/at.all"]).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/at.all: cannot be read after line 0: "), "{error}");
}

const ETH: &str = r#"{"stream":"ethusdt@trade","data":{}}"#;
const BTC: &str = r#"{"stream":"btcusdt@depth@100ms","data":{}}"#;
const SNAPSHOT: &str = r#"{"lastUpdateId":7,"bids":[["1.0","2.0"]],"asks":[]}"#;

#[test]
fn a_snapshot_belongs_to_the_first_combined_message_of_its_file() {
    let eth = format!("1 {SNAPSHOT}\n2 {{\"result\":null}}\n3 {ETH}\n4 {SNAPSHOT}\n");
    let btc = format!("1 {BTC}\n2 {SNAPSHOT}\n");
    check(
        &[eth.as_bytes(), btc.as_bytes()],
        &[
            &format!("1 0:1 {SNAPSHOT} [ETHUSDT]"),
            &format!("1 1:1 {BTC} [BTCUSDT]"),
            "2 0:2 {\"result\":null}",
            &format!("2 1:2 {SNAPSHOT} [BTCUSDT]"),
            &format!("3 0:3 {ETH} [ETHUSDT]"),
            &format!("4 0:4 {SNAPSHOT} [ETHUSDT]"),
        ],
    );
}

#[test]
fn the_first_combined_message_may_be_far_behind() {
    let filler: String =
        (0..60_000).map(|i| format!("2 {{\"id\":{i},\"result\":null}}\n")).collect();
    let (lines, error) = read(&[format!("1 {SNAPSHOT}\n{filler}3 {ETH}\n").as_bytes()]);
    assert_eq!((lines.len(), error), (60_002, None));
    assert!(lines[0].ends_with(" [ETHUSDT]"));
}

#[test]
fn the_symbols_of_files_are_known_before_they_are_read() {
    let filler = "2 {\"result\":null}\n".repeat(20_000);
    let symbols = |files: &[String]| {
        let dir = TempDir::new().unwrap();
        let path = |index: usize| dir.path().join(index.to_string());
        let paths: Vec<_> = (0..files.len()).map(path).collect();
        for (path, contents) in paths.iter().zip(files) {
            fs::write(path, gz(contents)).unwrap();
        }
        let mut recording = Recording::open(&paths).unwrap();
        let symbols = recording.symbols().unwrap();
        // They are read from their beginning all the same.
        assert_eq!(recording.next().unwrap().unwrap().line_number, 1);
        symbols.into_iter().collect::<Vec<_>>()
    };
    let one = format!("1 {SNAPSHOT}\n2 {ETH}\n{filler}");
    assert_eq!(symbols(std::slice::from_ref(&one)), ["ETHUSDT"]);
    // Without a snapshot others may come at the end.
    let two = format!("1 {ETH}\n{filler}3 {BTC}\n");
    assert_eq!(symbols(&[two]), ["BTCUSDT", "ETHUSDT"]);
    assert_eq!(symbols(&[one, format!("1 {BTC}\n")]), ["BTCUSDT", "ETHUSDT"]);
    assert!(symbols(&[filler]).is_empty());
}

#[test]
fn damage_is_told_of_behind_the_lines_before_it() {
    // Both in what is looked through first.
    let mut damaged = gz(&(0..3_000).map(|i| format!("{i} x{}\n", i * i)).collect::<String>());
    let half = damaged.len() / 2;
    damaged.truncate(half);
    let (lines, error) = read(&[&damaged]);
    let wanted = format!("0: cannot be read after line {}: ", lines.len());
    assert!(lines.len() > 100, "{}", lines.len());
    assert!(error.as_ref().is_some_and(|error| error.starts_with(&wanted)), "{error:?}");
    check_error(
        &[b"1 a\nx\n2 b\n"],
        "0:2: it does not begin with a receive time in ns, wanted `<receive ns> <raw message>`",
    );
}

#[test]
fn a_snapshot_without_any_combined_message_is_refused() {
    check_error(
        &[format!("1 x\n2 {SNAPSHOT}\n").as_bytes()],
        "0:2: a depth snapshot has no symbol of its own, wanted a combined-stream \
         message in the file to give it one",
    );
}

#[test]
fn several_symbols_and_a_snapshot_are_refused_in_any_order() {
    for (lines, snapshot_line, first, second, second_line) in [
        ([SNAPSHOT, ETH, BTC], 1, "ETHUSDT", "BTCUSDT", 3),
        ([ETH, SNAPSHOT, BTC], 2, "ETHUSDT", "BTCUSDT", 3),
        ([BTC, ETH, SNAPSHOT], 3, "BTCUSDT", "ETHUSDT", 2),
    ] {
        for filler_lines in [0, 40_000] {
            let filler = format!("1 {{\"result\":\"{}\"}}\n", "-".repeat(30)).repeat(filler_lines);
            let file: String = [&lines[..2], &lines[2..]]
                .map(|part| part.iter().map(|line| format!("1 {line}\n")).collect::<String>())
                .join(&filler);
            let shift = |line: u64| if line == 3 { line + filler_lines as u64 } else { line };
            check_error(
                &[file.as_bytes()],
                &format!(
                    "0: holds a depth snapshot (line {}) and messages of {first} and {second} (line {}): the snapshot could \
                     be of either, wanted one symbol in a file with snapshots",
                    shift(snapshot_line),
                    shift(second_line)
                ),
            );
        }
    }
    let file = format!("1 {ETH}\n2 {BTC}\n3 {ETH}\n");
    let wanted = [(1, ETH, "ETHUSDT"), (2, BTC, "BTCUSDT"), (3, ETH, "ETHUSDT")]
        .map(|(line, message, symbol)| format!("{line} 0:{line} {message} [{symbol}]"));
    check(&[file.as_bytes()], &wanted.each_ref().map(|line| &line[..]));
}

#[test]
fn messages_are_told_apart_in_any_spelling() {
    for (message, wanted) in [
        (ETH, Class::Combined("ethusdt")),
        (
            r#" { "data" : {"stream":"x@y"} , "stream" : "Eth\u0041@trade" }"#,
            Class::Combined("Eth\\u0041"),
        ),
        (r#"{"data":{"lastUpdateId":1},"stream":"btcusdt@depth20"}"#, Class::Combined("btcusdt")),
        (r#"{"lastUpdateId":1,"stream":"btcusdt@depth20"}"#, Class::Combined("btcusdt")),
        (r#"{"stream":"!ticker@arr","data":[]}"#, Class::Other),
        (r#"{"stream":5,"lastUpdateId":1}"#, Class::Snapshot),
        (SNAPSHOT, Class::Snapshot),
        (r#"{"bids":[["1","2"]],"asks":[],"lastUpdateId":5}"#, Class::Snapshot),
        (r#"{"data":{"lastUpdateId":5}}"#, Class::Other),
        (r#"[{"lastUpdateId":5}]"#, Class::Other),
        (r#"{"x":"lastUpdateId"}"#, Class::Other),
        (r#"{"x\"":"\\","lastUpdateId":5}"#, Class::Snapshot),
        (r#"}}}{"lastUpdateId":5}"#, Class::Other),
        (r#"{"stream":""#, Class::Other),
        (r#"{"a\"#, Class::Other),
        ("", Class::Other),
        ("lastUpdateId", Class::Other),
    ] {
        assert_eq!(classify(message.as_bytes()), wanted, "{message}");
    }
}

#[test]
fn a_log_is_no_recording() {
    let error = read(&[b"CBLOG\r\n\x1a and more"]).1.unwrap();
    assert_eq!(
        error,
        "0: is a cobring log, wanted a recording of lines `<receive ns> <raw message>`"
    );
}

#[test]
fn a_line_is_an_input() {
    let line = Line {
        ts_recv: Nanos(5),
        bytes: b"x",
        file: 0,
        line_number: 1,
        snapshot: false,
        symbol: None,
    };
    let text = line.input(9, SymbolIndex(1));
    assert_eq!(
        (text.kind, text.symbol, text.stamp.input_seq),
        (InputKind::Text, SymbolIndex::NONE, 9)
    );
    let snapshot = Line { snapshot: true, ..line }.input(9, SymbolIndex(1));
    assert_eq!(
        (snapshot.kind, snapshot.symbol, snapshot.aux),
        (InputKind::RestDepth, SymbolIndex(1), 0)
    );
}
