//! Makes segments. Guarantees: a segment appears under its name whole, locked and with its header filled,
//! or not at all; space is allocated before it is mapped, so a full file system is an error and never a
//! SIGBUS; the segment it replaces is retired and its readers are woken. Needs: the directory's lock. Does
//! not: remove files (see [`EngineDir::gc`]); a segment that is dropped stays, retired, for readers.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::dir::EngineDir;
use crate::error::FrameError;
use crate::layout::{HEARTBEAT, Layout, MAGIC, PAGE_SIZE_BYTES, SegmentSpec};
use crate::lock;
use crate::reader::Reader;
use crate::sync::MemoryMut;
use crate::words::{Words, WordsMut, mono_ns};
use crate::writer::{FrameRing, RawWindow, Retire};

pub(crate) const BELL_SIZE_BYTES: usize = PAGE_SIZE_BYTES;
pub(crate) const BELL_SUFFIX: &str = ".bell";
const TEMPORARY_SUFFIX: &str = ".tmp";

/// The writer's ends of a segment, to be taken apart and moved to where they are used.
#[derive(Debug)]
pub struct Segment {
    /// The frame ring.
    pub ring: FrameRing,
    /// The windows, in the order of [`SegmentSpec::windows`].
    pub windows: Vec<RawWindow>,
    parts: Parts,
}

/// What a reader in this process needs; keeps no lock.
#[derive(Debug, Clone)]
struct Parts {
    layout: Arc<Layout>,
    memory: Words,
    bell: WordsMut,
    path: PathBuf,
}

impl Segment {
    /// Makes the segment of `spec` in an engine's directory, under the symbol's name, in place of any that
    /// is there: readers of that one are told, and follow.
    ///
    /// # Errors
    /// [`FrameError::BadSpec`], [`FrameError::BadName`], [`FrameError::OldEpoch`], [`FrameError::NoSpace`],
    /// or what the system refused. The segment that was there is then untouched.
    pub fn create(dir: &EngineDir, spec: &SegmentSpec) -> Result<Self, FrameError> {
        let layout = Layout::plan(spec, std::process::id())?;
        let path = dir.path().join(&spec.symbol);
        let old = Old::open(dir.path(), &spec.symbol);
        if let Some(found) = old.epoch().filter(|&epoch| epoch >= spec.epoch) {
            return Err(FrameError::OldEpoch { path, found, wanted: spec.epoch });
        }

        let temporary = Temporary::make(dir.path(), &spec.symbol, "", layout.size_bytes, 0o640)?;
        let file = Arc::clone(&temporary.file);
        if !lock::try_lock(&file)
            .map_err(|error| FrameError::io(&path, "lock the segment", error))?
        {
            return Err(FrameError::Locked { dir: dir.path().to_owned(), pid: None });
        }
        let map = |source| FrameError::io(&path, "map the segment", source);
        let held = vec![Arc::clone(dir.lock_file()), Arc::clone(&file)];
        let memory = WordsMut::map(&file, layout.size_bytes, held).map_err(map)?;
        // Mapped once more, without the locks: neither a reader nor a handle to retire by keeps an engine's
        // directory locked.
        let header = WordsMut::map(&file, PAGE_SIZE_BYTES, Vec::new()).map_err(map)?;
        let read_only = Words::map_read_only(&file, layout.size_bytes).map_err(map)?;

        let bell_file =
            Temporary::make(dir.path(), &spec.symbol, BELL_SUFFIX, BELL_SIZE_BYTES, 0o660)?;
        let bell = WordsMut::map_bell(&bell_file.file)
            .map_err(|source| FrameError::io(&path, "map the bell", source))?;

        memory.copy_in(0, &layout.encode());
        memory.store(HEARTBEAT, mono_ns());
        bell_file.rename()?;
        temporary.rename()?;
        old.retire();

        let retire = Retire::new(header, Some(bell.clone()));
        let parts = Parts { layout: Arc::new(layout), memory: read_only, bell, path };
        Ok(Self::assemble(parts, &memory, retire, false))
    }

