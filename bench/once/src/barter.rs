//! barter-data's own types for Binance spot: its message, its transformer with the check of update ids, its book.
//!
//! To its advantage the book is ours alone: its manager locks one that is shared, behind a stream.

use std::error::Error;

use barter_data::books::{Level, OrderBook};
use barter_data::event::MarketEvent;
use barter_data::exchange::binance::book::l2::BinanceOrderBookL2Snapshot;
use barter_data::exchange::binance::channel::BinanceChannel;
use barter_data::exchange::binance::spot::l2::{
    BinanceSpotOrderBookL2Update, BinanceSpotOrderBooksL2Transformer,
};
use barter_data::subscription::Map;
use barter_data::transformer::ExchangeTransformer as _;
use barter_instrument::exchange::ExchangeId;
use barter_integration::Transformer as _;
use barter_integration::subscription::SubscriptionId;
use rust_decimal::Decimal;

use crate::input::{Message, Symbol};
use crate::{Best, turns};

const PX_DECIMALS: u32 = 2;
const QTY_DECIMALS: u32 = 8;

pub(crate) struct Books {
    transformer: BinanceSpotOrderBooksL2Transformer<usize>,
    books: Vec<OrderBook>,
}

impl turns::Books for Books {
    fn new(symbols: &[Symbol]) -> Result<Self, Box<dyn Error>> {
        let (mut books, mut snapshots, mut ids) = (Vec::new(), Vec::new(), Vec::new());
        for (at, symbol) in symbols.iter().enumerate() {
            let snapshot: BinanceOrderBookL2Snapshot = serde_json::from_str(&symbol.snapshot)?;
            let event = MarketEvent::from((ExchangeId::BinanceSpot, at, snapshot));
            let mut book = OrderBook::default();
            book.update(&event.kind);
            books.push(book);
            snapshots.push(event);
            let (channel, name) =
                (BinanceChannel::ORDER_BOOK_L2.0, symbol.config.instrument.symbol);
            ids.push((SubscriptionId::from(format!("{channel}|{name}")), at));
        }
        let (to_venue, _) = tokio::sync::mpsc::unbounded_channel();
        let made =
            BinanceSpotOrderBooksL2Transformer::init(Map::from_iter(ids), &snapshots, to_venue);
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        Ok(Self { transformer: runtime.block_on(made)?, books })
    }

    fn apply(&mut self, message: &Message) -> Option<Best> {
        let update: BinanceSpotOrderBookL2Update = serde_json::from_str(&message.raw).ok()?;
        for event in self.transformer.transform(update) {
            let MarketEvent { instrument, kind, .. } = event.ok()?;
            self.books[instrument].update(&kind);
        }
        let book = &self.books[message.symbol];
        Some([integers(book.bids().best()?)?, integers(book.asks().best()?)?])
    }
}

fn integers(level: &Level) -> Option<(i64, i64)> {
    Some((integer(level.price, PX_DECIMALS)?, integer(level.amount, QTY_DECIMALS)?))
}

fn integer(mut value: Decimal, decimals: u32) -> Option<i64> {
    value.rescale(decimals);
    i64::try_from(value.mantissa()).ok()
}
