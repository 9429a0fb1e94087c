//! Fisher's exact test: whether one group fails oftener than another. Pure.

use super::{ln_choose, tail};

/// The chance that at least so many of the failures fall to the first group, if both fail alike. Each group is how many
/// failed, and of how many.
#[must_use]
pub fn fisher((failed, all): (u64, u64), (other_failed, other_all): (u64, u64)) -> f64 {
    let (failed, other_failed) = (failed.min(all), other_failed.min(other_all));
    let failures = failed + other_failed;
    let whole = all + other_all;
    // Hypergeometric: `failures` drawn from `whole`, of which `all` are of the first group.
    let ln_first = ln_choose(all, failed) + ln_choose(other_all, other_failed) - ln_choose(whole, failures);
    let ratio = |at: u64| {
        let rest = (failures - at) as f64;
        (all - at) as f64 * rest / ((at + 1) as f64 * ((other_all + at + 1) as f64 - failures as f64))
    };
    tail(ln_first, failed, all.min(failures), ratio)
}
