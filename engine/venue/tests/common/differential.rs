//! The decoder held against the independent one: the same event, or a refusal that says where.

use cobring_types::{BarInterval, Input, InputKind, TradeStream};
use cobring_venue::binance::Decoder;
use cobring_venue::{DecodeError, Decoded};

use super::oracle::Oracle;
use super::{ETH, Owned, decode, input};

/// What the oracle sees. serde_json reads the integer -0 as a float, so it gets a 0 where it saw nothing.
fn oracle_sees<T>(text: &[u8], see: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
    see(text).or_else(|| {
        let mut plain = text.to_vec();
        for at in 1..plain.len().saturating_sub(2) {
            let ends = plain[at + 2].is_ascii_whitespace() || b",]}".contains(&plain[at + 2]);
            if plain[at..].starts_with(b"-0") && ends && b":,[ \n\t\r".contains(&plain[at - 1]) {
                plain[at] = b' ';
            }
        }
        if plain == text { None } else { see(&plain) }
    })
}

/// Where the oracle sees an event we must give it, and the other way round; only repeated names and
/// integers beyond 64 bits are refused by us alone.
pub(crate) fn check_text(decoder: &mut Decoder, oracle: &Oracle, text: &[u8]) {
    let (decoded, events) = decode(decoder, &input(InputKind::Text, text));
    let shown = || String::from_utf8_lossy(text);
    match (decoded, oracle_sees(text, |text| oracle.text(text))) {
        (Ok(Decoded::Events(_)), expected) => {
            assert_eq!(events.first(), expected.as_ref(), "{}", shown());
        }
        (Err(DecodeError::Duplicate { .. } | DecodeError::Json(_)), _) | (_, None) => {}
        (decoded, Some(expected)) => panic!("{decoded:?}, not {expected:?}: {}", shown()),
    }
    if let Err(error) = decoded {
        assert!(error.offset().is_none_or(|offset| offset <= text.len()), "{error}: {}", shown());
        assert!(error.to_string().contains("byte"), "{error}");
    }
}

pub(crate) fn check_snapshot(decoder: &mut Decoder, oracle: &Oracle, text: &[u8]) {
    let input = Input { symbol: ETH, aux: 100, ..input(InputKind::RestDepth, text) };
    let (decoded, events) = decode(decoder, &input);
    let events: Vec<Owned> = events.into_iter().map(|(_, event)| event).collect();
    match (decoded, oracle_sees(text, |text| oracle.snapshot(ETH, 100, text))) {
        (Ok(Decoded::Events(_)), expected) => assert_eq!(events.first(), expected.as_ref()),
        (Err(DecodeError::Duplicate { .. } | DecodeError::Json(_)), _) | (_, None) => {}
        (decoded, Some(_)) => panic!("{decoded:?}: {}", String::from_utf8_lossy(text)),
    }
}

pub(crate) fn check_klines(decoder: &mut Decoder, oracle: &Oracle, text: &[u8]) {
    let input = Input { symbol: ETH, aux: 0, ..input(InputKind::RestKlines, text) };
    let (decoded, events) = decode(decoder, &input);
    let events: Vec<Owned> = events.into_iter().map(|(_, event)| event).collect();
    match (decoded, oracle_sees(text, |text| oracle.klines(ETH, BarInterval::Second, text))) {
        (Ok(Decoded::Events(_)), expected) => assert_eq!(events.first(), expected.as_ref()),
        (Err(DecodeError::Duplicate { .. } | DecodeError::Json(_)), _) | (_, None) => {}
        (decoded, Some(_)) => panic!("{decoded:?}: {}", String::from_utf8_lossy(text)),
    }
}

pub(crate) fn check_ticker(decoder: &mut Decoder, oracle: &Oracle, text: &[u8]) {
    let input = Input { symbol: ETH, ..input(InputKind::RestTicker, text) };
    let (decoded, events) = decode(decoder, &input);
    let events: Vec<Owned> = events.into_iter().map(|(_, event)| event).collect();
    match (decoded, oracle_sees(text, |text| oracle.ticker(ETH, text))) {
        (Ok(Decoded::Events(_)), expected) => assert_eq!(events.first(), expected.as_ref()),
        (Err(DecodeError::Duplicate { .. } | DecodeError::Json(_)), _) | (_, None) => {}
        (decoded, Some(_)) => panic!("{decoded:?}: {}", String::from_utf8_lossy(text)),
    }
}

pub(crate) fn check_trades(decoder: &mut Decoder, oracle: &Oracle, text: &[u8]) {
    for (aux, stream) in [(0, TradeStream::Trade), (1, TradeStream::AggTrade)] {
        let input = Input { symbol: ETH, aux, ..input(InputKind::RestTrades, text) };
        let (decoded, events) = decode(decoder, &input);
        let events: Vec<Owned> = events.into_iter().map(|(_, event)| event).collect();
        match (decoded, oracle_sees(text, |text| oracle.trades(ETH, stream, text))) {
            (Ok(Decoded::Events(_)), expected) => assert_eq!(events.first(), expected.as_ref()),
            (Err(DecodeError::Duplicate { .. } | DecodeError::Json(_)), _) | (_, None) => {}
            (decoded, Some(_)) => panic!("{decoded:?}: {}", String::from_utf8_lossy(text)),
        }
    }
}
