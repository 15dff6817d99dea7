//! Hot messages by each kernel of the scanner against the general parser: the same events and the same refusals.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]
#![expect(unsafe_code, reason = "pages that nobody may read")]

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader};

use cobring_json::scan::Kernel;
use cobring_types::{Input, InputKind, Instrument, SymbolIndex};
use cobring_venue::binance::Decoder;
use cobring_venue::{Decoded, MAX_MESSAGE_SIZE_BYTES};
use common::{ETH, Outcome, decode, fixtures, input, instruments, recordings};
use flate2::read::GzDecoder;
use memmap2::MmapMut;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use rustix::mm::{MprotectFlags, mprotect};

/// The decoders that are to agree, the general one first.
struct Twins {
    general: Decoder,
    scanning: Vec<(Kernel, Decoder)>,
}

impl Twins {
    fn new() -> Self {
        Self::of(instruments())
    }

    fn of(instruments: Vec<Instrument>) -> Self {
        let kernels = Kernel::ALL.into_iter().filter(|kernel| kernel.is_supported());
        let scanning = kernels
            .map(|kernel| (kernel, Decoder::with_kernel(instruments.clone(), Some(kernel))))
            .collect();
        Self { general: Decoder::with_kernel(instruments, None), scanning }
    }

    /// What the general one says, once all others say the same.
    fn agree(&mut self, text: &[u8]) -> Outcome {
        self.agree_on(&input(InputKind::Text, text))
    }

    /// The same of an answer with a snapshot of that symbol.
    fn agree_on_snapshot(&mut self, symbol: SymbolIndex, body: &[u8]) -> Outcome {
        self.agree_on(&Input { symbol, ..input(InputKind::RestDepth, body) })
    }

    fn agree_on(&mut self, input: &Input<'_>) -> Outcome {
        let wanted = decode(&mut self.general, input);
        for (kernel, decoder) in &mut self.scanning {
            let found = decode(decoder, input);
            assert_eq!(found, wanted, "{kernel:?}: {}", String::from_utf8_lossy(input.bytes));
        }
        wanted
    }

    /// Messages that each kernel left to the general parser.
    fn left(&self) -> Vec<u64> {
        self.scanning.iter().map(|(_, decoder)| decoder.counters().general).collect()
    }
}

#[test]
fn every_recorded_message_is_read_by_the_scanner() {
    let Some(paths) = recordings() else { return };
    let mut twins = Twins::new();
    let (mut count, mut snapshots) = (0, 0);
    for path in paths {
        for line in BufReader::new(GzDecoder::new(File::open(&path).unwrap())).split(b'\n') {
            let line = line.unwrap();
            let space = line.iter().position(|&byte| byte == b' ').unwrap();
            let message = &line[space + 1..];
            if message.starts_with(b"{\"stream\"") {
                let _same = twins.agree(message);
                count += 1;
            } else {
                let (decoded, _) = twins.agree_on_snapshot(ETH, message);
                assert_eq!(decoded, Ok(Decoded::Events(1)));
                snapshots += 1;
            }
        }
    }
    let kernels: Vec<Kernel> = twins.scanning.iter().map(|(kernel, _)| *kernel).collect();
    println!("{count} messages and {snapshots} snapshots by {kernels:?}");
    assert!(count > 50_000 && snapshots > 0);
    assert!(
        twins.left().iter().all(|&left| left == 0),
        "left to the general one: {:?}",
        twins.left()
    );
}

#[test]
fn fixtures_are_read_alike_whole_and_cut() {
    let mut twins = Twins::new();
    for (_, body) in fixtures("rest_") {
        for length in 0..=body.len() {
            let _same = twins.agree_on_snapshot(ETH, &body[..length]);
        }
    }
    for (_, text) in fixtures("ws_") {
        for length in 0..=text.len() {
            let _same = twins.agree(&text[..length]);
        }
    }
}

/// A price on the tick, mostly.
fn px() -> impl Strategy<Value = String> {
    prop_oneof![40 => "[1-9][0-9]{0,6}\\.[0-9]{2}000000", 1 => odd_decimal()]
}

fn qty() -> impl Strategy<Value = String> {
    prop_oneof![40 => "[0-9]{1,7}\\.[0-9]{7}[1-9]", 1 => odd_decimal()]
}

