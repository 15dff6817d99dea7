//! One symbol of the exchange: its book as followers of the depth stream have it, its trades, and the messages that
//! each event becomes.
//!
//! Guarantees: a recorded message is sent byte for byte; streams that were not recorded are computed from those
//! that were. Does not: know clients, faults or clocks.

use std::collections::{BTreeMap, VecDeque};

use crate::book::{Book, Level, Side};
use crate::decimal::Fixed;
use crate::kline::{self, DAY_MS, Interval, KlineHistory, KlineStreams, Klines, SECOND_MS, Sums};
use crate::messages::{self, AggTrade};
use crate::source::{
    Body, BookTicker, DepthUpdate, MarketEvent, MarketSource, Opening, SymbolSpec, Trade,
};
use crate::statistics::DayStatistics;
use crate::tape::Tape;
use crate::truth::Truth;

/// Depth events kept while a recording's snapshot has not come.
const PENDING_MAX: usize = 100_000;
/// Between the old books kept for stale snapshots.
const HISTORY_EVERY_MS: i64 = 5_000;

/// Where a symbol's messages go.
pub(crate) trait Sink {
    /// Whether anybody listens; nothing is formatted otherwise.
    fn wants(&self, stream: &str) -> bool;
    /// One message of a stream.
    fn send(&mut self, stream: &str, data: &str);
    /// One message of the diff depth stream, and the book that it is about to change.
    fn send_depth(&mut self, stream: &str, data: &str, _before: &Book) {
        self.send(stream, data);
    }
}

/// A sink without listeners.
struct Nobody;

impl Sink for Nobody {
    fn wants(&self, _: &str) -> bool {
        false
    }
    fn send(&mut self, _: &str, _: &str) {}
}

#[derive(Debug)]
pub(crate) struct Market {
    pub(crate) spec: SymbolSpec,
    /// As `exchangeInfo` has it.
    pub(crate) listed_tick: Fixed,
    /// Position of play; until then trading is halted, and nobody hears anything.
    halted_until_ns: Option<i64>,
    /// The book while it is.
    halted_book: Option<Book>,
    streams: Streams,
    book: Book,
    book_known: bool,
    pending: VecDeque<DepthUpdate>,
    /// Up to two books as id, bids and asks (a copy of lists costs little), the older one first, and the time of the
    /// younger.
    history: VecDeque<(u64, Vec<Level>, Vec<Level>)>,
    history_ms: i64,
    slow: Option<SlowDepth>,
    partial_second: i64,
    tape: Tape,
    klines: Klines,
    kline_streams: KlineStreams,
    opening: Option<Opening>,
}

/// The streams that this module computes; `None` where they come recorded.
#[derive(Debug)]
struct Streams {
    depth: Option<String>,
    slow_depth: Option<String>,
    partial: Vec<(String, usize)>,
    slow_partial: Vec<(String, usize)>,
    trade: Option<String>,
    agg_trade: Option<String>,
    book_ticker: Option<String>,
    ticker: Option<String>,
    mini_ticker: Option<String>,
}

/// Ten depth events as one.
#[derive(Debug)]
struct SlowDepth {
    first_id: u64,
    last_id: u64,
    event_ms: i64,
    bids: BTreeMap<Fixed, Fixed>,
    asks: BTreeMap<Fixed, Fixed>,
}

impl Market {
    /// With a past of `listed_days` where the source says how it ends.
    pub(crate) fn new(index: usize, source: &dyn MarketSource, listed_days: u32) -> Self {
        let spec = source.symbols()[index].clone();
        let book = source.live_book(index).cloned();
        let opening = source.opening(index);
        let history = opening.map(|Opening { seed, px, at_ms, .. }| {
            KlineHistory::new(seed, &spec, px, at_ms, listed_days)
        });
        let kline_stream = |interval: Interval| {
            let stream = format!("{}@kline_{interval}", spec.stream_name());
            Some(stream).filter(|stream| !source.relays(stream))
        };
        let first_id = opening.map_or(0, |opening| opening.trade_id);
        Self {
            klines: Klines::new(history),
            kline_streams: KlineStreams::new(&spec.name, source.start_ms(), first_id, kline_stream),
            opening,
            listed_tick: spec.tick,
            halted_until_ns: None,
            halted_book: None,
            streams: Streams::of(&spec.stream_name(), source),
            book_known: book.is_some(),
            book: book.unwrap_or_default(),
            spec,
            pending: VecDeque::new(),
            history: VecDeque::new(),
            history_ms: 0,
            slow: None,
            partial_second: 0,
            tape: Tape::default(),
        }
    }

