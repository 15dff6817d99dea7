//! Closed files: compressed, deleted, told of in the manifest, whatever the thread is killed in the middle of.

use std::collections::BTreeSet;
use std::fs;
use std::sync::mpsc::sync_channel;

use tempfile::TempDir;

use super::super::compress::compress;
use super::super::file::{plain_path, stored_files};
use super::*;

/// A directory with a file for each range of inputs, the last one open.
fn files(ranges: &[std::ops::Range<u64>]) -> (TempDir, Vec<PathBuf>) {
    let dir = TempDir::new().unwrap();
    let paths = ranges
        .iter()
        .map(|range| {
            let inputs: Vec<Owned> = range.clone().map(Owned::text).collect();
            let start = match range.start {
                0 => LogStart::Initial,
                first => LogStart::Taken(checkpoint(first - 1)),
            };
            write(dir.path(), &header(range.start), &start, &inputs)
        })
        .collect();
    (dir, paths)
}

/// One look at the directory, as the thread of a writer of epoch 42 has it.
fn keep(dir: &Path, change: impl FnOnce(&mut LogConfig)) -> LogStats {
    let mut config = LogConfig::new(dir);
    change(&mut config);
    let disk = Arc::new(RealDisk);
    let shared = Arc::new(super::super::writer::Shared::default());
    let mut keeper = super::super::keeper::Keeper::new(disk, config, 42, Arc::clone(&shared));
    // The writer is gone already: one look, and the end.
    let (_, changed) = sync_channel(1);
    keeper.run(&changed);
    shared.stats()
}

fn names(paths: &[PathBuf]) -> Vec<String> {
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(name).collect()
}

#[test]
fn closed_files_are_compressed_and_the_open_one_is_not() {
    let (dir, paths) = files(&[0..50, 50..120, 120..130]);
    let raw = fs::metadata(&paths[1]).unwrap().len();
    let stats = keep(dir.path(), |_| ());
    assert_eq!((stats.files_compressed, stats.files_deleted, stats.keeper_errors), (2, 0, 0));
    let now = log_files(dir.path()).unwrap();
    let ends: Vec<bool> = now.iter().map(|path| plain_path(path) != *path).collect();
    assert_eq!(ends, [true, true, false]);
    assert_eq!(read_whole(&now), (0..130).map(Owned::text).collect::<Vec<_>>());
    let manifest = Manifest::read(dir.path()).unwrap().unwrap();
    let told: Vec<String> = manifest.files.iter().map(|facts| facts.name.clone()).collect();
    assert_eq!(told, names(&now));
    let second = &manifest.files[1];
    assert_eq!((second.first_input_seq, second.last_input_seq), (50, Some(119)));
    assert_eq!((second.inputs, second.raw_bytes, second.begins.as_str()), (70, raw, "taken"));
    assert!(second.stored_bytes < raw && second.closed && !manifest.files[2].closed);
    // Nothing to do any more.
    assert_eq!(keep(dir.path(), |_| ()).files_compressed, 0);
    assert_eq!(Manifest::read(dir.path()).unwrap().unwrap(), manifest);
}

#[test]
fn without_compression_files_are_told_of_as_they_are() {
    let (dir, paths) = files(&[0..50, 50..60]);
    let stats = keep(dir.path(), |config| config.compress = false);
    assert_eq!((stats.files_compressed, stats.keeper_errors), (0, 0));
    assert_eq!(log_files(dir.path()).unwrap(), paths);
    let first = &Manifest::read(dir.path()).unwrap().unwrap().files[0];
    assert_eq!((first.inputs, first.stored_bytes), (50, first.raw_bytes));
}

#[test]
fn the_oldest_files_go_first_and_never_what_a_restart_needs() {
    let ranges = [0..50, 50..100, 100..150, 150..160];
    let sizes = |dir: &Path| -> Vec<u64> {
        log_files(dir).unwrap().iter().map(|path| path.metadata().unwrap().len()).collect()
    };
    for (keep_ns, keep_files, expected) in
        [(0, 0, 4), (1, 0, 2), (55, 0, 3), (0, 2, 2), (0, 1, 1), (0, 4, 4), (1_000, 3, 3)]
    {
        let (dir, paths) = files(&ranges);
        let kept_bytes: u64 = sizes(dir.path()).iter().rev().take(keep_files).sum();
        let stats = keep(dir.path(), |config| {
            // Stamps are a nanosecond apart.
            (config.compress, config.keep, config.keep_bytes) = (false, Nanos(keep_ns), kept_bytes);
        });
        let case = format!("{keep_ns} ns, {keep_files} files");
        assert_eq!(log_files(dir.path()).unwrap(), paths[4 - expected..], "{case}");
        assert_eq!(stats.files_deleted, 4 - expected as u64, "{case}");
        let told = Manifest::read(dir.path()).unwrap().unwrap().files.len();
        assert_eq!(told, expected, "{case}");
    }
}

