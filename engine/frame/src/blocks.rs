//! The frame's fixed blocks: their fields, units and the names of their values. FRAME.md defines them.

use crate::record;
use crate::rows::UNDEF;

/// Levels a side in a frame.
pub const BOOK_LEVELS: usize = 10;
/// The windows of flow and of the imbalance averages, in seconds.
pub const FLOW_WINDOWS_S: [i64; 4] = [1, 5, 15, 60];
/// Values of [`Identity::trigger`].
pub const TRIGGERS: [&str; 7] = ["depth", "quote", "trade", "snapshot", "repair", "link", "timer"];
/// Values of [`Book::book_state`].
pub const BOOK_STATES: [&str; 7] =
    ["empty", "syncing", "live", "gapped", "stale", "crossed", "halted"];
/// Values of [`Top::source`].
pub const TOP_SOURCES: [&str; 3] = ["bookTicker", "depth", "none"];
/// Values of [`Price::source`].
pub const PRICE_SOURCES: [&str; 5] = ["bookTicker", "trade", "depth", "ticker", "none"];
/// Bits of [`Quality::reasons`].
pub const REASONS: [&str; 13] = [
    "not_live",
    "depth_old",
    "quote_old",
    "trades_stalled",
    "crossed",
    "audit_mismatch",
    "repaired_bars",
    "coverage",
    "link_down",
    "halted",
    "unlogged",
    "flow_truncated",
    "rows_missing",
];
/// Bits of [`Quality::valid`], the blocks whose values may be used, and the order of `quality.age`.
pub const BLOCKS: [&str; 14] = [
    "top",
    "price",
    "book",
    "cob",
    "imbalance",
    "flow",
    "candles.1s",
    "candles.1m",
    "candles.1h",
    "candles.1d",
    "pivots.1s",
    "pivots.1m",
    "pivot_bounds",
    "clock_offset",
];

/// What an input did, the reason for a frame; numbered as [`TRIGGERS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "FRAME.md names them")]
pub enum Trigger {
    Depth = 0,
    Quote = 1,
    Trade = 2,
    Snapshot = 3,
    Repair = 4,
    Link = 5,
    Timer = 6,
}

record! {
    /// Which frame this is.
    pub struct Identity {
        /// UTF-8, padded with zero bytes.
        symbol: [u8; 24] = "text",
        /// Id of the schema that describes this frame.
        schema_id: u64 = "id",
        /// Start of the engine: `max(previous + 1, UTC ns)`.
        epoch: u64 = "id",
        /// Number of the frame in this epoch and symbol, from 0.
        seq: u64 = "id",
        /// The last input folded in; `u64::MAX` before the first.
        input_seq: u64 = "id",
        /// See [`TRIGGERS`].
        trigger: u8 = "enum:trigger",
    }
    pad 7
}

record! {
    /// When its input happened and passed the stages; offsets are the venue's clock minus ours.
    pub struct Times {
        /// The venue's clock; UNDEF for a stream without venue time, and for a timer.
        ts_event: i64 = "ns",
        /// The kernel's receive time.
        ts_kernel: i64 = "ns",
        /// Our clock at the socket; for a timer its instant.
        ts_recv: i64 = "ns",
        /// Our clock after parsing.
        ts_parsed: i64 = "ns",
        /// Our clock after the state changed.
        ts_applied: i64 = "ns",
        /// Our clock just before this frame became visible.
        ts_published: i64 = "ns",
        /// Midpoint of the next two, else `offset_low`.
        clock_offset: i64 = "ns",
        /// Largest venue time minus receive time over the last 60 s.
        offset_low: i64 = "ns",
        /// Server time minus send time of the last REST `time`.
        offset_high: i64 = "ns",
        /// The host's wall clock minus our clock.
        wall_offset: i64 = "ns",
    }
}

