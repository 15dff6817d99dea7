//! Records as JSON, by their schema alone: FRAME.md's names, blocks nested.
//!
//! NaN and unknown times, ids and buckets are null; so are a side's levels where there is no book.
//! Enumerations and bits print their names, bit sets booleans. Numbers are in shortest round-trip form.

use serde_json::{Map, Value, json};

use crate::rows::UNDEF;
use crate::schema::{Field, RecordSchema, Schema};

impl Schema {
    /// A frame's words as JSON.
    #[must_use]
    pub fn frame_to_json(&self, words: &[u64]) -> Value {
        self.record_to_json(&self.frame, words)
    }

    /// A row's words as JSON.
    #[must_use]
    pub fn record_to_json(&self, record: &RecordSchema, words: &[u64]) -> Value {
        let bytes: &[u8] = bytemuck::cast_slice(words);
        let mut root = Map::new();
        for field in &record.fields {
            let mut block = &mut root;
            let mut path = field.name.split('.').peekable();
            while let Some(segment) = path.next() {
                if path.peek().is_none() {
                    block.insert(segment.to_owned(), self.field_to_json(field, bytes));
                    break;
                }
                block = block
                    .entry(segment)
                    .or_insert_with(|| Value::Object(Map::new()))
                    .as_object_mut()
                    .expect("invariant: no field is both a block and a value");
            }
        }
        Value::Object(root)
    }

    fn field_to_json(&self, field: &Field, bytes: &[u8]) -> Value {
        let element_bytes = field.dtype.get(2..).and_then(|size| size.parse().ok()).unwrap_or(1);
        let count: usize = field.shape.iter().product();
        let Some(bytes) = bytes.get(field.offset..field.offset + element_bytes * count) else {
            return Value::Null;
        };
        let mut elements = bytes.chunks_exact(element_bytes);
        let (unit, argument) = field.unit.split_once(':').unwrap_or((&field.unit, ""));
        match unit {
            "text" => {
                let length = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
                String::from_utf8_lossy(&bytes[..length]).into()
            }
            "bool" => (bytes[0] != 0).into(),
            "enum" => {
                let number = elements.next().map_or(0, unsigned);
                let names = self.names(argument).unwrap_or_default();
                let name = usize::try_from(number).ok().and_then(|number| names.get(number));
                name.map_or_else(|| json!(number), |name| json!(name))
            }
            "bits" => {
                let set = elements.next().map_or(0, unsigned);
                let names = self.names(argument).unwrap_or_default();
                (0..64)
                    .filter(|bit| set >> bit & 1 == 1)
                    .map(|bit| names.get(bit).map_or_else(|| json!(bit), |name| json!(name)))
                    .collect()
            }
            "bitset" => {
                let length: usize = argument.parse().unwrap_or(0);
                let words: Vec<u64> = elements.map(unsigned).collect();
                (0..length)
                    .map(|bit| words.get(bit / 64).is_some_and(|w| w >> (bit % 64) & 1 == 1))
                    .collect()
            }
            "levels" => {
                let pairs: Vec<Value> = bytes
                    .chunks_exact(2 * element_bytes)
                    .map(|pair| {
                        pair.chunks_exact(element_bytes).map(|e| scalar(&field.dtype, e)).collect()
                    })
                    .collect();
                if pairs.iter().all(|pair| pair[0].is_null()) {
                    Value::Null
                } else {
                    Value::Array(pairs)
                }
            }
            "update_id" => elements.next().map(unsigned).filter(|&id| id != 0).into(),
            _ if field.shape.is_empty() => scalar(&field.dtype, bytes),
            _ => nested(&field.shape, &mut elements.map(|element| scalar(&field.dtype, element))),
        }
    }
}

/// The elements as nested lists.
fn nested(shape: &[usize], elements: &mut impl Iterator<Item = Value>) -> Value {
    match shape {
        [] => elements.next().unwrap_or_default(),
        [count, inner @ ..] => (0..*count).map(|_| nested(inner, elements)).collect(),
    }
}

fn unsigned(element: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes[..element.len()].copy_from_slice(element);
    u64::from_le_bytes(bytes)
}

fn scalar(dtype: &str, element: &[u8]) -> Value {
    match (dtype, <[u8; 8]>::try_from(element), <[u8; 4]>::try_from(element)) {
        ("<f8", Ok(bytes), _) => json!(f64::from_le_bytes(bytes)),
        ("<f4", _, Ok(bytes)) => json!(f32::from_le_bytes(bytes)),
        ("<i8", Ok(bytes), _) => {
            let value = i64::from_le_bytes(bytes);
            if value == UNDEF { Value::Null } else { json!(value) }
        }
        _ => json!(unsigned(element)),
    }
}

#[cfg(test)]
mod tests {
    use crate::image::{FrameImage, FrameLayout};
    use crate::rows::CANDLE_FLAT;
    use crate::windows::WindowRows;

    #[test]
    fn a_frame_prints_its_blocks_nested_and_unknowns_as_null() {
        let layout = FrameLayout::new(1, 0).unwrap();
        let schema = layout.schema(WindowRows::default(), &[]);
        let mut image = FrameImage::new(layout);
        let head = image.head_mut();
        head.identity.symbol[..3].copy_from_slice(b"ETH");
        head.identity.trigger = 6;
        head.top.bid_px = 2683.8;
        head.top.spread = f64::NAN;
        head.book.bids = [[f64::NAN; 2]; 10];
        head.book.bids[0] = [2683.8, 3.0292];
        head.book.asks = [[f64::NAN; 2]; 10];
        head.cob.centre_bucket = 2683;
        head.open[0].flags = CANDLE_FLAT;
        image.arrays_mut().valid[0] = 0b110;
        let json = schema.frame_to_json(image.words());
        assert_eq!(json["symbol"], "ETH");
        assert_eq!(json["trigger"], "timer");
        assert_eq!(json["top"]["bid_px"].to_string(), "2683.8");
        assert!(json["top"]["spread"].is_null());
        assert_eq!(json["book"]["bids"][0].to_string(), "[2683.8,3.0292]");
        assert!(json["book"]["bids"][1][0].is_null());
        assert!(json["book"]["update_id"].is_null());
        assert!(json["book"]["asks"].is_null());
        assert_eq!(json["cob"]["valid"].to_string(), "[false,true,true]");
        assert_eq!(json["candles"]["1s"]["open"]["flags"][0], "flat");
        assert!(json["candles"]["1m"]["open"]["open_time"].is_null());
        image.head_mut().cob.centre_bucket = i64::MIN;
        assert!(schema.frame_to_json(image.words())["cob"]["centre_bucket"].is_null());
    }
}
