//! Stages and how they are joined: one thread that calls (fused), or three joined by rings (staged).
//!
//! Guarantees: both layouts give the same frames; a full ring hands its input back, nothing is dropped.
//! Needs: inputs in order of their numbers. Does not: know sockets, logs or recordings.

use std::thread::{self, JoinHandle};

use cobring_types::{Event, Input, InputKind, Nanos, Stamp, SymbolIndex};
use cobring_venue::binance::Decoder;
use cobring_venue::{DecodeCounters, DecodeError, Decoded, EventSink};

use crate::clock::EngineClock;
use crate::config::MAX_SYMBOLS;
use crate::counters::DecodeRow;
use crate::events::{self, Staged as StagedEvent};
use crate::fold::{Fold, Observer, Wanted};
use crate::idle::{Idle, Waiter};
use crate::ring::{self, Full, RecordConsumer, RecordProducer};

/// How the stages are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// All stages on the caller's thread.
    Fused,
    /// Parse and aggregate on threads of their own.
    Staged,
}

/// Sizes, cores and waiting of the staged layout.
#[derive(Debug, Clone)]
pub struct StagedSetup {
    /// Bytes of the ring from ingest to parse.
    pub raw_ring_bytes: usize,
    /// Bytes of the ring from parse to aggregate.
    pub event_ring_bytes: usize,
    /// What a stage does when there is nothing to do.
    pub idle: Idle,
    /// Cores of parse and aggregate; `None` leaves them unpinned.
    pub cores: [Option<usize>; 2],
}

/// What parse found in an input that ingest must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    /// The connection that the input came from.
    pub connection: u16,
    /// What the input was.
    pub kind: InputKind,
    /// The symbol that it named.
    pub symbol: SymbolIndex,
    /// What it was.
    pub outcome: Result<Decoded, DecodeError>,
}

/// What parse stamps by in a live run, and where it shows what it counts.
#[derive(Debug)]
pub struct ParseMeter {
    clock: EngineClock,
    row: DecodeRow,
}

impl ParseMeter {
    /// Stamps by that clock, and counts in that row.
    #[must_use]
    pub fn new(clock: EngineClock, row: DecodeRow) -> Self {
        Self { clock, row }
    }

    fn clock_of(meter: &Option<Self>) -> Option<EngineClock> {
        meter.as_ref().map(|meter| meter.clock)
    }

    /// Shows what the decoder has counted, when it is time.
    #[inline]
    fn show(meter: &mut Option<Self>, now: Nanos, decoder: &Decoder) {
        if let Some(meter) = meter {
            meter.row.store(now, decoder.counters());
        }
    }
}

/// The stages behind ingest.
#[derive(Debug)]
pub enum Stages<O> {
    /// On the caller's thread.
    Fused(Box<Fused<O>>),
    /// On threads of their own.
    Staged(Staged<O>),
}

/// What the stages leave behind.
#[derive(Debug)]
pub struct Finished<O> {
    /// The fold with all its state.
    pub fold: Fold<O>,
    /// What the decoder passed over or refused.
    pub decoded: DecodeCounters,
}

