//! Two connections with the same stream, each with a lag and losses of its own, against the union of what they had.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeSet;

use cobring_types::{DepthUpdate, Level, Nanos, Px, Qty, Side, Trade, TradeStream};
use cobring_venue::{DepthMerge, MERGE_WAIT, Merged, TradeMerge};
use proptest::prelude::*;

const MS: i64 = 1_000_000;

/// Message `number` of a stream: ids in ranges of one to four.
fn ids(number: u64) -> (u64, u64) {
    let first = 1_000 + number * 5 / 2;
    (first, 1_000 + (number + 1) * 5 / 2 - 1)
}

/// (time, message number): what one connection delivers, in order.
fn deliveries(lost: &BTreeSet<u64>, lags_ms: &[i64], from: u64, until: u64) -> Vec<(i64, u64)> {
    let mut at = i64::MIN;
    let mut out = Vec::new();
    for number in from..until {
        let lag = lags_ms[usize::try_from(number).unwrap() % lags_ms.len()];
        at = at.max((i64::try_from(number).unwrap() * 100 + lag) * MS);
        if !lost.contains(&number) {
            out.push((at, number));
        }
    }
    out
}

/// Both connections' messages, in order of arrival.
fn arrivals(a: Vec<(i64, u64)>, b: Vec<(i64, u64)>) -> Vec<(i64, u64)> {
    let mut all: Vec<_> = a.into_iter().chain(b).collect();
    // Stable: a connection's own messages keep their order.
    all.sort_by_key(|&(at, _)| at);
    all
}

fn lost() -> impl Strategy<Value = BTreeSet<u64>> {
    prop::collection::btree_set(1u64..60, 0..8)
}

