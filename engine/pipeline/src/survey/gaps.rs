//! What a log does not hold or could not prove: times without a link, books that were not live, trades that never came,
//! inputs that the log lost, suspends.
//!
//! Needs: the files of whole runs, or a first one with a state. Does not: call the time before a book's first
//! snapshot in a run a gap.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use cobring_types::{
    Control, Event, Input, InputKind, LinkScope, Nanos, Ranges, Stamp, Symbol, SymbolIndex, Trade,
};
use serde::Serialize;

use super::ids::MissingIds;
use super::streams::{Missed, Stream, Streams};
use super::verify::{RunFile, files_of, runs_of};
use crate::config::Config;
use crate::fold::{Fold, FoldState, Observer, SymbolFold};
use crate::log::{LogHeader, LogScan, LogStart, Scanned};
use crate::replay::{ReplayError, private_folds};

/// What kind of gap it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GapKind {
    /// No connection carried the streams that `missing` names, of all symbols.
    Link,
    /// The book was not live.
    Book,
    /// Trades did not come.
    Trades,
    /// The log does not hold inputs.
    Log,
    /// The host stood still.
    Suspend,
}

impl GapKind {
    /// As tables spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Book => "book",
            Self::Trades => "trades",
            Self::Log => "log",
            Self::Suspend => "suspend",
        }
    }
}

/// Something that is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Of the run.
    pub epoch: u64,
    /// The symbol; `None` for all of them.
    pub symbol: Option<String>,
    /// What kind it is.
    pub kind: GapKind,
    /// Our clock before it, ns UTC.
    pub from: i64,
    /// Our clock after it; `None` where the run ended in it.
    pub to: Option<i64>,
    /// First missing id.
    pub first_id: Option<u64>,
    /// Last missing id.
    pub last_id: Option<u64>,
    /// Of trades: how many of these ids have not come.
    pub ids_missing: Option<u64>,
    /// What is missing, for people.
    pub missing: String,
    /// What filled it: `snapshot`, `trades` (all of them came), `klines` (their bars are the venue's), `link`, or nothing.
    pub filled_by: Option<&'static str>,
}

impl Gap {
    /// How long it was, where it ended.
    #[must_use]
    pub fn duration(&self) -> Option<Nanos> {
        self.to.map(|to| Nanos(to - self.from))
    }
}

/// Finds the gaps of all runs that `paths` name, run by run and in the order in which they began.
///
/// # Errors
/// [`ReplayError`] where a log cannot be read, its state cannot be restored, or memory cannot be had.
pub fn gaps(
    paths: &[PathBuf],
    mut on_progress: impl FnMut(u64, u64),
) -> Result<Vec<Gap>, ReplayError> {
    let (runs, unreadable) = runs_of(files_of(paths)?);
    if let Some((_, error)) = unreadable.into_iter().next() {
        return Err(error.into());
    }
    let all_bytes = runs.values().flatten().map(|file| file.stored_bytes).sum();
    let mut done_bytes = 0;
    let mut found = Vec::new();
    for files in runs.into_values() {
        let mut run = None;
        for RunFile { path, header, stored_bytes } in files {
            let mut scan = LogScan::open(&path)?;
            let run = match &mut run {
                Some(run) => run,
                none => none.insert(Run::new(&header, scan.start(), &path)?),
            };
            let mut inputs = 0_u64;
            while let Some(scanned) = scan.next()? {
                run.scanned(&scanned);
                inputs += 1;
                if inputs.is_multiple_of(4_096) {
                    on_progress(done_bytes + scan.progress().0, all_bytes);
                }
            }
            done_bytes += stored_bytes;
        }
        found.extend(run.into_iter().flat_map(Run::finish));
    }
    Ok(found)
}

/// Streams as a link's gap names them.
const SCOPES: [(LinkScope, &str); 5] = [
    (LinkScope::DEPTH, "depth"),
    (LinkScope::QUOTE, "bookTicker"),
    (LinkScope::TRADE, "trades"),
    (LinkScope::TICKER, "ticker"),
    (LinkScope::KLINE, "klines"),
];

/// One run, input by input.
struct Run {
    epoch: u64,
    names: Vec<Symbol>,
    streams: Streams,
    fold: Fold<Liveness>,
    next_seq: Option<u64>,
    last_ts: Nanos,
    gaps: Vec<Gap>,
    /// Connections that are up, with what they carry.
    links: BTreeMap<u16, LinkScope>,
    /// Since when each of [`SCOPES`] is carried by none.
    down_since: [Option<Nanos>; SCOPES.len()],
    symbols: Vec<OfSymbol>,
    /// Trades that did not come and may come yet, by place in `gaps`.
    unfilled: Vec<Unfilled>,
}

