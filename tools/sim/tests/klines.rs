//! Klines over REST, streams and archives: that all tell the same, and that it is what was traded.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};

use cobring_sim::{
    ArchivePeriod, Bar, Interval, KlineQuery, SimConfig, SimHandle, Source, Speed, SyntheticConfig,
    start,
};
use common::{Client, LONG, get, get_bytes, get_with, recordings};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// 2026-01-31T23:58:30: within four minutes a day and a month end.
const START_MS: i64 = 1_769_903_910_000;
const DAY_MS: i64 = 86_400_000;
/// 2026-02-01.
const MIDNIGHT_MS: i64 = 1_769_904_000_000;

fn config(duration_ms: i64) -> SimConfig {
    let market = SyntheticConfig {
        start_ms: START_MS,
        duration_ms: Some(duration_ms),
        ..SyntheticConfig::new(8, &["ETHUSDT", "BTCUSDT"])
    };
    SimConfig { speed: Speed::Max, ..SimConfig::new(Source::Synthetic(market)) }
}

/// All of it played.
fn played() -> SimHandle {
    let sim = start(&config(240_000)).unwrap();
    assert!(sim.wait_finished(LONG));
    sim
}

fn rows(sim: &SimHandle, query: &str) -> Vec<Value> {
    let reply = get(sim, &format!("/api/v3/klines?symbol=ETHUSDT&{query}"));
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json().as_array().unwrap().clone()
}

/// A decimal of eight places as a whole number.
fn units(text: &Value) -> i128 {
    text.as_str().unwrap().replace('.', "").parse().unwrap()
}

/// The `k` of a stream message as REST writes it.
fn as_row(k: &Value) -> Value {
    let columns = ["t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B"];
    columns.iter().map(|key| k[key].clone()).collect()
}

