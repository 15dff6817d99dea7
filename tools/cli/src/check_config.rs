//! `cobring check-config`: a configuration's errors, all at once, and what it would need.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;
use cobring_pipeline::replay::segment_spec;
use serde_json::json;

use crate::exit::Failure;
use crate::output;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cobring check-config config/cobring.toml
  cobring check-config --print > mine.toml     # the built-in configuration, to edit")]
pub(crate) struct CheckConfig {
    /// Configuration; by default the built-in one.
    #[arg(value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the built-in configuration with all its comments.
    #[arg(long, conflicts_with = "config")]
    print: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl CheckConfig {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        if self.print {
            write!(out, "{}", cobring_pipeline::config::BUILT_IN)?;
            return Ok(());
        }
        let config = output::config(self.config.as_deref())?;
        let sizes: Vec<_> = config
            .symbol_configs()
            .iter()
            .map(|symbol| {
                let (spec, _) = segment_spec(symbol, config.frame_slots(), 0);
                (spec.symbol.clone(), spec.frame_size_bytes, spec.size_bytes())
            })
            .collect();
        let total: usize = sizes.iter().map(|(_, _, bytes)| bytes).sum();
        if self.json {
            let symbols: Vec<_> = sizes
                .iter()
                .map(|(symbol, frame, segment)| {
                    json!({ "symbol": symbol, "frame_size_bytes": frame, "segment_size_bytes": segment })
                })
                .collect();
            writeln!(
                out,
                "{}",
                json!({ "ok": true, "symbols": symbols, "shared_memory_bytes": total })
            )?;
            return Ok(());
        }
        for (symbol, frame, segment) in &sizes {
            writeln!(out, "{symbol}: frame {frame} bytes, segment {:.1} MB", mega(*segment))?;
        }
        writeln!(
            out,
            "ok: {} symbols, {:.1} MB of shared memory in {}",
            sizes.len(),
            mega(total),
            config.engine.shared_memory_dir.display()
        )?;
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "a size to look at")]
fn mega(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}
