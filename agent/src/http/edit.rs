//! Heads with fields set and taken away, everything else byte for byte as it came.
//!
//! Used where a fault or the proxy changes a head. What comes out is read anew, so a head always says what its bytes
//! say.
//!
//! Invariant: the start line and the lines of fields that are not named stay as they are and where they are.

use super::{
    error::BadMessage,
    head::{Fields, RequestHead, ResponseHead, ResponseTo},
};
use bytes::{Bytes, BytesMut};

/// What is changed in a head; names know no upper and lower case.
#[derive(Debug, Default)]
pub(crate) struct Edit<'a> {
    /// Fields of these names go.
    pub(crate) remove: Vec<&'a str>,
    /// These are set: in the place of the first of that name, or at the end.
    pub(crate) set: Vec<(&'a str, &'a str)>,
}

impl Edit<'_> {
    /// Whether it changes anything in a head with these fields.
    pub(crate) fn changes(&self, fields: &Fields) -> bool {
        self.remove.iter().any(|name| fields.has(name))
            || self.set.iter().any(|(name, value)| !fields.all(name).eq(std::iter::once(value.as_bytes())))
    }

    /// Fields of what comes out, at most: an edit is not held to the limit that a peer's head is held to.
    fn most_fields(&self, fields: &Fields) -> usize {
        fields.places.len() + self.set.len()
    }

    fn names(&self, name: &str) -> bool {
        let set = self.set.iter().map(|(name, _)| name);
        self.remove.iter().chain(set).any(|named| named.eq_ignore_ascii_case(name))
    }

    fn apply(&self, fields: &Fields) -> Bytes {
        // A head ends with an empty line.
        let end = fields.raw.len().saturating_sub(2);
        let begin = |at: usize| fields.places.get(at).map_or(end, |(name, _)| name.start as usize);
        let mut out = BytesMut::with_capacity(fields.raw.len() + 128);
        let mut written = vec![false; self.set.len()];
        out.extend_from_slice(&fields.raw[..begin(0)]);
        for (at, (name, _)) in fields.iter().enumerate() {
            if !self.names(name) {
                out.extend_from_slice(&fields.raw[begin(at)..begin(at + 1)]);
            }
            for (place, (set, value)) in self.set.iter().enumerate() {
                if set.eq_ignore_ascii_case(name) && !std::mem::replace(&mut written[place], true) {
                    write_field(&mut out, set, value);
                }
            }
        }
        for ((name, value), written) in self.set.iter().zip(written) {
            if !written {
                write_field(&mut out, name, value);
            }
        }
        out.extend_from_slice(b"\r\n");
        out.freeze()
    }
}

fn write_field(out: &mut BytesMut, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

impl RequestHead {
    /// The same request with its fields changed.
    ///
    /// # Errors
    /// When it is a good head no longer, for a name or a value is none.
    pub(crate) fn edited(&self, edit: &Edit<'_>) -> Result<Self, BadMessage> {
        Self::parse_written(&edit.apply(self.fields()), edit.most_fields(self.fields()))
    }
}

impl ResponseHead {
    /// The same response with its fields changed; `to` is what it answers.
    ///
    /// # Errors
    /// When it is a good head no longer, for a name or a value is none.
    pub(crate) fn edited(&self, edit: &Edit<'_>, to: ResponseTo) -> Result<Self, BadMessage> {
        Self::parse_written(&edit.apply(self.fields()), to, edit.most_fields(self.fields()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Edit, RequestHead};
    use crate::http::MOST_FIELDS;

    fn edited(head: &'static str, remove: &[&str], set: &[(&str, &str)]) -> String {
        let head = RequestHead::parse(head.into()).unwrap();
        let edit = Edit { remove: remove.to_vec(), set: set.to_vec() };
        let after = if edit.changes(head.fields()) { head.edited(&edit).unwrap() } else { head };
        String::from_utf8(after.raw().to_vec()).unwrap()
    }

    #[test]
    fn fields_are_set_in_place_or_at_the_end_and_all_others_stay_to_the_byte() {
        let head = "GET /  HTTP/1.1\r\nhost:a\r\nX-One:   1  \r\nx-one: 2\r\nB:\tb\r\n\r\n".replace("/  ", "/ ");
        let head: &'static str = head.leak();
        assert_eq!(
            edited(head, &["b"], &[("X-ONE", "3"), ("New", "n")]),
            "GET / HTTP/1.1\r\nhost:a\r\nX-ONE: 3\r\nNew: n\r\n\r\n"
        );
        assert_eq!(edited(head, &[], &[]), head);
        assert_eq!(edited(head, &["none"], &[("HOST", "a")]), head, "it is so already");
    }

    #[test]
    fn a_head_without_fields_gets_its_first() {
        assert_eq!(edited("GET / HTTP/1.0\r\n\r\n", &["a"], &[("A", "b")]), "GET / HTTP/1.0\r\nA: b\r\n\r\n");
    }

    #[test]
    fn a_full_head_takes_more_fields_from_us_and_again() {
        let full = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(MOST_FIELDS)).leak();
        let once = edited(full, &[], &[("New", "1"), ("Other", "2")]);
        assert!(once.ends_with("A: b\r\nNew: 1\r\nOther: 2\r\n\r\n"), "{once}");
        let head = RequestHead::parse(full.as_bytes().into()).unwrap();
        let more = Edit { remove: Vec::new(), set: vec![("New", "1")] };
        let again = Edit { remove: Vec::new(), set: vec![("Newer", "2")] };
        let twice = head.edited(&more).unwrap().edited(&again).unwrap();
        assert_eq!(twice.fields().iter().count(), MOST_FIELDS + 2);
        assert!(RequestHead::parse(twice.raw().clone()).is_err(), "a peer may not send as many");
    }
}
