//! What the machine does by itself, with nothing of anybody's in it: nobody can be more exact than that.
//!
//! `latency` and `bandwidth` show it beside their own figures. Invariant: one thread, no socket, no allocation while it
//! is timed.

use crate::error::{BenchError, Tried};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::time::{Duration, Instant};

/// How late a thread is woken for each of so many deadlines, in milliseconds.
pub(super) fn timer(gap: Duration, count: usize) -> Result<Vec<f64>, BenchError> {
    let what = "sleep by a timer of the kernel";
    let failed = |error: rustix::io::Errno| std::io::Error::from(error);
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC).map_err(failed).tried(what)?;
    let mut late = Vec::with_capacity(count);
    for _ in 0..count {
        let deadline = Instant::now() + gap;
        let it_value = Timespec { tv_sec: 0, tv_nsec: i64::from(gap.subsec_nanos()) };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &once).map_err(failed).tried(what)?;
        rustix::io::read(&timer, &mut [0; 8]).map_err(failed).tried(what)?;
        late.push(deadline.elapsed().as_secs_f64() * 1e3);
    }
    Ok(late)
}

/// The longest that a thread which never sleeps was kept from running, in milliseconds.
pub(super) fn longest_pause(length: Duration) -> f64 {
    let start = Instant::now();
    let (mut last, mut longest) = (start, Duration::ZERO);
    while last - start < length {
        let now = Instant::now();
        longest = longest.max(now - last);
        last = now;
    }
    longest.as_secs_f64() * 1e3
}
