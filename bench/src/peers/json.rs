//! Messages to integers: our decoder with each kernel, simd-json, sonic-rs.

use std::error::Error;
use std::path::PathBuf;

use cobring_json::scan::Kernel;
use cobring_pipeline::recording::Recording;
use cobring_types::{Event, Input, InputKind, Instrument, Nanos, Side, Stamp, SymbolIndex};
use cobring_venue::binance::Decoder;
use serde::Deserialize;
use simd_json::{Buffers, Node, StaticNode, Tape};

use super::Comparison;
use crate::path::is_of_stream;

/// Adds a pair of numbers to what follows from a message: any wrong one changes it, and nothing waits for the sum.
pub(super) fn mix(sum: u64, first: u64, second: u64) -> u64 {
    let first = first.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    sum.wrapping_add(first ^ second.wrapping_mul(0xd6e8_feb8_6659_fd93))
}

/// A price or quantity of eight decimals as others read it, to units of 10^-8.
pub(super) fn units(text: &str) -> u64 {
    text.bytes().filter(|&byte| byte != b'.').fold(0, |value, byte| {
        value.wrapping_mul(10).wrapping_add(u64::from(byte.wrapping_sub(b'0')))
    })
}

/// Units of 10^-8 to ticks of 0.01.
pub(super) const TICK_UNITS: u64 = 1_000_000;

fn load(files: &[PathBuf], stream: &str) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut recording = Recording::open(files)?;
    let mut messages = Vec::new();
    while let Some(line) = recording.next()? {
        if !line.snapshot && is_of_stream(line.bytes, stream.as_bytes()) {
            messages.push(line.bytes.to_vec());
        }
    }
    Ok(messages)
}

fn decoder(kernel: Kernel) -> Result<Decoder, Box<dyn Error>> {
    let instruments = ["BTCUSDT", "ETHUSDT"].map(|symbol| Instrument::new(symbol, "0.01", 8));
    let instruments = instruments.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(Decoder::with_kernel(instruments, Some(kernel)))
}

fn ours(decoder: &mut Decoder, bytes: &[u8]) -> u64 {
    let unknown = Nanos::UNDEF;
    let stamp = Stamp { input_seq: 0, ts_recv: Nanos(0), ts_kernel: unknown, ts_parsed: unknown };
    let (symbol, connection, aux, ts_aux) = (SymbolIndex::NONE, 0, 0, Nanos::UNDEF);
    let input = Input { stamp, kind: InputKind::Text, symbol, connection, aux, ts_aux, bytes };
    let mut sum = 0;
    let decoded = decoder.decode(&input, &mut |_: &Stamp, _, event: &Event<'_>| match event {
        Event::Depth(update) => {
            for level in update.bids.iter().chain(update.asks) {
                sum = mix(sum, level.px.0.cast_unsigned(), level.qty.0.cast_unsigned());
            }
            sum = mix(sum, update.last_update_id, 0);
        }
        Event::Trade(trade) => {
            sum = mix(sum, trade.px.0.cast_unsigned(), trade.qty.0.cast_unsigned());
            sum = mix(sum, trade.ts_trade.0.cast_unsigned() / 1_000_000, 0);
        }
        _ => {}
    });
    if decoded.is_ok() { sum } else { u64::MAX }
}

/// simd-json's tape, walked; all buffers are kept.
pub(super) struct TapeWalk {
    scratch: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
}

impl TapeWalk {
    pub(super) fn new() -> Self {
        Self {
            scratch: Vec::with_capacity(1 << 20),
            buffers: Buffers::new(1 << 20),
            tape: Tape(Vec::new()),
        }
    }

    /// Hands out each level in ticks and units.
    pub(super) fn depth(&mut self, bytes: &[u8], level: impl FnMut(Side, i64, i64)) -> Walked {
        self.scratch.clear();
        self.scratch.extend_from_slice(bytes);
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let filled = simd_json::fill_tape(&mut self.scratch, &mut self.buffers, &mut tape);
        let nothing = Walked { last_update_id: u64::MAX, time_ms: 0 };
        let walked = if filled.is_ok() { walk(&tape.0, level) } else { nothing };
        self.tape = tape.reset();
        walked
    }
}

/// What a depth message says beside its levels.
pub(super) struct Walked {
    pub(super) last_update_id: u64,
    /// The venue's.
    pub(super) time_ms: i64,
}