record! {
    /// How good this frame is: the score is the least of five components, each 1 in normal running.
    pub struct Quality {
        /// The least component.
        score: f64 = "ratio",
        /// 1 while the book is live, else 0.
        sync: f64 = "ratio",
        /// Age of depth and bookTicker against their limit.
        freshness: f64 = "ratio",
        /// Rows of the required windows.
        completeness: f64 = "ratio",
        /// Book against bookTicker and audits, repaired bars.
        consistency: f64 = "ratio",
        /// Share of the imbalance's buckets that are known.
        coverage: f64 = "ratio",
        /// See [`REASONS`].
        reasons: u64 = "bits:reasons",
        /// Blocks that may be used, see [`BLOCKS`].
        valid: u64 = "bits:blocks",
        /// Since the last depth message; UNDEF before the first.
        age_depth: i64 = "ns",
        /// Since the last bookTicker.
        age_quote: i64 = "ns",
        /// Since the last trade.
        age_trade: i64 = "ns",
    }
}

record! {
    /// The freshest best prices, from bookTicker or depth, whichever has the higher update id.
    pub struct Top {
        /// Best bid.
        bid_px: f64 = "quote",
        /// Its quantity.
        bid_qty: f64 = "base",
        /// Best ask.
        ask_px: f64 = "quote",
        /// Its quantity.
        ask_qty: f64 = "base",
        /// (bid + ask) / 2.
        mid_px: f64 = "quote",
        /// (bid_px·ask_qty + ask_px·bid_qty) / (bid_qty + ask_qty).
        micro_px: f64 = "quote",
        /// ask − bid.
        spread: f64 = "quote",
        /// Update id that it belongs to; 0 where unknown.
        update_id: u64 = "update_id",
        /// See [`TOP_SOURCES`].
        source: u8 = "enum:top_source",
    }
    pad 7
}

record! {
    /// The live price: the bookTicker's mid if at most 1 s old, else the last trade if at most 5 s old, else
    /// the live book's mid, else the venue's 24 h ticker.
    pub struct Price {
        /// NaN where there is none.
        px: f64 = "quote",
        /// Since its message was received; UNDEF where there is none.
        age: i64 = "ns",
        /// See [`PRICE_SOURCES`].
        source: u8 = "enum:price_source",
    }
    pad 7
}

record! {
    /// The depth book alone.
    pub struct Book {
        /// Update id of the last applied event, or of the snapshot; 0 where there is no book.
        update_id: u64 = "update_id",
        /// Best bids, price and quantity.
        bids: [[f64; 2]; BOOK_LEVELS] = "levels",
        /// Best asks, price and quantity.
        asks: [[f64; 2]; BOOK_LEVELS] = "levels",
        /// Every bid from the best down to this price is known.
        bid_known_to: f64 = "quote",
        /// Every ask from the best up to this price is known.
        ask_known_to: f64 = "quote",
        /// Bid levels in the known range.
        levels_known_bid: u32 = "count",
        /// Ask levels in the known range.
        levels_known_ask: u32 = "count",
        /// See [`BOOK_STATES`].
        book_state: u8 = "enum:book_state",
    }
    pad 7
}

record! {
    /// The price buckets around the centre; their arrays stand behind the fixed blocks.
    pub struct Cob {
        /// Width of a bucket.
        bucket_size: f64 = "quote",
        /// floor(mid / bucket_size); UNDEF where there is no book.
        centre_bucket: i64 = "bucket",
    }
}

