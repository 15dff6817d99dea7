//! The numbered streams of all symbols in a log: depth by update ids, trades by fill ids.

use cobring_types::{
    Control, Event, Input, InputKind, LinkScope, Stamp, Symbol, SymbolIndex, TradeStream,
};
use cobring_venue::binance::Decoder;

use super::ids::{IdStream, MissingIds};
use crate::config::Config;
use crate::log::LogHeader;

/// A stream whose ids go on one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Update ids of the book.
    Depth,
    /// Ids of fills.
    Trades,
}

/// Ids of a symbol's stream that did not come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Missed {
    pub(super) symbol: SymbolIndex,
    pub(super) stream: Stream,
    pub(super) ids: MissingIds,
}

/// Follows the ids of all symbols of a run.
#[derive(Debug)]
pub(super) struct Streams {
    decoder: Decoder,
    symbols: Vec<Numbered>,
}

#[derive(Debug, Clone, Default)]
struct Numbered {
    depth: IdStream,
    trades: IdStream,
    /// The stream that counts: the first one seen.
    trade_stream: Option<TradeStream>,
}

impl Streams {
    /// Those of a log with this header; `None` where its settings are not those of its symbols.
    pub(super) fn new(header: &LogHeader) -> Option<Self> {
        let config = Config::from_fold_text(&header.config).ok()?;
        let instruments: Vec<_> =
            config.symbols.into_iter().map(|symbol| symbol.instrument).collect();
        let names: Vec<Symbol> = instruments.iter().map(|instrument| instrument.symbol).collect();
        (names == header.symbols).then(|| Self {
            symbols: vec![Numbered::default(); instruments.len()],
            decoder: Decoder::new(instruments),
        })
    }

    /// The state before the first input had the fills of a symbol up to `last`.
    pub(super) fn go_on(&mut self, symbol: SymbolIndex, last: u64) {
        self.symbols[symbol.at()].trades.go_on(last);
    }

    /// An input. `missing` is told of ids that nobody will bring any more; then `event` sees what the input means.
    pub(super) fn on_input(
        &mut self,
        input: &Input<'_>,
        mut missing: impl FnMut(Missed),
        mut event: impl FnMut(SymbolIndex, &Event<'_>),
    ) {
        let Self { decoder, symbols } = self;
        let from_stream = matches!(input.kind, InputKind::Text | InputKind::Binary);
        let mut sink = |_: &Stamp, symbol: SymbolIndex, found: &Event<'_>| {
            match found {
                Event::Depth(update) => {
                    let ids = (update.first_update_id, update.last_update_id);
                    let stream = &mut symbols[symbol.at()].depth;
                    stream.on_ids(input.connection, ids, |ids| {
                        missing(Missed { symbol, stream: Stream::Depth, ids });
                    });
                }
                Event::Trade(trade) if from_stream => {
                    let Numbered { trades, trade_stream, .. } = &mut symbols[symbol.at()];
                    if *trade_stream.get_or_insert(trade.stream) == trade.stream {
                        let ids = (trade.first_id, trade.last_id);
                        trades.on_ids(input.connection, ids, |ids| {
                            missing(Missed { symbol, stream: Stream::Trades, ids });
                        });
                    }
                }
                Event::Control(
                    Control::LinkUp { connection, scope } | Control::LinkDown { connection, scope },
                ) => {
                    each(symbols, |symbol, stream, ids| {
                        if scope.carries(stream.scope()) {
                            ids.on_link(*connection, |ids| missing(Missed { symbol, stream, ids }));
                        }
                    });
                }
                _ => {}
            }
            event(symbol, found);
        };
        // What is malformed has no ids: the run refused it too.
        let _counted_by_the_run = decoder.decode(input, &mut sink);
    }

    /// The log does not hold what came here.
    pub(super) fn on_hole(&mut self, mut missing: impl FnMut(Missed)) {
        each(&mut self.symbols, |symbol, stream, ids| {
            ids.on_hole(|ids| missing(Missed { symbol, stream, ids }));
        });
    }

    /// Messages that the decoder refused.
    pub(super) fn malformed(&self) -> u64 {
        self.decoder.counters().malformed_total()
    }
}

impl Stream {
    const fn scope(self) -> LinkScope {
        match self {
            Self::Depth => LinkScope::DEPTH,
            Self::Trades => LinkScope::TRADE,
        }
    }

    /// What its ids are called.
    #[must_use]
    pub const fn ids_name(self) -> &'static str {
        match self {
            Self::Depth => "update ids",
            Self::Trades => "trade ids",
        }
    }
}

fn each(symbols: &mut [Numbered], mut call: impl FnMut(SymbolIndex, Stream, &mut IdStream)) {
    for (symbol, numbered) in (0..).map(SymbolIndex).zip(symbols) {
        call(symbol, Stream::Depth, &mut numbered.depth);
        call(symbol, Stream::Trades, &mut numbered.trades);
    }
}
