//! Against a model that keeps all bars, and the ways in which an import is refused.

use proptest::prelude::*;

use super::*;
use crate::pivots::PivotBar;

/// 2026-01-01, a whole hour.
const START: i64 = 1_767_225_600;

fn bar(second: i64, high: i64, low: i64, volume: i128) -> ClosedBar {
    ClosedBar {
        open_time: Nanos((START + second) * Nanos::SECOND.0),
        high: Px(high),
        low: Px(low),
        close: Px(low),
        volume,
        quote_volume: volume * i128::from(low),
        hole: false,
    }
}

fn feed(tracker: &mut BoundsTracker, structure: &mut Structure, bar: &ClosedBar) -> bool {
    let ended = tracker.on_bar(bar, structure);
    feed_structure(structure, bar);
    ended
}

fn feed_structure(structure: &mut Structure, bar: &ClosedBar) {
    let ClosedBar { open_time, high, low, hole, .. } = *bar;
    let ts_closed = Nanos(open_time.0 + Nanos::SECOND.0);
    structure.on_bar(&PivotBar { open_time, ts_closed, high, low, hole }, &mut |_| {});
}

/// The bounds at an hour's end, from all bars before it.
fn naive(bars: &[ClosedBar], period_end: Nanos) -> Option<PivotBounds> {
    let period_start = Nanos(period_end.0 - 720 * 3_600 * 1_000_000_000);
    let observed = || bars.iter().filter(|bar| !bar.hole && bar.open_time < period_end);
    let inside = || observed().filter(|bar| bar.open_time >= period_start);
    let mut structure = Structure::new();
    for bar in bars.iter().filter(|bar| bar.open_time < period_end) {
        feed_structure(&mut structure, bar);
    }
    let doubled = 2 * observed().next_back()?.close.0;
    let levels = [1, 2, 3, 4, 5];
    Some(PivotBounds {
        price_min: inside().map(|bar| bar.low).min()?,
        price_max: inside().map(|bar| bar.high).max()?,
        volume_min: inside().map(|bar| bar.volume).min()?,
        volume_max: inside().map(|bar| bar.volume).max()?,
        nearest: NearestPivots {
            support: levels.map(|level| structure.support(level, doubled)),
            resistance: levels.map(|level| structure.resistance(level, doubled)),
        },
        period_start,
        period_end,
        bar_count: inside().count() as u64,
    })
}

