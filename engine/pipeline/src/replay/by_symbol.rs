//! Lanes: each parses and folds the inputs of its own symbols, on a thread of its own; for replays on several cores.
//!
//! Guarantees: a symbol's frames and what is counted are those of the other layouts, whatever the inputs are. Nothing but time
//! joins symbols, so a lane is told the first time, and the latest one where its own inputs would not tell; what is nobody's own
//! goes to all lanes. Needs: an observer of which there
//! can be several ([`Observer::apart`]). Does not: hand out what parse found or what symbols want.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::thread::JoinHandle;

use cobring_types::{Input, InputKind, Instrument, Nanos, SymbolIndex};
use cobring_venue::binance::Decoder;
use cobring_venue::{DecodeCounters, MAX_MESSAGE_SIZE_BYTES};

use crate::fold::{Fold, Observer};
use crate::idle::{Idle, Waiter};
use crate::ring::{self, Full, RecordConsumer, RecordProducer};
use crate::stages::{Finished, Fused, WATERMARK_HEAD, spawn};

/// Of the ring of a lane: it stays in caches, and still holds what comes while its thread sleeps.
pub(super) const LANE_BYTES: usize = 512 << 10;

/// A symbol in each lane, or several where there are more symbols than cores.
#[derive(Debug)]
pub(super) struct BySymbol<O> {
    lanes: Vec<Lane<O>>,
    routes: Arc<Routes>,
    /// Lanes that the input at hand is still to be given to; none before it was looked at.
    remaining: Range<usize>,
    /// With which timers begin: the time of the first input, if that is no break.
    first: Option<Nanos>,
    /// Latest time since the last break.
    latest: Option<Nanos>,
}

#[derive(Debug)]
struct Lane<O> {
    raw: RecordProducer,
    /// It was told with which time timers begin.
    has_begun: bool,
    thread: JoinHandle<Fused<O>>,
}

/// Which lanes an input is for.
#[derive(Debug)]
struct Routes {
    /// Of each symbol.
    lane_of_symbol: Vec<usize>,
    /// By the name in streams.
    lane_of_name: BTreeMap<String, usize>,
    lane_count: usize,
}

impl Routes {
    fn new<O: Observer>(folds: &[Fold<O>]) -> Self {
        let mut routes = Self {
            lane_of_symbol: Vec::new(),
            lane_of_name: BTreeMap::new(),
            lane_count: folds.len(),
        };
        for (lane, fold) in folds.iter().enumerate() {
            for symbol in fold.symbols() {
                let name = symbol.market().config().instrument.symbol.as_str();
                routes.lane_of_name.insert(name.to_ascii_lowercase(), lane);
                routes.lane_of_symbol.push(lane);
            }
        }
        routes
    }

    /// One, or all: for what is a connection's or the venue's, and for a message that does not say at once whose it is.
    fn lanes_for(&self, input: &Input<'_>) -> Range<usize> {
        let lane = match input.kind {
            // Too long to be read at all: one that refuses it is enough.
            InputKind::Text if input.bytes.len() > MAX_MESSAGE_SIZE_BYTES => Some(0),
            InputKind::Text => {
                stream_of(input.bytes).and_then(|name| self.lane_of_name.get(name).copied())
            }
            // Theirs is what they say in their bytes, or everybody's.
            InputKind::RestTime | InputKind::RestExchangeInfo | InputKind::Break => None,
            _ if input.symbol == SymbolIndex::NONE => None,
            // A symbol that nobody has is refused, by whoever reads it.
            _ => Some(self.lane_of_symbol.get(input.symbol.at()).copied().unwrap_or(0)),
        };
        lane.map_or(0..self.lane_count, |lane| lane..lane + 1)
    }
}

/// The symbol's name in the stream of a combined message as the venue writes it, `{"stream":"ethusdt@trade","data":…`: an event
/// within it is of that symbol or refused.
fn stream_of(message: &[u8]) -> Option<&str> {
    let rest = message.strip_prefix(b"{\"stream\":\"")?;
    let end = memchr::memchr(b'"', rest)?;
    if !rest[end..].starts_with(b"\",\"data\":") {
        return None;
    }
    let name = rest[..end].split(|&byte| byte == b'@').next()?;
    std::str::from_utf8(name).ok()
}

impl<O> Lane<O> {
    /// Says that nothing before that time will come any more, which may be said again.
    fn tell(&mut self, time: Nanos) -> Result<(), Full> {
        self.raw.push_words(&[WATERMARK_HEAD, time.0.cast_unsigned()], &[])
    }

