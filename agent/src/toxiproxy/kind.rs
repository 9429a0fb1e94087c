//! The types of toxic: the attributes of each, and the fault that each becomes.
//!
//! Where a toxic and its fault are not the same to the byte:
//! - `slicer` without `delay` leaves a microsecond between two pieces, so that they leave apart; a piece larger than
//!   what has arrived is not waited for.
//! - `limit_data` of 0 bytes closes at once, not with the first byte.
//! - `timeout` closes only those connections at its removal that lost bytes (by RST); others go on, unharmed.
//!
//! Neighbours: `toxic.rs` parses and shows them; `wire::fault` has the rules that a fault must keep.
//! Invariant: attributes that are accepted never make a fault that `wire` refuses.

use super::{ToxiproxyMistake, fields};
use serde_json::{Map, Value};
use squall_wire::{
    ByteRate, ByteSize, FaultKind, Span,
    fault::{Bandwidth, Blackhole, Distribution, Drip, Latency, RateScope, Reset, SlowClose, Truncate, TruncateThen},
};
use std::time::Duration;

/// The largest rate that still limits anything, in kilobytes a second; see `wire::fault`.
const LARGEST_RATE: u64 = 1_000_000_000;
/// The largest size that our own quantities carry.
const LARGEST_SIZE: u64 = 1 << 53;
/// What a slicer without a delay leaves between two pieces, so that each is written apart.
const LEAST_PAUSE: Duration = Duration::from_micros(1);

/// A type of toxic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToxicKind {
    Latency,
    Bandwidth,
    SlowClose,
    Timeout,
    ResetPeer,
    Slicer,
    LimitData,
    Noop,
}

/// The attributes of a toxic, in Toxiproxy's units and in the order of [`ToxicKind::attributes`].
pub(crate) type Values = Vec<u64>;

