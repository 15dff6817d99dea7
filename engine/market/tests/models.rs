//! Outputs of models on their way into their windows.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use cobring_frame::FrameImage;
use cobring_market::SymbolMarket;
use cobring_types::{Event, ModelIndex, ModelOutput, Nanos, Stamp};

fn market(models: &[&str]) -> SymbolMarket {
    common::market(common::config(2, models))
}

fn say(market: &mut SymbolMarket, ms: i64, model: u8, output: &ModelOutput) {
    let stamp = Stamp {
        input_seq: 7,
        ts_recv: Nanos(ms * 1_000_000),
        ts_kernel: Nanos::UNDEF,
        ts_parsed: Nanos::UNDEF,
    };
    let event = Event::Model { model: ModelIndex(model), output };
    assert_eq!(market.on_event(&stamp, &event), None, "an output publishes no frame");
}

/// Cursor and trailing valid rows of each model, as the frame has them.
fn shown(market: &SymbolMarket) -> Vec<[u64; 3]> {
    let layout = market.image().layout();
    let mut image = FrameImage::new(layout);
    image.copy_from(market.image());
    image.arrays_mut().models.to_vec()
}

#[test]
fn an_output_is_a_row_that_the_next_frame_shows() {
    let mut market = market(&["cnn", "policy"]);
    let output = ModelOutput::answering(1, 5, 50)
        .with_outputs(&[0.25, 0.75])
        .and_then(|output| output.with_state(&[9.0]))
        .unwrap();
    say(&mut market, 1_050, 1, &output.with_confidence(0.5).with_action(3));
    assert_eq!(shown(&market), [[0; 3]; 2]);
    market.on_timer(Nanos(1_100_000_000));
    assert_eq!(shown(&market), [[0; 3], [1, 0, 1]]);
    assert_eq!(market.image().head().identity.input_seq, 7);
    let row = market.windows().models[1].last().unwrap();
    assert_eq!((row.ts_recv, row.seq, row.input_seq), (1_050_000_000, 5, 50));
    assert_eq!((row.action, row.horizon, row.confidence), (3, i64::MIN, 0.5));
    assert!(row.value.is_nan());
    assert_eq!((row.output_count, row.state_count), (2, 1));
    assert_eq!((row.outputs[..2].to_vec(), row.state[0]), (vec![0.25, 0.75], 9.0));
    assert!(row.outputs[2..].iter().chain(&row.state[1..]).all(|cell| cell.is_nan()));
    assert_eq!(market.counters().model_outputs, 1);
}

#[test]
fn an_output_of_a_model_that_the_settings_do_not_name_is_counted() {
    let mut market = market(&["cnn"]);
    for model in [1, 255] {
        say(&mut market, 1_050, model, &ModelOutput::answering(1, 5, 50));
    }
    let counters = market.counters();
    assert_eq!((counters.model_outputs, counters.model_outputs_unknown), (0, 2));
}
