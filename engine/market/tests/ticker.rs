//! The 24 h ticker in a symbol's market: its row, and the price that it gives where nothing else does.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use bytemuck::Zeroable as _;
use cobring_frame::UNDEF;
use cobring_market::SymbolMarket;
use cobring_types::{Control, Event, Nanos, Px, Qty, Quote, Stamp, Ticker};

const MS: i64 = 1_000_000;

fn event(market: &mut SymbolMarket, at_ms: i64, event: &Event<'_>) {
    let ts_recv = Nanos(at_ms * MS);
    let (ts_kernel, ts_parsed) = (Nanos::UNDEF, Nanos::UNDEF);
    market.on_event(&Stamp { input_seq: 0, ts_recv, ts_kernel, ts_parsed }, event);
    market.frame_done();
}

fn timer(market: &mut SymbolMarket, at_ms: i64) {
    market.on_timer(Nanos(at_ms * MS));
    market.frame_done();
}

fn ticker(last_px: i64) -> Ticker {
    Ticker { last_px: Px(last_px), ..Ticker::zeroed() }
}

/// Of the newest frame: source (its number), price and age in ms.
fn price(market: &SymbolMarket) -> (u8, f64, i64) {
    let price = market.image().head().price;
    (price.source, price.px, price.age.checked_div(MS).unwrap())
}

const FROM_QUOTE: u8 = 0;
const FROM_TICKER: u8 = 3;
const FROM_NOTHING: u8 = 4;

#[test]
fn what_is_on_no_tick_is_the_nearest_double() {
    let mut market = common::market(common::config(4, &[]));
    let told = Ticker {
        ts_event: Nanos(1),
        price_change: -30_000_000,
        price_change_percent: -1_019_700_000,
        weighted_avg_px: 254_162_417_319,
        prev_close_px: Px(7),
        last_px: Px(268_380),
        last_qty: Qty(1),
        bid_px: Px(2),
        bid_qty: Qty(3),
        ask_px: Px(4),
        ask_qty: Qty(5),
        open_px: Px(6),
        high_px: Px(8),
        low_px: Px(9),
        volume: Qty(10),
        quote_volume: 9_007_199_254_740_993,
        open_time: Nanos(11),
        close_time: Nanos(12),
        first_trade_id: 13,
        last_trade_id: Ticker::NO_TRADE,
        trade_count: 14,
    };
    event(&mut market, 1_000, &Event::Ticker(&told));
    let row = market.windows().ticker.last().unwrap();
    assert_eq!((row.ts_event, row.ts_recv), (1, 1_000 * MS));
    let found: [(f64, f64); 15] = [
        (row.price_change, -0.3),
        (row.price_change_percent, -10.197),
        (row.weighted_avg_px, 2541.62417319),
        (row.prev_close_px, 0.07),
        (row.last_px, 2683.8),
        (row.last_qty, 0.01),
        (row.bid_px, 0.02),
        (row.bid_qty, 0.03),
        (row.ask_px, 0.04),
        (row.ask_qty, 0.05),
        (row.open_px, 0.06),
        (row.high_px, 0.08),
        (row.low_px, 0.09),
        (row.volume, 0.1),
        (row.quote_volume, 90_071_992.547_409_93),
    ];
    for (at, (found, expected)) in found.into_iter().enumerate() {
        assert_eq!(found.to_bits(), expected.to_bits(), "{at}: {found}, not {expected}");
    }
    assert_eq!((row.open_time, row.close_time), (11, 12));
    assert_eq!((row.first_trade_id, row.last_trade_id, row.trade_count), (13, UNDEF, 14));
}

#[test]
fn a_ticker_is_wanted_and_shown_where_there_is_no_other_price() {
    let mut market = common::market(common::config(4, &[]));
    timer(&mut market, 100);
    assert!(!market.ticker_wanted(), "one timer is none");
    timer(&mut market, 200);
    assert!(market.ticker_wanted());
    event(&mut market, 250, &Event::Control(Control::TickerRequested));
    timer(&mut market, 300);
    assert!(!market.ticker_wanted(), "asked for");
    assert_eq!(market.image().head().price.source, FROM_NOTHING);
    event(&mut market, 350, &Event::Ticker(&ticker(268_380)));
    timer(&mut market, 400);
    assert_eq!(price(&market), (FROM_TICKER, 2683.8, 50));
    timer(&mut market, 5_300);
    timer(&mut market, 5_350);
    assert!(!market.ticker_wanted(), "5 s old");
    timer(&mut market, 5_400);
    assert!(!market.ticker_wanted());
    timer(&mut market, 5_500);
    assert!(market.ticker_wanted());
    assert_eq!(price(&market), (FROM_TICKER, 2683.8, 5_150));

    let [bid_px, ask_px] = [Px(100), Px(102)];
    let [bid_qty, ask_qty] = [Qty(1), Qty(1)];
    let quote = Quote { update_id: 1, bid_px, bid_qty, ask_px, ask_qty };
    event(&mut market, 5_550, &Event::Quote(quote));
    timer(&mut market, 5_600);
    assert!(!market.ticker_wanted(), "withdrawn");
    assert_eq!(price(&market), (FROM_QUOTE, 1.01, 50));
    timer(&mut market, 6_600);
    assert_eq!(price(&market), (FROM_TICKER, 2683.8, 6_250));
    timer(&mut market, 6_700);
    assert!(market.ticker_wanted());
}

#[test]
fn a_ticker_without_a_last_price_is_no_price_and_not_asked_for_at_once() {
    let mut market = common::market(common::config(4, &[]));
    event(&mut market, 50, &Event::Ticker(&ticker(0)));
    for at_ms in [100, 200, 5_000] {
        timer(&mut market, at_ms);
        assert_eq!(market.image().head().price.source, FROM_NOTHING);
        assert!(!market.ticker_wanted(), "{at_ms}");
    }
    assert_eq!(market.windows().ticker.done(), 1);
}

#[test]
fn a_checkpoint_keeps_what_was_asked_for() {
    let mut market = common::market(common::config(4, &[]));
    timer(&mut market, 100);
    timer(&mut market, 200);
    event(&mut market, 250, &Event::Control(Control::TickerRequested));
    let mut restored = common::market(common::config(4, &[]));
    restored.restore(&market.save(), |_| &[]).unwrap();
    for at_ms in [300, 5_000, 5_200, 5_300] {
        timer(&mut market, at_ms);
        timer(&mut restored, at_ms);
        assert_eq!(market.ticker_wanted(), at_ms >= 5_300, "{at_ms}");
        assert_eq!(restored.ticker_wanted(), market.ticker_wanted(), "{at_ms}");
    }
}

#[test]
fn a_new_run_takes_the_price_over_and_asks_for_its_own() {
    let mut left = common::market(common::config(4, &[]));
    event(&mut left, 50, &Event::Ticker(&ticker(268_380)));
    timer(&mut left, 5_100);
    timer(&mut left, 5_200);
    event(&mut left, 5_250, &Event::Control(Control::TickerRequested));
    let mut market = common::market(common::config(4, &[]));
    market.resume(&left).unwrap();
    assert!(!market.ticker_wanted());
    timer(&mut market, 6_000);
    assert_eq!(price(&market), (FROM_TICKER, 2683.8, 5_950));
    assert!(!market.ticker_wanted());
    timer(&mut market, 6_100);
    assert!(market.ticker_wanted(), "the run before asked, this one has not");
}
