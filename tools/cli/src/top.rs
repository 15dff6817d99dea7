//! `cobring top`: an engine at work, as any reader sees it. Reads shared memory alone, and never delays the engine.

mod json;
mod lines;
mod sample;
mod screen;
#[cfg(test)]
mod tests;
mod text;
mod view;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use self::sample::{Looker, NoSample};
use self::screen::Choice;
use self::view::View;
use crate::demo::parse_duration;
use crate::exit::Failure;
use crate::output;
use crate::signals::Signals;

/// How long one wait for a key lasts; the signal flag is looked at between two.
const KEY_WAIT: Duration = Duration::from_millis(50);
/// Shorter ones would show the engine's own rhythm: it stores counters ten times a second.
const INTERVAL_MIN: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cobring top                                  # live; q quits, ? helps
  cobring top --dir /dev/shm/cobring-demo-77   # that of a demo, which prints its directory
  cobring top --once                           # one page of text: also where stdout is no terminal
  cobring top --json | jq '.stages.recv_to_published.last'
  cobring top --jsonl --interval 5s >> top.jsonl")]
pub(crate) struct Top {
    /// Directory of the engine; by default that of --config.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Configuration that names the directory; by default the built-in one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Between two looks, as 500ms or 5s: rates and the latencies of "last" are of this time.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_interval)]
    interval: Duration,
    /// Print one page of text and end, after one interval.
    #[arg(long)]
    once: bool,
    /// Print one JSON object and end, after one interval.
    #[arg(long)]
    json: bool,
    /// Print a line of JSON after each interval.
    #[arg(long, conflicts_with_all = ["once", "json"])]
    jsonl: bool,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text)?;
    if interval < INTERVAL_MIN {
        return Err(format!("must be at least {} ms", INTERVAL_MIN.as_millis()));
    }
    Ok(interval)
}

impl Top {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let dir = match &self.dir {
            Some(dir) => dir.clone(),
            None => output::config(self.config.as_deref())?.engine.shared_memory_dir,
        };
        let signals = Signals::catch()?;
        let mut looker = Looker::new(dir.clone());
        let no_engine = |reason| match reason {
            NoSample::NoEngine => Failure::Failed(format!(
                "no engine in {}: start one with `cobring run` or `cobring demo`",
                dir.display()
            )),
            NoSample::Failed(error) => Failure::failed(error),
        };
        // Before the screen is taken: a refusal is a plain sentence.
        let mut view = View::new(looker.look().map_err(no_engine)?);
        if !(self.once || self.json || self.jsonl) && io::stdout().is_terminal() {
            return Live { looker, view, message: None, choice: Choice::default() }
                .run(self.interval, &signals);
        }
        loop {
            if !wait(self.interval, &signals) {
                return signals.outcome();
            }
            view.follow(looker.look().map_err(no_engine)?);
            let mut out = io::stdout().lock();
            if self.json || self.jsonl {
                writeln!(out, "{}", json::object(&view))?;
            } else {
                write!(out, "{}", text::page(&view))?;
            }
            out.flush()?;
            if !self.jsonl {
                return Ok(());
            }
        }
    }
}

/// Waits so long; `false` where a signal came.
fn wait(time: Duration, signals: &Signals) -> bool {
    let until = Instant::now() + time;
    while !signals.is_set() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(KEY_WAIT));
    }
    false
}

/// The full screen.
#[derive(Debug)]
struct Live {
    looker: Looker,
    view: View,
    /// Why the view is an old one.
    message: Option<String>,
    choice: Choice,
}

/// What a key asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Nothing,
    Redraw,
    Quit,
    Interrupt,
}

/// The terminal as it was, whichever way the screen is left. (A panic's hook restores it before its message.)
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

impl Live {
    fn run(mut self, interval: Duration, signals: &Signals) -> Result<(), Failure> {
        let mut terminal = ratatui::try_init()?;
        let restore = Restore;
        let mut next = Instant::now() + interval;
        let mut is_changed = true;
        let interrupted = loop {
            if signals.is_set() {
                break false;
            }
            if is_changed {
                let message = self.message.as_deref();
                terminal.draw(|frame| screen::draw(frame, &self.view, &self.choice, message))?;
                is_changed = false;
            }
            let now = Instant::now();
            if now >= next {
                next = now + interval;
                if !self.choice.is_paused {
                    self.look();
                    is_changed = true;
                }
            }
            let left = next.saturating_duration_since(now).min(KEY_WAIT);
            if event::poll(left)? {
                match self.on_event(&event::read()?) {
                    Asked::Nothing => {}
                    Asked::Redraw => is_changed = true,
                    Asked::Quit => break false,
                    Asked::Interrupt => break true,
                }
            }
        };
        drop(restore);
        if interrupted {
            return Err(Failure::Signal(signal_hook::consts::SIGINT));
        }
        signals.outcome()
    }

    /// Takes a new sample; without one the last view stays, and why.
    fn look(&mut self) {
        match self.looker.look() {
            Ok(sample) => {
                self.message = None;
                self.view.follow(sample);
                if let Some(symbol) = &self.choice.symbol
                    && !self.view.symbol_names().any(|name| name == symbol)
                {
                    self.choice.symbol = None;
                }
            }
            Err(NoSample::NoEngine) => {
                self.message =
                    Some("the engine's directory is gone; waiting for a new one".to_owned());
            }
            Err(NoSample::Failed(error)) => self.message = Some(error.to_string()),
        }
    }

    fn on_event(&mut self, event: &Event) -> Asked {
        let KeyEvent { code, modifiers, .. } = match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => *key,
            Event::Resize(..) => return Asked::Redraw,
            _ => return Asked::Nothing,
        };
        let choice = &mut self.choice;
        match code {
            // In raw mode it is a key like any other.
            KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => {
                return Asked::Interrupt;
            }
            _ if choice.is_help_shown => choice.is_help_shown = false,
            KeyCode::Char('q') => return Asked::Quit,
            KeyCode::Char('p' | ' ') => choice.is_paused = !choice.is_paused,
            KeyCode::Char('?' | 'h') => choice.is_help_shown = true,
            KeyCode::Down | KeyCode::Tab => self.choose(1),
            KeyCode::Up | KeyCode::BackTab => self.choose(-1),
            _ => return Asked::Nothing,
        }
        Asked::Redraw
    }

    /// Moves on among all symbols together and each of them.
    fn choose(&mut self, by: isize) {
        let names: Vec<&str> = self.view.symbol_names().collect();
        let chosen = self.choice.symbol.as_deref();
        let at = names.iter().position(|&name| Some(name) == chosen).map_or(0, |at| at + 1);
        let next = (at + names.len() + 1).wrapping_add_signed(by) % (names.len() + 1);
        self.choice.symbol = next.checked_sub(1).map(|at| names[at].to_owned());
    }
}
