//! SHA-256 over all that a symbol publishes: proof that two runs gave the same bytes.
//!
//! For each frame: the rows appended or rewritten since the last (window, index, bytes), then the frame
//! with what differs between equal runs zeroed (epoch, ts_parsed, ts_applied, ts_published).

use std::fmt;

use cobring_frame::{FrameImage, Record, Window};
use cobring_market::Windows;
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
    done: [u64; 3],
    scratch: FrameImage,
}

impl FrameHash {
    /// Begins where the windows stand now.
    #[must_use]
    pub(crate) fn new(image: &FrameImage, windows: &Windows) -> Self {
        let done = [windows.candles_1s.done(), windows.candles_1m.done(), windows.ticks.done()];
        Self { hasher: Sha256::new(), done, scratch: image.clone() }
    }

    /// A frame that was just published.
    pub(crate) fn frame(&mut self, image: &FrameImage, windows: &Windows) {
        let [candles_1s, candles_1m, ticks] = &mut self.done;
        hash_rows(&mut self.hasher, 0, &windows.candles_1s, candles_1s);
        hash_rows(&mut self.hasher, 1, &windows.candles_1m, candles_1m);
        hash_rows(&mut self.hasher, 2, &windows.ticks, ticks);
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

fn hash_rows<R: Record>(hasher: &mut Sha256, number: u64, window: &Window<R>, hashed: &mut u64) {
    let mut row = |index: u64| {
        let row = window.get(index).expect("invariant: rows since the last frame are held");
        hasher.update(number.to_le_bytes());
        hasher.update(index.to_le_bytes());
        hasher.update(bytemuck::bytes_of(&row));
    };
    let oldest = window.oldest();
    let repaired = window.rewritten().iter().copied();
    repaired.filter(|index| (oldest..*hashed).contains(index)).for_each(&mut row);
    ((*hashed).max(oldest)..window.done()).for_each(&mut row);
    *hashed = window.done();
}
