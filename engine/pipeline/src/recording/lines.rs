//! The lines of one file: where they end, their stamps.

use std::ops::Range;

use cobring_types::Nanos;

use super::{LINE_BYTES_MAX, RecordingError};
use crate::source::Source;

/// The lines of one file.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) source: Source,
    /// Of the current line, from 1.
    pub(super) line_number: u64,
    /// Length of the current line with its end; it goes when the next one is asked for.
    line_bytes: usize,
}

impl Lines {
    pub(super) fn new(source: Source) -> Self {
        Self { source, line_number: 0, line_bytes: 0 }
    }

    /// Goes back to the first line, where the source can.
    pub(super) fn rewind(&mut self) -> bool {
        (self.line_number, self.line_bytes) = (0, 0);
        self.source.rewind()
    }

    /// The next line: its stamp, and where its message is in the source's available bytes.
    pub(super) fn advance(&mut self) -> Result<Option<(Nanos, Range<usize>)>, RecordingError> {
        self.source.consume(std::mem::take(&mut self.line_bytes));
        let mut searched = 0;
        let length = loop {
            let available = self.source.available();
            if let Some(end) = memchr::memchr(b'\n', &available[searched..]) {
                self.line_bytes = searched + end + 1;
                break searched + end;
            }
            searched = available.len();
            if searched > LINE_BYTES_MAX {
                break searched;
            }
            let more = self.source.read_more().map_err(|source| RecordingError::Read {
                path: self.source.path().to_owned(),
                line_number: self.line_number,
                source,
            })?;
            if !more {
                if searched == 0 {
                    return Ok(None);
                }
                // The last line may lack its end.
                self.line_bytes = searched;
                break searched;
            }
        };
        self.line_number += 1;
        let parsed = if length > LINE_BYTES_MAX {
            Err("the line is longer than 16 MiB")
        } else {
            parse_line(&self.source.available()[..length])
        };
        match parsed {
            Ok((ts_recv, message_at)) => Ok(Some((ts_recv, message_at..length))),
            Err(found) => Err(RecordingError::Line {
                path: self.source.path().to_owned(),
                line_number: self.line_number,
                found,
            }),
        }
    }
}

/// The stamp, and where the message begins.
fn parse_line(line: &[u8]) -> Result<(Nanos, usize), &'static str> {
    let mut ts_recv = 0_i64;
    let mut digits = 0;
    for &byte in line.iter().take_while(|byte| byte.is_ascii_digit()) {
        ts_recv = ts_recv
            .checked_mul(10)
            .and_then(|tens| tens.checked_add(i64::from(byte - b'0')))
            .ok_or("its receive time is beyond the year 2262")?;
        digits += 1;
    }
    if digits == 0 {
        return Err("it does not begin with a receive time in ns");
    }
    if line.get(digits) != Some(&b' ') {
        return Err("its receive time is not followed by a space");
    }
    let message = &line[digits + 1..];
    if message.trim_ascii().is_empty() {
        return Err("it has no message");
    }
    // Nearly all messages are ASCII, which is seen sooner.
    if !message.is_ascii() && std::str::from_utf8(message).is_err() {
        return Err("its message is not UTF-8");
    }
    Ok((Nanos(ts_recv), digits + 1))
}
