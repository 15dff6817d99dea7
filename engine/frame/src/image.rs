//! `BaseDataInput`: the frame's blocks and its layout for a configured radius of buckets.
//!
//! Guarantees: fixed blocks first, arrays that depend on the radius R behind them, at most 4 KiB in all;
//! larger is refused with the largest R that fits. The fold keeps one image in private memory, changes
//! what an input changed, and the ring copies it out. Does not: compute anything.

use bytemuck::{Pod, Zeroable};

use crate::rows::{CANDLE_FLAGS, CandleRow, SIDES, TICK_KINDS, TickRow, UNDEF};
use crate::schema::{Field, Names, Record, RecordSchema, Schema, WindowSchema};
use crate::{WindowSpec, record};

/// Largest frame, in bytes: every KB costs a reader about 250 ns.
pub const MAX_FRAME_SIZE_BYTES: usize = 4096;
/// Levels a side in a frame.
pub const BOOK_LEVELS: usize = 10;
/// The windows of flow and of the imbalance averages, in seconds.
pub const FLOW_WINDOWS_S: [i64; 4] = [1, 5, 15, 60];
/// Values of [`Identity::trigger`].
pub const TRIGGERS: [&str; 7] = ["depth", "quote", "trade", "snapshot", "repair", "link", "timer"];
/// Values of [`Book::book_state`].
pub const BOOK_STATES: [&str; 7] =
    ["empty", "syncing", "live", "gapped", "stale", "crossed", "halted"];
/// Values of [`Top::source`].
pub const TOP_SOURCES: [&str; 3] = ["bookTicker", "depth", "none"];
/// Bits of [`Quality::reasons`].
pub const REASONS: [&str; 12] = [
    "not_live",
    "depth_old",
    "quote_old",
    "trades_stalled",
    "crossed",
    "audit_mismatch",
    "repaired_bars",
    "coverage",
    "link_down",
    "halted",
    "unlogged",
    "flow_truncated",
];
/// Bits of [`Quality::valid`]: the blocks whose values may be used.
pub const BLOCKS: [&str; 8] =
    ["top", "book", "cob", "imbalance", "flow", "candles.1s", "candles.1m", "clock_offset"];

/// What an input did, the reason for a frame; numbered as [`TRIGGERS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "FRAME.md names them")]
pub enum Trigger {
    Depth = 0,
    Quote = 1,
    Trade = 2,
    Snapshot = 3,
    Repair = 4,
    Link = 5,
    Timer = 6,
}

record! {
    /// Which frame this is.
    pub struct Identity {
        /// UTF-8, padded with zero bytes.
        symbol: [u8; 24] = "text",
        /// Id of the schema that describes this frame.
        schema_id: u64 = "id",
        /// Start of the engine: `max(previous + 1, UTC ns)`.
        epoch: u64 = "id",
        /// Number of the frame in this epoch and symbol, from 0.
        seq: u64 = "id",
        /// The last input folded in; `u64::MAX` before the first.
        input_seq: u64 = "id",
        /// See [`TRIGGERS`].
        trigger: u8 = "enum:trigger",
    }
    pad 7
}

record! {
    /// When its input happened and passed the stages; offsets are the venue's clock minus ours.
    pub struct Times {
        /// The venue's clock; UNDEF for a stream without venue time, and for a timer.
        ts_event: i64 = "ns",
        /// The kernel's receive time.
        ts_kernel: i64 = "ns",
        /// Our clock at the socket; for a timer its instant.
        ts_recv: i64 = "ns",
        /// Our clock after parsing.
        ts_parsed: i64 = "ns",
        /// Our clock after the state changed.
        ts_applied: i64 = "ns",
        /// Our clock just before this frame became visible.
        ts_published: i64 = "ns",
        /// Midpoint of the next two, else `offset_low`.
        clock_offset: i64 = "ns",
        /// Largest venue time minus receive time over the last 60 s.
        offset_low: i64 = "ns",
        /// Server time minus send time of the last REST `time`.
        offset_high: i64 = "ns",
        /// The host's wall clock minus our clock.
        wall_offset: i64 = "ns",
    }
}