/// Bars mostly close together, at times hours apart, so that some 250 of them cover more than 720 hours.
fn bars() -> impl Strategy<Value = Vec<ClosedBar>> {
    let pause = prop_oneof![6 => 1i64..600, 3 => 3_000i64..20_000, 1 => 50_000i64..200_000];
    let step = (pause, 90i64..110, 0i64..5, 0i128..50, 0u8..12);
    proptest::collection::vec(step, 1..250).prop_map(|steps| {
        let mut second = 0;
        let bars = steps.into_iter().map(|(pause, low, up, volume, hole_of_12)| {
            second += pause;
            ClosedBar { hole: hole_of_12 == 0, ..bar(second, low + up, low, volume) }
        });
        bars.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn bounds_equal_those_of_all_bars(bars in bars(), imported_at in 0usize..250) {
        let (mut tracker, mut structure) = (BoundsTracker::new(), Structure::new());
        let mut expected = None;
        for (at, next) in bars.iter().enumerate() {
            let hour = next.open_time.floor_to(HOUR);
            let ended = at > 0 && hour > bars[at - 1].open_time.floor_to(HOUR);
            if ended {
                expected = naive(&bars[..at], hour);
            }
            // A new tracker and structure go on from what the last ones leave behind at an hour's end.
            let handed_over = ended && at >= imported_at;
            if handed_over {
                prop_assert!(tracker.advance_to(next.open_time, &structure));
                if let Some(exported) = tracker.export() {
                    let saved = postcard::to_allocvec(&(exported, &structure)).unwrap();
                    let (imported, pivots): (ImportedHours, Structure) =
                        postcard::from_bytes(&saved).unwrap();
                    tracker = BoundsTracker::new();
                    prop_assert_eq!(tracker.import(&imported, next.open_time), Ok(()));
                    structure = pivots;
                    structure.reserve();
                }
            }
            prop_assert_eq!(feed(&mut tracker, &mut structure, next), ended && !handed_over);
            prop_assert_eq!(tracker.bounds(), expected.as_ref(), "after bar {}", at);
        }
    }
}

fn imported() -> ImportedHours {
    let (mut tracker, mut structure) = (BoundsTracker::new(), Structure::new());
    for hour in 0..3 {
        feed(&mut tracker, &mut structure, &bar(hour * 3_600, 110 + hour, 90, 5));
    }
    tracker.advance_to(bar(3 * 3_600, 1, 1, 0).open_time, &structure);
    tracker.export().unwrap()
}

fn check_refused(change: impl FnOnce(&mut ImportedHours), ts_hour: i64, expected: &str) {
    let mut imported = imported();
    change(&mut imported);
    let ts = Nanos((START + ts_hour * 3_600) * Nanos::SECOND.0);
    let mut tracker = BoundsTracker::new();
    let error = tracker.import(&imported, ts).unwrap_err().to_string();
    assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    assert_eq!(tracker.bounds(), None);
}

#[test]
fn imports_that_cannot_be_are_refused() {
    assert_eq!(imported().check(imported().period_end), Ok(()));
    check_refused(|_| {}, 2, "period ends at 1767236400000000000 ns, wanted not after");
    check_refused(|import| import.period_end.0 -= 1, 9, "wanted a whole UTC hour");
    check_refused(|import| import.period_end = Nanos::UNDEF, 9, "wanted a whole UTC hour");
    check_refused(|import| import.period_end.0 = -HOUR.0, 9, "wanted a whole UTC hour");
    check_refused(|import| import.hours.clear(), 9, "no bar");
    check_refused(|import| import.hours[1].hour.0 += 1, 9, "hour 1 of the bounds starts");
    check_refused(|import| import.hours.swap(0, 1), 9, "hour 1 of the bounds starts");
    check_refused(|import| import.hours[2].hour = import.period_end, 9, "hour 2 of the bounds");
    check_refused(|import| import.hours[0].hour.0 -= 721 * HOUR.0, 9, "hour 0 of the bounds");
    check_refused(|import| import.hours[0].hour = Nanos::UNDEF, 9, "hour 0 of the bounds");
    check_refused(|import| import.hours[0].bars = 0, 9, "a number of bars");
    check_refused(|import| import.hours[0].bars = 3_601, 9, "a number of bars");
    check_refused(|import| import.hours[0].price_min = Px(0), 9, "prices");
    check_refused(|import| import.hours[0].price_max = Px(1), 9, "prices");
    check_refused(|import| import.hours[0].volume_min = -1, 9, "volumes");
    check_refused(|import| import.hours[0].volume_max = 1, 9, "volumes");
}

#[test]
fn an_import_joins_what_was_seen_since() {
    let (mut tracker, mut structure) = (BoundsTracker::new(), Structure::new());
    for hour in 2..6 {
        feed(&mut tracker, &mut structure, &bar(hour * 3_600 + 7, 500, 400, 1));
    }
    tracker.import(&imported(), bar(6 * 3_600, 1, 1, 1).open_time).unwrap();
    let found = tracker.bounds().unwrap();
    assert_eq!((found.price_min, found.price_max), (Px(90), Px(500)));
    assert_eq!(found.bar_count, 5, "hours 0 to 2 of the import, 3 and 4 of its own");
    assert_eq!(found.period_end, bar(5 * 3_600, 1, 1, 1).open_time, "its own bounds are newer");
    assert!(feed(&mut tracker, &mut structure, &bar(6 * 3_600, 500, 400, 1)));
    assert_eq!(tracker.bounds().unwrap().bar_count, 6);

    let mut tracker = BoundsTracker::new();
    tracker.import(&imported(), imported().period_end).unwrap();
    let late = bar(3 * 3_600 - 1, 999, 1, 1);
    assert!(!feed(&mut tracker, &mut structure, &late), "the import told of its hour");
    assert!(!feed(&mut tracker, &mut structure, &bar(3 * 3_600, 120, 100, 1)));
    assert!(feed(&mut tracker, &mut structure, &bar(4 * 3_600, 120, 100, 1)));
    assert_eq!(tracker.bounds().unwrap().price_max, Px(120));
}

#[test]
fn prices_are_normalised_without_clipping() {
    let mut tracker = BoundsTracker::new();
    tracker.import(&imported(), imported().period_end).unwrap();
    let bounds = tracker.bounds().unwrap();
    assert_eq!((bounds.price_min, bounds.price_max), (Px(90), Px(112)));
    for (px, expected) in [(90, 0.0f64), (112, 1.0), (101, 0.5), (68, -1.0), (134, 2.0)] {
        assert_eq!(bounds.normalise(Px(px)).to_bits(), expected.to_bits(), "{px}");
    }
    assert!(PivotBounds { price_max: Px(90), ..*bounds }.normalise(Px(90)).is_nan());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Bars are kept for a while, and change: filled, wider or with more volume.
    #[test]
    fn bounds_equal_those_of_all_bars_as_they_are_after_repairs(
        bars in bars(),
        repairs in proptest::collection::vec((1usize..250, 0usize..8, 80i64..120, 0i64..9, 0i128..90), 0..30),
    ) {
        const KEPT: usize = 8;
        let (mut tracker, structure) = (BoundsTracker::new(), Structure::new());
        let mut seen: Vec<ClosedBar> = Vec::new();
        for (at, bar) in bars.iter().enumerate() {
            if let Some(leaving) = at.checked_sub(KEPT) {
                tracker.on_settled(&seen[leaving]);
            }
            seen.push(*bar);
            tracker.on_bar(bar, &structure);
            for &(when, back, low, up, volume) in &repairs {
                if when == at && back < seen.len().min(KEPT) {
                    let changed = seen.len() - 1 - back;
                    let old = seen[changed];
                    seen[changed] = ClosedBar { high: Px(low + up), low: Px(low), volume, hole: false, ..old };
                    let kept = &seen[seen.len().saturating_sub(KEPT)..];
                    tracker.on_repair(kept.iter().copied(), old.open_time);
                }
            }
            let period_end = bar.open_time.floor_to(Nanos(3_600 * Nanos::SECOND.0));
            let expected = naive(&seen, period_end);
            let figures = |bounds: &PivotBounds| {
                (bounds.price_min, bounds.price_max, bounds.volume_min, bounds.volume_max, bounds.bar_count)
            };
            prop_assert_eq!(tracker.bounds().map(figures), expected.as_ref().map(figures), "bar {}", at);
        }
    }
}
