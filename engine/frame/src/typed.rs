//! A window of typed rows over the word protocol.

use std::marker::PhantomData;

use crate::{RawWindow, Record};

/// The writer's end of a window whose rows are `R`.
#[derive(Debug)]
pub struct Window<R> {
    raw: RawWindow,
    /// Indices rewritten since the last frame.
    rewritten: Vec<u64>,
    row: PhantomData<R>,
}

/// Repairs between two frames that are listed without allocating: a gap in ids can flag many bars at once.
const REWRITTEN_RESERVED: usize = 4_096;

impl<R: Record> Window<R> {
    /// # Panics
    /// Where the window's rows have another size: the segment was laid out from another schema.
    #[must_use]
    pub fn new(raw: RawWindow) -> Self {
        assert_eq!(raw.row_size_bytes(), size_of::<R>(), "row size of a window and of its type");
        Self { raw, rewritten: Vec::with_capacity(REWRITTEN_RESERVED), row: PhantomData }
    }

    /// Appends a row; returns its index in this epoch.
    pub fn append(&mut self, row: &R) -> u64 {
        self.raw.append(bytemuck::cast_slice(std::slice::from_ref(row)))
    }

    /// Appends `count` rows, each made by `row(index)`; of more than the window holds only the last are asked
    /// for. Returns the index of the first.
    pub fn append_many(&mut self, count: u64, mut row: impl FnMut(u64) -> R) -> u64 {
        self.raw.append_many(count, |index, words| {
            words.copy_from_slice(bytemuck::cast_slice(std::slice::from_ref(&row(index))));
        })
    }

    /// Rewrites a row that is still held: a repair.
    pub fn rewrite(&mut self, index: u64, row: &R) {
        self.raw.rewrite(index, bytemuck::cast_slice(std::slice::from_ref(row)));
        self.rewritten.push(index);
    }

    /// Indices rewritten since [`Self::clear_rewritten`], in that order.
    #[must_use]
    pub fn rewritten(&self) -> &[u64] {
        &self.rewritten
    }

    /// To be called with each frame.
    pub fn clear_rewritten(&mut self) {
        self.rewritten.clear();
    }

    /// A row that is still held.
    #[must_use]
    pub fn get(&self, index: u64) -> Option<R> {
        let mut row = R::zeroed();
        self.raw
            .read(index, bytemuck::cast_slice_mut(std::slice::from_mut(&mut row)))
            .then_some(row)
    }

    /// The newest row.
    #[must_use]
    pub fn last(&self) -> Option<R> {
        self.done().checked_sub(1).and_then(|index| self.get(index))
    }

    /// Index of the oldest row that is still held.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        self.done().saturating_sub(self.raw.capacity())
    }

    /// Rows appended in this epoch.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.raw.done()
    }

    /// What a frame's cursor holds: (done, revision).
    #[must_use]
    pub fn cursor(&self) -> [u64; 2] {
        [self.raw.done(), self.raw.revision()]
    }

    /// The word protocol's end.
    #[must_use]
    pub fn raw(&self) -> &RawWindow {
        &self.raw
    }

    /// The word protocol's end, to restore a checkpoint.
    pub fn raw_mut(&mut self) -> &mut RawWindow {
        &mut self.raw
    }
}
