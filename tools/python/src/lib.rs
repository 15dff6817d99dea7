//! The Python package's compiled half. Guarantees: a call never aborts the interpreter (the wheel unwinds), shared
//! memory is only ever read, and only through `cobring-frame` or through numpy views that can be checked after use.
//! Needs: CPython 3.10 or later with numpy. Does not: know blocks or windows by name, beyond those that a definition
//! of FRAME.md names (heatmap, book states, buckets).

mod block;
mod errors;
mod frame;
mod frames;
mod json;
mod meta;
mod model;
mod panel;
mod reader;
mod reference;
mod replay;
mod require;
mod rows;

use pyo3::prelude::*;

/// Frames and windows out of shared memory.
#[pymodule]
fn _cobring(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<frame::Frame>()?;
    module.add_class::<block::Block>()?;
    module.add_class::<reader::Handle>()?;
    module.add_class::<frames::Frames>()?;
    module.add_class::<rows::View>()?;
    module.add_class::<model::Model>()?;
    module.add_class::<replay::Replay>()?;
    module.add_function(wrap_pyfunction!(reader::open, module)?)?;
    module.add_function(wrap_pyfunction!(replay::open, module)?)?;
    module.add_function(wrap_pyfunction!(reader::reopen, module)?)?;
    module.add_function(wrap_pyfunction!(reader::forked, module)?)?;
    module.add_function(wrap_pyfunction!(frame::restore_frame, module)?)?;
    module.add("UNDEF", cobring_frame::UNDEF)?;
    module.add("DIR", reader::DIR)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))
}
