//! Squall's own load: what is sent, how often, and what counts as an answer.
//!
//! Neighbours: `validate` makes it, `traffic` sends it; a step can change its rate for a while. Invariant: at least one request
//! with a weight.

use crate::template::Template;
use std::time::Duration;

/// An open-loop load: requests start on schedule whether or not earlier ones have come back.
#[derive(Debug, Clone)]
pub struct TrafficPlan {
    /// Requests a second, all together.
    pub rate: f64,
    /// Connections at most; a request that finds none free waits, and the wait counts.
    pub clients: usize,
    /// A request that takes longer has failed.
    pub timeout: Duration,
    /// What is sent, chosen by weight.
    pub requests: Vec<RequestPlan>,
}

/// One kind of request in the load. Its series is `traffic.NAME`.
#[derive(Debug, Clone)]
pub struct RequestPlan {
    /// Its name.
    pub name: String,
    /// How often it is chosen, against the others.
    pub weight: u32,
    /// GET, POST, PUT, PATCH, DELETE or HEAD.
    pub method: String,
    /// Where to; evaluated for each request.
    pub url: Template,
    /// Headers; evaluated for each request.
    pub headers: Vec<(String, Template)>,
    /// The body, if any; evaluated for each request.
    pub body: Option<Template>,
    /// What counts as success.
    pub expect: Expect,
}

/// What counts as a successful answer: the status, and optionally a text in the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect {
    /// Statuses that are a success; empty: every status below 400.
    pub status: Vec<u16>,
    /// A text that the body must contain.
    pub body_contains: Option<String>,
}
