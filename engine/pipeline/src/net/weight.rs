//! One REST weight budget for the process.
//!
//! Guarantees: pure, times are parameters; the weight of our own requests within any 60 s, fixed or
//! sliding, at whatever moment between send and reply the venue counts them, never exceeds the limit
//! less the headroom; nothing is permitted before a `Retry-After` has passed. Does not: wait, queue, send.

use std::collections::VecDeque;

use cobring_types::Nanos;

use super::{Backoff, BackoffConfig};

/// Bounds of a [`WeightBudget`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightConfig {
    /// The venue's limit a minute.
    pub limit_per_minute: u32,
    /// Percent of it that stay unused: for other programs at the same address.
    pub headroom_percent: u32,
    /// Pause after a 429 without `Retry-After`.
    pub pause_429: Nanos,
    /// Pause after a 418 without `Retry-After`.
    pub pause_418: Nanos,
    /// Pause after a 403 (a web application firewall).
    pub pause_403: Nanos,
    /// Pauses after 5xx and after requests without a reply.
    pub backoff: BackoffConfig,
    /// Seed of the backoff's jitter.
    pub seed: u64,
}

impl Default for WeightConfig {
    fn default() -> Self {
        Self {
            limit_per_minute: 6000,
            headroom_percent: 25,
            pause_429: Nanos(60 * Nanos::SECOND.0),
            pause_418: Nanos(180 * Nanos::SECOND.0),
            pause_403: Nanos(60 * Nanos::SECOND.0),
            backoff: BackoffConfig { reset_after: Nanos(0), ..BackoffConfig::default() },
            seed: 0,
        }
    }
}

/// How a request ended, as far as the budget cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplyFacts {
    /// HTTP status; 0 where no reply came.
    pub status: u16,
    /// Weight in use as the reply's header says.
    pub used_weight: Option<u32>,
    /// `Retry-After`, seconds.
    pub retry_after_s: Option<u32>,
}

/// Why a request must not be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// Not before this time.
    NotBefore(Nanos),
    /// Its weight exceeds the whole budget.
    TooHeavy {
        /// The budget: limit less headroom.
        limit: u32,
    },
}

/// Weight that the venue may still count against us.
#[derive(Debug, Clone, Copy)]
struct Entry {
    expires: Nanos,
    weight: u64,
}

/// Weight used and pauses ordered by the venue.
#[derive(Debug)]
pub struct WeightBudget {
    config: WeightConfig,
    limit: u32,
    /// Replied requests and what others used, by expiry.
    entries: VecDeque<Entry>,
    /// Sent and not yet replied: the venue may count them at any time.
    in_flight: VecDeque<u32>,
    used: u64,
    paused_until: Nanos,
    backoff: Backoff,
}

impl WeightBudget {
    const WINDOW: Nanos = Nanos(60 * Nanos::SECOND.0);
    /// Entries that expire within the same grain are one: bounds their number to 240.
    const GRAIN: Nanos = Nanos(Nanos::SECOND.0 / 4);

    /// A budget of which nothing is used.
    ///
    /// # Panics
    /// Where the headroom leaves nothing.
    #[must_use]
    pub fn new(config: WeightConfig) -> Self {
        let limit = u64::from(config.limit_per_minute)
            * u64::from(100u32.saturating_sub(config.headroom_percent))
            / 100;
        let limit = u32::try_from(limit).expect("invariant: a part of a u32");
        assert!(
            limit > 0,
            "weight limit {} with {} % headroom leaves nothing",
            config.limit_per_minute,
            config.headroom_percent
        );
        Self {
            config,
            limit,
            entries: VecDeque::with_capacity(256),
            in_flight: VecDeque::with_capacity(4),
            used: 0,
            paused_until: Nanos(i64::MIN),
            backoff: Backoff::new(config.backoff, config.seed),
        }
    }

    /// The budget: the venue's limit less the headroom.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// Weight in use.
    pub fn used(&mut self, now: Nanos) -> u64 {
        while let Some(entry) = self.entries.front()
            && entry.expires <= now
        {
            self.used -= entry.weight;
            self.entries.pop_front();
        }
        self.used
    }

    /// When the present pause ends, if there is one.
    #[must_use]
    pub fn paused_until(&self, now: Nanos) -> Option<Nanos> {
        (now < self.paused_until).then_some(self.paused_until)
    }

    /// Takes `weight` for a request that is sent now. [`WeightBudget::on_reply`] must follow.
    ///
    /// # Errors
    /// [`Denied`], and nothing is taken.
    pub fn permit(&mut self, now: Nanos, weight: u32) -> Result<(), Denied> {
        self.permit_within(now, weight, self.limit)
    }

