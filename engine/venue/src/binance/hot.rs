//! The messages that come by the thousand, by the scanner: depth, trades and bookTickers as the venue writes them, raw
//! or combined. Guarantees: what it reads, the general reader reads the same; for everything else it gives `None`.

use cobring_json::scan::{Cursor, Kernel, Pair, Scanner, Short, UNIT_DECIMALS};
use cobring_types::{
    DepthUpdate, Event, ExactDivisor, Instrument, Level, Nanos, Px, Qty, Quote, Side, SymbolIndex,
    Trade, TradeStream,
};

use super::message::nanos_of;

/// What a symbol's numbers are counted in.
#[derive(Debug)]
struct Scales {
    name: Short,
    symbol: SymbolIndex,
    ticks: ExactDivisor,
    quantity: ExactDivisor,
}

impl Scales {
    /// `None` where the scanner's units are too coarse or a symbol is too fine.
    fn of(symbol: SymbolIndex, instrument: &Instrument) -> Option<Self> {
        let power = |decimals: u8| Some(10u64.pow(u32::from(UNIT_DECIMALS.checked_sub(decimals)?)));
        let tick = instrument.tick_mantissa.cast_unsigned();
        Some(Self {
            name: Short::new(instrument.symbol.as_str())?,
            symbol,
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

/// The configured symbols by their names.
#[derive(Debug)]
struct Known {
    scales: Vec<Scales>,
    /// Indexes of `scales` where [`Known::place`] says, or behind; at least half of it is empty.
    table: Box<[u16]>,
}

const EMPTY: u16 = u16::MAX;

impl Known {
    fn new(instruments: &[Instrument]) -> Self {
        let indexed = (0..).map(SymbolIndex).zip(instruments);
        let scales: Vec<_> =
            indexed.filter_map(|(symbol, instrument)| Scales::of(symbol, instrument)).collect();
        let places = (2 * scales.len()).next_power_of_two().max(8);
        let mut table = vec![EMPTY; places].into_boxed_slice();
        for (at, scales) in (0u16..).zip(&scales) {
            let mut place = Self::place(&scales.name, places);
            while table[place] != EMPTY {
                place = (place + 1) % places;
            }
            table[place] = at;
        }
        Self { scales, table }
    }

    #[inline]
    fn place(name: &Short, places: usize) -> usize {
        usize::try_from(name.hash() >> 32).unwrap_or(0) & (places - 1)
    }

    #[inline(always)]
    fn find(&self, name: &Short) -> Option<&Scales> {
        let mut place = Self::place(name, self.table.len());
        loop {
            let scales = self.scales.get(usize::from(*self.table.get(place)?))?;
            if scales.name == *name {
                return Some(scales);
            }
            place = (place + 1) & (self.table.len() - 1);
        }
    }
}

/// Reads hot messages of the configured symbols.
#[derive(Debug)]
pub(super) struct Hot {
    scanner: Scanner,
    known: Known,
}

impl Hot {
    pub(super) fn new(instruments: &[Instrument], kernel: Kernel, size_bytes: usize) -> Self {
        let scanner = Scanner::with_kernel(kernel, size_bytes);
        Self { scanner, known: Known::new(instruments) }
    }

    /// The event, where the message is one of the shapes to the byte. The levels of a depth update lie in `levels`.
    #[inline]
    pub(super) fn read<'l>(
        &mut self,
        bytes: &[u8],
        levels: &'l mut Vec<Level>,
    ) -> Option<(SymbolIndex, Event<'l>)> {
        let mut cursor = Cursor::new(bytes);
        let stream = cursor.optional(b"{\"stream\":\"").then(|| cursor.string());
        let stream = match stream {
            Some(stream) => {
                cursor.literal(b",\"data\":")?;
                Some(stream?)
            }
            None => None,
        };
        let envelope = Envelope { bytes, stream };
        if cursor.optional(b"{\"e\":\"depthUpdate\",\"E\":") {
            self.depth(envelope, cursor, levels)
        } else if cursor.optional(b"{\"e\":\"trade\",\"E\":") {
            self.trade(envelope, cursor)
        } else if cursor.optional(b"{\"e\":\"aggTrade\",\"E\":") {
            self.agg_trade(envelope, cursor)
        } else if cursor.optional(b"{\"u\":") {
            self.quote(envelope, cursor)
        } else {
            None
        }
    }

    #[inline(always)]
    fn depth<'l>(
        &mut self,
        envelope: Envelope<'_>,
        mut cursor: Cursor<'_>,
        levels: &'l mut Vec<Level>,
    ) -> Option<(SymbolIndex, Event<'l>)> {
        let ts_event = time(&mut cursor)?;
        cursor.literal(b",\"s\":\"")?;
        let symbol = cursor.short()?;
        cursor.literal(b",\"U\":")?;
        let first_update_id = cursor.uint()?;
        cursor.literal(b",\"u\":")?;
        let last_update_id = cursor.uint()?;
        cursor.literal(b",\"b\":")?;
        let is_in_order = first_update_id <= last_update_id;
        envelope.is_of(&symbol).then_some(())?;
        is_in_order.then_some(())?;
        let scales = self.known.find(&symbol)?;
        let sides = self.scanner.sides(envelope.bytes, cursor.at(), b",\"a\":")?;
        cursor.seek(sides.end);
        envelope.end(&cursor)?;
        levels.clear();
        let is_exact = scales.push(sides.first, levels) & scales.push(sides.second, levels);
        is_exact.then_some(())?;
        let (bids, asks) = levels.split_at_checked(sides.first.len())?;
        let update = DepthUpdate { ts_event, first_update_id, last_update_id, bids, asks };
        Some((scales.symbol, Event::Depth(update)))
    }

    #[inline(always)]
    fn trade(
        &self,
        envelope: Envelope<'_>,
        mut cursor: Cursor<'_>,
    ) -> Option<(SymbolIndex, Event<'static>)> {
        let ts_event = time(&mut cursor)?;
        cursor.literal(b",\"s\":\"")?;
        let symbol = cursor.short()?;
        cursor.literal(b",\"t\":")?;
        let id = cursor.uint()?;
        cursor.literal(b",\"p\":\"")?;
        let px = cursor.decimal()?;
        cursor.literal(b",\"q\":\"")?;
        let qty = cursor.decimal()?;
        // The ids of the two orders, until 2024.
        if cursor.optional(b",\"b\":") {
            cursor.uint()?;
            cursor.literal(b",\"a\":")?;
            cursor.uint()?;
        }
        let (ts_trade, side) = trade_end(&mut cursor)?;
        let scales = self.known.find(&symbol)?;
        envelope.is_of(&symbol).then_some(())?;
        envelope.end(&cursor)?;
        let trade = Trade {
            stream: TradeStream::Trade,
            ts_event,
            ts_trade,
            id,
            first_id: id,
            last_id: id,
            px: scales.px(px)?,
            qty: scales.qty(qty).filter(|&qty| qty != Qty::ZERO)?,
            side,
        };
        Some((scales.symbol, Event::Trade(trade)))
    }

    #[inline(always)]
    fn agg_trade(
        &self,
        envelope: Envelope<'_>,
        mut cursor: Cursor<'_>,
    ) -> Option<(SymbolIndex, Event<'static>)> {
        let ts_event = time(&mut cursor)?;
        cursor.literal(b",\"s\":\"")?;
        let symbol = cursor.short()?;
        cursor.literal(b",\"a\":")?;
        let id = cursor.uint()?;
        cursor.literal(b",\"p\":\"")?;
        let px = cursor.decimal()?;
        cursor.literal(b",\"q\":\"")?;
        let qty = cursor.decimal()?;
        cursor.literal(b",\"f\":")?;
        let first_id = cursor.uint()?;
        cursor.literal(b",\"l\":")?;
        let last_id = cursor.uint()?;
        let (ts_trade, side) = trade_end(&mut cursor)?;
        let scales = self.known.find(&symbol)?;
        envelope.is_of(&symbol).then_some(())?;
        envelope.end(&cursor)?;
        (first_id <= last_id).then_some(())?;
        let trade = Trade {
            stream: TradeStream::AggTrade,
            ts_event,
            ts_trade,
            id,
            first_id,
            last_id,
            px: scales.px(px)?,
            qty: scales.qty(qty).filter(|&qty| qty != Qty::ZERO)?,
            side,
        };
        Some((scales.symbol, Event::Trade(trade)))
    }

    #[inline(always)]
    fn quote(
        &self,
        envelope: Envelope<'_>,
        mut cursor: Cursor<'_>,
    ) -> Option<(SymbolIndex, Event<'static>)> {
        let update_id = cursor.uint()?;
        cursor.literal(b",\"s\":\"")?;
        let symbol = cursor.short()?;
        cursor.literal(b",\"b\":\"")?;
        let bid_px = cursor.decimal()?;
        cursor.literal(b",\"B\":\"")?;
        let bid_qty = cursor.decimal()?;
        cursor.literal(b",\"a\":\"")?;
        let ask_px = cursor.decimal()?;
        cursor.literal(b",\"A\":\"")?;
        let ask_qty = cursor.decimal()?;
        let scales = self.known.find(&symbol)?;
        envelope.is_of(&symbol).then_some(())?;
        envelope.end(&cursor)?;
        let quote = Quote {
            update_id,
            bid_px: scales.px(bid_px)?,
            bid_qty: scales.qty(bid_qty)?,
            ask_px: scales.px(ask_px)?,
            ask_qty: scales.qty(ask_qty)?,
        };
        Some((scales.symbol, Event::Quote(quote)))
    }
}

/// What stands around an event.
#[derive(Clone, Copy)]
struct Envelope<'m> {
    bytes: &'m [u8],
    /// The stream's name in a combined message.
    stream: Option<&'m [u8]>,
}

impl Envelope<'_> {
    /// Nothing else would tell one symbol's prices under another's name.
    #[inline(always)]
    fn is_of(self, symbol: &Short) -> bool {
        self.stream.is_none_or(|stream| symbol.begins(stream, b'@'))
    }

    /// The event ends, and with it the message.
    #[inline(always)]
    fn end(self, cursor: &Cursor<'_>) -> Option<()> {
        let mut cursor = *cursor;
        cursor.literal(b"}")?;
        if self.stream.is_some() {
            cursor.literal(b"}")?;
        }
        cursor.is_at_end().then_some(())
    }
}

#[inline(always)]
fn time(cursor: &mut Cursor<'_>) -> Option<Nanos> {
    nanos_of(cursor.uint()?)
}

/// `T`, `m` and, passed over, `M`.
#[inline(always)]
fn trade_end(cursor: &mut Cursor<'_>) -> Option<(Nanos, Side)> {
    cursor.literal(b",\"T\":")?;
    let ts_trade = time(cursor)?;
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
