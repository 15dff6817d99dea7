use std::fmt::Debug;
use std::path::{Path, PathBuf};

use cobring_types::{Input, InputKind};

use super::checkpoint::{Checkpoint, LogStart};
use super::error::LogError;
use super::file::open_stored;
use super::header::LogHeader;
use super::records::{Found, Records};

/// Where a file ends in the middle of a record. All before it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The file.
    pub path: PathBuf,
    /// First byte that is no whole record, decompressed.
    pub offset: u64,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// The inputs of a run, from one or several of its log files.
///
/// Files are put in the order of their first input; they must be of one run and leave no hole but those
/// that a `LogLost` owns up to. A file that is not the first may be torn in its header: it counts as
/// empty.
#[derive(Debug)]
pub struct LogReader {
    /// In order; the last ones may lack a header.
    files: Vec<Listed>,
    file_index: usize,
    records: Records,
    start: LogStart,
    next_seq: u64,
    /// Size of the record that was given last and is still to be consumed.
    given_bytes: usize,
    lost: u64,
    torn: Vec<Torn>,
}

#[derive(Debug)]
struct Listed {
    path: PathBuf,
    header: LogHeader,
}

impl LogReader {
    /// # Errors
    /// Where there is no file, one cannot be read, is no log of this version, is damaged in its header
    /// or checkpoint, or the files are not of one run.
    pub fn open<P: AsRef<Path>>(paths: &[P]) -> Result<Self, LogError> {
        let mut files = Vec::new();
        let mut torn = Vec::new();
        let mut short = None;
        for path in paths {
            let path = path.as_ref();
            let mut source = open_stored(path)?;
            match LogHeader::read(&mut source) {
                Ok(header) => files.push(Listed { path: path.to_owned(), header }),
                Err(error @ LogError::Short { .. }) => {
                    let offset = source.offset();
                    torn.push(Torn { path: path.to_owned(), offset, reason: "its header is cut" });
                    short.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        files.sort_by_key(|file| file.header.first_input_seq);
        let Some(first) = files.first() else {
            return Err(short.unwrap_or(LogError::NoFiles));
        };
        for file in &files[1..] {
            check_same_run(first, file)?;
        }
        let (records, _, start) = Records::open(&first.path)?;
        Ok(Self {
            next_seq: first.header.first_input_seq,
            files,
            file_index: 0,
            records,
            start,
            given_bytes: 0,
            lost: 0,
            torn,
        })
    }

    /// The next input; `None` at the end, be it whole or torn.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Hole`], [`LogError::Kind`], or what [`Self::open`] says of a
    /// further file. What came before is good; nothing comes after.
    #[expect(clippy::should_implement_trait, reason = "an input borrows from the reader")]
    pub fn next(&mut self) -> Result<Option<Input<'_>>, LogError> {
        let (bytes, kind) = loop {
            self.records.consume(std::mem::take(&mut self.given_bytes));
            match self.records.look(self.next_seq)? {
                Found::Record { bytes, kind, input_seq } => {
                    self.check_seq(kind, input_seq)?;
                    break (bytes, kind);
                }
                Found::UnknownKind { number, .. } => {
                    let (path, offset) = self.records.place();
                    return Err(LogError::Kind { path, offset, found: number });
                }
                Found::Damaged { reason, resume_offset } => {
                    let (path, offset) = self.records.place();
                    let expected_seq = self.next_seq;
                    return Err(LogError::Corrupt {
                        path,
                        offset,
                        reason,
                        expected_seq,
                        resume_offset,
                    });
                }
                Found::End => {}
                Found::Torn(reason) => {
                    let (path, offset) = self.records.place();
                    let torn = Torn { path, offset, reason };
                    if self.torn.last() != Some(&torn) {
                        self.torn.push(torn);
                    }
                }
            }
            if !self.next_file()? {
                return Ok(None);
            }
        };
        self.given_bytes = bytes;
        Ok(Some(self.records.input(bytes, kind)))
    }

    /// The header of the file that the last input is from.
    #[must_use]
    pub fn header(&self) -> &LogHeader {
        &self.files[self.file_index].header
    }

    /// That file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.files[self.file_index].path
    }

    /// Its place among the files that were given, in order.
    #[must_use]
    pub fn file_index(&self) -> usize {
        self.file_index
    }

    /// What that file begins with.
    #[must_use]
    pub fn start(&self) -> &LogStart {
        &self.start
    }

    /// The fold's state that that file begins with, if it has one.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&[u8]> {
        self.start.checkpoint().map(|checkpoint| &checkpoint.state[..])
    }

    /// A part of that checkpoint.
    #[must_use]
    pub fn checkpoint_blob(&self, name: &str) -> Option<&[u8]> {
        self.start.checkpoint().and_then(|checkpoint| Checkpoint::blob(checkpoint, name))
    }

    /// Inputs that the log owns up to not holding, so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Torn ends met so far; a file that is cut between two records has none.
    #[must_use]
    pub fn torn(&self) -> &[Torn] {
        &self.torn
    }

    /// Bytes read of the current file and its size, both as stored.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        self.records.source().progress()
    }

    fn next_file(&mut self) -> Result<bool, LogError> {
        let Some(file) = self.files.get(self.file_index + 1) else {
            return Ok(false);
        };
        match Records::open(&file.path) {
            Ok((records, _, start)) => {
                self.records = records;
                self.start = start;
                self.file_index += 1;
                Ok(true)
            }
            Err(LogError::Short { path, found, part: _ }) => {
                let reason = "its checkpoint is cut";
                self.torn.push(Torn { path, offset: found, reason });
                let cut = self.file_index + 1;
                self.files.remove(cut);
                self.next_file()
            }
            Err(error) => Err(error),
        }
    }

    fn check_seq(&mut self, kind: InputKind, found: u64) -> Result<(), LogError> {
        let expected = self.next_seq;
        if found != expected {
            if found < expected || kind != InputKind::LogLost {
                return Err(LogError::Hole { path: self.path().to_owned(), expected, found });
            }
            self.lost += found - expected;
        }
        self.next_seq = found + 1;
        Ok(())
    }
}

fn check_same_run(first: &Listed, file: &Listed) -> Result<(), LogError> {
    fn check<T: Debug + PartialEq>(
        first: &Listed,
        file: &Listed,
        what: &'static str,
        field: impl Fn(&LogHeader) -> &T,
    ) -> Result<(), LogError> {
        if field(&first.header) == field(&file.header) {
            return Ok(());
        }
        Err(LogError::Mixed {
            path: file.path.clone(),
            first: first.path.clone(),
            what,
            found: format!("{:?}", field(&file.header)),
            wanted: format!("{:?}", field(&first.header)),
        })
    }
    check(first, file, "epoch", |header| &header.epoch)?;
    check(first, file, "configuration digest", |header| &header.config_digest)?;
    check(first, file, "symbols", |header| &header.symbols)
}
