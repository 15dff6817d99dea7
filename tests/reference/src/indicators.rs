//! Indicators (FRAME.md, "Windows") by TA-Lib's definitions and seeds, each from its whole history of doubles.
//! Guarantees: the n-th value needs nothing after the n-th bar; sums run oldest first, in TA-Lib's order where a
//! value is a small difference of large ones (MACD), so that equal definitions give equal doubles.
//! Does not: take variances by E[x²] - E[x]² as older TA-Libs do, which loses seven digits at 60,000.

use crate::candles::Row;
use crate::decimal::weighted_px;
use crate::message::Nanos;
use serde_json::{Value, json};

const DAY: Nanos = 86_400_000_000_000;
/// TA-Lib takes a sum of gains and losses below this for zero.
const TA_EPSILON: f64 = 1e-14;

/// The row at `index` of closed candles; a row without a price has no close, and restarts what needs closes.
pub(crate) fn json(rows: &[Row], index: usize) -> Value {
    let history = &rows[..=index];
    let known_from =
        history.iter().rposition(|row| row.prices.is_none()).map_or(0, |last| last + 1);
    let column = |which: usize| -> Vec<f64> {
        let prices = history[known_from..].iter().filter_map(|row| row.prices);
        prices.map(|prices| prices[which].to_f64()).collect()
    };
    let (high, low, close) = (column(1), column(2), column(3));
    let [macd, signal, hist] = optional(macd(&close, 12, 26, 9));
    let [upper, middle, lower] = optional(bbands(&close, 20, 2.0));
    json!({
        "open_time": rows[index].open_time,
        "rsi_14": rsi(&close, 14),
        "macd": macd,
        "macd_signal": signal,
        "macd_hist": hist,
        "bb_upper": upper,
        "bb_middle": middle,
        "bb_lower": lower,
        "atr_14": atr(&high, &low, &close, 14),
        "sma_20": sma(&close, 20),
        "ema_9": ema(&close, 9),
        "ema_21": ema(&close, 21),
        "ema_50": ema(&close, 50),
        "vwap_day": vwap_day(history),
        "realised_vol_60": realised_vol(&close, 60),
    })
}

fn optional(three: Option<[f64; 3]>) -> [Option<f64>; 3] {
    three.map_or([None; 3], |values| values.map(Some))
}

/// Traded value over traded quantity since 0:00 UTC of the last row's day; exact but for one rounding.
fn vwap_day(history: &[Row]) -> Option<f64> {
    let last = history.last().filter(|row| !row.is_hole)?;
    let day = last.open_time.div_euclid(DAY);
    let of_day = || history.iter().filter(|row| row.open_time.div_euclid(DAY) == day);
    weighted_px(of_day().map(|r| r.quote_volume).sum(), of_day().map(|r| r.volume).sum())
}

fn mean(values: &[f64]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "lengths are far below 2^53")]
    let count = values.len() as f64;
    values.iter().sum::<f64>() / count
}

#[expect(clippy::cast_precision_loss, reason = "periods are at most 60")]
fn real(period: usize) -> f64 {
    period as f64
}

fn last(values: &[f64], count: usize) -> Option<&[f64]> {
    values.len().checked_sub(count).map(|from| &values[from..])
}

fn sma(values: &[f64], period: usize) -> Option<f64> {
    last(values, period).map(mean)
}

/// From the value `period` - 1 on; seed: the mean of the first `period` values.
fn emas(values: &[f64], period: usize) -> Vec<f64> {
    if values.len() < period {
        return Vec::new();
    }
    let (seed, later) = values.split_at(period);
    let weight = 2.0 / (real(period) + 1.0);
    let mut emas = vec![mean(seed)];
    for value in later {
        let before = emas[emas.len() - 1];
        emas.push((value - before) * weight + before);
    }
    emas
}

fn ema(values: &[f64], period: usize) -> Option<f64> {
    emas(values, period).last().copied()
}

