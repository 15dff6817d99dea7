//! Server → socket → engine → reading process: recorded messages over loopback, until the frame is read.
//!
//! With fewer than four cores one message is in flight between two processes, in turns with a bare receive of the same
//! messages; with four or more, messages are also sent at stated rates (`open_loop.rs`). Each frame is checked to show what
//! its message said.

mod open_loop;
mod venue;

use std::error::Error;
use std::fs;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cobring_frame::{FrameHead, FrameImage, FrameLayout, Next, Reader, Times, Trigger};
use cobring_pipeline::config::Config;
use cobring_pipeline::live;
use rustix::process::{Signal, set_parent_process_death_signal};

use self::venue::{Message, Tape};
use crate::child::{OwnDir, Process};
use crate::report::{Figure, Latency, Rounds, Table, latency, mono_ns, progress};
use crate::shared::SharedWords;

/// Cores from which on server, engine and reader each have one and the rest of the host another.
const CORES_FOR_ALL: usize = 4;
/// Messages of a turn.
const TURN: usize = 500;
/// Turns that are timed.
const ROUNDS: usize = 31;
/// Messages before the first turn: the snapshots come meanwhile, and all is warm.
const WARM_UP: usize = 4_000;
/// Between two of the first messages.
const WARM_UP_PACE: Duration = Duration::from_millis(1);
/// From a message that was read to the next one: the engine has done what it does behind a frame.
const GAP: Duration = Duration::from_micros(30);
/// An engine from which no frame of a message has come for so long has none left.
const QUIET: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(20);
/// How much longer than a bare receive a message may take until its frame is read.
const ABOVE_RAW_NS: f64 = 2_000.0;

/// Words of the page that the bare receiver is told by.
mod control {
    /// Turn that it is to take (an even one: none), turn that it is in, bytes received.
    pub(super) const TURN: usize = 0;
    pub(super) const READY: usize = 16;
    pub(super) const DONE: usize = 32;
    pub(super) const WORDS: usize = 48;
    pub(super) const END: u64 = u64::MAX;
}

/// Where a message's time goes, by the stamps of its frame, ns.
type Parts = [u64; PARTS.len()];
const PARTS: [&str; 5] =
    ["kernel_stamped", "stamped_parsed", "parsed_applied", "applied_published", "published_read"];

/// `read` is when the frame was, by `CLOCK_MONOTONIC`.
fn parts(times: &Times, read: u64, mono_minus_ts: i64) -> Parts {
    let read = read.cast_signed() - mono_minus_ts;
    let stamps = [
        times.ts_kernel,
        times.ts_recv,
        times.ts_parsed,
        times.ts_applied,
        times.ts_published,
        read,
    ];
    std::array::from_fn(|at| u64::try_from(stamps[at + 1] - stamps[at]).unwrap_or_default())
}

/// The engine in a process of its own, what it is fed by and how its frames are read.
struct Engine {
    process: Process,
    socket: TcpStream,
    readers: Vec<Frames>,
    _dir: OwnDir,
}

/// Frames of one symbol.
struct Frames {
    reader: Reader,
    image: FrameImage,
    words: Vec<u64>,
}

impl Frames {
    /// The next frame that a message has brought, if it is there, and when it was read whole.
    fn poll(&mut self) -> Result<Option<(u64, &FrameHead)>, Box<dyn Error>> {
        match self.reader.next(&mut self.words)? {
            Next::Empty => Ok(None),
            Next::Lapped { lost } => Err(format!("{lost} frames were missed").into()),
            Next::Frame { .. } => {
                let read = mono_ns();
                if !self.image.copy_from_words(&self.words) {
                    return Err("frames of another size".into());
                }
                let head = self.image.head();
                let is_of_a_message = head.identity.trigger <= Trigger::Trade as u8;
                Ok(is_of_a_message.then_some((read, head)))
            }
        }
    }
}

impl Engine {
    fn start(tape: &Tape) -> Result<Self, Box<dyn Error>> {
        let dir = OwnDir::in_memory("bench");
        fs::create_dir_all(&dir.0)?;
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let websocket_port = listener.local_addr()?.port();
        let rest_port = venue::serve_rest(tape)?;
        let shared_memory = dir.0.join("engine");
        // What is not the engine's latency is left out: klines that nobody has, the hash behind each frame.
        let config = format!(
            "[engine]\nshared_memory_dir = {shared_memory:?}\nlayout = \"fused\"\nidle = \"spin\"\nframe_hash = false\n\
             [log]\ndir = {:?}\nresume_within_h = 0\n\
             [venue.binance]\nwebsocket_url = \"ws://127.0.0.1:{websocket_port}\"\n\
             rest_url = \"http://127.0.0.1:{rest_port}\"\ntrade_stream = \"trade\"\nverify_tick_size = false\n\
             [symbol_defaults]\nklines = false\nbackfill_trades_max = 0\n\
             [symbols.BTCUSDT]\ntick_size = \"0.01\"\nbucket_size = \"10\"\nrange = \"50\"\n\
             [symbols.ETHUSDT]\ntick_size = \"0.01\"\nbucket_size = \"1\"\nrange = \"5\"\n",
            dir.0.join("log"),
        );
        let path = dir.0.join("bench.toml");
        fs::write(&path, config)?;
        let process = start(&["wire-engine", &path.to_string_lossy()])?;
        let socket = venue::accept(&listener)?;
        let layout = FrameLayout::new(Config::built_in().symbol_defaults.radius, 0)
            .map_err(|bytes| format!("a frame of {bytes} bytes"))?;
        let mut readers = Vec::new();
        for symbol in &tape.symbols {
            let reader = Reader::open(&shared_memory, symbol.as_str())?;
            let words = vec![0; layout.size_bytes() / 8];
            readers.push(Frames { reader, image: FrameImage::new(layout), words });
        }
        Ok(Self { process, socket, readers, _dir: dir })
    }

