//! The directory of one engine. Guarantees: one engine a directory, for as long as any part of its
//! segments lives; the start-up knows before the first page whether space and memory will do. Needs: a
//! file system in memory (`/dev/shm`), in a directory of its own (Python's shared memory class deletes
//! top-level segments that it merely opened). Does not: remove or rename `engine.lock`, ever.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::Timespec;

use crate::counter_file::{COUNTERS_NAME, is_counters};
use crate::error::FrameError;
use crate::layout::{SegmentSpec, check_symbol};
use crate::lock;
use crate::model_file::MODELS_DIR;
use crate::reader::{Liveness, Reader};
use crate::segment::{
    BELL_SIZE_BYTES, BELL_SUFFIX, Old, allocated_bytes, bell_path, free_bytes, is_ours,
    is_temporary, open,
};
use crate::subscriber::{SUBSCRIBERS_DIR, sweep_subscribers};
use crate::words::mono_ns;

const LOCK_NAME: &str = "engine.lock";
/// A killed process with gigabytes mapped keeps its locks for some 50 ms.
const LOCK_PATIENCE: Duration = Duration::from_millis(300);

/// Directory of one engine, locked by it for life.
#[derive(Debug, Clone)]
pub struct EngineDir {
    path: PathBuf,
    lock: Arc<File>,
}

/// A segment as `shm ls` shows it.
#[derive(Debug)]
pub struct SegmentInfo {
    /// Symbol, and name of the file.
    pub symbol: String,
    /// The file.
    pub path: PathBuf,
    /// Bytes that it takes up.
    pub size_bytes: u64,
    /// What its header says, or why it cannot be read.
    pub state: Result<SegmentState, FrameError>,
}

/// What a segment's header says.
#[derive(Debug, Clone, Copy)]
pub struct SegmentState {
    /// Epoch of the engine's start.
    pub epoch: u64,
    /// Identity of the schema.
    pub schema_id: u64,
    /// The engine's process.
    pub writer_pid: u32,
    /// Frames published.
    pub published: u64,
    /// Whether the engine lives.
    pub liveness: Liveness,
}

