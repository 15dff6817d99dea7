//! Messages through all stages of the engine on this thread, as a live run takes them without its sockets.

use std::error::Error;

use cobring_pipeline::config::Config;
use cobring_pipeline::fold::{Fold, SymbolSummary};
use cobring_pipeline::idle::Idle;
use cobring_pipeline::replay::private_folds;
use cobring_pipeline::sequencer::Sequencer;
use cobring_pipeline::stages::{Layout, StagedSetup, Stages};
use cobring_types::{Input, InputKind, Nanos, SymbolIndex};
use cobring_venue::binance::Decoder;

pub(crate) struct Player {
    stages: Stages<()>,
    sequencer: Sequencer,
}

/// What the fused layout has no use for.
pub(crate) fn staged_setup(config: &Config) -> StagedSetup {
    StagedSetup {
        raw_ring_bytes: config.engine.raw_ring_bytes,
        event_ring_bytes: config.engine.event_ring_bytes,
        idle: Idle::Yield,
        cores: [None, None],
    }
}

impl Player {
    pub(crate) fn new(config: &Config) -> Result<Self, Box<dyn Error>> {
        let symbols = config.symbol_configs();
        let fold = Fold::new(private_folds(&symbols, 0, false)?, None, ());
        let instruments = symbols.into_iter().map(|symbol| symbol.instrument).collect();
        let decoder = Decoder::new(instruments);
        let stages = Stages::new(Layout::Fused, &staged_setup(config), decoder, fold, None);
        Ok(Self { stages, sequencer: Sequencer::default() })
    }

    /// A message; `snapshot` names the symbol of a REST depth reply.
    pub(crate) fn play(&mut self, ts_recv: Nanos, snapshot: Option<SymbolIndex>, bytes: &[u8]) {
        let kind = if snapshot.is_some() { InputKind::RestDepth } else { InputKind::Text };
        let input = Input {
            stamp: self.sequencer.stamp(ts_recv, Nanos::UNDEF),
            kind,
            symbol: snapshot.unwrap_or(SymbolIndex::NONE),
            connection: 0,
            aux: 0,
            ts_aux: Nanos::UNDEF,
            bytes,
        };
        self.stages.try_input(&input, |_| {}).expect("invariant: fused stages are never full");
    }

    /// Frames that a symbol has published.
    pub(crate) fn frames(&mut self, symbol: SymbolIndex) -> u64 {
        match &mut self.stages {
            Stages::Fused(fused) => fused.fold_mut().symbols()[symbol.at()].frames(),
            Stages::Staged(_) => unreachable!("fused: made in `new`"),
        }
    }

    pub(crate) fn finish(self) -> Vec<SymbolSummary> {
        self.stages.finish().fold.summary()
    }
}
