//! Bounds and pivots from archives, in a file that the engine takes as an input when it starts.
//!
//! Guarantees: written whole or not at all; version, checksum, symbol and scales are checked before a figure
//! counts. Does not: judge whether the period lies in the past (that is for the time of the frame).
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic |
//! | 8 | 4 | version, little-endian as all |
//! | 12 | 4 | crc32c of the body |
//! | 16 | 8 | length of the body |
//! | 24 | … | [`BoundsFile`] by postcard |

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use cobring_market::{BoundsTracker, ClosedBar, ImportedHours, PivotBar, Structure};
use cobring_types::{Instrument, Kline, Nanos};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The format's version. Whatever changes a byte raises it, and so does a change of the structure's state.
pub const BOUNDS_VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"CBNDS\r\n\x1a";
const HEADER_BYTES: usize = 24;
/// A file holds 720 hours and at most 40,960 untouched pivots.
const BODY_BYTES_MAX: usize = 4 << 20;

/// What an import of 1s bars leaves behind.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BoundsFile {
    /// Whose bars.
    pub symbol: String,
    /// What a tick is, a decimal.
    pub tick_size: String,
    /// What quantities are counted in.
    pub qty_decimals: u8,
    /// Bars that were read.
    pub bars: u64,
    /// The hours of the period and the pivots at its end.
    pub imported: ImportedHours,
    /// The 1s structure after the last bar, since [`Structure::origin`].
    pub structure: Structure,
}

/// Why a bounds file cannot be used, or not be written.
#[derive(Debug, Error)]
pub enum BoundsFileError {
    /// The system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's word.
        source: io::Error,
    },
    /// Its bytes are none.
    #[error("{name}: {found}, wanted {wanted}")]
    Damaged {
        /// The file.
        name: String,
        /// What is there.
        found: String,
        /// What belongs there.
        wanted: String,
    },
    /// Of another symbol or in other units.
    #[error("{name}: {what} is {found}, wanted {wanted} as configured: import the archives again")]
    Other {
        /// The file.
        name: String,
        /// What differs.
        what: &'static str,
        /// What the file has.
        found: String,
        /// What the configuration has.
        wanted: String,
    },
}

impl BoundsFile {
    /// The file of a symbol in the directory of bounds.
    #[must_use]
    pub fn path(dir: &Path, symbol: &str) -> PathBuf {
        dir.join(format!("{symbol}.bounds"))
    }

