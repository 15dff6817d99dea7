//! Starting a simulator, and the hand on it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::config::SimConfig;
use crate::error::SimError;
use crate::exchange::{self, Command, Exchange, ServerFaults};
use crate::faults::Fault;
use crate::kline::{ArchivePeriod, Interval, KlineQuery, write_file};
use crate::server::{self, Shared};
use crate::spell::Spells;
use crate::statistics::Bar;
use crate::stats::{Counters, Play, SimStats};
use crate::tls;
use crate::truth::Truth;
use crate::wall_clock::WallClock;

/// How often `wait_finished` looks.
const FINISHED_POLL: Duration = Duration::from_millis(2);

/// A running simulator. Dropped, it shuts down.
#[derive(Debug)]
pub struct SimHandle {
    addr: SocketAddr,
    ca_pem: Option<String>,
    commands: Sender<Command>,
    exchange: Mutex<Option<JoinHandle<()>>>,
    /// `None` once shut down.
    runtime: Mutex<Option<Runtime>>,
}

/// Opens the market, binds the port and serves, on threads of its own.
///
/// # Errors
/// The configuration breaks a rule, a file cannot be read, the port is taken, or TLS or a thread fails.
pub fn start(config: &SimConfig) -> Result<SimHandle, SimError> {
    config.check()?;
    let (source, start_default) = config.source.open()?;
    let start_after = config.start_after_subscribers.unwrap_or(start_default) as usize;
    let (acceptor, ca_pem) = config.tls.as_ref().map(tls::make).transpose()?.unzip();
    let counters = Arc::new(Counters::default());
    let (refuse_until, refusing) = watch::channel(None);
    let is_down = Arc::new(AtomicBool::new(false));
    let spells = Arc::new(Spells::default());
    let clock = WallClock::host();
    let exchange = Exchange::new(
        config,
        source,
        start_after,
        clock.clone(),
        Arc::clone(&counters),
        ServerFaults { refuse_until, is_down: Arc::clone(&is_down), spells: Arc::clone(&spells) },
    )?;

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("sim-server")
        .enable_all()
        .build()
        .map_err(SimError::Thread)?;
    let listen_failed = |source| SimError::Listen { addr: config.listen, source };
    let listener = runtime.block_on(TcpListener::bind(config.listen)).map_err(listen_failed)?;
    let addr = listener.local_addr().map_err(listen_failed)?;
    let (commands, obeyed) = mpsc::channel();
    let shared =
        Shared::new(commands.clone(), config.limits.clone(), clock, counters, is_down, spells);
    let shared = Arc::new(shared);
    runtime.spawn(server::run(listener, addr, acceptor, shared, refusing));
    let exchange = std::thread::Builder::new()
        .name("sim-exchange".into())
        .spawn(move || exchange.run(&obeyed))
        .map_err(SimError::Thread)?;
    tracing::info!(%addr, tls = ca_pem.is_some(), "simulator serves");
    let (exchange, runtime) = (Mutex::new(Some(exchange)), Mutex::new(Some(runtime)));
    Ok(SimHandle { addr, ca_pem, commands, exchange, runtime })
}

impl SimHandle {
    /// Where it listens; the port is the real one.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Base of the WebSocket URLs, as in `ws://127.0.0.1:4321` (`wss://localhost:4321` with TLS).
    #[must_use]
    pub fn ws_url(&self) -> String {
        self.url("ws")
    }

    /// Base of the REST URLs, as in `http://127.0.0.1:4321` (`https://localhost:4321` with TLS).
    #[must_use]
    pub fn rest_url(&self) -> String {
        self.url("http")
    }

    fn url(&self, scheme: &str) -> String {
        match (&self.ca_pem, self.addr.ip().is_loopback()) {
            (None, _) => format!("{scheme}://{}", self.addr),
            (Some(_), true) => format!("{scheme}s://localhost:{}", self.addr.port()),
            (Some(_), false) => format!("{scheme}s://{}", self.addr),
        }
    }