record! {
    /// How good this frame is: the score is the least of five components, each 1 in normal running.
    pub struct Quality {
        /// The least component.
        score: f64 = "ratio",
        /// 1 while the book is live, else 0.
        sync: f64 = "ratio",
        /// Age of depth and bookTicker against their limit.
        freshness: f64 = "ratio",
        /// Rows of the required windows.
        completeness: f64 = "ratio",
        /// Book against bookTicker and audits, repaired bars.
        consistency: f64 = "ratio",
        /// Share of the imbalance's buckets that are known.
        coverage: f64 = "ratio",
        /// See [`REASONS`].
        reasons: u64 = "bits:reasons",
        /// Blocks that may be used, see [`BLOCKS`].
        valid: u64 = "bits:blocks",
        /// Since the last depth message; UNDEF before the first.
        age_depth: i64 = "ns",
        /// Since the last bookTicker.
        age_quote: i64 = "ns",
        /// Since the last trade.
        age_trade: i64 = "ns",
        /// Trailing rows of `candles.1s` without a hole.
        valid_rows_candles_1s: u64 = "count",
        /// Trailing rows of `candles.1m` without a hole.
        valid_rows_candles_1m: u64 = "count",
    }
}

record! {
    /// The freshest best prices, from bookTicker or depth, whichever has the higher update id.
    pub struct Top {
        /// Best bid.
        bid_px: f64 = "quote",
        /// Its quantity.
        bid_qty: f64 = "base",
        /// Best ask.
        ask_px: f64 = "quote",
        /// Its quantity.
        ask_qty: f64 = "base",
        /// (bid + ask) / 2.
        mid_px: f64 = "quote",
        /// (bid_px·ask_qty + ask_px·bid_qty) / (bid_qty + ask_qty).
        micro_px: f64 = "quote",
        /// ask − bid.
        spread: f64 = "quote",
        /// Update id that it belongs to; 0 where unknown.
        update_id: u64 = "update_id",
        /// See [`TOP_SOURCES`].
        source: u8 = "enum:top_source",
    }
    pad 7
}

record! {
    /// The depth book alone.
    pub struct Book {
        /// Update id of the last applied event, or of the snapshot; 0 where there is no book.
        update_id: u64 = "update_id",
        /// Best bids, price and quantity.
        bids: [[f64; 2]; BOOK_LEVELS] = "levels",
        /// Best asks, price and quantity.
        asks: [[f64; 2]; BOOK_LEVELS] = "levels",
        /// Every bid from the best down to this price is known.
        bid_known_to: f64 = "quote",
        /// Every ask from the best up to this price is known.
        ask_known_to: f64 = "quote",
        /// Bid levels in the known range.
        levels_known_bid: u32 = "count",
        /// Ask levels in the known range.
        levels_known_ask: u32 = "count",
        /// See [`BOOK_STATES`].
        book_state: u8 = "enum:book_state",
    }
    pad 7
}

record! {
    /// The price buckets around the centre; their arrays stand behind the fixed blocks.
    pub struct Cob {
        /// Width of a bucket.
        bucket_size: f64 = "quote",
        /// floor(mid / bucket_size); UNDEF where there is no book.
        centre_bucket: i64 = "bucket",
    }
}

record! {
    /// Imbalance of the book, by buckets and by price, with the averages of its 100 ms samples.
    pub struct Imbalance {
        /// (B − A) / (B + A) over buckets centre ± k.
        imbalance: f64 = "ratio",
        /// Mean of the samples of the last second.
        imbalance_ma_1s: f64 = "ratio",
        /// Of the last 5 s.
        imbalance_ma_5s: f64 = "ratio",
        /// Of the last 15 s.
        imbalance_ma_15s: f64 = "ratio",
        /// Of the last 60 s.
        imbalance_ma_60s: f64 = "ratio",
        /// The same with the distance from the mid instead of buckets.
        imbalance_px: f64 = "ratio",
        /// Its mean over the last second.
        imbalance_px_ma_1s: f64 = "ratio",
        /// Over the last 5 s.
        imbalance_px_ma_5s: f64 = "ratio",
        /// Over the last 15 s.
        imbalance_px_ma_15s: f64 = "ratio",
        /// Over the last 60 s.
        imbalance_px_ma_60s: f64 = "ratio",
        /// Samples in each of the four averages.
        imbalance_samples: [u32; 4] = "count",
        /// Live, and all buckets centre ± k known.
        imbalance_valid: u8 = "bool",
    }
    pad 7
}

