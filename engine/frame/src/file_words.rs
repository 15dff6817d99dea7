//! A file's words by system calls. Guarantees: whatever another process does to the file, truncation
//! included, an access comes back: what cannot be read is 0 and remembered as a failure. Needs: nothing of
//! the file. Does not: map it. (A mapped file that anyone may truncate is a SIGBUS to whoever maps it; files
//! that models write are read 100 times a second, where a system call of 0.4 µs costs nothing.)
//!
//! A word need not be copied at once, so a protocol over these words must bear a torn word. The slots do:
//! the low byte of a sequence tells its generation from the one before and the one after, and who sees one
//! byte of a store sees, behind the fence, all that came before it.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;

use crate::sync::{Memory, MemoryMut};
use crate::words::WORD_SIZE_BYTES;

/// Words of a file that other processes write too.
#[derive(Debug)]
pub(crate) struct FileWords {
    file: File,
    failure: Cell<Option<io::ErrorKind>>,
}

impl FileWords {
    pub(crate) fn new(file: File) -> Self {
        Self { file, failure: Cell::new(None) }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Whether any access since the last question failed.
    pub(crate) fn take_failure(&self) -> Option<io::ErrorKind> {
        self.failure.take()
    }

    fn note(&self, result: io::Result<()>) -> bool {
        if let Err(error) = &result {
            self.failure.set(Some(error.kind()));
        }
        result.is_ok()
    }

    fn offset(at: usize) -> u64 {
        (at * WORD_SIZE_BYTES) as u64
    }
}

impl Memory for FileWords {
    fn load(&self, at: usize) -> u64 {
        let mut word = [0; WORD_SIZE_BYTES];
        let read = self.note(self.file.read_exact_at(&mut word, Self::offset(at)));
        if read { u64::from_le_bytes(word) } else { 0 }
    }

    fn copy_out(&self, at: usize, out: &mut [u64]) {
        let bytes = bytemuck::cast_slice_mut(out);
        if !self.note(self.file.read_exact_at(bytes, Self::offset(at))) {
            bytes.fill(0);
        }
    }
}

impl MemoryMut for FileWords {
    fn store(&self, at: usize, word: u64) {
        self.copy_in(at, &[word]);
    }

    fn store_release(&self, at: usize, word: u64) {
        std::sync::atomic::fence(Ordering::Release); // to `Fence::Seen`, whichever way the kernel stores
        self.store(at, word);
    }

    fn copy_in(&self, at: usize, words: &[u64]) {
        self.note(self.file.write_all_at(bytemuck::cast_slice(words), Self::offset(at)));
    }
}
