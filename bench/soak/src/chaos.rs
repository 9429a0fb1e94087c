//! What happens to the agent at random, from a seed: faults set, changed and removed, leases taken, left and ended, proxies
//! switched, moved, remade and led to nowhere.
//!
//! Runs beside the load until told to stop; `checkpoint` cleans up after it. Invariant: the same seed asks for the same
//! things in the same order, however long the agent takes to do them.

use crate::{
    agent::Answer,
    faults,
    ledger::Ledger,
    site::{Place, Site},
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use reqwest::Method;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Leases that are remembered, at most; older ones run out by themselves.
const REMEMBERED: usize = 8;

/// The one who causes it all.
pub(crate) struct Chaos<'a> {
    pub(crate) site: &'a Site,
    pub(crate) ledger: &'a Ledger,
    pub(crate) chance: ChaCha8Rng,
    /// Leases that were taken, some of which have ended since.
    leases: Vec<Value>,
}

impl<'a> Chaos<'a> {
    pub(crate) fn new(site: &'a Site, ledger: &'a Ledger, chance: ChaCha8Rng) -> Self {
        Self { site, ledger, chance, leases: Vec::new() }
    }

    /// One deed after another.
    pub(crate) async fn run(&mut self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let place = Arc::clone(&self.site.places[self.chance.random_range(0..self.site.places.len())]);
            match self.chance.random_range(0..100) {
                0..50 => self.set(&place).await,
                50..65 => self.change(&place).await,
                65..80 => self.remove(&place).await,
                80..86 => self.lease(&place).await,
                86..89 => self.end_lease().await,
                89..91 => drop(self.ask("heal everything", Method::DELETE, "/v1/faults", None, None).await),
                91..94 => self.switch(&place).await,
                94..96 => self.patch(&place, "move a proxy", json!({"listen": "127.0.0.1:0"})).await,
                96..98 => self.remake(&place).await,
                _ => self.mislead(&place).await,
            }
            sleep(Duration::from_millis(self.chance.random_range(5..100))).await;
        }
    }

    async fn set(&mut self, place: &Place) {
        let (kind, fault) = faults::any(&mut self.chance, place.protocol, place.exact);
        let path = format!("{}/faults", place.path());
        let lease = self.any_lease();
        if let Some(Answer { status: 200..300, .. }) =
            self.ask("set a fault", Method::POST, &path, lease.as_deref(), Some(&fault)).await
        {
            self.ledger.fault(kind);
        }
    }

    async fn change(&mut self, place: &Place) {
        let Some((name, kind)) = self.any_fault(place).await else { return };
        let patch = if self.chance.random_bool(0.5) && !matches!(kind.as_str(), "refuse" | "flap") {
            json!({"percent": self.chance.random_range(0..=100)})
        } else {
            json!({"fault": { kind.as_str(): faults::parameters(&mut self.chance, &kind) }})
        };
        let lease = self.any_lease();
        let path = format!("{}/faults/{name}", place.path());
        self.ask("change a fault", Method::PATCH, &path, lease.as_deref(), Some(&patch)).await;
    }

    async fn remove(&mut self, place: &Place) {
        let Some((name, _)) = self.any_fault(place).await else { return };
        let lease = self.any_lease();
        let path = format!("{}/faults/{name}", place.path());
        self.ask("remove a fault", Method::DELETE, &path, lease.as_deref(), None).await;
    }

    /// Takes one and leaves it to its fate.
    async fn lease(&mut self, place: &Place) {
        let ttl = format!("{}ms", self.chance.random_range(300..3000));
        let request = json!({"owner": "soak", "ttl": ttl, "proxies": [place.name]});
        let Some(answer) = self.ask("take a lease", Method::POST, "/v1/leases", None, Some(&request)).await else {
            return;
        };
        if answer.status == 201 {
            self.leases.push(answer.body["id"].clone());
            if self.leases.len() > REMEMBERED {
                self.leases.remove(0);
            }
        }
    }

    async fn end_lease(&mut self) {
        if let Some(Value::String(id)) = self.leases.pop() {
            self.ask("end a lease", Method::DELETE, &format!("/v1/leases/{id}"), None, None).await;
        }
    }

    async fn switch(&mut self, place: &Place) {
        self.patch(place, "switch a proxy off", json!({"enabled": false})).await;
        sleep(Duration::from_millis(self.chance.random_range(10..200))).await;
        self.patch(place, "switch a proxy on", json!({"enabled": true})).await;
    }

    async fn mislead(&mut self, place: &Place) {
        // Nobody listens on the discard port here, or somebody does who says nothing: both are fine.
        self.patch(place, "lead a proxy to nowhere", json!({"upstream": "127.0.0.1:9"})).await;
        sleep(Duration::from_millis(self.chance.random_range(10..200))).await;
        self.patch(place, "lead a proxy back", json!({"upstream": place.upstream.to_string()})).await;
    }

    async fn patch(&mut self, place: &Place, wanted: &'static str, patch: Value) {
        let lease = self.any_lease();
        if let Some(answer) = self.ask(wanted, Method::PATCH, &place.path(), lease.as_deref(), Some(&patch)).await {
            place.follow(&answer.body);
        }
    }

    async fn remake(&mut self, place: &Place) {
        let lease = self.any_lease();
        let gone = self.ask("remove a proxy", Method::DELETE, &place.path(), lease.as_deref(), None).await;
        if gone.is_some_and(|answer| answer.status < 300)
            && let Some(answer) =
                self.ask("make a proxy", Method::POST, "/v1/proxies", None, Some(&place.specification())).await
        {
            place.follow(&answer.body);
        }
    }

    async fn any_fault(&mut self, place: &Place) -> Option<(String, String)> {
        let answer = self.ask("list faults", Method::GET, &format!("{}/faults", place.path()), None, None).await?;
        let faults = answer.body["faults"].as_array()?;
        let fault = faults.get(self.chance.random_range(0..faults.len().max(1)))?;
        let kind = fault["fault"].as_object()?.keys().next()?.clone();
        Some((fault["name"].as_str()?.to_owned(), kind))
    }

    /// The latest lease, or one of others, or none: who is refused is refused.
    fn any_lease(&mut self) -> Option<String> {
        if self.leases.is_empty() || self.chance.random_bool(0.2) {
            return None;
        }
        self.leases.get(self.chance.random_range(0..self.leases.len()))?.as_str().map(str::to_owned)
    }

    /// Asks; an agent that does not answer, or answers with its own mistake, is a finding.
    async fn ask(
        &self,
        wanted: &'static str,
        method: Method,
        path: &str,
        lease: Option<&str>,
        body: Option<&Value>,
    ) -> Option<Answer> {
        match self.site.agent.ask(method, path, lease, body).await {
            Err(why) => {
                self.ledger.find(format!("to {wanted}: no answer: {why}"));
                None
            }
            // 501 is told of what this machine cannot do, such as dropping packets.
            Ok(answer) if answer.status >= 500 && answer.status != 501 => {
                self.ledger.find(format!("to {wanted}: {} {}", answer.status, answer.body));
                None
            }
            Ok(answer) => {
                self.ledger.call(wanted, answer.status >= 400);
                Some(answer)
            }
        }
    }
}
