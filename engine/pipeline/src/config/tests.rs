use std::fs;
use std::path::Path;

use cobring_frame::{FrameLayout, ModelRules};
use cobring_market::RequiredRows;
use cobring_types::{ModelShape, Nanos, TradeStream};
use proptest::prelude::*;

use super::{BUILT_IN, Config, ConfigError, MAX_FILE_SIZE_BYTES};
use crate::idle::Idle;
use crate::stages::Layout;

const SYMBOL: &str =
    "[symbols.ETHUSDT]\ntick_size = \"0.01\"\nbucket_size = \"1\"\nrange = \"5\"\n";

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, "f.toml").map_err(|error| error.to_string())
}

/// The messages of a text, before a good symbol.
fn check(text: &str, expected: &[&str]) {
    let found = parse(&format!("{text}\n{SYMBOL}")).err().unwrap_or_default();
    assert_eq!(found, expected.join("\n"), "{text}");
}

/// The messages of a symbol with a changed or added line.
fn check_symbol(line: &str, expected: &str) {
    let name = line.split_once(" =").map_or(line, |(name, _)| name);
    let others = ["tick_size = \"0.01\"", "bucket_size = \"1\"", "range = \"5\""];
    let others: Vec<&str> = others.into_iter().filter(|other| !other.starts_with(name)).collect();
    let text = format!("[symbols.ETHUSDT]\n{line}\n{}\n", others.join("\n"));
    assert_eq!(parse(&text).err().unwrap_or_default(), expected, "{line}");
}

#[test]
fn the_shipped_file_is_what_an_empty_one_means() {
    let built_in = Config::built_in();
    let mut symbols_only = parse(&BUILT_IN[BUILT_IN.find("\n[symbols.").unwrap()..]).unwrap();
    assert_eq!(symbols_only, built_in);
    // And its values are those that the engine was specified with.
    let engine = &built_in.engine;
    assert_eq!(engine.shared_memory_dir, Path::new("/dev/shm/cobring"));
    assert_eq!((engine.layout, engine.idle, engine.cores.as_slice()), (None, None, &[][..]));
    assert_eq!((engine.raw_ring_bytes, engine.event_ring_bytes), (1 << 20, 2 << 20));
    assert_eq!((engine.frame_slots, built_in.frame_slots()), (None, 256));
    assert!(engine.frame_hash && !engine.lock_memory);
    let log = &built_in.log;
    assert!(log.enabled);
    assert_eq!(
        (log.ring_bytes, log.sync_interval, log.rotate_bytes),
        (8 << 20, Nanos::SECOND, 1 << 30)
    );
    assert_eq!((log.compress, log.keep, log.keep_bytes), (true, Nanos(0), 0));
    let hour = 3_600 * Nanos::SECOND.0;
    assert_eq!((log.rotate_interval, log.resume_within), (Nanos(hour), Nanos(24 * hour)));
    let binance = &built_in.binance;
    assert_eq!(binance.trade_stream, TradeStream::AggTrade);
    assert_eq!((binance.ca_file.as_deref(), binance.weight_budget()), (None, 3_000));
    assert_eq!(binance.reconnect_max, Nanos(60_000_000_000));
    assert_eq!(built_in.quality.freshness_limit, Nanos(3_000_000_000));
    let mut required = built_in.quality.required.clone();
    required.sort_by_key(|required| std::cmp::Reverse(required.window));
    assert_eq!(required, RequiredRows::DEFAULT);
    let symbols: Vec<_> = built_in
        .symbols
        .iter()
        .map(|symbol| {
            let name = symbol.instrument.symbol.to_string();
            (name, symbol.bucket_ticks, symbol.range_ticks, symbol.radius(), symbol.rows.ticks)
        })
        .collect();
    let symbol = |name: &str, bucket, range| (name.to_owned(), bucket, range, 20, 180_000);
    assert_eq!(symbols, [symbol("BTCUSDT", 1_000, 5_000), symbol("ETHUSDT", 100, 500)]);
    assert_eq!(built_in.symbol_configs()[1], symbols_only.symbols.remove(1));
}

