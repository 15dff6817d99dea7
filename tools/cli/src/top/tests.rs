//! A known state gives the screen, the text and the JSON that it must.

use std::time::{Duration, Instant};

use cobring_frame::{CounterTable, Histogram, Liveness, STAGES, SubscriberInfo};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

use super::sample::{CounterSample, EngineSample, Looker, Sample, SymbolSample, TableSample};
use super::screen::{self, Choice};
use super::view::View;
use super::{Asked, Live, json, text};

const SECOND_NS: i64 = 1_000_000_000;

fn frame(score: f64, coverage: f64, bid: f64, tick: f64) -> Value {
    json!({
        "times": { "ts_recv": 100 * SECOND_NS },
        "quality": {
            "score": score, "sync": 1.0, "freshness": 1.0, "completeness": 1.0, "consistency": 1.0,
            "coverage": coverage, "age_depth": SECOND_NS / 10, "age_quote": SECOND_NS,
        },
        "top": { "bid_px": bid, "ask_px": bid + tick, "spread": tick, "mid_px": bid + tick / 2.0 },
        "book": { "book_state": "live", "bids": [[bid, 1.0]], "asks": null },
        "imbalance": { "imbalance": -0.125 },
    })
}

fn symbol(name: &str, published: u64, frame: Option<Value>) -> SymbolSample {
    SymbolSample { name: name.to_owned(), published, frame, now_ns: 100 * SECOND_NS + 400_000_000 }
}

fn table(name: &str, rows: &[&str], counters: &[(&str, u64)]) -> TableSample {
    let texts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let names: Vec<&str> = counters.iter().map(|(name, _)| *name).collect();
    let values: Vec<u64> = counters.iter().map(|(_, value)| *value).collect();
    TableSample {
        names: CounterTable {
            name: name.to_owned(),
            rows: texts(rows),
            counters: texts(&names),
            histograms: Vec::new(),
        },
        counters: vec![values; rows.len()],
        histograms: vec![Vec::new(); rows.len()],
    }
}

/// Spans of 1, 2, … µs, as many as are said; each later stage takes twice as long.
fn spans(count: i64) -> Vec<Histogram> {
    (0..STAGES.len())
        .map(|stage| {
            let mut histogram = Histogram::default();
            (1..=count).for_each(|span| histogram.record((span * 1_000) << stage));
            histogram
        })
        .collect()
}

fn counters(scale: u64) -> CounterSample {
    let mut symbols = table(
        "symbol",
        &["BTCUSDT", "ETHUSDT"],
        &[("gaps_total", scale), ("quotes_total", 5_000 * scale), ("depth_applied_total", 0)],
    );
    symbols.names.histograms = STAGES.iter().map(|stage| stage.name.to_owned()).collect();
    let count = i64::try_from(100 * scale).unwrap();
    symbols.histograms = vec![spans(count), spans(2 * count)];
    let net = [("messages_total", 12_345 * scale), ("reconnects_total", 0)];
    let model = [("accepted_total", 10 * scale), ("too_old_total", 2), ("processes_total", 1)];
    CounterSample {
        made_ns: 0,
        tables: vec![
            table("net", &["engine"], &net),
            table("model", &["ETHUSDT.cnn"], &model),
            symbols,
        ],
    }
}

fn reader() -> SubscriberInfo {
    SubscriberInfo {
        symbol: "ETHUSDT".to_owned(),
        name: "cnn-1".to_owned(),
        pid: 77,
        opened_ns: 0,
        epoch: 7,
        last_seq: Some(1_995),
        lapped: 3,
        refused: 1,
        alive: true,
    }
}

fn sample(at: Instant, scale: u64) -> Sample {
    Sample {
        at,
        wall_ns: 3_723 * SECOND_NS,
        engine: EngineSample { epoch: 7, pid: 42, liveness: Liveness::Alive },
        symbols: vec![
            symbol("BTCUSDT", 500 * scale, Some(frame(0.75, 0.75, 61_999.5, 0.25))),
            symbol("ETHUSDT", 1_000 * scale, Some(frame(1.0, 1.0, 2_700.0, 0.25))),
        ],
        counters: Ok(counters(scale)),
        readers: vec![reader()],
    }
}

/// Twice as much of everything, two seconds later.
fn view() -> View {
    let began = Instant::now();
    let mut view = View::new(sample(began, 1));
    view.follow(sample(began + Duration::from_secs(2), 2));
    view
}

fn drawn(width: u16, height: u16, view: &View, choice: &Choice, message: Option<&str>) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| screen::draw(frame, view, choice, message)).unwrap();
    let buffer = terminal.backend().buffer();
    let cells = buffer.content.chunks(usize::from(width));
    let line = |cells: &[ratatui::buffer::Cell]| -> String {
        cells.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned()
            + "\n"
    };
    cells.map(line).collect()
}

fn check(found: &str, wanted: &str) {
    assert!(found == wanted, "found:\n{found}\nwanted:\n{wanted}");
}

#[test]
fn a_known_state_fills_a_terminal_of_80_columns() {
    check(&drawn(80, 24, &view(), &Choice::default(), None), include_str!("tests/80x24.txt"));
}

#[test]
fn a_larger_one_has_more_columns_and_room_between() {
    let choice = Choice { symbol: Some("ETHUSDT".to_owned()), ..Choice::default() };
    check(&drawn(120, 32, &view(), &choice, None), include_str!("tests/120x32.txt"));
}

