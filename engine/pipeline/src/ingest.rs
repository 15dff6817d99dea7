//! Ingest: the loop that polls sockets and helpers, and stamps, logs and hands on what comes.
//!
//! Guarantees: inputs are logged before they are folded; a full ring stops the reading of sockets and never
//! drops; when nothing comes, timers are folded within a millisecond of their instant. Does not: parse.

mod asks;
mod host;
mod links;
mod outside;
mod renewal;
mod wall_clock;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cobring_types::{
    Input, InputKind, LinkScope, MODEL_OUTPUT_SIZE_BYTES, Nanos, Stamp, Symbol, SymbolIndex,
};
use cobring_venue::Decoded;
use cobring_venue::binance::{self, ConnectionPlan};

use self::asks::{DayTicker, ExchangeInfo, Klines, Snapshot, Trades};
pub(crate) use self::host::{Host, WAKE_TOKEN};
use self::links::{Link, Side, place_of};
pub use self::outside::{InputLog, Line, Outside, Time};
use self::renewal::Renewal;
pub use self::renewal::RenewalPolicy;
use self::wall_clock::WallClock;
use crate::config::{BinanceSettings, Config};
use crate::fold::{Observer, Wanted};
use crate::idle::{Idle, Waiter};
use crate::models::ModelReport;
use crate::net::{Backoff, BackoffConfig};
use crate::sequencer::{Sequencer, own_input};
use crate::stages::{Finished, Notice, Stages};

/// Turns of the sockets alone between two of everything.
const SPUN_TURNS: u32 = 64;
/// Of these, those without a message between two looks at the timers.
const TURNS_A_TICK: u32 = 8;
/// With more connections, each of which may have a second one beside it, one question for all takes less time.
const SPUN_LINKS_MAX: usize = 3;

cobring_types::counters! {
    /// What a run counts beside the stages and the helpers.
    pub struct IngestCounters {
        /// Inputs stamped.
        inputs,
        /// Times that a socket was left unread because the stages were behind.
        backpressure,
        /// Connections that broke or were closed by the venue.
        links_lost,
        /// Streams that fell silent while the venue moved on.
        streams_stalled,
        /// Connections that were replaced by plan, the new one first.
        links_renewed,
        /// Notices that the venue closes a connection soon.
        server_shutdowns,
        /// Requests that the venue refused.
        refusals,
        /// Messages that were malformed.
        malformed,
        /// Snapshots asked for.
        snapshots_requested,
        /// Snapshots that could not be had at first.
        snapshots_failed,
        /// Requests for klines.
        klines_requested,
        /// Of these, how many were not answered at first.
        klines_failed,
        /// Requests for trades that were missed.
        trades_requested,
        /// Of these, how many were not answered.
        trades_failed,
        /// Requests for the 24 h ticker.
        tickers_requested,
        /// Of these, how many were not answered.
        tickers_failed,
        /// Steps of the host's wall clock.
        clock_steps,
    }
}

/// The world around ingest, in its parts.
#[derive(Debug)]
pub struct World<W: Outside> {
    /// Connections, answers and models.
    pub outside: W,
    /// The time.
    pub time: W::Time,
    /// Where inputs are kept, if anywhere.
    pub log: Option<W::Log>,
}

/// What ingest is made of.
#[derive(Debug)]
pub struct Parts<O, W: Outside> {
    /// What it is surrounded by.
    pub world: World<W>,
    /// Decoder and fold.
    pub stages: Stages<O>,
    /// In order of names.
    pub symbols: Vec<Symbol>,
    /// Files of bounds, the first inputs of the run.
    pub bounds: Vec<(SymbolIndex, Vec<u8>)>,
    /// Which connection carries which streams.
    pub plans: Vec<ConnectionPlan>,
    /// When to try again.
    pub backoff: BackoffConfig,
    /// When connections are renewed.
    pub renewal: RenewalPolicy,
    /// Of the backoffs' jitter.
    pub seed: u64,
    /// Base of the streams' URLs.
    pub websocket_url: String,
    /// Base of the REST URLs.
    pub rest_url: String,
    /// What to do when there is nothing to do.
    pub idle: Idle,
    /// Ends the run.
    pub stop: Arc<AtomicBool>,
}

