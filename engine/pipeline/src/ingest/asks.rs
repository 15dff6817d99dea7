//! What is asked over REST, and asked again where no answer comes.

use cobring_market::{
    BACKFILL_ATTEMPTS_MAX, CHECK_LEVELS, KlinesWanted, SnapshotWanted, TradesWanted,
};
use cobring_types::{Input, InputKind, Nanos, SymbolIndex, TradeStream};
use cobring_venue::binance;

use super::{Ingest, Outside, Time as _};
use crate::fold::Observer;
use crate::net::{Backoff, RestPriority, RestReply, RestRequest};
use crate::sequencer::own_input;
use crate::stages::Notice;

/// The venue's clock is asked for this often.
const TIME_INTERVAL: Nanos = Nanos(60 * Nanos::SECOND.0);
/// The venue's word on its instruments is asked for this often.
const EXCHANGE_INFO_INTERVAL: Nanos = Nanos(600 * Nanos::SECOND.0);
/// And this soon again where a symbol has fallen silent, for it may be halted, and while one is halted.
const EXCHANGE_INFO_PAUSE: Nanos = Nanos(10 * Nanos::SECOND.0);
/// Bit of `aux` of a snapshot request that is for a background re-sync.
const BACKGROUND: u32 = 1 << 31;
/// Bit of `aux` of a request for trades by the ids of aggregates.
const AGGREGATES: u32 = 1 << 31;

/// The snapshot of a symbol on its way.
pub(super) struct Snapshot {
    pub(super) wanted: Option<SnapshotWanted>,
    /// Asked for and not answered yet.
    pub(super) asked: Option<SnapshotWanted>,
    /// What the last answer was to.
    pub(super) last: Option<SnapshotWanted>,
    pub(super) retry_at: Option<Nanos>,
    pub(super) backoff: Backoff,
}

impl Snapshot {
    /// The answer is on its way to the fold; where it turns out to say nothing, the same is asked again.
    fn answered(&mut self) {
        self.last = self.asked.take();
    }
}

/// Klines of a symbol on their way.
pub(super) struct Klines {
    pub(super) wanted: Option<KlinesWanted>,
    /// Asked for and not answered yet.
    pub(super) asked: Option<KlinesWanted>,
    /// What the last answer was to.
    pub(super) last: Option<KlinesWanted>,
    /// Not answered: to be asked for again then.
    pub(super) retry_at: Option<Nanos>,
    pub(super) backoff: Backoff,
}

/// Missed trades of a symbol on their way.
pub(super) struct Trades {
    pub(super) wanted: Option<TradesWanted>,
    /// Asked for and not answered yet.
    pub(super) asked: Option<TradesWanted>,
    /// What the last answer was to.
    pub(super) last: Option<TradesWanted>,
    /// Times that the same was not answered. The fold counts them too, and gives up before we do.
    pub(super) failures: u32,
    /// Not answered: to be asked for again then.
    pub(super) retry_at: Option<Nanos>,
    pub(super) backoff: Backoff,
}

/// The 24 h ticker of a symbol on its way. Where it does not come, the fold wants it again.
pub(super) struct DayTicker {
    pub(super) wanted: bool,
    /// Asked for and not answered yet.
    pub(super) asked: bool,
    /// After a failure: not to be asked for before.
    pub(super) not_before: Option<Nanos>,
    pub(super) backoff: Backoff,
}

impl DayTicker {
    /// When it is to be asked for, where it may not be at once.
    pub(super) fn due(&self) -> Option<Nanos> {
        self.not_before.filter(|_| self.wanted && !self.asked)
    }
}

/// The venue's word on its instruments.
pub(super) struct ExchangeInfo {
    next: Nanos,
    asked_at: Option<Nanos>,
    /// Whether the last one said that a symbol is halted.
    is_any_halted: bool,
    /// The last one, until its tick sizes are looked at.
    pub(super) unchecked: Option<Vec<u8>>,
}

impl ExchangeInfo {
    /// To be asked at once.
    pub(super) const fn new(now: Nanos) -> Self {
        Self { next: now, asked_at: None, is_any_halted: false, unchecked: None }
    }

    fn asked(&mut self, now: Nanos) {
        self.asked_at = Some(now);
        self.next = Nanos(now.0 + EXCHANGE_INFO_INTERVAL.0);
    }

    /// To be asked as soon as it may be.
    fn hurry(&mut self, now: Nanos) {
        let soon = self.asked_at.map_or(now, |at| now.max(Nanos(at.0 + EXCHANGE_INFO_PAUSE.0)));
        self.next = self.next.min(soon);
    }

