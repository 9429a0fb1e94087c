//! All exchanges of one connection: requests in, responses in, and both out again, in order.
//!
//! ```text
//!  client ──▶ gate ──▶ framer ──▶ [exchange].up   ──in order──▶ Outgoing ──▶ upstream
//!  client ◀── Outgoing ◀──in order── [exchange].down ◀── framer ◀────────── upstream
//! ```
//! `gate` has the faults whose unit is the connection. Each message goes through the pipeline of its exchange; what is
//! ready leaves when every message before it has left. A fault that ends an exchange ends the connection, once all
//! responses before it are out. Pure over `now`, like a pipeline; `connection.rs` acts for it.
//!
//! Invariant: what no fault touches leaves as it came, and no response leaves before those to earlier requests.

use super::{
    BodyKind, Edit, Framer, Head, Limits, Part, RequestHead, ResponseHead,
    count::{RequestTotals, count_end, count_failure},
    exchange::{Exchange, Reply},
    framing::MOST_AWAITED,
    outgoing::Outgoing,
};
use crate::{
    budget::Budget,
    fault::{ActiveFault, Asked, Claim, ConnectionMark, Ending, Item, Together, answers},
    pipeline::{Appetite, Pipeline},
};
use bytes::Bytes;
use std::{collections::VecDeque, sync::Arc, time::Instant};

/// Requests of one connection under way at once; who pipelines deeper is not read meanwhile.
const MOST_EXCHANGES: usize = MOST_AWAITED;

/// So many may be under way whatever they hold. More only where a fault may delay them, for each costs memory and time,
/// and while all of them together hold less than [`MOST_HELD`].
const FEW_EXCHANGES: usize = 32;

/// What so many exchanges may hold beside what `latency` holds: themselves, heads, and bytes on their way.
const MOST_HELD: usize = 2 * 1024 * 1024;

/// The exchanges of one connection.
pub(crate) struct Conversation {
    pub(super) budget: Arc<Budget>,
    pub(super) mark: Arc<ConnectionMark>,
    pub(super) totals: Arc<RequestTotals>,
    /// What the Host header becomes, if not what the client wrote.
    host: Option<String>,
    together: Arc<Together>,
    /// Requests that came.
    asked: u64,
    pub(super) gate: Pipeline,
    /// The faults of the connection, as `gate` has them.
    pub(super) claims: Vec<Arc<Claim>>,
    /// A fault acted before the first request came.
    pub(super) touched_before: bool,
    faults: Arc<[Arc<ActiveFault>]>,
    pub(super) requests: Framer,
    pub(super) responses: Framer,
    /// What was read from the upstream and not looked at yet: one read at most.
    unseen: Option<Bytes>,
    /// In the order of their requests, and never empty: the last one stays until another comes.
    // Bounded by `MOST_EXCHANGES` and `MOST_HELD`.
    pub(super) exchanges: VecDeque<Exchange>,
    /// What they hold, counted whenever something may have moved.
    held: usize,
    /// Whose request leaves, and whose response.
    pub(super) up_at: usize,
    pub(super) down_at: usize,
    pub(crate) up: Outgoing,
    pub(crate) down: Outgoing,
    /// How much of `down` is of exchanges before the one at `down_at`.
    pub(super) owed_before: usize,
    /// A request has begun and is not whole.
    pub(super) in_request: bool,
    /// The response under way is interim.
    in_interim: bool,
    /// Nothing more is read from the client, for it sent what is no HTTP.
    pub(super) refused: bool,
    pub(crate) client_ended: Option<Ending>,
    pub(crate) upstream_ended: Option<Ending>,
}

impl Conversation {
    pub(crate) fn new(
        budget: &Arc<Budget>,
        mark: Arc<ConnectionMark>,
        totals: Arc<RequestTotals>,
        host: Option<String>,
    ) -> Self {
        Self {
            touched_before: mark.is_set(),
            mark,
            totals,
            host,
            together: Arc::default(),
            asked: 0,
            claims: Vec::new(),
            gate: Pipeline::new(true, Arc::clone(budget)),
            faults: Arc::new([]),
            requests: Framer::requests(Limits::default()),
            responses: Framer::responses(Limits::default()),
            unseen: None,
            exchanges: VecDeque::from([Exchange::opening(budget, Instant::now())]),
            held: 0,
            budget: Arc::clone(budget),
            up_at: 0,
            down_at: 0,
            up: Outgoing::default(),
            down: Outgoing::default(),
            owed_before: 0,
            in_request: false,
            in_interim: false,
            refused: false,
            client_ended: None,
            upstream_ended: None,
        }
    }

