//! What can go wrong between a URL and a message, in one sentence each.

use thiserror::Error;

/// Where an attempt to connect or to ask was when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Looking the host's name up.
    Resolve,
    /// Opening the TCP connection.
    Connect,
    /// The TLS handshake.
    Tls,
    /// The WebSocket upgrade.
    Upgrade,
    /// An HTTP request and its reply.
    Request,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Resolve => "the name look-up",
            Self::Connect => "the TCP connect",
            Self::Tls => "the TLS handshake",
            Self::Upgrade => "the WebSocket upgrade",
            Self::Request => "the HTTP request",
        })
    }
}

/// Classes of failure, as they are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The URL or the configuration cannot work.
    Configuration,
    /// The name did not resolve.
    Resolve,
    /// No TCP connection.
    Connect,
    /// A deadline passed.
    Deadline,
    /// TLS refused.
    Tls,
    /// Another answer than a WebSocket, or an HTTP error.
    Http,
    /// The peer broke the protocol or sent too much.
    Protocol,
    /// The connection broke.
    Lost,
    /// The engine stops.
    Stopped,
}

/// Why a connection, or a request, failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NetError {
    /// Not a URL that can be connected to.
    #[error("{url:?} is no usable URL: {reason}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file with additional certificate authorities is unusable.
    #[error("{path}: no certificate authorities to trust: {reason}")]
    CaFile {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The name look-up failed.
    #[error("{host}: the name does not resolve: {reason}")]
    Resolve {
        /// Host and port.
        host: String,
        /// The resolver's words.
        reason: String,
    },
    /// No address accepted a TCP connection; the last one's reason.
    #[error("{host}: no TCP connection to {address}: {reason}")]
    Connect {
        /// Host and port.
        host: String,
        /// The address tried last.
        address: String,
        /// The system's words.
        reason: String,
    },
    /// A step did not end in time.
    #[error("{host}: {step} did not end within {limit_ms} ms")]
    Deadline {
        /// Host and port.
        host: String,
        /// What was going on.
        step: Step,
        /// The limit of the whole attempt, or of a TCP connect.
        limit_ms: u64,
    },
    /// The TLS handshake or a TLS record was refused.
    #[error("{host}: TLS failed: {reason}")]
    Tls {
        /// Host and port.
        host: String,
        /// The reason as rustls gives it.
        reason: String,
    },
    /// The server answered the upgrade with an HTTP status.
    #[error("{host}: wanted a WebSocket (101), the server answered HTTP {status}: {body:?}")]
    UpgradeRefused {
        /// Host and port.
        host: String,
        /// The status.
        status: u16,
        /// `Retry-After` in seconds, where the reply carried one.
        retry_after_s: Option<u32>,
        /// The first characters of the reply's body.
        body: String,
    },
    /// A REST reply whose status is not 2xx.
    #[error("{host}: the server answered HTTP {status}: {body:?}")]
    HttpStatus {
        /// Host and port.
        host: String,
        /// The status.
        status: u16,
        /// The first characters of the reply's body.
        body: String,
    },
    /// The peer's bytes are not the protocol.
    #[error("{host}: protocol violated: {reason}")]
    Protocol {
        /// Host and port.
        host: String,
        /// What was wrong.
        reason: String,
    },
    /// A message or body over the limit.
    #[error("{host}: {size} bytes announced or sent, at most {size_max} are taken")]
    TooLarge {
        /// Host and port.
        host: String,
        /// What came; the limit plus one where the whole is unknown.
        size: u64,
        /// The limit.
        size_max: u64,
    },
    /// A request heavier than the whole budget.
    #[error("{host}: a request of weight {weight} never fits the budget of {limit} a minute")]
    TooHeavy {
        /// Host and port.
        host: String,
        /// The request's weight.
        weight: u32,
        /// The budget.
        limit: u32,
    },
    /// The peer ended the connection without a close frame.
    #[error("{host}: the peer ended the connection without a close frame")]
    Ended {
        /// Host and port.
        host: String,
    },
    /// The connection broke.
    #[error("{host}: the connection broke: {reason}")]
    Lost {
        /// Host and port.
        host: String,
        /// The system's words.
        reason: String,
    },
    /// The engine is stopping.
    #[error("{host}: given up, the engine stops")]
    Stopped {
        /// Host and port.
        host: String,
    },
}

impl NetError {
    /// The class that it is counted in.
    #[must_use]
    pub const fn kind(&self) -> FailureKind {
        match self {
            Self::Url { .. } | Self::CaFile { .. } | Self::TooHeavy { .. } => {
                FailureKind::Configuration
            }
            Self::Resolve { .. } => FailureKind::Resolve,
            Self::Connect { .. } => FailureKind::Connect,
            Self::Deadline { .. } => FailureKind::Deadline,
            Self::Tls { .. } => FailureKind::Tls,
            Self::UpgradeRefused { .. } | Self::HttpStatus { .. } => FailureKind::Http,
            Self::Protocol { .. } | Self::TooLarge { .. } => FailureKind::Protocol,
            Self::Ended { .. } | Self::Lost { .. } => FailureKind::Lost,
            Self::Stopped { .. } => FailureKind::Stopped,
        }
    }
}

/// The first characters of a reply's body, for a message.
pub(super) fn excerpt(body: &[u8]) -> String {
    const CHARACTERS: usize = 200;
    let head = &body[..body.len().min(4 * CHARACTERS)];
    String::from_utf8_lossy(head).chars().take(CHARACTERS).collect()
}