    /// Takes the answer; without one, what the last one said is still to be asked about.
    fn answered(&mut self, now: Nanos, is_any_halted: Option<bool>) {
        self.is_any_halted = is_any_halted.unwrap_or(self.is_any_halted);
        // Trading goes on without a word on the streams.
        if self.is_any_halted {
            self.hurry(now);
        }
    }

    /// Asked again and again it must not keep snapshots waiting, whose weight is more than ten times its own.
    const fn priority(&self) -> RestPriority {
        if self.is_any_halted { RestPriority::Background } else { RestPriority::Urgent }
    }
}

impl<O: Observer + Send + 'static, W: Outside> Ingest<O, W> {
    pub(super) fn on_reply(&mut self, reply: RestReply) {
        let RestReply { request, status, ts_sent, body, error, .. } = reply;
        let now = self.outlet.time.now();
        if let Some(error) = &error {
            tracing::warn!(url = request.url, status, "{error}");
        }
        match request.kind {
            InputKind::RestDepth => {
                if error.is_some() {
                    return self.retry_snapshot(request.symbol, now);
                }
                self.snapshots[request.symbol.at()].answered();
            }
            InputKind::RestKlines => {
                if error.is_some() {
                    return self.retry_klines(request.symbol, now);
                }
                let klines = &mut self.klines[request.symbol.at()];
                klines.last = klines.asked.take();
            }
            InputKind::RestTrades => {
                if error.is_some() {
                    return self.retry_trades(request.symbol, now);
                }
                let trades = &mut self.trades[request.symbol.at()];
                trades.last = trades.asked.take();
            }
            InputKind::RestTicker => {
                self.tickers[request.symbol.at()].asked = false;
                if error.is_some() {
                    return self.pause_ticker(request.symbol, now);
                }
            }
            InputKind::RestExchangeInfo => {
                let is_any_halted = error
                    .is_none()
                    .then(|| binance::is_any_halted_in_exchange_info(&body, &self.symbols))
                    .flatten();
                self.exchange_info.answered(now, is_any_halted);
                if error.is_some() {
                    return;
                }
                self.exchange_info.unchecked = Some(body.clone());
            }
            _ if error.is_some() => return,
            _ => {}
        }
        let stamp = self.outlet.stamp(Nanos::UNDEF);
        self.outlet.hand_on(&Input {
            stamp,
            kind: request.kind,
            symbol: request.symbol,
            connection: 0,
            aux: request.aux,
            ts_aux: ts_sent,
            bytes: &body,
        });
    }

    pub(super) fn retry_snapshot(&mut self, symbol: SymbolIndex, now: Nanos) {
        self.outlet.counters.snapshots_failed += 1;
        let Some(snapshot) = self.snapshots.get_mut(symbol.at()) else { return };
        // Without an answer what was asked is still wanted, unless the fold has changed its mind.
        snapshot.wanted = snapshot.wanted.or(snapshot.asked.take()).or(snapshot.last);
        let delay = snapshot.backoff.on_failure();
        snapshot.retry_at = Some(Nanos(now.0 + delay.0));
    }

    /// Without an answer what was asked is asked again, unless the fold has changed its mind.
    pub(super) fn retry_klines(&mut self, symbol: SymbolIndex, now: Nanos) {
        self.outlet.counters.klines_failed += 1;
        let Some(klines) = self.klines.get_mut(symbol.at()) else { return };
        klines.last = klines.asked.take().or(klines.last);
        let delay = klines.backoff.on_failure();
        klines.retry_at = Some(Nanos(now.0 + delay.0));
    }

    /// Without an answer what was asked is asked again, a bounded number of times.
    fn retry_trades(&mut self, symbol: SymbolIndex, now: Nanos) {
        self.outlet.counters.trades_failed += 1;
        let Some(trades) = self.trades.get_mut(symbol.at()) else { return };
        trades.failures += 1;
        let last = trades.asked.take().or(trades.last);
        trades.last = last.filter(|_| trades.failures <= BACKFILL_ATTEMPTS_MAX);
        let delay = trades.backoff.on_failure();
        trades.retry_at = Some(Nanos(now.0 + delay.0));
    }

    /// There was no answer, or none that says anything: the next one waits.
    fn pause_ticker(&mut self, symbol: SymbolIndex, now: Nanos) {
        self.outlet.counters.tickers_failed += 1;
        let Some(ticker) = self.tickers.get_mut(symbol.at()) else { return };
        let delay = ticker.backoff.on_failure();
        ticker.not_before = Some(Nanos(now.0 + delay.0));
    }

    /// An answer that says nothing leaves a book or bars without: ask again.
    pub(super) fn retry_what(&mut self, notice: &Notice) {
        let now = self.outlet.time.now();
        match notice.kind {
            InputKind::RestDepth => self.retry_snapshot(notice.symbol, now),
            InputKind::RestKlines => self.retry_klines(notice.symbol, now),
            InputKind::RestTrades => self.retry_trades(notice.symbol, now),
            InputKind::RestTicker => self.pause_ticker(notice.symbol, now),
            _ => {}
        }
    }

    /// Asks the venue what is due.
    pub(super) fn ask(&mut self) {
        let now = self.outlet.time.now();
        // One request at a time for all symbols: many that wait for the budget would keep snapshots out of the queue.
        let mut trades_may_go = self.trades.iter().all(|trades| trades.asked.is_none());
        for at in 0..self.snapshots.len() {
            self.ask_snapshot(at, now);
            self.ask_klines(at, now);
            trades_may_go = trades_may_go && !self.ask_trades(at, now);
            self.ask_ticker(at, now);
        }
        if self.next_time <= now {
            self.next_time = Nanos(now.0 + TIME_INTERVAL.0);
            self.request(
                InputKind::RestTime,
                RestPriority::Urgent,
                SymbolIndex::NONE,
                0,
                binance::time_request(),
            );
        }
        if self.exchange_info.next <= now {
            self.exchange_info.asked(now);
            let request = binance::exchange_info_request(&self.symbols);
            let priority = self.exchange_info.priority();
            self.request(InputKind::RestExchangeInfo, priority, SymbolIndex::NONE, 0, request);
        }
    }

    pub(super) fn ask_snapshot(&mut self, at: usize, now: Nanos) {
        let snapshot = &mut self.snapshots[at];
        let Some(wanted) = snapshot.wanted else { return };
        if snapshot.asked.is_some() || snapshot.retry_at.is_some_and(|retry_at| now < retry_at) {
            return;
        }
        let symbol = symbol_index(at);
        let request = binance::depth_request(&self.symbols[at], wanted.limit);
        let priority = if wanted.background { RestPriority::Background } else { RestPriority::Gap };
        if !self.request(InputKind::RestDepth, priority, symbol, wanted.limit, request) {
            return;
        }
        let snapshot = &mut self.snapshots[at];
        snapshot.asked = snapshot.wanted.take();
        snapshot.retry_at = None;
        self.outlet.counters.snapshots_requested += 1;
        if wanted.limit == CHECK_LEVELS {
            self.exchange_info.hurry(now);
        }
        let aux = wanted.limit | if wanted.background { BACKGROUND } else { 0 };
        self.outlet.put(Nanos::UNDEF, |stamp| Input {
            symbol,
            aux,
            ..own_input(stamp, InputKind::SnapshotRequested)
        });
    }

    pub(super) fn ask_klines(&mut self, at: usize, now: Nanos) {
        let klines = &mut self.klines[at];
        let again = klines.retry_at.is_some();
        let Some(wanted) = klines.wanted.or(klines.last.filter(|_| again)) else { return };
        if klines.asked.is_some() || klines.retry_at.is_some_and(|retry_at| now < retry_at) {
            return;
        }
        let symbol = symbol_index(at);
        let KlinesWanted { interval, start, limit } = wanted;
        let request = binance::klines_request(&self.symbols[at], interval, start, limit);
        let place = u32::try_from(interval.at()).expect("invariant: four intervals");
        let priority = RestPriority::Background;
        if !self.request(InputKind::RestKlines, priority, symbol, place, request) {
            return;
        }
        let klines = &mut self.klines[at];
        let is_new = klines.wanted.take().is_some();
        klines.asked = Some(wanted);
        klines.retry_at = None;
        self.outlet.counters.klines_requested += 1;
        // Asked again, it is the same request to the fold.
        if is_new {
            self.outlet.put(Nanos::UNDEF, |stamp| Input {
                symbol,
                aux: place << 16 | limit,
                ts_aux: start,
                ..own_input(stamp, InputKind::KlinesRequested)
            });
        }
    }

    /// Whether it was asked.
    fn ask_trades(&mut self, at: usize, now: Nanos) -> bool {
        let trades = &mut self.trades[at];
        if trades.retry_at.is_some_and(|retry_at| now < retry_at) {
            return false;
        }
        let again = trades.last.filter(|_| trades.retry_at.is_some());
        let Some(wanted) = trades.wanted.or(again) else { return false };
        let symbol = symbol_index(at);
        let TradesWanted { stream, first_id, limit } = wanted;
        let request = binance::trades_request(&self.symbols[at], stream, first_id, limit);
        let is_agg = stream == TradeStream::AggTrade;
        let (priority, aux) = (RestPriority::History, u32::from(is_agg));
        if !self.request(InputKind::RestTrades, priority, symbol, aux, request) {
            return false;
        }
        let trades = &mut self.trades[at];
        if trades.wanted.take().is_some() {
            trades.failures = 0;
        }
        trades.asked = Some(wanted);
        trades.retry_at = None;
        self.outlet.counters.trades_requested += 1;
        // Each time: the fold counts how often it gets nothing.
        self.outlet.put(Nanos::UNDEF, |stamp| Input {
            symbol,
            aux: limit | if is_agg { AGGREGATES } else { 0 },
            ts_aux: Nanos(i64::try_from(first_id).unwrap_or(i64::MAX)),
            ..own_input(stamp, InputKind::TradesRequested)
        });
        true
    }

    fn ask_ticker(&mut self, at: usize, now: Nanos) {
        let ticker = &self.tickers[at];
        if !ticker.wanted || ticker.asked || ticker.not_before.is_some_and(|time| now < time) {
            return;
        }
        let symbol = symbol_index(at);
        let request = binance::ticker_request(&self.symbols[at]);
        if !self.request(InputKind::RestTicker, RestPriority::Background, symbol, 0, request) {
            return;
        }
        let ticker = &mut self.tickers[at];
        ticker.wanted = false;
        ticker.asked = true;
        ticker.not_before = None;
        self.outlet.counters.tickers_requested += 1;
        self.outlet.put(Nanos::UNDEF, |stamp| Input {
            symbol,
            ..own_input(stamp, InputKind::TickerRequested)
        });
    }

    pub(super) fn request(
        &mut self,
        kind: InputKind,
        priority: RestPriority,
        symbol: SymbolIndex,
        aux: u32,
        request: binance::RestRequest,
    ) -> bool {
        self.next_request += 1;
        let request = RestRequest {
            id: self.next_request,
            kind,
            priority,
            symbol,
            aux,
            url: format!("{}{}", self.rest_url, request.path),
            weight: request.weight,
            not_before: Nanos(i64::MIN),
        };
        self.outside.ask(request).is_ok()
    }
}

