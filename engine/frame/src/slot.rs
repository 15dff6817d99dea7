//! Slot protocol of the frame ring. Guarantees: a reader that is told [`Slot::Whole`] holds exactly frame
//! `n`, untorn; the writer never waits. Needs: one writer, 64-bit sequence numbers that never wrap. Does
//! not: keep a frame longer than `slot_count` publications.
//!
//! Slot of frame n (its index in the epoch): sequence 2n+1 while it is written, 2n+2 once it is whole. The
//! number names the generation, so a reader that expects frame n knows a newer one from a torn one.

use crate::sync::{Fence, Memory, MemoryMut};

/// Words between the sequence and the frame: the frame begins on its own cache line.
pub(crate) const SLOT_HEADER_WORDS: usize = 8;

/// Words of a frame that polling readers have fetched each time. A longer one would keep the writer from its own lines: one
/// of 2 KB took 410 ns in place of 240 (Zen 4).
const POLLED_WORDS: usize = 64;

/// Where a frame ring lies, in words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slots {
    /// Count of frames published.
    pub(crate) published_at: usize,
    pub(crate) slots_at: usize,
    pub(crate) slot_words: usize,
    pub(crate) frame_words: usize,
    /// A power of two.
    pub(crate) slot_count: u64,
}

/// What a reader found in the slot of frame n.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    Whole,
    /// A newer frame, or one being written.
    Overwritten,
    /// An older frame: n is not published. After a look at `published` that says it is, the segment is
    /// damaged.
    NotYet,
}

impl Slots {
    fn slot_at(&self, n: u64) -> usize {
        let index = n & (self.slot_count - 1);
        self.slots_at + crate::words::index(index) * self.slot_words
    }

    /// Sequence word in the slot of n.
    pub(crate) fn sequence<M: Memory>(&self, memory: &M, n: u64) -> u64 {
        memory.load(self.slot_at(n))
    }

    /// Whether frame n is not there yet, nor while it is written. Who asks is most likely to ask again: a short frame is
    /// fetched along with its sequence, behind which it would take as long again.
    #[inline]
    pub(crate) fn is_ahead<M: Memory>(&self, memory: &M, n: u64) -> bool {
        let slot = self.slot_at(n);
        if self.frame_words <= POLLED_WORDS {
            memory.prefetch_for_read(slot + SLOT_HEADER_WORDS, self.frame_words);
        }
        memory.load(slot) < 2 * n + 2
    }

    /// Publishes frame n.
    #[inline]
    pub(crate) fn publish<M: MemoryMut>(&self, memory: &M, n: u64, image: &[u64]) {
        debug_assert_eq!(image.len(), self.frame_words);
        let slot = self.slot_at(n);
        memory.store(slot, 2 * n + 1);
        memory.fence(Fence::Marked);
        memory.copy_in(slot + SLOT_HEADER_WORDS, image);
        memory.store_release(slot, 2 * n + 2);
        memory.store_release(self.published_at, n + 1);
    }

    /// Frame n is published soon.
    #[inline]
    pub(crate) fn prefetch<M: MemoryMut>(&self, memory: &M, n: u64) {
        memory.prefetch(self.slot_at(n), SLOT_HEADER_WORDS + self.frame_words);
    }

    /// How many frames are published; what they hold may be read after it.
    #[inline]
    pub(crate) fn published<M: Memory>(&self, memory: &M) -> u64 {
        let published = memory.load(self.published_at);
        memory.fence(Fence::Seen);
        published
    }

    /// Copies frame n; what it copied counts only if the answer is [`Slot::Whole`].
    #[inline]
    pub(crate) fn read<M: Memory>(&self, memory: &M, n: u64, out: &mut [u64]) -> Slot {
        debug_assert_eq!(out.len(), self.frame_words);
        let slot = self.slot_at(n);
        let whole = 2 * n + 2;
        let sequence = memory.load(slot);
        if sequence != whole {
            return if sequence > whole { Slot::Overwritten } else { Slot::NotYet };
        }
        memory.fence(Fence::Seen);
        memory.copy_out(slot + SLOT_HEADER_WORDS, out);
        memory.fence(Fence::Used);
        if memory.load(slot) == whole { Slot::Whole } else { Slot::Overwritten }
    }

    /// The oldest frame still whole, given the count published.
    pub(crate) fn oldest<M: Memory>(&self, memory: &M, published: u64) -> u64 {
        // The writer may be at work on frame `published`, in the slot of this one.
        let oldest = published.saturating_sub(self.slot_count);
        let whole = published == 0 || memory.load(self.slot_at(oldest)) == 2 * oldest + 2;
        if whole { oldest } else { oldest + 1 }
    }
}
