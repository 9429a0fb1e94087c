//! The parameters of each kind of fault, and what they are when left out.
//!
//! One struct a kind, named in `kind.rs`; what the parameters mean in words is in `catalogue.rs`, and which of them
//! make no sense together in `check.rs`.
//!
//! Invariant: a key that a kind does not know is refused.

use crate::{ByteRate, ByteSize, Span, SpanOrForever};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// The size of a piece. Of a larger one, 4 MiB leave each time.
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

/// What becomes of a connection over a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LimitThen {
    /// It is closed at once.
    #[default]
    Refuse,
    /// It waits until another one ends.
    Queue,
}

/// Parameters of `connection_limit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionLimit {
    /// So many are open at once; those that were open when the fault came count, and stay.
    pub max: u64,
    /// What becomes of more.
    #[serde(default)]
    pub then: LimitThen,
}

/// Parameters of `flap`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Flap {
    /// Reachable for so long, first from when the fault was set …
    pub up: Span,
    /// … then refused for so long, open connections reset.
    pub down: Span,
    /// Each change comes up to this much earlier or later, at random.
    #[serde(default)]
    pub jitter: Span,
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

/// What happens to a byte that is corrupted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CorruptHow {
    /// One of its bits is the other way round.
    #[default]
    Flip,
    /// It becomes 0.
    Zero,
    /// It becomes any other value.
    Random,
}

/// Parameters of `corrupt`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Corrupt {
    /// The share of bytes that are changed, above 0 and up to 1.
    #[serde(default = "Corrupt::default_rate")]
    pub rate: f64,
    /// What happens to them.
    #[serde(default)]
    pub how: CorruptHow,
}

impl Corrupt {
    fn default_rate() -> f64 {
        0.001
    }
}
