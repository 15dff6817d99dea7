//! The helper thread that writes the log of a run, and its three ends: the feeder (ingest), the sender
//! of checkpoints (the fold), and the handle that stops it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU64};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use cobring_types::{Input, InputKind, Nanos};

use super::checkpoint::{Answer, Checkpoint, LogStart};
use super::disk::{Disk, RealDisk};
use super::error::LogError;
use super::file::{LOG_SUFFIX, LogFile, TEMPORARY_SUFFIX, ZSTD_SUFFIX};
use super::header::LogHeader;
use super::helper::Helper;
use super::keeper::Keeper;
use super::record::PAYLOAD_BYTES_MAX;
use crate::ring::{self, RecordProducer};

/// Between two attempts at a disk that refused, or at a checkpoint that was left out.
pub(super) const RETRY_INTERVAL: Nanos = Nanos::SECOND;
/// What `finish` waits for.
const FINISH_WAIT: Duration = Duration::from_secs(1);
/// Checkpoints on their way; the log asks for one at a time.
pub(super) const CHECKPOINTS_MAX: usize = 4;

/// How a run's log is written.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// Where; made where it is missing.
    pub dir: PathBuf,
    /// Size of the ring: what a slow disk may lag behind.
    pub ring_capacity_bytes: usize,
    /// At most this much is lost in a power cut.
    pub sync_interval: Nanos,
    /// [`LogProducer::wants_checkpoint`] from this size of a file's inputs on. What it begins with does not count: a checkpoint
    /// that is larger would ask for the next.
    pub rotate_bytes: u64,
    /// And whenever a multiple of this has passed.
    pub rotate_interval: Nanos,
    /// How long inputs wait in the ring for the checkpoint that the next file begins with.
    pub checkpoint_wait: Nanos,
    /// Whether closed files are compressed.
    pub compress: bool,
    /// Files that ended longer ago are deleted; 0 for none.
    pub keep: Nanos,
    /// The oldest files are deleted while all together are larger; 0 for none.
    pub keep_bytes: u64,
}

impl LogConfig {
    /// A ring of 16 MiB, synced each second, rotated at 1 GiB and each hour, 5 s of patience with a checkpoint;
    /// closed files are compressed and kept.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            ring_capacity_bytes: 16 << 20,
            sync_interval: Nanos::SECOND,
            rotate_bytes: 1 << 30,
            rotate_interval: Nanos(3_600 * Nanos::SECOND.0),
            checkpoint_wait: Nanos(5_000_000_000),
            compress: true,
            keep: Nanos(0),
            keep_bytes: 0,
        }
    }
}

/// What the log is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogStatus {
    /// Writing.
    #[default]
    Writing,
    /// The disk refused: inputs are dropped and counted until a `LogLost` finds it well again.
    Failing {
        /// The system's error number, 0 for none.
        os_error: i32,
    },
    /// At its end.
    Stopped,
}

pub(super) const WRITING: u8 = 0;
pub(super) const FAILING: u8 = 1;
pub(super) const STOPPED: u8 = 2;

/// Counters and flags, read by anyone: each is exact, together they may be from different moments. The feeder writes
/// `lost_ring` and `checkpoint_asked`, who answers for checkpoints `checkpoints_dropped`, `finish` writes `stop`, the helper
/// and the keeper all others.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) rare: Rare,
    pub(super) inputs_written: AtomicU64,
    pub(super) file_bytes: AtomicU64,
    pub(super) file_inputs_bytes: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) files_compressed: AtomicU64,
    pub(super) files_deleted: AtomicU64,
    pub(super) keeper_errors: AtomicU64,
}

/// What the feeder looks at before each input: on cache lines of its own, that hardly ever change.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Rare {
    pub(super) status: AtomicU8,
    pub(super) os_error: AtomicI32,
    pub(super) stop: AtomicBool,
    pub(super) checkpoint_due: AtomicBool,
    /// Until the next file begins, or another is to be asked for.
    pub(super) checkpoint_asked: AtomicBool,
    pub(super) files: AtomicU64,
    pub(super) lost_ring: AtomicU64,
    pub(super) lost_disk: AtomicU64,
    /// Losses told of by `LogLost` inputs that were dropped themselves.
    pub(super) reports_dropped: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) checkpoints_missing: AtomicU64,
    pub(super) checkpoints_dropped: AtomicU64,
}

