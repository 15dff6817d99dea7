//! What a month of 1s bars spans: the bounds that prices and volumes are normalised by, with the supports
//! and resistances of the structure. FRAME.md, *PivotBounds*.
//!
//! Guarantees: aggregates of 720 hours, whatever the number of bars; O(1) a bar, the bounds anew at hours'
//! ends and at repairs alone. Needs: closed 1s bars in order, and those that may still change with each repair. Does
//! not: invent: hours and seconds that nobody saw are missing in `bar_count`.

#[cfg(test)]
mod tests;

use cobring_types::{Nanos, Px};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::indicators::ClosedBar;
use crate::pivots::{LEVELS, Structure};
use crate::ring::Ring;

const HOUR: Nanos = Nanos(3_600_000_000_000);
/// Whole UTC hours that bounds are of.
pub const PERIOD_HOURS: usize = 720;
const PERIOD: Nanos = Nanos(720 * HOUR.0);
const BARS_AN_HOUR: u32 = 3_600;

/// The 1s bars of a UTC hour. Holes are no bars; seconds without a trade are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HourAggregate {
    /// Its start.
    pub hour: Nanos,
    /// Lowest low.
    pub price_min: Px,
    /// Highest high.
    pub price_max: Px,
    /// Smallest volume of a bar.
    pub volume_min: i128,
    /// Largest volume of a bar.
    pub volume_max: i128,
    /// Bars seen, 1 to 3,600.
    pub bars: u32,
}

impl HourAggregate {
    fn of(bar: &ClosedBar) -> Self {
        Self {
            hour: bar.open_time.floor_to(HOUR),
            price_min: bar.low,
            price_max: bar.high,
            volume_min: bar.volume,
            volume_max: bar.volume,
            bars: 1,
        }
    }

    /// Both together; of the earlier hour.
    fn with(self, other: &Self) -> Self {
        Self {
            hour: self.hour,
            price_min: self.price_min.min(other.price_min),
            price_max: self.price_max.max(other.price_max),
            volume_min: self.volume_min.min(other.volume_min),
            volume_max: self.volume_max.max(other.volume_max),
            bars: self.bars + other.bars,
        }
    }
}

/// The supports and resistances of each level, from level 1 on: nearest to the last close before an hour's
/// end, as the 1s structure had them then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearestPivots {
    /// Below the close.
    pub support: [Option<Px>; LEVELS],
    /// Above it.
    pub resistance: [Option<Px>; LEVELS],
}

impl NearestPivots {
    fn of(structure: &Structure, close: Px) -> Self {
        let mut nearest = Self::default();
        for (level, (support, resistance)) in
            (1..).zip(nearest.support.iter_mut().zip(&mut nearest.resistance))
        {
            *support = structure.support(level, 2 * close.0);
            *resistance = structure.resistance(level, 2 * close.0);
        }
        nearest
    }
}

/// Bounds over the 1s bars of 720 whole UTC hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PivotBounds {
    /// Lowest low.
    pub price_min: Px,
    /// Highest high.
    pub price_max: Px,
    /// Smallest volume of a bar.
    pub volume_min: i128,
    /// Largest volume of a bar.
    pub volume_max: i128,
    /// At `period_end`.
    pub nearest: NearestPivots,
    /// `period_end` less 720 hours.
    pub period_start: Nanos,
    /// A whole UTC hour.
    pub period_end: Nanos,
    /// Bars seen of the 2,592,000 of the period.
    pub bar_count: u64,
}

impl PivotBounds {
    /// Where a price lies between lowest (0) and highest (1), not clipped; NaN where those are one.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "prices in ticks are below 2^53 at any venue")]
    pub fn normalise(&self, px: Px) -> f64 {
        let span = self.price_max.0 - self.price_min.0;
        if span == 0 {
            return f64::NAN;
        }
        (px.0 - self.price_min.0) as f64 / span as f64
    }
}

/// What an import brings: the hours of a period, and the pivots at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedHours {
    /// Where the period ends, a whole UTC hour.
    pub period_end: Nanos,
    /// Hours with bars among the 720 before it, in order.
    pub hours: Vec<HourAggregate>,
    /// At `period_end`.
    pub nearest: NearestPivots,
}