    /// The same code over memory of this process alone: benches and tests.
    ///
    /// # Errors
    /// [`FrameError::BadSpec`], [`FrameError::BadName`], or the system has no memory.
    pub fn private(spec: &SegmentSpec) -> Result<Self, FrameError> {
        Self::of_this_process(spec, false)
    }

    /// The same, and each row of a window's first lap lies once, where this crate's readers look for it: a replay takes half
    /// as much memory.
    ///
    /// # Errors
    /// As for [`Segment::private`].
    pub fn sparse(spec: &SegmentSpec) -> Result<Self, FrameError> {
        Self::of_this_process(spec, true)
    }

    fn of_this_process(spec: &SegmentSpec, first_lap_once: bool) -> Result<Self, FrameError> {
        let layout = Layout::plan(spec, std::process::id())?;
        let path = PathBuf::from(format!("private:{}", spec.symbol));
        let map = |size_bytes| {
            WordsMut::private(size_bytes)
                .map_err(|source| FrameError::io(&path, "map memory", source))
        };
        let (memory, bell) = (map(layout.size_bytes)?, map(BELL_SIZE_BYTES)?);
        memory.copy_in(0, &layout.encode());
        memory.store(HEARTBEAT, mono_ns());
        let retire = Retire::new(memory.clone(), Some(bell.clone()));
        let parts = Parts { layout: Arc::new(layout), memory: memory.read_only(), bell, path };
        Ok(Self::assemble(parts, &memory, retire, first_lap_once))
    }

    fn assemble(parts: Parts, memory: &WordsMut, retire: Retire, first_lap_once: bool) -> Self {
        let Parts { layout, bell, .. } = &parts;
        let ring = FrameRing::new(memory.clone(), bell.clone(), Arc::clone(layout), retire);
        let windows = (0..layout.windows.len())
            .map(|window| {
                RawWindow::new(memory.clone(), Arc::clone(layout), window, first_lap_once)
            })
            .collect();
        Self { ring, windows, parts }
    }

    /// A reader inside this process. It follows no other segment and asks no lock: the heartbeat alone
    /// tells it whether the writer lives.
    #[must_use]
    pub fn reader(&self) -> Reader {
        let Parts { layout, memory, bell, path } = self.parts.clone();
        Reader::inside(layout, memory, bell, path)
    }

    /// Touches every page, so that none faults later: warm-up, before the first frame.
    pub fn touch(&mut self) {
        self.ring.touch();
    }

    /// Bytes of the segment.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.parts.layout.size_bytes
    }
}

/// Opens a file of a segment, following no symbolic link.
pub(crate) fn open(path: &Path, write: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(write)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
}

pub(crate) fn bell_path(dir: &Path, symbol: &str) -> PathBuf {
    dir.join(format!("{symbol}{BELL_SUFFIX}"))
}

/// Whether a name is that of a file left half made by an engine that died.
pub(crate) fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(TEMPORARY_SUFFIX)
}

/// Reads a file's layout and checks all of it.
pub(crate) fn read_layout(path: &Path, file: &File) -> Result<Layout, FrameError> {
    let metadata =
        file.metadata().map_err(|error| FrameError::io(path, "look at the file", error))?;
    if !metadata.is_file() {
        return Err(FrameError::io(
            path,
            "read the header",
            io::Error::other("it is no regular file"),
        ));
    }
    Layout::read(path, metadata.len(), |offset, words| {
        file.read_exact_at(bytemuck::cast_slice_mut(words), offset)
    })
}

/// The segment of an earlier engine, as far as there is one.
pub(crate) struct Old {
    path: PathBuf,
    file: Option<File>,
    bell: Option<WordsMut>,
}

impl Old {
    pub(crate) fn open(dir: &Path, symbol: &str) -> Self {
        let path = dir.join(symbol);
        let file = open(&path, true).ok().filter(is_ours);
        let bell = map_bell(&bell_path(dir, symbol));
        Self { path, file, bell }
    }

    fn epoch(&self) -> Option<u64> {
        // Only of a header that is whole: a damaged one must not keep an engine from starting.
        self.file
            .as_ref()
            .and_then(|file| read_layout(&self.path, file).ok())
            .map(|layout| layout.epoch)
    }

