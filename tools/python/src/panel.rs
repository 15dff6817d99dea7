//! Bars of two symbols side by side, joined by time. Guarantees: in a column all bars have the same open_time; a bar of
//! the reference is there only if it had closed by the frame's receive time, so no panel sees the future. Does not: fill.

use std::collections::BTreeMap;
use std::sync::Arc;

use cobring_frame::{RecordSchema, UNDEF};
use numpy::{PyArray1, PyArray3, ndarray};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::errors;
use crate::frame::Frame;
use crate::reference::Reference;

const FEATURES: [&str; 5] = ["open", "high", "low", "close", "volume"];

pub(crate) fn panel<'py>(
    py: Python<'py>,
    frame: &Frame,
    reference: Option<&Arc<Reference>>,
    timeframe: &str,
    n: u64,
    features: Option<Vec<String>>,
) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let name = format!("candles.{timeframe}");
    let features = features.unwrap_or_else(|| FEATURES.map(str::to_owned).into());
    let window = frame.meta().window(py, &name)?;
    let row = &frame.meta().windows[window].row;
    let (from, end) = frame.last(py, window, n)?;
    let own = frame.copy_rows(py, window, from, end)?;
    let own: Vec<&[u64]> = own.chunks_exact(row.size_bytes / 8).collect();
    let open_time = column(py, row, &name, "open_time")?;
    let times: Vec<i64> = own.iter().map(|bar| open_time.signed(bar, 0)).collect();

    let mut symbols = vec![frame.symbol_text()];
    let mut cells = Vec::new();
    push(py, &mut cells, own.into_iter().map(Some), row, &name, &features)?;
    if let Some(reference) = reference.filter(|reference| reference.symbol != symbols[0]) {
        let (window, schema) = reference.window(py, &name)?;
        let failed = |error| errors::of_frame(py, &error);
        let done = window.cursor().done;
        let from = window.oldest().max(done.saturating_sub(window.rows_promised())).min(done);
        let view = window.view(from, done - from).map_err(failed)?;
        let mut words = vec![0; view.size_words()];
        view.copy_into(&mut words).map_err(failed)?;
        let open_time = column(py, &schema.row, &name, "open_time")?;
        let ts_closed = column(py, &schema.row, &name, "ts_closed")?;
        let known: BTreeMap<i64, &[u64]> = words
            .chunks_exact(schema.row.size_bytes / 8)
            .filter(|bar| (UNDEF + 1..=frame.ts_recv()).contains(&ts_closed.signed(bar, 0)))
            .map(|bar| (open_time.signed(bar, 0), bar))
            .collect();
        let bars = times.iter().map(|time| known.get(time).copied());
        push(py, &mut cells, bars, &schema.row, &name, &features)?;
        symbols.push(reference.symbol.clone());
    }
    let shape = (symbols.len(), times.len(), features.len());
    let valid: Vec<bool> = cells.iter().map(|cell| !cell.is_nan()).collect();
    let array = |cells| ndarray::Array3::from_shape_vec(shape, cells);
    let wrong = |error: ndarray::ShapeError| PyValueError::new_err(error.to_string());
    let valid = ndarray::Array3::from_shape_vec(shape, valid).map_err(wrong)?;
    CLASS.import(py, "cobring._results", "Panel")?.call1((
        PyArray3::from_owned_array(py, array(cells).map_err(wrong)?),
        PyArray3::from_owned_array(py, valid),
        PyArray1::from_vec(py, times),
        symbols,
        features,
    ))
}

/// A symbol's bars, features of each; NaN where there is no bar.
fn push<'a>(
    py: Python<'_>,
    cells: &mut Vec<f64>,
    bars: impl Iterator<Item = Option<&'a [u64]>>,
    row: &RecordSchema,
    window: &str,
    features: &[String],
) -> PyResult<()> {
    let columns = features.iter().map(|name| column(py, row, window, name));
    let columns = columns.collect::<PyResult<Vec<_>>>()?;
    for bar in bars {
        cells.extend(columns.iter().map(|field| bar.map_or(f64::NAN, |bar| field.float(bar, 0))));
    }
    Ok(())
}

fn column<'a>(
    py: Python<'_>,
    row: &'a RecordSchema,
    window: &str,
    name: &str,
) -> PyResult<&'a cobring_frame::Field> {
    row.field(name).ok_or_else(|| errors::mismatch(py, format!("{window} has no column {name:?}")))
}
