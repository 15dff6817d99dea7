//! `BaseDataInput`: the frame's layout for a configured radius of buckets and the configured models.
//!
//! Guarantees: fixed blocks first, what depends on the radius R and the models behind them, at most 4 KiB in
//! all; larger is refused with the size. The fold keeps one image in private memory, changes what an
//! input changed, and the ring copies it out. Does not: compute anything.

use std::mem::offset_of;

use bytemuck::{Pod, Zeroable};

use crate::WindowSpec;
use crate::blocks::{
    BLOCKS, BOOK_STATES, Book, Cob, Flow, Identity, Imbalance, PRICE_SOURCES, PivotBounds,
    PivotLevel, Price, Quality, REASONS, TOP_SOURCES, TRIGGERS, Times, Top,
};
use crate::rows::{CANDLE_FLAGS, CandleRow, PIVOT_KINDS, SIDES, TICK_KINDS, UNDEF};
use crate::schema::{Field, Names, Record, RecordSchema, Schema};
use crate::windows::{
    BAR_INTERVALS, PIVOT_LEVELS, STUDIED_INTERVALS, WINDOWS, WindowRows, model_window_name,
    window_schemas, window_specs,
};

/// Largest frame, in bytes: every KB costs a reader about 250 ns.
pub const MAX_FRAME_SIZE_BYTES: usize = 4096;

/// Every block whose place depends neither on the radius nor on the models.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[expect(missing_docs, reason = "each block documents itself")]
pub struct FrameHead {
    pub identity: Identity,
    pub times: Times,
    pub quality: Quality,
    pub top: Top,
    pub price: Price,
    pub book: Book,
    pub cob: Cob,
    pub imbalance: Imbalance,
    pub flow: Flow,
    /// The open bar of each of [`BAR_INTERVALS`].
    pub open: [CandleRow; BAR_INTERVALS.len()],
    /// Of 1 s and 1 min bars, each level.
    pub pivots: [[PivotLevel; PIVOT_LEVELS]; STUDIED_INTERVALS],
    pub pivot_bounds: PivotBounds,
    /// Since what each of [`BLOCKS`] shows was received; UNDEF where nothing was.
    pub ages: [i64; BLOCKS.len()],
    /// Trailing rows of each of [`WINDOWS`] that are no holes.
    pub valid_rows: [u64; WINDOWS.len()],
    /// (done, revision) of each of [`WINDOWS`].
    pub cursors: [[u64; 2]; WINDOWS.len()],
}

const _: () = assert!(FrameLayout::size_bytes_of(20, 8) <= MAX_FRAME_SIZE_BYTES);

/// Where the parts stand that depend on the radius R and on the number of models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLayout {
    radius: usize,
    models: usize,
}

impl FrameLayout {
    /// Buckets a frame holds on each side of the centre, at most.
    #[must_use]
    pub const fn max_radius(models: usize) -> usize {
        let mut radius = 0;
        while Self::size_bytes_of(radius + 1, models) <= MAX_FRAME_SIZE_BYTES {
            radius += 1;
        }
        radius
    }

    const fn size_bytes_of(radius: usize, models: usize) -> usize {
        let buckets = 2 * radius + 1;
        let words = 2 * buckets + buckets.div_ceil(64) + radius + 1 + MODEL_WORDS * models;
        size_of::<FrameHead>() + 8 * words
    }

    /// The layout for R = `radius` and so many models.
    ///
    /// # Errors
    /// The size in bytes where such a frame is above [`MAX_FRAME_SIZE_BYTES`].
    pub const fn new(radius: usize, models: usize) -> Result<Self, usize> {
        // Bounded first, so that the size cannot overflow.
        let size_bytes = if radius > 1 << 20 || models > 1 << 20 {
            usize::MAX
        } else {
            Self::size_bytes_of(radius, models)
        };
        if size_bytes > MAX_FRAME_SIZE_BYTES {
            Err(size_bytes)
        } else {
            Ok(Self { radius, models })
        }
    }

    /// R.
    #[must_use]
    pub const fn radius(self) -> usize {
        self.radius
    }

    /// Models that the frame has cursors of.
    #[must_use]
    pub const fn models(self) -> usize {
        self.models
    }

    /// 2R + 1.
    #[must_use]
    pub const fn buckets(self) -> usize {
        2 * self.radius + 1
    }

