//! The resilience patterns by name, so that each can be switched off.
//!
//! Each variant has one file under `resilience/`. Neighbours: `config.rs` holds the set that is switched off, the
//! command line and experiment environments read it from text.
//!
//! Invariant: a pattern's name here is its name in `--without`, in environments and in the docs.

use std::{collections::BTreeSet, fmt, str::FromStr};

/// A resilience pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pattern {
    /// A request's deadline is split over its calls and passed down.
    TimeoutBudget,
    /// Failed calls are tried again, with growing, jittered pauses.
    Retry,
    /// Retries are at most a share of recent calls.
    RetryBudget,
    /// A dependency that fails is left alone for a while.
    CircuitBreaker,
    /// Each dependency has a pool of its own.
    Bulkhead,
    /// Requests over the limit are refused before any work.
    LoadShedding,
    /// Optional parts are left out with a warning.
    Degradation,
    /// The last known value serves when no fresh one comes.
    FailoverCache,
    /// The same order key gives the same answer once.
    Idempotency,
    /// An order that fails half-way gives back what it took, also after a crash.
    Compensation,
    /// A message that comes again does nothing.
    MessageDedupe,
    /// Many small writes become few larger ones.
    MicroBatching,
    /// Stages work at the same time, with bounded channels between them.
    Pipeline,
    /// A bounded number of calls at a time.
    FanOut,
    /// What is old is forgotten.
    SteadyState,
    /// Rows change their shape under running shops.
    Migrations,
    /// Live, ready and deep health.
    HealthChecks,
    /// Open requests finish before the process ends.
    GracefulShutdown,
    /// Measured latencies say what a time-out should be.
    TimeoutAdvice,
    /// How many requests are worked on at a time follows their latency.
    AdaptiveConcurrency,
    /// No client gets more than its share.
    RateLimiting,
    /// Who finds no room waits a little, then is told so.
    BackPressure,
    /// Crashed workers are started again; a panic in a request is a 500.
    LetItCrash,
    /// Latency or an error in a share of an operation, when asked for.
    Chaos,
    /// What happens is counted, and can be scraped.
    Metrics,
}

impl Pattern {
    /// Every pattern, in the order of the documentation.
    pub const ALL: [Self; 25] = [
        Self::TimeoutBudget,
        Self::Retry,
        Self::RetryBudget,
        Self::CircuitBreaker,
        Self::Bulkhead,
        Self::LoadShedding,
        Self::Degradation,
        Self::FailoverCache,
        Self::Idempotency,
        Self::Compensation,
        Self::MessageDedupe,
        Self::MicroBatching,
        Self::Pipeline,
        Self::FanOut,
        Self::SteadyState,
        Self::Migrations,
        Self::HealthChecks,
        Self::GracefulShutdown,
        Self::TimeoutAdvice,
        Self::AdaptiveConcurrency,
        Self::RateLimiting,
        Self::BackPressure,
        Self::LetItCrash,
        Self::Chaos,
        Self::Metrics,
    ];

    /// The name in `--without`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TimeoutBudget => "timeout-budget",
            Self::Retry => "retry",
            Self::RetryBudget => "retry-budget",
            Self::CircuitBreaker => "circuit-breaker",
            Self::Bulkhead => "bulkhead",
            Self::LoadShedding => "load-shedding",
            Self::Degradation => "degradation",
            Self::FailoverCache => "failover-cache",
            Self::Idempotency => "idempotency",
            Self::Compensation => "compensation",
            Self::MessageDedupe => "message-dedupe",
            Self::MicroBatching => "micro-batching",
            Self::Pipeline => "pipeline",
            Self::FanOut => "fan-out",
            Self::SteadyState => "steady-state",
            Self::Migrations => "migrations",
            Self::HealthChecks => "health-checks",
            Self::GracefulShutdown => "graceful-shutdown",
            Self::TimeoutAdvice => "timeout-advice",
            Self::AdaptiveConcurrency => "adaptive-concurrency",
            Self::RateLimiting => "rate-limiting",
            Self::BackPressure => "back-pressure",
            Self::LetItCrash => "let-it-crash",
            Self::Chaos => "chaos",
            Self::Metrics => "metrics",
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that is not the name of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not a pattern{suggestion}: use one of {known}")]
pub struct UnknownPattern {
    word: String,
    suggestion: String,
    known: String,
}

impl FromStr for Pattern {
    type Err = UnknownPattern;

    fn from_str(text: &str) -> Result<Self, UnknownPattern> {
        let word = text.trim();
        Self::ALL.into_iter().find(|pattern| pattern.name() == word).ok_or_else(|| {
            let names = Self::ALL.map(Self::name);
            let suggestion = squall_wire::nearest::nearest(word, names)
                .map_or_else(String::new, |near| format!(", did you mean `{near}`?"));
            UnknownPattern { word: word.to_owned(), suggestion, known: names.join(", ") }
        })
    }
}

/// The patterns that are switched off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Without(BTreeSet<Pattern>);

impl Without {
    pub(crate) fn has(&self, pattern: Pattern) -> bool {
        !self.0.contains(&pattern)
    }

    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|pattern| pattern.name()).collect()
    }
}

impl From<BTreeSet<Pattern>> for Without {
    fn from(patterns: BTreeSet<Pattern>) -> Self {
        Self(patterns)
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn every_name_reads_back_as_its_pattern() {
        for pattern in Pattern::ALL {
            assert_eq!(pattern.name().parse(), Ok(pattern));
        }
    }

    #[test]
    fn a_misspelt_name_is_told_its_neighbour_and_the_list() {
        let message = "circuit-braker".parse::<Pattern>().unwrap_err().to_string();
        assert!(message.contains("did you mean `circuit-breaker`?"), "{message}");
        assert!(message.contains("timeout-budget, retry, retry-budget"), "{message}");
    }
}
