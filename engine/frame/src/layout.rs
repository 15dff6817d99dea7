//! Layout of a segment: what lies where, and the words that say so. Guarantees: a layout that was read is,
//! word for word, the one that this version would plan for the same sizes (a slot's among them), and fits
//! the file exactly, so every offset in it may be used unchecked afterwards. Needs: nothing; it touches no
//! shared memory. Does not: open files.
//!
//! ```text
//! header page    0 magic | 8 version | 16 retired | 24 checksum | 32 sizes, epoch, … | 256 published |
//!                384 heartbeat, mono_minus_ts
//! window table   256 bytes a window: name, row size, rows promised, capacity, offset; at 128 its state
//! schema         text
//! frame ring     slots, each a power of two of bytes: sequence, frame at 64
//! windows        each from a page boundary on: 2 * capacity rows
//! ```
//! Each part begins at a page. Magic, version and `retired` stay where they are in every version.

use std::io;
use std::path::Path;

use crate::counter_file::COUNTERS_NAME;
use crate::error::FrameError;
use crate::model_file::MODELS_DIR;
use crate::slot::{SLOT_HEADER_WORDS, Slots};
use crate::subscriber::SUBSCRIBERS_DIR;
use crate::window::Rows;
use crate::words::{WORD_SIZE_BYTES, index};

pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"cobring\0");
/// Version of the segment layout.
pub const LAYOUT_VERSION: u64 = 1;

pub(crate) const PAGE_SIZE_BYTES: usize = 4096;
const PAGE_WORDS: usize = PAGE_SIZE_BYTES / WORD_SIZE_BYTES;

/// Largest frame: every KB costs a reader about 250 ns.
pub const FRAME_SIZE_BYTES_MAX: usize = 4096;
const SCHEMA_SIZE_BYTES_MAX: usize = 1 << 20;
const SLOT_COUNT_MAX: u32 = 1 << 20;
const SLOT_SIZE_BYTES_MAX: usize = 2 * PAGE_SIZE_BYTES;
const LINE_SIZE_BYTES: usize = SLOT_HEADER_WORDS * WORD_SIZE_BYTES;
const WINDOW_COUNT_MAX: usize = 256;
const NAME_SIZE_BYTES_MAX: usize = 64;
const NAME_WORDS: usize = NAME_SIZE_BYTES_MAX / WORD_SIZE_BYTES;

// The header page, in words.
const VERSION: usize = 1;
pub(crate) const RETIRED: usize = 2;
const CHECKSUM: usize = 3;
const SIZE: usize = 4;
const EPOCH: usize = 5;
const SCHEMA_ID: usize = 6;
const PID: usize = 7;
const SCHEMA_OFFSET: usize = 8;
const SCHEMA_SIZE: usize = 9;
const TABLE_OFFSET: usize = 10;
const WINDOW_COUNT: usize = 11;
const SLOTS_OFFSET: usize = 12;
const SLOT_COUNT: usize = 13;
const SLOT_SIZE: usize = 14;
const FRAME_SIZE: usize = 15;
const SYMBOL_SIZE: usize = 16;
const SYMBOL: usize = 17;
const STATIC_WORDS: usize = SYMBOL + NAME_WORDS;
// Lines of their own, two apart: the prefetcher pulls lines in pairs.
const PUBLISHED: usize = 32;
pub(crate) const HEARTBEAT: usize = 48;
pub(crate) const MONO_MINUS_TS: usize = 49;
const _: () = assert!(STATIC_WORDS <= PUBLISHED && PUBLISHED * WORD_SIZE_BYTES == 256);

// An entry of the window table, in words.
const ENTRY_WORDS: usize = 32;
const ENTRY_NAME_SIZE: usize = 0;
const ENTRY_NAME: usize = 1;
const ENTRY_ROW_SIZE: usize = ENTRY_NAME + NAME_WORDS;
const ENTRY_PROMISED: usize = ENTRY_ROW_SIZE + 1;
const ENTRY_CAPACITY: usize = ENTRY_ROW_SIZE + 2;
const ENTRY_OFFSET: usize = ENTRY_ROW_SIZE + 3;
const ENTRY_STATIC_WORDS: usize = ENTRY_ROW_SIZE + 4;
const ENTRY_STATE: usize = 16;
const _: () = assert!(ENTRY_STATIC_WORDS <= ENTRY_STATE);

