//! The windows of a symbol: which there are, what they promise, and the writer's ends of all of them.

use crate::rows::{
    BookStateRow, CandleRow, CobRow, IndicatorRow, ModelRow, PivotRow, TickRow, TickerRow,
};
use crate::schema::{Record, RecordSchema, WindowSchema};
use crate::{RawWindow, Window, WindowSpec};

/// Names of the bar intervals.
pub const BAR_INTERVALS: [&str; 4] = ["1s", "1m", "1h", "1d"];
/// Their lengths in nanoseconds.
pub const BAR_INTERVALS_NS: [i64; 4] =
    [1_000_000_000, 60_000_000_000, 3_600_000_000_000, 86_400_000_000_000];
/// Intervals with indicators and pivots: the first two.
pub const STUDIED_INTERVALS: usize = 2;
/// Levels of pivots.
pub const PIVOT_LEVELS: usize = 5;
/// Models of a symbol, at most.
pub const MODELS_MAX: usize = 8;

/// Windows that every symbol has, in the order of the segment's table; those of models follow.
pub const WINDOWS: [&str; 20] = [
    "candles.1s",
    "candles.1m",
    "candles.1h",
    "candles.1d",
    "indicators.1s",
    "indicators.1m",
    "cob_rows",
    "book_states",
    "ticks",
    "pivots.1s.1",
    "pivots.1s.2",
    "pivots.1s.3",
    "pivots.1s.4",
    "pivots.1s.5",
    "pivots.1m.1",
    "pivots.1m.2",
    "pivots.1m.3",
    "pivots.1m.4",
    "pivots.1m.5",
    "ticker",
];

/// Places in [`WINDOWS`] of the first window of each sort.
pub mod place {
    /// `candles.1s`; the other intervals follow.
    pub const CANDLES: usize = 0;
    /// `indicators.1s`; `1m` follows.
    pub const INDICATORS: usize = 4;
    /// `cob_rows`.
    pub const COB_ROWS: usize = 6;
    /// `book_states`.
    pub const BOOK_STATES: usize = 7;
    /// `ticks`.
    pub const TICKS: usize = 8;
    /// `pivots.1s.1`; the other levels, then `1m`, follow.
    pub const PIVOTS: usize = 9;
    /// `ticker`.
    pub const TICKER: usize = 19;
}

/// Rows that readers may count on, where they are not the same for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowRows {
    /// Of each candle window and its indicators.
    pub candles: u64,
    /// Of `ticks`.
    pub ticks: u64,
}

impl Default for WindowRows {
    fn default() -> Self {
        Self { candles: CANDLES_PROMISED, ticks: TICKS_PROMISED }
    }
}

/// Rows of each candle window that readers may count on, by default.
pub const CANDLES_PROMISED: u64 = 1_500;
/// Rows of `ticks` that readers may count on, by default.
pub const TICKS_PROMISED: u64 = 180_000;
/// Seconds of `cob_rows` that readers may count on.
pub const COB_ROWS_PROMISED: u64 = 1_800;
/// Depth messages of `book_states` that readers may count on.
pub const BOOK_STATES_PROMISED: u64 = 512;
const PIVOTS_PROMISED: u64 = 64;
const TICKERS_PROMISED: u64 = 60;
const MODEL_ROWS_PROMISED: u64 = 1_000;

/// Name of a model's window.
#[must_use]
pub fn model_window_name(model: &str) -> String {
    format!("models.{model}")
}

