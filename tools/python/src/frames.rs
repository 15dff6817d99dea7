//! Frames as they come. Guarantees: in mode "all" each frame in order, in mode "latest" the newest that fits; whatever
//! is passed over is counted; an engine that is gone is waited for, and the next one followed. Does not: hold the GIL
//! while it waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cobring_frame::{FrameError, Next, Reader, Require};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::block::parse_span;
use crate::errors;
use crate::frame::{Frame, Segment};
use crate::reader::{Handle, is_good, refuse, require_of, segment_of};
use crate::reference::Reference;

/// One sleep; between two Ctrl-C is looked for.
const SLICE: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnLow {
    Skip,
    Raise,
    Pass,
}

/// Iterator over frames, for `for` and `async for`; made by Reader.frames().
#[pyclass(module = "cobring")]
#[derive(Debug)]
pub(crate) struct Frames {
    /// Told of what is read and refused: its name stands for this iteration too.
    handle: Py<Handle>,
    reader: Reader,
    segment: Arc<Segment>,
    require: Arc<Require>,
    require_given: Option<Py<PyAny>>,
    reference: Option<Arc<Reference>>,
    /// Names of triggers; empty for all.
    on: Vec<String>,
    /// The same as a bit for each number of the schema.
    on_bits: u64,
    every_ns: Option<i64>,
    /// The span in which a frame was last given.
    given_in: Option<i64>,
    all: bool,
    on_low: OnLow,
    min_quality: f64,
    timeout: Option<Duration>,
    closed: bool,
    /// Frames passed over for a newer one, or overwritten before they were read.
    #[pyo3(get)]
    skipped: u64,
    /// Frames refused for their quality.
    #[pyo3(get)]
    refused: u64,
    /// Engines that followed.
    #[pyo3(get)]
    restarts: u64,
}

impl Frames {
    pub(crate) fn new(
        slf: &Bound<'_, Handle>,
        on: Option<&Bound<'_, PyAny>>,
        every: Option<&Bound<'_, PyAny>>,
        (mode, on_low): (&str, &str),
        min_quality: f64,
        timeout: Option<Duration>,
    ) -> PyResult<Self> {
        let (py, handle) = (slf.py(), slf.borrow());
        let wrong = |what: &str, found: &str, wanted: &str| {
            PyValueError::new_err(format!("{what} {found:?}: wanted one of {wanted}"))
        };
        let on = match on {
            None => Vec::new(),
            Some(on) => {
                on.extract::<String>().map_or_else(|_| on.extract(), |name| Ok(vec![name]))?
            }
        };
        let every_ns = every.map(parse_span).transpose()?;
        if every_ns.is_some_and(|ns| ns <= 0) {
            return Err(PyValueError::new_err("every: wanted a span above 0"));
        }
        let (require, given, reference) = handle.parts();
        let mut frames = Self {
            handle: slf.clone().unbind(),
            reader: handle.reader.twin(),
            segment: Arc::clone(&handle.segment),
            require: Arc::clone(require),
            require_given: given.map(|given| given.clone_ref(py)),
            reference: reference.cloned(),
            on,
            on_bits: u64::MAX,
            every_ns,
            given_in: None,
            all: match mode {
                "latest" => false,
                "all" => true,
                _ => return Err(wrong("mode", mode, "latest, all")),
            },
            on_low: match on_low {
                "skip" => OnLow::Skip,
                "raise" => OnLow::Raise,
                "pass" => OnLow::Pass,
                _ => return Err(wrong("on_low", on_low, "skip, raise, pass")),
            },
            min_quality,
            timeout,
            closed: false,
            skipped: 0,
            refused: 0,
            restarts: 0,
        };
        frames.on_bits = frames.bits_of()?;
        Ok(frames)
    }

    /// The triggers asked for, by their numbers in this segment.
    fn bits_of(&self) -> PyResult<u64> {
        if self.on.is_empty() {
            return Ok(u64::MAX);
        }
        let names = self.segment.meta.schema.names("trigger").unwrap_or_default();
        self.on.iter().try_fold(0, |bits, on| {
            let at = names.iter().take(64).position(|name| name == on).ok_or_else(|| {
                let wanted = names.join(", ");
                PyValueError::new_err(format!("on {on:?}: wanted one of {wanted}"))
            })?;
            Ok(bits | 1 << at)
        })
    }

    fn renew(&mut self, py: Python<'_>) -> PyResult<()> {
        self.restarts += 1;
        self.given_in = None;
        self.segment = segment_of(py, &self.reader, self.reference.as_ref())?;
        let given = self.require_given.as_ref().map(|given| given.bind(py));
        let symbol = self.reader.symbol();
        self.require = require_of(py, given, self.require.min_quality, &self.segment, symbol)?;
        self.on_bits = self.bits_of()?;
        Ok(())
    }

    /// The span that a frame lies in.
    fn span_of(&self, frame: &Frame) -> Option<i64> {
        self.every_ns.map(|every| frame.ts_recv().div_euclid(every))
    }

    fn fits(&self, frame: &Frame) -> bool {
        let span = self.span_of(frame);
        self.on_bits >> frame.trigger().min(63) & 1 == 1
            && (span.is_none() || span != self.given_in)
    }

