//! The material of a past: minutes and hours of trades, made once from a seed and then placed again and again, higher or
//! lower, upside down, larger or smaller.
//!
//! Guarantees: a shape's klines are the sums of its trades, whatever the length; prices are ticks from the price before
//! the shape, and stay within about 1 % (a minute 0.1 %) of the symbol's price; quantities are lots.

use super::sums::{Scale, Sums};
use crate::decimal::ONE;
use crate::random::Random;

/// Minutes and hours to choose from. Placed in 24 ways each, they repeat seldom enough.
const SHAPE_COUNT: u64 = 40;
/// Parts of a tick that a price moves by.
const PART: i64 = 1 << 16;

#[derive(Debug)]
pub(super) struct Shapes {
    minutes: Vec<MinuteShape>,
    hours: Vec<HourShape>,
}

/// A shape and where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) shape: usize,
    pub(super) scale: Scale,
}

#[derive(Debug)]
struct MinuteShape {
    seconds: Vec<Sums>,
    whole: Sums,
}

#[derive(Debug)]
struct HourShape {
    minutes: Vec<Placed>,
    whole: Sums,
}

impl Shapes {
    /// For a symbol whose price is about `px_ticks`; one lot is worth `lot_worth` units of the quote currency.
    pub(super) fn new(random: &mut Random, px_ticks: i64, lot_worth: i128) -> Self {
        let minute = |_| MinuteShape::new(random, px_ticks, lot_worth);
        let minutes: Vec<_> = (0..SHAPE_COUNT).map(minute).collect();
        let hours = (0..SHAPE_COUNT).map(|_| HourShape::new(random, px_ticks, &minutes)).collect();
        Self { minutes, hours }
    }

    pub(super) fn random_hour(random: &mut Random) -> usize {
        usize::try_from(random.below(SHAPE_COUNT)).unwrap_or(0)
    }

    pub(super) fn hour(&self, hour: &Placed) -> Sums {
        self.hours[hour.shape].whole.scaled(&hour.scale)
    }

    /// `minute` of 60.
    pub(super) fn minute(&self, hour: &Placed, minute: usize) -> Sums {
        let placed = &self.hours[hour.shape].minutes[minute];
        self.minutes[placed.shape].whole.scaled(&placed.scale).scaled(&hour.scale)
    }

    /// `second` of 3,600.
    pub(super) fn second(&self, hour: &Placed, second: usize) -> Sums {
        let placed = &self.hours[hour.shape].minutes[second / 60];
        self.minutes[placed.shape].seconds[second % 60].scaled(&placed.scale).scaled(&hour.scale)
    }

    /// The price, in the hour's own ticks, after the first `seconds` of 3,600.
    pub(super) fn close_after(&self, hour_shape: usize, seconds: usize) -> i64 {
        let hour = &self.hours[hour_shape];
        match seconds {
            0 => 0,
            3_600.. => hour.whole.close,
            _ => {
                let placed = &hour.minutes[(seconds - 1) / 60];
                placed.scale.px(self.minutes[placed.shape].seconds[(seconds - 1) % 60].close)
            }
        }
    }
}

impl MinuteShape {
    fn new(random: &mut Random, px_ticks: i64, lot_worth: i128) -> Self {
        // 0.15 basis points a second: with the usual placing, 1 to 2 % a day.
        let step = (px_ticks * PART / 65_000).max(1);
        let bound = (px_ticks / 1_000).max(1) * PART;
        let quiet_percent = 20 + random.below(50);
        let (mut position, mut last_px) = (0_i64, 0_i64);
        let mut seconds = Vec::with_capacity(60);
        let mut whole = Sums::flat(0);
        for _ in 0..60 {
            let mut second = Sums::flat(last_px);
            let trade_count =
                if random.percent(quiet_percent) { 0 } else { 1 + random.below_log(12) };
            for _ in 0..trade_count {
                let moved = random.below_i64(2 * step + 1) - step;
                position = (position + moved).clamp(-bound, bound);
                let taker_buys = random.percent(50);
                let px = position.div_euclid(PART) + i64::from(taker_buys);
                second.join(&Sums::trade(px, random_lots(random, lot_worth), taker_buys, 0));
            }
            last_px = second.close;
            whole.join(&second);
            seconds.push(second);
        }
        Self { seconds, whole }
    }
}

impl HourShape {
    fn new(random: &mut Random, px_ticks: i64, minutes: &[MinuteShape]) -> Self {
        let bound = (px_ticks / 100).max(1);
        let mut whole = Sums::flat(0);
        let mut placed = Vec::with_capacity(60);
        for _ in 0..60 {
            let shape = usize::try_from(random.below(SHAPE_COUNT)).unwrap_or(0);
            let mut step = (1 + random.below_i64(2)) * if random.percent(50) { 1 } else { -1 };
            let leads_away = (minutes[shape].whole.close * step).signum() == whole.close.signum();
            if whole.close.abs() > bound && leads_away {
                step = -step;
            }
            let scale = Scale { origin: whole.close, step, size: 1 + random.below_i64(3) };
            whole.join(&minutes[shape].whole.scaled(&scale));
            placed.push(Placed { shape, scale });
        }
        Self { minutes: placed, whole }
    }
}

/// Lots worth 4 to 8,000 of the quote currency, each doubling equally likely.
fn random_lots(random: &mut Random, lot_worth: i128) -> i64 {
    let worth = i128::from(4_u64 << random.below(11)) * i128::from(1_000 + random.below(1_000));
    let lots = worth * i128::from(ONE) / 1_000 / lot_worth.max(1);
    i64::try_from(lots.clamp(1, 1_000_000_000_000)).unwrap_or(1)
}
