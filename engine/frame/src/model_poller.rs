//! What the engine takes of a model's outputs. Guarantees: an output that is handed out is finite, of the
//! configured shape, answers a frame of this epoch that was there and is young enough, is the first for that
//! frame or any later one, and no second holds more than the configured number; every other one is counted
//! by its reason. A poll looks at a bounded number of outputs and allocates nothing. Needs: the symbol's
//! segment in this process, and the time. Does not: read a clock, or judge what an output means.

use std::path::Path;

use cobring_types::{ModelFault, ModelOutput, ModelShape, Nanos};

use crate::dir::EngineDir;
use crate::error::FrameError;
use crate::image::FrameHead;
use crate::model_slots::{ModelSlots, Took};
use crate::reader::Reader;

/// Outputs that one poll looks at.
const OUTPUTS_A_POLL: usize = 16;
/// Between two looks for what no output tells: a model that died or fell silent.
const LOOK_INTERVAL: Nanos = Nanos::SECOND;

const HEAD_WORDS: usize = size_of::<FrameHead>() / 8;

/// What is asked of a model's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelRules {
    /// Their numbers.
    pub shape: ModelShape,
    /// Age of the frame answered, from its `ts_recv`, at most.
    pub age_max: Nanos,
    /// Outputs in any second, at most; not 0.
    pub rate_per_s: u32,
}

cobring_types::counters! {
    /// What became of one model's outputs for one symbol, from the start of the epoch.
    pub struct ModelCounters {
        /// Taken.
        accepted,
        /// Refused: more outputs in a second than configured, and passed over for newer ones.
        over_rate,
        /// Refused: a number that is not finite.
        not_finite,
        /// Refused: more or fewer numbers than configured.
        wrong_size,
        /// Refused: outputs that do not sum to 1.
        wrong_sum,
        /// Refused: they answer a frame that was never published, or another engine's.
        unknown_frame,
        /// Refused: they answer a frame that is too old.
        too_old,
        /// Refused: they answer a frame that was answered, or an earlier one.
        repeated,
        /// Overwritten before they were looked at.
        lapped,
        /// Begun by a process that died while it wrote.
        torn,
        /// Times that the file's numbering contradicted itself: two writers, or bytes from elsewhere.
        misnumbered,
        /// Times that the file was cut, and repaired.
        truncated,
        /// Times that a model was there but silent for longer than its outputs may be old.
        stalled,
        /// Times that an output came from another process than the one before.
        processes,
    }
}

impl ModelCounters {
    /// All that went wrong.
    #[must_use]
    pub const fn wrongs(&self) -> u64 {
        let file = self.lapped + self.torn + self.misnumbered + self.truncated;
        self.refused() + file + self.stalled
    }

    /// Outputs that were passed over or refused for what they say.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.over_rate
            + self.not_finite
            + self.wrong_size
            + self.wrong_sum
            + self.unknown_frame
            + self.too_old
            + self.repeated
    }
}

/// Why an output is refused, numbers that it holds apart.
enum Refusal {
    Fault(ModelFault),
    UnknownFrame,
    TooOld,
    Repeated,
}

/// Takes one model's outputs for one symbol.
#[derive(Debug)]
pub struct ModelPoller {
    slots: ModelSlots,
    rules: ModelRules,
    epoch: u64,
    /// The frames that it may answer.
    frames: Reader,
    frame: Vec<u64>,
    output: ModelOutput,
    /// The newest frame answered.
    answered: Option<u64>,
    /// When the last `rate_per_s` outputs were taken: a ring, oldest at `oldest`.
    taken_at: Vec<Nanos>,
    oldest: usize,
    pid: u32,
    next_look: Nanos,
    /// Since when it was heard or seen to be absent.
    heard_at: Nanos,
    is_stalled: bool,
    counters: ModelCounters,
}

impl ModelPoller {
    /// Makes the file of a model and symbol, in place of any that is there. `frames` reads the symbol's
    /// segment inside this process.
    ///
    /// # Errors
    /// [`FrameError::BadOwnName`], [`FrameError::NoSpace`], or what the system refused.
    ///
    /// # Panics
    /// Where the rate is 0, or the segment's frames are not those of the engine.
    pub fn create(
        dir: &EngineDir,
        model: &str,
        rules: ModelRules,
        frames: Reader,
    ) -> Result<Self, FrameError> {
        assert!(rules.rate_per_s > 0, "a model that may say nothing");
        let epoch = frames.epoch();
        let slots = ModelSlots::create(dir, frames.symbol(), model, epoch, rules.shape)?;
        let rate = usize::try_from(rules.rate_per_s).expect("invariant: 64-bit");
        let words = frames.frame_size_bytes() / 8;
        assert!(words >= HEAD_WORDS, "frames of {words} words");
        Ok(Self {
            slots,
            rules,
            epoch,
            frame: vec![0; words],
            frames,
            output: ModelOutput::answering(0, 0, 0),
            answered: None,
            taken_at: vec![Nanos(i64::MIN); rate],
            oldest: 0,
            pid: 0,
            next_look: Nanos(i64::MIN),
            heard_at: Nanos(i64::MAX),
            is_stalled: false,
            counters: ModelCounters::default(),
        })
    }

