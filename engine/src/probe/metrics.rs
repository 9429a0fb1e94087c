//! Reads one figure from a Prometheus text page: a value, a rate, or a quantile of a histogram.
//!
//! ```text
//! page ─▶ prom ─▶ selected series ─┬─▶ sum                                    value
//!                                  ├─▶ growth ─▶ sum a second                 rate
//!                                  └─▶ growth of buckets ─▶ interpolate       quantile
//! ```
//!
//! Neighbours: `prom` reads the page, `growth` compares it with the one before.
//! Invariant: a selector that matches nothing is a failed reading, not a 0.

use super::{
    Seen, Unread,
    growth::{Grown, Growth},
    prom::{self, Line},
};
use crate::{
    experiment::{MetricsRead, Selector},
    fetch,
};
use reqwest::Client;
use squall_wire::nearest::nearest;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// A longer page is a failed reading. Pages of large services reach a few MiB.
const LONGEST: usize = 8 * 1024 * 1024;

pub(super) struct MetricsProbe {
    client: Client,
    url: String,
    figure: Figure,
}

impl MetricsProbe {
    pub(super) fn new(client: Client, url: &str, select: Selector, read: MetricsRead) -> Self {
        Self { client, url: url.to_owned(), figure: Figure::new(select, read) }
    }

    pub(super) async fn read(&mut self) -> Result<Seen, Unread> {
        let response = self.client.get(&self.url).send().await.map_err(fetch::FetchError::from)?;
        let status = response.status();
        let unread = |why: String| Unread { status: Some(status.as_u16()), why };
        if !status.is_success() {
            return Err(unread(format!("the metrics page answered {status}")));
        }
        let page = fetch::body(response, LONGEST).await.map_err(|error| unread(error.to_string()))?;
        let page = String::from_utf8(page).map_err(|_| unread("the metrics page is not UTF-8".to_owned()))?;
        let seen = self.figure.of(&page, Instant::now()).map_err(unread)?;
        Ok(Seen { status: Some(status.as_u16()), ..seen })
    }
}

/// What is read from each page, and what is remembered of the one before.
struct Figure {
    select: Selector,
    read: MetricsRead,
    growth: Growth<String>,
    /// The bucket of each series in `growth`.
    bounds: BTreeMap<String, f64>,
}

impl Figure {
    fn new(mut select: Selector, read: MetricsRead) -> Self {
        if matches!(read, MetricsRead::Quantile(_)) && !select.name.ends_with("_bucket") {
            select.name.push_str("_bucket");
        }
        Self { select, read, growth: Growth::default(), bounds: BTreeMap::new() }
    }

    fn of(&mut self, page: &str, now: Instant) -> Result<Seen, String> {
        let page = prom::parse(page).map_err(|error| error.to_string())?;
        let series = select(&page, &self.select)?;
        let value = match self.read {
            MetricsRead::Value => Some(series.iter().map(|line| line.value).sum::<f64>()),
            MetricsRead::Rate => match self.grown(&series, now) {
                Some(grown) => grown.rate(),
                None => return Ok(first_reading()),
            },
            MetricsRead::Quantile(share) => {
                self.bounds = bounds(&series)?;
                match self.grown(&series, now) {
                    Some(grown) => quantile(share, &buckets(&grown, &self.bounds))?,
                    None => return Ok(first_reading()),
                }
            }
        };
        match value {
            Some(value) if !value.is_finite() => Err(format!("it is {value}, which is not a number to judge")),
            Some(value) => Ok(Seen { value: Some(value), ..Seen::default() }),
            None => Ok(Seen { text: Some("nothing was observed since the reading before".into()), ..Seen::default() }),
        }
    }

