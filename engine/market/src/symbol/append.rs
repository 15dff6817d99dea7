//! Rows that the symbol appends to its windows, candles and what follows from them apart.

use std::collections::VecDeque;

use cobring_frame::{BookStateRow, CobRow, ModelRow, TICK_QUOTE, TICK_TRADE, TickerRow};

use cobring_types::{Instrument, ModelIndex, ModelOutput, TICKER_DECIMALS, nearest_f64};
use serde::{Deserialize, Serialize};

use super::show::write_levels;
use super::{
    BOOK_LEVELS, CobFacts, Dirty, Nanos, Side, SymbolMarket, TickRow, Ticker, Trade, place,
    side_number, values,
};
use crate::book::Book;
use crate::top::TopSource;

impl SymbolMarket {
    /// Finds the freshest best prices; a change of price or quantity is a tick.
    pub(super) fn track_best(&mut self, ts_recv: Nanos, ts_event: Nanos, dirty: &mut Dirty) {
        let live = self.is_live();
        let state = &mut self.state;
        let live_book = state.sync.update_id().filter(|_| live).map(|id| (&state.book, id));
        let best = state.quotes.best_prices(live_book);
        if best == state.best {
            return;
        }
        dirty.pivots = true;
        let before = std::mem::replace(&mut state.best, best);
        self.write_top();
        if let Some(best) = best
            && before.is_none_or(|before| values(&before.quote) != values(&best.quote))
        {
            // bookTicker carries no venue time.
            let ts_event = if best.source == TopSource::Depth { ts_event } else { Nanos::UNDEF };
            let row = TickRow {
                ts_event: ts_event.0,
                kind: TICK_QUOTE,
                id: best.quote.update_id,
                ..self.tick_at_best(ts_recv)
            };
            self.windows.ticks.append(&row);
            self.count_valid(place::TICKS, true);
        }
    }

    /// A tick for a trade, beside the best prices of that moment.
    pub(super) fn append_trade_tick(&mut self, ts_recv: Nanos, trade: &Trade) {
        let TickRow { ts_event, kind, side, px, qty, id, .. } = self.trade_row(trade);
        let best = self.tick_at_best(ts_recv);
        let row = TickRow { ts_event, kind, side, px, qty, id, ..best };
        self.windows.ticks.append(&row);
        self.count_valid(place::TICKS, true);
    }

    /// A tick for a trade of the past, which came at `ts_recv`: what was best beside it nobody knows.
    pub(super) fn append_past_tick(&mut self, ts_recv: Nanos, trade: &Trade) {
        let row = TickRow { ts_recv: ts_recv.0, ..self.trade_row(trade) };
        self.windows.ticks.append(&row);
        self.count_valid(place::TICKS, true);
    }

    /// The trade's own part of its tick.
    fn trade_row(&self, trade: &Trade) -> TickRow {
        let instrument = &self.config.instrument;
        TickRow {
            ts_event: trade.ts_trade.0,
            kind: TICK_TRADE,
            side: side_number(trade.side),
            px: instrument.px_f64(trade.px),
            qty: instrument.qty_f64(trade.qty),
            id: trade.last_id,
            ..TickRow::NONE
        }
    }

    fn tick_at_best(&self, ts_recv: Nanos) -> TickRow {
        let top = &self.image.head().top;
        TickRow {
            ts_recv: ts_recv.0,
            bid_px: top.bid_px,
            bid_qty: top.bid_qty,
            ask_px: top.ask_px,
            ask_qty: top.ask_qty,
            ..TickRow::NONE
        }
    }

    /// The best levels after an applied depth message, which left the book `sound` or not; the frame shows the same ones.
    pub(super) fn append_book_state(
        &mut self,
        ts_recv: Nanos,
        ts_event: Nanos,
        sound: bool,
        dirty: &mut Dirty,
    ) {
        let live = sound && self.is_live();
        let update_id = self.state.sync.update_id().unwrap_or(0);
        let times = (ts_recv, ts_event, update_id);
        let row = book_state_row(&self.state.book, &self.config.instrument, times, live);
        self.windows.book_states.append(&row);
        self.count_valid(place::BOOK_STATES, live);
        self.state.book_states_live = live;
        let book = &mut self.image.head_mut().book;
        for (at, [ask_px, ask_qty, bid_px, bid_qty]) in row.levels.into_iter().enumerate() {
            book.asks[at] = [ask_px, ask_qty];
            book.bids[at] = [bid_px, bid_qty];
        }
        // A book that is not is lost, and its levels with it.
        dirty.levels_shown = sound;
    }

    /// The book was proven in the last row and is no longer: one row that says so.
    pub(super) fn append_lost_book(&mut self, ts_recv: Nanos, ts_event: Nanos) {
        if self.state.book_states_live && !self.is_live() {
            let row = BookStateRow {
                ts_event: ts_event.0,
                ts_recv: ts_recv.0,
                update_id: 0,
                levels: [[f64::NAN; 4]; 10],
                valid: 0,
                pad: [0; 7],
            };
            self.windows.book_states.append(&row);
            self.count_valid(place::BOOK_STATES, false);
            self.state.book_states_live = false;
        }
    }

