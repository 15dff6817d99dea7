//! What must hold after every input and every second, against the exchange's own truth.
//!
//! Guarantees: a frame that says `live` is compared with the book that the exchange had at its update id, level by
//! level; sums, trades and closed bars likewise. The first thing that does not hold ends the run.

use std::sync::{Arc, Mutex, PoisonError};

use cobring_frame::{
    BOOK_STATES, CANDLE_FLAGS, CANDLE_FLAT, CANDLE_HOLE, CANDLE_INCOMPLETE, CANDLE_PARTIAL,
    CandleRow, FrameHead, TICK_TRADE, TRIGGERS,
};
use cobring_pipeline::fold::{FoldState, Observer, SymbolFold};
use cobring_types::{LinkScope, Nanos, Px, Side};

use crate::naive_book::{NaiveBook, Touched, to_f64};
use crate::plan::Plan;
use crate::truth::{ModelTruth, Second, SymbolTruth, Truth, Violation};

const GOOD_SCORE: f64 = 0.8;
/// A closed second that says nothing against itself is the venue's this long after it.
const SETTLED_MS: i64 = 15_000;

/// Looks at each frame.
#[derive(Debug)]
pub(crate) struct Checks {
    truth: Arc<Mutex<Truth>>,
    /// A trade of the stream may be several of the venue's.
    joins_fills: bool,
    behind_max: Nanos,
    /// Our clock less the venue's.
    skew: Nanos,
    /// From here on all is to become well.
    ends_at: Nanos,
    symbols: Vec<Checked>,
    touched: Vec<Touched>,
    /// Frames compared, and whole books.
    pub(crate) frames: u64,
    pub(crate) books: u64,
    pub(crate) bars: u64,
}

/// How far a symbol was looked at.
#[derive(Debug, Clone, Default)]
struct Checked {
    frames: u64,
    input_seq: Option<u64>,
    /// Update id of the last live frame that was compared.
    update_id: Option<u64>,
    /// Rows of 1 s bars.
    bars: u64,
    /// Book and streams have been up to date since then.
    fresh_since: Option<i64>,
    ticks: u64,
    last_trade_id: u64,
    /// Rows of the model's window, and outputs put, at the last frame.
    model_rows: Option<(u64, u64)>,
}

/// Bars of each interval that are to be mended by the end.
const ROWS_MENDED: usize = 800;
/// What the venue sent so long ago has arrived.
const TRAVELS_MS: i64 = 2_000;

type Finding = Result<(), String>;

/// A finding with what was found and what was wanted.
fn equal<T: PartialEq + std::fmt::Debug>(what: &str, found: T, wanted: T) -> Finding {
    if found == wanted { Ok(()) } else { Err(format!("{what} is {found:?}, wanted {wanted:?}")) }
}

fn close(what: &str, found: f64, wanted: f64) -> Finding {
    let fits = (found - wanted).abs() <= 1e-12 * wanted.abs().max(1.0);
    if fits { Ok(()) } else { Err(format!("{what} is {found:?}, wanted {wanted:?}")) }
}

fn state_of(head: &FrameHead) -> &'static str {
    BOOK_STATES[usize::from(head.book.book_state)]
}

impl Checks {
    pub(crate) fn new(truth: Arc<Mutex<Truth>>, plan: &Plan) -> Self {
        let count = truth.lock().unwrap_or_else(PoisonError::into_inner).symbols.len();
        let symbols = vec![Checked::default(); count];
        let Plan { joins_fills, behind_max, skew, .. } = *plan;
        let ends_at = Nanos(plan.market.start_ms * 1_000_000 + plan.end_ns + skew.0);
        Self {
            truth,
            joins_fills,
            behind_max,
            skew,
            ends_at,
            symbols,
            touched: Vec::new(),
            frames: 0,
            books: 0,
            bars: 0,
        }
    }

    fn with_truth(
        &mut self,
        at: usize,
        fold: &SymbolFold,
        check: impl FnOnce(&mut Self, &mut Truth) -> Finding,
    ) {
        let truth = Arc::clone(&self.truth);
        let mut truth = truth.lock().unwrap_or_else(PoisonError::into_inner);
        if truth.violation.is_some() {
            return;
        }
        if let Err(what) = check(self, &mut truth) {
            let head = fold.market().image().head();
            let symbol = truth.symbols[at].name.clone();
            let (at, seq) = (head.times.ts_recv, head.identity.seq);
            let trigger = TRIGGERS[usize::from(head.identity.trigger)];
            let (state, id) = (state_of(head), head.book.update_id);
            let what = format!("{what} (frame by {trigger}, book {state} at update id {id})");
            truth.violate(Violation { symbol, at, seq, what });
        }
    }

