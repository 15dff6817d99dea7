//! The rows of archives: those of the past without asking the exchange, so that a long archive does not hold up the
//! market; those in which play has a part from the exchange, some at a time.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use crate::exchange::{Command, ask};
use crate::kline::{Interval, Kline, KlineHistory, KlineQuery, Klines, Rows};

/// One symbol's.
#[derive(Debug)]
pub(crate) struct ArchiveRows {
    symbol: String,
    past: Klines,
    commands: Sender<Command>,
}

impl ArchiveRows {
    pub(crate) fn new(
        symbol: &str,
        past: Option<Arc<KlineHistory>>,
        commands: Sender<Command>,
    ) -> Self {
        Self { symbol: symbol.to_owned(), past: Klines::new(past), commands }
    }
}

impl Rows for ArchiveRows {
    fn rows(&mut self, interval: Interval, query: &KlineQuery) -> io::Result<Vec<Kline>> {
        let past_end_ms = self.past.history().map_or(i64::MIN, |history| history.end_ms());
        let rows = self.past.rows(interval, query, past_end_ms.saturating_sub(1));
        let is_whole = |last: &Kline| {
            last.next_open_ms <= past_end_ms
                && (rows.len() == query.limit || query.end_ms.is_some_and(|end| end < past_end_ms))
        };
        if rows.last().is_some_and(is_whole) {
            return Ok(rows);
        }
        let (symbol, query) = (self.symbol.clone(), *query);
        ask(&self.commands, move |exchange| exchange.klines(&symbol, interval, &query))
            .map(Option::unwrap_or_default)
            .map_err(io::Error::other)
    }
}
