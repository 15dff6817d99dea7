//! The missing ids against a set of them, whatever is lost, late, repeated or answered.

use std::collections::BTreeSet;

use cobring_types::{Px, Qty};
use proptest::prelude::*;

use super::*;

const MS: i64 = 1_000_000;

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    /// So many messages of the stream are lost, then one comes.
    Stream { lost: usize },
    /// Another connection brings an earlier message.
    Late { back: usize },
    /// Time passes, and what is wanted then is asked for.
    Wait { ms: i64 },
    /// The answer has so many rows, without those at every `hole`th place and with others among them.
    Answer { rows: usize, hole: usize, foreign: bool },
    /// There is no answer: the same is asked again.
    NoAnswer,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0usize..40).prop_map(|lost| Step::Stream { lost }),
        6 => Just(Step::Stream { lost: 0 }),
        4 => (1usize..60).prop_map(|back| Step::Late { back }),
        6 => (0i64..3_000).prop_map(|ms| Step::Wait { ms }),
        6 => (0usize..30, 1usize..6, any::<bool>())
            .prop_map(|(rows, hole, foreign)| Step::Answer { rows, hole, foreign }),
        1 => Just(Step::NoAnswer),
    ];
    prop::collection::vec(step, 1..150)
}

/// The venue's message number `at`: of one fill, or of one to three.
fn message(stream: TradeStream, at: usize) -> PastTrade {
    let at = at as u64 + 1;
    let (first_id, last_id) = match stream {
        TradeStream::Trade => (at, at),
        // 1, 2, 3, 1, 2, 3 … fills each.
        TradeStream::AggTrade => {
            let (rounds, place) = ((at - 1) / 3, (at - 1) % 3);
            let first = 6 * rounds + 1 + place * (place + 1) / 2;
            (first, first + place)
        }
    };
    let ts_trade = Nanos(at.cast_signed() * MS);
    PastTrade { ts_trade, id: at, first_id, last_id, px: Px(1), qty: Qty(1), taker_sold: 0 }
}

struct Driver {
    stream: TradeStream,
    limit: u64,
    backfill: Backfill,
    now: i64,
    /// Messages that the venue has sent.
    sent: usize,
    last: Option<PastTrade>,
    asked: Option<TradesWanted>,
    /// Missing fills of open gaps.
    naive: BTreeSet<u64>,
    /// Of these, what answers have passed over.
    passed_over: BTreeSet<u64>,
    missing: u64,
    came: u64,
    unfillable: u64,
    requests: usize,
    gaps: usize,
}

impl Driver {
    fn new(stream: TradeStream, limit: u64) -> Self {
        Self {
            stream,
            limit,
            backfill: Backfill::default(),
            now: 0,
            sent: 0,
            last: None,
            asked: None,
            naive: BTreeSet::new(),
            passed_over: BTreeSet::new(),
            missing: 0,
            came: 0,
            unfillable: 0,
            requests: 0,
            gaps: 0,
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Stream { lost } => {
                self.sent += lost;
                let next = message(self.stream, self.sent);
                self.sent += 1;
                if let Some(last) = self.last.replace(next)
                    && lost > 0
                {
                    self.lose(&last, &next);
                }
            }
            Step::Late { back } => {
                let trade = message(self.stream, self.sent.saturating_sub(back));
                if self.last.is_some_and(|last| trade.last_id <= last.last_id) {
                    self.take(&trade)?;
                }
            }
            Step::Wait { ms } => {
                self.now += ms * MS;
                self.backfill.on_timer(Nanos(self.now), Some(self.stream), true);
                self.ask()?;
            }
            Step::Answer { rows, hole, foreign } => self.answer(rows, hole, foreign)?,
            Step::NoAnswer => {
                if let Some(asked) = self.asked {
                    self.requests += 1;
                    self.backfill.on_requested(asked);
                }
            }
        }
        self.close()
    }

