//! Every key of the configuration, with its rule, and the rules that join several.
//!
//! A key is read by one line here and documented in `config/cobring.toml`, which holds its default.

use cobring_frame::{FrameLayout, MAX_FRAME_SIZE_BYTES, WINDOWS, WindowRows};
use cobring_market::{RequiredRows, SymbolConfig};
use cobring_types::{Instrument, Nanos, Symbol, TradeStream};
use cobring_venue::binance::depth_weight;

use super::models::{self, ModelTable, model_defaults};
use super::read::{Section, Source};
use super::rules::{
    Choice, GIB, KIB, MIB, boolean, choice, cores, decimal, grouped, integer, millis, number,
    number_above, one_of, optional_path, path, power_of_two_or_auto, ring_bytes, seconds,
    shared_memory_dir, size_bytes, size_bytes_or_none, time_of_day, times, url,
};
use super::{
    BinanceSettings, BoundsSettings, Config, ConfigError, EngineSettings, LogSettings,
    QualitySettings, SymbolDefaults,
};
use crate::idle::Idle;
use crate::ingest::RenewalPolicy;
use crate::stages::Layout;

/// Symbols, at most.
pub(crate) const MAX_SYMBOLS: usize = 1_000;
/// k, the buckets on each side of the centre that an imbalance may sum.
const MAX_IMBALANCE_RADIUS: i64 = 512;
/// A bucket in ticks: leaves room for sums of buckets in 64 bits.
const MAX_BUCKET_TICKS: i64 = 1_000_000_000_000;
/// What the venue's `depth` accepts.
const SNAPSHOT_LEVELS: &[u32] = &[5, 10, 20, 50, 100, 500, 1_000, 5_000];

/// The configuration in `text`; what it leaves out is as in `base`, and must be there without one.
pub(super) fn read(text: &str, name: &str, base: Option<&Config>) -> Result<Config, ConfigError> {
    let source = Source::new(text);
    let config = source.parse().map(|root| {
        let mut root = Section::root(&source, root.get_ref());
        let engine = engine(root.section("engine"), base.map(|base| base.engine.clone()));
        let log = log(root.section("log"), base.map(|base| base.log.clone()));
        let bounds = bounds(root.section("bounds"), base.map(|base| base.bounds.clone()));
        let quality = quality(root.section("quality"), base.map(|base| base.quality.clone()));
        let symbol_defaults =
            symbol_defaults(root.section("symbol_defaults"), base.map(|base| base.symbol_defaults));
        let model_defaults =
            model_defaults(root.section("model_defaults"), base.map(|base| base.model_defaults));
        let models = models::tables(root.section("models"), model_defaults);
        let (names, symbols) = symbols(&mut root, symbol_defaults, &quality, &models);
        let models = models::settle(models, &names, &symbols);
        let mut venue = root.section("venue");
        let binance =
            binance(venue.section("binance"), base.map(|base| base.binance.clone()), &symbols);
        venue.finish();
        root.finish();
        Config {
            engine,
            log,
            bounds,
            binance,
            quality,
            symbol_defaults,
            model_defaults,
            models,
            symbols,
        }
    });
    source.finish(name, config)
}

