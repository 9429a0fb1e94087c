//! Which units a fault hits: by client address, and by a share drawn from the seed and the unit's number.

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use std::net::IpAddr;

/// Which units are hit; all conditions must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Where {
    /// Client addresses or networks: `10.1.0.0/16`, `127.0.0.2`. Empty: every client.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "networks")]
    #[schemars(with = "Vec<String>")]
    pub client: Vec<IpNet>,
}

impl Where {
    /// Whether nothing is left out.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.client.is_empty()
    }

    /// Whether a client at this address is meant. An IPv4 address inside IPv6 counts as IPv4.
    #[must_use]
    pub fn matches(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.client.is_empty() || self.client.iter().any(|network| network.contains(&client))
    }
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
    use super::{Where, unit_draw};

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

    #[test]
    fn a_bad_network_is_named() {
        let error = serde_json::from_str::<Where>(r#"{"client": ["10.1.0.0/99"]}"#).unwrap_err().to_string();
        assert!(error.contains("10.1.0.0/99") && error.contains("CIDR"), "{error}");
    }
}
