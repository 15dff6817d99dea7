//! The fold: events and timers of all symbols in, frames out.
//!
//! Guarantees: timer(g) precedes every input received at or after g; one frame for each input that changed a
//! symbol's state and one for each timer. Frames depend on the inputs alone: the clock given to it goes into
//! `ts_applied` and `ts_published` and nowhere else. Does not: know where inputs come from.

use std::collections::BTreeMap;
use std::mem;

use cobring_frame::{FrameRing, Reader, STAGES, Segment, SpanSummary, Trigger, Windows};
use cobring_market::{
    KlinesWanted, MarketCounters, RestoreError, SnapshotWanted, SymbolConfig, SymbolMarket,
    TradesWanted,
};
use cobring_types::{Control, Event, LinkScope, Nanos, Stamp, SymbolIndex};
use cobring_venue::EventSink;
use serde::{Deserialize, Serialize};

use crate::bounds_file::BoundsFile;
use crate::clock::EngineClock;
use crate::counters::SymbolRow;
use crate::frame_hash::{FrameDigest, FrameHash};
use crate::log::{Checkpoint, CheckpointBlob};
use crate::sequencer::TimerGrid;

/// What looks on while the fold runs: the command line's `--jsonl`, a test. Called on the fold's thread.
pub trait Observer {
    /// Timer `g` of all symbols is folded, and no input received at or after it.
    fn after_timer(&mut self, g: Nanos, symbols: &[SymbolFold]);
    /// The symbol at `at` has published a frame; its windows are as that frame's cursors say.
    fn after_frame(&mut self, _at: usize, _symbols: &[SymbolFold]) {}
    /// A checkpoint is due: the inputs up to `input_seq` are folded.
    fn at_checkpoint(&mut self, input_seq: u64, fold: FoldState<'_>);
    /// Another one, which looks on at some of the symbols alone, on a thread of its own. None where one is to see all of
    /// them together.
    fn apart(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }
}

/// Nobody looks on.
impl Observer for () {
    fn after_timer(&mut self, _: Nanos, _: &[SymbolFold]) {}
    fn at_checkpoint(&mut self, _: u64, _: FoldState<'_>) {}
    fn apart(&self) -> Option<Self> {
        Some(())
    }
}

/// The fold's state at a checkpoint.
#[derive(Debug, Clone, Copy)]
pub struct FoldState<'a> {
    /// Instants still to come.
    pub grid: TimerGrid,
    /// In order of names.
    pub symbols: &'a [SymbolFold],
}

impl FoldState<'_> {
    /// Appends all of it as bytes, windows' rows apart. Allocates only where `saved` has not the room.
    ///
    /// # Panics
    /// Never: it is plain data.
    pub fn save_into(&self, saved: &mut Vec<u8>) {
        append(saved, &self.grid);
        append(saved, &self.symbols.len());
        for symbol in self.symbols {
            append(saved, &symbol.frames);
            let length_at = saved.len();
            saved.extend_from_slice(&[0; LENGTH_BYTES]);
            let state_at = saved.len();
            symbol.market.save_into(saved);
            let length = wide_varint(saved.len() - state_at);
            saved[length_at..state_at].copy_from_slice(&length);
        }
    }
}

fn append(saved: &mut Vec<u8>, value: &impl Serialize) {
    *saved = postcard::to_extend(value, mem::take(saved)).expect("invariant: plain data");
}

/// Of a length up to 34 GB.
const LENGTH_BYTES: usize = 5;

/// A length that is known only behind what it is the length of: a varint in all the bytes that were left for it, which
/// postcard's format allows (<https://postcard.jamesmunns.com/wire-format>, "Canonicalization").
fn wide_varint(length: usize) -> [u8; LENGTH_BYTES] {
    std::array::from_fn(|at| {
        let bits = (length >> (7 * at)) & 0x7f;
        let more = if at + 1 < LENGTH_BYTES { 0x80 } else { 0 };
        u8::try_from(bits | more).expect("invariant: eight bits")
    })
}

/// What a checkpoint holds.
#[derive(Deserialize)]
struct Saved {
    grid: TimerGrid,
    /// Frames so far and state of each symbol, in order of names.
    symbols: Vec<(u64, Vec<u8>)>,
}

