use cobring_types::{Px, Qty};

use super::*;

fn instrument() -> Instrument {
    Instrument::new("ETHUSDT", "0.01", 8).unwrap()
}

/// 2026-01-01, a whole hour.
const START: i64 = 1_767_225_600;

/// A second in which prices went between two ends, or nothing was traded.
fn kline(second: i64, high: i64, low: i64, trade_count: u64) -> Kline {
    Kline {
        open_time: Nanos((START + second) * Nanos::SECOND.0),
        open: Px(low),
        high: Px(high),
        low: Px(low),
        close: Px(low),
        volume: Qty(i64::try_from(trade_count).unwrap() * 10),
        quote_volume: 1,
        taker_buy_volume: Qty(0),
        taker_buy_quote_volume: 0,
        trade_count,
    }
}

/// Two hours: a low of 80 and a high of 130 in the first one, a second without a trade among them.
fn file() -> BoundsFile {
    let mut import = BoundsImport::new();
    let highs_and_lows =
        [(110, 100), (111, 99), (130, 80), (111, 99), (500, 1), (110, 100), (109, 101)];
    for (second, (high, low)) in (0..).zip(highs_and_lows) {
        import.on_kline(&kline(second, high, low, u64::from(high != 500)), &instrument());
    }
    import.on_kline(&kline(7_199, 105, 104, 2), &instrument());
    import.finish(&instrument()).unwrap()
}

#[test]
fn bars_come_to_bounds_and_pivots() {
    let file = file();
    assert_eq!((file.bars, file.structure.origin()), (8, kline(0, 1, 1, 1).open_time));
    let mut tracker = BoundsTracker::new();
    let end = kline(7_200, 1, 1, 1).open_time;
    tracker.import(&file.imported, end).unwrap();
    let bounds = tracker.bounds().unwrap();
    assert_eq!((bounds.period_end, bounds.bar_count), (end, 8));
    assert_eq!((bounds.price_min, bounds.price_max), (Px(1), Px(500)));
    assert_eq!((bounds.volume_min, bounds.volume_max), (0, 20));
    // The bar without a trade is no bar of the structure, or there would be no pivot.
    assert_eq!(bounds.nearest.support, [Some(Px(80)), None, None, None, None]);
    assert_eq!(bounds.nearest.resistance, [Some(Px(130)), None, None, None, None]);
    assert_eq!(file.structure.support(1, 2 * 104), Some(Px(80)));
}

#[test]
fn no_bounds_come_of_bars_that_reach_no_hours_end() {
    let mut import = BoundsImport::new();
    assert!(BoundsImport::new().finish(&instrument()).is_none());
    import.on_kline(&kline(3_598, 2, 1, 1), &instrument());
    assert!(import.finish(&instrument()).is_none());
}

#[test]
fn missing_seconds_are_a_hole() {
    let mut import = BoundsImport::new();
    for (second, high) in [(0, 110), (1, 111), (2, 130), (3, 111), (5, 110), (7_199, 110)] {
        import.on_kline(&kline(second, high, 1, 1), &instrument());
    }
    let file = import.finish(&instrument()).unwrap();
    assert_eq!(file.imported.nearest.resistance, [None; 5]);
}

#[test]
fn a_file_gives_back_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("a/b");
    assert!(BoundsFile::read(&dir, "ETHUSDT").unwrap().is_none());
    let file = file();
    for _ in 0..2 {
        assert_eq!(file.write(&dir).unwrap(), dir.join("ETHUSDT.bounds"));
    }
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    let bytes = BoundsFile::read(&dir, "ETHUSDT").unwrap().unwrap();
    let read = BoundsFile::decode(&bytes, &instrument(), "x").unwrap();
    assert_eq!(read.imported, file.imported);
    assert_eq!(read.encode(), bytes);
}

fn check_refused(bytes: &[u8], instrument: &Instrument, expected: &str) {
    let error = BoundsFile::decode(bytes, instrument, "x.bounds").unwrap_err().to_string();
    assert!(error.starts_with("x.bounds: ") && error.contains(expected), "{error:?}: {expected:?}");
}

#[test]
fn files_that_are_none_are_refused() {
    let bytes = file().encode();
    let own = instrument();
    for at in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x20;
        assert!(BoundsFile::decode(&bytes, &own, "x").is_err(), "byte {at}");
    }
    check_refused(&bytes[..20], &own, "20 bytes, wanted a header of 24");
    check_refused(&bytes[..bytes.len() - 1], &own, "bytes of its body, wanted");
    let mut other = bytes.clone();
    other[8] = 9;
    check_refused(&other, &own, "has version 9, wanted 1");
    let instrument = |symbol, tick, decimals| Instrument::new(symbol, tick, decimals).unwrap();
    check_refused(
        &bytes,
        &instrument("BTCUSDT", "0.01", 8),
        "its symbol is ETHUSDT, wanted BTCUSDT",
    );
    check_refused(&bytes, &instrument("ETHUSDT", "0.1", 8), "its tick size is 0.01, wanted 0.1");
    check_refused(&bytes, &instrument("ETHUSDT", "0.01", 7), "decimals of quantity is 8, wanted 7");
}

#[test]
fn a_file_too_large_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = BoundsFile::path(dir.path(), "ETHUSDT");
    File::create(path).unwrap().set_len(1 << 30).unwrap();
    let error = BoundsFile::read(dir.path(), "ETHUSDT").unwrap_err().to_string();
    assert!(error.contains("has 1073741824 bytes, wanted at most"), "{error}");
}