#[test]
fn closed_klines_of_the_streams_equal_rest_and_the_trades() {
    const INTERVALS: [&str; 7] = ["1s", "1m", "3m", "30m", "1h", "1d", "1M"];
    // The same market twice: once to know how it ends.
    let end = played().truth("ETHUSDT").unwrap().unwrap().last_trade_id;
    let config = SimConfig { start_after_subscribers: Some(1), ..config(240_000) };
    let sim = start(&config).unwrap();
    let streams: Vec<_> = INTERVALS.iter().map(|i| format!("ethusdt@kline_{i}")).collect();
    let path = format!("/stream?streams=ethusdt@trade/{}", streams.join("/"));
    let mut client = Client::connect(&sim, &path);
    let (mut closed, mut open, mut trades) = (BTreeMap::new(), 0, Vec::new());
    while trades.last().is_none_or(|trade: &Value| trade["t"] != end) {
        let message = client.json();
        let data = &message["data"];
        if data["e"] == "trade" {
            trades.push(data.clone());
        } else {
            let k = &data["k"];
            let stream = format!("ethusdt@kline_{}", k["i"].as_str().unwrap());
            assert_eq!((data["e"].as_str(), &message["stream"]), (Some("kline"), &stream.into()));
            let key = (k["i"].as_str().unwrap().to_owned(), k["t"].as_i64().unwrap());
            assert!(!closed.contains_key(&key), "{key:?} goes on after its close");
            let event_ms = data["E"].as_i64().unwrap();
            if k["x"] == true {
                assert!(event_ms > k["T"].as_i64().unwrap());
                closed.insert(key, k.clone());
            } else {
                assert!(event_ms <= k["T"].as_i64().unwrap() + 250 && k["n"].as_i64().unwrap() > 0);
                open += 1;
            }
        }
    }
    assert!(open > 300, "{open}");
    let first_id = trades[0]["t"].as_i64().unwrap();
    let mut seconds = 0;
    for ((interval, open_ms), k) in &closed {
        let row = &rows(&sim, &format!("interval={interval}&startTime={open_ms}&limit=1"))[0];
        assert_eq!(&as_row(k), row);
        let (first, last) = (k["f"].as_i64().unwrap(), k["L"].as_i64().unwrap());
        let count = k["n"].as_i64().unwrap();
        if count == 0 {
            assert_eq!((first, last, &k["o"]), (-1, -1, &k["c"]));
        } else {
            assert_eq!(last - first + 1, count);
        }
        seconds += i32::from(interval == "1s");
        // What was played alone is the sum of the trades heard.
        let close_ms = k["T"].as_i64().unwrap();
        if *open_ms >= START_MS {
            let within: Vec<_> = trades
                .iter()
                .filter(|trade| (*open_ms..=close_ms).contains(&trade["T"].as_i64().unwrap()))
                .collect();
            assert_eq!(within.len(), usize::try_from(count).unwrap());
            let volume: i128 = within.iter().map(|trade| units(&trade["q"])).sum();
            let quote: i128 = within.iter().map(|t| units(&t["p"]) * units(&t["q"])).sum();
            let bought = within.iter().filter(|trade| trade["m"] == false);
            assert_eq!(units(&k["v"]), volume);
            assert_eq!(units(&k["q"]), quote / 100_000_000);
            assert_eq!(units(&k["V"]), bought.map(|trade| units(&trade["q"])).sum::<i128>());
            if let [first, .., last] = within[..] {
                assert_eq!((&k["o"], &k["c"]), (&first["p"], &last["p"]));
                assert_eq!(
                    (k["f"].as_i64(), k["L"].as_i64()),
                    (first["t"].as_i64(), last["t"].as_i64())
                );
                assert_eq!(units(&k["h"]), within.iter().map(|t| units(&t["p"])).max().unwrap());
                assert_eq!(units(&k["l"]), within.iter().map(|t| units(&t["p"])).min().unwrap());
            }
        } else {
            assert!(first < first_id && last >= first_id, "{interval} has a past and a live part");
        }
    }
    let opens = |interval: &str| {
        closed
            .keys()
            .filter(|(i, _)| i == interval)
            .map(|(_, open_ms)| *open_ms)
            .collect::<Vec<_>>()
    };
    let all: Vec<i64> = (0..seconds).map(|i| START_MS + i64::from(i) * 1_000).collect();
    assert!(seconds >= 238 && opens("1s") == all, "every second, those without a trade too");
    assert_eq!(opens("1m").len(), 4);
    for (interval, open_ms) in [
        ("1h", MIDNIGHT_MS - 3_600_000),
        ("1d", MIDNIGHT_MS - DAY_MS),
        ("1M", MIDNIGHT_MS - 31 * DAY_MS),
    ] {
        assert_eq!(opens(interval), [open_ms], "{interval}");
    }
}

