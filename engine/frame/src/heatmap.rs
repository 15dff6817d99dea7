//! The heatmap: a window of `cob_rows` as a matrix whose columns are fixed in price. Guarantees: columns lie around
//! the last row's centre, a cell of another row is found by its price, what that row did not know is NaN and not
//! valid. Needs: rows as the schema describes them. Does not: invent cells; [`Heatmap::filled`] is explicit.

use crate::error::FrameError;
use crate::rows::UNDEF;
use crate::schema::{Field, RecordSchema, Schema};
use crate::window_reader::WindowReader;

/// What a cell holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "FRAME.md names them")]
pub enum Metric {
    BidQty,
    AskQty,
    Qty,
    NetQty,
    BidQuote,
    AskQuote,
    Quote,
    NetQuote,
    Imbalance,
    BuyVolume,
    SellVolume,
}

impl Metric {
    /// Names, in the order of the variants.
    pub const NAMES: [&'static str; 11] = [
        "bid_qty",
        "ask_qty",
        "qty",
        "net_qty",
        "bid_quote",
        "ask_quote",
        "quote",
        "net_quote",
        "imbalance",
        "buy_volume",
        "sell_volume",
    ];
    const ALL: [Self; 11] = [
        Self::BidQty,
        Self::AskQty,
        Self::Qty,
        Self::NetQty,
        Self::BidQuote,
        Self::AskQuote,
        Self::Quote,
        Self::NetQuote,
        Self::Imbalance,
        Self::BuyVolume,
        Self::SellVolume,
    ];

    /// The metric of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().position(|known| *known == name).map(|at| Self::ALL[at])
    }
}

/// Why there is no heatmap.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeatmapError {
    /// The segment's rows are others than FRAME.md's.
    #[error(
        "the segment has no {what}, which a heatmap is made of; use an engine that keeps the history of buckets"
    )]
    Missing {
        /// Window or field.
        what: String,
    },
    /// No such metric.
    #[error("metric {found:?}: wanted one of {}", Metric::NAMES.join(", "))]
    UnknownMetric {
        /// The name given.
        found: String,
    },
    /// Wider than the rows.
    #[error(
        "radius {found}: rows hold {most} buckets on each side of their centre; ask for at most that"
    )]
    Radius {
        /// The radius asked for.
        found: usize,
        /// The largest.
        most: usize,
    },
    /// The rows cannot be had.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// Rows by time, columns by price, both ascending.
#[derive(Debug, Clone, PartialEq)]
pub struct Heatmap {
    /// Venue second of each row: T.
    pub times: Vec<i64>,
    /// Lower edge of each bucket: W = 2 · radius + 1. NaN where no row has a centre.
    pub prices: Vec<f64>,
    /// Cells, row by row: T · W. NaN where not valid.
    pub values: Vec<f32>,
    /// Which cells were known.
    pub valid: Vec<bool>,
}

/// The window that heatmaps are made of.
pub const COB_ROWS: &str = "cob_rows";

impl Heatmap {
    /// The last `seconds` rows before a frame's cursor, or as many as there are.
    ///
    /// # Errors
    /// [`HeatmapError`]; of the frame's own kind `Lapped` and `Repaired`, after which a newer frame will do.
    pub fn of_frame(
        schema: &Schema,
        window: &WindowReader,
        frame: &[u64],
        seconds: u64,
        radius: usize,
        metric: Metric,
    ) -> Result<Self, HeatmapError> {
        let missing = |what: &str| HeatmapError::Missing { what: what.to_owned() };
        let row = &schema.window(COB_ROWS).ok_or_else(|| missing(COB_ROWS))?.row;
        let cursor = schema.cursor(frame, COB_ROWS).ok_or_else(|| missing("cursors.cob_rows"))?;
        let held = cursor.done.saturating_sub(window.oldest()).min(window.rows_promised());
        let view = window.last(cursor, seconds.min(held))?;
        let mut rows = vec![0; view.size_words()];
        view.copy_into(&mut rows)?;
        let bucket_size = schema.frame.float(frame, "cob.bucket_size");
        Self::of_rows(row, &rows, bucket_size, radius, metric)
    }

