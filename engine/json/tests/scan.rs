//! Every kernel's numbers against the standard library's, at every place of every byte.
#![allow(clippy::unwrap_used, reason = "test code")]

use cobring_json::scan::{Kernel, Lanes, PointIndex, Scale, Scanner, Sides, Task, Template, Text};
use cobring_types::{ExactDivisor, Level};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::Rng as _;

/// What a kernel makes of a text; a task as a function cannot be generic over lanes.
enum Ask<'t> {
    Uint(usize, usize),
    One(usize),
    Two(usize, [usize; 2]),
    Four(usize, [usize; 4]),
    Numbers(&'t Template),
}

struct Asked<'t> {
    bytes: &'t [u8],
    ask: &'t Ask<'t>,
}

impl Task for Asked<'_> {
    /// Values, and where they end.
    type Output = Option<(Vec<u64>, Vec<usize>)>;

    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let text = Text::new(self.bytes, lanes)?;
        match *self.ask {
            Ask::Uint(from, to) => text.uint(from, to).map(|value| (vec![value], vec![to])),
            Ask::One(at) => {
                text.decimals(at, [0]).map(|found| (found.units.to_vec(), found.ends.to_vec()))
            }
            Ask::Two(at, gaps) => {
                text.decimals(at, gaps).map(|found| (found.units.to_vec(), found.ends.to_vec()))
            }
            Ask::Four(at, gaps) => {
                text.decimals(at, gaps).map(|found| (found.units.to_vec(), found.ends.to_vec()))
            }
            Ask::Numbers(template) => {
                text.begins_like(template).then_some(())?;
                text.numbers::<3>(template).map(|values| (values.to_vec(), Vec::new()))
            }
        }
    }
}

/// What all kernels say.
fn ask(bytes: &[u8], ask: &Ask<'_>) -> Option<(Vec<u64>, Vec<usize>)> {
    let supported = Kernel::ALL.into_iter().filter(|kernel| kernel.is_supported());
    let mut answers =
        supported.map(|kernel| (kernel, Scanner::new(kernel).run(Asked { bytes, ask })));
    let (_, first) = answers.next().unwrap();
    for (kernel, answer) in answers {
        assert_eq!(answer, first, "{kernel:?}: {}", String::from_utf8_lossy(bytes));
    }
    first
}

fn digits(random: &mut Pcg64Mcg, count: usize) -> String {
    let first = char::from(b'1' + u8::try_from(random.next_u64() % 9).unwrap());
    let rest = (1..count).map(|_| char::from(b'0' + u8::try_from(random.next_u64() % 10).unwrap()));
    std::iter::once(first).chain(rest).collect()
}

/// Between other digits and points, in a text that ends behind it or goes on.
fn framed(number: &str, before: usize, after: usize) -> (Vec<u8>, usize) {
    let text = format!("{}{number}{}", "7".repeat(before), ".5".repeat(after));
    (text.into_bytes(), before)
}

const NO_DIGITS: [u8; 12] = [0, b' ', b'"', b'+', b',', b'-', b'/', b':', b'a', 0x7f, 0xb0, 0xff];

#[test]
fn whole_numbers_are_read_at_any_place_and_nothing_else_is() {
    let mut random = Pcg64Mcg::new(1);
    for length in 1..=16 {
        for (before, after) in [(64, 0), (64, 1), (16, 40), (91, 7)] {
            let number = digits(&mut random, length);
            let (mut text, at) = framed(&number, before, after);
            let asked = Ask::Uint(at, at + length);
            assert_eq!(ask(&text, &asked).unwrap().0, [number.parse::<u64>().unwrap()]);
            for place in at..at + length {
                for byte in NO_DIGITS {
                    let was = std::mem::replace(&mut text[place], byte);
                    assert_eq!(ask(&text, &asked), None, "{byte:#x} at {place}");
                    text[place] = was;
                }
            }
            text[at] = b'0';
            assert_eq!(ask(&text, &asked).is_some(), length == 1, "a leading zero");
        }
    }
    let (text, at) = framed(&digits(&mut random, 17), 64, 9);
    for (from, to) in [(at, at + 17), (at, at), (at, text.len() + 1), (3, 9), (at, at - 1)] {
        assert_eq!(ask(&text, &Ask::Uint(from, to)), None, "{from} to {to}");
    }
}

