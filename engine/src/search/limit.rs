//! The largest value at which a hypothesis still holds: which value to try next, and what the tries amount to. Pure.
//!
//! ```text
//! low edge, high edge ─▶ (an even scan) ─▶ halve between the last safe and the first broken ─▶ the last safe once more
//! ```
//! Where the low edge breaks and the high one holds, small values are the bad ones, and the smallest that holds is sought.
//! Neighbours: `scale` halves, `squall limit` and `squall load --find-limit` try.
//! Invariant: the next value depends on the tries alone; a safe value never lies beyond a broken one.

use super::{cell::Sense, scale::Scale};
use serde::Serialize;

/// What is asked, and how exactly.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// Between which values.
    pub scale: Scale,
    /// Halvings at most.
    pub steps: usize,
    /// It is exact enough when the first broken value is at most this share above the last safe one.
    pub precision: f64,
    /// Values that are tried between the edges before halving.
    pub scan: usize,
    /// Whether the last safe value is tried a second time.
    pub confirm: bool,
}

/// A value that was tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Try {
    /// Which.
    pub value: f64,
    /// What came of it. What taught nothing is as if it had not been tried.
    pub sense: Sense,
}

/// Which values are the bad ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bad {
    /// The larger the value, the worse.
    Large,
    /// The smaller the value, the worse.
    Small,
}

/// What the tries amount to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// Which values are the bad ones.
    pub bad: Bad,
    /// The last value, from the good edge, at which it held, with none before it that broke.
    pub last_safe: Option<f64>,
    /// The first value, from the good edge, at which it broke.
    pub first_broken: Option<f64>,
    /// Where the tries contradict a single limit, in sentences.
    pub oddities: Vec<String>,
}

impl Question {
    /// The value to try next; none when it is answered.
    #[must_use]
    pub fn next(&self, tries: &[Try]) -> Option<f64> {
        let Scale { low, high, .. } = self.scale;
        let tried = |value: f64| tries.iter().any(|one| one.value == value && one.sense != Sense::Unknown);
        if let Some(edge) = [low, high].into_iter().find(|edge| !tried(*edge)) {
            return Some(edge);
        }
        if let Some(value) = self.scanned().into_iter().find(|value| !tried(*value)) {
            return Some(value);
        }
        // The last safe value was tried once more, which is the end whatever came of it.
        if is_repeated(tries) {
            return None;
        }
        let answer = self.answer(tries);
        match (answer.last_safe, answer.first_broken) {
            // Both edges held: that the middle does as well is worth a look.
            (Some(_), None) => self.scale.middle(low, high).filter(|middle| self.scan == 0 && !tried(*middle)),
            (Some(safe), Some(broken)) => self.between(tries, safe, broken).or(self.confirm.then_some(safe)),
            (None, _) => None,
        }
    }

    fn between(&self, tries: &[Try], safe: f64, broken: f64) -> Option<f64> {
        let (low, high) = if safe < broken { (safe, broken) } else { (broken, safe) };
        let spent = tries.iter().filter(|one| one.sense != Sense::Unknown).count();
        let halvings = spent.saturating_sub(2 + self.scanned().len());
        if halvings >= self.steps || self.scale.is_close(low, high, self.precision) {
            return None;
        }
        self.scale.middle(low, high)
    }

    fn scanned(&self) -> Vec<f64> {
        let values = (1..=self.scan).filter_map(|number| {
            let share = number as f64 / (self.scan + 1) as f64;
            self.scale.at(share)
        });
        values.filter(|value| *value > self.scale.low && *value < self.scale.high).collect()
    }

    /// What the tries amount to so far.
    #[must_use]
    pub fn answer(&self, tries: &[Try]) -> Answer {
        let of = |sense: Sense| tries.iter().filter(move |one| one.sense == sense).map(|one| one.value);
        let held_at = |value: f64| of(Sense::Held).any(|held| held == value);
        let broke_at = |value: f64| of(Sense::Broke).any(|broke| broke == value);
        let small_is_bad = broke_at(self.scale.low) && !held_at(self.scale.low) && held_at(self.scale.high);
        let bad = if small_is_bad { Bad::Small } else { Bad::Large };
        // Seen from the good edge, further out is greater.
        let outwards = |value: f64| if bad == Bad::Large { value } else { -value };
        let nearest = |one: f64, other: f64| if outwards(one) <= outwards(other) { one } else { other };
        let farthest = |one: f64, other: f64| if outwards(one) >= outwards(other) { one } else { other };
        let first_broken = of(Sense::Broke).reduce(nearest);
        let inside = |value: &f64| first_broken.is_none_or(|broken| outwards(*value) < outwards(broken));
        let last_safe = of(Sense::Held).filter(inside).reduce(farthest);
        Answer { bad, last_safe, first_broken, oddities: self.oddities(tries, first_broken, outwards) }
    }

    fn oddities(&self, tries: &[Try], first_broken: Option<f64>, outwards: impl Fn(f64) -> f64) -> Vec<String> {
        let Some(broken) = first_broken else { return Vec::new() };
        let mut beyond: Vec<f64> = tries.iter().filter(|one| one.sense == Sense::Held).map(|one| one.value).collect();
        beyond.retain(|held| outwards(*held) >= outwards(broken));
        beyond.sort_by(f64::total_cmp);
        beyond.dedup();
        let shown = |value: f64| self.scale.shown(value);
        let told = |held: f64| {
            if held == broken {
                format!("{} held once and broke once: the limit is not sharp there", shown(held))
            } else {
                let side = if held > broken { "above" } else { "below" };
                format!("{} broke, and {} {side} it held: there is no single limit", shown(broken), shown(held))
            }
        };
        beyond.into_iter().map(told).collect()
    }
}

