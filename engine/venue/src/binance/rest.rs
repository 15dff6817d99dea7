//! REST: what to ask, what it weighs, and what the bodies mean.

use std::fmt::Write as _;

use cobring_json::{Parser, Value};
use cobring_types::{
    BarInterval, Instrument, InstrumentStatus, Kline, Level, Nanos, PastTrade, Side, Symbol,
    SymbolIndex, Ticker, TradeStream,
};

use super::message::{
    Instruments, Reader, id, positive_px, positive_qty, read_kline, read_levels, read_ticker,
    taker_side, text, time,
};
use super::{
    AGG_TRADES_WEIGHT, EXCHANGE_INFO_WEIGHT, KLINES_WEIGHT, MAX_DEPTH_LIMIT, TICKER_WEIGHT,
    TIME_WEIGHT, TRADES_WEIGHT,
};
use crate::decode::DecodeError;

/// A GET request: what follows the host, and what it takes from the weight budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestRequest {
    /// Path and query, escaped.
    pub path: String,
    /// Weight, of [`super::MAX_WEIGHT_PER_MINUTE`].
    pub weight: u32,
}

/// Asks for a depth snapshot of at most `limit` levels a side.
#[must_use]
pub fn depth_request(symbol: &Symbol, limit: u32) -> RestRequest {
    let limit = limit.clamp(1, MAX_DEPTH_LIMIT);
    let symbol = escaped(symbol.as_str());
    RestRequest {
        path: format!("/api/v3/depth?symbol={symbol}&limit={limit}"),
        weight: depth_weight(limit),
    }
}

/// What a depth snapshot of `limit` levels a side weighs.
#[must_use]
pub const fn depth_weight(limit: u32) -> u32 {
    match limit {
        0..=100 => 5,
        101..=500 => 25,
        501..=1000 => 50,
        _ => 250,
    }
}

/// Asks for tick sizes and states of symbols.
#[must_use]
pub fn exchange_info_request(symbols: &[Symbol]) -> RestRequest {
    let mut path = String::from("/api/v3/exchangeInfo?symbols=%5B");
    for (at, symbol) in symbols.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(path, "{comma}%22{}%22", escaped(symbol.as_str()));
    }
    path.push_str("%5D");
    RestRequest { path, weight: EXCHANGE_INFO_WEIGHT }
}

/// Bars in one answer, at most.
pub const KLINES_LIMIT_MAX: u32 = 1_000;

/// Asks for at most `limit` bars from the one that opens at `start` on.
#[must_use]
pub fn klines_request(
    symbol: &Symbol,
    interval: BarInterval,
    start: Nanos,
    limit: u32,
) -> RestRequest {
    let symbol = escaped(symbol.as_str());
    let (interval, start_ms) = (interval.name(), start.0.div_euclid(1_000_000));
    let limit = limit.clamp(1, KLINES_LIMIT_MAX);
    RestRequest {
        path: format!(
            "/api/v3/klines?symbol={symbol}&interval={interval}&startTime={start_ms}&limit={limit}"
        ),
        weight: KLINES_WEIGHT,
    }
}

/// Trades in one answer, at most.
pub const TRADES_LIMIT_MAX: u32 = 1_000;

/// Asks for at most `limit` trades of a stream from the one with that id of the stream on.
#[must_use]
pub fn trades_request(
    symbol: &Symbol,
    stream: TradeStream,
    first_id: u64,
    limit: u32,
) -> RestRequest {
    let (name, weight) = match stream {
        TradeStream::Trade => ("historicalTrades", TRADES_WEIGHT),
        TradeStream::AggTrade => ("aggTrades", AGG_TRADES_WEIGHT),
    };
    let symbol = escaped(symbol.as_str());
    let limit = limit.clamp(1, TRADES_LIMIT_MAX);
    RestRequest {
        path: format!("/api/v3/{name}?symbol={symbol}&fromId={first_id}&limit={limit}"),
        weight,
    }
}

/// Asks for the 24 h ticker.
#[must_use]
pub fn ticker_request(symbol: &Symbol) -> RestRequest {
    let symbol = escaped(symbol.as_str());
    RestRequest { path: format!("/api/v3/ticker/24hr?symbol={symbol}"), weight: TICKER_WEIGHT }
}

