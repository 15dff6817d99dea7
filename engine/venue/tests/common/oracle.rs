//! The same messages decoded another way: serde_json's tree and decimal arithmetic.

use cobring_types::{
    BarInterval, Instrument, Kline, KlineSource, Level, Nanos, PastTrade, Px, Qty, Quote, Side,
    SymbolIndex, Ticker, Trade, TradeStream,
};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::Value;

use super::Owned;

/// Sums of two prices fit 64 bits.
const MAX_TICKS: i64 = 1 << 60;

pub(crate) struct Oracle {
    instruments: Vec<Instrument>,
}

struct Scales {
    tick: Decimal,
    unit: Decimal,
}

/// Names of a ticker's fields, in one order.
const STREAM_TICKER: [&str; 20] = [
    "c", "o", "h", "l", "x", "b", "a", "v", "Q", "B", "A", "p", "P", "w", "q", "O", "C", "F", "L",
    "n",
];
const REST_TICKER: [&str; 20] = [
    "lastPrice",
    "openPrice",
    "highPrice",
    "lowPrice",
    "prevClosePrice",
    "bidPrice",
    "askPrice",
    "volume",
    "lastQty",
    "bidQty",
    "askQty",
    "priceChange",
    "priceChangePercent",
    "weightedAvgPrice",
    "quoteVolume",
    "openTime",
    "closeTime",
    "firstId",
    "lastId",
    "count",
];

impl Oracle {
    pub(crate) fn new(instruments: Vec<Instrument>) -> Self {
        Self { instruments }
    }

    /// The event of a text message; `None` where it has none or is malformed.
    pub(crate) fn text(&self, bytes: &[u8]) -> Option<(SymbolIndex, Owned)> {
        let root: Value = serde_json::from_slice(bytes).ok()?;
        let root = root.as_object()?;
        let mut of_stream = None;
        let event = match (root.get("stream"), root.get("data")) {
            (Some(stream), Some(data)) => {
                let stream = stream.as_str()?;
                let data = data.as_object()?;
                if data.contains_key("stream") && data.contains_key("data") {
                    return None;
                }
                if !data.contains_key("e") && !stream.ends_with("@bookTicker") && !is_quote(data) {
                    return None;
                }
                of_stream = stream.split('@').next();
                data
            }
            _ => root,
        };
        let is_quote = !event.contains_key("e");
        let kind = if is_quote { "quote" } else { event["e"].as_str()? };
        let symbol = event.get("s")?.as_str()?;
        if of_stream.is_some_and(|of| of.to_uppercase() != symbol) {
            return None;
        }
        let at = self.instruments.iter().position(|i| i.symbol.as_str() == symbol)?;
        let scales = Scales::of(&self.instruments[at]);
        let time = |name: &str| time(event.get(name)?);
        let id = |name: &str| id(event.get(name)?);
        let px = |name: &str| scales.px(event.get(name)?);
        let qty = |name: &str| scales.qty(event.get(name)?);
        let owned = match kind {
            "quote" => Owned::Quote(Quote {
                update_id: id("u")?,
                bid_px: px("b").filter(|px| px.0 > 0)?,
                bid_qty: qty("B")?,
                ask_px: px("a").filter(|px| px.0 > 0)?,
                ask_qty: qty("A")?,
            }),
            "depthUpdate" => {
                let (first, last) = (id("U")?, id("u")?);
                if first > last {
                    return None;
                }
                let (bids, asks) = (scales.side(event.get("b")?)?, scales.side(event.get("a")?)?);
                Owned::Depth { ts_event: time("E")?, first, last, bids, asks }
            }
            "trade" | "aggTrade" => {
                let (stream, [own_id, first_id, last_id]) = match kind {
                    "trade" => (TradeStream::Trade, [id("t")?; 3]),
                    _ => (TradeStream::AggTrade, [id("a")?, id("f")?, id("l")?]),
                };
                let side = if event.get("m")?.as_bool()? { Side::Sell } else { Side::Buy };
                if first_id > last_id {
                    return None;
                }
                Owned::Trade(Trade {
                    stream,
                    ts_event: time("E")?,
                    ts_trade: time("T")?,
                    id: own_id,
                    first_id,
                    last_id,
                    px: px("p").filter(|px| px.0 > 0)?,
                    qty: qty("q").filter(|qty| qty.0 > 0)?,
                    side,
                })
            }
            "24hrTicker" => Owned::Ticker(scales.ticker(time("E")?, event, &STREAM_TICKER)?),
            "kline" => {
                let (_, bar) = (event.get("E")?, event.get("k")?);
                let interval = bar.get("i")?.as_str()?;
                let interval = BarInterval::ALL.into_iter().find(|i| i.name() == interval)?;
                let names = ["t", "o", "h", "l", "c", "v", "q", "n", "V", "Q"];
                let kline = scales.kline(interval, &names.map(|name| bar.get(name)))?;
                if !bar.get("x")?.as_bool()? {
                    return None;
                }
                Owned::Klines { interval, source: KlineSource::Stream, rows: vec![kline] }
            }
            _ => return None,
        };
        Some((SymbolIndex(u16::try_from(at).unwrap()), owned))
    }

