//! The freshest best prices, and the check of the book against bookTicker.

use std::collections::VecDeque;

use cobring_types::{Px, Qty, Quote, Side};
use serde::{Deserialize, Serialize};

use crate::book::Book;

/// Quotes remembered for the comparison: more than the stream sends within a depth interval.
const QUOTES_KEPT: usize = 4_096;

/// Where the best prices come from, numbered as the frame's `top.source`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub(crate) enum TopSource {
    /// bookTicker.
    Quote = 0,
    /// The depth book.
    Depth = 1,
}

/// The best prices with their source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BestPrices {
    /// Prices, quantities and update id.
    pub(crate) quote: Quote,
    /// Where they come from.
    pub(crate) source: TopSource,
}

/// The bookTicker stream's memory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Quotes {
    /// The newest, unless it was dropped at a (re)start of the book or the link.
    newest: Option<Quote>,
    /// Ascending update ids.
    recent: VecDeque<Quote>,
}

impl Default for Quotes {
    fn default() -> Self {
        Self { newest: None, recent: VecDeque::with_capacity(QUOTES_KEPT) }
    }
}

impl Quotes {
    /// Reserves all memory that it will need (again).
    pub(crate) fn reserve(&mut self) {
        self.recent.reserve_exact(QUOTES_KEPT.saturating_sub(self.recent.len()));
    }

    /// Takes a quote; `false` where it is not newer than the remembered one.
    pub(crate) fn on_quote(&mut self, quote: Quote) -> bool {
        if self.newest.is_some_and(|newest| quote.update_id <= newest.update_id) {
            return false;
        }
        self.newest = Some(quote);
        if self.recent.back().is_some_and(|last| quote.update_id <= last.update_id) {
            self.recent.clear();
        }
        if self.recent.len() == QUOTES_KEPT {
            self.recent.pop_front();
        }
        self.recent.push_back(quote);
        true
    }

    /// Forgets the newest quote: the book starts anew, or the link does.
    pub(crate) fn drop_newest(&mut self) {
        self.newest = None;
    }

    /// The newest quote, unless it was dropped.
    #[must_use]
    pub(crate) fn newest(&self) -> Option<&Quote> {
        self.newest.as_ref()
    }

    /// The quote of that update id. A depth message lags few quotes behind, so the search begins at the newest.
    #[must_use]
    pub(crate) fn at(&self, update_id: u64) -> Option<&Quote> {
        let mut newest_first = self.recent.iter().rev();
        newest_first.find(|quote| quote.update_id <= update_id).filter(|q| q.update_id == update_id)
    }

    /// bookTicker or the live book, whichever has the higher update id; equal ids: bookTicker.
    #[must_use]
    pub(crate) fn best_prices(&self, live_book: Option<(&Book, u64)>) -> Option<BestPrices> {
        let depth = live_book.and_then(|(book, update_id)| best_of(book, update_id));
        match (self.newest, depth) {
            (Some(quote), Some(depth)) if depth.update_id > quote.update_id => {
                Some(BestPrices { quote: depth, source: TopSource::Depth })
            }
            (Some(quote), _) => Some(BestPrices { quote, source: TopSource::Quote }),
            (None, depth) => depth.map(|quote| BestPrices { quote, source: TopSource::Depth }),
        }
    }
}

/// The book's best levels as a quote.
#[must_use]
pub(crate) fn best_of(book: &Book, update_id: u64) -> Option<Quote> {
    let (bid, ask) = (book.best(Side::Buy)?, book.best(Side::Sell)?);
    Some(Quote { update_id, bid_px: bid.px, bid_qty: bid.qty, ask_px: ask.px, ask_qty: ask.qty })
}

/// Prices and quantities at the best, for "did they change".
#[must_use]
pub(crate) fn values(quote: &Quote) -> (Px, Qty, Px, Qty) {
    (quote.bid_px, quote.bid_qty, quote.ask_px, quote.ask_qty)
}

#[cfg(test)]
mod tests {
    use cobring_types::Level;

    use super::*;
    use crate::book::BookShape;

    fn quote(update_id: u64) -> Quote {
        Quote { update_id, bid_px: Px(10), bid_qty: Qty(1), ask_px: Px(11), ask_qty: Qty(2) }
    }

    fn check(quote_id: Option<u64>, book_id: Option<u64>, expected: Option<(u64, TopSource)>) {
        let mut book =
            Book::new(BookShape { bucket_ticks: 1, range_ticks: 1, reach: 1, max_levels: 4 });
        let level = |px| [Level { px: Px(px), qty: Qty(1) }];
        book.apply(&level(10), &level(12));
        let mut quotes = Quotes::default();
        if let Some(id) = quote_id {
            assert!(quotes.on_quote(quote(id)));
        }
        let found = quotes.best_prices(book_id.map(|id| (&book, id)));
        assert_eq!(found.map(|best| (best.quote.update_id, best.source)), expected);
    }

    #[test]
    fn the_higher_update_id_wins_and_equal_ids_are_book_ticker() {
        check(None, None, None);
        check(Some(5), None, Some((5, TopSource::Quote)));
        check(None, Some(5), Some((5, TopSource::Depth)));
        check(Some(5), Some(6), Some((6, TopSource::Depth)));
        check(Some(6), Some(6), Some((6, TopSource::Quote)));
        check(Some(7), Some(6), Some((7, TopSource::Quote)));
    }

    #[test]
    fn old_quotes_are_passed_over_and_recent_ones_found_by_id() {
        let mut quotes = Quotes::default();
        for id in [3, 5, 9] {
            assert!(quotes.on_quote(quote(id)));
        }
        assert!(!quotes.on_quote(quote(9)));
        assert!(!quotes.on_quote(quote(4)));
        assert_eq!(quotes.at(5).map(|q| q.update_id), Some(5));
        assert!(quotes.at(4).is_none());
        for id in 10..10 + QUOTES_KEPT as u64 {
            quotes.on_quote(quote(id));
        }
        assert!(quotes.at(9).is_none() && quotes.at(10).is_some());
        // Ids that begin anew after a dropped quote: the old ones are no comparison.
        quotes.drop_newest();
        assert!(quotes.on_quote(quote(2)));
        assert!(quotes.at(10).is_none());
    }
}
