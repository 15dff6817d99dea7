//! Price buckets: the quantity of all levels in each, kept as levels change.
//!
//! Guarantees: exact sums for every bucket within reach of the centre. The array covers twice the reach on
//! either side, so that it is rebuilt only after the price has moved by the whole reach.

use cobring_types::{Level, Px, Side};
use serde::{Deserialize, Serialize};

use crate::ladder::Ladder;

/// Bucket quantities around the centre.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Buckets {
    bucket_ticks: i64,
    reach: i64,
    /// Bucket of element 0; `None` until the first centre is known.
    first: Option<i64>,
    /// (bid, ask) quantity by bucket.
    sums: Vec<(i128, i128)>,
}

impl Buckets {
    /// Room for every bucket within `reach` of a centre.
    #[must_use]
    pub(crate) fn new(bucket_ticks: i64, reach: i64) -> Self {
        let width =
            usize::try_from(4 * reach + 1).expect("invariant: the configuration bounds the reach");
        Self { bucket_ticks, reach, first: None, sums: vec![(0, 0); width] }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.first = None;
    }

    fn position(&self, bucket: i64) -> Option<usize> {
        usize::try_from(bucket.checked_sub(self.first?)?).ok().filter(|&at| at < self.sums.len())
    }

    /// Accounts a change of the quantity at `px`.
    pub(crate) fn add(&mut self, side: Side, px: Px, difference: i128) {
        let Some(at) = self.position(px.0.div_euclid(self.bucket_ticks)) else { return };
        match side {
            Side::Buy => self.sums[at].0 += difference,
            Side::Sell => self.sums[at].1 += difference,
        }
    }

    /// Whether every bucket within reach of this centre is kept.
    #[must_use]
    pub(crate) fn covers(&self, centre: i64) -> bool {
        self.position(centre - self.reach).is_some() && self.position(centre + self.reach).is_some()
    }

    /// Sums all levels anew around a centre.
    pub(crate) fn rebuild(&mut self, centre: i64, bids: &Ladder, asks: &Ladder) {
        self.first = Some(centre - 2 * self.reach);
        self.sums.fill((0, 0));
        let lowest = Px((centre - 2 * self.reach).saturating_mul(self.bucket_ticks));
        let highest = Px((centre + 2 * self.reach + 1).saturating_mul(self.bucket_ticks) - 1);
        let add_all = |buckets: &mut Self, side, levels: &[Level]| {
            for level in levels {
                buckets.add(side, level.px, i128::from(level.qty.0));
            }
        };
        add_all(self, Side::Buy, bids.down_to(lowest));
        add_all(self, Side::Sell, asks.down_to(highest));
    }

    /// (bid, ask) quantity of a bucket within reach of the centre; nothing beyond.
    #[must_use]
    pub(crate) fn get(&self, bucket: i64) -> (i128, i128) {
        self.position(bucket).map_or((0, 0), |at| self.sums[at])
    }
}