#[test]
fn rest_truth_and_handle_tell_the_same_and_1500_bars_of_each_interval_are_there() {
    let sim = played();
    let now_ms = get(&sim, "/api/v3/time").json()["serverTime"].as_i64().unwrap();
    for interval in Interval::ALL {
        let query = KlineQuery { start_ms: None, end_ms: Some(now_ms), limit: 1_500 };
        let bars = sim.klines("ETHUSDT", interval, query).unwrap().unwrap();
        let path =
            format!("/sim/klines?symbol=ETHUSDT&interval={interval}&endTime={now_ms}&limit=1500");
        let told: Vec<Bar> = serde_json::from_str(&get(&sim, &path).body).unwrap();
        assert_eq!(told.len(), bars.len(), "{interval}");
        let is_long = matches!(interval, Interval::Day3 | Interval::Week1 | Interval::Month1);
        assert!(bars.len() == 1_500 || is_long, "{interval}: {}", bars.len());
        // The last bar may have been opened meanwhile, by a second that passed.
        assert_eq!(told[..told.len() - 1], bars[..bars.len() - 1], "{interval}");
        let rest = rows(&sim, &format!("interval={interval}&endTime={now_ms}&limit=1000"));
        for (row, bar) in rest.iter().rev().skip(1).zip(bars.iter().rev().skip(1)) {
            assert_eq!(row[0], bar.open_ms);
            let prices = [bar.open, bar.high, bar.low, bar.close].map(|px| px.to_string());
            assert_eq!(
                [1, 2, 3, 4].map(|i| row[i].as_str().unwrap()),
                prices.each_ref().map(String::as_str)
            );
            assert_eq!(
                (row[5].as_str(), row[9].as_str()),
                (Some(&*bar.volume), Some(&*bar.taker_buy_volume))
            );
            assert!(bar.quote_volume.starts_with(row[7].as_str().unwrap()));
            assert!(bar.taker_buy_quote_volume.starts_with(row[10].as_str().unwrap()));
            assert_eq!((&row[8], &row[11]), (&Value::from(bar.trade_count), &Value::from("0")));
        }
    }
    let truth = sim.truth("ETHUSDT").unwrap().unwrap();
    let query = KlineQuery { start_ms: Some(START_MS), end_ms: None, limit: 100_000 };
    let seconds = sim.klines("ETHUSDT", Interval::Second1, query).unwrap().unwrap();
    let traded: Vec<_> = seconds.into_iter().filter(|bar| bar.trade_count > 0).collect();
    assert_eq!(traded, truth.bars_1s);
}

#[test]
fn klines_are_asked_for_and_refused_as_at_the_venue() {
    let sim = start(&SimConfig { speed: Speed::Times(0.001), ..config(240_000) }).unwrap();
    let reply = get(&sim, "/api/v3/klines?symbol=ETHUSDT&interval=1m");
    assert_eq!(reply.header("x-mbx-used-weight-1m"), "2");
    assert_eq!(reply.json().as_array().unwrap().len(), 500);
    let minute = START_MS - START_MS % 60_000;
    let last = rows(&sim, "interval=1m&limit=1");
    // Half a minute of the past and nothing yet of play.
    assert_eq!((&last[0][0], &last[0][6]), (&minute.into(), &(minute + 59_999).into()));
    assert!(last[0][8].as_i64().unwrap() > 0);
    assert_eq!(
        get(&sim, "/api/v3/uiKlines?symbol=ETHUSDT&interval=1m").json().as_array().unwrap().len(),
        500
    );
    assert_eq!(rows(&sim, "interval=1s&limit=5000").len(), 1_000);
    assert_eq!(rows(&sim, "interval=1m&startTime=0&limit=2")[0][0], MIDNIGHT_MS - 1_601 * DAY_MS);
    assert_eq!(
        rows(
            &sim,
            &format!("interval=1h&startTime={}&endTime={MIDNIGHT_MS}", MIDNIGHT_MS - DAY_MS)
        )
        .len(),
        24
    );
    for (query, code, msg) in [
        ("symbol=NOSUCH&interval=1m", -1121, "Invalid symbol."),
        ("symbol=ETHUSDT&interval=2m", -1120, "Invalid interval."),
        (
            "symbol=ETHUSDT",
            -1102,
            "Mandatory parameter 'interval' was not sent, was empty/null, or malformed.",
        ),
        (
            "interval=1m",
            -1102,
            "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.",
        ),
        (
            "symbol=ethusdt&interval=1m",
            -1100,
            "Illegal characters found in parameter 'symbol'; legal range is '^[\\w\\-._&&[^a-z]]{1,50}$'.",
        ),
        (
            "symbol=ETHUSDT&interval=1m&startTime=x",
            -1100,
            "Illegal characters found in parameter 'startTime'; legal range is '^[0-9]{1,20}$'.",
        ),
        (
            "symbol=ETHUSDT&interval=1m&limit=0",
            -1100,
            "Illegal characters found in parameter 'limit'; legal range is '1-1000'.",
        ),
    ] {
        let reply = get(&sim, &format!("/api/v3/klines?{query}"));
        assert_eq!(reply.status, 400, "{query}");
        assert_eq!(reply.json(), serde_json::json!({ "code": code, "msg": msg }), "{query}");
    }
    assert_eq!(get(&sim, "/sim/klines?symbol=NOSUCH&interval=1m").status, 404);
    assert_eq!(get(&sim, "/sim/klines?symbol=ETHUSDT&interval=1x").status, 400);
}

