//! Bars with the venue's klines, against a venue that knows all its trades: history at start, outages, lost trades,
//! late answers. Whatever happens, the closed rows end as the venue's bars, and the ticks have all of its trades once.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::collections::BTreeMap;

use cobring_frame::{
    CANDLE_HOLE, CANDLE_INCOMPLETE, CANDLE_PARTIAL, CandleRow, TICK_TRADE, Trigger, Window,
    WindowRows, place,
};
use cobring_market::{
    BACKFILL_ATTEMPTS_MAX, KlinesWanted, RestoreError, SymbolConfig, SymbolMarket, TradesWanted,
};
use cobring_types::{
    BarInterval, Control, DepthUpdate, Event, Instrument, Kline, KlineSource, LinkScope, Nanos,
    PastTrade, Px, Qty, Side, Stamp, Trade, TradeStream,
};
use proptest::prelude::*;

const MS: i64 = 1_000_000;
const S: i64 = 1_000 * MS;
/// 300 ms before a day ends, so that every interval ends in the first steps.
const START: i64 = 20_000 * 86_400 * S - 300 * MS;

fn market(klines: bool) -> SymbolMarket {
    let instrument = Instrument::new("X", "0.01", 8).unwrap();
    let rows = WindowRows { ticks: 4_096, ..WindowRows::default() };
    common::market(SymbolConfig { instrument, rows, klines, ..common::config(4, &[]) })
}

/// The venue: all trades ever, and its own bars before the first of them, the same price throughout.
#[derive(Default)]
struct Venue {
    trades: Vec<Trade>,
    /// Its first bars open at or after this.
    listed: i64,
}

const LISTED_PX: i64 = 100_000;

impl Venue {
    fn bar(&self, interval: BarInterval, open_time: i64) -> Kline {
        let end = open_time + interval.length().0;
        let before = self.trades.iter().rev().find(|trade| trade.ts_trade.0 < open_time);
        let close = before.map_or(Px(LISTED_PX), |trade| trade.px);
        let mut bar = Kline {
            open_time: Nanos(open_time),
            open: close,
            high: close,
            low: close,
            close,
            volume: Qty(0),
            quote_volume: 0,
            taker_buy_volume: Qty(0),
            taker_buy_quote_volume: 0,
            trade_count: 0,
        };
        for trade in &self.trades {
            if trade.ts_trade.0 < open_time || trade.ts_trade.0 >= end {
                continue;
            }
            if bar.trade_count == 0 {
                (bar.open, bar.high, bar.low) = (trade.px, trade.px, trade.px);
            }
            bar.high = bar.high.max(trade.px);
            bar.low = bar.low.min(trade.px);
            bar.close = trade.px;
            bar.volume.0 += trade.qty.0;
            // 0.01 by 10^-8 is 10^-10; the venue prints 10^-8.
            let quote = trade.px.0 * trade.qty.0 / 100;
            bar.quote_volume += quote;
            if trade.side == Side::Buy {
                bar.taker_buy_volume.0 += trade.qty.0;
                bar.taker_buy_quote_volume += quote;
            }
            bar.trade_count += 1;
        }
        bar
    }

    /// Past trades from an id on.
    fn trades(&self, wanted: &TradesWanted) -> Vec<PastTrade> {
        let from = usize::try_from(wanted.first_id).unwrap() - 1;
        let past = |trade: &Trade| PastTrade {
            ts_trade: trade.ts_trade,
            id: trade.id,
            first_id: trade.first_id,
            last_id: trade.last_id,
            px: trade.px,
            qty: trade.qty,
            taker_sold: u64::from(trade.side == Side::Sell),
        };
        self.trades[from..].iter().take(wanted.limit as usize).map(past).collect()
    }

    /// What a request gets at venue time `now`: the last bar may still be open.
    fn answer(&self, wanted: &KlinesWanted, now: i64) -> Vec<Kline> {
        let length = wanted.interval.length().0;
        let listed = Nanos(self.listed).ceil_to(wanted.interval.length());
        let first = wanted.start.0.max(listed.0);
        (0..i64::from(wanted.limit))
            .map(|at| first + at * length)
            .take_while(|&open_time| open_time <= now)
            .map(|open_time| self.bar(wanted.interval, open_time))
            .collect()
    }
}

