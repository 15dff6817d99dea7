//! The exchange itself: one thread that owns market, clients and faults, plays the source and obeys commands.
//!
//! Guarantees: everything a client can see happens in one order (an acknowledgement, a REST book and a stream
//! message never contradict each other); commands are obeyed between any two messages, whatever the speed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::archive_rows::ArchiveRows;
use crate::book::Book;
use crate::broadcast::{Broadcast, ClientQueue, Form};
use crate::catalogue::CatalogueEntry;
use crate::clock::VenueClock;
use crate::config::{SimConfig, Speed};
use crate::error::SimError;
use crate::faults::{Fault, ScheduledFault, fits, nanos};
use crate::kline::{Interval, Kline, KlineQuery};
use crate::line_control::{Drip, LineControl};
use crate::market::Market;
use crate::messages;
use crate::random_faults::RandomSchedule;
use crate::rest_faults::{RestFault, RestFaults};
use crate::source::{MarketEvent, MarketSource, SymbolSpec};
use crate::spell::Spells;
use crate::statistics::Bar;
use crate::stats::{Counters, Play, SimStats};
use crate::truth::{self, Truth};
use crate::wall_clock::WallClock;

/// At `Speed::Max` the source waits while a client has more than this queued.
const BACK_PRESSURE_BYTES: usize = 1 << 20;
/// How often a waiting source looks again.
const BACK_PRESSURE_POLL: Duration = Duration::from_micros(200);

/// A book that is so far ahead is as fresh as the venue's: a depth event later it is the truth.
const LIVE_BOOK_AHEAD_NS: i64 = 100_000_000;

/// What the servers and the handle tell the exchange.
pub(crate) enum Command {
    Connect { id: u64, queue: ClientQueue, form: Form, streams: Vec<String> },
    Disconnect { id: u64 },
    Request { id: u64, text: String },
    Ask(Box<dyn FnOnce(&mut Exchange) + Send>),
    Stop,
}

/// The markets are told of the time at whole multiples of this, where no event does it.
const QUIET_NS: i64 = 250_000_000;

/// How long the exchange may take over an answer; it answers between two messages.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Asks the exchange between two messages, and waits.
pub(crate) fn ask<T: Send + 'static>(
    commands: &Sender<Command>,
    question: impl FnOnce(&mut Exchange) -> T + Send + 'static,
) -> Result<T, SimError> {
    let (reply, answer) = mpsc::channel();
    // An asker that gave up needs no answer.
    let ask = move |exchange: &mut Exchange| drop(reply.send(question(exchange)));
    commands.send(Command::Ask(Box::new(ask))).map_err(|_| SimError::Stopped)?;
    answer.recv_timeout(ANSWER_MAX).map_err(|_| SimError::Stopped)
}

/// What the servers are told of faults.
pub(crate) struct ServerFaults {
    /// The port is closed until that time of the wall clock.
    pub(crate) refuse_until: watch::Sender<Option<Duration>>,
    /// Whether there is an outage.
    pub(crate) is_down: Arc<AtomicBool>,
    pub(crate) spells: Arc<Spells>,
}

/// Connections that are to be closed.
struct Closing {
    /// By the wall clock.
    at: Duration,
    clients: Vec<u64>,
    code: CloseCode,
    reason: &'static str,
}

pub(crate) struct Exchange {
    source: Box<dyn MarketSource>,
    markets: Vec<Market>,
    broadcast: Broadcast,
    clock: VenueClock,
    speed: Speed,
    start_after_subscribers: usize,
    play: Play,
    wall: WallClock,
    /// Position at the wall clock's `origin`; it advances while `play` is Playing or Finished.
    origin: Duration,
    origin_ns: i64,
    next_event: Option<MarketEvent>,
    last_at_ns: i64,
    last_second: i64,
    played: u64,
    source_error: Option<String>,
    schedule: Vec<ScheduledFault>,
    random: Option<RandomSchedule>,
    rest_faults: RestFaults,
    waiting_depth: Vec<WaitingDepth>,
    /// In order of time.
    closings: Vec<Closing>,
    server: ServerFaults,
    outage_until_ns: Option<i64>,
    fault_count: u64,
    /// Of each fault of the catalogue that has happened, how often.
    catalogue_counts: BTreeMap<&'static str, u64>,
    /// Position of play up to which the markets know that time has passed.
    passed_ns: i64,
    counters: Arc<Counters>,
    truth_file: Option<PathBuf>,
}

