//! Text messages to fixed point, by the general parser.
//!
//! Messages come raw or in the combined wrapper `{"stream":…,"data":{…}}`, with their fields in any order. What comes by
//! the thousand in one order, `hot` reads before.

use cobring_json::{Kind, Value};
use cobring_types::{
    BarInterval, Instrument, KLINE_QUOTE_DECIMALS, Kline, Level, Nanos, Px, Qty, Quote, Side,
    Symbol, SymbolIndex, TICKER_DECIMALS, Ticker, Trade, TradeStream, parse_decimal,
};

use crate::decode::DecodeError;

/// Times of 15 digits and more are microseconds (`timeUnit=MICROSECOND`); as milliseconds they
/// would lie beyond the year 5000.
const FIRST_MICROSECONDS: u64 = 100_000_000_000_000;

/// A text message, read. The levels of a depth update lie in the reader's scratch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    Depth {
        symbol: SymbolIndex,
        update: DepthHead,
    },
    Quote {
        symbol: SymbolIndex,
        quote: Quote,
    },
    Trade {
        symbol: SymbolIndex,
        trade: Trade,
    },
    Ticker {
        symbol: SymbolIndex,
        ticker: Ticker,
    },
    /// A closed bar.
    Kline {
        symbol: SymbolIndex,
        interval: BarInterval,
        kline: Kline,
    },
    /// A bar that goes on: nothing to tell yet.
    OpenKline,
    ServerShutdown {
        ts_event: Nanos,
    },
    Ack {
        id: Option<u64>,
    },
    Refused {
        id: Option<u64>,
        code: i64,
    },
    UnknownEvent,
    UnknownSymbol,
}

/// A depth update but for its levels: the first `bid_count` of the scratch are bids, the rest asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DepthHead {
    pub(super) ts_event: Nanos,
    pub(super) first_update_id: u64,
    pub(super) last_update_id: u64,
    pub(super) bid_count: usize,
}

/// The configured instruments, found by symbol.
#[derive(Debug)]
pub(super) struct Instruments {
    in_order: Vec<Instrument>,
    by_symbol: Vec<(Symbol, SymbolIndex)>,
}

impl Instruments {
    pub(super) fn new(in_order: Vec<Instrument>) -> Self {
        let mut by_symbol: Vec<_> = in_order
            .iter()
            .zip(0u16..)
            .map(|(instrument, index)| (instrument.symbol, SymbolIndex(index)))
            .collect();
        assert!(
            by_symbol.len() == in_order.len() && in_order.len() < usize::from(SymbolIndex::NONE.0),
            "{} instruments do not fit a SymbolIndex",
            in_order.len()
        );
        by_symbol.sort_unstable();
        Self { in_order, by_symbol }
    }

    pub(super) fn get(&self, index: SymbolIndex) -> Option<&Instrument> {
        self.in_order.get(index.at())
    }

    pub(super) fn find(&self, symbol: &str) -> Option<(SymbolIndex, &Instrument)> {
        let at = self.by_symbol.binary_search_by(|(known, _)| known.as_str().cmp(symbol)).ok()?;
        let (_, index) = self.by_symbol.get(at)?;
        self.get(*index).map(|instrument| (*index, instrument))
    }
}

/// Whether a stream's name begins with a symbol. Nothing else would tell one symbol's prices under another's name.
pub(super) fn is_of_symbol(stream: &str, symbol: &str) -> bool {
    let (name, _) = stream.split_once('@').unwrap_or((stream, ""));
    name.eq_ignore_ascii_case(symbol)
}

/// What reading a message uses and changes.
#[derive(Debug)]
pub(super) struct Reader<'r> {
    pub(super) instruments: &'r Instruments,
    pub(super) levels: &'r mut Vec<Level>,
    pub(super) unknown_fields: &'r mut u64,
}

