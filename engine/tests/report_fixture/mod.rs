//! A believable run for the journal's and the reports' tests: a payment provider gets slow, then loses connections,
//! while customers browse and buy. Everything in it follows from one seed.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(missing_docs, reason = "test helper")]

pub(crate) mod pages;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use squall_engine::{
    event::{Event, Phase, What},
    experiment::When,
    record::{
        AbortRecord, AgentRecord, BurnRecord, ControlRecord, FaultRecord, Outcome, RowResult, RunEnd, RunRecord,
        RunStart, SeriesRecord, SourceRecord,
    },
    sample::{Metric, Sample},
    verdict::Verdict,
};
use squall_wire::{FaultInfo, FaultKind, FaultSpec, LeaseId, Span};
use std::{collections::BTreeMap, time::Duration};

pub(crate) const SOURCE: &str = r#"version: 1
name: payment-slow
hypothesis: >
  When the payment provider answers 800 ms late, customers still buy: orders succeed, product pages
  are not slower, and the shop is back to normal ten seconds after the provider is.
owner: team-checkout
tags: [payment, latency, ci]

traffic:                                     # squall's own load, open-loop
  rate: 200/s
  clients: 64
  requests:
    - {name: browse,   weight: 8, get: "${shop}/products/{{ random(1, 500) }}"}
    - {name: checkout, weight: 2, post: "${shop}/orders", json: {product: 7, quantity: 1}}

probes:
  breaker: {metrics: {url: "${shop}/metrics", select: 'circuit_breaker_state{service="payment"}'}, every: 500ms}
  ready:   {http: {url: "${shop}/health/ready"}, timeout: 300ms}
"#;

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn start() -> RunStart {
    RunStart {
        id: "0197a3c2-5b1e-7c40-9a51-2f6d0b8e4c11".into(),
        experiment: "payment-slow".into(),
        hypothesis: "When the payment provider answers 800 ms late, customers still buy: orders succeed, product \
                     pages are not slower, and the shop is back to normal ten seconds after the provider is."
            .into(),
        owner: Some("team-checkout".into()),
        tags: vec!["payment".into(), "latency".into(), "ci".into()],
        source: SourceRecord { path: "experiments/payment-slow.yaml".into(), text: SOURCE.into() },
        variables: BTreeMap::from([("delay".into(), "800ms".into()), ("shop".into(), "http://127.0.0.1:41873".into())]),
        environment: "sandbox".into(),
        agents: vec![AgentRecord {
            name: "sandbox".into(),
            url: "http://127.0.0.1:38211".into(),
            version: "0.1.0".into(),
        }],
        started_at: "2026-11-21T08:14:07Z".into(),
        version: "0.1.0".into(),
        host: "build-7".into(),
        pid: 48_213,
        recovery_within: ms(10_000),
        recovery_hold: ms(3_000),
    }
}

fn event(at: u64, what: What) -> Event {
    Event { at: ms(at), what }
}

fn phase(at: u64, phase: Phase, lasting: Option<u64>) -> Event {
    event(at, What::Phase { phase, lasting: lasting.map(ms) })
}

fn kind(json: &str) -> FaultKind {
    serde_json::from_str(json).unwrap()
}

pub(crate) fn spec(json: &str) -> FaultSpec {
    FaultSpec::of(kind(json))
}

fn info(name: &str, json: &str, seed: u64) -> FaultInfo {
    let spec = spec(json);
    FaultInfo {
        name: name.parse().unwrap(),
        direction: spec.resolved_direction(),
        fault: spec.fault,
        percent: spec.percent,
        only: spec.only,
        skip: 0,
        count: None,
        seed,
        lease: Some(lease()),
        expires_in: Span::from_secs(10),
        hits: Some(0),
        units: 0,
    }
}

fn lease() -> LeaseId {
    "l-5f3a9c".parse().unwrap()
}

const LATENCY: &str = r#"{"latency": {"delay": "800ms", "jitter": "100ms"}}"#;
const RESET: &str = r#"{"reset": {}}"#;
const BLACKHOLE: &str = r#"{"blackhole": {}}"#;

fn injection(at: u64, step: &str, proxy: &str, name: &str, json: &str, seed: u64) -> [Event; 2] {
    let (step, agent) = (step.to_owned(), "sandbox".to_owned());
    let proxy: squall_wire::ProxyName = proxy.parse().unwrap();
    [
        event(at, What::Intent { step: step.clone(), agent: agent.clone(), proxy: proxy.clone(), fault: spec(json) }),
        event(at + 4, What::Injected { step, agent, proxy, fault: info(name, json, seed) }),
    ]
}