record! {
    /// Imbalance of the book, by buckets and by price, with the averages of its 100 ms samples.
    pub struct Imbalance {
        /// (B − A) / (B + A) over buckets centre ± k.
        imbalance: f64 = "ratio",
        /// Mean of the samples of the last second.
        imbalance_ma_1s: f64 = "ratio",
        /// Of the last 5 s.
        imbalance_ma_5s: f64 = "ratio",
        /// Of the last 15 s.
        imbalance_ma_15s: f64 = "ratio",
        /// Of the last 60 s.
        imbalance_ma_60s: f64 = "ratio",
        /// The same with the distance from the mid instead of buckets.
        imbalance_px: f64 = "ratio",
        /// Its mean over the last second.
        imbalance_px_ma_1s: f64 = "ratio",
        /// Over the last 5 s.
        imbalance_px_ma_5s: f64 = "ratio",
        /// Over the last 15 s.
        imbalance_px_ma_15s: f64 = "ratio",
        /// Over the last 60 s.
        imbalance_px_ma_60s: f64 = "ratio",
        /// Samples in each of the four averages.
        imbalance_samples: [u32; 4] = "count",
        /// Live, and all buckets centre ± k known.
        imbalance_valid: u8 = "bool",
    }
    pad 7
}

record! {
    /// The last trade, and flow over [`FLOW_WINDOWS_S`].
    pub struct Flow {
        /// Price of the last trade.
        last_px: f64 = "quote",
        /// Its quantity.
        last_qty: f64 = "base",
        /// Its last id; 0 before the first.
        last_id: u64 = "id",
        /// Its match time.
        last_ts_event: i64 = "ns",
        /// Quantity that takers bought.
        buy_volume: [f64; 4] = "base",
        /// Quantity that takers sold.
        sell_volume: [f64; 4] = "base",
        /// Volume-weighted average price; NaN without trades.
        vwap: [f64; 4] = "quote",
        /// Level-1 order-flow imbalance (Cont, Kukanov, Stoikov 2014) from bookTicker.
        ofi: [f64; 4] = "base",
        /// Fills that takers bought.
        buy_count: [u64; 4] = "count",
        /// Fills that takers sold.
        sell_count: [u64; 4] = "count",
        /// The taker's side of the last trade, see [`crate::SIDES`].
        last_side: u8 = "enum:side",
    }
    pad 7
}

record! {
    /// Market structure of one level of Williams pivots over one interval's bars.
    pub struct PivotLevel {
        /// +1 if the last two highs and the last two lows both rise, −1 if both fall, else 0.
        trend: i64 = "sign",
        /// Nearest confirmed low below the mid that no later closed bar traded through; NaN without one.
        support: f64 = "quote",
        /// Nearest confirmed high above the mid that no later closed bar traded through; NaN without one.
        resistance: f64 = "quote",
    }
}

record! {
    /// Extremes of the 1 s bars of the last 720 whole UTC hours. normalise(p) = (p − price_min) / (price_max −
    /// price_min), not clipped.
    pub struct PivotBounds {
        /// Start of the period; UNDEF where nothing is known.
        period_start: i64 = "ns",
        /// Its end, a whole UTC hour: that of its last closed bar, by the venue's clock.
        period_end: i64 = "ns",
        /// Bars that were seen in it.
        bar_count: u64 = "count",
        /// Lowest price.
        price_min: f64 = "quote",
        /// Highest price.
        price_max: f64 = "quote",
        /// Smallest volume of a bar.
        volume_min: f64 = "base",
        /// Largest volume of a bar.
        volume_max: f64 = "base",
        /// Support of each level of the 1 s structure at the period's end.
        support: [f64; 5] = "quote",
        /// Resistance of each level at the period's end.
        resistance: [f64; 5] = "quote",
    }
}

impl PivotLevel {
    /// No structure yet.
    pub const NONE: Self = Self { trend: 0, support: f64::NAN, resistance: f64::NAN };
}

impl PivotBounds {
    /// Nothing known.
    pub const NONE: Self = Self {
        period_start: UNDEF,
        period_end: UNDEF,
        bar_count: 0,
        price_min: f64::NAN,
        price_max: f64::NAN,
        volume_min: f64::NAN,
        volume_max: f64::NAN,
        support: [f64::NAN; 5],
        resistance: [f64::NAN; 5],
    };
}

impl Price {
    /// No price.
    pub const NONE: Self = Self { px: f64::NAN, age: UNDEF, source: 4, pad: [0; 7] };
}
