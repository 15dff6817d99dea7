//! How the program ends: documented exit codes, one clear sentence on stderr.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use cobring_pipeline::config::ConfigError;

/// Why a subcommand did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// 1: it failed.
    Failed(String),
    /// 3: the configuration is refused.
    Configuration(String),
    /// 4: a check found something, which it has told.
    Found,
    /// 128 + the signal's number: ended by it, cleanly.
    Signal(i32),
    /// Whoever read our output is gone: not an error.
    OutputClosed,
}

impl Failure {
    pub(crate) fn failed(error: impl fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }

    pub(crate) fn exit_code(result: Result<(), Self>) -> ExitCode {
        let (code, message) = match result {
            Ok(()) | Err(Self::OutputClosed) => return ExitCode::SUCCESS,
            Err(Self::Found) => return ExitCode::from(4),
            Err(Self::Failed(message)) => (1, message),
            Err(Self::Configuration(message)) => (3, message),
            Err(Self::Signal(number)) => {
                return ExitCode::from(u8::try_from(128 + number).unwrap_or(u8::MAX));
            }
        };
        // Nothing can be done where even stderr is closed.
        let _ = writeln!(io::stderr(), "cobring: {message}");
        ExitCode::from(code)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Configuration(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::OutputClosed
        } else {
            Self::Failed(format!("cannot write the output: {error}"))
        }
    }
}
