use std::io::{self, Read, Write};

use super::error::LogError;
use super::header::fill;
use super::record::{ALIGN_BYTES, pad, u16_at, u32_at, u64_at};
use crate::source::Source;

const MAGIC: [u8; 4] = *b"CKPT";
const FIXED_BYTES: usize = 40;
const CRC_AT: usize = 32;
const AFTER_CRC: usize = 36;
const INITIAL: u32 = 0;
const TAKEN: u32 = 1;
const MISSING: u32 = 2;
const RESUMED: u32 = 3;
/// Level 3: the windows are mostly zeros and small differences, higher levels cost more than they save.
const ZSTD_LEVEL: i32 = 3;
/// Above any window set; what a damaged length could make us allocate.
const UNCOMPRESSED_BYTES_MAX: u64 = 8 << 30;
const PART: &str = "checkpoint";

/// The fold's state at one input, opaque to the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// The input that the state is after.
    pub input_seq: u64,
    /// The fold's own state.
    pub state: Vec<u8>,
    /// What belongs to it and was copied by others, e.g. the windows of each symbol.
    pub blobs: Vec<CheckpointBlob>,
}

/// What became of a checkpoint that was asked for.
#[derive(Debug)]
pub(super) enum Answer {
    Taken(Checkpoint),
    LeftOut { input_seq: u64 },
}

impl Answer {
    pub(super) fn input_seq(&self) -> u64 {
        match self {
            Self::Taken(Checkpoint { input_seq, .. }) | Self::LeftOut { input_seq } => *input_seq,
        }
    }
}

/// A named part of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointBlob {
    /// Unique in its checkpoint, at most 65,535 bytes.
    pub name: String,
    /// Opaque.
    pub bytes: Vec<u8>,
}

impl Checkpoint {
    /// The part called `name`.
    #[must_use]
    pub fn blob(&self, name: &str) -> Option<&[u8]> {
        self.blobs.iter().find(|blob| blob.name == name).map(|blob| &blob.bytes[..])
    }
}

/// What a log file begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogStart {
    /// An empty fold.
    Initial,
    /// The state that its first input is folded into.
    Taken(Checkpoint),
    /// The state that the run before left, before the first input of this one.
    Resumed(Checkpoint),
    /// The state is unknown: the checkpoint did not come in time, or the log could not be written for a while.
    Missing,
}

impl LogStart {
    /// The checkpoint, where there is one.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        match self {
            Self::Taken(checkpoint) | Self::Resumed(checkpoint) => Some(checkpoint),
            Self::Initial | Self::Missing => None,
        }
    }

    /// Appends the section; `file` is padded to 8 bytes.
    pub(super) fn append(&self, file: &mut Vec<u8>) -> io::Result<()> {
        let (kind, input_seq, raw_bytes) = match self {
            Self::Initial => (INITIAL, 0, 0),
            Self::Missing => (MISSING, 0, 0),
            Self::Taken(checkpoint) => (TAKEN, checkpoint.input_seq, contents_bytes(checkpoint)),
            Self::Resumed(checkpoint) => (RESUMED, 0, contents_bytes(checkpoint)),
        };
        let start = file.len();
        let mut head = [0; FIXED_BYTES];
        head[0..4].copy_from_slice(&MAGIC);
        head[4..8].copy_from_slice(&kind.to_le_bytes());
        head[8..16].copy_from_slice(&input_seq.to_le_bytes());
        head[24..32].copy_from_slice(&(raw_bytes as u64).to_le_bytes());
        file.extend_from_slice(&head);
        if let Some(checkpoint) = self.checkpoint() {
            // Streamed: windows are large, and another copy of them would count against the process.
            let mut encoder = zstd::stream::write::Encoder::new(&mut *file, ZSTD_LEVEL)?;
            write_contents(checkpoint, &mut encoder)?;
            encoder.finish()?;
        }
        let stored_bytes = file.len() - start - FIXED_BYTES;
        pad(file);
        let section = &mut file[start..];
        section[16..24].copy_from_slice(&(stored_bytes as u64).to_le_bytes());
        let crc = checksum(section);
        section[CRC_AT..AFTER_CRC].copy_from_slice(&crc.to_le_bytes());
        Ok(())
    }

    /// Consumes the checkpoint section.
    pub(super) fn read(source: &mut Source) -> Result<Self, LogError> {
        let damaged = |source: &Source, found: String, wanted: String| LogError::Damaged {
            path: source.path().to_owned(),
            part: PART,
            found,
            wanted,
        };
        fill(source, FIXED_BYTES, PART)?;
        let head = source.available();
        if head[..4] != MAGIC {
            let found = format!("{:02x?}", &head[..4]);
            return Err(damaged(source, found, format!("{MAGIC:02x?}")));
        }
        let stored_bytes = u64_at(head, 16);
        let raw_bytes = u64_at(head, 24);
        if stored_bytes.max(raw_bytes) > UNCOMPRESSED_BYTES_MAX {
            let found = format!("a length of {} bytes", stored_bytes.max(raw_bytes));
            return Err(damaged(source, found, format!("at most {UNCOMPRESSED_BYTES_MAX}")));
        }
        let stored_bytes = usize::try_from(stored_bytes).expect("invariant: 64-bit lengths");
        let total = FIXED_BYTES + stored_bytes.next_multiple_of(ALIGN_BYTES);
        fill(source, total, PART)?;
        let bytes = &source.available()[..total];
        let (found, wanted) = (checksum(bytes), u32_at(bytes, CRC_AT));
        if found != wanted {
            let wanted = format!("{wanted:#010x}");
            return Err(damaged(source, format!("checksum {found:#010x}"), wanted));
        }
        let start = match u32_at(bytes, 4) {
            INITIAL => Self::Initial,
            MISSING => Self::Missing,
            kind @ (TAKEN | RESUMED) => {
                let stored = &bytes[FIXED_BYTES..FIXED_BYTES + stored_bytes];
                let parsed = decompress(stored, raw_bytes)
                    .and_then(|raw| parse(&raw, u64_at(bytes, 8)))
                    .ok_or_else(|| {
                        let wanted = "a zstd frame of a state and named blobs".to_owned();
                        damaged(source, "contents that do not parse".to_owned(), wanted)
                    })?;
                if kind == TAKEN { Self::Taken(parsed) } else { Self::Resumed(parsed) }
            }
            kind => {
                let found = format!("the kind {kind}");
                return Err(damaged(source, found, format!("{INITIAL} to {RESUMED}")));
            }
        };
        source.consume(total);
        Ok(start)
    }
}

