//! One symbol's klines: the past and the trades played, in one.
//!
//! Guarantees: a kline is the sum of all trades whose time lies in it, whatever the interval; the one in which play began
//! has both parts. One without trades is flat at the last price before it. Does not: keep live bars for ever (the oldest
//! of each grain go first; what is gone is not answered rather than answered wrongly).

use std::sync::Arc;

use super::history::{KlineHistory, Walker};
use super::interval::{HOUR_MS, Interval, MINUTE_MS, SECOND_MS};
use super::sums::Sums;
use crate::source::Trade;
use crate::statistics::{Bar, Bars};

/// A kline and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kline {
    pub(crate) open_ms: i64,
    pub(crate) next_open_ms: i64,
    pub(crate) sums: Sums,
}

/// Which klines: those whose opening time lies in `start_ms..=end_ms`, at most `limit`; the first ones where `start_ms`
/// is given, else the last ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KlineQuery {
    /// The earliest opening time, ms.
    pub start_ms: Option<i64>,
    /// The latest opening time, ms.
    pub end_ms: Option<i64>,
    /// How many.
    pub limit: usize,
}

#[derive(Debug)]
pub(crate) struct Klines {
    history: Option<Arc<KlineHistory>>,
    seconds: Bars,
    minutes: Bars,
    hours: Bars,
    /// Where the first kline begins; unknown before the first trade where there is no history.
    first_ms: Option<i64>,
}

impl Klines {
    pub(crate) fn new(history: Option<Arc<KlineHistory>>) -> Self {
        Self {
            first_ms: history.as_ref().map(|history| history.listed_ms()),
            history,
            seconds: Bars::every(SECOND_MS),
            minutes: Bars::every(MINUTE_MS),
            hours: Bars::every(HOUR_MS),
        }
    }

    pub(crate) fn history(&self) -> Option<&Arc<KlineHistory>> {
        self.history.as_ref()
    }

    pub(crate) fn add(&mut self, trade: &Trade) {
        let second_ms = Interval::Second1.open_ms(trade.trade_ms);
        self.first_ms = Some(self.first_ms.map_or(second_ms, |first| first.min(second_ms)));
        self.seconds.add(trade);
        self.minutes.add(trade);
        self.hours.add(trade);
    }

    /// Bars of the trades played, without those before: seconds and minutes.
    pub(crate) fn played(&self) -> (Vec<Bar>, Vec<Bar>) {
        (self.seconds.to_vec(), self.minutes.to_vec())
    }

    /// The kline that opens at `open_ms`; `None` where no price is known yet.
    pub(crate) fn kline(&self, interval: Interval, open_ms: i64) -> Option<Kline> {
        self.with_walker(interval, open_ms, &mut self.walker())
    }

    /// At `now_ms` by the venue's clock: the last one may be open.
    pub(crate) fn rows(&self, interval: Interval, query: &KlineQuery, now_ms: i64) -> Vec<Kline> {
        let Some(first_ms) = self.first_ms else { return Vec::new() };
        let first = interval.open_ms(first_ms);
        let last = interval.open_ms(query.end_ms.unwrap_or(now_ms).min(now_ms).max(first_ms - 1));
        let mut open_ms = match query.start_ms {
            Some(start_ms) if start_ms <= first => first,
            Some(start_ms) if start_ms > last => return Vec::new(),
            Some(start_ms) => match interval.open_ms(start_ms) {
                open_ms if open_ms == start_ms => open_ms,
                open_ms => interval.next_open_ms(open_ms),
            },
            None => {
                let mut open_ms = last;
                for _ in 1..query.limit {
                    if open_ms <= first {
                        break;
                    }
                    open_ms = interval.open_ms(open_ms - 1);
                }
                open_ms
            }
        };
        let mut rows = Vec::with_capacity(query.limit.min(1_000));
        let mut walker = self.walker();
        while open_ms <= last && rows.len() < query.limit {
            if !self.is_forgotten(interval, open_ms) {
                rows.extend(self.with_walker(interval, open_ms, &mut walker));
            }
            open_ms = interval.next_open_ms(open_ms);
        }
        rows
    }

