//! Every target over its corpus, and over what a seeded mutator makes of it.
//!
//! `COBRING_FUZZ_SEED` and `COBRING_FUZZ_ITERATIONS` run others and longer. An input that a target panics at,
//! or takes too much memory for, is written to a file, whose path is printed. `COBRING_FUZZ_CORPUS` names a folder in which
//! the corpus of each target is left for cargo-fuzz, with what code makes of it.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]
#![allow(unsafe_code, reason = "a counting allocator is a GlobalAlloc")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use cobring_fuzz::{Mutator, TARGETS, Target};

thread_local! {
    /// Bytes that this thread holds, and the most that it held.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

struct Counting;

fn count(bytes: isize) {
    // A thread that is ending has no cell any more.
    let _ = HELD.try_with(|held| {
        let now = held.get().0 + bytes;
        held.set((now, held.get().1.max(now)));
    });
}

// SAFETY: every call goes to the system's allocator with the arguments it came with; counting does
// not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller keeps GlobalAlloc's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller keeps GlobalAlloc's contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: the caller keeps GlobalAlloc's contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size.cast_signed() - layout.size().cast_signed());
        // SAFETY: the caller keeps GlobalAlloc's contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What one input may take on a busy machine. Beyond it a target loops.
const PATIENCE: Duration = Duration::from_secs(60);
const SEED: u64 = 0x0c0b_0004;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// The committed inputs of a target, and those that code makes.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut corpus = (target.seeds)();
    corpus.extend(paths.iter().map(|path| std::fs::read(path).unwrap()));
    corpus
}

/// Writes an input where it can be found.
fn keep(target: &Target, what: &str, bytes: &[u8]) -> PathBuf {
    let folder = std::env::temp_dir().join("cobring-fuzz").join(target.name).join("crashes");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(what);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Runs one input within its limits; what is wrong.
fn run(target: &Target, bytes: &[u8]) -> Result<(), String> {
    let before = HELD.get().0;
    HELD.set((before, before));
    catch_unwind(AssertUnwindSafe(|| (target.run)(bytes))).map_err(|_| "it panicked".to_owned())?;
    let most = usize::try_from(HELD.get().1 - before).unwrap_or(0);
    let allowed = target.memory_bytes_max + target.memory_per_byte * bytes.len();
    if most > allowed {
        return Err(format!("it held {most} bytes, {allowed} are allowed"));
    }
    Ok(())
}

fn check(name: &str) {
    let target = *TARGETS.iter().find(|target| target.name == name).unwrap();
    let corpus = corpus(&target);
    assert!(!corpus.is_empty());
    if let Some(folder) = std::env::var_os("COBRING_FUZZ_CORPUS") {
        let folder = Path::new(&folder).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for (index, bytes) in corpus.iter().enumerate() {
            std::fs::write(folder.join(format!("corpus-{index}")), bytes).unwrap();
        }
    }
    let seed = number("COBRING_FUZZ_SEED").unwrap_or(SEED);
    let iterations =
        number("COBRING_FUZZ_ITERATIONS").unwrap_or_else(|| u64::from(target.iterations));
    println!("{name}: seed {seed}, {iterations} inputs of a corpus of {}", corpus.len());

    // Ends the process where an input takes for ever; nothing else could.
    let (begun, watched) = channel::<(String, Vec<u8>)>();
    let watch = std::thread::spawn(move || {
        let mut running: Option<(String, Vec<u8>)> = None;
        loop {
            match watched.recv_timeout(PATIENCE) {
                Ok(next) => running = Some(next),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let (what, bytes) = running.unwrap_or_default();
                    let path = keep(&target, &what, &bytes);
                    eprintln!("{}: {what} runs for {PATIENCE:?}: {}", target.name, path.display());
                    std::process::abort();
                }
            }
        }
    });
    let judge = |what: String, bytes: &[u8]| {
        // The watch ends only with this.
        begun.send((what.clone(), bytes.to_vec())).unwrap();
        if let Err(wrong) = run(&target, bytes) {
            let path = keep(&target, &what, bytes);
            panic!("{name}: {what} (seed {seed}): {wrong}; the input is in {}", path.display());
        }
    };
    for (index, bytes) in corpus.iter().enumerate() {
        judge(format!("corpus-{index}"), bytes);
    }
    let mut mutator = Mutator::new(seed);
    for iteration in 0..iterations {
        let bytes = mutator.mutated(&corpus, target.size_bytes_max);
        judge(format!("seed-{seed}-{iteration}"), &bytes);
    }
    drop(begun);
    watch.join().unwrap();
}

macro_rules! each {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                check(stringify!($name));
            }
        )*

        #[test]
        fn every_target_is_run() {
            let run = [$(stringify!($name)),*];
            assert_eq!(TARGETS.map(|target| target.name), run);
        }
    };
}

each! {
    binance_message rest_body json_parsers web_socket_bytes http_upgrade segment counter_file model_slot
    log_file bounds_file configuration recording_line
}

#[test]
fn a_mutator_makes_the_same_of_the_same_seed() {
    let corpus = [b"{\"a\":1,\"b\":[2,3],\"c\":4}".to_vec(), b"12345".to_vec()];
    let of = |seed| {
        let mut mutator = Mutator::new(seed);
        (0..100).map(|_| mutator.mutated(&corpus, 1_000)).collect::<Vec<_>>()
    };
    assert_eq!(of(7), of(7));
    assert_ne!(of(7), of(8));
}