#[test]
fn every_key_of_the_shipped_file_tells_its_default() {
    let mut comment = String::new();
    let mut keys = 0;
    for line in BUILT_IN.lines() {
        if let Some(text) = line.strip_prefix('#') {
            comment.push_str(text);
        } else if let Some((key, value)) = line.split_once(" = ") {
            let stated =
                comment.rsplit_once("Default ").map(|(_, stated)| stated.trim_end_matches('.'));
            let required = comment.ends_with("Required.");
            assert!(required || stated == Some(value), "{key} = {value}:{comment}");
            keys += 1;
        } else {
            comment.clear();
        }
        assert!(line.chars().count() <= 120, "{line}");
    }
    assert_eq!(keys, 59);
}

#[test]
fn each_key_of_the_shipped_file_is_read() {
    // Required in the built-in file: without one of its lines it is refused.
    for (index, line) in BUILT_IN.lines().enumerate() {
        if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            let without: Vec<&str> = BUILT_IN
                .lines()
                .enumerate()
                .filter(|&(at, _)| at != index)
                .map(|(_, line)| line)
                .collect();
            let error =
                super::schema::read(&without.join("\n"), "f", None).unwrap_err().to_string();
            assert!(error.ends_with(&format!(".{key}: missing, and it has no default")), "{error}");
        }
    }
}

#[test]
fn unknown_names_are_refused_with_the_nearest() {
    check(
        "[engine]\n  ring_capacity_bytes = 1000",
        &["f.toml:2:3: engine.ring_capacity_bytes: unknown key, did you mean `raw_ring_bytes`?"],
    );
    check(
        "[engin]\nidle = \"spin\"",
        &["f.toml:1:2: engin: unknown table, did you mean `engine`?"],
    );
    check(
        "[venue.binanse]",
        &["f.toml:1:8: venue.binanse: unknown table, did you mean `binance`?"],
    );
    check("[venue.okx]", &["f.toml:1:8: venue.okx: unknown table, known here: binance"]);
    check(
        "[engine]\nmin_score = 1",
        &["f.toml:2:1: engine.min_score: unknown key, it belongs to [quality]"],
    );
    check(
        "[log.engine]",
        &["f.toml:1:6: log.engine: unknown table, [engine] is a table of its own"],
    );
    check(
        "[quality]\nx = 1",
        &["f.toml:2:1: quality.x: unknown key, known here: freshness_limit_s, min_score, require"],
    );
    check(
        "\"a\\nb\" = 1",
        &[
            "f.toml:1:1: \"a\\nb\": unknown key, known here: engine, log, bounds, quality, symbol_defaults, model_defaults, models, symbols, venue",
        ],
    );
    check_symbol(
        "bucketsize = \"1\"",
        "f.toml:2:1: symbols.ETHUSDT.bucketsize: unknown key, did you mean `bucket_size`?",
    );
    check_symbol(
        "freshness_limit_s = 1",
        "f.toml:2:1: symbols.ETHUSDT.freshness_limit_s: unknown key, it belongs to [quality]",
    );
}

