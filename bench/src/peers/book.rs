//! Levels, and messages, to a book with buckets and both imbalances: ours, sorted maps with the same, hftbacktest's. All
//! lie in memory that is there already, as a live run has it.

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::Range;
use std::path::PathBuf;

use cobring_json::scan::Kernel;
use cobring_market::{Book, BookShape};
use cobring_pipeline::config::Config;
use cobring_pipeline::memory;
use cobring_pipeline::recording::Recording;
use cobring_types::{
    DepthSnapshot, Event, Input, InputKind, Instrument, Level, Nanos, Side, Stamp, SymbolIndex,
};
use cobring_venue::binance::Decoder;
use hftbacktest::depth::{HashMapMarketDepth, L2MarketDepth, MarketDepth, ROIVectorMarketDepth};

use super::connector::Connector;
use super::json::mix;
use super::{Comparison, Message};
use crate::path::is_of_stream;

const SYMBOLS: [&str; 2] = ["BTCUSDT", "ETHUSDT"];
const TICK: f64 = 0.01;
const LOT: f64 = 1e-8;

/// A depth message as it came.
struct Text {
    symbol: usize,
    text: String,
    /// Where in the text the event is, without the name of its stream: what who subscribes to one stream alone gets.
    raw: Range<usize>,
}

impl Message for Text {
    fn touch(&self) -> u64 {
        self.text.bytes().fold(0u64, |sum, byte| sum.wrapping_add(byte.into()))
    }
}

/// Its levels as each side takes them.
struct Update {
    symbol: usize,
    bids: Vec<Level>,
    asks: Vec<Level>,
    bid_floats: Vec<(f64, f64)>,
    ask_floats: Vec<(f64, f64)>,
}

impl Message for Update {
    fn touch(&self) -> u64 {
        let levels = self.bids.iter().chain(&self.asks);
        let floats = self.bid_floats.iter().chain(&self.ask_floats);
        levels.fold(0, |sum, level| sum ^ level.qty.0.cast_unsigned())
            ^ floats.fold(0, |sum, level| sum ^ level.0.to_bits())
    }
}

/// What a recording's books begin with.
#[derive(Default)]
struct Start {
    limit: u32,
    last_update_id: u64,
    bids: Vec<Level>,
    asks: Vec<Level>,
}

struct Inputs {
    instruments: Vec<Instrument>,
    shapes: Vec<Shape>,
    starts: Vec<Start>,
    texts: Vec<Text>,
    /// Of these texts.
    updates: Vec<Update>,
}

#[derive(Clone, Copy)]
struct Shape {
    book: BookShape,
    imbalance_radius: i64,
}

fn input(bytes: &[u8], kind: InputKind, symbol: SymbolIndex) -> Input<'_> {
    let unknown = Nanos::UNDEF;
    let stamp = Stamp { input_seq: 0, ts_recv: Nanos(0), ts_kernel: unknown, ts_parsed: unknown };
    Input { stamp, kind, symbol, connection: 0, aux: 0, ts_aux: unknown, bytes }
}

fn load(files: &[PathBuf]) -> Result<Inputs, Box<dyn Error>> {
    let config = Config::built_in();
    let (mut instruments, mut shapes) = (Vec::new(), Vec::new());
    for symbol in config.symbol_configs() {
        let imbalance_radius = symbol.imbalance_radius();
        shapes.push(Shape { book: symbol.book_shape(), imbalance_radius });
        instruments.push(symbol.instrument);
    }
    let mut decoder = Decoder::new(instruments.clone());
    let mut starts = vec![Start::default(), Start::default()];
    let (mut texts, mut updates) = (Vec::new(), Vec::new());
    let mut recording = Recording::open(files)?;
    while let Some(line) = recording.next()? {
        let symbol = line
            .symbol
            .and_then(|name| SYMBOLS.iter().position(|symbol| symbol.eq_ignore_ascii_case(name)));
        let (kind, symbol) = match symbol {
            Some(symbol) if line.snapshot => (InputKind::RestDepth, symbol),
            _ if !line.snapshot && is_of_stream(line.bytes, b"@depth") => (InputKind::Text, 0),
            _ => continue,
        };
        let index =
            if line.snapshot { SymbolIndex(u16::try_from(symbol)?) } else { SymbolIndex::NONE };
        let message = input(line.bytes, kind, index);
        let text = std::str::from_utf8(line.bytes)?;
        let raw = raw_event(text);
        decoder.decode(&message, &mut |_: &Stamp, index: SymbolIndex, event: &Event<'_>| {
            match event {
                Event::Snapshot(snapshot) => {
                    starts[index.at()] = Start {
                        limit: snapshot.limit,
                        last_update_id: snapshot.last_update_id,
                        bids: snapshot.bids.to_vec(),
                        asks: snapshot.asks.to_vec(),
                    };
                }
                Event::Depth(update) => {
                    let symbol = index.at();
                    texts.push(Text { symbol, text: text.to_owned(), raw: raw.clone() });
                    updates.push(Update {
                        symbol,
                        bids: update.bids.to_vec(),
                        asks: update.asks.to_vec(),
                        bid_floats: floats(&instruments[symbol], update.bids),
                        ask_floats: floats(&instruments[symbol], update.asks),
                    });
                }
                _ => {}
            }
        })?;
    }
    if starts.iter().any(|start| start.bids.is_empty()) {
        return Err(
            "the recordings of BTCUSDT and of ETHUSDT are wanted, each with a snapshot".into()
        );
    }
    Ok(Inputs { instruments, shapes, starts, texts, updates })
}

