//! Checkpoints of a live run: the fold writes its own state into memory that goes round, and goes on; a thread of its own
//! copies the windows as any reader would, and gives both to the log.
//!
//! Guarantees: the fold calls no system and, once a state has had the room it needs, allocates nothing. Does not: wait; a
//! checkpoint for which nothing is free is left out and counted, and the log says that it is missing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use cobring_frame::Reader;
use cobring_types::Nanos;

use crate::fold::{FoldState, Observer, SymbolFold, window_blob_name};
use crate::log::{Checkpoint, CheckpointBlob, CheckpointSender};

/// How long the copying thread sleeps where nothing is to be copied: well within the time that windows keep rows which they
/// promise no longer.
const POLL: Duration = Duration::from_millis(10);
/// One is written while the other one's windows are copied: checkpoints are minutes apart.
const BUFFERS: usize = 2;
/// Room for a symbol's state: most of it is the second of each trade that the windows of flow hold, and two books.
const STATE_ROOM_BYTES: usize = 1 << 20;

/// What the fold hands over.
#[derive(Debug, Default)]
struct Taken {
    input_seq: u64,
    state: Vec<u8>,
    /// Rows that each window had, symbol by symbol.
    rows_done: Vec<u64>,
}

/// Names of each symbol's windows.
type WindowNames = Vec<(String, Vec<String>)>;

/// Looks on as `O` does, and takes checkpoints.
#[derive(Debug)]
pub struct Checkpoints<O> {
    dir: PathBuf,
    windows: WindowNames,
    fold_end: Option<FoldEnd>,
    observer: O,
}

#[derive(Debug)]
struct FoldEnd {
    taken: SyncSender<Taken>,
    spares: Receiver<Taken>,
    log: CheckpointSender,
}

impl<O> Checkpoints<O> {
    /// Of these symbols, whose segments are in `dir`; takes none before [`Self::begin`].
    pub fn new(dir: &Path, symbols: &[SymbolFold], observer: O) -> Self {
        let names = symbols.iter().map(|symbol| {
            let market = symbol.market();
            let windows = market.windows().iter().map(|window| window.raw().name().to_owned());
            (market.config().instrument.symbol.to_string(), windows.collect())
        });
        Self { dir: dir.to_owned(), windows: names.collect(), fold_end: None, observer }
    }

    /// From here on takes those that this log asks for. The thread ends with the fold.
    ///
    /// # Errors
    /// Of the system, where it has no more threads.
    pub fn begin(&mut self, log: CheckpointSender) -> io::Result<()> {
        self.fold_end = Some(Copier::start(self.dir.clone(), self.windows.clone(), log)?);
        Ok(())
    }
}

impl<O: Observer> Observer for Checkpoints<O> {
    fn after_timer(&mut self, g: Nanos, symbols: &[SymbolFold]) {
        self.observer.after_timer(g, symbols);
    }

    fn after_frame(&mut self, at: usize, symbols: &[SymbolFold]) {
        self.observer.after_frame(at, symbols);
    }

    fn at_checkpoint(&mut self, input_seq: u64, fold: FoldState<'_>) {
        self.observer.at_checkpoint(input_seq, fold);
        if let Some(end) = &self.fold_end {
            end.take(input_seq, fold);
        }
    }
}

impl FoldEnd {
    fn take(&self, input_seq: u64, fold: FoldState<'_>) {
        let Ok(mut taken) = self.spares.try_recv() else {
            self.log.count_dropped();
            return;
        };
        taken.input_seq = input_seq;
        taken.state.clear();
        fold.save_into(&mut taken.state);
        taken.rows_done.clear();
        taken.rows_done.extend(rows_done(fold.symbols));
        if self.taken.try_send(taken).is_err() {
            self.log.count_dropped();
        }
    }
}

fn rows_done(symbols: &[SymbolFold]) -> impl Iterator<Item = u64> {
    symbols
        .iter()
        .flat_map(|symbol| symbol.market().windows().iter())
        .map(|window| window.raw().done())
}

/// The thread that completes what the fold took.
struct Copier {
    taken: Receiver<Taken>,
    spares: SyncSender<Taken>,
    log: CheckpointSender,
    dir: PathBuf,
    windows: WindowNames,
}

impl Copier {
    fn start(dir: PathBuf, windows: WindowNames, log: CheckpointSender) -> io::Result<FoldEnd> {
        let (taken_sender, taken) = sync_channel(BUFFERS);
        let (spares, spares_receiver) = sync_channel(BUFFERS);
        let windows_count = windows.iter().map(|(_, windows)| windows.len()).sum();
        for _ in 0..BUFFERS {
            // Written once, so that the fold meets no page for the first time.
            let mut state = vec![1; windows.len() * STATE_ROOM_BYTES];
            state.clear();
            let rows_done = Vec::with_capacity(windows_count);
            let spare = Taken { input_seq: 0, state, rows_done };
            spares.try_send(spare).expect("invariant: as many as there are places");
        }
        let copier = Self { taken, spares, log: log.clone(), dir, windows };
        let name = "cobring-checkpoint".to_owned();
        thread::Builder::new().name(name).spawn(move || copier.run())?;
        Ok(FoldEnd { taken: taken_sender, spares: spares_receiver, log })
    }

    fn run(&self) {
        loop {
            match self.taken.try_recv() {
                Ok(taken) => self.complete(taken),
                Err(TryRecvError::Empty) => thread::park_timeout(POLL),
                Err(TryRecvError::Disconnected) => return,
            }
        }
    }

    fn complete(&self, taken: Taken) {
        let mut rows_done = taken.rows_done.iter().copied();
        let windows = self.windows.iter().flat_map(|(symbol, windows)| {
            copy_windows(&self.dir, symbol, windows.iter().zip(rows_done.by_ref()))
        });
        let blobs = windows.collect();
        let checkpoint =
            Checkpoint { input_seq: taken.input_seq, state: taken.state.clone(), blobs };
        // Where there are more than the log can take, it counts them.
        let _counted = self.log.send(checkpoint);
        let _fold_is_gone = self.spares.try_send(taken);
    }
}

/// The last promised rows of a symbol's windows, up to what each held at the checkpoint.
fn copy_windows<'a>(
    dir: &Path,
    symbol: &str,
    windows: impl Iterator<Item = (&'a String, u64)>,
) -> Vec<CheckpointBlob> {
    let reader = Reader::open(dir, symbol).ok();
    let copy = |(name, done): (&String, u64)| {
        let window = reader.as_ref()?.window_named(name).ok()?;
        let rows = done.min(window.rows_promised());
        let view = window.view(done - rows, rows).ok()?;
        let mut words = vec![0; view.size_words()];
        view.copy_into(&mut words).ok()?;
        let bytes = bytemuck::cast_slice(&words).to_vec();
        Some(CheckpointBlob { name: window_blob_name(symbol, name), bytes })
    };
    windows.filter_map(copy).collect()
}
