//! Each message of the venue, from its fixture to its events.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use cobring_json::JsonError;
use cobring_types::{
    BarInterval, Control, DecimalError, Input, InputKind, InstrumentStatus, Kline, KlineSource,
    Level, LinkScope, ModelIndex, ModelOutput, Nanos, PastTrade, Px, Qty, Quote, Side, Symbol,
    SymbolIndex, Ticker, Trade, TradeStream,
};
use cobring_venue::binance::{
    ApiError, api_error, is_any_halted_in_exchange_info, tick_size_in_exchange_info,
};
use cobring_venue::{DecodeError, Decoded};
use common::{
    BTC, ETH, NKN, Owned, decode, decode_text, decoder, fixture, fixtures, input, instruments,
};

fn level(px: i64, qty: i64) -> Level {
    Level { px: Px(px), qty: Qty(qty) }
}

fn ms(millis: i64) -> Nanos {
    Nanos(millis * 1_000_000)
}

fn check_event(name: &str, symbol: SymbolIndex, expected: Owned) {
    let (decoded, events) = decode_text(&fixture(name));
    assert_eq!(decoded, Ok(Decoded::Events(1)), "{name}");
    assert_eq!(events, [(symbol, expected)], "{name}");
}

fn check_other(name: &str, expected: Decoded) {
    assert_eq!(decode_text(&fixture(name)).0, Ok(expected), "{name}");
}

#[test]
fn depth_updates() {
    check_event(
        "ws_depth",
        ETH,
        Owned::Depth {
            ts_event: ms(1_723_161_255_308),
            first: 35_346_513_499,
            last: 35_346_513_505,
            bids: vec![
                level(268_380, 302_920_000),
                level(267_900, 2_821_530_000),
                level(267_481, 147_500_000),
                level(267_454, 310_000),
                level(263_902, 200_000_000),
                level(250_000, 35_290_500_000),
            ],
            asks: vec![level(273_370, 0)],
        },
    );
    check_event(
        "ws_depth_raw",
        BTC,
        Owned::Depth {
            ts_event: ms(1_723_161_255_308),
            first: 50_093_239_203,
            last: 50_093_239_207,
            bids: vec![level(5_565_387, 0)],
            asks: vec![
                level(6_183_804, 32_332_000),
                level(6_184_430, 40_163_000),
                level(6_186_250, 5_019_000),
                level(6_186_251, 0),
            ],
        },
    );
    check_event(
        "ws_depth_microseconds",
        ETH,
        Owned::Depth {
            ts_event: Nanos(1_723_161_255_308_417_000),
            first: 35_346_513_506,
            last: 35_346_513_512,
            bids: vec![level(268_380, 302_920_000)],
            asks: vec![],
        },
    );
}

#[test]
fn trades_of_both_streams() {
    let trade = |stream, times: [i64; 2], ids: [u64; 3], px, qty, side| {
        let ([ts_event, ts_trade], [id, first_id, last_id]) = (times, ids);
        let (ts_event, ts_trade, px, qty) = (ms(ts_event), ms(ts_trade), Px(px), Qty(qty));
        Owned::Trade(Trade { stream, ts_event, ts_trade, id, first_id, last_id, px, qty, side })
    };
    check_event(
        "ws_trade",
        ETH,
        trade(
            TradeStream::Trade,
            [1_723_161_255_612, 1_723_161_255_611],
            [1_520_538_925; 3],
            268_380,
            200_000,
            Side::Sell,
        ),
    );
    check_event(
        "ws_trade_raw",
        BTC,
        trade(
            TradeStream::Trade,
            [1_723_161_255_343, 1_723_161_255_342],
            [3_735_683_259; 3],
            6_183_763,
            2_000_000,
            Side::Sell,
        ),
    );
    check_event(
        "ws_agg_trade",
        NKN,
        trade(
            TradeStream::AggTrade,
            [1_633_998_523_963; 2],
            [15_683_430, 19_862_790, 19_862_790],
            3_528,
            5_800_000_000,
            Side::Buy,
        ),
    );
}

#[test]
fn quotes_without_an_event_name() {
    let eth = Quote {
        update_id: 35_346_513_501,
        bid_px: Px(268_380),
        bid_qty: Qty(302_920_000),
        ask_px: Px(268_381),
        ask_qty: Qty(3_143_950_000),
    };
    check_event("ws_book_ticker", ETH, Owned::Quote(eth));
    let btc = Quote {
        update_id: 50_093_239_212,
        bid_px: Px(6_183_763),
        bid_qty: Qty(378_826_000),
        ask_px: Px(6_183_764),
        ask_qty: Qty(154_698_000),
    };
    check_event("ws_book_ticker_raw", BTC, Owned::Quote(btc));
}