fn engine(mut table: Section<'_, '_>, base: Option<EngineSettings>) -> EngineSettings {
    let base = base.as_ref();
    let layouts =
        [("auto", None), ("fused", Some(Layout::Fused)), ("staged", Some(Layout::Staged))];
    let idles = [
        ("auto", None),
        ("spin", Some(Idle::Spin)),
        ("yield", Some(Idle::Yield)),
        ("park", Some(Idle::Park)),
    ];
    let settings = EngineSettings {
        shared_memory_dir: table.get(
            "shared_memory_dir",
            base.map(|base| base.shared_memory_dir.clone()),
            shared_memory_dir,
        ),
        layout: table
            .get("layout", base.map(|base| Choice(Some(base.layout))), choice(&layouts))
            .0
            .flatten(),
        idle: table
            .get("idle", base.map(|base| Choice(Some(base.idle))), choice(&idles))
            .0
            .flatten(),
        cores: table.get("cores", base.map(|base| base.cores.clone()), cores),
        raw_ring_bytes: table.get(
            "raw_ring_bytes",
            base.map(|base| base.raw_ring_bytes),
            ring_bytes,
        ),
        event_ring_bytes: table.get(
            "event_ring_bytes",
            base.map(|base| base.event_ring_bytes),
            ring_bytes,
        ),
        frame_slots: table.get(
            "frame_slots",
            base.map(|base| base.frame_slots),
            power_of_two_or_auto(8..=65_536),
        ),
        frame_hash: table.get("frame_hash", base.map(|base| base.frame_hash), boolean),
        lock_memory: table.get("lock_memory", base.map(|base| base.lock_memory), boolean),
    };
    if table.is_sound() && settings.layout == Some(Layout::Staged) && settings.cores.len() == 1 {
        table.refuse("cores", "must be [] or three cores where layout = \"staged\"");
    }
    table.finish();
    settings
}

fn log(mut table: Section<'_, '_>, base: Option<LogSettings>) -> LogSettings {
    let base = base.as_ref();
    let settings = LogSettings {
        enabled: table.get("enabled", base.map(|base| base.enabled), boolean),
        dir: table.get("dir", base.map(|base| base.dir.clone()), path),
        ring_bytes: table.get("ring_bytes", base.map(|base| base.ring_bytes), ring_bytes),
        sync_interval: table.get(
            "sync_ms",
            base.map(|base| base.sync_interval),
            millis(1..=60_000),
        ),
        rotate_bytes: table.get(
            "rotate_bytes",
            base.map(|base| base.rotate_bytes),
            size_bytes(64 * KIB..=GIB * KIB),
        ),
        rotate_interval: table.get(
            "rotate_minutes",
            base.map(|base| base.rotate_interval),
            times(1..=1_440, 60 * Nanos::SECOND.0),
        ),
        compress: table.get("compress", base.map(|base| base.compress), boolean),
        keep: table.get(
            "keep_days",
            base.map(|base| base.keep),
            times(0..=36_500, 86_400 * Nanos::SECOND.0),
        ),
        keep_bytes: table.get(
            "keep_bytes",
            base.map(|base| base.keep_bytes),
            size_bytes_or_none(MIB..=GIB * MIB),
        ),
        resume_within: table.get(
            "resume_within_h",
            base.map(|base| base.resume_within),
            times(0..=720, 3_600 * Nanos::SECOND.0),
        ),
    };
    table.finish();
    settings
}

fn bounds(mut table: Section<'_, '_>, base: Option<BoundsSettings>) -> BoundsSettings {
    let settings = BoundsSettings { dir: table.get("dir", base.map(|base| base.dir), path) };
    table.finish();
    settings
}

