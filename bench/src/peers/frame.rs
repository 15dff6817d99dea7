//! Bytes in a buffer → complete frame visible, for depth messages: the engine, and what one writes first for the same
//! frame: simd-json's tape, sorted maps, and every figure made anew from all levels.
//!
//! Both sides publish frames of the same size into rings as the engine's readers find them. The twin computes the blocks
//! that follow from the book; the others, which the engine keeps up to date too, it leaves as they are.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use cobring_frame::{FrameImage, FrameRing, Segment};
use cobring_market::SymbolConfig;
use cobring_pipeline::config::Config;
use cobring_pipeline::memory;
use cobring_pipeline::replay::segment_spec;
use cobring_types::{Px, Side};
use serde::Deserialize;

use super::json::{TICK_UNITS, TapeWalk, units};
use super::{BLOCK, Pass, ROUNDS, clock_ns, elapsed_ns, print_figure, summary};
use crate::path::{Kind, load};
use crate::player::Player;

/// Levels are compared and shown in ticks and in units of 10^-8, as everywhere here.
type Levels = BTreeMap<i64, i64>;

/// Numbered as FRAME.md's `book_state`.
const LIVE: u8 = 2;

struct Twin {
    config: SymbolConfig,
    tape: TapeWalk,
    bids: Levels,
    asks: Levels,
    bid_known_to: i64,
    ask_known_to: i64,
    update_id: u64,
    image: FrameImage,
    ring: FrameRing,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Snapshot<'m> {
    last_update_id: u64,
    #[serde(borrow)]
    bids: Vec<(&'m str, &'m str)>,
    #[serde(borrow)]
    asks: Vec<(&'m str, &'m str)>,
}

impl Twin {
    fn new(config: &SymbolConfig) -> Result<Self, Box<dyn Error>> {
        let (spec, _) = segment_spec(config, 0);
        let mut segment = Segment::private(&spec)?;
        segment.touch();
        let Segment { ring, .. } = segment;
        Ok(Self {
            config: config.clone(),
            tape: TapeWalk::new(),
            bids: Levels::new(),
            asks: Levels::new(),
            bid_known_to: 0,
            ask_known_to: i64::MAX,
            update_id: 0,
            image: FrameImage::new(config.layout),
            ring,
        })
    }

    /// The snapshot, and the messages that came before it and go on from it.
    fn on_snapshot(&mut self, bytes: &[u8], before: &[&[u8]]) -> Result<(), Box<dyn Error>> {
        let snapshot: Snapshot<'_> = serde_json::from_slice(bytes)?;
        let level = |(px, qty): &(&str, &str)| {
            ((units(px) / TICK_UNITS).cast_signed(), units(qty).cast_signed())
        };
        self.bids = snapshot.bids.iter().map(level).collect();
        self.asks = snapshot.asks.iter().map(level).collect();
        // Both sides are full in the recordings.
        self.bid_known_to = self.bids.keys().next().copied().unwrap_or(0);
        self.ask_known_to = self.asks.keys().next_back().copied().unwrap_or(i64::MAX);
        self.update_id = snapshot.last_update_id;
        before.iter().for_each(|bytes| self.apply(bytes));
        Ok(())
    }

    fn apply(&mut self, bytes: &[u8]) {
        let Self { tape, bids, asks, update_id, .. } = self;
        let known = *update_id;
        let mut levels: [Vec<(i64, i64)>; 2] = Default::default();
        let last = tape.depth(bytes, |side, px, qty| levels[side as usize].push((px, qty)));
        if last <= known {
            return;
        }
        *update_id = last;
        for (map, levels) in [bids, asks].into_iter().zip(levels) {
            for (px, qty) in levels {
                if qty == 0 {
                    map.remove(&px)
                } else {
                    map.insert(px, qty)
                };
            }
        }
    }

