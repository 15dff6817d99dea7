//! A block of a frame, and the window of the same name: `frame.candles["1s"].open`, `frame.candles["1s"][-300:]`.
//! Guarantees: rows are views in place; what is handed out belongs to the frame's own instant. Does not: copy, except
//! where the name says so.

use pyo3::exceptions::{PyAttributeError, PyIndexError, PyKeyError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDelta, PyDeltaAccess as _, PyList, PySlice};

use crate::errors;
use crate::frame::Frame;
use crate::meta::{Meta, Node};
use crate::rows::{self, Shape};

/// Columns of `matrix("ohlcv")`.
const OHLCV: [&str; 5] = ["open", "high", "low", "close", "volume"];
/// The column by which a window's rows follow one another: the first of these that it has.
const TIMES: [&str; 4] = ["ts_recv", "ts_end", "open_time", "ts_confirmed"];

/// A block: fields are attributes. Where a window has its name, a sequence of rows too, oldest first.
#[pyclass(frozen, module = "cobring")]
#[derive(Debug)]
pub(crate) struct Block {
    frame: Py<Frame>,
    node: usize,
}

impl Block {
    pub(crate) fn new(frame: Py<Frame>, node: usize) -> Self {
        Self { frame, node }
    }

    fn meta(&self) -> &Meta {
        self.frame.get().meta()
    }

    fn node(&self) -> &Node {
        &self.meta().nodes[self.node]
    }

    fn window(&self) -> PyResult<usize> {
        self.node().window.ok_or_else(|| {
            PyTypeError::new_err(format!("{} is a block and has no rows", self.node().path))
        })
    }

    fn child<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let entry = self.node().entry(name);
        entry.map(|entry| Frame::entry(self.frame.bind(py), entry)).transpose()
    }

    fn count(&self, py: Python<'_>) -> PyResult<u64> {
        let (first, end) = self.frame.get().held(py, self.window()?)?;
        Ok(end - first)
    }

    /// Rows `from..end` in place.
    fn rows<'py>(&self, py: Python<'py>, from: u64, end: u64) -> PyResult<Bound<'py, PyAny>> {
        let (frame, window) = (self.frame.get(), self.window()?);
        let view = frame.view(py, window, from, end)?;
        let dtype = self.meta().windows[window].dtype(py)?;
        rows::structured(py, view, dtype, size(end - from)?)
    }

    /// The column that orders the rows.
    fn time_column(&self) -> PyResult<&cobring_frame::Field> {
        let row = &self.meta().windows[self.window()?].row;
        let field = TIMES.iter().find_map(|name| row.field(name));
        field.ok_or_else(|| PyValueError::new_err(format!("{} has no time", self.node().path)))
    }
}