/// The windows of a symbol with these models, in the order of the segment's table.
pub(crate) fn window_schemas(rows: WindowRows, models: &[String]) -> Vec<WindowSchema> {
    let window = |name: &str, rows_promised: u64, capacity: u64, row: RecordSchema| WindowSchema {
        name: name.to_owned(),
        rows_promised,
        capacity,
        row,
    };
    let twice = |name: &str, rows: u64, row| window(name, rows, 2 * rows, row);
    let fixed = WINDOWS.into_iter().map(|name| match name.split('.').next().unwrap_or(name) {
        "candles" => twice(name, rows.candles, CandleRow::schema()),
        "indicators" => twice(name, rows.candles, IndicatorRow::schema()),
        "cob_rows" => twice(name, COB_ROWS_PROMISED, CobRow::schema()),
        "book_states" => twice(name, BOOK_STATES_PROMISED, BookStateRow::schema()),
        "ticks" => window(name, rows.ticks, rows.ticks + rows.ticks.div_ceil(8), TickRow::schema()),
        "pivots" => twice(name, PIVOTS_PROMISED, PivotRow::schema()),
        _ => twice(name, TICKERS_PROMISED, TickerRow::schema()),
    });
    let of_models = models
        .iter()
        .map(|model| twice(&model_window_name(model), MODEL_ROWS_PROMISED, ModelRow::schema()));
    fixed.chain(of_models).collect()
}

/// The windows as a segment is laid out for them.
pub(crate) fn window_specs(windows: &[WindowSchema]) -> Vec<WindowSpec> {
    let spec = |window: &WindowSchema| WindowSpec {
        name: window.name.clone(),
        row_size_bytes: window.row.size_bytes,
        rows_promised: window.rows_promised,
        capacity: window.capacity,
    };
    windows.iter().map(spec).collect()
}

/// The writer's ends of a symbol's windows.
#[derive(Debug)]
pub struct Windows {
    /// Closed bars of each interval, as [`BAR_INTERVALS`].
    pub candles: [Window<CandleRow>; 4],
    /// Indicators of 1 s and 1 min bars.
    pub indicators: [Window<IndicatorRow>; STUDIED_INTERVALS],
    /// Seconds of the price-bucket book.
    pub cob_rows: Window<CobRow>,
    /// The best levels after each depth message.
    pub book_states: Window<BookStateRow>,
    /// Trades and changes of the best prices.
    pub ticks: Window<TickRow>,
    /// Confirmed pivots of 1 s and 1 min bars, by level.
    pub pivots: [[Window<PivotRow>; PIVOT_LEVELS]; STUDIED_INTERVALS],
    /// The venue's 24 h ticker.
    pub ticker: Window<TickerRow>,
    /// Outputs of each model.
    pub models: Vec<Window<ModelRow>>,
}

impl Windows {
    /// The windows of a segment that was laid out from [`crate::Schema::window_specs`].
    ///
    /// # Panics
    /// Where the segment was laid out otherwise.
    #[must_use]
    pub fn new(raw: Vec<RawWindow>) -> Self {
        fn next<R: Record>(raw: &mut impl Iterator<Item = RawWindow>) -> Window<R> {
            Window::new(raw.next().expect("invariant: the segment is laid out from the schema"))
        }
        let raw = &mut raw.into_iter();
        Self {
            candles: std::array::from_fn(|_| next(raw)),
            indicators: std::array::from_fn(|_| next(raw)),
            cob_rows: next(raw),
            book_states: next(raw),
            ticks: next(raw),
            pivots: std::array::from_fn(|_| std::array::from_fn(|_| next(raw))),
            ticker: next(raw),
            models: raw.map(Window::new).collect(),
        }
    }

    /// (done, revision) of all but the models', for the frame.
    #[must_use]
    pub fn cursors(&self) -> [[u64; 2]; WINDOWS.len()] {
        let mut cursors = [[0; 2]; WINDOWS.len()];
        for (at, window) in self.candles.iter().enumerate() {
            cursors[place::CANDLES + at] = window.cursor();
        }
        for (at, window) in self.indicators.iter().enumerate() {
            cursors[place::INDICATORS + at] = window.cursor();
        }
        cursors[place::COB_ROWS] = self.cob_rows.cursor();
        cursors[place::BOOK_STATES] = self.book_states.cursor();
        cursors[place::TICKS] = self.ticks.cursor();
        for (at, window) in self.pivots.iter().flatten().enumerate() {
            cursors[place::PIVOTS + at] = window.cursor();
        }
        cursors[place::TICKER] = self.ticker.cursor();
        cursors
    }

