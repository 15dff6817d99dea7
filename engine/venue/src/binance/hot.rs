//! The messages that come by the thousand, by the scanner: depth, trades and bookTickers as the venue writes them, raw
//! or combined. Guarantees: what it reads, the general reader reads the same; for everything else it gives `None`.

use cobring_json::scan::{Cursor, Kernel, Pair, Scanner, UNIT_DECIMALS};
use cobring_types::{
    DepthUpdate, Event, ExactDivisor, Instrument, Level, Nanos, Px, Qty, Quote, Side, SymbolIndex,
    Trade, TradeStream,
};

use super::message::{Instruments, is_of_symbol, nanos_of};

/// What a symbol's numbers are counted in.
#[derive(Debug)]
struct Scales {
    ticks: ExactDivisor,
    quantity: ExactDivisor,
}

impl Scales {
    /// `None` where the scanner's units are too coarse or a symbol is too fine.
    fn of(instrument: &Instrument) -> Option<Self> {
        let power = |decimals: u8| Some(10u64.pow(u32::from(UNIT_DECIMALS.checked_sub(decimals)?)));
        let tick = instrument.tick_mantissa.cast_unsigned();
        Some(Self {
            ticks: ExactDivisor::new(power(instrument.price_decimals)?.checked_mul(tick)?),
            quantity: ExactDivisor::new(power(instrument.qty_decimals)?),
        })
    }

    #[inline(always)]
    fn px(&self, units: u64) -> Option<Px> {
        let ticks = self.ticks.divide(units)?;
        (ticks != 0).then(|| Px(ticks.cast_signed()))
    }

    /// Adds levels, and tells whether each has a price on the tick and a quantity that is exact.
    #[inline(always)]
    fn push(&self, pairs: &[Pair], levels: &mut Vec<Level>) -> bool {
        let mut is_exact = true;
        levels.extend(pairs.iter().map(|&[px, qty]| {
            let (ticks, is_on_tick) = self.ticks.quotient(px);
            let (quantity, is_whole) = self.quantity.quotient(qty);
            is_exact &= is_on_tick & is_whole & (ticks != 0);
            Level { px: Px(ticks.cast_signed()), qty: Qty(quantity.cast_signed()) }
        }));
        is_exact
    }

    #[inline(always)]
    fn qty(&self, units: u64) -> Option<Qty> {
        self.quantity.divide(units).map(|quantity| Qty(quantity.cast_signed()))
    }
}

/// The shapes, and what stands around the symbol in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Depth,
    Trade,
    AggTrade,
    Quote,
}

/// How a message begins: `before`, a number (a time or an update id), `behind` with the symbol in it.
#[derive(Debug, Clone, Copy)]
struct Opening<'m> {
    shape: Shape,
    number: u64,
    symbol: SymbolIndex,
    /// The event is wrapped with its stream's name.
    is_combined: bool,
    before: &'m [u8],
    behind: &'m [u8],
}

/// Openings of a stream differ in the number alone, so those that were read once are compared the next time.
#[derive(Debug, Clone, Copy)]
struct Seen {
    shape: Shape,
    symbol: SymbolIndex,
    before: Text<96>,
    behind: Text<48>,
}

/// A short text in place.
#[derive(Debug, Clone, Copy)]
struct Text<const N: usize> {
    bytes: [u8; N],
    length: u8,
}

impl<const N: usize> Text<N> {
    fn new(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; N];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        Some(Self { bytes, length: u8::try_from(text.len()).ok()? })
    }

    #[inline(always)]
    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

/// Where a stream's name begins in a combined message.
const NAME_AT: usize = 11;

/// Reads hot messages of the configured symbols.
#[derive(Debug)]
pub(super) struct Hot {
    scanner: Scanner,
    /// By [`SymbolIndex`].
    scales: Box<[Option<Scales>]>,
    /// By the first 16 bytes of streams' names; of two in one place the last one stays.
    seen: Box<[Option<Seen>]>,
}

impl Hot {
    pub(super) fn new(instruments: &[Instrument], kernel: Kernel, size_bytes: usize) -> Self {
        let scanner = Scanner::with_kernel(kernel, size_bytes);
        let places = (32 * instruments.len()).next_power_of_two().max(64);
        let seen = vec![None; places].into_boxed_slice();
        let scales = instruments.iter().map(Scales::of).collect();
        Self { scanner, scales, seen }
    }

