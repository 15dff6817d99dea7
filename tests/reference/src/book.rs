//! The depth book and the venue's sync rule (FRAME.md, "Book and top"; venues.md section 1).
//! Guarantees: there is a book exactly while the state is live.
//! Does not: request snapshots; a recording holds the answers only.

use crate::decimal::Dec;
use crate::message::{Depth, Level, Nanos, Quote, Snapshot};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(crate) const LEVEL_COUNT: usize = 10;
const SNAPSHOT_LIMITS: [usize; 8] = [5, 10, 20, 50, 100, 500, 1000, 5000];

/// What a line recording can show; `stale` and `halted` are inputs of cobring's own log only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BookState {
    Empty,
    Syncing,
    Live,
    Gapped,
    Crossed,
}

impl BookState {
    pub fn name(self) -> &'static str {
        match self {
            BookState::Empty => "empty",
            BookState::Syncing => "syncing",
            BookState::Live => "live",
            BookState::Gapped => "gapped",
            BookState::Crossed => "crossed",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Book {
    pub bids: BTreeMap<Dec, Dec>,
    pub asks: BTreeMap<Dec, Dec>,
    pub update_id: u64,
    pub bid_known_to: Dec,
    /// None: +inf.
    pub ask_known_to: Option<Dec>,
}

impl Book {
    fn from_snapshot(snapshot: &Snapshot) -> Book {
        let longer = snapshot.bids.len().max(snapshot.asks.len());
        let limit = SNAPSHOT_LIMITS.into_iter().find(|&limit| limit >= longer).unwrap_or(longer);
        let full = |side: &[Level]| side.len() == limit;
        let last_px = |side: &[Level]| side.last().map(|level| level.px);
        let mut book = Book {
            bids: BTreeMap::new(),
            asks: BTreeMap::new(),
            update_id: snapshot.last_update_id,
            bid_known_to: last_px(&snapshot.bids)
                .filter(|_| full(&snapshot.bids))
                .unwrap_or(Dec::ZERO),
            ask_known_to: last_px(&snapshot.asks).filter(|_| full(&snapshot.asks)),
        };
        set_levels(&mut book.bids, &snapshot.bids);
        set_levels(&mut book.asks, &snapshot.asks);
        book
    }

    fn apply(&mut self, event: &Depth) {
        set_levels(&mut self.bids, &event.bids);
        set_levels(&mut self.asks, &event.asks);
        self.update_id = event.last_id;
    }

    pub(crate) fn best_bid(&self) -> Option<Level> {
        self.bids.last_key_value().map(|(&px, &qty)| Level { px, qty })
    }

    pub(crate) fn best_ask(&self) -> Option<Level> {
        self.asks.first_key_value().map(|(&px, &qty)| Level { px, qty })
    }

    /// The best ten of a side: bids, asks.
    pub(crate) fn best_ten(&self) -> [Vec<Level>; 2] {
        let level = |(&px, &qty): (&Dec, &Dec)| Level { px, qty };
        [
            self.bids.iter().rev().take(LEVEL_COUNT).map(level).collect(),
            self.asks.iter().take(LEVEL_COUNT).map(level).collect(),
        ]
    }

    fn is_crossed(&self) -> bool {
        match (self.best_bid(), self.best_ask()) {
            (Some(bid), Some(ask)) => bid.px >= ask.px,
            _ => true,
        }
    }
}

/// Quantities are absolute, 0 removes; removing a level that is not there is normal.
fn set_levels(side: &mut BTreeMap<Dec, Dec>, levels: &[Level]) {
    for level in levels {
        if level.qty == Dec::ZERO {
            side.remove(&level.px);
        } else {
            side.insert(level.px, level.qty);
        }
    }
}

/// A row of the window book_states.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BookRow {
    pub ts_event: Nanos,
    pub ts_recv: Nanos,
    /// None: a gap, there is no book.
    pub update_id: Option<u64>,
    /// Live after the event.
    pub valid: bool,
    bids: Vec<Level>,
    asks: Vec<Level>,
}

impl BookRow {
    /// `levels`: ten of ask_px, ask_qty, bid_px, bid_qty.
    pub(crate) fn json(&self) -> Value {
        let pair = |side: &[Level], index: usize| match side.get(index) {
            Some(level) => [Some(level.px.to_f64()), Some(level.qty.to_f64())],
            None => [None, None],
        };
        let level = |index: usize| [pair(&self.asks, index), pair(&self.bids, index)].concat();
        json!({
            "ts_event": self.ts_event,
            "ts_recv": self.ts_recv,
            "update_id": self.update_id,
            "valid": self.valid,
            "levels": (0..LEVEL_COUNT).map(level).collect::<Vec<_>>(),
        })
    }
}

/// What a snapshot did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SnapshotUse {
    PassedOver,
    /// A second book beside the live one.
    Background,
    /// (Re)starts the book.
    Restart,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BookCounts {
    pub applied: u64,
    pub ignored_old: u64,
    pub gaps: u64,
    pub crossed: u64,
    pub quote_mismatches: u64,
    pub snapshots_passed_over: u64,
    pub restarts: u64,
    pub background_adopted: u64,
    pub background_different: u64,
}

#[derive(Debug)]
pub struct BookSync {
    pub state: BookState,
    book: Option<Book>,
    /// The levels that crossed, while the state is so.
    crossed: Option<Book>,
    /// When the input came that the book was last changed by.
    pub(crate) changed_at: Option<Nanos>,
    /// Events waiting for a snapshot with their receive times, in order of arrival.
    buffer: Vec<(Nanos, Depth)>,
    /// Snapshot newer than the live book.
    pending: Option<Snapshot>,
    /// The window book_states.
    pub(crate) rows: Vec<BookRow>,
    /// From a disagreement with bookTicker to the next live book.
    pub mismatch_unrepaired: bool,
    quotes: BTreeMap<u64, Quote>,
    /// Best levels after each applied event, for the check at the end.
    tops: Vec<(u64, Level, Level)>,
    pub counts: BookCounts,
}

impl Default for BookSync {
    fn default() -> Self {
        BookSync {
            state: BookState::Empty,
            book: None,
            crossed: None,
            changed_at: None,
            buffer: Vec::new(),
            pending: None,
            rows: Vec::new(),
            mismatch_unrepaired: false,
            quotes: BTreeMap::new(),
            tops: Vec::new(),
            counts: BookCounts::default(),
        }
    }
}

impl BookSync {
    /// The book, only while live.
    pub(crate) fn book(&self) -> Option<&Book> {
        self.book.as_ref()
    }

