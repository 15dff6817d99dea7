//! The client's side of a WebSocket, over a real socket: what a peer may send before and after the upgrade.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use cobring_pipeline::net::{
    ConnectRequest, Connection, ConnectionConfig, Connector, ConnectorConfig, NetCounters,
    NetError, Payload, ReadOutcome, Verdict, monotonic, tls_config,
};
use mio::{Events, Poll, Token, Waker};
use tungstenite::handshake::derive_accept_key;

/// Where a reply has the key that answers ours.
const ACCEPT: &[u8] = b"ACCEPT-KEY";
const UPGRADED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT-KEY\r\n\r\n";
/// Longest message: above all inputs, so that only lengths that lie are refused by it.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// What fits the buffers of a loopback socket that nobody reads yet.
const SENT_BYTES_MAX: usize = 32 << 10;

/// The connecting helper and a listener.
struct Sockets {
    poll: Poll,
    events: Events,
    connector: Connector,
    listener: TcpListener,
    url: String,
    next: u16,
}

impl Sockets {
    fn new() -> Self {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(1_000)).unwrap());
        let connection = ConnectionConfig {
            message_bytes_max: MESSAGE_BYTES_MAX,
            ..ConnectionConfig::default()
        };
        // A venue's limit of attempts is not at issue.
        let config =
            ConnectorConfig { connection, attempts_max: 1 << 20, ..ConnectorConfig::default() };
        let (counters, stop) = (Arc::new(NetCounters::default()), Arc::new(AtomicBool::new(false)));
        let connector =
            Connector::start(config, tls_config(None).unwrap(), counters, waker, stop).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("ws://{}/stream", listener.local_addr().unwrap());
        Self { poll, events: Events::with_capacity(8), connector, listener, url, next: 0 }
    }

    /// What becomes of a connection whose peer answers the request so, and is gone.
    fn connect(&mut self, answer: &[u8]) -> Result<Connection, NetError> {
        let request = ConnectRequest { connection: self.next, url: self.url.clone(), attempt: 0 };
        self.next = self.next.wrapping_add(1);
        self.connector.request(request).unwrap();
        let mut peer = self.listener.accept().unwrap().0;
        let key = key_of_request(&mut peer);
        let accept = derive_accept_key(key.as_bytes());
        let mut bytes = Vec::with_capacity(answer.len() + accept.len());
        match answer.windows(ACCEPT.len()).position(|window| window == ACCEPT) {
            Some(at) => {
                bytes.extend_from_slice(&answer[..at]);
                bytes.extend_from_slice(accept.as_bytes());
                bytes.extend_from_slice(&answer[at + ACCEPT.len()..]);
            }
            None => bytes.extend_from_slice(answer),
        }
        bytes.truncate(SENT_BYTES_MAX);
        // A client that has seen enough may be gone before.
        let _ = peer.write_all(&bytes).and_then(|()| peer.shutdown(Shutdown::Write));
        loop {
            if let Some(outcome) = self.connector.poll() {
                return outcome.result;
            }
            self.poll.poll(&mut self.events, Some(Duration::from_millis(100))).unwrap();
        }
    }

    fn with<T>(look: impl FnOnce(&mut Self) -> T) -> T {
        thread_local! {
            static SOCKETS: RefCell<Sockets> = RefCell::new(Sockets::new());
        }
        SOCKETS.with_borrow_mut(look)
    }
}

fn key_of_request(peer: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        peer.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    key.expect("a request has a key").to_owned()
}

/// Reads until the connection's end; the messages that were handed over.
fn messages(connection: &mut Connection, sent_bytes: usize) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    // Each turn takes a message or finds the end; pings and pongs take two bytes at least.
    for _ in 0..=sent_bytes + 1_000_000 {
        let outcome = connection.read(monotonic(), 64, &mut |received| {
            match received.payload {
                Payload::Text(bytes) => {
                    assert!(std::str::from_utf8(bytes).is_ok(), "text that is no UTF-8");
                    messages.push(bytes.to_vec());
                }
                Payload::Binary(bytes) => messages.push(bytes.to_vec()),
                Payload::Pong => {}
            }
            Verdict::Taken
        });
        match outcome {
            Ok(ReadOutcome::Closed { .. }) | Err(_) => return messages,
            // The end may still be on its way through the loopback.
            Ok(ReadOutcome::Drained) => std::thread::yield_now(),
            Ok(ReadOutcome::Spent | ReadOutcome::Stopped) => {}
        }
    }
    panic!("neither an end nor an error after {} messages", messages.len());
}

