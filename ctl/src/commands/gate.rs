//! `squall gate`: every file to its end, one line each, the worst exit code, and what CI systems read.
//!
//! A file that is invalid or refused is a case like any other, and the rest is run all the same.
//! Neighbours: `trial` runs a file, `squall_engine::report` shows the cases.
//! Invariant: where the results go is known to be writable before the first file is run.

use super::Outcome;
use crate::{
    cli::{Against, Annotations, Common, Format, Gate as Args},
    exit::Failure,
    output,
    signals::Listening,
    trial,
};
use squall_engine::{
    journal::{Journal, RunFilter},
    record::{RunEnd, RunStart},
    regression,
    report::{
        case::{self, Case, Ending},
        gate as gate_page, github, json, junit, markdown,
    },
    verdict::Verdict,
};
use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

/// So many of the newest runs that held are looked at for one in the same environment.
const LOOKED_AT: u32 = 1000;

/// Runs every file, whatever becomes of the others; the exit code is the heaviest.
pub async fn gate(args: &Args, common: &Common) -> Outcome {
    let results = Results::open(args)?;
    // Every question is asked before the first file is run.
    let asked: Vec<_> = args.files.iter().map(|file| (file, trial::ask(file, &args.choice))).collect();
    let listening = Listening::start()?;
    let mut cases = Vec::new();
    let mut left_alone = false;
    for (file, asked) in asked {
        let case = match asked {
            _ if left_alone => Case { file: file.display().to_string(), ending: Ending::NotRun },
            Err(failure) => prevented(file, failure),
            Ok(()) => match trial::run_file(file, &args.choice, listening.next_stop()).await {
                // A comparison that fails is a case of its own, and the other results are written all the same.
                Ok(finished) => compared(args, finished.case(file)).await.unwrap_or_else(|e| prevented(file, e)),
                Err(failure) => prevented(file, failure),
            },
        };
        left_alone |= listening.caught().is_some() || case.verdict() == Some(Verdict::NotHealed);
        if common.output == Format::Text {
            output::result(&output::coloured_marks(&case.line()));
        }
        cases.push(case);
    }
    drop(listening);
    if common.output == Format::Json {
        output::json(&json::cases(&cases));
    }
    annotate(args, common, &cases);
    let worst = case::worst(&cases);
    match results.write(&cases) {
        Ok(()) => Ok(worst),
        // What was found weighs more than that it is not written down, or less.
        Err(failure) => {
            failure.tell();
            Ok(case::heavier(worst, failure.code.number()))
        }
    }
}

/// With what got worse since the experiment was last held, if that was asked for.
async fn compared(args: &Args, mut case: Case) -> Result<Case, Failure> {
    let Ending::Ran { record, regressions, .. } = &mut case.ending else { return Ok(case) };
    if let (Some(Against::LastHeld), Some(end)) = (args.against, &record.end)
        && end.verdict == Verdict::Held
    {
        let journal = Journal::open(&args.choice.journal.journal).await?;
        match earlier(&journal, &record.start).await? {
            Some(earlier) => *regressions = regression::regressions(&earlier.rows, &end.rows, args.margin),
            None => output::progress(&format!("{}: no earlier run that held to compare with", record.start.experiment)),
        }
    }
    Ok(case)
}

/// How the experiment ended when it last held in this environment, before this run.
async fn earlier(journal: &Journal, this: &RunStart) -> Result<Option<RunEnd>, Failure> {
    let (experiment, verdict) = (Some(this.experiment.clone()), Some(Verdict::Held));
    let runs = journal.runs(&RunFilter { limit: LOOKED_AT, experiment, verdict }).await?;
    let found = runs.iter().find(|run| run.id != this.id && run.environment == this.environment);
    match found {
        Some(run) => Ok(journal.load(&run.id).await?.end),
        None => Ok(None),
    }
}

/// A file that came to no run. What is wrong with it is shown in full at once, beside the other progress.
fn prevented(file: &Path, failure: Failure) -> Case {
    failure.tell();
    let Failure { code, message, mistakes, .. } = failure;
    let ending = Ending::Prevented { exit_code: code.number(), message, mistakes };
    Case { file: file.display().to_string(), ending }
}

/// Beside the lines for people; GitHub reads both outputs, so results for programs stay clean.
fn annotate(args: &Args, common: &Common, cases: &[Case]) {
    let tell = if common.output == Format::Json { output::progress } else { output::result };
    match args.annotations {
        Some(Annotations::Github) => github::annotations(cases).iter().for_each(|line| tell(line)),
        None => {}
    }
}

/// The files that were asked for, open.
struct Results {
    page: Sink,
    junit: Option<Sink>,
    summary: Option<Sink>,
    json: Option<Sink>,
}

struct Sink {
    path: PathBuf,
    file: File,
}

impl Results {
    fn open(args: &Args) -> Result<Self, Failure> {
        let open = |path: &Option<PathBuf>, append| path.as_ref().map(|path| Sink::open(path, append)).transpose();
        // Beside the reports that it leads to, unless it shall be somewhere else.
        let page = args.html.clone().unwrap_or_else(|| args.choice.report.join("gate.html"));
        Ok(Self {
            page: Sink::open(&page, false)?,
            junit: open(&args.junit, false)?,
            summary: open(&args.summary, true)?,
            json: open(&args.json, false)?,
        })
    }

    fn write(self, cases: &[Case]) -> Result<(), Failure> {
        let directory = self.page.path.parent().unwrap_or(Path::new("")).to_owned();
        let html = gate_page::render(cases, &directory).map_err(|error| Failure::failed(error.to_string()))?;
        let path = self.page.path.clone();
        self.page.write(&html)?;
        output::progress(&format!("page     {}", path.display()));
        if let Some(sink) = self.junit {
            let xml = junit::render(cases).map_err(|error| Failure::failed(error.to_string()))?;
            sink.write(&xml)?;
        }
        if let Some(sink) = self.summary {
            sink.write(&markdown::render(cases))?;
        }
        match self.json {
            Some(sink) => sink.write(&format!("{:#}\n", json::cases(cases))),
            None => Ok(()),
        }
    }
}

impl Sink {
    fn open(path: &Path, append: bool) -> Result<Self, Failure> {
        let failed = |e: std::io::Error| Failure::failed(format!("failed to open {} for results: {e}", path.display()));
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(failed)?;
        }
        let file = File::options().create(true).write(true).append(append).truncate(!append).open(path);
        Ok(Self { path: path.to_owned(), file: file.map_err(failed)? })
    }

    fn write(mut self, text: &str) -> Result<(), Failure> {
        let failed = |e| Failure::failed(format!("failed to write {}: {e}", self.path.display()));
        self.file.write_all(text.as_bytes()).and_then(|()| self.file.flush()).map_err(failed)
    }
}
