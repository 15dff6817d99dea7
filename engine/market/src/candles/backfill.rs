//! Missing trades that come after all.

use cobring_types::{Nanos, Trade};

use super::{Bar, BarOutput, Candles};
use crate::backfill::Gap;

/// What became of missing trades.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Filled {
    /// They changed closed bars.
    pub(crate) repaired: u64,
    /// The venue had told of their bars already.
    pub(crate) settled: u64,
    /// Their bars are kept no longer, or never were.
    pub(crate) too_old: u64,
}

impl Candles {
    /// Takes missing trades into their bars, but for those that the venue has told.
    pub(crate) fn fill<'t>(
        &mut self,
        trades: impl Iterator<Item = &'t Trade>,
        out: &mut BarOutput<'_>,
    ) -> Filled {
        let mut filled = Filled::default();
        let mut changed: Option<(usize, usize)> = None;
        let mut was_hole = false;
        for trade in trades {
            let bar_time = trade.ts_trade.floor_to(self.interval);
            if let Some(open) = self.open.as_mut().filter(|open| open.open_time == bar_time) {
                filled.settled += u64::from(!open.fill(trade));
                continue;
            }
            let Some(at) = self.position(bar_time) else {
                filled.too_old += 1;
                continue;
            };
            was_hole |= self.closed[at].unobserved;
            if !self.closed[at].fill(trade) {
                filled.settled += 1;
                continue;
            }
            filled.repaired += 1;
            self.rewrite(at, out);
            changed = Some(changed.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
        }
        if let Some((first, last)) = changed {
            self.after_repair(first..=last, was_hole, out);
        }
        filled
    }

    /// All trades of a gap have come: nothing is missing in the bars that it lies in, as far as ids tell: behind the
    /// first known trade, of these times, and while no link carries trades up to the last one.
    pub(crate) fn gap_filled(
        &mut self,
        gap: &Gap,
        (first_trade, last_trade): (Nanos, Nanos),
        out: &mut BarOutput<'_>,
    ) {
        let (since, until) = (gap.since.min(gap.until), gap.since.max(gap.until));
        let (start, end) = (since.floor_to(self.interval), until.floor_to(self.interval));
        let is_watched = self.observed && !self.broken;
        let last_whole = Nanos(last_trade.0 - self.interval.0);
        let is_known =
            |bar: &Bar| bar.open_time > first_trade && (is_watched || bar.open_time <= last_whole);
        let first = self.closed.partition_point(|bar| bar.open_time < start);
        let behind = self.closed.partition_point(|bar| bar.open_time <= end);
        let mut changed: Option<(usize, usize)> = None;
        let mut was_hole = false;
        for at in first..behind {
            let bar = &mut self.closed[at];
            let unobserved = bar.unobserved;
            if bar.gap_filled(since, is_known(bar)) {
                was_hole |= unobserved;
                changed = Some((changed.map_or(at, |(first, _)| first), at));
                self.rewrite(at, out);
            }
        }
        if let Some(open) = &mut self.open
            && (start..=end).contains(&open.open_time)
        {
            open.gap_filled(since, is_known(open));
        }
        if let Some((first, last)) = changed {
            self.after_repair(first..=last, was_hole, out);
        }
    }
}
