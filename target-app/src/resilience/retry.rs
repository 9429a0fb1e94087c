//! Retry: a failed call is tried again after a growing, fully jittered pause.
//!
//! Only what another try may mend, only calls that may be repeated (idempotent by method or by key), on this one
//! level only, and never beyond the call's share of time. A dependency's `Retry-After` is honoured: when it is
//! later than the share ends, the call fails at once. An open breaker ends it, since that error is not transient.
//!
//! Source: M. Brooker, "Exponential Backoff And Jitter" (full jitter). Switched off, there is one try.

use crate::failure::CallError;
use std::time::Duration;

/// How often and how patiently calls are tried again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryConfig {
    /// Tries in all, the first included.
    pub attempts: u32,
    /// The longest pause before the first retry.
    pub base: Duration,
    /// Each further pause may be so many times longer.
    pub factor: f64,
    /// No pause is longer.
    pub max: Duration,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self { attempts: 4, base: Duration::from_millis(20), factor: 2.0, max: Duration::from_secs(1) }
    }
}

/// What is to be done about a failed try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The error is the answer.
    GiveUp,
    /// Try again after so long.
    After(Duration),
}

/// The policy, or one try.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Retry {
    On(RetryConfig),
    Off,
}

impl Retry {
    /// Decides after try number `attempt` (from 1) failed; `random` in 0..1 places the pause, `left` is the time
    /// that the call still has.
    pub(crate) fn decide(
        &self,
        attempt: u32,
        error: &CallError,
        repeatable: bool,
        left: Option<Duration>,
        random: f64,
    ) -> Decision {
        let Self::On(config) = self else { return Decision::GiveUp };
        if !repeatable || attempt >= config.attempts || !error.is_transient() {
            return Decision::GiveUp;
        }
        let pause =
            error.retry_after().unwrap_or_else(|| config.longest_pause(attempt).mul_f64(random.clamp(0.0, 1.0)));
        if left.is_some_and(|left| pause >= left) { Decision::GiveUp } else { Decision::After(pause) }
    }
}

impl RetryConfig {
    fn longest_pause(&self, attempt: u32) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.base.as_secs_f64() * self.factor.powi(exponent);
        Duration::try_from_secs_f64(seconds).map_or(self.max, |pause| pause.min(self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::{Decision, Retry, RetryConfig};
    use crate::failure::{CallError, FailureKind};
    use axum::http::StatusCode;
    use proptest::prelude::*;
    use std::time::Duration;

    const MS: Duration = Duration::from_millis(1);

    fn reset() -> CallError {
        CallError::Broken { service: "inventory", cause: "connection reset".into() }
    }

    fn on() -> Retry {
        Retry::On(RetryConfig::default())
    }

    #[test]
    fn pauses_double_and_full_jitter_scales_them() {
        let longest = |attempt| on().decide(attempt, &reset(), true, None, 1.0);
        assert_eq!(longest(1), Decision::After(20 * MS));
        assert_eq!(longest(2), Decision::After(40 * MS));
        assert_eq!(longest(3), Decision::After(80 * MS));
        assert_eq!(on().decide(3, &reset(), true, None, 0.25), Decision::After(20 * MS));
    }

    #[test]
    fn the_fourth_try_is_the_last() {
        assert_eq!(on().decide(4, &reset(), true, None, 0.0), Decision::GiveUp);
    }

    #[test]
    fn a_call_that_may_not_be_repeated_is_not() {
        assert_eq!(on().decide(1, &reset(), false, None, 0.0), Decision::GiveUp);
    }

    #[test]
    fn an_open_breaker_ends_it() {
        let open = CallError::Open { service: "inventory", retry_after: Duration::ZERO, because: FailureKind::Absent };
        assert_eq!(on().decide(1, &open, true, None, 0.0), Decision::GiveUp);
    }

    #[test]
    fn retry_after_is_honoured_and_one_beyond_the_share_is_not_waited_for() {
        let busy = CallError::Status {
            service: "inventory",
            status: StatusCode::SERVICE_UNAVAILABLE,
            retry_after: Some(1000 * MS),
            message: String::new(),
        };
        assert_eq!(on().decide(1, &busy, true, Some(1500 * MS), 0.0), Decision::After(1000 * MS));
        assert_eq!(on().decide(1, &busy, true, Some(900 * MS), 0.0), Decision::GiveUp);
    }

    #[test]
    fn switched_off_there_is_one_try() {
        assert_eq!(Retry::Off.decide(1, &reset(), true, None, 0.0), Decision::GiveUp);
    }

    proptest! {
        #[test]
        fn no_pause_is_over_the_maximum_nor_over_the_time_left(
            attempt in 1u32..2000, random in 0.0f64..1.0, left in 0u64..3000, attempts in 2u32..4000,
        ) {
            let retry = Retry::On(RetryConfig { attempts, ..RetryConfig::default() });
            let left = Duration::from_millis(left);
            if let Decision::After(pause) = retry.decide(attempt, &reset(), true, Some(left), random) {
                prop_assert!(pause <= Duration::from_secs(1) && pause < left);
            }
        }
    }
}
