//! `/data/spot/`: kline archives and their checksums, made while they are sent.
//!
//! Guarantees: memory is a few pieces an answer, whatever the archive's length; who goes away ends its making.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::{Answer, Body, Shared, whole};
use crate::archive_rows::ArchiveRows;
use crate::kline::{ArchivePeriod, Interval, KlineQuery, Rows as _, archive_interval, write_zip};

/// Pieces made and not yet sent.
const PIECES: usize = 4;
const PIECE_BYTES: usize = 64 << 10;

/// `/data/spot/monthly/klines/ETHUSDT/1s/ETHUSDT-1s-2025-01.zip`, with `.CHECKSUM` behind it or not.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    symbol: String,
    interval: Interval,
    period: ArchivePeriod,
    is_checksum: bool,
}

pub(super) async fn answer(request: &Request<Incoming>, shared: &Arc<Shared>) -> Answer {
    let path = request.uri().path();
    let method = request.method();
    if method != Method::GET && method != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, String::new());
    }
    let Some(wanted) = wanted(path) else { return no_such_key(path) };
    let Some(rows) = rows_of(&wanted, shared).await else { return no_such_key(path) };
    if wanted.is_checksum {
        return match tokio::task::spawn_blocking(move || checksum(&wanted, rows)).await {
            Ok(Ok(line)) => text(StatusCode::OK, line),
            _ => text(StatusCode::INTERNAL_SERVER_ERROR, String::new()),
        };
    }
    let (pieces, made) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || make(&wanted, rows, pieces));
    let body = stream::unfold(made, async |mut made| Some((made.recv().await?, made)));
    let mut answer = Response::new(StreamBody::new(body).boxed_unsync());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    answer
}

fn wanted(path: &str) -> Option<Wanted> {
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
    is_named.then(|| Wanted { symbol: symbol.to_owned(), interval, period, is_checksum })
}

/// `None` where the venue has no such archive, or not yet.
async fn rows_of(wanted: &Wanted, shared: &Arc<Shared>) -> Option<ArchiveRows> {
    let Wanted { symbol, interval, period, .. } = wanted.clone();
    let commands = shared.commands.clone();
    let (rows, now_ms) =
        shared.ask(move |exchange| exchange.archive_rows(&symbol, commands)).await??;
    if !period.is_published(interval, now_ms) {
        return None;
    }
    let mut probe = rows;
    let (start_ms, end_ms) = (Some(period.start_ms()), Some(period.end_ms() - 1));
    let query = KlineQuery { start_ms, end_ms, limit: 1 };
    let (probe, first) = tokio::task::spawn_blocking(move || {
        let first = probe.rows(interval, &query);
        (probe, first)
    })
    .await
    .ok()?;
    first.is_ok_and(|first| !first.is_empty()).then_some(probe)
}

fn make(wanted: &Wanted, mut rows: ArchiveRows, pieces: mpsc::Sender<io::Result<Frame<Bytes>>>) {
    let out = Pieces { sender: pieces.clone(), piece: Vec::with_capacity(PIECE_BYTES) };
    let written = write_zip(out, &wanted.symbol, wanted.interval, wanted.period, &mut rows);
    if let Err(error) = written {
        tracing::debug!(%error, ?wanted, "archive not sent");
        // The client may be gone: then nobody needs to know.
        let _ = pieces.blocking_send(Err(error));
    }
}

/// `<sha256>  ETHUSDT-1s-2025-01.zip`
fn checksum(wanted: &Wanted, mut rows: ArchiveRows) -> io::Result<String> {
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
    let Wanted { symbol, interval, period, .. } = wanted;
    let mut hash = Sha256::new();
    write_zip(Hash(&mut hash), symbol, *interval, *period, &mut rows)?;
    let digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{digits}  {}.zip\n", period.file_stem(symbol, *interval)))
}

/// Bytes as pieces of a body; writing waits until the client takes them.
struct Pieces {
    sender: mpsc::Sender<io::Result<Frame<Bytes>>>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        let frame = Frame::data(Bytes::from(piece));
        self.sender.blocking_send(Ok(frame)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// The answer of the venue's storage.
fn no_such_key(path: &str) -> Answer {
    let key = path.trim_start_matches('/').replace(['<', '>', '&'], "");
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message><Key>{key}</Key></Error>"
    );
    let mut answer = text(StatusCode::NOT_FOUND, body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    answer
}

fn text(status: StatusCode, body: String) -> Answer {
    let body: Body = whole(body);
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    answer
}

#[cfg(test)]
mod tests {
    use super::wanted;

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
            let wanted = wanted(&format!("/data/spot/{path}")).unwrap();
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
            assert_eq!(wanted(&format!("/data/spot/{path}")), None, "{path}");
        }
    }
}
