//! The newest N values of a series, in place.
//!
//! Guarantees: no allocation but the one that a checkpoint's reading takes; a copy is a plain copy.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The newest `N` values pushed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ring<T, const N: usize> {
    items: [T; N],
    len: usize,
    /// Where the next value goes; the oldest value's place once all are taken.
    next: usize,
}

impl<T: Copy + Default, const N: usize> Default for Ring<T, N> {
    fn default() -> Self {
        Self { items: [T::default(); N], len: 0, next: 0 }
    }
}

impl<T: Copy + Default, const N: usize> Ring<T, N> {
    /// Adds the newest value; gives back the oldest one where it had to go.
    pub(crate) fn push(&mut self, item: T) -> Option<T> {
        let gone = std::mem::replace(&mut self.items[self.next], item);
        self.next = (self.next + 1) % N;
        if self.len == N {
            return Some(gone);
        }
        self.len += 1;
        None
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len == N
    }

    pub(crate) fn clear(&mut self) {
        (self.len, self.next) = (0, 0);
    }

    /// The value pushed `back` values before the newest one.
    pub(crate) fn back(&self, back: usize) -> Option<&T> {
        (back < self.len).then(|| &self.items[(self.next + N - 1 - back) % N])
    }

    /// As [`Ring::back`], to change it.
    pub(crate) fn back_mut(&mut self, back: usize) -> Option<&mut T> {
        (back < self.len).then(|| &mut self.items[(self.next + N - 1 - back) % N])
    }

    /// All values, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        // Where not all places are taken, the first one pushed is at 0.
        let start = if self.len == N { self.next } else { 0 };
        self.items[start..self.len].iter().chain(&self.items[..start])
    }

    /// All values in no order.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.items[..self.len].iter_mut()
    }
}

impl<T: Copy + Default + Serialize, const N: usize> Serialize for Ring<T, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de, T: Copy + Default + Deserialize<'de>, const N: usize> Deserialize<'de> for Ring<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items = Vec::<T>::deserialize(deserializer)?;
        if items.len() > N {
            return Err(D::Error::invalid_length(items.len(), &"no more values than a ring holds"));
        }
        let mut ring = Self::default();
        for item in items {
            ring.push(item);
        }
        Ok(ring)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn it_holds_the_newest_values_in_order_and_survives_a_checkpoint() {
        let mut ring = Ring::<u32, 5>::default();
        let mut naive = VecDeque::new();
        for value in 0..17 {
            naive.push_back(value);
            let gone = if naive.len() > 5 { naive.pop_front() } else { None };
            assert_eq!(ring.push(value), gone);
            assert!(ring.iter().eq(&naive), "{ring:?}");
            assert_eq!(ring.is_full(), naive.len() == 5);
            for back in 0..6 {
                let expected = naive.len().checked_sub(back + 1).map(|at| naive[at]);
                assert_eq!(ring.back(back).copied(), expected);
                assert_eq!(ring.back_mut(back).copied(), expected);
            }
            let saved = postcard::to_allocvec(&ring).unwrap();
            let restored: Ring<u32, 5> = postcard::from_bytes(&saved).unwrap();
            assert!(restored.iter().eq(&naive));
            assert!(naive.len() < 5 || postcard::from_bytes::<Ring<u32, 4>>(&saved).is_err());
        }
        *ring.back_mut(1).unwrap() = 99;
        assert_eq!(ring.iter().nth(3), Some(&99));
        ring.iter_mut().for_each(|value| *value += 1);
        assert_eq!(ring.iter().copied().collect::<Vec<_>>(), [13, 14, 15, 100, 17]);
        ring.clear();
        assert_eq!(ring.iter().count(), 0);
    }
}
