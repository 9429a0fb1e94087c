//! A run as metrics, for dashboards over many runs: its verdict, how long it took, what was measured, what the faults hit.
//!
//! Gauges with one point each, at the end of the run. Pure; `otlp` sends it.
//! Invariant: no attribute names the run, so that the number of series does not grow with every run.

use super::trace::{end, resource, scope, started, text};
use crate::{
    record::{RunEnd, RunRecord},
    verdict::Verdict,
};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::KeyValue,
    metrics::v1::{
        Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data, number_data_point::Value,
    },
};

/// The run as one message; empty when the run has no end.
#[must_use]
pub fn metrics(record: &RunRecord) -> ExportMetricsServiceRequest {
    let Some(ended) = &record.end else { return ExportMetricsServiceRequest::default() };
    let points = Points {
        from: started(record),
        at: started(record).saturating_add(u64::try_from(end(record).as_nanos()).unwrap_or(u64::MAX)),
        common: vec![
            text("squall.experiment", &record.start.experiment),
            text("squall.environment", &record.start.environment),
        ],
    };
    let metrics =
        vec![verdicts(&points, ended), duration(&points, ended), measured(&points, ended), hits(&points, ended)];
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope()), metrics, ..ScopeMetrics::default() }];
    let resource_metrics =
        vec![ResourceMetrics { resource: Some(resource(record)), scope_metrics, ..ResourceMetrics::default() }];
    ExportMetricsServiceRequest { resource_metrics }
}

struct Points {
    from: u64,
    at: u64,
    common: Vec<KeyValue>,
}

impl Points {
    fn point(&self, value: f64, attributes: Vec<KeyValue>) -> NumberDataPoint {
        NumberDataPoint {
            attributes: self.common.iter().cloned().chain(attributes).collect(),
            start_time_unix_nano: self.from,
            time_unix_nano: self.at,
            value: Some(Value::AsDouble(value)),
            ..NumberDataPoint::default()
        }
    }
}

fn gauge(name: &str, unit: &str, description: &str, data_points: Vec<NumberDataPoint>) -> Metric {
    Metric {
        name: name.to_owned(),
        unit: unit.to_owned(),
        description: description.to_owned(),
        data: Some(Data::Gauge(Gauge { data_points })),
        ..Metric::default()
    }
}

/// 1 for the verdict of the run, 0 for every other, so that the latest value of each is true.
fn verdicts(points: &Points, end: &RunEnd) -> Metric {
    let point = |verdict: Verdict| {
        points.point(f64::from(u8::from(verdict == end.verdict)), vec![text("squall.verdict", verdict.word())])
    };
    let all = Verdict::ALL.into_iter().map(point).collect();
    gauge("squall.run.verdict", "1", "1 for the verdict of the last run, 0 for the others", all)
}

fn duration(points: &Points, end: &RunEnd) -> Metric {
    let point = points.point(end.took.as_secs_f64(), vec![text("squall.verdict", end.verdict.word())]);
    gauge("squall.run.duration", "s", "how long the last run took", vec![point])
}

fn measured(points: &Points, end: &RunEnd) -> Metric {
    let rows = end.rows.iter().filter_map(|row| {
        let attributes = vec![
            text("squall.probe", &row.probe),
            text("squall.metric", &row.metric.to_string()),
            text("squall.when", &format!("{:?}", row.when).to_lowercase()),
            text("squall.outcome", &format!("{:?}", row.outcome).to_lowercase()),
        ];
        Some(points.point(row.measured?, attributes))
    });
    let description =
        "what was measured of the steady state, in the metric's base unit (a share of 1, seconds, a second)";
    gauge("squall.steady_state.measured", "1", description, rows.collect())
}

fn hits(points: &Points, end: &RunEnd) -> Metric {
    let faults = end.faults.iter().filter_map(|fault| {
        let attributes = vec![
            text("squall.agent", &fault.agent),
            text("squall.proxy", &fault.proxy),
            text("squall.fault.kind", &fault.kind),
            text("squall.step", &fault.step),
        ];
        Some(points.point(fault.hits? as f64, attributes))
    });
    gauge("squall.fault.hits", "{unit}", "how many units the fault hit", faults.collect())
}