struct Driver {
    market: SymbolMarket,
    venue: Venue,
    now: i64,
    next_timer: i64,
    seq: u64,
    /// The trade link is up.
    linked: bool,
    /// A trade was received.
    received: bool,
    /// What was asked, and when the answer comes.
    asked: Option<(KlinesWanted, i64)>,
    asked_trades: Option<(TradesWanted, i64)>,
    /// Nobody asks for trades where not.
    asks_trades: bool,
    klines: bool,
    /// The first trade that the ticks have.
    first_id: u64,
    /// REST answers after this long; never where it is negative.
    delay: i64,
    audit: bool,
}

impl Driver {
    fn new(delay_ms: i64, audit: bool) -> Self {
        Self {
            market: market(true),
            venue: Venue::default(),
            now: START,
            next_timer: START,
            seq: 0,
            linked: false,
            received: false,
            asked: None,
            asked_trades: None,
            asks_trades: true,
            klines: true,
            first_id: 0,
            delay: delay_ms * MS,
            audit,
        }
    }

    fn event(&mut self, event: &Event<'_>) {
        let stamp = Stamp {
            input_seq: self.seq,
            ts_recv: Nanos(self.now),
            ts_kernel: Nanos::UNDEF,
            ts_parsed: Nanos::UNDEF,
        };
        self.seq += 1;
        if self.market.on_event(&stamp, event).is_some() {
            self.market.frame_done();
        }
    }

    /// The engine ends, and the next one begins after `away`; the venue trades meanwhile.
    fn restart(&mut self, away: i64) {
        self.linked = false;
        (self.asked, self.asked_trades) = (None, None);
        self.now += away / 2;
        self.trade(LISTED_PX + 41, 3, false, false);
        self.now += away - away / 2;
        let left = std::mem::replace(&mut self.market, market(self.klines));
        match self.market.resume(&left) {
            Ok(()) => {}
            Err(RestoreError::Unfinished) => self.received = false,
            Err(other) => panic!("{other}"),
        }
        self.seq = 0;
        self.next_timer = Nanos(self.now).ceil_to(Nanos(100 * MS)).0;
        self.link(true);
    }

    fn take(&mut self, steps: &[(i64, Step)]) {
        for &(wait_ms, step) in steps {
            self.advance(wait_ms * MS);
            match step {
                Step::Trade { px, qty, buy, lost } => self.trade(px, qty, buy, lost),
                Step::Link(up) => self.link(up),
                Step::Late { back } => self.late(back),
                Step::Restart { away_ms } => self.restart(away_ms * MS),
            }
        }
    }

    fn link(&mut self, up: bool) {
        let (connection, scope) = (0, LinkScope::ALL);
        self.linked = up;
        self.event(&Event::Control(if up {
            Control::LinkUp { connection, scope }
        } else {
            Control::LinkDown { connection, scope }
        }));
    }

    /// Lets time pass in steps of a timer: answers come, the venue's clock is heard, bars are told.
    fn advance(&mut self, by: i64) {
        let until = self.now + by;
        while self.next_timer <= until {
            let g = self.next_timer;
            self.next_timer += 100 * MS;
            self.now = g;
            self.market.on_timer(Nanos(g));
            self.market.frame_done();
            if self.linked && g % S == 0 {
                // A depth message: the venue's clock is ours here.
                self.event(&Event::Depth(DepthUpdate {
                    ts_event: Nanos(g),
                    first_update_id: 1,
                    last_update_id: 1,
                    bids: &[],
                    asks: &[],
                }));
                if self.audit {
                    self.tell(g);
                }
            }
            if let Some((wanted, at)) = self.asked
                && at <= g
            {
                self.asked = None;
                let rows = self.venue.answer(&wanted, g);
                let (interval, source) = (wanted.interval, KlineSource::Rest);
                self.event(&Event::Klines { interval, source, rows: &rows });
            }
            if let (Some(wanted), None) = (self.market.klines_wanted(), self.asked) {
                let KlinesWanted { interval, start, limit } = wanted;
                self.event(&Event::Control(Control::KlinesRequested { interval, start, limit }));
                let at = if self.delay < 0 { i64::MAX } else { g + self.delay };
                self.asked = Some((wanted, at));
            }
            if let Some((wanted, at)) = self.asked_trades
                && at <= g
            {
                self.asked_trades = None;
                let rows = self.venue.trades(&wanted);
                self.event(&Event::Trades { stream: wanted.stream, rows: &rows });
            }
            let wanted = self.market.trades_wanted().filter(|_| self.asks_trades);
            if let (Some(wanted), None) = (wanted, self.asked_trades) {
                let TradesWanted { stream, first_id, limit } = wanted;
                self.event(&Event::Control(Control::TradesRequested { stream, first_id, limit }));
                let at = if self.delay < 0 { i64::MAX } else { g + self.delay };
                self.asked_trades = Some((wanted, at));
            }
        }
        self.now = until;
    }