record! {
    /// The last trade, and flow over [`FLOW_WINDOWS_S`].
    pub struct Flow {
        /// Price of the last trade.
        last_px: f64 = "quote",
        /// Its quantity.
        last_qty: f64 = "base",
        /// Its last id; 0 before the first.
        last_id: u64 = "id",
        /// Its match time.
        last_ts_event: i64 = "ns",
        /// Quantity that takers bought.
        buy_volume: [f64; 4] = "base",
        /// Quantity that takers sold.
        sell_volume: [f64; 4] = "base",
        /// Volume-weighted average price; NaN without trades.
        vwap: [f64; 4] = "quote",
        /// Level-1 order-flow imbalance (Cont, Kukanov, Stoikov 2014) from bookTicker.
        ofi: [f64; 4] = "base",
        /// Fills that takers bought.
        buy_count: [u64; 4] = "count",
        /// Fills that takers sold.
        sell_count: [u64; 4] = "count",
        /// The taker's side of the last trade, see [`SIDES`].
        last_side: u8 = "enum:side",
    }
    pad 7
}

/// Windows of this layout, in the order of the segment's table.
pub const WINDOWS: [&str; 3] = ["candles.1s", "candles.1m", "ticks"];

/// Every block whose place does not depend on the radius.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[expect(missing_docs, reason = "each block documents itself")]
pub struct FrameHead {
    pub identity: Identity,
    pub times: Times,
    pub quality: Quality,
    pub top: Top,
    pub book: Book,
    pub cob: Cob,
    pub imbalance: Imbalance,
    pub flow: Flow,
    pub open_1s: CandleRow,
    pub open_1m: CandleRow,
    /// (done, revision) of each window, in the order of [`WINDOWS`].
    pub cursors: [[u64; 2]; WINDOWS.len()],
}

const _: () = assert!(FrameLayout::size_bytes_of(20) <= MAX_FRAME_SIZE_BYTES);

/// Where the arrays that depend on the radius R stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLayout {
    radius: usize,
}

impl FrameLayout {
    /// Buckets a frame holds on each side of the centre, at most.
    #[must_use]
    pub const fn max_radius() -> usize {
        let mut radius = 0;
        while Self::size_bytes_of(radius + 1) <= MAX_FRAME_SIZE_BYTES {
            radius += 1;
        }
        radius
    }

    const fn size_bytes_of(radius: usize) -> usize {
        let buckets = 2 * radius + 1;
        size_of::<FrameHead>() + 8 * (2 * buckets + buckets.div_ceil(64) + radius + 1)
    }

    /// # Errors
    /// The size in bytes where a frame of this radius is above [`MAX_FRAME_SIZE_BYTES`].
    pub const fn new(radius: usize) -> Result<Self, usize> {
        // Bounded first, so that the size cannot overflow.
        let size_bytes = if radius > 1 << 20 { usize::MAX } else { Self::size_bytes_of(radius) };
        if size_bytes > MAX_FRAME_SIZE_BYTES { Err(size_bytes) } else { Ok(Self { radius }) }
    }

    /// R.
    #[must_use]
    pub const fn radius(self) -> usize {
        self.radius
    }

    /// 2R + 1.
    #[must_use]
    pub const fn buckets(self) -> usize {
        2 * self.radius + 1
    }

    /// Size of the frame.
    #[must_use]
    pub const fn size_bytes(self) -> usize {
        Self::size_bytes_of(self.radius)
    }

    const fn tail_word(self) -> usize {
        size_of::<FrameHead>() / 8
    }

