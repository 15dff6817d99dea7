//! The book-sync rule of venues whose depth updates carry first and last update id (`U`, `u`) and
//! whose snapshots come by REST with the id they are the state after.
//!
//! Guarantees: no allocation after construction; the book is *live* only while snapshot and updates
//! join without a gap. Needs: every depth update and snapshot of one symbol, in the log's order.
//! Does not: hold the book, look at levels, know why a snapshot was asked for.
//!
//! The rule, from <https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#how-to-manage-a-local-order-book-correctly>
//! with the venue's corrections: buffer updates until a snapshot comes; drop those with `u` ≤
//! `lastUpdateId`; the first one kept must have `U` ≤ `lastUpdateId` + 1, else the snapshot is too
//! old; apply them. Then `u` ≤ local: ignore; `U` > local + 1: gap, and that update is the first one
//! buffered; else apply it whole, local = `u`.
//!
//! A live book is audited by a second one: a snapshot and the updates after it, compared with the
//! live one where both have the same id, then adopted for its wider range.

use cobring_types::{DepthSnapshot, DepthUpdate};
use serde::{Deserialize, Serialize};

use crate::depth_buffer::{DepthBuffer, DepthBufferCapacity};

/// How a book stands to the venue's, as far as update ids can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyncState {
    /// Never asked for, never seen.
    Empty,
    /// A snapshot was asked for.
    Syncing,
    /// Snapshot and updates join.
    Live,
    /// Lost, and no snapshot asked for since.
    Gapped,
}

/// What to do with a depth update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DepthVerdict {
    /// Apply it to the book, whole, and then do as `audit` says.
    Apply {
        /// What it means for the second book.
        audit: Audit,
    },
    /// Nothing: the book, or the buffer, is past it.
    Ignore,
    /// Nothing: it waits for a snapshot.
    Buffered,
    /// Discard the book: updates are missing. This one is the first that waits for a snapshot.
    Gap {
        /// The `U` that would have joined.
        expected: u64,
        /// The `U` that came.
        found: u64,
    },
    /// The book was not live; updates are missing among those that wait, which now begin with this
    /// one.
    BufferGap {
        /// The `U` that would have joined.
        expected: u64,
        /// The `U` that came.
        found: u64,
    },
    /// The buffer was full and dropped all that waited; it begins anew with this update, if it fits
    /// at all. Ask for a snapshot again.
    Overflow,
}

/// What an applied update means for the second book of a pending audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audit {
    /// Nothing.
    None,
    /// Both books are at the same id now: compare, then adopt the second one.
    Compare,
    /// Apply this update to the second book too; then as [`Audit::Compare`].
    ApplyAndCompare,
}

/// What to do with a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotVerdict {
    /// The book is the snapshot and the updates of [`BookSync::take_kept`]; it is live.
    Adopted,
    /// Audit: the second book is the snapshot and the updates of [`BookSync::take_kept`]. Both are
    /// at the same id: compare, then adopt the second one.
    AuditNow,
    /// Audit: the second book is the snapshot, ahead of the live one. Keep it until an update's
    /// [`Audit`] says to compare; a gap or another snapshot discards it.
    AuditLater,
    /// The book is live and past it, and nothing bridges the two: use it for nothing.
    PassedOver,
    /// The first update that waits does not join it: ask again. All updates still wait.
    TooOld {
        /// The snapshot's id.
        last_update_id: u64,
        /// `U` of the first update after it that is known.
        first_kept: u64,
    },
    /// As [`SnapshotVerdict::TooOld`], and updates had reached back to the snapshot: those missing
    /// among them are the reason.
    GapInBuffer {
        /// The snapshot's id.
        last_update_id: u64,
        /// `U` of the first update after the gap.
        first_kept: u64,
    },
}

/// How often each thing happened to one symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SyncCounters {
    /// Depth updates that were old or double.
    pub updates_ignored: u64,
    /// Gaps in a live book.
    pub gaps: u64,
    /// Gaps among updates that waited.
    pub buffer_gaps: u64,
    /// Times that the buffer was full.
    pub overflows: u64,
    /// Snapshots that began a book.
    pub snapshots_adopted: u64,
    /// Snapshots that were too old to begin a book.
    pub snapshots_too_old: u64,
    /// Snapshots that a live book was past.
    pub snapshots_passed_over: u64,
    /// Snapshots taken for an audit of a live book.
    pub audits: u64,
}

/// The state of an audit of a live book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum AuditState {
    None,
    /// A snapshot was asked for: the buffer keeps what is applied.
    Recording,
    /// A snapshot is ahead of the book.
    Ahead {
        last_update_id: u64,
    },
}

