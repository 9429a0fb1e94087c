//! Which units a fault hits: by client address, on `http` by what the request says, and by a share drawn from the seed
//! and the unit's number.

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use std::{collections::BTreeMap, net::IpAddr};

/// Which units are hit; all conditions must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Where {
    /// Client addresses or networks: `10.1.0.0/16`, `127.0.0.2`. Empty: every client.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "networks")]
    #[schemars(with = "Vec<String>")]
    pub client: Vec<IpNet>,
    /// Methods, on `http`: `[POST, PUT]`. Empty: every method.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub method: Vec<String>,
    /// The path, on `http`, as a glob: `*` is anything, `?` one character. Without the query, and
    /// byte for byte as it was sent: `%2F` is not `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Headers, on `http`: name to a glob of its value; `"*"`: it is there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub header: BTreeMap<String, String>,
    /// Parameters of the query, on `http`: name to a glob of its value; `"*"`: it is there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, String>,
}

/// What `where` looks at in a request.
#[derive(Debug, Clone, Copy)]
pub struct RequestLine<'a> {
    /// `GET`.
    pub method: &'a str,
    /// As it was sent: `/orders?page=2`, or `http://host/orders`.
    pub target: &'a str,
    /// Names and values.
    pub headers: &'a [(&'a str, &'a [u8])],
}

impl<'a> RequestLine<'a> {
    /// The path without authority, query and fragment.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.split().0
    }

    fn split(&self) -> (&'a str, &'a str) {
        // Only what does not start with a path can start with a scheme: a URL in a query is none of the target's own.
        let absolute = (!self.target.starts_with('/')).then(|| self.target.split_once("://")).flatten();
        let after_authority = absolute.map(|(_, rest)| rest.find(['/', '?']).map_or("/", |at| &rest[at..]));
        let local = after_authority.unwrap_or(self.target);
        let local = local.split_once('#').map_or(local, |(before, _)| before);
        match local.split_once('?') {
            Some(("", query)) => ("/", query),
            Some((path, query)) => (path, query),
            None => (local, ""),
        }
    }
}

impl Where {
    /// Whether nothing is left out.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.client.is_empty() && !self.names_requests()
    }

    /// Whether it looks at requests, which only an `http` proxy sees.
    #[must_use]
    pub fn names_requests(&self) -> bool {
        !self.method.is_empty() || self.path.is_some() || !self.header.is_empty() || !self.query.is_empty()
    }

    /// Whether this request is meant; the client aside.
    #[must_use]
    pub fn matches_request(&self, request: &RequestLine<'_>) -> bool {
        let (path, query) = request.split();
        (self.method.is_empty() || self.method.iter().any(|method| method.eq_ignore_ascii_case(request.method)))
            && self.path.as_ref().is_none_or(|glob| glob_matches(glob, path))
            && self.header.iter().all(|(name, glob)| {
                request.headers.iter().any(|(header, value)| {
                    header.eq_ignore_ascii_case(name) && glob_matches(glob, &String::from_utf8_lossy(value))
                })
            })
            && self.query.iter().all(|(name, glob)| {
                form_urlencoded::parse(query.as_bytes()).any(|(key, value)| key == *name && glob_matches(glob, &value))
            })
    }

    /// Whether a client at this address is meant. An IPv4 address inside IPv6 counts as IPv4.
    #[must_use]
    pub fn matches(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.client.is_empty() || self.client.iter().any(|network| network.contains(&client))
    }
}

fn glob_matches(glob: &str, text: &str) -> bool {
    wildmatch::WildMatch::new(glob).matches(text)
}

fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    Vec::<String>::deserialize(deserializer)?
        .into_iter()
        .map(|text| {
            let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            network.map_err(|_| {
                serde::de::Error::custom(format!(
                    "`{text}` is not a network: write an address or a CIDR such as `10.1.0.0/16`"
                ))
            })
        })
        .collect()
}

/// The draw of one unit: a number in 0..100, the same for the same seed and number, uniform over numbers.
///
/// A unit is hit when its draw is below `percent`; so a larger share hits the same units and more.
#[must_use]
pub fn unit_draw(seed: u64, unit: u64) -> f64 {
    // SplitMix64's finaliser (Steele, Lea, Flood 2014) over a Weyl sequence: a well-mixed value for each number.
    let mut z = seed ^ unit.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    (z >> 11) as f64 / (1u64 << 53) as f64 * 100.0
}

