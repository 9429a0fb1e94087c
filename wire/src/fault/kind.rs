//! Every kind of fault, once. Adding a kind is a variant here, its parameters in `parameters.rs`, its entry in
//! `catalogue.rs`, and a file of the agent's that does it.
//!
//! Sources: M. Nygard, *Release It!*, "Test Harnesses", for the ways an integration point fails.
//!
//! Invariant: everything that knows the kinds by name follows from this enum.

use super::{
    Bandwidth, Blackhole, ConnectionLimit, Corrupt, Direction, Drip, Duplicate, Flap, Garbage, HttpBody, HttpHeaders,
    HttpLatency, HttpStatus, Latency, Loss, Nothing, PacketLoss, Reorder, Reset, SlowAccept, SlowClose, Stall,
    Truncate,
};
use crate::Protocol;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error};

/// A kind of fault with its parameters. In YAML and JSON, one key with a map: `{latency: {delay: 800ms}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// Each chunk leaves so long after it arrived, in order; throughput stays.
    Latency(#[serde(deserialize_with = "written")] Latency),
    /// Paced bytes a second, within 1 % over any second.
    Bandwidth(#[serde(deserialize_with = "written")] Bandwidth),
    /// A new connection is left in the listen queue.
    SlowAccept(#[serde(deserialize_with = "written")] SlowAccept),
    /// The end of the stream is passed on late.
    SlowClose(#[serde(deserialize_with = "written")] SlowClose),
    /// Data leaves in small pieces, one at a time.
    Drip(#[serde(deserialize_with = "written")] Drip),
    /// Traffic freezes again and again, as in a garbage-collection pause.
    Stall(#[serde(deserialize_with = "written")] Stall),
    /// Bytes are read and thrown away; nothing is answered.
    Blackhole(#[serde(deserialize_with = "written")] Blackhole),
    /// Nothing is read: the sender meets a full receive window.
    Unread(#[serde(deserialize_with = "written")] Nothing),
    /// The listening socket closes: new connections get ECONNREFUSED, open ones go on.
    Refuse(#[serde(deserialize_with = "written")] Nothing),
    /// The connection ends by RST.
    Reset(#[serde(deserialize_with = "written")] Reset),
    /// So many bytes pass, then the stream ends.
    Truncate(#[serde(deserialize_with = "written")] Truncate),
    /// So many connections are open at most; more are closed at once or left waiting.
    ConnectionLimit(#[serde(deserialize_with = "written")] ConnectionLimit),
    /// Reachable for a while, then refused and reset for a while, again and again.
    Flap(#[serde(deserialize_with = "written")] Flap),
    /// The upstream is not asked; the client gets nonsense.
    Garbage(#[serde(deserialize_with = "written")] Garbage),
    /// Bytes that pass are changed; their number is not.
    Corrupt(#[serde(deserialize_with = "written")] Corrupt),
    /// Answered with this status; the upstream is not asked.
    HttpStatus(#[serde(deserialize_with = "written")] HttpStatus),
    /// A part of the exchange is late.
    HttpLatency(#[serde(deserialize_with = "written")] HttpLatency),
    /// Headers are changed.
    HttpHeaders(#[serde(deserialize_with = "written")] HttpHeaders),
    /// The body is changed, cut, kept back or blown up.
    HttpBody(#[serde(deserialize_with = "written")] HttpBody),
    /// Answered 401 with a challenge, whatever the credentials.
    HttpUnauthorized(#[serde(deserialize_with = "written")] Nothing),
    /// Real segments are dropped in the kernel.
    PacketLoss(#[serde(deserialize_with = "written")] PacketLoss),
    /// Datagrams are thrown away.
    Loss(#[serde(deserialize_with = "written")] Loss),
    /// Datagrams come more than once.
    Duplicate(#[serde(deserialize_with = "written")] Duplicate),
    /// Datagrams come later than those sent after them.
    Reorder(#[serde(deserialize_with = "written")] Reorder),
}

/// Parameters that are there. YAML has nothing where a line ends at its colon, and some readers take that for a map.
fn written<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    let missing =
        || D::Error::custom("its parameters are a map: write `{}` where all are to be as they are by default");
    Option::deserialize(deserializer)?.ok_or_else(missing)
}

impl FaultKind {
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
            Self::ConnectionLimit(_) => "connection_limit",
            Self::Flap(_) => "flap",
            Self::Garbage(_) => "garbage",
            Self::Corrupt(_) => "corrupt",
            Self::HttpStatus(_) => "http_status",
            Self::HttpLatency(_) => "http_latency",
            Self::HttpHeaders(_) => "http_headers",
            Self::HttpBody(_) => "http_body",
            Self::HttpUnauthorized(_) => "http_unauthorized",
            Self::PacketLoss(_) => "packet_loss",
            Self::Loss(_) => "loss",
            Self::Duplicate(_) => "duplicate",
            Self::Reorder(_) => "reorder",
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
            Self::SlowAccept(_) | Self::Refuse(_) | Self::ConnectionLimit(_) | Self::Flap(_) => Some(Direction::Both),
            Self::Garbage(_) | Self::HttpStatus(_) | Self::HttpUnauthorized(_) => Some(Direction::Downstream),
            Self::PacketLoss(lossy) if lossy.syn_only => Some(Direction::Upstream),
            Self::HttpLatency(latency) => Some(latency.at.direction()),
            Self::HttpHeaders(headers) => Some(headers.on.direction()),
            Self::HttpBody(body) => Some(body.on.direction()),
            _ => None,
        }
    }

    /// The protocols on which it runs.
    #[must_use]
    pub const fn protocols(&self) -> &'static [Protocol] {
        match self {
            Self::Latency(_) | Self::Bandwidth(_) | Self::Blackhole(_) | Self::Corrupt(_) => {
                &[Protocol::Tcp, Protocol::Http, Protocol::Udp]
            }
            Self::HttpStatus(_)
            | Self::HttpLatency(_)
            | Self::HttpHeaders(_)
            | Self::HttpBody(_)
            | Self::HttpUnauthorized(_) => &[Protocol::Http],
            Self::Loss(_) | Self::Duplicate(_) | Self::Reorder(_) => &[Protocol::Udp],
            _ => &[Protocol::Tcp, Protocol::Http],
        }
    }

    /// Whether the agent can see each unit that it hits. A refused connection is refused by the kernel, so of a
    /// proxy that flaps only those that are reset are seen; and a lost packet is lost in the kernel.
    #[must_use]
    pub const fn counts_hits(&self) -> bool {
        !matches!(self, Self::Refuse(_) | Self::Flap(_) | Self::PacketLoss(_))
    }
}