/// The log's counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogStats {
    /// What it is doing.
    pub status: LogStatus,
    /// Inputs handed to the system.
    pub inputs_written: u64,
    /// Size of the current file.
    pub file_bytes: u64,
    /// Files begun.
    pub files: u64,
    /// Times that the current file was synced to the disk.
    pub syncs: u64,
    /// Inputs dropped because the ring was full, or were larger than a record can be.
    pub lost_ring: u64,
    /// Inputs dropped because the disk refused.
    pub lost_disk: u64,
    /// Times that the disk refused.
    pub errors: u64,
    /// Files that begin without the checkpoint that they should have.
    pub checkpoints_missing: u64,
    /// Checkpoints that could not be taken, or that nobody waited for.
    pub checkpoints_dropped: u64,
    /// Closed files that were compressed.
    pub files_compressed: u64,
    /// Closed files that were too old or too much.
    pub files_deleted: u64,
    /// Times that a closed file could not be read, compressed or deleted, or the manifest not be written.
    pub keeper_errors: u64,
}

impl LogStats {
    /// Every counter with its name, as metrics and summaries spell it.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("inputs_written_total", self.inputs_written),
            ("file_bytes", self.file_bytes),
            ("files_total", self.files),
            ("syncs_total", self.syncs),
            ("lost_ring_total", self.lost_ring),
            ("lost_disk_total", self.lost_disk),
            ("errors_total", self.errors),
            ("checkpoints_missing_total", self.checkpoints_missing),
            ("checkpoints_dropped_total", self.checkpoints_dropped),
            ("files_compressed_total", self.files_compressed),
            ("files_deleted_total", self.files_deleted),
            ("keeper_errors_total", self.keeper_errors),
        ]
        .into_iter()
    }
}

impl Shared {
    fn status(&self) -> LogStatus {
        match self.rare.status.load(Relaxed) {
            WRITING => LogStatus::Writing,
            FAILING => LogStatus::Failing { os_error: self.rare.os_error.load(Relaxed) },
            _ => LogStatus::Stopped,
        }
    }

    pub(super) fn stats(&self) -> LogStats {
        LogStats {
            status: self.status(),
            inputs_written: self.inputs_written.load(Relaxed),
            file_bytes: self.file_bytes.load(Relaxed),
            files: self.rare.files.load(Relaxed),
            syncs: self.syncs.load(Relaxed),
            lost_ring: self.rare.lost_ring.load(Relaxed),
            lost_disk: self.rare.lost_disk.load(Relaxed),
            errors: self.rare.errors.load(Relaxed),
            checkpoints_missing: self.rare.checkpoints_missing.load(Relaxed),
            checkpoints_dropped: self.rare.checkpoints_dropped.load(Relaxed),
            files_compressed: self.files_compressed.load(Relaxed),
            files_deleted: self.files_deleted.load(Relaxed),
            keeper_errors: self.keeper_errors.load(Relaxed),
        }
    }
}

/// The log of a run. Dropped without [`Self::finish`], the helper still writes what it has, unobserved.
#[derive(Debug)]
pub struct LogWriter {
    shared: Arc<Shared>,
    helper: JoinHandle<()>,
    keeper: JoinHandle<()>,
    /// Of the helper, then of the keeper.
    done: Receiver<()>,
}

/// How a log ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogReport {
    /// At the end.
    pub stats: LogStats,
    /// All that the feeder handed over before is on the disk. `false`: the disk refused, or took longer
    /// than a second.
    pub complete: bool,
}

impl LogWriter {
    /// Makes the first file and starts the helper. `clock` is any that goes on steadily: only
    /// differences count.
    ///
    /// # Errors
    /// [`LogError`] where the first file cannot be made.
    pub fn start(
        config: LogConfig,
        header: LogHeader,
        start: &LogStart,
        clock: impl FnMut() -> Nanos + Send + 'static,
    ) -> Result<(Self, LogProducer, CheckpointSender), LogError> {
        Self::start_on(Box::new(RealDisk), config, header, start, clock)
    }

