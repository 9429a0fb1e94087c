//! Forgetting old runs: what goes, what never does, and that the space comes back.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod journal_places;
mod report_fixture;

use journal_places::on_both;
use report_fixture as fixture;
use squall_engine::{
    event::{Event, What},
    journal::{Journal, JournalPlace, PruneRule},
    record::{RunEnd, RunStart},
    sample::Sample,
    verdict::Verdict,
};
use std::{sync::Arc, time::Duration};

on_both! {
    the_newest_stay_and_the_last_that_held_and_what_has_no_end,
    only_what_is_old_goes_and_of_one_experiment_if_that_was_said,
    the_space_comes_back,
}

/// Runs of one experiment, the oldest first; a day apart, the last one today.
async fn runs(journal: &Journal, experiment: &str, verdicts: &[Option<Verdict>]) {
    let now = jiff::Timestamp::now();
    for (index, verdict) in verdicts.iter().enumerate() {
        let age = Duration::from_secs(86_400) * u32::try_from(verdicts.len() - 1 - index).unwrap();
        let id = format!("{experiment}{index}");
        let started_at = (now - age).to_string();
        let start = RunStart { id: id.clone(), experiment: experiment.into(), started_at, ..fixture::start() };
        journal.start_run(&start).await.unwrap();
        let note = What::Note { text: "hello".into() };
        journal.event(&id, &Event { at: Duration::ZERO, what: note }).await.unwrap();
        journal.samples(&id, &many(50)).await.unwrap();
        if let Some(verdict) = *verdict {
            let end = RunEnd { verdict, exit_code: verdict.exit_code(), ..fixture::end() };
            journal.end_run(&id, &end).await.unwrap();
        }
    }
}

fn many(count: u64) -> Vec<(Arc<str>, Sample)> {
    let sample = |number| Sample {
        at: Duration::from_millis(number),
        took: Duration::from_millis(1),
        ok: true,
        status: None,
        value: Some(1.0),
        text: Some("some text that takes its place on the disk, sample after sample".into()),
    };
    (0..count).map(|number| (Arc::from("probe"), sample(number))).collect()
}

fn ids<'a>(runs: impl IntoIterator<Item = &'a squall_engine::journal::RunSummary>) -> Vec<String> {
    runs.into_iter().map(|run| run.id.clone()).collect()
}

async fn the_newest_stay_and_the_last_that_held_and_what_has_no_end(place: JournalPlace) {
    let journal = Journal::open(&place).await.unwrap();
    let (held, bad) = (Some(Verdict::Held), Some(Verdict::Deviated));
    runs(&journal, "a", &[held, held, None, None, bad, bad]).await;
    runs(&journal, "b", &[held, bad, held]).await;
    let rule = PruneRule { keep: Some(1), ..PruneRule::default() };
    let under_way = |run: &squall_engine::journal::RunSummary| run.id == "a3";
    let pruned = journal.prunable(&rule, under_way).await.unwrap();
    let mut removed = ids(&pruned.runs);
    removed.sort();
    assert_eq!(removed, ["a0", "a4", "b0", "b1"]);
    let spared: Vec<_> = pruned.spared.iter().map(|(run, why)| (run.id.as_str(), &why[..12])).collect();
    assert_eq!(spared, [("a1", "it is the la"), ("a2", "it has no en"), ("a3", "it is under ")]);
    let all = journal.prunable(&PruneRule { all: true, ..rule }, under_way).await.unwrap();
    assert_eq!(all.runs.len(), 6);
    assert_eq!(ids(all.spared.iter().map(|(run, _)| run)), ["a3"]);
    for run in &pruned.runs {
        assert!(journal.remove(&run.id).await.unwrap());
        assert!(!journal.remove(&run.id).await.unwrap(), "it is gone");
    }
    journal.give_back().await.unwrap();
    let left = ids(&journal.runs(&Default::default()).await.unwrap());
    assert_eq!(left.len(), 5);
    let kept = journal.load("a1").await.unwrap();
    assert_eq!((kept.events.len(), kept.series[0].samples.len()), (1, 50));
}

async fn only_what_is_old_goes_and_of_one_experiment_if_that_was_said(place: JournalPlace) {
    let journal = Journal::open(&place).await.unwrap();
    let bad = Some(Verdict::Deviated);
    runs(&journal, "a", &[bad; 5]).await;
    runs(&journal, "b", &[bad; 5]).await;
    let older_than = Some(Duration::from_secs(86_400 * 5 / 2));
    let rule = PruneRule { older_than, experiment: Some("a".into()), ..PruneRule::default() };
    assert_eq!(ids(&journal.prunable(&rule, |_| false).await.unwrap().runs), ["a0", "a1"]);
    let both = PruneRule { keep: Some(4), ..rule };
    assert_eq!(ids(&journal.prunable(&both, |_| false).await.unwrap().runs), ["a0"], "both must say so");
}

async fn the_space_comes_back(place: JournalPlace) {
    let journal = Journal::open(&place).await.unwrap();
    runs(&journal, "a", &[Some(Verdict::Deviated)]).await;
    for _ in 0..4 {
        journal.samples("a0", &many(5_000)).await.unwrap();
    }
    let before = journal.size().await.unwrap();
    journal.remove("a0").await.unwrap();
    journal.give_back().await.unwrap();
    let after = journal.size().await.unwrap();
    assert!(after < before / 4, "{before} bytes before, {after} after");
}