fn removal(at: u64, proxy: &str, fault: &str, hits: u64) -> Event {
    event(
        at,
        What::Removed {
            agent: "sandbox".into(),
            proxy: proxy.parse().unwrap(),
            fault: fault.parse().unwrap(),
            hits: Some(hits),
            why: "step ended".into(),
        },
    )
}

pub(crate) fn events() -> Vec<Event> {
    let mut events = vec![
        phase(0, Phase::Plan, None),
        phase(42, Phase::Lease, None),
        event(
            51,
            What::Leased {
                agent: "sandbox".into(),
                url: "http://127.0.0.1:38211".into(),
                lease: lease(),
                proxies: vec!["payment".parse().unwrap(), "recommendations".parse().unwrap()],
                ttl: ms(10_000),
            },
        ),
        phase(55, Phase::Baseline, Some(8_000)),
        phase(8_060, Phase::Method, Some(21_000)),
        event(8_061, What::StepStarted { step: "payment is slow".into(), lasting: ms(12_000) }),
    ];
    events.extend(injection(8_063, "payment is slow", "payment", "latency-1", LATENCY, 7_310_254_418));
    events.push(removal(20_071, "payment", "latency-1", 486));
    events.push(event(20_072, What::StepEnded { step: "payment is slow".into() }));
    events.push(event(20_073, What::StepStarted { step: "wait 3s".into(), lasting: ms(3_000) }));
    events.push(event(23_075, What::StepEnded { step: "wait 3s".into() }));
    events.push(event(23_076, What::StepStarted { step: "two at once".into(), lasting: ms(6_000) }));
    events.extend(injection(23_078, "resets", "payment", "reset-1", RESET, 99_120_443));
    events.extend(injection(23_079, "no recommendations", "recommendations", "blackhole-1", BLACKHOLE, 5_512));
    events.push(removal(29_084, "payment", "reset-1", 73));
    events.push(removal(29_086, "recommendations", "blackhole-1", 214));
    events.push(event(29_087, What::StepEnded { step: "two at once".into() }));
    events.push(phase(29_090, Phase::Heal, None));
    events.push(event(29_097, What::HealConfirmed { agent: "sandbox".into() }));
    events.push(phase(29_099, Phase::Recovery, Some(10_000)));
    events.push(event(29_100, What::Note { text: "back to normal after 0.4 s".into() }));
    events.push(phase(33_120, Phase::Verdict, None));
    events.push(event(33_124, What::Verdict { verdict: Verdict::Deviated, reasons: reasons() }));
    events
}

fn reasons() -> Vec<String> {
    vec![
        "traffic.checkout p99 was 1620 ms during the faults; `< 1500ms` was promised".into(),
        "traffic.checkout success_ratio was 96.4 % during the faults; `>= 99%` was promised".into(),
    ]
}

/// A time in milliseconds with a long tail: most are near `typical`, one in fifty is several times that.
fn response(chance: &mut ChaCha8Rng, typical: f64) -> Duration {
    let spread: f64 = chance.random_range(0.7..1.4);
    let tail = if chance.random_ratio(1, 50) { chance.random_range(1.5..4.0) } else { 1.0 };
    Duration::from_micros((typical * spread * tail * 1_000.0) as u64)
}

fn sample(at: Duration, took: Duration, status: u16) -> Sample {
    Sample { at, took, ok: status < 400, status: Some(status), value: None, text: None }
}

fn browse(chance: &mut ChaCha8Rng) -> Vec<Sample> {
    (0..33_000u64)
        .step_by(6)
        .filter_map(|at| {
            let at = ms(at + 60);
            let typical = if (23_079..29_086).contains(&at.as_millis()) { 9.5 } else { 8.0 };
            chance.random_ratio(96, 100).then(|| sample(at, response(chance, typical), 200))
        })
        .collect()
}

fn checkout(chance: &mut ChaCha8Rng) -> Vec<Sample> {
    (0..33_000u64)
        .step_by(25)
        .map(|at| {
            let at = ms(at + 71);
            match at.as_millis() {
                8_067..20_071 => {
                    let slow = Duration::from_micros(chance.random_range(700_000..900_000));
                    let took = slow + response(chance, 24.0) + slow * u32::from(chance.random_ratio(1, 20));
                    sample(at, took, if chance.random_ratio(1, 60) { 504 } else { 201 })
                }
                23_082..29_084 if chance.random_ratio(30, 100) => {
                    let failed = chance.random_ratio(1, 4);
                    let mut sample = sample(at, response(chance, 61.0), if failed { 502 } else { 201 });
                    if failed {
                        sample.text = Some("502 Bad Gateway: payment reset the connection".into());
                    }
                    sample
                }
                _ => sample(at, response(chance, 22.0), 201),
            }
        })
        .collect()
}

