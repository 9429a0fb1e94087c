//! Load shedding: a request that would come to nothing is refused before any work is done for it.
//!
//! Here is who is refused and why, as pure functions over what the door sees (`door.rs` asks and acts):
//!
//! | reason | refused is |
//! | --- | --- |
//! | `cpu` | a share that rises from a threshold of CPU use, at most 90 % |
//! | `priority` | low work when most slots are taken, and whoever gives up a place in the queue for higher work |
//! | `latency` | who would wait longer than there is patience for, by what requests take now |
//! | `early` | a share that rises with the square of the queue's mean depth (random early detection) |
//! | `queue` | who finds the queue full |
//! | `slots` | who waited and got no slot in time |
//! | `connections` | a connection over their number (`server.rs`) |
//!
//! Why not tower's `LoadShed`: it knows ready and not ready, no priorities, no queue and no reason to count.
//! Switched off, everybody stands in line until their deadline.
//!
//! Invariant: a decision uses only what is at hand; it costs no wait and no allocation.

use std::time::Duration;

/// Thresholds of the refusals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SheddingConfig {
    /// Requests that may wait for a slot.
    pub queue: usize,
    /// Random early detection begins at this share of the queue, 0 to 1.
    pub early_from: f64,
    /// At a full queue so many are refused early, 0 to 1.
    pub early_most: f64,
    /// Low work is refused once this share of the slots is taken, 0 to 1.
    pub low_from: f64,
    /// CPU use of the process, as a share of all cores, from which on requests are refused.
    pub cpu_from: f64,
}

impl Default for SheddingConfig {
    fn default() -> Self {
        Self { queue: 64, early_from: 0.5, early_most: 0.5, low_from: 0.7, cpu_from: 0.95 }
    }
}

/// However busy the CPU, one in ten gets through, so that the shop still learns how it does.
const CPU_MOST: f64 = 0.9;

/// How much a request matters, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Priority {
    Low,
    Normal,
    High,
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Cpu,
    Priority,
    Latency,
    Early,
    Queue,
    Slots,
}

impl Reason {
    /// The label of `load_shed_total`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Priority => "priority",
            Self::Latency => "latency",
            Self::Early => "early",
            Self::Queue => "queue",
            Self::Slots => "slots",
        }
    }
}

/// What the door sees when a request comes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Seen {
    pub(crate) running: usize,
    pub(crate) limit: usize,
    /// Requests that wait and would be served before this one.
    pub(crate) ahead: usize,
    pub(crate) waiting: usize,
    /// The mean of `waiting` over the last requests.
    pub(crate) mean_waiting: f64,
    /// The mean time that a request holds its slot.
    pub(crate) service: Duration,
    /// 0 to 1.
    pub(crate) cpu: f64,
}

impl SheddingConfig {
    /// The share refused at this CPU use: none up to the threshold, then rising in a line to 90 %. High work is spared
    /// half of it, as long as there is other work to refuse.
    pub(crate) fn by_cpu(&self, cpu: f64, priority: Priority) -> f64 {
        let over = (cpu - self.cpu_from) / (1.0 - self.cpu_from).max(f64::EPSILON);
        let share = over.clamp(0.0, 1.0) * CPU_MOST;
        if priority == Priority::High { share / 2.0 } else { share }
    }

    /// The share refused early at this mean depth: the square of how far it is between the beginning and the end.
    pub(crate) fn early(&self, mean_waiting: f64) -> f64 {
        let (from, to) = (self.queue as f64 * self.early_from, self.queue as f64);
        let over = (mean_waiting - from) / (to - from).max(f64::EPSILON);
        over.clamp(0.0, 1.0).powi(2) * self.early_most
    }

    /// Whether low work has to leave the rest of the slots to other work.
    fn is_tight(&self, seen: &Seen) -> bool {
        seen.running as f64 >= self.low_from * seen.limit as f64
    }

    /// Decides about a request that has so much patience; `random` in 0..1. Nothing means that it may have a slot, or
    /// wait for one.
    pub(crate) fn refuses(
        &self,
        seen: &Seen,
        priority: Priority,
        patience: Option<Duration>,
        random: f64,
    ) -> Option<Reason> {
        if random < self.by_cpu(seen.cpu, priority) {
            return Some(Reason::Cpu);
        }
        if priority == Priority::Low && self.is_tight(seen) {
            return Some(Reason::Priority);
        }
        if seen.running < seen.limit && seen.ahead == 0 {
            return None;
        }
        if patience.is_some_and(|patience| estimated_wait(seen) > patience) {
            return Some(Reason::Latency);
        }
        if priority != Priority::High && random < self.early(seen.mean_waiting) {
            return Some(Reason::Early);
        }
        None
    }
}