impl Reader<'_> {
    pub(super) fn read(&mut self, root: Value<'_>) -> Result<Message, DecodeError> {
        match Shape::of(root)? {
            Shape::Combined => {
                let [stream, data] = self.fields(root, &["stream", "data"], &[])?;
                let name = text(stream, "stream")?;
                let message = match Shape::of(data)? {
                    Shape::Event(name) => self.event(name, data),
                    Shape::Quote => self.quote(data),
                    _ if name.ends_with("@bookTicker") => self.quote(data),
                    _ => Ok(Message::UnknownEvent),
                }?;
                if self.is_of_stream(&message, name) {
                    Ok(message)
                } else {
                    Err(DecodeError::OutOfRange { field: "stream", offset: stream.offset() })
                }
            }
            Shape::Event(name) => self.event(name, root),
            Shape::Quote => self.quote(root),
            Shape::Reply => reply(root),
            Shape::Unknown => Ok(Message::UnknownEvent),
        }
    }

    /// Whether a message is about the symbol that the stream's name begins with.
    fn is_of_stream(&self, message: &Message, stream: &str) -> bool {
        let (Message::Depth { symbol, .. }
        | Message::Quote { symbol, .. }
        | Message::Trade { symbol, .. }
        | Message::Ticker { symbol, .. }
        | Message::Kline { symbol, .. }) = message
        else {
            return true;
        };
        let instrument = self.instruments.get(*symbol);
        instrument.is_some_and(|instrument| is_of_symbol(stream, instrument.symbol.as_str()))
    }

    fn event(&mut self, name: &str, event: Value<'_>) -> Result<Message, DecodeError> {
        match name {
            "depthUpdate" => self.depth(event),
            "trade" => self.trade(event),
            "aggTrade" => self.agg_trade(event),
            "24hrTicker" => self.ticker(event),
            "kline" => self.kline(event),
            "serverShutdown" => self.server_shutdown(event),
            _ => Ok(Message::UnknownEvent),
        }
    }

    /// ```json
    /// {"e":"depthUpdate","E":1723161255308,"s":"ETHUSDT","U":35346513499,"u":35346513505,
    ///  "b":[["2683.80000000","3.02920000"]],"a":[["2733.70000000","0.00000000"]]}
    /// ```
    /// <https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#diff-depth-stream>
    fn depth(&mut self, event: Value<'_>) -> Result<Message, DecodeError> {
        let names = ["e", "E", "s", "U", "u", "b", "a"];
        let [_, ts_event, symbol, first, last, bids, asks] = self.fields(event, &names, &[])?;
        let Some((symbol, instrument)) = self.instruments.find(text(symbol, "s")?) else {
            return Ok(Message::UnknownSymbol);
        };
        let ts_event = time(ts_event, "E")?;
        let (first_update_id, last_update_id) = (id(first, "U")?, id(last, "u")?);
        if first_update_id > last_update_id {
            return Err(DecodeError::Order { field: "u", offset: last.offset() });
        }
        self.levels.clear();
        read_levels(instrument, bids, "b", self.levels)?;
        let bid_count = self.levels.len();
        read_levels(instrument, asks, "a", self.levels)?;
        let update = DepthHead { ts_event, first_update_id, last_update_id, bid_count };
        Ok(Message::Depth { symbol, update })
    }

    /// The one event without a name and a time:
    /// ```json
    /// {"u":35346513501,"s":"ETHUSDT","b":"2683.80000000","B":"3.02920000","a":"2683.81000000","A":"31.43950000"}
    /// ```
    /// <https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#individual-symbol-book-ticker-streams>
    fn quote(&mut self, event: Value<'_>) -> Result<Message, DecodeError> {
        let names = ["u", "s", "b", "B", "a", "A"];
        let [update_id, symbol, bid_px, bid_qty, ask_px, ask_qty] =
            self.fields(event, &names, &[])?;
        let Some((symbol, instrument)) = self.instruments.find(text(symbol, "s")?) else {
            return Ok(Message::UnknownSymbol);
        };
        let quote = Quote {
            update_id: id(update_id, "u")?,
            bid_px: positive_px(instrument, bid_px, "b")?,
            bid_qty: qty(instrument, bid_qty, "B")?,
            ask_px: positive_px(instrument, ask_px, "a")?,
            ask_qty: qty(instrument, ask_qty, "A")?,
        };
        Ok(Message::Quote { symbol, quote })
    }

    /// ```json
    /// {"e":"trade","E":1723161255612,"s":"ETHUSDT","t":1520538925,"p":"2683.80000000","q":"0.00200000",
    ///  "T":1723161255611,"m":true,"M":true}
    /// ```
    /// `m`: the buyer was the maker, so the taker sold. Order ids `b` and `a` came until 2024.
    /// <https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#trade-streams>
    fn trade(&mut self, event: Value<'_>) -> Result<Message, DecodeError> {
        let names = ["e", "E", "s", "t", "p", "q", "T", "m"];
        let [_, ts_event, symbol, trade_id, px, qty, ts_trade, maker] =
            self.fields(event, &names, &["M", "b", "a"])?;
        let Some((symbol, instrument)) = self.instruments.find(text(symbol, "s")?) else {
            return Ok(Message::UnknownSymbol);
        };
        let trade_id = id(trade_id, "t")?;
        let trade = Trade {
            stream: TradeStream::Trade,
            ts_event: time(ts_event, "E")?,
            ts_trade: time(ts_trade, "T")?,
            id: trade_id,
            first_id: trade_id,
            last_id: trade_id,
            px: positive_px(instrument, px, "p")?,
            qty: positive_qty(instrument, qty, "q")?,
            side: taker_side(maker)?,
        };
        Ok(Message::Trade { symbol, trade })
    }

    /// ```json
    /// {"e":"aggTrade","E":1633998523963,"s":"NKNUSDT","a":15683430,"p":"0.35280000","q":"58.00000000",
    ///  "f":19862790,"l":19862790,"T":1633998523963,"m":false,"M":true}
    /// ```
    /// <https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#aggregate-trade-streams>
    fn agg_trade(&mut self, event: Value<'_>) -> Result<Message, DecodeError> {
        let names = ["e", "E", "s", "a", "p", "q", "f", "l", "T", "m"];
        let [_, ts_event, symbol, agg_id, px, qty, first, last, ts_trade, maker] =
            self.fields(event, &names, &["M"])?;
        let Some((symbol, instrument)) = self.instruments.find(text(symbol, "s")?) else {
            return Ok(Message::UnknownSymbol);
        };
        let (first_id, last_id) = (id(first, "f")?, id(last, "l")?);
        if first_id > last_id {
            return Err(DecodeError::Order { field: "l", offset: last.offset() });
        }
        let trade = Trade {
            stream: TradeStream::AggTrade,
            ts_event: time(ts_event, "E")?,
            ts_trade: time(ts_trade, "T")?,
            id: id(agg_id, "a")?,
            first_id,
            last_id,
            px: positive_px(instrument, px, "p")?,
            qty: positive_qty(instrument, qty, "q")?,
            side: taker_side(maker)?,
        };
        Ok(Message::Trade { symbol, trade })
    }

    /// ```json
    /// {"e":"24hrTicker","E":1723161256012,"s":"ETHUSDT","p":"248.35000000","P":"10.197","w":"2541.62417319",
    ///  "x":"2435.45000000","c":"2683.80000000","Q":"0.00200000","b":"2683.80000000","B":"3.02920000",
    ///  "a":"2683.81000000","A":"31.43950000","o":"2435.45000000","h":"2723.00000000","l":"2321.14000000",
    ///  "v":"694123.41290000","q":"1764200840.32516300","O":1723074856012,"C":1723161256012,
    ///  "F":1518905321,"L":1520538925,"n":1633605}
    /// ```
    /// Prices are 0 and `F` and `L` are -1 for a symbol without a trade in 24 hours.
    /// <https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#individual-symbol-ticker-streams>
    fn ticker(&mut self, event: Value<'_>) -> Result<Message, DecodeError> {
        const NAMES: [&str; 23] = [
            "e", "E", "s", "p", "P", "w", "x", "c", "Q", "b", "B", "a", "A", "o", "h", "l", "v",
            "q", "O", "C", "F", "L", "n",
        ];
        let [_, ts_event, symbol, cells @ ..] = &self.fields(event, &NAMES, &[])?;
        let Some((symbol, instrument)) = self.instruments.find(text(*symbol, "s")?) else {
            return Ok(Message::UnknownSymbol);
        };
        let [_, _, _, names @ ..] = &NAMES;
        let ticker = read_ticker(instrument, time(*ts_event, "E")?, names, cells)?;
        Ok(Message::Ticker { symbol, ticker })
    }

    /// ```json
    /// {"e":"kline","E":1723161256005,"s":"ETHUSDT","k":{"t":1723161255000,"T":1723161255999,"s":"ETHUSDT",
    ///  "i":"1s","f":1520538925,"L":1520538930,"o":"2683.80000000","c":"2683.81000000","h":"2683.81000000",
    ///  "l":"2683.80000000","v":"1.20400000","n":6,"x":true,"q":"3231.29804000","V":"0.40000000",
    ///  "Q":"1073.52400000","B":"0"}}
    /// ```
    /// `x`: the bar is closed. Only then it is looked at.
    /// <https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#klinecandlestick-streams-for-utc>
    fn kline(&mut self, event: Value<'_>) -> Result<Message, DecodeError> {
        let [_, _, symbol, bar] = self.fields(event, &["e", "E", "s", "k"], &[])?;
        let Some((symbol, instrument)) = self.instruments.find(text(symbol, "s")?) else {
            return Ok(Message::UnknownSymbol);
        };
        let names = ["t", "i", "o", "c", "h", "l", "v", "n", "x", "q", "V", "Q"];
        let [
            open_time,
            interval,
            open,
            close,
            high,
            low,
            volume,
            count,
            closed,
            quote,
            buy,
            buy_quote,
        ] = self.fields(bar, &names, &["T", "s", "f", "L", "B"])?;
        let interval = text(interval, "i")?;
        let Some(interval) = BarInterval::ALL.into_iter().find(|known| known.name() == interval)
        else {
            return Ok(Message::UnknownEvent);
        };
        let closed = closed.as_bool().ok_or_else(|| DecodeError::Type {
            field: "x",
            expected: "boolean",
            offset: closed.offset(),
        })?;
        let cells = [open_time, open, high, low, close, volume, quote, count, buy, buy_quote];
        let kline = read_kline(instrument, interval, cells, bar)?;
        Ok(if closed { Message::Kline { symbol, interval, kline } } else { Message::OpenKline })
    }

    /// Raw, or combined with the stream's name `!serverShutdown`; how soon is not promised.
    /// ```json
    /// {"e":"serverShutdown","E":1770123456789}
    /// ```
    /// <https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams>
    fn server_shutdown(&mut self, event: Value<'_>) -> Result<Message, DecodeError> {
        let [_, ts_event] = self.fields(event, &["e", "E"], &[])?;
        Ok(Message::ServerShutdown { ts_event: time(ts_event, "E")? })
    }

    /// The named fields of an object, each exactly once; others are passed over, and counted where
    /// they are none of `passed_over`.
    pub(super) fn fields<'d, const N: usize>(
        &mut self,
        object: Value<'d>,
        names: &[&'static str; N],
        passed_over: &[&str],
    ) -> Result<[Value<'d>; N], DecodeError> {
        let fields = object.as_object().ok_or_else(|| DecodeError::Type {
            field: "data",
            expected: "object",
            offset: object.offset(),
        })?;
        // Where a field is not there, the object itself stands in its place until the check below.
        let mut found = [object; N];
        let mut is_found = [false; N];
        for (key, value) in fields {
            let at = names.iter().position(|&name| name == key);
            match at
                .and_then(|at| Some((names.get(at)?, found.get_mut(at)?, is_found.get_mut(at)?)))
            {
                Some((field, _, true)) => {
                    return Err(DecodeError::Duplicate { field, offset: value.offset() });
                }
                Some((_, slot, is_found)) => (*slot, *is_found) = (value, true),
                None if passed_over.contains(&key) => {}
                None => *self.unknown_fields += 1,
            }
        }
        match names.iter().zip(is_found).find(|&(_, is_found)| !is_found) {
            Some((field, _)) => Err(DecodeError::Missing { field, offset: object.offset() }),
            None => Ok(found),
        }
    }
}

