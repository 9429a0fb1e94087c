//! How a conversation ends: a peer's stream that ends, a message that is refused, a fault that ends an exchange.
//!
//! Neighbours: `conversation.rs`, whose state this is; `connection.rs` asks for the verdict and acts on it.
//!
//! Invariant: an end has its place in the stream: what came before it arrives, what comes after it does not.

use super::{
    BadMessage, Side,
    conversation::Conversation,
    count::{count_end, count_failure},
    exchange::{Exchange, Reply},
};
use crate::fault::Ending;
use std::{sync::Arc, time::Instant};

impl Conversation {
    /// The client's stream ended.
    pub(crate) fn end_client(&mut self, ending: Ending, now: Instant) {
        self.client_ended = self.client_ended.max(Some(ending));
        if ending == Ending::Eof && !self.refused {
            loop {
                match self.requests.end() {
                    Ok(Some(part)) => self.take_request_part(part, now),
                    // What came of a body goes on as it is, and so does its end.
                    Err(bad) if !self.in_request => return self.refuse_request(bad, now),
                    Ok(None) | Err(_) => break,
                }
            }
        }
        if let Some(last) = self.exchanges.back_mut() {
            last.push_end(true, ending, now);
        }
    }

    /// The upstream's stream ended, or there will be none.
    pub(crate) fn end_upstream(&mut self, ending: Ending, now: Instant) {
        self.see_responses(now);
        self.upstream_ended = self.upstream_ended.max(Some(ending));
        if ending == Ending::Eof && self.cut_off_in_head(now) {
            return;
        }
        let unanswered = |exchange: &Exchange| exchange.reply != Reply::Whole && !exchange.caught;
        let last = self.exchanges.len() - 1;
        let at = self.exchanges.iter().position(unanswered).unwrap_or(last);
        self.exchanges[at].push_end(false, ending, now);
    }

    /// Takes what the stream's end tells of the response under way; true if that is refused, for its head is not whole.
    fn cut_off_in_head(&mut self, now: Instant) -> bool {
        loop {
            match self.responses.end() {
                Ok(Some(part)) => self.take_response_part(part, now),
                Err(BadMessage::CutOff) if self.due().is_some_and(|due| due.reply == Reply::Due) => {
                    self.refuse_response(BadMessage::CutOff, now);
                    return true;
                }
                Ok(None) | Err(_) => return false,
            }
        }
    }

    /// The client sent what is no HTTP: nothing after it is.
    pub(super) fn refuse_request(&mut self, bad: BadMessage, now: Instant) {
        tracing::debug!(%bad, "a request that is refused");
        self.refused = true;
        if !std::mem::take(&mut self.in_request) {
            let mut exchange = Exchange::new(None, &self.budget);
            exchange.push_end(true, Ending::Message, now);
            self.count_begin(&mut exchange, false, now);
            self.exchanges.push_back(exchange);
        }
        let Some(exchange) = self.exchanges.back_mut() else { return };
        count_failure(exchange, &self.totals);
        exchange.refuse(bad.status(Side::Request), &bad, now);
    }

    /// The upstream sent what is no HTTP, or what nobody asked for.
    pub(super) fn refuse_response(&mut self, bad: BadMessage, now: Instant) {
        tracing::debug!(%bad, "a response that is refused");
        let totals = Arc::clone(&self.totals);
        match self.due() {
            Some(due) => {
                count_failure(due, &totals);
                due.refuse(bad.status(Side::Response), &bad, now);
            }
            None => {
                if let Some(last) = self.exchanges.back_mut() {
                    last.push_end(false, Ending::Close, now);
                }
            }
        }
    }

    /// Whether a peer, a fault or a refusal ends the connection, and how.
    pub(crate) fn verdict(&self) -> Option<Ending> {
        if let Some(ending) = self.gate.ending() {
            return Some(ending);
        }
        for (at, exchange) in self.exchanges.iter().enumerate().take(self.down_at + 1) {
            let Some((ending, after_requests)) = exchange.verdict() else { continue };
            if ending == Ending::Abort {
                // What answers earlier requests arrives first.
                let first = at < self.down_at || exchange.speaks;
                return (self.owed_before == 0).then_some(if first { ending } else { Ending::Reset });
            }
            let waits = !self.down.is_empty() || (after_requests && (!self.up.is_empty() || self.up_at < at));
            return (!waits).then_some(ending);
        }
        None
    }

    /// Whether all requests have left, and so has the end of the client's stream.
    pub(crate) fn up_is_over(&self) -> bool {
        let over = |exchange: &Exchange| {
            exchange.up.output().is_empty() && exchange.up.ending().is_some_and(|ending| ending >= Ending::Eof)
        };
        self.up.is_empty() && self.exchanges.get(self.up_at).is_some_and(over)
    }

    /// Whether all responses have left, and so has the end of the upstream's stream.
    pub(crate) fn down_is_over(&self) -> bool {
        let over = |exchange: &Exchange| {
            exchange.down.output().is_empty() && exchange.down.ending().is_some_and(|ending| ending >= Ending::Eof)
        };
        self.down.is_empty() && self.exchanges.get(self.down_at).is_some_and(over)
    }

    /// Whether every request has been answered, and nothing is left to be written.
    pub(crate) fn is_idle(&self) -> bool {
        let whole = |exchange: &Exchange| exchange.down.ending().is_some() && exchange.down.output().is_empty();
        self.down.is_empty() && self.down_at + 1 == self.exchanges.len() && self.exchanges.back().is_some_and(whole)
    }

    /// The connection is over: counts the requests that were not answered.
    pub(crate) fn close(&mut self, now: Instant) {
        for exchange in self.exchanges.iter_mut().skip(self.down_at) {
            if !exchange.was_answered() {
                count_failure(exchange, &self.totals);
            }
            count_end(exchange, &self.totals, &self.claims, now);
        }
    }
}
