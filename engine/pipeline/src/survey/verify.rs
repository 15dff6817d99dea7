//! Is a log whole: every file of every run, record by record, and the ids of its streams.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use cobring_types::{InputKind, Nanos};

use super::ids::Cause;
use super::streams::{Missed, Streams};
use crate::log::{
    FileFacts, LogError, LogHeader, LogScan, LogStart, MANIFEST_NAME, Manifest, Scanned, log_files,
    plain_name,
};

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// The byte where it shows, decompressed; `None` where the file as a whole is meant.
    pub offset: Option<u64>,
    /// What it is about: `header`, `record`, `numbering`, `stamp`, `checkpoint`, `update ids`, `trade ids`, `manifest`.
    pub about: &'static str,
    /// What is there.
    pub found: String,
    /// What should be.
    pub wanted: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        if let Some(offset) = self.offset {
            write!(f, "offset {offset}: ")?;
        }
        write!(f, "{}: found {}, wanted {}", self.about, self.found, self.wanted)
    }
}

/// The files of one run.
#[derive(Debug, Clone, Default)]
pub struct RunFacts {
    /// Its epoch.
    pub epoch: u64,
    /// What was read of each file, in order.
    pub files: Vec<FileFacts>,
    /// Inputs missing in the numbering that a `LogLost` owns up to.
    pub lost: u64,
    /// Messages that the venue's decoder refuses, as the run did.
    pub malformed: u64,
    /// Whether its last input says that it ended cleanly.
    pub stopped: bool,
}

/// Findings that are kept; more are counted: a feed that always leaves out ids has no end of them.
const FINDINGS_MAX: usize = 1_000;

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct VerifyReport {
    /// Each run, in order of epochs.
    pub runs: Vec<RunFacts>,
    /// Damage, the first 1,000 of it.
    pub findings: Vec<Finding>,
    /// All of it.
    pub findings_total: u64,
    /// What is as a kill or a disk leaves it, and takes nothing that was promised.
    pub notes: Vec<Finding>,
}

impl VerifyReport {
    fn find(&mut self, finding: Finding) {
        self.findings_total += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}

/// Files of the runs that `paths` name: files, and directories for all of theirs.
///
/// # Errors
/// [`LogError`] where a directory cannot be listed or nothing is there.
pub(super) fn files_of(paths: &[PathBuf]) -> Result<Vec<PathBuf>, LogError> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(log_files(path)?);
        } else {
            files.push(path.clone());
        }
    }
    // A kill between the two leaves a file plain and compressed: the plain one counts.
    let names: BTreeSet<PathBuf> = files.iter().cloned().collect();
    files.retain(|path| {
        let plain = path.with_file_name(plain_name(path));
        plain == *path || !names.contains(&plain)
    });
    if files.is_empty() { Err(LogError::NoFiles) } else { Ok(files) }
}

/// A log file with a good header.
#[derive(Debug)]
pub(super) struct RunFile {
    pub(super) path: PathBuf,
    pub(super) header: LogHeader,
    pub(super) stored_bytes: u64,
}

/// Files by the epoch of their run.
pub(super) type Runs = BTreeMap<u64, Vec<RunFile>>;

/// The files of each run, in order; and those that have no good header.
pub(super) fn runs_of(files: Vec<PathBuf>) -> (Runs, Vec<(PathBuf, LogError)>) {
    let mut runs = Runs::new();
    let mut unreadable = Vec::new();
    for path in files {
        match LogHeader::of_file(&path) {
            Ok(header) => {
                let stored_bytes = path.metadata().map_or(0, |metadata| metadata.len());
                runs.entry(header.epoch).or_default().push(RunFile { path, header, stored_bytes });
            }
            Err(error) => unreadable.push((path, error)),
        }
    }
    for files in runs.values_mut() {
        files.sort_by_key(|file| file.header.first_input_seq);
    }
    (runs, unreadable)
}

/// Reads all files, to their ends, and holds the manifests of the directories among `paths` against them.
///
/// # Errors
/// [`LogError`] where there is nothing to read. What is wrong in a file is a finding.
pub fn verify(
    paths: &[PathBuf],
    mut on_progress: impl FnMut(u64, u64),
) -> Result<VerifyReport, LogError> {
    let mut report = VerifyReport::default();
    let (runs, unopened) = runs_of(files_of(paths)?);
    for (path, error) in unopened {
        report.find(unreadable(&path, &error));
    }
    let all_bytes = runs.values().flatten().map(|file| file.stored_bytes).sum();
    let mut done_bytes = 0;
    for (epoch, files) in runs {
        let mut run = Run::new(epoch, &files[0].header, files.len(), &mut report);
        for RunFile { path, stored_bytes, .. } in files {
            // One at a time: its state may be large.
            match LogScan::open(&path) {
                Ok(scan) => run.file(scan, &path, |done| on_progress(done_bytes + done, all_bytes)),
                Err(error) => run.unreadable(&path, &error),
            }
            done_bytes += stored_bytes;
        }
        let facts = run.finish();
        report.runs.push(facts);
    }
    for dir in paths.iter().filter(|path| path.is_dir()) {
        check_manifest(dir, &mut report);
    }
    Ok(report)
}