/// What an object is, by the names of its fields alone.
enum Shape<'d> {
    Combined,
    Event(&'d str),
    Quote,
    Reply,
    Unknown,
}

impl<'d> Shape<'d> {
    fn of(value: Value<'d>) -> Result<Self, DecodeError> {
        const QUOTE: u32 = 0b11_1111;
        let Some(fields) = value.as_object() else { return Ok(Self::Unknown) };
        let (mut event, mut stream, mut data, mut reply, mut quote) =
            (None, false, false, false, 0);
        for (key, value) in fields {
            match key {
                "e" => event = event.or(Some(value)),
                "stream" => stream = true,
                "data" => data = true,
                "result" | "error" | "code" => reply = true,
                "u" => quote |= 1,
                "s" => quote |= 1 << 1,
                "b" => quote |= 1 << 2,
                "B" => quote |= 1 << 3,
                "a" => quote |= 1 << 4,
                "A" => quote |= 1 << 5,
                _ => {}
            }
        }
        Ok(match event {
            _ if stream && data => Self::Combined,
            Some(name) => Self::Event(text(name, "e")?),
            None if quote == QUOTE => Self::Quote,
            None if reply => Self::Reply,
            None => Self::Unknown,
        })
    }
}

/// The venue's answer to a request on the connection:
/// ```json
/// {"result":null,"id":1}
/// {"code":2,"msg":"Invalid request: unknown variant `SUBSCRIB`","id":1}
/// {"error":{"code":2,"msg":"Invalid request: missing field `method`"},"id":1}
/// ```
/// <https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#live-subscribingunsubscribing-to-streams>
fn reply(root: Value<'_>) -> Result<Message, DecodeError> {
    let request_id = root.field("id").and_then(Value::as_u64);
    let code = match root.field("error") {
        Some(error) if !error.is_null() => Some(
            error
                .field("code")
                .ok_or_else(|| DecodeError::Missing { field: "code", offset: error.offset() })?,
        ),
        _ => root.field("code"),
    };
    match code {
        Some(code) => Ok(Message::Refused {
            id: request_id,
            code: code.as_i64().ok_or_else(|| DecodeError::Type {
                field: "code",
                expected: "integer",
                offset: code.offset(),
            })?,
        }),
        None => Ok(Message::Ack { id: request_id }),
    }
}

