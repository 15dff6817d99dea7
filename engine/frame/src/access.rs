//! Values out of a record's words, by the schema alone. Guarantees: a place that the words do not have is "unknown",
//! never a read beside them. Needs: nothing of the layout that this program was built with, so that a reader
//! understands a writer of another time. Does not: look at shared memory; the words are a copy.

use crate::rows::UNDEF;
use crate::schema::{Field, RecordSchema, Schema};

impl Field {
    /// Bytes of an element, from the dtype: 8 for `<f8`.
    #[must_use]
    pub fn element_bytes(&self) -> usize {
        self.dtype.get(2..).and_then(|size| size.parse().ok()).unwrap_or(1)
    }

    /// Elements in all.
    #[must_use]
    pub fn element_count(&self) -> usize {
        self.shape.iter().product()
    }

    fn element<'a>(&self, words: &'a [u64], index: usize) -> Option<&'a [u8]> {
        let bytes: &[u8] = bytemuck::cast_slice(words);
        let size = self.element_bytes();
        if index >= self.element_count() {
            return None;
        }
        bytes.get(self.offset.checked_add(index * size)?..)?.get(..size)
    }

    /// Element `index` as an unsigned number; 0 where there is none or it is a float.
    #[must_use]
    pub fn unsigned(&self, words: &[u64], index: usize) -> u64 {
        if self.dtype.as_bytes().get(1) == Some(&b'f') {
            return 0;
        }
        self.element(words, index).filter(|bytes| bytes.len() <= 8).map_or(0, |bytes| {
            let mut wide = [0; 8];
            wide[..bytes.len()].copy_from_slice(bytes);
            u64::from_le_bytes(wide)
        })
    }

    /// Element `index` as a signed number; [`UNDEF`] where there is none.
    #[must_use]
    pub fn signed(&self, words: &[u64], index: usize) -> i64 {
        match (self.dtype.as_str(), self.element(words, index)) {
            ("<i8", Some(bytes)) => bytes.try_into().map_or(UNDEF, i64::from_le_bytes),
            (_, Some(_)) => i64::try_from(self.unsigned(words, index)).unwrap_or(UNDEF),
            (_, None) => UNDEF,
        }
    }

    /// Element `index` as a float; NaN where it is unknown (times, update ids) or there is none.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "models take floats; exact values have their own accessors"
    )]
    pub fn float(&self, words: &[u64], index: usize) -> f64 {
        let Some(bytes) = self.element(words, index) else { return f64::NAN };
        match self.dtype.as_str() {
            "<f8" => bytes.try_into().map_or(f64::NAN, f64::from_le_bytes),
            "<f4" => bytes.try_into().map_or(f64::NAN, |four| f32::from_le_bytes(four).into()),
            "<i8" => match self.signed(words, index) {
                UNDEF => f64::NAN,
                value => value as f64,
            },
            _ => match self.unsigned(words, index) {
                0 if self.unit == "update_id" => f64::NAN,
                value => value as f64,
            },
        }
    }

    /// The name of an enumeration's value; None where the schema has none for it.
    #[must_use]
    pub fn name_in<'a>(&self, schema: &'a Schema, words: &[u64]) -> Option<&'a str> {
        let names = schema.names(self.unit.strip_prefix("enum:")?)?;
        names.get(usize::try_from(self.unsigned(words, 0)).ok()?).map(String::as_str)
    }

    /// The names of the bits that are set.
    #[must_use]
    pub fn bit_names<'a>(&self, schema: &'a Schema, words: &[u64]) -> Vec<&'a str> {
        let names = self.unit.strip_prefix("bits:").and_then(|name| schema.names(name));
        let set = self.unsigned(words, 0);
        let names = names.unwrap_or_default().iter().zip(0..u64::BITS);
        names.filter(|(_, bit)| set >> bit & 1 == 1).map(|(name, _)| name.as_str()).collect()
    }
}

impl RecordSchema {
    /// A scalar as a float; NaN where it is unknown or the schema lacks it.
    #[must_use]
    pub fn float(&self, words: &[u64], name: &str) -> f64 {
        self.field(name).map_or(f64::NAN, |field| field.float(words, 0))
    }
}

impl Schema {
    /// The window of that name.
    #[must_use]
    pub fn window(&self, name: &str) -> Option<&crate::WindowSchema> {
        self.windows.iter().find(|window| window.name == name)
    }

    /// A frame's cursor of a window: (done, revision); None where the frame has none.
    #[must_use]
    pub fn cursor(&self, frame: &[u64], window: &str) -> Option<crate::Cursor> {
        let field = self.frame.field(&format!("cursors.{window}"))?;
        Some([field.unsigned(frame, 0), field.unsigned(frame, 1)].into())
    }

    /// Rows at the window's end without a hole, as the frame counts them; the rows appended where it does not.
    #[must_use]
    pub fn valid_rows(&self, frame: &[u64], window: &str) -> Option<u64> {
        match self.frame.field(&format!("quality.valid_rows.{window}")) {
            Some(field) => Some(field.unsigned(frame, 0)),
            None => self.cursor(frame, window).map(|cursor| cursor.done),
        }
    }
}