/// Keys and scalars of objects in a row, arrays of pairs where a key is `b` or `a`.
fn walk(nodes: &[Node<'_>], mut level: impl FnMut(Side, i64, i64)) -> Walked {
    let (mut last_update_id, mut time_ms, mut at) = (0, 0, 0);
    while at + 1 < nodes.len() {
        match (&nodes[at], &nodes[at + 1]) {
            (Node::String("u"), Node::Static(StaticNode::U64(id))) => {
                last_update_id = *id;
                at += 2;
            }
            (Node::String("E"), Node::Static(StaticNode::U64(time))) => {
                time_ms = time.cast_signed();
                at += 2;
            }
            (Node::String(side @ ("b" | "a")), Node::Array { len, .. }) => {
                let side = if *side == "b" { Side::Buy } else { Side::Sell };
                at += 2;
                for _ in 0..*len {
                    if let (Some(Node::String(px)), Some(Node::String(qty))) =
                        (nodes.get(at + 1), nodes.get(at + 2))
                    {
                        let ticks = units(px) / TICK_UNITS;
                        level(side, ticks.cast_signed(), units(qty).cast_signed());
                    }
                    at += 3;
                }
            }
            (Node::String(_), Node::String(_) | Node::Static(_)) => at += 2,
            _ => at += 1,
        }
    }
    Walked { last_update_id, time_ms }
}

/// An event in `{"stream":…,"data":EVENT}`.
#[derive(Deserialize)]
pub(super) struct Combined<T> {
    pub(super) data: T,
}

#[derive(Deserialize)]
struct Depth<'m> {
    u: u64,
    #[serde(borrow)]
    b: Vec<(&'m str, &'m str)>,
    #[serde(borrow)]
    a: Vec<(&'m str, &'m str)>,
}

#[derive(Deserialize)]
struct Trade<'m> {
    p: &'m str,
    q: &'m str,
    #[serde(rename = "T")]
    time: u64,
}

fn of_depth(depth: &Depth<'_>) -> u64 {
    let levels = depth.b.iter().chain(&depth.a);
    let sum = levels.fold(0, |sum, (px, qty)| mix(sum, units(px) / TICK_UNITS, units(qty)));
    mix(sum, depth.u, 0)
}

fn of_trade(trade: &Trade<'_>) -> u64 {
    mix(mix(0, units(trade.p) / TICK_UNITS, units(trade.q)), trade.time, 0)
}

const KERNELS: [(Kernel, &str, &str, f64); 3] = [
    (Kernel::Avx512, "json_depth_avx512", "json_trade_avx512", 6.5),
    (Kernel::Avx2, "json_depth_avx2", "json_trade_avx2", 4.0),
    (Kernel::Portable, "json_depth_portable", "json_trade_portable", 3.0),
];
const TRADE_GOAL: f64 = 8.0;

pub(super) fn run(files: &[PathBuf], only: &str) -> Result<(), Box<dyn Error>> {
    let (depth, trades) = (load(files, "@depth")?, load(files, "@trade")?);
    let mut tape = TapeWalk::new();
    let (mut scratch, mut buffers) = (Vec::with_capacity(1 << 20), Buffers::new(1 << 20));
    for (kernel, depth_figure, trade_figure, goal) in KERNELS {
        if !kernel.is_supported() {
            continue;
        }
        let mut decoder = decoder(kernel)?;
        Comparison {
            figure: depth_figure,
            peer: "simd-json tape",
            goal: Some(goal),
            items_each: 1.0,
            messages: &depth,
            ours: &mut |bytes| ours(&mut decoder, bytes),
            theirs: &mut |bytes| {
                let mut sum = 0;
                let found = tape.depth(bytes, |_, px, qty| {
                    sum = mix(sum, px.cast_unsigned(), qty.cast_unsigned());
                });
                mix(sum, found.last_update_id, 0)
            },
        }
        .run(only)?;
        Comparison {
            figure: trade_figure,
            peer: "simd-json typed",
            goal: Some(TRADE_GOAL),
            items_each: 1.0,
            messages: &trades,
            ours: &mut |bytes| ours(&mut decoder, bytes),
            theirs: &mut |bytes| {
                scratch.clear();
                scratch.extend_from_slice(bytes);
                let read = simd_json::serde::from_slice_with_buffers::<Combined<Trade<'_>>>(
                    &mut scratch,
                    &mut buffers,
                );
                read.map_or(u64::MAX, |combined| of_trade(&combined.data))
            },
        }
        .run(only)?;
    }
    let mut decoder = decoder(Kernel::best())?;
    Comparison {
        figure: "json_depth",
        peer: "sonic-rs typed",
        goal: None,
        items_each: 1.0,
        messages: &depth,
        ours: &mut |bytes| ours(&mut decoder, bytes),
        theirs: &mut |bytes| {
            let read = sonic_rs::from_slice::<Combined<Depth<'_>>>(bytes);
            read.map_or(u64::MAX, |combined| of_depth(&combined.data))
        },
    }
    .run(only)
}
