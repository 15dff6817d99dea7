//! Lanes: each parses and folds the inputs of its own symbols, on a thread of its own; for replays on several cores.
//!
//! Guarantees: a symbol's frames and what is counted are those of the other layouts. Nothing but time joins symbols, so a
//! lane is told the first time and the last, and what is nobody's own goes to all lanes. Needs: an observer of which there
//! can be several ([`Observer::apart`]). Does not: hand out what parse found or what symbols want.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::thread::JoinHandle;

use cobring_types::{Input, InputKind, Instrument, Nanos, SymbolIndex};
use cobring_venue::DecodeCounters;
use cobring_venue::binance::Decoder;

use crate::fold::{Fold, Observer};
use crate::idle::{Idle, Waiter};
use crate::recording::{Class, classify};
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
    /// Of the first input that tells the time, and of the last one.
    times: Option<(Nanos, Nanos)>,
}

#[derive(Debug)]
struct Lane<O> {
    raw: RecordProducer,
    /// It was told the first time, with which timers begin.
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

    /// One, or all: for what is a connection's or the venue's, and for a message that does not say whose it is in a way that
    /// can be read without reading all of it.
    fn lanes_for(&self, input: &Input<'_>) -> Range<usize> {
        let lane = match input.kind {
            InputKind::Break => None,
            // A symbol that nobody has is refused, by whoever reads it.
            _ if input.symbol != SymbolIndex::NONE => {
                Some(self.lane_of_symbol.get(input.symbol.at()).copied().unwrap_or(0))
            }
            InputKind::Text => match classify(input.bytes) {
                Class::Combined(name) => self.lane_of_name.get(name).copied(),
                Class::Snapshot | Class::Other => None,
            },
            _ => None,
        };
        lane.map_or(0..self.lane_count, |lane| lane..lane + 1)
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
        Self { lanes, routes, remaining: 0..0, times: None }
    }

    /// Gives an input to the lane that it is for, or to all.
    ///
    /// # Errors
    /// [`Full`] where one has no room: the same input is to be given again.
    pub(super) fn try_input(&mut self, input: &Input<'_>) -> Result<(), Full> {
        if self.remaining.is_empty() {
            self.remaining = self.routes.lanes_for(input);
        }
        let tells_time = input.kind != InputKind::Break;
        let now = input.stamp.ts_recv;
        let (first, last) = self.times.unwrap_or((now, now));
        while let Some(at) = self.remaining.clone().next() {
            let lane = &mut self.lanes[at];
            if !lane.has_begun && (tells_time || self.times.is_some()) {
                lane.raw.push_words(&[WATERMARK_HEAD, first.0.cast_unsigned()], &[])?;
                lane.has_begun = true;
            }
            // What others heard before a break is over for this one too.
            if !tells_time && self.times.is_some() {
                lane.raw.push_words(&[WATERMARK_HEAD, last.0.cast_unsigned()], &[])?;
            }
            lane.raw.push_input(input)?;
            self.remaining.start += 1;
        }
        if tells_time {
            self.times = Some((first, now));
        }
        Ok(())
    }

    /// Whether a lane ended by itself: its thread panicked.
    pub(super) fn is_broken(&self) -> bool {
        self.lanes.iter().any(|lane| lane.raw.is_abandoned())
    }