    /// The bars that have just ended, by the kline streams.
    fn tell(&mut self, g: i64) {
        for interval in BarInterval::ALL {
            let length = interval.length().0;
            if g % length == 0 {
                let rows = [self.venue.bar(interval, g - length)];
                let source = KlineSource::Stream;
                self.event(&Event::Klines { interval, source, rows: &rows });
            }
        }
    }

    fn trade(&mut self, px: i64, qty: i64, buy: bool, lost: bool) {
        let id = self.venue.trades.len() as u64 + 1;
        let trade = Trade {
            stream: TradeStream::Trade,
            ts_event: Nanos(self.now),
            ts_trade: Nanos(self.now),
            id,
            first_id: id,
            last_id: id,
            px: Px(px),
            // Whole units of 10^-6: products print exactly in 8 decimals.
            qty: Qty(qty * 100),
            side: if buy { Side::Buy } else { Side::Sell },
        };
        self.venue.trades.push(trade);
        // A loss shows in the ids of what came before and after it.
        if self.linked && !(lost && self.received) {
            if !std::mem::replace(&mut self.received, true) {
                self.first_id = id;
            }
            self.event(&Event::Trade(trade));
        }
    }

    /// Another connection brings an earlier trade, known or missed.
    fn late(&mut self, back: usize) {
        let at = self.venue.trades.len().checked_sub(back);
        let Some(trade) = at.and_then(|at| self.venue.trades.get(at).copied()) else { return };
        // The first one of a run says that the venue goes on numbering.
        let begun = self.market.counters().trades > 0;
        if self.linked && self.received && begun && trade.id >= self.first_id {
            let last = self.market.last_fill();
            // What is ahead of the last one is no late trade.
            if last.is_some_and(|(last_id, _)| trade.id <= last_id) {
                self.event(&Event::Trade(trade));
            }
        }
    }

    /// The ticks have each trade from the first one on, once.
    fn check_ticks(&self) -> Result<(), TestCaseError> {
        let ticks = &self.market.windows().ticks;
        let rows = (ticks.oldest()..ticks.done()).map(|index| ticks.get(index).unwrap());
        let mut ids: Vec<u64> =
            rows.filter(|row| row.kind == TICK_TRADE).map(|row| row.id).collect();
        ids.sort_unstable();
        ids.retain(|&id| id >= self.first_id);
        let all: Vec<u64> = (self.first_id..=self.venue.trades.len() as u64).collect();
        prop_assert_eq!(ids, all);
        Ok(())
    }

    /// Every closed row of an interval is the venue's bar.
    fn check(&self, interval: BarInterval) -> Result<(), TestCaseError> {
        let rows = rows(&self.market.windows().candles[interval.at()]);
        for pair in rows.windows(2) {
            prop_assert_eq!(pair[1].open_time - pair[0].open_time, interval.length().0);
        }
        for row in &rows {
            let venue = self.venue.bar(interval, row.open_time);
            prop_assert_eq!(
                row.flags & (CANDLE_HOLE | CANDLE_INCOMPLETE | CANDLE_PARTIAL),
                0,
                "{:?} {:?}",
                interval,
                row
            );
            prop_assert_eq!(
                cells(row),
                cells_of(&venue),
                "{:?} at {} of {}",
                interval,
                row.open_time,
                self.now
            );
        }
        Ok(())
    }
}

