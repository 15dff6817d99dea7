//! Window protocol. Guarantees: any run of at most `capacity` rows lies contiguous, and a view that is
//! [`Rows::good`] *after* use held exactly those rows, at that revision, all the while. Needs: one writer.
//! Does not: keep a row longer than `capacity` further ones; tell a reader which row a repair changed.
//!
//! Row n lies twice, at slot n mod C and C + n mod C. (In a sparse segment, which is this process's alone, the rows of the
//! first lap, n < C, lie once: a view has a row's second place only where it begins a lap before. Readers of other processes
//! may rely on both.) Four words go with it: `first` (oldest row that this
//! segment ever held), `begun`, `done`, `revision`. `begun` is what makes a view provable: with `done`
//! alone a reader accepts a row that is being overwritten (`models.rs` keeps both).

use crate::sync::{Fence, Memory, MemoryMut};

/// Words of a window's state, from `state_at` on.
pub(crate) const FIRST: usize = 0;
pub(crate) const BEGUN: usize = 1;
pub(crate) const DONE: usize = 2;
pub(crate) const REVISION: usize = 3;

/// Where a window lies, in words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows {
    pub(crate) state_at: usize,
    pub(crate) rows_at: usize,
    pub(crate) row_words: usize,
    /// Rows of one copy: C.
    pub(crate) capacity: u64,
    /// Rows of the first lap lie once.
    pub(crate) first_lap_once: bool,
}

/// Why a view of rows cannot be had, or was not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Rows that were never there: before `first`, or not yet appended; `oldest..done` is there.
    NotHeld { oldest: u64, done: u64 },
    /// Rows that later ones have overwritten; `oldest` is the first one left.
    Lapped { oldest: u64 },
    /// A repair changed rows since that revision, or is changing them now.
    Repaired { revision: u64 },
}

impl Rows {
    pub(crate) fn row_at(&self, index: u64) -> usize {
        self.rows_at + crate::words::index(index % self.capacity) * self.row_words
    }

    pub(crate) fn write<M: MemoryMut>(&self, memory: &M, index: u64, row: &[u64]) {
        debug_assert_eq!(row.len(), self.row_words);
        let at = self.row_at(index);
        memory.copy_in(at, row);
        if self.lies_twice(index) {
            memory.copy_in(at + self.copy_words(), row);
        }
    }

    fn copy_words(&self) -> usize {
        crate::words::index(self.capacity) * self.row_words
    }

    fn lies_twice(&self, index: u64) -> bool {
        !self.first_lap_once || index >= self.capacity
    }

    /// Row n is appended soon.
    #[inline]
    pub(crate) fn prefetch<M: MemoryMut>(&self, memory: &M, n: u64) {
        let at = self.row_at(n);
        memory.prefetch(at, self.row_words);
        if self.lies_twice(n) {
            memory.prefetch(at + self.copy_words(), self.row_words);
        }
    }

    /// Appends row n.
    #[inline]
    pub(crate) fn append<M: MemoryMut>(&self, memory: &M, n: u64, row: &[u64]) {
        memory.store(self.state_at + BEGUN, n + 1);
        memory.fence(Fence::Marked);
        self.write(memory, n, row);
        memory.store_release(self.state_at + DONE, n + 1);
    }

    /// Appends rows n to n + count - 1, of which only the last `capacity` are asked for and written.
    pub(crate) fn append_many<M: MemoryMut>(
        &self,
        memory: &M,
        n: u64,
        count: u64,
        scratch: &mut [u64],
        mut fill: impl FnMut(u64, &mut [u64]),
    ) {
        let end = n + count;
        memory.store(self.state_at + BEGUN, end);
        memory.fence(Fence::Marked);
        for index in n.max(end.saturating_sub(self.capacity))..end {
            fill(index, scratch);
            self.write(memory, index, scratch);
        }
        memory.store_release(self.state_at + DONE, end);
    }

    /// Rewrites a row that is still held: a repair. Returns the new revision.
    pub(crate) fn rewrite<M: MemoryMut>(
        &self,
        memory: &M,
        index: u64,
        revision: u64,
        row: &[u64],
    ) -> u64 {
        memory.store(self.state_at + REVISION, revision + 1);
        memory.fence(Fence::Marked);
        self.write(memory, index, row);
        memory.store_release(self.state_at + REVISION, revision + 2);
        revision + 2
    }

    /// What is there now: (done, revision).
    pub(crate) fn cursor<M: Memory>(&self, memory: &M) -> (u64, u64) {
        let revision = memory.load(self.state_at + REVISION);
        memory.fence(Fence::Seen);
        let done = memory.load(self.state_at + DONE);
        memory.fence(Fence::Seen);
        (done, revision)
    }

    /// Index of the oldest row that is still held.
    pub(crate) fn oldest<M: Memory>(&self, memory: &M) -> u64 {
        let (done, _) = self.cursor(memory);
        let begun = memory.load(self.state_at + BEGUN).max(done);
        memory.load(self.state_at + FIRST).max(begun.saturating_sub(self.capacity))
    }

    /// Whether rows `from..from + count`, at `revision`, may be looked at. They count only if [`Rows::good`]
    /// says so after use.
    pub(crate) fn admit<M: Memory>(
        &self,
        memory: &M,
        from: u64,
        count: u64,
        revision: u64,
    ) -> Result<(), Refused> {
        let (done, now) = self.cursor(memory);
        if now != revision || revision % 2 == 1 {
            return Err(Refused::Repaired { revision: now });
        }
        let first = memory.load(self.state_at + FIRST);
        let begun = memory.load(self.state_at + BEGUN).max(done);
        let kept = begun.saturating_sub(self.capacity);
        let end = from.checked_add(count);
        if from < first || end.is_none_or(|end| end > done) || count > self.capacity {
            return Err(Refused::NotHeld { oldest: first.max(kept), done });
        }
        if from < kept {
            return Err(Refused::Lapped { oldest: kept });
        }
        Ok(())
    }

    /// After use: whether the rows from `from` on, at `revision`, were all the while what they were.
    #[inline]
    pub(crate) fn good<M: Memory>(
        &self,
        memory: &M,
        from: u64,
        revision: u64,
    ) -> Result<(), Refused> {
        memory.fence(Fence::Used);
        let begun = memory.load(self.state_at + BEGUN);
        if begun > from.saturating_add(self.capacity) {
            return Err(Refused::Lapped { oldest: begun - self.capacity });
        }
        let now = memory.load(self.state_at + REVISION);
        if now != revision || revision % 2 == 1 {
            return Err(Refused::Repaired { revision: now });
        }
        Ok(())
    }
}