/// The levels of one side, `[["2683.80000000","3.02920000"],…]`, after those in `out`.
pub(super) fn read_levels(
    instrument: &Instrument,
    levels: Value<'_>,
    field: &'static str,
    out: &mut Vec<Level>,
) -> Result<(), DecodeError> {
    let bad =
        |value: Value<'_>, expected| DecodeError::Type { field, expected, offset: value.offset() };
    for level in levels.as_array().ok_or_else(|| bad(levels, "array of levels"))? {
        let mut pair = level.as_array().ok_or_else(|| bad(level, "level of price and quantity"))?;
        let (Some(level_px), Some(level_qty), None) = (pair.next(), pair.next(), pair.next())
        else {
            return Err(bad(level, "level of price and quantity"));
        };
        out.push(Level {
            px: positive_px(instrument, level_px, field)?,
            qty: qty(instrument, level_qty, field)?,
        });
    }
    Ok(())
}

/// A bar from its cells: open time, open, high, low, close, volume, quote volume, count, taker buy volume,
/// taker buy quote volume. `bar` is where they stand.
pub(super) fn read_kline(
    instrument: &Instrument,
    interval: BarInterval,
    cells: [Value<'_>; 10],
    bar: Value<'_>,
) -> Result<Kline, DecodeError> {
    let [open_time, open, high, low, close, volume, quote, count, buy, buy_quote] = cells;
    let kline = Kline {
        open_time: time(open_time, "t")?,
        open: positive_px(instrument, open, "o")?,
        high: positive_px(instrument, high, "h")?,
        low: positive_px(instrument, low, "l")?,
        close: positive_px(instrument, close, "c")?,
        volume: qty(instrument, volume, "v")?,
        quote_volume: positive_or_zero(quote, "q", KLINE_QUOTE_DECIMALS)?,
        taker_buy_volume: qty(instrument, buy, "V")?,
        taker_buy_quote_volume: positive_or_zero(buy_quote, "Q", KLINE_QUOTE_DECIMALS)?,
        trade_count: id(count, "n")?,
    };
    if kline.open_time.floor_to(interval.length()) != kline.open_time {
        return Err(DecodeError::OutOfRange { field: "t", offset: open_time.offset() });
    }
    let inside = |px: Px| kline.low <= px && px <= kline.high;
    let whole = inside(kline.open)
        && inside(kline.close)
        && kline.taker_buy_volume <= kline.volume
        && kline.taker_buy_quote_volume <= kline.quote_volume;
    if whole { Ok(kline) } else { Err(DecodeError::Order { field: "k", offset: bar.offset() }) }
}

/// A ticker from its cells, which have these names: change, change in percent, average, close before it, last price
/// and quantity, best bid and ask with their quantities, open, high, low, volume, quote volume, open and close
/// time, first and last id, count.
pub(super) fn read_ticker(
    instrument: &Instrument,
    ts_event: Nanos,
    names: &[&'static str; 20],
    cells: &[Value<'_>; 20],
) -> Result<Ticker, DecodeError> {
    let px = |at: usize| px(instrument, cells[at], names[at]);
    let qty = |at: usize| qty(instrument, cells[at], names[at]);
    let ticker = Ticker {
        ts_event,
        price_change: decimal(cells[0], names[0], TICKER_DECIMALS)?,
        price_change_percent: decimal(cells[1], names[1], TICKER_DECIMALS)?,
        weighted_avg_px: positive_or_zero(cells[2], names[2], TICKER_DECIMALS)?,
        prev_close_px: px(3)?,
        last_px: px(4)?,
        last_qty: qty(5)?,
        bid_px: px(6)?,
        bid_qty: qty(7)?,
        ask_px: px(8)?,
        ask_qty: qty(9)?,
        open_px: px(10)?,
        high_px: px(11)?,
        low_px: px(12)?,
        volume: qty(13)?,
        quote_volume: positive_or_zero(cells[14], names[14], TICKER_DECIMALS)?,
        open_time: time(cells[15], names[15])?,
        close_time: time(cells[16], names[16])?,
        first_trade_id: trade_id(cells[17], names[17])?,
        last_trade_id: trade_id(cells[18], names[18])?,
        trade_count: id(cells[19], names[19])?,
    };
    if ticker.first_trade_id > ticker.last_trade_id {
        return Err(DecodeError::Order { field: names[18], offset: cells[18].offset() });
    }
    Ok(ticker)
}

/// An id, or [`Ticker::NO_TRADE`] for -1.
fn trade_id(value: Value<'_>, field: &'static str) -> Result<i64, DecodeError> {
    match value.as_i64() {
        Some(-1) => Ok(Ticker::NO_TRADE),
        _ => id(value, field).map(u64::cast_signed),
    }
}

fn decimal(value: Value<'_>, field: &'static str, decimals: u8) -> Result<i64, DecodeError> {
    parse_decimal(text(value, field)?.as_bytes(), decimals).map_err(|error| DecodeError::Number {
        field,
        error,
        offset: value.offset(),
    })
}

fn positive_or_zero(
    value: Value<'_>,
    field: &'static str,
    decimals: u8,
) -> Result<i64, DecodeError> {
    match decimal(value, field, decimals)? {
        units if units >= 0 => Ok(units),
        _ => Err(DecodeError::OutOfRange { field, offset: value.offset() }),
    }
}

pub(super) fn text<'d>(value: Value<'d>, field: &'static str) -> Result<&'d str, DecodeError> {
    value.as_str().ok_or_else(|| DecodeError::Type {
        field,
        expected: "string",
        offset: value.offset(),
    })
}

/// An id or count. The venue's are signed 64-bit numbers; beyond them the next id would overflow.
pub(super) fn id(value: Value<'_>, field: &'static str) -> Result<u64, DecodeError> {
    match value.as_u64() {
        Some(id) if i64::try_from(id).is_ok() => Ok(id),
        None if value.kind() != Kind::Number => {
            Err(DecodeError::Type { field, expected: "integer", offset: value.offset() })
        }
        _ => Err(DecodeError::OutOfRange { field, offset: value.offset() }),
    }
}

/// A time since the Unix epoch, in milliseconds or microseconds by its size.
pub(super) fn time(value: Value<'_>, field: &'static str) -> Result<Nanos, DecodeError> {
    let count = id(value, field)?;
    nanos_of(count).ok_or_else(|| DecodeError::OutOfRange { field, offset: value.offset() })
}

/// Of milliseconds or microseconds, by their number.
pub(super) fn nanos_of(count: u64) -> Option<Nanos> {
    let nanos_each = if count < FIRST_MICROSECONDS { 1_000_000 } else { 1_000 };
    let nanos = count.checked_mul(nanos_each)?;
    i64::try_from(nanos).ok().map(Nanos)
}

fn px(instrument: &Instrument, value: Value<'_>, field: &'static str) -> Result<Px, DecodeError> {
    match instrument.parse_px(text(value, field)?.as_bytes()) {
        Ok(px) if px.0 >= 0 => Ok(px),
        Ok(_) => Err(DecodeError::OutOfRange { field, offset: value.offset() }),
        Err(error) => Err(DecodeError::Number { field, error, offset: value.offset() }),
    }
}

pub(super) fn positive_px(
    instrument: &Instrument,
    value: Value<'_>,
    field: &'static str,
) -> Result<Px, DecodeError> {
    match px(instrument, value, field)? {
        Px(0) => Err(DecodeError::OutOfRange { field, offset: value.offset() }),
        px => Ok(px),
    }
}

fn qty(instrument: &Instrument, value: Value<'_>, field: &'static str) -> Result<Qty, DecodeError> {
    match instrument.parse_qty(text(value, field)?.as_bytes()) {
        Ok(qty) if qty.0 >= 0 => Ok(qty),
        Ok(_) => Err(DecodeError::OutOfRange { field, offset: value.offset() }),
        Err(error) => Err(DecodeError::Number { field, error, offset: value.offset() }),
    }
}

pub(super) fn positive_qty(
    instrument: &Instrument,
    value: Value<'_>,
    field: &'static str,
) -> Result<Qty, DecodeError> {
    match qty(instrument, value, field)? {
        Qty::ZERO => Err(DecodeError::OutOfRange { field, offset: value.offset() }),
        qty => Ok(qty),
    }
}

/// `m` says whether the buyer was the maker.
pub(super) fn taker_side(buyer_is_maker: Value<'_>) -> Result<Side, DecodeError> {
    match buyer_is_maker.as_bool() {
        Some(true) => Ok(Side::Sell),
        Some(false) => Ok(Side::Buy),
        None => Err(DecodeError::Type {
            field: "m",
            expected: "boolean",
            offset: buyer_is_maker.offset(),
        }),
    }
}
