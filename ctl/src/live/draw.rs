//! A model as a screen: header, phases, probes, faults beside the guard, events, keys. Pure.
//!
//! Neighbours: `panels` has each part; `screen` has the terminal that this is drawn on.
//! Invariant: it draws at any size, and says nothing by colour alone.

use super::{
    model::{Mode, Model},
    panels::{self, Look},
};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::{Line, Text},
    widgets::{Block, Clear, Paragraph, Wrap},
};

/// Below this there is no room for panels.
const SMALLEST: (u16, u16) = (40, 12);

/// Lines of events that are shown, at least, where there is room for anything.
const FEWEST_EVENTS: u16 = 4;

/// Draws the whole screen.
pub fn draw(model: &Model, frame: &mut Frame<'_>) {
    let look = Look { colour: model.colour };
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        return small(model, look, frame);
    }
    let [header, phases, probes, middle, events, keys] = parts(model, area);
    frame.render_widget(Paragraph::new(panels::header(model, look, header.width)), header);
    frame.render_widget(Paragraph::new(panels::phases(model, look, phases.width)), phases);
    panel(frame, probes, "Steady state", panels::probes(model, look, inner(probes)));
    let halves = Layout::horizontal([Constraint::Percentage(50), Constraint::Fill(1)]);
    let [faults, guard]: [Rect; 2] = halves.areas(middle);
    panel(frame, faults, "Faults", panels::faults(model, look, inner(faults)));
    panel(frame, guard, "Distance from abort", panels::guard(model, look, inner(guard)));
    panel(frame, events, "Events", panels::events(model, inner(events)));
    frame.render_widget(Paragraph::new(panels::keys(model, look)), keys);
    popup(model, look, frame);
}

/// Events have what the others leave; probes give way first, to a line that counts what is not shown.
fn parts(model: &Model, area: Rect) -> [Rect; 6] {
    let count = |length: usize| u16::try_from(length).unwrap_or(u16::MAX);
    let middle = count(model.faults.len().max(model.guards.len()).max(1)).min(area.height / 6).max(2) + 2;
    let fixed = 1 + 2 + 1 + middle + FEWEST_EVENTS + 2;
    let probes = count(model.probes.len().max(1)).min(area.height.saturating_sub(fixed + 2)).max(1) + 2;
    Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(2),
        Constraint::Length(probes),
        Constraint::Length(middle),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(area)
}

fn inner(area: Rect) -> Rect {
    Block::bordered().inner(area)
}

fn panel(frame: &mut Frame<'_>, area: Rect, title: &str, lines: Vec<Line<'_>>) {
    let block = Block::bordered().title(format!(" {title} "));
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// What matters most, where there is no room for panels.
fn small(model: &Model, look: Look, frame: &mut Frame<'_>) {
    let area = frame.area();
    let mut lines = panels::phases(model, look, area.width);
    lines.push(Line::from(format!("{} faults set", model.faults.len())));
    let rows = usize::from(area.height).saturating_sub(lines.len() + 1);
    let last = model.lines.iter().rev().take(rows).rev();
    lines.extend(last.map(|line| Line::from(line.as_str())));
    lines.push(panels::keys(model, look));
    frame.render_widget(Paragraph::new(lines), area);
}

fn popup(model: &Model, look: Look, frame: &mut Frame<'_>) {
    let (title, text) = match &model.mode {
        Mode::Watching => match &model.question {
            Some((question, _)) => (" A question to you ", panels::asked(question, look)),
            None => return,
        },
        Mode::Aborting => (" Abort? ", panels::question(look)),
        Mode::Noting(text) => (" Note ", panels::note(text, look)),
        Mode::Help => (" Keys ", panels::help(look)),
    };
    let area = centred(frame.area(), 64, u16::try_from(text.height()).unwrap_or(10) + 2);
    frame.render_widget(Clear, area);
    let block = Block::bordered().title(title).border_style(look.strong());
    frame.render_widget(Paragraph::new::<Text<'_>>(text).wrap(Wrap { trim: false }).block(block), area);
}

fn centred(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect::new(area.x + (area.width - width) / 2, area.y + (area.height - height) / 2, width, height)
}
