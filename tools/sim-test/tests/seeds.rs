//! Seeds in CI: many runs with faults, planted bugs that must be found, the seeds that once found something, and the
//! long scenarios in short.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use cobring_sim::CATALOGUE;
use cobring_sim_test::scenario::{self, Findings};
use cobring_sim_test::{CanaryKind, HOST_FAULTS, Report, kept_seeds, run_seed};

const SECONDS: u32 = 60;

/// Runs on all cores, in any order; reports in the order of the seeds.
fn run_all(seeds: &[(u64, u32)], canary: Option<CanaryKind>) -> Vec<Report> {
    let (next, reports) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(&(seed, seconds)) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let report = run_seed(seed, seconds, canary);
                    reports.lock().unwrap().push(report);
                }
            });
        }
    });
    let mut reports = reports.into_inner().unwrap();
    reports.sort_by_key(|report| report.seed);
    reports
}

fn assert_none_violated(reports: &[Report]) {
    let violations: Vec<_> = reports
        .iter()
        .filter_map(|report| report.violation.as_ref().map(|violation| (report.seed, violation)))
        .collect();
    assert!(
        violations.is_empty(),
        "again by `cobring sim-test --seeds 1 --from SEED`, then kept in tools/sim-test/seeds.txt: {violations:#?}"
    );
}

fn range(from: u64, count: u64) -> Vec<(u64, u32)> {
    (from..from + count).map(|seed| (seed, SECONDS)).collect()
}

#[test]
fn three_hundred_minutes_with_faults_hold_and_every_fault_is_hit() {
    let reports = run_all(&range(0, 300), None);
    assert_none_violated(&reports);
    let hit: BTreeSet<&str> =
        reports.iter().flat_map(|report| report.faults.keys().map(String::as_str)).collect();
    let known = CATALOGUE.iter().map(|entry| entry.id).chain(HOST_FAULTS);
    // Another tick size ends a run by design: `tests/tests/catalogue.rs` has it.
    let missing: Vec<_> =
        known.filter(|id| *id != "tick_size_change" && !hit.contains(id)).collect();
    assert!(missing.is_empty(), "no seed drew {missing:?}");
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    let compared = (sum(|r| r.frames), sum(|r| r.books), sum(|r| r.bars));
    assert!(compared.0 > 1_000_000 && compared.1 > 10_000 && compared.2 > 5_000, "{compared:?}");
    assert!(reports.iter().all(|report| report.used_weight_max <= 3_000));
}

#[test]
fn the_seeds_that_once_found_something_hold() {
    let seeds: Vec<(u64, u32)> = kept_seeds().map(|(seed, seconds, _)| (seed, seconds)).collect();
    assert!(!seeds.is_empty());
    assert_none_violated(&run_all(&seeds, None));
}

#[test]
fn planted_bugs_are_found() {
    for canary in CanaryKind::ALL {
        // A trade's own stream is drawn in every second run.
        let reports = run_all(&range(0, 6), Some(canary));
        let found = reports.iter().filter(|report| report.violation.is_some()).count();
        assert!(found >= 2, "{canary:?}: found in {found} of {} runs", reports.len());
    }
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    for seed in [3, 8] {
        let [first, second] = [(); 2].map(|()| run_seed(seed, SECONDS, None));
        assert_eq!(first.digests, second.digests);
        assert_eq!((first.inputs, first.frames), (second.inputs, second.frames));
        assert_eq!(first.faults, second.faults);
    }
    assert_ne!(run_seed(3, SECONDS, None).digests, run_seed(4, SECONDS, None).digests);
}

fn assert_holds(findings: &Findings) {
    assert!(findings.violations.is_empty(), "{findings:#?}");
}

#[test]
fn renewals_lose_nothing() {
    assert_holds(&scenario::renewals(1, 100));
}

#[test]
fn mass_gaps_stay_within_half_of_the_budget() {
    assert_holds(&scenario::resyncs(1, 250));
}

#[test]
fn quiet_hours_have_no_false_alarm_and_a_stall_is_found() {
    assert_holds(&scenario::quiet(1, 3));
}