    #[inline(never)]
    fn publish(&mut self, bytes: &[u8]) {
        self.apply(bytes);
        self.show();
        self.image.head_mut().identity.seq += 1;
        self.ring.publish(self.image.words());
    }

    fn show(&mut self) {
        let Self { config, bids, asks, bid_known_to, ask_known_to, update_id, image, .. } = self;
        let (bids, asks) = (&*bids, &*asks);
        let instrument = &config.instrument;
        let px = |px: i64| instrument.px_f64(Px(px));
        let qty = |units: i128| instrument.qty_sum_f64(units);
        let (Some((&best_bid, _)), Some((&best_ask, _))) =
            (bids.last_key_value(), asks.first_key_value())
        else {
            return;
        };
        let head = image.head_mut();
        let book = &mut head.book;
        book.book_state = LIVE;
        book.update_id = *update_id;
        for (place, (&ticks, &units)) in book.bids.iter_mut().zip(bids.iter().rev()) {
            *place = [px(ticks), qty(units.into())];
        }
        for (place, (&ticks, &units)) in book.asks.iter_mut().zip(asks) {
            *place = [px(ticks), qty(units.into())];
        }
        book.bid_known_to = px(*bid_known_to);
        book.ask_known_to = px(*ask_known_to);
        let count = |levels: usize| u32::try_from(levels).unwrap_or(u32::MAX);
        book.levels_known_bid = count(bids.range(*bid_known_to..).count());
        book.levels_known_ask = count(asks.range(..=*ask_known_to).count());
        let size = config.bucket_ticks;
        let radius = config.radius();
        let mid = best_bid + best_ask;
        let centre = mid.div_euclid(2 * size);
        let first = centre - radius;
        let mut buckets = vec![(0i128, 0i128); config.layout.buckets()];
        for (&ticks, &units) in bids.range(first * size..) {
            let at = usize::try_from(ticks.div_euclid(size) - first);
            if let Some(bucket) = at.ok().and_then(|at| buckets.get_mut(at)) {
                bucket.0 += i128::from(units);
            }
        }
        for (&ticks, &units) in asks.range(..(centre + radius + 1) * size) {
            let at = usize::try_from(ticks.div_euclid(size) - first);
            if let Some(bucket) = at.ok().and_then(|at| buckets.get_mut(at)) {
                bucket.1 += i128::from(units);
            }
        }
        let ratio = |bid: i128, ask: i128| {
            if bid + ask == 0 { 0.0 } else { (bid - ask) as f64 / (bid + ask) as f64 }
        };
        let around = |distance: i64| {
            let from = usize::try_from(radius - distance).unwrap_or(0);
            let to = usize::try_from(radius + distance).unwrap_or(0);
            buckets[from..=to].iter().fold((0, 0), |sum, (b, a)| (sum.0 + b, sum.1 + a))
        };
        let is_known = |bucket: i64| {
            bucket * size >= *bid_known_to && (bucket + 1) * size - 1 <= *ask_known_to
        };
        head.cob.bucket_size = instrument.ticks_f64(size.into());
        head.cob.centre_bucket = centre;
        let k = config.imbalance_radius();
        let (bid, ask) = around(k);
        head.imbalance.imbalance = ratio(bid, ask);
        head.imbalance.imbalance_valid = u8::from((centre - k..=centre + k).all(is_known));
        let range = 2 * config.range_ticks;
        let near = |side: Side| -> i128 {
            match side {
                Side::Buy => {
                    let levels = bids.iter().rev().take_while(|(px, _)| mid - 2 * **px <= range);
                    levels.map(|(_, &units)| i128::from(units)).sum()
                }
                Side::Sell => {
                    let levels = asks.iter().take_while(|(px, _)| 2 * **px - mid <= range);
                    levels.map(|(_, &units)| i128::from(units)).sum()
                }
            }
        };
        head.imbalance.imbalance_px = ratio(near(Side::Buy), near(Side::Sell));
        let within: Vec<f64> = (0..=radius)
            .map(|distance| {
                let (bid, ask) = around(distance);
                ratio(bid, ask)
            })
            .collect();
        let arrays = image.arrays_mut();
        arrays.imbalance_within.copy_from_slice(&within);
        arrays.valid.fill(0);
        for (at, (bucket, &(bid, ask))) in (first..).zip(&buckets).enumerate() {
            arrays.bid_qty[at] = qty(bid);
            arrays.ask_qty[at] = qty(ask);
            arrays.valid[at / 64] |= u64::from(is_known(bucket)) << (at % 64);
        }
    }
}

