//! The venue's 24 h ticker as the price's last resort, and when one is to be asked for.
//!
//! Guarantees: one is wanted only at a timer, and only where that timer and the one before it found no other
//! price and no young ticker; at most one is asked for in 5 s. Does not: ask anyone.

use cobring_types::{Nanos, Px, Ticker};
use serde::{Deserialize, Serialize};

/// Without another price, a ticker older than this is asked for again; not more often either.
const AGE_MAX: Nanos = Nanos(5 * Nanos::SECOND.0);

/// The last ticker, and the next one's request.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct DayTicker {
    /// Last price, 0 where there was no trade in 24 h.
    last_px: Px,
    ts_recv: Nanos,
    /// The last timer found nothing else, and this one too old.
    missed: bool,
    wanted: bool,
    /// When one was asked for.
    requested_at: Nanos,
}

impl Default for DayTicker {
    fn default() -> Self {
        let (ts_recv, requested_at) = (Nanos::UNDEF, Nanos::UNDEF);
        Self { last_px: Px(0), ts_recv, missed: false, wanted: false, requested_at }
    }
}

impl DayTicker {
    /// One came, by stream or in answer.
    pub(crate) fn on_ticker(&mut self, ts_recv: Nanos, ticker: &Ticker) {
        self.last_px = ticker.last_px;
        self.ts_recv = ts_recv;
        self.missed = false;
        self.wanted = false;
    }

    /// One was asked for.
    pub(crate) fn on_requested(&mut self, ts: Nanos) {
        self.requested_at = ts;
        self.wanted = false;
    }

    /// Timer `g`; `priced`: there is another price than this one.
    pub(crate) fn on_timer(&mut self, g: Nanos, priced: bool) {
        let since = |ts: Nanos| ts.get().map(|ts| g.0 - ts);
        let missed = !priced && since(self.ts_recv).is_none_or(|age| age > AGE_MAX.0);
        let may_ask = since(self.requested_at).is_none_or(|age| age >= AGE_MAX.0);
        self.wanted = missed && self.missed && may_ask;
        self.missed = missed;
    }

    /// As a new run takes it over: nobody has asked yet.
    pub(crate) fn resumed(&self) -> Self {
        Self { last_px: self.last_px, ts_recv: self.ts_recv, ..Self::default() }
    }

    /// Whether one is wanted now.
    pub(crate) fn wanted(&self) -> bool {
        self.wanted
    }

    /// Its last price, and when it was received.
    pub(crate) fn price(&self) -> Option<(Px, Nanos)> {
        (self.last_px > Px(0)).then_some((self.last_px, self.ts_recv))
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;
    use proptest::prelude::*;

    use super::*;

    const TIMER: i64 = Nanos::SECOND.0 / 10;

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Timer {
            priced: bool,
        },
        Ticker {
            px: i64,
        },
        /// What is wanted is asked for.
        Ask,
        /// Someone else's log may hold more requests than we want.
        AskAnyway,
    }
    use Step::{Ask, AskAnyway, Ticker as Told, Timer};

    /// At each timer: the times of what came before it, in timers.
    #[derive(Default)]
    struct Naive {
        now: i64,
        priced: Vec<bool>,
        told: Vec<(i64, i64)>,
        asked: Vec<i64>,
    }

    impl Naive {
        fn missed(&self, timer: i64) -> bool {
            let Ok(at) = usize::try_from(timer - 1) else { return false };
            let young = self.told.iter().any(|&(at, _)| at < timer && timer - at <= 50);
            !self.priced[at] && !young
        }

        /// As after the last timer; what came since withdraws it.
        fn wanted(&self) -> bool {
            let since_timer = |&at: &i64| at == self.now;
            let told_after = |timer: i64| self.told.iter().any(|&(at, _)| at == timer);
            self.missed(self.now)
                && self.missed(self.now - 1)
                && !told_after(self.now)
                && !told_after(self.now - 1)
                && !self.asked.iter().any(since_timer)
                && self.asked.iter().all(|at| self.now - at >= 50)
        }
    }

    proptest! {
        #[test]
        fn a_ticker_is_wanted_where_two_timers_found_nothing(
            steps in proptest::collection::vec(prop_oneof![
                30 => Just(Timer { priced: false }),
                2 => Just(Timer { priced: true }),
                4 => Just(Ask),
                1 => Just(AskAnyway),
                1 => (0i64..3).prop_map(|px| Told { px }),
            ], 1..600),
        ) {
            let (mut ticker, mut naive) = (DayTicker::default(), Naive::default());
            for step in steps {
                let now = Nanos(naive.now * TIMER);
                match step {
                    Timer { priced } => {
                        naive.now += 1;
                        naive.priced.push(priced);
                        ticker.on_timer(Nanos(naive.now * TIMER), priced);
                    }
                    Told { px } => {
                        naive.told.push((naive.now, px));
                        ticker.on_ticker(now, &Ticker { last_px: Px(px), ..Ticker::zeroed() });
                    }
                    AskAnyway => {
                        naive.asked.push(naive.now);
                        ticker.on_requested(now);
                    }
                    Ask if ticker.wanted() => {
                        naive.asked.push(naive.now);
                        ticker.on_requested(now);
                    }
                    Ask => {}
                }
                prop_assert_eq!(ticker.wanted(), naive.wanted(), "{:?} at {}", step, naive.now);
                let told = naive.told.last().filter(|(_, px)| *px > 0);
                let price = told.map(|&(at, px)| (Px(px), Nanos(at * TIMER)));
                prop_assert_eq!(ticker.price(), price);
            }
        }
    }
}
