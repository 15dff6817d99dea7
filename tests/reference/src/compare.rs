//! Compares two streams of JSON lines, of states (`symbol`, `ts`) or of rows (`symbol`, `window`, `index`):
//! integers, strings, booleans and null exactly, floats within 1e-12 · max(1, |expected|), the contract's 32-bit
//! floats as such and exactly. What is a float is decided by the expected side. Keys that only the actual side
//! has are of no interest; keys that it lacks are counted apart.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::io::BufRead;

const TOLERANCE: f64 = 1e-12;
/// Quantities of `cob_rows`: 32-bit floats, which one program prints as 0.1 and another as 0.10000000149011612.
const SINGLE_PRECISION: [&str; 6] =
    ["bid_qty", "ask_qty", "buy_volume", "sell_volume", "overflow_buy", "overflow_sell"];
/// Differences kept in full.
const SHOWN_MAX: usize = 20;

#[derive(thiserror::Error, Debug)]
pub enum CompareError {
    #[error("{side}: {source}")]
    Io { side: &'static str, source: std::io::Error },
    #[error(
        "{side} line {line}: expected an object with `symbol` and `ts`, or with `symbol`, `window` and `index`"
    )]
    Line { side: &'static str, line: usize },
}

#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    /// Symbol and instant, or symbol, window and index.
    pub line: String,
    pub path: String,
    pub expected: String,
    pub actual: String,
}

#[derive(Clone, PartialEq, Debug, Default)]
pub struct Report {
    pub lines_compared: u64,
    /// By path, array indices left out: compared, different.
    pub figures: BTreeMap<String, (u64, u64)>,
    /// By path: expected values whose key the actual side lacks.
    pub missing: BTreeMap<String, u64>,
    pub differences: u64,
    /// Lines that only one side has, or that a side has twice; counted in `differences` too.
    pub lines_unpaired: u64,
    pub first_differences: Vec<Difference>,
}

impl Report {
    pub fn is_equal(&self, allow_missing: bool) -> bool {
        self.differences == 0 && (allow_missing || self.missing.is_empty())
    }

    /// What a list of paths known to miss or differ does not explain: lines without a partner, other paths.
    pub fn unexplained(&self, known: &[&str]) -> Vec<String> {
        let unpaired = (self.lines_unpaired > 0).then(|| format!("{} lines", self.lines_unpaired));
        let unknown = |kind: &&String| !known.iter().any(|known| covers(known, kind));
        unpaired.into_iter().chain(self.faults().filter(unknown).cloned()).collect()
    }

    /// Which of those paths miss or differ no more.
    pub fn obsolete<'a>(&self, known: &[&'a str]) -> Vec<&'a str> {
        let is_equal = |known: &&&str| !self.faults().any(|kind| covers(known, kind));
        known.iter().filter(is_equal).copied().collect()
    }

    /// Paths that miss or differ.
    fn faults(&self) -> impl Iterator<Item = &String> {
        let different = self.figures.iter().filter(|(_, (_, different))| *different > 0);
        different.map(|(kind, _)| kind).chain(self.missing.keys())
    }
}

/// Is `kind` the path `known`, or below it?
fn covers(known: &str, kind: &str) -> bool {
    let below = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
    kind.strip_prefix(known).is_some_and(below)
}

/// By symbol, window (none for states) and instant or index.
type LineKey = (i64, String, String);
type Lines = BTreeMap<LineKey, Value>;

/// # Errors
/// A side that cannot be read, or a line that is not an object with `symbol` and `ts`.
pub fn compare(expected: impl BufRead, actual: impl BufRead) -> Result<Report, CompareError> {
    let mut report = Report::default();
    let expected = read_lines("expected", expected, &mut report)?;
    let mut actual = read_lines("actual", actual, &mut report)?;
    for (key, expected) in &expected {
        let mut walk = Walk { report: &mut report, key };
        match actual.remove(key) {
            Some(actual) => {
                walk.value("", "", expected, &actual);
                report.lines_compared += 1;
            }
            None => walk.unpaired("a line", "no line"),
        }
    }
    for key in actual.keys() {
        Walk { report: &mut report, key }.unpaired("no line", "a line");
    }
    Ok(report)
}

fn read_lines(
    side: &'static str,
    reader: impl BufRead,
    report: &mut Report,
) -> Result<Lines, CompareError> {
    let mut lines = Lines::new();
    for (index, line) in reader.lines().enumerate() {
        let line = line.map_err(|source| CompareError::Io { side, source })?;
        if line.trim().is_empty() {
            continue;
        }
        let bad_line = || CompareError::Line { side, line: index + 1 };
        let value: Value = serde_json::from_str(&line).map_err(|_| bad_line())?;
        let key = line_key(&value).ok_or_else(bad_line)?;
        if lines.insert(key.clone(), value).is_some() {
            let several = format!("several lines on the {side} side");
            Walk { report, key: &key }.unpaired("one line", &several);
        }
    }
    Ok(lines)
}

