//! Retry budget: retries are at most a share of recent calls, so that a recovering dependency is not stormed.
//!
//! Each first try earns a fraction of a retry, plus a small reserve a second for quiet times; a retry that finds the
//! budget spent does not happen. Tower's `TpsBudget` (after Finagle's) keeps the account.
//!
//! Invariant: with the pattern on, calls sent are at most `1 + share` times the calls asked for, plus the reserve.

use std::time::Duration;
use tower::retry::budget::{Budget, TpsBudget};

/// How many retries are allowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryBudgetConfig {
    /// Retries for each call, 0 to 10.
    pub share: f32,
    /// Retries a second that are allowed in any case.
    pub reserve: u32,
    /// The same where the dependency is optional: fewer, for a page does without it.
    pub optional_reserve: u32,
}

impl Default for RetryBudgetConfig {
    /// Half a retry a call: enough to hide three failures in ten, and far from the fourfold load of no budget.
    fn default() -> Self {
        Self { share: 0.5, reserve: 10, optional_reserve: 1 }
    }
}

/// Calls and retries count within this time.
const MEMORY: Duration = Duration::from_secs(2);

/// One dependency's account.
#[derive(Debug)]
pub(crate) enum RetryBudget {
    On(Box<TpsBudget>),
    Off,
}

impl RetryBudget {
    /// Retries are this share of calls, and so many a second in any case.
    pub(crate) fn new(share: f32, reserve: u32) -> Self {
        Self::On(Box::new(TpsBudget::new(MEMORY, reserve, share.clamp(0.0, 10.0))))
    }

    /// A call is made.
    pub(crate) fn earn(&self) {
        if let Self::On(budget) = self {
            budget.deposit();
        }
    }

    /// Whether a retry may be made; if so, it is paid for.
    pub(crate) fn spend(&self) -> bool {
        match self {
            Self::On(budget) => budget.withdraw(),
            Self::Off => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MEMORY, RetryBudget};

    fn retries_of(budget: &RetryBudget, calls: usize) -> usize {
        (0..calls)
            .filter(|_| {
                budget.earn();
                budget.spend()
            })
            .count()
    }

    #[tokio::test(start_paused = true)]
    async fn when_every_call_fails_retries_stay_at_the_share() {
        let budget = RetryBudget::new(0.5, 0);
        let retries = retries_of(&budget, 1000);
        assert!((450..=500).contains(&retries), "{retries}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_service_has_its_reserve_and_gets_it_back() {
        let budget = RetryBudget::new(0.5, 3);
        let burst = (0..100).filter(|_| budget.spend()).count();
        assert_eq!(burst, 6, "two seconds' worth");
        tokio::time::advance(2 * MEMORY).await;
        assert!(budget.spend());
    }

    #[tokio::test(start_paused = true)]
    async fn switched_off_every_retry_is_allowed() {
        assert_eq!(retries_of(&RetryBudget::Off, 1000), 1000);
    }
}
