//! Why bytes are no JSON that we read, and where that shows.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use thiserror::Error;

use crate::parser::{MAX_DEPTH, MAX_MESSAGE_SIZE_BYTES};

/// Why bytes were refused. Offsets count bytes from the start of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum JsonError {
    /// Not JSON, or a number beyond 64 bits; `offset` is the byte where that shows, the length of
    /// the message where it ends too early.
    #[error("no JSON from byte {offset} on")]
    Syntax {
        /// Where.
        offset: usize,
    },
    /// More arrays and objects inside each other than [`MAX_DEPTH`].
    #[error("more than {MAX_DEPTH} levels deep at byte {offset}")]
    TooDeep {
        /// Where the first level too many opens.
        offset: usize,
    },
    /// More bytes than [`MAX_MESSAGE_SIZE_BYTES`].
    #[error("{size_bytes} bytes, the limit is {MAX_MESSAGE_SIZE_BYTES}")]
    TooLarge {
        /// Bytes of the message.
        size_bytes: usize,
    },
}

impl JsonError {
    /// Where the message stops making sense.
    #[must_use]
    pub const fn offset(self) -> usize {
        match self {
            Self::Syntax { offset } | Self::TooDeep { offset } => offset,
            Self::TooLarge { .. } => MAX_MESSAGE_SIZE_BYTES,
        }
    }
}

/// Finds the offset of an error that simd-json found: its own index is not the error's.
#[cold]
pub(crate) fn locate(bytes: &[u8]) -> JsonError {
    if let Err(error) = std::str::from_utf8(bytes) {
        return JsonError::Syntax { offset: error.valid_up_to() };
    }
    let depth_offset = first_too_deep(bytes);
    // The recursion limit of serde_json lies above MAX_DEPTH, so it never ends this parse first.
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let parsed = deserializer.deserialize_any(Visit).and_then(|()| deserializer.end());
    let syntax_offset = match parsed {
        Err(error) if error.is_eof() => Some(bytes.len()),
        Err(error) => Some(offset_of_line_column(bytes, error.line(), error.column())),
        Ok(()) => first_wide_number(bytes),
    };
    match (depth_offset, syntax_offset) {
        (Some(depth), Some(syntax)) if depth <= syntax => JsonError::TooDeep { offset: depth },
        (Some(depth), None) => JsonError::TooDeep { offset: depth },
        (_, Some(syntax)) => JsonError::Syntax { offset: syntax },
        (None, None) => JsonError::Syntax { offset: 0 },
    }
}

/// serde_json counts lines from 1 and, in the columns of an error, the bytes read of its line.
fn offset_of_line_column(bytes: &[u8], line: usize, column: usize) -> usize {
    let line_start = match line.checked_sub(2) {
        None => 0,
        Some(nth) => {
            let mut line_ends = bytes.iter().enumerate().filter(|&(_, &byte)| byte == b'\n');
            line_ends.nth(nth).map_or(bytes.len(), |(at, _)| at + 1)
        }
    };
    (line_start + column.saturating_sub(1)).min(bytes.len())
}

/// Positions of the bytes outside strings.
fn outside_strings(bytes: &[u8]) -> impl Iterator<Item = (usize, u8)> {
    let (mut in_string, mut escaped) = (false, false);
    bytes.iter().copied().enumerate().filter(move |&(_, byte)| {
        if !in_string {
            in_string = byte == b'"';
            return !in_string;
        }
        if escaped {
            escaped = false;
        } else {
            escaped = byte == b'\\';
            in_string = byte != b'"';
        }
        false
    })
}

fn first_too_deep(bytes: &[u8]) -> Option<usize> {
    let mut depth = 0usize;
    for (at, byte) in outside_strings(bytes) {
        match byte {
            b'{' | b'[' if depth == MAX_DEPTH => return Some(at),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// The first integer of JSON beyond 64 bits, which serde_json reads as a float and simd-json refuses.
fn first_wide_number(bytes: &[u8]) -> Option<usize> {
    let is_part =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
    let mut previous_part_at = None;
    for (at, byte) in outside_strings(bytes) {
        if !is_part(byte) {
            continue;
        }
        let begins = previous_part_at.is_none_or(|previous| previous + 1 != at);
        previous_part_at = Some(at);
        if !begins || !(byte.is_ascii_digit() || byte == b'-') {
            continue;
        }
        let length = bytes[at..].iter().take_while(|&&byte| is_part(byte)).count();
        let text = std::str::from_utf8(&bytes[at..at + length]).unwrap_or_default();
        let fits = text.parse::<u64>().is_ok() || text.parse::<i64>().is_ok();
        if !fits && !text.contains(['.', 'e', 'E']) {
            return Some(at);
        }
    }
    None
}

/// Reads every value and keeps none. `IgnoredAny` would pass over escapes and numbers unchecked.
struct Visit;

impl<'de> DeserializeSeed<'de> for Visit {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Visit {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while elements.next_element_seed(Visit)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while fields.next_key_seed(Visit)?.is_some() {
            fields.next_value_seed(Visit)?;
        }
        Ok(())
    }
}
