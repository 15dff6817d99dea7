//! From state to the frame's image: only what changed is written.

use cobring_frame::{BLOCKS, Price};
use cobring_types::{Instrument, Level, Qty, whole_f64};

use super::{
    BOOK_LEVELS, Dirty, Facts, KNOWN_MARGIN, LinkScope, Nanos, PIVOT_LEVELS, Px, Quote,
    STUDIED_INTERVALS, Side, SymbolMarket, Trigger, UNBOUNDED, best_of, imbalance, place,
};
use crate::buckets::set_bits;
use crate::config::RequiredRows;
use crate::imbalance::{are_exact, exact_f64, write_imbalances};
use crate::ladder::Ladder;
use crate::pivot_bounds::BoundsTracker;
use crate::top::TopSource;

/// A bookTicker this old still is the live price, and a trade this old where there is none.
const PRICE_QUOTE_AGE_MAX: Nanos = Nanos::SECOND;
const PRICE_TRADE_AGE_MAX: Nanos = Nanos(5 * Nanos::SECOND.0);

/// Numbered as [`cobring_frame::PRICE_SOURCES`].
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
enum PriceSource {
    Quote = 0,
    Trade = 1,
    Depth = 2,
    Ticker = 3,
    None = 4,
}

impl SymbolMarket {
    /// Fills in what every frame has, and the blocks that changed.
    pub(super) fn complete(&mut self, trigger: Trigger, ts: Nanos, dirty: Dirty) {
        self.write_dirty(dirty);
        let times = &mut self.image.head_mut().times;
        times.ts_recv = ts.0;
        times.clock_offset = self.state.offset.offset().0;
        times.offset_low = self.state.offset.low().0;
        times.offset_high = self.state.offset.high().0;
        self.state.flow.write(ts, &self.config.instrument, &mut self.image.head_mut().flow);
        self.write_cursors();
        self.write_price(ts);
        self.write_quality(ts);
        self.image.head_mut().identity.trigger = trigger as u8;
    }

    fn write_cursors(&mut self) {
        let cursors = &mut self.image.head_mut().cursors;
        if !self.has_other_rows {
            cursors[place::BOOK_STATES] = self.windows.book_states.cursor();
            cursors[place::TICKS] = self.windows.ticks.cursor();
            debug_assert_eq!(*cursors, self.windows.cursors());
            return;
        }
        *cursors = self.windows.cursors();
        for (cells, window) in self.image.arrays_mut().models.iter_mut().zip(&self.windows.models) {
            [cells[0], cells[1]] = window.cursor();
            cells[2] = window.done();
        }
    }

    pub(super) fn write_dirty(&mut self, dirty: Dirty) {
        if dirty.book {
            self.write_book(dirty.levels_shown);
            self.write_buckets();
        }
        if self.state.studies[0].bounds_changed {
            self.write_bounds();
        }
        let structure_changed = self.state.studies.iter().any(|study| study.changed);
        if structure_changed || dirty.pivots && !self.pivots_hold() {
            self.write_pivots();
        }
        if dirty.candles {
            let instrument = &self.config.instrument;
            let head = self.image.head_mut();
            for (at, candles) in self.state.candles.iter().enumerate() {
                // At a timer they are mostly what they were.
                let bar = candles.open_bar();
                if bar.is_none() || bar != self.shown.bars[at] {
                    self.shown.bars[at] = bar;
                    head.open[at] = candles.open_row(instrument);
                }
                head.valid_rows[place::CANDLES + at] = candles.valid_rows();
                // Indicators are rows of the same bars.
                if at < STUDIED_INTERVALS {
                    head.valid_rows[place::INDICATORS + at] = candles.valid_rows();
                }
            }
        }
    }

