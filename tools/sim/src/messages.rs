//! The JSON of each message, in the venue's own key order.

use std::fmt::Write as _;

use crate::book::{Book, Level, Side};
use crate::decimal::{Fixed, units_to_text};
use crate::source::{BookTicker, DepthUpdate, Trade};
use crate::statistics::DayStatistics;
use crate::time_unit::TimeUnit;

/// Wraps a payload for `/stream` connections.
pub(crate) fn combined(stream: &str, data: &str) -> String {
    ["{\"stream\":\"", stream, "\",\"data\":", data, "}"].concat()
}

/// `{"e":"depthUpdate","E":1723161255308,"s":"ETHUSDT","U":35346513499,"u":35346513505,"b":[["2683.80000000","3.02920000"]],"a":[]}`
pub(crate) fn depth_update(symbol: &str, event_ms: i64, update: &DepthUpdate) -> String {
    let DepthUpdate { first_id, last_id, bids, asks } = update;
    let mut json = String::with_capacity(128 + LEVEL_BYTES * (bids.len() + asks.len()));
    let _ = write!(
        json,
        r#"{{"e":"depthUpdate","E":{event_ms},"s":"{symbol}","U":{first_id},"u":{last_id},"b":"#
    );
    push_levels(&mut json, bids);
    json.push_str(r#","a":"#);
    push_levels(&mut json, asks);
    json.push('}');
    json
}

/// `{"lastUpdateId":35346513512,"bids":[["2683.80000000","3.02920000"]],"asks":[]}`: REST depth and partial-book streams.
pub(crate) fn book(book: &Book, limit: usize) -> String {
    let mut json = format!(r#"{{"lastUpdateId":{},"bids":"#, book.update_id);
    push_levels(&mut json, &book.top(Side::Bid, limit));
    json.push_str(r#","asks":"#);
    push_levels(&mut json, &book.top(Side::Ask, limit));
    json.push('}');
    json
}

/// Of most levels.
const LEVEL_BYTES: usize = 36;

fn push_levels(json: &mut String, levels: &[Level]) {
    json.push('[');
    for (index, Level(px, qty)) in levels.iter().enumerate() {
        json.push_str(if index == 0 { "[\"" } else { ",[\"" });
        px.push_to(json);
        json.push_str("\",\"");
        qty.push_to(json);
        json.push_str("\"]");
    }
    json.push(']');
}

/// `{"e":"trade","E":1723161255612,"s":"ETHUSDT","t":1520538925,"p":"2683.80000000","q":"0.00200000","T":1723161255611,"m":true,"M":true}`
pub(crate) fn trade(symbol: &str, event_ms: i64, trade: &Trade) -> String {
    let Trade { id, px, qty, trade_ms, is_buyer_maker, .. } = trade;
    format!(
        r#"{{"e":"trade","E":{event_ms},"s":"{symbol}","t":{id},"p":"{px}","q":"{qty}","T":{trade_ms},"m":{is_buyer_maker},"M":true}}"#
    )
}

/// Fills of one taker's order at one price.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AggTrade {
    pub(crate) id: u64,
    pub(crate) event_ms: i64,
    /// The first fill, with the quantity of all.
    pub(crate) trade: Trade,
    pub(crate) last_id: u64,
}

/// `{"e":"aggTrade","E":1633998523963,"s":"NKNUSDT","a":15683430,"p":"0.35280000","q":"58.00000000","f":19862790,"l":19862790,"T":1633998523963,"m":false,"M":true}`
pub(crate) fn agg_trade(symbol: &str, agg: &AggTrade) -> String {
    let AggTrade { id, event_ms, trade, last_id } = agg;
    let Trade { id: first_id, px, qty, trade_ms, is_buyer_maker, .. } = trade;
    format!(
        r#"{{"e":"aggTrade","E":{event_ms},"s":"{symbol}","a":{id},"p":"{px}","q":"{qty}","f":{first_id},"l":{last_id},"T":{trade_ms},"m":{is_buyer_maker},"M":true}}"#
    )
}

/// `{"u":35346513501,"s":"ETHUSDT","b":"2683.80000000","B":"3.02920000","a":"2683.81000000","A":"31.43950000"}`
pub(crate) fn book_ticker(symbol: &str, ticker: &BookTicker) -> String {
    let BookTicker { update_id, bid: Level(bid_px, bid_qty), ask: Level(ask_px, ask_qty) } = ticker;
    format!(
        r#"{{"u":{update_id},"s":"{symbol}","b":"{bid_px}","B":"{bid_qty}","a":"{ask_px}","A":"{ask_qty}"}}"#
    )
}

/// `{"e":"24hrTicker","E":…,"s":"BNBBTC","p":"0.0015","P":"250.00","w":…,"x":…,"c":…,"Q":…,"b":…,"B":…,"a":…,"A":…,"o":…,"h":…,"l":…,"v":…,"q":…,"O":…,"C":…,"F":…,"L":…,"n":…}`
pub(crate) fn day_ticker(symbol: &str, event_ms: i64, day: &DayStatistics, book: &Book) -> String {
    let (Level(bid_px, bid_qty), Level(ask_px, ask_qty)) = best(book);
    let (change, percent, average) = (day.change(), day.change_percent(), day.average_px());
    let DayText { open, high, low, last, volume, quote_volume, count } = DayText::of(day);
    let DayStatistics { open_ms, previous_close, last_qty, first_id, last_id, .. } = day;
    format!(
        r#"{{"e":"24hrTicker","E":{event_ms},"s":"{symbol}","p":"{change}","P":"{percent}","w":"{average}","x":"{previous_close}","c":"{last}","Q":"{last_qty}","b":"{bid_px}","B":"{bid_qty}","a":"{ask_px}","A":"{ask_qty}","o":"{open}","h":"{high}","l":"{low}","v":"{volume}","q":"{quote_volume}","O":{open_ms},"C":{event_ms},"F":{first_id},"L":{last_id},"n":{count}}}"#
    )
}

/// `{"e":"24hrMiniTicker","E":…,"s":"BNBBTC","c":"0.0025","o":"0.0010","h":"0.0025","l":"0.0010","v":"10000","q":"18"}`
pub(crate) fn mini_ticker(symbol: &str, event_ms: i64, day: &DayStatistics) -> String {
    let DayText { open, high, low, last, volume, quote_volume, .. } = DayText::of(day);
    format!(
        r#"{{"e":"24hrMiniTicker","E":{event_ms},"s":"{symbol}","c":"{last}","o":"{open}","h":"{high}","l":"{low}","v":"{volume}","q":"{quote_volume}"}}"#
    )
}

/// The element of REST `ticker/24hr`.
pub(crate) fn rest_day_ticker(
    symbol: &str,
    close_ms: i64,
    day: &DayStatistics,
    book: &Book,
    unit: TimeUnit,
) -> String {
    let (Level(bid_px, bid_qty), Level(ask_px, ask_qty)) = best(book);
    let (change, percent, average) = (day.change(), day.change_percent(), day.average_px());
    let DayText { open, high, low, last, volume, quote_volume, count } = DayText::of(day);
    let DayStatistics { open_ms, previous_close, last_qty, first_id, last_id, .. } = day;
    let (open_time, close_time) = (unit.of(*open_ms), unit.of(close_ms));
    format!(
        r#"{{"symbol":"{symbol}","priceChange":"{change}","priceChangePercent":"{percent}","weightedAvgPrice":"{average}","prevClosePrice":"{previous_close}","lastPrice":"{last}","lastQty":"{last_qty}","bidPrice":"{bid_px}","bidQty":"{bid_qty}","askPrice":"{ask_px}","askQty":"{ask_qty}","openPrice":"{open}","highPrice":"{high}","lowPrice":"{low}","volume":"{volume}","quoteVolume":"{quote_volume}","openTime":{open_time},"closeTime":{close_time},"firstId":{first_id},"lastId":{last_id},"count":{count}}}"#
    )
}

/// Sums of a day as decimals.
struct DayText {
    open: Fixed,
    high: Fixed,
    low: Fixed,
    last: Fixed,
    volume: String,
    quote_volume: String,
    count: u64,
}

impl DayText {
    fn of(day: &DayStatistics) -> Self {
        let [open, high, low, last] =
            [day.sums.open, day.sums.high, day.sums.low, day.sums.close].map(Fixed);
        let (volume, quote_volume) =
            (volume_text(day.sums.volume), quote_volume_text(day.sums.quote_volume));
        Self { open, high, low, last, volume, quote_volume, count: day.sums.trade_count }
    }
}

/// The element of REST `ticker/bookTicker`.
pub(crate) fn rest_book_ticker(symbol: &str, book: &Book) -> String {
    let (Level(bid_px, bid_qty), Level(ask_px, ask_qty)) = best(book);
    format!(
        r#"{{"symbol":"{symbol}","bidPrice":"{bid_px}","bidQty":"{bid_qty}","askPrice":"{ask_px}","askQty":"{ask_qty}"}}"#
    )
}

/// The element of REST `trades` and `historicalTrades`.
pub(crate) fn rest_trade(trade: &Trade, unit: TimeUnit) -> String {
    let Trade { id, px, qty, trade_ms, is_buyer_maker, .. } = trade;
    let quote_qty = quote_volume_text(i128::from(px.0) * i128::from(qty.0));
    let time = unit.of(*trade_ms);
    format!(
        r#"{{"id":{id},"price":"{px}","qty":"{qty}","quoteQty":"{quote_qty}","time":{time},"isBuyerMaker":{is_buyer_maker},"isBestMatch":true}}"#
    )
}

/// The element of REST `aggTrades`. `{"a":26129,"p":"0.01633102","q":"4.70443515","f":27781,"l":27781,"T":1498793709153,"m":true,"M":true}`
pub(crate) fn rest_agg_trade(agg: &AggTrade, unit: TimeUnit) -> String {
    let AggTrade { id, trade, last_id, .. } = agg;
    let Trade { id: first_id, px, qty, trade_ms, is_buyer_maker, .. } = trade;
    let time = unit.of(*trade_ms);
    format!(
        r#"{{"a":{id},"p":"{px}","q":"{qty}","f":{first_id},"l":{last_id},"T":{time},"m":{is_buyer_maker},"M":true}}"#
    )
}

/// `{"e":"serverShutdown","E":1770123456789}`
pub(crate) fn server_shutdown(event_ms: i64) -> String {
    format!(r#"{{"e":"serverShutdown","E":{event_ms}}}"#)
}

/// The venue's refusal of a REST request.
pub(crate) fn rest_error(code: i32, msg: &str) -> String {
    serde_json::json!({ "code": code, "msg": msg }).to_string()
}

/// A sum of quantities.
pub(crate) fn volume_text(units: i128) -> String {
    units_to_text(units, 8, 8)
}

/// A sum of price times quantity (10^-16), as the venue cuts it.
pub(crate) fn quote_volume_text(units: i128) -> String {
    units_to_text(units, 16, 8)
}

fn best(book: &Book) -> (Level, Level) {
    let none = Level::default();
    (book.best(Side::Bid).unwrap_or(none), book.best(Side::Ask).unwrap_or(none))
}

#[cfg(test)]
mod tests {
    use crate::book::{Book, Level};
    use crate::decimal::Fixed;
    use crate::source::{BookTicker, DepthUpdate, Trade};

    fn level(px: &str, qty: &str) -> Level {
        Level(Fixed::parse(px).unwrap(), Fixed::parse(qty).unwrap())
    }

    /// The captured payloads of venues.md, section 1.
    #[test]
    fn messages_equal_captured_ones_byte_for_byte() {
        let update = DepthUpdate {
            first_id: 35_346_513_499,
            last_id: 35_346_513_505,
            bids: vec![level("2683.8", "3.0292"), level("2679", "28.2153")],
            asks: vec![level("2733.7", "0")],
        };
        assert_eq!(
            super::combined(
                "ethusdt@depth@100ms",
                &super::depth_update("ETHUSDT", 1_723_161_255_308, &update)
            ),
            r#"{"stream":"ethusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255308,"s":"ETHUSDT","U":35346513499,"u":35346513505,"b":[["2683.80000000","3.02920000"],["2679.00000000","28.21530000"]],"a":[["2733.70000000","0.00000000"]]}}"#
        );
        let trade = Trade {
            id: 1_520_538_925,
            px: Fixed::parse("2683.8").unwrap(),
            qty: Fixed::parse("0.002").unwrap(),
            trade_ms: 1_723_161_255_611,
            is_buyer_maker: true,
            taker_order: 0,
        };
        assert_eq!(
            super::trade("ETHUSDT", 1_723_161_255_612, &trade),
            r#"{"e":"trade","E":1723161255612,"s":"ETHUSDT","t":1520538925,"p":"2683.80000000","q":"0.00200000","T":1723161255611,"m":true,"M":true}"#
        );
        let ticker = BookTicker {
            update_id: 35_346_513_501,
            bid: level("2683.8", "3.0292"),
            ask: level("2683.81", "31.4395"),
        };
        assert_eq!(
            super::book_ticker("ETHUSDT", &ticker),
            r#"{"u":35346513501,"s":"ETHUSDT","b":"2683.80000000","B":"3.02920000","a":"2683.81000000","A":"31.43950000"}"#
        );
        let nkn = Trade {
            id: 19_862_790,
            px: Fixed::parse("0.3528").unwrap(),
            qty: Fixed::parse("58").unwrap(),
            trade_ms: 1_633_998_523_963,
            is_buyer_maker: false,
            taker_order: 0,
        };
        let agg = super::AggTrade {
            id: 15_683_430,
            event_ms: 1_633_998_523_963,
            trade: nkn,
            last_id: 19_862_790,
        };
        assert_eq!(
            super::agg_trade("NKNUSDT", &agg),
            r#"{"e":"aggTrade","E":1633998523963,"s":"NKNUSDT","a":15683430,"p":"0.35280000","q":"58.00000000","f":19862790,"l":19862790,"T":1633998523963,"m":false,"M":true}"#
        );
    }

    #[test]
    fn a_book_is_cut_to_its_limit_best_first() {
        let book = Book::from_levels(
            9,
            &[level("1", "1"), level("2", "1")],
            &[level("3", "1"), level("4", "1")],
        );
        assert_eq!(
            super::book(&book, 1),
            r#"{"lastUpdateId":9,"bids":[["2.00000000","1.00000000"]],"asks":[["3.00000000","1.00000000"]]}"#
        );
    }
}
