//! Experiments against patterns that are switched off: which runs that takes, and whether each experiment can tell that
//! its own pattern is missing. Pure.
//!
//! Neighbours: `squall matrix --without-each` runs the cells, `report::ablation` draws the table.
//! Invariant: a cell belongs to a file's text; when the text changes, what was known of it is asked again.

use super::cell::{CellEnd, Sense};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A file of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The file, as it was named.
    pub file: String,
    /// The experiment's name.
    pub name: String,
    /// A fingerprint of its text.
    pub digest: String,
    /// The patterns that it is about, as its tags say.
    pub own: Vec<String>,
}

impl Subject {
    /// A file with this text. Those of its tags that are names of patterns are its own patterns.
    #[must_use]
    pub fn new(file: &str, name: &str, text: &str, tags: &[String], patterns: &[String]) -> Self {
        let own = tags.iter().filter(|tag| patterns.contains(tag)).cloned().collect();
        Self { file: file.to_owned(), name: name.to_owned(), digest: digest(text), own }
    }
}

/// FNV-1a: tells texts apart that differ by accident, which is all that is asked of it.
fn digest(text: &str) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, step))
}

/// One run of the table: an experiment, and what the shop does without.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The experiment's name.
    pub experiment: String,
    /// The fingerprint of its text.
    pub digest: String,
    /// The pattern that is switched off; none: everything is on.
    pub without: Option<String>,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.without {
            None => write!(f, "{} with everything on", self.experiment),
            Some(pattern) => write!(f, "{} without {pattern}", self.experiment),
        }
    }
}

/// A run that was made, and how it came out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Which.
    pub key: Key,
    /// How it came out.
    pub end: CellEnd,
}

/// The table. Its JSON is what `--resume` keeps; keys are only ever added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ablation {
    /// 1.
    pub format: u32,
    /// The version of squall.
    pub version: String,
    /// The rows.
    pub subjects: Vec<Subject>,
    /// The columns, but for the first, where everything is on.
    pub patterns: Vec<String>,
    /// Whether each row was asked for its own patterns only.
    pub own_only: bool,
    /// What was run, in the order of the rows and columns.
    pub cells: Vec<Cell>,
}

impl Ablation {
    /// An empty table.
    #[must_use]
    pub fn new(version: &str, subjects: Vec<Subject>, patterns: Vec<String>, own_only: bool) -> Self {
        Self { format: 1, version: version.to_owned(), subjects, patterns, own_only, cells: Vec::new() }
    }

    /// Every run that the table asks for: first everything with everything on, then the rows one by one.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        let key = |subject: &Subject, without: Option<&String>| Key {
            experiment: subject.name.clone(),
            digest: subject.digest.clone(),
            without: without.cloned(),
        };
        let whole = self.subjects.iter().map(|subject| key(subject, None));
        let asked = |subject: &Subject, pattern: &String| !self.own_only || subject.own.contains(pattern);
        let lacking = self.subjects.iter().flat_map(|subject| {
            let patterns = self.patterns.iter().filter(move |pattern| asked(subject, pattern));
            patterns.map(move |pattern| key(subject, Some(pattern)))
        });
        whole.chain(lacking).collect()
    }

    /// Takes over what an earlier table has answered of this one, and says how many cells that is.
    pub fn take_over(&mut self, earlier: &Self) -> usize {
        let keys = self.keys();
        for cell in &earlier.cells {
            if keys.contains(&cell.key) && cell.end.is_answer() {
                self.put(cell.key.clone(), cell.end.clone());
            }
        }
        self.cells.len()
    }

    /// The runs that have no answer yet.
    #[must_use]
    pub fn open(&self) -> Vec<Key> {
        let answered = |key: &Key| self.end(key).is_some_and(CellEnd::is_answer);
        self.keys().into_iter().filter(|key| !answered(key)).collect()
    }

    /// How a run came out.
    #[must_use]
    pub fn end(&self, key: &Key) -> Option<&CellEnd> {
        self.cells.iter().find(|cell| cell.key == *key).map(|cell| &cell.end)
    }

    /// The cell of a row: everything on, or without a pattern.
    #[must_use]
    pub fn cell(&self, subject: &Subject, without: Option<&str>) -> Option<&CellEnd> {
        let is_it = |cell: &&Cell| {
            (&cell.key.experiment, &cell.key.digest) == (&subject.name, &subject.digest)
                && cell.key.without.as_deref() == without
        };
        self.cells.iter().find(is_it).map(|cell| &cell.end)
    }

    /// Writes down how a run came out, in place of what was known of it.
    pub fn put(&mut self, key: Key, end: CellEnd) {
        self.cells.retain(|cell| cell.key != key);
        self.cells.push(Cell { key, end });
        let keys = self.keys();
        self.cells.sort_by_key(|cell| keys.iter().position(|key| *key == cell.key));
    }

    /// What speaks against: for each file, that it does not hold as it should, or holds where it should not.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        self.subjects.iter().flat_map(|subject| self.complaints_about(subject)).collect()
    }

    fn complaints_about(&self, subject: &Subject) -> Vec<String> {
        let Subject { file, own, .. } = subject;
        let mut told = Vec::new();
        match self.cell(subject, None) {
            Some(end) if end.sense() == Sense::Held => {}
            Some(end) => {
                told.push(format!("{file}: does not hold with everything on: {}{}", end.word(), because(end)));
            }
            None => told.push(format!("{file}: was not run with everything on")),
        }
        if own.is_empty() {
            told.push(format!("{file}: no tag names the pattern that it is about"));
        }
        for pattern in own {
            match self.cell(subject, Some(pattern)) {
                Some(end) if end.sense() == Sense::Broke => {}
                Some(end) if end.sense() == Sense::Held => {
                    told.push(format!("{file}: holds without {pattern} as well, so it does not test it"));
                }
                Some(end) => {
                    let word = end.word();
                    told.push(format!("{file}: without {pattern} nothing was learnt: {word}{}", because(end)));
                }
                None => told.push(format!("{file}: was not run without {pattern}")),
            }
        }
        told
    }

    /// The patterns of the table whose absence no experiment notices.
    #[must_use]
    pub fn unnoticed(&self) -> Vec<&str> {
        let noticed: BTreeSet<&str> = self
            .cells
            .iter()
            .filter(|cell| cell.end.sense() == Sense::Broke)
            .filter_map(|cell| cell.key.without.as_deref())
            .collect();
        self.patterns.iter().map(String::as_str).filter(|pattern| !noticed.contains(pattern)).collect()
    }
}

