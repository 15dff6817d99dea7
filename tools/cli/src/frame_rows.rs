//! `cobring frame rows`: the newest rows of a window.

use std::io::{self, BufWriter, Write};

use clap::Args;
use serde_json::Value;

use crate::exit::Failure;
use crate::frame::{Open, Place};

#[derive(Debug, Args)]
pub(crate) struct Rows {
    #[command(flatten)]
    place: Place,
    /// The window: candles.1m, indicators.1s, cob_rows, book_states, ticks, pivots.1s.3, …
    #[arg(value_name = "WINDOW")]
    window: String,
    /// So many; by default all that the window promises, as far as they exist.
    #[arg(long, value_name = "N")]
    last: Option<u64>,
}

impl Rows {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let open = Open::new(&self.place)?;
        let Some(described) = open.schema.windows.iter().find(|known| known.name == self.window)
        else {
            let known: Vec<&str> = open.schema.windows.iter().map(|w| w.name.as_str()).collect();
            let known = known.join(", ");
            return Err(Failure::Failed(format!("no window {}; there are: {known}", self.window)));
        };
        let window = open.reader.window_named(&self.window)?;
        let row_words = described.row.size_bytes / 8;
        let mut words = Vec::new();
        let first = loop {
            let done = window.cursor().done;
            let held = done - window.oldest().min(done);
            let rows = held.min(self.last.unwrap_or(described.rows_promised));
            let view = window.view(done - rows, rows)?;
            words.resize(view.size_words(), 0);
            // Overwritten or repaired meanwhile: once more.
            if view.copy_into(&mut words).is_ok() {
                break view.from();
            }
        };
        let mut out = BufWriter::new(io::stdout().lock());
        for (index, row) in (first..).zip(words.chunks_exact(row_words)) {
            let mut line = open.schema.record_to_json(&described.row, row);
            if let Value::Object(cells) = &mut line {
                cells.insert("index".to_owned(), index.into());
            }
            writeln!(out, "{line}")?;
        }
        out.flush()?;
        Ok(())
    }
}
