//! How one run among many came out: a verdict, or what stood in its way. Small, so that it can be kept and read again.
//!
//! Neighbours: `report::case` is one run in full, of which this is made. Invariant: a run that taught nothing is
//! neither held nor broken.

use crate::{
    report::case::{Case, Ending},
    verdict::Verdict,
};
use serde::{Deserialize, Serialize};

/// How a run came out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellEnd {
    /// Its verdict; none: there was no run.
    pub verdict: Option<Verdict>,
    /// The exit code that goes with it.
    pub exit_code: u8,
    /// Why, in a sentence.
    pub reason: String,
    /// The run's id in the journal.
    pub run: Option<String>,
    /// The run's own page.
    pub report: Option<String>,
    /// When it started, RFC 3339.
    pub started_at: Option<String>,
    /// How long it took, in seconds.
    pub took: Option<f64>,
    /// How often it was tried until it came out so.
    pub tries: u32,
}

/// What a run says about its hypothesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sense {
    /// It stood.
    Held,
    /// It fell.
    Broke,
    /// Nothing was learnt.
    Unknown,
}

impl From<Verdict> for Sense {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Held => Self::Held,
            Verdict::Aborted | Verdict::Deviated | Verdict::NotRecovered => Self::Broke,
            Verdict::NotHealed | Verdict::Error | Verdict::Interrupted | Verdict::NotSteady | Verdict::Inconclusive => {
                Self::Unknown
            }
        }
    }
}

impl CellEnd {
    /// What remains of a case that was tried so often.
    #[must_use]
    pub fn of(case: &Case, tries: u32) -> Self {
        let record = case.record();
        let report = match &case.ending {
            Ending::Ran { report, .. } => report.clone(),
            Ending::Prevented { .. } | Ending::NotRun => None,
        };
        Self {
            verdict: case.verdict(),
            exit_code: case.exit_code().unwrap_or(Verdict::Interrupted.exit_code()),
            reason: if case.is_held() { String::new() } else { case.reason() },
            run: record.map(|record| record.start.id.clone()),
            report,
            started_at: record.map(|record| record.start.started_at.clone()),
            took: case.took().map(|took| (took.as_secs_f64() * 1e3).round() / 1e3),
            tries,
        }
    }

    /// What it says about the hypothesis.
    #[must_use]
    pub fn sense(&self) -> Sense {
        self.verdict.map_or(Sense::Unknown, Sense::from)
    }

    /// The verdict's word, or what stood in the way.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match (self.verdict, self.exit_code) {
            (Some(verdict), _) => verdict.word(),
            (None, 2) => "usage",
            (None, 3) => "invalid",
            (None, 10) => "refused",
            (None, _) => Verdict::Error.word(),
        }
    }

    /// Whether another try may teach what this one did not: the machine was busy, and nothing was injected.
    #[must_use]
    pub fn is_worth_another_try(&self) -> bool {
        self.verdict == Some(Verdict::NotSteady)
    }

    /// Whether everything has to end now: somebody wants it to, or a fault may be left somewhere.
    #[must_use]
    pub fn ends_everything(&self) -> bool {
        matches!(self.verdict, Some(Verdict::Interrupted | Verdict::NotHealed))
            || self.exit_code == Verdict::NotHealed.exit_code()
    }

    /// Whether it can stand as an answer, so that it need not be run again.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        matches!(self.sense(), Sense::Held | Sense::Broke) || self.verdict == Some(Verdict::Inconclusive)
    }
}

/// For tests: how a run with this verdict came out.
#[cfg(test)]
pub(crate) fn ended(verdict: Verdict) -> CellEnd {
    CellEnd {
        verdict: Some(verdict),
        exit_code: verdict.exit_code(),
        reason: if verdict == Verdict::Held { String::new() } else { format!("it was {verdict}") },
        run: Some("0199-run".into()),
        report: None,
        started_at: Some("2026-01-01T00:00:00Z".into()),
        took: Some(21.5),
        tries: 1,
    }
}

#[cfg(test)]
mod tests {
    use super::{CellEnd, Sense, ended};
    use crate::{
        report::case::{Case, Ending},
        verdict::Verdict,
    };

    #[test]
    fn only_a_judgement_under_faults_says_something_about_the_hypothesis() {
        let broke: Vec<_> = Verdict::ALL.into_iter().filter(|verdict| Sense::from(*verdict) == Sense::Broke).collect();
        assert_eq!(broke, [Verdict::Aborted, Verdict::Deviated, Verdict::NotRecovered]);
        let answers: Vec<_> = Verdict::ALL.into_iter().filter(|verdict| ended(*verdict).is_answer()).collect();
        assert_eq!(
            answers,
            [Verdict::Aborted, Verdict::Deviated, Verdict::NotRecovered, Verdict::Inconclusive, Verdict::Held]
        );
    }

    #[test]
    fn what_was_prevented_has_a_word_and_is_no_answer() {
        let ending = Ending::Prevented { exit_code: 10, message: "leased".into(), mistakes: vec![] };
        let end = CellEnd::of(&Case { file: "a.yaml".into(), ending }, 2);
        assert_eq!((end.word(), end.sense(), end.tries), ("refused", Sense::Unknown, 2));
        assert!(!end.is_answer() && !end.ends_everything());
    }
}