/// Why an import is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BoundsError {
    /// Nobody can know that yet.
    #[error("the bounds' period ends at {} ns, wanted not after {} ns, the time of the frame", period_end.0, ts.0)]
    Future {
        /// Where the period ends.
        period_end: Nanos,
        /// What is now.
        ts: Nanos,
    },
    /// Not an hour's end.
    #[error("the bounds' period ends at {} ns, wanted a whole UTC hour since 1970-01-31", period_end.0)]
    PeriodEnd {
        /// Where the period ends.
        period_end: Nanos,
    },
    /// Nothing to bound.
    #[error("the bounds' period has no bar, wanted at least one")]
    Empty,
    /// An hour that is none of the period's, in its place.
    #[error(
        "hour {index} of the bounds starts at {} ns, wanted whole UTC hours in order within 720 before {} ns",
        hour.0, period_end.0
    )]
    Hour {
        /// Its index.
        index: usize,
        /// Its start.
        hour: Nanos,
        /// Where the period ends.
        period_end: Nanos,
    },
    /// Figures that no bars have.
    #[error(
        "hour {index} of the bounds has {what} as no bars have, wanted 1 to 3,600 bars with 0 < low ≤ high and 0 ≤ least ≤ largest volume"
    )]
    Figures {
        /// Its index.
        index: usize,
        /// Which ones.
        what: &'static str,
    },
}

impl ImportedHours {
    /// # Errors
    /// [`BoundsError`] for what cannot be, seen from time `ts`.
    pub fn check(&self, ts: Nanos) -> Result<(), BoundsError> {
        let period_end = self.period_end;
        if period_end > ts {
            return Err(BoundsError::Future { period_end, ts });
        }
        if period_end < PERIOD || period_end.floor_to(HOUR) != period_end {
            return Err(BoundsError::PeriodEnd { period_end });
        }
        if self.hours.is_empty() {
            return Err(BoundsError::Empty);
        }
        let mut earliest = Nanos(period_end.0 - PERIOD.0);
        for (index, aggregate) in self.hours.iter().enumerate() {
            let hour = aggregate.hour;
            if hour < earliest || hour >= period_end || hour.floor_to(HOUR) != hour {
                return Err(BoundsError::Hour { index, hour, period_end });
            }
            earliest = Nanos(hour.0 + HOUR.0);
            let figures = |what| Err(BoundsError::Figures { index, what });
            if !(1..=BARS_AN_HOUR).contains(&aggregate.bars) {
                return figures("a number of bars");
            }
            if aggregate.price_min.0 <= 0 || aggregate.price_max < aggregate.price_min {
                return figures("prices");
            }
            if aggregate.volume_min < 0 || aggregate.volume_max < aggregate.volume_min {
                return figures("volumes");
            }
        }
        Ok(())
    }
}

/// Keeps the bounds of one symbol's 1s bars.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BoundsTracker {
    /// Whole hours that have bars, in order.
    hours: Box<Ring<HourAggregate, PERIOD_HOURS>>,
    /// The hour that goes on; none while it has no bar.
    current: Option<HourAggregate>,
    /// Start of the hour that goes on.
    hour: Nanos,
    /// Of the last bar.
    close: Option<Px>,
    /// At the end of the last whole hour.
    nearest: NearestPivots,
    bounds: Option<PivotBounds>,
    /// Of the hour of the last bar that is no longer kept for repairs: such bars alone.
    settled: Option<HourAggregate>,
    /// Hours before this are an import's.
    imported_until: Nanos,
}

impl Default for BoundsTracker {
    fn default() -> Self {
        Self::new()
    }
}

impl BoundsTracker {
    /// No bar seen.
    #[must_use]
    pub fn new() -> Self {
        Self {
            hours: Box::default(),
            current: None,
            hour: Nanos::UNDEF,
            close: None,
            nearest: NearestPivots::default(),
            bounds: None,
            settled: None,
            imported_until: Nanos::UNDEF,
        }
    }

    /// The next closed 1s bar; `structure` has not seen it yet. True where an hour ended, so that the
    /// bounds are other ones.
    pub fn on_bar(&mut self, bar: &ClosedBar, structure: &Structure) -> bool {
        let ended = self.advance_to(bar.open_time, structure);
        // An import may have told of the bar's hour before the bar closed.
        if !bar.hole && bar.open_time >= self.hour {
            let new = HourAggregate::of(bar);
            self.current = Some(self.current.map_or(new, |current| current.with(&new)));
            self.close = Some(bar.close);
        }
        ended
    }

    /// The oldest bar that was kept for repairs no longer is.
    pub fn on_settled(&mut self, bar: &ClosedBar) {
        let hour = bar.open_time.floor_to(HOUR);
        let before = self.settled.filter(|settled| settled.hour == hour);
        let new = (!bar.hole).then(|| HourAggregate::of(bar));
        self.settled = match (before, new) {
            (Some(before), Some(new)) => Some(before.with(&new)),
            (before, new) => before.or(new),
        };
    }

