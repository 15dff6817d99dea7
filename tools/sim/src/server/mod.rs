//! The port: TCP or TLS, HTTP/1.1, and on it REST, WebSocket and the `/sim` pages.

mod archive;
mod control;
mod line;
mod rest;
mod ws;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio_rustls::TlsAcceptor;

use crate::config::Limits;
use crate::connection::{RecentConnects, is_handshake};
use crate::exchange::{Command, Exchange};
use crate::line_control::LineControl;
use crate::rest::Weights;
use crate::spell::Spells;
use crate::stats::Counters;
use crate::wall_clock::WallClock;
use line::Line;

/// Of an answer: mostly whole, of archives in pieces as they are made.
type Body = UnsyncBoxBody<Bytes, std::io::Error>;
type Answer = Response<Body>;

/// In an outage a request has no answer: the connection is reset.
#[derive(Debug, thiserror::Error)]
#[error("outage")]
struct Outage;

const JSON: HeaderValue = HeaderValue::from_static("application/json;charset=UTF-8");
/// How long a client may take over TLS.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How often a closed port tries again when somebody else took it meanwhile.
const REOPEN_POLL: Duration = Duration::from_millis(20);

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) commands: Sender<Command>,
    pub(crate) limits: Limits,
    clock: WallClock,
    pub(crate) counters: Arc<Counters>,
    pub(crate) weights: Mutex<Weights>,
    connects: Mutex<RecentConnects>,
    pub(crate) next_client_id: AtomicU64,
    /// Set and cleared by the exchange.
    is_down: Arc<AtomicBool>,
    /// Likewise.
    spells: Arc<Spells>,
}

impl Shared {
    pub(crate) fn new(
        commands: Sender<Command>,
        limits: Limits,
        clock: WallClock,
        counters: Arc<Counters>,
        is_down: Arc<AtomicBool>,
        spells: Arc<Spells>,
    ) -> Self {
        Self {
            is_down,
            spells,
            commands,
            weights: Mutex::new(Weights::new(&limits)),
            limits,
            clock,
            counters,
            connects: Mutex::default(),
            next_client_id: AtomicU64::new(1),
        }
    }

    /// Asks the exchange between two messages; `None` when it has stopped.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Exchange) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        // An asker that went away needs no answer.
        let ask = move |exchange: &mut Exchange| drop(reply.send(question(exchange)));
        self.commands.send(Command::Ask(Box::new(ask))).ok()?;
        answer.await.ok()
    }

    /// Counts a WebSocket connection; false when there were too many in five minutes.
    fn may_connect(&self, ip: IpAddr) -> bool {
        let mut connects = self.connects.lock().unwrap_or_else(PoisonError::into_inner);
        connects.admit(ip, self.clock.now(), &self.limits)
    }
}

/// Accepts for ever; while connections are refused the port is closed indeed.
pub(crate) async fn run(
    mut listener: TcpListener,
    addr: SocketAddr,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    mut refuse_until: watch::Receiver<Option<Duration>>,
) {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((tcp, peer)) => drop(tokio::spawn(greet(tcp, peer, tls.clone(), Arc::clone(&shared)))),
                Err(error) => tracing::debug!(%error, "accept failed"),
            },
            Ok(()) = refuse_until.changed() => {
                // The end of a time that has passed already changes nothing.
                let until = *refuse_until.borrow_and_update();
                if until.is_some_and(|until| shared.clock.now() < until) {
                    drop(listener);
                    listener = reopen(addr, &mut refuse_until, &shared.clock).await;
                }
            }
        }
    }
}

async fn reopen(
    addr: SocketAddr,
    refuse_until: &mut watch::Receiver<Option<Duration>>,
    clock: &WallClock,
) -> TcpListener {
    loop {
        let (until, now) = (*refuse_until.borrow_and_update(), clock.now());
        if let Some(until) = until.filter(|until| now < *until) {
            tokio::select! {
                () = tokio::time::sleep(until - now) => {}
                Ok(()) = refuse_until.changed() => {}
            }
        } else if let Ok(listener) = TcpListener::bind(addr).await {
            return listener;
        } else {
            tokio::time::sleep(REOPEN_POLL).await;
        }
    }
}

async fn greet(
    mut tcp: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
) {
    if shared.spells.hang.goes_on(shared.clock.now()) {
        // Until the client gives up; it is never answered.
        let mut unheard = [0; 1024];
        while matches!(tcp.read(&mut unheard).await, Ok(1..)) {}
        return;
    }
    // Without it the acknowledgement of one message delays the next.
    let _ = tcp.set_nodelay(true);
    let control = Arc::new(LineControl::default());
    let line = Line::new(tcp, Arc::clone(&control), shared.clock.clone());
    let Some(tls) = tls else { return serve(line, peer, control, shared).await };
    match tokio::time::timeout(HANDSHAKE_MAX, tls.accept(line)).await {
        Ok(Ok(line)) => serve(line, peer, control, shared).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
    }
}

async fn serve<S>(stream: S, peer: SocketAddr, control: Arc<LineControl>, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        let (shared, control) = (Arc::clone(&shared), Arc::clone(&control));
        answer_unless_down(request, peer, control, shared)
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.with_upgrades().await {
        tracing::debug!(%peer, %error, "HTTP connection ended");
    }
}

/// The pages under `/sim/` meet no outage.
async fn answer_unless_down(
    request: Request<Incoming>,
    peer: SocketAddr,
    line: Arc<LineControl>,
    shared: Arc<Shared>,
) -> Result<Answer, Outage> {
    let is_for_tests = request.uri().path().starts_with("/sim/");
    let is_reset = || !is_for_tests && shared.is_down.load(Ordering::SeqCst);
    let answer = match is_reset() {
        true => None,
        false => Some(answer(request, peer, Arc::clone(&line), Arc::clone(&shared)).await),
    };
    // The outage may have begun while the answer was made.
    answer.filter(|_| !is_reset()).ok_or_else(|| {
        line.cut();
        Outage
    })
}

async fn answer(
    request: Request<Incoming>,
    peer: SocketAddr,
    line: Arc<LineControl>,
    shared: Arc<Shared>,
) -> Answer {
    let path = request.uri().path();
    if is_handshake(path) {
        if let Some(instead) = rest::meet_fault(path, &shared).await {
            return instead;
        }
        return ws::upgrade(request, peer, line, &shared);
    }
    if path.starts_with("/sim/") {
        return control::answer(request, &shared).await;
    }
    if path.starts_with("/data/") {
        return archive::answer(&request, &shared).await;
    }
    shared.counters.rest_requests.fetch_add(1, Ordering::Relaxed);
    match *request.method() {
        Method::GET | Method::HEAD => rest::answer(&request, peer.ip(), &shared).await,
        _ => json(StatusCode::METHOD_NOT_ALLOWED, String::new()),
    }
}

fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(whole(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    answer
}

fn whole(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).map_err(|never| match never {}).boxed_unsync()
}

fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