    /// Plays one event; `venue_ms` is the event time of messages that are made here.
    pub(crate) fn play(&mut self, event: MarketEvent, venue_ms: i64, sink: &mut dyn Sink) {
        let sink: &mut dyn Sink = if self.is_halted(event.at_ns) { &mut Nobody } else { sink };
        match (&event.recorded, &event.body) {
            (Some(recorded), Body::Depth(_)) => {
                sink.send_depth(&recorded.stream, &recorded.data, &self.book);
            }
            (Some(recorded), _) => sink.send(&recorded.stream, &recorded.data),
            (None, _) => {}
        }
        match event.body {
            Body::Depth(update) => self.on_depth(&update, venue_ms, sink),
            Body::Trade(trade) => self.on_trade(&trade, event.at_ns, venue_ms, sink),
            Body::BookTicker(ticker) => self.on_book_ticker(&ticker, sink),
            Body::Snapshot(book) => self.on_snapshot(book),
            Body::Other => {}
        }
    }

    /// Halts trading until that position of play: the book stands.
    pub(crate) fn halt(&mut self, until_ns: i64) {
        self.halted_until_ns = Some(until_ns);
        self.halted_book = self.book().cloned();
    }

    pub(crate) fn end_halt(&mut self) {
        (self.halted_until_ns, self.halted_book) = (None, None);
    }

    /// The book that stands, at that position of play.
    pub(crate) fn halted_book(&self, at_ns: i64) -> Option<&Book> {
        self.halted_book.as_ref().filter(|_| self.is_halted(at_ns))
    }

    /// Whether trading is halted at that position of play.
    pub(crate) fn is_halted(&self, at_ns: i64) -> bool {
        self.halted_until_ns.is_some_and(|until| at_ns < until)
    }

    /// Ends what waits for more: called with each event's position, whatever its symbol.
    pub(crate) fn pass_time(&mut self, at_ns: i64, venue_ms: i64, sink: &mut dyn Sink) {
        let sink: &mut dyn Sink = if self.is_halted(at_ns) { &mut Nobody } else { sink };
        self.kline_streams.pass_time(venue_ms, &self.klines, sink);
        let ended = self.tape.pass_time(at_ns);
        self.send_agg(ended, sink);
    }

    /// The market's end.
    pub(crate) fn finish(&mut self, sink: &mut dyn Sink) {
        let ended = self.tape.end_agg();
        self.send_agg(ended, sink);
        self.send_slow_depth(sink);
    }

    /// Once a second of the venue's clock.
    pub(crate) fn on_second(&mut self, venue_ms: i64, sink: &mut dyn Sink) {
        let wanted = |stream: &Option<String>| stream.clone().filter(|stream| sink.wants(stream));
        let (ticker, mini) = (wanted(&self.streams.ticker), wanted(&self.streams.mini_ticker));
        if ticker.is_none() && mini.is_none() {
            return;
        }
        let day = self.day(venue_ms);
        if day.sums.close == 0 {
            return;
        }
        let name = &self.spec.name;
        if let Some(stream) = ticker {
            sink.send(&stream, &messages::day_ticker(name, venue_ms, &day, &self.book));
        }
        if let Some(stream) = mini {
            sink.send(&stream, &messages::mini_ticker(name, venue_ms, &day));
        }
    }

    /// The book after the last depth event; `None` before a recording's snapshot.
    pub(crate) fn book(&self) -> Option<&Book> {
        self.book_known.then_some(&self.book)
    }

    /// A book that is 5 to 10 s old, or the oldest there is.
    pub(crate) fn stale_book(&self) -> Option<Book> {
        let old = |(id, bids, asks): &(u64, Vec<_>, Vec<_>)| Book::from_levels(*id, bids, asks);
        self.history.front().map(old).or_else(|| self.book().cloned())
    }