fn binance(
    mut table: Section<'_, '_>,
    base: Option<BinanceSettings>,
    symbols: &[SymbolConfig],
) -> BinanceSettings {
    let base = base.as_ref();
    let trade_streams = [("aggTrade", TradeStream::AggTrade), ("trade", TradeStream::Trade)];
    let settings = BinanceSettings {
        websocket_url: table.get(
            "websocket_url",
            base.map(|base| base.websocket_url.clone()),
            url(["ws://", "wss://"]),
        ),
        rest_url: table.get(
            "rest_url",
            base.map(|base| base.rest_url.clone()),
            url(["http://", "https://"]),
        ),
        ca_file: table.get("ca_file", base.map(|base| base.ca_file.clone()), optional_path),
        trade_stream: table
            .get(
                "trade_stream",
                base.map(|base| Choice(Some(base.trade_stream))),
                choice(&trade_streams),
            )
            .0
            .unwrap_or(TradeStream::AggTrade),
        separate_depth_connection: table.get(
            "separate_depth_connection",
            base.map(|base| base.separate_depth_connection),
            boolean,
        ),
        renewal: RenewalPolicy {
            twin: table.get("twin_connections", base.map(|base| base.renewal.twin), boolean),
            after: table.get(
                "renew_after_s",
                base.map(|base| base.renewal.after),
                times(5..=86_400, Nanos::SECOND.0),
            ),
            at_time_of_day: table.get(
                "renew_at",
                base.map(|base| base.renewal.at_time_of_day),
                time_of_day,
            ),
        },
        outgoing_messages_per_s: table.get(
            "outgoing_messages_per_s",
            base.map(|base| base.outgoing_messages_per_s),
            integer(1..=100),
        ),
        weight_per_minute: table.get(
            "weight_per_minute",
            base.map(|base| base.weight_per_minute),
            integer(1..=1_000_000),
        ),
        weight_share: table.get(
            "weight_share",
            base.map(|base| base.weight_share),
            number_above(0.0, 1.0),
        ),
        connect_timeout: table.get(
            "connect_timeout_s",
            base.map(|base| base.connect_timeout),
            seconds(0.1..=120.0),
        ),
        request_timeout: table.get(
            "request_timeout_s",
            base.map(|base| base.request_timeout),
            seconds(0.1..=120.0),
        ),
        reconnect_min: table.get(
            "reconnect_min_s",
            base.map(|base| base.reconnect_min),
            seconds(0.01..=3_600.0),
        ),
        reconnect_max: table.get(
            "reconnect_max_s",
            base.map(|base| base.reconnect_max),
            seconds(0.01..=3_600.0),
        ),
        reconnect_reset: table.get(
            "reconnect_reset_s",
            base.map(|base| base.reconnect_reset),
            seconds(0.0..=3_600.0),
        ),
        verify_tick_size: table.get(
            "verify_tick_size",
            base.map(|base| base.verify_tick_size),
            boolean,
        ),
    };
    if table.is_sound() {
        check_binance(&mut table, &settings, symbols);
    }
    table.finish();
    settings
}

fn check_binance(
    table: &mut Section<'_, '_>,
    settings: &BinanceSettings,
    symbols: &[SymbolConfig],
) {
    if settings.reconnect_max < settings.reconnect_min {
        if table.has("reconnect_max_s") {
            table.refuse("reconnect_max_s", "must not be less than reconnect_min_s");
        } else {
            table.refuse("reconnect_min_s", "must not be more than reconnect_max_s");
        }
    }
    let levels = symbols
        .iter()
        .map(|symbol| symbol.snapshot_levels.max(symbol.resync_levels))
        .max()
        .unwrap_or_default();
    let (budget, weight) = (settings.weight_budget(), depth_weight(levels));
    if budget < weight {
        let key = if table.has("weight_share") { "weight_share" } else { "weight_per_minute" };
        let (budget, levels) = (grouped(u64::from(budget)), grouped(u64::from(levels)));
        let rule = format!(
            "weight_per_minute times weight_share, {budget}, must be at least {weight}, the weight of \
             one snapshot of {levels} levels"
        );
        table.refuse(key, &rule);
    }
}

fn quality(mut table: Section<'_, '_>, base: Option<QualitySettings>) -> QualitySettings {
    let base = base.as_ref();
    let settings = QualitySettings {
        freshness_limit: table.get(
            "freshness_limit_s",
            base.map(|base| base.freshness_limit),
            seconds(0.1..=3_600.0),
        ),
        min_score: table.get("min_score", base.map(|base| base.min_score), number(0.0..=1.0)),
        required: required_rows(table.section("require"), base.map(|base| &base.required[..])),
    };
    table.finish();
    settings
}

/// Rows by window; what is not named is not required.
fn required_rows(mut table: Section<'_, '_>, base: Option<&[RequiredRows]>) -> Vec<RequiredRows> {
    let mut required = Vec::new();
    for (window, name) in WINDOWS.into_iter().enumerate() {
        let in_base = base.into_iter().flatten().find(|required| required.window == window);
        let is_default = RequiredRows::DEFAULT.iter().any(|default| default.window == window);
        let none = (base.is_some() || !is_default).then_some(0);
        let absent = in_base.map(|required| required.rows).or(none);
        let rows = table.get(name, absent, integer(0..=1_000_000));
        if rows > 0 {
            required.push(RequiredRows { window, rows });
        }
    }
    table.finish();
    required
}

