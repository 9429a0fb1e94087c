//! `squall agents watch`: what happens on all agents of an environment, as it happens.
//!
//! ```text
//! follow (one task an agent: events, reconnecting) ─┐
//!                                                   ├──lines──▶ stdout, one a line, until a signal or nobody reads it
//! sum up (one task an agent: traffic since a mark) ─┘
//! ```
//! Neighbours: `engine::agent_events` reads the streams. Invariant: it changes nothing on any agent.

use super::Outcome;
use crate::{
    cli::{AgentChoice, Common, Format},
    connect,
    exit::Failure,
    output, signals,
};
use serde::Serialize;
use squall_engine::{
    agent_client::{AgentClient, AgentError},
    agent_events::Told,
    run::stop::Stop,
};
use squall_wire::{Event, EventsLost, Mark, Span, Traffic};
use std::{io, time::Duration};
use tokio::{sync::mpsc, task::JoinSet, time::sleep};

/// Lines that wait to be printed; a follower whose reader is slow waits, and its agent tells it what it missed.
const WAITING: usize = 256;
/// An agent that is not there is asked again after so long.
const AGAIN: Duration = Duration::from_secs(1);

/// One line.
#[derive(Debug, Serialize)]
struct Line {
    agent: String,
    #[serde(flatten)]
    what: What,
}

/// What is told of an agent. As JSON, one of these keys stands beside `agent`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Event(Box<Event>),
    Lost(EventsLost),
    Summary(Summary),
    /// It cannot be followed at the moment.
    Away(String),
    /// It is followed (again).
    Following(String),
}

/// What all proxies of an agent saw since the summary before.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Summary {
    over: Span,
    open: u64,
    ended: u64,
    hit: u64,
    spared: u64,
    errors: u64,
}

/// Follows until a signal, or until the reader of stdout has gone.
pub async fn watch(choice: &AgentChoice, every: Span, common: &Common) -> Outcome {
    let clients = connect::agents(choice)?;
    let stop = Stop::default();
    let listening =
        signals::listen(stop.clone()).map_err(|e| Failure::failed(format!("failed to listen for signals: {e}")))?;
    let (lines, mut told) = mpsc::channel(WAITING);
    let mut tasks = JoinSet::new();
    for client in clients {
        tasks.spawn(follow(client.clone(), lines.clone()));
        tasks.spawn(sum_up(client, every, lines.clone()));
    }
    drop(lines);
    let outcome = loop {
        tokio::select! {
            biased;
            () = stop.stopped() => break Ok(0),
            () = output::unread() => break Ok(0),
            line = told.recv() => match line {
                Some(Ok(line)) => match print(&line, common.output) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break Ok(0),
                    Err(error) => break Err(Failure::failed(format!("failed to write what happens: {error}"))),
                },
                Some(Err(failure)) => break Err(failure),
                None => break Ok(0),
            },
        }
    };
    listening.abort();
    tasks.shutdown().await;
    outcome
}

type Lines = mpsc::Sender<Result<Line, Failure>>;

/// Tells each event, and when the agent goes and comes back. Ends only when it is refused, or nobody listens.
async fn follow(client: AgentClient, lines: Lines) {
    let (mut last, mut away): (Option<String>, bool) = (None, false);
    loop {
        let ended = follow_once(&client, &mut last, &mut away, &lines).await;
        let why = match ended {
            Ok(()) => return,
            // It will not be otherwise the next time.
            Err(error @ AgentError::Refused { status: 400..=499, .. }) => {
                let _ = lines.send(Err(error.into())).await;
                return;
            }
            Err(error) => error.to_string(),
        };
        if !away && send(&lines, &client, What::Away(why)).await.is_none() {
            return;
        }
        away = true;
        sleep(AGAIN).await;
    }
}

/// One connection to its end; Ok when nobody listens any more.
async fn follow_once(
    client: &AgentClient,
    last: &mut Option<String>,
    away: &mut bool,
    lines: &Lines,
) -> Result<(), AgentError> {
    let mut stream = client.events(last.as_deref()).await?;
    *away = false;
    let mut what = Some(What::Following(client.target().url.clone()));
    loop {
        if let Some(what) = what.take()
            && send(lines, client, what).await.is_none()
        {
            return Ok(());
        }
        let next = stream.next().await;
        *last = stream.last().map(str::to_owned);
        what = match next? {
            Some(Told::Event(event)) => Some(What::Event(event)),
            Some(Told::Lost(lost)) => Some(What::Lost(lost)),
            // An agent that shuts down ends it in order.
            None => return Err(client.ended()),
        };
    }
}

