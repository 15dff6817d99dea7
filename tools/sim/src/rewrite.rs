//! Other words in a message's mouth: text to text.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::book::{Book, Level, Side};
use crate::decimal::Fixed;
use crate::faults::Rewrite;
use crate::time_unit::in_microseconds;

/// A depth event, in the venue's order.
#[derive(Serialize, Deserialize)]
struct DepthEvent {
    e: String,
    #[serde(rename = "E")]
    event_ms: i64,
    s: String,
    #[serde(rename = "U")]
    first_id: u64,
    u: u64,
    b: Vec<Level>,
    a: Vec<Level>,
}

/// The message as `how` has it; `None` where this one cannot be so: no depth event, no book, no decimal.
/// `before` is the book that a depth event is about to change.
pub(crate) fn rewrite(how: &Rewrite, data: &str, before: Option<&Book>) -> Option<String> {
    match how {
        Rewrite::Crossed => with_levels(data, before, |event, book| {
            let best = book.best(Side::Ask).ok_or(())?;
            event.b.insert(0, Level(Fixed(best.0.0 * 2), best.1));
            Ok(())
        }),
        Rewrite::EmptySide => with_levels(data, before, |event, book| {
            let known = book.top(Side::Ask, usize::MAX);
            let prices: BTreeSet<Fixed> =
                known.iter().chain(&event.a).map(|Level(px, _)| *px).collect();
            event.a = prices.into_iter().map(|px| Level(px, Fixed::ZERO)).collect();
            Ok(())
        }),
        Rewrite::Levels(count) => with_levels(data, before, |event, book| {
            // In front: what the event itself says of a level comes later and so holds.
            let repeated = |side, own: &[Level]| [book.top(side, count / 2), own.to_vec()].concat();
            event.b = repeated(Side::Bid, &event.b);
            event.a = repeated(Side::Ask, &event.a);
            Ok(())
        }),
        Rewrite::Number(value) => with_number(data, value),
        Rewrite::UnknownField => {
            let rest = data.strip_prefix('{')?;
            Some(format!(r#"{{"zz":{{"new":[1,null]}},{rest}"#))
        }
        Rewrite::KeyOrder => {
            let Fields(mut fields) = serde_json::from_str(data).ok()?;
            fields.reverse();
            serde_json::to_string(&Fields(fields)).ok()
        }
        Rewrite::Symbol(symbol) => {
            let at = data.find(r#""s":""#)? + r#""s":""#.len();
            let length = data[at..].find('"')?;
            (data[at..at + length] != **symbol).then_some(())?;
            Some(format!("{}{symbol}{}", &data[..at], &data[at + length..]))
        }
        Rewrite::Microseconds => Some(in_microseconds(data)),
    }
}

/// Two events in a row as one that begins with the ids of the first: quantities are absolute, so it says the same as
/// both.
pub(crate) fn joined(first: &str, second: &str) -> Option<String> {
    let first: DepthEvent = serde_json::from_str(first).ok()?;
    let mut event: DepthEvent = serde_json::from_str(second).ok()?;
    event.first_id = first.first_id;
    (event.b, event.a) = ([first.b, event.b].concat(), [first.a, event.a].concat());
    serde_json::to_string(&event).ok()
}

fn with_levels(
    data: &str,
    before: Option<&Book>,
    change: impl FnOnce(&mut DepthEvent, &Book) -> Result<(), ()>,
) -> Option<String> {
    let mut event: DepthEvent = serde_json::from_str(data).ok()?;
    change(&mut event, before?).ok()?;
    serde_json::to_string(&event).ok()
}

/// The first text that is a decimal is `value` instead.
fn with_number(data: &str, value: &str) -> Option<String> {
    let is_decimal = |text: &&str| {
        text.contains('.') && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    let found = data.split('"').find(is_decimal)?;
    Some(data.replacen(&format!("\"{found}\""), &format!("\"{value}\""), 1))
}

/// An object's fields in their order.
struct Fields(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields, M::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::{joined, rewrite};
    use crate::book::{Book, Level};
    use crate::decimal::Fixed;
    use crate::faults::Rewrite;

    const EVENT: &str = r#"{"e":"depthUpdate","E":17,"s":"ETHUSDT","U":8,"u":9,"b":[["10.00000000","1.00000000"]],"a":[["12.00000000","0.00000000"],["13.00000000","5.00000000"]]}"#;

    fn level(px: &str, qty: &str) -> Level {
        Level(Fixed::parse(px).unwrap(), Fixed::parse(qty).unwrap())
    }

    #[test]
    fn a_message_says_what_it_is_told_to_say_and_nothing_else_changes() {
        let book = Book::from_levels(7, &[level("9", "2")], &[level("11", "3"), level("12", "4")]);
        let head = r#"{"e":"depthUpdate","E":17,"s":"ETHUSDT","U":8,"u":9,"#;
        let bid = r#"["10.00000000","1.00000000"]"#;
        let asks = r#"["12.00000000","0.00000000"],["13.00000000","5.00000000"]"#;
        for (how, expected) in [
            (
                Rewrite::Crossed,
                format!(r#"{head}"b":[["22.00000000","3.00000000"],{bid}],"a":[{asks}]}}"#),
            ),
            (
                Rewrite::EmptySide,
                format!(
                    r#"{head}"b":[{bid}],"a":[["11.00000000","0.00000000"],["12.00000000","0.00000000"],["13.00000000","0.00000000"]]}}"#
                ),
            ),
            (
                Rewrite::Levels(2),
                format!(
                    r#"{head}"b":[["9.00000000","2.00000000"],{bid}],"a":[["11.00000000","3.00000000"],{asks}]}}"#
                ),
            ),
            (Rewrite::Number("NaN".into()), EVENT.replace("10.00000000", "NaN")),
            (
                Rewrite::UnknownField,
                EVENT.replacen("{\"e\"", "{\"zz\":{\"new\":[1,null]},\"e\"", 1),
            ),
            (
                Rewrite::KeyOrder,
                format!(
                    r#"{{"a":[{asks}],"b":[{bid}],"u":9,"U":8,"s":"ETHUSDT","E":17,"e":"depthUpdate"}}"#
                ),
            ),
            (Rewrite::Symbol("BTCUSDT".into()), EVENT.replace("ETHUSDT", "BTCUSDT")),
            (Rewrite::Microseconds, EVENT.replace("\"E\":17", "\"E\":17000")),
        ] {
            assert_eq!(rewrite(&how, EVENT, Some(&book)), Some(expected), "{how:?}");
        }
        assert_eq!(rewrite(&Rewrite::Crossed, EVENT, None), None, "no book");
        assert_eq!(rewrite(&Rewrite::Number("1".into()), r#"{"E":17}"#, None), None, "no decimal");
    }

    #[test]
    fn two_events_join_into_one_that_overlaps_the_first() {
        let next = r#"{"e":"depthUpdate","E":18,"s":"ETHUSDT","U":10,"u":12,"b":[],"a":[["13.00000000","6.00000000"]]}"#;
        assert_eq!(
            joined(EVENT, next).unwrap(),
            r#"{"e":"depthUpdate","E":18,"s":"ETHUSDT","U":8,"u":12,"b":[["10.00000000","1.00000000"]],"a":[["12.00000000","0.00000000"],["13.00000000","5.00000000"],["13.00000000","6.00000000"]]}"#
        );
    }
}