    /// Size of the frame.
    #[must_use]
    pub const fn size_bytes(self) -> usize {
        Self::size_bytes_of(self.radius, self.models)
    }

    const fn tail_word(self) -> usize {
        size_of::<FrameHead>() / 8
    }

    /// Names, types, places and units of all of it. `models` are the models' names.
    ///
    /// # Panics
    /// Where they are not as many as the layout's.
    #[must_use]
    pub fn schema(self, rows: WindowRows, models: &[String]) -> Schema {
        assert_eq!(models.len(), self.models, "models of the layout");
        let mut fields = fixed_fields();
        let buckets = self.buckets();
        let mut offset = size_of::<FrameHead>();
        let mut push = |name: String, dtype: &str, shape: Vec<usize>, unit: String| {
            let words = shape.iter().product::<usize>();
            fields.push(Field { name, dtype: dtype.to_owned(), shape, offset, unit });
            offset += 8 * words;
        };
        let base = || "base".to_owned();
        push("cob.bid_qty".to_owned(), "<f8", vec![buckets], base());
        push("cob.ask_qty".to_owned(), "<f8", vec![buckets], base());
        let bits = format!("bitset:{buckets}");
        push("cob.valid".to_owned(), "<u8", vec![buckets.div_ceil(64)], bits);
        let within = "imbalance.imbalance_within".to_owned();
        push(within, "<f8", vec![self.radius + 1], "ratio".to_owned());
        for model in models {
            let window = model_window_name(model);
            push(format!("cursors.{window}"), "<u8", vec![2], "cursor".to_owned());
            push(format!("quality.valid_rows.{window}"), "<u8", vec![], "count".to_owned());
        }
        debug_assert_eq!(offset, self.size_bytes());
        Schema {
            frame: RecordSchema { size_bytes: self.size_bytes(), fields },
            windows: window_schemas(rows, models),
            names: value_names(),
        }
    }
}

/// A model's cursor (done, revision) and its trailing valid rows.
const MODEL_WORDS: usize = 3;

fn fixed_fields() -> Vec<Field> {
    let mut fields = Vec::new();
    fields.extend(Identity::describe("", offset_of!(FrameHead, identity)));
    fields.extend(Times::describe("times.", offset_of!(FrameHead, times)));
    fields.extend(Quality::describe("quality.", offset_of!(FrameHead, quality)));
    fields.extend(Top::describe("top.", offset_of!(FrameHead, top)));
    fields.extend(Price::describe("price.", offset_of!(FrameHead, price)));
    fields.extend(Book::describe("book.", offset_of!(FrameHead, book)));
    fields.extend(Cob::describe("cob.", offset_of!(FrameHead, cob)));
    fields.extend(Imbalance::describe("imbalance.", offset_of!(FrameHead, imbalance)));
    fields.extend(Flow::describe("flow.", offset_of!(FrameHead, flow)));
    for (at, interval) in BAR_INTERVALS.iter().enumerate() {
        let offset = offset_of!(FrameHead, open) + at * size_of::<CandleRow>();
        fields.extend(CandleRow::describe(&format!("candles.{interval}.open."), offset));
    }
    for (at, interval) in BAR_INTERVALS[..STUDIED_INTERVALS].iter().enumerate() {
        for level in 0..PIVOT_LEVELS {
            let place = at * PIVOT_LEVELS + level;
            let offset = offset_of!(FrameHead, pivots) + place * size_of::<PivotLevel>();
            let prefix = format!("pivots.{interval}.{}.", level + 1);
            fields.extend(PivotLevel::describe(&prefix, offset));
        }
    }
    fields.extend(PivotBounds::describe("pivot_bounds.", offset_of!(FrameHead, pivot_bounds)));
    let mut each = |prefix: &str, names: &[&str], dtype: &str, words: usize, offset, unit: &str| {
        for (at, name) in names.iter().enumerate() {
            fields.push(Field {
                name: format!("{prefix}.{name}"),
                dtype: dtype.to_owned(),
                shape: if words == 1 { Vec::new() } else { vec![words] },
                offset: offset + 8 * words * at,
                unit: unit.to_owned(),
            });
        }
    };
    each("quality.age", &BLOCKS, "<i8", 1, offset_of!(FrameHead, ages), "ns");
    each("quality.valid_rows", &WINDOWS, "<u8", 1, offset_of!(FrameHead, valid_rows), "count");
    each("cursors", &WINDOWS, "<u8", 2, offset_of!(FrameHead, cursors), "cursor");
    fields
}