    fn check_frame(&mut self, at: usize, fold: &SymbolFold, truth: &mut Truth) -> Finding {
        let head = fold.market().image().head();
        let checked = &mut self.symbols[at];
        self.frames += 1;
        equal("seq", head.identity.seq, checked.frames)?;
        checked.frames += 1;
        let input_seq = Some(head.identity.input_seq).filter(|&seq| seq != u64::MAX);
        if input_seq < checked.input_seq {
            return Err(format!("input_seq fell from {:?} to {input_seq:?}", checked.input_seq));
        }
        checked.input_seq = input_seq;
        check_models(checked, &mut truth.symbols[at].models, fold)?;
        if TRIGGERS[usize::from(head.identity.trigger)] == "trade" {
            check_ticks(checked, self.joins_fills, &truth.symbols[at], fold)?;
        }
        check_top(head, &truth.symbols[at])?;
        if state_of(head) != "live" {
            checked.update_id = None;
            return check_not_live(head);
        }
        // A timer before the loss of a link is folded behind it.
        let is_before_loss = TRIGGERS[usize::from(head.identity.trigger)] == "timer"
            && head.times.ts_recv <= truth.links_changed_at.0;
        if !truth.carries(LinkScope::DEPTH) && !is_before_loss {
            return Err("live, and no connection carries depth".to_owned());
        }
        let thaws_at = truth.thaws_at;
        let truth = &mut truth.symbols[at];
        let update_id = head.book.update_id;
        let was_live = checked.update_id.is_some();
        if checked.update_id != Some(update_id) {
            checked.update_id = Some(update_id);
            if truth.advance_to(update_id, &mut self.touched) {
                check_touched(head, fold, truth, &self.touched)?;
            } else {
                // A snapshot lies between two events, or, after a crash, before what the old process had.
                let Some(served) = truth.served_at(update_id) else {
                    return Err(format!(
                        "live at update id {update_id}, where neither an event of the venue nor a snapshot ends"
                    ));
                };
                self.books += 1;
                check_book(head, fold, &served)?;
            }
        }
        if truth.book.update_id == update_id {
            if !was_live {
                self.books += 1;
                check_book(head, fold, &truth.book)?;
            }
            check_levels(head, &truth.book)?;
            check_buckets(head, fold, &truth.book)?;
        }
        let behind = truth.behind_since().map_or(0, |since| head.times.ts_recv - since.0);
        // What waits in the sockets after a freeze is read within a moment.
        let catches_up = head.times.ts_recv < thaws_at.0.saturating_add(Nanos::SECOND.0);
        if head.quality.score >= GOOD_SCORE && behind > self.behind_max.0 && !catches_up {
            return Err(format!(
                "live with a score of {}, and the venue has moved on {} ms ago",
                head.quality.score,
                behind / Nanos::MILLISECOND.0
            ));
        }
        Ok(())
    }

    fn check_second(&mut self, at: usize, g: Nanos, fold: &SymbolFold, truth: &Truth) -> Finding {
        let thaws_at = truth.thaws_at;
        let truth = &truth.symbols[at];
        let head = fold.market().image().head();
        // What the venue's clock said at the timer, which may be long past after a suspend.
        let venue_ms = (g.0 - self.skew.0) / Nanos::MILLISECOND.0;
        if state_of(head) == "live" && truth.book.update_id == head.book.update_id {
            self.books += 1;
            check_book(head, fold, &truth.book)?;
        }
        let candles = &fold.market().windows().candles[0];
        let checked = &mut self.symbols[at];
        // Readers refuse the others; and the next trade or bar proves what is missing.
        let is_fresh = head.quality.sync >= 1.0 && head.quality.freshness >= 1.0;
        checked.fresh_since = is_fresh.then_some(checked.fresh_since.unwrap_or(g.0));
        let settle_ns = SETTLED_MS * Nanos::MILLISECOND.0;
        if checked.fresh_since.is_none_or(|since| g.0 < since.max(thaws_at.0) + settle_ns) {
            return Ok(());
        }
        checked.bars = checked.bars.max(candles.oldest());
        while checked.bars < candles.done() {
            let Some(row) = candles.get(checked.bars) else { break };
            let second = row.open_time.div_euclid(Nanos::SECOND.0);
            // A missing trade is proven by the next one.
            let is_proven = head.flow.last_ts_event >= (second + 1) * Nanos::SECOND.0;
            if venue_ms < (second + 1) * 1_000 + SETTLED_MS || !is_proven {
                break;
            }
            checked.bars += 1;
            let doubtful = CANDLE_HOLE | CANDLE_INCOMPLETE | CANDLE_PARTIAL;
            let is_of_play =
                truth.seconds.first_key_value().is_some_and(|(&first, _)| second > first);
            if row.flags & doubtful == 0 && is_of_play {
                self.bars += 1;
                check_bar(&row, truth.seconds.get(&second))
                    .map_err(|what| format!("{what}, flags {:?}", flags_of(&row)))?;
            }
        }
        Ok(())
    }
}

