//! One request and its response: the faults that hit it, and what of it is on its way.
//!
//! Made by `conversation.rs` for each request, which also moves its bytes; the faults' stages are in two pipelines, one for
//! each message.
//!
//! Invariant: a fault numbers an exchange once, when its request comes or, for a fault that comes later, while it is
//! under way.

use super::{Answer, AnswerTo, Head, RequestHead, ResponseHead, count::Timing};
use crate::{
    budget::Budget,
    fault::{ActiveFault, Asked, Claim, ConnectionMark, Ending, Item, answers},
    pipeline::Pipeline,
};
use bytes::Bytes;
use squall_wire::{
    FaultKind,
    fault::{HttpStatus, RequestLine},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

/// What an exchange takes of memory without its bytes, in about.
const ITSELF: usize = 1024;

/// Where the response stands, as far as the upstream goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// Nothing of the request has left.
    Unasked,
    /// The response is due.
    Due,
    /// Its head, one that is not interim, is there.
    Begun,
    /// It is whole, or the proxy answers in the upstream's place.
    Whole,
}

/// One exchange.
pub(super) struct Exchange {
    /// None of what could not be read, and of what was before the first request.
    asked: Option<Arc<Asked>>,
    mark: Option<Arc<ConnectionMark>>,
    // One for each fault of the proxy at most.
    claims: Vec<Arc<Claim>>,
    pub(super) up: Pipeline,
    pub(super) down: Pipeline,
    pub(super) reply: Reply,
    /// A fault answers; what still comes of the request is thrown away.
    pub(super) caught: bool,
    /// The response has left, and as it told the client, nothing follows it.
    closed: bool,
    /// Something of the response has left.
    pub(super) speaks: bool,
    pub(super) failed: bool,
    finished: bool,
    /// For `count.rs`.
    pub(super) timing: Option<Timing>,
}

impl Exchange {
    pub(super) fn new(asked: Option<Arc<Asked>>, budget: &Arc<Budget>) -> Self {
        Self {
            up: Pipeline::of_exchange(true, Arc::clone(budget), asked.clone()),
            down: Pipeline::of_exchange(false, Arc::clone(budget), asked.clone()),
            asked,
            mark: None,
            claims: Vec::new(),
            reply: Reply::Unasked,
            caught: false,
            closed: false,
            speaks: false,
            failed: false,
            finished: false,
            timing: None,
        }
    }

    /// Something of the response leaves.
    pub(super) fn speak(&mut self, now: Instant) {
        let hit = self.is_hit();
        if let Some(timing) = &mut self.timing
            && !self.speaks
        {
            timing.spoke = Some((now, hit));
        }
        self.speaks = true;
    }

    /// Whether a fault of requests acted on it.
    pub(super) fn is_hit(&self) -> bool {
        self.mark.as_ref().is_some_and(|mark| mark.is_set())
    }

    /// What is there before the first request: over, and where the streams' ends go if none comes.
    pub(super) fn opening(budget: &Arc<Budget>, now: Instant) -> Self {
        let mut opening = Self { finished: true, reply: Reply::Whole, ..Self::new(None, budget) };
        opening.up.push(Item::End(Ending::Message), now);
        opening.down.push(Item::End(Ending::Message), now);
        opening
    }

    pub(super) fn request(&self) -> Option<&RequestHead> {
        self.asked.as_ref().map(|asked| &asked.request)
    }

    /// Its place among the requests of its connection, from 1; 0 of what is none.
    pub(super) fn number(&self) -> u64 {
        self.asked.as_ref().map_or(0, |asked| asked.number())
    }

    /// What it takes of memory, and of bytes on their way, beside what has a budget of its own.
    pub(super) fn held(&self) -> usize {
        let head = self.request().map_or(0, |request| request.raw().len());
        ITSELF + head + self.up.held() + self.down.held()
    }

    /// Moves on what can move in it.
    pub(super) fn advance(&mut self, errors: &AtomicU64, now: Instant) {
        self.up.advance(now);
        if self.look_for_answer() {
            errors.fetch_add(1, Relaxed);
        }
        self.down.advance(now);
    }

