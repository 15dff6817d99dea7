//! What the venue says of bars: history before the first own one, repairs of doubtful ones, audits.

use cobring_frame::{CANDLE_INCOMPLETE, CANDLE_PARTIAL, CANDLE_REST};
use cobring_types::{Nanos, Px};

use super::{Bar, BarOutput, Candles, Settled, settle};

impl Candles {
    /// Appends a bar of the history, and holes for what the venue left out before it. Bars run forward; what is
    /// not behind the newest is passed over.
    pub(crate) fn preload(&mut self, mut bar: Bar, ts: Nanos, out: &mut BarOutput<'_>) {
        self.append_holes(bar.open_time, ts, out);
        if self.closed_until().is_none_or(|end| bar.open_time == end) {
            bar.ts_closed = ts;
            bar.flags |= CANDLE_REST;
            self.push(bar, out);
        }
    }

    /// Appends holes from the newest closed bar to `until`; nothing before the first bar.
    fn append_holes(&mut self, until: Nanos, ts: Nanos, out: &mut BarOutput<'_>) {
        while let (Some(end), Some(last)) = (self.closed_until(), self.closed.back())
            && end < until
        {
            let mut hole = Bar::flat(end, last.close);
            (hole.unobserved, hole.ts_closed) = (true, ts);
            self.push(hole, out);
        }
    }

    /// Opens the bar that `splice` lies in, from shorter bars before it: their closed ones and the open one.
    /// Without a shorter interval it begins there and then.
    pub(crate) fn splice(
        &mut self,
        splice: Nanos,
        shorter: Option<&Self>,
        ts: Nanos,
        out: &mut BarOutput<'_>,
    ) {
        let start = splice.floor_to(self.interval);
        self.append_holes(start, ts, out);
        let last_close = self.closed.back().map(|bar| bar.close);
        let joined = shorter.and_then(|shorter| shorter.joined(start));
        self.open = match (joined, last_close) {
            (Some(joined), Some(px)) if joined.trade_count == 0 => {
                Some(Bar { flags: joined.flags, ..Bar::flat(start, px) })
            }
            (Some(joined), _) => Some(joined),
            (None, Some(px)) => {
                // Nothing shorter reaches back to its start.
                let doubt = if shorter.is_some() { CANDLE_PARTIAL } else { 0 };
                Some(Bar { flags: doubt, ..Bar::flat(start, px) })
            }
            (None, None) => None,
        };
    }

    /// All bars from `start` on as one; `None` where the kept ones do not reach back to it.
    fn joined(&self, start: Nanos) -> Option<Bar> {
        let first = self.closed.partition_point(|bar| bar.open_time < start);
        let mut parts = self.closed.range(first..).chain(&self.open).peekable();
        let oldest = *parts.peek()?;
        if oldest.open_time != start {
            return None;
        }
        let mut joined = Bar::flat(start, oldest.open);
        for part in parts {
            joined.join(part);
        }
        joined.flags |= CANDLE_REST;
        Some(joined)
    }

    /// Takes a shorter bar of our own that was kept while the history was loading.
    pub(crate) fn absorb(&mut self, part: &Bar, ts: Nanos, out: &mut BarOutput<'_>) {
        let bar_time = part.open_time.floor_to(self.interval);
        if self.open.is_none() && part.trade_count > 0 {
            let flags = if bar_time == part.open_time { 0 } else { CANDLE_PARTIAL };
            self.open = Some(Bar { flags, ..Bar::flat(bar_time, part.open) });
        }
        while let Some(open) = self.open.filter(|open| open.open_time < bar_time) {
            self.close(open, ts, out);
        }
        if let Some(open) = self.open.as_mut().filter(|open| open.open_time == bar_time) {
            open.join(part);
        }
    }

