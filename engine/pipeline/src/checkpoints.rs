//! Checkpoints of a live run: the fold writes its own state into memory that goes round, and goes on; a thread of its own
//! copies the windows as any reader would, and gives both to the log.
//!
//! Guarantees: the fold calls no system, and allocates only where a state has outgrown its memory, of which there is twice
//! what the state took that was there before. A checkpoint has all rows of all windows as each promised them, or is left
//! out. Does not: wait; one for which no memory is free, or that cannot be completed, is counted, and the log asks for
//! another.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use cobring_frame::{FrameError, Reader};
use cobring_types::Nanos;

use crate::fold::{FoldState, Observer, SymbolFold, window_blob_name};
use crate::log::{Checkpoint, CheckpointBlob, CheckpointSender};

/// How long the copying thread sleeps where nothing is to be copied. It is not woken, for that would be a system call of the
/// fold; and windows keep a row no longer than others come that take its place.
const POLL: Duration = Duration::from_millis(1);
/// One is written while the other one's windows are copied: the log asks for one at a time.
const BUFFERS: usize = 2;
/// Room for a symbol's state at first: most of it is a minute of trades and of quotes, and two books.
const STATE_ROOM_BYTES: usize = 1 << 20;
/// Times that a window is copied while a repair of its rows comes in between.
const COPIES_MAX: u32 = 100;

/// What the fold hands over.
#[derive(Debug, Default)]
struct Taken {
    input_seq: u64,
    state: Vec<u8>,
    /// Rows that each window had, symbol by symbol.
    rows_done: Vec<u64>,
}

impl Taken {
    fn with_room_for(symbols: &[SymbolWindows]) -> Self {
        let window_count = symbols.iter().map(|symbol| symbol.names.len()).sum();
        let mut taken = Self { rows_done: Vec::with_capacity(window_count), ..Self::default() };
        taken.make_room(symbols.len() * STATE_ROOM_BYTES);
        taken
    }

    /// Room for a state of so many bytes, written once, so that the fold meets no page for the first time.
    fn make_room(&mut self, state_bytes: usize) {
        self.state.clear();
        if self.state.capacity() < state_bytes {
            self.state.resize(state_bytes, 1);
            self.state.clear();
        }
    }
}

/// What is copied of a symbol.
#[derive(Debug)]
struct SymbolWindows {
    symbol: String,
    /// Of the same memory, whatever becomes of its file.
    reader: Reader,
    names: Vec<String>,
}

/// Looks on as `O` does, and takes checkpoints.
#[derive(Debug)]
pub struct Checkpoints<O> {
    /// Until there is a log, as are the buffers.
    symbols: Vec<SymbolWindows>,
    buffers: Vec<Taken>,
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
    /// Of these symbols; takes none before [`Self::begin`], for which there is memory if `is_logged`. To be made on the fold's
    /// core: it touches what the fold will write to.
    pub fn new(symbols: &[SymbolFold], is_logged: bool, observer: O) -> Self {
        let symbols = symbols.iter().map(|symbol| {
            let market = symbol.market();
            let names = market.windows().iter().map(|window| window.raw().name().to_owned());
            SymbolWindows {
                symbol: market.config().instrument.symbol.to_string(),
                reader: symbol.reader().twin(),
                names: names.collect(),
            }
        });
        let symbols: Vec<SymbolWindows> = symbols.collect();
        let buffers = if is_logged { BUFFERS } else { 0 };
        let buffers = (0..buffers).map(|_| Taken::with_room_for(&symbols)).collect();
        Self { symbols, buffers, fold_end: None, observer }
    }

    /// From here on takes those that this log asks for. The thread ends with the fold, and runs where its starter may.
    ///
    /// # Errors
    /// Of the system, where it has no more threads.
    pub fn begin(&mut self, log: CheckpointSender) -> io::Result<()> {
        let (symbols, buffers) =
            (std::mem::take(&mut self.symbols), std::mem::take(&mut self.buffers));
        self.fold_end = Some(Copier::start(symbols, buffers, log)?);
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
            self.log.leave_out(input_seq);
            return;
        };
        taken.input_seq = input_seq;
        taken.state.clear();
        fold.save_into(&mut taken.state);
        taken.rows_done.clear();
        taken.rows_done.extend(rows_done(fold.symbols));
        if self.taken.try_send(taken).is_err() {
            self.log.leave_out(input_seq);
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
    symbols: Vec<SymbolWindows>,
}

impl Copier {
    fn start(
        symbols: Vec<SymbolWindows>,
        buffers: Vec<Taken>,
        log: CheckpointSender,
    ) -> io::Result<FoldEnd> {
        let (taken_sender, taken) = sync_channel(BUFFERS);
        let (spares, spares_receiver) = sync_channel(BUFFERS);
        for buffer in buffers {
            spares.try_send(buffer).expect("invariant: as many as there are places");
        }
        let copier = Self { taken, spares, log: log.clone(), symbols };
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

    fn complete(&self, mut taken: Taken) {
        let mut rows_done = taken.rows_done.iter().copied();
        let windows = self.symbols.iter().map(|symbol| copy_windows(symbol, rows_done.by_ref()));
        match windows.collect::<Result<Vec<_>, _>>() {
            Ok(blobs) => {
                let (input_seq, state) = (taken.input_seq, taken.state.clone());
                let checkpoint = Checkpoint { input_seq, state, blobs: blobs.concat() };
                // Where there are more than the log can take, it counts them.
                let _counted = self.log.send(checkpoint);
            }
            Err(error) => {
                tracing::warn!("a checkpoint is left out: {error}");
                self.log.leave_out(taken.input_seq);
            }
        }
        // The fold finds room where a minute has become busier.
        taken.make_room(2 * taken.state.len());
        let _fold_is_gone = self.spares.try_send(taken);
    }
}

/// The last promised rows of a symbol's windows, up to what each held at the checkpoint. What was repaired in them since
/// then is repaired again by the inputs behind it.
fn copy_windows(
    SymbolWindows { symbol, reader, names }: &SymbolWindows,
    rows_done: impl Iterator<Item = u64>,
) -> Result<Vec<CheckpointBlob>, FrameError> {
    let copy = |(name, done): (&String, u64)| {
        let window = reader.window_named(name)?;
        let rows = done.min(window.rows_promised());
        let copied = || -> Result<Vec<u8>, FrameError> {
            let view = window.view(done - rows, rows)?;
            let mut words = vec![0; view.size_words()];
            view.copy_into(&mut words)?;
            Ok(bytemuck::cast_slice(&words).to_vec())
        };
        let mut copies = (0..COPIES_MAX).map(|_| copied());
        let is_settled =
            |copy: &Result<_, FrameError>| !matches!(copy, Err(FrameError::Repaired { .. }));
        let bytes = copies.find(is_settled).unwrap_or_else(copied)?;
        Ok(CheckpointBlob { name: window_blob_name(symbol, name), bytes })
    };
    names.iter().zip(rows_done).map(copy).collect()
}

#[cfg(test)]
mod tests;
