//! The process that reads.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};

use super::control;
use super::medium::{Medium, Receiver};
use crate::report::mono_ns;
use crate::shared::SharedWords;

/// Between two looks for the next turn: a reader whose turn it is not leaves the cores to others.
const NAP: Duration = Duration::from_micros(100);

/// Reads `media` in the turns that the writer announces, and tells of each message when it had all of it.
pub(crate) fn read(dir: &Path, number: usize, media: &[String]) -> Result<(), Box<dyn Error>> {
    // It polls without end: not beyond the writer's.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let control = SharedWords::open(&dir.join("control"))?;
    let mut receivers: Vec<Box<dyn Receiver>> = Vec::new();
    for medium in media {
        receivers.push(medium.parse::<Medium>()?.receiver(dir)?);
    }
    writeln!(io::stdout(), "ready")?;
    let line = control::READERS + number * control::READER_WORDS;
    let mut turn = 0;
    loop {
        turn += 1;
        while control.word(control::TURN).load(Ordering::Acquire) < turn {
            thread::sleep(NAP);
        }
        let word = |at| control.word(at).load(Ordering::Relaxed);
        let (medium, first, count) =
            (word(control::MEDIUM), word(control::FIRST), word(control::COUNT));
        if medium == control::END {
            return Ok(());
        }
        let is_ours = [control::ALL, number as u64].contains(&word(control::READER));
        // Also of others' turns: the writer goes on to no other before every reader has seen this one.
        control.word(line + control::READY).store(turn, Ordering::Release); // to the writer's Acquire
        if !is_ours {
            continue;
        }
        let receiver = &mut receivers[usize::try_from(medium)?];
        for message in first..first + count {
            let sum = loop {
                if let Some(sum) = receiver.poll()? {
                    break sum;
                }
                std::hint::spin_loop();
            };
            let done_at = mono_ns();
            control.word(line + control::SUM).store(sum, Ordering::Relaxed);
            control.word(line + control::DONE_AT).store(done_at, Ordering::Relaxed);
            control.word(line + control::DONE).store(message + 1, Ordering::Release); // to the writer's Acquire
        }
    }
}
