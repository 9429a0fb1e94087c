//! The parts of the screen as lines of text. Pure.
//!
//! Every state has a sign or a word of its own; colour only repeats it. Neighbour: `draw` places them.

use super::model::{FaultNow, GuardRow, Mode, Model, ProbeRow, SurgeNow};
use ratatui::{
    layout::Rect,
    style::{Color, Modifier, Style},
    text::{Line, Span, Text},
};
use squall_engine::{
    event::Phase,
    record::Outcome,
    run::{gate, person::Question},
};
use std::time::Duration;

const PHASES: [Phase; 8] = [
    Phase::Plan,
    Phase::Lease,
    Phase::Setup,
    Phase::Baseline,
    Phase::Method,
    Phase::Heal,
    Phase::Recovery,
    Phase::Verdict,
];

/// The heights that a letter of a sparkline can have.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// How things look: with colours, or without.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub colour: bool,
}

impl Look {
    fn fg(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    fn good(self) -> Style {
        self.fg(Color::Green)
    }

    fn bad(self) -> Style {
        self.fg(Color::Red).add_modifier(Modifier::BOLD)
    }

    fn unsure(self) -> Style {
        self.fg(Color::Yellow)
    }
}

/// What runs where, and for how long.
pub fn header(model: &Model, look: Look, width: u16) -> Line<'static> {
    let clock = clock(model.now);
    let room = usize::from(width).saturating_sub(clock.chars().count() + 10);
    let run: String = model.run.chars().take(8).collect();
    let what = cut(&format!("{} · {} · run {run}", model.experiment, model.environment), room);
    let gap = " ".repeat(room.saturating_sub(what.chars().count()));
    Line::from(vec![
        Span::styled(" squall ", look.strong().add_modifier(Modifier::REVERSED)),
        Span::raw(format!(" {what}{gap}{clock} ")),
    ])
}

/// Every phase with its sign, and how far the one under way has come.
pub fn phases(model: &Model, look: Look, width: u16) -> Vec<Line<'static>> {
    let now = model.phase.map(|now| now.phase);
    // Few experiments set anything up, and there is little room.
    let shown = |phase: &&Phase| **phase != Phase::Setup || now == Some(Phase::Setup);
    let spans = PHASES.iter().filter(shown).flat_map(|phase| {
        let (sign, style) = match now {
            Some(now) if *phase < now => ("✓", look.good()),
            Some(now) if *phase == now => ("▶", look.strong()),
            _ => ("·", look.faint()),
        };
        [Span::styled(format!(" {sign} {}", phase.word()), style)]
    });
    let mut spans: Vec<Span<'static>> = spans.collect();
    match model.gate {
        gate::State::Open => {}
        gate::State::Shut => spans.push(Span::styled("  ⏸ pauses at the next step", look.unsure())),
        gate::State::Waiting => spans.push(Span::styled("  ⏸ paused", look.unsure())),
    }
    if model.stopping {
        spans.push(Span::styled("  ■ stopping", look.bad()));
    }
    vec![Line::from(spans), progress(model, look, width)]
}

fn progress(model: &Model, look: Look, width: u16) -> Line<'static> {
    let Some(now) = model.phase else { return Line::default() };
    let since = model.now.saturating_sub(now.since);
    let Some(lasting) = now.lasting.filter(|lasting| !lasting.is_zero()) else {
        return Line::from(format!(" {} for {}", now.phase.word(), seconds(since)));
    };
    let left = lasting.saturating_sub(since);
    let text = format!(" {} left of {}", seconds(left), seconds(lasting));
    let room = usize::from(width).saturating_sub(text.chars().count() + 2).min(60);
    let share = since.as_secs_f64() / lasting.as_secs_f64();
    Line::from(vec![Span::raw(" "), Span::styled(bar(share, room), look.fg(Color::Cyan)), Span::raw(text)])
}

