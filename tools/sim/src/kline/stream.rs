//! When the kline streams of a symbol speak: updates of the open kline while it changes, and once when it closes.
//!
//! Guarantees: each kline that ends while somebody listens is told as closed, those without a trade too, and equals
//! what REST says from then on. A trade that comes after its kline was closed makes it be told again.

use super::interval::{Interval, SECOND_MS};
use super::json::stream_message;
use super::klines::Klines;
use crate::market::Sink;

/// After its end a kline waits this long for late trades; a trade of a later second closes it at once.
/// In the recordings no trade comes later than 189 ms after its second.
const GRACE_MS: i64 = 250;
/// Of a hole in a recording, that many klines of an interval are told one by one; those before are passed over.
const CLOSED_AT_ONCE_MAX: usize = 3_600;

#[derive(Debug)]
pub(crate) struct KlineStreams {
    symbol: String,
    streams: Vec<KlineStream>,
    /// Klines that end by then are closed. A whole second.
    closed_to_ms: i64,
    /// Nothing is due before.
    due_ms: i64,
    /// Id of the first trade played, where known.
    first_trade_id: u64,
}

#[derive(Debug)]
struct KlineStream {
    interval: Interval,
    name: String,
    next_update_ms: i64,
    /// Opening time and count of the kline last told.
    told: (i64, u64),
}

impl KlineStreams {
    /// `name_of` gives the stream's name, or `None` where it comes recorded.
    pub(crate) fn new(
        symbol: &str,
        start_ms: i64,
        first_trade_id: u64,
        name_of: impl Fn(Interval) -> Option<String>,
    ) -> Self {
        let stream = |interval| {
            let name = name_of(interval)?;
            Some(KlineStream { interval, name, next_update_ms: i64::MIN, told: (i64::MIN, 0) })
        };
        Self {
            symbol: symbol.to_owned(),
            streams: Interval::ALL.into_iter().filter_map(stream).collect(),
            closed_to_ms: Interval::Second1.open_ms(start_ms),
            due_ms: i64::MIN,
            first_trade_id,
        }
    }

    /// The venue's clock shows `now_ms`.
    pub(crate) fn pass_time(&mut self, now_ms: i64, klines: &Klines, sink: &mut dyn Sink) {
        if now_ms < self.due_ms {
            return;
        }
        self.close_to(Interval::Second1.open_ms(now_ms - GRACE_MS), now_ms, klines, sink);
        self.update(now_ms, klines, sink);
        let next_update_ms = self.streams.iter().map(|stream| stream.next_update_ms).min();
        let next_close_ms = self.closed_to_ms + SECOND_MS + GRACE_MS;
        self.due_ms = next_update_ms.unwrap_or(i64::MAX).min(next_close_ms);
    }

    /// A trade of `trade_ms` comes next: it is not yet in `klines`.
    pub(crate) fn before_trade(
        &mut self,
        trade_ms: i64,
        now_ms: i64,
        klines: &Klines,
        sink: &mut dyn Sink,
    ) {
        self.close_to(Interval::Second1.open_ms(trade_ms), now_ms, klines, sink);
    }

    /// A trade of `trade_ms` is in `klines`.
    pub(crate) fn after_trade(
        &mut self,
        trade_ms: i64,
        now_ms: i64,
        klines: &Klines,
        sink: &mut dyn Sink,
    ) {
        if trade_ms >= self.closed_to_ms {
            return;
        }
        for stream in &self.streams {
            let open_ms = stream.interval.open_ms(trade_ms);
            if stream.interval.next_open_ms(open_ms) <= self.closed_to_ms
                && sink.wants(&stream.name)
            {
                self.tell(stream, open_ms, true, now_ms, klines, sink);
            }
        }
    }

    fn close_to(&mut self, horizon_ms: i64, now_ms: i64, klines: &Klines, sink: &mut dyn Sink) {
        if horizon_ms <= self.closed_to_ms {
            return;
        }
        for stream in &self.streams {
            let interval = stream.interval;
            let mut open_ms = interval.open_ms(self.closed_to_ms);
            if interval.next_open_ms(open_ms) > horizon_ms || !sink.wants(&stream.name) {
                continue;
            }
            let mut ended = Vec::new();
            while interval.next_open_ms(open_ms) <= horizon_ms {
                ended.push(open_ms);
                open_ms = interval.next_open_ms(open_ms);
            }
            for open_ms in &ended[ended.len().saturating_sub(CLOSED_AT_ONCE_MAX)..] {
                self.tell(stream, *open_ms, true, now_ms, klines, sink);
            }
        }
        self.closed_to_ms = horizon_ms;
    }

    fn update(&mut self, now_ms: i64, klines: &Klines, sink: &mut dyn Sink) {
        let mut streams = std::mem::take(&mut self.streams);
        for stream in streams.iter_mut().filter(|stream| stream.next_update_ms <= now_ms) {
            // In the middle of each second, or at each even second.
            let (every_ms, phase_ms) = match stream.interval {
                Interval::Second1 => (SECOND_MS, SECOND_MS / 2),
                _ => (2 * SECOND_MS, 0),
            };
            stream.next_update_ms =
                ((now_ms - phase_ms).div_euclid(every_ms) + 1) * every_ms + phase_ms;
            let open_ms = stream.interval.open_ms(now_ms);
            let is_closed = stream.interval.next_open_ms(open_ms) <= self.closed_to_ms;
            if is_closed || !sink.wants(&stream.name) {
                continue;
            }
            let count = klines.kline(stream.interval, open_ms).map(|kline| kline.sums.trade_count);
            let told = (open_ms, count.unwrap_or(0));
            if told.1 > 0 && told != stream.told {
                stream.told = told;
                self.tell(stream, open_ms, false, now_ms, klines, sink);
            }
        }
        self.streams = streams;
    }

