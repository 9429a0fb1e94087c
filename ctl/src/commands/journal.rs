//! `squall history`, `show`, `report`: what the journal remembers.

use super::Outcome;
use crate::{
    cli::{Common, Format, History, HistoryCommand, JournalChoice, Report, ReportFormat, Show},
    exit::Failure,
    output,
};
use comfy_table::{Table, presets};
use squall_engine::{
    journal::{Journal, RunFilter},
    record::RunRecord,
    report::{
        self,
        case::{Case, Ending},
    },
};

/// Opens a journal that must be there already: reading makes none.
pub(super) async fn existing(choice: &JournalChoice) -> Result<Journal, Failure> {
    if choice.journal.is_missing() {
        let path = &choice.journal;
        return Err(Failure::usage(format!(
            "there is no journal at {path}: run an experiment first, or say where by --journal"
        )));
    }
    Ok(Journal::open(&choice.journal).await?)
}

/// Lists runs, newest first; or removes old ones.
pub async fn history(args: &History, common: &Common) -> Outcome {
    if let Some(HistoryCommand::Prune(prune)) = &args.command {
        return super::prune::prune(prune, common).await;
    }
    let filter = RunFilter { limit: args.limit, experiment: args.experiment.clone(), ..RunFilter::default() };
    let runs = existing(&args.journal).await?.runs(&filter).await?;
    if common.output == Format::Json {
        output::json(&runs);
        return Ok(0);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["run", "started", "experiment", "environment", "verdict", "took"]);
    for run in &runs {
        table.add_row([
            run.id.clone(),
            run.started_at.clone(),
            run.experiment.clone(),
            run.environment.clone(),
            run.verdict.map_or_else(|| "running or dead".to_owned(), |verdict| verdict.to_string()),
            run.took.map_or_else(String::new, |took| format!("{:.1}s", took.as_secs_f64())),
        ]);
    }
    output::result(&if runs.is_empty() { "no runs".to_owned() } else { table.to_string() });
    Ok(0)
}

/// Shows one run.
pub async fn show(args: &Show, common: &Common) -> Outcome {
    let record = existing(&args.journal).await?.load(&args.run).await?;
    match common.output {
        Format::Json => output::json(&report::json::render(&record, false)),
        Format::Text => output::result(&output::coloured_marks(&report::text::summary(&record))),
    }
    Ok(0)
}

/// Renders one run again.
pub async fn report(args: &Report) -> Outcome {
    let record = existing(&args.journal).await?.load(&args.run).await?;
    let text = match args.format {
        ReportFormat::Html => report::html::render(&record).map_err(|e| Failure::failed(e.to_string()))?,
        ReportFormat::Json => report::json::render(&record, true).to_string(),
        ReportFormat::Md => report::markdown::render(&[case(record)]),
        ReportFormat::Junit => report::junit::render(&[case(record)]).map_err(|e| Failure::failed(e.to_string()))?,
    };
    if args.to.as_os_str() == "-" {
        output::result(&text);
    } else {
        let path = args.to.display();
        std::fs::write(&args.to, text).map_err(|e| Failure::failed(format!("failed to write {path}: {e}")))?;
        output::progress(&format!("report written to {path}"));
    }
    Ok(0)
}

/// The run as the only case of a gate.
fn case(record: RunRecord) -> Case {
    Case {
        file: record.start.source.path.clone(),
        ending: Ending::Ran { record: Box::new(record), report: None, regressions: vec![] },
    }
}