#[test]
fn microseconds_come_where_they_are_asked_for() {
    let sim = start(&SimConfig { speed: Speed::Times(1.0), ..config(240_000) }).unwrap();
    let unit = [("X-MBX-TIME-UNIT", "MICROSECOND")];
    let path = "/api/v3/klines?symbol=ETHUSDT&interval=1m&limit=2";
    let (ms, us) = (get(&sim, path).json(), get_with(&sim, path, &unit).json());
    assert_eq!(us[0][0].as_i64().unwrap(), ms[0][0].as_i64().unwrap() * 1_000);
    assert_eq!(us[0][6].as_i64().unwrap(), ms[0][6].as_i64().unwrap() * 1_000 + 999);
    let from = format!("{path}&timeUnit=microsecond&startTime={}", us[1][0]);
    assert_eq!(get(&sim, &from).json()[0][0], us[1][0]);
    let time = get_with(&sim, "/api/v3/time", &unit).json()["serverTime"].as_i64().unwrap();
    assert!(time / 1_000_000 >= START_MS / 1_000);
    assert_eq!(
        get_with(&sim, "/api/v3/time", &[("X-MBX-TIME-UNIT", "DAYS")]).json()["code"],
        -1100
    );

    let mut ms = Client::connect(&sim, "/ws/ethusdt@depth@100ms");
    let mut us = Client::connect(&sim, "/stream?streams=ethusdt@depth@100ms&timeUnit=MICROSECOND");
    let told = us.json()["data"].clone();
    let same = ms.find(|text| text.contains(&format!(r#""u":{},"#, told["u"])));
    let mut same: Value = serde_json::from_str(&same).unwrap();
    same["E"] = (same["E"].as_i64().unwrap() * 1_000).into();
    assert_eq!(same, told);
}

#[test]
fn trades_and_aggregate_trades_are_found_by_id_and_time() {
    let sim = played();
    let truth = sim.truth("ETHUSDT").unwrap().unwrap();
    let ask = |path: &str| get(&sim, &format!("/api/v3/{path}")).json().as_array().unwrap().clone();
    let first = truth.first_trade_id;
    let trades = ask(&format!("historicalTrades?symbol=ETHUSDT&fromId={}&limit=3", first + 5));
    let ids: Vec<_> = trades.iter().map(|trade| trade["id"].as_u64().unwrap() - first).collect();
    assert_eq!(ids, [5, 6, 7]);
    let last = ask("trades?symbol=ETHUSDT&limit=2");
    assert_eq!(last, ask("historicalTrades?symbol=ETHUSDT&limit=2"));
    assert_eq!(last[1]["id"], truth.last_trade_id);

    let aggs = ask("aggTrades?symbol=ETHUSDT&fromId=1&limit=1000");
    assert_eq!((&aggs[0]["a"], &aggs[0]["f"]), (&1.into(), &first.into()));
    let mut next = first;
    for agg in &aggs {
        assert_eq!(agg["f"], next);
        next = agg["l"].as_u64().unwrap() + 1;
    }
    let from_ms = aggs[3]["T"].as_i64().unwrap();
    let later =
        ask(&format!("aggTrades?symbol=ETHUSDT&startTime={from_ms}&endTime={}", from_ms + 500));
    assert!(later.iter().all(|a| (from_ms..=from_ms + 500).contains(&a["T"].as_i64().unwrap())));
    assert!(aggs.windows(later.len()).any(|window| window == later) && !later.is_empty());
    assert_eq!(ask("aggTrades?symbol=ETHUSDT&limit=1")[0]["l"], truth.last_trade_id);
    let both = get(&sim, "/api/v3/aggTrades?symbol=ETHUSDT&fromId=1&startTime=1");
    assert_eq!((both.status, both.json()["code"].as_i64()), (400, Some(-1128)));
    assert_eq!(get(&sim, "/api/v3/aggTrades?symbol=ETHUSDT&fromId=-1").json()["code"], -1100);
}

#[test]
fn the_day_ticker_rolls_over_the_last_86400_seconds() {
    let sim = start(&config(240_000)).unwrap();
    sim.pause().unwrap();
    let ticker = get(&sim, "/api/v3/ticker/24hr?symbol=ETHUSDT").json();
    let open_ms = ticker["openTime"].as_i64().unwrap();
    let query = KlineQuery { start_ms: Some(open_ms), end_ms: None, limit: 90_000 };
    let bars = sim.klines("ETHUSDT", Interval::Second1, query).unwrap().unwrap();
    assert_eq!(bars.len(), 86_400);
    assert_eq!(ticker["count"], bars.iter().map(|bar| bar.trade_count).sum::<u64>());
    let volume: i128 = bars.iter().map(|bar| units(&bar.volume.clone().into())).sum();
    assert_eq!(units(&ticker["volume"]), volume);
    let traded = || bars.iter().filter(|bar| bar.trade_count > 0);
    assert_eq!(ticker["highPrice"], traded().map(|bar| bar.high).max().unwrap().to_string());
    assert_eq!(ticker["openPrice"], traded().next().unwrap().open.to_string());
    assert_eq!(ticker["lastPrice"], bars.last().unwrap().close.to_string());
    assert_eq!(
        ticker["firstId"].as_i64().unwrap() + ticker["count"].as_i64().unwrap() - 1,
        ticker["lastId"]
    );
    let price = get(&sim, "/api/v3/ticker/price?symbol=ETHUSDT").json();
    assert_eq!(price["price"], ticker["lastPrice"]);
}

fn unzip(bytes: Vec<u8>) -> (String, String) {
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    assert_eq!(zip.len(), 1);
    let mut file = zip.by_index(0).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    (file.name().unwrap().into_owned(), text)
}

/// A REST row in µs as a line of an archive.
fn line(row: &Value) -> String {
    let text = |column: &Value| column.to_string().replace('"', "");
    row.as_array().unwrap().iter().map(text).collect::<Vec<_>>().join(",")
}

#[test]
fn archives_equal_rest_rows_and_their_checksums() {
    let sim = played();
    let day = "2026-01-31".parse::<ArchivePeriod>().unwrap();
    let month = "2026-01".parse::<ArchivePeriod>().unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (period, interval, count) in [
        (day, "1m", 1_440),
        (day, "1h", 24),
        (month, "1h", 744),
        (month, "1d", 31),
        (month, "1mo", 1),
    ] {
        let stem = format!("ETHUSDT-{interval}-{period}");
        let path = format!("/data/spot/{}/klines/ETHUSDT/{interval}/{stem}.zip", period.folder());
        let zip = get_bytes(&sim, &path);
        let hash =
            Sha256::digest(&zip).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(get(&sim, &format!("{path}.CHECKSUM")).body, format!("{hash}  {stem}.zip\n"));

        let interval: Interval = interval.replace("mo", "M").parse().unwrap();
        let file = dir.path().join("own.zip");
        sim.write_archive(&file, "ETHUSDT", interval, period).unwrap();
        assert!(std::fs::read(&file).unwrap() == zip);

        let (name, text) = unzip(zip);
        assert_eq!(name, format!("{stem}.csv"));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), count, "{stem}");
        // The end of the period was played, its beginning was not.
        let from = lines.len().saturating_sub(900);
        let at = lines[from].split(',').next().unwrap();
        let end = period.end_ms() - 1;
        let rest = format!(
            "interval={interval}&limit=1000&timeUnit=MICROSECOND&startTime={at}&endTime={end}"
        );
        let rest: Vec<_> = rows(&sim, &rest).iter().map(line).collect();
        assert_eq!(lines[from..], rest, "{stem}");
    }
    for path in [
        "monthly/klines/ETHUSDT/1m/ETHUSDT-1m-2026-02.zip",
        "monthly/klines/NOSUCH/1m/NOSUCH-1m-2026-01.zip",
        "monthly/klines/ETHUSDT/1m/ETHUSDT-1m-2001-01.zip.CHECKSUM",
        "daily/klines/ETHUSDT/1w/ETHUSDT-1w-2026-01-31.zip",
        "daily/klines/ETHUSDT/1m/BTCUSDT-1m-2026-01-31.zip",
    ] {
        let reply = get(&sim, &format!("/data/spot/{path}"));
        assert_eq!(reply.status, 404, "{path}");
        assert!(reply.body.contains("<Code>NoSuchKey</Code>"), "{}", reply.body);
    }
    assert_eq!(get(&sim, "/sim/state").json()["rest_requests"], 5, "archives weigh nothing");
    let refused = sim.write_archive(&dir.path().join("x"), "NOSUCH", Interval::Minute1, day);
    assert_eq!(refused.unwrap_err().to_string(), "NOSUCH-1m-2026-01-31.zip: no such symbol here");
}

#[test]
fn symbols_are_listed_for_as_long_as_they_are_told_to_be() {
    let mut config = SimConfig { listed_days: 40, ..config(1_000) };
    config.listed_days_of.insert("BTCUSDT".into(), 1);
    let sim = start(&config).unwrap();
    for (symbol, days) in [("ETHUSDT", 40), ("BTCUSDT", 1)] {
        let path = format!("/api/v3/klines?symbol={symbol}&interval=1d&limit=1000");
        let reply = get(&sim, &path).json();
        assert_eq!(reply.as_array().unwrap().len(), days + 1, "{symbol}");
    }
    config.listed_days = 20_000;
    assert!(
        start(&config).unwrap_err().to_string().contains("listed_days = 20000: must be at most")
    );
}

#[test]
fn a_recordings_past_ends_at_its_first_trade() {
    let Some(paths) = recordings() else { return };
    let config = SimConfig { speed: Speed::Max, ..SimConfig::new(Source::Recording(paths)) };
    let sim = start(&config).unwrap();
    let before = sim.klines(
        "ETHUSDT",
        Interval::Second1,
        KlineQuery { start_ms: None, end_ms: None, limit: 2 },
    );
    let last = before.unwrap().unwrap()[0].clone();
    let _starter = Client::connect(&sim, "/ws/nothing@here");
    assert!(sim.wait_finished(LONG));
    for symbol in ["ETHUSDT", "BTCUSDT"] {
        let truth = sim.truth(symbol).unwrap().unwrap();
        let first = &truth.bars_1s[0];
        let query = KlineQuery { start_ms: None, end_ms: Some(first.open_ms - 1), limit: 1 };
        let past = sim.klines(symbol, Interval::Second1, query).unwrap().unwrap();
        assert_eq!(past[0].close, first.open, "{symbol}");
        let query = KlineQuery { start_ms: Some(first.open_ms), end_ms: None, limit: 100_000 };
        let seconds = sim.klines(symbol, Interval::Second1, query).unwrap().unwrap();
        let traded: Vec<_> = seconds.into_iter().filter(|bar| bar.trade_count > 0).collect();
        assert_eq!(traded, truth.bars_1s, "{symbol}");
    }
    assert_eq!(last.close, sim.truth("ETHUSDT").unwrap().unwrap().bars_1s[0].open);
}
