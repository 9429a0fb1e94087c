//! Feature flags and the degraded mode: what is shown of the optional parts, by order or by health.
//!
//! A flag stands for one optional part. `auto` shows it as long as its dependency's breaker does not refuse calls; `on`
//! always tries; `off` never does, and then its fallback is shown: the last known value where there is one, else
//! nothing, with a warning. The degraded mode is one switch for all flags, for a bad day: no optional part is asked for
//! and no report is made, so that what there is of slots, CPU and connections goes to orders.
//!
//! Part of graceful degradation, and off with it: then every part is always asked for. No crate: a few atomics.
//!
//! Invariant: asking costs no lock and no call.

use crate::metrics::Metrics;
use serde::{Deserialize, Serialize};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, Ordering},
};

/// The optional parts, which are the flags.
pub(crate) const FLAGS: [&str; 3] = ["recommendations", "reviews", "facets"];

/// What somebody has ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FlagState {
    /// As its health check says.
    Auto,
    On,
    Off,
}

impl FlagState {
    const ALL: [Self; 3] = [Self::Auto, Self::On, Self::Off];
}

/// Why a part is not asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Withheld {
    /// Everything optional is.
    Degraded,
    /// Its flag is off.
    Off,
    /// Its dependency is left alone for now.
    Unhealthy,
}

impl Withheld {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Degraded => "the shop is in degraded mode",
            Self::Off => "switched off",
            Self::Unhealthy => "its service is not well",
        }
    }
}

/// Says whether what a flag needs is well.
pub(crate) type FlagCheck = Box<dyn Fn() -> bool + Send + Sync>;

struct Flag {
    name: &'static str,
    state: AtomicU8,
    check: FlagCheck,
}

/// One flag, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct FlagReport {
    pub(crate) flag: &'static str,
    pub(crate) state: FlagState,
    pub(crate) healthy: bool,
    pub(crate) shown: bool,
    pub(crate) fallback: &'static str,
}

/// The flags of one shop.
pub(crate) struct FeatureFlags {
    flags: Vec<Flag>,
    degraded: AtomicBool,
    metrics: Arc<Metrics>,
}

impl FeatureFlags {
    /// All on `auto`, each with its health check.
    pub(crate) fn new(checks: impl IntoIterator<Item = (&'static str, FlagCheck)>, metrics: Arc<Metrics>) -> Arc<Self> {
        let flag = |(name, check)| Flag { name, state: AtomicU8::new(FlagState::Auto as u8), check };
        let flags: Vec<Flag> = checks.into_iter().map(flag).collect();
        Arc::new(Self { flags, degraded: AtomicBool::new(false), metrics })
    }

    fn flag(&self, name: &str) -> Option<&Flag> {
        self.flags.iter().find(|flag| flag.name == name)
    }

    /// Why the part is not to be asked for, if so.
    pub(crate) fn withholds(&self, name: &str) -> Option<Withheld> {
        if self.is_degraded() {
            return Some(Withheld::Degraded);
        }
        let flag = self.flag(name)?;
        match flag.state() {
            FlagState::On => None,
            FlagState::Off => Some(Withheld::Off),
            FlagState::Auto => (!(flag.check)()).then_some(Withheld::Unhealthy),
        }
    }

    pub(crate) fn is_degraded(&self) -> bool {
        self.degraded.load(Ordering::Relaxed)
    }

    /// Switches the degraded mode.
    pub(crate) fn degrade(&self, on: bool) {
        if self.degraded.swap(on, Ordering::Relaxed) != on {
            tracing::warn!(on, "degraded mode");
        }
    }

    /// Sets a flag; nothing if there is none of this name.
    pub(crate) fn set(&self, name: &str, state: FlagState) -> Option<FlagReport> {
        let flag = self.flag(name)?;
        flag.state.store(state as u8, Ordering::Relaxed);
        tracing::warn!(flag = flag.name, ?state, "feature flag");
        self.report_of(name)
    }

    pub(crate) fn report_of(&self, name: &str) -> Option<FlagReport> {
        let flag = self.flag(name)?;
        let (state, shown) = (flag.state(), self.withholds(name).is_none());
        let fallback = if flag.name == "facets" { "left out" } else { "last known, else left out" };
        Some(FlagReport { flag: flag.name, state, healthy: (flag.check)(), shown, fallback })
    }

    /// Every flag.
    pub(crate) fn report(&self) -> Vec<FlagReport> {
        self.flags.iter().filter_map(|flag| self.report_of(flag.name)).collect()
    }

    /// Writes the state into the metrics.
    pub(crate) fn measure(&self) {
        self.metrics.front.degraded(self.is_degraded());
        for flag in &self.flags {
            self.metrics.front.flag(flag.name, self.withholds(flag.name).is_none());
        }
    }
}

impl Flag {
    fn state(&self) -> FlagState {
        let state = self.state.load(Ordering::Relaxed);
        FlagState::ALL.into_iter().find(|known| *known as u8 == state).unwrap_or(FlagState::Auto)
    }
}

#[cfg(test)]
mod tests {
    use super::{FLAGS, FeatureFlags, FlagCheck, FlagState, Withheld};
    use crate::metrics::Metrics;
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    fn flags(healthy: &Arc<AtomicBool>) -> Arc<FeatureFlags> {
        let check = |name| {
            let healthy = Arc::clone(healthy);
            let check: FlagCheck = Box::new(move || healthy.load(Ordering::Relaxed));
            (name, check)
        };
        FeatureFlags::new(FLAGS.map(check), Metrics::new())
    }

    #[test]
    fn on_auto_a_part_is_shown_as_long_as_it_is_healthy_and_on_and_off_do_not_ask() {
        let healthy = Arc::new(AtomicBool::new(true));
        let flags = flags(&healthy);
        assert_eq!(flags.withholds("reviews"), None);
        assert_eq!(flags.set("reviews", FlagState::Off).map(|report| report.shown), Some(false));
        assert_eq!(flags.withholds("reviews"), Some(Withheld::Off));
        assert_eq!(flags.withholds("facets"), None);
        healthy.store(false, Ordering::Relaxed);
        assert_eq!(flags.withholds("facets"), Some(Withheld::Unhealthy));
        flags.set("facets", FlagState::On);
        assert_eq!(flags.withholds("facets"), None);
        assert_eq!(flags.set("prices", FlagState::On), None);
    }

    #[test]
    fn the_degraded_mode_withholds_everything_optional_and_shows_in_the_metrics() {
        let flags = flags(&Arc::new(AtomicBool::new(true)));
        flags.set("reviews", FlagState::On);
        flags.degrade(true);
        flags.measure();
        assert!(FLAGS.iter().all(|flag| flags.withholds(flag) == Some(Withheld::Degraded)));
        let text = flags.metrics.encode();
        assert!(text.contains("degraded_mode 1") && text.contains(r#"feature_flag{flag="reviews"} 0"#), "{text}");
        flags.degrade(false);
        assert_eq!(flags.withholds("reviews"), None);
    }
}
