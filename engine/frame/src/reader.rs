//! The readers' end of frames. Guarantees: a frame that is handed out is whole and the one asked for, or
//! there is an error; `next` counts exactly what it missed; nothing a reader does delays the writer; the
//! mapping is read-only and its every size was checked before. Needs: right to read the segment, and for
//! prompt waking to write its bell. Does not: hold any lock, or cache what the writer may change.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::Timespec;

use crate::bell;
use crate::dir;
use crate::error::FrameError;
use crate::layout::{HEARTBEAT, Layout, MONO_MINUS_TS, RETIRED, check_symbol};
use crate::lock;
use crate::segment::{bell_path, map_bell, open, read_layout};
use crate::slot::Slot;
use crate::subscriber::{Subscriber, sweep_subscribers};
use crate::sync::{Fence, Memory};
use crate::window_reader::WindowReader;
use crate::words::{KernelFutex, Words, WordsMut, mono_ns};

/// A writer whose heartbeat is older than this is stalled.
const STALLED_NS: u64 = 1_000_000_000;
/// Longest sleep between two looks at the writer's lock and the segment's link.
const LOOK_NS: u64 = 100_000_000;
/// The same for a segment known to be retired: its successor may come at any moment.
const LOOK_RETIRED_NS: u64 = 1_000_000;
/// How often a reader without right to the bell looks.
const POLL_NS: u64 = 100_000;
/// About how often a reader that polls looks at the count of frames and at the clock, which takes as long as many polls.
/// Whether the segment is retired, as one that is replaced is, it sees each time.
const POLLED_LOOK_NS: u64 = 100_000;
/// Polls between two looks, at most.
const POLLS_A_LOOK_MAX: u32 = 4_096;
/// Each failure of a copy means that the writer went round the whole ring meanwhile: this many in a row
/// are no race.
const ATTEMPTS: u32 = 100_000;

/// Whether the engine behind a segment lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// Lock held and heartbeat younger than a second.
    Alive,
    /// Lock held, but no timer folded for a second or more.
    Stalled {
        /// Age of the heartbeat.
        heartbeat_age_ns: u64,
    },
    /// The process ended without retiring the segment.
    Gone {
        /// Its number.
        pid: u32,
    },
    /// The engine stopped cleanly, or another one has replaced this segment.
    Retired,
}

/// What [`Reader::next`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// A frame, copied.
    Frame {
        /// Its number in the epoch, from 0.
        seq: u64,
    },
    /// Nothing that has not been read.
    Empty,
    /// The writer came round; the next call goes on with the oldest frame still whole.
    Lapped {
        /// Frames missed, exactly.
        lost: u64,
    },
}

/// When a reader that polls looks beyond its slot: each time where its polls are far between.
#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    polls_left: u32,
    polls_a_look: u32,
    looked_ns: u64,
}

impl Pace {
    #[inline]
    fn is_time_to_look(&mut self) -> bool {
        match self.polls_left.checked_sub(1) {
            Some(left) => {
                self.polls_left = left;
                false
            }
            None => true,
        }
    }

    fn looked(&mut self, now_ns: u64) {
        let is_soon = now_ns.saturating_sub(self.looked_ns) < POLLED_LOOK_NS;
        let more = (2 * self.polls_a_look).clamp(1, POLLS_A_LOOK_MAX);
        self.polls_a_look = if is_soon { more } else { 0 };
        self.polls_left = self.polls_a_look;
        self.looked_ns = now_ns;
    }
}

/// A segment, opened.
#[derive(Debug, Clone)]
struct Opened {
    path: PathBuf,
    layout: Arc<Layout>,
    memory: Words,
    /// None: no right to it.
    bell: Option<WordsMut>,
    /// None inside the writer's process.
    file: Option<Arc<File>>,
}

