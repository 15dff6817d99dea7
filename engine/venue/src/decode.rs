//! What every venue's decoder gives: events to a sink, an outcome for ingest, errors and counts.

use cobring_json::JsonError;
use cobring_types::{DecimalError, Event, Nanos, Stamp, SymbolIndex, TradeStream};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Takes the events of one input, in order.
pub trait EventSink {
    /// One event for one symbol, or for all of them where `symbol` is [`SymbolIndex::NONE`].
    fn on_event(&mut self, stamp: &Stamp, symbol: SymbolIndex, event: &Event<'_>);
}

impl<F: FnMut(&Stamp, SymbolIndex, &Event<'_>)> EventSink for F {
    fn on_event(&mut self, stamp: &Stamp, symbol: SymbolIndex, event: &Event<'_>) {
        self(stamp, symbol, event);
    }
}

/// What an input was, for those who talk to the venue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded {
    /// So many events went to the sink; 0 for an `exchangeInfo` without any configured symbol.
    Events(u32),
    /// A request on the connection was carried out.
    Ack {
        /// The request's id, where it is a number.
        id: Option<u64>,
    },
    /// A request, on the connection or by REST, was answered with an error.
    Refused {
        /// The request's id, where it is a number.
        id: Option<u64>,
        /// The venue's error code.
        code: i64,
    },
    /// The venue closes this connection soon: reconnect now.
    ServerShutdown {
        /// The venue's send time.
        ts_event: Nanos,
    },
    /// JSON, but none of the messages that we ask for.
    UnknownEvent,
    /// An event of a symbol that is not configured.
    UnknownSymbol,
}

/// Why an input was refused. Offsets count bytes from the start of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Not JSON, too deep or too large.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A field is not there.
    #[error("no {field:?} in the object at byte {offset}")]
    Missing {
        /// Its name.
        field: &'static str,
        /// Where the object begins.
        offset: usize,
    },
    /// A field is there twice, so which one counts is anyone's guess.
    #[error("a second {field:?} at byte {offset}")]
    Duplicate {
        /// Its name.
        field: &'static str,
        /// Where the second value begins.
        offset: usize,
    },
    /// A value is of another type.
    #[error("{field:?} at byte {offset} is no {expected}")]
    Type {
        /// The field's name.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
        /// Where the value begins.
        offset: usize,
    },
    /// A decimal text is no number that fits exactly.
    #[error("{field:?} at byte {offset}: {error}")]
    Number {
        /// The field's name.
        field: &'static str,
        /// What is wrong with it.
        error: DecimalError,
        /// Where the value begins.
        offset: usize,
    },
    /// What cannot be: a price of 0, a negative quantity, a time after the year 2262, a symbol that is not the stream's.
    #[error("{field:?} at byte {offset} is out of range")]
    OutOfRange {
        /// The field's name.
        field: &'static str,
        /// Where the value begins.
        offset: usize,
    },
    /// Values in the wrong order: ids that run backwards, levels of a snapshot not best first.
    #[error("{field:?} at byte {offset} is out of order")]
    Order {
        /// The field's name.
        field: &'static str,
        /// Where the value begins.
        offset: usize,
    },
    /// The input's fixed fields name no configured symbol, or hold a number that its kind excludes.
    #[error("the input's {field} is {found}")]
    Input {
        /// Which fixed field.
        field: &'static str,
        /// What it holds.
        found: i64,
    },
}

/// The kinds of [`DecodeError`], for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeErrorKind {
    /// [`DecodeError::Json`]
    Json,
    /// [`DecodeError::Missing`]
    Missing,
    /// [`DecodeError::Duplicate`]
    Duplicate,
    /// [`DecodeError::Type`]
    Type,
    /// [`DecodeError::Number`]
    Number,
    /// [`DecodeError::OutOfRange`]
    OutOfRange,
    /// [`DecodeError::Order`]
    Order,
    /// [`DecodeError::Input`]
    Input,
}

impl DecodeErrorKind {
    /// Number of kinds.
    pub const COUNT: usize = 8;
    /// All of them, in the order of [`DecodeCounters::malformed`].
    pub const ALL: [Self; Self::COUNT] = [
        Self::Json,
        Self::Missing,
        Self::Duplicate,
        Self::Type,
        Self::Number,
        Self::OutOfRange,
        Self::Order,
        Self::Input,
    ];

