//! Whether a silent stream is quiet or stalled. Depth: its own rhythm says when to ask, the venue's update id decides.
//! Trades: the venue's 1 s bars say whether there were any. bookTicker: so does the depth book, whose best prices moved.
//!
//! Guarantees: a stream is called stalled only where the venue has moved on without it; one that is confirmed quiet
//! is asked about again, less and less often. Does not: ask, or end a connection.

use cobring_types::{Nanos, Px, Qty};
use serde::{Deserialize, Serialize};

/// Levels of the snapshot whose update id answers: the fewest that the venue gives.
pub const CHECK_LEVELS: u32 = 5;

const BUCKETS: usize = 32;
/// Beginning of the first bucket; the last one begins at 46 s.
const STEP: Nanos = Nanos::MILLISECOND;
/// Intervals that a rhythm is known from.
const LEARNED: u32 = 500;
/// Counts are halved here: the rhythm of the last minutes weighs most.
const COUNTS_MAX: u32 = 1 << 14;
/// Silence that is ordinary before the rhythm is known, and the least that is asked about afterwards.
const PATIENCE_UNLEARNED: Nanos = Nanos(2_500 * Nanos::MILLISECOND.0);
const PATIENCE_MIN: Nanos = Nanos(1_500 * Nanos::MILLISECOND.0);
/// A message of the venue's update id may be on its way.
const GRACE: Nanos = Nanos(500 * Nanos::MILLISECOND.0);
/// A connection that was renewed for a stalled stream has this long before it is asked about itself.
const RENEWAL_INTERVAL_MIN: Nanos = Nanos(5 * Nanos::SECOND.0);
/// A silent stream is asked about at least this often.
const CHECK_INTERVAL_MAX: Nanos = Nanos(30 * Nanos::SECOND.0);

/// How far apart the messages of a stream are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Rhythm {
    last: Nanos,
    /// Intervals by half octaves.
    counts: [u32; BUCKETS],
    total: u32,
}

impl Default for Rhythm {
    fn default() -> Self {
        Self { last: Nanos::UNDEF, counts: [0; BUCKETS], total: 0 }
    }
}

impl Rhythm {
    fn on_message(&mut self, ts: Nanos) {
        if let Some(last) = self.last.get() {
            self.counts[bucket(Nanos(ts.0 - last))] += 1;
            self.total += 1;
            if self.total >= COUNTS_MAX {
                self.counts.iter_mut().for_each(|count| *count /= 2);
                self.total = self.counts.iter().sum();
            }
        }
        self.last = ts;
    }

    /// The longest silence that is ordinary: five halves of the interval that one in a thousand exceeds.
    fn patience(&self) -> Nanos {
        if self.total < LEARNED {
            return PATIENCE_UNLEARNED;
        }
        let beyond = self.total / 1_000;
        let mut left = self.total;
        let at = self.counts.iter().position(|count| {
            left -= count;
            left <= beyond
        });
        let interval = upper_bound(at.unwrap_or(BUCKETS - 1));
        Nanos(interval.0.saturating_mul(5) / 2).max(PATIENCE_MIN)
    }

    fn silence(&self, now: Nanos) -> Option<Nanos> {
        self.last.get().map(|last| Nanos(now.0 - last))
    }
}

/// Of an interval of 2^(i/2) to 2^((i+1)/2) steps.
fn bucket(interval: Nanos) -> usize {
    let steps = u128::try_from(interval.0 / STEP.0).unwrap_or(0).max(1);
    let octave = steps.ilog2();
    let upper_half = steps * steps >= 1 << (2 * octave + 1);
    usize::try_from(2 * octave)
        .map_or(BUCKETS - 1, |at| (at + usize::from(upper_half)).min(BUCKETS - 1))
}

fn upper_bound(bucket: usize) -> Nanos {
    let octave = bucket / 2;
    // A lower half ends at √2 times its octave's beginning, an upper one at the next octave.
    if bucket.is_multiple_of(2) {
        Nanos((STEP.0 << octave) / 1_000 * 1_415)
    } else {
        Nanos(STEP.0 << (octave + 1))
    }
}

/// What is asked about the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Check {
    None,
    Wanted,
    Asked,
    /// The answer is on its way, and the connection that it was about is another now.
    Orphaned,
    /// The venue is at this update id, we are not.
    Behind {
        update_id: u64,
        since: Nanos,
    },
}

