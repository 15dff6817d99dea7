//! The stages that an input passes on its way to a frame, by the stamps of the frame.

use crate::blocks::Times;
use crate::rows::UNDEF;

/// The way between two stamps of [`Times`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    /// As metrics and summaries spell it.
    pub name: &'static str,
    /// The stamp at its beginning.
    pub from: &'static str,
    /// The stamp at its end.
    pub to: &'static str,
}

/// Every stage, and the whole of those that are ours.
pub const STAGES: [Stage; 5] = [
    Stage { name: "kernel_to_recv", from: "ts_kernel", to: "ts_recv" },
    Stage { name: "recv_to_parsed", from: "ts_recv", to: "ts_parsed" },
    Stage { name: "parsed_to_applied", from: "ts_parsed", to: "ts_applied" },
    Stage { name: "applied_to_published", from: "ts_applied", to: "ts_published" },
    Stage { name: "recv_to_published", from: "ts_recv", to: "ts_published" },
];

impl Times {
    /// The span of each of [`STAGES`]; `None` where a stamp is unknown. Negative where a clock was set.
    #[must_use]
    #[inline]
    pub fn spans(&self) -> [Option<i64>; STAGES.len()] {
        let span =
            |from: i64, to: i64| (from != UNDEF && to != UNDEF).then(|| to.saturating_sub(from));
        [
            span(self.ts_kernel, self.ts_recv),
            span(self.ts_recv, self.ts_parsed),
            span(self.ts_parsed, self.ts_applied),
            span(self.ts_applied, self.ts_published),
            span(self.ts_recv, self.ts_published),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FrameLayout, WindowRows};

    /// Each stage's stamps by their names in the schema.
    #[test]
    fn spans_are_between_the_stamps_that_are_named() {
        let layout = FrameLayout::new(20, 0).unwrap();
        let schema = layout.schema(WindowRows::default(), &[]);
        let mut image = crate::FrameImage::new(layout);
        let times = &mut image.head_mut().times;
        (times.ts_kernel, times.ts_recv, times.ts_parsed) = (2, 5, 11);
        (times.ts_applied, times.ts_published) = (23, 47);
        let spans = times.spans();
        let frame = schema.frame_to_json(image.words());
        for (stage, span) in STAGES.iter().zip(spans) {
            let stamp = |name: &str| frame["times"][name].as_i64().unwrap();
            assert_eq!(span, Some(stamp(stage.to) - stamp(stage.from)), "{}", stage.name);
            let [from, to] = [stage.from, stage.to].map(|stamp| stamp.trim_start_matches("ts_"));
            assert_eq!(stage.name, format!("{from}_to_{to}"));
        }
        image.head_mut().times.ts_recv = UNDEF;
        assert_eq!(image.head().times.spans(), [None, None, Some(12), Some(24), None]);
    }
}
