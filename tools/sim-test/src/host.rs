//! The simulated host, as ingest sees it.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use cobring_pipeline::ModelReport;
use cobring_pipeline::ingest::Outside;
use cobring_pipeline::net::{ConnectOutcome, ConnectRequest, RestReply, RestRequest};
use cobring_types::{ModelIndex, ModelOutput, Nanos, SymbolIndex};

use crate::kept::Keeper;
use crate::line::VirtualLine;
use crate::models::VirtualModels;
use crate::network::Network;
use crate::time::VirtualTime;

/// A host whose network is the simulation's.
#[derive(Debug)]
pub(crate) struct VirtualHost {
    pub(crate) network: Rc<RefCell<Network>>,
    pub(crate) models: VirtualModels,
}

impl Outside for VirtualHost {
    type Time = VirtualTime;
    type Line = VirtualLine;
    type Log = Keeper;

    fn wait(&mut self, timeout: Duration, on_readable: impl FnMut(u16)) -> io::Result<()> {
        let wait_ns = i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX);
        self.network.borrow_mut().wait(wait_ns, on_readable);
        Ok(())
    }

    fn connect(&mut self, request: ConnectRequest) -> Result<(), ConnectRequest> {
        self.network.borrow_mut().connect(request);
        Ok(())
    }

    fn next_connected(&mut self) -> Option<ConnectOutcome<VirtualLine>> {
        Network::next_connected(&self.network)
    }

    fn watch(&mut self, _: &VirtualLine, _: u16) -> io::Result<()> {
        Ok(())
    }

    fn ask(&mut self, request: RestRequest) -> Result<(), RestRequest> {
        self.network.borrow_mut().ask(request)
    }

    fn next_reply(&mut self) -> Option<RestReply> {
        self.network.borrow_mut().next_reply()
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

    fn model_reports(&self) -> Vec<ModelReport> {
        Vec::new()
    }

    fn close(&mut self) {}
}
