//! The venue's kline archives: a zip file with one CSV of 12 columns, a month or a day of bars.
//!
//! Guarantees: rows one by one in bounded memory, each checked; exact integers; what does not fit is refused
//! with file, line, what was found and what was wanted. Does not: fetch files, fill gaps (it counts them).

#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use cobring_types::{
    DecimalError, Instrument, KLINE_QUOTE_DECIMALS, Kline, Nanos, Px, Qty, parse_decimal,
    parse_uint,
};
use thiserror::Error;
use zip::ZipArchive;
use zip::result::ZipError;

/// The columns, in order; the venue calls the last one "ignore".
const COLUMNS: [&str; 12] = [
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close_time",
    "quote_volume",
    "count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "ignore",
];
/// A row has some 150 bytes.
const LINE_BYTES_MAX: usize = 1_024;
const BUFFER_BYTES: usize = 128 * 1024;
/// Times from this on are microseconds: as milliseconds they would lie beyond the year 5138.
const MICROS_FROM: u64 = 100_000_000_000_000;
/// Rows between two calls of the progress.
const PROGRESS_ROWS: u64 = 4_096;
/// Of what was found, an error quotes this much.
const QUOTED_CHARS: usize = 40;

/// Why an archive cannot be read.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The system refused.
    #[error("{}: cannot be read: {source}", path.display())]
    Io {
        /// The archive.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// Not a zip file, or a damaged one.
    #[error("{}: is no readable zip file: {source}", path.display())]
    Zip {
        /// The archive.
        path: PathBuf,
        /// The reader's word.
        source: ZipError,
    },
    /// Not an archive of klines.
    #[error("{}: holds {found}, wanted one .csv file", path.display())]
    Entries {
        /// The archive.
        path: PathBuf,
        /// What is in it.
        found: String,
    },
    /// Damaged or cut off in the middle.
    #[error("{}: cannot be read after line {line_number}: {source}", path.display())]
    Damaged {
        /// The archive.
        path: PathBuf,
        /// Lines read before.
        line_number: u64,
        /// The decompressor's word.
        source: io::Error,
    },
    /// A row that is none.
    #[error("{}:{line_number}: {what} {found:?}, wanted {wanted}", path.display())]
    Row {
        /// The archive.
        path: PathBuf,
        /// Of the CSV, from 1.
        line_number: u64,
        /// The column, or what of the row.
        what: &'static str,
        /// What is there, cut to 40 characters.
        found: String,
        /// What belongs there.
        wanted: String,
    },
    /// No bar at all.
    #[error("{}: has no row, wanted klines", path.display())]
    Empty {
        /// The archive.
        path: PathBuf,
    },
}

/// What an archive's beginning tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveSummary {
    /// Of the first bar.
    pub first_open_time: Nanos,
    /// Of the CSV, as the archive states it.
    pub csv_size_bytes: u64,
}

/// Reads the bars of one symbol and interval, archive after archive.
#[derive(Debug)]
pub struct KlineReader<'a> {
    instrument: &'a Instrument,
    interval: Nanos,
    last_open_time: Option<Nanos>,
    /// Intervals between the first and the last bar that no archive has.
    missing: u64,
}

impl<'a> KlineReader<'a> {
    /// # Panics
    /// Where `interval` is not above 0.
    #[must_use]
    pub fn new(instrument: &'a Instrument, interval: Nanos) -> Self {
        assert!(interval.0 > 0, "an interval of {} ns", interval.0);
        Self { instrument, interval, last_open_time: None, missing: 0 }
    }

    /// What the beginning of an archive tells; no bar counts as read.
    ///
    /// # Errors
    /// [`ArchiveError`] where it cannot be opened, or its first row is refused.
    pub fn summary(&self, path: &Path) -> Result<ArchiveSummary, ArchiveError> {
        let mut first_open_time = None;
        let mut alone = Self::new(self.instrument, self.interval);
        let first = |kline: &Kline| {
            first_open_time = Some(kline.open_time);
            ControlFlow::Break(())
        };
        let csv_size_bytes = alone.read_until(path, first, |_| {})?;
        let empty = || ArchiveError::Empty { path: path.to_owned() };
        Ok(ArchiveSummary { first_open_time: first_open_time.ok_or_else(empty)?, csv_size_bytes })
    }