    /// Of rows that were copied, oldest first.
    ///
    /// # Errors
    /// [`HeatmapError::Missing`] and [`HeatmapError::Radius`].
    pub fn of_rows(
        row: &RecordSchema,
        rows: &[u64],
        bucket_size: f64,
        radius: usize,
        metric: Metric,
    ) -> Result<Self, HeatmapError> {
        let fields = Fields::of(row)?;
        if radius > fields.span {
            return Err(HeatmapError::Radius { found: radius, most: fields.span });
        }
        let rows: Vec<&[u64]> = rows.chunks_exact(row.size_bytes / 8).collect();
        let width = 2 * radius + 1;
        // A book that is not live has no centre: the newest row that has one fixes the columns.
        let centre =
            rows.iter().rev().map(|row| fields.centre.signed(row, 0)).find(|&c| c != UNDEF);
        let edge = Edge::of(bucket_size);
        let lowest = centre.map(|centre| centre.saturating_sub_unsigned(radius as u64));
        let bucket_of =
            |column: usize| lowest.map(|low| low.saturating_add_unsigned(column as u64));
        let prices = (0..width)
            .map(|column| bucket_of(column).map_or(f64::NAN, |b| edge.price(b)))
            .collect();
        let mut values = Vec::with_capacity(rows.len() * width);
        let mut valid = Vec::with_capacity(rows.len() * width);
        for row in &rows {
            for column in 0..width {
                let cell = bucket_of(column)
                    .and_then(|bucket| Some((bucket, fields.index_of(row, bucket)?)))
                    .and_then(|(bucket, index)| {
                        fields.cell(row, index, metric, edge.middle(bucket))
                    });
                valid.push(cell.is_some());
                values.push(cell.unwrap_or(f32::NAN));
            }
        }
        let times = rows.iter().map(|row| fields.time.signed(row, 0)).collect();
        Ok(Self { times, prices, values, valid })
    }

    /// The cells with a value in place of NaN.
    #[must_use]
    pub fn filled(&self, value: f32) -> Vec<f32> {
        self.values.iter().map(|cell| if cell.is_nan() { value } else { *cell }).collect()
    }
}

/// Places in a row.
struct Fields<'a> {
    time: &'a Field,
    centre: &'a Field,
    bid_qty: &'a Field,
    ask_qty: &'a Field,
    buy_volume: &'a Field,
    sell_volume: &'a Field,
    valid: &'a Field,
    /// Buckets on each side of a row's centre.
    span: usize,
}

impl<'a> Fields<'a> {
    fn of(row: &'a RecordSchema) -> Result<Self, HeatmapError> {
        let field = |name: &str| {
            let what = format!("{COB_ROWS}.{name}");
            row.field(name).ok_or(HeatmapError::Missing { what })
        };
        let bid_qty = field("bid_qty")?;
        let fields = Self {
            time: field("venue_second")?,
            centre: field("centre_bucket")?,
            bid_qty,
            ask_qty: field("ask_qty")?,
            buy_volume: field("buy_volume")?,
            sell_volume: field("sell_volume")?,
            valid: field("valid")?,
            span: bid_qty.element_count().saturating_sub(1) / 2,
        };
        Ok(fields)
    }

    /// Place of a bucket in a row's arrays.
    fn index_of(&self, row: &[u64], bucket: i64) -> Option<usize> {
        let centre = Some(self.centre.signed(row, 0)).filter(|&centre| centre != UNDEF)?;
        let index = bucket.checked_sub(centre)?.checked_add(i64::try_from(self.span).ok()?)?;
        usize::try_from(index).ok().filter(|&index| index < 2 * self.span + 1)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a cell is the nearest f32 of its exact figure"
    )]
    fn cell(&self, row: &[u64], index: usize, metric: Metric, middle: f64) -> Option<f32> {
        let bit = self.valid.unsigned(row, index / 64) >> (index % 64) & 1;
        if bit == 0 {
            return None;
        }
        let of = |field: &Field| field.float(row, index);
        let (bid, ask) = (of(self.bid_qty), of(self.ask_qty));
        let value = match metric {
            Metric::BidQty => bid,
            Metric::AskQty => ask,
            Metric::Qty => bid + ask,
            Metric::NetQty => bid - ask,
            Metric::BidQuote => bid * middle,
            Metric::AskQuote => ask * middle,
            Metric::Quote => (bid + ask) * middle,
            Metric::NetQuote => (bid - ask) * middle,
            Metric::Imbalance if bid + ask == 0.0 => 0.0,
            Metric::Imbalance => (bid - ask) / (bid + ask),
            Metric::BuyVolume => of(self.buy_volume),
            Metric::SellVolume => of(self.sell_volume),
        };
        Some(value as f32).filter(|value| !value.is_nan())
    }
}