/// Line, signal, histogram, all from the first bar with a signal on. TA-Lib seeds the fast mean late, so that
/// both begin with the bar `slow`.
fn macd(values: &[f64], fast: usize, slow: usize, signal: usize) -> Option<[f64; 3]> {
    let fast = emas(values.get(slow - fast..)?, fast);
    let line: Vec<f64> =
        fast.iter().zip(emas(values, slow)).map(|(fast, slow)| fast - slow).collect();
    let signal = ema(&line, signal)?;
    let line = *line.last()?;
    Some([line, signal, line - signal])
}

/// Upper, middle, lower; the deviation is that of a population.
fn bbands(values: &[f64], period: usize, width: f64) -> Option<[f64; 3]> {
    let window = last(values, period)?;
    let middle = mean(window);
    let squares: Vec<f64> = window.iter().map(|value| (value - middle).powi(2)).collect();
    let deviation = mean(&squares).sqrt();
    Some([middle + width * deviation, middle, middle - width * deviation])
}

/// Wilder's mean: seeded with the plain mean of the first `period` values.
fn wilder(values: &[f64], period: usize) -> Option<f64> {
    if values.len() < period {
        return None;
    }
    let (seed, later) = values.split_at(period);
    let step = |mean: f64, value: &f64| (mean * (real(period) - 1.0) + value) / real(period);
    Some(later.iter().fold(mean(seed), step))
}

/// 0 where nothing moved.
fn rsi(values: &[f64], period: usize) -> Option<f64> {
    let changes: Vec<f64> = values.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let gains: Vec<f64> = changes.iter().map(|change| change.max(0.0)).collect();
    let losses: Vec<f64> = changes.iter().map(|change| (-change).max(0.0)).collect();
    let (gain, loss) = (wilder(&gains, period)?, wilder(&losses, period)?);
    Some(if gain + loss < TA_EPSILON { 0.0 } else { 100.0 * (gain / (gain + loss)) })
}

/// The first bar has no true range, as it has no previous close.
fn atr(high: &[f64], low: &[f64], close: &[f64], period: usize) -> Option<f64> {
    let true_range = |i: usize| {
        let before = close[i - 1];
        (high[i] - low[i]).max((high[i] - before).abs()).max((low[i] - before).abs())
    };
    let ranges: Vec<f64> = (1..close.len()).map(true_range).collect();
    wilder(&ranges, period)
}

