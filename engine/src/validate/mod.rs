//! What the keys mean together: a document becomes an `Experiment`, or all that is wrong with it is told.
//!
//! Every check goes on after a mistake, and says nothing about what was wrong in itself and is already told. Places are
//! found by the path of keys in the tree that the document was read from.
//! Neighbours: `document` is what was written, `Experiment` what runners take.
//! Invariant: what comes out is valid: every name refers to something, every limit is kept.

mod forms;
mod method;
mod probes;
mod radius;
mod ramp;
mod rows;
mod spans;
mod steps;
mod stores;
mod surge;
mod traffic;
mod windows;

pub(crate) use forms::url as check_url;
pub(crate) use windows::windows;

use crate::{
    diagnostic::Reporter,
    document::Document,
    experiment::{Experiment, ProbeKind, ProbePlan, Recovery, Source},
    variables::Outcome,
    yaml::{Node, Spot},
};
use squall_wire::Span;
use std::{collections::BTreeMap, ops::RangeInclusive, path::Path, time::Duration};

const DEFAULT_BASELINE: Duration = Duration::from_secs(10);
const DEFAULT_RECOVERY: Recovery = Recovery { within: Duration::from_secs(10), hold: Duration::from_secs(3) };
const DEFAULT_LEASE: Duration = Duration::from_secs(10);
/// A day: longer than anybody watches an experiment.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A document under validation: its parts, where they stand, and who is told.
struct Check<'a, 'r, 't> {
    doc: &'a Document,
    root: Spot<'a>,
    /// Where the file is, which commands run in.
    directory: &'a Path,
    /// References to what steps put out, by the number that stands in the texts.
    outputs: &'a [crate::variables::OutputReference],
    report: &'r mut Reporter<'t>,
}

/// The experiment that a document means; `None` when anything in it is wrong, which is reported.
pub(crate) fn validate(
    doc: &Document,
    tree: &Node,
    resolved: Outcome,
    source: Source,
    directory: &Path,
    report: &mut Reporter<'_>,
) -> Option<Experiment> {
    let mut check = Check { doc, root: Spot::root(tree), directory, outputs: &resolved.outputs, report };
    check.head();
    let traffic = check.traffic();
    let mut probes = check.probes();
    let steady_state = check.steady_state();
    let abort_when = check.abort_when();
    let mut before = method::Before::default();
    let setup = check.setup(&mut before);
    let method = check.method(&mut before);
    let blast_radius = check.blast_radius(&method);
    let baseline = check.within("baseline", doc.baseline, DEFAULT_BASELINE, Duration::from_secs(1)..=LONGEST);
    let lease = check.within("lease", doc.lease, DEFAULT_LEASE, Duration::from_secs(2)..=Duration::from_secs(5 * 60));
    let recovery = check.recovery();
    check.lasting_fits(baseline, recovery);
    for row in steady_state.iter().filter(|row| row.checks.iter().any(|check| check.tolerance.control().is_some())) {
        if let Some(ProbePlan { kind: ProbeKind::Agent { control, .. }, .. }) = probes.get_mut(&row.probe) {
            *control = true;
        }
    }
    let windows = windows(doc.windows.as_deref(), check.root.key("windows"), "the experiment", check.report);
    if !check.report.is_clean() {
        return None;
    }
    Some(Experiment {
        name: doc.name.clone()?,
        hypothesis: doc.hypothesis.as_deref()?.trim().to_owned(),
        owner: doc.owner.clone(),
        tags: doc.tags.clone().unwrap_or_default(),
        source,
        variables: resolved.variables,
        secrets: resolved.secrets,
        traffic,
        probes,
        steady_state,
        setup,
        method,
        blast_radius: blast_radius?,
        abort_when,
        baseline,
        recovery,
        lease,
        windows: windows.into_iter().collect(),
    })
}

impl Check<'_, '_, '_> {
    /// Reports a key that must be there and was not even written, or misspelt.
    fn missing(&mut self, at: Spot<'_>, key: &str, help: &str) {
        let told = at.node().had(key) && at.node().get(key).is_none();
        if !told && !at.node().had_nearly(&[key]) {
            self.report.error(at.key_mark(), format!("`{key}` is missing here")).help(help);
        }
    }

    fn head(&mut self) {
        let root = self.root;
        match self.doc.version {
            Some(1) => {}
            None => self.missing(root, "version", "write `version: 1`"),
            Some(other) => {
                let told = self.report.error(root.key("version").mark(), format!("version {other} is not known here"));
                told.help("write `version: 1`, or use a newer squall");
            }
        }
        match &self.doc.name {
            Some(name) if forms::is_word(name) => {}
            None => self.missing(root, "name", "write a word such as `name: payment-slow`"),
            Some(name) => {
                let mark = root.key("name").mark();
                let told = self.report.error(mark, format!("`{name}` cannot name an experiment"));
                told.expected("1 to 64 small letters, digits and `-`, such as `payment-slow`");
            }
        }
        match self.doc.hypothesis.as_deref().map(str::trim) {
            Some(text) if !text.is_empty() => {}
            Some(_) => {
                self.report.error(root.key("hypothesis").mark(), "the hypothesis is empty");
            }
            None => self.missing(root, "hypothesis", "say what is believed: `hypothesis: customers still buy`"),
        }
        let mut seen = BTreeMap::new();
        for (index, tag) in self.doc.tags.iter().flatten().enumerate() {
            let mark = root.key("tags").item(index).mark();
            if let Some(first) = seen.insert(tag, mark) {
                self.report.error(mark, format!("the tag `{tag}` is given twice")).related(first, "first given here");
            }
        }
    }

    fn recovery(&mut self) -> Recovery {
        let given = self.doc.recovery.clone().unwrap_or_default();
        let shortest = Duration::from_millis(500);
        let within = self.within("recovery.within", given.within, DEFAULT_RECOVERY.within, shortest..=LONGEST);
        let default_hold = DEFAULT_RECOVERY.hold.min(within);
        let hold = self.within("recovery.hold", given.hold, default_hold, shortest..=LONGEST);
        if hold > within {
            let mark = self.root.path("recovery.hold").mark();
            let message = format!("it cannot hold for {} within {}", Span::from(hold), Span::from(within));
            self.report.error(mark, message).help("make `hold` at most `within`");
        }
        Recovery { within, hold }
    }

    /// A length of time at this path, or its default; outside the range it is reported.
    fn within(
        &mut self,
        path: &str,
        given: Option<Span>,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        self.duration(self.root.path(path), path.rsplit('.').next().unwrap_or(path), given.map(Span::get), &range)
            .unwrap_or(default)
    }

    fn duration(
        &mut self,
        at: Spot<'_>,
        key: &str,
        given: Option<Duration>,
        range: &RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let given = given?;
        if !range.contains(&given) {
            let (low, high) = (Span::from(*range.start()), Span::from(*range.end()));
            let told = self.report.error(at.mark(), format!("`{key}` cannot be {}", Span::from(given)));
            told.expected(format!("from {low} to {high}"));
        }
        Some(given)
    }
}
