//! A second of the price-bucket book: what was traded in it by bucket, and the row at its end.
//!
//! Guarantees: rows a second apart from the first live one on, none left out; exact sums until the row's
//! 32-bit floats. Does not: know when the second ends; timers do.

use cobring_frame::{COB_ROW_BUCKETS, CobRow};
use cobring_types::{Instrument, Nanos, Side};
use serde::{Deserialize, Serialize};

use crate::book::Book;
use crate::buckets::{BucketSums, set_bits};
use crate::config::COB_ROW_RADIUS;
use crate::imbalance::{are_exact, exact_f64};

/// Buckets traded in within a second that are told apart; a sweep of the recordings touches a few.
const TRADED_BUCKETS_MAX: usize = 1_024;

/// Traded quantities of the running second, and when its row is due.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CobSecond {
    /// (bucket, bought, sold), ascending.
    traded: Vec<(i64, i128, i128)>,
    /// Traded where no more buckets could be told apart.
    beyond: (i128, i128),
    /// End of the next row; unknown before the first live one.
    next_end: Nanos,
}

impl Default for CobSecond {
    fn default() -> Self {
        Self {
            traded: Vec::with_capacity(TRADED_BUCKETS_MAX),
            beyond: (0, 0),
            next_end: Nanos::UNDEF,
        }
    }
}

/// What of the symbol a row shows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CobFacts<'a> {
    /// The book, where it is live.
    pub(crate) live_book: Option<&'a Book>,
    /// Means of the second's samples.
    pub(crate) imbalance: f64,
    pub(crate) imbalance_px: f64,
    pub(crate) offset_low: Nanos,
    pub(crate) instrument: &'a Instrument,
}

impl CobSecond {
    /// That of the next run: rows go on a second apart.
    pub(crate) fn resumed(&self) -> Self {
        Self { next_end: self.next_end, ..Self::default() }
    }

    /// Reserves all memory that it will need (again).
    pub(crate) fn reserve(&mut self) {
        self.traded.reserve_exact(TRADED_BUCKETS_MAX.saturating_sub(self.traded.len()));
    }

    /// A trade in this bucket.
    pub(crate) fn on_trade(&mut self, bucket: i64, side: Side, qty: i64) {
        let at = match self.traded.binary_search_by_key(&bucket, |&(bucket, ..)| bucket) {
            Ok(at) => Some(at),
            Err(at) if self.traded.len() < TRADED_BUCKETS_MAX => {
                self.traded.insert(at, (bucket, 0, 0));
                Some(at)
            }
            Err(_) => None,
        };
        let (bought, sold) = match at {
            Some(at) => {
                let (_, bought, sold) = &mut self.traded[at];
                (bought, sold)
            }
            None => (&mut self.beyond.0, &mut self.beyond.1),
        };
        match side {
            Side::Buy => *bought += i128::from(qty),
            Side::Sell => *sold += i128::from(qty),
        }
    }

    /// The whole second `g` ends: how many seconds nobody watched since the last row (`None` before the first
    /// live one: no row then), and the row.
    pub(crate) fn on_second(&mut self, g: Nanos, facts: &CobFacts<'_>) -> Option<(u64, CobRow)> {
        let centre = facts.live_book.and_then(Book::centre_bucket);
        let row = match (facts.live_book, centre) {
            (Some(book), Some(centre)) => Some(self.row(g, book, centre, facts)),
            _ if self.next_end.is_defined() => Some(CobRow {
                venue_second: venue_second(g, facts.offset_low),
                ..CobRow::not_live(g.0)
            }),
            _ => None,
        };
        self.traded.clear();
        self.beyond = (0, 0);
        let row = row?;
        let missed = self.next_end.get().map_or(0, |next| (g.0 - next) / Nanos::SECOND.0);
        self.next_end = Nanos(g.0 + Nanos::SECOND.0);
        Some((missed.unsigned_abs(), row))
    }

    fn row(&self, g: Nanos, book: &Book, centre: i64, facts: &CobFacts<'_>) -> CobRow {
        let quantity = |units| f32_of(facts.instrument.qty_sum_f64(units));
        let first = centre - COB_ROW_RADIUS;
        let last = centre + COB_ROW_RADIUS;
        let buckets = book.buckets().range(first, last);
        let divisor = facts.instrument.small_qty_divisor().filter(|_| are_exact(buckets));
        let held = |sum| match divisor {
            Some(divisor) => f32_of(exact_f64(sum) / divisor),
            None => quantity(sum),
        };
        let mut row = CobRow::not_live(g.0);
        row.venue_second = venue_second(g, facts.offset_low);
        row.centre_bucket = centre;
        row.imbalance = facts.imbalance;
        row.imbalance_px = facts.imbalance_px;
        row.buy_volume = [0.0; COB_ROW_BUCKETS];
        row.sell_volume = [0.0; COB_ROW_BUCKETS];
        let (known_first, known_last) = book.known_buckets();
        for (at, BucketSums { bid, ask }) in buckets.iter().enumerate() {
            row.bid_qty[at] = held(*bid);
            row.ask_qty[at] = held(*ask);
        }
        set_bits(&mut row.valid, known_first.max(first) - first, known_last.min(last) - first);
        let (mut bought_beyond, mut sold_beyond) = self.beyond;
        for &(bucket, bought, sold) in &self.traded {
            match usize::try_from(bucket - first).ok().filter(|&at| at < COB_ROW_BUCKETS) {
                Some(at) => {
                    row.buy_volume[at] = quantity(bought);
                    row.sell_volume[at] = quantity(sold);
                }
                None => {
                    bought_beyond += bought;
                    sold_beyond += sold;
                }
            }
        }
        row.overflow_buy = quantity(bought_beyond);
        row.overflow_sell = quantity(sold_beyond);
        row
    }
}

