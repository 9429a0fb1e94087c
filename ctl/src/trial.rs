//! One file, run to its verdict: environment or sandbox, journal, live view, report.
//!
//! Neighbours: `commands::run` and `commands::gate` call it for one file after the other, and say what came of it.
//! Invariant: what was started for a file has ended when it returns.

use crate::{
    ask,
    cli::RunChoice,
    connect::{self, Scene},
    exit::Failure,
    live::Live,
    output,
    sandbox::{Sandbox, Wanted},
    telling,
};
use squall_engine::{
    environment::ShopDatabase,
    experiment::Experiment,
    journal::{Absorbed, Journal, JournalPlace, SpoolChoice},
    record::{RunEnd, RunRecord},
    report::{
        self,
        case::{Case, Ending},
    },
    run::{self, PrepareError, Setup, memory::Memory, stop::Stop},
    telemetry::Telemetry,
    verdict::Verdict,
};
use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};
use tokio_util::sync::CancellationToken;

/// A run that has a verdict.
pub struct Finished {
    /// The run, as the journal has it.
    pub record: RunRecord,
    /// Where its page is, or why it is not there.
    pub report: Result<PathBuf, String>,
}

impl Finished {
    /// The run's own; `error` when its report could not be written, unless it is worse already.
    pub fn verdict(&self) -> Verdict {
        let verdict = self.record.end.as_ref().map_or(Verdict::Error, |end| end.verdict);
        if self.report.is_err() { verdict.min(Verdict::Error) } else { verdict }
    }

    /// The run's own, or that of what its verdict became.
    pub fn exit_code(&self) -> u8 {
        match (&self.record.end, self.verdict()) {
            (Some(end), verdict) if end.verdict == verdict => end.exit_code,
            (_, verdict) => verdict.exit_code(),
        }
    }

    /// As a case among others. Without its page it is no run that somebody can look into, so that counts as `error`.
    pub fn case(self, file: &Path) -> Case {
        let exit_code = self.exit_code();
        let ending = match self.report {
            Err(message) if exit_code == Verdict::Error.exit_code() => {
                Ending::Prevented { exit_code, message, mistakes: Vec::new() }
            }
            report => {
                let report = report.ok().map(|path| path.display().to_string());
                Ending::Ran { record: Box::new(self.record), report, regressions: Vec::new() }
            }
        };
        Case { file: file.display().to_string(), ending }
    }
}

/// Checks the file, and asks before an environment is touched that is not ours.
///
/// # Errors
/// When the file is invalid, or the answer is no.
pub fn ask(file: &Path, args: &RunChoice) -> Result<(), Failure> {
    let scene = Scene::choose(&args.environment, file)?;
    let experiment = connect::load(file, &args.environment, &scene, &scene.variables())?;
    match scene {
        Scene::Environment(_) if !args.yes => confirm(&experiment.name, scene.name(), &experiment.blast_radius.proxies),
        _ => Ok(()),
    }
}

/// How one run among many differs from the file as it stands.
#[derive(Debug, Clone, Copy, Default)]
pub struct Variant<'a> {
    /// This text in place of the file's.
    pub text: Option<&'a str>,
    /// Nothing is shown while it runs.
    pub quiet: bool,
}

impl Variant<'_> {
    fn load(
        self,
        file: &Path,
        args: &RunChoice,
        scene: &Scene,
        variables: &BTreeMap<String, String>,
    ) -> Result<Experiment, Failure> {
        match self.text {
            Some(text) => connect::load_text(file, text, &args.environment, scene, variables),
            None => connect::load(file, &args.environment, scene, variables),
        }
    }

    fn tell(self, text: &str) {
        if !self.quiet {
            output::progress(text);
        }
    }
}

/// Runs the file to its verdict, and writes its report.
///
/// # Errors
/// When there was no run: the file is invalid, it was refused, or something failed.
pub async fn run_file(file: &Path, args: &RunChoice, stop: Stop) -> Result<Finished, Failure> {
    run_variant(file, args, Variant::default(), stop).await
}

/// Runs a variant of the file to its verdict, and writes its report.
///
/// # Errors
/// As [`run_file`].
pub async fn run_variant(file: &Path, args: &RunChoice, variant: Variant<'_>, stop: Stop) -> Result<Finished, Failure> {
    args.live.is_drawn()?;
    let scene = Scene::choose(&args.environment, file)?;
    let telemetry = telling::choose(&args.telemetry, &scene)?;
    std::fs::create_dir_all(&args.report)
        .map_err(|e| Failure::failed(format!("failed to make the directory {}: {e}", args.report.display())))?;
    let journal = open_journal(&args.journal.journal, &args.report).await?;
    let sandbox = match &scene {
        Scene::Sandbox(wanted) => {
            variant.tell(&starting(wanted));
            Some(Sandbox::start(wanted).await?)
        }
        Scene::Environment(_) => None,
    };
    let place = Place { scene: &scene, sandbox: sandbox.as_ref(), journal: &journal, telemetry: &telemetry };
    let outcome = run_on((file, variant), args, place, stop).await;
    if let Some(sandbox) = sandbox {
        sandbox.stop().await;
    }
    let record = outcome?.remembered(&journal).await?;
    telling::tell(&telemetry, &record).await;
    let path = args.report.join(format!("{}-{}.html", record.start.experiment, record.start.id));
    Ok(Finished { report: write_report(&record, &path), record })
}

