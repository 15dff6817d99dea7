//! Which of a link's two connections are wanted: one, or both while it is renewed, or both all the time.
//!
//! Guarantees: a connection is closed by plan only while the other one has delivered for a while, or where neither is
//! of use; one that is lost is wanted again unless the other one has taken over. Does not: connect or close anything, read a clock.

use cobring_types::Nanos;

/// The two connections run side by side this long before the older one is closed: the longest lag between two
/// copies of a message, several times over.
const OVERLAP: Nanos = Nanos(3 * Nanos::SECOND.0);
/// A connection this young is not renewed for the time of day.
const YOUNG: Nanos = Nanos(3_600 * Nanos::SECOND.0);
const DAY: Nanos = Nanos(86_400 * Nanos::SECOND.0);

/// When connections are renewed, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenewalPolicy {
    /// Two connections all the time.
    pub twin: bool,
    /// A connection is renewed at this age.
    pub after: Nanos,
    /// And at this time of the UTC day.
    pub at_time_of_day: Option<Nanos>,
}

/// What is known of a connection that is up.
#[derive(Debug, Clone, Copy)]
struct Up {
    since: Nanos,
    /// When its first message came.
    heard: Option<Nanos>,
    /// To be renewed whatever its age.
    doomed: bool,
}

/// The state of a link's two connections.
#[derive(Debug, Clone)]
pub(super) struct Renewal {
    policy: RenewalPolicy,
    up: [Option<Up>; 2],
    /// The one that is always wanted.
    primary: usize,
    renewing: bool,
}

impl Renewal {
    pub(super) fn new(policy: RenewalPolicy) -> Self {
        Self { policy, up: [None; 2], primary: 0, renewing: false }
    }

    /// Whether a connection should be there.
    pub(super) fn wants(&self, side: usize) -> bool {
        side == self.primary || self.renewing || self.policy.twin
    }

    pub(super) fn on_up(&mut self, side: usize, now: Nanos) {
        self.up[side] = Some(Up { since: now, heard: None, doomed: false });
    }

    pub(super) fn on_message(&mut self, side: usize, now: Nanos) {
        if let Some(up) = &mut self.up[side] {
            up.heard.get_or_insert(now);
        }
    }

    /// A connection is gone, by plan or not.
    pub(super) fn on_down(&mut self, side: usize) {
        self.up[side] = None;
        if side == self.primary && (self.renewing || self.up[1 - side].is_some()) {
            self.primary = 1 - side;
            self.renewing = false;
        } else if side != self.primary && !self.policy.twin {
            // Wanted still while the primary is to be renewed.
            self.renewing &= self.up[self.primary].is_some();
        }
    }

    /// The venue will close it, or it delivers no more: it is renewed as soon as can be.
    pub(super) fn doom(&mut self, side: usize) {
        if let Some(up) = &mut self.up[side] {
            up.doomed = true;
        }
    }

    /// What is due by now; the connection that is to be closed, if any.
    pub(super) fn step(&mut self, now: Nanos) -> Option<usize> {
        for side in [self.primary, 1 - self.primary] {
            if !self.is_due(side, now) {
                continue;
            }
            let other = 1 - side;
            if !self.policy.twin {
                self.renewing |= side == self.primary;
            }
            let proven = self.up[other]
                .and_then(|up| up.heard)
                .is_some_and(|heard| now.0 - heard.0 >= OVERLAP.0);
            let is_doomed = |side: usize| self.up[side].is_some_and(|up| up.doomed);
            if is_doomed(0) && is_doomed(1) {
                return Some(side);
            }
            if proven && !is_doomed(other) {
                if !self.policy.twin {
                    self.primary = other;
                    self.renewing = false;
                }
                return Some(side);
            }
        }
        None
    }

