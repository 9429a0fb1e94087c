//! The part of a shop's configuration that is about requests: who is let in, how many, for how long.

use crate::resilience::{
    adaptive_concurrency::AdaptiveConfig, back_pressure::BackPressureConfig, chaos::NamedRule,
    load_shedding::SheddingConfig, rate_limiting::RateConfig,
};
use std::{fmt, str::FromStr, time::Duration};
use subtle::ConstantTimeEq as _;

/// How a shop takes requests.
#[derive(Debug, Clone, PartialEq)]
pub struct FrontConfig {
    /// Requests worked on at a time.
    pub request_slots: usize,
    /// Connections of customers open at a time; more are answered with 503, or wait in the listen queue where load
    /// shedding is switched off.
    pub connections: usize,
    /// A page or a search may take so long in all.
    pub page_budget: Duration,
    /// An optional part of a page may take so long.
    pub optional_share: Duration,
    /// Who is refused, and when.
    pub shedding: SheddingConfig,
    /// How the number of requests worked on follows their latency.
    pub adaptive: AdaptiveConfig,
    /// How long one waits for a slot.
    pub back_pressure: BackPressureConfig,
    /// How much one client may ask.
    pub rate: RateConfig,
    /// In-process chaos from the start.
    pub chaos: Vec<NamedRule>,
    /// What `/admin` asks for; without one it answers the loopback only.
    pub admin_token: Option<AdminToken>,
}

impl Default for FrontConfig {
    fn default() -> Self {
        Self {
            request_slots: 128,
            connections: 1024,
            page_budget: Duration::from_secs(1),
            optional_share: Duration::from_millis(150),
            shedding: SheddingConfig::default(),
            adaptive: AdaptiveConfig::default(),
            back_pressure: BackPressureConfig::default(),
            rate: RateConfig::default(),
            chaos: Vec::new(),
            admin_token: None,
        }
    }
}

/// A secret that opens `/admin`. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken(String);

/// A text that is too short for a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an admin token has 16 characters or more")]
pub struct WeakToken;

impl AdminToken {
    const SHORTEST: usize = 16;

    /// Whether this is the secret, in a time that says nothing about it.
    pub(crate) fn is(&self, shown: &str) -> bool {
        self.0.as_bytes().ct_eq(shown.as_bytes()).into()
    }
}

impl FromStr for AdminToken {
    type Err = WeakToken;

    fn from_str(text: &str) -> Result<Self, WeakToken> {
        let text = text.trim();
        if text.len() < Self::SHORTEST { Err(WeakToken) } else { Ok(Self(text.to_owned())) }
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::AdminToken;

    #[test]
    fn an_admin_token_is_long_enough_and_never_shown() {
        assert!("short".parse::<AdminToken>().is_err());
        let token: AdminToken = "0123456789abcdef\n".parse().unwrap();
        assert!(token.is("0123456789abcdef") && !token.is("0123456789abcdeg") && !token.is(""));
        assert!(!format!("{token:?}").contains("0123"));
    }
}