struct WaitingDepth {
    symbol: usize,
    limit: usize,
    reply: oneshot::Sender<String>,
}

impl Exchange {
    pub(crate) fn new(
        config: &SimConfig,
        mut source: Box<dyn MarketSource>,
        start_after_subscribers: usize,
        wall: WallClock,
        counters: Arc<Counters>,
        server: ServerFaults,
    ) -> Result<Self, SimError> {
        let market = |(index, spec): (usize, &SymbolSpec)| {
            let listed_days =
                config.listed_days_of.get(&spec.name).copied().unwrap_or(config.listed_days);
            Market::new(index, source.as_ref(), listed_days)
        };
        let markets: Vec<Market> = source.symbols().iter().enumerate().map(market).collect();
        let names = || markets.iter().map(|market| market.spec.name.clone()).collect();
        let next_event = source.next_event()?;
        Ok(Self {
            clock: VenueClock::starting_at(source.start_ms()),
            random: config.faults.random.map(|random| RandomSchedule::new(random, names())),
            markets,
            broadcast: Broadcast::new(config.limits.clone(), wall.clone(), Arc::clone(&counters)),
            source,
            speed: config.speed,
            start_after_subscribers,
            play: Play::Waiting,
            origin: wall.now(),
            wall,
            origin_ns: 0,
            next_event,
            last_at_ns: 0,
            last_second: 0,
            played: 0,
            source_error: None,
            schedule: config.faults.faults.clone(),
            rest_faults: RestFaults::default(),
            waiting_depth: Vec::new(),
            closings: Vec::new(),
            server,
            outage_until_ns: None,
            fault_count: 0,
            catalogue_counts: BTreeMap::new(),
            passed_ns: 0,
            counters,
            truth_file: config.truth_file.clone(),
        })
    }

