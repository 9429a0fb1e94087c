//! Reviews: what others think of a product.
//!
//! `GET /reviews/{product}`. The reviews are made up from the product's number, always the same.

use axum::{Json, Router, extract::Path, routing::get};
use serde::{Deserialize, Serialize};

/// The reviews of a product.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reviews {
    pub(crate) average: f64,
    pub(crate) items: Vec<Review>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Review {
    pub(crate) stars: u8,
    pub(crate) text: String,
}

pub(super) fn routes() -> Router {
    Router::new().route("/reviews/{product}", get(reviews))
}

const OPINIONS: [(u8, &str); 6] = [
    (5, "Exactly what I was looking for."),
    (4, "Good value, took a day longer than promised."),
    (2, "Smaller than it looks on the picture."),
    (5, "Bought a second one for my sister."),
    (3, "Does what it should."),
    (4, "Sturdy, and the colour is right."),
];

async fn reviews(Path(product): Path<u32>) -> Json<Reviews> {
    let first = product as usize % OPINIONS.len();
    let count = 2 + product as usize % 4;
    let chosen = OPINIONS.iter().cycle().skip(first).take(count);
    let items: Vec<Review> = chosen.map(|&(stars, text)| Review { stars, text: text.to_owned() }).collect();
    let average = items.iter().map(|review| f64::from(review.stars)).sum::<f64>() / count as f64;
    Json(Reviews { average: (average * 10.0).round() / 10.0, items })
}
