use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use cobring_types::Input;

use super::checkpoint::LogStart;
use super::disk::{Disk, DiskFile, RealDisk};
use super::error::LogError;
use super::header::LogHeader;
use super::record::{self, PAYLOAD_BYTES_MAX};
use crate::source::Source;

const BUFFER_BYTES: usize = 256 * 1024;
pub(super) const TEMPORARY_SUFFIX: &str = ".tmp";
/// What the name of a file ends in.
pub(super) const LOG_SUFFIX: &str = ".cblog";
/// What is appended to that when it is compressed.
pub(super) const ZSTD_SUFFIX: &str = ".zst";
const GZIP_SUFFIX: &str = ".gz";

/// One log file, written by the calling thread.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    /// Records that are not in the file yet.
    buffer: Vec<u8>,
    buffered_inputs: u64,
    /// Inputs that are.
    written_inputs: u64,
    /// Size of the file: whole records.
    written_bytes: u64,
    /// Of that, header and checkpoint.
    start_bytes: u64,
}

impl LogFile {
    /// Makes a file in `dir`, which is made where it is missing. It has its name once header and
    /// checkpoint are safe on the disk.
    ///
    /// # Errors
    /// [`LogError::Io`] or [`LogError::Exists`]; no file is left behind.
    pub fn create(dir: &Path, header: &LogHeader, start: &LogStart) -> Result<Self, LogError> {
        RealDisk
            .create_dir(dir)
            .map_err(|error| LogError::io(dir, "make the log's directory", error))?;
        Self::create_on(&RealDisk, dir, header, start)
    }

    pub(super) fn create_on(
        disk: &dyn Disk,
        dir: &Path,
        header: &LogHeader,
        start: &LogStart,
    ) -> Result<Self, LogError> {
        let path = dir.join(header.file_name());
        let temporary = with_suffix(&path, TEMPORARY_SUFFIX);
        let mut bytes = header.encode();
        start
            .append(&mut bytes)
            .map_err(|error| LogError::io(&path, "compress its checkpoint", error))?;
        let mut file = disk
            .create(&temporary)
            .map_err(|error| LogError::io(&temporary, "make a log file", error))?;
        let named = file
            .write_all(&bytes)
            .and_then(|()| file.sync_data())
            .and_then(|()| disk.publish(&temporary, &path));
        if let Err(error) = named {
            // Best effort: the next start removes what is left.
            drop(disk.remove(&temporary));
            return Err(LogError::io(&path, "make a log file", error));
        }
        Ok(Self {
            path,
            file,
            buffer: Vec::with_capacity(2 * BUFFER_BYTES),
            buffered_inputs: 0,
            written_inputs: 0,
            written_bytes: bytes.len() as u64,
            start_bytes: bytes.len() as u64,
        })
    }

    /// Adds an input, to be written when enough have come or [`Self::flush`] is called. Numbers must go
    /// on one by one, but before a `LogLost`.
    ///
    /// # Errors
    /// [`LogError::TooLarge`]: the input is not in the log. [`LogError::Io`]: the file is at its end,
    /// see [`Self::abandon`].
    pub fn append(&mut self, input: &Input<'_>) -> Result<(), LogError> {
        if input.bytes.len() > PAYLOAD_BYTES_MAX {
            let input_seq = input.stamp.input_seq;
            return Err(LogError::TooLarge { input_seq, found: input.bytes.len() });
        }
        record::append(&mut self.buffer, input);
        self.buffered_inputs += 1;
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    /// Hands what was added to the system: it survives the end of the process.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn flush(&mut self) -> Result<(), LogError> {
        if !self.buffer.is_empty() {
            self.file
                .write_all(&self.buffer)
                .map_err(|error| LogError::io(&self.path, "be written", error))?;
            self.written_bytes += self.buffer.len() as u64;
            self.written_inputs += std::mem::take(&mut self.buffered_inputs);
            self.buffer.clear();
        }
        Ok(())
    }

