//! Inputs: what the sequencer stamps and numbers, the log keeps and the fold consumes.

use crate::{Nanos, SymbolIndex};

/// When and as what an input entered the engine. Numbered in one place only, the sequencer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Number of the input in this epoch, from 0.
    pub input_seq: u64,
    /// Our clock when the bytes left the socket. Never decreases from one input to the next.
    pub ts_recv: Nanos,
    /// The kernel's receive time, [`Nanos::UNDEF`] where it gives none.
    pub ts_kernel: Nanos,
    /// Our clock when the parser was done, [`Nanos::UNDEF`] in a replay.
    pub ts_parsed: Nanos,
}

/// What an input is. The numbers are written to logs: never renumber them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum InputKind {
    /// A WebSocket text message.
    Text = 1,
    /// A WebSocket binary message.
    Binary = 2,
    /// Body of a REST `depth` reply: `symbol`, `aux` = the limit asked for, `ts_aux` = send time.
    RestDepth = 3,
    /// Body of a REST `time` reply: `ts_aux` = send time.
    RestTime = 4,
    /// Body of a REST `exchangeInfo` reply: `ts_aux` = send time.
    RestExchangeInfo = 5,
    /// Body of a REST `klines` reply: `symbol`, `aux` = place of the interval, `ts_aux` = send time.
    RestKlines = 6,
    /// An accepted output of a model: `symbol`, `aux` = number of the model among the symbol's, in order of
    /// names, `ts_aux` = the model's clock, bytes = a [`crate::ModelOutput`].
    Model = 7,
    /// A file of `cobring import-klines` for `symbol`.
    Bounds = 8,
    /// Body of a REST `ticker/24hr` reply: `symbol`, `ts_aux` = send time.
    RestTicker = 9,
    /// Body of a REST reply with past trades: `symbol`, `aux` = 0 for fills and 1 for aggregate trades, `ts_aux` = send
    /// time.
    RestTrades = 10,
    /// A connection is subscribed and delivers: `connection`, `aux` = what it carries ([`crate::LinkScope`]).
    LinkUp = 16,
    /// A connection is lost: as [`InputKind::LinkUp`].
    LinkDown = 17,
    /// A depth snapshot of `symbol` was asked for: `aux` = limit, with bit 31 set for a background re-sync.
    SnapshotRequested = 18,
    /// The watchdog calls a stream of `symbol` stalled: `aux` = the scope, as for [`InputKind::LinkUp`].
    Stalled = 19,
    /// Trading of `symbol` halted (`aux` = 1) or resumed (`aux` = 0).
    Halted = 20,
    /// The host's wall clock stepped: `ts_aux` = wall clock minus our clock now.
    ClockStep = 21,
    /// More than 600 timers were missed: `ts_aux` = the last one before them.
    Break = 22,
    /// The log ring was full: `ts_aux` = inputs that the log does not hold.
    LogLost = 23,
    /// A checkpoint is taken here.
    Checkpoint = 24,
    /// The run ends here.
    Stop = 25,
    /// Klines of `symbol` were asked for: `aux` = limit, with the interval's place in bits 16 to 23;
    /// `ts_aux` = first open time.
    KlinesRequested = 26,
    /// The 24 h ticker of `symbol` was asked for.
    TickerRequested = 27,
    /// Past trades of `symbol` were asked for: `aux` = limit, with bit 31 set for aggregate ids; `ts_aux` = first id.
    TradesRequested = 28,
}

impl InputKind {
    /// The kind of a logged number.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Text,
            2 => Self::Binary,
            3 => Self::RestDepth,
            4 => Self::RestTime,
            5 => Self::RestExchangeInfo,
            6 => Self::RestKlines,
            7 => Self::Model,
            8 => Self::Bounds,
            9 => Self::RestTicker,
            10 => Self::RestTrades,
            16 => Self::LinkUp,
            17 => Self::LinkDown,
            18 => Self::SnapshotRequested,
            19 => Self::Stalled,
            20 => Self::Halted,
            21 => Self::ClockStep,
            22 => Self::Break,
            23 => Self::LogLost,
            24 => Self::Checkpoint,
            25 => Self::Stop,
            26 => Self::KlinesRequested,
            27 => Self::TickerRequested,
            28 => Self::TradesRequested,
            _ => return None,
        })
    }
}

/// One input: its stamp, its kind with the kind's fixed fields, and its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// When and as what it entered.
    pub stamp: Stamp,
    /// What it is.
    pub kind: InputKind,
    /// The symbol, where the kind names one, else [`SymbolIndex::NONE`].
    pub symbol: SymbolIndex,
    /// The connection it came from; 0 where there is none.
    pub connection: u16,
    /// See [`InputKind`].
    pub aux: u32,
    /// See [`InputKind`]; else [`Nanos::UNDEF`].
    pub ts_aux: Nanos,
    /// The message or body as received; empty for the engine's own inputs.
    pub bytes: &'a [u8],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logged_numbers_come_back_as_their_kind() {
        let known: Vec<u8> = (0..=u8::MAX).filter(|&n| InputKind::from_u8(n).is_some()).collect();
        assert_eq!(known.len(), 23);
        for number in known {
            assert_eq!(InputKind::from_u8(number).map(|kind| kind as u8), Some(number));
        }
    }
}