    /// Its name in counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Missing => "missing",
            Self::Duplicate => "duplicate",
            Self::Type => "type",
            Self::Number => "number",
            Self::OutOfRange => "out_of_range",
            Self::Order => "order",
            Self::Input => "input",
        }
    }
}

impl DecodeError {
    /// Its kind.
    #[must_use]
    pub const fn kind(self) -> DecodeErrorKind {
        match self {
            Self::Json(_) => DecodeErrorKind::Json,
            Self::Missing { .. } => DecodeErrorKind::Missing,
            Self::Duplicate { .. } => DecodeErrorKind::Duplicate,
            Self::Type { .. } => DecodeErrorKind::Type,
            Self::Number { .. } => DecodeErrorKind::Number,
            Self::OutOfRange { .. } => DecodeErrorKind::OutOfRange,
            Self::Order { .. } => DecodeErrorKind::Order,
            Self::Input { .. } => DecodeErrorKind::Input,
        }
    }

    /// The byte of the message where it shows; `None` where the message is not to blame.
    #[must_use]
    pub const fn offset(self) -> Option<usize> {
        match self {
            Self::Json(error) => Some(error.offset()),
            Self::Missing { offset, .. }
            | Self::Duplicate { offset, .. }
            | Self::Type { offset, .. }
            | Self::Number { offset, .. }
            | Self::OutOfRange { offset, .. }
            | Self::Order { offset, .. } => Some(offset),
            Self::Input { .. } => None,
        }
    }
}

/// How many inputs of each sort a decoder saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DecodeCounters {
    /// Depth updates handed on.
    pub depth_updates: u64,
    /// Depth snapshots handed on.
    pub snapshots: u64,
    /// Best bids and asks handed on.
    pub quotes: u64,
    /// Trades of the single-fill stream handed on.
    pub trades: u64,
    /// Aggregated trades handed on.
    pub agg_trades: u64,
    /// Trades of answers handed on.
    pub past_trades: u64,
    /// 24 h tickers handed on.
    pub tickers: u64,
    /// Closed bars handed on.
    pub klines: u64,
    /// Bars that went on, passed over.
    pub open_klines: u64,
    /// Server times handed on.
    pub server_times: u64,
    /// Instrument descriptions handed on.
    pub instruments: u64,
    /// Models' outputs handed on.
    pub model_outputs: u64,
    /// The engine's own inputs handed on.
    pub controls: u64,
    /// Requests acknowledged.
    pub acks: u64,
    /// Requests answered with an error.
    pub refusals: u64,
    /// Text messages and answers with a snapshot that the scanner of hot shapes left to the general parser.
    pub general: u64,
    /// Announcements that the venue closes the connection.
    pub shutdowns: u64,
    /// Messages of no kind that we ask for, binary ones among them.
    pub unknown_events: u64,
    /// Events of symbols that are not configured.
    pub unknown_symbols: u64,
    /// Fields passed over in messages of known kinds.
    pub unknown_fields: u64,
    /// Refused inputs, by [`DecodeErrorKind::ALL`].
    pub malformed: [u64; DecodeErrorKind::COUNT],
}

impl DecodeCounters {
    /// Refused inputs of all kinds.
    #[must_use]
    pub fn malformed_total(&self) -> u64 {
        self.malformed.iter().sum()
    }

    /// Refused inputs with the kinds' names.
    pub fn malformed_by_kind(&self) -> impl Iterator<Item = (&'static str, u64)> {
        DecodeErrorKind::ALL.into_iter().map(DecodeErrorKind::name).zip(self.malformed)
    }