#[test]
fn broken_rules_name_place_key_value_and_rule() {
    let max_radius = FrameLayout::max_radius(0);
    for (table, line, rule) in [
        (
            "engine",
            "shared_memory_dir = \"shm\"",
            "must be an absolute path, and a subdirectory of /dev/shm rather than /dev/shm itself",
        ),
        (
            "engine",
            "shared_memory_dir = \"/dev/shm/\"",
            "must be an absolute path, and a subdirectory of /dev/shm rather than /dev/shm itself",
        ),
        (
            "engine",
            "shared_memory_dir = \"/\"",
            "must be an absolute path, and a subdirectory of /dev/shm rather than /dev/shm itself",
        ),
        (
            "engine",
            "layout = \"fusd\"",
            "must be \"auto\", \"fused\" or \"staged\"; did you mean \"fused\"?",
        ),
        ("engine", "layout = 1", "must be \"auto\", \"fused\" or \"staged\""),
        ("engine", "idle = \"\"", "must be \"auto\", \"spin\", \"yield\" or \"park\""),
        (
            "engine",
            "cores = [1, 2]",
            "must be [], one core or three (ingest, parse, aggregate), distinct numbers from 0 to 1,023",
        ),
        (
            "engine",
            "cores = [1, 2, 1]",
            "must be [], one core or three (ingest, parse, aggregate), distinct numbers from 0 to 1,023",
        ),
        (
            "engine",
            "cores = [1024]",
            "must be [], one core or three (ingest, parse, aggregate), distinct numbers from 0 to 1,023",
        ),
        (
            "engine",
            "cores = [-1]",
            "must be [], one core or three (ingest, parse, aggregate), distinct numbers from 0 to 1,023",
        ),
        ("engine", "raw_ring_bytes = 1000", "must be a power of two between 64 KiB and 1 GiB"),
        ("engine", "raw_ring_bytes = -1", "must be a power of two between 64 KiB and 1 GiB"),
        ("engine", "raw_ring_bytes = 32_768", "must be a power of two between 64 KiB and 1 GiB"),
        (
            "engine",
            "event_ring_bytes = 0x8000_0000",
            "must be a power of two between 64 KiB and 1 GiB",
        ),
        ("engine", "frame_slots = 100", "must be \"auto\" or a power of two between 8 and 65,536"),
        ("engine", "frame_slots = 4", "must be \"auto\" or a power of two between 8 and 65,536"),
        ("engine", "frame_hash = 1", "must be true or false"),
        ("log", "dir = \"\"", "must be a path in quotes, not empty"),
        ("log", "dir = \"a\\u0000\"", "must be a path in quotes, not empty"),
        ("log", "sync_ms = 0", "must be a whole number between 1 and 60,000"),
        ("log", "sync_ms = 1.5", "must be a whole number between 1 and 60,000"),
        ("log", "rotate_bytes = 1000", "must be a number of bytes between 64 KiB and 1 TiB"),
        ("log", "rotate_minutes = 0", "must be a whole number between 1 and 1,440"),
        ("log", "compress = \"zstd\"", "must be true or false"),
        ("log", "keep_days = 36_501", "must be a whole number between 0 and 36,500"),
        ("log", "keep_days = 0.5", "must be a whole number between 0 and 36,500"),
        ("log", "keep_bytes = 1000", "must be 0 or a number of bytes between 1 MiB and 1024 TiB"),
        ("log", "keep_bytes = -1", "must be 0 or a number of bytes between 1 MiB and 1024 TiB"),
        ("log", "resume_within_h = 721", "must be a whole number between 0 and 720"),
        ("venue.binance", "renew_after_s = 4", "must be a whole number between 5 and 86,400"),
        (
            "venue.binance",
            "renew_at = \"24:00\"",
            "must be a time of the UTC day as \"03:00\", or \"\" for none",
        ),
        (
            "venue.binance",
            "websocket_url = \"https://x\"",
            "must be ws://host[:port] or wss://host[:port], without a path",
        ),
        (
            "venue.binance",
            "websocket_url = \"wss://\"",
            "must be ws://host[:port] or wss://host[:port], without a path",
        ),
        (
            "venue.binance",
            "websocket_url = \"wss://x/stream\"",
            "must be ws://host[:port] or wss://host[:port], without a path",
        ),
        (
            "venue.binance",
            "rest_url = \"http://a:0\"",
            "must be http://host[:port] or https://host[:port], without a path",
        ),
        (
            "venue.binance",
            "rest_url = \"http://me@a\"",
            "must be http://host[:port] or https://host[:port], without a path",
        ),
        (
            "venue.binance",
            "rest_url = \"http://[::1\"",
            "must be http://host[:port] or https://host[:port], without a path",
        ),
        (
            "venue.binance",
            "rest_url = \"http://a..b\"",
            "must be http://host[:port] or https://host[:port], without a path",
        ),
        ("venue.binance", "ca_file = 1", "must be a path in quotes, or \"\" for none"),
        (
            "venue.binance",
            "trade_stream = \"aggtrade\"",
            "must be \"aggTrade\" or \"trade\"; did you mean \"aggTrade\"?",
        ),
        (
            "venue.binance",
            "outgoing_messages_per_s = 0",
            "must be a whole number between 1 and 100",
        ),
        (
            "venue.binance",
            "weight_per_minute = 0",
            "must be a whole number between 1 and 1,000,000",
        ),
        (
            "venue.binance",
            "weight_per_minute = 499",
            "weight_per_minute times weight_share, 249, must be at least 250, the weight of one snapshot of 5,000 levels",
        ),
        (
            "venue.binance",
            "weight_share = 0.01",
            "weight_per_minute times weight_share, 60, must be at least 250, the weight of one snapshot of 5,000 levels",
        ),
        ("venue.binance", "weight_share = 0", "must be a number above 0, at most 1"),
        ("venue.binance", "weight_share = nan", "must be a number above 0, at most 1"),
        (
            "venue.binance",
            "connect_timeout_s = 0",
            "must be a number of seconds between 0.1 and 120",
        ),
        (
            "venue.binance",
            "request_timeout_s = inf",
            "must be a number of seconds between 0.1 and 120",
        ),
        ("venue.binance", "reconnect_max_s = 0.5", "must not be less than reconnect_min_s"),
        ("venue.binance", "reconnect_min_s = 100", "must not be more than reconnect_max_s"),
        (
            "venue.binance",
            "reconnect_reset_s = \"1\"",
            "must be a number of seconds between 0 and 3600",
        ),
        ("quality", "freshness_limit_s = 0", "must be a number of seconds between 0.1 and 3600"),
        ("quality", "min_score = 1.01", "must be a number between 0 and 1"),
        ("symbol_defaults", "radius = 0", "must be a whole number between 1 and 1,000,000"),
        ("symbol_defaults", "max_levels = 1000", "must not be less than snapshot_levels, 5,000"),
        (
            "symbol_defaults",
            "snapshot_levels = 1001",
            "must be 5, 10, 20, 50, 100, 500, 1,000 or 5,000",
        ),
        (
            "symbol_defaults",
            "ticks_promised = 1",
            "must be a whole number between 1,000 and 2,000,000",
        ),
        (
            "symbol_defaults",
            "backfill_trades_max = 1000001",
            "must be a whole number between 0 and 1,000,000",
        ),
        ("symbol_defaults", "qty_decimals = 9", "must be a whole number between 0 and 8"),
        (
            "symbol_defaults",
            "qty_decimals = 99999999999999999999",
            "must be a whole number between 0 and 8",
        ),
    ] {
        check(&format!("[{table}]\n{line}"), &[&format!("f.toml:2: {table}.{line}: {rule}")]);
    }
    check("engine = 5", &["f.toml:1: engine = 5: must be a table, [engine]"]);
    check("[[log]]\ndir = \"x\"", &["f.toml:1: log = [[log]]: must be a table, [log]"]);
    check(
        "[engine]\nlayout = \"staged\"\ncores = [3]",
        &["f.toml:3: engine.cores = [3]: must be [] or three cores where layout = \"staged\""],
    );
    let error =
        parse(&format!("[symbol_defaults]\nradius = {}\n{SYMBOL}", max_radius + 1)).unwrap_err();
    let start =
        format!("f.toml:2: symbol_defaults.radius = {}: makes a frame of 4,", max_radius + 1);
    let end = format!(" bytes, above 4,096; the largest radius that fits is {max_radius}");
    assert!(error.starts_with(&start) && error.ends_with(&end), "{error}");
    assert!(parse(&format!("[symbol_defaults]\nradius = {max_radius}\n{SYMBOL}")).is_ok());
}

