//! The clients: each does one exchange after another on a proxy drawn from its own random stream, until told to stop.
//!
//! `tcp`, `http` and `udp` have one exchange each; `checkpoint` starts the clients anew for every round.
//! Invariant: an exchange has a limit, and what comes back is compared with what was sent, to the byte.

mod http;
mod tcp;
mod udp;

use crate::{
    ledger::{Ended, Ledger},
    site::Place,
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use squall_wire::Protocol;
use std::{sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

/// An exchange may take so long; faults make some hang.
const LIMIT: Duration = Duration::from_secs(3);

/// How many clients, and what they draw from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crowd {
    pub(crate) clients: u32,
    pub(crate) pause: Duration,
    pub(crate) seed: u64,
}

/// Starts the clients of a round.
pub(crate) fn start(
    crowd: Crowd,
    places: &[Arc<Place>],
    ledger: &Arc<Ledger>,
    stop: &CancellationToken,
) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for number in 0..crowd.clients {
        let (places, ledger, stop) = (places.to_vec(), Arc::clone(ledger), stop.clone());
        clients.spawn(async move {
            let mut chance = SmallRng::seed_from_u64(crowd.seed ^ (u64::from(number) << 32));
            // Some keep their connections between requests, others do not.
            let http = http::client(number.is_multiple_of(2));
            while !stop.is_cancelled() {
                let place = &places[chance.random_range(0..places.len())];
                let sent = payload(&mut chance, most(place.protocol));
                let length = sent.len() as u64;
                let ended = exchange(place, sent, http.as_ref()).await;
                ledger.exchange(place.protocol, place.exact, ended, length);
                sleep(crowd.pause.mul_f64(chance.random_range(0.5..1.5))).await;
            }
        });
    }
    clients
}

/// One exchange on this proxy.
pub(crate) async fn exchange(place: &Place, sent: Vec<u8>, http: Option<&reqwest::Client>) -> Ended {
    let exchange = async {
        match (place.protocol, http) {
            (Protocol::Tcp, _) => tcp::exchange(place.address(), sent).await,
            (Protocol::Udp, _) => udp::exchange(place.address(), sent).await,
            (Protocol::Http, Some(client)) => http::exchange(client, place.address(), sent).await,
            (Protocol::Http, None) => Ended::Other("there is no HTTP client".into()),
        }
    };
    tokio::time::timeout(LIMIT, exchange).await.unwrap_or(Ended::Cut)
}

/// An exchange on a proxy that nothing is wrong with: it must be whole, and a large one.
pub(crate) async fn verify(place: &Place, seed: u64) -> Result<(), String> {
    let mut chance = SmallRng::seed_from_u64(seed);
    let largest = if place.protocol == Protocol::Udp { 60_000 } else { 1 << 20 };
    let mut sent = vec![0; largest];
    chance.fill(&mut sent[..]);
    let ended = exchange(place, sent, http::client(false).as_ref()).await;
    match ended {
        Ended::Whole => Ok(()),
        other => Err(format!("{} after healing: {other:?}", place.name)),
    }
}

/// The largest payload of an exchange under load.
fn most(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Tcp | Protocol::Http => 256 * 1024,
        Protocol::Udp => 8 * 1024,
    }
}

/// Mostly small, now and then large.
fn payload(chance: &mut SmallRng, most: usize) -> Vec<u8> {
    let limit = if chance.random_bool(0.1) { most } else { most / 64 };
    let mut bytes = vec![0; chance.random_range(1..=limit)];
    chance.fill(&mut bytes[..]);
    bytes
}

/// What came back, against what was sent.
fn compared(sent: &[u8], got: &[u8]) -> Ended {
    if got == sent {
        return Ended::Whole;
    }
    if sent.starts_with(got) {
        return Ended::Cut;
    }
    let at = sent.iter().zip(got).position(|(a, b)| a != b).unwrap_or(sent.len());
    Ended::Other(format!("of {} bytes sent, {} came back, and they differ from byte {at} on", sent.len(), got.len()))
}

#[cfg(test)]
mod tests {
    use super::{Ended, compared};

    #[test]
    fn a_beginning_is_cut_and_anything_else_is_told() {
        assert!(matches!(compared(b"abc", b"abc"), Ended::Whole));
        assert!(matches!(compared(b"abc", b"ab"), Ended::Cut));
        assert!(matches!(compared(b"abc", b""), Ended::Cut));
        for other in [&b"abd"[..], b"abcd", b"bc"] {
            assert!(matches!(compared(b"abc", other), Ended::Other(_)), "{other:?}");
        }
    }
}
