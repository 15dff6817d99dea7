use cobring_market::SymbolConfig;
use proptest::prelude::*;

use super::*;
use crate::config::Config;
use crate::fold::SymbolSummary;
use crate::replay::private_folds;
use crate::sequencer::{Sequencer, own_input};

/// Four symbols, of which the messages below are, and one that has none.
fn symbols() -> Vec<SymbolConfig> {
    let configured = Config::built_in().symbol_configs();
    let named = |name| SymbolConfig {
        instrument: Instrument::new(name, "0.01", 8).unwrap(),
        ..configured[0].clone()
    };
    ["AAAUSDT", "BTCUSDT", "CCCUSDT", "DDDUSDT", "EEEUSDT"].map(named).into()
}

/// A kind, the symbol that it is of, its text, how many ms later it comes, and how many ms its stamp is too low.
type Told = (InputKind, SymbolIndex, String, u16, u16);

fn told() -> impl Strategy<Value = Told> {
    let name = |at: u16| ["AAA", "BTC", "CCC", "DDD"][usize::from(at)];
    let quote = move |at: u16, id: u16| {
        let name = name(at);
        format!(
            r#"{{"u":{id},"s":"{name}USDT","b":"2683.80000000","B":"{at}.02920000","a":"2683.81000000","A":"31.43950000"}}"#
        )
    };
    let of_stream = move |name: &str, event: String| {
        format!(r#"{{"stream":"{}usdt@bookTicker","data":{event}}}"#, name.to_lowercase())
    };
    let text = (0..4u16, 0..4u16, any::<u16>(), 0..12u8).prop_map(move |(at, other, id, how)| {
        match how {
            0..6 => of_stream(name(at), quote(at, id)),
            // What does not say whose it is, before one looks into it.
            6 => quote(at, id),
            // The stream of another symbol, and of none that is configured.
            7 => of_stream(name(other), quote(at, id)),
            8 if id % 2 == 0 => of_stream("xxx", quote(at, id)),
            // Its name spelt as nobody does.
            8 => of_stream(name(at), quote(at, id)).replacen("usdt@", "\\u0075sdt@", 1),
            // A stream's name that wraps nothing.
            9 if id % 2 == 0 => {
                format!(
                    r#"{{"stream":"{}usdt@x",{}"#,
                    name(other).to_lowercase(),
                    &quote(at, id)[1..]
                )
            }
            9 => format!(r#"{{"result":null,"id":{id}}}"#),
            10 => of_stream(name(at), format!("{{{id}")),
            _ => "x".repeat(usize::from(id) % 3_000 + 1),
        }
    });
    // What its symbol is said to be means nothing.
    let of = prop_oneof![9 => Just(SymbolIndex::NONE), 1 => (0..8u16).prop_map(SymbolIndex)];
    let text = (text, of.clone()).prop_map(|(text, of)| (InputKind::Text, of, text));
    let own = (0..5u16, of, 0..9u8).prop_map(|(at, of, how)| {
        let (kind, of, text) = match how {
            0 => (InputKind::LinkUp, of, ""),
            1 => (InputKind::LinkDown, of, ""),
            2 => (InputKind::Break, of, ""),
            3 => (InputKind::RestTime, of, r#"{"serverTime":1723161255612}"#),
            8 => (
                InputKind::RestExchangeInfo,
                of,
                r#"{"timezone":"UTC","serverTime":1723161255612,"symbols":[{"symbol":"CCCUSDT","status":"HALT","filters":[{"filterType":"PRICE_FILTER","tickSize":"0.01000000"}]}]}"#,
            ),
            4 => (InputKind::Halted, SymbolIndex(at), ""),
            5 => (InputKind::TickerRequested, SymbolIndex(at), ""),
            // A symbol that nobody has.
            6 => (InputKind::RestDepth, SymbolIndex(7), r#"{"lastUpdateId":1}"#),
            _ => (
                InputKind::RestDepth,
                SymbolIndex(at),
                r#"{"lastUpdateId":70,"bids":[["2683.80000000","3.02920000"]],"asks":[["2733.70000000","150.10000000"]]}"#,
            ),
        };
        (kind, of, text.to_owned())
    });
    // Sometimes longer than a run of timers may be.
    let wait = prop_oneof![20 => 0..300u16, 1 => 60_000..=u16::MAX];
    let back = prop_oneof![9 => Just(0), 1 => 0..2_000u16];
    (prop_oneof![5 => text, 1 => own], wait, back)
        .prop_map(|((kind, symbol, text), wait, back)| (kind, symbol, text, wait, back))
}

fn inputs(told: &[Told]) -> Vec<Input<'_>> {
    let (mut sequencer, mut now) = (Sequencer::default(), Nanos(1_723_161_255_612_000_000));
    let mut inputs = Vec::new();
    for (kind, symbol, text, wait, back) in told {
        now = Nanos(now.0 + i64::from(*wait) * 1_000_000);
        inputs.extend(sequencer.break_before(now));
        let mut stamp = sequencer.stamp(now, Nanos::UNDEF);
        // Only who wrote a log by himself has times that fall.
        stamp.ts_recv.0 -= i64::from(*back) * 1_000_000;
        let own = own_input(stamp, *kind);
        let aux = u32::from(matches!(kind, InputKind::LinkUp | InputKind::LinkDown));
        inputs.push(Input { symbol: *symbol, aux, bytes: text.as_bytes(), ..own });
    }
    inputs
}

/// What can be told of a symbol.
fn facts(symbols: &[SymbolSummary]) -> Vec<String> {
    symbols.iter().map(|symbol| format!("{symbol:?}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn frames_and_counts_are_those_of_one_thread(
        told in proptest::collection::vec(told(), 1..150),
        cores in 1usize..7,
    ) {
        let (symbols, inputs) = (symbols(), inputs(&told));
        let instruments: Vec<Instrument> =
            symbols.iter().map(|symbol| symbol.instrument.clone()).collect();
        let fold = || Fold::new(private_folds(&symbols, 1, true).unwrap(), None, ());
        let mut fused = Fused::new(Decoder::new(instruments.clone()), fold(), None);
        for input in &inputs { fused.on_input(input); }
        let wanted = fused.finish();
        let folds = fold().apart(cores).unwrap();
        prop_assert!(folds.len() <= cores);
        let mut lanes = BySymbol::start(&instruments, folds, ring::MIN_RING_BYTES);
        for input in &inputs {
            while lanes.try_input(input).is_err() { std::thread::yield_now(); }
        }
        prop_assert!(!lanes.is_broken());
        let found = lanes.finish();
        prop_assert_eq!(facts(&found.fold.summary()), facts(&wanted.fold.summary()));
        prop_assert_eq!(found.decoded, wanted.decoded);
    }
}
