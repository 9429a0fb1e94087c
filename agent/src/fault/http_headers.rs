//! `http_headers`: headers of the request or of the response are set and taken away.
//!
//! A header that is set stands in the place of the first of its name; one that is in neither list stays as it is, byte
//! for byte. Interim responses pass as they are. What frames a message cannot be changed here (`http_body` does that).
//!
//! Acts (and counts a hit) when a head comes that it changes.
//!
//! Invariant: only heads change.

use super::{Asked, Item, Stage, StageContext, hold::Hold, http_latency::is_interim};
use crate::http::{Edit, Head};
use squall_wire::{FaultKind, fault::HttpHeaders};
use std::{collections::VecDeque, sync::Arc, time::Instant};

/// Edits the head of one message.
pub(crate) struct Editor {
    headers: HttpHeaders,
    asked: Option<Arc<Asked>>,
    hold: Hold,
}

impl Editor {
    pub(crate) fn new(headers: HttpHeaders, context: &StageContext<'_>) -> Self {
        Self { headers, asked: context.asked.cloned(), hold: Hold::default() }
    }

    fn edit(&self) -> Edit<'_> {
        Edit {
            remove: self.headers.remove.iter().map(String::as_str).collect(),
            set: self.headers.set.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        }
    }

    fn changed(&self, head: Box<Head>) -> Box<Head> {
        let Some(changed) = edited(&head, &self.edit(), self.asked.as_ref()) else { return head };
        if let (Head::Response(before), Head::Response(after)) = (&*head, &*changed)
            && before.keep_alive
            && !after.keep_alive
            && let Some(asked) = &self.asked
        {
            asked.close();
        }
        changed
    }
}

/// The same head with its fields changed; none if that made it one that nobody would read.
pub(super) fn edited(head: &Head, edit: &Edit<'_>, asked: Option<&Arc<Asked>>) -> Option<Box<Head>> {
    let to = asked.map(|asked| asked.request.response_to()).unwrap_or_default();
    let edited = match head {
        Head::Request(head) => head.edited(edit).map(Head::Request),
        Head::Response(head) => head.edited(edit, to).map(Head::Response),
    };
    edited.map(Box::new).inspect_err(|error| tracing::debug!(%error, "a head that could not be changed")).ok()
}

impl Stage for Editor {
    fn accepts(&self) -> bool {
        !self.hold.is_full()
    }

    fn reads_heads(&self) -> bool {
        true
    }

    fn touches(&self, item: &Item, _: Instant) -> bool {
        matches!(item, Item::Head(head) if !is_interim(head) && self.edit().changes(head.fields()))
    }

    fn push(&mut self, item: Item, now: Instant) {
        let changes = self.touches(&item, now);
        self.hold.push(match item {
            Item::Head(head) if changes => Item::Head(self.changed(head)),
            item => item,
        });
    }

    fn pull(&mut self, _: Instant) -> Option<Item> {
        self.hold.pop()
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        (!self.hold.is_empty()).then_some(now)
    }

    fn change(&mut self, kind: &FaultKind, _: Instant) {
        if let FaultKind::HttpHeaders(headers) = kind {
            self.headers = headers.clone();
        }
    }

    fn release(&mut self) -> VecDeque<Item> {
        self.hold.release()
    }
}
