//! REST over real sockets of the loopback, against servers that limit, ban, drip and hang.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "test code, and its servers"
)]

mod net_support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cobring_pipeline::net::{
    BackoffConfig, Clock, NetCounters, NetError, RestConfig, RestHelper, RestPriority, RestReply,
    RestRequest, Step, WeightConfig, monotonic, tls_config,
};
use cobring_types::{InputKind, Nanos, SymbolIndex};
use mio::{Events, Poll, Waker};
use net_support::{Authority, MS, PATIENCE, WAKER, listener, read_head};

/// A server's answer to its `n`-th request.
type Answer = Box<dyn FnMut(usize, &str, &mut TcpStream) -> bool + Send>;

/// What a server saw: paths and when.
type Seen = Arc<Mutex<Vec<(String, Instant)>>>;

/// An HTTP server that gives each request of each connection to `answer`, until that says to close.
fn http(mut answer: Answer) -> (SocketAddr, Seen, Stopper) {
    let (listener, address) = listener();
    let seen = Seen::default();
    let log = Arc::clone(&seen);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let handle = thread::spawn(move || {
        let mut n = 0;
        loop {
            let mut stream = listener.accept().unwrap().0;
            if stopped.load(Ordering::SeqCst) {
                return;
            }
            stream.set_nodelay(true).unwrap();
            while let Ok(head) = read_head(&mut stream) {
                let path = head.split(' ').nth(1).unwrap().to_owned();
                log.lock().unwrap().push((path.clone(), Instant::now()));
                let keep = answer(n, &path, &mut stream);
                n += 1;
                if !keep {
                    break;
                }
            }
        }
    });
    (address, seen, Stopper { address, stop, handle: Some(handle) })
}

struct Stopper {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    handle: Option<JoinHandle<()>>,
}

impl Drop for Stopper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(handle) = self.handle.take() {
            let result = handle.join();
            if !thread::panicking() {
                result.unwrap();
            }
        }
    }
}

fn reply(stream: &mut TcpStream, status: u16, headers: &str, body: &[u8]) -> bool {
    let head =
        format!("HTTP/1.1 {status} Some Words\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).is_ok()
}

/// The helper with a poll, as ingest has it.
struct Asker {
    poll: Poll,
    events: Events,
    helper: RestHelper,
    counters: Arc<NetCounters>,
    asked: u64,
}

fn quick() -> RestConfig {
    let first = Nanos(10 * MS);
    let backoff = BackoffConfig { first, delay_max: Nanos(80 * MS), reset_after: Nanos(0) };
    RestConfig {
        deadline: Nanos(500 * MS),
        used_weight_header: "X-MBX-USED-WEIGHT-1M".to_owned(),
        weight: WeightConfig { headroom_percent: 0, backoff, ..WeightConfig::default() },
        ..RestConfig::default()
    }
}

impl Asker {
    fn new(config: RestConfig) -> Self {
        Self::with(config, Arc::new(monotonic), None)
    }

    fn with(config: RestConfig, clock: Clock, authority: Option<&Authority>) -> Self {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).unwrap());
        let counters = Arc::new(NetCounters::default());
        let tls = tls_config(authority.map(Authority::ca_file).as_deref()).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let helper =
            RestHelper::start(config, tls, clock, Arc::clone(&counters), waker, stop).unwrap();
        Self { poll, events: Events::with_capacity(8), helper, counters, asked: 0 }
    }

    fn ask(&mut self, url: String, priority: RestPriority, weight: u32) {
        let request = RestRequest {
            id: self.asked,
            kind: InputKind::RestDepth,
            priority,
            symbol: SymbolIndex(3),
            aux: 5000,
            url,
            weight,
            not_before: Nanos::UNDEF,
        };
        self.asked += 1;
        self.helper.request(request).unwrap();
    }

    fn reply(&mut self) -> RestReply {
        let started = Instant::now();
        loop {
            if let Some(reply) = self.helper.poll() {
                return reply;
            }
            assert!(started.elapsed() < PATIENCE, "no reply");
            self.poll.poll(&mut self.events, Some(Duration::from_secs(5))).unwrap();
        }
    }

    fn ask_and_wait(&mut self, url: String) -> RestReply {
        self.ask(url, RestPriority::Gap, 1);
        self.reply()
    }
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[test]
fn a_reply_has_its_body_its_stamps_and_its_weight() {
    let body: Vec<u8> = (0..2_000_000u32).map(|i| b"0123456789"[i as usize % 10]).collect();
    let sent = body.clone();
    let (address, seen, _server) = http(Box::new(move |n, _, stream| {
        // The second reply is chunked, and ends its connection.
        if n == 1 {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n6\r\n there\r\n0\r\n\r\n").unwrap();
            return false;
        }
        reply(stream, 200, "x-mbx-used-weight-1m: 1234\r\n", &sent)
    }));
    let mut asker = Asker::new(quick());
    let before = monotonic();
    let reply =
        asker.ask_and_wait(format!("http://{address}/api/v3/depth?symbol=ETHUSDT&limit=5000"));
    assert_eq!((reply.status, &reply.error, reply.attempts), (200, &None, 1));
    assert!(reply.body == body);
    assert_eq!(
        (reply.request.id, reply.request.symbol, reply.request.aux),
        (0, SymbolIndex(3), 5000)
    );
    assert!(
        before < reply.ts_sent
            && reply.ts_sent < reply.ts_received
            && reply.ts_received < monotonic()
    );
    assert_eq!(load(&asker.counters.weight_used), 1234);
    assert_eq!(load(&asker.counters.rest_bytes), 2_000_000);
    let reply = asker.ask_and_wait(format!("http://{address}/api/v3/time"));
    assert_eq!(reply.body, b"hello there");
    let reply = asker.ask_and_wait(format!("http://localhost:{}/third", address.port()));
    assert_eq!(reply.status, 200);
    assert_eq!(load(&asker.counters.rest_ok), 3);
    let paths: Vec<String> = seen.lock().unwrap().iter().map(|(path, _)| path.clone()).collect();
    assert_eq!(paths, ["/api/v3/depth?symbol=ETHUSDT&limit=5000", "/api/v3/time", "/third"]);
}