    /// As [`WeightBudget::permit`] for what can wait for ever: half of the budget is left to the rest.
    ///
    /// # Errors
    /// [`Denied`], and nothing is taken.
    pub fn permit_spare(&mut self, now: Nanos, weight: u32) -> Result<(), Denied> {
        self.permit_within(now, weight, (self.limit / 2).max(weight))
    }

    fn permit_within(&mut self, now: Nanos, weight: u32, within: u32) -> Result<(), Denied> {
        if weight > self.limit {
            return Err(Denied::TooHeavy { limit: self.limit });
        }
        if let Some(until) = self.paused_until(now) {
            return Err(Denied::NotBefore(until));
        }
        let over = (self.used(now) + u64::from(weight)).saturating_sub(u64::from(within));
        if over == 0 {
            self.in_flight.push_back(weight);
            self.used += u64::from(weight);
            return Ok(());
        }
        let mut freed = 0;
        for entry in &self.entries {
            freed += entry.weight;
            if freed >= over {
                return Err(Denied::NotBefore(entry.expires));
            }
        }
        // Requests in flight hold the rest: ask again soon.
        Err(Denied::NotBefore(Nanos(now.0.saturating_add(Self::GRAIN.0))))
    }

    /// The oldest permitted request ended.
    pub fn on_reply(&mut self, now: Nanos, reply: ReplyFacts) {
        if let Some(weight) = self.in_flight.pop_front() {
            self.used -= u64::from(weight);
            self.add(now, u64::from(weight));
        }
        let used = self.used(now);
        if let Some(theirs) = reply.used_weight
            && u64::from(theirs) > used
        {
            self.add(now, u64::from(theirs) - used);
        }
        let seconds =
            reply.retry_after_s.map(|s| Nanos(i64::from(s).saturating_mul(Nanos::SECOND.0)));
        let pause = match reply.status {
            429 => seconds.unwrap_or(self.config.pause_429),
            418 => seconds.unwrap_or(self.config.pause_418),
            403 => seconds.unwrap_or(self.config.pause_403),
            0 | 500.. => {
                let backoff = self.backoff.on_failure();
                seconds.unwrap_or(backoff).max(backoff)
            }
            _ => {
                self.backoff.reset();
                return;
            }
        };
        self.paused_until = self.paused_until.max(Nanos(now.0.saturating_add(pause.0)));
    }

