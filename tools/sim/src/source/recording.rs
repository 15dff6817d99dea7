//! A market that was recorded: files merged by receive time, messages relayed verbatim.
//!
//! Guarantees: file order breaks ties, then line order; a stamp smaller than the last is raised to it. A snapshot
//! line belongs to the symbol of its file's first combined message; a file with several symbols and a snapshot
//! is refused before play. Does not: hold more than one line of each file in memory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::reader::{Line, LineReader};
use super::symbols::SymbolSpec;
use super::{Body, BookTicker, DepthUpdate, MarketEvent, MarketSource, Opening, Recorded, Trade};
use crate::book::{Book, Level};
use crate::decimal::Fixed;
use crate::error::SimError;

/// What came before a recording is made up from it, and ends at the recording's first trade.
const HISTORY_SEED: u64 = 1;

/// One or several recorded files as one market.
pub struct Recording {
    files: Vec<OpenFile>,
    symbols: Vec<SymbolSpec>,
    recorded_streams: BTreeSet<String>,
    /// By symbol; `None` without a trade.
    first_trades: Vec<Option<Trade>>,
    first_recv_ns: i64,
    start_ms: i64,
    last_ns: i64,
    message_count: u64,
}

struct OpenFile {
    reader: LineReader,
    /// Symbol of snapshot lines.
    symbol: usize,
    next: Option<Line>,
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recording")
            .field("symbols", &self.symbols)
            .field("messages", &self.message_count)
            .finish()
    }
}

impl Recording {
    /// Opens the files and reads each once, to know symbols and streams before play.
    ///
    /// # Errors
    /// A file cannot be read, holds no message, or breaks the rule about snapshots.
    pub fn open(paths: &[PathBuf]) -> Result<Self, SimError> {
        let mut recording = Self {
            files: Vec::with_capacity(paths.len()),
            symbols: Vec::new(),
            recorded_streams: BTreeSet::new(),
            first_trades: Vec::new(),
            first_recv_ns: i64::MAX,
            start_ms: i64::MAX,
            last_ns: 0,
            message_count: 0,
        };
        for path in paths {
            recording.add_file(path)?;
        }
        if recording.files.is_empty() {
            return Err(SimError::Config {
                key: "recording",
                value: "[]".into(),
                rule: "must name at least one file",
            });
        }
        if recording.start_ms == i64::MAX {
            recording.start_ms = recording.first_recv_ns / 1_000_000;
        }
        Ok(recording)
    }

    /// Lines of all files.
    #[must_use]
    pub fn message_count(&self) -> u64 {
        self.message_count
    }

    fn add_file(&mut self, path: &Path) -> Result<(), SimError> {
        let survey = Survey::of(path)?;
        let refuse =
            |reason: &str| SimError::Recording { path: path.to_owned(), reason: reason.to_owned() };
        let Some(first) = survey.symbols.first() else {
            return Err(refuse("holds no combined-stream message"));
        };
        if survey.symbols.len() > 1 && survey.has_snapshot {
            return Err(refuse("holds several symbols and a snapshot line, which names no symbol"));
        }
        for (name, first_trade) in survey.symbols.iter().zip(survey.first_trades) {
            if let Some(index) = self.symbols.iter().position(|spec| spec.name == *name) {
                self.symbols[index].has_snapshot |= survey.has_snapshot;
                let known = self.first_trades[index].into_iter().chain(first_trade);
                self.first_trades[index] = known.min_by_key(|trade| trade.id);
                continue;
            }
            self.first_trades.push(first_trade);
            let mut spec = SymbolSpec { has_snapshot: survey.has_snapshot, ..SymbolSpec::of(name) };
            if let Some(tick) = survey.tick.filter(|_| !SymbolSpec::is_known(name)) {
                spec.tick = tick;
            }
            self.symbols.push(spec);
        }
        let symbol = self.symbols.iter().position(|spec| spec.name == *first).unwrap_or_default();
        self.recorded_streams.extend(survey.streams);
        self.first_recv_ns = self.first_recv_ns.min(survey.first_recv_ns);
        self.start_ms = self.start_ms.min(survey.first_venue_ms.unwrap_or(i64::MAX));
        self.message_count += survey.line_count;
        let mut reader = LineReader::open(path)?;
        let next = reader.next_line()?;
        self.files.push(OpenFile { reader, symbol, next });
        Ok(())
    }

