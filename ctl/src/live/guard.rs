//! How near each abort condition is, for the eye; whether one is met is the guard's word alone.
//!
//! Neighbours: `squall_engine::judge` decides, `watcher` asks here. Pure: a recorder's samples and the time in, rows out.

use super::model::GuardRow;
use squall_engine::{
    experiment::{AbortRow, Burn, Check},
    judge::{self, Baselines, GUARD_MIN_SAMPLES},
    record::Outcome,
    recorder::{Recorder, TRAFFIC},
    sample::{Metric, MetricKind, Sample},
    tolerance::Judgement,
};
use squall_wire::Span;
use std::time::Duration;

/// The stretch over which it is looked how near something is.
const RECENT: Duration = Duration::from_secs(1);

/// Brings a row up to date.
pub fn look(row: &AbortRow, before: Option<&GuardRow>, recorder: &Recorder, baselines: &Baselines) -> GuardRow {
    let now = recorder.now();
    let (condition, lasting, seen) = match row {
        AbortRow::Silent(lasting) => {
            let quiet = quiet(recorder, now);
            let near = quiet.as_secs_f64() / lasting.as_secs_f64().max(0.001);
            let seen = Seen { near, measured: format!("quiet for {:.1} s", quiet.as_secs_f64()), met: near >= 1.0 };
            (format!("no sample for {}", Span::from(*lasting)), *lasting, seen)
        }
        AbortRow::Breach { probe, checks, lasting } => {
            let condition = format!("{probe} {}", judge::condition(checks, *lasting));
            // All checks must be met at once, so the one that is farthest tells how near the row is.
            let seen = checks.iter().map(|check| look_at(check, probe, recorder, now, baselines));
            let farthest = seen.min_by(|one, other| one.near.total_cmp(&other.near));
            (condition, *lasting, farthest.unwrap_or(Seen { near: 0.0, measured: String::new(), met: false }))
        }
    };
    let met_since = seen.met.then(|| before.and_then(|before| before.met_since).unwrap_or(now));
    GuardRow { condition, measured: seen.measured, near: seen.near.clamp(0.0, 1.0), met_since, lasting }
}

struct Seen {
    near: f64,
    measured: String,
    met: bool,
}

/// The longest silence of any series.
fn quiet(recorder: &Recorder, now: Duration) -> Duration {
    let names = recorder.names().iter().map(|name| &**name);
    let probes = names.clone().filter(|name| !name.starts_with("traffic."));
    let traffic = names.clone().any(|name| name.starts_with("traffic.")).then_some(TRAFFIC);
    let quiet = |name| recorder.last_done(name).map(|last| now.saturating_sub(last));
    probes.chain(traffic).filter_map(quiet).max().unwrap_or_default()
}

fn look_at(check: &Check, probe: &str, recorder: &Recorder, now: Duration, baselines: &Baselines) -> Seen {
    if let Some(burn) = &check.burn {
        return burning(check, burn, probe, recorder, now);
    }
    let each = matches!(check.metric.kind(), MetricKind::EachNumber | MetricKind::EachText);
    let samples: Vec<Sample> = if each {
        recorder.last(probe).into_iter().collect()
    } else {
        recorder.window_by_done(probe, &(now.saturating_sub(RECENT)..now + Duration::from_nanos(1)))
    };
    let fewest = if each { 1 } else { GUARD_MIN_SAMPLES };
    if samples.len() < fewest && check.metric.kind() != MetricKind::Rate {
        return Seen { near: 0.0, measured: "too few samples".to_owned(), met: false };
    }
    let baseline = baselines.get(probe, check.metric);
    let judged = judge::judge_check(check, &samples, RECENT, baseline, Some(fewest));
    // No answer is no status: unequal to every one, as the guard has it.
    let unanswered =
        check.metric == Metric::Status && samples.iter().any(|sample| !sample.ok && sample.status.is_none());
    let met = judged.outcome == Outcome::Held
        || (unanswered && check.tolerance.judge_number(check.metric, f64::NAN, baseline) == Judgement::Met);
    let limits = check.tolerance.limits(check.metric, baseline);
    let near = match (met, judged.measured) {
        (true, _) => 1.0,
        (false, Some(value)) if !each => {
            limits.iter().map(|limit| nearness(check.metric, value, *limit)).fold(0.0, f64::max)
        }
        _ => 0.0,
    };
    // Below 1 as long as it is not met, however near it is.
    Seen { near: if met { 1.0 } else { near.min(0.99) }, measured: judged.shown, met }
}

/// Both windows must burn, so the one that burns less tells how near it is.
fn burning(check: &Check, burn: &Burn, probe: &str, recorder: &Recorder, now: Duration) -> Seen {
    let Some(rates) = judge::burning(burn, recorder, probe, now) else {
        return Seen { near: 0.0, measured: "too few samples".to_owned(), met: false };
    };
    let met = |(rate, _): &(f64, usize)| check.tolerance.judge_number(check.metric, *rate, None) == Judgement::Met;
    let met = rates.iter().all(met);
    let least = rates[0].0.min(rates[1].0);
    let limits = check.tolerance.limits(check.metric, None);
    let near = limits.iter().map(|limit| nearness(check.metric, least, *limit)).fold(0.0, f64::max);
    Seen { near: if met { 1.0 } else { near.min(0.99) }, measured: check.metric.shown(least), met }
}

/// How much of the way from as good as it gets to the limit has been gone.
fn nearness(metric: Metric, value: f64, limit: f64) -> f64 {
    let (gone, way) = match metric {
        Metric::SuccessRatio => (1.0 - value, 1.0 - limit),
        // Fewer are worse: what is twice the limit or more is far from it.
        Metric::Rate | Metric::Goodput => (2.0 * limit - value, limit),
        _ => (value, limit),
    };
    if way.abs() < 1e-12 { 0.0 } else { (gone / way).clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::{Metric, nearness};

    #[test]
    fn nearness_is_the_share_of_the_way_to_the_limit() {
        let near = |metric, value, limit| (nearness(metric, value, limit) * 100.0).round();
        assert_eq!(near(Metric::SuccessRatio, 0.95, 0.9), 50.0);
        assert_eq!(near(Metric::ErrorRatio, 0.02, 0.1), 20.0);
        assert_eq!(near(Metric::P99, 0.3, 1.2), 25.0);
        assert_eq!(near(Metric::P99, 5.0, 1.2), 100.0);
        assert_eq!(near(Metric::Rate, 200.0, 50.0), 0.0);
        assert_eq!(near(Metric::Rate, 75.0, 50.0), 50.0);
        assert_eq!(near(Metric::SuccessRatio, 1.0, 1.0), 0.0);
    }
}
