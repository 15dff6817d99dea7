//! A view as lines of text whose parts have a tone: the plain output joins them, the screen colours them.

use std::time::Duration;

use cobring_frame::{Liveness, SpanSummary};

use super::view::{CounterRow, EngineRow, ModelRow, ReaderRow, StageRow, SymbolRow};
use crate::shm::describe;

/// What a part of a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    /// A heading.
    Head,
    /// Of less weight.
    Dim,
    Good,
    Warning,
    Bad,
}

/// One line: texts that stand behind one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line(pub(crate) Vec<(String, Tone)>);

impl Line {
    pub(crate) fn of(text: impl Into<String>, tone: Tone) -> Self {
        Self(vec![(text.into(), tone)])
    }

    pub(crate) fn text(&self) -> String {
        let text: String = self.0.iter().map(|(text, _)| text.as_str()).collect();
        text.trim_end().to_owned()
    }
}

/// What stands for a number that is not known.
const UNKNOWN: &str = "–";
/// Below this readers refuse a frame by default.
const MIN_QUALITY: f64 = cobring_frame::MIN_QUALITY;
/// A symbol without a message for this long is worth a look.
const OLD: Duration = Duration::from_secs(3);

fn or_unknown<T>(value: Option<T>, text: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), text)
}

/// A number in at most five characters: 1234, 56.7k, 8.90M.
fn short(number: f64) -> String {
    let (scaled, unit) = match number {
        ..9_999.5 => (number, ""),
        ..999_950.0 => (number / 1e3, "k"),
        ..999_950_000.0 => (number / 1e6, "M"),
        ..999_950_000_000.0 => (number / 1e9, "G"),
        _ => (number / 1e12, "T"),
    };
    let decimals = match scaled {
        _ if unit.is_empty() => 0,
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{scaled:.decimals$}{unit}")
}

#[expect(clippy::cast_precision_loss, reason = "a few digits for people")]
fn short_count(count: u64) -> String {
    short(count as f64)
}

/// A rate: small ones with a decimal.
fn rate(per_s: Option<f64>) -> String {
    or_unknown(per_s, |per_s| match per_s {
        0.0 => "0".to_owned(),
        ..9.95 => format!("{per_s:.1}"),
        _ => short(per_s),
    })
}

/// A span or an age in at most six characters.
pub(crate) fn span(ns: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a few digits for people")]
    let ns = ns as f64;
    let (scaled, unit) = match ns {
        ..9_999.5 => return format!("{ns:.0}ns"),
        ..999_950.0 => (ns / 1e3, "µs"),
        ..999_950_000.0 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    let decimals = usize::from(scaled < 99.95);
    format!("{scaled:.decimals$}{unit}")
}

fn age(age: Option<Duration>) -> String {
    or_unknown(age, |age| {
        let seconds = age.as_secs();
        match seconds {
            0..=99 => format!("{:.1}s", age.as_secs_f64()),
            100..=5_999 => format!("{}m", seconds / 60),
            6_000..=359_999 => format!("{}h", seconds / 3_600),
            _ => format!("{}d", seconds / 86_400),
        }
    })
}

fn uptime(uptime: Duration) -> String {
    let seconds = uptime.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let clock = format!("{hours:02}:{minutes:02}:{:02}", seconds % 60);
    if days > 0 { format!("{days}d {clock}") } else { clock }
}

fn tone_of(liveness: &Liveness) -> Tone {
    match liveness {
        Liveness::Alive => Tone::Good,
        Liveness::Stalled { .. } => Tone::Warning,
        Liveness::Gone { .. } | Liveness::Retired => Tone::Bad,
    }
}

/// Whether the engine lives, which one it is, and how much it does.
pub(crate) fn engine(engine: &EngineRow) -> Line {
    let EngineRow { liveness, pid, epoch, uptime: up, frames_per_s } = engine;
    let state = match liveness {
        Liveness::Gone { .. } => "gone".to_owned(),
        _ => describe(liveness),
    };
    let rest = format!(
        "  pid {pid}  up {}  epoch {epoch}  {} frames/s",
        or_unknown(*up, uptime),
        rate(*frames_per_s)
    );
    Line(vec![("cobring ".to_owned(), Tone::Head), (state, tone_of(liveness)), (rest, Tone::Plain)])
}

/// Heading of the symbols; 80 columns, as all lines here.
pub(crate) fn symbols_head() -> Line {
    let text = format!(
        "{:<10} {:<7} {:>5} {:<11} {:>10} {:>10} {:>6} {:>6} {:>5}",
        "symbol", "book", "qual.", "weakest", "bid", "ask", "imbal.", "fr/s", "age"
    );
    Line::of(text, Tone::Head)
}

/// Columns that stand behind the others where there is room for them.
pub(crate) fn symbols_head_wide() -> Line {
    let mut line = symbols_head();
    line.0.push((format!(" {:>9} {:>12} {:>12}", "spread", "mid", "frames"), Tone::Head));
    line
}

pub(crate) fn symbol(row: &SymbolRow) -> Line {
    let px = |px: Option<f64>| or_unknown(px, |px| format!("{px:.*}", row.decimals));
    let is_live = row.book_state.as_deref() == Some("live");
    let quality = match row.score {
        Some(score) if score < MIN_QUALITY => Tone::Bad,
        Some(score) if score < 1.0 => Tone::Warning,
        Some(_) => Tone::Good,
        None => Tone::Dim,
    };
    // Rounded down: 1.000 is 1.
    let score = or_unknown(row.score, |score| format!("{:.3}", (score * 1e3).floor() / 1e3));
    let is_old = row.age.is_some_and(|age| age > OLD);
    // A frame that an engine left behind is no news, good or bad.
    let tone = |tone| if row.is_current { tone } else { Tone::Dim };
    Line(vec![
        (format!("{:<10} ", row.name), tone(Tone::Plain)),
        (
            format!("{:<7} ", row.book_state.as_deref().unwrap_or(UNKNOWN)),
            tone(if is_live { Tone::Good } else { Tone::Warning }),
        ),
        (format!("{score:>5} {:<12}", row.weakest.unwrap_or("")), tone(quality)),
        (
            format!(
                "{:>10} {:>10} {:>6} {:>6}",
                px(row.bid_px),
                px(row.ask_px),
                or_unknown(row.imbalance, |imbalance| format!("{imbalance:.3}")),
                rate(row.frames_per_s)
            ),
            tone(Tone::Plain),
        ),
        (format!(" {:>5}", age(row.age)), if is_old { Tone::Warning } else { Tone::Plain }),
    ])
}

/// With the columns of [`symbols_head_wide`].
pub(crate) fn symbol_wide(row: &SymbolRow) -> Line {
    let mut line = symbol(row);
    let spread = or_unknown(row.spread, |px| format!("{px:.*}", row.decimals));
    // It lies on half a tick.
    let mid = or_unknown(row.mid_px, |px| format!("{px:.*}", row.decimals + 1));
    line.0.push((format!(" {spread:>9} {mid:>12} {:>12}", row.frames), Tone::Plain));
    line
}

/// Heading of the stages: since the sample before, and since the engine began.
pub(crate) fn stages_head(symbol: Option<&str>, interval: Option<Duration>) -> [Line; 2] {
    let of = format!("stages, {}", symbol.unwrap_or("all symbols"));
    let last = interval.map_or_else(
        || "last interval".to_owned(),
        |last| format!("last {:.1} s", last.as_secs_f64()),
    );
    let columns = format!("{:>7}{:>7}{:>7}{:>7}", "p50", "p99", "p99.9", "max");
    [
        Line::of(format!("{of:<20} {last:>28} {:>28}", "since start"), Tone::Head),
        Line::of(format!("{:<20} {columns} {columns}", ""), Tone::Dim),
    ]
}

pub(crate) fn stage(row: &StageRow) -> Line {
    let values = |spans: Option<SpanSummary>| match spans.filter(|spans| spans.count > 0) {
        Some(SpanSummary { p50_ns, p99_ns, p999_ns, max_ns, .. }) => {
            [p50_ns, p99_ns, p999_ns, max_ns].map(|ns| format!("{:>7}", span(ns))).concat()
        }
        None => format!("{UNKNOWN:>7}").repeat(4),
    };
    let StageRow { name, last, total } = row;
    let name = name.replace("_to_", " → ");
    let text = format!("{name:<20} {} {}", values(*last), values(Some(*total)));
    let mut line = Line::of(text, Tone::Plain);
    if total.negative > 0 {
        line.0.push((format!("  {} negative: a clock was set", total.negative), Tone::Warning));
    }
    line
}

pub(crate) fn readers_head() -> Line {
    let text = format!(
        "{:<20} {:<10} {:>9} {:>9} {:>9} {:>9}  {:<5}",
        "reader", "symbol", "pid", "lag", "lapped", "refused", ""
    );
    Line::of(text, Tone::Head)
}

pub(crate) fn reader(row: &ReaderRow) -> Line {
    let ReaderRow { reader, lag_frames } = row;
    let lag = match lag_frames {
        Some(lag) => lag.to_string(),
        None => UNKNOWN.to_owned(),
    };
    let lapped = if reader.lapped > 0 { Tone::Warning } else { Tone::Plain };
    let state = if reader.alive { ("", Tone::Plain) } else { ("gone", Tone::Bad) };
    Line(vec![
        (
            format!("{:<20} {:<10} {:>9} {lag:>9}", reader.name, reader.symbol, reader.pid),
            Tone::Plain,
        ),
        (format!(" {:>9}", reader.lapped), lapped),
        (format!(" {:>9}", reader.refused), Tone::Plain),
        (format!("  {:<5}", state.0), state.1),
    ])
}

pub(crate) fn models_head() -> Line {
    let text = format!("{:<32} {:>10} {:>8} {:>10}", "model", "outputs", "/s", "refused");
    Line::of(text, Tone::Head)
}

pub(crate) fn model(row: &ModelRow) -> Line {
    let taken = format!("{:<32} {:>10} {:>8}", row.name, row.accepted, rate(row.accepted_per_s));
    let tone = if row.wrongs > 0 { Tone::Warning } else { Tone::Plain };
    Line(vec![(taken, Tone::Plain), (format!(" {:>10}", row.wrongs), tone)])
}

/// Width of one counter, and of the space behind it.
const COUNTER_COLUMNS: usize = 27;

fn counter_columns(width: usize) -> usize {
    // The last one needs no space.
    ((width + 1) / COUNTER_COLUMNS).max(1)
}

pub(crate) fn counters_head(symbol: Option<&str>, width: usize) -> Line {
    let first = format!("counters, {}", symbol.unwrap_or("all"));
    let others = format!(" {:>26}", "/s").repeat(counter_columns(width) - 1);
    Line::of(format!("{first:<21}{:>5}{others}", "/s"), Tone::Head)
}

/// As many in a line as there is room for, from top to bottom.
pub(crate) fn counters(rows: &[CounterRow], width: usize) -> Vec<Line> {
    let lines = rows.len().div_ceil(counter_columns(width));
    let counter = |row: &CounterRow| {
        let is_quiet = row.total == 0;
        let text = format!(
            "{:<14} {:>5} {:>5}",
            row.label,
            short_count(row.total),
            if is_quiet { String::new() } else { rate(row.per_s) }
        );
        (text, if is_quiet { Tone::Dim } else { Tone::Plain })
    };
    let line = |at: usize| {
        let mut parts = Vec::new();
        for row in rows.iter().skip(at).step_by(lines) {
            if !parts.is_empty() {
                parts.push((" ".to_owned(), Tone::Plain));
            }
            parts.push(counter(row));
        }
        Line(parts)
    };
    (0..lines).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people_are_short() {
        for (number, wanted) in [
            (0, "0"),
            (9_999, "9999"),
            (10_000, "10.0k"),
            (99_949, "99.9k"),
            (123_456, "123k"),
            (999_949, "1000k"),
            (1_234_567, "1.23M"),
            (u64::MAX, "18446744T"),
        ] {
            assert_eq!(short_count(number), wanted);
        }
        for (per_s, wanted) in [
            (None, "–"),
            (Some(0.0), "0"),
            (Some(0.04), "0.0"),
            (Some(9.94), "9.9"),
            (Some(10.4), "10"),
        ] {
            assert_eq!(rate(per_s), wanted);
        }
        for (ns, wanted) in [
            (0, "0ns"),
            (9_999, "9999ns"),
            (10_000, "10.0µs"),
            (123_456, "123µs"),
            (1_234_567, "1.2ms"),
            (68_719_476_735, "68.7s"),
        ] {
            assert_eq!(span(ns), wanted);
        }
        for (seconds, wanted) in
            [(0, "0.0s"), (99, "99.0s"), (100, "1m"), (7_200, "2h"), (1 << 20, "12d")]
        {
            assert_eq!(age(Some(Duration::from_secs(seconds))), wanted);
        }
        assert_eq!(uptime(Duration::from_secs(90_061)), "1d 01:01:01");
    }
}
