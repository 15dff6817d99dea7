//! What can go wrong before a simulator serves.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the simulator does not start, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// The address is taken, or is not ours.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// What was asked for.
        addr: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// A recording, fault file or truth file cannot be opened, read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A line of a recording is not `<receive ns> <raw message>`.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        /// The recording.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A recording that cannot be played whatever its single lines say.
    #[error("{}: {reason}", path.display())]
    Recording {
        /// The recording.
        path: PathBuf,
        /// Which rule it breaks.
        reason: String,
    },
    /// A value of the configuration.
    #[error("{key} = {value}: {rule}")]
    Config {
        /// The field.
        key: &'static str,
        /// What it was.
        value: String,
        /// What is allowed.
        rule: &'static str,
    },
    /// A fault file that does not parse.
    #[error("{}: {reason}", path.display())]
    Faults {
        /// The file.
        path: PathBuf,
        /// The parser's sentence, with line and column.
        reason: String,
    },
    /// A kline archive that is not there.
    #[error("{name}.zip: {reason}")]
    NoArchive {
        /// As in `ETHUSDT-1s-2025-01`.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// The certificate could not be made, or TLS refused it.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// The simulator has been shut down.
    #[error("the simulator has stopped")]
    Stopped,
}