    /// The last 24 hours; zeros before the first price.
    pub(crate) fn day(&self, venue_ms: i64) -> DayStatistics {
        let to_ms = Interval::Second1.open_ms(venue_ms) + SECOND_MS;
        let open_ms = to_ms - DAY_MS;
        let sums = self.klines.sum(open_ms, to_ms).unwrap_or(Sums::flat(0));
        let before = self.klines.sum(open_ms - SECOND_MS, open_ms);
        let first_played = self.opening.map_or(self.tape.first_id(), |opening| opening.trade_id);
        let (first_id, last_id) = kline::ids(sums.trade_count, sums.last_id, first_played);
        DayStatistics {
            open_ms,
            sums,
            previous_close: Fixed(before.map_or(sums.open, |before| before.close)),
            last_qty: self.tape.last().map_or(Fixed::ZERO, |trade| trade.qty),
            first_id,
            last_id,
        }
    }

    pub(crate) fn klines(&self) -> &Klines {
        &self.klines
    }

    pub(crate) fn tape(&self) -> &Tape {
        &self.tape
    }

    pub(crate) fn truth(&self, venue_ms: i64, finished: bool) -> Truth {
        let (bars_1s, bars_1m) = self.klines.played();
        Truth {
            symbol: self.spec.name.clone(),
            book_known: self.book_known,
            update_id: self.book.update_id,
            bids: self.book.top(Side::Bid, usize::MAX),
            asks: self.book.top(Side::Ask, usize::MAX),
            trade_count: self.tape.count(),
            first_trade_id: self.tape.first_id(),
            last_trade_id: self.tape.last().map_or(0, |trade| trade.id),
            bars_1s,
            bars_1m,
            venue_ms,
            finished,
        }
    }

    fn on_depth(&mut self, update: &DepthUpdate, venue_ms: i64, sink: &mut dyn Sink) {
        if let Some(stream) = self.streams.depth.as_deref().filter(|stream| sink.wants(stream)) {
            let data = messages::depth_update(&self.spec.name, venue_ms, update);
            sink.send_depth(stream, &data, &self.book);
        }
        self.apply(update);
        self.add_to_slow_depth(update, venue_ms, sink);
        let is_new_second = self.partial_second != venue_ms / 1_000;
        self.partial_second = venue_ms / 1_000;
        let slow = self.streams.slow_partial.iter().filter(|_| is_new_second);
        for (stream, limit) in self.streams.partial.iter().chain(slow) {
            if self.book_known && sink.wants(stream) {
                sink.send(stream, &messages::book(&self.book, *limit));
            }
        }
        if self.book_known
            && (self.history.is_empty() || venue_ms - self.history_ms >= HISTORY_EVERY_MS)
        {
            let [bids, asks] = [Side::Bid, Side::Ask].map(|side| self.book.top(side, usize::MAX));
            self.history.push_back((self.book.update_id, bids, asks));
            self.history_ms = venue_ms;
            if self.history.len() > 2 {
                self.history.pop_front();
            }
        }
    }

    /// The rule of the venue: old events are ignored, one that leaves a hole ends what is known.
    fn apply(&mut self, update: &DepthUpdate) {
        let DepthUpdate { first_id, last_id, bids, asks } = update;
        if !self.spec.has_snapshot {
            self.book_known = true;
        } else if self.book_known && *first_id > self.book.update_id + 1 {
            tracing::warn!(
                symbol = self.spec.name,
                first_id,
                known = self.book.update_id,
                "gap in the recording"
            );
            self.book_known = false;
        }
        if !self.book_known {
            if self.pending.len() == PENDING_MAX {
                self.pending.pop_front();
            }
            self.pending.push_back(update.clone());
        } else if *last_id > self.book.update_id {
            self.book.apply(*last_id, bids, asks);
        }
    }

    /// The events that came before the snapshot's line, and belong after it, are played again.
    fn on_snapshot(&mut self, snapshot: Book) {
        if self.book_known {
            return;
        }
        self.book = snapshot;
        self.book_known = true;
        for update in std::mem::take(&mut self.pending) {
            if update.last_id > self.book.update_id {
                self.apply(&update);
            }
        }
    }

