//! What a right file becomes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod language_support;

use language_support::{EXAMPLE, Loader, changed, loaded, small};
use squall_engine::{
    experiment::{AbortRow, CommandRead, MetricsRead, ProbeKind, Step, When},
    sample::Metric,
};
use squall_wire::FaultKind;
use std::time::Duration;

#[test]
fn the_example_of_the_documentation_loads_as_written() {
    let experiment = loaded(EXAMPLE);
    assert_eq!(experiment.name, "payment-slow");
    assert!(experiment.hypothesis.starts_with("When the payment provider"));
    assert_eq!(experiment.tags, ["payment", "latency", "ci"]);
    assert_eq!(experiment.variables["delay"], "800ms");
    assert_eq!(experiment.source.text, EXAMPLE);
    let traffic = experiment.traffic.unwrap();
    assert_eq!((traffic.rate, traffic.clients), (200.0, 64));
    assert_eq!(traffic.requests[0].url.to_string(), "http://127.0.0.1:8080/products/{{ random(1, 500) }}");
    assert_eq!(
        (traffic.requests[1].method.as_str(), traffic.requests[1].expect.status.as_slice()),
        ("POST", &[201][..])
    );
    assert_eq!(traffic.requests[1].body.as_ref().unwrap().to_string(), r#"{"product":7,"quantity":1}"#);
    let headers: Vec<&str> = traffic.requests[1].headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(headers, ["Idempotency-Key", "content-type"]);
    assert_eq!(experiment.probes["ready"].timeout, Duration::from_millis(300));
    assert!(matches!(&experiment.probes["breaker"].kind,
        ProbeKind::Metrics { select, read: MetricsRead::Value, .. } if select.labels == [("service".into(), "payment".into())]));
    assert_eq!(experiment.steady_state.len(), 4);
    assert_eq!(experiment.steady_state[0].when, [When::Before, When::During, When::After]);
    assert_eq!(experiment.steady_state[3].when, [When::Before, When::After]);
    assert_eq!(experiment.steady_state[0].checks[1].metric, Metric::P99);
    let names: Vec<&str> = experiment.method.iter().map(Step::name).collect();
    assert_eq!(names, ["payment is slow", "wait 5s", "inject reset on payment + inject blackhole on recommendations"]);
    let inject = experiment.method[0].injections()[0];
    assert!(matches!(&inject.fault.fault, FaultKind::Latency(l) if l.delay.get() == Duration::from_millis(800)));
    assert_eq!(experiment.method.iter().map(Step::duration).sum::<Duration>(), Duration::from_secs(35));
    assert_eq!(experiment.method[2].injections()[0].fault.percent.get(), 30.0);
    assert!(matches!(experiment.abort_when[2], AbortRow::Silent(span) if span == Duration::from_secs(5)));
    assert_eq!(experiment.recovery.within, Duration::from_secs(10));
    assert_eq!(experiment.lease, Duration::from_secs(10));
}

#[test]
fn a_command_is_taken_as_it_is_written_beside_its_file() {
    let mut loader = Loader::new().env("TOKEN", "s3cr3t-token");
    loader.base_dir = "experiments".into();
    let text = small(
        "probes:
  db: {tcp: {address: '[::1]:5432'}}
  job: {command: {run: [./check, 5, '-x y'], env: {TOKEN: '${env:TOKEN}', N: 1}, read: number}}
  sql: {command: {run: [pg_isready]}}",
    );
    let experiment = loader.load(&text).unwrap();
    assert!(matches!(&experiment.probes["db"].kind, ProbeKind::Tcp { address } if address == "[::1]:5432"));
    let ProbeKind::Command(job) = &experiment.probes["job"].kind else { panic!("a command") };
    assert_eq!((job.program.as_str(), job.arguments.as_slice()), ("./check", &["5".to_owned(), "-x y".to_owned()][..]));
    assert_eq!(job.env, [("N".to_owned(), "1".to_owned()), ("TOKEN".to_owned(), "s3cr3t-token".to_owned())]);
    assert_eq!((job.directory.to_str(), job.read), (Some("experiments"), CommandRead::Number));
    assert!(!format!("{job:?}").contains("s3cr3t-token"));
    let ProbeKind::Command(sql) = &experiment.probes["sql"].kind else { panic!("a command") };
    assert_eq!(sql.read, CommandRead::ExitCode);
}

#[test]
fn a_small_file_gets_the_documented_defaults() {
    let experiment = loaded(&small(""));
    assert_eq!((experiment.baseline, experiment.lease), (Duration::from_secs(10), Duration::from_secs(10)));
    assert_eq!(
        (experiment.recovery.within, experiment.recovery.hold),
        (Duration::from_secs(10), Duration::from_secs(3))
    );
    assert_eq!(experiment.blast_radius.percent.get(), 100.0);
    assert!(experiment.abort_when.is_empty() && experiment.probes.is_empty());
}

#[test]
fn numbers_with_a_fraction_are_tolerances_too() {
    let experiment = loaded(&changed("success_ratio: '>= 99%'", "success_ratio: 0.995"));
    assert_eq!(experiment.steady_state[0].checks[0].tolerance.to_string(), "0.995");
}

#[test]
fn a_variable_is_read_again_as_what_stands_there() {
    let text =
        small("variables: {p: {default: 25}, who: {default: pay}, delay: {default: \"${n}00ms\"}, n: {default: 3}}")
            .replace("delay: 1s", "delay: \"${delay}\"")
            .replace("{inject: {", "{inject: {percent: \"${p}\", ")
            .replace("proxy: payment", "proxy: \"${who}ment\"");
    let experiment = loaded(&text);
    let inject = experiment.method[0].injections()[0];
    assert_eq!((inject.proxy.as_str(), inject.fault.percent.get()), ("payment", 25.0));
    assert!(matches!(&inject.fault.fault, FaultKind::Latency(l) if l.delay.get() == Duration::from_millis(300)));
}

#[test]
fn set_goes_before_the_environment_and_that_before_the_default() {
    let text = small("variables: {d: {default: 1s, max: 5s}}").replace("delay: 1s", "delay: \"${d}\"");
    let delay = |loader: &Loader| loader.load(&text).unwrap().variables["d"].clone();
    let mut loader = Loader::new();
    assert_eq!(delay(&loader), "1s");
    loader.environment.insert("d".into(), "2s".into());
    assert_eq!(delay(&loader), "2s");
    assert_eq!(delay(&loader.set("d", "3s")), "3s");
}

#[test]
fn an_escaped_reference_is_text() {
    let experiment = loaded(&changed("hypothesis: it holds", "hypothesis: costs $5 and $${shop} stays"));
    assert_eq!(experiment.hypothesis, "costs $5 and ${shop} stays");
}

#[test]
fn secrets_are_resolved_where_they_are_used_and_kept_out_of_everything_else() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("token"), "file-secret\n").unwrap();
    let text = small(
        "variables: {token: {default: '${env:TOKEN}'}}\nprobes: {ready: {http: {url: 'http://h/', headers: {A: 'Bearer ${token}', B: '${file:token}'}}}}",
    );
    let mut loader = Loader::new().env("TOKEN", "s3cr3t-token");
    loader.base_dir = dir.path().to_owned();
    let experiment = loader.load(&text).unwrap();
    let ProbeKind::Http { headers, .. } = &experiment.probes["ready"].kind else { panic!("an http probe") };
    assert_eq!(headers[0], ("A".to_owned(), "Bearer s3cr3t-token".to_owned()));
    assert_eq!(headers[1].1, "file-secret");
    assert!(!experiment.variables.contains_key("token"), "{:?}", experiment.variables);
    assert!(!experiment.source.text.contains("s3cr3t"));
    assert_eq!(experiment.secrets.redact("Bearer s3cr3t-token, file-secret"), "Bearer ***, ***");
}

