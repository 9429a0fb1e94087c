//! Whether an abort condition is met now. It aborts on what is known for the whole of `for`, not on a first sign.
//!
//! - Ratios, times and rates: over the samples done in the last `for`, at least five (`rate`: any number).
//! - `status`, `value`, `body`: an unbroken row of samples that meet the condition, from when the first was due to
//!   when the last was done at least `for` long, the last done within `for`. One sample alone suffices only if it
//!   took that long itself. No answer is not 200: a reading that failed meets `status: "!= 200"`; it is passed over for
//!   `value` and `body`, of which it says nothing, and neither ends a row nor makes one.
//! - Burn rates: over the samples done in the last long window and in the last short one, at least five in each; both must
//!   meet the condition. They may reach back to before the first fault.
//! - Nothing is met before the guard itself has watched for `for`, or for the short window.
//!
//! Neighbours: `run::guard` asks at each turn, and heals. Invariant: all checks of a row must be met at once.

use super::{Baselines, Reading, burn};
use crate::{
    experiment::{AbortRow, Burn, Check},
    recorder::{Recorder, TRAFFIC},
    sample::{Metric, MetricKind},
    stats::measure,
    tolerance::Judgement,
};
use squall_wire::Span;
use std::time::Duration;

/// Fewer samples than this in the sliding window are no reason to abort for a ratio or a percentile.
pub const GUARD_MIN_SAMPLES: usize = 5;

/// An abort condition that is met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// The condition as text: `traffic success_ratio < 90% for 2s`.
    pub condition: String,
    /// What was measured, as text: `success_ratio 84.2 % of 412 samples`.
    pub measured: String,
}

/// Whether the condition is met at `now`, the guard having watched since `since`.
///
/// `Silent` looks at every probe and at the traffic as a whole: a rare request among the traffic's may well not be
/// sent for a while.
#[must_use]
pub fn breach(
    row: &AbortRow,
    recorder: &Recorder,
    since: Duration,
    now: Duration,
    baselines: &Baselines,
) -> Option<Breach> {
    match row {
        AbortRow::Silent(lasting) => silent(recorder, *lasting, since, now),
        AbortRow::Breach { probe, checks, lasting } => {
            if now < since + *lasting || checks.is_empty() {
                return None;
            }
            let sliding = Sliding { recorder, probe, lasting: *lasting, since, now };
            let met = |check: &Check| sliding.met(check, baselines.get(probe, check.metric));
            let measured: Option<Vec<String>> = checks.iter().map(met).collect();
            let condition = format!("{probe} {}", condition(checks, *lasting));
            Some(Breach { condition, measured: measured?.join(" and ") })
        }
    }
}

/// The checks of a row and how long they must last, as text.
#[must_use]
pub fn condition(checks: &[Check], lasting: Duration) -> String {
    let one = |check: &Check| match &check.burn {
        Some(burn) => format!("{} {} {}", check.metric, check.tolerance, burn.shown()),
        None => format!("{} {}", check.metric, check.tolerance),
    };
    let all = checks.iter().map(one).collect::<Vec<_>>().join(" and ");
    if lasting.is_zero() { all } else { format!("{all} for {}", Span::from(lasting)) }
}

/// The burn rates over the long and the short window that end now, each with its number of samples; none while one has too few.
#[must_use]
pub fn burning(burn: &Burn, recorder: &Recorder, probe: &str, now: Duration) -> Option<[(f64, usize); 2]> {
    let done_in = |length: Duration| {
        let window = now.saturating_sub(length)..now + Duration::from_nanos(1);
        recorder.window_by_done(probe, &window)
    };
    burn::now(burn, &done_in(burn.long), &done_in(burn.short), GUARD_MIN_SAMPLES)
}

