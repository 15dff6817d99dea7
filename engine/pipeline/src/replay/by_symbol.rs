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

    /// A kind, the symbol that it is of, its text, how many ms later it comes, and how many ms its stamp is too low.
    type Told = (InputKind, SymbolIndex, String, u16, u16);

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
                    // A stream's name that wraps nothing.
                    9 if id % 2 == 0 => {
                        format!(
                            r#"{{"stream":"{}usdt@x",{}"#,
                            name(other).to_lowercase(),
                            &quote(at, id)[1..]
                        )
                    }
                    9 => format!(r#"{{"result":null,"id":{id}}}"#),
                    10 => of_stream(name(at), format!("{{{id}")),
                    _ => "x".repeat(usize::from(id) % 3_000 + 1),
                }
            });
        // What its symbol is said to be means nothing.
        let of = prop_oneof![9 => Just(SymbolIndex::NONE), 1 => (0..8u16).prop_map(SymbolIndex)];
        let text = (text, of.clone()).prop_map(|(text, of)| (InputKind::Text, of, text));
        let own = (0..5u16, of, 0..9u8).prop_map(|(at, of, how)| {
            let (kind, of, text) = match how {
                0 => (InputKind::LinkUp, of, ""),
                1 => (InputKind::LinkDown, of, ""),
                2 => (InputKind::Break, of, ""),
                3 => (InputKind::RestTime, of, r#"{"serverTime":1723161255612}"#),
                8 => (
                    InputKind::RestExchangeInfo,
                    of,
                    r#"{"timezone":"UTC","serverTime":1723161255612,"symbols":[{"symbol":"CCCUSDT","status":"HALT","filters":[{"filterType":"PRICE_FILTER","tickSize":"0.01000000"}]}]}"#,
                ),
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
        let back = prop_oneof![9 => Just(0), 1 => 0..2_000u16];
        (prop_oneof![5 => text, 1 => own], wait, back)
            .prop_map(|((kind, symbol, text), wait, back)| (kind, symbol, text, wait, back))
    }

    fn inputs(told: &[Told]) -> Vec<Input<'_>> {
        let (mut sequencer, mut now) = (Sequencer::default(), Nanos(1_723_161_255_612_000_000));
        let mut inputs = Vec::new();
        for (kind, symbol, text, wait, back) in told {
            now = Nanos(now.0 + i64::from(*wait) * 1_000_000);
            inputs.extend(sequencer.break_before(now));
            let mut stamp = sequencer.stamp(now, Nanos::UNDEF);
            // Only who wrote a log by himself has times that fall.
            stamp.ts_recv.0 -= i64::from(*back) * 1_000_000;
            let own = own_input(stamp, *kind);
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
