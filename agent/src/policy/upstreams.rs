//! Where proxies may lead: networks and names that are allowed, and those that never are.
//!
//! A name is looked up for each connection, and may mean another address each time. So it is checked twice: as it is
//! written when a proxy is made, and with the address when a connection is dialled. The second check is the one that
//! counts. Neighbours: `super`, and `socket::dial`.
//! Invariant: what `never` matches is refused, whatever `allowed` says; and an address is judged in the one form that
//! the kernel would connect to.

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};
use squall_wire::UpstreamsInfo;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use wildmatch::WildMatch;

/// The rules for upstreams.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Upstreams {
    allowed: Option<Vec<Rule>>,
    never: Vec<Rule>,
}

/// A network, or a pattern of names.
#[derive(Debug, Clone)]
struct Rule {
    written: String,
    matches: Matches,
}

#[derive(Debug, Clone)]
enum Matches {
    Net(IpNet),
    Names(WildMatch),
    Everything,
}

/// Why an upstream is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// It is one that never may be proxied.
    #[error("`{upstream}` matches `{pattern}`, which this agent never proxies")]
    Never {
        /// The host, with the address that it means.
        upstream: String,
        /// What it matches.
        pattern: String,
    },
    /// It is not one of those that may be.
    #[error("`{upstream}` is not among what this agent proxies")]
    NotAllowed {
        /// The host, with the address that it means.
        upstream: String,
    },
}

impl Forbidden {
    /// The rule's place in the configuration.
    pub(crate) fn rule(&self) -> &'static str {
        match self {
            Self::Never { .. } => "policy.upstreams.never",
            Self::NotAllowed { .. } => "policy.upstreams.allowed",
        }
    }
}

impl Upstreams {
    /// Whether there is nothing to check.
    pub(crate) fn allow_all(&self) -> bool {
        self.allowed.is_none() && self.never.is_empty()
    }

    /// May this host be dialled at this address? `host` is as written, without the port.
    pub(crate) fn check(&self, host: &str, address: IpAddr) -> Result<(), Forbidden> {
        let (host, address) = (plain(host), real(address));
        self.judge(&host, Some(address))
    }

    /// What can be said without looking a name up. `None` when it depends on the address.
    pub(crate) fn check_written(&self, host: &str) -> Option<Result<(), Forbidden>> {
        let host = plain(host);
        if let Ok(address) = host.parse() {
            return Some(self.judge(&host, Some(real(address))));
        }
        let by_address = self.never.iter().chain(self.allowed.iter().flatten()).any(Rule::is_net);
        match self.judge(&host, None) {
            Err(never @ Forbidden::Never { .. }) => Some(Err(never)),
            _ if by_address => None,
            judged => Some(judged),
        }
    }