fn ready(chance: &mut ChaCha8Rng) -> Vec<Sample> {
    (0..66u64)
        .map(|tick| {
            let at = ms(tick * 500 + 58);
            if (46..49).contains(&tick) {
                return sample(at, response(chance, 4.0), 503);
            }
            if tick == 49 {
                let text = Some("no answer within 300 ms".into());
                return Sample { at, took: ms(300), ok: false, status: None, value: None, text };
            }
            sample(at, response(chance, 3.0), 200)
        })
        .collect()
}

fn breaker(chance: &mut ChaCha8Rng) -> Vec<Sample> {
    (0..66u64)
        .map(|tick| {
            let at = ms(tick * 500 + 59);
            let state = match at.as_millis() {
                24_000..27_500 => 2.0,
                27_500..29_300 => 1.0,
                _ => 0.0,
            };
            Sample { at, took: response(chance, 2.0), ok: true, status: Some(200), value: Some(state), text: None }
        })
        .collect()
}

pub(crate) fn series() -> Vec<SeriesRecord> {
    let chance = &mut ChaCha8Rng::seed_from_u64(20_261_121);
    vec![
        SeriesRecord { name: "traffic.browse".into(), samples: browse(chance) },
        SeriesRecord { name: "traffic.checkout".into(), samples: checkout(chance) },
        SeriesRecord { name: "ready".into(), samples: ready(chance) },
        SeriesRecord { name: "breaker".into(), samples: breaker(chance) },
    ]
}

#[expect(clippy::too_many_arguments, reason = "one call is one line of the table below")]
fn row(
    probe: &str,
    metric: Metric,
    tolerance: &str,
    when: When,
    measured: f64,
    samples: usize,
    outcome: Outcome,
    limits: &[f64],
) -> RowResult {
    RowResult {
        probe: probe.into(),
        metric,
        tolerance: tolerance.into(),
        when,
        measured: Some(measured),
        shown: metric.shown(measured),
        baseline: (when != When::Before).then_some(0.0625),
        samples,
        outcome,
        limits: limits.to_vec(),
        control: None,
        burn: None,
    }
}

pub(crate) fn rows() -> Vec<RowResult> {
    use Metric::{P99, Status, SuccessRatio, Value};
    use Outcome::{Broken, Held, Inconclusive};
    use When::{After, Before, During};
    let near = "within 20% of baseline or < 50ms";
    vec![
        row("traffic.checkout", SuccessRatio, ">= 99%", Before, 1.0, 320, Held, &[0.99]),
        row("traffic.checkout", SuccessRatio, ">= 99%", During, 0.964, 841, Broken, &[0.99]),
        row("traffic.checkout", SuccessRatio, ">= 99%", After, 1.0, 120, Held, &[0.99]),
        row("traffic.checkout", P99, "< 1500ms", Before, 0.0715, 320, Held, &[1.5]),
        row("traffic.checkout", P99, "< 1500ms", During, 1.62, 841, Broken, &[1.5]),
        row("traffic.checkout", P99, "< 1500ms", After, 0.0688, 120, Held, &[1.5]),
        row("traffic.browse", SuccessRatio, ">= 99.9%", Before, 1.0, 1281, Held, &[0.999]),
        row("traffic.browse", SuccessRatio, ">= 99.9%", During, 1.0, 3364, Held, &[0.999]),
        row("traffic.browse", SuccessRatio, ">= 99.9%", After, 1.0, 478, Held, &[0.999]),
        row("traffic.browse", P99, near, Before, 0.0231, 1281, Held, &[0.05]),
        row("traffic.browse", P99, near, During, 0.0254, 3364, Held, &[0.05, 0.02772]),
        row("traffic.browse", P99, near, After, 0.0235, 478, Held, &[0.05, 0.02772]),
        row("ready", Status, "200", Before, 200.0, 16, Held, &[200.0]),
        row("ready", Status, "200", During, 503.0, 42, Broken, &[200.0]),
        row("ready", Status, "200", After, 200.0, 6, Held, &[200.0]),
        row("breaker", Value, "== 0", Before, 0.0, 16, Held, &[0.0]),
        row("breaker", Value, "== 0", After, 0.0, 2, Inconclusive, &[0.0]),
    ]
}

