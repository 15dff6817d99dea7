//! A symbol's past, from its listing to the start of play: any kline of it, without walking there.
//!
//! Guarantees: everything follows from seed, symbol and the price and second at which it ends; klines of all lengths are
//! sums of the same trades; the last price is exactly the given one; prices are positive ticks. Memory does not grow with
//! the seconds, only with the days. Does not: know the trades one by one.
//!
//! Time is laid out backwards from the end: the generator at a (symbol, hour) chooses the hour's shape, its height and
//! its direction, so the price at an hour's start is known from the price at its end. Days are walked once, when first
//! asked for, and leave a price each; a day's hours are laid out again from that.

use std::sync::{Arc, OnceLock};

use super::interval::{DAY_MS, HOUR_MS, Interval, MINUTE_MS, SECOND_MS};
use super::klines::{KlineQuery, Klines};
use super::shapes::{Placed, Shapes};
use super::sums::{Scale, Sums};
use crate::decimal::{Fixed, ONE};
use crate::random::{self, Random};
use crate::source::SymbolSpec;
use crate::statistics::Bar;

const MINUTE_S: i64 = MINUTE_MS / SECOND_MS;
const HOUR_S: i64 = HOUR_MS / SECOND_MS;
const DAY_S: i64 = DAY_MS / SECOND_MS;

/// The klines of one symbol before a market is played.
#[derive(Debug)]
pub struct KlineHistory {
    symbol: String,
    salt: u64,
    shapes: Shapes,
    px_ticks: i64,
    /// From ticks around the last price, and lots, to prices and quantities.
    units: Scale,
    /// Both whole seconds; nothing is there from `end_s` on.
    listed_s: i64,
    end_s: i64,
    /// Ticks from the last price at the end of each day, the last day first.
    day_ends: OnceLock<Vec<i64>>,
}

impl KlineHistory {
    /// A past of `listed_days` whole UTC days and the part of the last one, before the second that holds `end_ms`; its
    /// last trade is at `end_px`.
    #[must_use]
    pub fn new(
        seed: u64,
        spec: &SymbolSpec,
        end_px: Fixed,
        end_ms: i64,
        listed_days: u32,
    ) -> Arc<Self> {
        let (tick, lot) = (spec.tick.0.max(1), spec.lot.0.max(1));
        let px_ticks = (end_px.0 / tick).max(1);
        let lot_worth = i128::from(end_px.0) * i128::from(lot) / i128::from(ONE);
        let salt = random::salt(seed, &spec.name);
        let end_s = end_ms.div_euclid(SECOND_MS);
        Arc::new(Self {
            symbol: spec.name.clone(),
            salt,
            shapes: Shapes::new(&mut Random::at(salt, u64::MAX), px_ticks, lot_worth),
            px_ticks,
            units: Scale { origin: end_px.0, step: tick, size: lot },
            listed_s: (end_s.div_euclid(DAY_S) - i64::from(listed_days)) * DAY_S,
            end_s,
            day_ends: OnceLock::new(),
        })
    }

    /// Its klines, the last of them as they stand at the end; exact decimals.
    #[must_use]
    pub fn klines(self: &Arc<Self>, interval: Interval, query: &KlineQuery) -> Vec<Bar> {
        let klines = Klines::new(Some(Arc::clone(self)));
        let rows = klines.rows(interval, query, self.end_ms() - 1);
        rows.iter().map(|kline| Bar::of(kline.open_ms, &kline.sums)).collect()
    }

    pub(crate) fn symbol(&self) -> &str {
        &self.symbol
    }

    pub(crate) fn listed_ms(&self) -> i64 {
        self.listed_s * SECOND_MS
    }

    pub(crate) fn end_ms(&self) -> i64 {
        self.end_s * SECOND_MS
    }

    pub(crate) fn end_px(&self) -> i64 {
        self.units.origin
    }

