//! What is read from recordings: snapshots, and the depth messages that go beyond them.

use std::error::Error;
use std::path::PathBuf;

use cobring_market::SymbolConfig;
use cobring_pipeline::config::Config;
use cobring_pipeline::recording::Recording;
use cobring_types::{Event, Level, Stamp, SymbolIndex};
use cobring_venue::binance::Decoder;

/// A symbol, and what its book begins with.
pub(crate) struct Symbol {
    pub(crate) config: SymbolConfig,
    /// As it came, and as we read it.
    pub(crate) snapshot: String,
    pub(crate) limit: u32,
    pub(crate) last_update_id: u64,
    pub(crate) bids: Vec<Level>,
    pub(crate) asks: Vec<Level>,
}

pub(crate) struct Message {
    /// Index of its symbol.
    pub(crate) symbol: usize,
    pub(crate) ts_recv_ns: u64,
    pub(crate) last_update_id: u64,
    /// `{"stream":…,"data":EVENT}`
    pub(crate) combined: String,
    /// The event alone, as who subscribes to one stream gets it.
    pub(crate) raw: String,
}

impl Message {
    /// Reads all of it, so that it lies in the caches; a number, so that this is not left out.
    pub(crate) fn touch(&self) -> u64 {
        let bytes = self.combined.bytes().chain(self.raw.bytes());
        bytes.fold(0, |sum, byte| sum.wrapping_add(byte.into()))
    }
}

pub(crate) struct Recorded {
    pub(crate) symbols: Vec<Symbol>,
    pub(crate) messages: Vec<Message>,
}

/// Of each symbol the snapshot and the messages that go beyond it; they are wanted without a gap.
pub(crate) fn load(files: &[PathBuf]) -> Result<Recorded, Box<dyn Error>> {
    let configs = Config::built_in().symbol_configs();
    let instruments = configs.iter().map(|config| config.instrument.clone()).collect();
    let empty = |config| {
        let (snapshot, bids, asks) = Default::default();
        Symbol { config, snapshot, limit: 0, last_update_id: 0, bids, asks }
    };
    let mut symbols: Vec<Symbol> = configs.into_iter().map(empty).collect();
    let mut messages = Vec::new();
    let mut decoder = Decoder::new(instruments);
    let mut recording = Recording::open(files)?;
    while let Some(line) = recording.next()? {
        let is_line_of =
            |held: &Symbol| line.symbol == Some(held.config.instrument.symbol.as_str());
        let index = match symbols.iter().position(is_line_of) {
            Some(at) if line.snapshot => SymbolIndex(u16::try_from(at)?),
            _ => SymbolIndex::NONE,
        };
        let input = line.input(0, index);
        let text = std::str::from_utf8(line.bytes)?;
        decoder.decode(&input, &mut |_: &Stamp, index: SymbolIndex, event: &Event<'_>| {
            let symbol = &mut symbols[index.at()];
            match event {
                Event::Snapshot(snapshot) => {
                    symbol.snapshot = text.to_owned();
                    symbol.limit = snapshot.limit;
                    symbol.last_update_id = snapshot.last_update_id;
                    symbol.bids = snapshot.bids.to_vec();
                    symbol.asks = snapshot.asks.to_vec();
                }
                Event::Depth(update) => messages.push(Message {
                    symbol: index.at(),
                    ts_recv_ns: line.ts_recv.0.cast_unsigned(),
                    last_update_id: update.last_update_id,
                    combined: text.to_owned(),
                    raw: raw_event(text).to_owned(),
                }),
                _ => {}
            }
        })?;
    }
    if symbols.iter().any(|symbol| symbol.bids.is_empty()) {
        return Err(
            "the recordings of BTCUSDT and of ETHUSDT are wanted, each with a snapshot".into()
        );
    }
    // One that reaches beyond its snapshot may have come before it.
    messages.retain(|message: &Message| {
        message.last_update_id > symbols[message.symbol].last_update_id
    });
    Ok(Recorded { symbols, messages })
}

/// The event in `{"stream":…,"data":EVENT}`.
fn raw_event(combined: &str) -> &str {
    let event = combined.split_once(",\"data\":").and_then(|(_, rest)| rest.strip_suffix('}'));
    event.unwrap_or(combined)
}