    /// The file's bytes.
    ///
    /// # Panics
    /// Never: plain data always encode.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let body = postcard::to_allocvec(self).expect("invariant: plain data encode");
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&BOUNDS_VERSION.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }

    /// What a file's bytes hold for an instrument; `name` is what its errors call it.
    ///
    /// # Errors
    /// [`BoundsFileError`] where they are no bounds, damaged, of another version, or of another instrument.
    pub fn decode(
        bytes: &[u8],
        instrument: &Instrument,
        name: &str,
    ) -> Result<Self, BoundsFileError> {
        let damaged = |found: String, wanted: String| BoundsFileError::Damaged {
            name: name.to_owned(),
            found,
            wanted,
        };
        let Some((header, body)) = bytes.split_at_checked(HEADER_BYTES) else {
            return Err(damaged(
                format!("{} bytes", bytes.len()),
                format!("a header of {HEADER_BYTES}"),
            ));
        };
        if header[..8] != MAGIC {
            return Err(damaged(
                format!("begins with {:02x?}", &header[..8]),
                format!("{MAGIC:02x?}"),
            ));
        }
        let u32_at = |at: usize| {
            u32::from_le_bytes(header[at..at + 4].try_into().expect("invariant: four bytes"))
        };
        if u32_at(8) != BOUNDS_VERSION {
            return Err(damaged(
                format!("has version {}", u32_at(8)),
                format!("{BOUNDS_VERSION}: import the archives again"),
            ));
        }
        let length = u64::from_le_bytes(header[16..24].try_into().expect("invariant: eight bytes"));
        if length != body.len() as u64 {
            return Err(damaged(
                format!("has {} bytes of its body", body.len()),
                length.to_string(),
            ));
        }
        let crc = crc32c::crc32c(body);
        if crc != u32_at(12) {
            return Err(damaged(format!("has checksum {crc:08x}"), format!("{:08x}", u32_at(12))));
        }
        let mut file: Self = postcard::from_bytes(body).map_err(|error| {
            damaged(format!("a body that is none ({error})"), "bounds".to_owned())
        })?;
        file.structure.reserve();
        let qty_decimals = instrument.qty_decimals.to_string();
        for (what, found, wanted) in [
            ("its symbol", &file.symbol, instrument.symbol.as_str()),
            ("its tick size", &file.tick_size, &instrument.tick_size()),
            ("its number of decimals of quantity", &file.qty_decimals.to_string(), &qty_decimals),
        ] {
            if found != wanted {
                return Err(BoundsFileError::Other {
                    name: name.to_owned(),
                    what,
                    found: found.clone(),
                    wanted: wanted.to_owned(),
                });
            }
        }
        Ok(file)
    }

    /// Writes the file of its symbol into a directory, which is made where it is missing: beside the old
    /// one first, then in its place.
    ///
    /// # Errors
    /// [`BoundsFileError::Io`]
    pub fn write(&self, dir: &Path) -> Result<PathBuf, BoundsFileError> {
        let path = Self::path(dir, &self.symbol);
        let beside = path.with_extension("bounds.new");
        let io = |action| {
            let path = path.clone();
            move |source| BoundsFileError::Io { path, action, source }
        };
        fs::create_dir_all(dir).map_err(io("make its directory"))?;
        let write = || -> io::Result<()> {
            let mut file = File::create(&beside)?;
            file.write_all(&self.encode())?;
            file.sync_all()
        };
        write().map_err(io("be written"))?;
        fs::rename(&beside, &path).map_err(io("be put in its place"))?;
        Ok(path)
    }

    /// The bytes of an instrument's file in a directory, unchecked: to log them as they are. None where
    /// there is no such file.
    ///
    /// # Errors
    /// [`BoundsFileError`] where it cannot be read, or is larger than bounds ever are.
    pub fn read(dir: &Path, symbol: &str) -> Result<Option<Vec<u8>>, BoundsFileError> {
        let path = Self::path(dir, symbol);
        let io = |source| BoundsFileError::Io { path: path.clone(), action: "be read", source };
        let size_bytes = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found.map_err(io)?.len(),
        };
        let bytes_max = HEADER_BYTES + BODY_BYTES_MAX;
        if size_bytes > bytes_max as u64 {
            return Err(BoundsFileError::Damaged {
                name: path.display().to_string(),
                found: format!("has {size_bytes} bytes"),
                wanted: format!("at most {bytes_max}"),
            });
        }
        fs::read(&path).map(Some).map_err(io)
    }
}

/// Folds 1s bars into what a [`BoundsFile`] holds.
#[derive(Debug)]
pub struct BoundsImport {
    tracker: BoundsTracker,
    structure: Structure,
    /// Where the next bar would begin.
    next: Nanos,
    bars: u64,
}

impl Default for BoundsImport {
    fn default() -> Self {
        Self::new()
    }
}

impl BoundsImport {
    /// No bar seen.
    #[must_use]
    pub fn new() -> Self {
        Self {
            tracker: BoundsTracker::new(),
            structure: Structure::new(),
            next: Nanos::UNDEF,
            bars: 0,
        }
    }

    /// The next 1s bar. Seconds between the last one and this are a hole.
    pub fn on_kline(&mut self, kline: &Kline, instrument: &Instrument) {
        let Kline { open_time, high, low, close, .. } = *kline;
        let volume = i128::from(kline.volume.0);
        let quote_volume = instrument.kline_notional(kline.quote_volume);
        let bar = ClosedBar { open_time, high, low, close, volume, quote_volume, hole: false };
        self.tracker.on_bar(&bar, &self.structure);
        let ts_closed = Nanos(open_time.0 + Nanos::SECOND.0);
        let bar = PivotBar { open_time, ts_closed, high, low, hole: false };
        if self.next.is_defined() && open_time > self.next {
            self.structure.on_bar(&PivotBar { hole: true, ..bar }, &mut |_| {});
        }
        if kline.trade_count > 0 {
            self.structure.on_bar(&bar, &mut |_| {});
        }
        self.next = ts_closed;
        self.bars += 1;
    }

    /// What the bars come to; none where they do not reach the end of an hour.
    #[must_use]
    pub fn finish(mut self, instrument: &Instrument) -> Option<BoundsFile> {
        if self.next.is_defined() {
            self.tracker.advance_to(self.next, &self.structure);
        }
        Some(BoundsFile {
            symbol: instrument.symbol.as_str().to_owned(),
            tick_size: instrument.tick_size(),
            qty_decimals: instrument.qty_decimals,
            bars: self.bars,
            imported: self.tracker.export()?,
            structure: self.structure,
        })
    }
}