#[derive(Debug, Clone, Default)]
struct OfSymbol {
    /// Place of the open gap of its book.
    book_gap: Option<usize>,
    last_trade: Option<LastTrade>,
    /// Seconds of the venue that klines told of, the newest last: a bar may come before the ids show a gap in it.
    told: VecDeque<u64>,
}

#[derive(Debug, Clone, Copy)]
struct LastTrade {
    ts_recv: Nanos,
    ts_trade: Nanos,
    last_id: u64,
}

/// Seconds that are remembered as told: the longest that a gap is seen late.
const TOLD_MAX: usize = 3_600;

/// What is left of missing trades.
struct Unfilled {
    gap: usize,
    symbol: SymbolIndex,
    count: u64,
    ids: Ranges,
    /// Seconds of the venue that they may be in.
    seconds: Ranges,
}

impl Run {
    fn new(
        header: &LogHeader,
        start: &LogStart,
        path: &std::path::Path,
    ) -> Result<Self, ReplayError> {
        let other = || ReplayError::OtherSettings { path: path.to_owned() };
        let config = Config::from_fold_text(&header.config).map_err(|_| other())?;
        let mut streams = Streams::new(header).ok_or_else(other)?;
        let symbols = config.symbol_configs();
        let folds = private_folds(&symbols, header.epoch, false)?;
        let mut fold = Fold::new(folds, None, Liveness::default());
        if let Some(checkpoint) = start.checkpoint() {
            fold.restore(checkpoint).map_err(|_| other())?;
        }
        let live = fold.symbols().iter().map(|symbol| symbol.market().is_live()).collect();
        fold.observer_mut().live = live;
        let mut of_symbols = vec![OfSymbol::default(); header.symbols.len()];
        for (at, (of_symbol, symbol)) in (0..).zip(of_symbols.iter_mut().zip(fold.symbols())) {
            // Trades between the state and the first own one are missing too.
            if let Some((last_id, ts_trade)) = symbol.market().last_fill() {
                streams.go_on(SymbolIndex(at), last_id);
                let ts_recv = header.ts_start;
                of_symbol.last_trade = Some(LastTrade { ts_recv, ts_trade, last_id });
            }
        }
        Ok(Self {
            epoch: header.epoch,
            names: header.symbols.clone(),
            streams,
            fold,
            next_seq: None,
            last_ts: header.ts_start,
            gaps: Vec::new(),
            links: BTreeMap::new(),
            down_since: [None; SCOPES.len()],
            symbols: of_symbols,
            unfilled: Vec::new(),
        })
    }

    fn gap(&self, kind: GapKind, symbol: Option<SymbolIndex>, from: Nanos) -> Gap {
        let symbol = symbol.and_then(|symbol| self.names.get(symbol.at()));
        Gap {
            epoch: self.epoch,
            symbol: symbol.map(ToString::to_string),
            kind,
            from: from.0,
            to: None,
            first_id: None,
            last_id: None,
            ids_missing: None,
            missing: String::new(),
            filled_by: None,
        }
    }

    fn scanned(&mut self, scanned: &Scanned<'_>) {
        match scanned {
            Scanned::Input { input, .. } => self.input(input),
            Scanned::UnknownKind { .. } | Scanned::Torn { .. } => {}
            Scanned::Damaged { .. } => {
                let missing = "damaged records".to_owned();
                let (from, to) = (self.last_ts, Some(self.last_ts.0));
                let gap = Gap { missing, to, ..self.gap(GapKind::Log, None, from) };
                self.gaps.push(gap);
            }
        }
    }

