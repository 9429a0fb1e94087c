//! `HOST:PORT` as people write it: what is wrong with one, whether a bound address is what was asked for, and whether one
//! leads to another.
//!
//! Neighbours: `config` and `registry` check with it before anything is bound. Names are not resolved here.
//! Invariant: an address without a mistake has a host and a port number.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// What is wrong with a proxy that leads to itself.
pub(crate) const OWN_UPSTREAM: &str = "a proxy cannot be its own upstream: each connection would open another";

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
    if let Some((scheme, _)) = text.split_once("://") {
        return wrong(&format!("it is HOST:PORT, without a scheme such as `{scheme}://`"));
    }
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

/// Whether who connects to `upstream` comes to a listener at `listen`, as far as that can be said without looking a name
/// up. `localhost` may be either loopback address.
pub(crate) fn leads_to(listen: SocketAddr, upstream: &str) -> bool {
    let host = host_of(upstream);
    let port = upstream.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    let Some(port) = port.filter(|port| *port == listen.port()) else { return false };
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let meant = match bare.parse() {
        Ok(address) => vec![address],
        Err(_) if is_localhost(host) => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        Err(_) => Vec::new(),
    };
    meant.into_iter().any(|ip| reaches(listen, SocketAddr::new(ip, port)))
}

/// The same of an address.
pub(crate) fn reaches(listen: SocketAddr, target: SocketAddr) -> bool {
    if listen.port() != target.port() {
        return false;
    }
    // To connect to an address that stands for all of a machine is to connect to its loopback.
    let target = match target.ip().to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    match listen.ip().to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => target.is_ipv4() && is_of_this_machine(target),
        IpAddr::V6(ip) if ip.is_unspecified() => is_of_this_machine(target),
        ip => ip == target,
    }
}

/// Whether a host is the name that every machine has for itself.
pub(crate) fn is_localhost(host: &str) -> bool {
    host.strip_suffix('.').unwrap_or(host).eq_ignore_ascii_case("localhost")
}

/// To an address of its own the kernel sends from that very address. Nothing is sent to find out.
fn is_of_this_machine(address: IpAddr) -> bool {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = || {
        let socket = UdpSocket::bind((any, 0))?;
        // Any port but 0 will do.
        socket.connect((address, 9))?;
        socket.local_addr()
    };
    address.is_loopback() || source().is_ok_and(|source| source.ip() == address)
}

#[cfg(test)]
mod tests {
    use super::{Purpose, leads_to, mistake, satisfies};

    #[test]
    fn an_upstream_that_leads_to_the_listener_is_known_in_each_of_its_forms() {
        let leads = |listen: &str, upstream: &str| leads_to(listen.parse().unwrap(), upstream);
        for (listen, upstreams) in [
            (
                "127.0.0.1:80",
                &["127.0.0.1:80", "localhost:80", "LOCALHOST.:080", "[::ffff:127.0.0.1]:80", "0.0.0.0:80"][..],
            ),
            ("0.0.0.0:80", &["127.0.0.1:80", "127.9.8.7:80", "localhost:80", "0.0.0.0:80", "[::ffff:127.0.0.1]:80"]),
            ("[::]:80", &["[::1]:80", "[::]:80", "127.0.0.1:80", "0.0.0.0:80", "localhost:80", "[0:0::1]:80"]),
            ("[::1]:80", &["[::1]:80", "localhost:80", "[::]:80"]),
            ("[::ffff:127.0.0.1]:80", &["127.0.0.1:80", "localhost:80"]),
            ("127.0.0.2:80", &["127.0.0.2:80"]),
        ] {
            upstreams.iter().for_each(|upstream| assert!(leads(listen, upstream), "{listen} {upstream}"));
        }
        for (listen, upstreams) in [
            ("127.0.0.1:80", &["127.0.0.1:81", "127.0.0.2:80", "[::1]:80", "db.internal:80", "nothing", ":80"][..]),
            ("0.0.0.0:80", &["[::1]:80", "192.0.2.1:80", "127.0.0.1:8080", "localhost.internal:80"]),
            ("[::]:80", &["192.0.2.1:80", "[2001:db8::1]:80"]),
            ("127.0.0.2:80", &["127.0.0.1:80", "localhost:80", "0.0.0.0:80"]),
        ] {
            upstreams.iter().for_each(|upstream| assert!(!leads(listen, upstream), "{listen} {upstream}"));
        }
    }

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
        insta::assert_snapshot!(
            mistake("http://a:80", Purpose::Upstream).unwrap(),
            @"`http://a:80` is not an address: it is HOST:PORT, without a scheme such as `http://`; write one such as `db.internal:5432`"
        );
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
