//! What all subcommands write alike.

use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::time::Duration;

use cobring_pipeline::config::{Config, ConfigError};
use cobring_pipeline::fold::SymbolSummary;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value, json};

/// A bar over bytes on stderr, where that is a terminal and the work takes long enough to look at.
pub(crate) fn progress_bar(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {elapsed}")
            .expect("invariant: the template is a constant"),
    );
    bar.set_message(what);
    if io::stderr().is_terminal() {
        bar.enable_steady_tick(Duration::from_millis(200));
    } else {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}

/// The configuration of `--config`, or the built-in one.
pub(crate) fn config(path: Option<&Path>) -> Result<Config, ConfigError> {
    path.map_or_else(|| Ok(Config::built_in()), Config::load)
}

/// Frames, hash and counters of each symbol.
pub(crate) fn symbols_json(symbols: &[SymbolSummary]) -> Value {
    let symbol = |symbol: &SymbolSummary| {
        let counters: Map<String, Value> =
            symbol.counters.iter().map(|(name, count)| (name.to_owned(), json!(count))).collect();
        let value = json!({
            "frames": symbol.frames,
            "hash": symbol.digest.map(|digest| digest.to_string()),
            "counters": counters,
            "bell_truncated_total": symbol.bell_truncated,
        });
        (symbol.symbol.clone(), value)
    };
    Value::Object(symbols.iter().map(symbol).collect())
}
