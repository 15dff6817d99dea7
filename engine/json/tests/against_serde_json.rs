//! The parser against serde_json: the same values, the same verdict, the right offsets.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

mod common;

use cobring_json::Parser;
use common::check;
use proptest::prelude::*;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use serde_json::Value as Theirs;

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
