//! What the venue says, against independent decoders.

use std::cell::RefCell;

use cobring_json::Parser;
use cobring_types::{Input, InputKind, Instrument, Symbol};
use cobring_venue::binance::{
    Decoder, api_error, is_any_halted_in_exchange_info, server_time, tick_size_in_exchange_info,
};
use cobring_venue::{DecodeError, Decoded};

use crate::json_oracle;
use crate::venue_oracle::differential::{
    check_klines, check_snapshot, check_text, check_ticker, check_trades,
};
use crate::venue_oracle::oracle::Oracle;
use crate::venue_oracle::{ETH, Outcome, decode, decoder, fixtures, input, instruments};

/// A decoder takes a while to grow its buffers, so one serves all inputs: as in the engine.
struct Market {
    decoder: Decoder,
    oracle: Oracle,
    /// A good message and what a fresh decoder made of it.
    good: (Vec<u8>, Outcome),
}

impl Market {
    fn new() -> Self {
        let good = crate::venue_oracle::fixture("ws_depth");
        let outcome = decode(&mut decoder(), &input(InputKind::Text, &good));
        Self { decoder: decoder(), oracle: Oracle::new(instruments()), good: (good, outcome) }
    }

    /// Runs `look`, then shows that nothing of what was refused is left.
    fn with(look: impl FnOnce(&mut Self)) {
        thread_local! {
            static MARKET: RefCell<Market> = RefCell::new(Market::new());
        }
        MARKET.with_borrow_mut(|market| {
            look(market);
            let (good, outcome) = &market.good;
            let again = decode(&mut market.decoder, &input(InputKind::Text, good));
            assert_eq!(again, *outcome, "a good message after this one");
        });
    }

    /// Decodes one input: a refusal is counted once and by kind, anything else is not.
    fn decode(&mut self, input: &Input<'_>) -> Result<Decoded, DecodeError> {
        let before = *self.decoder.counters();
        let (decoded, events) = decode(&mut self.decoder, input);
        let after = self.decoder.counters();
        let refused = after.malformed_total() - before.malformed_total();
        assert_eq!(refused, u64::from(decoded.is_err()), "{decoded:?}");
        if let Err(error) = decoded {
            let kind = error.kind() as usize;
            assert_eq!(after.malformed[kind], before.malformed[kind] + 1, "{error}");
            assert!(events.is_empty(), "{error}");
        }
        decoded
    }
}

/// A WebSocket message, text or binary: what the independent decoder sees, or a counted refusal.
pub fn binance_message(bytes: &[u8]) {
    Market::with(|market| {
        let _ = market.decode(&input(InputKind::Text, bytes));
        let _ = market.decode(&input(InputKind::Binary, bytes));
        check_text(&mut market.decoder, &market.oracle, bytes);
    });
}

/// A REST body, taken for each of the answers that the engine asks for.
pub fn rest_body(bytes: &[u8]) {
    Market::with(|market| {
        for kind in [
            InputKind::RestDepth,
            InputKind::RestTime,
            InputKind::RestExchangeInfo,
            InputKind::RestKlines,
            InputKind::RestTicker,
            InputKind::RestTrades,
        ] {
            for aux in [0, 1, 5, 1_000, u32::MAX] {
                let _ = market.decode(&Input { symbol: ETH, aux, ..input(kind, bytes) });
            }
        }
        let Market { decoder, oracle, .. } = market;
        check_snapshot(decoder, oracle, bytes);
        check_klines(decoder, oracle, bytes);
        check_ticker(decoder, oracle, bytes);
        check_trades(decoder, oracle, bytes);
    });
    let _ = api_error(bytes);
    let _ = server_time(bytes);
    let btc = Symbol::new("BTCUSDT").unwrap();
    let _ = is_any_halted_in_exchange_info(bytes, &[btc]);
    if let Some(tick_size) = tick_size_in_exchange_info(bytes, &btc) {
        let _ = Instrument::new("BTCUSDT", &tick_size, 8);
    }
}

/// The two JSON parsers: the same verdict, the same values, offsets that point at them.
pub fn json_parsers(bytes: &[u8]) {
    thread_local! {
        static PARSER: RefCell<Parser> = RefCell::new(Parser::with_capacity(0));
    }
    PARSER.with_borrow_mut(|parser| json_oracle::check(parser, bytes));
}

pub(crate) fn messages() -> Vec<Vec<u8>> {
    fixtures("ws_").into_iter().map(|(_, text)| text).collect()
}

pub(crate) fn bodies() -> Vec<Vec<u8>> {
    fixtures("rest_").into_iter().map(|(_, text)| text).collect()
}
