//! JSON of market-data messages: a tape in reused buffers, a cursor over it, exact error offsets; and, beside it, a
//! scanner of the hot shapes with vector kernels.
//!
//! Guarantees: no bytes panic; no allocation once a message as large and as dense was seen
//! ([`Parser::with_capacity`] grows the buffers ahead); depth and size are bounded; every value and
//! every error knows its byte offset in the message. Does not: know any venue's shapes, read numbers
//! from text (`cobring_types` does), keep anything from one message to the next.
//!
//! Unsafe code is in the scanner alone: loads and stores whose bounds stand beside them.

mod document;
mod error;
mod parser;
#[allow(unsafe_code, reason = "loads and stores of whole vectors and words")]
pub mod scan;

pub use document::{Array, Document, Kind, Object, Value};
pub use error::JsonError;
pub use parser::{MAX_DEPTH, MAX_MESSAGE_SIZE_BYTES, Parser};
