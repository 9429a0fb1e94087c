//! What other tools see of a run: a trace and metrics by OTLP, annotations in Grafana, a `traceparent` in its requests.
//!
//! ```text
//! RunRecord ─▶ trace, metrics (pure) ─▶ otlp ──▶ POST /v1/traces, /v1/metrics
//!          └─▶ grafana ───────────────────────▶ POST /api/annotations
//! ```
//!
//! Everything is made of the finished run, after healing and verdict. Neighbours: the command line says where to;
//! [`docs/telemetry.md`](../../../../docs/telemetry.md) says what comes. Invariant: who listens, fails or hangs changes
//! neither healing nor verdict: all of it has `PATIENCE`, and what failed is said once.

mod grafana;
mod metrics;
mod otlp;
mod trace;
mod traceparent;

pub use grafana::Grafana;
pub use metrics::metrics;
pub use otlp::Otlp;
pub use trace::trace;
pub use traceparent::{Sampled, Traceparent};

use crate::record::RunRecord;
use std::time::Duration;
use url::Url;

/// All that is sent of a run, together, takes so long at most.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// Where a run is told.
#[derive(Debug, Clone, Default)]
pub struct Telemetry {
    /// To a collector of OpenTelemetry's.
    pub otlp: Option<Otlp>,
    /// To Grafana.
    pub grafana: Option<Grafana>,
    /// Whether requests of a run say to which trace they belong.
    pub traceparent: Option<Sampled>,
}

impl Telemetry {
    /// Sends a finished run to everybody at once, and says what failed, a sentence each.
    pub async fn send(&self, record: &RunRecord) -> Vec<String> {
        let otlp = async {
            match &self.otlp {
                Some(otlp) => otlp.send(record).await,
                None => Ok(()),
            }
        };
        let grafana = async {
            match &self.grafana {
                Some(grafana) => grafana.send(record).await,
                None => Ok(()),
            }
        };
        let (otlp, grafana) = tokio::join!(bounded("OTLP", otlp), bounded("Grafana", grafana));
        [otlp, grafana].into_iter().flatten().collect()
    }
}

async fn bounded(to: &str, sending: impl Future<Output = Result<(), String>>) -> Option<String> {
    let why = match tokio::time::timeout(PATIENCE, sending).await {
        Ok(Ok(())) => return None,
        Ok(Err(why)) => why,
        Err(_) => format!("no answer within {}", squall_wire::Span::from(PATIENCE)),
    };
    Some(format!("the run could not be told to {to}: {why}"))
}

/// An address to send to, with what is added to its path.
///
/// # Errors
/// When it is none, in a sentence.
fn endpoint(text: &str, path: &str) -> Result<Url, String> {
    let wrong = |why: &str| format!("`{}` {why}: write one such as http://127.0.0.1:4318", without_user(text));
    let mut url = Url::parse(text).map_err(|error| wrong(&format!("is not a URL ({error})")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(wrong("is not an address of HTTP"));
    }
    let whole = format!("{}{path}", url.path().trim_end_matches('/'));
    url.set_path(&whole);
    Ok(url)
}

/// Who sends, and how he proves it, is nobody's business.
fn without_user(text: &str) -> String {
    match text.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1))) {
        Some((scheme, rest)) => format!("{scheme}://{rest}"),
        None => text.to_owned(),
    }
}

/// A refusal in few words.
async fn refusal(url: &Url, response: reqwest::Response) -> String {
    let status = response.status();
    let body = crate::fetch::body(response, 4096).await.unwrap_or_default();
    let body = String::from_utf8_lossy(&body);
    let said = if body.trim().is_empty() { String::new() } else { format!(": {}", body.trim()) };
    crate::fetch::shortened(&format!("{} answered {status}{said}", without_user(url.as_str())))
}

fn unsent(url: &Url, error: &reqwest::Error) -> String {
    format!("{}: {}", without_user(url.as_str()), crate::fetch::cause(error))
}
