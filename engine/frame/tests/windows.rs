//! Windows against a naive model, and under a writer's feet.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use cobring_frame::{
    Cursor, EngineDir, FrameError, RawWindow, Segment, SegmentSpec, WindowReader, WindowView,
};
use common::{assert_filled, fill, filled, spec, window};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestCaseError, TestRunner};

const ROW_WORDS: usize = 5;

fn segment(capacity: u64) -> (RawWindow, WindowReader) {
    segment_of(capacity, false)
}

fn spec_of(capacity: u64) -> SegmentSpec {
    SegmentSpec { windows: vec![window("rows", ROW_WORDS, capacity)], ..spec("ETHUSDT", 1) }
}

fn segment_of(capacity: u64, is_sparse: bool) -> (RawWindow, WindowReader) {
    let make = if is_sparse { Segment::sparse } else { Segment::private };
    let mut segment = make(&spec_of(capacity)).unwrap();
    let reader = segment.reader().window_named("rows").unwrap();
    (segment.windows.remove(0), reader)
}

#[derive(Debug, Clone)]
enum Op {
    Append,
    AppendMany(u64),
    /// The row so far from the newest.
    Rewrite(u64),
    /// First row so far from the newest, number of rows; the view stays open.
    View(u64, u64),
}

/// All rows ever appended, as they are now, beside the window.
struct Naive {
    capacity: u64,
    rows: Vec<Vec<u64>>,
    revision: u64,
    stamp: u64,
}

impl Naive {
    fn row(&mut self) -> Vec<u64> {
        self.stamp += 1;
        let mut row = vec![0; ROW_WORDS];
        fill(&mut row, self.stamp);
        row
    }

    fn done(&self) -> u64 {
        self.rows.len() as u64
    }

    fn holds(&self, index: u64) -> bool {
        index < self.done() && index + self.capacity >= self.done()
    }
}