/// A window to lay out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowSpec {
    /// Name, e.g. `candles.1s`: 1 to 64 bytes, unique in the segment.
    pub name: String,
    /// Bytes of a row: a multiple of 8.
    pub row_size_bytes: usize,
    /// Rows that readers may count on: N.
    pub rows_promised: u64,
    /// Rows of one copy: C >= N. A view of N rows stays intact for at least C - N further ones.
    pub capacity: u64,
}

/// A segment to lay out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentSpec {
    /// Symbol, and name of the file.
    pub symbol: String,
    /// Epoch of this start: larger than that of the segment it replaces.
    pub epoch: u64,
    /// Description of frame and rows for readers: JSON, opaque here.
    pub schema: String,
    /// Identity of the schema.
    pub schema_id: u64,
    /// Bytes of a frame: a multiple of 8, at most [`FRAME_SIZE_BYTES_MAX`].
    pub frame_size_bytes: usize,
    /// Slots of the frame ring: a power of two.
    pub slot_count: u32,
    /// The windows, in the order of their indices.
    pub windows: Vec<WindowSpec>,
}

impl SegmentSpec {
    /// Bytes of the segment; `usize::MAX` for a specification that [`SegmentSpec::check`] refuses.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        Layout::plan(self, 0).map_or(usize::MAX, |layout| layout.size_bytes)
    }

    /// Whether the segment can be laid out.
    ///
    /// # Errors
    /// [`FrameError::BadName`] and [`FrameError::BadSpec`], naming the key.
    pub fn check(&self) -> Result<(), FrameError> {
        Layout::plan(self, 0).map(drop)
    }

    fn bad(&self, what: impl Into<String>, found: u64, wanted: impl Into<String>) -> FrameError {
        FrameError::BadSpec {
            symbol: self.symbol.clone(),
            what: what.into(),
            found,
            wanted: wanted.into(),
        }
    }
}

/// Whether a symbol can be the name of a segment's file.
pub(crate) fn check_symbol(symbol: &str) -> Result<(), FrameError> {
    let rule = if symbol.is_empty() || symbol.len() > NAME_SIZE_BYTES_MAX {
        "must have 1 to 64 bytes"
    } else if symbol.chars().any(|character| character == '/' || character.is_control()) {
        "must not hold '/' or control characters"
    } else if symbol.starts_with('.') {
        "must not begin with '.'"
    } else if symbol.ends_with(".bell")
        || ["engine.lock", COUNTERS_NAME, MODELS_DIR, SUBSCRIBERS_DIR].contains(&symbol)
    {
        "is reserved"
    } else {
        return Ok(());
    };
    Err(FrameError::BadName { symbol: symbol.to_owned(), rule })
}

/// A window of a layout.
#[derive(Debug, Clone)]
pub(crate) struct WindowLayout {
    pub(crate) name: String,
    pub(crate) rows_promised: u64,
    pub(crate) rows: Rows,
}

/// What lies where.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) symbol: String,
    pub(crate) epoch: u64,
    pub(crate) schema: String,
    pub(crate) schema_id: u64,
    pub(crate) writer_pid: u32,
    pub(crate) size_bytes: usize,
    pub(crate) slots: Slots,
    pub(crate) windows: Vec<WindowLayout>,
    schema_at: usize,
}

/// Adds parts at page boundaries, in words.
struct Cursor(usize);

impl Cursor {
    fn part(&mut self, words: usize) -> Option<usize> {
        let at = self.0;
        self.0 = at.checked_add(words)?.checked_next_multiple_of(PAGE_WORDS)?;
        // Bytes have to fit an i64: file offsets.
        (self.0 <= usize::MAX / 2 / WORD_SIZE_BYTES).then_some(at)
    }
}

/// Sequence and frame, each from a cache line on.
fn slot_words_min(frame_size_bytes: usize) -> usize {
    SLOT_HEADER_WORDS + words_of(frame_size_bytes).next_multiple_of(SLOT_HEADER_WORDS)
}

fn words_of(size_bytes: usize) -> usize {
    size_bytes.div_ceil(WORD_SIZE_BYTES)
}

impl Layout {
    pub(crate) fn plan(spec: &SegmentSpec, writer_pid: u32) -> Result<Self, FrameError> {
        // A frame of more than half a page has a page of its own: what a processor fetches ahead of a reader ends with it, else
        // it would take from the writer the lines that the next frame goes to. Of smaller ones a page has as many as fit.
        let slot_words = slot_words_min(spec.frame_size_bytes).next_power_of_two();
        Self::plan_with(spec, slot_words, writer_pid)
    }

