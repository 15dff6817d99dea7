//! WebSockets over real sockets of the loopback, against servers that behave, misbehave and hang.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "test code")]

mod net_support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cobring_pipeline::net::{
    CLOSE_NO_STATUS, ConnectionConfig, ConnectorConfig, NetError, Payload, ReadOutcome,
    SendRefused, Step, Verdict, monotonic, tls_config,
};
use cobring_types::Nanos;
use net_support::{
    Authority, Client, MS, PATIENCE, drain, frame, listener, read_head, serve, serve_tcp, text,
    text_of,
};
use tungstenite::Message;
use tungstenite::protocol::CloseFrame;

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Lengths as a venue's: mostly short, some long, two of 5 MB.
fn length_of(index: u64) -> usize {
    match index {
        700 | 1400 => 5_000_000,
        index if index % 50 == 0 => 60_000 + usize::try_from(index).unwrap(),
        index => 20 + usize::try_from(index * 37 % 1400).unwrap(),
    }
}

fn check_messages_arrive(authority: Option<&Authority>) {
    const COUNT: u64 = 2000;
    let (url, server) = serve(authority, |mut server| {
        for index in 0..COUNT {
            let text = text(index, length_of(index));
            let message = if index % 3 == 0 {
                Message::binary(text.into_bytes())
            } else {
                Message::text(text)
            };
            server.write(message).unwrap();
        }
        server.flush().unwrap();
        drain(&mut server);
    });
    let mut client = Client::with(ConnectorConfig::default(), authority);
    let mut connection = client.connect(&url);
    assert_eq!(connection.is_tls(), authority.is_some());
    let mut next = 0;
    client
        .drive(&mut connection, |received| {
            assert_eq!(matches!(received.payload, Payload::Binary(_)), next % 3 == 0);
            assert!(text_of(&received) == text(next, length_of(next)), "message {next}");
            next += 1;
            next < COUNT
        })
        .unwrap();
    assert_eq!(load(&client.counters.messages), COUNT);
    drop(connection);
    server.join().unwrap();
}

#[test]
fn messages_arrive_whole_and_in_order() {
    check_messages_arrive(None);
}

#[test]
fn messages_arrive_whole_and_in_order_over_tls() {
    check_messages_arrive(Some(&Authority::new()));
}

#[test]
fn segments_of_one_byte_and_fragments_with_pings_between_are_joined() {
    let (address, server) = serve_tcp(|stream| {
        stream.set_nodelay(true).unwrap();
        let mut server = tungstenite::accept(stream).unwrap();
        let mut bytes = Vec::new();
        for index in 0..20 {
            bytes.extend(frame(
                true,
                1,
                text(index, 30 + usize::try_from(index).unwrap() * 10).as_bytes(),
            ));
        }
        // "é" cut in its middle, with a ping between.
        bytes.extend(frame(false, 1, b"caf\xc3"));
        bytes.extend(frame(true, 9, b"between"));
        bytes.extend(frame(false, 0, b"\xa9 au "));
        bytes.extend(frame(true, 0, "lait".as_bytes()));
        for byte in bytes {
            server.get_mut().write_all(&[byte]).unwrap();
        }
        // The pong is the answer to the ping in mid-message.
        assert_eq!(server.read().unwrap(), Message::Pong("between".into()));
    });
    let mut client = Client::new();
    let mut connection = client.connect(&format!("ws://{address}/ws/x"));
    let mut next = 0;
    let mut last = String::new();
    let outcome = client.drive(&mut connection, |received| {
        if next < 20 {
            assert_eq!(text_of(&received), text(next, 30 + usize::try_from(next).unwrap() * 10));
        } else {
            text_of(&received).clone_into(&mut last);
        }
        next += 1;
        true
    });
    // Until the server's end: it leaves only when it has the pong.
    assert!(matches!(outcome, Err(NetError::Ended { .. } | NetError::Lost { .. })), "{outcome:?}");
    assert_eq!((next, last.as_str()), (21, "café au lait"));
    server.join().unwrap();
}

