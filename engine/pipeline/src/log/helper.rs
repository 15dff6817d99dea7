//! The helper thread of a log: takes inputs from the ring and writes them, file after file.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::mpsc::{Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use cobring_types::{Input, InputKind, Nanos};

use super::checkpoint::{Answer, LogStart};
use super::disk::Disk;
use super::error::LogError;
use super::file::LogFile;
use super::header::LogHeader;
use super::writer::{
    CHECKPOINTS_MAX, FAILING, LogConfig, RETRY_INTERVAL, STOPPED, Shared, WRITING, losses_told,
};
use crate::ring::RecordConsumer;

/// How long an idle helper sleeps: 1,000 wakes a second on a core of its own cost nothing that shows.
const POLL: Duration = Duration::from_millis(1);
/// The longest that inputs stay in our memory, where a kill takes them along.
const FLUSH_INTERVAL: Nanos = Nanos(50_000_000);
/// Inputs between two looks at checkpoints, clock and stop.
const BATCH_INPUTS: usize = 256;
/// Of the second that `finish` waits, what the helper spends on draining, before it syncs.
const DRAIN_WAIT: Nanos = Nanos(600_000_000);
/// How often a checkpoint is asked for in place of one that was left out, before a file begins without.
const ASKED_AGAIN_MAX: u32 = 2;
/// Of the time that is spent on draining, what it waits for a checkpoint, behind which there is hardly anything.
const STOP_CHECKPOINT_WAIT: Nanos = Nanos(200_000_000);

pub(super) struct Helper {
    ring: RecordConsumer,
    sink: Sink,
    clock: Box<dyn FnMut() -> Nanos + Send>,
    stop_since: Option<Nanos>,
}

impl Helper {
    /// Makes the helper, which writes to `file` first.
    pub(super) fn new(
        ring: RecordConsumer,
        checkpoints: Receiver<Answer>,
        disk: Arc<dyn Disk>,
        (config, header): (LogConfig, LogHeader),
        file: LogFile,
        (shared, keeper): (Arc<Shared>, SyncSender<()>),
        mut clock: Box<dyn FnMut() -> Nanos + Send>,
    ) -> Self {
        let now = clock();
        let mut sink = Sink {
            disk,
            file: None,
            header,
            config,
            shared,
            keeper,
            closed_inputs: 0,
            checkpoints,
            arrived: Vec::new(),
            awaited: None,
            given_up_at: None,
            left_out: 0,
            last_flush: now,
            last_sync: now,
            unsynced: false,
        };
        sink.adopt(file);
        Self { ring, sink, clock, stop_since: None }
    }

    pub(super) fn run(&mut self) {
        loop {
            let now = (self.clock)();
            if self.stop_since.is_none() && self.sink.shared.rare.stop.load(Acquire) {
                self.stop_since = Some(now);
            }
            // Looked at before the ring: what was pushed before the end of the feeder is then seen
            // below.
            let feeder_gone = self.ring.is_abandoned();
            let busy = self.step(now);
            self.sink.keep_up(now);
            let idle = !busy && self.sink.awaited.is_none();
            let drained =
                self.stop_since.is_some_and(|since| idle || now.0 - since.0 > DRAIN_WAIT.0);
            if drained || (idle && feeder_gone && self.ring.is_empty()) {
                break;
            }
            if !busy {
                thread::park_timeout(POLL);
            }
        }
        let mut left = u64::from(self.ring.is_joining());
        while self.ring.pop_input(|_| ()).is_some() {
            left += 1;
        }
        self.sink.stop(left);
    }

    /// Whether there may be more to do at once.
    fn step(&mut self, now: Nanos) -> bool {
        let stopping = self.stop_since.is_some();
        if !self.sink.settle_checkpoint(now, stopping) {
            return false;
        }
        let Self { ring, sink, .. } = self;
        for _ in 0..BATCH_INPUTS {
            if ring.pop_input(|input| sink.take(&input, now)).is_none() {
                return false;
            }
            if sink.awaited.is_some() {
                break;
            }
        }
        true
    }
}

