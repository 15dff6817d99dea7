//! Tiny servers and a driver for the tests of `net`.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "test code")]
#![allow(unreachable_pub, reason = "a module of each test file")]
#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cobring_pipeline::net::{
    ConnectOutcome, ConnectRequest, Connection, ConnectionConfig, Connector, ConnectorConfig,
    NetCounters, NetError, Payload, ReadOutcome, Received, Verdict, monotonic, tls_config,
};
use cobring_types::Nanos;
use mio::{Events, Poll, Token, Waker};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub const WAKER: Token = Token(1000);
pub const MS: i64 = Nanos::MILLISECOND.0;
/// Nothing here takes that long unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A certificate authority that signed a certificate for `localhost` and 127.0.0.1.
pub struct Authority {
    pub directory: tempfile::TempDir,
    pub server: Arc<rustls::ServerConfig>,
}

impl Authority {
    pub fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "cobring test authority");
        let ca = params.self_signed(&key).unwrap();
        let issuer = rcgen::Issuer::new(params, key);
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let leaf_key = rcgen::KeyPair::generate().unwrap();
        let leaf =
            rcgen::CertificateParams::new(names).unwrap().signed_by(&leaf_key, &issuer).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), ca.pem()).unwrap();
        let server = rustls::ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::ring::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(leaf.der().to_vec())],
            PrivateKeyDer::try_from(leaf_key.serialize_der()).unwrap(),
        )
        .unwrap();
        Self { directory, server: Arc::new(server) }
    }

    pub fn ca_file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }
}

/// A byte stream of a test server.
pub trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

pub type Server = tungstenite::WebSocket<Box<dyn Stream>>;

/// A listener on a free port of the loopback.
pub fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Accepts one connection and leaves it to `serve`, on a thread.
pub fn serve_tcp<T: Send + 'static>(
    serve: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let (listener, address) = listener();
    (address, thread::spawn(move || serve(listener.accept().unwrap().0)))
}

/// Accepts one WebSocket, under TLS where an authority is given, and leaves it to `serve`.
pub fn serve<T: Send + 'static>(
    authority: Option<&Authority>,
    serve: impl FnOnce(Server) -> T + Send + 'static,
) -> (String, JoinHandle<T>) {
    let tls = authority.map(|authority| Arc::clone(&authority.server));
    let scheme = if tls.is_some() { "wss" } else { "ws" };
    let (address, handle) = serve_tcp(move |tcp| {
        tcp.set_nodelay(true).unwrap();
        let stream: Box<dyn Stream> = match tls {
            Some(config) => Box::new(rustls::StreamOwned::new(
                rustls::ServerConnection::new(config).unwrap(),
                tcp,
            )),
            None => Box::new(tcp),
        };
        serve(tungstenite::accept(stream).unwrap())
    });
    (format!("{scheme}://localhost:{}/stream?streams=a/b", address.port()), handle)
}

/// Reads until the client has ended the connection.
pub fn drain(server: &mut Server) {
    while server.read().is_ok() {}
}

/// An unmasked frame.
pub fn frame(finished: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![opcode | if finished { 0x80 } else { 0 }];
    match payload.len() {
        short @ 0..126 => bytes.push(u8::try_from(short).unwrap()),
        middle @ 126..0x1_0000 => {
            bytes.push(126);
            bytes.extend(u16::try_from(middle).unwrap().to_be_bytes());
        }
        long => {
            bytes.push(127);
            bytes.extend(u64::try_from(long).unwrap().to_be_bytes());
        }
    }
    bytes.extend(payload);
    bytes
}

/// Text number `index`: its number and a filler of a length that depends on it.
pub fn text(index: u64, length: usize) -> String {
    let mut text = format!("{index}:");
    while text.len() < length {
        text.push(char::from(b'a' + u8::try_from((index + text.len() as u64) % 26).unwrap()));
    }
    text
}