    fn judge(&self, host: &str, address: Option<IpAddr>) -> Result<(), Forbidden> {
        let upstream = || match address {
            Some(address) if host.parse::<IpAddr>().is_err() => format!("{host} ({address})"),
            _ => host.to_owned(),
        };
        if let Some(rule) = self.never.iter().find(|rule| rule.matches(host, address)) {
            return Err(Forbidden::Never { upstream: upstream(), pattern: rule.written.clone() });
        }
        match &self.allowed {
            Some(allowed) if !allowed.iter().any(|rule| rule.matches(host, address)) => {
                Err(Forbidden::NotAllowed { upstream: upstream() })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn info(&self) -> UpstreamsInfo {
        let written = |rules: &Vec<Rule>| rules.iter().map(|rule| rule.written.clone()).collect();
        UpstreamsInfo { allowed: self.allowed.as_ref().map(written), never: written(&self.never) }
    }
}

impl Rule {
    fn is_net(&self) -> bool {
        matches!(self.matches, Matches::Net(_))
    }

    fn matches(&self, host: &str, address: Option<IpAddr>) -> bool {
        match &self.matches {
            Matches::Everything => true,
            Matches::Net(net) => address.is_some_and(|address| net.contains(&address)),
            Matches::Names(names) => host.parse::<IpAddr>().is_err() && names.matches(host),
        }
    }
}

impl TryFrom<String> for Rule {
    type Error = String;

    fn try_from(written: String) -> Result<Self, String> {
        let text = written.trim().trim_end_matches('.').to_ascii_lowercase();
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let matches = if text == "*" {
            Matches::Everything
        } else if let Ok(net) = net {
            // An IPv4 address inside an IPv6 one is judged as the IPv4 address that it is.
            Matches::Net(match net {
                IpNet::V6(net) if net.prefix_len() >= 96 && net.addr().to_ipv4_mapped().is_some() => {
                    return Err(format!("`{written}`: write the network as IPv4"));
                }
                net => net,
            })
        } else if text.is_empty() || text.contains(|c: char| !c.is_ascii_alphanumeric() && !"-._*?".contains(c)) {
            return Err(format!("`{written}` is no network such as `10.0.0.0/8` and no name such as `*.internal`"));
        } else if !text.contains(|c: char| c.is_ascii_alphabetic()) {
            return Err(format!("`{written}` would match names made of digits: write a network such as `10.0.0.0/8`"));
        } else {
            Matches::Names(WildMatch::new(&text))
        };
        Ok(Self { written, matches })
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}

/// A host as it is compared: no brackets, no dot at the end, small letters.
fn plain(host: &str) -> String {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.trim_end_matches('.').to_ascii_lowercase()
}

/// The address that the kernel would connect to: `0.0.0.0` is this machine, and an IPv4 address may come in IPv6 clothes.
fn real(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::Upstreams;

    fn rules(yaml: &str) -> Upstreams {
        serde_saphyr::from_str(yaml).unwrap()
    }

    fn allows(rules: &Upstreams, host: &str, address: &str) -> bool {
        rules.check(host, address.parse().unwrap()).is_ok()
    }

    #[test]
    fn without_rules_everything_is_allowed() {
        let rules = rules("");
        assert!(rules.allow_all() && allows(&rules, "any.where", "8.8.8.8"));
    }

    #[test]
    fn never_wins_over_allowed_and_a_name_is_judged_with_its_address() {
        let rules = rules("{allowed: [10.0.0.0/8, '*.staging.internal'], never: [10.9.0.0/16, '*prod*']}");
        for (host, address, so) in [
            ("10.1.2.3", "10.1.2.3", true),
            ("10.9.2.3", "10.9.2.3", false),
            ("11.1.2.3", "11.1.2.3", false),
            ("db.staging.internal", "172.16.0.1", true),
            ("DB.Staging.Internal.", "172.16.0.1", true),
            ("db.staging.internal", "10.9.0.1", false),
            ("db-prod.staging.internal", "10.1.0.1", false),
            ("elsewhere", "10.1.0.1", true),
            ("elsewhere", "172.16.0.1", false),
            ("staging.internal", "172.16.0.1", false),
        ] {
            assert_eq!(allows(&rules, host, address), so, "{host} at {address}");
        }
        let refused = rules.check("db.staging.internal", "10.9.0.1".parse().unwrap()).unwrap_err();
        let told = "`db.staging.internal (10.9.0.1)` matches `10.9.0.0/16`, which this agent never proxies";
        assert_eq!((refused.rule(), refused.to_string().as_str()), ("policy.upstreams.never", told));
    }

    #[test]
    fn an_address_in_other_clothes_is_the_same_address() {
        let rules = rules("{never: [127.0.0.0/8, '::1', 10.0.0.1]}");
        for (host, address) in [
            ("::ffff:127.0.0.1", "::ffff:127.0.0.1"),
            ("[::ffff:10.0.0.1]", "::ffff:10.0.0.1"),
            ("0.0.0.0", "0.0.0.0"),
            ("::", "::"),
            ("2130706433", "127.0.0.1"),
            ("localhost", "127.0.0.1"),
        ] {
            assert!(!allows(&rules, host, address), "{host}");
        }
        assert!(allows(&rules, "10.0.0.2", "10.0.0.2"));
    }

    #[test]
    fn what_needs_no_address_is_said_before_a_name_is_looked_up() {
        let by_name = rules("{allowed: ['*.internal'], never: ['prod.*']}");
        assert_eq!(by_name.check_written("db.internal"), Some(Ok(())));
        assert!(by_name.check_written("elsewhere").unwrap().is_err());
        assert!(by_name.check_written("10.0.0.1").unwrap().is_err());
        let by_both = rules("{allowed: ['*.internal', 10.0.0.0/8], never: ['prod.*']}");
        assert_eq!(by_both.check_written("elsewhere"), None);
        assert!(by_both.check_written("prod.internal").unwrap().is_err());
        assert_eq!(by_both.check_written("[::ffff:10.0.0.1]"), Some(Ok(())));
    }

    #[test]
    fn a_star_is_everything_and_an_empty_list_is_nothing() {
        assert!(!allows(&rules("{never: ['*']}"), "10.0.0.1", "10.0.0.1"));
        assert!(!allows(&rules("{allowed: []}"), "db", "10.0.0.1"));
    }

    #[test]
    fn a_rule_that_cannot_be_meant_is_a_mistake() {
        for wrong in ["10.*", "10.0.0.0/33", "a b", "http://x", "", "::ffff:10.0.0.0/104", "1.2.3"] {
            assert!(serde_saphyr::from_str::<Upstreams>(&format!("{{never: ['{wrong}']}}")).is_err(), "{wrong}");
        }
    }
}
