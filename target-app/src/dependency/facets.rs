//! Facets: how a search can be narrowed.
//!
//! `GET /facets?q=WORDS`. The counts are made up from the words, always the same for the same words.

use axum::{Json, Router, extract::Query, routing::get};
use serde::{Deserialize, Serialize};

/// Ways to narrow a search.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facets {
    pub(crate) price: Vec<Facet>,
    pub(crate) delivery: Vec<Facet>,
}

/// One of them, and how many results it would leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facet {
    pub(crate) name: String,
    pub(crate) count: u32,
}

#[derive(Debug, Deserialize)]
struct Asked {
    #[serde(default)]
    q: String,
}

pub(super) fn routes() -> Router {
    Router::new().route("/facets", get(facets))
}

async fn facets(Query(Asked { q }): Query<Asked>) -> Json<Facets> {
    let seed = q.bytes().fold(7u32, |seed, byte| seed.wrapping_mul(31).wrapping_add(u32::from(byte)));
    let named = |names: [&str; 3]| {
        (1..).zip(names).map(|(n, name)| Facet { name: name.to_owned(), count: seed.rotate_left(n) % 12 }).collect()
    };
    Json(Facets {
        price: named(["under 50", "50 to 100", "over 100"]),
        delivery: named(["today", "this week", "later"]),
    })
}