fn odd_decimal() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => "[0-9]{1,11}\\.[0-9]{1,10}",
        1 => "[0-9]{1,9}",
        1 => "[0-9]{1,7}\\.[0-9]{2}0{6,9}",
        1 => "-?[0-9.eE+\\-]{0,18}",
    ]
}

fn side() -> impl Strategy<Value = String> {
    let level = (px(), qty()).prop_map(|(px, qty)| format!("[\"{px}\",\"{qty}\"]"));
    prop::collection::vec(level, 0..20).prop_map(|levels| format!("[{}]", levels.join(",")))
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        60 => "[1-9][0-9]{0,14}",
        1 => "[1-9][0-9]{15,19}",
        1 => "0[0-9]{0,3}",
        1 => "[0-9.\\-]{0,4}",
    ]
}

fn symbol() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "ETHUSDT",
        "ETHUSDT",
        "ETHUSDT",
        "ETHUSDT",
        "BTCUSDT",
        "NKNUSDT",
        "XRPUSDT",
        "",
        "ETH\\u0055SDT",
    ])
}

fn event() -> impl Strategy<Value = String> {
    let depth = (number(), symbol(), number(), 0..90u64, side(), side()).prop_map(
        |(time, symbol, first, count, bids, asks)| {
            let last = first.parse::<u64>().map_or(0, |first| first.saturating_add(count));
            format!("{{\"e\":\"depthUpdate\",\"E\":{time},\"s\":\"{symbol}\",\"U\":{first},\"u\":{last},\"b\":{bids},\"a\":{asks}}}")
        },
    );
    let trade = (number(), symbol(), number(), px(), qty(), any::<bool>(), any::<bool>()).prop_map(
        |(time, symbol, id, px, qty, maker, orders)| {
            let orders = if orders { ",\"b\":88,\"a\":99" } else { "" };
            format!("{{\"e\":\"trade\",\"E\":{time},\"s\":\"{symbol}\",\"t\":{id},\"p\":\"{px}\",\"q\":\"{qty}\"{orders},\"T\":{time},\"m\":{maker},\"M\":true}}")
        },
    );
    let agg = (number(), symbol(), number(), number(), px(), qty(), any::<bool>()).prop_map(
        |(time, symbol, id, last, px, qty, maker)| {
            format!("{{\"e\":\"aggTrade\",\"E\":{time},\"s\":\"{symbol}\",\"a\":{id},\"p\":\"{px}\",\"q\":\"{qty}\",\"f\":{id},\"l\":{last},\"T\":{time},\"m\":{maker},\"M\":true}}")
        },
    );
    let quote = (number(), symbol(), px(), qty(), px(), qty()).prop_map(
        |(id, symbol, bid, bid_qty, ask, ask_qty)| {
            format!("{{\"u\":{id},\"s\":\"{symbol}\",\"b\":\"{bid}\",\"B\":\"{bid_qty}\",\"a\":\"{ask}\",\"A\":\"{ask_qty}\"}}")
        },
    );
    prop_oneof![4 => depth, 1 => trade, 1 => agg, 1 => quote]
}

fn message() -> impl Strategy<Value = String> {
    let stream = prop::sample::select(vec![
        None,
        None,
        Some("ethusdt@depth@100ms"),
        Some("ethusdt@trade"),
        Some("btcusdt@bookTicker"),
        Some("ethusdt@\\u0061"),
        Some("ETHUSDT@x\u{e9}"),
        Some("ethusdt"),
    ]);
    (stream, event()).prop_map(|(stream, event)| match stream {
        None => event,
        Some(stream) => format!("{{\"stream\":\"{stream}\",\"data\":{event}}}"),
    })
}

fn snapshot() -> impl Strategy<Value = String> {
    let level = |(px, qty): (i64, String)| format!("[\"{px}.50000000\",\"{qty}\"]");
    // Mostly in order.
    let side = |worse: i64| {
        let steps =
            prop::collection::vec((prop_oneof![40 => 1..9i64, 1 => -1..1i64], qty()), 0..20);
        steps.prop_map(move |steps| {
            let levels = steps.into_iter().scan(5_000, |px, (step, qty)| {
                *px += worse * step;
                Some(level((*px, qty)))
            });
            format!("[{}]", levels.collect::<Vec<_>>().join(","))
        })
    };
    let sides = prop_oneof![8 => (side(-1), side(1)), 1 => (self::side(), self::side())];
    (number(), sides).prop_map(|(id, (bids, asks))| {
        format!("{{\"lastUpdateId\":{id},\"bids\":{bids},\"asks\":{asks}}}")
    })
}