#[test]
fn what_comes_with_the_upgrade_is_read_on_adoption() {
    let (address, server) = serve_tcp(|mut stream| {
        let head = read_head(&mut stream).unwrap();
        assert!(
            head.starts_with("GET /stream?streams=ethusdt@depth@100ms/ethusdt@trade HTTP/1.1\r\n"),
            "{head}"
        );
        let key = head.lines().find_map(|l| l.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
        let mut bytes = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        )
        .into_bytes();
        bytes.extend(frame(true, 1, b"first"));
        stream.write_all(&bytes).unwrap();
        read_to_end(stream);
    });
    let mut client = Client::new();
    let url = format!("ws://{address}/stream?streams=ethusdt@depth@100ms/ethusdt@trade");
    let mut connection = client.try_connect(&url).unwrap();
    assert!(connection.is_unread());
    // One read, without any registration or event.
    let mut seen = Vec::new();
    let outcome = connection.read(monotonic(), 10, &mut |received| {
        seen.push(text_of(&received).to_owned());
        Verdict::Taken
    });
    assert_eq!((outcome, seen), (Ok(ReadOutcome::Drained), vec!["first".to_owned()]));
    drop(connection);
    server.join().unwrap();
}

fn read_to_end(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
}

#[test]
fn a_ping_is_answered_with_its_payload() {
    let payloads: [&[u8]; 4] = [b"", b"1723161255308", &[7; 125], b"\xff\x00"];
    let (url, server) = serve(None, move |mut server| {
        for payload in payloads {
            server.send(Message::Ping(payload.to_vec().into())).unwrap();
            assert_eq!(server.read().unwrap(), Message::Pong(payload.to_vec().into()));
        }
        server.send(Message::Pong("unasked".into())).unwrap();
        drain(&mut server);
    });
    let mut client = Client::new();
    let mut connection = client.connect(&url);
    client.drive(&mut connection, |received| received.payload != Payload::Pong).unwrap();
    assert_eq!(load(&client.counters.pings), 4);
    assert_eq!(load(&client.counters.pongs_sent), 4);
    assert_eq!(load(&client.counters.pongs_received), 1);
    drop(connection);
    server.join().unwrap();
}

#[test]
fn a_ping_storm_does_not_break_the_limit_of_outgoing_messages() {
    const LIMIT: usize = 5;
    let (url, server) = serve_tcp_web_socket(|mut server| {
        // What arrived when; pings go out between, some 100 a second.
        let mut arrived: Vec<(Instant, Message)> = Vec::new();
        server.get_mut().set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let started = Instant::now();
        let mut pings = 0u32;
        while started.elapsed() < Duration::from_millis(3500) {
            server.send(Message::Ping(pings.to_be_bytes().to_vec().into())).unwrap();
            pings += 1;
            match server.read() {
                Ok(message) => arrived.push((Instant::now(), message)),
                Err(tungstenite::Error::Io(error)) => {
                    assert!(matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ));
                }
                Err(error) => panic!("{error}"),
            }
        }
        (arrived, pings)
    });
    let mut client = Client::new();
    let mut connection = client.connect(&url);
    for index in 0..10 {
        connection.send_text(monotonic(), format!("text {index}")).unwrap();
    }
    let end = client.drive(&mut connection, |_| true);
    assert!(end.is_err());
    let (arrived, pings) = server.join().unwrap();
    assert!(pings > 100);
    assert!(arrived.len() > 2 * LIMIT, "{}", arrived.len());
    for window in arrived.windows(LIMIT + 1) {
        let apart = window[LIMIT].0 - window[0].0;
        assert!(apart >= Duration::from_secs(1), "{} messages in {apart:?}", LIMIT + 1);
    }
    let pongs: Vec<u32> = arrived
        .iter()
        .filter_map(|(_, message)| match message {
            Message::Pong(payload) => Some(u32::from_be_bytes(payload[..].try_into().unwrap())),
            _ => None,
        })
        .collect();
    // Each pong answers the newest ping of its time, so they rise; none is answered twice.
    assert!(pongs.windows(2).all(|pair| pair[0] < pair[1]), "{pongs:?}");
    assert!(pongs.len() > LIMIT && *pongs.last().unwrap() > pings / 2, "{pongs:?} of {pings}");
    assert!(load(&client.counters.pongs_superseded) > 0);
}

/// As `serve`, over plain TCP that the server can set up further.
fn serve_tcp_web_socket<T: Send + 'static>(
    serve: impl FnOnce(tungstenite::WebSocket<TcpStream>) -> T + Send + 'static,
) -> (String, std::thread::JoinHandle<T>) {
    let (address, server) = serve_tcp(move |stream| {
        stream.set_nodelay(true).unwrap();
        serve(tungstenite::accept(stream).unwrap())
    });
    (format!("ws://{address}/ws/x"), server)
}

