//! Once made, a decoder and a sync state allocate nothing, from the first message on.
#![allow(unsafe_code, reason = "a counting allocator")]
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use cobring_types::{DepthUpdate, Event, Input, InputKind, Level, Nanos, Px, Qty, Stamp};
use cobring_venue::{BookSync, DepthBufferCapacity, EventSink};
use common::{ETH, decoder, fixtures, input};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: all calls go to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations_of(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

struct Count(u64);

impl EventSink for Count {
    fn on_event(&mut self, _: &Stamp, _: cobring_types::SymbolIndex, _: &Event<'_>) {
        self.0 += 1;
    }
}

#[test]
fn decoding_allocates_nothing() {
    let messages: Vec<_> = fixtures("").into_iter().map(|(_, text)| text).collect();
    let side = |first: i64, step: i64| {
        let level = |at| format!("[\"{}.00000000\",\"1.54698000\"]", first + step * at);
        (0..5000).map(level).collect::<Vec<_>>().join(",")
    };
    let full = format!(
        "{{\"lastUpdateId\":35346513512,\"bids\":[{}],\"asks\":[{}]}}",
        side(61_000, -1),
        side(61_001, 1)
    );
    let mut decoder = decoder().warmed();
    let mut count = Count(0);
    let kinds = [
        (InputKind::Text, 0),
        (InputKind::RestDepth, 0),
        (InputKind::RestTime, 0),
        (InputKind::RestExchangeInfo, 0),
        (InputKind::RestKlines, 0),
        (InputKind::RestTicker, 0),
        (InputKind::RestTrades, 0),
        (InputKind::RestTrades, 1),
    ];
    let allocations = allocations_of(|| {
        for _ in 0..100 {
            let full =
                Input { symbol: ETH, aux: 5000, ..input(InputKind::RestDepth, full.as_bytes()) };
            decoder.decode(&full, &mut count).unwrap();
            for text in &messages {
                // Wrong kinds are refused, which allocates nothing either.
                for (kind, aux) in kinds {
                    let input = Input { symbol: ETH, aux, ..input(kind, text) };
                    let _ = decoder.decode(&input, &mut count);
                }
            }
        }
    });
    assert_eq!(allocations, 0);
    // A full snapshot; 10 events, 1 snapshot, 2 times (exchangeInfo has one too), 3 instruments, klines, ticker,
    // trades of both streams.
    assert_eq!(count.0, 100 * (1 + 10 + 1 + 2 + 3 + 1 + 1 + 2));
}

#[test]
fn keeping_a_book_in_sync_allocates_nothing() {
    let capacity = DepthBufferCapacity { levels: 1000, updates: 100 };
    let mut sync = BookSync::new(capacity);
    let levels = [Level { px: Px(1), qty: Qty(1) }; 40];
    let allocations = allocations_of(|| {
        for id in 1..100_000u64 {
            let (bids, asks) = levels.split_at(usize::try_from(id % 40).unwrap());
            let id = id + id / 5000 * 3;
            let (first_update_id, last_update_id) = (id, id);
            let update =
                DepthUpdate { ts_event: Nanos(0), first_update_id, last_update_id, bids, asks };
            sync.on_depth(&update);
            if id % 500 == 0 {
                sync.on_requested();
            }
            if id % 500 == 10 {
                let last_update_id = id - 5;
                sync.on_snapshot(&cobring_types::DepthSnapshot {
                    last_update_id,
                    limit: 5,
                    bids,
                    asks,
                });
                sync.take_kept(|update| assert!(update.last_update_id > id - 5));
            }
        }
    });
    assert_eq!(allocations, 0);
    let counters = sync.counters();
    assert!(counters.gaps > 0 && counters.overflows > 0 && counters.audits > 0, "{counters:?}");
    assert!(counters.snapshots_adopted > 0, "{counters:?}");
}
