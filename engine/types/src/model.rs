//! What a model says: one plain record, the same in shared memory, in the log and as an event.
//!
//! Guarantees: 264 bytes without hidden padding; a record that passes [`ModelOutput::check`] holds finite
//! numbers and counts that fit. Needs: little-endian machines on both sides. Does not: know which frame is
//! there to be answered, or how old it is.

use bytemuck::{Pod, Zeroable};
use thiserror::Error;

use crate::Nanos;

/// Outputs in a record, at most.
pub const MODEL_OUTPUTS_MAX: usize = 16;
/// State floats in a record, at most.
pub const MODEL_STATE_MAX: usize = 32;
/// How far a sum of probabilities may be from 1.
pub const PROBABILITIES_TOLERANCE: f64 = 1e-3;

/// Number of a model among those of its symbol, in order of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelIndex(pub u8);

impl ModelIndex {
    /// As an index into tables of models.
    #[must_use]
    pub fn at(self) -> usize {
        usize::from(self.0)
    }
}

/// What a model says about one frame.
///
/// | bytes | | |
/// |---|---|---|
/// | 0 | 8 | epoch of the frame that it answers |
/// | 8 | 8 | `seq` of that frame |
/// | 16 | 8 | `input_seq` of that frame |
/// | 24 | 8 | the model's clock when it spoke, ns UTC; the least i64 where it has none |
/// | 32 | 8 | how far ahead it looks, ns; the least i64 for none |
/// | 40 | 8 | action; the least i64 for none |
/// | 48 | 8 | value, f64 |
/// | 56 | 8 | confidence, f64 |
/// | 64 | 4 | the model's process |
/// | 68 | 2 | bit 0: a value is given; bit 1: a confidence is given |
/// | 70 | 1 | number of outputs |
/// | 71 | 1 | number of state floats |
/// | 72 | 64 | outputs, f32; those past the number NaN |
/// | 136 | 128 | state, f32; likewise |
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct ModelOutput {
    /// Epoch of the frame that it answers.
    pub epoch: u64,
    /// Its number.
    pub answers_seq: u64,
    /// The last input folded into it.
    pub answers_input_seq: u64,
    /// The model's clock when it spoke.
    pub ts_model: Nanos,
    /// How far ahead it looks.
    pub horizon: Nanos,
    /// What it would do; `i64::MIN` for nothing said.
    pub action: i64,
    value: f64,
    confidence: f64,
    /// The model's process.
    pub pid: u32,
    given: u16,
    output_count: u8,
    state_count: u8,
    outputs: [f32; MODEL_OUTPUTS_MAX],
    state: [f32; MODEL_STATE_MAX],
}

/// Bytes of a [`ModelOutput`].
pub const MODEL_OUTPUT_SIZE_BYTES: usize = 264;
const _: () = assert!(size_of::<ModelOutput>() == MODEL_OUTPUT_SIZE_BYTES);
const _: () = assert!(std::mem::offset_of!(ModelOutput, pid) == 64);
const _: () = assert!(std::mem::offset_of!(ModelOutput, outputs) == 72);
const _: () = assert!(std::mem::offset_of!(ModelOutput, state) == 136);

const VALUE_GIVEN: u16 = 1;
const CONFIDENCE_GIVEN: u16 = 2;
/// "No action".
const ACTION_UNDEF: i64 = i64::MIN;

/// Why a record is refused for what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum ModelFault {
    /// More numbers than there is room for, or than the model is configured with.
    #[error("{found} {what} were given, wanted {wanted}")]
    Count {
        /// `outputs` or `state floats`.
        what: &'static str,
        /// How many.
        found: usize,
        /// How many there may be.
        wanted: Wanted,
    },
    /// A number that is none.
    #[error("{what}[{index}] = {found}: must be finite")]
    NotFinite {
        /// Which field.
        what: &'static str,
        /// Which of its numbers.
        index: usize,
        /// What it is.
        found: f64,
    },
    /// Probabilities that do not sum to 1.
    #[error("the outputs sum to {found}, wanted 1 ± {PROBABILITIES_TOLERANCE}")]
    Sum {
        /// Their sum.
        found: f64,
    },
}

/// How many numbers were wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// So many.
    Exactly(usize),
    /// So many or fewer.
    AtMost(usize),
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exactly(count) => write!(f, "{count}"),
            Self::AtMost(count) => write!(f, "at most {count}"),
        }
    }
}

/// What a model is configured to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelShape {
    /// Number of outputs, exactly.
    pub outputs: usize,
    /// Whether they are probabilities, which sum to 1.
    pub sum_to_one: bool,
}

