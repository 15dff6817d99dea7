//! A symbol's market in private memory.

use cobring_frame::{Segment, SegmentSpec, WindowRows, Windows};
use cobring_market::{RequiredRows, SymbolConfig, SymbolMarket};
use cobring_types::{Instrument, Nanos};

/// Settings that most tests share: ticks of 0.01, buckets of 7 ticks, no klines, no models.
pub(crate) fn config(radius: usize, models: &[&str]) -> SymbolConfig {
    SymbolConfig {
        instrument: Instrument::new("X", "0.01", 2).unwrap(),
        bucket_ticks: 7,
        range_ticks: 15,
        layout: cobring_frame::FrameLayout::new(radius, models.len()).unwrap(),
        freshness_limit: Nanos(3_000_000_000),
        max_levels: 1_000,
        rows: WindowRows { ticks: 64, ..WindowRows::default() },
        models: models.iter().map(|&name| name.to_owned()).collect(),
        klines: false,
        backfill_trades_max: 20_000,
        required: RequiredRows::DEFAULT.to_vec(),
        snapshot_levels: 20,
        resync_levels: 10,
    }
}

/// A market of these settings about which nothing is known yet.
pub(crate) fn market(config: SymbolConfig) -> SymbolMarket {
    let schema = config.schema();
    let spec = SegmentSpec {
        symbol: "X".into(),
        epoch: 1,
        schema: schema.to_json(),
        schema_id: schema.id(),
        frame_size_bytes: config.layout.size_bytes(),
        slot_count: 2,
        windows: schema.window_specs(),
    };
    let windows = Windows::new(Segment::private(&spec).unwrap().windows);
    SymbolMarket::new(config, 1, schema.id(), windows)
}
