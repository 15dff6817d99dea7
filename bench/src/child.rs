//! Processes and directories of a bench: both end with their handles, whatever happens in between.

use std::error::Error;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// A process that is spoken with line by line.
pub(crate) struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    /// This program again.
    pub(crate) fn this_program() -> io::Result<Command> {
        Ok(Command::new(std::env::current_exe()?))
    }

    /// Starts it and waits until it says that it is ready.
    pub(crate) fn start(mut command: Command) -> Result<Self, Box<dyn Error>> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stdin = stdin.ok_or("a process without an input")?;
        let stdout = BufReader::new(stdout.ok_or("a process without an output")?);
        let mut process = Self { child, stdin, stdout };
        match process.hear()?.as_str() {
            "ready" => Ok(process),
            other => Err(format!("{command:?} said {other:?}, wanted \"ready\"").into()),
        }
    }

    /// Its next line.
    pub(crate) fn hear(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    pub(crate) fn say(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.stdin, "{line}")
    }

    fn pid(&self) -> Result<Pid, Box<dyn Error>> {
        Ok(Pid::from_raw(i32::try_from(self.child.id())?).ok_or("a process without an id")?)
    }

    /// Stops it, and waits until it is: a signal alone may take its time, and on two cores one that spins disturbs.
    pub(crate) fn stop(&self) -> Result<(), Box<dyn Error>> {
        kill_process(self.pid()?, Signal::STOP)?;
        match waitpid(Some(self.pid()?), WaitOptions::UNTRACED)? {
            Some((_, status)) if status.stopped() => Ok(()),
            status => Err(format!("a process that was stopped is {status:?}").into()),
        }
    }

    pub(crate) fn go_on(&self) -> Result<(), Box<dyn Error>> {
        Ok(kill_process(self.pid()?, Signal::CONT)?)
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory of this process alone, removed with its handle.
pub(crate) struct OwnDir(pub(crate) PathBuf);

impl OwnDir {
    /// The name of one in memory, which is not made yet.
    pub(crate) fn in_memory(what: &str) -> Self {
        Self(PathBuf::from(format!("/dev/shm/cobring-{what}-{}", std::process::id())))
    }

    /// One for files of any size.
    pub(crate) fn on_disk(what: &str) -> io::Result<Self> {
        let name = format!("cobring-{what}-{}", std::process::id());
        let own = Self(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&own.0)?;
        Ok(own)
    }
}

impl Drop for OwnDir {
    fn drop(&mut self) {
        // Nothing can be done where it cannot be removed.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
