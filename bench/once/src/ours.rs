//! Our decoder and our book, which keeps its buckets too.

use std::error::Error;

use cobring_json::scan::Kernel;
use cobring_market::Book;
use cobring_types::{DepthSnapshot, Event, Input, InputKind, Nanos, Side, Stamp, SymbolIndex};
use cobring_venue::binance::Decoder;

use crate::input::{Message, Symbol};
use crate::{Best, turns};

pub(crate) struct Books {
    decoder: Decoder,
    books: Vec<Book>,
}

impl turns::Books for Books {
    fn new(symbols: &[Symbol]) -> Result<Self, Box<dyn Error>> {
        let instruments = symbols.iter().map(|symbol| symbol.config.instrument.clone()).collect();
        let book = |symbol: &Symbol| {
            let mut book = Book::new(symbol.config.book_shape());
            book.load(&DepthSnapshot {
                last_update_id: symbol.last_update_id,
                limit: symbol.limit,
                bids: &symbol.bids,
                asks: &symbol.asks,
            });
            book
        };
        let decoder = Decoder::with_kernel(instruments, Some(Kernel::best()));
        Ok(Self { decoder, books: symbols.iter().map(book).collect() })
    }

    /// The combined form, from which we read the symbol.
    fn apply(&mut self, message: &Message) -> Option<Best> {
        let Self { decoder, books } = self;
        let mut best = None;
        let sink = &mut |_: &Stamp, index: SymbolIndex, event: &Event<'_>| {
            if let Event::Depth(update) = event {
                let book = &mut books[index.at()];
                book.apply(update.bids, update.asks);
                let of = |side| book.best(side).map(|level| (level.px.0, level.qty.0));
                best = of(Side::Buy).zip(of(Side::Sell)).map(|(bid, ask)| [bid, ask]);
            }
        };
        decoder.decode(&input(message.combined.as_bytes()), sink).ok()?;
        best
    }
}

fn input(bytes: &[u8]) -> Input<'_> {
    let unknown = Nanos::UNDEF;
    let stamp = Stamp { input_seq: 0, ts_recv: Nanos(0), ts_kernel: unknown, ts_parsed: unknown };
    let (kind, symbol) = (InputKind::Text, SymbolIndex::NONE);
    Input { stamp, kind, symbol, connection: 0, aux: 0, ts_aux: unknown, bytes }
}
