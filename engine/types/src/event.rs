//! Events: what a venue's messages mean, with the venue's spelling gone.

use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};

use crate::{ModelIndex, ModelOutput, Nanos, Px, Qty};

/// A price level. In an update, quantity 0 deletes it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable, Serialize, Deserialize)]
pub struct Level {
    /// Price, in ticks.
    pub px: Px,
    /// The level's whole quantity now, not a difference.
    pub qty: Qty,
}

/// The side that took liquidity, or a side of the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// Bids; a taker who bought.
    Buy,
    /// Asks; a taker who sold.
    Sell,
}

/// A change of the order book: absolute quantities of the touched levels.
#[derive(Debug, Clone, Copy)]
pub struct DepthUpdate<'a> {
    /// The venue's send time.
    pub ts_event: Nanos,
    /// First update id that it covers (Binance: `U`).
    pub first_update_id: u64,
    /// Last update id that it covers (Binance: `u`).
    pub last_update_id: u64,
    /// Touched bid levels, in the message's order.
    pub bids: &'a [Level],
    /// Touched ask levels, in the message's order.
    pub asks: &'a [Level],
}

/// A REST snapshot of the order book.
#[derive(Debug, Clone, Copy)]
pub struct DepthSnapshot<'a> {
    /// The update id that it is the state after.
    pub last_update_id: u64,
    /// Levels a side that were asked for.
    pub limit: u32,
    /// Bids, best first.
    pub bids: &'a [Level],
    /// Asks, best first.
    pub asks: &'a [Level],
}

/// The best bid and ask as the venue reports them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// Update id of the book that it is the top of.
    pub update_id: u64,
    /// Best bid.
    pub bid_px: Px,
    /// Its quantity.
    pub bid_qty: Qty,
    /// Best ask.
    pub ask_px: Px,
    /// Its quantity.
    pub ask_qty: Qty,
}

/// Which of a venue's two trade streams a trade came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TradeStream {
    /// One message a fill.
    Trade,
    /// Fills of one taker order at one price joined.
    AggTrade,
}

/// A trade, or several fills of one taker order at one price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trade {
    /// The stream that it came by.
    pub stream: TradeStream,
    /// The venue's send time; [`Nanos::UNDEF`] of one that was asked for.
    pub ts_event: Nanos,
    /// The venue's match time: decides the candle.
    pub ts_trade: Nanos,
    /// Its id in its stream, by which the venue is asked for it: the fill's, or the aggregate's own.
    pub id: u64,
    /// Id of the first fill.
    pub first_id: u64,
    /// Id of the last fill; the count is `last_id - first_id + 1`.
    pub last_id: u64,
    /// Price.
    pub px: Px,
    /// Quantity.
    pub qty: Qty,
    /// The taker's side.
    pub side: Side,
}

impl Trade {
    /// Number of fills.
    #[must_use]
    pub const fn count(&self) -> u64 {
        (self.last_id - self.first_id).saturating_add(1)
    }
}

/// A trade in an answer of the venue.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct PastTrade {
    /// The venue's match time.
    pub ts_trade: Nanos,
    /// Its id in its stream.
    pub id: u64,
    /// Id of the first fill.
    pub first_id: u64,
    /// Id of the last fill.
    pub last_id: u64,
    /// Price.
    pub px: Px,
    /// Quantity.
    pub qty: Qty,
    /// 1 where the taker sold, 0 where it bought.
    pub taker_sold: u64,
}

impl PastTrade {
    /// As the stream would have told it.
    #[must_use]
    pub const fn of_stream(&self, stream: TradeStream) -> Trade {
        Trade {
            stream,
            ts_event: Nanos::UNDEF,
            ts_trade: self.ts_trade,
            id: self.id,
            first_id: self.first_id,
            last_id: self.last_id,
            px: self.px,
            qty: self.qty,
            side: if self.taker_sold == 0 { Side::Buy } else { Side::Sell },
        }
    }
}

/// Decimals that a ticker's changes, averages and quote volume are counted in.
pub const TICKER_DECIMALS: u8 = 8;

