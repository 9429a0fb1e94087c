//! What customers look at: a product's page, a search.
//!
//! The product is needed; what stands around it is optional, asked for at the same time, each part with a small share
//! of the page's time. Neighbours: `api/shop.rs` asks, `upstream.rs` and `store.rs` answer.
//!
//! Invariant: with all patterns on, a page waits for optional parts no longer than `optional_share`.

use crate::{
    dependency::{
        facets::Facets,
        recommendations::{Recommendation, Recommendations},
        reviews::{Review, Reviews},
    },
    error::RequestError,
    failure::CallError,
    resilience::{
        degradation::Degradation,
        failover_cache::{FailoverCache, Served},
        feature_flags::{FeatureFlags, Withheld},
        timeout_budget::Deadline,
    },
    store::{Product, Store},
    upstream::{Call, Upstream},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt::Write as _, sync::Arc, time::Duration};

/// The answer of `GET /products/{id}`.
#[derive(Debug, Serialize)]
pub(crate) struct ProductPage {
    product: Product,
    #[serde(skip_serializing_if = "Option::is_none")]
    recommendations: Option<RecommendationsPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reviews: Option<ReviewsPart>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct RecommendationsPart {
    items: Vec<Recommendation>,
    stale: bool,
}

#[derive(Debug, Serialize)]
struct ReviewsPart {
    average: f64,
    items: Vec<Review>,
    stale: bool,
}

/// The answer of `GET /search`.
#[derive(Debug, Serialize)]
pub(crate) struct SearchPage {
    results: Vec<Product>,
    #[serde(skip_serializing_if = "Option::is_none")]
    facets: Option<Facets>,
    warnings: Vec<String>,
}

/// What pages are made from.
pub(crate) struct Pages {
    pub(crate) store: Arc<Store>,
    pub(crate) recommendations: Arc<Upstream>,
    pub(crate) reviews: Arc<Upstream>,
    pub(crate) facets: Arc<Upstream>,
    pub(crate) known_recommendations: FailoverCache<Recommendations>,
    pub(crate) known_reviews: FailoverCache<Reviews>,
    pub(crate) degradation: Degradation,
    /// Absent when graceful degradation is switched off.
    pub(crate) flags: Option<Arc<FeatureFlags>>,
    pub(crate) optional_share: Duration,
}

impl Pages {
    pub(crate) async fn product(&self, id: i64, deadline: Deadline) -> Result<ProductPage, RequestError> {
        let product = deadline.run(self.store.product(id)).await.map_err(|_| RequestError::Late)??;
        let product = product.ok_or_else(|| RequestError::NotFound(format!("there is no product {id}")))?;
        let optional = deadline.tightened(self.optional_share);
        let (recommendations, reviews) =
            tokio::join!(self.recommended(product.category, optional), self.reviewed(product.id, optional));
        let mut warnings = Vec::new();
        let recommendations = self.degradation.optional("recommendations", recommendations, &mut warnings)?;
        let reviews = self.degradation.optional("reviews", reviews, &mut warnings)?;
        Ok(ProductPage {
            recommendations: recommendations.map(|served| beside(product.id, &served)),
            reviews: reviews.map(|Served { value, stale }| ReviewsPart {
                average: value.average,
                items: value.items.clone(),
                stale,
            }),
            product,
            warnings,
        })
    }

    async fn recommended(&self, category: i64, deadline: Deadline) -> Result<Served<Recommendations>, CallError> {
        let call = Call::get(format!("/recommendations?category={category}"));
        let fetch = |deadline| self.shown("recommendations", &self.recommendations, call, deadline);
        self.known_recommendations.get(category, deadline, fetch).await
    }

    async fn reviewed(&self, product: i64, deadline: Deadline) -> Result<Served<Reviews>, CallError> {
        let call = Call::get(format!("/reviews/{product}"));
        let fetch = |deadline| self.shown("reviews", &self.reviews, call, deadline);
        self.known_reviews.get(product, deadline, fetch).await
    }

    /// An optional part, unless its flag withholds it. Where its dependency is not well, the open breaker says that
    /// better: it knows why.
    async fn shown<T: DeserializeOwned>(
        &self,
        part: &'static str,
        upstream: &Upstream,
        call: Call,
        deadline: Deadline,
    ) -> Result<T, CallError> {
        match self.flags.as_ref().and_then(|flags| flags.withholds(part)) {
            Some(because @ (Withheld::Degraded | Withheld::Off)) => Err(CallError::Withheld { because }),
            Some(Withheld::Unhealthy) | None => upstream.call(call, deadline).await,
        }
    }

    pub(crate) async fn search(&self, words: &str, deadline: Deadline) -> Result<SearchPage, RequestError> {
        let optional = deadline.tightened(self.optional_share);
        let call = Call::get(format!("/facets?q={}", percent_encoded(words)));
        let (results, facets) = tokio::join!(
            deadline.run(self.store.search(words)),
            self.shown::<Facets>("facets", &self.facets, call, optional)
        );
        let mut warnings = Vec::new();
        let results = results.map_err(|_| RequestError::Late)??;
        let facets = self.degradation.optional("facets", facets, &mut warnings)?;
        Ok(SearchPage { results, facets, warnings })
    }
}

/// Nobody wants to be recommended what they are looking at.
fn beside(product: i64, served: &Served<Recommendations>) -> RecommendationsPart {
    let items = served.value.items.iter().filter(|item| item.product != product).cloned().collect();
    RecommendationsPart { items, stale: served.stale }
}

fn percent_encoded(words: &str) -> String {
    words.bytes().fold(String::with_capacity(words.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::percent_encoded;

    #[test]
    fn words_of_any_kind_fit_into_a_query() {
        assert_eq!(percent_encoded("tea & côffee#1"), "tea%20%26%20c%C3%B4ffee%231");
    }
}