    /// The venue's closed bars. A bar that is still open here is compared when it closes. `mismatch` hears the open
    /// time of each that had seemed whole and was not.
    pub(crate) fn tell(
        &mut self,
        venue: impl Iterator<Item = Bar>,
        from_rest: bool,
        out: &mut BarOutput<'_>,
        mut mismatch: impl FnMut(Nanos),
    ) -> u64 {
        let mut changed: Option<(usize, usize)> = None;
        let mut was_hole = false;
        let mut told = 0;
        for venue in venue {
            if self.open.is_some_and(|open| open.open_time == venue.open_time) {
                self.told = Some(venue);
                continue;
            }
            let Some(at) = self.position(venue.open_time) else { continue };
            let bar = &mut self.closed[at];
            if bar.settled || bar.open_time != venue.open_time {
                continue;
            }
            was_hole |= bar.unobserved;
            match settle(bar, &venue, out.instrument) {
                Settled::Same => continue,
                Settled::Filled => {}
                Settled::Mismatch => {
                    self.mismatches += 1;
                    mismatch(venue.open_time);
                }
            }
            if from_rest {
                bar.flags |= CANDLE_REST;
            }
            self.rewrite(at, out);
            changed = Some(changed.map_or((at, at), |(first, _)| (first, at)));
            told += 1;
        }
        if let Some((first, last)) = changed {
            self.after_repair(first..=last, was_hole, out);
        }
        told
    }

    /// A shorter bar at `time` lacked trades: so may the one of this interval that it lies in.
    pub(crate) fn doubt(&mut self, time: Nanos, out: &mut BarOutput<'_>) {
        let time = time.floor_to(self.interval);
        if let Some(open) = self.open.as_mut().filter(|open| open.open_time == time) {
            open.lack();
        } else {
            self.mark_incomplete(&(time..=time), out);
        }
    }

    /// The answer for `[start, end)` is in: what it left doubtful the venue does not know either.
    pub(crate) fn answered(&mut self, start: Nanos, end: Nanos) {
        for bar in self.closed.iter_mut() {
            if bar.open_time >= start && bar.open_time < end {
                bar.settled = true;
            }
        }
    }

    /// Open time of the oldest doubtful closed bar that ended before `venue_time`, and how many bars lie from it
    /// to the newest such.
    pub(crate) fn doubtful(&mut self, venue_time: Nanos) -> Option<(Nanos, u64)> {
        if !self.doubtful {
            return None;
        }
        let mut found = None;
        let mut later = false;
        for (bar, count) in self.closed.iter().zip(1..) {
            if !bar.is_doubtful() && (bar.settled || !bar.suspect) {
                continue;
            }
            if bar.open_time.0 + self.interval.0 > venue_time.0 {
                later = true;
                break;
            }
            let (first, at, _) = found.unwrap_or((bar.open_time, count, count));
            found = Some((first, at, count));
        }
        self.doubtful = later || found.is_some();
        found.map(|(first, at, newest)| (first, newest - at + 1))
    }

    /// Bars that began before any trade came: no id tells whether one is missing, so the venue is asked.
    pub(crate) fn suspect_all(&mut self) {
        for bar in self.closed.iter_mut().filter(|bar| !bar.settled) {
            bar.suspect = true;
            self.doubtful = true;
        }
    }

    /// An open bar that may lack trades is made anew from shorter bars, once none of those lacks any.
    pub(crate) fn rejoin(&mut self, shorter: &Self) -> bool {
        let Some(open) = self.open.filter(Bar::is_doubtful) else { return false };
        let Some(joined) = shorter.joined(open.open_time).filter(|bar| !bar.is_doubtful()) else {
            return false;
        };
        let last_close = self.closed.back().map_or(open.open, |bar| bar.close);
        let flags = joined.flags | (open.flags & !(CANDLE_PARTIAL | CANDLE_INCOMPLETE));
        self.open = Some(if joined.trade_count == 0 {
            Bar { flags, ..Bar::flat(open.open_time, last_close) }
        } else {
            Bar { flags, gaps: 0, ..joined }
        });
        true
    }

    /// Whether a row exists.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.open.is_none()
    }

    /// The newest closed bar's end; `None` without one.
    #[must_use]
    pub(crate) fn closed_until(&self) -> Option<Nanos> {
        self.closed.back().map(|bar| Nanos(bar.open_time.0 + self.interval.0))
    }
}

/// The second at place `at` of those that are watched while the history loads, the first one beginning at
/// `first`. Seconds between them had no trade.
pub(crate) fn second_of(bars: &mut Vec<Bar>, first: Nanos, at: usize, px: Px) -> &mut Bar {
    while bars.len() <= at {
        let close = bars.last().map_or(px, |bar| bar.close);
        let offset = i64::try_from(bars.len()).expect("invariant: some minutes of seconds");
        bars.push(Bar::flat(Nanos(first.0 + offset * Nanos::SECOND.0), close));
    }
    &mut bars[at]
}