#[test]
fn decimals_of_one_to_seven_digits_are_read_in_a_row_and_no_others() {
    let mut random = Pcg64Mcg::new(2);
    for round in 0..4_096usize {
        let widths = std::array::from_fn::<_, 4, _>(|at| round >> (3 * at) & 7);
        let wholes = widths.map(|width| digits(&mut random, width.max(1)));
        let decimals = widths.map(|_| digits(&mut random, 8));
        let texts: [String; 4] =
            std::array::from_fn(|at| format!("{}.{}", &wholes[at][..widths[at]], decimals[at]));
        let gaps = [0, 3, 5, 7];
        let row = texts.join("|").replacen('|', "\",\"", 1).replacen('|', "\"],[\"", 1);
        let row = row.replacen('|', "\",\"B\":\"", 1);
        let (text, at) = framed(&row, 32, round % 3 * 20);
        let wanted = |count: usize| {
            let fits = widths[..count].iter().all(|&width| width > 0);
            let value = |at: usize| format!("{}{}", wholes[at], decimals[at]).parse().unwrap();
            fits.then(|| (0..count).map(value).collect::<Vec<u64>>())
        };
        let values = |answer: Option<(Vec<u64>, Vec<usize>)>| answer.map(|(values, _)| values);
        assert_eq!(values(ask(&text, &Ask::One(at))), wanted(1), "{row}");
        assert_eq!(values(ask(&text, &Ask::Two(at, [gaps[0], gaps[1]]))), wanted(2), "{row}");
        // A kernel that looks for points in 64 bytes need not find the last one of a longer row.
        if widths.iter().sum::<usize>() < 20 {
            assert_eq!(values(ask(&text, &Ask::Four(at, gaps))), wanted(4), "{row}");
        }
    }
}

#[test]
fn every_byte_of_a_decimal_is_checked() {
    let row = "1234567.12345678\",\"1.87654321";
    for (before, after) in [(64, 0), (40, 30)] {
        let (mut text, at) = framed(row, before, after);
        let asked = Ask::Two(at, [0, 3]);
        let (values, ends) = ask(&text, &asked).unwrap();
        assert_eq!(
            (values, ends),
            (vec![123_456_712_345_678, 187_654_321], vec![at + 16, at + 29])
        );
        for place in (at..at + 16).chain(at + 19..at + 29) {
            for byte in NO_DIGITS.into_iter().chain([b'.', b'0']) {
                let was = std::mem::replace(&mut text[place], byte);
                let is_digit = byte == b'0' && was != b'.';
                assert_eq!(
                    ask(&text, &asked).is_some(),
                    byte == was || is_digit,
                    "{byte} at {place}"
                );
                text[place] = was;
            }
        }
    }
    for row in ["12345678.12345678", ".12345678", "1.1234567", "123456789"] {
        let (text, at) = framed(row, 64, 0);
        assert_eq!(ask(&text, &Ask::One(at)), None, "{row}");
    }
}

