//! The bell: how a reader sleeps until the next frame at the price of one fence to the writer.
//! Guarantees: a reader that sleeps is woken by the next publication, and a scribbled or dead bell costs a
//! reader at most one slice of waiting, the writer a system call, nobody a frame. Needs: a page that
//! readers may write, and that outlives its file's truncation (`bell_guard.rs`). Does not: carry data, or tell how many wait.
//!
//! Readers sleep on the bell's own word, not on `published`. (The writer clears the bell and then wakes. A
//! reader that set it again in between, and is about to sleep on a `published` that has not changed, would
//! lose both its mark and the call, and sleep past the next frame; `models.rs` shows it. On the bell's word
//! the kernel's comparison sees the cleared mark, and the reader comes round again.)

use crate::sync::{Fence, Memory, MemoryMut};

/// Word of the bell in its page: 1 = somebody waits.
pub(crate) const BELL: usize = 0;

/// The two calls of the kernel.
pub(crate) trait Futex {
    /// Sleeps while the bell is `expected`, until woken or until the caller's slice of time is over.
    fn wait(&self, expected: u32);

    /// Wakes everyone who sleeps on the bell.
    fn wake(&self);
}

/// Reader: sleeps until more than `seen` frames are published, or a slice of time is over; the caller
/// looks again.
pub(crate) fn wait<M: Memory, B: MemoryMut>(
    memory: &M,
    published_at: usize,
    bell: &B,
    seen: u64,
    futex: &impl Futex,
) {
    bell.store(BELL, 1);
    memory.fence(Fence::BellSet);
    if memory.load(published_at) == seen {
        futex.wait(1);
    }
}

/// Writer, after publishing: wakes who waits.
#[inline]
pub(crate) fn ring<M: MemoryMut, B: MemoryMut>(memory: &M, bell: &B, futex: &impl Futex) {
    memory.fence(Fence::Published);
    if bell.load(BELL) != 0 {
        wake(bell, futex);
    }
}

/// Wakes everyone, whether or not anyone waits.
#[cold]
pub(crate) fn wake<B: MemoryMut>(bell: &B, futex: &impl Futex) {
    bell.store(BELL, 0);
    futex.wake();
}
