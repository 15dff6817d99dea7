//! Inputs to events.

use cobring_json::scan::{Kernel, Sides};
use cobring_json::{Document, MAX_MESSAGE_SIZE_BYTES, Parser};
use cobring_types::{
    BarInterval, Control, DepthSnapshot, DepthUpdate, Event, Input, InputKind, Instrument, Kline,
    KlineSource, Level, LinkScope, ModelIndex, ModelOutput, PastTrade, SymbolIndex, TradeStream,
};

use super::hot::Hot;
use super::message::{Instruments, Message, Reader};
use super::{MAX_DEPTH_LIMIT, rest};
use crate::decode::{DecodeCounters, DecodeError, Decoded, EventSink, limit_of_recorded_snapshot};

/// Bit 31 of the limit of [`InputKind::SnapshotRequested`].
const BACKGROUND_BIT: u32 = 1 << 31;
/// A level of a full snapshot, `["61837.63000000","1.54698000"],`, with room to spare.
const LEVEL_SIZE_BYTES: usize = 36;

/// Bars of a full answer.
const KLINES_RESERVED: usize = rest::KLINES_LIMIT_MAX as usize;
/// Trades of a full answer.
const TRADES_RESERVED: usize = rest::TRADES_LIMIT_MAX as usize;
/// Bit 31 of the limit of [`InputKind::TradesRequested`].
const AGG_BIT: u32 = 1 << 31;

/// Turns inputs into events. Owns all scratch; nothing is kept from one input to the next but counts.
#[derive(Debug)]
pub struct Decoder {
    instruments: Instruments,
    /// Reads what comes by the thousand.
    hot: Option<Hot>,
    parser: Parser,
    levels: Vec<Level>,
    klines: Vec<Kline>,
    trades: Vec<PastTrade>,
    counters: DecodeCounters,
}

impl Decoder {
    /// A decoder for these instruments, in the order of their [`SymbolIndex`], with its own buffers grown
    /// for a snapshot of [`MAX_DEPTH_LIMIT`] levels a side; those of the general parser grow with what it reads.
    ///
    /// # Panics
    /// With 65,535 instruments or more.
    #[must_use]
    pub fn new(instruments: Vec<Instrument>) -> Self {
        Self::with_kernel(instruments, Some(Kernel::best()))
    }

    /// The same, reading hot messages by that kernel, or like all others by the general parser.
    ///
    /// # Panics
    /// Likewise, and where the processor does not have the kernel.
    #[must_use]
    pub fn with_kernel(instruments: Vec<Instrument>, kernel: Option<Kernel>) -> Self {
        let size_bytes = Self::snapshot_size_bytes();
        Self {
            hot: kernel.map(|kernel| Hot::new(&instruments, kernel, size_bytes)),
            instruments: Instruments::new(instruments),
            parser: Parser::with_capacity(0),
            levels: Vec::with_capacity(Sides::room(size_bytes)),
            klines: Vec::with_capacity(KLINES_RESERVED),
            trades: Vec::with_capacity(TRADES_RESERVED),
            counters: DecodeCounters::default(),
        }
    }

    /// The same with the general parser's buffers grown ahead, so that no message of a run waits for them: it reads hundreds
    /// of kilobytes for that, as long as a replay takes for hundreds of messages.
    #[must_use]
    pub fn warmed(mut self) -> Self {
        self.parser = Parser::with_capacity(Self::snapshot_size_bytes());
        self
    }

    /// Of the largest snapshot that can be asked for.
    fn snapshot_size_bytes() -> usize {
        2 * usize::try_from(MAX_DEPTH_LIMIT).unwrap_or(0) * LEVEL_SIZE_BYTES
    }

    /// What this decoder saw so far.
    #[must_use]
    pub fn counters(&self) -> &DecodeCounters {
        &self.counters
    }

    /// Goes on counting from there: for one that read what another counts.
    pub fn set_counters(&mut self, counters: DecodeCounters) {
        self.counters = counters;
    }

