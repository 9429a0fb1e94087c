//! Which metrics of a service are worth watching in a first experiment: counters of what goes wrong. Pure.
//!
//! Neighbour: `probe::prom` reads the page. Invariant: only what is on the page is chosen.

use crate::probe::prom;
use std::collections::BTreeMap;

/// Words by which a counter of failures is known.
const BAD_WORDS: [&str; 9] = ["error", "fail", "timeout", "timed_out", "panic", "reject", "shed", "dropped", "retr"];
/// So many are enough for a first look.
const MOST: usize = 3;

/// A counter, by its name, and the sum of its series.
#[derive(Debug, Clone, PartialEq)]
pub struct Counter {
    /// Its name, which is also how a probe selects it.
    pub name: String,
    /// The sum of its series.
    pub value: f64,
}

/// The counters of the page that count something bad; none when it is no page of metrics.
#[must_use]
pub fn noteworthy(page: &str) -> Vec<Counter> {
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    for line in prom::parse(page).unwrap_or_default() {
        // A fail-over is what went well.
        let word = |word: &&str| line.name.contains(*word) && !line.name.contains("failover");
        let counts_something_bad = line.name.ends_with("_total") && BAD_WORDS.iter().any(word);
        if counts_something_bad && line.value.is_finite() {
            *sums.entry(line.name.into_owned()).or_default() += line.value;
        }
    }
    sums.into_iter().take(MOST).map(|(name, value)| Counter { name, value }).collect()
}

/// Whether it is a page of metrics, with at least one.
#[must_use]
pub fn is_page(page: &str) -> bool {
    prom::parse(page).is_ok_and(|lines| !lines.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{Counter, is_page, noteworthy};

    #[test]
    fn counters_of_failures_are_summed_and_everything_else_is_left() {
        let page = "# HELP a b\nhttp_requests_total{code=\"200\"} 9\nhttp_errors_total{code=\"500\"} 2\n\
                    http_errors_total{code=\"503\"} 3\nerror_budget 0.5\nfailover_total 3\nretries_total 7\n";
        let counter = |name: &str, value: f64| Counter { name: name.into(), value };
        assert_eq!(noteworthy(page), [counter("http_errors_total", 5.0), counter("retries_total", 7.0)]);
        assert!(is_page(page) && !is_page("<html>") && !is_page(""));
        assert_eq!(noteworthy("<html>"), []);
    }
}