/// What is to be done at a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alarm {
    /// Nothing.
    None,
    /// The venue is to be asked for its update id.
    Ask,
    /// The stream is stalled.
    Stalled,
}

/// The watchdog of one symbol's depth stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DepthWatch {
    rhythm: Rhythm,
    check: Check,
    /// Until the next check at the latest the venue's silence is its own.
    quiet_until: Nanos,
    /// Not to be asked about before.
    next_check: Nanos,
    /// Between two checks.
    interval: Nanos,
}

impl Default for DepthWatch {
    fn default() -> Self {
        Self {
            rhythm: Rhythm::default(),
            check: Check::None,
            quiet_until: Nanos::UNDEF,
            next_check: Nanos::UNDEF,
            interval: Nanos::UNDEF,
        }
    }
}

impl DepthWatch {
    /// A depth message, whether it is of use or not.
    pub(crate) fn on_message(&mut self, ts: Nanos, update_id: u64) {
        self.rhythm.on_message(ts);
        (self.quiet_until, self.next_check, self.interval) =
            (Nanos::UNDEF, Nanos::UNDEF, Nanos::UNDEF);
        match self.check {
            Check::Behind { update_id: awaited, .. } if update_id < awaited => {}
            // The answer that is on its way is still this check's.
            Check::Asked | Check::Orphaned => {}
            _ => self.check = Check::None,
        }
    }

    /// A connection begins with the stream: its silence counts from here.
    pub(crate) fn on_link(&mut self, ts: Nanos) {
        self.rhythm.last = ts;
        self.check = if self.is_asked() { Check::Orphaned } else { Check::None };
        self.quiet_until = Nanos::UNDEF;
    }

    /// Timer `g` while the book is live and some connection carries depth.
    pub(crate) fn on_timer(&mut self, g: Nanos) -> Alarm {
        match self.check {
            Check::Behind { since, .. } if g.0 - since.0 >= GRACE.0 => {
                self.check = Check::None;
                self.pause(g, RENEWAL_INTERVAL_MIN);
                Alarm::Stalled
            }
            Check::None
                if self
                    .rhythm
                    .silence(g)
                    .is_some_and(|silence| silence >= self.rhythm.patience())
                    && self.next_check.get().is_none_or(|at| g.0 >= at) =>
            {
                self.check = Check::Wanted;
                Alarm::Ask
            }
            _ => Alarm::None,
        }
    }

    /// A snapshot was asked for: whether it is a check, whatever has come since it was wanted.
    pub(crate) fn on_requested(&mut self, limit: u32, background: bool) -> bool {
        let is_check = background && limit == CHECK_LEVELS;
        if is_check {
            self.check = Check::Asked;
        } else if self.is_asked() {
            // Another question goes in its place.
            self.check = Check::None;
        }
        is_check
    }

    /// Whether the next snapshot is a check's answer: with its few levels it makes no book.
    pub(crate) fn is_asked(&self) -> bool {
        matches!(self.check, Check::Asked | Check::Orphaned)
    }

    /// The venue's update id, and ours where the book is live.
    pub(crate) fn on_answer(&mut self, ts: Nanos, venue: u64, own: Option<u64>) {
        let is_orphaned = std::mem::replace(&mut self.check, Check::None) == Check::Orphaned;
        let Some(own) = own.filter(|_| !is_orphaned) else { return };
        if venue > own {
            self.check = Check::Behind { update_id: venue, since: ts };
            return;
        }
        let silence = self.rhythm.silence(ts).unwrap_or(Nanos(0));
        if silence < self.rhythm.patience() {
            return;
        }
        let interval =
            self.interval.get().map_or(self.rhythm.patience().0, |interval| interval * 2);
        self.interval = Nanos(interval.min(CHECK_INTERVAL_MAX.0));
        self.next_check = Nanos(ts.0 + self.interval.0);
        // A late answer to the next check does not make a quiet stream look old.
        self.quiet_until = Nanos(self.next_check.0 + CHECK_INTERVAL_MAX.0);
    }

