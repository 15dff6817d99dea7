//! What is told of the host's wall clock: steps, and a drift each time that it has added up.
//!
//! Guarantees: at each look, what was told last is right to [`TOLERANCE`]. Does not: read clocks.

use cobring_types::Nanos;

/// The wall clock is looked at this often.
const INTERVAL: Nanos = Nanos::SECOND;
/// What is off by more is told; what is off by more than at the look before is a step. The fastest slew of a kernel is half
/// of it in a second.
const TOLERANCE: Nanos = Nanos::MILLISECOND;

/// The wall clock as it was told of.
#[derive(Debug)]
pub(super) struct WallClock {
    next: Nanos,
    /// At the last look.
    seen: Nanos,
    told: Nanos,
}

/// What there is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WallOffset {
    /// The host's wall clock minus ours.
    pub(super) offset: Nanos,
    pub(super) is_step: bool,
}

impl WallClock {
    /// To be looked at from now on.
    pub(super) const fn new(now: Nanos) -> Self {
        Self { next: now, seen: Nanos::UNDEF, told: Nanos::UNDEF }
    }

    /// Looks, where it is time for it.
    pub(super) fn look(
        &mut self,
        now: Nanos,
        offset: impl FnOnce() -> Nanos,
    ) -> Option<WallOffset> {
        if now < self.next {
            return None;
        }
        self.next = Nanos(now.0 + INTERVAL.0);
        let offset = offset();
        let is_off = |known: Nanos| (offset.0 - known.0).abs() > TOLERANCE.0;
        let is_first = !self.told.is_defined();
        let is_step = !is_first && is_off(self.seen);
        self.seen = offset;
        (is_first || is_off(self.told)).then(|| {
            self.told = offset;
            WallOffset { offset, is_step }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of wall clocks that are so many microseconds ahead at each second.
    fn told(offsets_us: impl IntoIterator<Item = i64>) -> Vec<(i64, bool)> {
        let mut clock = WallClock::new(Nanos(0));
        let mut told = Vec::new();
        for (second, offset_us) in (0..).zip(offsets_us) {
            let at = Nanos(second * Nanos::SECOND.0);
            let news = clock.look(at, || Nanos(offset_us * 1_000));
            told.extend(news.map(|news| (news.offset.0 / 1_000, news.is_step)));
            assert_eq!(clock.look(at, || panic!("looked at twice in a second")), None);
            let known_us = told.last().unwrap().0;
            assert!((offset_us - known_us).abs() <= 1_000, "{offset_us} µs, told {known_us}");
        }
        told
    }

    #[test]
    fn a_slew_is_followed_within_a_millisecond_and_is_no_step() {
        for rate_ppm in [500, -500, 40, 1_000] {
            // It ends after an hour.
            let slew = told((0..7_200).map(|second| second.min(3_600) * rate_ppm));
            assert!(slew.iter().all(|&(_, is_step)| !is_step), "{rate_ppm} ppm: {slew:?}");
            let least = 3_600 * rate_ppm.abs() / 1_000 / 2;
            assert!(i64::try_from(slew.len()).unwrap() > least, "{rate_ppm} ppm: {slew:?}");
        }
        assert_eq!(told([7, 300, 800, 1_000, 500, 7]), [(7, false)]);
    }

    #[test]
    fn a_step_is_told_at_once_also_amid_a_slew() {
        assert_eq!(told([0, 1_001, 1_001]), [(0, false), (1_001, true)]);
        assert_eq!(told([0, 500, 1_000, -4_000]), [(0, false), (-4_000, true)]);
        assert_eq!(told([5_000_000, 5_000_400, 0]), [(5_000_000, false), (0, true)]);
    }
}