/// Those that readers are promised.
fn rows(window: &Window<CandleRow>) -> Vec<CandleRow> {
    (window.oldest().max(window.done().saturating_sub(1_500))..window.done())
        .map(|index| window.get(index).unwrap())
        .collect()
}

/// In ticks and units again, so that they compare exactly.
#[expect(clippy::cast_possible_truncation, reason = "whole numbers")]
fn cells(row: &CandleRow) -> [i64; 9] {
    let ticks = |px: f64| (px * 100.0).round() as i64;
    let units = |qty: f64| (qty * 1e8).round() as i64;
    [
        ticks(row.open),
        ticks(row.high),
        ticks(row.low),
        ticks(row.close),
        units(row.volume),
        units(row.quote_volume),
        units(row.taker_buy_volume),
        units(row.taker_buy_quote_volume),
        row.trade_count.cast_signed(),
    ]
}

fn cells_of(kline: &Kline) -> [i64; 9] {
    [
        kline.open.0,
        kline.high.0,
        kline.low.0,
        kline.close.0,
        kline.volume.0,
        kline.quote_volume,
        kline.taker_buy_volume.0,
        kline.taker_buy_quote_volume,
        kline.trade_count.cast_signed(),
    ]
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Trade { px: i64, qty: i64, buy: bool, lost: bool },
    Link(bool),
    Late { back: usize },
    Restart { away_ms: i64 },
}

