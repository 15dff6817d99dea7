//! A queue of bounded length that uses no more of its memory than it needs.
//!
//! Guarantees: memory for `MAX` items is reserved once and no push allocates; a queue that stays short goes round in little
//! of it, which then stays in caches, and the rest is never touched. (A `VecDeque` goes round in all that it has.)

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Places that are used at first.
const PLACES_MIN: usize = 64;

/// At most `MAX` items, oldest first.
#[derive(Debug, Clone)]
pub(crate) struct Queue<T, const MAX: usize> {
    /// Those that are used; all that are taken come round after the last one.
    places: Vec<T>,
    /// Place of the oldest item.
    first: usize,
    len: usize,
}

impl<T, const MAX: usize> Default for Queue<T, MAX> {
    fn default() -> Self {
        Self { places: Vec::with_capacity(MAX), first: 0, len: 0 }
    }
}

impl<T: Copy, const MAX: usize> Queue<T, MAX> {
    /// Reserves all memory that it will need (again).
    pub(crate) fn reserve(&mut self) {
        self.places.reserve_exact(MAX.saturating_sub(self.places.len()));
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len == MAX
    }

    /// Adds the newest item; a full queue gives up its oldest one.
    pub(crate) fn push(&mut self, item: T) {
        if self.is_full() {
            self.pop();
        } else if self.len == self.places.len() {
            self.widen(item);
        }
        let place = self.place(self.len);
        self.places[place] = item;
        self.len += 1;
    }

    /// Takes twice the places into use; those that are new hold `item`.
    #[cold]
    fn widen(&mut self, item: T) {
        const { assert!(PLACES_MIN <= MAX) };
        self.places.rotate_left(self.first);
        self.first = 0;
        self.places.resize((2 * self.len).clamp(PLACES_MIN, MAX), item);
    }

    /// Takes out the oldest item.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let oldest = *self.get(0)?;
        self.first = self.place(1);
        self.len -= 1;
        Some(oldest)
    }

    /// The item behind `at` older ones.
    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        if at < self.len { self.places.get(self.place(at)) } else { None }
    }

    #[inline]
    fn place(&self, at: usize) -> usize {
        let place = self.first + at;
        if place < self.places.len() { place } else { place - self.places.len() }
    }

    pub(crate) fn clear(&mut self) {
        (self.first, self.len) = (0, 0);
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        (0..self.len).map(|at| &self.places[self.place(at)])
    }
}

impl<T: Copy + Serialize, const MAX: usize> Serialize for Queue<T, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Queue<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let places = Vec::<T>::deserialize(deserializer)?;
        if places.len() > MAX {
            return Err(D::Error::invalid_length(
                places.len(),
                &"no more items than a queue holds",
            ));
        }
        let len = places.len();
        Ok(Self { places, first: 0, len })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 150;

    proptest! {
        #[test]
        fn a_queue_is_a_deque(steps in proptest::collection::vec((0usize..100, 0usize..100), 0..40)) {
            let mut queue = Queue::<usize, MAX>::default();
            let memory = queue.places.as_ptr();
            let mut naive = VecDeque::new();
            let mut number = 0;
            for (pushed, popped) in steps {
                for _ in 0..pushed {
                    if naive.len() == MAX { naive.pop_front(); }
                    queue.push(number);
                    naive.push_back(number);
                    number += 1;
                }
                for _ in 0..popped {
                    prop_assert_eq!(queue.pop(), naive.pop_front());
                }
                prop_assert_eq!(queue.len(), naive.len());
                prop_assert!(queue.iter().eq(&naive));
                prop_assert_eq!((queue.get(0), queue.get(naive.len())), (naive.front(), None));
                prop_assert!(queue.places.len() <= PLACES_MIN.max(2 * number));
                let saved = postcard::to_allocvec(&queue).unwrap();
                let mut restored: Queue<usize, MAX> = postcard::from_bytes(&saved).unwrap();
                restored.reserve();
                restored.push(7);
                let kept = naive.iter().skip(usize::from(naive.len() == MAX)).chain([&7]);
                prop_assert!(restored.iter().eq(kept));
            }
            prop_assert_eq!(queue.places.as_ptr(), memory);
            queue.clear();
            prop_assert_eq!((queue.len(), queue.pop()), (0, None));
        }
    }

    #[test]
    fn more_items_than_fit_are_refused() {
        let saved = postcard::to_allocvec(&vec![1u8; 5]).unwrap();
        assert!(postcard::from_bytes::<Queue<u8, 4>>(&saved).is_err());
        assert!(postcard::from_bytes::<Queue<u8, 5>>(&saved).is_ok());
    }
}