    fn add_to_slow_depth(&mut self, update: &DepthUpdate, venue_ms: i64, sink: &mut dyn Sink) {
        if self.slow.as_ref().is_some_and(|slow| slow.event_ms / 1_000 != venue_ms / 1_000) {
            self.send_slow_depth(sink);
        }
        if !self.streams.slow_depth.as_ref().is_some_and(|stream| sink.wants(stream)) {
            self.slow = None;
            return;
        }
        let (first_id, last_id) = (update.first_id, update.last_id);
        let empty = || SlowDepth {
            first_id,
            last_id,
            event_ms: venue_ms,
            bids: BTreeMap::new(),
            asks: BTreeMap::new(),
        };
        let slow = self.slow.get_or_insert_with(empty);
        (slow.last_id, slow.event_ms) = (last_id, venue_ms);
        slow.bids.extend(update.bids.iter().map(|level| (level.0, level.1)));
        slow.asks.extend(update.asks.iter().map(|level| (level.0, level.1)));
    }

    fn send_slow_depth(&mut self, sink: &mut dyn Sink) {
        let (Some(slow), Some(stream)) = (self.slow.take(), &self.streams.slow_depth) else {
            return;
        };
        let update = DepthUpdate {
            first_id: slow.first_id,
            last_id: slow.last_id,
            bids: slow.bids.into_iter().rev().map(|(px, qty)| Level(px, qty)).collect(),
            asks: slow.asks.into_iter().map(|(px, qty)| Level(px, qty)).collect(),
        };
        sink.send(stream, &messages::depth_update(&self.spec.name, slow.event_ms, &update));
    }

    fn on_trade(&mut self, trade: &Trade, at_ns: i64, venue_ms: i64, sink: &mut dyn Sink) {
        self.kline_streams.before_trade(trade.trade_ms, venue_ms, &self.klines, sink);
        if let Some(stream) = self.streams.trade.as_deref().filter(|stream| sink.wants(stream)) {
            sink.send(stream, &messages::trade(&self.spec.name, venue_ms, trade));
        }
        self.klines.add(trade);
        self.kline_streams.after_trade(trade.trade_ms, venue_ms, &self.klines, sink);
        let ended = self.tape.add(trade, at_ns, venue_ms);
        self.send_agg(ended, sink);
    }

    fn send_agg(&mut self, ended: Option<AggTrade>, sink: &mut dyn Sink) {
        let (Some(agg), Some(stream)) = (ended, &self.streams.agg_trade) else { return };
        if sink.wants(stream) {
            sink.send(stream, &messages::agg_trade(&self.spec.name, &agg));
        }
    }

    fn on_book_ticker(&mut self, ticker: &BookTicker, sink: &mut dyn Sink) {
        let Some(stream) = &self.streams.book_ticker else { return };
        if sink.wants(stream) {
            sink.send(stream, &messages::book_ticker(&self.spec.name, ticker));
        }
    }
}

