//! Speaks to one agent over its REST API. Every call has a time limit and tells who did not answer.
//!
//! Neighbours: `run` holds leases and faults through it, the `squall` command uses it for calls by hand.

use crate::{agent_events::EventStream, agent_tls::AgentTls};
use serde::{Serialize, de::DeserializeOwned};
use squall_wire::{
    AgentInfo, ErrorBody, ErrorCode, ErrorDetail, FaultInfo, FaultName, FaultPatch, FaultSpec, HaltInfo, HaltRequest,
    Healed, Lease, LeaseId, LeaseRenewal, LeaseRequest, Mark, ProxyInfo, ProxyName, ProxyPatch, ProxySpec,
    RemovedFault, Span, Traffic,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A call that takes longer has failed: an agent never waits for a peer before it answers.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// An agent closes an idle connection after ten seconds; long before that it is not used again, so that no request
/// meets the closing.
const IDLE_LIMIT: Duration = Duration::from_secs(4);
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Where an agent is.
#[derive(Clone)]
pub struct AgentTarget {
    /// Its name in the environment.
    pub name: String,
    /// Its address, `http://HOST:PORT` or `https://…`.
    pub url: String,
    /// A bearer token, if it wants one.
    pub token: Option<Arc<str>>,
    /// How to speak TLS with it, where its address is `https://`.
    pub tls: AgentTls,
    /// Labels that the environment gives it, by which a step can choose it; they count before its own.
    pub labels: BTreeMap<String, String>,
}

impl std::fmt::Debug for AgentTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}", self.name, self.url)
    }
}

/// Why a call to an agent failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AgentError {
    /// It could not be asked, or did not answer.
    #[error("agent `{agent}` at {url} did not answer: {cause}")]
    Unreachable {
        /// Its name.
        agent: String,
        /// Its address.
        url: String,
        /// Why.
        cause: String,
    },
    /// It answered with an error.
    #[error("agent `{agent}` refused: {}{}", detail.message, hint(detail))]
    Refused {
        /// Its name.
        agent: String,
        /// The HTTP status.
        status: u16,
        /// What it said.
        detail: ErrorDetail,
    },
    /// It answered something that is not its API.
    #[error("agent `{agent}` at {url} answered something that is not its API: {cause}; is a squall-agent there?")]
    Foreign {
        /// Its name.
        agent: String,
        /// Its address.
        url: String,
        /// What was wrong.
        cause: String,
    },
}

fn hint(detail: &ErrorDetail) -> String {
    detail.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default()
}

impl AgentError {
    /// The error code that the agent gave, if it answered with one.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { detail, .. } => Some(detail.code),
            Self::Unreachable { .. } | Self::Foreign { .. } => None,
        }
    }
}

/// A client of one agent.
#[derive(Debug, Clone)]
pub struct AgentClient {
    target: AgentTarget,
    http: reqwest::Client,
}

#[derive(serde::Deserialize)]
struct Proxies {
    proxies: Vec<ProxyInfo>,
}

#[derive(serde::Deserialize)]
struct Leases {
    leases: Vec<Lease>,
}

const NOTHING: Option<&()> = None;

impl AgentClient {
    /// A client; nothing is asked yet.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(target: AgentTarget) -> Result<Self, AgentError> {
        let builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .timeout(CALL_LIMIT)
            .pool_idle_timeout(IDLE_LIMIT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        let http = target.tls.over(builder).build().map_err(|e| unreachable_agent(&target, &e))?;
        Ok(Self { target, http })
    }

