//! Rows of the steady state and of the abort conditions, as they are written: both name a series and give tolerances by
//! metric.
//!
//! The metrics are written once, in the macro, because `flatten` would lose the place of a mistake.

use super::Text;
use crate::{experiment::When, sample::Metric};
use schemars::JsonSchema;
use serde::Deserialize;
use squall_wire::Span;

macro_rules! row {
    ($(#[$about:meta])* $name:ident { $($(#[$field_about:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_about])* pub $field: $type,)*
            /// Share of samples that succeeded: `">= 99%"`.
            pub success_ratio: Option<Text>,
            /// Share of samples that failed: `"< 1%"`.
            pub error_ratio: Option<Text>,
            /// Samples a second: `">= 40/s"`. Of traffic only.
            pub rate: Option<Text>,
            /// Successes a second: `">= 160/s"`. Of traffic only.
            pub goodput: Option<Text>,
            /// Median time taken: `"< 50ms"`.
            pub p50: Option<Text>,
            /// 90th percentile of the time taken.
            pub p90: Option<Text>,
            /// 95th percentile of the time taken.
            pub p95: Option<Text>,
            /// 99th percentile of the time taken: `"within 20% of baseline or < 50ms"`.
            pub p99: Option<Text>,
            /// 99.9th percentile of the time taken.
            pub p999: Option<Text>,
            /// 99th percentile of the time taken by all that was not turned away with 429 or 503. Of traffic only.
            pub accepted_p99: Option<Text>,
            /// The longest time taken.
            pub max: Option<Text>,
            /// The mean time taken.
            pub mean: Option<Text>,
            /// The HTTP status of each sample: `200`, `"!= 503"`, `"between 200 and 299"`.
            pub status: Option<Text>,
            /// The value of each sample: `"== 0"`.
            pub value: Option<Text>,
            /// The text of each sample: `ready`, `"matches /^v1/"`.
            pub body: Option<Text>,
            /// How many times faster than `objective` allows errors come, over both `windows`: `"< 14.4"`.
            pub burn_rate: Option<Text>,
            /// Of `burn_rate`: the share of samples that shall succeed, `99.9%`.
            pub objective: Option<Text>,
            /// Of `burn_rate`: the long window and the short one, `[30s, 5s]`. It counts only where both agree.
            pub windows: Option<Vec<Span>>,
        }

        impl $name {
            /// The metrics that are given a tolerance, in the order of `Metric::ALL`.
            #[must_use]
            pub fn tolerances(&self) -> Vec<(Metric, &Text)> {
                let of = |metric| match metric {
                    Metric::SuccessRatio => &self.success_ratio,
                    Metric::ErrorRatio => &self.error_ratio,
                    Metric::Rate => &self.rate,
                    Metric::Goodput => &self.goodput,
                    Metric::P50 => &self.p50,
                    Metric::P90 => &self.p90,
                    Metric::P95 => &self.p95,
                    Metric::P99 => &self.p99,
                    Metric::P999 => &self.p999,
                    Metric::AcceptedP99 => &self.accepted_p99,
                    Metric::Max => &self.max,
                    Metric::Mean => &self.mean,
                    Metric::Status => &self.status,
                    Metric::Value => &self.value,
                    Metric::Body => &self.body,
                    Metric::BurnRate => &self.burn_rate,
                };
                Metric::ALL.into_iter().filter_map(|metric| Some((metric, of(metric).as_ref()?))).collect()
            }
        }
    };
}

row! {
    /// A row of the steady state: a series, and what must hold of it. A tolerance is `< 50ms`, `>= 99%`,
    /// `between A and B`, `within N% of baseline`, `no worse than control by N%`, `matches /re/`, or a value; joined by
    /// `and` and `or`.
    SteadyDoc {
        /// The series: a probe's name, `traffic`, or `traffic.REQUEST`.
        #[schemars(required)]
        probe: Option<String>,
        /// When it must hold; before, during and after when absent.
        when: Option<Vec<When>>,
        /// Fewer samples than this are no conclusion; 20 for ratios and percentiles when absent.
        #[schemars(range(min = 1))]
        min_samples: Option<u64>,
        /// It is broken only when it is out of tolerance for so long without a break, and back only after it was in for as
        /// long; at once when absent.
        #[serde(rename = "for")]
        lasting: Option<Span>,
    }
}

row! {
    /// A condition that ends the run at once: a series and what must all be met of it for so long, or `probe_silent`.
    AbortDoc {
        /// The series: a probe's name, `traffic`, or `traffic.REQUEST`.
        probe: Option<String>,
        /// How long it must last; not for `burn_rate`, whose windows take its place.
        #[serde(rename = "for")]
        lasting: Option<Span>,
        /// Stands alone: some series has given no sample for so long.
        probe_silent: Option<Span>,
    }
}
