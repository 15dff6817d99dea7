//! The shared-memory contract: segments, frame ring, windows; the writer's and the readers' ends.
#![deny(missing_docs)]

// ── word layer: protocols over shared u64 words ──
mod bell;
mod copy;
mod dir;
mod error;
mod layout;
mod lock;
#[cfg(test)]
mod models;
mod reader;
mod segment;
mod slot;
mod sync;
mod window;
mod words;
mod writer;

pub use dir::{EngineDir, SegmentInfo, SegmentState};
pub use error::FrameError;
pub use layout::{FRAME_SIZE_BYTES_MAX, LAYOUT_VERSION, SegmentSpec, WindowSpec};
pub use reader::{Cursor, Liveness, Next, Reader, WindowReader, WindowView};
pub use segment::Segment;
pub use writer::{FrameRing, RawWindow, Retire};
// ── end of the word layer ──

// ── typed layer: what the words mean ──
mod image;
mod render;
mod rows;
mod schema;
mod typed;

pub use image::{
    BLOCKS, BOOK_LEVELS, BOOK_STATES, Book, CANDLES_PROMISED, Cob, FLOW_WINDOWS_S, Flow,
    FrameArraysMut, FrameHead, FrameImage, FrameLayout, Identity, Imbalance, MAX_FRAME_SIZE_BYTES,
    Quality, REASONS, TICKS_PROMISED, TOP_SOURCES, TRIGGERS, Times, Top, Trigger, WINDOWS,
};
pub use rows::{
    CANDLE_FLAGS, CANDLE_FLAT, CANDLE_HOLE, CANDLE_INCOMPLETE, CANDLE_PARTIAL, CANDLE_REPAIRED,
    CANDLE_REST, CandleRow, SIDE_NONE, SIDES, TICK_KINDS, TICK_QUOTE, TICK_TRADE, TickRow, UNDEF,
};
pub use schema::{Field, FieldDef, Names, Record, RecordSchema, Scalar, Schema, WindowSchema};
pub use typed::Window;
// ── end of the typed layer ──