    fn input(&mut self, input: &Input<'_>) {
        let now = input.stamp.ts_recv;
        self.own(input, now);
        let Self { streams, fold, .. } = self;
        let (mut missed, mut trades, mut past, mut seconds, mut links) =
            (vec![], vec![], vec![], vec![], vec![]);
        streams.on_input(
            input,
            |found| missed.push(found),
            |symbol, event| {
                match event {
                    Event::Trade(trade) => trades.push((symbol, *trade)),
                    Event::Trades { rows, .. } => {
                        past.extend(rows.iter().map(|row| (symbol, row.first_id, row.last_id)));
                    }
                    Event::Klines { interval, rows, .. } if interval.length() == Nanos::SECOND => {
                        seconds.extend(rows.iter().map(|row| (symbol, second_of(row.open_time))));
                    }
                    Event::Control(Control::LinkUp { connection, scope }) => {
                        links.push((*connection, Some(*scope)));
                    }
                    Event::Control(Control::LinkDown { connection, .. }) => {
                        links.push((*connection, None));
                    }
                    _ => {}
                }
                fold.fold(&Stamp { ts_parsed: Nanos::UNDEF, ..input.stamp }, symbol, event);
            },
        );
        // Timers that are due say more of a book than an input that means nothing.
        if input.kind != InputKind::Break {
            self.fold.advance(now);
        }
        for (connection, scope) in links {
            self.link(now, connection, scope);
        }
        self.books();
        for found in missed {
            self.missed(now, &found, &trades);
        }
        for (symbol, trade) in trades {
            let Trade { ts_trade, first_id, last_id, .. } = trade;
            let last = self.symbols[symbol.at()].last_trade;
            self.symbols[symbol.at()].last_trade =
                Some(LastTrade { ts_recv: now, ts_trade, last_id });
            if last.is_some_and(|last| first_id <= last.last_id) {
                // Late, by another connection.
                past.push((symbol, first_id, last_id));
            }
        }
        for (symbol, first_id, last_id) in past {
            self.fill(symbol, |unfilled| unfilled.ids.remove(first_id, last_id));
        }
        for (symbol, second) in seconds {
            let told = &mut self.symbols[symbol.at()].told;
            told.push_back(second);
            if told.len() > TOLD_MAX {
                told.pop_front();
            }
            self.fill(symbol, |unfilled| unfilled.seconds.remove(second, second));
        }
        self.last_ts = now;
    }

    /// What the log itself tells of.
    fn own(&mut self, input: &Input<'_>, now: Nanos) {
        let input_seq = input.stamp.input_seq;
        let expected = self.next_seq.replace(input_seq.saturating_add(1)).unwrap_or(input_seq);
        let lost = input_seq.saturating_sub(expected);
        let (kind, missing) = match input.kind {
            InputKind::Break => (GapKind::Suspend, "all streams".to_owned()),
            _ if lost > 0 => (GapKind::Log, format!("{lost} inputs")),
            _ => return,
        };
        if lost > 0 {
            // What the lost inputs brought is unknown, not missing in the feed.
            self.streams.on_hole(|_| ());
        }
        let gap = Gap { missing, to: Some(now.0), ..self.gap(kind, None, self.last_ts) };
        self.gaps.push(gap);
    }

    fn link(&mut self, now: Nanos, connection: u16, scope: Option<LinkScope>) {
        let was_up: Vec<bool> = SCOPES.iter().map(|(stream, _)| self.carries(*stream)).collect();
        match scope {
            Some(scope) => self.links.insert(connection, scope),
            None => self.links.remove(&connection),
        };
        let mut ended: BTreeMap<Nanos, Vec<&str>> = BTreeMap::new();
        for (at, (stream, name)) in SCOPES.into_iter().enumerate() {
            match (was_up[at], self.carries(stream)) {
                (true, false) => self.down_since[at] = Some(now),
                (false, true) => {
                    if let Some(since) = self.down_since[at].take() {
                        ended.entry(since).or_default().push(name);
                    }
                }
                _ => {}
            }
        }
        for (since, names) in ended {
            self.link_gap(since, Some(now), &names);
        }
    }

    fn link_gap(&mut self, since: Nanos, to: Option<Nanos>, names: &[&str]) {
        let (missing, to) = (names.join(" "), to.map(|to| to.0));
        let filled_by = to.map(|_| "link");
        let gap = Gap { missing, to, filled_by, ..self.gap(GapKind::Link, None, since) };
        self.gaps.push(gap);
    }

    fn carries(&self, stream: LinkScope) -> bool {
        self.links.values().any(|held| held.carries(stream))
    }

    /// Books that were lost or came back with this input.
    fn books(&mut self) {
        for (at, ts, is_live) in std::mem::take(&mut self.fold.observer_mut().changes) {
            let symbol = SymbolIndex(u16::try_from(at).expect("invariant: symbols have an index"));
            if !is_live {
                let missing = "the book".to_owned();
                let gap = Gap { missing, ..self.gap(GapKind::Book, Some(symbol), ts) };
                self.symbols[at].book_gap = Some(self.gaps.len());
                self.gaps.push(gap);
            } else if let Some(place) = self.symbols[at].book_gap.take() {
                let gap = &mut self.gaps[place];
                (gap.to, gap.filled_by) = (Some(ts.0), Some("snapshot"));
            }
        }
    }

