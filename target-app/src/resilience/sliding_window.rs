//! Sliding window: at most so many within any stretch of time of a given length.
//!
//! The exact form, with the time of each event: a fixed window would let twice as many through around its edge. Used
//! for wrong admin tokens, of which an address may send few (`api/admin.rs`). Memory is the limit itself.
//!
//! Invariant: within any `length`, at most `most` events were allowed.

use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// The window of one client.
#[derive(Debug, Clone)]
pub(crate) struct SlidingWindow {
    length: Duration,
    most: usize,
    events: VecDeque<Instant>,
}

impl SlidingWindow {
    pub(crate) fn new(most: usize, length: Duration) -> Self {
        Self { length, most, events: VecDeque::with_capacity(most) }
    }

    /// Whether one more event fits; if not, after how long one does.
    pub(crate) fn fits(&mut self, now: Instant) -> Result<(), Duration> {
        while self.events.front().is_some_and(|at| now.saturating_duration_since(*at) >= self.length) {
            self.events.pop_front();
        }
        match self.events.front() {
            Some(first) if self.events.len() >= self.most => Err((*first + self.length).saturating_duration_since(now)),
            Some(_) => Ok(()),
            None if self.most == 0 => Err(self.length),
            None => Ok(()),
        }
    }

    /// Counts an event, if it fits.
    pub(crate) fn allow(&mut self, now: Instant) -> Result<(), Duration> {
        self.fits(now)?;
        self.events.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::SlidingWindow;
    use proptest::prelude::*;
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn the_window_slides_and_tells_when_there_is_room() {
        let (mut window, begun) = (SlidingWindow::new(2, Duration::from_secs(60)), Instant::now());
        let second = |n| begun + Duration::from_secs(n);
        assert_eq!(window.allow(second(0)), Ok(()));
        assert_eq!(window.allow(second(50)), Ok(()));
        assert_eq!(window.allow(second(55)), Err(Duration::from_secs(5)));
        assert_eq!(window.allow(second(60)), Ok(()));
        assert_eq!(window.allow(second(61)), Err(Duration::from_secs(49)));
    }

    proptest! {
        #[test]
        fn no_stretch_of_time_has_more_than_allowed(
            most in 0usize..6, steps in proptest::collection::vec(0u64..40, 0..200),
        ) {
            let length = Duration::from_millis(100);
            let (mut window, mut now, mut allowed) = (SlidingWindow::new(most, length), Instant::now(), Vec::new());
            for step in steps {
                now += Duration::from_millis(step);
                if window.allow(now).is_ok() {
                    allowed.push(now);
                    let recent = allowed.iter().filter(|at| now - **at < length).count();
                    prop_assert!(recent <= most);
                }
            }
        }
    }
}
