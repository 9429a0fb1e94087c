//! A line for each event, for pipes, logs and CI.
//!
//! Neighbour: `watcher` keeps the same lines, and prints them when its screen is gone.

use crate::output;
use squall_engine::{
    event::{Event, What},
    run::Run,
};
use squall_wire::Span;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

/// Prints what happens.
pub struct Plain {
    events: broadcast::Receiver<Event>,
}

impl Plain {
    /// Listens to this run from now on.
    pub fn of(run: &Run) -> Self {
        Self { events: run.log.listen() }
    }

    /// Prints until the verdict or until `done`.
    pub async fn show(mut self, done: CancellationToken) {
        loop {
            let event = tokio::select! {
                biased;
                event = self.events.recv() => event,
                () = done.cancelled() => return,
            };
            match event {
                Ok(Event { what: What::Verdict { .. }, .. }) | Err(RecvError::Closed) => return,
                Ok(event) => line(&event).iter().for_each(|line| output::progress(line)),
                Err(RecvError::Lagged(missed)) => output::progress(&format!("({missed} events not shown)")),
            }
        }
    }
}

/// An event as one plain line; none for what is of no interest while it happens.
pub fn line(event: &Event) -> Option<String> {
    let text: String = told(&event.what)?.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    Some(format!("[{:6.2}s] {text}", event.at.as_secs_f64()))
}

fn told(what: &What) -> Option<String> {
    Some(match what {
        What::Phase { phase, lasting: Some(lasting) } => format!("{} ({} at most)", phase.word(), Span::from(*lasting)),
        What::Phase { phase, lasting: None } => phase.word().to_owned(),
        What::Leased { agent, proxies, ttl, .. } => {
            let names: Vec<_> = proxies.iter().map(|proxy| proxy.as_str()).collect();
            format!("lease on agent {agent} for {}, {} unless renewed", names.join(", "), Span::from(*ttl))
        }
        What::StepStarted { step, lasting } => format!("step: {step} ({})", Span::from(*lasting)),
        What::Injected { proxy, fault, .. } => {
            format!("injected {} into {proxy} ({}, {} %)", fault.name, fault.fault.name(), fault.percent)
        }
        What::Removed { proxy, fault, hits, why, .. } => {
            let hits = hits.map_or_else(|| "hits cannot be counted".to_owned(), |hits| format!("{hits} hits"));
            format!("removed {fault} from {proxy}: {why}, {hits}")
        }
        What::HealConfirmed { agent } => format!("agent {agent} confirms that it is healed"),
        What::HealFailed { agent, cause, remedy } => {
            format!("agent {agent} could not confirm that it is healed: {cause}; to be sure: {remedy}")
        }
        What::Breach { condition, measured } => format!("ABORT: {condition} ({measured})"),
        What::Stopped { by } => format!("stopped by {by}"),
        What::Failed { message } => format!("failed: {message}"),
        What::Note { text } => text.clone(),
        What::Intent { .. } | What::StepEnded { .. } | What::Verdict { .. } => return None,
        other => squall_engine::event::in_words(other)?,
    })
}
