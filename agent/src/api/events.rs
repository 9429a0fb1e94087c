//! `/v1/events`: what happens on the agent, as server-sent events.
//!
//! ```text
//! crate::events ──Subscription──▶ filter (proxy, kind) ──▶ id: LIFE-N, event: KIND, data: JSON ──▶ the client
//! ```
//! Who comes back with `Last-Event-ID` gets what came meanwhile, or is told by an event `lost` that it is not all
//! there. A client that reads too slowly is told so as well. Neighbours: `crate::events` is the bus.
//! Invariant: a client that does not read holds up nobody; what waits for it is bounded by the bus. None hears more than it
//! may: when tokens are read anew, the streams of those that are gone end.

use super::{Api, ApiError, access::ClientName, query::Query, traffic::named};
use crate::{
    access::{Identity, Role},
    events::{MAX_SUBSCRIBERS, Received, Subscription},
    registry::Refusal,
};
use axum::{
    extract::State,
    http::{Extensions, HeaderMap, HeaderValue, header::AUTHORIZATION},
    response::sse::{Event as Line, KeepAlive, Sse},
};
use futures::{Stream, StreamExt, stream};
use serde::{Deserialize, de::IntoDeserializer, de::value::Error as WordError};
use squall_wire::{Event, EventKind, EventsLost, Mark, ProxyName};
use std::{convert::Infallible, future::ready, sync::Arc, time::Duration};

/// A comment comes when nothing else has for so long, so that a dead connection is noticed on both sides.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A client that lost the stream should be back after so long.
const RETRY: Duration = Duration::from_secs(1);
/// The header in which a client says what it had last.
const LAST_EVENT_ID: &str = "last-event-id";

/// Which events are wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    proxy: Option<String>,
    kind: Option<String>,
}

/// The same, understood. What is empty lets everything pass.
#[derive(Debug, Default)]
struct Filter {
    proxies: Vec<ProxyName>,
    kinds: Vec<EventKind>,
}

pub(super) async fn follow(
    State(api): State<Arc<Api>>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Result<Sse<impl Stream<Item = Result<Line, Infallible>>>, ApiError> {
    let filter = Filter::of(&wanted)?;
    let last = last_event(&headers)?;
    let restarted = last.as_ref().is_some_and(|mark| !mark.is_of(&api.instance));
    // All that this life still has, where the client's last event is of another.
    let after = last.map(|mark| if restarted { 0 } else { mark.number() });
    let subscription = api.registry.events().subscribe(after).ok_or_else(|| {
        ApiError::busy(format!("all {MAX_SUBSCRIBERS} places for those who follow the events are taken"))
    })?;
    let why = "the agent was restarted".to_owned();
    let first = restarted.then(|| lost(&EventsLost { missed: None, why }));
    let beginning = stream::iter([Line::default().comment("squall-agent").retry(RETRY)]).chain(stream::iter(first));
    let instance = api.instance.clone();
    let rest = received(subscription).filter_map(move |received| ready(line(&received, &filter, &instance)));
    let rest = rest.take_until(revoked(Arc::clone(&api), headers, extensions));
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("alive");
    Ok(Sse::new(beginning.chain(rest).map(Ok)).keep_alive(keep_alive))
}

/// Returns when who follows may do so no longer. Where a certificate says who it is, each reading of the files is a reason
/// to show it again.
async fn revoked(api: Arc<Api>, headers: HeaderMap, extensions: Extensions) {
    let (identity, by_token) = (Identity::of(&extensions), headers.contains_key(AUTHORIZATION));
    loop {
        let read_anew = api.access.read_anew();
        let authorization = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let name = extensions.get::<ClientName>().map(|ClientName(name)| &**name);
        match api.access.identify(authorization, name) {
            Ok(now) if now.who == identity.who && now.role >= Role::Read => {}
            _ => return,
        }
        read_anew.await;
        if name.is_some() && !by_token {
            return;
        }
    }
}

fn received(subscription: Subscription) -> impl Stream<Item = Received> {
    stream::unfold(subscription, |mut subscription| async move {
        let next = subscription.next().await?;
        Some((next, subscription))
    })
}

/// What the client is told of it, if anything.
fn line(received: &Received, filter: &Filter, instance: &str) -> Option<Line> {
    match received {
        Received::Missed(missed) => {
            let why = "they were not read, or asked for, in time".to_owned();
            Some(lost(&EventsLost { missed: Some(*missed), why }))
        }
        Received::Event(event) if filter.wants(event) => {
            let id = Mark::new(instance, event.id).to_string();
            json(Line::default().event(word(event.kind)).id(id), &**event)
        }
        Received::Event(_) => None,
    }
}

fn lost(lost: &EventsLost) -> Line {
    json(Line::default().event("lost"), lost).unwrap_or_default()
}

fn json(line: Line, value: &impl serde::Serialize) -> Option<Line> {
    line.json_data(value).inspect_err(|error| tracing::error!(%error, "failed to write an event")).ok()
}

/// The kind as it stands in JSON.
fn word(kind: EventKind) -> String {
    serde_json::to_value(kind).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

impl Filter {
    fn of(wanted: &Wanted) -> Result<Self, ApiError> {
        let proxies = wanted.proxy.as_deref().map(named).transpose()?.unwrap_or_default();
        let kind = |word: &str| {
            EventKind::deserialize(word.into_deserializer())
                .map_err(|error: WordError| ApiError::from(Refusal::invalid("kind", error.to_string())))
        };
        let kinds = wanted.kind.as_deref().map(|list| list.split(',').map(kind).collect()).transpose()?;
        Ok(Self { proxies, kinds: kinds.unwrap_or_default() })
    }

    fn wants(&self, event: &Event) -> bool {
        let of_proxy = || event.proxy.as_ref().is_some_and(|proxy| self.proxies.contains(proxy));
        (self.proxies.is_empty() || of_proxy()) && (self.kinds.is_empty() || self.kinds.contains(&event.kind))
    }
}

fn last_event(headers: &HeaderMap) -> Result<Option<Mark>, ApiError> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let text = String::from_utf8_lossy(value.as_bytes());
    let mark = text.parse().map_err(|error| Refusal::invalid("Last-Event-ID", format!("{error}")))?;
    Ok(Some(mark))
}