/// Some bytes of it are changed, added or taken away.
type Changes = Vec<(prop::sample::Index, u8, u8)>;

fn changes() -> impl Strategy<Value = Changes> {
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0..6u8);
    prop_oneof![prop::collection::vec(change, 0..3), Just(Vec::new())]
}

fn changed(text: String, changes: Changes) -> Vec<u8> {
    let mut text = text.into_bytes();
    for (at, byte, how) in changes {
        let at = at.index(text.len());
        match how {
            0 => text[at] = byte,
            1 => drop(text.remove(at)),
            2 => text.insert(at, byte),
            3 => text[at] = b"0123456789\".,[]{}:-"[usize::from(byte) % 19],
            4 => text.insert(at, b"0123456789\".,[]{}: "[usize::from(byte) % 19]),
            _ => text.truncate(at.max(1)),
        }
    }
    text
}

#[test]
fn messages_of_any_numbers_and_what_is_left_of_them_are_read_alike() {
    let mut twins = Twins::new();
    let (mut events, mut snapshots) = (0, 0);
    let any = (message(), snapshot(), changes());
    let mut runner = TestRunner::deterministic();
    for _ in 0..12_000 {
        let (message, snapshot, changes) = any.new_tree(&mut runner).unwrap().current();
        let message = changed(message, changes.clone());
        let snapshot = changed(snapshot, changes);
        let (decoded, _) = twins.agree(&message);
        events += u64::from(matches!(decoded, Ok(Decoded::Events(1))));
        let (decoded, _) = twins.agree_on_snapshot(ETH, &snapshot);
        snapshots += u64::from(matches!(decoded, Ok(Decoded::Events(1))));
        let left = twins.left();
        assert!(
            left.iter().all(|&one| one == left[0]),
            "{left:?}: {} or {}",
            String::from_utf8_lossy(&message),
            String::from_utf8_lossy(&snapshot)
        );
    }
    println!("{events} and {snapshots} of 12,000 were events; left: {:?}", twins.left());
    assert!(events > 1_500 && snapshots > 1_500, "{events} {snapshots}");
}

/// A message of each shape; the stream's name makes it a combined one.
const SHAPES: [(&str, &str); 4] = [
    (
        "ethusdt@depth",
        r#"{"e":"depthUpdate","E":1723161255308,"s":"ETHUSDT","U":35,"u":36,"b":[["2683.80000000","3.02920000"],["2683.79000000","12.00000000"],["2683.78000000","0.00000000"],["183.50000000","1.00000000"],["9.00000000","150000.00000000"]],"a":[["2733.70000000","150.10000000"],["12733.71000000","0.00000001"],["12733.72000000","2.00000000"],["12733.73000000","3.00000000"]]}"#,
    ),
    (
        "ethusdt@trade",
        r#"{"e":"trade","E":1723161255612,"s":"ETHUSDT","t":1520538925,"p":"2683.80000000","q":"0.00200000","T":1723161255611,"m":true,"M":true}"#,
    ),
    (
        "ethusdt@aggTrade",
        r#"{"e":"aggTrade","E":1723161255612,"s":"ETHUSDT","a":156,"p":"2683.80000000","q":"58.00000000","f":19862790,"l":19862791,"T":1723161255611,"m":false,"M":true}"#,
    ),
    (
        "ethusdt@bookTicker",
        r#"{"u":35346513501,"s":"ETHUSDT","b":"2683.80000000","B":"3.02920000","a":"2683.81000000","A":"31.43950000"}"#,
    ),
];

fn combined(stream: &str, event: &str) -> String {
    format!("{{\"stream\":\"{stream}\",\"data\":{event}}}")
}

#[test]
fn each_place_of_each_byte_is_checked() {
    let mut twins = Twins::new();
    for (stream, event) in SHAPES {
        for text in [combined(stream, event), event.to_owned()] {
            // So that its opening is one that was seen.
            let (decoded, _) = twins.agree(text.as_bytes());
            assert_eq!(decoded, Ok(Decoded::Events(1)), "{text}");
            assert!(twins.left().iter().all(|&left| left == twins.left()[0]));
            for at in 0..text.len() {
                let is_first = stream.ends_with("depth") && text != event;
                let bytes =
                    if is_first { (0..=0x7f).collect() } else { b"019.\",:{}[]tfe \\".to_vec() };
                for byte in bytes.into_iter().chain([0x80, 0xc3, 0xff]) {
                    let mut changed = text.clone().into_bytes();
                    changed[at] = byte;
                    let _same = twins.agree(&changed);
                }
            }
        }
    }
}

