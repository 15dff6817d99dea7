//! Compares two streams of JSON lines: integers, strings, booleans and null exactly, floats within
//! 1e-12 · max(1, |expected|). What is a float is decided by the expected side. Keys that only the actual
//! side has are of no interest; keys that it lacks are counted apart.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::io::BufRead;

const TOLERANCE: f64 = 1e-12;
/// Differences kept in full.
const SHOWN_MAX: usize = 20;

#[derive(thiserror::Error, Debug)]
pub enum CompareError {
    #[error("{side}: {source}")]
    Io { side: &'static str, source: std::io::Error },
    #[error("{side} line {line}: expected an object with `symbol` and `ts`")]
    Line { side: &'static str, line: usize },
}

#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    pub symbol: String,
    pub ts: i64,
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
    pub first_differences: Vec<Difference>,
}

impl Report {
    pub fn is_equal(&self, allow_missing: bool) -> bool {
        self.differences == 0 && (allow_missing || self.missing.is_empty())
    }
}

type Lines = BTreeMap<(i64, String), Value>;

/// # Errors
/// A side that cannot be read, or a line that is not an object with `symbol` and `ts`.
pub fn compare(expected: impl BufRead, actual: impl BufRead) -> Result<Report, CompareError> {
    let mut report = Report::default();
    let expected = read_lines("expected", expected, &mut report)?;
    let mut actual = read_lines("actual", actual, &mut report)?;
    for (key, expected) in &expected {
        let mut walk = Walk { report: &mut report, ts: key.0, symbol: &key.1 };
        match actual.remove(key) {
            Some(actual) => {
                walk.value("", "", expected, &actual);
                report.lines_compared += 1;
            }
            None => walk.difference("", "", "a line", "no line"),
        }
    }
    for (ts, symbol) in actual.keys() {
        Walk { report: &mut report, ts: *ts, symbol }.difference("", "", "no line", "a line");
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
        let ts = value["ts"].as_i64().ok_or_else(bad_line)?;
        let symbol = value["symbol"].as_str().ok_or_else(bad_line)?.to_owned();
        if lines.insert((ts, symbol.clone()), value).is_some() {
            let mut walk = Walk { report, ts, symbol: &symbol };
            walk.difference("", "", "one line", &format!("several lines on the {side} side"));
        }
    }
    Ok(lines)
}

struct Walk<'a> {
    report: &'a mut Report,
    ts: i64,
    symbol: &'a str,
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
                if !same_leaf(expected, actual) {
                    self.difference(path, kind, &short(expected), &short(actual));
                }
            }
        }
    }

    fn difference(&mut self, path: &str, kind: &str, expected: &str, actual: &str) {
        self.report.differences += 1;
        if !kind.is_empty() {
            self.report.figures.entry(kind.to_owned()).or_default().1 += 1;
        }
        if self.report.first_differences.len() < SHOWN_MAX {
            self.report.first_differences.push(Difference {
                symbol: self.symbol.to_owned(),
                ts: self.ts,
                path: path.to_owned(),
                expected: expected.to_owned(),
                actual: actual.to_owned(),
            });
        }
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
            writeln!(f, "{} {} {path}: expected {expected}, actual {actual}", d.symbol, d.ts)?;
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
