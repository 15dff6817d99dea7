//! Tests of the log: its files here and in `format`, its helper thread in `writer`.

mod format;
mod keeper;
mod recordings;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use cobring_types::{Input, InputKind, Nanos, Stamp, Symbol, SymbolIndex};

use super::*;

/// An input with its bytes owned.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owned {
    stamp: Stamp,
    kind: InputKind,
    symbol: SymbolIndex,
    connection: u16,
    aux: u32,
    ts_aux: Nanos,
    bytes: Vec<u8>,
}

impl Owned {
    fn new(input_seq: u64, kind: InputKind, bytes: &[u8]) -> Self {
        Self {
            stamp: Stamp {
                input_seq,
                ts_recv: Nanos(1_723_161_253_937_085_768 + i64::try_from(input_seq).unwrap()),
                ts_kernel: Nanos::UNDEF,
                ts_parsed: Nanos::UNDEF,
            },
            kind,
            symbol: SymbolIndex::NONE,
            connection: 3,
            aux: 0,
            ts_aux: Nanos::UNDEF,
            bytes: bytes.to_vec(),
        }
    }

    fn text(input_seq: u64) -> Self {
        let length = usize::try_from(input_seq * 7 % 90).unwrap();
        Self::new(input_seq, InputKind::Text, &vec![b'a' + input_seq.to_le_bytes()[0] % 26; length])
    }

    fn lost(input_seq: u64, inputs: u64) -> Self {
        let ts_aux = Nanos(i64::try_from(inputs).unwrap());
        Self { ts_aux, ..Self::new(input_seq, InputKind::LogLost, b"") }
    }

    fn of(input: &Input<'_>) -> Self {
        let Input { stamp, kind, symbol, connection, aux, ts_aux, bytes } = *input;
        Self { stamp, kind, symbol, connection, aux, ts_aux, bytes: bytes.to_vec() }
    }

    fn as_input(&self) -> Input<'_> {
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

fn header(first_input_seq: u64) -> LogHeader {
    LogHeader {
        venue_digest: 7,
        epoch: 42,
        first_input_seq,
        ts_start: Nanos(1_723_161_253_937_085_768 + i64::try_from(first_input_seq).unwrap()),
        config_digest: [0x5a; 32],
        config: "[[symbols]]\nname = \"ETHUSDT\"\n".to_owned(),
        symbols: vec![Symbol::new("ETHUSDT").unwrap(), Symbol::new("BTCUSDT").unwrap()],
    }
}

fn checkpoint(input_seq: u64) -> Checkpoint {
    let blob =
        |name: &str, byte: u8| CheckpointBlob { name: name.to_owned(), bytes: vec![byte; 5_000] };
    Checkpoint {
        input_seq,
        state: format!("state after {input_seq}").into_bytes(),
        blobs: vec![blob("ETHUSDT/candles_1s", 1), blob("", 0), blob("BTCUSDT/ticks", 2)],
    }
}

fn write(dir: &Path, header: &LogHeader, start: &LogStart, inputs: &[Owned]) -> PathBuf {
    let mut file = LogFile::create(dir, header, start).unwrap();
    for input in inputs {
        file.append(&input.as_input()).unwrap();
    }
    file.finish().unwrap()
}

/// All inputs, then the error if there is one.
fn read_all(reader: &mut LogReader) -> (Vec<Owned>, Option<LogError>) {
    let mut inputs = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(input)) => inputs.push(Owned::of(&input)),
            Ok(None) => return (inputs, None),
            Err(error) => return (inputs, Some(error)),
        }
    }
}

fn read_whole<P: AsRef<Path>>(paths: &[P]) -> Vec<Owned> {
    let mut reader = LogReader::open(paths).unwrap();
    let (inputs, error) = read_all(&mut reader);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(reader.torn(), []);
    inputs
}
