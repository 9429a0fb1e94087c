//! Asks a service what there is: a page, its health, its metrics.
//!
//! Neighbour: `fetch` sends. Invariant: every question is a GET, and has a time limit.

use crate::fetch;
use std::time::Duration;

/// A page that takes longer is not there.
const LIMIT: Duration = Duration::from_secs(5);
/// A longer page is not looked at.
const LONGEST: usize = 8 * 1024 * 1024;

/// Where services keep their health, the ones that say whether they are ready first.
pub const HEALTH: [&str; 8] =
    ["/health/ready", "/readyz", "/ready", "/healthz", "/health", "/health/live", "/livez", "/status"];

/// What a service answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body, as far as it is text.
    pub body: String,
}

impl Answer {
    /// Whether it is an answer to be content with.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.status < 400
    }
}

/// Asks once.
///
/// # Errors
/// Why there was no answer.
pub async fn get(url: &str) -> Result<Answer, String> {
    let asked = async {
        let client = fetch::client(1).map_err(|error| error.to_string())?;
        let response = client.get(url).send().await.map_err(|error| fetch::cause(&error))?;
        let status = response.status().as_u16();
        let body = fetch::body(response, LONGEST).await.map_err(|error| error.to_string())?;
        Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
    };
    tokio::time::timeout(LIMIT, asked).await.unwrap_or_else(|_| Err(format!("no answer within {}s", LIMIT.as_secs())))
}

/// The first of these paths that has a good answer.
pub async fn first_good(service: &str, paths: &[&str]) -> Option<String> {
    for path in paths {
        if get(&format!("{service}{path}")).await.is_ok_and(|answer| (200..300).contains(&answer.status)) {
            return Some((*path).to_owned());
        }
    }
    None
}
