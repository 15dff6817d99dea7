//! The book-sync rule: cases, a naive model over random streams, and the recordings.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

mod common;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};

use cobring_types::{
    DepthSnapshot, DepthUpdate, Event, Input, InputKind, Level, Nanos, Px, Qty, Stamp, SymbolIndex,
};
use cobring_venue::{
    Audit, BookSync, DepthBufferCapacity, DepthVerdict, SnapshotVerdict, SyncState,
};
use common::{BTC, ETH, decoder, input, recordings};
use flate2::read::GzDecoder;
use proptest::prelude::*;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

const SMALL: DepthBufferCapacity = DepthBufferCapacity { levels: 64, updates: 8 };

fn depth(first_update_id: u64, last_update_id: u64) -> DepthUpdate<'static> {
    let (bids, asks) = (&[Level { px: Px(1), qty: Qty(1) }], &[]);
    DepthUpdate { ts_event: Nanos(0), first_update_id, last_update_id, bids, asks }
}

fn snapshot(last_update_id: u64) -> DepthSnapshot<'static> {
    DepthSnapshot { last_update_id, limit: 5, bids: &[], asks: &[] }
}

/// Steps, separated by spaces: `3-5` a depth update, `s7` a snapshot, `request`, `restart`, `reset`.
/// Gives the last step's verdict, the ids of the kept updates, the state and the update id.
fn check(steps: &str, expected: &str) {
    let mut sync = BookSync::new(SMALL);
    let mut last = String::new();
    for step in steps.split(' ') {
        last = match step {
            "request" => {
                sync.on_requested();
                String::new()
            }
            "restart" => {
                sync.restart();
                String::new()
            }
            "reset" => {
                sync.reset();
                String::new()
            }
            step => match step.strip_prefix('s') {
                Some(id) => {
                    let verdict = sync.on_snapshot(&snapshot(id.parse().unwrap()));
                    let mut kept = Vec::new();
                    sync.take_kept(|u| {
                        kept.push(format!("{}-{}", u.first_update_id, u.last_update_id));
                    });
                    format!("{verdict:?} [{}]", kept.join(" "))
                }
                None => {
                    let (first, last) = step.split_once('-').unwrap();
                    let update = depth(first.parse().unwrap(), last.parse().unwrap());
                    format!("{:?}", sync.on_depth(&update))
                }
            },
        };
    }
    let found = format!("{last}; {:?} {:?}", sync.state(), sync.update_id());
    assert_eq!(found, expected, "{steps}");
}

#[test]
fn a_snapshot_and_what_follows_it_make_the_book_live() {
    check("3-5", "Buffered; Empty None");
    check("request", "; Syncing None");
    check("request 3-5 6-8 s5", "Adopted [6-8]; Live Some(8)");
    check("request 3-5 6-8 s6", "Adopted [6-8]; Live Some(8)");
    check("request 3-5 6-8 s8", "Adopted []; Live Some(8)");
    check("request 3-5 6-8 s9", "Adopted []; Live Some(9)");
    check("request 3-5 6-8 s2", "Adopted [3-5 6-8]; Live Some(8)");
    check("request s7", "Adopted []; Live Some(7)");
    check("s7", "Adopted []; Live Some(7)");
    check("request 3-5 6-8 s1", "TooOld { last_update_id: 1, first_kept: 3 } []; Syncing None");
    check("request 3-5 6-8 s1 9-9 s4", "Adopted [3-5 6-8 9-9]; Live Some(9)");
}

#[test]
fn updates_of_a_live_book_join_or_are_ignored_or_show_a_gap() {
    check("s7 8-9", "Apply { audit: None }; Live Some(9)");
    check("s7 5-9", "Apply { audit: None }; Live Some(9)");
    check("s7 3-5", "Ignore; Live Some(7)");
    check("s7 3-7", "Ignore; Live Some(7)");
    check("s7 8-9 8-9", "Ignore; Live Some(9)");
    check("s7 9-9", "Gap { expected: 8, found: 9 }; Gapped None");
}

