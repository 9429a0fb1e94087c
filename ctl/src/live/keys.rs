//! What a key means, by what is on the screen. Pure: keys in, actions out; `watcher` carries them out.

use super::model::{Mode, Model};
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use squall_engine::{experiment::Answer, run::gate};
use std::time::Duration;

/// A key that was pressed sooner after a question came up was not meant for it.
const READ: Duration = Duration::from_millis(700);

/// Letters of a note, at most.
const LONGEST_NOTE: usize = 500;

/// What a key asks for beyond the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// End this run: heal, and be `interrupted`.
    Abort,
    /// Wait before the next step, or go on.
    Pause,
    /// Write this down.
    Note(String),
    /// Answer the question of a `pause`.
    Answer(Answer),
    /// As SIGINT does.
    Quit,
    /// Stop the process until it is continued, as Ctrl-Z does.
    Suspend,
}

/// Takes a key in.
pub fn press(model: &mut Model, key: KeyEvent) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c' | 'C') => Some(quit(model)),
            KeyCode::Char('z' | 'Z') => Some(Action::Suspend),
            _ => None,
        };
    }
    match std::mem::take(&mut model.mode) {
        Mode::Watching => watching(model, key.code),
        Mode::Help => None,
        Mode::Aborting => match key.code {
            KeyCode::Char('y' | 'Y') => {
                model.stopping = true;
                model.hint = "aborting: every fault is taken away and confirmed gone".to_owned();
                Some(Action::Abort)
            }
            _ => {
                model.hint = "not aborted".to_owned();
                None
            }
        },
        Mode::Noting(text) => noting(model, text, key.code),
    }
}

fn watching(model: &mut Model, key: KeyCode) -> Option<Action> {
    model.hint.clear();
    if let (Some((_, since)), KeyCode::Char(letter @ ('y' | 'Y' | 'n' | 'N'))) = (&model.question, key) {
        if model.now.saturating_sub(*since) < READ {
            model.hint = "a question has just come up: once more to answer it".to_owned();
            return None;
        }
        model.question = None;
        return Some(Action::Answer(if letter.eq_ignore_ascii_case(&'y') { Answer::Continue } else { Answer::Stop }));
    }
    match key {
        KeyCode::Char('a') if model.stopping => model.hint = "it is stopping already".to_owned(),
        KeyCode::Char('a') => model.mode = Mode::Aborting,
        KeyCode::Char('n') => model.mode = Mode::Noting(String::new()),
        KeyCode::Char('?' | 'h') => model.mode = Mode::Help,
        KeyCode::Char('p') if model.stopping => model.hint = "it is stopping already".to_owned(),
        KeyCode::Char('p') => {
            let shut = model.gate == gate::State::Open;
            model.hint = if shut { "waits before the next step; p to go on" } else { "goes on" }.to_owned();
            return Some(Action::Pause);
        }
        KeyCode::Char('q') => return Some(quit(model)),
        _ => {}
    }
    None
}

fn quit(model: &mut Model) -> Action {
    model.mode = Mode::Watching;
    model.stopping = true;
    model.hint = "stopping: every fault is taken away and confirmed gone first".to_owned();
    Action::Quit
}

fn noting(model: &mut Model, mut text: String, key: KeyCode) -> Option<Action> {
    match key {
        KeyCode::Enter => {
            let note = text.trim().to_owned();
            model.hint = if note.is_empty() { "nothing noted" } else { "noted" }.to_owned();
            return (!note.is_empty()).then_some(Action::Note(note));
        }
        KeyCode::Esc => {
            model.hint = "nothing noted".to_owned();
            return None;
        }
        KeyCode::Backspace => {
            text.pop();
        }
        KeyCode::Char(letter) if !letter.is_control() && text.chars().count() < LONGEST_NOTE => text.push(letter),
        _ => {}
    }
    model.mode = Mode::Noting(text);
    None
}
