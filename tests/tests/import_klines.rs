//! Kline archives through the program: what it prints and what it refuses.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use cobring_tests::{Market, SOON, Setup, Sim, assert_replays_to, cobring, wait_until};
use serde_json::{Value, json};
use zip::write::{SimpleFileOptions, ZipWriter};

/// 2026-01-01, a whole hour.
const START_S: i64 = 1_767_225_600;

/// Close of a second in cents: waves upon waves, so that there are pivots of several levels.
fn cents(second: i64) -> i64 {
    let wave = |period: i64| (second % period - period / 2).abs();
    300_000 + wave(14) * 7 + wave(194) * 3 + wave(2_306) * 2 - second / 100
}

fn is_traded(second: i64) -> bool {
    second % 20 != 7
}

/// An archive of the seconds from `first` to before `end`, in the venue's shapes.
fn write_archive(path: &Path, first: i64, end: i64, unit_per_s: i64) {
    let mut csv = String::new();
    for second in first..end {
        let time = (START_S + second) * unit_per_s;
        // A second without a trade shows the close before it.
        let close = cents(if is_traded(second) { second } else { second - 1 });
        let px = |cents: i64| format!("{}.{:02}000000", cents / 100, cents % 100);
        let last = time + unit_per_s - 1;
        let (high, low) = (px(close + 3), px(close - 2));
        let traded = is_traded(second);
        let (high, low) = if traded { (high, low) } else { (px(close), px(close)) };
        let volume = if traded { second % 50 + 1 } else { 0 };
        writeln!(
            csv,
            "{time},{0},{high},{low},{0},{volume}.00000000,{last},9.00000000,{1},0.00000000,0.00000000,0",
            px(close),
            u8::from(traded)
        )
        .unwrap();
    }
    write_zip(path, &csv);
}

fn write_zip(path: &Path, csv: &str) {
    let mut zip = ZipWriter::new(File::create(path).unwrap());
    zip.start_file("ETHUSDT-1s.csv", SimpleFileOptions::default()).unwrap();
    zip.write_all(csv.as_bytes()).unwrap();
    zip.finish().unwrap();
}

fn import(files: &[&Path], dir: &Path, symbol: &str) -> cobring_tests::Finished {
    let mut args = vec!["import-klines", "--json", "--symbol", symbol, "--dir"];
    args.push(dir.to_str().unwrap());
    args.extend(files.iter().map(|file| file.to_str().unwrap()));
    cobring(args)
}

#[test]
fn archives_in_any_order_become_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    // Ten seconds are missing between them; the last hour is not whole.
    write_archive(&path("first.zip"), 0, 5_000, 1_000);
    write_archive(&path("second.zip"), 5_010, 9_000, 1_000_000);
    let bounds_dir = path("bounds");
    let files = [path("second.zip"), path("first.zip")];
    let found = import(&[&files[0], &files[1]], &bounds_dir, "ETHUSDT").succeeded().json();

    let whole: Vec<i64> = (0..7_200).filter(|second| !(5_000..5_010).contains(second)).collect();
    let traded: Vec<i64> =
        whole.iter().filter(|&&second| is_traded(second)).map(|&second| cents(second)).collect();
    let highest = traded.iter().max().unwrap() + 3;
    let lowest = traded.iter().min().unwrap() - 2;
    let expected = json!({
        "symbol": "ETHUSDT",
        "path": bounds_dir.join("ETHUSDT.bounds"),
        "bars_read": 8_990,
        "bars_missing": 10,
        "pivots_from": START_S * 1_000_000_000,
        "price_min": lowest as f64 / 100.0,
        "price_max": highest as f64 / 100.0,
        "volume_min": 0.0,
        "volume_max": 50.0,
        "period_start": (START_S + 7_200 - 720 * 3_600) * 1_000_000_000,
        "period_end": (START_S + 7_200) * 1_000_000_000,
        "bar_count": whole.len(),
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&found[name], value, "{name}");
    }
    let close = cents(7_199) as f64 / 100.0;
    for level in 0..3 {
        let (support, resistance) = (&found["support"][level], &found["resistance"][level]);
        assert!(support.as_f64().unwrap() < close, "level {}: {support}", level + 1);
        assert!(resistance.as_f64().unwrap() > close, "level {}: {resistance}", level + 1);
    }
    assert!(fs::metadata(bounds_dir.join("ETHUSDT.bounds")).unwrap().len() > 0);
}

/// A walk in which some seconds lack: `hours` times `seconds_an_hour` bars, as two archives, the second of which
/// is in µs.
fn write_walk(dir: &Path, seed: u64, hours: i64, seconds_an_hour: i64) -> [PathBuf; 2] {
    let mut state = seed;
    // 0 ≤ result < `below`; xorshift.
    let mut random = |below: i64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        i64::try_from(state >> 33).unwrap() % below
    };
    let mut close = 300_000;
    let mut archives = [1_000, 1_000_000].map(|unit_per_s| (unit_per_s, String::new()));
    for hour in 0..hours {
        for second in 0..seconds_an_hour {
            if random(97) == 0 {
                continue;
            }
            let (unit_per_s, csv) = &mut archives[usize::from(hour >= hours / 2)];
            let time = (START_S + hour * 3_600 + second) * *unit_per_s;
            let is_traded = random(5) > 0;
            let px = |cents: i64| format!("{}.{:02}000000", cents / 100, cents % 100);
            let open = close;
            close += if is_traded { random(41) - 20 } else { 0 };
            let reach = |amount: i64| if is_traded { amount } else { 0 };
            let high = open.max(close) + reach(random(9));
            let low = open.min(close) - reach(random(9));
            let volume = reach(random(1_000_000));
            writeln!(
                csv,
                "{time},{},{},{},{},0.{volume:08},{},1.00000000,{},0.00000000,0.00000000,0",
                px(open),
                px(high),
                px(low),
                px(close),
                time + *unit_per_s - 1,
                reach(3)
            )
            .unwrap();
        }
    }
    archives.map(|(unit_per_s, csv)| {
        let path = dir.join(format!("walk-{unit_per_s}.zip"));
        write_zip(&path, &csv);
        path
    })
}

