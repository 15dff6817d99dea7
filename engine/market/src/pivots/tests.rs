//! Tables of cases, and a model that looks at all bars anew for every answer.

use proptest::prelude::*;

use super::*;

fn bar(at: usize, high: i64, low: i64) -> PivotBar {
    let second = i64::try_from(at).unwrap() * Nanos::SECOND.0;
    PivotBar {
        open_time: Nanos(second),
        ts_closed: Nanos(second + Nanos::SECOND.0),
        high: Px(high),
        low: Px(low),
        hole: false,
    }
}

fn hole(at: usize) -> PivotBar {
    PivotBar { hole: true, ..bar(at, i64::MAX, i64::MIN) }
}

/// Pivots as `level kind bar price`, each after the number of the bar that completed it.
fn check(bars: &[PivotBar], expected: &[(usize, &[&str])]) {
    let mut structure = Structure::new();
    let mut expected = expected.iter();
    for (at, bar) in bars.iter().enumerate() {
        let mut found = Vec::new();
        structure.on_bar(bar, &mut |pivot| {
            assert_eq!(pivot.ts_confirmed, bar.ts_closed);
            let kind = if pivot.kind == PivotKind::High { "high" } else { "low" };
            let of = pivot.open_time.0 / Nanos::SECOND.0;
            let strength = pivot.strength_ticks.map_or("-".to_owned(), |ticks| ticks.to_string());
            found.push(format!("{} {kind} {of} {} {strength}", pivot.level, pivot.price.0));
        });
        if !found.is_empty() {
            assert_eq!(
                expected.next().map(|(at, text)| (*at, text.to_vec())),
                Some((at, found.iter().map(String::as_str).collect()))
            );
        }
    }
    assert_eq!(expected.next(), None);
}

fn highs(prices: &[i64]) -> Vec<PivotBar> {
    prices.iter().enumerate().map(|(at, &high)| bar(at, high, 0)).collect()
}

#[test]
fn a_high_exceeds_two_before_and_is_not_exceeded_by_two_after() {
    check(&highs(&[1, 2, 3, 2, 1]), &[(4, &["1 high 2 3 -"])]);
    check(&highs(&[1, 2, 3, 3, 3]), &[(4, &["1 high 2 3 -"])]);
    check(&highs(&[1, 3, 3, 2, 1]), &[]);
    check(&highs(&[3, 1, 3, 2, 1]), &[]);
    check(&highs(&[1, 2, 3, 2, 4]), &[]);
    check(&highs(&[1, 2, 3, 2]), &[]);
    check(&highs(&[1, 2, 9, 2, 1, 2, 8, 1, 1]), &[(4, &["1 high 2 9 -"]), (8, &["1 high 6 8 -"])]);
}

#[test]
fn one_bar_may_complete_a_high_and_a_low_and_several_levels() {
    let both: Vec<_> = [(5, 5), (5, 5), (9, 1), (5, 5), (5, 5)]
        .iter()
        .enumerate()
        .map(|(at, &(high, low))| bar(at, high, low))
        .collect();
    // The low is measured from the high that the same bar confirmed; the high knows of no low yet.
    check(&both, &[(4, &["1 high 2 9 -", "1 low 2 1 8"])]);

    let waves: Vec<i64> = [10, 11, 15, 12, 11].iter().flat_map(|&top| [0, 1, top, 1, 0]).collect();
    check(
        &highs(&waves),
        &[
            (4, &["1 high 2 10 -"]),
            (9, &["1 high 7 11 -"]),
            (14, &["1 high 12 15 -"]),
            (19, &["1 high 17 12 -"]),
            (24, &["1 high 22 11 -", "2 high 12 15 -"]),
        ],
    );
}

#[test]
fn a_hole_ends_the_window_of_bars_but_not_those_of_pivots() {
    let mut bars = highs(&[1, 2, 3, 2, 1]);
    bars[3] = hole(3);
    check(&bars, &[]);
    let mut at = 0;
    let mut bars = Vec::new();
    for top in [10, 11, 15, 12, 11] {
        for high in [0, 1, top, 1, 0] {
            bars.push(bar(at, high, 0));
            at += 1;
        }
        bars.push(hole(at));
        at += 1;
    }
    let mut structure = Structure::new();
    let mut levels = Vec::new();
    for bar in &bars {
        structure.on_bar(bar, &mut |pivot| levels.push((pivot.level, pivot.price.0)));
    }
    assert_eq!(levels, [(1, 10), (1, 11), (1, 15), (1, 12), (1, 11), (2, 15)]);
    assert_eq!(structure.origin(), Nanos(0));
}