#[test]
fn files_after_the_last_state_stay() {
    let (dir, mut paths) = files(&[0..50, 50..100]);
    let lost = [Owned::lost(103, 3)];
    paths.push(write(dir.path(), &header(103), &LogStart::Missing, &lost));
    let stats = keep(dir.path(), |config| (config.compress, config.keep) = (false, Nanos(1)));
    assert_eq!(stats.files_deleted, 1);
    assert_eq!(log_files(dir.path()).unwrap(), paths[1..]);
    let manifest = Manifest::read(dir.path()).unwrap().unwrap();
    assert!(!manifest.files[1].closed, "{manifest:?}");
}

/// A disk that dies after so many steps: nothing it is asked for afterwards happens.
#[derive(Debug)]
struct DyingDisk(AtomicI64);

impl DyingDisk {
    fn step(&self) -> std::io::Result<()> {
        if self.0.fetch_sub(1, SeqCst) > 0 { Ok(()) } else { Err(std::io::Error::other("dead")) }
    }
}

impl Disk for DyingDisk {
    fn create_dir(&self, dir: &Path) -> std::io::Result<()> {
        RealDisk.create_dir(dir)
    }

    fn create(&self, path: &Path) -> std::io::Result<Box<dyn DiskFile>> {
        self.step()?;
        RealDisk.create(path)
    }

    fn publish(&self, temporary: &Path, path: &Path) -> std::io::Result<()> {
        self.step()?;
        RealDisk.publish(temporary, path)
    }

    fn replace(&self, temporary: &Path, path: &Path) -> std::io::Result<()> {
        self.step()?;
        RealDisk.replace(temporary, path)
    }

    fn remove(&self, path: &Path) -> std::io::Result<()> {
        self.step()?;
        RealDisk.remove(path)
    }
}

#[test]
fn a_kill_at_any_step_of_a_compression_loses_nothing() {
    let inputs: Vec<Owned> = (0..60).map(Owned::text).collect();
    let mut twins = 0;
    for steps in 0..4 {
        let (dir, paths) = files(&[0..50, 50..60]);
        let killed = compress(&DyingDisk(AtomicI64::new(steps)), &paths[0], || false);
        assert_eq!(killed.is_ok(), steps == 3, "{steps}: {killed:?}");
        twins += usize::from(stored_files(dir.path()).unwrap().len() == 3);
        assert_eq!(read_whole(&log_files(dir.path()).unwrap()), inputs, "{steps}");
        // The next start takes up what was left off.
        let stats = keep(dir.path(), |_| ());
        assert_eq!(stats.keeper_errors, u64::from(steps == 1), "{steps}");
        assert_eq!(stored_files(dir.path()).unwrap().len(), 2);
        assert_eq!(read_whole(&log_files(dir.path()).unwrap()), inputs, "{steps}");
    }
    assert_eq!(twins, 1, "between the new name and the end of the old one");
}

#[test]
fn a_compression_that_is_stopped_leaves_the_plain_file() {
    let (dir, paths) = files(&[0..50, 50..60]);
    assert!(compress(&RealDisk, &paths[0], || true).unwrap().is_none());
    let left: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left.iter().collect::<BTreeSet<_>>(), paths.iter().collect());
}

#[test]
fn a_manifest_that_is_none_is_refused_and_made_anew() {
    let (dir, _) = files(&[0..50, 50..60]);
    let path = dir.path().join(MANIFEST_NAME);
    assert_eq!(Manifest::read(dir.path()), Ok(None));
    for (text, wanted) in [
        ("{", "manifest.json: is no manifest: "),
        ("{\"version\":9,\"files\":[]}", "manifest.json: has version 9, wanted 1"),
    ] {
        fs::write(&path, text).unwrap();
        let error = Manifest::read(dir.path()).unwrap_err();
        assert!(error.contains(wanted), "{error}");
    }
    assert_eq!(keep(dir.path(), |_| ()).keeper_errors, 0);
    assert_eq!(Manifest::read(dir.path()).unwrap().unwrap().files.len(), 2);
}