/// Every word that follows from the book.
fn words_of_book(image: &FrameImage) -> Vec<u64> {
    let head = image.head();
    let mut words = vec![
        head.cob.centre_bucket.cast_unsigned(),
        head.imbalance.imbalance.to_bits(),
        head.imbalance.imbalance_px.to_bits(),
        head.imbalance.imbalance_valid.into(),
    ];
    words.extend_from_slice(bytemuck::cast_slice(bytemuck::bytes_of(&head.book)));
    // The arrays behind the fixed blocks.
    words.extend_from_slice(&image.words()[size_of_val(head) / 8..]);
    words
}

pub(super) fn run(files: &[PathBuf], only: &str) -> Result<(), Box<dyn Error>> {
    const FIGURE: &str = "bytes_to_frame";
    if !FIGURE.starts_with(only) {
        return Ok(());
    }
    let symbols = Config::built_in().symbol_configs();
    let messages = load(files, &symbols)?;
    let clock_ns = clock_ns();
    let mut rounds = Vec::new();
    let mut count = 0;
    for round in 0..=ROUNDS {
        let is_check = round == 0;
        let mut ours = Player::new(&symbols, false)?;
        let mut twins = symbols.iter().map(Twin::new).collect::<Result<Vec<_>, _>>()?;
        memory::warm();
        let mut begun = vec![false; symbols.len()];
        let mut before: Vec<Vec<&[u8]>> = vec![Vec::new(); symbols.len()];
        let mut passes: [Pass; 2] = Default::default();
        let mut all: [Vec<u64>; 2] = Default::default();
        for block in messages.chunks(if is_check { 1 } else { 16 * BLOCK }) {
            let mut due = Vec::new();
            let mut each: [Vec<u64>; 2] = Default::default();
            for message in block {
                let at = message.symbol.at();
                ours.advance(message.ts_recv);
                let began = Instant::now();
                message.play(&mut ours);
                let elapsed = elapsed_ns(began);
                match message.kind {
                    Kind::Depth if begun[at] => {
                        each[0].push(elapsed);
                        due.push(message);
                    }
                    Kind::Depth => before[at].push(&message.bytes),
                    _ => {}
                }
                if message.kind == Kind::Snapshot {
                    twins[at].on_snapshot(&message.bytes, &before[at])?;
                    begun[at] = true;
                }
            }
            for message in due {
                let at = message.symbol.at();
                let began = Instant::now();
                twins[at].publish(&message.bytes);
                each[1].push(elapsed_ns(began));
                if is_check
                    && words_of_book(ours.image(message.symbol)) != words_of_book(&twins[at].image)
                {
                    let id = twins[at].update_id;
                    return Err(format!("{FIGURE}: at update id {id} the frames differ").into());
                }
            }
            for ((pass, all), each) in passes.iter_mut().zip(&mut all).zip(each) {
                pass.push_block(&each, clock_ns);
                all.extend(each);
            }
        }
        count = all[0].len();
        for (pass, all) in passes.iter_mut().zip(all) {
            pass.set_p99(all);
        }
        if !is_check {
            rounds.push(passes);
        }
    }
    print_figure(
        FIGURE,
        "simd-json + BTreeMap + rescan",
        Some(12.0),
        summary(&rounds, count, clock_ns),
    )
}
