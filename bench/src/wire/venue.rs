//! The venue of the bench: recorded messages as WebSocket frames, and the recorded snapshots over REST.

use std::error::Error;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use cobring_frame::{FrameHead, Trigger};
use cobring_pipeline::config::Config;
use cobring_pipeline::recording::Recording;
use cobring_types::{Event, Stamp, Symbol, SymbolIndex};
use cobring_venue::binance::Decoder;

/// What a frame shows once the message is folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// The book's update id.
    Depth(u64),
    /// The update id of the best prices, or a later one of the book.
    Quote(u64),
    Trade,
}

impl Shown {
    pub(super) fn trigger(self) -> Trigger {
        match self {
            Self::Depth(_) => Trigger::Depth,
            Self::Quote(_) => Trigger::Quote,
            Self::Trade => Trigger::Trade,
        }
    }

    /// Whether the frame shows it; of a book that is not live yet nothing is asked.
    pub(super) fn is_in(self, head: &FrameHead) -> bool {
        const LIVE: u8 = 2;
        match self {
            Self::Depth(update_id) => {
                head.book.book_state != LIVE || head.book.update_id == update_id
            }
            Self::Quote(update_id) => head.top.update_id >= update_id,
            Self::Trade => true,
        }
    }
}

/// A recorded message as it goes over the wire.
pub(super) struct Message {
    pub(super) symbol: usize,
    pub(super) shown: Shown,
    /// A whole WebSocket frame.
    pub(super) frame: Vec<u8>,
    /// Where the venue's times stand in it, in ms: 13 digits each.
    times_at: Vec<usize>,
}

const TIME_DIGITS: usize = 13;

impl Message {
    /// Lets the venue's times be now: an engine that is told of the past would rightly complain.
    pub(super) fn stamp(&mut self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut ms = now.as_millis();
        let mut digits = [b'0'; TIME_DIGITS];
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + u8::try_from(ms % 10).unwrap_or_default();
            ms /= 10;
        }
        for &at in &self.times_at {
            self.frame[at..at + TIME_DIGITS].copy_from_slice(&digits);
        }
    }
}

/// What there is to be sent.
pub(super) struct Tape {
    pub(super) symbols: Vec<Symbol>,
    pub(super) messages: Vec<Message>,
    /// Of each symbol.
    snapshots: Vec<Vec<u8>>,
}

impl Tape {
    pub(super) fn load(files: &[PathBuf]) -> Result<Self, Box<dyn Error>> {
        let configs = Config::built_in().symbol_configs();
        let symbols: Vec<Symbol> = configs.iter().map(|config| config.instrument.symbol).collect();
        let instruments = configs.into_iter().map(|config| config.instrument).collect();
        let mut decoder = Decoder::new(instruments);
        let mut snapshots = vec![Vec::new(); symbols.len()];
        let (mut messages, mut recording) = (Vec::new(), Recording::open(files)?);
        while let Some(line) = recording.next()? {
            if line.snapshot {
                let name = line.symbol.unwrap_or_default();
                let is_of = |symbol: &Symbol| symbol.as_str().eq_ignore_ascii_case(name);
                let symbol = symbols.iter().position(is_of).ok_or("a snapshot of no symbol")?;
                snapshots[symbol] = line.bytes.to_vec();
                continue;
            }
            let input = line.input(0, SymbolIndex::NONE);
            let decoded =
                decoder.decode(&input, &mut |_: &Stamp, symbol: SymbolIndex, event: &Event<'_>| {
                    let shown = match event {
                        Event::Depth(update) => Shown::Depth(update.last_update_id),
                        Event::Quote(quote) => Shown::Quote(quote.update_id),
                        _ => Shown::Trade,
                    };
                    messages.push(message(symbol.at(), shown, input.bytes));
                });
            decoded.map_err(|error| format!("message {}: {error}", messages.len()))?;
        }
        if snapshots.iter().any(Vec::is_empty) {
            return Err("a symbol's recording without a snapshot".into());
        }
        Ok(Self { symbols, messages, snapshots })
    }
}

/// An unmasked text frame, as servers send them (RFC 6455, 5.2).
fn message(symbol: usize, shown: Shown, text: &[u8]) -> Message {
    const TEXT_FRAME: u8 = 0x81;
    const LENGTH_16_BITS: u8 = 126;
    const LENGTH_64_BITS: u8 = 127;
    let mut frame = vec![TEXT_FRAME];
    match (u8::try_from(text.len()), u16::try_from(text.len())) {
        (Ok(length), _) if length < LENGTH_16_BITS => frame.push(length),
        (_, Ok(length)) => {
            frame.push(LENGTH_16_BITS);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(LENGTH_64_BITS);
            frame.extend((text.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(text);
    let mut times_at = Vec::new();
    for key in [&b"\"E\":"[..], b"\"T\":"] {
        let found = frame.windows(key.len()).position(|window| window == key);
        times_at.extend(found.map(|at| at + key.len()));
    }
    Message { symbol, shown, frame, times_at }
}

/// Answers REST requests in a thread that ends with the process; returns its port.
pub(super) fn serve_rest(tape: &Tape) -> io::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    let symbols = tape.symbols.iter().map(ToString::to_string);
    let snapshots: Vec<_> = symbols.zip(tape.snapshots.iter().cloned()).collect();
    let snapshots = Arc::new(snapshots);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let snapshots = Arc::clone(&snapshots);
            // A client that went away.
            thread::spawn(move || answer(stream, &snapshots).unwrap_or_default());
        }
    });
    Ok(port)
}

/// Requests of one connection, in turn.
fn answer(mut stream: TcpStream, snapshots: &[(String, Vec<u8>)]) -> io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while let Some(request) = lines.next().transpose()? {
        for header in lines.by_ref() {
            if header?.is_empty() {
                break;
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = format!("{{\"serverTime\":{}}}", now.as_millis());
        let of = |(symbol, _): &&(String, Vec<u8>)| request.contains(symbol.as_str());
        let body = match snapshots.iter().find(of) {
            Some((_, snapshot)) if request.contains("/depth") => snapshot.as_slice(),
            _ if request.contains("/time") => time.as_bytes(),
            _ => b"[]",
        };
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len())?;
        stream.write_all(body)?;
    }
    Ok(())
}

/// The next WebSocket that somebody opens.
pub(super) fn accept(listener: &TcpListener) -> Result<TcpStream, Box<dyn Error>> {
    let (stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let accepted = tungstenite::accept(stream.try_clone()?);
    accepted.map_err(|error| format!("no WebSocket: {error}"))?;
    Ok(stream)
}
