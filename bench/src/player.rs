//! Messages through all stages of the engine on this thread, as a live run takes them without its sockets.

use std::error::Error;

#[cfg(feature = "peers")]
use cobring_frame::FrameImage;
use cobring_frame::{FrameError, Segment};
use cobring_market::SymbolConfig;
use cobring_pipeline::config::{Config, auto_frame_slots};
use cobring_pipeline::fold::{Fold, SymbolFold, SymbolSummary};
use cobring_pipeline::idle::Idle;
use cobring_pipeline::memory;
use cobring_pipeline::replay::segment_spec;
use cobring_pipeline::sequencer::Sequencer;
use cobring_pipeline::stages::{Fused, StagedSetup};
use cobring_types::{Input, InputKind, Nanos, SymbolIndex};
use cobring_venue::binance::Decoder;

pub(crate) struct Player {
    stages: Fused<()>,
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
    /// Over memory that is there already, as a live run begins; with the frames' hash or without.
    pub(crate) fn new(symbols: &[SymbolConfig], hash: bool) -> Result<Self, Box<dyn Error>> {
        let fold = |config: &SymbolConfig| -> Result<SymbolFold, FrameError> {
            let (spec, schema) = segment_spec(config, auto_frame_slots(symbols.len()), 0);
            let mut segment = Segment::private(&spec)?;
            segment.touch();
            Ok(SymbolFold::new(config.clone(), 0, schema.id(), segment, hash))
        };
        let folds = symbols.iter().map(fold).collect::<Result<Vec<_>, _>>()?;
        memory::warm();
        let instruments = symbols.iter().map(|symbol| symbol.instrument.clone()).collect();
        let decoder = Decoder::new(instruments).warmed();
        let stages = Fused::new(decoder, Fold::new(folds, None, ()), None);
        Ok(Self { stages, sequencer: Sequencer::default() })
    }

    /// Folds the timers up to `ts`. A live run does so when they are due, not when the next message comes.
    pub(crate) fn advance(&mut self, ts: Nanos) {
        self.stages.fold_mut().advance(ts);
    }

    /// A message; `snapshot` names the symbol of a REST depth reply: no other says whose it is.
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
        self.stages.on_input(&input);
    }

    fn symbol(&mut self, symbol: SymbolIndex) -> &SymbolFold {
        &self.stages.fold_mut().symbols()[symbol.at()]
    }

    /// Frames that a symbol has published.
    pub(crate) fn frames(&mut self, symbol: SymbolIndex) -> u64 {
        self.symbol(symbol).frames()
    }

    /// What a symbol's newest frame was published from.
    #[cfg(feature = "peers")]
    pub(crate) fn image(&mut self, symbol: SymbolIndex) -> &FrameImage {
        self.symbol(symbol).market().image()
    }

    pub(crate) fn finish(self) -> Vec<SymbolSummary> {
        self.stages.into_fold().summary()
    }
}
