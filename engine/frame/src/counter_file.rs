//! What the engine counts, for other processes: the file `engine.counters`.
//!
//! Guarantees: a counter is stored by one thread and read whole; counting costs a plain load and store, no
//! system call, and nobody who reads delays it; a file that was read has the layout that this version would
//! plan for its names, and the size for it. Needs: the directory's lock to make it. Does not: say what was
//! true at one instant; two counters may be an input apart.
//!
//! ```text
//! header page    0 magic | 8 version | 16 size | 24 epoch | 32 the engine's process | 40 made, ns UTC |
//!                48 bytes of the names
//! names          JSON text: tables with the names of their rows, counters and histograms
//! values         words: of each table, each row from a multiple of 128 bytes on; its counters, then each
//!                histogram's 3,840 cells and a word for negative spans
//! ```
//! Names and values begin at a page each. The engine keeps the whole file locked while it lives.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::dir::EngineDir;
use crate::error::FrameError;
use crate::histogram::{self, HISTOGRAM_WORDS, Histogram};
use crate::layout::PAGE_SIZE_BYTES;
use crate::lock;
use crate::segment::{Temporary, open};
use crate::sync::{Memory, MemoryMut};
use crate::words::{WORD_SIZE_BYTES, Words, WordsMut, index, utc_ns};

/// Name of the file in the engine's directory.
pub(crate) const COUNTERS_NAME: &str = "engine.counters";
const MAGIC: u64 = u64::from_le_bytes(*b"cobcount");
const VERSION: u64 = 1;

const SIZE: usize = 2;
const EPOCH: usize = 3;
const PID: usize = 4;
const MADE: usize = 5;
const NAMES_SIZE: usize = 6;
const HEADER_WORDS: usize = 7;

/// Names that a thousand symbols with all models need, many times over.
const NAMES_SIZE_BYTES_MAX: usize = 4 << 20;
/// A row has a writer of its own: two lines, since the prefetcher pulls lines in pairs.
const ROW_ALIGN_WORDS: usize = 16;

/// Counters of one kind: the same for each row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterTable {
    /// What counts: `ingest`, `symbol`, `model`, ….
    pub name: String,
    /// One name for each, as in `ETHUSDT`.
    pub rows: Vec<String>,
    /// Names of the counters.
    pub counters: Vec<String>,
    /// Names of the histograms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub histograms: Vec<String>,
}

impl CounterTable {
    fn row_words(&self) -> usize {
        (self.counters.len() + self.histograms.len() * HISTOGRAM_WORDS)
            .next_multiple_of(ROW_ALIGN_WORDS)
    }
}

/// Where the values lie that go by these names.
#[derive(Debug)]
struct Plan {
    /// First word of each table.
    tables_at: Vec<usize>,
    size_bytes: usize,
}

impl Plan {
    /// Names are bounded, so no sum comes near an overflow.
    fn new(tables: &[CounterTable], names_size_bytes: usize) -> Self {
        let mut at = (PAGE_SIZE_BYTES + names_size_bytes).next_multiple_of(PAGE_SIZE_BYTES)
            / WORD_SIZE_BYTES;
        let mut tables_at = Vec::with_capacity(tables.len());
        for table in tables {
            tables_at.push(at);
            at += table.rows.len() * table.row_words();
        }
        let size_bytes = (at * WORD_SIZE_BYTES).next_multiple_of(PAGE_SIZE_BYTES);
        Self { tables_at, size_bytes }
    }
}

/// A row's only writer.
#[derive(Debug)]
pub struct CounterRow {
    memory: WordsMut,
    at: usize,
    counters: usize,
    histograms: usize,
}

impl CounterRow {
    /// Stores all counters, in the order of their names.
    ///
    /// # Panics
    /// Where there are more values than names.
    #[inline]
    pub fn store(&mut self, values: impl IntoIterator<Item = u64>) {
        for (counter, value) in values.into_iter().enumerate() {
            self.store_one(counter, value);
        }
    }

    /// Stores one counter.
    ///
    /// # Panics
    /// Where there is no such counter.
    #[inline]
    pub fn store_one(&mut self, counter: usize, value: u64) {
        assert!(counter < self.counters, "counter {counter} of {}", self.counters);
        self.memory.store(self.at + counter, value);
    }

