//! The venue's one clock: the last event time played, carried on at the chosen speed.

/// Milliseconds of the venue by position of play. Never steps back.
#[derive(Debug)]
pub(crate) struct VenueClock {
    anchor_ms: i64,
    anchor_ns: i64,
    latest_ms: i64,
}

impl VenueClock {
    pub(crate) fn starting_at(start_ms: i64) -> Self {
        Self { anchor_ms: start_ms, anchor_ns: 0, latest_ms: start_ms }
    }

    /// An event of the venue carried this time.
    pub(crate) fn observe(&mut self, venue_ms: i64, at_ns: i64) {
        // An event says whole milliseconds: where it agrees, what is known is more exact.
        if self.carried_on(at_ns) != venue_ms {
            (self.anchor_ms, self.anchor_ns) = (venue_ms, at_ns);
        }
        self.latest_ms = self.latest_ms.max(venue_ms);
    }

    pub(crate) fn now_ms(&mut self, at_ns: i64) -> i64 {
        self.latest_ms = self.latest_ms.max(self.carried_on(at_ns));
        self.latest_ms
    }

    fn carried_on(&self, at_ns: i64) -> i64 {
        self.anchor_ms + (at_ns - self.anchor_ns) / 1_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::VenueClock;

    #[test]
    fn time_goes_on_between_events_and_never_back() {
        let mut clock = VenueClock::starting_at(1_000);
        assert_eq!(clock.now_ms(5_000_000), 1_005);
        clock.observe(1_002, 6_000_000);
        assert_eq!(clock.now_ms(6_000_000), 1_005);
        assert_eq!(clock.now_ms(10_000_000), 1_006);
    }

    #[test]
    fn events_that_agree_do_not_make_it_late() {
        let mut clock = VenueClock::starting_at(1_000);
        clock.observe(1_001, 1_900_000);
        assert_eq!(clock.now_ms(2_000_000), 1_002);
    }
}