impl EngineDir {
    /// Makes the directory if need be and locks it; waits 0.3 s for an engine that is just being killed.
    /// What an engine left half made is removed.
    ///
    /// # Errors
    /// [`FrameError::Locked`], naming the process; or what the system refused.
    pub fn lock(path: &Path) -> Result<Self, FrameError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(path)
            .map_err(|error| FrameError::io(path, "make the directory", error))?;
        let lock_path = path.join(LOCK_NAME);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&lock_path)
            .map_err(|error| FrameError::io(&lock_path, "open the lock", error))?;
        let deadline =
            mono_ns().saturating_add(u64::try_from(LOCK_PATIENCE.as_nanos()).unwrap_or(u64::MAX));
        while !lock::try_lock(&file)
            .map_err(|error| FrameError::io(&lock_path, "lock the directory", error))?
        {
            if mono_ns() >= deadline {
                return Err(FrameError::Locked { dir: path.to_owned(), pid: read_pid(&file) });
            }
            let _ = rustix::thread::nanosleep(&Timespec { tv_sec: 0, tv_nsec: 5_000_000 });
        }
        // Fixed width: no digit of an earlier number is left. Only a message depends on it.
        let _ = file.write_all_at(format!("{:<10}\n", std::process::id()).as_bytes(), 0);
        let dir = Self { path: path.to_owned(), lock: Arc::new(file) };
        for name in names(path)?.iter().filter(|name| is_temporary(name)) {
            dir.remove(&path.join(name))?;
        }
        // Who may read the segments may publish outputs and subscribe; only the owner of a subscriber's file
        // may remove it.
        dir.make(MODELS_DIR, 0o750)?;
        dir.make(SUBSCRIBERS_DIR, 0o1770)?;
        sweep_subscribers(path)?;
        dir.remove_model_files()?;
        Ok(dir)
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn lock_file(&self) -> &Arc<File> {
        &self.lock
    }

    /// The epoch of the segment that an earlier engine left: the next one has to be larger.
    #[must_use]
    pub fn last_epoch(&self, symbol: &str) -> Option<u64> {
        Reader::open(&self.path, symbol).ok().map(|reader| reader.epoch())
    }

    /// Whether the segments will fit, into the file system and into the memory cgroup's limit. They are made
    /// one after the other, and each frees what it replaces (unless readers keep that alive).
    ///
    /// # Errors
    /// [`FrameError::NoSpace`] and [`FrameError::MemoryLimit`], with the sum; [`FrameError::BadSpec`].
    pub fn check_space(&self, specs: &[SegmentSpec]) -> Result<(), FrameError> {
        let free = free_bytes(&self.path)
            .map_err(|error| FrameError::io(&self.path, "ask for free space", error))?;
        let (mut sum, mut replaced, mut needed) = (0u64, 0u64, 0u64);
        for spec in specs {
            spec.check()?;
            sum = sum.saturating_add((spec.size_bytes() + BELL_SIZE_BYTES) as u64);
            needed = needed.max(sum.saturating_sub(replaced));
            replaced = replaced
                .saturating_add(allocated_bytes(&self.path.join(&spec.symbol)))
                .saturating_add(allocated_bytes(&bell_path(&self.path, &spec.symbol)));
        }
        if needed > free {
            return Err(FrameError::NoSpace { path: self.path.clone(), needed, free });
        }
        let membership = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        if let Some((limit, path)) = memory_limit(&membership, Path::new("/sys/fs/cgroup"))
            && sum > limit
        {
            return Err(FrameError::MemoryLimit { path, needed: sum, limit });
        }
        Ok(())
    }

    /// The segments of a directory, by name, whoever wrote them and whether or not they can be read; also those
    /// of which only the bell is left.
    ///
    /// # Errors
    /// [`FrameError::NoDirectory`], or what the system refused.
    pub fn list(path: &Path) -> Result<Vec<SegmentInfo>, FrameError> {
        let mut listed = symbols(path)?;
        let names = names(path)?;
        let rung = names.iter().filter_map(|name| name.strip_suffix(BELL_SUFFIX));
        listed.extend(rung.filter(|symbol| check_symbol(symbol).is_ok()).map(str::to_owned));
        listed.sort();
        listed.dedup();
        Ok(listed
            .into_iter()
            .map(|symbol| {
                let file = path.join(&symbol);
                let state = Reader::open(path, &symbol).map(|reader| SegmentState {
                    epoch: reader.epoch(),
                    schema_id: reader.schema_id(),
                    writer_pid: reader.writer_pid(),
                    published: reader.published(),
                    liveness: reader.liveness(),
                });
                SegmentInfo { size_bytes: allocated_bytes(&file), path: file, symbol, state }
            })
            .collect())
    }

    /// Removes the segments of a directory whose engine is dead, their bells, its counters, and the files of
    /// models and of subscribers that are gone; files that are not ours stay. Readers are told. Returns the paths that are
    /// gone.
    ///
    /// # Errors
    /// [`FrameError::Locked`] while an engine lives; [`FrameError::NoDirectory`]; what the system refused.
    pub fn gc(path: &Path) -> Result<Vec<PathBuf>, FrameError> {
        names(path)?; // Asking must not make the directory.
        let before = small_files(path);
        let dir = Self::lock(path)?;
        // What the start of any engine clears away.
        let mut removed: Vec<_> = before.into_iter().filter(|file| !file.exists()).collect();
        for symbol in symbols(path)? {
            let file = path.join(&symbol);
            if !open(&file, true).is_ok_and(|file| is_ours(&file)) {
                continue;
            }
            let old = Old::open(path, &symbol);
            dir.remove(&file)?;
            old.retire();
            removed.push(file);
        }
        let counters = path.join(COUNTERS_NAME);
        if is_counters(&counters) {
            dir.remove(&counters)?;
            removed.push(counters);
        }
        // Bells whose segment is gone, now or since long.
        for name in names(path)? {
            let orphan =
                name.strip_suffix(BELL_SUFFIX).is_some_and(|symbol| !path.join(symbol).exists());
            if orphan {
                dir.remove(&path.join(&name))?;
                removed.push(path.join(name));
            }
        }
        Ok(removed)
    }

    fn make(&self, name: &str, mode: u32) -> Result<(), FrameError> {
        let path = self.path.join(name);
        DirBuilder::new()
            .recursive(true)
            .create(&path)
            // Whatever the umask says.
            .and_then(|()| std::fs::set_permissions(&path, Permissions::from_mode(mode)))
            .map_err(|error| FrameError::io(&path, "make the directory", error))
    }

    /// Files of models that an earlier engine polled: nobody does now, and models follow where a new one
    /// appears.
    fn remove_model_files(&self) -> Result<Vec<PathBuf>, FrameError> {
        let models = self.path.join(MODELS_DIR);
        let paths: Vec<_> = names(&models)?.iter().map(|name| models.join(name)).collect();
        paths.iter().try_for_each(|path| self.remove(path))?;
        Ok(paths)
    }

    /// Only under the lock: another engine's files are not ours to remove.
    fn remove(&self, path: &Path) -> Result<(), FrameError> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(FrameError::io(path, "remove the file", error))
            }
            _ => Ok(()),
        }
    }
}