    fn is_due(&self, side: usize, now: Nanos) -> bool {
        let Some(up) = self.up[side] else { return false };
        let at_time_of_day = self.policy.at_time_of_day.is_some_and(|time| {
            let first = Nanos(up.since.0 + YOUNG.0);
            let today = Nanos(first.floor_to(DAY).0 + time.0);
            let at = if today < first { Nanos(today.0 + DAY.0) } else { today };
            now >= at
        });
        up.doomed || at_time_of_day || now.0 - up.since.0 >= self.policy.after.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: i64 = Nanos::SECOND.0;

    fn policy(twin: bool) -> RenewalPolicy {
        RenewalPolicy { twin, after: Nanos(100 * S), at_time_of_day: None }
    }

    #[test]
    fn a_renewed_link_is_never_without_a_connection() {
        let mut link = Renewal::new(policy(false));
        assert_eq!([link.wants(0), link.wants(1)], [true, false]);
        link.on_up(0, Nanos(0));
        link.on_message(0, Nanos(S));
        assert_eq!(link.step(Nanos(99 * S)), None);
        assert!(!link.wants(1));
        assert_eq!(link.step(Nanos(100 * S)), None);
        assert!(link.wants(0) && link.wants(1));
        link.on_up(1, Nanos(101 * S));
        assert_eq!(link.step(Nanos(200 * S)), None, "silent, it proves nothing");
        link.on_up(1, Nanos(201 * S));
        link.on_message(1, Nanos(202 * S));
        assert_eq!(link.step(Nanos(204 * S)), None);
        assert_eq!(link.step(Nanos(205 * S)), Some(0));
        link.on_down(0);
        assert_eq!([link.wants(0), link.wants(1)], [false, true]);
    }

    #[test]
    fn the_time_of_day_comes_once_a_day() {
        let at_time_of_day = Some(Nanos(3 * 3_600 * S));
        let mut link = Renewal::new(RenewalPolicy { twin: false, after: DAY, at_time_of_day });
        // Up at 02:30: half an hour old at 03:00, so the day after.
        let up = 100 * DAY.0 + 9_000 * S;
        link.on_up(0, Nanos(up));
        assert_eq!(link.step(Nanos(up + 3_600 * S)), None);
        assert!(!link.wants(1));
        link.on_up(0, Nanos(up - 1_800 * S));
        link.step(Nanos(100 * DAY.0 + 3 * 3_600 * S - 1));
        assert!(!link.wants(1));
        link.step(Nanos(100 * DAY.0 + 3 * 3_600 * S));
        assert!(link.wants(1));
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Up(usize),
        Message(usize),
        Down(usize),
        Doom(usize),
        Wait(i64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let side = || 0usize..2;
        let step = prop_oneof![
            side().prop_map(Step::Up),
            side().prop_map(Step::Message),
            side().prop_map(Step::Down),
            side().prop_map(Step::Doom),
            (0i64..60).prop_map(Step::Wait),
        ];
        prop::collection::vec(step, 1..80)
    }

    proptest! {
        #[test]
        fn a_planned_end_leaves_one_that_delivers(steps in steps(), twin in any::<bool>()) {
            let mut link = Renewal::new(policy(twin));
            let mut up: [Option<(bool, i64)>; 2] = [None; 2];
            let mut doomed = [false; 2];
            let mut now = 0;
            for step in steps {
                match step {
                    Step::Up(side) if up[side].is_none() && link.wants(side) => {
                        link.on_up(side, Nanos(now));
                        up[side] = Some((false, now));
                        doomed[side] = false;
                    }
                    Step::Message(side) if up[side].is_some() => {
                        link.on_message(side, Nanos(now));
                        if let Some((heard, _)) = &mut up[side] {
                            *heard = true;
                        }
                    }
                    Step::Down(side) if up[side].take().is_some() => link.on_down(side),
                    Step::Doom(side) => {
                        link.doom(side);
                        doomed[side] = up[side].is_some();
                    }
                    Step::Wait(seconds) => now += seconds * S,
                    _ => {}
                }
                if let Some(side) = link.step(Nanos(now)) {
                    prop_assert!(up[side].take().is_some());
                    let delivers = matches!(up[1 - side], Some((true, since)) if now - since >= 3 * S);
                    prop_assert!(delivers || (doomed[0] && doomed[1]));
                    link.on_down(side);
                }
                prop_assert!(link.wants(0) || link.wants(1));
                prop_assert!(!twin || (link.wants(0) && link.wants(1)));
                // A lone connection that is up is always the one that is wanted.
                if let [Some(_), None] | [None, Some(_)] = up {
                    let side = usize::from(up[0].is_none());
                    prop_assert!(link.wants(side), "{link:?}");
                }
            }
        }
    }
}
