//! Allocations a message on the way from the socket to the callback.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "test code")]
#![allow(unsafe_code, reason = "a counting allocator is a GlobalAlloc")]
#![allow(clippy::print_stdout, reason = "the TLS figure is the test's report")]

mod net_support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use cobring_pipeline::net::{ConnectorConfig, Payload};
use net_support::{Authority, Client, drain, serve, text};
use tungstenite::Message;

thread_local! {
    /// Allocations of this thread: the server's do not count.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    // A thread that is ending has no cell any more.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator with the arguments it came with; counting does
// not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps GlobalAlloc's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps GlobalAlloc's contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps GlobalAlloc's contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WARM_UP: u64 = 5_000;
const COUNTED: u64 = 100_000;
const BUFFER_GROWTHS_MAX: u64 = 4;

/// Venue-like lengths: mostly half a kilobyte, each 50th 12 KB, some 64 KB.
fn length_of(index: u64) -> usize {
    match index {
        index if index % 1000 == 0 => 64_000,
        index if index % 50 == 0 => 12_000,
        index => 150 + usize::try_from(index * 37 % 900).unwrap(),
    }
}

/// Allocations of the reading thread over `COUNTED` messages.
fn allocations(authority: Option<&Authority>) -> u64 {
    let (url, server) = serve(authority, |mut server| {
        let texts: Vec<String> = (0..1000).map(|index| text(index, length_of(index))).collect();
        for index in 0..WARM_UP + COUNTED {
            let text = texts[usize::try_from(index % 1000).unwrap()].clone();
            // At times one by one, at times many in a segment.
            server.write(Message::text(text)).unwrap();
            if index % 17 < 5 {
                server.flush().unwrap();
            }
        }
        server.flush().unwrap();
        drain(&mut server);
    });
    let mut client = Client::with(ConnectorConfig::default(), authority);
    let mut connection = client.connect(&url);
    let (mut seen, mut bytes) = (0, 0);
    let mut at_start = 0;
    client
        .drive(&mut connection, |received| {
            let Payload::Text(text) = received.payload else { panic!("{received:?}") };
            bytes += text.len();
            seen += 1;
            if seen == WARM_UP {
                at_start = ALLOCATIONS.get();
            }
            seen < WARM_UP + COUNTED
        })
        .unwrap();
    let counted = ALLOCATIONS.get() - at_start;
    assert!(bytes > 50_000_000, "{bytes}");
    drop(connection);
    server.join().unwrap();
    counted
}

#[test]
fn a_message_over_plain_tcp_costs_no_allocation() {
    // How messages batch decides when tungstenite's buffer meets its largest use: it may grow after the
    // warm-up, by doubling, a few times in all and never by the message.
    let counted = allocations(None);
    assert!(counted <= BUFFER_GROWTHS_MAX, "{counted} over {COUNTED} messages");
}

#[test]
fn a_message_over_tls_costs_what_rustls_takes() {
    let counted = allocations(Some(&Authority::new()));
    println!("TLS: {counted} allocations over {COUNTED} messages, all of rustls");
    assert!(counted < 4 * COUNTED, "{counted}");
}
