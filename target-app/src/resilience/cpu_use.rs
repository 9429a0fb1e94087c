//! How much of the machine's CPU this process uses; load shedding asks.
//!
//! The process's own clock, not the machine's: what others on it do is not mended by refusing customers here.
//!
//! Invariant: a reading costs one system call, and is over the time since the last one.

use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// Between two readings.
pub(crate) const EVERY: Duration = Duration::from_millis(250);
/// A reading moves the mean by this share, so that a short burst of work is not an overload.
const WEIGHT: f64 = 0.4;

/// The clock and the last reading.
#[derive(Debug)]
pub(crate) struct CpuUse {
    cores: f64,
    at: Instant,
    used: Duration,
    mean: f64,
}

fn used() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

impl CpuUse {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        Self { cores: cores as f64, at: Instant::now(), used: used(), mean: 0.0 }
    }

    /// The mean share of all cores that was used lately, 0 to 1.
    pub(crate) fn read(&mut self) -> f64 {
        let (now, used) = (Instant::now(), used());
        let passed = now.duration_since(self.at).as_secs_f64() * self.cores;
        if passed > 0.0 {
            let share = (used.saturating_sub(self.used).as_secs_f64() / passed).clamp(0.0, 1.0);
            self.mean += (share - self.mean) * WEIGHT;
        }
        (self.at, self.used) = (now, used);
        self.mean
    }
}

#[cfg(test)]
mod tests {
    use super::CpuUse;
    use std::time::{Duration, Instant};

    #[test]
    fn work_shows_and_stays_within_bounds() {
        let mut cpu = CpuUse::new();
        let begun = Instant::now();
        while cpu.read() == 0.0 && begun.elapsed() < Duration::from_secs(10) {
            std::hint::black_box((0..10_000u64).sum::<u64>());
        }
        let share = cpu.read();
        assert!(share > 0.0 && share <= 1.0, "{share}");
    }
}
