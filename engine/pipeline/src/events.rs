//! Events over a ring: the join between the parse stage and the aggregate stage.
//!
//! An event is a few head words and, for depth, its levels as they are; nothing is converted on the way.

use cobring_types::{
    BarInterval, Control, DepthSnapshot, DepthUpdate, Event, InstrumentStatus, KlineSource, Level,
    LinkScope, ModelIndex, Nanos, Px, Qty, Quote, Side, Stamp, SymbolIndex, Trade, TradeStream,
};

use crate::ring::{Full, RecordConsumer, RecordProducer};

/// What comes out of an event ring.
#[derive(Debug)]
pub(crate) enum Staged<'a> {
    /// Nothing will be stamped below this any more: timers up to it are due.
    Watermark(Nanos),
    /// An event for a symbol, or for all of them ([`SymbolIndex::NONE`]).
    Event(&'a Stamp, SymbolIndex, Event<'a>),
}

const WATERMARK: u64 = 0;
const DEPTH: u64 = 1;
const SNAPSHOT: u64 = 2;
const QUOTE: u64 = 3;
const TRADE: u64 = 4;
const TICKER: u64 = 5;
const SERVER_TIME: u64 = 6;
const INSTRUMENT: u64 = 7;
const LINK_UP: u64 = 8;
const LINK_DOWN: u64 = 9;
const SNAPSHOT_REQUESTED: u64 = 10;
const STALLED: u64 = 11;
const HALTED: u64 = 12;
const CLOCK_STEP: u64 = 13;
const BREAK: u64 = 14;
const LOG_LOST: u64 = 15;
const CHECKPOINT: u64 = 16;
const STOP: u64 = 17;
const KLINES: u64 = 18;
const KLINES_REQUESTED: u64 = 19;
const BOUNDS: u64 = 21;
const MODEL: u64 = 20;
const TICKER_REQUESTED: u64 = 22;
const TRADES: u64 = 23;
const TRADES_REQUESTED: u64 = 24;

/// Head: kind and symbol, the stamp's four words, up to eight of the event's own.
const HEAD_WORDS: usize = 13;
const STAMP_AT: usize = 1;
const OWN_AT: usize = 5;

fn word(value: i64) -> u64 {
    value.cast_unsigned()
}

fn signed(word: u64) -> i64 {
    word.cast_signed()
}

/// Pushes that nothing is stamped below `t` any more.
///
/// # Errors
/// [`Full`] where the ring has no room now.
pub(crate) fn push_watermark(ring: &mut RecordProducer, t: Nanos) -> Result<(), Full> {
    ring.push_words(&[WATERMARK, word(t.0)], &[])
}