fn steps() -> impl Strategy<Value = Vec<(i64, Step)>> {
    let trade = (-40i64..40, 1i64..50, any::<bool>(), prop::bool::weighted(0.04))
        .prop_map(|(px, qty, buy, lost)| Step::Trade { px: LISTED_PX + px, qty, buy, lost });
    let restart = (1i64..100_000).prop_map(|away_ms| Step::Restart { away_ms });
    let late = (1usize..12).prop_map(|back| Step::Late { back });
    let link = any::<bool>().prop_map(Step::Link);
    let step = prop_oneof![30 => trade, 1 => link, 1 => late, 1 => restart];
    prop::collection::vec((0i64..3_000, step), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn closed_rows_end_as_the_venues_bars(steps in steps(), delay_ms in 0i64..1_500, audit in any::<bool>()) {
        let mut driver = Driver::new(delay_ms, audit);
        driver.link(true);
        driver.advance(200 * MS);
        driver.take(&steps);
        // Quiet for a while: the last doubtful bars end and are asked for.
        driver.link(true);
        driver.trade(LISTED_PX, 1, true, false);
        driver.advance(70 * S);
        driver.trade(LISTED_PX, 1, true, false);
        driver.advance(70 * S);
        driver.check_ticks()?;
        let counters = driver.market.counters();
        prop_assert_eq!(counters.trades_missing, counters.trades_backfilled);
        prop_assert_eq!(counters.trades_unfillable, 0);
        for interval in BarInterval::ALL {
            driver.check(interval)?;
            let rows = driver.market.windows().candles[interval.at()].done();
            prop_assert!(rows >= 1_500, "{rows} rows of {interval:?}");
        }
        let head = driver.market.image().head();
        for (at, interval) in BarInterval::ALL.into_iter().enumerate().skip(1) {
            let open = &head.open[at];
            let venue = driver.venue.bar(interval, open.open_time);
            prop_assert_eq!(cells(open), cells_of(&venue), "open bar of {:?}", interval);
        }
        // A lost trade, or one missed just before a link came up, may show by the venue's bar before its id.
        let lossless = steps.iter().all(|(_, step)| {
            !matches!(step, Step::Trade { lost: true, .. } | Step::Link(false) | Step::Restart { .. })
        });
        if lossless {
            prop_assert_eq!(driver.market.counters().kline_mismatches, 0);
        }
        prop_assert_eq!(driver.market.counters().klines_unasked, 0);
    }
}

/// The same without the venue's bars: trades alone make the rows whole.
fn without_klines(steps: &[(i64, Step)], delay_ms: i64) -> Driver {
    let mut driver = Driver::new(delay_ms, false);
    (driver.market, driver.klines) = (market(false), false);
    driver.link(true);
    driver.advance(200 * MS);
    driver.trade(LISTED_PX, 1, true, false);
    driver.take(steps);
    driver.link(true);
    driver.advance(3 * S);
    driver.trade(LISTED_PX, 1, true, false);
    driver.advance(5 * S);
    // One gap is asked for after the other, and there are as many as steps at most.
    for _ in steps {
        let counters = driver.market.counters();
        if counters.trades_missing == counters.trades_backfilled {
            break;
        }
        driver.advance(5 * S);
    }
    driver
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn trades_that_come_after_all_make_bars_whole(steps in steps(), delay_ms in 0i64..3_000) {
        let driver = without_klines(&steps, delay_ms);
        driver.check_ticks()?;
        let counters = driver.market.counters();
        prop_assert_eq!(counters.trades_missing, counters.trades_backfilled);
        prop_assert_eq!(counters.trades_unfillable, 0);
        // What comes late while it is asked for is answered in vain.
        let late = steps.iter().any(|(_, step)| matches!(step, Step::Late { .. }));
        prop_assert!(late || counters.trades_unmissed == 0);
        let unwatched = steps
            .iter()
            .any(|(_, step)| matches!(step, Step::Link(_) | Step::Restart { .. }));
        for (at, interval) in BarInterval::ALL.into_iter().enumerate() {
            let rows = rows(&driver.market.windows().candles[at]);
            for row in rows.iter().skip(1) {
                let doubtful = CANDLE_HOLE | CANDLE_INCOMPLETE | CANDLE_PARTIAL;
                // Without a trade behind it no id says what an unwatched interval had.
                prop_assert!(unwatched || row.flags & doubtful == 0, "{:?}: {:?}", interval, row);
                if row.flags & CANDLE_HOLE == 0 {
                    let venue = driver.venue.bar(interval, row.open_time);
                    prop_assert_eq!(cells(row), cells_of(&venue), "{:?}: {:?}", interval, row);
                }
            }
        }
    }
}

#[test]
fn a_gap_that_nothing_fills_is_told_and_asked_about_a_few_times() {
    let steps: Vec<(i64, Step)> = (0..20)
        .map(|at| (250, Step::Trade { px: LISTED_PX + at, qty: 1, buy: true, lost: at / 4 == 2 }))
        .collect();
    let mut driver = Driver::new(100, false);
    (driver.market, driver.klines, driver.asks_trades) = (market(false), false, false);
    driver.link(true);
    driver.take(&steps);
    let head = driver.market.image().head();
    assert_eq!(head.valid_rows[place::TICKS], 8, "ticks behind the gap");
    assert_eq!(driver.market.counters().trades_missing, 4);
    let mut asked = 0;
    for _ in 0..3_000 {
        driver.advance(100 * MS);
        if let Some(TradesWanted { stream, first_id, limit }) = driver.market.trades_wanted() {
            assert_eq!((first_id, limit), (9, 4));
            driver.event(&Event::Control(Control::TradesRequested { stream, first_id, limit }));
            driver.event(&Event::Trades { stream, rows: &[] });
            asked += 1;
        }
    }
    assert_eq!(asked, BACKFILL_ATTEMPTS_MAX);
    let counters = driver.market.counters();
    assert_eq!((counters.trades_unfillable, counters.trades_backfilled), (4, 0));
    assert_eq!(driver.market.image().head().valid_rows[place::TICKS], 8);
    let flagged = rows(&driver.market.windows().candles[0])
        .iter()
        .filter(|row| row.flags & CANDLE_INCOMPLETE != 0)
        .count();
    assert_eq!(flagged, 2, "the seconds of the trades around the gap, and between");
    assert_ne!(driver.market.image().head().open[3].flags & CANDLE_INCOMPLETE, 0);
}

#[test]
fn what_was_missed_is_history_and_no_flow() {
    let trades = |lost: bool| {
        (0..12).map(move |at| {
            let lost = lost && (4..8).contains(&at);
            (300, Step::Trade { px: LISTED_PX + at, qty: 1 + at, buy: at % 2 == 0, lost })
        })
    };
    let mut driver = Driver::new(0, false);
    (driver.market, driver.klines, driver.asks_trades) = (market(false), false, false);
    driver.link(true);
    driver.take(&trades(true).collect::<Vec<_>>());
    let before = *driver.market.image().head();
    driver.advance(S);
    let wanted = driver.market.trades_wanted().unwrap();
    let TradesWanted { stream, first_id, limit } = wanted;
    driver.event(&Event::Control(Control::TradesRequested { stream, first_id, limit }));
    let flow = *driver.market.image().head();
    let rows = driver.venue.trades(&wanted);
    driver.event(&Event::Trades { stream, rows: &rows });
    let after = *driver.market.image().head();
    assert_eq!(bytemuck::bytes_of(&after.flow), bytemuck::bytes_of(&flow.flow));
    assert_eq!(bytemuck::bytes_of(&after.price), bytemuck::bytes_of(&flow.price));
    assert_eq!(after.quality.age_trade, flow.quality.age_trade);
    assert_eq!(after.identity.trigger, Trigger::Repair as u8);
    assert_eq!((before.valid_rows[place::TICKS], after.valid_rows[place::TICKS]), (4, 12));
    let ticks = &driver.market.windows().ticks;
    let past: Vec<_> =
        (ticks.done() - 4..ticks.done()).map(|index| ticks.get(index).unwrap()).collect();
    for (row, at) in past.iter().zip(4..) {
        assert_eq!((row.id, row.ts_recv), (at + 1, driver.now));
        assert_eq!(row.ts_event, driver.venue.trades[usize::try_from(at).unwrap()].ts_trade.0);
        assert!(row.bid_px.is_nan() && row.ask_qty.is_nan());
    }
    // The same answer again: nobody misses it.
    driver.event(&Event::Trades { stream, rows: &rows });
    let counters = driver.market.counters();
    assert_eq!((counters.trades_unmissed, counters.trades_backfilled), (4, 4));
    assert_eq!(driver.market.windows().ticks.done(), 12);
}

#[test]
fn a_history_is_there_within_ten_seconds_without_a_trade() {
    let mut driver = Driver::new(300, false);
    driver.link(true);
    driver.advance(10 * S);
    for interval in BarInterval::ALL {
        assert!(driver.market.windows().candles[interval.at()].done() >= 1_500, "{interval:?}");
        driver.check(interval).unwrap();
    }
    assert_eq!(driver.market.counters().histories_missed, 0);
}

#[test]
fn the_first_trade_of_a_second_connection_proves_no_bar_before_it() {
    for second in [false, true] {
        let mut driver = Driver::new(300, false);
        driver.link(true);
        driver.advance(10 * S);
        let begun = driver.market.windows().candles[0].done();
        driver.delay = -1;
        // On its way on the first connection, which delivers no more.
        driver.linked = false;
        driver.trade(LISTED_PX + 7, 1, true, false);
        driver.linked = true;
        driver.advance(S);
        if second {
            let (connection, scope) = (1, LinkScope::ALL);
            driver.event(&Event::Control(Control::LinkUp { connection, scope }));
        }
        driver.advance(S);
        driver.trade(LISTED_PX + 9, 1, true, false);
        let seconds = &driver.market.windows().candles[0];
        assert!(seconds.done() > begun);
        for row in (begun..seconds.done()).map(|index| seconds.get(index).unwrap()) {
            assert_eq!(row.flags & CANDLE_INCOMPLETE != 0, second, "{row:?}");
        }
        driver.delay = 300 * MS;
        driver.asked = None;
        driver.advance(5 * S);
        driver.check(BarInterval::Second).unwrap();
    }
}

#[test]
fn a_bar_that_began_without_a_connection_lacks_trades_however_many_come_after() {
    let mut driver = Driver::new(300, false);
    driver.link(true);
    driver.trade(LISTED_PX, 1, true, false);
    driver.advance(10 * S);
    driver.trade(LISTED_PX + 1, 1, true, false);
    driver.link(false);
    driver.delay = -1;
    // Into the next second, in which the venue trades; the bar before it still waits for its last trades.
    driver.advance(S - driver.now.rem_euclid(S) + 20 * MS);
    driver.trade(LISTED_PX + 9, 5, true, false);
    driver.advance(20 * MS);
    let begun = driver.market.windows().candles[0].done();
    for connection in [0, 1] {
        let scope = LinkScope::ALL;
        driver.linked = true;
        driver.event(&Event::Control(Control::LinkUp { connection, scope }));
    }
    driver.advance(2 * S);
    let seconds = &driver.market.windows().candles[0];
    let told = |index| seconds.get(index).unwrap().flags & (CANDLE_INCOMPLETE | CANDLE_HOLE) != 0;
    assert!(seconds.done() > begun + 1 && told(begun) && told(begun + 1));
    driver.delay = 300 * MS;
    driver.asked = driver.asked.map(|(wanted, _)| (wanted, driver.now));
    driver.advance(5 * S);
    driver.check(BarInterval::Second).unwrap();
}

#[test]
fn without_answers_own_bars_begin_after_half_a_minute() {
    let mut driver = Driver::new(-1, false);
    driver.link(true);
    for step in 0..35 {
        driver.trade(LISTED_PX + step, 1, true, false);
        driver.advance(S);
    }
    assert_eq!(driver.market.counters().histories_missed, 1);
    let rows = rows(&driver.market.windows().candles[0]);
    // From the first whole second behind the first trade: none of it was missed.
    assert_eq!(rows[0].open_time, START + 300 * MS);
    assert!(rows.len() >= 30 && rows.iter().all(|row| row.trade_count == 1 && row.flags == 0));
    // That second begins a minute and a day.
    assert_eq!(driver.market.image().head().open[1].flags, 0);
}

#[test]
fn a_bar_that_is_not_the_venues_is_repaired_and_counted() {
    let mut driver = Driver::new(100, true);
    driver.link(true);
    driver.advance(10 * S);
    // The venue counts a trade that no id tells of.
    driver.trade(LISTED_PX + 5, 7, true, false);
    let mut hidden = *driver.venue.trades.last().unwrap();
    hidden.px = Px(LISTED_PX + 9);
    driver.venue.trades.push(hidden);
    driver.advance(3 * S);
    driver.check(BarInterval::Second).unwrap();
    assert_eq!(driver.market.counters().kline_mismatches, 1);
    let repaired = rows(&driver.market.windows().candles[0]);
    let flagged: Vec<_> = repaired.iter().filter(|row| row.flags & 16 != 0).collect();
    assert_eq!(flagged.len(), 1);
    assert!(driver.market.image().head().quality.consistency < 1.0);
}

#[test]
fn a_young_symbol_has_all_there_are() {
    let mut driver = Driver::new(100, false);
    driver.venue.listed = START - 100 * 86_400 * S;
    driver.link(true);
    driver.advance(10 * S);
    let done: BTreeMap<_, _> = BarInterval::ALL
        .into_iter()
        .map(|interval| (interval.name(), driver.market.windows().candles[interval.at()].done()))
        .collect();
    // A day has just ended.
    assert_eq!(done["1d"], 100);
    assert!(done["1h"] >= 1_500 && done["1s"] >= 1_500, "{done:?}");
}

#[test]
fn a_run_goes_on_from_the_one_before_and_fills_the_hole() {
    for away_s in [1, 59, 3_600, 2 * 86_400] {
        let mut driver = Driver::new(200, true);
        driver.link(true);
        driver.advance(10 * S);
        for step in 0..200 {
            driver.trade(LISTED_PX + step % 17 - step % 7, 1 + step, step % 2 == 0, false);
            driver.advance(700 * MS);
        }
        let before = *driver.market.image().head();
        driver.restart(away_s * S);
        let head = driver.market.image().head();
        assert!(driver.market.windows().candles.iter().all(|window| window.done() == 1_500));
        assert_eq!(head.pivots[0][0].trend, before.pivots[0][0].trend, "{away_s}");
        assert!(driver.market.windows().pivots[0][0].done() > 0);
        assert!(head.valid_rows[0] <= 1_500 && !driver.market.is_live());
        driver.trade(LISTED_PX + 2, 5, true, false);
        driver.advance(130 * S);
        driver.trade(LISTED_PX + 3, 5, true, false);
        driver.advance(70 * S);
        for interval in BarInterval::ALL {
            driver.check(interval).unwrap();
            assert!(driver.market.windows().candles[interval.at()].done() >= 1_500);
        }
    }
}
