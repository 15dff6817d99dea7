//! Rings of variable-size records: raw inputs to the parser, events to the aggregator, inputs to the
//! log.
//!
//! Guarantees: records come out once, whole and in order; a record is visible whole or not at all; a
//! body is one slice aligned to 8 bytes, borrowed from the ring itself; no allocation after
//! construction, but for the two buffers of large records, which grow to the largest one and stay.
//! Needs: one thread at each end. Does not: wait, overwrite, resize.
//!
//! A record is a header word, up to [`MAX_HEAD_WORDS`] words and a body. It never wraps: what is left to
//! the ring's end is filled by a pad. A record above a quarter of the ring travels in fragments of at
//! most an eighth, which the consumer joins in a buffer of its own; its producer keeps what did not fit
//! yet, so that an accepted record is never the caller's business again.

mod input;

pub(crate) use input::input_of;

/// The most words a record's head can have.
pub const MAX_HEAD_WORDS: usize = 30;
/// The smallest ring.
pub const MIN_RING_BYTES: usize = 4096;

const WORD_BYTES: usize = size_of::<u64>();
/// First fragment: header, total length, head, and at least one word of the body.
const FIRST_FRAGMENT_OVERHEAD_WORDS: usize = 2;
const _: () =
    assert!(MIN_RING_BYTES / WORD_BYTES / 8 > MAX_HEAD_WORDS + FIRST_FRAGMENT_OVERHEAD_WORDS);
/// Header word: shape in bits 0..8, words of the head in 8..16, bytes of the body (a pad: words) above.
const BODY_SHIFT: u32 = 16;
const _: () = assert!(size_of::<usize>() == size_of::<u64>(), "lengths are 64-bit words");

const WHOLE: u8 = 1;
/// The next word is the length of the whole body in bytes.
const FIRST: u8 = 2;
const REST: u8 = 3;
const PAD: u8 = 4;

/// The ring has no room: nothing was taken, the record is still the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ring is full")]
pub struct Full;

/// A ring of `capacity_bytes`, rounded up to whole words and to at least [`MIN_RING_BYTES`]; every page
/// of it is touched here.
#[must_use]
pub fn channel(capacity_bytes: usize) -> (RecordProducer, RecordConsumer) {
    let ring_words = capacity_bytes.max(MIN_RING_BYTES).div_ceil(WORD_BYTES);
    let (mut producer, consumer) = rtrb::RingBuffer::new(ring_words);
    // The chunk comes filled with zeros; dropped without a commit it stays free.
    drop(producer.write_chunk(ring_words));
    (
        RecordProducer {
            words: producer,
            position: Position { at: 0, ring_words },
            pending: Vec::new(),
            pending_from: 0,
        },
        RecordConsumer {
            words: consumer,
            position: Position { at: 0, ring_words },
            joined: Vec::new(),
            joined_head_words: 0,
            joined_bytes: 0,
            wanted_bytes: 0,
        },
    )
}

/// Where in the ring this end is. Both ends count for themselves and so agree on where a record wraps.
#[derive(Debug, Clone, Copy)]
struct Position {
    /// Index of the next word, below `ring_words`.
    at: usize,
    ring_words: usize,
}

impl Position {
    fn words_to_end(self) -> usize {
        self.ring_words - self.at
    }

