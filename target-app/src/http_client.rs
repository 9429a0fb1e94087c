//! One HTTP exchange with a dependency, and how its failure is told.
//!
//! Plain HTTP/1.1 over a pool of kept connections, hyper-util's. Neighbour: `upstream.rs` puts the patterns around
//! it. There is no time-out here: who waits drops the exchange, and that closes the connection.
//!
//! Invariant: an answer is read whole and at most 1 MiB of it is held.

use crate::{config::Origin, failure::CallError};
use axum::http::{HeaderMap, HeaderValue, Method, Request, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde::de::DeserializeOwned;
use std::{
    error::Error as StdError,
    io,
    time::{Duration, SystemTime},
};

const LARGEST_ANSWER: usize = 1024 * 1024;
/// Less than servers keep idle connections (15 s), so that a pooled one is not about to close.
const IDLE: Duration = Duration::from_secs(10);

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A client of one dependency.
#[derive(Clone)]
pub(crate) struct HttpClient {
    service: &'static str,
    origin: Origin,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl HttpClient {
    /// Keeps at most `idle` unused connections.
    pub(crate) fn new(service: &'static str, origin: Origin, idle: usize) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(idle)
            .build(connector);
        Self { service, origin, client }
    }

    /// Asks, and reads the answer as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(&self, exchange: &Exchange) -> Result<T, CallError> {
        let body = self.send(exchange).await?;
        serde_json::from_slice(&body).map_err(|error| self.malformed(&error))
    }

    /// Asks, and gives the body of a successful answer.
    pub(crate) async fn send(&self, exchange: &Exchange) -> Result<Bytes, CallError> {
        let request = self.request(exchange)?;
        let response = self.client.request(request).await.map_err(|error| self.head_failed(&error))?;
        let (status, retry_after) = (response.status(), retry_after(response.headers()));
        let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
        let body = body.map_err(|error| self.body_failed(&*error))?.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        let message = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        Err(CallError::Status { service: self.service, status, retry_after, message })
    }

    fn request(&self, exchange: &Exchange) -> Result<Request<Full<Bytes>>, CallError> {
        let unsent =
            |error: axum::http::Error| CallError::Unreachable { service: self.service, cause: error.to_string() };
        let uri = self.origin.join(&exchange.path).map_err(unsent)?;
        let mut request = Request::new(Full::new(exchange.body.clone()));
        *request.method_mut() = exchange.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = exchange.headers.clone();
        if !exchange.body.is_empty() {
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Ok(request)
    }

    fn malformed(&self, error: &dyn StdError) -> CallError {
        CallError::Malformed { service: self.service, cause: error.to_string() }
    }

    /// No answer began, or its head is no HTTP.
    fn head_failed(&self, error: &Error) -> CallError {
        let (service, cause) = (self.service, deepest(error));
        let hyper = error.source().and_then(|source| source.downcast_ref::<hyper::Error>());
        match hyper {
            _ if error.is_connect() => CallError::Unreachable { service, cause },
            Some(error) if error.is_parse() => CallError::Malformed { service, cause },
            Some(_) | None => CallError::Broken { service, cause },
        }
    }

    /// The answer began. A broken connection is one thing, a body that is not as promised another.
    fn body_failed(&self, error: &(dyn StdError + Send + Sync + 'static)) -> CallError {
        let (service, cause) = (self.service, deepest(error));
        let too_long = error.is::<LengthLimitError>();
        let nonsense = error.downcast_ref::<hyper::Error>().is_some_and(|error| {
            let kind = find::<io::Error>(error).map(io::Error::kind);
            error.is_parse() || matches!(kind, Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData))
        });
        if too_long || nonsense {
            CallError::Malformed { service, cause }
        } else {
            CallError::BrokenOff { service, cause }
        }
    }
}

/// The error and its causes, outermost first.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// The innermost cause: the outer ones only say that something failed.
fn deepest(error: &(dyn StdError + 'static)) -> String {
    chain(error).last().unwrap_or(error).to_string()
}

/// In seconds, or as a date, which is read by the dependency's own clock: its `Date` says what time it has.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let after = text(header::RETRY_AFTER)?;
    if let Ok(seconds) = after.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = httpdate::parse_http_date(after).ok()?;
    let now = text(header::DATE).and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or_else(SystemTime::now);
    // A date that has passed asks for no wait.
    Some(then.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::retry_after;
    use axum::http::{HeaderMap, HeaderValue, header};
    use std::time::Duration;

    fn said(after: &'static str, date: Option<&'static str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(after));
        if let Some(date) = date {
            headers.insert(header::DATE, HeaderValue::from_static(date));
        }
        retry_after(&headers)
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_as_a_date_of_the_clock_that_wrote_it() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        // An hour behind, a year ago: what counts is the difference.
        let (date, later) = ("Wed, 26 Nov 2025 10:00:00 GMT", "Wed, 26 Nov 2025 10:00:07 GMT");
        assert_eq!(said("3", None), seconds(3));
        assert_eq!(said(" 120 ", Some(date)), seconds(120));
        assert_eq!(said(later, Some(date)), seconds(7));
        assert_eq!(said(date, Some(later)), seconds(0));
        assert_eq!(said(later, None), seconds(0), "by our own clock it has passed");
        for nonsense in ["soon", "-1", "1.5", ""] {
            assert_eq!(said(nonsense, Some(date)), None, "{nonsense:?}");
        }
    }
}