/// Prices of bucket edges, the nearest doubles of the exact decimals: size = units / scale, both exact.
struct Edge {
    units: f64,
    scale: f64,
}

impl Edge {
    fn of(bucket_size: f64) -> Self {
        // The shortest decimal that reads as this double is the one that it was made from.
        let text = format!("{bucket_size}");
        let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        let scale = format!("1e{decimals}").parse().unwrap_or(1.0);
        let units = text.replace('.', "").parse().unwrap_or(f64::NAN);
        Self { units, scale }
    }

    #[expect(clippy::cast_precision_loss, reason = "buckets of prices are far below 2^53")]
    fn price(&self, bucket: i64) -> f64 {
        bucket as f64 * self.units / self.scale
    }

    #[expect(clippy::cast_precision_loss, reason = "buckets of prices are far below 2^52")]
    fn middle(&self, bucket: i64) -> f64 {
        (2 * bucket + 1) as f64 * self.units / (2.0 * self.scale)
    }
}

#[cfg(test)]
#[allow(unreachable_pub, reason = "records are public wherever they stand")]
mod tests {
    use proptest::prelude::*;

    use super::{Edge, Heatmap, HeatmapError, Metric};
    use crate::UNDEF;
    use crate::schema::{Record as _, RecordSchema};

    crate::record! {
        /// A small row: 5 buckets.
        pub struct Row {
            /// Our clock.
            ts_end: i64 = "ns",
            /// The venue's.
            venue_second: i64 = "s",
            /// Centre.
            centre_bucket: i64 = "bucket",
            /// Valid.
            valid: [u64; 1] = "bitset:5",
            /// Bids.
            bid_qty: [f32; 5] = "base",
            /// Asks.
            ask_qty: [f32; 5] = "base",
            /// Buys.
            buy_volume: [f32; 5] = "base",
            /// Sells.
            sell_volume: [f32; 5] = "base",
        }
    }

    fn row(venue_second: i64, centre_bucket: i64, valid: u64) -> Row {
        Row {
            ts_end: venue_second * 1_000_000_000,
            venue_second,
            centre_bucket,
            valid: [valid],
            bid_qty: [1.0, 2.0, 3.0, 0.0, 0.0],
            ask_qty: [0.0, 0.0, 1.0, 4.0, 5.0],
            buy_volume: [0.0, 0.0, 0.5, 0.0, 0.0],
            sell_volume: [0.0, 0.25, 0.0, 0.0, 0.0],
        }
    }

    fn heatmap(rows: &[Row], radius: usize, metric: Metric) -> Result<Heatmap, HeatmapError> {
        let words: Vec<u64> = rows.iter().flat_map(Row::to_words).collect();
        Heatmap::of_rows(&Row::schema(), &words, 10.0, radius, metric)
    }

    #[track_caller]
    fn check(metric: &str, wanted: [f32; 5]) {
        let map = heatmap(&[row(7, 100, 31)], 2, Metric::from_name(metric).unwrap()).unwrap();
        assert_eq!(map.times, [7]);
        assert_eq!(map.prices, [980.0, 990.0, 1000.0, 1010.0, 1020.0]);
        assert_eq!(map.values, wanted);
        assert!(map.valid.iter().all(|valid| *valid));
    }

    #[test]
    fn each_metric_is_what_its_name_says() {
        check("bid_qty", [1.0, 2.0, 3.0, 0.0, 0.0]);
        check("ask_qty", [0.0, 0.0, 1.0, 4.0, 5.0]);
        check("qty", [1.0, 2.0, 4.0, 4.0, 5.0]);
        check("net_qty", [1.0, 2.0, 2.0, -4.0, -5.0]);
        check("bid_quote", [985.0, 1990.0, 3015.0, 0.0, 0.0]);
        check("ask_quote", [0.0, 0.0, 1005.0, 4060.0, 5125.0]);
        check("quote", [985.0, 1990.0, 4020.0, 4060.0, 5125.0]);
        check("net_quote", [985.0, 1990.0, 2010.0, -4060.0, -5125.0]);
        check("imbalance", [1.0, 1.0, 0.5, -1.0, -1.0]);
        check("buy_volume", [0.0, 0.0, 0.5, 0.0, 0.0]);
        check("sell_volume", [0.0, 0.25, 0.0, 0.0, 0.0]);
        assert_eq!(Metric::from_name("love"), None);
    }

