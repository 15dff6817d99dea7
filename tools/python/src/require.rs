//! What a caller requires of frames: `{"candles.1s": 300, "book": True}`, or names.

use cobring_frame::{Require, Schema};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Of `require=`: a dict from windows to rows (or from blocks to True), or a list of names, where a window asks for the
/// rows that it promises.
pub(crate) fn parse_require(
    require: Option<&Bound<'_, PyAny>>,
    min_quality: f64,
    schema: &Schema,
) -> PyResult<Require> {
    if min_quality.is_nan() {
        return Err(PyValueError::new_err("min_quality: wanted a number from 0 to 1, found nan"));
    }
    let mut parsed = Require { min_quality, ..Require::default() };
    let Some(require) = require.filter(|require| !require.is_none()) else { return Ok(parsed) };
    if let Ok(wanted) = require.cast::<PyDict>() {
        for (name, rows) in wanted {
            let name: String = name.extract()?;
            if rows.is_exact_instance_of::<pyo3::types::PyBool>() {
                if rows.extract()? {
                    parsed.blocks.push(name);
                }
            } else {
                parsed.rows.push((name, rows.extract()?));
            }
        }
        return Ok(parsed);
    }
    let names: Vec<String> = match require.extract::<String>() {
        Ok(name) => vec![name],
        Err(_) => require.extract()?,
    };
    for name in names {
        // Candles are a block and a window: named alone, the block is meant.
        let block =
            schema.frame.fields.iter().any(|field| {
                field.name.strip_prefix(&name).is_some_and(|rest| rest.starts_with('.'))
            });
        match schema.window(&name).filter(|_| !block) {
            Some(window) => parsed.rows.push((name, window.rows_promised)),
            None => parsed.blocks.push(name),
        }
    }
    Ok(parsed)
}
