//! Kline archives as the venue publishes them: a zip of one CSV file without header, for a month or a day.
//!
//! Guarantees: the rows are REST's, in order; the same klines give the same bytes; memory is that of a chunk of rows,
//! whatever the length. Times are µs in periods from 2025 on and ms before.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use time::{Date, Month};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::history::KlineHistory;
use super::interval::{DAY_MS, Interval, ms_of, next_month};
use super::json::csv_row;
use super::klines::{Kline, KlineQuery, Klines};
use crate::error::SimError;
use crate::time_unit::TimeUnit;

/// Klines asked for at a time.
const CHUNK: usize = 3_600;
/// 2025-01-01.
const MICROSECONDS_SINCE_MS: i64 = 1_735_689_600_000;

/// A month or a day of the calendar (UTC); as text `2025-01` or `2025-01-31`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchivePeriod {
    first: Date,
    is_month: bool,
}

impl ArchivePeriod {
    /// Its beginning, ms.
    #[must_use]
    pub fn start_ms(self) -> i64 {
        ms_of(self.first)
    }

    /// Its end, ms.
    #[must_use]
    pub fn end_ms(self) -> i64 {
        if self.is_month { ms_of(next_month(self.first)) } else { self.start_ms() + DAY_MS }
    }

    /// `monthly` or `daily`, as in the venue's paths.
    #[must_use]
    pub fn folder(self) -> &'static str {
        if self.is_month { "monthly" } else { "daily" }
    }

    /// Name of the archive without its extension, as in `ETHUSDT-1s-2025-01`.
    #[must_use]
    pub fn file_stem(self, symbol: &str, interval: Interval) -> String {
        format!("{symbol}-{}-{self}", archive_name(interval))
    }

    /// Whether the venue has such archives, and all its klines have ended.
    pub(crate) fn is_published(self, interval: Interval, now_ms: i64) -> bool {
        let long = matches!(interval, Interval::Day3 | Interval::Week1 | Interval::Month1);
        (self.is_month || !long) && self.last_end_ms(interval) <= now_ms
    }

    /// Where its last kline ends.
    fn last_end_ms(self, interval: Interval) -> i64 {
        interval.next_open_ms(interval.open_ms(self.end_ms() - 1))
    }

    fn unit(self) -> TimeUnit {
        if self.start_ms() < MICROSECONDS_SINCE_MS {
            TimeUnit::Millisecond
        } else {
            TimeUnit::Microsecond
        }
    }
}

impl fmt::Display for ArchivePeriod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.first.year(), u8::from(self.first.month()))?;
        if self.is_month { Ok(()) } else { write!(f, "-{:02}", self.first.day()) }
    }
}

impl FromStr for ArchivePeriod {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let mut parts = text.split('-');
            let year = parts.next()?.parse().ok()?;
            let month = Month::try_from(parts.next()?.parse::<u8>().ok()?).ok()?;
            let day = parts.next();
            let first =
                Date::from_calendar_date(year, month, day.map_or(Some(1), |day| day.parse().ok())?);
            Some(Self { first: first.ok()?, is_month: day.is_none() })
        };
        // What prints otherwise (2025-1, 2025-01-01-01) is not the venue's name of the period.
        read()
            .filter(|period| period.to_string() == text)
            .ok_or_else(|| format!("period {text:?}: wanted YYYY-MM or YYYY-MM-DD"))
    }
}

/// The venue's name of an interval in archives.
fn archive_name(interval: Interval) -> &'static str {
    if interval == Interval::Month1 { "1mo" } else { interval.name() }
}

/// The interval of that name in archives.
pub(crate) fn archive_interval(name: &str) -> Option<Interval> {
    Interval::ALL.into_iter().find(|interval| archive_name(*interval) == name)
}

/// Where an archive's klines come from.
pub(crate) trait Rows {
    fn rows(&mut self, interval: Interval, query: &KlineQuery) -> io::Result<Vec<Kline>>;
}

impl<F: FnMut(Interval, &KlineQuery) -> io::Result<Vec<Kline>>> Rows for F {
    fn rows(&mut self, interval: Interval, query: &KlineQuery) -> io::Result<Vec<Kline>> {
        self(interval, query)
    }
}

/// Writes the zip file of a period; false, and nothing written, where there is no kline in it.
pub(crate) fn write_zip(
    out: impl Write,
    symbol: &str,
    interval: Interval,
    period: ArchivePeriod,
    source: &mut impl Rows,
) -> io::Result<bool> {
    let end_ms = Some(period.end_ms() - 1);
    let mut chunk = |start_ms| {
        source.rows(interval, &KlineQuery { start_ms: Some(start_ms), end_ms, limit: CHUNK })
    };
    let mut rows = chunk(period.start_ms())?;
    if rows.is_empty() {
        return Ok(false);
    }
    let mut zip = ZipWriter::new_stream(out);
    // The lowest level: rows are made to be read once.
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(1));
    zip.start_file(format!("{}.csv", period.file_stem(symbol, interval)), options)?;
    let mut csv = BufWriter::with_capacity(64 << 10, zip);
    while let Some(last) = rows.last() {
        for kline in &rows {
            csv.write_all(csv_row(kline, period.unit()).as_bytes())?;
        }
        rows = chunk(last.next_open_ms)?;
    }
    let zip = csv.into_inner().map_err(io::IntoInnerError::into_error)?;
    zip.finish()?.into_inner().flush()?;
    Ok(true)
}

