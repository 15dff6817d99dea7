//! `cobring doctor`: what of this host costs latency or will fail, with what is wanted and how to mend it.

mod checks;
mod host;
mod jitter;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use cobring_pipeline::config::Config;
use serde_json::{Value, json};

use self::host::Host;
use crate::exit::Failure;
use crate::output;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cobring doctor                       # the cores of the built-in configuration: none are pinned
  cobring doctor --config my.toml      # the cores, symbols and locked memory of that one
  cobring doctor --jitter-ms 2000      # listen longer for what interrupts each core
  cobring doctor --json | jq -r '.checks[] | select(.status == \"bad\") | .mend'

Exit codes: 0 nothing is bad, 4 something is.")]
pub(crate) struct Doctor {
    /// Configuration that is to run here; by default the built-in one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How long to spin on each core and listen for interruptions; 0 for not at all.
    #[arg(long, value_name = "MS", default_value_t = 200)]
    jitter_ms: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Good,
    Bad,
    /// The host does not tell, as virtual machines often do.
    Unknown,
}

impl Status {
    const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Unknown => "unknown",
        }
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    check: &'static str,
    status: Status,
    found: String,
    wanted: String,
    /// What to do where it is bad.
    mend: &'static str,
}

/// What the configuration needs of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Needs {
    /// Cores that stages are pinned to.
    cores: Vec<usize>,
    shared_memory_dir: PathBuf,
    shared_memory_bytes: u64,
    locks_memory: bool,
}

/// Shared memory of a symbol with the windows of the built-in configuration, rounded up.
const SYMBOL_SIZE_BYTES: u64 = 64 << 20;

impl Needs {
    fn of(config: &Config) -> Self {
        let symbols = u64::try_from(config.symbols.len()).unwrap_or(u64::MAX);
        Self {
            cores: config.engine.cores.clone(),
            shared_memory_dir: config.engine.shared_memory_dir.clone(),
            shared_memory_bytes: symbols.saturating_mul(SYMBOL_SIZE_BYTES),
            locks_memory: config.engine.lock_memory,
        }
    }
}

impl Doctor {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let config = output::config(self.config.as_deref())?;
        let needs = Needs::of(&config);
        let mut findings = checks::all(&Host::this(), &needs);
        if self.jitter_ms > 0 {
            let each = Duration::from_millis(self.jitter_ms);
            findings.extend(jitter::probe(&needs.cores, each));
        }
        let bad = findings.iter().filter(|finding| finding.status == Status::Bad).count();
        let mut out = io::stdout().lock();
        if self.json {
            let checks: Vec<Value> = findings.iter().map(Finding::json).collect();
            writeln!(out, "{}", json!({ "bad": bad, "checks": checks }))?;
        } else {
            for finding in &findings {
                finding.print(&mut out)?;
            }
            writeln!(out, "{} checks, {bad} bad", findings.len())?;
        }
        if bad == 0 { Ok(()) } else { Err(Failure::Found) }
    }
}

impl Finding {
    fn json(&self) -> Value {
        json!({
            "check": self.check, "status": self.status.name(), "found": self.found,
            "wanted": self.wanted, "mend": self.mend,
        })
    }

    fn print(&self, out: &mut impl io::Write) -> io::Result<()> {
        let Self { check, status, found, wanted, mend } = self;
        writeln!(out, "{:<8} {check:<22} {found}", status.name())?;
        if *status == Status::Bad {
            writeln!(out, "{:<8} {:<22} wanted: {wanted}", "", "")?;
            writeln!(out, "{:<8} {:<22} mend:   {mend}", "", "")?;
        }
        Ok(())
    }
}