#[test]
fn nothing_is_sent_before_a_retry_after_has_passed() {
    for (status, seconds) in [(429, 1), (418, 2)] {
        let (address, seen, _server) = http(Box::new(move |n, _, stream| {
            if n == 0 {
                reply(stream, status, &format!("Retry-After: {seconds}\r\n"), b"{\"code\":-1003}")
            } else {
                reply(stream, 200, "", b"fine")
            }
        }));
        let mut asker = Asker::new(quick());
        asker.ask(format!("http://{address}/first"), RestPriority::Background, 1);
        while seen.lock().unwrap().is_empty() {
            thread::yield_now();
        }
        // More urgent, and it waits too.
        asker.ask(format!("http://{address}/urgent"), RestPriority::Urgent, 1);
        let replies = [asker.reply(), asker.reply()];
        assert_eq!((replies[0].request.id, replies[0].attempts), (1, 1));
        assert_eq!((replies[1].request.id, replies[1].attempts), (0, 2));
        assert!(replies.iter().all(|reply| reply.body == b"fine"));
        let seen = seen.lock().unwrap();
        assert_eq!(
            seen.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(),
            ["/first", "/urgent", "/first"]
        );
        let pause = seen[1].1 - seen[0].1;
        assert!(pause >= Duration::from_secs(seconds), "{pause:?}");
        assert!(pause < Duration::from_secs(seconds) + Duration::from_millis(900), "{pause:?}");
        let counter =
            if status == 429 { &asker.counters.rest_429 } else { &asker.counters.rest_418 };
        assert_eq!(load(counter), 1);
        // Once, and once more where the urgent one came when the other was already waiting.
        assert!((1..=2).contains(&load(&asker.counters.rest_held_back)));
        assert_eq!(load(&asker.counters.rest_retries), 1);
    }
}

#[test]
fn server_errors_are_retried_with_growing_pauses_and_then_reported() {
    let (address, seen, _server) = http(Box::new(|n, _, stream| {
        if !(2..4).contains(&n) {
            reply(stream, 503, "", b"later")
        } else {
            reply(stream, 200, "", b"ok")
        }
    }));
    let mut asker = Asker::new(RestConfig { attempts_max: 4, ..quick() });
    let reply = asker.ask_and_wait(format!("http://{address}/depth"));
    assert_eq!((reply.status, reply.attempts, reply.body), (200, 3, b"ok".to_vec()));
    assert_eq!(asker.ask_and_wait(format!("http://{address}/depth")).status, 200);
    let reply = asker.ask_and_wait(format!("http://{address}/depth"));
    assert_eq!((reply.status, reply.attempts), (503, 4));
    let error = reply.error.unwrap();
    assert_eq!(error.to_string(), format!("{address}: the server answered HTTP 503: \"later\""));
    let seen = seen.lock().unwrap();
    let pauses: Vec<Duration> = seen[4..].windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
    for (pause, least) in pauses.iter().zip([5, 10, 20]) {
        assert!(*pause >= Duration::from_millis(least), "{pauses:?}");
    }
    assert_eq!(load(&asker.counters.rest_5xx), 6);
    assert_eq!(load(&asker.counters.rest_failed), 1);
}

