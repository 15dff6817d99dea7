//! The input behind a frame.
//!
//! Guarantees: the frame is found by folding the run's log as the engine did, so the answer is what the engine saw.
//! Needs: the log from a state at or before the frame on. Does not: need the engine or its shared memory.

use std::path::{Path, PathBuf};

use cobring_frame::TRIGGERS;
use cobring_types::{Event, Input, InputKind, Nanos, Stamp, SymbolIndex};
use cobring_venue::binance::Decoder;
use thiserror::Error;

use super::verify::{RunFile, runs_of};
use crate::config::Config;
use crate::fold::{Fold, FoldState, Observer, SymbolFold};
use crate::log::{LogError, LogHeader, LogScan, LogStart, Scanned};
use crate::replay::{ReplayError, private_folds};

/// Why a frame has no lineage.
#[derive(Debug, Error)]
pub enum LineageError {
    /// The log cannot be read or folded.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The files are of several runs.
    #[error("the log has the epochs {found:?}: name one")]
    Epochs {
        /// Those that are there.
        found: Vec<u64>,
    },
    /// No such symbol.
    #[error("the log has no symbol {wanted}, it has {known}")]
    Symbol {
        /// What was asked for.
        wanted: String,
        /// Those that are there.
        known: String,
    },
    /// Before what the log still holds, or after its end.
    #[error(
        "the log has no frame {wanted} of {symbol} in epoch {epoch}: it has {first} to {end}, without the end"
    )]
    Frame {
        /// The symbol.
        symbol: String,
        /// The run.
        epoch: u64,
        /// What was asked for.
        wanted: u64,
        /// First frame that the log gives.
        first: u64,
        /// The one after the last.
        end: u64,
    },
}

impl From<LogError> for LineageError {
    fn from(error: LogError) -> Self {
        Self::Replay(error.into())
    }
}

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedInput {
    /// The file.
    pub path: PathBuf,
    /// Where the record begins, decompressed.
    pub offset: u64,
    /// When and as what it entered.
    pub stamp: Stamp,
    /// What it is.
    pub kind: InputKind,
    /// The connection it came from.
    pub connection: u16,
    /// See [`InputKind`].
    pub aux: u32,
    /// See [`InputKind`].
    pub ts_aux: Nanos,
    /// The message as received.
    pub bytes: Vec<u8>,
}

/// What is behind a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// The run.
    pub epoch: u64,
    /// The frame's symbol.
    pub symbol: String,
    /// The frame's number.
    pub seq: u64,
    /// What the input did, or `timer`.
    pub trigger: &'static str,
    /// The venue's clock, as the frame has it.
    pub ts_event: Nanos,
    /// Our clock, as the frame has it; for a timer its instant.
    pub ts_recv: Nanos,
    /// The last input that was folded into it; none before the first.
    pub input: Option<LoggedInput>,
    /// The one before that meant something for the symbol, as far as the log was folded.
    pub previous: Option<LoggedInput>,
}

/// A frame's `input_seq` before the first input.
const NO_INPUT: u64 = u64::MAX;

/// Finds the frame `seq` of `symbol` in the log files of one run.
///
/// # Errors
/// [`LineageError`].
pub fn lineage(
    files: Vec<PathBuf>,
    symbol: &str,
    seq: u64,
    mut on_progress: impl FnMut(u64, u64),
) -> Result<Lineage, LineageError> {
    let (mut runs, unreadable) = runs_of(files);
    if let Some((_, error)) = unreadable.into_iter().next() {
        return Err(error.into());
    }
    if runs.len() != 1 {
        return Err(LineageError::Epochs { found: runs.into_keys().collect() });
    }
    let (epoch, files) = runs.pop_first().expect("invariant: one run");
    let header = files[0].header.clone();
    let known: Vec<&str> = header.symbols.iter().map(|name| name.as_str()).collect();
    let at = known.iter().position(|name| name.eq_ignore_ascii_case(symbol)).ok_or_else(|| {
        LineageError::Symbol { wanted: symbol.to_owned(), known: known.join(", ") }
    })?;
    let name = known[at].to_owned();
    let paths: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
    let (mut folding, from) = begin(&header, &paths, (at, seq))?;
    let first = folding.fold.symbols()[at].frames();
    let all_bytes = files[from..].iter().map(|file| file.stored_bytes).sum();
    let mut done_bytes = 0;
    'files: for RunFile { path, stored_bytes, .. } in &files[from..] {
        let mut scan = LogScan::open(path)?;
        let mut inputs = 0_u64;
        while let Some(scanned) = scan.next()? {
            if let Scanned::Input { input, .. } = scanned
                && folding.input(&input)
            {
                break 'files;
            }
            inputs += 1;
            if inputs.is_multiple_of(4_096) {
                on_progress(done_bytes + scan.progress().0, all_bytes);
            }
        }
        done_bytes += stored_bytes;
    }
    let end = folding.fold.symbols()[at].frames();
    let Some(found) = folding.fold.observer_mut().found.take() else {
        return Err(LineageError::Frame { symbol: name, epoch, wanted: seq, first, end });
    };
    let logged = |input_seq: Option<u64>| match input_seq {
        Some(input_seq) => find(&paths, input_seq),
        None => Ok(None),
    };
    Ok(Lineage {
        epoch,
        symbol: name,
        seq,
        trigger: TRIGGERS.get(usize::from(found.trigger)).copied().unwrap_or("unknown"),
        ts_event: found.ts_event,
        ts_recv: found.ts_recv,
        input: logged(found.input_seq)?,
        previous: logged(folding.before(found.input_seq))?,
    })
}

