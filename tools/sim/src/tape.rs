//! The trades of one symbol: the last ones kept for REST, fills of one order joined to aggregate trades.
//!
//! Guarantees: aggregate ids are contiguous from 1; what is kept is bounded.

use std::collections::VecDeque;

use crate::messages::AggTrade;
use crate::source::Trade;

/// Trades, and aggregate trades, that REST can still be asked about.
const KEPT: usize = 50_000;
/// Fills of one order lie closer together than this in a recording.
const AGG_OPEN_NS: i64 = 2_000_000;

#[derive(Debug, Default)]
pub(crate) struct Tape {
    count: u64,
    first_id: u64,
    trades: VecDeque<Trade>,
    aggs: VecDeque<AggTrade>,
    agg_count: u64,
    /// The aggregate trade that a next fill may join, and the position of its last one.
    open: Option<(AggTrade, i64)>,
}

impl Tape {
    /// A trade at a position of play; gives the aggregate trade that ends before it.
    pub(crate) fn add(&mut self, trade: &Trade, at_ns: i64, venue_ms: i64) -> Option<AggTrade> {
        if self.count == 0 {
            self.first_id = trade.id;
        }
        self.count += 1;
        push(&mut self.trades, *trade);
        if let Some((agg, last_at_ns)) =
            self.open.as_mut().filter(|open| is_same_order(&open.0, trade))
        {
            agg.trade.qty.0 += trade.qty.0;
            agg.last_id = trade.id;
            agg.event_ms = venue_ms;
            *last_at_ns = at_ns;
            return None;
        }
        let ended = self.end_agg();
        self.agg_count += 1;
        let (id, last_id) = (self.agg_count, trade.id);
        self.open = Some((AggTrade { id, event_ms: venue_ms, trade: *trade, last_id }, at_ns));
        ended
    }

    /// The aggregate trade that nothing joins any more at this position.
    pub(crate) fn pass_time(&mut self, at_ns: i64) -> Option<AggTrade> {
        let is_over = |(_, last_at_ns): &(AggTrade, i64)| at_ns > last_at_ns + AGG_OPEN_NS;
        if self.open.as_ref().is_some_and(is_over) { self.end_agg() } else { None }
    }

    pub(crate) fn end_agg(&mut self) -> Option<AggTrade> {
        let (agg, _) = self.open.take()?;
        push(&mut self.aggs, agg);
        Some(agg)
    }

    /// Trades so far.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// 0 without a trade.
    pub(crate) fn first_id(&self) -> u64 {
        self.first_id
    }

    pub(crate) fn last(&self) -> Option<&Trade> {
        self.trades.back()
    }

    /// The last `limit` trades, or the first `limit` from an id on; oldest first.
    pub(crate) fn trades(&self, from_id: Option<u64>, limit: usize) -> Vec<Trade> {
        let from = from_id.map(|from_id| self.trades.partition_point(|trade| trade.id < from_id));
        let from = from.unwrap_or(self.trades.len().saturating_sub(limit));
        self.trades.iter().skip(from).take(limit).copied().collect()
    }

    /// Aggregate trades between two times, or from an id on; the last `limit` where neither id nor start is given.
    pub(crate) fn aggs(
        &self,
        from_id: Option<u64>,
        start_ms: Option<i64>,
        end_ms: Option<i64>,
        limit: usize,
    ) -> Vec<AggTrade> {
        let before = |ms: i64| self.aggs.partition_point(|agg| agg.trade.trade_ms < ms);
        let end = end_ms.map_or(self.aggs.len(), |end_ms| before(end_ms.saturating_add(1)));
        let from = match (from_id, start_ms) {
            (Some(from_id), _) => self.aggs.partition_point(|agg| agg.id < from_id),
            (None, Some(start_ms)) => before(start_ms),
            (None, None) => end.saturating_sub(limit),
        };
        self.aggs.iter().take(end).skip(from).take(limit).copied().collect()
    }
}

fn push<T>(kept: &mut VecDeque<T>, next: T) {
    if kept.len() == KEPT {
        kept.pop_front();
    }
    kept.push_back(next);
}

/// Same order where the source knows it; otherwise the fills that look like one: same price, side and time.
fn is_same_order(agg: &AggTrade, next: &Trade) -> bool {
    let Trade { px, trade_ms, is_buyer_maker, taker_order, .. } = agg.trade;
    next.id == agg.last_id + 1
        && (next.px, next.trade_ms, next.is_buyer_maker, next.taker_order)
            == (px, trade_ms, is_buyer_maker, taker_order)
}