fn size(count: u64) -> PyResult<usize> {
    usize::try_from(count).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// A span of time in ns: "30min", seconds, or a timedelta.
pub(crate) fn parse_span(span: &Bound<'_, PyAny>) -> PyResult<i64> {
    let wrong = || {
        PyValueError::new_err(format!(
            "{span}: wanted a span as \"30min\", \"90s\", \"500ms\", \"1h\", \"1d\", seconds, or a timedelta"
        ))
    };
    #[expect(clippy::cast_possible_truncation, reason = "checked: finite and far below 2^63")]
    let scaled = |count: f64, unit: f64| {
        let ns = (count * unit).round();
        (0.0..9e18).contains(&ns).then_some(ns as i64).ok_or_else(wrong)
    };
    if let Ok(delta) = span.cast::<PyDelta>() {
        let seconds = f64::from(delta.get_days()) * 86_400.0 + f64::from(delta.get_seconds());
        return scaled(seconds + f64::from(delta.get_microseconds()) / 1e6, 1e9);
    }
    if let Ok(text) = span.extract::<String>() {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &text[digits.len()..] {
            "ms" => 1e6,
            "s" => 1e9,
            "m" | "min" => 60e9,
            "h" => 3_600e9,
            "d" => 86_400e9,
            _ => return Err(wrong()),
        };
        return scaled(digits.trim().parse().map_err(|_| wrong())?, unit);
    }
    scaled(span.extract().map_err(|_| wrong())?, 1e9)
}

#[pymethods]
impl Block {
    fn __getattr__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        self.child(py, name)?.ok_or_else(|| {
            let node = self.node();
            let names = node.names.join(", ");
            PyAttributeError::new_err(format!("{} has no {name:?}, it has {names}", node.path))
        })
    }

    /// By name a block or field below this one (`candles["1s"]`, `pivots["1s"][2]`), by number a row, by slice rows.
    fn __getitem__<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if let Ok(slice) = key.cast::<PySlice>() {
            let (first, end) = self.frame.get().held(py, self.window()?)?;
            let length = isize::try_from(end - first).unwrap_or(isize::MAX);
            let bounds = slice.indices(length)?;
            if bounds.step == 1 {
                let at = |bound: isize| first + u64::try_from(bound).unwrap_or(0);
                return self.rows(py, at(bounds.start), at(bounds.stop.max(bounds.start)));
            }
            return self.rows(py, first, end)?.get_item(slice);
        }
        let number = key.extract::<i64>().ok();
        if let (Some(index), Some(_)) = (number, self.node().window) {
            let (first, end) = self.frame.get().held(py, self.window()?)?;
            let from = if index < 0 { end } else { first };
            let row = from.checked_add_signed(index).filter(|row| (first..end).contains(row));
            let row = row.ok_or_else(|| {
                let path = &self.node().path;
                PyIndexError::new_err(format!("row {index} of {path}, which has {}", end - first))
            })?;
            return self.rows(py, row, row + 1)?.get_item(0);
        }
        let name = match number {
            Some(number) => number.to_string(),
            None => key.extract::<String>()?,
        };
        if let Some(child) = self.child(py, &name)? {
            return Ok(child);
        }
        // "1s.1" for pivots.
        let mut at = Some(self.child(py, name.split('.').next().unwrap_or(""))?);
        for part in name.split('.').skip(1) {
            at = match at.flatten().map(|block| block.cast_into::<Self>()) {
                Some(Ok(block)) => Some(block.get().child(py, part)?),
                _ => None,
            };
        }
        at.flatten().ok_or_else(|| {
            let node = self.node();
            PyKeyError::new_err(format!(
                "{} has no {name:?}, it has {}",
                node.path,
                node.names.join(", ")
            ))
        })
    }

    /// Rows that the window has for this frame, at most those that it promises.
    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        match self.node().window {
            Some(_) => size(self.count(py)?),
            None => Ok(self.node().names.len()),
        }
    }

    /// A block is there whether or not its window has rows.
    fn __bool__(&self) -> bool {
        true
    }

    fn __contains__(&self, py: Python<'_>, name: &str) -> PyResult<bool> {
        Ok(self.child(py, name)?.is_some())
    }

    fn __dir__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyList>> {
        let names = slf.py().get_type::<Self>().dir()?;
        for name in &slf.get().node().names {
            names.append(name)?;
        }
        Ok(names)
    }

    /// Names of the fields and blocks below this one.
    fn keys(&self) -> Vec<String> {
        self.node().names.clone()
    }

    /// The last n rows, oldest first, in place; raises NotEnough where there are fewer.
    fn last<'py>(&self, py: Python<'py>, n: u64) -> PyResult<Bound<'py, PyAny>> {
        let (from, end) = self.frame.get().last(py, self.window()?, n)?;
        self.rows(py, from, end)
    }

    /// Columns of float64 as one [rows, columns] view in place: "ohlcv", or names that lie evenly spaced in the row.
    /// All rows, or the last n.
    #[pyo3(signature = (columns = None, n = None))]
    fn matrix<'py>(
        &self,
        py: Python<'py>,
        columns: Option<&Bound<'py, PyAny>>,
        n: Option<u64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (frame, window) = (self.frame.get(), self.window()?);
        let names: Vec<String> = match columns {
            None => OHLCV.map(str::to_owned).into(),
            Some(columns) if columns.eq("ohlcv")? => OHLCV.map(str::to_owned).into(),
            Some(columns) => columns.extract()?,
        };
        let row = &self.meta().windows[window].row;
        let mut offsets = Vec::with_capacity(names.len());
        for name in &names {
            let field = row.field(name).filter(|f| f.dtype == "<f8" && f.shape.is_empty());
            let field = field.ok_or_else(|| {
                let path = &self.node().path;
                errors::mismatch(py, format!("{path} has no column {name:?} of float64"))
            })?;
            offsets.push(field.offset);
        }
        let step = match offsets.as_slice() {
            [first, second, ..] => second.checked_sub(*first),
            _ => Some(8),
        };
        let even =
            |step: usize| offsets.windows(2).all(|pair| pair[0].checked_add(step) == Some(pair[1]));
        let step = step.filter(|&step| !offsets.is_empty() && even(step)).ok_or_else(|| {
            let names = names.join(", ");
            PyValueError::new_err(format!(
                "columns {names} do not lie evenly spaced in the row; take them one by one, or panel(), which copies"
            ))
        })?;
        let (from, end) = match n {
            Some(n) => frame.last(py, window, n)?,
            None => frame.held(py, window)?,
        };
        let view = frame.view(py, window, from, end)?;
        let shape = Shape {
            dimensions: &[size(end - from)?, offsets.len()],
            strides: Some(&[row.size_bytes, step]),
        };
        rows::over_view(py, None, view, &numpy::dtype::<f64>(py), &shape, offsets[0])
    }

    /// The rows of the last span of time before the frame ("30min", "90s", seconds, a timedelta), in place. The rows'
    /// `span_ns` says what they cover, `complete` whether that is all of the span.
    fn since<'py>(&self, py: Python<'py>, span: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let span_ns = parse_span(span)?;
        let (frame, window) = (self.frame.get(), self.window()?);
        let column = self.time_column()?;
        let begin = frame.ts_recv().saturating_sub(span_ns);
        let (first, end) = frame.held(py, window)?;
        let time = |row: u64| -> PyResult<i64> {
            Ok(column.signed(&frame.copy_rows(py, window, row, row + 1)?, 0))
        };
        let (mut low, mut high) = (first, end);
        while low < high {
            let middle = low + (high - low) / 2;
            if time(middle)? < begin {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let rows = self.rows(py, low, end)?;
        // Before the window's first row lies what it does not hold, unless nothing was ever overwritten or cut off.
        let complete = low > first || (first < end && time(first)? <= begin);
        let covered = if complete {
            span_ns
        } else if first < end {
            frame.ts_recv() - time(first)?
        } else {
            0
        };
        rows.setattr("span_ns", covered)?;
        rows.setattr("complete", complete)?;
        Ok(rows)
    }

    /// Whether the window's rows of this frame can still be read: nothing overwritten, nothing repaired.
    fn intact(&self, py: Python<'_>) -> PyResult<bool> {
        let (frame, window) = (self.frame.get(), self.window()?);
        let (_, end) = frame.held(py, window)?;
        Ok(frame.copy_rows(py, window, end, end).is_ok() && frame.intact())
    }

    /// All rows, copied and checked; raises Lapped where the engine has come round.
    fn copy<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (first, end) = self.frame.get().held(py, self.window()?)?;
        self.rows(py, first, end)?.call_method0("copy")
    }

    /// The block as nested dicts of plain values.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let mut value = self.meta().schema.frame_to_json(self.frame.get().words());
        for part in self.node().path.split('.') {
            value = value[part].take();
        }
        crate::json::to_python(py, &value)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let node = self.node();
        let rows = match node.window {
            Some(_) => format!(" rows={}", self.count(py)?),
            None => String::new(),
        };
        let mut text = format!("<{} of {}{rows}", node.path, self.frame.get().name());
        for name in node.names.iter().take(12) {
            if let Some(value) = self.child(py, name)?.filter(|value| value.cast::<Self>().is_err())
            {
                text.push_str(&format!(" {name}={}", value.repr()?.to_string().replace('\n', "")));
            }
        }
        text.push('>');
        Ok(text)
    }

    fn _repr_html_(slf: &Bound<'_, Self>) -> PyResult<String> {
        slf.py().import("cobring._html")?.call_method1("block", (slf,))?.extract()
    }
}
