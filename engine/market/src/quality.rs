//! How good a frame is: five components, the least of which is the score. FRAME.md, "Quality".

use cobring_frame::Quality as QualityBlock;
use cobring_types::Nanos;

/// What the components are made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub live: bool,
    pub crossed: bool,
    /// Book and bookTicker, or book and audit, disagreed, and no snapshot has mended it yet.
    pub audit_mismatch: bool,
    pub link_down: bool,
    pub halted: bool,
    pub unlogged: bool,
    pub flow_truncated: bool,
    /// The venue confirmed that depth, and so the best prices, have not changed.
    pub quiet: bool,
    pub trades_stalled: bool,
    pub age_depth: Nanos,
    pub age_quote: Nanos,
    pub age_trade: Nanos,
    pub freshness_limit: Nanos,
    /// Repaired bars among the last 300.
    pub repaired_bars: u32,
    /// Known and all buckets of the imbalance.
    pub known_buckets: (i64, i64),
    /// Least share of the rows that the required windows need.
    pub completeness: f64,
}

/// Bits of `quality.reasons`, in the order of [`cobring_frame::REASONS`].
mod reason {
    pub(super) const NOT_LIVE: u64 = 1;
    pub(super) const DEPTH_OLD: u64 = 1 << 1;
    pub(super) const QUOTE_OLD: u64 = 1 << 2;
    pub(super) const TRADES_STALLED: u64 = 1 << 3;
    pub(super) const CROSSED: u64 = 1 << 4;
    pub(super) const AUDIT_MISMATCH: u64 = 1 << 5;
    pub(super) const REPAIRED_BARS: u64 = 1 << 6;
    pub(super) const COVERAGE: u64 = 1 << 7;
    pub(super) const LINK_DOWN: u64 = 1 << 8;
    pub(super) const HALTED: u64 = 1 << 9;
    pub(super) const UNLOGGED: u64 = 1 << 10;
    pub(super) const FLOW_TRUNCATED: u64 = 1 << 11;
    pub(super) const ROWS_MISSING: u64 = 1 << 12;
}

/// 1 up to the limit, then falling to 0 at twice the limit; 0 where nothing ever came.
#[expect(clippy::cast_precision_loss, reason = "ages are far below 2^53 ns; a ratio is a float")]
fn fresh(age: Nanos, limit: Nanos) -> f64 {
    match age.get() {
        None => 0.0,
        // Nearly always, and without a division.
        Some(age) if age <= limit.0 => 1.0,
        Some(age) => (2.0 - age as f64 / limit.0 as f64).clamp(0.0, 1.0),
    }
}

impl Facts {
    pub(crate) fn write(&self, block: &mut QualityBlock) {
        let fresh = |age| if self.quiet { 1.0 } else { fresh(age, self.freshness_limit) };
        let (depth, quote) = (fresh(self.age_depth), fresh(self.age_quote));
        block.sync = if self.live { 1.0 } else { 0.0 };
        // Trades count only when the watchdog calls them stalled.
        block.freshness = if self.trades_stalled { 0.0 } else { depth.min(quote) };
        block.completeness = self.completeness;
        block.consistency = match self.repaired_bars {
            _ if self.crossed || self.audit_mismatch => 0.0,
            0 => 1.0,
            bars => (1.0 - f64::from(bars) / 30.0).clamp(0.0, 1.0),
        };
        block.coverage = if self.live { ratio(self.known_buckets) } else { 0.0 };
        block.score =
            [block.sync, block.freshness, block.completeness, block.consistency, block.coverage]
                .into_iter()
                .fold(1.0, f64::min);
        block.reasons = [
            (reason::NOT_LIVE, !self.live),
            (reason::DEPTH_OLD, depth < 1.0),
            (reason::QUOTE_OLD, quote < 1.0),
            (reason::TRADES_STALLED, self.trades_stalled),
            (reason::CROSSED, self.crossed),
            (reason::AUDIT_MISMATCH, self.audit_mismatch),
            (reason::REPAIRED_BARS, self.repaired_bars > 0),
            (reason::COVERAGE, block.coverage < 1.0),
            (reason::LINK_DOWN, self.link_down),
            (reason::HALTED, self.halted),
            (reason::UNLOGGED, self.unlogged),
            (reason::FLOW_TRUNCATED, self.flow_truncated),
            (reason::ROWS_MISSING, self.completeness < 1.0),
        ]
        .into_iter()
        .fold(0, |reasons, (bit, holds)| reasons | if holds { bit } else { 0 });
        block.age_depth = self.age_depth.0;
        block.age_quote = self.age_quote.0;
        block.age_trade = self.age_trade.0;
    }
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn ratio((known, all): (i64, i64)) -> f64 {
    if known == all { 1.0 } else { known as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;
    use cobring_frame::REASONS;

    use super::*;

    const GOOD: Facts = Facts {
        live: true,
        crossed: false,
        audit_mismatch: false,
        link_down: false,
        halted: false,
        unlogged: false,
        flow_truncated: false,
        quiet: false,
        trades_stalled: false,
        age_depth: Nanos(90_000_000),
        age_quote: Nanos(0),
        age_trade: Nanos::UNDEF,
        freshness_limit: Nanos(3_000_000_000),
        repaired_bars: 0,
        known_buckets: (11, 11),
        completeness: 1.0,
    };

    fn check(facts: Facts, score: f64, reasons: &[&str]) {
        let mut block = QualityBlock::zeroed();
        facts.write(&mut block);
        assert_eq!(block.score.to_bits(), score.to_bits(), "{facts:?}: {}", block.score);
        let names: Vec<_> = (0..REASONS.len())
            .filter(|bit| block.reasons >> bit & 1 == 1)
            .map(|bit| REASONS[bit])
            .collect();
        assert_eq!(names, reasons);
    }

    #[test]
    fn the_score_is_the_least_component_and_names_its_reason() {
        check(GOOD, 1.0, &[]);
        check(Facts { live: false, ..GOOD }, 0.0, &["not_live", "coverage"]);
        check(Facts { age_depth: Nanos(4_500_000_000), ..GOOD }, 0.5, &["depth_old"]);
        check(Facts { age_quote: Nanos::UNDEF, ..GOOD }, 0.0, &["quote_old"]);
        check(Facts { repaired_bars: 3, ..GOOD }, 0.9, &["repaired_bars"]);
        check(Facts { repaired_bars: 40, ..GOOD }, 0.0, &["repaired_bars"]);
        check(Facts { audit_mismatch: true, ..GOOD }, 0.0, &["audit_mismatch"]);
        check(Facts { known_buckets: (9, 12), ..GOOD }, 0.75, &["coverage"]);
        check(Facts { completeness: 0.5, ..GOOD }, 0.5, &["rows_missing"]);
        check(Facts { trades_stalled: true, ..GOOD }, 0.0, &["trades_stalled"]);
        check(
            Facts { link_down: true, halted: true, unlogged: true, ..GOOD },
            1.0,
            &["link_down", "halted", "unlogged"],
        );
    }
}