    pub(crate) fn walker(&self) -> Walker<'_> {
        Walker { history: self, day: i64::MIN, hours: Vec::new() }
    }

    /// The day that holds the last second.
    fn last_day(&self) -> i64 {
        (self.end_s - 1).div_euclid(DAY_S)
    }

    fn day_end(&self, day: i64) -> i64 {
        let ends = self.day_ends.get_or_init(|| {
            let days = (self.listed_s.div_euclid(DAY_S)..=self.last_day()).rev();
            let mut end = 0;
            let mut end_of = |day| {
                let start = self.day_start(day, end);
                std::mem::replace(&mut end, start)
            };
            days.map(&mut end_of).collect()
        });
        usize::try_from(self.last_day() - day).ok().and_then(|i| ends.get(i)).copied().unwrap_or(0)
    }

    fn day_start(&self, day: i64, end: i64) -> i64 {
        self.lay_out(day, end).last().map_or(end, |first| first.scale.origin)
    }

    /// The hours of a day whose last price is `end`, the last hour first.
    fn lay_out(&self, day: i64, mut end: i64) -> impl Iterator<Item = Placed> {
        let last_hour = (self.end_s - 1).div_euclid(HOUR_S).min(day * 24 + 23);
        (day * 24..=last_hour).rev().map(move |hour| {
            let placed = self.place(hour, end);
            end = placed.scale.origin;
            placed
        })
    }

    fn place(&self, hour: i64, end: i64) -> Placed {
        let mut random = Random::at(self.salt, hour.unsigned_abs());
        let shape = Shapes::random_hour(&mut random);
        // The end of play's last hour may lie within it.
        let seconds = usize::try_from(self.end_s - hour * HOUR_S).unwrap_or(usize::MAX);
        let close = self.shapes.close_after(shape, seconds);
        let mut step = (1 + random.below_i64(3)) * if random.percent(50) { 1 } else { -1 };
        // Between half and about twice the last price the walk, backwards, is free; beyond it turns.
        let (lowest, highest) = (-self.px_ticks * 45 / 100, self.px_ticks * 110 / 100);
        let leads_down = close * step > 0;
        if (end < lowest && leads_down) || (end > highest && !leads_down) {
            step = -step;
        }
        // Quiet at night, as markets are: from 1 to 5 times the shape's quantities.
        let size =
            1 + random.below_i64(3) * if (6..22).contains(&hour.rem_euclid(24)) { 2 } else { 1 };
        Placed { shape, scale: Scale { origin: end - step * close, step, size } }
    }
}

/// Asks a history about times that lie close together.
#[derive(Debug)]
pub(crate) struct Walker<'a> {
    history: &'a KlineHistory,
    day: i64,
    /// Of `day`, the first hour first.
    hours: Vec<Placed>,
}

impl Walker<'_> {
    /// The kline of what lies between two whole seconds; `None` where nothing does.
    pub(crate) fn sum(&mut self, from_ms: i64, to_ms: i64) -> Option<Sums> {
        let mut at_s = from_ms.div_euclid(SECOND_MS).max(self.history.listed_s);
        let to_s = to_ms.div_euclid(SECOND_MS).min(self.history.end_s);
        let mut total: Option<Sums> = None;
        while at_s < to_s {
            let (next, length_s) = self.grain(at_s, to_s);
            match &mut total {
                Some(total) => total.join(&next),
                None => total = Some(next),
            }
            at_s += length_s;
        }
        total.map(|total| total.scaled(&self.history.units))
    }

    /// The longest of hour, minute and second that begins here and ends in time.
    fn grain(&mut self, at_s: i64, to_s: i64) -> (Sums, i64) {
        let day = at_s.div_euclid(DAY_S);
        if day != self.day {
            self.hours.clear();
            self.hours.extend(self.history.lay_out(day, self.history.day_end(day)));
            self.hours.reverse();
            self.day = day;
        }
        let second_of_day = at_s.rem_euclid(DAY_S);
        let hour = &self.hours[usize::try_from(second_of_day / HOUR_S).unwrap_or(0)];
        let second = usize::try_from(second_of_day % HOUR_S).unwrap_or(0);
        let fits = |length_s| at_s % length_s == 0 && at_s + length_s <= to_s;
        let shapes = &self.history.shapes;
        if fits(HOUR_S) {
            (shapes.hour(hour), HOUR_S)
        } else if fits(MINUTE_S) {
            (shapes.minute(hour, second / 60), MINUTE_S)
        } else {
            (shapes.second(hour, second), 1)
        }
    }
}
