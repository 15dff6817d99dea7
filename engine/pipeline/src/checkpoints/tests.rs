use cobring_types::{Control, Event, Input, InputKind, Stamp, Symbol, SymbolIndex};

use super::*;
use crate::clock::EngineClock;
use crate::config::Config;
use crate::fold::Fold;
use crate::log::{LogConfig, LogHeader, LogStart, LogWriter};
use crate::replay::private_folds;

fn wait_until(clock: EngineClock, is_so: impl Fn() -> bool) {
    let began = clock.now();
    while !is_so() {
        assert!(clock.now().0 < began.0 + 20 * Nanos::SECOND.0);
        thread::park_timeout(Duration::from_millis(1));
    }
}

fn asks(input_seq: u64) -> Input<'static> {
    Input {
        stamp: Stamp {
            input_seq,
            ts_recv: Nanos(1),
            ts_kernel: Nanos::UNDEF,
            ts_parsed: Nanos::UNDEF,
        },
        kind: InputKind::Checkpoint,
        symbol: SymbolIndex::NONE,
        connection: 0,
        aux: 0,
        ts_aux: Nanos::UNDEF,
        bytes: b"",
    }
}

/// What cannot be taken or copied is left out under its number: the log goes on, and asks for the next one.
#[test]
fn what_is_left_out_is_asked_for_again() {
    let temp = tempfile::tempdir().unwrap();
    let configs = Config::built_in().symbol_configs();
    let names: Vec<Symbol> = configs.iter().map(|config| config.instrument.symbol).collect();
    let folds = private_folds(&configs, 1, false).unwrap();
    let header = LogHeader {
        epoch: 1,
        first_input_seq: 0,
        ts_start: Nanos(0),
        config_digest: [0; 32],
        config: String::new(),
        venue_digest: 0,
        symbols: names,
    };
    let clock = EngineClock::start();
    let (writer, mut producer, log) =
        LogWriter::start(LogConfig::new(temp.path()), header, &LogStart::Initial, move || {
            clock.now()
        })
        .unwrap();
    let symbols = Checkpoints::new(&folds, true, ()).symbols;
    let windows = symbols.iter().map(|symbol| symbol.names.len()).sum();
    let (_taken, taken) = sync_channel(BUFFERS);
    let (spares, of_fold) = sync_channel(BUFFERS);
    let copier = Copier { taken, spares, log: log.clone(), symbols };

    // Rows that the writer has not come to, as those that it has come round to.
    assert!(producer.try_log(&asks(7)));
    let lapped = Taken { input_seq: 7, state: vec![1, 2], rows_done: vec![1 << 40; windows] };
    copier.complete(lapped);
    assert_eq!(producer.stats().checkpoints_dropped, 1);
    let spare = of_fold.try_recv().unwrap();
    assert!(spare.state.is_empty() && spare.state.capacity() >= 4);
    wait_until(clock, || producer.wants_checkpoint(Nanos(0)));

    // The copier has all buffers.
    let (taken, _copier_has) = sync_channel(BUFFERS);
    let fold_end = Some(FoldEnd { taken, spares: of_fold, log });
    let checkpoints =
        Checkpoints { symbols: Vec::new(), buffers: Vec::new(), fold_end, observer: () };
    let mut fold = Fold::new(folds, None, checkpoints);
    let input = asks(8);
    assert!(producer.try_log(&input));
    fold.fold(&input.stamp, SymbolIndex::NONE, &Event::Control(Control::Checkpoint));
    assert_eq!(producer.stats().checkpoints_dropped, 2);
    wait_until(clock, || producer.wants_checkpoint(Nanos(0)));
    assert_eq!(producer.stats().files, 1);

    // As a fold that has one.
    assert!(producer.try_log(&asks(9)));
    let rows_done = rows_done(fold.symbols()).collect();
    copier.complete(Taken { input_seq: 9, state: vec![1, 2], rows_done });
    wait_until(clock, || producer.stats().files == 2);
    assert!(writer.finish().complete);
    let stats = producer.stats();
    assert_eq!((stats.checkpoints_dropped, stats.checkpoints_missing), (2, 0));
}
