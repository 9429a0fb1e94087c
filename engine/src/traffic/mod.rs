//! Squall's own load, open-loop: requests start on schedule whether or not earlier ones have come back.
//!
//! ```text
//! schedule ─▶ pacer (thread) ─▶ queue ─▶ dispatcher: a free client? ─▶ client ─▶ Sample ─▶ recorder
//!                 └─ full: a failed sample, "not sent"    └─ waits, in order
//! ```
//!
//! `at` is the time on the schedule and `took` counts from it, so a request that waits for one of the `clients`
//! counts the wait (no coordinated omission). `timeout` counts from there as well.
//! Neighbours: `run` spawns `run`, `punctual` says how well the schedule was kept, `template` makes the texts, the `recorder` takes the samples.
//! Invariant: every request that was due is one sample, except for those that the end of the load cuts off.

mod client;
mod pacer;
mod punctual;
mod schedule;

pub use punctual::Punctuality;

use crate::{
    experiment::{RequestPlan, TrafficPlan},
    fetch,
    recorder::{Recorder, SeriesId},
    sample::Sample,
    template::Context,
};
use client::{Answer, Rendered};
use pacer::Turn;
pub use schedule::Rate;
use schedule::{Due, Schedule};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// Requests that were sent when the load ends may take so long to be answered; then they are dropped.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// Requests that wait for a free client, at most: some 100 bytes each. A time-out's worth of the rate is all that can
/// wait and still be sent, so the bound itself is reached only at rates that no experiment asks for.
const LONGEST_QUEUE: f64 = 65_536.0;
/// Room for the bursts in which a busy machine catches up.
const SHORTEST_QUEUE: f64 = 256.0;

/// Carries the load out until `stop`, one sample a request. Requests under way then get up to a second; those still
/// without an answer, and those that were waiting for a client, leave no sample.
///
/// # Panics
/// Without a TLS provider installed for the process, which `main` does first.
pub async fn run(plan: TrafficPlan, seed: u64, recorder: Arc<Recorder>, stop: CancellationToken) {
    let rate = Rate::new(plan.rate, plan.rate);
    run_at(plan, rate, seed, recorder, stop).await;
}

/// The same, at a rate that can be changed meanwhile.
///
/// # Panics
/// As [`run`].
pub async fn run_at(plan: TrafficPlan, rate: Rate, seed: u64, recorder: Arc<Recorder>, stop: CancellationToken) {
    carry_out(plan, rate, seed, recorder, stop, (Arc::default(), Ending::Answers)).await;
}

/// As [`run`], and it also says how well it keeps its schedule; what was due by the end is sent and waited for, for so long.
///
/// # Panics
/// As [`run`].
pub async fn run_watched(
    plan: TrafficPlan,
    seed: u64,
    recorder: Arc<Recorder>,
    stop: CancellationToken,
    punctuality: Arc<Punctuality>,
    patience: Duration,
) {
    let rate = Rate::new(plan.rate, plan.rate);
    carry_out(plan, rate, seed, recorder, stop, (punctuality, Ending::Everything(patience))).await;
}

/// What becomes of requests that were due, but have no answer, when the load ends.
#[derive(Debug, Clone, Copy)]
enum Ending {
    /// Those that were sent get a second; those that wait for a client are dropped.
    Answers,
    /// Those that wait are sent as well, for so long: a load that has fallen behind would look as if it had failed.
    Everything(Duration),
}

async fn carry_out(
    mut plan: TrafficPlan,
    rate: Rate,
    seed: u64,
    recorder: Arc<Recorder>,
    stop: CancellationToken,
    (punctuality, ending): (Arc<Punctuality>, Ending),
) {
    // What waits is bounded by the most that comes.
    plan.rate = rate.most();
    let Some(schedule) = Schedule::new(rate, &plan.requests, seed) else {
        tracing::warn!("the traffic has nothing to send: its rate or all its weights are 0");
        return;
    };
    let Some(load) = Load::new(plan, &recorder, punctuality) else {
        tracing::error!("the recorder has no series for one of the traffic's requests, so none is sent");
        return;
    };
    let load = Arc::new(load);
    // A child, so that this ends with its pacer even when nobody cancelled.
    let stop = stop.child_token();
    let _ends_the_pacer = stop.clone().drop_guard();
    let (sender, queue) = mpsc::channel(queue_length(&load.plan));
    let start = Instant::now();
    let mut pacer = JoinSet::new();
    pacer.spawn_blocking({
        let (load, stop) = (Arc::clone(&load), stop.clone());
        let under_way = {
            let load = Arc::clone(&load);
            move |due: Due| load.recorder.under_way().start(load.at(start + due.after))
        };
        let punctuality = Arc::clone(&load.punctuality);
        let has_come_due = move || punctuality.has_come_due();
        let turned_away = move |turn| load.turned_away(start, turn);
        move || pacer::pace(schedule, start.into_std(), &sender, &stop, under_way, has_come_due, turned_away)
    });
    dispatch(&load, Context::new(seed), start, queue, &stop, ending).await;
    while pacer.join_next().await.is_some() {}
}