/// Name of the part of a checkpoint that holds a window's last rows.
#[must_use]
pub fn window_blob_name(symbol: &str, window: &str) -> String {
    format!("{symbol}/{window}")
}

/// One symbol: its state, its frames, their hash.
#[derive(Debug)]
pub struct SymbolFold {
    market: SymbolMarket,
    ring: FrameRing,
    hash: Option<FrameHash>,
    frames: u64,
    /// For who looks on: it keeps no lock.
    reader: Reader,
    /// The wanted snapshot that was handed out; until one is asked for or arrives.
    snapshot_out: Option<SnapshotWanted>,
    /// The wanted klines that were handed out; until they are asked for.
    klines_out: Option<KlinesWanted>,
    /// The wanted trades that were handed out; until they are asked for.
    trades_out: Option<TradesWanted>,
    /// The wanted renewal that was handed out; until it is begun.
    renewal_out: Option<LinkScope>,
    /// The wanted ticker was handed out; until it is asked for or no longer wanted.
    ticker_is_out: bool,
    /// The log has been told of a truncated bell.
    bell_is_told: bool,
    /// Where a live run shows what it counts.
    row: Option<SymbolRow>,
}

/// What a symbol needs from the venue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A depth snapshot.
    Snapshot(SnapshotWanted),
    /// Closed bars.
    Klines(KlinesWanted),
    /// Trades that were missed.
    Trades(TradesWanted),
    /// Connections that deliver these streams, in place of those that no longer do.
    Renewal(LinkScope),
    /// The 24 h ticker.
    Ticker,
}

/// All symbols.
#[derive(Debug)]
pub struct Fold<O> {
    grid: TimerGrid,
    symbols: Vec<SymbolFold>,
    /// Index of the first of these among all symbols.
    first: usize,
    clock: Option<EngineClock>,
    observer: O,
    stopped: bool,
}

impl SymbolFold {
    /// A symbol that publishes into `segment`.
    #[must_use]
    pub fn new(
        config: SymbolConfig,
        epoch: u64,
        schema_id: u64,
        segment: Segment,
        hash: bool,
    ) -> Self {
        let reader = segment.reader();
        let Segment { ring, windows, .. } = segment;
        let market = SymbolMarket::new(config, epoch, schema_id, Windows::new(windows));
        let hash = hash.then(|| FrameHash::new(market.image(), market.windows()));
        Self {
            market,
            ring,
            hash,
            frames: 0,
            reader,
            snapshot_out: None,
            klines_out: None,
            trades_out: None,
            renewal_out: None,
            ticker_is_out: false,
            bell_is_told: false,
            row: None,
        }
    }

    /// The symbol's state.
    #[must_use]
    pub fn market(&self) -> &SymbolMarket {
        &self.market
    }

    /// What readers of its segment see.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Frames published in this epoch.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Its segment's path word: retires it from a panic hook.
    #[must_use]
    pub fn retire_handle(&self) -> cobring_frame::Retire {
        self.ring.retire_handle()
    }

    /// The hash of the frames so far, where one is kept.
    #[must_use]
    pub fn digest(&self) -> Option<FrameDigest> {
        self.hash.as_ref().map(FrameHash::digest)
    }

    /// Shows from now on what is counted, and how long inputs take.
    pub fn count_in(&mut self, row: SymbolRow) {
        self.row = Some(row);
    }

    fn show_counters(&mut self) {
        if let Some(row) = &mut self.row {
            row.store(self.frames, self.ring.bell_truncated(), &self.market.counters());
        }
    }

    /// A file that is none changes nothing: it was checked before it became an input, but for a log from elsewhere.
    fn import_bounds(&mut self, ts: Nanos, bytes: &[u8]) {
        let instrument = &self.market.config().instrument;
        let Ok(file) = BoundsFile::decode(bytes, instrument, "the logged bounds") else {
            return self.market.refuse_bounds();
        };
        let BoundsFile { imported, structure, .. } = file;
        if self.market.import_bounds(ts, &imported, structure).is_err() {
            self.market.refuse_bounds();
        }
    }