fn read_pid(file: &File) -> Option<u32> {
    let mut text = [0; 11];
    let length = file.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(&text[..length]).ok()?.trim().parse().ok()
}

/// Files of models and subscribers.
fn small_files(path: &Path) -> Vec<PathBuf> {
    let dirs = [MODELS_DIR, SUBSCRIBERS_DIR].map(|name| path.join(name));
    dirs.iter()
        .flat_map(|dir| names(dir).unwrap_or_default().into_iter().map(move |name| dir.join(name)))
        .collect()
}

/// Names in a directory, sorted; those that are not UTF-8 are not ours.
pub(crate) fn names(path: &Path) -> Result<Vec<String>, FrameError> {
    let entries = std::fs::read_dir(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => FrameError::NoDirectory { dir: path.to_owned() },
        _ => FrameError::io(path, "list the directory", error),
    })?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| FrameError::io(path, "list the directory", error))?;
        names.extend(entry.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

/// Names in a directory that may be segments.
pub(crate) fn symbols(path: &Path) -> Result<Vec<String>, FrameError> {
    let mut names = names(path)?;
    names.retain(|name| check_symbol(name).is_ok());
    Ok(names)
}

/// The smallest memory limit on the way from a process's cgroup to the root, and the file that says so.
fn memory_limit(membership: &str, root: &Path) -> Option<(u64, PathBuf)> {
    let mut least: Option<(u64, PathBuf)> = None;
    for line in membership.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        // Version 2 has one line without controllers; version 1 a hierarchy of its own for memory.
        let (root, file) = if controllers.is_empty() {
            (root.to_owned(), "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            (root.join("memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        let mut group = Some(Path::new(group.trim_start_matches('/')));
        while let Some(current) = group {
            let path = root.join(current).join(file);
            let limit =
                std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
            if let Some(limit) = limit
                && least.as_ref().is_none_or(|&(least, _)| limit < least)
            {
                least = Some((limit, path));
            }
            group = current.parent();
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::memory_limit;

    fn check(membership: &str, limits: &[(&str, &str)], wanted: Option<(u64, &str)>) {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in limits {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let wanted = wanted.map(|(limit, file)| (limit, root.path().join(Path::new(file))));
        assert_eq!(memory_limit(membership, root.path()), wanted, "{membership:?} {limits:?}");
    }

    #[test]
    fn the_smallest_limit_on_the_way_to_the_root_counts() {
        check("", &[], None);
        check("0::/\n", &[("memory.max", "max\n")], None);
        check("0::/\n", &[("memory.max", "1000\n")], Some((1000, "memory.max")));
        check(
            "0::/pods/engine\n",
            &[("pods/memory.max", "500\n"), ("pods/engine/memory.max", "max\n")],
            Some((500, "pods/memory.max")),
        );
        check(
            "5:cpu:/x\n4:memory:/y\n",
            &[("memory/y/memory.limit_in_bytes", "7\n"), ("memory.max", "1\n")],
            Some((7, "memory/y/memory.limit_in_bytes")),
        );
    }
}
