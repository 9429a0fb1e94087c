//! What OpenTelemetry's collectors and Grafana get of a run: from a server that keeps what came, read by the field's own types.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod report_fixture;

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::{Metric, metric::Data, number_data_point},
    trace::v1::{Span, status::StatusCode as SpanStatus},
};
use prost::Message;
use report_fixture as fixture;
use squall_engine::{
    environment::Secret,
    event::{Event, What},
    record::RunRecord,
    telemetry::{Grafana, Otlp, PATIENCE, Telemetry, Traceparent, trace},
    verdict::Verdict,
};
use std::{
    sync::{Arc, Once},
    time::{Duration, Instant},
};

/// A server that keeps what came, and answers with this status; with none it never answers.
#[derive(Clone)]
struct Recorded {
    url: String,
    came: Arc<parking_lot::Mutex<Vec<(String, HeaderMap, Bytes)>>>,
    answers: Arc<parking_lot::Mutex<Vec<u16>>>,
}

impl Recorded {
    /// The last of the answers is given again and again.
    async fn start(answers: &[u16]) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers = Arc::new(parking_lot::Mutex::new(answers.iter().rev().copied().collect()));
        let recorded = Self { url, came: Arc::default(), answers };
        let router = Router::new().fallback(keep).with_state(recorded.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        recorded
    }

    fn came(&self, path: &str) -> Vec<(HeaderMap, Bytes)> {
        let came = self.came.lock();
        came.iter().filter(|(at, ..)| at == path).map(|(_, headers, body)| (headers.clone(), body.clone())).collect()
    }

    fn otlp(&self, headers: Option<&str>) -> Telemetry {
        let headers = headers.map(Secret::new);
        let otlp = Some(Otlp::new(&self.url, headers.as_ref()).unwrap());
        Telemetry { otlp, ..Telemetry::default() }
    }
}

async fn keep(State(recorded): State<Recorded>, uri: Uri, headers: HeaderMap, body: Bytes) -> StatusCode {
    recorded.came.lock().push((uri.path().to_owned(), headers, body));
    let next = {
        let mut answers = recorded.answers.lock();
        if answers.len() > 1 { answers.pop() } else { answers.last().copied() }
    };
    match next {
        Some(status) => StatusCode::from_u16(status).unwrap(),
        None => std::future::pending().await,
    }
}

fn of(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|one| one.key == key)?;
    match found.value.clone()?.value? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{key}: {other:?}"),
    }
}

fn spans(body: &[u8]) -> Vec<Span> {
    let message = ExportTraceServiceRequest::decode(body).unwrap();
    let [resource] = &message.resource_spans[..] else { panic!("{message:?}") };
    assert_eq!(of(&resource.resource.as_ref().unwrap().attributes, "service.name").as_deref(), Some("squall"));
    resource.scope_spans[0].spans.clone()
}

/// The spans as an outline: each below its parent, with when it began and how long it took.
fn outline(spans: &[Span]) -> String {
    fn below(spans: &[Span], parent: &[u8], depth: usize, to: &mut Vec<String>) {
        for span in spans.iter().filter(|span| span.parent_span_id == parent) {
            let start = spans[0].start_time_unix_nano;
            let from = Duration::from_nanos(span.start_time_unix_nano - start);
            let took = Duration::from_nanos(span.end_time_unix_nano - span.start_time_unix_nano);
            to.push(format!("{}{} at {from:.1?} for {took:.1?}", "  ".repeat(depth), span.name));
            below(spans, &span.span_id, depth + 1, to);
        }
    }
    let mut lines = Vec::new();
    below(spans, &[], 0, &mut lines);
    assert_eq!(lines.len(), spans.len(), "every span hangs on the root");
    lines.join("\n")
}

