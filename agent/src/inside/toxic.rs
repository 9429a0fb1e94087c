//! Any bytes as what Toxiproxy's clients send: a toxic, a change of one, and a list of proxies with toxics.
//!
//! Above `toxiproxy`. What is promised: no panic; a toxic that is taken makes a fault without mistakes, or none; it is
//! shown so that it is read again as the same; and its fault, told back to it, leaves it doing the same.

use super::json::same_again;
use crate::toxiproxy::{ProxyInput, Toxic, ToxicInput, ToxicPatch, prepared};
use std::net::{IpAddr, Ipv4Addr};

/// One toxic of each type, for changes to be laid over.
const TOXICS: [&str; 8] = [
    r#"{"type":"latency","attributes":{"latency":100,"jitter":10}}"#,
    r#"{"type":"bandwidth","attributes":{"rate":10}}"#,
    r#"{"type":"slow_close","attributes":{"delay":10}}"#,
    r#"{"type":"timeout"}"#,
    r#"{"type":"reset_peer"}"#,
    r#"{"type":"slicer","attributes":{"average_size":10,"size_variation":5,"delay":10}}"#,
    r#"{"type":"limit_data","attributes":{"bytes":10}}"#,
    r#"{"type":"noop","toxicity":0.5}"#,
];

/// Checks every shape that these bytes can be read as.
pub fn toxic(bytes: &[u8]) {
    if let Ok(toxic) = serde_json::from_slice(bytes).map(ToxicInput::parsed) {
        toxic.iter().for_each(check);
    }
    if let Ok(patch) = serde_json::from_slice::<ToxicPatch>(bytes) {
        let before = TOXICS.iter().filter_map(|text| read(text));
        before.filter_map(|toxic| toxic.patched(&patch).ok()).for_each(|toxic| check(&toxic));
    }
    let proxies = serde_json::from_slice::<Vec<ProxyInput>>(bytes).unwrap_or_default();
    for planned in prepared(&proxies, IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap_or_default() {
        same_again(&planned.spec);
        planned.toxics.iter().for_each(check);
    }
}

fn read(text: &str) -> Option<Toxic> {
    serde_json::from_str::<ToxicInput>(text).ok()?.parsed().ok()
}

fn check(toxic: &Toxic) {
    let shown = serde_json::to_string(&toxic.view()).unwrap_or_default();
    assert_eq!(read(&shown).as_ref(), Some(toxic), "shown as {shown}");
    let Some(fault) = toxic.fault() else { return };
    assert_eq!(fault.mistakes(), [], "{toxic:?} makes a fault with mistakes");
    same_again(&fault);
    let mut followed = toxic.clone();
    followed.follow(Some(&fault.fault), Some(fault.percent));
    assert_eq!(followed.fault(), Some(fault), "{toxic:?} does not follow its own fault");
}
