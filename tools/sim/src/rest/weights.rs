//! The request-weight budget of each address: 429 over it, 418 for who goes on.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::config::Limits;

const MINUTE: Duration = Duration::from_secs(60);

/// Budgets by address, in whole minutes from the start of the server.
#[derive(Debug)]
pub(crate) struct Weights {
    per_minute: u32,
    refusals_before_ban: u32,
    ban: Duration,
    budgets: HashMap<IpAddr, Budget>,
}

#[derive(Debug, Default)]
struct Budget {
    minute: u64,
    used: u32,
    refusals: u32,
    bans: u32,
    banned_until: Option<Duration>,
}

/// What a request's weight comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Used in this minute, this request included.
    Allowed { used: u32 },
    /// 429.
    OverLimit { used: u32, retry_after_s: u64 },
    /// 418.
    Banned { retry_after_s: u64 },
}

impl Weights {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            per_minute: limits.weight_per_minute,
            refusals_before_ban: limits.refusals_before_ban,
            ban: limits.ban,
            budgets: HashMap::new(),
        }
    }

    /// `now` is from the start of the server.
    pub(crate) fn charge(&mut self, ip: IpAddr, weight: u32, now: Duration) -> Verdict {
        let minute = now.as_secs() / MINUTE.as_secs();
        let budget = self.budgets.entry(ip).or_default();
        if let Some(until) = budget.banned_until.filter(|until| now < *until) {
            return Verdict::Banned { retry_after_s: whole_seconds(until - now) };
        }
        if budget.minute != minute {
            (budget.minute, budget.used, budget.refusals) = (minute, 0, 0);
        }
        budget.used = budget.used.saturating_add(weight);
        if budget.used <= self.per_minute {
            return Verdict::Allowed { used: budget.used };
        }
        budget.refusals += 1;
        if budget.refusals > self.refusals_before_ban {
            // Each ban is twice as long as the last, up to three days.
            let ban = (self.ban * 2_u32.saturating_pow(budget.bans.min(16)))
                .min(Duration::from_secs(3 * 24 * 3600));
            budget.bans += 1;
            budget.banned_until = Some(now + ban);
            return Verdict::Banned { retry_after_s: whole_seconds(ban) };
        }
        let next_minute = Duration::from_secs((minute + 1) * MINUTE.as_secs());
        Verdict::OverLimit { used: budget.used, retry_after_s: whole_seconds(next_minute - now) }
    }
}

/// Rounded up: a client that waits so long has waited enough.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    use super::{Verdict, Weights};
    use crate::config::Limits;

    const IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn over_the_budget_is_429_then_418_and_a_new_minute_forgives() {
        let limits = Limits { weight_per_minute: 500, refusals_before_ban: 2, ..Limits::default() };
        let mut weights = Weights::new(&limits);
        let at = Duration::from_secs;
        assert_eq!(weights.charge(IP, 250, at(0)), Verdict::Allowed { used: 250 });
        assert_eq!(weights.charge(IP, 250, at(1)), Verdict::Allowed { used: 500 });
        assert_eq!(
            weights.charge(IP, 1, at(10)),
            Verdict::OverLimit { used: 501, retry_after_s: 50 }
        );
        assert_eq!(weights.charge(IP, 1, at(60)), Verdict::Allowed { used: 1 });
        for _ in 0..3 {
            weights.charge(IP, 500, at(61));
        }
        assert_eq!(weights.charge(IP, 1, at(62)), Verdict::Banned { retry_after_s: 119 });
        assert_eq!(weights.charge(IP, 1, at(181)), Verdict::Allowed { used: 1 });
    }
}