#[test]
fn other_statuses_are_reported_at_once() {
    let (address, seen, _server) = http(Box::new(|n, _, stream| {
        let status = [400, 404, 302][n];
        reply(
            stream,
            status,
            "Location: http://127.0.0.1:1/elsewhere\r\n",
            b"{\"code\":-1121,\"msg\":\"Invalid symbol.\"}",
        )
    }));
    let mut asker = Asker::new(quick());
    for status in [400, 404, 302] {
        let reply = asker.ask_and_wait(format!("http://{address}/x"));
        assert_eq!((reply.status, reply.attempts), (status, 1));
        assert!(matches!(reply.error, Some(NetError::HttpStatus { .. })));
        assert!(reply.body.starts_with(b"{\"code\":-1121"));
    }
    assert_eq!(seen.lock().unwrap().len(), 3);
    let reply = asker.ask_and_wait("ftp://nowhere/".to_owned());
    assert!(matches!(reply.error, Some(NetError::Url { .. })), "{:?}", reply.error);
    asker.ask(format!("http://{address}/heavy"), RestPriority::Gap, 6001);
    let reply = asker.reply();
    assert!(matches!(reply.error, Some(NetError::TooHeavy { weight: 6001, limit: 6000, .. })));
    assert_eq!((reply.attempts, reply.ts_sent), (0, Nanos::UNDEF));
}

#[test]
fn a_firewall_403_pauses_everything() {
    let (address, seen, _server) = http(Box::new(|n, _, stream| {
        let status = if n == 0 { 403 } else { 200 };
        reply(stream, status, "", b"x")
    }));
    let config = RestConfig {
        weight: WeightConfig { pause_403: Nanos(300 * MS), ..quick().weight },
        ..quick()
    };
    let mut asker = Asker::new(config);
    assert_eq!(asker.ask_and_wait(format!("http://{address}/x")).attempts, 2);
    let seen = seen.lock().unwrap();
    assert!(seen[1].1 - seen[0].1 >= Duration::from_millis(300));
    assert_eq!(load(&asker.counters.rest_403), 1);
}

#[test]
fn a_body_that_drips_or_never_comes_is_cut_by_the_deadline() {
    let (address, _, _server) = http(Box::new(|n, _, stream| {
        if n == 1 {
            // The head of a reply, then nothing: until the client hangs up.
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n").unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            return false;
        }
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            if matches!(stream.read(&mut [0; 16]), Ok(0)) {
                break;
            }
        }
        false
    }));
    let mut asker = Asker::new(RestConfig { attempts_max: 2, ..quick() });
    let started = Instant::now();
    let reply = asker.ask_and_wait(format!("http://{address}/slow"));
    let took = started.elapsed();
    assert_eq!((reply.status, reply.attempts), (0, 2));
    assert_eq!(
        reply.error,
        Some(NetError::Deadline { host: address.to_string(), step: Step::Request, limit_ms: 500 })
    );
    assert!(reply.ts_sent.is_defined());
    assert!((Duration::from_millis(990)..Duration::from_millis(2500)).contains(&took), "{took:?}");
    assert_eq!(load(&asker.counters.rest_timeouts), 2);
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let (address, _, _server) = http(Box::new(|n, _, stream| match n {
        0 => reply(stream, 200, "", &[b'x'; 1000]),
        1 => {
            reply(stream, 200, "", &[b'x'; 1001]);
            false
        }
        _ => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            while stream.write_all(b"4\r\nxxxx\r\n").is_ok() {}
            false
        }
    }));
    let mut asker = Asker::new(RestConfig { body_bytes_max: 1000, ..quick() });
    assert_eq!(asker.ask_and_wait(format!("http://{address}/x")).body.len(), 1000);
    for oversized in 1..3 {
        let reply = asker.ask_and_wait(format!("http://{address}/x"));
        let host = address.to_string();
        assert_eq!(reply.error, Some(NetError::TooLarge { host, size: 1001, size_max: 1000 }));
        assert_eq!((reply.attempts, reply.body.len()), (1, 0));
        assert_eq!(load(&asker.counters.rest_oversized), oversized);
    }
}