/// A fold at the newest state before the frame, and the place of the file that begins with it.
fn begin(
    header: &LogHeader,
    paths: &[PathBuf],
    (at, seq): (usize, u64),
) -> Result<(Folding, usize), LineageError> {
    let mut problem = None;
    for (place, path) in paths.iter().enumerate().rev() {
        let scan = LogScan::open(path)?;
        let start = scan.start();
        if matches!(start, LogStart::Missing) {
            continue;
        }
        let mut folding = Folding::new(header, path, (at, seq))?;
        if let Some(checkpoint) = start.checkpoint()
            && folding.fold.restore(checkpoint).is_err()
        {
            return Err(ReplayError::OtherSettings { path: path.clone() }.into());
        }
        if folding.fold.symbols()[at].frames() <= seq {
            return Ok((folding, place));
        }
        let first = folding.fold.symbols()[at].frames();
        problem = Some(LineageError::Frame {
            symbol: header.symbols[at].to_string(),
            epoch: header.epoch,
            wanted: seq,
            first,
            end: first.max(seq),
        });
    }
    Err(problem.unwrap_or_else(|| {
        LineageError::Replay(ReplayError::NoCheckpoint { path: paths[0].clone() })
    }))
}

/// A fold on its way to a frame.
struct Folding {
    decoder: Decoder,
    fold: Fold<Wait>,
    symbol: SymbolIndex,
    /// The last two inputs that meant something for the symbol.
    recent: [Option<u64>; 2],
}

impl Folding {
    fn new(header: &LogHeader, path: &Path, wanted: (usize, u64)) -> Result<Self, LineageError> {
        let config = Config::from_fold_text(&header.config)
            .map_err(|_| ReplayError::OtherSettings { path: path.to_owned() })?;
        let symbols = config.symbol_configs();
        let folds = private_folds(&symbols, header.epoch, false).map_err(ReplayError::from)?;
        let instruments = symbols.into_iter().map(|symbol| symbol.instrument).collect();
        let wait = Wait { at: wanted.0, seq: wanted.1, found: None };
        Ok(Self {
            decoder: Decoder::new(instruments),
            fold: Fold::new(folds, None, wait),
            symbol: SymbolIndex(u16::try_from(wanted.0).expect("invariant: symbols have an index")),
            recent: [None; 2],
        })
    }

    /// Whether the frame is there now.
    fn input(&mut self, input: &Input<'_>) -> bool {
        let Self { decoder, fold, symbol, recent } = self;
        if input.kind != InputKind::Break {
            fold.advance(input.stamp.ts_recv);
            if fold.observer_mut().found.is_some() {
                return true;
            }
        }
        // What is malformed changed no frame.
        let _counted_by_the_run =
            decoder.decode(input, &mut |stamp: &Stamp, of: SymbolIndex, event: &Event<'_>| {
                if of == *symbol || of == SymbolIndex::NONE {
                    let input_seq = Some(stamp.input_seq);
                    if recent[1] != input_seq {
                        *recent = [recent[1], input_seq];
                    }
                }
                fold.fold(stamp, of, event);
            });
        fold.observer_mut().found.is_some()
    }

    /// The input before the frame's, where it was folded here.
    fn before(&self, input_seq: Option<u64>) -> Option<u64> {
        if self.recent[1] == input_seq { self.recent[0] } else { None }
    }
}

/// What a frame says of its input.
#[derive(Debug, Clone, Copy)]
struct Found {
    input_seq: Option<u64>,
    trigger: u8,
    ts_event: Nanos,
    ts_recv: Nanos,
}

/// Waits for a frame.
#[derive(Debug)]
struct Wait {
    at: usize,
    seq: u64,
    found: Option<Found>,
}

impl Observer for Wait {
    fn after_timer(&mut self, _: Nanos, _: &[SymbolFold]) {}

    fn after_frame(&mut self, at: usize, symbols: &[SymbolFold]) {
        let head = symbols[at].market().image().head();
        if at == self.at && head.identity.seq == self.seq {
            self.found = Some(Found {
                input_seq: Some(head.identity.input_seq).filter(|&seq| seq != NO_INPUT),
                trigger: head.identity.trigger,
                ts_event: Nanos(head.times.ts_event),
                ts_recv: Nanos(head.times.ts_recv),
            });
        }
    }

    fn at_checkpoint(&mut self, _: u64, _: FoldState<'_>) {}
}

/// The record of an input in the files of a run, which are in order.
fn find(paths: &[PathBuf], input_seq: u64) -> Result<Option<LoggedInput>, LogError> {
    for path in paths.iter().rev() {
        if LogHeader::of_file(path)?.first_input_seq > input_seq {
            continue;
        }
        let mut scan = LogScan::open(path)?;
        while let Some(scanned) = scan.next()? {
            let Scanned::Input { offset, input } = scanned else { continue };
            if input.stamp.input_seq == input_seq {
                return Ok(Some(LoggedInput {
                    path: path.clone(),
                    offset,
                    stamp: input.stamp,
                    kind: input.kind,
                    connection: input.connection,
                    aux: input.aux,
                    ts_aux: input.ts_aux,
                    bytes: input.bytes.to_vec(),
                }));
            }
        }
        return Ok(None);
    }
    Ok(None)
}
