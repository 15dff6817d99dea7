//! This computer and its network, as ingest sees them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use cobring_types::{Input, ModelIndex, ModelOutput, Nanos, SymbolIndex};
use mio::{Events, Poll, Token};

use super::IngestCounters;
use super::outside::{InputLog, Line, Outside, Time};
use crate::clock::EngineClock;
use crate::counters::IngestRows;
use crate::log::LogProducer;
use crate::models::{ModelReport, Models};
use crate::net::{
    ConnectOutcome, ConnectRequest, Connection, Connector, NetCounters, NetError, ReadOutcome,
    Received, RestHelper, RestReply, RestRequest, SendRefused, Verdict,
};

/// Token of the wake-ups that helpers send; connections have their number.
pub(crate) const WAKE_TOKEN: Token = Token(usize::MAX);
/// Token of writes to models' files.
const MODELS_TOKEN: Token = Token(usize::MAX - 1);

/// Sockets, helper threads and models' files behind one poll.
#[derive(Debug)]
pub(crate) struct Host {
    poll: Poll,
    events: Events,
    connector: Connector,
    rest: RestHelper,
    models: Models,
    net: Arc<NetCounters>,
    rows: IngestRows,
}

impl Host {
    /// Joins the parts; the helpers, which count in `net`, wake the poll by [`WAKE_TOKEN`].
    ///
    /// # Errors
    /// The system's, where models' files cannot be watched.
    pub(crate) fn new(
        poll: Poll,
        connector: Connector,
        rest: RestHelper,
        mut models: Models,
        net: Arc<NetCounters>,
        rows: IngestRows,
    ) -> io::Result<Self> {
        models.register(poll.registry(), MODELS_TOKEN)?;
        let events = Events::with_capacity(256);
        Ok(Self { poll, events, connector, rest, models, net, rows })
    }
}

impl Outside for Host {
    type Time = EngineClock;
    type Line = Connection;
    type Log = LogProducer;

    fn wait(&mut self, timeout: Duration, mut on_readable: impl FnMut(u16)) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &self.events {
            if event.token() == MODELS_TOKEN {
                self.models.mark_written();
            } else if let Ok(number) = u16::try_from(event.token().0) {
                on_readable(number);
            }
        }
        Ok(())
    }

    fn connect(&mut self, request: ConnectRequest) -> Result<(), ConnectRequest> {
        self.connector.request(request)
    }

    fn next_connected(&mut self) -> Option<ConnectOutcome> {
        self.connector.poll()
    }

    fn watch(&mut self, line: &Connection, number: u16) -> io::Result<()> {
        line.register(self.poll.registry(), Token(usize::from(number)))
    }

    fn ask(&mut self, request: RestRequest) -> Result<(), RestRequest> {
        self.rest.request(request)
    }

    fn next_reply(&mut self) -> Option<RestReply> {
        self.rest.poll()
    }

    fn serve_models(
        &mut self,
        now: Nanos,
        put: impl FnMut(SymbolIndex, ModelIndex, &ModelOutput) -> bool,
    ) {
        self.models.serve(now, put);
    }

    fn next_model_turn(&self) -> Option<Nanos> {
        self.models.next_turn()
    }

    fn show_counters(&mut self, now: Nanos, counters: &IngestCounters, log: Option<&LogProducer>) {
        let log = || log.map(LogProducer::stats);
        self.rows.store(now, counters, &self.net, log, &self.models);
    }

    fn model_reports(&self) -> Vec<ModelReport> {
        self.models.report()
    }

    fn close(&mut self) {
        self.connector.stop();
        self.rest.stop();
    }
}

impl Time for EngineClock {
    fn now(&self) -> Nanos {
        Self::now(self)
    }

    fn wall_offset(&self) -> Nanos {
        Self::wall_offset(self)
    }
}

impl Line for Connection {
    fn number(&self) -> u16 {
        Self::number(self)
    }

    fn host(&self) -> &str {
        Self::host(self)
    }

    fn mark_readable(&mut self) {
        Self::mark_readable(self);
    }

    fn is_unread(&self) -> bool {
        Self::is_unread(self)
    }

    fn look(&mut self) -> bool {
        Self::look(self)
    }

    fn read(
        &mut self,
        now: Nanos,
        messages_max: usize,
        on: &mut impl FnMut(Received<'_>) -> Verdict,
    ) -> Result<ReadOutcome, NetError> {
        Self::read(self, now, messages_max, on)
    }

    fn next_send_at(&self, now: Nanos) -> Option<Nanos> {
        Self::next_send_at(self, now)
    }

    fn write(&mut self, now: Nanos) -> Result<(), NetError> {
        Self::write(self, now)
    }

    fn send_text(&mut self, now: Nanos, text: String) -> Result<(), SendRefused> {
        Self::send_text(self, now, text)
    }

    fn close(&mut self, now: Nanos, code: u16) {
        Self::close(self, now, code);
    }
}

impl InputLog for LogProducer {
    fn log(&mut self, input: &Input<'_>) {
        let _logged = self.try_log(input);
    }

    fn flush_pending(&mut self) {
        let _fits_later = Self::flush_pending(self);
    }

    fn lost_due(&self, now: Nanos) -> Option<u64> {
        Self::lost_due(self, now)
    }

    fn wants_checkpoint(&self, now: Nanos) -> bool {
        Self::wants_checkpoint(self, now)
    }
}