    /// Bars changed, the first of them at `changed` of `kept`: those that are kept for repairs, oldest first.
    /// True where the bounds are other ones.
    pub fn on_repair(
        &mut self,
        kept: impl Iterator<Item = ClosedBar> + Clone,
        changed: Nanos,
    ) -> bool {
        let mut whole_changed = false;
        let first = changed.floor_to(HOUR).max(self.imported_until);
        let mut bars = kept.skip_while(|bar| bar.open_time < first).peekable();
        while let Some(hour) = bars.peek().map(|bar| bar.open_time.floor_to(HOUR)) {
            let mut aggregate = self.settled.filter(|settled| settled.hour == hour);
            while let Some(bar) = bars.next_if(|bar| bar.open_time.floor_to(HOUR) == hour) {
                if !bar.hole {
                    let new = HourAggregate::of(&bar);
                    aggregate = Some(aggregate.map_or(new, |aggregate| aggregate.with(&new)));
                }
            }
            let Some(aggregate) = aggregate else { continue };
            if hour >= self.hour {
                self.current = Some(aggregate);
            } else {
                self.replace(aggregate);
                whole_changed = true;
            }
        }
        if whole_changed {
            self.bound(self.bounds.map_or(self.hour, |bounds| bounds.period_end));
        }
        whole_changed
    }

    /// A whole hour is another one, or has bars after all.
    fn replace(&mut self, aggregate: HourAggregate) {
        let hours = *self.hours;
        self.hours.clear();
        let mut new = Some(aggregate);
        for &hour in hours.iter() {
            if hour.hour >= aggregate.hour
                && let Some(new) = new.take()
            {
                self.hours.push(new);
            }
            if hour.hour != aggregate.hour {
                self.hours.push(hour);
            }
        }
        if let Some(new) = new {
            self.hours.push(new);
        }
    }

    /// All bars that open before `time` were given: whether an hour ended with them.
    pub fn advance_to(&mut self, time: Nanos, structure: &Structure) -> bool {
        let hour = time.floor_to(HOUR);
        let ended = self.hour.is_defined() && hour > self.hour;
        self.hour = self.hour.max(hour);
        if ended {
            if let Some(whole) = self.current.take() {
                self.hours.push(whole);
            }
            if let Some(close) = self.close {
                self.nearest = NearestPivots::of(structure, close);
            }
            self.bound(hour);
        }
        ended
    }

    /// The bounds at the end of the last whole hour.
    #[must_use]
    pub fn bounds(&self) -> Option<&PivotBounds> {
        self.bounds.as_ref()
    }

    /// What another tracker needs to go on from the last whole hour.
    #[must_use]
    pub fn export(&self) -> Option<ImportedHours> {
        let bounds = self.bounds?;
        let hours = self.hours.iter().filter(|aggregate| aggregate.hour >= bounds.period_start);
        Some(ImportedHours {
            period_end: bounds.period_end,
            hours: hours.copied().collect(),
            nearest: bounds.nearest,
        })
    }

    /// Takes the hours of an import in place of its own before the import's end. Where its own bounds are
    /// older, those of the import show until the next hour ends.
    ///
    /// # Errors
    /// [`BoundsError`] for an import that cannot be, seen from time `ts`; nothing changes then.
    pub fn import(&mut self, imported: &ImportedHours, ts: Nanos) -> Result<(), BoundsError> {
        imported.check(ts)?;
        let later = |aggregate: &&HourAggregate| aggregate.hour >= imported.period_end;
        let own: Vec<_> = self.hours.iter().filter(later).copied().collect();
        self.hours.clear();
        for &aggregate in imported.hours.iter().chain(&own) {
            self.hours.push(aggregate);
        }
        self.current = self.current.filter(|current| later(&current));
        let own_end = self.bounds.map_or(Nanos::UNDEF, |bounds| bounds.period_end);
        if own_end < imported.period_end {
            self.nearest = imported.nearest;
        }
        self.bound(own_end.max(imported.period_end));
        // The hours before its end are not told anew.
        self.hour = self.hour.max(imported.period_end);
        self.imported_until = imported.period_end;
        Ok(())
    }

    fn bound(&mut self, period_end: Nanos) {
        let period_start = Nanos(period_end.0 - PERIOD.0);
        let mut hours = self.hours.iter().filter(|aggregate| aggregate.hour >= period_start);
        self.bounds = hours.next().map(|&first| {
            let all = hours.fold(first, HourAggregate::with);
            PivotBounds {
                price_min: all.price_min,
                price_max: all.price_max,
                volume_min: all.volume_min,
                volume_max: all.volume_max,
                nearest: self.nearest,
                period_start,
                period_end,
                bar_count: u64::from(all.bars),
            }
        });
    }
}