impl<O: Observer + Send + 'static> Stages<O> {
    /// Joins a decoder and a fold in that layout. The meter stamps `ts_parsed`; a replay has none.
    #[must_use]
    pub fn new(
        layout: Layout,
        setup: &StagedSetup,
        decoder: Decoder,
        fold: Fold<O>,
        meter: Option<ParseMeter>,
    ) -> Self {
        match layout {
            Layout::Fused => Self::Fused(Box::new(Fused::new(decoder, fold, meter))),
            Layout::Staged => Self::Staged(Staged::start(setup, decoder, fold, meter)),
        }
    }

    /// Gives the stages an input. What ingest must know of it comes by [`Self::take_notices`].
    ///
    /// # Errors
    /// [`Full`] where the first ring has no room: the input is still the caller's.
    pub fn try_input(
        &mut self,
        input: &Input<'_>,
        notice: impl FnOnce(Notice),
    ) -> Result<(), Full> {
        match self {
            Self::Fused(fused) => {
                if let Some(found) = fused.on_input(input) {
                    notice(found);
                }
                Ok(())
            }
            Self::Staged(staged) => staged.raw.push_input(input),
        }
    }

    /// Whether an input with so many bytes would be taken now.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        match self {
            Self::Fused(_) => true,
            Self::Staged(staged) => {
                let needed = bytes + INPUT_OVERHEAD_BYTES;
                staged.raw.free_bytes() >= needed.min(staged.raw.capacity_bytes() / 2)
            }
        }
    }

    /// Says that nothing will be stamped below `t` any more.
    ///
    /// # Errors
    /// [`Full`] where the first ring has no room.
    pub fn try_watermark(&mut self, t: Nanos) -> Result<(), Full> {
        match self {
            Self::Fused(fused) => {
                fused.on_watermark(t);
                Ok(())
            }
            Self::Staged(staged) => {
                staged.raw.push_words(&[WATERMARK_HEAD, t.0.cast_unsigned()], &[])
            }
        }
    }

    /// Hands out what parse found for ingest and what the fold needs from the venue.
    pub fn take_notices(
        &mut self,
        mut notice: impl FnMut(Notice),
        mut wanted: impl FnMut(SymbolIndex, Wanted),
    ) {
        match self {
            Self::Fused(fused) => fused.fold.take_wanted(wanted),
            Self::Staged(staged) => {
                while let Ok(found) = staged.notices.pop() {
                    notice(found);
                }
                while let Ok((symbol, want)) = staged.wanted.pop() {
                    wanted(symbol, want);
                }
            }
        }
    }

    /// Whether a stage ended by itself: its thread panicked.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        match self {
            Self::Fused(_) => false,
            Self::Staged(staged) => staged.raw.is_abandoned() || staged.aggregate.is_finished(),
        }
    }

    /// Lets the stages finish all that they were given, and takes them apart.
    ///
    /// # Panics
    /// Where a stage panicked: with its own message.
    #[must_use]
    pub fn finish(self) -> Finished<O> {
        match self {
            Self::Fused(fused) => fused.finish(),
            Self::Staged(Staged { mut raw, parse, aggregate, .. }) => {
                let mut waiter = Waiter::new(Idle::Yield);
                while !raw.flush_pending() && !raw.is_abandoned() {
                    waiter.wait();
                }
                drop(raw);
                let decoder = parse.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                let fold =
                    aggregate.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                Finished { decoded: *decoder.counters(), fold }
            }
        }
    }
}

/// Sets `ts_parsed` on the way from the decoder to the next stage.
struct ParsedAt<'a, S> {
    clock: Option<EngineClock>,
    sink: &'a mut S,
    events: u32,
}

impl<S: EventSink> EventSink for ParsedAt<'_, S> {
    fn on_event(&mut self, stamp: &Stamp, symbol: SymbolIndex, event: &Event<'_>) {
        self.events += 1;
        let ts_parsed = self.clock.as_ref().map_or(Nanos::UNDEF, EngineClock::now);
        self.sink.on_event(&Stamp { ts_parsed, ..*stamp }, symbol, event);
    }
}

/// All stages as one call.
#[derive(Debug)]
pub struct Fused<O> {
    decoder: Decoder,
    fold: Fold<O>,
    meter: Option<ParseMeter>,
}

impl<O: Observer> Fused<O> {
    /// Joins a decoder and a fold. The meter stamps `ts_parsed`; a replay has none.
    #[must_use]
    pub fn new(decoder: Decoder, fold: Fold<O>, meter: Option<ParseMeter>) -> Self {
        Self { decoder, fold, meter }
    }

