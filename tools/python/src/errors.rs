//! The package's exceptions: defined in Python (`_errors.py`), raised from here.

use cobring_frame::{Finding, FrameError, HeatmapError, Severity};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyTuple, PyType};

use crate::frame::Frame;

macro_rules! exceptions {
    ($($function:ident => $name:literal),* $(,)?) => {$(
        fn $function(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
            static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
            CLASS.import(py, "cobring._errors", $name)
        }
    )*};
}
exceptions! {
    base => "Error",
    no_writer => "NoWriter",
    writer_gone => "WriterGone",
    epoch_changed => "EpochChanged",
    schema_mismatch => "SchemaMismatch",
    low_quality => "LowQuality",
    lapped => "Lapped",
    repaired => "Repaired",
    not_enough => "NotEnough",
    finding => "Finding",
}

fn raise<'py>(
    class: PyResult<&Bound<'py, PyType>>,
    arguments: impl IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error = PyErr>,
) -> PyErr {
    match class.and_then(|class| class.call1(arguments.into_pyobject(class.py())?)) {
        Ok(instance) => PyErr::from_value(instance),
        Err(error) => error,
    }
}

/// A frame error as the exception that tells what to do.
pub(crate) fn of_frame(py: Python<'_>, error: &FrameError) -> PyErr {
    let message = error.to_string();
    match error {
        FrameError::NoDirectory { .. }
        | FrameError::NoSuchSymbol { .. }
        | FrameError::Removed { .. }
        | FrameError::NoSuchModel { .. } => raise(no_writer(py), (message,)),
        FrameError::WriterGone { .. } | FrameError::Retired { .. } => {
            raise(writer_gone(py), (message,))
        }
        FrameError::EpochChanged { from, to, .. } => {
            raise(epoch_changed(py), (message, *from, *to))
        }
        FrameError::Foreign { .. }
        | FrameError::Version { .. }
        | FrameError::Damaged { .. }
        | FrameError::Truncated { .. }
        | FrameError::NoSuchWindow { .. } => raise(schema_mismatch(py), (message,)),
        FrameError::NotEnough { wanted, oldest, done, .. } => {
            raise(not_enough(py), (message, done.saturating_sub(*oldest), *wanted))
        }
        FrameError::Lapped { from, oldest, .. } => {
            raise(lapped(py), (message, oldest.saturating_sub(*from)))
        }
        FrameError::Repaired { .. } => raise(repaired(py), (message,)),
        FrameError::BadName { .. }
        | FrameError::BadOwnName { .. }
        | FrameError::BadOutput { .. } => PyValueError::new_err(message),
        _ => raise(base(py), (message,)),
    }
}

/// A heatmap's error as the exception that tells what to do.
pub(crate) fn of_heatmap(py: Python<'_>, error: &HeatmapError) -> PyErr {
    match error {
        HeatmapError::Frame(error) => of_frame(py, error),
        HeatmapError::Missing { .. } => raise(schema_mismatch(py), (error.to_string(),)),
        _ => PyValueError::new_err(error.to_string()),
    }
}

/// Frames that came and went before they were read.
pub(crate) fn lapped_frames(py: Python<'_>, symbol: &str, lost: u64) -> PyErr {
    let message = format!(
        "{symbol}: {lost} frames were overwritten before they were read; go on with the next, or read sooner"
    );
    raise(lapped(py), (message, lost))
}

/// Fewer rows, or frames, than asked for.
pub(crate) fn too_few(py: Python<'_>, what: &str, found: u64, wanted: u64) -> PyErr {
    let message =
        format!("{what}: found {found}, wanted {wanted}; ask for fewer, or wait for more");
    raise(not_enough(py), (message, found, wanted))
}

/// The segment is not what the caller needs.
pub(crate) fn mismatch(py: Python<'_>, message: String) -> PyErr {
    raise(schema_mismatch(py), (message,))
}

/// Whatever has no class of its own.
pub(crate) fn other(py: Python<'_>, message: String) -> PyErr {
    raise(base(py), (message,))
}

/// Nobody writes.
pub(crate) fn gone(py: Python<'_>, message: String) -> PyErr {
    raise(writer_gone(py), (message,))
}

/// A frame that is refused: what was found and wanted, block by block.
pub(crate) fn refused(py: Python<'_>, frame: &Py<Frame>, findings: &[Finding]) -> PyErr {
    let name = frame.get().name();
    let errors: Vec<_> = findings.iter().filter(|f| f.severity == Severity::Error).collect();
    let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let message = format!("{name} is refused: {}", text.join("; "));
    match findings_to_py(py, errors.into_iter()) {
        Ok(reasons) => raise(low_quality(py), (message, frame.clone_ref(py), reasons)),
        Err(error) => error,
    }
}

/// Findings as the named tuples of the package.
pub(crate) fn findings_to_py<'a>(
    py: Python<'_>,
    findings: impl Iterator<Item = &'a Finding>,
) -> PyResult<Vec<Bound<'_, PyAny>>> {
    let class = finding(py)?;
    findings.map(|f| class.call1((&f.block, &f.found, &f.wanted, f.severity.to_string()))).collect()
}
