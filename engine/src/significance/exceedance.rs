//! The exceedance test: whether more of one group lie above a quantile of the other than would by chance. Pure.
//!
//! The control's value of that rank is the limit; how many of the others lie above it has, when both are of one
//! distribution, a negative hypergeometric distribution, whatever the distribution is (Gastwirth, "The first-median test",
//! JASA 63, 1968, for the median; Nelson, "Tests on early failures: the precedence life test", Technometrics 35, 1993, for
//! any rank). At the greatest value of the control it is Rosenbaum's test (1954). Equal values count as not above, which errs
//! to the safe side.

use super::{Values, ln_choose, tail};

/// The chance that at least as many of `group` lie above the control's quantile as do, if they are not greater.
#[must_use]
pub fn exceedance(group: &Values, control: &Values, share: f64) -> f64 {
    let Some(limit) = control.quantile(share) else { return 1.0 };
    let (all, controls, rank) = (group.count(), control.count(), control.rank(share));
    let above = group.above(limit);
    // P(W = w) = C(w + controls - rank, w) * C(all - w + rank - 1, all - w) / C(all + controls, all)
    let over = controls - rank;
    let ln_first = ln_choose(above + over, above) + ln_choose(all - above + rank - 1, all - above)
        - ln_choose(all + controls, all);
    let ratio = |w: u64| {
        let (w, left) = (w as f64, (all - w) as f64);
        (w + 1.0 + over as f64) / (w + 1.0) * left / (left + rank as f64 - 1.0)
    };
    tail(ln_first, above, all, ratio)
}