    /// With slots of another size, as other writers may choose.
    fn plan_with(
        spec: &SegmentSpec,
        slot_words: usize,
        writer_pid: u32,
    ) -> Result<Self, FrameError> {
        check_symbol(&spec.symbol)?;
        let frame_size = spec.frame_size_bytes;
        if frame_size == 0 || frame_size > FRAME_SIZE_BYTES_MAX || !frame_size.is_multiple_of(8) {
            return Err(spec.bad(
                "frame_size_bytes",
                frame_size as u64,
                "a multiple of 8 in 8..=4096",
            ));
        }
        let slot_count = spec.slot_count;
        if !slot_count.is_power_of_two() || !(2..=SLOT_COUNT_MAX).contains(&slot_count) {
            return Err(spec.bad(
                "slot_count",
                u64::from(slot_count),
                "a power of two in 2..=1048576",
            ));
        }
        if spec.schema.len() > SCHEMA_SIZE_BYTES_MAX {
            return Err(spec.bad("schema_size_bytes", spec.schema.len() as u64, "at most 1048576"));
        }
        if spec.windows.len() > WINDOW_COUNT_MAX {
            return Err(spec.bad("window_count", spec.windows.len() as u64, "at most 256"));
        }

        let too_large = |what: &str, found| {
            spec.bad(what, found, "less: the segment outgrows the address space")
        };
        let mut cursor = Cursor(PAGE_WORDS);
        let frame_words = frame_size / WORD_SIZE_BYTES;
        let table_at =
            cursor.part(spec.windows.len() * ENTRY_WORDS).expect("invariant: at most 256 entries");
        let schema_at = cursor.part(words_of(spec.schema.len())).expect("invariant: at most 1 MiB");
        let slots_at = cursor
            .part(index(u64::from(slot_count)) * slot_words)
            .expect("invariant: at most a million slots of 8 KiB");
        let mut windows: Vec<WindowLayout> = Vec::with_capacity(spec.windows.len());
        for (number, window) in spec.windows.iter().enumerate() {
            let name = &window.name;
            if name.is_empty() || name.len() > NAME_SIZE_BYTES_MAX {
                return Err(spec.bad(
                    format!("windows[{number}].name_size_bytes"),
                    name.len() as u64,
                    "in 1..=64",
                ));
            }
            if let Some(other) = windows.iter().position(|earlier| earlier.name == *name) {
                let what = format!("windows[{number}].name {name}");
                return Err(spec.bad(
                    what,
                    number as u64,
                    format!("unique, windows[{other}] has it"),
                ));
            }
            let row_size = window.row_size_bytes;
            if row_size == 0 || !row_size.is_multiple_of(8) {
                let what = format!("windows[{number}].row_size_bytes");
                return Err(spec.bad(what, row_size as u64, "a multiple of 8, not 0"));
            }
            if window.rows_promised == 0 || window.capacity < window.rows_promised {
                let what = format!("windows[{number}].capacity");
                let wanted = format!("at least rows_promised = {} and 1", window.rows_promised);
                return Err(spec.bad(what, window.capacity, wanted));
            }
            let row_words = row_size / WORD_SIZE_BYTES;
            let rows_at = index(window.capacity)
                .checked_mul(2)
                .and_then(|rows| rows.checked_mul(row_words))
                .and_then(|words| cursor.part(words))
                .ok_or_else(|| {
                    too_large(&format!("windows[{number}].capacity"), window.capacity)
                })?;
            windows.push(WindowLayout {
                name: name.clone(),
                rows_promised: window.rows_promised,
                rows: Rows {
                    state_at: table_at + number * ENTRY_WORDS + ENTRY_STATE,
                    rows_at,
                    row_words,
                    capacity: window.capacity,
                    first_lap_once: false,
                },
            });
        }
        Ok(Self {
            symbol: spec.symbol.clone(),
            epoch: spec.epoch,
            schema: spec.schema.clone(),
            schema_id: spec.schema_id,
            writer_pid,
            size_bytes: cursor.0 * WORD_SIZE_BYTES,
            slots: Slots {
                published_at: PUBLISHED,
                slots_at,
                slot_words,
                frame_words,
                slot_count: u64::from(slot_count),
            },
            windows,
            schema_at,
        })
    }

