//! From the sample that meets an abort condition to the last agent's word that its fault is gone, over many agents.
//!
//! Agents are processes of their own, as on machines of their own but for the processor, which they share. The runner is
//! the engine itself, in this process. Invariant: every agent had its fault and has confirmed, or there is no figure.

use super::{Budget, Row, Sizes, server::Switch, table::Table};
use crate::error::{BenchError, Tried};
use squall_engine::{
    agent_client::AgentTarget,
    event::What,
    experiment::{Experiment, Secrets},
    journal::Journal,
    load::{self, Inputs},
    record::RunRecord,
    run::{self, Setup, person::Person, stop::Stop},
    verdict::Verdict,
};
use std::{collections::BTreeMap, net::SocketAddr, path::Path, time::Duration};
use tokio::runtime::Runtime;

/// The promise, in milliseconds, at p99.
const MOST: f64 = 250.0;

/// How long the condition must last, the shortest that may be written.
const LASTING: Duration = Duration::from_millis(100);

/// Bounds a run: it takes some three seconds.
const RUN: Duration = Duration::from_secs(60);

/// How long the faults are in before the service breaks.
const QUIET: Duration = Duration::from_millis(300);

pub(super) fn measure(runtime: &Runtime, sizes: &Sizes, budget: &Budget, table: &mut Table) -> Result<(), BenchError> {
    let agents = (0..sizes.agents).map(|_| super::agent()).collect::<Result<Vec<_>, _>>()?;
    let addresses: Vec<_> = agents.iter().map(|(_, address)| *address).collect();
    let switch = Switch::start(runtime)?;
    let directory = tempfile::tempdir().tried("make a directory")?;
    let mut took = Vec::with_capacity(sizes.aborts);
    for number in 0..sizes.aborts {
        if number > 0 && !budget.goes_on(number, sizes.aborts) {
            break;
        }
        let journal = directory.path().join(format!("{number}.db"));
        let run = async { tokio::time::timeout(RUN, once(&addresses, &switch, &journal)).await };
        let late = |_| BenchError::Late { what: "a run to be aborted".into(), limit: RUN };
        took.push(runtime.block_on(run).map_err(late)??);
    }
    let figure = format!("abort: breaching sample to the last confirmation of {} agents", sizes.agents);
    table.add(Row { figure, who: "squall".into(), unit: "ms", values: took, promise: Some((0.99, MOST)) })
}

async fn once(agents: &[SocketAddr], switch: &Switch, journal: &Path) -> Result<f64, BenchError> {
    let failed = |why: String| BenchError::Peer { who: "squall", what: "abort a run".into(), why };
    switch.set(true);
    let journal = Journal::open(journal).await.map_err(|error| failed(error.to_string()))?;
    let target = |(number, address): (usize, &SocketAddr)| AgentTarget {
        name: format!("a{number}"),
        url: format!("http://{address}"),
        token: None,
        tls: Default::default(),
        labels: Default::default(),
    };
    let setup = Setup {
        experiment: experiment(agents.len(), switch.address)?,
        environment: "bench".into(),
        agents: agents.iter().enumerate().map(target).collect(),
        proxies: Vec::new(),
        journal: journal.clone(),
        seed: 1,
        person: Person::nobody(),
        stop: Stop::default(),
        host: "bench".into(),
        traceparent: None,
    };
    let run = run::prepare(setup).await.map_err(|error| failed(error.to_string()))?;
    let (id, mut events) = (run.start.id.clone(), run.log.listen());
    let breaks = async {
        let mut injected = 0;
        while injected < agents.len() {
            match events.recv().await {
                Ok(event) if matches!(event.what, What::Injected { .. }) => injected += 1,
                Ok(_) => {}
                Err(_) => return,
            }
        }
        tokio::time::sleep(QUIET).await;
        switch.set(false);
    };
    let (end, ()) = tokio::join!(run.execute(), breaks);
    if end.verdict != Verdict::Aborted {
        return Err(failed(format!("the run is {}: {}", end.verdict, end.reasons.join("; "))));
    }
    let record = journal.load(&id).await.map_err(|error| failed(error.to_string()))?;
    journal.close().await;
    between(&record, agents.len()).ok_or_else(|| failed("not every agent has confirmed".into()))
}

/// Milliseconds from the sample that made the condition true to the last confirmation.
fn between(record: &RunRecord, agents: usize) -> Option<f64> {
    let confirmed = record.events.iter().filter(|event| matches!(event.what, What::HealConfirmed { .. }));
    let confirmed: Vec<_> = confirmed.map(|event| event.at).collect();
    let injected = record.events.iter().rfind(|event| matches!(event.what, What::Injected { .. }))?.at;
    let samples = &record.series.iter().find(|series| series.name == "alive")?.samples;
    let mut bad = samples.iter().filter(|sample| sample.at > injected && sample.status == Some(503));
    let first = bad.clone().map(|sample| sample.at).min()?;
    let breaching = bad.find(|sample| sample.done() >= first + LASTING)?.done();
    let last = confirmed.iter().max()?;
    (confirmed.len() == agents).then(|| last.saturating_sub(breaching).as_secs_f64() * 1e3)
}

fn experiment(agents: usize, server: SocketAddr) -> Result<Experiment, BenchError> {
    let steps: String = (0..agents)
        .map(|number| {
            format!(
                "      - {{inject: {{proxy: idle-0, agent: a{number}, fault: {{latency: {{delay: 1s}}}}}}, for: 60s}}\n"
            )
        })
        .collect();
    let text = format!(
        "version: 1\nname: abort\nhypothesis: An abort heals every agent quickly.\n\
         probes:\n  alive: {{http: {{url: \"http://{server}/\"}}, every: 10ms, timeout: 200ms}}\n\
         steady_state:\n  - {{probe: alive, status: 200}}\n\
         method:\n  - parallel:\n{steps}\
         blast_radius: {{proxies: [idle-0], percent: 100, duration: 2m}}\n\
         abort_when:\n  - {{probe: alive, status: \"!= 200\", for: 100ms}}\n\
         baseline: 1s\nrecovery: {{within: 1s, hold: 500ms}}\n"
    );
    parse(&text)
}

/// The text as an experiment.
pub(super) fn parse(text: &str) -> Result<Experiment, BenchError> {
    let (nothing, none) = (BTreeMap::new(), Secrets::default());
    let inputs = Inputs {
        path: "bench.yaml",
        text,
        set: &nothing,
        environment: &nothing,
        secrets: &none,
        env_var: &|_| None,
        base_dir: Path::new("."),
    };
    load::load(&inputs).map_err(|mistakes| {
        let why = mistakes.render(text, false);
        BenchError::Peer { who: "squall", what: "read the experiment".into(), why }
    })
}
