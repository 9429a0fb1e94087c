//! The catalogue: every kind of fault, once. Adding a kind is a variant and its parameters here, and a file of the
//! agent's that does it.
//!
//! Sources: M. Nygard, *Release It!*, "Test Harnesses", for the ways an integration point fails.

use super::Direction;
use crate::{ByteRate, ByteSize, Span, SpanOrForever};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A kind of fault with its parameters. In YAML and JSON, one key with a map: `{latency: {delay: 800ms}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// Each chunk leaves so long after it arrived, in order; throughput stays.
    Latency(Latency),
    /// Paced bytes a second, within 1 % over any second.
    Bandwidth(Bandwidth),
    /// A new connection is left in the listen queue.
    SlowAccept(SlowAccept),
    /// The end of the stream is passed on late.
    SlowClose(SlowClose),
    /// Data leaves in small pieces, one at a time.
    Drip(Drip),
    /// Traffic freezes again and again, as in a garbage-collection pause.
    Stall(Stall),
    /// Bytes are read and thrown away; nothing is answered.
    Blackhole(Blackhole),
    /// Nothing is read: the sender meets a full receive window.
    Unread(Nothing),
    /// The listening socket closes: new connections get ECONNREFUSED, open ones go on.
    Refuse(Nothing),
    /// The connection ends by RST.
    Reset(Reset),
    /// So many bytes pass, then the stream ends.
    Truncate(Truncate),
    /// The upstream is not asked; the client gets nonsense.
    Garbage(Garbage),
}

/// No parameters: `{}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// How a random delay spreads around `delay`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// Evenly between `delay - jitter` and `delay + jitter`.
    #[default]
    Uniform,
    /// A bell with `jitter` as its standard deviation.
    Normal,
    /// A heavy tail above `delay`, `jitter` on average.
    Pareto,
    /// An exponential tail above `delay`, `jitter` on average.
    Exponential,
}

/// Parameters of `latency`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// How late each chunk leaves.
    pub delay: Span,
    /// How far the delay spreads.
    #[serde(default)]
    pub jitter: Span,
    /// How it spreads.
    #[serde(default)]
    pub distribution: Distribution,
    /// Bytes held by one link, at most, before back pressure reaches the sender.
    #[serde(default = "Latency::default_buffer")]
    pub buffer: ByteSize,
}

impl Latency {
    fn default_buffer() -> ByteSize {
        ByteSize::mib(64)
    }
}

/// Who shares one rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RateScope {
    /// Each connection has a budget of its own.
    #[default]
    Connection,
    /// All connections of the proxy share one budget.
    Proxy,
}

/// Parameters of `bandwidth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bandwidth {
    /// Bytes a second; 0 lets nothing pass.
    pub rate: ByteRate,
    /// The largest burst; 20 ms worth of the rate when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<ByteSize>,
    /// Who shares the rate.
    #[serde(default)]
    pub scope: RateScope,
}

impl Bandwidth {
    /// The largest burst in bytes, at least one.
    #[must_use]
    pub fn burst_bytes(&self) -> u64 {
        self.burst.map_or(self.rate.get() / 50, ByteSize::get).max(1)
    }
}

/// Parameters of `slow_accept`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlowAccept {
    /// How long a connection is left in the listen queue, or `forever`.
    pub delay: SpanOrForever,
    /// The length of the listen queue while the fault lasts; unchanged when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<u16>,
    /// Connections are taken in turn, one each `delay`, so that the queue fills.
    #[serde(default)]
    pub one_at_a_time: bool,
}

/// Parameters of `slow_close`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlowClose {
    /// How late the end of the stream is passed on.
    pub delay: Span,
}

/// Parameters of `drip`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Drip {
    /// The size of a piece.
    #[serde(default = "Drip::default_bytes")]
    pub bytes: u64,
    /// One piece each so long.
    #[serde(default = "Drip::default_every")]
    pub every: Span,
    /// Pieces are this many bytes larger or smaller, at random.
    #[serde(default)]
    pub size_jitter: u64,
}

impl Drip {
    fn default_bytes() -> u64 {
        1
    }

    fn default_every() -> Span {
        Span::from_secs(1)
    }
}

/// Parameters of `stall`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stall {
    /// Once per so long, counted from when the fault was set …
    pub every: Span,
    /// … traffic freezes for so long.
    #[serde(rename = "for")]
    pub duration: Span,
    /// Each freeze is this much longer or shorter, at random.
    #[serde(default)]
    pub jitter: Span,
}

/// Parameters of `blackhole`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Blackhole {
    /// A connection that is hit is closed after so long; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close_after: Option<Span>,
}

/// Parameters of `reset`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// The RST comes so long after the connection was hit.
    #[serde(default)]
    pub after: Span,
    /// The RST comes after exactly so many bytes in the fault's direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_bytes: Option<ByteSize>,
}