    /// Until the next message checks are further and further apart.
    fn pause(&mut self, ts: Nanos, first: Nanos) {
        let interval = self.interval.get().map_or(first.0, |interval| interval * 2);
        self.interval = Nanos(interval.min(CHECK_INTERVAL_MAX.0));
        self.next_check = Nanos(ts.0 + self.interval.0);
    }

    /// Whether the venue confirmed that nothing happened.
    pub(crate) fn is_quiet(&self, now: Nanos) -> bool {
        self.quiet_until.get().is_some_and(|until| now.0 <= until)
    }
}

/// No bookTicker came for so long after the depth book's best prices moved: each comes with the change itself.
const QUOTE_PATIENCE: Nanos = Nanos(2_500 * Nanos::MILLISECOND.0);

/// Best bid and ask, price and quantity.
type Best = (Px, Qty, Px, Qty);

/// The watchdog of one symbol's bookTickers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QuoteWatch {
    /// The depth book's best after its last event, since a connection stands that would have told of a change.
    best: Option<Best>,
    /// Since then the best is another one, and no bookTicker came.
    missing_since: Nanos,
    /// From there to the next alarm.
    patience: Nanos,
}

impl Default for QuoteWatch {
    fn default() -> Self {
        Self { best: None, missing_since: Nanos::UNDEF, patience: QUOTE_PATIENCE }
    }
}

impl QuoteWatch {
    /// The depth book's best after an event; whether the newest bookTicker has it or is newer.
    pub(crate) fn on_book(&mut self, ts: Nanos, best: Best, is_told: bool) {
        let moved = self.best.replace(best).is_some_and(|before| before != best);
        if moved && !is_told && !self.missing_since.is_defined() {
            self.missing_since = ts;
        }
    }

    /// A bookTicker.
    pub(crate) fn on_quote(&mut self) {
        (self.missing_since, self.patience) = (Nanos::UNDEF, QUOTE_PATIENCE);
    }

    /// A connection that is to bring them from now on, or a book that begins anew.
    pub(crate) fn restart(&mut self) {
        *self = Self::default();
    }

    /// Whether the stream is stalled at timer `g`; told again less and less often.
    pub(crate) fn on_timer(&mut self, g: Nanos) -> bool {
        let silence = self.missing_since.get().map_or(0, |since| g.0 - since);
        let is_stalled = silence >= self.patience.0;
        if is_stalled {
            self.missing_since = g;
            self.patience = Nanos((2 * self.patience.0).min(CHECK_INTERVAL_MAX.0));
        }
        is_stalled
    }
}

/// Seconds with trades, one after the other, that no trade came for: the first alarm, and each later one at four
/// times as many.
const UNTOLD_SECONDS: u32 = 3;

/// The watchdog of one symbol's trades.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TradeWatch {
    untold_seconds: u32,
    alarm_at: u32,
}

impl Default for TradeWatch {
    fn default() -> Self {
        Self { untold_seconds: 0, alarm_at: UNTOLD_SECONDS }
    }
}