    /// The agent's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.target.name
    }

    /// Where it is.
    #[must_use]
    pub fn target(&self) -> &AgentTarget {
        &self.target
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// As every call: unreachable, refused, foreign.
    pub async fn info(&self) -> Result<AgentInfo, AgentError> {
        self.get("/v1/agent").await
    }

    /// Its proxies.
    ///
    /// # Errors
    /// As every call.
    pub async fn proxies(&self) -> Result<Vec<ProxyInfo>, AgentError> {
        Ok(self.get::<Proxies>("/v1/proxies").await?.proxies)
    }

    /// One proxy.
    ///
    /// # Errors
    /// As every call.
    pub async fn proxy(&self, proxy: &ProxyName) -> Result<ProxyInfo, AgentError> {
        self.get(&format!("/v1/proxies/{proxy}")).await
    }

    /// Makes a proxy, or brings it into this shape.
    ///
    /// # Errors
    /// As every call.
    pub async fn put_proxy(&self, spec: &ProxySpec) -> Result<ProxyInfo, AgentError> {
        self.put_proxy_as(None, spec).await
    }

    /// The same, as the holder of a lease.
    ///
    /// # Errors
    /// As every call.
    pub async fn put_proxy_as(&self, lease: Option<&LeaseId>, spec: &ProxySpec) -> Result<ProxyInfo, AgentError> {
        let path = format!("/v1/proxies/{}", spec.name);
        let bytes = self.send_as(lease, reqwest::Method::PUT, &path, Some(spec)).await?;
        self.parsed(&bytes)
    }

    /// Makes a proxy that is not there yet.
    ///
    /// # Errors
    /// As every call.
    pub async fn create_proxy(&self, spec: &ProxySpec) -> Result<ProxyInfo, AgentError> {
        self.call(reqwest::Method::POST, "/v1/proxies", Some(spec)).await
    }

    /// Changes a proxy.
    ///
    /// # Errors
    /// As every call.
    pub async fn patch_proxy(&self, proxy: &ProxyName, patch: &ProxyPatch) -> Result<ProxyInfo, AgentError> {
        self.call(reqwest::Method::PATCH, &format!("/v1/proxies/{proxy}"), Some(patch)).await
    }

    /// Removes a proxy.
    ///
    /// # Errors
    /// As every call.
    pub async fn delete_proxy(&self, proxy: &ProxyName) -> Result<(), AgentError> {
        self.send(reqwest::Method::DELETE, &format!("/v1/proxies/{proxy}"), NOTHING).await.map(drop)
    }

    /// What its proxies saw since a mark, or since they were made.
    ///
    /// # Errors
    /// As every call; `gone` when it does not remember the mark.
    pub async fn traffic(&self, since: Option<&Mark>) -> Result<Traffic, AgentError> {
        let since = since.map(|mark| format!("?since={mark}")).unwrap_or_default();
        self.get(&format!("/v1/traffic{since}")).await
    }

    /// Its events from now on, or from the one after that with this id.
    ///
    /// # Errors
    /// As every call.
    pub async fn events(&self, last: Option<&str>) -> Result<EventStream, AgentError> {
        let url = format!("{}/v1/events", self.target.url.trim_end_matches('/'));
        // It has no end; the limit on each wait is the stream's.
        let mut request = self.http.get(url).timeout(Duration::MAX);
        if let Some(token) = &self.target.token {
            request = request.bearer_auth(token);
        }
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let answer = tokio::time::timeout(CALL_LIMIT, request.send()).await.map_err(|_| self.silent(CALL_LIMIT))?;
        let answer = answer.map_err(|error| unreachable_agent(&self.target, &error))?;
        let (status, last) = (answer.status(), last.map(str::to_owned));
        if status.is_success() {
            return Ok(EventStream::new(self.clone(), answer, last));
        }
        let body = tokio::time::timeout(CALL_LIMIT, answer.bytes()).await.map_err(|_| self.silent(CALL_LIMIT))?;
        Err(self.refused(status, &body.map_err(|error| unreachable_agent(&self.target, &error))?))
    }

    /// The leases that are alive.
    ///
    /// # Errors
    /// As every call.
    pub async fn leases(&self) -> Result<Vec<Lease>, AgentError> {
        Ok(self.get::<Leases>("/v1/leases").await?.leases)
    }

    /// Takes a lease.
    ///
    /// # Errors
    /// As every call; `leased` when somebody else holds one of the proxies.
    pub async fn take_lease(&self, request: &LeaseRequest) -> Result<Lease, AgentError> {
        self.call(reqwest::Method::POST, "/v1/leases", Some(request)).await
    }

    /// Renews a lease for as long as it was given for.
    ///
    /// # Errors
    /// As every call; `not_found` when it has run out.
    pub async fn renew_lease(&self, lease: &LeaseId) -> Result<Lease, AgentError> {
        self.call(reqwest::Method::PUT, &format!("/v1/leases/{lease}"), Some(&LeaseRenewal::default())).await
    }

    /// Ends a lease, and with it every fault that lives under it.
    ///
    /// # Errors
    /// As every call; `not_found` when it has run out.
    pub async fn end_lease(&self, lease: &LeaseId) -> Result<Healed, AgentError> {
        self.call(reqwest::Method::DELETE, &format!("/v1/leases/{lease}"), NOTHING).await
    }

    /// Sets a fault.
    ///
    /// # Errors
    /// As every call.
    pub async fn add_fault(&self, proxy: &ProxyName, fault: &FaultSpec) -> Result<FaultInfo, AgentError> {
        self.call(reqwest::Method::POST, &format!("/v1/proxies/{proxy}/faults"), Some(fault)).await
    }

    /// Changes a fault.
    ///
    /// # Errors
    /// As every call.
    pub async fn patch_fault(
        &self,
        proxy: &ProxyName,
        fault: &FaultName,
        patch: &FaultPatch,
        lease: Option<&LeaseId>,
    ) -> Result<FaultInfo, AgentError> {
        let bytes = self.send_as(lease, reqwest::Method::PATCH, &fault_path(proxy, fault), Some(patch)).await?;
        self.parsed(&bytes)
    }

    /// Removes a fault and says how often it hit.
    ///
    /// # Errors
    /// As every call; `not_found` when it is gone already.
    pub async fn remove_fault(
        &self,
        proxy: &ProxyName,
        fault: &FaultName,
        lease: Option<&LeaseId>,
    ) -> Result<RemovedFault, AgentError> {
        let bytes = self.send_as(lease, reqwest::Method::DELETE, &fault_path(proxy, fault), NOTHING).await?;
        let Healed { removed, restored: _ } = self.parsed(&bytes)?;
        removed.into_iter().next().ok_or_else(|| self.foreign("it says that nothing was removed".to_owned()))
    }

    /// Removes every fault, whoever set it.
    ///
    /// # Errors
    /// As every call.
    pub async fn heal_all(&self) -> Result<Healed, AgentError> {
        self.call(reqwest::Method::DELETE, "/v1/faults", NOTHING).await
    }

    /// Heals everything, and makes it refuse new faults until the halt is lifted.
    ///
    /// # Errors
    /// As every call.
    pub async fn halt(&self, reason: &str) -> Result<HaltInfo, AgentError> {
        let request = HaltRequest { reason: reason.to_owned() };
        self.call(reqwest::Method::PUT, "/v1/halt", Some(&request)).await
    }

    /// Lifts a halt; no error when there is none.
    ///
    /// # Errors
    /// As every call.
    pub async fn lift_halt(&self) -> Result<HaltInfo, AgentError> {
        self.call(reqwest::Method::DELETE, "/v1/halt", NOTHING).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, AgentError> {
        self.call(reqwest::Method::GET, path, NOTHING).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, AgentError> {
        let bytes = self.send(method, path, body).await?;
        self.parsed(&bytes)
    }

    fn parsed<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, AgentError> {
        serde_json::from_slice(bytes).map_err(|e| self.foreign(e.to_string()))
    }

    async fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Vec<u8>, AgentError> {
        self.send_as(None, method, path, body).await
    }

    /// As the holder of this lease, if any.
    async fn send_as(
        &self,
        lease: Option<&LeaseId>,
        method: reqwest::Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Vec<u8>, AgentError> {
        let mut request = self.http.request(method, format!("{}{path}", self.target.url.trim_end_matches('/')));
        if let Some(token) = &self.target.token {
            request = request.bearer_auth(token);
        }
        if let Some(lease) = lease {
            request = request.header("x-squall-lease", lease.as_str());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|e| unreachable_agent(&self.target, &e))?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(|e| unreachable_agent(&self.target, &e))?;
        if status.is_success() {
            return Ok(bytes.to_vec());
        }
        Err(self.refused(status, &bytes))
    }

    fn refused(&self, status: reqwest::StatusCode, body: &[u8]) -> AgentError {
        match serde_json::from_slice::<ErrorBody>(body) {
            Ok(ErrorBody { error }) => {
                AgentError::Refused { agent: self.target.name.clone(), status: status.as_u16(), detail: error }
            }
            Err(_) => self.foreign(format!("status {status}")),
        }
    }

    /// The error of a stream that the agent ended in order, which it does when it shuts down.
    #[must_use]
    pub fn ended(&self) -> AgentError {
        let cause = "it ended the stream, as an agent does that shuts down".to_owned();
        AgentError::Unreachable { agent: self.target.name.clone(), url: self.target.url.clone(), cause }
    }

    pub(crate) fn silent(&self, limit: Duration) -> AgentError {
        let cause = format!("no answer within {}", Span::from(limit));
        AgentError::Unreachable { agent: self.target.name.clone(), url: self.target.url.clone(), cause }
    }

    pub(crate) fn broken(&self, error: &reqwest::Error) -> AgentError {
        unreachable_agent(&self.target, error)
    }

    pub(crate) fn foreign(&self, cause: String) -> AgentError {
        AgentError::Foreign { agent: self.target.name.clone(), url: self.target.url.clone(), cause }
    }
}

fn fault_path(proxy: &ProxyName, fault: &FaultName) -> String {
    format!("/v1/proxies/{proxy}/faults/{fault}")
}

fn unreachable_agent(target: &AgentTarget, error: &reqwest::Error) -> AgentError {
    AgentError::Unreachable { agent: target.name.clone(), url: target.url.clone(), cause: root_cause(error) }
}

/// The innermost cause: `Connection refused`, not `error sending request`.
fn root_cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {}", Span::from(if error.is_connect() { CONNECT_LIMIT } else { CALL_LIMIT }));
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