    /// Sends a message and reads its frame: the time from before the one until after the other, and where of it the
    /// engine says that it was spent.
    fn pass(&mut self, message: &mut Message) -> Result<(u64, Parts), Box<dyn Error>> {
        message.stamp();
        pause(GAP);
        let frames = &mut self.readers[message.symbol];
        let mono_minus_ts = frames.reader.mono_minus_ts();
        let began = mono_ns();
        self.socket.write_all(&message.frame)?;
        let started = Instant::now();
        loop {
            if let Some((read, head)) = frames.poll()? {
                let shown = message.shown;
                if head.identity.trigger != shown.trigger() as u8 || !shown.is_in(head) {
                    let found = (head.identity.trigger, head.book.update_id, head.top.update_id);
                    return Err(format!("a frame shows {found:?}, wanted {shown:?}").into());
                }
                return Ok((read - began, parts(&head.times, read, mono_minus_ts)));
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("no frame shows {:?}", message.shown).into());
            }
        }
    }

    /// Passes over the frames of what came before, until no more come.
    fn settle(&mut self) -> Result<(), Box<dyn Error>> {
        for frames in &mut self.readers {
            frames.reader.seek_newest();
        }
        let mut last = Instant::now();
        while last.elapsed() < QUIET {
            for frames in &mut self.readers {
                if frames.poll()?.is_some() {
                    last = Instant::now();
                }
            }
        }
        Ok(())
    }

    /// Sends what comes before the first turn, which brings no frames until the snapshots are there, and waits until all
    /// books are live.
    fn warm_up(&mut self, messages: &mut [Message]) -> Result<(), Box<dyn Error>> {
        let (first, rest) = messages.split_at_mut(WARM_UP / 4);
        for message in first {
            message.stamp();
            self.socket.write_all(&message.frame)?;
            thread::sleep(WARM_UP_PACE);
        }
        self.settle()?;
        self.check_live()?;
        for message in rest {
            self.pass(message)?;
        }
        Ok(())
    }

    /// What is timed is whole frames of whole books.
    fn check_live(&mut self) -> Result<(), Box<dyn Error>> {
        const LIVE: u8 = 2;
        for frames in &mut self.readers {
            let latest = frames.reader.latest(&mut frames.words)?;
            frames.image.copy_from_words(&frames.words);
            let book = &frames.image.head().book;
            if latest.is_none() || book.book_state != LIVE || book.levels_known_bid < 100 {
                let symbol = frames.reader.symbol();
                return Err(format!("{symbol}: the book is in state {}", book.book_state).into());
            }
        }
        Ok(())
    }
}

/// A process that receives the same messages and does nothing else.
struct Raw {
    _process: Process,
    socket: TcpStream,
    control: SharedWords,
    turn: u64,
    sent: u64,
    _dir: OwnDir,
}