/// A `Checkpoint` input is written, the next file waits for its state.
#[derive(Debug, Clone, Copy)]
struct Awaited {
    input_seq: u64,
    ts_recv: Nanos,
    since: Nanos,
}

/// All of the helper but its ring.
struct Sink {
    disk: Arc<dyn Disk>,
    /// None while the disk refuses.
    file: Option<LogFile>,
    header: LogHeader,
    config: LogConfig,
    shared: Arc<Shared>,
    /// Hears of each file that is begun; the end of this ends it.
    keeper: SyncSender<()>,
    /// Inputs written to the files before.
    closed_inputs: u64,
    checkpoints: Receiver<Answer>,
    arrived: Vec<Answer>,
    awaited: Option<Awaited>,
    /// When the last one was, until another is asked for.
    given_up_at: Option<Nanos>,
    /// Checkpoints of this file that were left out.
    left_out: u32,
    last_flush: Nanos,
    last_sync: Nanos,
    unsynced: bool,
}

impl Sink {
    fn take(&mut self, input: &Input<'_>, now: Nanos) {
        let input_seq = input.stamp.input_seq;
        if self.file.is_none() {
            // A hole may only be right before a LogLost, so a file after an error begins with one.
            if input.kind == InputKind::LogLost {
                self.open(input_seq, input.stamp.ts_recv, &LogStart::Missing);
            }
            if self.file.is_none() {
                self.shared.rare.lost_disk.fetch_add(1, Relaxed);
                self.arrived.retain(|answer| answer.input_seq() > input_seq);
                self.shared.rare.reports_dropped.fetch_add(losses_told(input), Relaxed);
                return;
            }
        }
        let file = self.file.as_mut().expect("invariant: opened above");
        if let Err(error) = file.append(input) {
            self.fail(&error);
            return;
        }
        self.unsynced = true;
        match input.kind {
            InputKind::Checkpoint => {
                let ts_recv = input.stamp.ts_recv;
                self.awaited = Some(Awaited { input_seq, ts_recv, since: now });
            }
            InputKind::LogLost => {
                self.shared.rare.checkpoint_due.store(true, Relaxed);
                let lost = losses_told(input);
                tracing::warn!(
                    input_seq,
                    "the log lacks {lost} inputs before this one, no frame does"
                );
            }
            _ => {}
        }
    }

    /// Begins the next file if its checkpoint is there or has been waited for long enough. Where it is left out, the
    /// first times, and at the end of a run, the file goes on instead: a restart begins at its checkpoint either way.
    /// Whether inputs can go on.
    fn settle_checkpoint(&mut self, now: Nanos, stopping: bool) -> bool {
        while let Ok(answer) = self.checkpoints.try_recv() {
            if self.arrived.len() == CHECKPOINTS_MAX
                && let Answer::Taken(_) = self.arrived.remove(0)
            {
                self.shared.rare.checkpoints_dropped.fetch_add(1, Relaxed);
            }
            self.arrived.push(answer);
        }
        if self.given_up_at.is_some_and(|at| now.0 - at.0 >= RETRY_INTERVAL.0) {
            self.given_up_at = None;
            self.shared.rare.checkpoint_due.store(true, Relaxed);
            self.shared.rare.checkpoint_asked.store(false, Relaxed);
        }
        let Some(Awaited { input_seq, ts_recv, since }) = self.awaited else {
            return true;
        };
        let found = self.arrived.iter().position(|answer| answer.input_seq() == input_seq);
        let patience = if stopping { STOP_CHECKPOINT_WAIT } else { self.config.checkpoint_wait };
        let start = match found.map(|at| self.arrived.swap_remove(at)) {
            Some(Answer::Taken(checkpoint)) => Some(LogStart::Taken(checkpoint)),
            Some(Answer::LeftOut { .. }) => {
                self.left_out += 1;
                (!stopping && self.left_out > ASKED_AGAIN_MAX).then_some(LogStart::Missing)
            }
            None if now.0 - since.0 < patience.0 => return false,
            None => (!stopping).then_some(LogStart::Missing),
        };
        self.awaited = None;
        self.arrived.retain(|answer| answer.input_seq() > input_seq);
        match (start, self.file.take()) {
            (Some(start), Some(file)) => {
                let is_missing = start == LogStart::Missing;
                self.shared.rare.checkpoints_missing.fetch_add(u64::from(is_missing), Relaxed);
                match self.close(file) {
                    Ok(()) => self.open(input_seq + 1, ts_recv, &start),
                    Err(error) => self.note(&error),
                }
            }
            (_, file) => {
                self.file = file;
                self.given_up_at = Some(now);
            }
        }
        true
    }

