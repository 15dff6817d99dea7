//! Where closed bars of an interval go: its candle window, and for the studied intervals indicators and pivots.

use std::collections::VecDeque;

use cobring_frame::{
    CandleRow, IndicatorRow, PIVOT_LEVELS, PivotRow, STUDIED_INTERVALS, Window, Windows,
};
use cobring_types::{Instrument, Nanos, Px};
use serde::{Deserialize, Serialize};

use crate::bar::Bar;
use crate::indicators::Indicators;
use crate::pivot_bounds::BoundsTracker;
use crate::pivots::{LEVELS, PivotKind, Structure};

const _: () = assert!(LEVELS == PIVOT_LEVELS);

/// Indicators and market structure of one interval.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Study {
    pub(crate) indicators: Indicators,
    pub(crate) structure: Structure,
    /// Of the 1 s bars.
    pub(crate) bounds: Option<BoundsTracker>,
    /// The bounds are others than were shown.
    pub(crate) bounds_changed: bool,
    /// The structure saw a bar since it was shown.
    pub(crate) changed: bool,
}

impl Study {
    /// No bar seen.
    pub(crate) fn new(bounds: Option<BoundsTracker>) -> Self {
        Self {
            indicators: Indicators::new(),
            structure: Structure::new(),
            bounds,
            bounds_changed: false,
            changed: true,
        }
    }

    /// Reserves all memory that it will need (again).
    pub(crate) fn reserve(&mut self) {
        self.structure.reserve();
    }
}

/// Where the closed bars of one interval go.
#[derive(Debug)]
pub(crate) struct BarOutput<'a> {
    pub(crate) instrument: &'a Instrument,
    candles: &'a mut Window<CandleRow>,
    study: Option<StudyOutput<'a>>,
}

#[derive(Debug)]
struct StudyOutput<'a> {
    study: &'a mut Study,
    indicators: &'a mut Window<IndicatorRow>,
    pivots: &'a mut [Window<PivotRow>; PIVOT_LEVELS],
    /// Bars without a trade are no bars to the structure.
    traded_only: bool,
}

/// The outputs of all intervals.
pub(crate) fn bar_outputs<'a>(
    instrument: &'a Instrument,
    studies: &'a mut [Study; STUDIED_INTERVALS],
    windows: &'a mut Windows,
) -> [BarOutput<'a>; 4] {
    let [second_study, minute_study] = studies;
    let [second_indicators, minute_indicators] = &mut windows.indicators;
    let [second_pivots, minute_pivots] = &mut windows.pivots;
    let [second, minute, hour, day] = &mut windows.candles;
    let studied = |candles, study, indicators, pivots, traded_only| BarOutput {
        instrument,
        candles,
        study: Some(StudyOutput { study, indicators, pivots, traded_only }),
    };
    [
        studied(second, second_study, second_indicators, second_pivots, true),
        studied(minute, minute_study, minute_indicators, minute_pivots, false),
        BarOutput { instrument, candles: hour, study: None },
        BarOutput { instrument, candles: day, study: None },
    ]
}

impl BarOutput<'_> {
    /// The next closed bar; `leaving` is kept for repairs no longer.
    pub(crate) fn append(&mut self, bar: &Bar, leaving: Option<&Bar>) {
        self.candles.append(&bar.row(self.instrument));
        let Some(out) = &mut self.study else { return };
        let leaving = leaving.map(Bar::closed);
        let row = out.study.indicators.on_bar(&bar.closed(), leaving.as_ref(), self.instrument);
        out.indicators.append(&row);
        let study = &mut *out.study;
        if let Some(bounds) = &mut study.bounds {
            if let Some(leaving) = &leaving {
                bounds.on_settled(leaving);
            }
            study.bounds_changed |= bounds.on_bar(&bar.closed(), &study.structure);
        }
        if bar.unobserved || bar.trade_count > 0 || !out.traded_only {
            let (pivots, instrument) = (&mut *out.pivots, self.instrument);
            out.study.structure.on_bar(&bar.pivot(), &mut |pivot| {
                pivots[usize::from(pivot.level) - 1].append(&PivotRow {
                    open_time: pivot.open_time.0,
                    ts_confirmed: pivot.ts_confirmed.0,
                    price: instrument.px_f64(pivot.price),
                    strength: pivot
                        .strength_ticks
                        .map_or(f64::NAN, |ticks| instrument.px_f64(Px(ticks))),
                    kind: match pivot.kind {
                        PivotKind::High => 0,
                        PivotKind::Low => 1,
                    },
                    pad: [0; 7],
                });
            });
            out.study.changed = true;
        }
        // The last bar of an hour makes it whole, by its own pivots too.
        let study = &mut *out.study;
        if let Some(bounds) = &mut study.bounds {
            let end = Nanos(bar.open_time.0 + Nanos::SECOND.0);
            study.bounds_changed |= bounds.advance_to(end, &study.structure);
        }
    }

    /// A closed bar changed, the newest being one back.
    pub(crate) fn rewrite(&mut self, bars_back: u64, bar: &Bar) {
        let index = self.candles.done() - bars_back;
        self.candles.rewrite(index, &bar.row(self.instrument));
    }

    /// Prices or volumes of kept bars changed, the first of them at `changed`: what follows from them is
    /// rewritten. Confirmed pivots stay: nobody can have known better then.
    pub(crate) fn recompute(&mut self, kept: &VecDeque<Bar>, changed: usize) {
        let Some(out) = &mut self.study else { return };
        let first = out.indicators.done() - kept.len() as u64;
        let indicators = &mut *out.indicators;
        let bars = kept.iter().map(Bar::closed);
        out.study.indicators.on_repair(bars.clone(), changed, self.instrument, |at, row| {
            indicators.rewrite(first + at as u64, &row);
        });
        if let Some(bounds) = &mut out.study.bounds {
            out.study.bounds_changed |= bounds.on_repair(bars, kept[changed].open_time);
        }
    }
}
