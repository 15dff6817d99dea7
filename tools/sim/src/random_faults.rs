//! The random schedule: what happens when, from a seed alone.

use crate::catalogue::CATALOGUE;
use crate::faults::{Fault, RandomFaults, nanos};
use crate::random::Random;

/// Draws for ever; the n-th fault lies in the n-th stretch of time.
#[derive(Debug)]
pub(crate) struct RandomSchedule {
    config: RandomFaults,
    symbols: Vec<String>,
    drawn: u64,
    /// At a position of play, ns.
    next: (i64, Fault),
}

impl RandomSchedule {
    pub(crate) fn new(config: RandomFaults, symbols: Vec<String>) -> Self {
        let next = draw(&config, &symbols, 0);
        Self { config, symbols, drawn: 1, next }
    }

    /// When the next fault is due.
    pub(crate) fn due_ns(&self) -> i64 {
        self.next.0
    }

    /// The next fault, where it is due.
    pub(crate) fn take_due(&mut self, at_ns: i64) -> Option<Fault> {
        (self.next.0 <= at_ns).then(|| {
            let next = draw(&self.config, &self.symbols, self.drawn);
            self.drawn += 1;
            std::mem::replace(&mut self.next, next).1
        })
    }
}

/// Position and fault of the stretch of that number. One symbol or all, each as likely.
fn draw(config: &RandomFaults, symbols: &[String], number: u64) -> (i64, Fault) {
    let mut random = Random::at(config.seed, number);
    let mut pick = |count: usize| {
        usize::try_from(random.below(count as u64)).expect("invariant: below a usize")
    };
    let part = pick(1_000);
    let drawn = CATALOGUE.iter().filter(|entry| entry.is_drawn);
    let entry = drawn.clone().nth(pick(drawn.count())).expect("invariant: below the count");
    let symbol = symbols.get(pick(symbols.len() + 1)).cloned().unwrap_or_else(|| "*".to_owned());
    #[expect(clippy::cast_precision_loss, reason = "faults are placed in seconds, not in ns")]
    let at_s = (number as f64 + part as f64 / 1_000.0) * config.every_s;
    (nanos(at_s), Fault::Catalogue { id: entry.id.to_owned(), symbol })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::RandomSchedule;
    use crate::catalogue::CATALOGUE;
    use crate::faults::{Fault, RandomFaults};

    /// The faults of each second.
    fn schedule(seed: u64, seconds: u32) -> Vec<(u32, Fault)> {
        let config = RandomFaults { seed, every_s: 5.0 };
        let mut schedule = RandomSchedule::new(config, vec!["ETHUSDT".into(), "BTCUSDT".into()]);
        let mut due = Vec::new();
        for second in 0..seconds {
            while let Some(fault) = schedule.take_due(i64::from(second) * 1_000_000_000) {
                due.push((second, fault));
            }
        }
        due
    }

    #[test]
    fn a_seed_is_a_schedule_with_one_fault_in_each_stretch_and_all_of_the_catalogue_in_time() {
        let drawn = schedule(7, 5_001);
        assert_eq!(drawn, schedule(7, 5_001));
        assert_ne!(drawn, schedule(8, 5_001));
        assert!((1_000..=1_001).contains(&drawn.len()), "{}", drawn.len());
        let ids: BTreeSet<_> = drawn
            .iter()
            .map(|(_, fault)| match fault {
                Fault::Catalogue { id, symbol } => {
                    assert!(["ETHUSDT", "BTCUSDT", "*"].contains(&symbol.as_str()));
                    id.as_str()
                }
                other => panic!("{other:?}"),
            })
            .collect();
        let expected: BTreeSet<_> =
            CATALOGUE.iter().filter(|entry| entry.is_drawn).map(|entry| entry.id).collect();
        assert_eq!(ids, expected);
    }
}