    /// Names, types, places and units of all of it.
    #[must_use]
    pub fn schema(self, ticks_promised: u64) -> Schema {
        let at = |offset: usize| offset;
        let mut fields = Vec::new();
        fields.extend(Identity::describe("", at(std::mem::offset_of!(FrameHead, identity))));
        fields.extend(Times::describe("times.", at(std::mem::offset_of!(FrameHead, times))));
        fields.extend(Quality::describe("quality.", at(std::mem::offset_of!(FrameHead, quality))));
        fields.extend(Top::describe("top.", at(std::mem::offset_of!(FrameHead, top))));
        fields.extend(Book::describe("book.", at(std::mem::offset_of!(FrameHead, book))));
        fields.extend(Cob::describe("cob.", at(std::mem::offset_of!(FrameHead, cob))));
        fields.extend(Imbalance::describe(
            "imbalance.",
            at(std::mem::offset_of!(FrameHead, imbalance)),
        ));
        fields.extend(Flow::describe("flow.", at(std::mem::offset_of!(FrameHead, flow))));
        for (name, offset) in [
            ("candles.1s.open.", std::mem::offset_of!(FrameHead, open_1s)),
            ("candles.1m.open.", std::mem::offset_of!(FrameHead, open_1m)),
        ] {
            fields.extend(CandleRow::describe(name, offset));
        }
        for (index, window) in WINDOWS.iter().enumerate() {
            fields.push(Field {
                name: format!("cursors.{window}"),
                dtype: "<u8".to_owned(),
                shape: vec![2],
                offset: std::mem::offset_of!(FrameHead, cursors) + 16 * index,
                unit: "cursor".to_owned(),
            });
        }
        let buckets = self.buckets();
        let mut offset = size_of::<FrameHead>();
        for (name, dtype, length, unit) in [
            ("cob.bid_qty", "<f8", buckets, "base".to_owned()),
            ("cob.ask_qty", "<f8", buckets, "base".to_owned()),
            ("cob.valid", "<u8", buckets.div_ceil(64), format!("bitset:{buckets}")),
            ("imbalance.imbalance_within", "<f8", self.radius + 1, "ratio".to_owned()),
        ] {
            fields.push(Field {
                name: name.to_owned(),
                dtype: dtype.to_owned(),
                shape: vec![length],
                offset,
                unit,
            });
            offset += 8 * length;
        }
        debug_assert_eq!(offset, self.size_bytes());
        let names = |name: &str, values: &[&str]| Names {
            name: name.to_owned(),
            values: values.iter().map(|&value| value.to_owned()).collect(),
        };
        Schema {
            frame: RecordSchema { size_bytes: self.size_bytes(), fields },
            windows: window_schemas(ticks_promised),
            names: vec![
                names("trigger", &TRIGGERS),
                names("book_state", &BOOK_STATES),
                names("top_source", &TOP_SOURCES),
                names("reasons", &REASONS),
                names("blocks", &BLOCKS),
                names("candle_flags", &CANDLE_FLAGS),
                names("tick_kind", &TICK_KINDS),
                names("side", &SIDES),
            ],
        }
    }
}

/// Rows of `ticks` that readers may count on, by default.
pub const TICKS_PROMISED: u64 = 180_000;
/// Rows of each candle window that readers may count on.
pub const CANDLES_PROMISED: u64 = 1_500;

fn window_schemas(ticks_promised: u64) -> Vec<WindowSchema> {
    let window = |name: &str, rows_promised: u64, capacity: u64, row: RecordSchema| WindowSchema {
        name: name.to_owned(),
        rows_promised,
        capacity,
        row,
    };
    vec![
        window(WINDOWS[0], CANDLES_PROMISED, 2 * CANDLES_PROMISED, CandleRow::schema()),
        window(WINDOWS[1], CANDLES_PROMISED, 2 * CANDLES_PROMISED, CandleRow::schema()),
        window(
            WINDOWS[2],
            ticks_promised,
            ticks_promised + ticks_promised.div_ceil(8),
            TickRow::schema(),
        ),
    ]
}

impl Schema {
    /// The windows as a segment is laid out for them.
    #[must_use]
    pub fn window_specs(&self) -> Vec<WindowSpec> {
        self.windows
            .iter()
            .map(|window| WindowSpec {
                name: window.name.clone(),
                row_size_bytes: window.row.size_bytes,
                rows_promised: window.rows_promised,
                capacity: window.capacity,
            })
            .collect()
    }
}

/// The frame that the fold keeps, in private memory.
#[derive(Debug, Clone)]
pub struct FrameImage {
    words: Box<[u64]>,
    layout: FrameLayout,
}

