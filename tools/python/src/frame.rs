//! A frame as Python sees it. Guarantees: `latest` copies it once and makes nothing else; fields become Python values
//! when they are asked for; windows are views in the engine's memory at this frame's cursors. Does not: change, ever.
#![allow(unsafe_code, reason = "arrays over the frame's own words")]

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use cobring_frame::{Cursor, Field, Finding, Heatmap, Metric, Require, UNDEF, WindowReader};
use numpy::{PyArray1, PyArray2, PyArrayDescr, ndarray};
use pyo3::IntoPyObjectExt as _;
use pyo3::exceptions::{PyAttributeError, PyIndexError, PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};
use sha2::{Digest as _, Sha256};

use crate::block::Block;
use crate::errors;
use crate::meta::{Entry, Meta};
use crate::reference::Reference;
use crate::require::parse_require;
use crate::rows::{self, Shape, View};

/// A segment that frames were read from.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) meta: Arc<Meta>,
    /// In the order of the schema.
    pub(crate) windows: Vec<WindowReader>,
    pub(crate) reference: Option<Arc<Reference>>,
}

/// Rows of one window, copied: they end at the frame's cursor.
#[derive(Debug, Clone)]
struct Copied {
    from: u64,
    words: Arc<[u64]>,
}

/// Where a frame's rows lie.
#[derive(Debug, Clone)]
enum Source {
    Shared(Arc<Segment>),
    Copied { meta: Arc<Meta>, windows: Arc<[Copied]>, reference: Option<Arc<Reference>> },
}

/// Everything a model reads, at one instant: blocks are attributes (`frame.top.bid_px`, `frame.candles["1s"]`).
#[pyclass(frozen, module = "cobring")]
#[derive(Debug)]
pub(crate) struct Frame {
    words: Box<[u64]>,
    source: Source,
    /// For each window the oldest row that was handed out.
    handed: OnceLock<Box<[AtomicU64]>>,
}

impl Frame {
    pub(crate) fn new(words: Box<[u64]>, segment: Arc<Segment>) -> Self {
        Self { words, source: Source::Shared(segment), handed: OnceLock::new() }
    }

