//! The Mann-Whitney U test: whether one group's values are greater as a whole. Pure.
//!
//! Up to 40 values together the p-value is exact, ties included: all ways to deal the ranks to the groups are counted.
//! Above, it is the normal approximation with corrections for ties and continuity (Mann and Whitney, Ann. Math. Statist.
//! 18, 1947; Lehmann, Nonparametrics, 1975).

use super::Values;

/// Values of both groups together up to which all ways are counted.
const EXACT: u64 = 40;

/// The chance of ranks at least as high as those of `group`, if its values are not greater than the control's.
#[must_use]
pub fn mann_whitney(group: &Values, control: &Values) -> f64 {
    let (group_count, control_count) = (group.count(), control.count());
    if group_count == 0 || control_count == 0 {
        return 1.0;
    }
    let ranks = Ranks::of(group, control);
    if group_count + control_count <= EXACT {
        ranks.exact(group_count)
    } else {
        ranks.normal(group_count, control_count)
    }
}

/// The U of `group`: in how many pairs its value is the greater one, equal ones counting half.
#[cfg(test)]
pub(super) fn u(group: &Values, control: &Values) -> f64 {
    let count = group.count() as f64;
    Ranks::of(group, control).twice_sum as f64 / 2.0 - count * (count + 1.0) / 2.0
}

/// Midranks over both groups. Doubled, they are whole numbers.
struct Ranks {
    /// Of each different value: twice its rank, and how many have it.
    ties: Vec<(u64, u64)>,
    /// Twice the sum of the group's ranks.
    twice_sum: u128,
}

impl Ranks {
    fn of(group: &Values, control: &Values) -> Self {
        let mut all: Vec<(f64, u64, bool)> = Vec::with_capacity(group.0.len() + control.0.len());
        all.extend(group.0.iter().map(|(value, count)| (*value, *count, true)));
        all.extend(control.0.iter().map(|(value, count)| (*value, *count, false)));
        all.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (mut ties, mut twice_sum, mut below) = (Vec::new(), 0_u128, 0);
        for equal in all.chunk_by(|one, other| one.0 == other.0) {
            let count: u64 = equal.iter().map(|(_, count, _)| count).sum();
            // Ranks below+1 to below+count, on average.
            let twice_rank = 2 * below + count + 1;
            let own: u64 = equal.iter().filter(|(_, _, own)| *own).map(|(_, count, _)| count).sum();
            twice_sum += u128::from(twice_rank) * u128::from(own);
            ties.push((twice_rank, count));
            below += count;
        }
        Self { ties, twice_sum }
    }

    /// Counts the ways to deal as many ranks as the group has, by their sum. As `f64`, in which 20 of 40
    /// is a whole number still.
    fn exact(&self, group: u64) -> f64 {
        let ranks: Vec<usize> =
            self.ties.iter().flat_map(|(rank, count)| std::iter::repeat_n(*rank as usize, *count as usize)).collect();
        let (group, highest) = (group as usize, ranks.iter().sum::<usize>());
        let mut ways = vec![vec![0.0_f64; highest + 1]; group + 1];
        ways[0][0] = 1.0;
        for rank in ranks {
            for chosen in (1..=group).rev() {
                let (fewer, more) = ways.split_at_mut(chosen);
                for (to, from) in more[0][rank..].iter_mut().zip(&fewer[chosen - 1]) {
                    *to += from;
                }
            }
        }
        let all: f64 = ways[group].iter().sum();
        let reached: f64 = ways[group].iter().skip(self.twice_sum as usize).sum();
        (reached / all).min(1.0)
    }

    fn normal(&self, group: u64, control: u64) -> f64 {
        let (group, control) = (group as f64, control as f64);
        let all = group + control;
        let u = self.twice_sum as f64 / 2.0 - group * (group + 1.0) / 2.0;
        let tied: f64 = self.ties.iter().map(|(_, count)| (*count as f64).powi(3) - *count as f64).sum();
        let variance = group * control / 12.0 * (all + 1.0 - tied / (all * (all - 1.0)));
        // All values are equal.
        if variance <= 0.0 {
            return 1.0;
        }
        let z = (u - group * control / 2.0 - 0.5) / variance.sqrt();
        0.5 * libm::erfc(z / std::f64::consts::SQRT_2)
    }
}
