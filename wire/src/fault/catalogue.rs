//! What `squall faults` says of every kind: its parameters, their defaults and an example.
//!
//! Text beside `kind.rs` and `parameters.rs`, in the same order; a test of `check.rs` holds them together.
//!
//! Invariant: one entry a kind.

use super::FaultKind;
use crate::Protocol::{self, Http, Tcp, Udp};
use schemars::JsonSchema;
use serde::Serialize;

/// What `squall faults` says of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct KindInfo {
    /// The key in `fault: {…}`.
    pub name: &'static str,
    /// What happens, in a sentence.
    pub about: &'static str,
    /// The protocols of the proxies on which it runs.
    pub protocols: &'static [Protocol],
    /// Its parameters.
    pub parameters: &'static [ParameterInfo],
    /// A whole fault of this kind, as YAML.
    pub example: &'static str,
}

/// What `squall faults` says of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ParameterInfo {
    /// Its key.
    pub name: &'static str,
    /// The default, or `required`.
    pub default: &'static str,
    /// What it means.
    pub about: &'static str,
}

const fn parameter(name: &'static str, default: &'static str, about: &'static str) -> ParameterInfo {
    ParameterInfo { name, default, about }
}

impl FaultKind {
    /// Every kind, in the order of the catalogue.
    pub const CATALOGUE: &'static [KindInfo] = &[
        KindInfo {
            name: "latency",
            about: "each chunk leaves `delay` ± `jitter` after it arrived, in order; throughput stays",
            protocols: &[Tcp, Http, Udp],
            parameters: &[
                parameter("delay", "required", "how late each chunk leaves"),
                parameter("jitter", "0s", "how far the delay spreads"),
                parameter("distribution", "uniform", "uniform, normal, pareto or exponential"),
                parameter("buffer", "64MiB", "bytes held by one link before back pressure reaches the sender"),
            ],
            example: "{latency: {delay: 800ms, jitter: 100ms}}",
        },
        KindInfo {
            name: "bandwidth",
            about: "bytes are paced to `rate`, within 1 % over any second, never in bursts over `burst`",
            protocols: &[Tcp, Http, Udp],
            parameters: &[
                parameter("rate", "required", "bytes a second; 0 lets nothing pass"),
                parameter("burst", "20 ms worth", "the largest burst"),
                parameter("scope", "connection", "connection: a budget each; proxy: one shared budget"),
            ],
            example: "{bandwidth: {rate: 100KB/s}}",
        },
        KindInfo {
            name: "slow_accept",
            about: "a new connection is left in the listen queue for `delay`",
            protocols: &[Tcp, Http],
            parameters: &[
                parameter("delay", "required", "how long, or forever"),
                parameter("backlog", "unchanged", "length of the listen queue meanwhile"),
                parameter("one_at_a_time", "false", "take them in turn, so that the queue fills and connects time out"),
            ],
            example: "{slow_accept: {delay: forever, backlog: 1}}",
        },
        KindInfo {
            name: "slow_close",
            about: "the end of the stream is passed on `delay` late",
            protocols: &[Tcp, Http],
            parameters: &[parameter("delay", "required", "how late")],
            example: "{slow_close: {delay: 5s}}",
        },
        KindInfo {
            name: "drip",
            about: "data leaves in pieces of `bytes`, one per `every`",
            protocols: &[Tcp, Http],
            parameters: &[
                parameter("bytes", "1", "the size of a piece"),
                parameter("every", "1s", "one piece each so long"),
                parameter("size_jitter", "0", "pieces are this many bytes larger or smaller"),
            ],
            example: "{drip: {bytes: 1, every: 1s}}",
        },
        KindInfo {
            name: "stall",
            about: "traffic freezes for `for` once per `every`: a garbage-collection pause, a retransmission",
            protocols: &[Tcp, Http],
            parameters: &[
                parameter("every", "required", "how often"),
                parameter("for", "required", "how long"),
                parameter("jitter", "0s", "each freeze is this much longer or shorter"),
            ],
            example: "{stall: {every: 5s, for: 800ms}}",
        },
        KindInfo {
            name: "blackhole",
            about: "connections stay open, bytes in `direction` are read and thrown away, nothing is answered",
            protocols: &[Tcp, Http, Udp],
            parameters: &[parameter("close_after", "never", "a connection that is hit is closed after so long")],
            example: "{blackhole: {}}",
        },
        KindInfo {
            name: "unread",
            about: "nothing is read in `direction`: the sender meets a full receive window",
            protocols: &[Tcp, Http],
            parameters: &[],
            example: "{unread: {}}",
        },
        KindInfo {
            name: "refuse",
            about: "the listening socket closes: new connections get ECONNREFUSED, open ones go on",
            protocols: &[Tcp, Http],
            parameters: &[],
            example: "{refuse: {}}",
        },
        KindInfo {
            name: "reset",
            about: "the connection ends by RST, at once, after a time or after so many bytes",
            protocols: &[Tcp, Http],
            parameters: &[
                parameter("after", "0s", "so long after the connection was hit"),
                parameter("after_bytes", "none", "after exactly so many bytes in `direction`"),
            ],
            example: "{reset: {after: 0s}}",
        },
        KindInfo {
            name: "truncate",
            about: "so many bytes pass, then the stream ends",
            protocols: &[Tcp, Http],
            parameters: &[
                parameter("bytes", "required", "how many"),
                parameter("then", "close", "close, reset or blackhole"),
            ],
            example: "{truncate: {bytes: 1KiB, then: close}}",
        },
        KindInfo {
            name: "connection_limit",
            about: "at most `max` connections are open; more are closed at once or left waiting",
            protocols: &[Tcp, Http],
            parameters: &[
                parameter("max", "required", "how many; those that are open already count, and stay"),
                parameter("then", "refuse", "refuse: more are closed at once; queue: they wait for one to end"),
            ],
            example: "{connection_limit: {max: 10, then: queue}}",
        },
        KindInfo {
            name: "flap",
            about: "reachable for `up`, then refused for `down` (open connections are reset), again and again",
            protocols: &[Tcp, Http],
            parameters: &[
                parameter("up", "required", "how long it is reachable"),
                parameter("down", "required", "how long it is not"),
                parameter("jitter", "0s", "each change comes up to this much earlier or later"),
            ],
            example: "{flap: {up: 5s, down: 1s}}",
        },
        KindInfo {
            name: "garbage",
            about: "the upstream is not asked, and the client gets nonsense",
            protocols: &[Tcp, Http],
            parameters: &[
                parameter("style", "required", "random, http_noise, html, endless, banner or {text: \"…\"}"),
                parameter("bytes", "4KiB", "how much of it"),
                parameter("then", "close", "close, reset or hang"),
            ],
            example: "{garbage: {style: http_noise}}",
        },
        KindInfo {
            name: "corrupt",
            about: "bytes that pass are changed, their number is not",
            protocols: &[Tcp, Http, Udp],
            parameters: &[
                parameter("rate", "0.001", "the share of bytes, above 0 and up to 1"),
                parameter("how", "flip", "flip (one bit), zero or random (any other value)"),
            ],
            example: "{corrupt: {rate: 0.001, how: flip}}",
        },
        KindInfo {
            name: "http_status",
            about: "answered with `status` without asking the upstream",
            protocols: &[Http],
            parameters: &[
                parameter("status", "required", "from 200 to 599"),
                parameter("body", "a line that says what it is", "the body, as text"),
                parameter("headers", "none", "more headers, name to value"),
                parameter("retry_after", "none", "`Retry-After`, in whole seconds"),
            ],
            example: "{http_status: {status: 503, retry_after: 5s}}",
        },
        KindInfo {
            name: "http_latency",
            about: "the request, the response's head or its body is `delay` ± `jitter` late",
            protocols: &[Http],
            parameters: &[
                parameter("delay", "required", "how late"),
                parameter("jitter", "0s", "how far the delay spreads"),
                parameter("distribution", "uniform", "uniform, normal, pareto or exponential"),
                parameter("at", "headers", "request, headers or body"),
            ],
            example: "{http_latency: {delay: 800ms, at: headers}}",
        },
        KindInfo {
            name: "http_headers",
            about: "headers are set and taken away",
            protocols: &[Http],
            parameters: &[
                parameter("set", "none", "name to value, in place of those of the same name"),
                parameter("remove", "none", "a list of names"),
                parameter("on", "response", "request or response"),
            ],
            example: "{http_headers: {remove: [ETag], set: {Cache-Control: no-store}}}",
        },
        KindInfo {
            name: "http_body",
            about: "the body is replaced, cut, kept back or blown up; `Content-Length` follows",
            protocols: &[Http],
            parameters: &[
                parameter("replace", "none", "this text in place of the body"),
                parameter("truncate", "none", "the body ends after so many bytes"),
                parameter("hang", "false", "the head is sent, the body never"),
                parameter("oversize", "none", "so many more bytes follow the body"),
                parameter("content_type", "unchanged", "the `Content-Type` that is told of it"),
                parameter("on", "response", "request or response"),
                parameter("mismatch", "false", "keep the `Content-Length` of before, so that it is wrong"),
            ],
            example: "{http_body: {oversize: 50MB}}",
        },
        KindInfo {
            name: "http_unauthorized",
            about: "answered 401 with a challenge, whatever the credentials",
            protocols: &[Http],
            parameters: &[],
            example: "{http_unauthorized: {}}",
        },
        KindInfo {
            name: "packet_loss",
            about: "segments are dropped in the kernel: real retransmission and back-off (Linux; the agent says whether)",
            protocols: &[Tcp, Http],
            parameters: &[
                parameter("loss", "required", "the share of segments that are dropped, in percent"),
                parameter("syn_only", "false", "only those that open a connection, so that connecting takes seconds"),
            ],
            example: "{packet_loss: {loss: 5}}",
        },
        KindInfo {
            name: "loss",
            about: "datagrams are thrown away",
            protocols: &[Udp],
            parameters: &[parameter("percent", "100", "the share that is thrown away, of those that are hit")],
            example: "{loss: {percent: 10}}",
        },
        KindInfo {
            name: "duplicate",
            about: "datagrams come more than once",
            protocols: &[Udp],
            parameters: &[parameter("copies", "1", "so many more of each")],
            example: "{duplicate: {copies: 1}}",
        },
        KindInfo {
            name: "reorder",
            about: "a datagram comes after the next `depth` of its session",
            protocols: &[Udp],
            parameters: &[parameter("depth", "3", "how many overtake it")],
            example: "{reorder: {depth: 3}}",
        },
    ];
}
