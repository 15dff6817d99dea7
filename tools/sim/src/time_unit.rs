//! Milliseconds, or microseconds for who asks for them: in REST by `X-MBX-TIME-UNIT`, in streams by `timeUnit=`.

/// What times are told in. The market's own are whole milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TimeUnit {
    #[default]
    Millisecond,
    Microsecond,
}

/// Times above are microseconds already: 5138 as a year in ms, 1973 in µs.
const MS_MAX: i64 = 100_000_000_000_000;

impl TimeUnit {
    /// `MILLISECOND` or `MICROSECOND`, in either case.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_uppercase().as_str() {
            "MILLISECOND" => Some(Self::Millisecond),
            "MICROSECOND" => Some(Self::Microsecond),
            _ => None,
        }
    }

    pub(crate) fn of(self, ms: i64) -> i64 {
        match self {
            Self::Millisecond => ms,
            Self::Microsecond => ms * 1_000,
        }
    }

    /// The last instant before.
    pub(crate) fn before(self, ms: i64) -> i64 {
        self.of(ms) - 1
    }
}

/// A time that a client sent, in either unit, as the first ms that is not before it.
pub(crate) fn first_ms(time: i64) -> i64 {
    if time > MS_MAX { (time + 999) / 1_000 } else { time }
}

/// A time that a client sent, in either unit, as the last ms that is not after it.
pub(crate) fn last_ms(time: i64) -> i64 {
    if time > MS_MAX { time / 1_000 } else { time }
}

/// A stream message's payload with its times in µs. `{"e":"trade","E":1723161255612,…,"T":1723161255611,…}`
pub(crate) fn in_microseconds(data: &str) -> String {
    let keys: &[(&str, &str)] = match data
        .strip_prefix(r#"{"e":""#)
        .and_then(|rest| rest.split_once('"'))
    {
        Some(("kline", _)) => &[(r#""E":"#, "000"), (r#"{"t":"#, "000"), (r#""T":"#, "999")],
        Some(("24hrTicker", _)) => &[(r#""E":"#, "000"), (r#""O":"#, "000"), (r#""C":"#, "000")],
        Some(("trade" | "aggTrade", _)) => &[(r#""E":"#, "000"), (r#""T":"#, "000")],
        Some(_) => &[(r#""E":"#, "000")],
        // bookTicker and partial books carry no time.
        None => &[],
    };
    let mut text = data.to_owned();
    for (key, digits) in keys {
        if let Some(at) = text.find(key) {
            let value = at + key.len();
            let len = text[value..].bytes().take_while(u8::is_ascii_digit).count();
            if len > 0 {
                text.insert_str(value + len, digits);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{first_ms, in_microseconds, last_ms};

    #[test]
    fn times_and_nothing_else_become_microseconds() {
        for (data, expected) in [
            (
                r#"{"e":"trade","E":1723161255612,"s":"ETHUSDT","t":1520538925,"p":"2683.8","q":"0.002","T":1723161255611,"m":true,"M":true}"#,
                r#"{"e":"trade","E":1723161255612000,"s":"ETHUSDT","t":1520538925,"p":"2683.8","q":"0.002","T":1723161255611000,"m":true,"M":true}"#,
            ),
            (
                r#"{"e":"kline","E":1672515782136,"s":"BNBBTC","k":{"t":1672515780000,"T":1672515839999,"s":"BNBBTC","i":"1m","f":100}}"#,
                r#"{"e":"kline","E":1672515782136000,"s":"BNBBTC","k":{"t":1672515780000000,"T":1672515839999999,"s":"BNBBTC","i":"1m","f":100}}"#,
            ),
            (
                r#"{"u":35346513501,"s":"ETHUSDT","b":"2683.80000000"}"#,
                r#"{"u":35346513501,"s":"ETHUSDT","b":"2683.80000000"}"#,
            ),
            (r#"{"e":"depthUpdate","E":5,"s":"X"}"#, r#"{"e":"depthUpdate","E":5000,"s":"X"}"#),
        ] {
            assert_eq!(in_microseconds(data), expected);
        }
    }

    #[test]
    fn a_client_may_send_either_unit() {
        assert_eq!(
            (first_ms(1_767_225_600_001), last_ms(1_767_225_600_001)),
            (1_767_225_600_001, 1_767_225_600_001)
        );
        assert_eq!(first_ms(1_767_225_600_000_001), 1_767_225_600_001);
        assert_eq!(last_ms(1_767_225_600_001_999), 1_767_225_600_001);
    }
}