    /// The event, where the message is one of the shapes to the byte. The levels of a depth update lie in `levels`.
    #[inline]
    pub(super) fn read<'l>(
        &mut self,
        instruments: &Instruments,
        bytes: &[u8],
        levels: &'l mut Vec<Level>,
    ) -> Option<(SymbolIndex, Event<'l>)> {
        let mut cursor = Cursor::new(bytes);
        let place = self.place(bytes)?;
        let seen = self.seen.get(place)?.as_ref();
        let (shape, number, symbol, is_combined) =
            match seen.and_then(|seen| seen.open(&mut cursor)) {
                Some((shape, number, symbol)) => (shape, number, symbol, true),
                None => {
                    let opening = open(instruments, bytes, &mut cursor)?;
                    let Opening { shape, number, symbol, is_combined, .. } = opening;
                    if is_combined && let Some(seen) = self.seen.get_mut(place) {
                        *seen = Seen::new(&opening);
                    }
                    (shape, number, symbol, is_combined)
                }
            };
        let scales = self.scales.get(symbol.at())?.as_ref()?;
        let event = match shape {
            Shape::Depth => {
                Event::Depth(depth(&mut self.scanner, scales, number, bytes, &mut cursor, levels)?)
            }
            Shape::Trade => Event::Trade(trade(scales, number, &mut cursor)?),
            Shape::AggTrade => Event::Trade(agg_trade(scales, number, &mut cursor)?),
            Shape::Quote => Event::Quote(quote(scales, number, &mut cursor)?),
        };
        cursor.literal(b"}")?;
        if is_combined {
            cursor.literal(b"}")?;
        }
        cursor.is_at_end().then_some((symbol, event))
    }

    /// `None` where the message is too short for any shape.
    #[inline(always)]
    fn place(&self, bytes: &[u8]) -> Option<usize> {
        let (words, _) = bytes.get(NAME_AT..NAME_AT + 16)?.as_chunks::<8>();
        let [first, second] = *words else { return None };
        let mixed = u64::from_le_bytes(first) ^ u64::from_le_bytes(second).rotate_left(29);
        let mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Some(usize::try_from(mixed >> 32).unwrap_or(0) & (self.seen.len() - 1))
    }
}

/// Reads how a message begins; the cursor goes on behind the symbol.
fn open<'m>(
    instruments: &Instruments,
    bytes: &'m [u8],
    cursor: &mut Cursor<'m>,
) -> Option<Opening<'m>> {
    let stream = cursor.optional(b"{\"stream\":\"").then(|| cursor.string());
    let stream = match stream {
        Some(stream) => {
            cursor.literal(b",\"data\":")?;
            Some(stream?)
        }
        None => None,
    };
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
    let before = bytes.get(..cursor.at())?;
    let number = cursor.uint()?;
    let behind_at = cursor.at();
    cursor.literal(b",\"s\":\"")?;
    let name = cursor.string()?;
    match shape {
        Shape::Depth => cursor.literal(b",\"U\":")?,
        Shape::Trade => cursor.literal(b",\"t\":")?,
        Shape::AggTrade => cursor.literal(b",\"a\":")?,
        Shape::Quote => cursor.literal(b",\"b\":\"")?,
    }
    let behind = bytes.get(behind_at..cursor.at())?;
    stream.is_none_or(|stream| is_of_symbol(stream, name)).then_some(())?;
    let (symbol, _) = instruments.find(name)?;
    Some(Opening { shape, number, symbol, is_combined: stream.is_some(), before, behind })
}

impl Seen {
    fn new(opening: &Opening<'_>) -> Option<Self> {
        let (before, behind) = (Text::new(opening.before)?, Text::new(opening.behind)?);
        Some(Self { shape: opening.shape, symbol: opening.symbol, before, behind })
    }

    /// Whether a message begins so, with what number; else the cursor stays.
    #[inline(always)]
    fn open(&self, cursor: &mut Cursor<'_>) -> Option<(Shape, u64, SymbolIndex)> {
        let mut ahead = *cursor;
        ahead.text(self.before.as_slice())?;
        let number = ahead.uint()?;
        ahead.text(self.behind.as_slice())?;
        *cursor = ahead;
        Some((self.shape, number, self.symbol))
    }
}

