//! Indicators of closed bars: TA-Lib's definitions and seeds, O(1) a bar. FRAME.md, "Windows".
//!
//! Guarantees: equal bars give equal rows, bit by bit, also after a repair or a checkpoint; nothing drifts,
//! because what rolls is summed in integers or from its ring; + − × ÷ √ only. An unseeded value is NaN, and
//! so is the whole row of a hole, after which everything but the day's VWAP is seeded anew.
//! Needs: bars in order, without a gap between them. Does not: keep the bars.

mod averages;
#[cfg(test)]
mod tests;

use cobring_frame::IndicatorRow;
use cobring_types::{Instrument, Nanos, Px};
use serde::{Deserialize, Serialize};

use self::averages::{Ema, Last20, Wilder};
use crate::ring::Ring;

const DAY: Nanos = Nanos(86_400_000_000_000);
/// The fast average of MACD is seeded with those bars alone that the slow one's seed ends with.
const MACD_FAST_SKIPS: u32 = 26 - 12;
/// Below this TA-Lib takes a sum of gains and losses for 0.
const TA_EPSILON: f64 = 1e-14;
/// Bars between two remembered states.
const MARK_EVERY: u64 = 64;
/// Remembered states: with those bars between them they cover 1,536 bars.
const MARKS: usize = 24;

/// A closed bar in exact integers: prices in ticks, volumes in quantity units, quote volumes in their
/// product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedBar {
    /// Start of the bar's interval.
    pub open_time: Nanos,
    /// Highest price, in 0 … 2^60 ticks as all of them.
    pub high: Px,
    /// Lowest price.
    pub low: Px,
    /// Last price; that of the bar before where nothing was traded.
    pub close: Px,
    /// Traded quantity.
    pub volume: i128,
    /// Sum of price times quantity.
    pub quote_volume: i128,
    /// The interval was not observed: none of the figures counts.
    pub hole: bool,
}

/// The indicators of one bar stream, with what it takes to repair their rows.
///
/// A row after a repair is the one that the repaired bars would have given from the first bar on. For that
/// it remembers its state before the oldest bar that can be repaired, and, because late trades mostly
/// belong to the last bars, its state before every 64th one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Indicators {
    now: State,
    /// Bars that `now` has seen.
    bars: u64,
    /// Before the oldest bar that the caller keeps.
    oldest: State,
    /// Bars that `oldest` has seen.
    left: u64,
    /// Before the bars whose number is a multiple of [`MARK_EVERY`].
    marks: Box<Ring<State, MARKS>>,
}

impl Default for Indicators {
    fn default() -> Self {
        Self::new()
    }
}

impl Indicators {
    /// No bar seen.
    #[must_use]
    pub fn new() -> Self {
        Self {
            now: State::default(),
            bars: 0,
            oldest: State::default(),
            left: 0,
            marks: Box::default(),
        }
    }

    /// The row of the next closed bar. `leaving` is the bar that the caller keeps for repairs no longer.
    pub fn on_bar(
        &mut self,
        bar: &ClosedBar,
        leaving: Option<&ClosedBar>,
        instrument: &Instrument,
    ) -> IndicatorRow {
        if let Some(leaving) = leaving {
            self.oldest.on_bar(leaving, instrument);
            self.left += 1;
        }
        if self.bars.is_multiple_of(MARK_EVERY) {
            self.marks.push(self.now);
        }
        self.bars += 1;
        self.now.on_bar(bar, instrument)
    }

    /// Kept bars changed, the first of them at index `changed`: gives the rows from there on anew, each
    /// with its index. `kept` are the bars that the caller keeps, as they are now, oldest first.
    ///
    /// # Panics
    /// Where `kept` are not as many bars as came and did not leave, or `changed` is none of them.
    pub fn on_repair(
        &mut self,
        kept: impl ExactSizeIterator<Item = ClosedBar>,
        changed: usize,
        instrument: &Instrument,
        mut rewrite: impl FnMut(usize, IndicatorRow),
    ) {
        assert!(
            kept.len() as u64 == self.bars - self.left,
            "{} kept bars of {} that came and {} that left",
            kept.len(),
            self.bars,
            self.left
        );
        assert!(changed < kept.len(), "bar {changed} of {} kept ones", kept.len());
        let changed_bar = self.left + changed as u64;
        let marked_bar = changed_bar - changed_bar % MARK_EVERY;
        let mark = self.mark_before(marked_bar).copied().filter(|_| marked_bar >= self.left);
        let (mut state, start_bar) =
            mark.map_or((self.oldest, self.left), |mark| (mark, marked_bar));
        for (bar_number, bar) in (self.left..).zip(kept) {
            if bar_number < start_bar {
                continue;
            }
            if bar_number > changed_bar
                && bar_number.is_multiple_of(MARK_EVERY)
                && let Some(mark) = self.mark_before(bar_number)
            {
                *mark = state;
            }
            let values = state.on_bar(&bar, instrument);
            if bar_number >= changed_bar {
                let index = bar_number - self.left;
                rewrite(usize::try_from(index).expect("invariant: an index of kept"), values);
            }
        }
        self.now = state;
    }