fn run(capacity: u64, is_sparse: bool, ops: &[Op]) {
    let (mut raw, reader) = segment_of(capacity, is_sparse);
    let mut naive = Naive { capacity, rows: Vec::new(), revision: 0, stamp: 0 };
    // (view, what it held, revision then)
    let mut views: Vec<(WindowView, Vec<u64>, u64)> = Vec::new();
    for op in ops {
        match *op {
            Op::Append => {
                let row = naive.row();
                assert_eq!(raw.append(&row), naive.done());
                naive.rows.push(row);
            }
            Op::AppendMany(count) => {
                let first = naive.done();
                for _ in 0..count {
                    let row = naive.row();
                    naive.rows.push(row);
                }
                let mut asked = 0;
                let rows = &naive.rows;
                let index = raw.append_many(count, |index, row| {
                    asked += 1;
                    row.copy_from_slice(&rows[usize::try_from(index).unwrap()]);
                });
                assert_eq!((index, asked), (first, count.min(capacity)));
            }
            Op::Rewrite(back) => {
                let Some(index) = naive.done().checked_sub(back + 1) else { continue };
                assert_eq!(raw.holds(index), naive.holds(index));
                if naive.holds(index) {
                    let row = naive.row();
                    raw.rewrite(index, &row);
                    naive.rows[usize::try_from(index).unwrap()] = row;
                    naive.revision += 2;
                }
            }
            Op::View(back, count) => {
                let from = naive.done().saturating_sub(back);
                let fits = from + count <= naive.done() && count <= capacity;
                match reader.view(from, count) {
                    Ok(view) => {
                        assert!(fits && (count == 0 || naive.holds(from)), "{from} + {count}");
                        assert_eq!((view.from(), view.rows()), (from, count));
                        let range =
                            usize::try_from(from).unwrap()..usize::try_from(from + count).unwrap();
                        views.push((view, naive.rows[range].concat(), naive.revision));
                    }
                    Err(FrameError::NotEnough { done, .. }) => {
                        assert!(!fits);
                        assert_eq!(done, naive.done());
                    }
                    Err(FrameError::Lapped { oldest, .. }) => {
                        assert!(!naive.holds(from));
                        assert_eq!(oldest, raw.oldest());
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }

        assert_eq!(reader.cursor(), Cursor { done: naive.done(), revision: naive.revision });
        assert_eq!((raw.done(), raw.revision()), (naive.done(), naive.revision));
        for (view, held, revision) in &views {
            let intact = naive.revision == *revision && naive.done() <= view.from() + capacity;
            assert_eq!(view.intact(), intact);
            let mut out = vec![0; view.size_words()];
            match view.copy_into(&mut out) {
                Ok(()) => assert!(intact && out == *held),
                Err(error) => assert!(!intact && error.needs_newer_frame(), "{error}"),
            }
        }
        let mut row = [0; ROW_WORDS];
        for back in 1..=capacity.min(naive.done()) {
            let index = naive.done() - back;
            assert!(raw.read(index, &mut row));
            assert_eq!(row[..], naive.rows[usize::try_from(index).unwrap()]);
        }
        assert!(!raw.read(naive.done(), &mut row));
    }
}

#[test]
fn a_window_is_the_tail_of_a_vector() {
    let op = prop_oneof![
        4 => Just(Op::Append),
        1 => (0u64..25).prop_map(Op::AppendMany),
        2 => (0u64..12).prop_map(Op::Rewrite),
        3 => (0u64..15, 0u64..12).prop_map(|(back, count)| Op::View(back, count)),
    ];
    let ops = proptest::collection::vec(op, 0..60);
    let config = Config { failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&(1u64..12, any::<bool>(), ops), |(capacity, is_sparse, ops)| {
            run(capacity, is_sparse, &ops);
            Ok::<_, TestCaseError>(())
        })
        .unwrap();
}

#[test]
fn a_restored_window_begins_where_its_rows_do() {
    let strategy = (1u64..12, any::<bool>(), 0u64..30, 0u64..30, any::<bool>());
    let config = Config { failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&strategy, |(capacity, is_sparse, before, count, repaired)| {
            let (mut raw, reader) = segment_of(capacity, is_sparse);
            let (done, revision) = (before + count, if repaired { 4 } else { 0 });
            let rows: Vec<u64> = (before..done).flat_map(filled::<ROW_WORDS>).collect();
            raw.restore(done, revision, &rows);
            assert_eq!(reader.cursor(), Cursor { done, revision });
            let kept = count.min(capacity);
            assert_eq!(raw.oldest(), done - kept);
            let view = reader.last(Cursor { done, revision }, kept).unwrap();
            let mut out = vec![0; view.size_words()];
            view.copy_into(&mut out).unwrap();
            for (index, row) in (done - kept..).zip(out.chunks_exact(ROW_WORDS)) {
                assert_filled(row, index);
            }
            if kept < done {
                // Never there in this segment, whatever the index says.
                let error = reader.last(Cursor { done, revision }, kept + 1).unwrap_err();
                assert!(
                    matches!(error, FrameError::NotEnough { .. } | FrameError::Lapped { .. }),
                    "{error}"
                );
            }
            assert_eq!(raw.append(&filled::<ROW_WORDS>(done)), done);
            assert_eq!(raw.oldest(), (done - kept).max((done + 1).saturating_sub(capacity)));
            Ok::<_, TestCaseError>(())
        })
        .unwrap();
}

#[test]
fn any_run_of_rows_is_contiguous_at_one_address() {
    let (mut raw, reader) = segment(7);
    for n in 0..20 {
        raw.append(&filled::<ROW_WORDS>(n));
    }
    let addresses: Vec<usize> =
        (13..20).map(|from| reader.view(from, 1).unwrap().as_ptr().addr()).collect();
    for from in 13..20 {
        let view = reader.view(from, 20 - from).unwrap();
        assert_eq!(view.size_bytes(), view.size_words() * 8);
        let mut row = [0; ROW_WORDS];
        for index in 0..view.rows() {
            view.row(index, &mut row).unwrap();
            assert_filled(&row, from + index);
        }
    }
    assert_eq!(addresses.len(), 7);
    // 13 % 7 = 6: the run begins in the last slot of the first copy and goes on in the second.
    assert_eq!(addresses[1], addresses[0] - 6 * ROW_WORDS * 8);
}

#[test]
fn rows_that_others_may_read_lie_twice_from_the_first_on() {
    const CAPACITY: u64 = 7;
    let temporary = tempfile::tempdir().unwrap();
    let dir = EngineDir::lock(temporary.path()).unwrap();
    let mut segment = Segment::create(&dir, &spec_of(CAPACITY)).unwrap();
    for n in 0..CAPACITY {
        segment.windows[0].append(&filled::<ROW_WORDS>(n));
    }
    let bytes = std::fs::read(dir.path().join("ETHUSDT")).unwrap();
    for n in 0..CAPACITY {
        let row: Vec<u8> =
            filled::<ROW_WORDS>(n).iter().flat_map(|word| word.to_le_bytes()).collect();
        let places: Vec<usize> = (0..bytes.len() - row.len())
            .step_by(8)
            .filter(|&at| bytes[at..].starts_with(&row))
            .collect();
        let &[first, second] = &places[..] else { panic!("row {n} lies at {places:?}") };
        assert_eq!(second - first, 7 * ROW_WORDS * 8);
    }
}

#[test]
fn refusals_say_what_is_there() {
    let (mut raw, reader) = segment(4);
    let said = |error: FrameError| error.to_string();
    let cursor = |done, revision| Cursor { done, revision };
    assert_eq!(
        said(reader.last(cursor(0, 0), 3).unwrap_err()),
        "window rows: rows 0 to 3 were asked for, 0 to 0 are there; ask for fewer, or wait for more"
    );
    for n in 0..10 {
        raw.append(&filled::<ROW_WORDS>(n));
    }
    assert_eq!(
        said(reader.last(cursor(8, 0), 4).unwrap_err()),
        "window rows: rows from 4 on were asked for, the writer has come round to 6; take a newer frame, or copy sooner"
    );
    assert_eq!(
        said(reader.last(cursor(10, 0), 5).unwrap_err()),
        "window rows: rows 5 to 10 were asked for, 6 to 10 are there; ask for fewer, or wait for more"
    );
    raw.rewrite(7, &filled::<ROW_WORDS>(7));
    assert_eq!(
        said(reader.last(cursor(10, 0), 2).unwrap_err()),
        "window rows: revision 0 was asked for, a repair has made it 2; take the next frame"
    );
    let view = reader.last([10, 2].into(), 2).unwrap();
    assert_eq!(
        said(view.copy_into(&mut [0; 3]).unwrap_err()),
        "a copy from window rows takes 10 words, 3 were given; size the buffer by the segment's schema"
    );
}

#[test]
#[should_panic(expected = "row 5 of window rows: 6 to 10 are held")]
fn a_row_that_is_not_held_cannot_be_repaired() {
    let (mut raw, _) = segment(4);
    raw.append_many(10, |_, _| {});
    raw.rewrite(5, &[0; ROW_WORDS]);
}

/// Rows carry index and version; views are taken while the writer appends and repairs.
#[test]
fn no_view_that_is_good_held_a_foreign_row() {
    const ROWS: u64 = 50_000;
    let (mut raw, reader) = segment(8);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for n in 0..ROWS {
                raw.append(&filled::<ROW_WORDS>(n));
                if n % 8 == 7 {
                    // A repair of the newest row, to the content it has: any mixture would show.
                    raw.rewrite(n, &filled::<ROW_WORDS>(n));
                }
                if n % 512 == 511 {
                    std::thread::yield_now(); // On one core the reader must come to run, too.
                }
            }
        });
        scope.spawn(move || {
            let (mut good, mut refused) = (0u64, 0u64);
            let mut out = [0; 4 * ROW_WORDS];
            loop {
                let done = reader.cursor().done;
                if done >= 4 {
                    match reader.view(done - 4, 4).and_then(|view| view.copy_into(&mut out)) {
                        Ok(()) => {
                            good += 1;
                            for (index, row) in (done - 4..).zip(out.chunks_exact(ROW_WORDS)) {
                                assert_filled(row, index);
                            }
                        }
                        Err(error) => {
                            assert!(error.needs_newer_frame(), "{error}");
                            refused += 1;
                        }
                    }
                }
                if done == ROWS {
                    break;
                }
            }
            assert!(good > 0, "{good} good, {refused} refused");
        });
    });
}
