//! Recommendations: what else of a category may please.
//!
//! `GET /recommendations?category=N`. By category and not by product, so that there are few answers to remember.

use axum::{Json, Router, extract::Query, routing::get};
use serde::{Deserialize, Serialize};

/// Products to show beside another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recommendations {
    pub(crate) items: Vec<Recommendation>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recommendation {
    pub(crate) product: i64,
    pub(crate) reason: String,
}

#[derive(Debug, Deserialize)]
struct Asked {
    category: i64,
}

pub(super) fn routes() -> Router {
    Router::new().route("/recommendations", get(recommend))
}

async fn recommend(Query(Asked { category }): Query<Asked>) -> Json<Recommendations> {
    // Twenty categories, dealt out in turn over the products: every twentieth is of the same one.
    let of_category = |nth: i64| category + 20 * nth;
    let reasons = ["bought together", "often viewed", "new in", "on offer", "well reviewed", "from the same maker"];
    let items = (0..).zip(reasons);
    let items = items.map(|(n, reason)| Recommendation { product: of_category(4 * n), reason: reason.to_owned() });
    Json(Recommendations { items: items.collect() })
}
