//! Times in UTC, for people and file names.

use cobring_types::Nanos;

/// Year to second, and nanoseconds.
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    nanos: i64,
}

fn civil(time: Nanos) -> Civil {
    const SECONDS_A_DAY: i64 = 86_400;
    let seconds = time.0.div_euclid(1_000_000_000);
    let nanos = time.0.rem_euclid(1_000_000_000);
    let (days, second) = (seconds.div_euclid(SECONDS_A_DAY), seconds.rem_euclid(SECONDS_A_DAY));
    // Days to the civil date, in eras of 400 years that begin on 1 March:
    // https://howardhinnant.github.io/date_algorithms.html#civil_from_days
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    Civil { year, month, day, hour, minute, second, nanos }
}

/// `20240808T235413.937085768Z`: no colons, so that it is a file name everywhere.
pub(crate) fn compact(time: Nanos) -> String {
    let Civil { year, month, day, hour, minute, second, nanos } = civil(time);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}.{nanos:09}Z")
}

/// `2024-08-08 23:54:13 UTC`, whole seconds.
#[must_use]
pub fn text(time: Nanos) -> String {
    let Civil { year, month, day, hour, minute, second, .. } = civil(time);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_utc() {
        for (nanos, wanted) in [
            (0, "19700101T000000.000000000Z"),
            (1_723_161_253_937_085_768, "20240808T235413.937085768Z"),
            (1_709_164_800_000_000_000, "20240229T000000.000000000Z"),
            (-1, "19691231T235959.999999999Z"),
            (i64::MAX, "22620411T234716.854775807Z"),
            (i64::MIN, "16770921T001243.145224192Z"),
        ] {
            assert_eq!(compact(Nanos(nanos)), wanted);
        }
        assert_eq!(text(Nanos(1_723_161_253_937_085_768)), "2024-08-08 23:54:13 UTC");
    }
}
