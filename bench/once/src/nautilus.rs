//! The work of nautilus_trader's Binance adapter on a depth message, and its book: typed strings, each a decimal on its way
//! to a fixed-point price or quantity, a delta for each level, the deltas to the book.
//!
//! Twice: `Books` reads the text into the typed message at once, to its advantage; `ByValues` goes as its handler for spot
//! does, by a tree of JSON values that is copied to look for an envelope, and again to see whether it is a snapshot. Neither
//! passes a message bus.

use std::error::Error;
use std::str::FromStr as _;

use nautilus_core::UnixNanos;
use nautilus_model::data::{BookOrder, OrderBookDelta, OrderBookDeltas};
use nautilus_model::enums::{BookAction, BookType, OrderSide, RecordFlag};
use nautilus_model::identifiers::InstrumentId;
use nautilus_model::orderbook::OrderBook;
use nautilus_model::types::fixed::FIXED_PRECISION;
use nautilus_model::types::{Price, Quantity};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;
use ustr::Ustr;

use crate::input::{Message, Symbol};
use crate::{Best, turns};

const PX_DECIMALS: u8 = 2;
const QTY_DECIMALS: u8 = 8;

#[derive(Deserialize)]
struct Depth {
    #[expect(dead_code, reason = "parsed as there")]
    #[serde(rename = "e")]
    event: String,
    #[serde(rename = "E")]
    time_ms: u64,
    #[expect(dead_code, reason = "parsed as there")]
    #[serde(rename = "s")]
    symbol: Ustr,
    #[expect(dead_code, reason = "parsed as there")]
    #[serde(rename = "U")]
    first_update_id: u64,
    #[serde(rename = "u")]
    last_update_id: u64,
    #[serde(rename = "b")]
    bids: Vec<[String; 2]>,
    #[serde(rename = "a")]
    asks: Vec<[String; 2]>,
}

#[derive(Deserialize)]
struct Combined {
    #[expect(dead_code, reason = "parsed as there")]
    stream: String,
    data: Value,
}

#[derive(Deserialize)]
struct Snapshot {
    #[serde(rename = "lastUpdateId")]
    last_update_id: u64,
    bids: Vec<[String; 2]>,
    asks: Vec<[String; 2]>,
}

pub(crate) struct Books(Vec<OrderBook>);

impl turns::Books for Books {
    fn new(symbols: &[Symbol]) -> Result<Self, Box<dyn Error>> {
        let mut books = Vec::new();
        for symbol in symbols {
            let name = format!("{}.BINANCE", symbol.config.instrument.symbol);
            let mut book = OrderBook::new(InstrumentId::from(name.as_str()), BookType::L2_MBP);
            let Snapshot { last_update_id, bids, asks } = serde_json::from_str(&symbol.snapshot)?;
            let depth = Depth {
                event: String::new(),
                time_ms: 0,
                symbol: Ustr::default(),
                first_update_id: 0,
                last_update_id,
                bids,
                asks,
            };
            apply(&mut book, &depth, 0).ok_or("nautilus refuses a snapshot")?;
            books.push(book);
        }
        Ok(Self(books))
    }

    fn apply(&mut self, message: &Message) -> Option<Best> {
        let depth = serde_json::from_str(&message.raw).ok()?;
        self.apply_depth(message, &depth)
    }
}

impl Books {
    fn apply_depth(&mut self, message: &Message, depth: &Depth) -> Option<Best> {
        let book = &mut self.0[message.symbol];
        apply(book, depth, message.ts_recv_ns)?;
        let bid = (ticks(book.best_bid_price()?), units(book.best_bid_size()?)?);
        Some([bid, (ticks(book.best_ask_price()?), units(book.best_ask_size()?)?)])
    }
}

pub(crate) struct ByValues(Books);

impl turns::Books for ByValues {
    fn new(symbols: &[Symbol]) -> Result<Self, Box<dyn Error>> {
        Ok(Self(Books::new(symbols)?))
    }

    fn apply(&mut self, message: &Message) -> Option<Best> {
        let json: Value = serde_json::from_str(&message.combined).ok()?;
        let is_answer = ["code", "result", "id"].iter().any(|&key| json.get(key).is_some());
        let Combined { data, .. } = serde_json::from_value(json.clone()).ok()?;
        let is_snapshot = serde_json::from_value::<Snapshot>(data.clone()).is_ok();
        if is_answer || is_snapshot || data.get("e").and_then(Value::as_str) != Some("depthUpdate")
        {
            return None;
        }
        self.0.apply_depth(message, &serde_json::from_value(data).ok()?)
    }
}

fn apply(book: &mut OrderBook, depth: &Depth, ts_recv_ns: u64) -> Option<()> {
    let mut deltas = Vec::with_capacity(depth.bids.len() + depth.asks.len());
    let times = (UnixNanos::from(depth.time_ms * 1_000_000), UnixNanos::from(ts_recv_ns));
    for (side, levels) in [(OrderSide::Buy, &depth.bids), (OrderSide::Sell, &depth.asks)] {
        for [px, qty] in levels {
            let px = Price::from_decimal_dp(Decimal::from_str(px).ok()?, PX_DECIMALS).ok()?;
            let qty = Quantity::from_decimal_dp(Decimal::from_str(qty).ok()?, QTY_DECIMALS).ok()?;
            let action = if qty.is_zero() { BookAction::Delete } else { BookAction::Update };
            let order = BookOrder::new(side, px, qty, 0);
            let (instrument, sequence) = (book.instrument_id, depth.last_update_id);
            deltas.push(OrderBookDelta::new(
                instrument, action, order, 0, sequence, times.0, times.1,
            ));
        }
    }
    let Some(last) = deltas.last_mut() else { return Some(()) };
    last.flags = RecordFlag::F_LAST as u8;
    book.apply_deltas(&OrderBookDeltas::new(book.instrument_id, deltas)).ok()
}

fn ticks(px: Price) -> i64 {
    px.raw / 10_i64.pow(u32::from(FIXED_PRECISION - PX_DECIMALS))
}

fn units(qty: Quantity) -> Option<i64> {
    i64::try_from(qty.raw / 10_u64.pow(u32::from(FIXED_PRECISION - QTY_DECIMALS))).ok()
}