    /// Decodes any input and hands its events to `out`: none, or all that it means.
    ///
    /// # Errors
    /// [`DecodeError`], counted by kind, where any part of the input is malformed; `out` saw nothing.
    pub fn decode(
        &mut self,
        input: &Input<'_>,
        out: &mut impl EventSink,
    ) -> Result<Decoded, DecodeError> {
        let decoded = self.decode_any(input, out);
        let counters = &mut self.counters;
        match decoded {
            Ok(Decoded::Events(_)) => {}
            Ok(Decoded::Ack { .. }) => counters.acks += 1,
            Ok(Decoded::Refused { .. }) => counters.refusals += 1,
            Ok(Decoded::ServerShutdown { .. }) => counters.shutdowns += 1,
            Ok(Decoded::UnknownEvent) => counters.unknown_events += 1,
            Ok(Decoded::UnknownSymbol) => counters.unknown_symbols += 1,
            Err(error) => counters.count_error(error),
        }
        decoded
    }

    fn decode_any(
        &mut self,
        input: &Input<'_>,
        out: &mut impl EventSink,
    ) -> Result<Decoded, DecodeError> {
        match input.kind {
            InputKind::Text => self.text(input, out),
            InputKind::Binary => Ok(Decoded::UnknownEvent),
            InputKind::RestDepth => self.rest_depth(input, out),
            InputKind::RestTime => self.rest_time(input, out),
            InputKind::RestExchangeInfo => self.rest_exchange_info(input, out),
            InputKind::RestKlines => self.rest_klines(input, out),
            InputKind::RestTicker => self.rest_ticker(input, out),
            InputKind::RestTrades => self.rest_trades(input, out),
            InputKind::Model => self.model(input, out),
            InputKind::Bounds => {
                self.instruments.get(input.symbol).ok_or_else(|| bad_symbol(input))?;
                out.on_event(&input.stamp, input.symbol, &Event::Bounds { bytes: input.bytes });
                Ok(Decoded::Events(1))
            }
            InputKind::LinkUp
            | InputKind::LinkDown
            | InputKind::SnapshotRequested
            | InputKind::KlinesRequested
            | InputKind::TickerRequested
            | InputKind::TradesRequested
            | InputKind::Stalled
            | InputKind::Halted
            | InputKind::ClockStep
            | InputKind::Break
            | InputKind::LogLost
            | InputKind::Checkpoint
            | InputKind::Stop => self.control(input, out),
        }
    }

    fn text(
        &mut self,
        input: &Input<'_>,
        out: &mut impl EventSink,
    ) -> Result<Decoded, DecodeError> {
        let Some(hot) = hot_for(&mut self.hot, input) else { return self.general_text(input, out) };
        let Some((symbol, event)) = hot.read(&self.instruments, input.bytes, &mut self.levels)
        else {
            return self.general_text(input, out);
        };
        self.counters.count_event(&event);
        out.on_event(&input.stamp, symbol, &event);
        Ok(Decoded::Events(1))
    }

