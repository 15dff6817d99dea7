//! A handle on one symbol. Guarantees: `latest` is one copy out of shared memory and one Python object; nothing is
//! handed out that is worse than asked for without saying so; waiting holds neither the GIL nor the handle, so other
//! threads go on; restarts of the engine are followed. Needs: nothing after a fork (the mapping is inherited, the place
//! in the stream is each process's own, and a handle with a name subscribes anew). Does not: poll.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cobring_frame::{FrameError, Liveness, MIN_QUALITY, Next, Reader, Require, Severity};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::errors;
use crate::frame::{Frame, Segment};
use crate::frames::Frames;
use crate::meta::Meta;
use crate::reference::Reference;
use crate::require::parse_require;

/// Where an engine publishes unless told otherwise.
pub(crate) const DIR: &str = "/dev/shm/cobring";
/// The symbol that panels set beside their own.
pub(crate) const REFERENCE: &str = "BTCUSDT";
/// A writer whose heartbeat is older is stalled, whatever its last frame says.
const STALLED_NS: u64 = 1_000_000_000;
/// Between two looks for Ctrl-C while waiting.
const SLICE: Duration = Duration::from_millis(100);

/// Forks that this process is the child of, as Python tells.
static FORKS: AtomicU64 = AtomicU64::new(0);

/// Called in the child of a fork.
#[pyfunction]
#[pyo3(name = "_forked")]
pub(crate) fn forked() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// Reads one symbol's frames. One handle belongs to one thread of thought: `latest` and `next` share a place in the
/// stream, `frames` has its own.
#[pyclass(module = "cobring", name = "Reader")]
#[derive(Debug)]
pub(crate) struct Handle {
    dir: PathBuf,
    name: Option<String>,
    reference: Option<Arc<Reference>>,
    /// As it was given, for schemas to come.
    require_given: Option<Py<PyAny>>,
    require: Arc<Require>,
    /// [`FORKS`] when the reader was opened.
    forks: u64,
    pub(crate) reader: Reader,
    pub(crate) segment: Arc<Segment>,
    /// Frames that were overwritten before `next` came to them.
    #[pyo3(get)]
    lapped: u64,
    /// Frames refused by `latest` and `next`.
    #[pyo3(get)]
    refused: u64,
}

pub(crate) fn segment_of(
    py: Python<'_>,
    reader: &Reader,
    reference: Option<&Arc<Reference>>,
) -> PyResult<Arc<Segment>> {
    let meta = Arc::new(Meta::of(py, reader)?);
    let windows = (0..reader.window_count()).map(|index| reader.window(index)).collect();
    Ok(Arc::new(Segment { meta, windows, reference: reference.cloned() }))
}

/// Requirements against a schema: what it lacks is refused at once.
pub(crate) fn require_of(
    py: Python<'_>,
    given: Option<&Bound<'_, PyAny>>,
    min_quality: f64,
    segment: &Segment,
    symbol: &str,
) -> PyResult<Arc<Require>> {
    let schema = &segment.meta.schema;
    let require = parse_require(given, min_quality, schema)?;
    let missing = require.missing(schema);
    if missing.is_empty() {
        return Ok(Arc::new(require));
    }
    let blocks = segment.meta.nodes[0].names.join(", ");
    let windows: Vec<_> = segment.meta.windows.iter().map(|w| w.name.as_str()).collect();
    let message = format!(
        "{symbol}: this engine publishes no {}; its blocks are {blocks}, its windows {}",
        missing.join(" and no "),
        windows.join(", ")
    );
    Err(errors::mismatch(py, message))
}

/// Whether a frame is as required; cheap where it is.
pub(crate) fn is_good(frame: &Frame, require: &Require, min_quality: f64) -> bool {
    let rows = |(name, wanted): &(String, u64)| {
        let schema = &frame.meta().schema;
        schema.valid_rows(frame.words(), name).is_some_and(|rows| rows >= *wanted)
    };
    frame.score() >= min_quality
        && require.rows.iter().all(rows)
        && (require.blocks.is_empty()
            || frame.findings(require).iter().all(|finding| finding.severity != Severity::Error))
}

/// A frame that is not as required, with all that is wrong with it.
pub(crate) fn refuse(py: Python<'_>, frame: Frame, require: &Require, min_quality: f64) -> PyErr {
    let findings = frame.findings(&Require { min_quality, ..require.clone() });
    match Py::new(py, frame) {
        Ok(frame) => errors::refused(py, &frame, &findings),
        Err(error) => error,
    }
}

pub(crate) fn timeout_of(timeout: Option<f64>) -> PyResult<Option<Duration>> {
    let duration = |seconds: f64| {
        Duration::try_from_secs_f64(seconds.clamp(0.0, 1e9)).map_err(|_| {
            PyValueError::new_err(format!("timeout {seconds}: wanted seconds, 0 or more, or None"))
        })
    };
    timeout.map(duration).transpose()
}

