//! `squall compare RUN RUN`: two runs of the journal over each other.
//!
//! Neighbours: `squall_engine::search::compare` says what changed, `report::compare` shows it.

use super::{Outcome, journal::existing};
use crate::{
    cli::{Common, Compare as Args, Format},
    exit::Failure,
    output,
    results::write,
};
use comfy_table::{Table, presets};
use squall_engine::{
    report,
    search::compare::{Change, Comparison},
};

/// Compares them; with `--check` the exit code is 1 when something is worse by more than noise.
pub async fn compare(args: &Args, common: &Common) -> Outcome {
    let journal = existing(&args.journal).await?;
    let (first, second) = (journal.load(&args.first).await?, journal.load(&args.second).await?);
    if first.start.id == second.start.id {
        return Err(Failure::usage(format!("`{}` and `{}` are the same run: name two", args.first, args.second)));
    }
    for record in [&first, &second] {
        if record.end.is_none() {
            let id = &record.start.id;
            return Err(Failure::usage(format!("run {id} has no end: it is running, or it died (squall recover)")));
        }
    }
    let comparison = Comparison::new(&first, &second);
    if let Some(path) = &args.html {
        let page = report::compare::html(&comparison, &first, &second).map_err(|e| Failure::failed(e.to_string()))?;
        write(path, &page)?;
        output::progress(&format!("page  {}", path.display()));
    }
    match common.output {
        Format::Json => output::json(&comparison),
        Format::Text => tell(&comparison),
    }
    Ok(u8::from(args.check && comparison.count(Change::Worse) > 0))
}

fn tell(comparison: &Comparison) {
    for (word, run) in ["first ", "second"].into_iter().zip(&comparison.runs) {
        let verdict = run.verdict.map_or("no verdict", |verdict| verdict.word());
        output::result(&format!("{word}  {}  {}  {} on {}", run.id, verdict, run.experiment, run.environment));
    }
    comparison.differences.iter().for_each(|difference| output::result(&format!("        {difference}")));
    let mut lines = report::compare::table(comparison).into_iter();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(lines.next().unwrap_or_default());
    lines.for_each(|line| {
        table.add_row(line);
    });
    output::result(&output::coloured_marks(&table.to_string()));
    output::result(&report::compare::sentence(comparison));
}