impl<O, W: Outside> Parts<O, W> {
    /// As configured, without bounds, yielding when idle. `seed` spreads what is tried again.
    #[must_use]
    pub fn configured(
        config: &Config,
        world: World<W>,
        stages: Stages<O>,
        seed: u64,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let BinanceSettings { websocket_url, rest_url, trade_stream, renewal, .. } =
            &config.binance;
        let symbols: Vec<Symbol> =
            config.symbols.iter().map(|symbol| symbol.instrument.symbol).collect();
        Self {
            world,
            stages,
            bounds: Vec::new(),
            plans: binance::plan_connections(&symbols, &groups(config), *trade_stream),
            symbols,
            backoff: BackoffConfig {
                first: config.binance.reconnect_min,
                delay_max: config.binance.reconnect_max,
                reset_after: config.binance.reconnect_reset,
            },
            renewal: *renewal,
            seed,
            websocket_url: websocket_url.trim_end_matches('/').to_owned(),
            rest_url: rest_url.trim_end_matches('/').to_owned(),
            idle: Idle::Yield,
            stop,
        }
    }
}

/// Which streams go by a connection of their own.
fn groups(config: &Config) -> Vec<LinkScope> {
    let mut rest = LinkScope::QUOTE.with(LinkScope::TRADE).with(LinkScope::TICKER);
    if config.symbols.iter().any(|symbol| symbol.klines) {
        rest = rest.with(LinkScope::KLINE);
    }
    if config.binance.separate_depth_connection {
        vec![LinkScope::DEPTH, rest]
    } else {
        vec![LinkScope::DEPTH.with(rest)]
    }
}

/// Stamps, numbers, logs and hands on.
struct Outlet<O, T, L> {
    sequencer: Sequencer,
    stages: Stages<O>,
    log: Option<L>,
    time: T,
    notices: Vec<Notice>,
    counters: IngestCounters,
}

impl<O: Observer + Send + 'static, T: Time, L: InputLog> Outlet<O, T, L> {
    /// Whether a message of that size would be taken now.
    fn has_room(&self, bytes: usize) -> bool {
        self.stages.has_room(bytes)
    }

    /// Stamps an input, logs it and hands it on; where the stages are behind it waits for them.
    fn put(&mut self, ts_kernel: Nanos, input: impl FnOnce(Stamp) -> Input<'static>) {
        let stamp = self.stamp(ts_kernel);
        self.hand_on(&input(stamp));
    }

    fn stamp(&mut self, ts_kernel: Nanos) -> Stamp {
        let now = self.time.now();
        if let Some(input) = self.sequencer.break_before(now) {
            self.hand_on(&input);
        }
        self.sequencer.stamp(now, ts_kernel)
    }

    fn hand_on(&mut self, input: &Input<'_>) {
        self.counters.inputs += 1;
        if let Some(log) = &mut self.log {
            log.log(input);
        }
        let notices = &mut self.notices;
        let mut waiter = Waiter::new(Idle::Yield);
        while self.stages.try_input(input, |notice| notices.push(notice)).is_err() {
            if self.stages.is_broken() {
                return;
            }
            waiter.wait();
        }
    }

    /// Lets the stages fold the timers that are due.
    fn tick(&mut self) {
        let now = self.time.now();
        if let Some(input) = self.sequencer.break_before(now) {
            self.hand_on(&input);
        }
        if let Some(g) = self.sequencer.watermark(now) {
            let mut waiter = Waiter::new(Idle::Yield);
            while self.stages.try_watermark(g).is_err() && !self.stages.is_broken() {
                waiter.wait();
            }
        }
    }
}

/// The loop's state.
pub struct Ingest<O, W: Outside> {
    outside: W,
    outlet: Outlet<O, W::Time, W::Log>,
    symbols: Vec<Symbol>,
    links: Vec<Link<W::Line>>,
    snapshots: Vec<Snapshot>,
    bounds: Vec<(SymbolIndex, Vec<u8>)>,
    klines: Vec<Klines>,
    trades: Vec<Trades>,
    /// Streams that the fold calls stalled.
    renewals: Vec<(SymbolIndex, LinkScope)>,
    tickers: Vec<DayTicker>,
    websocket_url: String,
    rest_url: String,
    idle: Idle,
    stop: Arc<AtomicBool>,
    next_request: u64,
    next_time: Nanos,
    wall_clock: WallClock,
    exchange_info: ExchangeInfo,
}

