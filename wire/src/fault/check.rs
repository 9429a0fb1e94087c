//! Refuses faults that make no sense, each with the field and what would be right.
//!
//! Serde has already refused wrong shapes; here are the rules between fields. The agent checks before it sets a
//! fault, and the experiment before anything is touched, by this one function.

use super::{Blackhole, Direction, FaultKind, FaultSpec, Flap, GarbageStyle, HttpBody, HttpHeaders, HttpStatus};
use crate::{ByteRate, ByteSize, Protocol, Span, SpanOrForever};
use std::time::Duration;

/// A field of a fault that is wrong, as a path from the fault, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidFault {
    /// Path of the field: `fault.latency.jitter`.
    pub field: String,
    /// What is wrong and what would be right.
    pub message: String,
}

const LARGEST_SEED: u64 = 1 << 53;

const SHORTEST_FLAP: Duration = Duration::from_millis(10);

/// More often than that nobody can tell a freeze from a delay, and an agent would do nothing else.
const SHORTEST_STALL: Duration = Duration::from_millis(1);

impl FaultSpec {
    /// Every rule between fields that this fault breaks; empty when it is sound.
    #[must_use]
    pub fn mistakes(&self) -> Vec<InvalidFault> {
        let mut found = Vec::new();
        let kind = self.fault.name();
        if let Some((parameter, message)) = self.fault.mistake() {
            found.push(InvalidFault { field: format!("fault.{kind}.{parameter}"), message });
        }
        let mut wrong = |field: &str, message: String| found.push(InvalidFault { field: field.into(), message });
        if let (Some(fixed), Some(asked)) = (self.fault.fixed_direction(), self.direction)
            && fixed != asked
        {
            wrong("direction", format!("`{kind}` acts on {}: leave `direction` out", acts_on(fixed)));
        }
        if self.seed.is_some_and(|seed| seed >= LARGEST_SEED) {
            wrong("seed", "a seed is a whole number below 2^53 (9007199254740992)".into());
        }
        if self.count == Some(0) {
            wrong("count", "a count of 0 hits nothing: use 1 or more, or leave it out".into());
        }
        if self.expires_in.is_some_and(|span| span.is_zero()) {
            wrong("expires_in", "a fault that expires after `0s` does nothing: write a duration such as `30s`".into());
        }
        match &self.fault {
            FaultKind::Refuse(_) => {
                self.unless_for_all("closes the listening socket for everybody", &mut wrong);
            }
            FaultKind::Flap(_) => self.unless_for_all("takes the whole proxy down and up", &mut wrong),
            FaultKind::PacketLoss(lossy) if lossy.syn_only => self.unless_unnumbered(&mut wrong),
            FaultKind::SlowAccept(_) if !self.only.is_everything() => {
                wrong("where", "`slow_accept` acts before the client's address is known: leave `where` out".into());
            }
            _ => {}
        }
        if self.only.names_requests() && acts_before_requests(&self.fault) {
            wrong("where", format!("`{kind}` acts before a request is known: only `client` goes here"));
        }
        found
    }

    /// Every rule that this fault breaks on a proxy of this protocol; those of [`Self::mistakes`] are among them.
    #[must_use]
    pub fn mistakes_on(&self, protocol: Protocol) -> Vec<InvalidFault> {
        let mut found = self.mistakes();
        let kind = self.fault.name();
        if !self.fault.protocols().contains(&protocol) {
            let fitting: Vec<_> = self.fault.protocols().iter().map(|protocol| format!("`{protocol}`")).collect();
            let message = format!("`{kind}` runs on {} proxies, and this one is `{protocol}`", fitting.join(" and "));
            found.push(InvalidFault { field: format!("fault.{kind}"), message });
        }
        if self.only.names_requests() && protocol != Protocol::Http {
            let message =
                format!("a `{protocol}` proxy sees no requests: only `client` goes here, or use `protocol: http`");
            found.push(InvalidFault { field: "where".into(), message });
        }
        if protocol == Protocol::Udp
            && let FaultKind::Blackhole(Blackhole { close_after: Some(_) }) = self.fault
        {
            let message = "datagrams have no connection to close: leave `close_after` out".into();
            found.push(InvalidFault { field: "fault.blackhole.close_after".into(), message });
        }
        found
    }

