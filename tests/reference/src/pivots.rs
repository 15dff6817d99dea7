//! Williams pivots (FRAME.md, "Pivots"), from scratch from all closed bars with trades each time.
//! Guarantees: highs and lows are separate; a pivot needs nothing after the bar that completed it.

use crate::candles::Row;
use crate::decimal::Dec;
use crate::message::Nanos;
use serde_json::{Map, Value, json};

pub(crate) const LEVELS: usize = 5;

/// A closed bar with trades.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Bar {
    open_time: Nanos,
    ts_closed: Nanos,
    high: Dec,
    low: Dec,
    /// Holes before it: no five bars with a hole among them make a pivot.
    holes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    High,
    Low,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Pivot {
    kind: Kind,
    price: Dec,
    /// Index of its bar.
    bar: usize,
    /// Index of the bar that completed it.
    completed_by: usize,
}

#[derive(Debug)]
pub(crate) struct Pivots {
    bars: Vec<Bar>,
    /// By level - 1: in the order of completion, a high before a low of the same bar.
    levels: Vec<Vec<Pivot>>,
}

impl Pivots {
    /// Of closed rows.
    pub(crate) fn new(rows: &[Row]) -> Pivots {
        let mut bars = Vec::new();
        let mut holes = 0;
        for row in rows {
            holes += usize::from(row.is_hole);
            if let (Some([_, high, low, _]), Some(ts_closed)) = (row.prices, row.ts_closed)
                && row.trade_count > 0
            {
                bars.push(Bar { open_time: row.open_time, ts_closed, high, low, holes });
            }
        }
        let (highs, lows) = (recursion(&bars, Kind::High), recursion(&bars, Kind::Low));
        let merge = |(highs, lows): (Vec<Pivot>, Vec<Pivot>)| {
            let mut both = [highs, lows].concat();
            both.sort_by_key(|pivot| (pivot.completed_by, pivot.kind));
            both
        };
        Pivots { levels: highs.into_iter().zip(lows).map(merge).collect(), bars }
    }

    /// All rows of a level (1 to 5).
    pub(crate) fn rows(&self, level: usize) -> Vec<Value> {
        (0..self.levels[level - 1].len()).map(|index| self.row(level, index)).collect()
    }

    fn row(&self, level: usize, index: usize) -> Value {
        let (earlier, pivot) = (&self.levels[level - 1][..index], self.levels[level - 1][index]);
        let opposite = earlier.iter().rfind(|other| other.kind != pivot.kind);
        let distance = |other: &Pivot| Dec((pivot.price.0 - other.price.0).abs()).to_f64();
        json!({
            "open_time": self.bars[pivot.bar].open_time,
            "ts_confirmed": self.bars[pivot.completed_by].ts_closed,
            "price": pivot.price.to_f64(),
            "kind": match pivot.kind { Kind::High => "high", Kind::Low => "low" },
            "strength": opposite.map(distance),
        })
    }

    /// By level; `mid_twice`: best bid + best ask of `top`.
    pub(crate) fn json(&self, mid_twice: Option<Dec>) -> Value {
        let mut block = Map::new();
        for level in 1..=LEVELS {
            let count = self.levels[level - 1].len();
            let [support, resistance] =
                [Kind::Low, Kind::High].map(|kind| self.nearest(level, kind, mid_twice));
            let one = json!({
                "last": count.checked_sub(1).map(|index| self.row(level, index)),
                "closed_count": count,
                "trend": self.trend(level),
                "support": support.map(Dec::to_f64),
                "resistance": resistance.map(Dec::to_f64),
            });
            block.insert(level.to_string(), one);
        }
        Value::Object(block)
    }

    fn trend(&self, level: usize) -> i64 {
        let change = |kind: Kind| {
            let mut newest = self.levels[level - 1].iter().rev().filter(|p| p.kind == kind);
            let (last, before) = (newest.next()?, newest.next()?);
            Some(last.price.cmp(&before.price) as i64)
        };
        match (change(Kind::High), change(Kind::Low)) {
            (Some(1), Some(1)) => 1,
            (Some(-1), Some(-1)) => -1,
            _ => 0,
        }
    }

    /// The low below (high above) the mid that no later bar went beyond, nearest to it.
    pub(crate) fn nearest(&self, level: usize, kind: Kind, mid_twice: Option<Dec>) -> Option<Dec> {
        let mid_twice = mid_twice?;
        let holds = |pivot: &&Pivot| {
            let later = &self.bars[pivot.bar + 1..];
            match kind {
                Kind::Low => {
                    pivot.price + pivot.price < mid_twice
                        && later.iter().all(|bar| bar.low >= pivot.price)
                }
                Kind::High => {
                    pivot.price + pivot.price > mid_twice
                        && later.iter().all(|bar| bar.high <= pivot.price)
                }
            }
        };
        let of_kind = self.levels[level - 1].iter().filter(|pivot| pivot.kind == kind);
        let held = of_kind.filter(holds).map(|pivot| pivot.price);
        if kind == Kind::Low { held.max() } else { held.min() }
    }
}