/// A row for each promise: the sign, what, now, its tolerance, how it went, the lowest and the highest.
pub fn probes(model: &Model, look: Look, area: Rect) -> Vec<Line<'static>> {
    if model.probes.is_empty() {
        return vec![Line::from(Span::styled("nothing measured yet", look.faint()))];
    }
    let room = usize::from(area.height);
    let mut rows: Vec<&ProbeRow> = model.probes.iter().collect();
    let hidden = rows.len().saturating_sub(room);
    if hidden > 0 {
        rows.sort_by_key(|row| match row.outcome {
            Some(Outcome::Broken) => 0,
            Some(Outcome::Inconclusive) => 1,
            Some(Outcome::Held) => 2,
            None => 3,
        });
        rows.truncate(room.saturating_sub(1));
    }
    let mut lines: Vec<Line<'static>> = rows.iter().map(|row| probe(row, look, usize::from(area.width))).collect();
    if hidden > 0 {
        let text = format!("… {} more, none of them worse", model.probes.len() - rows.len());
        lines.push(Line::from(Span::styled(text, look.faint())));
    }
    lines
}

fn probe(row: &ProbeRow, look: Look, width: usize) -> Line<'static> {
    let (sign, style) = match row.outcome {
        Some(Outcome::Held) => ("✓", look.good()),
        Some(Outcome::Broken) => ("✕", look.bad()),
        Some(Outcome::Inconclusive) => ("?", look.unsure()),
        None => ("–", look.faint()),
    };
    // What is over 80 columns goes to the name, the tolerance and the sparkline alike.
    let more = width.saturating_sub(76) / 3;
    let (name, value, tolerance, range) = (24 + more, 9, 11 + more, 15);
    let spark = width.saturating_sub(2 + name + value + tolerance + range + 4);
    let range_text = row.range.as_ref().map_or_else(String::new, |(low, high)| format!("{low}–{high}"));
    Line::from(vec![
        Span::styled(format!("{sign} "), style),
        Span::raw(fit(&format!("{} {}", row.probe, row.metric), name)),
        Span::raw(" "),
        Span::styled(fit_right(&row.shown, value), style),
        Span::raw(" "),
        Span::styled(fit(&row.tolerance, tolerance), look.faint()),
        Span::raw(" "),
        Span::styled(sparkline(row, spark), look.fg(Color::Cyan)),
        Span::raw(" "),
        Span::styled(fit_right(&range_text, range), look.faint()),
    ])
}

/// The last values, between the lowest and the highest of those shown; a gap where nothing was measured.
pub fn sparkline(row: &ProbeRow, width: usize) -> String {
    let values: Vec<Option<f64>> = row.history.iter().rev().take(width).rev().copied().collect();
    let known = || values.iter().flatten().copied().filter(|value| value.is_finite());
    let (low, high) = (known().fold(f64::INFINITY, f64::min), known().fold(f64::NEG_INFINITY, f64::max));
    let letter = |value: &Option<f64>| match value {
        Some(value) if value.is_finite() && high > low => {
            // Between 0 and 7, so it fits.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 7")]
            let height = ((value - low) / (high - low) * 7.0).round() as usize;
            BARS[height.min(7)]
        }
        Some(_) => BARS[0],
        None => ' ',
    };
    let drawn: String = values.iter().map(letter).collect();
    format!("{}{drawn}", " ".repeat(width.saturating_sub(values.len())))
}

/// A line for the surge of the load, and one for each fault that is set.
pub fn faults(model: &Model, look: Look, area: Rect) -> Vec<Line<'static>> {
    let (width, room) = (usize::from(area.width), usize::from(area.height));
    let surge = model.surge.iter().map(|surge| self::surge(model, surge, look, width));
    let faults = model.faults.iter().map(|fault| self::fault(model, fault, look, width));
    let mut lines: Vec<Line<'static>> = surge.chain(faults).take(room).collect();
    let all = model.faults.len() + usize::from(model.surge.is_some());
    if all > room && room > 0 {
        let text = format!("… {} more", all - room + 1);
        lines[room - 1] = Line::from(Span::styled(text, look.faint()));
    }
    if all > 0 {
        return lines;
    }
    let waiting = model.phase.is_none_or(|now| now.phase < Phase::Method);
    let text = if waiting { "none yet: first the baseline" } else { "none is set now" };
    lines.push(Line::from(Span::styled(text, look.faint())));
    if let Some(step) = model.steps.last() {
        let left = (step.since + step.lasting).saturating_sub(model.now);
        lines.push(Line::from(cut(&format!("step {}, {} left", step.name, seconds(left)), width)));
    }
    lines
}