    fn event_of(&self, file: &OpenFile, line: &Line, at_ns: i64) -> Result<MarketEvent, SimError> {
        let bad = |reason: &dyn std::fmt::Display| {
            file.reader.bad_line(&format!("not a known message: {reason}"))
        };
        let message: RawMessage<'_> =
            serde_json::from_str(&line.message).map_err(|error| bad(&error))?;
        let (Some(stream), Some(data)) = (message.stream, message.data) else {
            let snapshot: RawSnapshot =
                serde_json::from_str(&line.message).map_err(|error| bad(&error))?;
            let book = Book::from_levels(snapshot.last_update_id, &snapshot.bids, &snapshot.asks);
            let symbol = file.symbol;
            return Ok(MarketEvent {
                at_ns,
                symbol,
                venue_ms: None,
                body: Body::Snapshot(book),
                recorded: None,
            });
        };
        let name = symbol_of(&stream).to_uppercase();
        let symbol = self.symbols.iter().position(|spec| spec.name == name);
        let symbol =
            symbol.ok_or_else(|| bad(&"its symbol was not there when the file was opened"))?;
        let (venue_ms, body) = body_of(&stream, data.get()).map_err(|error| bad(&error))?;
        let recorded = Recorded { stream: stream.into_owned(), data: data.get().to_owned() };
        Ok(MarketEvent { at_ns, symbol, venue_ms, body, recorded: Some(recorded) })
    }
}

impl MarketSource for Recording {
    fn symbols(&self) -> &[SymbolSpec] {
        &self.symbols
    }

    fn start_ms(&self) -> i64 {
        self.start_ms
    }

    fn opening(&self, symbol: usize) -> Option<Opening> {
        let first = (*self.first_trades.get(symbol)?)?;
        let at_ms = self.start_ms.min(first.trade_ms);
        Some(Opening { seed: HISTORY_SEED, px: first.px, at_ms, trade_id: first.id })
    }

    fn relays(&self, stream: &str) -> bool {
        self.recorded_streams.contains(stream)
    }

    fn next_event(&mut self) -> Result<Option<MarketEvent>, SimError> {
        let earliest = self
            .files
            .iter()
            .enumerate()
            .filter_map(|(i, file)| Some((file.next.as_ref()?.recv_ns, i)))
            .min();
        let Some((recv_ns, index)) = earliest else { return Ok(None) };
        self.last_ns = self.last_ns.max(recv_ns - self.first_recv_ns);
        let file = &mut self.files[index];
        let Some(line) = file.next.take() else { return Ok(None) };
        let event = self.event_of(&self.files[index], &line, self.last_ns)?;
        let file = &mut self.files[index];
        file.next = file.reader.next_line()?;
        Ok(Some(event))
    }
}

/// What must be known of a file before it is played.
#[derive(Default)]
struct Survey {
    symbols: Vec<String>,
    /// In the order of `symbols`.
    first_trades: Vec<Option<Trade>>,
    streams: BTreeSet<String>,
    has_snapshot: bool,
    tick: Option<Fixed>,
    first_recv_ns: i64,
    first_venue_ms: Option<i64>,
    line_count: u64,
}

impl Survey {
    fn of(path: &Path) -> Result<Self, SimError> {
        let mut reader = LineReader::open(path)?;
        let mut survey = Self { first_recv_ns: i64::MAX, ..Self::default() };
        while let Some(line) = reader.next_line()? {
            survey.line_count += 1;
            survey.first_recv_ns = survey.first_recv_ns.min(line.recv_ns);
            let Some(stream) = stream_of(&line.message) else {
                survey.add_snapshot(&reader, &line)?;
                continue;
            };
            if !survey.streams.contains(stream) {
                survey.streams.insert(stream.to_owned());
                let name = symbol_of(stream).to_uppercase();
                if !survey.symbols.contains(&name) {
                    survey.symbols.push(name);
                    survey.first_trades.push(None);
                }
            }
            if let Some(symbol) = stream.strip_suffix("@trade") {
                survey.add_trade(symbol, &reader, &line)?;
            }
            if survey.first_venue_ms.is_none() {
                survey.first_venue_ms = venue_ms_of(&line.message);
            }
        }
        tracing::debug!(path = %reader.path().display(), lines = survey.line_count, "surveyed");
        Ok(survey)
    }

