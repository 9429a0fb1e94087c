//! The one word that a run ends with, and its exit code. Pure: values in, verdict out.
//!
//! Scripts depend on the codes; they are a promise. The order of the variants is the order in which they apply.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a run has shown. The first that applies, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// A fault could not be confirmed gone.
    NotHealed,
    /// Squall, an agent or an injection failed: nothing was learnt.
    Error,
    /// A person or the system stopped it; it is clean.
    Interrupted,
    /// An abort condition was met.
    Aborted,
    /// The steady state did not hold before the first fault.
    NotSteady,
    /// A tolerance did not hold during the faults, or after.
    Deviated,
    /// It held, but not within the recovery time.
    NotRecovered,
    /// Too few samples, or a fault that hit nothing.
    Inconclusive,
    /// The hypothesis stood.
    Held,
}

impl Verdict {
    /// Every verdict, in order of precedence.
    pub const ALL: [Self; 9] = [
        Self::NotHealed,
        Self::Error,
        Self::Interrupted,
        Self::Aborted,
        Self::NotSteady,
        Self::Deviated,
        Self::NotRecovered,
        Self::Inconclusive,
        Self::Held,
    ];

    /// The word, as in the journal and on the screen.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotHealed => "not_healed",
            Self::Error => "error",
            Self::Interrupted => "interrupted",
            Self::Aborted => "aborted",
            Self::NotSteady => "not_steady",
            Self::Deviated => "deviated",
            Self::NotRecovered => "not_recovered",
            Self::Inconclusive => "inconclusive",
            Self::Held => "held",
        }
    }

    /// What it means, in a sentence.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::NotHealed => "a fault could not be confirmed gone",
            Self::Error => "squall, an agent or an injection failed: nothing was learnt",
            Self::Interrupted => "stopped from outside; everything was healed",
            Self::Aborted => "an abort condition was met; the faults were taken away at once",
            Self::NotSteady => "the steady state did not hold before the first fault; nothing was injected",
            Self::Deviated => "a tolerance did not hold during the faults, or after",
            Self::NotRecovered => "it held during the faults, but was not back to normal in time",
            Self::Inconclusive => "too few samples, or a fault that hit nothing: no conclusion",
            Self::Held => "the hypothesis stood",
        }
    }

    /// The exit code; `interrupted` is 128 and the signal, so the caller knows it better.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Held => 0,
            Self::Deviated => 1,
            Self::NotSteady => 4,
            Self::Aborted => 5,
            Self::NotRecovered => 6,
            Self::Error => 7,
            Self::NotHealed => 8,
            Self::Inconclusive => 9,
            Self::Interrupted => 130,
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.word())
    }
}
