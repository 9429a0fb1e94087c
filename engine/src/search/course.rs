//! The course of a search for a limit: every try with what was measured in it, and what it all amounts to. Pure.
//!
//! Neighbours: `limit` says what to try next and what the answer is, `squall limit` makes the tries, `report::limit` draws
//! the curve. Invariant: tries are in the order in which they were made.

use super::{
    cell::{CellEnd, Sense},
    limit::{Answer, Bad, Question, Try},
};
use crate::{
    experiment::When,
    record::{Outcome, RowResult},
    sample::{Metric, MetricKind},
};
use serde::Serialize;

/// A value that was tried.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tried {
    /// Which, in the base of the unit.
    pub value: f64,
    /// As it is written in a file.
    pub shown: String,
    /// What came of it.
    pub end: CellEnd,
    /// The steady state during the fault.
    pub during: Vec<RowResult>,
}

/// A search, as far as it has come.
#[derive(Debug, Clone, Serialize)]
pub struct Course {
    /// 1.
    pub format: u32,
    /// The experiment's name.
    pub experiment: String,
    /// Its hypothesis.
    pub hypothesis: String,
    /// Where.
    pub environment: String,
    /// The variable that is varied.
    pub variable: String,
    /// What is asked.
    #[serde(skip)]
    pub question: Question,
    /// Every try.
    pub tries: Vec<Tried>,
}

/// A column of the curve: one metric of one probe.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Column {
    /// The probe.
    pub probe: String,
    /// The metric.
    pub metric: Metric,
}

impl Course {
    /// A search that has tried nothing yet.
    #[must_use]
    pub fn new((experiment, hypothesis, environment): (&str, &str, &str), variable: &str, question: Question) -> Self {
        let (experiment, hypothesis, environment) = (experiment.into(), hypothesis.trim().into(), environment.into());
        Self { format: 1, experiment, hypothesis, environment, variable: variable.into(), question, tries: Vec::new() }
    }

    /// The next value; none when the question is answered, or a try taught nothing.
    #[must_use]
    pub fn next(&self) -> Option<f64> {
        let stopped = self.stopped().is_some();
        if stopped { None } else { self.question.next(&self.senses()) }
    }

    fn senses(&self) -> Vec<Try> {
        self.tries.iter().map(|tried| Try { value: tried.value, sense: tried.end.sense() }).collect()
    }

    /// Writes a try down.
    pub fn put(&mut self, value: f64, end: CellEnd, rows: &[RowResult]) {
        let shown = self.question.scale.shown(value);
        let during = rows.iter().filter(|row| row.when == When::During).cloned().collect();
        self.tries.push(Tried { value, shown, end, during });
    }

    /// The try that taught nothing, after which it was no use to go on.
    #[must_use]
    pub fn stopped(&self) -> Option<&Tried> {
        self.tries.last().filter(|tried| tried.end.sense() == Sense::Unknown)
    }

    /// What the tries amount to.
    #[must_use]
    pub fn answer(&self) -> Answer {
        self.question.answer(&self.senses())
    }

    /// A value with its variable, as `--set` takes it.
    #[must_use]
    pub fn setting(&self, value: f64) -> String {
        format!("{}={}", self.variable, self.question.scale.shown(value))
    }