    fn grown(&mut self, series: &[&Line<'_>], now: Instant) -> Option<Grown<String>> {
        self.growth.since_before(now, series.iter().map(|line| (key(line), line.value)).collect())
    }
}

fn first_reading() -> Seen {
    Seen { text: Some("the first reading, from which growth is counted".into()), ..Seen::default() }
}

/// The selected series; the error says what was not found, and what there is instead.
fn select<'a, 'p>(page: &'a [Line<'p>], select: &Selector) -> Result<Vec<&'a Line<'p>>, String> {
    let named: Vec<_> = page.iter().filter(|line| line.name == select.name).collect();
    if named.is_empty() {
        let known = nearest(&select.name, page.iter().map(|line| &*line.name));
        let hint = known.map_or_else(String::new, |known| format!("; did you mean `{known}`?"));
        return Err(format!("there is no metric `{}` on the page{hint}", select.name));
    }
    let fits = |line: &&Line<'_>| select.labels.iter().all(|(name, value)| line.label(name) == value);
    let count = named.len();
    let selected: Vec<_> = named.into_iter().filter(fits).collect();
    if selected.is_empty() {
        let labels: Vec<_> = select.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        return Err(format!("none of the {count} series of `{}` has {{{}}}", select.name, labels.join(",")));
    }
    Ok(selected)
}

/// Tells the series of one metric apart, in whatever order the page writes labels.
fn key(line: &Line<'_>) -> String {
    let mut labels: Vec<_> = line.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    labels.sort();
    labels.join(",")
}

fn bounds(series: &[&Line<'_>]) -> Result<BTreeMap<String, f64>, String> {
    let bound = |line: &&Line<'_>| match line.label("le").parse::<f64>() {
        Ok(bound) if !bound.is_nan() => Ok((key(line), bound)),
        _ => Err(format!("`{}` has a bucket whose `le` is not a number", line.name)),
    };
    series.iter().map(bound).collect()
}

/// Growth of cumulative buckets, summed over the series of each bound, by rising bound.
fn buckets(grown: &Grown<String>, bounds: &BTreeMap<String, f64>) -> Vec<(f64, f64)> {
    let mut buckets: Vec<(f64, f64)> =
        grown.counters.iter().filter_map(|(key, count)| Some((*bounds.get(key)?, *count))).collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    buckets.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        kept.1 += if same { next.1 } else { 0.0 };
        same
    });
    buckets
}

/// The quantile by linear interpolation within its bucket, as Prometheus computes it; none if nothing was observed.
/// Beyond the highest finite bound nothing is known, and that bound is the answer.
fn quantile(share: f64, buckets: &[(f64, f64)]) -> Result<Option<f64>, String> {
    let Some(((last, _), finite)) = buckets.split_last().filter(|(_, finite)| !finite.is_empty()) else {
        return Err("the histogram has no buckets below `+Inf`".to_owned());
    };
    if *last != f64::INFINITY {
        return Err("the histogram has no `+Inf` bucket".to_owned());
    }
    // A reset seen by some buckets only may leave one below the one before: counts are made to rise.
    let rising: Vec<(f64, f64)> = buckets
        .iter()
        .scan(0.0_f64, |highest, (bound, count)| {
            *highest = highest.max(*count);
            Some((*bound, *highest))
        })
        .collect();
    let highest = rising.last().map_or(0.0, |(_, count)| *count);
    let rank = share * highest;
    if highest <= 0.0 {
        return Ok(None);
    }
    let index = rising.partition_point(|(_, count)| *count < rank);
    let (bound, count) = rising.get(index).copied().unwrap_or((f64::INFINITY, highest));
    if bound == f64::INFINITY {
        return Ok(finite.last().map(|(bound, _)| *bound));
    }
    let (low, below) = match index.checked_sub(1) {
        Some(previous) => rising[previous],
        None if bound <= 0.0 => return Ok(Some(bound)),
        None => (0.0, 0.0),
    };
    let within = if count > below { (rank - below) / (count - below) } else { 1.0 };
    Ok(Some(low + (bound - low) * within))
}

#[cfg(test)]
mod tests {
    use super::{Figure, quantile};
    use crate::experiment::{MetricsRead, Selector};
    use std::time::Duration;
    use tokio::time::Instant;

    fn selector(name: &str, labels: &[(&str, &str)]) -> Selector {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Selector { name: name.to_owned(), labels }
    }

