//! `squall history prune`: removes old runs from the journal, says which, and gives their space back.
//!
//! Neighbours: `squall_engine::journal` decides and removes; `recover` knows whether a run lives.

use super::{Outcome, recover};
use crate::{
    cli::{Common, Format, Prune},
    output,
};
use squall_engine::journal::{PruneRule, Pruned, RunSummary};
use std::collections::BTreeSet;

/// Removes what the rule means; one transaction a run, so that a second prune goes on where this one was stopped.
pub async fn prune(args: &Prune, common: &Common) -> Outcome {
    let journal = super::journal::existing(&args.journal).await?;
    let rule =
        PruneRule { keep: args.keep, older_than: args.older_than, experiment: args.experiment.clone(), all: args.all };
    let open = journal.open_runs().await?;
    let alive: BTreeSet<String> = open.into_iter().filter(recover::may_be_under_way).map(|run| run.start.id).collect();
    let pruned = journal.prunable(&rule, |run| alive.contains(&run.id)).await?;
    let before = journal.size().await;
    if !args.dry_run {
        for run in &pruned.runs {
            journal.remove(&run.id).await?;
        }
        if !pruned.runs.is_empty()
            && let Err(error) = journal.give_back().await
        {
            output::error(&format!("the runs are removed, but {error}"));
        }
    }
    let after = journal.size().await;
    tell(args, common, &pruned, before.zip(after));
    Ok(0)
}

fn tell(args: &Prune, common: &Common, pruned: &Pruned, sizes: Option<(u64, u64)>) {
    if common.output == Format::Json {
        let spared = |(run, why): &(RunSummary, &str)| serde_json::json!({"id": run.id, "why": why});
        return output::json(&serde_json::json!({
            "dry_run": args.dry_run,
            "removed": pruned.runs,
            "spared": pruned.spared.iter().map(spared).collect::<Vec<_>>(),
            "bytes_before": sizes.map(|(before, _)| before),
            "bytes_after": sizes.map(|(_, after)| after),
        }));
    }
    let verb = if args.dry_run { "would remove" } else { "removed" };
    for run in &pruned.runs {
        let verdict = run.verdict.map_or("no end", squall_engine::verdict::Verdict::word);
        output::result(&format!(
            "{verb} {}  {}  {} on {}  {verdict}",
            run.id, run.started_at, run.experiment, run.environment
        ));
    }
    for (run, why) in &pruned.spared {
        output::progress(&format!("kept {}  {} on {}: {why}", run.id, run.experiment, run.environment));
    }
    let count = pruned.runs.len();
    let runs = if count == 1 { "run" } else { "runs" };
    let size = match sizes {
        Some((before, after)) if !args.dry_run && count > 0 => {
            format!("; the journal takes {} KiB, before {} KiB", after / 1024, before / 1024)
        }
        _ => String::new(),
    };
    output::result(&format!("{verb} {count} {runs}{size}"));
}