    fn add_trade(
        &mut self,
        symbol: &str,
        reader: &LineReader,
        line: &Line,
    ) -> Result<(), SimError> {
        let index = self.symbols.iter().position(|name| name.eq_ignore_ascii_case(symbol));
        let Some(first) = index.and_then(|index| self.first_trades.get_mut(index)) else {
            return Ok(());
        };
        if first.is_none() {
            let bad = |error| reader.bad_line(&format!("not a known message: {error}"));
            let message: RawMessage<'_> = serde_json::from_str(&line.message).map_err(bad)?;
            let data = message.data.map_or("", RawValue::get);
            let trade: RawTrade = serde_json::from_str(data).map_err(bad)?;
            *first = Some(trade.trade());
        }
        Ok(())
    }

    fn add_snapshot(&mut self, reader: &LineReader, line: &Line) -> Result<(), SimError> {
        let snapshot: RawSnapshot = serde_json::from_str(&line.message).map_err(|error| {
            reader.bad_line(&format!("neither a stream message nor a snapshot: {error}"))
        })?;
        self.has_snapshot = true;
        let divides = |step: i64| {
            snapshot.bids.iter().chain(&snapshot.asks).all(|level| level.0.0 % step == 0)
        };
        self.tick = (0..=10_u32)
            .rev()
            .map(|power| 10_i64.pow(power))
            .find(|&step| divides(step))
            .map(Fixed);
        Ok(())
    }
}