impl Observer for Checks {
    fn after_timer(&mut self, g: Nanos, symbols: &[SymbolFold]) {
        if g.0.rem_euclid(Nanos::SECOND.0) != 0 {
            return;
        }
        for (at, fold) in symbols.iter().enumerate() {
            self.with_truth(at, fold, |checks, truth| checks.check_second(at, g, fold, truth));
        }
        if g < self.ends_at {
            return;
        }
        let mut truth = self.truth.lock().unwrap_or_else(PoisonError::into_inner);
        let venue_ms = (g.0 - self.skew.0) / Nanos::MILLISECOND.0;
        let unwell = symbols.iter().enumerate().find_map(|(at, fold)| {
            let last_trade = truth.symbols[at].last_trade_before(venue_ms - TRAVELS_MS);
            let behind_since = truth.symbols[at].behind_since().unwrap_or(g);
            let is_behind = g.0 - behind_since.0 > TRAVELS_MS * Nanos::MILLISECOND.0;
            let what = what_is_unwell(fold, is_behind, last_trade)?;
            Some(format!("{}: {what}", truth.symbols[at].name))
        });
        truth.well_at = unwell.is_none().then_some(g);
        truth.unwell = unwell;
    }

    fn after_frame(&mut self, at: usize, symbols: &[SymbolFold]) {
        let fold = &symbols[at];
        self.with_truth(at, fold, |checks, truth| checks.check_frame(at, fold, truth));
    }