/// Pushes an event.
///
/// # Errors
/// [`Full`] where the ring has no room now: the event is still the caller's.
pub fn push_event(
    ring: &mut RecordProducer,
    stamp: &Stamp,
    symbol: SymbolIndex,
    event: &Event<'_>,
) -> Result<(), Full> {
    let mut head = [0; HEAD_WORDS];
    head[STAMP_AT..OWN_AT].copy_from_slice(&[
        stamp.input_seq,
        word(stamp.ts_recv.0),
        word(stamp.ts_kernel.0),
        word(stamp.ts_parsed.0),
    ]);
    let mut body: [&[u8]; 2] = [&[], &[]];
    let own: &[u64] = match event {
        Event::Depth(update) => {
            body = [update.bids, update.asks].map(bytemuck::cast_slice);
            &[
                DEPTH,
                word(update.ts_event.0),
                update.first_update_id,
                update.last_update_id,
                update.bids.len() as u64,
            ]
        }
        Event::Snapshot(snapshot) => {
            body = [snapshot.bids, snapshot.asks].map(bytemuck::cast_slice);
            &[
                SNAPSHOT,
                snapshot.last_update_id,
                u64::from(snapshot.limit),
                snapshot.bids.len() as u64,
            ]
        }
        Event::Quote(quote) => &[
            QUOTE,
            quote.update_id,
            word(quote.bid_px.0),
            word(quote.bid_qty.0),
            word(quote.ask_px.0),
            word(quote.ask_qty.0),
        ],
        Event::Trade(trade) => &[
            TRADE,
            u64::from(trade.stream == TradeStream::AggTrade) << 1
                | u64::from(trade.side == Side::Sell),
            word(trade.ts_event.0),
            word(trade.ts_trade.0),
            trade.id,
            trade.first_id,
            trade.last_id,
            word(trade.px.0),
            word(trade.qty.0),
        ],
        Event::Ticker(ticker) => {
            body = [bytemuck::bytes_of(*ticker), &[]];
            &[TICKER]
        }
        Event::Trades { stream, rows } => {
            body = [bytemuck::cast_slice(rows), &[]];
            &[TRADES, u64::from(*stream == TradeStream::AggTrade)]
        }
        Event::Klines { interval, source, rows } => {
            body = [bytemuck::cast_slice(rows), &[]];
            &[KLINES, interval.at() as u64, u64::from(*source == KlineSource::Stream)]
        }
        Event::ServerTime { server, sent } => &[SERVER_TIME, word(server.0), word(sent.0)],
        Event::Instrument { status, tick_matches } => {
            &[INSTRUMENT, u64::from(*status == InstrumentStatus::Halted), u64::from(*tick_matches)]
        }
        Event::Bounds { bytes } => {
            // The ring holds whole words.
            let padding = bytes.len().next_multiple_of(8) - bytes.len();
            body = [bytes, &[0; 8][..padding]];
            &[BOUNDS, bytes.len() as u64]
        }
        Event::Model { model, output } => {
            body = [output.as_bytes(), &[]];
            &[MODEL, u64::from(model.0)]
        }
        Event::Control(control) => match *control {
            Control::LinkUp { connection, scope } => {
                &[LINK_UP, u64::from(connection), u64::from(scope.0)]
            }
            Control::LinkDown { connection, scope } => {
                &[LINK_DOWN, u64::from(connection), u64::from(scope.0)]
            }
            Control::SnapshotRequested { limit, background } => {
                &[SNAPSHOT_REQUESTED, u64::from(limit), u64::from(background)]
            }
            Control::KlinesRequested { interval, start, limit } => {
                &[KLINES_REQUESTED, interval.at() as u64, word(start.0), u64::from(limit)]
            }
            Control::TickerRequested => &[TICKER_REQUESTED],
            Control::TradesRequested { stream, first_id, limit } => &[
                TRADES_REQUESTED,
                u64::from(stream == TradeStream::AggTrade),
                first_id,
                u64::from(limit),
            ],
            Control::Stalled { scope } => &[STALLED, u64::from(scope.0)],
            Control::Halted { halted } => &[HALTED, u64::from(halted)],
            Control::ClockStep { wall_offset } => &[CLOCK_STEP, word(wall_offset.0)],
            Control::Break { last_timer } => &[BREAK, last_timer.0.cast_unsigned()],
            Control::LogLost { inputs } => &[LOG_LOST, inputs],
            Control::Checkpoint => &[CHECKPOINT],
            Control::Stop => &[STOP],
        },
    };
    head[0] = own[0] | u64::from(symbol.0) << 8;
    head[OWN_AT..OWN_AT + own.len() - 1].copy_from_slice(&own[1..]);
    ring.try_push_parts(&head, body)
}

