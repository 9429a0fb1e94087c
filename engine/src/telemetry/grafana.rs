//! Annotations in Grafana by its HTTP API: a region for the run, and one for each of its faults.
//!
//! Neighbours: `trace` has the same times. Invariant: the token is in no message.

use super::{
    endpoint, refusal,
    trace::{end, started},
    unsent,
};
use crate::{environment::Secret, fetch, record::RunRecord};
use serde_json::{Value, json};
use std::time::Duration;
use url::Url;

/// A Grafana.
#[derive(Debug, Clone)]
pub struct Grafana {
    annotations: Url,
    token: Option<Secret>,
    dashboard: Option<String>,
}

impl Grafana {
    /// The Grafana at this address. Without a dashboard's UID the annotations are the organisation's, found by their tags.
    ///
    /// # Errors
    /// When the address is none, in a sentence.
    pub fn new(address: &str, token: Option<Secret>, dashboard: Option<String>) -> Result<Self, String> {
        Ok(Self { annotations: endpoint(address, "/api/annotations")?, token, dashboard })
    }

    pub(super) async fn send(&self, record: &RunRecord) -> Result<(), String> {
        let client = fetch::client(1).map_err(|error| error.to_string())?;
        for mut annotation in annotations(record) {
            if let (Some(dashboard), Some(object)) = (&self.dashboard, annotation.as_object_mut()) {
                object.insert("dashboardUID".to_owned(), json!(dashboard));
            }
            let mut request = client.post(self.annotations.clone()).json(&annotation);
            if let Some(token) = &self.token {
                request = request.bearer_auth(token.reveal());
            }
            let response = request.send().await.map_err(|error| unsent(&self.annotations, &error))?;
            if !response.status().is_success() {
                return Err(refusal(&self.annotations, response).await);
            }
        }
        Ok(())
    }
}

/// The run first, then its faults in their order.
fn annotations(record: &RunRecord) -> Vec<Value> {
    let start = started(record) / 1_000_000;
    let at = |since: Duration| start + u64::try_from(since.as_millis()).unwrap_or_default();
    let run = &record.start;
    let verdict = record.end.as_ref().map_or("running or dead", |end| end.verdict.word());
    let why = record.end.as_ref().map(|end| end.reasons.join("\n")).unwrap_or_default();
    let common =
        ["squall".to_owned(), format!("experiment:{}", run.experiment), format!("environment:{}", run.environment)];
    let tags = |more: &[String]| common.iter().chain(more).cloned().collect::<Vec<_>>();
    let mut all = vec![json!({
        "time": at(Duration::ZERO),
        "timeEnd": at(end(record)),
        "tags": tags(&["run".to_owned(), format!("verdict:{verdict}")]),
        "text": format!("{}: {verdict}\n{why}\nrun {}", run.experiment, run.id).replace("\n\n", "\n"),
    })];
    for fault in record.end.iter().flat_map(|end| &end.faults) {
        let hits = fault.hits.map_or_else(String::new, |hits| format!("\nhits: {hits}"));
        all.push(json!({
            "time": at(fault.from),
            "timeEnd": at(fault.to.unwrap_or_else(|| end(record))),
            "tags": tags(&["fault".to_owned(), format!("proxy:{}", fault.proxy), format!("kind:{}", fault.kind)]),
            "text": format!("{} on {} of {}: {}{hits}", fault.kind, fault.proxy, fault.agent, fault.shown),
        }));
    }
    all
}