impl FrameImage {
    /// An image in which nothing is known.
    #[must_use]
    pub fn new(layout: FrameLayout) -> Self {
        let mut image = Self { words: vec![0; layout.size_bytes() / 8].into_boxed_slice(), layout };
        let head = image.head_mut();
        head.identity.input_seq = u64::MAX;
        let times = &mut head.times;
        for time in [
            &mut times.ts_event,
            &mut times.ts_kernel,
            &mut times.ts_recv,
            &mut times.ts_parsed,
            &mut times.ts_applied,
            &mut times.ts_published,
            &mut times.clock_offset,
            &mut times.offset_low,
            &mut times.offset_high,
        ] {
            *time = UNDEF;
        }
        head.open_1s = CandleRow::NONE;
        head.open_1m = CandleRow::NONE;
        image
    }

    /// A frame that a reader copied; `None` where its size is not the layout's.
    #[must_use]
    pub fn from_words(words: Box<[u64]>, layout: FrameLayout) -> Option<Self> {
        (words.len() * 8 == layout.size_bytes()).then_some(Self { words, layout })
    }

    /// Becomes the same frame as another image of the same layout.
    pub fn copy_from(&mut self, other: &Self) {
        self.words.copy_from_slice(&other.words);
    }

    /// Becomes the frame of these words; `false` where their number is not the layout's.
    pub fn copy_from_words(&mut self, words: &[u64]) -> bool {
        let fits = words.len() == self.words.len();
        if fits {
            self.words.copy_from_slice(words);
        }
        fits
    }

    /// The layout.
    #[must_use]
    pub fn layout(&self) -> FrameLayout {
        self.layout
    }

    /// The whole frame.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// The fixed blocks.
    #[must_use]
    pub fn head(&self) -> &FrameHead {
        bytemuck::from_bytes(bytemuck::cast_slice(&self.words[..self.layout.tail_word()]))
    }

    /// The fixed blocks, to change.
    pub fn head_mut(&mut self) -> &mut FrameHead {
        bytemuck::from_bytes_mut(bytemuck::cast_slice_mut(
            &mut self.words[..self.layout.tail_word()],
        ))
    }

    /// The arrays behind the fixed blocks, to change.
    pub fn arrays_mut(&mut self) -> FrameArraysMut<'_> {
        let buckets = self.layout.buckets();
        let rest = &mut self.words[self.layout.tail_word()..];
        let (bid_qty, rest) = rest.split_at_mut(buckets);
        let (ask_qty, rest) = rest.split_at_mut(buckets);
        let (valid, within) = rest.split_at_mut(buckets.div_ceil(64));
        FrameArraysMut {
            bid_qty: bytemuck::cast_slice_mut(bid_qty),
            ask_qty: bytemuck::cast_slice_mut(ask_qty),
            valid,
            imbalance_within: bytemuck::cast_slice_mut(within),
        }
    }
}

/// The arrays that depend on the radius R.
#[derive(Debug)]
pub struct FrameArraysMut<'a> {
    /// Bid quantity by bucket, `[2R + 1]`, lowest price first.
    pub bid_qty: &'a mut [f64],
    /// Ask quantity by bucket, `[2R + 1]`.
    pub ask_qty: &'a mut [f64],
    /// Bit i: bucket i is known, 2R + 1 bits.
    pub valid: &'a mut [u64],
    /// Imbalance over centre ± d, `[R + 1]`.
    pub imbalance_within: &'a mut [f64],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_tile_the_frame_without_overlap() {
        for radius in [0, 1, 20, 31, 32, FrameLayout::max_radius()] {
            let layout = FrameLayout::new(radius).unwrap();
            let schema = layout.schema(TICKS_PROMISED);
            let mut end = 0;
            for field in &schema.frame.fields {
                assert!(field.offset >= end, "{} overlaps at {}", field.name, field.offset);
                assert!(field.offset - end < 8, "a hole before {}", field.name);
                let element: usize = field.dtype[2..].parse().unwrap();
                end = field.offset + element * field.shape.iter().product::<usize>();
            }
            assert_eq!(end, layout.size_bytes());
            assert_eq!(Schema::from_json(&schema.to_json()).unwrap(), schema);
        }
    }

    #[test]
    fn a_radius_beyond_4_kib_is_refused_with_its_size() {
        let largest = FrameLayout::max_radius();
        assert!(FrameLayout::new(largest).is_ok());
        assert!(FrameLayout::new(largest + 1).is_err_and(|bytes| bytes > MAX_FRAME_SIZE_BYTES));
        assert!(FrameLayout::new(usize::MAX).is_err());
    }
}
