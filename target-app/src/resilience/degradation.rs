//! Graceful degradation: an optional part that does not come is left out, and the answer says so.
//!
//! Switched off, an optional part that fails fails the whole answer, as if it were critical.
//! Neighbour: the fail-over cache comes first; what it could serve is not missing.

use crate::{failure::CallError, metrics::Metrics};
use std::sync::Arc;

/// What is done about a part that failed.
#[derive(Clone)]
pub(crate) enum Degradation {
    On(Arc<Metrics>),
    Off,
}

impl Degradation {
    /// The part if it came; nothing and a warning if it did not; or the error, with the pattern off.
    pub(crate) fn optional<T>(
        &self,
        part: &'static str,
        result: Result<T, CallError>,
        warnings: &mut Vec<String>,
    ) -> Result<Option<T>, CallError> {
        match (self, result) {
            (_, Ok(value)) => Ok(Some(value)),
            (Self::On(metrics), Err(error)) => {
                tracing::debug!(part, %error, "left out");
                metrics.degraded(part);
                warnings.push(format!("{part} left out: {error}"));
                Ok(None)
            }
            (Self::Off, Err(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Degradation;
    use crate::{failure::CallError, metrics::Metrics};

    fn failed() -> Result<u8, CallError> {
        Err(CallError::Timeout { service: "facets" })
    }

    #[test]
    fn a_missing_part_is_left_out_with_a_warning_and_counted() {
        let metrics = Metrics::new();
        let mut warnings = Vec::new();
        let part = Degradation::On(metrics.clone()).optional("facets", failed(), &mut warnings);
        assert_eq!(part, Ok(None));
        assert_eq!(warnings, ["facets left out: facets did not answer in time"]);
        assert!(metrics.encode().contains(r#"degradation_events_total{part="facets"} 1"#));
    }

    #[test]
    fn a_part_that_came_makes_no_warning() {
        let mut warnings = Vec::new();
        assert_eq!(Degradation::On(Metrics::new()).optional("facets", Ok(7), &mut warnings), Ok(Some(7)));
        assert!(warnings.is_empty());
    }

    #[test]
    fn switched_off_a_missing_part_fails_the_whole() {
        assert!(Degradation::Off.optional("facets", failed(), &mut Vec::new()).is_err());
    }
}
