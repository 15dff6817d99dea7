//! Who reads: a small file for each reader that was opened with a name,
//! `subscribers/SYMBOL.NAME.PID.N`. Guarantees: a reader's own file costs it a few plain stores a frame and
//! nobody else anything; a file whose reader is gone is told from a living one by its lock, and may be swept
//! by anyone. Needs: the right to make files in that directory, which the engine's group has. Does not: tell
//! the engine anything; nothing waits for a subscriber.
//!
//! ```text
//! 0 magic | 8 version | 16 process | 24 opened, ns UTC | 32 epoch | 40 frames seen: last seq + 1 |
//! 48 lapped | 56 refused
//! ```

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::dir::names;
use crate::error::FrameError;
use crate::layout::PAGE_SIZE_BYTES;
use crate::lock;
use crate::model_file::{check_own_name, is_model_name};
use crate::segment::{allocate, open};
use crate::sync::MemoryMut;
use crate::words::{WordsMut, utc_ns};

/// Subdirectory of the engine's directory.
pub(crate) const SUBSCRIBERS_DIR: &str = "subscribers";
const MAGIC: u64 = u64::from_le_bytes(*b"cobsubs\0");
const VERSION: u64 = 1;

const PID: usize = 2;
const OPENED: usize = 3;
const EPOCH: usize = 4;
const SEEN: usize = 5;
const LAPPED: usize = 6;
const REFUSED: usize = 7;
const WORDS: usize = 8;

/// Readers of one name in one process, at most.
const SAME_NAME_MAX: u32 = 1_000;

/// A reader's own file, removed when the reader is dropped.
#[derive(Debug)]
pub(crate) struct Subscriber {
    memory: WordsMut,
    path: PathBuf,
    /// Keeps the lock: who finds it free knows that the reader is gone.
    file: File,
    /// A forked child holds the same file and must not remove it.
    pid: u32,
    lapped: AtomicU64,
    refused: AtomicU64,
}

impl Subscriber {
    pub(crate) fn create(
        dir: &Path,
        symbol: &str,
        name: &str,
        epoch: u64,
    ) -> Result<Self, FrameError> {
        check_own_name("subscriber", name)?;
        let dir = dir.join(SUBSCRIBERS_DIR);
        let pid = std::process::id();
        let mut path = dir.clone();
        // Another reader of this name in this process, or in another pid namespace, has its own number.
        for number in 0..SAME_NAME_MAX {
            path = dir.join(format!("{symbol}.{name}.{pid}.{number}"));
            let Some(file) = make(&path)? else { continue };
            let map = |source| FrameError::io(&path, "map the subscriber's file", source);
            allocate(&file, PAGE_SIZE_BYTES).map_err(|errno| map(errno.into()))?;
            let memory = WordsMut::map(&file, PAGE_SIZE_BYTES, Vec::new()).map_err(map)?;
            let mut words = [0; WORDS];
            words[..=EPOCH].copy_from_slice(&[
                MAGIC,
                VERSION,
                u64::from(pid),
                utc_ns().cast_unsigned(),
                epoch,
            ]);
            memory.copy_in(0, &words);
            let (lapped, refused) = Default::default();
            return Ok(Self { memory, path, file, pid, lapped, refused });
        }
        Err(FrameError::Io {
            path,
            action: "make the subscriber's file",
            source: io::ErrorKind::AlreadyExists.into(),
        })
    }

    #[inline]
    pub(crate) fn saw(&self, seq: u64) {
        self.memory.store(SEEN, seq + 1);
    }

    pub(crate) fn lapped(&self, frames: u64) {
        self.add(&self.lapped, frames, LAPPED);
    }

    pub(crate) fn refused(&self, frames: u64) {
        self.add(&self.refused, frames, REFUSED);
    }

    /// Twins of a reader may count in several threads; the file is at worst one count behind.
    fn add(&self, count: &AtomicU64, frames: u64, at: usize) {
        let before = count.fetch_add(frames, Ordering::Relaxed);
        self.memory.store(at, before + frames);
    }

    /// The reader has followed a new engine.
    pub(crate) fn follow(&self, epoch: u64) {
        self.memory.store(SEEN, 0);
        self.memory.store(EPOCH, epoch);
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        if self.pid == std::process::id() && links(&self.file) > 0 {
            // Else it stays, unlocked, until the next sweep.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn links(file: &File) -> u64 {
    file.metadata().map_or(0, |metadata| metadata.nlink())
}

/// Makes a file and locks it; None where there is one already.
fn make(path: &Path) -> Result<Option<File>, FrameError> {
    let failed = |error| FrameError::io(path, "make the subscriber's file", error);
    loop {
        let made = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o640)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path);
        let file = match made {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        // A sweep that came between making and locking holds the lock, or has removed the file under it.
        if lock::try_lock(&file).map_err(failed)? && links(&file) > 0 {
            return Ok(Some(file));
        }
    }
}

/// A subscriber as `shm ls` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriberInfo {
    /// Symbol that it reads.
    pub symbol: String,
    /// Its name.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// When it was opened, ns UTC.
    pub opened_ns: i64,
    /// Epoch of the engine that it reads.
    pub epoch: u64,
    /// The last frame that it took; None before the first.
    pub last_seq: Option<u64>,
    /// Frames that it missed because the writer came round.
    pub lapped: u64,
    /// Frames that it refused for their quality.
    pub refused: u64,
    /// Whether it is still there.
    pub alive: bool,
}

