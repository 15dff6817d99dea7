//! Files that an operator hands over: logs, bounds, recordings, the configuration.

use std::path::PathBuf;

use cobring_pipeline::bounds_file::{BoundsFile, BoundsImport};
use cobring_pipeline::config::Config;
use cobring_pipeline::log::{
    Checkpoint, CheckpointBlob, LogError, LogFile, LogHeader, LogReader, LogStart,
};
use cobring_pipeline::recording::Recording;
use cobring_types::{
    Input, InputKind, Instrument, Kline, Nanos, Px, Qty, Stamp, Symbol, SymbolIndex,
};
use tempfile::TempDir;

use crate::venue_oracle::{decode, decoder, fixture};

thread_local! {
    static DIR: TempDir = tempfile::tempdir_in("/dev/shm").unwrap();
}

fn write(name: &str, bytes: &[u8]) -> PathBuf {
    DIR.with(|dir| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    })
}

/// A log of these bytes, and one of them with checksums that fit: inputs in order and without a hole, which
/// the decoder takes or refuses, until an end that says why.
pub fn log_file(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), with_log_checksums(bytes)] {
        let path = write("20260101T000000Z_1_1.cblog", &bytes);
        if let Err(error) = read_log(&path, bytes.len()) {
            assert!(error.to_string().contains(".cblog"), "{error}");
        }
    }
}

fn read_log(path: &PathBuf, size_bytes: usize) -> Result<(), LogError> {
    let mut log = LogReader::open(&[path])?;
    let _ = Config::from_fold_text(&log.header().config);
    let mut expected = log.header().first_input_seq;
    let mut decoder = None;
    let mut inputs = 0;
    while let Some(input) = log.next()? {
        let found = input.stamp.input_seq;
        assert!(found == expected || found > expected && input.kind == InputKind::LogLost);
        expected = found.wrapping_add(1);
        inputs += 1;
        // A record has a head of 56 bytes. Compressed, a file may hold many of them.
        assert!(inputs <= size_bytes * 100, "{inputs} inputs of {size_bytes} bytes");
        let input = Input { stamp: crate::venue_oracle::STAMP, ..input };
        if inputs < 8 {
            let _ = decode(decoder.get_or_insert_with(decoder_of_three), &input);
        }
    }
    assert!(log.torn().len() <= 1, "{:?}", log.torn());
    Ok(())
}

fn decoder_of_three() -> cobring_venue::binance::Decoder {
    decoder()
}

/// As far as the lengths make sense, each part of a log with the checksum of what it now holds.
fn with_log_checksums(bytes: &[u8]) -> Vec<u8> {
    fn length(bytes: &[u8], at: usize) -> Option<usize> {
        Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize)
    }
    fn fix(part: &mut [u8], crc_at: usize) {
        let (head, tail) = part.split_at_mut(crc_at);
        let (crc, tail) = tail.split_at_mut(4);
        crc.copy_from_slice(&crc32c::crc32c_append(crc32c::crc32c(head), tail).to_le_bytes());
    }
    let mut bytes = bytes.to_vec();
    let mut fix_all = || -> Option<()> {
        let header = length(&bytes, 12).filter(|&length| length >= 88)?;
        fix(bytes.get_mut(..header)?, 84);
        let stored = length(&bytes, header + 16)?;
        let end = (header + 40).checked_add(stored)?.next_multiple_of(8);
        fix(bytes.get_mut(header..end)?, 32);
        let mut at = end;
        loop {
            let end = (at + 56).checked_add(length(&bytes, at)?)?.next_multiple_of(8);
            fix(bytes.get_mut(at..end)?, 4);
            at = end;
        }
    };
    let _ = fix_all();
    bytes
}

pub(crate) fn logs() -> Vec<Vec<u8>> {
    let config = Config::built_in();
    let header = LogHeader {
        epoch: 1_767_225_600_000_000_000,
        first_input_seq: 0,
        ts_start: Nanos(1_767_225_600_000_000_000),
        config_digest: [7; 32],
        config: config.fold_digest_text(),
        venue_digest: config.venue_digest(),
        symbols: ["BTCUSDT", "ETHUSDT"].map(|name| Symbol::new(name).unwrap()).into(),
    };
    let blob = CheckpointBlob { name: "ETHUSDT.candles.1s".to_owned(), bytes: vec![3; 200] };
    let checkpoint = Checkpoint { input_seq: 41, state: vec![1, 2, 3], blobs: vec![blob] };
    let starts = [LogStart::Initial, LogStart::Taken(checkpoint), LogStart::Missing];
    let messages = ["ws_depth", "ws_trade", "ws_book_ticker"].map(fixture);
    starts
        .into_iter()
        .map(|start| {
            let temp = tempfile::tempdir().unwrap();
            let mut log = LogFile::create(temp.path(), &header, &start).unwrap();
            for (input_seq, message) in (0..).zip(&messages) {
                log.append(&input(input_seq, InputKind::Text, message)).unwrap();
            }
            log.append(&input(9, InputKind::LogLost, &6_u64.to_le_bytes())).unwrap();
            log.append(&input(10, InputKind::RestDepth, &fixture("rest_depth"))).unwrap();
            log.append(&input(11, InputKind::LinkDown, b"")).unwrap();
            std::fs::read(log.finish().unwrap()).unwrap()
        })
        .collect()
}