    /// As [`Self::start`], on another disk.
    ///
    /// # Errors
    /// [`LogError`] where the first file cannot be made.
    pub fn start_on(
        disk: Box<dyn Disk>,
        config: LogConfig,
        header: LogHeader,
        start: &LogStart,
        clock: impl FnMut() -> Nanos + Send + 'static,
    ) -> Result<(Self, LogProducer, CheckpointSender), LogError> {
        let dir = &config.dir;
        disk.create_dir(dir)
            .map_err(|error| LogError::io(dir, "make the log's directory", error))?;
        remove_unfinished(dir);
        let file = LogFile::create_on(disk.as_ref(), dir, &header, start)?;
        let shared = Arc::new(Shared::default());
        let (producer, consumer) = ring::channel(config.ring_capacity_bytes);
        let (checkpoint_sender, checkpoints) = sync_channel(CHECKPOINTS_MAX);
        let (done_sender, done) = sync_channel(2);
        let disk: Arc<dyn Disk> = disk.into();
        let (changed_sender, changed) = sync_channel(1);
        let mut keeper =
            Keeper::new(Arc::clone(&disk), config.clone(), header.epoch, Arc::clone(&shared));
        let keeper = spawn("cobring-log-keep", done_sender.clone(), move || keeper.run(&changed))?;
        let (rotate_bytes, rotate_interval) = (config.rotate_bytes, config.rotate_interval);
        let next_rotation = Nanos(header.ts_start.floor_to(rotate_interval).0 + rotate_interval.0);
        let mut helper = Helper::new(
            consumer,
            checkpoints,
            disk,
            (config, header),
            file,
            (Arc::clone(&shared), changed_sender),
            Box::new(clock),
        );
        let helper = spawn("cobring-log", done_sender, move || helper.run())?;
        let producer = LogProducer {
            ring: producer,
            shared: Arc::clone(&shared),
            rotate_bytes,
            rotate_interval,
            next_rotation,
            lost_reported: 0,
            last_report: None,
            in_hole: false,
        };
        let sender = CheckpointSender { sender: checkpoint_sender, shared: Arc::clone(&shared) };
        Ok((Self { shared, helper, keeper, done }, producer, sender))
    }

    /// The counters now.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        self.shared.stats()
    }

    /// Writes what the feeder handed over, syncs and closes the file: within a second, else the helper
    /// is left behind.
    #[must_use]
    pub fn finish(self) -> LogReport {
        self.shared.rare.stop.store(true, Release); // with what was pushed before, to the helper's Acquire
        self.helper.thread().unpark();
        let joined = self.done.recv_timeout(FINISH_WAIT).is_ok();
        if joined {
            drop(self.helper.join());
            // It leaves off at once, but for a disk that holds it up: the next start goes on where it was.
            if self.done.recv_timeout(FINISH_WAIT).is_ok() {
                drop(self.keeper.join());
            }
        }
        let stats = self.shared.stats();
        let complete = joined && stats.errors == 0 && stats.lost_disk == 0;
        LogReport { stats, complete }
    }
}

/// A thread that says when it is done.
fn spawn(
    name: &str,
    done: SyncSender<()>,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, LogError> {
    let run = move || {
        body();
        // Nobody listens after an abandoned finish.
        let _ = done.send(());
    };
    let started = thread::Builder::new().name(name.to_owned()).spawn(run);
    started.map_err(|error| LogError::io(Path::new(name), "start its thread", error))
}

/// What a kill in the middle of a rotation or a compression left: nothing refers to it.
fn remove_unfinished(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let unfinished = name.strip_suffix(TEMPORARY_SUFFIX).unwrap_or_default();
        if unfinished.strip_suffix(ZSTD_SUFFIX).unwrap_or(unfinished).ends_with(LOG_SUFFIX) {
            drop(fs::remove_file(&path));
        }
    }
}

/// Inputs that the log does not hold, by a `LogLost`.
pub(super) fn losses_told(input: &Input<'_>) -> u64 {
    match input.kind {
        InputKind::LogLost => u64::try_from(input.ts_aux.0).unwrap_or(0),
        _ => 0,
    }
}

/// The feeder's end.
#[derive(Debug)]
pub struct LogProducer {
    ring: RecordProducer,
    shared: Arc<Shared>,
    rotate_bytes: u64,
    rotate_interval: Nanos,
    next_rotation: Nanos,
    /// Losses that `LogLost` inputs told of, those included that never reached the disk.
    lost_reported: u64,
    last_report: Option<Nanos>,
    /// The last input is not in the log.
    in_hole: bool,
}

