//! A fault at random: any kind that runs on a protocol, with parameters that make sense.
//!
//! Used by `chaos`. Invariant: kinds come from the catalogue, so that a kind that is added there is soaked, or refused
//! by [`parameters`], which a test holds together.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use squall_wire::{FaultKind, Protocol};

/// Kinds that may change what passes.
const CHANGE_CONTENT: [&str; 7] =
    ["garbage", "corrupt", "http_status", "http_headers", "http_body", "http_unauthorized", "duplicate"];

/// A whole fault for a proxy of this protocol; `exact`: one that changes nothing that passes.
pub(crate) fn any(chance: &mut ChaCha8Rng, protocol: Protocol, exact: bool) -> (&'static str, Value) {
    let fitting: Vec<_> = FaultKind::CATALOGUE
        .iter()
        .filter(|kind| kind.protocols.contains(&protocol) && !(exact && CHANGE_CONTENT.contains(&kind.name)))
        .map(|kind| kind.name)
        .collect();
    let kind = fitting[chance.random_range(0..fitting.len())];
    let mut fault = json!({
        "fault": { kind: parameters(chance, kind) },
        "expires_in": format!("{}ms", chance.random_range(200..5000)),
        "seed": chance.random_range(0..1_u64 << 53),
    });
    // What closes the listener is for everybody.
    if !matches!(kind, "refuse" | "flap") {
        if chance.random_bool(0.6) {
            fault["percent"] = json!(chance.random_range(1..100));
        }
        if chance.random_bool(0.1) {
            fault["skip"] = json!(chance.random_range(0..5));
        }
        if chance.random_bool(0.1) {
            fault["count"] = json!(chance.random_range(1..20));
        }
    }
    if matches!(kind, "latency" | "bandwidth" | "drip" | "stall" | "blackhole" | "unread" | "truncate" | "slow_close") {
        fault["direction"] = json!(["upstream", "downstream", "both"][chance.random_range(0..3)]);
    }
    (kind, fault)
}

/// Parameters of a kind.
pub(crate) fn parameters(chance: &mut ChaCha8Rng, kind: &str) -> Value {
    let mut millis = |from: u32, to: u32| format!("{}ms", chance.random_range(from..to));
    match kind {
        "latency" => json!({"delay": millis(1, 300), "jitter": millis(0, 50)}),
        "bandwidth" => json!({"rate": format!("{}KB/s", chance.random_range(10..5000))}),
        "slow_accept" => json!({"delay": millis(1, 300)}),
        "slow_close" => json!({"delay": millis(1, 500)}),
        "drip" => json!({"bytes": chance.random_range(1..2000), "every": "5ms"}),
        "stall" => json!({"every": "200ms", "for": millis(1, 150)}),
        "blackhole" => [json!({}), json!({"close_after": millis(1, 500)})][chance.random_range(0..2)].clone(),
        "reset" => [json!({}), json!({"after": millis(1, 200)}), json!({"after_bytes": "3KiB"})]
            [chance.random_range(0..3)]
        .clone(),
        "truncate" => {
            let then = ["close", "reset", "blackhole"][chance.random_range(0..3)];
            json!({"bytes": format!("{}B", chance.random_range(0..9000)), "then": then})
        }
        "connection_limit" => {
            let then = ["refuse", "queue"][chance.random_range(0..2)];
            json!({"max": chance.random_range(0..8), "then": then})
        }
        "flap" => json!({"up": millis(50, 300), "down": millis(20, 200)}),
        "garbage" => {
            let style = ["random", "http_noise", "html", "endless", "banner"][chance.random_range(0..5)];
            let then = ["close", "reset", "hang"][chance.random_range(0..3)];
            json!({"style": style, "then": then})
        }
        "corrupt" => json!({"rate": 0.01}),
        "http_status" => json!({"status": ([200, 404, 429, 500, 503][chance.random_range(0..5)])}),
        "http_latency" => {
            json!({"delay": millis(1, 300), "at": (["request", "headers", "body"][chance.random_range(0..3)])})
        }
        "http_headers" => json!({"set": {"X-Soak": "1"}, "remove": ["Date"]}),
        "http_body" => [
            json!({"replace": "other"}),
            json!({"truncate": "10B"}),
            json!({"truncate": "10B", "mismatch": true}),
            json!({"hang": true}),
            json!({"oversize": "100KiB"}),
        ][chance.random_range(0..5)]
        .clone(),
        "packet_loss" => json!({"loss": chance.random_range(1..30)}),
        "loss" => json!({"percent": chance.random_range(1..100)}),
        "duplicate" => json!({"copies": chance.random_range(1..4)}),
        "reorder" => json!({"depth": chance.random_range(1..5)}),
        // `unread`, `refuse`, `http_unauthorized` have none.
        _ => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::any;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use squall_wire::{FaultKind, FaultSpec, Protocol};
    use std::collections::BTreeSet;

    #[test]
    fn every_fault_that_is_drawn_is_sound_and_every_kind_is_drawn() {
        let mut chance = ChaCha8Rng::seed_from_u64(1);
        let mut drawn = BTreeSet::new();
        for _ in 0..1000 {
            for protocol in [Protocol::Tcp, Protocol::Http, Protocol::Udp] {
                let (kind, fault) = any(&mut chance, protocol, false);
                let spec: FaultSpec = serde_json::from_value(fault.clone()).unwrap();
                let mistakes = spec.mistakes_on(protocol);
                // A datagram proxy has no connection to close.
                assert!(
                    mistakes.is_empty() || protocol == Protocol::Udp && kind == "blackhole",
                    "{fault}: {mistakes:?}"
                );
                drawn.insert(kind);
            }
        }
        assert_eq!(drawn, FaultKind::CATALOGUE.iter().map(|kind| kind.name).collect());
    }
}