    fn write_book(&mut self, levels_shown: bool) {
        let book_state = self.book_state();
        let instrument = &self.config.instrument;
        let book = &self.state.book;
        let block = &mut self.image.head_mut().book;
        block.book_state = book_state as u8;
        block.update_id = self.state.sync.update_id().unwrap_or(0);
        if !levels_shown {
            write_levels(&mut block.bids, book.side(Side::Buy), instrument);
            write_levels(&mut block.asks, book.side(Side::Sell), instrument);
        }
        let held = !book.side(Side::Buy).is_empty() || !book.side(Side::Sell).is_empty();
        let known_levels =
            |side: Side| u32::try_from(book.side(side).known_len()).unwrap_or(u32::MAX);
        block.levels_known_bid = known_levels(Side::Buy);
        block.levels_known_ask = known_levels(Side::Sell);
        (block.bid_known_to, block.ask_known_to) = match (held, book.ask_known_to()) {
            (false, _) => (f64::NAN, f64::NAN),
            (true, UNBOUNDED) => (instrument.px_f64(book.bid_known_to()), f64::INFINITY),
            (true, ask) => (instrument.px_f64(book.bid_known_to()), instrument.px_f64(ask)),
        };
    }

    /// Buckets and both imbalances: values while the book is live, else nothing.
    fn write_buckets(&mut self) {
        let live = self.is_live();
        let instrument = &self.config.instrument;
        let radius = self.config.radius();
        let imbalance_radius = self.config.imbalance_radius();
        let book = &mut self.state.book;
        let centre = book.centre_bucket().filter(|_| live);
        let head = self.image.head_mut();
        head.cob.bucket_size = instrument.ticks_f64(i128::from(self.config.bucket_ticks));
        let shown = std::mem::replace(&mut head.cob.centre_bucket, centre.unwrap_or(i64::MIN));
        let Some(centre) = centre else {
            head.imbalance.imbalance = f64::NAN;
            head.imbalance.imbalance_px = f64::NAN;
            head.imbalance.imbalance_valid = 0;
            let arrays = self.image.arrays_mut();
            arrays.bid_qty.fill(f64::NAN);
            arrays.ask_qty.fill(f64::NAN);
            arrays.valid.fill(0);
            arrays.imbalance_within.fill(f64::NAN);
            return;
        };
        let (known_first, known_last) = book.known_buckets();
        let (near_bid, near_ask) = book.near_sums();
        head.imbalance.imbalance_px = imbalance(near_bid, near_ask);
        head.imbalance.imbalance_valid = u8::from(
            known_first <= centre - imbalance_radius && centre + imbalance_radius <= known_last,
        );
        let arrays = self.image.arrays_mut();
        let is_elsewhere = shown != centre;
        let (first, last) = (centre - radius, centre + radius);
        let are_exact = are_exact(book.buckets().range(first, last));
        let divisor = instrument.small_qty_divisor().filter(|_| are_exact);
        book.buckets_mut().show(first, last, is_elsewhere, |at, bucket| {
            [arrays.bid_qty[at], arrays.ask_qty[at]] = match divisor {
                Some(divisor) => [bucket.bid, bucket.ask].map(|sum| exact_f64(sum) / divisor),
                None => [bucket.bid, bucket.ask].map(|sum| instrument.qty_sum_f64(sum)),
            };
        });
        set_bits(arrays.valid, known_first.max(first) - first, known_last.min(last) - first);
        write_imbalances(book.buckets().range(first, last), are_exact, arrays.imbalance_within);
        let within = |radius: i64| arrays.imbalance_within.get(usize::try_from(radius).ok()?);
        let of_range = within(imbalance_radius).copied().unwrap_or_else(|| {
            let (bid, ask) = book.sums_within(imbalance_radius);
            imbalance(bid, ask)
        });
        self.image.head_mut().imbalance.imbalance = of_range;
    }

    pub(super) fn write_samples(&mut self) {
        let averages = self.state.samples.averages();
        let block = &mut self.image.head_mut().imbalance;
        [
            block.imbalance_ma_1s,
            block.imbalance_ma_5s,
            block.imbalance_ma_15s,
            block.imbalance_ma_60s,
        ] = averages.imbalance;
        [
            block.imbalance_px_ma_1s,
            block.imbalance_px_ma_5s,
            block.imbalance_px_ma_15s,
            block.imbalance_px_ma_60s,
        ] = averages.imbalance_px;
        block.imbalance_samples = averages.samples;
    }

