//! The writer's ends. Guarantees: publishing and appending allocate nothing, lock nothing and wait for
//! nobody (one system call where a reader sleeps); what readers see changes only through the protocols of
//! `slot.rs` and `window.rs`. Needs: one owner each (none of them is `Clone`, all are `Send`). Does not:
//! read a clock.

use std::sync::Arc;
use std::time::Duration;

use crate::bell;
use crate::layout::{HEARTBEAT, Layout, MONO_MINUS_TS, RETIRED};
use crate::sync::{Fence, Memory, MemoryMut};
use crate::window::{BEGUN, DONE, FIRST, REVISION, Rows};
use crate::words::{KernelFutex, WORD_SIZE_BYTES, WordsMut, index};

/// Marks a segment as ended, from any thread and as often as one likes: for panic hooks and signal paths.
/// It keeps no lock alive.
#[derive(Debug, Clone)]
pub struct Retire {
    header: WordsMut,
    bell: Option<WordsMut>,
}

impl Retire {
    pub(crate) fn new(header: WordsMut, bell: Option<WordsMut>) -> Self {
        Self { header, bell }
    }

    /// Sets `retired` and wakes the readers, which then look for a newer segment.
    pub fn retire(&self) {
        self.header.store_release(RETIRED, 1);
        self.header.fence(Fence::Published);
        if let Some(bell) = &self.bell {
            bell::wake(bell, &KernelFutex { bell, slice: Duration::ZERO });
        }
    }
}

/// The frame ring of a segment: its only writer. Dropping it retires the segment.
#[derive(Debug)]
pub struct FrameRing {
    memory: WordsMut,
    bell: WordsMut,
    layout: Arc<Layout>,
    retire: Retire,
    /// Frames published in this epoch.
    published: u64,
}

impl FrameRing {
    pub(crate) fn new(
        memory: WordsMut,
        bell: WordsMut,
        layout: Arc<Layout>,
        retire: Retire,
    ) -> Self {
        Self { memory, bell, layout, retire, published: 0 }
    }

    /// Touches every page of the segment for writing.
    pub(crate) fn touch(&mut self) {
        self.memory.touch();
    }

    /// Publishes a frame; returns its `seq`, which counts from 0 in each epoch.
    ///
    /// # Panics
    /// Where the image is not a frame of this segment.
    #[inline]
    pub fn publish(&mut self, image: &[u64]) -> u64 {
        let slots = &self.layout.slots;
        assert_eq!(image.len(), slots.frame_words, "words of an image and of a frame");
        let seq = self.published;
        slots.publish(&self.memory, seq, image);
        self.published = seq + 1;
        let futex = KernelFutex { bell: &self.bell, slice: Duration::ZERO };
        bell::ring(&self.memory, &self.bell, &futex);
        seq
    }

    /// A frame is published soon: its slot's cache lines are fetched meanwhile. The ring is larger than the nearer caches,
    /// and the fence behind a frame waits for all of its lines.
    #[inline]
    pub fn prefetch_next(&self) {
        self.layout.slots.prefetch(&self.memory, self.published);
    }

    /// Frames published in this epoch.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.published
    }

    /// Bytes of a frame.
    #[must_use]
    pub fn frame_size_bytes(&self) -> usize {
        self.layout.frame_size_bytes()
    }

    /// Epoch of the segment.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.layout.epoch
    }

    /// States that the writer lives: `CLOCK_MONOTONIC` in ns, at each folded timer. Readers call it stalled
    /// when this is a second old.
    #[inline]
    pub fn heartbeat(&mut self, mono_ns: u64) {
        self.memory.store(HEARTBEAT, mono_ns);
    }

    /// `CLOCK_MONOTONIC` minus the time of frames, in ns: lets readers tell the age of a frame.
    pub fn set_mono_minus_ts(&mut self, ns: i64) {
        self.memory.store(MONO_MINUS_TS, ns.cast_unsigned());
    }

    /// How often somebody truncated the bell, as far as this process met it: it got its page back.
    #[must_use]
    pub fn bell_truncated(&self) -> u64 {
        self.bell.mended()
    }

    /// Ends the segment: readers are woken and look for a newer one. The frames stay readable.
    pub fn retire(&mut self) {
        self.retire.retire();
    }

    /// A handle that can retire the segment from elsewhere.
    #[must_use]
    pub fn retire_handle(&self) -> Retire {
        self.retire.clone()
    }
}

impl Drop for FrameRing {
    fn drop(&mut self) {
        self.retire();
    }
}

/// A window of a segment, of rows of words: its only writer.
#[derive(Debug)]
pub struct RawWindow {
    memory: WordsMut,
    layout: Arc<Layout>,
    /// Index among the windows of the layout.
    window: usize,
    rows: Rows,
    /// As in shared memory, where this alone writes them.
    first: u64,
    done: u64,
    revision: u64,
    /// One row, for rows made in place.
    scratch: Box<[u64]>,
}

impl RawWindow {
    pub(crate) fn new(
        memory: WordsMut,
        layout: Arc<Layout>,
        window: usize,
        first_lap_once: bool,
    ) -> Self {
        let rows = Rows { first_lap_once, ..layout.windows[window].rows };
        let scratch = vec![0; rows.row_words].into_boxed_slice();
        Self { memory, layout, window, rows, first: 0, done: 0, revision: 0, scratch }
    }

