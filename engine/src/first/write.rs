//! From what was seen to the text of a first experiment, each line with why it is as it is. Pure.
//!
//! Neighbours: `squall init` gives what was seen, and checks the text as any file is checked.
//! Invariant: each limit stands beside what was measured, and the head-room that was added.

use crate::sample::Metric;
use squall_wire::Span;
use std::time::Duration;

/// A page that customers ask for, and how it did in the baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct PageSeen {
    /// The request's name.
    pub name: String,
    /// Its path, templates included.
    pub path: String,
    /// The share that succeeded.
    pub success: f64,
    /// The slowest hundredth, in seconds.
    pub p99: f64,
    /// How often it was asked for.
    pub samples: usize,
}

/// A counter of failures, and how fast it grew in the baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct CounterSeen {
    /// Its name.
    pub name: String,
    /// A second.
    pub rate: f64,
}

/// Everything that was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The experiment's name.
    pub name: String,
    /// The variable that stands for the service's address.
    pub variable: String,
    /// Requests a second.
    pub rate: f64,
    /// For how long the baseline was measured.
    pub measured: Duration,
    /// The pages.
    pub pages: Vec<PageSeen>,
    /// Where its health is.
    pub health: Option<String>,
    /// Where its metrics are, and the counters that are worth watching.
    pub metrics: Option<(String, Vec<CounterSeen>)>,
    /// The proxy that is hurt, and why that one.
    pub proxy: (String, String),
    /// Its agent, if there are several proxies of the name.
    pub others: Vec<String>,
}

/// The limit of a share of success: a point below what was measured, and never above 99 %.
fn success_limit(measured: f64) -> f64 {
    ((measured - 0.01).min(0.99) * 100.0).floor().max(0.0)
}

/// The limit of a response time: three times what was measured, and at least 100 ms more, rounded up to two digits.
fn time_limit(measured: f64) -> Duration {
    let millis = (measured * 3.0).max(measured + 0.1) * 1e3;
    let power = 10f64.powf(millis.log10().floor() - 1.0);
    Duration::from_secs_f64(((millis / power).ceil() * power).round() / 1e3)
}

/// A delay that most pages should stand: a third of the room under the tightest limit, 10 to 100 ms.
fn mild_delay(pages: &[PageSeen]) -> Duration {
    let room = pages.iter().map(|page| time_limit(page.p99).as_secs_f64() - page.p99).fold(f64::INFINITY, f64::min);
    let millis = if room.is_finite() { (room / 3.0 * 1e3).clamp(10.0, 100.0) } else { 50.0 };
    Duration::from_millis((millis / 10.0).floor() as u64 * 10)
}

/// So long that there are samples enough for a ratio: 20 are needed, 40 are safe.
fn enough(least: u64, rate: f64) -> Duration {
    Duration::from_secs(least.max((40.0 / rate).ceil() as u64))
}

/// The text.
#[must_use]
pub fn experiment(seen: &Seen) -> String {
    let Seen { name, variable, rate, measured, proxy: (proxy, why), .. } = seen;
    let (measured, delay) = (Span::from(*measured), Span::from(mild_delay(&seen.pages)));
    let hold = enough(3, *rate);
    let [baseline, hold, within] = [enough(5, *rate), hold, hold + Duration::from_secs(10)].map(Span::from);
    let others = match seen.others.as_slice() {
        [] => String::new(),
        others => format!("  # The agent also has: {}.\n", others.join(", ")),
    };
    format!(
        "# A first experiment, by squall init. Its limits come from a baseline of {measured}; sharpen them, and say what you\n\
         # believe. `squall plan` shows what it would touch, `squall limit FILE --vary delay=10ms..1s` how far it holds.\n\
         version: 1\n\
         name: {name}\n\
         hypothesis: >\n  When {proxy} answers {delay} late, customers are served as they were before.\n\
         tags: [{proxy}, latency]\n\n\
         variables:\n  # `--set delay=200ms` changes it; more than max is refused.\n  delay: {{default: {delay}, max: 1s}}\n\n\
         # Squall's own load, sent on schedule whether or not earlier requests have come back.\n\
         traffic:\n  rate: {rate}/s\n  clients: 64\n  timeout: 5s\n  requests:\n{requests}\
         {probes}\n\
         # What holds before, during and after the fault.\n\
         steady_state:\n{rows}\n\
         method:\n  # {why}\n  - name: {proxy} is slow\n    inject: {{proxy: {proxy}, fault: {{latency: {{delay: \"${{delay}}\", \
         jitter: 5ms}}}}}}\n    for: 10s\n\n\
         # What may be touched, by mistake or by --set; the agents hold to it as well.\n\
         blast_radius:\n{others}  proxies: [{proxy}]\n  percent: 100\n  duration: 1m\n\n\
         # When to stop at once, and heal.\n\
         abort_when:\n  - {{probe: traffic, success_ratio: \"< 50%\", for: 3s}}\n  - {{probe_silent: 10s}}\n\n\
         # So long, that {rate}/s gives samples enough.\n\
         baseline: {baseline}\n\
         recovery: {{within: {within}, hold: {hold}}}\n",
        requests = requests(seen, variable),
        probes = probes(seen, variable),
        rows = rows(seen),
    )
}

/// As YAML that nothing in it can end.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn requests(seen: &Seen, variable: &str) -> String {
    let request = |page: &PageSeen| {
        let url = quoted(&format!("${{{variable}}}{}", page.path));
        format!("    - {{name: {}, get: {url}}}\n", page.name)
    };
    seen.pages.iter().map(request).collect()
}