/// The connecting helper and a poll, as ingest has them.
pub struct Client {
    pub poll: Poll,
    pub events: Events,
    pub connector: Connector,
    pub counters: Arc<NetCounters>,
    pub stop: Arc<AtomicBool>,
    pub next: u16,
}

impl Client {
    pub fn new() -> Self {
        Self::with(ConnectorConfig::default(), None)
    }

    pub fn trusting(authority: &Authority) -> Self {
        Self::with(ConnectorConfig::default(), Some(authority))
    }

    pub fn with_connection(connection: ConnectionConfig) -> Self {
        Self::with(ConnectorConfig { connection, ..ConnectorConfig::default() }, None)
    }

    pub fn with(config: ConnectorConfig, authority: Option<&Authority>) -> Self {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).unwrap());
        let counters = Arc::new(NetCounters::default());
        let stop = Arc::new(AtomicBool::new(false));
        let tls = tls_config(authority.map(Authority::ca_file).as_deref()).unwrap();
        let connector =
            Connector::start(config, tls, Arc::clone(&counters), waker, Arc::clone(&stop)).unwrap();
        Self { poll, events: Events::with_capacity(64), connector, counters, stop, next: 0 }
    }

    pub fn request(&mut self, url: &str) {
        let request = ConnectRequest { connection: self.next, url: url.to_owned(), attempt: 0 };
        self.next += 1;
        self.connector.request(request).unwrap();
    }

    /// The next outcome, waiting for the waker.
    pub fn outcome(&mut self) -> ConnectOutcome {
        let started = Instant::now();
        loop {
            if let Some(outcome) = self.connector.poll() {
                return outcome;
            }
            assert!(started.elapsed() < PATIENCE, "no outcome");
            self.poll.poll(&mut self.events, Some(Duration::from_secs(5))).unwrap();
        }
    }

    pub fn try_connect(&mut self, url: &str) -> Result<Connection, NetError> {
        self.request(url);
        self.outcome().result
    }

    pub fn connect(&mut self, url: &str) -> Connection {
        let connection = self.try_connect(url).unwrap();
        connection.register(self.poll.registry(), Token(usize::from(connection.number()))).unwrap();
        connection
    }

    /// Reads as ingest does, on events and what is left unread, until `on` says stop (`false`) or the
    /// connection ends.
    pub fn drive(
        &mut self,
        connection: &mut Connection,
        mut on: impl FnMut(Received<'_>) -> bool,
    ) -> Result<ReadOutcome, NetError> {
        let started = Instant::now();
        let token = Token(usize::from(connection.number()));
        loop {
            if connection.is_unread() {
                let mut stopped = false;
                let outcome = connection.read(monotonic(), 64, &mut |received| {
                    if on(received) {
                        Verdict::Taken
                    } else {
                        stopped = true;
                        Verdict::TakenStop
                    }
                })?;
                if stopped || matches!(outcome, ReadOutcome::Closed { .. }) {
                    return Ok(outcome);
                }
            }
            assert!(started.elapsed() < PATIENCE, "the connection stalls");
            let timeout = if connection.is_unread() {
                Duration::ZERO
            } else {
                let now = monotonic();
                connection.next_send_at(now).map_or(Duration::from_secs(1), |at| {
                    Duration::from_nanos(u64::try_from(at.0 - now.0).unwrap())
                })
            };
            self.poll.poll(&mut self.events, Some(timeout)).unwrap();
            connection.write(monotonic())?;
            if self.events.iter().any(|event| event.token() == token) {
                connection.mark_readable();
            }
        }
    }
}

/// What text a message is.
pub fn text_of<'a>(received: &Received<'a>) -> &'a str {
    match received.payload {
        Payload::Text(bytes) | Payload::Binary(bytes) => std::str::from_utf8(bytes).unwrap(),
        Payload::Pong => "pong",
    }
}

/// Reads an HTTP request's head.
pub fn read_head(stream: &mut impl Read) -> io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.push(byte[0]);
    }
    Ok(String::from_utf8(head).unwrap())
}