    fn add(&mut self, now: Nanos, weight: u64) {
        self.used += weight;
        let expires = Nanos(now.0.saturating_add(Self::WINDOW.0)).ceil_to(Self::GRAIN);
        match self.entries.back_mut() {
            // Also for a clock that went back: expiry never decreases along the queue.
            Some(last) if last.expires >= expires => last.weight += weight,
            _ => self.entries.push_back(Entry { expires, weight }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: i64 = Nanos::SECOND.0;
    #[test]
    fn what_can_wait_leaves_half_of_the_budget() {
        let config = WeightConfig {
            limit_per_minute: 1_000,
            headroom_percent: 0,
            ..WeightConfig::default()
        };
        let mut budget = WeightBudget::new(config);
        for _ in 0..20 {
            assert_eq!(budget.permit_spare(Nanos(0), 25), Ok(()));
            budget.on_reply(Nanos(0), OK);
        }
        assert_eq!(budget.permit_spare(Nanos(0), 25), Err(Denied::NotBefore(Nanos(60 * S))));
        assert_eq!(budget.permit(Nanos(0), 500), Ok(()));
        // Heavier than half of it, but not than all.
        let mut budget = WeightBudget::new(config);
        assert_eq!(budget.permit_spare(Nanos(0), 600), Ok(()));
        assert_eq!(budget.permit_spare(Nanos(0), 1_001), Err(Denied::TooHeavy { limit: 1_000 }));
    }

    const OK: ReplyFacts = ReplyFacts { status: 200, used_weight: None, retry_after_s: None };

    fn budget(limit_per_minute: u32) -> WeightBudget {
        WeightBudget::new(WeightConfig {
            limit_per_minute,
            headroom_percent: 0,
            ..WeightConfig::default()
        })
    }

    fn status(status: u16, retry_after_s: Option<u32>) -> ReplyFacts {
        ReplyFacts { status, used_weight: None, retry_after_s }
    }

    #[test]
    fn a_spent_budget_frees_a_minute_after_the_replies() {
        let mut budget = budget(500);
        for at in [0, 1] {
            assert_eq!(budget.permit(Nanos(at * S), 250), Ok(()));
            budget.on_reply(Nanos(at * S + S / 2), OK);
        }
        let later = Denied::NotBefore(Nanos(60 * S + S / 2));
        assert_eq!(budget.permit(Nanos(2 * S), 1), Err(later));
        assert_eq!(budget.permit(Nanos(60 * S), 250), Err(later));
        assert_eq!(budget.permit(Nanos(60 * S + S / 2), 250), Ok(()));
        assert_eq!(budget.permit(Nanos(0), 501), Err(Denied::TooHeavy { limit: 500 }));
    }

    #[test]
    fn the_venues_count_corrects_ours_upward_only() {
        let mut budget = budget(6000);
        budget.permit(Nanos(0), 250).unwrap();
        budget.on_reply(Nanos(0), ReplyFacts { used_weight: Some(5900), ..OK });
        assert_eq!(budget.used(Nanos(0)), 5900);
        assert!(budget.permit(Nanos(S), 250).is_err());
        budget.permit(Nanos(S), 100).unwrap();
        budget.on_reply(Nanos(S), ReplyFacts { used_weight: Some(3), ..OK });
        assert_eq!(budget.used(Nanos(S)), 6000);
        assert_eq!(budget.used(Nanos(61 * S)), 0);
    }

    #[test]
    fn nothing_is_sent_before_retry_after() {
        for (reply, seconds) in [
            (status(429, Some(7)), 7),
            (status(418, Some(3 * 86_400)), 3 * 86_400),
            (status(429, None), 60),
            (status(418, None), 180),
            (status(403, None), 60),
            (status(503, Some(90)), 90),
            (status(418, Some(u32::MAX)), i64::from(u32::MAX)),
        ] {
            let mut budget = budget(6000);
            budget.permit(Nanos(0), 1).unwrap();
            budget.on_reply(Nanos(0), reply);
            let until = Nanos(seconds * S);
            assert_eq!(budget.permit(Nanos(until.0 - 1), 1), Err(Denied::NotBefore(until)));
            assert_eq!(budget.permit(until, 1), Ok(()), "{reply:?}");
        }
    }

    #[test]
    fn failures_back_off_and_a_success_forgives() {
        let mut budget = budget(6000);
        let mut now = 0;
        for whole in [1, 2, 4, 8, 16, 32, 60, 60] {
            budget.permit(Nanos(now), 1).unwrap();
            budget.on_reply(Nanos(now), status(if whole % 3 == 1 { 0 } else { 502 }, None));
            let until = budget.paused_until(Nanos(now)).unwrap().0;
            assert!((whole * S / 2..=whole * S).contains(&(until - now)), "{whole}");
            now = until;
        }
        budget.permit(Nanos(now), 1).unwrap();
        budget.on_reply(Nanos(now), OK);
        assert_eq!(budget.paused_until(Nanos(now)), None);
        budget.permit(Nanos(now), 1).unwrap();
        budget.on_reply(Nanos(now), status(500, None));
        assert!(budget.paused_until(Nanos(now)).unwrap().0 - now <= S);
    }

    proptest! {
        // The venue counts a request at any moment between send and reply, in fixed minutes of any
        // offset or in a sliding minute: neither ever sees more than the limit.
        #[test]
        fn no_minute_of_the_venue_exceeds_the_limit(
            limit in 250u32..2000,
            requests in proptest::collection::vec((0i64..20 * S, prop_oneof![Just(1u32), Just(5), Just(50), Just(250)],
                0i64..12 * S, 0.0f64..1.0, any::<bool>()), 1..200),
            offset in 0i64..60 * S,
        ) {
            let mut budget = budget(limit);
            let mut now = 0;
            let mut counted: Vec<(i64, u32)> = Vec::new();
            for (idle, weight, took, share, lost) in requests {
                now += idle;
                while let Err(denied) = budget.permit(Nanos(now), weight) {
                    let Denied::NotBefore(at) = denied else { panic!("{denied:?}") };
                    prop_assert!(at.0 > now && at.0 <= now + 121 * S);
                    now = at.0;
                }
                #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a share of 12 s")]
                let at = now + (took as f64 * share) as i64;
                counted.push((at, weight));
                now += took;
                budget.on_reply(Nanos(now), if lost { status(0, None) } else { OK });
                prop_assert!(budget.entries.len() <= 260);
            }
            for &(end, _) in &counted {
                let sliding: u32 =
                    counted.iter().filter(|(at, _)| (end - 60 * S..=end).contains(at) && *at > end - 60 * S).map(|(_, w)| w).sum();
                prop_assert!(sliding <= limit);
                let minute = |at: i64| (at + offset).div_euclid(60 * S);
                let fixed: u32 = counted.iter().filter(|(at, _)| minute(*at) == minute(end)).map(|(_, w)| w).sum();
                prop_assert!(fixed <= limit);
            }
        }
    }
}