#[test]
fn the_update_that_shows_a_gap_is_the_first_of_the_next_sync() {
    check("s7 9-9 request", "; Syncing None");
    check("s7 9-9 request 10-12 s8", "Adopted [9-9 10-12]; Live Some(12)");
    check("s7 9-9 10-12 s8", "Adopted [9-9 10-12]; Live Some(12)");
    check("s7 9-9 request s7", "TooOld { last_update_id: 7, first_kept: 9 } []; Syncing None");
    check("s7 9-9 8-8", "Ignore; Gapped None");
}

#[test]
fn a_gap_among_waiting_updates_needs_a_snapshot_behind_it() {
    check("request 3-5 8-9", "BufferGap { expected: 6, found: 8 }; Syncing None");
    check("request 3-5 8-9 s7", "Adopted [8-9]; Live Some(9)");
    check("request 3-5 8-9 s4", "GapInBuffer { last_update_id: 4, first_kept: 8 } []; Gapped None");
    check(
        "request 3-5 8-9 s4 request s4",
        "TooOld { last_update_id: 4, first_kept: 8 } []; Syncing None",
    );
    check("request 3-5 8-9 s1", "TooOld { last_update_id: 1, first_kept: 8 } []; Syncing None");
    check("request 3-5 4-7 8-9 s4", "Adopted [3-5 4-7 8-9]; Live Some(9)");
    check("request 3-5 3-5 6-6 s4", "Adopted [3-5 6-6]; Live Some(6)");
}

#[test]
fn an_overflow_drops_what_waits_and_remembers_that() {
    let full = "request 1-1 2-2 3-3 4-4 5-5 6-6 7-7 8-8";
    check(full, "Buffered; Syncing None");
    check(&format!("{full} 9-9"), "Overflow; Syncing None");
    check(
        &format!("{full} 9-9 s7"),
        "TooOld { last_update_id: 7, first_kept: 9 } []; Syncing None",
    );
    check(&format!("{full} 9-9 s8"), "Adopted [9-9]; Live Some(9)");
    check(&format!("{full} 9-9 10-10 s9"), "Adopted [10-10]; Live Some(10)");
}

#[test]
fn an_update_beyond_the_whole_buffer_is_known_to_be_missing() {
    let levels = [Level::default(); 65];
    let huge = DepthUpdate { bids: &levels, ..depth(4, 9) };
    let mut sync = BookSync::new(SMALL);
    assert_eq!(sync.on_depth(&depth(1, 3)), DepthVerdict::Buffered);
    assert_eq!(sync.on_depth(&huge), DepthVerdict::Overflow);
    assert!(matches!(sync.on_snapshot(&snapshot(8)), SnapshotVerdict::GapInBuffer { .. }));
    assert_eq!(sync.on_depth(&depth(10, 11)), DepthVerdict::Buffered);
    assert!(matches!(sync.on_snapshot(&snapshot(8)), SnapshotVerdict::TooOld { .. }));
    assert_eq!(sync.on_snapshot(&snapshot(9)), SnapshotVerdict::Adopted);
    assert_eq!(sync.update_id(), Some(11));
}

#[test]
fn a_live_book_is_audited_by_a_snapshot_of_its_own_id_or_later() {
    check("s7 s7", "AuditNow []; Live Some(7)");
    check("s7 s9", "AuditLater []; Live Some(7)");
    check("s7 s9 8-8", "Apply { audit: None }; Live Some(8)");
    check("s7 s9 8-8 9-9", "Apply { audit: Compare }; Live Some(9)");
    check("s7 s9 8-8 9-9 10-10", "Apply { audit: None }; Live Some(10)");
    check("s7 s9 8-12", "Apply { audit: ApplyAndCompare }; Live Some(12)");
    check("s7 s9 8-12 13-13", "Apply { audit: None }; Live Some(13)");
    check("s7 s9 9-9", "Gap { expected: 8, found: 9 }; Gapped None");
    check("s7 s9 9-9 s8 10-10", "Apply { audit: None }; Live Some(10)");
    check("s7 s9 s11 8-10", "Apply { audit: None }; Live Some(10)");
}