impl LogProducer {
    /// Logs an input; never waits. `false`: there is no room, the log will not hold it, it is counted,
    /// and so are all that follow until the `LogLost` that [`Self::lost_due`] asks for: the log has
    /// holes only where it says so.
    pub fn try_log(&mut self, input: &Input<'_>) -> bool {
        let reports = input.kind == InputKind::LogLost;
        if reports {
            self.last_report = Some(input.stamp.ts_recv);
        }
        let asks = input.kind == InputKind::Checkpoint;
        if asks {
            // Before the helper can answer.
            self.shared.rare.checkpoint_asked.store(true, Relaxed);
        }
        let fits = input.bytes.len() <= PAYLOAD_BYTES_MAX && (reports || !self.in_hole);
        if !fits || self.ring.push_input(input).is_err() {
            if asks {
                self.shared.rare.checkpoint_asked.store(false, Relaxed);
            }
            self.in_hole = true;
            self.shared.rare.lost_ring.fetch_add(1, Relaxed);
            return false;
        }
        self.in_hole = false;
        match input.kind {
            InputKind::LogLost => self.lost_reported += losses_told(input),
            InputKind::Checkpoint => {
                let began = input.stamp.ts_recv.floor_to(self.rotate_interval);
                self.next_rotation = Nanos(began.0.saturating_add(self.rotate_interval.0));
            }
            _ => {}
        }
        true
    }

    /// Moves on with an input above a quarter of the ring. Call it when idle and before
    /// [`LogWriter::finish`], until it says `true`: nothing is left.
    pub fn flush_pending(&mut self) -> bool {
        self.ring.flush_pending()
    }

    /// Bytes of the ring that are free and all that it has: how far the helper lags behind.
    #[must_use]
    pub fn room(&self) -> (usize, usize) {
        (self.ring.free_bytes(), self.ring.capacity_bytes())
    }

    /// The number that a `LogLost` input stamped `now` should carry as `ts_aux`, when one is due: inputs
    /// were lost, there is room again, and a disk that refused is worth another try. Ask before each
    /// input, and log it by [`Self::try_log`], and mark a checkpoint soon.
    #[must_use]
    pub fn lost_due(&self, now: Nanos) -> Option<u64> {
        let lost =
            self.shared.rare.lost_ring.load(Relaxed) + self.shared.rare.lost_disk.load(Relaxed);
        let told = self.lost_reported - self.shared.rare.reports_dropped.load(Relaxed);
        let due = lost.saturating_sub(told);
        if due == 0 || self.ring.free_bytes() < self.ring.capacity_bytes() / 2 {
            return None;
        }
        let failing = self.shared.rare.status.load(Relaxed) == FAILING;
        let too_soon =
            |last: Nanos| now.0.saturating_sub(last.0) < RETRY_INTERVAL.0 && now.0 >= last.0;
        if failing && self.last_report.is_some_and(too_soon) {
            return None;
        }
        Some(due)
    }

    /// Whether a `Checkpoint` input should come `now`: the file is large or old enough, or holds a loss, or the one before was
    /// left out.
    #[must_use]
    pub fn wants_checkpoint(&self, now: Nanos) -> bool {
        let shared = &self.shared;
        shared.rare.status.load(Relaxed) == WRITING
            // It would not be in the log, and be asked for again and again.
            && !self.in_hole
            && !shared.rare.checkpoint_asked.load(Relaxed)
            && (shared.rare.checkpoint_due.load(Relaxed)
                || now >= self.next_rotation
                || shared.file_inputs_bytes.load(Relaxed) >= self.rotate_bytes)
    }

    /// The counters now.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        self.shared.stats()
    }
}

/// The fold's end, or that of whoever completes its checkpoint with windows.
#[derive(Debug, Clone)]
pub struct CheckpointSender {
    sender: SyncSender<Answer>,
    shared: Arc<Shared>,
}

impl CheckpointSender {
    /// Hands over the checkpoint of the `Checkpoint` input `checkpoint.input_seq`; never waits. `false`:
    /// the helper has too many already or is gone, it is counted.
    pub fn send(&self, checkpoint: Checkpoint) -> bool {
        let sent = self.sender.try_send(Answer::Taken(checkpoint)).is_ok();
        if !sent {
            self.shared.rare.checkpoints_dropped.fetch_add(1, Relaxed);
        }
        sent
    }

    /// That of this `Checkpoint` input will not come: the log goes on in the same file and asks for another a second later,
    /// a few times. Counted; never waits.
    pub fn leave_out(&self, input_seq: u64) {
        self.shared.rare.checkpoints_dropped.fetch_add(1, Relaxed);
        // Where there is no room, it is waited for in vain.
        let _told = self.sender.try_send(Answer::LeftOut { input_seq });
    }
}