#[test]
fn tickers() {
    let ticker = Ticker {
        ts_event: ms(1_723_161_256_012),
        price_change: 24_835_000_000,
        price_change_percent: 1_019_700_000,
        weighted_avg_px: 254_162_417_319,
        prev_close_px: Px(243_545),
        last_px: Px(268_380),
        last_qty: Qty(200_000),
        bid_px: Px(268_380),
        bid_qty: Qty(302_920_000),
        ask_px: Px(268_381),
        ask_qty: Qty(3_143_950_000),
        open_px: Px(243_545),
        high_px: Px(272_300),
        low_px: Px(232_114),
        volume: Qty(69_412_341_290_000),
        quote_volume: 176_420_084_032_516_300,
        open_time: ms(1_723_074_856_012),
        close_time: ms(1_723_161_256_012),
        first_trade_id: 1_518_905_321,
        last_trade_id: 1_520_538_925,
        trade_count: 1_633_605,
    };
    check_event("ws_ticker", ETH, Owned::Ticker(ticker));
    let answered = Ticker {
        ts_event: ms(1_723_161_257_012),
        price_change: -1_395_000_000,
        price_change_percent: -51_700_000,
        prev_close_px: Px(269_775),
        open_px: Px(269_775),
        open_time: ms(1_723_074_857_012),
        close_time: ms(1_723_161_257_012),
        ..ticker
    };
    let body = fixture("rest_ticker");
    let (decoded, events) = decode(&mut decoder(), &rest(InputKind::RestTicker, ETH, 0, &body));
    assert_eq!(decoded, Ok(Decoded::Events(1)));
    assert_eq!(events, [(ETH, Owned::Ticker(answered))]);

    let idle = String::from_utf8(body.clone()).unwrap();
    let idle = idle.replace("1518905321", "-1").replace("1520538925", "-1");
    let idle = rest(InputKind::RestTicker, ETH, 0, idle.as_bytes());
    let (first_trade_id, last_trade_id) = (Ticker::NO_TRADE, Ticker::NO_TRADE);
    let idle_ticker = Ticker { first_trade_id, last_trade_id, ..answered };
    assert_eq!(decode(&mut decoder(), &idle).1, [(ETH, Owned::Ticker(idle_ticker))]);

    // The answer for another symbol than the one that was asked for.
    let other = decode(&mut decoder(), &rest(InputKind::RestTicker, BTC, 0, &body)).0;
    assert_eq!(other, Err(DecodeError::OutOfRange { field: "symbol", offset: 10 }));
    let unknown = decode(&mut decoder(), &rest(InputKind::RestTicker, SymbolIndex(9), 0, &body)).0;
    assert_eq!(unknown, Err(DecodeError::Input { field: "symbol", found: 9 }));
    let error = fixture("rest_error");
    let refused = decode(&mut decoder(), &rest(InputKind::RestTicker, ETH, 0, &error)).0;
    assert_eq!(refused, Ok(Decoded::Refused { id: None, code: -1121 }));
}

#[test]
fn closed_bars() {
    let kline = Kline {
        open_time: ms(1_723_161_255_000),
        open: Px(6_183_763),
        high: Px(6_183_764),
        low: Px(6_183_763),
        close: Px(6_183_764),
        volume: Qty(16_321_000),
        quote_volume: 1_009_252_060_840,
        taker_buy_volume: Qty(7_140_000),
        taker_buy_quote_volume: 441_520_749_600,
        trade_count: 13,
    };
    let (interval, source) = (BarInterval::Second, KlineSource::Stream);
    check_event("ws_kline", BTC, Owned::Klines { interval, source, rows: vec![kline] });
    let of_type = |field, expected| move |offset| DecodeError::Type { field, expected, offset };
    check_error("ws_kline", "\"x\":true", "\"x\":^1", of_type("x", "boolean"));
    let range = |field| move |offset| DecodeError::OutOfRange { field, offset };
    check_error("ws_kline", "\"t\":1723161255000", "\"t\":^1723161255001", range("t"));
    let order = |field| move |offset| DecodeError::Order { field, offset };
    let cells = "{\"t\":1723161255000,\"T\":1723161255999,\"s\":\"BTCUSDT\",\"i\":\"1s\",\"f\":3735683259,\"L\":3735683271,\"o\":\"61837.6";
    let below = format!("^{cells}2");
    check_error("ws_kline", &format!("{cells}3"), &below, order("k"));
}