fn value_names() -> Vec<Names> {
    let names = |name: &str, values: &[&str]| Names {
        name: name.to_owned(),
        values: values.iter().map(|&value| value.to_owned()).collect(),
    };
    vec![
        names("trigger", &TRIGGERS),
        names("book_state", &BOOK_STATES),
        names("top_source", &TOP_SOURCES),
        names("price_source", &PRICE_SOURCES),
        names("reasons", &REASONS),
        names("blocks", &BLOCKS),
        names("candle_flags", &CANDLE_FLAGS),
        names("tick_kind", &TICK_KINDS),
        names("side", &SIDES),
        names("pivot_kind", &PIVOT_KINDS),
    ]
}

impl Schema {
    /// The windows as a segment is laid out for them.
    #[must_use]
    pub fn window_specs(&self) -> Vec<WindowSpec> {
        window_specs(&self.windows)
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
        head.open = [CandleRow::NONE; BAR_INTERVALS.len()];
        head.price = Price::NONE;
        head.pivots = [[PivotLevel::NONE; PIVOT_LEVELS]; STUDIED_INTERVALS];
        head.pivot_bounds = PivotBounds::NONE;
        head.ages = [UNDEF; BLOCKS.len()];
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

    /// The quantities of the buckets and which of them are known.
    #[must_use]
    pub fn buckets(&self) -> FrameBuckets<'_> {
        let buckets = self.layout.buckets();
        let rest = &self.words[self.layout.tail_word()..];
        let (bid_qty, rest) = rest.split_at(buckets);
        let (ask_qty, rest) = rest.split_at(buckets);
        FrameBuckets {
            bid_qty: bytemuck::cast_slice(bid_qty),
            ask_qty: bytemuck::cast_slice(ask_qty),
            valid: &rest[..buckets.div_ceil(64)],
        }
    }

    /// What stands behind the fixed blocks, to change.
    pub fn arrays_mut(&mut self) -> FrameArraysMut<'_> {
        let buckets = self.layout.buckets();
        let rest = &mut self.words[self.layout.tail_word()..];
        let (bid_qty, rest) = rest.split_at_mut(buckets);
        let (ask_qty, rest) = rest.split_at_mut(buckets);
        let (valid, rest) = rest.split_at_mut(buckets.div_ceil(64));
        let (within, models) = rest.split_at_mut(self.layout.radius + 1);
        FrameArraysMut {
            bid_qty: bytemuck::cast_slice_mut(bid_qty),
            ask_qty: bytemuck::cast_slice_mut(ask_qty),
            valid,
            imbalance_within: bytemuck::cast_slice_mut(within),
            models: bytemuck::cast_slice_mut(models),
        }
    }
}

/// Buckets around the centre, lowest price first, 2R + 1 of them.
#[derive(Debug, Clone, Copy)]
pub struct FrameBuckets<'a> {
    /// Bid quantity.
    pub bid_qty: &'a [f64],
    /// Ask quantity.
    pub ask_qty: &'a [f64],
    /// Bit i: bucket i is known.
    pub valid: &'a [u64],
}

/// What depends on the radius R and the models.
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
    /// Of each model: done and revision of its window, and its trailing valid rows.
    pub models: &'a mut [[u64; MODEL_WORDS]],
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("m{number}")).collect()
    }

    #[test]
    fn fields_tile_the_frame_without_overlap() {
        for count in [0, 1, 8] {
            for radius in [0, 1, 20, FrameLayout::max_radius(count)] {
                let layout = FrameLayout::new(radius, count).unwrap();
                let schema = layout.schema(WindowRows::default(), &models(count));
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
    }

    #[test]
    fn a_frame_beyond_4_kib_is_refused_with_its_size() {
        for models in [0, 8] {
            let largest = FrameLayout::max_radius(models);
            assert!(FrameLayout::new(largest, models).is_ok());
            let refused = FrameLayout::new(largest + 1, models);
            assert!(refused.is_err_and(|bytes| bytes > MAX_FRAME_SIZE_BYTES));
        }
        assert!(FrameLayout::new(usize::MAX, 0).is_err());
        assert!(FrameLayout::new(0, usize::MAX).is_err());
    }
}