fn surge(model: &Model, surge: &SurgeNow, look: Look, width: usize) -> Line<'static> {
    let left = model.left_of_surge(surge).map(|left| format!(" {} left", seconds(left))).unwrap_or_default();
    let what = format!("load {}, normally {}", surge.rate, surge.normal);
    let room = width.saturating_sub(left.chars().count() + 2);
    Line::from(vec![Span::styled("▼ ", look.unsure()), Span::raw(fit(&what, room)), Span::raw(left)])
}

fn fault(model: &Model, fault: &FaultNow, look: Look, width: usize) -> Line<'static> {
    let left =
        model.left_of(fault).map_or_else(|| "being removed".to_owned(), |left| format!("{} left", seconds(left)));
    let hits = fault.hits.map_or_else(|| "? hits".to_owned(), |hits| format!("{hits} hits"));
    let end = format!(" {left} {hits}");
    let what = format!("{} {} {} %", fault.proxy, fault.kind, fault.percent);
    let room = width.saturating_sub(end.chars().count() + 2);
    Line::from(vec![Span::styled("▼ ", look.unsure()), Span::raw(fit(&what, room)), Span::raw(end)])
}

/// The abort conditions, the nearest first: how near, and for how long it has been met.
pub fn guard(model: &Model, look: Look, area: Rect) -> Vec<Line<'static>> {
    if model.guards.is_empty() {
        return vec![Line::from(Span::styled("no abort condition", look.faint()))];
    }
    let mut rows: Vec<&GuardRow> = model.guards.iter().collect();
    if let Some(nearest) = model.nearest() {
        rows.sort_by_key(|row| !std::ptr::eq(*row, nearest));
    }
    let width = usize::from(area.width);
    rows.iter().take(usize::from(area.height)).map(|row| condition(model, row, look, width)).collect()
}

fn condition(model: &Model, row: &GuardRow, look: Look, width: usize) -> Line<'static> {
    let met = row.met_for(model.now);
    let (sign, style) = match met {
        Some(_) => ("✕", look.bad()),
        None if row.near >= 0.8 => ("!", look.unsure()),
        None => ("✓", look.good()),
    };
    let how = match met {
        Some(met) => format!(" met {:.1} of {}", met.as_secs_f64(), seconds(row.lasting)),
        // Rounded down, so that what is not met is never shown as all the way.
        None => format!(" {:>3} %", (row.near * 100.0).floor()),
    };
    let room = width.saturating_sub(2 + 8 + 1 + how.chars().count());
    Line::from(vec![
        Span::styled(format!("{sign} "), style),
        Span::styled(bar(row.near, 8), style),
        Span::styled(how, style),
        Span::raw(" "),
        Span::raw(cut(&row.condition, room)),
    ])
}

/// The last events, the newest last.
pub fn events(model: &Model, area: Rect) -> Vec<Line<'static>> {
    let (width, room) = (usize::from(area.width), usize::from(area.height));
    model.lines.iter().rev().take(room).rev().map(|line| Line::from(cut(line, width))).collect()
}

