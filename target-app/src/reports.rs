//! The sales report: what was sold, by category, with what customers think of it.
//!
//! ```text
//! pages of the database ─▶ [products] ─▶ ask the reviews after each (fan-out) ─▶ [rows] ─▶ sum by category
//! ```
//! Not critical: a product whose rating does not come is counted without. Neighbours: `resilience/pipeline.rs` runs
//! the stages, `store/sales.rs` reads, `api/storage.rs` asks.
//!
//! Invariant: the report of a customer who has gone ends at once, in the database and at the reviews as well.

use crate::{
    dependency::reviews::Reviews,
    error::RequestError,
    failure::CallError,
    metrics::Metrics,
    resilience::{fan_out::FanOut, pipeline::Pipeline, timeout_budget::Deadline},
    store::{Sold, Store},
    upstream::{Call, Upstream},
};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A rating may take so long.
const RATING_LIMIT: Duration = Duration::from_secs(1);

/// The answer of `GET /reports/sales`.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct SalesReport {
    orders: i64,
    pieces: i64,
    cents: i64,
    categories: BTreeMap<i64, CategorySales>,
    warnings: Vec<String>,
    #[serde(skip)]
    unrated: (usize, Option<CallError>),
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct CategorySales {
    products: usize,
    orders: i64,
    pieces: i64,
    cents: i64,
    /// The mean over its products that have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    rating: Option<f64>,
    #[serde(skip)]
    rated: usize,
}

/// A product that was sold, and its rating if it came.
struct Row {
    sold: Sold,
    rating: Result<f64, CallError>,
}

/// What reports are made from.
pub(crate) struct Reports {
    pub(crate) store: Arc<Store>,
    pub(crate) reviews: Arc<Upstream>,
    pub(crate) pipeline: Pipeline,
    pub(crate) fan_out: FanOut,
    pub(crate) page: u32,
    pub(crate) metrics: Arc<Metrics>,
}

impl Reports {
    pub(crate) async fn sales(&self, deadline: Deadline) -> Result<SalesReport, RequestError> {
        let reviews = Arc::clone(&self.reviews);
        let rate = move |sold| {
            let reviews = Arc::clone(&reviews);
            async move { rated(&reviews, sold, deadline.tightened(RATING_LIMIT)).await }
        };
        // On the heap: the sequential form holds every stage in one future.
        let report = Box::pin(self.pipeline.run(self.sold(), self.fan_out, rate, add, SalesReport::default()));
        let report = deadline.run(report).await.map_err(|_| RequestError::Late).flatten();
        self.metrics.storage.report(if report.is_ok() { "made" } else { "failed" });
        report.map(SalesReport::finished)
    }

    /// What was sold, product by product, read page by page.
    fn sold(&self) -> impl Stream<Item = Result<Sold, RequestError>> + Send + 'static {
        let (store, most) = (Arc::clone(&self.store), i64::from(self.page.max(1)));
        let pages = stream::try_unfold(0, move |after| {
            let store = Arc::clone(&store);
            async move {
                let page = store.sold(after, most).await?;
                Ok::<_, RequestError>(page.last().map(|last| last.product).map(|last| (page, last)))
            }
        });
        pages.map_ok(|page| stream::iter(page).map(Ok)).try_flatten()
    }
}

async fn rated(reviews: &Upstream, sold: Sold, deadline: Deadline) -> Row {
    let call = Call::get(format!("/reviews/{}", sold.product));
    let rating = reviews.call::<Reviews>(call, deadline).await.map(|reviews| reviews.average);
    Row { sold, rating }
}

fn add(report: &mut SalesReport, Row { sold, rating }: Row) {
    report.orders += sold.orders;
    report.pieces += sold.pieces;
    report.cents += sold.cents;
    let category = report.categories.entry(sold.category).or_default();
    category.products += 1;
    category.orders += sold.orders;
    category.pieces += sold.pieces;
    category.cents += sold.cents;
    match rating {
        Ok(rating) => {
            let rated = category.rated as f64;
            category.rating = Some((category.rating.unwrap_or(0.0) * rated + rating) / (rated + 1.0));
            category.rated += 1;
        }
        Err(error) => {
            report.unrated.0 += 1;
            report.unrated.1.get_or_insert(error);
        }
    }
}

impl SalesReport {
    fn finished(mut self) -> Self {
        if let (count, Some(error)) = &self.unrated {
            self.warnings.push(format!("{count} products without a rating: {error}"));
        }
        self
    }
}