    fn general_text(
        &mut self,
        input: &Input<'_>,
        out: &mut impl EventSink,
    ) -> Result<Decoded, DecodeError> {
        self.counters.general += 1;
        let message = {
            let document = self.parser.parse(input.bytes)?;
            let mut reader = Reader {
                instruments: &self.instruments,
                levels: &mut self.levels,
                unknown_fields: &mut self.counters.unknown_fields,
            };
            reader.read(document.root())?
        };
        let (symbol, event) = match message {
            Message::Depth { symbol, update } => {
                let (bids, asks) =
                    self.levels.split_at_checked(update.bid_count).unwrap_or_default();
                let update = DepthUpdate {
                    ts_event: update.ts_event,
                    first_update_id: update.first_update_id,
                    last_update_id: update.last_update_id,
                    bids,
                    asks,
                };
                (symbol, Event::Depth(update))
            }
            Message::Quote { symbol, quote } => (symbol, Event::Quote(quote)),
            Message::Trade { symbol, trade } => (symbol, Event::Trade(trade)),
            Message::Ticker { symbol, ref ticker } => (symbol, Event::Ticker(ticker)),
            Message::Kline { symbol, interval, kline } => {
                self.counters.klines += 1;
                let (source, rows) = (KlineSource::Stream, &[kline][..]);
                out.on_event(&input.stamp, symbol, &Event::Klines { interval, source, rows });
                return Ok(Decoded::Events(1));
            }
            Message::OpenKline => {
                self.counters.open_klines += 1;
                return Ok(Decoded::Events(0));
            }
            Message::ServerShutdown { ts_event } => {
                return Ok(Decoded::ServerShutdown { ts_event });
            }
            Message::Ack { id } => return Ok(Decoded::Ack { id }),
            Message::Refused { id, code } => return Ok(Decoded::Refused { id, code }),
            Message::UnknownEvent => return Ok(Decoded::UnknownEvent),
            Message::UnknownSymbol => return Ok(Decoded::UnknownSymbol),
        };
        self.counters.count_event(&event);
        out.on_event(&input.stamp, symbol, &event);
        Ok(Decoded::Events(1))
    }

    fn rest_depth(
        &mut self,
        input: &Input<'_>,
        out: &mut impl EventSink,
    ) -> Result<Decoded, DecodeError> {
        let instrument = self.instruments.get(input.symbol).ok_or_else(|| bad_symbol(input))?;
        let scanned = hot_for(&mut self.hot, input)
            .and_then(|hot| hot.read_snapshot(input.symbol, input.bytes, &mut self.levels));
        let head = match scanned {
            Some(head) => head,
            None => {
                self.counters.general += 1;
                let document = self.parser.parse(input.bytes)?;
                if let Some(refused) = refusal(&document)? {
                    return Ok(refused);
                }
                let mut reader = Reader {
                    instruments: &self.instruments,
                    levels: &mut self.levels,
                    unknown_fields: &mut self.counters.unknown_fields,
                };
                rest::read_depth(&mut reader, instrument, document.root())?
            }
        };
        let (bids, asks) = self.levels.split_at_checked(head.bid_count).unwrap_or_default();
        let limit = match input.aux {
            0 => limit_of_recorded_snapshot(bids.len().max(asks.len())),
            limit => limit,
        };
        let snapshot = DepthSnapshot { last_update_id: head.last_update_id, limit, bids, asks };
        self.counters.snapshots += 1;
        out.on_event(&input.stamp, input.symbol, &Event::Snapshot(snapshot));
        Ok(Decoded::Events(1))
    }

    fn rest_time(
        &mut self,
        input: &Input<'_>,
        out: &mut impl EventSink,
    ) -> Result<Decoded, DecodeError> {
        let document = self.parser.parse(input.bytes)?;
        if let Some(refused) = refusal(&document)? {
            return Ok(refused);
        }
        let mut reader = Reader {
            instruments: &self.instruments,
            levels: &mut self.levels,
            unknown_fields: &mut self.counters.unknown_fields,
        };
        let server = rest::read_time(&mut reader, document.root())?;
        self.counters.server_times += 1;
        let event = Event::ServerTime { server, sent: input.ts_aux };
        out.on_event(&input.stamp, SymbolIndex::NONE, &event);
        Ok(Decoded::Events(1))
    }

    fn rest_exchange_info(
        &mut self,
        input: &Input<'_>,
        out: &mut impl EventSink,
    ) -> Result<Decoded, DecodeError> {
        let document = self.parser.parse(input.bytes)?;
        if let Some(refused) = refusal(&document)? {
            return Ok(refused);
        }
        // Once to see that all of it is well formed, once to hand it on.
        rest::for_each_symbol(&self.instruments, document.root(), |_| {})?;
        let mut count = 0;
        let seen = rest::for_each_symbol(&self.instruments, document.root(), |found| {
            let event =
                Event::Instrument { status: found.status, tick_matches: found.tick_matches };
            out.on_event(&input.stamp, found.symbol, &event);
            count += 1;
        })?;
        self.counters.instruments += u64::from(count);
        self.counters.unknown_symbols += seen.unknown_symbols;
        Ok(Decoded::Events(count))
    }

