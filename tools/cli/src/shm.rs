//! `cobring shm`: what lies in shared memory, and its clean-up.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use cobring_frame::{
    CounterFile, EngineDir, FrameError, Liveness, SegmentInfo, SubscriberInfo, sweep_subscribers,
};
use serde_json::{Value, json};

use crate::exit::Failure;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Shm {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List segments (size, epoch, writer and whether it lives), the engine's counters, and who reads by name.
    #[command(after_help = "Examples:
  cobring shm ls
  cobring shm ls --json | jq '.[] | .symbol, .subscribers'")]
    Ls(Place),
    /// Remove the segments of an engine that is gone (refused while one runs) and the files of subscribers
    /// that are.
    #[command(after_help = "Example:
  cobring shm gc      # a new run needs no clean-up: this only gives memory back")]
    Gc(Place),
}

#[derive(Debug, Args)]
struct Place {
    /// Directory of the engine; by default that of --config.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Configuration that names the directory; by default the built-in one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Place {
    fn dir(&self) -> Result<PathBuf, Failure> {
        Ok(match &self.dir {
            Some(dir) => dir.clone(),
            None => output::config(self.config.as_deref())?.engine.shared_memory_dir,
        })
    }
}

pub(crate) fn describe(liveness: &Liveness) -> String {
    match liveness {
        Liveness::Alive => "alive".to_owned(),
        Liveness::Stalled { heartbeat_age_ns } => {
            format!("stalled for {:.1} s", Duration::from_nanos(*heartbeat_age_ns).as_secs_f64())
        }
        Liveness::Gone { pid } => format!("gone (pid {pid})"),
        Liveness::Retired => "stopped".to_owned(),
    }
}

impl Shm {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self.action {
            Action::Ls(place) => list(&place),
            Action::Gc(place) => collect(&place),
        }
    }
}

fn list(place: &Place) -> Result<(), Failure> {
    let dir = place.dir()?;
    let segments = EngineDir::list(&dir)?;
    let subscribers = SubscriberInfo::list(&dir)?;
    let mut out = io::stdout().lock();
    if place.json {
        let rows: Vec<_> = segments
            .iter()
            .map(|segment| match &segment.state {
                Ok(state) => json!({
                    "symbol": segment.symbol, "path": segment.path, "size_bytes": segment.size_bytes,
                    "epoch": state.epoch, "schema_id": state.schema_id, "writer_pid": state.writer_pid,
                    "frames": state.published, "state": describe(&state.liveness),
                    "subscribers": of_segment(&subscribers, segment).map(subscriber_json).collect::<Vec<_>>(),
                }),
                Err(error) => json!({
                    "symbol": segment.symbol, "path": segment.path, "size_bytes": segment.size_bytes,
                    "error": error.to_string(),
                }),
            })
            .collect();
        writeln!(out, "{}", json!(rows))?;
        return Ok(());
    }
    if segments.is_empty() {
        writeln!(io::stderr(), "no segments in {}", dir.display())?;
        return Ok(());
    }
    writeln!(out, "{:<14} {:>10} {:>10} {:>12}  state", "symbol", "size MB", "writer", "frames")?;
    for segment in &segments {
        let megabytes =
            f64::from(u32::try_from(segment.size_bytes / 1_000).unwrap_or(u32::MAX)) / 1e3;
        match &segment.state {
            Ok(state) => writeln!(
                out,
                "{:<14} {megabytes:>10.1} {:>10} {:>12}  {}",
                segment.symbol,
                state.writer_pid,
                state.published,
                describe(&state.liveness)
            )?,
            Err(error) => writeln!(
                out,
                "{:<14} {megabytes:>10.1} {:>10} {:>12}  {error}",
                segment.symbol, "", ""
            )?,
        }
    }
    if let Ok(counters) = CounterFile::open(&dir) {
        let megabytes =
            f64::from(u32::try_from(counters.size_bytes() / 1_000).unwrap_or(u32::MAX)) / 1e3;
        let (pid, state) =
            (counters.pid(), if counters.is_alive() { "alive" } else { "its engine is gone" });
        writeln!(out, "{:<14} {megabytes:>10.1} {pid:>10} {:>12}  {state}", "counters", "")?;
    }
    if !subscribers.is_empty() {
        writeln!(
            out,
            "\n{:<14} {:<20} {:>8} {:>12} {:>10} {:>10}  state",
            "subscriber of", "name", "pid", "last seq", "lapped", "refused"
        )?;
    }
    for subscriber in &subscribers {
        writeln!(
            out,
            "{:<14} {:<20} {:>8} {:>12} {:>10} {:>10}  {}",
            subscriber.symbol,
            subscriber.name,
            subscriber.pid,
            subscriber.last_seq.map_or("–".to_owned(), |seq| seq.to_string()),
            subscriber.lapped,
            subscriber.refused,
            if subscriber.alive { "alive" } else { "gone" },
        )?;
    }
    Ok(())
}

fn of_segment<'s>(
    subscribers: &'s [SubscriberInfo],
    segment: &SegmentInfo,
) -> impl Iterator<Item = &'s SubscriberInfo> {
    subscribers.iter().filter(|subscriber| subscriber.symbol == segment.symbol)
}

fn subscriber_json(subscriber: &SubscriberInfo) -> Value {
    json!({
        "name": subscriber.name, "pid": subscriber.pid, "opened_ns": subscriber.opened_ns,
        "epoch": subscriber.epoch, "last_seq": subscriber.last_seq, "lapped_total": subscriber.lapped,
        "refused_total": subscriber.refused, "alive": subscriber.alive,
    })
}

fn collect(place: &Place) -> Result<(), Failure> {
    let dir = place.dir()?;
    // Of subscribers also while an engine runs.
    let mut removed = sweep_subscribers(&dir)?;
    match EngineDir::gc(&dir) {
        Ok(more) => removed.extend(more),
        Err(FrameError::Locked { .. }) if !removed.is_empty() => {}
        Err(error) => return Err(error.into()),
    }
    let mut out = io::stdout().lock();
    if place.json {
        writeln!(out, "{}", json!({ "removed": removed }))?;
        return Ok(());
    }
    for path in &removed {
        writeln!(out, "removed {}", path.display())?;
    }
    writeln!(io::stderr(), "{} files removed", removed.len())?;
    Ok(())
}