#[test]
fn a_small_one_shows_something_of_all() {
    check(&drawn(60, 13, &view(), &Choice::default(), None), include_str!("tests/60x13.txt"));
    // None is too small.
    for height in 1..30 {
        let choice = Choice { is_help_shown: height % 2 == 0, ..Choice::default() };
        let _ = drawn(height * 3, height, &view(), &choice, Some("waiting"));
    }
}

#[test]
fn plain_text_is_one_page() {
    check(&text::page(&view()), include_str!("tests/page.txt"));
}

#[test]
fn an_engine_that_is_gone_and_one_that_has_just_begun() {
    let began = Instant::now();
    let mut gone = sample(began, 1);
    gone.engine.liveness = Liveness::Gone { pid: 42 };
    gone.counters = Err("it is damaged".to_owned());
    gone.symbols[0].frame = None;
    gone.readers.clear();
    let view = View::new(gone);
    check(&text::page(&view), include_str!("tests/gone.txt"));
    let shown = drawn(80, 24, &view, &Choice::default(), Some("the directory is gone"));
    assert!(shown.contains("no counters: it is damaged"), "{shown}");
    assert!(shown.ends_with("the directory is gone\n"), "{shown}");

    // Nothing of another engine is compared with.
    let mut view = self::view();
    let mut next = sample(began + Duration::from_secs(9), 1);
    next.engine.epoch = 8;
    view.follow(next);
    assert_eq!((view.interval(), view.engine().frames_per_s), (None, None));
    assert!(view.stages(None).iter().all(|stage| stage.last.is_none()));
    assert!(view.counters(None).iter().all(|counter| counter.per_s.is_none()));
    assert_eq!(view.readers()[0].lag_frames, None);
}

#[test]
fn json_has_totals_rates_and_integers() {
    let found = json::object(&view());
    let at = |pointer: &str| {
        found.pointer(pointer).cloned().unwrap_or_else(|| panic!("{pointer}: {found}"))
    };
    for (pointer, wanted) in [
        ("/engine/state", json!("alive")),
        ("/engine/pid", json!(42)),
        ("/engine/uptime_s", json!(3_723)),
        ("/engine/frames_per_s", json!(750.0)),
        ("/interval_s", json!(2.0)),
        ("/symbols/BTCUSDT/weakest", json!("coverage")),
        ("/symbols/ETHUSDT/weakest", Value::Null),
        ("/symbols/ETHUSDT/frames", json!(2_000)),
        ("/symbols/ETHUSDT/age_ns", json!(500_000_000)),
        ("/symbols/ETHUSDT/counters/gaps_total/total", json!(2)),
        ("/symbols/ETHUSDT/counters/gaps_total/per_s", json!(0.5)),
        ("/symbols/ETHUSDT/stages/kernel_to_recv/since_start/count", json!(400)),
        ("/symbols/ETHUSDT/stages/kernel_to_recv/last/count", json!(200)),
        ("/stages/recv_to_published/since_start/count", json!(600)),
        ("/readers/0/lag_frames", json!(4)),
        ("/counters/net/messages_total/total", json!(24_690)),
        ("/counters/model/ETHUSDT.cnn/accepted_total/per_s", json!(5.0)),
        ("/no_counters", Value::Null),
    ] {
        assert_eq!(at(pointer), wanted, "{pointer}");
    }
    // Spans of 101 to 200 µs came since the sample before.
    let p50 = at("/symbols/BTCUSDT/stages/kernel_to_recv/last/p50_ns").as_u64().unwrap();
    assert!((150_000..=152_000).contains(&p50), "{p50}");
}

#[test]
fn keys_pause_help_choose_and_quit() {
    let mut live = Live {
        looker: Looker::new("nowhere".into()),
        view: view(),
        message: None,
        choice: Choice::default(),
    };
    let mut press = |code, modifiers| {
        let asked = live.on_event(&Event::Key(KeyEvent::new(code, modifiers)));
        (asked, live.choice.symbol.clone(), live.choice.is_paused, live.choice.is_help_shown)
    };
    let none = KeyModifiers::NONE;
    let mut chosen = |code| press(code, none).1;
    let keys = [KeyCode::Tab, KeyCode::Down, KeyCode::Tab, KeyCode::Up, KeyCode::BackTab];
    let symbols = keys.map(&mut chosen);
    let [btc, eth] = ["BTCUSDT", "ETHUSDT"].map(|name| Some(name.to_owned()));
    assert_eq!(symbols, [btc.clone(), eth.clone(), None, eth, btc.clone()]);
    assert_eq!(press(KeyCode::Char('p'), none), (Asked::Redraw, btc.clone(), true, false));
    assert_eq!(press(KeyCode::Char('?'), none), (Asked::Redraw, btc.clone(), true, true));
    // The next key leaves the help.
    assert_eq!(press(KeyCode::Char('q'), none), (Asked::Redraw, btc.clone(), true, false));
    assert_eq!(press(KeyCode::Char('x'), none).0, Asked::Nothing);
    assert_eq!(press(KeyCode::Char('q'), none).0, Asked::Quit);
    assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL).0, Asked::Interrupt);
    assert_eq!(live.on_event(&Event::Resize(1, 1)), Asked::Redraw);

    // The directory goes away: the last view stays, and why.
    live.look();
    assert!(live.message.is_some_and(|message| message.contains("waiting for a new one")));
    assert_eq!(live.choice.symbol, btc);
}
