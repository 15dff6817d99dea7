//! Streams, and which connection carries which.

use std::fmt::Write as _;

use cobring_types::{LinkScope, Symbol, SymbolIndex, TradeStream};

use super::MAX_STREAMS_PER_CONNECTION;
use super::rest::escaped;

/// Streams in one SUBSCRIBE message: keeps it below 4 KiB.
const STREAMS_PER_SUBSCRIBE: usize = 100;

/// The streams of one symbol that a scope asks for, as the venue names them: symbol in lower case.
pub fn streams_of_symbol(
    symbol: &Symbol,
    scope: LinkScope,
    trades: TradeStream,
) -> impl Iterator<Item = String> {
    let symbol = symbol.as_str().to_lowercase();
    let trade_stream = match trades {
        TradeStream::Trade => "trade",
        TradeStream::AggTrade => "aggTrade",
    };
    [
        (LinkScope::DEPTH, "depth@100ms"),
        (LinkScope::TRADE, trade_stream),
        (LinkScope::QUOTE, "bookTicker"),
        (LinkScope::TICKER, "ticker"),
        (LinkScope::KLINE, "kline_1s"),
        (LinkScope::KLINE, "kline_1m"),
        (LinkScope::KLINE, "kline_1h"),
        (LinkScope::KLINE, "kline_1d"),
    ]
    .into_iter()
    .filter(move |&(of, _)| scope.carries(of))
    .map(move |(_, stream)| format!("{symbol}@{stream}"))
}

/// One connection: what it carries, and how to ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionPlan {
    /// What it carries of each of its symbols.
    pub scope: LinkScope,
    /// The symbols that it carries, in order.
    pub symbols: Vec<SymbolIndex>,
    /// The streams, at most [`MAX_STREAMS_PER_CONNECTION`].
    pub streams: Vec<String>,
}

impl ConnectionPlan {
    /// The path that subscribes in connecting, `/stream?streams=ethusdt@depth@100ms/…`: no
    /// acknowledgement follows. With some hundred streams the path gets too long for servers;
    /// connect to `/stream` then and send [`ConnectionPlan::subscribe_texts`].
    #[must_use]
    pub fn path(&self) -> String {
        let mut path = String::from("/stream?streams=");
        for (at, stream) in self.streams.iter().enumerate() {
            let slash = if at == 0 { "" } else { "/" };
            let _ = write!(path, "{slash}{}", escaped(stream).replace("%40", "@"));
        }
        path
    }

    /// The messages that subscribe on an open connection, with ids from `first_id` on; each is
    /// acknowledged by its id.
    #[must_use]
    pub fn subscribe_texts(&self, first_id: u64) -> Vec<String> {
        self.texts("SUBSCRIBE", first_id)
    }

    /// The messages that end the subscriptions, with ids from `first_id` on.
    #[must_use]
    pub fn unsubscribe_texts(&self, first_id: u64) -> Vec<String> {
        self.texts("UNSUBSCRIBE", first_id)
    }

    /// `{"method":"SUBSCRIBE","params":["ethusdt@depth@100ms","ethusdt@trade"],"id":1}`
    fn texts(&self, method: &str, first_id: u64) -> Vec<String> {
        let batches = self.streams.chunks(STREAMS_PER_SUBSCRIBE).zip(first_id..);
        let text = |(streams, id): (&[String], u64)| {
            let params = serde_json::to_string(streams).expect("invariant: strings are JSON");
            format!("{{\"method\":\"{method}\",\"params\":{params},\"id\":{id}}}")
        };
        batches.map(text).collect()
    }
}

