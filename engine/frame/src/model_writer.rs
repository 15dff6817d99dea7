//! The model's end of its file. Guarantees: one process a file; an output that the engine would refuse for
//! what it holds is refused here first, by name; nothing that happens to the file is a signal. Needs: the
//! right to write the file, which the engine's group has. Does not: wait, or hear what the engine made of an
//! output (`models.NAME` shows what it took).

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use cobring_types::{ModelOutput, Nanos};

use crate::error::FrameError;
use crate::file_words::FileWords;
use crate::layout::check_symbol;
use crate::lock;
use crate::model_file::{
    ENGINE_LOCK, FILE_SIZE_BYTES, HEADER_WORDS, Header, MODEL_LOCK, MODEL_PID, MODELS_DIR,
    PUBLISHED_MAX, SLOTS, check_own_name, model_path,
};
use crate::segment::open;
use crate::sync::{Memory, MemoryMut};
use crate::words::utc_ns;

/// Publishes one model's outputs for one symbol.
#[derive(Debug)]
pub struct ModelWriter {
    dir: PathBuf,
    symbol: String,
    model: String,
    path: PathBuf,
    words: FileWords,
    header: Header,
    published: u64,
}

impl ModelWriter {
    /// Takes a model's place, until this is dropped or the process ends.
    ///
    /// # Errors
    /// [`FrameError::NoSuchModel`] where the engine is not configured with it, [`FrameError::ModelTaken`]
    /// where another process has it, [`FrameError::WriterGone`] where the engine is gone; foreign and damaged
    /// files; what the system refused.
    pub fn open(dir: &Path, symbol: &str, model: &str) -> Result<Self, FrameError> {
        check_symbol(symbol)?;
        check_own_name("model", model)?;
        let path = model_path(dir, symbol, model);
        loop {
            let file = open(&path, true).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => no_such_model(dir, symbol, model),
                _ => FrameError::io(&path, "open the model's file", error),
            })?;
            let header = read_header(&path, &file)?;
            if !is_engine_alive(&file) {
                return Err(FrameError::WriterGone { path, pid: header.engine_pid });
            }
            let locked = lock::try_lock_part(&file, MODEL_LOCK)
                .map_err(|error| FrameError::io(&path, "lock the model's file", error))?;
            let words = FileWords::new(file);
            if !locked {
                let pid = u32::try_from(words.load(MODEL_PID)).unwrap_or(0);
                return Err(FrameError::ModelTaken { path, pid });
            }
            // An engine may have put another file in its place between opening and locking.
            if links(words.file()) == 0 {
                continue;
            }
            let (dir, symbol, model) = (dir.to_owned(), symbol.to_owned(), model.to_owned());
            let mut writer = Self { dir, symbol, model, path, words, header, published: 0 };
            writer.take_over()?;
            return Ok(writer);
        }
    }

    /// Goes on behind what an earlier process published. A slot that it died in stays as it is, counted as
    /// published, so that the engine finds and counts it.
    fn take_over(&mut self) -> Result<(), FrameError> {
        self.words.store(MODEL_PID, u64::from(std::process::id()));
        let published = SLOTS.published(&self.words);
        // A count that no model reached is nothing to go on behind; the engine follows a new beginning.
        self.published = if published > PUBLISHED_MAX / 2 { 0 } else { published };
        if SLOTS.sequence(&self.words, self.published) == 2 * self.published + 1 {
            self.published += 1;
            self.words.store_release(SLOTS.published_at, self.published);
        }
        self.failure("take over the model's file")
    }

    /// The model's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Epoch of the engine that polls it.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.header.epoch
    }

    /// What the engine is configured to take.
    #[must_use]
    pub fn shape(&self) -> cobring_types::ModelShape {
        self.header.shape
    }

    /// Outputs published by this model in this epoch, by whichever process.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.published
    }

    /// Publishes an output; the process, and the time where it is unknown, are filled in. Returns its number.
    ///
    /// # Errors
    /// [`FrameError::BadOutput`]; [`FrameError::EpochChanged`] once for each engine that followed: answer a
    /// frame of that one; [`FrameError::WriterGone`] while there is none; [`FrameError::Truncated`] where
    /// someone cut the file, which the engine repairs.
    pub fn publish(&mut self, output: &ModelOutput) -> Result<u64, FrameError> {
        let checked = output.check_shape(self.header.shape);
        checked.map_err(|fault| FrameError::BadOutput { path: self.path.clone(), fault })?;
        self.follow()?;
        let mut output = output.canonical();
        output.pid = std::process::id();
        if !output.ts_model.is_defined() {
            output.ts_model = Nanos(utc_ns());
        }
        let mut image = [0; crate::model_file::OUTPUT_WORDS];
        bytemuck::bytes_of_mut(&mut image).copy_from_slice(bytemuck::bytes_of(&output));
        let number = self.published;
        SLOTS.publish(&self.words, number, &image);
        self.failure("publish an output")?;
        self.published = number + 1;
        Ok(number)
    }

    /// Looks whether the engine is there, still or again.
    fn follow(&mut self) -> Result<(), FrameError> {
        let metadata = self.words.file().metadata();
        let metadata =
            metadata.map_err(|error| FrameError::io(&self.path, "look at the file", error))?;
        let alive = is_engine_alive(self.words.file());
        if metadata.nlink() == 0 || !alive {
            let from = self.header.epoch;
            if metadata.nlink() == 0 && self.path.exists() {
                *self = Self::open(&self.dir, &self.symbol, &self.model)?;
                let to = self.header.epoch;
                return Err(FrameError::EpochChanged { path: self.path.clone(), from, to });
            }
            let pid = self.header.engine_pid;
            return Err(FrameError::WriterGone { path: self.path.clone(), pid });
        }
        let wanted = FILE_SIZE_BYTES as u64;
        if metadata.len() != wanted {
            let found = metadata.len();
            return Err(FrameError::Truncated { path: self.path.clone(), found, wanted });
        }
        Ok(())
    }

    fn failure(&self, action: &'static str) -> Result<(), FrameError> {
        match self.words.take_failure() {
            None => Ok(()),
            Some(kind) => Err(FrameError::io(&self.path, action, kind.into())),
        }
    }
}

fn links(file: &File) -> u64 {
    file.metadata().map_or(0, |metadata| metadata.nlink())
}

fn is_engine_alive(file: &File) -> bool {
    lock::is_part_locked(file, ENGINE_LOCK).unwrap_or(false)
}

fn read_header(path: &Path, file: &File) -> Result<Header, FrameError> {
    let size = file.metadata().map_or(0, |metadata| metadata.len());
    if size != FILE_SIZE_BYTES as u64 {
        let wanted = FILE_SIZE_BYTES as u64;
        return Err(FrameError::Truncated { path: path.to_owned(), found: size, wanted });
    }
    let mut words = [0; HEADER_WORDS];
    file.read_exact_at(bytemuck::cast_slice_mut(&mut words), 0)
        .map_err(|error| FrameError::io(path, "read the header", error))?;
    Header::decode(path, &words)
}

fn no_such_model(dir: &Path, symbol: &str, model: &str) -> FrameError {
    let prefix = format!("{symbol}.");
    let names = crate::dir::names(&dir.join(MODELS_DIR)).unwrap_or_default();
    let existing = names.iter().filter_map(|name| name.strip_prefix(&prefix));
    FrameError::NoSuchModel {
        dir: dir.to_owned(),
        symbol: symbol.to_owned(),
        model: model.to_owned(),
        existing: existing.map(str::to_owned).collect(),
    }
}
