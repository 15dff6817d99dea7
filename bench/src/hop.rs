//! From one thread to another: real events through the ring that joins parse and aggregate, one in flight, beside two
//! bare atomics, of which one says that a record's words are there and the other that they were read.

use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cobring_pipeline::config::Config;
use cobring_pipeline::events::push_event;
use cobring_pipeline::recording::Recording;
use cobring_pipeline::ring::{self, RecordConsumer, RecordProducer};
use cobring_types::{Event, Stamp, SymbolIndex};
use cobring_venue::binance::Decoder;

use crate::report::{Figure, Latency, Rounds, Table, latency, mono_ns, progress};

/// Records of a turn.
const TURN: usize = 1_000;
/// Times that each way has its turn; one more before them is not timed.
const ROUNDS: usize = 31;
/// From a record that was read to the next one.
const GAP: Duration = Duration::from_micros(2);
/// A consumer that is silent for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(20);

/// An event as it stands in the ring.
struct Record {
    head: Vec<u64>,
    body: Vec<u64>,
}

impl Record {
    fn sum(&self) -> u64 {
        sum(&self.head).wrapping_add(sum(&self.body))
    }

    fn words(&self) -> usize {
        self.head.len() + self.body.len()
    }
}

fn sum(words: &[u64]) -> u64 {
    words.iter().fold(0, |sum, &word| sum.wrapping_add(word))
}

/// The events of the recordings, each encoded as the parse stage does.
fn load(files: &[PathBuf], count: usize) -> Result<Vec<Record>, Box<dyn Error>> {
    let config = Config::built_in();
    let instruments = config.symbol_configs().into_iter().map(|symbol| symbol.instrument);
    let mut decoder = Decoder::new(instruments.collect());
    let (mut producer, mut consumer) = ring::channel(config.engine.event_ring_bytes);
    let mut recording = Recording::open(files)?;
    let (mut records, mut input_seq) = (Vec::with_capacity(count), 0);
    while let Some(line) = recording.next()? {
        if records.len() == count {
            return Ok(records);
        }
        if line.snapshot {
            continue;
        }
        let input = line.input(input_seq, SymbolIndex::NONE);
        input_seq += 1;
        decoder
            .decode(&input, &mut |stamp: &Stamp, symbol: SymbolIndex, event: &Event<'_>| {
                let pushed = push_event(&mut producer, stamp, symbol, event);
                pushed.expect("invariant: the ring is empty");
                consumer.pop_words(|head, body| {
                    records.push(Record { head: head.to_vec(), body: body.to_vec() });
                });
            })
            .map_err(|error| format!("message {input_seq}: {error}"))?;
    }
    if records.len() < TURN {
        return Err(format!("{} events, wanted {TURN} or more", records.len()).into());
    }
    Ok(records)
}

/// What the consumer answers, on lines of its own.
#[repr(align(128))]
#[derive(Default)]
struct Answer {
    done: AtomicU64,
    done_at: AtomicU64,
    sum: AtomicU64,
}

/// One record after another: the time from before `send` until all its words have gone through `receive`, which gives
/// their sum.
fn turn(
    records: &[Record],
    mut send: impl FnMut(&Record),
    mut receive: impl FnMut() -> Option<u64> + Send,
) -> Result<Latency, Box<dyn Error>> {
    let answer = Answer::default();
    let all = records.len() as u64;
    let mut times = latency();
    thread::scope(|scope| -> Result<(), Box<dyn Error>> {
        scope.spawn(|| {
            for number in 0..all {
                let sum = loop {
                    if let Some(sum) = receive() {
                        break sum;
                    }
                    // The producer has given up.
                    if answer.done.load(Ordering::Relaxed) == u64::MAX {
                        return;
                    }
                    std::hint::spin_loop();
                };
                answer.done_at.store(mono_ns(), Ordering::Relaxed);
                answer.sum.store(sum, Ordering::Relaxed);
                answer.done.store(number + 1, Ordering::Release); // to the producer's Acquire
            }
        });
        for (number, record) in (1u64..).zip(records) {
            let wanted = record.sum();
            let pause = Instant::now();
            while pause.elapsed() < GAP {
                std::hint::spin_loop();
            }
            let began = mono_ns();
            send(record);
            let sent = Instant::now();
            while answer.done.load(Ordering::Acquire) != number {
                if sent.elapsed() > PATIENCE {
                    answer.done.store(u64::MAX, Ordering::Relaxed);
                    return Err(format!("record {number} did not arrive").into());
                }
            }
            let found = answer.sum.load(Ordering::Relaxed);
            if found != wanted {
                answer.done.store(u64::MAX, Ordering::Relaxed);
                return Err(format!("record {number} came as {found:x}, sent as {wanted:x}").into());
            }
            times.saturating_record(answer.done_at.load(Ordering::Relaxed).saturating_sub(began));
        }
        Ok(())
    })?;
    Ok(times)
}