#[test]
fn texts_wait_for_the_budget_and_a_full_queue_hands_them_back() {
    let (url, server) = serve(None, |mut server| {
        let mut texts = Vec::new();
        while texts.len() < 6 {
            texts.push((Instant::now(), server.read().unwrap().into_text().unwrap().to_string()));
        }
        server.send(Message::text("enough")).unwrap();
        drain(&mut server);
        texts
    });
    let mut client = Client::with_connection(ConnectionConfig {
        outgoing_max: 3,
        outgoing_window: Nanos(300 * MS),
        outgoing_queue_max: 4,
        ..ConnectionConfig::default()
    });
    let mut connection = client.connect(&url);
    let now = monotonic();
    for index in 0..6 {
        connection.send_text(now, index.to_string()).unwrap();
    }
    assert_eq!(connection.send_text(now, "7".to_owned()), Err(SendRefused::Full("7".to_owned())));
    assert!(connection.next_send_at(now).unwrap() > now);
    client.drive(&mut connection, |_| false).unwrap();
    assert_eq!(load(&client.counters.texts_sent), 6);
    assert_eq!(load(&client.counters.sends_refused), 1);
    connection.close(monotonic(), 1000);
    let closing = connection.send_text(now, "late".to_owned());
    assert_eq!(closing, Err(SendRefused::Closing("late".to_owned())));
    drop(connection);
    let texts = server.join().unwrap();
    assert!(texts.iter().map(|(_, text)| text.as_str()).eq(["0", "1", "2", "3", "4", "5"]));
    // Two a window: the third place is a pong's. Six take two windows more.
    assert!(texts[5].0 - texts[0].0 >= Duration::from_millis(590));
}

#[test]
fn a_peer_that_does_not_read_gets_every_byte_later() {
    check_slow_peer(None);
}

#[test]
fn a_peer_that_does_not_read_gets_every_byte_later_over_tls() {
    check_slow_peer(Some(&Authority::new()));
}

fn check_slow_peer(authority: Option<&Authority>) {
    const LENGTH: usize = 3_000_000;
    let (go, wait) = channel();
    let (url, server) = serve(authority, move |mut server| {
        wait.recv().unwrap();
        // The client writes on when the socket takes more.
        for index in 0..4 {
            assert!(
                server.read().unwrap().into_text().unwrap() == text(index, LENGTH),
                "text {index}"
            );
        }
        server.send(Message::text("all there")).unwrap();
        drain(&mut server);
    });
    let connection = ConnectionConfig { outgoing_max: 100, ..ConnectionConfig::default() };
    let mut client =
        Client::with(ConnectorConfig { connection, ..ConnectorConfig::default() }, authority);
    let mut connection = client.connect(&url);
    for index in 0..4 {
        connection.send_text(monotonic(), text(index, LENGTH)).unwrap();
    }
    // The socket is full: only writability helps.
    assert_eq!(connection.next_send_at(monotonic()), None);
    go.send(()).unwrap();
    client.drive(&mut connection, |_| false).unwrap();
    drop(connection);
    server.join().unwrap();
}

#[test]
fn a_refused_message_stops_the_reading_and_comes_again() {
    for authority in [None, Some(Authority::new())] {
        const COUNT: u64 = 5000;
        let (url, server) = serve(authority.as_ref(), |mut server| {
            for index in 0..COUNT {
                server.write(Message::text(text(index, 2000))).unwrap();
            }
            server.flush().unwrap();
            drain(&mut server);
        });
        let mut client = Client::with(ConnectorConfig::default(), authority.as_ref());
        let mut connection = client.connect(&url);
        let (mut next, mut refusals, mut turns, mut spent) = (0, 0, 0u64, 0u64);
        let started = Instant::now();
        while next < COUNT {
            assert!(started.elapsed() < PATIENCE);
            let mut room = turns % 7;
            turns += 1;
            let outcome = connection.read(monotonic(), 5, &mut |received| {
                // Refused or not, it is the next one: nothing is lost, doubled or out of order.
                assert_eq!(text_of(&received), text(next, 2000));
                if room == 0 {
                    refusals += 1;
                    return Verdict::Refused;
                }
                room -= 1;
                next += 1;
                if next % 11 == 0 { Verdict::TakenStop } else { Verdict::Taken }
            });
            match outcome.unwrap() {
                ReadOutcome::Drained => {
                    assert!(!connection.is_unread());
                    client.poll.poll(&mut client.events, Some(Duration::from_secs(5))).unwrap();
                }
                // No event will come for what is left unread.
                ReadOutcome::Stopped => assert!(connection.is_unread()),
                ReadOutcome::Spent => {
                    assert!(connection.is_unread());
                    spent += 1;
                }
                ReadOutcome::Closed { .. } => panic!("closed"),
            }
        }
        assert!(refusals > 100 && spent > 10, "{refusals} {spent}");
        assert_eq!(load(&client.counters.messages), COUNT);
        drop(connection);
        server.join().unwrap();
    }
}

