//! Faults that REST requests and WebSocket handshakes meet: each for so many requests, then it is gone.

use std::time::Duration;

use crate::faults::{Fault, fits};

/// What a REST request meets instead of, or before, its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RestFault {
    pub(crate) delay: Duration,
    pub(crate) status: Option<(u16, Option<u64>)>,
}

/// Faults and the requests that they still hit.
#[derive(Debug, Default)]
pub(crate) struct RestFaults(Vec<(Fault, u64)>);

impl RestFaults {
    pub(crate) fn add(&mut self, fault: Fault, requests: u64) {
        self.0.push((fault, requests));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// What the next request of `path` meets: all delays, and the first status.
    pub(crate) fn take(&mut self, path: &str) -> RestFault {
        let mut met = RestFault::default();
        for (fault, left) in self.0.iter_mut().filter(|(_, left)| *left > 0) {
            match fault {
                Fault::RestDelay { path: only, delay_ms, .. } if begins(path, only.as_deref()) => {
                    met.delay += Duration::from_millis(*delay_ms);
                    *left -= 1;
                }
                Fault::RestStatus { path: only, status, retry_after_s, .. }
                    if met.status.is_none() && begins(path, only.as_deref()) =>
                {
                    met.status = Some((*status, *retry_after_s));
                    *left -= 1;
                }
                _ => {}
            }
        }
        self.0.retain(|(_, left)| *left > 0);
        met
    }

    /// Whether the next snapshot of `name` is to be an old one.
    pub(crate) fn take_stale_snapshot(&mut self, name: &str) -> bool {
        let is_hit = |(fault, left): &&mut (Fault, u64)| {
            *left > 0 && matches!(fault, Fault::StaleSnapshot { symbol, .. } if fits(symbol, name))
        };
        let hit = self.0.iter_mut().find(is_hit).map(|(_, left)| *left -= 1).is_some();
        self.0.retain(|(_, left)| *left > 0);
        hit
    }
}

fn begins(path: &str, only: Option<&str>) -> bool {
    path.starts_with(only.unwrap_or("/api/"))
}