    pub(crate) fn meta(&self) -> &Arc<Meta> {
        match &self.source {
            Source::Shared(segment) => &segment.meta,
            Source::Copied { meta, .. } => meta,
        }
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    fn reference(&self) -> Option<&Arc<Reference>> {
        match &self.source {
            Source::Shared(segment) => segment.reference.as_ref(),
            Source::Copied { reference, .. } => reference.as_ref(),
        }
    }

    fn unsigned(&self, field: Option<usize>) -> u64 {
        field.map_or(0, |field| self.meta().field(field).unsigned(&self.words, 0))
    }

    pub(crate) fn seq_number(&self) -> u64 {
        self.unsigned(self.meta().seq)
    }

    /// (epoch, seq, input_seq): what an output answers.
    pub(crate) fn lineage(&self) -> (u64, u64, u64) {
        let named = |name| self.meta().field_named(name).map_or(0, |f| f.unsigned(&self.words, 0));
        (named("epoch"), self.seq_number(), named("input_seq"))
    }

    /// NaN where the segment has none, which no threshold accepts.
    pub(crate) fn score(&self) -> f64 {
        self.meta().score.map_or(f64::NAN, |field| self.meta().field(field).float(&self.words, 0))
    }

    pub(crate) fn ts_recv(&self) -> i64 {
        self.meta().ts_recv.map_or(UNDEF, |field| self.meta().field(field).signed(&self.words, 0))
    }

    pub(crate) fn trigger(&self) -> u64 {
        self.unsigned(self.meta().trigger)
    }

    pub(crate) fn symbol_text(&self) -> String {
        let text = self.meta().field_named("symbol").map(|field| text_of(field, &self.words));
        text.unwrap_or_default()
    }

    /// For messages.
    pub(crate) fn name(&self) -> String {
        format!("{} frame {}", self.symbol_text(), self.seq_number())
    }

    pub(crate) fn findings(&self, require: &Require) -> Vec<Finding> {
        self.meta().schema.validate(&self.words, require)
    }

    fn cursor(&self, py: Python<'_>, window: usize) -> PyResult<Cursor> {
        let meta = self.meta();
        let field =
            meta.windows[window].cursor.map(|index| meta.field(index)).ok_or_else(|| {
                let name = &meta.windows[window].name;
                errors::mismatch(py, format!("the frame has no cursor of window {name}"))
            })?;
        Ok([field.unsigned(&self.words, 0), field.unsigned(&self.words, 1)].into())
    }

    /// The rows that the window has for this frame: (first, end).
    pub(crate) fn held(&self, py: Python<'_>, window: usize) -> PyResult<(u64, u64)> {
        let done = self.cursor(py, window)?.done;
        let oldest = match &self.source {
            Source::Shared(segment) => segment.windows[window].oldest(),
            Source::Copied { windows, .. } => windows[window].from,
        };
        let promised = self.meta().windows[window].rows_promised;
        Ok((oldest.max(done.saturating_sub(promised)).min(done), done))
    }

    /// Rows `from..end` of a window, in place.
    pub(crate) fn view(
        &self,
        py: Python<'_>,
        window: usize,
        from: u64,
        end: u64,
    ) -> PyResult<View> {
        match &self.source {
            Source::Shared(segment) => {
                let revision = self.cursor(py, window)?.revision;
                let view = segment.windows[window]
                    .last(Cursor { done: end, revision }, end - from)
                    .map_err(|error| errors::of_frame(py, &error))?;
                if end > from {
                    self.handed(window).fetch_min(from, Ordering::Relaxed);
                }
                Ok(View::shared(view))
            }
            Source::Copied { windows, .. } => {
                let held = &windows[window];
                let skipped =
                    from.checked_sub(held.from).and_then(|rows| usize::try_from(rows).ok());
                let skipped = skipped.ok_or_else(|| {
                    let name = &self.meta().windows[window].name;
                    errors::too_few(py, &format!("rows of {name}"), end - held.from, end - from)
                })?;
                let row_words = self.meta().windows[window].row.size_bytes / 8;
                Ok(View::copied(Arc::clone(&held.words), skipped * row_words))
            }
        }
    }

    /// Rows `from..end` of a window, copied and checked.
    pub(crate) fn copy_rows(
        &self,
        py: Python<'_>,
        window: usize,
        from: u64,
        end: u64,
    ) -> PyResult<Vec<u64>> {
        let row_words = self.meta().windows[window].row.size_bytes / 8;
        match &self.source {
            Source::Shared(segment) => {
                let revision = self.cursor(py, window)?.revision;
                let read = || {
                    let view =
                        segment.windows[window].last(Cursor { done: end, revision }, end - from)?;
                    let mut words = vec![0; view.size_words()];
                    view.copy_into(&mut words).map(|()| words)
                };
                read().map_err(|error| errors::of_frame(py, &error))
            }
            Source::Copied { windows, .. } => {
                let held = &windows[window];
                let at =
                    |row: u64| usize::try_from(row - held.from).unwrap_or(usize::MAX) * row_words;
                Ok(held.words[at(from)..at(end)].to_vec())
            }
        }
    }

    fn handed(&self, window: usize) -> &AtomicU64 {
        let count = self.meta().windows.len();
        &self.handed.get_or_init(|| (0..count).map(|_| AtomicU64::new(u64::MAX)).collect())[window]
    }

    /// The last `count` rows before the frame's cursor: (first, end).
    pub(crate) fn last(&self, py: Python<'_>, window: usize, count: u64) -> PyResult<(u64, u64)> {
        let (first, end) = self.held(py, window)?;
        if end - first < count {
            let what = format!("rows of {}", self.meta().windows[window].name);
            return Err(errors::too_few(py, &what, end - first, count));
        }
        Ok((end - count, end))
    }

    /// A field as the Python value that its unit says.
    pub(crate) fn value<'py>(slf: &Bound<'py, Self>, index: usize) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let frame = slf.get();
        let (meta, words) = (frame.meta(), &frame.words);
        let field = meta.field(index);
        let (unit, argument) = field.unit.split_once(':').unwrap_or((&field.unit, ""));
        match (unit, field.shape.as_slice()) {
            ("text", _) => text_of(field, words).into_bound_py_any(py),
            ("cursor", [2]) => {
                (field.unsigned(words, 0), field.unsigned(words, 1)).into_bound_py_any(py)
            }
            ("bitset", _) => {
                let length = argument.parse().unwrap_or(0);
                let bit = |bit: usize| field.unsigned(words, bit / 64) >> (bit % 64) & 1 == 1;
                let bits: Vec<bool> = (0..length).map(bit).collect();
                Ok(PyArray1::from_vec(py, bits).into_any())
            }
            ("bool", []) => (field.unsigned(words, 0) != 0).into_bound_py_any(py),
            ("enum", []) => match field.name_in(&meta.schema, words) {
                Some(name) => name.into_bound_py_any(py),
                None => field.unsigned(words, 0).into_bound_py_any(py),
            },
            ("bits", []) => Ok(PyTuple::new(py, field.bit_names(&meta.schema, words))?.into_any()),
            ("update_id", []) => {
                Some(field.unsigned(words, 0)).filter(|&id| id != 0).into_bound_py_any(py)
            }
            (_, []) => match field.dtype.as_str() {
                "<f8" | "<f4" => field.float(words, 0).into_bound_py_any(py),
                "<i8" => Some(field.signed(words, 0)).filter(|&v| v != UNDEF).into_bound_py_any(py),
                "<u8" | "<u4" | "<u2" | "|u1" => field.unsigned(words, 0).into_bound_py_any(py),
                // Of a later engine: numpy knows more types than this reader.
                _ => Self::array(slf, field)?.get_item(()),
            },
            _ => Self::array(slf, field),
        }
    }

    /// A field as an array over the frame's own words.
    fn array<'py>(slf: &Bound<'py, Self>, field: &Field) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let dtype = PyArrayDescr::new(py, field.dtype.as_str())?;
        let address = slf.get().words.as_ptr().cast::<u8>();
        let shape = Shape { dimensions: &field.shape, strides: None };
        // SAFETY: the field lies inside the frame (checked with the schema), whose words live, unchanged, as long as
        // the frame that becomes the base.
        unsafe {
            let address = address.add(field.offset).cast();
            rows::borrow(py, None, &dtype, &shape, address, slf.clone().into_any())
        }
    }

    pub(crate) fn entry<'py>(slf: &Bound<'py, Self>, entry: Entry) -> PyResult<Bound<'py, PyAny>> {
        match entry {
            Entry::Field(field) => Self::value(slf, field),
            Entry::Node(node) => Block::new(slf.clone().unbind(), node).into_bound_py_any(slf.py()),
        }
    }

    /// Whether a field's block is valid, as far as blocks are marked.
    fn in_valid_block(&self, field: &Field) -> bool {
        let meta = self.meta();
        let (Some(bits), Some(blocks)) =
            (meta.field_named("quality.valid"), meta.schema.names("blocks"))
        else {
            return true;
        };
        let valid = bits.bit_names(&meta.schema, &self.words);
        // `pivots.1s` marks `pivots.1s.1.trend` too.
        let above = |block: &&String| {
            field.name.strip_prefix(block.as_str()).is_some_and(|rest| rest.starts_with('.'))
        };
        blocks.iter().filter(above).all(|block| valid.contains(&block.as_str()))
    }

    /// Elements of a field, each with whether it may be used: in a valid block, and for buckets in the known range.
    fn cells(&self, field: &Field, elements: Range<usize>, out: &mut Vec<(f64, bool)>) {
        let valid = self.in_valid_block(field);
        let known = match field.name.as_str() {
            "cob.bid_qty" | "cob.ask_qty" => self.meta().field_named("cob.valid"),
            _ => None,
        };
        let in_range = |at: usize| {
            known.is_none_or(|bits| bits.unsigned(&self.words, at / 64) >> (at % 64) & 1 == 1)
        };
        out.extend(elements.map(|at| (field.float(&self.words, at), valid && in_range(at))));
    }

    /// One name of a vector: its values and whether each is usable.
    fn vector_part(&self, py: Python<'_>, name: &str, out: &mut Vec<(f64, bool)>) -> PyResult<()> {
        let meta = self.meta();
        if let Some(field) = meta.field_named(name) {
            self.cells(field, 0..field.element_count(), out);
            return Ok(());
        }
        // `flow.ofi[2]` or `candles.1s[-1].close`.
        let unknown = || {
            let message = format!("the frame has no field {name:?}");
            errors::mismatch(py, message)
        };
        let (base, rest) = name.split_once('[').ok_or_else(unknown)?;
        let (index, rest) = rest.split_once(']').ok_or_else(unknown)?;
        let index: i64 = index.parse().map_err(|_| unknown())?;
        if let Some(field) = meta.field_named(base).filter(|_| rest.is_empty()) {
            let count = i64::try_from(field.element_count()).unwrap_or(i64::MAX);
            let at = if index < 0 { index + count } else { index };
            let at = usize::try_from(at).ok().filter(|_| at < count).ok_or_else(|| {
                PyIndexError::new_err(format!("{name}: {base} has {count} elements"))
            })?;
            self.cells(field, at..at + 1, out);
            return Ok(());
        }
        let column = rest.strip_prefix('.').filter(|_| index < 0).ok_or_else(unknown)?;
        let window = meta.window(py, base)?;
        let field = meta.windows[window].row.field(column).ok_or_else(unknown)?;
        let (first, end) = self.held(py, window)?;
        let from = end.checked_sub(index.unsigned_abs()).filter(|from| (first..end).contains(from));
        let Some(from) = from else {
            out.extend((0..field.element_count()).map(|_| (f64::NAN, false)));
            return Ok(());
        };
        let row = self.copy_rows(py, window, from, from + 1)?;
        out.extend((0..field.element_count()).map(|at| (field.float(&row, at), true)));
        Ok(())
    }

    fn detach(&self, py: Python<'_>, rows: Option<u64>) -> PyResult<Self> {
        let meta = Arc::clone(self.meta());
        let windows = (0..meta.windows.len())
            .map(|window| {
                if meta.windows[window].cursor.is_none() {
                    return Ok(Copied { from: 0, words: Arc::new([]) });
                }
                let (first, end) = self.held(py, window)?;
                let from = rows.map_or(first, |rows| first.max(end.saturating_sub(rows)));
                Ok(Copied { from, words: self.copy_rows(py, window, from, end)?.into() })
            })
            .collect::<PyResult<Vec<_>>>()?;
        let source = Source::Copied {
            meta,
            windows: windows.into(),
            reference: self.reference().map(Arc::clone),
        };
        Ok(Self { words: self.words.clone(), source, handed: OnceLock::new() })
    }

    /// The frame's words as everyone has them, live or replayed: without the times of the engine's own stages.
    fn digest(&self) -> [u8; 32] {
        let mut words = self.words.clone();
        for name in ["epoch", "times.ts_parsed", "times.ts_applied", "times.ts_published"] {
            if let Some(field) = self.meta().field_named(name)
                && let Some(word) = words.get_mut(field.offset / 8)
            {
                *word = 0;
            }
        }
        Sha256::digest(bytemuck::cast_slice::<u64, u8>(&words)).into()
    }

    fn heatmap(
        &self,
        py: Python<'_>,
        seconds: u64,
        radius: usize,
        metric: &str,
    ) -> PyResult<Heatmap> {
        let meta = self.meta();
        let metric = Metric::from_name(metric).ok_or_else(|| {
            let wanted = Metric::NAMES.join(", ");
            PyValueError::new_err(format!("metric {metric:?}: wanted one of {wanted}"))
        })?;
        let window = meta.window(py, cobring_frame::COB_ROWS)?;
        let (first, end) = self.held(py, window)?;
        let rows = self.copy_rows(py, window, first.max(end.saturating_sub(seconds)), end)?;
        let bucket_size = meta.schema.frame.float(&self.words, "cob.bucket_size");
        Heatmap::of_rows(&meta.windows[window].row, &rows, bucket_size, radius, metric)
            .map_err(|error| errors::of_heatmap(py, &error))
    }
}