#[test]
fn the_bounds_of_archives_are_those_of_an_independent_implementation() {
    // Whole hours; the starts of more of them than a period holds; and no whole hour at the end.
    for (seed, hours, seconds_an_hour) in
        [(1, 3, 3_600), (2, 770, 30), (3, 1_500, 11), (4, 2, 3_599)]
    {
        let dir = tempfile::tempdir().unwrap();
        let [first, second] = write_walk(dir.path(), seed, hours, seconds_an_hour);
        let found = import(&[&second, &first], dir.path(), "ETHUSDT").succeeded().json();
        let expected = cobring_reference::archive_bounds(&[second, first]).unwrap();
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&found[name], value, "{name} of walk {seed}");
        }
        assert!(!expected["support"][1].is_null() || !expected["resistance"][1].is_null());
    }
}

#[test]
fn the_bounds_of_a_days_archive_are_those_of_the_venues_daily_bar() {
    let sim = Sim::start(&Market::Seed(31));
    let days = sim.get("/api/v3/klines?symbol=ETHUSDT&interval=1d&limit=2");
    let day = &days[0];
    let start_ms = day[0].as_i64().unwrap();
    // The synthetic market begins with 2026.
    assert_eq!(start_ms, (START_S - 86_400) * 1_000);
    let name = "ETHUSDT-1s-2025-12-31.zip";
    let archive = sim.download(&format!("/data/spot/daily/klines/ETHUSDT/1s/{name}"));
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(name), archive).unwrap();
    let found = import(&[&dir.path().join(name)], dir.path(), "ETHUSDT").succeeded().json();
    let number = |text: &Value| text.as_str().unwrap().parse::<f64>().unwrap();
    assert_eq!(found["price_max"], number(&day[2]));
    assert_eq!(found["price_min"], number(&day[3]));
    assert_eq!((&found["bar_count"], &found["bars_missing"]), (&json!(86_400), &json!(0)));
    assert_eq!(found["period_end"], START_S * 1_000_000_000);
}

#[test]
fn an_engine_begins_with_the_bounds_and_its_log_has_them() {
    let sim = Sim::start(&Market::Seed(33));
    let setup = Setup::of(&sim);
    let bounds_dir = setup.file("bounds");
    let archive = setup.file("hours.zip");
    write_archive(&archive, 0, 9_000, 1_000);
    let imported = import(&[&archive], &bounds_dir, "ETHUSDT").succeeded().json();
    let setup = setup.with("bounds.dir", bounds_dir.to_str().unwrap());
    let engine = setup.run();
    let mut shown = Value::Null;
    wait_until("frames with bounds", SOON, || {
        let frame = setup.show("ETHUSDT");
        if frame.code == Some(0) {
            shown = frame.json();
        }
        !shown["pivot_bounds"]["period_end"].is_null()
    });
    let bounds = &shown["pivot_bounds"];
    for name in ["period_start", "period_end", "bar_count", "price_min", "price_max"] {
        assert_eq!(bounds[name], imported[name], "{name}");
    }
    for name in ["volume_min", "volume_max", "support", "resistance"] {
        assert_eq!(bounds[name], imported[name], "{name}");
    }
    assert!(shown["quality"]["valid"].as_array().unwrap().contains(&json!("pivot_bounds")));
    let other = setup.show("BTCUSDT").json();
    assert!(other["pivot_bounds"]["period_end"].is_null());
    let report = engine.stop();
    assert_replays_to(&report["hash"], &setup.log_files());

    // A damaged file stops the start, and says what to do.
    let path = bounds_dir.join("ETHUSDT.bounds");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    let refused = cobring(setup.arguments()).ended_with(1);
    assert!(refused.stderr.contains("ETHUSDT.bounds"), "{}", refused.stderr);
    assert!(refused.stderr.contains("import-klines"), "{}", refused.stderr);
}

#[test]
fn what_is_no_archive_leaves_the_old_bounds_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    write_archive(&path("hour.zip"), 0, 3_600, 1_000);
    let hour = path("hour.zip");
    let bounds_dir = path("bounds");
    let bounds = import(&[&hour], &bounds_dir, "ETHUSDT").succeeded().json();
    let bytes = fs::read(bounds_dir.join("ETHUSDT.bounds")).unwrap();

    write_archive(&path("part.zip"), 100, 200, 1_000);
    fs::write(path("text.zip"), "no zip").unwrap();
    for (file, symbol, code, expected) in [
        ("text.zip", "ETHUSDT", 1, "text.zip: is no readable zip file"),
        ("part.zip", "ETHUSDT", 1, "no hour ends among the klines"),
        ("none.zip", "ETHUSDT", 1, "none.zip: cannot be read"),
        ("hour.zip", "XRPUSDT", 3, "[symbols.XRPUSDT] is missing"),
    ] {
        let refused = import(&[&path(file)], &bounds_dir, symbol).ended_with(code);
        assert!(refused.stderr.contains(expected), "{file}: {}", refused.stderr);
    }
    let twice = import(&[&hour, &hour], &bounds_dir, "ETHUSDT").ended_with(1);
    assert!(twice.stderr.contains("hour.zip:1: open_time"), "{}", twice.stderr);
    assert_eq!(fs::read(bounds_dir.join("ETHUSDT.bounds")).unwrap(), bytes);
    assert_ne!(bounds["bar_count"], Value::Null);
}