    fn advance(&mut self, words: usize) {
        self.at += words;
        if self.at >= self.ring_words {
            self.at -= self.ring_words;
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Header {
    shape: u8,
    head_words: usize,
    /// Bytes of the body that are in this piece; a pad's words.
    length: usize,
}

impl Header {
    fn encode(self) -> u64 {
        u64::from(self.shape) | (self.head_words as u64) << 8 | (self.length as u64) << BODY_SHIFT
    }

    #[expect(clippy::cast_possible_truncation, reason = "the fields are masked to their widths")]
    fn decode(word: u64) -> Self {
        Self {
            shape: word as u8,
            head_words: usize::from((word >> 8) as u8),
            length: (word >> BODY_SHIFT) as usize,
        }
    }

    /// Words of the piece, header included.
    fn words(self) -> usize {
        match self.shape {
            PAD => self.length,
            FIRST => {
                FIRST_FRAGMENT_OVERHEAD_WORDS + self.head_words + self.length.div_ceil(WORD_BYTES)
            }
            _ => 1 + self.head_words + self.length.div_ceil(WORD_BYTES),
        }
    }
}

/// The writing end.
#[derive(Debug)]
pub struct RecordProducer {
    words: rtrb::Producer<u64>,
    position: Position,
    /// Bodies of large records: what of the last one is not in the ring yet is
    /// `pending[pending_from..]`.
    pending: Vec<u8>,
    pending_from: usize,
}

impl RecordProducer {
    /// Hands a record to the ring.
    ///
    /// A record above a quarter of the ring is accepted as soon as its first fragment fits. The producer
    /// then holds its remainder, which follows with the next call here or of [`Self::flush_pending`];
    /// until it is gone nothing else is accepted. So `Ok` means that the ring has the record, `Err` that
    /// it has nothing of it; never push a record again that was accepted.
    ///
    /// # Errors
    /// [`Full`] where there is no room for it now.
    ///
    /// # Panics
    /// Where `head` is longer than [`MAX_HEAD_WORDS`].
    pub fn try_push(&mut self, head: &[u64], body: &[u8]) -> Result<(), Full> {
        self.try_push_parts(head, [body, &[]])
    }

    /// As [`Self::try_push`], with a body of words.
    ///
    /// # Errors
    /// [`Full`] where there is no room for it now.
    pub fn push_words(&mut self, head: &[u64], body: &[u64]) -> Result<(), Full> {
        self.try_push_parts(head, [bytemuck::cast_slice(body), &[]])
    }

    /// As [`Self::try_push`], with a body in two parts that the consumer gets as one, e.g. bids and
    /// asks.
    ///
    /// # Errors
    /// [`Full`] where there is no room for it now.
    pub fn try_push_parts(&mut self, head: &[u64], parts: [&[u8]; 2]) -> Result<(), Full> {
        assert!(
            head.len() <= MAX_HEAD_WORDS,
            "a head of {} words, at most {MAX_HEAD_WORDS} fit",
            head.len()
        );
        if !self.flush_pending() {
            return Err(Full);
        }
        let header = Header {
            shape: WHOLE,
            head_words: head.len(),
            length: parts[0].len() + parts[1].len(),
        };
        let words = header.words();
        if words > self.whole_words_max() {
            return self.push_large(head, parts);
        }
        self.put(words, |record| {
            record[0] = header.encode();
            record[1..=head.len()].copy_from_slice(head);
            let body = &mut bytemuck::cast_slice_mut(&mut record[1 + head.len()..]);
            copy_range(parts, 0, &mut body[..header.length]);
        })
    }

    /// Moves on with a large record that was accepted; whether nothing of it is left.
    pub fn flush_pending(&mut self) -> bool {
        if self.pending.is_empty() {
            return true;
        }
        let pending = std::mem::take(&mut self.pending);
        let done = self.push_rest([&pending[self.pending_from..], &[]]);
        self.pending = pending;
        self.pending_from += done;
        if self.pending_from == self.pending.len() {
            self.pending.clear();
            self.pending_from = 0;
        }
        self.pending.is_empty()
    }

    /// Bytes that are free now; 0 while a large record is under way.
    #[must_use]
    pub fn free_bytes(&self) -> usize {
        if self.pending.is_empty() { self.words.slots() * WORD_BYTES } else { 0 }
    }

    /// Size of the ring.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.position.ring_words * WORD_BYTES
    }

    /// Whether the other end is gone.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.words.is_abandoned()
    }

    fn whole_words_max(&self) -> usize {
        self.position.ring_words / 4
    }

    fn fragment_words_max(&self) -> usize {
        self.position.ring_words / 8
    }

    fn push_large(&mut self, head: &[u64], parts: [&[u8]; 2]) -> Result<(), Full> {
        let total = parts[0].len() + parts[1].len();
        let words = self.fragment_words_max();
        let length = (words - FIRST_FRAGMENT_OVERHEAD_WORDS - head.len()) * WORD_BYTES;
        self.put(words, |piece| {
            piece[0] = Header { shape: FIRST, head_words: head.len(), length }.encode();
            piece[1] = total as u64;
            piece[2..2 + head.len()].copy_from_slice(head);
            copy_range(parts, 0, bytemuck::cast_slice_mut(&mut piece[2 + head.len()..]));
        })?;
        let [first, second] = parts;
        let skipped = length.min(first.len());
        let rest = [&first[skipped..], &second[length - skipped..]];
        let done = self.push_rest(rest);
        // For the whole of it: how much fits now depends on the moment, and this is to grow once.
        self.pending.reserve(total);
        let skipped = done.min(rest[0].len());
        self.pending.extend_from_slice(&rest[0][skipped..]);
        self.pending.extend_from_slice(&rest[1][done - skipped..]);
        Ok(())
    }

    /// Pushes as many further fragments as fit; the bytes pushed.
    fn push_rest(&mut self, parts: [&[u8]; 2]) -> usize {
        let total = parts[0].len() + parts[1].len();
        let bytes_max = (self.fragment_words_max() - 1) * WORD_BYTES;
        let mut done = 0;
        while done < total {
            let length = bytes_max.min(total - done);
            let header = Header { shape: REST, head_words: 0, length };
            let pushed = self.put(header.words(), |piece| {
                piece[0] = header.encode();
                let body = &mut bytemuck::cast_slice_mut(&mut piece[1..])[..length];
                copy_range(parts, done, body);
            });
            if pushed.is_err() {
                break;
            }
            done += length;
        }
        done
    }

    /// Publishes a piece of `words` words, after a pad where it would wrap, in one step.
    fn put(&mut self, words: usize, fill: impl FnOnce(&mut [u64])) -> Result<(), Full> {
        let to_end = self.position.words_to_end();
        let pad = if words > to_end { to_end } else { 0 };
        let mut chunk = self.words.write_chunk(pad + words).map_err(|_| Full)?;
        let (first, second) = chunk.as_mut_slices();
        if pad == 0 {
            fill(first);
        } else {
            first[0] = Header { shape: PAD, head_words: 0, length: pad }.encode();
            fill(second);
        }
        chunk.commit_all();
        self.position.advance(pad + words);
        Ok(())
    }
}

/// Fills `target` from the bytes of `parts`, taken as one, from index `from` on.
fn copy_range(parts: [&[u8]; 2], from: usize, target: &mut [u8]) {
    let [first, second] = parts;
    let first = &first[from.min(first.len())..];
    let from_second = from.saturating_sub(parts[0].len());
    let split = first.len().min(target.len());
    let (left, right) = target.split_at_mut(split);
    left.copy_from_slice(&first[..split]);
    right.copy_from_slice(&second[from_second..from_second + right.len()]);
}

/// The reading end.
#[derive(Debug)]
pub struct RecordConsumer {
    words: rtrb::Consumer<u64>,
    position: Position,
    /// The large record that is being joined: its head, then its body.
    joined: Vec<u64>,
    joined_head_words: usize,
    /// Bytes of its body that are there.
    joined_bytes: usize,
    /// Bytes of its whole body; 0 where none is being joined.
    wanted_bytes: usize,
}

impl RecordConsumer {
    /// Takes the next record: `read` gets its head and its body, the body aligned to 8 bytes. `None`
    /// where there is none yet. The room is free again once `read` returns.
    pub fn pop<R>(&mut self, read: impl FnOnce(&[u64], &[u8]) -> R) -> Option<R> {
        loop {
            let header = Header::decode(*self.words.peek().ok()?);
            let words = header.words();
            let chunk =
                self.words.read_chunk(words).expect("invariant: a piece is published at once");
            let (piece, wrapped) = chunk.as_slices();
            assert!(wrapped.is_empty(), "a piece of {words} words wraps at {:?}", self.position);
            let mut popped = None;
            match header.shape {
                PAD => {}
                WHOLE => {
                    let (head, body) = piece[1..].split_at(header.head_words);
                    let body = &bytemuck::cast_slice(body)[..header.length];
                    let result = read(head, body);
                    chunk.commit_all();
                    self.position.advance(words);
                    return Some(result);
                }
                FIRST => {
                    self.wanted_bytes =
                        usize::try_from(piece[1]).expect("invariant: 64-bit lengths");
                    self.joined_head_words = header.head_words;
                    self.joined_bytes = header.length;
                    self.joined.clear();
                    self.joined.reserve(header.head_words + self.wanted_bytes.div_ceil(WORD_BYTES));
                    self.joined.extend_from_slice(&piece[2..]);
                }
                REST => {
                    self.joined.extend_from_slice(&piece[1..]);
                    self.joined_bytes += header.length;
                    if self.joined_bytes == self.wanted_bytes {
                        let (head, body) = self.joined.split_at(self.joined_head_words);
                        popped = Some((head, &bytemuck::cast_slice(body)[..self.wanted_bytes]));
                    }
                }
                shape => unreachable!("a piece of shape {shape} at {:?}", self.position),
            }
            chunk.commit_all();
            self.position.advance(words);
            if let Some((head, body)) = popped {
                self.wanted_bytes = 0;
                return Some(read(head, body));
            }
        }
    }

    /// As [`Self::pop`], for bodies that were pushed as words.
    ///
    /// # Panics
    /// Where the body is not a whole number of words.
    pub fn pop_words<R>(&mut self, read: impl FnOnce(&[u64], &[u64]) -> R) -> Option<R> {
        self.pop(|head, body| read(head, bytemuck::cast_slice(body)))
    }

    /// Whether nothing is in the ring; a large record that is under way may still be incomplete.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether a large record has begun and its end is not there yet.
    #[must_use]
    pub fn is_joining(&self) -> bool {
        self.wanted_bytes > 0
    }

    /// Whether the other end is gone. What is in the ring can still be taken.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.words.is_abandoned()
    }

    /// Bytes that are in the ring now.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.words.slots() * WORD_BYTES
    }
}

#[cfg(test)]
mod tests;
