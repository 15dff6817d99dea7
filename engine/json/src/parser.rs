//! The general parser: simd-json's tape in buffers that are kept.

use std::fmt;
use std::mem;

use simd_json::{Buffers, INPUT_PADDING, Tape, fill_tape_padded};

use crate::document::Document;
use crate::error::{JsonError, locate};

/// Longest message that is read: a whole `exchangeInfo` fits, a runaway stream does not.
pub const MAX_MESSAGE_SIZE_BYTES: usize = 8 << 20;
/// Deepest nesting that is read; venues use at most 6.
pub const MAX_DEPTH: usize = 64;

/// Buffers grown by a message beyond this are given back at the next one: a dense message of 8 MB
/// takes 24 bytes of tape for each of its bytes.
const KEPT_MESSAGE_SIZE_BYTES: usize = 1 << 20;

/// Parses one message after the other in buffers that it keeps.
pub struct Parser {
    /// The message and [`INPUT_PADDING`] bytes after it. simd-json unescapes strings in place, so
    /// the caller's bytes stay as they came.
    scratch: Vec<u8>,
    buffers: Buffers,
    /// Empty between two messages; only its allocation is kept.
    tape: Tape<'static>,
}

impl Parser {
    /// A parser warm for messages of order-book levels up to `message_size_bytes`.
    #[must_use]
    pub fn with_capacity(message_size_bytes: usize) -> Self {
        let message_size_bytes = message_size_bytes.min(KEPT_MESSAGE_SIZE_BYTES);
        let mut parser = Self {
            scratch: Vec::with_capacity(message_size_bytes + INPUT_PADDING),
            buffers: Buffers::with_max_depth(message_size_bytes, MAX_DEPTH),
            tape: Tape(Vec::new()),
        };
        // So that tape and structural indexes have their sizes too. The densest real shape, `["1.0","1.0"],`, has three values in
        // 14 bytes and eight marks: a list of so many numbers, which are quicker to read, has more of both.
        let mut dense = Vec::with_capacity(message_size_bytes);
        dense.extend_from_slice(b"[0");
        while dense.len() < message_size_bytes / 14 * 9 {
            dense.extend_from_slice(b",0");
        }
        dense.push(b']');
        let warmed = parser.parse(&dense).is_ok();
        debug_assert!(warmed, "the parser refused its own warm-up message");
        parser
    }

    /// Parses one message; the document borrows the parser until it is dropped.
    ///
    /// # Errors
    /// [`JsonError`] with the byte offset where the bytes are no JSON or go beyond a limit.
    pub fn parse<'a>(&'a mut self, bytes: &'a [u8]) -> Result<Document<'a>, JsonError> {
        if bytes.len() > MAX_MESSAGE_SIZE_BYTES {
            return Err(JsonError::TooLarge { size_bytes: bytes.len() });
        }
        if self.scratch.capacity() > 2 * (KEPT_MESSAGE_SIZE_BYTES + INPUT_PADDING) {
            *self = Self::with_capacity(KEPT_MESSAGE_SIZE_BYTES);
        }
        self.scratch.clear();
        self.scratch.extend_from_slice(bytes);
        self.scratch.resize(bytes.len() + INPUT_PADDING, b' ');

        let mut tape = mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        match fill_tape_padded(&mut self.scratch, bytes.len(), &mut self.buffers, &mut tape) {
            Ok(()) => {
                Ok(Document::new(bytes, self.buffers.structural_indexes(), tape, &mut self.tape))
            }
            Err(_) => {
                self.tape = tape.reset();
                Err(locate(bytes))
            }
        }
    }
}

impl fmt::Debug for Parser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parser")
            .field("scratch_capacity_bytes", &self.scratch.capacity())
            .field("tape_capacity", &self.tape.0.capacity())
            .finish_non_exhaustive()
    }
}