/// The venue's rolling 24 h ticker. Prices are 0 where there is none.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Ticker {
    /// The venue's send time; of an answer the end of the 24 h.
    pub ts_event: Nanos,
    /// Last price less first price, in 10^-[`TICKER_DECIMALS`] of the quote asset.
    pub price_change: i64,
    /// The same in percent of the first price, in 10^-[`TICKER_DECIMALS`].
    pub price_change_percent: i64,
    /// Quote volume over volume, in 10^-[`TICKER_DECIMALS`] of the quote asset.
    pub weighted_avg_px: i64,
    /// Last price before the 24 h.
    pub prev_close_px: Px,
    /// Last price.
    pub last_px: Px,
    /// Quantity of the last trade.
    pub last_qty: Qty,
    /// Best bid.
    pub bid_px: Px,
    /// Its quantity.
    pub bid_qty: Qty,
    /// Best ask.
    pub ask_px: Px,
    /// Its quantity.
    pub ask_qty: Qty,
    /// First price of the 24 h.
    pub open_px: Px,
    /// Highest price.
    pub high_px: Px,
    /// Lowest price.
    pub low_px: Px,
    /// Base volume.
    pub volume: Qty,
    /// Quote volume, in 10^-[`TICKER_DECIMALS`] of the quote asset.
    pub quote_volume: i64,
    /// Start of the 24 h.
    pub open_time: Nanos,
    /// Their end.
    pub close_time: Nanos,
    /// Id of the first trade, or [`Ticker::NO_TRADE`].
    pub first_trade_id: i64,
    /// Id of the last trade, or [`Ticker::NO_TRADE`].
    pub last_trade_id: i64,
    /// Number of trades.
    pub trade_count: u64,
}

impl Ticker {
    /// In place of a trade's id where there was no trade in 24 h.
    pub const NO_TRADE: i64 = i64::MIN;
}

/// The intervals of bars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum BarInterval {
    /// One second.
    Second,
    /// One minute.
    Minute,
    /// One hour.
    Hour,
    /// One day, UTC.
    Day,
}

impl BarInterval {
    /// All of them, shortest first.
    pub const ALL: [Self; 4] = [Self::Second, Self::Minute, Self::Hour, Self::Day];

    /// Its place among all.
    #[must_use]
    pub const fn at(self) -> usize {
        self as usize
    }

    /// The interval at that place.
    #[must_use]
    pub fn from_place(at: usize) -> Option<Self> {
        Self::ALL.get(at).copied()
    }

    /// `1s`, `1m`, `1h`, `1d`: as venues and windows name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Second => "1s",
            Self::Minute => "1m",
            Self::Hour => "1h",
            Self::Day => "1d",
        }
    }

    /// Its length.
    #[must_use]
    pub const fn length(self) -> Nanos {
        let seconds = match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        };
        Nanos(seconds * Nanos::SECOND.0)
    }
}

/// Decimals that quote volumes of klines are counted in.
pub const KLINE_QUOTE_DECIMALS: u8 = 8;

/// A closed bar as the venue has it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Kline {
    /// Start of the interval.
    pub open_time: Nanos,
    /// First price.
    pub open: Px,
    /// Highest price.
    pub high: Px,
    /// Lowest price.
    pub low: Px,
    /// Last price.
    pub close: Px,
    /// Traded quantity.
    pub volume: Qty,
    /// Traded quantity times price, in 10^-[`KLINE_QUOTE_DECIMALS`] of the quote asset.
    pub quote_volume: i64,
    /// Quantity that takers bought.
    pub taker_buy_volume: Qty,
    /// The same times price.
    pub taker_buy_quote_volume: i64,
    /// Number of fills.
    pub trade_count: u64,
}

/// How klines came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KlineSource {
    /// The answer to a request.
    Rest,
    /// The venue's stream, one as it closes.
    Stream,
}

/// Whether the venue trades an instrument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstrumentStatus {
    /// Continuous trading.
    Trading,
    /// Anything else the venue says.
    Halted,
}