    pub(crate) fn frame_size_bytes(&self) -> usize {
        self.slots.frame_words * WORD_SIZE_BYTES
    }

    /// Header page, window table and schema, as a fresh segment begins.
    pub(crate) fn encode(&self) -> Vec<u64> {
        let bytes_at = |word: usize| (word * WORD_SIZE_BYTES) as u64;
        let mut words = vec![0; self.slots.slots_at];
        words[0] = MAGIC;
        words[VERSION] = LAYOUT_VERSION;
        words[SIZE] = self.size_bytes as u64;
        words[EPOCH] = self.epoch;
        words[SCHEMA_ID] = self.schema_id;
        words[PID] = u64::from(self.writer_pid);
        words[SCHEMA_OFFSET] = bytes_at(self.schema_at);
        words[SCHEMA_SIZE] = self.schema.len() as u64;
        words[TABLE_OFFSET] = bytes_at(PAGE_WORDS);
        words[WINDOW_COUNT] = self.windows.len() as u64;
        words[SLOTS_OFFSET] = bytes_at(self.slots.slots_at);
        words[SLOT_COUNT] = self.slots.slot_count;
        words[SLOT_SIZE] = bytes_at(self.slots.slot_words);
        words[FRAME_SIZE] = bytes_at(self.slots.frame_words);
        words[SYMBOL_SIZE] = self.symbol.len() as u64;
        put_text(&mut words[SYMBOL..], &self.symbol);
        for (number, window) in self.windows.iter().enumerate() {
            let entry = &mut words[PAGE_WORDS + number * ENTRY_WORDS..][..ENTRY_WORDS];
            entry[ENTRY_NAME_SIZE] = window.name.len() as u64;
            put_text(&mut entry[ENTRY_NAME..], &window.name);
            entry[ENTRY_ROW_SIZE] = bytes_at(window.rows.row_words);
            entry[ENTRY_PROMISED] = window.rows_promised;
            entry[ENTRY_CAPACITY] = window.rows.capacity;
            entry[ENTRY_OFFSET] = bytes_at(window.rows.rows_at);
        }
        put_text(&mut words[self.schema_at..], &self.schema);
        words[CHECKSUM] =
            checksum(&words, self.windows.len(), self.schema_at, words_of(self.schema.len()));
        words
    }