/// The journal, with what waits for it from earlier runs brought in, and room beside the reports for what it cannot take
/// while it is away.
pub async fn open_journal(place: &JournalPlace, reports: &Path) -> Result<Journal, Failure> {
    let journal = Journal::open(place).await?.with_spool(SpoolChoice::within(reports.join("spool")));
    for absorbed in journal.absorb().await {
        match absorbed {
            Ok(Absorbed { run, events, samples, .. }) => output::progress(&format!(
                "run {run}: {events} events and {samples} samples that had waited for the journal are in it now"
            )),
            Err(error) => output::error(&error.to_string()),
        }
    }
    Ok(journal)
}

/// A run that is over: where it is remembered.
enum Over {
    /// It never began; the journal has why.
    Before { id: String },
    /// It has ended so.
    After { memory: Box<Memory>, end: Box<RunEnd> },
}

impl Over {
    /// The run as the journal has it, with the end that the run itself says where the journal could not take it. While the
    /// journal is away, as this process remembers it.
    async fn remembered(self, journal: &Journal) -> Result<RunRecord, Failure> {
        let (memory, end) = match self {
            Self::Before { id } => return Ok(journal.load(&id).await?),
            Self::After { memory, end } => (memory, end),
        };
        if let Some(spool) = journal.waiting(memory.id()).await {
            output::error(&format!(
                "the journal {} is away; the run waits in {} and is written by the next `squall run` or `squall recover`",
                journal.place(),
                spool.display()
            ));
            return Ok(memory.record(Some(*end)));
        }
        match journal.load(memory.id()).await {
            Ok(mut record) => {
                record.end = record.end.or(Some(*end));
                Ok(record)
            }
            Err(error) => {
                output::error(&error.to_string());
                Ok(memory.record(Some(*end)))
            }
        }
    }
}

fn write_report(record: &RunRecord, path: &Path) -> Result<PathBuf, String> {
    let html = report::html::render(record).map_err(|e| format!("failed to render the report: {e}"))?;
    std::fs::write(path, html).map_err(|e| format!("failed to write the report {}: {e}", path.display()))?;
    Ok(path.to_owned())
}

fn starting(wanted: &Wanted) -> String {
    let database = if wanted.database == ShopDatabase::default() { "" } else { ", its database behind the agent" };
    match wanted.without.as_slice() {
        [] => format!("starting the sandbox: an agent, the shop, its dependencies{database}"),
        some => format!("starting the sandbox, the shop without {}{database}", some.join(", ")),
    }
}

/// Where a run takes place, and who writes and hears of it.
struct Place<'a> {
    scene: &'a Scene,
    sandbox: Option<&'a Sandbox>,
    journal: &'a Journal,
    telemetry: &'a Telemetry,
}

/// Runs it to the verdict, unless it never begins.
async fn run_on(
    (file, variant): (&Path, Variant<'_>),
    args: &RunChoice,
    Place { scene, sandbox, journal, telemetry }: Place<'_>,
    stop: Stop,
) -> Result<Over, Failure> {
    let variables = sandbox.map_or_else(|| scene.variables(), Sandbox::variables);
    let agents = sandbox.map_or_else(|| scene.targets(), |sandbox| vec![sandbox.target()]);
    let experiment = variant.load(file, args, scene, &variables)?;
    let setup = Setup {
        journal: journal.clone().with_secrets(experiment.secrets.clone()),
        experiment,
        environment: scene.name().to_owned(),
        agents,
        proxies: scene.proxies(),
        seed: args.seed.unwrap_or_else(made_up_seed),
        person: ask::person(args.yes || variant.quiet),
        stop,
        host: connect::host_name(),
        traceparent: telemetry.traceparent,
    };
    let run = match run::prepare(setup).await {
        Ok(run) => run,
        Err(PrepareError::Refused(refusal)) => return Err(Failure::refused(refusal.to_string())),
        Err(PrepareError::Failed { id, .. }) => return Ok(Over::Before { id }),
        Err(PrepareError::Journal(error)) => return Err(error.into()),
    };
    variant.tell(&format!("run {}: {} on {}", run.start.id, run.experiment.name, scene.name()));
    let memory = Box::new(run.memory());
    if variant.quiet {
        return Ok(Over::After { memory, end: Box::new(run.execute().await) });
    }
    let drawn = args.live.is_drawn().unwrap_or(false);
    let (live, done) = (Live::of(&run, drawn), CancellationToken::new());
    let showing = tokio::spawn(live.show(done.clone()));
    let end = run.execute().await;
    done.cancel();
    if let Err(error) = showing.await {
        tracing::warn!(%error, "the live view ended early");
    }
    Ok(Over::After { memory, end: Box::new(end) })
}

/// Below 2^53, so that JSON carries it exactly.
pub fn made_up_seed() -> u64 {
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
