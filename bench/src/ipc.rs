//! From one process to another: publish → every byte read by a process that polls, one message in flight.
//!
//! All ways take turns within each round, in the same two processes, so that a noisy host shows in all of them. The time
//! begins before the publishing call and ends once the reader has every byte; that it had them is checked by their sum,
//! for each message.

pub(crate) mod medium;
mod reader;

use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cobring_frame::EngineDir;

use self::medium::{Medium, Sender};
pub(crate) use self::reader::read;
use crate::child::{OwnDir, Process};
use crate::report::{Figure, Latency, Rounds, Table, latency, mono_ns, progress};
use crate::shared::SharedWords;

/// Messages of a way before it is another's turn.
const TURN: u64 = 1_000;
/// Times that all ways have their turn; one more before them is not timed.
const ROUNDS: usize = 11;
/// Between a message that was read and the next one: the reader polls again, and its lines have settled.
const GAP: Duration = Duration::from_micros(3);
/// A reader that answers nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(20);

/// Words of the page that writer and readers share. Each group stands on lines of its own.
mod control {
    /// Number of the turn, its medium, the number of its first message and how many there are.
    pub(super) const TURN: usize = 0;
    pub(super) const MEDIUM: usize = 1;
    pub(super) const FIRST: usize = 2;
    pub(super) const COUNT: usize = 3;
    /// The reader whose turn it is; [`ALL`] for all of them.
    pub(super) const READER: usize = 4;
    pub(super) const ALL: u64 = u64::MAX;
    /// Of each reader: the turn that it has seen; then messages read, when the last one was, and its sum.
    pub(super) const READERS: usize = 16;
    pub(super) const READER_WORDS: usize = 32;
    pub(super) const READY: usize = 0;
    pub(super) const DONE: usize = 16;
    pub(super) const DONE_AT: usize = 17;
    pub(super) const SUM: usize = 18;
    /// A medium that there is not: the end.
    pub(super) const END: u64 = u64::MAX;
}

/// What one way took in all rounds.
#[derive(Debug, Default)]
struct Measured {
    /// To each reader.
    read: Rounds,
    /// The publishing call alone.
    publish: Rounds,
}

/// The readers, and what they are told by.
struct Stage {
    dir: OwnDir,
    control: SharedWords,
    readers: Vec<Process>,
    /// Of each medium; `None` where it is no way for these readers.
    senders: Vec<(Medium, Box<dyn Sender>)>,
    turn: u64,
    sent: u64,
}

impl Stage {
    fn new(media: &[Medium], readers: &[Kind<'_>]) -> Result<Self, Box<dyn Error>> {
        let dir = OwnDir::in_memory("bench");
        let engine_dir = EngineDir::lock(&dir.0)?;
        let words = control::READERS + readers.len().max(1) * control::READER_WORDS;
        let control = SharedWords::create(&dir.0.join("control"), words)?;
        let mut senders: Vec<(Medium, Box<dyn Sender>)> = Vec::new();
        for medium in media {
            senders.push((*medium, medium.sender(&dir.0, &engine_dir)?));
        }
        let mut stage = Self { dir, control, readers: Vec::new(), senders, turn: 0, sent: 0 };
        for (number, kind) in readers.iter().enumerate() {
            let reader = start_reader(&stage.dir.0, number, *kind, media)?;
            stage.readers.push(reader);
        }
        Ok(stage)
    }

    /// Every medium in turn; `measured` has one for each.
    fn round(&mut self, measured: &mut [Measured]) -> Result<(), Box<dyn Error>> {
        for (at, measured) in measured.iter_mut().enumerate() {
            let (read, publish) = self.take_turn(at)?;
            measured.read.push(read);
            measured.publish.push(publish);
        }
        Ok(())
    }

    fn take_turn(&mut self, at: usize) -> Result<(Latency, Latency), Box<dyn Error>> {
        let only = self.senders[at].0.reader();
        let readers = only.map_or(0..self.readers.len(), |reader| reader..reader + 1);
        self.announce(at as u64, only.map_or(control::ALL, |reader| reader as u64));
        for reader in 0..self.readers.len() {
            let ready = control::READERS + reader * control::READER_WORDS + control::READY;
            wait_until(|| self.control.word(ready).load(Ordering::Acquire) == self.turn)?;
        }
        // They have said so just before they begin.
        pause(10 * GAP);
        let (mut read, mut publish) = (latency(), latency());
        let (medium, sender) = &mut self.senders[at];
        let mut payload = vec![0u64; medium.payload_words()];
        for number in self.sent..self.sent + TURN {
            let wanted = medium.fill(&mut payload, number);
            pause(GAP);
            let began = mono_ns();
            sender.send(&payload)?;
            publish.saturating_record(mono_ns() - began);
            for reader in readers.clone() {
                let line = control::READERS + reader * control::READER_WORDS;
                wait_until(|| {
                    self.control.word(line + control::DONE).load(Ordering::Acquire) > number
                })?;
                let word = |at| self.control.word(line + at).load(Ordering::Relaxed);
                let found = word(control::SUM);
                if found != wanted {
                    let name = medium.name();
                    return Err(format!(
                        "{name}: message {number} was read as {found:x}, sent as {wanted:x}"
                    )
                    .into());
                }
                read.saturating_record(word(control::DONE_AT).saturating_sub(began));
            }
        }
        self.sent += TURN;
        Ok((read, publish))
    }

    /// Tells the readers what comes.
    fn announce(&mut self, medium: u64, reader: u64) {
        self.turn += 1;
        for (at, word) in [
            (control::MEDIUM, medium),
            (control::READER, reader),
            (control::FIRST, self.sent),
            (control::COUNT, TURN),
        ] {
            self.control.word(at).store(word, Ordering::Relaxed);
        }
        self.control.word(control::TURN).store(self.turn, Ordering::Release); // to the readers' Acquire
    }

    fn end(mut self) -> Result<(), Box<dyn Error>> {
        self.announce(control::END, control::ALL);
        for reader in &mut self.readers {
            if !reader.wait()?.success() {
                return Err("a reader has failed; its message is above".into());
            }
        }
        Ok(())
    }
}

fn pause(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        std::hint::spin_loop();
    }
}

