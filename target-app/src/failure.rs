//! How a call to a dependency fails, and what each way means to the patterns.
//!
//! The patterns differ in what they may do about a failure: a retry needs to know whether another try can help, a
//! breaker whether it speaks against the dependency, the fail-over cache whether there was an answer at all, and
//! compensation whether the work may have been done. All of that is decided here, once.
//!
//! Invariant: these are values; nothing here waits or counts.

use crate::resilience::feature_flags::Withheld;
use axum::http::StatusCode;
use std::{fmt, time::Duration};

/// Why a call did not give what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// No answer within the call's share of time.
    #[error("{service} did not answer in time")]
    Timeout { service: &'static str },
    /// The connection could not be made; nothing was sent.
    #[error("{service} could not be reached: {cause}")]
    Unreachable { service: &'static str, cause: String },
    /// The connection ended before an answer began.
    #[error("the connection to {service} broke: {cause}")]
    Broken { service: &'static str, cause: String },
    /// An answer began and ended too early.
    #[error("the answer of {service} broke off: {cause}")]
    BrokenOff { service: &'static str, cause: String },
    /// An answer came that is not what was agreed.
    #[error("the answer of {service} makes no sense: {cause}")]
    Malformed { service: &'static str, cause: String },
    /// An answer came, and it is a refusal.
    #[error("{service} answered {status}: {message}")]
    Status { service: &'static str, status: StatusCode, retry_after: Option<Duration>, message: String },
    /// The breaker is open; nothing was sent.
    #[error("{service} is left alone for now, its calls failed ({because})")]
    Open { service: &'static str, retry_after: Duration, because: FailureKind },
    /// No permit of the pool in time; nothing was sent.
    #[error("too many calls to {service} are under way")]
    PoolFull { service: &'static str },
    /// The shop has been told not to ask; nothing was sent.
    #[error("{}", because.text())]
    Withheld { because: Withheld },
}

/// What a failed call says about the dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// It did not answer, or not in time.
    Absent,
    /// It answered, later than it should.
    Slow,
    /// It answered with an error of its own.
    Refusing,
    /// It answered with something that is no answer.
    Senseless,
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "no answers",
            Self::Slow => "slow answers",
            Self::Refusing => "errors",
            Self::Senseless => "malformed answers",
        })
    }
}

impl CallError {
    /// What it says about the dependency's state; nothing when the call never got there or the asker was at fault.
    pub(crate) fn kind(&self) -> Option<FailureKind> {
        match self {
            Self::Timeout { .. } | Self::Unreachable { .. } | Self::Broken { .. } => Some(FailureKind::Absent),
            Self::BrokenOff { .. } | Self::Malformed { .. } => Some(FailureKind::Senseless),
            Self::Status { status, .. } if status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS => {
                Some(FailureKind::Refusing)
            }
            Self::Status { .. } | Self::Open { .. } | Self::PoolFull { .. } | Self::Withheld { .. } => None,
        }
    }

    /// Whether another try may help. A call that used up its time gets no other.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } | Self::BrokenOff { .. } => true,
            Self::Status { status, .. } => matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504),
            Self::Timeout { .. }
            | Self::Malformed { .. }
            | Self::Open { .. }
            | Self::PoolFull { .. }
            | Self::Withheld { .. } => false,
        }
    }

    /// Whether the last known value is a fair answer: the dependency is away, slow or refusing. One that answers
    /// nonsense is a defect that an old value would only hide.
    pub(crate) fn allows_stale(&self) -> bool {
        let sensible = |kind: FailureKind| kind != FailureKind::Senseless;
        match self {
            Self::Open { because, .. } => sensible(*because),
            Self::PoolFull { .. } | Self::Withheld { .. } => true,
            other => other.kind().is_some_and(sensible),
        }
    }

    /// Whether the dependency may have done the work all the same.
    pub(crate) fn may_have_happened(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::Broken { .. } | Self::BrokenOff { .. } | Self::Malformed { .. } => true,
            Self::Status { status, .. } => status.is_server_error(),
            Self::Unreachable { .. } | Self::Open { .. } | Self::PoolFull { .. } | Self::Withheld { .. } => false,
        }
    }

    /// When the dependency asked to be tried again.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CallError, FailureKind};
    use axum::http::StatusCode;
    use std::time::Duration;

    fn status(code: u16) -> CallError {
        let status = StatusCode::from_u16(code).unwrap();
        CallError::Status { service: "payment", status, retry_after: None, message: String::new() }
    }

    #[test]
    fn only_the_agreed_statuses_are_tried_again() {
        for code in [429, 500, 502, 503, 504] {
            assert!(status(code).is_transient(), "{code}");
        }
        for code in [400, 401, 402, 404, 409, 422, 501, 505] {
            assert!(!status(code).is_transient(), "{code}");
        }
    }

    #[test]
    fn a_refusal_of_the_request_says_nothing_against_the_dependency() {
        assert_eq!(status(409).kind(), None);
        assert_eq!(status(503).kind(), Some(FailureKind::Refusing));
    }

    #[test]
    fn nonsense_is_never_covered_by_an_old_value_even_when_the_breaker_has_opened_on_it() {
        let open = |because| CallError::Open { service: "reviews", retry_after: Duration::ZERO, because };
        assert!(open(FailureKind::Absent).allows_stale());
        assert!(!open(FailureKind::Senseless).allows_stale());
        assert!(!CallError::Malformed { service: "reviews", cause: "x".into() }.allows_stale());
        assert!(CallError::Timeout { service: "reviews" }.allows_stale());
    }
}