fn line_key(line: &Value) -> Option<LineKey> {
    let symbol = line["symbol"].as_str()?.to_owned();
    match line["window"].as_str() {
        Some(window) => Some((line["index"].as_i64()?, symbol, window.to_owned())),
        None => Some((line["ts"].as_i64()?, symbol, String::new())),
    }
}

struct Walk<'a> {
    report: &'a mut Report,
    key: &'a LineKey,
}

impl Walk<'_> {
    /// `path` names the place, `kind` is the same without array indices.
    fn value(&mut self, path: &str, kind: &str, expected: &Value, actual: &Value) {
        match (expected, actual) {
            (Value::Object(expected), Value::Object(actual)) => {
                for (key, expected) in expected {
                    let (path, kind) = (format!("{path}.{key}"), format!("{kind}.{key}"));
                    match actual.get(key) {
                        Some(actual) => self.value(&path, &kind, expected, actual),
                        None => *self.report.missing.entry(kind).or_default() += 1,
                    }
                }
            }
            (Value::Array(expected), Value::Array(actual)) if expected.len() == actual.len() => {
                let kind = format!("{kind}[]");
                for (index, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                    self.value(&format!("{path}[{index}]"), &kind, expected, actual);
                }
            }
            _ => {
                self.report.figures.entry(kind.to_owned()).or_default().0 += 1;
                let same = if self.is_single_precision(kind) { same_single } else { same_leaf };
                if !same(expected, actual) {
                    self.difference(path, kind, &short(expected), &short(actual));
                }
            }
        }
    }

    fn is_single_precision(&self, kind: &str) -> bool {
        let of_cob_rows = kind.starts_with(".cob_rows.") || self.key.2 == "cob_rows";
        let name = kind.trim_end_matches("[]").rsplit('.').next();
        of_cob_rows && name.is_some_and(|name| SINGLE_PRECISION.contains(&name))
    }

    fn unpaired(&mut self, expected: &str, actual: &str) {
        self.report.lines_unpaired += 1;
        self.difference("", "", expected, actual);
    }

    fn difference(&mut self, path: &str, kind: &str, expected: &str, actual: &str) {
        self.report.differences += 1;
        if !kind.is_empty() {
            self.report.figures.entry(kind.to_owned()).or_default().1 += 1;
        }
        if self.report.first_differences.len() < SHOWN_MAX {
            let (number, symbol, window) = self.key;
            self.report.first_differences.push(Difference {
                line: [symbol, window, &number.to_string()].map(String::as_str).join(" "),
                path: path.to_owned(),
                expected: expected.to_owned(),
                actual: actual.to_owned(),
            });
        }
    }
}

/// Equal as 32-bit floats; null equals null.
fn same_single(expected: &Value, actual: &Value) -> bool {
    #[expect(clippy::cast_possible_truncation, reason = "both sides are meant to be f32")]
    let bits = |value: f64| (value as f32).to_bits();
    match (expected.as_f64(), actual.as_f64()) {
        (Some(expected), Some(actual)) => bits(expected) == bits(actual),
        _ => expected == actual,
    }
}