#[test]
fn broken_rules_of_a_symbol_are_told() {
    for (line, rule) in [
        ("tick_size = 0.01", "write it as a string, \"0.01\": a float is not exact"),
        ("tick_size = true", "must be a decimal in quotes, such as \"0.01\""),
        ("tick_size = \"0\"", "must be a decimal above 0 with at most 12 decimals"),
        ("tick_size = \"1e-2\"", "must be a decimal above 0 with at most 12 decimals"),
        ("tick_size = \"0.0000000000001\"", "must be a decimal above 0 with at most 12 decimals"),
        ("bucket_size = \"0.005\"", "must be a whole number of ticks of 0.01 above 0"),
        ("bucket_size = -1", "must be a whole number of ticks of 0.01 above 0"),
        ("bucket_size = \"10000000000000\"", "must be at most 1,000,000,000,000 ticks of 0.01"),
        ("bucket_size = 99999999999999999999", "must be a decimal that fits 64 bits"),
        ("range = \"5.001\"", "must be a whole number of ticks of 0.01 above 0"),
        ("range = \"512.01\"", "covers 513 buckets of 1 on each side, at most 512 are possible"),
        ("max_levels = 1000", "must not be less than snapshot_levels, 5,000"),
    ] {
        check_symbol(line, &format!("f.toml:2: symbols.ETHUSDT.{line}: {rule}"));
    }
    check_symbol("range = 512", "");
    check_symbol("tick_size = \"0.010\"", "");
    let missing = parse("\n[symbols.ETHUSDT]\ntick_size = \"0.01\"\nrange = \"5\"");
    assert_eq!(
        missing.unwrap_err(),
        "f.toml:2: symbols.ETHUSDT.bucket_size: missing, and it has no default"
    );
    check(
        "[symbols.btcusdt]\nx = 1",
        &[
            "f.toml:1:10: symbols.btcusdt: must be written as the venue's REST interface does, BTCUSDT",
        ],
    );
    check(
        "[symbols.\"A B\"]",
        &[
            "f.toml:1:10: symbols.\"A B\": \"A B\" is no symbol: wanted 1 to 24 bytes without white space or slashes",
        ],
    );
    check(
        "symbols.BTCUSDT = 1",
        &["f.toml:1: symbols.BTCUSDT = 1: must be a table, [symbols.BTCUSDT]"],
    );
    for none in ["", "[symbols]"] {
        let error = parse(none).unwrap_err();
        assert!(
            error.ends_with("symbols: at least one symbol is needed, such as [symbols.ETHUSDT]"),
            "{error}"
        );
    }
    let many = |count: usize| {
        let rest = &SYMBOL[SYMBOL.find('\n').unwrap()..];
        parse(&(0..count).map(|n| format!("[symbols.S{n:04}]{rest}")).collect::<String>())
    };
    assert_eq!(many(1_000).unwrap().symbols.len(), 1_000);
    assert_eq!(
        many(1_001).unwrap_err(),
        "f.toml:1:2: symbols: 1,001 symbols, at most 1,000 are possible"
    );
}