fn wait_until(mut is_so: impl FnMut() -> bool) -> Result<(), Box<dyn Error>> {
    let mut looks = 0u32;
    let mut deadline = None;
    while !is_so() {
        std::hint::spin_loop();
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(1 << 20)
            && Instant::now() > *deadline.get_or_insert_with(|| Instant::now() + PATIENCE)
        {
            return Err("a reader is silent; its message is above".into());
        }
    }
    Ok(())
}

/// What reads.
#[derive(Debug, Clone, Copy)]
enum Kind<'a> {
    /// This program again.
    Rust,
    /// That interpreter, with the package `cobring`.
    Python(&'a Path),
}

/// What reads in Python.
const PYTHON_READER: &str = include_str!("../peers/ipc_reader.py");

fn start_reader(
    dir: &Path,
    number: usize,
    kind: Kind<'_>,
    media: &[Medium],
) -> Result<Process, Box<dyn Error>> {
    let mut command = match kind {
        Kind::Rust => {
            let mut command = Process::this_program()?;
            command.arg("read-ipc");
            command
        }
        Kind::Python(python) => {
            let mut command = Command::new(python);
            command.args(["-c", PYTHON_READER]);
            command
        }
    };
    command.arg(number.to_string()).arg(dir).args(media.iter().map(Medium::name));
    Process::start(command)
}

fn measure(media: &[Medium], readers: &[Kind<'_>]) -> Result<Vec<Measured>, Box<dyn Error>> {
    let mut stage = Stage::new(media, readers)?;
    let mut warm_up: Vec<Measured> = media.iter().map(|_| Measured::default()).collect();
    let mut measured: Vec<Measured> = media.iter().map(|_| Measured::default()).collect();
    stage.round(&mut warm_up)?;
    for _ in 0..ROUNDS {
        stage.round(&mut measured)?;
    }
    stage.end()?;
    Ok(measured)
}

/// The ring alone with 0, 1 and cores − 1 readers, then beside the others.
pub(crate) fn run(python: Option<&Path>, json: bool) -> Result<(), Box<dyn Error>> {
    let cores = std::thread::available_parallelism()?.get();
    let mut counts = vec![0, 1, cores.saturating_sub(1)];
    counts.dedup();
    let media: Vec<Medium> = medium::SIZES.map(Medium::Frames).to_vec();
    for count in counts {
        progress(&format!("ipc with {count} polling readers"));
        let measured = measure(&media, &vec![Kind::Rust; count])?;
        let table = Table::new(&format!("{count} readers, ns"), json)?;
        for (medium, measured) in media.iter().zip(&measured) {
            let name = medium.name();
            table.row(&format!("publish_{name}_{count}"), &measured.publish.merged())?;
            if count > 0 {
                table.row(&format!("read_{name}_{count}"), &measured.read.merged())?;
            }
        }
    }
    compare(python, json)
}

/// The ring beside bare seqlocks, iceoryx2, and a reader in Python.
pub(crate) fn compare(python: Option<&Path>, json: bool) -> Result<(), Box<dyn Error>> {
    progress("ipc beside others");
    let mut media = Vec::new();
    for size in medium::SIZES {
        media.extend([Medium::Frames(size), Medium::SeqlockRing(size), Medium::SeqlockSlot(size)]);
        #[cfg(feature = "peers")]
        media.push(Medium::Iceoryx2(size));
    }
    let measured = measure(&media, &[Kind::Rust])?;
    let mut ours = &measured[0];
    for (medium, measured) in media.iter().zip(&measured) {
        let goal = match medium {
            Medium::Frames(_) | Medium::Engine(_) => {
                ours = measured;
                continue;
            }
            // The same number of slots: with one, the writer finds its lines in its own cache.
            Medium::SeqlockRing(_) => Some(1.0 / 1.15),
            Medium::SeqlockSlot(_) => None,
            #[cfg(feature = "peers")]
            Medium::Iceoryx2(256) => Some(2.0),
            #[cfg(feature = "peers")]
            Medium::Iceoryx2(_) => Some(1.3),
        };
        let (ours_ns, peer_ns) = (ours.read.at(0.5), measured.read.at(0.5));
        let figure = format!("ipc_{}", medium.payload_words() * 8);
        Figure { figure: &figure, peer: medium.peer(), ours_ns, peer_ns, goal }.print(json)?;
    }
    match python {
        Some(python) => compare_python(python, json)?,
        None => writeln!(io::stderr(), "bench: no Python reader: name an interpreter by --python")?,
    }
    Ok(())
}

/// Whole frames of the engine, to a reader in Rust and to one in Python in turns.
fn compare_python(python: &Path, json: bool) -> Result<(), Box<dyn Error>> {
    progress("ipc to Python");
    let media = [Medium::Engine(0), Medium::Engine(1)];
    let measured = measure(&media, &[Kind::Rust, Kind::Python(python)])?;
    let [rust_ns, python_ns] = [&measured[0], &measured[1]].map(|measured| measured.read.at(0.5));
    // Ours is the reader in Python here: at most twice the other.
    let (figure, peer) = ("ipc_python", "the reader in Rust");
    Figure { figure, peer, ours_ns: python_ns, peer_ns: rust_ns, goal: Some(0.5) }.print(json)?;
    Ok(())
}
