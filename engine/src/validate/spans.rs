//! What rows say about time and groups besides their tolerances: `for`, burn rates, the control group.
//!
//! Neighbours: `rows` calls these. Invariant: a check of a burn rate has its objective and windows, and a row that compares
//! with the control group is of a probe that has one, at a time at which there is one.

use super::{Check, LONGEST, rows::SHORTEST};
use crate::{
    document::{ProbeDoc, Text},
    experiment::{Burn, Check as Judged, Recovery, When},
    sample::Metric,
    tolerance,
    yaml::Spot,
};
use squall_wire::Span;
use std::time::Duration;

impl Check<'_, '_, '_> {
    /// Gives the burn rate among the checks its objective and windows; without them it is taken out.
    pub(super) fn burn(
        &mut self,
        checks: &mut Vec<Judged>,
        (objective, windows): (Option<&Text>, Option<&[Span]>),
        spot: Spot<'_>,
    ) {
        let own = ["objective", "windows"];
        if !spot.node().had("burn_rate") {
            if let Some(key) = own.into_iter().find(|key| spot.node().had(key)) {
                let told = self.report.error(spot.key(key).key_mark(), format!("`{key}` belongs to a `burn_rate`"));
                told.help("write `burn_rate: \"< 14.4\"` as well");
            }
            return;
        }
        let objective = match objective {
            None => {
                self.missing(spot, "objective", "say what share shall succeed: `objective: 99.9%`");
                None
            }
            Some(text) => self.objective(text, spot.key("objective")),
        };
        let windows = match windows {
            None => {
                self.missing(spot, "windows", "give a long window and a short one: `windows: [30s, 5s]`");
                None
            }
            Some(windows) => self.windows(windows, spot.key("windows")),
        };
        let burn = objective.zip(windows).map(|(objective, (long, short))| Burn { objective, long, short });
        for check in checks.iter_mut().filter(|check| check.metric == Metric::BurnRate) {
            check.burn = burn;
        }
        checks.retain(|check| check.metric != Metric::BurnRate || check.burn.is_some());
    }

    fn objective(&mut self, text: &Text, spot: Spot<'_>) -> Option<f64> {
        let wrong = match tolerance::share(text.as_str()) {
            Ok(share) if share >= 1.0 => {
                "an objective of 100 % allows no error at all, so that nothing can burn".to_owned()
            }
            Ok(share) if share <= 0.0 => "an objective of 0 % allows everything".to_owned(),
            Ok(share) => return Some(share),
            Err(message) => message,
        };
        self.report.error(spot.mark(), wrong).expected("a share above 0 % and below 100 %, such as `99.9%`");
        None
    }

    fn windows(&mut self, windows: &[Span], spot: Spot<'_>) -> Option<(Duration, Duration)> {
        let [long, short] = windows else {
            if !spot.node().has_lost() {
                let told = self.report.error(spot.mark(), format!("two windows are needed, not {}", windows.len()));
                told.expected("the long one, then the short one: `[30s, 5s]`");
            }
            return None;
        };
        let range = SHORTEST..=LONGEST;
        for (index, window) in windows.iter().enumerate() {
            self.duration(spot.item(index), "windows", Some(window.get()), &range);
        }
        if long.get() <= short.get() {
            let message = format!("the long window comes first, and {long} is not longer than {short}");
            let help =
                if long == short { "give two that differ".to_owned() } else { format!("write `[{short}, {long}]`") };
            self.report.error(spot.mark(), message).help(help);
            return None;
        }
        Some((long.get(), short.get()))
    }

    /// How long a row of the steady state must be out of tolerance.
    pub(super) fn lasting(&mut self, lasting: Option<Span>, checks: &[Judged], spot: Spot<'_>) -> Option<Duration> {
        let at = spot.key("for");
        let lasting = self.duration(at, "for", lasting.map(Span::get), &(SHORTEST..=LONGEST))?;
        if checks.iter().any(|check| check.metric == Metric::BurnRate) {
            let told = self.report.error(at.key_mark(), "a `burn_rate` has windows of its own, and takes no `for`");
            told.help("leave `for` out, or write the burn rate as a row of its own");
        } else if checks.iter().any(|check| check.tolerance.control().is_some()) {
            let message = "the control group is compared over all of the faults at once, and takes no `for`";
            self.report
                .error(at.key_mark(), message)
                .help("leave `for` out, or write the comparison as a row of its own");
        }
        Some(lasting)
    }

    /// A window that is shorter than `for` could never show whether the row holds.
    pub(super) fn lasting_fits(&mut self, baseline: Duration, recovery: Recovery) {
        let list = self.root.key("steady_state");
        for (index, row) in self.doc.steady_state.iter().flatten().enumerate() {
            let Some(lasting) = row.lasting.map(Span::get) else { continue };
            let applies = |when| row.when.as_ref().is_none_or(|given| given.contains(&when));
            let windows = [(When::Before, baseline, "baseline"), (When::After, recovery.hold, "recovery.hold")];
            for (_, length, key) in windows.into_iter().filter(|(when, length, _)| applies(*when) && lasting > *length)
            {
                let message = format!("`for` is longer than `{key}`, which is {}", Span::from(length));
                let told = self.report.error(list.item(index).key("for").mark(), message);
                told.help(format!("make `for` shorter, `{key}` longer, or say `when: [during]`"));
            }
        }
    }

    /// What compares with the control group must be of a probe that has one.
    pub(super) fn control(&mut self, checks: &[Judged], probe: Option<&str>, spot: Spot<'_>) {
        for check in checks.iter().filter(|check| check.tolerance.control().is_some()) {
            let mark = spot.key(check.metric.word()).mark();
            if check.tolerance.needs_baseline() {
                let message = "a tolerance compares with the control group or with the baseline, not with both";
                self.report.error(mark, message).help("write two rows");
            }
            let Some(name) = probe else { continue };
            let doc = self.doc.probes.as_ref().and_then(|probes| probes.get(name));
            match doc {
                Some(ProbeDoc { agent: Some(agent), .. }) if agent.group.is_some() => {
                    let at = self.root.key("probes").key(name).key("agent").key("group");
                    let message = format!("`{name}` reads one group only, and has nothing to compare it with");
                    self.report.error(mark, message).related(at.key_mark(), "leave `group` out here");
                }
                Some(ProbeDoc { agent: Some(_), .. }) => {}
                // A series that there is not has been told.
                None if name != "traffic" && !name.starts_with("traffic.") => {}
                _ => {
                    let told = self.report.error(mark, format!("`{name}` has no control group"));
                    told.help("compare an `agent` probe: it knows whom a fault hit, and whom it spared");
                }
            }
        }
    }

    /// Only during the faults is anybody hit.
    pub(super) fn control_applies(&mut self, checks: &[Judged], when: &[When], spot: Spot<'_>) {
        let compares = checks.iter().any(|check| check.tolerance.control().is_some());
        if compares && !when.is_empty() && !when.contains(&When::During) {
            let told = self.report.error(spot.key("when").mark(), "only during the faults is anybody hit");
            told.help("add `during`, or leave `when` out");
        }
    }

    /// An abort looks at seconds, in which nothing can be compared soundly.
    pub(super) fn refuse_control(&mut self, checks: &[Judged], spot: Spot<'_>) {
        for check in checks.iter().filter(|check| check.tolerance.control().is_some()) {
            let mark = spot.key(check.metric.word()).mark();
            let told =
                self.report.error(mark, "the control group is compared over all of the faults, and cannot abort");
            told.help("give a fixed limit here, and compare in `steady_state`");
        }
    }
}
