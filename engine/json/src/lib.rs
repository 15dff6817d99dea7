//! JSON of market-data messages: a tape in reused buffers, a cursor over it, exact error offsets.
//!
//! Guarantees: no bytes panic; no allocation once a message as large and as dense was seen
//! ([`Parser::with_capacity`] grows the buffers ahead); depth and size are bounded; every value and
//! every error knows its byte offset in the message. Does not: know any venue's shapes, read numbers
//! from text (`cobring_types` does), keep anything from one message to the next.
//!
//! A scanner of known shapes will stand beside [`Parser`] in a module of its own; until then the
//! crate needs no unsafe code.
#![forbid(unsafe_code)]

mod document;
mod error;
mod parser;

pub use document::{Array, Document, Kind, Object, Value};
pub use error::JsonError;
pub use parser::{MAX_DEPTH, MAX_MESSAGE_SIZE_BYTES, Parser};
