//! Warm start: what the run before left, from its last checkpoint and the inputs behind it.
//!
//! Guarantees: a state is gone on from only where log, settings, addresses and the venue's clock say that the same
//! feed goes on; everything else is a cold start with its reason. Does not: change the log that it reads.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cobring_market::SymbolConfig;
use cobring_types::{InputKind, Nanos, SymbolIndex};
use cobring_venue::binance;
use mio::{Events, Poll};

use crate::clock::EngineClock;
use crate::config::Config;
use crate::fold::SymbolFold;
use crate::idle::Idle;
use crate::log::{LogError, LogHeader, LogReader, LogStart, newest_run};
use crate::net::{RestHelper, RestPriority, RestRequest};
use crate::replay::{
    Inputs, ReplayError, ReplayLayout, ReplaySetup, replay_folds, settings_digest,
};
use crate::stages::StagedSetup;

/// What the run before left.
#[derive(Debug)]
pub(crate) struct Left {
    /// Its symbols, over memory of their own.
    pub(crate) symbols: Vec<SymbolFold>,
    /// Stamp of its last input.
    pub(crate) ts_end: Nanos,
    /// How far its bars reach, by the venue's clock.
    venue_end: Nanos,
    /// Inputs that were folded anew.
    pub(crate) inputs: u64,
}

