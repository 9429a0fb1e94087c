//! Every call of `/v1`, of the metrics and of health, each with what it takes and answers.
//!
//! The router and the OpenAPI document are both made of this one table; Toxiproxy's calls (`super::toxiproxy`) are
//! described by Toxiproxy. Neighbours: `call` is one row, the handlers are named here and live beside this file.
//! Invariant: what is not in this table is not served.

use super::{
    about,
    call::{Call, Tag},
    docs, events, faults, halt, leases, proxies, traffic,
};
use axum::http::Method;
use serde_json::json;
use squall_wire::{
    AgentInfo, Event, EventsLost, FaultInfo, FaultList, FaultPatch, FaultSpec, HaltInfo, HaltRequest, Healed, Health,
    Lease, LeaseId, LeaseList, LeaseRenewal, LeaseRequest, Mark, ProxyInfo, ProxyList, ProxyPatch, ProxySpec, Traffic,
};

/// All calls, in the order in which they are shown.
pub(super) fn calls() -> Vec<Call> {
    let mut all = of_proxies();
    all.extend(of_faults());
    all.extend(of_leases());
    all.extend(of_agent());
    all
}

const LEASE: &str = "X-Squall-Lease";
const UNDER: &str = "The lease under which the caller acts, where one holds the proxy.";
const KEEPS_RUNNING: &str = "Open connections go on.";