/// Which of a symbol's streams a connection carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkScope(pub u32);

impl LinkScope {
    /// Depth updates.
    pub const DEPTH: Self = Self(1);
    /// Best bid and ask.
    pub const QUOTE: Self = Self(2);
    /// Trades of either stream.
    pub const TRADE: Self = Self(4);
    /// 24 h ticker.
    pub const TICKER: Self = Self(8);
    /// Closed bars.
    pub const KLINE: Self = Self(16);
    /// Everything.
    pub const ALL: Self = Self(31);

    /// Whether any stream of `other` is among these.
    #[must_use]
    pub const fn carries(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The streams of either.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What the engine itself decided that a frame can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// A connection is subscribed and delivers.
    LinkUp {
        /// Number of the connection in this epoch.
        connection: u16,
        /// What it carries.
        scope: LinkScope,
    },
    /// A connection is lost.
    LinkDown {
        /// Number of the connection in this epoch.
        connection: u16,
        /// What it carried.
        scope: LinkScope,
    },
    /// A depth snapshot was asked for.
    SnapshotRequested {
        /// Levels a side.
        limit: u32,
        /// For a background re-sync of a live book.
        background: bool,
    },
    /// Klines were asked for.
    KlinesRequested {
        /// Of this interval.
        interval: BarInterval,
        /// From this open time on.
        start: Nanos,
        /// So many.
        limit: u32,
    },
    /// The 24 h ticker was asked for.
    TickerRequested,
    /// Past trades were asked for.
    TradesRequested {
        /// Of this stream.
        stream: TradeStream,
        /// From this id of the stream on.
        first_id: u64,
        /// So many.
        limit: u32,
    },
    /// The watchdog calls streams stalled.
    Stalled {
        /// Which.
        scope: LinkScope,
    },
    /// Trading halted or resumed.
    Halted {
        /// Halted now.
        halted: bool,
    },
    /// The host's wall clock stepped.
    ClockStep {
        /// Wall clock minus our clock.
        wall_offset: Nanos,
    },
    /// More than 600 timers were missed: everything in between is unobserved.
    Break {
        /// The last timer before it, which an idle engine has folded; UNDEF in a log of before it was told.
        last_timer: Nanos,
    },
    /// The log does not hold some inputs before this one.
    LogLost {
        /// How many.
        inputs: u64,
    },
    /// A checkpoint is taken here.
    Checkpoint,
    /// The run ends here.
    Stop,
}

/// What one input means for one symbol.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A change of the order book.
    Depth(DepthUpdate<'a>),
    /// A REST snapshot of the order book.
    Snapshot(DepthSnapshot<'a>),
    /// The best bid and ask.
    Quote(Quote),
    /// A trade.
    Trade(Trade),
    /// The 24 h ticker, by stream or in answer.
    Ticker(&'a Ticker),
    /// Trades that were asked for, by ascending ids.
    Trades {
        /// Of this stream.
        stream: TradeStream,
        /// As many as there are.
        rows: &'a [PastTrade],
    },
    /// Closed bars, oldest first.
    Klines {
        /// Of this interval.
        interval: BarInterval,
        /// How they came.
        source: KlineSource,
        /// The bars; of an answer also the one that is still open.
        rows: &'a [Kline],
    },
    /// The venue's clock: `server` when asked at `sent` (our clock).
    ServerTime {
        /// The venue's clock.
        server: Nanos,
        /// Our clock when the request left.
        sent: Nanos,
    },
    /// The venue's word on an instrument.
    Instrument {
        /// Whether it trades.
        status: InstrumentStatus,
        /// Whether the venue's tick size is the configured one.
        tick_matches: bool,
    },
    /// What a model said, already checked.
    Model {
        /// Which model.
        model: ModelIndex,
        /// Its statement.
        output: &'a ModelOutput,
    },
    /// Bounds and pivots from the venue's archives, as their file holds them.
    Bounds {
        /// The file.
        bytes: &'a [u8],
    },
    /// The engine's own decision.
    Control(Control),
}
