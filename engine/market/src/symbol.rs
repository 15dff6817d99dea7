//! One symbol's fold: events and timers in, the frame's image and windows changed in place.

mod append;
mod backfill;
mod feed;
mod history;
mod merge;
mod resume;
mod show;

use std::mem;
use std::ops::RangeInclusive;

use cobring_frame::{
    BAR_INTERVALS_NS, BOOK_LEVELS, FrameImage, PIVOT_LEVELS, STUDIED_INTERVALS, TickRow, Trigger,
    Windows, place,
};
use cobring_types::{
    Control, DepthSnapshot, DepthUpdate, Event, InstrumentStatus, Level, LinkScope, Nanos, Px, Qty,
    Quote, Side, Stamp, Ticker, Trade, TradeStream,
};
use cobring_venue::{
    BookSync, DepthBufferCapacity, DepthMerge, DepthVerdict, SnapshotVerdict, SyncState, TradeMerge,
};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};

use self::append::{KeptTimes, book_state_row};
use crate::backfill::{Backfill, TradesWanted};
use crate::bar::Bar;
use crate::book::{Book, BookShape, UNBOUNDED};
use crate::candles::{Candles, TradeEffect};
use crate::clock_offset::ClockOffset;
use crate::cob_row::{CobFacts, CobSecond};
use crate::config::SymbolConfig;
use crate::counters::MarketCounters;
use crate::day_ticker::DayTicker;
use crate::flow::{Flow, side_number};
use crate::history::{History, KlinesWanted};
use crate::imbalance::{Sample, Samples, imbalance};
use crate::links::Links;
use crate::pivot_bounds::{BoundsError, BoundsTracker, ImportedHours};
use crate::pivots::{PivotBar, Structure};
use crate::quality::Facts;
use crate::study::{Study, bar_outputs};
use crate::top::{BestPrices, Quotes, best_of, values};
use crate::watchdog::{DepthWatch, QuoteWatch, TradeWatch};

/// A live book is audited by a snapshot this often.
const AUDIT_INTERVAL: Nanos = Nanos(600_000_000_000);
/// Background re-syncs are at least this far apart.
const RESYNC_INTERVAL: Nanos = Nanos(60_000_000_000);
/// After a link came up, the first depth message is waited for this long before a snapshot is asked for: one
/// older than that message is of no use, and costs its weight.
const FIRST_DEPTH_WAIT: Nanos = Nanos(1_000_000_000);
/// With fewer known buckets than R plus this on a side, the known range is widened.
const KNOWN_MARGIN: i64 = 5;

/// Whether an input or timer is shown by a frame, and as what.
pub type Publish = Option<Trigger>;

/// A snapshot that the fold needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotWanted {
    /// Levels a side.
    pub limit: u32,
    /// To widen and audit a live book.
    pub background: bool,
}

/// A symbol's state.
#[derive(Debug)]
pub struct SymbolMarket {
    config: SymbolConfig,
    state: State,
    /// What frames are copied from.
    image: FrameImage,
    windows: Windows,
    shown: Shown,
    /// Others than `book_states` and `ticks` may have got rows since the last frame.
    has_other_rows: bool,
}

/// What the image was made from, where finding that out takes less than making it anew.
#[derive(Debug, Default)]
struct Shown {
    /// Sums of best bid and ask for which supports and resistances are right, until the next bar.
    mids_of_pivots: Option<RangeInclusive<i64>>,
    /// Open bars.
    bars: [Option<Bar>; BAR_INTERVALS_NS.len()],
}

/// What of a trade the next one is held against.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct LastTrade {
    stream: TradeStream,
    /// The run before had it: the venue may have begun to count anew.
    resumed: bool,
    /// Of its last fill.
    id: u64,
    /// In its stream.
    stream_id: u64,
    /// Venue time of the first one behind which all ids are known or known to be missing.
    ids_since: Nanos,
    ts_trade: Nanos,
    px: Px,
}

