//! What all subcommands write alike.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cobring_frame::{STAGES, SpanSummary};
use cobring_pipeline::config::{Config, ConfigError};
use cobring_pipeline::fold::SymbolSummary;
use cobring_pipeline::log;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value, json};

use crate::exit::Failure;

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

/// Work that tells how far it is, in bytes done and to do, with a bar meanwhile.
pub(crate) fn with_progress<T>(
    what: &'static str,
    work: impl FnOnce(&mut dyn FnMut(u64, u64)) -> T,
) -> T {
    let bar = progress_bar(what);
    let done = work(&mut |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    done
}

/// The logs that were named, or the configured directory.
pub(crate) fn log_paths(
    paths: Vec<PathBuf>,
    config_path: Option<&Path>,
) -> Result<Vec<PathBuf>, ConfigError> {
    Ok(if paths.is_empty() { vec![config(config_path)?.log.dir] } else { paths })
}

/// The files of the newest run of a log.
pub(crate) fn newest_run(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    log::newest_run(dir).map_err(|error| Failure::Failed(format!("{}: {error}", dir.display())))
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
        let mut value = json!({
            "frames": symbol.frames,
            "hash": symbol.digest.map(|digest| digest.to_string()),
            "counters": counters,
            "bell_truncated_total": symbol.bell_truncated,
        });
        if let Some(stages) = &symbol.stages {
            value["stages"] = stages_json(stages);
        }
        (symbol.symbol.clone(), value)
    };
    Value::Object(symbols.iter().map(symbol).collect())
}

/// How long inputs took, by stage.
fn stages_json(stages: &[SpanSummary; STAGES.len()]) -> Value {
    let stages = STAGES.iter().zip(stages);
    Value::Object(stages.map(|(stage, of)| (stage.name.to_owned(), spans_json(of))).collect())
}

/// How long inputs took for one stage.
pub(crate) fn spans_json(spans: &SpanSummary) -> Value {
    let SpanSummary { count, p50_ns, p99_ns, p999_ns, max_ns, negative } = spans;
    json!({
        "count": count, "p50_ns": p50_ns, "p99_ns": p99_ns, "p999_ns": p999_ns, "max_ns": max_ns,
        "negative_total": negative,
    })
}