#[test]
fn kernel_times_are_plausible_and_never_decrease() {
    for authority in [None, Some(Authority::new())] {
        const COUNT: usize = 300;
        let before = wall();
        let (url, server) = serve(authority.as_ref(), |mut server| {
            for index in 0..COUNT {
                server.send(Message::text(text(index as u64, 400))).unwrap();
            }
            drain(&mut server);
        });
        let mut client = Client::with(ConnectorConfig::default(), authority.as_ref());
        let mut connection = client.connect(&url);
        let mut times = Vec::new();
        client
            .drive(&mut connection, |received| {
                // The kernel had it before we did.
                assert!(received.ts_kernel <= wall());
                times.push(received.ts_kernel);
                times.len() < COUNT
            })
            .unwrap();
        // What came along with the upgrade was read before there was a connection.
        times.drain(..times.partition_point(|time| !time.is_defined()));
        assert!(times.len() > COUNT / 2, "{} kernel times", times.len());
        assert!(times.iter().all(|time| time.is_defined()));
        assert!(times[0] >= before, "{:?} before {before:?}", times[0]);
        assert!(times.is_sorted());
        assert!(times.first() < times.last());
        drop(connection);
        server.join().unwrap();
    }
}

fn wall() -> Nanos {
    Nanos(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap())
}

