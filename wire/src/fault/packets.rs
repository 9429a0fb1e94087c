//! The parameters of the kinds that lose, double and reorder packets: segments of TCP in the kernel, and datagrams.
//!
//! Named in `kind.rs`, told of in `catalogue.rs`, checked in `check.rs`.
//!
//! Invariant: a key that a kind does not know is refused.

use crate::Percent;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Parameters of `packet_loss`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PacketLoss {
    /// The share of segments that are dropped.
    pub loss: Percent,
    /// Only the segments that open a connection are dropped, so that connects are slow and nothing else is.
    #[serde(default)]
    pub syn_only: bool,
}

/// Parameters of `loss`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    /// The share of datagrams that are thrown away, of those that the fault hits.
    #[serde(default)]
    pub percent: Percent,
}

/// Parameters of `duplicate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Duplicate {
    /// So many more come of each.
    #[serde(default = "Duplicate::default_copies")]
    pub copies: u16,
}

impl Duplicate {
    fn default_copies() -> u16 {
        1
    }
}

/// Parameters of `reorder`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reorder {
    /// A datagram that is hit comes after the next so many.
    #[serde(default = "Reorder::default_depth")]
    pub depth: u16,
}

impl Reorder {
    fn default_depth() -> u16 {
        3
    }
}
