//! The figures as they come in: declared once, then one value a round and contestant.
//!
//! `measure/*` fill it, `report` shows it. Invariant: a figure that was declared has a finite value of at least one
//! contestant, and all its values are finite, or [`Figures::check`] fails.

use crate::{error::BenchError, stats};
use std::collections::BTreeMap;

/// How a contestant's figure is set against direct loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Versus {
    /// As a multiple of it.
    Ratio,
    /// As what comes on top of it, in the figure's unit.
    Added,
    /// Not at all: there is no such thing without a fault.
    Nothing,
}

/// What the project promises of our own agent's figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Promise {
    /// Nothing.
    None,
    /// At most so much.
    AtMost(f64),
    /// At least so many times the highest of these contestants' medians.
    AtLeastBest(f64, &'static [&'static str]),
    /// At most so many times the lowest of these contestants' medians.
    AtMostBest(f64, &'static [&'static str]),
}

/// What became of a promise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Judged {
    /// What is held against the limit: the median, or what it adds to direct loopback.
    pub(crate) value: f64,
    /// The limit, in the figure's unit.
    pub(crate) limit: f64,
    /// Whether it was kept.
    pub(crate) kept: bool,
}

/// One figure.
#[derive(Debug)]
pub(crate) struct Figure {
    /// For programs: `throughput.streams_1`.
    pub(crate) id: String,
    /// For people.
    pub(crate) name: String,
    /// Of all its values.
    pub(crate) unit: &'static str,
    /// How it is compared.
    pub(crate) versus: Versus,
    /// What is promised of it, on an idle machine.
    pub(crate) promise: Promise,
    values: BTreeMap<&'static str, Vec<f64>>,
}

/// What the rounds of one contestant come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    /// In the middle of all rounds.
    pub(crate) median: f64,
    /// The lowest round.
    pub(crate) min: f64,
    /// The highest round.
    pub(crate) max: f64,
}

impl Figure {
    /// The values of all rounds of a contestant.
    pub(crate) fn rounds(&self, contestant: &str) -> &[f64] {
        self.values.get(contestant).map_or(&[], Vec::as_slice)
    }

    /// The rounds in short; none for a contestant that has none.
    pub(crate) fn summary(&self, contestant: &str) -> Option<Summary> {
        let rounds = self.rounds(contestant);
        let fold = |pick: fn(f64, f64) -> f64| rounds.iter().copied().reduce(pick);
        Some(Summary { median: stats::median(rounds)?, min: fold(f64::min)?, max: fold(f64::max)? })
    }

    /// Whether `ours` keeps the promise; none where nothing is promised, or none of those is here that it is set
    /// against. Where a figure is what a contestant adds to `base`, the additions are compared.
    pub(crate) fn judge(&self, ours: &str, base: &str) -> Option<Judged> {
        let value = |contestant: &str| match self.versus {
            Versus::Added => self.against(contestant, base),
            _ => self.summary(contestant).map(|all| all.median),
        };
        let of = |names: &[&str], pick: fn(f64, f64) -> f64| names.iter().filter_map(|name| value(name)).reduce(pick);
        let (value, limit, kept): (f64, f64, fn(&f64, &f64) -> bool) = match self.promise {
            Promise::None => return None,
            Promise::AtMost(limit) => (self.summary(ours)?.median, limit, f64::le),
            Promise::AtLeastBest(times, names) => (value(ours)?, times * of(names, f64::max)?, f64::ge),
            Promise::AtMostBest(times, names) => (value(ours)?, times * of(names, f64::min)?, f64::le),
        };
        Some(Judged { value, limit, kept: kept(&value, &limit) })
    }

    /// The contestant's median against that of `base`.
    pub(crate) fn against(&self, contestant: &str, base: &str) -> Option<f64> {
        let (ours, theirs) = (self.summary(contestant)?.median, self.summary(base)?.median);
        match self.versus {
            Versus::Ratio => Some(ours / theirs),
            Versus::Added => Some(ours - theirs),
            Versus::Nothing => None,
        }
    }
}

/// All figures, in the order in which they were declared.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    all: Vec<Figure>,
}

impl Figures {
    /// Announces a figure without a promise.
    pub(crate) fn declare(
        &mut self,
        id: impl Into<String>,
        name: impl Into<String>,
        unit: &'static str,
        versus: Versus,
    ) {
        self.declare_promised(id, name, unit, versus, Promise::None);
    }

    /// Announces a figure.
    pub(crate) fn declare_promised(
        &mut self,
        id: impl Into<String>,
        name: impl Into<String>,
        unit: &'static str,
        versus: Versus,
        promise: Promise,
    ) {
        self.all.push(Figure { id: id.into(), name: name.into(), unit, versus, promise, values: BTreeMap::new() });
    }

