//! Keeps what strangers can cause from filling the log: so many lines in a while, and then how many were left out.
//!
//! Neighbours: `api::access` for refused requests, `connection` for refused upstreams.
//! Invariant: the first line of each while is always let through.

use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// Lines in a while, at most.
const LINES: u32 = 10;
/// The while.
const WHILE: Duration = Duration::from_secs(10);

/// Counts lines.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<Option<Counted>>);

#[derive(Debug, Clone, Copy)]
struct Counted {
    since: Instant,
    told: u32,
    left_out: u64,
}

impl Throttle {
    /// Whether to write a line now; if so, how many were left out since the last while began.
    pub(crate) fn lets_through(&self, now: Instant) -> Option<u64> {
        let mut counted = self.0.lock();
        match counted.as_mut() {
            Some(counted) if now.saturating_duration_since(counted.since) < WHILE => {
                if counted.told < LINES {
                    counted.told += 1;
                    return Some(0);
                }
                counted.left_out += 1;
                None
            }
            _ => {
                let left_out = counted.map_or(0, |counted| counted.left_out);
                *counted = Some(Counted { since: now, told: 1, left_out: 0 });
                Some(left_out)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LINES, Throttle, WHILE};
    use std::time::Instant;

    #[test]
    fn so_many_lines_come_through_and_the_next_while_tells_of_the_others() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let through = (0..LINES + 5).filter(|_| throttle.lets_through(start).is_some()).count();
        assert_eq!(through, LINES as usize);
        assert_eq!(throttle.lets_through(start + WHILE), Some(5));
        assert_eq!(throttle.lets_through(start + WHILE), Some(0));
    }
}