    /// The next frame that is there and fits, whatever its quality.
    fn candidate(&mut self, py: Python<'_>) -> PyResult<Option<Frame>> {
        let mut newest: Option<Frame> = None;
        let mut words = vec![0; self.reader.frame_size_bytes() / 8].into_boxed_slice();
        loop {
            let read = if self.all || self.on_bits != u64::MAX || self.every_ns.is_some() {
                self.reader.next(&mut words)
            } else {
                self.newest(&mut words)
            };
            match read {
                Ok(Next::Frame { .. }) => {
                    let room = vec![0; words.len()].into_boxed_slice();
                    let frame =
                        Frame::new(std::mem::replace(&mut words, room), Arc::clone(&self.segment));
                    if !self.fits(&frame) {
                        continue;
                    }
                    if self.all {
                        return Ok(Some(frame));
                    }
                    self.skipped += u64::from(newest.replace(frame).is_some());
                }
                Ok(Next::Lapped { lost }) => {
                    self.skipped += lost;
                    let position = self.reader.position();
                    let mut handle = self.handle.borrow_mut(py);
                    handle.reader.count_read(position.saturating_sub(1), lost);
                }
                Ok(Next::Empty) => return Ok(newest),
                Err(FrameError::EpochChanged { .. }) => {
                    self.renew(py)?;
                    // What the old engine published last is older than anything the new one says.
                    self.skipped += u64::from(newest.take().is_some());
                    words = vec![0; self.reader.frame_size_bytes() / 8].into_boxed_slice();
                }
                Err(error) => return Err(errors::of_frame(py, &error)),
            }
        }
    }

    /// As `Reader::next`, with all frames but the newest passed over.
    fn newest(&mut self, words: &mut [u64]) -> Result<Next, FrameError> {
        let position = self.reader.position();
        if self.reader.published() <= position {
            return self.reader.next(words);
        }
        let seq = self.reader.latest(words)?;
        Ok(seq.map_or(Next::Empty, |seq| {
            self.skipped += seq.saturating_sub(position);
            Next::Frame { seq }
        }))
    }

    fn take_one(&mut self, py: Python<'_>) -> PyResult<Option<Frame>> {
        while let Some(frame) = self.candidate(py)? {
            let span = self.span_of(&frame);
            self.handle.borrow_mut(py).reader.count_read(frame.seq_number(), 0);
            let good = self.min_quality <= 0.0 || is_good(&frame, &self.require, self.min_quality);
            if good || self.on_low == OnLow::Pass {
                self.given_in = span;
                return Ok(Some(frame));
            }
            self.refused += 1;
            self.handle.borrow_mut(py).count_refused();
            if self.on_low == OnLow::Raise {
                self.given_in = span;
                return Err(refuse(py, frame, &self.require, self.min_quality));
            }
        }
        Ok(None)
    }
}

#[pymethods]
impl Frames {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Option<Frame>> {
        let py = slf.py();
        let begun = Instant::now();
        loop {
            {
                let mut frames = slf.borrow_mut();
                if frames.closed {
                    return Ok(None);
                }
                if let Some(frame) = frames.take_one(py)? {
                    return Ok(Some(frame));
                }
                if frames.timeout.is_some_and(|timeout| begun.elapsed() >= timeout) {
                    return Ok(None);
                }
            }
            Self::_wait(slf, SLICE.as_secs_f64())?;
            py.check_signals()?;
        }
    }

    fn __anext__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("cobring._asyncio")?.call_method1("next_frame", (slf,))
    }

    /// A frame that is there now, or None.
    fn _take(&mut self, py: Python<'_>) -> PyResult<Option<Frame>> {
        if self.closed { Ok(None) } else { self.take_one(py) }
    }

    /// Sleeps without the GIL until there may be a frame, at most `seconds`. An engine that is gone is waited for.
    fn _wait(slf: &Bound<'_, Self>, seconds: f64) -> PyResult<()> {
        let py = slf.py();
        let (mut twin, limit) = {
            let frames = slf.borrow();
            let limit = frames.timeout.unwrap_or(SLICE).min(SLICE);
            (frames.reader.twin(), limit.min(Duration::from_secs_f64(seconds.clamp(0.0, 1.0))))
        };
        match py.detach(|| twin.wait(limit)) {
            Ok(_) => Ok(()),
            Err(error) if error.is_epoch_change() => {
                let mut frames = slf.borrow_mut();
                if frames.reader.epoch() != twin.epoch() {
                    frames.reader = twin;
                    frames.renew(py)?;
                }
                Ok(())
            }
            Err(error) if error.is_writer_gone() => {
                py.detach(|| std::thread::sleep(limit.min(Duration::from_millis(10))));
                Ok(())
            }
            Err(error) => Err(errors::of_frame(py, &error)),
        }
    }

    /// Seconds without a frame after which the iteration ends; None: never.
    #[getter]
    fn timeout(&self) -> Option<f64> {
        self.timeout.map(|timeout| timeout.as_secs_f64())
    }

    /// Ends the iteration, from any thread.
    fn close(&mut self) {
        self.closed = true;
    }

    #[getter]
    fn closed(&self) -> bool {
        self.closed
    }

    fn __repr__(&self) -> String {
        format!(
            "<cobring.Frames {} mode={} skipped={} refused={} restarts={}>",
            self.reader.symbol(),
            if self.all { "all" } else { "latest" },
            self.skipped,
            self.refused,
            self.restarts,
        )
    }
}