#[test]
fn an_older_snapshot_audits_only_what_was_kept_since_the_request() {
    check("s7 8-9 s8", "PassedOver []; Live Some(9)");
    check("s7 8-9 request s8", "PassedOver []; Live Some(9)");
    check("s7 request 8-9 10-12 s7", "AuditNow [8-9 10-12]; Live Some(12)");
    check("s7 request 8-9 10-12 s9", "AuditNow [10-12]; Live Some(12)");
    check("s7 request 8-9 10-12 s10", "AuditNow [10-12]; Live Some(12)");
    check("s7 request 8-9 10-12 s12", "AuditNow []; Live Some(12)");
    check("s7 request 8-9 10-12 s6", "PassedOver []; Live Some(12)");
    check("s7 request 8-9 s6 s8", "PassedOver []; Live Some(9)");
    check("s7 request 8-9 11-12 s11", "Adopted [11-12]; Live Some(12)");
}

#[test]
fn a_book_that_proved_wrong_needs_a_snapshot_of_its_own_id_or_later() {
    check("s7 8-9 restart", "; Gapped None");
    check("s7 8-9 restart s8", "TooOld { last_update_id: 8, first_kept: 10 } []; Gapped None");
    check("s7 8-9 restart s9", "Adopted []; Live Some(9)");
    check("s7 8-9 restart request 10-12 s10", "Adopted [10-12]; Live Some(12)");
    check("s7 8-9 restart 9-9", "Ignore; Gapped None");
}

#[test]
fn after_a_reset_ids_may_begin_anywhere() {
    check("reset", "; Empty None");
    check("request reset", "; Gapped None");
    check("s70 71-72 reset 3-5 6-6 s4", "Adopted [3-5 6-6]; Live Some(6)");
    check("s70 71-72 reset s4", "Adopted []; Live Some(4)");
}

// ---------------------------------------------------------------------------------------------------

type Book = BTreeMap<(bool, Px), Qty>;

fn apply(book: &mut Book, update: &DepthUpdate<'_>) {
    for (is_bid, side) in [(true, update.bids), (false, update.asks)] {
        for level in side {
            match level.qty {
                Qty::ZERO => drop(book.remove(&(is_bid, level.px))),
                qty => drop(book.insert((is_bid, level.px), qty)),
            }
        }
    }
}

/// The venue: id n changes one level, so that the book is known at every id.
struct Venue {
    changes: Vec<(bool, Px, Qty)>,
}

impl Venue {
    fn book_at(&self, id: u64) -> Book {
        let mut book = Book::new();
        for &(is_bid, px, qty) in &self.changes[..usize::try_from(id).unwrap()] {
            let level = [Level { px, qty }];
            let (bids, asks): (&[Level], &[Level]) =
                if is_bid { (&level, &[]) } else { (&[], &level) };
            apply(&mut book, &DepthUpdate { bids, asks, ..depth(id, id) });
        }
        book
    }

    fn update(&self, first: u64, last: u64) -> Update {
        let mut changed = Book::new();
        let range = usize::try_from(first - 1).unwrap()..usize::try_from(last).unwrap();
        for &(is_bid, px, qty) in &self.changes[range] {
            changed.insert((is_bid, px), qty);
        }
        let side = |wanted: bool| {
            let levels = changed.iter().filter(|((is_bid, _), _)| *is_bid == wanted);
            levels.map(|(&(_, px), &qty)| Level { px, qty }).collect()
        };
        Update { first, last, bids: side(true), asks: side(false) }
    }
}

#[derive(Debug, Clone)]
struct Update {
    first: u64,
    last: u64,
    bids: Vec<Level>,
    asks: Vec<Level>,
}

impl Update {
    fn borrowed(&self) -> DepthUpdate<'_> {
        DepthUpdate { bids: &self.bids, asks: &self.asks, ..depth(self.first, self.last) }
    }
}

