//! What the tests share: fixtures, a sink that keeps events, and an independent decoder.
#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::unwrap_used, reason = "test code")]

pub(crate) mod differential;
pub(crate) mod oracle;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use cobring_types::{
    BarInterval, Control, Event, Input, InputKind, Instrument, InstrumentStatus, Kline,
    KlineSource, Level, ModelIndex, Nanos, PastTrade, Quote, Stamp, SymbolIndex, Ticker, Trade,
    TradeStream,
};
use cobring_venue::binance::Decoder;
use cobring_venue::{DecodeError, Decoded};

/// An event with its levels copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owned {
    Depth {
        ts_event: Nanos,
        first: u64,
        last: u64,
        bids: Vec<Level>,
        asks: Vec<Level>,
    },
    Snapshot {
        last_update_id: u64,
        limit: u32,
        bids: Vec<Level>,
        asks: Vec<Level>,
    },
    Quote(Quote),
    Trade(Trade),
    Ticker(Ticker),
    Trades {
        stream: TradeStream,
        rows: Vec<PastTrade>,
    },
    Klines {
        interval: BarInterval,
        source: KlineSource,
        rows: Vec<Kline>,
    },
    ServerTime {
        server: Nanos,
        sent: Nanos,
    },
    Instrument {
        status: InstrumentStatus,
        tick_matches: bool,
    },
    /// With the record's bytes.
    Model(ModelIndex, Vec<u8>),
    Bounds(Vec<u8>),
    Control(Control),
}

impl From<&Event<'_>> for Owned {
    fn from(event: &Event<'_>) -> Self {
        match *event {
            Event::Depth(update) => Self::Depth {
                ts_event: update.ts_event,
                first: update.first_update_id,
                last: update.last_update_id,
                bids: update.bids.to_vec(),
                asks: update.asks.to_vec(),
            },
            Event::Snapshot(snapshot) => Self::Snapshot {
                last_update_id: snapshot.last_update_id,
                limit: snapshot.limit,
                bids: snapshot.bids.to_vec(),
                asks: snapshot.asks.to_vec(),
            },
            Event::Quote(quote) => Self::Quote(quote),
            Event::Trade(trade) => Self::Trade(trade),
            Event::Ticker(ticker) => Self::Ticker(*ticker),
            Event::Trades { stream, rows } => Self::Trades { stream, rows: rows.to_vec() },
            Event::Klines { interval, source, rows } => {
                Self::Klines { interval, source, rows: rows.to_vec() }
            }
            Event::ServerTime { server, sent } => Self::ServerTime { server, sent },
            Event::Instrument { status, tick_matches } => Self::Instrument { status, tick_matches },
            Event::Bounds { bytes } => Self::Bounds(bytes.to_vec()),
            Event::Model { model, output } => Self::Model(model, output.as_bytes().to_vec()),
            Event::Control(control) => Self::Control(control),
        }
    }
}

pub(crate) const BTC: SymbolIndex = SymbolIndex(0);
pub(crate) const ETH: SymbolIndex = SymbolIndex(1);
pub(crate) const NKN: SymbolIndex = SymbolIndex(2);

pub(crate) fn instruments() -> Vec<Instrument> {
    [("BTCUSDT", "0.01"), ("ETHUSDT", "0.01"), ("NKNUSDT", "0.0001")]
        .map(|(symbol, tick)| Instrument::new(symbol, tick, 8).unwrap())
        .into()
}

pub(crate) fn decoder() -> Decoder {
    Decoder::new(instruments())
}

pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let path = workspace().join("tests/fixtures/binance").join(format!("{name}.json"));
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All fixtures whose names begin so, in order of names.
pub(crate) fn fixtures(prefix: &str) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<_> = fs::read_dir(workspace().join("tests/fixtures/binance"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .filter(|name| name.starts_with(prefix))
        .map(|name| (name.clone(), fixture(&name)))
        .collect();
    found.sort();
    found
}

/// The recordings, or `None` after a word about it; with CI=true their absence is a failure.
pub(crate) fn recordings() -> Option<Vec<PathBuf>> {
    let folder = workspace().join("../shared/recordings/binance-spot");
    let Ok(entries) = fs::read_dir(&folder) else {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "no recordings at {}",
            folder.display()
        );
        // Past the test harness, which keeps what a passing test prints.
        std::io::stderr().write_all(b"skipped: no recordings\n").unwrap();
        return None;
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    Some(paths)
}

pub(crate) const STAMP: Stamp =
    Stamp { input_seq: 7, ts_recv: Nanos(1_000), ts_kernel: Nanos::UNDEF, ts_parsed: Nanos::UNDEF };

pub(crate) fn input(kind: InputKind, bytes: &[u8]) -> Input<'_> {
    let (symbol, connection, aux, ts_aux) = (SymbolIndex::NONE, 0, 0, Nanos::UNDEF);
    Input { stamp: STAMP, kind, symbol, connection, aux, ts_aux, bytes }
}

pub(crate) type Outcome = (Result<Decoded, DecodeError>, Vec<(SymbolIndex, Owned)>);

pub(crate) fn decode(decoder: &mut Decoder, input: &Input<'_>) -> Outcome {
    let mut events = Vec::new();
    let decoded = decoder.decode(input, &mut |stamp: &Stamp, symbol, event: &Event<'_>| {
        assert_eq!(*stamp, input.stamp);
        events.push((symbol, Owned::from(event)));
    });
    match decoded {
        Ok(Decoded::Events(count)) => assert_eq!(usize::try_from(count), Ok(events.len())),
        _ => assert_eq!(events, [], "{decoded:?}"),
    }
    (decoded, events)
}

pub(crate) fn decode_text(text: &[u8]) -> Outcome {
    decode(&mut decoder(), &input(InputKind::Text, text))
}
