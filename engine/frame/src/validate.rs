//! What is wrong with a frame, for people and models that refuse it. Guarantees: each finding names the block, what
//! was found and what was wanted; a frame without an error is what [`Require`] asks for. Needs: the schema that the
//! frame was written with, of whatever age. Does not: repair, or judge what the schema cannot tell.

use std::fmt;

use crate::rows::UNDEF;
use crate::schema::Schema;

/// Below it readers refuse a frame, unless told otherwise.
pub const MIN_QUALITY: f64 = 0.8;
/// The components of the score, each with the reasons (bits of `quality.reasons`) that lower it.
const COMPONENTS: [(&str, &[&str]); 5] = [
    ("sync", &["not_live", "link_down", "halted"]),
    ("freshness", &["depth_old", "quote_old", "trades_stalled", "link_down"]),
    ("completeness", &["rows_missing", "unlogged"]),
    ("consistency", &["crossed", "audit_mismatch", "repaired_bars"]),
    ("coverage", &["coverage"]),
];

/// What a reader asks of frames.
#[derive(Debug, Clone, PartialEq)]
pub struct Require {
    /// Least score, 0 to 1.
    pub min_quality: f64,
    /// Blocks that must be valid.
    pub blocks: Vec<String>,
    /// Windows, and how many valid rows each must end with.
    pub rows: Vec<(String, u64)>,
}

impl Default for Require {
    fn default() -> Self {
        Self { min_quality: MIN_QUALITY, blocks: Vec::new(), rows: Vec::new() }
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Below its best, and still as required.
    Warning,
    /// Not as required: the frame is refused.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Block, component or window.
    pub block: String,
    /// What is there.
    pub found: String,
    /// What was asked for.
    pub wanted: String,
    /// How bad it is.
    pub severity: Severity,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: found {}, wanted {}", self.block, self.found, self.wanted)
    }
}

impl Require {
    /// What the schema lacks for this to be asked at all: names of blocks and windows.
    #[must_use]
    pub fn missing(&self, schema: &Schema) -> Vec<String> {
        let blocks = self.blocks.iter().filter(|name| !has_block(schema, name));
        let windows = self.rows.iter().map(|(name, _)| name);
        blocks.chain(windows.filter(|name| schema.window(name).is_none())).cloned().collect()
    }
}

fn has_block(schema: &Schema, name: &str) -> bool {
    let inside = |field: &str| field.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    schema.frame.fields.iter().any(|field| field.name == name || inside(&field.name))
}

impl Schema {
    /// Everything about a frame that is below its best or not as required; errors first.
    #[must_use]
    pub fn validate(&self, frame: &[u64], require: &Require) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.validate_components(frame, require, &mut findings);
        for name in &require.blocks {
            findings.extend(self.validate_block(frame, name));
        }
        for (name, wanted) in &require.rows {
            findings.extend(self.validate_rows(frame, name, *wanted));
        }
        findings.sort_by_key(|finding| finding.severity == Severity::Warning);
        findings
    }

    fn validate_components(&self, frame: &[u64], require: &Require, findings: &mut Vec<Finding>) {
        let wanted = format!("at least {}", require.min_quality);
        let severity = |value: f64| {
            // NaN is not enough either.
            if value >= require.min_quality { Severity::Warning } else { Severity::Error }
        };
        let mut named = false;
        for (component, reasons) in COMPONENTS {
            let name = format!("quality.{component}");
            let Some(field) = self.frame.field(&name) else { continue };
            let value = field.float(frame, 0);
            if value >= 1.0 {
                continue;
            }
            named |= severity(value) == Severity::Error;
            findings.push(Finding {
                block: name,
                found: format!("{value:.3}{}", self.why(frame, component, reasons)),
                wanted: wanted.clone(),
                severity: severity(value),
            });
        }
        match self.frame.field("quality.score") {
            None => findings.push(Finding {
                block: "quality.score".to_owned(),
                found: "no such field in the segment".to_owned(),
                wanted,
                severity: Severity::Error,
            }),
            // A component of a later engine, which this one has no name for.
            Some(score) if severity(score.float(frame, 0)) == Severity::Error && !named => {
                findings.push(Finding {
                    block: "quality.score".to_owned(),
                    found: format!("{:.3}", score.float(frame, 0)),
                    wanted,
                    severity: Severity::Error,
                });
            }
            Some(_) => {}
        }
    }

    /// The reasons that the frame gives for a component, and the figures behind them.
    fn why(&self, frame: &[u64], component: &str, reasons: &[&str]) -> String {
        let mut why = Vec::new();
        if component == "sync"
            && let Some(field) = self.frame.field("book.book_state")
        {
            why.extend(field.name_in(self, frame).map(|state| format!("the book is {state}")));
        }
        if component == "freshness" {
            for stream in ["depth", "quote", "trade"] {
                let Some(field) = self.frame.field(&format!("quality.age_{stream}")) else {
                    continue;
                };
                match field.signed(frame, 0) {
                    UNDEF => why.push(format!("no {stream} yet")),
                    _ => why.push(format!("{stream} {:.1} s old", field.float(frame, 0) / 1e9)),
                }
            }
        }
        if component == "completeness" {
            for window in ["book_states", "cob_rows"] {
                let rows = self.frame.field(&format!("quality.valid_rows.{window}"));
                why.extend(rows.map(|rows| format!("{window} {}", rows.unsigned(frame, 0))));
            }
        }
        if let Some(field) = self.frame.field("quality.reasons") {
            let set = field.bit_names(self, frame);
            why.extend(set.into_iter().filter(|name| reasons.contains(name)).map(str::to_owned));
        }
        if why.is_empty() { String::new() } else { format!(" ({})", why.join(", ")) }
    }

    fn validate_block(&self, frame: &[u64], name: &str) -> Option<Finding> {
        let finding = |found: String| {
            let (block, wanted) = (name.to_owned(), "a valid block".to_owned());
            Some(Finding { block, found, wanted, severity: Severity::Error })
        };
        if !has_block(self, name) {
            return finding("no such block in the segment".to_owned());
        }
        // Blocks without a bit of their own are valid wherever they are.
        let field = self.frame.field("quality.valid")?;
        let known = self.names("blocks")?.iter().any(|block| block == name);
        if !known || field.bit_names(self, frame).contains(&name) {
            return None;
        }
        finding("marked as not valid".to_owned())
    }

    fn validate_rows(&self, frame: &[u64], name: &str, wanted: u64) -> Option<Finding> {
        let found = match self.valid_rows(frame, name) {
            Some(rows) if rows >= wanted => return None,
            Some(rows) => format!("{rows} valid rows"),
            None => "no such window in the segment".to_owned(),
        };
        let wanted = format!("{wanted} valid rows");
        Some(Finding { block: name.to_owned(), found, wanted, severity: Severity::Error })
    }
}