/// The stream's name, read from the front of a combined message as the venue writes it.
fn stream_of(message: &str) -> Option<&str> {
    message.strip_prefix(r#"{"stream":""#)?.split_once('"').map(|(stream, _)| stream)
}

fn symbol_of(stream: &str) -> &str {
    stream.split_once('@').map_or(stream, |(symbol, _)| symbol)
}

fn venue_ms_of(message: &str) -> Option<i64> {
    let (_, rest) = message.split_once(r#""E":"#)?;
    rest.split_once([',', '}'])?.0.parse().ok()
}

fn body_of(stream: &str, data: &str) -> Result<(Option<i64>, Body), serde_json::Error> {
    let kind = stream.split('@').nth(1).unwrap_or_default();
    Ok(match kind {
        "depth" => {
            let raw: RawDepth = serde_json::from_str(data)?;
            let update = DepthUpdate {
                first_id: raw.first_id,
                last_id: raw.last_id,
                bids: raw.bids,
                asks: raw.asks,
            };
            (Some(raw.event_ms), Body::Depth(update))
        }
        "trade" => {
            let raw: RawTrade = serde_json::from_str(data)?;
            (Some(raw.event_ms), Body::Trade(raw.trade()))
        }
        "bookTicker" => {
            let raw: RawBookTicker = serde_json::from_str(data)?;
            let (bid, ask) = (Level(raw.bid_px, raw.bid_qty), Level(raw.ask_px, raw.ask_qty));
            (None, Body::BookTicker(BookTicker { update_id: raw.update_id, bid, ask }))
        }
        _ => (venue_ms_of(data), Body::Other),
    })
}

#[derive(Deserialize)]
struct RawMessage<'a> {
    #[serde(borrow, default)]
    stream: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSnapshot {
    last_update_id: u64,
    bids: Vec<Level>,
    asks: Vec<Level>,
}

/// `{"e":"depthUpdate","E":1723161255308,"s":"ETHUSDT","U":1,"u":2,"b":[["2683.80000000","3.02920000"]],"a":[]}`
#[derive(Deserialize)]
struct RawDepth {
    #[serde(rename = "E")]
    event_ms: i64,
    #[serde(rename = "U")]
    first_id: u64,
    #[serde(rename = "u")]
    last_id: u64,
    #[serde(rename = "b")]
    bids: Vec<Level>,
    #[serde(rename = "a")]
    asks: Vec<Level>,
}

/// `{"e":"trade","E":1723161255612,"s":"ETHUSDT","t":1520538925,"p":"2683.8","q":"0.002","T":1723161255611,"m":true,"M":true}`
#[derive(Deserialize)]
struct RawTrade {
    #[serde(rename = "E")]
    event_ms: i64,
    #[serde(rename = "t")]
    id: u64,
    #[serde(rename = "p")]
    px: Fixed,
    #[serde(rename = "q")]
    qty: Fixed,
    #[serde(rename = "T")]
    trade_ms: i64,
    #[serde(rename = "m")]
    is_buyer_maker: bool,
}

impl RawTrade {
    fn trade(&self) -> Trade {
        Trade {
            id: self.id,
            px: self.px,
            qty: self.qty,
            trade_ms: self.trade_ms,
            is_buyer_maker: self.is_buyer_maker,
            taker_order: 0,
        }
    }
}

/// `{"u":35346513501,"s":"ETHUSDT","b":"2683.80000000","B":"3.02920000","a":"2683.81000000","A":"31.43950000"}`
#[derive(Deserialize)]
struct RawBookTicker {
    #[serde(rename = "u")]
    update_id: u64,
    #[serde(rename = "b")]
    bid_px: Fixed,
    #[serde(rename = "B")]
    bid_qty: Fixed,
    #[serde(rename = "a")]
    ask_px: Fixed,
    #[serde(rename = "A")]
    ask_qty: Fixed,
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::PathBuf;

    use super::{Body, MarketSource, Recording};

    const TICKER: &str = r#"{"stream":"ethusdt@bookTicker","data":{"u":5,"s":"ETHUSDT","b":"1.0","B":"2.0","a":"1.1","A":"3.0"}}"#;
    const SNAPSHOT: &str = r#"{"lastUpdateId":4,"bids":[["1.00000000","2.00000000"]],"asks":[["1.10000000","3.00000000"]]}"#;

    fn file(dir: &tempfile::TempDir, name: &str, lines: &[String]) -> PathBuf {
        let path = dir.path().join(name);
        let text = lines.join("\n");
        if name.ends_with("zst") {
            std::fs::write(&path, zstd::encode_all(text.as_bytes(), 1).unwrap()).unwrap();
        } else {
            std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        }
        path
    }

    #[test]
    fn files_merge_by_time_and_then_by_order() {
        let dir = tempfile::tempdir().unwrap();
        let btc = TICKER.replace("eth", "btc").replace("ETH", "BTC");
        let one = file(
            &dir,
            "one.zst",
            &[format!("100 {TICKER}"), format!("300 {TICKER}"), format!("200 {TICKER}")],
        );
        let two = file(&dir, "two", &[format!("100 {btc}"), format!("250 {btc}")]);
        let mut recording = Recording::open(&[one, two]).unwrap();
        let mut seen = Vec::new();
        while let Some(event) = recording.next_event().unwrap() {
            seen.push((event.at_ns, event.symbol));
        }
        assert_eq!(seen, [(0, 0), (0, 1), (150, 1), (200, 0), (200, 0)]);
    }

    #[test]
    fn the_message_is_kept_byte_for_byte() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(&dir, "a", &[format!("1 {TICKER}"), format!("2 {SNAPSHOT}")]);
        let mut recording = Recording::open(&[path]).unwrap();
        let event = recording.next_event().unwrap().unwrap();
        let recorded = event.recorded.unwrap();
        assert_eq!(
            format!(r#"{{"stream":"{}","data":{}}}"#, recorded.stream, recorded.data),
            TICKER
        );
        assert!(matches!(recording.next_event().unwrap().unwrap().body, Body::Snapshot(_)));
        assert_eq!(recording.next_event().unwrap(), None);
    }

    #[test]
    fn several_symbols_with_a_snapshot_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let other = TICKER.replace("eth", "btc");
        let lines = [format!("1 {TICKER}"), format!("2 {other}"), format!("3 {SNAPSHOT}")];
        let refused = Recording::open(&[file(&dir, "a", &lines)]).unwrap_err().to_string();
        assert!(refused.contains("several symbols and a snapshot line"), "{refused}");
    }

    #[test]
    fn a_bad_line_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(&dir, "a", &[format!("1 {TICKER}"), "xyz {}".into()]);
        let refused = Recording::open(std::slice::from_ref(&path)).unwrap_err().to_string();
        assert_eq!(refused, format!("{}:2: `xyz` is not a receive time in ns", path.display()));
    }
}