#[test]
fn a_variable_that_holds_a_secret_of_the_environment_is_a_secret() {
    let mut loader = Loader::new();
    loader.secrets.add("hidden-in-url");
    loader.environment.insert("shop".into(), "http://u:hidden-in-url@127.0.0.1".into());
    let experiment = loader.load(&changed("get: http://127.0.0.1:1/", "get: '${shop}/'")).unwrap();
    assert!(experiment.variables.is_empty(), "{:?}", experiment.variables);
    assert_eq!(experiment.secrets.redact("http://u:hidden-in-url@127.0.0.1"), "***");
}

#[test]
fn aliases_and_merges_are_understood() {
    let text = changed(
        "method: [{inject",
        "probes:\n  a: &base {http: {url: 'http://h/a'}, every: 100ms}\n  b: {<<: *base, every: 2s}\n  c: *base\nmethod: [{inject",
    );
    let probes = loaded(&text).probes;
    assert_eq!((probes["b"].every, probes["c"].every), (Duration::from_secs(2), Duration::from_millis(100)));
}

#[test]
fn made_up_step_names_are_unique() {
    let step = "{inject: {proxy: payment, fault: {reset: {}}}, for: 1s}";
    let text = changed("method: [", &format!("method: [{step}, {step}, "));
    let names: Vec<String> = loaded(&text).method.iter().map(|step| step.name().to_owned()).collect();
    assert_eq!(names, ["inject reset on payment", "inject reset on payment (2)", "inject latency on payment"]);
}