    /// The event of a klines body.
    pub(crate) fn klines(
        &self,
        symbol: SymbolIndex,
        interval: BarInterval,
        bytes: &[u8],
    ) -> Option<Owned> {
        let root: Value = serde_json::from_slice(bytes).ok()?;
        let scales = Scales::of(&self.instruments[symbol.at()]);
        let row = |row: &Value| {
            let cells = row.as_array()?;
            let places = [0, 1, 2, 3, 4, 5, 7, 8, 9, 10];
            scales.kline(interval, &places.map(|at| cells.get(at)))
        };
        let rows: Vec<Kline> = root.as_array()?.iter().map(row).collect::<Option<_>>()?;
        rows.is_sorted_by(|a, b| a.open_time < b.open_time).then_some(Owned::Klines {
            interval,
            source: KlineSource::Rest,
            rows,
        })
    }

    /// The event of a body with past trades.
    pub(crate) fn trades(
        &self,
        symbol: SymbolIndex,
        stream: TradeStream,
        bytes: &[u8],
    ) -> Option<Owned> {
        let root: Value = serde_json::from_slice(bytes).ok()?;
        let scales = Scales::of(&self.instruments[symbol.at()]);
        let names = match stream {
            TradeStream::Trade => ["id", "id", "id", "price", "qty", "time", "isBuyerMaker"],
            TradeStream::AggTrade => ["a", "f", "l", "p", "q", "T", "m"],
        };
        let row = |row: &Value| {
            let row = row.as_object()?;
            let cell = |at: usize| row.get(names[at]);
            Some(PastTrade {
                ts_trade: time(cell(5)?)?,
                id: id(cell(0)?)?,
                first_id: id(cell(1)?)?,
                last_id: id(cell(2)?)?,
                px: scales.px(cell(3)?).filter(|px| px.0 > 0)?,
                qty: scales.qty(cell(4)?).filter(|qty| qty.0 > 0)?,
                taker_sold: u64::from(cell(6)?.as_bool()?),
            })
        };
        let rows: Vec<PastTrade> = root.as_array()?.iter().map(row).collect::<Option<_>>()?;
        let forward = rows.iter().all(|row| row.first_id <= row.last_id)
            && rows
                .windows(2)
                .all(|pair| pair[0].id < pair[1].id && pair[0].last_id < pair[1].first_id);
        forward.then_some(Owned::Trades { stream, rows })
    }

    /// The event of a 24 h ticker's body.
    pub(crate) fn ticker(&self, symbol: SymbolIndex, bytes: &[u8]) -> Option<Owned> {
        let root: Value = serde_json::from_slice(bytes).ok()?;
        let root = root.as_object().filter(|root| !root.contains_key("code"))?;
        let instrument = &self.instruments[symbol.at()];
        if root.get("symbol")?.as_str()? != instrument.symbol.as_str() {
            return None;
        }
        let closed = time(root.get("closeTime")?)?;
        Scales::of(instrument).ticker(closed, root, &REST_TICKER).map(Owned::Ticker)
    }

    /// The event of a depth snapshot's body.
    pub(crate) fn snapshot(&self, symbol: SymbolIndex, limit: u32, bytes: &[u8]) -> Option<Owned> {
        let root: Value = serde_json::from_slice(bytes).ok()?;
        if root.get("code").is_some() {
            return None;
        }
        let scales = Scales::of(&self.instruments[symbol.at()]);
        let bids = scales.side(root.get("bids")?)?;
        let asks = scales.side(root.get("asks")?)?;
        let mut bids_worst_first = bids.iter().rev().map(|level| level.px);
        if !bids_worst_first.by_ref().is_sorted_by(|a, b| a < b)
            || !asks.iter().is_sorted_by(|a, b| a.px < b.px)
        {
            return None;
        }
        Some(Owned::Snapshot { last_update_id: id(root.get("lastUpdateId")?)?, limit, bids, asks })
    }
}

fn is_quote(object: &serde_json::Map<String, Value>) -> bool {
    ["u", "s", "b", "B", "a", "A"].iter().all(|name| object.contains_key(*name))
}

impl Scales {
    fn of(instrument: &Instrument) -> Self {
        Self {
            tick: Decimal::from_str_exact(&instrument.tick_size()).unwrap(),
            unit: Decimal::new(1, u32::from(instrument.qty_decimals)),
        }
    }

