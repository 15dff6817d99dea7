//! Lines of a recording: which are snapshots, and of which symbol the others are.

use cobring_json::{JsonError, Parser, Value};

/// What a recorded line's message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordedLine<'a> {
    /// A REST depth snapshot, which names no symbol.
    Snapshot,
    /// Any other message, with its symbol as the venue writes it in payloads, where it names one.
    Message {
        /// The `s` of the payload.
        symbol: Option<&'a str>,
    },
}

/// Tells the lines of a recording apart. Cold: each line is parsed once more than it is decoded.
#[derive(Debug)]
pub struct RecordedLines {
    parser: Parser,
    symbol: String,
}

impl RecordedLines {
    /// Ready for lines of any length.
    #[must_use]
    pub fn new() -> Self {
        Self { parser: Parser::with_capacity(64 << 10), symbol: String::new() }
    }

    /// What a line's message is.
    ///
    /// # Errors
    /// [`JsonError`] where it is no JSON.
    pub fn classify(&mut self, message: &[u8]) -> Result<RecordedLine<'_>, JsonError> {
        let document = self.parser.parse(message)?;
        let root = document.root();
        let is_snapshot = root.field("lastUpdateId").is_some() && root.field("bids").is_some();
        if is_snapshot {
            return Ok(RecordedLine::Snapshot);
        }
        let payload = root.field("data").unwrap_or(root);
        let symbol = payload.field("s").and_then(Value::as_str);
        self.symbol.clear();
        self.symbol.push_str(symbol.unwrap_or_default());
        let symbol = symbol.is_some().then_some(self.symbol.as_str());
        Ok(RecordedLine::Message { symbol })
    }
}

impl Default for RecordedLines {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        let mut lines = RecordedLines::new();
        for (line, expected) in [
            (r#"{"lastUpdateId":1,"bids":[],"asks":[]}"#, RecordedLine::Snapshot),
            (
                r#"{"stream":"ethusdt@bookTicker","data":{"u":1,"s":"ETHUSDT"}}"#,
                RecordedLine::Message { symbol: Some("ETHUSDT") },
            ),
            (r#"{"e":"trade","s":"BTCUSDT"}"#, RecordedLine::Message { symbol: Some("BTCUSDT") }),
            (r#"{"result":null,"id":1}"#, RecordedLine::Message { symbol: None }),
        ] {
            assert_eq!(lines.classify(line.as_bytes()), Ok(expected), "{line}");
        }
        assert_eq!(lines.classify(b"{"), Err(JsonError::Syntax { offset: 1 }));
    }
}