    /// Each field that would spare some connections, for a kind that cannot.
    fn unless_for_all(&self, what: &str, wrong: &mut impl FnMut(&str, String)) {
        let narrowed = [
            ("percent", !self.percent.is_all()),
            ("where", !self.only.is_everything()),
            ("skip", self.skip > 0),
            ("count", self.count.is_some()),
        ];
        for (field, _) in narrowed.into_iter().filter(|(_, narrowed)| *narrowed) {
            wrong(field, format!("`{}` {what}; use `reset` to hit some connections", self.fault.name()));
        }
    }

    /// Each field that numbers connections, for what acts before there is one.
    fn unless_unnumbered(&self, wrong: &mut impl FnMut(&str, String)) {
        let numbers = [("percent", !self.percent.is_all()), ("skip", self.skip > 0), ("count", self.count.is_some())];
        for (field, _) in numbers.into_iter().filter(|(_, asked)| *asked) {
            let message = "`syn_only` acts before a connection is there to be numbered: leave this out, and say by \
                           `loss` how many segments are dropped and by `where` whose";
            wrong(field, message.into());
        }
    }
}

/// Kinds that act when a connection comes, or on all of it.
const fn acts_before_requests(kind: &FaultKind) -> bool {
    matches!(kind, FaultKind::ConnectionLimit(_) | FaultKind::PacketLoss(_))
}

fn acts_on(direction: Direction) -> &'static str {
    match direction {
        Direction::Both => "whole connections",
        Direction::Downstream => "what the client gets",
        Direction::Upstream => "what the server gets",
    }
}

impl FaultKind {
    /// The first parameter that is wrong in itself or against another, and why.
    fn mistake(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Latency(p) if p.buffer < ByteSize::kib(64) => {
                Some(("buffer", format!("a buffer of {} is too small to pass anything: at least 64KiB", p.buffer)))
            }
            Self::Latency(p) if p.delay.is_zero() && p.jitter.is_zero() => {
                Some(("delay", "a delay of `0s` without jitter does nothing: write one such as `800ms`".into()))
            }
            Self::Bandwidth(p) if p.burst.is_some_and(|burst| burst.get() == 0) => {
                Some(("burst", "a burst of 0 lets nothing pass: at least 1B, or leave it out".into()))
            }
            Self::Bandwidth(p) if p.rate > ByteRate::new(1_000_000_000_000) => {
                Some(("rate", "a rate over 1TB/s limits nothing".into()))
            }
            Self::SlowAccept(p) if p.delay == SpanOrForever::Span(Span::ZERO) => {
                Some(("delay", "a delay of `0s` does nothing: write one such as `2s`, or `forever`".into()))
            }
            Self::SlowClose(p) if p.delay.is_zero() => {
                Some(("delay", "a delay of `0s` does nothing: write one such as `5s`".into()))
            }
            Self::Drip(p) if p.bytes == 0 => Some(("bytes", "pieces of 0 bytes never arrive: at least 1".into())),
            Self::Drip(p) if p.size_jitter >= p.bytes && p.size_jitter > 0 => {
                Some(("size_jitter", format!("must be less than `bytes` ({}), or a piece could be empty", p.bytes)))
            }
            Self::Drip(p) if p.every.is_zero() => {
                Some(("every", "one piece per `0s` does nothing: write a duration such as `1s`".into()))
            }
            Self::Stall(p) if p.every.get() < SHORTEST_STALL => {
                Some(("every", format!("{} is too often for traffic to go on in between: at least 1ms", p.every)))
            }
            Self::Stall(p) if p.duration.is_zero() => {
                Some(("for", "a freeze of `0s` does nothing: write a duration such as `800ms`".into()))
            }
            Self::Stall(p) if p.duration.get() + p.jitter.get() > p.every.get() => Some((
                "for",
                format!(
                    "a freeze of up to {} does not fit into `every` ({})",
                    Span::from(p.duration.get() + p.jitter.get()),
                    p.every
                ),
            )),
            Self::Stall(p) if p.jitter > p.duration => {
                Some(("jitter", format!("must be at most `for` ({})", p.duration)))
            }
            Self::Reset(p) if p.after_bytes.is_some() && !p.after.is_zero() => {
                Some(("after_bytes", "give `after` or `after_bytes`, not both".into()))
            }
            Self::Flap(p) => p.mistake(),
            Self::Garbage(p) => p.style.mistake(p.bytes),
            Self::Corrupt(p) if !(p.rate > 0.0 && p.rate <= 1.0) => {
                Some(("rate", "a share of bytes above 0 and up to 1, such as 0.001 for one in a thousand".into()))
            }
            Self::HttpStatus(p) => p.mistake(),
            Self::HttpLatency(p) if p.delay.is_zero() && p.jitter.is_zero() => {
                Some(("delay", "a delay of `0s` without jitter does nothing: write one such as `800ms`".into()))
            }
            Self::HttpHeaders(p) => p.mistake(),
            Self::HttpBody(p) => p.mistake(),
            Self::PacketLoss(p) if p.loss.get() <= 0.0 => {
                Some(("loss", "a loss of 0 % does nothing: write a percentage such as 5".into()))
            }
            Self::Duplicate(p) if p.copies == 0 || p.copies > 100 => {
                Some(("copies", "from 1 to 100 more of each datagram".into()))
            }
            Self::Reorder(p) if p.depth == 0 || p.depth > 1000 => Some(("depth", "from 1 to 1000 datagrams".into())),
            _ => None,
        }
    }
}

