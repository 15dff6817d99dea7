//! What comes from outside, as functions of bytes: each may refuse them, none may panic, loop or allocate
//! without bound, and each checks what must hold of that which it accepts.
//!
//! The tests drive them with a corpus and a seeded mutator; the folder `fuzz` inside has the same for cargo-fuzz.
//! Does not: share code with what it checks where there is an independent decoder.
#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a panic is how a target tells what it found"
)]

mod files;
mod market_data;
mod mutate;
mod shared_memory;
mod sockets;

#[path = "../../../engine/json/tests/common/mod.rs"]
mod json_oracle;
#[path = "../../../engine/venue/tests/common/mod.rs"]
mod venue_oracle;

pub use files::{bounds_file, configuration, log_file, recording_line};
pub use market_data::{binance_message, json_parsers, rest_body};
pub use mutate::Mutator;
pub use shared_memory::{counter_file, model_slot, segment};
pub use sockets::{http_upgrade, web_socket_bytes};

/// A function of bytes with what a mutator needs to know of it.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Also the name of its folder in the corpus.
    pub name: &'static str,
    /// Panics where something is wrong.
    pub run: fn(&[u8]),
    /// Inputs that no file holds: formats of ours are made by the code that writes them.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Longest input.
    pub size_bytes_max: usize,
    /// What it may hold at once beyond [`Self::memory_per_byte`].
    pub memory_bytes_max: usize,
    /// What each byte of the input may cost while it is looked at.
    pub memory_per_byte: usize,
    /// Inputs in a run of the tests.
    pub iterations: u32,
}

/// All of them.
pub const TARGETS: [Target; 12] = [
    Target {
        iterations: 15_000,
        ..target("binance_message", binance_message, market_data::messages)
    },
    Target { iterations: 3_000, ..target("rest_body", rest_body, market_data::bodies) },
    Target { iterations: 30_000, ..target("json_parsers", json_parsers, market_data::messages) },
    Target { iterations: 3_000, ..target("web_socket_bytes", web_socket_bytes, sockets::frames) },
    Target { iterations: 2_000, ..target("http_upgrade", http_upgrade, sockets::replies) },
    Target { iterations: 4_000, ..target("segment", segment, shared_memory::segments) },
    Target {
        iterations: 4_000,
        ..target("counter_file", counter_file, shared_memory::counter_files)
    },
    Target { iterations: 1_500, ..target("model_slot", model_slot, shared_memory::model_files) },
    Target { iterations: 500, ..target("log_file", log_file, files::logs) },
    Target { iterations: 5_000, ..target("bounds_file", bounds_file, files::bounds) },
    Target { iterations: 300, ..target("configuration", configuration, files::configurations) },
    Target { iterations: 5_000, ..target("recording_line", recording_line, files::recordings) },
];

const fn target(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target {
        name,
        run,
        seeds,
        size_bytes_max: 64 << 10,
        // Buffers that are kept or begin large: a decoder's, a log's, a parser's for a new size.
        memory_bytes_max: 16 << 20,
        // simd-json's tape and structural indexes take 24 bytes and more for a byte of dense JSON; the
        // independent decoder's tree takes as much again.
        memory_per_byte: 400,
        iterations: 0,
    }
}
