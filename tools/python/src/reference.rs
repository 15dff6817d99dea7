//! The reference symbol's segment, opened when a panel first asks for it.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use cobring_frame::{Reader, Schema, WindowReader, WindowSchema};
use pyo3::prelude::*;

use crate::errors;

/// Another symbol of the same engine.
#[derive(Debug)]
pub(crate) struct Reference {
    dir: PathBuf,
    pub(crate) symbol: String,
    /// Held only for a moment and never across a wait.
    opened: Mutex<Option<Opened>>,
    /// Of a replay: there is no file to open.
    fixed: bool,
}

#[derive(Debug)]
struct Opened {
    reader: Reader,
    schema: Schema,
}

impl Opened {
    fn of(py: Python<'_>, reader: Reader) -> PyResult<Self> {
        let schema = Schema::from_json(reader.schema()).map_err(|error| {
            let path = reader.path().display();
            errors::mismatch(py, format!("{path}: the schema is damaged: {error}"))
        })?;
        Ok(Self { reader, schema })
    }
}

impl Reference {
    pub(crate) fn new(dir: PathBuf, symbol: String) -> Self {
        Self { dir, symbol, opened: Mutex::new(None), fixed: false }
    }

    /// A reader that is there already.
    pub(crate) fn of_reader(py: Python<'_>, reader: Reader) -> PyResult<Self> {
        let symbol = reader.symbol().to_owned();
        let opened = Mutex::new(Some(Opened::of(py, reader)?));
        Ok(Self { dir: PathBuf::new(), symbol, opened, fixed: true })
    }

    /// The window of that name, of the engine that writes now.
    pub(crate) fn window(
        &self,
        py: Python<'_>,
        name: &str,
    ) -> PyResult<(WindowReader, WindowSchema)> {
        let failed = |error| errors::of_frame(py, &error);
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let held = match &mut *opened {
            Some(held) => held,
            None => {
                let reader = Reader::open(&self.dir, &self.symbol).map_err(failed)?;
                opened.insert(Opened::of(py, reader)?)
            }
        };
        if !self.fixed && held.reader.follow().map_err(failed)? {
            *held = Opened::of(py, held.reader.twin())?;
        }
        let window = held.reader.window_named(name).map_err(failed)?;
        let schema = held.schema.window(name).cloned().ok_or_else(|| {
            errors::mismatch(py, format!("{}: the schema lacks window {name}", self.symbol))
        })?;
        Ok((window, schema))
    }
}