fn text_of(field: &Field, words: &[u64]) -> String {
    let bytes: &[u8] = bytemuck::cast_slice(words);
    let bytes = &bytes[field.offset..field.offset + field.element_count() * field.element_bytes()];
    let length = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

/// Floats and their mask as two arrays of float32 and bool.
#[expect(clippy::cast_possible_truncation, reason = "models take float32")]
fn masked(py: Python<'_>, cells: Vec<(f64, bool)>) -> (Bound<'_, PyAny>, Bound<'_, PyAny>) {
    let cells = cells.into_iter().map(|(value, usable)| (value as f32, usable && !value.is_nan()));
    let (values, mask): (Vec<f32>, Vec<bool>) = cells.unzip();
    (PyArray1::from_vec(py, values).into_any(), PyArray1::from_vec(py, mask).into_any())
}

/// A matrix of numpy's own memory.
pub(crate) fn matrix<T: numpy::Element>(
    py: Python<'_>,
    width: usize,
    values: Vec<T>,
) -> PyResult<Bound<'_, PyArray2<T>>> {
    let shape = (values.len().checked_div(width).unwrap_or(0), width);
    let array = ndarray::Array2::from_shape_vec(shape, values)
        .map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(PyArray2::from_owned_array(py, array))
}

#[pymethods]
impl Frame {
    fn __getattr__<'py>(slf: &Bound<'py, Self>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let meta = slf.get().meta();
        match meta.nodes[0].entry(name) {
            Some(entry) => Self::entry(slf, entry),
            None => {
                let names = meta.nodes[0].names.join(", ");
                Err(PyAttributeError::new_err(format!(
                    "the frame has no {name:?}; this engine's frames have {names}"
                )))
            }
        }
    }

    /// A field or block by its dotted name: frame["top.bid_px"].
    fn __getitem__<'py>(slf: &Bound<'py, Self>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let meta = slf.get().meta();
        let mut entry = Entry::Node(0);
        for part in name.split('.') {
            entry = match entry {
                Entry::Node(node) => meta.nodes[node].entry(part),
                Entry::Field(_) => None,
            }
            .ok_or_else(|| PyKeyError::new_err(format!("the frame has no {name:?}")))?;
        }
        Self::entry(slf, entry)
    }

    fn __contains__(slf: &Bound<'_, Self>, name: &str) -> bool {
        Self::__getitem__(slf, name).is_ok()
    }

    fn __dir__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyList>> {
        let names = slf.py().get_type::<Self>().dir()?;
        for name in &slf.get().meta().nodes[0].names {
            names.append(name)?;
        }
        Ok(names)
    }

    /// SHA-256 of the frame, the same live and replayed (epoch and the times of the engine's stages count as zero).
    #[getter]
    fn hash(&self) -> String {
        self.digest().iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing into a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// quality.score by the name that users of the older system know.
    #[getter]
    fn data_quality_score(&self) -> f64 {
        self.score()
    }

    /// Text of the schema that describes this frame: JSON.
    #[getter]
    fn schema(&self) -> &str {
        &self.meta().text
    }

    /// Names of an enumeration or of bits, in order from 0: frame.names("candle_flags").
    fn names<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyTuple>> {
        let names = self.meta().schema.names(name).ok_or_else(|| {
            let known: Vec<_> = self.meta().schema.names.iter().map(|n| n.name.as_str()).collect();
            PyKeyError::new_err(format!("no names {name:?}; there are {}", known.join(", ")))
        })?;
        PyTuple::new(py, names)
    }

    /// Whether every row that was handed out through this frame is still what the engine wrote.
    pub(crate) fn intact(&self) -> bool {
        let (Source::Shared(segment), Some(handed)) = (&self.source, self.handed.get()) else {
            return true;
        };
        let oldest = handed.iter().map(|from| from.load(Ordering::Relaxed));
        oldest.zip(&segment.windows).zip(&self.meta().windows).all(|((from, reader), window)| {
            let cursor = self.meta().schema.cursor(&self.words, &window.name);
            from == u64::MAX
                || cursor.is_some_and(|cursor| {
                    reader.last(cursor, cursor.done.saturating_sub(from)).is_ok()
                })
        })
    }

    /// This frame with its windows' rows copied (the last `rows` of each, by default all that are promised), so that
    /// it lives without the engine. Raises Lapped where the engine has come round already.
    #[pyo3(signature = (rows = None))]
    fn copy(&self, py: Python<'_>, rows: Option<u64>) -> PyResult<Self> {
        self.detach(py, rows)
    }

    /// What is below its best or not as required, errors first: a list of Finding(block, found, wanted, severity).
    #[pyo3(signature = (require = None, *, min_quality = cobring_frame::MIN_QUALITY))]
    fn validate<'py>(
        &self,
        py: Python<'py>,
        require: Option<&Bound<'py, PyAny>>,
        min_quality: f64,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let require = parse_require(require, min_quality, &self.meta().schema)?;
        errors::findings_to_py(py, self.findings(&require).iter())
    }

    /// The history of buckets as a matrix fixed in price: Heatmap(times, prices, values, valid).
    #[pyo3(signature = (seconds = 300, radius = 20, metric = "net_quote"))]
    fn cob_heatmap<'py>(
        &self,
        py: Python<'py>,
        seconds: u64,
        radius: usize,
        metric: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let Heatmap { times, prices, values, valid } = self.heatmap(py, seconds, radius, metric)?;
        let width = 2 * radius + 1;
        CLASS.import(py, "cobring._results", "Heatmap")?.call1((
            PyArray1::from_vec(py, times),
            PyArray1::from_vec(py, prices),
            matrix(py, width, values)?,
            matrix(py, width, valid)?,
        ))
    }

    /// cob_heatmap by the name that users of the older system know.
    #[pyo3(signature = (seconds = 300, radius = 20, metric = "net_quote"))]
    fn get_cob_heatmap_matrix<'py>(
        &self,
        py: Python<'py>,
        seconds: u64,
        radius: usize,
        metric: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.cob_heatmap(py, seconds, radius, metric)
    }

    /// The last n book states, oldest first: float32 [n, 40] (for each of 10 levels ask_px, ask_qty, bid_px, bid_qty)
    /// and bool [n, 40], True where the cell is known; the others are NaN.
    fn lob_tensor<'py>(
        &self,
        py: Python<'py>,
        n: u64,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let window = self.meta().window(py, "book_states")?;
        let (from, end) = self.last(py, window, n)?;
        let words = self.copy_rows(py, window, from, end)?;
        let row = &self.meta().windows[window].row;
        let (Some(levels), Some(valid)) = (row.field("levels"), row.field("valid")) else {
            let message = "the segment's book_states have no levels or no valid".to_owned();
            return Err(errors::mismatch(py, message));
        };
        let width = levels.element_count();
        let cells = words.chunks_exact(row.size_bytes / 8).flat_map(|row| {
            let known = valid.unsigned(row, 0) != 0;
            (0..width).map(move |index| (levels.float(row, index), known))
        });
        #[expect(clippy::cast_possible_truncation, reason = "models take float32")]
        let (values, mask): (Vec<f32>, Vec<bool>) = cells
            .map(|(value, known)| (value as f32, known && !value.is_nan()))
            .map(|(value, known)| (if known { value } else { f32::NAN }, known))
            .unzip();
        Ok((matrix(py, width, values)?.into_any(), matrix(py, width, mask)?.into_any()))
    }

    /// Fields as float32 and a mask that is True where the value is known and its block valid. Names are dotted
    /// (`top.bid_px`; an array gives all its elements, `flow.ofi[2]` one) or of rows (`indicators.1s[-1].rsi_14`).
    fn vector<'py>(
        &self,
        py: Python<'py>,
        names: Vec<String>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let mut cells = Vec::with_capacity(names.len());
        for name in &names {
            self.vector_part(py, name, &mut cells)?;
        }
        Ok(masked(py, cells))
    }

    /// The last n closed bars of this symbol and of the reference symbol, joined by open_time: Panel of float64
    /// [symbol, time, feature]. A reference bar counts only if it had closed when this frame was received.
    #[pyo3(signature = (timeframe, n, features = None))]
    fn panel<'py>(
        &self,
        py: Python<'py>,
        timeframe: &str,
        n: u64,
        features: Option<Vec<String>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        crate::panel::panel(py, self, self.reference(), timeframe, n, features)
    }

    /// The frame as nested dicts of plain values, as the JSON form has it (unknown is None).
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        crate::json::to_python(py, &self.meta().schema.frame_to_json(&self.words))
    }

    /// The frame as `cobring frame show --json` prints it.
    fn to_json(&self) -> String {
        self.meta().schema.frame_to_json(&self.words).to_string()
    }

    /// Copies as torch tensors of float32: every number of the frame by its dotted name, and of every window its last
    /// `rows` rows (or as many as there are) as [rows, columns].
    #[pyo3(signature = (rows = 300))]
    fn to_torch<'py>(slf: &Bound<'py, Self>, rows: usize) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("cobring._results")?.call_method1("to_torch", (slf, rows))
    }

    /// The latest output of each model by its name, as a row (see the window models.NAME) or None where it has said
    /// nothing; `without` leaves one out, as a model does with its own.
    #[pyo3(signature = (without = None))]
    fn outputs<'py>(slf: &Bound<'py, Self>, without: Option<&str>) -> PyResult<Bound<'py, PyDict>> {
        let (py, frame) = (slf.py(), slf.get());
        let outputs = PyDict::new(py);
        for (index, window) in frame.meta().windows.iter().enumerate() {
            let name = window.name.strip_prefix("models.").filter(|name| Some(*name) != without);
            let Some(name) = name else { continue };
            let (first, end) = frame.held(py, index)?;
            let row = if first < end {
                let view = frame.view(py, index, end - 1, end)?;
                rows::structured(py, view, window.dtype(py)?, 1)?.get_item(0)?
            } else {
                py.None().into_bound(py)
            };
            outputs.set_item(name, row)?;
        }
        Ok(outputs)
    }

    /// Dotted names of all fields of the frame.
    fn fields(&self) -> Vec<&str> {
        self.meta().schema.frame.fields.iter().map(|field| field.name.as_str()).collect()
    }

    /// Names of all windows.
    fn windows(&self) -> Vec<&str> {
        self.meta().windows.iter().map(|window| window.name.as_str()).collect()
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let text = |name: &str| -> String {
            let value = Self::__getitem__(slf, name).and_then(|value| value.str());
            value.map_or_else(|_| "?".to_owned(), |value| value.to_string())
        };
        let frame = slf.get();
        Ok(format!(
            "<cobring.Frame {} seq={} trigger={} quality={:.3} book={} bid={} ask={}>",
            frame.symbol_text(),
            frame.seq_number(),
            text("trigger"),
            frame.score(),
            text("book.book_state"),
            text("top.bid_px"),
            text("top.ask_px"),
        ))
    }

    fn _repr_html_(slf: &Bound<'_, Self>) -> PyResult<String> {
        slf.py().import("cobring._html")?.call_method1("frame", (slf,))?.extract()
    }

    /// Pickled with all its rows, so that it can go to another process or to a file.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let whole = self.detach(py, None)?;
        let Source::Copied { meta, windows, .. } = &whole.source else {
            return Err(PyValueError::new_err("invariant: a detached frame has its rows"));
        };
        let bytes = |words: &[u64]| PyBytes::new(py, bytemuck::cast_slice(words));
        let rows: Vec<_> =
            windows.iter().map(|window| (window.from, bytes(&window.words))).collect();
        let restore = py.import("cobring._cobring")?.getattr("_restore_frame")?;
        (restore, (&meta.text, bytes(&whole.words), rows)).into_pyobject(py)
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.words == other.words && self.meta().text == other.meta().text
    }

    fn __hash__(&self) -> u64 {
        self.words
            .iter()
            .fold(0xcbf2_9ce4_8422_2325, |hash, word| (hash ^ word).wrapping_mul(0x0100_0000_01b3))
    }
}

