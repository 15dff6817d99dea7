//! Lines `<receive ns> <raw message>` from plain, .gz and .zst files.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::error::SimError;

/// A line of a recording.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) recv_ns: i64,
    pub(super) message: String,
}

/// One file, read line by line.
pub(super) struct LineReader {
    path: PathBuf,
    bytes: BufReader<Box<dyn Read + Send>>,
    line_number: u64,
    buffer: String,
}

impl LineReader {
    pub(super) fn open(path: &Path) -> Result<Self, SimError> {
        let failed = |source| SimError::File { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let bytes: Box<dyn Read + Send> =
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("gz") => Box::new(MultiGzDecoder::new(BufReader::new(file))),
                Some("zst") => Box::new(zstd::Decoder::new(file).map_err(failed)?),
                _ => Box::new(file),
            };
        let bytes = BufReader::with_capacity(256 << 10, bytes);
        Ok(Self { path: path.to_owned(), bytes, line_number: 0, buffer: String::new() })
    }

    /// The next line; empty ones are passed over.
    pub(super) fn next_line(&mut self) -> Result<Option<Line>, SimError> {
        loop {
            self.buffer.clear();
            let read = self
                .bytes
                .read_line(&mut self.buffer)
                .map_err(|source| SimError::File { path: self.path.clone(), source })?;
            if read == 0 {
                return Ok(None);
            }
            self.line_number += 1;
            let text = self.buffer.trim_end();
            if text.is_empty() {
                continue;
            }
            let Some((stamp, message)) = text.split_once(' ') else {
                return Err(self.bad_line("there is no blank between receive time and message"));
            };
            let Ok(recv_ns) = stamp.parse() else {
                return Err(self.bad_line(&format!("`{stamp}` is not a receive time in ns")));
            };
            return Ok(Some(Line { recv_ns, message: message.to_owned() }));
        }
    }

    pub(super) fn bad_line(&self, reason: &str) -> SimError {
        SimError::Line {
            path: self.path.clone(),
            line: self.line_number,
            reason: reason.to_owned(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}