/// A file whose header or checkpoint cannot be read.
fn unreadable(path: &Path, error: &LogError) -> Finding {
    let (found, wanted) = match error {
        LogError::Damaged { part, found, wanted, .. } => {
            (format!("{found} in its {part}"), wanted.clone())
        }
        LogError::Short { found, part, .. } => {
            (format!("its end at byte {found}, inside its {part}"), "a whole one".to_owned())
        }
        LogError::Version { found, wanted, .. } => {
            (format!("log version {found}"), format!("version {wanted}"))
        }
        LogError::Foreign { found, .. } => {
            (format!("a file that begins with {found:02x?}"), "a log of cobring".to_owned())
        }
        LogError::Io { source, .. } => (source.to_string(), "a file that can be read".to_owned()),
        other => (other.to_string(), "a log that can be read".to_owned()),
    };
    Finding { path: path.to_owned(), offset: Some(0), about: "header", found, wanted }
}

/// One run, on its way through its files.
struct Run<'r> {
    report: &'r mut VerifyReport,
    header: LogHeader,
    facts: RunFacts,
    /// Files still to come, with the one at hand.
    files_left: usize,
    /// The number that should come next; `None` before the first.
    expected: Option<u64>,
    last_ts: Nanos,
    last_kind: Option<InputKind>,
    streams: Option<Streams>,
}

impl<'r> Run<'r> {
    fn new(epoch: u64, header: &LogHeader, files: usize, report: &'r mut VerifyReport) -> Self {
        Self {
            report,
            header: header.clone(),
            facts: RunFacts { epoch, ..RunFacts::default() },
            files_left: files,
            expected: None,
            last_ts: Nanos(i64::MIN),
            last_kind: None,
            streams: Streams::new(header),
        }
    }

    fn file(&mut self, mut scan: LogScan, path: &Path, mut on_progress: impl FnMut(u64)) {
        self.begin(&scan, path);
        let mut facts = FileFacts::begin(path, &scan);
        let mut inputs = 0_u64;
        let mut read_bytes = 0;
        loop {
            match scan.next() {
                Ok(None) => break,
                Ok(Some(scanned)) => self.scanned(path, &scanned, &mut facts),
                Err(error) => {
                    let mut finding = unreadable(path, &error);
                    (finding.offset, finding.about) = (Some(scan.offset()), "record");
                    self.report.find(finding);
                    break;
                }
            }
            inputs += 1;
            if inputs.is_multiple_of(4_096) && scan.progress().0 != read_bytes {
                read_bytes = scan.progress().0;
                on_progress(read_bytes);
            }
        }
        facts.close(&scan);
        self.facts.files.push(facts);
        self.files_left -= 1;
    }

    /// A file whose checkpoint is damaged.
    fn unreadable(&mut self, path: &Path, error: &LogError) {
        self.files_left -= 1;
        self.report.find(unreadable(path, error));
    }

    /// Header and checkpoint against the file before.
    fn begin(&mut self, scan: &LogScan, path: &Path) {
        let header = scan.header();
        let mut wrong = |about, found: String, wanted: String| {
            let path = path.to_owned();
            self.report.find(Finding { path, offset: Some(0), about, found, wanted });
        };
        if header.config_digest != self.header.config_digest
            || header.symbols != self.header.symbols
        {
            let (found, wanted) = ("other settings or symbols", "those of the run's first file");
            wrong("header", found.to_owned(), wanted.to_owned());
        }
        if let LogStart::Taken(checkpoint) = scan.start()
            && checkpoint.input_seq.checked_add(1) != Some(header.first_input_seq)
        {
            let found = format!("the state after input {}", checkpoint.input_seq);
            let wanted = format!("that before input {}", header.first_input_seq);
            wrong("checkpoint", found, wanted);
        }
    }

