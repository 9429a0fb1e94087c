//! `squall run`: files one after the other, each with its verdict, its journal entry and its report.

use super::Outcome;
use crate::{
    cli::{Common, Format, Run as Args},
    connect::{self, Scene},
    exit::Failure,
    output, signals,
    trial::{self, Finished},
};
use squall_engine::{
    report::{self, case},
    run::stop::Stop,
};
use std::path::Path;

/// Runs every file; the exit code is the heaviest verdict's.
pub async fn run(args: &Args, common: &Common) -> Outcome {
    // Every file is checked before the first is run.
    for file in &args.files {
        let scene = Scene::choose(&args.choice.environment, file)?;
        connect::load(file, &args.choice.environment, &scene, &scene.variables())?;
    }
    let stop = Stop::default();
    let listening =
        signals::listen(stop.clone()).map_err(|e| Failure::failed(format!("failed to listen for signals: {e}")))?;
    let journal = &args.choice.journal.journal;
    let (mut cases, mut results) = (Vec::new(), Vec::new());
    for file in &args.files {
        let finished = trial::run_file(file, &args.choice, &stop).await?;
        match common.output {
            Format::Text => tell(&finished, journal),
            Format::Json => results.push(json(&finished, journal)),
        }
        let case = finished.case(file);
        let last = trial::is_the_last(&case, &stop);
        cases.push(case);
        if last {
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
    Ok(case::worst(&cases))
}

fn json(finished: &Finished, journal: &Path) -> serde_json::Value {
    let mut value = report::json::render(&finished.record, false);
    if let Some(object) = value.as_object_mut() {
        object.insert("report".into(), finished.report.display().to_string().into());
        object.insert("journal".into(), journal.display().to_string().into());
    }
    value
}

fn tell(finished: &Finished, journal: &Path) {
    output::result(&output::coloured_marks(&report::text::summary(&finished.record)));
    output::result(&format!("report   {}", finished.report.display()));
    output::result(&format!("journal  {}", journal.display()));
}
