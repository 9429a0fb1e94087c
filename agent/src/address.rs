//! `HOST:PORT` as people write it: what is wrong with one, and whether a bound address is what was asked for.
//!
//! Neighbours: `config` and `registry` check with it before anything is bound. Names are not resolved here.
//! Invariant: an address without a mistake has a host and a port number.

use std::net::{IpAddr, SocketAddr};

/// What an address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Clients connect here; port 0 takes a free one.
    Listen,
    /// Traffic goes there.
    Upstream,
}

/// What is wrong with an address, and how one looks that is right.
pub(crate) fn mistake(text: &str, purpose: Purpose) -> Option<String> {
    let example = match purpose {
        Purpose::Listen => "127.0.0.1:8080",
        Purpose::Upstream => "db.internal:5432",
    };
    let wrong = |why: &str| Some(format!("`{text}` is not an address: {why}; write one such as `{example}`"));
    let Some((host, port)) = text.rsplit_once(':') else { return wrong("it has no port") };
    if host.is_empty() {
        return wrong("it has no host");
    }
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match bracketed {
        Some(inner) if !matches!(inner.parse(), Ok(IpAddr::V6(_))) => return wrong("no IPv6 address in the brackets"),
        None if host.contains(':') => return wrong("an IPv6 address stands in brackets, as in `[::1]:80`"),
        None if !host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')) => {
            return wrong("the host has letters that no host has");
        }
        _ => {}
    }
    match (port.parse::<u16>(), purpose) {
        (Ok(0), Purpose::Upstream) => wrong("nobody listens on port 0"),
        (Ok(_), _) if port.starts_with('+') => wrong("its port is no number"),
        (Ok(_), _) => None,
        (Err(_), _) => wrong("its port is no number from 0 to 65535"),
    }
}

/// The host of `HOST:PORT`, with the brackets of an IPv6 address.
pub(crate) fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

/// Whether a proxy that was asked to listen on `before`, and is bound to `bound`, already listens on `asked`:
/// the same words, the same address, or any port of the same address.
pub(crate) fn satisfies(before: &str, bound: SocketAddr, asked: &str) -> bool {
    before == asked
        || asked
            .parse::<SocketAddr>()
            .is_ok_and(|asked| asked == bound || (asked.port() == 0 && asked.ip() == bound.ip()))
}

#[cfg(test)]
mod tests {
    use super::{Purpose, mistake, satisfies};

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for text in ["127.0.0.1:0", "localhost:80", "[::1]:8080", "a-b.c_d:65535"] {
            assert_eq!(mistake(text, Purpose::Listen), None, "{text}");
        }
        for text in
            ["", "localhost", ":80", "::1:80", "[127.0.0.1]:80", "a:b", "a:65536", "http://a:80", "a b:1", "a:+1"]
        {
            assert!(mistake(text, Purpose::Listen).is_some(), "{text}");
        }
        assert!(mistake("localhost:0", Purpose::Upstream).is_some());
    }

    #[test]
    fn any_port_of_the_same_address_is_what_was_asked_for() {
        let bound = "127.0.0.1:4321".parse().unwrap();
        for asked in ["127.0.0.1:0", "127.0.0.1:4321", "localhost:0"] {
            assert!(satisfies("localhost:0", bound, asked), "{asked}");
        }
        for asked in ["127.0.0.1:4322", "127.0.0.2:0", "otherhost:0"] {
            assert!(!satisfies("localhost:0", bound, asked), "{asked}");
        }
    }
}