#[test]
fn frame_rings_are_as_long_as_caches_and_models_ask_for() {
    let with = |count: usize, more: &str| {
        let symbols = (0..count).map(|at| {
            format!(
                "[symbols.B{at:03}USDT]\ntick_size = \"0.01\"\nbucket_size = \"10\"\nrange = \"50\"\n"
            )
        });
        parse(&format!("{more}\n{}", symbols.collect::<String>())).unwrap()
    };
    let counts = [(1, 256), (16, 256), (17, 128), (200, 128)];
    for (count, slots) in counts {
        assert_eq!(with(count, "").frame_slots(), slots, "{count} symbols");
    }
    assert_eq!(with(20, "[engine]\nframe_slots = 64").frame_slots(), 64);
    // Models answer frames of a while ago.
    assert_eq!(with(20, "[models.cnn]").frame_slots(), 1_024);
}

#[test]
fn models_are_read_with_their_symbols() {
    let text = format!(
        "[model_defaults]\nmax_age_ms = 250\n[models.policy]\n[models.cnn]\nsymbols = [\"ETHUSDT\"]\n\
         outputs = 3\nsum_to_one = true\nrate_per_s = 10\n{SYMBOL}{}",
        SYMBOL.replace("ETH", "BTC")
    );
    let config = parse(&text).unwrap();
    let models: Vec<_> = config
        .models
        .iter()
        .map(|model| {
            let symbols: Vec<&str> = model.symbols.iter().map(|symbol| symbol.as_str()).collect();
            (model.name.as_str(), symbols, model.rules)
        })
        .collect();
    let rules = |outputs, sum_to_one, rate_per_s| ModelRules {
        shape: ModelShape { outputs, sum_to_one },
        age_max: Nanos(250_000_000),
        rate_per_s,
    };
    assert_eq!(
        models,
        [
            ("cnn", vec!["ETHUSDT"], rules(3, true, 10)),
            ("policy", vec!["BTCUSDT", "ETHUSDT"], rules(1, false, 100)),
        ]
    );
    let of_symbols: Vec<_> = config.symbols.iter().map(|symbol| symbol.models.clone()).collect();
    assert_eq!(of_symbols, [vec!["policy"], vec!["cnn", "policy"]]);
    // Which models there are decides frames; what is asked of them does not.
    let fold = Config::from_fold_text(&config.fold_digest_text()).unwrap();
    assert_eq!(fold.symbols, config.symbols);
    let same = parse(&text.replace("outputs = 3", "outputs = 5")).unwrap();
    assert_eq!(same.fold_digest_text(), config.fold_digest_text());
}