/// Decides what depth updates and snapshots of one symbol mean for its book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookSync {
    state: SyncState,
    /// Id that the book is the state after, while live.
    update_id: u64,
    /// While not live: what waits. While an audit records: what was applied since.
    buffer: DepthBuffer,
    /// While not live: `U` of the first update since the book was lost, kept or not.
    first_seen: Option<u64>,
    /// While not live and nothing waits: the last id that is known to exist, 0 where none is.
    lost_through: u64,
    audit: AuditState,
    /// The updates above this id are what [`Self::take_kept`] gives.
    kept_after: Option<u64>,
    counters: SyncCounters,
}

impl BookSync {
    /// An empty book's state. All memory is reserved here.
    #[must_use]
    pub fn new(capacity: DepthBufferCapacity) -> Self {
        Self {
            state: SyncState::Empty,
            update_id: 0,
            buffer: DepthBuffer::new(capacity),
            first_seen: None,
            lost_through: 0,
            audit: AuditState::None,
            kept_after: None,
            counters: SyncCounters::default(),
        }
    }

    /// How the book stands.
    #[must_use]
    pub fn state(&self) -> SyncState {
        self.state
    }

    /// Whether the book is live.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.state == SyncState::Live
    }

    /// The id that the book is the state after; `None` while it is not live.
    #[must_use]
    pub fn update_id(&self) -> Option<u64> {
        self.is_live().then_some(self.update_id)
    }

    /// Whether a second book waits for an update to be compared.
    #[must_use]
    pub fn is_audit_pending(&self) -> bool {
        matches!(self.audit, AuditState::Ahead { .. })
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> &SyncCounters {
        &self.counters
    }

    /// A snapshot was asked for. In a live book that begins an audit: updates are kept from here on,
    /// so that a snapshot older than the book by its arrival still joins.
    pub fn on_requested(&mut self) {
        self.forget_kept();
        match (self.state, self.audit) {
            (SyncState::Live, AuditState::None) => self.audit = AuditState::Recording,
            (SyncState::Live, _) => {}
            _ => self.state = SyncState::Syncing,
        }
    }

    /// The next depth update.
    pub fn on_depth(&mut self, update: &DepthUpdate<'_>) -> DepthVerdict {
        self.forget_kept();
        if self.is_live() { self.on_live_depth(update) } else { self.on_waiting_depth(update) }
    }

    fn on_live_depth(&mut self, update: &DepthUpdate<'_>) -> DepthVerdict {
        if update.last_update_id <= self.update_id {
            self.counters.updates_ignored += 1;
            return DepthVerdict::Ignore;
        }
        let expected = self.update_id.saturating_add(1);
        if update.first_update_id > expected {
            self.counters.gaps += 1;
            self.lose(SyncState::Gapped, self.update_id);
            self.begin_buffer(update);
            return DepthVerdict::Gap { expected, found: update.first_update_id };
        }
        self.update_id = update.last_update_id;
        let audit = match self.audit {
            AuditState::None => Audit::None,
            AuditState::Recording => {
                if !self.buffer.push(update) {
                    self.counters.overflows += 1;
                    self.end_audit();
                }
                Audit::None
            }
            AuditState::Ahead { last_update_id } if self.update_id < last_update_id => Audit::None,
            AuditState::Ahead { last_update_id } => {
                self.end_audit();
                // At the snapshot's own id the update says nothing that the snapshot does not.
                if self.update_id == last_update_id {
                    Audit::Compare
                } else {
                    Audit::ApplyAndCompare
                }
            }
        };
        DepthVerdict::Apply { audit }
    }

    fn on_waiting_depth(&mut self, update: &DepthUpdate<'_>) -> DepthVerdict {
        let seen_through = self.buffer.last_update_id().unwrap_or(self.lost_through);
        if update.last_update_id <= seen_through {
            self.counters.updates_ignored += 1;
            return DepthVerdict::Ignore;
        }
        let expected = seen_through.saturating_add(1);
        if seen_through > 0 && update.first_update_id > expected {
            self.counters.buffer_gaps += 1;
            let first_seen = self.first_seen;
            self.begin_buffer(update);
            self.first_seen = first_seen.or(self.first_seen);
            return DepthVerdict::BufferGap { expected, found: update.first_update_id };
        }
        if !self.buffer.push(update) {
            self.counters.overflows += 1;
            self.begin_buffer(update);
            return DepthVerdict::Overflow;
        }
        self.first_seen = self.first_seen.or(Some(update.first_update_id));
        DepthVerdict::Buffered
    }

    /// A snapshot. After [`SnapshotVerdict::Adopted`] and [`SnapshotVerdict::AuditNow`] the caller
    /// loads it and applies what [`Self::take_kept`] gives.
    pub fn on_snapshot(&mut self, snapshot: &DepthSnapshot<'_>) -> SnapshotVerdict {
        self.forget_kept();
        let last_update_id = snapshot.last_update_id;
        if self.is_live() {
            self.on_live_snapshot(last_update_id)
        } else {
            self.on_awaited_snapshot(last_update_id)
        }
    }

    fn on_live_snapshot(&mut self, last_update_id: u64) -> SnapshotVerdict {
        if last_update_id > self.update_id {
            self.counters.audits += 1;
            self.end_audit();
            self.audit = AuditState::Ahead { last_update_id };
            return SnapshotVerdict::AuditLater;
        }
        let is_bridged = last_update_id == self.update_id
            || self.audit == AuditState::Recording
                && self
                    .buffer
                    .first_update_id()
                    .is_some_and(|first| first <= last_update_id.saturating_add(1));
        if is_bridged {
            self.counters.audits += 1;
            self.audit = AuditState::None;
            self.kept_after = Some(last_update_id);
            return SnapshotVerdict::AuditNow;
        }
        self.counters.snapshots_passed_over += 1;
        if self.audit == AuditState::Recording {
            self.end_audit();
        }
        SnapshotVerdict::PassedOver
    }

    fn on_awaited_snapshot(&mut self, last_update_id: u64) -> SnapshotVerdict {
        let joins_from = last_update_id.saturating_add(1);
        let first_kept = match self.buffer.after(last_update_id).next() {
            Some(first) => first.first_update_id,
            // What was dropped counts as one update that is missing.
            None if self.lost_through > last_update_id => self.lost_through.saturating_add(1),
            None => joins_from,
        };
        if first_kept > joins_from {
            self.counters.snapshots_too_old += 1;
            if self.first_seen.is_some_and(|first| first <= joins_from) {
                // The sync that follows begins with what is kept.
                self.state = SyncState::Gapped;
                self.first_seen = self.buffer.first_update_id();
                return SnapshotVerdict::GapInBuffer { last_update_id, first_kept };
            }
            return SnapshotVerdict::TooOld { last_update_id, first_kept };
        }
        self.counters.snapshots_adopted += 1;
        self.state = SyncState::Live;
        self.update_id = self.buffer.last_update_id().unwrap_or(0).max(last_update_id);
        self.first_seen = None;
        self.lost_through = 0;
        self.kept_after = Some(last_update_id);
        SnapshotVerdict::Adopted
    }

    /// Hands over, in order, the kept updates that follow the snapshot just judged, and forgets them.
    pub fn take_kept(&mut self, mut apply: impl FnMut(&DepthUpdate<'_>)) {
        if let Some(kept_after) = self.kept_after {
            self.buffer.after(kept_after).for_each(|update| apply(&update));
        }
        self.forget_kept();
    }

    /// The book proved wrong (crossed, an audit's mismatch) in an unbroken stream: it is lost, and a
    /// snapshot of its own id or later begins the next one.
    pub fn restart(&mut self) {
        self.forget_kept();
        let lost_through =
            self.update_id().or(self.buffer.last_update_id()).unwrap_or(self.lost_through);
        self.lose(SyncState::Gapped, lost_through);
    }

    /// The stream is broken (link lost, hole in the log): the book and all that waits is lost, and
    /// nothing is known of the ids to come.
    pub fn reset(&mut self) {
        self.forget_kept();
        let state = match self.state {
            SyncState::Empty => SyncState::Empty,
            SyncState::Syncing | SyncState::Live | SyncState::Gapped => SyncState::Gapped,
        };
        self.lose(state, 0);
    }

    fn lose(&mut self, state: SyncState, lost_through: u64) {
        self.end_audit();
        self.buffer.clear();
        self.state = state;
        self.first_seen = None;
        self.lost_through = lost_through;
    }

    /// Begins the buffer anew with this update; one beyond the whole capacity is only remembered.
    fn begin_buffer(&mut self, update: &DepthUpdate<'_>) {
        self.buffer.clear();
        self.first_seen = Some(update.first_update_id);
        self.lost_through = if self.buffer.push(update) { 0 } else { update.last_update_id };
    }

    fn end_audit(&mut self) {
        self.audit = AuditState::None;
        self.buffer.clear();
    }

    /// Updates that the caller did not take are void.
    fn forget_kept(&mut self) {
        if self.kept_after.take().is_some() {
            self.buffer.clear();
        }
    }
}