/// From the first id on.
#[inline(always)]
fn depth<'l>(
    scanner: &mut Scanner,
    scales: &Scales,
    time: u64,
    bytes: &[u8],
    cursor: &mut Cursor<'_>,
    levels: &'l mut Vec<Level>,
) -> Option<DepthUpdate<'l>> {
    let first_update_id = cursor.uint()?;
    cursor.literal(b",\"u\":")?;
    let last_update_id = cursor.uint()?;
    cursor.literal(b",\"b\":")?;
    (first_update_id <= last_update_id).then_some(())?;
    let sides = scanner.sides(bytes, cursor.at(), b",\"a\":")?;
    cursor.seek(sides.end);
    levels.clear();
    let is_exact = scales.push(sides.first, levels) & scales.push(sides.second, levels);
    is_exact.then_some(())?;
    let (bids, asks) = levels.split_at_checked(sides.first.len())?;
    let ts_event = nanos_of(time)?;
    Some(DepthUpdate { ts_event, first_update_id, last_update_id, bids, asks })
}

/// From the id on.
#[inline(always)]
fn trade(scales: &Scales, time: u64, cursor: &mut Cursor<'_>) -> Option<Trade> {
    let id = cursor.uint()?;
    let (px, qty) = px_and_qty(scales, cursor)?;
    // The ids of the two orders, until 2024.
    if cursor.optional(b",\"b\":") {
        cursor.uint()?;
        cursor.literal(b",\"a\":")?;
        cursor.uint()?;
    }
    let (ts_trade, side) = trade_end(cursor)?;
    let (stream, ts_event) = (TradeStream::Trade, nanos_of(time)?);
    Some(Trade { stream, ts_event, ts_trade, id, first_id: id, last_id: id, px, qty, side })
}

/// From the aggregate's id on.
#[inline(always)]
fn agg_trade(scales: &Scales, time: u64, cursor: &mut Cursor<'_>) -> Option<Trade> {
    let id = cursor.uint()?;
    let (px, qty) = px_and_qty(scales, cursor)?;
    cursor.literal(b",\"f\":")?;
    let first_id = cursor.uint()?;
    cursor.literal(b",\"l\":")?;
    let last_id = cursor.uint()?;
    (first_id <= last_id).then_some(())?;
    let (ts_trade, side) = trade_end(cursor)?;
    let (stream, ts_event) = (TradeStream::AggTrade, nanos_of(time)?);
    Some(Trade { stream, ts_event, ts_trade, id, first_id, last_id, px, qty, side })
}

/// From the best bid on.
#[inline(always)]
fn quote(scales: &Scales, update_id: u64, cursor: &mut Cursor<'_>) -> Option<Quote> {
    let bid_px = scales.px(cursor.decimal()?)?;
    cursor.literal(b",\"B\":\"")?;
    let bid_qty = scales.qty(cursor.decimal()?)?;
    cursor.literal(b",\"a\":\"")?;
    let ask_px = scales.px(cursor.decimal()?)?;
    cursor.literal(b",\"A\":\"")?;
    let ask_qty = scales.qty(cursor.decimal()?)?;
    Some(Quote { update_id, bid_px, bid_qty, ask_px, ask_qty })
}

/// `p` and `q` of a trade, neither of them 0.
#[inline(always)]
fn px_and_qty(scales: &Scales, cursor: &mut Cursor<'_>) -> Option<(Px, Qty)> {
    cursor.literal(b",\"p\":\"")?;
    let px = scales.px(cursor.decimal()?)?;
    cursor.literal(b",\"q\":\"")?;
    let qty = scales.qty(cursor.decimal()?).filter(|&qty| qty != Qty::ZERO)?;
    Some((px, qty))
}

/// `T`, `m` and, passed over, `M`.
#[inline(always)]
fn trade_end(cursor: &mut Cursor<'_>) -> Option<(Nanos, Side)> {
    cursor.literal(b",\"T\":")?;
    let ts_trade = nanos_of(cursor.uint()?)?;
    cursor.literal(b",\"m\":")?;
    let side = if cursor.optional(b"true") {
        Side::Sell
    } else {
        cursor.literal(b"false")?;
        Side::Buy
    };
    if cursor.optional(b",\"M\":") && !cursor.optional(b"true") {
        cursor.literal(b"false")?;
    }
    Some((ts_trade, side))
}
