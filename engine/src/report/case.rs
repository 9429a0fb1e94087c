//! Several files run one after the other, as a gate sees them: each is a case with one word, one exit code, one reason.
//!
//! Neighbours: `squall gate` makes them; `junit`, `markdown`, `github` and `json` show them.
//! Invariant: every case that is not held weighs more than every one that is, so that a gate cannot pass by a file that
//! was never run.

use crate::{diagnostic::Diagnostic, record::RunRecord, verdict::Verdict};
use std::{path::Path, time::Duration};

/// Exit codes by their weight, the heaviest first: not healed; error; stopped from outside; wrong usage; invalid file;
/// refused; then the verdicts that learnt something: aborted, not steady, deviated, not recovered, inconclusive, held.
pub const WEIGHT: [u8; 14] = [8, 7, 130, 143, 129, 2, 3, 10, 5, 4, 1, 6, 9, 0];

/// One file of a gate.
#[derive(Debug, Clone)]
pub struct Case {
    /// The file, as it was named.
    pub file: String,
    /// How it ended.
    pub ending: Ending,
}

/// How a case ended.
#[derive(Debug, Clone)]
pub enum Ending {
    /// There was a run, with a verdict.
    Ran {
        /// The run.
        record: Box<RunRecord>,
        /// Where its page is, if there is one.
        report: Option<String>,
        /// What got worse by more than a margin since it was last held; empty where nobody asked.
        regressions: Vec<String>,
    },
    /// There was none: the file is invalid, or it was refused, or something failed beforehand.
    Prevented {
        /// The exit code that goes with it.
        exit_code: u8,
        /// Why, for people.
        message: String,
        /// The mistakes in the file, each with its place.
        mistakes: Vec<Diagnostic>,
    },
    /// An earlier case was stopped from outside, and the rest was left alone.
    NotRun,
}

impl Case {
    /// The experiment's name; where it is not known, the file's.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.ending {
            Ending::Ran { record, .. } => &record.start.experiment,
            _ => Path::new(&self.file).file_stem().and_then(|stem| stem.to_str()).unwrap_or(&self.file),
        }
    }

    /// The verdict's word, `regressed` where it held but got worse, or what stood in the way: `invalid`, `refused`, `usage`, `error`, `not_run`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match &self.ending {
            Ending::Ran { regressions, .. } if !regressions.is_empty() && self.verdict() == Some(Verdict::Held) => {
                "regressed"
            }
            Ending::Ran { .. } => self.verdict().unwrap_or(Verdict::Error).word(),
            Ending::Prevented { exit_code: 2, .. } => "usage",
            Ending::Prevented { exit_code: 3, .. } => "invalid",
            Ending::Prevented { exit_code: 10, .. } => "refused",
            Ending::Prevented { exit_code: 8, .. } => Verdict::NotHealed.word(),
            Ending::Prevented { .. } => Verdict::Error.word(),
            Ending::NotRun => "not_run",
        }
    }

    /// Its exit code; what got worse counts as `deviated`. A case that was not run has none of its own: the one that was stopped has.
    #[must_use]
    pub fn exit_code(&self) -> Option<u8> {
        match &self.ending {
            Ending::Ran { .. } if self.word() == "regressed" => Some(Verdict::Deviated.exit_code()),
            Ending::Ran { record, .. } => {
                Some(record.end.as_ref().map_or(Verdict::Error.exit_code(), |end| end.exit_code))
            }
            Ending::Prevented { exit_code, .. } => Some(*exit_code),
            Ending::NotRun => None,
        }
    }

    /// Its verdict, if there was a run that came to one.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        self.record()?.end.as_ref().map(|end| end.verdict)
    }

    /// The run, if there was one.
    #[must_use]
    pub fn record(&self) -> Option<&RunRecord> {
        if let Ending::Ran { record, .. } = &self.ending { Some(record) } else { None }
    }

    /// Whether the hypothesis stood.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.exit_code() == Some(0)
    }

    /// How long the run took.
    #[must_use]
    pub fn took(&self) -> Option<Duration> {
        self.record()?.end.as_ref().map(|end| end.took)
    }

    /// Why it is as it is, on one line: the first reason, else what the word means.
    #[must_use]
    pub fn reason(&self) -> String {
        let reason = match &self.ending {
            Ending::Ran { regressions, .. } if self.word() == "regressed" => {
                regressions.first().map_or("", String::as_str)
            }
            Ending::Ran { record, .. } => match &record.end {
                Some(end) => end.reasons.first().map_or(end.verdict.meaning(), String::as_str),
                None => "the run has no end",
            },
            Ending::Prevented { message, mistakes, .. } => match mistakes.as_slice() {
                [] => message,
                [only] => return only.to_string(),
                [first, rest @ ..] => return format!("{first} (and {} more)", rest.len()),
            },
            Ending::NotRun => "left alone: an earlier one was stopped from outside",
        };
        reason.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// One line for people: `✓ held  payment-slow  33.1 s`, and why where it is not held.
    #[must_use]
    pub fn line(&self) -> String {
        let mark = if self.is_held() { "✓" } else { "✗" };
        let took = self.took().map_or_else(|| "–".to_owned(), super::moment);
        let line = format!(" {mark} {:<13} {:<28} {took:>8}", self.word(), self.name());
        let reason = self.reason();
        let whole = match self.is_held() {
            true => line,
            // A mistake names its file by itself.
            false if reason.starts_with(&self.file) => format!("{line}  {reason}"),
            false => format!("{line}  {}: {reason}", self.file),
        };
        whole.chars().filter(|letter| !letter.is_control()).collect()
    }
}