    fn lose(&mut self, last: &PastTrade, next: &PastTrade) {
        let next = next.of_stream(self.stream);
        let gap = Gap::between((last.last_id, last.id, last.ts_trade), &next, 0, true);
        self.missing += gap.count();
        let ids = gap.first..=gap.last;
        match self.backfill.open(Nanos(self.now), gap, self.limit) {
            Ok(()) => {
                self.gaps += 1;
                self.naive.extend(ids);
            }
            Err(gap) => self.unfillable += gap.count(),
        }
    }

    /// A trade that comes after all is taken where it was missing, once.
    fn take(&mut self, trade: &PastTrade) -> Result<(), TestCaseError> {
        let ids = trade.first_id..=trade.last_id;
        let missing = ids.clone().all(|id| self.naive.contains(&id));
        let passed_over = ids.clone().any(|id| self.passed_over.contains(&id));
        let taken = self.backfill.take(&trade.of_stream(self.stream));
        prop_assert_eq!(taken, missing && !passed_over);
        if taken {
            self.came += trade.last_id - trade.first_id + 1;
            self.naive.retain(|id| !ids.contains(id));
        }
        prop_assert_eq!(self.backfill.came().len(), usize::from(taken));
        self.backfill.came_is_done();
        Ok(())
    }

    /// What is wanted is of a gap, and asked for.
    fn ask(&mut self) -> Result<(), TestCaseError> {
        if let (Some(wanted), None) = (self.backfill.wanted(), self.asked) {
            let TradesWanted { stream, first_id, limit } = wanted;
            prop_assert!(stream == self.stream && (1..=1_000).contains(&limit));
            let last_id = first_id + u64::from(limit) - 1;
            let last = message(stream, usize::try_from(last_id - 1).unwrap());
            let gap = self.backfill.gaps.front().unwrap();
            prop_assert!(u64::from(limit) <= self.limit && last.last_id <= gap.last);
            self.requests += 1;
            self.asked = Some(wanted);
            self.backfill.on_requested(wanted);
        }
        Ok(())
    }

    fn answer(&mut self, rows: usize, hole: usize, foreign: bool) -> Result<(), TestCaseError> {
        let Some(asked) = self.asked.take() else { return Ok(()) };
        let from = usize::try_from(asked.first_id).unwrap() - 1;
        let all = (from..self.sent).take(rows.min(asked.limit as usize));
        let places = all.enumerate().filter(|(at, _)| hole == 1 || at % hole != hole - 1);
        let mut rows: Vec<PastTrade> = places.map(|(_, at)| message(self.stream, at)).collect();
        if foreign {
            // Ids before those that were asked for, and ids that nobody has seen yet.
            rows.splice(0..0, (from.saturating_sub(2)..from).map(|at| message(self.stream, at)));
            rows.push(message(self.stream, self.sent + 100));
        }
        let gap = self.backfill.gaps.front().cloned();
        let is_of_it = self.backfill.asked == Some(asked);
        let unmissed = self.backfill.on_answer(Nanos(self.now), self.stream, &rows);
        let mut expected = 0;
        for row in &rows {
            let ids = row.first_id..=row.last_id;
            if let Some(gap) = gap.as_ref().filter(|gap| is_of_it && gap.ids.contains(&row.id)) {
                let before: Vec<u64> = self.naive.range(gap.first..row.first_id).copied().collect();
                self.passed_over.extend(before);
            }
            let free = |id: &u64| self.naive.contains(id) && !self.passed_over.contains(id);
            if ids.clone().all(|id| free(&id)) {
                self.came += row.last_id - row.first_id + 1;
                self.naive.retain(|id| !ids.contains(id));
            } else {
                expected += 1;
            }
        }
        prop_assert_eq!(unmissed, expected);
        prop_assert_eq!(self.backfill.came().len() as u64 + unmissed, rows.len() as u64);
        self.backfill.came_is_done();
        Ok(())
    }

