//! Rows of the windows and the names of their values. FRAME.md defines what they mean.

use crate::record;

/// "Unknown" for times and differences: numpy's NaT, JSON's null.
pub const UNDEF: i64 = i64::MIN;

record! {
    /// A candle: a closed row of `candles.*`, or the open bar in a frame.
    pub struct CandleRow {
        /// Start of the interval, the venue's clock; UNDEF where there is no bar yet.
        open_time: i64 = "ns",
        /// Our clock when the row became known as closed; UNDEF while open.
        ts_closed: i64 = "ns",
        /// First price; in a flat bar the previous close.
        open: f64 = "quote",
        /// Highest price.
        high: f64 = "quote",
        /// Lowest price.
        low: f64 = "quote",
        /// Last price.
        close: f64 = "quote",
        /// Traded quantity.
        volume: f64 = "base",
        /// Traded quantity times price.
        quote_volume: f64 = "quote",
        /// Quantity that takers bought.
        taker_buy_volume: f64 = "base",
        /// The same times price.
        taker_buy_quote_volume: f64 = "quote",
        /// Number of fills.
        trade_count: u64 = "count",
        /// See [`CANDLE_FLAGS`].
        flags: u64 = "bits:candle_flags",
    }
}

/// Bits of [`CandleRow::flags`].
pub const CANDLE_FLAGS: [&str; 6] = ["flat", "partial", "incomplete", "rest", "repaired", "hole"];
/// A bar without a trade.
pub const CANDLE_FLAT: u64 = 1;
/// The bar in which watching began.
pub const CANDLE_PARTIAL: u64 = 2;
/// Trades may be missing.
pub const CANDLE_INCOMPLETE: u64 = 4;
/// Filled from REST klines.
pub const CANDLE_REST: u64 = 8;
/// Rewritten after it was closed.
pub const CANDLE_REPAIRED: u64 = 16;
/// Not observed: no value is known.
pub const CANDLE_HOLE: u64 = 32;

impl CandleRow {
    /// No bar.
    pub const NONE: Self = Self::hole(UNDEF, UNDEF, 0);

    /// A row without values.
    #[must_use]
    pub const fn hole(open_time: i64, ts_closed: i64, flags: u64) -> Self {
        let unknown = f64::NAN;
        Self {
            open_time,
            ts_closed,
            open: unknown,
            high: unknown,
            low: unknown,
            close: unknown,
            volume: unknown,
            quote_volume: unknown,
            taker_buy_volume: unknown,
            taker_buy_quote_volume: unknown,
            trade_count: 0,
            flags,
        }
    }
}

record! {
    /// A row of `ticks`: a trade, or a change of price or quantity at the best bid or ask of `top`.
    pub struct TickRow {
        /// The venue's clock; UNDEF for a stream without venue time.
        ts_event: i64 = "ns",
        /// Our clock at the socket.
        ts_recv: i64 = "ns",
        /// Price of the trade; NaN for a quote.
        px: f64 = "quote",
        /// Quantity of the trade; NaN for a quote.
        qty: f64 = "base",
        /// Best bid then.
        bid_px: f64 = "quote",
        /// Its quantity.
        bid_qty: f64 = "base",
        /// Best ask then.
        ask_px: f64 = "quote",
        /// Its quantity.
        ask_qty: f64 = "base",
        /// Last trade id of a trade, update id of a quote.
        id: u64 = "id",
        /// See [`TICK_KINDS`].
        kind: u8 = "enum:tick_kind",
        /// The taker's side, see [`SIDES`].
        side: u8 = "enum:side",
    }
    pad 6
}

impl TickRow {
    /// Nothing known.
    pub const NONE: Self = Self {
        ts_event: UNDEF,
        ts_recv: UNDEF,
        px: f64::NAN,
        qty: f64::NAN,
        bid_px: f64::NAN,
        bid_qty: f64::NAN,
        ask_px: f64::NAN,
        ask_qty: f64::NAN,
        id: 0,
        kind: TICK_QUOTE,
        side: SIDE_NONE,
        pad: [0; 6],
    };
}

/// Values of [`TickRow::kind`].
pub const TICK_KINDS: [&str; 2] = ["trade", "quote"];
/// A trade.
pub const TICK_TRADE: u8 = 0;
/// A change of the best prices.
pub const TICK_QUOTE: u8 = 1;
/// Values of the taker's side.
pub const SIDES: [&str; 3] = ["buy", "sell", "none"];
/// "No side".
pub const SIDE_NONE: u8 = 2;