#[cfg(test)]
mod tests {
    use super::{Require, Severity};
    use crate::image::{FrameHead, FrameImage, FrameLayout};
    use crate::{WindowRows, place};

    /// A good frame, changed; (severity, block) of what is found.
    #[track_caller]
    fn check(require: &Require, change: impl FnOnce(&mut FrameHead), wanted: &[(Severity, &str)]) {
        let layout = FrameLayout::new(1, 0).unwrap();
        let mut image = FrameImage::new(layout);
        let head = image.head_mut();
        let quality = &mut head.quality;
        for component in [
            &mut quality.score,
            &mut quality.sync,
            &mut quality.freshness,
            &mut quality.completeness,
            &mut quality.consistency,
            &mut quality.coverage,
        ] {
            *component = 1.0;
        }
        quality.valid = u64::MAX;
        change(head);
        let findings = layout.schema(WindowRows::default(), &[]).validate(image.words(), require);
        let found: Vec<_> = findings.iter().map(|f| (f.severity, f.block.as_str())).collect();
        assert_eq!(found, wanted, "{findings:?}");
    }

    fn rows(name: &str, count: u64) -> Require {
        Require { rows: vec![(name.to_owned(), count)], ..Require::default() }
    }

    fn block(name: &str) -> Require {
        Require { blocks: vec![name.to_owned()], ..Require::default() }
    }

    #[test]
    fn a_frame_at_its_best_has_no_findings() {
        check(&Require::default(), |_| {}, &[]);
        check(&block("book"), |_| {}, &[]);
        check(&block("candles.1s"), |_| {}, &[]);
        check(&rows("ticks", 0), |_| {}, &[]);
        check(&block("pivots"), |_| {}, &[]);
    }

    #[test]
    fn errors_come_before_warnings() {
        check(
            &Require::default(),
            |head| {
                head.quality.score = 0.5;
                head.quality.freshness = 0.9;
                head.quality.coverage = 0.5;
            },
            &[(Severity::Error, "quality.coverage"), (Severity::Warning, "quality.freshness")],
        );
    }

    #[test]
    fn what_is_not_a_number_is_refused() {
        check(
            &Require::default(),
            |head| head.quality.score = f64::NAN,
            &[(Severity::Error, "quality.score")],
        );
    }

    #[test]
    fn a_score_that_no_component_explains_is_named_itself() {
        check(
            &Require::default(),
            |head| head.quality.score = 0.5,
            &[(Severity::Error, "quality.score")],
        );
    }

    #[test]
    fn blocks_and_windows_are_refused_by_name() {
        let clear = |bit: u32| move |head: &mut FrameHead| head.quality.valid &= !(1 << bit);
        check(&block("book"), clear(2), &[(Severity::Error, "book")]);
        check(&block("candles.1m"), clear(7), &[(Severity::Error, "candles.1m")]);
        check(&block("soul"), |_| {}, &[(Severity::Error, "soul")]);
        check(&rows("soul", 1), |_| {}, &[(Severity::Error, "soul")]);
        check(&rows("candles.1s", 3), |head| head.valid_rows[place::CANDLES] = 3, &[]);
        check(
            &rows("candles.1s", 4),
            |head| head.valid_rows[place::CANDLES] = 3,
            &[(Severity::Error, "candles.1s")],
        );
    }

    #[test]
    fn a_finding_says_what_was_found_and_wanted() {
        let layout = FrameLayout::new(1, 0).unwrap();
        let mut image = FrameImage::new(layout);
        let quality = &mut image.head_mut().quality;
        quality.freshness = 0.25;
        quality.reasons = 1 << 1;
        quality.age_depth = 5_250_000_000;
        quality.age_quote = crate::UNDEF;
        let findings =
            layout.schema(WindowRows::default(), &[]).validate(image.words(), &Require::default());
        let text = findings.iter().find(|f| f.block == "quality.freshness").unwrap().to_string();
        assert_eq!(
            text,
            "quality.freshness: found 0.250 (depth 5.2 s old, no quote yet, trade 0.0 s old, depth_old), wanted at least 0.8"
        );
    }

    #[test]
    fn what_a_schema_lacks_is_listed() {
        let schema = FrameLayout::new(1, 0).unwrap().schema(WindowRows::default(), &[]);
        let require = Require {
            blocks: vec!["book".to_owned(), "soul".to_owned()],
            rows: vec![("ticks".to_owned(), 1), ("souls".to_owned(), 1)],
            ..Require::default()
        };
        assert_eq!(require.missing(&schema), ["soul", "souls"]);
    }
}
