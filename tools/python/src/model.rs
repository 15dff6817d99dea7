//! A model's own outputs. Guarantees: what the engine would refuse for its shape is refused here, by name; one process
//! a model and symbol. Does not: wait, or say what the engine made of an output (frames show that in `models.NAME`).

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use cobring_frame::ModelWriter;
use cobring_types::{ModelFault, ModelOutput, Nanos};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::block::parse_span;
use crate::errors;
use crate::frame::Frame;
use crate::reader::DIR;

/// A model's place at an engine that is configured with it ([models.NAME]): publishes its outputs for one symbol.
#[pyclass(module = "cobring")]
#[derive(Debug)]
pub(crate) struct Model {
    symbol: String,
    name: String,
    /// Never contended: a lock so that the object may be seen from several threads.
    writer: Mutex<ModelWriter>,
}

impl Model {
    fn writer(&mut self) -> &mut ModelWriter {
        self.writer.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Model {
    #[new]
    #[pyo3(signature = (symbol, name, dir = None))]
    fn new(py: Python<'_>, symbol: String, name: String, dir: Option<PathBuf>) -> PyResult<Self> {
        let dir = dir.unwrap_or_else(|| PathBuf::from(DIR));
        let writer = ModelWriter::open(&dir, &symbol, &name)
            .map_err(|error| errors::of_frame(py, &error))?;
        Ok(Self { symbol, name, writer: Mutex::new(writer) })
    }

    /// Publishes what the model says to a frame; returns the output's number. It shows in one of the next frames, in
    /// the window models.NAME. horizon: a span as "5s". Raises EpochChanged once after a restart of the engine (answer
    /// a frame of the new one), WriterGone while there is none.
    #[pyo3(signature = (frame, outputs = Vec::new(), *, action = None, value = None, confidence = None, horizon = None, state = Vec::new()))]
    #[expect(clippy::too_many_arguments, reason = "keywords of a Python function")]
    fn publish(
        &mut self,
        py: Python<'_>,
        frame: &Bound<'_, Frame>,
        outputs: Vec<f32>,
        action: Option<i64>,
        value: Option<f64>,
        confidence: Option<f64>,
        horizon: Option<&Bound<'_, PyAny>>,
        state: Vec<f32>,
    ) -> PyResult<u64> {
        let wrong = |fault: ModelFault| PyValueError::new_err(fault.to_string());
        let (epoch, seq, input_seq) = frame.get().lineage();
        let mut output = ModelOutput::answering(epoch, seq, input_seq)
            .with_outputs(&outputs)
            .and_then(|output| output.with_state(&state))
            .map_err(wrong)?;
        if let Some(action) = action {
            output = output.with_action(action);
        }
        if let Some(value) = value {
            output = output.with_value(value);
        }
        if let Some(confidence) = confidence {
            output = output.with_confidence(confidence);
        }
        if let Some(horizon) = horizon {
            output = output.with_horizon(Nanos(parse_span(horizon)?));
        }
        self.writer().publish(&output).map_err(|error| errors::of_frame(py, &error))
    }

    #[getter]
    fn symbol(&self) -> &str {
        &self.symbol
    }

    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    /// Outputs that a record must have, as the engine is configured.
    #[getter]
    fn outputs(&mut self) -> usize {
        self.writer().shape().outputs
    }

    /// Outputs published in this epoch.
    #[getter]
    fn published(&mut self) -> u64 {
        self.writer().published()
    }

    fn __repr__(&mut self) -> String {
        let published = self.writer().published();
        let (symbol, name) = (&self.symbol, &self.name);
        format!("<cobring.Model {name} of {symbol} published={published}>")
    }
}