#[test]
fn answers_to_klines_requests() {
    let body = fixture("rest_klines");
    let asked = |aux| rest(InputKind::RestKlines, ETH, aux, &body);
    let (decoded, events) = decode(&mut decoder(), &asked(0));
    assert_eq!(decoded, Ok(Decoded::Events(1)));
    let (ETH, Owned::Klines { interval: BarInterval::Second, source: KlineSource::Rest, rows }) =
        &events[0]
    else {
        panic!("{events:?}")
    };
    let quiet = Kline {
        open_time: ms(1_723_161_256_000),
        open: Px(268_381),
        high: Px(268_381),
        low: Px(268_381),
        close: Px(268_381),
        volume: Qty(0),
        quote_volume: 0,
        taker_buy_volume: Qty(0),
        taker_buy_quote_volume: 0,
        trade_count: 0,
    };
    assert_eq!((rows.len(), rows[1]), (2, quiet));
    assert_eq!((rows[0].quote_volume, rows[0].trade_count), (323_129_804_000, 6));
    let unknown = DecodeError::Input { field: "aux", found: 4 };
    assert_eq!(decode(&mut decoder(), &asked(4)).0, Err(unknown));
    // Rows of seconds are no minutes; an error is a refusal; rows run forward.
    assert!(matches!(
        decode(&mut decoder(), &asked(1)).0,
        Err(DecodeError::OutOfRange { field: "t", .. })
    ));
    let error = fixture("rest_error");
    let refused = decode(&mut decoder(), &rest(InputKind::RestKlines, ETH, 0, &error)).0;
    assert!(matches!(refused, Ok(Decoded::Refused { .. })), "{refused:?}");
    let text = String::from_utf8(body.clone()).unwrap();
    let backwards = text.replace("1723161256000", "1723161254000");
    let backwards = rest(InputKind::RestKlines, ETH, 0, backwards.as_bytes());
    assert!(matches!(
        decode(&mut decoder(), &backwards).0,
        Err(DecodeError::Order { field: "t", .. })
    ));
    let short = rest(InputKind::RestKlines, ETH, 0, b"[[1723161255000,\"1\"]]");
    assert!(matches!(decode(&mut decoder(), &short).0, Err(DecodeError::Missing { .. })));
}

#[test]
fn answers_to_trades_requests() {
    let of = |aux, body: &[u8]| {
        let mut decoder = decoder();
        let outcome = decode(&mut decoder, &rest(InputKind::RestTrades, ETH, aux, body));
        let refused = decoder.counters().malformed_total();
        assert_eq!(refused, u64::from(outcome.0.is_err()), "a refusal is counted");
        outcome
    };
    let fill = |id, time: i64, qty, taker_sold| PastTrade {
        ts_trade: ms(1_723_161_255_000 + time),
        id,
        first_id: id,
        last_id: id,
        px: Px(268_380),
        qty: Qty(qty),
        taker_sold,
    };
    let fills = vec![fill(1_520_538_925, 611, 200_000, 1), fill(1_520_538_926, 702, 1_154_000, 0)];
    let joined = vec![
        PastTrade { id: 15_683_430, ..fills[0] },
        PastTrade { id: 15_683_431, last_id: 1_520_538_928, ..fills[1] },
    ];
    let bodies = [
        (0, fixture("rest_historical_trades"), TradeStream::Trade, fills),
        (1, fixture("rest_agg_trades"), TradeStream::AggTrade, joined),
    ];
    for (aux, body, stream, rows) in bodies {
        let (decoded, events) = of(aux, &body);
        assert_eq!(decoded, Ok(Decoded::Events(1)));
        assert_eq!(events, [(ETH, Owned::Trades { stream, rows })]);
        // Of the other stream it is another shape; nothing else is a stream.
        assert!(matches!(of(1 - aux, &body).0, Err(DecodeError::Missing { .. })));
        let unknown = DecodeError::Input { field: "aux", found: 2 };
        assert_eq!(of(2, &body).0, Err(unknown));
        let text = String::from_utf8(body).unwrap();
        for (from, to, kind) in [
            ("1520538926", "1520538925", "order"),
            ("268", "-268", "out_of_range"),
            ("268", "x", "number"),
            ("true", "1", "type"),
            ("[{", "{\"a\":[{", "json"),
            ("1723161255611", "17231612556110000000", "out_of_range"),
        ] {
            // The second fill of both bodies, the first price, the first taker's side.
            let error = of(aux, text.replacen(from, to, 1).as_bytes()).0.unwrap_err();
            assert_eq!(error.kind().name(), kind, "{from} as {to}: {error}");
        }
        assert_eq!(of(aux, b"[]").1, [(ETH, Owned::Trades { stream, rows: vec![] })]);
        let error = fixture("rest_error");
        let refused = Decoded::Refused { id: None, code: -1121 };
        assert_eq!(of(aux, &error).0, Ok(refused));
    }
}