fn symbol_defaults(mut table: Section<'_, '_>, base: Option<SymbolDefaults>) -> SymbolDefaults {
    let defaults = symbol_keys(&mut table, base);
    let sound = table.is_sound();
    table.finish();
    // The placeholder of a refused value must not make a symbol's look wrong.
    if sound { defaults } else { base.unwrap_or(defaults) }
}

/// The keys that both `[symbol_defaults]` and a symbol's table may have.
fn symbol_keys(table: &mut Section<'_, '_>, base: Option<SymbolDefaults>) -> SymbolDefaults {
    let keys = SymbolDefaults {
        radius: table.get("radius", base.map(|base| base.radius), integer(1..=1_000_000)),
        max_levels: table.get(
            "max_levels",
            base.map(|base| base.max_levels),
            integer(1_000..=1_000_000),
        ),
        snapshot_levels: table.get(
            "snapshot_levels",
            base.map(|base| base.snapshot_levels),
            one_of(SNAPSHOT_LEVELS),
        ),
        resync_levels: table.get(
            "resync_levels",
            base.map(|base| base.resync_levels),
            one_of(SNAPSHOT_LEVELS),
        ),
        ticks_promised: table.get(
            "ticks_promised",
            base.map(|base| base.ticks_promised),
            integer(1_000..=2_000_000),
        ),
        klines: table.get("klines", base.map(|base| base.klines), boolean),
        backfill_trades_max: table.get(
            "backfill_trades_max",
            base.map(|base| base.backfill_trades_max),
            integer(0..=1_000_000),
        ),
        qty_decimals: table.get("qty_decimals", base.map(|base| base.qty_decimals), integer(0..=8)),
    };
    // A value from elsewhere was checked there: only what is written here can break a rule here.
    if table.has("radius")
        && let Err(size_bytes) = FrameLayout::new(keys.radius, 0)
    {
        table.refuse("radius", &too_large(size_bytes, 0));
    }
    if table.is_sound() {
        for (name, levels) in
            [("snapshot_levels", keys.snapshot_levels), ("resync_levels", keys.resync_levels)]
        {
            if keys.max_levels >= levels as usize {
                continue;
            }
            let (levels, most) = (grouped(u64::from(levels)), grouped(keys.max_levels as u64));
            if table.has("max_levels") {
                table.refuse("max_levels", &format!("must not be less than {name}, {levels}"));
            } else if table.has(name) {
                table.refuse(name, &format!("must not be more than max_levels, {most}"));
            }
        }
    }
    keys
}

/// What is wrong with a radius that makes such a frame.
fn too_large(size_bytes: usize, models: usize) -> String {
    let (size_bytes, most) = (grouped(size_bytes as u64), grouped(MAX_FRAME_SIZE_BYTES as u64));
    let largest = FrameLayout::max_radius(models);
    let beside = match models {
        0 => String::new(),
        1 => " with 1 model".to_owned(),
        models => format!(" with {models} models"),
    };
    format!(
        "makes a frame of {size_bytes} bytes{beside}, above {most}; the largest radius that fits is {largest}"
    )
}

/// The names of all, and those with which nothing is wrong.
fn symbols(
    root: &mut Section<'_, '_>,
    defaults: SymbolDefaults,
    quality: &QualitySettings,
    models: &[ModelTable<'_, '_>],
) -> (Vec<String>, Vec<SymbolConfig>) {
    let mut table = root.section("symbols");
    let tables = table.sections("NAME");
    if table.is_sound() && tables.is_empty() {
        table.refuse_name("at least one symbol is needed, such as [symbols.ETHUSDT]");
    } else if tables.len() > MAX_SYMBOLS {
        let (found, most) = (grouped(tables.len() as u64), grouped(MAX_SYMBOLS as u64));
        table.refuse_name(&format!("{found} symbols, at most {most} are possible"));
        return Default::default();
    }
    let names = tables.iter().map(|(name, _)| name.clone()).collect();
    let mut symbols: Vec<SymbolConfig> = tables
        .into_iter()
        .filter_map(|(name, table)| {
            symbol(&name, table, defaults, quality, models::of_symbol(models, &name))
        })
        .collect();
    symbols.sort_by_key(|symbol| symbol.instrument.symbol);
    (names, symbols)
}