    fn write_bounds(&mut self) {
        let instrument = &self.config.instrument;
        let study = &mut self.state.studies[0];
        study.bounds_changed = false;
        let Some(bounds) = study.bounds.as_ref().and_then(BoundsTracker::bounds) else { return };
        let px = |px: &Option<Px>| px.map_or(f64::NAN, |px| instrument.px_f64(px));
        let mut block = cobring_frame::PivotBounds {
            period_start: bounds.period_start.0,
            period_end: bounds.period_end.0,
            bar_count: bounds.bar_count,
            price_min: instrument.px_f64(bounds.price_min),
            price_max: instrument.px_f64(bounds.price_max),
            volume_min: instrument.qty_sum_f64(bounds.volume_min),
            volume_max: instrument.qty_sum_f64(bounds.volume_max),
            ..cobring_frame::PivotBounds::NONE
        };
        for level in 0..PIVOT_LEVELS {
            block.support[level] = px(&bounds.nearest.support[level]);
            block.resistance[level] = px(&bounds.nearest.resistance[level]);
        }
        self.image.head_mut().pivot_bounds = block;
    }

    /// Whether support and resistance at `top`'s mid are the ones that are shown.
    fn pivots_hold(&self) -> bool {
        let mids = self.shown.mids_of_pivots.as_ref();
        self.doubled_mid().is_some_and(|mid| mids.is_some_and(|mids| mids.contains(&mid)))
    }

    /// Of `top`.
    fn doubled_mid(&self) -> Option<i64> {
        self.state.best.map(|best| best.quote.bid_px.0 + best.quote.ask_px.0)
    }

    /// Trend, and the nearest support and resistance around `top`'s mid.
    fn write_pivots(&mut self) {
        let doubled_mid = self.doubled_mid();
        self.shown.mids_of_pivots = doubled_mid.map(|mid| {
            let studies = self.state.studies.each_ref();
            let [one, other] = studies.map(|study| study.structure.mids_alike(mid));
            *one.start().max(other.start())..=*one.end().min(other.end())
        });
        let instrument = &self.config.instrument;
        let head = self.image.head_mut();
        for (at, study) in self.state.studies.iter_mut().enumerate() {
            study.changed = false;
            let px = |px: Option<Px>| px.map_or(f64::NAN, |px| instrument.px_f64(px));
            for (cells, level) in head.pivots[at].iter_mut().zip(1..) {
                let structure = &study.structure;
                cells.trend = i64::from(structure.trend(level));
                cells.support = px(doubled_mid.and_then(|mid| structure.support(level, mid)));
                cells.resistance = px(doubled_mid.and_then(|mid| structure.resistance(level, mid)));
            }
            for (level, window) in self.windows.pivots[at].iter().enumerate() {
                head.valid_rows[place::PIVOTS + at * PIVOT_LEVELS + level] = window.done();
            }
        }
    }

    pub(super) fn write_top(&mut self) {
        let best = self.state.best;
        let instrument = &self.config.instrument;
        let block = &mut self.image.head_mut().top;
        let Some(best) = best else {
            block.source = 2;
            block.update_id = 0;
            for value in [
                &mut block.bid_px,
                &mut block.bid_qty,
                &mut block.ask_px,
                &mut block.ask_qty,
                &mut block.mid_px,
                &mut block.micro_px,
                &mut block.spread,
            ] {
                *value = f64::NAN;
            }
            return;
        };
        let quote = best.quote;
        block.source = best.source as u8;
        block.update_id = quote.update_id;
        block.bid_px = instrument.px_f64(quote.bid_px);
        block.bid_qty = instrument.qty_f64(quote.bid_qty);
        block.ask_px = instrument.px_f64(quote.ask_px);
        block.ask_qty = instrument.qty_f64(quote.ask_qty);
        let (bid, ask) = (i128::from(quote.bid_px.0), i128::from(quote.ask_px.0));
        block.mid_px = instrument.half_ticks_f64(bid + ask);
        block.spread = instrument.ticks_f64(ask - bid);
        block.micro_px = micro_px(&quote, instrument);
    }

