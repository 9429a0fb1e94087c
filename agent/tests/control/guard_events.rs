//! The bus: each change over the API is told once, in order, with who did it and why a fault went.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use crate::api_support::{LONG, Running, config, echo};
use serde_json::json;
use squall_agent::{
    Agent,
    events::{Received, Subscription},
};
use squall_wire::{Event, EventKind};
use tokio::time::timeout;

async fn next(subscription: &mut Subscription) -> Event {
    match timeout(LONG, subscription.next()).await.expect("an event must come") {
        Some(Received::Event(event)) => (*event).clone(),
        other => panic!("{other:?}"),
    }
}

fn told(event: &Event) -> (EventKind, &str, &str) {
    let name = event.fault.as_ref().map(AsRef::as_ref).or(event.proxy.as_ref().map(AsRef::as_ref));
    (event.kind, name.unwrap_or_default(), event.detail.as_deref().unwrap_or_default())
}

#[tokio::test]
async fn every_change_is_told_once_and_in_order() {
    use EventKind as Kind;
    let agent = Agent::bind(config()).await.unwrap();
    let mut bus = agent.events().subscribe(None).unwrap();
    let agent = Running::of(agent);
    agent.proxy("db", echo(b'a').await).await;
    let lease = agent.lease("ann", "1m", &["db"]).await;
    agent.put(&format!("/v1/leases/{lease}"), json!({})).await;
    agent.fault("db", json!({"name": "slow", "fault": {"latency": {"delay": "1ms"}}, "lease": lease})).await;
    let patch = agent
        .request(reqwest::Method::PATCH, "/v1/proxies/db/faults/slow")
        .header("x-squall-lease", &lease)
        .json(&json!({"percent": 50}));
    assert!(patch.send().await.unwrap().status().is_success());
    assert_eq!(agent.delete(&format!("/v1/leases/{lease}")).await.0, 200);
    agent.fault("db", json!({"name": "cut", "fault": {"refuse": {}}})).await;
    assert_eq!(agent.patch("/v1/proxies/db", json!({"enabled": false})).await.0, 200);
    // A refusal is no change.
    assert_eq!(agent.patch("/v1/proxies/no", json!({"enabled": false})).await.0, 404);
    assert_eq!(agent.delete("/v1/proxies/db").await.0, 204);

    let kinds = [
        (Kind::ProxyCreated, "db"),
        (Kind::LeaseTaken, ""),
        (Kind::LeaseRenewed, ""),
        (Kind::FaultSet, "slow"),
        (Kind::FaultChanged, "slow"),
        (Kind::FaultHealed, "slow"),
        (Kind::LeaseEnded, ""),
        (Kind::FaultSet, "cut"),
        (Kind::ProxyChanged, "db"),
        (Kind::ProxyRemoved, "db"),
        (Kind::FaultHealed, "cut"),
    ];
    for (at, (kind, name)) in (1..).zip(kinds) {
        let event = next(&mut bus).await;
        assert_eq!((event.id, event.kind, told(&event).1), (at, kind, name), "{event:?}");
        assert_eq!((event.who.as_str(), event.from.starts_with("127.0.0.1:")), ("anonymous", true));
        let under = matches!(at, 2..=7).then_some(lease.as_str());
        assert_eq!(event.lease.as_ref().map(AsRef::as_ref), under, "{event:?}");
    }
    agent.stop().await;
    assert_eq!(bus.next().await, None, "the bus ends with its agent");
}

#[tokio::test]
async fn why_a_fault_went_is_told_also_when_the_agent_took_it_away() {
    let agent = Agent::bind(config()).await.unwrap();
    let events = agent.events();
    let agent = Running::of(agent);
    agent.proxy("db", echo(b'a').await).await;
    let mut bus = events.subscribe(None).unwrap();
    agent.fault("db", json!({"name": "short", "fault": {"latency": {"delay": "1ms"}}, "expires_in": "50ms"})).await;
    assert_eq!(next(&mut bus).await.kind, EventKind::FaultSet);
    let event = next(&mut bus).await;
    assert_eq!(told(&event), (EventKind::FaultHealed, "short", "fault ran out, 0 hits"));
    assert_eq!((event.who.as_str(), event.from.as_str()), ("agent", "agent"));
    // A toxic is told of as the fault that does it.
    let toxic = json!({"name": "t", "type": "latency", "attributes": {"latency": 1}});
    assert_eq!(agent.post("/proxies/db/toxics", toxic).await.0, 200);
    assert_eq!(told(&next(&mut bus).await).1, "t");
    assert_eq!(agent.post("/reset", json!({})).await.0, 204);
    assert_eq!(told(&next(&mut bus).await), (EventKind::FaultHealed, "t", "fault removed, 0 hits"));
}
