//! Bounds on instructions: `bench/gate.toml` says how many a message may take in each stage. Counts, not times, so that a
//! busy host passes; of one profile, since optimisation changes them.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use serde::Deserialize;

use super::{STAGES, Stage, instructions};
use crate::report::progress;

const ACCEPT: &str = "cargo run --profile gate -p bench -- gate --accept";

/// The table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gate {
    /// Of what is wanted, in percent, that may be found more.
    tolerance_percent: u64,
    /// Instructions of a message, by stage.
    instructions: BTreeMap<String, u64>,
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("gate.toml")
}

fn counted(stage: Stage) -> Result<u64, Box<dyn Error>> {
    progress(&format!("gate, {}", stage.name()));
    let no_count = || format!("{}: no count: is valgrind installed?", stage.name());
    Ok(instructions(stage).ok_or_else(no_count)?)
}

/// Counts all stages and holds them against the table.
pub(crate) fn check() -> Result<(), Box<dyn Error>> {
    let path = path();
    let name = path.display();
    let text = fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
    let gate: Gate = toml::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
    let stale = gate.instructions.keys().find(|key| key.parse::<Stage>().is_err());
    if let Some(stale) = stale {
        return Err(format!("{name}: there is no stage {stale}").into());
    }
    let mut failed = String::new();
    for (stage, key) in STAGES {
        let Some(&wanted) = gate.instructions.get(key) else {
            return Err(format!("{name}: no count of {key}; `{ACCEPT}` makes one").into());
        };
        let found = counted(stage)?;
        let most = wanted + wanted * gate.tolerance_percent / 100;
        writeln!(io::stdout(), "{key:<14}{found:>8} of {most}")?;
        if found > most {
            writeln!(
                failed,
                "{key}: found {found} instructions a message, wanted at most {most} ({wanted} and {} %)",
                gate.tolerance_percent
            )?;
        } else if found * 100 < wanted * (100 - gate.tolerance_percent) {
            progress(&format!("{key} has become cheaper: `{ACCEPT}` keeps it so"));
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(format!("{failed}if that is meant: {ACCEPT}").into())
}

/// Writes what is counted now into the table.
pub(crate) fn accept() -> Result<(), Box<dyn Error>> {
    let mut text = "# Instructions that a message may take in each stage of the engine (`bench stages`), as callgrind counts them\n\
         # without AVX-512. `cargo run --profile gate -p bench -- gate` checks them, `… gate --accept` writes this file.\n\
         # One build inlines a little more than another: decoding a depth message has differed by 13 % with the same source.\n\
         tolerance_percent = 15\n\n[instructions]\n"
        .to_owned();
    for (stage, key) in STAGES {
        writeln!(text, "{key} = {}", counted(stage)?)?;
    }
    fs::write(path(), text)?;
    Ok(())
}