fn is_repeated(tries: &[Try]) -> bool {
    let taught: Vec<f64> = tries.iter().filter(|one| one.sense != Sense::Unknown).map(|one| one.value).collect();
    taught.iter().enumerate().any(|(at, value)| taught[..at].contains(value))
}

#[cfg(test)]
mod tests {
    use super::{Answer, Bad, Question, Try};
    use crate::{
        amount::Unit,
        search::{
            cell::Sense,
            scale::{Scale, Vary},
        },
    };
    use proptest::prelude::{prop_assert, proptest};

    fn question(range: &str) -> Question {
        let scale = range.parse::<Vary>().unwrap().scale;
        Question { scale, steps: 20, precision: 0.05, scan: 0, confirm: true }
    }

    fn search(question: Question, judge: impl Fn(f64, usize) -> Sense) -> (Answer, Vec<Try>) {
        let mut tries = Vec::new();
        while let Some(value) = question.next(&tries) {
            assert!(tries.len() < 60, "it does not end: {tries:?}");
            let before = tries.iter().filter(|one: &&Try| one.value == value).count();
            tries.push(Try { value, sense: judge(value, before) });
        }
        (question.answer(&tries), tries)
    }

    fn below(limit: f64) -> impl Fn(f64, usize) -> Sense {
        move |value, _| if value <= limit { Sense::Held } else { Sense::Broke }
    }

    #[test]
    fn the_edges_come_first_and_the_last_safe_value_is_tried_twice() {
        let question = question("delay=50ms..5s");
        let (answer, tries) = search(question, below(0.9e9));
        let shown: Vec<_> = tries.iter().map(|one| question.scale.shown(one.value)).collect();
        assert_eq!(shown, ["50ms", "5s", "500ms", "1.6s", "890ms", "1.2s", "1.03s", "960ms", "920ms", "890ms"]);
        assert_eq!(question.scale.shown(answer.last_safe.unwrap()), "890ms");
        assert_eq!(question.scale.shown(answer.first_broken.unwrap()), "920ms");
        assert_eq!(answer.oddities, [""; 0]);
    }

    #[test]
    fn nothing_that_holds_and_nothing_that_breaks_are_soon_known() {
        let (answer, tries) = search(question("n=1..100"), |_, _| Sense::Broke);
        assert_eq!((answer.last_safe, tries.len()), (None, 2));
        let (answer, tries) = search(question("n=1..100"), |_, _| Sense::Held);
        assert_eq!((answer.last_safe, answer.first_broken, tries.len()), (Some(100.0), None, 3));
    }

    #[test]
    fn where_small_values_are_the_bad_ones_the_smallest_that_holds_is_found() {
        let above = |value: f64, _| if value >= 40.0 { Sense::Held } else { Sense::Broke };
        let (answer, _) = search(question("rate=1..100"), above);
        assert_eq!((answer.bad, answer.last_safe, answer.first_broken), (Bad::Small, Some(40.0), Some(38.0)));
    }

    #[test]
    fn a_value_that_breaks_below_one_that_holds_is_told() {
        // Only the middle breaks: the edges alone would have said that all is well.
        let (answer, _) =
            search(
                question("n=0..100"),
                |value, _| {
                    if (40.0..60.0).contains(&value) { Sense::Broke } else { Sense::Held }
                },
            );
        assert!(answer.last_safe.unwrap() < 41.0 && answer.first_broken.unwrap() <= 50.0, "{answer:?}");
        assert!(answer.oddities[0].contains("broke, and 100 above it held"), "{answer:?}");
    }

    #[test]
    fn a_limit_that_is_not_sharp_is_told() {
        let (answer, _) = search(question("n=0..100"), |value, before| match value <= 62.0 && before == 0 {
            true => Sense::Held,
            false => Sense::Broke,
        });
        assert!(answer.oddities[0].contains("held once and broke once"), "{answer:?}");
        assert!(answer.last_safe.unwrap() < answer.first_broken.unwrap());
    }

    #[test]
    fn a_scan_comes_before_halving() {
        let question = Question { scan: 3, steps: 0, confirm: false, ..question("n=0..100") };
        let (answer, tries) = search(question, below(60.0));
        let values: Vec<_> = tries.iter().map(|one| one.value).collect();
        assert_eq!(values, [0.0, 100.0, 25.0, 50.0, 75.0]);
        assert_eq!((answer.last_safe, answer.first_broken), (Some(50.0), Some(75.0)));
    }

    proptest! {
        #[test]
        fn any_limit_is_found_as_exactly_as_asked(limit in 1_u32..1_000_000, high in 2_u32..1_000_000, small: bool) {
            let scale = Scale::new(Unit::Number, 1.0, f64::from(high));
            let question = Question { scale, steps: 60, precision: 0.02, scan: 0, confirm: true };
            let limit = f64::from(limit);
            let judge = |value: f64, _| if (value <= limit) != small { Sense::Held } else { Sense::Broke };
            let (answer, tries) = search(question, judge);
            prop_assert!(answer.oddities.is_empty());
            if let (Some(safe), Some(broken)) = (answer.last_safe, answer.first_broken) {
                prop_assert!((safe <= limit) != small && (broken <= limit) == small);
                let gap = (safe - broken).abs();
                prop_assert!(gap <= safe.max(broken) * 0.02 || gap <= 1.0, "{safe} {broken}: {tries:?}");
            }
        }
    }
}