impl Handle {
    /// After the reader has followed a new engine.
    fn renew(&mut self, py: Python<'_>) -> PyResult<()> {
        let segment = segment_of(py, &self.reader, self.reference.as_ref())?;
        let given = self.require_given.as_ref().map(|given| given.bind(py));
        let (min_quality, symbol) = (self.require.min_quality, self.reader.symbol());
        self.require = require_of(py, given, min_quality, &segment, symbol)?;
        self.segment = segment;
        Ok(())
    }

    /// In the child of a fork a subscription is still the parent's.
    #[inline]
    fn own(&mut self) {
        let forks = FORKS.load(Ordering::Relaxed);
        if forks != self.forks {
            self.forks = forks;
            if let Some(name) = &self.name
                && let Ok(reader) = Reader::open_named(&self.dir, self.reader.symbol(), name)
                && reader.epoch() == self.reader.epoch()
            {
                self.reader = reader;
            }
        }
    }

    fn room(&self) -> Box<[u64]> {
        vec![0; self.reader.frame_size_bytes() / 8].into_boxed_slice()
    }

    /// An error where nobody stands behind the newest frame.
    #[inline]
    fn check_alive(&self, py: Python<'_>) -> PyResult<()> {
        if !self.reader.is_retired() && self.reader.heartbeat_age_ns() < STALLED_NS {
            return Ok(());
        }
        let (path, pid) = (self.reader.path().display(), self.reader.writer_pid());
        Err(errors::gone(
            py,
            match self.reader.liveness() {
                Liveness::Alive => return Ok(()),
                Liveness::Stalled { heartbeat_age_ns } => format!(
                    "{path}: the engine (process {pid}) has done nothing for {:.1} s, though it runs; its last frame is to be had by latest(alive=False)",
                    Duration::from_nanos(heartbeat_age_ns).as_secs_f64()
                ),
                Liveness::Gone { .. } | Liveness::Retired => format!(
                    "{path}: the engine (process {pid}) has ended and no new one has begun; start it, this handle will follow; its last frame is to be had by latest(alive=False)"
                ),
            },
        ))
    }

    pub(crate) fn count_refused(&mut self) {
        self.refused += 1;
        self.reader.count_refused(1);
    }

    fn judged(
        &mut self,
        py: Python<'_>,
        frame: Frame,
        min_quality: Option<f64>,
    ) -> PyResult<Frame> {
        let min_quality = min_quality.unwrap_or(self.require.min_quality);
        if min_quality <= 0.0 || is_good(&frame, &self.require, min_quality) {
            return Ok(frame);
        }
        self.count_refused();
        Err(refuse(py, frame, &self.require, min_quality))
    }
}

/// Waits in slices without the GIL, on a reader of its own. The answer of the reader, None when the time was over.
pub(crate) fn wait_sliced(
    py: Python<'_>,
    reader: &mut Reader,
    timeout: Option<Duration>,
) -> PyResult<Result<bool, FrameError>> {
    let begun = Instant::now();
    loop {
        let left = timeout.map(|timeout| timeout.saturating_sub(begun.elapsed()));
        let slice = left.map_or(SLICE, |left| left.min(SLICE));
        match py.detach(|| reader.wait(slice)) {
            Ok(false) if left.is_none_or(|left| left > slice) => py.check_signals()?,
            answer => return Ok(answer),
        }
    }
}

#[pymethods]
impl Handle {
    /// The newest frame. Raises LowQuality below `min_quality` (by default that of the handle, 0.8) or where what the
    /// handle requires is missing; 0 takes any frame. Raises WriterGone where the engine has ended or hangs, unless
    /// alive=False; NotEnough before the first frame.
    #[pyo3(signature = (min_quality = None, *, alive = true))]
    fn latest(&mut self, py: Python<'_>, min_quality: Option<f64>, alive: bool) -> PyResult<Frame> {
        let mut words = self.room();
        loop {
            match self.reader.latest(&mut words) {
                Ok(Some(_)) => break,
                Ok(None) => {
                    self.check_alive(py)?;
                    return Err(errors::too_few(
                        py,
                        &format!("{}: frames", self.reader.symbol()),
                        0,
                        1,
                    ));
                }
                Err(FrameError::EpochChanged { .. }) => {
                    self.renew(py)?;
                    words = self.room();
                }
                Err(error) => return Err(errors::of_frame(py, &error)),
            }
        }
        if alive {
            self.check_alive(py)?;
        }
        let frame = Frame::new(words, Arc::clone(&self.segment));
        self.judged(py, frame, min_quality)
    }

