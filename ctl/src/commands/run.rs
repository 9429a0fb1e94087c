//! `squall run`: files one after the other, each with its verdict, its journal entry and its report.

use super::Outcome;
use crate::{
    cli::{Common, Format, Run as Args},
    connect::{self, Scene},
    exit::Failure,
    live::Live,
    output,
    sandbox::Sandbox,
    signals,
};
use squall_engine::{
    journal::Journal,
    record::RunRecord,
    report,
    run::{self, PrepareError, Setup, stop::Stop},
    verdict::Verdict,
};
use std::{
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};
use tokio_util::sync::CancellationToken;

/// Runs every file; the exit code is the first verdict's that is not `held`, in the order of their weight.
pub async fn run(args: &Args, common: &Common) -> Outcome {
    // Every file is checked before the first is run.
    for file in &args.files {
        let scene = Scene::choose(&args.environment, file)?;
        connect::load(file, &args.environment, &scene, &scene.variables())?;
    }
    let stop = Stop::default();
    let listening =
        signals::listen(stop.clone()).map_err(|e| Failure::failed(format!("failed to listen for signals: {e}")))?;
    let mut worst: Option<(Verdict, u8)> = None;
    let mut results = Vec::new();
    for file in &args.files {
        let finished = run_file(file, args, common, &stop).await?;
        let verdict = (finished.verdict(), finished.exit_code());
        worst = Some(worst.map_or(verdict, |worst| worst.min(verdict)));
        results.push(finished.json());
        if stop.is_stopped() && matches!(verdict.0, Verdict::Interrupted | Verdict::NotHealed) {
            break;
        }
    }
    listening.abort();
    if common.output == Format::Json {
        match results.as_slice() {
            [only] => output::json(only),
            all => output::json(&all),
        }
    }
    Ok(worst.map_or(0, |(_, code)| code))
}

/// A run that has a verdict.
struct Finished {
    record: RunRecord,
    report: PathBuf,
    journal: PathBuf,
}

impl Finished {
    fn verdict(&self) -> Verdict {
        self.record.end.as_ref().map_or(Verdict::Error, |end| end.verdict)
    }

    fn exit_code(&self) -> u8 {
        self.record.end.as_ref().map_or(Verdict::Error.exit_code(), |end| end.exit_code)
    }

    fn json(&self) -> serde_json::Value {
        let mut value = report::json::render(&self.record, false);
        if let Some(object) = value.as_object_mut() {
            object.insert("report".into(), self.report.display().to_string().into());
            object.insert("journal".into(), self.journal.display().to_string().into());
        }
        value
    }

    fn tell(&self, common: &Common) {
        if common.output == Format::Text {
            output::result(&output::coloured_marks(&report::text::summary(&self.record)));
            output::result(&format!("report   {}", self.report.display()));
            output::result(&format!("journal  {}", self.journal.display()));
        }
    }
}

async fn run_file(file: &Path, args: &Args, common: &Common, stop: &Stop) -> Result<Finished, Failure> {
    let scene = Scene::choose(&args.environment, file)?;
    std::fs::create_dir_all(&args.report)
        .map_err(|e| Failure::failed(format!("failed to make the directory {}: {e}", args.report.display())))?;
    let journal = Journal::open(&args.journal.journal).await?;
    let sandbox = match &scene {
        Scene::Sandbox { without } => {
            output::progress(&starting(without));
            Some(Sandbox::start(without).await?)
        }
        Scene::Environment(_) => None,
    };
    let outcome = run_on(file, args, &scene, sandbox.as_ref(), &journal, stop).await;
    if let Some(sandbox) = sandbox {
        sandbox.stop().await;
    }
    let id = outcome?;
    let record = journal.load(&id).await?;
    let path = args.report.join(format!("{}-{}.html", record.start.experiment, record.start.id));
    let html =
        report::html::render(&record).map_err(|e| Failure::failed(format!("failed to render the report: {e}")))?;
    std::fs::write(&path, html)
        .map_err(|e| Failure::failed(format!("failed to write the report {}: {e}", path.display())))?;
    let finished = Finished { record, report: path, journal: args.journal.journal.clone() };
    finished.tell(common);
    Ok(finished)
}

fn starting(without: &[String]) -> String {
    match without {
        [] => "starting the sandbox: an agent, the shop, its dependencies".to_owned(),
        some => format!("starting the sandbox, the shop without {}", some.join(", ")),
    }
}

/// Runs it to the verdict and gives the run's id in the journal.
async fn run_on(
    file: &Path,
    args: &Args,
    scene: &Scene,
    sandbox: Option<&Sandbox>,
    journal: &Journal,
    stop: &Stop,
) -> Result<String, Failure> {
    let variables = sandbox.map_or_else(|| scene.variables(), Sandbox::variables);
    let agents = sandbox.map_or_else(|| scene.targets(), |sandbox| vec![sandbox.target()]);
    let experiment = connect::load(file, &args.environment, scene, &variables)?;
    if sandbox.is_none() && !args.yes {
        confirm(&experiment.name, scene.name(), &experiment.blast_radius.proxies)?;
    }
    scene.make_proxies().await?;
    let setup = Setup {
        journal: journal.clone().with_secrets(experiment.secrets.clone()),
        experiment,
        environment: scene.name().to_owned(),
        agents,
        seed: args.seed.unwrap_or_else(made_up_seed),
        stop: stop.clone(),
        host: connect::host_name(),
    };
    let run = match run::prepare(setup).await {
        Ok(run) => run,
        Err(PrepareError::Refused(refusal)) => return Err(Failure::refused(refusal.to_string())),
        Err(PrepareError::Failed { id, .. }) => return Ok(id),
        Err(PrepareError::Journal(error)) => return Err(error.into()),
    };
    output::progress(&format!("run {}: {} on {}", run.start.id, run.experiment.name, scene.name()));
    let id = run.start.id.clone();
    let (live, done) = (Live::of(&run), CancellationToken::new());
    let showing = tokio::spawn(live.show(done.clone()));
    run.execute().await;
    done.cancel();
    if let Err(error) = showing.await {
        tracing::warn!(%error, "the live view ended early");
    }
    Ok(id)
}

/// Below 2^53, so that JSON carries it exactly.
fn made_up_seed() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0 >> 11
}

/// Asks a person before an environment is touched that is not ours; a script has typed what it means.
fn confirm(experiment: &str, environment: &str, proxies: &[squall_wire::ProxyName]) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(());
    }
    let names: Vec<_> = proxies.iter().map(|proxy| proxy.as_str()).collect();
    let _ = write!(std::io::stderr(), "run {experiment} on {environment}, touching {}? [y/N] ", names.join(", "));
    let mut answer = String::new();
    match std::io::stdin().read_line(&mut answer) {
        Ok(_) if matches!(answer.trim(), "y" | "Y" | "yes") => Ok(()),
        _ => Err(Failure::refused("not confirmed; nothing was touched (--yes skips the question)")),
    }
}
