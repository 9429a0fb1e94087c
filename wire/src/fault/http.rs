//! The parameters of the kinds that know HTTP, each acting on one request and its response.
//!
//! Named in `kind.rs`, told of in `catalogue.rs`, checked in `check.rs`.
//!
//! Invariant: a key that a kind does not know is refused.

use super::{Direction, Distribution};
use crate::{ByteSize, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which message of an exchange.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HttpMessage {
    /// What the client sends.
    Request,
    /// What the client gets.
    #[default]
    Response,
}

impl HttpMessage {
    /// Which way it goes.
    #[must_use]
    pub const fn direction(self) -> Direction {
        match self {
            Self::Request => Direction::Upstream,
            Self::Response => Direction::Downstream,
        }
    }
}

/// Which part of an exchange is late.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HttpPart {
    /// The request reaches the upstream late.
    Request,
    /// The response's head reaches the client late.
    #[default]
    Headers,
    /// The response's head comes in time, and its body late.
    Body,
}

impl HttpPart {
    /// Which way it goes.
    #[must_use]
    pub const fn direction(self) -> Direction {
        match self {
            Self::Request => Direction::Upstream,
            Self::Headers | Self::Body => Direction::Downstream,
        }
    }
}

/// Parameters of `http_status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpStatus {
    /// 200 to 599.
    pub status: u16,
    /// The body; a line that says what it is when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Headers beside those that the answer needs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// `Retry-After`, in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Span>,
}

/// Parameters of `http_latency`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpLatency {
    /// How late.
    pub delay: Span,
    /// How far the delay spreads.
    #[serde(default)]
    pub jitter: Span,
    /// How it spreads.
    #[serde(default)]
    pub distribution: Distribution,
    /// What is late.
    #[serde(default)]
    pub at: HttpPart,
}

/// Parameters of `http_headers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpHeaders {
    /// Headers that are set, in place of those of the same name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// Names of headers that are taken away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Of which message.
    #[serde(default)]
    pub on: HttpMessage,
}

/// Parameters of `http_body`: one of `replace`, `truncate`, `hang` and `oversize`, or `content_type` alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpBody {
    /// This text in place of the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace: Option<String>,
    /// The body ends after so many bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncate: Option<ByteSize>,
    /// The head is sent, the body never.
    #[serde(default, skip_serializing_if = "is_false")]
    pub hang: bool,
    /// So many more bytes follow the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oversize: Option<ByteSize>,
    /// The `Content-Type` that is told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Of which message.
    #[serde(default)]
    pub on: HttpMessage,
    /// Keep the `Content-Length` of before, so that it is wrong.
    #[serde(default, skip_serializing_if = "is_false")]
    pub mismatch: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}
