//! A share of a hundred: `30`, `0.5`, also written `30%`.

use super::{InvalidQuantity, decimal};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, str::FromStr};

/// A share from 0 to 100, decimals allowed.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Percent(f64);

impl Percent {
    /// Everything.
    pub const ALL: Self = Self(100.0);

    /// So many percent.
    ///
    /// # Errors
    /// When it is not a number from 0 to 100.
    pub fn new(percent: f64) -> Result<Self, InvalidQuantity> {
        if (0.0..=100.0).contains(&percent) {
            Ok(Self(percent))
        } else {
            Err(InvalidQuantity(format!("`{percent}` is not a percentage: write a number from 0 to 100")))
        }
    }

    /// The share, 0 to 100.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    /// The share, 0 to 1.
    #[must_use]
    pub const fn fraction(self) -> f64 {
        self.0 / 100.0
    }

    /// Whether it is everything.
    #[must_use]
    pub const fn is_all(&self) -> bool {
        self.0 >= 100.0
    }
}

impl Default for Percent {
    fn default() -> Self {
        Self::ALL
    }
}

impl FromStr for Percent {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let number = text.trim().strip_suffix('%').unwrap_or(text).trim();
        let percent = number
            .parse()
            .map_err(|_| InvalidQuantity(format!("`{text}` is not a percentage: write a number from 0 to 100")))?;
        Self::new(percent)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&decimal(self.0))
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.fract() == 0.0 { serializer.serialize_u64(self.0 as u64) } else { serializer.serialize_f64(self.0) }
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl de::Visitor<'_> for Number {
            type Value = Percent;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a percentage from 0 to 100")
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Percent, E> {
                Percent::new(number).map_err(E::custom)
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Percent, E> {
                self.visit_f64(number as f64)
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Percent, E> {
                self.visit_f64(number as f64)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Percent, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Number)
    }
}

impl schemars::JsonSchema for Percent {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Percent".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["number", "string"], "minimum": 0, "maximum": 100,
            "pattern": concat!("^(([0-9]+(\\.[0-9]*)?|\\.[0-9]+) ?%?", crate::or_variable!(), ")$"),
            "description": "A share from 0 to 100, decimals allowed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Percent;

    #[test]
    fn shares_from_0_to_100_are_allowed_and_nothing_else() {
        for text in ["0", "100", "0.5", "30%", " 30 % "] {
            assert!(text.parse::<Percent>().is_ok(), "{text}");
        }
        for text in ["-1", "100.1", "NaN", "inf", "", "%", "half"] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
    }

    #[test]
    fn whole_shares_are_whole_numbers_in_json() {
        assert_eq!(serde_json::to_string(&Percent::new(30.0).unwrap()).unwrap(), "30");
        assert_eq!(serde_json::from_str::<Percent>("0.5").unwrap().get(), 0.5);
    }
}