    /// Says once that somebody truncates the bell. It is harmless, but whoever does it should know better.
    fn look_at_bell(&mut self) {
        if !self.bell_is_told && self.ring.bell_truncated() > 0 {
            self.bell_is_told = true;
            let symbol = self.market.config().instrument.symbol.as_str();
            tracing::warn!(symbol, "the bell was truncated by a reader; it was made whole again");
        }
    }

    fn publish(&mut self, clock: Option<&EngineClock>, ts_applied: Nanos) {
        let seq = self.frames;
        self.frames += 1;
        let image = self.market.image_mut();
        let head = image.head_mut();
        head.identity.seq = seq;
        head.times.ts_applied = ts_applied.0;
        head.times.ts_published = clock.map_or(Nanos::UNDEF, EngineClock::now).0;
        self.ring.publish(image.words());
        if let Some(hash) = &mut self.hash {
            hash.frame(self.market.image(), self.market.windows());
        }
        self.market.frame_done();
        // Until the next message there is time.
        self.ring.prefetch_next();
    }
}

impl<O: Observer> Fold<O> {
    /// A fold of these symbols, in order of names. Without a clock (a replay) the times of our own stages
    /// stay unknown.
    #[must_use]
    pub fn new(symbols: Vec<SymbolFold>, clock: Option<EngineClock>, observer: O) -> Self {
        Self { grid: TimerGrid::default(), symbols, first: 0, clock, observer, stopped: false }
    }

    /// The same as several folds of some symbols each, at most so many; itself where the observer is to see all symbols
    /// together, or there is nothing to share.
    pub(crate) fn apart(self, count_max: usize) -> Result<Vec<Self>, Self> {
        let count = self.symbols.len().min(count_max);
        let observers: Option<Vec<O>> = (0..count).map(|_| self.observer.apart()).collect();
        let Some(observers) = observers.filter(|_| count > 0) else { return Err(self) };
        let (each, more) = (self.symbols.len() / count, self.symbols.len() % count);
        let Self { grid, symbols, mut first, clock, stopped, .. } = self;
        let mut symbols = symbols.into_iter();
        let apart = |(at, observer)| {
            let symbols: Vec<SymbolFold> =
                symbols.by_ref().take(each + usize::from(at < more)).collect();
            let fold = Self { grid, symbols, first, clock, observer, stopped };
            first += fold.symbols.len();
            fold
        };
        Ok(observers.into_iter().enumerate().map(apart).collect())
    }

    /// One fold again, with the first one's observer, of folds that have seen the same time.
    ///
    /// # Panics
    /// Where there is none.
    pub(crate) fn joined(folds: Vec<Self>) -> Self {
        let mut folds = folds.into_iter();
        let mut joined = folds.next().expect("invariant: a fold that was shared");
        for fold in folds {
            joined.symbols.extend(fold.symbols);
        }
        joined
    }

    fn now(&self) -> Nanos {
        self.clock.as_ref().map_or(Nanos::UNDEF, EngineClock::now)
    }

    /// Folds the timers up to `t`: an input received then follows, or nothing earlier will.
    pub fn advance(&mut self, t: Nanos) {
        while let Some(g) = self.grid.pop(t) {
            let heartbeat = self.clock.map(|_| EngineClock::monotonic_ns());
            for symbol in &mut self.symbols {
                let _: Trigger = symbol.market.on_timer(g);
                let ts_applied = self.clock.as_ref().map_or(Nanos::UNDEF, EngineClock::now);
                symbol.publish(self.clock.as_ref(), ts_applied);
                if let Some(monotonic_ns) = heartbeat {
                    symbol.ring.heartbeat(monotonic_ns.cast_unsigned());
                    symbol.look_at_bell();
                    symbol.show_counters();
                }
            }
            // With the timers of all symbols folded: rows of another symbol that closed at g are there too.
            for at in 0..self.symbols.len() {
                self.observer.after_frame(at, &self.symbols);
            }
            self.observer.after_timer(g, &self.symbols);
        }
    }