#[test]
fn close_codes_are_reported() {
    for (sent, expected) in [
        (Some(1000), 1000),
        (Some(1001), 1001),
        (Some(1008), 1008),
        (Some(4001), 4001),
        (None, CLOSE_NO_STATUS),
    ] {
        let (url, server) = serve(None, move |mut server| {
            server.send(Message::text("last words")).unwrap();
            let frame =
                sent.map(|code: u16| CloseFrame { code: code.into(), reason: "why".into() });
            server.close(frame).unwrap();
            // The reply carries the same code, and ends it.
            loop {
                match server.read() {
                    Ok(Message::Close(reply)) => {
                        break assert_eq!(reply.map(|r| r.code.into()), sent);
                    }
                    Ok(_) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
        let mut client = Client::new();
        let mut connection = client.connect(&url);
        let mut texts = 0;
        let outcome = client.drive(&mut connection, |_| {
            texts += 1;
            true
        });
        assert_eq!((outcome, texts), (Ok(ReadOutcome::Closed { code: expected }), 1));
        assert_eq!(load(&client.counters.closes_received), 1);
        server.join().unwrap();
    }
}

#[test]
fn our_close_is_answered() {
    let (url, server) = serve(None, |mut server| {
        let Message::Close(Some(frame)) = server.read().unwrap() else { panic!("no close") };
        assert_eq!(u16::from(frame.code), 1001);
        drain(&mut server);
    });
    let mut client = Client::new();
    let mut connection = client.connect(&url);
    connection.close(monotonic(), 1001);
    let outcome = client.drive(&mut connection, |_| true);
    assert_eq!(outcome, Ok(ReadOutcome::Closed { code: 1001 }));
    server.join().unwrap();
}

/// The client's error after the server did `misbehave` on an open WebSocket's TCP stream.
fn misbehaved(misbehave: impl FnOnce(TcpStream) + Send + 'static) -> NetError {
    let (url, server) = serve_tcp_web_socket(|mut server| {
        server.send(Message::text("hello")).unwrap();
        misbehave(server.get_ref().try_clone().unwrap());
    });
    let mut client = Client::new();
    let mut connection = client.connect(&url);
    let error = client.drive(&mut connection, |_| true).unwrap_err();
    assert_eq!(load(&client.counters.messages), 1, "what came before the fault was handed over");
    let ended = matches!(error, NetError::Ended { .. } | NetError::Lost { .. });
    assert_eq!(load(&client.counters.connections_lost), u64::from(ended));
    assert_eq!(load(&client.counters.connections_refused), u64::from(!ended));
    drop(connection);
    server.join().unwrap();
    error
}

#[test]
fn broken_connections_and_protocols_have_their_error() {
    assert!(matches!(misbehaved(drop), NetError::Ended { .. }));
    let oversized = misbehaved(|mut stream| {
        let mut head = vec![0x81, 127];
        head.extend((8u64 << 20 | 1).to_be_bytes());
        stream.write_all(&head).unwrap();
        read_to_end(stream);
    });
    let NetError::TooLarge { size, size_max, .. } = &oversized else { panic!("{oversized}") };
    assert_eq!((*size, *size_max), ((8 << 20) + 1, 8 << 20));
    for (bytes, word) in [
        (frame(true, 1, b"\xff\xfe"), "UTF-8"),
        (vec![0x81, 0x80, 1, 2, 3, 4], "masked"),
        (vec![0xf1, 0x01, b'x'], "Reserved"),
        (frame(true, 0, b"x"), "Continue"),
        (frame(true, 5, b"x"), "opcode"),
    ] {
        let error = misbehaved(move |mut stream| {
            stream.write_all(&bytes).unwrap();
            read_to_end(stream);
        });
        let text = error.to_string();
        assert!(matches!(error, NetError::Protocol { .. }), "{text}");
        assert!(text.contains(word), "{text}");
        assert!(text.starts_with("127.0.0.1:"), "{text}");
    }
}

#[test]
fn a_tls_stream_that_is_cut_is_lost_and_one_that_is_garbled_is_refused() {
    let authority = Authority::new();
    for garble in [false, true] {
        let config = Arc::clone(&authority.server);
        let (address, server) = serve_tcp(move |stream| {
            let raw = stream.try_clone().unwrap();
            let tls =
                rustls::StreamOwned::new(rustls::ServerConnection::new(config).unwrap(), stream);
            let mut server = tungstenite::accept(tls).unwrap();
            server.send(Message::text("hello")).unwrap();
            if garble {
                // An application-data record that no key decrypts.
                (&raw).write_all(&[23, 3, 3, 0, 32]).unwrap();
                (&raw).write_all(&[9; 32]).unwrap();
                read_to_end(raw);
            }
        });
        let mut client = Client::trusting(&authority);
        let mut connection = client.connect(&format!("wss://localhost:{}/ws", address.port()));
        let error = client.drive(&mut connection, |_| true).unwrap_err();
        if garble {
            assert!(matches!(error, NetError::Tls { .. }), "{error}");
        } else {
            assert!(matches!(error, NetError::Ended { .. }), "{error}");
        }
        drop(connection);
        server.join().unwrap();
    }
}

fn short_deadlines() -> ConnectorConfig {
    ConnectorConfig {
        deadline: Nanos(400 * MS),
        connect_timeout: Nanos(300 * MS),
        ..ConnectorConfig::default()
    }
}

/// The error and the time of an attempt at `url`.
fn failure(
    url: &str,
    config: ConnectorConfig,
    authority: Option<&Authority>,
) -> (NetError, Duration) {
    let mut client = Client::with(config, authority);
    let started = Instant::now();
    let error = client.try_connect(url).unwrap_err();
    (error, started.elapsed())
}

fn check_deadline(url: &str, step: Step) {
    let (error, took) = failure(url, short_deadlines(), None);
    assert!(matches!(&error, NetError::Deadline { step: found, .. } if *found == step), "{error}");
    assert!(
        (Duration::from_millis(290)..Duration::from_millis(1500)).contains(&took),
        "{took:?} {error}"
    );
}

#[test]
fn a_connect_that_nobody_answers_ends_by_its_deadline() {
    let (listener, address) = listener();
    // A full accept queue: further SYNs get no answer.
    rustix::net::listen(&listener, 0).unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        queued.push(stream);
        assert!(queued.len() < 64, "the queue does not fill");
    }
    check_deadline(&format!("ws://{address}/ws"), Step::Connect);
}

#[test]
fn a_tls_handshake_that_hangs_or_drips_ends_by_its_deadline() {
    let (address, server) = serve_tcp(read_to_end);
    check_deadline(&format!("wss://{address}/ws"), Step::Tls);
    server.join().unwrap();
    // A record of 16 KB that comes a byte at a time.
    let (address, server) = serve_tcp(|stream| drip(stream, &[22, 3, 3, 0x40, 0], b"\x02"));
    check_deadline(&format!("wss://{address}/ws"), Step::Tls);
    server.join().unwrap();
}

#[test]
fn an_upgrade_that_hangs_or_drips_ends_by_its_deadline() {
    let (address, server) = serve_tcp(read_to_end);
    check_deadline(&format!("ws://{address}/ws"), Step::Upgrade);
    server.join().unwrap();
    let (address, server) = serve_tcp(|stream| drip(stream, b"HTTP/1.1 101 Switching", b"s"));
    check_deadline(&format!("ws://{address}/ws"), Step::Upgrade);
    server.join().unwrap();
}

/// Sends `first`, then `byte` each 20 ms until the client is gone.
fn drip(mut stream: TcpStream, first: &[u8], byte: &[u8]) {
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    stream.write_all(first).unwrap();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
        if stream.write_all(byte).is_err() {
            return;
        }
    }
}

#[test]
fn an_http_answer_instead_of_a_websocket_is_named() {
    let (address, server) = serve_tcp(|mut stream| {
        read_head(&mut stream).unwrap();
        stream
            .write_all(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 17\r\nContent-Length: 9\r\n\r\ntoo much!")
            .unwrap();
        read_to_end(stream);
    });
    let (error, _) = failure(&format!("ws://{address}/ws"), ConnectorConfig::default(), None);
    let expected = NetError::UpgradeRefused {
        host: address.to_string(),
        status: 429,
        retry_after_s: Some(17),
        body: "too much!".to_owned(),
    };
    assert_eq!(error, expected);
    assert_eq!(
        error.to_string(),
        format!("{address}: wanted a WebSocket (101), the server answered HTTP 429: \"too much!\"")
    );
    server.join().unwrap();

    let (address, server) = serve_tcp(|mut stream| {
        read_head(&mut stream).unwrap();
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n\r\n");
        read_to_end(stream);
    });
    let (error, _) = failure(&format!("ws://{address}/ws"), ConnectorConfig::default(), None);
    assert!(matches!(error, NetError::Protocol { .. }), "{error}");
    server.join().unwrap();

    let (address, server) = serve_tcp(|mut stream| drop(read_head(&mut stream)));
    let (error, _) = failure(&format!("ws://{address}/ws"), ConnectorConfig::default(), None);
    assert!(matches!(error, NetError::Ended { .. } | NetError::Lost { .. }), "{error}");
    server.join().unwrap();
}

#[test]
fn unusable_urls_names_and_ports_are_named() {
    let config = ConnectorConfig::default();
    for url in ["", "https://localhost/ws", "ws:///path", "localhost:80", "ws://a b/"] {
        let (error, _) = failure(url, config, None);
        assert!(matches!(error, NetError::Url { .. }), "{url}: {error}");
    }
    let address = {
        let (_listener, address) = listener();
        address
    };
    let (error, _) = failure(&format!("ws://{address}/ws"), config, None);
    assert!(
        matches!(&error, NetError::Connect { address: tried, .. } if *tried == address.to_string()),
        "{error}"
    );
    let (error, took) = failure("ws://no-such-host.invalid/ws", short_deadlines(), None);
    assert!(
        matches!(error, NetError::Resolve { .. } | NetError::Deadline { step: Step::Resolve, .. }),
        "{error}"
    );
    assert!(took < Duration::from_millis(1500), "{took:?}");
}

#[test]
fn only_trusted_certificates_for_the_host_are_accepted() {
    let authority = Authority::new();
    let handshake = |server: &Authority| {
        let config = Arc::clone(&server.server);
        serve_tcp(move |mut stream| {
            let mut tls = rustls::ServerConnection::new(config).unwrap();
            let _ = tls.complete_io(&mut stream);
            read_to_end(stream);
        })
    };
    for (host, client, word) in [
        ("localhost", None, "UnknownIssuer"),
        ("localhost", Some(Authority::new()), "BadSignature"),
        // 127.0.0.2 is not among the certificate's names.
        ("127.0.0.2", None, "certificate"),
    ] {
        let (address, server) = if host == "127.0.0.2" {
            let listener = std::net::TcpListener::bind((host, 0)).unwrap();
            let address = listener.local_addr().unwrap();
            let config = Arc::clone(&authority.server);
            let server = std::thread::spawn(move || {
                let mut stream = listener.accept().unwrap().0;
                let mut tls = rustls::ServerConnection::new(config).unwrap();
                let _ = tls.complete_io(&mut stream);
                read_to_end(stream);
            });
            (address, server)
        } else {
            handshake(&authority)
        };
        let trusted = if host == "127.0.0.2" { Some(&authority) } else { client.as_ref() };
        let url = format!("wss://{host}:{}/ws", address.port());
        let (error, _) = failure(&url, ConnectorConfig::default(), trusted);
        assert!(matches!(error, NetError::Tls { .. }), "{error}");
        assert!(error.to_string().contains(word), "{error}");
        server.join().unwrap();
    }
}

#[test]
fn unusable_ca_files_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    let error = tls_config(Some(&path)).unwrap_err();
    assert!(error.to_string().contains("ca.pem"), "{error}");
    for content in [
        "",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n",
    ] {
        std::fs::write(&path, content).unwrap();
        let error = tls_config(Some(&path)).unwrap_err();
        assert!(matches!(error, NetError::CaFile { .. }), "{error}");
    }
    assert!(tls_config(None).is_ok());
}

#[test]
fn an_attempt_that_hangs_delays_no_other() {
    let (hung, hanging) = serve_tcp(read_to_end);
    let (url, server) = serve(None, |mut server| drain(&mut server));
    let mut client = Client::new();
    client.request(&format!("wss://{hung}/ws"));
    client.request(&url);
    let started = Instant::now();
    let outcome = client.outcome();
    assert_eq!(outcome.request.connection, 1);
    assert!(outcome.result.is_ok());
    assert!(started.elapsed() < Duration::from_secs(2));
    drop(outcome);
    drop(client);
    hanging.join().unwrap();
    server.join().unwrap();
}

#[test]
fn more_attempts_than_workers_are_all_made() {
    let config = ConnectorConfig { workers_max: 2, ring_capacity: 16, ..short_deadlines() };
    let mut client = Client::with(config, None);
    let (listener, address) = listener();
    // Accepts, keeps and never answers.
    let server =
        std::thread::spawn(move || (0..6).map(|_| listener.accept().unwrap()).collect::<Vec<_>>());
    for _ in 0..6 {
        client.request(&format!("ws://{address}/ws"));
    }
    let mut numbers: Vec<u16> = (0..6).map(|_| client.outcome().request.connection).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
    assert_eq!(load(&client.counters.connect_failed_deadline), 6);
    assert_eq!(load(&client.counters.connect_attempts), 6);
    server.join().unwrap();
}

#[test]
fn the_limit_of_attempts_holds_over_all_connections() {
    let window = Duration::from_millis(400);
    let config = ConnectorConfig {
        attempts_max: 3,
        attempts_window: Nanos(400 * MS),
        ..ConnectorConfig::default()
    };
    let mut client = Client::with(config, None);
    let address = {
        let (_listener, address) = listener();
        address
    };
    for _ in 0..7 {
        client.request(&format!("ws://{address}/ws"));
    }
    let ended: Vec<Instant> = (0..7)
        .map(|_| {
            assert!(matches!(client.outcome().result, Err(NetError::Connect { .. })));
            Instant::now()
        })
        .collect();
    // Refused at once, so the seventh waited for two windows.
    assert!(ended[6] - ended[0] >= 2 * window - Duration::from_millis(50));
    assert_eq!(load(&client.counters.connects_held_back), 2);
}

#[test]
fn the_helper_stops_within_200_ms_while_connecting() {
    let servers = [
        serve_tcp(read_to_end),
        serve_tcp(read_to_end),
        serve_tcp(|s| drip(s, b"HTTP/1.1 1", b"0")),
    ];
    let mut client = Client::new();
    client.request(&format!("wss://{}/ws", servers[0].0));
    client.request(&format!("ws://{}/ws", servers[1].0));
    client.request(&format!("ws://{}/ws", servers[2].0));
    let started = Instant::now();
    while load(&client.counters.connect_attempts) < 3 {
        assert!(started.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    let started = Instant::now();
    client.connector.stop();
    let took = started.elapsed();
    assert!(took < Duration::from_millis(200), "{took:?}");
    for (_, server) in servers {
        server.join().unwrap();
    }
}
