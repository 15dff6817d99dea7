//! The shared-memory contract: segments, frame ring, windows; the writer's and the readers' ends.
#![deny(missing_docs)]

// ── word layer: protocols over shared u64 words ──
mod bell;
mod bell_guard;
mod copy;
mod counter_file;
mod dir;
mod error;
mod file_words;
mod histogram;
mod layout;
mod lock;
mod model_file;
mod model_slots;
mod model_writer;
#[cfg(test)]
mod models;
mod reader;
mod segment;
mod slot;
mod subscriber;
mod sync;
mod window;
mod window_reader;
mod words;
mod writer;

pub use copy::prefetch_for_write;
pub use counter_file::{CounterFile, CounterRow, CounterTable, create_counters};
pub use dir::{EngineDir, SegmentInfo, SegmentState};
pub use error::FrameError;
pub use histogram::{Histogram, SpanSummary};
pub use layout::{FRAME_SIZE_BYTES_MAX, LAYOUT_VERSION, SegmentSpec, WindowSpec};
pub use model_file::is_model_name;
pub use model_writer::ModelWriter;
pub use reader::{Liveness, Next, Reader};
pub use segment::Segment;
pub use subscriber::{SubscriberInfo, sweep_subscribers};
pub use writer::{FrameRing, RawWindow, Retire};
// ── end of the word layer ──

// ── typed layer: what the words mean ──
mod access;
mod blocks;
mod heatmap;
mod image;
mod model_poller;
mod model_watch;
mod render;
mod rows;
mod schema;
mod stage;
mod typed;
mod validate;
mod windows;

pub use blocks::{
    BLOCKS, BOOK_LEVELS, BOOK_STATES, Book, Cob, FLOW_WINDOWS_S, Flow, Identity, Imbalance,
    PRICE_SOURCES, PivotBounds, PivotLevel, Price, Quality, REASONS, TOP_SOURCES, TRIGGERS, Times,
    Top, Trigger,
};
pub use heatmap::{COB_ROWS, Heatmap, HeatmapError, Metric};
pub use image::{
    FrameArraysMut, FrameBuckets, FrameHead, FrameImage, FrameLayout, MAX_FRAME_SIZE_BYTES,
};
pub use model_poller::{ModelCounters, ModelPoller, ModelRules};
pub use model_watch::{ModelWatch, Written};
pub use rows::{
    BookStateRow, CANDLE_FLAGS, CANDLE_FLAT, CANDLE_HOLE, CANDLE_INCOMPLETE, CANDLE_PARTIAL,
    CANDLE_REPAIRED, CANDLE_REST, COB_ROW_BUCKETS, CandleRow, CobRow, IndicatorRow,
    MODEL_OUTPUTS_MAX, MODEL_STATE_MAX, ModelRow, PIVOT_KINDS, PivotRow, SIDE_NONE, SIDES,
    TICK_KINDS, TICK_QUOTE, TICK_TRADE, TickRow, TickerRow, UNDEF,
};
pub use schema::{Field, FieldDef, Names, Record, RecordSchema, Scalar, Schema, WindowSchema};
pub use stage::{STAGES, Stage};
pub use typed::Window;
pub use validate::{Finding, MIN_QUALITY, Require, Severity};
pub use window_reader::{Cursor, WindowReader, WindowView};
pub use windows::{
    AnyWindow, BAR_INTERVALS, BAR_INTERVALS_NS, BOOK_STATES_PROMISED, CANDLES_PROMISED,
    COB_ROWS_PROMISED, MODELS_MAX, PIVOT_LEVELS, STUDIED_INTERVALS, TICKS_PROMISED, WINDOWS,
    WindowRows, Windows, model_window_name, place,
};
// ── end of the typed layer ──