fn of_proxies() -> Vec<Call> {
    let spec = json!({"name": "db", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:5432"});
    vec![
        Call::new(Method::GET, "/v1/proxies", "listProxies", Tag::Proxies, proxies::list)
            .does("All proxies, by name", "Each with its faults and counters, as they were at one moment.")
            .answers::<ProxyList>(200, "The proxies."),
        Call::new(Method::POST, "/v1/proxies", "createProxy", Tag::Proxies, proxies::create)
            .does("Make a proxy", "It takes connections when this answers. Port 0 in `listen` takes a free one.")
            .header::<LeaseId>(LEASE, UNDER)
            .takes::<ProxySpec>(spec.clone())
            .answers::<ProxyInfo>(201, "The proxy, with the address that is bound.")
            .refuses(&[404, 409, 501]),
        Call::new(Method::GET, "/v1/proxies/{proxy}", "showProxy", Tag::Proxies, proxies::show)
            .does("One proxy", "")
            .answers::<ProxyInfo>(200, "The proxy."),
        Call::new(Method::PUT, "/v1/proxies/{proxy}", "putProxy", Tag::Proxies, proxies::put)
            .does(
                "Make a proxy, or bring one into this shape",
                "What is so already is not disturbed. The body's name \
                   is the path's.",
            )
            .header::<LeaseId>(LEASE, UNDER)
            .takes::<ProxySpec>(spec)
            .answers::<ProxyInfo>(200, "It was there, and is so now.")
            .answers::<ProxyInfo>(201, "It is new.")
            .refuses(&[409, 501]),
        Call::new(Method::PATCH, "/v1/proxies/{proxy}", "changeProxy", Tag::Proxies, proxies::patch)
            .does("Change a proxy", KEEPS_RUNNING)
            .header::<LeaseId>(LEASE, UNDER)
            .takes::<ProxyPatch>(json!({"enabled": false}))
            .answers::<ProxyInfo>(200, "The proxy as it is now.")
            .refuses(&[409, 501]),
        Call::new(Method::DELETE, "/v1/proxies/{proxy}", "deleteProxy", Tag::Proxies, proxies::delete)
            .does("End a proxy", "Its listener, its connections and its faults go with it. Not while it is leased, for it could not come back.")
            .header::<LeaseId>(LEASE, UNDER)
            .answers_nothing(204, "It is gone.")
            .refuses(&[409]),
    ]
}

fn of_faults() -> Vec<Call> {
    let fault = "/v1/proxies/{proxy}/faults/{fault}";
    vec![
        Call::new(Method::GET, "/v1/proxies/{proxy}/faults", "listFaults", Tag::Faults, faults::list)
            .does("The faults of a proxy", "In the order in which they apply, each with its hits and its time left.")
            .answers::<FaultList>(200, "The faults."),
        Call::new(Method::POST, "/v1/proxies/{proxy}/faults", "setFault", Tag::Faults, faults::create)
            .does("Set a fault", "It takes hold of live connections at once.")
            .header::<LeaseId>(LEASE, "The lease that the fault lives under; `lease` in the body says the same.")
            .takes::<FaultSpec>(json!({
                "name": "slow", "fault": {"latency": {"delay": "800ms", "jitter": "100ms"}}, "percent": 50,
                "expires_in": "30s",
            }))
            .answers::<FaultInfo>(201, "The fault, with the name and the seed that it got.")
            .refuses(&[409, 501]),
        Call::new(Method::GET, fault, "showFault", Tag::Faults, faults::show)
            .does("One fault", "")
            .answers::<FaultInfo>(200, "The fault."),
        Call::new(Method::PATCH, fault, "changeFault", Tag::Faults, faults::patch)
            .does("Change a fault", "Its kind stays. A larger share hits the same units and more.")
            .header::<LeaseId>(LEASE, UNDER)
            .takes::<FaultPatch>(json!({"percent": 100}))
            .answers::<FaultInfo>(200, "The fault as it is now.")
            .refuses(&[409, 501]),
        Call::new(Method::DELETE, fault, "removeFault", Tag::Faults, faults::delete)
            .does("Remove a fault", "")
            .header::<LeaseId>(LEASE, UNDER)
            .answers::<Healed>(200, "It is gone; how often it hit.")
            .refuses(&[409, 501]),
        Call::new(Method::DELETE, "/v1/faults", "healAll", Tag::Faults, faults::heal_all)
            .does("Heal everything", "Removes every fault, whoever set it, and undoes what was changed under leases. Leases stay. It takes no query.")
            .header::<LeaseId>(LEASE, UNDER)
            .answers::<Healed>(200, "What was removed.")
            .refuses(&[400]),
    ]
}

fn of_leases() -> Vec<Call> {
    vec![
        Call::new(Method::GET, "/v1/leases", "listLeases", Tag::Leases, leases::list)
            .does("All leases that live", "")
            .answers::<LeaseList>(200, "The leases."),
        Call::new(Method::POST, "/v1/leases", "takeLease", Tag::Leases, leases::create)
            .does("Take a lease", "All of its proxies, or none; none that has faults already.")
            .header::<LeaseId>(LEASE, "Not looked at.")
            .takes::<LeaseRequest>(json!({
                "owner": "ann@host", "reason": "a game day", "ttl": "30s", "proxies": ["db"],
            }))
            .answers::<Lease>(201, "The lease.")
            .refuses(&[404, 409]),
        Call::new(Method::GET, "/v1/leases/{lease}", "showLease", Tag::Leases, leases::show)
            .does("One lease", "")
            .answers::<Lease>(200, "The lease."),
        Call::new(Method::PUT, "/v1/leases/{lease}", "renewLease", Tag::Leases, leases::renew)
            .does("Renew a lease", "It counts from now again, for its own time or for a new one.")
            .header::<LeaseId>(LEASE, "Not looked at.")
            .may_take::<LeaseRenewal>(json!({"ttl": "1m"}))
            .answers::<Lease>(200, "The lease as it is now."),
        Call::new(Method::DELETE, "/v1/leases/{lease}", "endLease", Tag::Leases, leases::delete)
            .does("End a lease", "Every fault that lives under it goes, and its proxies are what they were before it.")
            .header::<LeaseId>(LEASE, "Not looked at.")
            .answers::<Healed>(200, "What went with it."),
    ]
}

fn of_agent() -> Vec<Call> {
    let metrics = "application/openmetrics-text";
    vec![
        Call::new(Method::GET, "/v1/agent", "showAgent", Tag::Agent, about::agent)
            .does("What the agent is", "Its version, labels and limits.")
            .answers::<AgentInfo>(200, "The agent."),
        Call::new(Method::GET, "/v1/halt", "showHalt", Tag::Agent, halt::show)
            .does("Whether the agent is halted", "")
            .answers::<HaltInfo>(200, "The halt that is in effect, if one is."),
        Call::new(Method::PUT, "/v1/halt", "halt", Tag::Agent, halt::halt)
            .does("Heal everything, and take no faults until that is lifted", "It survives a restart of the agent.")
            .header::<LeaseId>(LEASE, "Not looked at.")
            .takes::<HaltRequest>(json!({"reason": "a real incident"}))
            .answers::<HaltInfo>(200, "The halt, and what it removed."),
        Call::new(Method::DELETE, "/v1/halt", "resume", Tag::Agent, halt::resume)
            .does("Take faults again", "")
            .header::<LeaseId>(LEASE, "Not looked at.")
            .answers::<HaltInfo>(200, "No halt is in effect."),
        Call::new(Method::GET, "/v1/traffic", "readTraffic", Tag::Agent, traffic::read)
            .does(
                "What proxies saw, hit and spared apart",
                "Connections on which no fault acted are the control group of those on which one did. A connection \
                 counts as spared until a fault first acts on it.",
            )
            .query::<String>("proxy", "These proxies only, with commas between them; all when absent.")
            .query::<Mark>("since", "Count from this mark; from the beginning of each proxy when absent.")
            .query::<bool>("times", "Of those hit and those spared, tell every time that occurred; not when absent.")
            .answers::<Traffic>(200, "What they saw, and a mark from which to count the next time.")
            .refuses(&[404, 410]),
        Call::new(Method::GET, "/v1/events", "followEvents", Tag::Agent, events::follow)
            .does(
                "What happens, as it happens",
                "Server-sent events: each has the `Event` as JSON in `data`, its kind in `event`, and an `id`. Hits of \
                 faults and ends of connections are summed up, at most once a second for each fault and proxy. Who \
                 comes back with `Last-Event-ID` gets what came meanwhile; an event `lost` (`EventsLost`) says that \
                 some of it is gone. A comment comes every 15 seconds when nothing else does.",
            )
            .query::<String>("proxy", "Events of these proxies only, with commas between them.")
            .query::<String>("kind", "Events of these kinds only, with commas between them.")
            .header::<Mark>("Last-Event-ID", "The id of the last event that the client has.")
            .answers_as::<String>("text/event-stream", 200, "The stream. It ends when the agent shuts down.")
            .carries::<Event>()
            .carries::<EventsLost>()
            .refuses(&[503]),
        Call::new(Method::GET, "/metrics", "metrics", Tag::Agent, about::metrics)
            .does("What Prometheus reads", "")
            .answers_as::<String>(metrics, 200, "OpenMetrics text."),
        Call::new(Method::GET, "/health/live", "live", Tag::Agent, about::live)
            .does("Whether the process lives", "")
            .answers::<Health>(200, "It does."),
        Call::new(Method::GET, "/health/ready", "ready", Tag::Agent, about::ready)
            .does("Whether it takes changes", "")
            .answers::<Health>(200, "It does.")
            .refuses(&[503]),
        Call::new(Method::GET, "/openapi.json", "openapi", Tag::Agent, docs::openapi)
            .does("This API as an OpenAPI 3.1 document", "")
            .answers::<serde_json::Value>(200, "The document."),
        Call::new(Method::GET, "/docs", "docs", Tag::Agent, docs::page)
            .does("This API as a page to read", "It needs no network and no script.")
            .answers_as::<String>("text/html", 200, "The page."),
    ]
}
