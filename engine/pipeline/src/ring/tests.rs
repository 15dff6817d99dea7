use std::collections::VecDeque;
use std::thread;

use cobring_types::{Input, InputKind, Nanos, Stamp, SymbolIndex};
use proptest::prelude::*;

use super::*;

const RING_BYTES: usize = MIN_RING_BYTES;
const RING_WORDS: usize = RING_BYTES / WORD_BYTES;

type Record = (Vec<u64>, Vec<u8>);

fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let words = (0..length as u64).step_by(WORD_BYTES);
    let mut bytes: Vec<u8> = words.flat_map(|at| (seed ^ at << 20).to_le_bytes()).collect();
    bytes.truncate(length);
    bytes
}

fn pop(consumer: &mut RecordConsumer) -> Option<Record> {
    consumer.pop(|head, body| {
        assert_eq!(body.as_ptr().addr() % WORD_BYTES, 0, "a body is aligned to a word");
        (head.to_vec(), body.to_vec())
    })
}

#[derive(Debug, Clone)]
enum Step {
    Push { head_words: usize, body_bytes: usize },
    PushWords { head_words: usize, body_words: usize },
    PushParts { first_words: usize, second_bytes: usize },
    Flush,
    Pop(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let size = prop_oneof![
        4 => 0..200_usize,
        2 => RING_BYTES / 4 - 300..RING_BYTES / 4 + 40,
        1 => RING_BYTES..4 * RING_BYTES,
    ];
    let words = prop_oneof![
        4 => 0..40_usize,
        1 => RING_WORDS / 4 - 34..RING_WORDS / 4 + 5,
        1 => RING_WORDS..2 * RING_WORDS,
    ];
    let head = 0..=MAX_HEAD_WORDS;
    let step = prop_oneof![
        4 => (head.clone(), size.clone())
            .prop_map(|(head_words, body_bytes)| Step::Push { head_words, body_bytes }),
        2 => (head, words.clone())
            .prop_map(|(head_words, body_words)| Step::PushWords { head_words, body_words }),
        2 => (words, size)
            .prop_map(|(first_words, second_bytes)| Step::PushParts { first_words, second_bytes }),
        1 => Just(Step::Flush),
        5 => (1..6_usize).prop_map(Step::Pop),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_goes_in_comes_out_in_order_and_whole(steps in steps()) {
        let (mut producer, mut consumer) = channel(RING_BYTES);
        let mut model: VecDeque<Record> = VecDeque::new();
        for (number, step) in steps.into_iter().enumerate() {
            let seed = number as u64 * 7 + 1;
            let record = match step {
                Step::Push { head_words, body_bytes } => {
                    let record = (vec![seed; head_words], bytes(body_bytes, seed));
                    Some((producer.try_push(&record.0, &record.1), record))
                }
                Step::PushWords { head_words, body_words } => {
                    let words: Vec<u64> = (0..body_words as u64).map(|i| i ^ seed << 40).collect();
                    let record = (vec![seed; head_words], bytemuck::cast_slice(&words).to_vec());
                    Some((producer.push_words(&record.0, &words), record))
                }
                Step::PushParts { first_words, second_bytes } => {
                    let (first, second) = (bytes(8 * first_words, seed), bytes(second_bytes, !seed));
                    let pushed = producer.try_push_parts(&[seed], [&first, &second]);
                    Some((pushed, (vec![seed], [first, second].concat())))
                }
                Step::Flush => {
                    prop_assert_eq!(producer.flush_pending(), producer.pending.is_empty());
                    None
                }
                Step::Pop(count) => {
                    for _ in 0..count {
                        match pop(&mut consumer) {
                            Some(record) => prop_assert_eq!(Some(record), model.pop_front()),
                            // Only the last record can be under way.
                            None => {
                                prop_assert!(model.len() <= 1);
                                prop_assert!(model.is_empty() || !producer.pending.is_empty());
                            }
                        }
                    }
                    None
                }
            };
            match record {
                Some((Ok(()), record)) => model.push_back(record),
                Some((Err(Full), _)) => prop_assert!(!model.is_empty(), "an empty ring takes any record"),
                None => {}
            }
        }
        while let Some(wanted) = model.pop_front() {
            let record = loop {
                let flushed = producer.flush_pending();
                if let Some(record) = pop(&mut consumer) {
                    break record;
                }
                let under_way = consumer.is_joining() || !consumer.is_empty();
                prop_assert!(!flushed || under_way);
            };
            prop_assert_eq!(record, wanted);
        }
        prop_assert_eq!(pop(&mut consumer), None);
        prop_assert!(consumer.is_empty() && !consumer.is_joining());
        prop_assert_eq!(producer.free_bytes(), producer.capacity_bytes());
    }

    #[test]
    fn parts_are_copied_as_if_they_were_one(
        (first, second) in (0..20_usize, 0..20_usize),
        (cut, length) in (0..40_usize, 0..40_usize),
    ) {
        let parts = [&bytes(first, 3)[..], &bytes(second, 5)[..]];
        let joined = parts.concat();
        let from = cut.min(joined.len());
        let length = length.min(joined.len() - from);
        let mut target = vec![0; length];
        copy_range(parts, from, &mut target);
        prop_assert_eq!(&target[..], &joined[from..from + length]);
    }
}

#[test]
fn a_record_never_wraps_wherever_it_begins() {
    let (mut producer, mut consumer) = channel(RING_BYTES);
    for body_words in 0..RING_WORDS / 4 - 1 {
        for step in [1, 3, body_words] {
            let body = bytes(8 * step + 5, step as u64);
            producer.try_push(&[7], &body).unwrap();
            assert_eq!(pop(&mut consumer), Some((vec![7], body)));
        }
    }
}

#[test]
fn the_largest_whole_record_fits_twice_and_one_word_more_is_split() {
    let whole_bytes = (RING_WORDS / 4 - 1) * WORD_BYTES;
    for (length, pieces) in [(whole_bytes, 1), (whole_bytes + 1, 3), (whole_bytes + 8, 3)] {
        let (mut producer, mut consumer) = channel(RING_BYTES);
        let body = bytes(length, 9);
        producer.try_push(&[], &body).unwrap();
        producer.try_push(&[], &body).unwrap();
        let used = consumer.used_bytes();
        assert!(
            used >= 2 * (length + 8 * pieces) && used <= 2 * (length + 8 * (pieces + 2)),
            "{used}"
        );
        assert_eq!(pop(&mut consumer), Some((vec![], body.clone())));
        assert_eq!(pop(&mut consumer), Some((vec![], body)));
    }
}

#[test]
fn a_full_ring_hands_the_record_back_and_takes_it_later() {
    let (mut producer, mut consumer) = channel(RING_BYTES);
    let body = bytes(100, 11);
    let mut pushed = 0_u64;
    while producer.try_push(&[pushed], &body).is_ok() {
        pushed += 1;
    }
    assert_eq!(pushed, (RING_WORDS / 15) as u64);
    assert_eq!(producer.try_push(&[pushed], &body), Err(Full));
    assert_eq!(pop(&mut consumer), Some((vec![0], body.clone())));
    producer.try_push(&[pushed], &body).unwrap();
    assert_eq!(producer.try_push(&[pushed], &body), Err(Full));
    for number in 1..=pushed {
        assert_eq!(pop(&mut consumer), Some((vec![number], body.clone())));
    }
}

#[test]
fn nothing_is_taken_of_a_large_record_whose_first_fragment_does_not_fit() {
    let (mut producer, mut consumer) = channel(RING_BYTES);
    let small = bytes(8 * (RING_WORDS / 4 - 1), 1);
    for _ in 0..4 {
        producer.try_push(&[], &small).unwrap();
    }
    let large = bytes(RING_BYTES * 3, 2);
    assert_eq!(producer.try_push(&[], &large), Err(Full));
    assert!(producer.flush_pending());
    assert_eq!(pop(&mut consumer), Some((vec![], small.clone())));
    producer.try_push(&[1, 2], &large).unwrap();
    assert_eq!(producer.try_push(&[], &[]), Err(Full), "the large one is under way");
    assert_eq!(producer.free_bytes(), 0);
    for _ in 0..3 {
        assert_eq!(pop(&mut consumer), Some((vec![], small.clone())));
    }
    let record = loop {
        producer.flush_pending();
        if let Some(record) = pop(&mut consumer) {
            break record;
        }
        assert!(consumer.is_joining());
    };
    assert_eq!(record, (vec![1, 2], large));
}

#[test]
fn memory_of_large_records_is_kept() {
    let (mut producer, mut consumer) = channel(1 << 16);
    let large = bytes(8 << 20, 3);
    let mut sizes = Vec::new();
    for _ in 0..3 {
        producer.try_push(&[4], &large).unwrap();
        while consumer.pop(|_, body| assert!(body == large)).is_none() {
            producer.flush_pending();
        }
        sizes.push((producer.pending.capacity(), consumer.joined.capacity()));
    }
    assert_eq!(sizes[0], sizes[1]);
    assert_eq!(sizes[1], sizes[2]);
}

#[test]
fn the_other_end_going_is_seen_and_what_is_left_is_taken() {
    let (mut producer, mut consumer) = channel(0);
    assert_eq!(producer.capacity_bytes(), MIN_RING_BYTES);
    producer.try_push(&[1], b"left").unwrap();
    assert!(!consumer.is_abandoned());
    drop(producer);
    assert!(consumer.is_abandoned());
    assert_eq!(pop(&mut consumer), Some((vec![1], b"left".to_vec())));
    assert_eq!(pop(&mut consumer), None);
}

#[test]
fn two_threads_agree_on_a_million_bytes_of_checksums() {
    let (mut producer, mut consumer) = channel(1 << 14);
    const RECORDS: u64 = 20_000;
    let pusher = thread::spawn(move || {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for number in 0..RECORDS {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let length = match seed % 100 {
                0 => seed >> 8 & 0xffff,
                1..10 => seed >> 8 & 0xfff,
                _ => seed >> 8 & 0x1ff,
            };
            let body = bytes(usize::try_from(length).unwrap(), seed);
            let head = [number, u64::from(crc32c::crc32c(&body)), length];
            while producer.try_push(&head, &body).is_err() {
                thread::yield_now();
            }
        }
        while !producer.flush_pending() {
            thread::yield_now();
        }
    });
    let mut expected = 0;
    while expected < RECORDS {
        let popped = consumer.pop(|head, body| {
            assert_eq!(head, [expected, u64::from(crc32c::crc32c(body)), body.len() as u64]);
        });
        match popped {
            Some(()) => expected += 1,
            None => thread::yield_now(),
        }
    }
    pusher.join().unwrap();
    assert!(consumer.is_empty());
}

#[test]
fn inputs_come_back_with_every_field() {
    let (mut producer, mut consumer) = channel(RING_BYTES);
    for kind in (0..=u8::MAX).filter_map(InputKind::from_u8) {
        let number = u64::from(kind as u8);
        let input = Input {
            stamp: Stamp {
                input_seq: u64::MAX - number,
                ts_recv: Nanos(i64::MAX),
                ts_kernel: Nanos::UNDEF,
                ts_parsed: Nanos(-1),
            },
            kind,
            symbol: SymbolIndex(0xabcd),
            connection: 0xfedc,
            aux: 0x8765_4321,
            ts_aux: Nanos(i64::MIN + 1),
            bytes: b"{\"e\":1}",
        };
        producer.push_input(&input).unwrap();
        let same = consumer.pop_input(|popped| format!("{popped:?}") == format!("{input:?}"));
        assert_eq!(same, Some(true), "{kind:?}");
    }
    assert_eq!(consumer.pop_input(|_| ()), None);
}
