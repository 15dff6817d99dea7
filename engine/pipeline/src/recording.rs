//! Recordings: lines `<receive ns> <raw message>`, plain, gzip or zstd, merged by time over several
//! files.
//!
//! Guarantees: lines in the order of time, then of the files as given, then as in the file; stamps that
//! never decrease; a snapshot line has the symbol that it belongs to, or is refused; no allocation a
//! line. Does not: look into messages beyond the stream's name, number inputs, hold a file in memory.

mod lines;
mod symbols;

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use cobring_types::{Input, InputKind, Nanos, Stamp, SymbolIndex};
use thiserror::Error;

use self::lines::Lines;
use self::symbols::{Class, Symbols, classify};
use crate::log::is_log_file;
use crate::source::Source;

/// The longest line.
pub const LINE_BYTES_MAX: usize = 16 << 20;

/// How much of a file is looked through when it is opened, for its symbol and for what is refused.
const LOOK_AHEAD_BYTES: u64 = 128 << 10;

/// Why a recording cannot be read.
#[derive(Debug, Error)]
pub enum RecordingError {
    /// Nothing to read was given.
    #[error("no recordings were given")]
    NoFiles,
    /// The system refused, or a compressed file is damaged.
    #[error("{}: cannot be read after line {line_number}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Lines read before.
        line_number: u64,
        /// The system's or the decompressor's word.
        source: io::Error,
    },
    /// Our own log.
    #[error("{}: is a cobring log, wanted a recording of lines `<receive ns> <raw message>`", path.display())]
    Log {
        /// The file.
        path: PathBuf,
    },
    /// A line that is none.
    #[error("{}:{line_number}: {found}, wanted `<receive ns> <raw message>`", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line_number: u64,
        /// What is wrong with it.
        found: &'static str,
    },
    /// A snapshot that cannot be assigned.
    #[error(
        "{}:{line_number}: a depth snapshot has no symbol of its own, wanted a combined-stream message \
         in the file to give it one",
        path.display()
    )]
    NoSymbol {
        /// The file.
        path: PathBuf,
        /// Of the snapshot, from 1.
        line_number: u64,
    },
    /// Several symbols and a snapshot.
    #[error(
        "{}: holds a depth snapshot (line {snapshot_line}) and messages of {first} and {second} \
         (line {second_line}): the snapshot could be of either, wanted one symbol in a file with snapshots",
        path.display()
    )]
    SeveralSymbols {
        /// The file.
        path: PathBuf,
        /// A snapshot's line, from 1.
        snapshot_line: u64,
        /// The first message's symbol.
        first: String,
        /// Another message's.
        second: String,
        /// That message's line, from 1.
        second_line: u64,
    },
}

/// One line. What it borrows is good until the next one is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its stamp, raised to that of the line before where it is smaller.
    pub ts_recv: Nanos,
    /// The message.
    pub bytes: &'a [u8],
    /// Index of its file among those given.
    pub file: usize,
    /// In its file, from 1.
    pub line_number: u64,
    /// Whether it is the body of a REST depth reply.
    pub snapshot: bool,
    /// Whose it is, in capitals: by the stream's name, or where it is a snapshot, by its file. None
    /// where it is nobody's.
    pub symbol: Option<&'a str>,
}

impl<'a> Line<'a> {
    /// The input that it was, numbered `input_seq`: `symbol` is for a snapshot, any other line gets
    /// none.
    #[must_use]
    pub fn input(&self, input_seq: u64, symbol: SymbolIndex) -> Input<'a> {
        let (kind, symbol) = if self.snapshot {
            (InputKind::RestDepth, symbol)
        } else {
            (InputKind::Text, SymbolIndex::NONE)
        };
        Input {
            stamp: Stamp {
                input_seq,
                ts_recv: self.ts_recv,
                ts_kernel: Nanos::UNDEF,
                ts_parsed: Nanos::UNDEF,
            },
            kind,
            symbol,
            connection: 0,
            aux: 0,
            ts_aux: Nanos::UNDEF,
            bytes: self.bytes,
        }
    }
}

/// One or several recordings as one.
#[derive(Debug)]
pub struct Recording {
    files: Vec<RecordingFile>,
    /// The file whose line was given last: it moves on with the next call.
    given: Option<usize>,
    ts_last: Nanos,
}

