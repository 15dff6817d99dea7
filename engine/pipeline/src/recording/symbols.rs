//! Whose a line is: the symbol of a combined message, and so of its file's snapshots.

use std::path::Path;

use super::RecordingError;

/// Whose messages a file was seen to hold.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    /// In the order that they were met: the first one's are the snapshots.
    pub(super) known: Vec<Known>,
    /// Index of the symbol that was met last: often the next one too.
    recent: usize,
    snapshot_line: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Known {
    /// As in streams' names.
    name: String,
    pub(super) capitals: String,
    /// First line with it.
    line_number: u64,
}

impl Symbols {
    /// Whether the file has a snapshot, and so messages of one symbol alone, which was met.
    pub(super) fn is_of_one(&self) -> bool {
        self.snapshot_line.is_some() && !self.known.is_empty()
    }

    /// The index of the line's symbol.
    pub(super) fn observe(
        &mut self,
        class: &Class<'_>,
        path: &Path,
        line_number: u64,
    ) -> Result<Option<usize>, RecordingError> {
        let symbol = match *class {
            Class::Other => return Ok(None),
            Class::Snapshot => {
                self.snapshot_line.get_or_insert(line_number);
                if self.known.is_empty() { None } else { Some(0) }
            }
            Class::Combined(name) => {
                if self.known.get(self.recent).is_some_and(|known| known.name == name) {
                    return Ok(Some(self.recent));
                }
                let found =
                    self.known.iter().position(|known| name.eq_ignore_ascii_case(&known.name));
                self.recent = found.unwrap_or_else(|| {
                    let capitals = name.to_ascii_uppercase();
                    self.known.push(Known { name: name.to_owned(), capitals, line_number });
                    self.known.len() - 1
                });
                Some(self.recent)
            }
        };
        match (self.snapshot_line, &self.known[..]) {
            (Some(snapshot_line), [first, second, ..]) => Err(RecordingError::SeveralSymbols {
                path: path.to_owned(),
                snapshot_line,
                first: first.capitals.clone(),
                second: second.capitals.clone(),
                second_line: second.line_number,
            }),
            _ => Ok(symbol),
        }
    }
}

/// What a message is, as far as the order of lines and their symbols need it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Class<'a> {
    /// A combined-stream message: the stream's name before the `@`.
    Combined(&'a str),
    Snapshot,
    Other,
}

pub(super) fn classify(message: &[u8]) -> Class<'_> {
    const USUAL: &[u8] = b"{\"stream\":\"";
    if let Some(rest) = message.strip_prefix(USUAL) {
        let end = memchr::memchr(b'"', rest).unwrap_or(rest.len());
        return combined(&rest[..end]);
    }
    let mut last_update_id = false;
    let mut keys = TopLevelKeys { message, at: 0, depth: 0, key_next: false };
    while let Some(key) = keys.next_key() {
        match key {
            b"stream" => {
                if let Some(name) = keys.string_value() {
                    return combined(name);
                }
            }
            b"lastUpdateId" => last_update_id = true,
            _ => {}
        }
    }
    if last_update_id { Class::Snapshot } else { Class::Other }
}

/// Streams over all symbols, e.g. `!ticker@arr`, name none.
fn combined(stream: &[u8]) -> Class<'_> {
    let end = memchr::memchr(b'@', stream).unwrap_or(stream.len());
    match std::str::from_utf8(&stream[..end]) {
        Ok(name) if !name.is_empty() && !name.starts_with('!') => Class::Combined(name),
        _ => Class::Other,
    }
}

/// The keys of a JSON object, without those of the objects in it. Of what is no JSON it finds something
/// or nothing.
struct TopLevelKeys<'a> {
    message: &'a [u8],
    at: usize,
    depth: usize,
    key_next: bool,
}

impl<'a> TopLevelKeys<'a> {
    fn next_key(&mut self) -> Option<&'a [u8]> {
        while let Some(&byte) = self.message.get(self.at) {
            self.at += 1;
            match byte {
                b'{' | b'[' => {
                    self.depth += 1;
                    self.key_next = self.depth == 1 && byte == b'{';
                }
                b'}' | b']' => self.depth = self.depth.checked_sub(1)?,
                b',' => self.key_next = self.depth == 1,
                b'"' => {
                    let text = self.string()?;
                    if std::mem::take(&mut self.key_next) {
                        return Some(text);
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// The rest of a string after its opening quote, escapes as they are.
    fn string(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        loop {
            self.at += memchr::memchr2(b'"', b'\\', self.message.get(self.at..)?)?;
            if self.message[self.at] == b'"' {
                self.at += 1;
                return Some(&self.message[start..self.at - 1]);
            }
            self.at += 2;
        }
    }

    /// The string that is the value of the last key.
    fn string_value(&mut self) -> Option<&'a [u8]> {
        let rest = self.message.get(self.at..)?.trim_ascii_start().strip_prefix(b":")?;
        let rest = rest.trim_ascii_start().strip_prefix(b"\"")?;
        self.at = self.message.len() - rest.len();
        self.string()
    }
}
