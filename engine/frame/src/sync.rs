//! What the protocols ask of memory. Guarantees: protocol code touches shared words in no other way, so
//! the models (`models.rs`) run the very code that runs over a mapping, over loom's atomics. Needs: an
//! implementation whose words are atomics. Does not: read-modify-write, wait, or know files.
//!
//! Loads and stores are Relaxed; order comes from the fences below and from [`MemoryMut::store_release`].
//! Readers map read-only, where the language defines nothing but Relaxed loads.

use std::sync::atomic::Ordering;

/// Every fence of the protocols, with its partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fence {
    /// Writer, between the mark "being written" (odd sequence, `begun`, odd revision) and the words.
    /// Release; its partner is [`Fence::Used`]: who saw a word sees the mark.
    Marked,
    /// Reader, between the mark "whole" (even sequence, `done`, even revision, `published`) and the words.
    /// Acquire; its partner is the `store_release` of that mark: who saw the mark sees the words.
    Seen,
    /// Reader, between the words and its second look at the mark. Acquire; its partner is
    /// [`Fence::Marked`].
    Used,
    /// Reader, between setting the bell and its second look at `published`. `SeqCst`; its partner is
    /// [`Fence::Published`]: one of the two sees what the other stored.
    BellSet,
    /// Writer, between `published` and its look at the bell. `SeqCst`; its partner is [`Fence::BellSet`].
    Published,
}

impl Fence {
    pub(crate) const fn ordering(self) -> Ordering {
        match self {
            Self::Marked => Ordering::Release,                   // to Used
            Self::Seen | Self::Used => Ordering::Acquire,        // from store_release; from Marked
            Self::BellSet | Self::Published => Ordering::SeqCst, // to one another
        }
    }
}

/// Words that another process may be writing.
pub(crate) trait Memory {
    /// One word, Relaxed.
    fn load(&self, at: usize) -> u64;

    /// These words will be read as soon as they are there: their cache lines may be fetched meanwhile. Changes nothing.
    fn prefetch_for_read(&self, _at: usize, _words: usize) {}

    /// Copies `out.len()` words out of shared memory. What it copied counts only once the mark has been
    /// looked at again.
    fn copy_out(&self, at: usize, out: &mut [u64]) {
        for (index, word) in out.iter_mut().enumerate() {
            *word = self.load(at + index);
        }
    }

    fn fence(&self, fence: Fence) {
        std::sync::atomic::fence(fence.ordering()); // partners: at each variant of `Fence`
    }
}

/// Words of which this process is the only writer. (The bell has several; its protocol allows for it.)
pub(crate) trait MemoryMut: Memory {
    /// One word, Relaxed.
    fn store(&self, at: usize, word: u64);

    /// One word, Release; its partner is [`Fence::Seen`].
    fn store_release(&self, at: usize, word: u64);

    /// These words are about to be written: their cache lines may be fetched meanwhile. Changes nothing.
    fn prefetch(&self, _at: usize, _words: usize) {}

    /// Copies words into shared memory, between a mark and its [`Fence::Marked`] before and a
    /// `store_release` after.
    fn copy_in(&self, at: usize, words: &[u64]) {
        for (index, &word) in words.iter().enumerate() {
            self.store(at + index, word);
        }
    }
}