#[test]
fn outputs_of_models() {
    let output = ModelOutput::answering(1, 2, 3).with_outputs(&[0.5; 3]).unwrap();
    let bytes = output.as_bytes();
    let said = |symbol, aux, bytes| Input { symbol, aux, ..input(InputKind::Model, bytes) };
    let (decoded, events) = decode(&mut decoder(), &said(ETH, 7, bytes));
    assert_eq!(decoded, Ok(Decoded::Events(1)));
    assert_eq!(events, [(ETH, Owned::Model(ModelIndex(7), bytes.to_vec()))]);
    let nan = output.with_value(f64::NAN);
    for (input, field, found) in [
        (said(SymbolIndex::NONE, 0, bytes), "symbol", 65_535),
        (said(ETH, 256, bytes), "aux", 256),
        (said(ETH, 0, &bytes[1..]), "length", 263),
        (said(ETH, 0, &[]), "length", 0),
        (said(ETH, 3, nan.as_bytes()), "output of model", 3),
    ] {
        let (decoded, events) = decode(&mut decoder(), &input);
        assert_eq!((decoded, events.len()), (Err(DecodeError::Input { field, found }), 0));
    }
}

#[test]
fn what_is_no_event_says_what_it_is() {
    let shutdown = Decoded::ServerShutdown { ts_event: ms(1_770_123_456_789) };
    check_other("ws_server_shutdown", shutdown);
    check_other("ws_server_shutdown_combined", shutdown);
    check_other("ws_ack", Decoded::Ack { id: Some(1) });
    check_other("ws_list_reply", Decoded::Ack { id: Some(3) });
    check_other("ws_error", Decoded::Refused { id: Some(1), code: 2 });
    check_other("ws_error_nested", Decoded::Refused { id: Some(7), code: 2 });
    check_other("ws_kline_open", Decoded::Events(0));
    check_other("ws_kline_other_interval", Decoded::UnknownEvent);
    check_other("ws_partial_depth", Decoded::UnknownEvent);
    for unknown in ["{}", "[]", "3", "null", "[{\"e\":\"trade\"}]", "{\"id\":null}", "{\"b\":1}"] {
        assert_eq!(decode_text(unknown.as_bytes()).0, Ok(Decoded::UnknownEvent), "{unknown}");
    }
    let named = r#"{"result":null,"id":"abc"}"#;
    assert_eq!(decode_text(named.as_bytes()).0, Ok(Decoded::Ack { id: None }));
    let other = fixture("ws_trade_raw");
    let other = String::from_utf8(other).unwrap().replace("BTCUSDT", "SOLUSDT");
    assert_eq!(decode_text(other.as_bytes()).0, Ok(Decoded::UnknownSymbol));
    assert_eq!(
        decode(&mut decoder(), &input(InputKind::Binary, b"\x00\xff")).0,
        Ok(Decoded::UnknownEvent)
    );
}

fn rest(kind: InputKind, symbol: SymbolIndex, aux: u32, bytes: &[u8]) -> Input<'_> {
    Input { symbol, aux, ts_aux: Nanos(500), ..input(kind, bytes) }
}