    /// The model's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.slots.path()
    }

    /// What became of the outputs so far.
    #[must_use]
    pub fn counters(&self) -> ModelCounters {
        let counts = self.slots.counts;
        ModelCounters {
            over_rate: counts.passed_over,
            lapped: counts.lapped,
            torn: counts.torn,
            misnumbered: counts.misnumbered,
            truncated: counts.truncated,
            ..self.counters
        }
    }

    /// The next output that may be taken, in its canonical form; None where there is none now, or where too
    /// many in a row were refused: then the next poll goes on.
    pub fn poll(&mut self, now: Nanos) -> Option<&ModelOutput> {
        if now >= self.next_look {
            self.next_look = Nanos(now.0 + LOOK_INTERVAL.0);
            self.look(now);
        }
        for _ in 0..OUTPUTS_A_POLL {
            let full = self.is_full(now);
            match self.slots.take(full, &mut self.output) {
                Took::Nothing => return None,
                Took::Missed => continue,
                Took::Output => {}
            }
            self.hear(now);
            match self.judge(now) {
                Ok(()) => {
                    self.accept(now);
                    return Some(&self.output);
                }
                Err(refusal) => self.count(&refusal),
            }
        }
        None
    }

    /// Whether a second that ends now holds as many outputs as it may.
    fn is_full(&self, now: Nanos) -> bool {
        now.0.saturating_sub(self.taken_at[self.oldest].0) < Nanos::SECOND.0
    }

    fn accept(&mut self, now: Nanos) {
        self.taken_at[self.oldest] = now;
        self.oldest = (self.oldest + 1) % self.taken_at.len();
        self.answered = Some(self.output.answers_seq);
        self.output = self.output.canonical();
        self.counters.accepted += 1;
    }

    fn judge(&mut self, now: Nanos) -> Result<(), Refusal> {
        let output = &self.output;
        output.check_shape(self.rules.shape).map_err(Refusal::Fault)?;
        let seq = output.answers_seq;
        if output.epoch != self.epoch || seq >= self.frames.published() {
            return Err(Refusal::UnknownFrame);
        }
        let there = self.frames.frame_at(seq, &mut self.frame).expect("invariant: sized by it");
        // Published once, and overwritten since.
        if !there {
            return Err(Refusal::TooOld);
        }
        let head: &FrameHead =
            bytemuck::from_bytes(bytemuck::cast_slice(&self.frame[..HEAD_WORDS]));
        if head.identity.input_seq != output.answers_input_seq {
            return Err(Refusal::UnknownFrame);
        }
        if now.0.saturating_sub(head.times.ts_recv) > self.rules.age_max.0 {
            return Err(Refusal::TooOld);
        }
        if self.answered.is_some_and(|answered| seq <= answered) {
            return Err(Refusal::Repeated);
        }
        Ok(())
    }

    fn count(&mut self, refusal: &Refusal) {
        let counters = &mut self.counters;
        let counter = match refusal {
            Refusal::Fault(ModelFault::NotFinite { .. }) => &mut counters.not_finite,
            Refusal::Fault(ModelFault::Count { .. }) => &mut counters.wrong_size,
            Refusal::Fault(ModelFault::Sum { .. }) => &mut counters.wrong_sum,
            Refusal::UnknownFrame => &mut counters.unknown_frame,
            Refusal::TooOld => &mut counters.too_old,
            Refusal::Repeated => &mut counters.repeated,
        };
        *counter += 1;
    }

    fn hear(&mut self, now: Nanos) {
        (self.heard_at, self.is_stalled) = (now, false);
        if self.output.pid != self.pid {
            self.pid = self.output.pid;
            self.counters.processes += 1;
        }
    }

    fn look(&mut self, now: Nanos) {
        let present = self.slots.look();
        if !present {
            (self.heard_at, self.is_stalled) = (Nanos(i64::MAX), false);
        } else if self.heard_at.0 == i64::MAX {
            self.heard_at = now;
        }
        let silence = now.0.saturating_sub(self.heard_at.0);
        if !self.is_stalled && silence > self.rules.age_max.0 {
            self.is_stalled = true;
            self.counters.stalled += 1;
        }
    }
}