    /// Reads a layout out of a file of `file_size_bytes` by `read` (byte offset, words to fill).
    ///
    /// The sizes found are planned anew, and the plan compared with what the file says: there is no offset
    /// to trust.
    pub(crate) fn read(
        path: &Path,
        file_size_bytes: u64,
        mut read: impl FnMut(u64, &mut [u64]) -> io::Result<()>,
    ) -> Result<Self, FrameError> {
        let mut fill = |offset: usize, words: &mut [u64]| {
            read(offset as u64, words)
                .map_err(|source| FrameError::io(path, "read the header", source))
        };
        let truncated = |wanted: u64| FrameError::Truncated {
            path: path.to_owned(),
            found: file_size_bytes,
            wanted,
        };
        let damaged = |what: &str, found: u64, wanted: String| FrameError::Damaged {
            path: path.to_owned(),
            what: what.to_owned(),
            found,
            wanted,
        };

        if file_size_bytes < WORD_SIZE_BYTES as u64 {
            return Err(truncated(PAGE_SIZE_BYTES as u64));
        }
        let mut magic = [0];
        fill(0, &mut magic)?;
        if magic[0] != MAGIC {
            return Err(FrameError::Foreign {
                path: path.to_owned(),
                found: magic[0],
                wanted: MAGIC,
            });
        }
        if file_size_bytes < PAGE_SIZE_BYTES as u64 {
            return Err(truncated(PAGE_SIZE_BYTES as u64));
        }
        let mut header = [0; PAGE_WORDS];
        fill(0, &mut header)?;
        if header[VERSION] != LAYOUT_VERSION {
            return Err(FrameError::Version {
                path: path.to_owned(),
                found: header[VERSION],
                supported: LAYOUT_VERSION,
            });
        }
        if header[SIZE] != file_size_bytes {
            return Err(truncated(header[SIZE]));
        }

        // Sizes first, each bounded before anything is read or allocated by it.
        let bounded = |what: &str, found: u64, most: usize| {
            usize::try_from(found)
                .ok()
                .filter(|&found| found <= most)
                .ok_or_else(|| damaged(what, found, format!("at most {most}")))
        };
        let window_count = bounded("window_count", header[WINDOW_COUNT], WINDOW_COUNT_MAX)?;
        let schema_size = bounded("schema_size_bytes", header[SCHEMA_SIZE], SCHEMA_SIZE_BYTES_MAX)?;
        let symbol_size = bounded("symbol_size_bytes", header[SYMBOL_SIZE], NAME_SIZE_BYTES_MAX)?;
        let frame_size_bytes =
            bounded("frame_size_bytes", header[FRAME_SIZE], FRAME_SIZE_BYTES_MAX)?;
        let slot_sizes = slot_words_min(frame_size_bytes) * WORD_SIZE_BYTES..=SLOT_SIZE_BYTES_MAX;
        let slot_words = usize::try_from(header[SLOT_SIZE])
            .ok()
            .filter(|size| slot_sizes.contains(size) && size.is_multiple_of(LINE_SIZE_BYTES))
            .map(|size| size / WORD_SIZE_BYTES)
            .ok_or_else(|| {
                let wanted = format!("a multiple of {LINE_SIZE_BYTES} in {slot_sizes:?}");
                damaged("slot_size_bytes", header[SLOT_SIZE], wanted)
            })?;
        let slot_count = u32::try_from(header[SLOT_COUNT])
            .map_err(|_| damaged("slot_count", header[SLOT_COUNT], "a power of two".to_owned()))?;
        let writer_pid = u32::try_from(header[PID])
            .map_err(|_| damaged("writer_pid", header[PID], "a process number".to_owned()))?;
        let table_words = (window_count * ENTRY_WORDS).next_multiple_of(PAGE_WORDS);
        let schema_at = PAGE_WORDS + table_words;
        let front_words = schema_at + words_of(schema_size).next_multiple_of(PAGE_WORDS);
        if file_size_bytes < (front_words * WORD_SIZE_BYTES) as u64 {
            return Err(truncated((front_words * WORD_SIZE_BYTES) as u64));
        }
        let mut front = vec![0; front_words];
        front[..PAGE_WORDS].copy_from_slice(&header);
        fill(PAGE_SIZE_BYTES, &mut front[PAGE_WORDS..])?;

        let text = |what: &str, words: &[u64], size: usize| {
            String::from_utf8(bytemuck::cast_slice::<u64, u8>(words)[..size].to_vec()).map_err(
                |error| damaged(what, error.utf8_error().valid_up_to() as u64, "UTF-8".to_owned()),
            )
        };
        let mut windows = Vec::with_capacity(window_count);
        for number in 0..window_count {
            let entry = &front[PAGE_WORDS + number * ENTRY_WORDS..][..ENTRY_WORDS];
            let what = |field: &str| format!("windows[{number}].{field}");
            let name_size =
                bounded(&what("name_size_bytes"), entry[ENTRY_NAME_SIZE], NAME_SIZE_BYTES_MAX)?;
            windows.push(WindowSpec {
                name: text(&what("name"), &entry[ENTRY_NAME..ENTRY_ROW_SIZE], name_size)?,
                row_size_bytes: bounded(
                    &what("row_size_bytes"),
                    entry[ENTRY_ROW_SIZE],
                    usize::MAX,
                )?,
                rows_promised: entry[ENTRY_PROMISED],
                capacity: entry[ENTRY_CAPACITY],
            });
        }
        let spec = SegmentSpec {
            symbol: text("symbol", &header[SYMBOL..STATIC_WORDS], symbol_size)?,
            epoch: header[EPOCH],
            schema: text("schema", &front[schema_at..], schema_size)?,
            schema_id: header[SCHEMA_ID],
            frame_size_bytes,
            slot_count,
            windows,
        };

        let planned = Self::plan_with(&spec, slot_words, writer_pid);
        let layout = planned.map_err(|error| match error {
            FrameError::BadSpec { what, found, wanted, .. } => damaged(&what, found, wanted),
            FrameError::BadName { rule, .. } => {
                damaged("symbol", header[SYMBOL], format!("a name that {rule}"))
            }
            other => other,
        })?;
        let plan = layout.encode();
        for (word, name) in [
            (SIZE, "size_bytes"),
            (SCHEMA_OFFSET, "schema_offset"),
            (TABLE_OFFSET, "window_table_offset"),
            (SLOTS_OFFSET, "slots_offset"),
        ] {
            if header[word] != plan[word] {
                return Err(damaged(name, header[word], plan[word].to_string()));
            }
        }
        for number in 0..window_count {
            let at = PAGE_WORDS + number * ENTRY_WORDS + ENTRY_OFFSET;
            if front[at] != plan[at] {
                return Err(damaged(
                    &format!("windows[{number}].offset"),
                    front[at],
                    plan[at].to_string(),
                ));
            }
        }
        let found = checksum(&front, window_count, schema_at, words_of(schema_size));
        if found != header[CHECKSUM] {
            return Err(damaged(
                "the sum of the header's words",
                found,
                header[CHECKSUM].to_string(),
            ));
        }
        Ok(layout)
    }
}