/// The connections for these symbols (in [`SymbolIndex`] order), one for each group of streams, or
/// more where a group has more streams than a connection may carry. A symbol's streams of a group
/// stay together.
#[must_use]
pub fn plan_connections(
    symbols: &[Symbol],
    groups: &[LinkScope],
    trades: TradeStream,
) -> Vec<ConnectionPlan> {
    let mut plans = Vec::new();
    for &scope in groups {
        let mut plan = ConnectionPlan { scope, symbols: Vec::new(), streams: Vec::new() };
        for (symbol, index) in symbols.iter().zip(0u16..) {
            let streams: Vec<String> = streams_of_symbol(symbol, scope, trades).collect();
            if plan.streams.len() + streams.len() > MAX_STREAMS_PER_CONNECTION {
                let full = ConnectionPlan { scope, symbols: Vec::new(), streams: Vec::new() };
                plans.push(std::mem::replace(&mut plan, full));
            }
            plan.symbols.push(SymbolIndex(index));
            plan.streams.extend(streams);
        }
        if !plan.streams.is_empty() {
            plans.push(plan);
        }
    }
    plans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols(names: &[&str]) -> Vec<Symbol> {
        names.iter().map(|name| Symbol::new(name).unwrap()).collect()
    }

    #[test]
    fn one_connection_carries_all_streams_of_both_symbols() {
        let plans = plan_connections(
            &symbols(&["BTCUSDT", "ETHUSDT"]),
            &[LinkScope::ALL],
            TradeStream::AggTrade,
        );
        assert_eq!(plans.len(), 1);
        assert_eq!(plans[0].symbols, [SymbolIndex(0), SymbolIndex(1)]);
        assert_eq!(
            plans[0].path(),
            "/stream?streams=btcusdt@depth@100ms/btcusdt@aggTrade/btcusdt@bookTicker/btcusdt@ticker\
             /btcusdt@kline_1s/btcusdt@kline_1m/btcusdt@kline_1h/btcusdt@kline_1d\
             /ethusdt@depth@100ms/ethusdt@aggTrade/ethusdt@bookTicker/ethusdt@ticker\
             /ethusdt@kline_1s/ethusdt@kline_1m/ethusdt@kline_1h/ethusdt@kline_1d"
        );
    }

    #[test]
    fn depth_gets_a_connection_of_its_own() {
        let rest = LinkScope::QUOTE.with(LinkScope::TRADE);
        let plans =
            plan_connections(&symbols(&["ETHUSDT"]), &[LinkScope::DEPTH, rest], TradeStream::Trade);
        let streams: Vec<_> =
            plans.iter().map(|plan| (plan.scope, plan.streams.join(" "))).collect();
        assert_eq!(
            streams,
            [
                (LinkScope::DEPTH, "ethusdt@depth@100ms".to_owned()),
                (rest, "ethusdt@trade ethusdt@bookTicker".to_owned())
            ]
        );
        assert_eq!(
            plans[1].subscribe_texts(7),
            [r#"{"method":"SUBSCRIBE","params":["ethusdt@trade","ethusdt@bookTicker"],"id":7}"#]
        );
    }

    #[test]
    fn more_than_1024_streams_take_more_connections() {
        let names: Vec<String> = (0..1000).map(|n| format!("S{n}USDT")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let plans = plan_connections(&symbols(&names), &[LinkScope::ALL], TradeStream::Trade);
        assert_eq!(plans.len(), 8);
        assert!(plans.iter().all(|plan| plan.streams.len() <= MAX_STREAMS_PER_CONNECTION));
        let carried: Vec<_> = plans.iter().flat_map(|plan| plan.symbols.clone()).collect();
        assert_eq!(carried, (0..1000).map(SymbolIndex).collect::<Vec<_>>());
        let texts = plans[0].subscribe_texts(1);
        assert_eq!(texts.len(), 11);
        assert!(texts.iter().all(|text| text.len() < 4096));
    }

    #[test]
    fn symbols_beyond_ascii_are_escaped_in_the_path() {
        let plans =
            plan_connections(&symbols(&["币USDT"]), &[LinkScope::QUOTE], TradeStream::Trade);
        assert_eq!(plans[0].path(), "/stream?streams=%E5%B8%81usdt@bookTicker");
        assert_eq!(plans[0].streams, ["币usdt@bookTicker"]);
    }
}
