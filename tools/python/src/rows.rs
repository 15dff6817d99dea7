//! Numpy arrays over memory that numpy does not own. Guarantees: read-only; the array's base keeps the memory alive;
//! no Rust reference to shared memory is ever made, numpy gets the bare address. Needs: what was read from rows to be
//! believed only after [`View::check`], as with any view. Does not: copy.
#![allow(unsafe_code, reason = "numpy's C API takes addresses")]

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::Arc;

use cobring_frame::WindowView;
use numpy::npyffi::{self, PY_ARRAY_API, npy_intp};
use numpy::{PyArrayDescr, PyArrayDescrMethods as _};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use crate::errors;

/// Rows that arrays lie over: the base of each array.
#[pyclass(frozen, module = "cobring._cobring")]
#[derive(Debug)]
pub(crate) struct View(Held);

#[derive(Debug)]
enum Held {
    /// In the engine's memory.
    Shared(WindowView),
    /// In ours.
    Copied { words: Arc<[u64]>, start: usize },
}

impl View {
    pub(crate) fn shared(view: WindowView) -> Self {
        Self(Held::Shared(view))
    }

    /// From word `start` on.
    pub(crate) fn copied(words: Arc<[u64]>, start: usize) -> Self {
        Self(Held::Copied { words, start })
    }

    fn address(&self) -> *const u64 {
        match &self.0 {
            Held::Shared(view) => view.as_ptr(),
            Held::Copied { words, start } => words[*start..].as_ptr(),
        }
    }
}

#[pymethods]
impl View {
    /// Whether all that has been read from these rows so far was what the engine wrote.
    fn intact(&self) -> bool {
        match &self.0 {
            Held::Shared(view) => view.intact(),
            Held::Copied { .. } => true,
        }
    }

    /// As intact(), with the reason: raises Lapped or Repaired.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        match &self.0 {
            Held::Shared(view) => view.check().map_err(|error| errors::of_frame(py, &error)),
            Held::Copied { .. } => Ok(()),
        }
    }
}

/// Shape and steps of an array.
pub(crate) struct Shape<'a> {
    pub(crate) dimensions: &'a [usize],
    /// Bytes between neighbours; None where they lie close.
    pub(crate) strides: Option<&'a [usize]>,
}

/// A structured array of `count` rows, with `intact()` and a checked `copy()`.
pub(crate) fn structured<'py>(
    py: Python<'py>,
    view: View,
    dtype: &Bound<'py, PyArrayDescr>,
    count: usize,
) -> PyResult<Bound<'py, PyAny>> {
    static ROWS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = ROWS.import(py, "cobring._rows", "Rows")?;
    over_view(py, Some(class), view, dtype, &Shape { dimensions: &[count], strides: None }, 0)
}

/// An array that begins `offset` bytes into a view.
pub(crate) fn over_view<'py>(
    py: Python<'py>,
    class: Option<&Bound<'py, PyType>>,
    view: View,
    dtype: &Bound<'py, PyArrayDescr>,
    shape: &Shape<'_>,
    offset: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let address = view.address();
    let owner = Bound::new(py, view)?.into_any();
    // SAFETY: the caller's shape lies inside the view's rows (`Frame::rows` and `Frame::matrix` build it from the
    // schema, whose fields were checked to lie inside their row); `owner` keeps the mapping or the copy alive.
    unsafe { borrow(py, class, dtype, shape, address.cast::<u8>().add(offset).cast(), owner) }
}

/// An array over memory that `owner` keeps alive and unchanged in place.
///
/// # Safety
/// `shape` of `dtype` from `address` on is readable for as long as `owner` lives. Another process may be writing it:
/// numpy reads it as volatile bytes, and whoever uses them asks the protocol afterwards.
pub(crate) unsafe fn borrow<'py>(
    py: Python<'py>,
    class: Option<&Bound<'py, PyType>>,
    dtype: &Bound<'py, PyArrayDescr>,
    shape: &Shape<'_>,
    address: *const c_void,
    owner: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let signed = |sizes: &[usize]| -> Vec<npy_intp> {
        sizes.iter().map(|&size| npy_intp::try_from(size).unwrap_or(npy_intp::MAX)).collect()
    };
    let mut dimensions = signed(shape.dimensions);
    let mut strides = shape.strides.map(signed);
    let steps = strides.as_mut().map_or(ptr::null_mut(), |strides| strides.as_mut_ptr());
    // SAFETY: the class is numpy's or derived from it; the descriptor's reference is taken over (cloned for it);
    // dimensions and strides are `nd` long and copied by numpy; flags without WRITEABLE make it read-only. The owner's
    // reference is taken over by SetBaseObject even where it fails.
    unsafe {
        let class = match class {
            Some(class) => class.as_type_ptr(),
            None => npyffi::get_type_object(py, npyffi::NpyTypes::PyArray_Type),
        };
        let array = PY_ARRAY_API.PyArray_NewFromDescr(
            py,
            class,
            dtype.clone().into_dtype_ptr(),
            c_int::try_from(dimensions.len()).unwrap_or(c_int::MAX),
            dimensions.as_mut_ptr(),
            steps,
            address.cast_mut(),
            0,
            ptr::null_mut(),
        );
        let array = Bound::from_owned_ptr_or_err(py, array)?;
        if PY_ARRAY_API.PyArray_SetBaseObject(py, array.as_ptr().cast(), owner.into_ptr()) < 0 {
            return Err(PyErr::fetch(py));
        }
        Ok(array)
    }
}