    /// Flushes and syncs what is due.
    fn keep_up(&mut self, now: Nanos) {
        let Some(file) = self.file.as_mut() else { return };
        self.shared.file_bytes.store(file.size_bytes(), Relaxed);
        self.shared.file_inputs_bytes.store(file.inputs_bytes(), Relaxed);
        let result;
        if self.unsynced && now.0 - self.last_sync.0 >= self.config.sync_interval.0 {
            result = file.sync();
            self.shared.syncs.fetch_add(1, Relaxed);
            (self.last_sync, self.last_flush) = (now, now);
            self.unsynced = false;
        } else if file.has_buffered() && now.0 - self.last_flush.0 >= FLUSH_INTERVAL.0 {
            result = file.flush();
            self.last_flush = now;
        } else {
            return;
        }
        let written = self.closed_inputs + file.written_inputs();
        self.shared.inputs_written.store(written, Relaxed);
        if let Err(error) = result {
            self.fail(&error);
        }
    }

    /// `left` inputs were not even taken.
    fn stop(&mut self, left: u64) {
        self.shared.rare.lost_disk.fetch_add(left, Relaxed);
        if let Some(file) = self.file.take()
            && let Err(error) = self.close(file)
        {
            self.note(&error);
        }
        self.shared.rare.status.store(STOPPED, Relaxed);
    }

    fn open(&mut self, first_input_seq: u64, ts_start: Nanos, start: &LogStart) {
        self.header.first_input_seq = first_input_seq;
        self.header.ts_start = ts_start;
        match LogFile::create_on(self.disk.as_ref(), &self.config.dir, &self.header, start) {
            Ok(file) => self.adopt(file),
            Err(error) => self.note(&error),
        }
    }

    fn adopt(&mut self, file: LogFile) {
        self.shared.file_bytes.store(file.size_bytes(), Relaxed);
        self.shared.file_inputs_bytes.store(file.inputs_bytes(), Relaxed);
        self.shared.rare.files.fetch_add(1, Relaxed);
        self.shared.rare.checkpoint_due.store(false, Relaxed);
        self.shared.rare.checkpoint_asked.store(false, Relaxed);
        (self.given_up_at, self.left_out) = (None, 0);
        if self.shared.rare.status.swap(WRITING, Relaxed) == FAILING {
            tracing::warn!("the log is written again, to {}", file.path().display());
        }
        self.file = Some(file);
        // One that is waiting tells of this one too.
        let _waiting = self.keeper.try_send(());
    }

    fn close(&mut self, mut file: LogFile) -> Result<(), LogError> {
        self.unsynced = false;
        let synced = file.sync();
        self.shared.syncs.fetch_add(1, Relaxed);
        self.leave(file);
        synced
    }

    /// Gives the current file up; inputs are dropped from here on.
    fn fail(&mut self, error: &LogError) {
        if let Some(file) = self.file.take() {
            self.leave(file);
        }
        self.note(error);
    }

    /// Counts what is in a file and what will never be.
    fn leave(&mut self, file: LogFile) {
        self.closed_inputs += file.written_inputs();
        self.shared.inputs_written.store(self.closed_inputs, Relaxed);
        self.shared.rare.lost_disk.fetch_add(file.abandon(), Relaxed);
    }

    fn note(&mut self, error: &LogError) {
        // Once a failure, however often it is tried again.
        if self.shared.rare.status.load(Relaxed) != FAILING {
            tracing::warn!("the log is not written, frames go on: {error}");
        }
        self.shared.rare.errors.fetch_add(1, Relaxed);
        self.shared.rare.os_error.store(error.os_error(), Relaxed);
        self.shared.rare.status.store(FAILING, Relaxed);
    }
}