    /// All of them, in the order of the segment's table.
    pub fn iter(&self) -> impl Iterator<Item = &dyn AnyWindow> {
        fn any<R: Record + std::fmt::Debug>(window: &Window<R>) -> &dyn AnyWindow {
            window
        }
        let candles = self.candles.iter().map(any);
        let indicators = self.indicators.iter().map(any);
        let single = [any(&self.cob_rows), any(&self.book_states), any(&self.ticks)];
        let pivots = self.pivots.iter().flatten().map(any);
        let models = self.models.iter().map(any);
        candles
            .chain(indicators)
            .chain(single)
            .chain(pivots)
            .chain([any(&self.ticker)])
            .chain(models)
    }

    /// All of them, to change, in the same order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut dyn AnyWindow> {
        fn any<R: Record + std::fmt::Debug>(window: &mut Window<R>) -> &mut dyn AnyWindow {
            window
        }
        let candles = self.candles.iter_mut().map(any);
        let indicators = self.indicators.iter_mut().map(any);
        let single = [any(&mut self.cob_rows), any(&mut self.book_states), any(&mut self.ticks)];
        let pivots = self.pivots.iter_mut().flatten().map(any);
        let models = self.models.iter_mut().map(any);
        candles
            .chain(indicators)
            .chain(single)
            .chain(pivots)
            .chain([any(&mut self.ticker)])
            .chain(models)
    }
}

/// What can be done with a window whatever its rows are.
pub trait AnyWindow: std::fmt::Debug {
    /// The word protocol's end.
    fn raw(&self) -> &RawWindow;
    /// The word protocol's end, to restore a checkpoint.
    fn raw_mut(&mut self) -> &mut RawWindow;
    /// Indices rewritten since the last frame, in that order.
    fn rewritten(&self) -> &[u64];
    /// To be called with each frame.
    fn clear_rewritten(&mut self);
    /// What a frame's cursor holds: (done, revision).
    fn cursor(&self) -> [u64; 2] {
        [self.raw().done(), self.raw().revision()]
    }
}

impl<R: Record + std::fmt::Debug> AnyWindow for Window<R> {
    fn raw(&self) -> &RawWindow {
        Window::raw(self)
    }

    fn raw_mut(&mut self) -> &mut RawWindow {
        Window::raw_mut(self)
    }

    fn rewritten(&self) -> &[u64] {
        Window::rewritten(self)
    }

    fn clear_rewritten(&mut self) {
        Window::clear_rewritten(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_each_interval_and_level() {
        for interval in BAR_INTERVALS {
            assert!(WINDOWS.contains(&format!("candles.{interval}").as_str()));
        }
        for interval in &BAR_INTERVALS[..STUDIED_INTERVALS] {
            assert!(WINDOWS.contains(&format!("indicators.{interval}").as_str()));
            for level in 1..=PIVOT_LEVELS {
                assert!(WINDOWS.contains(&format!("pivots.{interval}.{level}").as_str()));
            }
        }
        for (at, sort) in [
            (place::CANDLES, "candles.1s"),
            (place::INDICATORS, "indicators.1s"),
            (place::COB_ROWS, "cob_rows"),
            (place::BOOK_STATES, "book_states"),
            (place::TICKS, "ticks"),
            (place::PIVOTS, "pivots.1s.1"),
            (place::PIVOTS + PIVOT_LEVELS, "pivots.1m.1"),
            (place::TICKER, "ticker"),
        ] {
            assert_eq!(WINDOWS[at], sort);
        }
        let models = ["cnn".to_owned(), "rl".to_owned()];
        let windows = window_schemas(WindowRows::default(), &models);
        let names: Vec<&str> = windows.iter().map(|window| window.name.as_str()).collect();
        assert_eq!(names[..WINDOWS.len()], WINDOWS);
        assert_eq!(names[WINDOWS.len()..], ["models.cnn", "models.rl"]);
        for window in &windows {
            let least = if window.name == "ticks" {
                window.rows_promised / 8
            } else {
                window.rows_promised
            };
            assert!(window.capacity >= window.rows_promised + least, "{}", window.name);
        }
    }
}
