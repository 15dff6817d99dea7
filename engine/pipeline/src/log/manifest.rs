//! What a directory of logs holds, in one small file for people and programs.
//!
//! Guarantees: rewritten as a whole at each change, so that a reader sees one state or the next. Does not: decide
//! anything; it can be lost, and is made again from the files.

use std::fs;
use std::io;
use std::path::Path;

use cobring_types::{Input, InputKind, Nanos};
use serde::{Deserialize, Serialize};

use super::checkpoint::LogStart;
use super::disk::Disk;
use super::error::LogError;
use super::file::{TEMPORARY_SUFFIX, with_suffix};
use super::scan::{LogScan, Scanned};

/// Its name in the logs' directory.
pub const MANIFEST_NAME: &str = "manifest.json";
const MANIFEST_VERSION: u32 = 1;

/// The files of a directory, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    version: u32,
    /// Each file, in order.
    pub files: Vec<FileFacts>,
}

/// One log file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// As it is stored.
    pub name: String,
    /// Whether nothing is written to it any more. Of an open one the header alone is told.
    pub closed: bool,
    /// Of its run.
    pub epoch: u64,
    /// Number of the first input that belongs here.
    pub first_input_seq: u64,
    /// Number of the last one that is here.
    pub last_input_seq: Option<u64>,
    /// Our clock when it was begun, ns UTC.
    pub ts_start: i64,
    /// Stamp of the last input.
    pub ts_last: Option<i64>,
    /// Inputs in it.
    pub inputs: u64,
    /// Size on the disk.
    pub stored_bytes: u64,
    /// Size as it was written, up to the last whole record.
    pub raw_bytes: u64,
    /// The state before its first input: `initial`, `taken`, `resumed` or `missing`.
    pub begins: String,
    /// Inputs that its `LogLost` records own up to.
    pub inputs_lost: u64,
}

impl LogStart {
    /// As manifests spell it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Taken(_) => "taken",
            Self::Resumed(_) => "resumed",
            Self::Missing => "missing",
        }
    }
}

impl FileFacts {
    /// What header and checkpoint tell of the file at `path`.
    #[must_use]
    pub fn begin(path: &Path, scan: &LogScan) -> Self {
        let header = scan.header();
        Self {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            closed: false,
            epoch: header.epoch,
            first_input_seq: header.first_input_seq,
            last_input_seq: None,
            ts_start: header.ts_start.0,
            ts_last: None,
            inputs: 0,
            stored_bytes: 0,
            raw_bytes: 0,
            begins: scan.start().name().to_owned(),
            inputs_lost: 0,
        }
    }

    /// Counts an input.
    pub fn add(&mut self, input: &Input<'_>) {
        self.inputs += 1;
        self.last_input_seq = Some(input.stamp.input_seq);
        self.ts_last = Some(input.stamp.ts_recv.0);
        if input.kind == InputKind::LogLost {
            self.inputs_lost += u64::try_from(input.ts_aux.0).unwrap_or(0);
        }
    }

    /// The file was read to its end.
    pub fn close(&mut self, scan: &LogScan) {
        self.closed = true;
        self.stored_bytes = scan.progress().1;
        self.raw_bytes = scan.offset();
    }

    /// Reads a closed file; `None` where `stop` says so.
    ///
    /// # Errors
    /// [`LogError`] where it cannot be read to its end; damage in it is passed over.
    pub fn read(path: &Path, stop: impl Fn() -> bool) -> Result<Option<Self>, LogError> {
        let mut scan = LogScan::open(path)?;
        let mut facts = Self::begin(path, &scan);
        while let Some(scanned) = scan.next()? {
            if let Scanned::Input { input, .. } = scanned {
                facts.add(&input);
            }
            if stop() {
                return Ok(None);
            }
        }
        facts.close(&scan);
        Ok(Some(facts))
    }

    /// When its last input came, or it was begun.
    #[must_use]
    pub fn ts_end(&self) -> Nanos {
        Nanos(self.ts_last.unwrap_or(self.ts_start))
    }
}

impl Manifest {
    /// A manifest of these files.
    #[must_use]
    pub fn new(files: Vec<FileFacts>) -> Self {
        Self { version: MANIFEST_VERSION, files }
    }

    /// That of a directory; `None` where it has none.
    ///
    /// # Errors
    /// One sentence, where what is there is no manifest of this version.
    pub fn read(dir: &Path) -> Result<Option<Self>, String> {
        let path = dir.join(MANIFEST_NAME);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{}: cannot be read: {error}", path.display())),
        };
        let manifest: Self = serde_json::from_slice(&text)
            .map_err(|error| format!("{}: is no manifest: {error}", path.display()))?;
        if manifest.version != MANIFEST_VERSION {
            let found = manifest.version;
            return Err(format!(
                "{}: has version {found}, wanted {MANIFEST_VERSION}",
                path.display()
            ));
        }
        Ok(Some(manifest))
    }

    /// Puts it in place of the one before.
    pub(super) fn write(&self, disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
        let path = dir.join(MANIFEST_NAME);
        let temporary = with_suffix(&path, TEMPORARY_SUFFIX);
        let text = serde_json::to_vec_pretty(self).expect("invariant: plain data");
        replace(disk, &temporary, &path, &text)
            .map_err(|error| LogError::io(&path, "be written", error))
    }
}

fn replace(disk: &dyn Disk, temporary: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    // What a kill left of the last attempt.
    drop(disk.remove(temporary));
    let mut file = disk.create(temporary)?;
    file.write_all(text)?;
    file.sync_data()?;
    disk.replace(temporary, path)
}
