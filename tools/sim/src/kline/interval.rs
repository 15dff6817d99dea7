//! The intervals of klines, and the calendar that their opening times follow (UTC).

use std::fmt;
use std::str::FromStr;

use time::{Date, Month, OffsetDateTime, UtcOffset};

pub(crate) const SECOND_MS: i64 = 1_000;
pub(crate) const MINUTE_MS: i64 = 60 * SECOND_MS;
pub(crate) const HOUR_MS: i64 = 60 * MINUTE_MS;
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;

/// How long a kline is; as text `1s` to `1M`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "a name says all")]
pub enum Interval {
    Second1,
    Minute1,
    Minute3,
    Minute5,
    Minute15,
    Minute30,
    Hour1,
    Hour2,
    Hour4,
    Hour6,
    Hour8,
    Hour12,
    Day1,
    Day3,
    /// From Monday.
    Week1,
    /// A month of the calendar.
    Month1,
}

impl Interval {
    /// The shortest first.
    pub const ALL: [Self; 16] = [
        Self::Second1,
        Self::Minute1,
        Self::Minute3,
        Self::Minute5,
        Self::Minute15,
        Self::Minute30,
        Self::Hour1,
        Self::Hour2,
        Self::Hour4,
        Self::Hour6,
        Self::Hour8,
        Self::Hour12,
        Self::Day1,
        Self::Day3,
        Self::Week1,
        Self::Month1,
    ];

    /// As the venue spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Second1 => "1s",
            Self::Minute1 => "1m",
            Self::Minute3 => "3m",
            Self::Minute5 => "5m",
            Self::Minute15 => "15m",
            Self::Minute30 => "30m",
            Self::Hour1 => "1h",
            Self::Hour2 => "2h",
            Self::Hour4 => "4h",
            Self::Hour6 => "6h",
            Self::Hour8 => "8h",
            Self::Hour12 => "12h",
            Self::Day1 => "1d",
            Self::Day3 => "3d",
            Self::Week1 => "1w",
            Self::Month1 => "1M",
        }
    }

    /// Length and the time of an opening; `None` for months.
    fn grid_ms(self) -> Option<(i64, i64)> {
        Some(match self {
            Self::Second1 => (SECOND_MS, 0),
            Self::Minute1 => (MINUTE_MS, 0),
            Self::Minute3 => (3 * MINUTE_MS, 0),
            Self::Minute5 => (5 * MINUTE_MS, 0),
            Self::Minute15 => (15 * MINUTE_MS, 0),
            Self::Minute30 => (30 * MINUTE_MS, 0),
            Self::Hour1 => (HOUR_MS, 0),
            Self::Hour2 => (2 * HOUR_MS, 0),
            Self::Hour4 => (4 * HOUR_MS, 0),
            Self::Hour6 => (6 * HOUR_MS, 0),
            Self::Hour8 => (8 * HOUR_MS, 0),
            Self::Hour12 => (12 * HOUR_MS, 0),
            Self::Day1 => (DAY_MS, 0),
            Self::Day3 => (3 * DAY_MS, 0),
            // 1970-01-05 was a Monday.
            Self::Week1 => (7 * DAY_MS, 4 * DAY_MS),
            Self::Month1 => return None,
        })
    }

    /// Opening time of the kline that holds this instant.
    #[must_use]
    pub fn open_ms(self, at_ms: i64) -> i64 {
        match self.grid_ms() {
            Some((length, opening)) => (at_ms - opening).div_euclid(length) * length + opening,
            None => date_of(at_ms).replace_day(1).map_or(at_ms, ms_of),
        }
    }

    /// Opening time of the kline after the one that opens at `open_ms`.
    #[must_use]
    pub fn next_open_ms(self, open_ms: i64) -> i64 {
        match self.grid_ms() {
            Some((length, _)) => open_ms + length,
            None => ms_of(next_month(date_of(open_ms))),
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|interval| interval.name() == text).ok_or_else(|| {
            format!("interval {text:?}: wanted one of {}", Self::ALL.map(Self::name).join(", "))
        })
    }
}

/// The first day of the month after that of `date`.
pub(crate) fn next_month(date: Date) -> Date {
    let year = date.year() + i32::from(date.month() == Month::December);
    Date::from_calendar_date(year, date.month().next(), 1).unwrap_or(Date::MAX)
}

pub(crate) fn ms_of(date: Date) -> i64 {
    date.midnight().assume_offset(UtcOffset::UTC).unix_timestamp() * SECOND_MS
}

/// The day that holds this instant, cut to the years that the calendar knows.
pub(crate) fn date_of(at_ms: i64) -> Date {
    let end = if at_ms < 0 { Date::MIN } else { Date::MAX };
    OffsetDateTime::from_unix_timestamp(at_ms.div_euclid(SECOND_MS))
        .map_or(end, OffsetDateTime::date)
}

#[cfg(test)]
mod tests {
    use super::{DAY_MS, Interval};

    #[test]
    fn intervals_read_as_they_print() {
        for interval in Interval::ALL {
            assert_eq!(interval.to_string().parse(), Ok(interval));
        }
        for text in ["", "1S", "60", "2d", "1 m"] {
            let refused = text.parse::<Interval>().unwrap_err();
            assert!(refused.contains("wanted one of 1s, 1m, 3m"), "{refused}");
        }
    }

    /// 2024-02-29 13:47:31.250, a Thursday.
    #[test]
    fn klines_open_where_the_calendar_says() {
        const AT: i64 = 1_709_214_451_250;
        for (interval, open_ms, next_ms) in [
            (Interval::Second1, 1_709_214_451_000, 1_709_214_452_000),
            (Interval::Minute1, 1_709_214_420_000, 1_709_214_480_000),
            (Interval::Minute15, 1_709_214_300_000, 1_709_215_200_000),
            (Interval::Hour1, 1_709_211_600_000, 1_709_215_200_000),
            (Interval::Hour12, 1_709_208_000_000, 1_709_251_200_000),
            (Interval::Day1, 1_709_164_800_000, 1_709_251_200_000),
            (Interval::Week1, 1_708_905_600_000, 1_709_510_400_000),
            (Interval::Month1, 1_706_745_600_000, 1_709_251_200_000),
        ] {
            assert_eq!(interval.open_ms(AT), open_ms, "{interval}");
            assert_eq!(interval.next_open_ms(open_ms), next_ms, "{interval}");
            assert_eq!(interval.open_ms(next_ms - 1), open_ms, "{interval}");
            assert_eq!(interval.open_ms(next_ms), next_ms, "{interval}");
        }
        // The venue's first week, from Monday 2017-08-14, and a December.
        assert_eq!(Interval::Week1.open_ms(1_502_942_400_000), 1_502_668_800_000);
        assert_eq!(Interval::Month1.next_open_ms(1_764_547_200_000), 1_767_225_600_000);
        assert_eq!(Interval::Day1.open_ms(-1), -DAY_MS);
    }
}