    fn px(&self, value: &Value) -> Option<Px> {
        let ticks = decimal(value)?.checked_div(self.tick).and_then(whole);
        ticks.filter(|&ticks| ticks <= MAX_TICKS).map(Px)
    }

    fn qty(&self, value: &Value) -> Option<Qty> {
        decimal(value)?.checked_div(self.unit).and_then(whole).map(Qty)
    }

    /// Open time, open, high, low, close, volume, quote volume, count, taker buy volumes.
    fn kline(&self, interval: BarInterval, cells: &[Option<&Value>; 10]) -> Option<Kline> {
        let px = |at: usize| self.px(cells[at]?).filter(|px| px.0 > 0);
        let quote =
            |at: usize| whole(decimal(cells[at]?)?.checked_mul(Decimal::from(10i64.pow(8)))?);
        let kline = Kline {
            open_time: time(cells[0]?)?,
            open: px(1)?,
            high: px(2)?,
            low: px(3)?,
            close: px(4)?,
            volume: self.qty(cells[5]?)?,
            quote_volume: quote(6)?,
            trade_count: id(cells[7]?)?,
            taker_buy_volume: self.qty(cells[8]?)?,
            taker_buy_quote_volume: quote(9)?,
        };
        let (low, high) = (kline.low.0, kline.high.0);
        let sound = kline.open_time.0 % interval.length().0 == 0
            && (low..=high).contains(&kline.open.0)
            && (low..=high).contains(&kline.close.0)
            && kline.taker_buy_volume.0 <= kline.volume.0
            && kline.taker_buy_quote_volume <= kline.quote_volume;
        sound.then_some(kline)
    }

    fn ticker(
        &self,
        ts_event: Nanos,
        object: &serde_json::Map<String, Value>,
        names: &[&str; 20],
    ) -> Option<Ticker> {
        let field = |at: usize| object.get(names[at]);
        let px = |at: usize| self.px(field(at)?);
        let qty = |at: usize| self.qty(field(at)?);
        let signed = |at: usize| {
            let units = decimal(field(at)?)?.checked_mul(Decimal::from(10i64.pow(8)))?;
            if units.fract().is_zero() { units.to_i64() } else { None }
        };
        let unsigned = |at: usize| signed(at).filter(|&units| units >= 0);
        let trade = |at: usize| match field(at)? {
            id if id.as_i64() == Some(-1) => Some(i64::MIN),
            other => id(other)?.try_into().ok(),
        };
        let ticker = Ticker {
            ts_event,
            last_px: px(0)?,
            open_px: px(1)?,
            high_px: px(2)?,
            low_px: px(3)?,
            prev_close_px: px(4)?,
            bid_px: px(5)?,
            ask_px: px(6)?,
            volume: qty(7)?,
            last_qty: qty(8)?,
            bid_qty: qty(9)?,
            ask_qty: qty(10)?,
            price_change: signed(11)?,
            price_change_percent: signed(12)?,
            weighted_avg_px: unsigned(13)?,
            quote_volume: unsigned(14)?,
            open_time: time(field(15)?)?,
            close_time: time(field(16)?)?,
            first_trade_id: trade(17)?,
            last_trade_id: trade(18)?,
            trade_count: id(field(19)?)?,
        };
        (ticker.first_trade_id <= ticker.last_trade_id).then_some(ticker)
    }

    fn side(&self, value: &Value) -> Option<Vec<Level>> {
        let level = |level: &Value| match level.as_array()?.as_slice() {
            [px, qty] => {
                Some(Level { px: self.px(px).filter(|px| px.0 > 0)?, qty: self.qty(qty)? })
            }
            _ => None,
        };
        value.as_array()?.iter().map(level).collect()
    }
}

fn whole(value: Decimal) -> Option<i64> {
    if value.fract().is_zero() && value >= Decimal::ZERO { value.to_i64() } else { None }
}

/// `[-]digits[.digits]`, and nothing else that decimal crates read.
fn decimal(value: &Value) -> Option<Decimal> {
    let text = value.as_str()?;
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let sign = if text.starts_with('-') { "-" } else { "" };
    let fraction = fraction.trim_end_matches('0');
    Decimal::from_str_exact(&format!("{sign}{whole}.{fraction}0")).ok()
}

fn id(value: &Value) -> Option<u64> {
    value.as_u64().filter(|&id| id <= 0x7fff_ffff_ffff_ffff)
}

fn time(value: &Value) -> Option<Nanos> {
    let count = i128::from(id(value)?);
    let digits = count.to_string().len();
    let nanos = count * if digits <= 14 { 1_000_000 } else { 1_000 };
    i64::try_from(nanos).ok().map(Nanos)
}