    /// Adds one round of one contestant.
    pub(crate) fn record(&mut self, id: &str, contestant: &'static str, value: f64) -> Result<(), BenchError> {
        let figure = self.all.iter_mut().find(|figure| figure.id == id);
        let figure = figure.ok_or_else(|| BenchError::Missing(format!("{id} (not declared)")))?;
        figure.values.entry(contestant).or_default().push(value);
        Ok(())
    }

    /// Adds the quantiles of many values as a figure each, `ID.p50` and so on.
    pub(crate) fn record_quantiles(
        &mut self,
        id: &str,
        contestant: &'static str,
        values: &mut [f64],
        which: &[(&str, f64)],
    ) -> Result<(), BenchError> {
        for (suffix, q) in which {
            let id = format!("{id}.{suffix}");
            let value = stats::quantile(values, *q).ok_or_else(|| BenchError::Missing(id.clone()))?;
            self.record(&id, contestant, value)?;
        }
        Ok(())
    }

    /// Fails when a figure that was declared is not there or not a number.
    pub(crate) fn check(&self) -> Result<(), BenchError> {
        let broken = |figure: &&Figure| {
            figure.values.is_empty() || figure.values.values().flatten().any(|value| !value.is_finite())
        };
        self.all.iter().find(broken).map_or(Ok(()), |figure| Err(BenchError::Missing(figure.id.clone())))
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Figure> {
        self.all.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::{Figures, Judged, Promise, Summary, Versus};

    fn two_rounds(versus: Versus) -> Figures {
        let mut figures = Figures::default();
        figures.declare_promised("a", "a figure", "MB/s", versus, Promise::AtMost(5.0));
        for (contestant, value) in [("direct", 10.0), ("squall", 4.0), ("direct", 20.0), ("squall", 8.0)] {
            figures.record("a", contestant, value).unwrap();
        }
        figures
    }

    #[test]
    fn rounds_come_to_median_and_range() {
        let figures = two_rounds(Versus::Ratio);
        let figure = figures.iter().next().unwrap();
        assert_eq!(figure.summary("squall"), Some(Summary { median: 6.0, min: 4.0, max: 8.0 }));
        assert_eq!(figure.summary("nobody"), None);
    }

    #[test]
    fn a_contestant_is_set_against_direct_as_declared() {
        let against = |versus| two_rounds(versus).iter().next().unwrap().against("squall", "direct");
        assert_eq!(against(Versus::Ratio), Some(0.4));
        assert_eq!(against(Versus::Added), Some(-9.0));
        assert_eq!(against(Versus::Nothing), None);
    }

    fn judged(versus: Versus, promise: Promise) -> Option<Judged> {
        let mut figures = Figures::default();
        figures.declare_promised("a", "a figure", "us", versus, promise);
        for (contestant, value) in [("direct", 10.0), ("squall", 16.0), ("one", 15.0), ("other", 20.0)] {
            figures.record("a", contestant, value).unwrap();
        }
        figures.iter().next().unwrap().judge("squall", "direct")
    }

    #[test]
    fn a_promise_is_kept_up_to_its_limit() {
        let kept = |promise| judged(Versus::Nothing, promise).unwrap().kept;
        assert!(kept(Promise::AtMost(16.0)) && !kept(Promise::AtMost(15.9)));
        assert!(
            kept(Promise::AtLeastBest(0.8, &["one", "other"])) && !kept(Promise::AtLeastBest(1.0, &["one", "other"]))
        );
        assert!(kept(Promise::AtMostBest(1.0, &["other"])) && !kept(Promise::AtMostBest(1.0, &["one", "other"])));
        assert_eq!(judged(Versus::Nothing, Promise::None), None);
    }

    #[test]
    fn what_is_added_is_compared_with_what_others_add() {
        let judged = |promise| judged(Versus::Added, promise);
        let added = judged(Promise::AtMostBest(1.0, &["one", "other"])).unwrap();
        assert_eq!(added, Judged { value: 6.0, limit: 5.0, kept: false });
        assert!(judged(Promise::AtMost(16.0)).unwrap().kept, "a fixed limit is held against the whole");
    }

    #[test]
    fn a_promise_against_somebody_who_is_not_here_is_not_judged() {
        assert_eq!(judged(Versus::Ratio, Promise::AtLeastBest(1.0, &["nobody"])), None);
        assert!(judged(Versus::Ratio, Promise::AtLeastBest(1.0, &["nobody", "one"])).unwrap().kept);
    }

    #[test]
    fn a_figure_that_is_not_there_or_no_number_is_an_error() {
        let mut figures = two_rounds(Versus::Ratio);
        assert!(figures.check().is_ok());
        figures.declare("b", "another", "ms", Versus::Nothing);
        assert!(figures.check().unwrap_err().to_string().contains("`b`"));
        figures.record("b", "squall", f64::NAN).unwrap();
        assert!(figures.check().unwrap_err().to_string().contains("`b`"));
        assert!(figures.record("c", "squall", 1.0).is_err());
    }
}
