//! The window ticks (FRAME.md, "Book and top"): each trade, each change at the best of `top`.

use crate::candles::TradeRecord;
use crate::message::Nanos;
use crate::top::Top;
use serde_json::{Value, json};

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Tick {
    /// With the top of its instant.
    Trade(TradeRecord, Option<Top>),
    Quote {
        ts_event: Option<Nanos>,
        ts_recv: Nanos,
        top: Top,
    },
}

impl Tick {
    pub(crate) fn json(&self) -> Value {
        let (ts_event, ts_recv, trade, top) = match self {
            Tick::Trade(TradeRecord { ts_recv, trade }, top) => {
                (Some(trade.trade_time), *ts_recv, Some(trade), top.as_ref())
            }
            Tick::Quote { ts_event, ts_recv, top } => (*ts_event, *ts_recv, None, Some(top)),
        };
        json!({
            "ts_event": ts_event,
            "ts_recv": ts_recv,
            "kind": if trade.is_some() { "trade" } else { "quote" },
            "px": trade.map(|trade| trade.px.to_f64()),
            "qty": trade.map(|trade| trade.qty.to_f64()),
            "side": trade.map_or("none", |trade| trade.side()),
            "bid_px": top.map(|top| top.bid.px.to_f64()),
            "bid_qty": top.map(|top| top.bid.qty.to_f64()),
            "ask_px": top.map(|top| top.ask.px.to_f64()),
            "ask_qty": top.map(|top| top.ask.qty.to_f64()),
            "id": trade.map(|trade| trade.id).or(top.map(|top| top.update_id)),
        })
    }
}
