//! Any bytes as what `/v1` reads: faults, proxies, leases and changes of them.
//!
//! Above `squall_wire`. What is promised: no panic, neither in reading nor in looking for mistakes; and what was read
//! is written so that it is read again as the same.

use serde::{Serialize, de::DeserializeOwned};
use squall_wire::{FaultPatch, FaultSpec, LeaseRenewal, LeaseRequest, ProxyPatch, ProxySpec};
use std::fmt::Debug;

/// Checks every shape that these bytes can be read as.
pub fn fault_json(bytes: &[u8]) {
    if let Some(spec) = there_and_back::<FaultSpec>(bytes) {
        for mistake in spec.mistakes() {
            assert!(!mistake.field.is_empty() && !mistake.message.is_empty(), "a mistake says nothing");
        }
    }
    there_and_back::<FaultPatch>(bytes);
    there_and_back::<ProxySpec>(bytes);
    there_and_back::<ProxyPatch>(bytes);
    there_and_back::<LeaseRequest>(bytes);
    there_and_back::<LeaseRenewal>(bytes);
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