#[test]
fn a_template_is_matched_but_for_its_numbers() {
    let begin = "{\"stream\":\"ethusdt@trade\",\"E\":1723161255612,\"t\":15,\"u\":9,\"p\":\"";
    let places = ["1723161255612", "15", "9"].map(|number| {
        let from = begin.find(&format!(":{number},")).unwrap() + 1;
        (from, from + number.len())
    });
    let template = Template::new(begin.as_bytes(), &places).unwrap();
    let text = |begin: &str| format!("{begin}1.00000000\",\"q\":\"1.00000000\"}}}}").into_bytes();
    let read = |bytes: &[u8]| ask(bytes, &Ask::Numbers(&template)).map(|(values, _)| values);
    assert_eq!(read(&text(begin)), Some(vec![1_723_161_255_612, 15, 9]));
    let other = begin
        .replace("1723161255612", "9999999999999")
        .replace(":15,", ":10,")
        .replace(":9,", ":0,");
    assert_eq!(read(&text(&other)), Some(vec![9_999_999_999_999, 10, 0]));
    for (from, to) in
        [(":15,", ":05,"), (":15,", ":155,"), (":15,", ":1,"), (":9,", ":,"), (":1723", ":0723")]
    {
        assert_eq!(read(&text(&begin.replace(from, to))), None, "{from} as {to}");
    }
    let whole = text(begin);
    for place in 0..begin.len() {
        let mut changed = whole.clone();
        changed[place] ^= 0x40;
        assert_eq!(read(&changed), None, "at {place}");
    }
    for length in 0..begin.len() {
        assert_eq!(read(&whole[..length]), None, "{length} bytes");
    }
    assert!(Template::new(begin.as_bytes(), &[]).is_none());
    assert!(Template::new(begin.as_bytes(), &[(30, 47)]).is_none(), "17 digits");
    assert!(Template::new("x".repeat(161).as_bytes(), &[(30, 40)]).is_none());
}

/// The two sides of a book from an offset on.
struct BothSides<'t> {
    bytes: &'t [u8],
    at: usize,
    scale: &'t Scale,
}

impl Task for BothSides<'_> {
    type Output = Option<(Sides, Vec<Level>)>;

    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let (mut index, mut levels) = (PointIndex::with_capacity(0), Vec::new());
        let text = Text::new(self.bytes, lanes)?;
        let sides = text.sides(self.at, b",\"a\":", self.scale, &mut index, &mut levels)?;
        Some((sides, levels))
    }
}

/// Points side by side, sides that begin early, levels cut and joined. That nothing is read before a text, or written beyond
/// what was made room for, debug builds assert.
#[test]
fn sides_of_any_pieces_are_read_alike() {
    const PIECES: [&str; 14] = [
        "2683.80000000\",\"3.02920000",
        "1.00000000\",\"12.00000000",
        "12345.67000000\",\"1234567.00000000",
        "5\",\"6",
        "\"],[\"",
        "\"],[\"",
        "\"],[\"",
        "\"]],\"a\":[[\"",
        "\"]]}",
        ".",
        "........",
        "\",\"",
        "0",
        "x",
    ];
    let mut random = Pcg64Mcg::new(7);
    let mut below = |count: usize| usize::try_from(random.next_u64() % count as u64).unwrap();
    let scale = Scale::new(ExactDivisor::new(1_000_000), ExactDivisor::new(1));
    let kernels = Kernel::ALL.into_iter().filter(|kernel| kernel.is_supported());
    let kernels: Vec<Kernel> = kernels.collect();
    let mut read = 0;
    for _ in 0..60_000 {
        let at = below(40);
        let mut text = format!("{:.>at$}[[\"", "");
        // Every other text of whole levels mostly.
        let is_usual = below(2) == 0;
        for nth in 0..1 + below(14) {
            let piece = match (is_usual && below(16) > 0, nth % 2) {
                (true, 0) => PIECES[below(3)],
                (true, _) => PIECES[4 + below(4)],
                _ => PIECES[below(PIECES.len())],
            };
            text.push_str(piece);
        }
        text.push_str(["", "\"]],\"a\":[]", "\"]]}}", "\"]"][below(4)]);
        let text = text.into_bytes();
        let found = kernels
            .iter()
            .map(|&kernel| Scanner::new(kernel).run(BothSides { bytes: &text, at, scale: &scale }));
        let mut found: Vec<_> = found.collect();
        // More points than numbers can have are no index: such a text is the general parser's.
        let points = text[at..].iter().filter(|&&byte| byte == b'.').count();
        let is_dense = points > (text.len() - at) / 6;
        if is_dense && kernels[0] == Kernel::Avx512 && found[0].is_none() {
            found.remove(0);
        }
        read += usize::from(found.first().is_some_and(Option::is_some));
        let text = String::from_utf8_lossy(&text);
        assert!(found.iter().all(|one| *one == found[0]), "{kernels:?} {at}: {text}: {found:?}");
    }
    assert!(read > 1_000, "{read}");
}
