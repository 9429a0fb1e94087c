//! Everything on one processor: for what a round trip costs when nothing runs beside it.
//!
//! Used by `measure/round_trip`. Threads and processes that are started while this value lives inherit the one
//! processor, so the contestant, the client and the server all run there.
//!
//! Invariant: when it is dropped, the thread that made it may run where it could before.

use crate::error::{BenchError, Tried};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Holds this thread on one processor.
pub(crate) struct Pinned {
    before: CpuSet,
}

impl Pinned {
    /// Pins this thread to the last of the processors that it may use, for the first one often has interrupts to do.
    pub(crate) fn here() -> Result<Self, BenchError> {
        let what = "run on one processor";
        let before = sched_getaffinity(None).map_err(std::io::Error::from).tried(what)?;
        let mut one = CpuSet::new();
        let last = (0..CpuSet::MAX_CPU).rfind(|cpu| before.is_set(*cpu));
        one.set(last.ok_or_else(|| BenchError::Missing("a processor to run on".into()))?);
        sched_setaffinity(None, &one).map_err(std::io::Error::from).tried(what)?;
        Ok(Self { before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // It was so before, so it may be so again; where not, the figures that follow come from fewer processors.
        let _ = sched_setaffinity(None, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::Pinned;

    #[test]
    fn one_processor_while_it_lives_and_all_of_them_after() {
        let cores = || std::thread::available_parallelism().unwrap().get();
        let before = cores();
        let pinned = Pinned::here().unwrap();
        assert_eq!(cores(), 1);
        assert_eq!(std::thread::spawn(cores).join().unwrap(), 1, "threads inherit it");
        drop(pinned);
        assert_eq!(cores(), before);
    }
}