    /// Folds one event.
    pub fn fold(&mut self, stamp: &Stamp, symbol: SymbolIndex, event: &Event<'_>) {
        if let Event::Control(Control::Break { last_timer }) = event {
            // Those that were folded while nothing came, which no input tells of.
            if last_timer.is_defined() {
                self.advance(*last_timer);
            }
            self.grid.restart(stamp.ts_recv);
        } else {
            self.advance(stamp.ts_recv);
        }
        if symbol == SymbolIndex::NONE {
            for at in 0..self.symbols.len() {
                self.fold_for(at, stamp, event);
            }
        } else if let Some(at) = symbol.at().checked_sub(self.first)
            && at < self.symbols.len()
        {
            self.fold_for(at, stamp, event);
        }
        match event {
            Event::Control(Control::Checkpoint) => {
                let state = FoldState { grid: self.grid, symbols: &self.symbols };
                self.observer.at_checkpoint(stamp.input_seq, state);
            }
            Event::Control(Control::Stop) => self.stopped = true,
            _ => {}
        }
    }

    fn fold_for(&mut self, at: usize, stamp: &Stamp, event: &Event<'_>) {
        let symbol = &mut self.symbols[at];
        if matches!(event, Event::Snapshot(_) | Event::Control(Control::SnapshotRequested { .. })) {
            symbol.snapshot_out = None;
        }
        if matches!(event, Event::Control(Control::KlinesRequested { .. })) {
            symbol.klines_out = None;
        }
        if matches!(event, Event::Control(Control::TradesRequested { .. })) {
            symbol.trades_out = None;
        }
        if matches!(event, Event::Ticker(_) | Event::Control(Control::TickerRequested)) {
            symbol.ticker_is_out = false;
        }
        if let Event::Bounds { bytes } = event {
            symbol.import_bounds(stamp.ts_recv, bytes);
        }
        if symbol.market.on_event(stamp, event).is_some() {
            let ts_applied = self.now();
            let symbol = &mut self.symbols[at];
            symbol.publish(self.clock.as_ref(), ts_applied);
            if let Some(row) = &mut symbol.row {
                row.record(&symbol.market.image().head().times);
            }
            self.observer.after_frame(at, &self.symbols);
        }
    }

    /// Becomes the state of a checkpoint that was taken with the same settings.
    ///
    /// # Errors
    /// [`RestoreError`] where it is none.
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<(), RestoreError> {
        let saved: Saved = postcard::from_bytes(&checkpoint.state)
            .map_err(|error| RestoreError::Damaged { reason: error.to_string() })?;
        if saved.symbols.len() != self.symbols.len() {
            return Err(RestoreError::OtherSettings);
        }
        for (symbol, (frames, state)) in self.symbols.iter_mut().zip(saved.symbols) {
            let name = symbol.market.config().instrument.symbol;
            let mut rows: BTreeMap<String, Vec<u64>> = BTreeMap::new();
            for window in symbol.market.windows().iter().map(|window| window.raw().name()) {
                let part = window_blob_name(name.as_str(), window);
                let blob = checkpoint.blob(&part).ok_or_else(|| RestoreError::Damaged {
                    reason: format!("there are no rows of {part}"),
                })?;
                let words = bytemuck::pod_collect_to_vec(blob);
                rows.insert(window.to_owned(), words);
            }
            symbol.market.restore(&state, |window| rows.get(window).map_or(&[], Vec::as_slice))?;
            symbol.frames = frames;
            if symbol.hash.is_some() {
                symbol.hash = Some(FrameHash::new(symbol.market.image(), symbol.market.windows()));
            }
        }
        self.grid = saved.grid;
        Ok(())
    }

    /// Goes on from the symbols of the run before, in order of names.
    ///
    /// # Errors
    /// [`RestoreError`] where one has other settings; the fold is then of no use any more.
    pub fn resume(&mut self, left: &[SymbolFold]) -> Result<(), RestoreError> {
        if left.len() != self.symbols.len() {
            return Err(RestoreError::OtherSettings);
        }
        for (symbol, left) in self.symbols.iter_mut().zip(left) {
            symbol.market.resume(&left.market)?;
            if symbol.hash.is_some() {
                symbol.hash = Some(FrameHash::new(symbol.market.image(), symbol.market.windows()));
            }
        }
        Ok(())
    }