impl Recording {
    /// # Errors
    /// Where no file is given, one cannot be read, is a log of our own, or shows in its beginning that
    /// it is to be refused.
    pub fn open<P: AsRef<Path>>(paths: &[P]) -> Result<Self, RecordingError> {
        if paths.is_empty() {
            return Err(RecordingError::NoFiles);
        }
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let mut file = RecordingFile::open(path.as_ref())?;
            file.advance()?;
            files.push(file);
        }
        Ok(Self { files, given: None, ts_last: Nanos(i64::MIN) })
    }

    /// The next line; `None` at the end of all files.
    ///
    /// # Errors
    /// For a line that is none, a snapshot that cannot be assigned, or a file that cannot be read on.
    /// Nothing comes after.
    #[expect(clippy::should_implement_trait, reason = "a line borrows from the recording")]
    pub fn next(&mut self) -> Result<Option<Line<'_>>, RecordingError> {
        if let Some(index) = self.given.take() {
            self.files[index].advance()?;
        }
        let heads = self.files.iter().enumerate();
        let first =
            heads.filter_map(|(index, file)| Some((file.head.as_ref()?.ts_recv, index))).min();
        let Some((ts_recv, index)) = first else {
            return Ok(None);
        };
        self.given = Some(index);
        self.ts_last = self.ts_last.max(ts_recv);
        let file = &self.files[index];
        let head = file.head.as_ref().expect("invariant: it has the smallest stamp");
        let available = file.lines.source.available();
        Ok(Some(Line {
            ts_recv: self.ts_last,
            bytes: &available[head.message.clone()],
            file: index,
            line_number: file.lines.line_number,
            snapshot: head.snapshot,
            symbol: head.symbol.map(|index| &file.symbols.known[index].capitals[..]),
        }))
    }

    /// The symbols that occur, in capitals. A file with a snapshot has one, which was seen when it was opened; any other is
    /// read through.
    ///
    /// # Errors
    /// Where such a file cannot be read to its end.
    pub fn symbols(&self) -> Result<BTreeSet<String>, RecordingError> {
        let mut symbols = BTreeSet::new();
        for file in &self.files {
            let path = file.lines.source.path();
            let whole = if file.symbols.is_of_one() {
                None
            } else {
                Some(read_through(RecordingFile::open(path)?)?)
            };
            let known = &whole.as_ref().unwrap_or(&file.symbols).known;
            symbols.extend(known.iter().map(|known| known.capitals.clone()));
        }
        Ok(symbols)
    }

    /// The files as given.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.lines.source.path())
    }

    /// Bytes read and sizes of all files, as stored.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        let each = self.files.iter().map(|file| file.lines.source.progress());
        each.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }
}

#[derive(Debug)]
struct RecordingFile {
    lines: Lines,
    symbols: Symbols,
    /// The current line; none before the first and after the last.
    head: Option<Head>,
}

#[derive(Debug)]
struct Head {
    ts_recv: Nanos,
    /// In the source's available bytes.
    message: Range<usize>,
    snapshot: bool,
    /// Index of its symbol among those known of the file.
    symbol: Option<usize>,
}

impl RecordingFile {
    fn open(path: &Path) -> Result<Self, RecordingError> {
        let read = |source| RecordingError::Read { path: path.to_owned(), line_number: 0, source };
        // What cannot be read is told below.
        if is_log_file(path).unwrap_or(false) {
            return Err(RecordingError::Log { path: path.to_owned() });
        }
        let mut lines = Lines::new(Source::open_held(path).map_err(read)?);
        let symbols = look_ahead(&mut lines)?;
        if !lines.rewind() {
            lines = Lines::new(Source::open(path).map_err(read)?);
        }
        Ok(Self { lines, symbols, head: None })
    }

    fn advance(&mut self) -> Result<(), RecordingError> {
        self.head = None;
        let Some((ts_recv, message)) = self.lines.advance()? else {
            return Ok(());
        };
        let path = self.lines.source.path();
        let line_number = self.lines.line_number;
        let class = classify(&self.lines.source.available()[message.clone()]);
        let symbol = self.symbols.observe(&class, path, line_number)?;
        let snapshot = class == Class::Snapshot;
        if snapshot && symbol.is_none() {
            return Err(RecordingError::NoSymbol { path: path.to_owned(), line_number });
        }
        self.head = Some(Head { ts_recv, message, snapshot, symbol });
        Ok(())
    }
}

/// Whose messages it holds up to its end.
fn read_through(mut file: RecordingFile) -> Result<Symbols, RecordingError> {
    loop {
        file.advance()?;
        if file.head.is_none() {
            return Ok(file.symbols);
        }
    }
}

/// Reads a file's beginning for the symbol of its first combined message, on to its end if that is not
/// there yet.
fn look_ahead(lines: &mut Lines) -> Result<Symbols, RecordingError> {
    let mut symbols = Symbols::default();
    loop {
        match lines.advance() {
            Ok(Some((_, message))) => {
                let class = classify(&lines.source.available()[message]);
                symbols.observe(&class, lines.source.path(), lines.line_number)?;
            }
            Ok(None) => return Ok(symbols),
            // A line that is none is told of in its turn, by who reads the file anew.
            Err(_) => {
                lines.source.let_go();
                return Ok(symbols);
            }
        }
        if lines.source.offset() > LOOK_AHEAD_BYTES {
            if !symbols.known.is_empty() {
                return Ok(symbols);
            }
            // That far it is not kept in memory.
            lines.source.let_go();
        }
    }
}

#[cfg(test)]
mod tests;
