use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a log cannot be written or read: one sentence that names the file, what is there and what was
/// wanted.
#[derive(Debug, Error)]
pub enum LogError {
    /// The system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's word.
        source: io::Error,
    },
    /// A file of that name is there.
    #[error("{}: exists already: a log is never overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// An input larger than a record can be.
    #[error(
        "input {input_seq} has {found} bytes: a log record holds at most {} bytes",
        super::PAYLOAD_BYTES_MAX
    )]
    TooLarge {
        /// The input.
        input_seq: u64,
        /// Its size.
        found: usize,
    },
    /// Nothing to read was given.
    #[error("no log files were given")]
    NoFiles,
    /// Not a log.
    #[error(
        "{}: is no cobring log: begins with {found:02x?}, wanted {:02x?}",
        path.display(),
        super::header::MAGIC
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its first bytes.
        found: Vec<u8>,
    },
    /// A log of another version.
    #[error("{}: has log version {found}, wanted {wanted}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        wanted: u32,
    },
    /// The header or the checkpoint is cut off.
    #[error("{}: ends after {found} bytes, inside its {part}", path.display())]
    Short {
        /// The file.
        path: PathBuf,
        /// Its size, decompressed.
        found: u64,
        /// Where it ends.
        part: &'static str,
    },
    /// The header or the checkpoint is damaged.
    #[error("{}: its {part} is damaged: found {found}, wanted {wanted}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which part.
        part: &'static str,
        /// What is there.
        found: String,
        /// What should be.
        wanted: String,
    },
    /// A record in the middle is damaged: good ones follow it, so it is no torn tail.
    #[error(
        "{}: the record at offset {offset} is damaged ({reason}): wanted input {expected_seq}; \
         good records go on at offset {resume_offset}",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where it is, decompressed.
        offset: u64,
        /// What is wrong with it.
        reason: &'static str,
        /// The input that should be there.
        expected_seq: u64,
        /// The next good record.
        resume_offset: u64,
    },
    /// A record of a kind that this version does not know.
    #[error("{}: the record at offset {offset} has the unknown kind {found}", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// Where it is, decompressed.
        offset: u64,
        /// The number.
        found: u8,
    },
    /// The numbering has a hole that no `LogLost` explains: a file is missing, or one is torn.
    #[error(
        "{}: goes on with input {found}, wanted input {expected}: {} inputs are missing",
        path.display(),
        found.saturating_sub(*expected)
    )]
    Hole {
        /// The file after the hole.
        path: PathBuf,
        /// First input of the hole.
        expected: u64,
        /// First input after it.
        found: u64,
    },
    /// Files of one run were wanted.
    #[error("{}: has {what} {found}, wanted {wanted} as in {}; give the files of one run, or the directory for those of its newest", path.display(), first.display())]
    Mixed {
        /// The odd file.
        path: PathBuf,
        /// The first file.
        first: PathBuf,
        /// The field that differs.
        what: &'static str,
        /// Its value.
        found: String,
        /// The first file's.
        wanted: String,
    },
}

impl LogError {
    pub(super) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::AlreadyExists {
            return Self::Exists { path: path.to_owned() };
        }
        Self::Io { path: path.to_owned(), action, source }
    }

    /// The system's error number, 0 where it gave none.
    #[must_use]
    pub fn os_error(&self) -> i32 {
        match self {
            Self::Io { source, .. } => source.raw_os_error().unwrap_or(0),
            _ => 0,
        }
    }
}
