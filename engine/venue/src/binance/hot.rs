//! The messages that come by the thousand, by the scanner: depth, trades and bookTickers as the venue writes them, raw
//! or combined; and snapshots, whose levels do. Guarantees: what it reads, the general reader reads the same; for everything else it gives `None`.
//!
//! A stream's messages open alike but for the numbers, so an opening is read once and compared from then on.

use cobring_json::scan::{
    Cursor, Decimals, Kernel, Lanes, NUMBERS_MAX, PointIndex, Scale, Scanner, Task, Template, Text,
    UNIT_DECIMALS, is_same,
};
use cobring_types::{
    DepthUpdate, Event, ExactDivisor, Instrument, Level, Px, Qty, Quote, Side, SymbolIndex, Trade,
    TradeStream,
};

use super::message::{Instruments, is_of_symbol, nanos_of};
use super::rest::{SnapshotHead, misplaced};

/// What a symbol's numbers are counted in. `None` where the scanner's units are too coarse or a symbol is too fine.
fn scale_of(instrument: &Instrument) -> Option<Scale> {
    let power = |decimals: u8| Some(10u64.pow(u32::from(UNIT_DECIMALS.checked_sub(decimals)?)));
    let tick = instrument.tick_mantissa.cast_unsigned();
    Some(Scale::new(
        ExactDivisor::new(power(instrument.price_decimals)?.checked_mul(tick)?),
        ExactDivisor::new(power(instrument.qty_decimals)?),
    ))
}

#[inline(always)]
fn px(scale: &Scale, units: u64) -> Option<Px> {
    let ticks = scale.tick().divide(units)?;
    (ticks != 0).then(|| Px(ticks.cast_signed()))
}

#[inline(always)]
fn qty(scale: &Scale, units: u64) -> Option<Qty> {
    scale.quantity().divide(units).map(|quantity| Qty(quantity.cast_signed()))
}

/// The shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Depth,
    Trade,
    AggTrade,
    Quote,
}

/// How a message begins, up to its levels or its first decimal.
#[derive(Debug, Clone, Copy)]
struct Opening<'s> {
    shape: Shape,
    symbol: SymbolIndex,
    /// The symbol's.
    scale: &'s Scale,
    /// The event is wrapped with its stream's name.
    is_combined: bool,
    /// Time and ids in the message's order.
    numbers: [u64; NUMBERS_MAX],
    /// What comes behind it.
    end: usize,
}

/// An opening that was read once.
#[derive(Debug, Clone, Copy)]
struct Seen {
    name: Name,
    shape: Shape,
    symbol: SymbolIndex,
    template: Template,
}

/// A stream's name in a combined message and what follows it. The venue's have no number there; one that had would be read
/// anew each time.
type Name = [u64; 3];
/// Where it begins.
const NAME_AT: usize = 11;
/// Openings kept for each symbol: it has four streams.
const PLACES_PER_SYMBOL: usize = 16;
/// Where others have a name's place, the next ones are looked at: so many with that one.
const PROBES: usize = 8;

/// Reads hot messages of the configured symbols.
#[derive(Debug)]
pub(super) struct Hot {
    scanner: Scanner,
    /// By [`SymbolIndex`].
    scales: Box<[Option<Scale>]>,
    /// By streams' names. A power of two of them.
    seen: Box<[Option<Seen>]>,
    /// Of the message that is read.
    index: PointIndex,
}

impl Hot {
    /// With room for messages of so many bytes.
    pub(super) fn new(instruments: &[Instrument], kernel: Kernel, size_bytes: usize) -> Self {
        let places = (PLACES_PER_SYMBOL * instruments.len()).next_power_of_two();
        let seen = vec![None; places].into_boxed_slice();
        let scales = instruments.iter().map(scale_of).collect();
        Self {
            scanner: Scanner::new(kernel),
            scales,
            seen,
            index: PointIndex::with_capacity(size_bytes),
        }
    }

    /// The event, where the message is one of the shapes to the byte. The levels of a depth update lie in `levels`.
    #[inline]
    pub(super) fn read<'l>(
        &mut self,
        instruments: &Instruments,
        bytes: &[u8],
        levels: &'l mut Vec<Level>,
    ) -> Option<(SymbolIndex, Event<'l>)> {
        let Self { scanner, scales, seen, index } = self;
        scanner.run(Read { instruments, scales, seen, index, bytes, levels })
    }

    /// A snapshot of that symbol, where it is of the usual shape to the byte; its levels lie in `levels`.
    pub(super) fn read_snapshot(
        &mut self,
        symbol: SymbolIndex,
        bytes: &[u8],
        levels: &mut Vec<Level>,
    ) -> Option<SnapshotHead> {
        let Self { scanner, scales, index, .. } = self;
        let scale = scales.get(symbol.at())?.as_ref()?;
        scanner.run(ReadSnapshot { scale, index, bytes, levels })
    }
}