/// One page between two that nobody may read.
struct BetweenWalls {
    /// Of the page between them.
    start: *mut u8,
    page: usize,
    _pages: MmapMut,
}

impl BetweenWalls {
    fn new() -> Self {
        let page = rustix::param::page_size();
        let mut pages = MmapMut::map_anon(3 * page).unwrap();
        let start = pages.as_mut_ptr();
        for wall in [0, 2 * page] {
            // SAFETY: a page of the mapping, of which nothing is made or held from here on but a pointer.
            unsafe { mprotect(start.wrapping_add(wall).cast(), page, MprotectFlags::empty()) }
                .unwrap();
        }
        Self { start: start.wrapping_add(page), page, _pages: pages }
    }

    /// The text at the page's begin, and at its end.
    fn each(&mut self, text: &[u8], mut read: impl FnMut(&[u8])) {
        for at in [0, self.page.checked_sub(text.len()).unwrap()] {
            // SAFETY: so many bytes lie in the page, which is this one's alone.
            let place = unsafe { std::slice::from_raw_parts_mut(self.start.add(at), text.len()) };
            place.copy_from_slice(text);
            read(place);
        }
    }
}

#[test]
fn nothing_beside_a_message_is_read() {
    let (mut twins, mut walls) = (Twins::new(), BetweenWalls::new());
    let snapshot = r#"{"lastUpdateId":3,"bids":[["2683.80000000","3.02920000"],["2683.79000000","1.00000000"]],"asks":[["2733.70000000","150.10000000"]]}"#;
    // Whole ones at both ends of the page.
    let mut whole = 0;
    let mut count = |(decoded, _): Outcome| whole += u32::from(decoded == Ok(Decoded::Events(1)));
    for (stream, event) in SHAPES {
        for text in [combined(stream, event), event.to_owned()] {
            for length in 0..=text.len() {
                walls.each(&text.as_bytes()[..length], |text| count(twins.agree(text)));
            }
        }
    }
    for length in 0..=snapshot.len() {
        let body = &snapshot.as_bytes()[..length];
        walls.each(body, |body| count(twins.agree_on_snapshot(ETH, body)));
    }
    assert_eq!(whole, 2 * (2 * 4 + 1));
    assert!(twins.left().iter().all(|&left| left == twins.left()[0]), "{:?}", twins.left());
}

/// Of so many bytes, with a point in none of them: what is not read for a level's neighbour is passed unseen.
fn fillers(length: usize) -> Vec<String> {
    let whole = |levels: usize| {
        let rest = length.checked_sub(10 * levels + 9)?;
        (rest > 0).then(|| {
            format!("{}{}\",\"6\"],[\"", "5\",\"6\"],[\"".repeat(levels), "1".repeat(rest))
        })
    };
    let noise = |quote: &str| format!("{:x>1$}{quote}", "", length - quote.len());
    let border = "]],\"a\":[[\"";
    let mut all = vec![noise("\"")];
    all.extend((length > border.len()).then(|| noise(border)));
    all.extend((0..8).filter_map(whole));
    assert!(all.iter().all(|filler| filler.len() == length && !filler.contains('.')));
    all
}

#[test]
fn nothing_between_levels_is_passed_unseen() {
    let mut twins = Twins::new();
    let level = |nth: usize| format!("268{nth}.50000000\",\"{nth}.02920000");
    let mut taken = 0;
    for length in 1..=260 {
        for filler in fillers(length) {
            for at in 0..4 {
                let levels: Vec<String> = (0..4)
                    .map(
                        |nth| {
                            if nth == at { format!("{filler}{}", level(nth)) } else { level(nth) }
                        },
                    )
                    .collect();
                let side = levels.join("\"],[\"");
                let depth = format!(
                    "{{\"e\":\"depthUpdate\",\"E\":1723161255308,\"s\":\"ETHUSDT\",\"U\":35,\"u\":36,\"b\":[[\"{side}\"]],\"a\":[[\"{side}\"]]}}"
                );
                for text in [combined("ethusdt@depth", &depth), depth] {
                    let (decoded, _) = twins.agree(text.as_bytes());
                    taken += usize::from(decoded.is_ok());
                }
                let body = format!("{{\"lastUpdateId\":35,\"bids\":[[\"{side}\"]],\"asks\":[]}}");
                let _same = twins.agree_on_snapshot(ETH, body.as_bytes());
            }
        }
    }
    // Levels of whole numbers are levels.
    assert!(taken > 1_000, "{taken}");
}