/// Asks for the venue's clock.
#[must_use]
pub fn time_request() -> RestRequest {
    RestRequest { path: "/api/v3/time".to_owned(), weight: TIME_WEIGHT }
}

/// Percent-encoding of all but unreserved characters; symbols may lie beyond ASCII.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// An error body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The venue's code; -1003: too many requests or banned, -1121: invalid symbol.
    pub code: i64,
    /// The venue's words.
    pub message: String,
}

/// Reads an error body, `{"code":-1121,"msg":"Invalid symbol."}`; `None` where it is something else
/// (proxies in front of the venue answer in HTML).
#[cold]
#[must_use]
pub fn api_error(body: &[u8]) -> Option<ApiError> {
    let mut parser = Parser::with_capacity(body.len());
    let document = parser.parse(body).ok()?;
    let code = document.root().field("code")?.as_i64()?;
    let message = document.root().field("msg")?.as_str()?.to_owned();
    Some(ApiError { code, message })
}

/// A snapshot but for its levels: the first `bid_count` of the scratch are bids, the rest asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct SnapshotHead {
    pub(super) last_update_id: u64,
    pub(super) bid_count: usize,
}

/// ```json
/// {"lastUpdateId":35346513512,"bids":[["2683.80000000","3.02920000"]],"asks":[["2683.81000000","31.43950000"]]}
/// ```
/// <https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints#order-book>
pub(super) fn read_depth(
    reader: &mut Reader<'_>,
    instrument: &Instrument,
    body: Value<'_>,
) -> Result<SnapshotHead, DecodeError> {
    let [last_update_id, bids, asks] =
        reader.fields(body, &["lastUpdateId", "bids", "asks"], &[])?;
    let last_update_id = id(last_update_id, "lastUpdateId")?;
    reader.levels.clear();
    read_levels(instrument, bids, "bids", reader.levels)?;
    let bid_count = reader.levels.len();
    read_levels(instrument, asks, "asks", reader.levels)?;
    let (bid_levels, ask_levels) = reader.levels.split_at_checked(bid_count).unwrap_or_default();
    let out_of_order = |side: Value<'_>, field, at: Option<usize>| {
        // The level at `at + 1` is the one that should come earlier.
        let level = at.and_then(|at| side.as_array()?.nth(at + 1));
        level.map(|level| DecodeError::Order { field, offset: level.offset() })
    };
    let [bids_fault, asks_fault] = misplaced(bid_levels, ask_levels);
    match out_of_order(bids, "bids", bids_fault).or(out_of_order(asks, "asks", asks_fault)) {
        Some(error) => Err(error),
        None => Ok(SnapshotHead { last_update_id, bid_count }),
    }
}

/// On each side the first level that is no better than the one before it, less one: bids fall, asks rise.
pub(super) fn misplaced(bids: &[Level], asks: &[Level]) -> [Option<usize>; 2] {
    [
        bids.windows(2).position(|pair| pair[0].px <= pair[1].px),
        asks.windows(2).position(|pair| pair[0].px >= pair[1].px),
    ]
}

/// Into `out`, oldest first:
/// ```json
/// [[1723161255000,"2683.80000000","2683.81000000","2683.80000000","2683.81000000","1.20400000",1723161255999,
///   "3231.29804000",6,"0.40000000","1073.52400000","0"]]
/// ```
/// <https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints#klinecandlestick-data>
pub(super) fn read_klines(
    instrument: &Instrument,
    interval: BarInterval,
    body: Value<'_>,
    out: &mut Vec<Kline>,
) -> Result<(), DecodeError> {
    out.clear();
    for row in array(body, "klines")? {
        let missing = || DecodeError::Missing { field: "kline cell", offset: row.offset() };
        let mut cells = array(row, "kline")?;
        let mut next = || cells.next().ok_or_else(missing);
        let (open_time, open, high, low, close, volume) =
            (next()?, next()?, next()?, next()?, next()?, next()?);
        let (_close_time, quote, count, buy, buy_quote) =
            (next()?, next()?, next()?, next()?, next()?);
        let cells = [open_time, open, high, low, close, volume, quote, count, buy, buy_quote];
        let kline = read_kline(instrument, interval, cells, row)?;
        if out.last().is_some_and(|last| kline.open_time <= last.open_time) {
            return Err(DecodeError::Order { field: "t", offset: row.offset() });
        }
        out.push(kline);
    }
    Ok(())
}