    /// Waits until what was added is on the disk: it survives a power cut.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn sync(&mut self) -> Result<(), LogError> {
        self.flush()?;
        self.file.sync_data().map_err(|error| LogError::io(&self.path, "be synced", error))
    }

    /// Closes the file with all that was added on the disk; gives its path.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn finish(mut self) -> Result<PathBuf, LogError> {
        self.sync()?;
        Ok(std::mem::take(&mut self.path))
    }

    /// Gives the file up after an error: cuts what was written of the last records, if it can. The
    /// inputs that were added and are not in the file.
    pub fn abandon(mut self) -> u64 {
        // A reader finds the torn record by its checksum too.
        drop(self.file.set_len(self.written_bytes));
        self.buffer.clear();
        self.buffered_inputs
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its size with all that was added.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.written_bytes + self.buffer.len() as u64
    }

    /// Of that, the inputs.
    #[must_use]
    pub fn inputs_bytes(&self) -> u64 {
        self.size_bytes() - self.start_bytes
    }

    /// Inputs that were handed to the system.
    #[must_use]
    pub fn written_inputs(&self) -> u64 {
        self.written_inputs
    }

    pub(super) fn has_buffered(&self) -> bool {
        self.buffered_inputs > 0
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        // An early return of the caller: what it added is worth keeping, and nobody is left to tell.
        drop(self.flush());
    }
}

/// The log files of a directory, compressed ones included, in time order. Of a file that is there plain and compressed,
/// as a kill between the two leaves it, the plain one.
///
/// # Errors
/// [`LogError::Io`] where the directory cannot be read.
pub fn log_files(dir: &Path) -> Result<Vec<PathBuf>, LogError> {
    let mut paths = stored_files(dir)?;
    // The plain one sorts before the compressed ones of its name.
    paths.dedup_by(|path, kept| plain_path(path) == plain_path(kept));
    Ok(paths)
}

/// As [`log_files`], with both where a file is there twice.
pub(super) fn stored_files(dir: &Path) -> Result<Vec<PathBuf>, LogError> {
    let read = |error| LogError::io(dir, "be listed", error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if plain_path(&path).to_string_lossy().ends_with(LOG_SUFFIX) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The path without what says that it is compressed.
pub(super) fn plain_path(path: &Path) -> PathBuf {
    let text = path.to_string_lossy();
    let plain = [ZSTD_SUFFIX, GZIP_SUFFIX].iter().find_map(|suffix| text.strip_suffix(suffix));
    plain.map_or_else(|| path.to_owned(), PathBuf::from)
}

/// The name of the file at `path` as it was written: without what says that it is compressed.
#[must_use]
pub fn plain_name(path: &Path) -> String {
    plain_path(path).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The path with `suffix` appended to its name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.into();
    name.push(suffix);
    name.into()
}

/// Opens a log file, or the compressed one that took its place since it was listed.
pub(super) fn open_stored(path: &Path) -> Result<Source, LogError> {
    Source::open(path)
        .or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Source::open(&with_suffix(path, ZSTD_SUFFIX)).map_err(|_| error)
            }
            _ => Err(error),
        })
        .map_err(|error| LogError::io(path, "be read", error))
}

/// The log files of the newest run of `dir`, in order: those of the greatest epoch that their names tell.
///
/// # Errors
/// As [`log_files`]; [`LogError::NoFiles`] where there is none.
pub fn newest_run(dir: &Path) -> Result<Vec<PathBuf>, LogError> {
    let files = log_files(dir)?;
    let newest = files.iter().filter_map(|path| epoch_in_name(path)).max();
    of_epoch(files, newest.ok_or(LogError::NoFiles)?)
}

/// The log files of the run of that epoch in `dir`, in order.
///
/// # Errors
/// As [`newest_run`].
pub fn run_of_epoch(dir: &Path, epoch: u64) -> Result<Vec<PathBuf>, LogError> {
    of_epoch(log_files(dir)?, epoch)
}

fn of_epoch(mut files: Vec<PathBuf>, epoch: u64) -> Result<Vec<PathBuf>, LogError> {
    files.retain(|path| epoch_in_name(path) == Some(epoch));
    if files.is_empty() { Err(LogError::NoFiles) } else { Ok(files) }
}

/// The epoch in a name as [`LogHeader::file_name`] makes it.
pub(super) fn epoch_in_name(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.split('_').nth(1)?.parse().ok()
}
