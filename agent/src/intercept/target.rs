//! What is intercepted: `--to [NAME=]HOST:PORT`, resolved once, as proxies.
//!
//! Neighbours: `mod.rs` asks for it, `rules.rs` redirects to what it makes.
//! Invariant: no two proxies are for one address, and each has addresses of one family, for a rule redirects within it.

use squall_wire::{ProxyName, ProxySpec};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    str::FromStr,
    time::Duration,
};

/// How long a name may take to resolve.
const RESOLVE_LIMIT: Duration = Duration::from_secs(5);

/// Where connections go that shall come through the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterceptTarget {
    /// The name of its proxy.
    name: ProxyName,
    /// `HOST:PORT`.
    address: String,
}

/// Why a target is none.
#[derive(Debug, thiserror::Error)]
pub enum InvalidTarget {
    /// It is not written as one.
    #[error("`{0}` is no target: write HOST:PORT such as `db.internal:5432`, or NAME=HOST:PORT")]
    Form(String),
    /// Its name has no address.
    #[error("{address}: failed to resolve it: {source}")]
    Unknown {
        /// As it was given.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// Another target means the same.
    #[error("{address}: {same} is the address of another target, too: name it once")]
    Twice {
        /// As it was given.
        address: String,
        /// What both mean.
        same: SocketAddr,
    },
}

impl FromStr for InterceptTarget {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let wrong = || InvalidTarget::Form(text.to_owned());
        let (name, address) = text.split_once('=').map_or((None, text), |(name, address)| (Some(name), address));
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = !host.is_empty() && (bare.is_some() || !host.contains(':'));
        if !is_host || !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return Err(wrong());
        }
        let made_up = format!("{}-{port}", bare.unwrap_or(host).replace("::", "-").replace([':', '%'], "-"));
        let made_up = made_up.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        let name = name.unwrap_or(made_up).parse().map_err(|_| wrong())?;
        Ok(Self { name, address: address.to_owned() })
    }
}

/// One proxy for the addresses of one family.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) spec: ProxySpec,
    pub(super) addresses: BTreeSet<SocketAddr>,
}

/// What these targets mean now.
pub(super) async fn resolve(targets: &[InterceptTarget], forwarded: bool) -> Result<Vec<Leg>, InvalidTarget> {
    let mut resolved = Vec::new();
    for target in targets {
        let unknown = |source| InvalidTarget::Unknown { address: target.address.clone(), source };
        let found = tokio::time::timeout(RESOLVE_LIMIT, tokio::net::lookup_host(&target.address)).await;
        let found = found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(unknown)?;
        resolved.push((target, found.collect::<BTreeSet<_>>()));
    }
    legs(resolved, forwarded)
}

fn legs(resolved: Vec<(&InterceptTarget, BTreeSet<SocketAddr>)>, forwarded: bool) -> Result<Vec<Leg>, InvalidTarget> {
    let mut legs = Vec::new();
    let mut taken = BTreeMap::new();
    for (target, addresses) in resolved {
        if let Some(same) = addresses.iter().find(|address| taken.insert(**address, ()).is_some()) {
            return Err(InvalidTarget::Twice { address: target.address.clone(), same: *same });
        }
        let (v4, v6): (BTreeSet<_>, BTreeSet<_>) = addresses.into_iter().partition(SocketAddr::is_ipv4);
        let both = !v4.is_empty() && !v6.is_empty();
        for (addresses, ipv4) in [(v4, true), (v6, false)].into_iter().filter(|(addresses, _)| !addresses.is_empty()) {
            let name = match (both, ipv4) {
                (true, false) => format!("{}-v6", target.name),
                _ => target.name.to_string(),
            };
            let name = name.parse().map_err(|_| InvalidTarget::Form(target.address.clone()))?;
            // What comes from elsewhere is redirected to an address of the interface by which it comes.
            let listen = match (forwarded, ipv4) {
                (false, true) => "127.0.0.1:0",
                (false, false) => "[::1]:0",
                (true, true) => "0.0.0.0:0",
                (true, false) => "[::]:0",
            };
            let spec = ProxySpec { listen: listen.to_owned(), ..ProxySpec::tcp(name, target.address.clone()) };
            legs.push(Leg { spec, addresses });
        }
    }
    Ok(legs)
}

#[cfg(test)]
mod tests {
    use super::{InterceptTarget, InvalidTarget, legs};
    use std::{collections::BTreeSet, net::SocketAddr};

    fn target(text: &str) -> InterceptTarget {
        text.parse().unwrap()
    }

    fn addresses(all: &[&str]) -> BTreeSet<SocketAddr> {
        all.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn a_target_is_named_after_its_address_unless_it_is_given_a_name() {
        let names = ["db.internal:5432", "10.0.0.2:80", "[2001:db8::2]:80", "[::1]:80", "db=[::1]:80"].map(target);
        let names = names.each_ref().map(|target| (target.name.as_str(), target.address.as_str()));
        assert_eq!(
            names,
            [
                ("db.internal-5432", "db.internal:5432"),
                ("10.0.0.2-80", "10.0.0.2:80"),
                ("2001-db8-2-80", "[2001:db8::2]:80"),
                ("1-80", "[::1]:80"),
                ("db", "[::1]:80"),
            ]
        );
    }

    #[test]
    fn what_is_no_target_is_told_with_the_right_form() {
        for text in ["db", "db:", ":80", "db:0", "db:http", "::1:80", "a b=db:80", "=db:80", "db:80:90"] {
            let error = text.parse::<InterceptTarget>().unwrap_err().to_string();
            assert!(error.contains("HOST:PORT"), "{text}: {error}");
        }
    }

    #[test]
    fn each_family_of_addresses_has_a_proxy_of_its_own() {
        let db = target("db=db.internal:80");
        let found = addresses(&["10.0.0.2:80", "10.0.0.3:80", "[fd00::2]:80"]);
        let legs = legs(vec![(&db, found)], false).unwrap();
        let shown: Vec<_> = legs.iter().map(|leg| (leg.spec.name.as_str(), &*leg.spec.listen)).collect();
        assert_eq!(shown, [("db", "127.0.0.1:0"), ("db-v6", "[::1]:0")]);
        assert_eq!(legs[0].addresses, addresses(&["10.0.0.2:80", "10.0.0.3:80"]));
        assert!(legs.iter().all(|leg| leg.spec.upstream == "db.internal:80"));
    }

    #[test]
    fn what_others_send_comes_in_on_every_address() {
        let (old, new) = (target("old=a:80"), target("new=b:80"));
        let legs = legs(vec![(&old, addresses(&["10.0.0.2:80"])), (&new, addresses(&["[fd00::2]:80"]))], true).unwrap();
        assert_eq!((&*legs[0].spec.listen, &*legs[1].spec.listen), ("0.0.0.0:0", "[::]:0"));
    }

    #[test]
    fn one_address_belongs_to_one_target() {
        let (a, b) = (target("a=a:80"), target("b=b:80"));
        let found = vec![(&a, addresses(&["10.0.0.2:80"])), (&b, addresses(&["10.0.0.2:80", "10.0.0.3:80"]))];
        assert!(matches!(legs(found, false), Err(InvalidTarget::Twice { .. })));
    }
}
