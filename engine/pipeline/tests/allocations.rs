//! From bytes to published frame nothing is allocated once warm: fused on the calling thread, staged on all
//! threads, over 100,000 messages with a gap and a resync for each symbol; with the clock and the shared counters
//! of a live run, and with checkpoints taken between two messages.
#![allow(clippy::unwrap_used, reason = "test code")]
#![allow(unsafe_code, reason = "a counting allocator is a GlobalAlloc")]

mod fold_support;

use std::alloc::{GlobalAlloc, Layout as MemoryLayout, System};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use cobring_frame::{CounterFile, EngineDir, STAGES};
use cobring_market::SymbolConfig;
use cobring_pipeline::checkpoints::Checkpoints;
use cobring_pipeline::config::Config;
use cobring_pipeline::fold::Fold;
use cobring_pipeline::stages::Layout;
use fold_support::{Engine, Message, Progress, WARM_UP, fold_in, stream};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// What threads beside the path allocate is theirs: those of the log, and the one that completes checkpoints.
fn count() {
    let mut name = [0_u8; 16];
    // SAFETY: prctl(PR_GET_NAME) writes at most 16 bytes.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    if !name.starts_with(b"cobring-log") && !name.starts_with(b"cobring-checkpo") {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

struct Counting;

// SAFETY: every call goes to the system's allocator with the arguments it came with; counting does not
// allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: MemoryLayout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps GlobalAlloc's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: MemoryLayout) {
        // SAFETY: the caller keeps GlobalAlloc's contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: MemoryLayout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps GlobalAlloc's contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Other processes see what was counted: each frame of an input with all spans but the kernel's.
fn assert_shown(dir: &Path, fold: &Fold<Checkpoints<Progress>>) {
    let file = CounterFile::open(dir).unwrap();
    let at = file.tables().iter().position(|table| table.name == "symbol").unwrap();
    let names = &file.tables()[at].counters;
    for (row, symbol) in fold.symbols().iter().enumerate() {
        let stored = names.iter().map(String::as_str).zip(file.counters(at, row));
        let shown: BTreeMap<&str, u64> = stored.collect();
        let counters = symbol.market().counters();
        // Stored with the last timer; a few inputs came after it.
        assert!((49_000..=symbol.frames()).contains(&shown["frames_total"]), "{shown:?}");
        assert!(shown["quotes_total"].abs_diff(counters.quotes) < 100, "{shown:?}");
        assert_eq!(shown["syncs_total"], counters.syncs);
        let spans: Vec<u64> =
            (0..STAGES.len()).map(|stage| file.histogram(at, row, stage).count()).collect();
        assert!(spans[1] > 40_000 && spans[1] < symbol.frames(), "{spans:?}");
        // Receive times are made up, so only spans between our own stamps are never negative.
        assert_eq!((spans[0], spans[2], spans[3], spans[4]), (0, spans[1], spans[1], spans[1]));
    }
}

fn check(layout: Layout, symbols: &[SymbolConfig], messages: &[Message]) {
    let temp = tempfile::tempdir().unwrap();
    let dir = EngineDir::lock(temp.path()).unwrap();
    let folds = symbols.iter().map(|config| fold_in(&dir, config, true)).collect();
    let mut engine = Engine::new(layout, &dir, symbols, folds);
    let (warm_up, counted) = messages.split_at(WARM_UP);
    engine.feed(warm_up, 0);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    engine.feed(counted, WARM_UP as u64);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    let fold = engine.finish(symbols, temp.path());
    for summary in fold.summary() {
        let counters = summary.counters;
        assert_eq!(
            (counters.gaps, counters.syncs, counters.quote_mismatches, counters.crossed),
            (1, 2, 0, 0),
            "{layout:?} {counters:?}"
        );
        assert!(summary.frames > 50_000, "{}", summary.frames);
    }
    assert!(fold.symbols().iter().all(|symbol| symbol.market().is_live()));
    assert_shown(temp.path(), &fold);
    assert_eq!(allocations, 0, "{layout:?}: allocations in {} inputs", counted.len());
}

/// One test for both layouts: the count is the whole process's.
#[test]
fn bytes_become_frames_without_an_allocation() {
    let symbols = Config::built_in().symbol_configs();
    let messages = stream(&symbols);
    check(Layout::Fused, &symbols, &messages);
    check(Layout::Staged, &symbols, &messages);
}
