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

record! {
    /// Indicators of a closed bar, at the same index as its candle: TA-Lib's definitions and seeds. NaN until
    /// enough bars exist.
    pub struct IndicatorRow {
        /// Start of the bar.
        open_time: i64 = "ns",
        /// Wilder's relative strength over 14 bars, 0 … 100; 0 while no price changes.
        rsi_14: f64 = "percent",
        /// Average of 12 bars less that of 26, both exponential.
        macd: f64 = "quote",
        /// Its exponential average over 9 bars; the three begin together.
        macd_signal: f64 = "quote",
        /// MACD less its signal.
        macd_hist: f64 = "quote",
        /// `sma_20` plus 2 population deviations of the last 20 closes.
        bb_upper: f64 = "quote",
        /// `sma_20`.
        bb_middle: f64 = "quote",
        /// `sma_20` less 2 deviations.
        bb_lower: f64 = "quote",
        /// Wilder's average true range over 14 bars.
        atr_14: f64 = "quote",
        /// Mean close of 20 bars.
        sma_20: f64 = "quote",
        /// Exponential average of 9 bars.
        ema_9: f64 = "quote",
        /// Of 21 bars.
        ema_21: f64 = "quote",
        /// Of 50 bars.
        ema_50: f64 = "quote",
        /// Quote volume by volume of the bars of the bar's UTC day so far; NaN while that volume is 0.
        vwap_day: f64 = "quote",
        /// Root of the sum, oldest first, of the last 60 squares of close / previous close − 1; NaN before 60 exist.
        realised_vol_60: f64 = "ratio",
    }
}

impl IndicatorRow {
    /// The row of a bar of which nothing is known yet.
    #[must_use]
    pub const fn unknown(open_time: i64) -> Self {
        let unknown = f64::NAN;
        Self {
            open_time,
            rsi_14: unknown,
            macd: unknown,
            macd_signal: unknown,
            macd_hist: unknown,
            bb_upper: unknown,
            bb_middle: unknown,
            bb_lower: unknown,
            atr_14: unknown,
            sma_20: unknown,
            ema_9: unknown,
            ema_21: unknown,
            ema_50: unknown,
            vwap_day: unknown,
            realised_vol_60: unknown,
        }
    }
}

/// Buckets of a row of `cob_rows`: centre ± 64.
pub const COB_ROW_BUCKETS: usize = 129;

record! {
    /// A second of the price-bucket book, taken at its end. NaN where the book was not live then.
    pub struct CobRow {
        /// End of the second, our clock.
        ts_end: i64 = "ns",
        /// Its second by the venue's clock, in seconds since the epoch; UNDEF where that clock is unknown.
        venue_second: i64 = "s",
        /// Bucket of the mid; UNDEF where the book was not live.
        centre_bucket: i64 = "bucket",
        /// Mean of the second's samples of `imbalance`.
        imbalance: f64 = "ratio",
        /// Mean of the second's samples of `imbalance_px`.
        imbalance_px: f64 = "ratio",
        /// Bid quantity by bucket, lowest price first.
        bid_qty: [f32; COB_ROW_BUCKETS] = "base",
        /// Ask quantity by bucket.
        ask_qty: [f32; COB_ROW_BUCKETS] = "base",
        /// Quantity that takers bought in the second, by bucket.
        buy_volume: [f32; COB_ROW_BUCKETS] = "base",
        /// Quantity that takers sold in the second, by bucket.
        sell_volume: [f32; COB_ROW_BUCKETS] = "base",
        /// Quantity bought outside these buckets.
        overflow_buy: f32 = "base",
        /// Quantity sold outside these buckets.
        overflow_sell: f32 = "base",
        /// Buckets whose quantities are all known.
        valid: [u64; 3] = "bitset:129",
    }
}

impl CobRow {
    /// A second in which the book was not live.
    #[must_use]
    pub const fn not_live(ts_end: i64) -> Self {
        let unknown = [f32::NAN; COB_ROW_BUCKETS];
        Self {
            ts_end,
            venue_second: UNDEF,
            centre_bucket: UNDEF,
            imbalance: f64::NAN,
            imbalance_px: f64::NAN,
            bid_qty: unknown,
            ask_qty: unknown,
            buy_volume: unknown,
            sell_volume: unknown,
            overflow_buy: f32::NAN,
            overflow_sell: f32::NAN,
            valid: [0; 3],
        }
    }
}