#[test]
fn broken_rules_of_models_are_told() {
    for (line, rule) in [
        ("outputs = 17", "must be a whole number between 0 and 16"),
        ("max_age_ms = 0", "must be a whole number between 1 and 60,000"),
        ("rate_per_s = 101", "must be a whole number between 1 and 100"),
        (
            "symbols = []",
            "must be a list of symbols, each once, such as [\"ETHUSDT\"]; left out for all",
        ),
        ("symbols = [\"XRPUSDT\"]", "there is no [symbols.XRPUSDT]"),
    ] {
        let place = format!("f.toml:2: models.cnn.{line}: {rule}");
        check(&format!("[models.cnn]\n{line}"), &[&place]);
    }
    check(
        "[models.cnn]\nsum_to_one = true\noutputs = 0",
        &[
            "f.toml:2: models.cnn.sum_to_one = true: no outputs sum to 1: outputs must be above 0 where sum_to_one is true",
        ],
    );
    check(
        "[models.\"a.b\"]",
        &["f.toml:1:9: models.\"a.b\": must have 1 to 32 of A-Z a-z 0-9 _ -"],
    );
    check(
        "[models.cnn]\nage = 1",
        &["f.toml:2:1: models.cnn.age: unknown key, did you mean `max_age_ms`?"],
    );
    let models = |count: usize| (0..count).map(|n| format!("[models.m{n}]\n")).collect::<String>();
    check(&models(9), &["f.toml:1:2: models: 9 models, at most 8 are possible"]);
    // The default radius leaves room for all; a larger one may not.
    assert_eq!(parse(&format!("{}{SYMBOL}", models(8))).unwrap().symbols[0].layout.models(), 8);
    let radius = FrameLayout::max_radius(0);
    let error = parse(&format!("{}{SYMBOL}radius = {radius}\n", models(8))).unwrap_err();
    let size_bytes = FrameLayout::new(radius, 8).unwrap_err();
    let largest = FrameLayout::max_radius(8);
    assert_eq!(
        error.replace(',', ""),
        format!(
            "f.toml:13: symbols.ETHUSDT.radius = {radius}: makes a frame of {size_bytes} bytes with 8 models \
             above 4096; the largest radius that fits is {largest}"
        )
    );
}

#[test]
fn all_problems_are_told_at_once_in_order() {
    check(
        "[symbol_defaults]\nmax_levels = 1\n[engine]\nidle = \"no\"\nidel = 1\n[quality]\nmin_score = 2\n\
         [symbols.BTCUSDT]\ntick_size = \"0.01\"\nbucket_size = \"0.001\"\nrange = \"0.001\"\nsnapshot_levels = 5000",
        &[
            "f.toml:2: symbol_defaults.max_levels = 1: must be a whole number between 1,000 and 1,000,000",
            "f.toml:4: engine.idle = \"no\": must be \"auto\", \"spin\", \"yield\" or \"park\"",
            "f.toml:5:1: engine.idel: unknown key, did you mean `idle`?",
            "f.toml:7: quality.min_score = 2: must be a number between 0 and 1",
            "f.toml:10: symbols.BTCUSDT.bucket_size = \"0.001\": must be a whole number of ticks of 0.01 above 0",
            "f.toml:11: symbols.BTCUSDT.range = \"0.001\": must be a whole number of ticks of 0.01 above 0",
        ],
    );
    let text: String = (0..60).map(|n| format!("k{n} = 1\n")).collect();
    let error = parse(&format!("{text}{SYMBOL}")).unwrap_err();
    assert_eq!(error.lines().count(), 51);
    assert!(error.ends_with("\nf.toml: and 10 more"), "{error}");
}