impl ModelOutput {
    /// An answer to a frame (its epoch, `seq` and `input_seq`) that says nothing yet.
    #[must_use]
    pub const fn answering(epoch: u64, answers_seq: u64, answers_input_seq: u64) -> Self {
        Self {
            epoch,
            answers_seq,
            answers_input_seq,
            ts_model: Nanos::UNDEF,
            horizon: Nanos::UNDEF,
            action: ACTION_UNDEF,
            value: f64::NAN,
            confidence: f64::NAN,
            pid: 0,
            given: 0,
            output_count: 0,
            state_count: 0,
            outputs: [f32::NAN; MODEL_OUTPUTS_MAX],
            state: [f32::NAN; MODEL_STATE_MAX],
        }
    }

    /// With these outputs.
    ///
    /// # Errors
    /// [`ModelFault::Count`] above [`MODEL_OUTPUTS_MAX`].
    pub fn with_outputs(mut self, outputs: &[f32]) -> Result<Self, ModelFault> {
        self.output_count = put("outputs", &mut self.outputs, outputs, f32::NAN)?;
        Ok(self)
    }

    /// With this state.
    ///
    /// # Errors
    /// [`ModelFault::Count`] above [`MODEL_STATE_MAX`].
    pub fn with_state(mut self, state: &[f32]) -> Result<Self, ModelFault> {
        self.state_count = put("state floats", &mut self.state, state, f32::NAN)?;
        Ok(self)
    }

    /// With this value.
    #[must_use]
    pub const fn with_value(mut self, value: f64) -> Self {
        self.value = value;
        self.given |= VALUE_GIVEN;
        self
    }

    /// With this confidence.
    #[must_use]
    pub const fn with_confidence(mut self, confidence: f64) -> Self {
        self.confidence = confidence;
        self.given |= CONFIDENCE_GIVEN;
        self
    }

    /// With this action.
    #[must_use]
    pub const fn with_action(mut self, action: i64) -> Self {
        self.action = action;
        self
    }

    /// With this horizon.
    #[must_use]
    pub const fn with_horizon(mut self, horizon: Nanos) -> Self {
        self.horizon = horizon;
        self
    }

    /// The outputs.
    #[must_use]
    pub fn outputs(&self) -> &[f32] {
        &self.outputs[..usize::from(self.output_count).min(MODEL_OUTPUTS_MAX)]
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> &[f32] {
        &self.state[..usize::from(self.state_count).min(MODEL_STATE_MAX)]
    }

    /// All places for outputs; of a [`Self::canonical`] record those without one are NaN.
    #[must_use]
    pub const fn padded_outputs(&self) -> &[f32; MODEL_OUTPUTS_MAX] {
        &self.outputs
    }

    /// All places for state floats, likewise.
    #[must_use]
    pub const fn padded_state(&self) -> &[f32; MODEL_STATE_MAX] {
        &self.state
    }

    /// The value, where one is given.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        (self.given & VALUE_GIVEN != 0).then_some(self.value)
    }

    /// The confidence, where one is given.
    #[must_use]
    pub fn confidence(&self) -> Option<f64> {
        (self.given & CONFIDENCE_GIVEN != 0).then_some(self.confidence)
    }

    /// The action, where one is given.
    #[must_use]
    pub fn action(&self) -> Option<i64> {
        (self.action != ACTION_UNDEF).then_some(self.action)
    }

    /// Whether the record's counts fit it and all that is given is finite.
    ///
    /// # Errors
    /// The first [`ModelFault`].
    pub fn check(&self) -> Result<(), ModelFault> {
        let counts = [
            ("outputs", self.output_count, MODEL_OUTPUTS_MAX),
            ("state floats", self.state_count, MODEL_STATE_MAX),
        ];
        for (what, found, most) in counts {
            let found = usize::from(found);
            if found > most {
                return Err(ModelFault::Count { what, found, wanted: Wanted::AtMost(most) });
            }
        }
        let finite = |what, index, found: f64| {
            if found.is_finite() {
                Ok(())
            } else {
                Err(ModelFault::NotFinite { what, index, found })
            }
        };
        self.outputs().iter().enumerate().try_for_each(|(i, &x)| finite("outputs", i, x.into()))?;
        self.state().iter().enumerate().try_for_each(|(i, &x)| finite("state", i, x.into()))?;
        self.value().map_or(Ok(()), |value| finite("value", 0, value))?;
        self.confidence().map_or(Ok(()), |confidence| finite("confidence", 0, confidence))
    }

    /// [`Self::check`], and whether it says what the model is configured to say.
    ///
    /// # Errors
    /// The first [`ModelFault`].
    pub fn check_shape(&self, shape: ModelShape) -> Result<(), ModelFault> {
        self.check()?;
        let outputs = self.outputs();
        if outputs.len() != shape.outputs {
            return Err(ModelFault::Count {
                what: "outputs",
                found: outputs.len(),
                wanted: Wanted::Exactly(shape.outputs),
            });
        }
        let sum = outputs.iter().map(|&output| f64::from(output)).sum::<f64>();
        if shape.sum_to_one && (sum - 1.0).abs() > PROBABILITIES_TOLERANCE {
            return Err(ModelFault::Sum { found: sum });
        }
        Ok(())
    }

