//! What each stage takes of a message: its time, and under callgrind its instructions, which a busy host does not change
//! and which `bench/gate.toml` bounds.
//!
//! The messages are made, in the venue's shape and the same everywhere: a count is of use only where its input is fixed.

mod gate;
mod sample;
mod time;

use std::error::Error;
use std::hint::black_box;
use std::io::{self, Write as _};
use std::process::Command;
use std::str::FromStr;

use cobring_frame::{
    FrameImage, FrameLayout, FrameRing, Next, Reader, Segment, SegmentSpec, WindowRows,
};
use cobring_pipeline::config::{Config, auto_frame_slots};
use cobring_pipeline::events::push_event;
use cobring_pipeline::ring::{self, RecordConsumer, RecordProducer};
use cobring_types::{Event, Input, InputKind, Nanos, Stamp, SymbolIndex};
use cobring_venue::binance::Decoder;
use serde_json::json;

pub(crate) use self::gate::{accept, check};
use self::sample::{Kind, Sample};
use self::time::Estimate;
pub(crate) use self::time::time_into;
use crate::player::Player;
use crate::report::{progress, round};

/// Messages of each kind that a stage has seen before any counts.
const BATCH: usize = 200;
/// Messages whose instructions are counted.
const COUNTED: usize = 400;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Bytes to an event.
    Decode(Kind),
    /// Bytes to a frame in its slot: decoder, fold and publishing, fused.
    Frame(Kind),
    /// An event into the ring between two stages and out of it.
    Ring,
    /// A frame into its slot.
    Publish,
    /// A frame out of its slot, by a reader that has not seen it.
    Read,
    /// A reader's look where there is none.
    Poll,
}

const STAGES: [(Stage, &str); 10] = [
    (Stage::Decode(Kind::Depth), "decode_depth"),
    (Stage::Decode(Kind::Quote), "decode_quote"),
    (Stage::Decode(Kind::Trade), "decode_trade"),
    (Stage::Frame(Kind::Depth), "frame_depth"),
    (Stage::Frame(Kind::Quote), "frame_quote"),
    (Stage::Frame(Kind::Trade), "frame_trade"),
    (Stage::Ring, "ring"),
    (Stage::Publish, "publish"),
    (Stage::Read, "read"),
    (Stage::Poll, "poll"),
];

impl Stage {
    fn name(self) -> &'static str {
        STAGES.iter().find(|(stage, _)| *stage == self).map_or("", |(_, name)| name)
    }
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = STAGES.iter().find(|(_, stage)| *stage == name);
        found.map(|(stage, _)| *stage).ok_or_else(|| format!("there is no stage {name}"))
    }
}

/// A stage, ready to take one message after another.
trait Runner {
    /// Takes `count` messages.
    ///
    /// # Panics
    /// Where one has not the result that it must have.
    fn run(&mut self, count: usize);
}

/// `count`: messages that it will be given in all.
fn runner(stage: Stage, count: usize) -> Result<Box<dyn Runner>, Box<dyn Error>> {
    Ok(match stage {
        Stage::Decode(kind) => Box::new(Decoding::new(kind)?),
        Stage::Frame(kind) => Box::new(Framing::new(kind, count)?),
        Stage::Ring => Box::new(Ring::new()?),
        Stage::Publish => Box::new(Slots::new(false, true)?),
        Stage::Read => Box::new(Slots::new(true, true)?),
        Stage::Poll => Box::new(Slots::new(true, false)?),
    })
}

fn decoder() -> Decoder {
    let symbols = Config::built_in().symbol_configs().into_iter();
    Decoder::new(symbols.map(|symbol| symbol.instrument).collect())
}

fn input(bytes: &[u8]) -> Input<'_> {
    let unknown = Nanos::UNDEF;
    Input {
        stamp: Stamp { input_seq: 0, ts_recv: Nanos(0), ts_kernel: unknown, ts_parsed: unknown },
        kind: InputKind::Text,
        symbol: SymbolIndex::NONE,
        connection: 0,
        aux: 0,
        ts_aux: unknown,
        bytes,
    }
}

/// Messages of one kind, over and over.
struct Decoding {
    decoder: Decoder,
    messages: Vec<Vec<u8>>,
    next: usize,
}

impl Decoding {
    fn new(kind: Kind) -> Result<Self, Box<dyn Error>> {
        let mut sample = Sample::new();
        let messages = (0..BATCH).map(|_| sample.message(kind).to_vec()).collect();
        Ok(Self { decoder: decoder(), messages, next: 0 })
    }
}

impl Runner for Decoding {
    fn run(&mut self, count: usize) {
        let mut events = 0;
        for _ in 0..count {
            let bytes = &self.messages[self.next];
            self.next = (self.next + 1) % self.messages.len();
            let mut sink = |_: &Stamp, _, event: &Event<'_>| {
                black_box(event);
                events += 1;
            };
            let decoded = self.decoder.decode(&input(bytes), &mut sink);
            assert!(decoded.is_ok(), "{decoded:?}");
        }
        assert_eq!(events, count, "events of {count} messages");
    }
}

/// One market: its messages are made before, each is folded once.
struct Framing {
    player: Player,
    now: Nanos,
    messages: std::vec::IntoIter<Vec<u8>>,
}

impl Framing {
    fn new(kind: Kind, count: usize) -> Result<Self, Box<dyn Error>> {
        let mut player = Player::new(&Config::built_in().symbol_configs(), false)?;
        let mut sample = Sample::new();
        player.play(sample::BEGIN, Some(sample::SYMBOL), &sample.snapshot());
        // Some of each kind before, so that all that a frame shows has been there.
        let kinds = [Kind::Quote, Kind::Trade, Kind::Depth].map(|kind| (kind, BATCH));
        let kinds = kinds.into_iter().chain([(kind, count)]);
        let messages: Vec<_> = kinds
            .flat_map(|(kind, count)| std::iter::repeat_n(kind, count))
            .map(|kind| sample.message(kind).to_vec())
            .collect();
        let mut framing = Self { player, now: sample::BEGIN, messages: messages.into_iter() };
        framing.run(3 * BATCH);
        Ok(framing)
    }
}

