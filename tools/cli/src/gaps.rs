//! `cobring gaps`: what logs do not hold.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::Args;
use cobring_pipeline::survey::{self, Gap, GapKind};
use cobring_pipeline::utc;
use cobring_types::Nanos;
use serde_json::json;

use crate::exit::Failure;
use crate::output;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cobring gaps                                # all runs in the configured log
  cobring gaps cobring-log --symbol ETHUSDT
  cobring gaps --jsonl | jq 'select(.kind == \"trades\" and .filled_by == null)'

Kinds: link (no connection carried the streams), book (the book was not live), trades (ids that did not
come), log (inputs that the log does not hold), suspend (the host stood still). Link, log and suspend are
of all symbols. The time before a book's first snapshot in a run is no gap. The log is folded anew for it,
as by `cobring replay`.")]
pub(crate) struct Gaps {
    /// Directories of logs, and log files; by default the configured directory.
    #[arg(value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
    /// Only what this symbol lacks.
    #[arg(long)]
    symbol: Option<String>,
    /// Configuration that names the log's directory; by default the built-in one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print a JSON object a line.
    #[arg(long)]
    jsonl: bool,
}

impl Gaps {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let paths = output::log_paths(self.paths, self.config.as_deref())?;
        let gaps = output::with_progress("gaps", |progress| survey::gaps(&paths, progress));
        let mut gaps = gaps.map_err(Failure::failed)?;
        if let Some(symbol) = &self.symbol {
            gaps.retain(|gap| gap.symbol.as_ref().is_none_or(|of| of.eq_ignore_ascii_case(symbol)));
        }
        let mut out = BufWriter::new(io::stdout().lock());
        if self.jsonl {
            for gap in &gaps {
                let mut line = json!(gap);
                line["duration_ns"] = json!(gap.duration().map(|duration| duration.0));
                writeln!(out, "{line}")?;
            }
        } else {
            print_table(&mut out, &gaps)?;
        }
        out.flush()?;
        Ok(())
    }
}

fn print_table(out: &mut impl Write, gaps: &[Gap]) -> io::Result<()> {
    if gaps.is_empty() {
        return writeln!(out, "no gaps");
    }
    writeln!(
        out,
        "{:<10} {:<8} {:<23} {:<23} {:>12}  {:<9} missing",
        "symbol", "kind", "from", "to", "seconds", "filled by"
    )?;
    for gap in gaps {
        let ids = gap.first_id.zip(gap.last_id);
        writeln!(
            out,
            "{:<10} {:<8} {:<23} {:<23} {:>12}  {:<9} {}{}",
            gap.symbol.as_deref().unwrap_or("all"),
            gap.kind.name(),
            utc::text(Nanos(gap.from)),
            gap.to.map_or("–".to_owned(), |to| utc::text(Nanos(to))),
            gap.duration().map_or("–".to_owned(), seconds),
            gap.filled_by.unwrap_or("nothing"),
            gap.missing,
            ids.map_or(String::new(), |(first, last)| format!(", ids {first} to {last}")),
        )?;
    }
    let mut totals: BTreeMap<(&str, GapKind), (u64, u64, i64)> = BTreeMap::new();
    for gap in gaps {
        let key = (gap.symbol.as_deref().unwrap_or("all"), gap.kind);
        let (count, unfilled, sum) = totals.entry(key).or_default();
        *count += 1;
        *unfilled += u64::from(gap.filled_by.is_none());
        *sum += gap.duration().map_or(0, |duration| duration.0);
    }
    for ((symbol, kind), (count, unfilled, sum)) in totals {
        let (kind, sum) = (kind.name(), seconds(Nanos(sum)));
        writeln!(out, "total {symbol} {kind}: {count} gaps, {sum} s, {unfilled} not filled")?;
    }
    Ok(())
}

/// To the millisecond, exactly.
fn seconds(time: Nanos) -> String {
    format!("{}.{:03}", time.0 / 1_000_000_000, time.0 / 1_000_000 % 1_000)
}
