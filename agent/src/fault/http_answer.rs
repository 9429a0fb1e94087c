//! `http_status` and `http_unauthorized`: a request is answered without asking the upstream.
//!
//! ```text
//!  client ──▶ Catcher: throws the request away, and raises the claim's signal
//!  client ◀── Speaker: once the signal is up, gives the answer (`http/answer.rs`)
//! ```
//! The answer comes with the request's head; the request's body is read and thrown away behind it, and the connection
//! goes on. It closes behind an answer to a client that waits for `100 Continue`, or that asked for it. The challenge
//! of `http_unauthorized` is of the scheme that the client used, `Basic` if it used none that we know.
//!
//! Acts (and counts a hit) when a request's head is thrown away. One that has passed before is answered by the upstream.
//!
//! Invariant: a request that was thrown away is answered, even if the fault goes meanwhile.

use super::{Asked, Claim, Ending, Item, Stage, StageContext, hold::Hold};
use crate::http::{Answer, AnswerTo, Head, RequestHead, reason};
use squall_wire::{FaultKind, fault::HttpStatus};
use std::{collections::VecDeque, sync::Arc, time::Instant};

/// Catches a request.
pub(crate) struct Catcher {
    claim: Arc<Claim>,
    caught: bool,
    hold: Hold,
}

impl Catcher {
    pub(crate) fn new(context: &StageContext<'_>) -> Self {
        Self { claim: Arc::clone(context.claim), caught: false, hold: Hold::default() }
    }
}

impl Stage for Catcher {
    fn accepts(&self) -> bool {
        !self.hold.is_full()
    }

    fn reads_heads(&self) -> bool {
        true
    }

    fn touches(&self, item: &Item, _: Instant) -> bool {
        matches!(item, Item::Head(_))
    }

    fn push(&mut self, item: Item, _: Instant) {
        match item {
            Item::Head(_) => {
                self.caught = true;
                self.claim.raise();
            }
            Item::Bytes(_) if self.caught => {}
            item => self.hold.push(item),
        }
    }

    fn pull(&mut self, _: Instant) -> Option<Item> {
        self.hold.pop()
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        (!self.hold.is_empty()).then_some(now)
    }

    fn change(&mut self, _: &FaultKind, _: Instant) {}

    // What still comes of a request that was caught is thrown away by the exchange, whether the fault is there or not.
    fn release(&mut self) -> VecDeque<Item> {
        self.hold.release()
    }
}

/// Answers it.
pub(crate) struct Speaker {
    kind: FaultKind,
    claim: Arc<Claim>,
    asked: Arc<Asked>,
    said: bool,
    hold: Hold,
}

impl Speaker {
    /// None where the unit is no exchange.
    pub(crate) fn new(kind: FaultKind, context: &StageContext<'_>) -> Option<Self> {
        let asked = Arc::clone(context.asked?);
        Some(Self { kind, claim: Arc::clone(context.claim), asked, said: false, hold: Hold::default() })
    }

    fn is_due(&self) -> bool {
        self.claim.is_raised() && !self.said
    }

    /// Puts the answer before whatever else is to come.
    fn say(&mut self) {
        self.said = true;
        let rest = self.hold.release();
        let request = &self.asked.request;
        let answer = answer(&self.kind, request);
        match answer.parsed(request) {
            Some(head) => self.hold.push(Item::Head(Box::new(Head::Response(head)))),
            None => self.hold.push(Item::Bytes(answer.head)),
        }
        self.hold.push(Item::Bytes(answer.body));
        self.hold.push(Item::End(Ending::Message));
        if answer.closes {
            self.hold.push(Item::End(Ending::Close));
        }
        rest.into_iter().for_each(|item| self.hold.push(item));
    }
}

/// The answer of a fault of this kind to this request.
pub(crate) fn answer(kind: &FaultKind, request: &RequestHead) -> Answer {
    let to = AnswerTo::Request(request);
    match kind {
        FaultKind::HttpStatus(HttpStatus { status, body, headers, retry_after }) => {
            let retry_after = retry_after.map(|span| span.get().as_secs().to_string());
            let mut fields: Vec<(&str, &str)> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            fields.extend(retry_after.as_deref().map(|seconds| ("Retry-After", seconds)));
            let told = format!("{status} {}, by a fault of squall\n", reason(*status));
            Answer::new(*status, &fields, body.as_deref().unwrap_or(&told), to)
        }
        _ => {
            let challenge = [("WWW-Authenticate", challenge(request))];
            Answer::new(401, &challenge, "401 Unauthorized, by a fault of squall\n", to)
        }
    }
}

/// RFC 9110 section 11.6.1, and RFC 6750 section 3 for tokens.
fn challenge(request: &RequestHead) -> &'static str {
    let bearer = |value: &[u8]| value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
    if request.fields().all("authorization").any(bearer) {
        r#"Bearer realm="squall", error="invalid_token""#
    } else {
        r#"Basic realm="squall""#
    }
}

impl Stage for Speaker {
    fn accepts(&self) -> bool {
        !self.hold.is_full()
    }

    fn reads_heads(&self) -> bool {
        true
    }

    fn touches(&self, _: &Item, _: Instant) -> bool {
        false
    }

    fn push(&mut self, item: Item, _: Instant) {
        let is_end_of_stream = matches!(item, Item::End(ending) if ending != Ending::Message);
        if !self.claim.is_raised() || is_end_of_stream {
            self.hold.push(item);
        }
    }

    fn pull(&mut self, _: Instant) -> Option<Item> {
        if self.is_due() {
            self.say();
        }
        self.hold.pop()
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        (self.is_due() || !self.hold.is_empty()).then_some(now)
    }

    fn change(&mut self, kind: &FaultKind, _: Instant) {
        self.kind = kind.clone();
    }

    fn release(&mut self) -> VecDeque<Item> {
        if self.is_due() {
            self.say();
        }
        self.hold.release()
    }
}
