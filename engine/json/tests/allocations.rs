//! Once warm, parsing allocates nothing, whatever the order of messages.
#![allow(unsafe_code, reason = "a counting allocator")]
#![allow(clippy::unwrap_used, reason = "test code")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use cobring_json::Parser;

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

#[test]
fn a_parser_made_for_a_size_allocates_nothing_up_to_it() {
    let level = "[\"61837.63000000\",\"1.54698000\"]";
    let levels = |count: usize| {
        format!(
            "{{\"lastUpdateId\":1,\"bids\":[{}],\"asks\":[\"\\u0041\"]}}",
            vec![level; count].join(",")
        )
    };
    let mut messages: Vec<String> = [1, 5_000, 40, 0, 10_000, 7].map(levels).into();
    // As many levels as a message of that size can have.
    messages.push(levels(10_000).replace("61837.63000000", "1.0").replace("1.54698000", "1.0"));
    messages.push(format!(
        "{{\"bids\":[{}]}}",
        vec!["[\"1.0\",\"1.0\"]"; 10_000 * 36 / 14 - 1].join(",")
    ));
    let mut parser = Parser::with_capacity(10_000 * 36);
    let allocations = allocations_of(|| {
        for text in messages.iter().cycle().take(600) {
            let document = parser.parse(text.as_bytes()).unwrap();
            let bids = document.root().field("bids").unwrap().as_array().unwrap();
            assert!(
                bids.flat_map(|level| level.as_array().unwrap())
                    .all(|text| text.as_str().is_some())
            );
        }
    });
    assert_eq!(allocations, 0);
}

#[test]
fn a_refused_message_costs_the_next_ones_nothing() {
    let mut parser = Parser::with_capacity(1_000);
    assert!(parser.parse(b"{\"a\":[1,2").is_err());
    let allocations = allocations_of(|| {
        for _ in 0..100 {
            assert!(parser.parse(b"{\"a\":[1,2]}").is_ok());
        }
    });
    assert_eq!(allocations, 0);
}
