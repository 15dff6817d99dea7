//! The readers' end of windows. Guarantees: rows that are handed out are whole and those asked for, or there is an error;
//! what is read in place counts once the view says so afterwards. Needs: a segment's mapping, which it keeps alive. Does
//! not: follow the engine to another segment.

use std::sync::Arc;

use crate::error::FrameError;
use crate::layout::{Layout, WindowLayout};
use crate::sync::Memory;
use crate::window::Refused;
use crate::words::{WORD_SIZE_BYTES, Words};

/// State of a window: what a frame's cursor holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Rows appended.
    pub done: u64,
    /// Twice the number of repairs; odd while one runs.
    pub revision: u64,
}

impl From<[u64; 2]> for Cursor {
    fn from([done, revision]: [u64; 2]) -> Self {
        Self { done, revision }
    }
}

/// A window of a segment. It stays on that segment when its reader follows another.
#[derive(Debug, Clone)]
pub struct WindowReader {
    memory: Words,
    layout: Arc<Layout>,
    index: usize,
}

impl WindowReader {
    pub(crate) fn new(memory: Words, layout: Arc<Layout>, index: usize) -> Self {
        Self { memory, layout, index }
    }

    fn window(&self) -> &WindowLayout {
        &self.layout.windows[self.index]
    }

    /// Name of the window.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.window().name
    }

    /// Bytes of a row.
    #[must_use]
    pub fn row_size_bytes(&self) -> usize {
        self.window().rows.row_words * WORD_SIZE_BYTES
    }

    /// Rows that readers may count on.
    #[must_use]
    pub fn rows_promised(&self) -> u64 {
        self.window().rows_promised
    }

    /// Rows held. A view of n rows stays intact for capacity - n further ones.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.window().rows.capacity
    }

    /// The window's state now. (A frame brings that of its own moment.)
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        let (done, revision) = self.window().rows.cursor(&self.memory);
        Cursor { done, revision }
    }

    /// Index of the oldest row that is still there, and was ever written.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        self.window().rows.oldest(&self.memory)
    }

    /// The last `count` rows before a frame's cursor, at its revision.
    ///
    /// # Errors
    /// [`FrameError::NotEnough`], [`FrameError::Lapped`], [`FrameError::Repaired`].
    pub fn last(&self, cursor: Cursor, count: u64) -> Result<WindowView, FrameError> {
        let Some(from) = cursor.done.checked_sub(count) else {
            return Err(FrameError::NotEnough {
                window: self.name().to_owned(),
                from: 0,
                wanted: count,
                oldest: 0,
                done: cursor.done,
            });
        };
        self.admit(from, count, cursor.revision)
    }

    /// Rows `from..from + count` as they are now.
    ///
    /// # Errors
    /// [`FrameError::NotEnough`], [`FrameError::Lapped`]; [`FrameError::Repaired`] only where repairs follow
    /// one another without a pause, or the writer died in one.
    pub fn view(&self, from: u64, count: u64) -> Result<WindowView, FrameError> {
        let mut answer = self.admit(from, count, self.cursor().revision);
        for _ in 0..1_000 {
            if !matches!(answer, Err(FrameError::Repaired { .. })) {
                break;
            }
            std::hint::spin_loop();
            answer = self.admit(from, count, self.cursor().revision);
        }
        answer
    }

    fn admit(&self, from: u64, count: u64, revision: u64) -> Result<WindowView, FrameError> {
        let view = WindowView { window: self.clone(), from, count, revision };
        match self.window().rows.admit(&self.memory, from, count, revision) {
            Ok(()) => Ok(view),
            Err(refused) => Err(view.refused(refused)),
        }
    }
}

/// A run of rows in shared memory, which the writer may overwrite at any time: what was read from it counts
/// once [`WindowView::check`] has said so *afterwards*. It keeps the mapping alive.
#[derive(Debug, Clone)]
pub struct WindowView {
    window: WindowReader,
    from: u64,
    count: u64,
    revision: u64,
}

impl WindowView {
    fn refused(&self, refused: Refused) -> FrameError {
        let window = self.window.name().to_owned();
        let Self { from, count, revision, .. } = *self;
        match refused {
            Refused::NotHeld { oldest, done } => {
                FrameError::NotEnough { window, from, wanted: count, oldest, done }
            }
            Refused::Lapped { oldest } => FrameError::Lapped { window, from, oldest },
            Refused::Repaired { revision: found } => {
                FrameError::Repaired { window, wanted: revision, found }
            }
        }
    }

    /// The window that this is a view of.
    #[must_use]
    pub fn window(&self) -> &WindowReader {
        &self.window
    }

    /// Index of the first row.
    #[must_use]
    pub fn from(&self) -> u64 {
        self.from
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.count
    }

    /// State of the window that the view belongs to.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor { done: self.from + self.count, revision: self.revision }
    }

    /// Words of all rows.
    #[must_use]
    pub fn size_words(&self) -> usize {
        crate::words::index(self.count) * self.window.window().rows.row_words
    }

    /// Bytes of all rows.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.size_words() * WORD_SIZE_BYTES
    }

    /// Whether all that has been read from the view so far was intact.
    #[must_use]
    pub fn intact(&self) -> bool {
        self.check().is_ok()
    }

    /// As [`WindowView::intact`], with the reason.
    ///
    /// # Errors
    /// [`FrameError::Lapped`], [`FrameError::Repaired`].
    pub fn check(&self) -> Result<(), FrameError> {
        self.check_from(self.from)
    }

    fn check_from(&self, from: u64) -> Result<(), FrameError> {
        let rows = &self.window.window().rows;
        rows.good(&self.window.memory, from, self.revision).map_err(|refused| self.refused(refused))
    }

    /// Copies all rows, oldest first, intact.
    ///
    /// # Errors
    /// [`FrameError::Lapped`], [`FrameError::Repaired`]: `out` then holds nothing of worth.
    /// [`FrameError::BufferSize`].
    pub fn copy_into(&self, out: &mut [u64]) -> Result<(), FrameError> {
        self.copy_from(self.from, self.size_words(), out)
    }

    /// Copies row `index` of the view, intact.
    ///
    /// # Errors
    /// As [`WindowView::copy_into`].
    ///
    /// # Panics
    /// Where the view has no such row.
    pub fn row(&self, index: u64, out: &mut [u64]) -> Result<(), FrameError> {
        assert!(index < self.count, "row {index} of a view of {}", self.count);
        self.copy_from(self.from + index, self.window.window().rows.row_words, out)
    }

    fn copy_from(&self, from: u64, words: usize, out: &mut [u64]) -> Result<(), FrameError> {
        if out.len() != words {
            let what = format!("a copy from window {}", self.window.name());
            return Err(FrameError::BufferSize { what, found: out.len(), wanted: words });
        }
        self.window.memory.copy_out(self.window.window().rows.row_at(from), out);
        self.check_from(from)
    }

    /// Address of the first row; the others follow it without a gap. For bindings that hand the memory on:
    /// no Rust reference may be made of it, and what was read counts after [`WindowView::check`] alone.
    #[must_use]
    pub fn as_ptr(&self) -> *const u64 {
        let rows = &self.window.window().rows;
        self.window.memory.address(rows.row_at(self.from), self.size_words())
    }
}