/// The state machine and the books that its user keeps.
struct Client {
    sync: BookSync,
    book: Book,
    second: Option<Book>,
    compared: u32,
}

impl Client {
    fn new(capacity: DepthBufferCapacity) -> Self {
        Self { sync: BookSync::new(capacity), book: Book::new(), second: None, compared: 0 }
    }

    fn compare(&mut self) {
        let second = self.second.take().expect("a second book to compare");
        assert_eq!(self.book, second);
        self.compared += 1;
    }

    fn on_depth(&mut self, update: &Update) {
        match self.sync.on_depth(&update.borrowed()) {
            DepthVerdict::Apply { audit } => {
                apply(&mut self.book, &update.borrowed());
                match audit {
                    Audit::None => {}
                    Audit::Compare => self.compare(),
                    Audit::ApplyAndCompare => {
                        apply(self.second.as_mut().unwrap(), &update.borrowed());
                        self.compare();
                    }
                }
            }
            DepthVerdict::Gap { .. } => self.second = None,
            _ => {}
        }
    }

    fn on_snapshot(&mut self, id: u64, levels: &Book) {
        match self.sync.on_snapshot(&snapshot(id)) {
            SnapshotVerdict::Adopted => {
                self.book = levels.clone();
                self.sync.take_kept(|update| apply(&mut self.book, update));
            }
            SnapshotVerdict::AuditNow => {
                let mut second = levels.clone();
                self.sync.take_kept(|update| apply(&mut second, update));
                self.second = Some(second);
                self.compare();
            }
            SnapshotVerdict::AuditLater => self.second = Some(levels.clone()),
            _ => {}
        }
    }
}

/// The rule in the words of its description: everything is kept in lists and decided at the snapshot.
struct Model {
    state: SyncState,
    update_id: u64,
    waiting: Vec<(u64, u64)>,
    missing_through: u64,
}

impl Model {
    fn new() -> Self {
        Self { state: SyncState::Empty, update_id: 0, waiting: vec![], missing_through: 0 }
    }

    fn on_depth(&mut self, first: u64, last: u64) {
        if self.state != SyncState::Live {
            let known = self.waiting.iter().map(|&(_, last)| last).max();
            if last > known.unwrap_or(self.missing_through) {
                self.waiting.push((first, last));
            }
        } else if last <= self.update_id {
            // Old.
        } else if first > self.update_id + 1 {
            self.state = SyncState::Gapped;
            self.waiting = vec![(first, last)];
            self.missing_through = first - 1;
        } else {
            self.update_id = last;
        }
    }

    fn on_snapshot(&mut self, id: u64) {
        if self.state == SyncState::Live {
            return;
        }
        let reaches_back = self.waiting.first().is_some_and(|&(first, _)| first <= id + 1);
        let mut local = id;
        let mut joins = !self.waiting.is_empty() || id >= self.missing_through;
        let mut last_gap = 0;
        let mut seen = 0;
        for (at, &(first, last)) in self.waiting.iter().enumerate() {
            if at > 0 && first > seen + 1 {
                last_gap = at;
            }
            seen = seen.max(last);
            if last <= local {
                continue;
            }
            joins &= first <= local + 1;
            local = last;
        }
        if joins {
            *self = Self { state: SyncState::Live, update_id: local, ..Self::new() };
        } else if reaches_back {
            self.state = SyncState::Gapped;
            self.waiting.drain(..last_gap);
        }
    }

    fn on_requested(&mut self) {
        if self.state != SyncState::Live {
            self.state = SyncState::Syncing;
        }
    }

    fn lose(&mut self, state: SyncState, missing_through: u64) {
        *self = Self { state, missing_through, ..Self::new() };
    }
}