    /// The fold with all its state.
    #[must_use]
    pub fn into_fold(self) -> Fold<O> {
        self.fold
    }

    /// Decodes and folds one input.
    pub fn on_input(&mut self, input: &Input<'_>) -> Option<Notice> {
        if input.kind != InputKind::Break {
            // Also before an input that means nothing to us: its stamp says that the time has passed.
            self.fold.advance(input.stamp.ts_recv);
        }
        let clock = ParseMeter::clock_of(&self.meter);
        let mut sink = ParsedAt { clock, sink: &mut self.fold, events: 0 };
        let outcome = self.decoder.decode(input, &mut sink);
        ParseMeter::show(&mut self.meter, input.stamp.ts_recv, &self.decoder);
        notice_of(input, outcome)
    }

    /// Nothing will be stamped below `t` any more.
    pub(crate) fn on_watermark(&mut self, t: Nanos) {
        self.fold.advance(t);
        ParseMeter::show(&mut self.meter, t, &self.decoder);
    }

    /// The fold.
    pub fn fold_mut(&mut self) -> &mut Fold<O> {
        &mut self.fold
    }

    /// The decoder.
    pub(crate) fn decoder_mut(&mut self) -> &mut Decoder {
        &mut self.decoder
    }

    /// Takes it apart.
    pub(crate) fn finish(self) -> Finished<O> {
        Finished { decoded: *self.decoder.counters(), fold: self.fold }
    }
}

fn notice_of(input: &Input<'_>, outcome: Result<Decoded, DecodeError>) -> Option<Notice> {
    let ordinary =
        matches!(outcome, Ok(Decoded::Events(_) | Decoded::UnknownEvent | Decoded::UnknownSymbol));
    let Input { connection, kind, symbol, .. } = *input;
    (!ordinary).then_some(Notice { connection, kind, symbol, outcome })
}

/// First head word of a watermark in the raw ring; an input's begins with its kind, which is never 0.
pub(crate) const WATERMARK_HEAD: u64 = 0;
/// What an input takes in the raw ring beside its bytes, with room for the pad at the ring's end.
const INPUT_OVERHEAD_BYTES: usize = 256;
/// Notices and wants that may wait for ingest; more are dropped (notices are counted anyway) or wait in the
/// fold (wants).
const RETURN_SLOTS: usize = 8_192;
/// A symbol wants a snapshot, klines, trades, a ticker and a renewal at most.
const WANTS_A_SYMBOL: usize = 5;
const _: () = assert!(RETURN_SLOTS >= WANTS_A_SYMBOL * MAX_SYMBOLS);

/// Parse and aggregate on threads of their own.
#[derive(Debug)]
pub struct Staged<O> {
    raw: RecordProducer,
    notices: rtrb::Consumer<Notice>,
    wanted: rtrb::Consumer<(SymbolIndex, Wanted)>,
    parse: JoinHandle<Decoder>,
    aggregate: JoinHandle<Fold<O>>,
}

impl<O: Observer + Send + 'static> Staged<O> {
    fn start(
        setup: &StagedSetup,
        decoder: Decoder,
        fold: Fold<O>,
        meter: Option<ParseMeter>,
    ) -> Self {
        let (raw, raw_consumer) = ring::channel(setup.raw_ring_bytes);
        let (event_producer, event_consumer) = ring::channel(setup.event_ring_bytes);
        let (notice_producer, notices) = rtrb::RingBuffer::new(RETURN_SLOTS);
        let (wanted_producer, wanted) = rtrb::RingBuffer::new(RETURN_SLOTS);
        let idle = setup.idle;
        let [parse_core, aggregate_core] = setup.cores;
        let parse = spawn("cobring-parse", parse_core, move || {
            parse_loop(
                decoder,
                raw_consumer,
                event_producer,
                notice_producer,
                meter,
                Waiter::new(idle),
            )
        });
        let aggregate = spawn("cobring-aggregate", aggregate_core, move || {
            aggregate_loop(fold, event_consumer, wanted_producer, Waiter::new(idle))
        });
        Self { raw, notices, wanted, parse, aggregate }
    }
}

