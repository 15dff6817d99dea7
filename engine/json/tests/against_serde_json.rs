//! The parser against serde_json: the same values, the same verdict, the right offsets.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use cobring_json::{JsonError, Kind, Parser, Value};
use proptest::prelude::*;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use serde_json::Value as Theirs;

/// Equal, but for numbers with a fraction, which we only tell apart from integers, and repeated
/// names, of which theirs keeps the last.
fn same(ours: Value<'_>, theirs: &Theirs) -> bool {
    match theirs {
        Theirs::Null => ours.is_null(),
        Theirs::Bool(value) => ours.as_bool() == Some(*value),
        Theirs::Number(number) => {
            ours.kind() == Kind::Number
                && (number.is_f64()
                    || ours.as_u64() == number.as_u64() && ours.as_i64() == number.as_i64())
        }
        Theirs::String(text) => ours.as_str() == Some(text),
        Theirs::Array(elements) => {
            let Some(found) = ours.as_array() else { return false };
            found.len() == elements.len() && found.zip(elements).all(|(a, b)| same(a, b))
        }
        Theirs::Object(fields) => {
            let Some(found) = ours.as_object() else { return false };
            let found: Vec<_> = found.collect();
            found.iter().all(|(key, _)| fields.contains_key(*key))
                && fields.iter().all(|(key, value)| {
                    found.iter().rev().find(|(k, _)| k == key).is_some_and(|&(_, v)| same(v, value))
                })
        }
    }
}

/// Every value begins with its own first byte at its own offset.
fn check_offsets(value: Value<'_>, text: &[u8]) {
    let first = text[value.offset()];
    match value.kind() {
        Kind::Null => assert_eq!(first, b'n'),
        Kind::Bool => assert!(matches!(first, b't' | b'f')),
        Kind::Number => assert!(first == b'-' || first.is_ascii_digit()),
        Kind::String => assert_eq!(first, b'"'),
        Kind::Array => assert_eq!(first, b'['),
        Kind::Object => assert_eq!(first, b'{'),
    }
    value.as_array().into_iter().flatten().for_each(|element| check_offsets(element, text));
    value.as_object().into_iter().flatten().for_each(|(_, value)| check_offsets(value, text));
}

fn check(parser: &mut Parser, text: &[u8]) {
    let theirs = serde_json::from_slice::<Theirs>(text);
    match (parser.parse(text), theirs) {
        (Ok(ours), Ok(theirs)) => {
            assert!(same(ours.root(), &theirs), "{:?}", String::from_utf8_lossy(text));
            check_offsets(ours.root(), text);
        }
        (Ok(_), Err(error)) => {
            panic!("accepted, but {error}: {:?}", String::from_utf8_lossy(text));
        }
        (Err(error), theirs) => {
            assert!(error.offset() <= text.len());
            // Theirs reads integers beyond 64 bits as floats; nothing else is refused by us alone.
            if theirs.is_ok() {
                let JsonError::Syntax { offset } = error else { panic!("{error}") };
                let digits =
                    text[offset..].iter().skip(1).take_while(|b| b.is_ascii_digit()).count();
                assert!(digits >= 18, "{error}: {:?}", String::from_utf8_lossy(text));
            }
        }
    }
}

fn json() -> impl Strategy<Value = Theirs> {
    let leaf = prop_oneof![
        Just(Theirs::Null),
        any::<bool>().prop_map(Theirs::from),
        any::<u64>().prop_map(Theirs::from),
        any::<i64>().prop_map(Theirs::from),
        any::<f32>().prop_filter("JSON has no NaN", |f| f.is_finite()).prop_map(Theirs::from),
        any::<String>().prop_map(Theirs::from),
        "[0-9]{1,6}\\.[0-9]{8}".prop_map(Theirs::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Theirs::from),
            proptest::collection::vec((".{0,6}", inner), 0..8)
                .prop_map(|fields| Theirs::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_reads_the_same(value in json(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) };
        let text = text.unwrap();
        let mut parser = Parser::with_capacity(0);
        check(&mut parser, &text);
        prop_assert!(parser.parse(&text).is_ok());
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        check(&mut Parser::with_capacity(0), &bytes);
    }
}

/// Bytes that matter to JSON, so that mutations reach deep.
const INTERESTING: &[u8] = b"{}[]\",:\\/0123456789-+.eEtfnul \n\tb\x00\x1f\x7f\x80\xc3\xff";

#[test]
fn mutated_messages_read_the_same_or_are_refused_by_both() {
    const SEEDS: [&str; 4] = [
        r#"{"stream":"ethusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255308,"s":"ETHUSDT","U":35346513499,"u":35346513505,"b":[["2683.80000000","3.02920000"],["2679.00000000","28.21530000"]],"a":[["2733.70000000","0.00000000"]]}}"#,
        r#" { "a\u0062\"c\\" : [ true , false , null , -0.5e-7 , 1E+2 , 18446744073709551615 ] , "\ud83d\ude00" : { } } "#,
        r#"["","",[[[[[[]]]]]],{"":{"":{}}},-9223372036854775808]"#,
        r#"{"result":null,"id":1}"#,
    ];
    let seed = 0xc0b_0001;
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let rounds = std::env::var("COBRING_FUZZ_ROUNDS").map_or(100_000, |text| text.parse().unwrap());
    println!("seed {seed:#x}, {rounds} rounds (COBRING_FUZZ_ROUNDS)");
    let mut below = move |limit: usize| {
        usize::try_from(rng.next_u64() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    };
    let mut parser = Parser::with_capacity(0);
    for round in 0..rounds {
        let mut text = SEEDS[round % SEEDS.len()].as_bytes().to_vec();
        for _ in 0..=below(4) {
            let at = below(text.len());
            let byte = match below(3) {
                0 => u8::try_from(below(256)).unwrap(),
                _ => INTERESTING[below(INTERESTING.len())],
            };
            match below(6) {
                0 => text.truncate(at),
                1 => text.insert(at, byte),
                2 if !text.is_empty() => drop(text.remove(at)),
                3 => {
                    let end = (at + below(20)).min(text.len());
                    let piece = text[at..end].to_vec();
                    let to = below(text.len());
                    text.splice(to..to, piece);
                }
                _ => {
                    if let Some(slot) = text.get_mut(at) {
                        *slot = byte;
                    }
                }
            }
        }
        check(&mut parser, &text);
    }
}
