//! Mapped memory as words. Guarantees: every access is inside the mapping (asserted), atomic or one of the
//! copy bodies, and never through `&u64` or `&[u64]`; [`Words`] cannot write. Needs: the file under a
//! mapping is not truncated (its owner never does; the size is checked before mapping), unless it is a bell's.
//! Does not: know what the words mean.
#![allow(unsafe_code, reason = "raw access to mapped words")]

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use memmap2::{Advice, MmapOptions, MmapRaw};
use rustix::thread::futex;
use rustix::time::Timespec;

use crate::bell::{BELL, Futex};
use crate::bell_guard::BellGuard;
use crate::copy::{self, Body};
use crate::segment::BELL_SIZE_BYTES;
use crate::sync::{Memory, MemoryMut};

const _: () = assert!(usize::BITS == 64, "offsets are u64 and index memory");
const _: () =
    assert!(cfg!(target_endian = "little"), "words are little-endian, futexes sit on low halves");

pub(crate) const WORD_SIZE_BYTES: usize = 8;
/// Of x86-64, and of others with pages of 4 KiB.
const HUGE_PAGE_SIZE_BYTES: usize = 2 << 20;
/// Private memory from this size on is asked for in huge pages. Less is mostly a bell or a test's segment.
const HUGE_FROM_BYTES: usize = 2 * HUGE_PAGE_SIZE_BYTES;

/// A word index from a word count.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits: asserted above")]
pub(crate) const fn index(count: u64) -> usize {
    count as usize
}

/// What lives as long as any view of a mapping.
#[derive(Debug)]
struct Mapping {
    /// Of a bell, which others may truncate. Ends before the mapping.
    guard: Option<BellGuard>,
    raw: MmapRaw,
    /// Descriptors whose locks mean "the writer lives".
    _held: Vec<Arc<File>>,
}

/// Shared words, read-only.
#[derive(Debug, Clone)]
pub(crate) struct Words {
    base: *const u64,
    count: usize,
    body: Body,
    mapping: Arc<Mapping>,
}

// SAFETY: a pointer into a mapping that `mapping` keeps alive and that nothing ties to a thread; all access
// is atomic or checked by sequence.
unsafe impl Send for Words {}
// SAFETY: as above; `&Words` only reads.
unsafe impl Sync for Words {}

impl Words {
    /// Maps the first `size_bytes` of a file read-only. The caller has checked that the file is that long.
    pub(crate) fn map_read_only(file: &File, size_bytes: usize) -> io::Result<Self> {
        let raw = MmapOptions::new().len(size_bytes).map_raw_read_only(file)?;
        Ok(Self::new(raw, Vec::new(), None))
    }

    fn new(raw: MmapRaw, held: Vec<Arc<File>>, guard: Option<BellGuard>) -> Self {
        let (base, count) = (raw.as_ptr().cast::<u64>(), raw.len() / WORD_SIZE_BYTES);
        assert!(base.is_aligned(), "mmap returned {base:p}, which no page begins at");
        Self {
            base,
            count,
            body: Body::detect(),
            mapping: Arc::new(Mapping { guard, raw, _held: held }),
        }
    }

    #[inline]
    fn check(&self, at: usize, count: usize) {
        assert!(
            at <= self.count && count <= self.count - at,
            "words {at} + {count} of {} were asked for",
            self.count
        );
    }

    #[inline]
    fn word(&self, at: usize) -> &AtomicU64 {
        self.check(at, 1);
        // SAFETY: inside the mapping (checked), which lives as long as `self`, aligned; an atomic, so other
        // processes may write it meanwhile. On a read-only mapping `Words` offers only Relaxed loads.
        unsafe { &*self.base.add(at).cast::<AtomicU64>() }
    }

    /// Address of a word, for bindings that hand memory on without copying. The caller does no more than
    /// read, and asks the protocol afterwards.
    pub(crate) fn address(&self, at: usize, count: usize) -> *const u64 {
        self.check(at, count);
        // SAFETY: inside the mapping (checked).
        unsafe { self.base.add(at) }
    }
}

impl Memory for Words {
    #[inline]
    fn load(&self, at: usize) -> u64 {
        self.word(at).load(Ordering::Relaxed)
    }

    #[inline]
    fn prefetch_for_read(&self, at: usize, words: usize) {
        self.check(at, words);
        // SAFETY: a hint, and within the mapping besides.
        unsafe { copy::prefetch_for_read(self.base.add(at), words) }
    }

    #[inline]
    fn copy_out(&self, at: usize, out: &mut [u64]) {
        self.check(at, out.len());
        // SAFETY: the source is inside the mapping (checked), the target is `out`; both aligned, disjoint
        // (nobody holds a `&mut` over a mapping); `body` was detected.
        unsafe { self.body.copy(self.base.add(at), out.as_mut_ptr(), out.len()) }
    }
}

/// Shared words that this process writes.
#[derive(Debug, Clone)]
pub(crate) struct WordsMut(Words);

