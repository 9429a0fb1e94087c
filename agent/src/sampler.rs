//! Tells once a second what happens too often to be told each time: hits of faults, ends of connections.
//!
//! It looks at counters that are kept anyway, so nothing is added to the way of a byte. Neighbours: `registry` has the
//! counters, `events` tells. Invariant: at most one event a fault and second, and one a proxy and second; what was
//! counted before a fault or a proxy was first seen is told with its first event.

use crate::{
    events::{Events, Sample},
    registry::Registry,
};
use squall_wire::{EventKind, FaultName, LeaseId, ProxyName};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(1);

/// What one proxy has counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pulse {
    pub(crate) name: ProxyName,
    /// Distinguishes it from an earlier one of the same name.
    pub(crate) id: u64,
    /// Connections that are over: spared, hit, and with an error.
    pub(crate) ends: [u64; 3],
    pub(crate) faults: Vec<FaultPulse>,
}

/// What one fault has counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FaultPulse {
    pub(crate) name: FaultName,
    pub(crate) id: u64,
    pub(crate) lease: Option<LeaseId>,
    pub(crate) hits: u64,
}

/// Looks once a second until it is told to stop.
pub(crate) async fn sample(registry: &Registry, stop: CancellationToken) {
    let events: Arc<Events> = Arc::clone(registry.events());
    let mut seen = Seen::default();
    let mut next = Instant::now();
    // By the plane's timer: while the runtime's own has anything to wait for, each wait for a socket costs a timer of
    // the kernel more, and this would be all that an agent without faults has it wait for.
    while stop.run_until_cancelled(registry.timer().sleep_roughly_until(next)).await.is_some() {
        next = Instant::now() + EVERY;
        for sample in seen.since(&registry.pulses().await) {
            events.publish_sample(sample);
        }
    }
}

/// What was told already, by the ids of proxies and faults.
#[derive(Debug, Default)]
struct Seen {
    ends: BTreeMap<u64, [u64; 3]>,
    hits: BTreeMap<u64, u64>,
}

impl Seen {
    /// What is new. Those that are gone are forgotten.
    fn since(&mut self, now: &[Pulse]) -> Vec<Sample> {
        let before = std::mem::take(self);
        let mut samples = Vec::new();
        for pulse in now {
            self.ends.insert(pulse.id, pulse.ends);
            for fault in &pulse.faults {
                self.hits.insert(fault.id, fault.hits);
                let count = fault.hits.saturating_sub(before.hits.get(&fault.id).copied().unwrap_or(0));
                if count > 0 {
                    samples.push(hit(pulse, fault, count));
                }
            }
            let told = before.ends.get(&pulse.id).copied().unwrap_or_default();
            let [spared, hit, errors] = [0, 1, 2].map(|at| pulse.ends[at].saturating_sub(told[at]));
            if spared + hit > 0 {
                samples.push(ended(pulse, spared, hit, errors));
            }
        }
        samples
    }
}

fn hit(pulse: &Pulse, fault: &FaultPulse, count: u64) -> Sample {
    Sample {
        kind: EventKind::FaultHit,
        proxy: pulse.name.clone(),
        fault: Some(fault.name.clone()),
        lease: fault.lease.clone(),
        count,
        detail: Some(format!("{} in all", fault.hits)),
    }
}

fn ended(pulse: &Pulse, spared: u64, hit: u64, errors: u64) -> Sample {
    Sample {
        kind: EventKind::ConnectionsEnded,
        proxy: pulse.name.clone(),
        fault: None,
        lease: None,
        count: spared + hit,
        detail: Some(format!("{hit} hit, {spared} spared, {errors} with an error")),
    }
}

#[cfg(test)]
mod tests {
    use super::{FaultPulse, Pulse, Seen};
    use squall_wire::EventKind;

    fn pulse(id: u64, ends: [u64; 3], hits: u64) -> Pulse {
        let fault = FaultPulse { name: "slow".parse().unwrap(), id, lease: None, hits };
        Pulse { name: "db".parse().unwrap(), id, ends, faults: vec![fault] }
    }

    #[test]
    fn what_came_since_is_told_once_and_silence_is_not_told() {
        let mut seen = Seen::default();
        let told = |samples: Vec<super::Sample>| -> Vec<_> {
            samples.into_iter().map(|sample| (sample.kind, sample.count, sample.detail.unwrap())).collect()
        };
        assert_eq!(told(seen.since(&[pulse(1, [0; 3], 0)])), []);
        let first = told(seen.since(&[pulse(1, [2, 3, 1], 5)]));
        assert_eq!(
            first,
            [
                (EventKind::FaultHit, 5, "5 in all".to_owned()),
                (EventKind::ConnectionsEnded, 5, "3 hit, 2 spared, 1 with an error".to_owned()),
            ]
        );
        assert_eq!(told(seen.since(&[pulse(1, [2, 3, 1], 5)])), []);
        assert_eq!(told(seen.since(&[pulse(1, [2, 4, 1], 5)])).len(), 1);
        // Made anew under the same name: it counts from its beginning.
        assert_eq!(told(seen.since(&[pulse(2, [1, 0, 0], 1)]))[0], (EventKind::FaultHit, 1, "1 in all".to_owned()));
    }
}