    fn rest_klines(
        &mut self,
        input: &Input<'_>,
        out: &mut impl EventSink,
    ) -> Result<Decoded, DecodeError> {
        let instrument = self.instruments.get(input.symbol).ok_or_else(|| bad_symbol(input))?;
        let interval = interval(input, input.aux)?;
        let document = self.parser.parse(input.bytes)?;
        if let Some(refused) = refusal(&document)? {
            return Ok(refused);
        }
        rest::read_klines(instrument, interval, document.root(), &mut self.klines)?;
        self.counters.klines += self.klines.len() as u64;
        let event = Event::Klines { interval, source: KlineSource::Rest, rows: &self.klines };
        out.on_event(&input.stamp, input.symbol, &event);
        Ok(Decoded::Events(1))
    }

    fn rest_ticker(
        &mut self,
        input: &Input<'_>,
        out: &mut impl EventSink,
    ) -> Result<Decoded, DecodeError> {
        let instrument = self.instruments.get(input.symbol).ok_or_else(|| bad_symbol(input))?;
        let document = self.parser.parse(input.bytes)?;
        if let Some(refused) = refusal(&document)? {
            return Ok(refused);
        }
        let mut reader = Reader {
            instruments: &self.instruments,
            levels: &mut self.levels,
            unknown_fields: &mut self.counters.unknown_fields,
        };
        let ticker = rest::read_day_ticker(&mut reader, input.symbol, instrument, document.root())?;
        self.counters.tickers += 1;
        out.on_event(&input.stamp, input.symbol, &Event::Ticker(&ticker));
        Ok(Decoded::Events(1))
    }

    fn rest_trades(
        &mut self,
        input: &Input<'_>,
        out: &mut impl EventSink,
    ) -> Result<Decoded, DecodeError> {
        let instrument = self.instruments.get(input.symbol).ok_or_else(|| bad_symbol(input))?;
        let stream = trade_stream(match input.aux {
            0 => false,
            1 => true,
            aux => return Err(DecodeError::Input { field: "aux", found: i64::from(aux) }),
        });
        let document = self.parser.parse(input.bytes)?;
        if let Some(refused) = refusal(&document)? {
            return Ok(refused);
        }
        let mut reader = Reader {
            instruments: &self.instruments,
            levels: &mut self.levels,
            unknown_fields: &mut self.counters.unknown_fields,
        };
        let rows = &mut self.trades;
        rest::read_trades(&mut reader, instrument, stream, document.root(), rows)?;
        self.counters.past_trades += rows.len() as u64;
        out.on_event(&input.stamp, input.symbol, &Event::Trades { stream, rows });
        Ok(Decoded::Events(1))
    }

    /// No venue's bytes, but the one place where inputs become events.
    fn model(
        &mut self,
        input: &Input<'_>,
        out: &mut impl EventSink,
    ) -> Result<Decoded, DecodeError> {
        self.instruments.get(input.symbol).ok_or_else(|| bad_symbol(input))?;
        let bad = |field, found| DecodeError::Input { field, found };
        let model = u8::try_from(input.aux).map_err(|_| bad("aux", i64::from(input.aux)))?;
        let length = i64::try_from(input.bytes.len()).unwrap_or(i64::MAX);
        let output = ModelOutput::from_bytes(input.bytes).ok_or_else(|| bad("length", length))?;
        // Ingest lets nothing else through; a log from elsewhere may hold anything.
        output.check().map_err(|_| bad("output of model", i64::from(model)))?;
        self.counters.model_outputs += 1;
        let event = Event::Model { model: ModelIndex(model), output: &output };
        out.on_event(&input.stamp, input.symbol, &event);
        Ok(Decoded::Events(1))
    }