/// Takes the oldest record, if there is one.
pub(crate) fn pop<R>(ring: &mut RecordConsumer, read: impl FnOnce(Staged<'_>) -> R) -> Option<R> {
    ring.pop_words(|head, body| {
        if head[0] == WATERMARK {
            return read(Staged::Watermark(Nanos(signed(head[1]))));
        }
        let stamp = Stamp {
            input_seq: head[STAMP_AT],
            ts_recv: Nanos(signed(head[STAMP_AT + 1])),
            ts_kernel: Nanos(signed(head[STAMP_AT + 2])),
            ts_parsed: Nanos(signed(head[STAMP_AT + 3])),
        };
        let symbol = u16::try_from(head[0] >> 8).expect("invariant: a symbol index was pushed");
        let event = decode(head[0] & 0xff, &head[OWN_AT..], body);
        read(Staged::Event(&stamp, SymbolIndex(symbol), event))
    })
}

/// # Panics
/// On a kind that [`push_event`] does not write: both ends are this file.
fn decode<'a>(kind: u64, own: &[u64], body: &'a [u64]) -> Event<'a> {
    let narrow = |word: u64| u32::try_from(word).expect("invariant: 32 bits were pushed");
    let connection = |word: u64| u16::try_from(word).expect("invariant: 16 bits were pushed");
    let split = |bids: u64| {
        let levels: &[Level] = bytemuck::cast_slice(body);
        levels.split_at(usize::try_from(bids).expect("invariant: a length was pushed"))
    };
    let interval = |word: u64| {
        usize::try_from(word)
            .ok()
            .and_then(BarInterval::from_place)
            .expect("invariant: an interval's place was pushed")
    };
    let stream = |word| if word == 0 { TradeStream::Trade } else { TradeStream::AggTrade };
    match kind {
        DEPTH => {
            let (bids, asks) = split(own[3]);
            Event::Depth(DepthUpdate {
                ts_event: Nanos(signed(own[0])),
                first_update_id: own[1],
                last_update_id: own[2],
                bids,
                asks,
            })
        }
        SNAPSHOT => {
            let (bids, asks) = split(own[2]);
            Event::Snapshot(DepthSnapshot {
                last_update_id: own[0],
                limit: narrow(own[1]),
                bids,
                asks,
            })
        }
        QUOTE => Event::Quote(Quote {
            update_id: own[0],
            bid_px: Px(signed(own[1])),
            bid_qty: Qty(signed(own[2])),
            ask_px: Px(signed(own[3])),
            ask_qty: Qty(signed(own[4])),
        }),
        TRADE => Event::Trade(Trade {
            stream: stream(own[0] >> 1),
            side: if own[0] & 1 == 0 { Side::Buy } else { Side::Sell },
            ts_event: Nanos(signed(own[1])),
            ts_trade: Nanos(signed(own[2])),
            id: own[3],
            first_id: own[4],
            last_id: own[5],
            px: Px(signed(own[6])),
            qty: Qty(signed(own[7])),
        }),
        TICKER => Event::Ticker(bytemuck::from_bytes(bytemuck::cast_slice(body))),
        TRADES => Event::Trades { stream: stream(own[0]), rows: bytemuck::cast_slice(body) },
        KLINES => Event::Klines {
            interval: interval(own[0]),
            source: if own[1] == 0 { KlineSource::Rest } else { KlineSource::Stream },
            rows: bytemuck::cast_slice(body),
        },
        SERVER_TIME => {
            Event::ServerTime { server: Nanos(signed(own[0])), sent: Nanos(signed(own[1])) }
        }
        INSTRUMENT => Event::Instrument {
            status: if own[0] == 0 { InstrumentStatus::Trading } else { InstrumentStatus::Halted },
            tick_matches: own[1] != 0,
        },
        BOUNDS => {
            let length = usize::try_from(own[0]).expect("invariant: a length was pushed");
            Event::Bounds { bytes: &bytemuck::cast_slice(body)[..length] }
        }
        MODEL => Event::Model {
            model: ModelIndex(u8::try_from(own[0]).expect("invariant: 8 bits were pushed")),
            output: bytemuck::from_bytes(bytemuck::cast_slice(body)),
        },
        LINK_UP => Event::Control(Control::LinkUp {
            connection: connection(own[0]),
            scope: LinkScope(narrow(own[1])),
        }),
        LINK_DOWN => Event::Control(Control::LinkDown {
            connection: connection(own[0]),
            scope: LinkScope(narrow(own[1])),
        }),
        SNAPSHOT_REQUESTED => Event::Control(Control::SnapshotRequested {
            limit: narrow(own[0]),
            background: own[1] != 0,
        }),
        KLINES_REQUESTED => Event::Control(Control::KlinesRequested {
            interval: interval(own[0]),
            start: Nanos(signed(own[1])),
            limit: narrow(own[2]),
        }),
        TICKER_REQUESTED => Event::Control(Control::TickerRequested),
        TRADES_REQUESTED => Event::Control(Control::TradesRequested {
            stream: stream(own[0]),
            first_id: own[1],
            limit: narrow(own[2]),
        }),
        STALLED => Event::Control(Control::Stalled { scope: LinkScope(narrow(own[0])) }),
        HALTED => Event::Control(Control::Halted { halted: own[0] != 0 }),
        CLOCK_STEP => Event::Control(Control::ClockStep { wall_offset: Nanos(signed(own[0])) }),
        BREAK => Event::Control(Control::Break { last_timer: Nanos(own[0].cast_signed()) }),
        LOG_LOST => Event::Control(Control::LogLost { inputs: own[0] }),
        CHECKPOINT => Event::Control(Control::Checkpoint),
        STOP => Event::Control(Control::Stop),
        _ => unreachable!("event kind {kind} in an event ring"),
    }
}

#[cfg(test)]
mod tests {
    use cobring_types::{Kline, PastTrade, Ticker};

    use super::*;
    use crate::ring;

    fn level(px: i64) -> Level {
        Level { px: Px(px), qty: Qty(7) }
    }