fn probes(seen: &Seen, variable: &str) -> String {
    let mut text = String::new();
    if let Some(path) = &seen.health {
        let url = quoted(&format!("${{{variable}}}{path}"));
        text.push_str(&format!("  ready: {{http: {{url: {url}}}, every: 500ms, timeout: 2s}}\n"));
    }
    for (path, counter) in seen.metrics.iter().flat_map(|(path, counters)| counters.iter().map(move |one| (path, one)))
    {
        let (url, name) = (quoted(&format!("${{{variable}}}{path}")), &counter.name);
        text.push_str(&format!(
            "  # How fast this counter grows, a second; the sum of all its series.\n  {}: {{metrics: {{url: {url}, select: \
             {}, rate: true}}, every: 1s, timeout: 2s}}\n",
            probe_name(name),
            quoted(name)
        ));
    }
    if text.is_empty() { text } else { format!("\n# What else is measured, each on its own clock.\nprobes:\n{text}") }
}

fn probe_name(counter: &str) -> String {
    counter.trim_end_matches("_total").replace([':', '.'], "_")
}

fn rows(seen: &Seen) -> String {
    let mut text = String::new();
    for page in &seen.pages {
        let limit = Span::from(time_limit(page.p99));
        let [success, p99] = [Metric::SuccessRatio.shown(page.success), Metric::P99.shown(page.p99)];
        text.push_str(&format!(
            "  # Measured over {} requests: {success} succeeded, one point of head-room; p99 {p99}, three times that and\n  # at \
             least 100 ms more.\n  - {{probe: traffic.{}, success_ratio: \">= {}%\", p99: \"< {limit}\"}}\n",
            page.samples,
            page.name,
            success_limit(page.success)
        ));
    }
    if seen.health.is_some() {
        text.push_str("  # It says itself that it is ready, at least 9 times in 10.\n  - {probe: ready, success_ratio: \">= 90%\", min_samples: 4}\n");
    }
    for counter in seen.metrics.iter().flat_map(|(_, counters)| counters) {
        let limit = (counter.rate * 3.0).max(counter.rate + 1.0).ceil();
        text.push_str(&format!(
            "  # Grew by {:.1}/s; three times that, and at least one more. During the fault it may do as it likes.\n  - {{probe: \
             {}, value: \"<= {limit}\", when: [before]}}\n",
            counter.rate,
            probe_name(&counter.name)
        ));
    }
    text
}

/// The text of an environment with one agent, and the service's address as a variable.
#[must_use]
pub fn environment(agent: &str, variable: &str, service: &str) -> String {
    format!(
        "# Where the experiment runs, by squall init: `--env NAME` with this file's name.\n\
         agents:\n  main: {{url: {}}}\nvariables:\n  {variable}: {}\n",
        quoted(agent),
        quoted(service)
    )
}

#[cfg(test)]
mod tests {
    use super::{CounterSeen, PageSeen, Seen, environment, experiment, mild_delay, success_limit, time_limit};
    use std::time::Duration;

    fn seen() -> Seen {
        let page = |name: &str, path: &str, p99: f64| PageSeen {
            name: name.into(),
            path: path.into(),
            success: 1.0,
            p99,
            samples: 200,
        };
        Seen {
            name: "first".into(),
            variable: "shop".into(),
            rate: 20.0,
            measured: Duration::from_secs(10),
            pages: vec![page("page1", "/products/{{ random(1, 500) }}", 0.021), page("page2", "/", 0.003)],
            health: Some("/health/ready".into()),
            metrics: Some(("/metrics".into(), vec![CounterSeen { name: "http_errors_total".into(), rate: 0.2 }])),
            proxy: ("payment".into(), "Most of the bytes of the baseline went through it.".into()),
            others: vec!["inventory".into()],
        }
    }

    #[test]
    fn every_line_of_a_first_experiment_says_why_it_is_so() {
        insta::assert_snapshot!(experiment(&seen()));
        insta::assert_snapshot!(environment("http://127.0.0.1:8474", "service", "http://127.0.0.1:8080"));
    }

    #[test]
    fn what_is_written_is_a_valid_experiment_also_at_the_edges() {
        let mut few = seen();
        (few.rate, few.health, few.metrics, few.others) = (0.5, None, None, vec![]);
        few.pages.truncate(1);
        few.pages[0].success = 0.0;
        for seen in [seen(), few] {
            let text = experiment(&seen);
            let variables = [("shop".to_owned(), "http://127.0.0.1:1".to_owned())].into();
            let inputs = crate::load::Inputs {
                path: "first.yaml",
                text: &text,
                set: &Default::default(),
                environment: &variables,
                secrets: &Default::default(),
                env_var: &|_| None,
                base_dir: std::path::Path::new("."),
            };
            let loaded = crate::load::load(&inputs).map_err(|mistakes| mistakes.render(&text, false));
            assert!(loaded.is_ok(), "{}\n{text}", loaded.unwrap_err());
        }
    }

    #[test]
    fn limits_have_head_room_and_round_numbers() {
        assert_eq!([1.0, 0.995, 0.5, 0.0].map(success_limit), [99.0, 98.0, 49.0, 0.0]);
        let limit = |p99: f64| time_limit(p99).as_millis();
        assert_eq!([0.003, 0.021, 0.0815, 2.0].map(limit), [110, 130, 250, 6000]);
        assert_eq!(mild_delay(&seen().pages), Duration::from_millis(30));
    }
}