    fn check_row(&self, row: &[u64]) {
        assert_eq!(row.len(), self.rows.row_words, "words of a row of window {}", self.name());
    }

    /// Appends a row; returns its index.
    ///
    /// # Panics
    /// Where the row has another size than those of the window.
    #[inline]
    pub fn append(&mut self, row: &[u64]) -> u64 {
        self.check_row(row);
        let index = self.done;
        self.rows.append(&self.memory, index, row);
        self.done = index + 1;
        index
    }

    /// A row is appended soon: its cache lines are fetched meanwhile.
    #[inline]
    pub fn prefetch_next(&self) {
        self.rows.prefetch(&self.memory, self.done);
    }

    /// Appends `count` rows, each made by `fill(index, row)`, which sets all of `row`; returns the index of
    /// the first. Of more rows than the window holds only the last are asked for: a hole of
    /// any length costs no more than the window's capacity.
    pub fn append_many(&mut self, count: u64, fill: impl FnMut(u64, &mut [u64])) -> u64 {
        let index = self.done;
        self.rows.append_many(&self.memory, index, count, &mut self.scratch, fill);
        self.done = index + count;
        index
    }

    /// Rewrites a row: a repair. Views that are open are no longer intact, and the revision goes up by two.
    ///
    /// # Panics
    /// Where the row is not held ([`RawWindow::holds`]) or has another size than those of the window.
    pub fn rewrite(&mut self, index: u64, row: &[u64]) {
        self.check_row(row);
        assert!(
            self.holds(index),
            "row {index} of window {}: {} to {} are held",
            self.name(),
            self.oldest(),
            self.done
        );
        self.revision = self.rows.rewrite(&self.memory, index, self.revision, row);
    }

    /// Reads a row back; false, with `row` unchanged, where it is not held.
    ///
    /// # Panics
    /// Where `row` has another size than those of the window.
    pub fn read(&self, index: u64, row: &mut [u64]) -> bool {
        self.check_row(row);
        let held = self.holds(index);
        if held {
            self.memory.copy_out(self.rows.row_at(index), row);
        }
        held
    }

    /// Whether [`Self::restore`] takes that: a fresh window, whole rows and no more of them than `done`, an even
    /// revision.
    #[must_use]
    pub fn can_restore(&self, done: u64, revision: u64, rows: &[u64]) -> bool {
        self.done == 0
            && rows.len().is_multiple_of(self.rows.row_words)
            && (rows.len() / self.rows.row_words) as u64 <= done
            && revision.is_multiple_of(2)
    }

    /// Starts a fresh window with the newest rows of `other`, as many as are promised, numbered from 0.
    ///
    /// # Panics
    /// Where this window is not fresh, or the other one has other rows.
    pub fn take_over(&mut self, other: &Self) {
        let rows = other.newest_rows();
        self.restore((rows.len() / self.rows.row_words) as u64, 0, &rows);
    }

    /// A copy of the newest rows, as many as are promised and held, oldest first.
    #[must_use]
    pub fn newest_rows(&self) -> Vec<u64> {
        let first = self.oldest().max(self.done.saturating_sub(self.rows_promised()));
        let mut rows = vec![0; index(self.done - first) * self.rows.row_words];
        for (number, row) in (first..).zip(rows.chunks_exact_mut(self.rows.row_words)) {
            self.read(number, row);
        }
        rows
    }

    /// Starts a fresh window with rows kept elsewhere: they end at index `done - 1`, and of more than the
    /// window holds the last are taken. Earlier indices count as never held.
    ///
    /// # Panics
    /// Where [`Self::can_restore`] says no.
    pub fn restore(&mut self, done: u64, revision: u64, rows: &[u64]) {
        assert!(
            self.can_restore(done, revision, rows),
            "window {}: {} words of rows that end at {done}, revision {revision}, {} rows held",
            self.name(),
            rows.len(),
            self.done
        );
        let count = (rows.len() / self.rows.row_words) as u64;
        let kept = count.min(self.rows.capacity);
        let rows = &rows[index(count - kept) * self.rows.row_words..];
        let first = done - kept;
        // Before `done`: who sees rows sees where they begin.
        self.memory.store(self.rows.state_at + FIRST, first);
        self.memory.store(self.rows.state_at + BEGUN, done);
        self.memory.store(self.rows.state_at + REVISION, revision);
        self.memory.fence(Fence::Marked);
        for (number, row) in (first..).zip(rows.chunks_exact(self.rows.row_words)) {
            self.rows.write(&self.memory, number, row);
        }
        self.memory.store_release(self.rows.state_at + DONE, done);
        (self.first, self.done, self.revision) = (first, done, revision);
    }

    /// Whether a row is still there.
    #[must_use]
    pub fn holds(&self, index: u64) -> bool {
        (self.oldest()..self.done).contains(&index)
    }

    /// Index of the oldest row that is still there; [`RawWindow::done`] where none is.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        self.first.max(self.done.saturating_sub(self.rows.capacity))
    }

    /// Rows appended.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Twice the number of repairs.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Rows that readers may count on.
    #[must_use]
    pub fn rows_promised(&self) -> u64 {
        self.layout.windows[self.window].rows_promised
    }

    /// Rows held.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.rows.capacity
    }

    /// Bytes of a row.
    #[must_use]
    pub fn row_size_bytes(&self) -> usize {
        self.rows.row_words * WORD_SIZE_BYTES
    }

    /// Name of the window.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.layout.windows[self.window].name
    }
}
