//! Frames of recordings and logs. Guarantees: the very code of a live run makes them, byte for byte the frames that the
//! run published; while the caller holds a frame the replay stands still, so every window is as it was at that frame.
//! Needs: a thread, which ends with the iterator. Does not: run ahead.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use cobring_frame::Reader;
use cobring_pipeline::config::Config;
use cobring_pipeline::fold::{FoldState, Observer, SymbolFold};
use cobring_pipeline::idle::Idle;
use cobring_pipeline::replay::{self, ReplayLayout, ReplaySetup};
use cobring_pipeline::stages::{Layout, StagedSetup};
use cobring_types::Nanos;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors;
use crate::frame::{Frame, Segment};
use crate::reader::{REFERENCE, segment_of};
use crate::reference::Reference;

/// Between two looks for Ctrl-C.
const SLICE: Duration = Duration::from_millis(100);

enum Message {
    /// Before the first frame: the segments of symbol and reference.
    Begin(Box<Reader>, Option<Box<Reader>>),
    Frame(Box<[u64]>),
    Failed(String),
}

/// Sends one symbol's frames, and goes on when it is told to.
struct Watcher {
    symbol: usize,
    reference: Option<usize>,
    at_seq: u64,
    begun: bool,
    /// Nobody listens any more.
    stop: Arc<AtomicBool>,
    messages: SyncSender<Message>,
    go: Receiver<()>,
}