impl HttpStatus {
    fn mistake(&self) -> Option<(&'static str, String)> {
        if !(200..=599).contains(&self.status) {
            return Some(("status", format!("{} is not a final status: from 200 to 599", self.status)));
        }
        if self.retry_after.is_some_and(|span| span.get().subsec_nanos() > 0) {
            return Some(("retry_after", "`Retry-After` is told in whole seconds: write one such as `5s`".into()));
        }
        if self.retry_after.is_some() && self.headers.keys().any(|name| name.eq_ignore_ascii_case("retry-after")) {
            return Some(("retry_after", "`headers` has a `Retry-After` of its own: give one of the two".into()));
        }
        self.headers.iter().find_map(|(name, value)| bad_header(name, value)).map(|message| ("headers", message))
    }
}

impl HttpHeaders {
    fn mistake(&self) -> Option<(&'static str, String)> {
        if self.set.is_empty() && self.remove.is_empty() {
            return Some(("set", "nothing would be changed: give `set: {Name: value}` or `remove: [Name]`".into()));
        }
        let set = self.set.iter().find_map(|(name, value)| bad_header(name, value)).map(|message| ("set", message));
        let removed = || self.remove.iter().find_map(|name| bad_header(name, "")).map(|message| ("remove", message));
        set.or_else(removed)
    }
}

impl HttpBody {
    fn mistake(&self) -> Option<(&'static str, String)> {
        let ways = [self.replace.is_some(), self.truncate.is_some(), self.hang, self.oversize.is_some()];
        let (many, content_type) = (ways.into_iter().filter(|way| *way).count(), self.content_type.is_some());
        match many {
            0 if !content_type => Some((
                "replace",
                "nothing would be changed: give one of `replace`, `truncate`, `hang`, `oversize` and `content_type`"
                    .into(),
            )),
            0 if self.mismatch => {
                Some(("mismatch", "the body's length stays, so `Content-Length` cannot be wrong".into()))
            }
            1 if self.hang && self.mismatch => {
                Some(("mismatch", "a body that never comes has no length that could be wrong: leave it out".into()))
            }
            0 | 1 if self.oversize.is_some_and(|more| more.get() == 0) => {
                Some(("oversize", "0 more bytes change nothing: write a size such as `50MB`".into()))
            }
            0 | 1 => self
                .content_type
                .as_ref()
                .and_then(|value| bad_header("Content-Type", value))
                .map(|m| ("content_type", m)),
            _ => Some(("replace", "give one of `replace`, `truncate`, `hang` and `oversize`, not several".into())),
        }
    }
}

