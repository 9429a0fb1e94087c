//! OTLP over HTTP: protobuf to `/v1/traces` and `/v1/metrics` of a collector.
//!
//! Neighbours: `trace` and `metrics` make the messages. Invariant: a message is sent at most twice, the second time only when
//! the collector has asked for it.

use super::{Traceparent, endpoint, metrics, refusal, trace, unsent};
use crate::{environment::Secret, fetch, record::RunRecord};
use prost::Message;
use reqwest::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use std::time::Duration;
use url::Url;

/// Before a collector that is busy is asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// A collector.
#[derive(Clone)]
pub struct Otlp {
    traces: Url,
    metrics: Url,
    headers: HeaderMap,
}

impl Otlp {
    /// The collector at this address, to which `/v1/traces` and `/v1/metrics` are added. `headers` is as in
    /// `OTEL_EXPORTER_OTLP_HEADERS`: `name=value,name=value`, percent-encoded.
    ///
    /// # Errors
    /// When either is none, in a sentence. No header's value is repeated.
    pub fn new(address: &str, headers: Option<&Secret>) -> Result<Self, String> {
        let headers = headers.map_or(Ok(HeaderMap::new()), |headers| parse(headers.reveal()))?;
        Ok(Self { traces: endpoint(address, "/v1/traces")?, metrics: endpoint(address, "/v1/metrics")?, headers })
    }

    pub(super) async fn send(&self, record: &RunRecord) -> Result<(), String> {
        let trace = trace(record, Traceparent::of(&record.start.id)).encode_to_vec();
        let metrics = metrics(record).encode_to_vec();
        let client = fetch::client(1).map_err(|error| error.to_string())?;
        self.post(&client, &self.traces, trace).await?;
        self.post(&client, &self.metrics, metrics).await
    }

    async fn post(&self, client: &reqwest::Client, url: &Url, body: Vec<u8>) -> Result<(), String> {
        let mut is_first = true;
        loop {
            let request = client.post(url.clone()).headers(self.headers.clone());
            let request = request.header(CONTENT_TYPE, "application/x-protobuf").body(body.clone());
            let response = request.send().await.map_err(|error| unsent(url, &error))?;
            match response.status() {
                status if status.is_success() => return Ok(()),
                StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
                    if is_first =>
                {
                    is_first = false;
                    tokio::time::sleep(AGAIN).await;
                }
                _ => return Err(refusal(url, response).await),
            }
        }
    }
}

impl std::fmt::Debug for Otlp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Otlp({})", super::without_user(self.traces.as_str()))
    }
}

fn parse(text: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair
            .split_once('=')
            .ok_or("a header for OTLP is not NAME=VALUE: write several as NAME=VALUE,NAME=VALUE")?;
        // A pair of a URL's query is encoded alike, but for `+`.
        let encoded = format!("v={}", value.trim().replace('+', "%2B"));
        let decoded = url::form_urlencoded::parse(encoded.as_bytes()).next().map(|(_, value)| value.into_owned());
        let name: HeaderName = name.trim().parse().map_err(|_| format!("`{}` is not a header's name", name.trim()))?;
        let mut value: HeaderValue = decoded
            .unwrap_or_default()
            .parse()
            .map_err(|_| format!("the value of the header `{name}` for OTLP cannot be sent"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::Otlp;

    #[test]
    fn headers_are_as_opentelemetry_writes_them() {
        let headers = super::parse("authorization=Basic%20a+b%3D, x-scope=1").unwrap();
        assert_eq!(headers["authorization"], "Basic a+b=");
        assert_eq!(headers["x-scope"], "1");
        assert!(super::parse("hunter2").unwrap_err().contains("NAME=VALUE"));
    }

    #[test]
    fn an_address_is_one_of_http_and_shows_no_user() {
        let otlp = Otlp::new("http://me:hunter2@collector:4318/otlp/", None).unwrap();
        assert_eq!(otlp.metrics.path(), "/otlp/v1/metrics");
        assert_eq!(format!("{otlp:?}"), "Otlp(http://collector:4318/otlp/v1/traces)");
        for wrong in ["collector:4318", "grpc://me:hunter2@collector", "http://"] {
            let error = Otlp::new(wrong, None).unwrap_err();
            assert!(error.contains("write one such as") && !error.contains("hunter2"), "{error}");
        }
    }
}
