//! What can go wrong, one sentence each: which file, what was found, what was wanted, what to do.

use std::io;
use std::path::{Path, PathBuf};

use cobring_types::ModelFault;

/// Errors of the shared memory. A variant is what the caller can do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The system refused something.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// What was tried, as an infinitive.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// No right to open a file.
    #[error(
        "{}: permission denied to {action}; run as the engine's user, or as a member of the group that owns the file",
        path.display()
    )]
    Denied {
        /// File or directory.
        path: PathBuf,
        /// What was tried, as an infinitive.
        action: &'static str,
    },
    /// The engine's directory is missing.
    #[error("{} does not exist, so no engine has run there; start one, or name the directory that it uses", dir.display())]
    NoDirectory {
        /// The directory asked for.
        dir: PathBuf,
    },
    /// The directory has no segment of that symbol.
    #[error("{} has no segment {symbol}, it has {}; check the name, or start the engine with that symbol", dir.display(), names(existing))]
    NoSuchSymbol {
        /// The engine's directory.
        dir: PathBuf,
        /// The symbol asked for.
        symbol: String,
        /// Those that exist.
        existing: Vec<String>,
    },
    /// The segment is not there, but its bell is.
    #[error("{}: was removed, only its bell is left; readers that have it open go on, others need the engine to be started anew", path.display())]
    Removed {
        /// Where the segment was.
        path: PathBuf,
    },
    /// A name that cannot be a file of the directory.
    #[error("{symbol:?} is no name for a segment: {rule}")]
    BadName {
        /// The name given.
        symbol: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// A segment that cannot be laid out.
    #[error("segment {symbol}: {what} = {found}: must be {wanted}")]
    BadSpec {
        /// Symbol of the segment.
        symbol: String,
        /// The key.
        what: String,
        /// Its value.
        found: u64,
        /// The rule.
        wanted: String,
    },
    /// Another program's file.
    #[error("{}: is no cobring segment: it begins with {found:#018x}, wanted {wanted:#018x}; remove the file, or name the engine's own directory", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its first eight bytes.
        found: u64,
        /// The magic number.
        wanted: u64,
    },
    /// A segment of another layout version.
    #[error("{}: has layout version {found}, this program reads version {supported}; use an engine and readers of the same release", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// Ours.
        supported: u64,
    },
    /// Shorter or longer than its header says.
    #[error("{}: is {found} bytes long, wanted {wanted}: truncated or still foreign; start the engine anew, which replaces the file", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        found: u64,
        /// What it has to be.
        wanted: u64,
    },
    /// A header that contradicts itself.
    #[error("{}: is damaged: {what} is {found}, wanted {wanted}; start the engine anew, which replaces the file", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The field.
        what: String,
        /// Its value.
        found: u64,
        /// What it has to be.
        wanted: String,
    },
    /// Another engine owns the directory.
    #[error("{}: is in use by {}; stop that engine, or give this one another directory", dir.display(), holder(*pid))]
    Locked {
        /// The engine's directory.
        dir: PathBuf,
        /// Process that wrote its number into the lock file.
        pid: Option<u32>,
    },
    /// The file system is too full.
    #[error("{}: needs {needed} bytes, {free} are free; make room, or make the file system larger (docker: --shm-size)", path.display())]
    NoSpace {
        /// Directory or file.
        path: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// The memory cgroup would kill the engine.
    #[error("{}: the segments need {needed} bytes, the limit of this memory cgroup is {limit}; raise it, or configure fewer symbols", path.display())]
    MemoryLimit {
        /// The file that holds the limit.
        path: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// An epoch that is not newer than the one it replaces.
    #[error("{}: holds epoch {found}, the new one is {wanted}: must be larger; readers tell engines apart by it", path.display())]
    OldEpoch {
        /// The segment's path.
        path: PathBuf,
        /// Epoch of the segment that is there.
        found: u64,
        /// Epoch asked for.
        wanted: u64,
    },
    /// The reader stands on a new segment now; ask again. Windows and the schema are to be taken anew.
    #[error("{}: a new engine has begun epoch {to} (was {from}); take schema and windows anew and read on", path.display())]
    EpochChanged {
        /// The segment's path.
        path: PathBuf,
        /// The epoch read so far.
        from: u64,
        /// The epoch read from now on.
        to: u64,
    },
    /// The engine ended without a word.
    #[error("{}: the engine (process {pid}) is gone, and no new one has begun; start it, this reader will follow", path.display())]
    WriterGone {
        /// The segment's path.
        path: PathBuf,
        /// Its process.
        pid: u32,
    },
    /// The engine stopped cleanly.
    #[error("{}: the engine (process {pid}) has stopped, and no new one has begun; start it, this reader will follow", path.display())]
    Retired {
        /// The segment's path.
        path: PathBuf,
        /// Its process.
        pid: u32,
    },
    /// A buffer of the wrong size.
    #[error(
        "{what} takes {wanted} words, {found} were given; size the buffer by the segment's schema"
    )]
    BufferSize {
        /// Frame or window.
        what: String,
        /// Words given.
        found: usize,
        /// Words needed.
        wanted: usize,
    },
    /// No window of that name.
    #[error("{}: has no window {window}, it has {}", path.display(), names(existing))]
    NoSuchWindow {
        /// The segment's path.
        path: PathBuf,
        /// The name asked for.
        window: String,
        /// Those that exist.
        existing: Vec<String>,
    },
    /// The window is shorter than asked for.
    #[error("window {window}: rows {from} to {} were asked for, {oldest} to {done} are there; ask for fewer, or wait for more", from.saturating_add(*wanted))]
    NotEnough {
        /// The window.
        window: String,
        /// First row asked for.
        from: u64,
        /// Rows asked for.
        wanted: u64,
        /// First row that is there.
        oldest: u64,
        /// One past the last row that is there.
        done: u64,
    },
    /// The writer has overwritten rows of a view.
    #[error(
        "window {window}: rows from {from} on were asked for, the writer has come round to {oldest}; take a newer frame, or copy sooner"
    )]
    Lapped {
        /// The window.
        window: String,
        /// First row of the view.
        from: u64,
        /// First row that is left.
        oldest: u64,
    },
    /// A repair has changed rows since the frame.
    #[error(
        "window {window}: revision {wanted} was asked for, a repair has made it {found}; take the next frame"
    )]
    Repaired {
        /// The window.
        window: String,
        /// Revision of the frame or view.
        wanted: u64,
        /// Revision now; odd while the repair runs.
        found: u64,
    },
    /// A name that no model or subscriber can have.
    #[error("{name:?} is no name for a {what}: must have 1 to 32 of A-Z a-z 0-9 _ -")]
    BadOwnName {
        /// `model` or `subscriber`.
        what: &'static str,
        /// The name given.
        name: String,
    },
    /// The engine takes no outputs of that model.
    #[error("{} takes no outputs of model {model} for {symbol}, it takes those of {}; add a table [models.{model}] to its configuration", dir.display(), names(existing))]
    NoSuchModel {
        /// The engine's directory.
        dir: PathBuf,
        /// The symbol asked for.
        symbol: String,
        /// The model asked for.
        model: String,
        /// Those that there are for the symbol.
        existing: Vec<String>,
    },
    /// Another process publishes as that model.
    #[error("{}: process {pid} publishes as this model already; stop it, or publish under another name", path.display())]
    ModelTaken {
        /// The model's file.
        path: PathBuf,
        /// The process that has it.
        pid: u32,
    },
    /// An output that the engine would refuse.
    #[error("{}: the output is refused: {fault}", path.display())]
    BadOutput {
        /// The model's file.
        path: PathBuf,
        /// What is wrong with it.
        fault: ModelFault,
    },
}

impl FrameError {
    /// Not a failure: the reader has moved to a new engine's segment and reads on.
    #[must_use]
    pub const fn is_epoch_change(&self) -> bool {
        matches!(self, Self::EpochChanged { .. })
    }

    /// A newer frame, asked for at once, is likely to do.
    #[must_use]
    pub const fn needs_newer_frame(&self) -> bool {
        matches!(self, Self::Lapped { .. } | Self::Repaired { .. })
    }

    /// The engine has ended; a new one will be followed.
    #[must_use]
    pub const fn is_writer_gone(&self) -> bool {
        matches!(self, Self::WriterGone { .. } | Self::Retired { .. })
    }

    /// Maps the system's answer for `path`.
    pub(crate) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::PermissionDenied {
            return Self::Denied { path: path.to_owned(), action };
        }
        Self::Io { path: path.to_owned(), action, source }
    }
}

fn names(existing: &[String]) -> String {
    if existing.is_empty() { "none".to_owned() } else { existing.join(", ") }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another engine".to_owned(), |pid| format!("process {pid}"))
}
