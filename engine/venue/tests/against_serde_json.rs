//! The decoder against an independent one: recordings, mutated fixtures, other spellings.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]
#![allow(clippy::disallowed_types, reason = "proptest cases share a decoder")]

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use cobring_types::{Input, InputKind, SymbolIndex};
use cobring_venue::binance::Decoder;
use cobring_venue::{Decoded, limit_of_recorded_snapshot};
use common::differential::{check_klines, check_snapshot, check_text, check_ticker, check_trades};
use common::oracle::Oracle;
use common::{ETH, decode, decoder, fixtures, input, instruments, recordings};
use flate2::read::GzDecoder;
use proptest::prelude::*;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use serde_json::Value;

#[test]
fn every_recorded_line_decodes_as_the_independent_decoder_says() {
    let Some(paths) = recordings() else { return };
    let (mut decoder, oracle) = (decoder(), Oracle::new(instruments()));
    let mut lines_read = 0u64;
    for path in paths {
        let mut file_symbol = None;
        for line in BufReader::new(GzDecoder::new(File::open(&path).unwrap())).split(b'\n') {
            let line = line.unwrap();
            let space = line.iter().position(|&byte| byte == b' ').unwrap();
            let message = &line[space + 1..];
            lines_read += 1;
            let json: Value = serde_json::from_slice(message).unwrap();
            match json["data"]["s"].as_str() {
                None => {
                    let symbol = file_symbol.unwrap();
                    let input = Input { symbol, ..input(InputKind::RestDepth, message) };
                    let (decoded, events) = decode(&mut decoder, &input);
                    assert_eq!(decoded, Ok(Decoded::Events(1)));
                    let limit = limit_of_recorded_snapshot(1000);
                    assert_eq!(
                        events,
                        [(symbol, oracle.snapshot(symbol, limit, message).unwrap())]
                    );
                }
                Some(name) => {
                    let of = instruments().iter().position(|i| i.symbol.as_str() == name).unwrap();
                    file_symbol = file_symbol.or(Some(SymbolIndex(u16::try_from(of).unwrap())));
                    let (decoded, events) = decode(&mut decoder, &input(InputKind::Text, message));
                    assert_eq!(decoded, Ok(Decoded::Events(1)));
                    assert_eq!(events, [oracle.text(message).unwrap()]);
                }
            }
        }
    }
    let counters = *decoder.counters();
    println!("{lines_read} lines: {counters:?}");
    assert_eq!(counters.malformed_total() + counters.unknown_events + counters.unknown_fields, 0);
    let decoded = counters.depth_updates + counters.trades + counters.quotes + counters.snapshots;
    assert_eq!(decoded, lines_read);
}

const INTERESTING: &[u8] = b"{}[]\",:\\/0123456789-+.eEtfnu sSbBaAUTmMx\n\x00\x1f\x80\xff";
const TOKENS: &[&str] = &[
    "\"b\":[],",
    "\"e\":\"trade\",",
    "null",
    "true",
    "0",
    "-1",
    "\"\"",
    "[]",
    "{}",
    "\\u0062",
    "1e3",
    "9223372036854775807",
    "18446744073709551616",
    "\"0.00\"",
    ",",
    "\"s\":\"BTCUSDT\",",
];