    /// Until [`Command::Stop`], or nobody can command any more.
    pub(crate) fn run(mut self, commands: &Receiver<Command>) {
        self.start_if_awaited();
        loop {
            while let Ok(command) = commands.try_recv() {
                if self.obey(command) {
                    return;
                }
            }
            let now = self.wall.now();
            self.close_due(now);
            let wake = match self.event_due_in(now) {
                Some(wait) if wait.is_zero() => {
                    self.play_next();
                    continue;
                }
                wait => wait.unwrap_or(Duration::from_secs(3600)),
            };
            let wake = self
                .closings
                .first()
                .map_or(wake, |closing| wake.min(closing.at.saturating_sub(now)));
            match commands.recv_timeout(wake) {
                Ok(command) => {
                    if self.obey(command) {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// True at the end.
    pub(crate) fn obey(&mut self, command: Command) -> bool {
        match command {
            // It was on its way when the outage began.
            Command::Connect { queue, .. } if self.outage_until_ns.is_some() => queue.line.cut(),
            Command::Connect { id, queue, form, streams } => {
                self.broadcast.connect(id, queue, form, streams);
                self.start_if_awaited();
            }
            Command::Request { id, text } => {
                self.broadcast.request(id, &text);
                self.start_if_awaited();
            }
            Command::Disconnect { id } => self.broadcast.disconnect(id),
            Command::Ask(question) => question(self),
            Command::Stop => {
                if self.play != Play::Finished {
                    self.write_truth_file();
                }
                return true;
            }
        }
        false
    }

    pub(crate) fn start_if_awaited(&mut self) {
        if self.play == Play::Waiting
            && self.broadcast.subscriber_count() >= self.start_after_subscribers
        {
            self.resume();
        }
    }

    /// Also before the first subscriber.
    pub(crate) fn resume(&mut self) {
        if matches!(self.play, Play::Waiting | Play::Paused) {
            self.play = Play::Playing;
            self.origin = self.wall.now();
            self.origin_ns = self.last_at_ns.max(self.origin_ns);
        }
    }

    /// The clock stands, and what was sent stays sent.
    pub(crate) fn pause(&mut self) {
        if self.play == Play::Playing {
            self.origin_ns = self.position_ns();
            self.play = Play::Paused;
        }
    }

    /// `None` when nothing will ever be due without a command.
    fn event_due_in(&self, now: Duration) -> Option<Duration> {
        if self.play != Play::Playing {
            return None;
        }
        match self.speed {
            Speed::Max if self.broadcast.queued_bytes_max() > BACK_PRESSURE_BYTES => {
                Some(BACK_PRESSURE_POLL)
            }
            Speed::Max => Some(Duration::ZERO),
            Speed::Times(times) => {
                let ahead_ns =
                    self.next_event.as_ref().map_or(0, |event| event.at_ns - self.origin_ns);
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "a wait of years would be off by microseconds"
                )]
                let due = Duration::from_secs_f64((ahead_ns.max(0) as f64 / 1e9 / times).min(1e9));
                Some(due.saturating_sub(now.saturating_sub(self.origin)))
            }
        }
    }

    /// Simulated ns from the start of play.
    pub(crate) fn position_ns(&self) -> i64 {
        let run_ns = || {
            let times = if let Speed::Times(times) = self.speed { times } else { 1.0 };
            let run = self.wall.now().saturating_sub(self.origin);
            // Exact at 1x, for a hundred days.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_precision_loss,
                reason = "saturates after 292 simulated years"
            )]
            let ns = (run.as_nanos() as f64 * times) as i64;
            self.origin_ns + ns
        };
        match (self.play, self.speed) {
            (Play::Waiting | Play::Paused, _) => self.origin_ns,
            (Play::Playing, Speed::Max) => self.last_at_ns,
            (Play::Playing, Speed::Times(_)) => {
                let until = self.next_event.as_ref().map_or(i64::MAX, |event| event.at_ns);
                run_ns().min(until).max(self.last_at_ns)
            }
            (Play::Finished, _) => run_ns(),
        }
    }

    pub(crate) fn venue_ms(&mut self) -> i64 {
        let position_ns = self.position_ns();
        self.clock.now_ms(position_ns)
    }

    pub(crate) fn play_next(&mut self) {
        let Some(event) = self.next_event.take() else {
            self.finish(None);
            return;
        };
        self.last_at_ns = event.at_ns;
        self.end_due_outage(event.at_ns);
        self.inject_scheduled(event.at_ns, self.played + 1);
        let venue_ms = match event.venue_ms {
            Some(venue_ms) => {
                self.clock.observe(venue_ms, event.at_ns);
                venue_ms
            }
            None => self.clock.now_ms(event.at_ns),
        };
        self.pass_time(event.at_ns, venue_ms);
        let symbol = event.symbol;
        self.markets[symbol].play(event, venue_ms, &mut self.broadcast);
        self.played += 1;
        self.answer_waiting_depth(symbol);
        match self.source.next_event() {
            Ok(next) => self.next_event = next,
            Err(error) => self.finish(Some(error)),
        }
    }

    /// What the markets do by the clock alone.
    fn pass_time(&mut self, at_ns: i64, venue_ms: i64) {
        for market in &mut self.markets {
            market.pass_time(at_ns, venue_ms, &mut self.broadcast);
            if venue_ms / 1_000 > self.last_second {
                market.on_second(venue_ms, &mut self.broadcast);
            }
        }
        self.last_second = self.last_second.max(venue_ms / 1_000);
        self.passed_ns = at_ns;
    }

    /// When something next happens by itself, for who sets the wall clock and plays at 1x: position and clock are one.
    pub(crate) fn next_due_ns(&self) -> i64 {
        let schedule = self.schedule.iter().filter_map(|entry| entry.at_s).map(nanos);
        let random = self.random.as_ref().map(RandomSchedule::due_ns);
        let closing = self.closings.first().map(|closing| wall_ns(closing.at));
        let faults = schedule.chain(random).chain(closing).chain(self.outage_until_ns).min();
        let play = match (&self.next_event, self.play) {
            (_, Play::Finished) => i64::MAX,
            (Some(event), _) => event.at_ns.min(self.quiet_due_ns()),
            // The end of the market is told at once.
            (None, _) => self.last_at_ns,
        };
        faults.unwrap_or(i64::MAX).min(play)
    }

    /// When klines and tickers may be due although no event comes.
    fn quiet_due_ns(&self) -> i64 {
        (self.passed_ns / QUIET_NS + 1) * QUIET_NS
    }

    /// Everything that is due at a position of play, the next event of the market apart.
    pub(crate) fn pass_due(&mut self, at_ns: i64) {
        self.end_due_outage(at_ns);
        self.inject_scheduled(at_ns, self.played);
        self.close_due(self.wall.now());
        let is_event_due = self.next_event.as_ref().is_some_and(|event| event.at_ns <= at_ns);
        if self.play == Play::Playing && !is_event_due && self.quiet_due_ns() <= at_ns {
            let venue_ms = self.clock.now_ms(at_ns);
            self.pass_time(at_ns, venue_ms);
        }
    }

    /// The next event, where it is due.
    pub(crate) fn due_event(&self, at_ns: i64) -> Option<&MarketEvent> {
        self.next_event.as_ref().filter(|event| event.at_ns <= at_ns)
    }

    /// Whether all events have been played and nobody has been told so.
    pub(crate) fn is_at_end(&self) -> bool {
        self.next_event.is_none() && self.play != Play::Finished
    }

    fn finish(&mut self, error: Option<SimError>) {
        for market in &mut self.markets {
            market.finish(&mut self.broadcast);
        }
        if let Some(error) = error {
            tracing::error!(%error, "play ends before the end of the market");
            self.source_error = Some(error.to_string());
        }
        self.origin_ns = self.last_at_ns;
        self.origin = self.wall.now();
        self.play = Play::Finished;
        // Nothing comes any more that could end it.
        self.end_outage();
        self.write_truth_file();
    }

    /// The fresher book where the source has one; `None` before a recording's snapshot. A venue that stands still has
    /// told all that happened.
    fn rest_book(&self, symbol: usize) -> Option<&Book> {
        let market = &self.markets[symbol];
        if let Some(book) = market.halted_book(self.position_ns()) {
            return Some(book);
        }
        if matches!(self.play, Play::Paused | Play::Finished) {
            return market.book();
        }
        // The source has made its next event already: where that lies far ahead, its book tells the future.
        let ahead_ns = self.next_event.as_ref().map_or(0, |event| event.at_ns - self.position_ns());
        let live = self.source.live_book(symbol).filter(|_| ahead_ns <= LIVE_BOOK_AHEAD_NS);
        live.or_else(|| market.book())
    }

    /// Answers when the book is known.
    pub(crate) fn depth(&mut self, symbol: usize, limit: usize, reply: oneshot::Sender<String>) {
        if let Some(book) = self.known_depth(symbol, limit) {
            // The one who asked may be gone.
            let _ = reply.send(book);
        } else {
            self.waiting_depth.retain(|waiting| !waiting.reply.is_closed());
            self.waiting_depth.push(WaitingDepth { symbol, limit, reply });
        }
    }

    /// The answer to a request for a book; `None` before a recording's snapshot.
    pub(crate) fn known_depth(&mut self, symbol: usize, limit: usize) -> Option<String> {
        if self.rest_faults.take_stale_snapshot(&self.markets[symbol].spec.name)
            && let Some(book) = self.markets[symbol].stale_book()
        {
            return Some(messages::book(&book, limit));
        }
        let book = self.rest_book(symbol)?;
        Some(messages::book(book, limit))
    }

    fn answer_waiting_depth(&mut self, symbol: usize) {
        if self.waiting_depth.is_empty() || self.rest_book(symbol).is_none() {
            return;
        }
        for waiting in std::mem::take(&mut self.waiting_depth) {
            if waiting.symbol == symbol {
                self.depth(symbol, waiting.limit, waiting.reply);
            } else {
                self.waiting_depth.push(waiting);
            }
        }
    }

    pub(crate) fn symbol_index(&self, name: &str) -> Option<usize> {
        self.markets.iter().position(|market| market.spec.name == name)
    }

    pub(crate) fn markets(&self) -> &[Market] {
        &self.markets
    }

    /// The klines of a symbol as they stand; `None` where it is not here.
    pub(crate) fn klines(
        &mut self,
        symbol: &str,
        interval: Interval,
        query: &KlineQuery,
    ) -> Option<Vec<Kline>> {
        let index = self.symbol_index(symbol)?;
        let now_ms = self.venue_ms();
        Some(self.markets[index].klines().rows(interval, query, now_ms))
    }

    pub(crate) fn bars(
        &mut self,
        symbol: &str,
        interval: Interval,
        query: &KlineQuery,
    ) -> Option<Vec<Bar>> {
        let klines = self.klines(symbol, interval, query)?;
        Some(klines.iter().map(|kline| Bar::of(kline.open_ms, &kline.sums)).collect())
    }

    /// What an archive of a symbol is made from, and the venue's time; `None` where it is not here.
    pub(crate) fn archive_rows(
        &mut self,
        symbol: &str,
        commands: Sender<Command>,
    ) -> Option<(ArchiveRows, i64)> {
        let past = self.markets[self.symbol_index(symbol)?].klines().history().cloned();
        Some((ArchiveRows::new(symbol, past, commands), self.venue_ms()))
    }

    pub(crate) fn truth(&mut self, symbol: usize) -> Truth {
        let venue_ms = self.venue_ms();
        self.markets[symbol].truth(venue_ms, self.play == Play::Finished)
    }

    pub(crate) fn stats(&mut self) -> SimStats {
        #[expect(clippy::cast_precision_loss, reason = "shown, not computed with")]
        let position_s = self.position_ns() as f64 / 1e9;
        let mut stats = SimStats {
            play: self.play,
            source_error: self.source_error.clone(),
            position_s,
            venue_ms: self.venue_ms(),
            played: self.played,
            clients: self.broadcast.client_states(),
            faults: self.fault_count,
            is_down: self.outage_until_ns.is_some(),
            ..SimStats::default()
        };
        self.counters.fill(&mut stats);
        stats
    }

    fn write_truth_file(&mut self) {
        let Some(path) = self.truth_file.clone() else { return };
        let truths: Vec<Truth> = (0..self.markets.len()).map(|symbol| self.truth(symbol)).collect();
        if let Err(error) = truth::write_file(&path, &truths) {
            tracing::error!(%error, "the truth is not written");
        }
    }

    /// All that are due by a position of play or a message.
    fn inject_scheduled(&mut self, at_ns: i64, message: u64) {
        if self.schedule.is_empty() && self.random.is_none() {
            return;
        }
        let is_due = |entry: &mut ScheduledFault| {
            entry.at_s.is_some_and(|due_s| nanos(due_s) <= at_ns)
                || entry.at_message.is_some_and(|due| due <= message)
        };
        let due: Vec<_> = self.schedule.extract_if(.., is_due).collect();
        for entry in due {
            self.inject(entry.fault);
        }
        while let Some(fault) = self.random.as_mut().and_then(|random| random.take_due(at_ns)) {
            self.inject(fault);
        }
    }

    pub(crate) fn inject(&mut self, fault: Fault) {
        tracing::info!(?fault, position_ns = self.last_at_ns, "fault");
        self.fault_count += 1;
        self.take_up(fault);
    }

    fn take_up(&mut self, fault: Fault) {
        match &fault {
            Fault::Catalogue { id, symbol } => {
                let Some(entry) = CatalogueEntry::find(id) else { return };
                *self.catalogue_counts.entry(entry.id).or_default() += 1;
                entry.faults(symbol).into_iter().for_each(|fault| self.take_up(fault));
            }
            Fault::Drop { .. }
            | Fault::Duplicate { .. }
            | Fault::Malformed { .. }
            | Fault::Reorder { .. }
            | Fault::Overlap { .. }
            | Fault::Rewrite { .. }
            | Fault::Fragments { .. }
            | Fault::Stall { .. } => self.broadcast.add_fault(&fault),
            Fault::Say { stream, data, bytes } => {
                let spaces = " ".repeat(bytes.saturating_sub(data.len()));
                self.broadcast.say(stream, &format!("{data}{spaces}"));
            }
            Fault::Resume => self.end_faults(),
            Fault::Outage { for_s } => {
                let until = self.position_ns() + nanos(*for_s);
                self.outage_until_ns = self.outage_until_ns.max(Some(until));
                self.server.is_down.store(true, Ordering::SeqCst);
                self.broadcast.cut(None);
            }
            Fault::Cut { client } => self.broadcast.cut(*client),
            Fault::HalfOpen { client } => self.broadcast.for_lines(*client, LineControl::die),
            // No frame can say it.
            Fault::Close { code: 1006, client } => {
                self.broadcast.for_lines(*client, LineControl::end);
            }
            Fault::Close { code, client } => {
                let ids = self.broadcast.ids(*client);
                self.broadcast.close(&ids, (*code).into(), "Fault");
            }
            Fault::Drip { bytes, every_ms, for_ms } => {
                let [every, length] = [*every_ms, *for_ms].map(Duration::from_millis);
                let drip = Drip { bytes: *bytes, every, until: self.wall.now() + length };
                self.broadcast.for_lines(None, |line| line.drip(Some(drip)));
            }
            Fault::HangConnections { for_ms } => {
                self.server.spells.hang.last(self.wall.now() + Duration::from_millis(*for_ms));
            }
            Fault::PingStorm { count } => self.broadcast.ping_all(*count),
            Fault::NoPing { for_ms } => {
                self.server.spells.no_ping.last(self.wall.now() + Duration::from_millis(*for_ms));
            }
            Fault::LifeEnds { after_ms } => {
                self.close_later(*after_ms, CloseCode::Normal, "Connection life is over");
            }
            Fault::ServerShutdown { close_after_ms } => {
                let data = messages::server_shutdown(self.venue_ms());
                self.broadcast.send_all("!serverShutdown", &data);
                if let Some(after_ms) = close_after_ms {
                    self.close_later(*after_ms, CloseCode::Away, "Server shutdown");
                }
            }
            Fault::RefuseConnections { for_ms } => {
                let until = self.wall.now() + Duration::from_millis(*for_ms);
                self.server.refuse_until.send_replace(Some(until));
            }
            Fault::RestDelay { requests, .. }
            | Fault::RestStatus { requests, .. }
            | Fault::StaleSnapshot { requests, .. } => {
                let requests = *requests;
                self.rest_faults.add(fault, requests);
            }
            Fault::Halt { symbol, for_s } => {
                let from = self.position_ns();
                let until = for_s.map_or(i64::MAX, |for_s| from + nanos(for_s));
                self.for_markets(symbol, |market| market.halt(until));
            }
            Fault::TickSize { symbol, tick } => {
                self.for_markets(symbol, |market| market.listed_tick = *tick);
            }
        }
    }

    fn for_markets(&mut self, pattern: &str, act: impl FnMut(&mut Market)) {
        let fitting = self.markets.iter_mut().filter(|market| fits(pattern, &market.spec.name));
        fitting.for_each(act);
    }

    fn end_faults(&mut self) {
        self.broadcast.clear_faults();
        self.rest_faults.clear();
        self.server.refuse_until.send_if_modified(|until| until.take().is_some());
        self.server.spells.hang.end();
        self.server.spells.no_ping.end();
        self.for_markets("*", |market| {
            market.end_halt();
            market.listed_tick = market.spec.tick;
        });
        self.end_outage();
    }

    /// The clients of now; those who come meanwhile stay.
    fn close_later(&mut self, after_ms: u64, code: CloseCode, reason: &'static str) {
        let clients = self.broadcast.ids(None);
        let at = self.wall.now() + Duration::from_millis(after_ms);
        self.closings.push(Closing { at, clients, code, reason });
        self.closings.sort_by_key(|closing| closing.at);
    }

    /// What the servers are told.
    pub(crate) fn server_faults(&self) -> &ServerFaults {
        &self.server
    }

    pub(crate) fn is_down(&self) -> bool {
        self.outage_until_ns.is_some()
    }

    pub(crate) fn fault_count(&self) -> u64 {
        self.fault_count
    }

    pub(crate) fn catalogue_counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.catalogue_counts
    }

    fn end_due_outage(&mut self, at_ns: i64) {
        if self.outage_until_ns.is_some_and(|until| until <= at_ns) {
            self.end_outage();
        }
    }

    fn end_outage(&mut self) {
        self.outage_until_ns = None;
        self.server.is_down.store(false, Ordering::SeqCst);
    }

    /// What the next request of `path` meets.
    pub(crate) fn take_rest_fault(&mut self, path: &str) -> RestFault {
        self.rest_faults.take(path)
    }

    fn close_due(&mut self, now: Duration) {
        let due = self.closings.partition_point(|closing| closing.at <= now);
        for Closing { clients, code, reason, .. } in self.closings.drain(..due) {
            self.broadcast.close(&clients, code, reason);
        }
    }
}

/// A time of the wall clock in ns.
pub(crate) fn wall_ns(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}