    /// The certificate that a client must trust, as PEM; `None` without TLS.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// Makes a fault happen now; it has taken effect on everything sent after the return.
    ///
    /// # Errors
    /// The fault breaks a rule, or the simulator has stopped.
    pub fn inject(&self, fault: Fault) -> Result<(), SimError> {
        if let Some(reason) = fault.mistake() {
            return Err(SimError::Faults { path: "inject".into(), reason });
        }
        self.ask(move |exchange| exchange.inject(fault))
    }

    /// The truth of a symbol, between two messages; `None` for a symbol that is not here.
    ///
    /// # Errors
    /// The simulator has stopped.
    pub fn truth(&self, symbol: &str) -> Result<Option<Truth>, SimError> {
        let symbol = symbol.to_owned();
        self.ask(move |exchange| exchange.symbol_index(&symbol).map(|index| exchange.truth(index)))
    }

    /// The klines of a symbol as they stand now, as REST has them but exact, without weight and in spite of faults; `None`
    /// for a symbol that is not here.
    ///
    /// # Errors
    /// The simulator has stopped.
    pub fn klines(
        &self,
        symbol: &str,
        interval: Interval,
        query: KlineQuery,
    ) -> Result<Option<Vec<Bar>>, SimError> {
        let symbol = symbol.to_owned();
        self.ask(move |exchange| exchange.bars(&symbol, interval, &query))
    }

    /// Writes the kline archive of a month or day that has ended to `path`, the file that `/data/spot/` serves.
    ///
    /// # Errors
    /// There is no such archive, the file cannot be written, or the simulator has stopped.
    pub fn write_archive(
        &self,
        path: &Path,
        symbol: &str,
        interval: Interval,
        period: ArchivePeriod,
    ) -> Result<(), SimError> {
        let asked = symbol.to_owned();
        let Some((mut rows, now_ms)) = self.ask({
            let commands = self.commands.clone();
            move |exchange| exchange.archive_rows(&asked, commands)
        })?
        else {
            let name = period.file_stem(symbol, interval);
            return Err(SimError::NoArchive { name, reason: "no such symbol here" });
        };
        write_file(path, symbol, interval, period, now_ms, &mut rows)
    }

    /// Everything counted.
    ///
    /// # Errors
    /// The simulator has stopped.
    pub fn stats(&self) -> Result<SimStats, SimError> {
        self.ask(|exchange| exchange.stats())
    }

    /// Stops play; the clock stands, pings and REST go on.
    ///
    /// # Errors
    /// The simulator has stopped.
    pub fn pause(&self) -> Result<(), SimError> {
        self.ask(|exchange| exchange.pause())
    }

    /// Goes on after [`SimHandle::pause`], or begins without waiting for subscribers.
    ///
    /// # Errors
    /// The simulator has stopped.
    pub fn resume(&self) -> Result<(), SimError> {
        self.ask(|exchange| exchange.resume())
    }

    /// Whether the market has been played to its end. The server goes on.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.stats().is_ok_and(|stats| stats.play == Play::Finished)
    }

    /// Waits for the end of the market; false when it has not come in time.
    #[must_use]
    pub fn wait_finished(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        while !self.finished() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(FINISHED_POLL);
        }
        true
    }

    /// Writes the truth file where play has not ended, closes all connections and frees the port.
    pub fn shutdown(&self) {
        // Both may have ended already: by an earlier call, or by a panic of theirs, which is told elsewhere.
        let _ = self.commands.send(Command::Stop);
        if let Some(thread) = self.exchange.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
        if let Some(runtime) = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }

    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Exchange) -> T + Send + 'static,
    ) -> Result<T, SimError> {
        exchange::ask(&self.commands, question)
    }
}

impl Drop for SimHandle {
    fn drop(&mut self) {
        self.shutdown();
    }
}