#[test]
fn mutated_messages_give_an_error_or_the_right_event() {
    let seeds = fixtures("");
    let (mut decoder, oracle) = (decoder(), Oracle::new(instruments()));
    let seed = 0xc0b_0002;
    let rounds = std::env::var("COBRING_FUZZ_ROUNDS").map_or(30_000, |text| text.parse().unwrap());
    println!("seed {seed:#x}, {rounds} rounds (COBRING_FUZZ_ROUNDS)");
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut below = move |limit: usize| {
        usize::try_from(rng.next_u64() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    };
    for round in 0..rounds {
        let (_, seed) = &seeds[round % seeds.len()];
        let mut text = seed.clone();
        for _ in 0..=below(3) {
            let at = below(text.len());
            let byte = INTERESTING[below(INTERESTING.len())];
            match below(8) {
                0 => text.truncate(at),
                1 => text.insert(at, byte),
                2 if !text.is_empty() => drop(text.remove(at)),
                3 => {
                    let token = TOKENS[below(TOKENS.len())].bytes();
                    text.splice(at..at, token);
                }
                4 => {
                    let end = (at + below(30)).min(text.len());
                    drop(text.drain(at..end));
                }
                _ => {
                    if let Some(slot) = text.get_mut(at) {
                        *slot = byte;
                    }
                }
            }
        }
        check_text(&mut decoder, &oracle, &text);
        check_snapshot(&mut decoder, &oracle, &text);
        check_klines(&mut decoder, &oracle, &text);
        check_ticker(&mut decoder, &oracle, &text);
        check_trades(&mut decoder, &oracle, &text);
        let cut = Input { symbol: ETH, ..input(InputKind::RestExchangeInfo, &text) };
        let _ = decode(&mut decoder, &cut);
        let _ = decode(&mut decoder, &Input { kind: InputKind::RestTime, ..cut });
    }
    let counters = decoder.counters();
    println!("{counters:?}");
    assert!(counters.malformed.iter().all(|&count| count > 0 || count == counters.malformed[7]));
}

#[test]
fn every_truncation_is_refused() {
    let mut decoder = decoder();
    for (name, text) in fixtures("ws_") {
        for length in 0..text.len() {
            let (decoded, _) = decode(&mut decoder, &input(InputKind::Text, &text[..length]));
            let Err(error) = decoded else { panic!("{name} cut to {length}: {decoded:?}") };
            assert_eq!(error.offset(), Some(length), "{name}");
        }
    }
}

/// Spells a value with random white space, key order and escapes.
struct Spelling<F: FnMut(usize) -> usize> {
    below: F,
    text: String,
}

impl<F: FnMut(usize) -> usize> Spelling<F> {
    fn space(&mut self) {
        for _ in 0..(self.below)(3) {
            self.text.push([' ', '\n', '\t', '\r'][(self.below)(4)]);
        }
    }

    fn string(&mut self, text: &str) {
        self.text.push('"');
        for c in text.chars() {
            match (self.below)(6) {
                0 => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        self.text.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                _ if matches!(c, '"' | '\\') => self.text.extend(['\\', c]),
                1 if c == '/' => self.text.push_str("\\/"),
                _ => self.text.push(c),
            }
        }
        self.text.push('"');
    }

    fn value(&mut self, value: &Value) {
        self.space();
        match value {
            Value::String(text) => self.string(text),
            Value::Array(elements) => {
                self.text.push('[');
                for (at, element) in elements.iter().enumerate() {
                    if at > 0 {
                        self.text.push(',');
                    }
                    self.value(element);
                }
                self.space();
                self.text.push(']');
            }
            Value::Object(fields) => {
                let mut fields: Vec<_> = fields.iter().collect();
                for at in (1..fields.len()).rev() {
                    fields.swap(at, (self.below)(at + 1));
                }
                self.text.push('{');
                for (at, (key, value)) in fields.into_iter().enumerate() {
                    if at > 0 {
                        self.text.push(',');
                    }
                    self.space();
                    self.string(key);
                    self.space();
                    self.text.push(':');
                    self.value(value);
                }
                self.space();
                self.text.push('}');
            }
            other => self.text.push_str(&other.to_string()),
        }
        self.space();
    }
}

/// A decoder takes a while to grow its buffers without optimisation.
fn shared_decoder() -> MutexGuard<'static, Decoder> {
    static SHARED: LazyLock<Mutex<Decoder>> = LazyLock::new(|| Mutex::new(decoder()));
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

proptest! {
    #[test]
    fn key_order_white_space_and_escapes_change_nothing(seed in any::<u64>()) {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut decoder = shared_decoder();
        let mut decode_text = |text: &[u8]| decode(&mut decoder, &input(InputKind::Text, text));
        for (name, text) in fixtures("ws_") {
            let below = |limit: usize| usize::try_from(rng.next_u64() % u64::try_from(limit).unwrap()).unwrap();
            let mut spelling = Spelling { below, text: String::new() };
            spelling.value(&serde_json::from_slice(&text).unwrap());
            prop_assert_eq!(
                decode_text(spelling.text.as_bytes()),
                decode_text(&text),
                "{}: {}", name, spelling.text
            );
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120), kind in 0u8..30, aux in any::<u32>(), symbol in 0u16..5) {
        if let Some(kind) = InputKind::from_u8(kind) {
            let input = Input { aux, symbol: SymbolIndex(symbol), ..input(kind, &bytes) };
            let _ = decode(&mut shared_decoder(), &input);
        }
    }
}
