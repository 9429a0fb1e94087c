//! What a person sees while a run goes on: a few lines that are redrawn on a terminal, plain lines anywhere else.
//!
//! It only listens: to the run's events, and to the recorder for each probe's last window against its tolerance.
//! Invariant: it writes to stderr only, and a run never waits for it.

use crate::output;
use crossterm::{cursor, terminal};
use squall_engine::{
    event::{Event, Phase, What},
    experiment::{Experiment, SteadyRow, When},
    judge,
    record::Outcome,
    recorder::Recorder,
    run::Run,
};
use squall_wire::Span;
use std::{fmt::Write as _, io::Write as _, sync::Arc, time::Duration};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

/// How often the screen is drawn again.
const PACE: Duration = Duration::from_millis(200);
/// The window over which a probe's last value is shown.
const RECENT: Duration = Duration::from_secs(2);

/// Shows a run until its verdict.
pub struct Live {
    events: broadcast::Receiver<Event>,
    recorder: Arc<Recorder>,
    experiment: Arc<Experiment>,
    state: State,
}

/// What is going on, as far as the events told.
#[derive(Default)]
struct State {
    phase: Option<(Phase, Duration, Option<Duration>)>,
    steps: Vec<(String, Duration, Duration)>,
    faults: Vec<ActiveFault>,
    ended: bool,
}

struct ActiveFault {
    agent: String,
    proxy: String,
    name: String,
    shown: String,
}

impl Live {
    /// Listens to this run from now on.
    pub fn of(run: &Run) -> Self {
        Self {
            events: run.log.listen(),
            recorder: run.recorder.clone(),
            experiment: run.experiment.clone(),
            state: State::default(),
        }
    }

    /// Draws or prints until the verdict or until `done`.
    pub async fn show(mut self, done: CancellationToken) {
        let screen = output::is_terminal();
        let mut pace = tokio::time::interval(PACE);
        let mut drawn = 0;
        while !self.state.ended {
            tokio::select! {
                () = done.cancelled() => break,
                event = self.events.recv() => match event {
                    Ok(event) => {
                        self.state.hear(&event);
                        if let Some(line) = line(&event) {
                            erase(&mut drawn);
                            output::progress(&line);
                        }
                    }
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        output::progress(&format!("({missed} events not shown)"));
                    }
                    Err(broadcast::error::RecvError::Closed) => break,
                },
                _ = pace.tick(), if screen => {
                    erase(&mut drawn);
                    let frame = self.frame();
                    drawn = frame.lines().count();
                    let _ = write!(anstream::stderr(), "{frame}");
                }
            }
        }
        erase(&mut drawn);
    }

    /// The lines that are drawn again and again.
    fn frame(&self) -> String {
        let now = self.recorder.now();
        // Never wider or higher than the screen: what has wrapped or scrolled away cannot be erased.
        let (columns, rows) = terminal::size().map_or((80, 24), |(columns, rows)| (columns.max(2), rows.max(2)));
        let mut lines = Vec::new();
        if let Some((phase, since, lasting)) = self.state.phase {
            lines.push(format!("{} {}", bold(phase.word()), left(now, since, lasting)));
        }
        for (step, since, lasting) in &self.state.steps {
            lines.push(format!("  step   {step} {}", left(now, *since, Some(*lasting))));
        }
        for fault in &self.state.faults {
            lines.push(format!("  fault  {} {}", fault.proxy, fault.shown));
        }
        lines.extend(self.experiment.steady_state.iter().flat_map(|row| self.row(row, now)));
        lines.iter().take(usize::from(rows) - 1).fold(String::new(), |mut frame, line| {
            let _ = writeln!(frame, "{}", cut(line, usize::from(columns) - 1));
            frame
        })
    }

    /// A row of the steady state over the last seconds: value against tolerance.
    fn row(&self, row: &SteadyRow, now: Duration) -> Vec<String> {
        let window = now.saturating_sub(RECENT)..now;
        let shown = SteadyRow { when: vec![When::During], min_samples: Some(1), ..row.clone() };
        let none = judge::Baselines::default();
        judge::judge_rows(std::slice::from_ref(&shown), When::During, &self.recorder, &window, &none)
            .into_iter()
            .map(|result| {
                let mark = match result.outcome {
                    Outcome::Held => "ok",
                    Outcome::Broken => "!!",
                    Outcome::Inconclusive => "..",
                };
                format!("  {mark}     {} {} {}  ({})", result.probe, result.metric, result.shown, result.tolerance)
            })
            .collect()
    }
}

impl State {
    fn hear(&mut self, event: &Event) {
        match &event.what {
            What::Phase { phase, lasting } => {
                self.phase = Some((*phase, event.at, *lasting));
                if *phase != Phase::Method {
                    self.steps.clear();
                }
            }
            What::StepStarted { step, lasting } => self.steps.push((step.clone(), event.at, *lasting)),
            What::StepEnded { step } => self.steps.retain(|(name, ..)| name != step),
            What::Injected { agent, proxy, fault, .. } => self.faults.push(ActiveFault {
                agent: agent.clone(),
                proxy: proxy.to_string(),
                name: fault.name.to_string(),
                shown: format!("{} at {} %", fault.fault.name(), fault.percent),
            }),
            What::Removed { agent, proxy, fault, .. } => {
                let gone = |f: &ActiveFault| f.agent == *agent && f.proxy == proxy.as_str() && f.name == fault.as_str();
                self.faults.retain(|fault| !gone(fault));
            }
            What::HealConfirmed { agent } => self.faults.retain(|fault| fault.agent != *agent),
            What::Verdict { .. } => self.ended = true,
            _ => {}
        }
    }
}

/// An event as one plain line; none for what is of no interest while it happens.
fn line(event: &Event) -> Option<String> {
    let text = match &event.what {
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
    };
    Some(format!("[{:6.2}s] {text}", event.at.as_secs_f64()))
}

fn left(now: Duration, since: Duration, lasting: Option<Duration>) -> String {
    match lasting {
        Some(lasting) => format!("{:.0}s left", (since + lasting).saturating_sub(now).as_secs_f64().ceil()),
        None => String::new(),
    }
}

fn bold(text: &str) -> String {
    let bold = anstyle::Style::new().bold();
    format!("{bold}{text}{bold:#}")
}

/// At most so many characters, so that a line never wraps and the screen can be erased line by line.
fn cut(line: &str, width: usize) -> String {
    let escapes = if line.contains('\u{1b}') { 8 } else { 0 };
    line.chars().take(width + escapes).collect()
}

fn erase(drawn: &mut usize) {
    if *drawn > 0 {
        let up = cursor::MoveToPreviousLine(u16::try_from(*drawn).unwrap_or(u16::MAX));
        let mut stderr = anstream::stderr();
        let _ = write!(stderr, "{up}{}", terminal::Clear(terminal::ClearType::FromCursorDown));
        let _ = stderr.flush();
        *drawn = 0;
    }
}
