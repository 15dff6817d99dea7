//! The description of records that travels with every segment, and the macro that keeps it true.
//!
//! Guarantees: a record's fields, offsets, dtypes and units come from the struct that the engine
//! writes, so description and bytes cannot drift apart. Readers of other languages build their types
//! from the JSON text. Does not: know what the numbers mean; FRAME.md does.

use std::collections::BTreeSet;

use serde::de::Error as _;
use serde::{Deserialize, Serialize};

/// One field of a record, as the schema's JSON text spells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Path of the field, blocks separated by dots: `book.update_id`, `candles.1s.open.close`.
    pub name: String,
    /// Element type, as numpy writes it: `<f8`, `<i8`, `<u4`, `|u1`, …
    pub dtype: String,
    /// Dimensions; empty for a scalar.
    pub shape: Vec<usize>,
    /// Bytes from the start of the record.
    pub offset: usize,
    /// `ns` (time or difference, `i64::MIN` = unknown), `quote`, `base`, `id`, `count`, `text`, `ratio`,
    /// `levels` (pairs of price and quantity, best first), `enum:NAME`, `bits:NAME`, `bitset:LENGTH`, ….
    pub unit: String,
}

/// A frame or a row: its fields and its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordSchema {
    /// Size in bytes, a multiple of 8.
    pub size_bytes: usize,
    /// Fields in order of their offsets.
    pub fields: Vec<Field>,
}

impl RecordSchema {
    /// The field of that name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// A window: what it promises and its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSchema {
    /// `candles.1s`, `ticks`, …
    pub name: String,
    /// Rows that a reader may count on.
    pub rows_promised: u64,
    /// Rows that the ring holds.
    pub capacity: u64,
    /// The row.
    pub row: RecordSchema,
}

impl Field {
    /// Whether it is what readers take it for: elements of a known size, inside the record.
    fn check(&self, record_bytes: usize) -> Result<(), String> {
        let Self { name, dtype, shape, offset, unit } = self;
        let is_known = matches!(dtype.as_bytes(), [b'<' | b'|', _, b'1' | b'2' | b'4' | b'8']);
        if !is_known {
            return Err(format!("field {name}: dtype {dtype}, wanted one of 1, 2, 4 or 8 bytes"));
        }
        // A dimension of 0 would let the others be of any size.
        let end = shape
            .iter()
            .try_fold(self.element_bytes(), |bytes, &count| bytes.checked_mul(count))
            .filter(|&bytes| bytes > 0)
            .and_then(|bytes| bytes.checked_add(*offset))
            .filter(|&end| end <= record_bytes);
        let Some(end) = end else {
            return Err(format!(
                "field {name}: shape {shape:?} at byte {offset}, wanted inside {record_bytes} bytes"
            ));
        };
        let bits = unit.strip_prefix("bitset:").map(str::parse::<usize>);
        if bits.is_some_and(|bits| !bits.is_ok_and(|bits| bits.div_ceil(8) <= end - offset)) {
            return Err(format!("field {name}: {unit}, wanted at most {} bytes", end - offset));
        }
        Ok(())
    }
}

impl RecordSchema {
    fn check(&self) -> Result<(), String> {
        let mut names = BTreeSet::new();
        for field in &self.fields {
            field.check(self.size_bytes)?;
            if !names.insert(field.name.as_str()) {
                return Err(format!("field {}: is there twice", field.name));
            }
        }
        for name in &names {
            let mut blocks = name.match_indices('.').map(|(at, _)| &name[..at]);
            if let Some(block) = blocks.find(|block| names.contains(block)) {
                return Err(format!("field {name}: {block} is a field, not a block"));
            }
        }
        Ok(())
    }
}

/// Names of the values of an enumeration, or of the bits of a bit set, in order from 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// Referred to by units `enum:NAME` and `bits:NAME`.
    pub name: String,
    /// The names, in order.
    pub values: Vec<String>,
}

/// Everything a reader needs to understand a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// The frame.
    pub frame: RecordSchema,
    /// The windows, in the order of the segment's window table.
    pub windows: Vec<WindowSchema>,
    /// Names of enumerations and bits.
    pub names: Vec<Names>,
}

