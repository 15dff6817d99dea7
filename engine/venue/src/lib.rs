//! Exchange protocols: bytes in, events and requests out, and the rules that keep a book in sync and join connections.
//!
//! Guarantees: no sockets, no clock, no allocation per message once warm, no bytes panic; the same
//! inputs give the same events. A message is all or nothing: no event where any part of it is bad.
//! Does not: keep order books, decide when to connect or ask.
#![forbid(unsafe_code)]

pub mod binance;
mod decode;
mod depth_buffer;
mod merge;
mod registry;
mod sync;

pub use cobring_json::MAX_MESSAGE_SIZE_BYTES;
pub use decode::{
    DecodeCounters, DecodeError, DecodeErrorKind, Decoded, EventSink, limit_of_recorded_snapshot,
};
pub use depth_buffer::DepthBufferCapacity;
pub use merge::{DepthMerge, MERGE_WAIT, Merged, TradeMerge};
pub use registry::Venue;
pub use sync::{Audit, BookSync, DepthVerdict, SnapshotVerdict, SyncCounters, SyncState};
