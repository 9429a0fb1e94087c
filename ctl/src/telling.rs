//! Who else hears of a run: from what was typed, from the environment's file, from variables.
//!
//! Neighbours: `trial` calls it around a run, `squall_engine::telemetry` sends. Invariant: an address that cannot be one is
//! noticed before anything is injected; what fails later is said once and changes nothing.

use crate::{cli::TelemetryChoice, connect::Scene, exit::Failure, output};
use squall_engine::{
    environment::{Secret, TelemetryEntry},
    record::RunRecord,
    telemetry::{Grafana, Otlp, Sampled, Telemetry},
};

/// Headers for the collector, as OpenTelemetry writes them.
const OTLP_HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

/// What Grafana asks for.
const GRAFANA_TOKEN: &str = "GRAFANA_TOKEN";

/// Who hears of the runs in this scene.
///
/// # Errors
/// When an address is none.
pub fn choose(typed: &TelemetryChoice, scene: &Scene) -> Result<Telemetry, Failure> {
    let none = TelemetryEntry::default();
    let file = match scene {
        Scene::Environment(environment) => &environment.telemetry,
        Scene::Sandbox(_) => &none,
    };
    let variable = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()).map(Secret::new);
    let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
    let otlp = given(&typed.otlp).or_else(|| file.otlp.clone());
    let otlp = otlp.map(|url| Otlp::new(&url, variable(OTLP_HEADERS).as_ref())).transpose().map_err(Failure::usage)?;
    let token = file.grafana_token.clone().or_else(|| variable(GRAFANA_TOKEN));
    let grafana = given(&typed.grafana).or_else(|| file.grafana.clone());
    let grafana = grafana.map(|url| Grafana::new(&url, token, file.grafana_dashboard.clone()));
    let sampled = if typed.trace_requests || file.trace_requests { Sampled::Yes } else { Sampled::No };
    Ok(Telemetry {
        traceparent: otlp.is_some().then_some(sampled),
        otlp,
        grafana: grafana.transpose().map_err(Failure::usage)?,
    })
}

/// Tells them of a run that is over.
pub async fn tell(telemetry: &Telemetry, record: &RunRecord) {
    for failed in telemetry.send(record).await {
        output::progress(&format!("note: {failed}; the verdict stands"));
    }
}
