//! A child process: its lines as they come, its end, its death with the handle.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::program::program;
use crate::{SOON, wait_until};

/// Lines that a pipe gave so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }
}

/// A running `cobring`.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdout: Lines,
    stderr: Lines,
    readers: Vec<JoinHandle<()>>,
}

/// How a process ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// Itself, where it succeeded.
    #[must_use]
    pub fn succeeded(self) -> Self {
        self.ended_with(0)
    }

    /// Itself, where it ended with that code.
    #[must_use]
    pub fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stderr: {}\nstdout: {}", self.stderr, self.stdout);
        self
    }

    /// The JSON object that it printed.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.stdout.trim())
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", self.stdout, self.stderr))
    }

    /// The one sentence with which it refused: exit code 1, one line of its own on stderr, no panic.
    #[must_use]
    pub fn refusal(self) -> String {
        let refused = self.ended_with(1);
        let said: Vec<_> =
            refused.stderr.lines().filter(|line| line.starts_with("cobring: ")).collect();
        assert!(said.len() == 1 && !refused.stderr.contains("panicked"), "{}", refused.stderr);
        said[0].to_owned()
    }
}

impl Process {
    /// Starts the program; its lines of stdout are kept.
    #[must_use]
    pub fn start<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Self {
        Self::start_command(Command::new(program()).args(args))
    }

    /// Starts another program; its lines of stdout are kept.
    #[must_use]
    pub fn start_command(command: &mut Command) -> Self {
        let stdout = Lines::default();
        let mut process = Self::spawn(command, {
            let stdout = stdout.clone();
            move |line| stdout.0.lock().unwrap_or_else(PoisonError::into_inner).push(line)
        });
        process.stdout = stdout;
        process
    }

    /// Starts the program; each line of stdout goes to `on_line`.
    pub(crate) fn start_with<S: AsRef<OsStr>>(
        args: impl IntoIterator<Item = S>,
        on_line: impl FnMut(String) + Send + 'static,
    ) -> Self {
        Self::spawn(Command::new(program()).args(args), on_line)
    }

    fn spawn(command: &mut Command, on_line: impl FnMut(String) + Send + 'static) -> Self {
        let mut child = command
            .env("COBRING_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stderr = Lines::default();
        let keep = {
            let stderr = stderr.clone();
            move |line| stderr.0.lock().unwrap_or_else(PoisonError::into_inner).push(line)
        };
        let readers = vec![
            read_lines(child.stdout.take().expect("stdout is a pipe"), on_line),
            read_lines(child.stderr.take().expect("stderr is a pipe"), keep),
        ];
        Self { child, stdout: Lines::default(), stderr, readers }
    }

    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Waits until stderr holds `text`.
    pub fn wait_stderr(&self, text: &str, limit: Duration) {
        let deadline = Instant::now() + limit;
        while !self.stderr().contains(text) {
            assert!(Instant::now() < deadline, "{text:?} not within {limit:?}: {}", self.stderr());
            std::thread::sleep(crate::POLL);
        }
    }

    #[must_use]
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a child has an id"), signal).expect("a child takes signals");
    }

    /// SIGTERM, and its end.
    #[must_use]
    pub fn terminate(self, limit: Duration) -> Finished {
        self.signal(Signal::TERM);
        self.finish(limit)
    }

    /// SIGKILL, and its end.
    pub fn kill(self) {
        self.signal(Signal::KILL);
        let _killed = self.finish(SOON);
    }

    /// Waits for its end.
    #[must_use]
    pub fn finish(mut self, limit: Duration) -> Finished {
        wait_until("a process ends", limit, || !self.is_running());
        let status = self.child.wait().expect("a child can be waited for");
        for reader in self.readers.drain(..) {
            reader.join().expect("reading lines does not panic");
        }
        Finished { code: status.code(), stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let stderr = self.stderr();
            let lines: Vec<_> = stderr.lines().collect();
            let shown = lines[lines.len().saturating_sub(20)..].join("\n");
            eprintln!("process {}, end of its stderr:\n{shown}", self.child.id());
        }
    }
}

fn read_lines(
    pipe: impl Read + Send + 'static,
    mut on_line: impl FnMut(String) + Send + 'static,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = String::new();
        // Whoever is killed may leave the beginning of a line, which is none.
        while pipe.read_line(&mut line).is_ok() && line.ends_with('\n') {
            on_line(std::mem::take(&mut line).trim_end_matches(['\r', '\n']).to_owned());
        }
    })
}
