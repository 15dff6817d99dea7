//! The parser held against serde_json.
#![allow(clippy::unwrap_used, reason = "test code")]

use cobring_json::{JsonError, Kind, Parser, Value};
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

/// The same verdict on a text, the same values, each at its place.
pub(crate) fn check(parser: &mut Parser, text: &[u8]) {
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
            // Theirs goes deeper, and reads integers beyond 64 bits as floats; nothing else is refused by us
            // alone.
            if theirs.is_ok() && !matches!(error, JsonError::TooDeep { .. }) {
                let JsonError::Syntax { offset } = error else { panic!("{error}") };
                let digits =
                    text[offset..].iter().skip(1).take_while(|b| b.is_ascii_digit()).count();
                assert!(digits >= 18, "{error}: {:?}", String::from_utf8_lossy(text));
            }
        }
    }
}
