//! A run as a trace: the run is the root, phases are below it, steps below the method, faults below their steps.
//!
//! Pure: the same run gives the same trace, ids included, so that one that is sent twice is there once.
//! Neighbours: `otlp` sends it. Invariant: every span ends, at the latest with the run.

use super::Traceparent;
use crate::{
    event::{Event, Phase, What},
    record::{FaultRecord, RunEnd, RunRecord},
    verdict::Verdict,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{
        ResourceSpans, ScopeSpans, Span, Status,
        span::{self, SpanKind},
        status::StatusCode,
    },
};
use std::time::Duration;

/// The run as one message.
#[must_use]
pub fn trace(record: &RunRecord, ids: Traceparent) -> ExportTraceServiceRequest {
    let mut spans = Spans { record, ids, started: started(record), end: end(record), spans: Vec::new() };
    spans.root();
    let method = spans.phases();
    spans.steps(method);
    let scope_spans = vec![ScopeSpans { scope: Some(scope()), spans: spans.spans, ..ScopeSpans::default() }];
    let resource_spans =
        vec![ResourceSpans { resource: Some(resource(record)), scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }
}

/// When the run started, in nanoseconds since 1970.
pub(super) fn started(record: &RunRecord) -> u64 {
    let started = record.start.started_at.parse::<jiff::Timestamp>().ok();
    started.and_then(|at| u64::try_from(at.as_nanosecond()).ok()).unwrap_or_default()
}

/// When the run ended, since its start.
pub(super) fn end(record: &RunRecord) -> Duration {
    let last = record.events.last().map_or(Duration::ZERO, |event| event.at);
    record.end.as_ref().map_or(last, |end| end.took.max(last))
}

/// Who says this.
pub(super) fn resource(record: &RunRecord) -> Resource {
    let attributes = vec![
        text("service.name", "squall"),
        text("service.version", &record.start.version),
        text("host.name", &record.start.host),
    ];
    Resource { attributes, ..Resource::default() }
}

pub(super) fn scope() -> InstrumentationScope {
    let (name, version) = ("squall".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    InstrumentationScope { name, version, ..InstrumentationScope::default() }
}

pub(super) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// The spans in the making; the place of each is its number.
struct Spans<'a> {
    record: &'a RunRecord,
    ids: Traceparent,
    started: u64,
    end: Duration,
    spans: Vec<Span>,
}

impl Spans<'_> {
    /// Adds a span, and gives its number.
    fn add(
        &mut self,
        parent: Option<usize>,
        name: String,
        from: Duration,
        to: Duration,
        attributes: Vec<KeyValue>,
    ) -> usize {
        let number = self.spans.len();
        self.spans.push(Span {
            trace_id: self.ids.trace().to_vec(),
            span_id: self.ids.span(number as u64).to_vec(),
            parent_span_id: parent.map_or_else(Vec::new, |parent| self.ids.span(parent as u64).to_vec()),
            name,
            kind: SpanKind::Internal.into(),
            start_time_unix_nano: self.at(from),
            end_time_unix_nano: self.at(to.max(from)),
            attributes,
            ..Span::default()
        });
        number
    }

    fn at(&self, since: Duration) -> u64 {
        self.started.saturating_add(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    fn root(&mut self) {
        let start = &self.record.start;
        let mut attributes = vec![
            text("squall.run.id", &start.id),
            text("squall.experiment", &start.experiment),
            text("squall.hypothesis", &start.hypothesis),
            text("squall.environment", &start.environment),
            text("squall.file", &start.source.path),
        ];
        attributes.extend(start.owner.iter().map(|owner| text("squall.owner", owner)));
        if let Some(end) = &self.record.end {
            attributes.push(text("squall.verdict", end.verdict.word()));
            attributes.push(number("squall.exit_code", end.exit_code.into()));
        }
        let root = self.add(None, format!("experiment {}", start.experiment), Duration::ZERO, self.end, attributes);
        self.spans[root].events = self.record.events.iter().filter_map(|event| self.point(event)).collect();
        self.spans[root].status = Some(status(self.record.end.as_ref()));
    }

    /// What happens at one moment, and matters to who looks at the trace.
    fn point(&self, event: &Event) -> Option<span::Event> {
        let (name, attributes) = match &event.what {
            What::Breach { condition, measured } => {
                ("abort", vec![text("squall.condition", condition), text("squall.measured", measured)])
            }
            What::Stopped { by } => ("stopped", vec![text("squall.by", by)]),
            What::Failed { message } => ("failed", vec![text("exception.message", message)]),
            What::HealFailed { agent, cause, remedy } => (
                "not healed",
                vec![text("squall.agent", agent), text("exception.message", cause), text("squall.remedy", remedy)],
            ),
            What::HealConfirmed { agent } => ("healed", vec![text("squall.agent", agent)]),
            What::Note { text: note } => ("note", vec![text("squall.note", note)]),
            _ => return None,
        };
        let time_unix_nano = self.at(event.at);
        Some(span::Event { time_unix_nano, name: name.to_owned(), attributes, ..span::Event::default() })
    }

    /// Every phase ends where the next begins. Gives the number of the method.
    fn phases(&mut self) -> Option<usize> {
        let mut begins: Vec<(Phase, Duration)> = Vec::new();
        for event in &self.record.events {
            if let What::Phase { phase, .. } = event.what {
                begins.push((phase, event.at));
            }
        }
        let mut method = None;
        for (index, (phase, from)) in begins.iter().enumerate() {
            let to = begins.get(index + 1).map_or(self.end, |(_, next)| *next);
            let attributes = vec![text("squall.phase", phase.word())];
            let number = self.add(Some(0), phase.word().to_owned(), *from, to, attributes);
            if *phase == Phase::Method {
                method = Some(number);
            }
        }
        method
    }

    fn steps(&mut self, method: Option<usize>) {
        // A step that was not ended in order ended when healing began.
        let heal = self.record.events.iter().find(|event| matches!(event.what, What::Phase { phase: Phase::Heal, .. }));
        let latest = heal.map_or(self.end, |event| event.at);
        let parent = method.or(Some(0));
        let mut steps: Vec<(String, Duration, usize)> = Vec::new();
        for (index, event) in self.record.events.iter().enumerate() {
            let What::StepStarted { step, .. } = &event.what else { continue };
            let ended = |later: &&Event| matches!(&later.what, What::StepEnded { step: name } if name == step);
            let to = self.record.events[index..].iter().find(ended).map_or(latest, |ended| ended.at);
            let number = self.add(parent, format!("step {step}"), event.at, to, vec![text("squall.step", step)]);
            steps.push((step.clone(), event.at, number));
        }
        let faults: Vec<FaultRecord> = self.record.end.iter().flat_map(|end| end.faults.clone()).collect();
        for fault in faults {
            // The last of that name that had begun, for a step can come twice.
            let step = steps.iter().rfind(|(name, from, _)| *name == fault.step && *from <= fault.from);
            self.fault(&fault, step.map(|(_, _, number)| *number).or(parent));
        }
    }

    fn fault(&mut self, fault: &FaultRecord, parent: Option<usize>) {
        let FaultRecord { step, agent, proxy, name, kind, shown, seed, from, to, hits } = fault;
        let mut attributes = vec![
            text("squall.step", step),
            text("squall.agent", agent),
            text("squall.proxy", proxy),
            text("squall.fault.name", name),
            text("squall.fault.kind", kind),
            text("squall.fault", shown),
        ];
        attributes.extend(hits.map(|hits| number("squall.fault.hits", hits)));
        // As text: a seed has 64 bits, and an attribute's number one less.
        attributes.extend(seed.map(|seed| text("squall.fault.seed", &seed.to_string())));
        let number = self.add(parent, format!("fault {kind} on {proxy}"), *from, to.unwrap_or(self.end), attributes);
        if to.is_none() {
            let message = "not confirmed to be gone".to_owned();
            self.spans[number].status = Some(Status { message, code: StatusCode::Error.into() });
        }
    }
}

/// Held is well, inconclusive says nothing, everything else is an error.
fn status(end: Option<&RunEnd>) -> Status {
    let Some(end) = end else {
        return Status { message: "the run has no end".to_owned(), code: StatusCode::Error.into() };
    };
    match end.verdict {
        Verdict::Held => Status { message: String::new(), code: StatusCode::Ok.into() },
        Verdict::Inconclusive => Status::default(),
        _ => Status { message: end.reasons.join("; "), code: StatusCode::Error.into() },
    }
}
