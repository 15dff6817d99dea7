//! Where a market comes from: events in the order of one play position, and nothing about clients.
//!
//! Guarantees: positions never decrease; a source never reads a clock, so the same source gives the same events.

mod reader;
mod recording;
mod symbols;
mod synthetic;
mod walk;

pub use recording::Recording;
pub use symbols::SymbolSpec;
pub use synthetic::{Burst, Pace, SyntheticConfig, SyntheticMarket, SyntheticSymbol};

use crate::book::{Book, Level};
use crate::decimal::Fixed;
use crate::error::SimError;

/// A market that can be played. One symbol is an index into [`MarketSource::symbols`].
pub trait MarketSource: Send {
    /// All symbols, known before the first event.
    fn symbols(&self) -> &[SymbolSpec];

    /// The venue's time at position 0, in ms.
    fn start_ms(&self) -> i64;

    /// Where a symbol's market takes over from its past; `None` leaves it without one.
    fn opening(&self, _symbol: usize) -> Option<Opening> {
        None
    }

    /// The next event; `None` at the end of the market, for ever.
    ///
    /// # Errors
    /// The file underneath fails or holds a line that is no message.
    fn next_event(&mut self) -> Result<Option<MarketEvent>, SimError>;

    /// Whether this stream comes as recorded messages, so that none are computed for it.
    fn relays(&self, _stream: &str) -> bool {
        false
    }

    /// The book of this instant where the source keeps one that is fresher than its depth events.
    fn live_book(&self, _symbol: usize) -> Option<&Book> {
        None
    }
}

/// The end of a symbol's past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// What the past follows from, beside the symbol.
    pub seed: u64,
    /// Its last price.
    pub px: Fixed,
    /// Not after the first trade played, ms.
    pub at_ms: i64,
    /// Id of the first trade played.
    pub trade_id: u64,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct MarketEvent {
    /// Position from the start of play, ns of simulated time.
    pub at_ns: i64,
    /// Index of the symbol.
    pub symbol: usize,
    /// The venue's event time, ms; `None` for messages that carry none.
    pub venue_ms: Option<i64>,
    /// What happened.
    pub body: Body,
    /// The message as it was recorded, relayed verbatim.
    pub recorded: Option<Recorded>,
}

/// A recorded stream message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// As in `ethusdt@depth@100ms`.
    pub stream: String,
    /// The raw payload, byte for byte.
    pub data: String,
}

/// What a [`MarketEvent`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Changes of the book.
    Depth(DepthUpdate),
    /// One fill.
    Trade(Trade),
    /// A change of the best bid or ask.
    BookTicker(BookTicker),
    /// A whole book, from a recording's REST answer.
    Snapshot(Book),
    /// Any other recorded stream; only relayed.
    Other,
}

/// Absolute quantities for the update ids `first_id..=last_id`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DepthUpdate {
    /// `U`.
    pub first_id: u64,
    /// `u`.
    pub last_id: u64,
    /// Bid levels, best first.
    pub bids: Vec<Level>,
    /// Ask levels, best first.
    pub asks: Vec<Level>,
}

/// One fill of one maker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trade {
    /// Contiguous for each symbol.
    pub id: u64,
    /// Price.
    pub px: Fixed,
    /// Quantity.
    pub qty: Fixed,
    /// Match time, ms.
    pub trade_ms: i64,
    /// The taker sold.
    pub is_buyer_maker: bool,
    /// The taker's order where the source knows it; 0 otherwise.
    pub taker_order: u64,
}

/// The best levels after update `update_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookTicker {
    /// `u`.
    pub update_id: u64,
    /// Best bid.
    pub bid: Level,
    /// Best ask.
    pub ask: Level,
}