#[derive(Debug, Clone)]
enum Step {
    Deliver {
        ids: u64,
    },
    Lose {
        ids: u64,
    },
    /// Old ids again, and perhaps new ones with them.
    Repeat {
        back: u64,
        ids: u64,
    },
    Snapshot {
        ahead: i64,
    },
    Request,
    Restart,
    Reset,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        60 => (1u64..6).prop_map(|ids| Step::Deliver { ids }),
        3 => (1u64..6).prop_map(|ids| Step::Lose { ids }),
        6 => (0u64..12, 1u64..8).prop_map(|(back, ids)| Step::Repeat { back, ids }),
        12 => (-20i64..12).prop_map(|ahead| Step::Snapshot { ahead }),
        8 => Just(Step::Request),
        1 => Just(Step::Restart),
        1 => Just(Step::Reset),
    ]
}

const IDS: usize = 800;

fn venue(seed: u64) -> Venue {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut below = |limit: u64| i64::try_from(rng.next_u64() % limit).unwrap();
    let change = |_| (below(2) == 0, Px(1 + below(29)), Qty(below(5)));
    Venue { changes: (0..IDS).map(change).collect() }
}

/// Runs the steps; calls `check` after each with the client, the venue and the model.
fn run(
    venue: &Venue,
    steps: &[Step],
    capacity: DepthBufferCapacity,
    mut check: impl FnMut(&mut Client, &Model),
) -> Client {
    let (mut client, mut model) = (Client::new(capacity), Model::new());
    let end = u64::try_from(IDS).unwrap();
    let mut delivered = 0u64;
    // The last id of what the client got since a reset.
    let mut known = 0u64;
    for step in steps {
        match *step {
            Step::Deliver { ids } | Step::Lose { ids } => {
                let (first, last) = (delivered + 1, delivered + ids);
                if last > end {
                    break;
                }
                delivered = last;
                if matches!(step, Step::Deliver { .. }) {
                    client.on_depth(&venue.update(first, last));
                    model.on_depth(first, last);
                    known = known.max(last);
                }
            }
            Step::Repeat { back, ids } => {
                let first = delivered.saturating_sub(back).max(1);
                let last = (first + ids - 1).min(end);
                delivered = delivered.max(last);
                client.on_depth(&venue.update(first, last));
                model.on_depth(first, last);
                known = known.max(last);
            }
            Step::Snapshot { ahead } => {
                let id = delivered.saturating_add_signed(ahead).min(end);
                client.on_snapshot(id, &venue.book_at(id));
                model.on_snapshot(id);
            }
            Step::Request => {
                client.sync.on_requested();
                model.on_requested();
            }
            Step::Restart => {
                let floor = match model.state {
                    SyncState::Live => model.update_id,
                    _ => model.waiting.iter().map(|w| w.1).max().unwrap_or(model.missing_through),
                };
                model.lose(SyncState::Gapped, floor);
                client.sync.restart();
                client.second = None;
            }
            Step::Reset => {
                let was_empty = model.state == SyncState::Empty;
                model.lose(if was_empty { SyncState::Empty } else { SyncState::Gapped }, 0);
                client.sync.reset();
                known = 0;
                client.second = None;
            }
        }
        if let Some(id) = client.sync.update_id() {
            assert_eq!(client.book, venue.book_at(id), "live at {id} after {step:?}");
            assert!(id >= known, "live at {id}, but {known} is known, after {step:?}");
        }
        assert_eq!(client.sync.is_audit_pending(), client.second.is_some(), "{step:?}");
        check(&mut client, &model);
    }
    client
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn state_and_id_are_the_models_and_a_live_book_is_the_venues(
        seed in any::<u64>(),
        steps in proptest::collection::vec(step(), 1..250),
    ) {
        run(&venue(seed), &steps, DepthBufferCapacity::default(), |client, model| {
            assert_eq!(client.sync.state(), model.state);
            let live = model.state == SyncState::Live;
            assert_eq!(client.sync.update_id(), live.then_some(model.update_id));
        });
    }

    #[test]
    fn a_buffer_that_overflows_never_makes_a_wrong_book_live(
        seed in any::<u64>(),
        steps in proptest::collection::vec(step(), 1..250),
        levels in 1u32..30,
        updates in 1u32..8,
    ) {
        run(&venue(seed), &steps, DepthBufferCapacity { levels, updates }, |_, _| {});
    }

    #[test]
    fn a_checkpoint_at_any_step_changes_nothing(
        seed in any::<u64>(),
        steps in proptest::collection::vec(step(), 1..150),
        every in 1usize..20,
    ) {
        let mut count = 0;
        let restored = run(&venue(seed), &steps, SMALL, |client, _| {
            count += 1;
            if count % every == 0 {
                let bytes = postcard::to_allocvec(&client.sync).unwrap();
                client.sync = postcard::from_bytes(&bytes).unwrap();
                assert_eq!(postcard::to_allocvec(&client.sync).unwrap(), bytes);
            }
        });
        let straight = run(&venue(seed), &steps, SMALL, |_, _| {});
        prop_assert_eq!(restored.sync, straight.sync);
        prop_assert_eq!(restored.book, straight.book);
    }

    #[test]
    fn no_checkpoint_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = postcard::from_bytes::<BookSync>(&bytes);
    }
}

