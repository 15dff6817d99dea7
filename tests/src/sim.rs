//! `cobring sim` as a process, and the hand on it over HTTP.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::process::Process;
use crate::{SOON, wait_until};

/// What a simulator plays.
#[derive(Debug, Clone)]
pub enum Market {
    /// Recordings, at that speed.
    Recording(Vec<PathBuf>, String),
    /// ETHUSDT and BTCUSDT of a seed, in real time.
    Seed(u64),
    /// The same at that speed, with the faults of a file.
    SeedAt(u64, &'static str, PathBuf),
    /// The same at that speed, without faults.
    SeedFast(u64, &'static str),
}

/// A running simulator.
#[derive(Debug)]
pub struct Sim {
    pub process: Process,
    pub websocket_url: String,
    pub rest_url: String,
}

/// The simulator's own book of a symbol.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    pub update_id: u64,
    /// The best ten of each side.
    pub bids: Vec<[f64; 2]>,
    pub asks: Vec<[f64; 2]>,
}

impl Sim {
    /// Without TLS.
    #[must_use]
    pub fn start(market: &Market) -> Self {
        Self::start_with(market, None, 0)
    }

    /// Without TLS, at that port.
    #[must_use]
    pub fn start_at(port: u16, market: &Market) -> Self {
        Self::start_with(market, None, port)
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        let port = self.rest_url.rsplit(':').next().and_then(|port| port.parse().ok());
        port.expect("a URL that ends in a port")
    }

    /// With TLS; its certificate is written to `cert_file`.
    #[must_use]
    pub fn start_tls(market: &Market, cert_file: &Path) -> Self {
        Self::start_with(market, Some(cert_file), 0)
    }

    /// With options of its own.
    #[must_use]
    pub fn start_as(options: &[&str]) -> Self {
        let args = ["sim", "--json", "--listen", "127.0.0.1:0"].iter().chain(options);
        Self::serving(Process::start(args))
    }

    fn start_with(market: &Market, cert_file: Option<&Path>, port: u16) -> Self {
        let address = format!("127.0.0.1:{port}");
        let mut args: Vec<OsString> =
            ["sim", "--json", "--listen", &address].map(Into::into).into();
        if let Some(cert_file) = cert_file {
            args.extend(["--tls".into(), "--cert-file".into(), cert_file.into()]);
        }
        match market {
            Market::Recording(files, speed) => {
                args.extend(["--speed".into(), speed.into(), "--recording".into()]);
                args.extend(files.iter().map(Into::into));
            }
            Market::SeedAt(seed, speed, faults) => {
                args.extend(["--seed".into(), seed.to_string().into(), "--speed".into()]);
                args.extend([(*speed).into(), "--faults".into(), faults.into()]);
            }
            Market::SeedFast(seed, speed) => {
                args.extend(["--seed".into(), seed.to_string().into(), "--speed".into()]);
                args.push((*speed).into());
            }
            Market::Seed(seed) => args.extend(["--seed".into(), seed.to_string().into()]),
        }
        Self::serving(Process::start(args))
    }

    fn serving(mut process: Process) -> Self {
        wait_until("the simulator listens", SOON, || {
            assert!(process.is_running(), "{}", process.stderr());
            process.stdout().contains('}')
        });
        let urls: Value = serde_json::from_str(&process.stdout()).expect("the URLs as JSON");
        let url = |key: &str| urls[key].as_str().expect("a URL").to_owned();
        Self { process, websocket_url: url("websocket_url"), rest_url: url("rest_url") }
    }

    /// Counts and clients.
    #[must_use]
    pub fn state(&self) -> Value {
        self.get("/sim/state")
    }

    /// WebSocket clients that are connected.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.state()["clients"].as_array().expect("a list of clients").len()
    }

    /// A count of [`Self::state`].
    #[must_use]
    pub fn count(&self, key: &str) -> u64 {
        self.state()[key].as_u64().unwrap_or_else(|| panic!("a count {key}"))
    }

    #[must_use]
    pub fn truth(&self, symbol: &str) -> Truth {
        self.try_truth(symbol).expect("the simulator answers")
    }

    /// `None` while it takes no connections, or leaves them without an answer.
    #[must_use]
    pub fn try_truth(&self, symbol: &str) -> Option<Truth> {
        let truth = self.try_get(&format!("/sim/truth?symbol={symbol}&levels=10"))?;
        assert_eq!(truth["book_known"], true, "{symbol}");
        let side = |name: &str| {
            let levels = truth[name].as_array().expect("levels").iter().take(10);
            levels.map(|level| [number(&level[0]), number(&level[1])]).collect()
        };
        let update_id = truth["update_id"].as_u64().expect("an id");
        Some(Truth { update_id, bids: side("bids"), asks: side("asks") })
    }

    /// The simulator's own bars of a symbol from `start_ms` on, at most `limit`, oldest first.
    #[must_use]
    pub fn klines(&self, symbol: &str, interval: &str, start_ms: i64, limit: usize) -> Vec<Value> {
        let bars = self.get(&format!(
            "/sim/klines?symbol={symbol}&interval={interval}&startTime={start_ms}&limit={limit}"
        ));
        bars.as_array().expect("a list of bars").clone()
    }

    /// A fault, in force for all that is sent from now on.
    pub fn fault(&self, fault: &Value) {
        self.post("/sim/fault", &fault.to_string());
    }

    pub fn pause(&self) {
        self.post("/sim/pause", "");
    }

    pub fn resume(&self) {
        self.post("/sim/resume", "");
    }

    /// The JSON at a path.
    #[must_use]
    pub fn get(&self, path: &str) -> Value {
        serde_json::from_slice(&self.download(path)).expect("an answer of JSON")
    }

    /// The JSON at a path; `None` while the simulator takes no connections, or leaves them without an answer.
    #[must_use]
    pub fn try_get(&self, path: &str) -> Option<Value> {
        let agent = ureq::Agent::config_builder().timeout_global(Some(ANSWER_MAX)).build();
        let url = format!("{}{path}", self.rest_url);
        let mut answer = ureq::Agent::from(agent).get(url).call().ok()?;
        let limited = answer.body_mut().with_config().limit(DOWNLOAD_BYTES_MAX);
        serde_json::from_slice(&limited.read_to_vec().ok()?).ok()
    }

    /// The bytes at a path.
    #[must_use]
    pub fn download(&self, path: &str) -> Vec<u8> {
        let answer = ureq::get(format!("{}{path}", self.rest_url)).call();
        let mut answer = answer.expect("the simulator answers");
        answer.body_mut().with_config().limit(DOWNLOAD_BYTES_MAX).read_to_vec().expect("a body")
    }

    fn post(&self, path: &str, body: &str) {
        ureq::post(format!("{}{path}", self.rest_url)).send(body).expect("the simulator obeys");
    }
}

/// More than the simulator takes over an answer on a busy machine.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// A month of seconds, zipped.
const DOWNLOAD_BYTES_MAX: u64 = 256 << 20;

fn number(text: &Value) -> f64 {
    text.as_str().and_then(|text| text.parse().ok()).expect("a decimal in quotes")
}
