//! Models of the protocols, run by loom through every order of events that the language's memory model
//! allows. The code is the real one (`slot.rs`, `window.rs`, `bell.rs`), over loom's atomics. Beside each
//! stand its broken twins: the same code over a memory that drops one fence, weakens one store or lies
//! about one word. Loom has to refuse every one of them, or the model would prove nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::sync::atomic::AtomicU64;
use loom::sync::{Condvar, Mutex};
use loom::thread;

use crate::bell::{self, BELL, Futex};
use crate::slot::{SLOT_HEADER_WORDS, Slot, Slots};
use crate::sync::{Fence, Memory, MemoryMut};
use crate::window::{BEGUN, DONE, REVISION, Rows};

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Break {
    Nothing,
    /// This fence is missing.
    Without(Fence),
    /// The Release store of this word is Relaxed.
    Relaxed(usize),
    /// A load of the first word gives the second.
    ReadsOther(usize, usize),
    /// A load of this word gives a constant.
    ReadsConstant(usize, u64),
}

#[derive(Clone)]
struct Model {
    words: Arc<[AtomicU64]>,
    broken: Break,
}

impl Model {
    fn new(count: usize, broken: Break) -> Self {
        Self { words: (0..count).map(|_| AtomicU64::new(0)).collect(), broken }
    }
}

impl Memory for Model {
    fn load(&self, at: usize) -> u64 {
        let at = match self.broken {
            Break::ReadsOther(word, other) if word == at => other,
            Break::ReadsConstant(word, constant) if word == at => return constant,
            _ => at,
        };
        self.words[at].load(Ordering::Relaxed)
    }

    fn fence(&self, fence: Fence) {
        if self.broken != Break::Without(fence) {
            loom::sync::atomic::fence(fence.ordering());
        }
    }
}

impl MemoryMut for Model {
    fn store(&self, at: usize, word: u64) {
        self.words[at].store(word, Ordering::Relaxed);
    }

    fn store_release(&self, at: usize, word: u64) {
        let weak = self.broken == Break::Relaxed(at);
        self.words[at].store(word, if weak { Ordering::Relaxed } else { Ordering::Release }); // to Fence::Seen
    }
}

/// The model holds as it is and fails with each of the breaks.
fn check(model: fn(Break), breaks: &[Break]) {
    loom::model(move || model(Break::Nothing));
    for &broken in breaks {
        assert_refused(&format!("{broken:?}"), move || model(broken));
    }
}

/// Loom finds an order in which the model breaks its promise, or sleeps for ever.
fn assert_refused(what: &str, model: impl Fn() + Sync + Send + 'static) {
    let Err(panic) = catch_unwind(AssertUnwindSafe(|| loom::model(model))) else {
        panic!("loom found nothing wrong with {what}")
    };
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
    // Loom also gives up on models that are too large: that proves nothing.
    let broken = ["assertion", "not there", "deadlock"].iter().any(|word| text.contains(word));
    assert!(broken, "{what} was refused for another reason: {text}");
}

fn run(writer: impl FnOnce() + 'static, reader: impl FnOnce() + 'static) {
    // Both spawned: with the reader on the model's own thread a missing Release went unseen.
    let (writer, reader) = (thread::spawn(writer), thread::spawn(reader));
    writer.join().unwrap();
    reader.join().unwrap();
}

const PUBLISHED: usize = 0;
const SLOT: usize = 1;

/// One slot, two frames through it. Frame n is [n + 1, n + 1].
fn slots(broken: Break, read: fn(&Slots, &Model)) {
    let ring = Slots {
        published_at: PUBLISHED,
        slots_at: SLOT,
        slot_words: SLOT_HEADER_WORDS + 2,
        frame_words: 2,
        slot_count: 1,
    };
    let memory = Model::new(SLOT + ring.slot_words, broken);
    let shared = memory.clone();
    run(
        move || {
            for n in 0..2 {
                ring.publish(&memory, n, &[n + 1, n + 1]);
            }
        },
        move || read(&ring, &shared),
    );
}

#[test]
fn a_frame_is_whole_and_the_one_asked_for() {
    check(
        |broken| {
            slots(broken, |ring, memory| {
                let mut frame = [0; 2];
                if ring.read(memory, 0, &mut frame) == Slot::Whole {
                    assert_eq!(frame, [1, 1]);
                }
            });
        },
        &[
            Break::Without(Fence::Marked),
            Break::Without(Fence::Seen),
            Break::Without(Fence::Used),
            Break::Relaxed(SLOT),
        ],
    );
}

#[test]
fn a_published_frame_is_there_or_overwritten() {
    check(
        |broken| {
            slots(broken, |ring, memory| {
                if let Some(seq) = ring.published(memory).checked_sub(1) {
                    let mut frame = [0; 2];
                    match ring.read(memory, seq, &mut frame) {
                        Slot::Whole => assert_eq!(frame, [seq + 1, seq + 1]),
                        Slot::Overwritten => assert_eq!(seq, 0, "nothing comes after the last"),
                        Slot::NotYet => panic!("published, but not there"),
                    }
                }
            });
        },
        &[Break::Relaxed(PUBLISHED), Break::Without(Fence::Seen)],
    );
}

const STATE: usize = 0;
const ROWS: usize = 4;

fn window(row_words: usize, broken: Break) -> (Rows, Model) {
    let rows =
        Rows { state_at: STATE, rows_at: ROWS, row_words, capacity: 1, first_lap_once: false };
    (rows, Model::new(ROWS + 2 * row_words, broken))
}

