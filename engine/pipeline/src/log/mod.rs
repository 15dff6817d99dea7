//! The input log: every input of a run as it entered, so that a replay folds the same ones.
//!
//! Guarantees: what was written before a cut, at any byte, is readable; a flipped bit is found; a hole
//! in the numbering is only ever right before a
//! [`InputKind::LogLost`](cobring_types::InputKind::LogLost) record; the writer's feeder never waits.
//! Needs: one feeder, an answer to each `Checkpoint` input. Does not: number or stamp inputs, know what
//! a checkpoint holds, read a clock, delete what a restart begins from.
//!
//! # Format, version 1
//!
//! All numbers are little-endian. A file is a header, a checkpoint section and records; each begins at a
//! multiple of 8 bytes and is padded with zeros to one. A closed file may be compressed by gzip or zstd
//! as a whole.
//!
//! | header | bytes | |
//! |---|---|---|
//! | 0 | 8 | magic, `CBLOG\r\n\x1a` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | length of the header in bytes, padding included |
//! | 16 | 8 | epoch |
//! | 24 | 8 | `input_seq` of the first record that belongs here |
//! | 32 | 8 | start of the file, ns UTC: stamp of the input at which it was begun |
//! | 40 | 32 | digest of the configuration |
//! | 72 | 4 | length of the configuration's text in bytes |
//! | 76 | 4 | number of symbols |
//! | 80 | 4 | crc32c of the venue's addresses, 0 for a replay |
//! | 84 | 4 | crc32c of the header without this field |
//! | 88 | … | the configuration's text (UTF-8), then for each symbol, in index order, a length byte and its text |
//!
//! | checkpoint | bytes | |
//! |---|---|---|
//! | 0 | 4 | magic, `CKPT` |
//! | 4 | 4 | 0 initial: the fold begins empty; 1 taken: its state follows; 2 missing: it is unknown; 3 resumed: what the run before left follows |
//! | 8 | 8 | `input_seq` that the state is after, 0 where not taken |
//! | 16 | 8 | length as stored, in bytes, padding excluded |
//! | 24 | 8 | length uncompressed |
//! | 32 | 4 | crc32c of this section without this field, padding included |
//! | 36 | 4 | reserved, 0 |
//! | 40 | … | a zstd frame, empty where not taken, of: state length (8), state, number of blobs (4), and for each blob: name length (2), name (UTF-8), length (8), bytes |
//!
//! | record | bytes | |
//! |---|---|---|
//! | 0 | 4 | length of the payload in bytes, at most 64 MiB |
//! | 4 | 4 | crc32c of the record without this field, padding included |
//! | 8 | 1 | kind: [`InputKind`](cobring_types::InputKind) |
//! | 9 | 1 | flags, 0 |
//! | 10 | 2 | connection |
//! | 12 | 2 | symbol, 65535 for none |
//! | 14 | 2 | reserved, 0 |
//! | 16 | 4 | `aux` |
//! | 20 | 4 | reserved, 0 |
//! | 24 | 8 | `input_seq` |
//! | 32 | 8 | `ts_recv`, ns |
//! | 40 | 8 | `ts_kernel`, ns, the least i64 for none |
//! | 48 | 8 | `ts_aux`, ns, the least i64 for none |
//! | 56 | … | payload |
//!
//! A `Checkpoint` record is the last of its file, unless its state was left out: then the file goes on. The
//! next file begins with the fold's state after that input, and with the input after it. A file whose name
//! ends in `.cblog` has a complete header and checkpoint: it gets that name when they are on the disk.

mod checkpoint;
mod compress;
mod disk;
mod error;
mod file;
mod header;
mod helper;
mod keeper;
mod manifest;
mod reader;
mod record;
mod records;
mod scan;
mod writer;

#[cfg(test)]
mod tests;

pub use checkpoint::{Checkpoint, CheckpointBlob, LogStart};
pub use disk::{Disk, DiskFile, RealDisk};
pub use error::LogError;
pub use file::{LogFile, log_files, newest_run, plain_name, run_of_epoch};
pub use header::{LOG_VERSION, LogHeader, is_log_file};
pub use manifest::{FileFacts, MANIFEST_NAME, Manifest};
pub use reader::{LogReader, Torn};
pub use record::PAYLOAD_BYTES_MAX;
pub use scan::{LogScan, Scanned};
pub use writer::{
    CheckpointSender, LogConfig, LogProducer, LogReport, LogStats, LogStatus, LogWriter,
};