    /// Takes over the faults of the connection and those of its requests.
    pub(crate) fn follow(&mut self, plan: &[Arc<Claim>], faults: Arc<[Arc<ActiveFault>]>, now: Instant) {
        self.note_touched(plan);
        self.gate.follow(plan, now);
        self.faults = faults;
        self.together.keep_only(&self.faults);
        for exchange in &mut self.exchanges {
            exchange.follow(&self.faults, &self.mark, &self.totals.hit, now);
        }
    }

    /// What was read from the client; to be looked at by [`Self::advance`].
    pub(crate) fn take_from_client(&mut self, bytes: Bytes, now: Instant) {
        self.gate.push(Item::Bytes(bytes), now);
    }

    /// What was read from the upstream; to be looked at by [`Self::advance`].
    pub(crate) fn take_from_upstream(&mut self, bytes: Bytes) {
        self.unseen = Some(bytes);
    }

    /// Moves everything on that can move.
    pub(crate) fn advance(&mut self, now: Instant) {
        self.gate.advance(now);
        self.see_responses(now);
        loop {
            self.held = self.exchanges.iter().map(Exchange::held).sum();
            self.read_requests(now);
            self.exchanges.iter_mut().for_each(|exchange| exchange.advance(&self.totals.errors, now));
            let moved = [self.let_requests_out(now), self.let_responses_out(now)];
            self.forget_finished(now);
            if !moved.contains(&true) {
                return;
            }
        }
    }

    fn read_requests(&mut self, now: Instant) {
        while !self.refused && (self.in_request || self.may_begin()) {
            match self.requests.next() {
                Ok(Some(part)) => self.take_request_part(part, now),
                Ok(None) => match self.gate.next_piece() {
                    Some(bytes) => self.requests.push(bytes),
                    None => return,
                },
                Err(bad) => self.refuse_request(bad, now),
            }
        }
    }

    /// Whether another request may be under way.
    fn may_begin(&self) -> bool {
        let (count, is_hurt) = (self.exchanges.len(), !self.faults.is_empty());
        count < FEW_EXCHANGES || (is_hurt && count < MOST_EXCHANGES && self.held < MOST_HELD)
    }

    pub(super) fn take_request_part(&mut self, part: Part, now: Instant) {
        if let Part::Head(Head::Request(head)) = part {
            return self.begin(head, now);
        }
        let Some(exchange) = self.exchanges.back_mut() else { return };
        match part {
            Part::Body(body) if !exchange.caught => {
                self.held += body.raw().len();
                exchange.push_bytes(true, body.raw().clone(), now);
            }
            Part::Head(_) | Part::Body(_) => {}
            Part::End => {
                self.in_request = false;
                exchange.push_end(true, Ending::Message, now);
            }
        }
    }

    /// A request comes.
    fn begin(&mut self, head: RequestHead, now: Instant) {
        self.in_request = true;
        let request = match self.host.as_deref() {
            Some(host) => {
                let edit = Edit { remove: Vec::new(), set: vec![("Host", host)] };
                // It fails only for an address that is no value of a field, and the head goes as it came.
                head.edited(&edit).unwrap_or(head)
            }
            None => head,
        };
        self.asked += 1;
        self.replace_finished();
        let asked = Arc::new(Asked::new(request, self.asked, &self.together));
        let mut exchange = Exchange::new(Some(asked), &self.budget);
        exchange.follow(&self.faults, &self.mark, &self.totals.hit, now);
        exchange.push_request(now);
        self.count_begin(&mut exchange, true, now);
        // What a fault answers in its place is held from now on.
        exchange.advance(&self.totals.errors, now);
        self.held += exchange.held();
        self.exchanges.push_back(exchange);
    }