    /// Lets the lanes finish all that they were given, and joins them.
    pub(super) fn finish(self) -> Finished<O> {
        let Self { lanes, times, .. } = self;
        let mut waiter = Waiter::new(Idle::Park);
        let mut threads = Vec::with_capacity(lanes.len());
        for Lane { mut raw, has_begun, thread } in lanes {
            if let Some((first, last)) = times {
                let marks = [Some(first).filter(|_| !has_begun), Some(last)];
                for mark in marks.into_iter().flatten() {
                    let words = [WATERMARK_HEAD, mark.0.cast_unsigned()];
                    while raw.push_words(&words, &[]).is_err() && !raw.is_abandoned() {
                        waiter.wait();
                    }
                }
            }
            while !raw.flush_pending() && !raw.is_abandoned() {
                waiter.wait();
            }
            threads.push(thread);
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
mod tests {
    use cobring_market::SymbolConfig;
    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;
    use crate::fold::SymbolSummary;
    use crate::replay::private_folds;
    use crate::sequencer::{Sequencer, own_input};

    /// Four symbols, of which the messages below are, and one that has none.
    fn symbols() -> Vec<SymbolConfig> {
        let configured = Config::built_in().symbol_configs();
        let named = |name| SymbolConfig {
            instrument: Instrument::new(name, "0.01", 8).unwrap(),
            ..configured[0].clone()
        };
        ["AAAUSDT", "BTCUSDT", "CCCUSDT", "DDDUSDT", "EEEUSDT"].map(named).into()
    }

    /// A kind, the symbol that it is of, its text, and how many ms later it comes.
    type Told = (InputKind, SymbolIndex, String, u16);

    fn told() -> impl Strategy<Value = Told> {
        let name = |at: u16| ["AAA", "BTC", "CCC", "DDD"][usize::from(at)];
        let quote = move |at: u16, id: u16| {
            let name = name(at);
            format!(
                r#"{{"u":{id},"s":"{name}USDT","b":"2683.80000000","B":"{at}.02920000","a":"2683.81000000","A":"31.43950000"}}"#
            )
        };
        let of_stream = move |name: &str, event: String| {
            format!(r#"{{"stream":"{}usdt@bookTicker","data":{event}}}"#, name.to_lowercase())
        };
        let text =
            (0..4u16, 0..4u16, any::<u16>(), 0..12u8).prop_map(move |(at, other, id, how)| {
                match how {
                    0..6 => of_stream(name(at), quote(at, id)),
                    // What does not say whose it is, before one looks into it.
                    6 => quote(at, id),
                    // The stream of another symbol, and of none that is configured.
                    7 => of_stream(name(other), quote(at, id)),
                    8 if id % 2 == 0 => of_stream("xxx", quote(at, id)),
                    // Its name spelt as nobody does.
                    8 => of_stream(name(at), quote(at, id)).replacen("usdt@", "\\u0075sdt@", 1),
                    9 => format!(r#"{{"result":null,"id":{id}}}"#),
                    10 => of_stream(name(at), format!("{{{id}")),
                    _ => "x".repeat(usize::from(id) % 3_000 + 1),
                }
            });
        let text = text.prop_map(|text| (InputKind::Text, SymbolIndex::NONE, text));
        let own = (0..5u16, 0..8u8).prop_map(|(at, how)| {
            let (kind, of, text) = match how {
                0 => (InputKind::LinkUp, SymbolIndex::NONE, ""),
                1 => (InputKind::LinkDown, SymbolIndex::NONE, ""),
                2 => (InputKind::Break, SymbolIndex::NONE, ""),
                3 => (InputKind::RestTime, SymbolIndex::NONE, r#"{"serverTime":1723161255612}"#),
                4 => (InputKind::Halted, SymbolIndex(at), ""),
                5 => (InputKind::TickerRequested, SymbolIndex(at), ""),
                // A symbol that nobody has.
                6 => (InputKind::RestDepth, SymbolIndex(7), r#"{"lastUpdateId":1}"#),
                _ => (
                    InputKind::RestDepth,
                    SymbolIndex(at),
                    r#"{"lastUpdateId":70,"bids":[["2683.80000000","3.02920000"]],"asks":[["2733.70000000","150.10000000"]]}"#,
                ),
            };
            (kind, of, text.to_owned())
        });
        // Sometimes longer than a run of timers may be.
        let wait = prop_oneof![20 => 0..300u16, 1 => 60_000..=u16::MAX];
        (prop_oneof![5 => text, 1 => own], wait)
            .prop_map(|((kind, symbol, text), wait)| (kind, symbol, text, wait))
    }

    fn inputs(told: &[Told]) -> Vec<Input<'_>> {
        let (mut sequencer, mut now) = (Sequencer::default(), Nanos(1_723_161_255_612_000_000));
        let mut inputs = Vec::new();
        for (kind, symbol, text, wait) in told {
            now = Nanos(now.0 + i64::from(*wait) * 1_000_000);
            inputs.extend(sequencer.break_before(now));
            let own = own_input(sequencer.stamp(now, Nanos::UNDEF), *kind);
            let aux = u32::from(matches!(kind, InputKind::LinkUp | InputKind::LinkDown));
            inputs.push(Input { symbol: *symbol, aux, bytes: text.as_bytes(), ..own });
        }
        inputs
    }

    /// What can be told of a symbol.
    fn facts(symbols: &[SymbolSummary]) -> Vec<String> {
        symbols.iter().map(|symbol| format!("{symbol:?}")).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn frames_and_counts_are_those_of_one_thread(
            told in proptest::collection::vec(told(), 1..150),
            cores in 1usize..7,
        ) {
            let (symbols, inputs) = (symbols(), inputs(&told));
            let instruments: Vec<Instrument> =
                symbols.iter().map(|symbol| symbol.instrument.clone()).collect();
            let fold = || Fold::new(private_folds(&symbols, 1, true).unwrap(), None, ());
            let mut fused = Fused::new(Decoder::new(instruments.clone()), fold(), None);
            for input in &inputs { fused.on_input(input); }
            let wanted = fused.finish();
            let folds = fold().apart(cores).unwrap();
            prop_assert!(folds.len() <= cores);
            let mut lanes = BySymbol::start(&instruments, folds, ring::MIN_RING_BYTES);
            for input in &inputs {
                while lanes.try_input(input).is_err() { std::thread::yield_now(); }
            }
            prop_assert!(!lanes.is_broken());
            let found = lanes.finish();
            prop_assert_eq!(facts(&found.fold.summary()), facts(&wanted.fold.summary()));
            prop_assert_eq!(found.decoded, wanted.decoded);
        }
    }
}
