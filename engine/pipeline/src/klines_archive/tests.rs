//! Archives as the venue publishes them, and everything that is refused.

use std::io::Write as _;

use zip::write::{SimpleFileOptions, ZipWriter};

use super::*;

const HEADER: &str = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore";
/// In the venue's shapes: milliseconds before 2025, microseconds since.
const MILLIS: &str = "1723075200000,2342.80000000,2343.01000000,2342.80000000,2343.00000000,5.20110000,1723075200999,12185.93770000,37,2.00000000,4685.99990000,0";
const MICROS: &str = "1735689600000000,3337.78000000,3337.78000000,3337.77000000,3337.78000000,1.34350000,1735689600999999,4484.30713000,9,0.50000000,1668.89000000,0";

fn instrument() -> Instrument {
    Instrument::new("ETHUSDT", "0.01", 8).unwrap()
}

pub(crate) fn write_archive(path: &Path, files: &[(&str, &str)]) {
    let mut zip = ZipWriter::new(File::create(path).unwrap());
    for (name, text) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
}

/// Rows of an archive with this CSV, of seconds.
fn read(csv: &str) -> Result<(Vec<Kline>, u64), String> {
    read_as(csv, Nanos::SECOND)
}

fn read_as(csv: &str, interval: Nanos) -> Result<(Vec<Kline>, u64), String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.zip");
    write_archive(&path, &[("x.csv", csv)]);
    let instrument = instrument();
    let mut reader = KlineReader::new(&instrument, interval);
    let mut klines = Vec::new();
    let mut told = 0;
    reader
        .read(&path, |kline| klines.push(*kline), |bytes| told = bytes)
        .map_err(|error| error.to_string().replace(&format!("{}/", dir.path().display()), ""))?;
    assert_eq!(told, csv.len() as u64);
    Ok((klines, reader.missing()))
}

#[test]
fn rows_are_exact_in_both_units_of_time() {
    let expected = Kline {
        open_time: Nanos(1_723_075_200_000_000_000),
        open: Px(234_280),
        high: Px(234_301),
        low: Px(234_280),
        close: Px(234_300),
        volume: Qty(520_110_000),
        quote_volume: 1_218_593_770_000,
        taker_buy_volume: Qty(200_000_000),
        taker_buy_quote_volume: 468_599_990_000,
        trade_count: 37,
    };
    let later = 1_735_689_600_000_000_000;
    for csv in [
        format!("{MILLIS}\n{MICROS}\n"),
        format!("{HEADER}\n{MILLIS}\n{MICROS}"),
        format!("{HEADER}\r\n{MILLIS}\r\n{MICROS}\r\n"),
    ] {
        let (klines, missing) = read(&csv).unwrap();
        assert_eq!(klines[0], expected);
        assert_eq!((klines[1].open_time, klines[1].close), (Nanos(later), Px(333_778)));
        assert_eq!(klines.len(), 2);
        let seconds = (later - expected.open_time.0) / Nanos::SECOND.0;
        assert_eq!(missing, seconds.unsigned_abs() - 1);
    }
    assert_eq!(read(""), Ok((Vec::new(), 0)));
}

fn check_refused(row: &str, expected: &str) {
    let error = read(&format!("{MILLIS}\n{row}\n")).unwrap_err();
    assert_eq!(error, format!("x.zip:2: {expected}"));
}

#[test]
fn rows_that_cannot_be_are_refused_with_their_place() {
    let next = MILLIS.replace("17230752", "17230753");
    assert_eq!(read(&format!("{MILLIS}\n{next}\n")).map(|(klines, _)| klines.len()), Ok(2));
    let with = |column: usize, cell: &str| {
        let mut cells: Vec<&str> = next.split(',').collect();
        cells[column] = cell;
        cells.join(",")
    };
    let px = "wanted a price in ticks of 0.01";
    let sum = "wanted a sum in units of 10^-8";
    check_refused("", "row \"\", wanted 12 columns, not 1");
    check_refused(
        &next[..40],
        "row \"1723075300000,2342.80000000,2343.0100000\", wanted 12 columns, not 3",
    );
    check_refused(
        &format!("{next},0"),
        "row \"1723075300000,2342.80000000,2343.0100000\", wanted 12 columns, not 13",
    );
    check_refused(
        HEADER,
        "open_time \"open_time\", wanted a whole number: not a decimal number at byte 0",
    );
    check_refused(
        MILLIS,
        "open_time \"1723075200000\", wanted a time after the last row's, 1723075200000000000 ns",
    );
    check_refused(
        &with(0, "1723075199000"),
        "close_time \"1723075300999\", wanted a time within 1000000000 ns of the open time",
    );
    check_refused(
        &with(0, "1723075300001"),
        "open_time \"1723075300001\", wanted a multiple of 1000000000 ns",
    );
    check_refused(
        &with(0, "18446744073709551615"),
        "open_time \"18446744073709551615\", wanted milliseconds or microseconds since 1970, before 2116",
    );
    check_refused(&with(1, "2342.805"), &format!("open \"2342.805\", {px}: more than 2 decimals"));
    check_refused(&with(1, "NaN"), &format!("open \"NaN\", {px}: not a decimal number at byte 0"));
    check_refused(
        &with(1, "2343.02"),
        "high \"2343.01000000\", wanted a high that is not below open and close",
    );
    check_refused(
        &with(2, "2342.99"),
        "high \"2342.99\", wanted a high that is not below open and close",
    );
    check_refused(
        &with(3, "2342.81"),
        "low \"2342.81\", wanted a low that is not above open and close",
    );
    check_refused(&with(3, "0.00"), "low \"0.00\", wanted a price above 0");
    check_refused(&with(5, "-1"), "volume \"-1\", wanted a sum that is not below 0");
    check_refused(
        &with(5, "1.000000001"),
        &format!("volume \"1.000000001\", {sum}: more than 8 decimals"),
    );
    check_refused(
        &with(6, "1723075301000"),
        "close_time \"1723075301000\", wanted a time within 1000000000 ns of the open time",
    );
    check_refused(
        &with(8, "1.5"),
        "count \"1.5\", wanted a whole number: not a decimal number at byte 1",
    );
    check_refused(
        &with(9, "5.2012"),
        "taker_buy_volume \"5.2012\", wanted no more than the volume",
    );
    check_refused(
        &with(10, "12185.9378"),
        "taker_buy_quote_volume \"12185.9378\", wanted no more than the quote volume",
    );
    check_refused(
        &"9".repeat(5_000),
        &format!("line {:?}, wanted at most 1024 bytes", "9".repeat(40)),
    );
    check_refused(
        &with(0, "\u{fffd}\u{1b}[2J"),
        "open_time \"\u{fffd}\\u{1b}[2J\", wanted a whole number: not a decimal number at byte 0",
    );
}