/// Into `out`, by ascending ids; fills and aggregate trades:
/// ```json
/// [{"id":1520538925,"price":"2683.80000000","qty":"0.00200000","quoteQty":"5.36760000","time":1723161255611,
///   "isBuyerMaker":true,"isBestMatch":true}]
/// [{"a":15683430,"p":"0.35280000","q":"58.00000000","f":19862790,"l":19862790,"T":1633998523963,"m":false,"M":true}]
/// ```
/// <https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints#old-trade-lookup>
/// <https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints#compressedaggregate-trades-list>
pub(super) fn read_trades(
    reader: &mut Reader<'_>,
    instrument: &Instrument,
    stream: TradeStream,
    body: Value<'_>,
    out: &mut Vec<PastTrade>,
) -> Result<(), DecodeError> {
    out.clear();
    for row in array(body, "trades")? {
        let trade = read_trade(reader, instrument, stream, row)?;
        if out.last().is_some_and(|last| trade.id <= last.id || trade.first_id <= last.last_id) {
            return Err(DecodeError::Order { field: "id", offset: row.offset() });
        }
        out.push(trade);
    }
    Ok(())
}

fn read_trade(
    reader: &mut Reader<'_>,
    instrument: &Instrument,
    stream: TradeStream,
    row: Value<'_>,
) -> Result<PastTrade, DecodeError> {
    match stream {
        TradeStream::Trade => {
            let names = ["id", "price", "qty", "time", "isBuyerMaker"];
            let [trade_id, px, qty, ts_trade, maker] =
                reader.fields(row, &names, &["quoteQty", "isBestMatch"])?;
            let trade_id = id(trade_id, "id")?;
            Ok(PastTrade {
                ts_trade: time(ts_trade, "time")?,
                id: trade_id,
                first_id: trade_id,
                last_id: trade_id,
                px: positive_px(instrument, px, "price")?,
                qty: positive_qty(instrument, qty, "qty")?,
                taker_sold: u64::from(taker_side(maker)? == Side::Sell),
            })
        }
        TradeStream::AggTrade => {
            let names = ["a", "p", "q", "f", "l", "T", "m"];
            let [agg_id, px, qty, first, last, ts_trade, maker] =
                reader.fields(row, &names, &["M"])?;
            let (first_id, last_id) = (id(first, "f")?, id(last, "l")?);
            if first_id > last_id {
                return Err(DecodeError::Order { field: "l", offset: last.offset() });
            }
            Ok(PastTrade {
                ts_trade: time(ts_trade, "T")?,
                id: id(agg_id, "a")?,
                first_id,
                last_id,
                px: positive_px(instrument, px, "p")?,
                qty: positive_qty(instrument, qty, "q")?,
                taker_sold: u64::from(taker_side(maker)? == Side::Sell),
            })
        }
    }
}