impl Runner for Framing {
    fn run(&mut self, count: usize) {
        /// A hundred of them between two timers, whose cost is in the figures too.
        const INTERVAL: Nanos = Nanos::MILLISECOND;
        let before = self.player.frames(sample::SYMBOL);
        for bytes in self.messages.by_ref().take(count) {
            self.now = Nanos(self.now.0 + INTERVAL.0);
            self.player.play(self.now, None, &bytes);
        }
        let frames = self.player.frames(sample::SYMBOL) - before;
        assert!(frames >= count as u64, "{frames} frames of {count} messages");
    }
}

/// An event through the ring between two stages.
struct Ring {
    ends: (RecordProducer, RecordConsumer),
    decoder: Decoder,
    message: Vec<u8>,
}

impl Ring {
    fn new() -> Result<Self, Box<dyn Error>> {
        let ends = ring::channel(Config::built_in().engine.event_ring_bytes);
        let message = Sample::new().message(Kind::Quote).to_vec();
        Ok(Self { ends, decoder: decoder(), message })
    }
}

impl Runner for Ring {
    fn run(&mut self, count: usize) {
        let Self { ends: (producer, consumer), decoder, message } = self;
        let mut sink = |stamp: &Stamp, symbol, event: &Event<'_>| {
            for _ in 0..count {
                let pushed = push_event(producer, stamp, symbol, event);
                assert!(pushed.is_ok(), "the ring is full");
                let taken = consumer.pop_words(|head, body| {
                    black_box((head, body));
                });
                assert!(taken.is_some(), "the ring is empty");
            }
        };
        let decoded = decoder.decode(&input(message), &mut sink);
        assert!(decoded.is_ok(), "{decoded:?}");
    }
}

/// The frame ring and a reader of it.
struct Slots {
    ring: FrameRing,
    reader: Reader,
    image: FrameImage,
    out: Vec<u64>,
    reads: bool,
    publishes: bool,
}

impl Slots {
    fn new(reads: bool, publishes: bool) -> Result<Self, Box<dyn Error>> {
        let layout = FrameLayout::new(Config::built_in().symbol_defaults.radius, 0)
            .map_err(|bytes| format!("a frame of {bytes} bytes"))?;
        let schema = layout.schema(WindowRows::default(), &[]);
        let segment = Segment::private(&SegmentSpec {
            symbol: "BENCH".to_owned(),
            epoch: 1,
            schema: schema.to_json(),
            schema_id: schema.id(),
            frame_size_bytes: layout.size_bytes(),
            slot_count: auto_frame_slots(1),
            windows: Vec::new(),
        })?;
        let reader = segment.reader();
        let (image, out) = (FrameImage::new(layout), vec![0; layout.size_bytes() / 8]);
        Ok(Self { ring: segment.ring, reader, image, out, reads, publishes })
    }
}

impl Runner for Slots {
    fn run(&mut self, count: usize) {
        for _ in 0..count {
            if self.publishes {
                self.ring.publish(self.image.words());
            }
            if self.reads {
                let next = self.reader.next(&mut self.out);
                let is_there = matches!(next, Ok(Next::Frame { .. }));
                assert_eq!(is_there, self.publishes, "{next:?}");
            }
        }
    }
}

/// What callgrind looks at.
pub(crate) fn run_counted(stage: &str, count: usize) -> Result<(), Box<dyn Error>> {
    // As many are made whatever the count: their making is no part of what is counted more for twice as many.
    runner(stage.parse()?, 2 * COUNTED)?.run(count);
    Ok(())
}

/// Instructions of one message: what callgrind counts more for twice as many. `None` without valgrind.
fn instructions(stage: Stage) -> Option<u64> {
    let program = std::env::current_exe().ok()?;
    let counted = |count: usize| {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(&program)
            .args(["stages", "--stage", stage.name(), "--count", &count.to_string()])
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let collected = text.lines().find_map(|line| line.split_once("Collected :"))?.1;
        collected.trim().parse::<u64>().ok()
    };
    let more = counted(2 * COUNTED)?.checked_sub(counted(COUNTED)?)?;
    Some(more / COUNTED as u64)
}

/// Times all stages, and counts their instructions where valgrind is there.
pub(crate) fn run(json: bool) -> Result<(), Box<dyn Error>> {
    let found = time::all()?;
    progress("stages, instructions");
    if !json {
        writeln!(io::stdout(), "stage               ns    95 % between  instructions")?;
    }
    for ((stage, name), estimate) in STAGES.into_iter().zip(found) {
        let instructions = instructions(stage);
        let Estimate { point_estimate: ns, confidence_interval: within } = estimate;
        if json {
            let line = json!({ "figure": format!("stage_{name}"), "ns": round(ns),
                "ns_low": round(within.lower_bound), "ns_high": round(within.upper_bound),
                "instructions": instructions });
            writeln!(io::stdout(), "{line}")?;
        } else {
            let counted = instructions.map_or_else(|| "no valgrind".to_owned(), |n| n.to_string());
            let [low, high] = [within.lower_bound, within.upper_bound].map(|ns| format!("{ns:.0}"));
            writeln!(io::stdout(), "{name:<14}{ns:>8.0}  {low:>6} and {high:<6}{counted:>12}")?;
        }
    }
    Ok(())
}
