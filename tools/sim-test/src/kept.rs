//! The log of a simulated run: inputs in memory.

use std::sync::{Arc, Mutex, PoisonError};

use cobring_pipeline::ingest::InputLog;
use cobring_types::{Input, InputKind, LinkScope, Nanos, Stamp, SymbolIndex};

use crate::truth::Truth;

/// An input that outlives its message.
#[derive(Debug, Clone)]
pub(crate) struct KeptInput {
    pub(crate) stamp: Stamp,
    kind: InputKind,
    symbol: SymbolIndex,
    connection: u16,
    aux: u32,
    ts_aux: Nanos,
    bytes: Box<[u8]>,
}

impl KeptInput {
    fn of(input: &Input<'_>) -> Self {
        let Input { stamp, kind, symbol, connection, aux, ts_aux, bytes } = *input;
        Self { stamp, kind, symbol, connection, aux, ts_aux, bytes: bytes.into() }
    }

    pub(crate) fn as_input(&self) -> Input<'_> {
        let Self { stamp, kind, symbol, connection, aux, ts_aux, bytes } = self;
        Input {
            stamp: *stamp,
            kind: *kind,
            symbol: *symbol,
            connection: *connection,
            aux: *aux,
            ts_aux: *ts_aux,
            bytes,
        }
    }
}

/// Keeps inputs where that is wished, and tells the truth which links stand.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) kept: Option<Vec<KeptInput>>,
    pub(crate) truth: Arc<Mutex<Truth>>,
}

impl InputLog for Keeper {
    fn log(&mut self, input: &Input<'_>) {
        if let InputKind::LinkUp | InputKind::LinkDown = input.kind {
            let mut truth = self.truth.lock().unwrap_or_else(PoisonError::into_inner);
            let is_up = input.kind == InputKind::LinkUp;
            truth.on_link(input.stamp.ts_recv, input.connection, LinkScope(input.aux), is_up);
        }
        if let Some(kept) = &mut self.kept {
            kept.push(KeptInput::of(input));
        }
    }

    fn flush_pending(&mut self) {}

    fn lost_due(&self, _: Nanos) -> Option<u64> {
        None
    }

    fn wants_checkpoint(&self, _: Nanos) -> bool {
        false
    }
}