    /// Says with which time timers begin, once it is known.
    fn begin(&mut self, first: Option<Nanos>) -> Result<(), Full> {
        if let Some(first) = first.filter(|_| !self.has_begun) {
            self.tell(first)?;
            self.has_begun = true;
        }
        Ok(())
    }
}

impl<O: Observer + Send + 'static> BySymbol<O> {
    /// Lanes for these folds, which have the instruments among them in their order, behind rings of so many bytes.
    pub(super) fn start(
        instruments: &[Instrument],
        folds: Vec<Fold<O>>,
        lane_bytes: usize,
    ) -> Self {
        let routes = Arc::new(Routes::new(&folds));
        let lane = |(lane, fold)| {
            let (raw, consumer) = ring::channel(lane_bytes);
            let stages = Fused::new(Decoder::new(instruments.to_vec()), fold, None);
            let routes = Arc::clone(&routes);
            let thread = spawn(&format!("cobring-lane-{lane}"), None, move || {
                follow(stages, consumer, &routes, lane)
            });
            Lane { raw, has_begun: false, thread }
        };
        let lanes = folds.into_iter().enumerate().map(lane).collect();
        Self { lanes, routes, remaining: 0..0, first: None, latest: None }
    }

    /// Gives an input to the lane that it is for, or to all.
    ///
    /// # Errors
    /// [`Full`] where one has no room: the same input is to be given again.
    pub(super) fn try_input(&mut self, input: &Input<'_>) -> Result<(), Full> {
        if self.remaining.is_empty() {
            self.remaining = self.routes.lanes_for(input);
        }
        let (now, is_break) = (input.stamp.ts_recv, input.kind == InputKind::Break);
        if !is_break {
            self.first.get_or_insert(now);
        }
        // What others heard is over for this one too.
        let latest = self.latest.filter(|&latest| is_break || now < latest);
        while let Some(at) = self.remaining.clone().next() {
            let lane = &mut self.lanes[at];
            lane.begin(self.first)?;
            if let Some(latest) = latest {
                lane.tell(latest)?;
            }
            lane.raw.push_input(input)?;
            // A break says anew with which time timers go on.
            lane.has_begun |= is_break;
            self.remaining.start += 1;
        }
        self.latest = if is_break { None } else { Some(self.latest.map_or(now, |t| t.max(now))) };
        Ok(())
    }

    /// Whether a lane ended by itself: its thread panicked.
    pub(super) fn is_broken(&self) -> bool {
        self.lanes.iter().any(|lane| lane.raw.is_abandoned())
    }

    /// Lets the lanes finish all that they were given, and joins them.
    pub(super) fn finish(self) -> Finished<O> {
        let Self { lanes, first, latest, .. } = self;
        let mut waiter = Waiter::new(Idle::Park);
        let mut threads = Vec::with_capacity(lanes.len());
        for mut lane in lanes {
            let is_told = |lane: &mut Lane<O>| {
                lane.begin(first)?;
                latest.map_or(Ok(()), |latest| lane.tell(latest))
            };
            while !lane.raw.is_abandoned()
                && (is_told(&mut lane).is_err() || !lane.raw.flush_pending())
            {
                waiter.wait();
            }
            threads.push(lane.thread);
        }
        let mut decoded = DecodeCounters::default();
        let folds = threads.into_iter().map(|thread| {
            let stages = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let Finished { fold, decoded: of_lane } = stages.finish();
            decoded += of_lane;
            fold
        });
        let fold = Fold::joined(folds.collect());
        Finished { fold, decoded }
    }
}

/// Parses and folds what comes until no more will.
fn follow<O: Observer>(
    mut stages: Fused<O>,
    mut raw: RecordConsumer,
    routes: &Routes,
    lane: usize,
) -> Fused<O> {
    // Many inputs wait behind the first one: to look for it now and then is enough, and leaves the core to others.
    let mut idle = Waiter::new(Idle::Park);
    loop {
        let popped = raw.pop(|head, body| {
            if head[0] == WATERMARK_HEAD {
                return stages.on_watermark(Nanos(head[1].cast_signed()));
            }
            let input = ring::input_of(head, body);
            // What goes to all lanes counts once.
            let counts = lane == 0 || routes.lanes_for(&input).len() == 1;
            let before = *stages.decoder_mut().counters();
            stages.on_input(&input);
            if !counts {
                stages.decoder_mut().set_counters(before);
            }
        });
        if popped.is_some() {
            idle.reset();
        } else if raw.is_abandoned() && raw.is_empty() {
            return stages;
        } else {
            idle.wait();
        }
    }
}

#[cfg(test)]
mod tests;
