//! A run as this process remembers it: for when the journal is away at its end, so that its report is whole all the same.
//!
//! Neighbours: `record` writes the same into the journal. Invariant: secrets are replaced as in the journal.

use super::{Run, log::Log};
use crate::{
    experiment::Secrets,
    record::{RunEnd, RunRecord, RunStart, SeriesRecord},
    recorder::{Cursor, Recorder},
    sample::Sample,
};
use std::{collections::BTreeMap, sync::Arc};

/// What is remembered, also when the run is over.
#[derive(Debug, Clone)]
pub struct Memory {
    start: RunStart,
    log: Log,
    recorder: Arc<Recorder>,
    secrets: Secrets,
}

impl Run {
    /// What this process will remember of it.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let secrets = self.experiment.secrets.clone();
        Memory { start: self.start.clone(), log: self.log.clone(), recorder: Arc::clone(&self.recorder), secrets }
    }
}

impl Memory {
    /// The run's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.start.id
    }

    /// The whole run, with this end.
    #[must_use]
    pub fn record(&self, end: Option<RunEnd>) -> RunRecord {
        let mut series: BTreeMap<Arc<str>, Vec<Sample>> = BTreeMap::new();
        for (name, mut sample) in self.recorder.since(&mut Cursor::default()) {
            sample.text = sample.text.map(|text| self.secrets.redact(&text).into());
            series.entry(name).or_default().push(sample);
        }
        let series = series.into_iter().map(|(name, samples)| SeriesRecord { name: name.to_string(), samples });
        crate::journal::redacted(
            &self.secrets,
            &RunRecord { start: self.start.clone(), end, events: self.log.events(), series: series.collect() },
        )
    }
}