/// The data messages that frames make up, read in the most liberal way: whatever a strict reader hands over
/// is the beginning of these.
fn liberal_messages(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    let mut message = Vec::new();
    while let Some(([first, second], rest)) = bytes.split_first_chunk::<2>() {
        let (length, rest) = match second & 0x7f {
            126 => match rest.split_first_chunk::<2>() {
                Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
                None => break,
            },
            127 => match rest.split_first_chunk::<8>() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => break,
            },
            short => (u64::from(short), rest),
        };
        let masked = second & 0x80 != 0;
        let Some((payload, rest)) = usize::try_from(length)
            .ok()
            .filter(|_| !masked)
            .and_then(|length| rest.split_at_checked(length))
        else {
            break;
        };
        bytes = rest;
        match first & 15 {
            0..=2 => {
                message.extend_from_slice(payload);
                if first & 0x80 != 0 {
                    messages.push(std::mem::take(&mut message));
                }
            }
            8 => break,
            _ => {}
        }
    }
    messages
}

/// What a peer sends once the connection is upgraded: messages whole and in order up to the first fault, and
/// then an end.
pub fn web_socket_bytes(bytes: &[u8]) {
    let sent = &bytes[..bytes.len().min(SENT_BYTES_MAX - UPGRADED.len() - 64)];
    let answer = [UPGRADED, sent].concat();
    let found = Sockets::with(|sockets| {
        let mut connection = sockets.connect(&answer).expect("the upgrade is a good one");
        messages(&mut connection, sent.len())
    });
    let wanted = liberal_messages(sent);
    assert!(wanted.starts_with(&found), "{found:?} of {wanted:?}");
}

/// How a peer answers the request to upgrade: a connection only where the answer is one.
pub fn http_upgrade(bytes: &[u8]) {
    Sockets::with(|sockets| match sockets.connect(bytes) {
        Ok(mut connection) => {
            // Blank lines before the status line are to be passed over (RFC 9112, 2.2).
            let status = bytes.trim_ascii_start().get(9..12);
            assert_eq!(status, Some(&b"101"[..]), "{}", String::from_utf8_lossy(bytes));
            assert!(bytes.windows(ACCEPT.len()).any(|window| window == ACCEPT));
            drop(messages(&mut connection, bytes.len()));
        }
        Err(error) => assert!(error.to_string().contains("127.0.0.1"), "{error}"),
    });
}

pub(crate) fn frames() -> Vec<Vec<u8>> {
    let frame = |first: u8, payload: &[u8]| {
        let mut bytes = vec![first];
        match u8::try_from(payload.len()) {
            Ok(length @ 0..126) => bytes.push(length),
            _ => {
                bytes.push(126);
                bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
            }
        }
        bytes.extend(payload);
        bytes
    };
    let depth = crate::venue_oracle::fixture("ws_depth");
    vec![
        frame(0x81, b"{}"),
        frame(0x81, &depth),
        frame(0x82, &depth),
        [frame(0x01, &depth[..100]), frame(0x89, b"ping"), frame(0x80, &depth[100..])].concat(),
        [frame(0x89, &[7; 125]), frame(0x8a, b""), frame(0x81, b"after"), frame(0x88, b"\x03\xe8")]
            .concat(),
        [frame(0x88, b"\x03\xf3bye"), frame(0x81, b"too late")].concat(),
        [&[0x81, 127, 0, 0, 0, 0, 0, 0, 0, 5][..], b"hello"].concat(),
        [0x81, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff].to_vec(),
        [0x81, 127, 0, 0, 0, 0, 0x40, 0, 0, 0].to_vec(),
        frame(0x01, b"caf\xc3"),
        frame(0x81, b"\xff\xfe"),
        frame(0xc1, b"reserved bit"),
        frame(0x83, b"reserved opcode"),
        frame(0x80, b"a continuation of nothing"),
    ]
}

pub(crate) fn replies() -> Vec<Vec<u8>> {
    let mut replies = vec![
        UPGRADED.to_vec(),
        [UPGRADED, b"\x81\x02{}"].concat(),
        b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 10\r\nContent-Length: 0\r\n\r\n".to_vec(),
        b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\n\r\n".to_vec(),
        b"HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n".to_vec(),
        b"HTTP/9.9 999 \r\n\r\n".to_vec(),
        b"\x15\x03\x01\x00\x02\x02\x46".to_vec(),
        Vec::new(),
    ];
    let mut many = b"HTTP/1.1 101 Switching Protocols\r\n".to_vec();
    (0..200).for_each(|number| many.extend(format!("X-{number}: y\r\n").as_bytes()));
    replies.push([&many[..], b"Sec-WebSocket-Accept: ACCEPT-KEY\r\n\r\n"].concat());
    replies.push([&b"HTTP/1.1 101 Switching Protocols\r\nX: "[..], &[b'x'; 20_000]].concat());
    replies
}
