//! Planted bugs, which the checks must find: what a broken engine would have understood, put in place of what came.

use std::str::FromStr;

use crate::random::Random;

/// A bug that is not there, as if it were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CanaryKind {
    /// A depth message is lost, and the next one is taken as if it followed the one before.
    HiddenGap,
    /// A quantity of a depth message is read wrong.
    WrongQuantity,
    /// A trade's quantity is read wrong.
    WrongTrade,
    /// A bookTicker's price is read wrong.
    WrongQuote,
}

impl CanaryKind {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::HiddenGap, Self::WrongQuantity, Self::WrongTrade, Self::WrongQuote];

    /// As the command line has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HiddenGap => "hidden-gap",
            Self::WrongQuantity => "wrong-quantity",
            Self::WrongTrade => "wrong-trade",
            Self::WrongQuote => "wrong-quote",
        }
    }

    fn event(self) -> &'static str {
        match self {
            Self::HiddenGap | Self::WrongQuantity => "ethusdt@depth@100ms",
            Self::WrongTrade => "ethusdt@trade",
            Self::WrongQuote => "ethusdt@bookTicker",
        }
    }
}

impl FromStr for CanaryKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| format!("no canary {text:?}; there are {names}"))
    }
}

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tampered {
    Left,
    Swallowed,
    Changed(Vec<u8>),
}

/// One bug, once.
#[derive(Debug)]
pub(crate) struct Canary {
    kind: Option<CanaryKind>,
    /// Messages of its stream that pass before it.
    after: i64,
    /// `U` of the message that was swallowed.
    hidden_from: Option<Vec<u8>>,
}

impl Canary {
    pub(crate) fn new(kind: Option<CanaryKind>, random: &mut Random) -> Self {
        Self { kind, after: random.between(60, 160), hidden_from: None }
    }

    pub(crate) fn meet(&mut self, text: &[u8]) -> Tampered {
        let Some(kind) = self.kind else { return Tampered::Left };
        let stream = format!("{{\"stream\":\"{}\"", kind.event());
        if !text.starts_with(stream.as_bytes()) {
            return Tampered::Left;
        }
        self.after -= 1;
        if self.after > 0 {
            return Tampered::Left;
        }
        let changed = match kind {
            CanaryKind::HiddenGap => {
                let Some(from) = self.hidden_from.take() else {
                    self.hidden_from =
                        value_behind(text, b"\"U\":").map(|(_, value)| value.to_vec());
                    return Tampered::Swallowed;
                };
                replaced(text, b"\"U\":", |_| from)
            }
            CanaryKind::WrongQuantity => wrong_quantity(text),
            CanaryKind::WrongTrade => replaced(text, b"\"q\":\"", another_digit),
            CanaryKind::WrongQuote => replaced(text, b"\"B\":\"", another_digit),
        };
        match changed {
            Some(changed) => {
                self.kind = None;
                Tampered::Changed(changed)
            }
            None => Tampered::Left,
        }
    }
}

/// What follows a key, up to a comma, a quote or a bracket.
fn value_behind<'a>(text: &'a [u8], key: &[u8]) -> Option<(usize, &'a [u8])> {
    let at = text.windows(key.len()).position(|window| window == key)? + key.len();
    let length = text[at..].iter().position(|byte| b",\"}]".contains(byte))?;
    Some((at, &text[at..at + length]))
}

fn replaced(text: &[u8], key: &[u8], by: impl FnOnce(&[u8]) -> Vec<u8>) -> Option<Vec<u8>> {
    let (at, value) = value_behind(text, key)?;
    Some([&text[..at], &by(value), &text[at + value.len()..]].concat())
}

/// The best bid's quantity, where there is one and it is not 0.
fn wrong_quantity(text: &[u8]) -> Option<Vec<u8>> {
    let (px_at, px) = value_behind(text, b"\"b\":[[\"")?;
    let at = px_at + px.len() + 3;
    let qty = text.get(at..)?.split(|&byte| byte == b'"').next()?;
    if qty.iter().all(|byte| matches!(byte, b'0' | b'.')) {
        return None;
    }
    Some([&text[..at], &another_digit(qty)[..], &text[at + qty.len()..]].concat())
}

/// The first digit above 0 is another.
fn another_digit(value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    if let Some(digit) = value.iter_mut().find(|byte| (b'1'..=b'9').contains(*byte)) {
        *digit = if *digit == b'9' { b'8' } else { *digit + 1 };
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(kind: CanaryKind, texts: &[&str]) -> Vec<Tampered> {
        let mut canary = Canary { kind: Some(kind), after: 1, hidden_from: None };
        texts.iter().map(|text| canary.meet(text.as_bytes())).collect()
    }

    #[test]
    fn a_bug_changes_one_thing_once() {
        let depth = |first: u32, bids: &str| {
            format!(
                r#"{{"stream":"ethusdt@depth@100ms","data":{{"e":"depthUpdate","E":1,"s":"ETHUSDT","U":{first},"u":9,"b":[{bids}],"a":[]}}}}"#
            )
        };
        let (one, two) = (depth(5, r#"["27.10","1.50"]"#), depth(8, ""));
        let Tampered::Changed(joined) = &met(CanaryKind::HiddenGap, &[&one, &two, &one])[1] else {
            panic!("the second message is changed");
        };
        assert_eq!(String::from_utf8_lossy(joined), depth(5, ""));
        assert_eq!(met(CanaryKind::HiddenGap, &[&one, &two, &one])[2], Tampered::Left);
        let wrong = depth(5, r#"["27.10","2.50"]"#);
        assert_eq!(
            met(CanaryKind::WrongQuantity, &[&two, &one, &one]),
            [Tampered::Left, Tampered::Changed(wrong.into_bytes()), Tampered::Left]
        );
        let trade = r#"{"stream":"ethusdt@trade","data":{"e":"trade","p":"2700.10","q":"0.09"}}"#;
        assert_eq!(
            met(CanaryKind::WrongTrade, &[trade]),
            [Tampered::Changed(trade.replace("0.09", "0.08").into_bytes())]
        );
    }
}