    fn write_quality(&mut self, ts: Nanos) {
        let state = &self.state;
        let age = |last: Nanos| last.get().map_or(Nanos::UNDEF, |last| Nanos(ts.0 - last));
        let (age_depth, age_quote, age_trade) =
            (age(state.last_depth_recv), age(state.last_quote_recv), age(state.last_trade_recv));
        let imbalance_radius = self.config.imbalance_radius();
        let live = self.is_live();
        let known = self.known_within(imbalance_radius);
        let flow_whole = state.flow.is_whole(ts);
        let facts = Facts {
            live,
            crossed: state.crossed,
            audit_mismatch: state.audit_mismatch,
            link_down: state.links.is_down(LinkScope::DEPTH),
            halted: state.halted,
            unlogged: state.unlogged,
            flow_truncated: !flow_whole,
            quiet: state.depth_watch.is_quiet(ts),
            trades_stalled: state.trades_stalled,
            age_depth,
            age_quote,
            age_trade,
            freshness_limit: self.config.freshness_limit,
            repaired_bars: state.candles[0].repaired(),
            known_buckets: (known, 2 * imbalance_radius + 1),
            completeness: self.completeness(),
        };
        let head = self.image.head();
        let has_rows = |window: usize| head.cursors[window][0] > 0;
        let blocks: [(bool, Nanos); BLOCKS.len()] = [
            (state.best.is_some(), self.age_top(age_depth, age_quote)),
            (head.price.source != Price::NONE.source, Nanos(head.price.age)),
            (live, age_depth),
            (live, age_depth),
            (head.imbalance.imbalance_valid == 1, age_depth),
            (flow_whole, age_trade),
            (state.candles[0].valid_rows() > 0, age_trade),
            (state.candles[1].valid_rows() > 0, age_trade),
            (state.candles[2].valid_rows() > 0, age_trade),
            (state.candles[3].valid_rows() > 0, age_trade),
            (has_rows(place::PIVOTS), age(state.candles[0].last_closed())),
            (has_rows(place::PIVOTS + PIVOT_LEVELS), age(state.candles[1].last_closed())),
            (head.pivot_bounds.bar_count > 0, age(Nanos(head.pivot_bounds.period_end))),
            (state.offset.low().is_defined(), younger(age_depth, age_trade)),
        ];
        let head = self.image.head_mut();
        facts.write(&mut head.quality);
        let bits = blocks.iter().rev();
        head.quality.valid = bits.fold(0, |bits, (valid, _)| bits << 1 | u64::from(*valid));
        head.ages = blocks.map(|(_, age)| age.0);
    }

    /// Age of what `top` shows.
    fn age_top(&self, age_depth: Nanos, age_quote: Nanos) -> Nanos {
        match self.state.best.map(|best| best.source) {
            Some(TopSource::Depth) => age_depth,
            Some(TopSource::Quote) => age_quote,
            None => Nanos::UNDEF,
        }
    }

    /// The least share of the required rows that is there.
    #[expect(clippy::cast_precision_loss, reason = "row counts are far below 2^53")]
    fn completeness(&self) -> f64 {
        let rows = &self.image.head().valid_rows;
        let share = |required: &RequiredRows| {
            let found = rows[required.window];
            let mut needed = required.rows;
            if found >= needed {
                return 1.0;
            }
            // A symbol that is listed for fewer bars has all there are.
            if let Some(interval) = bar_interval_of(required.window)
                && self.state.history.is_whole(interval)
            {
                needed = needed.min(self.windows.candles[interval].done()).max(1);
            }
            (found as f64 / needed as f64).min(1.0)
        };
        self.config.required.iter().map(share).fold(1.0, f64::min)
    }

