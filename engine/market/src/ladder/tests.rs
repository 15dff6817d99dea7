//! A ladder against a sorted map, with prices that leave its window and come back.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Ranks and quantities, and what is known of them.
#[derive(Default)]
struct Naive {
    levels: BTreeMap<i64, i64>,
    known_to: Option<i64>,
}

impl Naive {
    fn set(&mut self, rank: i64, qty: i64, capacity: usize) -> (i64, Option<(i64, i64)>) {
        let before = self.levels.remove(&rank).unwrap_or(0);
        if qty > 0 {
            self.levels.insert(rank, qty);
        }
        let is_full = self.levels.len() > capacity;
        let dropped = if is_full { self.levels.pop_first() } else { None };
        if let Some((rank, _)) = dropped {
            self.known_to = self.known_to.max(Some(rank + 1));
        }
        (before, dropped)
    }
}

/// Prices near each other, some a window's width apart, some at the ends of what a price can be.
fn distance() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => 0i64..40,
        2 => 0i64..4 * TICKS,
        1 => prop_oneof![Just(i64::MAX - 100), Just(TICKS - 1), Just(TICKS), Just(2 * TICKS)],
    ]
}

proptest! {
    #[test]
    fn a_ladder_is_a_sorted_map(
        base in prop_oneof![Just(1i64), Just(100_000), 1i64..10_000_000],
        events in proptest::collection::vec(
            (proptest::collection::vec((distance(), 0i64..4), 1..10), -TICKS..TICKS), 1..40),
        sell in any::<bool>(),
        capacity in prop_oneof![Just(16usize), Just(1_000)],
        bounds in (distance(), distance()),
        cleared_at in 0usize..40,
    ) {
        let side = if sell { Side::Sell } else { Side::Buy };
        let sign = if sell { -1 } else { 1 };
        let mut ladder = Ladder::new(side, capacity);
        let mut model = Naive::default();
        let mut base = base;
        let mut slowly = (0..).map(|number| number % 3 == 2);
        for (number, (changes, drift)) in events.into_iter().enumerate() {
            base = (base + drift).max(1);
            if number == cleared_at {
                ladder.clear();
                model = Naive::default();
            }
            for (distance, qty) in changes {
                let px = base.saturating_add(distance);
                let mut told = Vec::new();
                let level = Level { px: Px(px), qty: Qty(qty) };
                let tell = |px: Px, by| told.push((sign * px.0, by));
                let gave_way = if ladder.has_room_for(1) && slowly.next() == Some(false) {
                    apply_to_room(&mut ladder, level, tell);
                    0
                } else {
                    ladder.apply(std::iter::once(level), tell)
                };
                let (before, dropped) = model.set(sign * px, qty, capacity);
                let mut expected = vec![(sign * px, qty - before)];
                expected.extend(dropped.map(|(rank, qty)| (rank, -qty)));
                prop_assert_eq!(told, expected);
                prop_assert_eq!(gave_way, u64::from(dropped.is_some()));
                prop_assert_eq!(ladder.qty_at(Px(px)).0, model.levels.get(&(sign * px)).copied().unwrap_or(0));
                prop_assert_eq!(ladder.best().map(|l| sign * l.px.0), model.levels.keys().next_back().copied());
            }
            ladder.follow();
            let held: Vec<_> = ladder.iter().map(|level| (sign * level.px.0, level.qty.0)).collect();
            let expected: Vec<_> = model.levels.iter().rev().map(|(&rank, &qty)| (rank, qty)).collect();
            prop_assert_eq!(&held, &expected);
            let mut top = [Level { px: Px(0), qty: Qty(0) }; 5];
            let len = ladder.top(&mut top);
            let top: Vec<_> = top[..len].iter().map(|level| (sign * level.px.0, level.qty.0)).collect();
            prop_assert_eq!(&top[..], &expected[..expected.len().min(5)]);
            prop_assert_eq!(ladder.len(), expected.len());
            prop_assert_eq!(ladder.is_empty(), expected.is_empty());
            let known_to = model.known_to.unwrap_or(i64::MIN);
            prop_assert_eq!(ladder.known_to().map(|px| sign * px.0), model.known_to);
            prop_assert_eq!(ladder.known_len(), model.levels.range(known_to..).count());
            let (a, b) = (sign * base.saturating_add(bounds.0), sign * base.saturating_add(bounds.1));
            let (near, far) = (a.max(b), a.min(b));
            let expected: i128 = model.levels.range(far..near).map(|(_, &q)| i128::from(q)).sum();
            prop_assert_eq!(ladder.sum_behind(Some(Px(sign * near)), Px(sign * far)), expected);
            prop_assert_eq!(ladder.far.capacity(), far_room(capacity));
        }
        let bytes = postcard::to_allocvec(&ladder).unwrap();
        let restored: Ladder = postcard::from_bytes(&bytes).unwrap();
        prop_assert!(restored.iter().eq(ladder.iter()));
        prop_assert_eq!((restored.known_to(), restored.known_len()), (ladder.known_to(), ladder.known_len()));
        prop_assert_eq!((restored.len(), restored.side), (ladder.len(), ladder.side));
        let mut restored = restored;
        restored.reserve();
        for px in [1, base, i64::MAX - 1] {
            for ladder in [&mut ladder, &mut restored] {
                set(ladder, px, 7);
                ladder.follow();
            }
            prop_assert!(restored.iter().eq(ladder.iter()));
        }
        ladder.clear();
        prop_assert!(ladder.is_empty() && ladder.iter().next().is_none());
    }
}

