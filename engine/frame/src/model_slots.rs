//! The engine's end of a model's file. Guarantees: whatever a process does to the file, the engine takes
//! whole outputs in order or counts what it could not take, in bounded time, and never stops at it. Needs:
//! the directory's lock. Does not: judge what an output says.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cobring_types::{ModelOutput, ModelShape};

use crate::dir::EngineDir;
use crate::error::FrameError;
use crate::file_words::FileWords;
use crate::layout::check_symbol;
use crate::lock;
use crate::model_file::{
    ENGINE_LOCK, FILE_SIZE_BYTES, Header, MODEL_LOCK, MODELS_DIR, OUTPUT_WORDS, PUBLISHED_MAX,
    SLOT_COUNT, SLOTS, check_own_name,
};
use crate::segment::{Temporary, allocate};
use crate::slot::Slot;
use crate::sync::MemoryMut;

/// What befell the outputs of a model before anyone looked at what they say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SlotCounts {
    /// Overwritten before they were taken.
    pub(crate) lapped: u64,
    /// Passed over for a newer one.
    pub(crate) passed_over: u64,
    /// Begun by a process that died in the middle.
    pub(crate) torn: u64,
    /// Times that the numbering contradicted itself: two writers, or bytes from elsewhere.
    pub(crate) misnumbered: u64,
    /// Times that the file was cut, and repaired.
    pub(crate) truncated: u64,
}

/// Takes outputs from one model's file.
#[derive(Debug)]
pub(crate) struct ModelSlots {
    path: PathBuf,
    header: Header,
    words: FileWords,
    /// Outputs taken, or counted as missed: the next one has this number.
    seen: u64,
    /// A number that was found torn while nobody wrote, and counted.
    torn_at: Option<u64>,
    /// A count that was found impossible, and counted.
    misread: Option<u64>,
    /// The count was one that no model reaches.
    is_lost: bool,
    pub(crate) counts: SlotCounts,
    /// One engine a directory for as long as this lives.
    _dir_lock: Arc<File>,
}

impl ModelSlots {
    /// Makes the file, in place of any that is there: a model that has that one follows.
    pub(crate) fn create(
        dir: &EngineDir,
        symbol: &str,
        model: &str,
        epoch: u64,
        shape: ModelShape,
    ) -> Result<Self, FrameError> {
        check_symbol(symbol)?;
        check_own_name("model", model)?;
        let models_dir = dir.path().join(MODELS_DIR);
        let suffix = format!(".{model}");
        let file = Temporary::make(&models_dir, symbol, &suffix, FILE_SIZE_BYTES, 0o660)?;
        let path = file.path().to_owned();
        let failed = |action| {
            let path = path.clone();
            move |error| FrameError::io(&path, action, error)
        };
        let words = FileWords::new(file.file().try_clone().map_err(failed("open the file"))?);
        let locked = lock::try_lock_part(words.file(), ENGINE_LOCK);
        if !locked.map_err(failed("lock the file"))? {
            return Err(FrameError::Locked { dir: dir.path().to_owned(), pid: None });
        }
        let header = Header { epoch, engine_pid: std::process::id(), shape };
        words.copy_in(0, &header.encode());
        if let Some(kind) = words.take_failure() {
            return Err(FrameError::io(&path, "write the header", kind.into()));
        }
        file.rename()?;
        Ok(Self {
            path,
            header,
            words,
            seen: 0,
            torn_at: None,
            misread: None,
            is_lost: false,
            counts: SlotCounts::default(),
            _dir_lock: Arc::clone(dir.lock_file()),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the next output, or the newest where only that will do. False where there is none now, or
    /// where the next one was counted as missed: then there may be more.
    pub(crate) fn take(&mut self, newest_only: bool, output: &mut ModelOutput) -> Took {
        let Some(published) = self.published() else { return Took::Nothing };
        if published == self.seen {
            return Took::Nothing;
        }
        let oldest = published.saturating_sub(SLOT_COUNT - 1);
        if self.seen < oldest {
            self.counts.lapped += oldest - self.seen;
            self.seen = oldest;
        }
        if newest_only {
            self.counts.passed_over += published - 1 - self.seen;
            self.seen = published - 1;
            return Took::Nothing;
        }
        let number = self.seen;
        let mut image = [0; OUTPUT_WORDS];
        let slot = SLOTS.read(&self.words, number, &mut image);
        let sequence = SLOTS.sequence(&self.words, number);
        if self.words.take_failure().is_some() {
            self.repair();
            return Took::Missed;
        }
        self.seen = number + 1;
        match slot {
            Slot::Whole => {
                bytemuck::bytes_of_mut(output).copy_from_slice(bytemuck::bytes_of(&image));
                return Took::Output;
            }
            Slot::Overwritten => self.counts.lapped += 1,
            Slot::NotYet if sequence == 2 * number + 1 => self.count_torn(number),
            Slot::NotYet => self.counts.misnumbered += 1,
        }
        Took::Missed
    }

    /// How many outputs are published, where that can be.
    fn published(&mut self) -> Option<u64> {
        for looks in 0..3 {
            let published = SLOTS.published(&self.words);
            if self.words.take_failure().is_some() {
                self.repair();
                return None;
            }
            if self.is_lost && published <= PUBLISHED_MAX {
                // Whoever counts again may have begun anew, and by chance be where we were.
                self.is_lost = false;
                self.seen = published.saturating_sub(1);
            }
            if (self.seen..=PUBLISHED_MAX).contains(&published) {
                return Some(published);
            }
            // Once more first: the copy of a word may be torn.
            if looks > 0 {
                self.disbelieve(published);
            }
        }
        None
    }

    fn disbelieve(&mut self, published: u64) {
        if self.misread != Some(published) {
            self.misread = Some(published);
            self.counts.misnumbered += 1;
        }
        self.is_lost |= published > PUBLISHED_MAX;
        // A second writer, or a model that began anew: go on with its newest.
        if published < self.seen {
            self.seen = published.saturating_sub(1);
        }
    }

    fn count_torn(&mut self, number: u64) {
        if self.torn_at != Some(number) {
            self.torn_at = Some(number);
            self.counts.torn += 1;
        }
    }

    /// Somebody cut the file: gives it back its size and header. What was published is lost and counted.
    fn repair(&mut self) {
        self.counts.truncated += 1;
        let file = self.words.file();
        if allocate(file, FILE_SIZE_BYTES).is_ok() {
            self.words.copy_in(0, &self.header.encode());
            self.words.store(SLOTS.published_at, self.seen);
        }
        // Where even that fails the next poll finds the file short again.
        let _ = self.words.take_failure();
    }

    /// From time to time: finds what no output tells. Whether a model has the file.
    pub(crate) fn look(&mut self) -> bool {
        let mut last = [0];
        let end = FILE_SIZE_BYTES as u64 - 1;
        if self.words.file().read_exact_at(&mut last, end).is_err() {
            self.repair();
        }
        let present = lock::is_part_locked(self.words.file(), MODEL_LOCK).unwrap_or(false);
        if !present && let Some(published) = self.published() {
            let odd = 2 * published + 1;
            if SLOTS.sequence(&self.words, published) == odd && self.torn_at != Some(published) {
                // Unless a model came, and writes it, between the two looks.
                let still = !lock::is_part_locked(self.words.file(), MODEL_LOCK).unwrap_or(true);
                if still {
                    self.count_torn(published);
                }
            }
        }
        let _ = self.words.take_failure();
        present
    }
}

/// What came of looking for an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Took {
    Output,
    /// One was there, and could not be had.
    Missed,
    Nothing,
}
