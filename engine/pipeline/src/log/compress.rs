//! A closed log file becomes a smaller one.
//!
//! Guarantees: at each instant one of the two is there whole: the compressed one gets its name when it is on the disk,
//! and only then the plain one goes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::disk::{Disk, DiskFile};
use super::error::LogError;
use super::file::{TEMPORARY_SUFFIX, ZSTD_SUFFIX, with_suffix};

/// Level 3: a sixth of the size at 100 MB/s; what higher levels gain is not worth a core.
const LEVEL: i32 = 3;
const CHUNK_BYTES: usize = 256 * 1024;

/// Compresses the file at `path`; its new path, or `None` where `stop` said to leave it.
pub(super) fn compress(
    disk: &dyn Disk,
    path: &Path,
    stop: impl Fn() -> bool,
) -> Result<Option<PathBuf>, LogError> {
    let packed = with_suffix(path, ZSTD_SUFFIX);
    let temporary = with_suffix(&packed, TEMPORARY_SUFFIX);
    let made = write_packed(disk, path, &temporary, stop);
    if !matches!(made, Ok(true)) {
        // Best effort: the next start removes what is left.
        drop(disk.remove(&temporary));
    }
    if !made.map_err(|error| LogError::io(&packed, "be made", error))? {
        return Ok(None);
    }
    disk.publish(&temporary, &packed)
        .and_then(|()| disk.remove(path))
        .map_err(|error| LogError::io(&packed, "take the place of the plain one", error))?;
    Ok(Some(packed))
}

/// Whether it was made.
fn write_packed(
    disk: &dyn Disk,
    path: &Path,
    temporary: &Path,
    stop: impl Fn() -> bool,
) -> io::Result<bool> {
    let mut plain = File::open(path)?;
    let target = disk.create(temporary)?;
    let mut encoder = zstd::stream::write::Encoder::new(Writing(target), LEVEL)?;
    // A flipped bit of the compressed data is found even where no record's checksum shows it.
    encoder.include_checksum(true)?;
    encoder.include_contentsize(true)?;
    encoder.set_pledged_src_size(Some(plain.metadata()?.len()))?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = plain.read(&mut chunk)?;
        if count == 0 {
            break;
        }
        encoder.write_all(&chunk[..count])?;
        if stop() {
            return Ok(false);
        }
    }
    encoder.finish()?.0.sync_data()?;
    Ok(true)
}

/// A file on its way to the disk, for the encoder.
struct Writing(Box<dyn DiskFile>);

impl Write for Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