fn by_ring(
    records: &[Record],
    ring: &mut (RecordProducer, RecordConsumer),
) -> Result<Latency, Box<dyn Error>> {
    let (producer, consumer) = ring;
    turn(
        records,
        |record| {
            let pushed = producer.push_words(&record.head, &record.body);
            pushed.expect("invariant: one record at a time fits");
        },
        || consumer.pop_words(|head, body| sum(head).wrapping_add(sum(body))),
    )
}

/// Two atomics and the words between them: at one place, or wandering through as much memory as the ring has.
struct Bare {
    /// Count of records that are there. On a line of its own.
    there: Box<Answer>,
    words: Vec<AtomicU64>,
}

impl Bare {
    fn new(words: usize) -> Self {
        let words = (0..words).map(|_| AtomicU64::new(0)).collect();
        Self { there: Box::default(), words }
    }

    fn take_turn(&self, records: &[Record]) -> Result<Latency, Box<dyn Error>> {
        let place = |at: &mut usize, count: usize| {
            if *at + count > self.words.len() {
                *at = 0;
            }
            *at += count;
            &self.words[*at - count..*at]
        };
        self.there.done.store(0, Ordering::Relaxed);
        let (mut write_at, mut sent) = (0, 0);
        let (mut read_at, mut taken) = (0, 0);
        turn(
            records,
            |record| {
                let words = record.head.iter().chain(&record.body);
                for (to, word) in place(&mut write_at, record.words()).iter().zip(words) {
                    to.store(*word, Ordering::Relaxed);
                }
                sent += 1;
                self.there.done.store(sent, Ordering::Release); // to the consumer's Acquire
            },
            || {
                let record = records.get(taken)?;
                if self.there.done.load(Ordering::Acquire) != taken as u64 + 1 {
                    return None;
                }
                taken += 1;
                let words = place(&mut read_at, record.words()).iter();
                Some(words.fold(0, |sum, word| sum.wrapping_add(word.load(Ordering::Relaxed))))
            },
        )
    }
}

/// Times all ways in turns, and says how they stand to one another.
pub(crate) fn run(files: &[PathBuf], is_table: bool, json: bool) -> Result<(), Box<dyn Error>> {
    progress("hop");
    let records = load(files, (ROUNDS + 1) * TURN)?;
    let ring_bytes = Config::built_in().engine.event_ring_bytes;
    let mut ring = ring::channel(ring_bytes);
    let longest = records.iter().map(Record::words).max().unwrap_or_default();
    let (place, memory) = (Bare::new(longest), Bare::new(ring_bytes / 8));
    let (mut ours, mut at_one_place, mut in_memory) =
        (Rounds::default(), Rounds::default(), Rounds::default());
    for round in 0..=ROUNDS {
        let from = round * TURN % (records.len() / TURN * TURN);
        let records = &records[from..from + TURN];
        let [by_ring, by_place, by_memory] =
            [by_ring(records, &mut ring)?, place.take_turn(records)?, memory.take_turn(records)?];
        // The first round warms up.
        if round > 0 {
            ours.push(by_ring);
            at_one_place.push(by_place);
            in_memory.push(by_memory);
        }
    }
    let ways = [
        ("two bare atomics, as much memory", &in_memory, Some((1.0 / 1.3, 0.5))),
        ("two bare atomics, one place", &at_one_place, None),
    ];
    if is_table {
        let table = Table::new("thread hop, ns", json)?;
        table.row("hop_ring", &ours.merged())?;
        for (name, rounds, _) in ways {
            table.row(name, &rounds.merged())?;
        }
    }
    for (peer, rounds, goals) in ways {
        for (figure, quantile, goal) in [
            ("hop_p50", 0.5, goals.map(|goals| goals.0)),
            ("hop_p99", 0.99, goals.map(|goals| goals.1)),
        ] {
            let (ours_ns, peer_ns) = (ours.at(quantile), rounds.at(quantile));
            Figure { figure, peer, ours_ns, peer_ns, goal }.print(json)?;
        }
    }
    Ok(())
}