    fn scanned(&mut self, path: &Path, scanned: &Scanned<'_>, facts: &mut FileFacts) {
        match *scanned {
            Scanned::Input { offset, ref input } => {
                facts.add(input);
                let (input_seq, ts_recv) = (input.stamp.input_seq, input.stamp.ts_recv);
                self.number(path, offset, input_seq, input.kind == InputKind::LogLost, facts);
                if ts_recv < self.last_ts {
                    let found = format!("{} ns after {} ns", ts_recv.0, self.last_ts.0);
                    self.find(path, offset, "stamp", found, "one that is not smaller".to_owned());
                }
                self.last_ts = ts_recv;
                self.last_kind = Some(input.kind);
                let (report, symbols) = (&mut *self.report, &self.header.symbols);
                if let Some(streams) = &mut self.streams {
                    let missing = |missed: Missed| {
                        if missed.ids.cause == Cause::Feed {
                            let symbol = symbols[missed.symbol.at()].as_str();
                            report.find(missing_ids(path, offset, symbol, &missed));
                        }
                    };
                    streams.on_input(input, missing, |_, _| ());
                }
            }
            Scanned::UnknownKind { offset, number, input_seq } => {
                let wanted = "one that this version knows".to_owned();
                self.find(path, offset, "record", format!("the kind {number}"), wanted);
                self.number(path, offset, input_seq, false, facts);
            }
            Scanned::Damaged { offset, reason, resume_offset } => {
                let found =
                    format!("a damaged record ({reason}), good ones from {resume_offset} on");
                let wanted = self.next_text();
                self.find(path, offset, "record", found, wanted);
            }
            Scanned::Torn { offset, reason } => {
                let finding = Finding {
                    path: path.to_owned(),
                    offset: Some(offset),
                    about: "record",
                    found: format!("a torn end ({reason})"),
                    wanted: self.next_text(),
                };
                // What was not synced when the run died.
                if self.files_left == 1 {
                    self.report.notes.push(finding);
                } else {
                    self.report.find(finding);
                }
            }
        }
    }

    /// The numbers go on one by one, but before a `LogLost`.
    fn number(&mut self, path: &Path, offset: u64, found: u64, is_lost: bool, facts: &FileFacts) {
        let expected = self.expected.unwrap_or(facts.first_input_seq);
        self.expected = Some(found.saturating_add(1));
        if found == expected {
            return;
        }
        if is_lost && found > expected {
            self.facts.lost += found - expected;
        } else {
            self.find(path, offset, "numbering", format!("input {found}"), format!("{expected}"));
        }
        if let Some(streams) = &mut self.streams {
            streams.on_hole(|_| ());
        }
    }

    fn next_text(&self) -> String {
        self.expected
            .map_or("a record".to_owned(), |expected| format!("input {expected} or the end"))
    }

    fn find(
        &mut self,
        path: &Path,
        offset: u64,
        about: &'static str,
        found: String,
        wanted: String,
    ) {
        let path = path.to_owned();
        self.report.find(Finding { path, offset: Some(offset), about, found, wanted });
    }

    fn finish(self) -> RunFacts {
        let mut facts = self.facts;
        facts.malformed = self.streams.as_ref().map_or(0, Streams::malformed);
        facts.stopped = self.last_kind == Some(InputKind::Stop);
        if self.streams.is_none() {
            self.report.notes.push(Finding {
                path: PathBuf::from(format!("epoch {}", facts.epoch)),
                offset: None,
                about: "header",
                found: "settings that this version does not read".to_owned(),
                wanted: "those of its symbols; ids were not looked at".to_owned(),
            });
        }
        facts
    }
}

fn missing_ids(path: &Path, offset: u64, symbol: &str, missed: &Missed) -> Finding {
    let ids = missed.ids;
    Finding {
        path: path.to_owned(),
        offset: Some(offset),
        about: missed.stream.ids_name(),
        found: format!("{symbol} going on with {}", ids.last + 1),
        wanted: format!("{}: {} are missing", ids.first, ids.last - ids.first + 1),
    }
}

/// A closed file does not change: what the manifest says of it holds.
fn check_manifest(dir: &Path, report: &mut VerifyReport) {
    let path = dir.join(MANIFEST_NAME);
    let finding = |found, wanted| Finding {
        path: path.clone(),
        offset: None,
        about: "manifest",
        found,
        wanted,
    };
    let manifest = match Manifest::read(dir) {
        Ok(Some(manifest)) => manifest,
        Ok(None) => return,
        Err(reason) => {
            let wanted = "one that can be read; the next run makes it anew".to_owned();
            return report.notes.push(finding(reason, wanted));
        }
    };
    let listed = log_files(dir).unwrap_or_default();
    for told in &manifest.files {
        if !listed.iter().any(|file| plain_name(file) == plain_name(Path::new(&told.name))) {
            report.find(finding("no such file".to_owned(), told.name.clone()));
        } else if let Some(found) = contradiction(told, report) {
            report.find(finding(found, format!("{} as when it was closed", held(told))));
        }
    }
}

/// What was read of a closed file, where it is not what was told; nothing where it could not be read.
fn contradiction(told: &FileFacts, report: &VerifyReport) -> Option<String> {
    let name = plain_name(Path::new(&told.name));
    let mut files = report.runs.iter().flat_map(|run| &run.files);
    let found = files.find(|facts| plain_name(Path::new(&facts.name)) == name)?;
    let facts = |facts: &FileFacts| {
        (facts.last_input_seq, facts.inputs, facts.raw_bytes, facts.inputs_lost)
    };
    (told.closed && facts(found) != facts(told))
        .then(|| format!("{} with {}", found.name, held(found)))
}

fn held(facts: &FileFacts) -> String {
    let last = facts.last_input_seq.map_or("none".to_owned(), |seq| seq.to_string());
    format!("{} inputs up to {last} in {} bytes", facts.inputs, facts.raw_bytes)
}