fn apply_to_room(ladder: &mut Ladder, level: Level, account: impl FnMut(Px, i64)) {
    match ladder.side {
        Side::Buy => ladder.apply_to_room::<false>(&[level], account),
        Side::Sell => ladder.apply_to_room::<true>(&[level], account),
    }
}

fn set(ladder: &mut Ladder, px: i64, qty: i64) {
    ladder.apply(std::iter::once(Level { px: Px(px), qty: Qty(qty) }), |_, _| {});
}

#[test]
fn a_jump_of_the_price_takes_all_levels_along() {
    let mut ladder = Ladder::new(Side::Buy, 10_000);
    let levels: Vec<Level> =
        (0..5_000).map(|at| Level { px: Px(1_000_000 - 7 * at), qty: Qty(at + 1) }).collect();
    ladder.load(&levels, false);
    assert_eq!((ladder.known_len(), ladder.known_to()), (5_000, Some(Px(1_000_000 - 7 * 4_999))));
    for px in [9_000_000, 20, 1_030_000] {
        set(&mut ladder, px, 1);
        ladder.follow();
        let before: Vec<Level> = ladder.iter().collect();
        assert!(before.is_sorted_by(|a, b| a.px > b.px));
        assert!(levels.iter().all(|level| ladder.qty_at(level.px) == level.qty));
        if px != 20 {
            assert_eq!(before[0].px, Px(px));
            set(&mut ladder, px, 0);
            ladder.follow();
        }
    }
    assert_eq!(ladder.len(), 5_001);
}

#[test]
fn places_that_levels_left_are_taken_again_or_swept_out() {
    let mut ladder = Ladder::new(Side::Buy, 16);
    let best = 10 * TICKS;
    set(&mut ladder, best, 1);
    ladder.follow();
    // The better one of two far levels stays.
    set(&mut ladder, 5_000, 2);
    for px in (1..1_000).rev().chain(1..1_000) {
        set(&mut ladder, px, 3);
        set(&mut ladder, px, 0);
        set(&mut ladder, px, 4);
        let levels: Vec<i64> = ladder.iter().map(|level| level.px.0).collect();
        assert_eq!(levels, [best, 5_000, px]);
        set(&mut ladder, px, 0);
        assert_eq!((ladder.len(), ladder.far.len()), (2, 2));
    }
    // Each between two levels that are there leaves an empty place more, until there is no room.
    let mut longest = 0;
    set(&mut ladder, 1_000, 4);
    for px in 1_000..1_200 {
        set(&mut ladder, px + 1, 4);
        set(&mut ladder, px, 0);
        let levels: Vec<i64> = ladder.iter().map(|level| level.px.0).collect();
        assert_eq!(levels, [best, 5_000, px + 1]);
        assert_eq!(ladder.far.capacity(), far_room(16));
        longest = longest.max(ladder.far.len());
    }
    assert_eq!(longest, far_room(16));
    // Levels that the window leaves behind find room too.
    let mut px = 1_200;
    while ladder.far.len() < far_room(16) {
        set(&mut ladder, px + 1, 4);
        set(&mut ladder, px, 0);
        px += 1;
    }
    let last = best - TICKS / 4 * 3;
    for px in last..last + 12 {
        set(&mut ladder, px, 1);
    }
    set(&mut ladder, best + TICKS / 5, 1);
    ladder.follow();
    assert_eq!((ladder.len(), ladder.far.len(), ladder.far.capacity()), (16, 14, far_room(16)));
    // With the last ones go the empty places before them.
    for px in last..last + 12 {
        set(&mut ladder, px, 0);
    }
    assert_eq!((ladder.len(), ladder.far.len()), (4, 2));
}

#[test]
fn empty_places_behind_a_level_that_the_window_takes_in_go_with_it() {
    let mut ladder = Ladder::new(Side::Buy, 16);
    set(&mut ladder, 20 * TICKS, 1);
    ladder.follow();
    for (px, qty) in [(10 * TICKS, 2), (11 * TICKS, 3), (10 * TICKS, 0)] {
        set(&mut ladder, px, qty);
    }
    assert_eq!(ladder.far.len(), 2);
    set(&mut ladder, 20 * TICKS, 0);
    set(&mut ladder, 11 * TICKS + TICKS / 4, 4);
    ladder.follow();
    assert!(ladder.far.is_empty());
    let levels: Vec<i64> = ladder.iter().map(|level| level.px.0).collect();
    assert_eq!(levels, [11 * TICKS + TICKS / 4, 11 * TICKS]);
}

#[test]
fn a_list_of_more_levels_than_allowed_is_refused() {
    let levels = vec![Level { px: Px(1), qty: Qty(1) }, Level { px: Px(2), qty: Qty(1) }];
    let saved = Saved { side: Side::Buy, capacity: 1, known_to: 0, levels };
    let bytes = postcard::to_allocvec(&saved).unwrap();
    assert!(postcard::from_bytes::<Ladder>(&bytes).is_err());
}