    fn to(&self) -> AnswerTo<'_> {
        self.request().map_or(AnswerTo::Unread, AnswerTo::Request)
    }

    /// Takes up these faults, in order; `mark` is the connection's and `total` counts requests that were hit.
    pub(super) fn follow(
        &mut self,
        faults: &[Arc<ActiveFault>],
        mark: &Arc<ConnectionMark>,
        total: &Arc<AtomicU64>,
        now: Instant,
    ) {
        if faults.is_empty() && self.claims.is_empty() {
            return;
        }
        self.claims.retain(|claim| faults.iter().any(|fault| fault.id() == claim.fault.id()));
        if !self.finished {
            self.enrol(faults, mark, total);
        }
        self.apply(faults.iter().map(|fault| fault.id()), now);
    }

    fn enrol(&mut self, faults: &[Arc<ActiveFault>], mark: &Arc<ConnectionMark>, total: &Arc<AtomicU64>) {
        let Some(asked) = &self.asked else { return };
        for fault in faults {
            let known = self.claims.iter().any(|claim| claim.fault.id() == fault.id());
            if !known && concerns(fault, &asked.request) {
                let mark = self.mark.get_or_insert_with(|| Arc::new(mark.request(Arc::clone(total))));
                self.claims.push(Claim::enrol(Arc::clone(fault), Arc::clone(mark)));
            }
        }
    }

    fn apply(&mut self, order: impl Iterator<Item = u64>, now: Instant) {
        let in_order = order.filter_map(|id| self.claims.iter().find(|claim| claim.fault.id() == id));
        let plan: Vec<_> =
            in_order.filter(|claim| claim.is_live() && (!self.finished || outlives(claim))).cloned().collect();
        self.up.follow(&plan, now);
        self.down.follow(&plan, now);
    }

    /// Both messages have left whole. It lets go of what only they needed, for it may stay as long as the connection.
    pub(super) fn finish(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.finished, true) {
            let order: Vec<u64> = self.claims.iter().map(|claim| claim.fault.id()).collect();
            self.apply(order.into_iter(), now);
            self.claims.retain(|claim| outlives(claim));
            self.claims.shrink_to_fit();
            (self.asked, self.mark) = (None, None);
            self.up.forget_request();
            self.down.forget_request();
        }
    }

    /// Whether nothing of it is left, and nothing has come behind it.
    pub(super) fn is_over(&self) -> bool {
        [&self.up, &self.down]
            .iter()
            .all(|pipeline| pipeline.output().is_empty() && pipeline.ending() == Some(Ending::Message))
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether the upstream has to say something to it.
    pub(super) fn is_due(&self) -> bool {
        matches!(self.reply, Reply::Due | Reply::Begun)
    }

    /// Whether a whole response has left.
    pub(super) fn was_answered(&self) -> bool {
        let whole = match self.down.ending() {
            Some(Ending::Message | Ending::Eof) => self.reply == Reply::Whole || self.caught,
            // Behind the answer of a fault, or a response that one made the last.
            Some(Ending::Close) => self.caught || self.closed,
            _ => false,
        };
        self.finished || (whole && self.down.output().is_empty())
    }

    /// The whole response has left: whether a fault told the client that it is the last one, and so it is.
    pub(super) fn close_if_told(&mut self, now: Instant) -> bool {
        let told = self.asked.as_ref().is_some_and(|asked| asked.closes());
        if told && !std::mem::replace(&mut self.closed, true) {
            self.push_end(false, Ending::Close, now);
        }
        told
    }

    /// Looks whether a fault has begun to answer; true when it has just done so, and the answer is a failure.
    fn look_for_answer(&mut self) -> bool {
        if self.caught {
            return false;
        }
        let Some(kind) =
            self.claims.iter().filter(|claim| claim.is_raised()).map(|claim| claim.fault.kind()).find(answers)
        else {
            return false;
        };
        self.caught = true;
        let failure =
            !matches!(kind, FaultKind::HttpStatus(HttpStatus { status: ..500, .. }) | FaultKind::HttpUnauthorized(_));
        failure && !std::mem::replace(&mut self.failed, true)
    }

    /// The request's head.
    pub(super) fn push_request(&mut self, now: Instant) {
        let Some(asked) = &self.asked else { return };
        let item = match self.up.is_empty_chain() {
            true => Item::Bytes(asked.request.raw().clone()),
            false => Item::Head(Box::new(Head::Request(asked.request.clone()))),
        };
        self.up.push(item, now);
    }

    /// A response's head.
    pub(super) fn push_response(&mut self, head: ResponseHead, now: Instant) {
        let item = match self.down.is_empty_chain() {
            true => Item::Bytes(head.raw().clone()),
            false => Item::Head(Box::new(Head::Response(head))),
        };
        self.down.push(item, now);
    }

    pub(super) fn push_bytes(&mut self, upstream: bool, bytes: Bytes, now: Instant) {
        let pipeline = if upstream { &mut self.up } else { &mut self.down };
        pipeline.push(Item::Bytes(bytes), now);
    }

    pub(super) fn push_end(&mut self, upstream: bool, ending: Ending, now: Instant) {
        let pipeline = if upstream { &mut self.up } else { &mut self.down };
        pipeline.push(Item::End(ending), now);
    }

    /// Answers with a refusal, and closes; resets, where an answer has begun.
    pub(super) fn refuse(&mut self, status: u16, why: &impl std::fmt::Display, now: Instant) {
        self.caught = true;
        if self.reply == Reply::Begun || self.speaks {
            return self.push_end(false, Ending::Reset, now);
        }
        let answer = Answer::refusal(status, why, self.to());
        self.reply = Reply::Whole;
        self.push_bytes(false, answer.head, now);
        self.push_bytes(false, answer.body, now);
        self.push_end(false, Ending::Close, now);
    }

    /// How the connection ends by this exchange, if a fault, a refusal or a peer says so; and whether bytes to the
    /// upstream come before.
    pub(super) fn verdict(&self) -> Option<(Ending, bool)> {
        let of = |pipeline: &Pipeline| pipeline.ending().filter(|ending| *ending >= Ending::Close);
        match (of(&self.down), of(&self.up)) {
            (Some(Ending::Abort), _) | (_, Some(Ending::Abort)) => Some((Ending::Abort, false)),
            (Some(ending), _) if self.down.output().is_empty() => Some((ending, false)),
            (_, Some(ending)) if self.up.output().is_empty() => Some((ending, true)),
            _ => None,
        }
    }

    /// When time alone moves something.
    pub(super) fn next_wake(&self, now: Instant) -> Option<Instant> {
        [self.up.next_wake(now), self.down.next_wake(now)].into_iter().flatten().min()
    }
}

/// Behind an exchange that is over there is nothing left to hit but the end of the stream.
fn outlives(claim: &Claim) -> bool {
    matches!(claim.fault.kind(), FaultKind::SlowClose(_))
}

fn concerns(fault: &ActiveFault, request: &RequestHead) -> bool {
    if !fault.only().names_requests() {
        return true;
    }
    let headers: Vec<(&str, &[u8])> = request.fields().iter().collect();
    let line = RequestLine { method: request.method(), target: request.target(), headers: &headers };
    fault.only().matches_request(&line)
}