/// The exit code of all of them together: the heaviest. With none at all it is 0.
#[must_use]
pub fn worst(cases: &[Case]) -> u8 {
    cases.iter().filter_map(Case::exit_code).fold(0, heavier)
}

/// The heavier of two exit codes; one that is not known here counts as the heaviest.
#[must_use]
pub fn heavier(one: u8, other: u8) -> u8 {
    let weight = |code: u8| WEIGHT.iter().position(|known| *known == code);
    if weight(other) < weight(one) { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::{Case, Ending, WEIGHT, worst};
    use crate::verdict::Verdict;

    fn prevented(exit_code: u8) -> Case {
        let ending = Ending::Prevented { exit_code, message: "two\nlines".into(), mistakes: vec![] };
        Case { file: "experiments/a.yaml".into(), ending }
    }

    #[test]
    fn verdicts_weigh_in_their_own_order_and_everything_is_in_it() {
        let weights = Verdict::ALL.map(|verdict| WEIGHT.iter().position(|code| *code == verdict.exit_code()).unwrap());
        assert!(weights.is_sorted(), "{weights:?}");
        for code in [2, 3, 10, 129, 143] {
            assert!(WEIGHT.contains(&code), "{code}");
        }
    }

    #[test]
    fn the_heaviest_decides_and_a_code_of_no_meaning_is_heaviest() {
        let of = |codes: &[u8]| worst(&codes.iter().map(|code| prevented(*code)).collect::<Vec<_>>());
        assert_eq!([of(&[]), of(&[0, 0]), of(&[0, 9, 1]), of(&[1, 10, 3]), of(&[3, 130])], [0, 0, 1, 3, 130]);
        assert_eq!([of(&[7, 3, 8]), of(&[8, 77])], [8, 77]);
        let left = Case { file: "b".into(), ending: Ending::NotRun };
        assert_eq!((worst(&[left.clone(), prevented(143)]), left.is_held()), (143, false));
    }

    #[test]
    fn what_was_prevented_is_told_on_one_line() {
        let case = prevented(10);
        assert_eq!((case.name(), case.word(), case.reason().as_str()), ("a", "refused", "two lines"));
        assert!(case.line().ends_with("experiments/a.yaml: two lines"), "{}", case.line());
    }
}
