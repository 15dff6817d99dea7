//! The answer of `exchangeInfo`, with the fields and filters that the venue has for a spot market.

use serde_json::{Value, json};

use crate::decimal::Fixed;
use crate::source::SymbolSpec;

const SELF_TRADE_PREVENTION: [&str; 5] =
    ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT", "TRANSFER"];

/// A symbol as it is listed now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listed<'a> {
    pub(crate) spec: &'a SymbolSpec,
    pub(crate) tick: Fixed,
    pub(crate) is_halted: bool,
}

pub(crate) fn json<'a>(now_ms: i64, symbols: impl Iterator<Item = Listed<'a>>) -> String {
    let symbols: Vec<Value> = symbols.map(symbol).collect();
    let limit = |kind: &str, interval: &str, interval_num: u32, limit: u32| json!({ "rateLimitType": kind, "interval": interval, "intervalNum": interval_num, "limit": limit });
    let rate_limits = [
        limit("REQUEST_WEIGHT", "MINUTE", 1, 6_000),
        limit("ORDERS", "SECOND", 10, 100),
        limit("ORDERS", "DAY", 1, 200_000),
        limit("RAW_REQUESTS", "MINUTE", 5, 300_000),
    ];
    json!({
        "timezone": "UTC",
        "serverTime": now_ms,
        "rateLimits": rate_limits,
        "exchangeFilters": [],
        "symbols": symbols,
    })
    .to_string()
}

fn symbol(Listed { spec, tick, is_halted }: Listed<'_>) -> Value {
    let SymbolSpec { name, base, quote, lot, .. } = spec;
    let status = if is_halted { "HALT" } else { "TRADING" };
    let price_max = Fixed(tick.0.saturating_mul(100_000_000));
    let qty_max = Fixed(lot.0.saturating_mul(90_000_000));
    json!({
        "symbol": name,
        "status": status,
        "baseAsset": base,
        "baseAssetPrecision": 8,
        "quoteAsset": quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"],
        "icebergAllowed": true,
        "ocoAllowed": true,
        "otoAllowed": true,
        "opoAllowed": true,
        "quoteOrderQtyMarketAllowed": true,
        "allowTrailingStop": true,
        "cancelReplaceAllowed": true,
        "amendAllowed": true,
        "pegInstructionsAllowed": true,
        "isSpotTradingAllowed": true,
        "isMarginTradingAllowed": true,
        "filters": [
            { "filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": price_max, "tickSize": tick },
            { "filterType": "LOT_SIZE", "minQty": lot, "maxQty": qty_max, "stepSize": lot },
            { "filterType": "ICEBERG_PARTS", "limit": 100 },
            { "filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": qty_max, "stepSize": "0.00000000" },
            {
                "filterType": "TRAILING_DELTA",
                "minTrailingAboveDelta": 10, "maxTrailingAboveDelta": 2000,
                "minTrailingBelowDelta": 10, "maxTrailingBelowDelta": 2000,
            },
            {
                "filterType": "PERCENT_PRICE_BY_SIDE",
                "bidMultiplierUp": "5", "bidMultiplierDown": "0.2",
                "askMultiplierUp": "5", "askMultiplierDown": "0.2", "avgPriceMins": 5,
            },
            {
                "filterType": "NOTIONAL",
                "minNotional": "5.00000000", "applyMinToMarket": true,
                "maxNotional": "9000000.00000000", "applyMaxToMarket": false, "avgPriceMins": 5,
            },
            { "filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200 },
            { "filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5 },
        ],
        "permissions": [],
        "permissionSets": [["SPOT", "MARGIN"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": SELF_TRADE_PREVENTION,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::source::SymbolSpec;

    #[test]
    fn a_symbol_shows_tick_lot_and_status() {
        let spec = SymbolSpec::of("ETHUSDT");
        let info = |is_halted| -> Value {
            let listed = super::Listed { spec: &spec, tick: spec.tick, is_halted };
            serde_json::from_str(&super::json(5, std::iter::once(listed))).unwrap()
        };
        assert_eq!(info(true)["symbols"][0]["status"], "HALT");
        let info = info(false);
        let symbol = &info["symbols"][0];
        assert_eq!(symbol["status"], "TRADING");
        assert_eq!(symbol["filters"][0]["tickSize"], "0.01000000");
        assert_eq!(symbol["filters"][1]["stepSize"], "0.00010000");
        assert_eq!(info["rateLimits"][0]["limit"], 6_000);
    }
}