impl Schema {
    /// The JSON text that the segment carries.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("invariant: a schema is plain data")
    }

    /// The schema of a segment's JSON text.
    ///
    /// # Errors
    /// What is wrong with the text, with line and column; or the field that lies outside its record, is of no
    /// known size or contradicts another.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        let schema: Self = serde_json::from_str(text)?;
        let records = schema.windows.iter().map(|window| &window.row);
        for record in records.chain([&schema.frame]) {
            record.check().map_err(serde_json::Error::custom)?;
        }
        Ok(schema)
    }

    /// FNV-1a of the JSON text: equal ids mean equal bytes mean equal fields.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.to_json().bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    /// The value names of an enumeration or bit set.
    #[must_use]
    pub fn names(&self, name: &str) -> Option<&[String]> {
        self.names.iter().find(|names| names.name == name).map(|names| names.values.as_slice())
    }
}

/// An element type that may stand in a record.
pub trait Scalar {
    /// As numpy writes it.
    const DTYPE: &'static str;
    /// Dimensions; empty for a scalar.
    const SHAPE: &'static [usize];
}

macro_rules! scalars {
    ($($type:ty => $dtype:literal),* $(,)?) => {$(
        impl Scalar for $type {
            const DTYPE: &'static str = $dtype;
            const SHAPE: &'static [usize] = &[];
        }
        impl<const N: usize> Scalar for [$type; N] {
            const DTYPE: &'static str = $dtype;
            const SHAPE: &'static [usize] = &[N];
        }
        impl<const N: usize, const M: usize> Scalar for [[$type; M]; N] {
            const DTYPE: &'static str = $dtype;
            const SHAPE: &'static [usize] = &[N, M];
        }
    )*};
}
scalars! { u8 => "|u1", u32 => "<u4", u64 => "<u8", i64 => "<i8", f32 => "<f4", f64 => "<f8" }

/// A plain struct whose fields are described; made by [`record!`](crate::record).
pub trait Record: bytemuck::Pod {
    /// Name, dtype, shape, offset and unit of each field.
    const FIELDS: &'static [FieldDef];

    /// The fields with their names behind `prefix` and their offsets behind `base_offset`.
    fn describe(prefix: &str, base_offset: usize) -> Vec<Field> {
        Self::FIELDS
            .iter()
            .map(|def| Field {
                name: format!("{prefix}{}", def.name),
                dtype: def.dtype.to_owned(),
                shape: def.shape.to_vec(),
                offset: base_offset + def.offset,
                unit: def.unit.to_owned(),
            })
            .collect()
    }

    /// The record as words.
    fn to_words(&self) -> Vec<u64> {
        bytemuck::pod_collect_to_vec(std::slice::from_ref(self))
    }

    /// The schema of the record alone.
    #[must_use]
    fn schema() -> RecordSchema {
        RecordSchema { size_bytes: size_of::<Self>(), fields: Self::describe("", 0) }
    }
}

/// A field as the struct has it.
#[derive(Debug, Clone, Copy)]
pub struct FieldDef {
    /// The field's name.
    pub name: &'static str,
    /// As numpy writes it.
    pub dtype: &'static str,
    /// Dimensions.
    pub shape: &'static [usize],
    /// Bytes from the start of the record.
    pub offset: usize,
    /// See [`Field::unit`].
    pub unit: &'static str,
}

/// Declares a `#[repr(C)]` plain struct and its [`Record`] description in one place.
///
/// Each field is `name: type = "unit"`; `pad N` behind the struct fills up to the alignment, undescribed.
/// The size must be a multiple of 8 and free of hidden padding (`bytemuck` checks that).
#[macro_export]
macro_rules! record {
    (
        $(#[$doc:meta])*
        pub struct $name:ident {
            $( $(#[$field_doc:meta])* $field:ident : $type:ty = $unit:literal, )*
        }
        $( pad $pad_bytes:literal )?
    ) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Debug, Clone, Copy, ::bytemuck::Pod, ::bytemuck::Zeroable)]
        pub struct $name {
            $( $(#[$field_doc])* pub $field: $type, )*
            $( #[doc(hidden)] pub pad: [u8; $pad_bytes], )?
        }

        impl $crate::Record for $name {
            const FIELDS: &'static [$crate::FieldDef] = &[
                $( $crate::FieldDef {
                    name: stringify!($field),
                    dtype: <$type as $crate::Scalar>::DTYPE,
                    shape: <$type as $crate::Scalar>::SHAPE,
                    offset: ::core::mem::offset_of!($name, $field),
                    unit: $unit,
                }, )*
            ];
        }

        const _: () = assert!(::core::mem::size_of::<$name>().is_multiple_of(8));
    };
}