    fn control(
        &mut self,
        input: &Input<'_>,
        out: &mut impl EventSink,
    ) -> Result<Decoded, DecodeError> {
        if input.symbol != SymbolIndex::NONE && self.instruments.get(input.symbol).is_none() {
            return Err(bad_symbol(input));
        }
        let (connection, scope) = (input.connection, LinkScope(input.aux));
        let control = match input.kind {
            InputKind::LinkUp => Control::LinkUp { connection, scope },
            InputKind::LinkDown => Control::LinkDown { connection, scope },
            InputKind::SnapshotRequested => Control::SnapshotRequested {
                limit: input.aux & !BACKGROUND_BIT,
                background: input.aux & BACKGROUND_BIT != 0,
            },
            InputKind::KlinesRequested => Control::KlinesRequested {
                interval: interval(input, input.aux >> 16)?,
                start: input.ts_aux,
                limit: input.aux & 0xffff,
            },
            InputKind::TickerRequested => Control::TickerRequested,
            InputKind::TradesRequested => Control::TradesRequested {
                stream: trade_stream(input.aux & AGG_BIT != 0),
                first_id: u64::try_from(input.ts_aux.0)
                    .map_err(|_| DecodeError::Input { field: "ts_aux", found: input.ts_aux.0 })?,
                limit: input.aux & !AGG_BIT,
            },
            InputKind::Stalled => Control::Stalled { scope },
            InputKind::Halted => Control::Halted { halted: input.aux != 0 },
            InputKind::ClockStep => Control::ClockStep { wall_offset: input.ts_aux },
            InputKind::Break => Control::Break { last_timer: input.ts_aux },
            InputKind::LogLost => {
                let inputs = u64::try_from(input.ts_aux.0)
                    .map_err(|_| DecodeError::Input { field: "ts_aux", found: input.ts_aux.0 })?;
                Control::LogLost { inputs }
            }
            InputKind::Checkpoint => Control::Checkpoint,
            InputKind::Stop => Control::Stop,
            InputKind::Text
            | InputKind::Binary
            | InputKind::RestDepth
            | InputKind::RestTime
            | InputKind::RestExchangeInfo
            | InputKind::RestKlines
            | InputKind::RestTicker
            | InputKind::RestTrades
            | InputKind::Model
            | InputKind::Bounds => return Ok(Decoded::UnknownEvent),
        };
        self.counters.controls += 1;
        out.on_event(&input.stamp, input.symbol, &Event::Control(control));
        Ok(Decoded::Events(1))
    }
}

/// What reads it first: nothing that is longer than what the general parser reads.
#[inline]
fn hot_for<'h>(hot: &'h mut Option<Hot>, input: &Input<'_>) -> Option<&'h mut Hot> {
    hot.as_mut().filter(|_| input.bytes.len() <= MAX_MESSAGE_SIZE_BYTES)
}

const fn trade_stream(aggregate: bool) -> TradeStream {
    if aggregate { TradeStream::AggTrade } else { TradeStream::Trade }
}

/// The interval of that place.
fn interval(input: &Input<'_>, place: u32) -> Result<BarInterval, DecodeError> {
    let known = usize::try_from(place).ok().and_then(BarInterval::from_place);
    known.ok_or(DecodeError::Input { field: "aux", found: i64::from(input.aux) })
}

#[cold]
fn bad_symbol(input: &Input<'_>) -> DecodeError {
    DecodeError::Input { field: "symbol", found: i64::from(input.symbol.0) }
}

/// `{"code":-1121,"msg":"Invalid symbol."}` in place of the body that was asked for.
fn refusal(document: &Document<'_>) -> Result<Option<Decoded>, DecodeError> {
    let Some(code) = document.root().field("code") else { return Ok(None) };
    let code = code.as_i64().ok_or_else(|| DecodeError::Type {
        field: "code",
        expected: "integer",
        offset: code.offset(),
    })?;
    Ok(Some(Decoded::Refused { id: None, code }))
}