fn symbol_index(at: usize) -> SymbolIndex {
    SymbolIndex(u16::try_from(at).expect("invariant: symbols are counted in 16 bits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: i64) -> Nanos {
        Nanos(seconds * Nanos::SECOND.0)
    }

    #[test]
    fn exchange_info_is_asked_each_ten_minutes_and_soon_where_a_symbol_is_silent() {
        let mut info = ExchangeInfo::new(seconds(100));
        assert_eq!((info.next, info.priority()), (seconds(100), RestPriority::Urgent));
        info.asked(seconds(100));
        info.answered(seconds(101), Some(false));
        assert_eq!(info.next, seconds(700));
        info.hurry(seconds(103));
        assert_eq!(info.next, seconds(110));
        info.hurry(seconds(105));
        assert_eq!(info.next, seconds(110));
        info.asked(seconds(110));
        info.hurry(seconds(400));
        assert_eq!((info.next, info.priority()), (seconds(400), RestPriority::Urgent));
    }

    #[test]
    fn exchange_info_is_asked_each_ten_seconds_while_a_symbol_is_halted() {
        let mut info = ExchangeInfo::new(seconds(0));
        info.asked(seconds(0));
        info.answered(seconds(1), Some(true));
        assert_eq!((info.next, info.priority()), (seconds(10), RestPriority::Background));
        // Neither an answer that is late nor one that fails is the last one.
        info.asked(seconds(10));
        assert_eq!(info.next, seconds(610));
        info.answered(seconds(75), Some(true));
        assert_eq!(info.next, seconds(75));
        info.asked(seconds(75));
        info.answered(seconds(76), None);
        assert_eq!((info.next, info.priority()), (seconds(85), RestPriority::Background));
        info.asked(seconds(85));
        info.answered(seconds(86), Some(false));
        assert_eq!((info.next, info.priority()), (seconds(685), RestPriority::Urgent));
    }
}
