//! What is asked for under `/data/spot/`: kline archives and their checksums, and the storage's answers in words.

use std::io::{self, Write};

use sha2::{Digest as _, Sha256};

use crate::kline::{ArchivePeriod, Interval, KlineQuery, Rows, archive_interval, write_zip};

/// `/data/spot/monthly/klines/ETHUSDT/1s/ETHUSDT-1s-2025-01.zip`, with `.CHECKSUM` behind it or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) symbol: String,
    pub(crate) interval: Interval,
    pub(crate) period: ArchivePeriod,
    pub(crate) is_checksum: bool,
}

impl Wanted {
    /// `None` where the storage has nothing of that name.
    pub(crate) fn read(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix("/data/spot/")?.split('/');
        let (folder, "klines") = (parts.next()?, parts.next()?) else { return None };
        let (symbol, interval) = (parts.next()?, archive_interval(parts.next()?)?);
        let file = parts.next().filter(|_| parts.next().is_none())?;
        let (file, is_checksum) = match file.strip_suffix(".CHECKSUM") {
            Some(file) => (file, true),
            None => (file, false),
        };
        let stem = file.strip_suffix(".zip")?;
        // A symbol of the venue has no dash.
        let period: ArchivePeriod = stem.splitn(3, '-').nth(2)?.parse().ok()?;
        let is_named = period.folder() == folder && period.file_stem(symbol, interval) == stem;
        is_named.then(|| Self { symbol: symbol.to_owned(), interval, period, is_checksum })
    }

    /// Whether there are rows for it, and it has been made by that time of the venue.
    pub(crate) fn is_there(&self, rows: &mut impl Rows, now_ms: i64) -> bool {
        let (start_ms, end_ms) = (Some(self.period.start_ms()), Some(self.period.end_ms() - 1));
        let query = KlineQuery { start_ms, end_ms, limit: 1 };
        self.period.is_published(self.interval, now_ms)
            && rows.rows(self.interval, &query).is_ok_and(|first| !first.is_empty())
    }

    pub(crate) fn write_zip(&self, out: impl Write, rows: &mut impl Rows) -> io::Result<bool> {
        write_zip(out, &self.symbol, self.interval, self.period, rows)
    }

    /// `<sha256>  ETHUSDT-1s-2025-01.zip`
    pub(crate) fn checksum(&self, rows: &mut impl Rows) -> io::Result<String> {
        struct Hash<'a>(&'a mut Sha256);
        impl Write for Hash<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.update(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut hash = Sha256::new();
        self.write_zip(Hash(&mut hash), rows)?;
        let digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("{digits}  {}.zip\n", self.period.file_stem(&self.symbol, self.interval)))
    }
}

/// The body of the storage's 404.
pub(crate) fn no_such_key(path: &str) -> String {
    let key = path.trim_start_matches('/').replace(['<', '>', '&'], "");
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message><Key>{key}</Key></Error>"
    )
}

#[cfg(test)]
mod tests {
    use super::Wanted;

    #[test]
    fn paths_are_the_venues() {
        for (path, stem, is_checksum) in [
            ("monthly/klines/ETHUSDT/1s/ETHUSDT-1s-2025-01.zip", "ETHUSDT-1s-2025-01", false),
            ("daily/klines/ETHUSDT/4h/ETHUSDT-4h-2025-01-31.zip", "ETHUSDT-4h-2025-01-31", false),
            (
                "monthly/klines/BTCUSDT/1mo/BTCUSDT-1mo-2024-02.zip.CHECKSUM",
                "BTCUSDT-1mo-2024-02",
                true,
            ),
        ] {
            let wanted = Wanted::read(&format!("/data/spot/{path}")).unwrap();
            assert_eq!(wanted.period.file_stem(&wanted.symbol, wanted.interval), stem);
            assert_eq!(wanted.is_checksum, is_checksum);
        }
        for path in [
            "monthly/klines/ETHUSDT/1s/ETHUSDT-1s-2025-01-01.zip",
            "daily/klines/ETHUSDT/1s/BTCUSDT-1s-2025-01-01.zip",
            "daily/klines/ETHUSDT/1s/ETHUSDT-1m-2025-01-01.zip",
            "daily/klines/ETHUSDT/1s/ETHUSDT-1s-2025-01-01.csv",
            "daily/klines/ETHUSDT/1s/ETHUSDT-1s-2025-01-01.zip/x",
            "daily/trades/ETHUSDT/1s/ETHUSDT-1s-2025-01-01.zip",
            "daily/klines/ETHUSDT/2d/ETHUSDT-2d-2025-01-01.zip",
            "daily/klines/ETHUSDT",
        ] {
            assert_eq!(Wanted::read(&format!("/data/spot/{path}")), None, "{path}");
        }
    }
}
