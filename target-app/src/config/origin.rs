//! Where a dependency is.
//!
//! Neighbours: the command line and environments read it from text, `http_client.rs` makes URLs of it.
//!
//! Invariant: it has a host and a port, and no path.

use axum::http::{Uri, uri::Authority};
use std::{fmt, net::SocketAddr, str::FromStr};

/// Where a dependency is: `HOST:PORT` or `http://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(Authority);

/// A text that is not an origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address: write `127.0.0.1:8080` or `http://payment:8080`, without a path")]
pub struct InvalidOrigin(String);

impl Origin {
    /// The URL of a path there.
    pub(crate) fn join(&self, path: &str) -> Result<Uri, axum::http::Error> {
        Uri::builder().scheme("http").authority(self.0.clone()).path_and_query(path).build()
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let invalid = || InvalidOrigin(text.to_owned());
        let rest = text.trim();
        let rest = rest.strip_prefix("http://").unwrap_or(rest);
        let authority: Authority = rest.strip_suffix('/').unwrap_or(rest).parse().map_err(|_| invalid())?;
        match authority.port_u16() {
            Some(_) if !authority.host().is_empty() => Ok(Self(authority)),
            Some(_) | None => Err(invalid()),
        }
    }
}

impl From<SocketAddr> for Origin {
    fn from(address: SocketAddr) -> Self {
        #[expect(clippy::expect_used, reason = "a socket address is always written as host:port")]
        let authority = address.to_string().parse().expect("a socket address is an authority");
        Self(authority)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Origin;
    use std::net::SocketAddr;

    #[test]
    fn an_origin_is_a_host_and_a_port_with_or_without_scheme() {
        let address: SocketAddr = "127.0.0.1:80".parse().unwrap();
        for text in ["127.0.0.1:80", "http://127.0.0.1:80", "http://127.0.0.1:80/"] {
            assert_eq!(text.parse(), Ok(Origin::from(address)), "{text}");
        }
        assert!("[::1]:80".parse::<Origin>().is_ok());
    }

    #[test]
    fn what_is_not_an_origin_is_refused() {
        for text in ["", "localhost", ":80", "https://a:1", "http://a:1/path", "a b:1"] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }
}