    /// Forgets everything and takes `kept`, all bars that the caller keeps, oldest first: after bars were
    /// put before the first one. Gives all rows, each with its index.
    pub fn restart_from(
        &mut self,
        kept: impl Iterator<Item = ClosedBar>,
        instrument: &Instrument,
        mut rewrite: impl FnMut(usize, IndicatorRow),
    ) {
        (self.now, self.bars) = (State::default(), 0);
        (self.oldest, self.left) = (State::default(), 0);
        self.marks.clear();
        for (index, bar) in kept.enumerate() {
            rewrite(index, self.on_bar(&bar, None, instrument));
        }
    }

    /// The remembered state before the bar of this number, a multiple of [`MARK_EVERY`] below `bars`.
    fn mark_before(&mut self, bar_number: u64) -> Option<&mut State> {
        let back = (self.bars - 1) / MARK_EVERY - bar_number / MARK_EVERY;
        self.marks.back_mut(usize::try_from(back).ok()?)
    }
}

/// Everything that the next row depends on.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct State {
    day: DaySums,
    series: Series,
}

impl State {
    fn on_bar(&mut self, bar: &ClosedBar, instrument: &Instrument) -> IndicatorRow {
        if bar.hole {
            self.series = Series::default();
            return IndicatorRow::unknown(bar.open_time.0);
        }
        let vwap_day = self.day.on_bar(bar, instrument);
        IndicatorRow { vwap_day, ..self.series.on_bar(bar, instrument) }
    }
}

/// What was traded in the UTC day of the last bar.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct DaySums {
    day: Nanos,
    volume: i128,
    quote_volume: i128,
}

impl DaySums {
    fn on_bar(&mut self, bar: &ClosedBar, instrument: &Instrument) -> f64 {
        let day = bar.open_time.floor_to(DAY);
        if day != self.day {
            *self = Self { day, ..Self::default() };
        }
        self.volume += bar.volume;
        self.quote_volume += bar.quote_volume;
        if self.volume == 0 {
            return f64::NAN;
        }
        instrument.notional_f64(self.quote_volume) / instrument.qty_sum_f64(self.volume)
    }
}

/// What a hole ends.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Series {
    /// Close of the last bar.
    previous: Option<f64>,
    gain: Wilder<14>,
    loss: Wilder<14>,
    true_range: Wilder<14>,
    /// Bars that the fast average of MACD has passed over.
    macd_skipped: u32,
    macd_fast: Ema<12>,
    macd_slow: Ema<26>,
    macd_signal: Ema<9>,
    ema_9: Ema<9>,
    ema_21: Ema<21>,
    ema_50: Ema<50>,
    last_20: Last20,
    /// Squares of the last simple returns.
    squares: Ring<f64, 60>,
}

impl Series {
    fn on_bar(&mut self, bar: &ClosedBar, instrument: &Instrument) -> IndicatorRow {
        let close = instrument.px_f64(bar.close);
        let mut values = IndicatorRow::unknown(bar.open_time.0);
        if let Some(previous) = self.previous.replace(close) {
            self.on_change(bar, previous, close, instrument, &mut values);
        }
        (values.macd, values.macd_signal, values.macd_hist) = self.macd(close);
        let (mean, deviation) = self.last_20.push(bar.close, instrument);
        let width = 2.0 * deviation;
        (values.sma_20, values.bb_middle) = (mean, mean);
        (values.bb_upper, values.bb_lower) = (mean + width, mean - width);
        values.ema_9 = self.ema_9.push(close);
        values.ema_21 = self.ema_21.push(close);
        values.ema_50 = self.ema_50.push(close);
        values
    }

    /// What depends on the close before.
    fn on_change(
        &mut self,
        bar: &ClosedBar,
        previous: f64,
        close: f64,
        instrument: &Instrument,
        values: &mut IndicatorRow,
    ) {
        // TA-Lib's difference of doubles: their rounding shows in the eleventh digit of the strength.
        let change = close - previous;
        let gain = self.gain.push(if change > 0.0 { change } else { 0.0 });
        let loss = self.loss.push(if change < 0.0 { -change } else { 0.0 });
        let sum = gain + loss;
        values.rsi_14 = if sum < TA_EPSILON { 0.0 } else { 100.0 * (gain / sum) };

        let (high, low) = (instrument.px_f64(bar.high), instrument.px_f64(bar.low));
        let range = (high - low).max((previous - high).abs()).max((previous - low).abs());
        values.atr_14 = self.true_range.push(range);

        let simple_return = close / previous - 1.0;
        self.squares.push(simple_return * simple_return);
        if self.squares.is_full() {
            values.realised_vol_60 = self.squares.iter().sum::<f64>().sqrt();
        }
    }

    /// Line, signal and histogram: none of them before the signal is seeded.
    fn macd(&mut self, close: f64) -> (f64, f64, f64) {
        let fast = if self.macd_skipped < MACD_FAST_SKIPS {
            self.macd_skipped += 1;
            f64::NAN
        } else {
            self.macd_fast.push(close)
        };
        let line = fast - self.macd_slow.push(close);
        if line.is_nan() {
            return (f64::NAN, f64::NAN, f64::NAN);
        }
        let signal = self.macd_signal.push(line);
        if signal.is_nan() {
            return (f64::NAN, f64::NAN, f64::NAN);
        }
        (line, signal, line - signal)
    }
}