/// A server whose first answer waits for a word.
fn http_with_gate() -> (SocketAddr, Seen, Stopper, std::sync::mpsc::Sender<()>) {
    let (go, wait): (_, Receiver<()>) = channel();
    let (address, seen, server) = http(Box::new(move |n, _, stream| {
        if n == 0 {
            wait.recv().unwrap();
        }
        reply(stream, 200, "", b"x")
    }));
    (address, seen, server, go)
}

#[test]
fn the_most_urgent_goes_first() {
    let (address, seen, _server, go) = http_with_gate();
    let mut asker = Asker::new(RestConfig { deadline: Nanos(20_000 * MS), ..quick() });
    asker.ask(format!("http://{address}/first"), RestPriority::Background, 1);
    while seen.lock().unwrap().is_empty() {
        thread::yield_now();
    }
    for (path, priority) in [
        ("background-1", RestPriority::Background),
        ("gap-1", RestPriority::Gap),
        ("urgent", RestPriority::Urgent),
        ("gap-2", RestPriority::Gap),
        ("background-2", RestPriority::Background),
    ] {
        asker.ask(format!("http://{address}/{path}"), priority, 1);
    }
    go.send(()).unwrap();
    for _ in 0..6 {
        assert_eq!(asker.reply().status, 200);
    }
    let paths: Vec<String> = seen.lock().unwrap().iter().map(|(path, _)| path.clone()).collect();
    assert_eq!(paths, ["/first", "/urgent", "/gap-1", "/gap-2", "/background-1", "/background-2"]);
}

#[test]
fn a_full_ring_hands_requests_back_and_loses_no_reply() {
    let (address, seen, _server, go) = http_with_gate();
    let config =
        RestConfig { deadline: Nanos(20_000 * MS), ring_capacity: 2, queue_max: 3, ..quick() };
    let mut asker = Asker::new(config);
    asker.ask(format!("http://{address}/0"), RestPriority::Gap, 1);
    while seen.lock().unwrap().is_empty() {
        thread::yield_now();
    }
    // The helper is busy: two fit the ring, the next comes back.
    for path in 1..3 {
        asker.ask(format!("http://{address}/{path}"), RestPriority::Gap, 1);
    }
    let request = RestRequest {
        id: 77,
        kind: InputKind::RestTime,
        priority: RestPriority::Urgent,
        symbol: SymbolIndex::NONE,
        aux: 0,
        url: format!("http://{address}/back"),
        weight: 1,
        not_before: Nanos::UNDEF,
    };
    assert_eq!(asker.helper.request(request.clone()), Err(request));
    go.send(()).unwrap();
    // The replies' ring holds two: the third waits in the helper until we take them.
    while seen.lock().unwrap().len() < 3 {
        thread::yield_now();
    }
    for id in 0..3 {
        assert_eq!(asker.reply().request.id, id);
    }
}

#[test]
fn the_weight_budget_holds_at_the_server() {
    // A clock 60 times as fast: a minute of the budget is a second.
    const SPEED: i64 = 60;
    let began = monotonic();
    let clock: Clock = Arc::new(move || Nanos((monotonic().0 - began.0) * SPEED));
    let (address, seen, _server) = http(Box::new(|_, _, stream| reply(stream, 200, "", b"x")));
    let weight = WeightConfig { limit_per_minute: 1000, headroom_percent: 20, ..quick().weight };
    let mut asker = Asker::with(RestConfig { weight, ..quick() }, clock, None);
    for _ in 0..10 {
        asker.ask(format!("http://{address}/250"), RestPriority::Gap, 250);
    }
    for _ in 0..10 {
        assert_eq!(asker.reply().status, 200);
    }
    // 800 a minute: three of 250 in each of the venue's minutes.
    let seen = seen.lock().unwrap();
    for window in seen.windows(4) {
        let apart = window[3].1 - window[0].1;
        assert!(apart >= Duration::from_millis(990), "four within {apart:?}");
    }
    assert!(load(&asker.counters.rest_held_back) >= 3);
}

