//! `squall run`: files one after the other, each with its verdict, its journal entry and its report.

use super::Outcome;
use crate::{
    cli::{Common, Format, Run as Args},
    output,
    signals::Listening,
    trial::{self, Finished},
};
use squall_engine::{
    journal::JournalPlace,
    report::{self, case},
    verdict::Verdict,
};

/// Runs every file; the exit code is the heaviest verdict's. A file that could not be run ends it with the code for that,
/// unless an earlier one's is heavier.
pub async fn run(args: &Args, common: &Common) -> Outcome {
    // Every file is checked, and every question asked, before the first is run.
    for file in &args.files {
        trial::ask(file, &args.choice)?;
    }
    let listening = Listening::start()?;
    let journal = &args.choice.journal.journal;
    let (mut codes, mut results) = (Vec::new(), Vec::new());
    for file in &args.files {
        let finished = match trial::run_file(file, &args.choice, listening.next_stop()).await {
            Ok(finished) => finished,
            Err(failure) if codes.is_empty() => return Err(failure),
            Err(failure) => {
                failure.tell();
                results.push(failure.json());
                codes.push(failure.code.number());
                break;
            }
        };
        match common.output {
            Format::Text => tell(&finished, journal),
            Format::Json => results.push(json(&finished, journal)),
        }
        if let Err(why) = &finished.report {
            output::error(why);
        }
        codes.push(finished.exit_code());
        if listening.caught().is_some() || finished.verdict() == Verdict::NotHealed {
            break;
        }
    }
    if common.output == Format::Json {
        match results.as_slice() {
            [only] => output::json(only),
            all => output::json(&all),
        }
    }
    Ok(codes.into_iter().reduce(case::heavier).unwrap_or(0))
}

fn json(finished: &Finished, journal: &JournalPlace) -> serde_json::Value {
    let mut value = report::json::render(&finished.record, false);
    if let Some(object) = value.as_object_mut() {
        let report = finished.report.as_ref().ok().map(|path| path.display().to_string());
        object.insert("report".into(), report.into());
        object.insert("journal".into(), journal.to_string().into());
    }
    value
}

fn tell(finished: &Finished, journal: &JournalPlace) {
    output::result(&output::coloured_marks(&report::text::summary(&finished.record)));
    if let Ok(report) = &finished.report {
        output::result(&format!("report   {}", report.display()));
    }
    output::result(&format!("journal  {}", journal));
}