/// Why this cannot be a header, or would cut the message into other ones.
fn bad_header(name: &str, value: &str) -> Option<String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Some(format!("`{}` is not a header's name: letters, digits and hyphens", name.escape_debug()));
    }
    let framing = ["content-length", "transfer-encoding"];
    if framing.iter().any(|framing| name.eq_ignore_ascii_case(framing)) {
        return Some(format!(
            "`{name}` says where a message ends: use `http_body` with `mismatch: true` to make it wrong"
        ));
    }
    let broken = value.chars().any(|c| (c.is_control() && c != '\t') || !c.is_ascii());
    broken.then(|| format!("the value of `{name}` is not one of a header: printable ASCII on one line"))
}

impl Flap {
    fn mistake(&self) -> Option<(&'static str, String)> {
        for (name, span) in [("up", self.up), ("down", self.down)] {
            if span.get() < SHORTEST_FLAP {
                return Some((name, format!("{span} is too short for a listener to follow: at least 10ms")));
            }
        }
        let most = Span::from(self.up.get().min(self.down.get()) / 2);
        (self.jitter > most)
            .then(|| ("jitter", format!("must be at most {most}, half of the shorter of `up` and `down`")))
    }
}

impl GarbageStyle {
    fn mistake(&self, bytes: ByteSize) -> Option<(&'static str, String)> {
        match self {
            Self::Text(text) if text.is_empty() => Some(("style", "an empty text is no garbage: write some".into())),
            Self::Random | Self::HttpNoise | Self::Html if bytes.get() == 0 || bytes > ByteSize::mib(1024) => {
                Some(("bytes", "from 1B to 1GiB".into()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::FaultSpec;

    fn mistakes(json: &str) -> Vec<String> {
        let spec: FaultSpec = serde_json::from_str(json).unwrap();
        spec.mistakes().into_iter().map(|m| format!("{}: {}", m.field, m.message)).collect()
    }

    #[test]
    fn a_sound_fault_has_no_mistakes() {
        assert!(mistakes(r#"{"fault": {"latency": {"delay": "800ms", "jitter": "1s"}}, "percent": 50}"#).is_empty());
        assert!(mistakes(r#"{"fault": {"slow_accept": {"delay": "forever", "backlog": 1}}}"#).is_empty());
        assert!(mistakes(r#"{"fault": {"corrupt": {}}, "direction": "both"}"#).is_empty());
        assert!(mistakes(r#"{"fault": {"corrupt": {"rate": 1}}}"#).is_empty());
        assert!(mistakes(r#"{"fault": {"flap": {"up": "10ms", "down": "1s", "jitter": "5ms"}}}"#).is_empty());
        assert!(mistakes(r#"{"fault": {"connection_limit": {"max": 0}}, "percent": 5}"#).is_empty());
    }

    #[test]
    fn every_mistake_is_told_with_its_field() {
        insta::assert_snapshot!(mistakes(r#"{"fault": {"refuse": {}}, "percent": 50, "count": 0}"#).join("\n"), @r"
        count: a count of 0 hits nothing: use 1 or more, or leave it out
        percent: `refuse` closes the listening socket for everybody; use `reset` to hit some connections
        count: `refuse` closes the listening socket for everybody; use `reset` to hit some connections
        ");
        insta::assert_snapshot!(mistakes(r#"{"fault": {"stall": {"every": "1s", "for": "2s"}}}"#).join("\n"),
            @"fault.stall.for: a freeze of up to 2s does not fit into `every` (1s)");
        insta::assert_snapshot!(mistakes(r#"{"fault": {"stall": {"every": "1us", "for": "1us"}}}"#).join("\n"),
            @"fault.stall.every: 1us is too often for traffic to go on in between: at least 1ms");
        insta::assert_snapshot!(mistakes(r#"{"fault": {"drip": {"bytes": 3, "size_jitter": 3}}}"#).join("\n"),
            @"fault.drip.size_jitter: must be less than `bytes` (3), or a piece could be empty");
        insta::assert_snapshot!(mistakes(
            r#"{"fault": {"flap": {"up": "1s", "down": "1ms"}}, "skip": 1, "where": {"client": ["::1"]}}"#
        ).join("\n"), @r"
        fault.flap.down: 1ms is too short for a listener to follow: at least 10ms
        where: `flap` takes the whole proxy down and up; use `reset` to hit some connections
        skip: `flap` takes the whole proxy down and up; use `reset` to hit some connections
        ");
        insta::assert_snapshot!(
            mistakes(r#"{"fault": {"flap": {"up": "1s", "down": "300ms", "jitter": "151ms"}}}"#).join("\n"),
            @"fault.flap.jitter: must be at most 150ms, half of the shorter of `up` and `down`");
        for rate in ["0", "-0.1", "1.01", "50"] {
            let json = format!(r#"{{"fault": {{"corrupt": {{"rate": {rate}}}}}}}"#);
            assert_eq!(
                mistakes(&json),
                ["fault.corrupt.rate: a share of bytes above 0 and up to 1, such as 0.001 for one in a thousand"]
            );
        }
    }

    #[test]
    fn unknown_parameters_and_kinds_are_refused() {
        for json in [
            r#"{"fault": {"latncy": {"delay": "1s"}}}"#,
            r#"{"fault": {"latency": {"delay": "1s", "jiter": "1s"}}}"#,
            r#"{"fault": {"latency": {"delay": 800}}}"#,
            r#"{"fault": {"latency": {}}}"#,
            r#"{"fault": {"connection_limit": {"max": -1}}}"#,
            r#"{"fault": {"connection_limit": {"max": 3, "then": "close"}}}"#,
            r#"{"fault": {"reset": {}}, "precent": 5}"#,
            r#"{"fault": {"reset": {}}, "percent": 101}"#,
        ] {
            assert!(serde_json::from_str::<FaultSpec>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn the_catalogue_names_every_kind_and_its_examples_parse() {
        for kind in crate::FaultKind::CATALOGUE {
            let schema = serde_json::to_string(&schemars::schema_for!(crate::FaultKind)).unwrap();
            assert!(schema.contains(&format!("\"{}\"", kind.name)), "{} is not in the schema", kind.name);
        }
        assert_eq!(crate::FaultKind::CATALOGUE.len(), 24);
    }

    #[test]
    fn every_example_of_the_catalogue_is_a_sound_fault_of_its_kind_and_protocols() {
        for info in crate::FaultKind::CATALOGUE {
            let kind: crate::FaultKind = serde_saphyr::from_str(info.example).unwrap();
            assert_eq!((kind.name(), kind.protocols()), (info.name, info.protocols), "{}", info.example);
            let spec = FaultSpec::of(kind);
            assert!(spec.mistakes_on(info.protocols[0]).is_empty(), "{}", info.example);
        }
    }

    #[test]
    fn a_fault_on_a_proxy_of_another_protocol_is_told() {
        let on = |json: &str, protocol| {
            let spec: FaultSpec = serde_json::from_str(json).unwrap();
            spec.mistakes_on(protocol).into_iter().map(|m| format!("{}: {}", m.field, m.message)).collect::<Vec<_>>()
        };
        let (tcp, http, udp) = (crate::Protocol::Tcp, crate::Protocol::Http, crate::Protocol::Udp);
        assert_eq!(
            on(r#"{"fault": {"http_status": {"status": 503}}}"#, tcp),
            ["fault.http_status: `http_status` runs on `http` proxies, and this one is `tcp`"]
        );
        assert!(on(r#"{"fault": {"http_status": {"status": 503}}, "where": {"path": "/x"}}"#, http).is_empty());
        assert_eq!(
            on(r#"{"fault": {"latency": {"delay": "1s"}}, "where": {"method": ["GET"]}}"#, udp),
            ["where: a `udp` proxy sees no requests: only `client` goes here, or use `protocol: http`"]
        );
        assert_eq!(on(r#"{"fault": {"reset": {}}}"#, udp).len(), 1);
        assert_eq!(on(r#"{"fault": {"blackhole": {"close_after": "1s"}}}"#, udp).len(), 1);
        assert_eq!(
            on(r#"{"fault": {"connection_limit": {"max": 1}}, "where": {"path": "/"}}"#, http),
            ["where: `connection_limit` acts before a request is known: only `client` goes here"]
        );
    }

    #[test]
    fn http_faults_that_would_do_nothing_or_break_the_framing_are_told() {
        for (json, expected) in [
            (
                r#"{"http_status": {"status": 101}}"#,
                "fault.http_status.status: 101 is not a final status: from 200 to 599",
            ),
            (
                r#"{"http_status": {"status": 503, "retry_after": "1.5s"}}"#,
                "fault.http_status.retry_after: `Retry-After` is told in whole seconds: write one such as `5s`",
            ),
            (
                r#"{"http_status": {"status": 503, "retry_after": "3s", "headers": {"retry-After": "9"}}}"#,
                "fault.http_status.retry_after: `headers` has a `Retry-After` of its own: give one of the two",
            ),
            (
                r#"{"http_body": {"hang": true, "mismatch": true}}"#,
                "fault.http_body.mismatch: a body that never comes has no length that could be wrong: leave it out",
            ),
            (
                r#"{"http_headers": {"set": {"a b": "x"}}}"#,
                "fault.http_headers.set: `a b` is not a header's name: letters, digits and hyphens",
            ),
            (
                r#"{"http_headers": {"set": {"a": "x\r\ny: z"}}}"#,
                "fault.http_headers.set: the value of `a` is not one of a header: printable ASCII on one line",
            ),
            (
                r#"{"http_body": {"hang": true, "truncate": "1KiB"}}"#,
                "fault.http_body.replace: give one of `replace`, `truncate`, `hang` and `oversize`, not several",
            ),
        ] {
            assert_eq!(mistakes(&format!(r#"{{"fault": {json}}}"#)), [expected], "{json}");
        }
        for json in [
            r#"{"http_headers": {}}"#,
            r#"{"http_headers": {"remove": ["Content-Length"]}}"#,
            r#"{"http_body": {}}"#,
            r#"{"http_body": {"oversize": "0B"}}"#,
            r#"{"http_body": {"content_type": "a/b", "mismatch": true}}"#,
            r#"{"duplicate": {"copies": 0}}"#,
            r#"{"reorder": {"depth": 0}}"#,
            r#"{"packet_loss": {"loss": 0}}"#,
        ] {
            assert_eq!(mistakes(&format!(r#"{{"fault": {json}}}"#)).len(), 1, "{json}");
        }
    }

    #[test]
    fn segments_that_open_a_connection_are_not_chosen_by_number() {
        let json = r#"{"fault": {"packet_loss": {"loss": 50, "syn_only": true}}, "percent": 10, "skip": 1, "count": 2,
            "where": {"client": ["10.0.0.0/8"]}}"#;
        let found = mistakes(json);
        let fields: Vec<_> = found.iter().filter_map(|mistake| mistake.split(':').next()).collect();
        assert_eq!(fields, ["percent", "skip", "count"]);
        assert!(mistakes(&json.replace(r#", "syn_only": true"#, "")).is_empty());
        let direction = r#"{"fault": {"packet_loss": {"loss": 50, "syn_only": true}}, "direction": "downstream"}"#;
        assert_eq!(mistakes(direction).len(), 1, "they all go one way");
    }
}