fn fault(step: &str, proxy: &str, name: &str, window: (u64, u64), hits: u64, seed: u64, shown: &str) -> FaultRecord {
    FaultRecord {
        step: step.into(),
        agent: "sandbox".into(),
        proxy: proxy.into(),
        name: name.into(),
        kind: name.split('-').next().unwrap().into(),
        shown: shown.into(),
        seed: Some(seed),
        from: ms(window.0),
        to: Some(ms(window.1)),
        hits: Some(hits),
    }
}

pub(crate) fn end() -> RunEnd {
    let latency = "{latency: {delay: 800ms, jitter: 100ms}}";
    RunEnd {
        verdict: Verdict::Deviated,
        exit_code: 1,
        reasons: reasons(),
        took: ms(33_126),
        rows: rows(),
        faults: vec![
            fault("payment is slow", "payment", "latency-1", (8_067, 20_071), 486, 7_310_254_418, latency),
            fault("resets", "payment", "reset-1", (23_082, 29_084), 73, 99_120_443, "{reset: {}}, percent: 30"),
            fault(
                "no recommendations",
                "recommendations",
                "blackhole-1",
                (23_083, 29_086),
                214,
                5_512,
                "{blackhole: {}}",
            ),
        ],
        aborts: vec![
            AbortRecord {
                probe: "traffic".into(),
                condition: "success_ratio < 90% for 2s".into(),
                limits: vec![(Metric::SuccessRatio, 0.9)],
            },
            AbortRecord {
                probe: "ready".into(),
                condition: "status != 200 for 1s".into(),
                limits: vec![(Metric::Status, 200.0)],
            },
            AbortRecord { probe: "*".into(), condition: "no sample for 5s".into(), limits: vec![] },
        ],
    }
}

pub(crate) fn record() -> RunRecord {
    RunRecord { start: start(), end: Some(end()), events: events(), series: series() }
}

/// The same with what is judged in other ways: against those spared, by a burn rate, and a ramp.
pub(crate) fn record_of_everything() -> RunRecord {
    use Outcome::{Broken, Held};
    let mut record = record();
    let rows = &mut record.end.as_mut().unwrap().rows;
    let control = |hit: f64, spared: f64, p: f64| ControlRecord {
        hit: Some(hit),
        spared: Some(spared),
        hit_samples: 90,
        spared_samples: 210,
        test: "mann_whitney".into(),
        p_value: Some(p),
        p_adjusted: Some(p),
    };
    let compared = |metric, hit: f64, spared: f64, outcome| RowResult {
        shown: format!(
            "{}, control {} (90 hit, 210 spared)",
            Metric::shown(metric, hit),
            Metric::shown(metric, spared)
        ),
        control: Some(control(hit, spared, 0.00001)),
        ..row("payment", metric, "no worse than control by 20%", When::During, hit, 300, outcome, &[])
    };
    rows.push(compared(Metric::P50, 0.133, 0.033, Broken));
    rows.push(compared(Metric::ErrorRatio, 0.01, 0.009, Held));
    let burn = BurnRecord { objective: 0.99, long: ms(5_000), short: ms(1_000) };
    let burning = row("traffic.checkout", Metric::BurnRate, "< 14.4 of 99%", When::During, 6.1, 841, Held, &[14.4]);
    rows.push(RowResult { burn: Some(burn), ..burning });
    let step = || "how late may payment be".to_owned();
    let levels = [("50ms", Held), ("200ms", Held), ("800ms", Broken)];
    for (number, (level, outcome)) in levels.into_iter().enumerate() {
        let (at, level) = (8_100 + number as u64 * 4_000, format!("delay {level}"));
        record.events.push(event(at, What::Level { step: step(), number: number + 1, of: 4, level: level.clone() }));
        let level = Some(level);
        record.events.push(event(at + 4_000, What::Judged { step: step(), level, outcome, reasons: vec![] }));
    }
    let [safe, broken] = ["200ms", "800ms"].map(|level| Some(level.to_owned()));
    let ramped = What::Ramped { step: step(), vary: "delay".into(), safe, broken, expect: None, outcome: Broken };
    record.events.push(event(20_200, ramped));
    record.events.sort_by_key(|event| event.at);
    record
}

/// The samples as the recorder gives them to the journal: all series mixed, in the order in which they were due.
pub(crate) fn mixed(series: &[SeriesRecord]) -> Vec<(std::sync::Arc<str>, Sample)> {
    let mut samples: Vec<_> = series
        .iter()
        .flat_map(|series| {
            let name: std::sync::Arc<str> = (&*series.name).into();
            series.samples.iter().map(move |sample| (name.clone(), sample.clone()))
        })
        .collect();
    samples.sort_by_key(|(_, sample)| sample.at);
    samples
}
