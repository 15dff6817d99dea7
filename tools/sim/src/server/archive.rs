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
use tokio::sync::mpsc;

use super::{Answer, Body, Shared, whole};
use crate::archive_request::{self, Wanted};
use crate::archive_rows::ArchiveRows;

/// Pieces made and not yet sent.
const PIECES: usize = 4;
const PIECE_BYTES: usize = 64 << 10;

pub(super) async fn answer(request: &Request<Incoming>, shared: &Arc<Shared>) -> Answer {
    let path = request.uri().path();
    let method = request.method();
    if method != Method::GET && method != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, String::new());
    }
    let Some(wanted) = Wanted::read(path) else { return no_such_key(path) };
    let Some(rows) = rows_of(&wanted, shared).await else { return no_such_key(path) };
    if wanted.is_checksum {
        let mut rows = rows;
        return match tokio::task::spawn_blocking(move || wanted.checksum(&mut rows)).await {
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

/// `None` where the venue has no such archive, or not yet.
async fn rows_of(wanted: &Wanted, shared: &Arc<Shared>) -> Option<ArchiveRows> {
    let (wanted, commands) = (wanted.clone(), shared.commands.clone());
    let symbol = wanted.symbol.clone();
    let (mut rows, now_ms) =
        shared.ask(move |exchange| exchange.archive_rows(&symbol, commands)).await??;
    let probe = move || wanted.is_there(&mut rows, now_ms).then_some(rows);
    tokio::task::spawn_blocking(probe).await.ok()?
}

fn make(wanted: &Wanted, mut rows: ArchiveRows, pieces: mpsc::Sender<io::Result<Frame<Bytes>>>) {
    let out = Pieces { sender: pieces.clone(), piece: Vec::with_capacity(PIECE_BYTES) };
    if let Err(error) = wanted.write_zip(out, &mut rows) {
        tracing::debug!(%error, ?wanted, "archive not sent");
        // The client may be gone: then nobody needs to know.
        let _ = pieces.blocking_send(Err(error));
    }
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
    let mut answer = text(StatusCode::NOT_FOUND, archive_request::no_such_key(path));
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