/// floor((ts_end − 1 s + offset_low) / 1 s + 1/2); unknown where the offset is.
pub(crate) fn venue_second(ts_end: Nanos, offset_low: Nanos) -> i64 {
    offset_low.get().map_or(i64::MIN, |offset| {
        (ts_end.0 - Nanos::SECOND.0 / 2).saturating_add(offset).div_euclid(Nanos::SECOND.0)
    })
}

#[expect(clippy::cast_possible_truncation, reason = "windows hold 32-bit quantities")]
fn f32_of(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use cobring_types::{Level, Px, Qty};

    use super::*;
    use crate::book::BookShape;

    fn facts<'a>(book: Option<&'a Book>, instrument: &'a Instrument) -> CobFacts<'a> {
        CobFacts {
            live_book: book,
            imbalance: 0.25,
            imbalance_px: -0.5,
            offset_low: Nanos(1_400_000_000),
            instrument,
        }
    }

    #[test]
    fn a_row_holds_the_book_and_the_trades_of_its_second() {
        let instrument = Instrument::new("X", "0.01", 2).unwrap();
        let mut book = Book::new(BookShape {
            bucket_ticks: 10,
            range_ticks: 30,
            reach: COB_ROW_RADIUS,
            max_levels: 10,
        });
        let level = |px, qty| Level { px: Px(px), qty: Qty(qty) };
        book.apply(&[level(10_004, 300), level(9_995, 50)], &[level(10_006, 125)]);
        let mut second = CobSecond::default();
        let second_ends = |at: i64| Nanos(at * Nanos::SECOND.0);
        assert!(second.on_second(second_ends(9), &facts(None, &instrument)).is_none());
        second.on_trade(1_000, Side::Buy, 100);
        second.on_trade(1_000, Side::Buy, 10);
        second.on_trade(1_000, Side::Sell, 1);
        second.on_trade(1_065, Side::Sell, 7);
        second.on_trade(900, Side::Buy, 9);
        let (missed, row) =
            second.on_second(second_ends(10), &facts(Some(&book), &instrument)).unwrap();
        assert_eq!((missed, row.ts_end, row.venue_second), (0, 10_000_000_000, 10));
        assert_eq!(row.centre_bucket, 1_000);
        assert_eq!((row.bid_qty[64], row.ask_qty[64], row.bid_qty[63]), (3.0, 1.25, 0.5));
        assert_eq!((row.buy_volume[64], row.sell_volume[64]), (1.1, 0.01));
        assert_eq!((row.overflow_buy, row.overflow_sell), (0.09, 0.07));
        assert_eq!((row.buy_volume[0], row.valid[2]), (0.0, 1));
        assert_eq!((row.imbalance, row.imbalance_px), (0.25, -0.5));
        // Volumes are the second's; a book that is not live shows nothing; a break leaves a hole.
        let (missed, row) = second.on_second(second_ends(11), &facts(None, &instrument)).unwrap();
        assert_eq!((missed, row.centre_bucket, row.valid), (0, i64::MIN, [0; 3]));
        assert!(row.bid_qty[64].is_nan() && row.buy_volume[64].is_nan());
        let (missed, row) =
            second.on_second(second_ends(15), &facts(Some(&book), &instrument)).unwrap();
        assert_eq!((missed, row.buy_volume[64]), (3, 0.0));
    }

    #[test]
    fn more_buckets_than_can_be_told_apart_count_as_beyond() {
        let mut second = CobSecond::default();
        for bucket in 0..1_030 {
            second.on_trade(bucket, Side::Sell, 1);
        }
        assert_eq!((second.traded.len(), second.beyond), (TRADED_BUCKETS_MAX, (0, 6)));
        second.on_trade(5, Side::Buy, 1);
        assert_eq!(second.beyond, (0, 6));
    }

    #[test]
    fn the_venues_second_is_the_nearest_one() {
        for (ts_end, offset, second) in [
            (10_000_000_000, 0, 9),
            (10_000_000_000, 499_999_999, 9),
            (10_000_000_000, 500_000_000, 10),
            (10_000_000_000, -500_000_000, 9),
            (10_000_000_000, -500_000_001, 8),
            (10_000_000_000, i64::MIN, i64::MIN),
        ] {
            assert_eq!(venue_second(Nanos(ts_end), Nanos(offset)), second, "{ts_end} {offset}");
        }
    }
}