    fn tell(
        &self,
        stream: &KlineStream,
        open_ms: i64,
        is_closed: bool,
        now_ms: i64,
        klines: &Klines,
        sink: &mut dyn Sink,
    ) {
        let Some(kline) = klines.kline(stream.interval, open_ms) else { return };
        let ids = ids(kline.sums.trade_count, kline.sums.last_id, self.first_trade_id);
        let message = stream_message(&self.symbol, now_ms, stream.interval, &kline, ids, is_closed);
        sink.send(&stream.name, &message);
    }
}

/// First and last trade id; −1 without trades. Ids are contiguous, and those of the past end before the first one played.
pub(crate) fn ids(trade_count: u64, last_id: u64, first_played_id: u64) -> (i64, i64) {
    if trade_count == 0 {
        return (-1, -1);
    }
    let last = if last_id > 0 { last_id } else { first_played_id.saturating_sub(1) };
    let first = (last + 1).saturating_sub(trade_count);
    (i64::try_from(first).unwrap_or(i64::MAX), i64::try_from(last).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{CLOSED_AT_ONCE_MAX, KlineStreams, ids};
    use crate::decimal::Fixed;
    use crate::kline::{Interval, Klines};
    use crate::market::Sink;
    use crate::source::Trade;

    /// `Some` is the one interval that somebody listens to.
    struct Heard(Option<&'static str>, Vec<String>);

    impl Sink for Heard {
        fn wants(&self, stream: &str) -> bool {
            self.0.is_some_and(|interval| stream == format!("x@kline_{interval}"))
        }
        /// As `t=1000 n=2 x=false`.
        fn send(&mut self, _: &str, data: &str) {
            let message: serde_json::Value = serde_json::from_str(data).unwrap();
            let k = &message["k"];
            self.1.push(format!("{} t={} n={} x={}", message["E"], k["t"], k["n"], k["x"]));
        }
    }

    enum Step {
        /// The venue's clock shows this many ms.
        At(i64),
        /// A trade of that time is heard then.
        Trade(i64, i64),
    }
    use Step::{At, Trade as Traded};

    fn run(listener: Option<&'static str>, steps: &[Step]) -> Vec<String> {
        let mut klines = Klines::new(None);
        let mut streams =
            KlineStreams::new("X", 0, 1, |interval: Interval| Some(format!("x@kline_{interval}")));
        let mut heard = Heard(listener, Vec::new());
        let mut id = 0;
        for step in steps {
            match *step {
                At(now_ms) => streams.pass_time(now_ms, &klines, &mut heard),
                Traded(trade_ms, now_ms) => {
                    id += 1;
                    let (px, qty) = (Fixed(5), Fixed(1));
                    let trade =
                        Trade { id, px, qty, trade_ms, is_buyer_maker: true, taker_order: 0 };
                    streams.before_trade(trade_ms, now_ms, &klines, &mut heard);
                    klines.add(&trade);
                    streams.after_trade(trade_ms, now_ms, &klines, &mut heard);
                }
            }
        }
        heard.1
    }

    #[test]
    fn a_second_is_told_in_its_middle_where_it_changed_and_when_it_ends() {
        let steps = [
            Traded(100, 100),
            At(400),
            At(500),
            At(900),
            // No trade: no update, but an end, 250 ms late.
            At(1_249),
            At(1_250),
            At(1_500),
            At(2_250),
            Traded(2_400, 2_400),
            // A trade of the next second ends it at once.
            Traded(3_001, 3_002),
        ];
        assert_eq!(
            run(Some("1s"), &steps),
            [
                "400 t=0 n=1 x=false",
                "1250 t=0 n=1 x=true",
                "2250 t=1000 n=0 x=true",
                "3002 t=2000 n=1 x=true",
            ]
        );
    }

    #[test]
    fn longer_klines_are_told_each_two_seconds_while_they_change() {
        let steps = [
            Traded(100, 100),
            At(2_000),
            At(3_000),
            At(4_000),
            Traded(4_100, 4_100),
            At(5_999),
            At(6_000),
            At(60_250),
        ];
        assert_eq!(
            run(Some("1m"), &steps),
            ["2000 t=0 n=1 x=false", "6000 t=0 n=2 x=false", "60250 t=0 n=2 x=true"]
        );
        assert_eq!(run(None, &steps), [""; 0]);
    }

    #[test]
    fn a_late_trade_makes_its_klines_be_told_again() {
        let steps = [Traded(900, 900), At(1_250), Traded(950, 1_300), Traded(1_100, 1_300)];
        assert_eq!(run(Some("1s"), &steps), ["1250 t=0 n=1 x=true", "1300 t=0 n=2 x=true"]);
    }

    #[test]
    fn a_hole_is_told_bar_by_bar_up_to_an_hour_of_seconds() {
        let told = run(Some("1s"), &[Traded(100, 100), At(3_000_250), At(10_000_250)]);
        assert_eq!(told.len(), 3_000 + CLOSED_AT_ONCE_MAX);
        assert_eq!(told.last().unwrap(), "10000250 t=9999000 n=0 x=true");
    }

    #[test]
    fn ids_are_counted_back_from_the_last_trade() {
        for (count, last_id, first_played, expected) in [
            (0, 0, 50, (-1, -1)),
            (3, 60, 50, (58, 60)),
            (20, 60, 50, (41, 60)),
            (7, 0, 50, (43, 49)),
        ] {
            assert_eq!(ids(count, last_id, first_played), expected);
        }
    }
}