#[test]
fn levels_are_counted_in_any_tick_and_quantity() {
    let mut counted = 0;
    for tick in ["0.00000001", "0.0003", "0.01", "0.03", "0.05", "0.25", "1", "10"] {
        for qty_decimals in [0, 3, 8] {
            let Ok(instrument) = Instrument::new("ETHUSDT", tick, qty_decimals) else { continue };
            let mut twins = Twins::of(vec![instrument]);
            for px in [
                "0.00000000",
                "0.00000001",
                "0.25000000",
                "2.55000000",
                "30.00000000",
                "9.00000003",
            ] {
                for qty in
                    ["0.00000000", "0.00000001", "7.12500000", "0.00100000", "7654321.00000000"]
                {
                    for nth in 0..4 {
                        let levels: Vec<String> =
                            (0..4)
                                .map(|at| {
                                    if at == nth {
                                        (px, qty)
                                    } else {
                                        ("30.00000000", "2.00000000")
                                    }
                                })
                                .map(|(px, qty)| format!("[\"{px}\",\"{qty}\"]"))
                                .collect();
                        let (bids, asks) = (levels.join(","), levels[1..].join(","));
                        let depth = format!(
                            "{{\"e\":\"depthUpdate\",\"E\":1723161255308,\"s\":\"ETHUSDT\",\"U\":35,\"u\":36,\"b\":[{bids}],\"a\":[{asks}]}}"
                        );
                        let (decoded, _) =
                            twins.agree(combined("ethusdt@depth", &depth).as_bytes());
                        counted += usize::from(decoded.is_ok());
                    }
                }
            }
            assert!(twins.left().iter().all(|&left| left == twins.left()[0]), "{:?}", twins.left());
        }
    }
    assert!(counted > 500, "{counted}");
}

#[test]
fn each_place_of_each_byte_of_a_snapshot_is_checked() {
    let mut twins = Twins::new();
    let body = r#"{"lastUpdateId":35346513512,"bids":[["2683.80000000","3.02920000"],["2683.79000000","12.00000000"]],"asks":[["2733.70000000","150.10000000"]]}"#;
    let (decoded, _) = twins.agree_on_snapshot(ETH, body.as_bytes());
    assert_eq!(decoded, Ok(Decoded::Events(1)));
    assert!(twins.left().iter().all(|&left| left == 0), "{:?}", twins.left());
    for at in 0..body.len() {
        for byte in (0..=0x7f).chain([0x80, 0xc3, 0xff]) {
            let mut changed = body.to_owned().into_bytes();
            changed[at] = byte;
            let _same = twins.agree_on_snapshot(ETH, &changed);
        }
    }
}

#[test]
fn decimals_of_all_widths_are_read_by_the_scanner() {
    let mut twins = Twins::new();
    let px = |width: usize| format!("{}.04000000", &"9876543210"[..width]);
    let qty = |width: usize| format!("{}.30000007", &"1234567890"[..width]);
    let level = |px_width, qty_width| format!("[\"{}\",\"{}\"]", px(px_width), qty(qty_width));
    for widths in 0..10_000usize {
        let [a, b, c, d] = [1, 10, 100, 1_000].map(|power| widths / power % 10 + 1);
        // Widths above seven are rare, and so are they here.
        if [a, b, c, d].iter().filter(|&&width| width > 7).count() > 1 {
            continue;
        }
        let (first, second) = (level(a, b), level(c, d));
        let sides = [
            format!("\"b\":[{first},{second}],\"a\":[]"),
            format!("\"b\":[{second}],\"a\":[{first},{second},{first}]"),
        ];
        for sides in sides {
            let depth = format!(
                "{{\"e\":\"depthUpdate\",\"E\":1723161255308,\"s\":\"ETHUSDT\",\"U\":35,\"u\":36,{sides}}}"
            );
            let (decoded, _) = twins.agree(combined("ethusdt@depth", &depth).as_bytes());
            assert_eq!(decoded, Ok(Decoded::Events(1)), "{depth}");
            let (decoded, _) = twins.agree(depth.as_bytes());
            assert_eq!(decoded, Ok(Decoded::Events(1)), "{depth}");
        }
        let [bid_px, bid_qty, ask_px, ask_qty] = [px(a), qty(b), px(c), qty(d)];
        let quote = format!(
            "{{\"u\":7,\"s\":\"ETHUSDT\",\"b\":\"{bid_px}\",\"B\":\"{bid_qty}\",\"a\":\"{ask_px}\",\"A\":\"{ask_qty}\"}}"
        );
        let (decoded, _) = twins.agree(combined("ethusdt@bookTicker", &quote).as_bytes());
        assert_eq!(decoded, Ok(Decoded::Events(1)), "{quote}");
    }
    assert!(twins.left().iter().all(|&left| left == 0), "{:?}", twins.left());
}

