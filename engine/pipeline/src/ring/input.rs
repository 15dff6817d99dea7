//! Inputs as records.

use cobring_types::{Input, InputKind, Nanos, Stamp, SymbolIndex};

use super::{Full, RecordConsumer, RecordProducer};

/// Words of an input's head. With the record's header this is one cache line.
const INPUT_HEAD_WORDS: usize = 7;

impl RecordProducer {
    /// Hands over an input, as [`Self::try_push`] does.
    ///
    /// # Errors
    /// [`Full`] where there is no room for it now.
    pub fn push_input(&mut self, input: &Input<'_>) -> Result<(), Full> {
        let Input { stamp, kind, symbol, connection, aux, ts_aux, bytes } = *input;
        let head: [u64; INPUT_HEAD_WORDS] = [
            u64::from(kind as u8) | u64::from(connection) << 16 | u64::from(symbol.0) << 32,
            u64::from(aux),
            stamp.input_seq,
            stamp.ts_recv.0.cast_unsigned(),
            stamp.ts_kernel.0.cast_unsigned(),
            stamp.ts_parsed.0.cast_unsigned(),
            ts_aux.0.cast_unsigned(),
        ];
        self.try_push(&head, bytes)
    }
}

impl RecordConsumer {
    /// Takes the next input of a ring that holds nothing but inputs.
    pub fn pop_input<R>(&mut self, read: impl FnOnce(Input<'_>) -> R) -> Option<R> {
        self.pop(|head, bytes| read(input_of(head, bytes)))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the fields are cut to their widths")]
pub(crate) fn input_of<'a>(head: &[u64], bytes: &'a [u8]) -> Input<'a> {
    let &[what, aux, input_seq, ts_recv, ts_kernel, ts_parsed, ts_aux] =
        <&[u64; INPUT_HEAD_WORDS]>::try_from(head).expect("invariant: the ring holds inputs only");
    Input {
        stamp: Stamp {
            input_seq,
            ts_recv: Nanos(ts_recv.cast_signed()),
            ts_kernel: Nanos(ts_kernel.cast_signed()),
            ts_parsed: Nanos(ts_parsed.cast_signed()),
        },
        kind: InputKind::from_u8(what as u8).expect("invariant: push_input wrote it"),
        symbol: SymbolIndex((what >> 32) as u16),
        connection: (what >> 16) as u16,
        aux: aux as u32,
        ts_aux: Nanos(ts_aux.cast_signed()),
        bytes,
    }
}
