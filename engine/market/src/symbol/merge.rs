//! Several connections with the same streams: whichever copy comes first counts.

use cobring_venue::Merged;

use super::{
    DepthUpdate, Dirty, LinkScope, Nanos, Publish, SymbolMarket, Trade, TradeWatch, Trigger,
};

impl SymbolMarket {
    /// A depth update of any connection.
    pub(super) fn on_depth(
        &mut self,
        ts_recv: Nanos,
        update: &DepthUpdate<'_>,
        dirty: &mut Dirty,
    ) -> Publish {
        let before = self.book_state();
        let state = &mut self.state;
        state.offset.on_message(update.ts_event, ts_recv);
        state.depth_watch.on_message(ts_recv, update.last_update_id);
        // One that is stalled fills no gap.
        let connections = if state.depth_stalled { 1 } else { state.links.count(LinkScope::DEPTH) };
        let mut merge = state.depth_merge.take()?;
        let mut publish = None;
        let mut take = |update: &DepthUpdate<'_>| {
            publish = self.take_depth(ts_recv, update, dirty).or(publish);
        };
        loop {
            match merge.on_depth(ts_recv, update, connections) {
                Merged::Next => {
                    take(update);
                    if merge.is_waiting() {
                        merge.joining(&mut take);
                    }
                    break;
                }
                Merged::Waits => {
                    self.state.counters.depth_waited += 1;
                    break;
                }
                Merged::Skip => merge.skip(ts_recv, Some(update), &mut take),
            }
        }
        self.state.depth_merge = Some(merge);
        // The first one of all that waits for a snapshot makes an empty book a syncing one.
        if self.book_state() != before {
            dirty.book = true;
            publish = publish.or(Some(Trigger::Depth));
        }
        publish
    }

    /// A trade of any connection.
    pub(super) fn on_trade(&mut self, ts_recv: Nanos, trade: &Trade, dirty: &mut Dirty) -> Publish {
        let state = &mut self.state;
        if *state.trade_stream.get_or_insert(trade.stream) != trade.stream {
            state.counters.trades_other_stream += 1;
            return None;
        }
        state.offset.on_message(trade.ts_event, ts_recv);
        state.last_trade_recv = ts_recv;
        state.trades_stalled = false;
        state.trade_watch = TradeWatch::default();
        let connections = state.links.count(LinkScope::TRADE);
        let mut publish = None;
        loop {
            let merge = &mut self.state.trade_merge;
            match merge.on_trade(ts_recv, trade, connections) {
                Merged::Next => {
                    publish = self.take_trade(ts_recv, trade, dirty).or(publish);
                    return self.take_joining(ts_recv, dirty).or(publish);
                }
                Merged::Waits => {
                    self.state.counters.trades_waited += 1;
                    return publish;
                }
                Merged::Skip => {
                    merge.skip(ts_recv, Some(trade));
                    publish = self.take_joining(ts_recv, dirty).or(publish);
                }
            }
        }
    }

    /// What has waited long enough is taken.
    pub(super) fn release_due(&mut self, g: Nanos, dirty: &mut Dirty) -> Publish {
        let mut publish = None;
        if let Some(mut merge) = self.state.depth_merge.take_if(|merge| merge.is_due(g)) {
            merge.skip(g, None, |update| {
                publish = self.take_depth(g, update, dirty).or(publish);
            });
            self.state.depth_merge = Some(merge);
        }
        if self.state.trade_merge.is_due(g) {
            self.state.trade_merge.skip(g, None);
            publish = self.take_joining(g, dirty).or(publish);
        }
        publish
    }

    fn take_joining(&mut self, ts: Nanos, dirty: &mut Dirty) -> Publish {
        let mut publish = None;
        while let Some(next) = self.state.trade_merge.next_joining() {
            publish = self.take_trade(ts, &next, dirty).or(publish);
        }
        publish
    }
}
