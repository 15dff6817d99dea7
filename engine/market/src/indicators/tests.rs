//! Against TA-Lib's own values, and against a model that computes each row from the whole history.

use proptest::prelude::*;

use super::*;

const VECTORS: &str = include_str!("../../../../tests/fixtures/indicators/talib_vectors.csv");

fn instrument() -> Instrument {
    Instrument::new("ETHUSDT", "0.01", 8).unwrap()
}

fn bar(second: usize, high: i64, low: i64, close: i64) -> ClosedBar {
    ClosedBar {
        open_time: Nanos(i64::try_from(second).unwrap() * Nanos::SECOND.0),
        high: Px(high),
        low: Px(low),
        close: Px(close),
        volume: 0,
        quote_volume: 0,
        hole: false,
    }
}

fn columns(values: &IndicatorRow) -> [(&'static str, f64); 14] {
    [
        ("rsi_14", values.rsi_14),
        ("macd", values.macd),
        ("macd_signal", values.macd_signal),
        ("macd_hist", values.macd_hist),
        ("bb_upper", values.bb_upper),
        ("bb_middle", values.bb_middle),
        ("bb_lower", values.bb_lower),
        ("atr_14", values.atr_14),
        ("sma_20", values.sma_20),
        ("ema_9", values.ema_9),
        ("ema_21", values.ema_21),
        ("ema_50", values.ema_50),
        ("vwap_day", values.vwap_day),
        ("realised_vol_60", values.realised_vol_60),
    ]
}

fn bits(values: &IndicatorRow) -> (i64, [u64; 14]) {
    (values.open_time, columns(values).map(|(_, value)| value.to_bits()))
}

fn assert_close(name: &str, at: usize, found: f64, expected: f64) {
    let near = (found - expected).abs() <= 1e-12 * expected.abs().max(1.0);
    assert!(
        near || (found.is_nan() && expected.is_nan()),
        "bar {at}: {name} is {found}, expected {expected}"
    );
}

#[test]
fn talibs_values_come_out() {
    let mut lines = VECTORS.lines().skip(1);
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    assert_eq!(names[..4], ["high", "low", "close", "rsi_14"]);
    let mut indicators = Indicators::new();
    let mut seeded = 0;
    for (at, line) in lines.enumerate() {
        let (ticks, expected) =
            line.match_indices(',').nth(2).map(|(comma, _)| line.split_at(comma)).unwrap();
        let ticks: Vec<i64> = ticks.split(',').map(|cell| cell.parse().unwrap()).collect();
        let values = indicators.on_bar(&bar(at, ticks[0], ticks[1], ticks[2]), None, &instrument());
        let found = columns(&values);
        for (index, cell) in expected.split(',').skip(1).enumerate() {
            let (name, found) = found[index];
            assert_eq!(name, names[index + 3]);
            let expected: f64 = cell.parse().unwrap();
            seeded += usize::from(!expected.is_nan());
            assert_close(name, at, found, expected);
        }
    }
    assert_eq!(seeded, 300 * 12 - 14 - 3 * 33 - 3 * 19 - 14 - 19 - 8 - 20 - 49);
}

#[test]
fn a_price_that_never_moves_has_strength_and_deviation_0() {
    let mut indicators = Indicators::new();
    let last = (0..70).map(|at| indicators.on_bar(&bar(at, 100, 100, 100), None, &instrument()));
    let last = last.last().unwrap();
    let expected = [
        ("rsi_14", 0.0),
        ("macd", 0.0),
        ("macd_signal", 0.0),
        ("macd_hist", 0.0),
        ("bb_upper", 1.0),
        ("bb_middle", 1.0),
        ("bb_lower", 1.0),
        ("atr_14", 0.0),
        ("sma_20", 1.0),
        ("ema_9", 1.0),
        ("ema_21", 1.0),
        ("ema_50", 1.0),
    ];
    for ((name, found), (_, expected)) in columns(&last).into_iter().zip(expected) {
        assert_close(name, 69, found, expected);
    }
    assert!(last.vwap_day.is_nan());
    assert_close("realised_vol_60", 69, last.realised_vol_60, 0.0);
}

#[test]
fn the_days_vwap_goes_on_over_a_hole_and_ends_with_the_utc_day() {
    let mut indicators = Indicators::new();
    let mut vwap = |second: usize, close: i64, volume: i128, hole: bool| {
        let quote_volume = i128::from(close) * volume;
        let bar = ClosedBar { volume, quote_volume, hole, ..bar(second, close, close, close) };
        indicators.on_bar(&bar, None, &instrument()).vwap_day
    };
    let end = 86_400 * 20_000;
    assert!(vwap(end - 4, 100, 0, false).is_nan());
    assert_close("vwap", 1, vwap(end - 3, 100, 1, false), 1.0);
    assert!(vwap(end - 2, 900, 7, true).is_nan());
    assert_close("vwap", 3, vwap(end - 1, 200, 3, false), 1.75);
    assert_close("vwap", 4, vwap(end, 500, 2, false), 5.0);
}

/// The row after the last of `bars`, each figure by its definition over the whole history.
fn naive(bars: &[ClosedBar]) -> IndicatorRow {
    let last = bars.last().unwrap();
    let mut values = IndicatorRow::unknown(last.open_time.0);
    if last.hole {
        return values;
    }
    let day = last.open_time.0.div_euclid(86_400_000_000_000);
    let today = bars
        .iter()
        .filter(|bar| !bar.hole && bar.open_time.0.div_euclid(86_400_000_000_000) == day);
    let (volume, quote) =
        today.fold((0, 0), |sums, bar| (sums.0 + bar.volume, sums.1 + bar.quote_volume));
    if volume != 0 {
        values.vwap_day = quote as f64 / 1e10 / (volume as f64 / 1e8);
    }
    let since = bars.iter().rposition(|bar| bar.hole).map_or(0, |at| at + 1);
    let bars = &bars[since..];
    let closes: Vec<f64> = bars.iter().map(|bar| bar.close.0 as f64 / 100.0).collect();
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let ema = |x: &[f64], n: usize| {
        x[n..].iter().fold(mean(&x[..n]), |old, new| old + (new - old) * 2.0 / (n as f64 + 1.0))
    };
    let wilder =
        |x: &[f64]| x[14..].iter().fold(mean(&x[..14]), |old, new| (old * 13.0 + new) / 14.0);
    let n = closes.len();
    if n >= 20 {
        let window = &closes[n - 20..];
        let middle = mean(window);
        let variance = mean(&window.iter().map(|x| (x - middle).powi(2)).collect::<Vec<_>>());
        (values.sma_20, values.bb_middle) = (middle, middle);
        values.bb_upper = middle + 2.0 * variance.sqrt();
        values.bb_lower = middle - 2.0 * variance.sqrt();
    }
    for (value, period) in
        [(&mut values.ema_9, 9), (&mut values.ema_21, 21), (&mut values.ema_50, 50)]
    {
        if n >= period {
            *value = ema(&closes, period);
        }
    }
    if n >= 34 {
        // The fast average starts so that both seeds end with bar 25.
        let line: Vec<f64> =
            (26..=n).map(|end| ema(&closes[14..end], 12) - ema(&closes[..end], 26)).collect();
        values.macd = *line.last().unwrap();
        values.macd_signal = ema(&line, 9);
        values.macd_hist = values.macd - values.macd_signal;
    }
    if n >= 15 {
        let changes: Vec<f64> = closes.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let gain = wilder(&changes.iter().map(|x| x.max(0.0)).collect::<Vec<_>>());
        let loss = wilder(&changes.iter().map(|x| (-x).max(0.0)).collect::<Vec<_>>());
        values.rsi_14 = if gain + loss < 1e-14 { 0.0 } else { 100.0 * gain / (gain + loss) };
        let ranges: Vec<f64> = bars
            .windows(2)
            .map(|pair| {
                let ticks = pair[1].high.max(pair[0].close).0 - pair[1].low.min(pair[0].close).0;
                ticks as f64 / 100.0
            })
            .collect();
        values.atr_14 = wilder(&ranges);
    }
    if n >= 61 {
        let returns = closes[n - 61..].windows(2).map(|pair| pair[1] / pair[0] - 1.0);
        values.realised_vol_60 = returns.map(|r| r * r).sum::<f64>().sqrt();
    }
    values
}

#[derive(Debug, Clone)]
enum Step {
    /// Closing price, range above and below, volume.
    Bar(i64, i64, i64, i128),
    Hole,
    /// So many bars back, another close.
    Repair(usize, i64),
    Checkpoint,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        100 => (9_000i64..11_000, 0i64..20, 0i64..20, 0i128..9)
            .prop_map(|(close, up, down, volume)| Step::Bar(close, up, down, volume)),
        1 => Just(Step::Hole),
        4 => (0usize..160, 9_000i64..11_000).prop_map(|(back, close)| Step::Repair(back, close)),
        1 => Just(Step::Checkpoint),
    ];
    proptest::collection::vec(step, 0..320)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn rows_equal_those_of_the_whole_history(steps in steps(), kept_max in 1usize..160) {
        let instrument = instrument();
        let (mut bars, mut rows) = (Vec::new(), Vec::new());
        let mut indicators = Indicators::new();
        // A UTC day ends among the bars.
        let start = 86_400 * 20_000 - 100;
        for step in steps {
            let next = start + bars.len();
            match step {
                Step::Bar(..) | Step::Hole => {
                    let mut new = bar(next, 0, 0, 0);
                    if let Step::Bar(close, up, down, volume) = step {
                        new = bar(next, close + up, close - down, close);
                        (new.volume, new.quote_volume) = (volume, volume * i128::from(close));
                    }
                    new.hole = matches!(step, Step::Hole);
                    let leaving = bars.len().checked_sub(kept_max).map(|at| bars[at]);
                    bars.push(new);
                    rows.push(indicators.on_bar(&new, leaving.as_ref(), &instrument));
                }
                Step::Repair(back, close) => {
                    let left = bars.len().saturating_sub(kept_max);
                    let Some(at) = bars.len().checked_sub(back + 1).filter(|&at| at >= left) else {
                        continue;
                    };
                    let new = bar(start + at, close + 1, close - 1, close);
                    bars[at] = ClosedBar { volume: 2, quote_volume: 2 * i128::from(close), ..new };
                    let kept = bars[left..].iter().copied();
                    indicators.on_repair(kept, at - left, &instrument, |index, values| {
                        rows[left + index] = values;
                    });
                }
                Step::Checkpoint => {
                    let saved = postcard::to_allocvec(&indicators).unwrap();
                    indicators = postcard::from_bytes(&saved).unwrap();
                }
            }
        }
        let mut fresh = Indicators::new();
        for (at, row) in rows.iter().enumerate() {
            prop_assert_eq!(bits(row), bits(&fresh.on_bar(&bars[at], None, &instrument)), "bar {}", at);
            let expected = naive(&bars[..=at]);
            for ((name, found), (_, expected)) in columns(row).into_iter().zip(columns(&expected)) {
                assert_close(name, at, found, expected);
            }
        }
        let mut restarted = 0;
        indicators.restart_from(bars.iter().copied(), &instrument, |index, values| {
            assert_eq!(bits(&values), bits(&rows[index]));
            restarted += 1;
        });
        prop_assert_eq!(restarted, bars.len());
    }
}
