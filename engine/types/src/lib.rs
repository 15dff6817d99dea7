//! Plain data of the engine: fixed-point numbers, times, instruments, inputs and events.
//!
//! Guarantees: no I/O, no clock, no allocation after construction; every number is an integer, and a
//! decimal that does not fit exactly is an error, never rounded. Does not: know any venue or any state.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod counters;
mod decimal;
mod event;
mod exact_divisor;
mod input;
mod instrument;
mod model;
mod ranges;
mod units;

pub use decimal::{DecimalError, nearest_f64, parse_decimal, parse_uint, whole_f64};
pub use event::{
    BarInterval, Control, DepthSnapshot, DepthUpdate, Event, InstrumentStatus,
    KLINE_QUOTE_DECIMALS, Kline, KlineSource, Level, LinkScope, PastTrade, Quote, Side,
    TICKER_DECIMALS, Ticker, Trade, TradeStream,
};
pub use exact_divisor::ExactDivisor;
pub use input::{Input, InputKind, Stamp};
pub use instrument::{Instrument, InstrumentError, MAX_SYMBOL_BYTES, Symbol, SymbolIndex};
pub use model::{
    MODEL_OUTPUT_SIZE_BYTES, MODEL_OUTPUTS_MAX, MODEL_STATE_MAX, ModelFault, ModelIndex,
    ModelOutput, ModelShape, PROBABILITIES_TOLERANCE, Wanted,
};
pub use ranges::Ranges;
pub use units::{Nanos, Px, Qty};