    /// Reads an archive, whose bars come after those read before. `on_progress` is told bytes of the CSV.
    ///
    /// # Errors
    /// [`ArchiveError`] at the first row that is refused; the ones before it were given.
    pub fn read(
        &mut self,
        path: &Path,
        mut on_kline: impl FnMut(&Kline),
        on_progress: impl FnMut(u64),
    ) -> Result<(), ArchiveError> {
        let all = |kline: &Kline| {
            on_kline(kline);
            ControlFlow::Continue(())
        };
        self.read_until(path, all, on_progress).map(drop)
    }

    /// Intervals between the first and the last bar that no archive had.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Reads on until told to stop; gives the CSV's size.
    fn read_until(
        &mut self,
        path: &Path,
        mut on_kline: impl FnMut(&Kline) -> ControlFlow<()>,
        mut on_progress: impl FnMut(u64),
    ) -> Result<u64, ArchiveError> {
        let file = File::open(path)
            .map_err(|source| ArchiveError::Io { path: path.to_owned(), source })?;
        let zipped = |source| ArchiveError::Zip { path: path.to_owned(), source };
        let mut archive = ZipArchive::new(BufReader::new(file)).map_err(zipped)?;
        let entries = |found| ArchiveError::Entries { path: path.to_owned(), found };
        if archive.len() != 1 {
            return Err(entries(format!("{} files", archive.len())));
        }
        let entry = archive.by_index(0).map_err(zipped)?;
        let name = entry.name().map_err(zipped)?;
        if !name.ends_with(".csv") {
            return Err(entries(quoted(name.as_bytes())));
        }
        let csv_size_bytes = entry.size();
        let mut lines = BufReader::with_capacity(BUFFER_BYTES, entry);
        let mut line = Vec::with_capacity(LINE_BYTES_MAX + 1);
        let (mut line_number, mut bytes) = (0, 0);
        loop {
            line.clear();
            // One byte more than a row may have: what is longer shows in it.
            let limit = LINE_BYTES_MAX as u64 + 1;
            let read = (&mut lines).take(limit).read_until(b'\n', &mut line);
            let damaged =
                |source| ArchiveError::Damaged { path: path.to_owned(), line_number, source };
            if read.map_err(damaged)? == 0 {
                break;
            }
            line_number += 1;
            bytes += line.len() as u64;
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            if line_number == 1 && text.starts_with(b"open_time,") {
                continue;
            }
            let kline = self.kline(text).map_err(|refused| ArchiveError::Row {
                path: path.to_owned(),
                line_number,
                what: refused.what,
                found: refused.found,
                wanted: refused.wanted,
            })?;
            if on_kline(&kline).is_break() {
                return Ok(csv_size_bytes);
            }
            if line_number % PROGRESS_ROWS == 0 {
                on_progress(bytes);
            }
        }
        on_progress(bytes);
        Ok(csv_size_bytes)
    }

    /// The next bar from its row.
    fn kline(&mut self, row: &[u8]) -> Result<Kline, Refused> {
        if row.len() > LINE_BYTES_MAX {
            return Err(Refused::new("line", row, format!("at most {LINE_BYTES_MAX} bytes")));
        }
        let mut cells = [&row[..0]; COLUMNS.len()];
        let mut found = 0;
        for cell in row.split(|&byte| byte == b',') {
            if let Some(place) = cells.get_mut(found) {
                *place = cell;
            }
            found += 1;
        }
        if found != COLUMNS.len() {
            let wanted = format!("{} columns, not {found}", COLUMNS.len());
            return Err(Refused::new("row", row, wanted));
        }
        let row = Row { cells, instrument: self.instrument };
        let kline = row.kline(self.interval)?;
        self.follow(&row, kline.open_time)?;
        Ok(kline)
    }

    /// Bars come in order, each once.
    fn follow(&mut self, row: &Row<'_>, open_time: Nanos) -> Result<(), Refused> {
        if let Some(last) = self.last_open_time.replace(open_time) {
            let steps = (open_time.0 - last.0) / self.interval.0;
            if steps < 1 {
                let wanted = format!("a time after the last row's, {} ns", last.0);
                return Err(row.refused(0, wanted));
            }
            self.missing += steps.unsigned_abs() - 1;
        }
        Ok(())
    }
}