    /// Makes room for the next exchange where there is one that only waited for it, so that the queue need not grow.
    fn replace_finished(&mut self) {
        if self.exchanges.len() == 1 && self.exchanges.front().is_some_and(|last| last.is_finished() && last.is_over())
        {
            self.exchanges.clear();
            self.owed_before = self.down.len();
            self.together.set_first(true, self.asked);
            self.together.set_first(false, self.asked);
        }
    }

    /// The exchange whose response is read.
    pub(super) fn due(&mut self) -> Option<&mut Exchange> {
        self.exchanges.iter_mut().find(|exchange| exchange.is_due())
    }

    pub(super) fn see_responses(&mut self, now: Instant) {
        let Some(bytes) = self.unseen.take() else { return };
        self.responses.push(bytes);
        loop {
            match self.responses.next() {
                Ok(Some(part)) => self.take_response_part(part, now),
                Ok(None) => return,
                Err(bad) => return self.refuse_response(bad, now),
            }
        }
    }

    pub(super) fn take_response_part(&mut self, part: Part, now: Instant) {
        match part {
            Part::Head(Head::Response(head)) => self.begin_response(head, now),
            Part::Head(Head::Request(_)) => {}
            Part::Body(body) => {
                if let Some(due) = self.due() {
                    due.push_bytes(false, body.raw().clone(), now);
                }
            }
            Part::End if std::mem::take(&mut self.in_interim) => {}
            Part::End => {
                if let Some(due) = self.due() {
                    due.reply = Reply::Whole;
                    due.push_end(false, Ending::Message, now);
                }
            }
        }
    }

    fn begin_response(&mut self, head: ResponseHead, now: Instant) {
        self.in_interim = head.is_interim();
        let (failure, tunnel) = (head.status >= 500, head.body == BodyKind::Tunnel);
        let is_final = !self.in_interim;
        let due = self.exchanges.iter().position(Exchange::is_due);
        let is_newest = due.is_some_and(|due| due + 1 == self.exchanges.len());
        let Some(exchange) = due.and_then(|due| self.exchanges.get_mut(due)) else { return };
        if is_final {
            exchange.reply = Reply::Begun;
            if failure {
                count_failure(exchange, &self.totals);
            }
        }
        exchange.push_response(head, now);
        // Only the newest request can have asked for another protocol: none is read behind one that did.
        match (is_final && is_newest, tunnel) {
            (true, true) => {
                self.requests.tunnel();
                // What the client sends from now on is of this exchange.
                self.in_request = true;
            }
            (true, false) => self.requests.resume(),
            (false, _) => {}
        }
    }

    /// Lets out what is ready of the requests, in order; whether anything moved.
    fn let_requests_out(&mut self, now: Instant) -> bool {
        let mut moved = false;
        while let Some(exchange) = self.exchanges.get_mut(self.up_at) {
            while self.up.has_room() && !exchange.up.output().is_empty() {
                if exchange.reply == Reply::Unasked
                    && let Some(request) = exchange.request()
                {
                    // There is room: fewer exchanges are under way than responses may be due.
                    let expected = self.responses.expect(request.response_to());
                    debug_assert!(expected, "more requests under way than responses may be due");
                    exchange.reply = Reply::Due;
                }
                exchange.up.take_output().into_iter().for_each(|bytes| self.up.put(bytes));
                exchange.up.advance(now);
                moved = true;
            }
            let has_left = exchange.up.output().is_empty() && exchange.up.ending() == Some(Ending::Message);
            if !has_left || self.up_at + 1 == self.exchanges.len() {
                break;
            }
            self.up_at += 1;
            self.tell_first(true);
            moved = true;
        }
        moved
    }

    fn tell_first(&self, upstream: bool) {
        let first = self.exchanges.get(if upstream { self.up_at } else { self.down_at });
        self.together.set_first(upstream, first.map_or(0, Exchange::number));
    }

