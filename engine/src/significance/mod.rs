//! Whether a difference between two groups is more than chance: rank tests, a test of proportions, and the correction for
//! several of them. Pure.
//!
//! ```text
//! times of two groups ─┬─▶ mann_whitney: is the one longer as a whole?          ─┐
//!                      └─▶ exceedance: does it pass the other's quantile oftener? ├─▶ p-values ─▶ holm
//! counts of failures  ───▶ fisher: does it fail oftener?                         ─┘
//! ```
//!
//! All are one-sided, and none supposes how times are distributed. They ask that units were dealt to the groups by chance,
//! which the agent does: it draws for each whether a fault hits it.
//! Neighbours: `judge::control` chooses the test. Invariant: every p-value is from 0 to 1, also of empty groups, where it is 1.

mod exceedance;
mod fisher;
mod holm;
mod mann_whitney;

pub use exceedance::exceedance;
pub use fisher::fisher;
pub use holm::holm;
pub use mann_whitney::mann_whitney;

/// Values in ascending order, each with how often it occurs. Equal values may stand apart.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values(Vec<(f64, u64)>);

impl Values {
    /// Values in any order, each with its count; those that occur 0 times and NaN are left out.
    #[must_use]
    pub fn new(values: impl IntoIterator<Item = (f64, u64)>) -> Self {
        let mut values: Vec<_> = values.into_iter().filter(|(value, count)| *count > 0 && !value.is_nan()).collect();
        values.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        Self(values)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// The value that the given share of them does not exceed; none of none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let rank = self.rank(share);
        let mut seen = 0;
        let found = self.0.iter().find(|(_, count)| {
            seen += count;
            seen >= rank
        });
        found.map(|(value, _)| *value)
    }

    /// How many are greater.
    #[must_use]
    pub fn above(&self, limit: f64) -> u64 {
        self.0.iter().rev().take_while(|(value, _)| *value > limit).map(|(_, count)| count).sum()
    }

    /// The same values, each changed so; the change must keep their order.
    #[must_use]
    pub fn mapped(&self, change: impl Fn(f64) -> f64) -> Self {
        Self(self.0.iter().map(|(value, count)| (change(*value), *count)).collect())
    }

    /// The place, from 1, of the value below which this share lies.
    fn rank(&self, share: f64) -> u64 {
        // Counts are far below 2^52, and a share is from 0 to 1.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to the count")]
        let rank = (self.count() as f64 * share - 1e-9).ceil().max(0.0) as u64;
        rank.max(1)
    }
}

impl FromIterator<f64> for Values {
    fn from_iter<T: IntoIterator<Item = f64>>(values: T) -> Self {
        Self::new(values.into_iter().map(|value| (value, 1)))
    }
}

/// The logarithm of the number of ways to choose `few` of `many`.
fn ln_choose(many: u64, few: u64) -> f64 {
    let ln_factorial = |n: u64| libm::lgamma(n as f64 + 1.0);
    ln_factorial(many) - ln_factorial(few) - ln_factorial(many - few)
}

/// The sum of terms that are given by their logarithm at the first and by the ratio of each to the one before it, up to
/// where they no longer matter; at most 1.
fn tail(ln_first: f64, first: u64, last: u64, ratio: impl Fn(u64) -> f64) -> f64 {
    let (mut ln_term, mut sum) = (ln_first, 0.0);
    for at in first..=last {
        let term = f64::exp(ln_term);
        sum += term;
        let next = ratio(at);
        // Falling, and too small to be seen in the sum.
        if next <= 0.0 || (next < 1.0 && term < sum * 1e-17) {
            break;
        }
        ln_term += next.ln();
    }
    f64::clamp(sum, 0.0, 1.0)
}

#[cfg(test)]
mod tests;