/// What happens after the last byte that passes a `truncate`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TruncateThen {
    /// The connection closes in order.
    #[default]
    Close,
    /// The connection ends by RST.
    Reset,
    /// The rest is thrown away and the connection stays open.
    Blackhole,
}

/// Parameters of `truncate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Truncate {
    /// So many bytes pass, counted from when the fault took hold of the connection.
    pub bytes: ByteSize,
    /// Then what.
    #[serde(default)]
    pub then: TruncateThen,
}

/// What nonsense the client gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GarbageStyle {
    /// Random bytes.
    Random,
    /// A valid HTTP status line and headers, then noise that is not the body they promise.
    HttpNoise,
    /// An HTTP answer with a page where data was expected.
    Html,
    /// An HTTP answer whose body never ends.
    Endless,
    /// The greeting of another protocol (SSH).
    Banner,
    /// This text, to the byte.
    Text(String),
}

/// What happens after the garbage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GarbageThen {
    /// The connection closes in order.
    #[default]
    Close,
    /// The connection ends by RST.
    Reset,
    /// The connection stays open and silent.
    Hang,
}

/// Parameters of `garbage`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Garbage {
    /// What the client gets.
    pub style: GarbageStyle,
    /// How many bytes of it, where the style does not say.
    #[serde(default = "Garbage::default_bytes")]
    pub bytes: ByteSize,
    /// Then what.
    #[serde(default)]
    pub then: GarbageThen,
}

impl Garbage {
    fn default_bytes() -> ByteSize {
        ByteSize::kib(4)
    }
}

/// What `squall faults` says of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct KindInfo {
    /// The key in `fault: {…}`.
    pub name: &'static str,
    /// What happens, in a sentence.
    pub about: &'static str,
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
            parameters: &[parameter("delay", "required", "how late")],
            example: "{slow_close: {delay: 5s}}",
        },
        KindInfo {
            name: "drip",
            about: "data leaves in pieces of `bytes`, one per `every`",
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
            parameters: &[parameter("close_after", "never", "a connection that is hit is closed after so long")],
            example: "{blackhole: {}}",
        },
        KindInfo {
            name: "unread",
            about: "nothing is read in `direction`: the sender meets a full receive window",
            parameters: &[],
            example: "{unread: {}}",
        },
        KindInfo {
            name: "refuse",
            about: "the listening socket closes: new connections get ECONNREFUSED, open ones go on",
            parameters: &[],
            example: "{refuse: {}}",
        },
        KindInfo {
            name: "reset",
            about: "the connection ends by RST, at once, after a time or after so many bytes",
            parameters: &[
                parameter("after", "0s", "so long after the connection was hit"),
                parameter("after_bytes", "none", "after exactly so many bytes in `direction`"),
            ],
            example: "{reset: {after: 0s}}",
        },
        KindInfo {
            name: "truncate",
            about: "so many bytes pass, then the stream ends",
            parameters: &[
                parameter("bytes", "required", "how many"),
                parameter("then", "close", "close, reset or blackhole"),
            ],
            example: "{truncate: {bytes: 1KiB, then: close}}",
        },
        KindInfo {
            name: "garbage",
            about: "the upstream is not asked, and the client gets nonsense",
            parameters: &[
                parameter("style", "required", "random, http_noise, html, endless, banner or {text: \"…\"}"),
                parameter("bytes", "4KiB", "how much of it"),
                parameter("then", "close", "close, reset or hang"),
            ],
            example: "{garbage: {style: http_noise}}",
        },
    ];

    /// The kind's name, the key in `fault: {…}`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Latency(_) => "latency",
            Self::Bandwidth(_) => "bandwidth",
            Self::SlowAccept(_) => "slow_accept",
            Self::SlowClose(_) => "slow_close",
            Self::Drip(_) => "drip",
            Self::Stall(_) => "stall",
            Self::Blackhole(_) => "blackhole",
            Self::Unread(_) => "unread",
            Self::Refuse(_) => "refuse",
            Self::Reset(_) => "reset",
            Self::Truncate(_) => "truncate",
            Self::Garbage(_) => "garbage",
        }
    }

    /// The direction when none is asked for.
    #[must_use]
    pub const fn default_direction(&self) -> Direction {
        match self.fixed_direction() {
            Some(direction) => direction,
            None => Direction::Downstream,
        }
    }

    /// The direction that the kind fixes, if it does: what acts on whole connections has no other.
    #[must_use]
    pub const fn fixed_direction(&self) -> Option<Direction> {
        match self {
            Self::SlowAccept(_) | Self::Refuse(_) => Some(Direction::Both),
            Self::Garbage(_) => Some(Direction::Downstream),
            _ => None,
        }
    }

    /// Whether the agent can see each unit that it hits. A refused connection is refused by the kernel.
    #[must_use]
    pub const fn counts_hits(&self) -> bool {
        !matches!(self, Self::Refuse(_))
    }
}
