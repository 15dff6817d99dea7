//! ureq over our own sockets.
//!
//! ureq's own connector trusts either its built-in roots or a given list, and cannot be interrupted.
//! This one uses the process's TLS configuration, ends within a poll step of the stop flag, and notes
//! when a request's first byte left. (ureq calls these traits `unversioned`: a minor release may change
//! them.)

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use cobring_types::Nanos;
use rustls::ClientConfig;
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use super::dial::{self, Target};
use super::rest::Clock;
use super::socket::{Patience, Socket};
use super::wire::Io;
use super::{NetError, Step, tls};

/// What the connector, the resolver and the transports of one agent share.
pub(super) struct Shared {
    pub(super) tls: Arc<ClientConfig>,
    pub(super) connect_timeout: Nanos,
    pub(super) deadline: Nanos,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) clock: Clock,
    /// When the first byte of the request under way left; [`Nanos::UNDEF`] before.
    pub(super) ts_sent: AtomicI64,
}

impl Shared {
    fn patience(&self, timeout: NextTimeout) -> Patience {
        const FAR: u128 = 3_600_000_000_000;
        let limit = i64::try_from(timeout.after.as_nanos().min(FAR)).unwrap_or(i64::MAX);
        Patience::for_nanos(Nanos(limit), &self.stop)
    }

    fn target(&self, uri: &Uri) -> Result<Target, NetError> {
        let bad_url =
            |reason: &str| NetError::Url { url: uri.to_string(), reason: reason.to_owned() };
        let default_port = match uri.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => return Err(bad_url("wanted http:// or https://")),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| bad_url("no host"))?;
        Ok(Target {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: uri.port_u16().unwrap_or(default_port),
            limit: self.deadline,
        })
    }

    /// Host and port of a URL, for messages.
    pub(super) fn host_of(&self, url: &str) -> Result<String, NetError> {
        let bad_url = |reason: String| NetError::Url { url: url.to_owned(), reason };
        let uri: Uri = url.parse().map_err(|error| bad_url(format!("{error}")))?;
        self.target(&uri).map(|target| target.name())
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

fn other(error: NetError) -> Error {
    Error::Other(Box::new(error))
}

/// Name look-up that the stop flag ends.
#[derive(Debug)]
pub(super) struct HttpResolver(pub(super) Arc<Shared>);

impl Resolver for HttpResolver {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        const ADDRESSES_MAX: usize = 16;
        let target = self.0.target(uri).map_err(other)?;
        let found = dial::resolve(&target, &self.0.patience(timeout)).map_err(other)?;
        let mut addresses = self.empty();
        for address in found.into_iter().take(ADDRESSES_MAX) {
            addresses.push(address);
        }
        Ok(addresses)
    }
}

/// Connects and does the TLS handshake.
#[derive(Debug)]
pub(super) struct HttpConnector(pub(super) Arc<Shared>);

impl Connector for HttpConnector {
    type Out = HttpTransport;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _chained: Option<()>,
    ) -> Result<Option<HttpTransport>, Error> {
        let shared = &self.0;
        let target = shared.target(details.uri).map_err(other)?;
        let patience = shared.patience(details.timeout);
        let stream = dial::connect(&target, &details.addrs, 0, shared.connect_timeout, &patience)
            .map_err(other)?;
        let socket = Socket::new(stream, Some(patience.clone()));
        let io = if details.needs_tls() {
            let tls_failed = |host, reason| NetError::Tls { host, reason };
            let client = tls::client(&shared.tls, &target.host)
                .map_err(|reason| other(tls_failed(target.name(), reason)))?;
            Io::tls(client, socket)
                .map_err(|error| other(target.error(Step::Tls, &error, &patience, tls_failed)))?
        } else {
            Io::plain(socket)
        };
        let buffers = LazyBuffers::new(
            details.config.input_buffer_size(),
            details.config.output_buffer_size(),
        );
        Ok(Some(HttpTransport { io, buffers, shared: Arc::clone(shared) }))
    }
}

/// A connection of the agent's pool.
#[derive(Debug)]
pub(super) struct HttpTransport {
    io: Io,
    buffers: LazyBuffers,
    shared: Arc<Shared>,
}

impl Transport for HttpTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.io.set_patience(Some(self.shared.patience(timeout)));
        let ts_sent = &self.shared.ts_sent;
        if !Nanos(ts_sent.load(Ordering::Relaxed)).is_defined() {
            ts_sent.store((self.shared.clock)().0, Ordering::Relaxed);
        }
        let output = &self.buffers.output()[..amount];
        self.io
            .write_all(output)
            .and_then(|()| self.io.flush())
            .map_err(|error| timed(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.io.set_patience(Some(self.shared.patience(timeout)));
        let received =
            self.io.read(self.buffers.input_append_buf()).map_err(|error| timed(error, timeout))?;
        self.buffers.input_appended(received);
        Ok(received > 0)
    }

    fn is_open(&mut self) -> bool {
        self.io.is_idle()
    }

    fn is_tls(&self) -> bool {
        self.io.is_tls()
    }
}

fn timed(error: io::Error, timeout: NextTimeout) -> Error {
    if error.kind() == io::ErrorKind::TimedOut {
        Error::Timeout(timeout.reason)
    } else {
        Error::Io(error)
    }
}
