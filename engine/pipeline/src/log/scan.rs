//! A file read to its very end, whatever is wrong with it: for those who look after logs.
//!
//! Guarantees: every intact record is given with its place, every damaged stretch is told of. Does not: mind the
//! numbering, which is a matter of all files of a run.

use std::path::Path;

use cobring_types::Input;

use super::checkpoint::LogStart;
use super::error::LogError;
use super::header::LogHeader;
use super::records::{Found, Records};

/// A file, from its first record to its end.
#[derive(Debug)]
pub struct LogScan {
    records: Records,
    header: LogHeader,
    start: LogStart,
    /// Above the number of the last record given.
    next_seq: u64,
    /// Size of what was given last and is still to be passed.
    given_bytes: usize,
    ended: bool,
}

/// What comes next in a file.
#[derive(Debug)]
pub enum Scanned<'a> {
    /// An intact record.
    Input {
        /// Where it begins, decompressed.
        offset: u64,
        /// What it holds.
        input: Input<'a>,
    },
    /// An intact record of a kind that this version does not know.
    UnknownKind {
        /// Where it begins.
        offset: u64,
        /// The kind's number.
        number: u8,
        /// Its own.
        input_seq: u64,
    },
    /// No good record from here to `resume_offset`.
    Damaged {
        /// The first bad byte's record.
        offset: u64,
        /// What is wrong with it.
        reason: &'static str,
        /// Where good ones go on.
        resume_offset: u64,
    },
    /// No good record from here to the end.
    Torn {
        /// The first byte that is no whole record.
        offset: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl LogScan {
    /// # Errors
    /// As [`super::LogReader::open`], for this file alone.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let (records, header, start) = Records::open(path)?;
        let next_seq = header.first_input_seq;
        Ok(Self { records, header, start, next_seq, given_bytes: 0, ended: false })
    }

    /// What comes next; `None` at the end.
    ///
    /// # Errors
    /// [`LogError::Io`] where the system, or the decompressor, refuses to go on.
    #[expect(clippy::should_implement_trait, reason = "an input borrows from the scan")]
    pub fn next(&mut self) -> Result<Option<Scanned<'_>>, LogError> {
        self.records.consume(std::mem::take(&mut self.given_bytes));
        if self.ended {
            return Ok(None);
        }
        let offset = self.records.source().offset();
        Ok(Some(match self.records.look(self.next_seq)? {
            Found::Record { bytes, kind, input_seq } => {
                self.pass(bytes, input_seq);
                Scanned::Input { offset, input: self.records.input(bytes, kind) }
            }
            Found::UnknownKind { bytes, number, input_seq } => {
                self.pass(bytes, input_seq);
                Scanned::UnknownKind { offset, number, input_seq }
            }
            Found::Damaged { reason, resume_offset } => {
                self.given_bytes = usize::try_from(resume_offset - offset)
                    .expect("invariant: both are in the buffer");
                Scanned::Damaged { offset, reason, resume_offset }
            }
            Found::Torn(reason) => {
                self.ended = true;
                Scanned::Torn { offset, reason }
            }
            Found::End => {
                self.ended = true;
                return Ok(None);
            }
        }))
    }

    fn pass(&mut self, bytes: usize, input_seq: u64) {
        self.given_bytes = bytes;
        self.next_seq = input_seq.saturating_add(1);
    }

    /// The file's header.
    #[must_use]
    pub fn header(&self) -> &LogHeader {
        &self.header
    }

    /// What it begins with.
    #[must_use]
    pub fn start(&self) -> &LogStart {
        &self.start
    }

    /// Bytes passed so far, decompressed; at the end those of header, checkpoint and whole records.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.records.source().offset()
    }

    /// Bytes read and to read, as stored.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        self.records.source().progress()
    }
}