    fn missed(&mut self, now: Nanos, missed: &Missed, trades: &[(SymbolIndex, Trade)]) {
        let Missed { symbol, stream, ids: MissingIds { first, last, .. } } = *missed;
        let count = last - first + 1;
        match stream {
            Stream::Depth => {
                let Some(place) = self.symbols[symbol.at()].book_gap else { return };
                let gap = &mut self.gaps[place];
                gap.first_id.get_or_insert(first);
                gap.last_id = Some(last);
                gap.missing = "the book and the update ids to join it".to_owned();
            }
            Stream::Trades => {
                let before = self.symbols[symbol.at()].last_trade;
                let after = trades.iter().find(|(of, _)| *of == symbol).map(|(_, trade)| trade);
                let from = before.map_or(self.last_ts, |before| before.ts_recv);
                let gap = Gap {
                    to: Some(now.0),
                    first_id: Some(first),
                    last_id: Some(last),
                    ids_missing: Some(count),
                    missing: format!("{count} trades"),
                    ..self.gap(GapKind::Trades, Some(symbol), from)
                };
                let end = second_of(after.map_or(now, |trade| trade.ts_trade));
                let begin = before.map_or(end, |before| second_of(before.ts_trade)).min(end);
                let mut seconds = Ranges::of(begin, end);
                for &told in &self.symbols[symbol.at()].told {
                    seconds.remove(told, told);
                }
                let ids = Ranges::of(first, last);
                let gap_at = self.gaps.len();
                self.unfilled.push(Unfilled { gap: gap_at, symbol, count, ids, seconds });
                self.gaps.push(gap);
                self.fill(symbol, |_| {});
            }
        }
    }

    fn fill(&mut self, symbol: SymbolIndex, take: impl Fn(&mut Unfilled)) {
        let gaps = &mut self.gaps;
        self.unfilled.retain_mut(|unfilled| {
            if unfilled.symbol != symbol {
                return true;
            }
            take(unfilled);
            let (count, left) = (unfilled.count, unfilled.ids.count());
            let gap = &mut gaps[unfilled.gap];
            gap.ids_missing = Some(left);
            gap.filled_by = match (left, unfilled.seconds.is_empty()) {
                (0, _) => Some("trades"),
                (_, true) => Some("klines"),
                _ => None,
            };
            let is_part = left > 0 && left < count;
            let of = if is_part { format!("{left} of ") } else { String::new() };
            gap.missing = format!("{of}{count} trades");
            // Where the bars are whole the trades may come yet.
            left > 0
        });
    }

    fn finish(mut self) -> Vec<Gap> {
        let mut open: BTreeMap<Nanos, Vec<&str>> = BTreeMap::new();
        for (at, (_, name)) in SCOPES.into_iter().enumerate() {
            if let Some(since) = self.down_since[at] {
                open.entry(since).or_default().push(name);
            }
        }
        for (since, names) in open {
            self.link_gap(since, None, &names);
        }
        for unfilled in &self.unfilled {
            let seconds = unfilled.seconds.count();
            if seconds > 0 {
                let missing = &mut self.gaps[unfilled.gap].missing;
                missing.push_str(&format!(", {seconds} s not told by klines"));
            }
        }
        self.gaps.sort_by_key(|gap| (gap.from, gap.kind));
        self.gaps
    }
}

/// Notes when a symbol's book becomes live, or no longer is.
#[derive(Debug, Default)]
struct Liveness {
    live: Vec<bool>,
    changes: Vec<(usize, Nanos, bool)>,
}

impl Observer for Liveness {
    fn after_timer(&mut self, _: Nanos, _: &[SymbolFold]) {}

    fn after_frame(&mut self, at: usize, symbols: &[SymbolFold]) {
        let market = symbols[at].market();
        if self.live[at] != market.is_live() {
            self.live[at] = market.is_live();
            let ts = Nanos(market.image().head().times.ts_recv);
            self.changes.push((at, ts, self.live[at]));
        }
    }

    fn at_checkpoint(&mut self, _: u64, _: FoldState<'_>) {}
}

/// Of the venue's clock.
fn second_of(ts: Nanos) -> u64 {
    u64::try_from(ts.0.div_euclid(Nanos::SECOND.0)).unwrap_or(0)
}