/// Everything that a checkpoint must hold.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    sync: BookSync,
    /// A snapshot for the book was asked for on a connection that still stands; its answer makes the book.
    snapshot_asked: bool,
    book: Book,
    /// The book that a background re-sync builds.
    second: Book,
    /// The last whole event left the book crossed or with an empty side; until a snapshot is asked for.
    crossed: bool,
    depth_watch: DepthWatch,
    /// The watchdog's word on the depth stream; until its next message of use.
    depth_stalled: bool,
    /// Streams whose connections are to be renewed; until that was begun.
    renewal_wanted: Option<LinkScope>,
    quote_watch: QuoteWatch,
    trade_watch: TradeWatch,
    trades_stalled: bool,
    halted: bool,
    /// Book and bookTicker, or book and audit, disagreed; until a snapshot mends it.
    audit_mismatch: bool,
    /// Inputs are missing in the log; until a checkpoint.
    unlogged: bool,
    quotes: Quotes,
    best: Option<BestPrices>,
    samples: Samples,
    offset: ClockOffset,
    /// Of each of [`cobring_frame::BAR_INTERVALS`].
    candles: [Candles; BAR_INTERVALS_NS.len()],
    /// Of 1 s and 1 min bars.
    studies: [Study; STUDIED_INTERVALS],
    history: History,
    cob_second: CobSecond,
    kept_times: KeptTimes,
    /// The last book state row shows a proven book.
    book_states_live: bool,
    flow: Flow,
    ticker: DayTicker,
    links: Links,
    /// Updates of several connections; always there but while it hands over.
    depth_merge: Option<DepthMerge>,
    trade_merge: TradeMerge,
    /// The stream that counts: the first one seen.
    trade_stream: Option<TradeStream>,
    /// The last one of the counting stream.
    last_trade: Option<LastTrade>,
    /// Before any trade came, another connection took over or ran beside: its first trade may not be the first one.
    first_trade_unproven: bool,
    backfill: Backfill,
    /// First row of `ticks` behind the last gap that nothing will fill.
    ticks_valid_from: u64,
    last_depth_recv: Nanos,
    /// The last message or snapshot that the book took.
    last_book_recv: Nanos,
    last_quote_recv: Nanos,
    last_trade_recv: Nanos,
    last_snapshot_recv: Nanos,
    last_background_wanted: Nanos,
    wanted: Option<SnapshotWanted>,
    /// A link came up without a book: a snapshot is wanted at the first depth message that waits, or here.
    want_at: Nanos,
    counters: MarketCounters,
}

impl State {
    /// The connections of these streams are to be renewed, beside others that are.
    fn want_renewal(&mut self, scope: LinkScope) {
        let wanted = self.renewal_wanted.map_or(scope, |wanted| wanted.with(scope));
        self.renewal_wanted = Some(wanted);
    }

    /// Nothing is known yet.
    fn new(shape: BookShape) -> Self {
        Self {
            sync: BookSync::new(DepthBufferCapacity::default()),
            snapshot_asked: false,
            book: Book::new(shape),
            second: Book::new(shape),
            crossed: false,
            depth_watch: DepthWatch::default(),
            depth_stalled: false,
            renewal_wanted: None,
            quote_watch: QuoteWatch::default(),
            trade_watch: TradeWatch::default(),
            trades_stalled: false,
            halted: false,
            audit_mismatch: false,
            unlogged: false,
            quotes: Quotes::default(),
            best: None,
            samples: Samples::default(),
            offset: ClockOffset::default(),
            candles: BAR_INTERVALS_NS.map(|interval| Candles::new(Nanos(interval))),
            studies: [Study::new(Some(BoundsTracker::new())), Study::new(None)],
            history: History::default(),
            cob_second: CobSecond::default(),
            kept_times: KeptTimes::default(),
            book_states_live: false,
            flow: Flow::default(),
            ticker: DayTicker::default(),
            links: Links::default(),
            depth_merge: Some(DepthMerge::default()),
            trade_merge: TradeMerge::default(),
            trade_stream: None,
            last_trade: None,
            first_trade_unproven: false,
            backfill: Backfill::default(),
            ticks_valid_from: 0,
            last_depth_recv: Nanos::UNDEF,
            last_book_recv: Nanos::UNDEF,
            last_quote_recv: Nanos::UNDEF,
            last_trade_recv: Nanos::UNDEF,
            last_snapshot_recv: Nanos::UNDEF,
            last_background_wanted: Nanos::UNDEF,
            wanted: None,
            want_at: Nanos::UNDEF,
            counters: MarketCounters::default(),
        }
    }

    /// Reserves all memory that the fold will need: what a checkpoint gave back holds no more than is in it.
    fn reserve(&mut self) {
        self.book.reserve();
        self.second.reserve();
        self.quotes.reserve();
        self.flow.reserve();
        self.candles.iter_mut().for_each(Candles::reserve);
        self.studies.iter_mut().for_each(Study::reserve);
        self.history.reserve();
        self.trade_merge.reserve();
        self.backfill.reserve();
        self.cob_second.reserve();
        self.kept_times.reserve();
    }
}