impl Watcher {
    fn send(&self, message: Message) {
        if self.messages.send(message).is_err() {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

impl Observer for Watcher {
    fn after_timer(&mut self, _: Nanos, _: &[SymbolFold]) {}

    fn after_frame(&mut self, at: usize, symbols: &[SymbolFold]) {
        let symbol = &symbols[self.symbol];
        if at != self.symbol || symbol.frames() <= self.at_seq || self.stop.load(Ordering::Relaxed)
        {
            return;
        }
        if !self.begun {
            self.begun = true;
            let twin = |at: usize| Box::new(symbols[at].reader().twin());
            self.send(Message::Begin(twin(self.symbol), self.reference.map(twin)));
        }
        self.send(Message::Frame(symbol.market().image().words().into()));
        if self.go.recv().is_err() {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn at_checkpoint(&mut self, _: u64, _: FoldState<'_>) {}
}

/// Iterator over the frames of recordings or logs; made by cobring.replay().
#[pyclass(module = "cobring")]
#[derive(Debug)]
pub(crate) struct Replay {
    symbol: String,
    segment: Option<Arc<Segment>>,
    /// None once it has ended. Never contended: locks so that the object may be seen from several threads.
    ends: Mutex<Option<Ends>>,
    stop: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Ends {
    messages: Receiver<Message>,
    go: SyncSender<()>,
    /// A frame is out, and the replay stands still.
    holds: bool,
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[pymethods]
impl Replay {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Option<Frame>> {
        let ends = self.ends.get_mut().unwrap_or_else(PoisonError::into_inner);
        loop {
            let Some(open) = ends.as_mut() else { return Ok(None) };
            if open.holds {
                open.holds = false;
                // Where the thread has ended its last message says why.
                let _ = open.go.send(());
            }
            let messages = &mut open.messages;
            match py.detach(move || messages.recv_timeout(SLICE)) {
                Ok(Message::Begin(reader, reference)) => {
                    let reference =
                        reference.map(|reader| Reference::of_reader(py, *reader)).transpose()?;
                    self.segment = Some(segment_of(py, &reader, reference.map(Arc::new).as_ref())?);
                }
                Ok(Message::Frame(words)) => {
                    open.holds = true;
                    let segment = self.segment.as_ref();
                    return Ok(segment.map(|segment| Frame::new(words, Arc::clone(segment))));
                }
                Ok(Message::Failed(message)) => {
                    *ends = None;
                    return Err(errors::other(py, message));
                }
                Err(RecvTimeoutError::Timeout) => py.check_signals()?,
                Err(RecvTimeoutError::Disconnected) => *ends = None,
            }
        }
    }

    #[getter]
    fn symbol(&self) -> &str {
        &self.symbol
    }

    fn __repr__(&self) -> String {
        format!("<cobring.Replay {}>", self.symbol)
    }
}

fn config_of(path: Option<&PathBuf>, settings: Option<&str>) -> Result<Config, String> {
    let config = match (path, settings) {
        (Some(path), _) => Config::load(path),
        (None, Some(settings)) => Config::from_fold_text(settings),
        (None, None) => Ok(Config::built_in()),
    };
    config.map_err(|error| error.to_string())
}

/// The frames of recordings (lines of '<receive ns> <raw message>', plain, .gz or .zst) or of the engine's own logs,
/// byte for byte those of the run.
///
/// symbol: whose frames, where the files hold several; reference: the symbol that panels set beside it; at_seq: the
/// first frame to give; config: settings of the symbols, by default the built-in ones, for logs those of the run.
#[pyfunction]
#[pyo3(name = "replay", signature = (paths, symbol = None, reference = Some(REFERENCE.to_owned()), at_seq = 0, *, config = None))]
pub(crate) fn open(
    py: Python<'_>,
    paths: &Bound<'_, PyAny>,
    symbol: Option<String>,
    reference: Option<String>,
    at_seq: u64,
    config: Option<PathBuf>,
) -> PyResult<Replay> {
    let paths: Vec<PathBuf> =
        paths.extract::<PathBuf>().map_or_else(|_| paths.extract(), |path| Ok(vec![path]))?;
    let failed = |error: String| errors::other(py, error);
    if paths.is_empty() {
        return Err(PyValueError::new_err("no files were given"));
    }
    let inputs = replay::open(&paths).map_err(|error| failed(error.to_string()))?;
    let config = config_of(config.as_ref(), inputs.settings()).map_err(failed)?;
    let occurring = inputs.symbols().map_err(|error| failed(error.to_string()))?;
    let mut symbols = config.symbol_configs();
    symbols.retain(|symbol| occurring.contains(symbol.instrument.symbol.as_str()));
    let names: Vec<String> = symbols.iter().map(|s| s.instrument.symbol.to_string()).collect();
    let place = |wanted: &str| names.iter().position(|name| name == wanted);
    let wanted = match (&symbol, names.as_slice()) {
        (Some(symbol), _) => symbol.clone(),
        (None, [only]) => only.clone(),
        (None, _) => {
            let names = names.join(", ");
            return Err(PyValueError::new_err(format!("symbol: wanted one of {names}")));
        }
    };
    let at = place(&wanted).ok_or_else(|| {
        let names = names.join(", ");
        PyValueError::new_err(format!("symbol {wanted:?}: the files hold {names}"))
    })?;
    let setup = ReplaySetup {
        symbols,
        settings: config.fold_digest_text(),
        layout: ReplayLayout::OfRun(Layout::Fused),
        staged: StagedSetup {
            raw_ring_bytes: config.engine.raw_ring_bytes,
            event_ring_bytes: config.engine.event_ring_bytes,
            idle: Idle::Yield,
            cores: [None, None],
        },
        hash: false,
        is_own_process: false,
        log_dir: None,
    };
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, messages) = sync_channel(1);
    let (go, going) = sync_channel(1);
    let watcher = Watcher {
        symbol: at,
        reference: reference.as_deref().and_then(place).filter(|&other| other != at),
        at_seq,
        begun: false,
        stop: Arc::clone(&stop),
        messages: sender.clone(),
        go: going,
    };
    let until = Arc::clone(&stop);
    let run = move || {
        let replayed = replay::replay_until(inputs, &setup, watcher, |_, _| {}, &until);
        if let Err(error) = replayed {
            // Where nobody listens nobody minds.
            let _ = sender.send(Message::Failed(error.to_string()));
        }
    };
    thread::Builder::new()
        .name("cobring-replay".to_owned())
        .spawn(run)
        .map_err(|error| failed(error.to_string()))?;
    let ends = Mutex::new(Some(Ends { messages, go, holds: false }));
    Ok(Replay { symbol: wanted, segment: None, ends, stop })
}
