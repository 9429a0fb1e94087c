//! Any bytes as what `/v1` reads: faults, proxies, leases and changes of them.
//!
//! Above `squall_wire` and `http`. What is promised: no panic, neither in reading nor in looking for mistakes; what was
//! read is written so that it is read again as the same; and headers without mistakes are headers in a message, and
//! nothing else.

use super::Transcript;
use crate::http::{Framer, Limits, MOST_FIELDS};
use serde::{Serialize, de::DeserializeOwned};
use squall_wire::{
    FaultKind, FaultPatch, FaultSpec, LeaseRenewal, LeaseRequest, Protocol, ProxyPatch, ProxySpec, fault::RequestLine,
};
use std::{collections::BTreeMap, fmt::Debug};

/// Checks every shape that these bytes can be read as.
pub fn fault_json(bytes: &[u8]) {
    if let Some(spec) = there_and_back::<FaultSpec>(bytes) {
        check(&spec);
    }
    there_and_back::<FaultPatch>(bytes);
    if let Some(spec) = there_and_back::<ProxySpec>(bytes) {
        assert!(spec.mistakes().iter().all(|(field, message)| !field.is_empty() && !message.is_empty()));
    }
    there_and_back::<ProxyPatch>(bytes);
    there_and_back::<LeaseRequest>(bytes);
    there_and_back::<LeaseRenewal>(bytes);
}

fn check(spec: &FaultSpec) {
    let mistakes = spec.mistakes();
    for protocol in [Protocol::Tcp, Protocol::Http, Protocol::Udp] {
        assert!(spec.mistakes_on(protocol).starts_with(&mistakes), "a mistake is one on every protocol");
    }
    let headers: [(&str, &[u8]); 2] = [("Host", b"shop"), ("X-Canary", b"blue\xff")];
    let _ = spec.only.matches_request(&RequestLine { method: "GET", target: "/a/b?page=2&x=%ff", headers: &headers });
    if !mistakes.is_empty() {
        return;
    }
    match &spec.fault {
        FaultKind::HttpHeaders(headers) => are_headers(&headers.set),
        FaultKind::HttpStatus(status) => are_headers(&status.headers),
        _ => {}
    }
}

/// A header that ended its line, or the head, would make other messages of what follows.
fn are_headers(set: &BTreeMap<String, String>) {
    let lines: String = set.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("GET / HTTP/1.0\r\n{lines}\r\n");
    let limits = Limits { head: 1 << 20, ..Limits::default() };
    let told = Transcript::of(&mut Framer::requests(limits), head.as_bytes(), std::iter::empty(), Framer::resume);
    if set.len() <= MOST_FIELDS {
        assert!(told.error.is_none() && told.raw == head.as_bytes(), "{head:?} is {told}");
    }
}

/// The value that the bytes are, if they are one.
pub(super) fn there_and_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(bytes).ok()?;
    same_again(&value);
    Some(value)
}

pub(super) fn same_again<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let text = serde_json::to_string(value);
    let again = text.as_deref().map(serde_json::from_str::<T>);
    assert!(matches!(&again, Ok(Ok(again)) if again == value), "{value:?} is {text:?} and that is {again:?}");
}
