//! Klines as the venue writes them.

use super::interval::Interval;
use super::klines::Kline;
use crate::decimal::Fixed;
use crate::messages::{quote_volume_text, volume_text};
use crate::time_unit::TimeUnit;

/// `[1499040000000,"0.01634790","0.80000000","0.01575800","0.01577100","148976.11427815",1499644799999,"2434.19055334",308,"1756.87402397","28.46694368","0"]`
pub(crate) fn rest_row(kline: &Kline, unit: TimeUnit) -> String {
    let Kline { open_ms, next_open_ms, sums } = kline;
    format!(
        r#"[{},"{}","{}","{}","{}","{}",{},"{}",{},"{}","{}","0"]"#,
        unit.of(*open_ms),
        Fixed(sums.open),
        Fixed(sums.high),
        Fixed(sums.low),
        Fixed(sums.close),
        volume_text(sums.volume),
        unit.before(*next_open_ms),
        quote_volume_text(sums.quote_volume),
        sums.trade_count,
        volume_text(sums.taker_buy_volume),
        quote_volume_text(sums.taker_buy_quote_volume),
    )
}

/// `1735689600000000,94591.78000000,94592.00000000,94591.78000000,94592.00000000,0.10000000,1735689600999999,9459.20000000,12,0.05000000,4729.60000000,0`
pub(crate) fn csv_row(kline: &Kline, unit: TimeUnit) -> String {
    let mut row = rest_row(kline, unit);
    row.retain(|c| !matches!(c, '[' | ']' | '"'));
    row.push('\n');
    row
}

/// `{"e":"kline","E":1672515782136,"s":"BNBBTC","k":{"t":1672515780000,"T":1672515839999,"s":"BNBBTC","i":"1m","f":100,"L":200,"o":"0.0010","c":"0.0020","h":"0.0025","l":"0.0015","v":"1000","n":100,"x":false,"q":"1.0000","V":"500","Q":"0.500","B":"123456"}}`
pub(crate) fn stream_message(
    symbol: &str,
    event_ms: i64,
    interval: Interval,
    kline: &Kline,
    (first_id, last_id): (i64, i64),
    is_closed: bool,
) -> String {
    let Kline { open_ms, next_open_ms, sums } = kline;
    let close_ms = next_open_ms - 1;
    let [open, high, low, close] = [sums.open, sums.high, sums.low, sums.close].map(Fixed);
    let (volume, quote_volume) = (volume_text(sums.volume), quote_volume_text(sums.quote_volume));
    let taker_volume = volume_text(sums.taker_buy_volume);
    let taker_quote_volume = quote_volume_text(sums.taker_buy_quote_volume);
    let trade_count = sums.trade_count;
    format!(
        r#"{{"e":"kline","E":{event_ms},"s":"{symbol}","k":{{"t":{open_ms},"T":{close_ms},"s":"{symbol}","i":"{interval}","f":{first_id},"L":{last_id},"o":"{open}","c":"{close}","h":"{high}","l":"{low}","v":"{volume}","n":{trade_count},"x":{is_closed},"q":"{quote_volume}","V":"{taker_volume}","Q":"{taker_quote_volume}","B":"0"}}}}"#
    )
}

#[cfg(test)]
mod tests {
    use crate::kline::{Interval, Kline, Sums};
    use crate::time_unit::TimeUnit;

    fn kline() -> Kline {
        let mut sums = Sums::trade(268_380_000_000, 200_000, true, 7);
        sums.join(&Sums::trade(268_381_000_000, 50_000_000, false, 8));
        Kline { open_ms: 1_735_689_600_000, next_open_ms: 1_735_689_601_000, sums }
    }

    #[test]
    fn a_row_has_twelve_columns_in_the_venues_order() {
        assert_eq!(
            super::rest_row(&kline(), TimeUnit::Millisecond),
            r#"[1735689600000,"2683.80000000","2683.81000000","2683.80000000","2683.81000000","0.50200000",1735689600999,"1347.27260000",2,"0.00200000","5.36760000","0"]"#
        );
        assert_eq!(
            super::csv_row(&kline(), TimeUnit::Microsecond),
            "1735689600000000,2683.80000000,2683.81000000,2683.80000000,2683.81000000,0.50200000,1735689600999999,1347.27260000,2,0.00200000,5.36760000,0\n"
        );
    }

    #[test]
    fn a_stream_message_has_the_venues_keys() {
        let event_ms = 1_735_689_601_002;
        assert_eq!(
            super::stream_message("ETHUSDT", event_ms, Interval::Second1, &kline(), (7, 8), true),
            r#"{"e":"kline","E":1735689601002,"s":"ETHUSDT","k":{"t":1735689600000,"T":1735689600999,"s":"ETHUSDT","i":"1s","f":7,"L":8,"o":"2683.80000000","c":"2683.81000000","h":"2683.81000000","l":"2683.80000000","v":"0.50200000","n":2,"x":true,"q":"1347.27260000","V":"0.00200000","Q":"5.36760000","B":"0"}}"#
        );
    }
}