record! {
    /// The book's best levels after a depth message.
    pub struct BookStateRow {
        /// The venue's clock.
        ts_event: i64 = "ns",
        /// Our clock at the socket.
        ts_recv: i64 = "ns",
        /// Update id of the book; 0 where there is none.
        update_id: u64 = "update_id",
        /// Each level, best first: ask_px, ask_qty, bid_px, bid_qty; NaN where there is none.
        levels: [[f64; 4]; 10] = "ask_px,ask_qty,bid_px,bid_qty",
        /// The book was live; a gap appends one row that is not.
        valid: u8 = "bool",
    }
    pad 7
}

record! {
    /// A confirmed Williams pivot.
    pub struct PivotRow {
        /// Start of its bar.
        open_time: i64 = "ns",
        /// When the bar that completed it became known as closed; no frame shows it earlier.
        ts_confirmed: i64 = "ns",
        /// Its high or low.
        price: f64 = "quote",
        /// Distance from the last confirmed opposite pivot of its level; NaN before one exists.
        strength: f64 = "quote",
        /// See [`PIVOT_KINDS`].
        kind: u8 = "enum:pivot_kind",
    }
    pad 7
}

/// Values of [`PivotRow::kind`].
pub const PIVOT_KINDS: [&str; 2] = ["high", "low"];

record! {
    /// The venue's 24 h ticker, as it came.
    pub struct TickerRow {
        /// The venue's clock.
        ts_event: i64 = "ns",
        /// Our clock at the socket.
        ts_recv: i64 = "ns",
        /// Last price less first price.
        price_change: f64 = "quote",
        /// The same in percent of the first price.
        price_change_percent: f64 = "percent",
        /// Quote volume over volume.
        weighted_avg_px: f64 = "quote",
        /// Last price before the 24 h.
        prev_close_px: f64 = "quote",
        /// Last price.
        last_px: f64 = "quote",
        /// Quantity of the last trade.
        last_qty: f64 = "base",
        /// Best bid.
        bid_px: f64 = "quote",
        /// Its quantity.
        bid_qty: f64 = "base",
        /// Best ask.
        ask_px: f64 = "quote",
        /// Its quantity.
        ask_qty: f64 = "base",
        /// First price of the 24 h.
        open_px: f64 = "quote",
        /// Highest price.
        high_px: f64 = "quote",
        /// Lowest price.
        low_px: f64 = "quote",
        /// Traded quantity.
        volume: f64 = "base",
        /// Traded quantity times price.
        quote_volume: f64 = "quote",
        /// Start of the 24 h, the venue's clock.
        open_time: i64 = "ns",
        /// Their end.
        close_time: i64 = "ns",
        /// Id of the first trade; UNDEF where there was none.
        first_trade_id: i64 = "id",
        /// Id of the last trade; UNDEF where there was none.
        last_trade_id: i64 = "id",
        /// Number of trades.
        trade_count: u64 = "count",
    }
}

pub use cobring_types::{MODEL_OUTPUTS_MAX, MODEL_STATE_MAX};

record! {
    /// An output of a model, as the engine took it. Unused cells are NaN.
    pub struct ModelRow {
        /// Our clock when the engine took it.
        ts_recv: i64 = "ns",
        /// The frame that it answers.
        seq: u64 = "id",
        /// That frame's last input.
        input_seq: u64 = "id",
        /// What the model does or says to do; its own numbering, UNDEF for none.
        action: i64 = "id",
        /// Its value of the state; NaN where it gives none.
        value: f64 = "ratio",
        /// Its confidence; NaN where it gives none.
        confidence: f64 = "ratio",
        /// How far ahead it looks; UNDEF where it says nothing.
        horizon: i64 = "ns",
        /// Outputs given.
        output_count: u32 = "count",
        /// State floats given.
        state_count: u32 = "count",
        /// Probabilities, forecasts, whatever it is trained to say.
        outputs: [f32; MODEL_OUTPUTS_MAX] = "ratio",
        /// Its state, for itself and for other models.
        state: [f32; MODEL_STATE_MAX] = "ratio",
    }
}