#[tokio::test]
async fn a_run_is_a_trace_of_its_phases_steps_and_faults() {
    let server = Recorded::start(&[200]).await;
    let record = fixture::record();
    assert!(server.otlp(Some("authorization=Bearer%20hunter2")).send(&record).await.is_empty());
    let [(headers, body)] = &server.came("/v1/traces")[..] else { panic!("not one message") };
    assert_eq!(headers["content-type"], "application/x-protobuf");
    assert_eq!(headers["authorization"], "Bearer hunter2");
    let spans = spans(body);
    insta::assert_snapshot!(outline(&spans));
    let root = &spans[0];
    assert!(spans.iter().all(|span| span.trace_id == root.trace_id && span.span_id.len() == 8));
    let hex: String = root.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, record.start.id.replace('-', ""), "the run's id is the trace's");
    for (key, value) in
        [("squall.experiment", "payment-slow"), ("squall.environment", "sandbox"), ("squall.verdict", "deviated")]
    {
        assert_eq!(of(&root.attributes, key).as_deref(), Some(value));
    }
    let status = root.status.as_ref().unwrap();
    assert_eq!(status.code(), SpanStatus::Error);
    assert_eq!(status.message, record.end.as_ref().unwrap().reasons.join("; "));
    let fault = spans.iter().find(|span| span.name.starts_with("fault latency")).unwrap();
    let expected = &record.end.as_ref().unwrap().faults[0];
    assert_eq!(of(&fault.attributes, "squall.proxy").as_ref(), Some(&expected.proxy));
    assert_eq!(of(&fault.attributes, "squall.agent").as_ref(), Some(&expected.agent));
    assert_eq!(of(&fault.attributes, "squall.fault.hits"), expected.hits.map(|hits| hits.to_string()));
}

#[test]
fn the_status_of_a_trace_is_that_of_its_verdict_and_an_abort_is_an_event() {
    let with = |verdict| {
        let mut record = fixture::record();
        let breach = What::Breach { condition: "success_ratio < 90%".into(), measured: "12 %".into() };
        record.events.push(Event { at: Duration::from_secs(1), what: breach });
        record.end.as_mut().unwrap().verdict = verdict;
        record.end.as_mut().unwrap().faults[0].to = None;
        trace(&record, Traceparent::of(&record.start.id)).resource_spans[0].scope_spans[0].spans.clone()
    };
    for (verdict, code) in [
        (Verdict::Held, SpanStatus::Ok),
        (Verdict::Inconclusive, SpanStatus::Unset),
        (Verdict::Aborted, SpanStatus::Error),
        (Verdict::NotHealed, SpanStatus::Error),
    ] {
        let spans = with(verdict);
        assert_eq!(spans[0].status.as_ref().unwrap().code(), code, "{verdict}");
        let abort = spans[0].events.iter().find(|event| event.name == "abort").unwrap();
        assert_eq!(of(&abort.attributes, "squall.measured").as_deref(), Some("12 %"));
        let fault = spans.iter().find(|span| span.name.starts_with("fault ")).unwrap();
        assert_eq!(fault.status.as_ref().unwrap().code(), SpanStatus::Error, "it is not known to be gone");
        assert_eq!(fault.end_time_unix_nano, spans[0].end_time_unix_nano);
    }
    let died = RunRecord { end: None, ..fixture::record() };
    let spans = trace(&died, Traceparent::of("x")).resource_spans[0].scope_spans[0].spans.clone();
    assert_eq!(spans[0].status.as_ref().unwrap().code(), SpanStatus::Error);
}

