//! Faults between a market's message and its listeners.

use std::time::Duration;

use crate::book::Book;
use crate::faults::{Fault, Rewrite, fits};
use crate::rewrite::{joined, rewrite};
use crate::wall_clock::WallClock;

/// How a message is put into frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Manner {
    #[default]
    Whole,
    /// Only the first half of its text.
    Half,
    /// In continuation frames of so many bytes.
    Fragments(usize),
    /// With times in µs, whatever the client asked for.
    Microseconds,
}

/// A message that goes out instead of the market's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) data: String,
    pub(crate) manner: Manner,
}

impl Delivery {
    fn whole(data: impl Into<String>) -> Self {
        Self { data: data.into(), manner: Manner::Whole }
    }
}

/// A fault on messages of some streams.
#[derive(Debug)]
struct Filter {
    pattern: String,
    effect: Effect,
    /// Messages that pass before the fault begins.
    skip: u64,
    /// Messages that it still hits.
    left: u64,
    /// By the wall clock.
    until: Option<Duration>,
    /// Stream and payload that an effect over two messages has of the first.
    first: Option<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Effect {
    Drop,
    Duplicate,
    Malformed,
    Reorder,
    Overlap,
    Rewrite(Rewrite),
    Fragments(usize),
}

/// All that wait or go on.
#[derive(Debug, Default)]
pub(crate) struct StreamFaults(Vec<Filter>);

impl StreamFaults {
    /// Takes up a fault on messages at a time of the wall clock; any other is none of it.
    pub(crate) fn add(&mut self, fault: &Fault, now: Duration) {
        let (pattern, effect, nth, count, for_ms) = match fault {
            Fault::Drop { stream, nth, count } => (stream, Effect::Drop, *nth, *count, None),
            Fault::Duplicate { stream, nth, count } => {
                (stream, Effect::Duplicate, *nth, *count, None)
            }
            Fault::Malformed { stream, nth, count } => {
                (stream, Effect::Malformed, *nth, *count, None)
            }
            Fault::Reorder { stream, nth, count } => (stream, Effect::Reorder, *nth, *count, None),
            Fault::Overlap { stream, nth, count } => (stream, Effect::Overlap, *nth, *count, None),
            Fault::Rewrite { stream, how, nth, count } => {
                (stream, Effect::Rewrite(how.clone()), *nth, *count, None)
            }
            Fault::Fragments { stream, bytes, nth, count } => {
                (stream, Effect::Fragments(*bytes), *nth, *count, None)
            }
            Fault::Stall { stream, for_ms } => (stream, Effect::Drop, 1, u64::MAX, *for_ms),
            _ => return,
        };
        let until = for_ms.map(|ms| now + Duration::from_millis(ms));
        self.0.push(Filter {
            pattern: pattern.clone(),
            effect,
            skip: nth.saturating_sub(1),
            left: count,
            until,
            first: None,
        });
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// What goes out instead of a message: of the faults that it fits only the first hits it. `None` where none does.
    pub(crate) fn meet(
        &mut self,
        stream: &str,
        data: &str,
        before: Option<&Book>,
        clock: &WallClock,
    ) -> Option<Vec<Delivery>> {
        if self.0.is_empty() {
            return None;
        }
        let now = clock.now();
        self.0.retain(|filter| filter.left > 0 && filter.until.is_none_or(|until| now < until));
        let mut met = None;
        for filter in self.0.iter_mut().filter(|filter| fits(&filter.pattern, stream)) {
            if filter.skip > 0 {
                filter.skip -= 1;
            } else if met.is_none() {
                met = filter.hit(stream, data, before);
            }
        }
        met
    }
}

impl Filter {
    fn hit(&mut self, stream: &str, data: &str, before: Option<&Book>) -> Option<Vec<Delivery>> {
        let manner = |manner| vec![Delivery { data: data.to_owned(), manner }];
        let deliveries = match &self.effect {
            Effect::Drop => Vec::new(),
            Effect::Duplicate => vec![Delivery::whole(data); 2],
            Effect::Malformed => manner(Manner::Half),
            Effect::Fragments(bytes) => manner(Manner::Fragments(*bytes)),
            Effect::Rewrite(Rewrite::Microseconds) => manner(Manner::Microseconds),
            Effect::Rewrite(how) => vec![Delivery::whole(rewrite(how, data, before)?)],
            Effect::Reorder | Effect::Overlap => match self.first.take() {
                None => {
                    self.first = Some((stream.to_owned(), data.to_owned()));
                    // The first of an overlap comes as it is.
                    return (self.effect == Effect::Reorder).then(Vec::new);
                }
                Some(first) if first.0 != stream => {
                    self.first = Some(first);
                    return None;
                }
                Some((_, first)) if self.effect == Effect::Reorder => {
                    vec![Delivery::whole(data), Delivery::whole(first)]
                }
                Some((_, first)) => vec![Delivery::whole(joined(&first, data)?)],
            },
        };
        self.left -= 1;
        Some(deliveries)
    }
}

#[cfg(test)]
mod tests {
    use super::{Manner, StreamFaults};
    use crate::faults::{Fault, Rewrite};
    use crate::wall_clock::WallClock;

