//! The thread that looks after files to which nothing is written any more: compresses them, deletes what is too old or
//! too much, and keeps the manifest.
//!
//! Guarantees: whatever it is killed in the middle of, each file is there whole, plain or compressed; what a restart
//! begins from is never deleted. Needs: one writer a directory, whose current file is the last one of its epoch.
//! Does not: wait for anyone, or hold up the writer: the system gives it what others leave.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Receiver;

use cobring_types::Nanos;

use super::checkpoint::LogStart;
use super::compress::compress;
use super::disk::Disk;
use super::error::LogError;
use super::file::{epoch_in_name, log_files, plain_path, stored_files};
use super::manifest::{FileFacts, Manifest};
use super::scan::LogScan;
use super::writer::{LogConfig, Shared};

/// The lowest there is for a thread that still runs.
const NICE: i32 = 19;

pub(super) struct Keeper {
    disk: Arc<dyn Disk>,
    config: LogConfig,
    /// Of the writer.
    epoch: u64,
    shared: Arc<Shared>,
    /// Closed files that were read, by their plain path.
    closed: BTreeMap<PathBuf, FileFacts>,
    written: Option<Manifest>,
}

impl Keeper {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        config: LogConfig,
        epoch: u64,
        shared: Arc<Shared>,
    ) -> Self {
        // What an earlier run read need not be read again.
        let told = Manifest::read(&config.dir).ok().flatten();
        let closed = told.into_iter().flat_map(|manifest| manifest.files);
        let closed = closed
            .filter(|facts| facts.closed)
            .map(|facts| (plain_path(&config.dir.join(&facts.name)), facts))
            .collect();
        Self { disk, config, epoch, shared, closed, written: None }
    }

    /// Looks after the directory now, and whenever the writer has begun another file, until it is gone.
    pub(super) fn run(&mut self, changed: &Receiver<()>) {
        // Refused, it competes with the writer for a core, and still holds up nothing that waits for it.
        let _refused = rustix::process::setpriority_process(None, NICE);
        loop {
            let ended = changed.recv().is_err();
            if let Err(error) = self.pass() {
                self.note(&error);
            }
            if ended {
                return;
            }
        }
    }

    fn stopping(&self) -> bool {
        self.shared.rare.stop.load(Relaxed)
    }

    fn note(&self, error: &LogError) {
        self.shared.keeper_errors.fetch_add(1, Relaxed);
        tracing::warn!("the log's files: {error}");
    }

    fn pass(&mut self) -> Result<(), LogError> {
        self.drop_twins()?;
        let paths = log_files(&self.config.dir)?;
        let own = |path: &&PathBuf| epoch_in_name(path) == Some(self.epoch);
        let current = paths.iter().rfind(own).cloned();
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let facts = if Some(&path) == current.as_ref() {
                self.open_file(&path)
            } else {
                self.closed_file(path)
            };
            match facts {
                Ok(facts) => files.extend(facts),
                Err(error) => self.note(&error),
            }
        }
        files.sort_by_key(|facts| (facts.epoch, facts.first_input_seq));
        let deleted = self.outlived(&mut files);
        // First what is gone, then its going: a manifest never tells of a file that is not there.
        let manifest = Manifest::new(files);
        if self.written.as_ref() != Some(&manifest) {
            manifest.write(self.disk.as_ref(), &self.config.dir)?;
            self.written = Some(manifest);
        }
        for facts in deleted {
            self.delete(&facts)?;
        }
        Ok(())
    }

    /// A kill between the two leaves a file plain and compressed: the plain one is whole.
    fn drop_twins(&self) -> Result<(), LogError> {
        let paths = stored_files(&self.config.dir)?;
        for pair in paths.windows(2).filter(|pair| plain_path(&pair[1]) == pair[0]) {
            self.disk
                .remove(&pair[1])
                .map_err(|error| LogError::io(&pair[1], "be removed", error))?;
        }
        Ok(())
    }

    /// What the header tells of the file that is being written.
    fn open_file(&self, path: &Path) -> Result<Option<FileFacts>, LogError> {
        let scan = LogScan::open(path)?;
        Ok(Some(FileFacts::begin(path, &scan)))
    }

    /// Reads a closed file where it is not known, and compresses it; `None` where there is no time left.
    fn closed_file(&mut self, path: PathBuf) -> Result<Option<FileFacts>, LogError> {
        let plain = plain_path(&path);
        let size = |path: &Path| {
            let metadata = fs::metadata(path);
            metadata.map(|data| data.len()).map_err(|error| LogError::io(path, "be read", error))
        };
        let known = self.closed.get(&plain).cloned();
        let known = match known {
            Some(facts) if facts.stored_bytes == size(&path)? => Some(facts),
            _ => FileFacts::read(&path, || self.stopping())?,
        };
        let Some(mut facts) = known else { return Ok(None) };
        if self.config.compress
            && path == plain
            && let Some(packed) = compress(self.disk.as_ref(), &path, || self.stopping())?
        {
            self.shared.files_compressed.fetch_add(1, Relaxed);
            facts.stored_bytes = size(&packed)?;
            facts.name = packed.file_name().unwrap_or_default().to_string_lossy().into_owned();
        }
        self.closed.insert(plain, facts.clone());
        Ok(Some(facts))
    }

    /// Takes those out that are older or larger in sum than what is kept, oldest first.
    fn outlived(&self, files: &mut Vec<FileFacts>) -> Vec<FileFacts> {
        // A restart begins from the last state of the newest run.
        let begins = |facts: &FileFacts| facts.begins != LogStart::Missing.name();
        let kept = files.iter().rposition(|facts| facts.epoch == self.epoch && begins(facts));
        let Some(newest) = files.iter().map(FileFacts::ts_end).max() else { return Vec::new() };
        let LogConfig { keep, keep_bytes, .. } = self.config;
        let mut stored_bytes: u64 = files.iter().map(|facts| facts.stored_bytes).sum();
        let outlived = files[..kept.unwrap_or(0)].iter().take_while(|facts| {
            let is_old = keep > Nanos(0) && newest.0.saturating_sub(facts.ts_end().0) > keep.0;
            let is_much = keep_bytes > 0 && stored_bytes > keep_bytes;
            stored_bytes -= facts.stored_bytes;
            is_old || is_much
        });
        let count = outlived.count();
        files.drain(..count).collect()
    }

    fn delete(&mut self, facts: &FileFacts) -> Result<(), LogError> {
        let path = self.config.dir.join(&facts.name);
        self.disk.remove(&path).map_err(|error| LogError::io(&path, "be deleted", error))?;
        self.closed.remove(&plain_path(&path));
        self.shared.files_deleted.fetch_add(1, Relaxed);
        tracing::info!(
            inputs = facts.inputs,
            stored_bytes = facts.stored_bytes,
            "{}: deleted, as log.keep_days or log.keep_bytes asks",
            path.display()
        );
        Ok(())
    }
}