/// The event in `{"stream":…,"data":EVENT}`.
fn raw_event(text: &str) -> Range<usize> {
    const KEY: &str = ",\"data\":";
    let start = text.find(KEY).map_or(0, |at| at + KEY.len());
    start..text.len() - usize::from(start > 0)
}

fn floats(instrument: &Instrument, levels: &[Level]) -> Vec<(f64, f64)> {
    let floats = |level: &Level| (instrument.px_f64(level.px), instrument.qty_f64(level.qty));
    levels.iter().map(floats).collect()
}

/// Prices and quantities at the best.
fn of_best(best: [(i64, i64); 2]) -> u64 {
    let [(bid_px, bid_qty), (ask_px, ask_qty)] =
        best.map(|(px, qty)| (px.cast_unsigned(), qty.cast_unsigned()));
    mix(mix(0, bid_px, bid_qty), ask_px, ask_qty)
}

/// Four sums: within both imbalances' ranges.
fn of_sums(sums: [(i128, i128); 2]) -> u64 {
    // The recordings' sums fit; another number would be no answer of either side.
    let word = |sum: i128| u64::try_from(sum).unwrap_or(u64::MAX);
    sums.into_iter().fold(0, |sum, (bid, ask)| mix(sum, word(bid), word(ask)))
}

struct OurBook {
    book: Book,
    imbalance_radius: i64,
}

impl OurBook {
    fn new(shape: Shape, start: &Start) -> Self {
        let mut book = Book::new(shape.book);
        book.load(&DepthSnapshot {
            last_update_id: start.last_update_id,
            limit: start.limit,
            bids: &start.bids,
            asks: &start.asks,
        });
        Self { book, imbalance_radius: shape.imbalance_radius }
    }

    fn apply(&mut self, bids: &[Level], asks: &[Level]) -> [u64; 2] {
        self.book.apply(bids, asks);
        let best = [Side::Buy, Side::Sell]
            .map(|side| self.book.best(side).map_or((0, 0), |level| (level.px.0, level.qty.0)));
        let sums = [self.book.sums_within(self.imbalance_radius), self.book.near_sums()];
        [of_best(best), of_sums(sums)]
    }
}

/// What a reader of the definitions writes first: sorted maps, and buckets kept in another.
struct SortedMaps {
    shape: Shape,
    bids: BTreeMap<i64, i64>,
    asks: BTreeMap<i64, i64>,
    buckets: BTreeMap<i64, (i128, i128)>,
}

impl SortedMaps {
    fn new(shape: Shape, start: &Start) -> Self {
        let (bids, asks, buckets) = Default::default();
        let mut maps = Self { shape, bids, asks, buckets };
        maps.apply(&start.bids, &start.asks);
        maps
    }

    fn apply(&mut self, bids: &[Level], asks: &[Level]) -> u64 {
        for (side, levels) in [(Side::Buy, bids), (Side::Sell, asks)] {
            for level in levels {
                let map = if side == Side::Buy { &mut self.bids } else { &mut self.asks };
                let before = match level.qty.0 {
                    0 => map.remove(&level.px.0),
                    qty => map.insert(level.px.0, qty),
                };
                let difference = i128::from(level.qty.0 - before.unwrap_or(0));
                let bucket = level.px.0.div_euclid(self.shape.book.bucket_ticks);
                let sums = self.buckets.entry(bucket).or_default();
                if side == Side::Buy { sums.0 += difference } else { sums.1 += difference }
            }
        }
        let (Some((&bid, _)), Some((&ask, _))) =
            (self.bids.last_key_value(), self.asks.first_key_value())
        else {
            return 0;
        };
        let radius = self.shape.imbalance_radius;
        let centre = (bid + ask).div_euclid(2 * self.shape.book.bucket_ticks);
        let within = self.buckets.range(centre - radius..=centre + radius);
        let within = within.fold((0, 0), |sum, (_, (bid, ask))| (sum.0 + bid, sum.1 + ask));
        let range = 2 * self.shape.book.range_ticks;
        let floor = -((range - (bid + ask)).div_euclid(2));
        let ceiling = (bid + ask + range).div_euclid(2);
        let near_bid = self.bids.range(floor..).map(|(_, &qty)| i128::from(qty)).sum();
        let near_ask = self.asks.range(..=ceiling).map(|(_, &qty)| i128::from(qty)).sum();
        of_sums([within, (near_bid, near_ask)])
    }
}