    #[test]
    fn columns_are_fixed_around_the_last_centre() {
        let rows = [row(1, 101, 31), row(2, UNDEF, 0), row(3, 100, 0b11101)];
        let map = heatmap(&rows, 1, Metric::BidQty).unwrap();
        assert_eq!(map.prices, [990.0, 1000.0, 1010.0]);
        let cells: Vec<_> = map.values.iter().map(|v| (!v.is_nan()).then_some(*v)).collect();
        assert_eq!(cells[0..3], [Some(1.0), Some(2.0), Some(3.0)]); // 99 is index 0 of centre 101
        assert_eq!(cells[3..6], [None, None, None]);
        assert_eq!(cells[6..9], [None, Some(3.0), Some(0.0)]);
        assert_eq!(map.filled(-1.0)[6].to_string(), "-1");
    }

    #[test]
    fn rows_without_a_centre_have_no_prices() {
        let map = heatmap(&[row(1, UNDEF, 31)], 2, Metric::Qty).unwrap();
        assert!(map.prices.iter().all(|price| price.is_nan()));
        assert_eq!(map.valid, [false; 5]);
        assert_eq!(heatmap(&[], 2, Metric::Qty).unwrap().times, [] as [i64; 0]);
    }

    #[test]
    fn what_rows_do_not_hold_is_refused_by_name() {
        let refused = heatmap(&[row(1, 1, 1)], 3, Metric::Qty).unwrap_err().to_string();
        assert!(refused.starts_with("radius 3: rows hold 2 buckets"), "{refused}");
        let bare = RecordSchema { size_bytes: 8, fields: Vec::new() };
        let refused = Heatmap::of_rows(&bare, &[], 1.0, 1, Metric::Qty).unwrap_err().to_string();
        assert!(refused.starts_with("the segment has no cob_rows.bid_qty"), "{refused}");
    }

    #[test]
    fn edges_are_the_nearest_doubles_of_their_decimals() {
        for (size, bucket, price, middle) in [
            (0.1, 3, "0.3", "0.35"),
            (0.01, 268_380, "2683.8", "2683.805"),
            (2.5, 3, "7.5", "8.75"),
            (1.0, 2683, "2683", "2683.5"),
            (10.0, 6_180, "61800", "61805"),
        ] {
            let edge = Edge::of(size);
            assert_eq!(edge.price(bucket).to_string(), price);
            assert_eq!(edge.middle(bucket).to_string(), middle);
        }
    }

    proptest! {
        /// Against a map from (row, bucket) to the quantity.
        #[test]
        fn cells_are_found_by_price(
            centres in prop::collection::vec((prop::option::weighted(0.9, -5i64..5), 0u64..32), 1..8),
            radius in 0usize..3,
        ) {
            let rows: Vec<Row> = (0..)
                .zip(&centres)
                .map(|(second, (centre, valid))| row(second, centre.unwrap_or(UNDEF), *valid))
                .collect();
            let map = heatmap(&rows, radius, Metric::BidQty).unwrap();
            let mut known = std::collections::BTreeMap::new();
            for (at, row) in rows.iter().enumerate().filter(|(_, row)| row.centre_bucket != UNDEF) {
                for (index, qty) in (0..5).zip(row.bid_qty) {
                    if row.valid[0] >> index & 1 == 1 {
                        known.insert((at, row.centre_bucket - 2 + index), qty);
                    }
                }
            }
            let last = centres.iter().rev().find_map(|(centre, _)| *centre);
            for at in 0..rows.len() {
                for column in 0..=2 * radius {
                    let wanted = last.and_then(|last| {
                        let bucket = last - i64::try_from(radius).unwrap() + i64::try_from(column).unwrap();
                        known.get(&(at, bucket)).copied()
                    });
                    let cell = at * (2 * radius + 1) + column;
                    prop_assert_eq!(map.valid[cell].then_some(map.values[cell]), wanted);
                }
            }
        }
    }
}