fn silent(recorder: &Recorder, lasting: Duration, since: Duration, now: Duration) -> Option<Breach> {
    let names = recorder.names().iter().map(|name| &**name);
    let probes = names.clone().filter(|name| !name.starts_with("traffic."));
    let traffic = names.clone().any(|name| name.starts_with("traffic.")).then_some(TRAFFIC);
    probes.chain(traffic).find_map(|name| {
        let quiet = now.saturating_sub(recorder.last_done(name).unwrap_or_default().max(since));
        (quiet >= lasting).then(|| Breach {
            condition: format!("probe_silent {}", Span::from(lasting)),
            measured: format!("{name} has given no sample for {}", Metric::Mean.shown(quiet.as_secs_f64())),
        })
    })
}

/// The last stretch of one series.
struct Sliding<'a> {
    recorder: &'a Recorder,
    probe: &'a str,
    lasting: Duration,
    since: Duration,
    now: Duration,
}

impl Sliding<'_> {
    /// What was measured, if it meets the check.
    fn met(&self, check: &Check, baseline: Option<f64>) -> Option<String> {
        match check.metric.kind() {
            MetricKind::EachNumber | MetricKind::EachText => self.met_by_each(check, baseline),
            MetricKind::Ratio | MetricKind::Time => self.met_by_all(check, baseline, GUARD_MIN_SAMPLES),
            MetricKind::Rate => self.met_by_all(check, baseline, 0),
            MetricKind::Multiple => check.burn.as_ref().and_then(|burn| self.met_by_burning(check, burn)),
        }
    }

    fn met_by_all(&self, check: &Check, baseline: Option<f64>, fewest: usize) -> Option<String> {
        let window = self.now.saturating_sub(self.lasting)..self.now + Duration::from_nanos(1);
        let samples = self.recorder.window_by_done(self.probe, &window);
        let count = samples.iter().filter(|sample| check.metric.counts(sample.status)).count();
        let value = measure(check.metric, &samples, self.lasting).filter(|_| count >= fewest)?;
        let met = check.tolerance.judge_number(check.metric, value, baseline) == Judgement::Met;
        met.then(|| format!("{} {} of {} samples", check.metric, check.metric.shown(value), count))
    }

    fn met_by_burning(&self, check: &Check, burn: &Burn) -> Option<String> {
        if self.now < self.since + burn.short {
            return None;
        }
        let [long, short] = burning(burn, self.recorder, self.probe, self.now)?;
        let met = |rate| check.tolerance.judge_number(check.metric, rate, None) == Judgement::Met;
        (met(long.0) && met(short.0)).then(|| {
            let (long_shown, short_shown) = (burn::shown(burn.long, long.0), burn::shown(burn.short, short.0));
            format!("{} {long_shown} ({} samples), {short_shown} ({} samples)", check.metric, long.1, short.1)
        })
    }

    fn met_by_each(&self, check: &Check, baseline: Option<f64>) -> Option<String> {
        let (mut count, mut newest, mut first_due) = (0_usize, None, self.now);
        self.recorder.newest_while(self.probe, |sample| {
            let Some(reading) = Reading::of(check.metric, sample) else { return true };
            match (reading, check.metric) {
                (Reading::Failed(_), Metric::Value | Metric::Body) => return true,
                // Not a number: unequal to every status, and neither above nor below one.
                (Reading::Failed(_), _)
                    if check.tolerance.judge_number(check.metric, f64::NAN, baseline) == Judgement::Met => {}
                (reading, metric) if reading.judge(&check.tolerance, metric, baseline) == Judgement::Met => {}
                _ => return false,
            }
            newest.get_or_insert_with(|| (sample.done(), reading.shown(check.metric)));
            count += 1;
            first_due = first_due.min(sample.at.max(self.since));
            sample.at > self.since
        });
        let (last_done, shown) = newest?;
        let lasted = last_done.saturating_sub(first_due) >= self.lasting;
        let fresh = last_done + self.lasting >= self.now;
        let row = if count == 1 { "1 sample".to_owned() } else { format!("{count} samples in a row") };
        (lasted && fresh).then(|| format!("{} {shown} ({row})", check.metric))
    }
}