pub(crate) fn spawn<R: Send + 'static>(
    name: &str,
    core: Option<usize>,
    body: impl FnOnce() -> R + Send + 'static,
) -> JoinHandle<R> {
    let pinned = move || {
        crate::cores::pin(core);
        body()
    };
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(pinned)
        .expect("invariant: the host can start a thread")
}

/// Puts events into a ring and waits where it is full: then the raw ring fills, and ingest stops reading.
struct EventRing<'a> {
    ring: &'a mut RecordProducer,
    waiter: &'a mut Waiter,
}

impl EventRing<'_> {
    fn push(&mut self, mut push: impl FnMut(&mut RecordProducer) -> Result<(), Full>) {
        while push(self.ring).is_err() {
            if self.ring.is_abandoned() {
                return;
            }
            self.waiter.wait();
        }
        self.waiter.reset();
    }
}

impl EventSink for EventRing<'_> {
    fn on_event(&mut self, stamp: &Stamp, symbol: SymbolIndex, event: &Event<'_>) {
        self.push(|ring| events::push_event(ring, stamp, symbol, event));
    }
}

fn parse_loop(
    mut decoder: Decoder,
    mut raw: RecordConsumer,
    mut ring: RecordProducer,
    mut notices: rtrb::Producer<Notice>,
    mut meter: Option<ParseMeter>,
    mut idle: Waiter,
) -> Decoder {
    let mut full_waiter = Waiter::new(Idle::Yield);
    let clock = ParseMeter::clock_of(&meter);
    loop {
        let mut events = EventRing { ring: &mut ring, waiter: &mut full_waiter };
        let popped = raw.pop(|head, body| {
            if head[0] == WATERMARK_HEAD {
                let t = Nanos(head[1].cast_signed());
                ParseMeter::show(&mut meter, t, &decoder);
                return events.push(|ring| events::push_watermark(ring, t));
            }
            let input = ring::input_of(head, body);
            let mut sink = ParsedAt { clock, sink: &mut events, events: 0 };
            let outcome = decoder.decode(&input, &mut sink);
            if sink.events == 0 {
                let t = input.stamp.ts_recv;
                events.push(|ring| events::push_watermark(ring, t));
            }
            ParseMeter::show(&mut meter, input.stamp.ts_recv, &decoder);
            if let Some(notice) = notice_of(&input, outcome) {
                let _dropped_when_full = notices.push(notice);
            }
        });
        if popped.is_some() {
            idle.reset();
            continue;
        }
        let _fits_later = ring.flush_pending();
        if ring.is_abandoned() || (raw.is_abandoned() && raw.is_empty()) {
            while !ring.is_abandoned() && !ring.flush_pending() {
                full_waiter.wait();
            }
            return decoder;
        }
        idle.wait();
    }
}

fn aggregate_loop<O: Observer>(
    mut fold: Fold<O>,
    mut events: RecordConsumer,
    mut wanted: rtrb::Producer<(SymbolIndex, Wanted)>,
    mut idle: Waiter,
) -> Fold<O> {
    loop {
        let popped = events::pop(&mut events, |staged| match staged {
            StagedEvent::Watermark(t) => fold.advance(t),
            StagedEvent::Event(stamp, symbol, event) => fold.fold(stamp, symbol, &event),
        });
        // What has no room waits in the fold.
        if wanted.slots() >= WANTS_A_SYMBOL * fold.symbols().len() {
            fold.take_wanted(|symbol, want| {
                let _has_room = wanted.push((symbol, want));
            });
        }
        if popped.is_some() {
            idle.reset();
        } else if events.is_abandoned() && events.is_empty() {
            return fold;
        } else {
            idle.wait();
        }
    }
}
