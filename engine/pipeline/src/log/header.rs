use std::path::Path;

use cobring_types::{Nanos, Symbol};

use super::error::LogError;
use super::file::open_stored;
use super::record::{i64_at, pad, u32_at, u64_at};
use crate::source::Source;
use crate::utc;

/// The format's version. Whatever changes a byte raises it.
pub const LOG_VERSION: u32 = 1;

/// As PNG's: a transfer that rewrites line ends or cuts bit 7 shows in it.
pub(super) const MAGIC: [u8; 8] = *b"CBLOG\r\n\x1a";
const FIXED_BYTES: usize = 88;
const CRC_AT: usize = 84;
const HEADER_BYTES_MAX: usize = 16 << 20;

/// What a log file says about its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogHeader {
    /// Epoch of the run.
    pub epoch: u64,
    /// Number of the file's first input.
    pub first_input_seq: u64,
    /// Our clock when the file was begun: the stamp of an input, so that a replay's log has the same
    /// name.
    pub ts_start: Nanos,
    /// Digest of the configuration that decides frames.
    pub config_digest: [u8; 32],
    /// That configuration.
    pub config: String,
    /// Checksum of the venue's addresses, 0 for a replay.
    pub venue_digest: u32,
    /// What [`cobring_types::SymbolIndex`] indexes.
    pub symbols: Vec<Symbol>,
}

impl LogHeader {
    /// The name that sorts by time: `<start UTC>_<epoch>_<first input_seq>.cblog`.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!(
            "{}_{:020}_{:020}.cblog",
            utc::compact(self.ts_start),
            self.epoch,
            self.first_input_seq
        )
    }

    /// The header of the file at `path`.
    ///
    /// # Errors
    /// [`LogError`] where it cannot be read, or is none.
    pub fn of_file(path: &Path) -> Result<Self, LogError> {
        Self::read(&mut open_stored(path)?)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; FIXED_BYTES];
        bytes.extend_from_slice(self.config.as_bytes());
        for symbol in &self.symbols {
            let text = symbol.as_str();
            bytes.push(u8::try_from(text.len()).expect("invariant: MAX_SYMBOL_BYTES"));
            bytes.extend_from_slice(text.as_bytes());
        }
        pad(&mut bytes);
        let length = |count: usize| u32::try_from(count).expect("invariant: below 4 GiB");
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&LOG_VERSION.to_le_bytes());
        let header_bytes = length(bytes.len());
        bytes[12..16].copy_from_slice(&header_bytes.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first_input_seq.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.ts_start.0.to_le_bytes());
        bytes[40..72].copy_from_slice(&self.config_digest);
        bytes[72..76].copy_from_slice(&length(self.config.len()).to_le_bytes());
        bytes[76..80].copy_from_slice(&length(self.symbols.len()).to_le_bytes());
        bytes[80..84].copy_from_slice(&self.venue_digest.to_le_bytes());
        let crc = checksum(&bytes);
        bytes[CRC_AT..FIXED_BYTES].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Consumes the header.
    pub(super) fn read(source: &mut Source) -> Result<Self, LogError> {
        const PART: &str = "header";
        let damaged = |source: &Source, found: String, wanted: String| LogError::Damaged {
            path: source.path().to_owned(),
            part: PART,
            found,
            wanted,
        };
        fill(source, FIXED_BYTES, PART).or_else(|error| match error {
            // What is too short to be a header may be no log at all.
            LogError::Short { .. } if !MAGIC.starts_with(first_bytes(source)) => Ok(()),
            error => Err(error),
        })?;
        if first_bytes(source) != MAGIC {
            let found = first_bytes(source).to_vec();
            return Err(LogError::Foreign { path: source.path().to_owned(), found });
        }
        let version = u32_at(source.available(), 8);
        if version != LOG_VERSION {
            let path = source.path().to_owned();
            return Err(LogError::Version { path, found: version, wanted: LOG_VERSION });
        }
        let length = u32_at(source.available(), 12) as usize;
        if !(FIXED_BYTES..=HEADER_BYTES_MAX).contains(&length) || !length.is_multiple_of(8) {
            let wanted = format!("a multiple of 8 from {FIXED_BYTES} to {HEADER_BYTES_MAX}");
            return Err(damaged(source, format!("a length of {length} bytes"), wanted));
        }
        fill(source, length, PART)?;
        let bytes = &source.available()[..length];
        let (found, wanted) = (checksum(bytes), u32_at(bytes, CRC_AT));
        if found != wanted {
            let wanted = format!("{wanted:#010x}");
            return Err(damaged(source, format!("checksum {found:#010x}"), wanted));
        }
        let header = Self::decode(bytes).ok_or_else(|| {
            damaged(source, "texts that do not parse".into(), "UTF-8 and symbols".into())
        })?;
        source.consume(length);
        Ok(header)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let texts = &bytes[FIXED_BYTES..];
        let (config, mut rest) = texts.split_at_checked(u32_at(bytes, 72) as usize)?;
        let mut symbols = Vec::new();
        for _ in 0..u32_at(bytes, 76) {
            let (&length, tail) = rest.split_first()?;
            let (text, tail) = tail.split_at_checked(usize::from(length))?;
            symbols.push(Symbol::new(std::str::from_utf8(text).ok()?).ok()?);
            rest = tail;
        }
        Some(Self {
            epoch: u64_at(bytes, 16),
            first_input_seq: u64_at(bytes, 24),
            ts_start: Nanos(i64_at(bytes, 32)),
            config_digest: bytes[40..72].try_into().expect("invariant: 32 bytes"),
            config: std::str::from_utf8(config).ok()?.to_owned(),
            venue_digest: u32_at(bytes, 80),
            symbols,
        })
    }
}

fn first_bytes(source: &Source) -> &[u8] {
    let available = source.available();
    &available[..available.len().min(MAGIC.len())]
}

fn checksum(header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[..CRC_AT]), &header[FIXED_BYTES..])
}

/// Makes `wanted` bytes of `part` available.
pub(super) fn fill(source: &mut Source, wanted: usize, part: &'static str) -> Result<(), LogError> {
    let short = |source: &Source| LogError::Short {
        path: source.path().to_owned(),
        found: source.offset() + source.available().len() as u64,
        part,
    };
    match source.fill(wanted) {
        Ok(true) => Ok(()),
        Ok(false) => Err(short(source)),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(short(source)),
        Err(error) => Err(LogError::io(source.path(), "be read", error)),
    }
}

/// Whether a file is one of our logs, compressed or not, and not a recording in lines.
///
/// # Errors
/// [`LogError::Io`] where it cannot be read.
pub fn is_log_file(path: &Path) -> Result<bool, LogError> {
    let read = |error| LogError::io(path, "be read", error);
    let mut source = open_stored(path)?;
    match source.fill(MAGIC.len()) {
        Ok(_) => Ok(first_bytes(&source) == MAGIC),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(read(error)),
    }
}