/// Raised with whatever a state holds: a state of another version is refused, not misread.
const STATE_VERSION: u32 = 10;

/// What a checkpoint holds of a symbol.
#[derive(Serialize)]
struct SavedRef<'a> {
    version: u32,
    state: &'a State,
    image: &'a [u64],
    cursors: Cursors<'a>,
}

/// One by one: a checkpoint is taken between two messages, and allocates nothing.
struct Cursors<'a>(&'a Windows);

impl Serialize for Cursors<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut cursors = serializer.serialize_seq(Some(self.0.iter().count()))?;
        self.0.iter().try_for_each(|window| cursors.serialize_element(&window.cursor()))?;
        cursors.end()
    }
}

/// The same behind its version, read back.
#[derive(Deserialize)]
struct Saved {
    state: State,
    image: Vec<u64>,
    cursors: Vec<[u64; 2]>,
}

/// Why a checkpoint is not this symbol's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// No state, or one of another version.
    #[error("the checkpoint is no state of this version: {reason}")]
    Damaged {
        /// What the decoder found.
        reason: String,
    },
    /// The state belongs to other settings.
    #[error("the state was taken with other settings for this symbol, or by another version")]
    OtherSettings,
    /// A run that ended while its history came can not be gone on from.
    #[error("the run before ended while its history was loading")]
    Unfinished,
}

/// What of the image an input made out of date.
#[derive(Debug, Clone, Copy, Default)]
struct Dirty {
    book: bool,
    /// The image has the best levels already.
    levels_shown: bool,
    /// What hangs on the best prices; those themselves are shown where they change.
    pivots: bool,
    candles: bool,
}

impl SymbolMarket {
    /// A symbol about which nothing is known yet.
    #[must_use]
    pub fn new(config: SymbolConfig, epoch: u64, schema_id: u64, windows: Windows) -> Self {
        let shape = config.book_shape();
        let mut image = FrameImage::new(config.layout);
        let identity = &mut image.head_mut().identity;
        identity.symbol = config.instrument.symbol.to_bytes();
        identity.epoch = epoch;
        identity.schema_id = schema_id;
        let (state, shown) = (State::new(shape), Shown::default());
        let mut market = Self { state, config, image, windows, shown, has_other_rows: true };
        market.write_samples();
        market.write_top();
        market.write_dirty(Dirty { book: true, pivots: true, candles: true, ..Dirty::default() });
        market
    }

    /// Folds one event. `Some` names the frame to publish from [`SymbolMarket::image_mut`].
    pub fn on_event(&mut self, stamp: &Stamp, event: &Event<'_>) -> Publish {
        let mut dirty = Dirty::default();
        self.has_other_rows |= !matches!(event, Event::Quote(_) | Event::Depth(_));
        let ts_recv = stamp.ts_recv;
        let mut ts_event = Nanos::UNDEF;
        let publish = match event {
            Event::Depth(update) => {
                ts_event = update.ts_event;
                self.on_depth(ts_recv, update, &mut dirty)
            }
            Event::Snapshot(snapshot) => self.on_snapshot(ts_recv, snapshot, &mut dirty),
            Event::Quote(quote) => self.on_quote(ts_recv, quote, &mut dirty),
            Event::Trade(trade) => {
                ts_event = trade.ts_event;
                self.on_trade(ts_recv, trade, &mut dirty)
            }
            Event::Ticker(ticker) => {
                self.on_ticker(ts_recv, ticker);
                None
            }
            Event::Trades { stream, rows } => self.on_trades(ts_recv, *stream, rows, &mut dirty),
            Event::Klines { interval, source, rows } => {
                self.on_klines(ts_recv, *interval, *source, rows, &mut dirty)
            }
            // What the file holds comes by [`Self::import_bounds`].
            Event::Bounds { .. } => None,
            Event::ServerTime { server, sent } => {
                self.state.offset.on_server_time(*server, *sent);
                None
            }
            Event::Instrument { status, .. } => {
                self.set_halted(*status == InstrumentStatus::Halted, &mut dirty)
            }
            Event::Model { model, output } => {
                self.append_model(ts_recv, *model, output);
                None
            }
            Event::Control(control) => self.on_control(ts_recv, control, &mut dirty),
        };
        self.image.head_mut().identity.input_seq = stamp.input_seq;
        if let Some(trigger) = publish {
            self.track_best(ts_recv, ts_event, &mut dirty);
            let times = &mut self.image.head_mut().times;
            times.ts_event = ts_event.0;
            times.ts_kernel = stamp.ts_kernel.0;
            times.ts_parsed = stamp.ts_parsed.0;
            self.complete(trigger, ts_recv, dirty);
        }
        publish
    }

