//! A shop with real dependencies, a tap in front of each, and a customer.
//!
//! Neighbours: `tap.rs` hurts the connections, the tests say when and look at what customers see.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod tap;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Request};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use squall_shop::{Dependency, DependencyConfig, DependencyKind, Origin, Pattern, Shop, ShopConfig, ShutdownConfig};
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};
use tap::Tap;
use tokio::{sync::Mutex, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) const MS: Duration = Duration::from_millis(1);

/// A customer gives up after this.
const PATIENCE: Duration = Duration::from_secs(5);

/// Held by tests that measure times, so that they do not measure each other.
pub(crate) static MEASURING: Mutex<()> = Mutex::const_new(());

/// What a customer got; status 0 for nothing at all.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) took: Duration,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

#[derive(Clone)]
pub(crate) struct Customer {
    client: Client<HttpConnector, Full<Bytes>>,
    shop: SocketAddr,
}

impl Customer {
    /// Of a shop that listens there.
    pub(crate) fn at(shop: SocketAddr) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), shop }
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        let request = Request::post(self.url(path)).header("content-type", "application/json");
        self.ask(request.body(Full::from(body.to_string())).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.ask(Request::get(self.url(path)).body(Full::default()).unwrap()).await
    }

    pub(crate) async fn text(&self, path: &str) -> String {
        self.get(path).await.body.as_str().expect("the answer is text").to_owned()
    }

    pub(crate) async fn order(&self, key: Option<&str>, body: Value) -> Reply {
        let mut request = Request::post(self.url("/orders")).header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        self.ask(request.body(Full::from(body.to_string())).unwrap()).await
    }

    pub(crate) async fn buy(&self) -> Reply {
        let product = rand::random_range(1..=500);
        self.order(Some(&Uuid::new_v4().to_string()), json!({"product": product, "quantity": 1})).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.shop)
    }

    pub(crate) async fn ask(&self, request: Request<Full<Bytes>>) -> Reply {
        let begun = Instant::now();
        let exchange = async {
            let response = self.client.request(request).await.ok()?;
            let (head, body) = response.into_parts();
            let body = body.collect().await.ok()?.to_bytes();
            let text = || Value::String(String::from_utf8_lossy(&body).into_owned());
            let body = serde_json::from_slice(&body).unwrap_or_else(|_| text());
            Some((head.status.as_u16(), head.headers, body))
        };
        let (status, headers, body) = tokio::time::timeout(PATIENCE, exchange).await.ok().flatten().unwrap_or_default();
        Reply { status, took: begun.elapsed(), headers, body }
    }
}

pub(crate) struct World {
    pub(crate) taps: BTreeMap<DependencyKind, Tap>,
    pub(crate) customer: Customer,
    pub(crate) dependencies: BTreeMap<DependencyKind, SocketAddr>,
    stop_shop: CancellationToken,
    stop_rest: CancellationToken,
    shop: JoinSet<()>,
    rest: JoinSet<()>,
}

impl World {
    pub(crate) async fn without(patterns: &[Pattern]) -> Self {
        Self::with(ShopConfig { without: patterns.iter().copied().collect(), ..config() }).await
    }

    /// What the configuration already has an address for is the test's own.
    pub(crate) async fn with(mut config: ShopConfig) -> Self {
        let (stop_shop, stop_rest) = (CancellationToken::new(), CancellationToken::new());
        let (mut shop_task, mut rest) = (JoinSet::new(), JoinSet::new());
        let (mut taps, mut dependencies) = (BTreeMap::new(), BTreeMap::new());
        for kind in DependencyKind::ALL {
            if config.dependencies.contains_key(&kind) {
                continue;
            }
            let dependency = Dependency::bind(DependencyConfig::new(kind)).await.unwrap();
            let tap = Tap::bind(dependency.local_addr(), &mut rest, stop_rest.clone()).await;
            dependencies.insert(kind, dependency.local_addr());
            config.dependencies.insert(kind, Origin::from(tap.address()));
            taps.insert(kind, tap);
            rest.spawn(dependency.serve(stop_rest.clone()));
        }
        let shop = Shop::bind(config).await.unwrap();
        let customer = Customer::at(shop.local_addr());
        shop_task.spawn(shop.serve(stop_shop.clone()));
        Self { taps, customer, dependencies, stop_shop, stop_rest, shop: shop_task, rest }
    }