impl Opened {
    fn open(dir: &Path, symbol: &str) -> Result<Self, FrameError> {
        check_symbol(symbol)?;
        let path = dir.join(symbol);
        let file = open(&path, false).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound if bell_path(dir, symbol).exists() => {
                FrameError::Removed { path: path.clone() }
            }
            io::ErrorKind::NotFound => match dir::symbols(dir) {
                Ok(existing) => FrameError::NoSuchSymbol {
                    dir: dir.to_owned(),
                    symbol: symbol.to_owned(),
                    existing,
                },
                Err(error) => error,
            },
            _ => FrameError::io(&path, "open the segment", error),
        })?;
        let layout = read_layout(&path, &file)?;
        if layout.symbol != symbol {
            return Err(FrameError::Damaged {
                what: format!("the symbol {}", layout.symbol),
                found: layout.symbol.len() as u64,
                wanted: format!("the file's name {symbol}"),
                path,
            });
        }
        let memory = Words::map_read_only(&file, layout.size_bytes)
            .map_err(|error| FrameError::io(&path, "map the segment", error))?;
        let bell = map_bell(&bell_path(dir, symbol));
        Ok(Self { path, layout: Arc::new(layout), memory, bell, file: Some(Arc::new(file)) })
    }

    /// What was published before the flag was set is seen after it.
    fn retired(&self) -> bool {
        let retired = self.memory.load(RETIRED) != 0;
        self.memory.fence(Fence::Seen);
        retired
    }

    fn unlinked(&self) -> bool {
        self.file
            .as_ref()
            .is_some_and(|file| file.metadata().is_ok_and(|metadata| metadata.nlink() == 0))
    }

    fn identity(&self) -> Option<(u64, u64)> {
        let metadata = self.file.as_ref()?.metadata().ok()?;
        Some((metadata.dev(), metadata.ino()))
    }

    fn published(&self) -> u64 {
        self.layout.slots.published(&self.memory)
    }

    fn liveness(&self) -> Liveness {
        if self.retired() {
            return Liveness::Retired;
        }
        if let Some(file) = &self.file
            && !lock::is_locked(file).unwrap_or(false)
        {
            // It may have retired between the two looks.
            return if self.retired() {
                Liveness::Retired
            } else {
                Liveness::Gone { pid: self.layout.writer_pid }
            };
        }
        let heartbeat_age_ns = mono_ns().saturating_sub(self.memory.load(HEARTBEAT));
        if heartbeat_age_ns < STALLED_NS {
            Liveness::Alive
        } else {
            Liveness::Stalled { heartbeat_age_ns }
        }
    }

    fn damaged(&self, seq: u64, published: u64) -> FrameError {
        FrameError::Damaged {
            path: self.path.clone(),
            what: format!("the slot of frame {seq}, of {published} published"),
            found: seq,
            wanted: "whole".to_owned(),
        }
    }
}

/// Reads one symbol's frames and windows.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    opened: Opened,
    /// Frames taken or passed over in this epoch: `next` reads this one, `wait` waits for it.
    seen: u64,
    /// When a newer segment was last looked for.
    looked_ns: u64,
    /// When `wait` last asked whether the writer lives.
    asked_ns: u64,
    pace: Pace,
    /// Of a reader with a name.
    subscriber: Option<Arc<Subscriber>>,
}

impl Reader {
    /// Opens a symbol's segment. `next` begins with the first frame published from now on.
    ///
    /// # Errors
    /// One sentence each for: no such directory or symbol, no right, foreign file, other version, truncated,
    /// damaged.
    pub fn open(dir: &Path, symbol: &str) -> Result<Self, FrameError> {
        Ok(Self::new(dir.to_owned(), Opened::open(dir, symbol)?))
    }

    pub(crate) fn inside(
        layout: Arc<Layout>,
        memory: Words,
        bell: WordsMut,
        path: PathBuf,
    ) -> Self {
        Self::new(PathBuf::new(), Opened { path, layout, memory, bell: Some(bell), file: None })
    }

    fn new(dir: PathBuf, opened: Opened) -> Self {
        let seen = opened.published();
        let now = mono_ns();
        Self {
            dir,
            opened,
            seen,
            looked_ns: now,
            asked_ns: now,
            pace: Pace::default(),
            subscriber: None,
        }
    }

    /// As [`Reader::open`], and listed by name with what it has read, missed and refused
    /// ([`SubscriberInfo::list`](crate::SubscriberInfo::list)), until it is dropped.
    ///
    /// # Errors
    /// As [`Reader::open`]; [`FrameError::BadOwnName`]; [`FrameError::Denied`] without the right to subscribe.
    pub fn open_named(dir: &Path, symbol: &str, name: &str) -> Result<Self, FrameError> {
        let mut reader = Self::open(dir, symbol)?;
        sweep_subscribers(dir)?;
        let subscriber = Subscriber::create(dir, symbol, name, reader.epoch())?;
        reader.subscriber = Some(Arc::new(subscriber));
        Ok(reader)
    }