/// A snapshot to be read, as [`super::rest::read_depth`] shows it.
struct ReadSnapshot<'r> {
    scale: &'r Scale,
    index: &'r mut PointIndex,
    bytes: &'r [u8],
    levels: &'r mut Vec<Level>,
}

impl Task for ReadSnapshot<'_> {
    type Output = Option<SnapshotHead>;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let Self { scale, index, bytes, levels } = self;
        let text = Text::new(bytes, lanes)?;
        let mut cursor = Cursor::new(bytes, 0);
        cursor.literal(b"{\"lastUpdateId\":")?;
        let last_update_id = cursor.uint()?;
        cursor.literal(b",\"bids\":")?;
        let sides = text.sides(cursor.at(), b",\"asks\":", scale, index, levels)?;
        is_end(bytes, sides.end, false).then_some(())?;
        let (bids, asks) = levels.split_at_checked(sides.first)?;
        let head = SnapshotHead { last_update_id, bid_count: sides.first };
        (misplaced(bids, asks) == [None; 2]).then_some(head)
    }
}

/// One message to be read.
struct Read<'r, 'l> {
    instruments: &'r Instruments,
    scales: &'r [Option<Scale>],
    seen: &'r mut [Option<Seen>],
    index: &'r mut PointIndex,
    bytes: &'r [u8],
    levels: &'l mut Vec<Level>,
}

impl<'l> Task for Read<'_, 'l> {
    type Output = Option<(SymbolIndex, Event<'l>)>;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let Self { instruments, scales, seen, index, bytes, levels } = self;
        let text = Text::new(bytes, lanes)?;
        let home = home(bytes, seen.len())?;
        let opening = match seen.get(home)?.as_ref().and_then(|seen| seen.open(text, scales)) {
            Some(opening) => opening,
            None => {
                let name = name(bytes)?;
                let seen = place(seen, home, &name)?;
                match seen.as_ref().and_then(|seen| seen.open(text, scales)) {
                    Some(opening) => opening,
                    None => open(instruments, scales, bytes, name, seen)?,
                }
            }
        };
        let event = match opening.shape {
            Shape::Depth => Event::Depth(depth(text, &opening, index, levels)?),
            Shape::Trade | Shape::AggTrade => {
                Event::Trade(trade(text, &opening).or_else(|| any_trade(bytes, &opening))?)
            }
            Shape::Quote => {
                Event::Quote(quote(text, &opening).or_else(|| any_quote(bytes, &opening))?)
            }
        };
        Some((opening.symbol, event))
    }
}

/// The name of a message's stream. `None` where the message is too short for any shape.
#[inline(always)]
fn name(bytes: &[u8]) -> Option<Name> {
    let (words, _) = bytes.get(NAME_AT..NAME_AT + size_of::<Name>())?.as_chunks();
    let [a, b, c] = *words else { return None };
    Some([a, b, c].map(u64::from_le_bytes))
}

/// Where a stream's opening is kept, if no other's is: by the beginning of its name. `None` where the message is too short.
#[inline(always)]
fn home(bytes: &[u8], places: usize) -> Option<usize> {
    let (words, _) = bytes.get(NAME_AT..NAME_AT + 16)?.as_chunks();
    let [a, b] = *words else { return None };
    let mixed = u64::from_le_bytes(a) ^ u64::from_le_bytes(b).rotate_left(29);
    let mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Some(usize::try_from(mixed >> 36).unwrap_or(0) & (places - 1))
}

/// Where it is, or will be: there, in one of the next places, or in another stream's where all are taken.
#[inline(never)]
fn place<'s>(
    seen: &'s mut [Option<Seen>],
    home: usize,
    name: &Name,
) -> Option<&'s mut Option<Seen>> {
    let last = seen.len() - 1;
    let is_others = |at: usize| seen[at & last].as_ref().is_some_and(|seen| seen.name != *name);
    let found = (home..home + PROBES).find(|&at| !is_others(at)).unwrap_or(home);
    seen.get_mut(found & last)
}

