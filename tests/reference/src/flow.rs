//! Trades and changes of the best levels over the last 1, 5, 15 and 60 s of receive time (FRAME.md, "Flow").

use crate::blocks::SPANS;
use crate::candles::TradeRecord;
use crate::decimal::{PLACES, decimal_to_f64, weighted_px};
use crate::message::{Nanos, Quote, Trade};
use crate::symbol::SECOND;
use serde_json::{Map, Value, json};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct QuoteRecord {
    pub ts_recv: Nanos,
    pub quote: Quote,
}

/// `trades` and `quotes`: all, in order of arrival.
pub(crate) fn json(ts: Nanos, trades: &[TradeRecord], quotes: &[QuoteRecord]) -> Value {
    let last = trades.last().map(|record| &record.trade);
    let mut block = Map::new();
    let mut put = |name: &str, value: Value| block.insert(name.to_owned(), value);
    put("last_px", json!(last.map(|trade| trade.px.to_f64())));
    put("last_qty", json!(last.map(|trade| trade.qty.to_f64())));
    put("last_side", json!(last.map_or("none", Trade::side)));
    put("last_id", json!(last.map(|trade| trade.id)));
    put("last_ts_event", json!(last.map(|trade| trade.trade_time)));
    let inside = |span: Nanos, recv: Nanos| ts - span * SECOND < recv && recv <= ts;
    let of_span = |span: Nanos| {
        let newest_first = trades.iter().rev().skip_while(move |r| r.ts_recv > ts);
        newest_first.take_while(move |r| inside(span, r.ts_recv)).map(|record| &record.trade)
    };
    let volume = |span: Nanos, buy: bool| -> i128 {
        of_span(span).filter(|trade| trade.taker_buy == buy).map(|trade| trade.qty.0).sum()
    };
    let trade_count = |span: Nanos, buy: bool| -> u64 {
        let of_side = of_span(span).filter(|trade| trade.taker_buy == buy);
        of_side.map(|trade| trade.last_trade_id - trade.first_trade_id + 1).sum()
    };
    let vwap = |span: Nanos| {
        let value: i128 = of_span(span).map(|trade| trade.px.times(trade.qty)).sum();
        weighted_px(value, volume(span, true) + volume(span, false))
    };
    let order_flow_imbalance = |span: Nanos| -> i128 {
        let newest_first = quotes.windows(2).rev().skip_while(|pair| pair[1].ts_recv > ts);
        let changes = newest_first.take_while(|pair| inside(span, pair[1].ts_recv));
        changes.map(|pair| order_flow(&pair[0].quote, &pair[1].quote)).sum()
    };
    put("buy_volume", json!(SPANS.map(|span| decimal_to_f64(volume(span, true), PLACES))));
    put("sell_volume", json!(SPANS.map(|span| decimal_to_f64(volume(span, false), PLACES))));
    put("buy_count", json!(SPANS.map(|span| trade_count(span, true))));
    put("sell_count", json!(SPANS.map(|span| trade_count(span, false))));
    put("vwap", json!(SPANS.map(vwap)));
    put("ofi", json!(SPANS.map(|span| decimal_to_f64(order_flow_imbalance(span), PLACES))));
    Value::Object(block)
}

/// Cont, Kukanov, Stoikov: what one change of the best levels adds to the order-flow imbalance.
fn order_flow(old: &Quote, new: &Quote) -> i128 {
    let mut flow = 0;
    if new.bid.px >= old.bid.px {
        flow += new.bid.qty.0;
    }
    if new.bid.px <= old.bid.px {
        flow -= old.bid.qty.0;
    }
    if new.ask.px <= old.ask.px {
        flow -= new.ask.qty.0;
    }
    if new.ask.px >= old.ask.px {
        flow += old.ask.qty.0;
    }
    flow
}
