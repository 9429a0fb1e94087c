//! After `kill -9` of `squall` in the middle of a fault: how long until its agent has healed itself.
//!
//! The time counts from the kill, and the promise is the lease's time and one second. Invariant: the fault was there when
//! squall was killed, and nobody else has healed.

use super::{Budget, Row, Sizes, table::Table};
use crate::{
    api::Api,
    error::{BenchError, Tried},
};
use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

/// The shortest lease that may be written, in seconds.
const LEASE: f64 = 2.0;

/// How long a fault may take to come, and to go.
const PATIENCE: Duration = Duration::from_secs(30);

const EXPERIMENT: &str = "version: 1\nname: killed\nhypothesis: What dies is healed.\n\
    probes:\n  alive: {command: {run: [\"true\"]}, every: 1s}\n\
    steady_state:\n  - {probe: alive, value: \"== 0\", when: [after]}\n\
    method:\n  - {inject: {proxy: idle-0, fault: {latency: {delay: 1s}}}, for: 60s}\n\
    blast_radius: {proxies: [idle-0], percent: 100, duration: 2m}\n\
    lease: 2s\nbaseline: 1s\nrecovery: {within: 1s, hold: 500ms}\n";

pub(super) fn measure(
    runtime: &Runtime,
    squall: &Path,
    sizes: &Sizes,
    budget: &Budget,
    table: &mut Table,
) -> Result<(), BenchError> {
    let mut took = Vec::with_capacity(sizes.kills);
    for number in 0..sizes.kills {
        if number > 0 && !budget.goes_on(number, sizes.kills) {
            break;
        }
        took.push(once(runtime, squall)?);
    }
    let promise = Some((1.0, LEASE + 1.0));
    table.add(Row {
        figure: "healed after kill -9, lease of 2 s".into(),
        who: "squall".into(),
        unit: "s",
        values: took,
        promise,
    })
}

fn once(runtime: &Runtime, squall: &Path) -> Result<f64, BenchError> {
    let (_agent, address) = super::agent()?;
    let api = Api { runtime, address };
    let directory = tempfile::tempdir().tried("make a directory")?;
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).tried("write a file").map(|()| path)
    };
    let experiment = file("killed.yaml", EXPERIMENT)?;
    let environment = file("bench.yaml", &format!("agents: {{main: {{url: \"http://{address}\"}}}}\n"))?;
    let mut command = Command::new(squall);
    command.arg("run").arg(experiment).arg("--env").arg(environment).arg("--yes").current_dir(directory.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut run = Killed(command.spawn().tried("start squall")?);
    until(&api, "a fault to come", |faults| faults > 0)?;
    run.kill();
    let killed = Instant::now();
    until(&api, "the fault to go", |faults| faults == 0)?;
    Ok(killed.elapsed().as_secs_f64())
}

fn until(api: &Api<'_>, what: &str, done: impl Fn(usize) -> bool) -> Result<(), BenchError> {
    let start = Instant::now();
    while !done(api.faults()?) {
        if start.elapsed() > PATIENCE {
            return Err(BenchError::Late { what: what.into(), limit: PATIENCE });
        }
        // Polling, for that is what is measured: when anybody who asks can see it.
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// It ends with this value, if not before.
struct Killed(Child);

impl Killed {
    fn kill(&mut self) {
        // It may have ended, which the next question shows.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        self.kill();
    }
}
