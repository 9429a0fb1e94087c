//! HTTP as measuring needs it: nothing followed, nothing retried, nothing read without bound, and causes in few words.
//!
//! Neighbours: `probe` and `traffic`, which measure with it.
//! Invariant: a request is sent once, to where it says, whatever proxies the environment names.

use crate::agent_tls::AgentTls;
use std::{error::Error, time::Duration};

/// Texts in samples are cut after so many characters: they are for people, and there is one a sample.
const SHOWN_CHARS: usize = 200;

/// Why there was no answer, or no use in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FetchError {
    /// It took longer than it may.
    #[error("timed out after {}", squall_wire::Span::from(*.0))]
    TimedOut(Duration),
    /// No connection, or one that ended early.
    #[error("{0}")]
    Transport(String),
    /// The answer is longer than is read.
    #[error("the answer is longer than {} KiB", .0 / 1024)]
    TooLong(usize),
}

impl From<reqwest::Error> for FetchError {
    fn from(error: reqwest::Error) -> Self {
        Self::Transport(cause(&error))
    }
}

/// Servers close idle connections, the impatient ones after five seconds; one that is not used again before that never
/// meets the closing, which would be a failed request that the server is not to blame for.
const IDLE_LIMIT: Duration = Duration::from_secs(4);

/// A client with so many idle connections at most. HTTP/1.1, so that a connection carries one request at a time.
///
/// # Errors
/// Without the machine's root certificates, or without a TLS provider installed.
pub(crate) fn client(idle: usize) -> Result<reqwest::Client, FetchError> {
    Ok(builder(idle).build()?)
}

/// A client for one agent, which keeps no connection.
///
/// # Errors
/// As [`client`].
pub(crate) fn agent_client(tls: &AgentTls) -> Result<reqwest::Client, FetchError> {
    Ok(tls.over(builder(0)).build()?)
}

fn builder(idle: usize) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .http1_only()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .pool_max_idle_per_host(idle)
        .pool_idle_timeout(IDLE_LIMIT)
        .user_agent(concat!("squall/", env!("CARGO_PKG_VERSION")))
}

/// The innermost cause, which is the one that says something, with where it came up.
pub(crate) fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let at = if error.is_connect() { "failed to connect: " } else { "" };
    let innermost = innermost.to_string();
    shortened(&format!("{at}{}", plain_cause(&innermost)))
}

/// The system's text without its number, which says nothing that the text does not.
pub(crate) fn plain_cause(text: &str) -> &str {
    text.rsplit_once(" (os error ").map_or(text, |(text, _)| text)
}

/// The whole body, which also leaves the connection fit for the next request.
pub(crate) async fn body(mut response: reqwest::Response, longest: usize) -> Result<Vec<u8>, FetchError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > longest {
            return Err(FetchError::TooLong(longest));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The text, cut if it is long.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(shortened("short"), "short");
        assert_eq!(shortened(&"é".repeat(300)), format!("{}…", "é".repeat(200)));
    }
}
