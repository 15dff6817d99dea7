//! The pipeline: sockets, REST, clock, input log, rings, stages and their supervision; live and replay.
//!
//! Guarantees: everything that changes state is one ordered log of inputs, stamped and numbered at one
//! place; frames are a fold over it. From decrypted bytes to frame nothing is allocated, locked or logged
//! once warm. Does not: know what a venue's bytes mean (`venue`) or what state follows (`market`).

pub mod bounds_file;
pub mod checkpoints;
pub mod clock;
pub mod config;
pub mod cores;
pub mod counters;
pub mod events;
pub mod fold;
mod frame_hash;
pub mod idle;
pub mod ingest;
pub mod klines_archive;
pub mod live;
pub mod log;
pub mod memory;
mod models;
pub mod net;
pub mod recording;
pub mod replay;
pub mod ring;
pub mod sequencer;
mod source;
pub mod stages;
pub mod survey;
pub mod utc;
mod warm_start;

pub use frame_hash::FrameDigest;
pub use models::ModelReport;