impl Seen {
    /// The opening of a message that begins so.
    #[inline(always)]
    fn open<'s, L: Lanes>(
        &self,
        text: Text<'_, L>,
        scales: &'s [Option<Scale>],
    ) -> Option<Opening<'s>> {
        let Self { shape, symbol, ref template, .. } = *self;
        if !text.begins_like(template) {
            return None;
        }
        let numbers = match shape {
            Shape::Depth => ascending(text.numbers(template)?)?,
            Shape::Trade | Shape::AggTrade => {
                let [time, id] = text.numbers(template)?;
                [time, id, 0]
            }
            Shape::Quote => {
                let [id] = text.numbers(template)?;
                [id, 0, 0]
            }
        };
        let end = template.length();
        let scale = scales.get(symbol.at())?.as_ref()?;
        Some(Opening { shape, symbol, scale, is_combined: true, numbers, end })
    }
}

/// Those of a depth message, where its first update is not behind its last one. Seen here, where they still are in
/// registers.
#[inline(always)]
fn ascending(numbers: [u64; NUMBERS_MAX]) -> Option<[u64; NUMBERS_MAX]> {
    let [_, first_update_id, last_update_id] = numbers;
    (first_update_id <= last_update_id).then_some(numbers)
}

/// Reads how a message begins, and keeps that of a combined one.
#[inline(never)]
fn open<'s>(
    instruments: &Instruments,
    scales: &'s [Option<Scale>],
    bytes: &[u8],
    name: Name,
    seen: &mut Option<Seen>,
) -> Option<Opening<'s>> {
    let mut cursor = Cursor::new(bytes, 0);
    let mut stream = None;
    if cursor.optional(b"{\"stream\":\"") {
        stream = Some(cursor.string()?);
        cursor.literal(b",\"data\":")?;
    }
    let shape = if cursor.optional(b"{\"e\":\"depthUpdate\",\"E\":") {
        Shape::Depth
    } else if cursor.optional(b"{\"e\":\"trade\",\"E\":") {
        Shape::Trade
    } else if cursor.optional(b"{\"e\":\"aggTrade\",\"E\":") {
        Shape::AggTrade
    } else {
        cursor.literal(b"{\"u\":")?;
        Shape::Quote
    };
    let (mut numbers, mut places, mut count) = ([0; NUMBERS_MAX], [(0, 0); NUMBERS_MAX], 0);
    let mut uint = |cursor: &mut Cursor<'_>| {
        let from = cursor.at();
        *numbers.get_mut(count)? = cursor.uint()?;
        *places.get_mut(count)? = (from, cursor.at());
        count += 1;
        Some(())
    };
    uint(&mut cursor)?;
    cursor.literal(b",\"s\":\"")?;
    let symbol = cursor.string()?;
    match shape {
        Shape::Depth => {
            cursor.literal(b",\"U\":")?;
            uint(&mut cursor)?;
            cursor.literal(b",\"u\":")?;
            uint(&mut cursor)?;
            cursor.literal(b",\"b\":")?;
        }
        Shape::Trade => {
            cursor.literal(b",\"t\":")?;
            uint(&mut cursor)?;
            cursor.literal(b",\"p\":\"")?;
        }
        Shape::AggTrade => {
            cursor.literal(b",\"a\":")?;
            uint(&mut cursor)?;
            cursor.literal(b",\"p\":\"")?;
        }
        Shape::Quote => cursor.literal(b",\"b\":\"")?,
    }
    stream.is_none_or(|stream| is_of_symbol(stream, symbol)).then_some(())?;
    if shape == Shape::Depth {
        numbers = ascending(numbers)?;
    }
    let (symbol, _) = instruments.find(symbol)?;
    let scale = scales.get(symbol.at())?.as_ref()?;
    let (end, is_combined) = (cursor.at(), stream.is_some());
    if is_combined {
        let template = Template::new(bytes.get(..end)?, places.get(..count)?);
        *seen = template.map(|template| Seen { name, shape, symbol, template });
    }
    Some(Opening { shape, symbol, scale, is_combined, numbers, end })
}

