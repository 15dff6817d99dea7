//! What the tests share: clients written without the simulator's code, and a follower of the venue's book rule.
#![allow(clippy::unwrap_used, reason = "test code")]
#![allow(dead_code, reason = "no test file needs all of it")]

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cobring_sim::{SimHandle, Truth};
use serde_json::Value;
use tungstenite::{Message, WebSocket};

pub(crate) const LONG: Duration = Duration::from_secs(120);

pub(crate) fn wait_until(what: &str, timeout: Duration, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + timeout;
    while !happened() {
        assert!(Instant::now() < deadline, "not within {timeout:?}: {what}");
        std::thread::yield_now();
    }
}

/// Both recordings, or `None` (and a failure with CI=true) where the shared folder is missing.
pub(crate) fn recordings() -> Option<Vec<PathBuf>> {
    let folder =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/recordings/binance-spot");
    let paths: Vec<_> = ["ethusdt_20240808.gz", "btcusdt_20240808.gz"]
        .iter()
        .map(|name| folder.join(name))
        .collect();
    if paths.iter().all(|path| path.exists()) {
        return Some(paths);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "no recordings in {}", folder.display());
    eprintln!("skipped: no recordings");
    None
}

/// A blocking WebSocket client.
pub(crate) struct Client(pub(crate) WebSocket<TcpStream>);

impl Client {
    pub(crate) fn connect(sim: &SimHandle, path: &str) -> Self {
        Self::try_connect(sim, path).unwrap()
    }

    pub(crate) fn try_connect(sim: &SimHandle, path: &str) -> Result<Self, String> {
        let tcp = TcpStream::connect(sim.addr()).map_err(|error| error.to_string())?;
        tcp.set_nodelay(true).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let url = format!("{}{path}", sim.ws_url());
        tungstenite::client(url, tcp)
            .map(|(socket, _)| Self(socket))
            .map_err(|error| error.to_string())
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).unwrap();
    }

    /// The next text; pings are answered on the way.
    pub(crate) fn text(&mut self) -> String {
        self.try_text().unwrap()
    }

    /// `Err` holds how the connection ended.
    pub(crate) fn try_text(&mut self) -> Result<String, String> {
        let deadline = Instant::now() + LONG;
        loop {
            assert!(Instant::now() < deadline, "no text within {LONG:?}, only pings");
            match self.0.read() {
                Ok(Message::Text(text)) => return Ok(text.to_string()),
                Ok(Message::Close(frame)) => {
                    let said =
                        frame.map(|frame| format!("{} {}", u16::from(frame.code), frame.reason));
                    return Err(said.unwrap_or_default());
                }
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    pub(crate) fn json(&mut self) -> Value {
        serde_json::from_str(&self.text()).unwrap()
    }

    /// Reads on until a text fits.
    pub(crate) fn find(&mut self, fits: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + LONG;
        loop {
            assert!(Instant::now() < deadline);
            let text = self.text();
            if fits(&text) {
                return text;
            }
        }
    }

    /// How the connection ends, whatever comes before.
    pub(crate) fn end(&mut self) -> String {
        let deadline = Instant::now() + LONG;
        loop {
            assert!(Instant::now() < deadline, "no end within {LONG:?}");
            if let Err(end) = self.try_text() {
                return end;
            }
        }
    }
}

/// Status, body and a header lookup of a GET.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

pub(crate) fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(LONG))
        .build()
        .into()
}

fn reply(mut response: ureq::http::Response<ureq::Body>) -> Reply {
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let (headers, status) = (headers.collect(), response.status().as_u16());
    Reply {
        status,
        body: response.body_mut().with_config().limit(100 << 20).read_to_string().unwrap(),
        headers,
    }
}

pub(crate) fn get(sim: &SimHandle, path: &str) -> Reply {
    reply(agent().get(format!("{}{path}", sim.rest_url())).call().unwrap())
}

