//! Rate limiting: no client, and no burst of orders, gets more than its share; who is over it is told 429 and when to
//! come back.
//!
//! A client has a token bucket of its own, governor's keyed GCRA: exact, without a lock for all, and idle clients are
//! evicted by `retain_recent`. Orders in all have a bucket with reservations (`token_bucket.rs`), calls to payment an
//! even pace (`leaky_bucket.rs`), wrong admin tokens a sliding window (`sliding_window.rs`).
//!
//! A client is who `X-Client-Id` says, else its address, which may do more. Behind a gateway that header is what the gateway has
//! established; made-up names get at most `clients` buckets, beyond which names are not believed and addresses count.
//!
//! Invariant: at most about `clients` names are held, and only of the last seconds.

use crate::resilience::token_bucket::{NoToken, TokenBucket};
use axum::http::{HeaderMap, HeaderName};
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};
use std::{net::IpAddr, num::NonZeroU32, time::Duration};

/// Says who a client is.
pub(crate) const CLIENT: HeaderName = HeaderName::from_static("x-client-id");
/// Longer names are not names.
const LONGEST_NAME: usize = 64;

/// The rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateConfig {
    /// Requests of one client a second.
    pub client: u32,
    /// And so many at once.
    pub client_burst: u32,
    /// Requests of one address a second, and so many at once, of those who do not say who they are: many customers may be
    /// behind it.
    pub address: u32,
    /// Clients with a limit of their own, at most.
    pub clients: usize,
    /// Orders a second in all.
    pub orders: u32,
    /// And so many at once.
    pub orders_burst: u32,
    /// An order may wait so long for its turn.
    pub order_wait: Duration,
    /// Calls to payment a second, evenly; 0 for no pace.
    pub payment: u32,
}

impl Default for RateConfig {
    fn default() -> Self {
        Self {
            client: 300,
            client_burst: 600,
            address: 6000,
            clients: 10_000,
            orders: 300,
            orders_burst: 300,
            order_wait: Duration::from_millis(100),
            payment: 400,
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Client {
    Named(Box<str>),
    At(IpAddr),
    Unknown,
}

/// Over the rate: which limit, and when to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limited {
    pub(crate) limiter: &'static str,
    pub(crate) retry_after: Duration,
}

/// The limits at the door; absent when the pattern is switched off.
pub(crate) struct RateLimits {
    clients: DefaultKeyedRateLimiter<Client>,
    addresses: DefaultKeyedRateLimiter<Client>,
    most: usize,
    orders: TokenBucket,
    order_wait: Duration,
}

fn at_least_one(rate: u32) -> NonZeroU32 {
    NonZeroU32::new(rate).unwrap_or(NonZeroU32::MIN)
}

impl RateLimits {
    pub(crate) fn new(config: RateConfig) -> Self {
        let quota = Quota::per_second(at_least_one(config.client)).allow_burst(at_least_one(config.client_burst));
        Self {
            clients: RateLimiter::keyed(quota),
            addresses: RateLimiter::keyed(Quota::per_second(at_least_one(config.address))),
            most: config.clients,
            orders: TokenBucket::new(f64::from(config.orders.max(1)), config.orders_burst),
            order_wait: config.order_wait,
        }
    }

    /// Takes a token of the client's.
    pub(crate) fn client(&self, headers: &HeaderMap, address: Option<IpAddr>) -> Result<(), Limited> {
        let client = self.who(headers, address);
        let limiter = if matches!(client, Client::Named(_)) { &self.clients } else { &self.addresses };
        limiter.check_key(&client).map_err(|early| {
            let retry_after = early.wait_time_from(DefaultClock::default().now());
            Limited { limiter: "client", retry_after }
        })
    }

    fn who(&self, headers: &HeaderMap, address: Option<IpAddr>) -> Client {
        let name = headers.get(CLIENT).and_then(|name| name.to_str().ok());
        match name {
            Some(name) if (1..=LONGEST_NAME).contains(&name.len()) && self.clients.len() < self.most => {
                Client::Named(name.into())
            }
            Some(_) | None => address.map_or(Client::Unknown, Client::At),
        }
    }

    /// Takes the turn of an order, and waits for it a little.
    pub(crate) async fn order(&self) -> Result<(), Limited> {
        let turn = self.orders.wait(self.order_wait).await;
        turn.map_err(|NoToken { retry_after }| Limited { limiter: "orders", retry_after })
    }

    /// Forgets the clients that have been idle for so long that their buckets are full; how many are left.
    pub(crate) fn evict(&self) -> usize {
        for limiter in [&self.clients, &self.addresses] {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
        self.clients.len() + self.addresses.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{CLIENT, RateConfig, RateLimits};
    use axum::http::HeaderMap;
    use std::{net::IpAddr, time::Duration};

    fn named(name: &str) -> HeaderMap {
        [(CLIENT, name.parse().unwrap())].into_iter().collect()
    }

    fn slow() -> RateConfig {
        RateConfig { client: 1, client_burst: 5, address: 5, clients: 100, ..RateConfig::default() }
    }

    fn here() -> Option<IpAddr> {
        Some(IpAddr::from([127, 0, 0, 1]))
    }

    #[test]
    fn a_greedy_client_is_told_when_to_come_back_and_another_does_not_notice() {
        let limits = RateLimits::new(slow());
        let greedy = |_| limits.client(&named("greedy"), here());
        assert_eq!((0..20).map(greedy).filter(Result::is_ok).count(), 5);
        let limited = greedy(0).unwrap_err();
        assert_eq!(limited.limiter, "client");
        assert!(limited.retry_after <= Duration::from_secs(1), "{limited:?}");
        assert!(limits.client(&named("modest"), here()).is_ok());
        assert!(limits.client(&HeaderMap::new(), here()).is_ok());
    }

    #[test]
    fn made_up_names_are_bounded_and_then_the_address_counts() {
        let limits = RateLimits::new(slow());
        let allowed = (0..1000).filter(|n| limits.client(&named(&format!("name-{n}")), here()).is_ok()).count();
        assert!((100..=106).contains(&allowed), "a hundred names, and the burst of the address: {allowed}");
        assert!(limits.clients.len() <= 101);
    }

    #[test]
    fn idle_clients_are_forgotten() {
        let limits = RateLimits::new(RateConfig { client: 1_000_000, client_burst: 1, ..slow() });
        for n in 0..50 {
            let _ = limits.client(&named(&format!("name-{n}")), here());
        }
        assert_eq!(limits.clients.len(), 50);
        while limits.evict() > 0 {
            std::thread::yield_now();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn orders_in_all_wait_a_little_for_their_turn_and_are_then_refused() {
        let limits = RateLimits::new(RateConfig { orders: 10, orders_burst: 2, ..RateConfig::default() });
        let begun = tokio::time::Instant::now();
        for _ in 0..3 {
            limits.order().await.unwrap();
        }
        assert_eq!(begun.elapsed().as_millis() / 10, 10, "the third waited for a hundred milliseconds");
        let (fourth, fifth) = tokio::join!(limits.order(), limits.order());
        assert!(fourth.is_ok() && fifth.is_err());
    }
}
