//! What a person sees while a run goes on: a screen with keys on a terminal, plain lines anywhere else.
//!
//! ```text
//! run ─ events ─▶ watcher ─▶ Model ─ bounded ─▶ screen's thread ─▶ draw
//!  ▲ recorder ──▶    ▲                             keys' thread ─▶ keys ─▶ Action
//!  └── stop, gate, notes ──────────────────────────────────────────────────┘
//! ```
//!
//! Neighbours: `model` is what there is to show, pure; `draw` and `panels` show it, pure; `watcher` fills it from the run;
//! `screen` has the terminal. Invariant: everything is on stderr, a run never waits for a terminal, and whatever ends the
//! screen restores it.

mod draw;
mod guard;
mod keys;
mod model;
mod panels;
mod plain;
mod screen;
mod watcher;

#[cfg(test)]
mod tests;

use crate::{ask::Asking, exit::Failure, output};
use clap::ValueEnum;
use squall_engine::run::{Run, person::Person};
use tokio_util::sync::CancellationToken;

/// When the screen is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum When {
    /// On a terminal, unless it cannot be drawn on, results are for programs, or this is a CI system.
    #[default]
    Auto,
    /// On any terminal.
    Always,
    /// Never: a line for each event.
    Never,
}

impl When {
    /// Whether there will be a screen.
    ///
    /// # Errors
    /// When one is wanted and stderr is no terminal.
    pub fn is_drawn(self) -> Result<bool, Failure> {
        match self {
            Self::Never => Ok(false),
            Self::Always if !output::is_stderr_terminal() => {
                Err(Failure::usage("--live always: stderr is no terminal, so there is nothing to draw on".to_owned()))
            }
            Self::Always => Ok(true),
            Self::Auto => Ok(output::is_terminal() && !output::is_for_programs() && !is_ci()),
        }
    }
}

/// Every CI system sets it.
fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

/// Shows a run until its verdict.
pub struct Live {
    plain: plain::Plain,
    watcher: Option<watcher::Watcher>,
    person: Person,
}

impl Live {
    /// Listens to this run from now on.
    pub fn of(run: &Run, drawn: bool) -> Self {
        Self {
            plain: plain::Plain::of(run),
            watcher: drawn.then(|| watcher::Watcher::of(run)),
            person: run.person.clone(),
        }
    }

    /// Draws or prints until the verdict or until `done`. What was drawn stands on the terminal as lines afterwards.
    pub async fn show(self, done: CancellationToken) {
        let Self { plain, watcher, person } = self;
        if let Some(watcher) = watcher {
            match watcher.watch(&done).await {
                // It has heard all the while: what was on the screen stands on the terminal when that is gone.
                None => return plain.show(done).await,
                Some(missed) => output::progress(&format!("no live view: {missed}")),
            }
        }
        let asking = Asking::start(person);
        plain.show(done).await;
        asking.end().await;
    }
}