#[test]
fn the_random_streams_reach_every_verdict() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = (any::<u64>(), proptest::collection::vec(step(), 250));
    let (mut compared, mut total) = (0, cobring_venue::SyncCounters::default());
    for _ in 0..60 {
        let (seed, steps) = strategy.new_tree(&mut runner).unwrap().current();
        let client = run(&venue(seed), &steps, SMALL, |_, _| {});
        let counters = *client.sync.counters();
        compared += client.compared;
        total.updates_ignored += counters.updates_ignored;
        total.gaps += counters.gaps;
        total.buffer_gaps += counters.buffer_gaps;
        total.overflows += counters.overflows;
        total.snapshots_adopted += counters.snapshots_adopted;
        total.snapshots_too_old += counters.snapshots_too_old;
        total.snapshots_passed_over += counters.snapshots_passed_over;
        total.audits += counters.audits;
    }
    println!("{total:?}, {compared} audits compared");
    let counts = [
        total.updates_ignored,
        total.gaps,
        total.buffer_gaps,
        total.overflows,
        total.snapshots_adopted,
        total.snapshots_too_old,
        total.snapshots_passed_over,
        total.audits,
        u64::from(compared),
    ];
    assert!(counts.iter().all(|&count| count >= 20), "{counts:?}");
}

#[test]
fn the_recordings_sync_without_a_gap() {
    let Some(paths) = recordings() else { return };
    for path in paths {
        let is_eth = path.to_str().unwrap().contains("ethusdt");
        let symbol = if is_eth { ETH } else { BTC };
        let mut decoder = decoder();
        let mut sync = BookSync::new(DepthBufferCapacity::default());
        for line in BufReader::new(GzDecoder::new(File::open(&path).unwrap())).split(b'\n') {
            let line = line.unwrap();
            let message = &line[line.iter().position(|&byte| byte == b' ').unwrap() + 1..];
            let is_snapshot = message.starts_with(b"{\"lastUpdateId\"");
            let kind = if is_snapshot { InputKind::RestDepth } else { InputKind::Text };
            let input = Input { symbol, ..input(kind, message) };
            let mut sink = |_: &Stamp, _: SymbolIndex, event: &Event<'_>| match event {
                Event::Depth(update) => drop(sync.on_depth(update)),
                Event::Snapshot(snapshot) => {
                    assert_eq!(sync.on_snapshot(snapshot), SnapshotVerdict::Adopted);
                    sync.take_kept(|_| {});
                }
                _ => {}
            };
            decoder.decode(&input, &mut sink).unwrap();
        }
        println!("{}: {:?} {:?}", path.display(), sync.update_id(), sync.counters());
        assert_eq!(sync.update_id(), Some(if is_eth { 35_346_671_849 } else { 50_093_421_584 }));
        assert_eq!([sync.counters().gaps, sync.counters().buffer_gaps], [0, 0]);
    }
}
