//! From a refusal to an answer: status, code, field and hint, in one `match`.
//!
//! Neighbours: `registry::Refusal` says what went wrong, `wire::ErrorBody` how it is told, every handler returns it.
//! Invariant: one refusal has one status, wherever it comes up.

use crate::{proxy::ProxyError, registry::Refusal, traffic::MarkError};
use axum::{
    Json,
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use squall_wire::{ErrorBody, ErrorCode, ErrorDetail};

/// An answer that is an error.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    detail: ErrorDetail,
}

impl ApiError {
    fn new(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { status, detail: ErrorDetail { code, message: message.into(), field: None, hint: None } }
    }

    fn with(mut self, field: Option<String>, hint: Option<String>) -> Self {
        self.detail.field = field.filter(|text| !text.is_empty());
        self.detail.hint = hint.filter(|text| !text.is_empty());
        self
    }

    pub(crate) fn bad_body(message: impl Into<String>, field: Option<String>, hint: Option<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::InvalidRequest, message).with(field, hint)
    }

    pub(crate) fn bad_path(message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::InvalidRequest, message)
    }

    pub(crate) fn not_found(message: String, hint: Option<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, ErrorCode::NotFound, message).with(None, hint)
    }

    pub(crate) fn wrong_method(method: &Method, path: &str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            ErrorCode::MethodNotAllowed,
            format!("`{path}` has no {method}: the header Allow names what it has"),
        )
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        let message = format!("the body is larger than the {limit} bytes that this agent reads");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TooLarge, message)
    }

    pub(crate) fn too_slow() -> Self {
        let message = "the body did not arrive in time: send the request again";
        Self::new(StatusCode::REQUEST_TIMEOUT, ErrorCode::InvalidRequest, message)
    }

    pub(crate) fn unauthorized(message: String, hint: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message).with(None, Some(hint.to_owned()))
    }

    pub(crate) fn forbidden(message: String, hint: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, ErrorCode::Forbidden, message).with(None, Some(hint.to_owned()))
    }

    pub(crate) fn busy(message: String) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, message)
    }

    /// Status and message, for those who tell it in another shape.
    pub(super) fn told(self) -> (StatusCode, String) {
        (self.status, self.detail.message)
    }

    pub(crate) fn bug() -> Self {
        let message = "the agent made a mistake, and its log says which: please report it";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal, message)
    }
}

impl From<MarkError> for ApiError {
    fn from(error: MarkError) -> Self {
        let message = error.to_string();
        let (status, code, hint) = match error {
            MarkError::Forgotten(_) => (StatusCode::GONE, ErrorCode::Gone, Some("leave `since` out to begin anew")),
            MarkError::OfOthers { .. } => (StatusCode::BAD_REQUEST, ErrorCode::InvalidRequest, None),
        };
        Self::new(status, code, message).with(Some("since".to_owned()), hint.map(str::to_owned))
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        use ErrorCode as Code;
        let message = refusal.to_string();
        let (status, code, field, hint) = match refusal {
            Refusal::Invalid { field, .. } => (StatusCode::BAD_REQUEST, Code::InvalidRequest, Some(field), None),
            Refusal::NotFound { hint, .. } => (StatusCode::NOT_FOUND, Code::NotFound, None, hint),
            Refusal::Taken { hint, .. } | Refusal::InUse { hint, .. } => {
                (StatusCode::CONFLICT, Code::Conflict, None, Some(hint.to_owned()))
            }
            Refusal::Toxiproxy(_) => (StatusCode::BAD_REQUEST, Code::InvalidRequest, None, None),
            Refusal::NoToxic => (StatusCode::NOT_FOUND, Code::NotFound, None, None),
            Refusal::ToxicExists => (StatusCode::CONFLICT, Code::Conflict, None, None),
            Refusal::Leased { .. } => {
                let hint = "wait for its end; its holder names it in the header X-Squall-Lease";
                (StatusCode::CONFLICT, Code::Leased, None, Some(hint.to_owned()))
            }
            Refusal::Hurt { proxy, .. } => {
                let hint = format!(
                    "take them away first: `squall heal --agent URL`, or DELETE /v1/proxies/{proxy}/faults/FAULT for each"
                );
                (StatusCode::CONFLICT, Code::Conflict, Some("proxies".to_owned()), Some(hint))
            }
            Refusal::NotBack { .. } => {
                let hint = "the agent goes on trying, and its log says why it fails; a PUT of the proxy settles it";
                (StatusCode::CONFLICT, Code::Conflict, Some("proxies".to_owned()), Some(hint.to_owned()))
            }
            Refusal::Role { needed, .. } => {
                let hint = format!("ask with a token or a certificate that has the role `{needed}`");
                (StatusCode::FORBIDDEN, Code::Forbidden, None, Some(hint))
            }
            Refusal::Policy { field, .. } => {
                let hint = "the policy stands in the agent's configuration, and the API cannot change it";
                (StatusCode::FORBIDDEN, Code::Forbidden, Some(field.to_owned()), Some(hint.to_owned()))
            }
            Refusal::Halted { .. } => {
                let hint = "`squall halt --lift` or DELETE /v1/halt lifts it, when the reason is gone";
                (StatusCode::CONFLICT, Code::Halted, None, Some(hint.to_owned()))
            }
            Refusal::Limit { field, hint, .. } => {
                (StatusCode::FORBIDDEN, Code::Forbidden, Some(field.to_owned()), Some(hint))
            }
            Refusal::Unavailable { .. } => {
                (StatusCode::NOT_IMPLEMENTED, Code::Unavailable, Some("fault".to_owned()), None)
            }
            Refusal::Proxy(error) => of_proxy(&error),
            Refusal::Unhealed { .. } | Refusal::NotSaved(_) => {
                let hint = "the agent goes on trying; its log says how it goes";
                (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, None, Some(hint.to_owned()))
            }
            Refusal::Stuck { .. } => (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, None, None),
            Refusal::Closed => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, None, None),
        };
        Self::new(status, code, message).with(field, hint)
    }
}

fn of_proxy(error: &ProxyError) -> (StatusCode, ErrorCode, Option<String>, Option<String>) {
    use std::io::ErrorKind::AddrInUse;
    let listen = Some("listen".to_owned());
    match error {
        ProxyError::Bind { source, .. } | ProxyError::Listen { source, .. } if source.kind() == AddrInUse => {
            (StatusCode::CONFLICT, ErrorCode::Conflict, listen, None)
        }
        ProxyError::Resolve { .. } | ProxyError::Bind { .. } => {
            (StatusCode::BAD_REQUEST, ErrorCode::InvalidRequest, listen, None)
        }
        ProxyError::Listen { .. } => (StatusCode::NOT_IMPLEMENTED, ErrorCode::Unavailable, listen, None),
        ProxyError::FaultExists(_) => (StatusCode::CONFLICT, ErrorCode::Conflict, Some("name".to_owned()), None),
        ProxyError::NoSuchFault(_) => (StatusCode::NOT_FOUND, ErrorCode::NotFound, None, None),
        ProxyError::OtherKind { .. } => {
            (StatusCode::BAD_REQUEST, ErrorCode::InvalidRequest, Some("fault".to_owned()), None)
        }
        ProxyError::Tls(mistake) => {
            (StatusCode::BAD_REQUEST, ErrorCode::InvalidRequest, Some(mistake.field.to_owned()), None)
        }
        // It was deleted while the request was under way.
        ProxyError::Stopped => (StatusCode::NOT_FOUND, ErrorCode::NotFound, None, None),
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(ErrorBody { error: self.detail })).into_response()
    }
}
