//! A file of words that several processes of a bench map: what they tell one another, and the bare seqlock that the
//! frame ring is held against. Guarantees: every access is inside the mapping. Does not: order anything by itself.
#![allow(unsafe_code, reason = "mapped memory as atomics; a bare copy out of it")]

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use memmap2::{MmapOptions, MmapRaw};

/// Mapped words.
pub(crate) struct SharedWords {
    memory: MmapRaw,
    count: usize,
}

impl SharedWords {
    /// A new file of so many zeros.
    pub(crate) fn create(path: &Path, count: usize) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        file.set_len(count as u64 * 8)?;
        Self::open(path)
    }

    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let memory = MmapOptions::new().map_raw(&file)?;
        let count = memory.len() / 8;
        Ok(Self { memory, count })
    }

    /// One word.
    pub(crate) fn word(&self, at: usize) -> &AtomicU64 {
        assert!(at < self.count, "word {at} of {}", self.count);
        // SAFETY: inside the mapping (checked), which lives as long as `self` and begins at a page; other processes
        // touch it as an atomic too, or within a seqlock's copy.
        unsafe { &*self.memory.as_ptr().cast::<AtomicU64>().add(at) }
    }

    /// A plain copy, as a bare seqlock makes it between two looks at its sequence.
    pub(crate) fn copy_in(&self, at: usize, words: &[u64]) {
        assert!(at + words.len() <= self.count, "{} words at {at} of {}", words.len(), self.count);
        // SAFETY: inside the mapping (checked), which is writable and disjoint from `words`.
        unsafe {
            let target = self.memory.as_mut_ptr().cast::<u64>().add(at);
            std::ptr::copy_nonoverlapping(words.as_ptr(), target, words.len());
        }
    }

    /// As [`Self::copy_in`], the other way; what it copied counts only where the sequence is still the same.
    pub(crate) fn copy_out(&self, at: usize, words: &mut [u64]) {
        assert!(at + words.len() <= self.count, "{} words at {at} of {}", words.len(), self.count);
        // SAFETY: inside the mapping (checked), disjoint from `words`. Another process may write it meanwhile, as under
        // every bare seqlock; the caller then throws away what was copied.
        unsafe {
            let source = self.memory.as_ptr().cast::<u64>().add(at);
            std::ptr::copy_nonoverlapping(source, words.as_mut_ptr(), words.len());
        }
    }
}