/// One row is held, two are appended. Row n is [n + 1].
#[test]
fn a_good_view_held_its_rows() {
    check(
        |broken| {
            let (rows, memory) = window(1, broken);
            let shared = memory.clone();
            run(
                move || {
                    for n in 0..2 {
                        rows.append(&memory, n, &[n + 1]);
                    }
                },
                move || {
                    let (done, revision) = rows.cursor(&shared);
                    let Some(from) = done.checked_sub(1) else { return };
                    if rows.admit(&shared, from, 1, revision).is_ok() {
                        let mut row = [0];
                        shared.copy_out(rows.row_at(from), &mut row);
                        if rows.good(&shared, from, revision).is_ok() {
                            assert_eq!(row, [from + 1]);
                        }
                    }
                },
            );
        },
        &[
            // With `done` alone a reader accepts a row that is being overwritten.
            Break::ReadsOther(STATE + BEGUN, STATE + DONE),
            Break::Without(Fence::Marked),
            Break::Without(Fence::Seen),
            Break::Without(Fence::Used),
            Break::Relaxed(STATE + DONE),
        ],
    );
}

/// One row, rewritten once: [1, 1] at revision 0, [2, 2] at revision 2.
#[test]
fn a_good_view_is_of_one_revision() {
    check(
        |broken| {
            let (rows, memory) = window(2, broken);
            rows.append(&memory, 0, &[1, 1]);
            let shared = memory.clone();
            run(
                move || {
                    rows.rewrite(&memory, 0, 0, &[2, 2]);
                },
                move || {
                    let (_, revision) = rows.cursor(&shared);
                    if rows.admit(&shared, 0, 1, revision).is_ok() {
                        let mut row = [0; 2];
                        shared.copy_out(rows.row_at(0), &mut row);
                        if rows.good(&shared, 0, revision).is_ok() {
                            assert_eq!(row, [1 + revision / 2; 2]);
                        }
                    }
                },
            );
        },
        &[
            Break::ReadsConstant(STATE + REVISION, 0),
            Break::Without(Fence::Marked),
            Break::Without(Fence::Seen),
            Break::Without(Fence::Used),
            Break::Relaxed(STATE + REVISION),
        ],
    );
}

/// The kernel's side: comparison and falling asleep are one step to whoever wakes.
struct ModelFutex {
    queue: Mutex<()>,
    woken: Condvar,
    /// The word that the kernel compares.
    memory: Model,
    at: usize,
}

/// Sleeps while the word is this, whatever the protocol says: for the twin.
struct SleepsOn<'a>(&'a ModelFutex, u64);

impl ModelFutex {
    fn new(memory: &Model, at: usize) -> Arc<Self> {
        Arc::new(Self { queue: Mutex::new(()), woken: Condvar::new(), memory: memory.clone(), at })
    }

    fn sleep_while(&self, expected: u64) {
        let queue = self.queue.lock().unwrap();
        if self.memory.load(self.at) == expected {
            drop(self.woken.wait(queue).unwrap());
        }
    }
}

impl Futex for ModelFutex {
    fn wait(&self, expected: u32) {
        self.sleep_while(u64::from(expected));
    }

    fn wake(&self) {
        drop(self.queue.lock().unwrap());
        self.woken.notify_all();
    }
}

impl Futex for SleepsOn<'_> {
    fn wait(&self, _: u32) {
        self.0.sleep_while(self.1);
    }

    fn wake(&self) {
        self.0.wake();
    }
}

/// Publishes so often; the reader waits for all. A lost call is a deadlock, which loom reports.
fn bells(publications: u64, broken: Break, sleeps_on_published: bool) {
    let memory = Model::new(1, broken);
    let bell = Model::new(1, Break::Nothing);
    let futex = if sleeps_on_published {
        ModelFutex::new(&memory, PUBLISHED)
    } else {
        ModelFutex::new(&bell, BELL)
    };
    let (reader_memory, reader_bell, reader_futex) =
        (memory.clone(), bell.clone(), Arc::clone(&futex));
    // The reader's own look at `published`, outside the protocol: whole even where a twin lies about it.
    let reader_look = Model { words: Arc::clone(&memory.words), broken: Break::Nothing };
    run(
        move || {
            for n in 0..publications {
                memory.store_release(PUBLISHED, n + 1);
                bell::ring(&memory, &bell, &*futex);
            }
        },
        move || {
            let mut seen = 0;
            while seen < publications {
                let published = reader_look.load(PUBLISHED);
                if published > seen {
                    seen = published;
                } else if sleeps_on_published {
                    let futex = SleepsOn(&reader_futex, seen);
                    bell::wait(&reader_memory, PUBLISHED, &reader_bell, seen, &futex);
                } else {
                    bell::wait(&reader_memory, PUBLISHED, &reader_bell, seen, &*reader_futex);
                }
            }
        },
    );
}

#[test]
fn no_call_of_the_bell_is_lost() {
    check(
        |broken| bells(1, broken, false),
        &[
            Break::Without(Fence::BellSet),
            Break::Without(Fence::Published),
            // No second look after setting the bell.
            Break::ReadsConstant(PUBLISHED, 0),
        ],
    );
}

/// Two publications take loom two minutes in all orders, and seconds in those with few preemptions. The
/// twin is why readers sleep on the bell's own word.
#[test]
fn no_second_call_is_lost_but_by_sleeping_on_the_published_count() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| bells(2, Break::Nothing, false));
    assert_refused("sleeping on `published`", || bells(2, Break::Nothing, true));
}
