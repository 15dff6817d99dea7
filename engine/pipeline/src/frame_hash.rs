//! SHA-256 over all that a symbol publishes: proof that two runs gave the same bytes.
//!
//! For each frame: the rows appended or rewritten since the last (window, index, bytes), then the frame
//! with what differs between equal runs zeroed (epoch, ts_parsed, ts_applied, ts_published).

use std::fmt;

use cobring_frame::{AnyWindow, FrameImage, Windows};
use sha2::{Digest as _, Sha256};

/// A finished hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FrameDigest(pub [u8; 32]);

impl fmt::Display for FrameDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FrameDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FrameDigest({self})")
    }
}

impl FrameDigest {
    /// Of several symbols: the SHA-256 over their digests, in order of names.
    #[must_use]
    pub fn total(digests: impl IntoIterator<Item = Self>) -> Self {
        let mut hasher = Sha256::new();
        for digest in digests {
            hasher.update(digest.0);
        }
        Self(hasher.finalize().into())
    }
}

/// The hash of one symbol so far.
#[derive(Debug)]
pub(crate) struct FrameHash {
    hasher: Sha256,
    /// Rows of each window that were hashed.
    done: Vec<u64>,
    /// A row of any window.
    row: Vec<u64>,
    scratch: FrameImage,
}

impl FrameHash {
    /// Begins where the windows stand now.
    #[must_use]
    pub(crate) fn new(image: &FrameImage, windows: &Windows) -> Self {
        let done = windows.iter().map(|window| window.raw().done()).collect();
        let longest = windows.iter().map(|window| window.raw().row_size_bytes()).max().unwrap_or(0);
        Self { hasher: Sha256::new(), done, row: vec![0; longest / 8], scratch: image.clone() }
    }

    /// A frame that was just published.
    pub(crate) fn frame(&mut self, image: &FrameImage, windows: &Windows) {
        for ((number, window), done) in (0..).zip(windows.iter()).zip(&mut self.done) {
            hash_rows(&mut self.hasher, number, window, &mut self.row, done);
        }
        self.scratch.copy_from(image);
        let head = self.scratch.head_mut();
        head.identity.epoch = 0;
        head.times.ts_parsed = 0;
        head.times.ts_applied = 0;
        head.times.ts_published = 0;
        self.hasher.update(bytemuck::cast_slice::<u64, u8>(self.scratch.words()));
    }

    /// The hash of all frames so far.
    #[must_use]
    pub(crate) fn digest(&self) -> FrameDigest {
        FrameDigest(self.hasher.clone().finalize().into())
    }
}

fn hash_rows(
    hasher: &mut Sha256,
    number: u64,
    window: &dyn AnyWindow,
    row: &mut [u64],
    hashed: &mut u64,
) {
    let raw = window.raw();
    let row = &mut row[..raw.row_size_bytes() / 8];
    let mut hash = |index: u64| {
        assert!(raw.read(index, row), "row {index} of {} since the last frame", raw.name());
        hasher.update(number.to_le_bytes());
        hasher.update(index.to_le_bytes());
        hasher.update(bytemuck::cast_slice::<u64, u8>(row));
    };
    let oldest = raw.oldest();
    let repaired = window.rewritten().iter().copied();
    repaired.filter(|index| (oldest..*hashed).contains(index)).for_each(&mut hash);
    ((*hashed).max(oldest)..raw.done()).for_each(&mut hash);
    *hashed = raw.done();
}