    /// The same statement in the one form that is logged: whatever is not given is the same NaN, so equal
    /// statements are equal bytes. To be called on a record that [`Self::check`] passes.
    #[must_use]
    pub fn canonical(mut self) -> Self {
        let (outputs, state) = (self.outputs().len(), self.state().len());
        self.outputs[outputs..].fill(f32::NAN);
        self.state[state..].fill(f32::NAN);
        self.given &= VALUE_GIVEN | CONFIDENCE_GIVEN;
        self.value = self.value().unwrap_or(f64::NAN);
        self.confidence = self.confidence().unwrap_or(f64::NAN);
        self
    }

    /// The record as a log or a slot holds it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        bytemuck::bytes_of(self)
    }

    /// The record in a log or a slot; `None` where `bytes` are too many or too few.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytemuck::try_pod_read_unaligned(bytes).ok()
    }
}

fn put<T: Copy>(
    what: &'static str,
    places: &mut [T],
    given: &[T],
    absent: T,
) -> Result<u8, ModelFault> {
    let most = places.len();
    let Some(target) = places.get_mut(..given.len()) else {
        return Err(ModelFault::Count { what, found: given.len(), wanted: Wanted::AtMost(most) });
    };
    target.copy_from_slice(given);
    places[given.len()..].fill(absent);
    Ok(u8::try_from(given.len()).expect("invariant: at most 32"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ModelShape = ModelShape { outputs: 3, sum_to_one: true };

    fn good() -> ModelOutput {
        ModelOutput::answering(1, 2, 3).with_outputs(&[0.2, 0.3, 0.5]).unwrap()
    }

    fn refused(output: &ModelOutput, wanted: &str) {
        assert_eq!(output.check_shape(SHAPE).unwrap_err().to_string(), wanted);
    }

    #[test]
    fn what_is_not_finite_or_does_not_fit_is_named() {
        good().with_state(&[1.0; 32]).unwrap().with_value(-7.5).check_shape(SHAPE).unwrap();
        refused(&good().with_value(f64::NAN), "value[0] = NaN: must be finite");
        refused(&good().with_confidence(f64::INFINITY), "confidence[0] = inf: must be finite");
        let outputs = |outputs: &[f32]| good().with_outputs(outputs).unwrap();
        refused(&outputs(&[0.5, f32::NAN, 0.5]), "outputs[1] = NaN: must be finite");
        refused(&outputs(&[0.5, 0.5]), "2 outputs were given, wanted 3");
        refused(&outputs(&[0.5, 0.5, 0.25]), "the outputs sum to 1.25, wanted 1 ± 0.001");
        outputs(&[0.5, 0.5, 0.0009]).check_shape(SHAPE).unwrap();
        let state = good().with_state(&[0.0, f32::NEG_INFINITY]).unwrap();
        refused(&state, "state[1] = -inf: must be finite");
        let mut foreign = good();
        foreign.output_count = 17;
        refused(&foreign, "17 outputs were given, wanted at most 16");
        (foreign.output_count, foreign.state_count) = (3, 255);
        refused(&foreign, "255 state floats were given, wanted at most 32");
        assert_eq!(
            good().with_outputs(&[0.0; 17]).unwrap_err().to_string(),
            "17 outputs were given, wanted at most 16"
        );
    }

    #[test]
    fn equal_statements_are_equal_bytes() {
        let mut scribbled = good();
        scribbled.outputs[3] = 9.0;
        scribbled.state[0] = 9.0;
        scribbled.value = 4.0;
        scribbled.confidence = f64::from_bits(0x7ff8_0000_0000_1234);
        scribbled.given = 0xfff0;
        assert_ne!(bytemuck::bytes_of(&scribbled), bytemuck::bytes_of(&good()));
        let canonical = scribbled.canonical();
        assert_eq!(bytemuck::bytes_of(&canonical), bytemuck::bytes_of(&good()));
        let bytes = bytemuck::bytes_of(&canonical);
        let back = ModelOutput::from_bytes(bytes).unwrap();
        assert_eq!(bytemuck::bytes_of(&back), bytes);
        assert!(ModelOutput::from_bytes(&bytes[1..]).is_none());
    }

    #[test]
    fn what_is_not_given_is_none() {
        let output = good();
        assert_eq!((output.value(), output.confidence(), output.action()), (None, None, None));
        let output = output.with_value(0.0).with_confidence(0.5).with_action(-1);
        assert_eq!(output.value(), Some(0.0));
        assert_eq!((output.confidence(), output.action()), (Some(0.5), Some(-1)));
    }
}