#[test]
fn an_archive_of_another_interval_is_refused() {
    let minute = Nanos(60 * Nanos::SECOND.0);
    let next = MILLIS.replace("1723075200", "1723075201");
    assert!(
        read_as(&format!("{MILLIS}\n{next}"), minute).unwrap_err().contains("a multiple of 60")
    );
    let minute = MILLIS.replace("1723075200999", "1723075259999");
    assert!(read(&minute).unwrap_err().contains("a time within 1000000000 ns"));
}

#[test]
fn archives_follow_each_other_and_tell_how_they_begin() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("a.zip"), dir.path().join("b.zip"));
    write_archive(&first, &[("a.csv", MILLIS)]);
    write_archive(&second, &[("b.csv", &format!("{HEADER}\n{MICROS}\n"))]);
    let instrument = instrument();
    let mut reader = KlineReader::new(&instrument, Nanos::SECOND);
    let summary = reader.summary(&second).unwrap();
    assert_eq!(summary.first_open_time, Nanos(1_735_689_600_000_000_000));
    assert_eq!(summary.csv_size_bytes, (HEADER.len() + MICROS.len() + 2) as u64);
    assert!(reader.read(&second, |_| {}, |_| {}).is_ok());
    let error = reader.read(&first, |_| {}, |_| {}).unwrap_err().to_string();
    assert!(
        error.contains("a.zip:1: open_time") && error.contains("after the last row's"),
        "{error}"
    );
    write_archive(&first, &[("a.csv", HEADER)]);
    let error = reader.summary(&first).unwrap_err().to_string();
    assert!(error.ends_with("a.zip: has no row, wanted klines"), "{error}");
}

#[test]
fn what_is_no_archive_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.zip");
    let instrument = instrument();
    let error = || {
        let mut reader = KlineReader::new(&instrument, Nanos::SECOND);
        reader.read(&path, |_| {}, |_| {}).unwrap_err().to_string()
    };
    assert!(error().contains("x.zip: cannot be read"), "{}", error());
    std::fs::write(&path, MILLIS).unwrap();
    assert!(error().contains("x.zip: is no readable zip file"), "{}", error());
    write_archive(&path, &[]);
    assert!(error().contains("holds 0 files, wanted one .csv file"), "{}", error());
    write_archive(&path, &[("a.csv", MILLIS), ("b.csv", MILLIS)]);
    assert!(error().contains("holds 2 files"), "{}", error());
    write_archive(&path, &[("readme.txt", MILLIS)]);
    assert!(error().contains("holds readme.txt, wanted"), "{}", error());

    let rows: String = (0..100).fold(String::new(), |csv, at| {
        csv + &MILLIS.replace("1723075200", &(1_723_075_200 + at).to_string()) + "\n"
    });
    write_archive(&path, &[("x.csv", &rows)]);
    let whole = std::fs::read(&path).unwrap();
    let mut refused = 0;
    let places = (0..whole.len()).step_by(5);
    for at in places.clone() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&path, &bytes).unwrap();
        let mut klines = Vec::new();
        let mut reader = KlineReader::new(&instrument, Nanos::SECOND);
        match reader.read(&path, |kline| klines.push(*kline), |_| {}) {
            Err(_) => refused += 1,
            // A date or a permission: of no account here.
            Ok(()) => assert_eq!(klines.len(), 100, "byte {at}"),
        }
    }
    assert!(refused * 10 > places.len() * 7, "{refused} of {} damaged bytes", places.len());
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(error().contains("x.zip"), "{}", error());
}