    /// Counts a span in a histogram.
    ///
    /// # Panics
    /// Where there is no such histogram.
    #[inline]
    pub fn record(&mut self, histogram: usize, span_ns: i64) {
        histogram::record(&self.memory, self.histogram_at(histogram), span_ns);
    }

    /// A histogram as it is now.
    ///
    /// # Panics
    /// Where there is no such histogram.
    #[must_use]
    pub fn histogram(&self, histogram: usize) -> Histogram {
        Histogram::read(&self.memory, self.histogram_at(histogram))
    }

    fn histogram_at(&self, histogram: usize) -> usize {
        assert!(histogram < self.histograms, "histogram {histogram} of {}", self.histograms);
        self.at + self.counters + histogram * HISTOGRAM_WORDS
    }
}

/// Makes the file of an engine, in place of any that is there, all values 0. Gives the rows of each table.
///
/// # Errors
/// [`FrameError::NoSpace`], or what the system refused.
///
/// # Panics
/// Where the names take more than 4 MiB.
pub fn create_counters(
    dir: &EngineDir,
    epoch: u64,
    tables: &[CounterTable],
) -> Result<Vec<Vec<CounterRow>>, FrameError> {
    let names = serde_json::to_vec(tables).expect("invariant: names are text");
    assert!(names.len() <= NAMES_SIZE_BYTES_MAX, "{} bytes of names", names.len());
    let plan = Plan::new(tables, names.len());
    let temporary = Temporary::make(dir.path(), COUNTERS_NAME, "", plan.size_bytes, 0o640)?;
    let path = temporary.path().to_owned();
    let failed = |action| {
        let path = &path;
        move |error| FrameError::io(path, action, error)
    };
    let file = Arc::new(temporary.file().try_clone().map_err(failed("open the file"))?);
    if !lock::try_lock(&file).map_err(failed("lock the file"))? {
        return Err(FrameError::Locked { dir: dir.path().to_owned(), pid: None });
    }
    let mut header = [0; HEADER_WORDS];
    header.copy_from_slice(&[
        MAGIC,
        VERSION,
        plan.size_bytes as u64,
        epoch,
        u64::from(std::process::id()),
        utc_ns().cast_unsigned(),
        names.len() as u64,
    ]);
    file.write_all_at(bytemuck::cast_slice(&header), 0)
        .and_then(|()| file.write_all_at(&names, PAGE_SIZE_BYTES as u64))
        .map_err(failed("write the names"))?;
    let held = vec![Arc::clone(dir.lock_file()), Arc::clone(&file)];
    let memory = WordsMut::map(&file, plan.size_bytes, held).map_err(failed("map the counters"))?;
    // None of its pages is to fault where it is counted.
    memory.touch();
    temporary.rename()?;
    let rows_of = |(table, at): (&CounterTable, &usize)| {
        let row = |row: usize| CounterRow {
            memory: memory.clone(),
            at: at + row * table.row_words(),
            counters: table.counters.len(),
            histograms: table.histograms.len(),
        };
        (0..table.rows.len()).map(row).collect()
    };
    Ok(tables.iter().zip(&plan.tables_at).map(rows_of).collect())
}

/// The counters of an engine, opened for reading.
#[derive(Debug)]
pub struct CounterFile {
    path: PathBuf,
    file: File,
    header: [u64; HEADER_WORDS],
    tables: Vec<CounterTable>,
    plan: Plan,
    memory: Words,
}

