//! What ingest needs of the world: the time, connections, answers, models' outputs and a log.
//!
//! Guarantees: ingest reaches the world by these traits alone, so a simulation that owns time and network runs the
//! very code of a live run. [`super::Host`] is this computer and its network.

use std::fmt;
use std::io;
use std::time::Duration;

use cobring_types::{Input, ModelIndex, ModelOutput, Nanos, SymbolIndex};

use super::IngestCounters;
use crate::models::ModelReport;
use crate::net::{
    ConnectOutcome, ConnectRequest, NetError, ReadOutcome, Received, RestReply, RestRequest,
    SendRefused, Verdict,
};

/// The world around ingest.
pub trait Outside: fmt::Debug {
    /// Its time.
    type Time: Time + fmt::Debug;
    /// A WebSocket.
    type Line: Line + fmt::Debug;
    /// Where inputs are kept.
    type Log: InputLog + fmt::Debug;

    /// Waits until there may be something to do, at most so long, and names the connections that may have something to
    /// read.
    ///
    /// # Errors
    /// The system's; the run ends.
    fn wait(&mut self, timeout: Duration, on_readable: impl FnMut(u16)) -> io::Result<()>;

    /// Asks for a connection.
    ///
    /// # Errors
    /// The request, where there is no room for it now.
    fn connect(&mut self, request: ConnectRequest) -> Result<(), ConnectRequest>;

    /// The next connection that stands or failed.
    fn next_connected(&mut self) -> Option<ConnectOutcome<Self::Line>>;

    /// [`Outside::wait`] is to name that connection from now on.
    ///
    /// # Errors
    /// The system's; the connection is of no use then.
    fn watch(&mut self, line: &Self::Line, number: u16) -> io::Result<()>;

    /// Asks over REST.
    ///
    /// # Errors
    /// The request, where there is no room for it now.
    fn ask(&mut self, request: RestRequest) -> Result<(), RestRequest>;

    /// The next answer.
    fn next_reply(&mut self) -> Option<RestReply>;

    /// Hands out what models have said. `put` says whether there is room for more.
    fn serve_models(
        &mut self,
        now: Nanos,
        put: impl FnMut(SymbolIndex, ModelIndex, &ModelOutput) -> bool,
    );

    /// When models are to be served next, where they may have said something.
    fn next_model_turn(&self) -> Option<Nanos>;

    /// Shows to whoever looks on from outside what was counted; called at each turn. Nobody looks into a
    /// simulation.
    fn show_counters(&mut self, _now: Nanos, _counters: &IngestCounters, _log: Option<&Self::Log>) {
    }

    /// What became of the models' outputs.
    fn model_reports(&self) -> Vec<ModelReport>;

    /// The run is over: nothing is asked any more.
    fn close(&mut self);
}

/// A clock.
pub trait Time {
    /// Now; it never goes back.
    fn now(&self) -> Nanos;

    /// The host's wall clock minus ours.
    fn wall_offset(&self) -> Nanos;
}

/// A WebSocket that is read when something came, see [`crate::net::Connection`].
pub trait Line {
    /// The number that it was asked for by.
    fn number(&self) -> u16;

    /// The other end, for people.
    fn host(&self) -> &str;

    /// There may be something to read.
    fn mark_readable(&mut self);

    /// Whether there may be something that was not read yet.
    fn is_unread(&self) -> bool;

    /// Looks whether something came that nobody has told of, and remembers that it is to be read.
    fn look(&mut self) -> bool;

    /// Hands over what came, at most so many messages.
    ///
    /// # Errors
    /// The connection is lost.
    fn read(
        &mut self,
        now: Nanos,
        messages_max: usize,
        on: &mut impl FnMut(Received<'_>) -> Verdict,
    ) -> Result<ReadOutcome, NetError>;

    /// When something that waits is to be sent.
    fn next_send_at(&self, now: Nanos) -> Option<Nanos>;

    /// Sends what waits.
    ///
    /// # Errors
    /// The connection is lost.
    fn write(&mut self, now: Nanos) -> Result<(), NetError>;

    /// Sends a text, now or as soon as the venue's limits allow.
    ///
    /// # Errors
    /// The text, where it cannot be taken.
    fn send_text(&mut self, now: Nanos, text: String) -> Result<(), SendRefused>;

    /// Ends it.
    fn close(&mut self, now: Nanos, code: u16);
}

/// Where inputs are kept; it never holds up anybody.
pub trait InputLog {
    /// Keeps an input. What does not fit is counted, and told of by [`InputLog::lost_due`].
    fn log(&mut self, input: &Input<'_>);

    /// Moves on what did not fit at once.
    fn flush_pending(&mut self);

    /// How many inputs were lost, when that is to be told.
    fn lost_due(&self, now: Nanos) -> Option<u64>;

    /// Whether a checkpoint is to be taken.
    fn wants_checkpoint(&self, now: Nanos) -> bool;
}