/// Why a run begins with nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ColdStart {
    #[error("log.resume_within_h is 0")]
    Off,
    #[error("{} holds no log", dir.display())]
    NoLog { dir: PathBuf },
    #[error("{}: has no checkpoint to begin from", path.display())]
    NoCheckpoint { path: PathBuf },
    #[error("{}: was written with other settings", path.display())]
    OtherSettings { path: PathBuf },
    #[error("{}: was written by a run with other addresses of the venue", path.display())]
    OtherVenue { path: PathBuf },
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error("the run before ended while the history of a symbol was loading")]
    Unfinished,
    #[error("the run before ended {} s ago by {clock}, more than log.resume_within_h", seconds(*age))]
    Old { age: Nanos, clock: &'static str },
    #[error("{clock} was set back by {} s since the run before", seconds(*by))]
    SetBack { by: Nanos, clock: &'static str },
    #[error("the venue did not tell its time within {} s", TIME_WAIT.as_secs())]
    NoTime,
}

impl ColdStart {
    /// Whether there was something to go on from, which an operator would want to know.
    pub(crate) fn is_loss(&self) -> bool {
        !matches!(self, Self::Off | Self::NoLog { .. })
    }
}

fn seconds(time: Nanos) -> i64 {
    time.0 / Nanos::SECOND.0
}

/// The venue's clock is waited for this long.
const TIME_WAIT: Duration = Duration::from_secs(3);
const TIME_POLL: Duration = Duration::from_millis(100);

/// Folds the end of the newest log of `config`'s directory into memory of its own.
pub(crate) fn read_left(
    config: &Config,
    symbols: &[SymbolConfig],
    now: Nanos,
    stop: &AtomicBool,
) -> Result<Left, ColdStart> {
    if config.log.resume_within == Nanos(0) || !config.log.enabled {
        return Err(ColdStart::Off);
    }
    let settings = config.fold_digest_text();
    let tail = newest_tail(&config.log.dir)?;
    let log = LogReader::open(&tail)?;
    check_header(log.header(), log.path(), symbols, &settings, config.venue_digest())?;
    let begun = log.header().ts_start;
    let setup = ReplaySetup {
        symbols: symbols.to_vec(),
        settings,
        layout: ReplayLayout::fastest(symbols.len()),
        staged: StagedSetup {
            raw_ring_bytes: config.engine.raw_ring_bytes,
            event_ring_bytes: config.engine.event_ring_bytes,
            idle: Idle::Yield,
            cores: [None; 2],
        },
        hash: false,
        is_own_process: false,
        log_dir: None,
    };
    let (report, fold) = replay_folds(Inputs::Log(Box::new(log)), &setup, (), |_, _| {}, stop)?;
    let (symbols, ()) = fold.into_parts();
    if !symbols.iter().all(|symbol| symbol.market().is_resumable()) {
        return Err(ColdStart::Unfinished);
    }
    let ts_end = report.span.map_or(begun, |(_, last)| last);
    check_age(ts_end, now, config.log.resume_within, "the host's clock")?;
    let venue_end = symbols.iter().map(|symbol| symbol.market().venue_end()).max();
    let venue_end = venue_end.unwrap_or(Nanos::UNDEF);
    Ok(Left { symbols, ts_end, venue_end, inputs: report.inputs })
}

/// The files of the newest run, from the last one on that begins with a state.
fn newest_tail(dir: &Path) -> Result<Vec<PathBuf>, ColdStart> {
    let no_log = || ColdStart::NoLog { dir: dir.to_owned() };
    if !dir.is_dir() {
        return Err(no_log());
    }
    let files = match newest_run(dir) {
        Err(LogError::NoFiles) => return Err(no_log()),
        files => files?,
    };
    let mut tail = Vec::new();
    for path in files.into_iter().rev() {
        match LogReader::open(&[&path]) {
            Ok(log) => {
                tail.insert(0, path);
                if !matches!(log.start(), LogStart::Missing) {
                    return Ok(tail);
                }
            }
            // Cut by a crash before its first input.
            Err(LogError::Short { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    match tail.into_iter().next() {
        Some(path) => Err(ColdStart::NoCheckpoint { path }),
        None => Err(no_log()),
    }
}

fn check_header(
    header: &LogHeader,
    path: &Path,
    symbols: &[SymbolConfig],
    settings: &str,
    venue: u32,
) -> Result<(), ColdStart> {
    let names = symbols.iter().map(|symbol| &symbol.instrument.symbol);
    if header.config_digest != settings_digest(settings) || !names.eq(&header.symbols) {
        return Err(ColdStart::OtherSettings { path: path.to_owned() });
    }
    if header.venue_digest != venue {
        return Err(ColdStart::OtherVenue { path: path.to_owned() });
    }
    Ok(())
}

fn check_age(end: Nanos, now: Nanos, within: Nanos, clock: &'static str) -> Result<(), ColdStart> {
    match Nanos(now.0.saturating_sub(end.0)) {
        age if age.0 < 0 => Err(ColdStart::SetBack { by: Nanos(age.0.saturating_neg()), clock }),
        age if age > within => Err(ColdStart::Old { age, clock }),
        _ => Ok(()),
    }
}

/// Whether the venue goes on where the state ends: one that was set back, such as a simulator that begins again,
/// would tell of bars that are closed already.
pub(crate) fn check_venue(
    left: &Left,
    config: &Config,
    (rest, poll): (&mut RestHelper, &mut Poll),
    clock: &EngineClock,
    stop: &AtomicBool,
) -> Result<(), ColdStart> {
    let Some(venue_end) = left.venue_end.get() else { return Ok(()) };
    let request = binance::time_request();
    let asked = rest.request(RestRequest {
        id: 0,
        kind: InputKind::RestTime,
        priority: RestPriority::Urgent,
        symbol: SymbolIndex::NONE,
        aux: 0,
        url: format!("{}{}", config.binance.rest_url.trim_end_matches('/'), request.path),
        weight: request.weight,
        not_before: Nanos(i64::MIN),
    });
    let give_up = clock.now().0 + i64::try_from(TIME_WAIT.as_nanos()).unwrap_or(i64::MAX);
    let mut events = Events::with_capacity(8);
    while asked.is_ok() && clock.now().0 < give_up && !stop.load(Ordering::Relaxed) {
        let Some(reply) = rest.poll() else {
            // The helper wakes the poll; a signal or an error only makes the round shorter.
            let _ = poll.poll(&mut events, Some(TIME_POLL));
            continue;
        };
        let Some(venue_now) = binance::server_time(&reply.body) else { break };
        return check_age(
            Nanos(venue_end),
            venue_now,
            config.log.resume_within,
            "the venue's clock",
        );
    }
    Err(ColdStart::NoTime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_too_old_or_of_a_later_time_or_taken() {
        let hour = Nanos(3_600 * Nanos::SECOND.0);
        let at = |now: i64| check_age(Nanos(1_000), Nanos(now), hour, "the clock");
        assert!(at(1_000).is_ok() && at(1_000 + hour.0).is_ok());
        let old = at(1_001 + hour.0).unwrap_err().to_string();
        assert_eq!(
            old,
            "the run before ended 3600 s ago by the clock, more than log.resume_within_h"
        );
        let set_back = at(1_000 - 2_000_000_000).unwrap_err().to_string();
        assert_eq!(set_back, "the clock was set back by 2 s since the run before");
    }
}
