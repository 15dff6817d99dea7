//! Models that answer the frames they see: steadily, in floods, or not at all for a while.
//!
//! Guarantees: what is put is what the engine's poller lets through, an answer to a newer frame each time and at most
//! [`RATE_PER_S`] a second. Does not: share memory with the engine; `tests/tests/models.rs` does, with all that real
//! processes do wrong there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use cobring_types::{ModelIndex, ModelOutput, Nanos, SymbolIndex};

use crate::random::Random;
use crate::truth::Truth;

/// As shipped.
const RATE_PER_S: i64 = 100;

/// One model a symbol.
#[derive(Debug)]
pub(crate) struct VirtualModels {
    random: Random,
    truth: Arc<Mutex<Truth>>,
    epoch: u64,
    models: Vec<VirtualModel>,
}

#[derive(Debug, Clone)]
struct VirtualModel {
    symbol: SymbolIndex,
    next: Nanos,
    /// Outputs of the flood that are still to come.
    flood: i64,
    answered: u64,
}

impl VirtualModels {
    /// Of these symbols, whose configuration has one.
    pub(crate) fn new(
        symbols: impl Iterator<Item = SymbolIndex>,
        seed: u64,
        epoch: u64,
        truth: Arc<Mutex<Truth>>,
    ) -> Self {
        let model = |symbol| VirtualModel { symbol, next: Nanos(i64::MIN), flood: 0, answered: 0 };
        let random = Random::of(seed ^ epoch << 48, 4);
        Self { random, truth, epoch, models: symbols.map(model).collect() }
    }

    /// Of the engine's life.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn next_turn(&self) -> Option<Nanos> {
        self.models.iter().map(|model| model.next).min()
    }

    pub(crate) fn serve(
        &mut self,
        now: Nanos,
        mut put: impl FnMut(SymbolIndex, ModelIndex, &ModelOutput) -> bool,
    ) {
        for model in self.models.iter_mut().filter(|model| model.next <= now) {
            let mut truth = self.truth.lock().unwrap_or_else(PoisonError::into_inner);
            let pause_ns = model.pause_ns(&mut self.random, &mut truth.model_faults);
            model.next = Nanos(now.0 + pause_ns);
            let told = &truth.symbols[model.symbol.at()].models;
            let Some((seq, input_seq)) = told.newest_frame.filter(|&(seq, _)| seq > model.answered)
            else {
                continue;
            };
            model.answered = seq;
            #[expect(clippy::cast_precision_loss, reason = "20 bits fit")]
            let up = self.random.below(1 << 20) as f32 / (1 << 20) as f32;
            let output = ModelOutput::answering(self.epoch, seq, input_seq)
                .with_action(self.random.below(3) - 1)
                .with_value(f64::from(up) - 0.5)
                .with_outputs(&[1.0 - up, up])
                .unwrap_or_else(|fault| panic!("two outputs are refused: {fault}"));
            // Timers and a break that are due are folded first, and their frames are looked at without it.
            drop(truth);
            let has_room = put(model.symbol, ModelIndex(0), &output);
            let mut truth = self.truth.lock().unwrap_or_else(PoisonError::into_inner);
            let told = &mut truth.symbols[model.symbol.at()].models;
            told.put += 1;
            told.newest = Some((now, output));
            if !has_room {
                return;
            }
        }
    }
}

impl VirtualModel {
    fn pause_ns(&mut self, random: &mut Random, faults: &mut BTreeMap<&'static str, u64>) -> i64 {
        if self.flood > 0 {
            self.flood -= 1;
            return Nanos::SECOND.0 / RATE_PER_S;
        }
        match random.below(200) {
            // It dies, and somebody starts it anew.
            0 => {
                *faults.entry("model_gone").or_default() += 1;
                random.between(2, 10) * Nanos::SECOND.0
            }
            1 => {
                *faults.entry("model_flood").or_default() += 1;
                self.flood = random.between(20, 300);
                0
            }
            _ => random.between(1, 200) * Nanos::MILLISECOND.0,
        }
    }
}