impl ToxicKind {
    const ALL: [Self; 8] = [
        Self::Latency,
        Self::Bandwidth,
        Self::SlowClose,
        Self::Timeout,
        Self::ResetPeer,
        Self::Slicer,
        Self::LimitData,
        Self::Noop,
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Bandwidth => "bandwidth",
            Self::SlowClose => "slow_close",
            Self::Timeout => "timeout",
            Self::ResetPeer => "reset_peer",
            Self::Slicer => "slicer",
            Self::LimitData => "limit_data",
            Self::Noop => "noop",
        }
    }

    pub(crate) const fn attributes(self) -> &'static [&'static str] {
        match self {
            Self::Latency => &["latency", "jitter"],
            Self::Bandwidth => &["rate"],
            Self::SlowClose => &["delay"],
            Self::Timeout | Self::ResetPeer => &["timeout"],
            Self::Slicer => &["average_size", "size_variation", "delay"],
            Self::LimitData => &["bytes"],
            Self::Noop => &[],
        }
    }

    /// Lays what was sent over `before`; unknown attributes are passed over, as Toxiproxy does.
    pub(crate) fn merged(self, before: &[u64], sent: Option<&Map<String, Value>>) -> Result<Values, ToxiproxyMistake> {
        let named = self.attributes().iter().zip(before.iter().copied().chain(std::iter::repeat(0)));
        let values = named.map(|(name, before)| match sent.and_then(|sent| fields::named(sent, name)) {
            None | Some(Value::Null) => Ok(before),
            Some(value) => value.as_u64().ok_or_else(|| {
                ToxiproxyMistake::Body(format!("attributes.{name} is {value}: write a whole number from 0 up"))
            }),
        });
        let values: Values = values.collect::<Result<_, _>>()?;
        self.check(&values)?;
        Ok(values)
    }

    fn check(self, values: &[u64]) -> Result<(), ToxiproxyMistake> {
        let wrong = |what: &str| Err(ToxiproxyMistake::Body(what.to_owned()));
        match (self, values) {
            (Self::Slicer, [0, ..]) => wrong("attributes.average_size is 0: pieces have at least 1 byte"),
            (Self::Slicer, [size, variation, ..]) if variation > size => {
                wrong("attributes.size_variation is over average_size: a piece could have less than no bytes")
            }
            _ => Ok(()),
        }
    }

    /// The fault that does it; none where nothing is to be done.
    pub(crate) fn fault(self, values: &[u64]) -> Option<FaultKind> {
        let value = |at: usize| values.get(at).copied().unwrap_or(0);
        let millis = |at: usize| span(Duration::from_millis(value(at)));
        let size = |at: usize| ByteSize::new(value(at).min(LARGEST_SIZE));
        match self {
            Self::Latency if value(0) == 0 && value(1) == 0 => None,
            Self::Latency => Some(FaultKind::Latency(Latency {
                delay: millis(0),
                jitter: millis(1),
                distribution: Distribution::Uniform,
                buffer: ByteSize::mib(64),
            })),
            Self::Bandwidth if value(0) > LARGEST_RATE => None,
            Self::Bandwidth => Some(FaultKind::Bandwidth(Bandwidth {
                rate: ByteRate::new(value(0) * 1000),
                burst: None,
                scope: RateScope::Connection,
            })),
            Self::SlowClose if value(0) == 0 => None,
            Self::SlowClose => Some(FaultKind::SlowClose(SlowClose { delay: millis(0) })),
            Self::Timeout => {
                let close_after = (value(0) > 0).then(|| millis(0));
                Some(FaultKind::Blackhole(Blackhole { close_after }))
            }
            Self::ResetPeer => Some(FaultKind::Reset(Reset { after: millis(0), after_bytes: None })),
            Self::Slicer => Some(FaultKind::Drip(Drip {
                bytes: value(0),
                every: span(Duration::from_micros(value(2)).max(LEAST_PAUSE)),
                size_jitter: value(1).min(value(0).saturating_sub(1)),
            })),
            Self::LimitData => Some(FaultKind::Truncate(Truncate { bytes: size(0), then: TruncateThen::Close })),
            Self::Noop => None,
        }
    }

    /// The attributes of a fault that was changed by its own name; `None` when it is no fault of this type.
    pub(crate) fn values_of(self, fault: &FaultKind) -> Option<Values> {
        let millis = |span: Span| u64::try_from(span.get().as_millis()).unwrap_or(u64::MAX);
        Some(match (self, fault) {
            (Self::Latency, FaultKind::Latency(p)) => vec![millis(p.delay), millis(p.jitter)],
            (Self::Bandwidth, FaultKind::Bandwidth(p)) => vec![p.rate.get() / 1000],
            (Self::SlowClose, FaultKind::SlowClose(p)) => vec![millis(p.delay)],
            (Self::Timeout, FaultKind::Blackhole(p)) => vec![p.close_after.map_or(0, millis)],
            (Self::ResetPeer, FaultKind::Reset(p)) => vec![millis(p.after)],
            (Self::Slicer, FaultKind::Drip(p)) => {
                vec![p.bytes, p.size_jitter, u64::try_from(p.every.get().as_micros()).unwrap_or(u64::MAX)]
            }
            (Self::LimitData, FaultKind::Truncate(p)) => vec![p.bytes.get()],
            _ => return None,
        })
    }
}

/// At most a year, which is as long as our own spans are.
fn span(duration: Duration) -> Span {
    Span::from(duration)
}

#[cfg(test)]
mod tests {
    use super::ToxicKind;
    use proptest::prelude::*;
    use squall_wire::FaultSpec;

    fn any_value() -> impl Strategy<Value = u64> {
        prop_oneof![0u64..3, 0u64..100_000, any::<u64>()]
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_makes_a_fault_that_makes_sense(kind in 0usize..8, values in prop::collection::vec(any_value(), 3)) {
            let kind = ToxicKind::ALL[kind];
            let values = &values[..kind.attributes().len()];
            if kind.check(values).is_ok() && let Some(fault) = kind.fault(values) {
                prop_assert_eq!(FaultSpec::of(fault).mistakes(), []);
            }
        }

        #[test]
        fn a_fault_tells_the_attributes_that_it_was_made_from(kind in 0usize..8, values in prop::collection::vec(2u64..1_000_000, 3)) {
            let kind = ToxicKind::ALL[kind];
            let values = values[..kind.attributes().len()].to_vec();
            let sound = kind.check(&values).is_ok() && !(kind == ToxicKind::Slicer && values[0] == values[1]);
            if sound && let Some(fault) = kind.fault(&values) {
                prop_assert_eq!(kind.values_of(&fault), Some(values));
            }
        }
    }
}
