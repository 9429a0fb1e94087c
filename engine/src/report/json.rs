//! A run as JSON for programs. The shape is a promise:
//!
//! `format` (1), `verdict` and `exit_code` and `took_ms` (null without an end), `meaning`, `reasons`, `run` (what was
//! known at the start), `environment`, `agents`, `variables`, `rows` (the steady state, one for each window), `faults`,
//! `aborts`, `ramps` (the last safe level of each and the first that broke), `events`, `source`, `series` (a count of
//! samples each, and the samples if asked for).
//!
//! Times are milliseconds since the run started, as numbers, in keys that end in `_ms`. Keys are only ever added.

use super::case::{Case, Ending, worst};
use crate::{
    event::{Event, What},
    record::{AbortRecord, FaultRecord, RowResult, RunRecord, SeriesRecord},
    sample::Sample,
};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Keys that hold a duration in our own values.
const DURATIONS: [&str; 4] = ["at", "lasting", "timeout", "ttl"];

/// Several files as JSON: `format`, `exit_code` of all together, and `cases`, each with `file`, `name`, `outcome`,
/// `exit_code`, `reason`, `mistakes` (places in the file), `regressions`, `report` and `run` (as [`render`] has it
/// without samples), both null where there was none.
#[must_use]
pub fn cases(cases: &[Case]) -> Value {
    let case = |case: &Case| {
        let (mistakes, report, regressions) = match &case.ending {
            Ending::Prevented { mistakes, .. } => (mistakes.as_slice(), None, &[][..]),
            Ending::Ran { report, regressions, .. } => (&[][..], report.as_ref(), regressions.as_slice()),
            Ending::NotRun => (&[][..], None, &[][..]),
        };
        json!({
            "file": case.file,
            "name": case.name(),
            "outcome": case.word(),
            "exit_code": case.exit_code(),
            "reason": case.reason(),
            "mistakes": mistakes,
            "regressions": regressions,
            "report": report,
            "run": case.record().map(|record| render(record, false)),
        })
    };
    json!({ "format": 1, "exit_code": worst(cases), "cases": cases.iter().map(case).collect::<Vec<_>>() })
}

/// The run as JSON.
#[must_use]
pub fn render(record: &RunRecord, with_samples: bool) -> Value {
    let (start, end) = (&record.start, record.end.as_ref());
    json!({
        "format": 1,
        "verdict": end.map(|end| end.verdict.word()),
        "exit_code": end.map(|end| end.exit_code),
        "meaning": end.map(|end| end.verdict.meaning()),
        "reasons": end.map_or(&[][..], |end| &end.reasons),
        "took_ms": end.map(|end| ms(end.took)),
        "run": {
            "id": start.id,
            "experiment": start.experiment,
            "hypothesis": start.hypothesis,
            "owner": start.owner,
            "tags": start.tags,
            "started_at": start.started_at,
            "version": start.version,
            "host": start.host,
            "recovery_within_ms": ms(start.recovery_within),
            "recovery_hold_ms": ms(start.recovery_hold),
        },
        "environment": start.environment,
        "agents": start.agents,
        "variables": start.variables,
        "rows": end.map_or(&[][..], |end| &end.rows).iter().map(row).collect::<Vec<_>>(),
        "faults": end.map_or(&[][..], |end| &end.faults).iter().map(fault).collect::<Vec<_>>(),
        "aborts": end.map_or(&[][..], |end| &end.aborts).iter().map(abort).collect::<Vec<_>>(),
        "ramps": record.events.iter().filter_map(ramp).collect::<Vec<_>>(),
        "events": record.events.iter().map(event).collect::<Vec<_>>(),
        "source": start.source,
        "series": record.series.iter().map(|each| series(each, with_samples)).collect::<Vec<_>>(),
    })
}

fn row(row: &RowResult) -> Value {
    let mut told = json!({
        "probe": row.probe,
        "metric": row.metric,
        "tolerance": row.tolerance,
        "when": row.when,
        "outcome": row.outcome,
        "measured": row.measured,
        "shown": row.shown,
        "baseline": row.baseline,
        "samples": row.samples,
    });
    // Only where something is compared, as few rows are.
    if let Some(control) = &row.control {
        told["control"] = json!(control);
    }
    told
}

fn fault(fault: &FaultRecord) -> Value {
    json!({
        "step": fault.step,
        "agent": fault.agent,
        "proxy": fault.proxy,
        "name": fault.name,
        "kind": fault.kind,
        "shown": fault.shown,
        "seed": fault.seed,
        "from_ms": ms(fault.from),
        "to_ms": fault.to.map(ms),
        "hits": fault.hits,
    })
}

fn abort(abort: &AbortRecord) -> Value {
    json!({ "probe": abort.probe, "condition": abort.condition })
}

fn ramp(event: &Event) -> Option<Value> {
    let What::Ramped { step, vary, safe, broken, expect, outcome } = &event.what else { return None };
    Some(json!({
        "step": step, "vary": vary, "last_safe": safe, "first_broken": broken, "expect": expect, "outcome": outcome,
    }))
}

/// `{"at_ms": 8063.0, "kind": "intent", …}`, the rest as the event has it.
fn event(event: &Event) -> Value {
    let mut flat = Map::from_iter([("at_ms".to_owned(), json!(ms(event.at)))]);
    // An event is one word with a map; its values are plain and always become JSON.
    if let Ok(Value::Object(what)) = serde_json::to_value(&event.what) {
        for (kind, fields) in what {
            flat.insert("kind".to_owned(), Value::String(kind));
            if let Value::Object(fields) = fields {
                flat.extend(fields.into_iter().map(in_milliseconds));
            }
        }
    }
    Value::Object(flat)
}

fn in_milliseconds((key, value): (String, Value)) -> (String, Value) {
    if !DURATIONS.contains(&&*key) {
        return (key, value);
    }
    let duration: Option<Duration> = serde_json::from_value(value).unwrap_or_default();
    (format!("{key}_ms"), json!(duration.map(ms)))
}

fn series(series: &SeriesRecord, with_samples: bool) -> Value {
    let mut value = json!({
        "name": series.name,
        "count": series.samples.len(),
        "ok": series.samples.iter().filter(|sample| sample.ok).count(),
    });
    if with_samples {
        value["samples"] = series.samples.iter().map(sample).collect();
    }
    value
}

fn sample(sample: &Sample) -> Value {
    json!({
        "at_ms": ms(sample.at),
        "took_ms": ms(sample.took),
        "ok": sample.ok,
        "status": sample.status,
        "value": sample.value,
        "text": sample.text,
    })
}

/// Milliseconds with three decimals, so that a microsecond is not lost and no digits are made up.
fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
