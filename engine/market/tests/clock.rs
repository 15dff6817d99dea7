//! Steps of the host's wall clock: they are shown, and change nothing else.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use cobring_frame::FrameImage;
use cobring_market::SymbolMarket;
use cobring_types::{Control, Event, Nanos, Px, Qty, Quote, Side, Stamp, Trade, TradeStream};
use proptest::prelude::*;

const MS: i64 = 1_000_000;
const START: i64 = 20_000 * 86_400_000 * MS;

#[derive(Debug, Clone, Copy)]
enum Step {
    Trade {
        px: i64,
        qty: i64,
        late_ms: i64,
    },
    Quote {
        bid: i64,
    },
    /// The wall clock is so much ahead of ours from now on.
    Wall {
        ms: i64,
    },
}

/// What a symbol shows after all steps: rows, and the frame without the wall clock and the numbers of inputs.
fn play(steps: &[(i64, Step)], with_steps_of_the_clock: bool) -> (FrameImage, Vec<Vec<u64>>) {
    let mut market: SymbolMarket = common::market(common::config(4, &[]));
    let (mut now, mut next_timer, mut id) = (START, START, 0);
    for &(wait_ms, step) in steps {
        now += wait_ms * MS;
        while next_timer <= now {
            market.on_timer(Nanos(next_timer));
            market.frame_done();
            next_timer += 100 * MS;
        }
        id += 1;
        let event = match step {
            Step::Trade { px, qty, late_ms } => Event::Trade(Trade {
                stream: TradeStream::Trade,
                ts_event: Nanos(now - 5 * MS),
                ts_trade: Nanos(now - (5 + late_ms) * MS),
                id,
                first_id: id,
                last_id: id,
                px: Px(px),
                qty: Qty(qty),
                side: Side::Buy,
            }),
            Step::Quote { bid } => Event::Quote(Quote {
                update_id: id,
                bid_px: Px(bid),
                bid_qty: Qty(3),
                ask_px: Px(bid + 2),
                ask_qty: Qty(4),
            }),
            Step::Wall { .. } if !with_steps_of_the_clock => continue,
            Step::Wall { ms } => Event::Control(Control::ClockStep { wall_offset: Nanos(ms * MS) }),
        };
        let (input_seq, unknown) = (id, Nanos::UNDEF);
        let stamp =
            Stamp { input_seq, ts_recv: Nanos(now), ts_kernel: unknown, ts_parsed: unknown };
        if market.on_event(&stamp, &event).is_some() {
            market.frame_done();
        }
    }
    market.on_timer(Nanos(next_timer));
    let rows = market.windows().iter().map(|window| window.raw().newest_rows()).collect();
    let head = market.image_mut().head_mut();
    head.identity.input_seq = 0;
    head.times.wall_offset = 0;
    (market.image().clone(), rows)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn a_step_of_the_wall_clock_changes_no_bar_and_no_order(
        steps in prop::collection::vec(
            (
                0i64..900,
                prop_oneof![
                    6 => (90i64..110, 1i64..9, 0i64..1_500)
                        .prop_map(|(px, qty, late_ms)| Step::Trade { px, qty, late_ms }),
                    3 => (90i64..110).prop_map(|bid| Step::Quote { bid }),
                    2 => (-2_000i64..2_000).prop_map(|ms| Step::Wall { ms }),
                ],
            ),
            1..80,
        ),
    ) {
        let (stepped, stepped_rows) = play(&steps, true);
        let (steady, steady_rows) = play(&steps, false);
        prop_assert_eq!(stepped_rows, steady_rows);
        prop_assert_eq!(stepped.words(), steady.words());
    }
}