    /// Folds the grid's instant `g`, before any input received at or after it; always shown.
    pub fn on_timer(&mut self, g: Nanos) -> Trigger {
        let mut dirty = Dirty { candles: true, ..Dirty::default() };
        self.has_other_rows = true;
        self.state.offset.on_timer();
        if self.release_due(g, &mut dirty).is_some() {
            self.track_best(g, Nanos::UNDEF, &mut dirty);
            // The sample below is of this book.
            self.write_dirty(dirty);
        }
        self.time_to_bars(g);
        self.want_trades(g);
        let sample = self.is_live().then(|| {
            let imbalance_block = &self.image.head().imbalance;
            Sample {
                imbalance: imbalance_block.imbalance,
                imbalance_px: imbalance_block.imbalance_px,
            }
        });
        self.state.samples.push(sample);
        self.write_samples();
        if g.floor_to(Nanos::SECOND) == g {
            self.append_cob_row(g);
        }
        self.want_when_due(g);
        self.watch_depth(g, &mut dirty);
        self.watch_quotes(g);
        self.want_background(g);
        let times = &mut self.image.head_mut().times;
        times.ts_event = Nanos::UNDEF.0;
        times.ts_kernel = Nanos::UNDEF.0;
        times.ts_parsed = Nanos::UNDEF.0;
        self.complete(Trigger::Timer, g, Dirty { candles: true, ..Dirty::default() });
        let priced = self.has_own_price();
        self.state.ticker.on_timer(g, priced);
        Trigger::Timer
    }

    /// Takes hours and pivots of the venue's archives at `ts`; shows in the next frame. Where own 1 s bars have
    /// begun, their structure stays.
    ///
    /// # Errors
    /// [`BoundsError`] for hours that cannot be, seen from `ts`; nothing changes then.
    pub fn import_bounds(
        &mut self,
        ts: Nanos,
        imported: &ImportedHours,
        structure: Structure,
    ) -> Result<(), BoundsError> {
        let [study, _] = &mut self.state.studies;
        if let Some(bounds) = &mut study.bounds {
            bounds.import(imported, ts)?;
        }
        if !study.structure.origin().is_defined() {
            study.structure = structure;
            study.structure.reserve();
            // Nobody watched between the archive's end and the first own bar.
            let (high, low) = (Px::UNDEF, Px::UNDEF);
            let hole = PivotBar { open_time: ts, ts_closed: ts, high, low, hole: true };
            study.structure.on_bar(&hole, &mut |_| {});
        }
        study.changed = true;
        study.bounds_changed = true;
        Ok(())
    }

    /// A bounds file was none: counted.
    pub fn refuse_bounds(&mut self) {
        self.state.counters.bounds_refused += 1;
    }

    /// The frame's image.
    #[must_use]
    pub fn image(&self) -> &FrameImage {
        &self.image
    }

    /// The frame's image: what a frame is published from.
    pub fn image_mut(&mut self) -> &mut FrameImage {
        &mut self.image
    }

    /// The windows, as their writer has them.
    #[must_use]
    pub fn windows(&self) -> &Windows {
        &self.windows
    }

    /// Appends the whole state, bit-exact but for the rows of the windows, of which it holds the cursors. Allocates only where
    /// `saved` has not the room.
    ///
    /// # Panics
    /// Never: the state is plain data.
    pub fn save_into(&self, saved: &mut Vec<u8>) {
        let (version, state, image) = (STATE_VERSION, &self.state, self.image.words());
        let contents = SavedRef { version, state, image, cursors: Cursors(&self.windows) };
        *saved = postcard::to_extend(&contents, mem::take(saved))
            .expect("invariant: the state is plain data");
    }

