//! `cobring verify`: whether logs are whole.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::Args;
use cobring_pipeline::log::FileFacts;
use cobring_pipeline::survey::{self, Finding, RunFacts, VerifyReport};
use cobring_types::Nanos;
use serde_json::{Value, json};

use crate::exit::Failure;
use crate::output;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cobring verify                              # all runs in the configured log
  cobring verify cobring-log --json | jq .findings
  cobring verify cobring-log/*.cblog*         # files; a directory is also held against its manifest

Checked are headers, checkpoints, the numbers, stamps and checksums of all records over the files of each run,
and that the update ids and trade ids of each symbol go on one by one where a link was up. A torn end of a
run's last file, as a kill or a power cut leaves it, and inputs that the log owns up to not holding are no
findings; `cobring gaps` tells what is missing.

Exit codes: 0 whole, 4 something was found, 1 nothing could be read.")]
pub(crate) struct Verify {
    /// Directories of logs, and log files; by default the configured directory.
    #[arg(value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
    /// Configuration that names the log's directory; by default the built-in one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let paths = output::log_paths(self.paths, self.config.as_deref())?;
        let report = output::with_progress("verify", |progress| survey::verify(&paths, progress));
        let report = report.map_err(Failure::failed)?;
        let mut out = BufWriter::new(io::stdout().lock());
        if self.json {
            writeln!(out, "{}", report_json(&report))?;
        } else {
            print_report(&mut out, &report)?;
        }
        out.flush()?;
        if report.findings_total == 0 { Ok(()) } else { Err(Failure::Found) }
    }
}

fn print_report(out: &mut impl Write, report: &VerifyReport) -> io::Result<()> {
    writeln!(
        out,
        "{:<70} {:>10} {:>12} {:>12} {:>14} {:>14} {:>7}",
        "file", "inputs", "first", "last", "bytes", "stored", "lost"
    )?;
    for file in report.runs.iter().flat_map(|run| &run.files) {
        writeln!(
            out,
            "{:<70} {:>10} {:>12} {:>12} {:>14} {:>14} {:>7}",
            file.name,
            file.inputs,
            file.first_input_seq,
            file.last_input_seq.map_or("–".to_owned(), |seq| seq.to_string()),
            file.raw_bytes,
            file.stored_bytes,
            file.inputs_lost,
        )?;
    }
    for run in &report.runs {
        print_run(out, run)?;
    }
    for note in &report.notes {
        writeln!(out, "note: {note}")?;
    }
    for finding in &report.findings {
        writeln!(out, "{finding}")?;
    }
    let more = report.findings_total - report.findings.len() as u64;
    if more > 0 {
        writeln!(out, "and {more} more")?;
    }
    match report.findings_total {
        0 => writeln!(out, "whole"),
        1 => writeln!(out, "1 finding"),
        count => writeln!(out, "{count} findings"),
    }
}

fn print_run(out: &mut impl Write, run: &RunFacts) -> io::Result<()> {
    let inputs: u64 = run.files.iter().map(|file| file.inputs).sum();
    let end = run.files.iter().map(FileFacts::ts_end).max().unwrap_or(Nanos(0));
    let begin = run.files.first().map_or(0, |file| file.ts_start);
    writeln!(
        out,
        "epoch {}: {inputs} inputs in {} files from {} to {}, {} lost, {} malformed messages, {}",
        run.epoch,
        run.files.len(),
        cobring_pipeline::utc::text(Nanos(begin)),
        cobring_pipeline::utc::text(end),
        run.lost,
        run.malformed,
        if run.stopped { "ended cleanly" } else { "without an end" },
    )
}

fn report_json(report: &VerifyReport) -> Value {
    let runs: Vec<Value> = report
        .runs
        .iter()
        .map(|run| {
            json!({
                "epoch": run.epoch,
                "inputs_lost": run.lost,
                "malformed": run.malformed,
                "stopped": run.stopped,
                "files": run.files,
            })
        })
        .collect();
    json!({
        "whole": report.findings_total == 0,
        "findings_total": report.findings_total,
        "findings": findings_json(&report.findings),
        "notes": findings_json(&report.notes),
        "runs": runs,
    })
}

fn findings_json(findings: &[Finding]) -> Vec<Value> {
    let finding = |finding: &Finding| {
        json!({
            "file": finding.path,
            "offset": finding.offset,
            "about": finding.about,
            "found": finding.found,
            "wanted": finding.wanted,
        })
    };
    findings.iter().map(finding).collect()
}