    /// The live price: bookTicker's mid, the last trade, the book's mid, the venue's ticker; the first that is
    /// there and young enough.
    fn write_price(&mut self, ts: Nanos) {
        let state = &self.state;
        let instrument = &self.config.instrument;
        let age = |since: Nanos| since.get().map_or(Nanos::UNDEF, |since| Nanos(ts.0 - since));
        let young = |age: Nanos, limit: Nanos| age.get().is_some_and(|age| age <= limit.0);
        let mid = |quote: &Quote| {
            instrument.half_ticks_f64(i128::from(quote.bid_px.0) + i128::from(quote.ask_px.0))
        };
        let (age_quote, age_trade) = (age(state.last_quote_recv), age(state.last_trade_recv));
        let quote = state.quotes.newest().filter(|_| young(age_quote, PRICE_QUOTE_AGE_MAX));
        let trade = state.last_trade.filter(|_| young(age_trade, PRICE_TRADE_AGE_MAX));
        let depth = || best_of(&state.book, 0).filter(|_| self.is_live());
        let (source, px, age) = if let Some(quote) = quote {
            (PriceSource::Quote, mid(quote), age_quote)
        } else if let Some(trade) = trade {
            (PriceSource::Trade, instrument.px_f64(trade.px), age_trade)
        } else if let Some(best) = depth() {
            (PriceSource::Depth, mid(&best), age(state.last_book_recv))
        } else if let Some((px, since)) = state.ticker.price() {
            (PriceSource::Ticker, instrument.px_f64(px), age(since))
        } else {
            (PriceSource::None, f64::NAN, Nanos::UNDEF)
        };
        let block = &mut self.image.head_mut().price;
        (block.source, block.px, block.age) = (source as u8, px, age.0);
    }

    /// Whether the frame's price comes from the symbol's own trading, not from the ticker.
    pub(super) fn has_own_price(&self) -> bool {
        self.image.head().price.source < PriceSource::Ticker as u8
    }

    /// Known buckets among centre ± `radius`.
    fn known_within(&self, radius: i64) -> i64 {
        let Some(centre) = self.state.book.centre_bucket() else { return 0 };
        let (first, last) = self.state.book.known_buckets();
        (last.min(centre + radius) - first.max(centre - radius) + 1).max(0)
    }

    /// Whether a background re-sync should widen the known range: few known buckets on a side.
    pub(super) fn is_known_range_narrow(&self) -> bool {
        let Some(centre) = self.state.book.centre_bucket() else { return false };
        let (first, last) = self.state.book.known_buckets();
        let wanted = self.config.radius() + KNOWN_MARGIN;
        centre - first < wanted || last.saturating_sub(centre) < wanted
    }
}

/// The bar interval of a candle or indicator window.
fn bar_interval_of(window: usize) -> Option<usize> {
    match window {
        place::CANDLES..place::INDICATORS => Some(window - place::CANDLES),
        place::INDICATORS..place::COB_ROWS => Some(window - place::INDICATORS),
        _ => None,
    }
}

/// The lesser of two ages, of those that are known.
fn younger(one: Nanos, other: Nanos) -> Nanos {
    match (one.get(), other.get()) {
        (Some(a), Some(b)) => Nanos(a.min(b)),
        (Some(_), None) => one,
        (None, _) => other,
    }
}

pub(super) fn write_levels(
    block: &mut [[f64; 2]; BOOK_LEVELS],
    ladder: &Ladder,
    instrument: &Instrument,
) {
    let mut levels = [Level { px: Px(0), qty: Qty(0) }; BOOK_LEVELS];
    let len = ladder.top(&mut levels);
    *block = instrument.levels_f64(&levels);
    block[len..].fill([f64::NAN; 2]);
}

/// (bid_px·ask_qty + ask_px·bid_qty) / (bid_qty + ask_qty), exact but for the last division.
fn micro_px(quote: &Quote, instrument: &Instrument) -> f64 {
    let [bid_px, bid_qty, ask_px, ask_qty] =
        [quote.bid_px.0, quote.bid_qty.0, quote.ask_px.0, quote.ask_qty.0].map(i128::from);
    let quantity = bid_qty + ask_qty;
    if quantity == 0 {
        return f64::NAN;
    }
    let weighted = instrument.ticks_f64(bid_px * ask_qty + ask_px * bid_qty);
    weighted / whole_f64(quantity)
}