/// What is wrong with a row.
struct Refused {
    what: &'static str,
    found: String,
    wanted: String,
}

impl Refused {
    #[cold]
    fn new(what: &'static str, found: &[u8], wanted: impl Display) -> Self {
        Self { what, found: quoted(found), wanted: wanted.to_string() }
    }
}

fn quoted(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(QUOTED_CHARS).collect()
}

/// The cells of a row.
struct Row<'a> {
    cells: [&'a [u8]; COLUMNS.len()],
    instrument: &'a Instrument,
}

impl Row<'_> {
    fn kline(&self, interval: Nanos) -> Result<Kline, Refused> {
        let open_time = self.time(0)?;
        if open_time.floor_to(interval) != open_time {
            return Err(self.refused(0, format_args!("a multiple of {} ns", interval.0)));
        }
        let qty_decimals = self.instrument.qty_decimals;
        let kline = Kline {
            open_time,
            open: self.px(1)?,
            high: self.px(2)?,
            low: self.px(3)?,
            close: self.px(4)?,
            volume: Qty(self.sum(5, qty_decimals)?),
            quote_volume: self.sum(7, KLINE_QUOTE_DECIMALS)?,
            taker_buy_volume: Qty(self.sum(9, qty_decimals)?),
            taker_buy_quote_volume: self.sum(10, KLINE_QUOTE_DECIMALS)?,
            trade_count: self.count(8)?,
        };
        // Which one shows the archive's interval: that of another is refused at its first row.
        if !(open_time.0..open_time.0 + interval.0).contains(&self.time(6)?.0) {
            return Err(
                self.refused(6, format_args!("a time within {} ns of the open time", interval.0))
            );
        }
        if kline.high < kline.open.max(kline.close) {
            return Err(self.refused(2, "a high that is not below open and close"));
        }
        if kline.low > kline.open.min(kline.close) {
            return Err(self.refused(3, "a low that is not above open and close"));
        }
        if kline.taker_buy_volume > kline.volume {
            return Err(self.refused(9, "no more than the volume"));
        }
        if kline.taker_buy_quote_volume > kline.quote_volume {
            return Err(self.refused(10, "no more than the quote volume"));
        }
        Ok(kline)
    }

    /// A time, in milliseconds or (1s archives since 2025) microseconds.
    fn time(&self, column: usize) -> Result<Nanos, Refused> {
        let count = self.count(column)?;
        let unit = if count < MICROS_FROM { Nanos::MILLISECOND } else { Nanos(1_000) };
        let nanos = i64::try_from(count).ok().and_then(|count| count.checked_mul(unit.0));
        // Room for the interval that follows.
        let nanos = nanos.filter(|&nanos| nanos < i64::MAX / 2);
        let wanted = "milliseconds or microseconds since 1970, before 2116";
        nanos.map(Nanos).ok_or_else(|| self.refused(column, wanted))
    }

    fn count(&self, column: usize) -> Result<u64, Refused> {
        parse_uint(self.cells[column])
            .map_err(|error| self.refused(column, format_args!("a whole number: {error}")))
    }

    fn px(&self, column: usize) -> Result<Px, Refused> {
        let tick = || format!("a price in ticks of {}", self.instrument.tick_size());
        let px = self.instrument.parse_px(self.cells[column]);
        let px = px.map_err(|error| self.decimal(column, tick(), error))?;
        if px.0 <= 0 {
            return Err(self.refused(column, "a price above 0"));
        }
        Ok(px)
    }

    fn sum(&self, column: usize, decimals: u8) -> Result<i64, Refused> {
        let of = || format!("a sum in units of 10^-{decimals}");
        let sum = parse_decimal(self.cells[column], decimals);
        let sum = sum.map_err(|error| self.decimal(column, of(), error))?;
        if sum < 0 {
            return Err(self.refused(column, "a sum that is not below 0"));
        }
        Ok(sum)
    }

    #[cold]
    fn decimal(&self, column: usize, wanted: String, error: DecimalError) -> Refused {
        self.refused(column, format_args!("{wanted}: {error}"))
    }

    fn refused(&self, column: usize, wanted: impl Display) -> Refused {
        Refused::new(COLUMNS[column], self.cells[column], wanted)
    }
}