    fn check(event: &Event<'_>) {
        let (mut producer, mut consumer) = ring::channel(1 << 20);
        let stamp = Stamp {
            input_seq: 3,
            ts_recv: Nanos(-4),
            ts_kernel: Nanos::UNDEF,
            ts_parsed: Nanos(9),
        };
        push_watermark(&mut producer, Nanos(77)).unwrap();
        push_event(&mut producer, &stamp, SymbolIndex::NONE, event).unwrap();
        assert!(
            pop(&mut consumer, |staged| matches!(staged, Staged::Watermark(Nanos(77)))).unwrap()
        );
        let found = pop(&mut consumer, |staged| format!("{staged:?}")).unwrap();
        assert_eq!(found, format!("{:?}", Staged::Event(&stamp, SymbolIndex::NONE, *event)));
        assert!(pop(&mut consumer, |_| ()).is_none());
    }

    #[test]
    fn every_event_comes_out_as_it_went_in() {
        let (bids, asks) = (vec![level(1), level(2)], vec![level(3); 5_000]);
        check(&Event::Depth(DepthUpdate {
            ts_event: Nanos(5),
            first_update_id: 6,
            last_update_id: u64::MAX,
            bids: &bids,
            asks: &asks,
        }));
        check(&Event::Snapshot(DepthSnapshot {
            last_update_id: 9,
            limit: 5000,
            bids: &[],
            asks: &asks,
        }));
        check(&Event::Quote(Quote {
            update_id: 1,
            bid_px: Px(2),
            bid_qty: Qty(3),
            ask_px: Px(4),
            ask_qty: Qty(5),
        }));
        for (stream, side) in [(TradeStream::Trade, Side::Sell), (TradeStream::AggTrade, Side::Buy)]
        {
            check(&Event::Trade(Trade {
                stream,
                side,
                ts_event: Nanos(1),
                ts_trade: Nanos(-2),
                id: 9,
                first_id: 3,
                last_id: 4,
                px: Px(5),
                qty: Qty(6),
            }));
        }
        // Each word another value.
        let words: [u64; size_of::<Ticker>() / 8] = std::array::from_fn(|at| at as u64 + 1);
        check(&Event::Ticker(bytemuck::cast_ref(&words)));
        let kline = |open_time| Kline {
            open_time: Nanos(open_time),
            open: Px(2),
            high: Px(5),
            low: Px(1),
            close: Px(4),
            volume: Qty(9),
            quote_volume: 30,
            taker_buy_volume: Qty(3),
            taker_buy_quote_volume: 10,
            trade_count: 7,
        };
        let rows: Vec<Kline> = (0..1_000).map(kline).collect();
        for interval in BarInterval::ALL {
            check(&Event::Klines { interval, source: KlineSource::Rest, rows: &rows });
        }
        let (interval, source) = (BarInterval::Second, KlineSource::Stream);
        check(&Event::Klines { interval, source, rows: &rows[..1] });
        let past = |id| PastTrade {
            ts_trade: Nanos(-2),
            id,
            first_id: 3 * id,
            last_id: 3 * id + 2,
            px: Px(5),
            qty: Qty(6),
            taker_sold: id % 2,
        };
        let past: Vec<PastTrade> = (0..1_000).map(past).collect();
        for rows in [&past[..], &past[..1], &[]] {
            for stream in [TradeStream::Trade, TradeStream::AggTrade] {
                check(&Event::Trades { stream, rows });
            }
        }
        for length in [0, 1, 8, 4_097] {
            check(&Event::Bounds { bytes: &vec![7; length] });
        }
        check(&Event::ServerTime { server: Nanos(1), sent: Nanos(2) });
        check(&Event::Instrument { status: InstrumentStatus::Halted, tick_matches: true });
        let output = cobring_types::ModelOutput::answering(1, 2, 3).with_value(4.0);
        let output = output.with_outputs(&[0.5; 16]).unwrap();
        check(&Event::Model { model: ModelIndex(7), output: &output });
        for control in [
            Control::LinkUp { connection: 7, scope: LinkScope::ALL },
            Control::LinkDown { connection: u16::MAX, scope: LinkScope::DEPTH },
            Control::SnapshotRequested { limit: 5000, background: true },
            Control::TickerRequested,
            Control::TradesRequested {
                stream: TradeStream::AggTrade,
                first_id: u64::MAX,
                limit: 1_000,
            },
            Control::KlinesRequested {
                interval: BarInterval::Hour,
                start: Nanos(-7),
                limit: 1_000,
            },
            Control::Stalled { scope: LinkScope::TRADE },
            Control::Halted { halted: true },
            Control::ClockStep { wall_offset: Nanos(-3) },
            Control::Break { last_timer: Nanos(7) },
            Control::LogLost { inputs: 12 },
            Control::Checkpoint,
            Control::Stop,
        ] {
            check(&Event::Control(control));
        }
    }
}
