//! The one shape of an API error: `{"error": {"code", "message", "field", "hint"}}`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What kind of error it was, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// 400: the body or the path is not what the call takes.
    InvalidRequest,
    /// 404: no such proxy, fault, lease or path.
    NotFound,
    /// 405: the path exists, the method does not.
    MethodNotAllowed,
    /// 409: the name is taken, or the address is.
    Conflict,
    /// 409: somebody else's lease holds the proxy.
    Leased,
    /// 409: the agent is halted, and takes no faults until that is lifted.
    Halted,
    /// 401: the agent must know who asks.
    Unauthorized,
    /// 403: a limit, a rule or a role forbids it.
    Forbidden,
    /// 410: it is too old, and the agent does not remember it.
    Gone,
    /// 413: the body is larger than the agent reads.
    TooLarge,
    /// 501: this machine cannot do it, and the message says why.
    Unavailable,
    /// 500: a bug.
    Internal,
}

/// What went wrong, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorDetail {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// The field that is wrong, as a path: `fault.latency.delay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The body of every answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}