    fn close(&mut self) -> Result<(), TestCaseError> {
        while let Some((gap, left)) = self.backfill.pop_closed() {
            let held = self.naive.range(gap.first..=gap.last).count() as u64;
            prop_assert_eq!(left, held, "{:?}", gap);
            self.unfillable += left;
            self.naive.retain(|id| !(gap.first..=gap.last).contains(id));
        }
        prop_assert_eq!(self.backfill.left(), self.naive.len() as u64);
        prop_assert_eq!(self.missing, self.came + self.unfillable + self.backfill.left());
        prop_assert!(self.backfill.gaps.len() <= GAPS_MAX);
        prop_assert!(self.backfill.missing.len() <= RANGES_MAX);
        Ok(())
    }

    /// Goes on until nothing is open; each gap has its number of requests.
    fn finish(&mut self, rows: usize) -> Result<(), TestCaseError> {
        let mut rounds = 0;
        while self.backfill.newest_row().is_some() {
            self.step(&Step::Wait { ms: 70_000 })?;
            self.step(&Step::Answer { rows, hole: 1, foreign: false })?;
            rounds += 1;
            prop_assert!(rounds <= 10 * self.gaps + 40, "{:?}", self.backfill);
        }
        prop_assert_eq!((self.backfill.left(), self.backfill.wanted()), (0, None));
        Ok(())
    }
}

proptest! {
    #[test]
    fn missing_ids_are_the_set_of_them(
        steps in steps(), agg in any::<bool>(), limit in prop_oneof![Just(0u64), 1u64..60, Just(20_000)],
        venue_answers in any::<bool>(),
    ) {
        let stream = if agg { TradeStream::AggTrade } else { TradeStream::Trade };
        let mut driver = Driver::new(stream, limit);
        for step in &steps {
            driver.step(step)?;
        }
        let unfillable = driver.unfillable;
        driver.finish(if venue_answers { 1_000 } else { 0 })?;
        // From here on all comes that was asked for and not passed over.
        if venue_answers && limit == 20_000 {
            let passed_over = driver.passed_over.len() as u64;
            prop_assert!(driver.unfillable <= unfillable + passed_over);
        }
        if limit == 0 {
            prop_assert_eq!((driver.requests, driver.came), (0, 0));
        }
    }
}

#[test]
fn gaps_beyond_the_bound_are_given_up_at_once() {
    let mut driver = Driver::new(TradeStream::Trade, 100);
    for _ in 0..=GAPS_MAX + 5 {
        driver.step(&Step::Stream { lost: 3 }).unwrap();
    }
    // The first message has none before it.
    assert_eq!((driver.gaps, driver.unfillable), (GAPS_MAX, 5 * 3));
    driver.finish(1_000).unwrap();
    assert_eq!(driver.came, 3 * GAPS_MAX as u64);
}

#[test]
fn aggregates_that_go_on_over_missing_fills_leave_nothing_to_ask_for() {
    let mut backfill = Backfill::default();
    let next = PastTrade { id: 8, first_id: 13, last_id: 14, ..message(TradeStream::AggTrade, 6) };
    let next = next.of_stream(TradeStream::AggTrade);
    let gap = Gap::between((10, 7, Nanos(0)), &next, 0, true);
    backfill.open(Nanos(0), gap, 100).unwrap();
    let (gap, left) = backfill.pop_closed().unwrap();
    assert_eq!((gap.first, gap.last, left), (11, 12, 2));
}

#[test]
fn requests_that_nobody_answers_end_a_gap() {
    let mut driver = Driver::new(TradeStream::Trade, 100);
    for lost in [0, 5, 0] {
        driver.step(&Step::Stream { lost }).unwrap();
    }
    driver.step(&Step::Wait { ms: 1_000 }).unwrap();
    for asked in 1..=BACKFILL_ATTEMPTS_MAX {
        assert_eq!((driver.backfill.left(), driver.unfillable), (5, 0), "{asked} requests");
        driver.step(&Step::NoAnswer).unwrap();
    }
    assert_eq!((driver.backfill.left(), driver.unfillable), (0, 5));
}
