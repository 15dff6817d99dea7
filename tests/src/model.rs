//! A model, from the documented bytes of its file alone (`engine/frame/src/model_file.rs`): no code of the
//! engine, and no check that would keep it from saying nonsense.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::watch::Frame;

const PUBLISHED_AT: u64 = 256;
const SLOTS_AT: u64 = 4_096;
const SLOT_SIZE_BYTES: u64 = 384;
const SLOT_COUNT: u64 = 64;
const OUTPUTS: usize = 16;
const STATES: usize = 32;

/// What a model says.
#[derive(Debug, Clone, Default)]
pub struct Said {
    pub outputs: Vec<f32>,
    pub state: Vec<f32>,
    pub value: Option<f64>,
    pub action: Option<i64>,
}

impl Said {
    #[must_use]
    pub fn outputs(outputs: &[f32]) -> Self {
        Self { outputs: outputs.to_vec(), ..Self::default() }
    }

    /// The record of an answer to a frame.
    fn encode(&self, frame: &Frame) -> Vec<u8> {
        let undef = i64::MIN.to_le_bytes();
        let mut bytes = Vec::new();
        for word in [frame.epoch, frame.seq, frame.input_seq] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(undef); // the model's clock
        bytes.extend(undef); // horizon
        bytes.extend(self.action.unwrap_or(i64::MIN).to_le_bytes());
        bytes.extend(self.value.unwrap_or(0.0).to_le_bytes());
        bytes.extend(0.0_f64.to_le_bytes()); // confidence
        bytes.extend(std::process::id().to_le_bytes());
        bytes.extend(u16::from(self.value.is_some()).to_le_bytes());
        for count in [self.outputs.len(), self.state.len()] {
            bytes.push(u8::try_from(count).expect("a small count"));
        }
        for (numbers, places) in [(&self.outputs, OUTPUTS), (&self.state, STATES)] {
            let padded = numbers.iter().copied().chain(std::iter::repeat(0.0)).take(places);
            padded.for_each(|number| bytes.extend(number.to_le_bytes()));
        }
        bytes
    }
}

/// A model's end of its file; takes no lock.
#[derive(Debug)]
pub struct Model {
    file: File,
    published: u64,
}

impl Model {
    /// Goes on behind what is published.
    #[must_use]
    pub fn open(dir: &Path, symbol: &str, model: &str) -> Self {
        let file = File::options().read(true).write(true).open(Self::path(dir, symbol, model));
        let file = file.expect("the engine has made the model's file");
        let mut word = [0; 8];
        file.read_exact_at(&mut word, PUBLISHED_AT).expect("the file is whole");
        Self { file, published: u64::from_le_bytes(word) }
    }

    #[must_use]
    pub fn path(dir: &Path, symbol: &str, model: &str) -> PathBuf {
        dir.join("models").join(format!("{symbol}.{model}"))
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        self.file.write_all_at(bytes, at).expect("the file takes what is written");
    }

    /// Publishes an answer to a frame.
    pub fn publish(&mut self, frame: &Frame, said: &Said) {
        let slot = SLOTS_AT + self.published % SLOT_COUNT * SLOT_SIZE_BYTES;
        self.write(slot, &(2 * self.published + 1).to_le_bytes());
        self.write(slot + 64, &said.encode(frame));
        self.write(slot, &(2 * self.published + 2).to_le_bytes());
        self.published += 1;
        self.write(PUBLISHED_AT, &self.published.to_le_bytes());
    }

    /// Cuts the file.
    pub fn cut(&self, size_bytes: u64) {
        self.file.set_len(size_bytes).expect("who may write a file may cut it");
    }

    /// How many outputs the file holds since its beginning.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.published
    }
}