/// Writes the zip file of a period to `path`.
pub(crate) fn write_file(
    path: &Path,
    symbol: &str,
    interval: Interval,
    period: ArchivePeriod,
    now_ms: i64,
    source: &mut impl Rows,
) -> Result<(), SimError> {
    let absent = |reason| SimError::NoArchive { name: period.file_stem(symbol, interval), reason };
    if !period.is_published(interval, now_ms) {
        return Err(absent("the period has not ended, or is shorter than the interval"));
    }
    let failed = |source| SimError::File { path: path.to_owned(), source };
    let file = BufWriter::new(std::fs::File::create(path).map_err(failed)?);
    if write_zip(file, symbol, interval, period, source).map_err(failed)? {
        return Ok(());
    }
    std::fs::remove_file(path).map_err(failed)?;
    Err(absent("the symbol was not listed"))
}

impl KlineHistory {
    /// Writes the archive of a whole month or day of the past to `path`, without a running simulator.
    ///
    /// # Errors
    /// The file cannot be written, or the past has no such period.
    pub fn write_archive(
        self: &Arc<Self>,
        path: &Path,
        interval: Interval,
        period: ArchivePeriod,
    ) -> Result<(), SimError> {
        let klines = Klines::new(Some(Arc::clone(self)));
        let now_ms = self.end_ms();
        let mut rows =
            |interval: Interval, query: &KlineQuery| Ok(klines.rows(interval, query, now_ms - 1));
        write_file(path, self.symbol(), interval, period, now_ms, &mut rows)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::sync::Arc;

    use super::{ArchivePeriod, archive_interval};
    use crate::decimal::Fixed;
    use crate::kline::{Interval, KlineHistory, KlineQuery};
    use crate::source::SymbolSpec;

    /// 2025-03-03T12:00, a Monday.
    const END_MS: i64 = 1_741_003_200_000;

    fn history() -> Arc<KlineHistory> {
        let spec = SymbolSpec::of("ETHUSDT");
        KlineHistory::new(3, &spec, Fixed(270_000_000_000), END_MS, 90)
    }

    fn csv(interval: Interval, period: &str) -> Result<Vec<String>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.zip");
        let period: ArchivePeriod = period.parse()?;
        history().write_archive(&path, interval, period).map_err(|error| error.to_string())?;
        let mut zip = zip::ZipArchive::new(std::fs::File::open(path).unwrap()).unwrap();
        let mut file = zip.by_index(0).unwrap();
        assert_eq!(file.name().unwrap(), format!("{}.csv", period.file_stem("ETHUSDT", interval)));
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        Ok(text.lines().map(str::to_owned).collect())
    }

    #[test]
    fn periods_read_as_they_print() {
        for (text, start_ms, end_ms) in [
            ("2024-12", 1_733_011_200_000, 1_735_689_600_000),
            ("2024-02-29", 1_709_164_800_000, 1_709_251_200_000),
        ] {
            let period: ArchivePeriod = text.parse().unwrap();
            assert_eq!(period.to_string(), text);
            assert_eq!((period.start_ms(), period.end_ms()), (start_ms, end_ms));
        }
        for text in ["", "2025", "2025-13", "2025-1", "2025-02-29", "2025-01-01-01", "x-y"] {
            let refused = text.parse::<ArchivePeriod>().unwrap_err();
            assert!(refused.contains("wanted YYYY-MM"), "{refused}");
        }
        assert_eq!(archive_interval("1mo"), Some(Interval::Month1));
        assert_eq!(archive_interval("1M"), None);
    }

    #[test]
    fn an_archive_holds_the_periods_rows_in_ms_before_2025_and_in_us_since() {
        let rows = csv(Interval::Second1, "2024-12-31").unwrap();
        assert_eq!(rows.len(), 86_400);
        assert!(rows[0].starts_with("1735603200000,") && rows[0].contains(",1735603200999,"));
        assert!(rows[86_399].starts_with("1735689599000,"), "{}", rows[86_399]);
        let rows = csv(Interval::Hour1, "2025-01").unwrap();
        assert_eq!(rows.len(), 31 * 24);
        assert!(rows[0].starts_with("1735689600000000,") && rows[0].contains(",1735693199999999,"));
        assert!(rows.iter().all(|row| row.split(',').count() == 12 && row.ends_with(",0")));
        let query = KlineQuery { start_ms: Some(1_735_689_600_000), end_ms: None, limit: 2 };
        let bar = &history().klines(Interval::Hour1, &query)[1];
        let columns: Vec<_> = rows[1].split(',').collect();
        assert_eq!(
            columns[1..6],
            [
                &bar.open.to_string(),
                &bar.high.to_string(),
                &bar.low.to_string(),
                &bar.close.to_string(),
                &bar.volume,
            ]
        );
        assert_eq!(columns[8], bar.trade_count.to_string());
        // Mondays of February.
        assert_eq!(csv(Interval::Week1, "2025-02").unwrap().len(), 4);
    }

    #[test]
    fn what_is_not_published_is_refused() {
        for (interval, period, expected) in [
            (Interval::Minute1, "2025-03", "has not ended"),
            (Interval::Minute1, "2025-03-03", "has not ended"),
            (Interval::Week1, "2025-03-01", "shorter than the interval"),
            (Interval::Minute1, "2024-11", "was not listed"),
        ] {
            let refused = csv(interval, period).unwrap_err();
            assert!(refused.contains(expected), "{period}: {refused}");
            assert!(refused.contains(&format!("ETHUSDT-{interval}-{period}")), "{refused}");
        }
        assert_eq!(csv(Interval::Minute1, "2025-03-01").unwrap().len(), 1_440);
    }
}