    /// latest() by the name that users of the older system know.
    #[pyo3(signature = (min_quality = None))]
    fn get_base_data_input(&mut self, py: Python<'_>, min_quality: Option<f64>) -> PyResult<Frame> {
        self.latest(py, min_quality, true)
    }

    /// The heatmap of the newest frame, by the name that users of the older system know.
    #[pyo3(signature = (seconds = 300, radius = 20, metric = "net_quote"))]
    fn get_cob_heatmap_matrix<'py>(
        &mut self,
        py: Python<'py>,
        seconds: u64,
        radius: usize,
        metric: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        let frame = self.latest(py, None, true)?;
        Bound::new(py, frame)?.call_method1("cob_heatmap", (seconds, radius, metric))
    }

    /// The next frame in order, or None where none came within `timeout` seconds (0: does not wait; None: waits).
    /// Raises Lapped (with .lost) where the engine was faster, EpochChanged after its restart; call again in either case.
    #[pyo3(signature = (timeout = 0.0, *, min_quality = None))]
    fn next(
        slf: &Bound<'_, Self>,
        timeout: Option<f64>,
        min_quality: Option<f64>,
    ) -> PyResult<Option<Frame>> {
        let py = slf.py();
        let limit = timeout_of(timeout)?;
        let begun = Instant::now();
        loop {
            {
                let mut handle = slf.borrow_mut();
                handle.own();
                let mut words = handle.room();
                match handle.reader.next(&mut words) {
                    Ok(Next::Frame { .. }) => {
                        let frame = Frame::new(words, Arc::clone(&handle.segment));
                        return handle.judged(py, frame, min_quality).map(Some);
                    }
                    Ok(Next::Lapped { lost }) => {
                        handle.lapped += lost;
                        return Err(errors::lapped_frames(py, handle.reader.symbol(), lost));
                    }
                    Ok(Next::Empty) => {}
                    Err(error) => {
                        if error.is_epoch_change() {
                            handle.renew(py)?;
                        }
                        return Err(errors::of_frame(py, &error));
                    }
                }
            }
            let left = limit.map(|limit| limit.saturating_sub(begun.elapsed()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            if !Self::wait(slf, left.map(|left| left.as_secs_f64()))? {
                return Ok(None);
            }
        }
    }

    /// Sleeps, without the GIL, until there is a frame that neither latest() nor next() has taken: True, or False when
    /// `timeout` seconds are over (None: waits on). Raises WriterGone where the engine has ended, EpochChanged after its
    /// restart.
    #[pyo3(signature = (timeout = None))]
    fn wait(slf: &Bound<'_, Self>, timeout: Option<f64>) -> PyResult<bool> {
        let py = slf.py();
        let limit = timeout_of(timeout)?;
        // On a twin: the handle stays free for other threads.
        let mut twin = slf.borrow().reader.twin();
        match wait_sliced(py, &mut twin, limit)? {
            Ok(there) => Ok(there),
            Err(error) => {
                let mut handle = slf.borrow_mut();
                if error.is_epoch_change()
                    && handle.reader.epoch() != twin.epoch()
                    && handle.reader.follow().map_err(|error| errors::of_frame(py, &error))?
                {
                    handle.renew(py)?;
                }
                Err(errors::of_frame(py, &error))
            }
        }
    }

    /// Frames as they come, for `for` and `async for`; waits for the engine and follows its restarts.
    ///
    /// on: a trigger or several ("depth", "trade", "timer", …); every: at most one frame in each such span of receive
    /// time ("1s"); mode: "latest" (the newest each time) or "all" (each in order); on_low: "skip", "raise" or "pass"
    /// frames below `min_quality`; timeout: seconds without a frame after which the iteration ends.
    /// The iterator counts `skipped` (passed over for a newer one, or overwritten), `refused` (low quality) and `restarts`.
    #[pyo3(signature = (on = None, every = None, mode = "latest", on_low = "skip", *, min_quality = None, timeout = None))]
    fn frames(
        slf: &Bound<'_, Self>,
        on: Option<&Bound<'_, PyAny>>,
        every: Option<&Bound<'_, PyAny>>,
        mode: &str,
        on_low: &str,
        min_quality: Option<f64>,
        timeout: Option<f64>,
    ) -> PyResult<Frames> {
        let min_quality = min_quality.unwrap_or(slf.borrow().require.min_quality);
        Frames::new(slf, on, every, (mode, on_low), min_quality, timeout_of(timeout)?)
    }

    #[getter]
    fn symbol(&self) -> &str {
        self.reader.symbol()
    }

    #[getter]
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The segment's file.
    #[getter]
    fn path(&self) -> PathBuf {
        self.reader.path().to_owned()
    }

    /// Larger at each start of an engine.
    #[getter]
    fn epoch(&self) -> u64 {
        self.reader.epoch()
    }

    /// Frames published in this epoch.
    #[getter]
    fn published(&self) -> u64 {
        self.reader.published()
    }

    /// Text of the segment's schema: JSON.
    #[getter]
    fn schema(&self) -> &str {
        &self.segment.meta.text
    }

    /// "alive", "stalled", "gone" or "retired".
    #[getter]
    fn liveness(&self) -> &'static str {
        match self.reader.liveness() {
            Liveness::Alive => "alive",
            Liveness::Stalled { .. } => "stalled",
            Liveness::Gone { .. } => "gone",
            Liveness::Retired => "retired",
        }
    }

    fn __repr__(&self) -> String {
        let name = self.name.as_ref().map_or_else(String::new, |name| format!(" name={name}"));
        format!(
            "<cobring.Reader {}{name} {} epoch={} published={} refused={} lapped={}>",
            self.reader.symbol(),
            self.liveness(),
            self.reader.epoch(),
            self.reader.published(),
            self.refused,
            self.lapped,
        )
    }

    fn _repr_html_(slf: &Bound<'_, Self>) -> PyResult<String> {
        slf.py().import("cobring._html")?.call_method1("reader", (slf,))?.extract()
    }

    /// A pickled handle opens the symbol anew where it is unpickled.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let options = PyDict::new(py);
        options.set_item("name", &self.name)?;
        options
            .set_item("require", self.require_given.as_ref().map(|given| given.clone_ref(py)))?;
        options.set_item("dir", &self.dir)?;
        options.set_item("min_quality", self.require.min_quality)?;
        options
            .set_item("reference", self.reference.as_ref().map(|other| other.symbol.as_str()))?;
        let reopen = py.import("cobring._cobring")?.getattr("_reopen")?;
        (reopen, (self.reader.symbol(), options)).into_pyobject(py)
    }
}