    /// The live book, or the levels that crossed.
    pub(crate) fn shown(&self) -> Option<&Book> {
        self.book.as_ref().or(self.crossed.as_ref().filter(|_| self.state == BookState::Crossed))
    }

    pub(crate) fn on_quote(&mut self, quote: Quote) {
        self.quotes.insert(quote.update_id, quote);
        if self.is_contradicted() {
            self.lose_book_without_event(BookState::Gapped);
        }
    }

    /// Does a bookTicker of the last applied event's update id show other best levels? Whichever came first: ids
    /// are compared, never arrivals.
    fn is_contradicted(&mut self) -> bool {
        let applied = self.tops.last().map(|(update_id, ..)| *update_id);
        let Some(book) = self.book.as_ref().filter(|book| applied == Some(book.update_id)) else {
            return false;
        };
        let Some(quote) = self.quotes.get(&book.update_id) else { return false };
        if (Some(quote.bid), Some(quote.ask)) == (book.best_bid(), book.best_ask()) {
            return false;
        }
        self.counts.quote_mismatches += 1;
        self.mismatch_unrepaired = true;
        true
    }

    pub(crate) fn on_depth(&mut self, ts_recv: Nanos, event: Depth) {
        let Some(book) = &mut self.book else {
            if self.state == BookState::Empty {
                self.state = BookState::Syncing;
            }
            self.buffer.push((ts_recv, event));
            return;
        };
        if event.last_id <= book.update_id {
            self.counts.ignored_old += 1;
            return;
        }
        if event.first_id > book.update_id + 1 {
            self.counts.gaps += 1;
            self.rows.push(BookRow {
                ts_event: event.event_time,
                ts_recv,
                update_id: None,
                valid: false,
                bids: Vec::new(),
                asks: Vec::new(),
            });
            self.lose_book(BookState::Gapped, ts_recv, event);
            return;
        }
        book.apply(&event);
        self.counts.applied += 1;
        self.changed_at = self.changed_at.max(Some(ts_recv));
        self.adopt_pending(&event);
        let lost = self.fault();
        self.add_row(ts_recv, &event, lost.is_none());
        if let Some(state) = lost {
            self.lose_book(state, ts_recv, event);
        }
    }

