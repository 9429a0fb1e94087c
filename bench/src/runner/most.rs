//! The most that squall's own load gets answered: the rate is doubled until it cannot be kept, and halved from there.
//!
//! Driving it at a rate that nobody could keep is no measure of it: most of its work would be to say that it is behind.
//! Neighbours: `load` asks; `squall_engine::search::surge` says which rate is next, as for `squall load --find-limit`.
//! Invariant: a rate counts as kept only when nearly all were answered soon after they were due.

use super::{Sizes, abort::parse, load::CONNECTIONS};
use crate::error::BenchError;
use squall_engine::{
    experiment::TrafficPlan,
    recorder::Recorder,
    search::{
        cell::Sense,
        limit::Try,
        surge::{Bounds, Level, Surge},
    },
    traffic::{self, Punctuality},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// Of a rate that is kept.
const BOUNDS: Bounds = Bounds { errors: 0.001, p99: Some(Duration::from_millis(100)) };

/// The first rate.
const START: f64 = 1_000.0;

/// Time-out of a request, and how long the last answers are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the first request may take to come due.
const READY: Duration = Duration::from_secs(10);

/// What was found.
pub(super) struct Most {
    /// Answers a second at the highest rate that was kept.
    pub(super) rate: f64,
    /// Answers a second when it was driven at twice that rate.
    pub(super) beyond: f64,
}

pub(super) fn find(runtime: &Runtime, url: &str, sizes: &Sizes) -> Result<Most, BenchError> {
    let surge = Surge { start: START, most: sizes.most, precision: 0.05 };
    let (mut tries, mut best) = (Vec::new(), 0.0_f64);
    while let Some(rate) = surge.next(&tries) {
        let mut level = drive(runtime, url, rate, CONNECTIONS, sizes.level)?;
        // Once more: a moment in which the machine was busy is no limit.
        if level.judged(&BOUNDS).0 != Sense::Held {
            level = drive(runtime, url, rate, CONNECTIONS, sizes.level)?;
        }
        // A schedule that was not kept is what is looked for here, so it is no reason to end.
        let sense = if level.judged(&BOUNDS).0 == Sense::Held { Sense::Held } else { Sense::Broke };
        if sense == Sense::Held {
            best = best.max(level.goodput);
        }
        tries.push(Try { value: rate, sense });
    }
    let held = surge.around(&tries).0.ok_or_else(|| BenchError::Missing("a rate that squall keeps".into()))?;
    let beyond = drive(runtime, url, (held * 2.0).min(100_000.0), CONNECTIONS, sizes.level)?.goodput;
    Ok(Most { rate: best, beyond })
}

/// Our own generator, in this process, at one rate for so long.
pub(super) fn drive(
    runtime: &Runtime,
    url: &str,
    rate: f64,
    clients: usize,
    lasting: Duration,
) -> Result<Level, BenchError> {
    let text = format!(
        "version: 1\nname: load\nhypothesis: It is driven.\n\
         traffic: {{rate: 1/s, clients: {clients}, timeout: 5s, requests: [{{name: get, get: \"{url}\"}}]}}\n\
         steady_state:\n  - {{probe: traffic.get, success_ratio: \">= 0%\"}}\n\
         method:\n  - {{inject: {{proxy: none, fault: {{latency: {{delay: 1s}}}}}}, for: 1s}}\n\
         blast_radius: {{proxies: [none], percent: 100, duration: 1m}}\n"
    );
    let plan = parse(&text)?.traffic.ok_or_else(|| BenchError::Missing("the traffic of the experiment".into()))?;
    let plan = TrafficPlan { rate, ..plan };
    let recorder = Recorder::new(["traffic.get".to_owned()]);
    let (stop, punctuality) = (CancellationToken::new(), Arc::<Punctuality>::default());
    let took = runtime.block_on(async {
        let (stop, punctuality) = (stop.clone(), Arc::clone(&punctuality));
        let load = traffic::run_watched(plan, 1, recorder.clone(), stop.clone(), Arc::clone(&punctuality), PATIENCE);
        let load = tokio::spawn(load);
        let ready = Instant::now();
        while punctuality.due() == 0 && ready.elapsed() < READY {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let began = Instant::now();
        tokio::time::sleep(lasting).await;
        let took = began.elapsed();
        stop.cancel();
        load.await.map_err(|_| BenchError::Panicked("drive the load")).map(|()| took)
    })?;
    let samples = recorder.window_by_start("traffic.get", &(Duration::ZERO..Duration::MAX));
    Ok(Level::of(rate, took, samples, &punctuality, PATIENCE))
}