/// √ Σ r² over the last `period` simple returns.
fn realised_vol(close: &[f64], period: usize) -> Option<f64> {
    let window = last(close, period + 1)?;
    let squares = window.windows(2).map(|pair| (pair[1] / pair[0] - 1.0).powi(2));
    Some(squares.sum::<f64>().sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decimal::Dec;

    const FIXTURE: &str = include_str!("../fixtures/talib.json");

    fn column(fixture: &Value, name: &str) -> Vec<Option<f64>> {
        fixture[name].as_array().unwrap().iter().map(Value::as_f64).collect()
    }

    /// Every value of the fixture, which holds TA-Lib's own output for each bar.
    fn check(name: &str, tolerance: f64, value: impl Fn(&[f64], &[f64], &[f64]) -> Option<f64>) {
        let fixture: Value = serde_json::from_str(FIXTURE).unwrap();
        let input =
            |name: &str| -> Vec<f64> { column(&fixture, name).into_iter().flatten().collect() };
        let (high, low, close) = (input("high"), input("low"), input("close"));
        let expected = column(&fixture, name);
        assert_eq!(expected.len(), close.len());
        assert!(expected.iter().flatten().count() > 60, "{name}: too few values");
        for (index, expected) in expected.into_iter().enumerate() {
            let found = value(&high[..=index], &low[..=index], &close[..=index]);
            let near = match (found, expected) {
                (Some(found), Some(expected)) => (found - expected).abs() <= tolerance,
                (found, expected) => found.is_none() && expected.is_none(),
            };
            assert!(near, "{name}[{index}]: expected {expected:?}, found {found:?}");
        }
    }

    #[test]
    fn all_equal_ta_lib() {
        check("rsi_14", 1e-11, |_, _, c| rsi(c, 14));
        check("macd", 1e-12, |_, _, c| macd(c, 12, 26, 9).map(|m| m[0]));
        check("macd_signal", 1e-12, |_, _, c| macd(c, 12, 26, 9).map(|m| m[1]));
        check("macd_hist", 1e-12, |_, _, c| macd(c, 12, 26, 9).map(|m| m[2]));
        check("bb_upper", 1e-11, |_, _, c| bbands(c, 20, 2.0).map(|b| b[0]));
        check("bb_middle", 1e-11, |_, _, c| bbands(c, 20, 2.0).map(|b| b[1]));
        check("bb_lower", 1e-11, |_, _, c| bbands(c, 20, 2.0).map(|b| b[2]));
        check("atr_14", 1e-12, |h, l, c| atr(h, l, c, 14));
        check("sma_20", 1e-11, |_, _, c| sma(c, 20));
        check("ema_9", 1e-11, |_, _, c| ema(c, 9));
        check("ema_21", 1e-11, |_, _, c| ema(c, 21));
        check("ema_50", 1e-11, |_, _, c| ema(c, 50));
    }

    #[test]
    fn short_histories_by_hand() {
        let close = [10.0, 11.0, 9.0, 12.0];
        assert_eq!(sma(&close, 2), Some(10.5));
        assert_eq!(ema(&close, 3), Some(11.0), "seed 10, weight 1/2");
        assert_eq!(
            rsi(&close, 2),
            Some(100.0 * (1.75 / 2.25)),
            "seeds 1/2 and 1, then 7/4 and 1/2"
        );
        assert_eq!(rsi(&[5.0; 16], 14), Some(0.0), "nothing moved");
        assert_eq!(bbands(&close, 2, 2.0), Some([13.5, 10.5, 7.5]));
        assert_eq!(atr(&[11.0, 12.0, 10.0], &[9.0, 10.0, 8.0], &[10.0, 11.0, 9.0], 2), Some(2.5));
        assert_eq!(realised_vol(&[1.0, 2.0, 1.0, 0.5], 2), Some(0.5_f64.sqrt()));
        assert_eq!(realised_vol(&[1.0; 60], 60), None);
        assert_eq!(realised_vol(&[1.0; 61], 60), Some(0.0));
    }

    /// Second, close, volume; no close: a hole.
    fn rows(cases: &[(Nanos, Option<i128>, i128)]) -> Vec<Row> {
        let row = |&(second, close, volume): &(Nanos, Option<i128>, i128)| {
            let px = close.map(|close| Dec(close * 100_000_000));
            Row {
                open_time: second * 1_000_000_000,
                prices: px.map(|px| [px; 4]),
                volume: volume * 100_000_000,
                quote_volume: close.unwrap_or(0) * volume * 10_i128.pow(16),
                is_hole: close.is_none(),
                ..Row::default()
            }
        };
        cases.iter().map(row).collect()
    }

    #[test]
    fn the_day_begins_anew_at_midnight() {
        let midnight = 86_400;
        let rows = rows(&[
            (midnight - 2, Some(10), 1),
            (midnight - 1, Some(13), 2),
            (midnight, Some(13), 0),
            (midnight + 1, Some(20), 3),
        ]);
        let vwap = |index| json(&rows, index)["vwap_day"].clone();
        assert_eq!([0, 1, 2, 3].map(vwap), [json!(10.0), json!(12.0), json!(null), json!(20.0)]);
    }

    #[test]
    fn a_hole_has_no_indicators_and_restarts_those_of_closes() {
        let mut cases: Vec<_> = (0..20).map(|second| (second, Some(10), 1)).collect();
        cases.push((20, None, 0));
        cases.extend((21..41).map(|second| (second, Some(20), 1)));
        let rows = rows(&cases);
        let at = |index| json(&rows, index);
        assert_eq!(at(19)["sma_20"], 10.0);
        assert!(
            at(20).as_object().unwrap().iter().all(|(key, v)| v.is_null() || key == "open_time")
        );
        assert_eq!(at(39)["sma_20"], json!(null));
        assert_eq!(at(40)["sma_20"], 20.0);
        assert_eq!(at(40)["vwap_day"], 15.0, "the day's trades on both sides of the hole");
    }
}