/// Of `symbol`, which was asked for:
/// ```json
/// {"symbol":"ETHUSDT","priceChange":"248.35000000","priceChangePercent":"10.197","weightedAvgPrice":"2541.62417319",
///  "prevClosePrice":"2435.45000000","lastPrice":"2683.80000000","lastQty":"0.00200000",
///  "bidPrice":"2683.80000000","bidQty":"3.02920000","askPrice":"2683.81000000","askQty":"31.43950000",
///  "openPrice":"2435.45000000","highPrice":"2723.00000000","lowPrice":"2321.14000000",
///  "volume":"694123.41290000","quoteVolume":"1764200840.32516300","openTime":1723074856012,
///  "closeTime":1723161256012,"firstId":1518905321,"lastId":1520538925,"count":1633605}
/// ```
/// <https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints#24hr-ticker-price-change-statistics>
pub(super) fn read_day_ticker(
    reader: &mut Reader<'_>,
    symbol: SymbolIndex,
    instrument: &Instrument,
    body: Value<'_>,
) -> Result<Ticker, DecodeError> {
    const NAMES: [&str; 21] = [
        "symbol",
        "priceChange",
        "priceChangePercent",
        "weightedAvgPrice",
        "prevClosePrice",
        "lastPrice",
        "lastQty",
        "bidPrice",
        "bidQty",
        "askPrice",
        "askQty",
        "openPrice",
        "highPrice",
        "lowPrice",
        "volume",
        "quoteVolume",
        "openTime",
        "closeTime",
        "firstId",
        "lastId",
        "count",
    ];
    let [of_symbol, cells @ ..] = &reader.fields(body, &NAMES, &[])?;
    let found = reader.instruments.find(text(*of_symbol, "symbol")?).map(|(found, _)| found);
    if found != Some(symbol) {
        return Err(DecodeError::OutOfRange { field: "symbol", offset: of_symbol.offset() });
    }
    let [_, names @ ..] = &NAMES;
    let ticker = read_ticker(instrument, Nanos::UNDEF, names, cells)?;
    // The answer has no send time; its 24 h end when it is made.
    Ok(Ticker { ts_event: ticker.close_time, ..ticker })
}

/// ```json
/// {"serverTime":1723161255308}
/// ```
/// <https://developers.binance.com/docs/binance-spot-api-docs/rest-api/general-endpoints#check-server-time>
pub(super) fn read_time(reader: &mut Reader<'_>, body: Value<'_>) -> Result<Nanos, DecodeError> {
    let [server_time] = reader.fields(body, &["serverTime"], &[])?;
    time(server_time, "serverTime")
}

/// The venue's clock by a `time` body; `None` where it is none.
#[cold]
#[must_use]
pub fn server_time(body: &[u8]) -> Option<Nanos> {
    let mut parser = Parser::with_capacity(body.len());
    let document = parser.parse(body).ok()?;
    time(document.root().field("serverTime")?, "serverTime").ok()
}

/// One configured symbol of an `exchangeInfo` body.
#[derive(Debug, Clone, Copy)]
pub(super) struct FoundSymbol {
    pub(super) symbol: SymbolIndex,
    pub(super) status: InstrumentStatus,
    pub(super) tick_matches: bool,
}

/// What else an `exchangeInfo` body held.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SeenSymbols {
    pub(super) unknown_symbols: u64,
}

/// Each configured symbol of an `exchangeInfo` body. Rules and permissions are many and change often:
/// only the fields below are looked at.
/// ```json
/// {"symbols":[{"symbol":"ETHUSDT","status":"TRADING",
///   "filters":[{"filterType":"PRICE_FILTER","tickSize":"0.01000000"}]}]}
/// ```
/// <https://developers.binance.com/docs/binance-spot-api-docs/rest-api/general-endpoints#exchange-information>
pub(super) fn for_each_symbol(
    instruments: &Instruments,
    body: Value<'_>,
    mut found: impl FnMut(FoundSymbol),
) -> Result<SeenSymbols, DecodeError> {
    let mut seen = SeenSymbols::default();
    for entry in array(field(body, "symbols")?, "symbols")? {
        let name = text(field(entry, "symbol")?, "symbol")?;
        let Some((symbol, instrument)) = instruments.find(name) else {
            seen.unknown_symbols += 1;
            continue;
        };
        let status = status_of(text(field(entry, "status")?, "status")?);
        let tick_size = tick_size_of(entry)?;
        // Scales, not text, are compared: the venue pads with zeros.
        let tick_matches =
            Instrument::new(name, text(tick_size, "tickSize")?, instrument.qty_decimals).is_ok_and(
                |theirs| {
                    theirs.price_decimals == instrument.price_decimals
                        && theirs.tick_mantissa == instrument.tick_mantissa
                },
            );
        found(FoundSymbol { symbol, status, tick_matches });
    }
    Ok(seen)
}

fn status_of(text: &str) -> InstrumentStatus {
    match text {
        "TRADING" => InstrumentStatus::Trading,
        _ => InstrumentStatus::Halted,
    }
}