/// Tells what the proxies saw, once each `every`. An agent that is away is told of by the other task.
async fn sum_up(client: AgentClient, every: Span, lines: Lines) {
    let mut mark: Option<Mark> = client.traffic(None).await.ok().map(|traffic| traffic.mark);
    loop {
        sleep(every.get()).await;
        let counted = mark.is_some();
        match client.traffic(mark.as_ref()).await {
            Ok(traffic) => {
                let what = counted.then(|| What::Summary(Summary::of(&traffic, every)));
                mark = Some(traffic.mark);
                if let Some(what) = what
                    && send(&lines, &client, what).await.is_none()
                {
                    return;
                }
            }
            // Restarted, or gone: it counts anew.
            Err(error) => {
                tracing::debug!(%error, "no traffic to sum up");
                mark = None;
            }
        }
    }
}

async fn send(lines: &Lines, client: &AgentClient, what: What) -> Option<()> {
    lines.send(Ok(Line { agent: client.name().to_owned(), what })).await.ok()
}

impl Summary {
    fn of(traffic: &Traffic, over: Span) -> Self {
        let none = Self { over, ..Self::default() };
        traffic.proxies.iter().fold(none, |sum, proxy| Self {
            over,
            open: sum.open + proxy.all.open,
            ended: sum.ended + proxy.all.ended,
            hit: sum.hit + proxy.hit.ended,
            spared: sum.spared + proxy.spared.ended,
            errors: sum.errors + proxy.all.errors,
        })
    }
}

fn print(line: &Line, format: Format) -> io::Result<()> {
    match format {
        Format::Text => output::stream(&told(line)),
        Format::Json => output::stream(&serde_json::to_string(line)?),
    }
}

fn told(line: &Line) -> String {
    let agent = &line.agent;
    match &line.what {
        What::Event(event) => format!("{agent}  {}", happened(event)),
        What::Lost(EventsLost { missed: Some(missed), why }) => format!("{agent}  {missed} events are lost: {why}"),
        What::Lost(EventsLost { missed: None, why }) => format!("{agent}  events may be lost: {why}"),
        What::Away(why) => format!("{agent}  away, trying again: {why}"),
        What::Following(url) => format!("{agent}  following {url}"),
        What::Summary(Summary { over, open, ended, hit, spared, errors }) => format!(
            "{agent}  {open} open; in {over}: {ended} ended, {hit} of them hit and {spared} spared, {errors} with an error"
        ),
    }
}

fn happened(event: &Event) -> String {
    // The date is today's; who needs it takes JSON.
    let time = event.at.split_once('T').map_or(event.at.as_str(), |(_, time)| time).get(..12).unwrap_or(&event.at);
    let kind = serde_json::to_value(event.kind).ok();
    let kind = kind.as_ref().and_then(serde_json::Value::as_str).unwrap_or("?").replace('_', " ");
    let on: Vec<_> = [event.proxy.as_ref().map(AsRef::as_ref), event.fault.as_ref().map(AsRef::as_ref)]
        .into_iter()
        .flatten()
        .collect();
    let mut text = format!("{time}  {kind}");
    for part in [Some(on.join("/")), event.count.map(|count| format!("{count} times")), event.detail.clone()] {
        if let Some(part) = part.filter(|part: &String| !part.is_empty()) {
            text += &format!("  {part}");
        }
    }
    if event.who != "agent" {
        text += &format!("  by {} from {}", event.who, event.from);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Line, Summary, What, told};
    use squall_wire::{Event, EventKind, EventsLost, Span};

    fn event(kind: EventKind, count: Option<u64>, who: &str) -> What {
        What::Event(Box::new(Event {
            id: 7,
            at: "2026-03-01T12:03:05.123456789Z".into(),
            kind,
            proxy: Some("payment".parse().unwrap()),
            fault: Some("slow".parse().unwrap()),
            lease: None,
            who: who.into(),
            from: "127.0.0.1:5".into(),
            count,
            detail: Some("7 in all".into()),
        }))
    }

    #[test]
    fn a_line_says_who_what_and_where() {
        let line = |what| told(&Line { agent: "eu".into(), what });
        assert_eq!(
            line(event(EventKind::FaultSet, None, "ann")),
            "eu  12:03:05.123  fault set  payment/slow  7 in all  by ann from 127.0.0.1:5"
        );
        assert_eq!(
            line(event(EventKind::FaultHit, Some(3), "agent")),
            "eu  12:03:05.123  fault hit  payment/slow  3 times  7 in all"
        );
        let lost = What::Lost(EventsLost { missed: Some(4), why: "they were not read in time".into() });
        assert_eq!(line(lost), "eu  4 events are lost: they were not read in time");
        let over = Span::from_secs(10);
        let summary = What::Summary(Summary { over, open: 2, ended: 9, hit: 4, spared: 5, errors: 1 });
        assert_eq!(line(summary), "eu  2 open; in 10s: 9 ended, 4 of them hit and 5 spared, 1 with an error");
    }

    #[test]
    fn as_json_a_line_is_one_object() {
        let line = Line { agent: "eu".into(), what: What::Away("refused".into()) };
        assert_eq!(serde_json::to_string(&line).unwrap(), r#"{"agent":"eu","away":"refused"}"#);
    }
}