#[test]
fn syntax_errors_have_line_and_column() {
    check("[engine]\nidle = = 1", &["f.toml:2:8: extra `=`, expected nothing"]);
    check("idle = 'é' é", &["f.toml:1:12: unexpected key or value, expected newline, `#`"]);
    check("[log]\ndir = \"a\"\ndir = \"b\"", &["f.toml:3:1: duplicate key"]);
}

#[test]
fn values_are_shown_on_one_line_and_cut() {
    let long = "x".repeat(100);
    check(
        &format!("[engine]\nidle = \"{long}\""),
        &[&format!(
            "f.toml:2: engine.idle = \"{}…: must be \"auto\", \"spin\", \"yield\" or \"park\"",
            &long[..59]
        )],
    );
    check(
        "[engine]\nidle = \"\"\"\na\u{202e}b\"\"\"",
        &[
            "f.toml:2: engine.idle = \"\"\"\\na\\u{202e}b\"\"\": must be \"auto\", \"spin\", \"yield\" or \"park\"",
        ],
    );
}

#[test]
fn what_is_written_is_what_is_used() {
    let config = parse(&format!(
        "engine.layout = \"staged\"\nengine.idle = \"park\"\nengine.cores = [3, 1, 0]\n\
         venue.binance = {{ websocket_url = \"ws://[::1]:9/\", rest_url = \"http://localhost:80\", ca_file = \"ca.pem\",\n\
         reconnect_min_s = 0.25, trade_stream = \"trade\" }}\nquality.freshness_limit_s = 0.1\n\
         [symbol_defaults]\nradius = 7\n[symbols.BNB-1]\ntick_size = 1\nbucket_size = 10\nrange = 0x10\nqty_decimals = 3\n\
         {SYMBOL}radius = 9\n"
    ))
    .unwrap();
    assert_eq!(
        (config.engine.layout, config.engine.idle),
        (Some(Layout::Staged), Some(Idle::Park))
    );
    assert_eq!(config.engine.cores, [3, 1, 0]);
    let binance = &config.binance;
    assert_eq!(
        (binance.websocket_url.as_str(), binance.rest_url.as_str()),
        ("ws://[::1]:9", "http://localhost:80")
    );
    assert_eq!(binance.ca_file.as_deref(), Some(Path::new("ca.pem")));
    assert_eq!(
        (binance.reconnect_min, binance.trade_stream),
        (Nanos(250_000_000), TradeStream::Trade)
    );
    let [bnb, eth] = &config.symbol_configs()[..] else { panic!("two symbols") };
    assert_eq!((bnb.radius(), eth.radius()), (7, 9));
    assert_eq!((bnb.bucket_ticks, bnb.range_ticks, bnb.imbalance_radius()), (10, 16, 2));
    assert_eq!((bnb.instrument.qty_decimals, eth.instrument.qty_decimals), (3, 8));
    assert_eq!(eth.freshness_limit, Nanos(100_000_000));
}

#[test]
fn files_that_are_no_configuration_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.toml");
    let name = path.display().to_string();
    let load = || Config::load(&path).map_err(|error| error.to_string());
    assert!(matches!(Config::load(&path), Err(ConfigError::Unreadable { .. })));
    assert_eq!(
        load().unwrap_err(),
        format!("{name}: cannot be read: No such file or directory (os error 2)")
    );
    fs::write(&path, b"# \xff").unwrap();
    assert_eq!(load().unwrap_err(), format!("{name}: no UTF-8 at byte 2"));
    fs::write(&path, vec![b'\n'; usize::try_from(MAX_FILE_SIZE_BYTES).unwrap() + 1]).unwrap();
    assert_eq!(load().unwrap_err(), format!("{name}: has more than 1048576 bytes"));
    fs::write(&path, "[engine]\nidle = 1\n").unwrap();
    assert!(load().unwrap_err().starts_with(&format!("{name}:2: engine.idle = 1: must be ")));
    fs::write(&path, BUILT_IN).unwrap();
    assert_eq!(load().unwrap(), Config::built_in());
}

