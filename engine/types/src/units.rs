//! Newtypes for the three quantities whose mix-up costs money.

use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[repr(transparent)]
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Pod, Zeroable, Serialize,
            Deserialize,
        )]
        pub struct $name(pub i64);

        impl $name {
            /// "No value": never a real one.
            pub const UNDEF: Self = Self(i64::MIN);

            /// Whether this holds a value.
            #[must_use]
            pub const fn is_defined(self) -> bool {
                self.0 != i64::MIN
            }

            /// The value, or `None` where it is [`Self::UNDEF`].
            #[must_use]
            pub const fn get(self) -> Option<i64> {
                if self.is_defined() { Some(self.0) } else { None }
            }
        }
    };
}

unit! {
    /// A price in ticks of its instrument.
    Px
}
unit! {
    /// A quantity in units of 10^-`qty_decimals` of the base asset (10^-8 by default).
    Qty
}
unit! {
    /// Nanoseconds since the Unix epoch, UTC, or a difference of two such times.
    Nanos
}

impl Qty {
    /// No quantity: in an update it deletes the level.
    pub const ZERO: Self = Self(0);
}

impl Nanos {
    /// One millisecond.
    pub const MILLISECOND: Self = Self(1_000_000);
    /// One second.
    pub const SECOND: Self = Self(1_000_000_000);

    /// A venue's milliseconds since the Unix epoch; `None` beyond the years that fit.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Option<Self> {
        match millis.checked_mul(1_000_000) {
            Some(nanos) => Some(Self(nanos)),
            None => None,
        }
    }

    /// The largest multiple of `interval` that is not above this time.
    #[must_use]
    pub const fn floor_to(self, interval: Nanos) -> Nanos {
        Nanos(self.0 - self.0.rem_euclid(interval.0))
    }

    /// The smallest multiple of `interval` that is not below this time.
    #[must_use]
    pub const fn ceil_to(self, interval: Nanos) -> Nanos {
        let floor = self.floor_to(interval);
        if floor.0 == self.0 { floor } else { Nanos(floor.0 + interval.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_to_the_grid_on_both_sides_of_zero() {
        let grid = Nanos(100);
        for (time, floor, ceil) in [
            (0, 0, 0),
            (1, 0, 100),
            (99, 0, 100),
            (100, 100, 100),
            (-1, -100, 0),
            (-100, -100, -100),
        ] {
            assert_eq!(Nanos(time).floor_to(grid), Nanos(floor), "floor of {time}");
            assert_eq!(Nanos(time).ceil_to(grid), Nanos(ceil), "ceil of {time}");
        }
    }
}