impl Streams {
    fn of(symbol: &str, source: &dyn MarketSource) -> Self {
        let computed =
            |kind: &str| Some(format!("{symbol}@{kind}")).filter(|stream| !source.relays(stream));
        let partial = |suffix: &str| {
            let stream = |limit| Some((computed(&format!("depth{limit}{suffix}"))?, limit));
            [5_usize, 10, 20].into_iter().filter_map(stream).collect()
        };
        Self {
            depth: computed("depth@100ms"),
            slow_depth: computed("depth"),
            partial: partial("@100ms"),
            slow_partial: partial(""),
            trade: computed("trade"),
            agg_trade: computed("aggTrade"),
            book_ticker: computed("bookTicker"),
            ticker: computed("ticker"),
            mini_ticker: computed("miniTicker"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Market, Sink};
    use crate::book::{Book, Level};
    use crate::decimal::Fixed;
    use crate::error::SimError;
    use crate::source::{Body, DepthUpdate, MarketEvent, MarketSource, SymbolSpec, Trade};

    struct Nothing(Vec<SymbolSpec>);

    impl MarketSource for Nothing {
        fn symbols(&self) -> &[SymbolSpec] {
            &self.0
        }
        fn start_ms(&self) -> i64 {
            0
        }
        fn next_event(&mut self) -> Result<Option<MarketEvent>, SimError> {
            Ok(None)
        }
    }

    #[derive(Default)]
    struct Heard(Vec<String>);

    impl Sink for Heard {
        fn wants(&self, _: &str) -> bool {
            true
        }
        fn send(&mut self, stream: &str, data: &str) {
            self.0.push(format!("{stream} {data}"));
        }
    }

    fn market() -> Market {
        Market::new(0, &Nothing(vec![SymbolSpec::of("ETHUSDT")]), 0)
    }

    fn play(market: &mut Market, at_ms: i64, body: Body, heard: &mut Heard) {
        let at_ns = at_ms * 1_000_000;
        market.pass_time(at_ns, at_ms, heard);
        market.play(
            MarketEvent { at_ns, symbol: 0, venue_ms: Some(at_ms), body, recorded: None },
            at_ms,
            heard,
        );
    }

    fn depth(first_id: u64, last_id: u64, px: i64, qty: i64) -> Body {
        let bids = vec![Level(Fixed(px), Fixed(qty))];
        Body::Depth(DepthUpdate { first_id, last_id, bids, asks: vec![] })
    }

    #[test]
    fn a_bridging_event_before_the_snapshot_is_played_again() {
        let (mut market, mut heard) = (market(), Heard::default());
        play(&mut market, 1, depth(1, 5, 10, 1), &mut heard);
        play(&mut market, 2, depth(6, 12, 20, 2), &mut heard);
        assert_eq!(market.book(), None);
        play(
            &mut market,
            3,
            Body::Snapshot(Book::from_levels(8, &[Level(Fixed(30), Fixed(3))], &[])),
            &mut heard,
        );
        let book = market.book().unwrap();
        assert_eq!((book.update_id, book.level_count(crate::Side::Bid)), (12, 2));
    }

    #[test]
    fn a_gap_in_the_recording_hides_the_book_until_the_next_snapshot() {
        let (mut market, mut heard) = (market(), Heard::default());
        play(&mut market, 1, Body::Snapshot(Book::from_levels(8, &[], &[])), &mut heard);
        play(&mut market, 2, depth(10, 12, 20, 2), &mut heard);
        assert_eq!(market.book(), None);
        play(&mut market, 3, Body::Snapshot(Book::from_levels(11, &[], &[])), &mut heard);
        assert_eq!(market.book().map(|book| book.update_id), Some(12));
    }

    #[test]
    fn ten_depth_events_become_one_of_a_second() {
        let (mut market, mut heard) = (market(), Heard::default());
        play(&mut market, 1, Body::Snapshot(Book::from_levels(8, &[], &[])), &mut heard);
        for (at_ms, first_id) in [(1_100, 9), (1_200, 11), (2_000, 13)] {
            play(&mut market, at_ms, depth(first_id, first_id + 1, 20, at_ms), &mut heard);
        }
        let slow: Vec<_> =
            heard.0.iter().filter(|text| text.starts_with("ethusdt@depth {")).collect();
        assert_eq!(
            slow,
            [
                r#"ethusdt@depth {"e":"depthUpdate","E":1200,"s":"ETHUSDT","U":9,"u":12,"b":[["0.00000020","0.00001200"]],"a":[]}"#
            ]
        );
        let partial = heard.0.iter().filter(|text| text.starts_with("ethusdt@depth5 {")).count();
        assert_eq!(partial, 2);
    }

    #[test]
    fn fills_of_one_order_are_joined() {
        let (mut market, mut heard) = (market(), Heard::default());
        let trade = |id, px, qty, trade_ms| {
            let (px, qty) = (Fixed(px), Fixed(qty));
            Body::Trade(Trade { id, px, qty, trade_ms, is_buyer_maker: true, taker_order: 0 })
        };
        for (at_ms, id, px, qty, trade_ms) in [
            (10, 1, 5, 1, 9),
            (10, 2, 5, 2, 9),
            (10, 3, 4, 1, 9),
            (11, 4, 4, 1, 11),
            (20, 5, 4, 1, 11),
        ] {
            play(&mut market, at_ms, trade(id, px, qty, trade_ms), &mut heard);
        }
        market.finish(&mut heard);
        let aggs: Vec<_> =
            heard.0.iter().filter(|text| text.starts_with("ethusdt@aggTrade")).collect();
        let ids: Vec<_> = aggs
            .iter()
            .map(|text| text.split_once(r#""f":"#).unwrap().1.split_once(r#","T""#).unwrap().0)
            .collect();
        assert_eq!(ids, [r#"1,"l":2"#, r#"3,"l":3"#, r#"4,"l":4"#, r#"5,"l":5"#]);
        assert!(aggs[0].contains(r#""q":"0.00000003","f":1"#), "{}", aggs[0]);
    }
}