#[test]
fn fold_text_is_canonical() {
    let expected = "[quality]\nfreshness_limit_s = 3\n\n\
         [quality.require]\ncob_rows = 60\nbook_states = 100\n\n\
         [symbols.BTCUSDT]\ntick_size = \"0.01\"\nbucket_size = \"10\"\nrange = \"50\"\nradius = 20\nmax_levels = 65536\n\
         snapshot_levels = 5000\nresync_levels = 1000\nticks_promised = 180000\nklines = true\nbackfill_trades_max = 20000\nqty_decimals = 8\n\n\
         [symbols.ETHUSDT]\ntick_size = \"0.01\"\nbucket_size = \"1\"\nrange = \"5\"\nradius = 20\nmax_levels = 65536\n\
         snapshot_levels = 5000\nresync_levels = 1000\nticks_promised = 180000\nklines = true\nbackfill_trades_max = 20000\nqty_decimals = 8\n";
    assert_eq!(Config::built_in().fold_digest_text(), expected);
    // Another way to write the same, with other settings that frames do not show.
    let same = parse(
        "engine.layout = \"fused\"\nquality.min_score = 0\nvenue.binance.trade_stream = \"trade\"\n\
         [symbols.ETHUSDT]\nrange = 5\nbucket_size = \"1.00\"\ntick_size = \"0.0100\"\n\
         [symbols.BTCUSDT]\nrange = 50\nbucket_size = 10\ntick_size = \"0.01\"\n",
    );
    assert_eq!(same.unwrap().fold_digest_text(), expected);
    let odd = SYMBOL.replace("ETHUSDT", "'币\"安'");
    let odd = parse(&odd).unwrap();
    assert!(
        odd.fold_digest_text().contains("[symbols.\"币\\\"安\"]"),
        "{}",
        odd.fold_digest_text()
    );
    assert_eq!(Config::from_fold_text(&odd.fold_digest_text()).unwrap(), odd);
}

proptest! {
    #[test]
    fn fold_text_restores_every_symbol_setting(
        tick_mantissa in 1u32..2_000,
        tick_decimals in 0usize..10,
        bucket in 1i64..100_000,
        range_buckets in 1i64..512,
        radius in 1..FrameLayout::max_radius(0),
        max_levels in 5_000usize..1_000_000,
        ticks in 1_000u64..2_000_000,
        qty_decimals in 0u8..=8,
        freshness_ns in 100_000_000i64..3_600_000_000_000,
    ) {
        let mut config = Config::built_in();
        config.quality.freshness_limit = Nanos(freshness_ns);
        for symbol in &mut config.symbols {
            let tick = super::decimal_text(i128::from(tick_mantissa), tick_decimals);
            let name = symbol.instrument.symbol;
            symbol.instrument = cobring_types::Instrument::new(name.as_str(), &tick, qty_decimals).unwrap();
            symbol.bucket_ticks = bucket;
            symbol.range_ticks = bucket * range_buckets;
            symbol.layout = FrameLayout::new(radius, 0).unwrap();
            symbol.max_levels = max_levels;
            symbol.freshness_limit = Nanos(freshness_ns);
            symbol.rows.ticks = ticks;
        }
        let text = config.fold_digest_text();
        prop_assert_eq!(Config::from_fold_text(&text).unwrap(), config, "{}", text);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_toml_like_text_panics(text in "([a-z\\[\\]=\"'.,{}#_0-9\\-+ \n]|symbols|engine|venue|é){0,60}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_mutation_of_the_shipped_file_panics(
        edits in proptest::collection::vec((0..BUILT_IN.len(), 0usize..40, ".{0,6}|[\"=\\[\\]\n0-9.]{0,4}"), 1..6),
    ) {
        let mut bytes = BUILT_IN.as_bytes().to_vec();
        for (at, length, text) in edits {
            let at = at.min(bytes.len());
            let end = (at + length).min(bytes.len());
            bytes.splice(at..end, text.into_bytes());
        }
        if let Err(error) = parse(&String::from_utf8_lossy(&bytes)) {
            prop_assert!(error.lines().all(|line| line.starts_with("f.toml:")), "{}", error);
        }
    }
}