/// A frame out of its pickle.
#[pyfunction]
#[pyo3(name = "_restore_frame")]
pub(crate) fn restore_frame(
    py: Python<'_>,
    schema: &str,
    words: &[u8],
    rows: Vec<(u64, Vec<u8>)>,
) -> PyResult<Frame> {
    let meta = Arc::new(Meta::parse(py, schema)?);
    let whole = |bytes: &[u8], size: usize, what: &str| {
        if size == 0 || !bytes.len().is_multiple_of(size) {
            return Err(PyValueError::new_err(format!("a pickled frame with {what} cut short")));
        }
        Ok(bytemuck::pod_collect_to_vec::<u8, u64>(bytes))
    };
    let frame_bytes = meta.schema.frame.size_bytes;
    if words.len() != frame_bytes || rows.len() != meta.windows.len() {
        return Err(PyValueError::new_err("a pickled frame that is not of its schema"));
    }
    let words = whole(words, frame_bytes, "its fields")?.into_boxed_slice();
    let windows = meta
        .windows
        .iter()
        .zip(rows)
        .map(|(window, (from, bytes))| {
            let rows = whole(&bytes, window.row.size_bytes, &window.name)?;
            let count = (bytes.len() / window.row.size_bytes) as u64;
            let done = meta.schema.cursor(&words, &window.name).map_or(0, |cursor| cursor.done);
            if from.checked_add(count) != Some(done) && count > 0 {
                return Err(PyValueError::new_err(format!(
                    "a pickled frame whose rows of {} end elsewhere than its cursor",
                    window.name
                )));
            }
            Ok(Copied { from: if count == 0 { done } else { from }, words: rows.into() })
        })
        .collect::<PyResult<Vec<_>>>()?;
    let source = Source::Copied { meta, windows: windows.into(), reference: None };
    Ok(Frame { words, source, handed: OnceLock::new() })
}