impl TradeWatch {
    /// A closed second of the venue with trades, and none of them came. Whether the stream is stalled.
    pub(crate) fn on_untold_second(&mut self) -> bool {
        self.untold_seconds = self.untold_seconds.saturating_add(1);
        let alarm = self.untold_seconds >= self.alarm_at;
        if alarm {
            self.alarm_at = self.alarm_at.saturating_mul(4);
        }
        alarm
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: i64 = Nanos::MILLISECOND.0;

    #[test]
    fn buckets_are_half_octaves() {
        let mut before = 0;
        for ms in [1, 2, 10, 14, 15, 20, 28, 29, 40, 100, 1_000, 40_000, 10_000_000] {
            let at = bucket(Nanos(ms * MS));
            assert!(at >= before && at < BUCKETS, "{ms}");
            let bound = upper_bound(at);
            if at < BUCKETS - 1 {
                assert!(bound.0 >= ms * MS, "{ms} ms in a bucket to {bound:?}");
                assert!(bound.0 <= ms * MS * 3 / 2 + MS, "{ms} ms to {bound:?}");
            }
            before = at;
        }
    }

    proptest! {
        /// Patience lies between 2.5 and 2.5 · √2 times the interval that one in a thousand exceeds.
        #[test]
        fn patience_follows_the_rhythm(intervals in prop::collection::vec(10i64..4_000, 600..2_000)) {
            let mut rhythm = Rhythm::default();
            let mut ts = 0;
            rhythm.on_message(Nanos(ts));
            for interval in &intervals {
                ts += interval * MS;
                rhythm.on_message(Nanos(ts));
            }
            let mut sorted = intervals.clone();
            sorted.sort_unstable();
            let exact = sorted[sorted.len() - 1 - sorted.len() / 1_000] * MS;
            let patience = rhythm.patience().0;
            prop_assert!(patience >= (exact * 5 / 2).max(PATIENCE_MIN.0) - 1);
            prop_assert!(patience <= ((exact + MS) * 5 / 2 * 3 / 2).max(PATIENCE_MIN.0));
        }
    }

    fn learned(every_ms: i64) -> (DepthWatch, i64) {
        let mut watch = DepthWatch::default();
        let mut now = 0;
        for id in 0..1_000 {
            now += every_ms * MS;
            watch.on_message(Nanos(now), id);
            assert_eq!(watch.on_timer(Nanos(now)), Alarm::None);
        }
        (watch, now)
    }

    fn first_alarm(watch: &mut DepthWatch, from: i64, until: i64) -> Option<(Alarm, i64)> {
        (1..).map(|step| from + step * 100 * MS).take_while(|&g| g <= until).find_map(|g| {
            let alarm = watch.on_timer(Nanos(g));
            (alarm != Alarm::None).then_some((alarm, g - from))
        })
    }

    #[test]
    fn a_stalled_stream_is_found_within_three_seconds() {
        let (mut watch, now) = learned(100);
        let (alarm, after) = first_alarm(&mut watch, now, now + 3_000 * MS).unwrap();
        assert_eq!((alarm, after), (Alarm::Ask, 1_500 * MS));
        assert!(watch.on_requested(CHECK_LEVELS, true) && watch.is_asked());
        let answered = now + 1_600 * MS;
        watch.on_answer(Nanos(answered), 1_007, Some(999));
        // A message before the venue's id does not clear it.
        watch.on_message(Nanos(answered + 50 * MS), 1_003);
        let (alarm, after) = first_alarm(&mut watch, answered, answered + 1_000 * MS).unwrap();
        assert_eq!((alarm, after), (Alarm::Stalled, 500 * MS));
        // As long as nothing comes it is asked about again.
        let stalled = answered + 500 * MS;
        let again = first_alarm(&mut watch, stalled, stalled + 100_000 * MS);
        assert_eq!(again, Some((Alarm::Ask, 5_000 * MS)));
    }

    #[test]
    fn a_quiet_one_is_confirmed_again_and_again_and_never_stalled() {
        let (mut watch, mut now) = learned(100);
        let mut checks = 0;
        let end = now + 3_600 * 1_000 * MS;
        while let Some((alarm, after)) = first_alarm(&mut watch, now, end) {
            assert_eq!(alarm, Alarm::Ask);
            now += after;
            assert!(checks == 0 || watch.is_quiet(Nanos(now)));
            watch.on_requested(CHECK_LEVELS, true);
            watch.on_answer(Nanos(now + 40 * MS), 999, Some(999));
            assert!(watch.is_quiet(Nanos(now + 40 * MS)));
            checks += 1;
        }
        assert!((100..140).contains(&checks), "{checks} checks in a quiet hour");
        watch.on_message(Nanos(now), 1_000);
        assert!(!watch.is_quiet(Nanos(now)));
    }

    #[test]
    fn trades_are_stalled_after_three_untold_seconds_and_told_less_and_less_often() {
        let mut watch = TradeWatch::default();
        let alarms: Vec<_> = (1..200).filter(|_| watch.on_untold_second()).collect();
        assert_eq!(alarms, [3, 12, 48, 192]);
    }

    #[test]
    fn another_question_takes_the_answers_place() {
        let (mut watch, now) = learned(100);
        first_alarm(&mut watch, now, now + 3_000 * MS).unwrap();
        assert!(!watch.on_requested(1_000, false));
        assert!(watch.on_requested(CHECK_LEVELS, true));
        assert!(!watch.on_requested(1_000, false) && !watch.is_asked());
    }

    /// Intervals of a stream in ms: short, but for one in three thousand of a minute or so.
    fn quiet_interval(random: &mut u64) -> i64 {
        // xorshift64*: a test needs no better.
        *random ^= *random >> 12;
        *random ^= *random << 25;
        *random ^= *random >> 27;
        let draw = random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        let short = 100 + i64::try_from(draw % 900).unwrap();
        if draw.is_multiple_of(3_001) { short * 120 } else { short }
    }

    /// The venue answers 60 ms after each question; its messages take 20 ms. Alarms of a day, and of a stall after it.
    fn day(seed: u64) -> (u32, u32, i64, i64) {
        let (mut random, mut watch) = (seed, DepthWatch::default());
        let (mut venue_id, mut own_id) = (0, 0);
        let (mut checks, mut stalls) = (0, 0);
        let mut next_message = 0;
        let mut answer_at = None;
        let mut intervals = Vec::new();
        let end = 86_400_000;
        for now_ms in (0..end).step_by(20) {
            // Sent in the step before this one.
            if venue_id > own_id {
                own_id = venue_id;
                watch.on_message(Nanos(now_ms * MS), own_id);
            }
            if now_ms >= next_message {
                let interval = quiet_interval(&mut random);
                intervals.push(interval);
                next_message = now_ms + interval;
                venue_id += 1;
            }
            if answer_at == Some(now_ms) {
                answer_at = None;
                watch.on_answer(Nanos(now_ms * MS), venue_id, Some(own_id));
            }
            if now_ms % 100 == 0 {
                match watch.on_timer(Nanos(now_ms * MS)) {
                    Alarm::None => {}
                    Alarm::Ask => {
                        checks += 1;
                        assert!(watch.on_requested(CHECK_LEVELS, true));
                        answer_at = Some(now_ms + 60);
                    }
                    Alarm::Stalled => stalls += 1,
                }
            }
        }
        intervals.sort_unstable();
        let p999 = intervals[intervals.len() - 1 - intervals.len() / 1_000];
        // From here on the venue moves on and nothing comes.
        watch.on_message(Nanos(end * MS), own_id + 1);
        let mut found = None;
        for now_ms in (end..).step_by(100).skip(1) {
            if answer_at == Some(now_ms) {
                watch.on_answer(Nanos(now_ms * MS), own_id + 9, Some(own_id + 1));
                answer_at = None;
            }
            match watch.on_timer(Nanos(now_ms * MS)) {
                Alarm::None => {}
                Alarm::Ask => {
                    watch.on_requested(CHECK_LEVELS, true);
                    answer_at = Some(now_ms + 100);
                }
                Alarm::Stalled => found = Some(now_ms - end),
            }
            if found.is_some() {
                break;
            }
        }
        (checks, stalls, p999, found.unwrap())
    }

    #[test]
    fn a_book_that_moves_without_bookticker_is_a_stall_told_less_and_less_often() {
        let mut watch = QuoteWatch::default();
        let alarms = |watch: &mut QuoteWatch, seconds: std::ops::Range<i64>| -> Vec<i64> {
            let tenths = seconds.start * 10..seconds.end * 10;
            tenths.filter(|g| watch.on_timer(Nanos(g * 100_000_000))).collect()
        };
        let best = |px| (Px(px), Qty(1), Px(px + 1), Qty(1));
        watch.on_book(Nanos(0), best(10), false);
        watch.on_book(Nanos(0), best(10), false);
        assert!(alarms(&mut watch, 0..100).is_empty(), "nothing moved");
        watch.restart();
        watch.on_book(Nanos(0), best(10), false);
        watch.on_book(Nanos(0), best(11), false);
        watch.on_book(Nanos(Nanos::SECOND.0), best(12), false);
        assert_eq!(alarms(&mut watch, 0..100), [25, 75, 175, 375, 675, 975]);
        watch.on_quote();
        assert!(alarms(&mut watch, 100..200).is_empty());
    }

    #[test]
    fn a_quiet_day_has_no_stall_and_a_stall_is_found_in_time() {
        for seed in 1..6 {
            let (checks, stalls, p999_ms, found_ms) = day(seed);
            assert_eq!(stalls, 0, "seed {seed}");
            assert!(checks > 10, "{checks} checks: nothing was quiet");
            assert!(found_ms <= 3_000.max(5 * p999_ms), "{found_ms} ms, p99.9 {p999_ms} ms");
        }
    }
}
