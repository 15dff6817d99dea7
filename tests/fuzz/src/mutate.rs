//! A seeded mutator that knows a little of what it mutates: numbers, keys and lengths as well as bytes.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

/// Bytes that mean something to JSON, HTTP, TOML or a length.
const BYTES: &[u8] =
    b"{}[]\",:\\/0123456789-+.eEtfnu sSbBaAUTmMx=#\r\n\x00\x01\x1f\x7e\x7f\x80\x81\x88\xff";
/// Texts in place of numbers.
const NUMBERS: &[&str] = &[
    "0",
    "-0",
    "-1",
    "00",
    "007",
    "1e3",
    "1e-7",
    "1E400",
    "NaN",
    "nan",
    "Infinity",
    "-inf",
    "0x10",
    "1_000",
    ".5",
    "5.",
    "+1",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999999999999999",
    "0.00000001",
    "0.000000001",
    "92233720368547758.07",
    "123456789.123456789123456789",
    "",
    "null",
    "true",
    "\"\"",
    "[]",
    "{}",
];
const TOKENS: &[&str] = &[
    "\"e\":\"trade\",",
    "\"s\":\"BTCUSDT\",",
    "\"b\":[],",
    "\"u\":1,",
    "\\u0062",
    "\\ud800",
    "[[",
    "]]",
    ",,",
    "{\"a\":",
    "\r\n\r\n",
    "\u{feff}",
    "ACCEPT-KEY",
    "\n[symbols.X]\n",
    "\"\"\"",
];
/// Lengths, counts and offsets at their ends.
const EXTREMES: &[u64] = &[
    0,
    1,
    2,
    7,
    8,
    125,
    126,
    127,
    255,
    256,
    4_095,
    4_096,
    65_535,
    65_536,
    i32::MAX as u64,
    u32::MAX as u64,
    1 << 32,
    1 << 48,
    i64::MAX as u64,
    1 << 63,
    u64::MAX - 7,
    u64::MAX - 1,
    u64::MAX,
];

/// Makes inputs of a corpus: the same ones for the same seed.
#[derive(Debug)]
pub struct Mutator {
    random: Pcg64Mcg,
}

impl Mutator {
    /// One for a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { random: Pcg64Mcg::seed_from_u64(seed) }
    }

    fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit.max(1)).unwrap();
        usize::try_from(self.random.next_u64() % limit).unwrap()
    }

    fn one_of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }

    /// An input made of one or two of the corpus, at most `size_bytes_max` long.
    #[must_use]
    pub fn mutated(&mut self, corpus: &[Vec<u8>], size_bytes_max: usize) -> Vec<u8> {
        let mut bytes = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(4) {
            self.mutate(&mut bytes, corpus);
            bytes.truncate(size_bytes_max);
        }
        bytes
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(bytes.len());
        match self.below(14) {
            0 => bytes.truncate(at),
            1 => flip(bytes, at, self.below(8)),
            2 => {
                let byte = BYTES[self.below(BYTES.len())];
                bytes.insert(at, byte);
            }
            3 => {
                if let Some(slot) = bytes.get_mut(at) {
                    *slot = BYTES[self.below(BYTES.len())];
                }
            }
            4 => {
                let end = (at + self.below(40)).min(bytes.len());
                drop(bytes.drain(at..end));
            }
            5 => drop(bytes.splice(at..at, self.one_of(TOKENS).bytes())),
            6 | 7 => self.renumber(bytes, at),
            8 => self.splice(bytes, at, corpus),
            9 => self.extreme(bytes, at),
            10 => self.nest(bytes, at),
            11 => self.repeat(bytes, at),
            _ => self.members(bytes, at),
        }
    }

    /// The number at or after `at` becomes another.
    fn renumber(&mut self, bytes: &mut Vec<u8>, at: usize) {
        let is_part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
        let Some(start) = bytes[at..].iter().position(is_part).map(|found| at + found) else {
            return;
        };
        let length = bytes[start..].iter().take_while(|byte| is_part(byte)).count();
        drop(bytes.splice(start..start + length, self.one_of(NUMBERS).bytes()));
    }

    /// From `at` on it goes on as another one.
    fn splice(&mut self, bytes: &mut Vec<u8>, at: usize, corpus: &[Vec<u8>]) {
        let other = &corpus[self.below(corpus.len())];
        bytes.truncate(at);
        bytes.extend_from_slice(&other[self.below(other.len())..]);
    }

    /// A binary number, of either order of bytes and any width, at an extreme.
    fn extreme(&mut self, bytes: &mut [u8], at: usize) {
        let width = [1, 2, 4, 8][self.below(4)];
        // Most numbers of our formats are aligned, and lie in the first bytes.
        let at = [at, at & !7, self.below(at.min(256) + 1) & !7][self.below(3)];
        let number = EXTREMES[self.below(EXTREMES.len())];
        let (little, big) = (number.to_le_bytes(), number.to_be_bytes());
        if let Some(target) = bytes.get_mut(at..at + width) {
            let spelt = if self.below(2) == 0 { &little[..width] } else { &big[8 - width..] };
            target.copy_from_slice(spelt);
        }
    }

    fn nest(&mut self, bytes: &mut Vec<u8>, at: usize) {
        let depth = [3, 62, 63, 64, 65, 130, 5_000][self.below(7)];
        let (open, close) = if self.below(2) == 0 { ("[", "]") } else { ("{\"a\":", "}") };
        let inside = if self.below(2) == 0 { "" } else { "1" };
        let nested = [&open.repeat(depth), inside, &close.repeat(depth)].concat();
        drop(bytes.splice(at..at, nested.bytes()));
    }

    /// A piece again, some times.
    fn repeat(&mut self, bytes: &mut Vec<u8>, at: usize) {
        let piece = bytes[at..].iter().take(1 + self.below(30)).copied().collect::<Vec<_>>();
        drop(bytes.splice(at..at, piece.repeat(1 + self.below(20))));
    }

    /// Members of a list or object change places, or one comes twice.
    fn members(&mut self, bytes: &mut Vec<u8>, at: usize) {
        let commas: Vec<_> =
            (at..bytes.len()).filter(|&place| bytes[place] == b',').take(8).collect();
        let [first, second, third, ..] = commas[..] else { return };
        if self.below(2) == 0 {
            bytes[first..third].rotate_left(second - first);
        } else {
            let member = bytes[first..second].to_vec();
            drop(bytes.splice(third..third, member));
        }
    }
}

fn flip(bytes: &mut [u8], at: usize, bit: usize) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << bit;
    }
}