#[expect(clippy::cast_possible_truncation, reason = "quantities of the recordings")]
fn apply_floats<D: L2MarketDepth + MarketDepth>(
    depth: &mut D,
    bids: &[(f64, f64)],
    asks: &[(f64, f64)],
) -> u64 {
    for &(px, qty) in bids {
        depth.update_bid_depth(px, qty, 0);
    }
    for &(px, qty) in asks {
        depth.update_ask_depth(px, qty, 0);
    }
    let units = |qty: f64| (qty / LOT).round() as i64;
    let bid = (depth.best_bid_tick(), units(depth.best_bid_qty()));
    of_best([bid, (depth.best_ask_tick(), units(depth.best_ask_qty()))])
}

pub(super) fn run(files: &[PathBuf], only: &str) -> Result<(), Box<dyn Error>> {
    let inputs = load(files)?;
    let Inputs { instruments, shapes, starts, texts, updates } = &inputs;
    let levels = updates.iter().map(|update| update.bids.len() + update.asks.len()).sum::<usize>();
    #[expect(clippy::cast_precision_loss, reason = "an average")]
    let levels_each = levels as f64 / updates.len() as f64;
    let ours = || -> Vec<OurBook> {
        shapes.iter().zip(starts).map(|(&shape, start)| OurBook::new(shape, start)).collect()
    };
    let mut books = ours();
    let mut maps: Vec<SortedMaps> =
        shapes.iter().zip(starts).map(|(&shape, start)| SortedMaps::new(shape, start)).collect();
    memory::warm();
    Comparison {
        figure: "book_level",
        peer: "BTreeMap",
        goal: Some(6.0),
        items_each: levels_each,
        messages: updates,
        ours: &mut |update| books[update.symbol].apply(&update.bids, &update.asks)[1],
        theirs: &mut |update| maps[update.symbol].apply(&update.bids, &update.asks),
    }
    .run(only)?;
    let mut books = ours();
    let started: Vec<[Vec<(f64, f64)>; 2]> = instruments
        .iter()
        .zip(starts)
        .map(|(instrument, start)| [&start.bids, &start.asks].map(|side| floats(instrument, side)))
        .collect();
    // 10 % to each side of the price, as its backtests take.
    let mut vectors = Vec::new();
    for [bids, asks] in &started {
        let mid = bids[0].0;
        let mut depth =
            ROIVectorMarketDepth::new(TICK, LOT, (mid * 0.9).round(), (mid * 1.1).round());
        apply_floats(&mut depth, bids, asks);
        vectors.push(depth);
    }
    memory::warm();
    Comparison {
        figure: "book_level",
        peer: "hftbacktest ROIVectorMarketDepth",
        goal: Some(1.0),
        items_each: levels_each,
        messages: updates,
        ours: &mut |update| books[update.symbol].apply(&update.bids, &update.asks)[0],
        theirs: &mut |update| {
            apply_floats(&mut vectors[update.symbol], &update.bid_floats, &update.ask_floats)
        },
    }
    .run(only)?;
    let mut books = ours();
    let mut decoder = Decoder::with_kernel(instruments.clone(), Some(Kernel::best()));
    let mut connector = Connector::default();
    let mut hash_maps: Vec<HashMapMarketDepth> = Vec::new();
    for [bids, asks] in &started {
        let mut depth = HashMapMarketDepth::new(TICK, LOT);
        apply_floats(&mut depth, bids, asks);
        hash_maps.push(depth);
    }
    memory::warm();
    Comparison {
        figure: "json_to_book",
        peer: "hftbacktest connector",
        goal: Some(20.0),
        items_each: 1.0,
        messages: texts,
        ours: &mut |message| {
            let mut answer = 0;
            let message = input(message.text.as_bytes(), InputKind::Text, SymbolIndex::NONE);
            let decoded = decoder.decode(
                &message,
                &mut |_: &Stamp, index: SymbolIndex, event: &Event<'_>| {
                    if let Event::Depth(update) = event {
                        [answer, _] = books[index.at()].apply(update.bids, update.asks);
                    }
                },
            );
            if decoded.is_ok() { answer } else { u64::MAX }
        },
        theirs: &mut |message| {
            let levels = connector.levels(&message.text[message.raw.clone()]);
            let Some([bids, asks]) = levels else { return u64::MAX };
            apply_floats(&mut hash_maps[message.symbol], &bids, &asks)
        },
    }
    .run(only)
}
