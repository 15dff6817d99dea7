//! Whether the ids of a stream go on one by one, over all connections that bring it.
//!
//! Guarantees: an id is told missing once, when no connection can bring it any more, with what may have swallowed it.

use std::collections::BTreeMap;

use cobring_types::Ranges;

/// Ranges ahead of a missing one that are kept, should a slower connection still bring it.
const AHEAD_MAX: usize = 1_024;

/// What came between the last id before a missing one and the first after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Nothing that the log knows: the feed left it out.
    Feed,
    /// No connection carried the stream.
    Link,
    /// The log does not hold all inputs.
    Log,
}

/// Ids that did not come, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingIds {
    /// The first one.
    pub first: u64,
    /// The last one.
    pub last: u64,
    /// What swallowed them, as far as the log tells.
    pub cause: Cause,
}

/// The ids of one stream of one symbol.
#[derive(Debug, Clone, Default)]
pub(super) struct IdStream {
    /// Above all that came or was told missing.
    next: Option<u64>,
    /// What came ahead of that.
    ahead: Ranges,
    /// The last id of each connection that delivers.
    last: BTreeMap<u16, u64>,
    interrupted: Option<Cause>,
}

impl IdStream {
    /// The run before had the ids up to `last`.
    pub(super) fn go_on(&mut self, last: u64) {
        self.next = Some(last.saturating_add(1));
        self.interrupted = Some(Cause::Link);
    }

    /// A message with the ids `first..=last`.
    pub(super) fn on_ids(
        &mut self,
        connection: u16,
        (first, last): (u64, u64),
        missing: impl FnMut(MissingIds),
    ) {
        let held = self.last.entry(connection).or_default();
        *held = (*held).max(last);
        let restarted = self.interrupted == Some(Cause::Link)
            && self.next.is_some_and(|next| last.saturating_add(1) < next);
        match self.next {
            Some(_) if !restarted => self.ahead.insert(first, last),
            // The first one, or a venue that numbers anew.
            _ => {
                self.ahead.clear();
                self.interrupted = None;
                self.next = Some(last.saturating_add(1));
            }
        }
        self.settle(missing);
    }

    /// A connection begins: what it brought before is over.
    pub(super) fn on_link(&mut self, connection: u16, missing: impl FnMut(MissingIds)) {
        self.last.remove(&connection);
        self.settle(missing);
        if self.last.is_empty() {
            self.interrupted.get_or_insert(Cause::Link);
        }
    }

    /// The log does not hold what came here.
    pub(super) fn on_hole(&mut self, missing: impl FnMut(MissingIds)) {
        self.last.clear();
        self.settle(missing);
        self.interrupted = Some(Cause::Log);
    }

    /// Goes on over what is there, and over what nobody will bring.
    fn settle(&mut self, mut missing: impl FnMut(MissingIds)) {
        let Some(mut next) = self.next else { return };
        while let Some((first, last)) = self.ahead.first() {
            if first > next {
                // Each connection brings its ids in order.
                let awaited = self.last.values().any(|&held| held < first);
                if awaited && self.ahead.len() < AHEAD_MAX {
                    break;
                }
                let cause = self.interrupted.unwrap_or(Cause::Feed);
                missing(MissingIds { first: next, last: first - 1, cause });
            }
            self.interrupted = None;
            next = next.max(last.saturating_add(1));
            self.ahead.pop_first();
        }
        self.next = Some(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `C:A-B` ids A to B on connection C, `C!` its link goes or comes, `lost` a hole of the log.
    fn check(steps: &str, expected: &str) {
        let mut stream = IdStream::default();
        let mut found = Vec::new();
        for step in steps.split_whitespace() {
            let told = |ids: MissingIds| {
                found.push(format!("{}-{}:{:?}", ids.first, ids.last, ids.cause));
            };
            if step == "lost" {
                stream.on_hole(told);
            } else if let Some(connection) = step.strip_suffix('!') {
                stream.on_link(connection.parse().unwrap(), told);
            } else {
                let (connection, ids) = step.split_once(':').unwrap();
                let (first, last) = ids.split_once('-').unwrap();
                let ids = (first.parse().unwrap(), last.parse().unwrap());
                stream.on_ids(connection.parse().unwrap(), ids, told);
            }
        }
        assert_eq!(found.join(" "), expected, "{steps}");
    }

    #[test]
    fn ids_that_nobody_brings_are_missing_and_say_why() {
        for (steps, expected) in [
            ("1:1-5 1:6-6 1:7-9", ""),
            ("1:1-5 1:8-9 1:10-10", "6-7:Feed"),
            // Again and overlapping.
            ("1:1-5 1:1-5 1:4-8 1:9-9", ""),
            ("1:1-5 1! 2! 2:9-9 2:10-12 2:14-14", "6-8:Link 13-13:Feed"),
            ("1:1-5 lost 1:9-9 1:11-11", "6-8:Log 10-10:Feed"),
            ("1:1-5 lost 1:6-6 1:11-11", "7-10:Feed"),
            // The second connection brings what the first left out.
            ("1:1-5 2:5-5 1:8-9 2:6-7 2:8-9 1:10-10", ""),
            ("1:1-5 2:5-5 1:8-9 2:8-9", "6-7:Feed"),
            // And goes before it does.
            ("1:1-5 2:5-5 1:8-9 2! 1:10-10", "6-7:Feed"),
            // A renewal: the new one begins while the old one goes on.
            ("1:1-5 2! 1:6-7 2:6-7 1! 2:8-8 2:10-10", "9-9:Feed"),
            // A venue that was set back numbers anew.
            ("1:1000-1005 1! 1:1-5 1:6-7 1:9-9", "8-8:Feed"),
        ] {
            check(steps, expected);
        }
    }
}
