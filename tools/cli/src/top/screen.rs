//! The view on a terminal: what goes where, and in which colour.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as TextLine, Span};
use ratatui::widgets::{Block, Clear, Paragraph};

use super::lines::{self, Line, Tone};
use super::view::View;

/// What the user has chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Stages and counters are those of this symbol alone.
    pub(crate) symbol: Option<String>,
    pub(crate) is_paused: bool,
    pub(crate) is_help_shown: bool,
}

const KEYS: &str = "q quit  p pause  ↑↓ tab symbol  ? help";
const HELP: [&str; 17] = [
    "q, Ctrl-C     quit",
    "p, space      pause and go on",
    "↓, tab        next symbol: its stages and counters alone",
    "↑, back tab   the one before; all symbols before the first",
    "?             this help",
    "",
    "qual.     score of the newest frame, 1 in normal running",
    "weakest   component that it is the least of",
    "age       since the last depth message or bookTicker",
    "stages    spans between the stamps of all frames of an input,",
    "          counted by the engine; the last interval and since",
    "          its start, two significant digits",
    "lag       frames published that a reader has not taken",
    "lapped    frames that a reader has missed",
    "refused   frames a reader, outputs the engine would not take",
    "",
    "any key   back",
];
/// Below the symbols: stages, readers, models, counters.
const PARTS: usize = 4;
/// Below this there is no room for every column.
const WIDE_COLUMNS: u16 = 116;

/// Draws all of it. `message` takes the place of the keys in the last line.
pub(crate) fn draw(frame: &mut Frame<'_>, view: &View, choice: &Choice, message: Option<&str>) {
    let area = frame.area();
    let width = usize::from(area.width);
    let symbol = choice.symbol.as_deref();
    let is_wide = area.width >= WIDE_COLUMNS;

    let symbol_line = if is_wide { lines::symbol_wide } else { lines::symbol };
    let symbols: Vec<(Line, bool)> = view
        .symbols()
        .iter()
        .map(|row| (symbol_line(row), symbol == Some(row.name.as_str())))
        .collect();
    let chosen = symbols.iter().position(|(_, is_chosen)| *is_chosen).unwrap_or(0);
    let stages: Vec<Line> = view.stages(symbol).iter().map(lines::stage).collect();
    let readers: Vec<Line> = view.readers().iter().map(lines::reader).collect();
    let models: Vec<Line> = view.models().iter().map(lines::model).collect();
    let counters = lines::counters(&view.counters(symbol), width);

    // A heading alone says nothing: with it, one row at least.
    let part = |rows: &[Line], head: usize| match rows.len() {
        0 => Wanted { least: 0, all: 0 },
        rows => Wanted { least: head + 1, all: head + rows },
    };
    let wanted = [
        Wanted { least: 2, all: symbols.len() + 1 },
        part(&stages, 2),
        part(&readers, 1),
        part(&models, 1),
        part(&counters, 1),
    ];
    // Without the lines of engine and keys.
    let height = usize::from(area.height).saturating_sub(2);
    let shared = share(height, wanted);
    // Where all is shown and there is room, parts stand apart.
    let is_airy = height >= wanted.iter().map(|part| part.all).sum::<usize>() + PARTS;
    let [symbol_rows, stage_rows, reader_rows, model_rows, counter_rows] = shared;

    let mut page = vec![plain(&lines::engine(&view.engine()))];
    page.push(plain(&if is_wide { lines::symbols_head_wide() } else { lines::symbols_head() }));
    let shown = symbol_rows.saturating_sub(1);
    let first = chosen.saturating_sub(shown.saturating_sub(1));
    page.extend(symbols.iter().skip(first).take(shown).map(|(line, is_chosen)| {
        let style = if *is_chosen { Modifier::REVERSED } else { Modifier::empty() };
        plain(line).patch_style(style)
    }));
    let mut part = |head: &[Line], rows: &[Line], height: usize| {
        if is_airy && height > 0 {
            page.push(TextLine::default());
        }
        page.extend(head.iter().chain(rows).take(height).map(plain));
    };
    part(&lines::stages_head(symbol, view.interval()), &stages, stage_rows);
    part(&[lines::readers_head()], &readers, reader_rows);
    part(&[lines::models_head()], &models, model_rows);
    part(&[lines::counters_head(symbol, width)], &counters, counter_rows);
    if let Some(reason) = view.no_counters() {
        page.push(plain(&Line::of(format!("no counters: {reason}"), Tone::Warning)));
    }
    let body = Rect { height: area.height.saturating_sub(1), ..area };
    frame.render_widget(Paragraph::new(page), body);

    let last = Rect { y: body.bottom(), height: area.height - body.height, ..area };
    let paused = choice.is_paused.then_some("paused: p goes on");
    let foot = match message.or(paused) {
        Some(message) => Line::of(message, Tone::Warning),
        None => Line::of(KEYS, Tone::Dim),
    };
    frame.render_widget(Paragraph::new(plain(&foot)), last);
    if choice.is_help_shown {
        help(frame, area);
    }
}

/// Lines that a part needs and would like to have.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    least: usize,
    all: usize,
}

/// What each part gets of `height` lines: what it needs, the first ones first; then line by line in turns, so that a
/// small terminal shows something of all.
fn share<const N: usize>(height: usize, wanted: [Wanted; N]) -> [usize; N] {
    let mut left = height;
    let mut given = wanted.map(|Wanted { least, .. }| {
        let needed = if least <= left { least } else { 0 };
        left -= needed;
        needed
    });
    let mut is_wanted = true;
    while left > 0 && is_wanted {
        is_wanted = false;
        for (given, wanted) in given.iter_mut().zip(wanted) {
            if *given > 0 && *given < wanted.all && left > 0 {
                *given += 1;
                left -= 1;
                is_wanted = true;
            }
        }
    }
    given
}

fn plain(line: &Line) -> TextLine<'static> {
    let spans = line.0.iter().map(|(text, tone)| Span::styled(text.clone(), style(*tone)));
    TextLine::from_iter(spans)
}

fn style(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Head => Style::new().add_modifier(Modifier::BOLD),
        Tone::Dim => Style::new().add_modifier(Modifier::DIM),
        Tone::Good => Style::new().fg(Color::Green),
        Tone::Warning => Style::new().fg(Color::Yellow),
        Tone::Bad => Style::new().fg(Color::Red),
    }
}

fn help(frame: &mut Frame<'_>, area: Rect) {
    let [width, height] = [64, HELP.len() + 2].map(|size| u16::try_from(size).unwrap_or(u16::MAX));
    let (width, height) = (width.min(area.width), height.min(area.height));
    let place = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    frame.render_widget(Clear, place);
    let text: Vec<TextLine<'_>> = HELP.iter().map(|&line| TextLine::from(line)).collect();
    frame
        .render_widget(Paragraph::new(text).block(Block::bordered().title(" cobring top ")), place);
}
