//! Recordings: lines `<receive ns> <raw message>`, plain, gzip or zstd, merged by time (DESIGN.md section 6).
//! Guarantees: stamps never decrease; equal stamps keep the order of the files, then of the lines.
//! Does not: cobring's own log.

use crate::message::{self, Message, Nanos};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

#[derive(thiserror::Error, Debug)]
pub enum RecordingError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}:{line}: expected `<receive ns> <raw message>`")]
    Line { path: PathBuf, line: usize },
    #[error(
        "{path}: a snapshot line, but {symbols:?} are the symbols of the file: need exactly one"
    )]
    SnapshotSymbol { path: PathBuf, symbols: BTreeSet<String> },
}

#[derive(Clone, Debug)]
pub struct Input {
    pub ts_recv: Nanos,
    /// None: a message of no symbol, which still takes its place in time.
    pub symbol: Option<String>,
    pub message: Message,
}

/// # Errors
/// A file that cannot be read, a line without a stamp, a snapshot line that belongs to no or several symbols.
pub fn read_all(paths: &[PathBuf]) -> Result<Vec<Input>, RecordingError> {
    let mut inputs = Vec::new();
    for path in paths {
        inputs.extend(read_text(path, &load(path)?)?);
    }
    // A stable sort: equal stamps stay in the order of files, then of lines.
    inputs.sort_by_key(|input| input.ts_recv);
    Ok(inputs)
}

/// The text of a recording, unpacked.
///
/// # Errors
/// A file that cannot be read, is damaged, or is no UTF-8.
pub fn load(path: &Path) -> Result<String, RecordingError> {
    let io = |source| RecordingError::Io { path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(io)?;
    let mut text = String::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).map_err(io)?;
    } else if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        zstd::Decoder::new(&bytes[..]).map_err(io)?.read_to_string(&mut text).map_err(io)?;
    } else {
        (&bytes[..]).read_to_string(&mut text).map_err(io)?;
    }
    Ok(text)
}

/// The inputs of one file, stamps raised where they step back.
///
/// # Errors
/// As [`read_all`].
pub fn read_text(path: &Path, text: &str) -> Result<Vec<Input>, RecordingError> {
    let mut inputs: Vec<Input> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let bad_line = || RecordingError::Line { path: path.to_owned(), line: index + 1 };
        let (stamp, raw) = line.split_once(' ').ok_or_else(bad_line)?;
        let stamp: Nanos = stamp.parse().map_err(|_| bad_line())?;
        let ts_recv = inputs.last().map_or(stamp, |last| last.ts_recv.max(stamp));
        let (symbol, message) = message::parse(raw);
        inputs.push(Input { ts_recv, symbol, message });
    }
    let is_snapshot = |input: &Input| matches!(input.message, Message::Snapshot(_));
    if inputs.iter().any(is_snapshot) {
        let symbols: BTreeSet<String> = inputs.iter().filter_map(|i| i.symbol.clone()).collect();
        if symbols.len() != 1 {
            return Err(RecordingError::SnapshotSymbol { path: path.to_owned(), symbols });
        }
        for input in inputs.iter_mut().filter(|input| is_snapshot(input)) {
            input.symbol = symbols.first().cloned();
        }
    }
    Ok(inputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRADE: &str = r#"{"stream":"ethusdt@trade","data":{"e":"trade","E":1,"t":1,"p":"1","q":"2","T":1,"m":true}}"#;
    const SNAPSHOT: &str = r#"{"lastUpdateId":1,"bids":[],"asks":[]}"#;

    fn read(text: &str) -> Result<Vec<Input>, RecordingError> {
        read_text(Path::new("test"), text)
    }

    #[test]
    fn a_smaller_stamp_is_raised() {
        let inputs = read(&format!("5 {TRADE}\n3 {TRADE}\n6 x\n")).unwrap();
        assert_eq!(inputs.iter().map(|i| i.ts_recv).collect::<Vec<_>>(), [5, 5, 6]);
    }

    #[test]
    fn a_snapshot_belongs_to_the_symbol_of_its_file() {
        let inputs = read(&format!("1 {SNAPSHOT}\n2 {TRADE}\n")).unwrap();
        assert_eq!(inputs[0].symbol.as_deref(), Some("ETHUSDT"));
        assert!(read(&format!("1 {SNAPSHOT}\n")).is_err());
        let other = TRADE.replace("ethusdt", "btcusdt");
        assert!(read(&format!("1 {SNAPSHOT}\n2 {TRADE}\n3 {other}\n")).is_err());
        assert!(read(&format!("2 {TRADE}\n3 {other}\n")).is_ok());
    }

    #[test]
    fn a_line_without_a_stamp_is_refused() {
        assert!(matches!(read("1 x\nx\n"), Err(RecordingError::Line { line: 2, .. })));
    }
}
