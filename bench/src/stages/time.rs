//! Stages timed by criterion: in a process of its own, whose words, meant for people, go to stderr; what it finds lies in
//! files, beside that of earlier runs, from which it tells what has changed.

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode};
use serde::Deserialize;

use super::{BATCH, STAGES, runner};
use crate::report::progress;

const GROUP: &str = "stages";
const SAMPLES: usize = 30;
/// Short: all messages of a sample are made before it.
const WARM_UP: Duration = Duration::from_millis(200);
const MEASUREMENT: Duration = Duration::from_millis(600);

/// What a message takes, as criterion says it.
#[derive(Debug, Deserialize)]
pub(super) struct Estimate {
    /// The middle sample, ns.
    pub(super) point_estimate: f64,
    /// Of 95 %.
    pub(super) confidence_interval: Interval,
}

#[derive(Debug, Deserialize)]
pub(super) struct Interval {
    pub(super) lower_bound: f64,
    pub(super) upper_bound: f64,
}

#[derive(Debug, Deserialize)]
struct Estimates {
    median: Estimate,
}

/// What is timed, in the order of [`STAGES`].
pub(super) fn all() -> Result<Vec<Estimate>, Box<dyn Error>> {
    progress("stages, time");
    let program = std::env::current_exe()?;
    let dir = dir_beside(&program);
    let timed = Command::new(program)
        .args(["stages", "--time-into"])
        .arg(&dir)
        .stdout(Stdio::from(io::stderr()))
        .status()?;
    if !timed.success() {
        return Err(format!("timing the stages ended with {timed}").into());
    }
    let estimate = |(_, name): &_| -> Result<Estimate, Box<dyn Error>> {
        let path = dir.join(GROUP).join(name).join("new").join("estimates.json");
        let found: Estimates = serde_json::from_reader(File::open(&path)?)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(found.median)
    };
    STAGES.iter().map(estimate).collect()
}

/// `target/criterion` of `target/release/bench`.
fn dir_beside(program: &Path) -> PathBuf {
    program.ancestors().nth(2).unwrap_or(Path::new(".")).join("criterion")
}

/// Times all stages, and leaves what is found in this folder.
pub(crate) fn time_into(dir: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(dir)?;
    let mut criterion = Criterion::default()
        .output_directory(dir)
        .sample_size(SAMPLES)
        .warm_up_time(WARM_UP)
        .measurement_time(MEASUREMENT);
    let mut group = criterion.benchmark_group(GROUP);
    // The same number of messages in each sample.
    group.sampling_mode(SamplingMode::Flat);
    let mut failed = Ok(());
    for (stage, name) in STAGES {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                match runner(stage, BATCH + count) {
                    Ok(mut runner) => {
                        runner.run(BATCH);
                        let began = Instant::now();
                        runner.run(count);
                        began.elapsed()
                    }
                    Err(error) => {
                        failed = Err(error);
                        Duration::from_nanos(1)
                    }
                }
            });
        });
    }
    group.finish();
    failed
}