impl WordsMut {
    /// Maps the first `size_bytes` of a file for writing. The caller has allocated that much of it (an
    /// unallocated page on a full tmpfs is a SIGBUS at its first touch).
    pub(crate) fn map(file: &File, size_bytes: usize, held: Vec<Arc<File>>) -> io::Result<Self> {
        Ok(Self(Words::new(MmapOptions::new().len(size_bytes).map_raw(file)?, held, None)))
    }

    /// Maps a bell: a page that stays usable when somebody truncates the file.
    pub(crate) fn map_bell(file: &File) -> io::Result<Self> {
        let raw = MmapOptions::new().len(BELL_SIZE_BYTES).map_raw(file)?;
        let guard = BellGuard::new(raw.as_mut_ptr(), file)?;
        Ok(Self(Words::new(raw, Vec::new(), Some(guard))))
    }

    /// How often this process met a bell that was truncated; 0 for other mappings.
    pub(crate) fn mended(&self) -> u64 {
        self.0.mapping.guard.as_ref().map_or(0, BellGuard::mended)
    }

    /// Zeroed memory of this process alone. A large one consists of huge pages where the system gives them on request:
    /// a replay met 5,600 faults of small ones, an eighth of its time (figure `replay_log`). What is never touched still
    /// takes no memory.
    pub(crate) fn private(size_bytes: usize) -> io::Result<Self> {
        if size_bytes < HUGE_FROM_BYTES {
            let raw = MmapOptions::new().len(size_bytes).map_anon()?.into();
            return Ok(Self(Words::new(raw, Vec::new(), None)));
        }
        // Linux lets a mapping begin at a huge page where it is whole ones.
        let mapped_bytes = size_bytes.next_multiple_of(HUGE_PAGE_SIZE_BYTES);
        let raw: MmapRaw = MmapOptions::new().len(mapped_bytes).map_anon()?.into();
        // Refused by a kernel that has none: then they are small.
        let _ = raw.advise(Advice::HugePage);
        let mut words = Words::new(raw, Vec::new(), None);
        words.count = size_bytes / WORD_SIZE_BYTES;
        Ok(Self(words))
    }

    /// The same words, for reading.
    pub(crate) fn read_only(&self) -> Words {
        self.0.clone()
    }

    /// Touches every page for writing, so that none faults later.
    pub(crate) fn touch(&self) {
        for at in (0..self.0.count).step_by(4096 / WORD_SIZE_BYTES) {
            self.store(at, self.load(at));
        }
    }

    fn bell(&self) -> &AtomicU32 {
        self.0.check(BELL, 1);
        // SAFETY: the low half of a word inside the mapping (checked; little-endian: asserted), aligned;
        // only the kernel looks at it through this.
        unsafe { &*self.0.mapping.raw.as_mut_ptr().cast::<u64>().add(BELL).cast::<AtomicU32>() }
    }
}

impl Memory for WordsMut {
    #[inline]
    fn load(&self, at: usize) -> u64 {
        self.0.load(at)
    }

    #[inline]
    fn copy_out(&self, at: usize, out: &mut [u64]) {
        self.0.copy_out(at, out);
    }
}

impl MemoryMut for WordsMut {
    #[inline]
    fn store(&self, at: usize, word: u64) {
        self.0.word(at).store(word, Ordering::Relaxed);
    }

    #[inline]
    fn store_release(&self, at: usize, word: u64) {
        self.0.word(at).store(word, Ordering::Release); // to `Fence::Seen`
    }

    #[inline]
    fn prefetch(&self, at: usize, words: usize) {
        self.0.check(at, words);
        // SAFETY: a hint, and within the mapping besides.
        unsafe { copy::prefetch(self.0.base.add(at), words) }
    }

    #[inline]
    fn copy_in(&self, at: usize, words: &[u64]) {
        self.0.check(at, words.len());
        // SAFETY: the target is inside a mapping made writable (`map`, `private`), the source is `words`;
        // both aligned, disjoint; `body` was detected.
        unsafe { self.0.body.copy(words.as_ptr(), self.0.base.add(at).cast_mut(), words.len()) }
    }
}

/// The kernel's futex on a bell, with the longest time to sleep.
#[derive(Debug)]
pub(crate) struct KernelFutex<'a> {
    pub(crate) bell: &'a WordsMut,
    pub(crate) slice: Duration,
}

impl Futex for KernelFutex<'_> {
    fn wait(&self, expected: u32) {
        let slice = Timespec {
            tv_sec: i64::try_from(self.slice.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(self.slice.subsec_nanos()),
        };
        // Woken, changed, interrupted or timed out: the caller looks again in each case. Not PRIVATE: the
        // writer is another process.
        let _ = futex::wait(self.bell.bell(), futex::Flags::empty(), expected, Some(&slice));
    }

    fn wake(&self) {
        let everyone = i32::MAX.unsigned_abs();
        // It fails only for a bad address, and the bell is mapped.
        let _ = futex::wake(self.bell.bell(), futex::Flags::empty(), everyone);
    }
}

/// `CLOCK_MONOTONIC`, which liveness is measured by; it enters no frame.
pub(crate) fn mono_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let ns = now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec);
    u64::try_from(ns).unwrap_or(0)
}

/// The host's wall clock, for people who list what is there and for a model's own stamp; it enters no frame.
pub(crate) fn utc_ns() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}
