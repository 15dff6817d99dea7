//! Which connections deliver which of the symbol's streams.

use cobring_types::LinkScope;
use serde::{Deserialize, Serialize};

/// Connections of one symbol at a time: two for depth, two for the rest, twice that while they are renewed.
const LINKS_MAX: usize = 8;

/// Connections that deliver.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Links {
    up: [Option<(u16, LinkScope)>; LINKS_MAX],
    /// A link was up at least once: a recording has none, and is not "down" for that.
    known: bool,
}

impl Links {
    pub(crate) fn up(&mut self, connection: u16, scope: LinkScope) {
        self.known = true;
        self.down(connection);
        if let Some(place) = self.up.iter_mut().find(|place| place.is_none()) {
            *place = Some((connection, scope));
        }
    }

    pub(crate) fn down(&mut self, connection: u16) {
        self.known = true;
        for place in &mut self.up {
            if place.is_some_and(|(held, _)| held == connection) {
                *place = None;
            }
        }
    }

    /// Whether any connection carries one of these streams.
    pub(crate) fn carry(&self, scope: LinkScope) -> bool {
        self.up.iter().flatten().any(|(_, held)| held.carries(scope))
    }

    /// Connections that carry one of these streams.
    pub(crate) fn count(&self, scope: LinkScope) -> usize {
        self.up.iter().flatten().filter(|(_, held)| held.carries(scope)).count()
    }

    /// Connections are told of: this is no recording.
    pub(crate) fn are_known(&self) -> bool {
        self.known
    }

    /// Links are known of, and none carries these streams.
    pub(crate) fn is_down(&self, scope: LinkScope) -> bool {
        self.known && !self.carry(scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_down_only_when_its_last_link_is() {
        let mut links = Links::default();
        assert!(!links.is_down(LinkScope::DEPTH));
        links.up(1, LinkScope::DEPTH);
        links.up(2, LinkScope::ALL);
        links.down(2);
        assert!(links.carry(LinkScope::DEPTH) && !links.carry(LinkScope::QUOTE));
        assert!(links.is_down(LinkScope::TRADE) && !links.is_down(LinkScope::DEPTH));
        links.up(1, LinkScope::QUOTE);
        assert!(links.is_down(LinkScope::DEPTH));
    }
}
