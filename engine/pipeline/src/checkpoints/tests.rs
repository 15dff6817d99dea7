use cobring_frame::{EngineDir, Segment};
use cobring_types::{Control, Event, Input, InputKind, Stamp, Symbol, SymbolIndex};

use super::*;
use crate::clock::EngineClock;
use crate::config::Config;
use crate::fold::Fold;
use crate::log::{LogConfig, LogHeader, LogStart, LogWriter};
use crate::replay::segment_spec;

fn wait_until(is_so: impl Fn() -> bool) {
    let clock = EngineClock::start();
    let began = clock.now();
    while !is_so() {
        assert!(clock.now().0 < began.0 + 20 * Nanos::SECOND.0);
        thread::park_timeout(Duration::from_millis(1));
    }
}

#[test]
fn what_cannot_be_copied_is_left_out_as_often_as_that_is_so() {
    let temp = tempfile::tempdir().unwrap();
    let symbols = Config::built_in().symbol_configs();
    let names: Vec<Symbol> = symbols.iter().map(|symbol| symbol.instrument.symbol).collect();
    let dir = EngineDir::lock(&temp.path().join("segments")).unwrap();
    let folds: Vec<_> = symbols
        .into_iter()
        .map(|config| {
            let (spec, schema) = segment_spec(&config, 8, 1);
            let segment = Segment::create(&dir, &spec).unwrap();
            SymbolFold::new(config, 1, schema.id(), segment, false)
        })
        .collect();
    let header = LogHeader {
        epoch: 1,
        first_input_seq: 0,
        ts_start: Nanos(0),
        config_digest: [0; 32],
        config: String::new(),
        venue_digest: 0,
        symbols: names,
    };
    let log_config = LogConfig::new(temp.path().join("log"));
    let (writer, mut producer, sender) =
        LogWriter::start(log_config, header, &LogStart::Initial, || Nanos(0)).unwrap();
    let mut checkpoints = Checkpoints::new(dir.path(), &folds, true, ());
    checkpoints.begin(sender).unwrap();
    let mut fold = Fold::new(folds, None, checkpoints);
    let stamp_of = |input_seq| Stamp {
        input_seq,
        ts_recv: Nanos(1),
        ts_kernel: Nanos::UNDEF,
        ts_parsed: Nanos::UNDEF,
    };
    let mut take = |input_seq| {
        let stamp = stamp_of(input_seq);
        fold.fold(&stamp, SymbolIndex::NONE, &Event::Control(Control::Checkpoint));
    };
    let away = temp.path().join("away");
    std::fs::rename(dir.path(), &away).unwrap();
    // More often than there are buffers: each comes back.
    for input_seq in 0..5 {
        take(input_seq);
        wait_until(|| producer.stats().checkpoints_dropped == input_seq + 1);
    }
    std::fs::rename(&away, dir.path()).unwrap();
    take(5);
    let input = Input {
        stamp: stamp_of(5),
        kind: InputKind::Checkpoint,
        symbol: SymbolIndex::NONE,
        connection: 0,
        aux: 0,
        ts_aux: Nanos::UNDEF,
        bytes: b"",
    };
    assert!(producer.try_log(&input));
    wait_until(|| producer.stats().files == 2);
    assert!(writer.finish().complete);
    assert_eq!(producer.stats().checkpoints_dropped, 5);
}