/// Each level's pivots of one kind, in the order of their bars.
fn recursion(bars: &[Bar], kind: Kind) -> Vec<Vec<Pivot>> {
    let of_bar = |(index, bar): (usize, &Bar)| Pivot {
        kind,
        price: if kind == Kind::High { bar.high } else { bar.low },
        bar: index,
        completed_by: index,
    };
    let bars_as_pivots: Vec<Pivot> = bars.iter().enumerate().map(of_bar).collect();
    let unbroken = |five: &[Pivot]| bars[five[0].bar].holes == bars[five[4].bar].holes;
    let mut levels = vec![extremes(&bars_as_pivots, unbroken)];
    for level in 1..LEVELS {
        levels.push(extremes(&levels[level - 1], |_| true));
    }
    levels
}

/// Higher than the two before, not lower than the two after; lows mirror.
fn extremes(sequence: &[Pivot], counts: impl Fn(&[Pivot]) -> bool) -> Vec<Pivot> {
    let is_extreme = |five: &&[Pivot]| {
        let [a, b, middle, c, d] = [0, 1, 2, 3, 4].map(|i| match five[i].kind {
            Kind::High => five[i].price.0,
            Kind::Low => -five[i].price.0,
        });
        counts(five) && middle > a && middle > b && middle >= c && middle >= d
    };
    let found = sequence.windows(5).filter(is_extreme);
    found.map(|five| Pivot { completed_by: five[4].completed_by, ..five[2] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Nanos = 1_000_000_000;

    /// A bar each second: `high/low`, `-` without trades, `x` a hole; closed 250 ms after its end.
    fn pivots(bars: &str) -> Pivots {
        let row = |(second, text): (usize, &str)| {
            let open_time = Nanos::try_from(second).unwrap() * SECOND;
            let ts_closed = Some(open_time + SECOND + SECOND / 4);
            let px = |text: &str| Dec(text.parse::<i128>().unwrap() * 100_000_000);
            let base = Row { open_time, ts_closed, ..Row::default() };
            match text.split_once('/') {
                Some((high, low)) => Row {
                    prices: Some([px(low), px(high), px(low), px(low)]),
                    trade_count: 1,
                    ..base
                },
                None if text == "x" => Row { is_hole: true, ..base },
                None => Row { prices: Some([px("1"); 4]), ..base },
            }
        };
        Pivots::new(&bars.split(' ').enumerate().map(row).collect::<Vec<_>>())
    }

    /// `<kind><price>@<second>+<bars to its confirmation>~<strength>` of each row of the level.
    fn check(bars: &str, level: usize, expected: &str) {
        let text = |row: Value| {
            let number = |key: &str| row[key].as_f64().map_or("-".to_owned(), |v| v.to_string());
            let (open, confirmed) =
                (row["open_time"].as_i64().unwrap(), row["ts_confirmed"].as_i64().unwrap());
            let kind = &row["kind"].as_str().unwrap()[..1];
            let bars = (confirmed - open) / SECOND - 1;
            format!("{kind}{}@{}+{bars}~{}", number("price"), open / SECOND, number("strength"))
        };
        let rows: Vec<String> = pivots(bars).rows(level).into_iter().map(text).collect();
        assert_eq!(rows.join(" "), expected, "{bars}");
    }

    #[test]
    fn a_pivot_stands_out_among_five_bars() {
        check("5/1 6/1 9/1 6/1 5/1", 1, "h9@2+2~-");
        check("5/1 6/1 9/1 9/1 9/1", 1, "h9@2+2~-");
        check("5/1 9/1 9/1 6/1 5/1", 1, "");
        check("9/1 6/1 9/1 6/1 5/1", 1, "");
        check("5/1 6/1 9/1 6/1", 1, "");
        check("9/5 9/4 9/2 9/2 9/3", 1, "l2@2+2~-");
        check("9/5 9/2 9/2 9/4 9/5", 1, "");
    }

    #[test]
    fn bars_without_trades_are_no_bars() {
        check("5/1 6/1 - 9/1 6/1 - - 5/1", 1, "h9@3+4~-");
    }

    #[test]
    fn no_pivot_spans_a_hole() {
        check("5/1 6/1 9/1 x 6/1 5/1", 1, "");
        check("9/1 x 5/1 6/1 8/1 6/1 5/1", 1, "h8@4+2~-");
    }

    #[test]
    fn strength_is_the_distance_to_the_last_opposite_pivot() {
        check("7/5 7/5 9/5 7/2 7/5 7/5", 1, "h9@2+2~- l2@3+2~7");
        // One bar that is both: its high comes first, its low sees it.
        check("7/5 7/5 9/2 7/5 7/5", 1, "h9@2+2~- l2@2+2~7");
    }

    /// Highs of 3, 5, 4, … at every third bar.
    fn zigzag(highs: &[u32]) -> String {
        let bars = highs.iter().flat_map(|high| [format!("{high}/1"), "1/1".into(), "1/1".into()]);
        ["1/1".to_owned(), "1/1".to_owned()].into_iter().chain(bars).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_level_applies_the_rule_to_the_pivots_below_it() {
        let bars = zigzag(&[3, 5, 9, 9, 4, 6]);
        check(&bars, 1, "h3@2+2~- h5@5+2~- h9@8+2~- h9@11+2~- h4@14+2~- h6@17+2~-");
        check(&bars, 2, "h9@8+8~-");
        check(&bars, 3, "");
        let highs: Vec<u32> =
            (0..125).map(|i| [3, 4, 9, 4, 3][i % 5] * 5 + [1, 2, 3, 2, 1][i / 5 % 5]).collect();
        // 25 groups of five: every fifth high is of level 2, of which every fifth is of level 3.
        let all = pivots(&zigzag(&highs));
        let counts: Vec<usize> = (1..=LEVELS).map(|level| all.rows(level).len()).collect();
        assert_eq!(counts, [125, 25, 5, 0, 0]);
        check(&zigzag(&highs[..25]), 3, "h48@38+38~-");
    }

    proptest! {
        /// No row changes, none goes, and none is confirmed before the bar that completed it.
        #[test]
        fn a_prefix_of_the_bars_has_a_prefix_of_the_pivots(
            steps in prop::collection::vec((0..30_i64, 0..30_i64, 0..40_u32), 300),
            end in 0..300_usize,
        ) {
            let mut middle = 10_000;
            let bars: Vec<String> = steps
                .iter()
                .map(|&(up, down, kind)| {
                    middle += up - down;
                    match kind {
                        0 => "x".to_owned(),
                        1..4 => "-".to_owned(),
                        _ => format!("{}/{}", middle + down, middle - up),
                    }
                })
                .collect();
            let (all, early) = (pivots(&bars.join(" ")), pivots(&bars[..end.max(1)].join(" ")));
            for level in 1..=LEVELS {
                let (all_rows, early_rows) = (all.rows(level), early.rows(level));
                prop_assert_eq!(&early_rows, &all_rows[..early_rows.len()]);
                let confirmed = all.levels[level - 1].iter().filter(|p| p.completed_by < early.bars.len());
                prop_assert_eq!(early_rows.len(), confirmed.count());
            }
        }
    }

    fn levels_of(bars: &str, mid_twice: i128) -> Value {
        let block = pivots(bars).json(Some(Dec(mid_twice * 100_000_000)));
        json!([block["1"]["trend"], block["1"]["support"], block["1"]["resistance"]])
    }

    #[test]
    fn trend_support_and_resistance() {
        let up = "7/5 7/5 9/5 7/4 7/5 8/5 11/5 8/5 8/4 9/5 9/5";
        // Highs 9, 11; lows 4 and (not lower than the one after) 5.
        check(up, 1, "h9@2+2~- l4@3+2~5 h11@6+2~7 l4@8+2~7");
        assert_eq!(levels_of(up, 14), json!([0, 4.0, 11.0]));
        assert_eq!(levels_of(up, 8), json!([0, null, 11.0]), "a low at the mid is not below it");
        assert_eq!(levels_of(up, 22), json!([0, 4.0, null]), "9 was traded through by 11");
        let rising = "7/5 7/5 9/5 7/3 7/5 8/5 11/5 8/5 8/4 9/5 9/5";
        assert_eq!(levels_of(rising, 14), json!([1, 4.0, 11.0]));
        assert_eq!(levels_of(rising, 7), json!([1, 3.0, 11.0]));
        let falling = "7/5 7/5 12/5 7/4 7/5 8/5 11/5 8/5 8/3 9/5 9/5";
        assert_eq!(levels_of(falling, 14), json!([-1, 3.0, 11.0]));
        assert_eq!(levels_of(falling, 23), json!([-1, 3.0, 12.0]));
        let through = "7/5 7/5 9/5 7/4 7/5 8/5 8/3 8/3 8/2";
        assert_eq!(levels_of(through, 14), json!([0, null, 8.0]));
        assert_eq!(pivots(up).json(None)["1"]["support"], json!(null));
    }
}