#[test]
fn a_support_lasts_until_a_later_bar_trades_through_it() {
    let mut structure = Structure::new();
    let mut feed = |bars: &[(i64, i64)]| {
        for &(high, low) in bars {
            structure.on_bar(&bar(0, high, low), &mut |_| {});
        }
        structure.clone()
    };
    let at_55 = |structure: &Structure| (structure.support(1, 110), structure.resistance(1, 110));
    let found = feed(&[(60, 52), (60, 51), (60, 50), (60, 51), (70, 50)]);
    assert_eq!(at_55(&found), (Some(Px(50)), None), "an equal low is not below it");
    assert_eq!(found.support(1, 100), None, "a mid at the low is not above it");
    assert_eq!(found.support(1, 101), Some(Px(50)));
    let found = feed(&[(60, 53), (60, 53)]);
    assert_eq!(at_55(&found), (Some(Px(50)), Some(Px(70))));
    let found = feed(&[(71, 49)]);
    assert_eq!(at_55(&found), (None, None));
}

#[test]
fn the_farthest_pivots_give_way() {
    let mut structure = Structure::new();
    let waves = 4_100;
    let mut at = 0;
    // Equal ones take one place.
    for wave in (0..waves).flat_map(|wave| [wave, wave]) {
        for low in [2, 1, 0, 1, 2] {
            structure.on_bar(&bar(at, 100_000, wave * 3 + low), &mut |_| {});
            at += 1;
        }
    }
    assert_eq!(structure.untouched_dropped(), 4);
    assert_eq!(structure.support(1, 2 * 13), Some(Px(12)));
    assert_eq!(structure.support(1, 2 * 12), None);
    assert_eq!(structure.support(1, 200_000), Some(Px(3 * (waves - 1))));
}

/// A pivot of the model, and the numbers of its bar and of the bar that completed it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Found {
    bar: usize,
    confirmed: usize,
    price: i64,
}

/// All pivots of a kind, level by level: `further(a, b)` says that a lies strictly further out than b.
fn naive_levels(
    bars: &[PivotBar],
    price: impl Fn(&PivotBar) -> i64,
    further: impl Fn(i64, i64) -> bool,
) -> Vec<Vec<Found>> {
    let pivots_of = |sequence: &[Found]| -> Vec<Found> {
        let is_pivot = |window: &&[Found]| {
            let middle = window[2].price;
            further(middle, window[0].price)
                && further(middle, window[1].price)
                && !further(window[3].price, middle)
                && !further(window[4].price, middle)
        };
        let found = sequence.windows(5).filter(is_pivot);
        found.map(|window| Found { confirmed: window[4].confirmed, ..window[2] }).collect()
    };
    let of_bar = |at: usize| Found { bar: at, confirmed: at, price: price(&bars[at]) };
    let all: Vec<usize> = (0..bars.len()).collect();
    let observed = all.split(|&at| bars[at].hole);
    let mut levels: Vec<Vec<Found>> = vec![
        observed
            .flat_map(|run| pivots_of(&run.iter().map(|&at| of_bar(at)).collect::<Vec<_>>()))
            .collect(),
    ];
    for _ in 1..LEVELS {
        levels.push(pivots_of(levels.last().unwrap()));
    }
    levels
}

struct Naive {
    highs: Vec<Vec<Found>>,
    lows: Vec<Vec<Found>>,
    bars: Vec<PivotBar>,
}

impl Naive {
    fn of(bars: &[PivotBar]) -> Self {
        Self {
            highs: naive_levels(bars, |bar| bar.high.0, |a, b| a > b),
            lows: naive_levels(bars, |bar| bar.low.0, |a, b| a < b),
            bars: bars.to_vec(),
        }
    }

    /// All pivots in the order in which they are given.
    fn pivots(&self) -> Vec<Pivot> {
        let mut pivots = Vec::new();
        for (kind, own, other) in
            [(PivotKind::High, &self.highs, &self.lows), (PivotKind::Low, &self.lows, &self.highs)]
        {
            for (index, level) in own.iter().enumerate() {
                for found in level {
                    let known = |opposite: &&Found| {
                        opposite.confirmed < found.confirmed
                            || opposite.confirmed == found.confirmed && kind == PivotKind::Low
                    };
                    let last = other[index].iter().rfind(known);
                    let pivot = Pivot {
                        level: u8::try_from(index + 1).unwrap(),
                        kind,
                        open_time: self.bars[found.bar].open_time,
                        ts_confirmed: self.bars[found.confirmed].ts_closed,
                        price: Px(found.price),
                        strength_ticks: last.map(|last| (found.price - last.price).abs()),
                    };
                    pivots.push((found.confirmed, pivot));
                }
            }
        }
        pivots.sort_by_key(|(confirmed, pivot)| (*confirmed, pivot.kind, pivot.level));
        pivots.into_iter().map(|(_, pivot)| pivot).collect()
    }