fn lags() -> impl Strategy<Value = Vec<i64>> {
    prop::collection::vec(0i64..900, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn depth_is_the_union_of_both_in_order(
        (lost_a, lags_a) in (lost(), lags()),
        (lost_b, lags_b) in (lost(), lags()),
        joins_at in 0u64..30,
    ) {
        let both = arrivals(
            deliveries(&lost_a, &lags_a, 0, 60),
            deliveries(&lost_b, &lags_b, joins_at, 60),
        );
        let mut merge = DepthMerge::default();
        let mut taken: Vec<(u64, u64, usize)> = Vec::new();
        let mut next_timer = 0;
        let levels: Vec<Level> =
            (1..9).map(|at| Level { px: Px(at), qty: Qty(at) }).collect();
        for &(at, number) in &both {
            while next_timer <= at {
                if merge.is_due(Nanos(next_timer)) {
                    merge.skip(Nanos(next_timer), None, |update| taken.push(of(update)));
                }
                next_timer += 100 * MS;
            }
            let (first_update_id, last_update_id) = ids(number);
            let bids = &levels[..usize::try_from(number % 8).unwrap()];
            let ts_event = Nanos(at);
            let update = DepthUpdate { ts_event, first_update_id, last_update_id, bids, asks: &[] };
            loop {
                match merge.on_depth(Nanos(at), &update, 2) {
                    Merged::Next => {
                        if taken.last().is_none_or(|last| last_update_id > last.1) {
                            taken.push(of(&update));
                        }
                        merge.joining(|update| taken.push(of(update)));
                        break;
                    }
                    Merged::Waits => break,
                    Merged::Skip => {
                        merge.skip(Nanos(at), Some(&update), |update| taken.push(of(update)));
                    }
                }
            }
        }
        while merge.is_waiting() {
            merge.skip(Nanos(0), None, |update| taken.push(of(update)));
        }
        let had: BTreeSet<u64> = both.iter().map(|&(_, number)| number).collect();
        // A lag stays below the wait, so nothing that either had is passed over; a join may come before the first.
        let expected: Vec<_> = had
            .iter()
            .map(|&number| {
                let (first, last) = ids(number);
                (first, last, usize::try_from(number % 8).unwrap())
            })
            .filter(|&(first, ..)| first >= taken[0].0)
            .collect();
        prop_assert_eq!(&taken, &expected);
        prop_assert!(!merge.is_waiting());
        prop_assert!(MERGE_WAIT.0 >= 900 * MS);
    }

    #[test]
    fn trades_are_the_union_of_both_in_order(
        (lost_a, lags_a) in (lost(), lags()),
        (lost_b, lags_b) in (lost(), lags()),
    ) {
        let both = arrivals(deliveries(&lost_a, &lags_a, 0, 60), deliveries(&lost_b, &lags_b, 0, 60));
        let mut merge = TradeMerge::default();
        let mut taken: Vec<u64> = Vec::new();
        let mut next_timer = 0;
        for &(at, number) in &both {
            while next_timer <= at {
                if merge.is_due(Nanos(next_timer)) {
                    merge.skip(Nanos(next_timer), None);
                    while let Some(next) = merge.next_joining() {
                        taken.push(next.last_id);
                    }
                }
                next_timer += 100 * MS;
            }
            let (first_id, last_id) = ids(number);
            let trade = Trade {
                stream: TradeStream::AggTrade,
                ts_event: Nanos(at),
                ts_trade: Nanos(at),
                id: number,
                first_id,
                last_id,
                px: Px(1),
                qty: Qty(1),
                side: Side::Buy,
            };
            let mut take = |id: u64| {
                if taken.last().is_none_or(|&last| id > last) {
                    taken.push(id);
                }
            };
            loop {
                let merged = merge.on_trade(Nanos(at), &trade, 2);
                match merged {
                    Merged::Next => take(last_id),
                    Merged::Waits => break,
                    Merged::Skip => merge.skip(Nanos(at), Some(&trade)),
                }
                while let Some(next) = merge.next_joining() {
                    take(next.last_id);
                }
                if merged == Merged::Next {
                    break;
                }
            }
        }
        while merge.is_waiting() {
            merge.skip(Nanos(0), None);
            while let Some(next) = merge.next_joining() {
                taken.push(next.last_id);
            }
        }
        let had: BTreeSet<u64> = both.iter().map(|&(_, number)| ids(number).1).collect();
        let expected: Vec<_> = had.into_iter().filter(|&id| id >= taken[0]).collect();
        prop_assert_eq!(taken, expected);
    }
}

fn of(update: &DepthUpdate<'_>) -> (u64, u64, usize) {
    (update.first_update_id, update.last_update_id, update.bids.len())
}

#[test]
fn a_lone_connection_waits_for_nobody() {
    let mut merge = DepthMerge::default();
    let update = |first_update_id, last_update_id| DepthUpdate {
        ts_event: Nanos(0),
        first_update_id,
        last_update_id,
        bids: &[],
        asks: &[],
    };
    assert_eq!(merge.on_depth(Nanos(0), &update(1, 5), 1), Merged::Next);
    assert_eq!(merge.on_depth(Nanos(0), &update(7, 9), 1), Merged::Skip);
    merge.skip(Nanos(0), Some(&update(7, 9)), |_| panic!("nothing waits"));
    assert_eq!(merge.on_depth(Nanos(0), &update(7, 9), 1), Merged::Next);
    assert_eq!(merge.on_depth(Nanos(0), &update(10, 12), 1), Merged::Next);
    // With two it does, until the wait is over.
    assert_eq!(merge.on_depth(Nanos(5), &update(15, 16), 2), Merged::Waits);
    assert!(!merge.is_due(Nanos(4 + MERGE_WAIT.0)) && merge.is_due(Nanos(5 + MERGE_WAIT.0)));
    // One that just lost the other may be behind it.
    assert_eq!(merge.on_depth(Nanos(6), &update(13, 14), 1), Merged::Next);
    let mut joined = 0;
    merge.joining(|_| joined += 1);
    assert_eq!((joined, merge.is_waiting()), (1, false));
}

/// Takes a trade as the market does; a merge that does not move on is caught.
fn take_trade(merge: &mut TradeMerge, id: u64, taken: &mut Vec<u64>) {
    let trade = Trade {
        stream: TradeStream::Trade,
        ts_event: Nanos(0),
        ts_trade: Nanos(0),
        id,
        first_id: id,
        last_id: id,
        px: Px(1),
        qty: Qty(1),
        side: Side::Buy,
    };
    for _ in 0..3 {
        let merged = merge.on_trade(Nanos(0), &trade, 2);
        match merged {
            Merged::Next => taken.push(id),
            Merged::Waits => return,
            Merged::Skip => merge.skip(Nanos(0), Some(&trade)),
        }
        while let Some(next) = merge.next_joining() {
            taken.push(next.last_id);
        }
        if merged == Merged::Next {
            return;
        }
    }
    panic!("trade {id} is neither taken nor waits");
}

#[test]
fn as_many_trades_as_can_wait_give_way_to_the_one_that_fills_the_gap() {
    const FULL: u64 = 1 << 10;
    let (mut merge, mut taken) = (TradeMerge::default(), Vec::new());
    take_trade(&mut merge, 1, &mut taken);
    (0..FULL).for_each(|at| take_trade(&mut merge, 3 + at, &mut taken));
    assert_eq!(taken, [1]);
    take_trade(&mut merge, 1, &mut taken);
    take_trade(&mut merge, 2, &mut taken);
    assert_eq!(taken[2..], (2..3 + FULL).collect::<Vec<_>>());
    // One more than can wait: the gap is given up.
    let next = 4 + FULL;
    (0..=FULL).for_each(|at| take_trade(&mut merge, next + at, &mut taken));
    assert_eq!(taken.last(), Some(&(next + FULL)));
}