    pub(crate) fn tap(&self, kind: DependencyKind) -> &Tap {
        &self.taps[&kind]
    }

    /// Another shop with the same dependencies.
    pub(crate) async fn another(&mut self, mut config: ShopConfig) -> Customer {
        for (kind, tap) in &self.taps {
            config.dependencies.insert(*kind, Origin::from(tap.address()));
        }
        let shop = Shop::bind(config).await.unwrap();
        let customer = Customer::at(shop.local_addr());
        self.shop.spawn(shop.serve(self.stop_shop.clone()));
        customer
    }

    /// Every shop ends in the middle of whatever it does.
    pub(crate) async fn crash(&mut self) {
        self.shop.shutdown().await;
    }

    pub(crate) fn begin_shutdown(&self) {
        self.stop_shop.cancel();
    }

    /// Ends the shop in order, and waits for all that it had begun.
    pub(crate) async fn shop_gone(&mut self) {
        self.stop_shop.cancel();
        while self.shop.join_next().await.is_some() {}
    }

    pub(crate) async fn gone(mut self) {
        self.shop_gone().await;
        self.stop_rest.cancel();
        while self.rest.join_next().await.is_some() {}
    }

    /// What a dependency says of itself, asked directly.
    pub(crate) async fn asked(&self, kind: DependencyKind, path: &str) -> Reply {
        let direct = Customer { client: self.customer.client.clone(), shop: self.dependencies[&kind] };
        direct.get(path).await
    }

    /// Open-loop traffic: each request begins on its time, whatever became of the others.
    pub(crate) async fn traffic(&self, length: Duration, browse_rate: u32, order_rate: u32) -> Traffic {
        let (browse, orders) = tokio::join!(
            self.stream(length, browse_rate, |customer, n| async move {
                customer.get(&format!("/products/{}", n * 7 % 500 + 1)).await
            }),
            self.stream(length, order_rate, |customer, _| async move { customer.buy().await }),
        );
        Traffic { browse, orders }
    }

    async fn stream<F>(&self, length: Duration, rate: u32, ask: impl Fn(Customer, u32) -> F) -> Replies
    where
        F: Future<Output = Reply> + Send + 'static,
    {
        let mut under_way = JoinSet::new();
        let count = (length.as_secs_f64() * f64::from(rate)) as u32;
        let begun = Instant::now();
        for n in 0..count {
            tokio::time::sleep_until(begun + Duration::from_secs(1) * n / rate).await;
            under_way.spawn(ask(self.customer.clone(), n));
        }
        Replies(under_way.join_all().await)
    }
}

/// The shop as the sandbox has it, with a quick end.
pub(crate) fn config() -> ShopConfig {
    ShopConfig {
        order_budget: Duration::from_secs(3),
        shutdown: ShutdownConfig { pause: Duration::ZERO, drain: Duration::from_secs(5) },
        ..ShopConfig::default()
    }
}

pub(crate) struct Traffic {
    pub(crate) browse: Replies,
    pub(crate) orders: Replies,
}

#[derive(Debug)]
pub(crate) struct Replies(pub Vec<Reply>);

impl Replies {
    pub(crate) fn success(&self) -> f64 {
        self.share(|reply| (200..300).contains(&reply.status))
    }

    pub(crate) fn share(&self, of: impl Fn(&Reply) -> bool) -> f64 {
        self.0.iter().filter(|reply| of(reply)).count() as f64 / self.0.len() as f64
    }

    /// The time within which this share of the answers came.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let mut times: Vec<Duration> = self.0.iter().map(|reply| reply.took).collect();
        times.sort();
        times[((times.len() as f64 * share) as usize).min(times.len() - 1)]
    }

    /// How often each status came, for messages.
    pub(crate) fn statuses(&self) -> BTreeMap<u16, usize> {
        self.0.iter().fold(BTreeMap::new(), |mut counts, reply| {
            *counts.entry(reply.status).or_default() += 1;
            counts
        })
    }
}

/// Asks until it is so, within ten seconds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, ask: impl Fn() -> F) {
    let end = Instant::now() + Duration::from_secs(10);
    while !ask().await {
        assert!(Instant::now() < end, "it never came true that {what}");
        tokio::time::sleep(20 * MS).await;
    }
}

/// The value of a series in a metrics text; 0 when there is none.
pub(crate) fn series(text: &str, name: &str) -> f64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().expect("a value is a number"))
}
