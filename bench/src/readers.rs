//! What publishing costs with nobody there, with processes that read every frame, and with the same processes stopped by
//! SIGSTOP: one after the other in each round, so that a noisy host shows in all three.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use cobring_frame::{EngineDir, Next, Reader};
use cobring_pipeline::config::auto_frame_slots;
use hdrhistogram::Histogram;
use serde_json::json;

use crate::child::{OwnDir, Process};
use crate::publish::{SYMBOL, Stand};

const READERS: usize = 3;
const NAMES: [&str; 3] = ["none", "reading", "stopped"];
/// Frames between two changes of what the readers do: more than the ring holds, so that stopped ones miss some.
const FRAMES: u64 = 2_000;
/// From one frame to the next: readers sleep on the bell in between, as models do.
const PACE: Duration = Duration::from_micros(500);
const ROWS: u64 = 1_500;
/// A reader that hears nothing for this long gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Every round is checked: what readers took and what they missed are all frames, and the first is not timed.
pub(crate) fn run(rounds: u32, json: bool) -> Result<(), Box<dyn Error>> {
    let dir = OwnDir::in_memory("bench");
    let mut stand = Stand::in_directory(ROWS, &EngineDir::lock(&dir.0)?)?;
    round(&mut stand, &dir.0, |_, _| {})?;
    let histogram = || Histogram::<u64>::new_with_bounds(1, 1_000_000_000, 3);
    let mut histograms = [histogram()?, histogram()?, histogram()?];
    let mut stopped_for = Duration::ZERO;
    for _ in 0..rounds {
        stopped_for +=
            round(&mut stand, &dir.0, |state, ns| histograms[state].saturating_record(ns))?;
    }
    print(&histograms, stopped_for, json)?;
    Ok(())
}

/// Publishes with no reader, with readers, and with the same ones stopped; returns how long they were.
fn round(
    stand: &mut Stand,
    dir: &Path,
    mut record: impl FnMut(usize, u64),
) -> Result<Duration, Box<dyn Error>> {
    publish(stand, |ns| record(0, ns))?;
    let until = stand.published() + 2 * FRAMES;
    let mut readers = Vec::new();
    for _ in 0..READERS {
        readers.push(start_reader(dir, until)?);
    }
    publish(stand, |ns| record(1, ns))?;
    for reader in &readers {
        reader.stop()?;
    }
    let began = Instant::now();
    publish(stand, |ns| record(2, ns))?;
    let stopped_for = began.elapsed();
    for reader in &mut readers {
        let [taken, lost] = finish(reader)?;
        // What the ring still held when it went on was not missed.
        let missed_min = FRAMES - u64::from(auto_frame_slots(1));
        if taken + lost != 2 * FRAMES || lost < missed_min {
            let all = 2 * FRAMES;
            return Err(format!("a reader took {taken} and missed {lost} frames of {all}").into());
        }
    }
    Ok(stopped_for)
}

/// Publishes at a steady pace, each frame timed alone; the clock's own cost is in all of them.
fn publish(stand: &mut Stand, mut record: impl FnMut(u64)) -> Result<(), Box<dyn Error>> {
    let mut due = Instant::now();
    for _ in 0..FRAMES {
        due += PACE;
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        let began = Instant::now();
        stand.publish();
        record(u64::try_from(began.elapsed().as_nanos())?);
    }
    Ok(())
}

/// This program again, as a reader of every frame up to one.
fn start_reader(dir: &Path, until: u64) -> Result<Process, Box<dyn Error>> {
    let mut command = Process::this_program()?;
    command.args(["read", "--until", &until.to_string()]).arg(dir);
    Process::start(command)
}

/// Lets a reader go on to its end; returns the frames that it took and those that it missed.
fn finish(reader: &mut Process) -> Result<[u64; 2], Box<dyn Error>> {
    reader.go_on()?;
    let said = reader.hear()?;
    let (taken, lost) = said.split_once(' ').ok_or_else(|| format!("a reader said {said:?}"))?;
    let counts = [taken.parse()?, lost.parse()?];
    reader.wait()?;
    Ok(counts)
}

/// What each reader process does: every frame up to one, asleep on the bell between them.
pub(crate) fn read(dir: &Path, until: u64) -> Result<(), Box<dyn Error>> {
    let mut reader = Reader::open(dir, SYMBOL)?;
    let mut frame = vec![0; reader.frame_size_bytes() / 8];
    let (mut taken, mut lost) = (0, 0);
    writeln!(io::stdout(), "ready")?;
    while reader.position() < until {
        match reader.next(&mut frame)? {
            Next::Frame { .. } => taken += 1,
            Next::Lapped { lost: frames } => lost += frames,
            Next::Empty if reader.wait(PATIENCE)? => {}
            Next::Empty => return Err("no frame for 10 s".into()),
        }
    }
    writeln!(io::stdout(), "{taken} {lost}")?;
    Ok(())
}

fn print(histograms: &[Histogram<u64>; 3], stopped_for: Duration, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if !json {
        writeln!(
            out,
            "{READERS} readers, a frame each {PACE:?}, stopped for {:.0} s in all; missed frames are exact",
            stopped_for.as_secs_f64()
        )?;
        writeln!(out, "readers     frames   p50 ns   p99 ns   p50 and p99 against none")?;
    }
    let at = |state: usize, quantile: f64| histograms[state].value_at_quantile(quantile);
    let against_none =
        |state: usize, quantile: f64| at(state, quantile) as f64 / at(0, quantile) as f64;
    for (state, name) in NAMES.into_iter().enumerate() {
        let (count, p50_ns, p99_ns) = (histograms[state].len(), at(state, 0.5), at(state, 0.99));
        let (p50_ratio, p99_ratio) = (against_none(state, 0.5), against_none(state, 0.99));
        if json {
            let readers = if state == 0 { 0 } else { READERS };
            let line = json!({ "figure": format!("publish_readers_{name}"), "readers": readers, "count": count,
                "p50_ns": p50_ns, "p99_ns": p99_ns, "p50_ratio": p50_ratio, "p99_ratio": p99_ratio,
                "stopped_s": stopped_for.as_secs_f64() });
            writeln!(out, "{line}")?;
        } else {
            writeln!(
                out,
                "{name:<8} {count:>9} {p50_ns:>8} {p99_ns:>8}   {p50_ratio:>4.2} {p99_ratio:>5.2}"
            )?;
        }
    }
    Ok(())
}