fn input(input_seq: u64, kind: InputKind, bytes: &[u8]) -> Input<'_> {
    let nanos = Nanos(1_767_225_600_000_000_000 + i64::try_from(input_seq).unwrap());
    let stamp =
        Stamp { input_seq, ts_recv: nanos, ts_kernel: Nanos::UNDEF, ts_parsed: Nanos::UNDEF };
    let (connection, aux, ts_aux) = (0, 5, Nanos::UNDEF);
    Input { stamp, kind, symbol: SymbolIndex(1), connection, aux, ts_aux, bytes }
}

/// A bounds file: refused, or what it says is written back to the byte.
pub fn bounds_file(bytes: &[u8]) {
    let instrument = Instrument::new("ETHUSDT", "0.01", 8).unwrap();
    for bytes in [bytes.to_vec(), with_bounds_checksum(bytes)] {
        match BoundsFile::decode(&bytes, &instrument, "a file") {
            Ok(file) => {
                // Numbers of variable length have more than one spelling, so from the second time on.
                let encoded = file.encode();
                let again = BoundsFile::decode(&encoded, &instrument, "a file").unwrap();
                assert_eq!(again.encode(), encoded);
            }
            Err(error) => assert!(error.to_string().contains("a file"), "{error}"),
        }
    }
}

fn with_bounds_checksum(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some((header, body)) = bytes.split_at_mut_checked(24) {
        header[12..16].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
        header[16..24].copy_from_slice(&(body.len() as u64).to_le_bytes());
    }
    bytes
}

pub(crate) fn bounds() -> Vec<Vec<u8>> {
    let instrument = Instrument::new("ETHUSDT", "0.01", 8).unwrap();
    let bar = |second: i64, high: i64, low: i64| Kline {
        open_time: Nanos((1_767_225_600 + second) * Nanos::SECOND.0),
        open: Px(low),
        high: Px(high),
        low: Px(low),
        close: Px(low),
        volume: Qty(10),
        quote_volume: 1,
        taker_buy_volume: Qty(0),
        taker_buy_quote_volume: 0,
        trade_count: 1,
    };
    let file = |prices: &[(i64, i64)]| {
        let mut import = BoundsImport::new();
        for (second, &(high, low)) in (0..).zip(prices) {
            import.on_kline(&bar(second, high, low), &instrument);
        }
        import.on_kline(&bar(7_199, 105, 104), &instrument);
        import.finish(&instrument).unwrap().encode()
    };
    let waves: Vec<_> =
        (0..60).map(|second| (110 + second * 7 % 13, 100 - second * 5 % 11)).collect();
    vec![file(&[]), file(&[(110, 100), (111, 99), (130, 80), (111, 99), (110, 100)]), file(&waves)]
}

/// A configuration: refused with every problem by path and line, or its canonical form says the same again.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Config::parse(text, "fuzz.toml") {
        Ok(config) => {
            let canonical = config.fold_digest_text();
            let again = Config::from_fold_text(&canonical).expect("its own canonical form");
            assert_eq!(again.fold_digest_text(), canonical);
        }
        Err(error) => assert!(error.to_string().contains("fuzz.toml"), "{error}"),
    }
}

pub(crate) fn configurations() -> Vec<Vec<u8>> {
    let shipped = include_bytes!("../../../config/cobring.toml");
    vec![shipped.to_vec(), Config::built_in().fold_digest_text().into_bytes()]
}

/// A recording: lines whose times never go back, each a part of the file, until the end or a line that is none.
pub fn recording_line(bytes: &[u8]) {
    let path = write("recording", bytes);
    let mut recording = match Recording::open(&[&path]) {
        Ok(recording) => recording,
        Err(error) => return assert!(error.to_string().contains("recording"), "{error}"),
    };
    let (mut ts_last, mut lines) = (Nanos(i64::MIN), 0);
    loop {
        match recording.next() {
            Ok(Some(line)) => {
                lines += 1;
                assert!(line.ts_recv >= ts_last && line.line_number == lines);
                assert!(std::str::from_utf8(line.bytes).is_ok());
                ts_last = line.ts_recv;
            }
            Ok(None) => break,
            Err(error) => return assert!(error.to_string().contains("recording"), "{error}"),
        }
    }
}

pub(crate) fn recordings() -> Vec<Vec<u8>> {
    let line = |ts: u64, name: &str| {
        let message = fixture(name);
        [format!("{ts} ").as_bytes(), message.trim_ascii_end(), b"\n"].concat()
    };
    let first = [line(1, "ws_depth"), line(2, "rest_depth"), line(3, "ws_trade")].concat();
    let second = [line(9, "ws_book_ticker"), line(8, "ws_ack"), line(10, "ws_kline")].concat();
    vec![first, second, b"18446744073709551616 {}\n".to_vec(), b"1 {}".to_vec()]
}