    fn value(page: &str, select: Selector) -> Result<Option<f64>, String> {
        Figure::new(select, MetricsRead::Value).of(page, Instant::now()).map(|seen| seen.value)
    }

    const PAGE: &str = "state{service=\"payment\",zone=\"a\"} 1\nstate{service=\"payment\",zone=\"b\"} 2\nstate 4\n";

    #[test]
    fn matching_series_are_added_up() {
        assert_eq!(value(PAGE, selector("state", &[])), Ok(Some(7.0)));
        assert_eq!(value(PAGE, selector("state", &[("service", "payment")])), Ok(Some(3.0)));
        assert_eq!(value(PAGE, selector("state", &[("zone", "b"), ("service", "payment")])), Ok(Some(2.0)));
        assert_eq!(value(PAGE, selector("state", &[("service", "")])), Ok(Some(4.0)));
    }

    #[test]
    fn a_selector_that_matches_nothing_says_what_there_is() {
        let error = value(PAGE, selector("stat", &[])).unwrap_err();
        assert_eq!(error, "there is no metric `stat` on the page; did you mean `state`?");
        let error = value(PAGE, selector("state", &[("service", "x")])).unwrap_err();
        assert_eq!(error, "none of the 3 series of `state` has {service=\"x\"}");
    }

    #[test]
    fn no_number_is_not_a_value() {
        assert!(value("m NaN", selector("m", &[])).unwrap_err().contains("not a number"));
        assert!(value("m +Inf", selector("m", &[])).unwrap_err().contains("not a number"));
    }

    #[test]
    fn a_rate_starts_with_the_second_reading() {
        let start = Instant::now();
        let mut figure = Figure::new(selector("n", &[]), MetricsRead::Rate);
        let mut read = |second, page| figure.of(page, start + Duration::from_secs(second)).unwrap().value;
        assert_eq!(read(0, "n{a=\"1\",b=\"2\"} 10\n"), None);
        assert_eq!(read(2, "n{b=\"2\",a=\"1\"} 30\n"), Some(10.0));
        assert_eq!(read(3, "n{b=\"2\",a=\"1\"} 5\n"), Some(5.0));
    }

    fn page(counts: [u64; 3], zone: &str) -> String {
        let bounds = ["0.1", "0.5", "+Inf"];
        let line = |(le, count)| format!("t_bucket{{zone=\"{zone}\",le=\"{le}\"}} {count}\n");
        bounds.iter().zip(counts).map(line).collect()
    }

    #[test]
    fn a_quantile_is_that_of_the_growth_between_readings() {
        let start = Instant::now();
        let mut figure = Figure::new(selector("t", &[]), MetricsRead::Quantile(0.5));
        let mut read = |second, page: &str| figure.of(page, start + Duration::from_secs(second)).unwrap();
        assert_eq!(read(0, &page([1000, 1000, 1000], "a")).value, None);
        let value = read(1, &page([1000, 1010, 1010], "a")).value.unwrap();
        assert!((value - 0.3).abs() < 1e-9, "{value}");
        let both = page([1000, 1010, 1010], "a") + &page([0, 0, 8], "b");
        assert_eq!(read(2, &both).value, Some(0.5));
        let quiet = read(3, &both);
        assert_eq!((quiet.value, quiet.text.unwrap().contains("nothing was observed")), (None, true));
    }

    #[test]
    fn quantiles_interpolate_as_prometheus_does() {
        let buckets = [(1.0, 4.0), (2.0, 8.0), (f64::INFINITY, 10.0)];
        assert_eq!(quantile(0.2, &buckets), Ok(Some(0.5)));
        assert_eq!(quantile(0.6, &buckets), Ok(Some(1.5)));
        assert_eq!(quantile(0.99, &buckets), Ok(Some(2.0)));
        assert_eq!(quantile(0.0, &buckets), Ok(Some(0.0)));
        assert_eq!(quantile(0.5, &[(1.0, 0.0), (f64::INFINITY, 0.0)]), Ok(None));
        assert!(quantile(0.5, &buckets[..2]).is_err());
        assert!(quantile(0.5, &buckets[2..]).is_err());
    }
}