    /// The answer in a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        if let Some(Tried { shown, end, .. }) = self.stopped() {
            let reason = if end.reason.is_empty() { String::new() } else { format!(": {}", end.reason) };
            return format!("stopped at {}={shown}, which was {}{reason}", self.variable, end.word());
        }
        let Answer { bad, last_safe, first_broken, .. } = self.answer();
        let edge = if bad == Bad::Large { ("up to", "from") } else { ("down to", "from") };
        match (last_safe, first_broken) {
            (Some(safe), Some(broken)) => {
                format!("holds {} {}, and breaks {} {}", edge.0, self.setting(safe), edge.1, self.setting(broken))
            }
            (Some(_), None) => {
                let scale = self.question.scale;
                format!("holds over the whole range, from {} to {}", self.setting(scale.low), scale.shown(scale.high))
            }
            (None, Some(_)) => {
                let scale = self.question.scale;
                format!("holds neither at {} nor at {}", self.setting(scale.low), scale.shown(scale.high))
            }
            (None, None) => "nothing was tried".to_owned(),
        }
    }

    /// 0: a limit was found, or all of the range holds. 1: none of it does. Else the code of what stopped it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match (self.stopped(), self.answer().last_safe) {
            (Some(tried), _) => tried.end.exit_code,
            (None, Some(_)) => 0,
            (None, None) => 1,
        }
    }

    /// The tries by their value.
    #[must_use]
    pub fn by_value(&self) -> Vec<&Tried> {
        let mut tries: Vec<&Tried> = self.tries.iter().collect();
        tries.sort_by(|one, other| one.value.total_cmp(&other.value));
        tries
    }

    /// The metrics of the steady state that are numbers: first those that broke in some try, then as in the file.
    #[must_use]
    pub fn columns(&self) -> Vec<Column> {
        let mut columns: Vec<(bool, Column)> = Vec::new();
        for row in self.tries.iter().flat_map(|tried| &tried.during) {
            if row.metric.kind() == MetricKind::EachText {
                continue;
            }
            let broke = row.outcome == Outcome::Broken;
            match columns.iter_mut().find(|(_, known)| known.probe == row.probe && known.metric == row.metric) {
                Some((known, _)) => *known |= broke,
                None => columns.push((broke, Column { probe: row.probe.clone(), metric: row.metric })),
            }
        }
        columns.sort_by_key(|(broke, _)| !broke);
        columns.into_iter().map(|(_, column)| column).collect()
    }
}

impl Tried {
    /// What was measured of a column.
    #[must_use]
    pub fn row(&self, column: &Column) -> Option<&RowResult> {
        self.during.iter().find(|row| row.probe == column.probe && row.metric == column.metric)
    }
}

/// For tests: a search for the delay at which a p99 of twice the delay goes over two seconds.
#[cfg(test)]
pub(crate) fn example() -> Course {
    use crate::{search::cell::ended, search::scale::Vary, verdict::Verdict};
    let scale = "delay=50ms..5s".parse::<Vary>().unwrap().scale;
    let question = Question { scale, steps: 4, precision: 0.05, scan: 0, confirm: true };
    let mut course = Course::new(("slow", "Orders succeed.\n", "sandbox"), "delay", question);
    while let Some(value) = course.next() {
        let p99 = value / 1e9 * 2.0;
        let row = |metric: Metric, measured: f64, tolerance: &str, held: bool, limit: f64| RowResult {
            probe: "traffic.checkout".into(),
            metric,
            tolerance: tolerance.into(),
            when: When::During,
            measured: Some(measured),
            shown: metric.shown(measured),
            baseline: Some(0.02),
            samples: 200,
            outcome: if held { Outcome::Held } else { Outcome::Broken },
            limits: vec![limit],
            control: None,
            burn: None,
        };
        let rows =
            [row(Metric::SuccessRatio, 1.0, ">= 99%", true, 0.99), row(Metric::P99, p99, "< 2s", p99 < 2.0, 2.0)];
        course.put(value, ended(if p99 < 2.0 { Verdict::Held } else { Verdict::Deviated }), &rows);
    }
    course
}

#[cfg(test)]
mod tests {
    use super::{Course, example};
    use crate::{search::cell::ended, verdict::Verdict};

    #[test]
    fn the_answer_is_a_sentence_that_can_be_typed() {
        let course = example();
        assert_eq!(course.sentence(), "holds up to delay=890ms, and breaks from delay=1.2s");
        assert_eq!(course.exit_code(), 0);
        let columns: Vec<_> = course.columns().iter().map(|column| column.metric.word()).collect();
        assert_eq!(columns, ["p99", "success_ratio"], "what broke comes first");
    }

    #[test]
    fn a_try_that_taught_nothing_ends_the_search_and_says_so() {
        let mut course = Course { tries: vec![], ..example() };
        course.put(course.next().unwrap(), ended(Verdict::Held), &[]);
        course.put(course.next().unwrap(), ended(Verdict::NotHealed), &[]);
        assert_eq!(course.next(), None);
        assert_eq!(
            (course.exit_code(), course.sentence().as_str()),
            (8, "stopped at delay=5s, which was not_healed: it was not_healed")
        );
    }

    #[test]
    fn where_no_edge_holds_the_code_is_that_of_a_deviation() {
        let mut course = Course { tries: vec![], ..example() };
        while let Some(value) = course.next() {
            course.put(value, ended(Verdict::Aborted), &[]);
        }
        assert_eq!((course.exit_code(), course.sentence().as_str()), (1, "holds neither at delay=50ms nor at 5s"));
    }
}
