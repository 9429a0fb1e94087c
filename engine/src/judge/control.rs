//! Those that a fault hit, against those that it spared at the same time on the same proxy: `no worse than control`.
//!
//! | metric | the test | worse is |
//! | --- | --- | --- |
//! | `p50` | Mann-Whitney, of all times | longer than the control's times made longer by the margin |
//! | `p90` … `p999` | exceedance, of the control's quantile | above it, made longer by the margin, oftener |
//! | `error_ratio`, `success_ratio` | Fisher | failing oftener, and by more than the margin |
//!
//! Pure. Neighbours: `groups` has the figures, `significance` the tests; `super` asks for all rows at once, because what one
//! comparison must reach depends on how many there are (Holm).
//! Invariant: too few of either group is `NoControl`, whatever they show.

use super::MIN_SAMPLES;
use crate::{
    experiment::Check,
    groups::Group,
    record::ControlRecord,
    sample::{Metric, MetricKind},
    significance::{Values, exceedance, fisher, holm, mann_whitney},
    tolerance::{Judgement, Margin},
};

/// The chance that an experiment whose hit are no worse raises any alarm at all by its comparisons.
pub const SIGNIFICANCE: f64 = 0.05;

/// One comparison, before the others are known.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Compared {
    pub(super) record: ControlRecord,
    /// How many are needed in each group.
    needed: u64,
    /// Whether the difference is more than the margin.
    beyond: bool,
}

/// Compares by this check's metric. None: it does not ask for it.
pub(super) fn compare(check: &Check, hit: &Group, spared: &Group, min_samples: Option<usize>) -> Option<Compared> {
    let margin = check.tolerance.control()?;
    let needed = needed(check.metric, min_samples);
    Some(match check.metric.kind() {
        MetricKind::Time => times(check.metric, &hit.seconds(), &spared.seconds(), margin, needed),
        _ => ratios(check.metric, hit, spared, margin, needed),
    })
}

/// Corrects each for the number of them.
pub(super) fn correct(all: &mut [Compared]) {
    let p_values: Vec<f64> = all.iter().filter_map(|compared| compared.record.p_value).collect();
    let mut corrected = holm(&p_values).into_iter();
    for compared in all {
        compared.record.p_adjusted = compared.record.p_value.and_then(|_| corrected.next());
    }
}

impl Compared {
    pub(super) fn judgement(&self) -> Judgement {
        match self.record.p_adjusted {
            None => Judgement::NoControl,
            Some(p) if self.beyond && p <= SIGNIFICANCE => Judgement::Unmet,
            Some(_) => Judgement::Met,
        }
    }

    pub(super) fn samples(&self) -> usize {
        usize::try_from(self.record.hit_samples + self.record.spared_samples).unwrap_or(usize::MAX)
    }

    /// `131 ms, control 30.2 ms: +334 %, p < 0.0001 (120 hit, 280 spared)`.
    pub(super) fn shown(&self, metric: Metric) -> String {
        let ControlRecord { hit, spared, hit_samples, spared_samples, p_value, p_adjusted, .. } = &self.record;
        let counts = format!("{hit_samples} hit, {spared_samples} spared");
        let (Some(hit), Some(spared)) = (hit, spared) else { return format!("nothing to compare ({counts})") };
        let values = format!("{}, control {}", metric.shown(*hit), metric.shown(*spared));
        let Some((p, adjusted)) = p_value.zip(*p_adjusted) else {
            return format!("{values} ({counts}: too few, {} of each are needed)", self.needed);
        };
        let (p, adjusted) = (chance(p), chance(adjusted));
        let corrected = if adjusted == p { String::new() } else { format!(", corrected {adjusted}") };
        format!("{values}: {}, p {p}{corrected} ({counts})", effect(metric, *hit, *spared))
    }
}

fn effect(metric: Metric, hit: f64, spared: f64) -> String {
    match metric.kind() {
        MetricKind::Time if spared > 0.0 => format!("{:+.0} %", (hit / spared - 1.0) * 100.0),
        MetricKind::Time => "no share of nothing".to_owned(),
        _ => format!("{:+.2} points", (hit - spared) * 100.0),
    }
}

fn chance(p: f64) -> String {
    if p < 0.0001 { "< 0.0001".to_owned() } else { format!("{p:.4}") }
}

/// So many that the quantile is one of them, and never under the usual number; a row's own word goes before.
fn needed(metric: Metric, min_samples: Option<usize>) -> u64 {
    let usual = match metric {
        Metric::P99 => 100,
        Metric::P999 => 1000,
        _ => MIN_SAMPLES,
    };
    min_samples.unwrap_or(usual).max(1) as u64
}

fn times(metric: Metric, hit: &Values, spared: &Values, margin: Margin, needed: u64) -> Compared {
    let share = match metric {
        Metric::P90 => 0.9,
        Metric::P95 => 0.95,
        Metric::P99 => 0.99,
        Metric::P999 => 0.999,
        _ => 0.5,
    };
    let allowed = |seconds: f64| match margin {
        Margin::Usual => seconds + (seconds * Margin::TIME_SHARE).max(Margin::TIME_LEAST),
        Margin::Share(share) => seconds * (1.0 + share),
        Margin::Seconds(more) => seconds + more,
    };
    let measured = (hit.quantile(share), spared.quantile(share));
    let beyond = measured.0.zip(measured.1).is_some_and(|(hit, spared)| hit > allowed(spared));
    let enough = hit.count() >= needed && spared.count() >= needed;
    let control = spared.mapped(allowed);
    let (test, p_value): (_, fn(&Values, &Values, f64) -> f64) = match metric {
        Metric::P50 => ("mann_whitney", |hit, control, _| mann_whitney(hit, control)),
        _ => ("exceedance", exceedance),
    };
    let record = ControlRecord {
        hit: measured.0,
        spared: measured.1,
        hit_samples: hit.count(),
        spared_samples: spared.count(),
        test: test.to_owned(),
        p_value: enough.then(|| p_value(hit, &control, share)),
        p_adjusted: None,
    };
    Compared { record, needed, beyond }
}

fn ratios(metric: Metric, hit: &Group, spared: &Group, margin: Margin, needed: u64) -> Compared {
    let share = |group: &Group| (group.ended > 0).then(|| group.errors as f64 / group.ended as f64);
    let (hit_share, spared_share) = (share(hit), share(spared));
    let points = match margin {
        Margin::Share(points) | Margin::Seconds(points) => points,
        Margin::Usual => Margin::RATIO,
    };
    let beyond = hit_share.zip(spared_share).is_some_and(|(hit, spared)| hit - spared > points);
    let shown =
        |share: Option<f64>| share.map(|share| if metric == Metric::SuccessRatio { 1.0 - share } else { share });
    let enough = hit.ended >= needed && spared.ended >= needed;
    let record = ControlRecord {
        hit: shown(hit_share),
        spared: shown(spared_share),
        hit_samples: hit.ended,
        spared_samples: spared.ended,
        test: "fisher".to_owned(),
        p_value: enough.then(|| fisher((hit.errors, hit.ended), (spared.errors, spared.ended))),
        p_adjusted: None,
    };
    Compared { record, needed, beyond }
}