    /// Counts frames that the caller has refused, for a reader with a name.
    pub fn count_refused(&self, frames: u64) {
        if let Some(subscriber) = &self.subscriber {
            subscriber.refused(frames);
        }
    }

    #[inline]
    fn saw(&mut self, seq: u64) {
        self.seen = seq + 1;
        if let Some(subscriber) = &self.subscriber {
            subscriber.saw(seq);
        }
    }

    /// Counts what a [`Reader::twin`] of this one has read and missed, for a reader with a name.
    pub fn count_read(&mut self, seq: u64, lapped: u64) {
        if let Some(subscriber) = &mut self.subscriber {
            subscriber.saw(seq);
            if lapped > 0 {
                subscriber.lapped(lapped);
            }
        }
    }

    /// Another reader of the same mapping, at the same place and without a name: to wait with in another thread.
    #[must_use]
    pub fn twin(&self) -> Self {
        let Self { dir, opened, seen, looked_ns, asked_ns, pace: _, subscriber: _ } = self;
        Self {
            dir: dir.clone(),
            opened: opened.clone(),
            seen: *seen,
            looked_ns: *looked_ns,
            asked_ns: *asked_ns,
            pace: Pace::default(),
            subscriber: None,
        }
    }

    /// Symbol of the segment.
    #[must_use]
    pub fn symbol(&self) -> &str {
        &self.opened.layout.symbol
    }

