//! What Prometheus reads: counters of the API, and a series for each proxy and each fault that is there.
//!
//! Series of proxies and faults are made from a snapshot at each scrape, so none outlives its proxy or fault. There
//! is no global state: each agent has its own. Neighbours: `api::about` serves it, `registry::snapshot` has the values.
//! Invariant: the text is OpenMetrics, and its labels are few: names of proxies and faults, kinds, methods, statuses.

use crate::registry::Overview;
use axum::http::{Method, StatusCode};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet, text},
    metrics::{MetricType, counter::Counter, family::Family},
    registry::Registry,
};
use squall_wire::{FaultInfo, ProxyCounters, ProxyInfo};
use std::{fmt, time::Duration};

/// Requests answered, by method and status.
#[derive(Debug, Default)]
pub(crate) struct ApiMetrics {
    requests: Family<Answered, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    status: u16,
}

impl ApiMetrics {
    /// Counts an answer.
    pub(crate) fn answered(&self, method: &Method, status: StatusCode) {
        // A client can make up methods; it must not make up series.
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        let method = known.into_iter().find(|known| method == *known).unwrap_or("other");
        self.requests.get_or_create(&Answered { method, status: status.as_u16() }).inc();
    }

    /// The whole text of one scrape.
    pub(crate) fn scrape(
        &self,
        agent: &str,
        uptime: Duration,
        overview: Overview,
        toxiproxy: bool,
    ) -> Result<String, fmt::Error> {
        let Overview { proxies, received, leases, held } = overview;
        let mut theirs = Registry::default();
        if toxiproxy {
            theirs.register_collector(Box::new(Toxiproxy::of(&proxies, &received)));
        }
        let mut registry = Registry::with_prefix("squall");
        registry.register("api_requests", "Requests to the API that were answered", self.requests.clone());
        registry.register_collector(Box::new(Scrape { agent: agent.to_owned(), uptime, proxies, leases, held }));
        let mut out = String::new();
        text::encode_registry(&mut out, &registry)?;
        text::encode_registry(&mut out, &theirs)?;
        text::encode_eof(&mut out)?;
        Ok(out)
    }
}

/// Toxiproxy's own names for the bytes of a proxy, for the dashboards that know them.
#[derive(Debug)]
struct Toxiproxy(Vec<Bytes>);

/// One direction of one proxy.
#[derive(Debug)]
struct Bytes {
    labels: [(&'static str, String); 4],
    received: u64,
    sent: u64,
}

impl Toxiproxy {
    fn of(proxies: &[ProxyInfo], received: &[[u64; 2]]) -> Self {
        let both = |(proxy, received): (&ProxyInfo, &[u64; 2])| {
            let row = |direction: &str, received, sent| Bytes {
                labels: [
                    ("direction", direction.to_owned()),
                    ("proxy", proxy.name.to_string()),
                    ("listener", proxy.listen.clone()),
                    ("upstream", proxy.upstream.clone()),
                ],
                received,
                sent,
            };
            [
                row("upstream", received[0], proxy.counters.bytes_upstream),
                row("downstream", received[1], proxy.counters.bytes_downstream),
            ]
        };
        Self(proxies.iter().zip(received).flat_map(both).collect())
    }
}

/// Name, and where it is found.
type OfDirection = (&'static str, fn(&Bytes) -> u64);

const TOXIPROXY_COUNTERS: [OfDirection; 2] =
    [("toxiproxy_proxy_received_bytes", |row| row.received), ("toxiproxy_proxy_sent_bytes", |row| row.sent)];

impl Collector for Toxiproxy {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, value) in TOXIPROXY_COUNTERS {
            let mut metric =
                encoder.encode_descriptor(name, "Bytes, as Toxiproxy counts them", None, MetricType::Counter)?;
            for row in &self.0 {
                let labels: Vec<_> = row.labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
                metric.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(&value(row), None)?;
            }
        }
        Ok(())
    }
}

/// The values of one moment.
#[derive(Debug)]
struct Scrape {
    agent: String,
    uptime: Duration,
    proxies: Vec<ProxyInfo>,
    leases: usize,
    held: u64,
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

/// One number of a proxy: name, meaning, and where it is found.
type OfProxy = (&'static str, &'static str, fn(&ProxyCounters) -> u64);

const PROXY_COUNTERS: [OfProxy; 7] = [
    ("proxy_connections", "Connections accepted", |c| c.connections),
    ("proxy_connections_hit", "Connections on which a fault acted", |c| c.connections_hit),
    ("proxy_connection_errors", "Connections that ended with an error", |c| c.connection_errors),
    ("proxy_requests", "Requests that came", |c| c.requests),
    ("proxy_requests_hit", "Requests on which a fault acted", |c| c.requests_hit),
    ("proxy_request_errors", "Requests that were answered 5xx, refused, or never answered whole", |c| c.request_errors),
    ("proxy_datagrams_dropped", "Datagrams for which there was no room, or nobody", |c| c.datagrams_dropped),
];

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let version = vec![("name", self.agent.as_str()), ("version", env!("CARGO_PKG_VERSION"))];
        gauges(&mut encoder, "agent_info", "The agent, always 1", [(version, 1)])?;
        let uptime = self.uptime.as_secs();
        gauges(&mut encoder, "agent_uptime_seconds", "Time since the agent started", [(vec![], uptime)])?;
        gauges(&mut encoder, "leases", "Leases that live", [(vec![], self.leases as u64)])?;
        gauges(&mut encoder, "held_bytes", "Bytes that delay lines hold", [(vec![], self.held)])?;
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks() as u64;
        gauges(
            &mut encoder,
            "tasks",
            "Tasks of the agent that live: a few, and one for each connection",
            [(vec![], tasks)],
        )?;
        self.encode_proxies(&mut encoder)?;
        self.encode_faults(&mut encoder)
    }
}