    /// As [`Self::save_into`], by itself.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let mut saved = Vec::new();
        self.save_into(&mut saved);
        saved
    }

    /// Becomes the state that [`Self::save`] wrote for the same settings. `rows` gives the last rows of a
    /// window, as many as are at hand, oldest first.
    ///
    /// # Errors
    /// [`RestoreError`] where the bytes are no such state; this one is then of no use any more.
    pub fn restore<'a>(
        &mut self,
        saved: &[u8],
        rows: impl Fn(&str) -> &'a [u64],
    ) -> Result<(), RestoreError> {
        let damaged = |reason: String| RestoreError::Damaged { reason };
        let saved = match postcard::take_from_bytes(saved) {
            Ok((STATE_VERSION, rest)) => rest,
            Ok((found, _)) => {
                return Err(damaged(format!("version {found}, wanted {STATE_VERSION}")));
            }
            Err(error) => return Err(damaged(error.to_string())),
        };
        let (Saved { state, image, cursors }, rest) =
            postcard::take_from_bytes(saved).map_err(|error| damaged(error.to_string()))?;
        if !rest.is_empty() {
            return Err(damaged(format!("{} bytes behind its end", rest.len())));
        }
        let schema_id = self.image.head().identity.schema_id;
        if ![&state.book, &state.second].iter().all(|book| book.has_shape(self.config.book_shape()))
            || cursors.len() != self.windows.iter().count()
            || !self.image.copy_from_words(&image)
        {
            return Err(RestoreError::OtherSettings);
        }
        if self.image.head().identity.schema_id != schema_id {
            return Err(RestoreError::OtherSettings);
        }
        self.state = state;
        self.state.reserve();
        self.shown = Shown::default();
        self.has_other_rows = true;
        for (window, [done, revision]) in self.windows.iter_mut().zip(cursors) {
            let rows = rows(window.raw().name());
            if !window.raw().can_restore(done, revision, rows) {
                return Err(RestoreError::OtherSettings);
            }
            window.raw_mut().restore(done, revision, rows);
        }
        Ok(())
    }

    /// Streams whose connections deliver no more and are to be renewed.
    #[must_use]
    pub fn renewal_wanted(&self) -> Option<LinkScope> {
        self.state.renewal_wanted
    }

    /// All levels of a side, from the best on, whatever the book's state: for who looks on.
    pub fn levels(&self, side: Side) -> impl Iterator<Item = Level> + '_ {
        self.state.book.side(side).iter()
    }

    /// The quantity at a price; 0 where no level is held.
    #[must_use]
    pub fn qty_at(&self, side: Side, px: Px) -> Qty {
        self.state.book.side(side).qty_at(px)
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &SymbolConfig {
        &self.config
    }

    /// What was passed over, refused or repaired.
    #[must_use]
    pub fn counters(&self) -> MarketCounters {
        MarketCounters {
            levels_dropped: self.state.book.levels_dropped() + self.state.second.levels_dropped(),
            kline_mismatches: self.state.candles.iter().map(Candles::mismatches).sum(),
            untouched_pivots_dropped: self
                .state
                .studies
                .iter()
                .map(|study| study.structure.untouched_dropped())
                .sum(),
            ..self.state.counters
        }
    }

    /// The snapshot that is needed now, if any. It stays wanted until [`Control::SnapshotRequested`].
    #[must_use]
    pub fn snapshot_wanted(&self) -> Option<SnapshotWanted> {
        self.state.wanted
    }

    /// Whether a 24 h ticker is needed now: nothing else gives a price. It stays wanted until
    /// [`Control::TickerRequested`], or until there is a price.
    #[must_use]
    pub fn ticker_wanted(&self) -> bool {
        self.state.ticker.wanted()
    }

    /// Whether the book is proven and may be used.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.book_state() == BookState::Live
    }

    fn book_state(&self) -> BookState {
        let state = &self.state;
        if state.halted {
            return BookState::Halted;
        }
        match state.sync.state() {
            _ if state.crossed => BookState::Crossed,
            SyncState::Live if state.depth_stalled => BookState::Stale,
            SyncState::Live => BookState::Live,
            // Something waits for a snapshot, asked for or (in a recording) not.
            SyncState::Empty if state.last_depth_recv.is_defined() => BookState::Syncing,
            SyncState::Empty => BookState::Empty,
            SyncState::Syncing => BookState::Syncing,
            SyncState::Gapped => BookState::Gapped,
        }
    }
}

/// Numbered as [`cobring_frame::BOOK_STATES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum BookState {
    Empty = 0,
    Syncing = 1,
    Live = 2,
    Gapped = 3,
    Stale = 4,
    Crossed = 5,
    Halted = 6,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FNV-1a.
    fn digest(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }

    #[test]
    fn a_state_that_changes_has_a_version_of_its_own() {
        let state = postcard::to_allocvec(&State::new(BookShape {
            bucket_ticks: 100,
            range_ticks: 500,
            reach: 64,
            max_levels: 1_000,
        }))
        .unwrap();
        let found = (STATE_VERSION, state.len(), digest(&state));
        assert_eq!(
            found,
            (10, 19_083, 12_129_742_501_577_216_455),
            "raise STATE_VERSION where a field came, went or changed"
        );
    }
}
