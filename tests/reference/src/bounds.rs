//! PivotBounds (FRAME.md) from scratch: of a symbol's own closed 1s bars, or of the bars of kline archives.
//! Guarantees: what a period shows depends on no bar that opens at or after its end.

use crate::candles::Row;
use crate::decimal::{Dec, PLACES, decimal_to_f64};
use crate::message::Nanos;
use crate::pivots::{Kind, LEVELS, Pivots};
use crate::symbol::SECOND;
use serde_json::{Value, json};

const HOUR: Nanos = 3_600 * SECOND;
const PERIOD: Nanos = 720 * HOUR;

/// Of closed bars of 1 s, oldest first.
pub(crate) fn json(rows: &[Row]) -> Value {
    let bars_end = rows.last().map_or(0, |row| row.open_time + SECOND);
    let period_end = bars_end.div_euclid(HOUR) * HOUR;
    let until_end = &rows[..rows.partition_point(|row| row.open_time < period_end)];
    let is_within = |row: &&Row| row.open_time >= period_end - PERIOD;
    let seen = || until_end.iter().filter(is_within).filter(|row| !row.is_hole);
    if seen().next().is_none() {
        let unknown = [None::<f64>; LEVELS];
        return json!({
            "period_start": null, "period_end": null, "bar_count": 0,
            "price_min": null, "price_max": null, "volume_min": null, "volume_max": null,
            "support": unknown, "resistance": unknown,
        });
    }
    let prices = || seen().filter_map(|row| row.prices);
    let volumes = || seen().map(|row| row.volume);
    let close_twice = prices().next_back().map(|[_, _, _, close]| close + close);
    let pivots = Pivots::new(until_end);
    let nearest = |kind: Kind| -> Vec<Option<f64>> {
        let of_level = |level| pivots.nearest(level, kind, close_twice).map(Dec::to_f64);
        (1..=LEVELS).map(of_level).collect()
    };
    let volume = |volume: i128| decimal_to_f64(volume, PLACES);
    json!({
        "period_start": period_end - PERIOD,
        "period_end": period_end,
        "bar_count": seen().count(),
        "price_min": prices().map(|[_, _, low, _]| low).min().map(Dec::to_f64),
        "price_max": prices().map(|[_, high, _, _]| high).max().map(Dec::to_f64),
        "volume_min": volumes().min().map(volume),
        "volume_max": volumes().max().map(volume),
        "support": nearest(Kind::Low),
        "resistance": nearest(Kind::High),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `<second>:<high>/<low>*<volume>`, closed at its low; `<second>:x` a hole.
    fn check(bars: &str, expected: &Value) {
        let row = |text: &str| {
            let (second, bar) = text.split_once(':').unwrap();
            let open_time = second.parse::<Nanos>().unwrap() * SECOND;
            let base = Row { open_time, ts_closed: Some(open_time + SECOND), ..Row::default() };
            let Some((prices, volume)) = bar.split_once('*') else {
                return Row { is_hole: true, ..base };
            };
            let dec = |text: &str| Dec::parse(text).unwrap();
            let (high, low) = prices.split_once('/').unwrap();
            let (high, low, volume) = (dec(high), dec(low), dec(volume).0);
            let trade_count = u64::from(volume > 0);
            Row { prices: Some([low, high, low, low]), volume, trade_count, ..base }
        };
        let found = json(&bars.split(' ').map(row).collect::<Vec<_>>());
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&found[name], value, "{name} of {bars}");
        }
    }

    #[test]
    fn an_hour_counts_from_the_close_of_its_last_bar() {
        check("3597:7/5*1 3598:7/5*1", &json!({ "period_end": null, "bar_count": 0 }));
        let period_end = HOUR;
        check("3598:7/5*1 3599:x", &json!({ "period_end": period_end, "bar_count": 1 }));
        let until_next = "3598:7/5*1 3599:8/5*2 3600:90/1*9 7198:90/1*9";
        check(
            until_next,
            &json!({
                "period_start": period_end - PERIOD, "period_end": period_end, "bar_count": 2,
                "price_min": 5.0, "price_max": 8.0, "volume_min": 1.0, "volume_max": 2.0,
            }),
        );
    }

    #[test]
    fn what_is_older_than_720_hours_counts_for_pivots_alone() {
        // The high of 9 is confirmed in the first hour, which the period has left behind.
        let bars = "0:5/4*9 1:6/4*9 2:9/4*9 3:6/4*9 4:5/4*9 2592000:3/2*0 2595599:4/2*1";
        let expected = json!({
            "period_start": HOUR, "bar_count": 2, "price_max": 4.0, "volume_max": 1.0, "volume_min": 0.0,
            "resistance": [9.0, null, null, null, null],
        });
        check(bars, &expected);
    }
}