impl Scrape {
    fn encode_proxies(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let each = |value: fn(&ProxyInfo) -> u64| {
            self.proxies.iter().map(move |proxy| (vec![("proxy", proxy.name.as_str())], value(proxy)))
        };
        gauges(encoder, "proxy_enabled", "Whether the proxy takes connections", each(|p| p.enabled.into()))?;
        gauges(encoder, "proxy_leased", "Whether a lease holds the proxy", each(|p| p.lease.is_some().into()))?;
        gauges(encoder, "proxy_faults", "Faults that are set", each(|p| p.faults.len() as u64))?;
        let open = each(|p| p.counters.open_connections);
        gauges(encoder, "proxy_open_connections", "Connections that are open", open)?;
        for (name, help, value) in PROXY_COUNTERS {
            let rows = self.proxies.iter().map(|p| (vec![("proxy", p.name.as_str())], value(&p.counters)));
            counters(encoder, name, help, rows)?;
        }
        let both = |value: fn(&ProxyCounters) -> [u64; 2]| {
            self.proxies.iter().flat_map(move |proxy| {
                let [up, down] = value(&proxy.counters);
                let row = |direction, value| (vec![("proxy", proxy.name.as_str()), ("direction", direction)], value);
                [row("upstream", up), row("downstream", down)]
            })
        };
        counters(encoder, "proxy_bytes", "Bytes delivered", both(|c| [c.bytes_upstream, c.bytes_downstream]))?;
        let datagrams = both(|c| [c.datagrams_upstream, c.datagrams_downstream]);
        counters(encoder, "proxy_datagrams", "Datagrams delivered", datagrams)
    }

    fn encode_faults(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let faults = || self.proxies.iter().flat_map(|proxy| proxy.faults.iter().map(move |fault| (proxy, fault)));
        let units = faults().map(|(proxy, fault)| (of_fault(proxy, fault), fault.units));
        counters(encoder, "fault_units", "Units that matched, hit or spared", units)?;
        let hits = faults().filter_map(|(proxy, fault)| Some((of_fault(proxy, fault), fault.hits?)));
        counters(encoder, "fault_hits", "Units on which the fault acted", hits)
    }
}

fn of_fault<'a>(proxy: &'a ProxyInfo, fault: &'a FaultInfo) -> Labels<'a> {
    vec![("proxy", proxy.name.as_str()), ("fault", fault.name.as_str()), ("kind", fault.fault.name())]
}

fn gauges<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl IntoIterator<Item = (Labels<'a>, u64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    rows.into_iter().try_for_each(|(labels, value)| match labels.as_slice() {
        [] => metric.encode_gauge(&value),
        _ => metric.encode_family(&labels)?.encode_gauge(&value),
    })
}

fn counters<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl IntoIterator<Item = (Labels<'a>, u64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    rows.into_iter().try_for_each(|(labels, value)| {
        metric.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(&value, None)
    })
}