fn checksum(section: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&section[..CRC_AT]), &section[AFTER_CRC..])
}

fn contents_bytes(checkpoint: &Checkpoint) -> usize {
    let blobs = checkpoint.blobs.iter();
    let blob_bytes: usize = blobs.map(|blob| 2 + blob.name.len() + 8 + blob.bytes.len()).sum();
    8 + checkpoint.state.len() + 4 + blob_bytes
}

fn write_contents(checkpoint: &Checkpoint, target: &mut impl Write) -> io::Result<()> {
    let Checkpoint { input_seq: _, state, blobs } = checkpoint;
    target.write_all(&(state.len() as u64).to_le_bytes())?;
    target.write_all(state)?;
    let count = u32::try_from(blobs.len()).expect("invariant: a few blobs for each symbol");
    target.write_all(&count.to_le_bytes())?;
    for CheckpointBlob { name, bytes } in blobs {
        let length = u16::try_from(name.len()).expect("invariant: short names");
        target.write_all(&length.to_le_bytes())?;
        target.write_all(name.as_bytes())?;
        target.write_all(&(bytes.len() as u64).to_le_bytes())?;
        target.write_all(bytes)?;
    }
    Ok(())
}

fn decompress(stored: &[u8], raw_bytes: u64) -> Option<Vec<u8>> {
    // Streamed, so that memory follows what is really there.
    let mut raw = Vec::new();
    let decoder = zstd::stream::read::Decoder::with_buffer(stored).ok()?;
    decoder.take(raw_bytes + 1).read_to_end(&mut raw).ok()?;
    (raw.len() as u64 == raw_bytes).then_some(raw)
}

fn parse(raw: &[u8], input_seq: u64) -> Option<Checkpoint> {
    let mut rest = raw;
    let mut take = |count: u64| {
        let (taken, tail) = rest.split_at_checked(usize::try_from(count).ok()?)?;
        rest = tail;
        Some(taken)
    };
    let state_bytes = u64_at(take(8)?, 0);
    let state = take(state_bytes)?.to_vec();
    let mut blobs = Vec::new();
    for _ in 0..u32_at(take(4)?, 0) {
        let name_bytes = u16_at(take(2)?, 0);
        let name = std::str::from_utf8(take(u64::from(name_bytes))?).ok()?.to_owned();
        let bytes = u64_at(take(8)?, 0);
        blobs.push(CheckpointBlob { name, bytes: take(bytes)?.to_vec() });
    }
    rest.is_empty().then_some(Checkpoint { input_seq, state, blobs })
}