fn put_text(words: &mut [u64], text: &str) {
    bytemuck::cast_slice_mut::<u64, u8>(words)[..text.len()].copy_from_slice(text.as_bytes());
}

/// FNV-1a over the words that never change; each step is a bijection, so no change of one word goes unseen.
fn checksum(words: &[u64], window_count: usize, schema_at: usize, schema_words: usize) -> u64 {
    let header = words[SIZE..STATIC_WORDS].iter();
    let table = (0..window_count)
        .flat_map(|number| &words[PAGE_WORDS + number * ENTRY_WORDS..][..ENTRY_STATIC_WORDS]);
    let schema = words[schema_at..][..schema_words].iter();
    header
        .chain(table)
        .chain(schema)
        .fold(0xCBF2_9CE4_8422_2325, |sum, word| (sum ^ word).wrapping_mul(0x0000_0100_0000_01B3))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use proptest::prelude::{Just, Strategy, any, prop_oneof};
    use proptest::test_runner::{Config, TestCaseError, TestRunner};

    use super::{
        CHECKSUM, ENTRY_WORDS, Layout, PAGE_WORDS, SCHEMA_OFFSET, SCHEMA_SIZE, SIZE, SegmentSpec,
        WINDOW_COUNT, WORD_SIZE_BYTES, WindowSpec, checksum, words_of,
    };
    use crate::error::FrameError;

    fn spec() -> SegmentSpec {
        let window = |name: &str, row_size_bytes, capacity| WindowSpec {
            name: name.to_owned(),
            row_size_bytes,
            rows_promised: 3,
            capacity,
        };
        SegmentSpec {
            symbol: "ETHUSDT".to_owned(),
            epoch: 7,
            schema: "{}".to_owned(),
            schema_id: 9,
            frame_size_bytes: 2_048,
            slot_count: 1_024,
            windows: vec![window("candles.1s", 96, 3_000), window("ticks", 88, 202_500)],
        }
    }

    /// Reads `front` as the beginning of a file of that size, whatever it holds; the rest is zeros.
    fn read(front: &[u64], file_size_bytes: u64) -> Result<Layout, FrameError> {
        Layout::read(Path::new("fuzz"), file_size_bytes, |offset, words| {
            let end = offset.checked_add((words.len() * WORD_SIZE_BYTES) as u64);
            if end.is_none_or(|end| end > file_size_bytes) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let at = usize::try_from(offset).unwrap() / WORD_SIZE_BYTES;
            for (index, word) in words.iter_mut().enumerate() {
                *word = front.get(at + index).copied().unwrap_or(0);
            }
            Ok(())
        })
    }

    /// What is used unchecked afterwards lies inside the file, and nothing lies upon anything else.
    fn assert_sound(layout: &Layout, file_size_bytes: u64) {
        assert_eq!(layout.size_bytes as u64, file_size_bytes);
        let slots = &layout.slots;
        assert!(slots.slot_count.is_power_of_two());
        let mut end =
            slots.slots_at + usize::try_from(slots.slot_count).unwrap() * slots.slot_words;
        for window in &layout.windows {
            let rows = &window.rows;
            assert!(rows.state_at < layout.slots.slots_at && rows.capacity > 0);
            assert!(rows.rows_at >= end);
            end = rows.rows_at + 2 * usize::try_from(rows.capacity).unwrap() * rows.row_words;
        }
        assert!(end <= layout.size_bytes / WORD_SIZE_BYTES);
    }

    #[test]
    fn what_was_written_is_what_is_read() {
        let planned = Layout::plan(&spec(), 123).unwrap();
        let layout = read(&planned.encode(), planned.size_bytes as u64).unwrap();
        assert_eq!(format!("{layout:?}"), format!("{planned:?}"));
        assert_sound(&layout, planned.size_bytes as u64);
        // Slots that follow one another without a gap.
        let closer = Layout::plan_with(&spec(), 264, 123).unwrap();
        let layout = read(&closer.encode(), closer.size_bytes as u64).unwrap();
        assert_eq!(format!("{layout:?}"), format!("{closer:?}"));
        assert_sound(&layout, closer.size_bytes as u64);
        assert!(closer.size_bytes < planned.size_bytes);
    }

    /// Offsets that ARCHITECTURE.md and readers in other languages rely on.
    #[test]
    fn the_layout_is_the_documented_one() {
        let front = Layout::plan(&spec(), 123).unwrap().encode();
        let header = [(0, 0x0067_6e69_7262_6f63), (8, 1), (16, 0), (40, 7), (48, 9), (56, 123)];
        let parts = [(64, 8_192), (72, 2), (80, 4_096), (88, 2), (96, 12_288), (104, 1_024)];
        let sizes =
            [(112, 4_096), (120, 2_048), (128, 7), (136, u64::from_le_bytes(*b"ETHUSDT\0"))];
        let ring_end = 12_288 + 1_024 * 4_096;
        let windows = [
            (4_096, 10),
            (4_168, 96),
            (4_176, 3),
            (4_184, 3_000),
            (4_192, ring_end),
            (4_352 + 96, (ring_end + 2 * 3_000 * 96_u64).next_multiple_of(4_096)),
        ];
        for (offset, word) in header.into_iter().chain(parts).chain(sizes).chain(windows) {
            assert_eq!(front[offset / WORD_SIZE_BYTES], word, "at byte {offset}");
        }
    }

    #[test]
    fn no_header_panics_or_leads_outside_the_file() {
        let valid = Layout::plan(&spec(), 123).unwrap().encode();
        let valid_size = valid[SIZE];
        let word = prop_oneof![
            any::<u64>(),
            0u64..300,
            (0u64..64).prop_map(|shift| 1 << shift),
            (0u64..64).prop_map(|shift| (1u64 << shift).wrapping_neg()),
            (0u64..4_096).prop_map(|pages| pages * 4_096),
        ];
        let at = prop_oneof![4usize..32, PAGE_WORDS..PAGE_WORDS + 2 * ENTRY_WORDS, 0usize..2_000];
        let changes = proptest::collection::vec((at, word), 0..4);
        let size = prop_oneof![Just(None), (0u64..100_000_000).prop_map(Some)];
        let config = Config { failure_persistence: None, cases: 20_000, ..Config::default() };
        TestRunner::new(config)
            .run(&(changes, size, any::<bool>()), |(changes, size, sum_again)| {
                let mut front = valid.clone();
                for (at, word) in changes {
                    if let Some(old) = front.get_mut(at) {
                        *old = word;
                    }
                }
                let file_size_bytes = size.unwrap_or(valid_size);
                if size.is_some() {
                    front[SIZE] = file_size_bytes;
                }
                // Past the sum, as far as its own bounds allow.
                let schema_at =
                    usize::try_from(front[SCHEMA_OFFSET]).unwrap_or(usize::MAX) / WORD_SIZE_BYTES;
                let schema_words =
                    words_of(usize::try_from(front[SCHEMA_SIZE]).unwrap_or(usize::MAX));
                let fits =
                    schema_at.checked_add(schema_words).is_some_and(|end| end <= front.len());
                if sum_again && fits && front[WINDOW_COUNT] <= 8 {
                    let windows = usize::try_from(front[WINDOW_COUNT]).unwrap();
                    front[CHECKSUM] = checksum(&front, windows, schema_at, schema_words);
                }
                if let Ok(layout) = read(&front, file_size_bytes) {
                    assert_sound(&layout, file_size_bytes);
                }
                Ok::<_, TestCaseError>(())
            })
            .unwrap();
    }

    #[test]
    fn no_bytes_at_all_panic() {
        let words = proptest::collection::vec(any::<u64>(), 0..1_500);
        TestRunner::new(Config { failure_persistence: None, ..Config::default() })
            .run(&(words, any::<bool>()), |(mut words, ours)| {
                let size = (words.len() * WORD_SIZE_BYTES) as u64;
                if ours && words.len() > SIZE {
                    (words[0], words[1], words[SIZE]) = (super::MAGIC, super::LAYOUT_VERSION, size);
                }
                assert!(read(&words, size).is_err());
                Ok::<_, TestCaseError>(())
            })
            .unwrap();
    }
}
