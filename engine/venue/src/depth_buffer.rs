//! Depth updates kept for later, in two arenas of fixed size.

use cobring_types::{DepthUpdate, Level, Nanos};
use serde::{Deserialize, Serialize};

/// How much a buffer of depth updates holds. Memory is reserved at once and touched as it fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepthBufferCapacity {
    /// Levels of all updates together, 16 bytes each.
    pub levels: u32,
    /// Updates, 40 bytes each.
    pub updates: u32,
}

impl DepthBufferCapacity {
    /// Most that a checkpoint may ask for.
    const MAX: Self = Self { levels: 1 << 24, updates: 1 << 20 };
}

impl Default for DepthBufferCapacity {
    /// Four minutes of the busiest recorded symbol; a snapshot takes seconds.
    fn default() -> Self {
        Self { levels: 1 << 18, updates: 1 << 12 }
    }
}

/// One kept update; its levels lie in the arena from `level_start` on, bids first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    ts_event: Nanos,
    first_update_id: u64,
    last_update_id: u64,
    level_start: u32,
    bid_count: u32,
    ask_count: u32,
}

/// Updates in order of arrival.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Saved")]
pub(crate) struct DepthBuffer {
    capacity: DepthBufferCapacity,
    levels: Vec<Level>,
    updates: Vec<Kept>,
}

impl DepthBuffer {
    pub(crate) fn new(capacity: DepthBufferCapacity) -> Self {
        Self {
            capacity,
            levels: Vec::with_capacity(to_usize(capacity.levels)),
            updates: Vec::with_capacity(to_usize(capacity.updates)),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.levels.clear();
        self.updates.clear();
    }

    /// Keeps an update; `false` where it does not fit, and nothing changed.
    #[must_use]
    pub(crate) fn push(&mut self, update: &DepthUpdate<'_>) -> bool {
        let level_count = self.levels.len() + update.bids.len() + update.asks.len();
        if level_count > to_usize(self.capacity.levels)
            || self.updates.len() >= to_usize(self.capacity.updates)
        {
            return false;
        }
        // All three are at most `level_count`, which fits.
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        self.updates.push(Kept {
            ts_event: update.ts_event,
            first_update_id: update.first_update_id,
            last_update_id: update.last_update_id,
            level_start: count(self.levels.len()),
            bid_count: count(update.bids.len()),
            ask_count: count(update.asks.len()),
        });
        self.levels.extend_from_slice(update.bids);
        self.levels.extend_from_slice(update.asks);
        true
    }

    /// `U` of the first update.
    pub(crate) fn first_update_id(&self) -> Option<u64> {
        self.updates.first().map(|kept| kept.first_update_id)
    }

    /// `u` of the last update.
    pub(crate) fn last_update_id(&self) -> Option<u64> {
        self.updates.last().map(|kept| kept.last_update_id)
    }

    /// The updates whose `u` lies above `update_id`.
    pub(crate) fn after(&self, update_id: u64) -> impl Iterator<Item = DepthUpdate<'_>> {
        self.updates.iter().filter(move |kept| kept.last_update_id > update_id).map(|kept| {
            let start = to_usize(kept.level_start);
            let levels = self.levels.get(start..).unwrap_or_default();
            let (bids, rest) =
                levels.split_at_checked(to_usize(kept.bid_count)).unwrap_or_default();
            let asks = rest.get(..to_usize(kept.ask_count)).unwrap_or_default();
            DepthUpdate {
                ts_event: kept.ts_event,
                first_update_id: kept.first_update_id,
                last_update_id: kept.last_update_id,
                bids,
                asks,
            }
        })
    }
}

fn to_usize(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// What a checkpoint holds; a buffer has its capacity reserved again.
#[derive(Deserialize)]
struct Saved {
    capacity: DepthBufferCapacity,
    levels: Vec<Level>,
    updates: Vec<Kept>,
}

impl TryFrom<Saved> for DepthBuffer {
    type Error = &'static str;

    fn try_from(saved: Saved) -> Result<Self, Self::Error> {
        let Saved { capacity, levels, updates } = saved;
        if capacity.levels > DepthBufferCapacity::MAX.levels
            || capacity.updates > DepthBufferCapacity::MAX.updates
            || levels.len() > to_usize(capacity.levels)
            || updates.len() > to_usize(capacity.updates)
        {
            return Err("the buffer of depth updates is beyond its capacity");
        }
        let mut level_start = 0u64;
        for kept in &updates {
            if u64::from(kept.level_start) != level_start {
                return Err("the buffer of depth updates has levels of no update");
            }
            level_start += u64::from(kept.bid_count) + u64::from(kept.ask_count);
        }
        if u64::try_from(levels.len()) != Ok(level_start) {
            return Err("the buffer of depth updates has updates without levels");
        }
        let mut buffer = Self::new(capacity);
        buffer.levels.extend(levels);
        buffer.updates.extend(updates);
        Ok(buffer)
    }
}
