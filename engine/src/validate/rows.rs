//! Rows: what must hold, and when to stop. Each names a series that there is, and metrics that it has.

use super::{Check, LONGEST};
use crate::{
    document::{ProbeDoc, Text},
    experiment::{AbortRow, Check as Judged, SteadyRow, When},
    sample::{Metric, MetricKind},
    tolerance::Tolerance,
    yaml::Spot,
};
use squall_wire::Span;
use std::time::Duration;

pub(super) const SHORTEST: Duration = Duration::from_millis(100);

impl Check<'_, '_, '_> {
    pub(super) fn steady_state(&mut self) -> Vec<SteadyRow> {
        let list = self.root.key("steady_state");
        let Some(rows) = &self.doc.steady_state else {
            self.missing(
                self.root,
                "steady_state",
                "say what must hold: `steady_state: [{probe: traffic, success_ratio: \">= 99%\"}]`",
            );
            return Vec::new();
        };
        if rows.is_empty() && !list.node().has_lost() {
            self.report.error(list.mark(), "the steady state is empty: nothing would be judged");
        }
        let mut found = Vec::new();
        for (index, row) in rows.iter().enumerate() {
            let spot = list.item(index);
            let probe = self.series(row.probe.as_deref(), spot);
            let when = self.when(row.when.as_deref(), spot);
            let mut checks = self.checks(row.probe.as_deref(), &row.tolerances(), spot);
            self.burn(&mut checks, (row.objective.as_ref(), row.windows.as_deref()), spot);
            self.control(&checks, row.probe.as_deref(), spot);
            let lasting = self.lasting(row.lasting, &checks, spot);
            if when == [When::Before] {
                self.refuse_baseline(&checks, spot);
            }
            if row.min_samples == Some(0) {
                self.report
                    .error(spot.key("min_samples").mark(), "`0` samples are no conclusion")
                    .expected("1 or more");
            }
            let min_samples = row.min_samples.map(|least| usize::try_from(least).unwrap_or(usize::MAX));
            self.control_applies(&checks, &when, spot);
            found.extend(probe.map(|probe| SteadyRow { probe, checks, when, min_samples, lasting }));
        }
        found
    }

    pub(super) fn abort_when(&mut self) -> Vec<AbortRow> {
        let list = self.root.key("abort_when");
        let mut found = Vec::new();
        for (index, row) in self.doc.abort_when.iter().flatten().enumerate() {
            let spot = list.item(index);
            if spot.node().had("probe_silent") {
                let silent = row.probe_silent.map(Span::get);
                let silent = self.duration(spot.key("probe_silent"), "probe_silent", silent, &(SHORTEST..=LONGEST));
                if let Some(other) = spot.node().written_keys().into_iter().find(|key| *key != "probe_silent") {
                    let told = self.report.error(spot.key(other).key_mark(), "`probe_silent` stands alone in its row");
                    told.help("write the rest as a row of its own");
                }
                found.extend(silent.map(AbortRow::Silent));
                continue;
            }
            let probe = self.series(row.probe.as_deref(), spot);
            let mut checks = self.checks(row.probe.as_deref(), &row.tolerances(), spot);
            self.burn(&mut checks, (row.objective.as_ref(), row.windows.as_deref()), spot);
            self.refuse_control(&checks, spot);
            let written = row.tolerances();
            let only_burns = !written.is_empty() && written.iter().all(|(metric, _)| *metric == Metric::BurnRate);
            if only_burns && !spot.node().had("for") {
                found.extend(probe.map(|probe| AbortRow::Breach { probe, checks, lasting: Duration::ZERO }));
                continue;
            }
            let Some(lasting) = row.lasting else {
                self.missing(spot, "for", "say how long it must last: `for: 2s`");
                continue;
            };
            let lasting = self.duration(spot.key("for"), "for", Some(lasting.get()), &(SHORTEST..=LONGEST));
            if let (Some(probe), Some(lasting)) = (probe, lasting) {
                found.push(AbortRow::Breach { probe, checks, lasting });
            }
        }
        found
    }

    /// The series that a row names, if there is one.
    fn series(&mut self, name: Option<&str>, spot: Spot<'_>) -> Option<String> {
        let Some(name) = name else {
            self.missing(spot, "probe", "name a series: a probe, `traffic` or `traffic.REQUEST`");
            return None;
        };
        let root = self.root;
        if (name == "traffic" || name.starts_with("traffic.")) && !root.node().had("traffic") {
            let told = self
                .report
                .error(spot.key("probe").mark(), format!("`{name}` is measured of the load, and there is none"));
            told.help("write a `traffic:` section");
            return None;
        }
        let requests = root.path("traffic.requests").node();
        let names_are_lost = root.node().get("traffic").is_none_or(|traffic| traffic.has_lost())
            || requests.has_lost()
            || requests.items().iter().any(|request| request.get("name").is_none());
        let known = self.known_series();
        if known.iter().any(|series| series == name) || (name.starts_with("traffic.") && names_are_lost) {
            return Some(name.to_owned());
        }
        // A `probes` section that is wrong as a whole has been told, and what it would have named is not known.
        if root.node().had("probes") && root.node().get("probes").is_none() {
            return None;
        }
        let told = self.report.error(spot.key("probe").mark(), format!("there is no series `{name}`"));
        told.nearest(name, known.iter().map(String::as_str));
        None
    }

    fn known_series(&self) -> Vec<String> {
        let root = self.root.node();
        let probes = root.get("probes").map_or_else(Vec::new, |probes| probes.written_keys());
        let mut known: Vec<String> = probes.into_iter().map(str::to_owned).collect();
        if root.had("traffic") {
            known.push("traffic".to_owned());
            let requests = self.doc.traffic.iter().flat_map(|traffic| traffic.requests.iter().flatten());
            known.extend(requests.filter_map(|request| Some(format!("traffic.{}", request.name.as_deref()?))));
        }
        known
    }

    fn when(&mut self, when: Option<&[When]>, spot: Spot<'_>) -> Vec<When> {
        let Some(when) = when else { return vec![When::Before, When::During, When::After] };
        if when.is_empty() && !spot.key("when").node().has_lost() {
            self.report
                .error(spot.key("when").mark(), "a row that never applies judges nothing")
                .expected("some of `before`, `during` and `after`, or leave it out for all");
        }
        let mut when = when.to_vec();
        when.sort_unstable();
        when.dedup();
        when
    }

    /// The tolerances of a row, parsed against the metrics of its series.
    fn checks(&mut self, probe: Option<&str>, written: &[(Metric, &Text)], spot: Spot<'_>) -> Vec<Judged> {
        let words = Metric::ALL.map(Metric::word);
        if !words.iter().any(|word| spot.node().had(word)) && !spot.node().had_nearly(&words) {
            let told = self.report.error(spot.key_mark(), "the row judges nothing: a metric is missing here");
            told.expected("a metric and its tolerance, such as `success_ratio: \">= 99%\"`");
        }
        let mut checks = Vec::new();
        for (metric, text) in written.iter().copied() {
            let at = spot.key(metric.word());
            if let Some(probe) = probe
                && let Some((what, measured)) = self.measured_of(probe)
                && !measured.contains(&metric)
            {
                let words: Vec<&str> = measured.iter().map(|metric| metric.word()).collect();
                let told = self.report.error(at.key_mark(), format!("`{metric}` cannot be measured of {what}"));
                told.expected(crate::diagnostic::one_of(&words));
            }
            match Tolerance::parse(text.as_str(), metric) {
                Ok(tolerance) => checks.push(Judged::new(metric, tolerance)),
                Err(error) => {
                    let mark = self.inside(at, text.as_str(), error.offset);
                    self.report.error(mark, error.message);
                }
            }
        }
        checks
    }

    /// What a series is, and which metrics it has; `None` where the series is not known.
    fn measured_of(&self, series: &str) -> Option<(String, Vec<Metric>)> {
        let shared = |metric: &Metric| {
            matches!(metric.kind(), MetricKind::Ratio | MetricKind::Time | MetricKind::Multiple)
                && *metric != Metric::AcceptedP99
        };
        let with = |more: &[Metric]| Metric::ALL.into_iter().filter(|m| shared(m) || more.contains(m)).collect();
        if series == "traffic" || series.starts_with("traffic.") {
            let own = [Metric::Rate, Metric::Goodput, Metric::AcceptedP99, Metric::Status];
            return Some(("traffic".into(), with(&own)));
        }
        let probe = self.doc.probes.as_ref()?.get(series)?;
        Some(match probe {
            ProbeDoc { http: Some(http), .. } if http.body.is_some() => {
                ("an `http` probe".into(), with(&[Metric::Status, Metric::Value, Metric::Body]))
            }
            ProbeDoc { http: Some(_), .. } => ("an `http` probe without a `body` path".into(), with(&[Metric::Status])),
            ProbeDoc { tcp: Some(_), .. } => ("a `tcp` probe".into(), with(&[])),
            ProbeDoc { command: Some(_), .. } => ("a `command` probe".into(), with(&[Metric::Value])),
            ProbeDoc { metrics: Some(_), .. } => ("a `metrics` probe".into(), with(&[Metric::Value])),
            ProbeDoc { promql: Some(_), .. } => ("a `promql` probe".into(), with(&[Metric::Value])),
            ProbeDoc { sql: Some(_), .. } => ("an `sql` probe".into(), with(&[Metric::Value, Metric::Body])),
            ProbeDoc { agent: Some(_), .. } => ("an `agent` probe".into(), with(&[Metric::Value])),
            _ => return None,
        })
    }

    /// Before the first fault is the baseline: comparing it with itself says nothing.
    fn refuse_baseline(&mut self, checks: &[Judged], spot: Spot<'_>) {
        for check in checks.iter().filter(|check| check.tolerance.needs_baseline()) {
            let mark = spot.key(check.metric.word()).mark();
            let told =
                self.report.error(mark, "a row for `before` only cannot compare with the baseline: it is the baseline");
            told.help("give a fixed limit, or add `during` or `after` to `when`");
        }
    }
}
