//! The records of one file, one after the other: whole, damaged, torn, or at their end.
//!
//! Guarantees: what is given is intact; a bad record is told from a torn tail by what follows it. Does not: mind the
//! numbering, know other files.

use std::io;
use std::path::{Path, PathBuf};

use cobring_types::{Input, InputKind};

use super::checkpoint::LogStart;
use super::error::LogError;
use super::file::open_stored;
use super::header::LogHeader;
use super::record::{self, ALIGN_BYTES, HEAD_BYTES, Size};
use crate::source::Source;

/// How far behind a bad record a good one is looked for, to tell damage from a torn tail.
const RESUME_SCAN_BYTES: usize = 32 << 20;
/// How much of that is checksummed: each byte of a hostile file could claim to begin a large record.
const RESUME_CHECKSUM_BYTES: usize = 256 << 20;

/// What is at the current place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// An intact record.
    Record { bytes: usize, kind: InputKind, input_seq: u64 },
    /// An intact record of a kind that this version does not know.
    UnknownKind { bytes: usize, number: u8, input_seq: u64 },
    /// A bad record, with good ones from that offset on.
    Damaged { reason: &'static str, resume_offset: u64 },
    /// A bad record, and nothing good behind it.
    Torn(&'static str),
    /// Nothing more.
    End,
}

/// A file behind its header and checkpoint.
#[derive(Debug)]
pub(super) struct Records {
    source: Source,
}

impl Records {
    /// Opens a file at its first record.
    pub(super) fn open(path: &Path) -> Result<(Self, LogHeader, LogStart), LogError> {
        let mut source = open_stored(path)?;
        let header = LogHeader::read(&mut source)?;
        let start = LogStart::read(&mut source)?;
        Ok((Self { source }, header, start))
    }

    /// The file and the offset here, decompressed.
    pub(super) fn place(&self) -> (PathBuf, u64) {
        (self.source.path().to_owned(), self.source.offset())
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// Goes on behind so many bytes.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.source.consume(bytes);
    }

    /// The input of the intact record here.
    pub(super) fn input(&self, bytes: usize, kind: InputKind) -> Input<'_> {
        record::decode(&self.source.available()[..bytes], kind)
    }

    /// Looks at what is here. A record behind a bad one counts as good from `next_seq` on.
    pub(super) fn look(&mut self, next_seq: u64) -> Result<Found, LogError> {
        match self.fill(HEAD_BYTES)? {
            Filled::Yes => {}
            Filled::Cut => return Ok(Found::Torn("its compressed data end early")),
            Filled::End if self.source.available().is_empty() => return Ok(Found::End),
            Filled::End => return Ok(Found::Torn("it ends inside a record's head")),
        }
        let bytes = match record::size(self.source.available()) {
            Size::Bytes(bytes) => bytes,
            Size::Bad(reason) => return self.bad(reason, next_seq),
        };
        if self.fill(bytes)? != Filled::Yes {
            return self.bad("it ends inside a record", next_seq);
        }
        let record = &self.source.available()[..bytes];
        if !record::is_intact(record) {
            return self.bad("its checksum does not match", next_seq);
        }
        let number = record::kind_number(record);
        let input_seq = record::input_seq(record);
        Ok(match InputKind::from_u8(number) {
            Some(kind) => Found::Record { bytes, kind, input_seq },
            None => Found::UnknownKind { bytes, number, input_seq },
        })
    }

    fn bad(&mut self, reason: &'static str, next_seq: u64) -> Result<Found, LogError> {
        Ok(match self.resume_offset(next_seq)? {
            None => Found::Torn(reason),
            Some(resume_offset) => Found::Damaged { reason, resume_offset },
        })
    }

    /// Makes `wanted` bytes available.
    fn fill(&mut self, wanted: usize) -> Result<Filled, LogError> {
        match self.source.fill(wanted) {
            Ok(true) => Ok(Filled::Yes),
            Ok(false) => Ok(Filled::End),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Filled::Cut),
            Err(error) => Err(LogError::io(self.source.path(), "be read", error)),
        }
    }

    /// Where, behind the bad record here, a good one begins.
    fn resume_offset(&mut self, next_seq: u64) -> Result<Option<u64>, LogError> {
        self.fill(RESUME_SCAN_BYTES)?;
        let available = self.source.available();
        let mut at = ALIGN_BYTES;
        let mut budget = RESUME_CHECKSUM_BYTES;
        while let Some(rest) = available.get(at..)
            && rest.len() >= HEAD_BYTES
        {
            if let Size::Bytes(bytes) = record::size(rest)
                && record::input_seq(rest) >= next_seq
                && let Some(record) = rest.get(..bytes)
            {
                if record::is_intact(record) {
                    return Ok(Some(self.source.offset() + at as u64));
                }
                let Some(left) = budget.checked_sub(bytes) else { break };
                budget = left;
            }
            at += ALIGN_BYTES;
        }
        Ok(None)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filled {
    Yes,
    End,
    /// The end of a compressed file that lacks its own.
    Cut,
}