/// `None` where something is wrong with it.
fn symbol(
    name: &str,
    mut table: Section<'_, '_>,
    defaults: SymbolDefaults,
    quality: &QualitySettings,
    models: Vec<String>,
) -> Option<SymbolConfig> {
    if let Err(error) = Symbol::new(name) {
        table.refuse_name(&error.to_string());
    } else if name.bytes().any(|byte| byte.is_ascii_lowercase()) {
        let upper = name.to_ascii_uppercase();
        table.refuse_name(&format!("must be written as the venue's REST interface does, {upper}"));
    }
    if !table.is_sound() {
        return None;
    }
    let tick_size = table.get("tick_size", None, decimal);
    let bucket_size = table.get("bucket_size", None, decimal);
    let range = table.get("range", None, decimal);
    let keys = symbol_keys(&mut table, Some(defaults));
    let settings = if table.is_sound() {
        exact(name, &mut table, [&tick_size, &bucket_size, &range], keys, quality, models)
    } else {
        None
    };
    table.finish();
    settings
}

/// The symbol in ticks.
fn exact(
    name: &str,
    table: &mut Section<'_, '_>,
    [tick_size, bucket_size, range]: [&str; 3],
    keys: SymbolDefaults,
    quality: &QualitySettings,
    models: Vec<String>,
) -> Option<SymbolConfig> {
    let Ok(instrument) = Instrument::new(name, tick_size, keys.qty_decimals) else {
        table.refuse("tick_size", "must be a decimal above 0 with at most 12 decimals");
        return None;
    };
    let mut ticks = |key, text, most: i64| match instrument.parse_ticks(text) {
        Ok(ticks) if ticks <= most => Some(ticks),
        Ok(_) => {
            let most = grouped(most.unsigned_abs());
            table.refuse(
                key,
                &format!("must be at most {most} ticks of {}", instrument.tick_size()),
            );
            None
        }
        Err(_) => {
            let tick = instrument.tick_size();
            table.refuse(key, &format!("must be a whole number of ticks of {tick} above 0"));
            None
        }
    };
    let bucket_ticks = ticks("bucket_size", bucket_size, MAX_BUCKET_TICKS);
    let range_ticks = ticks("range", range, MAX_BUCKET_TICKS * MAX_IMBALANCE_RADIUS);
    let layout = FrameLayout::new(keys.radius, models.len())
        .map_err(|size_bytes| table.refuse("radius", &too_large(size_bytes, models.len())))
        .ok()?;
    let symbol = SymbolConfig {
        instrument,
        bucket_ticks: bucket_ticks?,
        range_ticks: range_ticks?,
        layout,
        freshness_limit: quality.freshness_limit,
        max_levels: keys.max_levels,
        snapshot_levels: keys.snapshot_levels,
        resync_levels: keys.resync_levels,
        rows: WindowRows { ticks: keys.ticks_promised, ..WindowRows::default() },
        models,
        klines: keys.klines,
        backfill_trades_max: keys.backfill_trades_max,
        required: quality.required.clone(),
    };
    let radius = symbol.imbalance_radius();
    if radius > MAX_IMBALANCE_RADIUS {
        let radius = grouped(radius.unsigned_abs());
        let rule = format!(
            "covers {radius} buckets of {bucket_size} on each side, at most {MAX_IMBALANCE_RADIUS} are possible"
        );
        table.refuse("range", &rule);
        return None;
    }
    Some(symbol)
}
