//! The venues, by the names that the configuration uses.

/// A venue whose protocol this crate speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Venue {
    /// Binance spot.
    Binance,
}

impl Venue {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Binance];

    /// Its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Binance => "binance",
        }
    }

    /// The venue of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|venue| venue.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_venue_is_found_by_its_name() {
        for &venue in Venue::ALL {
            assert_eq!(Venue::by_name(venue.name()), Some(venue));
        }
        assert_eq!(Venue::by_name("Binance"), None);
    }
}
