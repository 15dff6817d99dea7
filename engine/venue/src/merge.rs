//! One stream over two connections: messages carry ranges of ids, and whichever copy comes first counts.
//!
//! Guarantees: what is handed on is in order of ids, each id once where both connections together have it; a
//! message that one of them lost costs nothing. What is ahead of the rest waits until the gap before it is filled, or
//! is real: both connections have passed it, there is only one, or it has waited too long. Does not: know what is in
//! the messages, nor that anything is missing: who takes them sees it by the ids.

use std::collections::VecDeque;

use cobring_types::{DepthUpdate, Nanos, Trade};
use serde::{Deserialize, Serialize};

use crate::depth_buffer::{DepthBuffer, DepthBufferCapacity};

/// A message waits for the other connection at most this long.
pub const MERGE_WAIT: Nanos = Nanos::SECOND;

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merged {
    /// It joins: take it, and then what joins it now.
    Next,
    /// It waits.
    Waits,
    /// The first gap is real: skip it, take what joins then, and ask again.
    Skip,
}

/// Which ids were handed on, and since when others wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Ids {
    /// The last id that was handed on; 0 before the first.
    through: u64,
    /// The last id that waits; 0 where none does.
    waits_through: u64,
    since: Nanos,
}

impl Default for Ids {
    fn default() -> Self {
        Self { through: 0, waits_through: 0, since: Nanos::UNDEF }
    }
}

impl Ids {
    fn judge(&mut self, ts: Nanos, (first, last): (u64, u64), connections: usize) -> Merged {
        let is_ahead = self.through > 0 && first > self.through.saturating_add(1);
        if !is_ahead {
            self.through = self.through.max(last);
            // The connection behind moves on: it fills the gap or passes it.
            self.since = ts;
            return Merged::Next;
        }
        // A second copy of what waits: the other connection has no more of the gap than the first one had. And
        // nobody else can fill a gap of a lone connection; but one that has just lost the other may be behind it.
        if last <= self.waits_through || (connections < 2 && self.waits_through == 0) {
            return Merged::Skip;
        }
        if self.waits_through == 0 {
            self.since = ts;
        }
        self.waits_through = last;
        Merged::Waits
    }

    /// The ids before `first` are given up; what waits behind the next gap waits anew.
    fn skip_to(&mut self, ts: Nanos, first: u64) {
        self.through = self.through.max(first.saturating_sub(1));
        self.since = ts;
    }

    fn is_due(&self, now: Nanos) -> bool {
        self.waits_through > 0 && now.0.saturating_sub(self.since.0) >= MERGE_WAIT.0
    }

    fn joins(&self, first: u64) -> bool {
        first <= self.through.saturating_add(1)
    }

    fn waits_no_more(&mut self) {
        (self.waits_through, self.since) = (0, Nanos::UNDEF);
    }
}

/// Depth updates of one symbol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepthMerge {
    ids: Ids,
    waiting: DepthBuffer,
}

impl Default for DepthMerge {
    fn default() -> Self {
        // A second of the busiest symbol, several times over.
        let capacity = DepthBufferCapacity { levels: 1 << 15, updates: 1 << 8 };
        Self { ids: Ids::default(), waiting: DepthBuffer::new(capacity) }
    }
}

impl DepthMerge {
    /// An update, received at `ts` while so many connections carry depth.
    pub fn on_depth(&mut self, ts: Nanos, update: &DepthUpdate<'_>, connections: usize) -> Merged {
        let before = self.ids;
        let ids = (update.first_update_id, update.last_update_id);
        let merged = self.ids.judge(ts, ids, connections);
        if merged == Merged::Waits && !self.waiting.push(update) {
            self.ids = before;
            return Merged::Skip;
        }
        merged
    }

    /// Hands over what waited and joins now, in order.
    pub fn joining(&mut self, mut take: impl FnMut(&DepthUpdate<'_>)) {
        for update in self.waiting.after(self.ids.through) {
            if !self.ids.joins(update.first_update_id) {
                return;
            }
            self.ids.through = update.last_update_id;
            take(&update);
        }
        self.waiting.clear();
        self.ids.waits_no_more();
    }

    /// The gap before the first that waits, or before `update`, is real; what joins then is handed over.
    pub fn skip(
        &mut self,
        ts: Nanos,
        update: Option<&DepthUpdate<'_>>,
        take: impl FnMut(&DepthUpdate<'_>),
    ) {
        let waiting = self.waiting.after(self.ids.through).next();
        let firsts = waiting.iter().chain(update).map(|update| update.first_update_id);
        let first = firsts.min().unwrap_or(0);
        self.ids.skip_to(ts, first);
        self.joining(take);
    }

    /// Whether something has waited long enough.
    #[must_use]
    pub fn is_due(&self, now: Nanos) -> bool {
        self.ids.is_due(now)
    }

    /// Whether something waits.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.ids.waits_through > 0
    }

    /// The stream begins anew: nothing is known of the ids to come.
    pub fn reset(&mut self) {
        self.ids = Ids::default();
        self.waiting.clear();
    }
}

/// Trades that wait, at most.
const TRADES_MAX: usize = 1 << 10;

/// Trades of one symbol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TradeMerge {
    ids: Ids,
    waiting: VecDeque<Trade>,
}

impl Default for TradeMerge {
    fn default() -> Self {
        Self { ids: Ids::default(), waiting: VecDeque::with_capacity(TRADES_MAX) }
    }
}

impl TradeMerge {
    /// Reserves all memory that it will need (again).
    pub fn reserve(&mut self) {
        self.waiting.reserve_exact(TRADES_MAX.saturating_sub(self.waiting.len()));
    }

    /// A trade, received at `ts` while so many connections carry trades.
    pub fn on_trade(&mut self, ts: Nanos, trade: &Trade, connections: usize) -> Merged {
        let before = self.ids;
        let merged = self.ids.judge(ts, (trade.first_id, trade.last_id), connections);
        if merged == Merged::Waits {
            if self.waiting.len() == TRADES_MAX {
                self.ids = before;
                return Merged::Skip;
            }
            self.waiting.push_back(*trade);
        }
        merged
    }

    /// The next one that waited and joins now.
    pub fn next_joining(&mut self) -> Option<Trade> {
        let next = *self.waiting.front()?;
        if !self.ids.joins(next.first_id) {
            return None;
        }
        self.waiting.pop_front();
        self.ids.through = self.ids.through.max(next.last_id);
        if self.waiting.is_empty() {
            self.ids.waits_no_more();
        }
        Some(next)
    }

    /// The gap before the first that waits, or before `trade`, is real.
    pub fn skip(&mut self, ts: Nanos, trade: Option<&Trade>) {
        let firsts = self.waiting.front().into_iter().chain(trade).map(|trade| trade.first_id);
        let first = firsts.min().unwrap_or(0);
        self.ids.skip_to(ts, first);
    }

    /// Whether something has waited long enough.
    #[must_use]
    pub fn is_due(&self, now: Nanos) -> bool {
        self.ids.is_due(now)
    }

    /// Whether something waits.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.ids.waits_through > 0
    }
}