/// From the first side on.
#[inline(always)]
fn depth<'l, L: Lanes>(
    text: Text<'_, L>,
    opening: &Opening<'_>,
    index: &mut PointIndex,
    levels: &'l mut Vec<Level>,
) -> Option<DepthUpdate<'l>> {
    let [time, first_update_id, last_update_id] = opening.numbers;
    let sides = text.sides(opening.end, b",\"a\":", opening.scale, index, levels)?;
    is_end(text.bytes(), sides.end, opening.is_combined).then_some(())?;
    let (bids, asks) = levels.split_at_checked(sides.first)?;
    let ts_event = nanos_of(time)?;
    Some(DepthUpdate { ts_event, first_update_id, last_update_id, bids, asks })
}

/// From the price on, in the usual shape.
#[inline(always)]
fn trade<L: Lanes>(text: Text<'_, L>, opening: &Opening<'_>) -> Option<Trade> {
    let bytes = text.bytes();
    let Decimals { units, ends: [px_end, qty_end] } = text.decimals(opening.end, [0, 7])?;
    is_at(bytes, px_end, b"\",\"q\":\"").then_some(())?;
    let id = opening.numbers[1];
    let (ids, time_at) = if opening.shape == Shape::Trade {
        is_at(bytes, qty_end, b"\",\"T\":").then_some(())?;
        ([id; 2], qty_end + 6)
    } else {
        let mut cursor = Cursor::new(bytes, qty_end);
        cursor.literal(b"\"")?;
        (fill_ids(&mut cursor)?, cursor.at())
    };
    let (time_end, side) = usual_end(bytes, opening.is_combined)?;
    let ts_trade = text.uint(time_at, time_end)?;
    new_trade(opening, ts_trade, ids, units, side)
}

/// From the end of a trade's time on, `,"m":true,"M":true}`.
#[inline(always)]
fn usual_end(bytes: &[u8], is_combined: bool) -> Option<(usize, Side)> {
    let event = if is_combined { bytes.strip_suffix(b"}")? } else { bytes };
    let last = event.last_chunk::<16>()?;
    let (is_maker, is_taker) = (last == b"\":true,\"M\":true}", last == b":false,\"M\":true}");
    let end = event.len().checked_sub(19 + usize::from(is_taker))?;
    let side = if is_maker { Side::Sell } else { Side::Buy };
    ((is_maker | is_taker) && is_at(bytes, end, b",\"m\":")).then_some((end, side))
}

/// From the price on, with decimals of any length, orders' ids, which came until 2024, and without `M`.
#[cold]
fn any_trade(bytes: &[u8], opening: &Opening<'_>) -> Option<Trade> {
    let mut cursor = Cursor::new(bytes, opening.end);
    let px = cursor.decimal()?;
    cursor.literal(b",\"q\":\"")?;
    let qty = cursor.decimal()?;
    let id = opening.numbers[1];
    let ids = if opening.shape == Shape::Trade {
        if cursor.optional(b",\"b\":") {
            cursor.uint()?;
            cursor.literal(b",\"a\":")?;
            cursor.uint()?;
        }
        cursor.literal(b",\"T\":")?;
        [id; 2]
    } else {
        fill_ids(&mut cursor)?
    };
    let ts_trade = cursor.uint()?;
    cursor.literal(b",\"m\":")?;
    let side = if boolean(&mut cursor)? { Side::Sell } else { Side::Buy };
    if cursor.optional(b",\"M\":") {
        boolean(&mut cursor)?;
    }
    is_end(bytes, cursor.at(), opening.is_combined).then_some(())?;
    new_trade(opening, ts_trade, ids, [px, qty], side)
}

/// First and last fill of an aggregate trade, from behind its quantity up to its time.
#[inline(always)]
fn fill_ids(cursor: &mut Cursor<'_>) -> Option<[u64; 2]> {
    cursor.literal(b",\"f\":")?;
    let first = cursor.uint()?;
    cursor.literal(b",\"l\":")?;
    let last = cursor.uint()?;
    cursor.literal(b",\"T\":")?;
    Some([first, last])
}

#[inline(always)]
fn boolean(cursor: &mut Cursor<'_>) -> Option<bool> {
    if cursor.optional(b"true") { Some(true) } else { cursor.literal(b"false").map(|()| false) }
}

/// Price and quantity are not 0.
#[inline(always)]
fn new_trade(
    opening: &Opening<'_>,
    time_of_trade: u64,
    [first_id, last_id]: [u64; 2],
    [px_units, qty_units]: [u64; 2],
    side: Side,
) -> Option<Trade> {
    let Opening { shape, scale, numbers: [time, id, _], .. } = *opening;
    (first_id <= last_id).then_some(())?;
    let stream = if shape == Shape::Trade { TradeStream::Trade } else { TradeStream::AggTrade };
    let (ts_event, ts_trade) = (nanos_of(time)?, nanos_of(time_of_trade)?);
    let px = px(scale, px_units)?;
    let qty = qty(scale, qty_units).filter(|&qty| qty != Qty::ZERO)?;
    Some(Trade { stream, ts_event, ts_trade, id, first_id, last_id, px, qty, side })
}

