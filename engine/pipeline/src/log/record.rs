//! One record: bytes of an input and back. The layout is in the module's documentation.

use cobring_types::{Input, InputKind, Nanos, Stamp, SymbolIndex};

/// The most bytes that an input in the log can have.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 20;

pub(super) const ALIGN_BYTES: usize = 8;
pub(super) const HEAD_BYTES: usize = 56;
const CRC_AT: usize = 4;
const AFTER_CRC: usize = 8;

/// Appends the record of `input`, whose bytes are at most [`PAYLOAD_BYTES_MAX`].
pub(super) fn append(buffer: &mut Vec<u8>, input: &Input<'_>) {
    let Input { stamp, kind, symbol, connection, aux, ts_aux, bytes } = *input;
    let length = u32::try_from(bytes.len()).expect("invariant: at most PAYLOAD_BYTES_MAX");
    let start = buffer.len();
    let mut head = [0; HEAD_BYTES];
    head[0..4].copy_from_slice(&length.to_le_bytes());
    head[8] = kind as u8;
    head[10..12].copy_from_slice(&connection.to_le_bytes());
    head[12..14].copy_from_slice(&symbol.0.to_le_bytes());
    head[16..20].copy_from_slice(&aux.to_le_bytes());
    head[24..32].copy_from_slice(&stamp.input_seq.to_le_bytes());
    head[32..40].copy_from_slice(&stamp.ts_recv.0.to_le_bytes());
    head[40..48].copy_from_slice(&stamp.ts_kernel.0.to_le_bytes());
    head[48..56].copy_from_slice(&ts_aux.0.to_le_bytes());
    buffer.extend_from_slice(&head);
    buffer.extend_from_slice(bytes);
    pad(buffer);
    let crc = checksum(&buffer[start..]);
    buffer[start + CRC_AT..start + AFTER_CRC].copy_from_slice(&crc.to_le_bytes());
}

/// Pads with zeros to a multiple of 8 bytes; `buffer` begins at one.
pub(super) fn pad(buffer: &mut Vec<u8>) {
    buffer.resize(buffer.len().next_multiple_of(ALIGN_BYTES), 0);
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

pub(super) fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(array_at(bytes, at))
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("invariant: N bytes were taken")
}

/// Of a whole record.
fn checksum(record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&record[..CRC_AT]), &record[AFTER_CRC..])
}

/// What the first bytes of a record say about its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// It has that many bytes, padding included.
    Bytes(usize),
    /// No writer made this.
    Bad(&'static str),
}

/// From the first [`HEAD_BYTES`] of a record.
pub(super) fn size(head: &[u8]) -> Size {
    let length = u32_at(head, 0) as usize;
    if length > PAYLOAD_BYTES_MAX {
        return Size::Bad("its length is above 64 MiB");
    }
    // A file that a crash left with unwritten blocks reads as zeros, whose checksum is 0.
    if head[8] == 0 {
        return Size::Bad("its kind is 0");
    }
    if head[9] != 0 || u16_at(head, 14) != 0 || u32_at(head, 20) != 0 {
        return Size::Bad("its reserved bytes are not 0");
    }
    Size::Bytes((HEAD_BYTES + length).next_multiple_of(ALIGN_BYTES))
}

pub(super) fn is_intact(record: &[u8]) -> bool {
    u32_at(record, CRC_AT) == checksum(record)
}

pub(super) fn kind_number(record: &[u8]) -> u8 {
    record[8]
}

pub(super) fn input_seq(record: &[u8]) -> u64 {
    u64_at(record, 24)
}

/// The input of an intact record.
pub(super) fn decode(record: &[u8], kind: InputKind) -> Input<'_> {
    let length = u32_at(record, 0) as usize;
    Input {
        stamp: Stamp {
            input_seq: input_seq(record),
            ts_recv: Nanos(i64_at(record, 32)),
            ts_kernel: Nanos(i64_at(record, 40)),
            ts_parsed: Nanos::UNDEF,
        },
        kind,
        symbol: SymbolIndex(u16_at(record, 12)),
        connection: u16_at(record, 10),
        aux: u32_at(record, 16),
        ts_aux: Nanos(i64_at(record, 48)),
        bytes: &record[HEAD_BYTES..HEAD_BYTES + length],
    }
}
