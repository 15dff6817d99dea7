//! The venue's archives of 1s klines: a zip file with one CSV, or that CSV.
//! Guarantees: bars in order of time, each once; seconds that no archive has are holes.

use crate::bounds;
use crate::candles::Row;
use crate::decimal::Dec;
use crate::message::Nanos;
use crate::symbol::SECOND;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

/// Times are in µs since 2025, in ms before; neither reaches this number in the other's years.
const LEAST_MICROS: i64 = 1_000_000_000_000_000;

#[derive(thiserror::Error, Debug)]
pub enum ArchiveError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}: expected a zip file with one CSV: {reason}")]
    Zip { path: PathBuf, reason: String },
    #[error("{path}:{line}: expected a kline of 1 s, after all before it")]
    Line { path: PathBuf, line: usize },
}

/// What `cobring import-klines --json` prints of the bars, but for names.
///
/// # Errors
/// A file that cannot be read, a line that is no kline, a second that is there twice.
pub fn archive_bounds(paths: &[PathBuf]) -> Result<Value, ArchiveError> {
    let mut files = Vec::new();
    for path in paths {
        let text = read(path)?;
        let mut bars = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line_error = || ArchiveError::Line { path: path.clone(), line: index + 1 };
            bars.push((kline(line).ok_or_else(line_error)?, path, index + 1));
        }
        files.push(bars);
    }
    files.sort_by_key(|bars| bars.first().map(|(row, ..)| row.open_time));
    let mut rows: Vec<Row> = Vec::new();
    let (mut bars_read, mut bars_missing) = (0, 0);
    for (row, path, line) in files.into_iter().flatten() {
        if let Some(end) = rows.last().map(|last| last.open_time + SECOND) {
            if row.open_time < end {
                return Err(ArchiveError::Line { path: path.clone(), line });
            }
            if row.open_time > end {
                bars_missing += (row.open_time - end) / SECOND;
                rows.push(Row { open_time: end, is_hole: true, ..Row::default() });
            }
        }
        bars_read += 1;
        rows.push(row);
    }
    let traded = |row: &&Row| row.trade_count > 0;
    let mut figures = bounds::json(&rows);
    figures["bars_read"] = json!(bars_read);
    figures["bars_missing"] = json!(bars_missing);
    figures["pivots_from"] = json!(rows.iter().find(traded).map(|row| row.open_time));
    Ok(figures)
}

/// The text of an archive.
fn read(path: &Path) -> Result<String, ArchiveError> {
    let io = |source| ArchiveError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(io)?;
    let mut text = String::new();
    if bytes.starts_with(b"PK") {
        let zip_error = |error: zip::result::ZipError| ArchiveError::Zip {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(zip_error)?;
        if archive.len() != 1 {
            let reason = format!("it has {} files", archive.len());
            return Err(ArchiveError::Zip { path: path.to_owned(), reason });
        }
        archive.by_index(0).map_err(zip_error)?.read_to_string(&mut text).map_err(io)?;
    } else {
        bytes.as_slice().read_to_string(&mut text).map_err(io)?;
    }
    Ok(text)
}

/// `open time,open,high,low,close,volume,close time,quote volume,trades,taker's base,taker's quote,0`
fn kline(line: &str) -> Option<Row> {
    let cells: Vec<&str> = line.split(',').collect();
    let [open_time, open, high, low, close, volume, _, _, trades, _, _, _] = cells[..] else {
        return None;
    };
    let unit = |time: Nanos| if time >= LEAST_MICROS { 1_000 } else { 1_000_000 };
    let open_time: Nanos = open_time.parse().ok()?;
    let open_time = open_time.checked_mul(unit(open_time))?;
    (open_time % SECOND == 0).then_some(Row {
        open_time,
        ts_closed: Some(open_time + SECOND),
        prices: Some([Dec::parse(open)?, Dec::parse(high)?, Dec::parse(low)?, Dec::parse(close)?]),
        volume: Dec::parse(volume)?.0,
        trade_count: trades.parse().ok()?,
        ..Row::default()
    })
}