impl Raw {
    fn start() -> Result<Self, Box<dyn Error>> {
        let dir = OwnDir::in_memory("raw");
        fs::create_dir_all(&dir.0)?;
        let path = dir.0.join("control");
        let control = SharedWords::create(&path, control::WORDS)?;
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port().to_string();
        let process = start(&["wire-raw", &path.to_string_lossy(), &port])?;
        let (socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        Ok(Self { _process: process, socket, control, turn: 0, sent: 0, _dir: dir })
    }

    fn begin_turn(&mut self) -> Result<(), Box<dyn Error>> {
        self.turn += 1;
        self.control.word(control::TURN).store(self.turn, Ordering::Release); // to the receiver's Acquire
        let ready = self.control.word(control::READY);
        wait_until("the bare receiver", || ready.load(Ordering::Acquire) == self.turn)
    }

    /// The receiver sleeps until its next turn.
    fn end_turn(&mut self) {
        self.turn += 1;
        self.control.word(control::TURN).store(self.turn, Ordering::Release); // to the receiver's Acquire
    }

    fn pass(&mut self, message: &Message) -> Result<u64, Box<dyn Error>> {
        pause(GAP);
        let done = self.control.word(control::DONE);
        self.sent += message.frame.len() as u64;
        let began = mono_ns();
        self.socket.write_all(&message.frame)?;
        wait_until("the bare receiver", || done.load(Ordering::Acquire) == self.sent)?;
        Ok(mono_ns() - began)
    }
}

/// What the bare receiver does: in odd turns it takes bytes and counts them, without ever sleeping.
pub(crate) fn raw(control: &Path, port: u16) -> Result<(), Box<dyn Error>> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let control = SharedWords::open(control)?;
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_nonblocking(true)?;
    let mut buffer = vec![0; 16 << 10];
    let (mut received, mut seen) = (0, 0);
    writeln!(io::stdout(), "ready")?;
    loop {
        let turn = control.word(control::TURN).load(Ordering::Acquire);
        if turn == control::END {
            return Ok(());
        }
        if turn.is_multiple_of(2) {
            thread::sleep(Duration::from_micros(100));
            continue;
        }
        if turn != seen {
            seen = turn;
            control.word(control::READY).store(turn, Ordering::Release); // to the server's Acquire
        }
        match socket.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(bytes) => {
                received += bytes as u64;
                control.word(control::DONE).store(received, Ordering::Release); // to the server's Acquire
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// What the engine's process does.
pub(crate) fn engine(config: &Path) -> Result<(), Box<dyn Error>> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let config = Config::load(config)?;
    live::run(&config, Arc::new(AtomicBool::new(false)), (), |_| {
        // Who waits for the line notices that it is missing.
        let _ = writeln!(io::stdout(), "ready");
    })?;
    Ok(())
}

/// This program again, with other arguments.
fn start(arguments: &[&str]) -> Result<Process, Box<dyn Error>> {
    let mut command = Process::this_program()?;
    command.args(arguments);
    Process::start(command)
}

fn pause(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        std::hint::spin_loop();
    }
}

fn wait_until(who: &str, mut is_so: impl FnMut() -> bool) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    while !is_so() {
        if began.elapsed() > PATIENCE {
            return Err(format!("{who} is silent").into());
        }
    }
    Ok(())
}

/// One message in flight and, where there are cores enough, open loop; given rates, these alone.
pub(crate) fn run(
    files: &[PathBuf],
    rates: &[u32],
    out: &Path,
    json: bool,
) -> Result<(), Box<dyn Error>> {
    if !rates.is_empty() {
        return open_loop::run(files, rates, out, json);
    }
    one_in_flight(files, true, json)?;
    let cores = thread::available_parallelism()?.get();
    if cores < CORES_FOR_ALL {
        progress(&format!(
            "{cores} cores: server, engine and reader cannot all spin; no open loop (--rate forces it)"
        ));
        return Ok(());
    }
    open_loop::run(files, &open_loop::RATES, out, json)
}

/// The engine and a bare receive of the same messages, in turns.
pub(crate) fn one_in_flight(
    files: &[PathBuf],
    is_table: bool,
    json: bool,
) -> Result<(), Box<dyn Error>> {
    progress("wire, one message in flight");
    let mut tape = Tape::load(files)?;
    if tape.messages.len() < WARM_UP + ROUNDS * TURN {
        return Err(format!("{} messages are too few", tape.messages.len()).into());
    }
    let mut raw = Raw::start()?;
    let mut engine = Engine::start(&tape)?;
    let (warm_up, messages) = tape.messages.split_at_mut(WARM_UP);
    engine.warm_up(warm_up)?;
    let (mut ours, mut bare) = (Rounds::default(), Rounds::default());
    let mut kinds = [("depth", latency()), ("bookTicker", latency()), ("trade", latency())];
    let mut spent = PARTS.map(|name| (name, latency()));
    for messages in messages.chunks_exact_mut(TURN).take(ROUNDS) {
        let (mut by_engine, mut by_raw): (Latency, Latency) = (latency(), latency());
        for message in messages.iter_mut() {
            let (ns, parts) = engine.pass(message)?;
            for ((_, latency), ns) in spent.iter_mut().zip(parts) {
                latency.saturating_record(ns);
            }
            by_engine.saturating_record(ns);
            kinds[message.shown.trigger() as usize].1.saturating_record(ns);
        }
        engine.process.stop()?;
        raw.begin_turn()?;
        for message in messages.iter() {
            by_raw.saturating_record(raw.pass(message)?);
        }
        raw.end_turn();
        engine.process.go_on()?;
        engine.settle()?;
        ours.push(by_engine);
        bare.push(by_raw);
    }
    engine.check_live()?;
    if is_table {
        let table = Table::new("socket → frame read, ns", json)?;
        table.row("wire_raw_recv", &bare.merged())?;
        table.row("wire_engine", &ours.merged())?;
        for (name, latency) in kinds.iter().chain(&spent) {
            table.row(&format!("wire_engine_{name}"), latency)?;
        }
    }
    // As a ratio of at least 1: a bare receive and two microseconds, to ours.
    let (ours_ns, peer_ns) = (ours.at(0.5), bare.at(0.5) + ABOVE_RAW_NS);
    let (figure, peer) = ("wire_p50", "raw recv and 2 µs");
    Figure { figure, peer, ours_ns, peer_ns, goal: Some(1.0) }.print(json)?;
    Ok(())
}