#[test]
fn a_request_waits_for_its_time() {
    let (address, _, _server) = http(Box::new(|_, _, stream| reply(stream, 200, "", b"x")));
    let mut asker = Asker::new(quick());
    let not_before = Nanos(monotonic().0 + 150 * MS);
    let request = RestRequest {
        id: 5,
        kind: InputKind::RestTime,
        priority: RestPriority::Urgent,
        symbol: SymbolIndex::NONE,
        aux: 0,
        url: format!("http://{address}/later"),
        weight: 1,
        not_before,
    };
    asker.helper.request(request).unwrap();
    asker.ask(format!("http://{address}/now"), RestPriority::Background, 1);
    assert_eq!(asker.reply().request.id, 0);
    let reply = asker.reply();
    assert_eq!(reply.request.id, 5);
    assert!(reply.ts_sent >= not_before);
}

#[test]
fn a_connection_that_the_server_dropped_is_no_failure() {
    let (address, _, _server) = http(Box::new(|_, _, stream| {
        reply(stream, 200, "", b"x");
        // Keep-alive was promised, and broken.
        false
    }));
    let mut asker = Asker::new(quick());
    let mut attempts = BTreeMap::new();
    for _ in 0..20 {
        let reply = asker.ask_and_wait(format!("http://{address}/x"));
        assert_eq!(reply.status, 200);
        *attempts.entry(reply.attempts).or_insert(0) += 1;
    }
    assert!(attempts.keys().all(|&attempts| attempts <= 2), "{attempts:?}");
}

#[test]
fn refused_connections_and_unknown_certificates_are_named() {
    let mut asker = Asker::new(RestConfig { attempts_max: 2, ..quick() });
    let address = {
        let (_listener, address) = listener();
        address
    };
    let reply = asker.ask_and_wait(format!("http://{address}/x"));
    assert!(matches!(reply.error, Some(NetError::Connect { .. })), "{:?}", reply.error);
    assert_eq!((reply.attempts, reply.ts_sent), (2, Nanos::UNDEF));
    assert_eq!(load(&asker.counters.rest_broken), 2);
    let authority = Authority::new();
    let (address, server) = https(&authority, 2);
    let reply = asker.ask_and_wait(format!("https://localhost:{}/x", address.port()));
    assert!(matches!(reply.error, Some(NetError::Tls { .. })), "{:?}", reply.error);
    server.join().unwrap();
}

/// An HTTPS server that answers one request on each of `connections` connections.
fn https(authority: &Authority, connections: usize) -> (SocketAddr, JoinHandle<()>) {
    let (listener, address) = listener();
    let config = Arc::clone(&authority.server);
    let handle = thread::spawn(move || {
        for _ in 0..connections {
            let stream = listener.accept().unwrap().0;
            let tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(tls, stream);
            while read_head(&mut stream).is_ok() {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret").unwrap();
            }
        }
    });
    (address, handle)
}

#[test]
fn https_trusts_the_configured_authority_and_keeps_its_connection() {
    let authority = Authority::new();
    let (address, server) = https(&authority, 1);
    let mut asker = Asker::with(quick(), Arc::new(monotonic), Some(&authority));
    for _ in 0..5 {
        let reply = asker.ask_and_wait(format!("https://localhost:{}/x", address.port()));
        assert_eq!((reply.body, reply.attempts), (b"secret".to_vec(), 1));
    }
    drop(asker);
    server.join().unwrap();
}

#[test]
fn the_helper_stops_within_200_ms_while_asking_and_while_banned() {
    let (address, seen, _server) = http(Box::new(|_, path, stream| {
        if path == "/ban" {
            return reply(stream, 418, "Retry-After: 86400\r\n", b"x");
        }
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        false
    }));
    for path in ["hang", "ban"] {
        let mut asker = Asker::new(RestConfig { deadline: Nanos(30_000 * MS), ..quick() });
        let asked = seen.lock().unwrap().len();
        asker.ask(format!("http://{address}/{path}"), RestPriority::Gap, 1);
        while seen.lock().unwrap().len() == asked {
            thread::yield_now();
        }
        let started = Instant::now();
        asker.helper.stop();
        let took = started.elapsed();
        assert!(took < Duration::from_millis(200), "{path}: {took:?}");
    }
}
