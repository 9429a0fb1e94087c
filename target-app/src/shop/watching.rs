//! What a shop asks itself when somebody asks after its health.

use crate::{
    config::ShopConfig,
    http_client::{Exchange, HttpClient},
    resilience::health_checks::{Check, Health, HealthChecks, HealthConfig},
    store::Store,
};
use axum::http::{HeaderMap, Method};
use bytes::Bytes;
use futures::FutureExt as _;
use std::sync::Arc;

pub(super) fn health(config: &ShopConfig, store: &Arc<Store>) -> Health {
    let HealthConfig { limit, ready_limit, cache_for } = config.health;
    Health {
        ready: HealthChecks::new(vec![database_check(store)], ready_limit, cache_for),
        deep: HealthChecks::new(deep_checks(config, store), limit, cache_for),
    }
}

fn database_check(store: &Arc<Store>) -> Check {
    let store = Arc::clone(store);
    let probe = move || {
        let store = Arc::clone(&store);
        async move { store.ping().await.map_err(|error| error.to_string()) }.boxed()
    };
    Check { name: "database", critical: true, probe: Box::new(probe) }
}

/// The database, and each dependency by its own `/health`, over connections that no customer waits for.
fn deep_checks(config: &ShopConfig, store: &Arc<Store>) -> Vec<Check> {
    let mut checks = vec![database_check(store)];
    checks.extend(config.dependencies.iter().map(|(kind, origin)| {
        let client = HttpClient::new(kind.name(), origin.clone(), 1);
        let probe = move || {
            let client = client.clone();
            async move {
                let exchange = Exchange {
                    method: Method::GET,
                    path: "/health".into(),
                    headers: HeaderMap::new(),
                    body: Bytes::new(),
                };
                client.send(&exchange).await.map(|_| ()).map_err(|error| error.to_string())
            }
            .boxed()
        };
        Check { name: kind.name(), critical: kind.is_critical(), probe: Box::new(probe) }
    }));
    checks
}