/// How long a request would wait: those ahead of it and itself, at the pace at which slots become free now.
pub(crate) fn estimated_wait(seen: &Seen) -> Duration {
    seen.service.mul_f64((seen.ahead + 1) as f64 / seen.limit.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::{Priority, Reason, Seen, SheddingConfig, estimated_wait};
    use proptest::prelude::*;
    use std::time::Duration;

    const ALL: [Priority; 3] = [Priority::Low, Priority::Normal, Priority::High];
    const MS: Duration = Duration::from_millis(1);

    fn calm() -> Seen {
        Seen { running: 1, limit: 10, ahead: 0, waiting: 0, mean_waiting: 0.0, service: 5 * MS, cpu: 0.2 }
    }

    fn refused(seen: Seen, priority: Priority, random: f64) -> Option<Reason> {
        SheddingConfig::default().refuses(&seen, priority, Some(100 * MS), random)
    }

    #[test]
    fn in_calm_nobody_is_refused() {
        for priority in ALL {
            assert_eq!(refused(calm(), priority, 0.0), None);
        }
    }

    #[test]
    fn low_work_leaves_the_last_slots_to_others() {
        let busy = Seen { running: 7, ..calm() };
        assert_eq!(refused(busy, Priority::Low, 0.99), Some(Reason::Priority));
        assert_eq!(refused(busy, Priority::Normal, 0.99), None);
    }

    #[test]
    fn who_would_wait_too_long_is_refused_at_once() {
        let full = Seen { running: 10, ahead: 9, service: 50 * MS, ..calm() };
        assert_eq!(estimated_wait(&full), 50 * MS);
        assert_eq!(refused(full, Priority::High, 0.99), None);
        assert_eq!(refused(Seen { ahead: 25, ..full }, Priority::High, 0.99), Some(Reason::Latency));
    }

    #[test]
    fn early_detection_rises_with_the_square_and_spares_high_work() {
        let config = SheddingConfig::default();
        assert_eq!(config.early(32.0), 0.0);
        assert!((config.early(48.0) - 0.125).abs() < 1e-9);
        assert!((config.early(64.0) - 0.5).abs() < 1e-9);
        let deep = Seen { running: 10, mean_waiting: 48.0, ..calm() };
        assert_eq!(refused(deep, Priority::Normal, 0.12), Some(Reason::Early));
        assert_eq!(refused(deep, Priority::Normal, 0.13), None);
        assert_eq!(refused(deep, Priority::High, 0.12), None);
    }

    #[test]
    fn cpu_refuses_nobody_below_its_threshold_and_nine_in_ten_at_the_most() {
        let config = SheddingConfig { cpu_from: 0.8, ..SheddingConfig::default() };
        assert_eq!(config.by_cpu(0.8, Priority::Normal), 0.0);
        assert!((config.by_cpu(0.9, Priority::Normal) - 0.45).abs() < 1e-9);
        assert!((config.by_cpu(1.5, Priority::Normal) - 0.9).abs() < 1e-9);
        assert!((config.by_cpu(1.0, Priority::High) - 0.45).abs() < 1e-9);
        assert_eq!(refused(Seen { cpu: 1.0, ..calm() }, Priority::Normal, 0.89), Some(Reason::Cpu));
        assert_eq!(refused(Seen { cpu: 1.0, ..calm() }, Priority::Normal, 0.9), None);
    }

    proptest! {
        #[test]
        fn what_low_work_is_granted_normal_work_is_and_what_normal_work_is_high_work_is(
            running in 0usize..20, ahead in 0usize..80, mean in 0.0f64..80.0, cpu in 0.0f64..1.2, random in 0.0f64..1.0,
        ) {
            let seen = Seen { running, ahead, waiting: ahead, mean_waiting: mean, cpu, ..calm() };
            let granted = ALL.map(|priority| refused(seen, priority, random).is_none());
            prop_assert!(granted[0] <= granted[1] && granted[1] <= granted[2], "{granted:?}");
        }
    }
}