    /// The whole second `g` ends: the price-bucket book as it is now.
    pub(super) fn append_cob_row(&mut self, g: Nanos) {
        let live = self.is_live();
        let averages = &self.image.head().imbalance;
        let facts = CobFacts {
            live_book: live.then_some(&self.state.book),
            imbalance: averages.imbalance_ma_1s,
            imbalance_px: averages.imbalance_px_ma_1s,
            offset_low: self.state.offset.low(),
            instrument: &self.config.instrument,
        };
        let Some((missed, row)) = self.state.cob_second.on_second(g, &facts) else { return };
        if missed > 0 {
            let first = self.windows.cob_rows.done();
            let first_end = g.0 - missed.cast_signed() * Nanos::SECOND.0;
            self.windows.cob_rows.append_many(missed, |index| {
                CobRow::not_live(first_end + (index - first).cast_signed() * Nanos::SECOND.0)
            });
            self.count_valid(place::COB_ROWS, false);
        }
        self.windows.cob_rows.append(&row);
        self.count_valid(place::COB_ROWS, live);
    }

    /// The venue's 24 h ticker.
    pub(super) fn append_ticker(&mut self, ts_recv: Nanos, ticker: &Ticker) {
        let instrument = &self.config.instrument;
        let decimal = |units: i64| nearest_f64(i128::from(units), TICKER_DECIMALS);
        let px = |px| instrument.px_f64(px);
        let qty = |qty| instrument.qty_f64(qty);
        let row = TickerRow {
            ts_event: ticker.ts_event.0,
            ts_recv: ts_recv.0,
            price_change: decimal(ticker.price_change),
            price_change_percent: decimal(ticker.price_change_percent),
            weighted_avg_px: decimal(ticker.weighted_avg_px),
            prev_close_px: px(ticker.prev_close_px),
            last_px: px(ticker.last_px),
            last_qty: qty(ticker.last_qty),
            bid_px: px(ticker.bid_px),
            bid_qty: qty(ticker.bid_qty),
            ask_px: px(ticker.ask_px),
            ask_qty: qty(ticker.ask_qty),
            open_px: px(ticker.open_px),
            high_px: px(ticker.high_px),
            low_px: px(ticker.low_px),
            volume: qty(ticker.volume),
            quote_volume: decimal(ticker.quote_volume),
            open_time: ticker.open_time.0,
            close_time: ticker.close_time.0,
            first_trade_id: ticker.first_trade_id,
            last_trade_id: ticker.last_trade_id,
            trade_count: ticker.trade_count,
        };
        self.windows.ticker.append(&row);
        self.count_valid(place::TICKER, true);
    }

    /// What a model said; shows in the next frame, so models cannot drive each other.
    pub(super) fn append_model(&mut self, ts_recv: Nanos, model: ModelIndex, output: &ModelOutput) {
        // A log may be replayed without the models that it was written with.
        let Some(window) = self.windows.models.get_mut(model.at()) else {
            self.state.counters.model_outputs_unknown += 1;
            return;
        };
        let output = output.canonical();
        let count = |len: usize| u32::try_from(len).expect("invariant: at most 32");
        window.append(&ModelRow {
            ts_recv: ts_recv.0,
            seq: output.answers_seq,
            input_seq: output.answers_input_seq,
            action: output.action,
            value: output.value().unwrap_or(f64::NAN),
            confidence: output.confidence().unwrap_or(f64::NAN),
            horizon: output.horizon.0,
            output_count: count(output.outputs().len()),
            state_count: count(output.state().len()),
            outputs: *output.padded_outputs(),
            state: *output.padded_state(),
        });
        self.state.counters.model_outputs += 1;
    }

    /// A row was appended to a window: how many trailing ones are valid now.
    pub(super) fn count_valid(&mut self, window: usize, valid: bool) {
        let rows = &mut self.image.head_mut().valid_rows[window];
        *rows = if valid { *rows + 1 } else { 0 };
    }
}

/// The row of a depth message with these times (ours, the venue's) and update id.
pub(super) fn book_state_row(
    book: &Book,
    instrument: &Instrument,
    (ts_recv, ts_event, update_id): (Nanos, Nanos, u64),
    valid: bool,
) -> BookStateRow {
    let mut row = BookStateRow {
        ts_event: ts_event.0,
        ts_recv: ts_recv.0,
        update_id,
        levels: [[f64::NAN; 4]; 10],
        valid: u8::from(valid),
        pad: [0; 7],
    };
    for (place, side) in [(0, Side::Sell), (2, Side::Buy)] {
        let mut levels = [[0.0; 2]; BOOK_LEVELS];
        write_levels(&mut levels, book.side(side), instrument);
        for (cells, [px, qty]) in row.levels.iter_mut().zip(levels) {
            [cells[place], cells[place + 1]] = [px, qty];
        }
    }
    row
}

/// When the depth messages came that wait for a snapshot, by their last update id.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct KeptTimes(VecDeque<(u64, Nanos)>);

impl Default for KeptTimes {
    fn default() -> Self {
        Self(VecDeque::with_capacity(KEPT_TIMES_MAX))
    }
}

/// As many as the sync rule keeps messages.
const KEPT_TIMES_MAX: usize = 1 << 12;

impl KeptTimes {
    /// Reserves all memory that it will need (again).
    pub(super) fn reserve(&mut self) {
        self.0.reserve_exact(KEPT_TIMES_MAX.saturating_sub(self.0.len()));
    }

    pub(super) fn push(&mut self, update_id: u64, ts_recv: Nanos) {
        if self.0.back().is_some_and(|&(last, _)| update_id <= last) {
            self.0.clear();
        }
        if self.0.len() == KEPT_TIMES_MAX {
            self.0.pop_front();
        }
        self.0.push_back((update_id, ts_recv));
    }

    pub(super) fn of(&self, update_id: u64) -> Option<Nanos> {
        let at = self.0.binary_search_by_key(&update_id, |&(id, _)| id).ok()?;
        self.0.get(at).map(|&(_, ts_recv)| ts_recv)
    }
}
