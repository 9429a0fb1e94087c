//! Rows that may be out of tolerance for a moment: `for: 2s` in the steady state.
//!
//! - Ratios, times and rates are measured over each stretch of that length within the window, sliding; the row is broken
//!   when one of them is out of tolerance. A stretch of too few samples says nothing.
//! - `status`, `value` and `body`: the row is broken when readings that are out of tolerance follow each other, without one
//!   that is in it, from when the first was due until the last was done for at least that long.
//! - After the faults a row is back when it has been in tolerance for as long, up to the end of the window.
//!
//! It is what `for` means in `abort_when`. Pure. Neighbours: `super` asks. Invariant: no stretch that says anything is
//! `Inconclusive`.

use super::{Judged, Reading, burn::seconds, inconclusive, judge_whole, needed};
use crate::{
    experiment::{Check, When},
    record::Outcome,
    sample::{MetricKind, Sample},
    tolerance::Judgement,
};
use squall_wire::Span;
use std::{ops::Range, time::Duration};

/// Each stretch begins so many times in its own length.
const STEPS: u32 = 20;
/// Stretches that are measured at most: a long window is walked in longer steps, which still overlap.
const MOST: u32 = 20_000;

/// What is judged, and over which window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lasting<'a> {
    pub(super) check: &'a Check,
    pub(super) lasting: Duration,
    pub(super) window: &'a Range<Duration>,
    pub(super) when: When,
    pub(super) baseline: Option<f64>,
    pub(super) min_samples: Option<usize>,
}

impl Lasting<'_> {
    /// Judges the samples that were due in the window.
    pub(super) fn judge(&self, samples: &mut [Sample]) -> Judged {
        samples.sort_by_key(|sample| sample.at);
        match self.check.metric.kind() {
            MetricKind::EachNumber | MetricKind::EachText => self.each(samples),
            _ => self.whole(samples),
        }
    }

    fn whole(&self, samples: &[Sample]) -> Judged {
        let length = self.window.end.saturating_sub(self.window.start);
        let Some(room) = length.checked_sub(self.lasting) else {
            let shown = format!("the window is shorter than {}", Span::from(self.lasting));
            return inconclusive(None, shown, samples.len());
        };
        let step = (self.lasting / STEPS).max(room / MOST).max(Duration::from_millis(1));
        let mut last: Option<(Judged, Duration)> = None;
        let mut silent: Option<Judged> = None;
        let mut offset = Duration::ZERO;
        loop {
            let from = self.window.start + offset;
            let stretch = stretch(samples, &(from..from + self.lasting));
            let judged = judge_whole(self.check, stretch, self.lasting, self.baseline, self.min_samples);
            match judged.outcome {
                Outcome::Broken => return self.told(judged, from + self.lasting, samples.len()),
                Outcome::Held => last = Some((judged, from + self.lasting)),
                Outcome::Inconclusive => silent = Some(judged),
            }
            if offset == room {
                break;
            }
            offset = (offset + step).min(room);
        }
        match (last, silent) {
            (Some((judged, at)), _) => self.told(judged, at, samples.len()),
            (None, Some(judged)) => Judged { samples: samples.len(), ..judged },
            (None, None) => inconclusive(None, "no samples".to_owned(), samples.len()),
        }
    }

    fn told(&self, judged: Judged, at: Duration, samples: usize) -> Judged {
        let shown = format!("{} over {} up to {}", judged.shown, Span::from(self.lasting), seconds(at));
        Judged { shown, samples, ..judged }
    }

    fn each(&self, samples: &[Sample]) -> Judged {
        let (mut count, mut unknown, mut last_in) = (0_usize, false, None);
        // The row of readings out of tolerance that is under way: since when, how many, the first of them.
        let mut out: Option<(Duration, usize, Reading<'_>)> = None;
        for sample in samples {
            let Some(reading) = Reading::of(self.check.metric, sample) else { continue };
            count += 1;
            match reading.judge(&self.check.tolerance, self.check.metric, self.baseline) {
                Judgement::Unmet => {
                    let (since, long, first) = out.map_or((sample.at, 1, reading), |(at, n, first)| (at, n + 1, first));
                    out = Some((since, long, first));
                    let lasted = sample.done().saturating_sub(since);
                    if lasted >= self.lasting {
                        let row = format!("for {} ({long} samples in a row)", seconds(lasted));
                        return self.broken(first, &row, samples.len());
                    }
                    last_in = None;
                }
                judgement => {
                    unknown |= judgement != Judgement::Met;
                    out = None;
                    last_in = Some((last_in.map_or(sample.at, |(since, _)| since), reading));
                }
            }
        }
        let needed = needed(self.check.metric, self.min_samples);
        if count < needed {
            return inconclusive(None, format!("{count} samples, too few: {needed} are needed"), count);
        }
        match (out, last_in) {
            (Some((_, _, first)), _) if self.when == When::After => {
                self.broken(first, "and not back since", samples.len())
            }
            (_, Some((since, reading))) if !self.is_back(since, samples) => {
                let back = self.window.end.saturating_sub(since);
                let row = format!("for only {}, wanted {}", seconds(back), Span::from(self.lasting));
                self.broken(reading, &row, samples.len())
            }
            _ if unknown => inconclusive(None, "without a baseline".to_owned(), count),
            (_, Some((_, reading))) => self.held(reading, count),
            (Some((_, _, first)), None) => self.held(first, count),
            (None, None) => inconclusive(None, "no sample has one".to_owned(), count),
        }
    }

    /// Whether it has been in tolerance long enough, which counts only after the faults; from the beginning of the window is.
    fn is_back(&self, since: Duration, samples: &[Sample]) -> bool {
        let always = samples.first().is_some_and(|first| first.at >= since);
        self.when != When::After || always || since + self.lasting <= self.window.end
    }

    fn broken(&self, reading: Reading<'_>, row: &str, samples: usize) -> Judged {
        let shown = format!("{} {row}", reading.shown(self.check.metric));
        Judged { measured: reading.number(), shown, samples, outcome: Outcome::Broken }
    }

    fn held(&self, reading: Reading<'_>, samples: usize) -> Judged {
        let shown = reading.shown(self.check.metric);
        Judged { measured: reading.number(), shown, samples, outcome: Outcome::Held }
    }
}

/// Those that were due in it, of samples in the order in which they were due.
fn stretch<'a>(samples: &'a [Sample], window: &Range<Duration>) -> &'a [Sample] {
    let from = samples.partition_point(|sample| sample.at < window.start);
    let to = samples.partition_point(|sample| sample.at < window.end);
    &samples[from..to.max(from)]
}