fn because(end: &CellEnd) -> String {
    if end.reason.is_empty() { String::new() } else { format!(" ({})", end.reason) }
}

#[cfg(test)]
mod tests {
    use super::{Ablation, Key, Subject};
    use crate::{search::cell::ended, verdict::Verdict};

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn table(own_only: bool) -> Ablation {
        let patterns = words(&["retry", "bulkhead", "degradation"]);
        let subject =
            |name: &str, tags: &[&str]| Subject::new(&format!("{name}.yaml"), name, name, &words(tags), &patterns);
        let subjects = vec![subject("flap", &["ci", "retry"]), subject("slow", &["bulkhead", "latency"])];
        Ablation::new("0", subjects, patterns, own_only)
    }

    fn fill(table: &mut Ablation, judge: impl Fn(&Key) -> Verdict) {
        for key in table.open() {
            let verdict = judge(&key);
            table.put(key, ended(verdict));
        }
    }

    /// Each fails without its own pattern only.
    fn as_it_should(key: &Key) -> Verdict {
        match (key.experiment.as_str(), key.without.as_deref()) {
            ("flap", Some("retry")) => Verdict::Deviated,
            ("slow", Some("bulkhead")) => Verdict::Aborted,
            _ => Verdict::Held,
        }
    }

    #[test]
    fn everything_is_run_whole_first_and_then_without_each_or_its_own() {
        let shown = |table: Ablation| table.keys().iter().map(Key::to_string).collect::<Vec<_>>();
        assert_eq!(shown(table(false)).len(), 8);
        assert_eq!(
            shown(table(true)),
            ["flap with everything on", "slow with everything on", "flap without retry", "slow without bulkhead"]
        );
    }

    #[test]
    fn a_table_as_it_should_be_has_no_complaints_and_names_what_nobody_notices() {
        let mut table = table(false);
        fill(&mut table, as_it_should);
        assert_eq!(table.complaints(), [""; 0]);
        assert_eq!(table.unnoticed(), ["degradation"]);
        assert!(table.open().is_empty());
    }

    #[test]
    fn each_way_in_which_an_experiment_proves_nothing_is_told() {
        let mut table = table(false);
        table.subjects[1].own.clear();
        fill(&mut table, |key| match (key.experiment.as_str(), key.without.as_deref()) {
            ("flap", None) => Verdict::NotSteady,
            ("flap", Some("retry")) => Verdict::Held,
            _ => Verdict::Held,
        });
        assert_eq!(
            table.complaints(),
            [
                "flap.yaml: does not hold with everything on: not_steady (it was not_steady)",
                "flap.yaml: holds without retry as well, so it does not test it",
                "slow.yaml: no tag names the pattern that it is about",
            ]
        );
        fill(&mut table, |_| Verdict::Error);
        assert!(table.complaints()[0].contains("error"), "{:?}", table.complaints());
    }

    #[test]
    fn a_table_is_taken_up_where_it_was_left_but_for_what_taught_nothing_or_has_changed() {
        let mut earlier = table(false);
        fill(&mut earlier, |key| match key.without.as_deref() {
            Some("degradation") => Verdict::Interrupted,
            _ => as_it_should(key),
        });
        let kept: Ablation = serde_json::from_str(&serde_json::to_string(&earlier).unwrap()).unwrap();
        let mut later = table(false);
        assert_eq!(later.take_over(&kept), 6);
        let open: Vec<_> = later.open().iter().map(Key::to_string).collect();
        assert_eq!(open, ["flap without degradation", "slow without degradation"]);

        let mut changed = table(false);
        changed.subjects[0].digest = super::digest("another text");
        assert_eq!(changed.take_over(&kept), 3);
    }
}