    /// All of it now, as a checkpoint before the first input.
    ///
    /// # Panics
    /// Never: it is plain data.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        let mut state = Vec::new();
        FoldState { grid: self.grid, symbols: &self.symbols }.save_into(&mut state);
        let windows = self.symbols.iter().flat_map(|symbol| {
            let name = symbol.market.config().instrument.symbol;
            symbol.market.windows().iter().map(move |window| {
                let bytes = bytemuck::cast_slice(&window.raw().newest_rows()).to_vec();
                let name = window_blob_name(name.as_str(), window.raw().name());
                CheckpointBlob { name, bytes }
            })
        });
        Checkpoint { input_seq: 0, state, blobs: windows.collect() }
    }

    /// What looked on, at the end.
    #[must_use]
    pub fn into_observer(self) -> O {
        self.observer
    }

    /// The symbols and what looked on, at the end.
    #[must_use]
    pub fn into_parts(self) -> (Vec<SymbolFold>, O) {
        (self.symbols, self.observer)
    }

    /// Hands out what each symbol needs from the venue, once until it is asked for.
    pub fn take_wanted(&mut self, mut take: impl FnMut(SymbolIndex, Wanted)) {
        for (index, symbol) in (0..).map(SymbolIndex).zip(&mut self.symbols) {
            let market = &symbol.market;
            if let Some(wanted) = news(market.snapshot_wanted(), &mut symbol.snapshot_out) {
                take(index, Wanted::Snapshot(wanted));
            }
            if let Some(wanted) = news(market.klines_wanted(), &mut symbol.klines_out) {
                take(index, Wanted::Klines(wanted));
            }
            if let Some(wanted) = news(market.trades_wanted(), &mut symbol.trades_out) {
                take(index, Wanted::Trades(wanted));
            }
            if let Some(scope) = news(market.renewal_wanted(), &mut symbol.renewal_out) {
                take(index, Wanted::Renewal(scope));
            }
            let ticker_is_wanted = symbol.market.ticker_wanted();
            if ticker_is_wanted && !symbol.ticker_is_out {
                take(index, Wanted::Ticker);
            }
            symbol.ticker_is_out = ticker_is_wanted;
        }
    }

    /// Whether the stop input was folded.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// The symbols, in order of names.
    #[must_use]
    pub fn symbols(&self) -> &[SymbolFold] {
        &self.symbols
    }

    /// What looked on.
    pub fn observer_mut(&mut self) -> &mut O {
        &mut self.observer
    }

    /// The result: what is told at the end of a run or a replay.
    #[must_use]
    pub fn summary(&self) -> Vec<SymbolSummary> {
        self.symbols
            .iter()
            .map(|symbol| SymbolSummary {
                symbol: symbol.market.config().instrument.symbol.to_string(),
                frames: symbol.frames(),
                digest: symbol.digest(),
                counters: symbol.market.counters(),
                bell_truncated: symbol.ring.bell_truncated(),
                stages: symbol.row.as_ref().map(SymbolRow::stages),
            })
            .collect()
    }
}

/// What is wanted now, where that was not handed out yet.
fn news<T: Copy + PartialEq>(wanted: Option<T>, out: &mut Option<T>) -> Option<T> {
    let changed = wanted != *out;
    *out = wanted;
    wanted.filter(|_| changed)
}

/// What one symbol's fold did.
#[derive(Debug, Clone)]
pub struct SymbolSummary {
    /// Its name.
    pub symbol: String,
    /// Frames published.
    pub frames: u64,
    /// Their hash, where one was kept.
    pub digest: Option<FrameDigest>,
    /// What was passed over, refused or repaired.
    pub counters: MarketCounters,
    /// Times that somebody truncated the bell; nothing that a frame shows.
    pub bell_truncated: u64,
    /// How long inputs took for each of [`STAGES`]; a replay has no clock.
    pub stages: Option<[SpanSummary; STAGES.len()]>,
}

impl<O: Observer> EventSink for Fold<O> {
    fn on_event(&mut self, stamp: &Stamp, symbol: SymbolIndex, event: &Event<'_>) {
        self.fold(stamp, symbol, event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_length_is_read_as_any_other() {
        for length in [0, 1, 127, 128, 435_123, (1 << 21) - 1, u32::MAX as usize, (1 << 35) - 1] {
            let read: usize = postcard::from_bytes(&wide_varint(length)).unwrap();
            assert_eq!(read, length);
        }
    }
}
