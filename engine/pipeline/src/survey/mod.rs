//! Looking after logs: are they whole, what do they not hold, and what is behind a frame.
//!
//! Guarantees: nothing is changed; what a sentence says can be looked up by file and offset. Does not: print.

mod gaps;
mod ids;
mod lineage;
mod streams;
mod verify;

pub use gaps::{Gap, GapKind, gaps};
pub use ids::{Cause, MissingIds};
pub use lineage::{Lineage, LineageError, LoggedInput, lineage};
pub use streams::Stream;
pub use verify::{Finding, RunFacts, VerifyReport, verify};

#[cfg(test)]
mod tests;