pub(crate) fn get_with(sim: &SimHandle, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = agent().get(format!("{}{path}", sim.rest_url()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    reply(request.call().unwrap())
}

pub(crate) fn get_bytes(sim: &SimHandle, path: &str) -> Vec<u8> {
    let mut response = agent().get(format!("{}{path}", sim.rest_url())).call().unwrap();
    assert_eq!(response.status(), 200, "{path}");
    response.body_mut().with_config().limit(100 << 20).read_to_vec().unwrap()
}

pub(crate) fn try_get(sim: &SimHandle, path: &str) -> Result<Reply, String> {
    agent()
        .get(format!("{}{path}", sim.rest_url()))
        .call()
        .map(reply)
        .map_err(|error| error.to_string())
}

pub(crate) fn post(sim: &SimHandle, path: &str, body: &str) -> Reply {
    reply(agent().post(format!("{}{path}", sim.rest_url())).send(body).unwrap())
}

/// A book kept by the rule of venues.md, section 1: prices as their digits, quantities as the venue's own strings.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    pub(crate) update_id: Option<u64>,
    pub(crate) bids: BTreeMap<u64, String>,
    pub(crate) asks: BTreeMap<u64, String>,
    buffered: Vec<Value>,
    pub(crate) gaps: u32,
    pub(crate) applied: u64,
}

impl Follower {
    /// A `depthUpdate` payload.
    pub(crate) fn on_depth(&mut self, data: &Value) {
        let Some(local) = self.update_id else {
            self.buffered.push(data.clone());
            return;
        };
        let (first, last) = (data["U"].as_u64().unwrap(), data["u"].as_u64().unwrap());
        if last <= local {
            return;
        }
        if first > local + 1 {
            self.gaps += 1;
            self.update_id = None;
            self.buffered = vec![data.clone()];
            return;
        }
        set(&mut self.bids, &data["b"]);
        set(&mut self.asks, &data["a"]);
        self.update_id = Some(last);
        self.applied += 1;
    }

    /// A REST answer; false when it is too old for what was buffered.
    pub(crate) fn on_snapshot(&mut self, snapshot: &Value) -> bool {
        let id = snapshot["lastUpdateId"].as_u64().unwrap();
        if self.buffered.first().is_some_and(|first| id + 1 < first["U"].as_u64().unwrap()) {
            return false;
        }
        (self.bids, self.asks) = (BTreeMap::new(), BTreeMap::new());
        set(&mut self.bids, &snapshot["bids"]);
        set(&mut self.asks, &snapshot["asks"]);
        self.update_id = Some(id);
        for data in std::mem::take(&mut self.buffered) {
            self.on_depth(&data);
        }
        true
    }

    pub(crate) fn needs_snapshot(&self) -> bool {
        self.update_id.is_none() && !self.buffered.is_empty()
    }

    pub(crate) fn check(&self, truth: &Truth) {
        assert_eq!(self.update_id, Some(truth.update_id));
        let side = |levels: &[cobring_sim::Level]| {
            levels
                .iter()
                .map(|level| (digits(&level.0.to_string()), level.1.to_string()))
                .collect::<BTreeMap<_, _>>()
        };
        assert!(
            self.bids == side(&truth.bids) && self.asks == side(&truth.asks),
            "books differ at {:?}",
            self.update_id
        );
    }
}

/// `2683.80000000` as 268380000000: every price has eight places.
pub(crate) fn digits(px: &str) -> u64 {
    px.replace('.', "").parse().unwrap()
}

fn set(side: &mut BTreeMap<u64, String>, levels: &Value) {
    for level in levels.as_array().unwrap() {
        let (px, qty) = (level[0].as_str().unwrap(), level[1].as_str().unwrap());
        if qty.bytes().all(|byte| matches!(byte, b'0' | b'.')) {
            side.remove(&digits(px));
        } else {
            side.insert(digits(px), qty.to_owned());
        }
    }
}