impl CounterFile {
    /// Opens the counters of an engine's directory.
    ///
    /// # Errors
    /// One sentence each for: no file, no right, foreign, other version, truncated, damaged.
    pub fn open(dir: &Path) -> Result<Self, FrameError> {
        let path = dir.join(COUNTERS_NAME);
        let failed = |action| {
            let path = &path;
            move |error| FrameError::io(path, action, error)
        };
        let damaged = |what: &str, found: u64, wanted: String| FrameError::Damaged {
            path: path.clone(),
            what: what.to_owned(),
            found,
            wanted,
        };
        let file = open(&path, false).map_err(failed("open the counters"))?;
        let metadata = file.metadata().map_err(failed("look at the file"))?;
        let truncated =
            |wanted| FrameError::Truncated { path: path.clone(), found: metadata.len(), wanted };
        if !metadata.is_file() {
            return Err(failed("read the header")(io::Error::other("it is no regular file")));
        }
        if metadata.len() < PAGE_SIZE_BYTES as u64 {
            return Err(truncated(PAGE_SIZE_BYTES as u64));
        }
        let mut header = [0; HEADER_WORDS];
        file.read_exact_at(bytemuck::cast_slice_mut(&mut header), 0)
            .map_err(failed("read the header"))?;
        if header[0] != MAGIC {
            return Err(FrameError::Foreign { path, found: header[0], wanted: MAGIC });
        }
        if header[1] != VERSION {
            return Err(FrameError::Version { path, found: header[1], supported: VERSION });
        }
        if header[SIZE] != metadata.len() {
            return Err(truncated(header[SIZE]));
        }
        if header[NAMES_SIZE] > (NAMES_SIZE_BYTES_MAX as u64).min(metadata.len()) {
            let wanted = format!("at most {NAMES_SIZE_BYTES_MAX} and the file's size");
            return Err(damaged("the size of the names", header[NAMES_SIZE], wanted));
        }
        let mut names = vec![0; index(header[NAMES_SIZE])];
        file.read_exact_at(&mut names, PAGE_SIZE_BYTES as u64).map_err(failed("read the names"))?;
        let tables: Vec<CounterTable> = serde_json::from_slice(&names).map_err(|error| {
            damaged("the column of the names' text", error.column() as u64, error.to_string())
        })?;
        let plan = Plan::new(&tables, names.len());
        if plan.size_bytes as u64 != metadata.len() {
            let wanted = format!("{} for these names", plan.size_bytes);
            return Err(damaged("the file's size", metadata.len(), wanted));
        }
        let memory =
            Words::map_read_only(&file, plan.size_bytes).map_err(failed("map the counters"))?;
        Ok(Self { path, file, header, tables, plan, memory })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Start of the engine: that of its segments.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.header[EPOCH]
    }

    /// The engine's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        u32::try_from(self.header[PID]).unwrap_or(u32::MAX)
    }

    /// When the engine began, ns UTC.
    #[must_use]
    pub fn made_ns(&self) -> i64 {
        self.header[MADE].cast_signed()
    }

    /// Bytes of the file.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.plan.size_bytes
    }

    /// Whether the engine lives.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        lock::is_locked(&self.file).unwrap_or(false)
    }

    /// Whether another engine's file, or none, is at its place now.
    #[must_use]
    pub fn is_replaced(&self) -> bool {
        self.file.metadata().map_or(true, |metadata| metadata.nlink() == 0)
    }

    /// The names, in the order of the values.
    #[must_use]
    pub fn tables(&self) -> &[CounterTable] {
        &self.tables
    }

    /// The counters of a row, in the order of their names.
    ///
    /// # Panics
    /// Where there is no such table or row.
    #[must_use]
    pub fn counters(&self, table: usize, row: usize) -> Vec<u64> {
        let at = self.row_at(table, row);
        let count = self.tables[table].counters.len();
        (at..at + count).map(|at| self.memory.load(at)).collect()
    }

    /// A histogram of a row.
    ///
    /// # Panics
    /// Where there is no such table, row or histogram.
    #[must_use]
    pub fn histogram(&self, table: usize, row: usize, histogram: usize) -> Histogram {
        let at = self.row_at(table, row);
        let CounterTable { counters, histograms, .. } = &self.tables[table];
        assert!(histogram < histograms.len(), "histogram {histogram} of {}", histograms.len());
        Histogram::read(&self.memory, at + counters.len() + histogram * HISTOGRAM_WORDS)
    }

    fn row_at(&self, table: usize, row: usize) -> usize {
        let described = &self.tables[table];
        assert!(row < described.rows.len(), "row {row} of {}", described.rows.len());
        self.plan.tables_at[table] + row * described.row_words()
    }
}

/// Whether a file is one of counters, of any version.
pub(crate) fn is_counters(path: &Path) -> bool {
    let mut magic = [0; WORD_SIZE_BYTES];
    open(path, false).is_ok_and(|file| file.read_exact_at(&mut magic, 0).is_ok())
        && u64::from_le_bytes(magic) == MAGIC
}