/// How the loop ended.
#[derive(Debug)]
pub struct Ended<O, W: Outside> {
    /// The stages, taken apart.
    pub finished: Finished<O>,
    /// What was counted.
    pub counters: IngestCounters,
    /// What became of models' outputs.
    pub models: Vec<ModelReport>,
    /// The log, up to the run's last input.
    pub log: Option<W::Log>,
    /// The world.
    pub outside: W,
}

impl<O, W: Outside> fmt::Debug for Ingest<O, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingest").field("symbols", &self.symbols).finish_non_exhaustive()
    }
}

impl<O: Observer + Send + 'static, W: Outside> Ingest<O, W> {
    /// Ingest before its first turn.
    #[must_use]
    pub fn new(parts: Parts<O, W>) -> Self {
        let World { outside, time, log } = parts.world;
        let now = time.now();
        let backoff = |number: u64| Backoff::new(parts.backoff, parts.seed.wrapping_add(number));
        let symbol_count = parts.symbols.len();
        let side = |number| Side {
            line: None,
            is_connecting: false,
            retry_at: None,
            backoff: backoff(number),
        };
        let links = (0..).zip(parts.plans).map(|(at, plan)| Link {
            all_symbols: plan.symbols.len() == symbol_count,
            plan,
            sides: [side(2 * at), side(2 * at + 1)],
            renewal: Renewal::new(parts.renewal),
        });
        let snapshots = (0u64..).take(symbol_count).map(|number| Snapshot {
            wanted: None,
            asked: None,
            last: None,
            retry_at: None,
            backoff: backoff(1_000 + number),
        });
        let klines = (0u64..).take(symbol_count).map(|number| Klines {
            wanted: None,
            asked: None,
            last: None,
            retry_at: None,
            backoff: backoff(2_000_000 + number),
        });
        let trades = (0u64..).take(symbol_count).map(|number| Trades {
            wanted: None,
            asked: None,
            last: None,
            failures: 0,
            retry_at: None,
            backoff: backoff(4_000_000 + number),
        });
        let tickers = (0u64..).take(symbol_count).map(|number| DayTicker {
            wanted: false,
            asked: false,
            not_before: None,
            backoff: backoff(3_000_000 + number),
        });
        Self {
            links: links.collect(),
            snapshots: snapshots.collect(),
            klines: klines.collect(),
            trades: trades.collect(),
            renewals: Vec::with_capacity(symbol_count),
            tickers: tickers.collect(),
            bounds: parts.bounds,
            outside,
            outlet: Outlet {
                sequencer: Sequencer::default(),
                stages: parts.stages,
                log,
                time,
                notices: Vec::with_capacity(64),
                counters: IngestCounters::default(),
            },
            symbols: parts.symbols,
            websocket_url: parts.websocket_url,
            rest_url: parts.rest_url,
            idle: parts.idle,
            stop: parts.stop,
            next_request: 0,
            next_time: now,
            wall_clock: WallClock::new(now),
            exchange_info: ExchangeInfo::new(now),
        }
    }

    /// Runs until the stop flag is set, or a stage or the wait breaks. `check` looks at the venue's
    /// `exchangeInfo` and may end the run.
    ///
    /// # Errors
    /// Those of `check`, and of a wait that fails.
    pub fn run<E: From<io::Error>>(
        mut self,
        mut check: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Ended<O, W>, E> {
        for (symbol, bytes) in std::mem::take(&mut self.bounds) {
            let stamp = self.outlet.stamp(Nanos::UNDEF);
            let input = own_input(stamp, InputKind::Bounds);
            self.outlet.hand_on(&Input { symbol, bytes: &bytes, ..input });
        }
        // The first turn connects and asks: nothing else would end a wait before it.
        let mut timeout = Duration::ZERO;
        while !self.stop.load(Ordering::Relaxed) && !self.outlet.stages.is_broken() {
            if self.spins() {
                self.spin();
            }
            let links = &mut self.links;
            self.outside.wait(timeout, |number| {
                let (at, side) = place_of(usize::from(number));
                let line = links.get_mut(at).and_then(|link| link.sides[side].line.as_mut());
                if let Some(line) = line {
                    line.mark_readable();
                }
            })?;
            // Before the sockets: what a model has said shows in the frame of what comes next.
            self.serve_models();
            self.serve_links();
            while let Some(outcome) = self.outside.next_connected() {
                self.adopt(outcome);
            }
            while let Some(reply) = self.outside.next_reply() {
                self.on_reply(reply);
            }
            if let Some(body) = self.exchange_info.unchecked.take() {
                check(&body)?;
            }
            self.outlet.tick();
            self.look_at_clock();
            self.keep_log();
            self.show_counters();
            self.take_notices();
            self.ask();
            timeout = self.timeout();
        }
        Ok(self.end())
    }

    /// Whether the connections are looked at all the time, on a core of its own: a receive that finds nothing is the
    /// fastest way to ask. The poll then need not know of them, which saves the kernel a call while it hands on what came.
    fn spins(&self) -> bool {
        self.idle == Idle::Spin && self.links.len() <= SPUN_LINKS_MAX
    }

    /// Looks at the connections alone for some turns; all else can wait for some microseconds.
    fn spin(&mut self) {
        for turn in 0..SPUN_TURNS {
            let sides = self.links.iter_mut().flat_map(|link| &mut link.sides);
            let lines = sides.filter_map(|side| side.line.as_mut());
            // All are looked at, not only those up to the first that has something.
            let came = lines.fold(false, |came, line| line.look() | came);
            if came {
                self.serve_links();
            }
            if came || turn % TURNS_A_TICK == 0 {
                self.outlet.tick();
            }
        }
    }

    /// How long the poll may wait: not at all while a socket is left unread or on a core of its own, else
    /// to the next timer or retry.
    fn timeout(&self) -> Duration {
        let sides = || self.links.iter().flat_map(|link| &link.sides);
        let lines = || sides().filter_map(|side| side.line.as_ref());
        if self.idle == Idle::Spin || lines().any(Line::is_unread) {
            return Duration::ZERO;
        }
        let now = self.outlet.time.now();
        let retries = sides().filter_map(|side| side.retry_at);
        let snapshots = self.snapshots.iter().filter_map(|snapshot| snapshot.retry_at);
        let klines = self.klines.iter().filter_map(|klines| klines.retry_at);
        let tickers = self.tickers.iter().filter_map(DayTicker::due);
        let sends = lines().filter_map(|line| line.next_send_at(now));
        let due = retries
            .chain(snapshots)
            .chain(klines)
            .chain(tickers)
            .chain(sends)
            .chain(self.outlet.sequencer.next_timer())
            .chain(self.outside.next_model_turn())
            .min();
        let wait = due.map_or(Nanos::SECOND.0, |due| (due.0 - now.0).clamp(0, Nanos::SECOND.0));
        Duration::from_nanos(wait.unsigned_abs())
    }

    fn serve_models(&mut self) {
        let outlet = &mut self.outlet;
        let now = outlet.time.now();
        self.outside.serve_models(now, |symbol, model, output| {
            let stamp = outlet.stamp(Nanos::UNDEF);
            outlet.hand_on(&Input {
                stamp,
                kind: InputKind::Model,
                symbol,
                connection: 0,
                aux: u32::from(model.0),
                ts_aux: output.ts_model,
                bytes: output.as_bytes(),
            });
            outlet.has_room(MODEL_OUTPUT_SIZE_BYTES)
        });
    }

    /// What parse found for us, and what the fold needs.
    fn take_notices(&mut self) {
        let Outlet { stages, notices, .. } = &mut self.outlet;
        let (snapshots, klines, tickers) =
            (&mut self.snapshots, &mut self.klines, &mut self.tickers);
        let (trades, renewals) = (&mut self.trades, &mut self.renewals);
        stages.take_notices(
            |notice| notices.push(notice),
            |symbol, wanted| match wanted {
                Wanted::Snapshot(wanted) => {
                    if let Some(snapshot) = snapshots.get_mut(symbol.at()) {
                        snapshot.wanted = Some(wanted);
                    }
                }
                Wanted::Klines(wanted) => {
                    if let Some(klines) = klines.get_mut(symbol.at()) {
                        klines.wanted = Some(wanted);
                    }
                }
                Wanted::Trades(wanted) => {
                    if let Some(trades) = trades.get_mut(symbol.at()) {
                        trades.wanted = Some(wanted);
                    }
                }
                Wanted::Renewal(scope) => renewals.push((symbol, scope)),
                Wanted::Ticker => {
                    if let Some(ticker) = tickers.get_mut(symbol.at()) {
                        ticker.wanted = true;
                    }
                }
            },
        );
        while let Some((symbol, scope)) = self.renewals.pop() {
            self.renew(symbol, scope);
        }
        let mut notices = std::mem::take(&mut self.outlet.notices);
        for notice in notices.drain(..) {
            self.on_notice(&notice);
        }
        self.outlet.notices = notices;
    }

    fn on_notice(&mut self, notice: &Notice) {
        let counters = &mut self.outlet.counters;
        match notice.outcome {
            Ok(Decoded::ServerShutdown { .. }) => {
                counters.server_shutdowns += 1;
                let (at, side) = place_of(usize::from(notice.connection));
                if let Some(link) = self.links.get_mut(at) {
                    link.renewal.doom(side);
                }
            }
            Ok(Decoded::Refused { code, .. }) => {
                counters.refusals += 1;
                tracing::warn!(code, "the venue refused a request");
                self.retry_what(notice);
            }
            Err(error) => {
                counters.malformed += 1;
                if notice.kind != InputKind::Text {
                    tracing::warn!("{}: {error}", describe(notice.kind));
                }
                self.retry_what(notice);
            }
            Ok(
                Decoded::Events(_)
                | Decoded::Ack { .. }
                | Decoded::UnknownEvent
                | Decoded::UnknownSymbol,
            ) => {}
        }
    }

    fn look_at_clock(&mut self) {
        let time = &self.outlet.time;
        let Some(wall) = self.wall_clock.look(time.now(), || time.wall_offset()) else { return };
        self.outlet.counters.clock_steps += u64::from(wall.is_step);
        self.outlet.put(Nanos::UNDEF, |stamp| Input {
            ts_aux: wall.offset,
            ..own_input(stamp, InputKind::ClockStep)
        });
    }

    fn keep_log(&mut self) {
        let now = self.outlet.time.now();
        let Some(log) = &mut self.outlet.log else { return };
        log.flush_pending();
        if let Some(lost) = log.lost_due(now) {
            let inputs = Nanos(i64::try_from(lost).unwrap_or(i64::MAX));
            self.outlet.put(Nanos::UNDEF, |stamp| Input {
                ts_aux: inputs,
                ..own_input(stamp, InputKind::LogLost)
            });
        }
        if self.outlet.log.as_ref().is_some_and(|log| log.wants_checkpoint(now)) {
            self.outlet.put(Nanos::UNDEF, |stamp| own_input(stamp, InputKind::Checkpoint));
        }
    }

    fn show_counters(&mut self) {
        let Outlet { time, counters, log, .. } = &self.outlet;
        self.outside.show_counters(time.now(), counters, log.as_ref());
    }

    fn end(mut self) -> Ended<O, W> {
        let now = self.outlet.time.now();
        for side in self.links.iter_mut().flat_map(|link| &mut link.sides) {
            if let Some(line) = &mut side.line {
                line.close(now, 1000);
            }
        }
        self.outside.close();
        self.outlet.put(Nanos::UNDEF, |stamp| own_input(stamp, InputKind::Stop));
        let models = self.outside.model_reports();
        let Outlet { stages, mut log, counters, .. } = self.outlet;
        if let Some(log) = &mut log {
            // The rest is written when the log is finished.
            log.flush_pending();
        }
        Ended { finished: stages.finish(), counters, models, log, outside: self.outside }
    }
}

fn describe(kind: InputKind) -> &'static str {
    match kind {
        InputKind::RestDepth => "depth snapshot",
        InputKind::RestKlines => "klines",
        InputKind::RestTicker => "24 h ticker",
        InputKind::RestTrades => "past trades",
        InputKind::RestTime => "server time",
        InputKind::RestExchangeInfo => "exchangeInfo",
        _ => "message",
    }
}