    fn add_row(&mut self, ts_recv: Nanos, event: &Depth, valid: bool) {
        let Some(book) = &self.book else { return };
        let [bids, asks] = book.best_ten();
        let (ts_event, update_id) = (event.event_time, Some(book.update_id));
        self.rows.push(BookRow { ts_event, ts_recv, update_id, valid, bids, asks });
    }

    pub(crate) fn on_snapshot(&mut self, ts_recv: Nanos, snapshot: Snapshot) -> SnapshotUse {
        let last_update_id = snapshot.last_update_id;
        if let Some(book) = &mut self.book {
            if last_update_id < book.update_id {
                self.counts.snapshots_passed_over += 1;
                return SnapshotUse::PassedOver;
            }
            if last_update_id == book.update_id {
                let second = Book::from_snapshot(&snapshot);
                self.adopt(second);
                if let Some(state) = self.fault() {
                    self.lose_book_without_event(state);
                }
            } else {
                self.pending = Some(snapshot);
            }
            return SnapshotUse::Background;
        }
        let kept_first = self.buffer.iter().find(|(_, event)| event.last_id > last_update_id);
        if kept_first.is_some_and(|(_, event)| event.first_id > last_update_id + 1) {
            self.counts.snapshots_passed_over += 1;
            self.state = BookState::Syncing;
            return SnapshotUse::PassedOver;
        }
        self.counts.restarts += 1;
        self.book = Some(Book::from_snapshot(&snapshot));
        self.changed_at = Some(ts_recv);
        self.state = BookState::Live;
        self.mismatch_unrepaired = false;
        let kept: Vec<(Nanos, Depth)> =
            self.buffer.drain(..).filter(|(_, event)| event.last_id > last_update_id).collect();
        if kept.is_empty() && self.book.as_ref().is_some_and(Book::is_crossed) {
            self.counts.crossed += 1;
            self.lose_book_without_event(BookState::Crossed);
        }
        for (ts_recv, event) in kept {
            self.on_depth(ts_recv, event);
        }
        SnapshotUse::Restart
    }

    /// After an event with `last_id` ≥ lastUpdateId the second book is complete.
    fn adopt_pending(&mut self, event: &Depth) {
        let Some(snapshot) = self.pending.take_if(|s| event.last_id >= s.last_update_id) else {
            return;
        };
        let mut second = Book::from_snapshot(&snapshot);
        if event.last_id > second.update_id {
            second.apply(event);
        }
        self.adopt(second);
    }

    fn adopt(&mut self, second: Book) {
        self.counts.background_adopted += 1;
        if self.book.as_ref().is_some_and(|live| differs_where_both_know(live, &second)) {
            self.counts.background_different += 1;
        }
        self.book = Some(second);
    }

    /// What is wrong with the book after a whole event, as the state that follows.
    fn fault(&mut self) -> Option<BookState> {
        let book = self.book.as_ref()?;
        let (Some(bid), Some(ask)) = (book.best_bid(), book.best_ask()) else {
            self.counts.crossed += 1;
            return Some(BookState::Crossed);
        };
        self.tops.push((book.update_id, bid, ask));
        if bid.px >= ask.px {
            self.counts.crossed += 1;
            return Some(BookState::Crossed);
        }
        self.is_contradicted().then_some(BookState::Gapped)
    }

    fn lose_book(&mut self, state: BookState, ts_recv: Nanos, event: Depth) {
        self.lose_book_without_event(state);
        self.buffer.push((ts_recv, event));
    }