impl Handle {
    pub(crate) fn parts(&self) -> (&Arc<Require>, Option<&Py<PyAny>>, Option<&Arc<Reference>>) {
        (&self.require, self.require_given.as_ref(), self.reference.as_ref())
    }
}

/// Opens a symbol of a running engine.
///
/// name: who reads, for `cobring shm ls`; require: what every frame must have, as {"candles.1s": 300, "cob": True} or a
/// list of names; dir: the engine's directory; min_quality: below it frames are refused; reference: the symbol that
/// panels set beside this one; timeout: seconds to wait for an engine that is not there yet.
#[pyfunction]
#[pyo3(signature = (symbol, name = None, require = None, dir = None, *, min_quality = MIN_QUALITY, reference = Some(REFERENCE.to_owned()), timeout = 0.0))]
#[expect(clippy::too_many_arguments, reason = "keywords of a Python function")]
pub(crate) fn open(
    py: Python<'_>,
    symbol: &str,
    name: Option<String>,
    require: Option<Bound<'_, PyAny>>,
    dir: Option<PathBuf>,
    min_quality: f64,
    reference: Option<String>,
    timeout: Option<f64>,
) -> PyResult<Handle> {
    let dir = dir.unwrap_or_else(|| PathBuf::from(DIR));
    let limit = timeout_of(timeout)?;
    let begun = Instant::now();
    let reader = loop {
        let opened = match &name {
            Some(name) => Reader::open_named(&dir, symbol, name),
            None => Reader::open(&dir, symbol),
        };
        match opened {
            Ok(reader) => break reader,
            Err(error) => {
                let absent = matches!(
                    error,
                    FrameError::NoDirectory { .. }
                        | FrameError::NoSuchSymbol { .. }
                        | FrameError::Removed { .. }
                );
                if !absent || limit.is_some_and(|limit| begun.elapsed() >= limit) {
                    return Err(errors::of_frame(py, &error));
                }
                py.detach(|| std::thread::sleep(Duration::from_millis(10)));
                py.check_signals()?;
            }
        }
    };
    let reference = reference.map(|symbol| Arc::new(Reference::new(dir.clone(), symbol)));
    let segment = segment_of(py, &reader, reference.as_ref())?;
    let checked = require_of(py, require.as_ref(), min_quality, &segment, symbol)?;
    Ok(Handle {
        dir,
        name,
        reference,
        require_given: require.map(Bound::unbind),
        require: checked,
        forks: FORKS.load(Ordering::Relaxed),
        reader,
        segment,
        lapped: 0,
        refused: 0,
    })
}

/// A handle out of its pickle.
#[pyfunction]
#[pyo3(name = "_reopen")]
pub(crate) fn reopen<'py>(
    py: Python<'py>,
    symbol: &str,
    options: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    py.import("cobring._cobring")?.getattr("open")?.call((symbol,), Some(options))
}
