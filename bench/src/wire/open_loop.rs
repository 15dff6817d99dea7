//! The same way at stated rates, whatever the engine does: a message is late from the moment on at which it should have
//! been sent, so a stall is in the figures of all that it held up. Needs a core each for server, engine and reader.

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;

use super::venue::{Message, Shown, Tape};
use super::{Engine, Frames, PATIENCE, WARM_UP};
use crate::report::{Latency, Table, latency, mono_ns, progress};

/// Messages a second, unless others are stated.
pub(super) const RATES: [u32; 3] = [5_000, 20_000, 50_000];
/// Seconds of a rate, at most: as far as the recordings reach.
const SECONDS_MAX: usize = 5;

/// Sends the recordings' messages at each rate in turn; leaves an HDR log and a picture in `out`.
pub(super) fn run(
    files: &[PathBuf],
    rates: &[u32],
    out: &Path,
    json: bool,
) -> Result<(), Box<dyn Error>> {
    let mut tape = Tape::load(files)?;
    let mut engine = Engine::start(&tape)?;
    let (warm_up, mut messages) = tape.messages.split_at_mut(WARM_UP);
    engine.warm_up(warm_up)?;
    let table = Table::new("open loop, ns from due", json)?;
    let mut measured = Vec::new();
    for (at, rate) in rates.iter().enumerate() {
        progress(&format!("wire, {rate} messages a second"));
        let share = messages.len() / (rates.len() - at);
        let count = share.min(usize::try_from(*rate)? * SECONDS_MAX);
        let (now, rest) = messages.split_at_mut(count);
        messages = rest;
        let name = format!("wire_{rate}_per_s");
        let latency = at_rate(&mut engine, now, *rate)?;
        table.row(&name, &latency)?;
        measured.push((name, Duration::from_secs_f64(count as f64 / f64::from(*rate)), latency));
        engine.check_live()?;
    }
    fs::create_dir_all(out)?;
    write_log(&out.join("wire.hlog"), &measured)?;
    #[cfg(feature = "picture")]
    draw(&out.join("wire.svg"), &measured)?;
    Ok(())
}

/// A thread sends when each message is due, this one reads the frames.
fn at_rate(
    engine: &mut Engine,
    messages: &mut [Message],
    rate: u32,
) -> Result<Latency, Box<dyn Error>> {
    engine.settle()?;
    let Engine { socket, readers, .. } = engine;
    let interval_ns = 1_000_000_000 / u64::from(rate);
    let begin = mono_ns() + 10 * interval_ns;
    let due = |number: usize| begin + interval_ns * number as u64;
    // Of each symbol its messages, in order: its frames come in the same.
    let mut expected: Vec<Vec<(usize, Shown)>> = vec![Vec::new(); readers.len()];
    for (number, message) in messages.iter().enumerate() {
        expected[message.symbol].push((number, message.shown));
    }
    let mut times = latency();
    let gave_up = AtomicBool::new(false);
    thread::scope(|scope| {
        let gave_up = &gave_up;
        let server = scope.spawn(move || {
            for (number, message) in messages.iter_mut().enumerate() {
                // Its times are those of its sending: a trade of a second that is over would be a repair.
                message.stamp();
                while mono_ns() < due(number) {
                    std::hint::spin_loop();
                }
                if gave_up.load(Ordering::Relaxed) {
                    return Ok(());
                }
                socket.write_all(&message.frame)?;
            }
            Ok::<_, std::io::Error>(())
        });
        let read = read(readers, &expected, |number, read| {
            times.saturating_record(read.saturating_sub(due(number)));
        });
        gave_up.store(true, Ordering::Relaxed);
        let sent = server.join().map_err(|_| "the server panicked")?;
        read?;
        Ok::<_, Box<dyn Error>>(sent?)
    })?;
    Ok(times)
}

/// Reads a frame for each message, tells when, and checks that it shows it.
fn read(
    readers: &mut [Frames],
    expected: &[Vec<(usize, Shown)>],
    mut on: impl FnMut(usize, u64),
) -> Result<(), Box<dyn Error>> {
    let mut taken = vec![0; readers.len()];
    let mut left = expected.iter().map(Vec::len).sum::<usize>();
    let mut deadline = mono_ns() + nanos(PATIENCE);
    while left > 0 {
        for ((frames, expected), taken) in readers.iter_mut().zip(expected).zip(&mut taken) {
            let Some((read, head)) = frames.poll()? else { continue };
            let (number, shown) = *expected.get(*taken).ok_or("more frames than messages")?;
            on(number, read);
            if head.identity.trigger != shown.trigger() as u8 || !shown.is_in(head) {
                return Err(format!("the frame of message {number} does not show {shown:?}").into());
            }
            *taken += 1;
            left -= 1;
            deadline = mono_ns() + nanos(PATIENCE);
        }
        if mono_ns() > deadline {
            return Err(format!("{left} messages have brought no frame").into());
        }
    }
    Ok(())
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// An interval for each rate, as HdrHistogram's tools read it.
fn write_log(path: &Path, measured: &[(String, Duration, Latency)]) -> Result<(), Box<dyn Error>> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new().begin_log_with(&mut file, &mut serializer)?;
    let mut began = Duration::ZERO;
    for (name, length, latency) in measured {
        let tag = hdrhistogram::serialization::interval_log::Tag::new(name).ok_or("a tag")?;
        log.write_histogram(latency, began, *length, Some(tag))
            .map_err(|error| format!("{}: {error:?}", path.display()))?;
        began += *length;
    }
    file.flush()?;
    Ok(())
}

/// Latency by percentile, a line for each rate, both axes as HdrHistogram's plots have them.
#[cfg(feature = "picture")]
#[expect(clippy::cast_precision_loss, reason = "pixels")]
fn draw(path: &Path, measured: &[(String, Duration, Latency)]) -> Result<(), Box<dyn Error>> {
    use plotters::prelude::{
        ChartBuilder, Color as _, IntoDrawingArea as _, IntoLogRange as _, LineSeries,
        Palette as _, Palette99, PathElement, SVGBackend, WHITE,
    };

    const SIZE: (u32, u32) = (900, 540);
    /// 1 / (1 − percentile): 2 is the median, 10,000 is 99.99 %.
    const RARENESS_MAX: f64 = 10_000.0;
    let max_us = measured.iter().map(|(.., times)| times.max()).max().unwrap_or(1) as f64 / 1_000.0;
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption("due to be sent → frame read", ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d((1.0..RARENESS_MAX).log_scale(), (1.0..max_us.max(10.0)).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("percentile")
        .x_label_formatter(&|rareness| {
            let percentile = format!("{:.5}", 100.0 * (1.0 - 1.0 / rareness));
            // First the zeros behind the point alone: 90 is no 9.
            percentile.trim_end_matches('0').trim_end_matches('.').to_owned()
        })
        .y_desc("µs")
        .draw()?;
    for (at, (name, _, times)) in measured.iter().enumerate() {
        let points = times.iter_quantiles(10).map(|value| {
            let rareness = 1.0 / (1.0 - value.quantile()).max(1.0 / RARENESS_MAX);
            (rareness, value.value_iterated_to() as f64 / 1_000.0)
        });
        let color = Palette99::pick(at).to_rgba();
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)))?
            .label(name.replace('_', " "))
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 20, y)], color));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE)
        .border_style(plotters::prelude::BLACK)
        .draw()?;
    root.present()?;
    Ok(())
}