    const DEPTH: &str = "ethusdt@depth@100ms";

    /// Each message as it goes out, by its first id.
    fn deliver(fault: Fault) -> Vec<Vec<(String, Manner)>> {
        let (mut faults, clock) = (StreamFaults::default(), WallClock::standing());
        faults.add(&fault, clock.now());
        let mut out = Vec::new();
        for id in 1..=4_u64 {
            let data = format!(
                r#"{{"e":"depthUpdate","E":1,"s":"ETHUSDT","U":{id},"u":{id},"b":[],"a":[]}}"#
            );
            // Another stream is never met.
            assert_eq!(faults.meet("btcusdt@depth@100ms", &data, None, &clock), None);
            let met = faults.meet(DEPTH, &data, None, &clock);
            let ids = |text: &str| {
                let value: serde_json::Value = serde_json::from_str(text).unwrap();
                format!("{}-{}", value["U"], value["u"])
            };
            out.push(match met {
                None => vec![(ids(&data), Manner::Whole)],
                Some(sent) => sent.iter().map(|sent| (ids(&sent.data), sent.manner)).collect(),
            });
        }
        out
    }

    #[test]
    fn each_effect_hits_the_messages_that_it_should() {
        let stream = || DEPTH.to_owned();
        let whole = |id: &str| (id.to_owned(), Manner::Whole);
        let [one, two, three, four] = ["1-1", "2-2", "3-3", "4-4"].map(whole);
        let as_is = |message: &(String, Manner)| vec![message.clone()];
        let (nth, count) = (2, 1);
        for (fault, second, third) in [
            (Fault::Drop { stream: stream(), nth, count }, vec![], as_is(&three)),
            (
                Fault::Duplicate { stream: stream(), nth, count },
                vec![two.clone(), two.clone()],
                as_is(&three),
            ),
            (
                Fault::Malformed { stream: stream(), nth, count },
                vec![("2-2".into(), Manner::Half)],
                as_is(&three),
            ),
            (
                Fault::Fragments { stream: stream(), bytes: 3, nth, count },
                vec![("2-2".into(), Manner::Fragments(3))],
                as_is(&three),
            ),
            (
                Fault::Reorder { stream: stream(), nth, count },
                vec![],
                vec![three.clone(), two.clone()],
            ),
            (Fault::Overlap { stream: stream(), nth, count }, as_is(&two), vec![whole("2-3")]),
            (
                Fault::Rewrite { stream: stream(), how: Rewrite::Microseconds, nth, count: 2 },
                vec![("2-2".into(), Manner::Microseconds)],
                vec![("3-3".into(), Manner::Microseconds)],
            ),
            // It waits for a message that has a decimal.
            (
                Fault::Rewrite { stream: stream(), how: Rewrite::Number("NaN".into()), nth, count },
                as_is(&two),
                as_is(&three),
            ),
        ] {
            let expected = vec![as_is(&one), second, third, as_is(&four)];
            assert_eq!(deliver(fault.clone()), expected, "{fault:?}");
        }
    }
}