#[test]
fn numbers_of_an_opening_may_grow_and_shrink() {
    let mut twins = Twins::new();
    let widths = (1..=18).chain((1..=18).rev()).chain([13, 4, 4, 13, 17, 13]);
    for width in widths {
        let id = &"123456789012345678"[..width];
        for (stream, event) in SHAPES {
            let event = event
                .replace("35346513501", id)
                .replace("1520538925", id)
                .replace("156,\"p\"", &format!("{id},\"p\""));
            let event = event.replace("\"U\":35,\"u\":36", &format!("\"U\":{id},\"u\":{id}"));
            let (decoded, _) = twins.agree(combined(stream, &event).as_bytes());
            assert_eq!(decoded, Ok(Decoded::Events(1)), "{event}");
        }
    }
    assert!(twins.left().iter().all(|&left| left == 0), "{:?}", twins.left());
}

#[test]
fn what_is_too_long_is_refused_whoever_reads_it() {
    let mut twins = Twins::new();
    let level = |at: usize| format!("[\"{}.50000000\",\"1.54698000\"]", 900_000 - at);
    let side = (0..300_000).map(level).collect::<Vec<_>>().join(",");
    let snapshot = format!("{{\"lastUpdateId\":35346513512,\"bids\":[{side}],\"asks\":[]}}");
    let depth = format!(
        "{{\"e\":\"depthUpdate\",\"E\":1723161255308,\"s\":\"ETHUSDT\",\"U\":35,\"u\":36,\"b\":[{side}],\"a\":[]}}"
    );
    assert!(snapshot.len() > MAX_MESSAGE_SIZE_BYTES);
    for (decoded, _) in [
        twins.agree_on_snapshot(ETH, snapshot.as_bytes()),
        twins.agree(depth.as_bytes()),
        twins.agree(combined("ethusdt@depth", &depth).as_bytes()),
    ] {
        assert!(decoded.is_err(), "{decoded:?}");
    }
}

#[test]
fn many_symbols_are_told_apart() {
    let names: Vec<String> =
        (0..300).map(|at| format!("S{at}{}USDT", "X".repeat(at % 17))).collect();
    let of = names.iter().map(|name| Instrument::new(name, "0.00000100", 8).unwrap()).collect();
    let mut twins = Twins::of(of);
    for (at, name) in (0..).zip(&names) {
        let text = format!(
            "{{\"u\":7,\"s\":\"{name}\",\"b\":\"0.00001200\",\"B\":\"1.00000000\",\"a\":\"0.00001300\",\"A\":\"2.00000000\"}}"
        );
        let (decoded, events) = twins.agree(text.as_bytes());
        assert_eq!(decoded, Ok(Decoded::Events(1)), "{name}");
        assert_eq!(events[0].0, SymbolIndex(at));
    }
    assert!(twins.left().iter().all(|&left| left == 0), "{:?}", twins.left());
}

#[test]
fn an_instrument_too_fine_for_the_scanner_is_read_by_the_general_parser() {
    let of = vec![Instrument::new("ETHUSDT", "0.000000001", 8).unwrap()];
    let mut twins = Twins::of(of);
    let text = br#"{"u":7,"s":"ETHUSDT","b":"0.000001200","B":"1.0","a":"0.000001300","A":"2.0"}"#;
    assert_eq!(twins.agree(text).0, Ok(Decoded::Events(1)));
    assert!(twins.left().iter().all(|&left| left == 1));
    let input: Input<'_> = input(InputKind::Text, text);
    assert_eq!(decode(&mut twins.general, &input).0, Ok(Decoded::Events(1)));
}
