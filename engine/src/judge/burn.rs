//! How fast errors use up what an objective allows, over a long and a short window at once.
//!
//! A burn rate of 1 uses up the allowed errors exactly in the objective's time; 14.4 uses up a month's in two days. A breach
//! is one only while both windows show it: the long one says that it matters, the short one that it goes on (Google, The
//! Site Reliability Workbook, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts"). A window that reaches back before the first
//! sample begins there. Pure. Neighbours: `super` judges phases with it, `guard` the moment.
//! Invariant: a window of too few samples says nothing, and the other alone is no breach.

use super::{Judged, inconclusive, outcome};
use crate::{
    experiment::{Burn, Check},
    sample::{Metric, Sample},
    tolerance::Judgement,
};
use std::{ops::Range, time::Duration};

/// The burn rate over these samples: the share of errors over the share that the objective allows.
fn rate(burn: &Burn, failed: usize, all: usize) -> f64 {
    (failed as f64 / all as f64) / (1.0 - burn.objective)
}

/// The rates of the long and the short window that end now, and how many samples they have; none where a window has too few.
pub(super) fn now(burn: &Burn, long: &[Sample], short: &[Sample], fewest: usize) -> Option<[(f64, usize); 2]> {
    let of = |samples: &[Sample]| {
        let failed = samples.iter().filter(|sample| !sample.ok).count();
        (samples.len() >= fewest.max(1)).then(|| (rate(burn, failed, samples.len()), samples.len()))
    };
    Some([of(long)?, of(short)?])
}

/// Judges every moment of a window at which a sample was due. `samples` are those of the window and of the long window
/// before it, and `began` is when the first of the series was due.
pub(super) fn judge(
    (check, burn): (&Check, &Burn),
    samples: &mut [Sample],
    window: &Range<Duration>,
    began: Option<Duration>,
    fewest: usize,
) -> Judged {
    samples.sort_by_key(|sample| sample.at);
    let failed_before: Vec<usize> = std::iter::once(0)
        .chain(samples.iter().scan(0, |sum, sample| {
            *sum += usize::from(!sample.ok);
            Some(*sum)
        }))
        .collect();
    let count = samples.iter().filter(|sample| window.contains(&sample.at)).count();
    // The worst moment that breaks it, else the worst of those that do not.
    let mut worst: Option<(bool, [f64; 2], Duration)> = None;
    let first = samples.partition_point(|sample| sample.at < window.start);
    for (index, sample) in samples.iter().enumerate().skip(first) {
        if began.is_none_or(|began| sample.at < began + burn.short) {
            continue;
        }
        let over = |length: Duration| {
            let from = samples.partition_point(|other| other.at + length <= sample.at);
            let all = index + 1 - from;
            (all >= fewest).then(|| rate(burn, failed_before[index + 1] - failed_before[from], all))
        };
        let (Some(long), Some(short)) = (over(burn.long), over(burn.short)) else { continue };
        let unmet = |rate| check.tolerance.judge_number(Metric::BurnRate, rate, None) == Judgement::Unmet;
        let moment = (unmet(long) && unmet(short), [long, short], sample.at);
        let key = |(broken, rates, _): &(bool, [f64; 2], Duration)| (*broken, rates[0].min(rates[1]));
        if worst.as_ref().is_none_or(|known| key(&moment) > key(known)) {
            worst = Some(moment);
        }
    }
    let Some((broken, [long, short], at)) = worst else {
        let shown = format!("never {fewest} samples in both windows");
        return inconclusive(None, shown, count);
    };
    let shown = format!("{}, {} at {}", shown(burn.long, long), shown(burn.short, short), seconds(at));
    let judged = if broken { Judgement::Unmet } else { Judgement::Met };
    Judged { measured: Some(long.min(short)), shown, samples: count, outcome: outcome(judged) }
}

/// `14.4x over 30s`.
pub(super) fn shown(length: Duration, rate: f64) -> String {
    format!("{} over {}", Metric::BurnRate.shown(rate), squall_wire::Span::from(length))
}

/// A moment of the run, for people.
pub(super) fn seconds(at: Duration) -> String {
    format!("{:.1} s", at.as_secs_f64())
}
