//! Names that appear in paths, files and metrics: proxies, faults, leases.
//!
//! Invariant: a name is 1 to 64 characters of letters, digits, `-`, `_` and `.`, and starts with a letter or a
//! digit, so that it can stand in a URL, a metric label and a file name without quoting.

use serde::{Deserialize, Deserializer, Serialize};
use std::{fmt, str::FromStr};

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}: use 1 to 64 letters, digits, `-`, `_` or `.`, the first a letter or a digit")]
pub struct InvalidName {
    what: &'static str,
    text: String,
}

fn checked(what: &'static str, text: &str) -> Result<Box<str>, InvalidName> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    if first && text.len() <= 64 && text.chars().all(allowed) {
        Ok(text.into())
    } else {
        Err(InvalidName { what, text: text.chars().take(80).collect() })
    }
}

macro_rules! name {
    ($type:ident, $what:literal, $about:literal) => {
        #[doc = $about]
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $type(Box<str>);

        impl $type {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                checked($what, text).map(Self)
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": concat!("^([A-Za-z0-9][A-Za-z0-9._-]{0,63}", $crate::or_variable!(), ")$"),
                    "description": $about,
                })
            }
        }
    };
}

name!(ProxyName, "proxy name", "The name of a proxy, unique on its agent.");
name!(FaultName, "fault name", "The name of a fault, unique on its proxy.");
name!(LeaseId, "lease id", "The id of a lease, made up by the agent.");

#[cfg(test)]
mod tests {
    use super::ProxyName;

    #[test]
    fn names_can_stand_in_a_path_without_quoting() {
        for text in ["payment", "db-1", "a.b_c", "1"] {
            assert!(text.parse::<ProxyName>().is_ok(), "{text}");
        }
        for text in ["", "-a", "a b", "a/b", "ü", "..", &"x".repeat(65)] {
            assert!(text.parse::<ProxyName>().is_err(), "{text}");
        }
    }
}
