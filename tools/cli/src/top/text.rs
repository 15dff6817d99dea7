//! A view as plain text, for a pipe or a look in passing.

use super::lines::{self, Line, Tone};
use super::view::View;

/// Room for two columns of counters more than a small terminal has, and for every column of a symbol.
const WIDTH: usize = 120;

/// Every part of the view.
pub(crate) fn page(view: &View) -> String {
    let mut page = vec![lines::engine(&view.engine()), lines::symbols_head_wide()];
    page.extend(view.symbols().iter().map(lines::symbol_wide));
    let mut part = |head: Vec<Line>, rows: Vec<Line>| {
        if !rows.is_empty() {
            page.push(Line::of("", Tone::Plain));
            page.extend(head);
            page.extend(rows);
        }
    };
    let stages = view.stages(None).iter().map(lines::stage).collect();
    part(lines::stages_head(None, view.interval()).into(), stages);
    let readers = view.readers().iter().map(lines::reader).collect();
    part(vec![lines::readers_head()], readers);
    let models = view.models().iter().map(lines::model).collect();
    part(vec![lines::models_head()], models);
    let counters = lines::counters(&view.counters(None), WIDTH);
    part(vec![lines::counters_head(None, WIDTH)], counters);
    if let Some(reason) = view.no_counters() {
        part(Vec::new(), vec![Line::of(format!("no counters: {reason}"), Tone::Warning)]);
    }
    page.iter().map(|line| line.text() + "\n").collect()
}