    /// The segment's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.opened.path
    }

    /// Epoch: larger at each start of an engine.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.opened.layout.epoch
    }

    /// The schema's text.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.opened.layout.schema
    }

    /// Identity of the schema.
    #[must_use]
    pub fn schema_id(&self) -> u64 {
        self.opened.layout.schema_id
    }

    /// Bytes of a frame.
    #[must_use]
    pub fn frame_size_bytes(&self) -> usize {
        self.opened.layout.frame_size_bytes()
    }

    /// Slots of the frame ring.
    #[must_use]
    pub fn slot_count(&self) -> u64 {
        self.opened.layout.slots.slot_count
    }

    /// The engine's process.
    #[must_use]
    pub fn writer_pid(&self) -> u32 {
        self.opened.layout.writer_pid
    }

    /// Frames published in this epoch.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.opened.published()
    }

    /// The engine's last heartbeat, `CLOCK_MONOTONIC`.
    #[must_use]
    pub fn heartbeat_ns(&self) -> u64 {
        self.opened.memory.load(HEARTBEAT)
    }

    /// How long ago that was.
    #[must_use]
    pub fn heartbeat_age_ns(&self) -> u64 {
        mono_ns().saturating_sub(self.heartbeat_ns())
    }

    /// Whether the engine stopped cleanly or another one has replaced it: one load, against the system call
    /// of [`Reader::liveness`].
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.opened.retired()
    }

    /// `CLOCK_MONOTONIC` minus the time of frames.
    #[must_use]
    pub fn mono_minus_ts(&self) -> i64 {
        self.opened.memory.load(MONO_MINUS_TS).cast_signed()
    }

    /// Number of the frame that `next` reads next.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.seen
    }

    /// Lets `next` begin with the oldest frame that is still whole; none counts as lost.
    pub fn seek_oldest(&mut self) {
        self.seen = self.opened.layout.slots.oldest(&self.opened.memory, self.opened.published());
    }

    /// Lets `next` begin with the next frame published.
    pub fn seek_newest(&mut self) {
        self.seen = self.published_or_seen();
    }

    /// Frames published, those among them that `next` saw before the count told of them.
    fn published_or_seen(&self) -> u64 {
        self.opened.published().max(self.seen)
    }

    /// Copies the newest frame, whole; returns its number, or None before the first. What lies before it is
    /// passed over: `next` and `wait` go on behind it.
    ///
    /// # Errors
    /// [`FrameError::EpochChanged`] once for each engine that followed: ask again.
    /// [`FrameError::BufferSize`], [`FrameError::Damaged`].
    pub fn latest(&mut self, out: &mut [u64]) -> Result<Option<u64>, FrameError> {
        self.check_buffer(out)?;
        let retired = self.opened.retired();
        let mut published = self.published_or_seen();
        if retired || published == self.seen {
            self.look(retired)?;
        }
        let slots = &self.opened.layout.slots;
        for _ in 0..ATTEMPTS {
            let Some(seq) = published.checked_sub(1) else { return Ok(None) };
            match slots.read(&self.opened.memory, seq, out) {
                Slot::Whole => {
                    self.saw(seq);
                    return Ok(Some(seq));
                }
                Slot::Overwritten => std::hint::spin_loop(),
                Slot::NotYet => break,
            }
            published = self.published_or_seen();
        }
        Err(self.opened.damaged(published.saturating_sub(1), published))
    }

    /// Copies the next frame in order. Frames of a stopped engine are read to the end before a new one is
    /// followed, whose frames then come from the first on.
    ///
    /// # Errors
    /// [`FrameError::EpochChanged`] once for each engine that followed: ask again.
    /// [`FrameError::BufferSize`], [`FrameError::Damaged`].
    #[inline]
    pub fn next(&mut self, out: &mut [u64]) -> Result<Next, FrameError> {
        // A poll is short, so that the frame is seen as soon as it is there, and spares the line of `published`, which is being
        // written too.
        let Opened { memory, layout, .. } = &self.opened;
        let is_short = out.len() == layout.slots.frame_words
            && !self.pace.is_time_to_look()
            && memory.load(RETIRED) == 0;
        if is_short && layout.slots.is_ahead(memory, self.seen) {
            return Ok(Next::Empty);
        }
        self.next_or_look(out)
    }

    fn next_or_look(&mut self, out: &mut [u64]) -> Result<Next, FrameError> {
        self.check_buffer(out)?;
        let seq = self.seen;
        let slots = &self.opened.layout.slots;
        let mut found = slots.read(&self.opened.memory, seq, out);
        if found != Slot::Whole {
            let retired = self.opened.retired();
            let published = self.opened.published();
            if seq >= published {
                self.pace.looked(mono_ns());
                self.look(retired)?;
                return Ok(Next::Empty);
            }
            if found == Slot::NotYet {
                // Published between the two looks.
                found = slots.read(&self.opened.memory, seq, out);
            }
            if found == Slot::NotYet {
                return Err(self.opened.damaged(seq, published));
            }
        }
        if found == Slot::Whole {
            self.saw(seq);
            return Ok(Next::Frame { seq });
        }
        // The count may lag behind the slot that was seen; this frame is lost in any case.
        let slots = &self.opened.layout.slots;
        let oldest = slots.oldest(&self.opened.memory, self.opened.published()).max(seq + 1);
        self.seen = oldest;
        if let Some(subscriber) = &self.subscriber {
            subscriber.lapped(oldest - seq);
        }
        Ok(Next::Lapped { lost: oldest - seq })
    }

    /// Copies frame `seq`, if it is published and still there; what `next` reads stays as it is.
    ///
    /// # Errors
    /// [`FrameError::BufferSize`].
    pub fn frame_at(&self, seq: u64, out: &mut [u64]) -> Result<bool, FrameError> {
        self.check_buffer(out)?;
        let published = self.opened.published();
        let slots = &self.opened.layout.slots;
        Ok(seq < published && slots.read(&self.opened.memory, seq, out) == Slot::Whole)
    }

    /// Sleeps until there is a frame that neither `latest` nor `next` has passed; false when the time is
    /// over first. Without right to the bell it looks every 100 µs.
    ///
    /// # Errors
    /// [`FrameError::EpochChanged`] when it has followed a new engine, [`FrameError::WriterGone`] and
    /// [`FrameError::Retired`] when there is none to follow, within 100 ms; each call may be repeated.
    pub fn wait(&mut self, timeout: Duration) -> Result<bool, FrameError> {
        let timeout_ns = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        let deadline = mono_ns().saturating_add(timeout_ns);
        loop {
            let retired = self.opened.retired();
            let published = self.opened.published();
            if published > self.seen {
                return Ok(true);
            }
            if retired {
                self.look(retired)?;
            }
            let now = mono_ns();
            if now >= deadline {
                return Ok(false);
            }
            let slice_ns = (deadline - now).min(LOOK_NS);
            match &self.opened.bell {
                Some(bell) => {
                    let futex = KernelFutex { bell, slice: Duration::from_nanos(slice_ns) };
                    let published_at = self.opened.layout.slots.published_at;
                    bell::wait(&self.opened.memory, published_at, bell, published, &futex);
                }
                None => nap(slice_ns.min(POLL_NS)),
            }
            let now = mono_ns();
            if now.saturating_sub(self.asked_ns) >= LOOK_NS && self.opened.published() == published
            {
                self.asked_ns = now;
                self.ask()?;
            }
        }
    }

    /// Follows a newer engine, or says that this one is gone.
    fn ask(&mut self) -> Result<(), FrameError> {
        let liveness = self.opened.liveness();
        let ended = matches!(liveness, Liveness::Gone { .. } | Liveness::Retired);
        self.look(ended)?;
        let (path, pid) = (self.opened.path.clone(), self.opened.layout.writer_pid);
        match liveness {
            Liveness::Gone { .. } => Err(FrameError::WriterGone { path, pid }),
            Liveness::Retired => Err(FrameError::Retired { path, pid }),
            Liveness::Alive | Liveness::Stalled { .. } => Ok(()),
        }
    }

    /// Whether the engine lives.
    #[must_use]
    pub fn liveness(&self) -> Liveness {
        self.opened.liveness()
    }

    /// Moves on to the segment of a newer engine, if this one is retired or unlinked and there is one.
    /// `latest`, `next` and `wait` do so by themselves. Windows and views taken before stay on the old one.
    ///
    /// # Errors
    /// As [`Reader::open`]; a segment that is not there yet is none.
    pub fn follow(&mut self) -> Result<bool, FrameError> {
        if self.opened.file.is_none() || !(self.opened.retired() || self.opened.unlinked()) {
            return Ok(false);
        }
        let opened = match Opened::open(&self.dir, &self.opened.layout.symbol) {
            Ok(opened) => opened,
            Err(
                FrameError::NoSuchSymbol { .. }
                | FrameError::NoDirectory { .. }
                | FrameError::Removed { .. },
            ) => return Ok(false),
            Err(error) => return Err(error),
        };
        if opened.identity() == self.opened.identity() {
            return Ok(false);
        }
        self.opened = opened;
        self.seen = 0;
        if let Some(subscriber) = &self.subscriber {
            subscriber.follow(self.opened.layout.epoch);
        }
        Ok(true)
    }

    /// From time to time: follows a newer engine.
    fn look(&mut self, retired: bool) -> Result<(), FrameError> {
        let now = mono_ns();
        let interval = if retired { LOOK_RETIRED_NS } else { LOOK_NS };
        if now.saturating_sub(self.looked_ns) < interval {
            return Ok(());
        }
        self.looked_ns = now;
        let from = self.epoch();
        if self.follow()? {
            return Err(FrameError::EpochChanged {
                path: self.opened.path.clone(),
                from,
                to: self.epoch(),
            });
        }
        Ok(())
    }

    fn check_buffer(&self, out: &[u64]) -> Result<(), FrameError> {
        let wanted = self.opened.layout.slots.frame_words;
        if out.len() == wanted {
            return Ok(());
        }
        Err(FrameError::BufferSize { what: "a frame".to_owned(), found: out.len(), wanted })
    }

    /// How many windows there are.
    #[must_use]
    pub fn window_count(&self) -> usize {
        self.opened.layout.windows.len()
    }

    /// A window by its index in the segment.
    ///
    /// # Panics
    /// Where there is none of that index ([`Reader::window_count`]).
    #[must_use]
    pub fn window(&self, index: usize) -> WindowReader {
        let count = self.window_count();
        assert!(index < count, "window {index} of {count}");
        WindowReader::new(self.opened.memory.clone(), Arc::clone(&self.opened.layout), index)
    }

    /// A window by its name.
    ///
    /// # Errors
    /// [`FrameError::NoSuchWindow`], naming those that exist.
    pub fn window_named(&self, name: &str) -> Result<WindowReader, FrameError> {
        let windows = &self.opened.layout.windows;
        let index = windows.iter().position(|window| window.name == name).ok_or_else(|| {
            FrameError::NoSuchWindow {
                path: self.opened.path.clone(),
                window: name.to_owned(),
                existing: windows.iter().map(|window| window.name.clone()).collect(),
            }
        })?;
        Ok(self.window(index))
    }
}

fn nap(ns: u64) {
    let ns = i64::try_from(ns).unwrap_or(i64::MAX);
    // Interrupted: the caller looks again anyway.
    let _ = rustix::thread::nanosleep(&Timespec {
        tv_sec: ns / 1_000_000_000,
        tv_nsec: ns % 1_000_000_000,
    });
}