    /// Tells its readers. Nothing here can fail in a way that anyone could act on: readers notice a missing
    /// link by themselves.
    pub(crate) fn retire(self) {
        let header =
            self.file.and_then(|file| WordsMut::map(&file, PAGE_SIZE_BYTES, Vec::new()).ok());
        if let Some(header) = header {
            Retire::new(header, self.bell).retire();
        }
    }
}

/// Whether a file is a segment, of any version: magic and `retired` lie in the same place in all.
pub(crate) fn is_ours(file: &File) -> bool {
    let mut magic = [0; 8];
    file.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.len() >= PAGE_SIZE_BYTES as u64)
        && file.read_exact_at(&mut magic, 0).is_ok()
        && u64::from_le_bytes(magic) == MAGIC
}

/// Maps a bell for ringing, if there is one, whole, and we may.
pub(crate) fn map_bell(path: &Path) -> Option<WordsMut> {
    let file = open(path, true).ok()?;
    let metadata = file.metadata().ok()?;
    let whole = metadata.is_file() && metadata.len() == BELL_SIZE_BYTES as u64;
    whole.then(|| WordsMut::map_bell(&file).ok())?
}

/// A file under a temporary name, removed unless it gets its own.
pub(crate) struct Temporary {
    file: Arc<File>,
    temporary: PathBuf,
    path: PathBuf,
    renamed: bool,
}

impl Temporary {
    pub(crate) fn make(
        dir: &Path,
        symbol: &str,
        suffix: &str,
        size_bytes: usize,
        mode: u32,
    ) -> Result<Self, FrameError> {
        let path = dir.join(format!("{symbol}{suffix}"));
        let temporary = dir.join(format!(".{symbol}{suffix}{TEMPORARY_SUFFIX}"));
        let failed = |error| FrameError::io(&temporary, "make the file", error);
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(mode)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&temporary)
            .map_err(failed)?;
        let made = Self { file: Arc::new(file), temporary, path, renamed: false };
        // Whatever the umask says.
        made.file
            .set_permissions(Permissions::from_mode(mode))
            .map_err(|error| FrameError::io(&made.path, "set the mode", error))?;
        allocate(&made.file, size_bytes).map_err(|errno| match errno {
            Errno::NOSPC | Errno::DQUOT => FrameError::NoSpace {
                path: made.path.clone(),
                needed: size_bytes as u64,
                free: free_bytes(dir).unwrap_or(0),
            },
            errno => FrameError::io(&made.path, "allocate its space", errno.into()),
        })?;
        Ok(made)
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The name that it will have.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn rename(mut self) -> Result<(), FrameError> {
        std::fs::rename(&self.temporary, &self.path)
            .map_err(|error| FrameError::io(&self.path, "put the new file in its place", error))?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // Already on the way out with an error; the next engine removes what is left.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Allocates all bytes of a new file.
pub(crate) fn allocate(file: &File, size_bytes: usize) -> Result<(), Errno> {
    loop {
        match fallocate(file, FallocateFlags::empty(), 0, size_bytes as u64) {
            Err(Errno::INTR) => {}
            // Some file systems cannot; zeros can be written to all.
            Err(Errno::OPNOTSUPP) => return write_zeros(file, size_bytes),
            other => return other,
        }
    }
}

fn write_zeros(file: &File, size_bytes: usize) -> Result<(), Errno> {
    let zeros = [0; 1 << 16];
    let mut offset = 0;
    while offset < size_bytes {
        let chunk = &zeros[..zeros.len().min(size_bytes - offset)];
        file.write_all_at(chunk, offset as u64)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        offset += chunk.len();
    }
    Ok(())
}

/// Bytes free for us in a directory's file system.
pub(crate) fn free_bytes(dir: &Path) -> io::Result<u64> {
    let answer = rustix::fs::statvfs(dir)?;
    Ok(answer.f_bavail.saturating_mul(answer.f_frsize))
}

/// Bytes that a file takes up, 0 where there is none.
pub(crate) fn allocated_bytes(path: &Path) -> u64 {
    std::fs::symlink_metadata(path).map_or(0, |metadata| metadata.blocks().saturating_mul(512))
}