fn tick_size_of(entry: Value<'_>) -> Result<Value<'_>, DecodeError> {
    let filters = field(entry, "filters")?;
    for filter in array(filters, "filters")? {
        if text(field(filter, "filterType")?, "filterType")? == "PRICE_FILTER" {
            return field(filter, "tickSize");
        }
    }
    Err(DecodeError::Missing { field: "PRICE_FILTER", offset: filters.offset() })
}

/// The tick size that an `exchangeInfo` body gives for a symbol, as the venue writes it: for the
/// message to an operator whose configuration says another.
#[cold]
#[must_use]
pub fn tick_size_in_exchange_info(body: &[u8], symbol: &Symbol) -> Option<String> {
    let mut parser = Parser::with_capacity(body.len());
    let document = parser.parse(body).ok()?;
    let entry = document
        .root()
        .field("symbols")?
        .as_array()?
        .find(|entry| entry.field("symbol").and_then(Value::as_str) == Some(symbol.as_str()))?;
    tick_size_of(entry).ok()?.as_str().map(str::to_owned)
}

/// Whether an `exchangeInfo` body says that trading of one of the symbols is halted; `None` where it is none.
#[cold]
#[must_use]
pub fn is_any_halted_in_exchange_info(body: &[u8], symbols: &[Symbol]) -> Option<bool> {
    let mut parser = Parser::with_capacity(body.len());
    let document = parser.parse(body).ok()?;
    let is_halted = |entry: Value<'_>| {
        let text = |name| entry.field(name).and_then(Value::as_str);
        text("symbol").is_some_and(|name| symbols.iter().any(|symbol| symbol.as_str() == name))
            && text("status").is_some_and(|text| status_of(text) == InstrumentStatus::Halted)
    };
    Some(document.root().field("symbols")?.as_array()?.any(is_halted))
}

fn field<'d>(object: Value<'d>, name: &'static str) -> Result<Value<'d>, DecodeError> {
    object.field(name).ok_or_else(|| DecodeError::Missing { field: name, offset: object.offset() })
}

fn array<'d>(
    value: Value<'d>,
    field: &'static str,
) -> Result<cobring_json::Array<'d>, DecodeError> {
    value.as_array().ok_or_else(|| DecodeError::Type {
        field,
        expected: "array",
        offset: value.offset(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_escaped_and_weighed() {
        let check = |request: RestRequest, path: &str, weight| {
            assert_eq!((request.path.as_str(), request.weight), (path, weight));
        };
        let eth = Symbol::new("ETHUSDT").unwrap();
        let other = Symbol::new("币USDT").unwrap();
        check(depth_request(&eth, 5000), "/api/v3/depth?symbol=ETHUSDT&limit=5000", 250);
        check(depth_request(&eth, 9999), "/api/v3/depth?symbol=ETHUSDT&limit=5000", 250);
        check(depth_request(&other, 1000), "/api/v3/depth?symbol=%E5%B8%81USDT&limit=1000", 50);
        let info = "/api/v3/exchangeInfo?symbols=%5B%22ETHUSDT%22,%22%E5%B8%81USDT%22%5D";
        check(exchange_info_request(&[eth, other]), info, 20);
        check(time_request(), "/api/v3/time", 1);
        check(ticker_request(&eth), "/api/v3/ticker/24hr?symbol=ETHUSDT", 2);
        check(
            trades_request(&eth, TradeStream::Trade, 1_520_538_925, 9_000),
            "/api/v3/historicalTrades?symbol=ETHUSDT&fromId=1520538925&limit=1000",
            25,
        );
        check(
            trades_request(&eth, TradeStream::AggTrade, 7, 3),
            "/api/v3/aggTrades?symbol=ETHUSDT&fromId=7&limit=3",
            4,
        );
        check(
            klines_request(&eth, BarInterval::Hour, Nanos(3_600_000_000_000), 1_500),
            "/api/v3/klines?symbol=ETHUSDT&interval=1h&startTime=3600000&limit=1000",
            2,
        );
    }

    #[test]
    fn deeper_snapshots_weigh_more() {
        for (limit, weight) in [
            (5, 5),
            (100, 5),
            (101, 25),
            (500, 25),
            (501, 50),
            (1000, 50),
            (1001, 250),
            (5000, 250),
        ] {
            assert_eq!(depth_weight(limit), weight, "{limit} levels");
        }
    }
}
