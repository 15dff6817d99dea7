//! From a host's name to a connected TCP socket, by a deadline.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use cobring_types::Nanos;

use super::socket::Patience;
use super::sys::{self, Ready};
use super::{HELPER_STACK_BYTES, NetError, Step};

/// Look-ups that may hang at once; the system's resolver cannot be interrupted, so each has a thread
/// of its own that is left behind when it does not answer in time.
const LOOKUPS_MAX: usize = 16;
static LOOKUPS: AtomicUsize = AtomicUsize::new(0);

/// A host and a port, with the limit that its errors name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) limit: Nanos,
}

impl Target {
    pub(super) fn name(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// What an I/O error in `step` means: out of time, stopped, or `otherwise`.
    pub(super) fn error(
        &self,
        step: Step,
        error: &io::Error,
        patience: &Patience,
        otherwise: impl FnOnce(String, String) -> NetError,
    ) -> NetError {
        if patience.stopped() {
            NetError::Stopped { host: self.name() }
        } else if error.kind() == io::ErrorKind::TimedOut {
            self.deadline(step, self.limit)
        } else {
            otherwise(self.name(), error.to_string())
        }
    }

    pub(super) fn deadline(&self, step: Step, limit: Nanos) -> NetError {
        let limit_ms = u64::try_from(limit.0 / Nanos::MILLISECOND.0).unwrap_or(0);
        NetError::Deadline { host: self.name(), step, limit_ms }
    }
}

/// The addresses of `target`, in the resolver's order.
pub(super) fn resolve(target: &Target, patience: &Patience) -> Result<Vec<SocketAddr>, NetError> {
    if let Ok(address) = target.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, target.port)]);
    }
    let failed = |reason: String| NetError::Resolve { host: target.name(), reason };
    if LOOKUPS.fetch_add(1, Ordering::Relaxed) >= LOOKUPS_MAX {
        LOOKUPS.fetch_sub(1, Ordering::Relaxed);
        return Err(failed(format!("{LOOKUPS_MAX} earlier look-ups still hang")));
    }
    let (sender, receiver) = sync_channel(1);
    let name = (target.host.clone(), target.port);
    let builder = thread::Builder::new().name("cobring-dns".to_owned());
    let spawned = builder.stack_size(HELPER_STACK_BYTES).spawn(move || {
        let found = name.to_socket_addrs().map(Iterator::collect::<Vec<_>>);
        LOOKUPS.fetch_sub(1, Ordering::Relaxed);
        // The other side may have given up.
        let _ = sender.send(found);
    });
    if let Err(error) = spawned {
        LOOKUPS.fetch_sub(1, Ordering::Relaxed);
        return Err(failed(error.to_string()));
    }
    loop {
        let step = patience
            .step()
            .map_err(|error| target.error(Step::Resolve, &error, patience, |_, r| failed(r)))?;
        match receiver.recv_timeout(duration(step)) {
            Ok(Ok(addresses)) if addresses.is_empty() => {
                return Err(failed("no address".to_owned()));
            }
            Ok(result) => return result.map_err(|error| failed(error.to_string())),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(failed("the look-up's thread ended".to_owned()));
            }
        }
    }
}

/// Connects to the first of `addresses` that accepts, beginning with number `attempt` (so that a dead
/// first address does not cost every attempt), each within `connect_timeout` and its share of what
/// is left.
pub(super) fn connect(
    target: &Target,
    addresses: &[SocketAddr],
    attempt: u32,
    connect_timeout: Nanos,
    patience: &Patience,
) -> Result<TcpStream, NetError> {
    let first = usize::try_from(attempt).unwrap_or(0) % addresses.len().max(1);
    let mut last = NetError::Resolve { host: target.name(), reason: "no address".to_owned() };
    for tried in 0..addresses.len() {
        let address = addresses[(first + tried) % addresses.len()];
        let left = patience.deadline.0 - sys::monotonic().0;
        let share = left / i64::try_from(addresses.len() - tried).unwrap_or(1);
        let limit = Nanos(share.min(connect_timeout.0));
        let one = Patience::for_nanos(limit, &patience.stop);
        match connect_one(address, &one) {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                last = if patience.stopped() {
                    return Err(NetError::Stopped { host: target.name() });
                } else if error.kind() == io::ErrorKind::TimedOut {
                    target.deadline(Step::Connect, limit)
                } else {
                    NetError::Connect {
                        host: target.name(),
                        address: address.to_string(),
                        reason: error.to_string(),
                    }
                };
            }
        }
    }
    Err(last)
}

/// A connected, non-blocking socket without Nagle's delay and with the kernel's receive times where
/// it gives them.
fn connect_one(address: SocketAddr, patience: &Patience) -> io::Result<TcpStream> {
    // mio's connect is the one that does not wait.
    let stream = TcpStream::from(mio::net::TcpStream::connect(address)?);
    // Before the first byte arrives; a system without it gives no kernel times.
    let _ = sys::enable_timestamps(&stream);
    while !sys::wait_ready(&stream, Ready::Write, patience.step()?)? {}
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    stream.peer_addr()?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// As std's type.
pub(super) fn duration(nanos: Nanos) -> Duration {
    Duration::from_nanos(u64::try_from(nanos.0).unwrap_or(0))
}
