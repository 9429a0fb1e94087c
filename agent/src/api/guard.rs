//! Refuses requests that a page in a browser could forge.
//!
//! A page on another site can make the browser send requests to 127.0.0.1, or make a name of its own point there
//! (DNS rebinding). The first shows in `Origin`, the second in `Host`. Neighbours: `super` lays it over every path.
//! Invariant: bound to the loopback, only a `Host` that means this machine is answered; and no `Origin` but our own.

use super::{Api, ApiError};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, header},
    middleware::Next,
    response::Response,
};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// Lets a request through, or answers 403.
pub(super) async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Result<Response, ApiError> {
    check(request.headers(), api.bound, if api.config.tls.is_some() { "https" } else { "http" })?;
    Ok(next.run(request).await)
}

fn check(headers: &HeaderMap, bound: SocketAddr, scheme: &str) -> Result<(), ApiError> {
    let host = text(headers, &header::HOST);
    if bound.ip().to_canonical().is_loopback() && !host.is_some_and(|host| is_ours(host, bound)) {
        let told = host.unwrap_or("nothing");
        let hint = format!("use {scheme}://{bound}");
        return Err(ApiError::forbidden(format!("the header Host says `{told}`, which is not this agent"), &hint));
    }
    if headers.contains_key(header::ORIGIN) {
        let origin = text(headers, &header::ORIGIN).unwrap_or("?");
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        if host.is_none() || authority != host {
            let message = format!("a page of `{origin}` may not use this agent");
            return Err(ApiError::forbidden(message, "use a program that is no browser, such as squall or curl"));
        }
    }
    Ok(())
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Whether a `Host` means this machine: a loopback name or address, or the one that is bound, with any port.
fn is_ours(host: &str, bound: SocketAddr) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    match bare.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback() || address == bound.ip(),
        Err(_) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use axum::http::HeaderMap;

    fn allowed(host: Option<&str>, origin: Option<&str>, bound: &str) -> bool {
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert("host", host.parse().unwrap());
        }
        if let Some(origin) = origin {
            headers.insert("origin", origin.parse().unwrap());
        }
        check(&headers, bound.parse().unwrap(), "http").is_ok()
    }

    #[test]
    fn on_the_loopback_only_names_of_this_machine_are_answered() {
        for host in ["127.0.0.1:8474", "localhost", "LOCALHOST:1", "[::1]:8474", "agent.localhost:8474", "127.0.0.9"] {
            assert!(allowed(Some(host), None, "127.0.0.1:8474"), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example:8474", "10.0.0.1", "", "localhost.evil.example"] {
            assert!(!allowed(Some(host), None, "127.0.0.1:8474"), "{host}");
        }
        assert!(!allowed(None, None, "127.0.0.1:8474"));
        assert!(allowed(Some("agent.internal:8474"), None, "10.0.0.1:8474"), "elsewhere, names are the operator's");
    }

    #[test]
    fn no_page_but_our_own_may_ask() {
        let host = Some("127.0.0.1:8474");
        assert!(allowed(host, Some("http://127.0.0.1:8474"), "127.0.0.1:8474"));
        for origin in ["https://evil.example", "null", "http://127.0.0.1:9999", "http://localhost:8474", ""] {
            assert!(!allowed(host, Some(origin), "127.0.0.1:8474"), "{origin}");
            assert!(!allowed(Some("10.0.0.1:8474"), Some(origin), "10.0.0.1:8474"), "{origin}");
        }
    }
}
