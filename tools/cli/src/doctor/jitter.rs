//! How long each core is taken away from a thread that spins on it.

use std::thread;
use std::time::{Duration, Instant};

use super::host::show_cores;
use super::{Finding, Status};

/// Longest pause that a core of one's own has.
const PAUSE_MAX: Duration = Duration::from_micros(50);
/// A pause beyond is an interruption: two reads of the clock take some tens of nanoseconds.
const INTERRUPTION: Duration = Duration::from_micros(2);

/// What a core did to a thread that spins.
#[derive(Debug, Clone, Copy, Default)]
struct Pauses {
    count: u64,
    longest: Duration,
    sum: Duration,
}

/// Listens on these cores, or on all, one after the other; where none is the engine's, nothing is bad.
pub(super) fn probe(cores: &[usize], each: Duration) -> Vec<Finding> {
    let ids = core_affinity::get_core_ids().unwrap_or_default();
    let listened = ids.into_iter().filter(|id| cores.is_empty() || cores.contains(&id.id));
    let mut findings = Vec::new();
    for id in listened {
        let spun = thread::spawn(move || core_affinity::set_for_current(id).then(|| spin(each)));
        let pauses = spun.join().ok().flatten();
        let is_short = |pauses: Pauses| pauses.longest <= PAUSE_MAX;
        let status = match pauses {
            None => Status::Unknown,
            Some(pauses) if is_short(pauses) => Status::Good,
            Some(_) if cores.is_empty() => Status::Unknown,
            Some(_) => Status::Bad,
        };
        let core = show_cores(&[id.id]);
        let found =
            pauses.map_or(format!("core {core}: no thread can be pinned to it"), |pauses| {
                format!(
                    "core {core}: {} interruptions, longest {:.0} µs, {:.2} % of the time",
                    pauses.count,
                    pauses.longest.as_secs_f64() * 1e6,
                    100.0 * pauses.sum.as_secs_f64() / each.as_secs_f64(),
                )
            });
        findings.push(Finding {
            check: "jitter",
            status,
            found,
            wanted: format!("none longer than {} µs on the engine's cores", PAUSE_MAX.as_micros()),
            mend: "isolate the core, move interrupts away, take a machine of one's own",
        });
    }
    findings
}

fn spin(length: Duration) -> Pauses {
    let mut pauses = Pauses::default();
    let begin = Instant::now();
    let mut last = begin;
    while last - begin < length {
        let now = Instant::now();
        let pause = now - last;
        if pause > INTERRUPTION {
            pauses.count += 1;
            pauses.sum += pause;
            pauses.longest = pauses.longest.max(pause);
        }
        last = now;
    }
    pauses
}