#[tokio::test]
async fn a_run_is_metrics_of_its_verdict_its_time_its_rows_and_its_faults() {
    let server = Recorded::start(&[200]).await;
    let record = fixture::record();
    assert!(server.otlp(None).send(&record).await.is_empty());
    let [(_, body)] = &server.came("/v1/metrics")[..] else { panic!("not one message") };
    let message = ExportMetricsServiceRequest::decode(&body[..]).unwrap();
    let metrics = &message.resource_metrics[0].scope_metrics[0].metrics;
    let points = |name: &str| -> Vec<(Vec<KeyValue>, f64)> {
        let metric: &Metric = metrics.iter().find(|metric| metric.name == name).unwrap();
        let Some(Data::Gauge(gauge)) = &metric.data else { panic!("{metric:?}") };
        let value = |value: &Option<number_data_point::Value>| match value {
            Some(number_data_point::Value::AsDouble(value)) => *value,
            other => panic!("{other:?}"),
        };
        gauge.data_points.iter().map(|point| (point.attributes.clone(), value(&point.value))).collect()
    };
    let end = record.end.as_ref().unwrap();
    let set: Vec<_> = points("squall.run.verdict").into_iter().filter(|(_, value)| *value == 1.0).collect();
    assert_eq!(of(&set[0].0, "squall.verdict").as_deref(), Some("deviated"));
    assert_eq!(set.len(), 1);
    assert_eq!(points("squall.run.duration")[0].1, end.took.as_secs_f64());
    assert_eq!(
        points("squall.steady_state.measured").len(),
        end.rows.iter().filter(|row| row.measured.is_some()).count()
    );
    let hits: Vec<_> = points("squall.fault.hits").into_iter().map(|(_, value)| value as u64).collect();
    assert_eq!(hits, end.faults.iter().filter_map(|fault| fault.hits).collect::<Vec<_>>());
    assert!(!format!("{message:?}").contains(&record.start.id), "a series a run would be too many");
}

#[tokio::test]
async fn grafana_gets_a_region_for_the_run_and_one_for_each_fault() {
    let server = Recorded::start(&[200]).await;
    let grafana = Grafana::new(&server.url, Some(Secret::new("hunter2")), Some("shop".into())).unwrap();
    let record = fixture::record();
    let told = Telemetry { grafana: Some(grafana), ..Telemetry::default() }.send(&record).await;
    assert!(told.is_empty(), "{told:?}");
    let came = server.came("/api/annotations");
    let end = record.end.as_ref().unwrap();
    assert_eq!(came.len(), 1 + end.faults.len());
    assert!(came.iter().all(|(headers, _)| headers["authorization"] == "Bearer hunter2"));
    let bodies: Vec<serde_json::Value> = came.iter().map(|(_, body)| serde_json::from_slice(body).unwrap()).collect();
    insta::assert_json_snapshot!(bodies);
}

#[tokio::test]
async fn who_hangs_fails_or_is_not_there_is_said_once_and_holds_nobody_up() {
    let record = fixture::record();
    let hanging = Recorded::start(&[]).await;
    let failing = Recorded::start(&[500]).await;
    let mut telemetry = hanging.otlp(None);
    telemetry.grafana = Some(Grafana::new(&failing.url, Some(Secret::new("hunter2")), None).unwrap());
    let began = Instant::now();
    let told = telemetry.send(&record).await;
    assert!(began.elapsed() < PATIENCE * 3, "{:?}", began.elapsed());
    let [otlp, grafana] = &told[..] else { panic!("{told:?}") };
    assert_eq!(otlp, "the run could not be told to OTLP: no answer within 3s");
    assert!(grafana.ends_with("/api/annotations answered 500 Internal Server Error"), "{grafana}");
    assert_eq!(failing.came("/api/annotations").len(), 1, "what was refused is not tried again");

    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let otlp = Otlp::new(&format!("http://me:hunter2@{nobody}"), None).unwrap();
    let told = Telemetry { otlp: Some(otlp), ..Telemetry::default() }.send(&record).await;
    assert!(told[0].contains("Connection refused") && !told[0].contains("hunter2"), "{told:?}");
}

#[tokio::test]
async fn a_collector_that_is_busy_is_asked_once_more() {
    let server = Recorded::start(&[503, 200]).await;
    assert!(server.otlp(None).send(&fixture::record()).await.is_empty());
    assert_eq!((server.came("/v1/traces").len(), server.came("/v1/metrics").len()), (2, 1));
}