/// What can be pressed, and what the last key came to.
pub fn keys(model: &Model, look: Look) -> Line<'static> {
    if !model.keys {
        return Line::from(Span::styled(" Ctrl-C heals and ends (keys are read on a terminal only)", look.faint()));
    }
    let pause = if model.gate == gate::State::Open { "pause" } else { "go on" };
    let keys = [("a", "abort"), ("p", pause), ("n", "note"), ("?", "help"), ("q", "quit")];
    let mut spans = vec![Span::raw(" ")];
    for (key, what) in keys {
        spans.push(Span::styled(key, look.strong()));
        spans.push(Span::raw(format!(" {what}  ")));
    }
    if model.mode == Mode::Watching && !model.hint.is_empty() {
        spans.push(Span::styled(format!("· {}", model.hint), look.unsure()));
    }
    Line::from(spans)
}

/// Asks whether to abort.
pub fn question(look: Look) -> Text<'static> {
    Text::from(vec![
        Line::from("Abort the run? Every fault is taken away, and every agent is"),
        Line::from("asked whether it is gone. The verdict is `interrupted`."),
        Line::default(),
        Line::from(vec![Span::styled("y", look.strong()), Span::raw(" abort   any other key: go on")]),
    ])
}

/// What a `pause` asks.
pub fn asked(question: &Question, look: Look) -> Text<'static> {
    // By hand, so that the box is as high as the text.
    let letters: Vec<char> = question.question.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut lines: Vec<Line<'static>> =
        letters.chunks(60).map(|row| Line::from(row.iter().collect::<String>())).collect();
    lines.push(Line::default());
    lines.push(Line::from(vec![
        Span::styled("y", look.strong()),
        Span::raw(" continue   "),
        Span::styled("n", look.strong()),
        Span::raw(format!(" stop   without an answer: {}", question.default.word())),
    ]));
    Text::from(lines)
}

/// The note that is being typed; its end is what is seen of a long one.
pub fn note(text: &str, look: Look) -> Text<'static> {
    let letters = text.chars().count();
    let end: String = text.chars().skip(letters.saturating_sub(58)).collect();
    Text::from(vec![
        Line::from(vec![Span::raw(format!("> {end}")), Span::styled("█", look.faint())]),
        Line::default(),
        Line::from("Enter writes it into journal, timeline and report; Esc does not."),
    ])
}

/// What the keys do.
pub fn help(look: Look) -> Text<'static> {
    let rows = [
        ("a", "abort this run: asks once, heals, ends as `interrupted`"),
        ("p", "wait before the next step, or go on; faults end as planned"),
        ("n", "note something into journal, timeline and report"),
        ("q", "as Ctrl-C: heal, confirm, end; files to come are not run"),
        ("^Z", "stop squall; its leases run out if it stays stopped"),
    ];
    let row = |(key, what): (&'static str, &'static str)| {
        Line::from(vec![Span::styled(format!("{key:>2}  "), look.strong()), Span::raw(what)])
    };
    let signs = [
        Line::default(),
        Line::from("✓ within tolerance   ✕ out of it   ? too few samples"),
        Line::from("– not asked for in this phase"),
    ];
    Text::from(rows.into_iter().map(row).chain(signs).collect::<Vec<_>>())
}

fn bar(share: f64, width: usize) -> String {
    // Between 0 and the width, so it fits.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the width")]
    let full = (share.clamp(0.0, 1.0) * width as f64).round() as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(width - full))
}

fn seconds(length: Duration) -> String {
    let seconds = length.as_secs_f64();
    match seconds {
        s if s < 120.0 => format!("{:.0} s", s.ceil()),
        _ => clock(length),
    }
}

fn clock(length: Duration) -> String {
    let whole = length.as_secs();
    match whole / 3600 {
        0 => format!("{}:{:02}", whole / 60, whole % 60),
        hours => format!("{hours}:{:02}:{:02}", whole / 60 % 60, whole % 60),
    }
}

/// At most so many letters; what is cut ends in `…`.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    if width == 0 { String::new() } else { format!("{kept}…") }
}

fn fit(text: &str, width: usize) -> String {
    format!("{:width$}", cut(text, width))
}

fn fit_right(text: &str, width: usize) -> String {
    format!("{:>width$}", cut(text, width))
}