    fn lose_book_without_event(&mut self, state: BookState) {
        self.state = state;
        let lost = self.book.take();
        self.crossed = lost.filter(|_| state == BookState::Crossed);
        self.pending = None;
        self.buffer.clear();
    }

    /// Update ids that an applied event and a bookTicker share (whichever came first), and how many disagree.
    pub fn quote_agreement(&self) -> (u64, u64) {
        let (mut compared, mut disagreeing) = (0, 0);
        for (update_id, bid, ask) in &self.tops {
            if let Some(quote) = self.quotes.get(update_id) {
                compared += 1;
                disagreeing += u64::from((quote.bid, quote.ask) != (*bid, *ask));
            }
        }
        (compared, disagreeing)
    }
}

/// The audit of a background re-sync, over the range that both books know.
fn differs_where_both_know(live: &Book, second: &Book) -> bool {
    let bid_to = live.bid_known_to.max(second.bid_known_to);
    let ask_to = match (live.ask_known_to, second.ask_known_to) {
        (Some(a), Some(b)) => a.min(b),
        (a, b) => a.or(b).unwrap_or(Dec(i128::MAX)),
    };
    live.bids.range(bid_to..).ne(second.bids.range(bid_to..))
        || live.asks.range(..=ask_to).ne(second.asks.range(..=ask_to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(px: i128, qty: i128) -> Level {
        Level { px: Dec(px), qty: Dec(qty) }
    }

    /// `snap 10 5` or `depth 11-12 [b<px>=<qty>|a<px>=<qty>]…` or `quote 12 <bid> <ask>`.
    fn feed(steps: &[&str]) -> BookSync {
        let mut sync = BookSync::default();
        for step in steps {
            let words: Vec<&str> = step.split(' ').collect();
            match words[0] {
                "snap" => {
                    let snapshot = Snapshot {
                        last_update_id: words[1].parse().unwrap(),
                        bids: vec![level(100, 1), level(99, 1)],
                        asks: vec![level(101, 1), level(102, 1)],
                    };
                    sync.on_snapshot(0, snapshot);
                }
                "quote" => sync.on_quote(Quote {
                    update_id: words[1].parse().unwrap(),
                    bid: level(words[2].parse().unwrap(), 1),
                    ask: level(words[3].parse().unwrap(), 1),
                }),
                _ => {
                    let (first, last) = words[1].split_once('-').unwrap();
                    let side = |letter: char| {
                        let parse = |word: &&str| {
                            let (px, qty) = word.strip_prefix(letter)?.split_once('=').unwrap();
                            Some(level(px.parse().unwrap(), qty.parse().unwrap()))
                        };
                        words[2..].iter().filter_map(parse).collect()
                    };
                    let event = Depth {
                        event_time: 0,
                        first_id: first.parse().unwrap(),
                        last_id: last.parse().unwrap(),
                        bids: side('b'),
                        asks: side('a'),
                    };
                    sync.on_depth(0, event);
                }
            }
        }
        sync
    }

    fn check(steps: &[&str], expected: &str) {
        let sync = feed(steps);
        let book = sync.book().map_or_else(String::new, |book| {
            let px = |level: Option<Level>| level.unwrap().px.0;
            format!(" {} {}/{}", book.update_id, px(book.best_bid()), px(book.best_ask()))
        });
        let rows: String = sync.rows.iter().map(|row| if row.valid { '+' } else { '-' }).collect();
        assert_eq!(format!("{}{book} {rows}", sync.state.name()), expected, "{steps:?}");
    }

    #[test]
    fn the_sync_rule_holds() {
        check(&[], "empty ");
        check(&["depth 5-6"], "syncing ");
        check(&["snap 10"], "live 10 100/101 ");
        check(&["depth 8-10", "depth 11-12 b100=0", "snap 10"], "live 12 99/101 +");
        check(&["depth 9-12 b100=0", "snap 10"], "live 12 99/101 +");
        check(&["depth 12-13", "snap 10"], "syncing ");
        check(&["depth 12-13", "snap 10", "snap 11"], "live 13 100/101 +");
        check(&["snap 10", "depth 9-10 b100=0"], "live 10 100/101 ");
    }

    #[test]
    fn a_gap_loses_the_book_until_a_snapshot() {
        let gap = ["snap 10", "depth 11-11", "depth 13-14 b100=0"];
        check(&gap, "gapped +-");
        check(&[gap.as_slice(), &["depth 15-15"]].concat(), "gapped +-");
        check(&[gap.as_slice(), &["depth 15-15", "snap 11"]].concat(), "syncing +-");
        check(&[gap.as_slice(), &["depth 15-15", "snap 12"]].concat(), "live 15 99/101 +-++");
        let in_buffer = ["depth 11-11", "depth 13-13 b100=0", "depth 14-14", "snap 10"];
        check(&in_buffer, "gapped +-");
        check(&[in_buffer.as_slice(), &["snap 12"]].concat(), "live 14 99/101 +-++");
    }

    #[test]
    fn a_crossed_or_contradicted_book_is_lost() {
        check(&["snap 10", "depth 11-11 b101=1"], "crossed -");
        check(&["snap 10", "depth 11-11 a101=0 a102=0"], "crossed -");
        check(&["snap 10", "depth 11-11 b101=1", "snap 11"], "live 11 100/101 -");
        check(&["snap 10", "quote 11 100 101", "depth 11-11"], "live 11 100/101 +");
        check(&["snap 10", "quote 11 99 101", "depth 11-11"], "gapped -");
        assert!(feed(&["snap 10", "quote 11 99 101", "depth 11-11"]).mismatch_unrepaired);
        let late = feed(&["snap 10", "depth 11-11", "quote 11 99 101"]);
        assert_eq!((late.state, late.quote_agreement()), (BookState::Gapped, (1, 1)));
        check(&["snap 10", "depth 11-11", "quote 11 99 101", "depth 12-12"], "gapped +");
        check(&["snap 10", "depth 11-11", "depth 12-12", "quote 11 99 101"], "live 12 100/101 ++");
        check(&["snap 10", "quote 10 99 101"], "live 10 100/101 ");
        let crossed = feed(&["snap 10", "depth 11-11 b101=1"]);
        assert_eq!(crossed.shown().unwrap().best_bid(), crossed.shown().unwrap().best_ask());
    }

    #[test]
    fn a_newer_snapshot_is_adopted_after_the_event_that_straddles_it() {
        let live = ["snap 10", "depth 11-11 b100=0 b90=1"];
        check(&[live.as_slice(), &["snap 10"]].concat(), "live 11 99/101 +");
        check(&[live.as_slice(), &["snap 11"]].concat(), "live 11 100/101 +");
        check(&[live.as_slice(), &["snap 14"]].concat(), "live 11 99/101 +");
        check(&[live.as_slice(), &["snap 14", "depth 12-13"]].concat(), "live 13 99/101 ++");
        check(&[live.as_slice(), &["snap 14", "depth 12-14"]].concat(), "live 14 100/101 ++");
        check(&[live.as_slice(), &["snap 14", "depth 12-15 b100=0"]].concat(), "live 15 99/101 ++");
        let adopted = feed(&[live.as_slice(), &["snap 14", "depth 12-15"]].concat());
        assert!(!adopted.book().unwrap().bids.contains_key(&Dec(90)));
        check(&[live.as_slice(), &["snap 14", "depth 13-13"]].concat(), "gapped +-");
    }

    #[test]
    fn the_known_range_ends_with_the_snapshot_or_never() {
        let side = |count: i128, step: i128| -> Vec<Level> {
            (1..=count).map(|i| level(1000 + i * step, 1)).collect()
        };
        let known = |bids: i128, asks: i128| {
            let snapshot =
                Snapshot { last_update_id: 1, bids: side(bids, -1), asks: side(asks, 1) };
            let book = Book::from_snapshot(&snapshot);
            (book.bid_known_to.0, book.ask_known_to.map(|px| px.0))
        };
        assert_eq!(known(5, 5), (995, Some(1005)));
        assert_eq!(known(5, 4), (995, None));
        assert_eq!(known(5, 6), (0, None));
        assert_eq!(known(10, 6), (990, None));
    }
}