/// Gives each request, in order, to the next free client; then waits a little for the last answers.
async fn dispatch(
    load: &Arc<Load>,
    mut context: Context,
    start: Instant,
    mut queue: mpsc::Receiver<Turn>,
    stop: &CancellationToken,
    ending: Ending,
) {
    let clients = Arc::new(Semaphore::new(load.plan.clients.clamp(1, Semaphore::MAX_PERMITS)));
    let mut under_way = JoinSet::new();
    // Since then a client has been free: what is late after that is late by itself.
    let mut free_since = start;
    let over = async {
        stop.cancelled().await;
        if let Ending::Everything(patience) = ending {
            tokio::time::sleep(patience).await;
        }
    };
    tokio::pin!(over);
    loop {
        let next = async {
            let turn = queue.recv().await?;
            if clients.available_permits() == 0 {
                load.punctuality.has_waited();
                let client = Arc::clone(&clients).acquire_owned().await.ok()?;
                free_since = Instant::now();
                return Some((turn, client));
            }
            // The semaphore is never closed, and `ok` ends the load if it were.
            Some((turn, Arc::clone(&clients).acquire_owned().await.ok()?))
        };
        let next = tokio::select! {
            biased;
            () = &mut over => None,
            next = next => next,
        };
        let Some((turn, client)) = next else { break };
        let rendered = Rendered::new(load.request(turn.0), &mut context);
        load.punctuality.sent(Instant::now().saturating_duration_since(free_since.max(start + turn.0.after)));
        under_way.spawn(Arc::clone(load).send(start, turn, rendered, client));
        while under_way.try_join_next().is_some() {}
    }
    drop(queue);
    let answered = async { while under_way.join_next().await.is_some() {} };
    let is_whole = match ending {
        Ending::Answers => tokio::time::timeout(LAST_ANSWERS, answered).await.is_ok(),
        // What is left of the patience.
        Ending::Everything(_) => tokio::select! {
            () = answered => true,
            () = over => false,
        },
    };
    if !is_whole {
        tracing::debug!("some requests were still without an answer when the load ended");
    }
    under_way.shutdown().await;
}

/// What all requests of a load share.
struct Load {
    plan: TrafficPlan,
    series: Vec<SeriesId>,
    client: Result<reqwest::Client, String>,
    recorder: Arc<Recorder>,
    punctuality: Arc<Punctuality>,
    /// Why a request is turned away. Made once: a load that is far behind turns thousands away a second, and what that costs,
    /// those that are sent would lack.
    full: Arc<str>,
}

impl Load {
    fn new(plan: TrafficPlan, recorder: &Arc<Recorder>, punctuality: Arc<Punctuality>) -> Option<Self> {
        let series = plan.requests.iter().map(|request| recorder.series(&format!("traffic.{}", request.name)));
        let series = series.collect::<Option<_>>()?;
        // Every request then fails with it, which is no less visible than an error here.
        let client = fetch::client(plan.clients).map_err(|error| format!("not sent: {error}"));
        let full = format!("not sent: {} requests were waiting for a free client", queue_length(&plan)).into();
        Some(Self { plan, series, client, recorder: Arc::clone(recorder), punctuality, full })
    }

    fn request(&self, due: Due) -> &RequestPlan {
        &self.plan.requests[due.kind]
    }

    /// Sends it, within what is left of its time, and keeps its client until then.
    async fn send(self: Arc<Self>, start: Instant, turn: Turn, request: Rendered, client: OwnedSemaphorePermit) {
        let (due, _started) = turn;
        let time = start + due.after;
        let limit = time + self.plan.timeout;
        let answer = match &self.client {
            Err(why) => Answer::none(why.clone()),
            Ok(_) if Instant::now() >= limit => Answer::none("not sent: no client was free in time"),
            Ok(client) => {
                let answer = client::send(client, request, &self.request(due).expect);
                let late = || format!("timed out after {}", squall_wire::Span::from(self.plan.timeout));
                tokio::time::timeout_at(limit, answer).await.unwrap_or_else(|_| Answer::none(late()))
            }
        };
        drop(client);
        self.push(time, due, answer.status, answer.unmet.map(Arc::from));
    }

    fn turned_away(&self, start: Instant, (due, _started): Turn) {
        self.push(start + due.after, due, None, Some(Arc::clone(&self.full)));
    }

    /// The time on the recorder's clock.
    fn at(&self, time: Instant) -> Duration {
        time.saturating_duration_since(self.recorder.started())
    }

    /// A sample; `unmet` is why it does not count as a success.
    fn push(&self, time: Instant, due: Due, status: Option<u16>, unmet: Option<Arc<str>>) {
        let at = self.at(time);
        let took = self.recorder.now().saturating_sub(at);
        let sample = Sample { at, took, ok: unmet.is_none(), status, value: None, text: unmet };
        self.recorder.push(self.series[due.kind], sample);
    }
}

/// Requests that may wait for a free client.
fn queue_length(plan: &TrafficPlan) -> usize {
    let waiting = (plan.rate * plan.timeout.as_secs_f64()).clamp(SHORTEST_QUEUE, LONGEST_QUEUE);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 256..=65536")]
    let waiting = waiting as usize;
    waiting
}