    fn trend(&self, level: usize) -> i8 {
        let direction = |pivots: &[Found]| match pivots {
            [.., before, last] => (last.price - before.price).signum(),
            _ => 0,
        };
        match (direction(&self.highs[level]), direction(&self.lows[level])) {
            (1, 1) => 1,
            (-1, -1) => -1,
            _ => 0,
        }
    }

    fn later<'a>(&'a self, found: &Found) -> impl Iterator<Item = &'a PivotBar> {
        self.bars[found.bar + 1..].iter().filter(|bar| !bar.hole)
    }

    fn support(&self, level: usize, doubled_mid: i64) -> Option<Px> {
        let untouched = self.lows[level].iter().filter(|low| {
            2 * low.price < doubled_mid && !self.later(low).any(|bar| bar.low.0 < low.price)
        });
        untouched.map(|low| Px(low.price)).max()
    }

    fn resistance(&self, level: usize, doubled_mid: i64) -> Option<Px> {
        let untouched = self.highs[level].iter().filter(|high| {
            2 * high.price > doubled_mid && !self.later(high).any(|bar| bar.high.0 > high.price)
        });
        untouched.map(|high| Px(high.price)).min()
    }
}

fn assert_state(structure: &Structure, naive: &Naive, doubled_mids: impl Iterator<Item = i64>) {
    for level in 1..=u8::try_from(LEVELS).unwrap() {
        assert_eq!(structure.trend(level), naive.trend(index(level)), "trend of level {level}");
    }
    let mut all = Vec::new();
    for mid in doubled_mids {
        let mut nearest = Vec::new();
        for level in 1..=u8::try_from(LEVELS).unwrap() {
            let found = (structure.support(level, mid), structure.resistance(level, mid));
            let at = index(level);
            let expected = (naive.support(at, mid), naive.resistance(at, mid));
            assert_eq!(found, expected, "level {level}, doubled mid {mid}");
            nearest.push(expected);
        }
        all.push((mid, nearest));
    }
    for (mid, nearest) in &all {
        let alike = structure.mids_alike(*mid);
        assert!(alike.contains(mid));
        for (other, others) in all.iter().filter(|(other, _)| alike.contains(other)) {
            assert_eq!(nearest, others, "{mid} is said to be like {other}");
        }
    }
}

/// Bars of a walk of few prices: what it steps by, how far its bars reach, and one bar in 32 a hole.
fn walk() -> impl Strategy<Value = Vec<PivotBar>> {
    let step = (-3i64..=3, 0i64..3, 0i64..3, 0u8..32);
    proptest::collection::vec(step, 0..160).prop_map(|steps| {
        let mut price = 100;
        let mut bars = Vec::new();
        for (at, (step, up, down, hole_of_32)) in steps.into_iter().enumerate() {
            price += step;
            // Seconds without a trade are left out.
            let mut next = bar(at + at / 7, price + up, price - down);
            next.hole = hole_of_32 == 0;
            bars.push(next);
        }
        bars
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn it_equals_a_computation_from_scratch_at_every_bar(bars in walk()) {
        let mut structure = Structure::new();
        let mut pivots = Vec::new();
        for at in 0..bars.len() {
            structure.on_bar(&bars[at], &mut |pivot| pivots.push(pivot));
            let naive = Naive::of(&bars[..=at]);
            prop_assert_eq!(&pivots, &naive.pivots());
            let mid = bars[at].high.0 + bars[at].low.0;
            assert_state(&structure, &naive, [mid - 21, mid - 1, mid, mid + 1, mid + 20].into_iter());
            if at % 50 == 49 {
                let saved = postcard::to_allocvec(&structure).unwrap();
                structure = postcard::from_bytes(&saved).unwrap();
                structure.reserve();
            }
        }
    }
}

#[test]
fn all_five_levels_equal_a_computation_from_scratch() {
    let mut random = 88_172_645_463_325_252u64;
    let mut below = |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        i64::try_from(random % bound).unwrap()
    };
    let mut price = 10_000;
    let mut bars: Vec<PivotBar> = Vec::new();
    for at in 0..60_000 {
        price += below(9) - 4;
        let mut next = bar(at, price + below(4), price - below(4));
        next.hole = below(500) == 0;
        bars.push(next);
    }
    let mut structure = Structure::new();
    let mut pivots = Vec::new();
    for bar in &bars {
        structure.on_bar(bar, &mut |pivot| pivots.push(pivot));
    }
    let naive = Naive::of(&bars);
    assert_eq!(pivots, naive.pivots());
    assert!(naive.highs[4].len() > 1 && naive.lows[4].len() > 1, "it reaches level 5");
    assert_state(&structure, &naive, (-1..=1).map(|step| 2 * price + step * 301));
}