    /// The trades in `from_ms..to_ms`, both whole seconds; flat where there are none, `None` before the first price.
    pub(crate) fn sum(&self, from_ms: i64, to_ms: i64) -> Option<Sums> {
        self.sum_with(from_ms, to_ms, &mut self.walker())
    }

    fn walker(&self) -> Option<Walker<'_>> {
        self.history.as_ref().map(|history| history.walker())
    }

    fn with_walker(
        &self,
        interval: Interval,
        open_ms: i64,
        walker: &mut Option<Walker<'_>>,
    ) -> Option<Kline> {
        let next_open_ms = interval.next_open_ms(open_ms);
        let sums = self.sum_with(open_ms, next_open_ms, walker)?;
        Some(Kline { open_ms, next_open_ms, sums })
    }

    fn sum_with(&self, from_ms: i64, to_ms: i64, walker: &mut Option<Walker<'_>>) -> Option<Sums> {
        let past = walker.as_mut().and_then(|walker| walker.sum(from_ms, to_ms));
        match (past, self.played_sum(from_ms, to_ms)) {
            (Some(mut past), Some(played)) => {
                past.join(&played);
                Some(past)
            }
            (None, None) => self.px_before(from_ms).map(Sums::flat),
            (past, played) => past.or(played),
        }
    }

    fn played_sum(&self, from_ms: i64, to_ms: i64) -> Option<Sums> {
        let mut at_ms = from_ms.max(self.hours.first_open_ms()?);
        let to_ms = to_ms.min(self.seconds.last_open_ms()? + SECOND_MS);
        let mut total: Option<Sums> = None;
        while at_ms < to_ms {
            let fits = |length_ms| at_ms % length_ms == 0 && at_ms + length_ms <= to_ms;
            let (bars, length_ms) = if fits(HOUR_MS) {
                (&self.hours, HOUR_MS)
            } else if fits(MINUTE_MS) {
                (&self.minutes, MINUTE_MS)
            } else {
                (&self.seconds, SECOND_MS)
            };
            match (bars.get(at_ms), &mut total) {
                (Some(next), Some(total)) => total.join(next),
                (Some(next), None) => total = Some(*next),
                (None, _) => {}
            }
            at_ms += length_ms;
        }
        total
    }

    fn px_before(&self, at_ms: i64) -> Option<i64> {
        let played = [&self.seconds, &self.minutes, &self.hours]
            .into_iter()
            .find_map(|bars| bars.last_before(at_ms))
            .map(|sums| sums.close);
        played.or_else(|| {
            self.history
                .as_ref()
                .filter(|history| history.end_ms() <= at_ms)
                .map(|past| past.end_px())
        })
    }

    /// Whether the trades of this kline were played and are gone.
    fn is_forgotten(&self, interval: Interval, open_ms: i64) -> bool {
        let bars = match interval {
            Interval::Second1 => &self.seconds,
            _ if interval.next_open_ms(0) % HOUR_MS != 0 => &self.minutes,
            _ => &self.hours,
        };
        bars.forgotten_before_ms().is_some_and(|ms| open_ms < ms)
            && self
                .history
                .as_ref()
                .is_none_or(|past| interval.next_open_ms(open_ms) > past.end_ms())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::{Just, ProptestConfig, any, prop, prop_oneof, proptest};

    use super::{Kline, KlineQuery, Klines};
    use crate::decimal::Fixed;
    use crate::kline::{DAY_MS, Interval, KlineHistory, Sums};
    use crate::source::{SymbolSpec, Trade};

    /// 2026-03-04 05:06:07.890, a Wednesday.
    const START_MS: i64 = 1_772_600_767_890;
    const END_PX: Fixed = Fixed(270_012_000_000);

    fn klines(seed: u64, listed_days: u32) -> Klines {
        let spec = SymbolSpec::of("ETHUSDT");
        Klines::new(Some(KlineHistory::new(seed, &spec, END_PX, START_MS, listed_days)))
    }

    fn trade(trade_ms: i64, px: i64, qty: i64, id: u64) -> Trade {
        let (px, qty) = (Fixed(px), Fixed(qty));
        Trade { id, px, qty, trade_ms, is_buyer_maker: id.is_multiple_of(2), taker_order: 0 }
    }

    fn query(start_ms: Option<i64>, end_ms: Option<i64>, limit: usize) -> KlineQuery {
        KlineQuery { start_ms, end_ms, limit }
    }

    /// The kline from those of a shorter interval, by the definition: only those with trades count.
    fn aggregate(parts: &[Kline]) -> Sums {
        let mut with_trades = parts.iter().map(|part| part.sums).filter(|s| s.trade_count > 0);
        let Some(first) = with_trades.next() else { return parts[0].sums };
        with_trades.fold(first, |whole, next| Sums {
            open: whole.open,
            high: whole.high.max(next.high),
            low: whole.low.min(next.low),
            close: next.close,
            volume: whole.volume + next.volume,
            quote_volume: whole.quote_volume + next.quote_volume,
            taker_buy_volume: whole.taker_buy_volume + next.taker_buy_volume,
            taker_buy_quote_volume: whole.taker_buy_quote_volume + next.taker_buy_quote_volume,
            trade_count: whole.trade_count + next.trade_count,
            last_id: next.last_id,
        })
    }

    fn check_parts(klines: &Klines, longer: Interval, shorter: Interval, at_ms: i64, now_ms: i64) {
        let open_ms = longer.open_ms(at_ms);
        let next_ms = longer.next_open_ms(open_ms);
        let whole = klines.rows(longer, &query(Some(open_ms), Some(open_ms), 1), now_ms);
        let parts = klines.rows(shorter, &query(Some(open_ms), Some(next_ms - 1), 100_000), now_ms);
        assert_eq!(whole[0].sums, aggregate(&parts), "{longer} of {shorter} at {open_ms}");
    }

    /// What every venue's kline obeys.
    fn check_sane(kline: &Kline) {
        let s = &kline.sums;
        assert!(
            0 < s.low && s.low <= s.open.min(s.close) && s.open.max(s.close) <= s.high,
            "{s:?}"
        );
        let average_is_between = |volume: i128, quote: i128| {
            i128::from(s.low) * volume <= quote && quote <= i128::from(s.high) * volume
        };
        assert!(average_is_between(s.volume, s.quote_volume), "{s:?}");
        assert!(average_is_between(s.taker_buy_volume, s.taker_buy_quote_volume), "{s:?}");
        let (sold, sold_quote) =
            (s.volume - s.taker_buy_volume, s.quote_volume - s.taker_buy_quote_volume);
        assert!(average_is_between(sold, sold_quote), "{s:?}");
        assert!((s.trade_count == 0) == (s.volume == 0), "{s:?}");
        assert!(s.trade_count > 1 || (s.open == s.close && s.high == s.low), "{s:?}");
        assert!((s.high - s.low) % 1_000_000 == 0 && s.volume % 10_000 == 0, "{s:?}");
    }

    const PAIRS: [(Interval, Interval); 17] = [
        (Interval::Minute1, Interval::Second1),
        (Interval::Minute3, Interval::Minute1),
        (Interval::Minute5, Interval::Second1),
        (Interval::Minute15, Interval::Minute5),
        (Interval::Minute30, Interval::Minute15),
        (Interval::Hour1, Interval::Minute1),
        (Interval::Hour1, Interval::Second1),
        (Interval::Hour2, Interval::Minute30),
        (Interval::Hour4, Interval::Hour2),
        (Interval::Hour6, Interval::Hour1),
        (Interval::Hour8, Interval::Hour4),
        (Interval::Hour12, Interval::Minute3),
        (Interval::Day1, Interval::Hour1),
        (Interval::Day1, Interval::Minute1),
        (Interval::Day3, Interval::Day1),
        (Interval::Week1, Interval::Hour12),
        (Interval::Month1, Interval::Day1),
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn klines_of_all_intervals_are_sums_of_shorter_ones(
            seed in any::<u64>(),
            days_back in prop_oneof![Just(0.0), 0.0..1_599.0_f64],
            name in prop_oneof![Just("ETHUSDT"), Just("BTCUSDT"), Just("DOGEUSDT")],
        ) {
            let spec = SymbolSpec::of(name);
            let end_px = SymbolSpec::typical_px(name);
            let klines =
                Klines::new(Some(KlineHistory::new(seed, &spec, end_px, START_MS, 1_600)));
            #[expect(clippy::cast_possible_truncation, reason = "a place in the past")]
            let at_ms = START_MS - (days_back * DAY_MS as f64) as i64;
            for (longer, shorter) in PAIRS {
                check_parts(&klines, longer, shorter, at_ms, START_MS);
            }
        }

        /// A naive model: one map of all trades played.
        #[test]
        fn live_klines_are_the_trades_played_after_the_past(
            seed in 0..4_u64,
            steps in prop::collection::vec((0..90_000_i64, -50..50_i64, 1..1_000_i64), 1..60),
        ) {
            let (past, mut klines) = (klines(seed, 3), klines(seed, 3));
            let (mut now_ms, mut px, mut played) = (START_MS, END_PX.0, Vec::new());
            for (id, (wait_ms, move_ticks, lots)) in (1..).zip(steps) {
                now_ms += wait_ms;
                px += move_ticks * 1_000_000;
                let trade = trade(now_ms, px, lots * 10_000, id);
                klines.add(&trade);
                played.push(trade);
            }
            for interval in Interval::ALL {
                let from_ms = interval.open_ms(START_MS - 60_000);
                let rows = klines.rows(interval, &query(Some(from_ms), None, 1_000_000), now_ms);
                let mut expected: BTreeMap<i64, Sums> = BTreeMap::new();
                for trade in &played {
                    let open_ms = interval.open_ms(trade.trade_ms);
                    let before = || past.kline(interval, open_ms).map(|kline| kline.sums);
                    let flat = Sums::flat(trade.px.0);
                    let sums = expected.entry(open_ms).or_insert_with(|| {
                        before().filter(|sums| sums.trade_count > 0).unwrap_or(flat)
                    });
                    sums.join(&Sums::trade(trade.px.0, trade.qty.0, !trade.is_buyer_maker, trade.id));
                }
                for row in rows.iter().filter(|row| row.next_open_ms > START_MS) {
                    check_sane(row);
                    match expected.remove(&row.open_ms) {
                        Some(sums) => assert_eq!(row.sums, sums, "{interval} at {}", row.open_ms),
                        None if row.sums.trade_count == 0 => {
                            let before = played.iter().rev().find(|t| t.trade_ms < row.open_ms);
                            assert_eq!(row.sums, Sums::flat(before.map_or(END_PX.0, |t| t.px.0)));
                        }
                        None => assert!(row.open_ms < START_MS),
                    }
                }
                assert!(expected.is_empty(), "{interval}: {expected:?}");
                assert_eq!(rows.last().unwrap().open_ms, interval.open_ms(now_ms));
            }
        }
    }

    #[test]
    fn every_interval_has_1500_sane_bars_that_end_at_the_last_price() {
        let klines = klines(5, 1_600);
        for interval in Interval::ALL {
            let rows = klines.rows(interval, &query(None, None, 1_501), START_MS);
            let expected = match interval {
                Interval::Day3 => 534,
                Interval::Week1 => 230,
                Interval::Month1 => 54,
                _ => 1_501,
            };
            assert_eq!(rows.len(), expected, "{interval}");
            assert!(rows.windows(2).all(|pair| pair[0].next_open_ms == pair[1].open_ms));
            rows.iter().for_each(check_sane);
            assert_eq!(rows.last().unwrap().sums.close, END_PX.0, "{interval}");
        }
        let days = klines.rows(Interval::Day1, &query(None, None, 2_000), START_MS);
        let (low, high) = (
            days.iter().map(|day| day.sums.low).min().unwrap(),
            days.iter().map(|day| day.sums.high).max().unwrap(),
        );
        assert!(low > END_PX.0 / 3 && high < END_PX.0 * 3, "{low} {high}");
    }

    #[test]
    fn the_past_depends_on_seed_and_symbol_and_not_on_the_listing() {
        let rows =
            |klines: &Klines| klines.rows(Interval::Minute1, &query(None, None, 500), START_MS);
        assert_eq!(rows(&klines(1, 1_600)), rows(&klines(1, 2)));
        assert_ne!(rows(&klines(1, 2)), rows(&klines(2, 2)));
        let spec = SymbolSpec { name: "ETHUSDC".into(), ..SymbolSpec::of("ETHUSDT") };
        let other = Klines::new(Some(KlineHistory::new(1, &spec, END_PX, START_MS, 2)));
        assert_ne!(rows(&klines(1, 2)), rows(&other));
    }

    #[test]
    fn before_its_listing_a_symbol_has_no_bars() {
        let klines = klines(1, 2);
        let midnight = Interval::Day1.open_ms(START_MS);
        for (interval, count, first) in [
            (Interval::Day1, 3, midnight - 2 * DAY_MS),
            (Interval::Hour1, 48 + 6, midnight - 2 * DAY_MS),
            (Interval::Week1, 1, midnight - 2 * DAY_MS),
            (Interval::Month1, 1, midnight - 3 * DAY_MS),
        ] {
            let rows = klines.rows(interval, &query(Some(0), None, 5_000), START_MS);
            assert_eq!((rows.len(), rows[0].open_ms), (count, first), "{interval}");
        }
        let before = query(None, Some(midnight - 3 * DAY_MS), 10);
        assert_eq!(klines.rows(Interval::Minute1, &before, START_MS), []);
        assert_eq!(
            self::klines(1, 0).rows(Interval::Day1, &query(None, None, 9), START_MS).len(),
            1
        );
    }

    #[test]
    fn a_query_takes_the_first_from_its_start_or_the_last_to_its_end() {
        let klines = klines(1, 2);
        let at = |hour: i64| Interval::Day1.open_ms(START_MS) + hour * 3_600_000;
        for (start_ms, end_ms, limit, expected) in [
            (Some(at(0)), None, 3, vec![0, 1, 2]),
            (Some(at(0) + 1), None, 2, vec![1, 2]),
            (None, None, 2, vec![4, 5]),
            (None, Some(at(3)), 2, vec![2, 3]),
            (None, Some(at(3) - 1), 2, vec![1, 2]),
            (Some(at(1)), Some(at(2)), 10, vec![1, 2]),
            (Some(at(4)), Some(i64::MAX), 10, vec![4, 5]),
            (Some(at(5) + 1), None, 10, vec![]),
            (Some(at(3)), Some(at(2)), 10, vec![]),
            (Some(i64::MAX), None, 10, vec![]),
            (None, Some(i64::MIN), 10, vec![]),
        ] {
            let rows = klines.rows(Interval::Hour1, &query(start_ms, end_ms, limit), START_MS);
            let opens: Vec<_> = rows.iter().map(|row| (row.open_ms - at(0)) / 3_600_000).collect();
            assert_eq!(opens, expected, "{start_ms:?} {end_ms:?} {limit}");
        }
    }

    #[test]
    fn without_a_past_klines_begin_with_the_first_trade() {
        let mut klines = Klines::new(None);
        assert_eq!(klines.rows(Interval::Second1, &query(None, None, 10), START_MS), []);
        klines.add(&trade(START_MS, 5, 1, 1));
        klines.add(&trade(START_MS + 2_000, 6, 1, 2));
        let rows = klines.rows(Interval::Second1, &query(None, None, 10), START_MS + 3_000);
        let told: Vec<_> = rows.iter().map(|r| (r.sums.close, r.sums.trade_count)).collect();
        assert_eq!(told, [(5, 1), (5, 0), (6, 1), (6, 0)]);
    }
}