impl SubscriberInfo {
    /// The subscribers of an engine's directory, by symbol and name. Files that are none are passed over.
    ///
    /// # Errors
    /// [`FrameError::NoDirectory`] where no engine has run; what the system refused.
    pub fn list(dir: &Path) -> Result<Vec<Self>, FrameError> {
        Ok(files(dir)?.iter().filter_map(|(path, name)| Self::read(path, name)).collect())
    }

    fn read(path: &Path, file_name: &str) -> Option<Self> {
        let (symbol, name) = parse(file_name)?;
        let file = open(path, false).ok()?;
        let mut words = [0; WORDS];
        file.read_exact_at(bytemuck::cast_slice_mut(&mut words), 0).ok()?;
        if words[..2] != [MAGIC, VERSION] {
            return None;
        }
        Some(Self {
            symbol: symbol.to_owned(),
            name: name.to_owned(),
            pid: u32::try_from(words[PID]).ok()?,
            opened_ns: words[OPENED].cast_signed(),
            epoch: words[EPOCH],
            last_seq: words[SEEN].checked_sub(1),
            lapped: words[LAPPED],
            refused: words[REFUSED],
            alive: lock::is_locked(&file).unwrap_or(false),
        })
    }
}

/// Removes the files of subscribers that are gone; returns their paths. Files that are not ours to remove
/// stay.
///
/// # Errors
/// What the system refused.
pub fn sweep_subscribers(dir: &Path) -> Result<Vec<PathBuf>, FrameError> {
    let mut removed = Vec::new();
    for (path, _) in files(dir)?.into_iter().filter(|(_, name)| parse(name).is_some()) {
        // Under its lock: a subscriber that makes the same name at this moment looks at the links after it
        // has locked the file.
        let gone = open(&path, true).is_ok_and(|file| {
            lock::try_lock(&file).unwrap_or(false) && links(&file) > 0 && {
                std::fs::remove_file(&path).is_ok()
            }
        });
        if gone {
            removed.push(path);
        }
    }
    Ok(removed)
}

/// Files of the directory; none where there is none.
fn files(dir: &Path) -> Result<Vec<(PathBuf, String)>, FrameError> {
    let dir = dir.join(SUBSCRIBERS_DIR);
    match names(&dir) {
        Ok(names) => Ok(names.into_iter().map(|name| (dir.join(&name), name)).collect()),
        Err(FrameError::NoDirectory { .. }) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Symbol and name of `SYMBOL.NAME.PID.N`. A symbol may have dots, the rest has none.
fn parse(file_name: &str) -> Option<(&str, &str)> {
    let (rest, number) = file_name.rsplit_once('.')?;
    let (rest, pid) = rest.rsplit_once('.')?;
    let (symbol, name) = rest.rsplit_once('.')?;
    number.parse::<u32>().ok()?;
    pid.parse::<u32>().ok()?;
    (!symbol.is_empty() && is_model_name(name)).then_some((symbol, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_says_who_reads_what() {
        for (file_name, wanted) in [
            ("ETHUSDT.cnn-1.77.0", Some(("ETHUSDT", "cnn-1"))),
            ("A.B.cnn.77.12", Some(("A.B", "cnn"))),
            ("ETHUSDT.77.0", None),
            (".cnn.77.0", None),
            ("ETHUSDT.c n.77.0", None),
            ("ETHUSDT.cnn.77.x", None),
            ("ETHUSDT.cnn.x.0", None),
            ("", None),
        ] {
            assert_eq!(parse(file_name), wanted, "{file_name}");
        }
    }

    #[test]
    fn sweeping_and_subscribing_at_once_harm_nobody() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join(SUBSCRIBERS_DIR)).unwrap();
        let dir = temp.path();
        std::thread::scope(|scope| {
            let sweeper = scope
                .spawn(|| (0..2_000).map(|_| sweep_subscribers(dir).unwrap().len()).sum::<usize>());
            for round in 0..500 {
                let subscriber = Subscriber::create(dir, "ETHUSDT", "cnn", 1).unwrap();
                subscriber.saw(round);
                let listed = SubscriberInfo::list(dir).unwrap();
                let seen: Vec<_> = listed.iter().map(|one| (one.alive, one.last_seq)).collect();
                assert_eq!(seen, [(true, Some(round))]);
            }
            sweeper.join().unwrap();
        });
        assert_eq!(SubscriberInfo::list(dir).unwrap(), []);
    }
}
