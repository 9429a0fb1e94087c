//! The ids of a run's trace, and the header (W3C Trace Context) by which its requests name it.
//!
//! A run's id is a UUID, and its 16 bytes are the trace's id: who has the one finds the other. Span ids follow from it and
//! a number. Invariant: none is zero, which would mean none.

use crate::{
    experiment::{Experiment, ProbeKind},
    template::Template,
};

/// The header.
const NAME: &str = "traceparent";

/// Whether systems that see the header are asked to record what they do for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampled {
    /// They may, and mostly do not: the load of an experiment would fill a tracing backend.
    No,
    /// They should.
    Yes,
}

/// The trace of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traceparent([u8; 16]);

impl Traceparent {
    /// That of the run with this id.
    #[must_use]
    pub fn of(run: &str) -> Self {
        // An id that is no UUID was not made by us; its letters tell runs apart as well.
        let bytes = uuid::Uuid::parse_str(run).map(uuid::Uuid::into_bytes).unwrap_or_else(|_| {
            let mut bytes = [1; 16];
            run.bytes().enumerate().for_each(|(index, byte)| bytes[index % 16] ^= byte.rotate_left(index as u32 / 16));
            bytes
        });
        Self(bytes)
    }

    /// The trace's id.
    #[must_use]
    pub const fn trace(&self) -> [u8; 16] {
        self.0
    }

    /// The id of a span of it; the run itself is number 0.
    #[must_use]
    pub fn span(&self, number: u64) -> [u8; 8] {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let low = u64::from_be_bytes(self.0[8..].try_into().unwrap_or([1; 8]));
        low.wrapping_add(number.wrapping_mul(STEP)).max(1).to_be_bytes()
    }

    /// The header's value.
    #[must_use]
    pub fn header(&self, sampled: Sampled) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        format!("00-{}-{}-0{}", hex(&self.0), hex(&self.span(0)), u8::from(sampled == Sampled::Yes))
    }

    /// Puts the header on every request of the traffic and of `http` probes that has none of its own.
    pub(crate) fn mark(&self, experiment: &mut Experiment, sampled: Sampled) {
        let value = self.header(sampled);
        if let (Some(traffic), Ok(template)) = (&mut experiment.traffic, Template::parse(&value)) {
            for request in &mut traffic.requests {
                if !request.headers.iter().any(|(name, _)| is_ours(name)) {
                    request.headers.push((NAME.to_owned(), template.clone()));
                }
            }
        }
        for probe in experiment.probes.values_mut() {
            if let ProbeKind::Http { headers, .. } = &mut probe.kind
                && !headers.iter().any(|(name, _)| is_ours(name))
            {
                headers.push((NAME.to_owned(), value.clone()));
            }
        }
    }
}

fn is_ours(header: &str) -> bool {
    header.eq_ignore_ascii_case(NAME)
}

#[cfg(test)]
mod tests {
    use super::{Sampled, Traceparent};

    #[test]
    fn the_header_is_as_the_w3c_says() {
        let trace = Traceparent::of("0197a3c2-5b1e-7c40-9a51-2f6d0b8e4c11");
        let header = trace.header(Sampled::No);
        assert_eq!(header, "00-0197a3c25b1e7c409a512f6d0b8e4c11-9a512f6d0b8e4c11-00");
        assert!(trace.header(Sampled::Yes).ends_with("-01"));
        let spans: std::collections::BTreeSet<_> = (0..10_000).map(|number| trace.span(number)).collect();
        assert_eq!(spans.len(), 10_000);
        assert_ne!(Traceparent::of("abc"), Traceparent::of("abd"));
    }
}
