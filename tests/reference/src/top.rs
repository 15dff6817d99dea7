//! The freshest best prices, and the live price with its fallbacks (FRAME.md, "The frame").

use crate::decimal::{Dec, PLACES, decimal_to_f64, weighted_px};
use crate::message::{Level, Nanos};
use serde_json::{Map, Value, json};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Top {
    pub update_id: u64,
    pub bid: Level,
    pub ask: Level,
    pub source: &'static str,
}

impl Top {
    pub(crate) fn has_the_prices_of(&self, other: &Top) -> bool {
        (self.bid, self.ask) == (other.bid, other.ask)
    }

    pub(crate) fn mid_twice(&self) -> Dec {
        self.bid.px + self.ask.px
    }
}

/// Half of best bid + best ask.
pub(crate) fn half_to_f64(twice: Dec) -> f64 {
    decimal_to_f64(twice.0 * 5, PLACES + 1)
}

pub(crate) fn json(top: Option<&Top>) -> Value {
    let Some(&Top { update_id, bid, ask, source }) = top else {
        let names =
            ["bid_px", "bid_qty", "ask_px", "ask_qty", "mid_px", "micro_px", "spread", "update_id"];
        let nulls = names.into_iter().map(|name| (name.to_owned(), Value::Null));
        return nulls.chain([("source".to_owned(), json!("none"))]).collect();
    };
    let micro = bid.px.times(ask.qty) + ask.px.times(bid.qty);
    json!({
        "bid_px": bid.px.to_f64(),
        "bid_qty": bid.qty.to_f64(),
        "ask_px": ask.px.to_f64(),
        "ask_qty": ask.qty.to_f64(),
        "mid_px": half_to_f64(bid.px + ask.px),
        "micro_px": weighted_px(micro, (bid.qty + ask.qty).0),
        "spread": (ask.px - bid.px).to_f64(),
        "update_id": update_id,
        "source": source,
    })
}

/// What the live price may come from: name, price × 2, receive time, greatest age.
pub(crate) type PriceSource = (&'static str, Option<(Dec, Nanos)>, Nanos);

/// The first source, in the order of preference, that is known and young enough at `ts`.
pub(crate) fn price(ts: Nanos, sources: &[PriceSource]) -> Value {
    let usable = |&(name, known, age_max): &PriceSource| {
        known.filter(|(_, since)| ts - since <= age_max).map(|(twice, since)| (name, twice, since))
    };
    let mut block = Map::new();
    let found = sources.iter().find_map(usable);
    block.insert("px".to_owned(), json!(found.map(|(_, twice, _)| half_to_f64(twice))));
    block.insert("source".to_owned(), json!(found.map_or("none", |(name, _, _)| name)));
    block.insert("age".to_owned(), json!(found.map(|(_, _, since)| ts - since)));
    Value::Object(block)
}