    /// Every counter with its name, as metrics and summaries spell it.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let malformed_total = self.malformed_total();
        // By names: one that is new is missed here by the compiler.
        let Self {
            depth_updates,
            snapshots,
            quotes,
            trades,
            agg_trades,
            past_trades,
            tickers,
            klines,
            open_klines,
            server_times,
            instruments,
            model_outputs,
            controls,
            acks,
            refusals,
            general,
            shutdowns,
            unknown_events,
            unknown_symbols,
            unknown_fields,
            malformed: _,
        } = *self;
        [
            ("depth_updates_total", depth_updates),
            ("snapshots_total", snapshots),
            ("quotes_total", quotes),
            ("trades_total", trades),
            ("agg_trades_total", agg_trades),
            ("past_trades_total", past_trades),
            ("tickers_total", tickers),
            ("klines_total", klines),
            ("open_klines_total", open_klines),
            ("server_times_total", server_times),
            ("instruments_total", instruments),
            ("model_outputs_total", model_outputs),
            ("controls_total", controls),
            ("acks_total", acks),
            ("refusals_total", refusals),
            ("general_parser_total", general),
            ("shutdowns_total", shutdowns),
            ("unknown_events_total", unknown_events),
            ("unknown_symbols_total", unknown_symbols),
            ("unknown_fields_total", unknown_fields),
            ("malformed_total", malformed_total),
        ]
        .into_iter()
    }

    /// An event of a stream that is handed on.
    #[inline]
    pub(crate) fn count_event(&mut self, event: &Event<'_>) {
        match event {
            Event::Depth(_) => self.depth_updates += 1,
            Event::Quote(_) => self.quotes += 1,
            Event::Trade(trade) => match trade.stream {
                TradeStream::Trade => self.trades += 1,
                TradeStream::AggTrade => self.agg_trades += 1,
            },
            Event::Ticker(_) => self.tickers += 1,
            _ => {}
        }
    }

    pub(crate) fn count_error(&mut self, error: DecodeError) {
        let kind = error.kind();
        for (count, counted) in self.malformed.iter_mut().zip(DecodeErrorKind::ALL) {
            *count += u64::from(counted == kind);
        }
    }
}

impl std::ops::AddAssign for DecodeCounters {
    /// What two decoders saw, of which each saw what the other did not.
    fn add_assign(&mut self, other: Self) {
        // By names: one that is new is missed here by the compiler.
        let Self {
            depth_updates,
            snapshots,
            quotes,
            trades,
            agg_trades,
            past_trades,
            tickers,
            klines,
            open_klines,
            server_times,
            instruments,
            model_outputs,
            controls,
            acks,
            refusals,
            general,
            shutdowns,
            unknown_events,
            unknown_symbols,
            unknown_fields,
            malformed,
        } = other;
        self.depth_updates += depth_updates;
        self.snapshots += snapshots;
        self.quotes += quotes;
        self.trades += trades;
        self.agg_trades += agg_trades;
        self.past_trades += past_trades;
        self.tickers += tickers;
        self.klines += klines;
        self.open_klines += open_klines;
        self.server_times += server_times;
        self.instruments += instruments;
        self.model_outputs += model_outputs;
        self.controls += controls;
        self.acks += acks;
        self.refusals += refusals;
        self.general += general;
        self.shutdowns += shutdowns;
        self.unknown_events += unknown_events;
        self.unknown_symbols += unknown_symbols;
        self.unknown_fields += unknown_fields;
        for (count, more) in self.malformed.iter_mut().zip(malformed) {
            *count += more;
        }
    }
}

/// The limit that a recorded snapshot was probably asked for with: the smallest usual one that is
/// not below its longer side. FRAME.md defines the known range of a line recording by it.
#[must_use]
pub fn limit_of_recorded_snapshot(longer_side: usize) -> u32 {
    const USUAL: [u32; 8] = [5, 10, 20, 50, 100, 500, 1000, 5000];
    let longer_side = u32::try_from(longer_side).unwrap_or(u32::MAX);
    USUAL.into_iter().find(|&limit| limit >= longer_side).unwrap_or(longer_side)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_snapshot_has_the_next_usual_limit() {
        for (longer_side, limit) in [
            (0, 5),
            (5, 5),
            (6, 10),
            (100, 100),
            (101, 500),
            (1000, 1000),
            (4999, 5000),
            (6000, 6000),
        ] {
            assert_eq!(limit_of_recorded_snapshot(longer_side), limit, "{longer_side} levels");
        }
    }

    #[test]
    fn errors_are_counted_by_kind_and_say_where() {
        let mut counters = DecodeCounters::default();
        let error = DecodeError::Missing { field: "u", offset: 32 };
        counters.count_error(error);
        counters.count_error(error);
        assert_eq!(counters.malformed_total(), 2);
        assert_eq!(counters.malformed_by_kind().find(|&(_, n)| n > 0), Some(("missing", 2)));
        assert_eq!(error.to_string(), "no \"u\" in the object at byte 32");
        for (at, kind) in DecodeErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
        }
    }
}