#[test]
fn snapshots_belong_to_the_symbol_that_was_asked_for() {
    let body = fixture("rest_depth");
    let expected = |limit| Owned::Snapshot {
        last_update_id: 35_346_513_512,
        limit,
        bids: vec![
            level(268_380, 302_920_000),
            level(268_379, 93_610_000),
            level(268_350, 930_000),
        ],
        asks: vec![level(268_381, 3_143_950_000), level(268_382, 2_610_000)],
    };
    // A recorded snapshot does not say what was asked for.
    for (aux, limit) in [(1000, 1000), (0, 5)] {
        let (decoded, events) =
            decode(&mut decoder(), &rest(InputKind::RestDepth, ETH, aux, &body));
        assert_eq!(decoded, Ok(Decoded::Events(1)));
        assert_eq!(events, [(ETH, expected(limit))]);
    }
    for symbol in [SymbolIndex::NONE, SymbolIndex(3)] {
        let (decoded, _) = decode(&mut decoder(), &rest(InputKind::RestDepth, symbol, 5, &body));
        let found = i64::from(symbol.0);
        assert_eq!(decoded, Err(DecodeError::Input { field: "symbol", found }));
    }
}

#[test]
fn a_snapshot_that_is_not_best_first_is_refused() {
    let check = |body: &str, field: &'static str, offset: usize| {
        let (decoded, _) =
            decode(&mut decoder(), &rest(InputKind::RestDepth, ETH, 5, body.as_bytes()));
        assert_eq!(decoded, Err(DecodeError::Order { field, offset }), "{body}");
    };
    check(r#"{"lastUpdateId":1,"bids":[["2","1"],["1","1"],["1","1"]],"asks":[]}"#, "bids", 46);
    check(r#"{"lastUpdateId":1,"bids":[],"asks":[["2","1"],["1","1"]]}"#, "asks", 46);
}

#[test]
fn server_time_and_error_bodies() {
    let (decoded, events) = decode(
        &mut decoder(),
        &rest(InputKind::RestTime, SymbolIndex::NONE, 0, &fixture("rest_time")),
    );
    assert_eq!(decoded, Ok(Decoded::Events(1)));
    let server_time = Owned::ServerTime { server: ms(1_723_161_255_308), sent: Nanos(500) };
    assert_eq!(events, [(SymbolIndex::NONE, server_time)]);

    let body = fixture("rest_error");
    for kind in [InputKind::RestDepth, InputKind::RestTime, InputKind::RestExchangeInfo] {
        let (decoded, _) = decode(&mut decoder(), &rest(kind, ETH, 100, &body));
        assert_eq!(decoded, Ok(Decoded::Refused { id: None, code: -1121 }), "{kind:?}");
    }
    let message = "Invalid symbol.".to_owned();
    assert_eq!(api_error(&body), Some(ApiError { code: -1121, message }));
    assert_eq!(api_error(b"<html>"), None);
}

#[test]
fn exchange_info_gives_status_and_tick_of_each_configured_symbol() {
    let body = fixture("rest_exchange_info");
    let mut decoder = decoder();
    let (decoded, events) =
        decode(&mut decoder, &rest(InputKind::RestExchangeInfo, SymbolIndex::NONE, 0, &body));
    assert_eq!(decoded, Ok(Decoded::Events(3)));
    let instrument = |status, tick_matches| Owned::Instrument { status, tick_matches };
    assert_eq!(
        events,
        [
            (BTC, instrument(InstrumentStatus::Trading, true)),
            (ETH, instrument(InstrumentStatus::Halted, true)),
            (NKN, instrument(InstrumentStatus::Trading, true)),
        ]
    );
    assert_eq!(decoder.counters().unknown_symbols, 1);

    let is_any_halted = |body: &[u8], names: &[&str]| {
        let symbols: Vec<Symbol> = names.iter().map(|name| Symbol::new(name).unwrap()).collect();
        is_any_halted_in_exchange_info(body, &symbols)
    };
    assert_eq!(is_any_halted(&body, &["BTCUSDT", "ETHUSDT"]), Some(true));
    assert_eq!(is_any_halted(&body, &["BTCUSDT"]), Some(false));
    for none in [&b"{}"[..], b"{\"symbols\":1}", b"<html>"] {
        assert_eq!(is_any_halted(none, &["ETHUSDT"]), None);
    }

    let text = String::from_utf8(body).unwrap();
    let finer = text.replacen("\"tickSize\":\"0.01000000\"", "\"tickSize\":\"0.00100000\"", 1);
    let (_, events) = decode(
        &mut decoder,
        &rest(InputKind::RestExchangeInfo, SymbolIndex::NONE, 0, finer.as_bytes()),
    );
    assert_eq!(events[0], (BTC, instrument(InstrumentStatus::Trading, false)));
    let btc = Symbol::new("BTCUSDT").unwrap();
    assert_eq!(tick_size_in_exchange_info(finer.as_bytes(), &btc).as_deref(), Some("0.00100000"));
    assert_eq!(tick_size_in_exchange_info(b"{}", &btc), None);

    // All or nothing: the last symbol is bad, so the first two are not handed on either.
    let at = text.rfind("\"status\":\"TRADING\",\"baseAsset\":\"NKN\"").unwrap();
    let bad =
        format!("{}\"status\":3{}", &text[..at], &text[at + "\"status\":\"TRADING\"".len()..]);
    let (decoded, events) = decode(
        &mut decoder,
        &rest(InputKind::RestExchangeInfo, SymbolIndex::NONE, 0, bad.as_bytes()),
    );
    let offset = at + "\"status\":".len();
    assert_eq!(decoded, Err(DecodeError::Type { field: "status", expected: "string", offset }));
    assert_eq!(events, []);
}

#[test]
fn the_engines_own_inputs_become_controls() {
    let scope = LinkScope::DEPTH.with(LinkScope::TRADE);
    let base = Input { connection: 3, symbol: ETH, ..input(InputKind::Stop, b"") };
    for (kind, aux, ts_aux, expected) in [
        (InputKind::LinkUp, scope.0, Nanos::UNDEF, Control::LinkUp { connection: 3, scope }),
        (InputKind::LinkDown, scope.0, Nanos::UNDEF, Control::LinkDown { connection: 3, scope }),
        (
            InputKind::SnapshotRequested,
            1000,
            Nanos::UNDEF,
            Control::SnapshotRequested { limit: 1000, background: false },
        ),
        (
            InputKind::SnapshotRequested,
            1 << 31 | 5000,
            Nanos::UNDEF,
            Control::SnapshotRequested { limit: 5000, background: true },
        ),
        (InputKind::TickerRequested, 0, Nanos::UNDEF, Control::TickerRequested),
        (
            InputKind::TradesRequested,
            1000,
            Nanos(1_520_538_925),
            Control::TradesRequested {
                stream: TradeStream::Trade,
                first_id: 1_520_538_925,
                limit: 1000,
            },
        ),
        (
            InputKind::TradesRequested,
            1 << 31 | 7,
            Nanos(0),
            Control::TradesRequested { stream: TradeStream::AggTrade, first_id: 0, limit: 7 },
        ),
        (InputKind::Stalled, scope.0, Nanos::UNDEF, Control::Stalled { scope }),
        (InputKind::Halted, 1, Nanos::UNDEF, Control::Halted { halted: true }),
        (InputKind::Halted, 0, Nanos::UNDEF, Control::Halted { halted: false }),
        (InputKind::ClockStep, 0, Nanos(-5), Control::ClockStep { wall_offset: Nanos(-5) }),
        (InputKind::Break, 0, Nanos(5), Control::Break { last_timer: Nanos(5) }),
        (InputKind::LogLost, 0, Nanos(9), Control::LogLost { inputs: 9 }),
        (InputKind::Checkpoint, 0, Nanos::UNDEF, Control::Checkpoint),
        (InputKind::Stop, 0, Nanos::UNDEF, Control::Stop),
    ] {
        let (decoded, events) = decode(&mut decoder(), &Input { kind, aux, ts_aux, ..base });
        assert_eq!(decoded, Ok(Decoded::Events(1)));
        assert_eq!(events, [(ETH, Owned::Control(expected))]);
    }
    for kind in [InputKind::LogLost, InputKind::TradesRequested] {
        let negative = Input { ts_aux: Nanos(-1), ..input(kind, b"") };
        let expected = DecodeError::Input { field: "ts_aux", found: -1 };
        assert_eq!(decode(&mut decoder(), &negative).0, Err(expected));
    }
    let nobody = Input { symbol: SymbolIndex(3), ..input(InputKind::Halted, b"") };
    let expected = DecodeError::Input { field: "symbol", found: 3 };
    assert_eq!(decode(&mut decoder(), &nobody).0, Err(expected));
}

/// Replaces `from` in a fixture by `to` and expects an error at the place marked in `to` by `^`.
fn check_error(name: &str, from: &str, to: &str, expected: impl Fn(usize) -> DecodeError) {
    let text = String::from_utf8(fixture(name)).unwrap();
    let at = text.find(from).unwrap_or_else(|| panic!("no {from} in {name}"));
    let offset = at + to.find('^').unwrap();
    let text = format!("{}{}{}", &text[..at], to.replace('^', ""), &text[at + from.len()..]);
    let mut decoder = decoder();
    let (decoded, events) = decode(&mut decoder, &input(InputKind::Text, text.as_bytes()));
    assert_eq!(decoded, Err(expected(offset)), "{text}");
    assert_eq!(events, [], "{text}");
    let kind = expected(offset).kind();
    let counts: Vec<_> = decoder.counters().malformed_by_kind().filter(|&(_, n)| n > 0).collect();
    assert_eq!(counts, [(kind.name(), 1)]);
}

#[test]
fn malformed_messages_are_refused_whole_with_the_byte_offset() {
    let of_type = |field, expected| move |offset| DecodeError::Type { field, expected, offset };
    let number = |field, error| move |offset| DecodeError::Number { field, error, offset };
    let range = |field| move |offset| DecodeError::OutOfRange { field, offset };
    let order = |field| move |offset| DecodeError::Order { field, offset };
    let missing = |field| move |offset| DecodeError::Missing { field, offset };
    let syntax = |offset| DecodeError::Json(JsonError::Syntax { offset });
    let level_type = of_type("a", "level of price and quantity");

    check_error("ws_depth", "\"a\":[[", "\"a\":[^,[", syntax);
    check_error(
        "ws_depth",
        "{\"e\":\"depthUpdate\",\"E\"",
        "^{\"e\":\"depthUpdate\",\"X\"",
        missing("E"),
    );
    check_error(
        "ws_depth",
        "\"E\":1723161255308",
        "\"E\":^\"1723161255308\"",
        of_type("E", "integer"),
    );
    check_error("ws_depth", "\"E\":1723161255308", "\"E\":^1723161255308.5", range("E"));
    check_error("ws_depth", "\"E\":1723161255308", "\"E\":^-1", range("E"));
    check_error("ws_depth", "\"E\":1723161255308", "\"E\":^9223372036855", range("E"));
    check_error("ws_depth", "\"E\":1723161255308", "\"E\":^9223372036854776", range("E"));
    check_error("ws_depth", "\"u\":35346513505", "\"u\":^35346513498", order("u"));
    check_error("ws_depth", "\"u\":35346513505", "\"u\":^9223372036854775808", range("u"));
    check_error("ws_depth", "\"s\":\"ETHUSDT\"", "\"s\":^7", of_type("s", "string"));
    check_error("ws_depth", "\"depthUpdate\"", "^null", of_type("e", "string"));
    check_error("ws_depth", "\"ethusdt@depth@100ms\"", "^null", of_type("stream", "string"));
    check_error("ws_depth", "\"ethusdt@depth", "^\"btcusdt@depth", range("stream"));
    check_error("ws_depth", "\"b\":[[", "\"b\":^\"\",\"x\":[[", of_type("b", "array of levels"));
    check_error(
        "ws_depth",
        "[\"2733.70000000\",\"0.00000000\"]",
        "^[\"2733.70000000\"]",
        level_type,
    );
    check_error(
        "ws_depth",
        "[\"2733.70000000\",\"0.00000000\"]",
        "^[\"1\",\"1\",\"1\"]",
        level_type,
    );
    check_error("ws_depth", "[\"2733.70000000\",\"0.00000000\"]", "^{}", level_type);
    check_error("ws_depth", "\"2733.70000000\"", "^2733.7", of_type("a", "string"));
    let too_fine = DecimalError::TooFine { decimals: 2 };
    check_error("ws_depth", "\"2733.70000000\"", "^\"2733.70500000\"", number("a", too_fine));
    check_error("ws_depth", "\"2733.70000000\"", "^\"0.00000000\"", range("a"));
    check_error("ws_depth", "\"2733.70000000\"", "^\"-2733.70000000\"", range("a"));
    check_error("ws_depth", "\"28.21530000\"", "^\"-28.21530000\"", range("b"));
    let not_number = DecimalError::Syntax { at: 3 };
    check_error("ws_depth", "\"28.21530000\"", "^\"28.e0\"", number("b", not_number));
    let too_fine = DecimalError::TooFine { decimals: 8 };
    check_error("ws_depth", "\"28.21530000\"", "^\"28.215300001\"", number("b", too_fine));
    let too_large = DecimalError::TooLarge { decimals: 8 };
    check_error("ws_depth", "\"28.21530000\"", "^\"92233720369\"", number("b", too_large));
    let duplicate = |offset| DecodeError::Duplicate { field: "b", offset };
    check_error("ws_depth", "\"a\":", "\"b\":^[],\"a\":", duplicate);

    check_error("ws_trade", "\"m\":true", "\"m\":^1", of_type("m", "boolean"));
    check_error("ws_trade", "\"q\":\"0.00200000\"", "\"q\":^\"0.00000000\"", range("q"));
    check_error("ws_agg_trade", "\"l\":19862790", "\"l\":^19862789", order("l"));
    check_error("ws_book_ticker", "{\"u\":35346513501", "^{\"U\":35346513501", missing("u"));
    check_error("ws_book_ticker", "\"a\":\"2683.81000000\"", "\"a\":^\"0.00000000\"", range("a"));
    check_error("ws_ticker", "\"v\":\"694123", "\"v\":^\"-694123", range("v"));
    check_error("ws_ticker", "\"q\":\"1764", "\"q\":^\"-1764", range("q"));
    check_error("ws_ticker", "\"w\":\"2541", "\"w\":^\"-2541", range("w"));
    check_error("ws_ticker", "\"x\":\"2435", "\"x\":^\"-2435", range("x"));
    check_error("ws_ticker", "\"F\":1518905321", "\"F\":^-2", range("F"));
    check_error("ws_ticker", "\"L\":1520538925", "\"L\":^-1", order("L"));
    check_error("ws_ticker", "\"O\":1723074856012", "\"O\":^-1", range("O"));
    let too_fine = DecimalError::TooFine { decimals: 8 };
    check_error("ws_ticker", "\"10.197\"", "^\"10.1970000001\"", number("P", too_fine));
    let head = "{\"e\":\"24hrTicker\",\"E\":1723161256012,\"s\":\"ETHUSDT\",";
    let whole = format!("{head}\"p\":\"248.35000000\",");
    check_error("ws_ticker", &whole, &format!("^{head}"), missing("p"));
    check_error("ws_error", "\"code\":2", "\"code\":^\"2\"", of_type("code", "integer"));
}

#[test]
fn unknown_fields_are_counted_and_passed_over() {
    for (name, text) in fixtures("ws_") {
        let (decoded, expected) = decode_text(&text);
        if decoded != Ok(Decoded::Events(1)) {
            continue;
        }
        let text = String::from_utf8(text).unwrap();
        let at = text.rfind("\"s\":").unwrap();
        let more = format!("{}\"zz\":{{\"b\":[1.5e3,null]}},\"st\":1,{}", &text[..at], &text[at..]);
        let mut decoder = decoder();
        let found = decode(&mut decoder, &input(InputKind::Text, more.as_bytes()));
        assert_eq!(found, (decoded, expected), "{name}");
        assert_eq!(decoder.counters().unknown_fields, 2, "{name}");
    }
}

#[test]
fn known_messages_have_no_unknown_fields() {
    let mut decoder = decoder();
    for (name, text) in fixtures("ws_") {
        let (decoded, _) = decode(&mut decoder, &input(InputKind::Text, &text));
        assert!(decoded.is_ok(), "{name}: {decoded:?}");
    }
    let counters = *decoder.counters();
    assert_eq!(counters.unknown_fields, 0);
    assert_eq!(counters.malformed_total(), 0);
    assert_eq!(
        [
            counters.depth_updates,
            counters.trades,
            counters.agg_trades,
            counters.quotes,
            counters.tickers,
            counters.klines,
            counters.open_klines,
        ],
        [3, 2, 1, 2, 1, 1, 1]
    );
    assert_eq!(
        [counters.acks, counters.refusals, counters.shutdowns, counters.unknown_events],
        [2; 4]
    );
}

#[test]
fn symbols_are_found_whatever_their_order_or_script() {
    let mut all = instruments();
    all.insert(0, cobring_types::Instrument::new("币安USDT", "0.01", 8).unwrap());
    let mut decoder = cobring_venue::binance::Decoder::new(all);
    let text = r#"{"u":1,"s":"币安USDT","b":"1","B":"1","a":"2","A":"1"}"#;
    let (_, events) = decode(&mut decoder, &input(InputKind::Text, text.as_bytes()));
    assert_eq!(events[0].0, SymbolIndex(0));
    let (_, events) = decode(&mut decoder, &input(InputKind::Text, &fixture("ws_trade")));
    assert_eq!(events[0].0, SymbolIndex(2));
}
