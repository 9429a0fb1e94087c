//! Health checks: what is up, what is not, and how much it matters.
//!
//! Checks run at the same time, each within its own limit, and a report serves for a short while, so that watching
//! costs little and cannot hang. A critical check that fails makes the whole `down`, another makes it `degraded`.
//!
//! Invariant: a report comes within the limit, whatever hangs.

use futures::future::{BoxFuture, join_all};
use serde::Serialize;
use std::{sync::Arc, time::Duration};
use tokio::{sync::Mutex, time::Instant};

/// Limits of the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthConfig {
    /// One check may take so long.
    pub limit: Duration,
    /// The check behind readiness may take so long; load balancers are impatient.
    pub ready_limit: Duration,
    /// A report serves for so long.
    pub cache_for: Duration,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            limit: Duration::from_millis(500),
            ready_limit: Duration::from_millis(200),
            cache_for: Duration::from_secs(1),
        }
    }
}

/// One thing to look at.
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) critical: bool,
    pub(crate) probe: Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>,
}

/// What one check saw.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Finding {
    pub(crate) name: &'static str,
    pub(crate) critical: bool,
    pub(crate) up: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    pub(crate) took_ms: f64,
}

/// The whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Overall {
    Up,
    Degraded,
    Down,
}

/// What all checks saw.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Report {
    pub(crate) status: Overall,
    pub(crate) checks: Vec<Finding>,
}

fn overall(findings: &[Finding]) -> Overall {
    if findings.iter().any(|finding| finding.critical && !finding.up) {
        Overall::Down
    } else if findings.iter().any(|finding| !finding.up) {
        Overall::Degraded
    } else {
        Overall::Up
    }
}

/// What a shop asks itself. Ready has checks of its own, so that it never waits for a dependency.
pub(crate) struct Health {
    pub(crate) ready: HealthChecks,
    pub(crate) deep: HealthChecks,
}

/// The checks and their last report.
pub(crate) struct HealthChecks {
    checks: Vec<Check>,
    limit: Duration,
    cache_for: Duration,
    last: Mutex<Option<(Instant, Arc<Report>)>>,
}

impl HealthChecks {
    /// Each check may take `limit`; a report serves for `cache_for`.
    pub(crate) fn new(checks: Vec<Check>, limit: Duration, cache_for: Duration) -> Self {
        Self { checks, limit, cache_for, last: Mutex::new(None) }
    }

    /// A report no older than the configuration allows. Those who ask at the same time share one.
    pub(crate) async fn report(&self) -> Arc<Report> {
        let mut last = self.last.lock().await;
        match last.as_ref() {
            Some((at, report)) if at.elapsed() < self.cache_for => Arc::clone(report),
            Some(_) | None => {
                let checks = join_all(self.checks.iter().map(|check| self.look(check))).await;
                let report = Arc::new(Report { status: overall(&checks), checks });
                *last = Some((Instant::now(), Arc::clone(&report)));
                report
            }
        }
    }

    async fn look(&self, check: &Check) -> Finding {
        let begun = Instant::now();
        let result = tokio::time::timeout(self.limit, (check.probe)())
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {:?}", self.limit)));
        Finding {
            name: check.name,
            critical: check.critical,
            up: result.is_ok(),
            error: result.err(),
            took_ms: begun.elapsed().as_secs_f64() * 1e3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Check, HealthChecks, HealthConfig, Overall};
    use futures::FutureExt as _;
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };
    use std::time::Duration;
    use tokio::time::Instant;

    fn check(name: &'static str, critical: bool, result: Option<Result<(), String>>) -> Check {
        let probe = move || match result.clone() {
            Some(result) => async { result }.boxed(),
            None => std::future::pending().boxed(),
        };
        Check { name, critical, probe: Box::new(probe) }
    }

    fn checks(checks: Vec<Check>) -> HealthChecks {
        HealthChecks::new(checks, HealthConfig::default().limit, HealthConfig::default().cache_for)
    }

    #[tokio::test(start_paused = true)]
    async fn hanging_checks_are_down_after_one_limit_together() {
        let health = checks(vec![check("a", false, None), check("b", false, None), check("c", true, Some(Ok(())))]);
        let begun = Instant::now();
        let report = health.report().await;
        assert_eq!(begun.elapsed(), Duration::from_millis(500));
        assert_eq!(report.status, Overall::Degraded);
        assert_eq!(report.checks[0].error.as_deref(), Some("no answer within 500ms"));
    }

    #[tokio::test]
    async fn a_critical_failure_makes_the_whole_down() {
        let health = checks(vec![check("a", true, Some(Err("gone".into())))]);
        assert_eq!(health.report().await.status, Overall::Down);
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_serves_for_a_second() {
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        let probe = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Ok(()) }.boxed()
        };
        let health = checks(vec![Check { name: "a", critical: true, probe: Box::new(probe) }]);
        tokio::join!(health.report(), health.report());
        assert_eq!(runs.load(Ordering::Relaxed), 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        health.report().await;
        assert_eq!(runs.load(Ordering::Relaxed), 2);
    }
}
