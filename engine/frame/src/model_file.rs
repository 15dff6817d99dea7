//! The file that one model writes for one symbol: `models/SYMBOL.NAME`. Guarantees: a header that was read
//! is the one this version would write. Needs: nothing. Does not: open files.
//!
//! A file for each model and symbol, not one a symbol: the right to write, the lock and the damage that a
//! model can do all end with its own file.
//!
//! ```text
//! header page    0 magic | 8 version | 16 size | 24 epoch | 32 the engine's process | 40 slots |
//!                48 slot size | 56 output size | 64 outputs wanted | 72 they sum to 1
//!                256 published | 384 the model's process
//! slots          64 of 384 bytes: sequence, output at 64
//! locks          byte 0: the engine lives; byte 1: a model has the file
//! ```
//! The slot protocol is that of the frame ring, with the model as the writer. The engine trusts no word of
//! the file; the model trusts the header, which only the engine writes.

use std::path::{Path, PathBuf};

use cobring_types::{MODEL_OUTPUT_SIZE_BYTES, ModelShape};

use crate::error::FrameError;
use crate::layout::PAGE_SIZE_BYTES;
use crate::lock::Part;
use crate::slot::{SLOT_HEADER_WORDS, Slots};
use crate::words::WORD_SIZE_BYTES;

/// Subdirectory of the engine's directory.
pub(crate) const MODELS_DIR: &str = "models";
const MAGIC: u64 = u64::from_le_bytes(*b"cobmodel");
const VERSION: u64 = 1;

const EPOCH: usize = 3;
const ENGINE_PID: usize = 4;
const OUTPUTS: usize = 8;
const SUM_TO_ONE: usize = 9;
pub(crate) const HEADER_WORDS: usize = 10;
const PUBLISHED: usize = 32;
/// The model's process; the model writes it.
pub(crate) const MODEL_PID: usize = 48;

/// Held by the engine while it polls the file.
pub(crate) const ENGINE_LOCK: Part = Part::Byte(0);
/// Held by the model that writes the file.
pub(crate) const MODEL_LOCK: Part = Part::Byte(1);

pub(crate) const SLOT_COUNT: u64 = 64;
pub(crate) const OUTPUT_WORDS: usize = MODEL_OUTPUT_SIZE_BYTES / WORD_SIZE_BYTES;
const SLOT_WORDS: usize = SLOT_HEADER_WORDS + OUTPUT_WORDS.next_multiple_of(8);
pub(crate) const FILE_SIZE_BYTES: usize = PAGE_SIZE_BYTES
    + (crate::words::index(SLOT_COUNT) * SLOT_WORDS * WORD_SIZE_BYTES)
        .next_multiple_of(PAGE_SIZE_BYTES);

pub(crate) const SLOTS: Slots = Slots {
    published_at: PUBLISHED,
    slots_at: PAGE_SIZE_BYTES / WORD_SIZE_BYTES,
    slot_words: SLOT_WORDS,
    frame_words: OUTPUT_WORDS,
    slot_count: SLOT_COUNT,
};

/// More outputs than a model publishes in a thousand years: a larger count is no count, and a smaller one
/// cannot overflow a sequence.
pub(crate) const PUBLISHED_MAX: u64 = 1 << 48;

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) epoch: u64,
    pub(crate) engine_pid: u32,
    pub(crate) shape: ModelShape,
}

impl Header {
    pub(crate) fn encode(&self) -> [u64; HEADER_WORDS] {
        let mut words = [0; HEADER_WORDS];
        words[..3].copy_from_slice(&[MAGIC, VERSION, FILE_SIZE_BYTES as u64]);
        words[EPOCH] = self.epoch;
        words[ENGINE_PID] = u64::from(self.engine_pid);
        words[5] = SLOT_COUNT;
        words[6] = (SLOT_WORDS * WORD_SIZE_BYTES) as u64;
        words[7] = MODEL_OUTPUT_SIZE_BYTES as u64;
        words[OUTPUTS] = self.shape.outputs as u64;
        words[SUM_TO_ONE] = u64::from(self.shape.sum_to_one);
        words
    }

    pub(crate) fn decode(path: &Path, words: &[u64; HEADER_WORDS]) -> Result<Self, FrameError> {
        let path = || path.to_owned();
        if words[0] != MAGIC {
            return Err(FrameError::Foreign { path: path(), found: words[0], wanted: MAGIC });
        }
        if words[1] != VERSION {
            return Err(FrameError::Version { path: path(), found: words[1], supported: VERSION });
        }
        let shape = ModelShape {
            outputs: usize::try_from(words[OUTPUTS]).unwrap_or(usize::MAX),
            sum_to_one: words[SUM_TO_ONE] != 0,
        };
        let engine_pid = u32::try_from(words[ENGINE_PID]).unwrap_or(u32::MAX);
        let header = Self { epoch: words[EPOCH], engine_pid, shape };
        match (0..).zip(header.encode()).find(|&(at, word)| words[at] != word) {
            None => Ok(header),
            Some((at, wanted)) => Err(FrameError::Damaged {
                path: path(),
                what: format!("word {at} of the header"),
                found: words[at],
                wanted: wanted.to_string(),
            }),
        }
    }
}

/// Longest name of a model or a subscriber.
const NAME_SIZE_BYTES_MAX: usize = 32;

/// Whether a name can be that of a model or a subscriber: part of a file's name, without dots.
#[must_use]
pub fn is_model_name(name: &str) -> bool {
    (1..=NAME_SIZE_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

pub(crate) fn check_own_name(what: &'static str, name: &str) -> Result<(), FrameError> {
    if is_model_name(name) {
        return Ok(());
    }
    Err(FrameError::BadOwnName { what, name: name.to_owned() })
}

pub(crate) fn model_path(dir: &Path, symbol: &str, model: &str) -> PathBuf {
    dir.join(MODELS_DIR).join(format!("{symbol}.{model}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Offsets that writers in other languages rely on.
    #[test]
    fn the_layout_is_the_documented_one() {
        let shape = ModelShape { outputs: 3, sum_to_one: true };
        let header = Header { epoch: 7, engine_pid: 9, shape };
        let magic = 0x6c65_646f_6d62_6f63;
        let words = header.encode();
        assert_eq!(words, [magic, 1, 28_672, 7, 9, 64, 384, 264, 3, 1]);
        let path = Path::new("ETHUSDT.cnn");
        assert_eq!(Header::decode(path, &words).unwrap(), header);
        assert_eq!((SLOTS.slots_at * 8, SLOT_HEADER_WORDS * 8), (4_096, 64));
        for at in [0, 1, 2, 5, 6, 7, 9] {
            let mut damaged = words;
            damaged[at] = 1 << 40;
            assert!(Header::decode(path, &damaged).is_err(), "word {at}");
        }
    }

    #[test]
    fn names_are_parts_of_file_names() {
        for good in ["cnn", "CNN-1_b", "x", &"n".repeat(32)] {
            assert!(is_model_name(good), "{good}");
        }
        for bad in ["", ".", "a.b", "a/b", "ä", "a b", &"n".repeat(33)] {
            assert!(!is_model_name(bad), "{bad}");
        }
    }
}
