//! Division by a constant that must leave no rest.

/// Divides whole numbers that are multiples of it, without a division.
///
/// An odd number has an inverse modulo 2^64, by which its multiples, and no others, become at most (2^64 − 1) divided
/// by it; for the factors of two the product is rotated, so that a rest of them becomes too large as well. Granlund and
/// Montgomery, "Division by invariant integers using multiplication", section 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExactDivisor {
    inverse: u64,
    twos: u32,
    highest: u64,
}

impl ExactDivisor {
    /// # Panics
    /// Where the divisor is 0.
    #[must_use]
    pub const fn new(divisor: u64) -> Self {
        assert!(divisor > 0, "nothing is a multiple of 0");
        let twos = divisor.trailing_zeros();
        let odd = divisor >> twos;
        // Right in three bits, and in twice as many with each step.
        let mut inverse = odd;
        let mut step = 0;
        while step < 5 {
            inverse = inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse)));
            step += 1;
        }
        Self { inverse, twos, highest: u64::MAX / divisor }
    }

    /// The inverse modulo 2^64 of the divisor without its factors of two.
    #[must_use]
    pub const fn inverse(&self) -> u64 {
        self.inverse
    }

    /// How often the divisor can be halved.
    #[must_use]
    pub const fn twos(&self) -> u64 {
        self.twos as u64
    }

    /// The highest quotient: a product, rotated, that is above it comes of no multiple.
    #[must_use]
    pub const fn highest(&self) -> u64 {
        self.highest
    }

    /// The quotient, where there is no rest.
    #[inline]
    #[must_use]
    pub const fn divide(&self, number: u64) -> Option<u64> {
        let (quotient, is_exact) = self.quotient(number);
        if is_exact { Some(quotient) } else { None }
    }

    /// The quotient and whether there is no rest; with one it means nothing.
    #[inline]
    #[must_use]
    pub const fn quotient(&self, number: u64) -> (u64, bool) {
        let quotient = number.wrapping_mul(self.inverse).rotate_right(self.twos);
        (quotient, quotient <= self.highest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn multiples_and_only_they_are_divided(
            divisor in prop_oneof![1u64..=1_000_000_000_000, any::<u64>().prop_map(|d| d.max(1)), (0u32..19).prop_map(|n| 10u64.pow(n))],
            number: u64,
            near: u64,
        ) {
            let exact = ExactDivisor::new(divisor);
            for number in [number, number / divisor * divisor, near % divisor, 0, divisor, u64::MAX] {
                let wanted = number.is_multiple_of(divisor).then(|| number / divisor);
                prop_assert_eq!(exact.divide(number), wanted);
            }
        }
    }
}