    /// The same for the responses.
    fn let_responses_out(&mut self, now: Instant) -> bool {
        let mut moved = false;
        while let Some(exchange) = self.exchanges.get_mut(self.down_at) {
            while self.down.has_room() && !exchange.down.output().is_empty() {
                exchange.down.take_output().into_iter().for_each(|bytes| self.down.put(bytes));
                exchange.down.advance(now);
                exchange.speak(now);
                moved = true;
            }
            let has_left = exchange.down.output().is_empty() && exchange.down.ending() == Some(Ending::Message);
            if has_left {
                count_end(exchange, &self.totals, &self.claims, now);
                if exchange.close_if_told(now) {
                    break;
                }
            }
            if has_left && self.down_at + 1 == self.exchanges.len() && self.requests.is_paused() {
                // It was a fault that answered who wanted another protocol.
                self.requests.resume();
                moved = true;
            }
            if !has_left || self.down_at + 1 == self.exchanges.len() {
                break;
            }
            self.down_at += 1;
            self.tell_first(false);
            self.owed_before = self.down.len();
            moved = true;
        }
        moved
    }

    /// Lets go of exchanges that are over.
    fn forget_finished(&mut self, now: Instant) {
        while self.up_at > 0 && self.down_at > 0 {
            self.exchanges.pop_front();
            (self.up_at, self.down_at) = (self.up_at - 1, self.down_at - 1);
        }
        let paused = self.requests.is_paused();
        if self.exchanges.len() == 1
            && let Some(last) = self.exchanges.front_mut()
            && !last.is_finished()
            && !self.in_request
            && !paused
            && last.is_over()
        {
            last.finish(now);
            // It stays while the connection is idle; room for many more is taken again when they come.
            self.exchanges.shrink_to(1);
        }
    }

    /// So many bytes were written to the client.
    pub(crate) fn client_took(&mut self, bytes: usize) {
        self.owed_before = self.owed_before.saturating_sub(bytes);
        self.down.take(bytes);
    }

    /// So many bytes were written to the upstream.
    pub(crate) fn upstream_took(&mut self, bytes: usize) {
        self.up.take(bytes);
    }

    /// Whether the client is to be read.
    pub(crate) fn client_appetite(&self) -> Appetite {
        if self.client_ended.is_some() || self.refused || self.requests.is_paused() {
            return Appetite::Full;
        }
        if !self.in_request && !self.may_begin() {
            return Appetite::Full;
        }
        match (self.gate.appetite(), self.exchanges.back()) {
            (Appetite::Hungry, Some(last)) if self.in_request || last.up.forbids_reading() => last.up.appetite(),
            (appetite, _) => appetite,
        }
    }

    /// Whether the upstream is to be read.
    pub(crate) fn upstream_appetite(&self) -> Appetite {
        if self.upstream_ended.is_some() {
            return Appetite::Full;
        }
        let Some(at) = self.exchanges.iter().position(Exchange::is_due) else { return Appetite::Hungry };
        if at >= self.down_at + FEW_EXCHANGES && self.held >= MOST_HELD {
            return Appetite::Full;
        }
        self.exchanges[at].down.appetite()
    }

    /// There is something to read that a fault forbids to read.
    pub(crate) fn tell_unread(&mut self, upstream: bool, now: Instant) {
        match upstream {
            true => {
                self.gate.tell_unread(now);
                if let Some(last) = self.exchanges.back_mut() {
                    last.up.tell_unread(now);
                }
            }
            false => {
                if let Some(due) = self.due() {
                    due.down.tell_unread(now);
                }
            }
        }
    }

    /// Whether the client is left unread by a fault, or waits for an answer before it may go on.
    pub(crate) fn leaves_client_unread(&self) -> bool {
        let last = self.exchanges.back().is_some_and(|last| last.up.forbids_reading());
        last || self.gate.forbids_reading() || self.requests.is_paused() || self.refused
    }

    /// Whether there must be an upstream: at once, but where a fault may answer in its place.
    pub(crate) fn wants_upstream(&self) -> bool {
        let replaceable = self.faults.iter().any(|fault| answers(&fault.kind()));
        !self.gate.replaces_upstream() && (!replaceable || !self.up.is_empty())
    }

    /// Whether something of the client's is on its way to the upstream that time alone brings there.
    pub(crate) fn owes_upstream(&self, now: Instant) -> bool {
        !self.up.is_empty() || self.exchanges.iter().any(|exchange| exchange.up.next_wake(now).is_some())
    }

    /// When time alone moves something.
    pub(crate) fn next_wake(&self, now: Instant) -> Option<Instant> {
        let exchanges = self.exchanges.iter().filter_map(|exchange| exchange.next_wake(now));
        exchanges.chain(self.gate.next_wake(now)).min()
    }
}