/// From the best bid on, in the usual shape.
#[inline(always)]
fn quote<L: Lanes>(text: Text<'_, L>, opening: &Opening<'_>) -> Option<Quote> {
    let bytes = text.bytes();
    let Decimals { units, ends } = text.decimals(opening.end, [0, 7, 7, 7])?;
    let is_usual = is_at(bytes, ends[0], b"\",\"B\":\"")
        && is_at(bytes, ends[1], b"\",\"a\":\"")
        && is_at(bytes, ends[2], b"\",\"A\":\"")
        && is_at(bytes, ends[3], b"\"")
        && is_end(bytes, ends[3] + 1, opening.is_combined);
    is_usual.then_some(())?;
    new_quote(opening, units)
}

/// From the best bid on, with decimals of any length.
#[cold]
fn any_quote(bytes: &[u8], opening: &Opening<'_>) -> Option<Quote> {
    let mut cursor = Cursor::new(bytes, opening.end);
    let bid_px = cursor.decimal()?;
    cursor.literal(b",\"B\":\"")?;
    let bid_qty = cursor.decimal()?;
    cursor.literal(b",\"a\":\"")?;
    let ask_px = cursor.decimal()?;
    cursor.literal(b",\"A\":\"")?;
    let ask_qty = cursor.decimal()?;
    is_end(bytes, cursor.at(), opening.is_combined).then_some(())?;
    new_quote(opening, [bid_px, bid_qty, ask_px, ask_qty])
}

/// Prices are not 0.
#[inline(always)]
fn new_quote(opening: &Opening<'_>, units: [u64; 4]) -> Option<Quote> {
    let Opening { scale, numbers: [update_id, ..], .. } = *opening;
    let [bid_px, bid_qty, ask_px, ask_qty] = units;
    Some(Quote {
        update_id,
        bid_px: px(scale, bid_px)?,
        bid_qty: qty(scale, bid_qty)?,
        ask_px: px(scale, ask_px)?,
        ask_qty: qty(scale, ask_qty)?,
    })
}

/// Whether exactly these bytes stand there.
#[inline(always)]
fn is_at<const N: usize>(bytes: &[u8], at: usize, literal: &[u8; N]) -> bool {
    bytes.get(at..at + N).is_some_and(|found| is_same(found, literal))
}

/// Whether an event ends there, and the message with it.
#[inline(always)]
fn is_end(bytes: &[u8], at: usize, is_combined: bool) -> bool {
    match bytes.get(at..) {
        Some([b'}', b'}']) => is_combined,
        Some([b'}']) => !is_combined,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_stream_keeps_its_opening() {
        let symbols: Vec<String> = (0..200).map(|at| format!("S{at}COINUSDT")).collect();
        let instruments: Vec<Instrument> = symbols
            .iter()
            .map(|symbol| Instrument::new(symbol, "0.01", 8).expect("a symbol"))
            .collect();
        let mut hot = Hot::new(&instruments, Kernel::Portable, 0);
        let known = Instruments::new(instruments);
        let mut levels = Vec::new();
        for symbol in &symbols {
            let stream = symbol.to_ascii_lowercase();
            let trade = format!(
                r#"{{"stream":"{stream}@trade","data":{{"e":"trade","E":1723118400123,"s":"{symbol}","t":7,"p":"57000.10000000","q":"0.00120000","T":1723118400122,"m":true,"M":true}}}}"#
            );
            let quote = format!(
                r#"{{"stream":"{stream}@bookTicker","data":{{"u":7,"s":"{symbol}","b":"57000.10000000","B":"1.00000000","a":"57000.20000000","A":"2.00000000"}}}}"#
            );
            for message in [trade, quote] {
                assert!(hot.read(&known, message.as_bytes(), &mut levels).is_some(), "{message}");
            }
        }
        // One by one, however many share a place.
        let names: BTreeSet<Name> = hot.seen.iter().flatten().map(|seen| seen.name).collect();
        assert_eq!(names.len(), 2 * symbols.len());
    }
}