    fn at_checkpoint(&mut self, _: u64, _: FoldState<'_>) {}
}

/// What is still to come right when all faults are over.
fn what_is_unwell(fold: &SymbolFold, is_behind: bool, last_trade: Option<u64>) -> Option<String> {
    let head = fold.market().image().head();
    if head.quality.sync < 1.0 || is_behind {
        return Some(format!("book {}, behind the venue: {is_behind}", state_of(head)));
    }
    if let Some(id) = last_trade.filter(|id| *id > head.flow.last_id) {
        return Some(format!("trade {} is the last one, the venue's is {id}", head.flow.last_id));
    }
    let doubtful = CANDLE_HOLE | CANDLE_INCOMPLETE | CANDLE_PARTIAL;
    fold.market().windows().candles.iter().zip(["1s", "1m", "1h", "1d"]).find_map(
        |(candles, of)| {
            let rows = (candles.oldest()..candles.done()).rev().take(ROWS_MENDED);
            let row =
                rows.filter_map(|row| candles.get(row)).find(|row| row.flags & doubtful != 0)?;
            Some(format!("the {of} bar of {} is {:?}", row.open_time, flags_of(&row)))
        },
    )
}

/// What is not proven shows nothing, and no good score.
fn check_not_live(head: &FrameHead) -> Finding {
    equal("the score of a book that is not live", head.quality.score, 0.0)?;
    equal("imbalance_valid", head.imbalance.imbalance_valid, 0)
}

/// The newest row is a trade that the venue made, and no trade comes twice.
fn check_ticks(
    checked: &mut Checked,
    joins_fills: bool,
    truth: &SymbolTruth,
    fold: &SymbolFold,
) -> Finding {
    let window = &fold.market().windows().ticks;
    let from = checked.ticks.max(window.oldest());
    checked.ticks = window.done();
    for row in (from..window.done()).filter_map(|row| window.get(row)) {
        if row.kind != TICK_TRADE {
            continue;
        }
        let Some(trade) = truth.trade(row.id) else {
            return Err(format!("a trade of id {} that the venue never made", row.id));
        };
        equal("a trade's price", row.px, to_f64(i128::from(trade.px.0)))?;
        if !joins_fills {
            equal("a trade's quantity", row.qty, to_f64(i128::from(trade.qty.0)))?;
        }
        equal("a trade's time", row.ts_event, trade.trade_ms * 1_000_000)?;
        checked.last_trade_id = checked.last_trade_id.max(row.id);
    }
    Ok(())
}

/// A bookTicker's best prices are those of its id.
fn check_top(head: &FrameHead, truth: &SymbolTruth) -> Finding {
    if TRIGGERS[usize::from(head.identity.trigger)] != "quote" {
        return Ok(());
    }
    let top = &head.top;
    let Some(quote) = truth.quote(top.update_id) else { return Ok(()) };
    let prices = [quote.bid.0, quote.bid.1, quote.ask.0, quote.ask.1];
    let wanted = prices.map(|value| to_f64(i128::from(value.0)));
    equal("top", [top.bid_px, top.bid_qty, top.ask_px, top.ask_qty], wanted)
}

/// Each level that an update named is what the venue has.
fn check_touched(
    head: &FrameHead,
    fold: &SymbolFold,
    truth: &SymbolTruth,
    touched: &[Touched],
) -> Finding {
    let known = known_range(head, &truth.book);
    for &level in touched {
        let side = if level.is_bid { Side::Buy } else { Side::Sell };
        let (found, wanted) = (fold.market().qty_at(side, Px(level.px)).0, truth.book.qty(level));
        let is_known = if level.is_bid { level.px >= known.0 } else { level.px <= known.1 };
        // Beyond the known range a level may have been dropped by a re-sync, but is never another.
        if found != wanted && (is_known || found != 0) {
            return Err(format!(
                "{} of {} at update id {}: quantity {found}, wanted {wanted} (10^-8)",
                if level.is_bid { "bid" } else { "ask" },
                truth.book.px(level.px),
                head.book.update_id
            ));
        }
    }
    Ok(())
}

/// Lowest bid and highest ask of the range that is known, in ticks.
fn known_range(head: &FrameHead, book: &NaiveBook) -> (i64, i64) {
    (book.ticks_of(head.book.bid_known_to), book.ticks_of(head.book.ask_known_to))
}

/// Every level of the engine is the venue's, and none is missing in the known range.
fn check_book(head: &FrameHead, fold: &SymbolFold, book: &NaiveBook) -> Finding {
    let (bid_to, ask_to) = known_range(head, book);
    let bids = book.bids.iter().rev().map(|(px, qty)| (*px, *qty));
    let asks = book.asks.iter().map(|(px, qty)| (*px, *qty));
    check_side(fold, Side::Buy, bids, &book.bids, |px| px >= bid_to)?;
    check_side(fold, Side::Sell, asks, &book.asks, |px| px <= ask_to)
}

fn check_side(
    fold: &SymbolFold,
    side: Side,
    wanted: impl Iterator<Item = (i64, i64)>,
    book: &std::collections::BTreeMap<i64, i64>,
    is_known: impl Fn(i64) -> bool,
) -> Finding {
    let mut wanted = wanted.take_while(|(px, _)| is_known(*px));
    for level in fold.market().levels(side) {
        let found = (level.px.0, level.qty.0);
        if is_known(level.px.0) {
            equal(&format!("a level of {side:?} (ticks, 10^-8)"), Some(found), wanted.next())?;
        } else {
            let held = book.get(&level.px.0).copied();
            equal(&format!("a far level of {side:?} (10^-8)"), Some(found.1), held)?;
        }
    }
    equal(&format!("a level of {side:?} (ticks, 10^-8)"), None, wanted.next())
}

/// The frame's ten best levels of each side.
fn check_levels(head: &FrameHead, book: &NaiveBook) -> Finding {
    let wanted = |(px, qty): (&i64, &i64)| [book.px(*px), to_f64(i128::from(*qty))];
    for (shown, level) in head.book.bids.iter().zip(book.bids.iter().rev().map(wanted)) {
        equal("a bid of the frame", *shown, level)?;
    }
    for (shown, level) in head.book.asks.iter().zip(book.asks.iter().map(wanted)) {
        equal("an ask of the frame", *shown, level)?;
    }
    Ok(())
}

/// Buckets are the sums over levels, those that are said to be known the venue's; the imbalance follows from them.
fn check_buckets(head: &FrameHead, fold: &SymbolFold, book: &NaiveBook) -> Finding {
    let config = fold.market().config();
    let centre = head.cob.centre_bucket;
    equal("centre_bucket", Some(centre), book.centre())?;
    let (bid_to, ask_to) = known_range(head, book);
    let radius = config.radius();
    let (mut bids, mut asks, mut all_known) = (0_i128, 0_i128, true);
    let buckets = fold.market().image().buckets();
    for (i, bucket) in (centre - radius..=centre + radius).enumerate() {
        let low = bucket * config.bucket_ticks;
        let is_known = low >= bid_to && low + config.bucket_ticks - 1 <= ask_to;
        let says_known = buckets.valid[i / 64] >> (i % 64) & 1 == 1;
        equal(&format!("valid of bucket {bucket}"), says_known, is_known)?;
        let (bid, ask) = book.bucket(bucket);
        let is_near = (bucket - centre).abs() <= config.imbalance_radius();
        if is_known {
            equal(&format!("bid_qty of bucket {bucket}"), buckets.bid_qty[i], to_f64(bid))?;
            equal(&format!("ask_qty of bucket {bucket}"), buckets.ask_qty[i], to_f64(ask))?;
        } else if buckets.bid_qty[i] > to_f64(bid) || buckets.ask_qty[i] > to_f64(ask) {
            return Err(format!("bucket {bucket} holds more than the venue's"));
        }
        if is_near {
            all_known &= is_known;
            bids += bid;
            asks += ask;
        }
    }
    equal("imbalance_valid", head.imbalance.imbalance_valid != 0, all_known)?;
    if all_known && bids + asks != 0 {
        let wanted = to_f64(bids - asks) / to_f64(bids + asks);
        close("imbalance", head.imbalance.imbalance, wanted)?;
    }
    Ok(())
}

/// Every output that was put is there with the next frame, in order.
fn check_models(checked: &mut Checked, truth: &mut ModelTruth, fold: &SymbolFold) -> Finding {
    let head = fold.market().image().head();
    truth.newest_frame = Some((head.identity.seq, head.identity.input_seq));
    let Some(window) = fold.market().windows().models.first() else { return Ok(()) };
    let (rows, put) = (window.done(), truth.put);
    if let Some((rows_before, put_before)) = checked.model_rows.replace((rows, put)) {
        equal("rows of outputs since the frame before", rows - rows_before, put - put_before)?;
    }
    let Some((at, output)) = &truth.newest else { return Ok(()) };
    let row = rows.checked_sub(1).and_then(|row| window.get(row));
    let found = row.as_ref().map(|row| {
        (row.ts_recv, row.seq, row.input_seq, Some(row.action), row.value, row.outputs[1].to_bits())
    });
    let up = output.padded_outputs()[1].to_bits();
    let (seq, input_seq) = (output.answers_seq, output.answers_input_seq);
    let wanted = (at.0, seq, input_seq, output.action(), output.value().unwrap_or(0.0), up);
    equal("the newest output", found, Some(wanted))
}

fn flags_of(row: &CandleRow) -> Vec<&'static str> {
    let set = |(at, name): (usize, &&'static str)| (row.flags >> at & 1 == 1).then_some(*name);
    CANDLE_FLAGS.iter().enumerate().filter_map(set).collect()
}

/// A closed second with nothing said against it is the venue's.
fn check_bar(row: &CandleRow, wanted: Option<&Second>) -> Finding {
    let second = row.open_time / Nanos::SECOND.0;
    let Some(wanted) = wanted else {
        equal(
            &format!("flags of second {second} without a trade"),
            row.flags & CANDLE_FLAT,
            CANDLE_FLAT,
        )?;
        return equal(&format!("trades of second {second}"), row.trade_count, 0);
    };
    let units = |value: i64| to_f64(i128::from(value));
    let found = (row.open, row.high, row.low, row.close, row.volume, row.trade_count);
    let wanted_row = (
        units(wanted.open),
        units(wanted.high),
        units(wanted.low),
        units(wanted.close),
        to_f64(wanted.volume),
        wanted.trade_count,
    );
    equal(&format!("second {second}"), found, wanted_row)?;
    equal(
        &format!("taker_buy_volume of second {second}"),
        row.taker_buy_volume,
        to_f64(wanted.taker_buy_volume),
    )?;
    #[expect(clippy::cast_precision_loss, reason = "compared within the venue's eight places")]
    let quote_volume = wanted.quote_volume as f64 / 1e16;
    if (row.quote_volume - quote_volume).abs() > 1e-7 + 1e-12 * quote_volume {
        return Err(format!(
            "quote_volume of second {second} is {}, wanted {quote_volume}",
            row.quote_volume
        ));
    }
    Ok(())
}
