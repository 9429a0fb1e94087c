//! Follows the events of one agent: its server-sent events as values, and where to go on after a break.
//!
//! Neighbours: `agent_client` opens the stream, `squall agents watch` reads it.
//! Invariant: every wait has a limit: an agent writes something every 15 seconds, and one that does not is not there.

use crate::agent_client::{AgentClient, AgentError};
use squall_wire::{Event, EventsLost};
use std::time::Duration;

/// No agent is silent for so long.
const SILENCE: Duration = Duration::from_secs(40);
/// No event is longer; what is, is no agent's.
const LONGEST: usize = 1024 * 1024;

/// What a stream of events tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// Something happened.
    Event(Box<Event>),
    /// Something happened that cannot be told any more.
    Lost(EventsLost),
}

/// An open stream of events.
#[derive(Debug)]
pub struct EventStream {
    client: AgentClient,
    response: reqwest::Response,
    lines: Lines,
}

impl EventStream {
    pub(crate) fn new(client: AgentClient, response: reqwest::Response, last: Option<String>) -> Self {
        Self { client, response, lines: Lines { last, ..Lines::default() } }
    }

    /// The next that the agent tells; None when it ended the stream in order. May be given up while it waits.
    ///
    /// # Errors
    /// When the connection breaks, the agent is silent for too long, or what it says are no events.
    pub async fn next(&mut self) -> Result<Option<Told>, AgentError> {
        loop {
            if let Some(told) = self.lines.next() {
                return Ok(Some(told));
            }
            let chunk = tokio::time::timeout(SILENCE, self.response.chunk());
            let chunk = chunk.await.map_err(|_| self.client.silent(SILENCE))?;
            match chunk.map_err(|error| self.client.broken(&error))? {
                None => return Ok(None),
                Some(bytes) if self.lines.held.len() + bytes.len() <= LONGEST => self.lines.held.extend(bytes),
                Some(_) => return Err(self.client.foreign("an event without an end".to_owned())),
            }
        }
    }

    /// The id of the last event, by which a new stream goes on after it.
    #[must_use]
    pub fn last(&self) -> Option<&str> {
        self.lines.last.as_deref()
    }
}

/// Text in the form of an event stream, cut into events.
#[derive(Debug, Default)]
struct Lines {
    held: Vec<u8>,
    last: Option<String>,
}

impl Lines {
    /// The next whole event. Those that this version does not know are passed over.
    fn next(&mut self) -> Option<Told> {
        loop {
            let end = self.held.windows(2).position(|pair| pair == b"\n\n")?;
            let block: Vec<u8> = self.held.drain(..end + 2).collect();
            if let Some(told) = self.told(&String::from_utf8_lossy(&block)) {
                return Some(told);
            }
        }
    }

    fn told(&mut self, block: &str) -> Option<Told> {
        let (mut kind, mut data) = ("", Vec::new());
        for line in block.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => self.last = Some(value.to_owned()),
                "event" => kind = value,
                "data" => data.push(value),
                _ => {}
            }
        }
        let data = data.join("\n");
        let told = match kind {
            "" => return None,
            "lost" => serde_json::from_str(&data).map(Told::Lost),
            _ => serde_json::from_str(&data).map(|event| Told::Event(Box::new(event))),
        };
        told.inspect_err(|error| tracing::debug!(%error, kind, "an event that is not understood")).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::{Lines, Told};
    use squall_wire::EventKind;

    const EVENT: &str = "event: proxy_created\nid: 0123abcd-7\ndata: {\"id\": 7, \"at\": \"2026-01-01T00:00:00Z\", \
                         \"kind\": \"proxy_created\", \"proxy\": \"db\", \"who\": \"ann\", \"from\": \"127.0.0.1:1\"}\n\n";

    #[test]
    fn events_come_out_whole_however_the_bytes_come_in() {
        let text = format!(
            ": squall-agent\nretry: 1000\n\n{EVENT}: alive\n\nevent: of_tomorrow\ndata: {{}}\n\nevent: lost\ndata: {{\"missed\": 3, \"why\": \"late\"}}\n\n"
        );
        let (mut lines, mut told) = (Lines::default(), Vec::new());
        for byte in text.bytes() {
            lines.held.push(byte);
            told.extend(lines.next());
        }
        let [Told::Event(event), Told::Lost(lost)] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((event.kind, event.proxy.as_ref().unwrap().as_str()), (EventKind::ProxyCreated, "db"));
        assert_eq!((lost.missed, lines.last.as_deref()), (Some(3), Some("0123abcd-7")));
        assert!(lines.held.is_empty());
    }
}
