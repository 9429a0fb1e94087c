//! Asks the person at the terminal what a `pause` wants to know: `y` goes on, `n` stops.
//!
//! Neighbours: `live` starts it where it draws no screen; the questions come from `squall_engine::run::person`.
//! Invariant: without a terminal, or with `--yes`, nobody is asked, and a question that is answered or over waits for
//! no key.

use crate::output;
use crossterm::event::{self, Event, KeyCode, KeyEventKind};
use squall_engine::{
    experiment::Answer,
    run::person::{Person, Question},
};
use std::{io::IsTerminal as _, time::Duration};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How often it is looked whether something is asked, and whether the answer is still wanted.
const PACE: Duration = Duration::from_millis(50);

/// Whoever is at the terminal; nobody where there is none, or where all is said already.
pub fn person(yes: bool) -> Person {
    if yes || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        Person::nobody()
    } else {
        Person::somebody()
    }
}

/// Shows what is asked and reads the answers, until `end`.
pub struct Asking {
    task: JoinHandle<()>,
    over: CancellationToken,
}

impl Asking {
    /// Asks them.
    pub fn start(person: Person) -> Self {
        let over = CancellationToken::new();
        let task = tokio::task::spawn_blocking({
            let over = over.clone();
            move || {
                while !over.is_cancelled() {
                    match person.pending() {
                        Some(question) => ask(&person, &question, &over),
                        None => std::thread::sleep(PACE),
                    }
                }
            }
        });
        Self { task, over }
    }

    /// Nobody asks any more.
    pub async fn end(self) {
        self.over.cancel();
        if let Err(error) = self.task.await {
            tracing::warn!(%error, "asking ended early");
        }
    }
}

/// Reads keys until one is an answer, in the terminal's own line mode: `y` and Enter.
fn ask(person: &Person, question: &Question, over: &CancellationToken) {
    let default = question.default.word();
    output::progress(&format!(
        "{}  y continues, n stops, then Enter (without an answer: {default})",
        question.question
    ));
    while person.pending().as_ref() == Some(question) && !over.is_cancelled() {
        let key = match event::poll(PACE) {
            Ok(true) => event::read(),
            Ok(false) => continue,
            Err(error) => Err(error),
        };
        match key {
            Ok(Event::Key(key)) if key.kind == KeyEventKind::Press => match key.code {
                KeyCode::Char('y' | 'Y') => person.answer(Answer::Continue),
                KeyCode::Char('n' | 'N') => person.answer(Answer::Stop),
                _ => {}
            },
            Ok(_) => {}
            // No keys can be read: the time-out decides.
            Err(error) => {
                tracing::warn!(%error, "no answer can be read from this terminal");
                std::thread::sleep(PACE);
            }
        }
    }
}