#[cfg(test)]
mod tests {
    use super::{RequestLine, Where, unit_draw};

    #[test]
    fn draws_are_uniform_for_any_seed() {
        for seed in [0, 1, 42, u64::MAX] {
            let hit = (0..10_000).filter(|unit| unit_draw(seed, *unit) < 30.0).count();
            assert!((2_800..3_200).contains(&hit), "seed {seed}: {hit} of 10000");
        }
    }

    #[test]
    fn neighbouring_seeds_draw_differently() {
        let same = (0..1000).filter(|unit| (unit_draw(1, *unit) < 50.0) == (unit_draw(2, *unit) < 50.0)).count();
        assert!((400..600).contains(&same), "{same}");
    }

    #[test]
    fn a_client_matches_by_address_or_network() {
        let only: Where = serde_json::from_str(r#"{"client": ["10.1.0.0/16", "127.0.0.2", "::1"]}"#).unwrap();
        assert!(only.matches("10.1.2.3".parse().unwrap()));
        assert!(only.matches("::ffff:127.0.0.2".parse().unwrap()));
        assert!(only.matches("::1".parse().unwrap()));
        assert!(!only.matches("127.0.0.1".parse().unwrap()));
        assert!(Where::default().matches("127.0.0.1".parse().unwrap()));
    }

    fn hits(only: &str, method: &str, target: &str) -> bool {
        let only: Where = serde_json::from_str(only).unwrap();
        let headers: &[(&str, &[u8])] = &[("Host", b"shop"), ("X-Canary", b"blue/7"), ("x-two", b"a"), ("X-Two", b"b")];
        only.matches_request(&RequestLine { method, target, headers })
    }

    #[test]
    fn a_request_matches_by_method_path_header_and_query_and_all_of_them() {
        assert!(hits(r#"{"method": ["POST", "get"]}"#, "GET", "/"));
        assert!(!hits(r#"{"method": ["POST"]}"#, "GET", "/"));
        for (glob, target, expected) in [
            ("/orders/*", "/orders/7?x=1", true),
            ("/orders/*", "/orders/7/lines", true),
            ("/orders/*", "/orders", false),
            ("/orders", "/orders?x", true),
            ("/o?ders", "http://shop:80/orders#top", true),
            ("/", "http://shop?x=1", true),
            ("/orders", "/Orders", false),
            ("/login", "/login?next=http://shop/orders", true),
            ("/orders", "/login?next=http://shop/orders", false),
            ("/proxy/http://shop/x", "/proxy/http://shop/x", true),
            ("*", "*", true),
        ] {
            assert_eq!(hits(&format!(r#"{{"path": "{glob}"}}"#), "GET", target), expected, "{glob} {target}");
        }
        assert!(hits(r#"{"header": {"x-canary": "blue*"}}"#, "GET", "/"));
        assert!(hits(r#"{"header": {"x-two": "b"}}"#, "GET", "/"), "any of several of one name");
        assert!(!hits(r#"{"header": {"x-canary": "blue", "host": "*"}}"#, "GET", "/"));
        assert!(hits(r#"{"query": {"user": "anna m*", "q": ""}}"#, "GET", "/?q&user=anna+m%C3%BCller"));
        assert!(!hits(r#"{"query": {"user": "*"}, "path": "/"}"#, "GET", "/?q=user"));
        assert!(hits(r#"{"query": {"next": "http://*"}}"#, "GET", "/login?next=http://shop/orders"));
    }

    #[test]
    fn what_names_requests_is_not_everything() {
        let only: Where = serde_json::from_str(r#"{"path": "/x"}"#).unwrap();
        assert!(only.names_requests() && !only.is_everything());
        assert!(Where::default().is_everything());
    }

    #[test]
    fn a_bad_network_is_named() {
        let error = serde_json::from_str::<Where>(r#"{"client": ["10.1.0.0/99"]}"#).unwrap_err().to_string();
        assert!(error.contains("10.1.0.0/99") && error.contains("CIDR"), "{error}");
    }
}