fn same_leaf(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Number(expected_number), Value::Number(actual_number)) => {
            if !expected_number.is_f64() {
                return expected == actual;
            }
            let (Some(expected), Some(actual)) = (expected_number.as_f64(), actual_number.as_f64())
            else {
                return false;
            };
            (expected - actual).abs() <= TOLERANCE * expected.abs().max(1.0)
        }
        // Objects and arrays come here only where the other side is none, or the lengths differ.
        _ => expected == actual,
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, (compared, different)) in &self.figures {
            writeln!(f, "{compared:>8} compared {different:>8} different  {kind}")?;
        }
        for (kind, count) in &self.missing {
            writeln!(f, "{count:>8} missing on the actual side  {kind}")?;
        }
        for d in &self.first_differences {
            let (path, expected, actual) = (&d.path, &d.expected, &d.actual);
            writeln!(f, "{} {path}: expected {expected}, actual {actual}", d.line)?;
        }
        let figures: u64 = self.figures.values().map(|(compared, _)| compared).sum();
        let missing: u64 = self.missing.values().sum();
        writeln!(
            f,
            "{} lines, {figures} figures compared: {} different, {missing} missing",
            self.lines_compared, self.differences
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(expected: &str, actual: &str) -> Report {
        let line = |rest: &str| format!(r#"{{"symbol":"X","ts":1,{rest}}}"#);
        compare(line(expected).as_bytes(), line(actual).as_bytes()).unwrap()
    }

    #[test]
    fn figures_compare_by_kind() {
        let table = [
            (r#""a":1"#, r#""a":1"#, true),
            (r#""a":1"#, r#""a":2"#, false),
            (r#""a":1"#, r#""a":1.0"#, false),
            (r#""a":1.0"#, r#""a":1"#, true),
            (r#""a":1.0"#, r#""a":1.0000000000009"#, true),
            (r#""a":1.0"#, r#""a":1.0000000000011"#, false),
            (r#""a":60000.0"#, r#""a":60000.00000005"#, true),
            (r#""a":60000.0"#, r#""a":60000.00000007"#, false),
            (r#""a":null"#, r#""a":null"#, true),
            (r#""a":null"#, r#""a":0.0"#, false),
            (r#""a":0.0"#, r#""a":null"#, false),
            (r#""a":"x""#, r#""a":"y""#, false),
            (r#""a":[1,2]"#, r#""a":[1,2]"#, true),
            (r#""a":[1,2]"#, r#""a":[1]"#, false),
            (r#""a":{"b":[[1.5,true]]}"#, r#""a":{"b":[[1.5,true]],"c":1}"#, true),
            (r#""a":{"b":[[1.5,true]]}"#, r#""a":{"b":[[1.5,false]]}"#, false),
        ];
        for (expected, actual, equal) in table {
            assert_eq!(report(expected, actual).is_equal(false), equal, "{expected} {actual}");
        }
    }

    #[test]
    fn differences_and_missing_keys_are_named() {
        let report = report(r#""a":{"b":[1,2],"c":3}"#, r#""a":{"b":[1,5]}"#);
        assert_eq!(report.figures[".a.b[]"], (2, 1));
        assert_eq!(report.missing[".a.c"], 1);
        assert_eq!(report.first_differences[0].path, ".a.b[1]");
        assert!(!report.is_equal(true));
    }

    #[test]
    fn quantities_of_cob_rows_are_single_precision() {
        let table = [
            (
                r#""cob_rows":{"bid_qty":[0.1,null]}"#,
                r#""cob_rows":{"bid_qty":[0.10000000149011612,null]}"#,
                true,
            ),
            (
                r#""cob_rows":{"last":{"bid_qty":[0.1]}}"#,
                r#""cob_rows":{"last":{"bid_qty":[0.1]}}"#,
                true,
            ),
            (r#""cob_rows":{"bid_qty":[0.1]}"#, r#""cob_rows":{"bid_qty":[0.10000001]}"#, false),
            (r#""cob_rows":{"bid_qty":[0.1]}"#, r#""cob_rows":{"bid_qty":[null]}"#, false),
            (
                r#""cob_rows":{"imbalance":0.1}"#,
                r#""cob_rows":{"imbalance":0.10000000149011612}"#,
                false,
            ),
            (r#""cob":{"bid_qty":[0.1]}"#, r#""cob":{"bid_qty":[0.10000000149011612]}"#, false),
        ];
        for (expected, actual, equal) in table {
            assert_eq!(report(expected, actual).is_equal(false), equal, "{expected} {actual}");
        }
    }

    #[test]
    fn a_list_explains_what_misses_or_differs_and_nothing_else() {
        let report = report(r#""a":{"b":[1,2],"c":3,"cc":4},"d":5"#, r#""a":{"b":[1,5]},"d":5"#);
        assert_eq!(report.unexplained(&[]), [".a.b[]", ".a.c", ".a.cc"]);
        assert_eq!(report.unexplained(&[".a"]), [""; 0]);
        assert_eq!(report.unexplained(&[".a.b", ".a.c"]), [".a.cc"]);
        assert_eq!(report.obsolete(&[".a", ".d", ".a.c"]), [".d"]);
        let lone = compare(&b"{\"symbol\":\"X\",\"ts\":1}"[..], &b""[..]).unwrap();
        assert_eq!(lone.unexplained(&[]), ["1 lines"]);
    }

    #[test]
    fn rows_are_paired_by_symbol_window_and_index() {
        let row = |window: &str, index: i64, px: f64| {
            format!(r#"{{"symbol":"X","window":"{window}","index":{index},"row":{{"px":{px}}}}}"#)
                + "\n"
        };
        let expected = row("ticks", 0, 1.0) + &row("ticks", 1, 2.0) + &row("pivots.1s.1", 0, 3.0);
        let actual = row("ticks", 1, 2.5) + &row("pivots.1s.1", 0, 3.0);
        let report = compare(expected.as_bytes(), actual.as_bytes()).unwrap();
        assert_eq!((report.lines_compared, report.lines_unpaired, report.differences), (2, 1, 2));
        assert_eq!(report.first_differences[1].line, "X ticks 1");
    }

    #[test]
    fn lines_are_paired_by_symbol_and_time() {
        let lines = |stamps: &[i64]| -> String {
            stamps.iter().map(|ts| format!("{{\"symbol\":\"X\",\"ts\":{ts}}}\n")).collect()
        };
        let differences = |expected: &[i64], actual: &[i64]| {
            let report = compare(lines(expected).as_bytes(), lines(actual).as_bytes()).unwrap();
            (report.lines_compared, report.differences)
        };
        assert_eq!(differences(&[1, 2], &[2, 1]), (2, 0));
        assert_eq!(differences(&[1, 2], &[1]), (1, 1));
        assert_eq!(differences(&[1], &[1, 2]), (1, 1));
        assert_eq!(differences(&[1], &[1, 1]), (1, 1));
        assert!(compare(&b"{}"[..], &b""[..]).is_err());
    }
}
